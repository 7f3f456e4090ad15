"""Tables and figures of lecture 00 and of its lab."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib import patches

from course_utils import plots
from course_utils.budget import budget_report, conv2d_macs
from course_utils.budget.labels import place_labels, readable

Report = Mapping[str, Any]  # of `budget_report` or `budget_of`


class TrainingRun(NamedTuple):
    """A row of the table of Strubell, Ganesh and McCallum 2019; None where they print nothing."""

    model: str
    hardware: str
    devices: int
    watts: float | None
    hours: int
    kwh: int | None
    lbs: int | None
    dollars: tuple[int, int]  # what the cloud asks for it, from and to


STRUBELL = (
    TrainingRun("Transformer, base", "P100x8", 8, 1415.78, 12, 27, 26, (41, 140)),
    TrainingRun("Transformer, big", "P100x8", 8, 1515.43, 84, 201, 192, (289, 981)),
    TrainingRun("ELMo", "P100x3", 3, 517.66, 336, 275, 262, (433, 1472)),
    TrainingRun("BERT, base", "V100x64", 64, 12_041.51, 79, 1507, 1438, (3751, 12_571)),
    TrainingRun("BERT, base", "TPUv2x16", 16, None, 96, None, None, (2074, 6912)),
    TrainingRun("architecture search", "P100x8", 8, 1515.43, 274_120, 656_347, 626_155, (942_973, 3_201_722)),
    TrainingRun("architecture search", "TPUv2x1", 1, None, 32_623, None, None, (44_055, 146_848)),
    TrainingRun("GPT-2", "TPUv3x32", 32, None, 168, None, None, (12_902, 43_008)),
)


# --- lecture ----------------------------------------------------------------------------------------------------------


def price_list(picojoules: Mapping[str, float]) -> None:
    """Draw what operations cost, in picojoules by name."""
    figure, axes = plots.new_figure(height=3.8)
    plots.bars(axes, picojoules, "picojoules (logarithmic)")
    axes.set(xscale="log", title="What an operation costs (Horowitz 2014, 45 nm)", xlim=(0.01, 3000))
    prices = ", ".join(f"{name} {price:g}" for name, price in picojoules.items())
    plots.show(figure, f"Horizontal bars on a logarithmic axis, in picojoules: {prices}.")


LADDER = {  # picojoules of a 32-bit word: half of Horowitz's for 64 bits; DRAM as Han et al. 2015 have it
    "8 kB of SRAM": 5.0,
    "32 kB of SRAM": 10.0,
    "1 MB of SRAM": 50.0,
    "DRAM": 640.0,
}


def memory_ladder(bandwidth: Mapping[int, float]) -> None:
    """Draw what a word costs by the memory that it comes from; and how fast this machine copies arrays of each size.

    bandwidth: bytes a second, by the bytes of the array.
    """
    figure, (left, right) = plots.new_figure(1, 2, width=9.6, height=3.4)
    prices = {"float32 multiply-add": 4.6, **LADDER}
    plots.bars(left, prices, "picojoules of 32 bits (logarithmic)")
    left.set(xscale="log", xlim=(1, 4000), title="Farther is dearer (45 nm)")
    sizes = list(bandwidth)
    right.plot([2 * size for size in sizes], [value / 1e9 for value in bandwidth.values()], markersize=4)
    right.set(xscale="log", xlabel="bytes of both arrays", ylabel="GB/s, read and written", ylim=(0, None))
    ticks = {128e3: "128 kB", 1e6: "1 MB", 8e6: "8 MB", 64e6: "64 MB", 512e6: "512 MB"}
    right.set_xticks(list(ticks), list(ticks.values()))
    right.set_xticks([], minor=True)
    right.set_title("Farther is slower (a copy, here, one thread)")
    plots.show(
        figure,
        "Left: horizontal bars of picojoules for a float32 multiply-add and for a word from SRAMs of 8 kB, 32 kB and "
        "1 MB and from DRAM, on a logarithmic axis; each is longer than the one before. Right: gigabytes a second of a "
        "copy on this machine against the bytes of its two arrays: lower for the smallest, highest for larger ones "
        "that still fit into the caches, and lower by a factor of several where they do not.",
    )


class Point(NamedTuple):
    """A network on a roofline: operations per byte, and operations a second."""

    intensity: float
    flops: float


def roofline(peak: float, bandwidths: Mapping[str, float], points: Mapping[str, Point]) -> None:
    """Draw roofs and networks. peak: operations a second; bandwidths: bytes a second, by the memory's name."""
    figure, axis = plots.new_figure(width=7.6, height=4.6)
    least, most = 0.1, 400.0
    axis.set(xscale="log", yscale="log", xlim=(least, most), xlabel="floating-point operations per byte moved")
    axis.set(ylabel="billion operations a second", title="One image, one thread: six networks under their roofs")
    axis.plot([least, most], [peak / 1e9] * 2, marker="", linestyle="-", color=plots.COLOURS[0])
    for (name, bandwidth), style in zip(bandwidths.items(), ("-", "--"), strict=True):
        corner = peak / bandwidth
        axis.plot([least, corner], [bandwidth * least / 1e9, peak / 1e9], marker="", ls=style, color=plots.COLOURS[0])
        axis.annotate(
            f"{name}: {bandwidth / 1e9:.0f} GB/s", (0.13, bandwidth * 0.13 / 1e9), xytext=(-4, 7), fontsize=8,
            textcoords="offset points", rotation=45, rotation_mode="anchor", transform_rotates_text=True,
        )  # fmt: skip
    axis.annotate(
        f"product of matrices: {peak / 1e9:.0f} GFLOP/s", (most, peak / 1e9), xytext=(0, 5),
        textcoords="offset points", fontsize=8, ha="right",
    )  # fmt: skip
    for i, point in enumerate(points.values()):
        mark = plots.MARKERS[i % len(plots.MARKERS)]
        axis.plot(point.intensity, point.flops / 1e9, mark, linestyle="", color=plots.COLOURS[1 + i % 5])
    readable(axis)
    figure.draw_without_rendering()
    place_labels(axis, [(p.intensity, p.flops / 1e9) for p in points.values()], list(points))
    plots.show(
        figure,
        "A roofline, both axes logarithmic: operations a second against operations per byte. Two slanted roofs, for "
        "data from the cache and from DRAM, meet a flat one, the speed of a product of large matrices. The three fully "
        "connected networks stand on the far left, at half an operation per byte; the convolutional ones stand in the "
        "middle and on the right. All are below the roof of the cache, the deep and the separable network farthest.",
    )


