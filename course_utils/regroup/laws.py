"""Laws of unit 08, tickets on hardware."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from course_utils.checks import expect
from course_utils.checks.draw import Draw
from course_utils.checks.engine import Unit

unit = Unit("regroup")
filter_scores = unit.exercise("8.1a", "filter_scores", points=2, minutes=5, difficulty=1)
refill = unit.exercise("8.1b", "refill", points=2, minutes=10, difficulty=2, fresh=True)
mask_hypergraph = unit.exercise("8.2a", "mask_hypergraph", points=3, minutes=15, difficulty=3)
connectivity = unit.exercise("8.2b", "connectivity", points=2, minutes=10, difficulty=2)
regroup_pass = unit.exercise("8.3", "regroup_pass", points=4, minutes=20, difficulty=3, fresh=True)
block_matmul = unit.exercise("8.4", "block_matmul", points=4, minutes=20, difficulty=4)
regroup = unit.exercise("8.5", "regroup", points=5, minutes=25, difficulty=4, fresh=True)

DOUBLE = torch.float64
HALVES = (torch.float16, torch.bfloat16)


def drawn(text: str) -> Tensor:
    """A mask from a picture: rows apart by spaces, # kept, . pruned."""
    return torch.tensor([[place == "#" for place in row] for row in text.split()])


def inside(blocks: Sequence[tuple[list[int], list[int]]], like: Tensor) -> Tensor:
    """Bool, where a block lies, weight by weight."""
    found = torch.zeros(like.shape, dtype=torch.bool)
    for rows, columns in blocks:
        for row in rows:
            for column in columns:
                found[row, column] = True
    return found


def some_groups(draw: Draw, rows: int, count: int) -> list[list[int]]:
    """Groups of different sizes in any order; some rows are in none."""
    order = draw.permutation(rows).tolist()
    cuts = sorted(draw.integer(1, rows - 1) for _ in range(count))
    return [order[a:b] for a, b in pairwise(cuts) if b > a] or [order[:-1]]


# --- 8.1a filter_scores -----------------------------------------------------------------------------------------------


@filter_scores.law(
    "weights 3, −4 | 5, 0 | 1, 1, where 3, −4 | 0 | nothing are kept: scores 7, 0, 0; with all kept 7, 5, 2",
    hint="Sizes, not signed values: |w|, only where the mask is True, added up in each filter.",
    trials=1,
)
def scores_example(function, draw):
    weight = torch.tensor([[3.0, -4.0], [5.0, 0.0], [1.0, 1.0]])
    kept = torch.tensor([[True, True], [False, True], [False, False]])
    expect.close(function(weight, kept), torch.tensor([7.0, 0.0, 0.0]), "the scores")
    every = torch.ones_like(kept)
    expect.close(function(weight, every), torch.tensor([7.0, 5.0, 2.0]), "the scores with all kept")
    expect.close(function(weight[..., None], every[..., None]), torch.tensor([7.0, 5.0, 2.0]), "of kernels [2, 1]")
    large = torch.tensor([[2.0**17, -(2.0**17)]], dtype=torch.bfloat16)
    wanted = torch.tensor([2.0**18], dtype=torch.bfloat16)
    expect.equal(function(large, torch.ones_like(large, dtype=torch.bool)), wanted, "the score of large weights")
    for dtype, count in ((torch.float16, 4096), (torch.bfloat16, 512)):
        ones = torch.ones(1, count, dtype=dtype)
        expect.close(function(ones, ones > 0), count * ones[:, 0], f"the score of {count} ones in {dtype}", 0.05)
    expect.equal(function(weight[:, :0], kept[:, :0]), torch.zeros(3), "the scores of filters without a weight")


@filter_scores.law(
    "filter by filter it is the L1 norm of the kept weights, for two to five axes, in the weight's own dtype",
    hint="Add over all axes but the first, in each filter by itself: a sum, no mean and no count of what is kept.",
)
def scores_sum(function, draw):
    for axes in (2, 3, 4, 5):
        shape = [draw.integer(3, 6), draw.integer(1, 7), *(draw.integer(1, 3) for _ in range(axes - 2))]
        for dtype, rtol in ((torch.float32, 1e-4), (DOUBLE, 1e-9), (torch.float16, 0.01), (torch.bfloat16, 0.05)):
            weight, mask = draw.normal(*shape, dtype=dtype), draw.mask(*shape, keep=0.6)
            sums = [torch.linalg.vector_norm(w[m].double(), ord=1) for w, m in zip(weight, mask, strict=True)]
            got = function(weight, mask)
            expect.same_kind(got, weight.new_zeros(len(weight)), f"the scores of {list(shape)} in {dtype}")
            expect.close(got.double(), torch.stack(sums), f"the scores of {list(shape)}", rtol, rtol)


