"""Widgets of the lectures. Each shows a picture of its default state as well, for readers without a running kernel."""

import io
from collections.abc import Callable

import ipywidgets
import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from torch import Tensor


def energy_meter() -> ipywidgets.Widget:
    """What an inference costs by Horowitz's prices at 45 nm, and how long a phone's battery lasts.

    Sliders set the MACs of a network, the accesses to SRAM and DRAM for each MAC, the number format and the battery.
    The energy of a memory access is taken as proportional to the bits that it moves.
    """
    from course_utils import plots
    from course_utils.budget import PICOJOULES

    formats = {"float32": 3.7 + 0.9, "int32": 3.1 + 0.1}  # a multiplication and an addition, in picojoules
    default = {"macs": 665_784_864.0, "sram": 2.0, "dram": 0.0029, "arithmetic": "float32", "bits": 32}
    default |= {"per_second": 30, "watt_hours": 15.0}

    def draw(
        macs: float, sram: float, dram: float, arithmetic: str, bits: int, per_second: int, watt_hours: float
    ) -> Figure:
        picojoules = {
            f"arithmetic ({arithmetic})": macs * formats[arithmetic],
            "SRAM": macs * sram * PICOJOULES["sram"] * bits / 32,
            "DRAM": macs * dram * PICOJOULES["dram"] * bits / 32,
        }
        total = sum(picojoules.values()) * 1e-12
        hours = watt_hours * 3600 / (total * per_second) / 3600
        figure, axes = plots.new_figure(height=2.4)
        plots.bars(axes, {name: value * 1e-9 for name, value in picojoules.items()}, "millijoules per inference")
        axes.set_title(
            f"{total * 1e3:.3g} mJ per inference; at {per_second} per second {total * per_second:.3g} W:\n"
            f"{watt_hours:g} Wh last {hours:.3g} hours, if nothing else draws from them",
            fontsize=10,
        )
        return figure

    style = {"description_width": "12em"}
    wide = ipywidgets.Layout(width="36em")

    def log_slider(value: float, low: int, high: int, description: str) -> ipywidgets.FloatLogSlider:
        return ipywidgets.FloatLogSlider(
            value=value, min=low, max=high, step=0.05, description=description, style=style, layout=wide
        )

    controls = {
        "macs": log_slider(default["macs"], 4, 11, "MACs"),
        "sram": ipywidgets.FloatSlider(
            value=default["sram"], min=0, max=4, step=0.1, description="SRAM accesses per MAC", style=style, layout=wide
        ),
        "dram": log_slider(default["dram"], -4, 0, "DRAM accesses per MAC"),
        "arithmetic": ipywidgets.Dropdown(
            options=list(formats), value=default["arithmetic"], description="arithmetic", style=style
        ),
        "bits": ipywidgets.SelectionSlider(
            options=[1, 2, 4, 8, 16, 32], value=default["bits"], description="bits per word", style=style, layout=wide
        ),
        "per_second": ipywidgets.IntSlider(
            value=default["per_second"], min=1, max=120, description="inferences per second", style=style, layout=wide
        ),
        "watt_hours": ipywidgets.FloatSlider(
            value=default["watt_hours"], min=1, max=60, step=0.5, description="battery (Wh)", style=style, layout=wide
        ),
    }
    image = ipywidgets.Image(value=_png(draw(**default)), format="png")

    def update(_: object) -> None:
        image.value = _png(draw(**{name: control.value for name, control in controls.items()}))

    for control in controls.values():
        control.observe(update, names="value")
    plots.show(
        draw(**default),
        "The meter in its default state, as three horizontal bars of millijoules per inference: the convolutions of "
        "AlexNet with two accesses to SRAM and 0.0029 to DRAM for each MAC. SRAM has the longest bar, arithmetic about "
        "half of that, DRAM much less.",
    )
    return ipywidgets.VBox([*controls.values(), image])


