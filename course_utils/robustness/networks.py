"""The networks of this unit's experiments, and masks that are drawn once."""

import torch
from torch import nn

from course_utils.data import CLASSES
from course_utils.pruning import Masks, weight_names
from course_utils.saliency import keep_top, magnitude_saliency
from course_utils.training import set_seed


def cnn(seed: int, widths: tuple[int, int, int] = (16, 32, 100)) -> nn.Sequential:
    """Two convolutions 4 × 4 with stride 2 and two linear layers: Wong 2020's network for MNIST (arXiv:2001.03994)."""
    set_seed(seed)
    first, second, hidden = widths
    return nn.Sequential(
        nn.Conv2d(1, first, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(first, second, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(second * 49, hidden),
        nn.ReLU(),
        nn.Linear(hidden, CLASSES),
    )


def largest(model: nn.Module, keep: float) -> Masks:
    """The largest weights of the whole network."""
    weights = {name: model.get_parameter(name).detach() for name in weight_names(model)}
    return keep_top({name: magnitude_saliency(weight) for name, weight in weights.items()}, keep)


def shuffled(model: nn.Module, keep: float, seed: int) -> Masks:
    """The control of `largest`: as many weights in each layer as it keeps there, drawn at random."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: mask.flatten()[torch.randperm(mask.numel(), generator=generator)].view_as(mask)
        for name, mask in largest(model, keep).items()
    }


def density(model: nn.Module) -> float:
    """Which part of the weights is not 0."""
    weights = [model.get_parameter(name) for name in weight_names(model)]
    return sum(int((weight != 0).sum()) for weight in weights) / sum(weight.numel() for weight in weights)


def noisy_labels(labels: torch.Tensor, part: float, seed: int) -> torch.Tensor:
    """Labels of which a part, drawn at random, is moved to another class."""
    generator = torch.Generator().manual_seed(seed)
    wrong = torch.randperm(len(labels), generator=generator)[: round(part * len(labels))]
    noisy = labels.clone()
    noisy[wrong] = (labels[wrong] + torch.randint(1, CLASSES, (len(wrong),), generator=generator)) % CLASSES
    return noisy
