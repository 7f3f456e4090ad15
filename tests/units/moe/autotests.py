"""Instructor-only laws of unit 10: larger and harder inputs, and the reference itself as the oracle."""

from collections.abc import Callable
from typing import Any

import torch

from course_utils import moe
from course_utils.checks import expect
from course_utils.checks.draw import Draw
from course_utils.checks.engine import Law, law

Function = Callable[..., Any]


def normal(draw: Draw, *shape: int, scale: float = 1.0) -> torch.Tensor:
    return draw.normal(*shape, scale=scale, dtype=torch.float64)


def same(got: Any, wanted: Any, what: str = "the result") -> None:
    expect.close(got, wanted, what, rtol=1e-9, atol=1e-12)


@law("it equals the reference, value and gradients, for many tokens and experts", trials=2)
def top_k_reference(function: Function, draw: Draw) -> None:
    tokens, experts = draw.integer(20, 60), draw.integer(10, 40)
    noise, weights = normal(draw, tokens, experts), normal(draw, tokens, experts)
    for k in (1, draw.integer(2, experts - 1), experts):
        clean, std = normal(draw, tokens, experts), normal(draw, tokens, experts).abs()
        ours, theirs = ([part.clone().requires_grad_() for part in (clean, std)] for _ in range(2))
        wanted, got = moe.noisy_top_k(*ours, noise, k), function(*theirs, noise, k)
        same(got, wanted)
        if k > 1:
            same(
                expect.gradient((got * weights).sum(), theirs),
                expect.gradient((wanted * weights).sum(), ours),
                "the list of gradients",
            )


@law("it equals the reference, value and gradient", trials=2)
def switch_reference(function: Function, draw: Draw) -> None:
    logits = normal(draw, draw.integer(1, 80), draw.integer(2, 50), scale=draw.choice([0.1, 1.0, 30.0]))
    ours, theirs = (logits.clone().requires_grad_() for _ in range(2))
    wanted, got = moe.switch_gate(ours), function(theirs)
    same(got, wanted)
    same(expect.gradient(got[1], theirs), expect.gradient(wanted[1], ours), "the gradient")


@law("it equals the reference for every k, on many experts", trials=2)
def probability_reference(function: Function, draw: Draw) -> None:
    tokens, experts = draw.integer(1, 30), draw.integer(2, 25)
    clean, noisy = normal(draw, tokens, experts), normal(draw, tokens, experts)
    std = draw.rand(tokens, experts, low=0.05, high=4, dtype=torch.float64)
    for k in (1, draw.integer(1, experts), experts - 1, experts):
        same(function(clean, std, noisy, k), moe.load_probability(clean, std, noisy, k), f"the result for k = {k}")


@law("the probabilities of a row need not sum to k, but they do not leave [0, 1]", trials=2)
def probability_range(function: Function, draw: Draw) -> None:
    clean, noisy = normal(draw, 9, 12, scale=5), normal(draw, 9, 12, scale=5)
    got = function(clean, draw.rand(9, 12, low=0.01, high=2, dtype=torch.float64), noisy, 4)
    expect.true(((got >= 0) & (got <= 1)).all(), "a probability is not between 0 and 1", got=got)


@law("it equals the reference on large tables", trials=2)
def variation_reference(function: Function, draw: Draw) -> None:
    table = draw.rand(draw.integer(1, 300), draw.integer(2, 60), dtype=torch.float64)
    same(function(table), moe.importance_loss(table))


@law("the order of the tokens and of the experts does not matter", trials=1)
def variation_permuted(function: Function, draw: Draw) -> None:
    table = draw.rand(9, 6, dtype=torch.float64)
    same(function(table[draw.permutation(9)][:, draw.permutation(6)]), function(table))


