"""Widgets of the lectures. Each shows a picture of its default state as well, for readers without a running kernel."""

import io
from collections.abc import Callable, Mapping, Sequence

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from course_utils import plots


def _explorer(draw: Callable[..., Figure], controls: dict[str, ipywidgets.ValueWidget], alt: str) -> ipywidgets.Widget:
    """Controls above a picture that follows them, and the picture of their default state for readers without a kernel.

    draw: gets the controls' values by their names. alt: describes the default state.
    """

    def picture() -> Figure:
        return draw(**{name: control.value for name, control in controls.items()})

    def png(figure: Figure) -> bytes:
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
        plt.close(figure)
        return buffer.getvalue()

    image = ipywidgets.Image(value=png(picture()), format="png")
    for control in controls.values():
        control.observe(lambda _: setattr(image, "value", png(picture())), names="value")
    plots.show(picture(), alt)
    return ipywidgets.VBox([*controls.values(), image])


def energy_meter() -> ipywidgets.Widget:
    """What an inference costs by Horowitz's prices at 45 nm, and how long a phone's battery lasts.

    Sliders set the MACs of a network, the accesses to SRAM and DRAM for each MAC, the number format and the battery.
    The energy of a memory access is taken as proportional to the bits that it moves.
    """
    from course_utils.budget import PICOJOULES

    formats = {"float32": 3.7 + 0.9, "int32": 3.1 + 0.1}  # a multiplication and an addition, in picojoules

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
        "macs": log_slider(665_784_864.0, 4, 11, "MACs"),
        "sram": ipywidgets.FloatSlider(
            value=2.0, min=0, max=4, step=0.1, description="SRAM accesses per MAC", style=style, layout=wide
        ),
        "dram": log_slider(0.0029, -4, 0, "DRAM accesses per MAC"),
        "arithmetic": ipywidgets.Dropdown(
            options=list(formats), value="float32", description="arithmetic", style=style
        ),
        "bits": ipywidgets.SelectionSlider(
            options=[1, 2, 4, 8, 16, 32], value=32, description="bits per word", style=style, layout=wide
        ),
        "per_second": ipywidgets.IntSlider(
            value=30, min=1, max=120, description="inferences per second", style=style, layout=wide
        ),
        "watt_hours": ipywidgets.FloatSlider(
            value=15.0, min=1, max=60, step=0.5, description="battery (Wh)", style=style, layout=wide
        ),
    }
    return _explorer(
        draw,
        controls,
        "The meter in its default state, as three horizontal bars of millijoules per inference: the convolutions of "
        "AlexNet with two accesses to SRAM and 0.0029 to DRAM for each MAC. SRAM has the longest bar, arithmetic about "
        "half of that, DRAM much less.",
    )


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
    return _explorer(
        draw,
        controls,
        "The explorer at temperature 1: bars for cow, dog, cat and car, of which dog has the longest, then cat, then "
        "cow, and car almost none; the image of a handwritten digit; and bars for the ten classes that a network gives "
        "it. A higher temperature evens the bars out, a lower one leaves only the longest.",
    )


def pruning_explorer(
    weights: dict[str, Tensor], curvatures: dict[str, Tensor], loss_increase: Callable[[dict[str, Tensor]], float]
) -> ipywidgets.Widget:
    """Which weights a criterion deletes, and what that does to the loss: as predicted, and as measured.

    weights and curvatures: by name, the same shapes. loss_increase: of masks -> the measured increase in nats. A slider
    sets the fraction that is deleted, a menu the criterion.
    """
    from course_utils import saliency

    obd = {name: saliency.obd_saliency(weights[name], h) for name, h in curvatures.items()}
    generator = torch.Generator().manual_seed(0)
    criteria = {
        "Optimal Brain Damage": obd,
        "magnitude": {name: saliency.magnitude_saliency(w) for name, w in weights.items()},
        "random": {name: torch.rand(w.shape, generator=generator) for name, w in weights.items()},
    }
    sizes, bends = (torch.cat([t[name].flatten() for name in weights]) for t in (weights, curvatures))
    floor = 1e-8  # where weights of curvature 0 are drawn

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
        "deleted": ipywidgets.FloatSlider(value=0.5, min=0, max=0.95, step=0.05, description="deleted", layout=wide),
        "criterion": ipywidgets.Dropdown(options=list(criteria), description="criterion", layout=wide),
    }
    return _explorer(
        draw,
        controls,
        "Left: a cloud of weights, size across and curvature upwards, both logarithmic; those that Optimal Brain "
        "Damage deletes are below a falling line, a row of weights of curvature 0 among them. Right: two bars, the "
        "predicted increase of the loss and the measured one, which is longer.",
    )


