"""Tables and figures of lecture 03 and of its lab."""

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from course_utils import plots

NAMES = {"lenet_300_100": "LeNet-300-100", "lenet5": "LeNet-5"}
FROM_DENSE = "paper's"  # the recipe whose dense network was trained to the end before it was cut
Results = Mapping[str, Any]  # of `course reproduce deep-compression`
# Published sizes of the same networks: kilobytes, times smaller, test error in %, marker. Oktay's are from table 1 of
# arXiv:1906.06624, all others from table 1 of Havasi 2019, arXiv:1810.00440
RIVALS = {
    "lenet_300_100": {"Oktay 2020": (8.56, 124, 1.9, "P")},
    "lenet5": {
        "Reagen 2018, Weightless": (4.52, 382, 1.0, "v"),
        "Louizos 2017, Bayesian": (2.3, 771, 1.0, "X"),
        "Havasi 2019, fewest errors": (3.03, 555, 0.69, "D"),
        "Havasi 2019, smallest": (1.52, 1110, 0.96, "d"),
        "Oktay 2020": (2.84, 606, 1.0, "P"),
    },
}
STAGES = {"pruned": "pruned", "quantized": "+ shared", "huffman": "+ Huffman", "arithmetic": "or arithmetic coding"}


def _bars_of_bytes(sizes: Mapping[str, int], height: float, alt: str) -> None:
    figure, axes = plots.new_figure(height=height)
    plots.bars(axes, {name: size / 1000 for name, size in sizes.items()}, "kilobytes, logarithmic", "{:.1f} kB")
    axes.set_xscale("log")
    plots.show(figure, alt)


# --- lecture ----------------------------------------------------------------------------------------------------------


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
    """Dense networks and files in the end: the paper's, ours by each recipe, and others that were published."""
    rows = []
    for network, by_recipe in results["runs"].items():
        paper, name, dense = (
            results["paper"][network],
            NAMES[network],
            1000 * results["paper"][network]["kilobytes_before"],
        )
        rows.append([f"{name}, Han 2016, dense", "100%", f"{paper['error_before']:.2f}", f"{dense:,}", "1"])
        size = 1000 * paper["kilobytes"]
        rows.append(
            [f"{name}, Han 2016", f"{paper['kept']:.0%}", f"{paper['error']:.2f}", f"{size:,}", f"{paper['huffman']}"]
        )
        for recipe, runs in by_recipe.items():
            if not runs or "huffman" not in runs[0]:
                continue
            if recipe == FROM_DENSE:
                size = _median(runs, "dense", "bytes")
                rows.append(
                    [f"{name}, {recipe}, dense ({_seeds(runs)})", "100%", _percent(runs, "dense"), f"{size:,.0f}", "1"]
                )
            coder = "huffman" if recipe == FROM_DENSE else "arithmetic"
            part, size = _median(runs, "kept") / runs[0]["parameters"], _median(runs, coder, "bytes")
            ratio = f"{_median(runs, coder, 'ratio'):.0f}"
            rows.append(
                [
                    f"{name}, {recipe} ({_seeds(runs)})",
                    f"{part:.1%}",
                    _percent(runs, coder),
                    f"{size:,.0f}",
                    ratio,
                ]
            )
        for rival, (kilobytes, ratio, error, _) in RIVALS[network].items():
            rows.append([f"{name}, {rival}", "—", f"{error:.2f}", f"{1000 * kilobytes:,.0f}", f"{ratio}"])
    error = "test error in %: median (range)"
    return plots.Table(["network, recipe", "kept", error, "bytes", "times smaller"], rows)


def error_and_bytes(results: Results, priced: Results) -> None:
    """Draw test error against bytes, stage by stage, for the recipes that have files, and the paper's two points.

    priced: `rate.json`, whose files are drawn as a line over λ.
    """
    figure, axes = plots.new_figure(1, 2, width=10.5, height=5.2)
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
        _priced_files(axis, priced, network)
        paper = results["paper"][network]
        before, after = (paper["kilobytes_before"], paper["error_before"]), (paper["kilobytes"], paper["error"])
        axis.plot(
            *zip(before, after, strict=True), linestyle="", marker="*", markersize=12, color="black", label="Han 2016"
        )
        _rivals(axis, network)
        axis.set(xscale="log", xlabel="bytes of the file (thousands)", ylabel="test error (%)", title=NAMES[network])
        axis.margins(y=0.2)
        axis.set_xticks([2, 5, 10, 30, 100, 300, 1000], ["2", "5", "10", "30", "100", "300", "1,000"])
        axis.minorticks_off()
        axis.invert_xaxis()
        axis.legend(fontsize=8, loc="upper left", bbox_to_anchor=(0, -0.18), ncol=2)
    plots.show(
        figure,
        "Test error against the size of the file on a logarithmic axis that falls to the right, for both networks. The "
        "paper's recipe, run by us, goes from the dense network to pruned, shared and coded along a nearly level line "
        "and ends close to the star of the published file, higher in error. Our recipes begin further right and end at "
        "a fraction of its size; the smaller, the more errors. Files trained for the price of their bits lie further "
        "right than those; a triangle, LeNet-300-100 trained so without a price, lies far left of them and lowest. "
        "Grey marks of other published files: for LeNet-5 all of them lie further right than our recipes, one left of "
        "the priced files, one among them, as low as the middle one of our recipes, and three to their right.",
    )