def weights_and_work(networks: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]]) -> None:
    """Draw how weights and MACs divide into convolutions and linear layers. networks: by name, the layers of both."""
    figure, axes = plots.new_figure(len(networks), 1, width=8, height=1.5 * len(networks))
    for axis, (name, layers) in zip(axes, networks.items(), strict=True):
        convolutions, linear = map(budget_report, layers)
        for row, key in enumerate(("parameters", "macs")):
            total, start = convolutions[key] + linear[key], 0.0
            for i, part in enumerate((convolutions, linear)):
                share = part[key] / total
                axis.barh(row, share, left=start, color=(plots.COLOURS[6], plots.COLOURS[5])[i], hatch=("", "//")[i],
                          edgecolor="white")  # fmt: skip
                if share > 0.15:
                    kind = ("convolutions", "linear layers")[i]
                    axis.text(start + share / 2, row, f"{kind} {share:.0%}", ha="center", va="center", fontsize=9,
                              bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5})  # fmt: skip
                start += share
        weights, macs = (convolutions[key] + linear[key] for key in ("parameters", "macs"))
        axis.set_yticks([0, 1], [f"{weights / 1e6:.0f} M weights", f"{macs / 1e9:.1f} G MACs"])
        axis.invert_yaxis()
        axis.set(xlim=(0, 1), xticks=[], title=f"{name}: {4 * weights / 1e6:.0f} MB in 32 bits")
        axis.grid(visible=False)
    plots.show(
        figure,
        "Two bars each for AlexNet and VGG-16, of weights and of MACs, divided into convolutions and linear layers. "
        "Nearly all weights are in the linear layers, nearly all MACs in the convolutions.",
    )


