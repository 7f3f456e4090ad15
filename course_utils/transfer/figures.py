"""Tables and figures of lecture 11 and of its lab."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib import patches
from matplotlib.axes import Axes
from torch import Tensor

from course_utils import plots, transfer
from course_utils.data import embedded_digits
from course_utils.plots import mean_and_range
from course_utils.saliency import keep_top
from course_utils.sparse_training.figures import verdict
from course_utils.structured.figures import blank
from course_utils.transfer.shift import rotation, turned

Results = Mapping[str, Any]  # of `course reproduce transfer`, or of `course reproduce shift`
FROZEN, TRAINED, GONE = "#d9d9d9", plots.COLOURS[1], "white"


def heat(axis: Axes, matrix: Tensor, title: str, most: float | None = None) -> None:
    """Draw a matrix: blue below 0, red above, white at exactly 0."""
    most = most or float(matrix.abs().max()) or 1.0
    axis.imshow(matrix, cmap="RdBu_r", vmin=-most, vmax=most, aspect="equal")
    blank(axis, title)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def spread(values: Sequence[float], digits: int = 1) -> str:
    """'−1.3 (−2.8 to −0.2)': differences, which may be negative: the mean over seeds, the lowest and the highest."""
    mean, least, most = (
        f"{value:.{digits}f}".replace("-", "−") for value in (np.mean(values), min(values), max(values))
    )
    return f"{mean} ({least} to {most})"


def counted(planes: int) -> str:
    return f"{planes} plane" + "s" * (planes != 1)


# --- lecture: drawings ------------------------------------------------------------------------------------------------


def three_updates() -> None:
    """Draw a frozen weight and three kinds of update: of all numbers, of low rank, of few entries."""
    weight = drawn(10, 14)
    b, a = drawn(10, 1, seed=1), drawn(1, 14, seed=2)
    few = torch.zeros(10, 14)
    few.view(-1)[torch.randperm(140, generator=torch.Generator().manual_seed(3))[:12]] = 1.5
    figure, axes = plots.new_figure(1, 4, width=10, height=2.6)
    heat(axes[0], weight, "W: 140 numbers, frozen")
    heat(axes[1], drawn(10, 14, seed=4), "full: ΔW has 140")
    heat(axes[2], b @ a, "rank 1: b·a has 10 + 14")
    heat(axes[3], few, "sparse: 12 and their places")
    plots.show(
        figure,
        "Four matrices of ten rows and fourteen columns. The weight and the full update are mottled. The update "
        "of rank "
        "one is a pattern of stripes: all rows are multiples of one row. The sparse update is white with twelve dots.",
    )


def error_of_a_rank() -> None:
    """Draw a spectrum: the squares that a rank keeps, and those that are its error."""
    values = torch.tensor([4.0, 2.6, 1.8, 1.1, 0.7, 0.45, 0.3, 0.2]) ** 2
    figure, axes = plots.new_figure(1, 2, width=9, height=3)
    for axis, rank in zip(axes, (1, 3), strict=True):
        kept = [TRAINED] * rank + [FROZEN] * (len(values) - rank)
        drawn_bars = axis.bar(range(1, len(values) + 1), values, color=kept, edgecolor="#555555")
        for bar in drawn_bars[rank:]:
            bar.set_hatch("//")
        share = float(values[:rank].sum() / values.sum())
        axis.set(xlabel="place", ylabel="σ²", title=f"rank {rank}: keeps {share:.0%}, the hatched is its error")
    plots.show(
        figure,
        "Two bar charts of the same eight falling squares of singular values. Left the first bar is filled and seven "
        "are hatched; right three are filled and five are hatched.",
    )


def box(axis: Axes, corner: tuple[float, float], size: tuple[float, float], text: str, colour: str) -> None:
    axis.add_patch(patches.FancyBboxPatch(corner, *size, boxstyle="round,pad=0.02", fc=colour, ec="#444444"))
    white = colour == TRAINED
    centre = (corner[0] + size[0] / 2, corner[1] + size[1] / 2)
    axis.text(*centre, text, ha="center", va="center", fontsize=10, color="white" if white else "black")


def arrow(axis: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axis.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": "#444444", "shrinkA": 0, "shrinkB": 0})


def two_paths() -> None:
    """Draw the frozen weight and the low-rank path beside it."""
    figure, axis = plots.new_figure(width=7.5, height=3.2)
    box(axis, (0.0, 1.3), (1.2, 0.6), "x [in]", "white")
    box(axis, (2.2, 2.2), (2.6, 0.7), "W [out, in], frozen", FROZEN)
    box(axis, (2.0, 0.2), (1.3, 0.7), "a [r, in]", TRAINED)
    box(axis, (4.0, 0.2), (1.3, 0.7), "b [out, r]", TRAINED)
    box(axis, (5.8, 0.2), (1.0, 0.7), "· scale", "white")
    box(axis, (7.4, 1.3), (0.6, 0.6), "+", "white")
    for start, end in (
        ((1.2, 1.7), (2.18, 2.5)), ((1.2, 1.5), (1.98, 0.6)), ((3.32, 0.55), (3.98, 0.55)),
        ((5.32, 0.55), (5.78, 0.55)),
        ((4.82, 2.5), (7.38, 1.75)), ((6.82, 0.6), (7.38, 1.4)), ((8.0, 1.6), (8.6, 1.6)),
    ):  # fmt: skip
        arrow(axis, start, end)
    axis.text(3.65, 0.02, "r numbers between them", ha="center", va="top", fontsize=9)
    axis.set(xlim=(-0.2, 8.8), ylim=(-0.4, 3.2))
    blank(axis, "grey is frozen, blue is trained; b starts at 0, and the sum at Wx")
    plots.show(
        figure,
        "A box x with two paths to a plus sign. Above a grey box, the frozen W. Below two blue boxes, a and then "
        "b, with r "
        "numbers between them, and a scale.",
    )


def one_alternation() -> None:
    """Draw a matrix of low rank with spikes, and what two steps of the decomposition make of it."""
    low = drawn(12, 1, seed=5) @ drawn(1, 16, seed=6)
    spikes = torch.zeros(12, 16)
    places = torch.randperm(192, generator=torch.Generator().manual_seed(7))[:6]
    spikes.view(-1)[places] = 2.5 * torch.tensor([1, -1, 1, -1, 1, -1])
    matrix = low + spikes
    figure, axes = plots.new_figure(2, 4, width=10.5, height=4.4)
    most = float(matrix.abs().max())
    for row, steps in zip(axes, (1, 4), strict=True):
        u, v, sparse = transfer.sparse_residual(matrix, 1, 6, steps)
        left = (matrix - u @ v - sparse).norm() / matrix.norm()
        heat(row[0], matrix, "the matrix", most)
        heat(row[1], u @ v, f"rank 1 after {steps} step{'s' * (steps > 1)}", most)
        heat(row[2], sparse, "its 6 nonzeros", most)
        heat(row[3], matrix - u @ v - sparse, f"left over: {float(left):.0%}", most)
    plots.show(
        figure,
        "Two rows of four matrices: stripes with six spikes, the part of rank one, a white matrix with six dots, "
        "and what is "
        "left over. In the second row, after more steps, less is left over than in the first.",
    )


def dense_sums() -> None:
    """Draw which entries are 0: of a pruned weight, of its sum with an update, and of the masked sum."""
    weight = drawn(9, 12, seed=8)
    mask = keep_top({"w": weight.abs()}, 0.4)["w"]
    delta = 0.6 * drawn(9, 1, seed=9) @ drawn(1, 12, seed=10)
    pruned = torch.where(mask, weight, 0)
    parts = {
        "W, pruned": pruned,
        "ΔW of rank 1": delta,
        "their sum": pruned + delta,
        "masked_update(W, mask, ΔW)": transfer.masked_update(weight, mask, delta),
    }
    figure, axes = plots.new_figure(1, 4, width=10.5, height=2.7)
    for axis, (name, matrix) in zip(axes, parts.items(), strict=True):
        heat(axis, matrix, f"{name}\n{int((matrix == 0).sum())} of {matrix.numel()} are 0", 2.5)
    plots.show(
        figure,
        "Four matrices. The pruned weight has many white entries, the update of rank one none, and their sum "
        "none either: "
        "it is dense. The masked sum is white where the pruned weight is.",
    )


def trained_parts() -> None:
    """Draw one transformer block five times, with what each method trains."""
    rows = ["embedding", "q", "k", "v", "o", "up", "down", "biases, norms"]
    methods = {
        "full": dict.fromkeys(rows, "all"),
        "biases": {"biases, norms": "all"},
        "head": {"embedding": "all"},
        "adapters": {"o": "+", "down": "+"},
        "LoRA q, v": {"q": "b·a", "v": "b·a"},
        "LoRA": {part: "b·a" for part in rows[1:7]},
        "DSEE": {part: "b·a + S" for part in rows[1:7]},
    }
    figure, axis = plots.new_figure(width=9.5, height=3.6)
    for column, (name, trained) in enumerate(methods.items()):
        axis.text(column + 0.45, 0.25, name, ha="center", va="bottom", fontsize=9)
        for row, part in enumerate(rows):
            what = trained.get(part)
            colour = TRAINED if what == "all" else "#9ecae1" if what else FROZEN
            axis.add_patch(patches.Rectangle((column, -row - 0.9), 0.9, 0.85, fc=colour, ec="white"))
            axis.text(
                column + 0.45, -row - 0.5, what or "", ha="center", va="center", fontsize=8,
                color="white" if what == "all" else "black",
            )  # fmt: skip
    for row, part in enumerate(rows):
        axis.text(-0.1, -row - 0.5, part, ha="right", va="center", fontsize=9)
    axis.set(xlim=(-1.4, len(methods)), ylim=(-len(rows) - 0.1, 0.9))
    blank(axis, "")
    plots.show(
        figure,
        "A table with a column for each method and a row for each part of a transformer block. Full training has "
        "all parts "
        "dark; biases and head one row each; adapters stand behind o and down; LoRA has factors b·a in q and v, "
        "or in all "
        "six matrices; DSEE has them in all six with a sparse part S.",
    )


def turned_digits() -> None:
    """Show digits as they were, and turned in one and in three planes of their principal components."""
    split = embedded_digits().train
    figure, axes = plots.new_figure(3, 8, width=9, height=3.6)
    for row, planes in zip(axes, (0, 1, 3), strict=True):
        turn, mean = rotation(split.images, planes)
        images = turned(split.subset(slice(8)), turn, mean).view(-1, 28, 28)
        for axis, image in zip(row, images, strict=True):
            axis.imshow(image, cmap="gray_r", vmin=-0.3, vmax=1)
            blank(axis, "")
        row[0].set_ylabel(counted(planes), fontsize=9)
    plots.show(
        figure,
        "Three rows of the same eight digits. In the first they are as they were; in the second, turned in one "
        "plane, they "
        "have broad shadows; in the third, turned in three planes, the shadows are darker, and some digits look like "
        "others.",
    )


# --- lecture: digits turned in planes ---------------------------------------------------------------------------------


def accuracies(results: Results, planes: int, shots: int, method: str) -> list[float]:
    """Test accuracy in percent, by seed."""
    (found,) = (each for each in results["tasks"] if (each["planes"], each["shots"]) == (planes, shots))
    return [
        100 * (run["methods"][method]["test"] if method in run["methods"] else run[method]) for run in found["runs"]
    ]


def rank_curves(results: Results) -> None:
    """Draw accuracy over the rank, for each number of planes, with full tuning beside it."""
    settings = results["settings"]
    figure, axes = plots.new_figure(1, len(settings["planes"]), width=10, height=3.6)
    for axis, planes in zip(np.atleast_1d(axes), settings["planes"], strict=True):
        for number, shots in enumerate(settings["shots"]):
            style = {"color": plots.COLOURS[number], "linestyle": plots.LINES[number], "marker": plots.MARKERS[number]}
            means = [np.mean(accuracies(results, planes, shots, f"r {rank}")) for rank in settings["ranks"]]
            axis.plot(settings["ranks"], means, label=f"{shots} of each class", **style)
            full = np.mean(accuracies(results, planes, shots, "full"))
            axis.plot([24, 34], [full, full], **style | {"marker": ""}, linewidth=2.5)
        axis.axvline(2 * planes, color="#999999", linestyle="-", linewidth=0.8, marker="")
        axis.set_xscale("log", base=2)
        axis.set_xticks([*settings["ranks"], 29], [*map(str, settings["ranks"]), "full"])
        axis.set(
            xlabel="rank of the update",
            ylabel="test accuracy (%)",
            title=f"{counted(planes)}: rank {2 * planes} is exact",
        )
    np.atleast_1d(axes)[0].legend(fontsize=8)
    plots.show(
        figure,
        "Two panels, for digits turned in one and in three planes: test accuracy over the rank of the update, a "
        "curve for "
        "each number of examples, and short lines at the right end for full tuning. A thin vertical line marks "
        "twice the "
        "number of planes.",
    )


def shift_table(results: Results, planes: int) -> plots.Table:
    """Accuracies of every method, by the number of examples."""
    shots = results["settings"]["shots"]
    numbers = {"frozen": 0} | results["numbers"]
    rows = [
        [name, f"{numbers[name]:,}", *(mean_and_range(accuracies(results, planes, each, name), 1) for each in shots)]
        for name in numbers
    ]
    return plots.Table(["method", "numbers", *(f"{each} of each class" for each in shots)], rows)


def low_ranks(results: Results, part: float = 0.1) -> list[str]:
    """The ranks with at most this part of the layer's numbers."""
    numbers = results["numbers"]
    return [f"r {rank}" for rank in results["settings"]["ranks"] if numbers[f"r {rank}"] <= part * numbers["full"]]


