"""Tables and figures of lecture 04 and of its lab."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from matplotlib import patches
from matplotlib.axes import Axes
from torch import Tensor

from course_utils import plots, structured
from course_utils.structured.timing import regular_shape

Results = Mapping[str, Any]  # of `course reproduce structured`
FULL = "20—50"
KEPT = plots.COLOURS[1]


def blank(axis: Axes, title: str) -> None:
    """An axis for a drawing: no ticks, no frame."""
    axis.set_title(title, fontsize=10)
    axis.set(xticks=[], yticks=[])
    axis.grid(visible=False)
    for spine in axis.spines.values():
        spine.set_visible(False)


def cells(axis: Axes, mask: np.ndarray, title: str, colours: np.ndarray | None = None) -> None:
    """Draw a matrix: a filled square where it is not 0, an empty one where it is."""
    rows, columns = mask.shape
    for i, j in np.ndindex(rows, columns):
        colour = (KEPT if colours is None else plots.COLOURS[colours[i, j]]) if mask[i, j] else "white"
        axis.add_patch(patches.Rectangle((j, -i - 1), 0.9, 0.9, facecolor=colour, edgecolor="#999999", linewidth=0.5))
    axis.set(xlim=(-0.3, columns + 0.3), ylim=(-rows - 0.3, 0.3), aspect="equal")
    blank(axis, title)


# --- lecture: drawings ------------------------------------------------------------------------------------------------


def two_patterns() -> None:
    """Draw as many non-zeros scattered, and in rows and columns, and these pushed together."""
    layout = np.random.RandomState(1)
    regular = np.zeros((8, 12), dtype=bool)
    regular[np.ix_([1, 4, 6], [0, 3, 4, 7, 10])] = True
    scattered = np.zeros(96, dtype=bool)
    scattered[layout.permutation(96)[: regular.sum()]] = True
    figure, axes = plots.new_figure(1, 3, width=9.5, height=2.9)
    cells(axes[0], scattered.reshape(8, 12), "non-structured: 15 of 96, anywhere")
    cells(axes[1], regular, "structured: 3 rows × 5 columns")
    cells(axes[2], np.ones((3, 5), dtype=bool), "the same, pushed together")
    axes[2].set(xlim=(-0.3, 12.3), ylim=(-8.3, 0.3))
    plots.show(
        figure,
        "Three matrices of squares. The first has fifteen filled squares scattered over eight rows and twelve columns; "
        "the second as many, at the crossings of three rows and five columns; the third is a small full matrix of "
        "three rows and five columns.",
    )


def groups_of_a_weight() -> None:
    """Draw a filter, a channel and a single weight of a convolution as groups in the matrix of its kernels."""
    figure, axes = plots.new_figure(1, 3, width=9.5, height=2.7)
    rows, columns = 5, 4
    for axis, title, chosen in zip(
        axes,
        ("a filter W[n]: a row", "a channel W[:, c]: a column", "both die: what is left"),
        ((1, None), (None, 2), (1, 2)),
        strict=True,
    ):
        for n, c in np.ndindex(rows, columns):
            hit = (n == chosen[0], c == chosen[1])
            colour = plots.COLOURS[2] if hit[0] else plots.COLOURS[3] if hit[1] else "#eeeeee"
            hatch = "//" if hit[0] else ".." if hit[1] else ""
            if chosen == (1, 2):
                colour, hatch = ("white", "") if any(hit) else (KEPT, "")
            for i, j in np.ndindex(3, 3):
                corner = (4 * c + j, -4 * n - i)
                box = {"facecolor": colour, "edgecolor": "#777777", "linewidth": 0.4, "hatch": hatch}
                axis.add_patch(patches.Rectangle(corner, 0.95, 0.95, **box))
        axis.set(xlim=(-1, 4 * columns), ylim=(-4 * rows + 1, 2), aspect="equal", xlabel="channels c")
        blank(axis, title)
    axes[0].set_ylabel("filters n")
    plots.show(
        figure,
        "Five by four kernels of three by three weights, three times. In the first the kernels of one row are marked, "
        "in the second those of one column; in the third that row and that column are empty and all others filled.",
    )


def shrinking_vectors() -> None:
    """Draw groups of two weights before and after a proximal step, and after one weight by weight."""
    angles, lengths = np.linspace(0, 2 * np.pi, 12, endpoint=False) + 0.2, np.tile([0.6, 1.3, 2.0], 4)
    before = np.stack([lengths * np.cos(angles), lengths * np.sin(angles)], axis=1)
    weight = torch.from_numpy(before)
    figure, axes = plots.new_figure(1, 2, width=8, height=3.8)
    for axis, title, after in zip(
        axes,
        ("group lasso: the length shrinks by t", "lasso: each weight shrinks by t"),
        (structured.shrink_groups(weight, 0.8, 0), structured.shrink_groups(weight.flatten(), 0.8, 0).view(-1, 2)),
        strict=True,
    ):
        for start, end in zip(before, after.numpy(), strict=True):
            axis.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": KEPT, "linewidth": 1.4})
        axis.plot(*before.T, "o", linestyle="", color="black", markersize=4, label="before")
        axis.plot(*after.numpy().T, "s", linestyle="", color=plots.COLOURS[2], markersize=5, label="after")
        angle = np.linspace(0, 2 * np.pi, 100)
        dead = (0.8 * np.cos(angle), 0.8 * np.sin(angle))
        if after is not None and title.startswith("group"):
            axis.plot(*dead, marker="", linestyle=":", color="#666666", label="‖w‖ = t")
        axis.set(title=title, xlabel="w₁", ylabel="w₂", xlim=(-2.2, 2.2), ylim=(-2.2, 2.2), aspect="equal")
    axes[0].legend(loc="upper right", fontsize=8)
    plots.show(
        figure,
        "Twelve points in a plane with arrows to where a step takes them. Left, the group lasso: all move straight "
        "towards the origin by the same length, and those within a dotted circle end at the origin. Right, weight by "
        "weight: points move along both axes, and many end on an axis, with one weight 0 and the other not.",
    )


def slopes_at_zero() -> None:
    """Draw a loss with its penalty along one group's length, and the slope of each, where the minimum is at 0."""
    length = np.linspace(-1.2, 1.2, 401)
    figure, axes = plots.new_figure(1, 2, width=9, height=3.2)
    for slope, colour, line in ((0.6, plots.COLOURS[1], "--"), (1.6, plots.COLOURS[2], "-")):
        loss = 0.5 * (length - slope) ** 2 - 0.5 * slope**2 + np.abs(length)
        axes[0].plot(length, loss, marker="", linestyle=line, color=colour, label=f"‖gradient‖ at 0: {slope:g}")
    axes[0].axvline(0, color="#999999", linestyle=":", marker="")
    axes[0].set(title="loss + λ‖w‖ with λ = 1", xlabel="along the group (0: dead)", ylabel="objective − its value at 0")
    axes[0].legend(fontsize=8)
    steps, rate = 20, 0.3
    sub = prox = 1.0
    paths = {"subgradient": [sub], "proximal step": [prox]}
    for _ in range(steps):
        sub = sub - rate * ((sub - 0.6) + np.sign(sub))
        descended = prox - rate * (prox - 0.6)
        prox = np.sign(descended) * max(abs(descended) - rate, 0.0)
        for name, value in (("subgradient", sub), ("proximal step", prox)):
            paths[name].append(value)
    for name, path in paths.items():
        axes[1].plot(path, label=name, markersize=4)
    axes[1].set(
        title="the first of the two, descended", xlabel="step", ylabel="along the group", xticks=range(0, 21, 5)
    )
    axes[1].legend(fontsize=8)
    plots.show(
        figure,
        "Left, two objectives along a group, both with a corner at 0: the dashed one has its minimum in the corner, "
        "the solid one to its right. Right, two descents of the first: the subgradient jumps to and fro about 0 and "
        "never rests there; the proximal step comes to 0 after a few steps and stays.",
    )


