"""Widget of lecture 01."""

import ipywidgets
import torch
from matplotlib.figure import Figure
from torch import Tensor

from course_utils import plots
from course_utils.widgets import explorer


def temperature_explorer(images: Tensor, logits: Tensor) -> ipywidgets.Widget:
    """What the temperature does to the lecture's cow, dog, cat and car, and to a network's answers to real digits.

    images: [n, 1, 28, 28]; logits: [n, 10], what the network says of them. A slider sets the temperature from 0.1 to
    100, a menu picks the digit.
    """
    from course_utils.distillation import soft_targets

    # Four entries of a longer list, which sum to 0.555; among themselves they are a distribution again
    table = {"cow": 0.05, "dog": 0.3, "cat": 0.2, "car": 0.005}

    def draw(temperature: float, digit: int) -> Figure:
        figure, (words, picture, digits) = plots.new_figure(1, 3, width=9, height=2.8)
        rows = {
            words: (table, soft_targets(torch.tensor(list(table.values())).log(), temperature)),
            digits: (map(str, range(logits.shape[1])), soft_targets(logits[digit], temperature)),
        }
        for axes, (names, probabilities) in rows.items():
            plots.bars(axes, dict(zip(names, probabilities.tolist(), strict=True)), "probability", "{:.3f}")
            axes.set_xlim(0, 1.2)
        words.set_title("the four classes of the table")
        digits.set_title(f"this digit at T = {temperature:.3g}")
        digits.tick_params(axis="y", labelsize=8)
        picture.imshow(images[digit, 0], cmap="gray_r")
        picture.set_axis_off()
        return figure

    style, wide = {"description_width": "8em"}, ipywidgets.Layout(width="36em")
    controls = {
        "temperature": ipywidgets.FloatLogSlider(
            value=1.0, min=-1, max=2, step=0.05, description="temperature", style=style, layout=wide
        ),
        "digit": ipywidgets.Dropdown(
            options=[(f"digit {i + 1}", i) for i in range(len(images))],
            description="image",
            style=style,
        ),
    }
    return explorer(
        draw,
        controls,
        "The explorer at temperature 1: bars for cow, dog, cat and car, of which dog has the longest, then cat, then "
        "cow, and car almost none; the image of a handwritten digit; and bars for the ten classes that a network gives "
        "it. A higher temperature evens the bars out, a lower one leaves only the longest.",
    )
