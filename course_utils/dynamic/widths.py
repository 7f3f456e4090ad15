"""A network that runs at several widths: how it is trained, and what its normalizations need."""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils.data import Split
from course_utils.dynamic import slim
from course_utils.dynamic.networks import SlimmableNet
from course_utils.training import train


def train_widths(model: SlimmableNet, split: Split, epochs: int, lr: float, seed: int) -> None:
    """Each step on the sum of the losses at all the widths of the model (Yu 2019, algorithm 1)."""

    def loss(logits: list[Tensor], labels: Tensor, index: Tensor) -> Tensor:
        return sum(F.cross_entropy(each, labels) for each in logits)

    train(model, split, epochs=epochs, lr=lr, seed=seed, loss=loss, schedule=lambda done: 1 - done, progress=False)


@torch.no_grad()
def calibrated(model: SlimmableNet, width: float, images: Tensor) -> SlimmableNet:
    """A copy whose shared normalization has the statistics of these images at this width."""
    found = copy.deepcopy(model)
    for norm in found.norms[0]:
        norm.momentum = 1.0  # the batch replaces what is there
    found.train()
    found.at(width, images)
    return found.eval()


@torch.no_grad()
def errors_at(model: SlimmableNet, width: float, split: Split) -> int:
    """How many examples the model gets wrong at this width."""
    guesses = torch.cat([model.at(width, images).argmax(dim=1) for images in split.images.split(1000)])
    return int((guesses != split.labels).sum())


@torch.no_grad()
def frozen(model: SlimmableNet, width: float) -> nn.Sequential:
    """The network at one width for good, each normalization folded into its convolution."""
    layers: list[nn.Module] = []
    norms = model.norms[model.widths.index(width) if model.own else 0]
    for conv, norm, fraction in zip((model.conv1, model.conv2), norms, (1, width), strict=True):
        weight, bias = slim(conv.weight, conv.bias, fraction, width)
        mean, var, gamma, beta = (
            value[: len(bias)] for value in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
        )
        scale = gamma / torch.sqrt(var + norm.eps)
        layer = nn.Conv2d(weight.shape[1], weight.shape[0], 5)
        layer.weight.copy_(weight * scale.view(-1, 1, 1, 1))
        layer.bias.copy_((bias - mean) * scale + beta)
        layers += [layer, nn.ReLU(), nn.MaxPool2d(2)]
    weight, bias = slim(model.head.weight, model.head.bias, width, 1, positions=16)
    head = nn.Linear(weight.shape[1], len(weight))
    head.weight.copy_(weight)
    head.bias.copy_(bias)
    return nn.Sequential(*layers, nn.Flatten(), head).eval()