def death_spreads() -> None:
    """Draw a small network whose unit is dead, and what dies of it, forwards and backwards."""
    columns = [3, 4, 4, 3]
    edges = {(0, a, b) for a in range(3) for b in (0, 2, 3)} | {(1, a, b) for a in range(4) for b in (0, 2)}
    edges |= {(0, 1, 1), (1, 1, 3), (2, 0, 0), (2, 0, 1), (2, 2, 1), (2, 2, 2), (2, 3, 2)}
    edges |= {(1, 3, 1)}  # read by a unit that nobody reads
    edges -= {(1, 3, 0), (1, 3, 2)}
    figure, axes = plots.new_figure(1, 3, width=10.5, height=3)
    stages = (
        ("filter 1 of conv1 is 0, nobody reads unit 1", {(0, 1), (2, 1)}),
        ("what saw only it, what only it read", {(0, 1), (2, 1), (1, 1), (1, 3)}),
        ("and so on, until nothing changes", {(0, 1), (2, 1), (1, 1), (1, 3), (2, 3)}),
    )
    for axis, (title, dead) in zip(axes, stages, strict=True):
        for layer, a, b in edges:
            gone = (layer, a) in dead or (layer + 1, b) in dead
            style = {"linestyle": ":" if gone else "-", "color": "#bbbbbb" if gone else KEPT, "linewidth": 1}
            axis.plot([layer, layer + 1], [-a, -b], marker="", **style)
        for layer, count in enumerate(columns):
            for n in range(count):
                gone = (layer, n) in dead
                axis.plot(
                    [layer], [-n], marker="X" if gone else "o", markersize=9, color="#D55E00" if gone else "black"
                )
        for layer, name in enumerate(("conv1", "conv2", "fc1", "classes")):
            axis.text(layer, 0.45, name, ha="center", fontsize=8)
        axis.set(xlim=(-0.4, 3.4), ylim=(-3.4, 0.9))
        blank(axis, title)
    plots.show(
        figure,
        "The same four columns of units with their connections, three times. At first one unit of the first column and "
        "one of the third are crossed out; then also the unit of the second column that was connected to the first "
        "only, and the one that only the other read; then what these leave without a connection in turn.",
    )


