"""Laws of unit 05, binary neural networks."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.checks import expect
from course_utils.checks.draw import Draw
from course_utils.checks.engine import Unit
from course_utils.checks.oracles import sgd_step

unit = Unit("binary")
binarize = unit.exercise("5.1", "binarize", points=1, minutes=5, difficulty=1)
straight_through = unit.exercise("5.2", "straight_through", points=2, minutes=10, difficulty=2)
binary_sgd_step = unit.exercise("5.3", "binary_sgd_step", points=2, minutes=5, difficulty=1)
pack_bits = unit.exercise("5.4a", "pack_bits", points=3, minutes=20, difficulty=3)
xnor_popcount_matmul = unit.exercise("5.4b", "xnor_popcount_matmul", points=4, minutes=20, difficulty=3)
fold_batchnorm_sign = unit.exercise("5.5", "fold_batchnorm_sign", points=4, minutes=20, difficulty=4)
scaled_binary = unit.exercise("5.6", "scaled_binary", points=2, minutes=10, difficulty=2)
binary_forward = unit.exercise("5.7", "binary_forward", points=4, minutes=20, difficulty=4)

FLOATS = (torch.float32, torch.float64)
ALL_FLOATS = (*FLOATS, *expect.HALVES)
# How far a right result may be from the exact one, by dtype: a float64 result computed in float32 is outside
CLOSE = {torch.float32: {"rtol": 1e-4, "atol": 1e-6}, torch.float64: {"rtol": 1e-11, "atol": 1e-13}}
CLOSE |= {dtype: {"rtol": 4 * torch.finfo(dtype).eps, "atol": 4 * torch.finfo(dtype).eps} for dtype in expect.HALVES}


def shape(draw: Draw) -> tuple[int, ...]:
    return ((draw.integer(1, 5),), (draw.integer(2, 4), draw.integer(3, 5)), (2, 1, 3, 2))[min(draw.trial, 2)]


# --- 5.1 binarize -----------------------------------------------------------------------------------------------------


@binarize.law(
    "[0.3, −2, 0, −0.0, 1e-30, −1e-30] becomes [1, −1, 1, 1, 1, −1]",
    hint="torch.sign gives 0 at 0, but a bit has only two values: 0 counts as +1, and so does −0.0.",
    trials=1,
)
def sign_example(function, draw):
    for dtype in FLOATS:
        real = torch.tensor([0.3, -2.0, 0.0, -0.0, 1e-30, -1e-30], dtype=dtype)
        expect.equal(function(real), torch.tensor([1, -1, 1, 1, 1, -1], dtype=dtype))
    expect.equal(function(torch.tensor([-1e-300, 1e-300], dtype=torch.float64)), torch.tensor([-1.0, 1.0]).double())


@binarize.law(
    "a result times the size of its argument is the argument: same shape, same dtype, huge and tiny numbers too",
    hint="Only the sign survives; every entry of the result is exactly −1 or +1.",
)
def sign_times_size(function, draw):
    for dtype in ALL_FLOATS:
        low, high = (-6, 9) if dtype in FLOATS else (-3, 3)
        real = draw.normal(*shape(draw), scale=10.0 ** draw.integer(low, high), dtype=dtype)
        got = function(real)
        expect.same_kind(got, real)
        expect.equal(got * real.abs(), real, "result · |real|")
        expect.equal(got.abs(), torch.ones_like(real), "the size of the result")


@binarize.law(
    "a number without axes, one entry, and none keep their shape; infinities, and the smallest of float16",
    hint="Work on the whole tensor: the result has the shape of `real`, and at 0 it is +1.",
    trials=1,
)
def sign_shapes(function, draw):
    for value, wanted in ((-3.5, -1.0), (0.0, 1.0), (math.inf, 1.0), (-math.inf, -1.0)):
        for axes in ((), (1,), (1, 1, 1)):
            expect.equal(function(torch.full(axes, value)), torch.full(axes, wanted))
    small = torch.tensor([6e-8, -6e-8, -0.0], dtype=torch.float16)
    expect.equal(function(small), torch.tensor([1, -1, 1], dtype=torch.float16))
    expect.equal(function(torch.zeros(0, 3)), torch.zeros(0, 3))


# --- 5.2 straight_through ---------------------------------------------------------------------------------------------


@straight_through.law(
    "real [−1.5, −1, −0.2, 0, 1, 1.5] hands on [0, 2, 2, 2, 2, 0] of gradients that are all 2",
    hint="The real value decides, not the gradient: pass where |real| ≤ 1, −1 and 1 included.",
    trials=1,
)
def window_example(function, draw):
    real = torch.tensor([-1.5, -1.0, -0.2, 0.0, 1.0, 1.5])
    expect.equal(function(torch.full((6,), 2.0), real), torch.tensor([0.0, 2, 2, 2, 2, 0]))
    expect.equal(function(torch.full((6,), -0.5), real), torch.tensor([0.0, -0.5, -0.5, -0.5, -0.5, 0]))


@straight_through.law(
    "it is the gradient of torch's hardtanh, whatever the gradient's size and sign",
    hint="Do not clip, scale or look at the gradient itself: it is handed on or it is 0.",
)
def window_hardtanh(function, draw):
    for dtype in ALL_FLOATS:
        real = draw.normal(*shape(draw), scale=1.2, dtype=dtype)
        real = torch.where(real.abs() == 1, 0.5, real).requires_grad_()  # hardtanh has no gradient at ±1
        for power in (-3, 4):
            gradient = draw.normal(*real.shape, scale=10.0**power, dtype=dtype)
            (wanted,) = torch.autograd.grad((F.hardtanh(real) * gradient).sum(), real)
            expect.equal(function(gradient, real.detach()), wanted)


@straight_through.law(
    "where |real| > 1 the result is exactly 0, whatever the gradient holds there; elsewhere ±∞ and NaN are handed on",
    hint="0 · ∞ and 0 · NaN are NaN: choose with torch.where, do not multiply.",
    trials=1,
)
def window_infinite(function, draw):
    real = torch.tensor([-1.5, 2.0, 3.0, 0.3, -1.0, math.inf, 0.3])
    gradient = torch.tensor([math.inf, -math.inf, math.nan, math.inf, -math.inf, 1.0, math.nan])
    expect.equal(function(gradient, real), torch.tensor([0.0, 0.0, 0.0, math.inf, -math.inf, 0.0, math.nan]))


@straight_through.law(
    "the result has the gradient's dtype, the comparison is made in that of `real`",
    hint="A product of two dtypes has the wider one: let the comparison be a bool tensor, and choose by it.",
    trials=1,
)
def window_dtypes(function, draw):
    above = 1 + 1e-12  # beyond 1 in float64 only
    for dtype in ALL_FLOATS:
        gradient = torch.tensor([2.0, -3.0, 0.5], dtype=dtype)
        real = torch.tensor([above, -1.0, 0.2], dtype=torch.float64)
        expect.equal(function(gradient, real), torch.tensor([0.0, -3.0, 0.5], dtype=dtype), f"for {dtype} gradients")
    for dtype in expect.HALVES:
        real = torch.tensor([1.5, -1.0, 0.2], dtype=dtype)
        expect.equal(function(torch.tensor([2.0, -3.0, 0.5]), real), torch.tensor([0.0, -3.0, 0.5]))


@straight_through.law(
    "just outside of [−1, 1] nothing passes, just inside all", hint="|real| ≤ 1, compared exactly.", trials=1
)
def window_edges(function, draw):
    for dtype in FLOATS:
        one = torch.ones((), dtype=dtype)
        out, inside = torch.nextafter(one, 2 * one), torch.nextafter(one, 0 * one)
        real = torch.stack([out, -out, inside, -inside, one, -one, 1e6 * one])
        gradient = draw.normal(7, scale=30, dtype=dtype)
        wanted = torch.cat([torch.zeros(2, dtype=dtype), gradient[2:6], torch.zeros(1, dtype=dtype)])
        expect.equal(function(gradient, real), wanted)


# --- 5.3 binary_sgd_step ----------------------------------------------------------------------------------------------


@binary_sgd_step.law(
    "weights 0.5, −0.9, 0.9 with gradients 2, 2, −5 and lr 0.1 become 0.3, −1, 1",
    hint="Step against the gradient, then clip the weight (not the gradient) to [−1, 1].",
    trials=1,
)
def step_example(function, draw):
    got = function(torch.tensor([0.5, -0.9, 0.9]), torch.tensor([2.0, 2.0, -5.0]), 0.1)
    expect.close(got, torch.tensor([0.3, -1.0, 1.0]))


@binary_sgd_step.law(
    "where no weight leaves [−1, 1] it is a step of torch.optim.SGD; the weight stays real",
    hint="The real weight is stepped and returned, not its sign, and in its own dtype: small steps add up there.",
)
def step_sgd(function, draw):
    for dtype in ALL_FLOATS:
        real = draw.rand(*shape(draw), low=-0.8, high=0.8, dtype=dtype)
        for size, lr in ((9, draw.uniform(0.001, 0.02)), (9000, 1e-5), (1e-3, draw.uniform(0.01, 0.02)), (9, 0.0)):
            gradient, wanted = draw.rand(*real.shape, low=-size, high=size, dtype=dtype), real.clone()
            sgd_step([wanted], [gradient], [None], lr)
            got = function(real, gradient, lr)
            expect.close(got, wanted, **CLOSE[dtype])
            # A small step is lost in the size of the weight, unless the steps themselves are compared
            if dtype == torch.float64:
                expect.close(real - got, real - wanted, "the step that was made", rtol=1e-6, atol=1e-15)


@binary_sgd_step.law(
    "a weight at the edge stays there if it is pushed outwards, and comes back if it is pushed inwards",
    hint="Clip after the step; the result is in [−1, 1] whatever the gradient.",
)
def step_edges(function, draw):
    for dtype in ALL_FLOATS:
        real = draw.choice([1.0, -1.0]) * torch.ones(4, dtype=dtype)
        push, lr = draw.rand(4, low=0.1, high=30, dtype=dtype), draw.uniform(0.01, 0.05)
        expect.equal(function(real, -push * real, lr), real, "the weight pushed outwards")
        inwards = (real - lr * push * real).clamp(-1, 1)
        expect.close(function(real, push * real, lr), inwards, "the weight pushed inwards", **CLOSE[dtype])
        # From one edge to the other: the weight is clipped, not the step
        far = function(torch.tensor([0.0, 1.0, -1.0], dtype=dtype), torch.tensor([1e4, 1e4, -1e4], dtype=dtype), 0.5)
        expect.equal(far, torch.tensor([-1.0, -1.0, 1.0], dtype=dtype), "a weight with a huge gradient")


# --- 5.4a pack_bits ---------------------------------------------------------------------------------------------------


def random_words(draw: Draw, rows: int, length: int) -> np.ndarray:
    """Packed signs [rows, words] with pad bits 0."""
    count = -(-length // 64)
    words = draw.rng.integers(0, 2**64, (rows, count), dtype=np.uint64)
    words[:, count - 1 :] &= np.uint64(2 ** (length - 64 * (count - 1)) - 1) if count else np.uint64(0)
    return words


def signs_in(words: np.ndarray, length: int) -> np.ndarray:
    """The signs [rows, length], float64, that a row of words says; NumPy takes the bits apart."""
    octets = words.astype("<u8").view(np.uint8)
    return 2.0 * np.unpackbits(octets, axis=1, count=length, bitorder="little") - 1


@pack_bits.law(
    "the row [1, −1, 1, 1] is the word 1 + 4 + 8 = 13, and 64 times +1 are 2⁶⁴ − 1",
    hint="Element j is bit j, and bit 0 is worth 1; +1 is a 1, −1 is a 0. uint64 throughout.",
    trials=1,
)
def pack_example(function, draw):
    for dtype in (np.float32, np.int8, np.int64):
        expect.equal(function(np.array([[1, -1, 1, 1]], dtype)), np.array([[13]], np.uint64))
    expect.equal(function(np.ones((1, 64), np.float32)), np.array([[2**64 - 1]], np.uint64))
    expect.equal(function(-np.ones((2, 3))), np.zeros((2, 1), np.uint64))


@pack_bits.law(
    "one +1 at place p of a row of −1 sets bit p mod 64 of word p // 64",
    hint="The first 64 elements fill word 0, the next 64 word 1.",
)
def pack_place(function, draw):
    length = (63, 129, 200)[draw.trial]
    for place in {0, length - 1, draw.integer(0, length - 1), 31, 32}:
        signs = -np.ones((1, length), np.float32)
        signs[0, place] = 1
        wanted = [2 ** (place % 64) if word == place // 64 else 0 for word in range(-(-length // 64))]
        expect.equal(
            function(signs), np.array([wanted], np.uint64), f"the array of words of a row with +1 at place {place} only"
        )


@pack_bits.law(
    "NumPy finds the same signs in the words again, and zeros in the pad bits; ragged lengths, any rows",
    hint="⌈K/64⌉ words a row; each row begins a new word; bits beyond the K-th are 0.",
    trials=5,
)
def pack_unpack(function, draw):
    length = (draw.integer(1, 63), 64, 128, draw.integer(65, 127), draw.integer(1025, 1100))[draw.trial]
    rows = (1, draw.integer(2, 5), 3, 260, draw.integer(2, 5))[draw.trial]  # more of each than a byte can count
    words = random_words(draw, rows, length)
    signs = signs_in(words, length)
    for dtype in (np.float16, np.float32, np.int8, np.int16, np.int32, np.int64) if draw.trial < 4 else (np.float64,):
        expect.equal(function(signs.astype(dtype)), words, f"the array of words of signs in {np.dtype(dtype)}")


@pack_bits.law("no rows or no columns: no words", hint="⌈0/64⌉ is 0.", trials=1)
def pack_nothing(function, draw):
    for rows, length in ((0, 5), (3, 0), (0, 0)):
        wanted = np.zeros((rows, -(-length // 64)), np.uint64)
        expect.equal(
            function(np.ones((rows, length), np.float32)), wanted, f"the array of words of a [{rows}, {length}] array"
        )


# --- 5.4b xnor_popcount_matmul ----------------------------------------------------------------------------------------


@xnor_popcount_matmul.law(
    "[1, −1, 1, 1] is the word 13, [1, 1, −1, 1] the word 11: two of four agree, so their product is 0",
    hint="xor marks what differs. K − 2 · (how many bits differ).",
    trials=1,
)
def product_example(function, draw):
    a, b = np.array([[13]], np.uint64), np.array([[11], [13], [2]], np.uint64)
    expect.equal(function(a, b, 4), np.array([[0, 4, -4]], np.int32))


@xnor_popcount_matmul.law(
    "it is the float product of the signs, for ragged K too",
    hint="Pad bits are no elements: use `length`, not 64 · words. The result is int32.",
    trials=4,
)
def product_float(function, draw):
    length = (draw.integer(1, 63), 64, draw.integer(65, 127), draw.integer(129, 300))[draw.trial]
    for rows, columns in (
        (draw.size(2, 4), draw.size(2, 7)),
        (1, 3),
        (4, 1),
        ((2, 2), (35, 3), (3, 300), (2, 0))[draw.trial],
    ):
        a, b = random_words(draw, rows, length), random_words(draw, columns, length)
        wanted = (signs_in(a, length) @ signs_in(b, length).T).astype(np.int32)
        expect.equal(function(a, b, length), wanted, "the array of products")


@xnor_popcount_matmul.law(
    "vectors without entries have the product 0, whatever their number",
    hint="Sum over the words, beginning at 0.",
    trials=1,
)
def product_nothing(function, draw):
    got = function(np.zeros((2, 0), np.uint64), np.zeros((3, 0), np.uint64), 0)
    expect.equal(got, np.zeros((2, 3), np.int32), "the array of products")


@xnor_popcount_matmul.law(
    "opposite vectors of length K have the product −K, equal ones K: for K = 70,000 too",
    hint="Counts of up to 70,000 do not fit into 8 or 16 bits, and an unsigned number cannot be negative.",
    trials=1,
)
def product_long(function, draw):
    for length in (128, 257, 70_000):
        a = random_words(draw, 1, length)
        flipped = np.bitwise_not(a)
        if length % 64:
            flipped[:, -1] &= np.uint64(2 ** (length % 64) - 1)
        expect.equal(function(a, np.concatenate([a, flipped]), length), np.array([[length, -length]], np.int32))


# --- 5.5 fold_batchnorm_sign ------------------------------------------------------------------------------------------


def fold(function: Callable, *arguments: Any) -> tuple[Tensor, Tensor]:
    """Threshold and direction, after their form has been looked at."""
    got = function(*arguments)
    channels = len(arguments[0])
    expect.same_kind(got, (0, 0), "the pair (threshold, direction)")
    expect.same_kind(got[0], torch.zeros(channels, dtype=torch.float64), "threshold")
    expect.same_kind(got[1], torch.zeros(channels, dtype=torch.int64), "direction")
    expect.true((got[1].abs() <= 1).all(), "direction is not 1, −1 or 0", got=got[1])
    return got[0], got[1]


def signs_of(threshold: Tensor, direction: Tensor, sums: Tensor) -> Tensor:
    """What the pair says of the sums [n, channels]: −1 or +1, float64."""
    chosen = torch.where(direction > 0, sums >= threshold, sums <= threshold)
    return torch.where(direction == 0, threshold.expand_as(sums), 2.0 * chosen - 1)


@fold_batchnorm_sign.law(
    "gamma 2, beta −3, mean 4, var + eps 4: +1 from 7 on; with gamma −2 up to 1; at the threshold itself too",
    hint="Solve gamma · (s − mean) / √(var + eps) + beta ≥ 0 for s. Dividing by a negative gamma turns ≥ into ≤.",
    trials=1,
)
def fold_example(function, draw):
    beta, mean, var = torch.tensor([-3.0, -3.0]), torch.tensor([4.0, 4.0]), torch.tensor([3.5, 3.5])
    threshold, direction = fold(function, torch.tensor([2.0, -2.0]), beta, mean, var, 0.5)
    expect.equal(direction, torch.tensor([1, -1]), "direction")
    expect.equal(threshold, torch.tensor([7.0, 1.0], dtype=torch.float64), "threshold")


@fold_batchnorm_sign.law(
    "for all integers it says what torch's batch normalization in float64 has as its sign (0 counts as +1)",
    hint="Try one channel with a negative gamma. Round the threshold to no integer on the wrong side: best to none.",
    trials=3,
)
def fold_torch(function, draw):
    channels = (1, draw.integer(4, 20), 24)[draw.trial]
    sums = torch.arange(-60, 61).double().unsqueeze(1).expand(-1, channels)
    for dtype, eps in zip(ALL_FLOATS, (0.3, 1e-5, 2.0, 0.0), strict=True):
        gamma, beta, mean = (draw.normal(channels, scale=scale, dtype=dtype) for scale in (1, 1, 6))
        var = draw.rand(channels, low=0.1, high=40, dtype=dtype)
        result = F.batch_norm(sums, mean.double(), var.double(), gamma.double(), beta.double(), eps=eps)
        got = signs_of(*fold(function, gamma, beta, mean, var, eps), sums)
        clear = result.abs() > 1e-9  # nearer to 0, rounding decides
        expect.equal(
            torch.where(clear, got, 0.0), torch.where(clear, result.sign(), 0.0), "the answer for the sums −60 … 60"
        )


@fold_batchnorm_sign.law(
    "where the crossing is an integer, that integer is +1, in both directions",
    hint="binarize(0) is +1: ≥ and ≤, not > and <.",
)
def fold_ties(function, draw):
    channels = draw.size(3, 9)
    crossing = torch.from_numpy(draw.rng.integers(-30, 31, channels)).float()
    gamma = torch.tensor([draw.choice([-2.0, -0.5, 0.25, 1.0, 4.0]) for _ in range(channels)])
    sigma = torch.tensor([draw.choice([0.5, 1.0, 2.0, 4.0]) for _ in range(channels)])
    mean = torch.from_numpy(draw.rng.integers(-20, 21, channels)).float()
    beta = gamma * (mean - crossing) / sigma  # powers of 2: exact
    threshold, direction = fold(function, gamma, beta, mean, sigma**2 - 0.25, 0.25)
    sums = crossing.double() + torch.tensor([[-1.0], [0.0], [1.0]]).double()
    wanted = torch.stack([-gamma.sign(), torch.ones(channels), gamma.sign()]).double()
    expect.equal(signs_of(threshold, direction, sums), wanted, "the answer one below, at and one above the crossing")


@fold_batchnorm_sign.law(
    "gamma 0 leaves only beta: direction 0, and its sign (+1 at 0) in threshold",
    hint="Division by 0 gives an infinity or NaN: write the constant there instead.",
    trials=2,
)
def fold_constant(function, draw):
    beta = torch.tensor([0.7, -0.7, 0.0, -1e-20, -0.0, draw.uniform(1, 5)])
    gamma = torch.tensor([0.0, 0.0, 0.0, 0.0, -0.0, 0.0])
    mean, var = draw.normal(6, scale=4), draw.rand(6, low=0.5, high=2)
    threshold, direction = fold(function, gamma, beta, mean, var, 1e-5)
    expect.equal(direction, torch.zeros(6, dtype=torch.int64), "direction")
    expect.equal(threshold, torch.tensor([1.0, -1, 1, -1, 1, 1], dtype=torch.float64), "threshold")


@fold_batchnorm_sign.law(
    "a crossing a hair above 5 leaves 5 out, and one a hair below takes it in: beyond the digits of float32",
    hint="Turn everything into float64 first: float32 rounds the crossing onto the integer.",
    trials=1,
)
def fold_precision(function, draw):
    gamma, mean = torch.tensor([1.0, 1.0, -1.0, -1.0, 1e-30]), torch.tensor([5.0, 5.0, 5.0, 5.0, 0.0])
    beta = torch.tensor([-1e-9, 1e-9, -1e-9, 1e-9, 2.5e-30])
    threshold, direction = fold(function, gamma, beta, mean, torch.full((5,), 0.75), 0.25)
    sums = torch.tensor([[5.0, 5.0, 5.0, 5.0, -2.0], [5.0, 5.0, 5.0, 5.0, -3.0]]).double()
    wanted = torch.tensor([[-1.0, 1, -1, 1, 1], [-1, 1, -1, 1, -1]]).double()
    expect.equal(signs_of(threshold, direction, sums), wanted, "the answer for the sums 5, 5, 5, 5 and −2 or −3")
    mean = torch.tensor([5 + 1e-9, 5 - 1e-9], dtype=torch.float64)
    threshold, direction = fold(function, torch.ones_like(mean), 0 * mean, mean, torch.ones_like(mean), 0.0)
    wanted = torch.tensor([[-1.0, 1.0]]).double()
    expect.equal(signs_of(threshold, direction, torch.full((1, 2), 5.0).double()), wanted, "the signs of 5 and 5")
    # beta / gamma in float32 is 1/3 rounded up, and var + eps in float32 is 1: both move the crossing over an integer
    gamma, beta, mean, var = (
        torch.tensor([3.0, 1.0]),
        torch.tensor([-1.0, -1.0]),
        torch.zeros(2),
        torch.tensor([9.0, 1.0]),
    )
    threshold, direction = fold(function, gamma, beta, mean, var, 0.0)
    expect.equal(threshold, torch.tensor([1.0, 1.0], dtype=torch.float64), "threshold")
    threshold, direction = fold(function, gamma[1:], beta[1:], mean[1:], var[1:], 1e-9)
    expect.equal(signs_of(threshold, direction, torch.ones(1, 1).double()), -torch.ones(1, 1).double(), "the sign of 1")


@fold_batchnorm_sign.law(
    "var + eps of 1e-10, eps = 0, crossings far beyond all sums: the threshold is where the line crosses 0",
    hint="The formula as it is: no clamp, no constant of your own, no default for an eps of 0.",
    trials=1,
)
def fold_scales(function, draw):
    gamma, beta = torch.tensor([1e-4, -1e-3, 2.0, 1e-12]), torch.tensor([5.0, 8.0, 3.0, 1.0])
    mean, var = torch.tensor([0.0, 0.0, 1.0, 0.0]), torch.tensor([1e-10, 1.0, 4.0, 1.0])
    threshold, direction = fold(function, gamma, beta, mean, var, 0.0)
    expect.equal(direction, torch.tensor([1, -1, 1, 1]), "direction")
    # Where s − mean is −beta / gamma standard deviations; the sums are the integers above and below, clear of rounding
    wanted = torch.tensor([-0.5, 8e3, -2.0, -1e12], dtype=torch.float64)
    up, down = (wanted + wanted.abs() * 1e-4).ceil(), (wanted - wanted.abs() * 1e-4).floor()
    right = torch.tensor([[1.0, -1.0, 1.0, 1.0], [-1.0, 1.0, -1.0, -1.0]], dtype=torch.float64)
    expect.equal(
        signs_of(threshold, direction, torch.stack([up, down])), right, "the answer on either side of the crossing"
    )


# --- 5.6 scaled_binary ------------------------------------------------------------------------------------------------


@scaled_binary.law(
    "the filters [3, −1, 0, 0] and [−2, −2, 4, 0] have signs [1, −1, 1, 1] and [−1, −1, 1, 1], scales 1 and 2",
    hint="The scale is the mean of |w| over all entries of one filter; 0 has the sign +1.",
    trials=1,
)
def scale_example(function, draw):
    weight = torch.tensor([[3.0, -1.0, 0.0, 0.0], [-2.0, -2.0, 4.0, -0.0]])
    for shaped in (weight, weight.view(2, 1, 2, 2)):
        wanted = torch.tensor([[1.0, -1, 1, 1], [-1, -1, 1, 1]]).view_as(shaped), torch.tensor([1.0, 2.0])
        expect.close(function(shaped), wanted, "(sign, scale)", atol=0)


@scaled_binary.law(
    "no other scale of these signs is nearer to the filter, by NumPy's least squares",
    hint="Minimize the sum of (w − α · sign)² over α. Each filter by itself, over all its axes but the first.",
    trials=5,
)
def scale_least_squares(function, draw):
    for dtype in ALL_FLOATS:
        filters = draw.size(1, 4)
        others = ((5,), (filters,), (2, 3), (2, 3, 3), (2, 1, 3, 2))[draw.trial]
        weight = draw.normal(filters, *others, dtype=dtype) + 0.2
        weight = weight * torch.logspace(0, 2, filters, dtype=dtype).view(-1, *[1] * (weight.dim() - 1))
        sign, scale = expect_pair(function(weight), weight)
        expect.equal(sign * weight.abs(), weight, "sign · |weight|")
        best = [
            np.linalg.lstsq(s[:, None], w, rcond=None)[0][0] for s, w in zip(*map(rows, (sign, weight)), strict=True)
        ]
        expect.close(scale, torch.tensor(best, dtype=dtype), "scale", **CLOSE[dtype])


def expect_pair(got: Any, weight: Tensor) -> tuple[Tensor, Tensor]:
    expect.same_kind(got, (0, 0), "the pair (sign, scale)")
    expect.same_kind(got[0], weight, "sign")
    expect.same_kind(got[1], weight.new_zeros(len(weight)), "scale")
    return got


def rows(value: Tensor) -> np.ndarray:
    return value.flatten(1).double().numpy()


@scaled_binary.law(
    "a filter that is α times a sign vector is found again; one of zeros has scale 0",
    hint="Then nothing is lost: sign · scale is the filter.",
)
def scale_found(function, draw):
    large = function(torch.full((1, 70_000), 2.0, dtype=torch.float16))  # whose sum float16 cannot hold
    expect.close(expect_pair(large, torch.zeros(1, 70_000).half())[1], torch.tensor([2.0]).half(), "scale")
    for dtype in FLOATS:
        sign = torch.where(draw.mask(3, *shape(draw)), 1.0, -1.0).to(dtype)
        scale = torch.tensor([draw.uniform(0.5, 2), 1e-12, 0.0], dtype=dtype)
        weight = sign * scale.view(-1, *[1] * (sign.dim() - 1))
        got_sign, got_scale = expect_pair(function(weight), weight)
        expect.close(got_scale, scale, "scale", rtol=CLOSE[dtype]["rtol"], atol=0)
        expect.equal(got_sign[:2], sign[:2], "the tensor of signs")
        expect.equal(got_sign[2], torch.ones_like(sign[2]), "the sign of zeros")


# --- 5.7 binary_forward -----------------------------------------------------------------------------------------------


class Net:
    """A random binary network: packed for the function under test, and with float64 signs for torch."""

    def __init__(self, draw: Draw, sizes: tuple[int, ...], turns: tuple[int, ...] = (-1, 0, 1)) -> None:
        self.layers: list[tuple[np.ndarray, int, Tensor | None, Tensor | None]] = []
        for inputs, outputs in itertools.pairwise(sizes):
            turn = torch.tensor([draw.choice(turns) for _ in range(outputs)])
            # Sums of K signs are even or odd as K is: thresholds on a sum, and halfway between two
            threshold = torch.tensor([draw.integer(-4, 4) + 0.5 * draw.integer(0, 1) for _ in range(outputs)]).double()
            threshold = torch.where(turn == 0, torch.where(draw.mask(outputs), 1.0, -1.0).double(), threshold)
            self.layers.append((random_words(draw, outputs, inputs), inputs, threshold, turn))
        self.layers[-1] = (*self.layers[-1][:2], None, None)

    def sums(self, words: np.ndarray) -> np.ndarray:
        """The last layer's sums, by torch's linear layers and batch normalization in float64."""
        signs = torch.from_numpy(signs_in(words, self.layers[0][1]))
        for weight_words, length, threshold, turn in self.layers:
            sums = F.linear(signs, torch.from_numpy(signs_in(weight_words, length)))
            if threshold is not None:
                mean, gamma = torch.where(turn == 0, 0.0, threshold), turn.double()
                beta = torch.where(turn == 0, threshold, 0.0)
                normed = F.batch_norm(sums, mean, torch.ones_like(mean), gamma, beta, eps=0.0)
                signs = torch.where(normed < 0, -1.0, 1.0).double()
        return sums.numpy().astype(np.int32)


@binary_forward.law(
    "one layer is the product of its inputs and weights: raw sums, no sign",
    hint="The last layer has threshold None: return its sums, int32 [batch, classes].",
    trials=2,
)
def forward_one(function, draw):
    net = Net(draw, (draw.size(5, 90), draw.integer(1, 5)))
    for batch in (1, draw.integer(2, 4), 0):
        words = random_words(draw, batch, net.layers[0][1])
        expect.equal(function(words, net.layers), net.sums(words), "the array of sums")


@binary_forward.law(
    "two inputs, two hidden units of direction 1 and thresholds 2 and 0, worked by hand",
    hint="s ≥ threshold gives +1, also where s is the threshold; then pack, and go on with the next layer.",
    trials=1,
)
def forward_example(function, draw):
    # Weights of the units: (+1, +1) and (+1, −1); of the classes: (+1, +1) and (+1, −1)
    weights, threshold = np.array([[3], [1]], np.uint64), torch.tensor([2.0, 0.0], dtype=torch.float64)
    layers = [(weights, 2, threshold, torch.tensor([1, 1])), (weights, 2, None, None)]
    # Inputs (+1, +1), (+1, −1), (−1, −1): sums (2, 0), (0, 2), (−2, 0); signs (+, +), (−, +), (−, +)
    got = function(np.array([[3], [1], [0]], np.uint64), layers)
    expect.equal(got, np.array([[2, 0], [0, -2], [0, -2]], np.int32), "the array of sums")


@binary_forward.law(
    "a net of several layers says what its float64 twin says: ragged widths, directions 1, −1 and 0, ties",
    hint="Direction 1: s ≥ threshold. −1: s ≤ threshold. 0: threshold is the sign. Pack with the next layer's length.",
    trials=4,
)
def forward_net(function, draw):
    sizes = ((6, 9, 3), (40, 1, 33, 4), (9, 9, 9, 9, 9, 9, 9, 3), (300, 65, 64, 20, 5))[draw.trial]
    net = Net(draw, sizes)
    for batch in (1, draw.integer(2, 6)):
        words = random_words(draw, batch, sizes[0])
        expect.equal(function(words, net.layers), net.sums(words), "the array of sums")


@binary_forward.law(
    "units of direction 0 are constants, those of direction −1 turn the comparison round",
    hint="Write the three cases down, one by one.",
)
def forward_directions(function, draw):
    net = Net(draw, (5, 12, 12, 12), ((0,), (-1,), (-1, 0))[draw.trial])
    words = random_words(draw, 9, 5)
    expect.equal(function(words, net.layers), net.sums(words), "the array of sums")


@binary_forward.law(
    "thresholds beyond all sums and of any size are comparisons too",
    hint="Compare as float64: do not turn a threshold into an integer of few bits.",
    trials=1,
)
def forward_extremes(function, draw):
    net = Net(draw, (7, 10, 3))
    weight_words, length, _, _ = net.layers[0]
    huge = [math.inf, -math.inf, 1e30, -1e30, 1e300, -1e300, 3 + 1e-9, 3 - 1e-9, -3 - 1e-9, -3 + 1e-9]
    for turn in (1, -1):
        threshold = torch.tensor(huge, dtype=torch.float64)
        net.layers[0] = (weight_words, length, threshold, torch.full((10,), turn))
        words = random_words(draw, 20, 7)
        expect.equal(function(words, net.layers), net.sums(words), "the array of sums")


@binary_forward.law(
    "prototypes of ten classes, drawn at random, are told apart although a quarter of the inputs' signs are flipped",
    hint="If all other laws hold, this one does.",
    trials=1,
    share=0.25,
)
def forward_classifies(function, draw):
    length, classes = 300, 10
    prototypes = random_words(draw, classes, length)
    labels = draw.rng.integers(0, classes, 100)
    flips = random_words(draw, 100, length) & random_words(draw, 100, length)
    # Of K signs, half more agree with the right prototype than differ; with another, as many agree as differ
    detectors = (prototypes, length, torch.full((classes,), length / 4).double(), torch.ones(classes).long())
    one_each = np.array([[2**c] for c in range(classes)], np.uint64)
    got = function(prototypes[labels] ^ flips, [detectors, (one_each, classes, None, None)])
    expect.same_kind(got, np.zeros((100, classes), np.int32))
    accuracy = float((got.argmax(1) == labels).mean())
    expect.true(accuracy > 0.9, "too few of the inputs are told apart", "more than 90 of 100", f"{accuracy:.0%}")