def chosen_rank(results: Results, planes: int, shots: int) -> str:
    """Of the ranks with at most a tenth of the numbers the best on validation digits, in the mean of the seeds."""
    (found,) = (each for each in results["tasks"] if (each["planes"], each["shots"]) == (planes, shots))
    return max(
        low_ranks(results), key=lambda name: np.mean([run["methods"][name]["validation"] for run in found["runs"]])
    )


# --- lecture: the task in words ---------------------------------------------------------------------------------------


def row_of(
    results: Results, method: str, target: str = "known words", examples: int | None = None
) -> Mapping[str, Any]:
    examples = examples or results["settings"]["size"]
    asked = (target, examples, method)
    (row,) = (each for each in results["rows"] if (each["target"], each["examples"], each["method"]) == asked)
    return row


def bleus(results: Results, method: str, target: str = "known words", examples: int | None = None) -> list[float]:
    """Test BLEU by seed."""
    return [run["bleu"] for run in row_of(results, method, target, examples)["runs"]]


def methods_of(results: Results) -> list[str]:
    size = results["settings"]["size"]
    return [row["method"] for row in results["rows"] if (row["target"], row["examples"]) == ("known words", size)]


def methods_table(results: Results) -> plots.Table:
    """The deck's table in miniature; loss: of the training examples, after training."""
    whole = results["network"]["parameters"]
    rows = []
    for method in methods_of(results):
        row = row_of(results, method)
        runs = row["runs"]
        # Full tuning under the mask counts what the mask leaves: the rest has no gradient
        count = runs[0]["trainable"] - (runs[0]["zeros"] if method == "full, half of W" else 0)
        rows.append(
            [
                method,
                f"{count:,}",
                f"{100 * count / whole:.1f}%",
                mean_and_range(bleus(results, method), 1),
                mean_and_range([run["nist"] for run in runs], 2),
                f"{100 * runs[0]['zeros'] / sum(math.prod(s) for s in results['network']['matrices']):.0f}%",
                f"{runs[0]['rate']:g}",
                f"{np.mean([run['train_loss'] for run in runs]):.2f}",
                f"{np.median([run['seconds'] for run in runs]):.1f} s",
            ]
        )
    return plots.Table(["method", "trained", "of all", "BLEU", "NIST", "zeros", "rate", "loss", "processor"], rows)