def separable_drawing() -> None:
    """Draw which channels a full convolution of four channels connects, and which a separable block does."""
    figure, axis = plots.new_figure(width=8.6, height=3.4)
    channels, side = 4, 0.7

    def column(x: float) -> None:
        for row in range(channels):
            axis.add_patch(patches.Rectangle((x, row), side, side, facecolor="#bcd9ee", edgecolor="black"))

    def connect(x: float, to: float, every: bool, width: float, colour: str) -> None:
        for a in range(channels):
            for b in range(channels) if every else (a,):
                ends = [a + side / 2, b + side / 2]
                axis.plot([x + side, to], ends, color=colour, linewidth=width, linestyle="-", marker="")

    places = {"full": (0.0, 3.0), "depthwise": (5.0, 7.2), "pointwise": (7.2, 10.2)}
    for name, (x, to) in places.items():
        column(x)
        column(to)
        connect(
            x, to, name != "depthwise", 0.7 if name == "pointwise" else 3.5, plots.COLOURS[1 + (name == "pointwise")]
        )
    for name, weights, count in (
        ("full", "3 × 3 weights", conv2d_macs(channels, channels, (3, 3), (1, 1))),
        ("depthwise", "3 × 3 weights", conv2d_macs(channels, channels, (3, 3), (1, 1), groups=channels)),
        ("pointwise", "1 weight", conv2d_macs(channels, channels, (1, 1), (1, 1))),
    ):
        x, to = places[name]
        middle = (x + side + to) / 2
        axis.text(middle, channels + 0.1, name, ha="center", weight="bold")
        axis.text(middle, -0.45, f"a line: {weights}\n{count} MACs a pixel", ha="center", va="top", fontsize=9)
    axis.set(xlim=(-0.2, 11.1), ylim=(-1.5, channels + 0.6), title="Four channels to four: in one step, or in two")
    axis.set_axis_off()
    plots.show(
        figure,
        "Two networks of channels, drawn as squares. Left, a full convolution: thick lines of 3 × 3 weights from each "
        "of four input channels to each of four output channels. Right, a separable block: one thick line for each "
        "channel to its own copy, then thin lines of one weight from each to each. Below, the MACs for a pixel: the "
        "two steps together need about a third of the full convolution's.",
    )


def memory_bars(memory: Mapping[str, Mapping[str, int]], use: Mapping[str, int]) -> None:
    """Draw the bytes of a training step, by network and purpose. use: what one image takes without training."""
    figure, axis = plots.new_figure(width=9, height=0.55 * len(memory) + 1.5)
    colours = (plots.COLOURS[1], plots.COLOURS[6], plots.COLOURS[5], "#bbbbbb")
    purposes = list(next(iter(memory.values())))
    for row, (name, parts) in enumerate(memory.items()):
        start = 0.0
        for i, purpose in enumerate(purposes):
            size = parts[purpose] / 1e6
            axis.barh(row, size, left=start, color=colours[i], hatch=plots.HATCHES[i], edgecolor="white",
                      label=purpose if row == 0 else None)  # fmt: skip
            start += size
        text = f" {start:.1f} MB; in use {use[name] / 1e6:.2f} MB"
        axis.text(start, row, text, va="center", fontsize=9)
    axis.set_yticks(range(len(memory)), list(memory))
    axis.invert_yaxis()
    axis.set(xlabel="megabytes of a training step", title="What training holds, and what use holds")
    axis.margins(x=0.3)
    figure.legend(loc="outside lower center", ncols=len(purposes), fontsize="small")
    axis.grid(axis="y", visible=False)
    plots.show(
        figure,
        "Horizontal bars of megabytes for six networks, divided into weights, gradients, Adam's two averages, and the "
        "activations of a batch of 100. In the fully connected networks the first three are most of it, in LeNet-5 "
        "about half; in the two other convolutional ones nearly all are activations. Beside each bar its sum, and the "
        "much smaller memory of use.",
    )