@law("it equals the reference with many experts, some of them without tokens", trials=2)
def balance_reference(function: Function, draw: Draw) -> None:
    experts = draw.integer(2, 64)
    probabilities = torch.softmax(normal(draw, 50, experts), -1)
    assignment = draw.labels(50, max(1, experts // 2))
    same(function(probabilities, assignment, experts), moe.switch_loss(probabilities, assignment, experts))


@law("it equals the reference on hundreds of tokens, tight and roomy")
def dispatch_reference(function: Function, draw: Draw) -> None:
    count, experts = draw.integer(1, 300), draw.integer(1, 20)
    tokens, assignment = normal(draw, count, 5), draw.labels(count, experts)
    for slots in (1, draw.integer(1, 20), count):
        expect.equal(function(tokens, assignment, experts, slots), moe.dispatch(tokens, assignment, experts, slots))


@law("what was sent out comes back, times the gates, but for what was dropped", trials=2)
def combine_round_trip(function: Function, draw: Draw) -> None:
    tokens, assignment = normal(draw, 60, 4), draw.labels(60, 7)
    gates = draw.rand(60, dtype=torch.float64)
    buffer, positions = moe.dispatch(tokens, assignment, 7, draw.integer(2, 12))
    same(function(buffer, assignment, positions, gates), tokens * (gates * (positions >= 0)).unsqueeze(1))


@law("it equals the reference", trials=2)
def capacity_reference(function: Function, draw: Draw) -> None:
    for _ in range(100):
        arguments = draw.integer(1, 10**6), draw.integer(1, 2048), draw.integer(1, 8), draw.integer(1, 64) / 16
        expect.equal(function(*arguments), moe.capacity(*arguments), f"capacity{arguments}")


@law("it equals the reference, gradient too", trials=2)
def choice_reference(function: Function, draw: Draw) -> None:
    tokens, experts = draw.integer(5, 80), draw.integer(1, 12)
    scores, slots = torch.softmax(normal(draw, tokens, experts + 1), -1)[:, :experts], draw.integer(1, tokens)
    ours, theirs = (scores.clone().requires_grad_() for _ in range(2))
    wanted, got = moe.expert_choice(ours, slots), function(theirs, slots)
    same(got, wanted)
    same(expect.gradient((got[1] ** 2).sum(), theirs), expect.gradient((wanted[1] ** 2).sum(), ours), "the gradient")


@law("it equals the reference on a whole vocabulary, which it spreads over the experts", trials=1)
def hash_reference(function: Function, draw: Draw) -> None:
    ids, experts = torch.arange(50_000), draw.integer(2, 64)
    got = function(ids, experts)
    expect.equal(got, moe.hash_route(ids, experts))
    counts = torch.bincount(got, minlength=experts)
    expect.true(counts.max() < 1.2 * counts.double().mean(), "the experts are not used alike", got=counts)


@law("it equals the reference, gradient too", trials=2)
def reinforce_reference(function: Function, draw: Draw) -> None:
    log_probability, reward = -draw.rand(90, high=9, dtype=torch.float64), normal(draw, 90, scale=10)
    ours, theirs = (log_probability.clone().requires_grad_() for _ in range(2))
    wanted, got = (f(x, reward, reward.mean()) for f, x in ((moe.reinforce_loss, ours), (function, theirs)))
    same(got, wanted)
    same(expect.gradient(got, theirs), expect.gradient(wanted, ours), "the gradient")


@law("it equals the reference on tall and wide tables of every rank", trials=2)
def rank_reference(function: Function, draw: Draw) -> None:
    rows, columns, rank = draw.integer(2, 40), draw.integer(2, 40), draw.integer(1, 6)
    table = normal(draw, rows, rank) @ normal(draw, rank, columns)
    got = function(table)
    expect.close(got, moe.effective_rank(table), rtol=1e-8)
    expect.true(got < min(rows, columns, rank) + 1e-6, "it exceeds the rank", f"at most {rank}", got)


@law("it equals the reference: output, auxiliary loss and all gradients, tight and roomy")
def layer_reference(function: Function, draw: Draw) -> None:
    tokens, width, hidden, experts = draw.integer(1, 50), draw.integer(2, 9), draw.integer(1, 9), draw.integer(2, 9)
    k, factor = draw.integer(1, min(3, experts)), draw.choice([0.25, 0.5, 1.0, 1.25, 8.0])
    shapes = (tokens, width), (width, experts), (experts, width, hidden), (experts, hidden, width)
    inputs, weights = [normal(draw, *shape) for shape in shapes], normal(draw, tokens, width)
    found = []
    for layer in (moe.moe_layer, function):
        variables = [part.clone().requires_grad_() for part in inputs]
        output, auxiliary = layer(*variables, k, factor)
        found.append((output, auxiliary, expect.gradient((output * weights).sum() + auxiliary, variables)))
    for got, wanted, what in zip(
        found[1], found[0], ("the output", "the auxiliary loss", "the list of gradients"), strict=True
    ):
        same(got, wanted, what)


@law("trained by gradient descent it learns two tasks that share no weights", trials=1)
def layer_learns(function: Function, draw: Draw) -> None:
    signs = torch.where(torch.arange(32) % 2 == 0, 1.0, -1.0).double()
    tokens = torch.cat([3 * signs.unsqueeze(1), normal(draw, 32, 3)], dim=1)
    wanted = signs.unsqueeze(1) * tokens
    shapes = (4, 2), (2, 4, 16), (2, 16, 4)
    weights = [normal(draw, *shape, scale=0.3) for shape in shapes]
    losses = []
    for _ in range(25):
        weights = [part.detach().requires_grad_() for part in weights]
        output, auxiliary = function(tokens, *weights, 2, 2.0)
        loss = ((output - wanted) ** 2).mean() + 0.01 * auxiliary
        losses.append(loss.item())
        gradients = torch.autograd.grad(loss, weights)
        weights = [part - 0.1 * slope for part, slope in zip(weights, gradients, strict=True)]
    expect.true(losses[-1] < 0.6 * losses[0], "the loss hardly fell", "less than 60% of the first", losses[-1])


LAWS: dict[str, list[Law]] = {
    "10.1a": [top_k_reference],
    "10.1b": [switch_reference],
    "10.2": [probability_reference, probability_range],
    "10.3a": [variation_reference, variation_permuted],
    "10.3b": [variation_reference, variation_permuted],
    "10.3c": [balance_reference],
    "10.4": [dispatch_reference],
    "10.5": [combine_round_trip],
    "10.6": [capacity_reference],
    "10.7": [choice_reference],
    "10.8": [hash_reference],
    "10.9": [reinforce_reference],
    "10.10": [rank_reference],
    "10.11": [layer_reference, layer_learns],
}
