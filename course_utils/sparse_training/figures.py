"""Tables and figures of lecture 09 and of its lab."""

from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import torch
from matplotlib import patches
from matplotlib.axes import Axes
from torch import Tensor

from course_utils import plots, sparse_training
from course_utils.sparse_training.film import unpacked
from course_utils.sparse_training.network import SIZES, weight_shapes

Results = Mapping[str, Any]  # of `course reproduce sparse-training`
METHODS = ("static", "SET", "RigL")
KEPT, GONE, NEW = plots.COLOURS[1], plots.COLOURS[2], plots.COLOURS[3]
# Pixels that no shifted training digit of MNIST lights, as (row, column); listed, so that the lecture needs no download
UNLIT = (
    *((0, 0), (0, 1), (0, 2), (1, 0), (2, 0), (0, 25), (0, 26), (0, 27), (1, 27)),
    *((24, 0), (25, 0), (26, 0), (27, 0), (27, 1), (27, 26), (27, 27)),
)


def blank(axis: Axes, title: str) -> None:
    """An axis for a drawing: no ticks, no frame."""
    axis.set_title(title, fontsize=10)
    axis.set(xticks=[], yticks=[])
    axis.grid(visible=False)
    for spine in axis.spines.values():
        spine.set_visible(False)


def square(axis: Axes, i: int, j: int, colour: str, text: str = "", hatch: str = "", ink: str = "white") -> None:
    """A cell of a drawn matrix, row i and column j."""
    box = {"facecolor": colour, "edgecolor": "#888888", "linewidth": 0.6, "hatch": hatch}
    axis.add_patch(patches.Rectangle((j, -i - 1), 0.92, 0.92, **box))
    if text:
        axis.text(j + 0.46, -i - 0.54, text, ha="center", va="center", fontsize=8, color=ink)


# --- lecture: drawings ------------------------------------------------------------------------------------------------


def drop_and_grow() -> None:
    """Draw one RigL update of a small layer, computed by the exercise's own reference."""
    rng = torch.Generator().manual_seed(4)
    mask = sparse_training.random_mask((4, 7), 10 / 28, seed=3)
    weight = (torch.randn(4, 7, generator=rng) * 10).round() / 10
    weight = torch.where(weight == 0, 0.3, weight) * mask
    gradient = (torch.randn(4, 7, generator=rng) * 10).round() / 10 + 0.0  # no −0.0
    # The steepest slope of all lies where a connection is dropped: it returns
    dropped = weight.abs().masked_fill(~mask, 99).argmin()
    gradient.view(-1)[dropped] = -3.1
    _, new, velocity = sparse_training.rigl_update(weight, mask, mask.float(), gradient, 0.4)
    stays = velocity != 0
    figure, axes = plots.new_figure(1, 3, width=10, height=2.5)
    for axis in axes:
        axis.set(xlim=(-0.2, 7.2), ylim=(-4.2, 0.2), aspect="equal")
    for i, j in np.ndindex(4, 7):
        w, g = f"{weight[i, j]:.1f}", f"{gradient[i, j]:.1f}"
        gone, grown = bool(mask[i, j] & ~stays[i, j]), bool(new[i, j] & ~stays[i, j])
        square(
            axes[0],
            i,
            j,
            "white" if gone or not mask[i, j] else KEPT,
            w if mask[i, j] else "",
            ink="black" if gone else "white",
        )
        square(axes[1], i, j, KEPT if stays[i, j] else "white", "" if stays[i, j] else g, ink="black")
        square(
            axes[2],
            i,
            j,
            KEPT if stays[i, j] else "white",
            w if stays[i, j] else "0" if grown else "",
            ink="white" if stays[i, j] else "black",
        )
        for axis, marked, colour, line in (
            (axes[0], gone, GONE, "--"),
            (axes[1], grown, NEW, "-"),
            (axes[2], grown, NEW, "-"),
        ):
            if marked:
                frame = {"fill": False, "edgecolor": colour, "linewidth": 2.5, "linestyle": line}
                axis.add_patch(patches.Rectangle((j + 0.05, -i - 0.95), 0.82, 0.82, **frame))
    blank(axes[0], "weights: 4 of 10 go (dashed)")
    blank(axes[1], "slopes: the 4 steepest grow (framed)")
    blank(axes[2], "after: 10 again, the new ones at 0")
    plots.show(
        figure,
        "Three small matrices. Left, ten connections with their weights, the four of smallest magnitude framed by "
        "dashes. Middle, the slopes of all empty places, the four steepest of them framed, one of which has just "
        "been dropped. "
        "Right, again ten connections: six old weights and four zeros.",
    )