def codebook_explorer(
    weights: Tensor, entries: int, index_bits: int, error: Callable[[Tensor], float]
) -> ipywidgets.Widget:
    """Weight sharing in one layer: a slider sets the bits of a weight, a menu the start of k-means.

    weights: [n], the layer's kept weights. entries: kept weights and fillers, each with a gap of index_bits. error: the
    percentage of digits that the network gets wrong with other values [n] in place of the weights.
    """
    from course_utils.deep_compression import compressed_bits, kmeans_1d, linear_centroids

    starts = {
        "linear": linear_centroids,
        "by density": lambda w, count: torch.quantile(w, (torch.arange(count) + 0.5) / count),
    }

    def draw(bits: int, start: str, steps: int) -> Figure:
        centroids, assignment = kmeans_1d(weights, starts[start](weights, 2**bits), steps)
        distance = (weights - centroids[assignment]).square().mean().sqrt()
        size = compressed_bits(len(weights), entries - len(weights), bits, index_bits, len(centroids)) / 8
        figure, axes = plots.new_figure(width=7, height=3)
        axes.hist(weights.numpy(), bins=120, color="#bbbbbb")
        axes.plot(centroids, [0] * len(centroids), linestyle="", marker="^", color=plots.COLOURS[2], clip_on=False)
        axes.set(xlabel="weight", ylabel="number of weights")
        axes.set_title(
            f"{len(centroids)} shared values: off by {distance:.4f} (root mean square);\n"
            f"{error(centroids[assignment]):.1f}% of the validation digits wrong; {size:,.0f} bytes",
            fontsize=10,
        )
        return figure

    style, wide = {"description_width": "8em"}, ipywidgets.Layout(width="36em")
    controls = {
        "bits": ipywidgets.IntSlider(3, 1, 8, description="bits", style=style, layout=wide),
        "start": ipywidgets.Dropdown(options=list(starts), value="linear", description="start", style=style),
        "steps": ipywidgets.IntSlider(30, 0, 60, description="steps", style=style, layout=wide),
    }
    return _explorer(
        draw,
        controls,
        "The explorer at 3 bits: a histogram of the layer's kept weights, two humps with an empty middle, and eight "
        "marks on its axis where the shared values are. More bits give more marks, fewer errors and more bytes.",
    )


