"""Numbers that are multiples of a step."""

import torch
from torch import Tensor


def to_grid(values: Tensor, step: float) -> Tensor:
    """Each value's nearest multiple of `step`, which is above 0. Any shape."""
    return torch.round(values / step) * step


def levels(values: Tensor, step: float) -> int:
    """How many different multiples of `step` the values come to."""
    return len(to_grid(values, step).unique())
