"""The meter of every unit: what the networks of its lecture cost, in one kind of table; and all units on one picture.

A room whose lecture has networks to show has a file metered.py with `entries()`. Errors and the bytes of trained files
are those that the unit's experiments stored; milliseconds are measured when a table is made, as they are of this
machine, on networks of the same shape: how long a product takes does not depend on the weights' values.
"""

import importlib
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import safetensors.torch
import scipy.sparse
import torch
from torch import Tensor, nn

from course_utils import plots
from course_utils.budget import (
    PICOJOULES,
    budget_report,
    inference_energy,
    latency_summary,
    measure_latency,
    module_layers,
)
from course_utils.budget.labels import place_labels, readable
from course_utils.units import PACKAGE, available, unit_number

FEW = 50_000  # training digits; a network that has seen fewer is drawn hollow
PAGE = 92  # characters of a line
EVEN = 1.1  # two costs that differ by less than this factor are called the same


@dataclass(frozen=True)
class Entry:
    """A network of a unit, and what it costs for one image (or one text, in the units on texts).

    training: what it learned from, and for how long. score: of each seed, as a rule the wrong test digits in percent.
    macs: that are done, in the mean. bytes: of its file, in the mean over seeds. joules: by the cost model. parts: what
    the clock calls, each with the share of the images that need it. label: on the picture of the course, where
    networks without one are left out; digits: how many it has seen in training.
    """

    network: str
    training: str
    score: Sequence[float]
    macs: float
    bytes: float
    joules: float
    parts: Sequence[tuple[float, Callable[[], Any]]]
    label: str = ""
    digits: int = 0


class Time(NamedTuple):
    """Milliseconds of one image: median and quartiles."""

    median: float
    lower: float
    upper: float


def joules_of(macs: float, words: float, outputs: float) -> float:
    """The cost model of `budget_report`: each MAC reads two words from SRAM; words come from DRAM once, and each value
    that a layer puts out goes there and comes back."""
    return inference_energy(macs, 2 * macs, words + 2 * outputs, PICOJOULES)


def file_bytes(tensors: dict[str, Tensor]) -> int:
    """Bytes of a safetensors file with these tensors, every number as it is."""
    return len(safetensors.torch.save({name: value.contiguous() for name, value in tensors.items()}))


def of_module(
    model: nn.Module, network: str, training: str, score: Sequence[float], *, shape: Sequence[int] = (1, 28, 28), **more
) -> Entry:
    """A dense network. Its file holds all numbers in 32 bits, unless `bytes` is given. shape: of one image."""
    image = torch.rand(1, *shape, generator=torch.Generator().manual_seed(0))
    report = budget_report(module_layers(model.eval(), shape))
    costs = {"macs": report["macs"], "joules": report["joules"], "bytes": file_bytes(model.state_dict())}
    return Entry(network, training, score, **(costs | {"parts": [(1.0, lambda: model(image))]} | more))


def of_sparse(
    weights: Sequence[Tensor],
    network: str,
    training: str,
    score: Sequence[float],
    *,
    image: Tensor | None = None,
    **more,
) -> Entry:
    """A ReLU MLP that skips its zeros, in SciPy's CSR format: weights [out, in], first layer first.

    Its file, unless `bytes` is given, holds for each weight that is not 0 the value and the column, in 32 bits each,
    where rows begin, and biases. image: [pixels]; random pixels if left out.
    """
    layers = [scipy.sparse.csr_matrix(weight.numpy()) for weight in weights]
    biases = [np.zeros(layer.shape[0], np.float32) for layer in layers]
    pixels = np.random.default_rng(0).random(layers[0].shape[1], np.float32) if image is None else image.numpy()

    def run() -> np.ndarray:
        hidden = pixels
        for layer, bias in zip(layers[:-1], biases, strict=False):
            hidden = np.maximum(layer @ hidden + bias, 0)
        return layers[-1] @ hidden + biases[-1]

    macs, rows = sum(layer.nnz for layer in layers), sum(layer.shape[0] for layer in layers)
    stored = {
        f"{number}.{name}": torch.from_numpy(getattr(layer, name))
        for number, layer in enumerate(layers)
        for name in ("data", "indices", "indptr")
    } | {f"{number}.bias": torch.from_numpy(bias) for number, bias in enumerate(biases)}
    costs = {"macs": macs, "joules": joules_of(macs, 2 * macs + 2 * rows, rows), "bytes": file_bytes(stored)}
    return Entry(network, training, score, **(costs | {"parts": [(1.0, run)]} | more))


