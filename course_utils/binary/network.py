"""A network that is trained with real weights and shipped as bits: its layers, and its file."""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils.binary import Layer, binarize, fold_batchnorm_sign, pack_bits, straight_through


class Sign(torch.autograd.Function):
    """binarize forward, straight_through backward: `Sign.apply(real)`."""

    @staticmethod
    def forward(ctx: Any, real: Tensor) -> Tensor:
        ctx.save_for_backward(real)
        return binarize(real)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return straight_through(gradient, *ctx.saved_tensors)


class BinaryLinear(nn.Module):
    """A linear layer without bias that computes with the signs of its weights, [outputs, inputs]."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs).uniform_(-0.1, 0.1))

    def forward(self, inputs: Tensor) -> Tensor:
        return F.linear(inputs, Sign.apply(self.weight))


class BinaryMLP(nn.Module):
    """Images -> signs of the pixels -> binary layers with batch normalization and sign between them -> logits.

    sizes: inputs, hidden layers and classes, as in BinaryMLP(784, 512, 512, 10). A logit is the last layer's sum times
    one learned scale, which makes its size fit a softmax and leaves the class as it is.
    """

    def __init__(self, *sizes: int) -> None:
        super().__init__()
        self.linears = nn.ModuleList(BinaryLinear(*pair) for pair in itertools.pairwise(sizes))
        self.norms = nn.ModuleList(nn.BatchNorm1d(size) for size in sizes[1:-1])
        self.scale = nn.Parameter(torch.tensor(1 / math.sqrt(sizes[-2])))

    def forward(self, images: Tensor) -> Tensor:
        signs = pixel_signs(images)
        for linear, norm in zip(self.linears, self.norms, strict=False):
            signs = Sign.apply(norm(linear(signs)))
        return self.linears[-1](signs) * self.scale

    @torch.no_grad()
    def clip(self) -> None:
        """Put the real weights back into [−1, 1], after an optimizer's step (as `binary_sgd_step` does)."""
        for linear in self.linears:
            linear.weight.clamp_(-1, 1)


class BinaryConvNet(nn.Module):
    """Images [n, 1, 28, 28] -> signs of the pixels -> two layers of sign filters 5 × 5 -> a binary layer -> logits.

    Borders are −1, in training too. The second layer takes every second place: its maps are 14 × 14.
    """

    def __init__(self, first: int = 8, second: int = 16) -> None:
        super().__init__()
        shapes = ((first, 1, 5, 5), (second, first, 5, 5))
        self.filters = nn.ParameterList(torch.empty(shape).uniform_(-0.1, 0.1) for shape in shapes)
        self.norms = nn.ModuleList(nn.BatchNorm2d(count) for count in (first, second))
        self.last = BinaryLinear(14 * 14 * second, 10)
        self.scale = nn.Parameter(torch.tensor(1.0))  # in units of the spread of the last sums

    def maps(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The signs [n, channels, height, width] that the two layers put out."""
        signs, found = pixel_signs(images).view_as(images), []
        for stride, (weight, norm) in enumerate(zip(self.filters, self.norms, strict=True), start=1):
            padded = F.pad(signs, (2, 2, 2, 2), value=-1.0)
            signs = Sign.apply(norm(F.conv2d(padded, Sign.apply(weight), stride=stride)))
            found.append(signs)
        return found[0], found[1]

    def forward(self, images: Tensor) -> Tensor:
        signs = self.maps(images)[1].flatten(1)
        return self.last(signs) * self.scale / math.sqrt(signs.shape[1])

    @torch.no_grad()
    def clip(self) -> None:
        """As of `BinaryMLP`."""
        for weight in (*self.filters, self.last.weight):
            weight.clamp_(-1, 1)


@torch.no_grad()
def measure_norms(model: nn.Module, images: Tensor) -> None:
    """Means and variances of a model's normalizations over all images, in place of those that training left behind.

    Where a threshold lies at a sum that is frequent, a small change of a mean turns many signs at once.
    """
    for norm in (module for module in model.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)):
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over batches
    model.train()
    for batch in images.split(500):
        model(batch)
    model.eval()


def pixel_signs(images: Tensor) -> Tensor:
    """+1 for ink and −1 for paper, [n, pixels], of images [n, ...] from 0 to 1."""
    return binarize(images.flatten(1) - 0.5)


@torch.no_grad()
def packed_layers(model: BinaryMLP) -> list[Layer]:
    """A trained network as the layers of `binary_forward`: nothing real is left but thresholds."""
    layers: list[Layer] = []
    for number, linear in enumerate(model.linears):
        threshold = direction = None
        if number < len(model.norms):
            norm = model.norms[number]
            threshold, direction = fold_batchnorm_sign(
                norm.weight, norm.bias, norm.running_mean, norm.running_var, norm.eps
            )
        layers.append((pack_bits(binarize(linear.weight).numpy()), linear.weight.shape[1], threshold, direction))
    return layers


def save_binary(layers: Sequence[Layer], path: str | Path, largest: int = 1) -> int:
    """Write the layers of `binary_forward` to a file, and return its size in bytes.

    A sum is an integer from −K to K. So a threshold is rounded, up for direction 1 and down for −1, and nothing
    changes; it takes two bytes if K fits into them. largest: of the network's inputs, if they are other odd integers.
    """
    stored = []
    for number, (words, length, threshold, direction) in enumerate(layers):
        row_bytes = words.astype("<u8").view(np.uint8)[:, : -(-length // 8)]  # without the pad bytes
        entry = [len(words), length, row_bytes.tobytes()]
        if threshold is not None:
            bound = length * (1 if number else largest) + 1
            threshold, direction = np.asarray(threshold), np.asarray(direction).astype(np.int8)
            whole = np.where(direction > 0, np.ceil(threshold), np.floor(threshold)).clip(-bound, bound)
            kind = "<i2" if bound < 2**15 else "<i4"
            entry += [kind, whole.astype(kind).tobytes(), direction.tobytes()]
        stored.append(entry)
    content = msgpack.packb(stored)
    Path(path).write_bytes(content)
    return len(content)


def load_binary(path: str | Path) -> list[Layer]:
    """The layers that `save_binary` wrote."""
    layers: list[Layer] = []
    for rows, length, row_bytes, *rest in msgpack.unpackb(Path(path).read_bytes()):
        padded = np.zeros((rows, -(-length // 64) * 8), dtype=np.uint8)
        padded[:, : -(-length // 8)] = np.frombuffer(row_bytes, np.uint8).reshape(rows, -1)
        threshold = direction = None
        if rest:
            kind, thresholds, directions = rest
            threshold = np.frombuffer(thresholds, kind).astype(np.float64)
            direction = np.frombuffer(directions, np.int8).astype(np.int64)
        layers.append((padded.view("<u8").astype(np.uint64), length, threshold, direction))
    return layers
