"""Widget of lecture 09."""

from collections.abc import Mapping
from typing import Any

import ipywidgets
import numpy as np
from matplotlib.figure import Figure

from course_utils import plots
from course_utils.sparse_training.figures import METHODS, blank, outer_share
from course_utils.sparse_training.film import unpacked
from course_utils.widgets import explorer


def connections_explorer(results: Mapping[str, Any]) -> ipywidgets.Widget:
    """Watch the connections of each pixel while three networks train: stored moments of the first seed, as a film.

    results: of `course reproduce sparse-training`.
    """
    films = {method: results["runs"][0][f"{method}, ERK"]["film"] for method in METHODS}
    pixels = {method: unpacked(film) for method, film in films.items()}
    steps = films["SET"]["steps"]
    # The film counts by pixel: one that moves to another unit of the same pixel, or changes places, is not seen
    shifts = {method: np.abs(frames.astype(int) - frames[0]).sum((1, 2)) // 2 for method, frames in pixels.items()}

    def draw(moment: int) -> Figure:
        figure, axes = plots.new_figure(2, 3, width=9.5, height=5.6)
        for axis, (method, frames) in zip(axes[0], pixels.items(), strict=True):
            axis.imshow(frames[moment], cmap="viridis", vmin=0, vmax=40)
            blank(axis, f"{method}: net shift {shifts[method][moment]:,}")
        explored, border, apart = axes[1]
        for number, (method, film) in enumerate(films.items()):
            style = {"color": plots.COLOURS[number], "linestyle": plots.LINES[number], "marker": "", "label": method}
            explored.plot(steps, film["explored"], **style)
            border.plot(steps, [outer_share(frame) for frame in pixels[method]], **style)
            apart.plot(steps, shifts[method], **style)
        closed = {"color": plots.COLOURS[4], "linestyle": ":", "marker": "", "linewidth": 2.5}
        explored.plot(steps, films["SET"]["expected"], label="SET, closed form", **closed)
        for axis, label in (
            (explored, "explored fraction $R_s$"), (border, "% to the outer frame"), (apart, "net shift between pixels")
        ):  # fmt: skip
            axis.axvline(steps[moment], color="#999999", marker="", linestyle="-", linewidth=0.8)
            axis.set(xlabel="step", title=label)
        explored.legend(fontsize=8, loc=(0.4, 0.1))
        return figure

    play = ipywidgets.Play(value=len(steps) // 2, max=len(steps) - 1, interval=300, description="play")
    slider = ipywidgets.IntSlider(
        value=len(steps) // 2, max=len(steps) - 1, description="moment", layout=ipywidgets.Layout(width="36em")
    )
    ipywidgets.jslink((play, "value"), (slider, "value"))
    shown = explorer(
        draw,
        {"moment": slider},
        "The film at half of the training. Above, three images of 28 by 28 pixels, brighter where a pixel has more "
        "connections: noise for static, a bright middle for SET and RigL. Below, over the steps: the explored fraction "
        "with its closed form, the part of the connections that reads the four outermost pixels on each side, and how "
        "many connections the pixels have gained since the start, which others have lost.",
    )
    return ipywidgets.VBox([play, *shown.children])