@filter_scores.law(
    "what stands outside of the mask counts for nothing: NaN and infinity too, and a filter with nothing kept has 0",
    hint="0 · NaN is NaN: do not multiply by the mask. masked_fill or torch.where put a 0 there.",
    trials=2,
)
def scores_outside(function, draw):
    spoilt = torch.tensor([[torch.nan, 1.0], [-torch.inf, 2.0], [torch.nan, 3.0]])
    kept = torch.tensor([[True, True], [True, False], [False, True]])
    wanted = torch.tensor([torch.nan, torch.inf, 3.0])
    expect.close(function(spoilt, kept), wanted, "the scores with a kept NaN and a kept infinity")
    weight, mask = draw.normal(5, 6, 3), draw.mask(5, 6, 3, keep=0.4)
    mask[draw.integer(0, 4)] = False
    wanted = [float(w[m].abs().sum()) for w, m in zip(weight, mask, strict=True)]
    for value in (0.0, torch.nan, torch.inf, -torch.inf):
        spoilt = weight.masked_fill(~mask, value)
        expect.close(function(spoilt, mask), torch.tensor(wanted), f"the scores with {value} outside")


@filter_scores.law(
    "tiny weights count too: at 1e-20 of the size the scores are 1e-20 of what they were, and none is cut off",
    hint="No ε, no threshold, no rounding.",
    trials=1,
)
def scores_scale(function, draw):
    weight, mask = draw.normal(4, 9, dtype=DOUBLE), draw.mask(4, 9, keep=0.7)
    wanted = torch.stack([w[m].abs().sum() for w, m in zip(weight, mask, strict=True)])
    for scale in (1e-20, 1e20, -1.0):
        expect.close(
            function(weight * scale, mask) / abs(scale), wanted, f"at scale {scale:g}, scaled back", 1e-9, 1e-9
        )


# --- 8.1b refill ------------------------------------------------------------------------------------------------------


@refill.law(
    "scores 1, 5, 5, 2 and count 2: filters 1 and 2 are whole and the others empty; count 1 takes the first 5",
    hint="Sort the scores from the largest on, with stable=True, and fill the first `count` filters.",
    trials=1,
)
def refill_example(function, draw):
    mask = drawn("##. #.. ..# .##")
    scores = torch.tensor([1.0, 5.0, 5.0, 2.0])
    expect.equal(function(mask, scores, 2), drawn("... ### ### ..."), "the mask")
    expect.equal(function(mask, scores, 1), drawn("... ### ... ..."), "the mask for count 1")
    expect.equal(function(mask, scores, 4), drawn("### ### ### ###"), "the mask for count 4")
    expect.equal(function(mask, torch.zeros(4), 3), drawn("### ### ### ..."), "the mask for equal scores")
    low = torch.tensor([-torch.inf, 2.0, -torch.inf, -torch.inf])
    expect.equal(function(mask, low, 3), drawn("### ### ### ..."), "the mask for scores of minus infinity")
    largest = torch.finfo(torch.float32).max
    high = torch.tensor([1.0, largest, torch.inf, torch.inf])
    expect.equal(function(mask, high, 2), drawn("... ... ### ###"), "the mask for infinite scores")
    tiny = torch.tensor([1e-20, 2e-20, 1e-20, 0.0])
    expect.equal(function(mask, tiny, 1), drawn("... ### ... ..."), "the mask for scores of 1e-20")
    expect.equal(function(mask[:1], scores[:1], 1), drawn("###"), "the mask of a single filter")
    done = drawn("... ### ### ...")
    expect.equal(function(done, scores, 2), done, "the mask of one that is refilled already")


@refill.law(
    "exactly `count` filters are whole, all others empty, whatever was kept before; bool, in the mask's shape",
    hint="The mask gives only the shape: nothing of it stays in the other filters, and an empty filter can be filled.",
)
def refill_count(function, draw):
    for axes in (1, 2, 3, 4):
        n = draw.size(3, 9)
        shape = [n, *(draw.integer(1, 4) for _ in range(axes - 1))]
        mask, scores = draw.mask(*shape, keep=0.5), draw.normal(n)
        for count in (1, draw.integer(1, n), n):
            got = function(mask, scores, count)
            expect.same_kind(got, mask, "the mask")
            whole = [bool(filter_.all()) for filter_ in got]
            expect.true(
                whole == [bool(filter_.any()) for filter_ in got], "a filter is neither whole nor empty", got=got
            )
            expect.true(sum(whole) == count, "the number of whole filters", count, sum(whole))
            worst = min(s for s, w in zip(scores.tolist(), whole, strict=True) if w)
            better = [s for s, w in zip(scores.tolist(), whole, strict=True) if not w and s > worst]
            expect.true(not better, "a filter of a larger score is empty", got=better)


@refill.law(
    "of equal scores the first are filled, among hundreds too, and negative scores and half precision are ranked",
    hint="topk and an unstable sort take any of equals; a threshold takes all of them.",
    trials=2,
)
def refill_ties(function, draw):
    n, count = 600, draw.integer(200, 400)
    for dtype in (torch.float32, DOUBLE, *HALVES):
        scores = torch.from_numpy(draw.rng.integers(-3, 2, n)).to(dtype)
        ranked = sorted(range(n), key=lambda i, scores=scores: (-float(scores[i]), i))
        wanted = torch.zeros(n, 2, dtype=torch.bool)
        wanted[ranked[:count]] = True
        expect.equal(function(draw.mask(n, 2), scores, count), wanted, f"the mask for many equal scores in {dtype}")
    near = torch.tensor([1.0, 1.0 + 1e-12, 1.0 - 1e-12], dtype=DOUBLE)
    expect.equal(function(draw.mask(3, 1), near, 1), torch.tensor([[False], [True], [False]]), "scores 1e-12 apart")
    near = torch.tensor([1.0, 1.0 + 2.0**-52, 1.0], dtype=DOUBLE)
    expect.equal(function(draw.mask(3, 1), near, 1), torch.tensor([[False], [True], [False]]), "scores 2e-16 apart")


