"""Instructor-only laws of unit 01: larger and harder inputs, and the reference itself as the oracle."""

from collections.abc import Callable
from typing import Any

import torch

from course_utils import distillation
from course_utils.checks import expect
from course_utils.checks.draw import Draw
from course_utils.checks.engine import Law, law
from course_utils.distillation.laws import precise as same
from course_utils.models import mlp_forward

Function = Callable[..., Any]


def logits(draw: Draw, *shape: int, scale: float = 3.0) -> torch.Tensor:
    return draw.normal(*shape, scale=scale, dtype=torch.float64)


# --- 1.1 soft_targets -------------------------------------------------------------------------------------------------


@law("it equals the reference on tensors of one to four axes")
def soft_reference(function: Function, draw: Draw) -> None:
    for shape in ((7,), (33, 10), (2, 5, 100), (2, 3, 4, 5)):
        z, temperature = logits(draw, *shape), draw.uniform(0.1, 60)
        same(function(z, temperature), distillation.soft_targets(z, temperature))


@law("it works on a transposed and on a sliced tensor")
def soft_strided(function: Function, draw: Draw) -> None:
    z = logits(draw, 6, 4)
    same(function(z.T, 2.0), distillation.soft_targets(z.T.contiguous(), 2.0))
    same(function(z[:, ::2], 2.0), distillation.soft_targets(z[:, ::2].contiguous(), 2.0))


@law("a cold softmax is the argmax, a hot one uniform", trials=2)
def soft_limits(function: Function, draw: Draw) -> None:
    z = torch.stack([draw.permutation(6).double() for _ in range(5)])
    wanted = torch.nn.functional.one_hot(z.argmax(-1), 6).double()
    expect.close(function(z, 1e-3), wanted, atol=1e-9)
    expect.close(function(z, 1e6), torch.full_like(z, 1 / 6), atol=1e-5)


# --- 1.2 distillation_loss --------------------------------------------------------------------------------------------


@law("it equals the reference, value and gradient, on a large batch of many classes")
def loss_reference(function: Function, draw: Draw) -> None:
    batch, classes = draw.integer(40, 90), draw.integer(11, 30)
    z, v, labels = logits(draw, batch, classes), logits(draw, batch, classes), draw.labels(batch, classes)
    temperature, alpha = draw.uniform(0.5, 25), draw.uniform(0.05, 0.95)
    ours, theirs = z.clone().requires_grad_(), z.clone().requires_grad_()
    wanted = distillation.distillation_loss(ours, v, labels, temperature, alpha)
    got = function(theirs, v, labels, temperature, alpha)
    same(got, wanted)
    same(expect.gradient(got, theirs), expect.gradient(wanted, ours), "the gradient")


@law("the order of the examples and of the classes does not matter", trials=2)
def loss_permuted(function: Function, draw: Draw) -> None:
    z, v, labels = logits(draw, 8, 5), logits(draw, 8, 5), draw.labels(8, 5)
    rows, columns = draw.permutation(8), draw.permutation(5)
    shuffled = function(z[rows][:, columns], v[rows][:, columns], columns.argsort()[labels[rows]], 3.0, 0.4)
    same(shuffled, function(z, v, labels, 3.0, 0.4))


@law("a student or a teacher shifted by a constant per row has the same loss", trials=2)
def loss_shifted(function: Function, draw: Draw) -> None:
    z, v, labels = logits(draw, 8, 5), logits(draw, 8, 5), draw.labels(8, 5)
    moved = function(z + logits(draw, 8, 1), v + logits(draw, 8, 1), labels, 3.0, 0.4)
    expect.close(moved, function(z, v, labels, 3.0, 0.4), rtol=1e-8)


@law("the gradient of very sure networks is right, not only finite", trials=1)
def loss_sure_gradient(function: Function, draw: Draw) -> None:
    z = torch.tensor([[900.0, 0.0, -900.0], [0.0, 0.0, 2000.0]], requires_grad=True)
    v = torch.tensor([[-900.0, 0.0, 900.0], [2000.0, 0.0, 0.0]])
    got = expect.gradient(function(z, v, torch.tensor([0, 1]), 2.0, 1.0), z)
    expect.close(got, torch.tensor([[1.0, 0.0, -1.0], [-1.0, 0.0, 1.0]]), "the gradient")


# --- 1.3 ensemble_soft_targets ----------------------------------------------------------------------------------------


@law("it equals the reference for many members")
def ensemble_reference(function: Function, draw: Draw) -> None:
    members, temperature = [logits(draw, 9, 12) for _ in range(draw.integer(8, 20))], draw.uniform(0.5, 25)
    same(function(members, temperature), distillation.ensemble_soft_targets(members, temperature))