def temperature_explorer(images: Tensor, logits: Tensor) -> ipywidgets.Widget:
    """What the temperature does to the lecture's cow, dog, cat and car, and to a network's answers to real digits.

    images: [n, 1, 28, 28]; logits: [n, 10], what the network says of them. A slider sets the temperature from 0.1 to
    100, a menu picks the digit.
    """
    from course_utils import plots
    from course_utils.distillation import soft_targets

    # Four entries of a longer list, which sum to 0.555; among themselves they are a distribution again
    table = {"cow": 0.05, "dog": 0.3, "cat": 0.2, "car": 0.005}
    default = {"temperature": 1.0, "digit": 0}

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
            value=default["temperature"], min=-1, max=2, step=0.05, description="temperature", style=style, layout=wide
        ),
        "digit": ipywidgets.Dropdown(
            options=[(f"digit {i + 1}", i) for i in range(len(images))],
            value=default["digit"],
            description="image",
            style=style,
        ),
    }
    image = ipywidgets.Image(value=_png(draw(**default)), format="png")

    def update(_: object) -> None:
        image.value = _png(draw(**{name: control.value for name, control in controls.items()}))

    for control in controls.values():
        control.observe(update, names="value")
    plots.show(
        draw(**default),
        "The explorer at temperature 1: bars for cow, dog, cat and car, of which dog has the longest, then cat, then "
        "cow, and car almost none; the image of a handwritten digit; and bars for the ten classes that a network gives "
        "it. A higher temperature evens the bars out, a lower one leaves only the longest.",
    )
    return ipywidgets.VBox([*controls.values(), image])


def pruning_explorer(
    weights: dict[str, Tensor], curvatures: dict[str, Tensor], loss_increase: Callable[[dict[str, Tensor]], float]
) -> ipywidgets.Widget:
    """Which weights a criterion deletes, and what that does to the loss: as predicted, and as measured.

    weights and curvatures: by name, the same shapes. loss_increase: of masks -> the measured increase in nats. A slider
    sets the fraction that is deleted, a menu the criterion.
    """
    from course_utils import plots, saliency

    obd = {name: saliency.obd_saliency(weights[name], h) for name, h in curvatures.items()}
    generator = torch.Generator().manual_seed(0)
    criteria = {
        "Optimal Brain Damage": obd,
        "magnitude": {name: saliency.magnitude_saliency(w) for name, w in weights.items()},
        "random": {name: torch.rand(w.shape, generator=generator) for name, w in weights.items()},
    }
    sizes, bends = (torch.cat([t[name].flatten() for name in weights]) for t in (weights, curvatures))
    floor = 1e-8  # where weights of curvature 0 are drawn
    default = {"deleted": 0.5, "criterion": "Optimal Brain Damage"}

    def draw(deleted: float, criterion: str) -> Figure:
        masks = saliency.keep_top(criteria[criterion], 1 - deleted)
        kept = torch.cat([masks[name].flatten() for name in weights])
        figure, (cloud, bill) = plots.new_figure(1, 2, width=9, height=3.6)
        for chosen, label, colour, marker in ((kept, "kept", 1, "o"), (~kept, "deleted", 2, "x")):
            x, y = sizes.abs().clamp(min=1e-4)[chosen], bends.clamp(min=floor)[chosen]
            cloud.plot(x, y, marker, linestyle="", markersize=3, color=plots.COLOURS[colour], label=label, alpha=0.6)
        cloud.set(xscale="log", yscale="log", xlim=(1e-4, 10), ylim=(floor / 2, 1))
        cloud.set(xlabel="size of the weight", ylabel="curvature (nats per squared weight)")
        cloud.set_title(f"{criterion}, {deleted:.0%} deleted")
        cloud.legend(loc="lower left")
        predicted = float(saliency.predicted_loss_increase(obd, masks))
        plots.bars(bill, {"predicted": predicted, "measured": loss_increase(masks)}, "increase of the loss (nats)")
        return figure

    wide = ipywidgets.Layout(width="36em")
    controls = {
        "deleted": ipywidgets.FloatSlider(
            value=default["deleted"], min=0, max=0.95, step=0.05, description="deleted", layout=wide
        ),
        "criterion": ipywidgets.Dropdown(
            options=list(criteria), value=default["criterion"], description="criterion", layout=wide
        ),
    }
    image = ipywidgets.Image(value=_png(draw(**default)), format="png")

    def update(_: object) -> None:
        image.value = _png(draw(**{name: control.value for name, control in controls.items()}))

    for control in controls.values():
        control.observe(update, names="value")
    plots.show(
        draw(**default),
        "Left: a cloud of weights, size across and curvature upwards, both logarithmic; those that Optimal Brain "
        "Damage deletes are below a falling line, a row of weights of curvature 0 among them. Right: two bars, the "
        "predicted increase of the loss and the measured one, which is longer.",
    )
    return ipywidgets.VBox([*controls.values(), image])


def _png(figure: Figure) -> bytes:
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    plt.close(figure)
    return picture.getvalue()
