"""Tables and figures of lecture 13 and of its lab."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib import patches
from matplotlib.axes import Axes
from scipy.stats import spearmanr
from torch import Tensor

from course_utils import plots, theory
from course_utils.theory import published

Results = Mapping[str, Any]  # of `course reproduce theory`
BLUE, RED, GREEN, GREY = plots.COLOURS[1], plots.COLOURS[2], plots.COLOURS[3], "#999999"
GEOMETRIC = "layer density, geometric mean"
METHODS = {"trained": "trained", "signed": "largest scores", "by size": "largest |scores|", "random": "random mask"}


def blank(axis: Axes, title: str) -> None:
    """An axis for a drawing: no ticks, no frame."""
    axis.set_title(title, fontsize=10)
    axis.set(xticks=[], yticks=[])
    axis.grid(visible=False)
    for spine in axis.spines.values():
        spine.set_visible(False)


def edges(axis: Axes, mask: np.ndarray, x: float = 0.0, dead: np.ndarray | None = None) -> None:
    """A layer as a graph: inputs at x, outputs at x + 1, a line for each entry; what is `dead` in grey and dashed."""
    outs, ins = mask.shape
    for i, j in zip(*mask.nonzero(), strict=True):
        gone = dead is not None and dead[i, j]
        axis.plot([x, x + 1], [height(j, ins), height(i, outs)], marker="", linestyle="--" if gone else "-",
                  color=GREY if gone else BLUE, linewidth=1.2)  # fmt: skip
    for place, count in ((x, ins), (x + 1, outs)):
        spots = [height(i, count) for i in range(count)]
        axis.plot([place] * count, spots, marker="o", linestyle="", color="black", markersize=6)


def height(number: int, count: int) -> float:
    """Where one of so many units is drawn, from 1 down to 0."""
    return 1 - (number + 0.5) / count


# --- lecture: drawings ------------------------------------------------------------------------------------------------


def four_questions() -> None:
    """Draw the four questions: can it, how fast, what does it learn, which mask."""
    figure, axes = plots.new_figure(1, 4, width=9.2, height=2.3)
    rng = np.random.RandomState(3)
    edges(axes[0], np.ones((3, 4), dtype=bool))
    edges(axes[0], rng.rand(3, 4) < 0.45, x=1.8)
    axes[0].text(1.4, 0.5, "≈ ?", ha="center", fontsize=14)
    blank(axes[0], "1 approximation:\nis a good one in there?")
    x = np.linspace(-1, 1, 50)
    axes[1].plot(x, x**2, marker="", color=GREY, linestyle="-")
    for start, factor, colour, mark in ((-0.95, 0.45, BLUE, "o"), (0.95, 0.85, RED, "s")):
        steps = start * factor ** np.arange(5)
        axes[1].plot(steps, steps**2, marker=mark, color=colour, linestyle=":")
    axes[1].text(-0.9, 1.0, "dense", color=BLUE, fontsize=9)
    axes[1].text(0.55, 1.0, "sparse", color=RED, fontsize=9)
    blank(axes[1], "2 optimization:\nhow fast does it learn?")
    for k, (place, label) in enumerate([(0.1, "3"), (0.4, "7"), (0.7, "7")]):
        axes[2].text(place, 0.6, "377"[k], fontsize=22, family="serif")
        wrong = k == 1
        axes[2].text(place, 0.2, f"'{'2' if wrong else label}'", fontsize=13, color=RED if wrong else "black")
    axes[2].text(0.3, 0.02, "a wrong label", fontsize=8, color=RED)
    axes[2].set(xlim=(0, 1), ylim=(0, 1))
    blank(axes[2], "3 generalization:\nby heart, or by rule?")
    half = np.kron(np.eye(2), np.ones((2, 2))).astype(bool)
    edges(axes[3], half)
    edges(axes[3], np.roll(np.eye(4, dtype=bool), 1, 0) | np.eye(4, dtype=bool), x=1.6)
    blank(axes[3], "4 topology:\nwhich mask is a good one?")
    plots.show(
        figure,
        "Four small drawings. A full and a sparse graph of units with an approximate sign and a question mark between "
        "them. A valley with two descents, the sparse one in shorter steps. Three digits, one with a wrong label. Two "
        "graphs with as many edges, the first falls into two parts, the second hangs together.",
    )


def pruned_weight() -> None:
    """Draw one weight, and the random units whose pruning takes its place."""
    figure, axes = plots.new_figure(1, 2, width=9, height=2.9)
    axes[0].plot([0, 1], [0.5, 0.5], color="black", marker="o", linestyle="-")
    axes[0].text(0.5, 0.56, "w", ha="center", fontsize=12)
    axes[0].text(-0.05, 0.5, "x", ha="right", va="center", fontsize=11)
    axes[0].text(1.05, 0.5, "w · x", va="center", fontsize=11)
    axes[0].set(xlim=(-0.3, 1.5), ylim=(0, 1))
    blank(axes[0], "a weight of the network")
    kept = (True, False, True, True, False, True)
    for i, keep in enumerate(kept):
        y = height(i, len(kept))
        style = {"color": BLUE if keep else GREY, "linestyle": "-" if keep else ":", "linewidth": 1.5 if keep else 1}
        axes[1].plot([0, 0.5, 1], [0.5, y, 0.5], marker="", **style)
        axes[1].plot([0.5], [y], marker="o" if i < 3 else "s", color=style["color"], markersize=8)
        label, shift = ("first > 0", 0.045) if i < 3 else ("first < 0", -0.045)  # above the lines, or below
        axes[1].text(0.5, y + shift, label, ha="center", va="bottom" if i < 3 else "top", fontsize=8,
                     bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5})  # fmt: skip
    axes[1].plot([0, 1], [0.5, 0.5], marker="o", linestyle="", color="black")
    axes[1].text(-0.05, 0.5, "x", ha="right", va="center", fontsize=11)
    axes[1].text(1.05, 0.5, "≈ w · x", va="center", fontsize=11)
    axes[1].set(xlim=(-0.3, 1.5), ylim=(-0.1, 1.1))
    blank(axes[1], "random units in its place: solid ones are kept")
    plots.show(
        figure,
        "Left, one line from x to w times x. Right, six units between x and the output, three round ones with a "
        "positive first weight and three square ones with a negative one; two of each are kept and drawn solid, the "
        "others dotted.",
    )


def rug(values: Sequence[float], target: float, axis: Axes) -> tuple[float, float]:
    """All subset sums as a rug, the target as a line; the nearest sum and the nearest single number (or 0)."""
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums, sums + value])
    axis.vlines(sums, 0, 1, color=BLUE, linewidth=0.6)
    axis.axvline(target, color=RED, linestyle="--", marker="", linewidth=1.5)
    axis.set(yticks=[], ylim=(0, 1))
    axis.grid(visible=False)
    singles = np.array([0.0, *values])
    return tuple(float(found[np.abs(found - target).argmin()]) for found in (sums, singles))


def products_of(units: int, seed: int = 0) -> np.ndarray:
    """Products of numbers that are uniform from 0 to 1 and from −1 to 1."""
    rng = np.random.RandomState(seed)
    return rng.uniform(0, 1, 16)[:units] * rng.uniform(-1, 1, 16)[:units]


def growing_rugs() -> None:
    """Draw the subset sums of 2, 4, 6, 8 and 10 products."""
    figure, axes = plots.new_figure(5, 1, width=7.5, height=3.8)
    for units, axis in zip((2, 4, 6, 8, 10), axes, strict=True):
        nearest, _ = rug(products_of(units).tolist(), 0.3, axis)
        axis.set(xlim=(-1, 1), ylabel=f"n = {units}")
        axis.text(1.02, 0.4, f"off by {abs(nearest - 0.3):.1g}", transform=axis.transAxes, fontsize=9)
        if units < 10:
            axis.set_xticklabels([])
    axes[0].set_title("all 2ⁿ sums of n random products; dashed: the weight 0.3", fontsize=10)
    plots.show(
        figure,
        "Five lines, one above the other, from −1 to 1, with a tick for each of the sums: 4 ticks in the first, then "
        "16, 64, 256, 1,024. A dashed line marks the target, and ticks crowd around it more and more.",
    )


def popup_drawing() -> None:
    """Draw edge-popup: kept edges forwards, all edges backwards."""
    scores = np.array([[0.9, 0.2, 0.7], [0.1, 0.8, 0.3]])
    figure, axes = plots.new_figure(1, 2, width=9, height=2.8)
    for axis, title in zip(axes, ("forwards: the best half of the scores", "backwards: every score"), strict=True):
        for i, j in np.ndindex(2, 3):
            kept = scores[i, j] > 0.5
            forwards = title.startswith("forwards")
            colour = BLUE if kept else RED
            style = "-" if kept else ":" if forwards else "--"
            ends = [height(j, 3), height(i, 2)]
            axis.plot([0, 1], ends, marker="", color=GREY if forwards and not kept else colour, linestyle=style)
            place = 0.22 if i == 0 else 0.72
            label = f"{scores[i, j]:.1f}" if forwards else "∂"
            axis.text(place, ends[0] + place * (ends[1] - ends[0]), label, fontsize=9,
                      bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5})  # fmt: skip
        for x, count in ((0, 3), (1, 2)):
            axis.plot([x] * count, [height(k, count) for k in range(count)], linestyle="", marker="o", color="black")
        blank(axis, title)
    plots.show(
        figure,
        "Two graphs of three inputs and two outputs, each edge with its score. On the left the three edges with the "
        "largest scores are solid, the others dotted. On the right all six carry a gradient, the kept ones solid, the "
        "dead ones dashed.",
    )


def two_half_planes() -> None:
    """Draw where two inputs switch a random unit on: the angle of both, and of one."""
    figure, axis = plots.new_figure(width=4.6, height=3.4)
    angle = 65
    for start, colour, hatch in ((-90, BLUE, "//"), (angle - 90, RED, "\\\\")):
        axis.add_patch(patches.Wedge((0, 0), 1, start, start + 180, facecolor="none", edgecolor=colour, hatch=hatch))
    for degrees, label in ((0, "x"), (angle, "x′")):
        end = np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])
        axis.annotate("", xy=1.15 * end, xytext=(0, 0), arrowprops={"arrowstyle": "->", "linewidth": 2})
        axis.text(*(1.22 * end), label, fontsize=12)
    axis.add_patch(patches.Arc((0, 0), 0.6, 0.6, theta1=0, theta2=angle, linewidth=1.5))
    axis.text(0.33, 0.16, "θ", fontsize=12, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})
    axis.set(xlim=(-1.2, 1.45), ylim=(-1.1, 1.35), aspect="equal")
    blank(axis, "weights that switch a unit on for x (/), for x′ (\\)")
    plots.show(
        figure,
        "A circle of directions of a random weight. Half of it, on the side of x, is hatched one way, the half on the "
        "side of x prime the other way. Both hatchings overlap in a sector of π minus θ, where θ is the angle of "
        "the two inputs.",
    )


def two_balls() -> None:
    """Draw the line of all solutions, with the points of least L2 and of least L1 norm."""
    figure, axes = plots.new_figure(1, 2, width=8, height=3.2)
    x = np.linspace(-1, 3, 2)
    y = (2 - x) / 2  # w₁ + 2 w₂ = 2
    for axis, title in zip(
        axes, ("from a large start: least L2 norm", "from a small start: least L1 norm"), strict=True
    ):
        axis.plot(x, y, color="black", marker="", linestyle="-")
        axis.text(2.1, 0.25, "Xw = y", fontsize=9)
        axis.axhline(0, color=GREY, linewidth=0.8, linestyle="-", marker="")
        axis.axvline(0, color=GREY, linewidth=0.8, linestyle="-", marker="")
        if "L2" in title:
            axis.add_patch(patches.Circle((0, 0), 2 / math.sqrt(5), facecolor="none", edgecolor=BLUE, linewidth=1.5))
            axis.plot([0.4], [0.8], marker="o", color=BLUE, markersize=9, linestyle="")
        else:
            corners = [(1, 0), (0, 1), (-1, 0), (0, -1)]
            axis.add_patch(patches.Polygon(corners, facecolor="none", edgecolor=RED, linewidth=1.5))
            axis.plot([0], [1], marker="s", color=RED, markersize=9, linestyle="")
        axis.set(xlim=(-1.3, 2.9), ylim=(-1.2, 1.6), aspect="equal")
        blank(axis, title)
    plots.show(
        figure,
        "Twice the line of all solutions in a plane of two weights. On the left a circle around the origin touches it "
        "where both weights differ from 0. On the right a square on its corner touches it at a corner, where the first "
        "weight is 0.",
    )


def label_bins() -> None:
    """Draw what becomes of clean and of changed labels."""
    figure, axis = plots.new_figure(width=7.6, height=2.4)
    rows = (
        (1.0, "unchanged labels", ((0.92, GREEN, "", "fit"), (0.08, "white", "", ""))),
        (
            0.0,
            "changed labels",
            ((0.5, RED, "//", "memorized"), (0.35, BLUE, "..", "recovered"), (0.15, "white", "", "")),
        ),
    )
    for y, name, parts in rows:
        left = 0.0
        for width, colour, hatch, label in parts:
            axis.add_patch(
                patches.Rectangle((left, y), width, 0.6, facecolor=colour, edgecolor="black", hatch=hatch, alpha=0.75)
            )
            axis.text(left + width / 2, y + 0.3, label, ha="center", va="center", fontsize=10,
                      bbox={"facecolor": "white", "edgecolor": "none", "pad": 1} if label else None)  # fmt: skip
            left += width
        axis.text(-0.02, y + 0.3, name, ha="right", va="center", fontsize=10)
    axis.set(xlim=(-0.35, 1.05), ylim=(-0.1, 1.8))
    blank(axis, "how the training set is predicted; white: otherwise")
    plots.show(
        figure,
        "Two bars. The upper one, of the unchanged labels, is nearly all 'fit'. The lower one, of the changed labels, "
        "has a part 'memorized', a part 'recovered', and a small rest that is neither.",
    )


def two_graphs() -> None:
    """Draw two K₄,₄ beside Heawood's graph, with their singular values and the bound."""
    from course_utils.theory.laws import blocks, heawood

    figure, axes = plots.new_figure(1, 4, width=9.2, height=2.5)
    for place, (name, mask) in enumerate({"two K₄,₄": blocks((4, 4), (4, 4)), "Heawood": heawood()}.items()):
        edges(axes[2 * place], mask.numpy())
        blank(axes[2 * place], f"{name}:\ndegree {int(mask[0].sum())} everywhere")
        values = torch.linalg.svdvals(mask.double()).tolist()
        bound = 2 * math.sqrt(int(mask[0].sum()) - 1)
        bars = axes[2 * place + 1]
        bars.bar(range(1, len(values) + 1), values, color=BLUE)
        bars.axhline(bound, color=RED, linestyle="--", marker="")
        bars.set(ylim=(0, 4.4), xlabel="singular value", xticks=[1, 2, 4, 6, len(values)])
        bars.set_title(f"gap {theory.ramanujan_gap(mask):+.2f};\ndashed: the bound".replace("-", "−"), fontsize=10)
    plots.show(
        figure,
        "Two graphs with their singular values as bars. Two complete graphs of four and four units hang apart, their "
        "second value is as large as the first and above the dashed bound. Heawood's graph hangs together, all values "
        "but the first lie below the bound.",
    )


