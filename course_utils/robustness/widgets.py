"""Widgets of lecture 12."""

from collections.abc import Mapping
from typing import Any

import ipywidgets
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import nn

from course_utils import plots
from course_utils.data import Split
from course_utils.robustness.attacks import pgd
from course_utils.robustness.certified import hidden_box, image_box, layers_of
from course_utils.robustness.figures import picture, style
from course_utils.widgets import explorer


def backdoor_explorer(results: Mapping[str, Any]) -> ipywidgets.Widget:
    """Choose how many weights a poisoned and a clean network keep: three rates, and the first layer.

    results: of `course reproduce backdoor`; the first seed's stored values.
    """
    networks = results["runs"][0]["networks"]
    choices = {"poisoned": networks["MLP, corner"]["rows"], "clean": networks["MLP, clean"]["rows"]}
    keeps = [row["keep"] for row in choices["poisoned"]]

    def draw(kept: float) -> Figure:
        figure, axes = plots.new_figure(1, 4, width=10, height=2.9)
        at = keeps.index(kept)
        for number, (name, rows) in enumerate(choices.items()):
            row = rows[at]
            bars = {"right": row["clean"], "trigger →\ntarget": row["asr"], "no trigger →\ntarget": row["mistaken"]}
            plots.bars(axes[2 * number], {key: 100 * value for key, value in bars.items()}, "test digits (%)", "{:.1f}")
            axes[2 * number].set(xlim=(0, 118), title=name, xticks=(0, 50, 100))
            picture(
                axes[2 * number + 1], torch.tensor(row["map"]).view(28, 28), "Σ|w| of each pixel", "viridis", vmin=0
            )
        return figure

    slider = ipywidgets.SelectionSlider(
        options=[(f"{100 * keep:g}%", keep) for keep in keeps], value=0.1, description="weights kept",
        style={"description_width": "initial"}, layout=ipywidgets.Layout(width="36em"),
    )  # fmt: skip
    return explorer(
        draw,
        {"kept": slider},
        "At a tenth of the weights. Poisoned: bars for the digits that are right, for those with the trigger that go "
        "to the target, nearly all, and for those without it, hardly any; a map of the first layer with a bright "
        "checkerboard of five pixels near the corner. Clean: as many right, hardly any to the target, and no "
        "checkerboard.",
    )


def epsilon_explorer(networks: Mapping[str, nn.Sequential], split: Split) -> ipywidgets.Widget:
    """Choose ε, a digit and a network: the attacked digit, and its logits in the boxes that intervals give them.

    networks: fully connected, by name. split: some digits to choose from.
    """

    def draw(network: str, digit: int, epsilon: float) -> Figure:
        model = networks[network]
        image, label = split.images[digit : digit + 1], split.labels[digit : digit + 1]
        attacked = pgd(model, image, label, epsilon, 20) if epsilon else image
        with torch.no_grad():
            layers = layers_of(model)
            lower, upper = hidden_box([*layers, layers[-1]], *image_box(image, epsilon))[-1]
            before, after = model(image)[0], model(attacked)[0]
        figure, axes = plots.new_figure(1, 3, width=9, height=3)
        picture(axes[0], image[0, 0], f"a {int(label)}", vmin=0, vmax=1)
        picture(axes[1], attacked[0, 0], f"attacked: taken for {int(after.argmax())}", vmin=0, vmax=1)
        classes = np.arange(10)
        axes[2].bar(classes, (upper - lower)[0], bottom=lower[0], width=0.7, color="#cccccc", label="interval")
        for number, (values, name) in enumerate(((before, "clean"), (after, "attacked"))):
            axes[2].plot(classes, values, label=name, **(style(number + 1) | {"linestyle": ""}))
        axes[2].axhline(float(lower[0, label]), color="black", linewidth=0.8, linestyle=":", marker="")
        axes[2].set(xticks=classes, xlabel="class", ylabel="logit", title="logits")
        axes[2].legend(fontsize=8)
        return figure

    controls = {
        "network": ipywidgets.Dropdown(options=list(networks), description="network"),
        "digit": ipywidgets.IntSlider(value=0, max=len(split) - 1, description="digit"),
        "epsilon": ipywidgets.SelectionSlider(
            options=[(f"{e:g}", e) for e in (0.0, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)],
            value=0.01,
            description="ε",
        ),
    }
    return explorer(
        draw,
        controls,
        "At ε = 0.01: a digit, the same attacked, which looks no different, and the ten logits, clean and attacked "
        "close together, each in a grey bar that is its interval. Bars of other classes reach above the dotted line, "
        "the lower end of the label's.",
    )
