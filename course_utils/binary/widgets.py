"""Widget of lecture 05."""

import ipywidgets
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from course_utils import plots
from course_utils.widgets import explorer


def xnor_explorer(bits: int = 8) -> ipywidgets.Widget:
    """Two vectors of signs, set bit by bit: products on one side, xnor and popcount on the other, the same number.

    Two sliders set the words (bit 0, the first element, is worth 1).
    """
    from course_utils.binary import xnor_popcount_matmul

    def draw(a: int, b: int) -> Figure:
        agree = ~(a ^ b)
        rows = {
            "a": [a >> j & 1 for j in range(bits)],
            "b": [b >> j & 1 for j in range(bits)],
            "a xnor b": [agree >> j & 1 for j in range(bits)],
        }
        (product,) = xnor_popcount_matmul(np.array([[a]], np.uint64), np.array([[b]], np.uint64), bits)[0]
        figure, axes = plots.new_figure(width=7, height=2.8)
        for y, (name, values) in zip((2.2, 1.2, 0), rows.items(), strict=True):
            axes.text(-0.7, y, name, ha="right", va="center", fontsize=11)
            for x, bit in enumerate(values):
                axes.add_patch(
                    Rectangle((x - 0.45, y - 0.4), 0.9, 0.8, fc="#cfe3f3" if bit else "white", ec=plots.COLOURS[0])
                )
                axes.text(x, y, f"{bit}   {'+1' if bit else '−1'}", ha="center", va="center", fontsize=10)
        equal = sum(rows["a xnor b"])
        axes.set(xlim=(-2, bits - 0.3), ylim=(-0.6, 2.8))
        axes.set_axis_off()
        axes.set_title(
            f"popcount of the lowest row: {equal} agree, {bits - equal} differ;  {equal} − {bits - equal} = "
            f"2·{equal} − {bits} = {product} = a · b",
            fontsize=10,
        )
        return figure

    wide = ipywidgets.Layout(width="30em")
    controls = {
        name: ipywidgets.IntSlider(value, 0, 2**bits - 1, description=f"word {name}", layout=wide)
        for name, value in {"a": 13, "b": 11}.items()
    }
    return explorer(
        draw,
        controls,
        "Three rows of eight boxes: the bits of the words a and b with the signs that they stand for, and "
        "below them the bits of a xnor b, a 1 wherever the two agree. The title counts them, and gets the dot product.",
    )