def dead_edges() -> None:
    """Draw a network with edges that lie on no path."""
    masks = {
        "a": torch.tensor([[1, 1, 0], [0, 1, 0], [0, 0, 0], [0, 0, 1]]).bool(),
        "b": torch.tensor([[1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0]]).bool(),
        "c": torch.tensor([[1, 1, 0], [1, 0, 0]]).bool(),
    }
    alive = theory.effective_masks(masks)
    figure, axis = plots.new_figure(width=6.4, height=2.6)
    for x, name in enumerate(masks):
        edges(axis, masks[name].numpy(), x=x, dead=(masks[name] & ~alive[name]).numpy())
    kept, used = (sum(int(m.sum()) for m in group.values()) for group in (masks, alive))
    blank(axis, f"{kept} weights kept, {used} on a path (solid)")
    plots.show(
        figure,
        "A network of three layers. Solid lines make paths from inputs to outputs; dashed lines end at a unit that "
        "leads nowhere, or start at a unit that nothing reaches.",
    )


# --- lecture: results -------------------------------------------------------------------------------------------------


def percent(wrong: int, results: Results, part: str = "test") -> float:
    return 100 * wrong / results["data"][part]


def written(values: Sequence[float], digits: int = 2) -> str:
    return plots.mean_and_range(values, digits) if len(values) else "—"


