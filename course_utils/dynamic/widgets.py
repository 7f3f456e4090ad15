"""Widget of lecture 06."""

import base64
import zlib
from collections.abc import Mapping
from typing import Any

import ipywidgets
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from course_utils import plots
from course_utils.widgets import explorer

THRESHOLDS = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.6, 1.0, 2.4)


def unpacked(sample: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of the stored validation digits: labels [n], classes and entropies [exits, n]; first images [m, 28, 28]."""
    labels, *classes = (np.array(list(text), dtype=int) for text in (sample["labels"], *sample["classes"]))
    entropies = np.array([text.split() for text in sample["entropies"]], dtype=float)
    pixels = np.frombuffer(zlib.decompress(base64.b64decode(sample["pixels"])), np.uint8)
    return labels, np.stack(classes), entropies, pixels.reshape(-1, 28, 28)


def threshold_explorer(sample: Mapping[str, Any]) -> ipywidgets.Widget:
    """A threshold for each of two exits in front of LeNet-5, on 1,000 validation digits whose entropies are stored.

    Shows who leaves where, errors and microseconds, and digits that left at once or stayed to the end.
    """
    labels, classes, entropies, images = unpacked(sample)
    spent = np.cumsum(sample["costs"])

    def draw(first: float, second: float) -> Figure:
        leaves = np.stack([entropies[0] < first, entropies[1] < second, np.ones(len(labels), dtype=bool)])
        left = leaves.argmax(axis=0)
        shares = np.bincount(left, minlength=3) / len(labels)
        wrong = int((classes[left, np.arange(len(labels))] != labels).sum())
        figure = plots.plt.figure(figsize=(9, 3.1), constrained_layout=True)
        grid = figure.add_gridspec(2, 11)
        axis = figure.add_subplot(grid[:, :3])
        drawn = axis.barh(["exit 0", "exit 1", "LeNet-5"], 100 * shares, color=plots.COLOURS[1])
        axis.bar_label(drawn, [f"{100 * share:.1f}%" for share in shares], padding=2)
        axis.invert_yaxis()
        axis.set(xlim=(0, 140), xlabel="leave there (%)")
        figure.suptitle(
            f"{wrong} of {len(labels):,} wrong (LeNet-5 alone: {int((classes[-1] != labels).sum())}), "
            f"{spent[left].mean():.1f} µs an image (LeNet-5 alone: {sample['costs'][-1]:.0f})", fontsize=11,
        )  # fmt: skip
        for row, (text, who) in enumerate((("left at exit 0,\nabove: H there", left == 0), ("went on", left > 0))):
            shown = np.flatnonzero(who[: len(images)])[:8]
            for column in range(8):
                cell = figure.add_subplot(grid[row, 3 + column])
                if column < len(shown):
                    digit(cell, images[shown[column]], f"{entropies[0, shown[column]]:.2g}")
                cell.set_axis_off()
                if column == 0:
                    cell.text(-0.15, 0.5, text, transform=cell.transAxes, ha="right", va="center", fontsize=9)
        return figure

    wide = ipywidgets.Layout(width="36em")
    controls = {
        name: ipywidgets.SelectionSlider(
            options=[(f"{t:g}", t) for t in THRESHOLDS], value=value, description=text, layout=wide
        )
        for name, value, text in (("first", 0.1, "exit 0: H <"), ("second", 0.1, "exit 1: H <"))
    }
    return explorer(
        draw,
        controls,
        "The explorer with both thresholds at 0.1 nats. Bars: most digits leave at exit 0, few reach "
        "LeNet-5. The title "
        "gives errors and microseconds. Two rows of up to eight digits: those that left look clean, those "
        "that went on are "
        "slanted, broken or smudged; above each stands its entropy at exit 0.",
    )


def digit(axis: Axes, image: np.ndarray, title: str) -> None:
    axis.imshow(image, cmap="gray_r")
    axis.set_title(title, fontsize=8)