def random_sparse(shapes: Sequence[tuple[int, int]], kept: Sequence[int]) -> list[Tensor]:
    """Matrices [out, in] with so many entries that are not 0, at random places: what they cost is their number."""
    generator = torch.Generator().manual_seed(0)
    weights = []
    for shape, count in zip(shapes, kept, strict=True):
        weight = torch.zeros(shape[0] * shape[1])
        weight[torch.randperm(len(weight), generator=generator)[:count]] = 1.0
        weights.append(weight.view(shape))
    return weights


def percent(errors: Sequence[int], digits: int) -> list[float]:
    """Wrong digits in percent."""
    return [100 * wrong / digits for wrong in errors]


# --- a unit -----------------------------------------------------------------------------------------------------------


@torch.inference_mode()
def measure(entries: Sequence[Entry], rounds: int = 5, repeats: int = 21) -> list[Time]:
    """Milliseconds of each, on one thread; they take turns, so that what disturbs one for a while disturbs all."""
    samples: dict[tuple[int, int], list[float]] = {}
    for _ in range(rounds):
        for number, entry in enumerate(entries):
            for part, (_, call) in enumerate(entry.parts):
                samples.setdefault((number, part), []).extend(measure_latency(call, repeats, warmup=3))
    times = []
    for number, entry in enumerate(entries):
        parts = [latency_summary(samples[number, part]) for part in range(len(entry.parts))]
        times.append(Time(*np.dot([share for share, _ in entry.parts], parts).tolist()))
    return times


def digits_of(value: float) -> str:
    """Three significant digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}".rstrip(".")


def meter_table(entries: Sequence[Entry], times: Sequence[Time], score: str = "wrong, % (range)") -> plots.Table:
    """What a unit's networks cost for one image, the yardstick first."""
    rows = [
        [
            entry.network,
            entry.training,
            plots.mean_and_range(entry.score, 2),
            f"{entry.macs:,.0f}",
            f"{entry.bytes:,.0f}",
            f"{digits_of(time.median)} ({digits_of(time.lower)}–{digits_of(time.upper)})",
            digits_of(1e6 * entry.joules),
        ]
        for entry, time in zip(entries, times, strict=True)
    ]
    return plots.Table(["network", "training", score, "MACs", "bytes", "ms (quartiles)", "µJ (model)"], rows)


def ratio_words(ours: float, yardstick: float, what: str) -> str:
    """'bytes ÷ 12.0', or 'time × 2.00', or 'energy the same'."""
    ratio = yardstick / ours
    if 1 / EVEN < ratio < EVEN:
        return f"{what} the same"
    return f"{what} ÷ {digits_of(ratio)}" if ratio > 1 else f"{what} × {digits_of(1 / ratio)}"


def wins_and_losses(
    entries: Sequence[Entry], times: Sequence[Time], score: str = "wrong", higher_is_better: bool = False
) -> str:
    """A sentence for each network, beside the first one: what it saves, what it costs, and whether its score is better
    in every seed (than the yardstick's best), worse in every seed (than its worst), or not decided."""
    sentences, yardstick, sign = [], entries[0], -1 if higher_is_better else 1
    theirs = [sign * value for value in yardstick.score]
    for entry, time in zip(entries[1:], times[1:], strict=True):
        costs = [
            ratio_words(entry.bytes, yardstick.bytes, "bytes"),
            ratio_words(time.median, times[0].median, "time"),
            ratio_words(entry.joules, yardstick.joules, "energy"),
        ]
        ours = [sign * value for value in entry.score]
        verdict = "not decided by these seeds"
        if max(ours) < min(theirs):
            verdict = "better in every seed"
        elif min(ours) > max(theirs):
            verdict = "worse in every seed"
        if entry.training != yardstick.training:
            verdict += " (trained otherwise)"
        sentence = f"{entry.network}: {', '.join(costs)}; {score} {np.mean(entry.score):.2f} "
        sentence += f"against {np.mean(yardstick.score):.2f}, {verdict}."
        sentences.append(textwrap.fill(sentence, PAGE, subsequent_indent="  "))
    return f"Against {yardstick.network}:\n" + "\n".join(sentences)


# --- the course -------------------------------------------------------------------------------------------------------


def course_entries() -> list[tuple[int, Entry]]:
    """The labelled entries of all units that this package has, each with its unit's number.

    They are on MNIST's digits; units on texts have a score of their own, and no label. `measure` their times together,
    and hand both to `course_figure`, `course_words` and `course_table`.
    """
    return [
        (unit_number(topic), entry)
        for topic in available()
        if (PACKAGE / topic / "metered.py").exists()
        for entry in importlib.import_module(f"course_utils.{topic}.metered").entries()
        if entry.label
    ]