def longer_table(results: Results, longer: Results) -> plots.Table:
    """BLEU and the loss of the training examples after few steps and after more, for the same seeds; whether LoRA in
    all matrices is better after more. longer: of `course reproduce longer`."""
    rows = []
    for row in longer["rows"]:
        method, seeds = row["method"], len(row["runs"])
        cells = []
        for found in (results, longer):
            runs = row_of(found, method)["runs"][:seeds]
            bleu = mean_and_range([run["bleu"] for run in runs], 1)
            cells += [bleu, f"{np.mean([run['train_loss'] for run in runs]):.2f}"]
        leads = [a - b for a, b in zip(bleus(longer, "LoRA"), bleus(longer, method), strict=True)]
        rows.append([method, *cells, "—" if method == "LoRA" else verdict(leads)])
    few, many = (found["settings"]["steps"] for found in (results, longer))
    return plots.Table(
        ["method", f"BLEU, {few} steps", "loss", f"BLEU, {many} steps", "loss", "LoRA is better then"], rows
    )


def first_texts(results: Results, width: int = 78) -> None:
    """Print two lists of facts, with a reference and what the network writes before it is tuned."""
    limits = results["limits"]["known words"]
    for number in range(2):
        for name, key in (("facts", "first facts"), ("reference", "first references"), ("untuned", "first texts")):
            print(f"{name:11} {textwrap.fill(limits[key][number], width, subsequent_indent=' ' * 12)}")