def _rivals(axis: Axes, network: str) -> None:
    for rival, (kilobytes, _, error, marker) in RIVALS[network].items():
        axis.plot(kilobytes, error, linestyle="", marker=marker, markersize=8, color="#888888", label=rival)


def _priced_files(axis: Axes, priced: Results, network: str) -> None:
    """Medians of files, and their ranges: a line over λ, a triangle without a price, a star for a longer training."""
    found = {name: runs for name, runs in priced["runs"][network].items() if runs}
    _medians(axis, [runs for name, runs in found.items() if name != "0" and "," not in name], "priced bits", "o", 6)
    for name, runs in found.items():
        if name == "0":
            _medians(axis, [runs], "the same without a price", "<", 6)
        if "," in name:
            _medians(axis, [runs], f"priced bits, {name.split(', ')[1]}", "*", 11)


def _medians(axis: Axes, files: Sequence[Sequence[Mapping[str, Any]]], label: str, marker: str, size: int) -> None:
    x, y = (
        np.array([[f([run[key] for run in runs]) for f in (np.median, np.min, np.max)] for runs in files]) / unit
        for key, unit in (("bytes", 1000), ("test_errors", 100))
    )
    across, up = (np.abs(values[:, 1:] - values[:, :1]).T for values in (x, y))
    axis.errorbar(
        x[:, 0], y[:, 0], up, across, label=label, color=plots.COLOURS[4], linestyle="-",
        marker=marker, markersize=size, elinewidth=1, zorder=3,
    )  # fmt: skip


def rate_and_distortion(results: Results, priced: Results) -> None:
    """Draw test error against bytes: files that were pruned, shared and coded, and those trained for their price."""
    figure, axes = plots.new_figure(1, 2, width=10.5, height=5)
    for axis, (network, goal) in zip(axes, reversed(priced["goals"].items()), strict=True):
        recipes = {name: runs for name, runs in results["runs"][network].items() if runs and "arithmetic" in runs[0]}
        size = [_median(runs, "arithmetic", "bytes") / 1000 for runs in recipes.values()]
        wrong = [_median(runs, "arithmetic", "test_errors") / 100 for runs in recipes.values()]
        axis.plot(size, wrong, linestyle="", marker="s", color=plots.COLOURS[1], label="pruned, shared, then coded")
        for name, x, y in zip(recipes, size, wrong, strict=True):
            axis.annotate(name, (x, y), (0, 7), textcoords="offset points", ha="center", fontsize=8)
        _priced_files(axis, priced, network)
        _rivals(axis, network)
        axis.axvline(goal["bytes"] / 1000, color="#999999", linestyle=":", label="the goal: below and to the right")
        axis.axhline(goal["error"], color="#999999", linestyle=":")
        axis.set(xscale="log", xlabel="bytes of the file (thousands)", ylabel="test error (%)", title=NAMES[network])
        axis.margins(0.15)
        axis.set_xticks([2, 3, 5, 10, 20, 30, 50], ["2", "3", "5", "10", "20", "30", "50"])
        axis.minorticks_off()
        axis.invert_xaxis()
        axis.legend(fontsize=8, loc="upper left", bbox_to_anchor=(0, -0.18), ncol=2)
    plots.show(
        figure,
        "Test error against the size of the file on a logarithmic axis that falls to the right, for both networks. "
        "Files that were pruned, shared and coded are squares on the left. The line of the files that were trained for "
        "the price of their bits lies to the right of all of them: the smaller the file, the more errors. A star, the "
        "longer training, lies further right still, below the line's right end. A triangle far to the left "
        "is LeNet-300-100 without a price, which has the fewest errors. Grey marks "
        "are published files: for LeNet-300-100 above and to the left of the line; for LeNet-5 three above it, two of "
        "them further right, and Havasi's two, one straight below the star and one above it, right of all others. "
        "Dotted lines mark the goal's bytes and its error.",
    )


