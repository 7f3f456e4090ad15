"""Unit 05: networks whose weights and activations are −1 or +1.

I. Hubara, M. Courbariaux, D. Soudry, R. El-Yaniv and Y. Bengio, *Binarized Neural Networks*, NeurIPS 2016; first as
M. Courbariaux, I. Hubara et al., arXiv:1602.02830, 2016.
M. Rastegari, V. Ordonez, J. Redmon and A. Farhadi, *XNOR-Net*, ECCV 2016, arXiv:1603.05279.
Y. Bengio, N. Léonard and A. Courville, *Estimating or Propagating Gradients Through Stochastic Neurons for Conditional
Computation*, arXiv:1308.3432, 2013.

The exercises come first; then a network that is trained with them, its file, and the kernel that makes it fast.
"""

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

Layer = tuple[np.ndarray, int, Any, Any]  # weight words, length, threshold, direction: see `binary_forward`


def binarize(real: Tensor) -> Tensor:
    """The sign, without a zero (Courbariaux 2016, eq. 1).

    real: any shape, float. Returns −1 where real is negative and +1 elsewhere, at 0 too; same shape and dtype.
    """
    # torch.sign gives 0 at 0, which no bit can hold
    return torch.where(real >= 0, 1.0, -1.0).to(real.dtype)


def straight_through(gradient: Tensor, real: Tensor) -> Tensor:
    """The gradient by `real`, from the one by binarize(real): the straight-through estimator, with cancelling.

    gradient, real: the same shape; gradient has any values. Returns gradient · 1[|real| ≤ 1] (Courbariaux 2016, eq. 4),
    of the gradient's dtype: handed on where |real| is at most 1, and 0 elsewhere.
    """
    return gradient * (real.abs() <= 1)


def binary_sgd_step(real: Tensor, gradient: Tensor, lr: float) -> Tensor:
    """One step of SGD on the real weights behind binary ones (Courbariaux 2016, algorithm 1).

    real: the weights that are kept between steps, in [−1, 1]; gradient: of the same shape, after `straight_through`.
    Returns the real weights after the step, clipped to [−1, 1]: beyond, their size would no longer matter.
    """
    # W_r ← clip(W_r − η · g, −1, 1)
    return (real - lr * gradient).clamp(-1, 1)