# --- 8.2a mask_hypergraph ---------------------------------------------------------------------------------------------


def hypergraph(function: Callable, mask: Tensor) -> tuple[list[int], list[list[int]]]:
    """Both lists, after their form has been looked at."""
    got = function(mask)
    expect.true(isinstance(got, list | tuple) and len(got) == 2, "the result is not a pair (rows, nets)", got=got)
    rows, nets = got
    expect.true(isinstance(rows, list) and all(type(r) is int for r in rows), "rows is no list of ints", got=rows)
    well = isinstance(nets, list) and all(isinstance(net, list) and all(type(i) is int for i in net) for net in nets)
    expect.true(well, "nets is no list of lists of ints", got=nets)
    return rows, nets


@mask_hypergraph.law(
    "rows #.#. | .... | #.## | .#..: nodes for rows 0, 2, 3; columns 0, 2 are nets of nodes 0, 1, the others none",
    hint="Node i is the i-th row that keeps something. A net holds nodes; a column with one kept weight has none.",
    trials=1,
)
def hypergraph_example(function, draw):
    expect.equal(hypergraph(function, drawn("#.#. .... #.## .#..")), ([0, 2, 3], [[0, 1], [0, 1]]), "(rows, nets)")
    expect.equal(hypergraph(function, drawn("... ##. .#. .##")), ([1, 2, 3], [[0, 1, 2]]), "(rows, nets)")
    expect.equal(hypergraph(function, drawn("... ...")), ([], []), "(rows, nets) of an empty mask")
    expect.equal(hypergraph(function, drawn("... .#. ...")), ([1], []), "(rows, nets) of a single weight")
    expect.equal(hypergraph(function, drawn("### ###")), ([0, 1], [[0, 1]] * 3), "(rows, nets) of three equal columns")
    for shape in ((2, 0), (0, 2)):
        nothing = torch.zeros(shape, dtype=torch.bool)
        expect.equal(hypergraph(function, nothing), ([], []), f"(rows, nets) of a mask {list(shape)}")
    expect.equal(hypergraph(function, drawn("#.. .#. ..#")), ([0, 1, 2], []), "(rows, nets) of a diagonal")
    expect.equal(
        hypergraph(function, drawn("## ## ##")), ([0, 1, 2], [[0, 1, 2], [0, 1, 2]]), "(rows, nets) of a full one"
    )


@mask_hypergraph.law(
    "each net, by rows[node], is a column's kept rows, ascending; columns come in their order, equal ones apart",
    hint="Go through the columns from left to right and list, of each, the nodes whose row keeps a weight there.",
    trials=4,
)
def hypergraph_columns(function, draw):
    n, columns = draw.size(2, 60), draw.size(3, 90)
    mask = draw.mask(n, columns, keep=draw.uniform(0.05, 0.5)) & draw.mask(n, 1, keep=0.8)
    mask[:, -1] = mask[:, 0]
    rows, nets = hypergraph(function, mask)
    picture = mask.tolist()
    alive = [row for row in range(n) if any(picture[row])]
    expect.equal(rows, alive, "rows")
    by_column = [[row for row in range(n) if picture[row][column]] for column in range(columns)]
    wanted = [members for members in by_column if len(members) > 1]
    expect.true(len(nets) == len(wanted), "the number of nets", len(wanted), len(nets))
    for got, members in zip(nets, wanted, strict=True):
        expect.true(all(0 <= node < len(rows) for node in got), "a node that no row has", f"below {len(rows)}", got)
        expect.equal([rows[node] for node in got], members, "the rows of a net")


@mask_hypergraph.law(
    "with more than 256 rows, most of them empty, nodes are numbered on and rows keep their numbers",
    hint="Python's ints have no end; small integer types do.",
    trials=1,
)
def hypergraph_large(function, draw):
    mask = torch.zeros(700, 3, dtype=torch.bool)
    mask[::2, 1], mask[699, 2], mask[4, 2] = True, True, True
    rows, nets = hypergraph(function, mask)
    expect.equal(rows, [*range(0, 700, 2), 699], "rows")
    expect.equal(nets, [list(range(350)), [2, 350]], "nets")
    mask = torch.zeros(256, 256, dtype=torch.bool)
    mask[0], mask[:, 0] = True, True
    wanted = list(range(256)), [list(range(256))]
    expect.equal(hypergraph(function, mask), wanted, "(rows, nets) of a row and a column that keep 256 each")
    expect.equal(hypergraph(function, mask[:1]), ([0], []), "(rows, nets) of a row that keeps 256")
    expect.equal(hypergraph(function, mask[:, :1]), wanted, "(rows, nets) of a column that keeps 256")
    wanted = list(range(2050)), [list(range(2050))]
    expect.equal(hypergraph(function, torch.ones(2050, 1, dtype=torch.bool)), wanted, "(rows, nets) of 2,050 rows")


# --- 8.2b connectivity ------------------------------------------------------------------------------------------------