def price_of_indices(priced: Results, network: str) -> None:
    """Draw how often each index occurs before λ rises and in the end, and the price list that belongs to it."""
    price, (run, *_) = [(name, runs) for name, runs in priced["runs"][network].items() if "," not in name][-1]
    stages = {"after the dense epochs": run["stages"][0], f"in the end, λ = {price}": run["stages"][-1]}
    figure, axes = plots.new_figure(1, 3, width=10.5, height=3.2)
    for axis, colour, (name, stage) in zip(axes[::2], plots.COLOURS[1:], stages.items(), strict=False):
        counts = np.array(stage["histogram"])
        places = np.arange(len(counts)) - len(counts) // 2
        bits = -np.log2(np.maximum(counts, 1) / counts.sum())
        drawn = axis.bar(places, counts, color=colour)
        axis.bar_label(
            drawn, [f"{each:.1f}" if count else "" for each, count in zip(bits, counts, strict=True)], fontsize=8
        )
        ends = [f"≤{places[0]}", *map(str, places[1:-1]), f"≥{places[-1]}"]
        axis.set_xticks(places, ends, fontsize=8)
        axis.set(yscale="log", xlabel="index", title=f"{name}\n{counts.sum():,} weights")
        axis.title.set_fontsize(10)
        axis.margins(y=0.15)
        axes[1].plot(places[1:-1], bits[1:-1], color=colour, label=name)
    axes[0].set_ylabel("how often (above: bits)")
    axes[1].set(xlabel="a weight's place on the grid", ylabel="bits", title="the price, linear between integers")
    axes[1].title.set_fontsize(10)
    axes[1].legend(fontsize=8)
    plots.show(
        figure,
        "Two bar charts of how often each index occurs, with its bits above the bar, and between them the two price "
        "lists as lines over the weight's place on the grid. Before, the bars fall slowly on both sides of 0, and the "
        "line is a shallow valley. In the end there are fewer weights, most of them at 0 and about as many at ±2 as at "
        "±1, and the line is a narrow gorge with a ledge: 0 costs a fraction of a bit, ±1 and ±2 about five each.",
    )


def priced_table(priced: Results) -> plots.Table:
    """Files trained for the price of their bits, by network and λ; how many of the seeds are within the goal."""
    rows, seeds = [], []
    for network, goal in reversed(priced["goals"].items()):
        for price, runs in priced["runs"][network].items():
            if not runs:
                continue
            sizes = [run["bytes"] for run in runs]
            validation = 100 * _median(runs, "validation_errors") / priced["data"]["validation"]
            test = [run["test_errors"] / 100 for run in runs]
            rows.append(
                [
                    NAMES[network],
                    price,
                    f"{np.median(sizes):,.0f} ({min(sizes):,}–{max(sizes):,})",
                    f"{_median(runs, 'ratio'):.0f}",
                    f"{validation:.2f}",
                    f"{np.median(test):.2f} ({min(test):.2f}–{max(test):.2f})",
                    f"{sum(map(partial(_within, goal), runs))} of {len(runs)}",
                ]
            )
            seeds.append(len(runs))
    columns = ["network", "λ", "bytes: median (range)", "times smaller", "validation error in %"]
    return plots.Table([*columns, "test error in %: median (range)", "seeds within the goal"], rows, seeds)


def _within(goal: Mapping[str, float], run: Mapping[str, Any]) -> bool:
    return run["bytes"] <= goal["bytes"] and run["test_errors"] <= 100 * goal["error"]


def verdicts(priced: Results) -> list[str]:
    """For each network, if a λ reaches the goal: of those with small enough files, the one with the best validation."""
    found = []
    for network, goal in reversed(priced["goals"].items()):
        aim = f"{NAMES[network]}, at most {goal['bytes']:,} bytes and {goal['error']}%:"
        files = {price: runs for price, runs in priced["runs"][network].items() if runs}
        small = [price for price, runs in files.items() if _median(runs, "bytes") <= goal["bytes"]]
        what = "validation_errors" if small else "bytes"
        price = min(small or files, key=lambda price: _median(files[price], what))
        runs = files[price]
        size, error = _median(runs, "bytes"), _median(runs, "test_errors") / 100
        verdict = "reached" if small and error <= goal["error"] else "not reached"
        within = sum(_within(goal, run) for run in runs)
        found.append(
            f"{aim} {verdict}. λ = {price}: medians {size:,.0f} bytes, {error:.2f}%; "
            f"both within the goal with {within} of {_seeds(runs)}"
        )
    return found