def ticks(axis: Axes, values: Sequence[float], form: Callable[[float], str] = "{:g}".format, which: str = "x") -> None:
    """Readable ticks on a logarithmic axis, and none between them."""
    (axis.set_xticks if which == "x" else axis.set_yticks)(list(values), [form(value) for value in values])
    axis.minorticks_off()


def sums_curves(results: Results) -> None:
    """Draw the error of the best subset and of the best single product against the number of units."""
    figure, axis = plots.new_figure(height=3.6)
    runs = [run["sums"] for run in results["approximation"]]
    sizes = list(runs[0])
    for name, label in (("single", "best single product"), ("subset", "best subset")):
        low, middle, high = (np.array([np.mean([r[n][name][i] for r in runs]) for n in sizes]) for i in range(3))
        (line,) = axis.plot([int(n) for n in sizes], middle, label=label)
        axis.fill_between([int(n) for n in sizes], low, high, color=line.get_color(), alpha=0.15)
    axis.set(yscale="log", xlabel="random units for the weight, n", ylabel="|sum − weight|", xticks=[2, 4, 8, 12, 16])
    ticks(axis, (1, 0.1, 0.01, 0.001, 0.0001, 0.00001), which="y")
    axis.set_title("median over random weights, and quartiles", fontsize=10)
    axis.legend()
    plots.show(
        figure,
        "Error against the number of units, on a logarithmic axis. The curve of the best single product sinks slowly; "
        "that of the best subset falls in a straight line, by a factor with each two units.",
    )


def halving(results: Results, way: str = "subset", sizes: tuple[int, int] = (4, 16)) -> list[float]:
    """By which factor the median error falls with one unit more, between two numbers of units; one value a seed."""
    few, many = sizes
    medians = [[run["sums"][str(n)][way][1] for n in sizes] for run in results["approximation"]]
    return [(before / after) ** (1 / (many - few)) for before, after in medians]


def straightness(results: Results, way: str = "subset") -> list[float]:
    """The factor of one unit more from n = 4 to 10 over that from 10 to 16, by seed: 1 for a straight line.

    An error like 1/n^k falls ever more slowly; one that falls as far in all as by 2 a unit (k = 6) gives 25/16.
    """
    halves = (halving(results, way, sizes) for sizes in ((4, 10), (10, 16)))
    return [early / late for early, late in zip(*halves, strict=True)]


def rebuilt_errors(results: Results, way: str, part: str = "test") -> dict[int, list[float]]:
    """Errors in percent by units (or bits); way: masks, random masks, rounded."""
    runs = [run["rebuilt"]["units"] for run in results["approximation"]]
    return {int(n): [percent(run[n][way][part], results, part) for run in runs] for n in runs[0]}


def trained_errors(results: Results, part: str = "test") -> list[float]:
    return [percent(run["rebuilt"]["trained"][part], results, part) for run in results["approximation"]]


def rebuilt_curves(results: Results) -> None:
    """Draw the errors of the rebuilt network, of rounding to as many bits, and of random masks."""
    figure, axis = plots.new_figure(width=7, height=3.6)
    for way, label in (("masks", "masks on random units"), ("rounded", "own weights, rounded"),
                       ("random masks", "random masks")):  # fmt: skip
        found = rebuilt_errors(results, way)
        (line,) = axis.plot(list(found), [np.mean(v) for v in found.values()], label=label)
        axis.vlines(list(found), [min(v) for v in found.values()], [max(v) for v in found.values()],
                    color=line.get_color())  # fmt: skip
    axis.axhline(np.mean(trained_errors(results)), color=GREY, linestyle=":", marker="", label="trained network")
    axis.set(yscale="log", xlabel="units, and bits, for each weight", ylabel="test errors (%)", xticks=list(found))
    ticks(axis, (2, 5, 10, 20, 50, 90), which="y")
    axis.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    plots.show(
        figure,
        "Test errors in percent against units for each weight, logarithmic. The network rebuilt by masks falls from "
        "the errors of chance to the dotted line of the trained one; its own weights rounded to as many bits are there "
        "sooner; random masks stay at chance.",
    )


def best_units(results: Results) -> int:
    """The number of units with the fewest validation errors, mean over the seeds; of equals the least."""
    found = rebuilt_errors(results, "masks", "validation")
    return min(found, key=lambda units: np.mean(found[units]))


