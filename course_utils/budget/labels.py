"""Names beside the points of a picture with logarithmic axes."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Annotation, Text


def readable(axis: Axes) -> None:
    """Ticks at 1, 2, 5, 10, …, with their numbers, on two logarithmic axes."""
    for limits, one in ((axis.get_xlim(), axis.xaxis), (axis.get_ylim(), axis.yaxis)):
        decades = range(int(np.floor(np.log10(limits[0]))), int(np.ceil(np.log10(limits[1]))))
        steps = (1, 2, 5) if limits[1] / limits[0] < 1e3 else (1, 3) if limits[1] / limits[0] < 1e5 else (1,)
        ticks = [
            m * 10.0**d for d in [*decades, decades[-1] + 1] for m in steps if limits[0] <= m * 10.0**d <= limits[1]
        ]
        one.set_ticks(ticks, [f"{tick:,.10g}" for tick in ticks])
        one.set_ticks([], minor=True)


DISTANCES = (6, 12, 20, 30, 42, 56, 72, 90)  # points
PLACES = [
    (dx * distance, dy * distance, side)
    for distance in DISTANCES
    for dx, dy, side in (
        (1, 0, "left"), (-1, 0, "right"), (0.7, 1, "left"), (0.7, -1, "left"),
        (-0.7, 1, "right"), (-0.7, -1, "right"), (0, 1, "center"), (0, -1, "center"),
    )
]  # fmt: skip


def place_labels(axis: Axes, points: Sequence[tuple[float, float]], texts: Sequence[str]) -> list[Annotation]:
    """Write a text beside each point, as near as it covers neither a point nor another text, with a line if it is far.

    Figure and limits have to be drawn before.
    """
    renderer, inside = axis.figure.canvas.get_renderer(), axis.get_window_extent()
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in axis.transData.transform(points)]
    notes = []
    for point, text in zip(points, texts, strict=True):
        for dx, dy, side in PLACES:
            line = {"arrowstyle": "-", "color": "#999999", "linewidth": 0.6} if max(abs(dx), abs(dy)) > 12 else None
            note = axis.annotate(
                text, point, xytext=(dx, dy), textcoords="offset points", fontsize=8, ha=side, va="center",
                arrowprops=line, bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.8},
            )  # fmt: skip
            note.update_positions(renderer)
            box = Text.get_window_extent(note, renderer)  # without the line
            within = inside.x0 <= box.x0 and box.x1 <= inside.x1 and inside.y0 <= box.y0 and box.y1 <= inside.y1
            if within and not any(a < box.x1 and c > box.x0 and b < box.y1 and d > box.y0 for a, b, c, d in taken):
                break
            note.remove()
        else:
            raise ValueError(f"There is no room for the label {text!r}: make the figure larger.")
        taken.append((box.x0, box.y0, box.x1, box.y1))
        notes.append(note)
    return notes
