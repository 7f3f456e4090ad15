"""Tables and figures of lecture 03 and of its lab."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from course_utils import plots

NAMES = {"lenet_300_100": "LeNet-300-100", "lenet5": "LeNet-5"}
FROM_DENSE = "paper's"  # the recipe whose dense network was trained to the end before it was cut
Results = Mapping[str, Any]  # of `course reproduce deep-compression`
STAGES = {"pruned": "pruned", "quantized": "+ shared", "huffman": "+ Huffman", "arithmetic": "or arithmetic coding"}


def _bars_of_bytes(sizes: Mapping[str, int], height: float, alt: str) -> None:
    figure, axes = plots.new_figure(height=height)
    plots.bars(axes, {name: size / 1000 for name, size in sizes.items()}, "kilobytes, logarithmic", "{:.1f} kB")
    axes.set_xscale("log")
    plots.show(figure, alt)


# --- lecture ----------------------------------------------------------------------------------------------------------


def pipeline() -> None:
    """Draw the three stages of Deep Compression, with the paper's figures for LeNet-300-100."""
    stages = [
        ("dense", "266,610 weights,\n32 bits each", "1,070 kB"),
        ("prune, retrain", "8% of the weights,\n32 bits, and\nwhere they are", "12 times\nfewer weights"),
        ("share, fine-tune", "indices of 6 bits\ninto a codebook of\n64 values", "32 times\nsmaller"),
        ("Huffman", "short words for\nfrequent indices\nand gaps", "27 kB, 40 times\nsmaller"),
    ]
    figure, axis = plots.new_figure(width=9.5, height=2.6)
    for x, (name, what, size) in enumerate(stages):
        axis.text(x, 2.45, name, ha="center", va="center", weight="bold", fontsize=12)
        box = {"boxstyle": "round,pad=0.5", "fc": "#eef4fa", "ec": plots.COLOURS[1]}
        axis.text(x, 1.45, what, ha="center", va="center", fontsize=10, bbox=box)
        axis.text(x, 0.3, size, ha="center", va="center", fontsize=11)
        if x:
            style = {"arrowstyle": "-|>", "color": "black", "linewidth": 1.5}
            axis.annotate("", (x - 0.36, 1.45), (x - 0.64, 1.45), arrowprops=style)
    axis.set(xlim=(-0.5, 3.5), ylim=(-0.1, 2.8))
    axis.set_axis_off()
    plots.show(
        figure,
        "Four boxes joined by arrows: the dense network of 266,610 weights and 1,070 kilobytes; pruned and retrained, "
        "8% of the weights and where they are; shared and fine-tuned, indices of 6 bits into a codebook; "
        "Huffman-coded, short words for what is frequent, 27 kilobytes, forty times smaller.",
    )


def file_sizes(stages: Mapping[str, tuple[int, int]]) -> None:
    """Draw the bytes of a network's file, stage by stage. stages: bytes and errors of 1,000, by name."""
    _bars_of_bytes(
        {f"{name}: {wrong} of 1,000 wrong": size for name, (size, wrong) in stages.items()},
        2.8,
        "Horizontal bars on a logarithmic axis: the file's size for the dense network, more than a thousand "
        "kilobytes, and after pruning, sharing, Huffman coding and arithmetic coding, each shorter than the one "
        "before.",
    )


def _median(runs: Sequence[Mapping[str, Any]], *keys: str) -> float:
    """Over the seeds, of what lies at these keys."""
    found = []
    for run in runs:
        value: Any = run
        for key in keys:
            value = value[key]
        found.append(value)
    return float(np.median(found))


def _percent(runs: Sequence[Mapping[str, Any]], stage: str) -> str:
    """Test errors in percent of 10,000 digits at a stage: their median and range."""
    percent = [run[stage]["test_errors"] / 100 for run in runs]
    return f"{np.median(percent):.2f} ({min(percent):.2f}–{max(percent):.2f})"


def _seeds(runs: Sequence[object]) -> str:
    return f"{len(runs)} seed{'s' * (len(runs) > 1)}"