def column_blocks() -> None:
    """Draw which columns of the linear layer belong to which filter after flattening, right and wrong."""
    figure, axes = plots.new_figure(2, 1, width=8.5, height=2.6)
    ways = (
        ("right: filter n owns P columns side by side", np.repeat([1, 2, 3], 4)),
        ("wrong: every third column", np.tile([1, 2, 3], 4)),
    )
    for axis, (title, owners) in zip(axes, ways, strict=True):
        cells(axis, np.ones((2, 12), dtype=bool), title, np.tile(owners, (2, 1)))
        for j, n in enumerate(owners):
            axis.text(j + 0.45, -0.55, str(n - 1), ha="center", va="center", color="white", fontsize=9)
    plots.show(
        figure,
        "Two matrices of two rows and twelve columns, numbered by filter. Above, right: four columns of filter 0, then "
        "four of filter 1, then four of filter 2. Below, wrong: 0, 1, 2, 0, 1, 2 and so on.",
    )


# --- lecture: what was measured ---------------------------------------------------------------------------------------


def speedups(results: Results, layer: str, batch: int, threads: int = 1) -> dict[str, list[float]]:
    """Times as fast as the dense layer, by width, one for each run of the clock."""
    runs = [run["layers"][str(threads)][layer][str(batch)] for run in results["times"]]
    return {width: [run[FULL][0] / run[width][0] for run in runs] for width in runs[0]}


def share_of_macs(results: Results, layer: str) -> dict[str, float]:
    """A layer's multiply-accumulates as a part of the dense layer's, by width."""
    return {width: macs[layer] / results["macs"][FULL][layer] for width, macs in results["macs"].items()}


# How a narrow network came to be, in words; the first is what the others are compared with
ORIGINS = {"lasso": "by the lasso", "random": "drawn at random", "scratch": "narrow from the start"}


def narrow_widths(results: Results) -> list[str]:
    """The widths but for the full one, the widest first."""
    return [width for width in results["macs"] if width != FULL]


def percent(results: Results, way: str, width: str, split: str) -> list[float]:
    """Errors in percent, one for each seed. way: dense, lasso, random or scratch."""
    total = results["data"][split]
    found = [run["dense"] if way == "dense" else run[way][width] for run in results["runs"]]
    return [100 * one[f"{split}_errors"] / total for one in found]


def written(values: Sequence[float], digits: int = 2) -> str:
    return plots.mean_and_range(values, digits).replace("-", "−")


