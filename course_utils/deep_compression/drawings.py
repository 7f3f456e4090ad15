"""What lecture 03 draws of the method: its stages, how places are stored, how shared weights learn."""

import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from torch import Tensor

from course_utils import plots

FILLS = ("#f3d5c0", "#cfe3f2", "#d5ecd9", "#efe0ee")  # of four clusters; their numbers stand in the cells as well


def pipeline() -> None:
    """Draw the three stages of Deep Compression, with the paper's figures for LeNet-300-100."""
    stages = [
        ("dense", "266,610 weights,\n32 bits each", "1,070 kB"),
        ("prune, retrain", "8% of the weights,\n32 bits, and\nwhere they are", "12 times\nfewer weights"),
        ("share, fine-tune", "indices of 6 bits\ninto a codebook of\n64 values", "32 times\nsmaller"),
        ("Huffman", "short words for\nfrequent indices\nand gaps", "27 kB, 40 times\nsmaller"),
    ]
    figure, axis = plots.new_figure(width=9.5, height=2.6)
    for x, (name, what, size) in enumerate(stages):
        axis.text(x, 2.45, name, ha="center", va="center", weight="bold", fontsize=12)
        box = {"boxstyle": "round,pad=0.5", "fc": "#eef4fa", "ec": plots.COLOURS[1]}
        axis.text(x, 1.45, what, ha="center", va="center", fontsize=10, bbox=box)
        axis.text(x, 0.3, size, ha="center", va="center", fontsize=11)
        if x:
            style = {"arrowstyle": "-|>", "color": "black", "linewidth": 1.5}
            axis.annotate("", (x - 0.36, 1.45), (x - 0.64, 1.45), arrowprops=style)
    axis.set(xlim=(-0.5, 3.5), ylim=(-0.1, 2.8))
    axis.set_axis_off()
    plots.show(
        figure,
        "Four boxes joined by arrows: the dense network of 266,610 weights and 1,070 kilobytes; pruned and retrained, "
        "8% of the weights and where they are; shared and fine-tuned, indices of 6 bits into a codebook; "
        "Huffman-coded, short words for what is frequent, 27 kilobytes, forty times smaller.",
    )


def _cell(axis: Axes, x: float, y: float, text: str, fill: str = "white", hatch: str = "") -> None:
    axis.add_patch(Rectangle((x, y), 1, 1, facecolor=fill, edgecolor="#555555", hatch=hatch, linewidth=0.8))
    axis.text(x + 0.5, y + 0.5, text, ha="center", va="center", fontsize=9)


def gap_strip(mask: Tensor, index_bits: int) -> None:
    """Draw a mask [n] as a strip, and below it the entries that are stored: gaps, fillers hatched."""
    from course_utils.deep_compression import encode_relative_index

    gaps, fillers = (found.tolist() for found in encode_relative_index(mask, index_bits))
    figure, axis = plots.new_figure(width=9, height=2.3)
    for place, kept in enumerate(mask.tolist()):
        _cell(axis, place, 0, "w" if kept else "0", FILLS[1] if kept else "white")
        axis.text(place + 0.5, 1.15, str(place), ha="center", va="bottom", fontsize=8, color="#555555")
    start = -0.5
    for gap, filler in zip(gaps, fillers, strict=True):
        end = start + gap
        plots.arrow(axis, (start, -0.45), (end, -0.45))
        axis.text((start + end) / 2, -0.65, f"{gap}", ha="center", va="top", fontsize=10)
        if filler:
            _cell(axis, end - 0.5, 0, "", "#eeeeee", "//")
            axis.text(end, -1.35, "filler: a weight 0\nis stored", ha="center", va="top", fontsize=8)
        start = end
    axis.text(-1.1, 0.5, "mask", ha="right", va="center", fontsize=9)
    axis.text(-1.1, -0.75, f"gaps,\n{index_bits} bits each", ha="right", va="center", fontsize=9)
    axis.set(xlim=(-3.6, len(mask) + 0.2), ylim=(-2.3, 1.8))
    axis.set_axis_off()
    plots.show(
        figure,
        "A strip of places numbered from 0, three of which hold a kept weight, w, and the others 0. Arrows below it, "
        "each with its length, lead from the place before the first to the first weight, to the next, and from there "
        "by way of a hatched place, where a filler is stored, to the last: that gap is too long for its bits.",
    )


