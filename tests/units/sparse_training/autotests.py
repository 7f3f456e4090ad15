"""Instructor-only laws of unit 09: harder cases, compared with the reference."""

import math

import torch

from course_utils import sparse_training
from course_utils.checks import expect
from course_utils.checks.engine import Law, law
from course_utils.sparse_training.laws import (
    DOUBLE,
    expect_densities,
    expect_mask,
    expect_survivors,
    expect_training,
    expect_update,
    layer,
    number,
    slope,
    survivors,
    task,
)


@law("networks with many layers, some full, at many densities")
def densities_hidden(function, draw):
    for _ in range(6):
        shapes = {
            f"{i}": tuple(draw.integer(1, 60) for _ in range(draw.integer(1, 4))) for i in range(draw.integer(1, 12))
        }
        density = draw.choice((draw.uniform(), 0.02, 0.98))
        got, wanted = (
            expect_densities(function(shapes, density), shapes),
            sparse_training.erdos_renyi_densities(shapes, density),
        )
        for name in shapes:
            number(got[name], wanted[name], f"densities[{name!r}] of {shapes} at {density:.3g}", rtol=1e-7)


@law("masks of many shapes and densities have the exact count")
def mask_hidden(function, draw):
    for _ in range(10):
        shape = tuple(draw.integer(1, 12) for _ in range(draw.integer(1, 4)))
        density = draw.uniform()
        expect_mask(function(shape, density, draw.seed()), shape, round(density * math.prod(shape)))


@law("many steps, ends and α")
def fraction_hidden(function, draw):
    for _ in range(20):
        end = draw.integer(1, 10**6)
        step, alpha = draw.integer(0, 2 * end), draw.uniform()
        number(function(step, end, alpha), sparse_training.drop_fraction(step, end, alpha), rtol=1e-7)


@law("twenty updates in a row, with equals and outside the mask NaN: what stays is bit for bit as it was")
def set_hidden(function, draw):
    weight, mask, velocity = layer(draw, 12, draw.integer(8, 30), keep=0.3)
    weight = weight.round()
    for _ in range(20):
        filled = torch.where(mask, weight, torch.nan), mask, torch.where(mask, velocity, torch.nan)
        fraction = draw.uniform(0, 0.6)
        got = expect_update(function(*filled, fraction, draw.seed()), weight, mask)
        expect_survivors(got, filled, survivors(weight, mask, round(fraction * int(mask.sum()))))
        weight, mask, velocity = got
        weight = weight + torch.where(mask, draw.normal(*mask.shape).round(), 0)


@law("twenty updates in a row, with equal weights and slopes, are those of the reference")
def rigl_hidden(function, draw):
    before = layer(draw, 9, draw.integer(8, 30), keep=0.4, dtype=DOUBLE)
    before = before[0].round(), *before[1:]
    for _ in range(20):
        gradient, fraction = slope(draw, *before[1].shape, dtype=DOUBLE).round(), draw.uniform(0, 0.7)
        got = expect_update(function(*before, gradient, fraction), *before[:2])
        wanted = sparse_training.rigl_update(*before, gradient, fraction)
        for name, new, right in zip(("weight", "mask", "velocity"), got, wanted, strict=True):
            expect.equal(new, right, f"the {name}")
        before = wanted[0] + torch.where(wanted[1], draw.normal(*wanted[1].shape, dtype=DOUBLE).round(), 0), *wanted[1:]


@law("long histories of many tensors")
def explored_hidden(function, draw):
    shapes = {f"{i}": tuple(draw.integer(1, 9) for _ in range(draw.integer(1, 3))) for i in range(5)}
    history = [{name: draw.mask(*shape, keep=0.1) for name, shape in shapes.items()} for _ in range(30)]
    number(function(history), sparse_training.explored_fraction(history))


@law("many tensors and plans, some of them idle")
def exploration_hidden(function, draw):
    for _ in range(20):
        total = draw.integer(1, 10**6)
        kept = draw.integer(0, total)
        grown = [draw.choice((0, draw.integer(0, kept))) for _ in range(draw.integer(0, 50))]
        wanted = sparse_training.expected_exploration(total, kept, grown)
        number(function(total, kept, grown), wanted, f"of {kept} of {total}, growing {grown}", rtol=1e-6)


@law("many schedules, before, within and after")
def cubic_hidden(function, draw):
    for _ in range(20):
        begin = draw.integer(0, 1000)
        end, initial, final = begin + draw.integer(0, 5000), draw.uniform(), draw.uniform()
        step = draw.integer(0, 7000)
        wanted = sparse_training.cubic_sparsity(step, begin, end, final, initial)
        number(function(step, begin, end, final, initial), wanted, rtol=1e-7)


@law("groups of many sizes, with equals, of any number of axes")
def n_of_m_hidden(function, draw):
    for _ in range(8):
        m = draw.integer(1, 12)
        shape = (*(draw.integer(1, 5) for _ in range(draw.integer(0, 3))), m * draw.integer(1, 6))
        weight = torch.from_numpy(draw.rng.integers(-3, 4, shape)).to(
            draw.choice((torch.float32, torch.float16, DOUBLE))
        )
        n = draw.integer(0, m)
        expect.equal(function(weight, n, m), sparse_training.n_of_m_mask(weight, n, m), f"the mask {n}:{m} of {shape}")


@law("a deeper network, for a while: the reference's masks and state", trials=2)
def train_hidden(function, draw):
    state, masks, inputs, labels = task(draw, 9, 12, draw.integer(6, 10), 8, 4)
    plan = 0.1, draw.choice((0.0, 0.9)), 25, draw.integer(2, 5), draw.integer(10, 30), draw.uniform(0.2, 0.7)
    got = expect_training(function(state, masks, inputs, labels, *plan), state, masks)
    wanted = sparse_training.rigl_train(state, masks, inputs, labels, *plan)
    expect.equal(got[1], wanted[1], "the masks")
    expect.close(got[0], wanted[0], "the state", rtol=1e-6, atol=1e-9)


LAWS: dict[str, list[Law]] = {
    "9.1a": [densities_hidden],
    "9.1b": [mask_hidden],
    "9.2": [fraction_hidden],
    "9.3": [set_hidden],
    "9.4": [rigl_hidden],
    "9.5a": [explored_hidden],
    "9.5b": [exploration_hidden],
    "9.6": [cubic_hidden],
    "9.7": [n_of_m_hidden],
    "9.8": [train_hidden],
}
