"""Tables and figures of lecture 08 and of its lab."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib import patches
from matplotlib.axes import Axes
from torch import Tensor

from course_utils import plots, regroup
from course_utils.budget import inference_energy
from course_utils.regroup import Block
from course_utils.structured.figures import blank

Results = Mapping[str, Any]  # of `course reproduce regroup`
KEPT = "#333333"
GOAL = 0.65  # of the dense network's time saved
PICOJOULES = {"mac": 0.9 + 3.7, "sram": 5.0, "dram": 640.0}  # fp32, Horowitz's 45 nm
WIDE = 0  # the place of the wide network in the results
MEDIAN, LOWER = 0, 1  # places in what is stored of a time: median, lower and upper quartile

# Rows 1, 4, 7 keep columns 0, 3, 5, 8; rows 0, 3, 6 columns 1, 4, 9; rows 2, 5 columns 2, 6, 7; with holes and strays
TOY = [
    ".#..#....#",
    "#..#.#..#.",
    "..#...##..",
    ".#..#...##",
    "#..#....#.",
    "..#...##..",
    ".#.......#",
    "#..#.#.##.",
]
TOY_GROUPS = [[1, 4, 7], [0, 3, 6], [2, 5]]


def toy_mask() -> Tensor:
    return torch.tensor([[place == "#" for place in row] for row in TOY])


def cells(axis: Axes, mask: np.ndarray, title: str, rows: Sequence[int] | None = None) -> None:
    """Draw a mask: a dark square where a weight is kept; rows in the given order, with their numbers."""
    order = list(range(len(mask))) if rows is None else list(rows)
    for place, row in enumerate(order):
        for column in range(mask.shape[1]):
            colour = KEPT if mask[row, column] else "white"
            box = {"facecolor": colour, "edgecolor": "#bbbbbb", "linewidth": 0.5}
            axis.add_patch(patches.Rectangle((column, -place - 1), 0.9, 0.9, **box))
        axis.text(-0.4, -place - 0.55, str(row), ha="right", va="center", fontsize=8)
    axis.set(xlim=(-1.6, mask.shape[1] + 0.3), ylim=(-len(order) - 0.3, 0.3), aspect="equal")
    blank(axis, title)


def fill(axis: Axes, blocks: Sequence[Block], order: Sequence[int], mask: np.ndarray, first: int = 0) -> None:
    """Colour the blocks in a drawing of `cells`; a hole that is filled again is hatched. first: the first one's number,
    which tells its colour."""
    place_of = {row: place for place, row in enumerate(order)}
    for number, (rows, columns) in enumerate(blocks, first):
        for row in rows:
            for column in columns:
                box = {"facecolor": plots.COLOURS[1 + number % 5], "edgecolor": "white", "linewidth": 0.5}
                hatch = "" if mask[row, column] else "////"
                corner = (column, -place_of[row] - 1)
                axis.add_patch(patches.Rectangle(corner, 0.9, 0.9, hatch=hatch, **box))


# --- lecture: drawings ------------------------------------------------------------------------------------------------


def three_shapes() -> None:
    """Draw one ticket as it is, refilled and regrouped."""
    mask = toy_mask()
    order = [row for group in TOY_GROUPS for row in group]
    blocks, _ = regroup.regroup(mask, [TOY_GROUPS], 2, 2, 2)
    refilled = regroup.refill(mask, mask.sum(dim=1).float(), 3)
    figure, axes = plots.new_figure(1, 3, width=10, height=3.1)
    cells(axes[0], mask.numpy(), f"the ticket: {int(mask.sum())} weights, anywhere")
    cells(axes[1], refilled.numpy(), f"the 3 fullest rows refilled: {int(refilled.sum())} weights")
    cells(axes[2], np.zeros_like(mask.numpy()), "regrouped: rows put together, holes filled", order)
    fill(axes[2], blocks, order, mask.numpy())
    plots.show(
        figure,
        "The same mask of eight rows and ten columns three times. Left, scattered dark squares. Middle, three whole "
        "dark rows and five empty ones. Right, the rows in another order: three blocks of rows in three colours, each "
        "with squares in its own columns; hatched squares are holes that were filled; strays are gone.",
    )


def refill_in_steps() -> None:
    """Draw the scores of rows as bars beside the mask, and the rows that are filled."""
    mask = toy_mask()
    weight = torch.randn(mask.shape, generator=torch.Generator().manual_seed(8)).abs() + 0.2
    scores = regroup.filter_scores(weight, mask)
    refilled = regroup.refill(mask, scores, 3)
    whole = refilled.any(dim=1).numpy()
    figure, axes = plots.new_figure(1, 3, width=10, height=3.1)
    sizes = (weight * mask).numpy()
    cells(axes[0], np.zeros_like(mask.numpy()), "trained weights: darker is larger")
    for row, column in np.argwhere(mask.numpy()):
        grey = str(round(0.85 - 0.8 * float(sizes[row, column] / sizes.max()), 3))
        axes[0].add_patch(patches.Rectangle((column, -row - 1), 0.9, 0.9, facecolor=grey, edgecolor="#bbbbbb"))
    colours = [plots.COLOURS[1] if yes else "#bbbbbb" for yes in whole]
    axes[1].barh(range(len(mask)), scores.numpy(), color=colours, hatch=["" if yes else "//" for yes in whole])
    axes[1].invert_yaxis()
    axes[1].set(xlabel="score", yticks=range(len(mask)))
    axes[1].set_title("Σ|w| of each row: the three largest", fontsize=10)
    axes[1].grid(axis="y", visible=False)
    cells(axes[2], refilled.numpy(), "those rows whole, the others empty")
    plots.show(
        figure,
        "Left, a mask of eight rows whose kept squares are shades of grey. Middle, a bar for each row; the three "
        "longest are blue, the others grey and hatched. Right, the same mask with exactly these three rows full and "
        "all other rows empty.",
    )


def mask_as_hypergraph() -> None:
    """Draw a small mask, the hypergraph of it, and the cut of two partitions."""
    mask = torch.tensor([[c == "#" for c in row] for row in ("##..", ".##.", "....", "###.", "...#", "..##")])
    rows, nets = regroup.mask_hypergraph(mask)
    figure, axes = plots.new_figure(1, 3, width=10.5, height=3.1)
    cells(axes[0], mask.numpy(), "six rows; column j is a net")
    places = [(0.5, 2.4), (0.2, 1.2), (1.5, 2.6), (2.8, 0.4), (2.4, 1.6)]
    for column in range(mask.shape[1]):
        axes[0].text(column + 0.45, 0.12, "abcd"[column], ha="center", fontsize=9)
    good, bad = [0, 0, 0, 1, 1], [0, 1, 0, 1, 0]
    for axis, groups, name in ((axes[1], good, "rows that share columns"), (axes[2], bad, "by chance")):
        for number, net in enumerate(nets):
            centre = np.mean([places[node] for node in net], axis=0) + 0.12 * np.array([np.cos(number), np.sin(number)])
            for node in net:
                line = {"color": "#777777", "linewidth": 1.2, "marker": "", "linestyle": "-"}
                axis.plot([centre[0], places[node][0]], [centre[1], places[node][1]], zorder=1, **line)
            axis.plot(*centre, marker="s", color="white", markeredgecolor="#555555", markersize=13, zorder=2)
            axis.text(*centre, "abcd"[number], ha="center", va="center", fontsize=8, zorder=3)
        for node, (x, y) in enumerate(places):
            marker, colour = ("o", plots.COLOURS[1]) if groups[node] == 0 else ("D", plots.COLOURS[2])
            axis.plot(x, y, marker=marker, color=colour, markersize=18, zorder=2)
            axis.text(x, y, str(rows[node]), ha="center", va="center", color="white", fontsize=9, zorder=3)
        axis.set(xlim=(-0.5, 3.4), ylim=(-0.1, 2.9))
        blank(axis, f"{name}: KM1 = {regroup.connectivity(nets, groups)}")
    axes[0].set_ylim(-6.3, 0.8)
    plots.show(
        figure,
        "Left, a mask of six rows and four columns, the third row empty. Middle and right, the hypergraph of it: five "
        "numbered nodes, one for each row that keeps something, and four small squares for the columns, each with "
        "lines to its rows. Nodes are blue circles or orange diamonds by their group. In the middle, where rows that "
        "share columns are together, only one net reaches into both groups; on the right three of the four do.",
    )


def one_group() -> None:
    """Draw the rows of one group, what is counted in each column, and the block that the threshold selects."""
    mask = torch.zeros(5, 12, dtype=torch.bool)
    for column, count in enumerate((0, 4, 1, 0, 5, 3, 1, 0, 3, 2, 4, 1)):
        mask[torch.randperm(5, generator=torch.Generator().manual_seed(column))[:count], column] = True
    t2 = 3
    (block,), rest = regroup.regroup_pass(mask, [list(range(5))], 4, t2, 3)
    figure, axes = plots.new_figure(1, 3, width=11, height=2.4)
    cells(axes[0], mask.numpy(), "a group of 5 rows (b₁ ≤ 5)")
    counts = mask.sum(dim=0).numpy()
    chosen = counts >= t2
    axes[1].bar(range(12), counts, color=[plots.COLOURS[1] if c else "#bbbbbb" for c in chosen],
                hatch=["" if c else "//" for c in chosen])  # fmt: skip
    axes[1].axhline(t2, color=plots.COLOURS[2], linestyle="--", marker="", label="t₂ = 3")
    axes[1].legend(fontsize=8)
    axes[1].set(xlabel="column", ylabel="rows that keep it", xticks=range(12))
    axes[1].set_title(f"columns with ≥ t₂: {int(chosen.sum())} (b₂ ≤ {int(chosen.sum())})", fontsize=10)
    cells(axes[2], rest.numpy(), "the block; dark: the rest")
    fill(axes[2], [block], range(5), mask.numpy())
    plots.show(
        figure,
        "Left, five rows of a mask with twelve columns. Middle, a bar for each column, how many of the rows keep it; a "
        "dashed line at three; the bars that reach it are blue. Right, those columns are coloured in all five rows, "
        "with hatched squares where a hole was filled; single dark squares in other columns are the rest.",
    )


def two_passes() -> None:
    """Draw what a first pass finds, what it leaves, what a second partition of that finds, and the end."""
    picture = ("##..#...", "##......", "##..##..", "..##..#.", "..#...##", "..##..##")
    mask = torch.tensor([[c == "#" for c in row] for row in picture])
    first, second = [[0, 1, 2], [3], [4, 5]], [[0, 2], [3, 4, 5], [1]]
    blocks, final = regroup.regroup(mask, [first, second], 2, 2, 1)
    two, left = regroup.regroup_pass(regroup.regroup_pass(mask, first, 2, 2, 1)[1], second, 2, 2, 1)
    one = blocks[: len(blocks) - len(two)]
    figure, axes = plots.new_figure(1, 4, width=11.5, height=2.6)
    inside = torch.zeros_like(mask)
    for rows, columns in one:
        inside[torch.tensor(rows)[:, None], torch.tensor(columns)] = True
    cells(axes[0], mask.numpy(), "the mask")
    cells(axes[1], (mask & ~inside).numpy(), "pass 1: blocks and rest")
    fill(axes[1], one, range(6), mask.numpy())
    cells(axes[2], left.numpy(), "pass 2, of that rest")
    fill(axes[2], two, range(6), mask.numpy(), first=len(one))
    cells(axes[3], np.zeros_like(final.numpy()), "the end: the union, no rest")
    fill(axes[3], blocks, range(6), mask.numpy())
    plots.show(
        figure,
        "The same mask four times. First as it is. Second, with the blocks of the first grouping in colour and the "
        "other kept squares dark. Third, what the second grouping finds among those dark squares, in colour, and what "
        "is still left. Fourth, all blocks together, in the same colours; the squares that were left over are gone.",
    )


def two_layouts() -> None:
    """Draw where the inputs of a block lie in memory in two layouts."""
    figure, axes = plots.new_figure(1, 2, width=10, height=3.2)
    chosen = (1, 4, 5)
    for axis, title, shape, by_row in (
        (axes[0], "[features, batch]: a feature is a row of memory", (7, 12), True),
        (axes[1], "[batch, features]: a feature is spread over all rows", (7, 12), False),
    ):
        for i, j in np.ndindex(*shape):
            hit = i in chosen if by_row else j in chosen
            colour = plots.COLOURS[1] if hit else "#eeeeee"
            axis.add_patch(
                patches.Rectangle((j, -i - 1), 0.92, 0.92, facecolor=colour, edgecolor="#cccccc", linewidth=0.4)
            )
        for i in range(shape[0]):
            arrow = {"arrowstyle": "->", "color": "#555555", "linewidth": 0.8}
            axis.annotate("", (shape[1] + 0.1, -i - 0.5), (0, -i - 0.5), arrowprops=arrow)
        axis.set(xlim=(-0.3, shape[1] + 0.6), ylim=(-shape[0] - 0.3, 0.3), aspect="equal")
        blank(axis, title)
        axis.set_xlabel("batch" if by_row else "features")
        axis.set_ylabel("features" if by_row else "batch")
    plots.show(
        figure,
        "Two grids of seven rows and twelve columns, with an arrow along each row for the order of memory. Left, three "
        "whole rows are coloured: three long pieces. Right, three columns are coloured: three single squares in each "
        "of the rows.",
    )


def before_and_after(layer: Mapping[str, Any], blocks: Sequence[Block]) -> None:
    """Draw a real mask as it is, and with the rows of each block put side by side and the blocks outlined."""
    mask = layer["mask"].numpy()
    figure, axes = plots.new_figure(2, 1, width=10, height=7)
    draw_mask(axes[0], mask, list(range(len(mask))), [])
    axes[0].set_title(f"{layer['name']}: the ticket, {mask.sum():,} of {mask.size:,} weights", fontsize=10)
    draw_mask(axes[1], mask, order_of(blocks, len(mask)), blocks)
    area = sum(len(rows) * len(columns) for rows, columns in blocks)
    axes[1].set_title(
        f"its rows by block: {len(blocks)} blocks of {area:,} weights in all (overlaps twice)", fontsize=10
    )
    plots.show(
        figure,
        "A matrix of dots twice. Above, dots are spread over all rows, denser in some columns. Below, the rows stand "
        "in another order, and behind the dots lie bands of colour: the columns of each block in the rows of its "
        "group. Dots outside of the bands are few in some groups and many in others.",
    )


def order_of(blocks: Sequence[Block], rows: int) -> list[int]:
    """Rows in the order of the first blocks that hold them, then the others."""
    seen = dict.fromkeys(row for block_rows, _ in blocks for row in block_rows)
    return [*seen, *(row for row in range(rows) if row not in seen)]


def draw_mask(axis: Axes, mask: np.ndarray, order: Sequence[int], blocks: Sequence[Block]) -> None:
    """A mask as a picture, rows in this order, the blocks in colour behind."""
    place_of = {row: place for place, row in enumerate(order)}
    picture = np.ones((*mask.shape, 3))
    for number, (rows, columns) in enumerate(blocks):
        colour = np.array([int(plots.COLOURS[1 + number % 5][i : i + 2], 16) for i in (1, 3, 5)]) / 255
        picture[np.ix_([place_of[row] for row in rows], columns)] = 0.45 + 0.55 * colour
    picture[mask[list(order)]] = 0.1
    axis.imshow(picture, interpolation="nearest", aspect="auto")
    starts = np.cumsum([len(rows) for rows, _ in first_of(blocks)])
    for start in starts:
        axis.axhline(start - 0.5, color="#666666", linewidth=0.5, linestyle="-", marker="")
    axis.set(xlabel="column", ylabel="row, in this order")
    axis.grid(visible=False)


def first_of(blocks: Sequence[Block]) -> list[Block]:
    """The blocks whose rows no block before them has."""
    seen: set[int] = set()
    found = []
    for rows, columns in blocks:
        if not seen & set(rows):
            found.append((rows, columns))
        seen |= set(rows)
    return found


# --- lecture: what was measured ---------------------------------------------------------------------------------------


def network(results: Results, place: int = WIDE) -> Mapping[str, Any]:
    return results["networks"][place]


def values(results: Results, what: str, key: str, place: int = WIDE) -> list[float]:
    """A quantity of one condition, 'regrouped/0.1', or of a round, 'round 3', one for each seed."""
    found = []
    for run in network(results, place)["runs"]:
        source = run["rounds"][int(what.split()[1])] if what.startswith("round") else run["conditions"][what]
        found.append(source[key])
    return found


def percent(results: Results, what: str, split: str = "test", place: int = WIDE) -> list[float]:
    """Errors in percent, one for each seed."""
    return [100 * wrong / results["data"][split] for wrong in values(results, what, f"{split}_errors", place)]


def milliseconds(results: Results, what: str, batch: int, place: int = WIDE, which: int = MEDIAN) -> list[float]:
    """Milliseconds of a network, one for each seed: the median, or the quartile that is asked for."""
    return [run["times"]["milliseconds"][str(batch)][what][which] for run in network(results, place)["runs"]]


def fastest_dense(results: Results, batch: int, place: int = WIDE, which: int = MEDIAN) -> list[float]:
    """Of the dense network in the better of both layouts."""
    both = [milliseconds(results, name, batch, place, which) for name in ("dense", "dense, [batch, features]")]
    return [min(pair) for pair in zip(*both, strict=True)]


def saved(results: Results, what: str, batch: int, place: int = WIDE, which: int = MEDIAN) -> list[float]:
    """Share of the dense network's time that is saved, one for each seed."""
    times = milliseconds(results, what, batch, place, which), fastest_dense(results, batch, place, which)
    return [1 - ms / dense for ms, dense in zip(*times, strict=True)]