@connectivity.law(
    "nets 0, 1, 2 | 2, 3 | 0, 3 with groups a, a, b, b: 1 + 0 + 1 = 2; with four groups 2 + 1 + 1 = 4; with one 0",
    hint="For each net count the different groups of its nodes, less one, and add up: not only whether it is cut.",
    trials=1,
)
def connectivity_example(function, draw):
    nets = [[0, 1, 2], [2, 3], [0, 3]]
    for groups, wanted in (
        ([0, 0, 1, 1], 2),
        ([0, 1, 2, 3], 4),
        ([5, 5, 5, 5], 0),
        ([7, 7, -2, 7], 2),
        ([4, 1, 4, 1], 3),
        ([0, 2**8, 2**16, 2**32], 4),
        ([-1, -2, 1, 2], 4),
        ([2**53, 2**53 + 1, 2**53, 2**53 + 1], 3),
    ):
        expect.equal(function(nets, groups), wanted, f"KM1 with groups {groups}")
    expect.equal(function([], [0, 1]), 0, "KM1 without nets")
    expect.equal(function([[1], [0, 1, 2, 3]], [3, 0, 1, 2]), 3, "KM1 with a net of one node")
    expect.equal(function([[0, 1, 0]], [0, 1]), 1, "KM1 with a net that names a node twice")


@connectivity.law(
    "every node in a group of its own: Σ(size − 1); all in one: 0; other names for the groups change nothing",
    hint="Group numbers are only names: any ints, with gaps, negative ones too. Equal nets count each.",
)
def connectivity_ends(function, draw):
    nodes = draw.size(3, 300)
    nets = [draw.permutation(nodes)[: draw.integer(1, nodes)].tolist() for _ in range(draw.integer(2, 12))]
    nets.append(list(nets[0]))
    expect.equal(function(nets, list(range(nodes))), sum(map(len, nets)) - len(nets), "KM1 of groups of one")
    expect.equal(function(nets, [3] * nodes), 0, "KM1 of one group")
    groups = [draw.integer(0, 4) for _ in range(nodes)]
    named = [(-1000, 7, 10**6, 2, -1)[group] for group in groups]
    expect.equal(function(nets, named), function(nets, groups), "KM1 with the groups renamed", calls=2)


@connectivity.law(
    "moving one node of a net of its own into its neighbour's group takes off exactly 1",
    hint="Look a node's group up by its number: groups[node].",
)
def connectivity_move(function, draw):
    nodes = draw.size(4, 40)
    groups = [draw.integer(0, 3) for _ in range(nodes)]
    nets = [draw.permutation(nodes)[: draw.integer(2, nodes)].tolist() for _ in range(5)]
    a, b = draw.permutation(nodes)[:2].tolist()
    groups[a], groups[b] = 8, 9
    added = function([*nets, [a, b]], groups) - function(nets, groups)
    expect.true(added == 1, "what a net of two nodes in two groups adds", 1, added)
    groups[b] = 8
    added = function([*nets, [a, b]], groups) - function(nets, groups)
    expect.true(added == 0, "what a net of two nodes in one group adds", 0, added)


# --- 8.3 regroup_pass -------------------------------------------------------------------------------------------------

# Rows 0, 2, 5 share columns 1 and 3; rows 1, 4 share column 0
PICTURE = ".#.#. #.... .#.## ..#.. #...# .#..."


def split(function: Callable, *arguments: Any) -> tuple[list[Any], Tensor]:
    """(blocks, a mask), after their form has been looked at."""
    got = function(*arguments)
    expect.true(isinstance(got, list | tuple) and len(got) == 2, "the result is not a pair (blocks, mask)", got=got)
    blocks, rest = got
    expect.true(isinstance(blocks, list), "blocks is no list", got=blocks)
    for block in blocks:
        pair = isinstance(block, list | tuple) and len(block) == 2 and all(isinstance(side, list) for side in block)
        expect.true(pair, "a block is not a pair of lists (rows, columns)", got=block)
        expect.true(all(type(i) is int for side in block for i in side), "a block holds no ints", got=block)
    expect.same_kind(rest, arguments[0], "the mask")
    return blocks, rest


@regroup_pass.law(
    ".#.#. | #.... | .#.## | ..#.. | #...# | .#...: rows 5, 0, 2 with t2 = 2 are a block of columns 1, 3; so rest",
    hint="In a group's rows count, column by column, what is kept: columns with at least t2 are the block's.",
    trials=1,
)
def pass_example(function, draw):
    mask = drawn(PICTURE)
    groups = [[5, 0, 2], [4, 1], [3]]
    blocks, rest = split(function, mask, groups, 2, 2, 1)
    expect.equal(blocks, [([0, 2, 5], [1, 3]), ([1, 4], [0])], "the blocks")
    expect.equal(rest, drawn("..... ..... ....# ..#.. ....# ....."), "the rest")
    blocks, rest = split(function, mask, groups, 1, 1, 1)
    wanted = [([0, 2, 5], [1, 3, 4]), ([1, 4], [0, 4]), ([3], [2])]
    expect.equal(blocks, wanted, "the blocks of t2 = 1")
    expect.equal(rest, torch.zeros_like(mask), "the rest of t2 = 1")
    expect.equal(split(function, mask, [], 1, 1, 1), ([], mask), "blocks and rest without groups")