def rebuilt_table(results: Results) -> plots.Table:
    """Errors of all ways by bits for each weight, and the seconds that the rebuilding takes."""
    ways = ("masks", "rounded", "random masks")
    found = {way: rebuilt_errors(results, way) for way in ways}
    rows: list[list[object]] = [["trained", written(trained_errors(results)), "—", "—", "—"]]
    for n in found["masks"]:
        seconds = [run["rebuilt"]["units"][str(n)]["seconds"] for run in results["approximation"]]
        rows.append([str(n), *(written(found[way][n]) for way in ways), written(seconds, 1)])
    columns = ["units, bits for each weight", "masks: test errors (%)", "own weights rounded", "random masks"]
    return plots.Table([*columns, "processor seconds"], rows)


def popup_errors(results: Results, part: str = "test") -> dict[tuple[int, str, float], list[float]]:
    """Errors in percent by width, method and part kept, one for each seed."""
    found: dict[tuple[int, str, float], list[float]] = {}
    for run in results["approximation"]:
        for row in run["popup"]:
            key = row["width"], row["method"], row["keep"]
            found.setdefault(key, []).append(percent(row[part], results, part))
    return found


def popup_table(results: Results) -> plots.Table:
    """Errors of every network of edge-popup beside the trained one of its width."""
    rows = []
    for (width, method, keep), wrong in sorted(popup_errors(results).items(), key=lambda item: item[0][0]):
        gap = [a - b for a, b in zip(wrong, popup_errors(results)[width, "trained", 1.0], strict=True)]
        beyond = "—" if method == "trained" else written(gap)
        rows.append([width, METHODS[method], f"{keep:.0%}", written(wrong), beyond])
    return plots.Table(["width", "method", "kept", "test errors (%)", "points above trained"], rows)


def popup_curves(results: Results) -> None:
    """Draw errors of edge-popup and of training against the width."""
    found = popup_errors(results)
    widths = sorted({width for width, *_ in found})
    figure, axis = plots.new_figure(height=3.4)
    for method, keep, label in (("trained", 1.0, "trained"), ("signed", 0.5, "edge-popup, half kept")):
        values = [found[width, method, keep] for width in widths]
        (line,) = axis.plot(widths, [np.mean(v) for v in values], label=label)
        axis.vlines(widths, [min(v) for v in values], [max(v) for v in values], color=line.get_color())
    axis.set(xscale="log", xlabel="width of both hidden layers", ylabel="test errors (%)", ylim=(0, None))
    ticks(axis, widths)
    axis.set_title("mean over the seeds, and range", fontsize=10)
    axis.legend()
    plots.show(
        figure,
        "Test errors against the width of the hidden layers, for training and for edge-popup on random weights. Both "
        "fall with the width, edge-popup from higher up, and the distance between the two shrinks.",
    )


def kernel_rows(results: Results, key: str = "kernel") -> dict[tuple[int, str], list[dict[str, float]]]:
    """Kernels by width and density, those of all seeds together."""
    found: dict[tuple[int, str], list[dict[str, float]]] = {}
    for run in results["optimization"]:
        for width, densities in run["kernels"].items():
            for density, row in densities.items():
                if key in row:
                    found.setdefault((int(width), density), []).extend(row[key])
    return found


def kernel_exponents(results: Results) -> list[tuple[float, float]]:
    """By seed the slopes of log error against log width and against log density, over all rescaled networks.

    Fitted apart: a common slope could not tell that pruning costs as much as a narrower network.
    """
    found = []
    for run in results["optimization"]:
        groups = kernel_rows({"optimization": [run]}).items()
        rows = [(w, float(p), each["rescaled"]) for (w, p), group in groups for each in group]
        width, density, error = np.log(np.array(rows)).T
        design = np.stack([width, density, np.ones_like(width)], axis=1)
        slopes = np.linalg.lstsq(design, error, rcond=None)[0]
        found.append((float(slopes[0]), float(slopes[1])))
    return found


def kernel_curves(results: Results) -> None:
    """Draw kernel errors against density times width, rescaled and not."""
    figure, axes = plots.new_figure(1, 2, width=9, height=3.3)
    rows = kernel_rows(results)
    for density in dict.fromkeys(p for _, p in rows):
        widths = [w for w, p in rows if p == density]
        for axis, key, x in (
            (axes[0], "unscaled", widths),
            (axes[1], "rescaled", [w * float(density) for w in widths]),
        ):
            values = [[each[key] for each in rows[w, density]] for w in widths]
            (line,) = axis.plot(x, [np.mean(v) for v in values], label=f"density {float(density):.3g}")
            axis.vlines(x, [min(v) for v in values], [max(v) for v in values], color=line.get_color(), linewidth=0.8)
    guide = np.array([4, 1024])
    axes[1].plot(guide, 2.2 * guide**-0.5, color=GREY, marker="", linestyle="-", linewidth=1, label="slope −½")
    axes[0].set(xscale="log", ylim=(0, 1.1), xlabel="width", ylabel="‖kernel − limit‖ / ‖limit‖", title="as pruned")
    axes[1].set(xscale="log", yscale="log", xlabel="density · width", title="rescaled by 1/√density")
    ticks(axes[0], (64, 256, 1024))
    ticks(axes[1], (4, 16, 64, 256, 1024))
    ticks(axes[1], (0.03, 0.1, 0.3, 1), which="y")
    axes[1].legend(fontsize=8)
    plots.show(
        figure,
        "Relative error of the kernel. Left, as pruned, against width: the dense network's error falls, those of the "
        "pruned ones stay near 1. Right, rescaled, against density times width, both logarithmic: all densities lie "
        "near one line that falls with slope minus one half.",
    )


def factor_table(results: Results) -> plots.Table:
    """Traces of pruned kernels over the limit's, beside density squared."""
    width = max(w for w, _ in kernel_rows(results))
    rows = []
    for (w, density), group in kernel_rows(results).items():
        if w == width:
            factors = [each["factor"] for each in group]
            rescaled = [each["rescaled"] for each in group]
            rows.append([f"{float(density):.4g}", f"{float(density) ** 2:.4f}", written(factors, 4), written(rescaled)])
    for (w, density), group in kernel_rows(results, "first layer too").items():
        if w == width:
            factors, rescaled = [e["factor"] for e in group], [e["rescaled"] for e in group]
            rows.append([f"{float(density):.4g}, first layer too", f"{float(density) ** 3:.5f}", written(factors, 5),
                         written(rescaled)])  # fmt: skip
    return plots.Table([f"density, width {width:,}", "factor promised", "factor measured", "error if rescaled"], rows)


def descent(results: Results, width: str, density: str, way: str, key: str) -> np.ndarray:
    """[seeds, looks] of a real descent: 'from targets', 'from kernel' or 'kernel from targets'."""
    return np.array([run["kernels"][width][density][way][key] for run in results["optimization"]])