def huffman_steps(frequencies: dict[str, int]) -> ipywidgets.Widget:
    """Huffman's construction, one joining at a time: a slider goes from the single symbols to the whole tree."""
    from course_utils.deep_compression import huffman_code

    total = sum(frequencies.values())
    # The joinings, and the order of the leaves in the finished tree, in which no branches cross
    nodes = [(count, (symbol,)) for symbol, count in frequencies.items()]
    joinings = []
    while len(nodes) > 1:
        nodes.sort(key=lambda node: node[0])
        (low, left), (high, right), *rest = nodes
        joinings.append((left, right, low + high))
        nodes = [*rest, (low + high, left + right)]
    order = {symbol: place for place, symbol in enumerate(nodes[0][1])}
    height = max(len(word) for word in huffman_code(frequencies).values())

    def draw(step: int) -> Figure:
        figure, axes = plots.new_figure(width=7, height=3.6)
        places = {(symbol,): (place, 0.0) for symbol, place in order.items()}
        words = dict.fromkeys(order, "")
        for number, (left, right, count) in enumerate(joinings[:step]):
            (x1, y1), (x2, y2) = places[left], places[right]
            x, y = (x1 + x2) / 2, max(y1, y2) + 1
            places[left + right] = (x, y)
            newest = number == step - 1
            for (x0, y0), bit in (((x1, y1), "0"), ((x2, y2), "1")):
                axes.plot(
                    [x0, x0, x],
                    [y0, y, y],
                    "-",
                    marker="",
                    color=plots.COLOURS[2 if newest else 0],
                    linewidth=1 + newest,
                )
                axes.text(x0 + 0.06, y - 0.45, bit, fontsize=9)
            axes.text(x, y + 0.1, str(count), ha="center", fontsize=9, fontweight="bold")
            for symbol in left + right:
                words[symbol] = ("0" if symbol in left else "1") + words[symbol]
        for symbol, place in order.items():
            axes.text(
                place, -0.35, f"{symbol}\n{frequencies[symbol]}\n{words[symbol]}", ha="center", va="top", fontsize=9
            )
        bits = sum(frequencies[symbol] * len(word) for symbol, word in words.items())
        axes.set(xlim=(-0.6, len(order) - 0.4), ylim=(-1.6, height + 1.5))
        axes.set_axis_off()
        done = f": {bits} bits, {bits / total:.2f} a symbol" if step == len(joinings) else ""
        axes.set_title(f"{step} of {len(joinings)} joinings{done}", fontsize=10)
        return figure

    slider = ipywidgets.IntSlider(len(joinings), 0, len(joinings), description="joinings")
    return _explorer(
        draw,
        {"step": slider},
        "A Huffman tree: at the bottom the symbols with their frequencies and their words of 0 and 1, above them the "
        "branches, each with a 0 or a 1, and at every fork the sum of the frequencies below. Rare symbols lie deepest. "
        "The slider shows the tree after fewer joinings.",
    )


def xnor_explorer(bits: int = 8) -> ipywidgets.Widget:
    """Two vectors of signs, set bit by bit: products on one side, xnor and popcount on the other, the same number.

    Two sliders set the words (bit 0, the first element, is worth 1).
    """
    from course_utils.binary import xnor_popcount_matmul

    def draw(a: int, b: int) -> Figure:
        agree = ~(a ^ b)
        rows = {
            "a": [a >> j & 1 for j in range(bits)],
            "b": [b >> j & 1 for j in range(bits)],
            "a xnor b": [agree >> j & 1 for j in range(bits)],
        }
        (product,) = xnor_popcount_matmul(np.array([[a]], np.uint64), np.array([[b]], np.uint64), bits)[0]
        figure, axes = plots.new_figure(width=7, height=2.8)
        for y, (name, values) in zip((2.2, 1.2, 0), rows.items(), strict=True):
            axes.text(-0.7, y, name, ha="right", va="center", fontsize=11)
            for x, bit in enumerate(values):
                axes.add_patch(
                    Rectangle((x - 0.45, y - 0.4), 0.9, 0.8, fc="#cfe3f3" if bit else "white", ec=plots.COLOURS[0])
                )
                axes.text(x, y, f"{bit}   {'+1' if bit else '−1'}", ha="center", va="center", fontsize=10)
        equal = sum(rows["a xnor b"])
        axes.set(xlim=(-2, bits - 0.3), ylim=(-0.6, 2.8))
        axes.set_axis_off()
        axes.set_title(
            f"popcount of the lowest row: {equal} agree, {bits - equal} differ;  {equal} − {bits - equal} = "
            f"2·{equal} − {bits} = {product} = a · b",
            fontsize=10,
        )
        return figure

    wide = ipywidgets.Layout(width="30em")
    controls = {
        name: ipywidgets.IntSlider(value, 0, 2**bits - 1, description=f"word {name}", layout=wide)
        for name, value in {"a": 13, "b": 11}.items()
    }
    return _explorer(
        draw,
        controls,
        "Three rows of eight boxes: the bits of the words a and b with the signs that they stand for, and "
        "below them the bits of a xnor b, a 1 wherever the two agree. The title counts them, and gets the dot product.",
    )