def methods_figure(results: Results) -> None:
    """Draw the BLEU of every seed of every method, between zero-shot and the ceiling."""
    limits = results["limits"]["known words"]
    figure, axis = plots.new_figure(width=8, height=4.6)
    plots.points_over_seeds(axis, {method: bleus(results, method) for method in methods_of(results)}, "test BLEU")
    for name in ("zero-shot", "ceiling"):
        axis.axvline(limits[name]["bleu"], color="#777777", linestyle=":", linewidth=1.5, marker="")
        axis.text(limits[name]["bleu"], -0.75, name, ha="center", fontsize=8)
    axis.set_xlim(left=0)
    axis.set_title(f"a sixth domain from {results['settings']['size']} examples, a dot for each seed", pad=12)
    plots.show(
        figure,
        "A row for each method with a dot for each seed and a bar at the mean, on an axis of test BLEU. Dotted "
        "lines mark "
        "the network untuned, far to the left, and fresh texts of the grammar, to the right of all methods.",
    )


def sizes_figure(results: Results) -> None:
    """Draw BLEU over the number of examples, of full tuning and of LoRA."""
    sizes = sorted({*results["settings"]["sizes"], results["settings"]["size"]})
    figure, axis = plots.new_figure(width=6.4, height=3.6)
    for number, method in enumerate(("full", "LoRA")):
        found = [bleus(results, method, examples=size) for size in sizes]
        style = {"color": plots.COLOURS[number], "linestyle": plots.LINES[number], "marker": plots.MARKERS[number]}
        axis.plot(sizes, [np.mean(each) for each in found], label=method, **style)
        for size, each in zip(sizes, found, strict=True):
            axis.plot([size] * len(each), each, **style | {"linestyle": ""}, alpha=0.4)
    axis.set_xscale("log")
    axis.set_xticks(sizes, list(map(str, sizes)))
    axis.minorticks_off()
    axis.set(xlabel="examples to tune on", ylabel="test BLEU", title="a sixth domain, from few examples and more")
    axis.legend(fontsize=9)
    plots.show(
        figure, "Test BLEU over the number of examples, one curve for full tuning and one for LoRA, rising both."
    )