def last_round(results: Results) -> str:
    """The ticket that is refilled and regrouped."""
    return f"round {results['settings']['rounds']}"


def no_worse(results: Results, what: str, rival: str, split: str = "validation", place: int = WIDE) -> list[bool]:
    """Whether a condition has no more errors than a rival, seed by seed."""
    pairs = zip(*(values(results, each, f"{split}_errors", place) for each in (what, rival)), strict=True)
    return [ours <= theirs for ours, theirs in pairs]


def chosen_area(results: Results, place: int = WIDE) -> float | None:
    """The smallest area at which the regrouped ticket has, in every seed, no more validation errors than the scattered
    ticket that it was made of; None if there is none."""
    areas = results["settings"]["areas"]
    good = [a for a in areas if all(no_worse(results, f"regrouped/{a}", last_round(results), place=place))]
    return min(good, default=None)


def share_kept(results: Results, what: str, place: int = WIDE) -> list[float]:
    return [weights / network(results, place)["weights"] for weights in values(results, what, "weights", place)]


def rounds_table(results: Results, place: int = WIDE) -> plots.Table:
    """What pruning costs: each round's weights and errors."""
    rows = []
    for number in range(results["settings"]["rounds"] + 1):
        what = f"round {number}"
        rows.append(
            [
                number,
                f"{np.mean(share_kept(results, what, place)):.1%}",
                plots.mean_and_range(percent(results, what, "validation", place), 2),
                plots.mean_and_range(percent(results, what, "test", place), 2),
            ]
        )
    return plots.Table(["round", "weights kept", "validation error (%)", "test error (%)"], rows)