def sharing(weights: Tensor, gradient: Tensor, lr: float) -> None:
    """Draw weights [4, 4] shared by four centroids, and a step of these: their gradients grouped and summed."""
    from course_utils.deep_compression import centroid_gradient, kmeans_1d, linear_centroids

    flat = weights.flatten()
    centroids, assignment = kmeans_1d(flat, linear_centroids(flat, 4), 20)
    summed = centroid_gradient(gradient.flatten(), assignment, 4)
    moved = centroids - lr * summed
    figure, axis = plots.new_figure(width=9.5, height=4.6)
    fills = [FILLS[k] for k in assignment.tolist()]

    def numbers(values: Tensor) -> list[str]:
        return [f"{value + 0.0:+.2f}" for value in values.flatten().tolist()]  # + 0.0, as −0 is no number to show

    def matrix(x: float, y: float, title: str, texts: list[str]) -> None:
        axis.text(x + 2, y + 4.25, title, ha="center", va="bottom", fontsize=10)
        for place, text in enumerate(texts):
            _cell(axis, x + place % 4, y + 3 - place // 4, text, fills[place])

    def column(x: float, y: float, title: str, values: Tensor) -> None:
        axis.text(x + 0.5, y + 4.25, title, ha="center", va="bottom", fontsize=10)
        for k, text in enumerate(numbers(values)):
            _cell(axis, x, y + 3 - k, text, FILLS[k])

    matrix(0, 6, "weights", numbers(weights))
    matrix(6.5, 6, "indices, 2 bits each", [str(k) for k in assignment.tolist()])
    column(13, 6, "centroids", centroids)
    matrix(0, 0, "gradient", numbers(gradient))
    axis.text(8.5, 4.25, "grouped by index", ha="center", va="bottom", fontsize=10)
    for k in range(4):
        for place, text in enumerate(numbers(gradient.flatten()[assignment == k])):
            _cell(axis, 5.5 + place, 3 - k, text, FILLS[k])
    column(13, 0, "summed", summed)
    column(17, 3, f"new = old − {lr:g} · sum", moved)
    for start, end in (
        ((4.2, 8), (6.3, 8)),
        ((10.7, 8), (12.8, 8)),
        ((4.1, 2), (5.3, 2)),
        ((12.0, 2), (12.8, 2)),
        ((14.2, 7.6), (16.8, 5.6)),
        ((14.2, 2), (16.8, 4.4)),
    ):
        plots.arrow(axis, start, end)
    axis.set(xlim=(-0.3, 20), ylim=(-0.3, 11.2))
    axis.set_axis_off()
    plots.show(
        figure,
        "Above, a matrix of sixteen weights, coloured by cluster; the matrix of their indices from 0 to 3; and a "
        "column of four centroids. Below, the matrix of gradients in the same colours; the same numbers grouped in "
        "four rows by index; and a column of their sums. Arrows lead from both columns to a last one: the centroids "
        "minus the learning rate times the sums.",
    )


def example() -> tuple[Tensor, Tensor]:
    """Weights and a gradient [4, 4] for `sharing`, rounded as they are drawn."""
    generator = torch.Generator().manual_seed(3)
    modes = torch.tensor([-1.0, 0.0, 1.4, 2.0])[torch.randint(0, 4, (4, 4), generator=generator)]
    weights = modes + 0.12 * torch.randn(4, 4, generator=generator)
    return weights.mul(100).round() / 100, torch.randn(4, 4, generator=generator).mul(9).round() / 100