def schedules_map() -> None:
    """Draw how many weights each method has over its training."""
    steps = np.linspace(0, 1, 400)
    cubic = [100 * (1 - sparse_training.cubic_sparsity(round(1000 * t), 0, 750, 0.95)) for t in steps]
    rounds = [100 * max(0.05, 0.55 ** int(t * 6)) for t in steps]
    lines = {
        "dense": np.full(400, 100.0),
        "gradual pruning: falls along a cubic": cubic,
        "tickets (unit 07): train, prune, rewind, train again": rounds,
        "2:4: half of the weights are used, all are kept": np.full(400, 50.0),
        "SET, RigL: as many all the time, others now and then": np.full(400, 5.0),
        "static: as many, the same all the time (drawn lower)": np.full(400, 4.3),
    }
    figure, axis = plots.new_figure(width=8.5, height=3.9)
    for number, (name, weights) in enumerate(lines.items()):
        axis.plot(steps, weights, label=name, marker="", color=plots.COLOURS[number], linestyle=plots.LINES[number])
    for moment in np.arange(0.03, 0.75, 0.045):
        axis.annotate("", (moment, 5.0), (moment, 7.5), arrowprops={"arrowstyle": "->", "color": plots.COLOURS[4]})
    axis.set(yscale="log", xlabel="part of the training", ylabel="weights that are used (%)", ylim=(3.5, 130))
    axis.set_yticks([5, 10, 20, 50, 100], ["5", "10", "20", "50", "100"])
    axis.minorticks_off()
    axis.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    plots.show(
        figure,
        "Weights that are used over the training, on a logarithmic axis. Dense stays at 100 per cent; gradual pruning "
        "falls fast, then "
        "slowly, to 5; tickets fall in stairs; 2:4 stays at 50; SET and RigL stay at 5, with arrows where connections "
        "are exchanged until three quarters of the training; static has as many, drawn a little lower, without arrows.",
    )


def erdos_renyi_figure() -> None:
    """Draw the densities of LeNet-300-100's layers over the density of all."""
    shapes = weight_shapes(SIZES)
    densities = np.geomspace(0.005, 1, 200)
    figure, axis = plots.new_figure(width=7, height=3.5)
    found = [sparse_training.erdos_renyi_densities(shapes, float(d)) for d in densities]
    for number, (name, shape) in enumerate(shapes.items()):
        curve = [100 * each[name] for each in found]
        label = f"{shape[1]} → {shape[0]}"
        axis.plot(
            100 * densities, curve, label=label, marker="", color=plots.COLOURS[number], linestyle=plots.LINES[number]
        )
    axis.plot([0.5, 100], [0.5, 100], color="#999999", linestyle=":", marker="", label="uniform")
    axis.axvline(5, color="#999999", linestyle="-", marker="", linewidth=0.8)
    axis.set(xscale="log", yscale="log", xlabel="density of all layers (%)", ylabel="density of a layer (%)")
    for axes, set_ticks in ((axis.xaxis, axis.set_xticks), (axis.yaxis, axis.set_yticks)):
        set_ticks([0.5, 1, 2, 5, 10, 20, 50, 100], ["0.5", "1", "2", "5", "10", "20", "50", "100"])
        axes.set_minor_locator(plots.plt.NullLocator())
    axis.legend(fontsize=8)
    full = 100 * densities[0] / found[0]["5.weight"]  # it is in proportion until then
    plots.show(
        figure,
        "Densities of three layers over the density of all, both logarithmic. The last layer, of ten units, is far "
        f"denser than the others and reaches 100 per cent first, at about {full:.1f}; the middle one reaches it later; "
        "the first layer lies a little below the dotted line of a uniform density. A thin vertical line marks 5 per "
        "cent.",
    )


def urn() -> None:
    """Draw the positions of a layer in one update: what stays, was dropped, is empty, or was never tried."""
    figure, axis = plots.new_figure(width=9, height=2.3)
    blocks = (
        (4, KEPT, "", "stay connected"),
        (2, GONE, "//", "just dropped: g"),
        (5, plots.COLOURS[5], "xx", "empty, tried before"),
        (9, "white", "", "never tried"),
    )
    left = 0
    for width, colour, hatch, name in blocks:
        for j in range(left, left + width):
            square(axis, 0, j, colour, hatch=hatch)
        axis.text(left + width / 2, 0.25, name, ha="center", fontsize=9)
        left += width
    axis.annotate("", (4, -1.35), (20, -1.35), arrowprops={"arrowstyle": "<->"})
    axis.text(12, -1.9, "N − K + g places, g of which grow, each as likely", ha="center", fontsize=9)
    axis.set(xlim=(-0.2, 20.2), ylim=(-2.3, 0.8))
    blank(axis, "")
    plots.show(
        figure,
        "A row of twenty squares: four stay connected, two have just been dropped, five are empty and were tried "
        "before, nine were never tried. An arrow spans all but the first four: N minus K plus g places, from "
        "which g are drawn.",
    )