def conditions_of(results: Results, place: int = WIDE) -> list[str]:
    return list(network(results, place)["runs"][0]["conditions"])


def errors_table(results: Results, place: int = WIDE) -> plots.Table:
    """All that was trained: weights, errors, and time saved at the largest batch."""
    batch = max(results["settings"]["batches"])
    timed = network(results, place)["runs"][0]["times"]["milliseconds"][str(batch)]
    rounds = [f"round {number}" for number in range(results["settings"]["rounds"] + 1)]
    rows = []
    for what in [*rounds, *conditions_of(results, place)]:
        number = int(what.split()[1]) if what in rounds else 0
        name = {"round 0": "dense"}.get(what, f"scattered ticket, {what}" if what in rounds else what.split("/")[0])
        clock = "dense" if what == "round 0" else f"CSR/{number}" if what in rounds else clock_of(what)
        rows.append(
            [
                name,
                "—" if what in rounds else f"{float(what.split('/')[1]):.0%}",
                f"{np.mean(share_kept(results, what, place)):.1%}",
                plots.mean_and_range(percent(results, what, "validation", place), 2),
                plots.mean_and_range(percent(results, what, "test", place), 2),
                f"{np.mean(saved(results, clock, batch, place)):.0%}".replace("-", "−") if clock in timed else "—",
            ]
        )
    columns = ["network", "area ≤", "weights kept", "validation error (%)", "test error (%)"]
    return plots.Table([*columns, f"time saved, batch {batch}"], rows)