def course_words(entries: Sequence[tuple[int, Entry]], times: Sequence[Time]) -> str:
    """Who stands on the staircase of each panel of `course_figure`, and which units are not on it."""
    scores = [float(np.mean(entry.score)) for _, entry in entries]
    names = [f"{unit:02d} {entry.label}" for unit, entry in entries]
    lines = [
        f"on the staircase of {what}: " + "; ".join(f"{names[i]} ({scores[i]:.2f}%)" for i in front(costs, scores))
        for what, costs in costs_of(entries, times).items()
    ]
    absent = sorted({unit_number(topic) for topic in available()} - {unit for unit, _ in entries})
    lines.append(f"units with nothing on this picture: {', '.join(f'{unit:02d}' for unit in absent)}")
    return "\n".join(textwrap.fill(line, PAGE, subsequent_indent="  ") for line in lines)


def costs_of(entries: Sequence[tuple[int, Entry]], times: Sequence[Time]) -> dict[str, list[float]]:
    """What the panels of the picture have on their horizontal axes, for each entry."""
    return {
        "bytes of the file": [entry.bytes for _, entry in entries],
        "milliseconds of one image, one thread": [time.median for time in times],
        "microjoules of one image (cost model)": [1e6 * entry.joules for _, entry in entries],
    }


def course_table(entries: Sequence[tuple[int, Entry]], times: Sequence[Time]) -> plots.Table:
    """All units' networks, from the fewest wrong digits to the most."""
    table = meter_table([entry for _, entry in entries], times)
    order = np.argsort([np.mean(entry.score) for _, entry in entries], kind="stable")
    rows = [[f"{entries[i][0]:02d}", *table.rows[i]] for i in order.tolist()]
    return plots.Table(["unit", *table.columns], rows)


def front(costs: Sequence[float], scores: Sequence[float]) -> list[int]:
    """Those for which no other costs at most as much and is wrong less often, from the cheapest."""
    best, found = np.inf, []
    for i in sorted(range(len(costs)), key=lambda i: (costs[i], scores[i])):
        if scores[i] < best:
            best = scores[i]
            found.append(i)
    return found


def course_figure(entries: Sequence[tuple[int, Entry]], times: Sequence[Time]) -> None:
    """Draw the wrong digits of all units' networks against bytes, milliseconds and modelled joules."""
    scores = [float(np.mean(entry.score)) for _, entry in entries]
    panels = costs_of(entries, times)
    figure, axes = plots.new_figure(rows=len(panels), width=8.6, height=5.0 * len(panels))
    for axis, (label, costs) in zip(axes, panels.items(), strict=True):
        axis.set(xscale="log", yscale="log", xlabel=label, ylabel="wrong test digits (%)")
        best = front(costs, scores)
        axis.step(
            [costs[i] for i in best], [scores[i] for i in best], where="post", color="#999999", linestyle="-",
            linewidth=1, marker="",
        )  # fmt: skip
        for i, (_, entry) in enumerate(entries):
            colour = plots.COLOURS[2] if i in best else plots.COLOURS[1]
            face = colour if entry.digits >= FEW else "white"
            axis.plot(costs[i], scores[i], linestyle="", marker="s" if i in best else "o", color=colour, mfc=face)
        axis.margins(x=0.12, y=0.08)
        readable(axis)
    axes[0].set_title(
        "All units on one picture: towards the lower left is better\n"
        "squares: no other is cheaper and better; hollow: trained on fewer than 50,000 digits",
        fontsize=10,
    )
    figure.draw_without_rendering()
    for axis, costs in zip(axes, panels.values(), strict=True):
        names = [f"{unit:02d} {entry.label}" for unit, entry in entries]
        place_labels(axis, list(zip(costs, scores, strict=True)), names)
    plots.show(
        figure,
        "Three panels with a point for each network of the course, both axes logarithmic: wrong test digits in percent "
        "against the bytes of its file, the milliseconds of one image, and the microjoules of the cost model. A grey "
        "staircase joins the squares, the networks that none beats in both. Against bytes it is made of the coded "
        "files of units 03 and 09. Against milliseconds it is made of the compiled networks of unit 06; the "
        "coded files of LeNet-5 stand as far right as the dense LeNet-5, since they are decoded into it. Against "
        "joules it is made of small and sparse networks of units 02, 09, 04 and 06.",
    )