def layout() -> None:
    """Draw how a sparse layer is computed: each connection adds one row of the inputs to an output."""
    figure, axes = plots.new_figure(1, 3, width=9.5, height=3)
    mask = np.zeros((4, 6), dtype=bool)
    mask[[0, 0, 1, 2, 2, 3], [1, 4, 2, 0, 4, 5]] = True
    for i, j in np.ndindex(4, 6):
        hot = i == 2 and mask[i, j]
        square(axes[0], i, j, (NEW if hot else KEPT) if mask[i, j] else "white", hatch=".." if hot else "")
    for i, j in np.ndindex(6, 8):
        square(axes[1], i, j, NEW if i in (0, 4) else "#eeeeee", hatch=".." if i in (0, 4) else "")
    for i, j in np.ndindex(4, 8):
        square(axes[2], i, j, NEW if i == 2 else "#eeeeee", hatch=".." if i == 2 else "")
    for axis, (rows, columns), title in zip(
        axes,
        ((4, 6), (6, 8), (4, 8)),
        ("connections [out, in]", "inputs [in, batch]", "outputs [out, batch]"),
        strict=True,
    ):
        axis.set(xlim=(-0.3, columns + 0.2), ylim=(-rows - 0.3, 0.3), aspect="equal")
        blank(axis, title)
    plots.show(
        figure,
        "Three matrices. Left, four rows of connections, two of which are marked in the third row, in columns one and "
        "five; in the middle the first and the fifth row of the inputs are marked whole; right, the third row of the "
        "outputs: the sum of these two rows, each times its weight.",
    )


def two_of_four() -> None:
    """Draw a 2:4 mask, computed by the exercise's own reference, beside an unstructured one with as many weights."""
    weight = torch.randn(4, 12, generator=torch.Generator().manual_seed(1))
    largest = weight.abs().flatten().argsort(descending=True)[:24]
    free = torch.zeros(48, dtype=torch.bool)
    free[largest] = True
    figure, axes = plots.new_figure(1, 2, width=9.5, height=2.1)
    for axis, mask, title in (
        (axes[0], free.view(4, 12), "the 24 largest of all"),
        (axes[1], sparse_training.n_of_m_mask(weight, 2, 4), "the 2 largest of every 4"),
    ):
        for i, j in np.ndindex(4, 12):
            square(axis, i, j, KEPT if mask[i, j] else "white")
        for j in (4, 8):
            axis.plot([j - 0.04] * 2, [-4.2, 0.2], color="black", marker="", linestyle="-", linewidth=1.5)
        axis.set(xlim=(-0.3, 12.2), ylim=(-4.3, 0.3), aspect="equal")
        blank(axis, title)
    plots.show(
        figure,
        "Two matrices of four by twelve squares, half of them filled, with lines after every fourth column. Left, "
        "groups of four hold one to four filled squares; right, each holds exactly two.",
    )


# --- lecture: results -------------------------------------------------------------------------------------------------


def errors(results: Results, name: str, key: str = "test") -> list[float]:
    """Errors of a recipe in %, by seed. key: test or validation."""
    return [100 * run[name][f"{key}_errors"] / results["data"][key] for run in results["runs"]]


def spread(values: Sequence[float], digits: int = 2) -> str:
    """The mean over seeds, the lowest and the highest."""
    return plots.mean_and_range(values, digits).replace("-", "−")


def outer_share(frame: np.ndarray) -> float:
    """Which part of the connections, in %, read the four outermost rows and columns of pixels on each side."""
    return float(100 * (1 - frame[4:-4, 4:-4].sum() / frame.sum()))


def unlit_connections(results: Results, method: str) -> list[tuple[int, int]]:
    """How many connections read a pixel that is never lit, at the start and at the end of the training, by seed."""
    rows, columns = zip(*UNLIT, strict=True)
    films = (unpacked(run[f"{method}, ERK"]["film"]) for run in results["runs"])
    counts = (film[:, rows, columns].sum(1) for film in films)
    return [(int(count[0]), int(count[-1])) for count in counts]