def throughput_against_latency(times: Mapping[str, Mapping[int, float]]) -> None:
    """Draw images a second against milliseconds until they are all done. times: of a batch, by network and batch."""
    figure, axis = plots.new_figure(width=7.6, height=4.2)
    for name, by_batch in times.items():
        milliseconds = list(by_batch.values())
        rates = [1000 * batch / ms for batch, ms in by_batch.items()]
        (line,) = axis.plot(milliseconds, rates, label=name)
        for batch, ms, rate in zip(by_batch, milliseconds, rates, strict=True):
            axis.annotate(f"{batch}", (ms, rate), xytext=(0, -13), textcoords="offset points", fontsize=8,
                          ha="center", color=line.get_color())  # fmt: skip
    axis.set(xscale="log", yscale="log", xlabel="latency: milliseconds until the batch is done")
    axis.set(ylabel="throughput: images a second", title="Waiting buys throughput, up to a point (numbers: batch size)")
    axis.margins(y=0.12)
    readable(axis)
    axis.legend()
    plots.show(
        figure,
        "Images a second against the milliseconds until a batch is done, both logarithmic, a line for each of two "
        "networks, with batch sizes along it. Both lines rise at first and then go flat: from some batch on a larger "
        "one is only later. In all the fully connected network gains more than the convolutional one.",
    )


def energy_per_mac(on_chip: float, dram: float) -> None:
    """Draw the picojoules of a MAC against the MACs for which a word of DRAM is used.

    on_chip: picojoules of a MAC's arithmetic and SRAM. dram: of a word from DRAM.
    """
    balance = dram / on_chip
    reuse = np.logspace(0, 4, 100)
    figure, axes = plots.new_figure()
    axes.loglog(reuse, on_chip + dram / reuse, marker="", label="total")
    axes.loglog(reuse, dram / reuse, marker="", label="DRAM")
    axes.axhline(on_chip, color=plots.COLOURS[2], linestyle="-.", marker="", label="arithmetic and SRAM")
    axes.axvline(balance, color="grey", linewidth=1, linestyle="-", marker="")
    axes.set(xlabel="MACs per word of DRAM", ylabel="picojoules per MAC")
    axes.set_title(f"Below {balance:.0f} MACs per word, DRAM costs more than all the rest")
    axes.legend()
    plots.show(
        figure,
        "Energy per MAC against MACs per word of DRAM, both axes logarithmic. DRAM falls as a straight line and "
        "crosses the horizontal line of arithmetic and SRAM at about 44. The total follows DRAM on the left and that "
        "line on the right.",
    )


def reports_table(reports: Mapping[str, Report]) -> plots.Table:
    """What networks cost, by name: `budget_of` one image. The counter's column is there where it could be read."""
    rows = []
    readable = any(report["joules_measured"] is not None for report in reports.values())
    for name, report in reports.items():
        lower, upper = report["ms_quartiles"]
        measured = report["joules_measured"]
        rapl = ["—" if measured is None else f"{1e6 * measured:,.0f}"] if readable else []
        counts = [f"{report[key]:,}" for key in ("parameters", "macs", "bytes")]
        time = f"{report['ms']:.3f} ({lower:.3f}–{upper:.3f})"
        rows.append([name, *counts, time, f"{1e6 * report['joules']:.0f}", *rapl])
    columns = ["network", "parameters", "MACs", "bytes", "ms (quartiles)", "µJ (model)"]
    return plots.Table(columns + ["µJ (RAPL)"] * readable, rows)


def rank_lines(ranks: Mapping[str, Sequence[float]], names: Sequence[str]) -> None:
    """Draw a line for each network through its ranks. ranks: by dial, one for each of the networks' names."""
    figure, axes = plots.new_figure(width=7.4)
    for i, name in enumerate(names):
        line = [of_networks[i] for of_networks in ranks.values()]
        axes.plot(range(len(ranks)), line)
        axes.annotate(name, (len(ranks) - 1, line[-1]), xytext=(8, -4), textcoords="offset points")
    axes.set_xticks(range(len(ranks)), list(ranks))
    axes.set(ylabel="rank (1: cheapest)", xlim=(-0.2, len(ranks) + 0.1), title="One line per network")
    axes.invert_yaxis()
    plots.show(
        figure,
        "A line for each of six networks over four columns: its rank by MACs, bytes, joules of the cost model, and "
        "measured milliseconds. Lines cross between neighbouring columns.",
    )


