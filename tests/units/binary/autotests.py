"""Instructor-only laws of unit 05: harder cases, compared with the reference."""

import numpy as np
import torch

from course_utils import binary
from course_utils.binary.laws import CLOSE, FLOATS, Net, expect_pair, fold, random_words, signs_in, signs_of
from course_utils.checks import expect
from course_utils.checks.engine import Law, law


@law("any layout, denormal numbers, infinities")
def binarize_hidden(function, draw):
    for dtype in FLOATS:
        real = draw.normal(3, 4, 2, 5, scale=10.0 ** draw.integer(-30, 30), dtype=dtype)
        real = (real * draw.mask(3, 4, 2, 5, keep=0.7)).transpose(1, 3)
        real[0, 0, 0] = torch.tensor([float("inf"), float("-inf"), 5e-324, -5e-324], dtype=dtype)
        expect.equal(function(real), binary.binarize(real))


@law("any layout, gradients of any size, values on the edge")
def through_hidden(function, draw):
    for dtype in FLOATS:
        real = draw.normal(4, 3, 5, dtype=dtype).transpose(0, 2)
        real = torch.where(draw.mask(5, 3, 4), real, real.sign())
        gradient = draw.normal(5, 3, 4, scale=10.0 ** draw.integer(-20, 20), dtype=dtype)
        expect.equal(function(gradient, real), binary.straight_through(gradient, real))


@law("several steps in a row, as in training")
def step_hidden(function, draw):
    for dtype in FLOATS:
        real = wanted = draw.rand(4, 3, 2, low=-1, high=1, dtype=dtype)
        for _ in range(5):
            gradient, lr = draw.normal(4, 3, 2, scale=3, dtype=dtype), draw.uniform(0, 0.3)
            real, wanted = function(real, gradient, lr), binary.binary_sgd_step(wanted, gradient, lr)
            expect.close(real, wanted, **CLOSE[dtype])


@law("many rows, long rows, lengths around multiples of 64")
def pack_hidden(function, draw):
    length, rows = draw.choice([1, 63, 64, 65, 127, 128, 129, 191, 1000]), draw.integer(1, 30)
    signs = signs_in(random_words(draw, rows, length), length).astype(draw.choice([np.float32, np.int8, np.int64]))
    expect.equal(function(signs), binary.pack_bits(signs), "the array of words")


@law("many pairs, lengths around multiples of 64")
def product_hidden(function, draw):
    length = draw.choice([1, 63, 64, 65, 127, 128, 129, 1000])
    a, b = (random_words(draw, draw.integer(1, 40), length) for _ in range(2))
    expect.equal(function(a, b, length), binary.xnor_popcount_matmul(a, b, length), "the array of products")


@law("many channels, every sign of every integer, gamma 0 among them")
def fold_hidden(function, draw):
    for dtype in FLOATS:
        channels = 60
        gamma, beta, mean = (draw.normal(channels, scale=scale, dtype=dtype) for scale in (0.5, 2, 20))
        gamma = gamma * draw.mask(channels, keep=0.8)
        var = draw.rand(channels, low=0, high=500, dtype=dtype)
        arguments = gamma, beta, mean, var, draw.choice([1e-5, 1e-3, 0.1])
        sums = torch.arange(-300, 301).double().unsqueeze(1).expand(-1, channels)
        wanted = signs_of(*binary.fold_batchnorm_sign(*arguments), sums)
        expect.equal(signs_of(*fold(function, *arguments), sums), wanted, "the answer for the sums −300 … 300")


@law("filter banks of any layout")
def scale_hidden(function, draw):
    for dtype in FLOATS:
        weight = draw.normal(6, 4, 3, 5, scale=10.0 ** draw.integer(-5, 5), dtype=dtype).transpose(0, 3)
        sign, scale = expect_pair(function(weight), weight)
        wanted_sign, wanted_scale = binary.scaled_binary(weight)
        expect.equal(sign, wanted_sign, "sign")
        expect.close(scale, wanted_scale, "scale", rtol=CLOSE[dtype]["rtol"], atol=0)


@law("deep and wide networks")
def forward_hidden(function, draw):
    sizes = tuple(draw.integer(1, 150) for _ in range(draw.integer(2, 7)))
    net = Net(draw, sizes)
    words = random_words(draw, draw.integer(1, 20), sizes[0])
    expect.equal(function(words, net.layers), binary.binary_forward(words, net.layers), "the array of sums")


LAWS: dict[str, list[Law]] = {
    "5.1": [binarize_hidden],
    "5.2": [through_hidden],
    "5.3": [step_hidden],
    "5.4a": [pack_hidden],
    "5.4b": [product_hidden],
    "5.5": [fold_hidden],
    "5.6": [scale_hidden],
    "5.7": [forward_hidden],
}
