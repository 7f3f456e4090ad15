"""Unit 05: networks whose weights and activations are −1 or +1.

I. Hubara, M. Courbariaux, D. Soudry, R. El-Yaniv and Y. Bengio, *Binarized Neural Networks*, NeurIPS 2016; first as
M. Courbariaux, I. Hubara et al., arXiv:1602.02830, 2016.
M. Rastegari, V. Ordonez, J. Redmon and A. Farhadi, *XNOR-Net*, ECCV 2016, arXiv:1603.05279.
Y. Bengio, N. Léonard and A. Courville, *Estimating or Propagating Gradients Through Stochastic Neurons for Conditional
Computation*, arXiv:1308.3432, 2013.

`network.py` holds a network that is trained with these functions, and its file; `kernel.py` the product that is fast.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

Layer = tuple[np.ndarray, int, Any, Any]  # weight words, length, threshold, direction: see `binary_forward`


def binarize(real: Tensor) -> Tensor:
    """The sign, without a zero (Courbariaux 2016, eq. 1).

    real: any shape, any float dtype, without NaN. Returns −1 where real is negative and +1
    elsewhere, at 0 and −0.0 too; same shape and dtype.
    """
    # torch.sign gives 0 at 0, which no bit can hold
    return 2 * (real >= 0).to(real.dtype) - 1


def straight_through(gradient: Tensor, real: Tensor) -> Tensor:
    """The gradient by `real` from that by its sign: straight through, with cancelling.

    gradient, real: the same shape, each of any float dtype; gradient has any values, real
    no NaN.
    Returns gradient · 1[|real| ≤ 1] (Courbariaux 2016, eq. 4), of the gradient's dtype:
    handed on where |real| is at most 1, and exactly 0 elsewhere, in place of an infinity or
    NaN too.
    """
    # Not a product: 0 · ∞ is NaN
    return torch.where(real.abs() <= 1, gradient, 0)


def binary_sgd_step(real: Tensor, gradient: Tensor, lr: float) -> Tensor:
    """One step of SGD on the real weights behind binary ones (Courbariaux 2016, alg. 1).

    real: the weights that are kept between steps, in [−1, 1]; gradient: of the same shape
    and float dtype, after `straight_through`; lr: 0 or more. Returns the real weights after
    the step, of this dtype, clipped to [−1, 1]: beyond, their size would no longer matter.
    """
    # W_r ← clip(W_r − η · g, −1, 1)
    return (real - lr * gradient).clamp(-1, 1)


def pack_bits(signs: np.ndarray) -> np.ndarray:
    """64 signs in each word.

    signs: NumPy, [rows, K], −1 or +1, any signed or float dtype; rows and K may be 0.
    Returns uint64 [rows, ⌈K/64⌉]: element 64·i + j of a row is bit j of its word i (bit 0
    is worth 1), +1 is a 1 and −1 a 0. Bits beyond the K-th are 0. (`np.packbits` makes
    bytes of bits, `.view(np.uint64)` a word of eight bytes.)
    """
    rows, length = signs.shape
    padded = np.zeros((rows, -(-length // 64) * 8), dtype=np.uint8)
    packed = np.packbits(signs > 0, axis=1, bitorder="little")
    padded[:, : packed.shape[1]] = packed
    # '<': byte 0 is the lowest of its word, on machines with the other byte order too
    return padded.view("<u8").astype(np.uint64)


def xnor_popcount_matmul(
    a_words: np.ndarray,
    b_words: np.ndarray,
    length: int,
) -> np.ndarray:
    """All dot products of sign vectors, from packed bits (Rastegari 2016, section 3.2).

    a_words: uint64 [M, words] and b_words: uint64 [N, words], as `pack_bits` makes them
    from [M, K] and [N, K], each row in one piece of memory; length is K; M, N and K may be
    0. Returns int32 [M, N], as signs_a @ signs_b.T would: K − 2 · popcount(a xor b).
    (`np.bitwise_count` counts the ones of each word.)
    """
    # Each pair of unequal bits turns a +1 of the sum into a −1. Pad bits are equal, both 0
    unequal = np.zeros((len(a_words), len(b_words)), dtype=np.int32)
    for a, b in zip(a_words.T, b_words.T, strict=True):
        unequal += np.bitwise_count(a[:, None] ^ b)
    return np.int32(length) - 2 * unequal


def fold_batchnorm_sign(
    gamma: Tensor,
    beta: Tensor,
    mean: Tensor,
    var: Tensor,
    eps: float,
) -> tuple[Tensor, Tensor]:
    """Batch normalization and sign in one comparison.

    gamma, beta, mean, var: [channels], a trained layer's scale, shift, running mean and
    variance, of any float dtype; eps: its constant; neither is negative, their sum is
    positive. Returns (threshold, direction), float64 and int64, [channels], computed in
    float64, such that for an integer s
    binarize(gamma · (s − mean) / √(var + eps) + beta) is
        direction 1:  +1 if s ≥ threshold, else −1
        direction −1: +1 if s ≤ threshold, else −1
        direction 0:  threshold itself, +1 or −1, whatever s is (where gamma is exactly 0).
    """
    gamma, beta, mean, var = (value.double() for value in (gamma, beta, mean, var))
    # γ · (s − μ) / σ + β = 0  at  s = μ − β · σ / γ; a negative γ turns ≥ into ≤
    crossing = mean - beta * torch.sqrt(var + eps) / gamma
    return torch.where(gamma == 0, binarize(beta), crossing), gamma.sign().long()


def scaled_binary(weight: Tensor) -> tuple[Tensor, Tensor]:
    """The best binary filters, and their scales (Rastegari 2016, eq. 6).

    weight: [filters, inputs, ...], two axes or more, none empty, any float dtype. Returns
    (sign, scale): the shape of weight, −1 or +1 (+1 at 0), and [filters], the mean of
    |weight| in each filter, over all other axes; both of the weight's dtype.
    """
    # α* = (1/n) ‖W‖₁ minimizes ‖W − α·B‖² over α and B
    return binarize(weight), weight.abs().flatten(1).mean(dim=1)


def binary_forward(
    words: np.ndarray,
    layers: Sequence[tuple[np.ndarray, int, Tensor | None, Tensor | None]],
) -> np.ndarray:
    """A whole binary network, on packed bits.

    words: uint64 [batch, words], the packed inputs. layers: for each layer (weight_words,
    length, threshold, direction): uint64 [outputs, words], the packed weights; the number
    of the layer's inputs; and what `fold_batchnorm_sign` gives for its outputs, [outputs].
    Each layer's sums become signs by threshold and direction, and are packed for the next.
    The last layer has None for both: its sums, int32 [batch, classes], are the result.
    """
    for weight_words, length, threshold, direction in layers[:-1]:
        sums = xnor_popcount_matmul(words, weight_words, length)
        threshold, direction = np.asarray(threshold), np.asarray(direction)
        # s ≤ t is −s ≥ −t; at direction 0 the threshold is the sign itself
        compared = direction * sums >= direction * threshold
        positive = np.where(direction == 0, threshold > 0, compared)
        words = pack_bits(np.where(positive, 1, -1))
    weight_words, length = layers[-1][:2]
    return xnor_popcount_matmul(words, weight_words, length)


# What is built on these functions, and belongs to the unit as well
from course_utils.binary.kernel import packed_matmul
from course_utils.binary.network import (
    BinaryConvNet,
    BinaryLinear,
    BinaryMLP,
    Sign,
    load_binary,
    measure_norms,
    packed_layers,
    pixel_signs,
    save_binary,
)