def pixels_figure(results: Results) -> None:
    """Draw the connections of each pixel at five moments, for three methods; the first seed's."""
    films = {method: results["runs"][0][f"{method}, ERK"]["film"] for method in METHODS}
    figure, axes = plots.new_figure(3, 5, width=9.5, height=6)
    for row, (method, film) in zip(axes, films.items(), strict=True):
        frames, steps = unpacked(film), film["steps"]
        for axis, number in zip(row, np.linspace(0, len(frames) - 1, 5).round().astype(int), strict=True):
            axis.imshow(frames[number], cmap="viridis", vmin=0, vmax=40)
            border = outer_share(frames[number])
            blank(axis, f"step {steps[number]:,}\nouter frame {border:.0f}%")
        row[0].set_ylabel(method, fontsize=11)
    plots.show(
        figure,
        "Three rows of five images of 28 by 28 pixels, brighter where a pixel has more connections. Static: the same "
        "noise all the time. SET and RigL: the noise turns into a bright blob in the middle, where digits have "
        "ink, and the border becomes dark; RigL's is there at the second moment already, and brighter.",
    )


ROWS = {
    "dense": "dense (20 times the weights)",
    "small dense": "small dense",
    "static, uniform": "static, uniform",
    "static, ERK": "static, ERK",
    "SET, uniform": "SET, uniform",
    "SET, ERK": "SET, ERK",
    "RigL, uniform": "RigL, uniform",
    "RigL, ERK": "RigL, ERK",
    "gradual, ERK": "gradual pruning, ERK",
}


def methods_figure(results: Results) -> None:
    """Draw the test errors of all methods at equal steps."""
    figure, axis = plots.new_figure(width=8, height=3.8)
    plots.points_over_seeds(axis, {text: errors(results, name) for name, text in ROWS.items()}, "test errors (%)")
    axis.set_title("at equal steps; all but the first have 5% of its weights", fontsize=10)
    plots.show(
        figure,
        "Test errors by method, a dot for each seed and a bar at the mean. Dense lies furthest to the left, gradual "
        "pruning close to it, then RigL, SET and static connections, each to the left of itself with uniform "
        "densities; static uniform ones are far to the right, and small dense networks furthest.",
    )


def methods_table(results: Results) -> plots.Table:
    """Connections, steps, FLOPs, seconds and errors of all methods at equal steps."""
    first, rows = results["runs"][0], []
    dense = first["dense"]["flops"]
    for name, text in {**ROWS, "RigL, longer": f"RigL, ERK, {results['settings']['longer']} times the steps"}.items():
        run = first[name]
        rows.append(
            [
                text,
                f"{sum(run['connections']):,}",
                f"{run['steps']:,}",
                f"{100 * run['flops'] / dense:.1f}%",
                f"{np.mean([r[name]['seconds'] for r in results['runs']]):.0f}",
                spread(errors(results, name, "validation")),
                spread(errors(results, name)),
            ]
        )
    columns = [
        "method",
        "weights",
        "steps",
        "training FLOPs",
        "CPU seconds",
        "validation errors (%)",
        "test errors (%)",
    ]
    return plots.Table(columns, rows)


def flops_table(results: Results) -> plots.Table:
    """Errors at the training FLOPs of RigL."""
    rows, first = [], results["runs"][0]
    rigl = first["RigL, ERK"]["flops"]
    names = {"RigL, ERK": "RigL, ERK"}
    names |= {
        f"{n}, FLOPs of RigL": ROWS[n] for n in ("SET, ERK", "static, ERK", "small dense", "gradual, ERK", "dense")
    }
    for name, text in names.items():
        run = first[name]
        rows.append([text, f"{run['steps']:,}", f"{100 * run['flops'] / rigl:.1f}%", spread(errors(results, name))])
    return plots.Table(["method", "steps", "FLOPs of RigL's", "test errors (%)"], rows)


def half_table(results: Results) -> plots.Table:
    """2:4 beside RigL with as many weights, and dense."""
    names = {"dense": "dense", "2:4, half": "2:4 (SR-STE)", "RigL, half": "RigL, anywhere"}
    first = results["runs"][0]
    rows = [
        [text, f"{sum(first[name]['connections']):,}", spread(errors(results, name))] for name, text in names.items()
    ]
    return plots.Table(["method", "weights", "test errors (%)"], rows)


def explorations(results: Results, static: bool = False) -> dict[str, tuple[list[float], list[float], list[float]]]:
    """(R_s, its closed form for SET, test errors) by seed, for each method and ΔT that moves connections.

    static: with the networks, too, that have explored what they started with.
    """
    names = [n for n in results["recipes"] if "explored" in results["runs"][0][n] and "ERK" in n] + [
        n for n in results["recipes"] if "ΔT" in n
    ]
    found = {
        name: (
            [run[name]["explored"] for run in results["runs"]],
            [run[name]["expected"] for run in results["runs"]],
            errors(results, name),
        )
        for name in names
        if "longer" not in name and "FLOPs" not in name
    }
    if static:
        start = [results["settings"]["density"]] * len(results["runs"])
        found["static, ERK"] = start, start, errors(results, "static, ERK")
    return found


