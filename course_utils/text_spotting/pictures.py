"""What lab 14 shows: frames with what was found in them, operating points, and a battery while it is spent."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from torch import Tensor

from course_utils import plots

BLUE, RED = plots.COLOURS[1], plots.COLOURS[2]


def picture(
    axis: Axes, frame: Tensor, title: str = "", boxes: Sequence[Sequence[float]] = (), colour: str = RED
) -> None:
    """A grey frame [H, W], with boxes."""
    # So few greys keep the notebook small: noise compresses badly
    axis.imshow((24 * frame).round().numpy(), cmap="gray", vmin=0, vmax=24)
    axis.set_title(title, fontsize=9)
    axis.set(xticks=[], yticks=[])
    for x0, y0, x1, y1 in boxes:
        axis.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=colour, linewidth=1.2))


def film_strip(frames: Tensor, numbers: Sequence[int]) -> None:
    """Some frames of a film, in rows of four, with half the pixels."""
    small = F.avg_pool2d(frames, 2)
    figure, axes = plots.new_figure(-(-len(numbers) // 4), 4, width=8.0, height=1.4 * -(-len(numbers) // 4))
    for axis in axes.flat:
        axis.axis("off")
    for axis, number in zip(axes.flat, numbers, strict=False):
        axis.axis("on")
        picture(axis, small[number], f"frame {number}")
    plots.show(figure, "Frames of the film, from above: grey fields with roofs and roads, and signs with words on "
               "them. In some frames the drone is on its way, and everything is smeared.")  # fmt: skip


def sharpness_figure(values: Sequence[float], kept: Sequence[int]) -> None:
    """The sharpness of each frame, and which frames were chosen."""
    figure, axis = plots.new_figure(width=8.0, height=2.7)
    axis.plot(values, marker="", color=BLUE, linestyle="-")
    axis.plot(kept, [values[frame] for frame in kept], linestyle="", marker="o", color=RED, label="chosen")
    axis.set(xlabel="frame", ylabel="sharpness", title="Sharpness of the film's frames", ylim=(0, None))
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
    plots.show(figure, "Sharpness against the frame: plateaus where the drone hovers, deep valleys where it darts to "
               "the next place. The chosen frames, marked by dots, lie on the plateaus and at their highest points, "
               "but for windows that lie in a valley.")  # fmt: skip


def boxes_figure(frame: Tensor, found: Mapping[str, Sequence[Sequence[float]]], alt: str) -> None:
    """One frame, once for each title, with the boxes found."""
    figure, axes = plots.new_figure(1, len(found), width=7.0, height=2.3)
    for axis, (title, boxes) in zip(np.atleast_1d(axes), found.items(), strict=True):
        picture(axis, frame, title, boxes)
    plots.show(figure, alt)


def crops_figure(crops: Tensor, titles: Sequence[str]) -> None:
    """What a recognizer sees, [n, 1, height, width], with what it reads, in rows of four."""
    rows = -(-len(crops) // 4)
    figure, axes = plots.new_figure(rows, 4, width=9.0, height=0.85 * rows)
    for axis in axes.flat:
        axis.axis("off")
    for axis, crop, title in zip(axes.flat, crops, titles, strict=False):
        axis.imshow(crop[0].numpy(), cmap="gray")
        axis.set_title(title, fontsize=9, family="monospace")
    plots.show(figure, "Small pictures of single words, cut out of frames; above each what the recognizer reads, and "
               "how probable it finds that.")  # fmt: skip


def front_figure(points: Mapping[str, tuple[float, float]], front: Sequence[str]) -> None:
    """Operating points: joules on a logarithmic axis, accuracy; those on the front joined and numbered from 1."""
    figure, axis = plots.new_figure(width=8.0, height=4.0)
    rest = [point for name, point in points.items() if name not in front]
    axis.plot(*zip(*rest, strict=True), linestyle="", marker="o", color="#777777", label="beaten by another")
    best = [points[name] for name in front]
    axis.plot(
        *zip(*best, strict=True), linestyle="-", marker="s", color=RED, label="on the front", drawstyle="steps-post"
    )
    for number, (x, y) in enumerate(best, 1):
        axis.annotate(str(number), (x, y), xytext=(-3, 6), textcoords="offset points", fontsize=9, ha="right")
    axis.set(
        xscale="log",
        xlabel="joules for the film (model)",
        ylabel="accuracy",
        title="Operating points",
        ylim=(-0.03, 1.12),
    )
    axis.legend(loc="lower right")
    plots.show(figure, "Accuracy against joules, on a logarithmic axis, for networks, bits and numbers of frames. The "
               "points on the front are joined by steps that rise from the left, where little is read, to the right; "
               "most other points lie to the right of them or below.")  # fmt: skip


def battery_figure(
    arriving: Sequence[float], joules: Sequence[float], played: Mapping[str, Sequence[int]], sharpness: Sequence[float]
) -> None:
    """How much is in the battery after each frame under each policy, and which frames it reads.

    played: the choices of each policy, by its name.
    """
    figure, axes = plots.new_figure(len(played) + 1, 1, width=8.0, height=1.5 * (len(played) + 1))
    axes[0].plot(sharpness, marker="", color="black", linestyle="-")
    axes[0].set(ylabel="sharpness", title="Sharpness, and what is in the battery", ylim=(0, None))
    top = 0.0
    for axis, (name, choices) in zip(axes[1:], played.items(), strict=True):
        spent = np.cumsum([joules[choice] if choice >= 0 else 0.0 for choice in choices])
        left = np.cumsum(arriving) - spent
        axis.fill_between(range(len(left)), left, step="mid", color=BLUE, alpha=0.35)
        paid = [frame for frame, choice in enumerate(choices) if choice >= 0]
        axis.plot(paid, [0.0] * len(paid), linestyle="", marker="^", color=RED, clip_on=False)
        axis.set(ylabel="joules", title=f"{name}: {len(paid)} frames read")
        top = max(top, float(left.max()))
    for axis in axes[1:]:
        axis.set_ylim(0, 1.05 * top or 1)
    axes[-1].set_xlabel("frame")
    plots.show(figure, "Above, the sharpness of the frames: plateaus and valleys. Below, for each policy, what is left "
               "in the battery after each frame, and a triangle at each frame that it reads.")  # fmt: skip