def sizes_table(results: Results) -> plots.Table:
    """Full tuning against LoRA at every number of examples, and on the task with new words."""
    size = results["settings"]["size"]
    asked = [("known words", each) for each in sorted({*results["settings"]["sizes"], size})] + [("new words", size)]
    rows = []
    for target, examples in asked:
        full, lora = (bleus(results, method, target, examples) for method in ("full", "LoRA"))
        margins = [a - b for a, b in zip(full, lora, strict=True)]
        rows.append(
            [
                target,
                examples,
                mean_and_range(full, 1),
                mean_and_range(lora, 1),
                spread(margins),
                verdict(margins),
            ]
        )
    return plots.Table(["task", "examples", "full", "LoRA", "full − LoRA", "full is better"], rows)


def files_of(results: Results) -> list[tuple[str, int, list[float]]]:
    """What a task can be stored as: name, most bytes of any seed, BLEU by seed. First the whole network."""
    whole = results["network"]["bytes"]
    found = [("full, all numbers in float32", whole, bleus(results, "full"))]
    for method in methods_of(results):
        runs = row_of(results, method)["runs"]
        for place, each in enumerate(runs[0].get("files", [])):
            files = [run["files"][place] for run in runs]
            name = f"{method}, {each['bits']} bits" + (f", {100 * each['kept']:g}% of ΔW" if "kept" in each else "")
            found.append((name, max(file["bytes"] for file in files), [file["bleu"] for file in files]))
    return found