def descent_curves(results: Results) -> None:
    """Draw real descent of a narrow and a wide network beside the kernel's prediction, at the least density."""
    looks = results["settings"]["looks"]
    widths = list(results["optimization"][0]["kernels"])
    density = list(results["optimization"][0]["kernels"][widths[0]])[-1]
    figure, axes = plots.new_figure(1, 3, width=8.8, height=2.9)
    for axis, (width, way) in zip(axes, ((widths[0], "rescaled"), (widths[-1], "rescaled"), (widths[-1], "unscaled")),
                                  strict=True):  # fmt: skip
        for key, label in (("from targets", "network"), ("kernel from targets", "kernel's prediction")):
            middle = np.median(descent(results, width, density, way, key), axis=0)
            axis.plot(range(len(looks)), middle, label=label)
        dense = np.median(descent(results, width, "1", "rescaled", "from targets"), axis=0)
        axis.plot(range(len(looks)), dense, color=GREY, linestyle=":", marker="", label="dense network")
        axis.set(xticks=range(len(looks)), xlabel="steps", title=f"width {width}, {way}", ylim=(0, 1.4))
        axis.set_xticklabels([str(look) for look in looks])
    axes[0].set_ylabel("distance from the targets, relative")
    axes[0].legend(fontsize=8)
    plots.show(
        figure,
        "Three panels of the median distance from the targets over the steps of descent, at the least density. In the "
        "narrow network it leaves the kernel's prediction; in the wide rescaled one the two lie on each other and "
        "close to the dense network; in the wide network that was not rescaled both hardly move at first.",
    )


def bounded(values: np.ndarray) -> str:
    """Mean and range; above 10, where a prediction diverges, only how many do."""
    finite = values[values <= 10]
    diverge = f", {len(values) - len(finite)} of {len(values)} diverge" if len(finite) < len(values) else ""
    return written(finite) + diverge


def steps_table(results: Results) -> plots.Table:
    """What is left of the distance after all steps, and how far the network is from its kernel's prediction."""
    rows = []
    last = results["settings"]["looks"][-1]
    for width, density in itertools.product(*(list(results["optimization"][0]["kernels"]), ("1", "0.25", "0.0625"))):
        for way in ("rescaled", "unscaled") if density != "1" else ("rescaled",):
            left, off = (descent(results, width, density, way, key) for key in ("from targets", "from kernel"))
            rows.append([width, density, way if density != "1" else "—", written(left[:, -1]), bounded(off.max(1))])
    columns = ["width", "density", "scale", f"left after {last} steps", "farthest from the prediction"]
    return plots.Table(columns, rows)


def bias_curves(results: Results) -> None:
    """Draw the weights of the first seed's solutions, and L1 norms by scale over all seeds."""
    figure, axes = plots.new_figure(1, 2, width=8.4, height=3)
    run = results["optimization"][0]["bias"]
    scales = [f"{scale:g}" for scale in results["settings"]["scales"]]
    for shift, (name, label) in zip((-0.2, 0.2), ((scales[0], f"from {scales[0]}"), (scales[-1], f"from {scales[-1]}")),
                                    strict=True):  # fmt: skip
        weights = np.array(run[name]["weights"])
        axes[0].plot(np.arange(len(weights)) + shift, weights, linestyle="", label=label, markersize=4)
    axes[0].set(xlabel="weight", ylabel="value", title="what descent finds, first seed")
    axes[0].legend(fontsize=8)
    values = {s: [r["bias"][s]["l1"] / r["bias"]["least L1"]["l1"] for r in results["optimization"]] for s in scales}
    (line,) = axes[1].plot([float(s) for s in scales], [np.mean(v) for v in values.values()])
    axes[1].vlines([float(s) for s in scales], [min(v) for v in values.values()], [max(v) for v in values.values()],
                   color=line.get_color())  # fmt: skip
    pinv = np.mean([r["bias"]["least L2"]["l1"] / r["bias"]["least L1"]["l1"] for r in results["optimization"]])
    axes[1].axhline(pinv, color=RED, linestyle="--", marker="", label="least L2 norm")
    axes[1].axhline(1, color=GREY, linestyle=":", marker="", label="least L1 norm")
    axes[1].set(xscale="log", xlabel="scale of the start", ylabel="L1 norm, least = 1", ylim=(0.8, None))
    ticks(axes[1], [float(s) for s in scales])
    axes[1].legend(fontsize=8, loc="center left")
    plots.show(
        figure,
        "Left, the forty weights of two solutions: from a small start a few large ones and zeros, from a large start "
        "many of middle size. Right, the L1 norm against the scale of the start: from the least possible norm for "
        "small scales it rises to that of the solution of least L2 norm.",
    )


def bias_table(results: Results) -> plots.Table:
    """What each scale finds, beside the two extremes."""
    rows = []
    runs = [run["bias"] for run in results["optimization"]]
    for name in runs[0]:
        columns = ("l1", "error", "large")
        parts = [written([run[name][key] for run in runs], 0 if key == "large" else 3) for key in columns]
        rows.append([name if name.startswith("least") else f"start {name}", *parts])
    return plots.Table(
        ["solution", "L1 norm", "distance to the sparse weights", "weights above 1% of the largest"], rows
    )


def noisy(results: Results, kind: str, name: str, when: str, key: str) -> list[float]:
    """A value by seed: kind 'tickets', 'random' or 'small'; when 'last' or 'stopped'. Errors in percent."""
    found = [run[kind][name][when][key] for run in results["generalization"]]
    return [percent(value, results) for value in found] if key == "test_errors" else [100 * value for value in found]


def noise_curves(results: Results) -> None:
    """Draw test errors and what is memorized against density, for tickets and random masks, last epoch and stopped."""
    figure, axes = plots.new_figure(1, 2, width=8.6, height=3.2)
    first = results["generalization"][0]
    for axis, key in zip(axes, ("test_errors", "memorized"), strict=True):
        for kind, label in (("tickets", "tickets"), ("random", "random masks")):
            names = list(first[kind])
            values = [noisy(results, kind, name, "last", key) for name in names]
            x = [100 * float(name) for name in names]
            (line,) = axis.plot(x, [np.mean(v) for v in values], label=f"{label}, last epoch")
            axis.vlines(x, [min(v) for v in values], [max(v) for v in values], color=line.get_color())
        names = list(first["tickets"])
        stopped = [np.mean(noisy(results, "tickets", name, "stopped", key)) for name in names]
        axis.plot([100 * float(name) for name in names], stopped, label="tickets, stopped early")
        dense = np.mean(noisy(results, "tickets", "1", "stopped", key))
        axis.axhline(dense, color=GREY, linestyle=":", marker="", label="dense, stopped early")
        axis.set(xscale="log", xlabel="weights kept (%)", ylim=(0, None))
        axis.invert_xaxis()
        ticks(axis, (100, 50, 25, 12, 6, 3, 1.5, 0.8, 0.4))
    axes[0].set(ylabel="test errors (%)")
    axes[1].set(ylabel="changed labels memorized (%)", ylim=(0, 102))
    axes[0].legend(fontsize=8)
    plots.show(
        figure,
        "Left test errors, right the part of changed labels that is memorized, against the weights kept, from all to "
        "under one percent. At the last epoch both are high for the dense network and for mild tickets and fall for "
        "sparse ones, for random masks sooner; at the sparsest random mask the test errors rise far above all others. "
        "With early stopping the tickets' curves are nearly flat, near the dotted line of the dense network stopped "
        "early, and rise a little at the sparse end.",
    )