def ticket_explorer(masks: list[dict[str, Tensor]], errors: dict[str, list[float]]) -> ipywidgets.Widget:
    """The search for a ticket, round by round: a slider picks the round, and shows the layers' masks and the errors.

    masks: of each round, the first layer's [units, 784]; errors: for each network, the percentage that it gets wrong
    after each round.
    """
    sizes = sum(mask.numel() for mask in masks[0].values())
    kept = [100 * sum(int(mask.sum()) for mask in each.values()) / sizes for each in masks]

    def draw(number: int) -> Figure:
        figure, axes = plots.new_figure(1, len(masks[0]) + 1, width=10.5, height=3)
        for axis, (name, mask) in zip(axes, masks[number].items(), strict=False):
            first = mask.shape[1] == 784
            # A pixel's share of kept weights says more than 784 columns side by side
            picture = mask.float().mean(0).view(28, 28) if first else mask.float()
            axis.imshow(picture, cmap="gray_r", vmin=0, vmax=1, aspect="equal" if first else "auto")
            title = "by pixel" if first else f"{mask.shape[0]} × {mask.shape[1]}"
            axis.set_title(f"{name}, {title}\n{float(mask.float().mean()):.1%} kept", fontsize=10)
            axis.grid(visible=False)
            axis.set(xticks=[], yticks=[])
        for name, values in errors.items():
            axes[-1].plot(kept, values, label=name, markersize=4)
        axes[-1].axvline(kept[number], color="#999999", linestyle=":", marker="")
        axes[-1].set(xscale="log", xlabel="weights kept (%)", ylabel="validation errors (%)")
        axes[-1].invert_xaxis()
        axes[-1].set_title(f"round {number}", fontsize=10)
        axes[-1].legend(fontsize=8)
        return figure

    wide = ipywidgets.Layout(width="36em")
    slider = ipywidgets.IntSlider(min(5, len(masks) - 1), 0, len(masks) - 1, description="round", layout=wide)
    return _explorer(
        draw,
        {"number": slider},
        "The explorer after some rounds. Three masks: the first layer's as a picture of the pixels, in greys that say "
        "how many of a pixel's weights are kept; the other two as speckled matrices. Beside them the errors of ticket "
        "and controls against the weights kept, with a line at the chosen round.",
    )


def routing_explorer(symbols: Sequence[str], probabilities: Mapping[float, Tensor]) -> ipywidgets.Widget:
    """Tokens light up their experts: a slider sets the weight of the balance loss that the router was trained with.

    symbols: the text's tokens. probabilities: by weight, the router's softmax [tokens, experts].
    """
    weights = list(probabilities)
    experts = probabilities[weights[0]].shape[1]

    def draw(weight: float) -> Figure:
        table = probabilities[weight]
        chosen = table.argmax(1)
        load = torch.bincount(chosen, minlength=experts) / len(chosen)
        figure, (text, share) = plots.new_figure(1, 2, width=10, height=3)
        text.imshow(table.T.numpy(), cmap="Blues", vmin=0, vmax=1, aspect="auto")
        text.plot(range(len(chosen)), chosen, linestyle="", marker="o", markersize=4, color=plots.COLOURS[2])
        text.set_xticks(range(len(symbols)), [s if s.strip() else "␣" for s in symbols], fontsize=7)
        text.set_yticks(range(experts))
        text.grid(visible=False)
        text.set(xlabel="token", ylabel="expert", title=f"balance weight {weight:g}: probability, and the choice")
        share.barh(range(experts), 100 * load, color=plots.COLOURS[1])
        share.axvline(100 / experts, color=plots.COLOURS[0], linestyle="--")
        share.set(xlabel="tokens (%)", xlim=(0, 100), title="load; dashed: equal shares")
        share.set_yticks(range(experts))
        share.invert_yaxis()
        return figure

    slider = ipywidgets.SelectionSlider(
        options=[(f"{weight:g}", weight) for weight in weights], value=weights[0], description="balance"
    )
    return _explorer(
        draw,
        {"weight": slider},
        "Left: a text's tokens across and the experts upwards; each square is as dark as the router's probability, and "
        "a dot marks the expert that is chosen. Right: each expert's share of the tokens, with a dashed line at equal "
        "shares. At balance weight 0 few experts have most tokens; a larger weight spreads the dots.",
    )