@law("its entropy is at least the mean of its members' entropies", trials=2)
def ensemble_entropy(function: Function, draw: Draw) -> None:
    members, temperature = [logits(draw, 4, 6) for _ in range(5)], draw.uniform(0.5, 5)

    def entropy(p: torch.Tensor) -> torch.Tensor:
        return -torch.xlogy(p, p).sum(-1)

    mixed = entropy(function(members, temperature))
    alone = torch.stack([entropy(function([m], temperature)) for m in members]).mean(0)
    expect.true((mixed >= alone - 1e-9).all(), "the mean is surer than its members", alone, mixed)


# --- 1.4 virtual_teacher ----------------------------------------------------------------------------------------------


@law("it equals the reference for many classes and labels")
def virtual_reference(function: Function, draw: Draw) -> None:
    classes = draw.choice([2, 10, 100, 1000])
    labels, right = draw.labels(draw.integer(1, 200), classes), draw.uniform(0.0, 1.0)
    expect.close(function(labels, classes, right), distillation.virtual_teacher(labels, classes, right))


@law("a probability of 1/K is a teacher that knows nothing", trials=2)
def virtual_uniform(function: Function, draw: Draw) -> None:
    classes = draw.integer(2, 30)
    labels = draw.labels(9, classes)
    expect.close(function(labels, classes, 1 / classes), torch.full((9, classes), 1 / classes))


# --- 1.5 distillation_gradient ----------------------------------------------------------------------------------------


@law("it equals the reference on a large batch, cold and hot")
def gradient_reference(function: Function, draw: Draw) -> None:
    z, v = logits(draw, 64, 25), logits(draw, 64, 25)
    for temperature in (draw.uniform(0.05, 0.5), draw.uniform(1, 60)):
        same(function(z, v, temperature), distillation.distillation_gradient(z, v, temperature))


@law("student and teacher exchanged, it changes its sign", trials=2)
def gradient_antisymmetric(function: Function, draw: Draw) -> None:
    z, v, temperature = logits(draw, 5, 4), logits(draw, 5, 4), draw.uniform(0.5, 9)
    same(function(z, v, temperature), -function(v, z, temperature))


# --- 1.6 distill ------------------------------------------------------------------------------------------------------


def network(draw: Draw, *sizes: int) -> dict[str, torch.Tensor]:
    """An MLP whose layers are named at random."""
    names = [f"{chr(ord('a') + i)}{draw.integer(0, 999)}" for i in draw.permutation(len(sizes) - 1).tolist()]
    return {
        f"{name}.{part}": logits(draw, *shape, scale=scale)
        for name, fan_in, fan_out in zip(names, sizes, sizes[1:], strict=False)
        for part, shape, scale in (("weight", (fan_out, fan_in), fan_in**-0.5), ("bias", (fan_out,), 0.1))
    }


@law("it equals the reference on networks of one to four layers, on images")
def distill_reference(function: Function, draw: Draw) -> None:
    sizes = [(12, 7), (12, 9, 4), (12, 8, 6, 5), (12, 8, 8, 8, 3)][draw.integer(0, 3)]
    state, batch = network(draw, *sizes), draw.integer(1, 140)
    inputs, v, labels = logits(draw, batch, 1, 3, 4), logits(draw, batch, sizes[-1]), draw.labels(batch, sizes[-1])
    settings = draw.uniform(0.5, 20), draw.uniform(0, 1), draw.uniform(0.01, 0.2), draw.integer(2, 6)
    wanted = distillation.distill(state, inputs, labels, v, *settings)
    same(function(state, inputs, labels, v, *settings), wanted, "the state")


@law("twice the same call gives the same state", trials=1)
def distill_repeatable(function: Function, draw: Draw) -> None:
    state, inputs, v, labels = network(draw, 6, 5, 4), logits(draw, 20, 6), logits(draw, 20, 4), draw.labels(20, 4)
    first, again = (function(state, inputs, labels, v, 4.0, 0.5, 0.1, 3) for _ in range(2))
    expect.equal(again, first, "the state of the second call")


@law("every step of a small rate lowers the loss", trials=2)
def distill_descends(function: Function, draw: Draw) -> None:
    state, inputs, v, labels = network(draw, 6, 8, 4), logits(draw, 30, 6), logits(draw, 30, 4), draw.labels(30, 4)
    temperature, alpha = draw.uniform(1, 6), draw.uniform(0.2, 0.8)

    def cost(weights: dict[str, torch.Tensor]) -> float:
        return float(distillation.distillation_loss(mlp_forward(weights, inputs), v, labels, temperature, alpha))

    costs = [cost(function(state, inputs, labels, v, temperature, alpha, 1e-3, steps)) for steps in range(4)]
    expect.true(costs == sorted(costs, reverse=True), "the loss rose", "a falling loss", costs)


LAWS: dict[str, list[Law]] = {
    "1.1": [soft_reference, soft_strided, soft_limits],
    "1.2": [loss_reference, loss_permuted, loss_shifted, loss_sure_gradient],
    "1.3": [ensemble_reference, ensemble_entropy],
    "1.4": [virtual_reference, virtual_uniform],
    "1.5": [gradient_reference, gradient_antisymmetric],
    "1.6": [distill_reference, distill_repeatable, distill_descends],
}