@regroup_pass.law(
    "a block needs at least b1 rows and b2 columns, a column at least t2 kept weights: met exactly, it counts",
    hint="≥, not >, at all three; b1 counts the group's rows, b2 the columns that were selected.",
    trials=1,
)
def pass_thresholds(function, draw):
    mask = drawn("###.. ##.#. ##... ...#.")
    group = [[0, 1, 2]]  # columns 0 and 1 keep three, 2 and 3 one
    for b1, t2, b2, wanted in (
        (3, 3, 2, [([0, 1, 2], [0, 1])]),
        (4, 3, 2, []),
        (3, 4, 1, []),
        (3, 3, 3, []),
        (3, 1, 4, [([0, 1, 2], [0, 1, 2, 3])]),
        (3, 1, 5, []),
        (1, 2, 1, [([0, 1, 2], [0, 1])]),
        # As many places as b1 · b2, in too few rows or too few columns
        (6, 1, 1, []),
        (2, 3, 3, []),
    ):
        blocks, rest = split(function, mask, group, b1, t2, b2)
        expect.equal(blocks, wanted, f"the blocks with b1 = {b1}, t2 = {t2}, b2 = {b2}")
        expect.equal(rest, mask & ~inside(wanted, mask), f"the rest with b1 = {b1}, t2 = {t2}, b2 = {b2}")


@regroup_pass.law(
    "a block has all rows of its group, one that keeps nothing there too; rows and columns ascend, blocks do as groups",
    hint="Sort the group's rows; do not drop the rows that are empty in the selected columns, nor renumber them.",
    trials=2,
)
def pass_order(function, draw):
    mask = torch.zeros(9, 6, dtype=torch.bool)
    mask[[7, 8], 4], mask[[7, 8], 1], mask[[0, 3], 5] = True, True, True
    blocks, _ = split(function, mask, [[8, 2, 7], [3, 0]], 2, 2, 1)
    expect.equal(blocks, [([2, 7, 8], [1, 4]), ([0, 3], [5])], "the blocks")
    blocks, _ = split(function, mask, [[3, 0], [8, 2, 7]], 2, 2, 1)
    expect.equal(blocks, [([0, 3], [5]), ([2, 7, 8], [1, 4])], "the blocks with the groups the other way round")
    # Rows 0, 3 and 5 have column 5 alone, rows 0 and 3 are too few
    for groups in ([[0, 3, 5], [8, 2, 7]], [[3, 0], [8, 2, 7]], [[], [8, 2, 7], []]):
        blocks, _ = split(function, mask, groups, 3, 2, 2)
        expect.equal(blocks, [([2, 7, 8], [1, 4])], f"the only block of the groups {groups}")
    full = torch.ones(12, 2, dtype=torch.bool)
    wanted = [([row], [0, 1]) for row in range(12)], ~full
    expect.equal(
        split(function, full, [[row] for row in range(12)], 1, 1, 2), wanted, "the result of twelve equal rows"
    )
    single = torch.zeros(12, 12, dtype=torch.bool)
    single[3, 3] = True
    wanted = [(list(range(12)), [3])], torch.zeros_like(single)
    expect.equal(split(function, single, [list(range(12))], 12, 1, 1), wanted, "the result of twelve rows, one weight")
    few = split(function, single, [list(range(12))], 13, 1, 1)
    expect.equal(few, ([], single), "the result of twelve rows, where thirteen are needed")
    nothing = full[:, :0]
    expect.equal(split(function, nothing, [[0, 1]], 1, 1, 1), ([], nothing), "the result of a mask without columns")


@regroup_pass.law(
    "rest is the mask outside of the blocks: disjoint from them, nothing added, rows in no group untouched",
    hint="Start from a copy of the mask and set a block's crossings to False: rest[rows][:, columns] = … sets a copy.",
    trials=4,
)
def pass_rest(function, draw):
    rows, columns = draw.size(5, 40), draw.size(4, 60)
    mask = draw.mask(rows, columns, keep=draw.uniform(0.2, 0.6))
    groups = some_groups(draw, rows, 4)
    b1, t2, b2 = draw.integer(1, 3), draw.integer(1, 3), draw.integer(1, 3)
    blocks, rest = split(function, mask, groups, b1, t2, b2)
    covered = inside(blocks, mask)
    expect.equal(rest, mask & ~covered, "the rest")
    wanted = []
    for group in groups:
        chosen = [column for column in range(columns) if sum(bool(mask[row, column]) for row in group) >= t2]
        if len(group) >= b1 and len(chosen) >= b2:
            wanted.append((sorted(group), chosen))
    expect.equal(blocks, wanted, "the blocks")


@regroup_pass.law(
    "planted blocks come back, of 300 rows as well, where a column keeps more than 256 weights",
    hint="Counts in a type of 8 bits start again at 0 after 255, those in half precision are rounded.",
    trials=1,
)
def pass_planted(function, draw):
    mask = torch.zeros(620, 9, dtype=torch.bool)
    order = draw.permutation(620).tolist()
    first, second = order[:300], order[300:600]
    mask[torch.tensor(first)[:, None], [0, 3, 4]] = True
    mask[torch.tensor(second)[:, None], [1, 4, 8]] = True
    mask[first[0], 3] = False
    blocks, rest = split(function, mask, [first, second, order[600:]], 300, 250, 3)
    expect.equal(blocks, [(sorted(first), [0, 3, 4]), (sorted(second), [1, 4, 8])], "the planted blocks")
    expect.true(not rest.any(), "something is left of planted blocks", got=int(rest.sum()))
    rows = list(range(2049))
    blocks, _ = split(function, torch.ones(2049, 1, dtype=torch.bool), [rows], 2049, 2049, 1)
    expect.equal(blocks, [(rows, [0])], "the block of 2,049 rows")