def clock_of(what: str) -> str:
    """What a condition's time was measured as: masks of the same blocks take the same time."""
    name, area = what.split("/")
    same = {"regrouped, reinitialized": "regrouped", "small dense, longer": "small dense"}
    return f"{same.get(name, name)}/{area}"


def blocks_table(results: Results, place: int = WIDE) -> plots.Table:
    """What the blocks are like: thresholds, passes, area, what they catch, and KM1, by partitioner and by chance."""
    rows = []
    runs = network(results, place)["runs"]
    for key in runs[0]["blocks"]:
        way, area = key.split("/")
        for number, layer in enumerate(("first", "second")):
            found = [run["blocks"][key]["layers"][number] for run in runs]
            passes = " + ".join(str(count) for count in found[0]["blocks"])
            rows.append(
                [
                    {"regrouped": "partitioned", "random groups": "random"}[way],
                    f"{float(area):.0%}",
                    layer,
                    f"{np.mean([each['km1'] for each in found]):,.0f}",
                    ", ".join(str(t2) for t2 in sorted({each["t2"] for each in found})),
                    passes,
                    f"{np.mean([each['area'] for each in found]):.1%}",
                    f"{np.mean([each['covers'] for each in found]):.0%}",
                    f"{np.mean([each['columns'] for each in found]):.0f}",
                ]
            )
    columns = [
        "groups",
        "area ≤",
        "layer",
        "KM1",
        "t₂",
        "blocks by pass, seed 0",
        "area",
        "of the ticket",
        "columns read",
    ]
    return plots.Table(columns, rows)


