"""Approximation: a trained network rebuilt by masks alone, and edge-popup's networks that are never trained."""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

State = dict[str, Tensor]
CHUNK = 4096  # weights whose sums are held at once


@torch.no_grad()
def rebuild(weight: Tensor, units: int, seed: int) -> tuple[Tensor, Tensor]:
    """A matrix made by pruning random two-layer units, `units` of them for each weight.

    Every weight has units of its own, second · relu(first · x), with first uniform from 0
    to 1 and second from −a to a, where a is the largest |weight|. Inputs are never negative,
    so units with first < 0 would never act, and one side is enough: each weight becomes the
    nearest subset sum of its products first · second.

    Returns the matrix that the kept units compute, and how many are kept for each weight.
    """
    generator = Generator().manual_seed(seed)
    scale = float(weight.abs().max())
    rebuilt, kept = [], []
    bits = torch.arange(2**units)[:, None] >> torch.arange(units) & 1
    for targets in weight.flatten().split(CHUNK):
        first = torch.rand(len(targets), units, generator=generator)
        second = scale * (2 * torch.rand(len(targets), units, generator=generator) - 1)
        sums = torch.zeros(len(targets), 1)
        for product in (first * second).T:
            sums = torch.cat([sums, sums + product[:, None]], dim=1)
        nearest = (sums - targets[:, None]).abs_().argmin(1)
        rebuilt.append(sums.gather(1, nearest[:, None]).squeeze(1))
        kept.append(bits.sum(1)[nearest])
    return torch.cat(rebuilt).view(weight.shape), torch.cat(kept).view(weight.shape)


def rebuild_network(state: State, units: int, seed: int) -> State:
    """Every tensor of an MLP rebuilt; a bias is a weight of an input that is always 1."""
    return {name: rebuild(value, units, 1000 * seed + number)[0] for number, (name, value) in enumerate(state.items())}


def random_masks(state: State, units: int, seed: int) -> State:
    """The control: random subsets of as many units, each kept with probability one half."""
    generator = Generator().manual_seed(seed)
    made = {}
    for name, value in state.items():
        first, second, keep = (torch.rand(units, *value.shape, generator=generator) for _ in range(3))
        made[name] = value.abs().max() * (first * (2 * second - 1) * (keep < 0.5)).sum(0)
    return made


def quantize(state: State, bits: int) -> State:
    """The rival: each tensor on 2^bits equally spaced levels from its least to its largest entry."""
    made = {}
    for name, value in state.items():
        low, high = value.min(), value.max()
        step = (high - low) / (2**bits - 1)
        made[name] = low + ((value - low) / step).round() * step
    return made


def popup(hidden: Tensor, weight: Tensor, scores: Tensor, keep: float) -> Tensor:
    """`popup_layer` for scores without equals: the k-th largest is found without sorting them, and sooner."""
    kept = round(keep * scores.numel())
    least = scores.detach().flatten().kthvalue(scores.numel() - kept + 1).values
    through = (scores.detach() >= least) + (scores - scores.detach())
    return F.linear(hidden, through * weight)


class PopupNetwork(nn.Module):
    """A ReLU network of random weights that stay, and scores that are trained (Ramanujan 2020).

    Weights are ±√(2/(in · keep)): the paper's signed constant, scaled for what is kept.
    """

    def __init__(self, sizes: Sequence[int], keep: float, by_size: bool, seed: int) -> None:
        """by_size: rank by |score|, as the authors' program does; the sign of a score then passes into its gradient."""
        super().__init__()
        generator = Generator().manual_seed(seed)
        self.keep, self.by_size = keep, by_size
        self.weights, self.scores = [], nn.ParameterList()
        for inputs, outputs in pairwise(sizes):
            signs = 2 * torch.randint(0, 2, (outputs, inputs), generator=generator) - 1
            self.weights.append((2 / (inputs * keep)) ** 0.5 * signs)
            limit = inputs**-0.5  # Kaiming uniform with a = √5, as in the authors' program
            self.scores.append(nn.Parameter(limit * (2 * torch.rand(outputs, inputs, generator=generator) - 1)))

    def forward(self, images: Tensor) -> Tensor:
        hidden = images.flatten(1)
        for number, (weight, scores) in enumerate(zip(self.weights, self.scores, strict=True)):
            if number:
                hidden = hidden.relu()
            hidden = popup(hidden, weight, scores.abs() if self.by_size else scores, self.keep)
        return hidden
