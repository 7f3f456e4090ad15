"""The networks that the lecture and the lab of unit 00 compare."""

import copy
import itertools
from typing import Any

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


def published_networks() -> dict[str, list[dict[str, Any]]]:
    """Layers of published networks by name, as `budget_report` wants them: of AlexNet and VGG-16 the convolutions."""

    def conv(inputs: int, outputs: int, kernel: int, size: int, groups: int = 1) -> dict[str, Any]:
        channels = {"in_channels": inputs, "out_channels": outputs, "groups": groups, "bias": False}
        return {"kind": "conv2d", **channels, "kernel_size": (kernel, kernel), "output_size": (size, size)}

    alexnet = [conv(3, 96, 11, 55), conv(96, 256, 5, 27, groups=2), conv(256, 384, 3, 13)]
    alexnet += [conv(384, 384, 3, 13, groups=2), conv(384, 256, 3, 13, groups=2)]
    widths = [3, *[64] * 2, *[128] * 2, *[256] * 3, *[512] * 6]
    sides = [*[224] * 2, *[112] * 2, *[56] * 3, *[28] * 3, *[14] * 3]
    vgg16 = [conv(*pair, 3, side) for pair, side in zip(itertools.pairwise(widths), sides, strict=True)]
    mobilenet, full = [conv(3, 32, 3, 112)], [conv(3, 32, 3, 112)]
    blocks = [(32, 64, 112), (64, 128, 56), (128, 128, 56), (128, 256, 28), (256, 256, 28), (256, 512, 14)]
    blocks += [(512, 512, 14)] * 5 + [(512, 1024, 7), (1024, 1024, 7)]
    for inputs, outputs, side in blocks:
        mobilenet += [conv(inputs, inputs, 3, side, groups=inputs), conv(inputs, outputs, 1, side)]
        full.append(conv(inputs, outputs, 3, side))
    classifier = {"kind": "linear", "in_features": 1024, "out_features": 1000, "bias": True}
    return {
        "AlexNet": alexnet,
        "VGG-16": vgg16,
        "MobileNet": [*mobilenet, classifier],
        "MobileNet of full convolutions": [*full, classifier],
    }


def published_classifiers() -> dict[str, list[dict[str, Any]]]:
    """The linear layers of AlexNet and VGG-16, which `published_networks` leaves out."""

    def linear(*sizes: int) -> list[dict[str, Any]]:
        return [
            {"kind": "linear", "in_features": inputs, "out_features": outputs, "bias": True}
            for inputs, outputs in itertools.pairwise(sizes)
        ]

    return {"AlexNet": linear(256 * 6 * 6, 4096, 4096, 1000), "VGG-16": linear(512 * 7 * 7, 4096, 4096, 1000)}
