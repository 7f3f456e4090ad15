"""Widget of lecture 11."""

from collections.abc import Mapping
from typing import Any

import ipywidgets
from matplotlib.figure import Figure

from course_utils import plots
from course_utils.transfer.figures import heat, row_of, spent
from course_utils.transfer.reproduce import from_text
from course_utils.transfer.transformer import pretrained
from course_utils.widgets import explorer

BUDGET, SHOWN = 2000, 48  # numbers; columns


def budget_explorer(results: Mapping[str, Any]) -> ipywidgets.Widget:
    """Spend 2,000 numbers on a matrix: on its rank, or on single entries.

    results: of `course reproduce transfer`, which holds full tuning's update of one matrix; the weight itself comes
    with the course.
    """
    matrices = {
        "the update ΔW": from_text(row_of(results, "full")["runs"][0]["update"]),
        "the weight W": pretrained()["0.up.weight"],
    }

    def draw(matrix: str, rank: int) -> Figure:
        whole = matrices[matrix].T  # lying, 64 by 256, of which a part is shown
        low, sparse, error, size = spent(whole, rank, BUDGET)
        figure, axes = plots.new_figure(2, 2, width=6.8, height=5.6)
        most = float(whole.abs().max()) / 2
        count = BUDGET - rank * sum(whole.shape)
        for axis, (name, part) in zip(
            axes.flat,
            {
                f"{matrix}: {whole.numel():,} numbers": whole,
                f"rank {rank}: {rank * sum(whole.shape):,} numbers": low,
                f"{count:,} nonzeros, and their places": sparse,
                f"left over: error {error:.0%}; {size:,.0f} bytes in all": whole - low - sparse,
            }.items(),
            strict=True,
        ):
            heat(axis, part[:, :SHOWN], name, most)
        return figure

    choice = ipywidgets.Dropdown(options=list(matrices), description="matrix")
    slider = ipywidgets.IntSlider(
        value=2, min=0, max=BUDGET // (64 + 256), description="rank", layout=ipywidgets.Layout(width="36em")
    )
    return explorer(
        draw,
        {"matrix": choice, "rank": slider},
        "Four matrices, the first forty-eight columns of each: full tuning's update; its part of rank "
        "two, with "
        "stripes; a white matrix with single entries; and what is left over, which is mottled. Titles tell how "
        "many numbers "
        "each part has, the relative error, and the bytes.",
    )