def groups_table(groups: Results) -> plots.Table:
    """Partitioned and random groups with the same thresholds: area, what is caught, and errors."""
    rows = []
    for way in ("partitioned", "random"):
        found = [run[way] for run in groups["runs"]]
        row: list[object] = [way]
        for layer in (0, 1):
            for key, form in (("area", "{:.1%}"), ("covers", "{:.0%}"), ("columns", "{:.0f}")):
                row.append(form.format(np.mean([each["layers"][layer][key] for each in found])))
        errors = [100 * each["test_errors"] / groups["data"]["test"] for each in found]
        rows.append([*row, plots.mean_and_range(errors, 2)])
    columns = [f"{text}, layer {layer}" for layer in (1, 2) for text in ("area", "of the ticket", "columns")]
    return plots.Table(["groups", *columns, "test error (%)"], rows)


def groups_verdict(groups: Results) -> str:
    """Whether the partitioner's groups make fewer test errors than random ones, and have no more weights."""
    pairs = [(run["partitioned"], run["random"]) for run in groups["runs"]]
    fewer = in_seeds([a["test_errors"] < b["test_errors"] for a, b in pairs])
    lighter = in_seeds([a["weights"] <= b["weights"] for a, b in pairs])
    return f"fewer errors than random groups: {fewer}; at no more weights: {lighter}"


def times_table(results: Results, place: int = WIDE) -> plots.Table:
    """Milliseconds of whole networks by batch, and the share of the dense time that is saved."""
    rows = []
    batches = results["settings"]["batches"]
    for what in network(results, place)["runs"][0]["times"]["milliseconds"][str(batches[0])]:
        row: list[object] = [clock_name(results, what)]
        for batch in batches:
            ms = milliseconds(results, what, batch, place)
            row += [f"{np.mean(ms):.2f}", f"{np.mean(saved(results, what, batch, place)):.0%}".replace("-", "−")]
        rows.append(row)
    columns = [text for batch in batches for text in (f"batch {batch} (ms)", "saved")]
    return plots.Table(["network", *columns], rows)


def clock_name(results: Results, what: str) -> str:
    """'CSR, 6.2% kept' for 'CSR/2', 'regrouped, area ≤ 10%' for 'regrouped/0.1'."""
    name, _, detail = what.partition("/")
    if not detail:
        return name
    if "." in detail:
        return f"{name}, area ≤ {float(detail):.0%}"
    return f"{name}, {(1 - results['settings']['rate']) ** int(detail):.1%} kept"


RIVALS = ("refilled", "small dense")
SERIES = ("regrouped", "refilled", "small dense")


