"""Mutants and right variants of unit 15."""

import torch

from tests.checks.catalogue import mutant, right


@mutant("15.1", "rounds down")
def grid_floor(values, step):
    return torch.floor(values / step) * step


@mutant("15.1", "cuts off, towards zero")
def grid_trunc(values, step):
    return torch.trunc(values / step) * step


@mutant("15.1", "returns the number of steps")
def grid_counts(values, step):
    return torch.round(values / step)


@mutant("15.1", "works in place")
def grid_in_place(values, step):
    return values.div_(step).round_().mul_(step)


@right("15.1")
def grid_by_remainder(values, step):
    return values - torch.remainder(values + step / 2, step) + step / 2


@right("15.1")
def grid_by_floor(values, step):
    return torch.floor(values / step + 0.5) * step