def exploration_figure(results: Results) -> None:
    """Draw the explored fraction beside its closed form, and the errors over it."""
    figure, (left, right) = plots.new_figure(1, 2, width=9.5, height=3.7)
    found = explorations(results)
    for number, method in enumerate(("SET", "RigL")):
        style = {"color": plots.COLOURS[number + 1], "marker": plots.MARKERS[number + 1], "linestyle": ""}
        own = [values for name, values in found.items() if name.startswith(method)]
        left.plot([v for _, e, _ in own for v in e], [v for r, _, _ in own for v in r], label=method, **style)
        right.plot([v for r, _, _ in own for v in r], [v for _, _, t in own for v in t], label=method, **style)
    left.plot([0, 1], [0, 1], color="#999999", linestyle=":", marker="", label="closed form = measured")
    static = errors(results, "static, ERK")
    density = results["settings"]["density"]
    right.plot([density] * len(static), static, color="black", marker="o", linestyle="", label="static")
    right.axhline(np.mean(errors(results, "dense")), color="#999999", linestyle="--", marker="", label="dense, mean")
    left.set(xlabel="expected $R_s$ by 9.5b", ylabel="explored fraction $R_s$", xlim=(0, 1), ylim=(0, 1))
    right.set(xlabel="explored fraction $R_s$", ylabel="test errors (%)", xlim=(0, 1))
    for axis in (left, right):
        axis.legend(fontsize=8)
    plots.show(
        figure,
        "Two panels. Left, the measured explored fraction over the expected one: SET's points lie on the diagonal, "
        "RigL's below it, the further the more is explored. Right, test errors over the explored fraction: static "
        "networks at the left edge, the highest among them; SET's and RigL's points fall from there at first, and then "
        "lie level, RigL's lower and further left; the seeds of one setting are as far apart as the settings. A dashed "
        "line for dense lies far below all.",
    )


def exploration_table(results: Results) -> plots.Table:
    """Each ΔT: what was explored, what 9.5b expects, and the errors."""
    every = {name: results["recipes"][name]["every"] for name in explorations(results)}
    rows = []
    for name, (explored, expected, test) in sorted(
        explorations(results).items(), key=lambda item: (item[0].split(",")[0], every[item[0]])
    ):
        rows.append([name.split(",")[0], every[name], spread(explored, 3), f"{np.mean(expected):.3f}", spread(test)])
    return plots.Table(["method", "ΔT", "explored", "closed form of SET", "test errors (%)"], rows)


def order_of_pairs(results: Results, apart: float = 0.02, static: bool = False) -> tuple[int, int]:
    """Of pairs of settings whose R_s differ by more than `apart`, in how many the one that explored more errs less."""
    means = [(np.mean(r), np.mean(t)) for r, _, t in explorations(results, static).values()]
    far = [(a, b) for a, b in combinations(means, 2) if abs(a[0] - b[0]) > apart]
    return sum((a[0] > b[0]) == (a[1] < b[1]) for a, b in far), len(far)


def weights_by_bytes(size: int, architecture: str) -> int:
    """How many weights a network of RigL's appendix B has, if its bytes are four a weight and a bias, and a bit for
    each position of what is left of it. architecture: as printed, '408-100-69', without the ten outputs."""
    sizes = [*map(int, architecture.split("-")), 10]
    positions = sum(a * b for a, b in pairwise(sizes))
    return round((size - positions / 8 - 4 * sum(sizes[1:])) / 4)