def deck_table(results: Results) -> plots.Table:
    """The deck's table, and what follows from it."""
    rows = []
    for row in results["paper"]["rows"]:
        (f1, f2), (_, c2), flop, times = row["filters"], row["channels"], row["flop"], row["speedup"]
        computed = f"{100 * f1 / 20:.3g}—{100 * f2 * c2 / 1000:.3g}"
        clock = "—" if f2 == 50 else f"{times[1] * flop[1] / 100:.0%}"
        rows.append(
            [
                f"{row['error']}%",
                f"{f1}—{f2}",
                f"1—{c2}",
                f"{flop[0]}—{flop[1]}",
                computed,
                f"{times[0]}—{times[1]}",
                clock,
            ]
        )
    columns = ["error", "filters", "channels", "FLOP (%)", "filters × channels give", "speed-up (times)"]
    return plots.Table([*columns, "conv2: clock ÷ FLOP"], rows)


def unbroken(widths: str) -> str:
    """'20—50' with word joiners, so that no line ends at the dash."""
    return widths.replace("—", "\u2060—\u2060")


def conv2_keeps(results: Results, width: str) -> float:
    """The speed-up of the second convolution at batch 100, as a part of what its multiply-accumulates promise."""
    return float(np.mean(speedups(results, "conv2", 100)[width])) * share_of_macs(results, "conv2")[width]


def lenet_table(results: Results) -> plots.Table:
    """Our rows: errors of lasso and scratch, MACs, speed-ups at batch 100, and conv2's over what its MACs promise."""
    rows = []
    layers = [speedups(results, layer, 100) for layer in ("conv1", "conv2", "network")]
    macs = [share_of_macs(results, layer) for layer in ("conv1", "conv2")]
    for width in results["macs"]:
        way = "dense" if width == FULL else "lasso"
        scratch = "—" if width == FULL else written(percent(results, "scratch", width, "test"))
        rows.append(
            [
                unbroken(width),
                written(percent(results, way, width, "validation")),
                written(percent(results, way, width, "test")),
                scratch,
                unbroken("—".join(f"{100 * share[width]:.3g}" for share in macs)),
                *(f"{np.mean(times[width]):.1f}" for times in layers),
                "—" if width == FULL else f"{conv2_keeps(results, width):.0%}",
            ]
        )
    columns = ["filters", "validation error (%)", "test error (%)", "from scratch, test (%)", "MACs (%)"]
    return plots.Table([*columns, "conv1 (times)", "conv2 (times)", "network (times)", "conv2: clock ÷ MACs"], rows)


def rest_of_network(results: Results, width: str) -> list[float]:
    """The part of the time that neither convolution takes, at batch 100 on one thread; one for each run."""
    runs = [run["layers"]["1"] for run in results["times"]]
    ms = [{layer: run[layer]["100"][width][0] for layer in run} for run in runs]
    return [1 - (run["conv1"] + run["conv2"]) / run["network"] for run in ms]


def speed_table(results: Results, layer: str = "conv2") -> plots.Table:
    """How many times as fast a layer is as the dense one, by batch, threads and width; milliseconds of the dense."""
    rows = []
    # The dense conv1 puts out more at batch 1,000 than malloc keeps: its clock reads page faults
    batches = [batch for batch in results["settings"]["batches"] if layer == "conv2" or batch < 1000]
    for threads in results["settings"]["threads"]:
        for batch in batches:
            ms = np.mean([run["layers"][str(threads)][layer][str(batch)][FULL][0] for run in results["times"]])
            found = speedups(results, layer, batch, threads)
            cells = [written(found[width], 1) for width in narrow_widths(results)]
            rows.append([f"{batch:,}", threads, f"{ms:.3g}", *cells])
    narrow = narrow_widths(results)
    return plots.Table(["batch", "threads", "dense (ms)", *narrow], rows)