def error_against_time(results: Results, twins: Results, batch: int, place: int = WIDE) -> None:
    """Draw test error against the time of a batch: what was trained as the rounds were, and what was trained longer."""
    dense = float(np.mean(fastest_dense(results, batch, place)))
    rounds, areas = range(1, results["settings"]["rounds"] + 1), results["settings"]["areas"]

    def at(clock: str) -> float:
        return float(np.mean(milliseconds(results, clock, batch, place)))

    def several(what: str) -> list[tuple[float, list[float]]]:
        trained = [f"{what}/{a}" for a in areas if f"{what}/{a}" in conditions_of(results, place)]
        return [(at(clock_of(each)), percent(results, each, place=place)) for each in trained]

    given = twins["settings"]
    panels = {
        f"{results['settings']['epochs']} epochs": {
            "dense": [(dense, percent(results, "round 0", place=place))],
            "scattered tickets, CSR": [(at(f"CSR/{n}"), percent(results, f"round {n}", place=place)) for n in rounds],
        }
        | {what: several(what) for what in SERIES},
        f"{twins['epochs']} epochs": {
            "dense": [(dense, twin_percent(twins, "dense"))],
            "scattered tickets, CSR": [(at(f"CSR/{given['scattered']}"), twin_percent(twins, "scattered"))],
            "regrouped": [(at(f"regrouped/{given['area']}"), twin_percent(twins, "regrouped"))],
            "refilled": [],
            "small dense": several("small dense, longer"),
        },
    }
    figure, axes = plots.new_figure(1, 2, width=11.5, height=4.2)
    ticks = [t for t in (0.2, 0.5, 1, 2, 5, 10, 20) if 0.5 * min(1, dense) <= t <= 2 * dense]
    highest = max(max(errors) for each in panels.values() for dots in each.values() for _, errors in dots)
    for axis, (title, series) in zip(axes, panels.items(), strict=True):
        for label, dots in series.items():
            ms, errors = [time for time, _ in dots], [errors for _, errors in dots]
            (line,) = axis.plot(ms, [np.mean(e) for e in errors], label=label)
            low, high = [min(e) for e in errors], [max(e) for e in errors]
            axis.vlines(ms, low, high, color=line.get_color(), alpha=0.5)
        axis.axvline((1 - GOAL) * dense, color="#999999", linestyle=":", marker="", label="65% of the dense time saved")
        axis.set_title(f"{title}, mean over seeds with its range", fontsize=10)
        axis.set(xscale="log", xlabel=f"ms for a batch of {batch}, one thread", ylim=(0, 1.05 * highest))
        axis.set_xlim(0.8 * min(ticks), 2 * dense)
        axis.set_xticks(ticks, [f"{t:g}" for t in ticks])
        axis.minorticks_off()
    axes[0].set_ylabel("test error (%)")
    axes[1].legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    plots.show(
        figure,
        "Two panels, for six and for 18 epochs: test error against the time of a batch on a logarithmic axis. In both "
        "the dense network is far to the right and low, and small dense networks lie furthest to the left, lower the "
        "larger they are. Left, scattered tickets in CSR run from the upper left down to the dense network's error and "
        "then on to the right of it; regrouped tickets lie between, and a refilled ticket high on the left. Right, "
        "there is one scattered ticket, level with the dense network and at less than half of its time, and one "
        "regrouped ticket, faster and a little higher. A dotted line marks 65 percent of the dense time saved.",
    )


def race_curves(race: Mapping[str, Any]) -> None:
    """Draw times as fast as dense against the part of the weights kept, at three batches, for blocks and CSR."""
    ways = {
        "blocks of 64": "blocks of 64 rows",
        "blocks of 16": "blocks of 16 rows",
        "blocks of 16, [batch, features]": "blocks of 16, [batch, features]",
        "CSR": "CSR (PyTorch)",
        "SciPy's CSR": "CSR (SciPy)",
    }
    figure, axes = plots.new_figure(1, 3, width=11.5, height=3.6)
    batches = sorted({row["batch"] for row in race["rows"]})
    for axis, batch in zip(axes, batches, strict=True):
        rows = [row for row in race["rows"] if row["batch"] == batch]
        kept = [100 * row["kept"] for row in rows]
        for way, label in ways.items():
            axis.plot(kept, [race_gain(row, way) for row in rows], label=label, markersize=4)
        axis.axhline(1, color="#777777", linestyle=":", marker="")
        axis.set(xscale="log", yscale="log", xlabel="weights kept (%)", title=f"batch {batch}", ylim=(0.1, 20))
        axis.set_xticks([50, 20, 10, 5, 2], ["50", "20", "10", "5", "2"])
        axis.set_yticks([0.2, 0.5, 1, 2, 5, 10], ["0.2", "0.5", "1", "2", "5", "10"])
        axis.minorticks_off()
        axis.invert_xaxis()
    axes[0].set_ylabel("times as fast as dense")
    axes[-1].legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    plots.show(
        figure,
        "Three panels, for batches of 1, 64 and 256: times as fast as dense against the percentage of weights kept, "
        "both logarithmic. At batch 1 most curves lie below one; the two of CSR rise highest above it. At 64 and 256 "
        "blocks of 64 rows are above one from half of the weights on and rise as fewer are kept; those of 16 rows lie "
        "lower, and lower still with the batch first; the two CSR curves begin below one, cross it between three "
        "tenths and a tenth, at batch 256 come up to the blocks of 16 rows when few weights are kept, and at batch "
        "64 pass them.",
    )


def race_gain(row: Mapping[str, Any], way: str) -> float:
    """Times as fast as dense in the better layout."""
    ms = row["milliseconds"]
    return min(ms["dense"][0], ms["dense, [batch, features]"][0]) / ms[way][0]


def race_table(race: Mapping[str, Any], batch: int) -> plots.Table:
    """Milliseconds of one layer by part kept, and what packing took once."""
    rows = []
    for row in race["rows"]:
        if row["batch"] == batch:
            ms = {name: f"{median:.2f}" for name, (median, *_) in row["milliseconds"].items()}
            rows.append([f"{row['kept']:.1%}", *ms.values(), f"{row['packing']['64']:.0f}"])
    names = list(race["rows"][0]["milliseconds"])
    return plots.Table(["kept", *names, "packing 64, once"], rows)


# --- what is claimed --------------------------------------------------------------------------------------------------


def points_fewer(margins: Sequence[float]) -> str:
    """By how many points a network errs less than another, or more if it does in every seed; one margin for each."""
    if max(margins) < 0:
        return f"{plots.mean_and_range([-margin for margin in margins], 2)} points more"
    return f"{plots.mean_and_range(margins, 2)} points fewer".replace("-", "−")


