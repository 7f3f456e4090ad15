"""Instructor-only laws of unit 11: harder cases, compared with the reference."""

import torch

from course_utils import transfer
from course_utils.checks import expect
from course_utils.checks.engine import Law, law
from course_utils.transfer.laws import DOUBLE, expect_count, expect_parts, expect_rank, expect_svd, factors, problem


@law("matrices of many shapes and conditions, at every rank", "All ranks from 1 to min(m, n), and no cut-off.")
def svd_hidden(function, draw):
    for m, n in ((1, 1), (12, 3), (3, 12), (8, 8)):
        matrix = draw.normal(m, n, dtype=DOUBLE) * 10.0 ** draw.rand(1, n, low=-4, high=4, dtype=DOUBLE)
        for rank in range(1, min(m, n) + 1):
            u, s, v = expect_svd(function(matrix, rank), matrix, rank)
            right_u, right_s, right_v = transfer.truncated_svd(matrix, rank)
            expect.close(s, right_s, f"s at rank {rank}", rtol=1e-7)
            expect.close(u * s @ v, right_u * right_s @ right_v, "the part", rtol=1e-5, atol=1e-6 * float(right_s[0]))


@law("many spectra and shares", "Sort the squares; the first r with at least the share.")
def energy_hidden(function, draw):
    for _ in range(12):
        values = draw.rand(draw.integer(1, 60), dtype=DOUBLE) ** draw.integer(1, 6)
        share = draw.uniform(0, 0.99)
        expect_rank(function(values, share), transfer.rank_for_energy(values, share), f"the rank for {share:.3f}")


@law("inputs of many axes, ranks up to the full one", "Along the last axis only.")
def forward_hidden(function, draw):
    for shape, rank in (((2, 3, 4), 1), ((7,), 5), ((1, 1), 9)):
        weight, a, b = factors(draw, 4, 6, rank)
        inputs, scale = draw.normal(*shape, 6, dtype=DOUBLE), draw.uniform(-3, 3)
        got, wanted = (f(inputs, weight, a, b, scale) for f in (function, transfer.lora_forward))
        expect.close(got, wanted, rtol=1e-8, atol=1e-9)


@law("merging, then taking out again", "W + scale · b·a, and no more.")
def merge_hidden(function, draw):
    weight, a, b = factors(draw, draw.integer(1, 9), draw.integer(1, 9), draw.integer(1, 5))
    scale = draw.uniform(-3, 3)
    merged = function(weight, a, b, scale)
    expect.close(merged, transfer.lora_merge(weight, a, b, scale), rtol=1e-8, atol=1e-9)
    expect.close(function(merged, a, b, -scale), weight, "the weight again", rtol=1e-7, atol=1e-9, calls=2)


@law("many shapes, ranks, numbers of entries and steps", "As the law above, on more draws.")
def residual_hidden(function, draw):
    for m, n in ((3, 9), (9, 3), (6, 6), (1, 5)):
        matrix = draw.normal(m, n, dtype=DOUBLE)
        matrix.view(-1)[draw.permutation(m * n)[:2]] *= 9
        rank, nonzeros, steps = draw.integer(0, min(m, n)), draw.integer(0, m * n // 2), draw.integer(1, 5)
        low, sparse = expect_parts(function(matrix, rank, nonzeros, steps), matrix, rank, nonzeros)
        u, v, wanted = transfer.sparse_residual(matrix, rank, nonzeros, steps)
        expect.close(low + sparse, u @ v + wanted, "the sum of both parts", rtol=1e-5, atol=1e-7)


@law("large tensors of every dtype, with what is not finite outside the mask", "torch.where.")
def update_hidden(function, draw):
    for dtype in (torch.float32, DOUBLE, *expect.HALVES):
        mask = draw.mask(5, 3, 7)
        weight, delta = (draw.normal(5, 3, 7).to(dtype) for _ in range(2))
        weight[~mask] = draw.choice([float("nan"), float("inf"), 1.0])
        expect.equal(function(weight, mask, delta), transfer.masked_update(weight, mask, delta))


@law("the matrices of many networks", "Each shape by itself.")
def count_hidden(function, draw):
    for method in ("full", "lora", "dsee", "adapter"):
        shapes = [(draw.integer(1, 5000), draw.integer(1, 5000)) for _ in range(draw.integer(1, 30))]
        rank, nonzeros = draw.integer(0, 300), draw.integer(0, 10**6)
        wanted = transfer.trainable_parameters(shapes, method, rank, nonzeros)
        expect_count(function(shapes, method, rank, nonzeros), wanted, f"the count of {method}")


@law("ten steps in a row towards a target: the same factors", "All gradients from the old values.")
def step_hidden(function, draw):
    _, a, b = factors(draw, 5, 7, draw.integer(1, 4))
    support, target = draw.mask(5, 7, keep=0.3), draw.normal(5, 7, dtype=DOUBLE)
    mine = theirs = (a, b, torch.zeros(5, 7, dtype=DOUBLE))
    for _ in range(10):
        gradients = [0.7 * y @ x + s - target for x, y, s in (mine, theirs)]
        mine = function(*mine, support, gradients[0], 0.7, 0.05)
        theirs = transfer.dsee_step(*theirs, support, gradients[1], 0.7, 0.05)
    expect.close(mine, theirs, "the factors", rtol=1e-6, atol=1e-8)


@law("other networks, ranks, parts and steps", "As the laws above, on more draws.", trials=2)
def adapt_hidden(function, draw):
    state, starts, inputs, labels = problem(draw, rank=draw.integer(1, 4))
    starts["2.weight"] = draw.normal(2, 6, dtype=DOUBLE)
    starts = {name: starts[name] for name in ("2.weight", "0.weight")}
    settings = (draw.integer(0, 12), draw.uniform(0.1, 1), draw.uniform(0.2, 2), 0.2, draw.integer(1, 6))
    got = function(state, starts, inputs, labels, *settings)
    expect.close(got, transfer.dsee_adapt(state, starts, inputs, labels, *settings), "the state", rtol=1e-6, atol=1e-8)


LAWS: dict[str, list[Law]] = {
    "11.1a": [svd_hidden], "11.1b": [energy_hidden], "11.2a": [forward_hidden], "11.2b": [merge_hidden],
    "11.3": [residual_hidden], "11.4": [update_hidden], "11.5": [count_hidden], "11.6": [step_hidden],
    "11.7": [adapt_hidden],
}  # fmt: skip