# --- 8.4 block_matmul -------------------------------------------------------------------------------------------------


def some_blocks(draw: Draw, out: int, inputs: int, count: int) -> list[tuple[list[int], list[int]]]:
    """Blocks anywhere, which may overlap; the last input and the last row are in none."""
    return [
        (
            sorted(draw.permutation(out - 1)[: draw.integer(1, out - 1)].tolist()),
            sorted(draw.permutation(inputs - 1)[: draw.integer(1, inputs - 1)].tolist()),
        )
        for _ in range(count)
    ]


@block_matmul.law(
    "inputs 1, 10, 100, weights 1 … 6 in two rows, block (row 1, columns 0 and 2): outputs 0 and 4 + 600",
    hint="y[:, rows] gets x[:, columns] @ W[rows, columns].T; both lists choose at once: weight[rows][:, columns].",
    trials=1,
)
def product_example(function, draw):
    x, weight = torch.tensor([[1.0, 10.0, 100.0]]), torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    expect.close(function(x, weight, [([1], [0, 2])]), torch.tensor([[0.0, 604.0]]), "one block")
    blocks = [([0, 1], [0, 1]), ([1], [2])]
    expect.close(function(x, weight, blocks), torch.tensor([[21.0, 654.0]]), "two blocks with a row in common")
    expect.close(function(x, weight, [([0, 1], [0, 1, 2])]), x @ weight.T, "the whole as one block")
    crossed = function(x, weight, [([1, 0], [2, 0])])
    expect.close(crossed, torch.tensor([[301.0, 604.0]]), "a block of rows 1, 0 and columns 2, 0")
    expect.equal(function(x, weight, []), torch.zeros(1, 2), "no block")
    for dtype in (DOUBLE, *HALVES):
        nothing = function(x.to(dtype), weight.to(dtype), [])
        expect.equal(nothing, torch.zeros(1, 2, dtype=dtype), f"no block in {dtype}")
    line = torch.arange(12.0)[None]
    diagonal = [([place], [place]) for place in range(12)]
    expect.close(function(line, torch.ones(12, 12), diagonal), line, "twelve blocks of one weight")
    expect.equal(function(x[:0], weight, blocks), torch.zeros(0, 2), "the product of an empty batch")
    large = torch.tensor([[2.0**17, 1.0]], dtype=torch.bfloat16)
    wanted = torch.tensor([[2.0**18]], dtype=torch.bfloat16)
    expect.equal(function(large, 2 * torch.ones_like(large), [([0], [0])]), wanted, "the product of large inputs")


@block_matmul.law(
    "blocks (0, 1 | 0, 1) and (1 | 1, 2) share the weight at 1, 1: it counts once",
    hint="Blocks of two passes may overlap. Keep a mask of what has been multiplied, or add up in a weight first.",
    trials=1,
)
def product_overlap(function, draw):
    x, weight = torch.tensor([[1.0, 10.0, 100.0]]), torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    blocks = [([0, 1], [0, 1]), ([1], [1, 2])]
    expect.close(function(x, weight, blocks), torch.tensor([[21.0, 654.0]]), "two blocks that overlap")
    expect.close(function(x, weight, [blocks[0], *blocks]), torch.tensor([[21.0, 654.0]]), "one of them twice")
    whole = [([0, 1], [0, 1, 2]), ([0], [2]), ([0, 1], [2])]
    expect.close(function(x, weight, whole), x @ weight.T, "blocks inside of a block")


@block_matmul.law(
    "it is x @ w.T with w the weight inside of the blocks, in every dtype; rows in no block are exactly 0",
    hint="Add a block's product to its rows, for a row may be in several blocks: index_add, or +=, not =.",
    trials=4,
)
def product_masked(function, draw):
    batch, inputs, out = draw.size(1, 9), draw.size(3, 60), draw.size(3, 50)
    for dtype, tolerance in ((DOUBLE, 1e-9), (torch.float32, 1e-4), (torch.float16, 0.1), (torch.bfloat16, 0.8)):
        x, weight = draw.normal(batch, inputs, dtype=dtype), draw.normal(out, inputs, dtype=dtype)
        blocks = some_blocks(draw, out, inputs, 4)
        masked = torch.where(inside(blocks, weight), weight.double(), 0.0)
        got = function(x, weight, blocks)
        expect.same_kind(got, x.new_zeros(batch, out), f"the product in {dtype}")
        expect.close(got.double(), x.double() @ masked.T, f"the product in {dtype}", 0.02, tolerance)
        if dtype is DOUBLE:
            expect.close(got, x @ masked.T, "the product in float64", 1e-9, 1e-9)
        expect.equal(got[:, -1], x.new_zeros(batch), "the row in no block")


