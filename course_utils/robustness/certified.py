"""What can be proved of a fully connected network: intervals, linear bounds, and smoothing by noise."""

import torch
from torch import Tensor, nn

from course_utils.data import Split
from course_utils.robustness import certify, interval_linear, margin_bounds

State = dict[str, Tensor]
Layers = list[tuple[Tensor, Tensor]]


def layers_of(model: nn.Sequential) -> Layers:
    """Weight and bias of each linear layer, first layer first."""
    return [(layer.weight, layer.bias) for layer in model if isinstance(layer, nn.Linear)]


def image_box(images: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """All images within ε of each, [batch, pixels]."""
    flat = images.flatten(1)
    return (flat - epsilon).clamp(0, 1), (flat + epsilon).clamp(0, 1)


def hidden_box(layers: Layers, lower: Tensor, upper: Tensor) -> list[tuple[Tensor, Tensor]]:
    """The boxes of all hidden layers before their ReLU, by intervals (Gowal 2018, eq. 6)."""
    boxes = []
    for weight, bias in layers[:-1]:
        lower, upper = interval_linear(lower, upper, weight, bias)
        boxes.append((lower, upper))
        lower, upper = lower.clamp(min=0), upper.clamp(min=0)
    return boxes


def interval_margins(layers: Layers, images: Tensor, labels: Tensor, epsilon: float) -> Tensor:
    """Lower bounds of z_label − z_k within ε, [batch, classes], by intervals."""
    lower, upper = hidden_box(layers, *image_box(images, epsilon))[-1]
    return margin_bounds(lower.clamp(min=0), upper.clamp(min=0), *layers[-1], labels)


def linear_margins(layers: Layers, images: Tensor, labels: Tensor, epsilon: float) -> Tensor:
    """The same, tighter: hidden boxes and margins by linear bounds that are carried back to the image.

    CROWN of H. Zhang, T.-W. Weng, P.-Y. Chen, C.-J. Hsieh and L. Daniel, NeurIPS 2018, arXiv:1811.00866: a ReLU whose
    input may have either sign lies below the chord and above a line through 0, here of slope 1 or 0, whichever leaves
    the smaller triangle.
    """
    box = image_box(images, epsilon)
    boxes: list[tuple[Tensor, Tensor]] = []
    for depth in range(1, len(layers)):
        weight, bias = layers[depth - 1]
        rows = weight.expand(len(images), *weight.shape)
        lower = carried_back(rows, bias, layers[: depth - 1], boxes, box)
        upper = -carried_back(-rows, -bias, layers[: depth - 1], boxes, box)
        boxes.append((lower, upper))
    weight, bias = layers[-1]
    rows = weight[labels].unsqueeze(1) - weight
    return carried_back(rows, bias[labels].unsqueeze(1) - bias, layers[:-1], boxes, box)


def carried_back(
    rows: Tensor, constant: Tensor, layers: Layers, boxes: list[tuple[Tensor, Tensor]], box: tuple[Tensor, Tensor]
) -> Tensor:
    """Lower bounds [batch, rows] of rows · ReLU(last hidden layer) + constant over the box of the images.

    rows: [batch, rows, units]. layers, boxes: those before, with the boxes of their outputs before the ReLU.
    """
    constant = constant.expand(rows.shape[:2])
    for (weight, bias), (lower, upper) in zip(reversed(layers), reversed(boxes), strict=True):
        mixed = (lower < 0) & (upper > 0)
        chord = torch.where(mixed, upper / (upper - lower).clamp(min=1e-12), (lower >= 0).to(lower.dtype))
        line = torch.where(mixed, (upper > -lower).to(lower.dtype), chord)
        above = torch.where(mixed, -chord * lower, 0.0)  # what the chord adds to its slope
        down = rows.clamp(max=0)
        constant = constant + (down * above.unsqueeze(1)).sum(2)
        rows = rows.clamp(min=0) * line.unsqueeze(1) + down * chord.unsqueeze(1)
        constant = constant + rows @ bias
        rows = rows @ weight
    lower, upper = (side.unsqueeze(1) for side in box)
    return constant + (rows.clamp(min=0) * lower + rows.clamp(max=0) * upper).sum(2)


@torch.no_grad()
def verified(model: nn.Sequential, split: Split, epsilon: float, linear: bool = False, batch: int = 100) -> Tensor:
    """Which images [n] no attack within ε can turn, as far as the bounds see: the margins of all other classes."""
    layers, found = layers_of(model), []
    margins = linear_margins if linear else interval_margins
    for index in torch.arange(len(split)).split(batch):
        labels = split.labels[index]
        bounds = margins(layers, split.images[index], labels, epsilon)
        bounds.scatter_(1, labels.unsqueeze(1), 1.0)
        found.append((bounds > 0).all(1))
    return torch.cat(found)


@torch.no_grad()
def certified_radii(
    model: nn.Module, split: Split, sigma: float, selection: int, estimation: int, alpha: float, seed: int
) -> Tensor:
    """Of each image [n] the radius in which the smoothed classifier is right for certain; 0 where it is wrong or
    abstains (Cohen 2019, algorithm 'Certify')."""
    generator = torch.Generator().manual_seed(seed)
    radii = torch.zeros(len(split))
    for i, (image, label) in enumerate(zip(split.images, split.labels, strict=True)):
        noise = sigma * torch.randn(selection + estimation, *image.shape, generator=generator)
        classes = model(image + noise).argmax(1)
        counts = [part.bincount(minlength=10) for part in classes.split([selection, estimation])]
        found, radius = certify(*counts, sigma, alpha)
        radii[i] = radius if found == label else 0.0
    return radii


def interval_loss(model: nn.Sequential, images: Tensor, labels: Tensor, epsilon: float) -> Tensor:
    """Cross-entropy of the worst logits within ε that intervals cannot exclude (Gowal 2018, eq. 11)."""
    return nn.functional.cross_entropy(-interval_margins(layers_of(model), images, labels, epsilon), labels)