def rank_correlations(ranks: Mapping[str, Sequence[float]]) -> plots.Table:
    """Spearman's ρ of each two dials, the correlation of their ranks. ranks: by dial, one for each network."""
    rho = [[f"{value:.2f}".replace("-", "−") for value in row] for row in np.corrcoef(list(ranks.values()))]
    return plots.Table(["Spearman's ρ", *ranks], [[dial, *row] for dial, row in zip(ranks, rho, strict=True)])


def blocks_table(reports: Mapping[str, Mapping[str, Report]]) -> plots.Table:
    """MobileNet's block against a full convolution, by size of the feature map.

    reports: `budget_of` the "full" convolution, the "block", and the block's "depthwise" part.
    """
    rows = []
    for size, report in reports.items():
        full, block, depthwise = (report[name] for name in ("full", "block", "depthwise"))
        ratios = [f"{block[key] / full[key]:.3f}" for key in ("macs", "joules", "ms")]
        shares = [f"{depthwise[key] / block[key]:.0%}" for key in ("macs", "ms")]
        rows.append([size, *ratios, *shares])
    ratios = ["MACs, block/full", "joules (model)", "time (measured)"]
    return plots.Table(["channels", *ratios, "depthwise: of MACs", "depthwise: of time"], rows)


def counts_table(reports: Mapping[str, Report]) -> plots.Table:
    """Published counts beside ours. reports: of the networks by name."""
    alexnet, vgg16, mobilenet = (reports[name] for name in ("AlexNet", "VGG-16", "MobileNet"))
    rows = [
        ["AlexNet: million weights", "2.3", f"{alexnet['parameters'] / 1e6:.1f}"],
        ["AlexNet: million MACs", "666", f"{alexnet['macs'] / 1e6:.0f}"],
        ["AlexNet: MB at 16 bits", "4.6", f"{alexnet['bytes'] / 2e6:.1f}"],
        ["VGG-16: million weights", "14.7", f"{vgg16['parameters'] / 1e6:.1f}"],
        ["VGG-16: billion MACs", "15.3", f"{vgg16['macs'] / 1e9:.1f}"],
        ["MobileNet: million MACs", "569", f"{mobilenet['macs'] / 1e6:.0f}"],
        ["MobileNet: million parameters", "4.2", f"{mobilenet['parameters'] / 1e6:.1f}"],
        ["LeNet-300-100: KB", "1070", f"{reports['LeNet-300-100']['bytes'] / 1e3:.0f}"],
        ["LeNet-5: KB", "1720", f"{reports['LeNet-5']['bytes'] / 1e3:.0f}"],
    ]
    return plots.Table(["", "paper", "ours"], rows)


def training_table(ours: Sequence[tuple[float, float] | None]) -> plots.Table:
    """Strubell's table with two columns more: kilowatt-hours and pounds of CO₂ for each of its rows, None without."""

    def text(number: float | None) -> str:
        return "—" if number is None else f"{number:,.0f}"

    rows = []
    for run, bill in zip(STRUBELL, ours, strict=True):
        printed = [text(number) for number in (run.watts, run.hours, run.kwh, run.lbs)]
        dollars = "–".join(map(text, run.dollars))
        rows.append([run.model, run.hardware, *printed, dollars, *map(text, bill or (None, None))])
    columns = ["model", "hardware", "W", "hours", "kWh·PUE", "lbs CO₂e", "cloud cost, $"]
    return plots.Table([*columns, "kWh, ours", "lbs, ours"], rows)


# --- lab --------------------------------------------------------------------------------------------------------------