@block_matmul.law(
    "weights outside of the blocks and inputs in none of their columns are not read: NaN and infinity may stand there",
    hint="No product with all of x or weight: 0 · NaN is NaN. Gather the block's columns first.",
    trials=2,
)
def product_unread(function, draw):
    inner = torch.tensor([[torch.nan, 1.0], [2.0, 3.0], [torch.inf, 4.0]])
    got = function(torch.ones(1, 2), inner, [([0, 2], [0, 1]), ([1], [0]), ([2], [0])])
    expect.close(got, torch.tensor([[torch.nan, 2.0, torch.inf]]), "the product with NaN and infinity in blocks")
    read = torch.tensor([[torch.nan, 1.0], [2.0, torch.inf], [2.0, 1.0]])
    wanted = torch.tensor([[torch.nan, torch.nan], [torch.inf, torch.inf], [4.0, 4.0]])
    expect.close(function(read, torch.tensor([[1.0, 2.0]] * 2), [([0, 1], [0, 1])]), wanted, "the product of read NaN")
    inputs, out = draw.size(4, 30), draw.size(4, 30)
    x, weight, blocks = draw.normal(3, inputs), draw.normal(out, inputs), some_blocks(draw, out, inputs, 3)
    covered = inside(blocks, weight)
    wanted = x @ torch.where(covered, weight, 0.0).T
    for value in (torch.nan, torch.inf):
        spoilt = x.masked_fill(~covered.any(dim=0), value)
        got = function(spoilt, weight.masked_fill(~covered, value), blocks)
        expect.close(got, wanted, f"the product with {value} outside", atol=1e-4)
        expect.equal(function(torch.full_like(x, value), weight, []), torch.zeros(3, out), f"no block, inputs {value},")


@block_matmul.law(
    "its gradients are those of the masked product, 0 outside of the blocks, where NaN may stand",
    hint="Only operations that keep the graph: no .data, no .item(), no NumPy, no new tensor made of values.",
    trials=2,
)
def product_gradient(function, draw):
    inputs, out = draw.size(4, 12), draw.size(4, 12)
    blocks = some_blocks(draw, out, inputs, 3)
    x, weight = draw.normal(5, inputs, dtype=DOUBLE), draw.normal(out, inputs, dtype=DOUBLE)
    covered, chosen = inside(blocks, weight), draw.normal(5, out, dtype=DOUBLE)
    weight = weight.masked_fill(~covered, torch.nan)
    x.requires_grad_(), weight.requires_grad_()
    got = expect.gradient((function(x, weight, blocks) * chosen).sum(), [x, weight], "the product")
    known = torch.where(covered, weight.detach(), 0.0)
    expect.close(got[0], chosen @ known, "the gradient of x", 1e-9, 1e-9)
    expect.close(got[1], torch.where(covered, chosen.T @ x.detach(), 0.0), "the gradient of weight", 1e-9, 1e-9)


# --- 8.5 regroup ------------------------------------------------------------------------------------------------------


@regroup.law(
    "one pass: the blocks of regroup_pass, and a mask that is True in all of each block and nowhere else",
    hint="Line 12 of the algorithm: what is outside of the blocks goes, what is pruned inside comes back.",
    trials=3,
)
def regroup_once(function, draw):
    mask = drawn(PICTURE)
    blocks, got = split(function, mask, [[[5, 0, 2], [4, 1], [3]]], 2, 2, 1)
    expect.equal(blocks, [([0, 2, 5], [1, 3]), ([1, 4], [0])], "the blocks")
    expect.equal(got, drawn(".#.#. #.... .#.#. ..... #.... .#.#."), "the mask")
    blocks, _ = split(function, mask, [[[4, 1], [3], [5, 0, 2]]], 2, 2, 1)
    expect.equal(blocks, [([1, 4], [0]), ([0, 2, 5], [1, 3])], "the blocks with the groups in another order")
    one = split(function, drawn("... ..# ... ... ..."), [[[0, 1, 2, 3, 4]]], 5, 1, 1)
    expect.equal(one, ([([0, 1, 2, 3, 4], [2])], drawn("..# " * 5)), "the result of five rows, one weight")
    rows, columns = draw.size(5, 30), draw.size(4, 40)
    mask, groups = draw.mask(rows, columns, keep=0.4), some_groups(draw, rows, 3)
    blocks, got = split(function, mask, [groups], 1, 2, 1)
    expect.equal(got, inside(blocks, mask), "the mask")
    chosen = [[c for c in range(columns) if int(mask[group, c].sum()) >= 2] for group in groups]
    wanted = [(sorted(group), some) for group, some in zip(groups, chosen, strict=True) if some]
    expect.equal(blocks, wanted, "the blocks")


@regroup.law(
    "no block found, no partition given, or an empty mask: no blocks, and a mask that is all False",
    hint="The scattered mask is not given back: what is in no block is pruned, also if that is all.",
    trials=1,
)
def regroup_nothing(function, draw):
    mask = drawn("#.. .#. ..#")
    nothing = torch.zeros_like(mask)
    for partitions in ([], [[[0, 1, 2]]], [[[0, 1], [2]], [[0], [1, 2]]]):
        expect.equal(
            split(function, mask, partitions, 1, 2, 1), ([], nothing), f"the result of {len(partitions)} passes"
        )
    expect.equal(split(function, nothing, [[[0, 1, 2]]], 1, 1, 1), ([], nothing), "the result of an empty mask")


