"""Widgets of lecture 03."""

from collections.abc import Callable

import ipywidgets
import torch
from matplotlib.figure import Figure
from torch import Tensor

from course_utils import plots
from course_utils.widgets import explorer


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
    return explorer(
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
            axes.text(x + 0.06, y + 0.1, str(count), fontsize=9, fontweight="bold")  # beside its own branch upwards
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
    return explorer(
        draw,
        {"step": slider},
        "A Huffman tree: at the bottom the symbols with their frequencies and their words of 0 and 1, above them the "
        "branches, each with a 0 or a 1, and at every fork the sum of the frequencies below. Rare symbols lie deepest. "
        "The slider shows the tree after fewer joinings.",
    )
