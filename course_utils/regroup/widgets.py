"""Widget of lecture 08."""

from collections.abc import Mapping
from typing import Any

import ipywidgets
import torch
from matplotlib.figure import Figure

from course_utils import plots, regroup
from course_utils.regroup.figures import draw_mask, order_of
from course_utils.widgets import explorer


def block_explorer(drawn: Mapping[str, Any]) -> ipywidgets.Widget:
    """One pass over a part of a real mask: thresholds and groups to choose, blocks in colour, and the bill beside it.

    drawn: of `course reproduce regroup`: the mask as rows of # and ., its groups 'partitioned' and 'random'.
    """
    mask = torch.tensor([[place == "#" for place in row] for row in drawn["mask"]])

    def draw(groups: str, b1: int, t2: int) -> Figure:
        blocks, rest = regroup.regroup_pass(mask, drawn[groups], b1, t2, b2=4)
        figure, (picture, bill) = plots.new_figure(1, 2, width=11.5, height=4)
        draw_mask(picture, mask.numpy(), order_of(blocks, len(mask)), blocks)
        picture.set_title(f"{len(blocks)} blocks", fontsize=10)
        area = sum(len(rows) * len(columns) for rows, columns in blocks)
        kept = int((mask & ~rest).sum())
        bars = {
            "kept, in a block": kept / mask.numel(),
            "refilled": (area - kept) / mask.numel(),
            "lost": int(rest.sum()) / mask.numel(),
            "MACs of blocks": area / mask.numel(),
            "MACs, dense": 1.0,
        }
        plots.bars(bill, {name: 100 * value for name, value in bars.items()}, "% of all weights", "{:.1f}")
        bill.set(xlim=(0, 125), title=f"t₂ = {t2}, b₁ = {b1}, {groups}")
        return figure

    wide = ipywidgets.Layout(width="28em")
    largest = max(len(group) for way in ("partitioned", "random") for group in drawn[way])
    return explorer(
        draw,
        {
            "groups": ipywidgets.Dropdown(options=["partitioned", "random"], description="groups", layout=wide),
            "t2": ipywidgets.IntSlider(2, 1, 6, description="t₂", layout=wide),
            "b1": ipywidgets.IntSlider(4, 1, largest + 1, description="b₁", layout=wide),
        },
        "The explorer for the partitioner's groups and a threshold of two. Left, a part of a mask as dots, its rows by "
        "group, with the columns of each block as bands of colour behind them. Right, five bars: the weights kept in a "
        "block, refilled and lost, and the operations of the blocks beside those of the dense matrix.",
    )
