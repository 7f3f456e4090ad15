"""Tables and figures of lecture 00 and of its lab."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from course_utils import plots

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
    rho = np.corrcoef(list(ranks.values())).round(2).tolist()
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
