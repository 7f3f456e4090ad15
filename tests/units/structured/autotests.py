"""Instructor-only laws of unit 04: harder cases, compared with the reference."""

import torch

from course_utils import structured
from course_utils.checks import expect
from course_utils.checks.draw import Draw
from course_utils.checks.engine import Law, law
from course_utils.structured.laws import DOUBLE, cut, lenet_state, pushed, same_logits, shrunk, sizes_of, wide_columns


def banks(draw: Draw) -> list[torch.Tensor]:
    """Filter banks of many shapes, with dead groups."""
    shapes = [(1, 7), (9, 1), (6, 5, 1), (4, 6, 3, 2), (3, 2, 2, 3, 2)]
    weights = [draw.normal(*shape, dtype=DOUBLE) for shape in shapes]
    for weight in weights[2:]:
        weight[draw.integer(0, len(weight) - 1)], weight[:, draw.integer(0, weight.shape[1] - 1)] = 0, 0
    return weights


@law("filter banks of many shapes with dead filters, and their gradient")
def filters_hidden(function, draw):
    for weight in banks(draw):
        expect.close(function(weight), structured.filter_norms(weight))
        leaf, other = (weight.clone().requires_grad_() for _ in range(2))
        got = expect.gradient(function(leaf) ** 2, leaf)
        expect.close(got, expect.gradient(structured.filter_norms(other) ** 2, other), "the gradient of its square")


@law("filter banks of many shapes with dead channels, and their gradient")
def channels_hidden(function, draw):
    for weight in banks(draw):
        expect.close(function(weight), structured.channel_norms(weight))
        leaf, other = (weight.clone().requires_grad_() for _ in range(2))
        got = expect.gradient(function(leaf) ** 2, leaf)
        expect.close(got, expect.gradient(structured.channel_norms(other) ** 2, other), "the gradient of its square")


@law("many layers of many shapes, one strength far larger than the other")
def lasso_hidden(function, draw):
    for strengths in ((1e-4, 10.0), (draw.uniform(), draw.uniform())):
        leaves, others = ([w.clone().requires_grad_() for w in banks(draw)] for _ in range(2))
        leaves = [a.detach().clone().requires_grad_() for a in others]
        got, wanted = function(leaves, *strengths), structured.group_lasso(others, *strengths)
        expect.close(got, wanted)
        expect.close(expect.gradient(got, leaves), expect.gradient(wanted, others), "the gradients")


@law("filter banks of many shapes, along every axis, at many thresholds")
def shrink_hidden(function, draw):
    for weight in banks(draw):
        for dim in range(-weight.dim(), weight.dim()):
            for threshold in (0, draw.uniform(0, 3), 1e3):
                wanted = structured.shrink_groups(weight, threshold, dim)
                got = function(weight, threshold, dim)
                expect.close(got, wanted, f"along {dim} by {threshold:.3g}", atol=1e-10)
                expect.true(torch.equal(got == 0, wanted == 0), "other entries are 0")


@law("twenty steps in a row on a quadratic: the same weights and the same zeros", trials=2)
def step_hidden(function, draw):
    goal = draw.normal(6, 5, 2, dtype=DOUBLE) * draw.rand(6, 1, 1, dtype=DOUBLE) * draw.rand(1, 5, 1, dtype=DOUBLE)
    ours = theirs = draw.normal(6, 5, 2, dtype=DOUBLE)
    for _ in range(20):
        ours = structured.proximal_step(ours, ours - goal, 0.2, 0.6, 0.4)
        theirs = function(theirs, theirs - goal, 0.2, 0.6, 0.4)
    expect.close(theirs, ours, "the weight after twenty steps", atol=1e-9)
    expect.true(torch.equal(theirs == 0, ours == 0), "other entries are 0")


@law("large layers, a third of the filters gone, for every kind of next layer")
def cut_hidden(function, draw):
    for shape, relu in (((7, 40, 3, 3), False), ((6, 40 * 9), True), ((5, 40), True)):
        weight, bias = draw.normal(40, 3, 5, dtype=DOUBLE), draw.normal(40, dtype=DOUBLE)
        after, after_bias = draw.normal(*shape, dtype=DOUBLE), draw.normal(shape[0], dtype=DOUBLE)
        gone = draw.mask(40, keep=0.35)
        gone[0] = False
        dead = gone & draw.mask(40)
        weight[dead] = 0
        after.view(shape[0], 40, -1)[:, gone & ~dead] = 0
        wanted = structured.remove_filters(weight, bias, after, after_bias, ~gone, relu=relu)
        expect.close(cut(function, [weight, bias, after, after_bias], ~gone, relu=relu), wanted, atol=1e-10)


@law("matrices of many shapes and densities")
def push_hidden(function, draw):
    for keep in (0.002, 0.05, 0.5):
        matrix = draw.normal(draw.integer(1, 300), draw.integer(1, 300)) * draw.mask(1, 1, keep=0.9)
        matrix = matrix * draw.mask(*matrix.shape, keep=keep)
        expect.equal(pushed(function, matrix), structured.concatenate_nonzero(matrix))


@law("matrices of many shapes and densities, multiplied")
def product_hidden(function, draw):
    for keep in (0.0, 0.01, 0.3):
        matrix = draw.normal(draw.integer(2, 200), draw.integer(2, 200), dtype=DOUBLE)
        matrix = matrix * draw.mask(*matrix.shape, keep=keep)
        inputs = draw.normal(5, matrix.shape[1], dtype=DOUBLE)
        stored = structured.concatenate_nonzero(matrix)
        expect.close(function(inputs, *stored, len(matrix)), inputs @ matrix.T, "the product", rtol=1e-9, atol=1e-9)


@law("large networks at many thresholds: the reference's sizes and logits", trials=2)
def network_hidden(function, draw):
    state = wide_columns(draw, lenet_state(draw, 12, 20, 30), 16)
    # The thresholds are those of the second layer; the others have few groups as short
    for name, scale in (("z.weight", 40), ("conv.w", 1), ("hidden", 10), ("out.weight", 50)):
        weight = state[name]
        weight *= scale
        for axis in (0, 1):
            shape = [-1 if a == axis else 1 for a in range(weight.dim())]
            weight *= draw.rand(weight.shape[axis], low=0.05, high=1, dtype=DOUBLE).view(shape)
    images = draw.normal(2, 1, 28, 28, dtype=DOUBLE)
    norms = structured.filter_norms(state["conv.w"]).sort().values
    for threshold in (0.0, float(norms[3]), float(norms[8])):
        wanted = structured.shrink_network(state, threshold)
        same_logits(shrunk(function, state, threshold, sizes_of(wanted)), wanted, images)


LAWS: dict[str, list[Law]] = {
    "4.1a": [filters_hidden],
    "4.1b": [channels_hidden],
    "4.2": [lasso_hidden],
    "4.3a": [shrink_hidden],
    "4.3b": [step_hidden],
    "4.4": [cut_hidden],
    "4.5a": [push_hidden],
    "4.5b": [product_hidden],
    "4.6": [network_hidden],
}