def noise_table(results: Results) -> plots.Table:
    """Every network: weights, fit, memorized, recovered, test errors, and those with early stopping."""
    rows = []
    for kind, label in (("tickets", "ticket"), ("random", "random"), ("small", "small dense, units")):
        for name in results["generalization"][0][kind]:
            run = results["generalization"][0][kind][name]
            title = (
                "dense" if (kind, name) == ("tickets", "1") else f"{label} {name if kind == 'small' else part(name)}"
            )
            cells = [written(noisy(results, kind, name, "last", key), 1) for key in ("fit", "memorized", "recovered")]
            errors = [written(noisy(results, kind, name, when, "test_errors"), 1) for when in ("last", "stopped")]
            rows.append([title, f"{run['kept']:,}", *cells, *errors])
    columns = ["network", "weights, first seed", "fit (%)", "memorized (%)", "recovered (%)", "test errors (%)"]
    return plots.Table([*columns, "stopped early"], rows)


def part(fraction: str | float) -> str:
    """'0.015' -> '1.5%'."""
    return f"{100 * float(fraction):.3g}%"


def stopping_curves(results: Results) -> None:
    """Draw the dense network's epochs, first seed: errors on noisy validation labels, and what is memorized."""
    figure, axis = plots.new_figure(height=3.4)
    dense = results["generalization"][0]["tickets"]["1"]
    epochs = range(1, len(dense["validation_errors"]) + 1)
    validation = [100 * wrong / results["settings"]["noisy_validation"] for wrong in dense["validation_errors"]]
    axis.plot(epochs, validation, label="errors on noisy validation labels", markersize=4)
    axis.plot(epochs, [100 * value for value in dense["memorized"]], label="changed labels memorized", markersize=4)
    axis.axvline(dense["stopped"]["epoch"], color=RED, linestyle="--", marker="")
    axis.text(dense["stopped"]["epoch"] + 0.3, 92, "chosen", color=RED, fontsize=9)
    axis.set(xlabel="epoch", ylabel="%", ylim=(0, 100), title="the dense network, first seed")
    axis.legend(fontsize=8, loc="lower right")
    plots.show(
        figure,
        "Over the epochs the errors on noisy validation labels fall at once and then rise, while the part of changed "
        "labels that is memorized climbs. A dashed line marks the epoch with the fewest validation errors.",
    )


def correlation(rows: Sequence[Mapping[str, Any]], name: str) -> float:
    """Spearman's ρ of a number with the accuracy; 0 if the number is the same for all."""
    values = [numbers_of(row)[name] for row in rows]
    if len(set(values)) < 2:
        return 0.0
    return float(spearmanr(values, [row["accuracy"] for row in rows]).statistic)


def numbers_of(row: Mapping[str, Any]) -> dict[str, float]:
    """All that might tell how well a network will train, and the rival of the paths: the geometric mean of the layers'
    densities, which is all that the mean number of paths of a random mask depends on."""
    geometric = math.prod(row["layers"]) ** (1 / len(row["layers"]))
    return {**row["numbers"], GEOMETRIC: geometric}


def names_of(results: Results) -> list[str]:
    return list(numbers_of(next(iter(results["topology"]["chosen"].values()))[0]))


def chosen_number(results: Results) -> str:
    """The number with the highest mean ρ over the densities, on the seeds and validation digits made for choosing."""
    groups = results["topology"]["chosen"].values()
    return max(names_of(results), key=lambda name: np.mean([correlation(rows, name) for rows in groups]))