def dense_twins(stored: Results) -> None:
    """Draw test errors of the lecture's pruned networks and of dense ones trained as long. stored: `dense.json`."""
    rows = {
        f"{name}:\n{what}": [run[name][key] for run in stored["runs"]]
        for name, recipe in stored["recipes"].items()
        for what, key in ((f"{recipe['kept']:,} weights", "pruned"), ("dense, as long", "dense"))
    }
    figure, axes = plots.new_figure(height=3)
    plots.points_over_seeds(axes, rows, f"wrong of {stored['data']['test']:,} test digits")
    axes.set_xlim(left=0)
    axes.set_title("What pruning costs (three seeds, bar: their mean)")
    plots.show(
        figure,
        "Test errors of three seeds for two recipes, each pruned and dense. By either recipe the dense network's dots "
        "are to the left of the pruned one's, that is better; with shifted digits its mean is less than half of "
        "the pruned one's.",
    )


def retraining(stored: Results) -> None:
    """Draw test errors against the weights that are kept, before retraining and after. stored: `dense.json`."""
    parts, runs = [100 * part for part in stored["settings"]["parts"]], [run["cuts"] for run in stored["runs"]]
    dense = [run["in two rounds"]["dense"] for run in stored["runs"]]
    figure, axes = plots.new_figure(height=3.4)
    for key, label in (("cut", "cut"), ("retrained", "cut, then retrained")):
        _over_seeds(axes, parts, [run[key] for run in runs], label)
    axes.axhline(np.mean(dense), color="#999999", linestyle=":", marker="", label="dense")
    _kept_axis(axes, parts, stored, "What is cut at once, and what retraining wins back")
    axes.legend()
    plots.show(
        figure,
        "Test errors against the percentage of weights that are kept, from half of them down to one in a hundred, both "
        "axes logarithmic. Cut and not retrained, the network is as good as dense at first and then falls apart; "
        "retrained, it stays near the dense level down to a tenth of the weights, and then loses too.",
    )


def sensitivity(stored: Results) -> None:
    """Draw test errors against the weights that one layer keeps, the others whole. stored: `dense.json`."""
    parts = [100 * part for part in stored["settings"]["parts"]]
    dense = [run["in two rounds"]["dense"] for run in stored["runs"]]
    figure, axes = plots.new_figure(height=3.4)
    for layer, size in enumerate(("784 × 300", "300 × 100", "100 × 10")):
        _over_seeds(
            axes, parts, [run["cuts"]["one_layer"][layer] for run in stored["runs"]], f"layer {layer + 1}: {size}"
        )
    axes.axhline(np.mean(dense), color="#999999", linestyle=":", marker="", label="dense")
    _kept_axis(axes, parts, stored, "One layer cut, not retrained: how much it bears")
    axes.legend()
    plots.show(
        figure,
        "Test errors against the percentage of weights that one layer keeps while the others stay whole, one line for "
        "each of three layers, both axes logarithmic. The third layer's line is the first to rise, once half of its "
        "weights are gone; the other two stay near the dense level for longer.",
    )


def _over_seeds(axes: Axes, x: Sequence[float], by_seed: Sequence[Sequence[float]], label: str) -> None:
    (line,) = axes.plot(x, np.mean(by_seed, axis=0), label=label)
    axes.fill_between(x, np.min(by_seed, axis=0), np.max(by_seed, axis=0), color=line.get_color(), alpha=0.15)


def _kept_axis(axes: Axes, parts: Sequence[float], stored: Results, title: str) -> None:
    wrong = f"wrong of {stored['data']['test']:,} test digits"
    axes.set(xscale="log", yscale="log", xlabel="% of the weights kept", ylabel=wrong, title=title)
    axes.set_xticks(parts, [f"{part:g}" for part in parts])
    axes.set_yticks([50, 100, 200, 500], ["50", "100", "200", "500"])
    axes.minorticks_off()
    axes.invert_xaxis()