def files_table(results: Results) -> plots.Table:
    """Bytes of a task's file, and what its network writes."""
    (_, whole, _), *_ = files_of(results)
    rows = [
        [name, f"{size:,}", f"{100 * size / whole:.2f}%", mean_and_range(b, 1)] for name, size, b in files_of(results)
    ]
    return plots.Table(["file", "bytes", "of full", "BLEU"], rows)


def files_figure(results: Results) -> None:
    """Draw BLEU over the bytes of a task's file."""
    (_, whole, full), *files = files_of(results)
    figure, axis = plots.new_figure(width=7.4, height=3.8)
    for (name, size, found), marker, colour in zip(files, plots.MARKERS, plots.COLOURS, strict=True):
        axis.plot([size] * len(found), found, linestyle="", marker=marker, color=colour, label=name)
    axis.axhline(np.mean(full), color=plots.COLOURS[0], linestyle="--", linewidth=1.2, marker="")
    axis.text(1150, np.mean(full) + 2, f"full tuning, {whole:,} bytes", fontsize=8)
    axis.axvline(whole / 100, color="#777777", linestyle=":", linewidth=1.5, marker="")
    axis.set_xscale("log")
    axis.set_xticks([1000, 2000, 5000, 10000], ["1,000", "2,000", "5,000", "10,000"])
    axis.minorticks_off()
    axis.set(xlabel="bytes of the task's file (dotted: 1% of full)", ylabel="test BLEU", title="what a file is worth")
    axis.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    plots.show(
        figure,
        "Test BLEU over the bytes of a task's file on a logarithmic axis, with a dot for each seed of each kind "
        "of file. A "
        "dotted line is at one hundredth of full tuning's bytes, a dashed one at its BLEU. LoRA's files of six "
        "bits come "
        "near that and are right of the dotted line; those of four bits are left of it and lower.",
    )