def speed_curves(results: Results) -> None:
    """Draw conv2's speed-up against what its MACs promise, a line for each batch."""
    promised = {width: 1 / share for width, share in share_of_macs(results, "conv2").items() if width != FULL}
    figure, axes = plots.new_figure(width=6.8, height=4)
    for batch in results["settings"]["batches"]:
        found = speedups(results, "conv2", batch)
        means = [np.mean(found[width]) for width in promised]
        (line,) = axes.plot(list(promised.values()), means, label=f"batch {batch:,}")
        lowest, highest = ([pick(found[width]) for width in promised] for pick in (min, max))
        axes.vlines(list(promised.values()), lowest, highest, color=line.get_color())
    paper = [row for row in results["paper"]["rows"] if row["flop"][1] < 100]
    axes.plot(
        [100 / row["flop"][1] for row in paper], [row["speedup"][1] for row in paper], label="Wen 2016", linestyle=""
    )
    limits = [8, 80]
    axes.plot(limits, limits, marker="", linestyle="-", color="#999999", linewidth=1, label="as MACs promise")
    axes.axhline(1, color="#999999", linestyle=":", marker="")
    ticks = [1, 2, 5, 10, 20, 50]
    axes.set(xscale="log", yscale="log", xlabel="times fewer MACs in conv2", ylabel="times as fast")
    axes.set_title("conv2 on one thread, mean and range of the runs")
    axes.set_xticks([10, 20, 50], ["10", "20", "50"])
    axes.set_yticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    plots.show(
        figure,
        "Speed-up of the second convolution against the reduction of its multiply-accumulates, both logarithmic. A "
        "diagonal is what the operations promise; all lines and the paper's two dots lie below it. Those of large "
        "batches rise with it, that of batch 1 stays flat, at about two.",
    )


def error_curves(results: Results) -> None:
    """Draw test errors in percent, a row for each width and way, a dot for each seed."""
    values = {f"dense, {FULL}": percent(results, "dense", FULL, "test")}
    for width in narrow_widths(results):
        values |= {f"{width}, {name}": percent(results, way, width, "test") for way, name in ORIGINS.items()}
    figure, axes = plots.new_figure(height=1 + 0.37 * len(values))
    plots.points_over_seeds(axes, values, "test error (%)")
    axes.axvline(0.8, color="#999999", linestyle=":", marker="")
    axes.set_title(f"{len(results['runs'])} seeds and their mean; dotted: 0.8%")
    plots.show(
        figure,
        "Dots of the test error in percent, one for each seed; mean, lowest and highest: "
        + "; ".join(f"{name}: {written(errors)}" for name, errors in values.items())
        + ".",
    )


def origins_table(results: Results) -> plots.Table:
    """Networks of one width, by how they came to be."""
    rows = []
    for width in narrow_widths(results):
        for way, name in ORIGINS.items():
            found = [written(percent(results, way, width, split)) for split in ("validation", "test")]
            rows.append([unbroken(width), name, *found])
    return plots.Table(["filters", "how they were chosen", "validation error (%)", "test error (%)"], rows)


def origins_words(results: Results) -> str:
    """In how many seeds the lasso's filters make fewer errors."""
    said = []
    for split in ("validation", "test"):
        for width in narrow_widths(results):
            lasso, random, scratch = (percent(results, way, width, split) for way in ORIGINS)
            fewer = [sum(a < b for a, b in zip(lasso, other, strict=True)) for other in (random, scratch)]
            said.append(
                f"{width}, {split} digits: the lasso's make fewer errors than those drawn at random in {fewer[0]} of "
                f"{len(lasso)} seeds,\nthan those narrow from the start in {fewer[1]}."
            )
    return "\n".join(said)


def narrowing_curves(results: Results) -> None:
    """Draw the filters that are left and the seconds of each part, of the narrowest network of the first seed."""
    width = narrow_widths(results)[-1]
    parts = results["runs"][0]["lasso"][width]["parts"]
    numbers = np.arange(1, len(parts) + 1)
    figure, axes = plots.new_figure(1, 2, width=9, height=3.2)
    for place, name in enumerate(("conv1", "conv2")):
        axes[0].plot(numbers, [part["filters"][place] for part in parts], label=name)
    axes[0].set(title=f"filters left, towards {width}", xlabel="part of the epoch", ylabel="filters", ylim=(0, 52))
    axes[0].legend()
    axes[1].plot(numbers, [part["seconds"] for part in parts])
    axes[1].set(title="as many images, faster and faster", xlabel="part of the epoch", ylabel="processor seconds")
    axes[1].set_ylim(bottom=0)
    plots.show(
        figure,
        "Left, the filters of both convolutions over the parts of an epoch: both fall steeply and come to rest at "
        "their targets. Right, the seconds that a part takes: they fall with them.",
    )


