"""Figures that everybody can read, and tables that are computed.

Colours are those of M. Okabe and K. Ito, *Color Universal Design*, 2008, which differ for colour-blind eyes too; each
comes with its own line style and marker, so that nothing is told by colour alone.
"""

import html
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from PIL import Image

# Black first; yellow is left out, as it is too light on white
COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
NUMBER = re.compile(r"[+−-]?[\d,]*\.?\d+[%×]?")  # as text: 1,066,440 or -0.5 or 93% or 4.0×
HATCHES = ("", "//", "..", "xx", "\\\\", "++", "oo")

STYLE = {
    "axes.prop_cycle": cycler(color=COLOURS, linestyle=LINES, marker=MARKERS),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "figure.figsize": (6.4, 3.6),
    "figure.dpi": 100,
    "figure.constrained_layout.use": True,
}


def new_figure(rows: int = 1, columns: int = 1, width: float = 6.4, height: float = 3.6) -> tuple[Figure, Any]:
    """A figure in the course's style, width and height in inches; its axes, as `plt.subplots` gives them.

    Only figures made here have the style: nothing global is changed.
    """
    with plt.rc_context(STYLE):
        return plt.subplots(rows, columns, figsize=(width, height))


def show(figure: Figure, alt: str) -> None:
    """Show a figure in a notebook, once, with a description for those who cannot see it; then close it.

    The picture carries `alt` in its metadata. JupyterLab, GitHub and most of nbconvert's templates do not read it
    there, so the same words stand folded below it. (An HTML image would keep them, but nbval would compare its bytes.)
    nbval compares the words: write what the figure looks like and what it says, and no number that differs between
    machines.
    """
    if not alt.strip():
        raise ValueError("A figure needs a description: what is on its axes, and what it shows.")
    drawn, picture = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", facecolor="white")
    plt.close(figure)  # or the inline backend shows it a second time, at the end of the cell
    # A palette of 256 colours is all that a diagram needs, and takes a third of the bytes
    Image.open(drawn).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(picture, "png", optimize=True)
    display({"image/png": picture.getvalue()}, metadata={"image/png": {"alt": alt}}, raw=True)
    description = f"<details><summary>Figure in words</summary>{html.escape(alt)}</details>"
    display({"text/html": description, "text/plain": f"Figure in words: {alt}"}, raw=True)


def box(axis: Axes, x: float, y: float, text: str, colour: str = "white", width: float = 1.5) -> None:
    """A box with a text, centred at a point."""
    patch = FancyBboxPatch((x - width / 2, y - 0.32), width, 0.64, boxstyle="round,pad=0.05", fc=colour, ec=COLOURS[0])
    axis.add_patch(patch)
    axis.text(x, y, text, ha="center", va="center", fontsize=9)


def arrow(axis: Axes, start: tuple[float, float], end: tuple[float, float], width: float = 1.2, text: str = "") -> None:
    """An arrow, with a text beside its middle."""
    style = {"arrowstyle": "-|>", "linewidth": width, "color": COLOURS[1], "shrinkA": 0, "shrinkB": 0}
    axis.annotate("", xy=end, xytext=start, arrowprops=style)
    if text:  # beside the arrow, however thick it is
        middle = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
        axis.annotate(text, middle, xytext=(4 + width / 2, 3 + width), textcoords="offset points", fontsize=8)


def bars(axes: Axes, values: Mapping[str, float], label: str, form: str = "{:.3g}") -> None:
    """Horizontal bars, the first on top, each with its name on the left and its value at its end.

    label: of the value axis, with its unit. form: how a value is written.
    """
    drawn = axes.barh(list(values), list(values.values()), color=COLOURS[1])
    axes.bar_label(drawn, [form.format(value) for value in values.values()], padding=3)
    axes.invert_yaxis()
    axes.set_xlabel(label)
    axes.margins(x=0.15)
    axes.grid(axis="y", visible=False)


def points_over_seeds(axes: Axes, values: Mapping[str, Sequence[float]], label: str) -> None:
    """One row per condition: a dot for each seed, and a bar at their mean.

    All dots are shown, as with three seeds an error bar would claim more than is known. label: of the value axis, with
    its unit.
    """
    for row, seeds in enumerate(values.values()):
        heights = row + np.linspace(-0.15, 0.15, len(seeds))  # so that seeds with the same value show as several dots
        axes.plot(seeds, heights, linestyle="", marker="o", color=COLOURS[1], alpha=0.7)
        axes.plot([np.mean(seeds)] * 2, [row - 0.3, row + 0.3], linestyle="-", marker="", color=COLOURS[0], linewidth=2)
    axes.set_yticks(range(len(values)), list(values))
    axes.invert_yaxis()
    axes.set_xlabel(label)


@dataclass(frozen=True)
class Table:
    """A table that a notebook shows as HTML and as Markdown. Cells are texts or numbers.

    A column of numbers stands on the right, whether they are numbers or their text; a — is a number that is missing.
    seeds: of how many seeds each row tells; where they differ, a sentence below the table says which rows have fewer.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    seeds: Sequence[int] | None = None

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"{len(self.columns)} columns, but a row of {len(row)}: {row}")
        if self.seeds is not None and len(self.seeds) != len(self.rows):
            raise ValueError(f"{len(self.rows)} rows, but the seeds of {len(self.seeds)}: give one number a row.")

    def _repr_markdown_(self) -> str:
        lines = [self.columns, ["---:" if right else "---" for right in self._numeric()], *self.rows]
        table = "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)
        if self.seeds is None:
            return table
        from course_utils.reproduce import fewer_seeds  # here, as there are no experiments in the grader's sandbox

        note = fewer_seeds(dict(zip(self._labels(), self.seeds, strict=True)))
        return f"{table}\n\n{note}" if note else table

    def __str__(self) -> str:
        return self._repr_markdown_()

    __repr__ = __str__

    def _labels(self) -> list[str]:
        """What a row is called: its first cell, or its first cells where one does not tell the rows apart."""
        labels = [""] * len(self.rows)
        for length in range(1, len(self.columns) + 1):
            labels = [", ".join(map(str, row[:length])) for row in self.rows]
            if len(set(labels)) == len(labels):
                break
        return labels

    def _numeric(self) -> list[bool]:
        """Which columns hold numbers only, not all of them missing."""

        def numeric(cells: list[object]) -> bool:
            return bool(cells) and all(isinstance(c, int | float) or NUMBER.fullmatch(str(c)) for c in cells)

        return [numeric([row[i] for row in self.rows if row[i] != "—"]) for i in range(len(self.columns))]


def mean_and_range(values: Sequence[float], digits: int = 0) -> str:
    """'74 (70–79)': the mean over seeds, and the lowest and highest."""
    return f"{np.mean(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"