def kept_by_layer(results: Results) -> plots.Table:
    """What one threshold for all layers keeps of each: by the paper's recipe, and by ours. Medians over seeds."""
    rows = []
    for recipe in ("paper's", "ours"):
        runs = results["runs"]["lenet_300_100"][recipe]
        layers = [[layer["kept"] / layer["weights"] for layer in run["closed_form"]["layers"]] for run in runs]
        rows.append([recipe, *(f"{part:.1%}" for part in np.median(layers, axis=0))])
    return plots.Table(["recipe", "784 × 300", "300 × 100", "100 × 10"], [["Han 2016", "8%", "9%", "26%"], *rows])


def stages_of_weights(stored: Results) -> None:
    """Draw histograms of the first layer's weights through the stages, of the first seed. stored: `dense.json`."""
    histograms, settings = stored["runs"][0]["cuts"]["histograms"], stored["settings"]
    edges = np.linspace(-settings["widest"], settings["widest"], settings["bins"] + 1)
    figure, axes = plots.new_figure(1, len(histograms), width=11, height=2.6)
    for axis, (stage, counts) in zip(axes, histograms.items(), strict=True):
        axis.bar(edges[:-1], counts, width=np.diff(edges), align="edge", color=plots.COLOURS[1])
        axis.set(title=f"{stage}\n{sum(counts):,} of them here", xlabel="weight")
        axis.title.set_fontsize(10)
    axes[0].set_ylabel("number of weights")
    plots.show(
        figure,
        "Four histograms of the first layer's weights that are not 0. Dense: one high hump around 0. Cut: the hump is "
        "gone, two flanks are left with a gap between them. Retrained: the flanks have spread, and a few weights are "
        "in the gap. Shared: a few single bars.",
    )


def code_lengths(weights: Tensor, index_bits: int) -> None:
    """Draw how often each index and each gap of a pruned, shared layer occurs, with the length of its Huffman word."""
    from course_utils.deep_compression import encode_relative_index, huffman_code

    kept = weights != 0
    _, indices = weights[kept].unique(return_inverse=True)
    gaps, fillers = encode_relative_index(kept, index_bits)
    gaps = gaps.masked_fill(fillers, 0)  # a symbol of their own, as in the file
    figure, axes = plots.new_figure(2, 1, width=9, height=5)
    for axis, symbols, what in zip(
        axes, (indices, gaps), ("index of the weight", "gap to the weight before (0: a filler)"), strict=True
    ):
        counts = Counter(sorted(symbols.tolist()))
        lengths = {symbol: len(word) for symbol, word in huffman_code(counts).items()}
        drawn = axis.bar(list(counts), list(counts.values()), color=plots.COLOURS[1])
        axis.bar_label(drawn, [lengths[symbol] for symbol in counts], fontsize=8)
        mean = sum(lengths[symbol] * count for symbol, count in counts.items()) / counts.total()
        fixed = math.ceil(math.log2(len(counts)))
        axis.set(xlabel=what, ylabel="how often", title=f"{mean:.2f} bits on average, {fixed} by a fixed length")
        axis.margins(y=0.15)
    plots.show(
        figure,
        "Two bar charts of a shared layer, with the bits of each Huffman word above its bar. The indices of weights "
        "have two humps, so the middle and the ends are rare and get long words. Of the gaps' symbols the filler's, 0, "
        "is by far the most frequent and gets the shortest word; the gap of 1 is next, and all others are rare.",
    )


def sparse_times(weight: Tensor, parts: Sequence[float], batches: Sequence[int], repeats: int = 51) -> plots.Table:
    """Median times of a layer [outputs, inputs] on so many images at once, as a dense matrix and in sparse form.

    Of the weights the largest are kept, a part of them. Both on one thread, in turns: PyTorch's dense product, SciPy's
    of a matrix of compressed sparse rows.
    """
    from scipy import sparse

    rows = []
    for part in parts:
        kept = torch.where(weight.abs() >= weight.abs().quantile(1 - part), weight, 0)
        compressed = sparse.csr_matrix(kept.numpy())
        for batch in batches:
            images = torch.rand(weight.shape[1], batch)
            products = (partial(torch.mm, kept, images), partial(compressed.dot, images.numpy()))
            samples = [[_seconds(product) for product in products] for _ in range(repeats)]
            dense, coded = 1e6 * np.median(samples, axis=0)
            verdict = f"{max(dense, coded) / min(dense, coded):.1f} times {'faster' if coded < dense else 'slower'}"
            rows.append([f"{part:.0%}", batch, f"{dense:.0f}", f"{coded:.0f}", verdict])
    return plots.Table(["kept", "images at once", "dense, µs", "sparse, µs", "sparse is"], rows)


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


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