def descent_curves(results: Results) -> None:
    """Draw the norms of conv2's filters over the training, by proximal steps and along the subgradient."""
    figure, axes = plots.new_figure(1, 2, width=9, height=3.4)
    for axis, way in zip(axes, ("proximal", "subgradient"), strict=True):
        norms = np.array(results["runs"][0][way]["norms"])
        steps = np.arange(1, len(norms) + 1)
        for filter_norms in norms.T:
            alive = np.where(filter_norms > 0, filter_norms, np.nan)
            axis.plot(steps, alive, marker=".", markersize=3, linestyle="-", color=KEPT, linewidth=0.8, alpha=0.6)
        axis.set(
            title=f"{way}: {results['runs'][0][way]['dead']} of 50 are 0", xlabel="part of the epoch", yscale="log"
        )
        axis.set(ylim=(1e-5, 1), ylabel="norm of a filter of conv2")
        axis.set_yticks([1e-5, 1e-4, 0.001, 0.01, 0.1, 1], ["0.00001", "0.0001", "0.001", "0.01", "0.1", "1"])
    plots.show(
        figure,
        "Fifty lines, the norms of the second convolution's filters over an epoch, logarithmic, twice. With proximal "
        "steps many lines end, where a filter is exactly 0. Along the subgradient they sink, and all go on.",
    )


def most_dead(run: Mapping[str, Any]) -> int:
    """The most filters of conv2 that were 0 at one look at the training by proximal steps."""
    return int((np.array(run["proximal"]["norms"]) == 0).sum(axis=1).max())


def descent_table(results: Results) -> plots.Table:
    """Dead filters of both ways by seed, and how many of the subgradient's lie below thresholds."""
    rows = []
    for run in results["runs"]:
        last = np.array(run["subgradient"]["norms"][-1])
        below = [int((last <= threshold).sum()) for threshold in (1e-4, 1e-2, 1e-1)]
        dead = run["proximal"]["dead"], most_dead(run), run["subgradient"]["dead"]
        errors = [run[way]["validation_errors"] for way in ("proximal", "subgradient")]
        rows.append([run["seed"], *dead, f"{last.min():.2g}", *below, *errors])
    columns = ["seed", "proximal: 0 at the end", "most at once", "subgradient: 0 at the end", "its shortest"]
    columns += ["≤ 0.0001", "≤ 0.01", "≤ 0.1", "validation errors, proximal", "subgradient"]
    return plots.Table(columns, rows)


WAYS = (
    "convolution, dense",
    "convolution, scattered zeros",
    "lowering alone",
    "lowered, dense",
    "lowered, CSR",
    "lowered, COO",
    "lowered, rows and columns",
    "product alone, dense",
    "product alone, CSR",
    "product alone, COO",
    "product alone, rows and columns",
    "product alone, pushed together before",
)


def zeros_table(results: Results, batch: int = 100) -> plots.Table:
    """Milliseconds of conv2 by way and by the part of its weights that is kept: means of the runs' medians."""
    runs = [run["zeros"][str(batch)] for run in results["times"]]
    rows = [[way, *(f"{np.mean([run[kept][way][0] for run in runs]):.3g}" for kept in runs[0])] for way in WAYS]
    return plots.Table([f"batch {batch:,}, ms", *(f"{part(kept)} kept" for kept in runs[0])], rows)


def part(kept: str) -> str:
    """A fraction of the results file in percent."""
    return f"{100 * float(kept):.3g}%"


def gains(results: Results, way: str, against: str, batch: int = 100) -> dict[str, list[float]]:
    """Times as fast as another way, by the part kept, one for each run."""
    runs = [run["zeros"][str(batch)] for run in results["times"]]
    return {kept: [run[kept][against][0] / run[kept][way][0] for run in runs] for kept in runs[0]}


def best_sparse_gains(results: Results, start: str, against: str, batch: int) -> dict[str, list[float]]:
    """`gains` of scattered zeros in the faster of PyTorch's formats CSR and COO, run by run."""
    csr, coo = (gains(results, f"{start}, {name}", against, batch) for name in ("CSR", "COO"))
    return {kept: list(map(max, csr[kept], coo[kept])) for kept in csr}


def product_keeps(results: Results, kept: str, batch: int = 100) -> float:
    """The speed-up of the product of pushed together rows and columns, as a part of what its operations promise."""
    rows, columns = regular_shape(float(kept))
    times = gains(results, "product alone, pushed together before", "product alone, dense", batch)[kept]
    return float(np.mean(times)) * rows * columns / (50 * 500)