def files_figure(results: Results, unit_03: Mapping[str, Any]) -> None:
    """Draw errors over bytes: RigL's points, ours, and unit 03's file."""
    figure, axis = plots.new_figure(width=8, height=3.9)
    for number, row in enumerate(results["paper"]["rows"]):
        style = {"color": plots.COLOURS[number], "marker": "sD"[number], "linestyle": "", "markersize": 8}
        axis.plot(row["bytes"], row["last"], label=f"{row['name']}, at the end", **style)
        axis.plot(row["bytes"], row["best"], fillstyle="none", label=f"{row['name']}, best on test", **style)
    for number, goal in enumerate(results["files"]["limits"]):
        runs = [run[goal] for run in results["files"]["runs"]]
        axis.plot(
            [run["bytes"] for run in runs],
            [100 * run["test_errors"] / results["data"]["test"] for run in runs],
            color=plots.COLOURS[2 + number], marker="o^"[number], linestyle="", label=f"ours, for {goal}",
        )  # fmt: skip
    runs = unit_03["runs"]["lenet_300_100"]["ours"]
    axis.plot(
        [run["arithmetic"]["bytes"] for run in runs],
        [100 * run["arithmetic"]["test_errors"] / unit_03["data"]["test"] for run in runs],
        color=plots.COLOURS[5], marker="X", linestyle="", label="unit 03, with a teacher",
    )  # fmt: skip
    axis.set(xscale="log", xlabel="bytes", ylabel="test errors (%)", xlim=(3500, 45000))
    axis.set_xticks([4000, 6000, 8000, 16000, 32000], ["4,000", "6,000", "8,000", "16,000", "32,000"])
    axis.minorticks_off()
    axis.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    plots.show(
        figure,
        "Test errors over bytes on a logarithmic axis. The paper's two networks lie to the right, at 16 and 32 "
        "thousand bytes, each with two errors. Our files, three seeds of each, lie to the left, below 8,000 bytes: "
        "those for RigL lowest of all, those for RigL+ smaller and further apart. Unit 03's files lie "
        "above ours for RigL, at nearly as many bytes.",
    )


def choice_table(results: Results, goal: str) -> plots.Table:
    """The candidates for a goal, on the validation digits."""
    choice, count = results["files"]["choice"][goal], results["data"]["validation"]
    limit = results["files"]["limits"][goal]["bytes"]
    rows = []
    for name, row in choice["table"].items():
        wrong = [[100 * e / count for e in row[f"{stage}_errors"]] for stage in ("trained", "shared", "validation")]
        bits = name.rsplit("/", 1)[1].removesuffix(" bits")
        chosen = "chosen" if name == choice["chosen"] else "too large" if max(row["bytes"]) > limit else ""
        size = f"{np.mean(row['bytes']):,.0f}"
        rows.append([f"{sum(row['connections']):,}", " ".join(bits), size, *map(spread, wrong), chosen])
    columns = ["weights", "bits", "bytes", "as trained (%)", "shared (%)", "fine-tuned (%)", ""]
    return plots.Table(columns, rows)


def files_table(results: Results, unit_03: Mapping[str, Any]) -> plots.Table:
    """The chosen files beside the paper's networks and unit 03's file."""
    rows: list[list[object]] = []
    for row in results["paper"]["rows"]:
        weights = f"{weights_by_bytes(row['bytes'], row['architecture']):,} (by its bytes)"
        rows.append(
            [f"paper: {row['name']}", f"{row['bytes']:,}", weights, f"{row['last']} (best epoch {row['best']})"]
        )
    count = results["data"]["test"]
    for goal in results["files"]["limits"]:
        runs = [run[goal] for run in results["files"]["runs"]]
        test = [100 * run["test_errors"] / count for run in runs]
        sizes, weights = [run["bytes"] for run in runs], f"{sum(runs[0]['connections']):,}"
        found = f"{spread(test)}, median {np.median(test):.2f}"
        rows.append([f"ours, for {goal}", f"{min(sizes):,} to {max(sizes):,}", weights, found])
    runs = unit_03["runs"]["lenet_300_100"]["ours"]
    test = [100 * run["arithmetic"]["test_errors"] / unit_03["data"]["test"] for run in runs]
    sizes, weights = [run["arithmetic"]["bytes"] for run in runs], f"{runs[0]['kept']:,}"
    found = f"{spread(test)}, median {np.median(test):.2f}"
    rows.append(["unit 03, with a teacher", f"{min(sizes):,} to {max(sizes):,}", weights, found])
    still = [run["static"] for run in results["files"]["runs"]]
    wrong = spread([100 * run["test_errors"] / count for run in still])
    rows.append(["static, as large as ours for RigL, not shared", "—", f"{sum(still[0]['connections']):,}", wrong])
    return plots.Table(["network", "bytes", "weights", "test errors (%)"], rows)


