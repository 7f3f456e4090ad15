"""Widgets of lecture 13."""

import itertools
import math

import ipywidgets
import torch
from matplotlib.figure import Figure

from course_utils import plots, theory
from course_utils.theory import figures
from course_utils.widgets import explorer

WIDE = ipywidgets.Layout(width="36em")


def sums_explorer() -> ipywidgets.Widget:
    """All 2ⁿ sums of n random products as a rug, and how near they come to a weight."""

    def draw(units: int, weight: float) -> Figure:
        figure, axis = plots.new_figure(width=8, height=2)
        subset, single = figures.rug(figures.products_of(units).tolist(), weight, axis)
        axis.set(xlim=(-2.2, 2.2), xlabel="sum")
        axis.set_title(
            f"{2**units:,} sums: off by {abs(subset - weight):.2g}; the best single product by "
            f"{abs(single - weight):.2g}",
            fontsize=10,
        )
        return figure

    controls = {
        "units": ipywidgets.IntSlider(value=8, min=1, max=14, description="units n", layout=WIDE),
        "weight": ipywidgets.FloatSlider(value=0.3, min=-1, max=1, step=0.05, description="weight", layout=WIDE),
    }
    return explorer(
        draw,
        controls,
        "The explorer with eight units: a line of ticks, one for each subset sum, dense in the middle and thin at the "
        "ends; a dashed line marks the weight; the title says how far the nearest sum is.",
    )


def graph_explorer() -> ipywidgets.Widget:
    """A small network under random masks: edges on no path, and the second singular value beside the bound."""

    def draw(density: int, seed: int) -> Figure:
        generator = torch.Generator().manual_seed(seed)
        sizes = (8, 8, 8, 4)
        masks = {
            str(layer): torch.rand(b, a, generator=generator) < density / 100
            for layer, (a, b) in enumerate(itertools.pairwise(sizes))
        }
        alive = theory.effective_masks(masks)
        figure, (net, bars) = plots.new_figure(1, 2, width=8, height=2.8)
        for x, name in enumerate(masks):
            figures.edges(net, masks[name].numpy(), x=x, dead=(masks[name] & ~alive[name]).numpy())
        total, used = (sum(int(m.sum()) for m in group.values()) for group in (masks, alive))
        figures.blank(net, f"{total} weights kept, {used} on a path")
        for x, mask in enumerate(masks.values()):
            matrix = mask[mask.any(1)][:, mask.any(0)].double()
            values = torch.linalg.svdvals(matrix).tolist() if matrix.numel() else []
            second = values[1] if len(values) > 1 else 0.0
            bars.bar(x - 0.18, second, width=0.35, color=figures.BLUE, label=None if x else "σ₂")
            bound = second + theory.ramanujan_gap(mask)
            bars.bar(x + 0.18, bound, width=0.35, color=figures.RED, hatch="//", label=None if x else "bound")
        bars.set(xticks=range(3), xlabel="layer", ylim=(0, 2 * math.sqrt(7) + 0.2))
        bars.set_xticklabels(["1", "2", "3"])
        bars.legend(fontsize=8)
        return figure

    controls = {
        "density": ipywidgets.IntSlider(value=20, min=5, max=100, step=5, description="kept (%)", layout=WIDE),
        "seed": ipywidgets.IntSlider(value=1, min=0, max=20, description="mask", layout=WIDE),
    }
    return explorer(
        draw,
        controls,
        "The explorer with a fifth of the weights: on the left a network of three layers, solid edges on paths and "
        "dashed ones on none; on the right two bars for each layer, the second singular value and the bound.",
    )
