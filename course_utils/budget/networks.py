"""The networks that the lecture and the lab of unit 00 compare."""

import copy

from torch import nn

from course_utils.models import lenet5, lenet_300_100, mlp


def separable_block(in_channels: int, out_channels: int, stride: int = 1) -> list[nn.Module]:
    """A depthwise 3×3 convolution, then a pointwise 1×1 one, each with its ReLU (Howard 2017, section 3.1)."""
    return [
        nn.Conv2d(in_channels, in_channels, 3, stride=stride, padding=1, groups=in_channels),
        nn.ReLU(),
        nn.Conv2d(in_channels, out_channels, 1),
        nn.ReLU(),
    ]


def six_networks() -> dict[str, nn.Module]:
    """Six small networks for 28×28 images by name, with random weights: what they cost does not depend on them."""
    channels = 32
    stem = [nn.Conv2d(1, channels, 3, padding=1), nn.ReLU()]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * channels, 10)]
    full = [nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU()]
    full += [nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1), nn.ReLU()]
    separable = [*separable_block(channels, channels), *separable_block(channels, 2 * channels, stride=2)]
    return {
        "LeNet-300-100": lenet_300_100(),
        "wide MLP": mlp(784, 1200, 1200, 10),
        "deep MLP": mlp(784, *[64] * 24, 10),
        "LeNet-5": lenet5(),
        "convolutions": nn.Sequential(*stem, *full, *head),
        "separable": nn.Sequential(*copy.deepcopy(stem), *separable, *copy.deepcopy(head)),
    }