def zeros_curves(results: Results) -> None:
    """Draw the time of conv2 by way against the weights kept, as a multiple of the dense convolution's."""
    figure, axes = plots.new_figure(width=7.4, height=4)
    lowered = [f"lowered, {name}" for name in ("dense", "CSR", "rows and columns")]
    for way in ("convolution, scattered zeros", *lowered, "product alone, pushed together before", "lowered, COO"):
        found = gains(results, "convolution, dense", way)
        axes.plot([100 * float(kept) for kept in found], [np.mean(values) for values in found.values()], label=way)
    axes.axhline(1, color="#999999", linestyle=":", marker="", label="dense convolution")
    axes.set(xscale="log", yscale="log", xlabel="weights kept (%)", ylabel="time, dense convolution = 1")
    axes.set_title("conv2 with zeros, batch 100, one thread")
    axes.set_xticks([50, 20, 10, 5, 2], ["50", "20", "10", "5", "2"])
    axes.set_yticks([0.05, 0.1, 0.2, 0.5, 1, 2, 5], ["0.05", "0.1", "0.2", "0.5", "1", "2", "5"])
    axes.minorticks_off()
    axes.invert_xaxis()
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    plots.show(
        figure,
        "Time of the second convolution as a multiple of the dense one's, against the weights kept, logarithmic. "
        "Zeros stored as numbers lie on the line of 1 throughout, the lowered dense product above it. Lowered CSR, COO "
        "and rows and columns begin above it and end somewhat below, rows and columns first. The product of a matrix "
        "that was pushed together before, which lowers and gathers nothing, lies below it and falls as fewer weights "
        "are kept.",
    )


def chosen_width(results: Results) -> str:
    """The narrowest network whose mean validation error is at most as asked; the dense one if none is."""
    limit = results["settings"]["at_most"]
    good = [
        width for width in narrow_widths(results) if np.mean(percent(results, "lasso", width, "validation")) <= limit
    ]
    return good[-1] if good else FULL


def holds(values: Sequence[float], rule: Callable[[float], bool], yes: str) -> str:
    """What seeds or runs say of a claim: yes if it holds in all, and on average only, or not."""
    if len(values) < 3:
        return "not testable with so few seeds"
    if all(map(rule, values)):
        return f"{yes}, in all {len(values)}"
    return f"{yes}, on average only" if rule(float(np.mean(values))) else f"not {yes.split()[0]}"


def holds_at(found: Mapping[str, Sequence[float]], rule: Callable[[float], bool], yes: str) -> str:
    """At which parts of the weights kept a claim holds in every run."""
    if any(len(values) < 3 for values in found.values()):
        return "not testable with so few runs"
    where = [part(kept) for kept, values in found.items() if all(map(rule, values))]
    if len(where) in (0, len(found)):
        return yes if where else f"not {yes.split()[0]}"
    return f"depends on the part kept: {yes} at {', '.join(where)}"


