"""Drawings of lecture 10: the layer in its block, what becomes of the tokens of a batch, and the exchange of rows."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from course_utils import plots

SHADES = ("#cfe3f3", "#fbe3c8", "#cdebdc", "#f3d9e8")  # of four experts
FADED = "#eeeeee"


def _square(
    axis: Axes, x: float, y: float, text: str, colour: str = "white", width: float = 0.9, edge: str = "-"
) -> None:
    axis.add_patch(Rectangle((x, y), width, 0.9, facecolor=colour, edgecolor="black", linewidth=0.8, linestyle=edge))
    axis.text(x + width / 2, y + 0.45, text, ha="center", va="center", fontsize=8)


def _line(axis: Axes, xs: Sequence[float], ys: Sequence[float]) -> None:
    axis.plot(xs, ys, color=plots.COLOURS[1], marker="", linestyle="-", linewidth=1.2)


def _trunk(axis: Axes, top: float) -> None:
    """From the bottom: x, attention and a sum; and the way around what comes above it, to a sum at the top."""
    plots.box(axis, 0, 0, "x", width=0.6)
    plots.arrow(axis, (0, 0.37), (0, 0.95))
    plots.box(axis, 0, 1.35, "attention")
    plots.arrow(axis, (0, 1.72), (0, 2.3))
    _line(axis, [-0.35, -3.4, -3.4], [0, 0, 2.5])
    plots.arrow(axis, (-3.4, 2.5), (-0.2, 2.5))
    _line(axis, [0, -3.1, -3.1], [2.95, 2.95, top])
    plots.arrow(axis, (-3.1, top), (-0.2, top))
    for y in (2.5, top):
        axis.text(0, y, "+", ha="center", va="center", fontsize=14)
    plots.arrow(axis, (0, top + 0.25), (0, top + 0.85))
    axis.set(xlim=(-3.9, 3.9), ylim=(-0.5, top + 1))
    axis.set_axis_off()


def layer_drawing() -> None:
    """Draw a transformer's block with a dense feed-forward layer, and one with experts in its place."""
    figure, (dense, sparse) = plots.new_figure(1, 2, width=10, height=4.6)
    top = 7.0
    for axis, title in ((dense, "dense block"), (sparse, "sparse block")):
        _trunk(axis, top)
        axis.set_title(title)
    plots.arrow(dense, (0, 2.75), (0, 4.75))
    plots.box(dense, 0, 5.1, "FFN", SHADES[0], 1.6)
    plots.arrow(dense, (0, 5.5), (0, top - 0.25))
    plots.arrow(sparse, (0, 2.75), (0, 3.3))
    plots.box(sparse, 0, 3.65, "router  p = softmax(xW)", width=3.2)
    for number, x in enumerate((-2.4, -0.8, 0.8, 2.4)):
        chosen = number == 2
        plots.box(sparse, x, 5.1, f"FFN {number}", SHADES[number] if chosen else FADED, 1.1)
    plots.arrow(sparse, (0.4, 4.0), (0.8, 4.73), 2.2)
    _line(sparse, [0.8, 0.8], [5.45, 5.9])
    plots.arrow(sparse, (0.8, 5.9), (0.1, top - 0.25), 2.2)
    sparse.text(0.75, 6.35, "× p₂", fontsize=10)
    sparse.text(2.4, 4.5, "not computed", ha="center", fontsize=8, color="#555555")
    plots.show(
        figure,
        "Two blocks of a transformer, from the bottom to the top: x, attention, a sum with x, then, on the left, one "
        "feed-forward layer and a second sum. On the right a router stands between, with four feed-forward layers "
        "above it: one arrow leads to the third, whose result is multiplied by its probability; the others are grey.",
    )