def race_figure(race: Results) -> None:
    """Draw the time of a training step over sparsity, for each program."""
    networks = list(dict.fromkeys(row["network"] for row in race["rows"]))
    figure, axes = plots.new_figure(1, len(networks), width=9.5, height=3.6)
    for axis, network in zip(axes, networks, strict=True):
        rows = [row for row in race["rows"] if row["network"] == network]
        for number, name in enumerate(rows[0]["ms"]):
            medians = [row["ms"][name][0] for row in rows]
            places = range(len(rows))
            style = {"marker": plots.MARKERS[number], "linestyle": plots.LINES[number], "color": plots.COLOURS[number]}
            axis.plot(places, medians, label=name, **style)
            lower, upper = ([row["ms"][name][i] for row in rows] for i in (1, 2))
            axis.fill_between(places, lower, upper, color=plots.COLOURS[number], alpha=0.15)
        axis.set(yscale="log", title=network, xlabel="sparsity (%)", ylabel="ms a step")
        axis.set_xticks(range(len(rows)), [f"{100 * row['sparsity']:g}" for row in rows])
        axis.set_yticks(
            [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100], ["0.1", "0.2", "0.5", "1", "2", "5", "10", "20", "50", "100"]
        )
        axis.minorticks_off()
    axes[0].legend(fontsize=8)
    plots.show(
        figure,
        "Milliseconds of a training step over sparsity, logarithmic, in two panels. PyTorch's lines, dense and masked, "
        "are flat; ours and sparselab's fall to the right, ours below sparselab's. At 50% both begin above PyTorch's; "
        "ours crosses them before 80%, sparselab's later.",
    )


def race_table(race: Results) -> plots.Table:
    """How many times as fast our step is."""
    rows = []
    for row in race["rows"]:
        ms = row["ms"]
        times = [f"{ms[name][0] / ms['ours'][0]:.1f}×" for name in ms if name != "ours"]
        rows.append([row["network"], f"{100 * row['sparsity']:g}%", f"{ms['ours'][0]:.2f} ms", *times])
    others = [f"as fast as {name}" for name in race["rows"][0]["ms"] if name != "ours"]
    return plots.Table(["network", "sparsity", "ours", *others], rows)


# --- lecture: claims --------------------------------------------------------------------------------------------------


def verdict(margins: Sequence[float]) -> str:
    """What the seeds say of a claim. margins: by how much it holds in each, negative where it does not."""
    if len(margins) < 3:
        return "not testable with so few seeds"
    if min(margins) > 0:
        return f"yes, in all {len(margins)}"
    if max(margins) < 0:
        return "no"
    return f"not decided ({sum(margin > 0 for margin in margins)} of {len(margins)})"


def ordered(yes: bool, tests: Sequence[Sequence[float]]) -> str:
    """What an order of settings by their mean errors says. tests: errors by seed, for each setting; where the seeds of
    one differ by more than the means of all, it says nothing."""
    noisy = max(map(np.ptp, tests)) > np.ptp([np.mean(test) for test in tests])
    return "not decided" if noisy else "yes" if yes else "no"