def work_and_storage(layers: Sequence[tuple[str, int, int]]) -> plots.Table:
    """Each layer's kind, MACs and weights."""
    rows = [[kind, f"{macs:,}", f"{weights:,}", f"{macs / weights:.0f}"] for kind, macs, weights in layers]
    return plots.Table(["layer", "MACs", "weights", "MACs per weight"], rows)


def separable_table(macs: Mapping[int, tuple[int, int]]) -> plots.Table:
    """MACs of a full and of a separable 3 × 3 convolution, by number of channels."""
    rows = [
        [channels, f"{full:,}", f"{separable:,}", f"{separable / full:.4f}", f"{1 / channels + 1 / 9:.4f}"]
        for channels, (full, separable) in macs.items()
    ]
    return plots.Table(["channels", "full: MACs", "separable: MACs", "ratio", "1/channels + 1/9"], rows)


def sizes_table(sizes: Mapping[str, int]) -> plots.Table:
    """Bytes of LeNet-300-100 by format, and how many times smaller than the first format's."""
    whole = next(iter(sizes.values()))
    rows = [[name, f"{size:,}", f"{whole / size:.1f}×"] for name, size in sizes.items()]
    return plots.Table(["LeNet-300-100", "bytes", "smaller than 32 bits"], rows)


def energy_parts(layers: Mapping[str, Mapping[str, float]]) -> None:
    """Draw what the energy of two layers is spent on, in microjoules. layers: by title."""
    figure, axes = plots.new_figure(rows=2, height=3.6)
    for axis, (title, microjoules) in zip(axes, layers.items(), strict=True):
        plots.bars(axis, microjoules, "microjoules")
        axis.set_title(title)
    plots.show(
        figure,
        "Horizontal bars of microjoules for arithmetic, SRAM and DRAM. In the convolution SRAM and DRAM are "
        "equal, and about twice the arithmetic. In the linear layer DRAM dwarfs the two others.",
    )


def bills_table(ours: Sequence[tuple[float, float]]) -> plots.Table:
    """The rows of Strubell's table that have watts, beside our kilowatt-hours and pounds of CO₂ for them."""
    runs = [run for run in STRUBELL if run.watts]
    rows = [
        [run.model, f"{run.hours:,}", f"{run.kwh:,}", f"{kwh:,.0f}", f"{run.lbs:,}", f"{lbs:,.0f}"]
        for run, (kwh, lbs) in zip(runs, ours, strict=True)
    ]
    return plots.Table(["model", "hours", "kWh, printed", "kWh, ours", "lbs CO₂, printed", "lbs CO₂, ours"], rows)


def latency_runs(samples: Sequence[float], median: float, lower: float, upper: float) -> None:
    """Draw the milliseconds of each run, in order, with their mean, their median and their quartiles."""
    figure, axes = plots.new_figure()
    axes.plot(samples, linestyle="", marker=".", label="one run")
    axes.axhline(np.mean(samples), color=plots.COLOURS[2], linestyle=":", label="mean")
    axes.axhline(median, color=plots.COLOURS[1], linestyle="-", label="median")
    axes.axhspan(lower, upper, color=plots.COLOURS[1], alpha=0.2, label="quartiles")
    axes.set(xlabel="run", ylabel="milliseconds (logarithmic)", yscale="log")
    ticks = np.geomspace(min(samples), max(samples), 5)
    axes.set_yticks(ticks, [f"{tick:.2f}" for tick in ticks])
    axes.set_yticks([], minor=True)
    axes.set_title("LeNet-5 on one image, one thread, no warm-up")
    axes.legend()
    plots.show(
        figure,
        "Milliseconds of 200 runs, in order, on a logarithmic axis. Most runs lie in a narrow band at the bottom, "
        "where the median and the quartiles are. Some runs, the first among them, stand above it.",
    )


def ranks_table(ranks: Mapping[str, Sequence[float]], names: Sequence[str]) -> plots.Table:
    """Ranks by dial, a row for each of the networks' names."""
    rows = [[name, *(int(of_networks[i]) for of_networks in ranks.values())] for i, name in enumerate(names)]
    return plots.Table(["rank by", *ranks], rows)
