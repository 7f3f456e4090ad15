"""A change of the data whose rank is known: pixels turned in planes, and what undoes it."""

import torch
from torch import Tensor

from course_utils.data import Split
from course_utils.models import mlp_forward

WEIGHT, BIAS = "1.weight", "1.bias"  # of the first layer of `models.mlp`, which alone is tuned
State = dict[str, Tensor]


def rotation(images: Tensor, planes: int) -> tuple[Tensor, Tensor]:
    """(R, μ): a quarter turn in the planes of the first principal components 1 and 2, 3 and 4, and so on."""
    pixels = images.flatten(1)
    mean = pixels.mean(0)
    covariance = (pixels - mean).T @ (pixels - mean) / len(pixels)
    axes = torch.linalg.eigh(covariance).eigenvectors.flip(1)[:, : 2 * planes]
    turn = torch.eye(len(mean))
    for first in range(0, 2 * planes, 2):
        p, q = axes[:, first], axes[:, first + 1]
        turn += torch.outer(q, p) - torch.outer(p, q) - torch.outer(p, p) - torch.outer(q, q)
    return turn, mean


def turned(split: Split, turn: Tensor, mean: Tensor) -> Tensor:
    """The pixels [n, 784] after the change."""
    return mean + (split.images.flatten(1) - mean) @ turn.T


def undone(state: State, turn: Tensor, mean: Tensor, with_bias: bool = True) -> State:
    """The exact answer: the network that gives turned digits the logits of the digits as they were."""
    weight = state[WEIGHT] @ turn.T
    bias = state[BIAS] + state[WEIGHT] @ (mean - turn.T @ mean) if with_bias else state[BIAS]
    return state | {WEIGHT: weight, BIAS: bias}


@torch.no_grad()
def accuracy(state: State, inputs: Tensor, labels: Tensor) -> float:
    return round(float((mlp_forward(state, inputs).argmax(1) == labels).float().mean()), 4)


def few_of_each(labels: Tensor, shots: int, seed: int) -> Tensor:
    """Places of so many examples of each class, by a seed."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(labels), generator=generator)
    return torch.cat([order[labels[order] == digit][:shots] for digit in range(10)])