def spectrum_figure(results: Results) -> None:
    """Draw the squares of the singular values of a trained update, summed from the largest, and of chance."""
    run = row_of(results, "full")["runs"][0]
    values = np.array(run["spectrum"])
    chance = np.linalg.svd(drawn(256, 64).numpy(), compute_uv=False)
    figure, axis = plots.new_figure(width=6.4, height=3.4)
    for number, (name, each) in enumerate({"full tuning's ΔW": values, "random numbers": chance}.items()):
        share = 100 * np.cumsum(each**2) / np.sum(each**2)
        style = {"color": plots.COLOURS[number], "linestyle": plots.LINES[number], "marker": ""}
        axis.plot(range(1, len(share) + 1), share, label=name, **style)
    axis.axhline(90, color="#999999", linestyle="-", linewidth=0.8, marker="")
    axis.set_xticks([1, 4, *range(10, 70, 10)])
    axis.set(xlabel="rank", ylabel="share of the squares (%)", title="first layer of the first block's MLP, 256 × 64")
    axis.legend(fontsize=9)
    plots.show(
        figure,
        "Two rising curves of the share of squares that a rank holds. That of the trained update rises faster "
        "than that of "
        "random numbers, and a thin line at ninety percent shows where each crosses it.",
    )


# --- lecture: what is claimed -----------------------------------------------------------------------------------------


def published_table(results: Results) -> plots.Table:
    """The published figures, with what the counts must be."""
    rows = [
        [
            row["name"],
            {"both": "both", "Hu": "Hu 2021", "deck": "deck"}[row["in"]],
            f"{row['millions']:.2f} M",
            row["bleu"],
            row["nist"],
        ]
        for row in results["paper"]["rows"]
    ]
    return plots.Table(["method", "printed in", "trained", "BLEU", "NIST"], rows)


def claims_table(results: Results, shift: Results, longer: Results) -> plots.Table:
    """What was claimed, what we found, and what a rule says of it."""
    rows: list[list[object]] = []

    def add(claim: str, source: str, found: str, margins: Sequence[float]) -> None:
        rows.append([claim, source, found, verdict(margins)])

    def compare(claim: str, source: str, one: str, other: str, slack: float = 0.0) -> None:
        margins = [a - b for a, b in zip(bleus(results, one), bleus(results, other), strict=True)]
        add(claim, source, f"{spread(margins)} BLEU", [margin + slack for margin in margins])

    for planes in shift["settings"]["planes"]:
        for shots in (1, 5):
            rank = chosen_rank(shift, planes, shots)
            ours = accuracies(shift, planes, shots, rank)
            for rival in ("full", "full, held"):
                margins = [a - b for a, b in zip(ours, accuracies(shift, planes, shots, rival), strict=True)]
                claim = f"{counted(planes)}, {shots} of each class: {rank} is 5 points above {rival}"
                found = f"{spread(margins)} points"
                add(claim, "goal" if shots == 5 else "asked here", found, [margin - 5 for margin in margins])
    compare("LoRA on q and v is better than full tuning", "Hu 2021, table 3: +2.2", "LoRA on q and v", "full")
    compare("LoRA is better than full tuning", "asked here: in all matrices", "LoRA", "full")
    compare(
        "in all matrices better than in q and v, as many numbers",
        "asked here; Hu 2021, table 5: by its caption q and v are best in attention, "
        "by its numbers q, k, v, o are level or better",
        "LoRA",
        "LoRA on q and v",
    )
    claim = "LoRA on q and v is better than adapters, as many numbers"
    compare(claim, "Hu 2021, table 3", "LoRA on q and v", "adapters")
    compare("LoRA is better than adapters, as many numbers", "asked here: in all matrices", "LoRA", "adapters")
    leads = [a - b for a, b in zip(bleus(longer, "LoRA on q and v"), bleus(longer, "full"), strict=True)]
    claim = f"LoRA on q and v is better than full tuning, after {longer['settings']['steps']} steps"
    add(claim, "asked here", f"{spread(leads)} BLEU", leads)
    for rival, label in (("full", "full tuning"), ("LoRA on q and v", "on q and v alone"), ("adapters", "adapters")):
        leads = [a - b for a, b in zip(bleus(longer, "LoRA"), bleus(longer, rival), strict=True)]
        claim = f"LoRA is better than {label}, after {longer['settings']['steps']} steps"
        add(claim, "asked here", f"{spread(leads)} BLEU", leads)
    compare(
        "DSEE without half of W loses at most 0.5 against LoRA",
        "goal; printed −1.0, zeros not told",
        "DSEE, half of W",
        "LoRA",
        0.5,
    )
    compare("without half of W, DSEE is better than LoRA", "asked here", "DSEE, half of W", "LoRA, half of W")
    compare(
        "S₂'s places from W are better than random ones",
        "asked here",
        "DSEE, half of W",
        "DSEE, half of W, random support",
    )
    compare(
        "LoRA is better without the smaller half of W than without a random half",
        "control",
        "LoRA, half of W",
        "LoRA, random half of W",
    )
    compare("DSEE is better than full tuning under the mask", "control", "DSEE, half of W", "full, half of W")
    whole = results["network"]["bytes"]
    full = bleus(results, "full")
    for name, size, found in files_of(results)[1:]:
        margins = [a - b for a, b in zip(found, full, strict=True)]
        if size <= whole / 100:
            claim = f"file of {name} ({100 * size / whole:.2f}%) loses at most 1"
            add(claim, "goal", f"{spread(margins)} BLEU", [margin + 1 for margin in margins])
    return plots.Table(["claim", "whose", "ours, mean (lowest to highest)", "verdict"], rows)