def pack_bits(signs: np.ndarray) -> np.ndarray:
    """64 signs in each word.

    signs: NumPy, [rows, K], −1 or +1, any signed or float dtype. Returns uint64 [rows, ⌈K/64⌉]: element 64·i + j of a
    row is bit j of its word i (bit 0 is worth 1), +1 is a 1 and −1 a 0. Bits beyond the K-th are 0.
    """
    rows, length = signs.shape
    padded = np.zeros((rows, -(-length // 64) * 8), dtype=np.uint8)
    packed = np.packbits(signs > 0, axis=1, bitorder="little")
    padded[:, : packed.shape[1]] = packed
    # '<': byte 0 is the lowest of its word, on machines with the other byte order too
    return padded.view("<u8").astype(np.uint64)


def xnor_popcount_matmul(a_words: np.ndarray, b_words: np.ndarray, length: int) -> np.ndarray:
    """All dot products of sign vectors, from their packed bits (Rastegari 2016, section 3.2).

    a_words: uint64 [M, words] and b_words: uint64 [N, words], as `pack_bits` makes them from [M, K] and [N, K]; length
    is K. Returns int32 [M, N], as signs_a @ signs_b.T would: K − 2 · popcount(a xor b).
    """
    # Each pair of unequal bits turns a +1 of the sum into a −1. Pad bits are equal, so they do not count
    unequal = np.zeros((len(a_words), len(b_words)), dtype=np.int32)
    for a, b in zip(a_words.T, b_words.T, strict=True):
        unequal += np.bitwise_count(a[:, None] ^ b)
    return np.int32(length) - 2 * unequal


def fold_batchnorm_sign(gamma: Tensor, beta: Tensor, mean: Tensor, var: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Batch normalization and sign in one comparison.

    gamma, beta, mean, var: [channels], a trained layer's scale, shift, running mean and variance; eps: its constant.
    Returns (threshold, direction), float64 and int64, [channels], computed in float64, such that
    binarize(gamma · (s − mean) / √(var + eps) + beta), for an integer s, is
        direction 1:  +1 if s ≥ threshold, else −1
        direction −1: +1 if s ≤ threshold, else −1
        direction 0:  threshold itself, +1 or −1, whatever s is (where gamma is 0).
    """
    gamma, beta, mean, var = (value.double() for value in (gamma, beta, mean, var))
    # γ · (s − μ) / σ + β = 0  at  s = μ − β · σ / γ; a negative γ turns the inequality round
    crossing = mean - beta * torch.sqrt(var + eps) / gamma
    return torch.where(gamma == 0, binarize(beta), crossing), gamma.sign().long()


def scaled_binary(weight: Tensor) -> tuple[Tensor, Tensor]:
    """The best binary filters, and their scales (Rastegari 2016, eq. 6).

    weight: [filters, ...], float. Returns (sign, scale): the shape of weight, −1 or +1 (+1 at 0), and [filters], the
    mean of |weight| in each filter; both of the weight's dtype.
    """
    # α* = (1/n) ‖W‖₁ minimizes ‖W − α·B‖² over α and B
    return binarize(weight), weight.abs().flatten(1).mean(dim=1)


def binary_forward(
    words: np.ndarray, layers: Sequence[tuple[np.ndarray, int, Tensor | None, Tensor | None]]
) -> np.ndarray:
    """A whole binary network, on packed bits.

    words: uint64 [batch, words], the packed inputs. layers: for each layer (weight_words, length, threshold,
    direction): uint64 [outputs, words], the packed weights; the number of the layer's inputs; and what
    `fold_batchnorm_sign` gives for its outputs, [outputs]. Each layer's sums become signs by threshold and direction,
    and are packed for the next. The last layer has None for both: its sums, int32 [batch, classes], are the result.
    """
    for weight_words, length, threshold, direction in layers[:-1]:
        sums = xnor_popcount_matmul(words, weight_words, length)
        threshold, direction = np.asarray(threshold), np.asarray(direction)
        # s ≤ t is −s ≥ −t; at direction 0 the threshold is the sign itself
        positive = np.where(direction == 0, threshold > 0, direction * sums >= direction * threshold)
        words = pack_bits(np.where(positive, 1, -1))
    weight_words, length = layers[-1][:2]
    return xnor_popcount_matmul(words, weight_words, length)


# --- a network that is trained with real weights and shipped without -------------------------------------------------


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


def save_binary(layers: Sequence[Layer], path: str | Path) -> int:
    """Write the layers of `binary_forward` to a file, and return its size in bytes.

    A sum is an integer from −K to K. So a threshold is rounded, up for direction 1 and down for −1, and nothing
    changes; it takes two bytes if K fits into them.
    """
    stored = []
    for words, length, threshold, direction in layers:
        row_bytes = words.astype("<u8").view(np.uint8)[:, : -(-length // 8)]  # without the pad bytes
        entry = [len(words), length, row_bytes.tobytes()]
        if threshold is not None:
            threshold, direction = np.asarray(threshold), np.asarray(direction).astype(np.int8)
            whole = np.where(direction > 0, np.ceil(threshold), np.floor(threshold)).clip(-length - 1, length + 1)
            kind = "<i2" if length < 2**15 - 1 else "<i4"
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


# --- speed ------------------------------------------------------------------------------------------------------------


def packed_matmul(a_words: np.ndarray, b_words: np.ndarray, length: int) -> np.ndarray:
    """`xnor_popcount_matmul`, compiled and on all cores.

    The first call compiles (seconds; later processes read numba's cache, where the disk can be written). Do not fork
    a process that has called this: OpenMP's threads do not survive it.
    """
    if a_words.dtype != np.uint64 or b_words.dtype != np.uint64:
        raise TypeError(f"packed words are uint64, not {a_words.dtype} and {b_words.dtype}: use pack_bits")
    if a_words.shape[1] != b_words.shape[1]:
        raise ValueError(f"{a_words.shape[1]} and {b_words.shape[1]} words a row: the lengths differ")
    out = np.empty((len(a_words), len(b_words)), dtype=np.int32)
    _kernel()(np.ascontiguousarray(a_words), np.ascontiguousarray(b_words), length, out)
    return out


@functools.cache
def _kernel() -> Callable[[np.ndarray, np.ndarray, int, np.ndarray], None]:
    """The compiled product. numba is imported here: who does not race need not wait for it."""
    import numba
    from numba import types
    from numba.core import cgutils  # noqa: F401  (numba.extending needs the core to be loaded)
    from numba.extending import intrinsic

    @intrinsic
    def popcount(typing_context, word):
        def generate(context, builder, signature, args):
            return builder.ctpop(args[0])  # LLVM's own: one instruction, or a few on vectors

        return types.uint64(types.uint64), generate

    def multiply(a, b, length, out):
        for j in numba.prange(len(b)):
            for i in range(len(a)):
                unequal = numba.uint64(0)
                for w in range(a.shape[1]):
                    unequal += popcount(a[i, w] ^ b[j, w])
                out[i, j] = length - 2 * numba.int64(unequal)

    try:
        return numba.njit(parallel=True, cache=True)(multiply)
    except RuntimeError:  # nowhere to write a cache
        return numba.njit(parallel=True)(multiply)