def in_seeds(truths: Sequence[bool], yes: str = "holds in every seed") -> str:
    """Say in how many seeds something holds."""
    if len(truths) < 3:
        return "not testable with so few seeds"
    if all(truths):
        return yes
    return f"not: in {sum(truths)} of {len(truths)} seeds"


def goal_table(results: Results, place: int = WIDE) -> plots.Table:
    """The goal of this unit, judged on the test digits at the area that the validation digits chose."""
    area = chosen_area(results, place)
    if area is None:
        return plots.Table(["claim", "verdict"], [["as good as its scattered ticket", "at no area that was tried"]])
    ours, batch = f"regrouped/{area}", max(results["settings"]["batches"])
    ticket = last_round(results)
    rows: list[list[object]] = []

    def judged(claim: str, value: str, truths: Sequence[bool]) -> None:
        rows.append([claim, value, in_seeds(truths)])

    def compared(claim: str, rival: str, against: Callable[[float, float], bool] = lambda a, b: a <= b) -> None:
        pairs = list(zip(percent(results, ours, place=place), percent(results, rival, place=place), strict=True))
        judged(claim, points_fewer([b - a for a, b in pairs]), [against(a, b) for a, b in pairs])

    compared("errors: no more than its own scattered ticket", ticket)
    shares = saved(results, ours, batch, place)
    judged(f"time: at least 65% of dense saved, batch {batch}", plots.mean_and_range([100 * s for s in shares]) + "%",
           [s >= GOAL for s in shares])  # fmt: skip
    for other in [b for b in results["settings"]["batches"] if 1 < b < batch]:
        shares = saved(results, ours, other, place)
        judged(f"time: at least 65% of dense saved, batch {other}",
               plots.mean_and_range([100 * s for s in shares]) + "%", [s >= GOAL for s in shares])  # fmt: skip
    compared("errors: no more than the dense network", "round 0")
    for rival in ("regrouped, reinitialized", "refilled", "small dense"):
        if f"{rival}/{area}" in conditions_of(results, place):
            compared(f"errors: fewer than {rival}, as many weights", f"{rival}/{area}", lambda a, b: a < b)
    csr = milliseconds(results, f"CSR/{results['settings']['rounds']}", batch, place)
    pairs = list(zip(milliseconds(results, ours, batch, place), csr, strict=True))
    judged(f"time: less than its own scattered ticket in CSR, batch {batch}",
           plots.mean_and_range([c / o for o, c in pairs], 2) + "× as fast", [o < c for o, c in pairs])  # fmt: skip
    return plots.Table(["claim", "ours, mean (lowest–highest)", "verdict"], rows)


def meter_table(results: Results, groups: Results, place: int = WIDE) -> plots.Table:
    """The meter of unit 00: operations, bytes of the file, time and modelled energy of one image.

    Bytes: 4 for a weight, a bias or a column's index of CSR; 4 for each row and column number of a block. Energy: float
    operations, and every number read once from DRAM for a batch. groups: of `course reproduce groups`, which counts the
    numbers of blocks.
    """
    batch, settings = max(results["settings"]["batches"]), results["settings"]
    width = network(results, place)["width"]
    area = chosen_area(results, place) or settings["areas"][0]
    rows = []
    for name, what, clock in (
        ("dense", "round 0", "dense"),
        *(
            (f"scattered ticket, round {number}, CSR", f"round {number}", f"CSR/{number}")
            for number in (settings["rounds"] - 1, settings["rounds"])
        ),
        (f"regrouped, area ≤ {area:.0%}", f"regrouped/{area}", f"regrouped/{area}"),
        ("small dense, as many weights", f"small dense/{area}", f"small dense/{area}"),
    ):
        small = network(results, place)["runs"][0]["conditions"].get(what, {}).get("width")
        hidden = small or width
        macs = np.mean(values(results, what, "weights", place)) + 10 * hidden[1]
        numbers = macs + sum(hidden) + 10
        if clock.startswith("CSR"):
            numbers += macs - 10 * hidden[1] + sum(hidden)
        if clock.startswith("regrouped"):
            numbers += np.mean([run["partitioned"]["numbers"] for run in groups["runs"]])
        joules = inference_energy(macs, 0, numbers / batch, PICOJOULES)
        ms = np.mean(milliseconds(results, clock, batch, place)) / batch
        rows.append([name, f"{macs:,.0f}", f"{4 * numbers / 1000:,.0f}", f"{1000 * ms:.1f}", f"{1e6 * joules:.2f}"])
    columns = ["network", "MACs", "kB", f"µs an image, batch {batch}", "µJ an image (modelled)"]
    return plots.Table(columns, rows)


def rivals_table(results: Results, batch: int, place: int = WIDE) -> plots.Table:
    """What else saves time at a batch, trained as long: does it make fewer errors than the chosen blocks?"""
    area = chosen_area(results, place) or results["settings"]["areas"][0]
    ours = f"regrouped/{area}"
    rows = []
    rounds = [(f"round {n}", f"CSR/{n}") for n in range(1, results["settings"]["rounds"] + 1)]
    others = [(w, clock_of(w)) for w in conditions_of(results, place) if w.split("/")[0] in RIVALS]
    for what, clock in [*rounds, *others]:
        if clock not in network(results, place)["runs"][0]["times"]["milliseconds"][str(batch)]:
            continue
        errors, shares = percent(results, what, place=place), saved(results, clock, batch, place)
        better = [a < b for a, b in zip(errors, percent(results, ours, place=place), strict=True)]
        faster = [a > b for a, b in zip(shares, saved(results, ours, batch, place), strict=True)]
        name = clock_name(results, clock if clock.startswith("CSR") else what)
        rows.append([name, plots.mean_and_range(errors, 2), f"{np.mean(shares):.0%}".replace("-", "−"),
                     in_seeds(better, "in every seed"), in_seeds(faster, "in every seed")])  # fmt: skip
    columns = ["rival", "test error (%)", f"time saved, batch {batch}", "fewer errors than ours", "faster than ours"]
    return plots.Table(columns, rows)