def connected(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The networks in which there is a path from an input to an output: to tell the others is no art."""
    return [row for row in rows if row["numbers"]["log paths"] >= 0]


def rivals_beaten(groups: Mapping[str, Sequence[Mapping[str, Any]]], name: str) -> int:
    """At how many densities a number's ρ is above 0, and above that of both IMDBs and of both layer densities."""
    rivals = ("IMDB", "IMDB, layers without left out", "layer density", GEOMETRIC)
    best = [max(0.0, *(correlation(rows, rival) for rival in rivals)) for rows in groups.values()]
    return sum(correlation(rows, name) > rho for rows, rho in zip(groups.values(), best, strict=True))


def without_a_path(results: Results) -> dict[str, tuple[int, int, int]]:
    """By density: how many of the new networks have no path at all; in how many of these gap and IMDB are above 0."""
    found = {}
    for density, rows in results["topology"]["confirmed"].items():
        cut = [row["numbers"] for row in rows if row["numbers"]["log paths"] < 0]
        found[density] = len(cut), *(sum(numbers[name] > 0 for numbers in cut) for name in ("gap", "IMDB"))
    return found


def ranking_table(results: Results, which: str, only_connected: bool = False) -> plots.Table:
    """Spearman's ρ of every number with the accuracy, by density; of all networks, or of those that have a path."""
    groups = results["topology"][which]
    if only_connected:
        groups = {density: connected(rows) for density, rows in groups.items()}
    rows = [[name, *(f"{correlation(rows_, name):.2f}" for rows_ in groups.values())] for name in names_of(results)]
    columns = [f"{part(density)} kept, {len(group)} networks" for density, group in groups.items()]
    return plots.Table(["ρ with accuracy", *columns], rows)


def ranking_curves(results: Results) -> None:
    """Draw accuracy against the chosen number and against IMDB, at one percent, families by marker."""
    figure, axes = plots.new_figure(1, 3, width=10, height=3.2)
    rows = results["topology"]["confirmed"]["0.01"]
    families = dict.fromkeys(row["family"] for row in rows)
    for axis, name in zip(axes, (chosen_number(results), GEOMETRIC, "IMDB"), strict=True):
        for number, family in enumerate(families):
            for shuffled in (False, True):
                dots = [r for r in rows if r["family"] == family and r["shuffled"] == shuffled]
                colour, marker = plots.COLOURS[number], plots.MARKERS[number]
                values = [numbers_of(r)[name] for r in dots]
                axis.plot(values, [r["accuracy"] for r in dots], linestyle="", color=colour, marker=marker,
                          fillstyle="none" if shuffled else "full", label=None if shuffled else family)  # fmt: skip
        axis.set(xlabel=name, title=f"ρ = {correlation(rows, name):.2f}")
    axes[0].set_ylabel("right on test digits (%)")
    axes[2].legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    plots.show(
        figure,
        "Three panels of accuracy at one percent of the weights against the number chosen, the geometric mean of the "
        "layer densities and IMDB, a dot for each network. Hollow marks are masks shuffled inside their layers. "
        "SynFlow and SNIP masks lie on top, uniform random masks far below and magnitude masks at the bottom; shuffled "
        "ones lie below their originals.",
    )


def published_rhos(only_trained: bool = False) -> dict[tuple[str, float], list[float]]:
    """Spearman's ρ of three numbers with the published accuracy, by network and density; of all masks, or of those
    whose network did not stay at chance."""
    return {
        key: [published.rho([row for row in rows if row[-1] > published.CHANCE or not only_trained], place)
              for place in range(3)]
        for key, rows in published.groups().items()
    }  # fmt: skip


def published_table() -> plots.Table:
    """Spearman's ρ in Hoang's own table, by network and density, and its mean; that again of what was trained."""
    rows: list[list[object]] = [
        [network, part(density), *(f"{rho:.2f}" for rho in rhos)]
        for (network, density), rhos in published_rhos().items()
    ]
    for label, only_trained in (("mean", False), ("mean, failed ones left out", True)):
        rows.append(
            [label, "all", *(f"{rho:.2f}" for rho in np.mean(list(published_rhos(only_trained).values()), axis=0))]
        )
    return plots.Table(["network, CIFAR-10", "kept", *published.NUMBERS], rows)


def published_words() -> str:
    """In how many of Hoang's rows the layer density ranks better than IMDB, with and without what failed to train."""
    said = []
    for label, only_trained in (("all masks", False), ("without those that failed", True)):
        leads = [round(rhos[0] - rhos[2], 6) for rhos in published_rhos(only_trained).values()]
        better, worse = (sum(sign * lead > 0 for lead in leads) for sign in (1, -1))
        said.append(f"{label}: layer density above IMDB in {better} of {len(leads)} rows, below in {worse}")
    return "\n".join(said)


def shuffle_losses(results: Results) -> dict[str, list[float]]:
    """Points of accuracy that shuffling inside the layers costs, by density: new seeds, families that have a path."""
    found = {}
    for density, rows in results["topology"]["confirmed"].items():
        shuffled = {(row["seed"], row["family"]): row["accuracy"] for row in rows if row["shuffled"]}
        whole = {(row["seed"], row["family"]): row["accuracy"] for row in connected(rows) if not row["shuffled"]}
        found[density] = [right - shuffled[key] for key, right in whole.items() if key in shuffled]
    return found


def shuffle_table(results: Results) -> plots.Table:
    """Accuracies at each density, by family, as they are and shuffled."""
    rows = []
    groups = results["topology"]["confirmed"]
    first = next(iter(groups.values()))
    for family, shuffled in dict.fromkeys((row["family"], row["shuffled"]) for row in first):
        cells = [written([r["accuracy"] for r in g if (r["family"], r["shuffled"]) == (family, shuffled)], 1)
                 for g in groups.values()]  # fmt: skip
        rows.append([f"{family}, shuffled" if shuffled else family, *cells])
    return plots.Table(["right on test digits (%)", *(f"{part(density)} kept" for density in groups)], rows)


def holds(values: Sequence[float], rule: Callable[[float], bool], yes: str) -> str:
    """What seeds say of a claim: yes if it holds in all, or on average only, or not."""
    if len(values) < 3:
        return "not testable with so few seeds"
    if all(map(rule, values)):
        return f"{yes}, in all {len(values)}"
    return f"{yes}, on average only" if rule(float(np.mean(values))) else f"not {yes}"


def last_validation(results: Results, kind: str, name: str) -> float:
    """Errors on noisy validation labels at the last epoch, mean over the seeds."""
    return float(np.mean([run[kind][name]["validation_errors"][-1] for run in results["generalization"]]))


def worst_mild_ticket(results: Results) -> str:
    """Of the tickets of half to an eighth of the weights the one with the most errors on noisy validation labels: the
    worst on test digits, seed by seed, would be above the dense network by chance alone."""
    return max(("0.5", "0.25", "0.125"), key=lambda name: last_validation(results, "tickets", name))


def above(results: Results, one: str, other: str) -> list[float]:
    """By how many points a ticket's test errors at the last epoch are above another's, by seed."""
    pair = (noisy(results, "tickets", name, "last", "test_errors") for name in (one, other))
    return [a - b for a, b in zip(*pair, strict=True)]


def best_ticket(results: Results, kind: str = "tickets") -> str:
    """The sparse network with the fewest errors on noisy validation labels at the last epoch, mean over the seeds."""
    names = [name for name in results["generalization"][0][kind] if name != "1"]
    return min(names, key=lambda name: last_validation(results, kind, name))


def claims_table(results: Results) -> plots.Table:
    """What was claimed, ours, and what each rule says of it."""
    rows: list[list[object]] = []

    def claim(what: str, said: str, ours: str, verdict: str) -> None:
        rows.append([what, said, ours, verdict])

    factors, bend = halving(results), straightness(results)
    claim("error by one unit more, n = 4 to 16; factor of the first half over the second's",
          "a constant factor (Pensia 2020)", f"÷ {written(factors)}; {written(bend)}",
          holds([f > 1.2 and 4 / 5 <= b <= 5 / 4 for f, b in zip(factors, bend, strict=True)], bool,
                "consistent with"))  # fmt: skip
    units = best_units(results)
    test, trained = rebuilt_errors(results, "masks")[units], trained_errors(results)
    more = [a - b for a, b in zip(test, trained, strict=True)]
    claim(f"LeNet-300-100 by masks alone, {units} units, fewest validation errors", "goal: no more errors",
          f"{written(more)} points more", holds(more, lambda m: m <= 0, "reached"))  # fmt: skip
    seconds = [run["rebuilt"]["units"][str(units)]["seconds"] for run in results["approximation"]]
    claim("processor time of that", "goal: 30 s", f"{written(seconds, 1)} s",
          holds(seconds, lambda t: t <= 30, "reached"))  # fmt: skip
    for bits in (4, units):
        pairs = zip(rebuilt_errors(results, "rounded")[bits], rebuilt_errors(results, "masks")[bits], strict=True)
        saved = [rounded - masks for rounded, masks in pairs]
        claim(f"fewer errors than the weights rounded to as many bits, {bits}", "nobody's claim",
              f"{written(saved)} points", holds(saved, lambda d: d > 0, "fewer"))  # fmt: skip
    errors = popup_errors(results)
    middle = results["settings"]["widths"][1]
    for method, most in (("signed", 1.5), ("by size", 1.0)):
        validation = popup_errors(results, "validation")
        keep = min((k for w, m, k in errors if (w, m) == (middle, method)),
                   key=lambda k: np.mean(validation[middle, method, k]))  # fmt: skip
        over = [a - b for a, b in zip(errors[middle, method, keep], errors[middle, "trained", 1.0], strict=True)]
        claim(f"edge-popup, {METHODS[method]}, {keep:.0%} kept (on validation), above training",
              f"goal: within {most:g}", f"{written(over)} points",
              holds(over, lambda o, m=most: o <= m, "reached"))  # fmt: skip
    right = [100 - e for e in errors[middle, "signed", 0.5]]
    claim("masks on untrained networks, right on MNIST", "86% (Zhou 2019)", f"{written(right, 1)}%",
          holds(right, lambda r: r >= 86, "reached by other means"))  # fmt: skip
    for name, slopes in zip(("width", "density"), zip(*kernel_exponents(results), strict=True), strict=True):
        claim(f"kernel error ~ {name}^a", "goal: a = −0.5 ± 0.1 for both; width linear in sparsity (Yang and Wang)",
              f"a = {written(slopes)}", holds(slopes, lambda a: abs(a + 0.5) <= 0.1, "reached"))  # fmt: skip
    width = max(w for w, _ in kernel_rows(results))
    for density in ("0.25", "0.0625"):
        ratio = [each["factor"] / float(density) ** 2 for each in kernel_rows(results)[width, density]]
        claim(f"factor of the pruned kernel, density {density}, over density²", "1 in the limit (Yang and Wang)",
              written(ratio), holds(ratio, lambda r: abs(r - 1) <= 0.2, "consistent with"))  # fmt: skip
    off = descent(results, str(width), "0.0625", "rescaled", "from kernel").max(1).tolist()
    claim(f"descent of the rescaled network, width {width}, density 1/16, off its kernel", "→ 0 (Jacot 2018)",
          written(off), holds(off, lambda o: o <= 0.1, "consistent with"))  # fmt: skip
    small = f"{results['settings']['scales'][0]:g}"
    ratio = [run["bias"][small]["l1"] / run["bias"]["least L1"]["l1"] for run in results["optimization"]]
    claim(f"L1 norm from scale {small}, least = 1", "→ 1 (Woodworth 2020)", written(ratio, 3),
          holds(ratio, lambda r: r <= 1.02, "consistent with"))  # fmt: skip
    worst, best, least = (
        worst_mild_ticket(results),
        best_ticket(results),
        list(results["generalization"][0]["tickets"])[-1],
    )
    ticket = noisy(results, "tickets", best, "last", "test_errors")
    for what, said, values, yes in (
        (f"ticket of {part(worst)} (worst of 1/2 to 1/8 on noisy validation), worse than dense", "first worse",
         above(results, worst, "1"), "worse"),
        (f"ticket of {part(best)} (best on noisy validation), better than dense", "then better",
         above(results, "1", best), "better"),
        (f"ticket of {part(least)}, worse than that", "worse at last", above(results, least, best), "worse"),
    ):  # fmt: skip
        claim(what, f"{said} (He 2022)", f"{written(values, 1)} points", holds(values, lambda v: v > 0, yes))
    stopped = noisy(results, "tickets", "1", "stopped", "test_errors")
    over = [a - b for a, b in zip(stopped, ticket, strict=True)]
    claim(f"ticket of {part(best)}, better than the dense network stopped early", "not asked",
          f"{written(over, 1)} points", holds(over, lambda g: g > 0, "better"))  # fmt: skip
    mask = best_ticket(results, "random")
    chance = noisy(results, "random", mask, "last", "test_errors")
    lead = [a - b for a, b in zip(chance, ticket, strict=True)]
    claim(f"ticket of {part(best)}, better than the random mask of {part(mask)} (chosen alike)", "not asked",
          f"{written(lead, 1)} points", holds(lead, lambda g: g > 0, "better"))  # fmt: skip
    sparsest = list(results["generalization"][0]["random"])[-1]
    fit, test = (noisy(results, "random", sparsest, "last", key) for key in ("fit", "test_errors"))
    at_chance = [float(f >= 99 and t >= 85) for f, t in zip(fit, test, strict=True)]
    claim(f"random {part(sparsest)}: fits everything and tests at chance", "exists (Yang 2023, two layers)",
          f"fit {written(fit, 0)}%, test errors {written(test, 0)}%", holds(at_chance, bool, "seen"))  # fmt: skip
    name = chosen_number(results)
    for which, label in (("confirmed", "new seeds"), ("other network", "another network")):
        groups = results["topology"][which]
        sparse = [rows_ for density, rows_ in groups.items() if float(density) <= 0.01]
        rho = [correlation(rows_, name) for rows_ in sparse]
        claim(f"{name} tells accuracy at ≤ 1%, {label}", "goal: ρ ≥ 0.9", written(rho),
              "reached" if rho and min(rho) >= 0.9 else "not reached")  # fmt: skip
        paths = [correlation(connected(rows_), name) for rows_ in sparse]
        claim(f"the same, of networks that have a path, {label}", "not asked", written(paths),
              "ρ ≥ 0.9" if paths and min(paths) >= 0.9 else "not ρ ≥ 0.9")  # fmt: skip
        with_path = {density: connected(rows_) for density, rows_ in groups.items()}
        for chosen, of in ((groups, "all networks"), (with_path, "those that have a path")):
            beaten = rivals_beaten(chosen, name)
            claim(f"{name} above both IMDBs and both layer densities, {label}, {of}",
                  "goal: above IMDB at each density", f"{beaten} of {len(groups)} densities",
                  "reached" if beaten == len(groups) else "not reached")  # fmt: skip
    return plots.Table(["claim", "paper or goal", "ours, mean (lowest–highest)", "verdict"], rows)


# --- lab --------------------------------------------------------------------------------------------------------------


def errors_by_units(errors: Mapping[int, Sequence[float]]) -> None:
    """Draw the errors of pruned units, a dot for each weight, and their median."""
    figure, axis = plots.new_figure(height=3)
    for units, values in errors.items():
        axis.plot([units] * len(values), np.maximum(values, 1e-9), linestyle="", marker=".", color=BLUE, alpha=0.4)
    axis.plot(list(errors), [np.median(v) for v in errors.values()], color="black", marker="s")
    axis.set(
        yscale="log", xlabel="random units on a side", ylabel="|slope − weight|", title="forty weights, and median"
    )
    axis.set_xticks(list(errors))
    plots.show(figure, "Dots of the error for several numbers of units, and their median, which falls in a line.")


def kernels_figure(kernels: Mapping[str, Tensor]) -> None:
    """Draw kernels as coloured squares, all on one scale."""
    figure, axes = plots.new_figure(1, len(kernels), width=2.6 * len(kernels), height=2.7)
    top = max(float(kernel.max()) for kernel in kernels.values())
    for axis, (name, kernel) in zip(axes, kernels.items(), strict=True):
        axis.imshow(kernel.numpy(), vmin=0, vmax=top, cmap="viridis")
        blank(axis, name)
    plots.show(figure, "Kernels as coloured squares: the wide networks look like the limit, the narrow one does not.")


def weights_figure(solutions: Mapping[str, Tensor]) -> None:
    """Draw the weights of several solutions, one row each."""
    figure, axes = plots.new_figure(len(solutions), 1, width=6.4, height=1.2 * len(solutions) + 0.4)
    for axis, (name, weights) in zip(axes, solutions.items(), strict=True):
        axis.bar(range(len(weights)), weights.tolist(), color=BLUE)
        axis.set_ylabel(name, fontsize=8)
    axes[-1].set_xlabel("weight")
    plots.show(figure, "Bars of the weights: from a small start a few large ones, from a large start many small ones.")


def reports_table(reports: Mapping[str, Mapping[str, float]], right: Mapping[str, float]) -> plots.Table:
    """What `mask_report` says of each mask, and how well the network was trained."""
    rows = [
        [name, f"{r['kept']:.3f}", f"{r['effective']:.3f}", f"{r['paths']:,.0f}", f"{r['gap']:.2f}",
         f"{r['trace']:.3g}", f"{r['slowest']:.1e}", f"{right[name]:.1f}"] for name, r in reports.items()
    ]  # fmt: skip
    columns = ["masks", "kept", "effective", "paths", "gap", "trace", "slowest", "right after training (%)"]
    return plots.Table(columns, rows)