def ingredients_table(results: Results) -> plots.Table:
    """Test errors of a pruned LeNet-300-100 by what its training has of our recipe."""
    recipes = (
        "no teacher, no shifts, two rounds",
        "no teacher, no shifts",
        "no teacher",
        "ours",
        "ours, rewound",
        "ours, by OBD",
    )
    by_recipe = {recipe: results["runs"]["lenet_300_100"][recipe] for recipe in recipes}
    rows = [[recipe, len(runs), _percent(runs, "pruned")] for recipe, runs in by_recipe.items() if runs]
    columns = ["training of LeNet-300-100", "seeds", "test error in %, pruned: median (range)"]
    return plots.Table(columns, rows, seeds=[len(runs) for runs in by_recipe.values() if runs])


def paper_table(results: Results) -> plots.Table:
    """The paper's errors and sizes, stage by stage, and ours by each recipe; a row says how many seeds it has."""
    rows = []
    for network, by_recipe in results["runs"].items():
        paper = results["paper"][network]
        whole = f"{paper['kilobytes_before'] * 1000:,}"
        rows.append([f"{network}, Han 2016", "dense", "100%", f"{paper['error_before']:.2f}", "32", whole, "1.0"])
        for stage in ("pruned", "quantized", "huffman"):
            last = stage == "huffman"
            error, size = (f"{paper['error']:.2f}", f"{paper['kilobytes'] * 1000:,}") if last else ("", "")
            kept = f"{paper['kept']:.0%}"
            rows.append([f"{network}, Han 2016", STAGES[stage], kept, error, "", size, f"{paper[stage]:.1f}"])
        for recipe, runs in by_recipe.items():
            if not runs or "huffman" not in runs[0]:
                continue
            name, kept = f"{network}, {recipe} ({_seeds(runs)})", _median(runs, "kept")
            if recipe == FROM_DENSE:
                size = _median(runs, "dense", "bytes")
                rows.append([name, "dense", "100%", _percent(runs, "dense"), "32", f"{size:,.0f}", "1.0"])
            for stage, label in STAGES.items():
                size = _median(runs, stage, "bytes")
                part, bits = f"{kept / runs[0]['parameters']:.1%}", f"{8 * size / kept:.1f}"
                ratio = f"{_median(runs, stage, 'ratio'):.1f}"
                rows.append([name, label, part, _percent(runs, stage), bits, f"{size:,.0f}", ratio])
            bits = ", ".join(str(layer["weight_bits"]) for layer in runs[0]["closed_form"]["layers"])
            formula = f"the paper's formula: {bits} bits a weight, 5 a gap"
            rows.append([name, formula, "", "", "", "", f"{_median(runs, 'closed_form', 'ratio'):.1f}"])
    error, bits = "test error in %: median (range)", "bits in the file for each kept weight"
    return plots.Table(["network, recipe", "stage", "kept", error, bits, "bytes", "times smaller"], rows)


def error_and_bytes(results: Results) -> None:
    """Draw test error against bytes, stage by stage, for the recipes that have files, and the paper's two points."""
    figure, axes = plots.new_figure(1, 2, width=10.5, height=4)
    for axis, (network, by_recipe) in zip(axes, results["runs"].items(), strict=True):
        for recipe, runs in by_recipe.items():
            if not runs or "huffman" not in runs[0]:
                continue
            stages = ["dense"] * (recipe == FROM_DENSE) + ["pruned", "quantized", "huffman", "arithmetic"]
            size = [_median(runs, stage, "bytes") / 1000 for stage in stages]
            wrong = [_median(runs, stage, "test_errors") / 100 for stage in stages]
            (line,) = axis.plot(size, wrong, label=f"{recipe} ({_seeds(runs)})", markersize=5)
            low, high = ([f(run[s]["test_errors"] for run in runs) / 100 for s in stages] for f in (min, max))
            axis.vlines(size, low, high, color=line.get_color(), alpha=0.35)
        paper = results["paper"][network]
        before, after = (paper["kilobytes_before"], paper["error_before"]), (paper["kilobytes"], paper["error"])
        axis.plot(
            *zip(before, after, strict=True), linestyle="", marker="*", markersize=12, color="black", label="Han 2016"
        )
        axis.set(xscale="log", xlabel="bytes of the file (thousands)", ylabel="test error (%)", title=NAMES[network])
        axis.margins(y=0.2)
        axis.set_xticks([10, 30, 100, 300, 1000], ["10", "30", "100", "300", "1,000"])
        axis.minorticks_off()
        axis.invert_xaxis()
        axis.legend(fontsize=8, loc="lower left")
    plots.show(
        figure,
        "Test error against the size of the file on a logarithmic axis that falls to the right, for both networks. The "
        "paper's recipe, run by us, goes from the dense network to pruned, shared and coded along a nearly level line "
        "and ends close to the star of the published file, higher in error. Our recipes begin further right and end at "
        "a fraction of its size; the smaller, the more errors.",
    )