def dispatch_drawing(experts: Sequence[int], slots: int) -> None:
    """Draw the tokens of a batch, the experts' buffers of so many slots, and the results in the tokens' order.

    experts: each token's expert, 0 to 3.
    """
    count = max(experts) + 1
    figure, axis = plots.new_figure(width=10, height=4.2)
    filled = [0] * count
    cell, across = 0.68, (len(experts) - 0.1 + 0.5) / count  # the width of a slot, and from buffer to buffer
    for token, expert in enumerate(experts):
        _square(axis, token, 4.6, f"t{token}", SHADES[expert])
        slot = filled[expert]
        filled[expert] += 1
        dropped = slot >= slots
        if dropped:
            _square(axis, token, 0, f"t{token}", edge=":")
            style = {"color": plots.COLOURS[2], "linestyle": ":", "marker": "", "linewidth": 1.4, "zorder": 0}
            axis.plot([token + 0.45] * 2, [4.55, 0.95], **style)
            text = "dropped: only the way around"
            axis.text(token + 0.45, -0.15, text, ha="center", va="top", fontsize=8, color=plots.COLOURS[2])
            continue
        x = expert * across + slot * cell
        _square(axis, x, 2.3, f"t{token}", SHADES[expert], cell)
        style = {"color": "#777777", "linestyle": "-", "marker": "", "linewidth": 0.7}
        axis.plot([token + 0.45, x + cell / 2], [4.55, 3.25], **style)
        axis.plot([x + cell / 2, token + 0.45], [2.25, 0.95], **style)
        _square(axis, token, 0, f"t{token}", SHADES[expert])
    for expert in range(count):
        x = expert * across
        for slot in range(filled[expert], slots):
            _square(axis, x + slot * cell, 2.3, "0", width=cell, edge=":")
        axis.text(x, 3.3, f"expert {expert}", va="bottom", fontsize=8)
    for y, text in ((5.05, "tokens, coloured by\ntheir expert"), (2.75, "buffers"), (0.45, "results × gate")):
        axis.text(-0.7, y, text, ha="right", va="center", fontsize=9)
    axis.set(xlim=(-3.4, len(experts) + 0.2), ylim=(-0.7, 5.7))
    axis.set_axis_off()
    plots.show(
        figure,
        "Three rows. At the top tokens, coloured by their expert; in the middle a buffer for each expert, into which "
        "its tokens move in the order in which they came, empty slots being 0; at the bottom the results, each below "
        "its token. One expert has more tokens than slots: a dotted line leads from its last token past the buffers.",
    )


def exchange_drawing() -> None:
    """Draw the two all-to-alls of two processes: rows where their tokens are, and where their experts are."""
    figure, axes = plots.new_figure(1, 3, width=10, height=3.0)
    owners = [[0, 2, 1, 3, 0, 2], [3, 1, 1, 2, 0, 3]]  # the expert of each token, by process
    start = [[(place, number, expert) for number, expert in enumerate(row)] for place, row in enumerate(owners)]
    rows = [row for part in start for row in part]
    by_expert = [sorted((row for row in rows if row[2] // 2 == place), key=lambda row: row[2]) for place in (0, 1)]
    titles = ("tokens where they came in", "after the first all-to-all", "after the second")
    for axis, title, parts in zip(axes, titles, (start, by_expert, start), strict=True):
        for place, part in enumerate(parts):
            y = 1.8 * (1 - place)
            for x, (origin, number, expert) in enumerate(part):
                _square(axis, x, y, f"{'ab'[origin]}{number}", SHADES[expert])
            name = f"process {place}"
            if parts is by_expert:
                name += f", experts {2 * place} and {2 * place + 1}"
            axis.text(0, y + 1.0, name, fontsize=8)
        axis.set(xlim=(-0.2, 7.2), ylim=(-0.2, 3.4))
        axis.set_title(title, fontsize=10)
        axis.set_axis_off()
    plots.show(
        figure,
        "Three panels of two processes. In the first each process has its own six tokens, coloured by their expert. In "
        "the second every process has the tokens of its own two experts, side by side, from both processes. In the "
        "third all are back where and in the order in which they were.",
    )
