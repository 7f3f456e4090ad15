"""Who divides the rows of a mask into groups: a partitioner of hypergraphs, or chance.

L. Gottesbüren, T. Heuer, N. Maas, P. Sanders and S. Schlag, *Scalable High-Quality Hypergraph Partitioning*, ACM
Transactions on Algorithms 20 (2024), arXiv:2303.17679 (Mt-KaHyPar).
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from course_utils.regroup import Block, mask_hypergraph, regroup_pass

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
        return random_groups(rows, count, seed)
    of_node, _ = partition_nodes(len(rows), nets, count, seed)
    groups: Groups = [[] for _ in range(count)]
    for row, group in zip(rows, of_node, strict=True):
        groups[group].append(row)
    return [group for group in groups if group]


def random_groups(rows: Sequence[int], count: int, seed: int) -> Groups:
    """The same rows in as many groups of equal size, by chance: the control. Empty groups are left out."""
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