def claims_table(results: Results, race: Results) -> plots.Table:
    """What was claimed, what we found, and what a rule says of it."""
    from scipy.stats import spearmanr  # half a second that no other figure shall wait for

    rows: list[list[object]] = []

    def fewer(claim: str, source: str, a: str, b: str) -> None:
        saved = [y - x for x, y in zip(errors(results, a), errors(results, b), strict=True)]
        found = f"{spread([-d for d in saved])} points more" if max(saved) < 0 else f"{spread(saved)} points fewer"
        rows.append([claim, source, found, verdict(saved)])

    here = "at 95%, equal steps"
    fewer(f"RigL errs less than static connections, {here}", "Evci 2020", "RigL, ERK", "static, ERK")
    fewer(f"SET errs less than static connections, {here}", "Mocanu 2018", "SET, ERK", "static, ERK")
    fewer(f"RigL errs less than SET, {here}", "Evci 2020", "RigL, ERK", "SET, ERK")
    fewer("so it does at equal training FLOPs", "Evci 2020", "RigL, ERK", "SET, ERK, FLOPs of RigL")
    fewer(f"RigL errs less than gradual pruning, {here}", "asked here", "RigL, ERK", "gradual, ERK")
    fewer("so it does at equal training FLOPs", "Evci 2020, abstract", "RigL, ERK", "gradual, ERK, FLOPs of RigL")
    fewer("so it does with five times the steps", "Evci 2020", "RigL, longer", "gradual, ERK")
    fewer("ERK is better than uniform, for RigL", "Evci 2020", "RigL, ERK", "RigL, uniform")
    fewer(f"RigL errs less than a small dense network, {here}", "control", "RigL, ERK", "small dense")
    fewer("RigL matches dense (there at 98%), with five times the steps", "Liu 2021, abstract", "RigL, longer", "dense")
    fewer("2:4 loses nothing against dense", "Zhou 2021, abstract", "2:4, half", "dense")
    for static in (False, True):
        found, too = explorations(results, static), ", static too" if static else ""
        for method, who in (("SET", "within SET"), ("RigL", "within RigL"), ("", "all settings")):
            own = [values for name, values in found.items() if name.startswith((method, "static"))]
            rho = float(spearmanr([np.mean(r) for r, _, _ in own], [np.mean(t) for _, _, t in own]).statistic)
            claim = f"who explores more errs less, {who}{too}"
            said = ordered(rho <= -0.8, [t for _, _, t in own])
            rows.append([claim, "Liu 2021", f"Spearman's ρ {rho:.2f} of {len(own)}".replace("-", "−"), said])
        right, pairs = order_of_pairs(results, static=static)
        said = ordered(right >= 0.9 * pairs, [t for _, _, t in found.values()])
        rows.append([f"the same, pair by pair{too}", "Liu 2021", f"{right} of {pairs} pairs", said])
    found = explorations(results)
    for method in ("SET", "RigL"):
        own = sorted((name for name in found if name.startswith(method)), key=lambda name: np.mean(found[name][0]))
        fewer(f"who explores most errs less than who explores least, within {method}", "Liu 2021", own[-1], own[0])
    off = [abs(a - b) for name, (r, e, _) in found.items() if name.startswith("SET") for a, b in zip(r, e, strict=True)]
    rows.append(
        [
            "9.5b foretells SET's exploration",
            "derived here",
            f"at most {max(off):.4f} off",
            verdict([0.005 - d for d in off]),
        ]
    )
    for goal, limit in results["files"]["limits"].items():
        runs = [run[goal] for run in results["files"]["runs"]]
        test = [100 * run["test_errors"] / results["data"]["test"] for run in runs]
        size = max(run["bytes"] for run in runs)
        good = size <= limit["bytes"] and float(np.median(test)) <= limit["error"]
        rows.append(
            [
                f"goal: {limit['bytes']:,} bytes at {limit['error']:.2f}%, median of {len(runs)}",
                f"{goal}: {next(r['bytes'] for r in results['paper']['rows'] if r['name'] == goal):,} bytes",
                f"{size:,} bytes, {np.median(test):.2f}%",
                "reached" if good else "not reached",
            ]
        )
    for name, least in (("masked torch", 0.8), ("sparselab", 0.0)):
        asked = [row for row in race["rows"] if row["sparsity"] >= least]
        # A step counts as faster if its upper quartile is below the other's lower one
        won = sum(row["ms"]["ours"][2] < row["ms"][name][1] for row in asked)
        where = f"from {100 * least:.0f}% on" if least else f"from {100 * min(r['sparsity'] for r in asked):.0f}% on"
        rows.append(
            [
                f"goal: a step faster than {name}'s, {where}",
                "—",
                f"in {won} of {len(asked)}",
                "reached" if won == len(asked) else "not reached",
            ]
        )
    return plots.Table(["claim", "whose", "ours, mean (lowest–highest)", "verdict"], rows)


# --- lab --------------------------------------------------------------------------------------------------------------


def layer_bars(densities: Mapping[str, float]) -> None:
    """Draw a density for each layer."""
    figure, axis = plots.new_figure(height=2)
    plots.bars(axis, {name: 100 * density for name, density in densities.items()}, "density (%)", "{:.1f}%")
    plots.show(figure, "Horizontal bars: the density of each layer; the smaller the layer, the denser.")


def masks_figure(masks: Mapping[str, Tensor]) -> None:
    """Draw how many connections each pixel has, a panel for each mask [out, 784]."""
    figure, axes = plots.new_figure(1, len(masks), width=3.1 * len(masks), height=3)
    for axis, (name, mask) in zip(np.atleast_1d(axes), masks.items(), strict=True):
        counts = mask.sum(0).view(28, 28)
        axis.imshow(counts, cmap="viridis", vmin=0)
        blank(axis, f"{name}: {int((counts == 0).sum())} pixels unread")
    plots.show(
        figure,
        f"Images of 28 by 28 pixels, brighter where a pixel has more connections: {', '.join(masks)}. Static is noise; "
        "where connections move, the middle is brighter than the border.",
    )


def schedule_figure(curves: Mapping[str, Sequence[float]], label: str) -> None:
    """Draw curves over steps."""
    figure, axis = plots.new_figure(height=2.8)
    for number, (name, values) in enumerate(curves.items()):
        axis.plot(values, label=name, marker="", linestyle=plots.LINES[number])
    axis.set(xlabel="step", ylabel=label)
    axis.legend(fontsize=8)
    ends = "; ".join(f"{name} goes from {values[0]:.2g} to {values[-1]:.2g}" for name, values in curves.items())
    plots.show(figure, f"The {label} over {len(next(iter(curves.values()))):,} steps: {ends}.")