def claims_table(results: Results) -> plots.Table:
    """What was claimed, the paper's figure, ours, and what each rule says of it."""
    rows: list[list[object]] = []

    def claim(what: str, said: str, values: Sequence[float], unit: str, verdict: str) -> None:
        rows.append([what, said, written(values, {"×": 1, "": 0}.get(unit, 2)) + unit, verdict])

    best = partial(best_sparse_gains, results)

    def product(way: str) -> dict[str, list[float]]:
        return gains(results, f"product alone, {way}", "product alone, dense")

    conv2, elsewhere = speedups(results, "conv2", 100), "reached by other means"
    for width, row in zip(("5—19", "3—12"), results["paper"]["rows"][1:], strict=True):
        error, times = row["error"], row["speedup"][1]
        test = percent(results, "lasso", width, "test")
        verdict = holds(test, lambda e, most=error: e <= most, elsewhere)
        claim(f"test error at {width} filters", f"{error}%", test, "%", verdict)
        verdict = holds(conv2[width], lambda t, least=times: t >= least, elsewhere)
        claim(f"conv2 at {width} filters, batch 100", f"{times}×, product alone", conv2[width], "×", verdict)
    width = chosen_width(results)
    test = percent(results, "dense" if width == FULL else "lasso", width, "test")
    what = f"goal: test error of {width}, chosen on validation digits"
    claim(what, "≤ 0.8%", test, "%", holds(test, lambda e: e <= 0.8, "reached"))
    for batch in (100, 1):
        times = speedups(results, "conv2", batch)[width]
        verdict = holds(times, lambda t: t >= 20, "reached")
        claim(f"goal: conv2 of {width}, batch {batch}, in a new process", "≥ 20×", times, "×", verdict)

    def fewer(of: str, lasso: Sequence[float], than: Sequence[float]) -> None:
        points = [b - a for a, b in zip(lasso, than, strict=True)]
        verdict = holds(points, lambda d: round(d, 2) > 0, "fewer")  # as printed
        claim(f"fewer errors than {of}, by", "not tested", points, " points", verdict)

    for name in narrow_widths(results):
        lasso, *others = (percent(results, way, name, "test") for way in ORIGINS)
        for way, other in zip(list(ORIGINS.values())[1:], others, strict=True):
            fewer(f"{name} {way}", lasso, other)
    dead = [run["proximal"]["dead"] for run in results["runs"]]
    claim("filters at 0 by proximal steps, of 50", "some", dead, "", holds(dead, lambda n: n > 0, elsewhere))
    dead = [run["subgradient"]["dead"] for run in results["runs"]]
    claim("filters at 0 along the subgradient, of 50", "needs a threshold", dead, "", "by construction")
    as_numbers = gains(results, "convolution, scattered zeros", "convolution, dense")
    times = [value for runs in as_numbers.values() for value in runs]
    claim("scattered zeros as numbers, batch 100", "no practical speed-up", times, "×", "by construction")
    least = results["paper"]["concatenation"]
    practical = "no practical speed-up", lambda t: t > 1, "faster"
    pushed = f"{least:g}×", lambda t: t >= least, "reached"
    sparse, convolution = "scattered zeros, the faster of CSR and COO", "convolution, dense"
    for what, found, (said, rule, yes) in (
        (f"{sparse}, product alone, batch 100", best("product alone", "product alone, dense", 100), practical),
        ("the same, lowered, against the convolution, batch 100", best("lowered", convolution, 100), practical),
        ("the same, batch 1", best("lowered", convolution, 1), practical),
        ("rows and columns, pushed together before, product alone", product("pushed together before"), pushed),
        ("the same, gathered at run time", product("rows and columns"), pushed),
    ):
        ours = ", ".join(f"{np.mean(values):.1f}× at {part(kept)}" for kept, values in found.items())
        rows.append([what, said, ours, holds_at(found, rule, yes)])
    return plots.Table(["claim", "paper, deck or goal", "ours, mean (lowest–highest)", "verdict"], rows)


# --- lab --------------------------------------------------------------------------------------------------------------


def norms_figure(norms: Mapping[str, Tensor]) -> None:
    """Draw sorted norms by name."""
    figure, axes = plots.new_figure(height=3)
    for name, values in norms.items():
        axes.plot(range(1, len(values) + 1), values.detach().sort(descending=True).values, label=name, markersize=4)
    axes.set(xlabel="rank", ylabel="norm", title="norms of a trained LeNet, from the longest to the shortest")
    axes.set_ylim(bottom=0)
    axes.legend()
    plots.show(
        figure, "Sorted norms of the filters and channels of a trained network: they fall slowly, and none is 0."
    )


def paths_figure(paths: Mapping[str, Sequence[Tensor]]) -> None:
    """Draw the norms of a few groups over steps, a panel for each way to descend."""
    figure, axes = plots.new_figure(1, len(paths), width=9, height=3.2)
    for axis, (name, steps) in zip(axes, paths.items(), strict=True):
        norms = torch.stack(list(steps)).numpy()
        axis.plot(np.where(norms > 0, norms, np.nan), marker="", linestyle="-", color=KEPT, linewidth=1)
        axis.set(title=f"{name}: {int((norms[-1] == 0).sum())} of {norms.shape[1]} are 0", yscale="log")
        axis.set(xlabel="step", ylabel="norm of a filter", ylim=(1e-4, 10))
        axis.set_yticks([1e-4, 0.01, 1], ["0.0001", "0.01", "1"])
    plots.show(
        figure,
        "Norms of filters over steps, logarithmic, in two panels: by proximal steps some lines end at 0; along the "
        "subgradient they sink and flicker, and none ends.",
    )