def twin_percent(twins: Results, what: str) -> list[float]:
    """Test errors in percent of what `course reproduce twins` trained longer, one for each seed."""
    return [100 * run[what]["test_errors"] / twins["data"]["test"] for run in twins["runs"]]


def twins_table(results: Results, twins: Results) -> plots.Table:
    """Errors after the rounds' epochs and after more, the same for all; training time, and time saved."""
    settings, batch = twins["settings"], max(results["settings"]["batches"])
    total = network(results)["weights"]
    rows = []
    for what, clock, sooner in (
        ("dense", "dense", "round 0"),
        ("scattered", f"CSR/{settings['scattered']}", f"round {settings['scattered']}"),
        ("regrouped", f"regrouped/{settings['area']}", f"regrouped/{settings['area']}"),
        ("small dense", f"small dense/{settings['area']}", f"small dense/{settings['area']}"),
    ):
        rows.append(
            [
                clock_name(results, clock),
                f"{np.mean([run[what]['weights'] for run in twins['runs']]) / total:.1%}",
                plots.mean_and_range(percent(results, sooner), 2),
                plots.mean_and_range(twin_percent(twins, what), 2),
                f"{np.mean([run[what]['seconds'] for run in twins['runs']]):.0f}",
                f"{np.mean(saved(results, clock, batch)):.0%}",
            ]
        )
    epochs = [f"test error (%), {number} epochs" for number in (results["settings"]["epochs"], twins["epochs"])]
    columns = ["network", "weights kept", *epochs, "training (s)", f"time saved, batch {batch}"]
    return plots.Table(columns, rows)


def twins_claims(results: Results, twins: Results) -> plots.Table:
    """Who makes fewer test errors, all trained for as many epochs unless it says otherwise."""
    sooner, larger = results["settings"]["epochs"], max(results["settings"]["areas"])
    dense, ours = twin_percent(twins, "dense"), twin_percent(twins, "regrouped")
    rows = []
    for claim, mine, theirs in (
        ("the scattered ticket: no more than dense", twin_percent(twins, "scattered"), dense),
        ("blocks: no more than dense", ours, dense),
        (f"blocks: no more than dense after {sooner} epochs", ours, percent(results, "round 0")),
        ("blocks: no more than the scattered ticket", ours, twin_percent(twins, "scattered")),
        ("blocks: no more than small dense, as many weights", ours, twin_percent(twins, "small dense")),
        (
            f"blocks: no more than small dense, area ≤ {larger:.0%}",
            ours,
            percent(results, f"small dense, longer/{larger}"),
        ),
    ):
        points = [b - a for a, b in zip(mine, theirs, strict=True)]
        rows.append([claim, points_fewer(points), in_seeds([p >= 0 for p in points])])
    return plots.Table(["claim", "mean (lowest–highest)", "verdict"], rows)


def paper_table(results: Results, place: int = WIDE) -> plots.Table:
    """The paper's time saved without loss, and ours at no more errors than the dense network."""
    paper, batch = results["paper"], max(results["settings"]["batches"])
    rows: list[list[object]] = [
        [f"group-wise, {name}", "none, as the paper counts", f"{number:.2f}%"]
        for name, number in paper["no_loss"].items()
    ]
    rows += [[f"refilled, {name}", "none, as the paper counts", f"{n:.2f}%"] for name, n in paper["refill"].items()]
    loss = paper["imagenet_with_loss"]
    rows.append([f"group-wise, ImageNet at {loss['sparsity']}%", f"{loss['points_lost']} points", f"{loss['saved']}%"])
    for area in results["settings"]["areas"]:
        what = f"regrouped/{area}"
        pairs = zip(percent(results, what, place=place), percent(results, "round 0", place=place), strict=True)
        lost = plots.mean_and_range([a - b for a, b in pairs], 2)
        shares = [100 * share for share in saved(results, what, batch, place)]
        rows.append([f"ours, MLP, area ≤ {area:.0%}", f"{lost} points", plots.mean_and_range(shares, 1) + "%"])
    return plots.Table(["network", "accuracy lost against dense", "time saved"], rows)


def saves_without_loss(results: Results, place: int = WIDE) -> str:
    """The paper's headline by our rule: the most time saved at no more errors than dense in every seed."""
    batch = max(results["settings"]["batches"])
    good = [
        a for a in results["settings"]["areas"] if all(no_worse(results, f"regrouped/{a}", "round 0", "test", place))
    ]
    if not good:
        return "nothing: at no area that we tried is the regrouped ticket as good as the dense network in every seed"
    best = max(good, key=lambda area: float(np.mean(saved(results, f"regrouped/{area}", batch, place))))
    return f"{np.mean(saved(results, f'regrouped/{best}', batch, place)):.0%}"