# --- widget and lab ---------------------------------------------------------------------------------------------------


def nonzero_bytes(size: int, nonzeros: int) -> float:
    """Bytes that a code needs at least for the places of so many entries of a matrix, and two for each value."""
    places = math.lgamma(size + 1) - math.lgamma(nonzeros + 1) - math.lgamma(size - nonzeros + 1)
    return places / math.log(2) / 8 + 2 * nonzeros


def spent(matrix: Tensor, rank: int, numbers: int) -> tuple[Tensor, Tensor, float, float]:
    """So many numbers on a matrix, rank · (m + n) of them on a low rank: that part, the sparse one, the relative error,
    and the bytes at two for each number."""
    nonzeros = numbers - rank * sum(matrix.shape)
    u, v, sparse = transfer.sparse_residual(matrix, rank, nonzeros, steps=3)
    error = float((matrix - u @ v - sparse).norm() / matrix.norm())
    return u @ v, sparse, error, 2 * rank * sum(matrix.shape) + nonzero_bytes(matrix.numel(), nonzeros)


def spectra(curves: Mapping[str, Tensor]) -> None:
    """Draw singular values by size on a logarithmic axis."""
    figure, axis = plots.new_figure(height=3.2)
    for number, (name, values) in enumerate(curves.items()):
        axis.plot(range(1, len(values) + 1), values, label=name, marker="", linestyle=plots.LINES[number])
    axis.set_yscale("log")
    axis.set_xticks([1, 5, 10, 15, 20])
    axis.set(xlabel="place", ylabel="singular value", title="singular values, by size")
    axis.legend(fontsize=9)
    plots.show(figure, f"Falling curves of singular values on a logarithmic axis: {', '.join(curves)}.")


def budget_curve(errors: Mapping[str, Mapping[int, float]]) -> None:
    """Draw the relative error of a budget over how much of it goes to the low rank."""
    figure, axis = plots.new_figure(height=3.2)
    for number, (name, by_rank) in enumerate(errors.items()):
        style = {"linestyle": plots.LINES[number], "marker": plots.MARKERS[number]}
        axis.plot(list(by_rank), [100 * error for error in by_rank.values()], label=name, **style)
    axis.set(
        xlabel="rank (the rest of the numbers are nonzeros)", ylabel="relative error (%)", title="one budget of numbers"
    )
    axis.legend(fontsize=9)
    plots.show(figure, f"Relative error over the rank, at one budget of numbers: {', '.join(errors)}.")
