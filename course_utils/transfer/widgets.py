"""Widget of lecture 11, and what it shows at every place of its slider."""

from collections.abc import Mapping
from typing import Any

import ipywidgets
from matplotlib.figure import Figure
from torch import Tensor

from course_utils import plots
from course_utils.transfer.figures import heat, row_of, spent
from course_utils.transfer.reproduce import from_text
from course_utils.transfer.transformer import pretrained
from course_utils.widgets import explorer

BUDGET, SHOWN = 2000, 48  # numbers; columns
RANKS = BUDGET // (64 + 256)  # that the budget pays for


def matrices_of(results: Mapping[str, Any]) -> dict[str, Tensor]:
    """Full tuning's update of one matrix, which `course reproduce transfer` stores, and the weight itself. They lie,
    64 by 256."""
    update = from_text(row_of(results, "full")["runs"][0]["update"])
    return {"the update ΔW": update.T, "the weight W": pretrained()["0.up.weight"].T}


def budget_table(results: Mapping[str, Any]) -> plots.Table:
    """The relative error of both matrices at every rank that the budget pays for."""
    rows = [
        [name, *(f"{spent(matrix, rank, BUDGET)[2]:.1%}" for rank in range(RANKS + 1))]
        for name, matrix in matrices_of(results).items()
    ]
    return plots.Table([f"error with {BUDGET:,} numbers", *(f"rank {rank}" for rank in range(RANKS + 1))], rows)


def budget_explorer(results: Mapping[str, Any]) -> ipywidgets.Widget:
    """Spend 2,000 numbers on a matrix: on its rank, or on single entries.

    results: of `course reproduce transfer`.
    """
    matrices = matrices_of(results)

    def draw(matrix: str, rank: int) -> Figure:
        whole = matrices[matrix]
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
    slider = ipywidgets.IntSlider(value=2, min=0, max=RANKS, description="rank", layout=ipywidgets.Layout(width="36em"))
    return explorer(
        draw,
        {"matrix": choice, "rank": slider},
        "Four matrices, the first forty-eight columns of each: full tuning's update; its part of rank "
        "two, with "
        "stripes; a white matrix with single entries; and what is left over, which is mottled. Titles tell how "
        "many numbers "
        "each part has, the relative error, and the bytes.",
    )