def codings_table(results: Results) -> plots.Table:
    """Bytes and errors of one pruned network, coded in different ways: medians over its seeds."""
    rows = []
    for network, by_recipe in results["runs"].items():
        runs = by_recipe["ours"]
        if not runs:
            continue
        codings = {coding: ("codings", coding) for coding in runs[0]["codings"]}
        codings |= {"fine-tuned from the steps": ("arithmetic",), "fine-tuned from the best k-means": ("best_kmeans",)}
        for label, keys in codings.items():
            size, ratio, wrong = (_median(runs, *keys, what) for what in ("bytes", "ratio", "test_errors"))
            rows.append([f"{network} ({_seeds(runs)})", label, f"{size:,.0f}", f"{ratio:.1f}", f"{wrong / 100:.2f}"])
    return plots.Table(["network", "coding", "bytes", "times smaller", "test error in %"], rows)


# --- lab --------------------------------------------------------------------------------------------------------------


def gap_sizes(sizes: Mapping[int, float], kept: int) -> None:
    """Draw the kilobytes of the first layer against the bits of a gap. kept: how many weights it has left."""
    figure, axes = plots.new_figure()
    axes.plot(list(sizes), list(sizes.values()))
    axes.set(xlabel="bits of a gap", ylabel="kilobytes of the first layer", title=f"{kept:,} weights kept")
    axes.set_ylim(bottom=0)
    plots.show(
        figure,
        "Size of the first layer against the bits of a gap, from 1 to 10: it falls steeply until six bits, is lowest "
        "around seven or eight, and rises slowly.",
    )


def centroids(weights: Tensor, start: Tensor, end: Tensor) -> None:
    """Draw a histogram of weights, and below it where the centroids start and end."""
    figure, axes = plots.new_figure()
    axes.hist(weights.numpy(), bins=100, color="#bbbbbb")
    for places, y, name in ((start, -12, "linear start"), (end, -28, "after k-means")):
        axes.plot(places, [y] * len(places), linestyle="", label=name)
    axes.set(xlabel="weight", ylabel="number of weights")
    axes.set_title("the first layer's kept weights, and 16 centroids")
    axes.legend()
    plots.show(
        figure,
        "A histogram of the kept weights with two narrow humps on either side of a nearly empty middle, and below it "
        "two rows of 16 marks: evenly spaced at the start, closer together under the humps after k-means.",
    )


def errors_by_bits(percent: Mapping[str, Mapping[int, float]], not_quantized: float) -> None:
    """Draw validation errors in percent against the bits of a weight, by start of k-means."""
    figure, axes = plots.new_figure()
    for name, by_bits in percent.items():
        axes.plot(list(by_bits), list(by_bits.values()), label=name)
    axes.axhline(not_quantized, color="#999999", linestyle=":", marker="", label="not quantized")
    axes.set(xlabel="bits of a weight", ylabel="validation error, percent")
    axes.legend()
    plots.show(
        figure,
        "Validation error against the bits of a weight, 1 to 6, for the two starts, with the level of the network "
        "that is not quantized: the error is high at 1 bit and close to that level from about 3 or 4 bits on.",
    )


def stage_sizes(sizes: Mapping[str, int]) -> None:
    """Draw the bytes of a network, stage by stage."""
    _bars_of_bytes(
        sizes,
        2.6,
        "Four horizontal bars on a logarithmic axis: the dense network has more than a thousand kilobytes, the pruned "
        "one some tens, the shared and the Huffman-coded one around ten.",
    )