@regroup.law(
    "##.. | ##.. | ..## | ..## by two partitions: pass 2 finds in the rest what pass 1 could not",
    hint="Each pass divides what is left by the passes before it, by its own groups.",
    trials=2,
    share=0.25,
)
def regroup_second_pass(function, draw):
    mask = drawn("##.. ##.. ..## ..##")
    blocks, got = split(function, mask, [[[0, 1], [2], [3]], [[0], [1], [2, 3]]], 2, 2, 2)
    expect.equal(blocks, [([0, 1], [0, 1]), ([2, 3], [2, 3])], "the blocks")
    expect.equal(got, mask, "the mask")
    # What the first pass has covered is not found again, so column 1 alone is left for rows 1, 2
    mask = drawn("##. ### .##")
    blocks, got = split(function, mask, [[[0, 1], [2]], [[1, 2], [0]]], 2, 2, 1)
    expect.equal(blocks, [([0, 1], [0, 1]), ([1, 2], [2])], "the blocks of overlapping groups")
    expect.equal(got, drawn("##. ### ..#"), "the mask of overlapping groups")
    twice = split(function, drawn("##. ##. .##"), [[[0, 1]], [[1, 2]]], 2, 1, 1)
    wanted = [([0, 1], [0, 1]), ([1, 2], [1, 2])], drawn("##. ### .##")
    expect.equal(twice, wanted, "the result of blocks that share the place 1, 1")
    few = split(function, drawn("#. #. .# .."), [[[0, 1]], [[2, 3]]], 2, 1, 1)
    wanted = [([0, 1], [0]), ([2, 3], [1])], drawn("#. #. .# .#")
    expect.equal(few, wanted, "the result of a second pass for a single weight")
    single, passes = torch.eye(12, dtype=torch.bool), [[[row]] for row in range(12)]
    wanted = [([row], [row]) for row in range(12)], single
    expect.equal(split(function, single, passes, 1, 1, 1), wanted, "the result of twelve passes")
    # In pass 2 all rows are in blocks already; rows 1 and 3 share one column, and that is too few
    crossed = split(function, drawn("##..##. ##....# ..####. ..##..#"), [[[0, 1], [2, 3]], [[1, 3], [0, 2]]], 2, 2, 2)
    wanted = [([0, 1], [0, 1]), ([2, 3], [2, 3]), ([0, 2], [4, 5])], drawn("##..##. ##..... ..####. ..##...")
    expect.equal(crossed, wanted, "the result of rows that are divided anew")
    small = split(function, drawn("#. #. #. .# .."), [[[0, 1]], [[2], [3, 4]]], 2, 1, 1)
    expect.equal(small, ([([0, 1], [0]), ([3, 4], [1])], drawn("#. #. .. .# .#")), "the result with a group of one row")
    again = split(function, mask, [[[0, 1], [2]]] * 3, 2, 2, 1)
    expect.equal(again, ([([0, 1], [0, 1])], drawn("##. ##. ...")), "the result of the same groups three times")


@regroup.law(
    "it ends with the first pass without a block: a third partition that would find one is not tried",
    hint="'while dense block can be found': a pass that found none is the last one.",
    trials=1,
    share=0.25,
)
def regroup_stops(function, draw):
    mask = drawn("##.. ##.. ..## ..##")
    good, useless, late = [[0, 1]], [[0, 2], [1, 3]], [[2, 3]]
    blocks, got = split(function, mask, [good, useless, late], 2, 2, 2)
    expect.equal(blocks, [([0, 1], [0, 1])], "the blocks")
    expect.equal(got, drawn("##.. ##.. .... ...."), "the mask")
    expect.equal(split(function, mask, [useless, good], 2, 2, 2), ([], torch.zeros_like(mask)), "an empty first pass")
    expect.equal(
        split(function, mask, [[], good], 2, 2, 2), ([], torch.zeros_like(mask)), "a first pass without groups"
    )
    blocks, _ = split(function, mask, [good, good, late], 2, 2, 2)
    expect.equal(blocks, [([0, 1], [0, 1])], "the blocks after the same groups twice")
    blocks, _ = split(function, mask, [good, late, useless], 2, 2, 2)
    expect.equal(blocks, [([0, 1], [0, 1]), ([2, 3], [2, 3])], "the blocks in another order")


@regroup.law(
    "planted blocks, with holes in them and noise around, come back whole from the right partition",
    hint="If all other laws hold, this one does: the mask is the union of the blocks, full inside.",
    trials=3,
)
def regroup_planted(function, draw):
    size, wide, count = draw.size(4, 12), draw.size(4, 10), 3
    rows = draw.permutation(count * size + 5).tolist()
    groups = [rows[i * size : (i + 1) * size] for i in range(count)]
    planted = torch.zeros(len(rows), 40, dtype=torch.bool)
    for group in groups:
        planted[torch.tensor(group)[:, None], draw.permutation(40)[:wide]] = True
    mask = planted.clone()
    for i, group in enumerate(groups):  # one hole in each block, and one stray weight in each group
        row = group[i % size]
        mask[row, int(planted[row].nonzero()[0])] = False
        mask[row, int((~planted[row]).nonzero()[0])] = True
    blocks, got = split(function, mask, [groups, [rows[:1]]], size, size - 1, 1)
    expect.true(len(blocks) == count, "the number of blocks", count, len(blocks))
    expect.equal(got, planted, "the mask")
