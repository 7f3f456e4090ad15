"""Unit 08: tickets on hardware.

T. Chen, X. Chen, X. Ma, Y. Wang and Z. Wang, *Coarsening the Granularity: Towards Structurally Sparse Lottery Tickets*,
ICML 2022, arXiv:2202.04736 (IMP-Refill, IMP-Regroup).
Ü. Çatalyürek and C. Aykanat, *Hypergraph-Partitioning-Based Decomposition for Parallel Sparse-Matrix Vector
Multiplication*, IEEE Transactions on Parallel and Distributed Systems 10 (1999), pp. 673–693 (a matrix as a hypergraph,
connectivity − 1).

A mask is bool, True where a weight is kept. That of a linear layer is [rows, columns], one row for each unit; that of
a convolution is read as [filters, channels · height · width]. Rows, columns, nodes and groups are Python's ints, in
lists. A block is a pair (rows, columns): all weights at their crossings.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

Block = tuple[list[int], list[int]]  # rows, columns


def filter_scores(weight: Tensor, mask: Tensor) -> Tensor:
    """How much is kept of each filter: the sum of its kept weights' sizes (Chen 2022, 3.2).

    weight: [N, ...], of any float dtype, with one further axis or more; mask: bool, of
    the same shape. Returns [N], same dtype: Σ|w| over the weights where the mask is True.
    What stands elsewhere counts for nothing, NaN too.
    """
    return weight.abs().masked_fill(~mask, 0).flatten(1).sum(dim=1)


def refill(mask: Tensor, scores: Tensor, count: int) -> Tensor:
    """Give the best filters all their weights back, and the others none (Chen 2022, 3.2).

    mask: bool [N, ...]. scores: [N], of any float dtype. count: from 1 to N. Returns a new
    mask, same shape: all True in exactly `count` filters, those of the largest scores and
    of equal scores the first, all False in the others.
    """
    best = torch.sort(scores, descending=True, stable=True).indices[:count]
    refilled = torch.zeros_like(mask)
    refilled[best] = True
    return refilled


def mask_hypergraph(mask: Tensor) -> tuple[list[int], list[list[int]]]:
    """A mask as a hypergraph: a node for each row, a net for each column (Çatalyürek 1999).

    mask: bool [rows, columns]. Returns (rows, nets). rows: the numbers of the rows with at
    least one kept weight, ascending; node i stands for the row rows[i]. nets: for each
    column with at least two kept weights, from the first column on, the ascending list of
    the nodes (not rows) that keep a weight there. Equal columns are nets of their own.
    """
    rows = mask.any(dim=1).nonzero().flatten().tolist()
    members = [column.nonzero().flatten().tolist() for column in mask[rows].unbind(dim=1)]
    # A net of one node cannot be cut
    return rows, [nodes for nodes in members if len(nodes) >= 2]


def connectivity(nets: Sequence[Sequence[int]], groups: Sequence[int]) -> int:
    """What a partitioner makes small: in how many groups too many each net lies.

    nets: lists of nodes, none empty. groups: by node, the number of its group. Returns
    KM1 = Σ over all nets of (how many different groups its nodes are in, minus 1), an int.
    """
    return sum(len({groups[node] for node in net}) - 1 for net in nets)


def regroup_pass(
    mask: Tensor,
    groups: Sequence[Sequence[int]],
    b1: int,
    t2: int,
    b2: int,
) -> tuple[list[Block], Tensor]:
    """Find the dense blocks of one partition (Chen 2022, algorithm 3, lines 3 to 10).

    mask: bool [rows, columns]. groups: lists of row numbers, in any order, of which none is
    in two; rows may be in none. b1, t2, b2: at least 1. A group of at least b1 rows selects
    the columns in which at least t2 of its rows keep a weight. If it has selected at least
    b2, all its rows and these columns are a block.

    Returns (blocks, rest): the blocks as pairs of lists (rows, columns), both ascending, in
    the order of the groups; and a new mask, what is kept in `mask` outside all of them.
    """
    blocks, rest = [], mask.clone()
    for group in groups:
        rows = sorted(group)
        columns = (mask[rows].sum(dim=0) >= t2).nonzero().flatten().tolist()
        if len(rows) >= b1 and len(columns) >= b2:
            blocks.append((rows, columns))
            rest[torch.tensor(rows)[:, None], columns] = False
    return blocks, rest


def block_matmul(x: Tensor, weight: Tensor, blocks: Sequence[Block]) -> Tensor:
    """Multiply by the weights inside of blocks only.

    x: [batch, in]. weight: [out, in], same dtype. blocks: pairs (rows, columns) of lists of
    ints, in any order, none empty and none with a number twice. Returns x @ w.T,
    [batch, out], where w is the weight inside of the blocks and 0 elsewhere: blocks may
    overlap, and each weight counts once. Weights outside and inputs in no block's columns
    are not read; they may be NaN. Without blocks all is 0. Differentiable in x and weight.
    """
    product = x.new_zeros(len(x), len(weight))
    open_places = torch.ones(weight.shape, dtype=torch.bool)
    for rows, columns in blocks:
        places = torch.tensor(rows)[:, None], torch.tensor(columns)
        part = weight[places].masked_fill(~open_places[places], 0)
        # y_R ← y_R + W_RC x_C
        product = product.index_add(1, torch.tensor(rows), x[:, columns] @ part.T)
        open_places[places] = False
    return product


def regroup(
    mask: Tensor,
    partitions: Sequence[Sequence[Sequence[int]]],
    b1: int,
    t2: int,
    b2: int,
) -> tuple[list[Block], Tensor]:
    """From a scattered mask to one that is made of dense blocks (Chen 2022, algorithm 3).

    mask: bool [rows, columns]. partitions: for each pass through the loop its groups, as
    for `regroup_pass`; pass i divides what the passes before it left by partitions[i].
    b1, t2, b2: as there. The loop ends after the last partition, or with the first pass
    that finds no block: later partitions are not tried.

    Returns (blocks, mask): the blocks of all passes, in the order in which they were found,
    and a new mask that is True in all of each block and nowhere else, all False if no
    block was found.
    """
    blocks: list[Block] = []
    rest = mask
    for groups in partitions:
        found, rest = regroup_pass(rest, groups, b1, t2, b2)
        if not found:
            break
        blocks += found
    regrouped = torch.zeros_like(mask)
    for rows, columns in blocks:
        regrouped[torch.tensor(rows)[:, None], columns] = True
    return blocks, regrouped
