"""Who divides the rows of a mask into groups: a partitioner of hypergraphs, or chance.

L. Gottesbüren, T. Heuer, N. Maas, P. Sanders and S. Schlag, *Scalable High-Quality Hypergraph Partitioning*, ACM
Transactions on Algorithms 20 (2024), arXiv:2303.17679 (Mt-KaHyPar).
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from course_utils.regroup import Block, mask_hypergraph, regroup, regroup_pass

Groups = list[list[int]]


@cache
def _partitioner() -> tuple[Any, Any]:
    """Mt-KaHyPar and its state, on one thread: a process sets it up once."""
    try:
        import mtkahypar
    except ImportError as error:
        raise ModuleNotFoundError(
            "Dividing a mask's rows needs Mt-KaHyPar: install it with `pip install mtkahypar`, or use stored groups."
        ) from error
    return mtkahypar, mtkahypar.initialize(1)


def partition_nodes(nodes: int, nets: Sequence[Sequence[int]], count: int, seed: int) -> tuple[list[int], int]:
    """Divide a hypergraph's nodes into `count` groups of about equal size, with few nets cut.

    Returns the group of each node, and the partitioner's own KM1. ModuleNotFoundError without Mt-KaHyPar.
    """
    kahypar, state = _partitioner()
    kahypar.set_seed(seed)
    context = state.context_from_preset(kahypar.PresetType.LARGE_K)
    context.logging = False
    context.set_partitioning_parameters(count, 0.03, kahypar.Objective.KM1)
    found = state.create_hypergraph(context, nodes, len(nets), nets).partition(context)
    return found.get_partition(), found.km1()


def partition(rows: Sequence[int], nets: Sequence[Sequence[int]], count: int, seed: int) -> Groups:
    """The rows of a mask in at most `count` groups; rows, nets: from `mask_hypergraph`. Empty groups are left out.

    ModuleNotFoundError without Mt-KaHyPar.
    """
    if len(rows) <= count or not nets:
        return random_groups(rows, nets, count, seed)
    of_node, _ = partition_nodes(len(rows), nets, count, seed)
    groups: Groups = [[] for _ in range(count)]
    for row, group in zip(rows, of_node, strict=True):
        groups[group].append(row)
    return [group for group in groups if group]


def random_groups(rows: Sequence[int], nets: Sequence[Sequence[int]], count: int, seed: int) -> Groups:
    """The control: the same rows in as many groups of equal size by chance, whatever the nets. No group is empty."""
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed)).tolist()
    groups = [[rows[place] for place in order[first::count]] for first in range(count)]
    return [group for group in groups if group]


def partitions_of(
    mask: Tensor,
    count: int,
    thresholds: tuple[int, int, int],
    seed: int,
    divide: Callable[..., Groups] = partition,
    passes: int = 3,
) -> list[Groups]:
    """The groups that `regroup` is to be given, pass by pass: each divides the rows of what is left.

    thresholds: b1, t2, b2. Ends with the pass that finds no block, or after `passes`.
    """
    partitions: list[Groups] = []
    found: list[Block] = [([], [])]
    while found and len(partitions) < passes:
        partitions.append(divide(*mask_hypergraph(mask), count, seed + len(partitions)))
        found, mask = regroup_pass(mask, partitions[-1], *thresholds)
    return partitions


def blocks_within(
    mask: Tensor,
    count: int,
    area: float,
    seed: int,
    divide: Callable[..., Groups] = partition,
    b1: int = 4,
    b2: int = 16,
    passes: int = 3,
) -> tuple[int, list[int], list[Block]]:
    """Regroup a mask with the smallest t2 whose blocks are at most the fraction `area` of the matrix.

    count: groups in each pass. Returns t2, how many blocks each pass found, and all blocks.
    """
    first = divide(*mask_hypergraph(mask), count, seed)  # does not depend on t2

    def regrouped(t2: int) -> tuple[list[Groups], list[Block], Tensor]:
        found, rest = regroup_pass(mask, first, b1, t2, b2)
        partitions = [first]
        if found and passes > 1:
            partitions += partitions_of(rest, count, (b1, t2, b2), seed + 1, divide, passes - 1)
        return partitions, *regroup(mask, partitions, b1, t2, b2)

    def small_enough(t2: int) -> bool:
        return float(regrouped(t2)[2].float().mean()) <= area

    t2 = 1 + bisect_left(range(1, max(map(len, first)) + 1), True, key=small_enough)
    partitions, blocks, _ = regrouped(t2)
    by_pass, rest = [], mask
    for groups in partitions:
        found, rest = regroup_pass(rest, groups, b1, t2, b2)
        by_pass.append(len(found))
    return t2, by_pass, blocks
