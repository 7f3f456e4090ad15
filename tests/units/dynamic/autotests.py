"""Instructor-only laws of unit 06: harder cases, compared with the reference."""

import torch

from course_utils import dynamic
from course_utils.checks import expect
from course_utils.checks.engine import Law, law
from course_utils.dynamic.laws import (
    DOUBLE,
    FLOATS,
    away,
    expect_layer,
    head,
    layer,
    near,
    network,
    precise,
    predictions,
)


@law("many axes, many classes, logits of any size")
def entropy_hidden(function, draw):
    for dtype in FLOATS:
        logits = draw.normal(3, 2, 4, 50, scale=10.0 ** draw.integer(-3, 3), dtype=dtype)
        near(function(logits), dynamic.prediction_entropy(logits), "the entropies")


@law("many exits, many examples, thresholds of every kind")
def exit_hidden(function, draw):
    logits = [draw.normal(150, 10, scale=draw.uniform(1, 6)) for _ in range(draw.integer(2, 7))]
    thresholds = [draw.choice([0.0, torch.inf, *[away(draw, dynamic.prediction_entropy(z))] * 4]) for z in logits[:-1]]
    expect.equal(function(logits, thresholds), dynamic.exit_index(logits, thresholds), "the exits")


@law("many exits, weights of every size")
def joint_hidden(function, draw):
    for dtype in FLOATS:
        batch, exits = draw.integer(1, 40), draw.integer(1, 6)
        logits, labels = [draw.normal(batch, 10, scale=5, dtype=dtype) for _ in range(exits)], draw.labels(batch, 10)
        weights = [draw.choice([0.0, 1.0, draw.uniform(0, 100)]) for _ in logits]
        near(function(logits, labels, weights), dynamic.joint_exit_loss(logits, labels, weights), "the loss")


@law("three and four exits, many examples, budgets that bind")
def choose_hidden(function, draw):
    exits, count = draw.integer(3, 4), 64
    entropies, correct = draw.rand(exits - 1, count), draw.mask(exits, count, keep=0.8)
    macs = draw.rng.integers(1, 50, exits).cumsum().tolist()
    candidates = [0.0, float("inf"), *draw.rng.permutation([0.1, 0.3, 0.5, 0.7, 0.9])[:3].tolist()]
    budget = macs[0] + draw.uniform(0, 1) * (macs[-1] - macs[0])
    arguments = entropies, correct, macs, budget, candidates
    expect.equal(function(*arguments), dynamic.choose_thresholds(*arguments), "the thresholds")


@law("many gates, drawn with logistic noise")
def gate_hidden(function, draw):
    for dtype in FLOATS:
        logits = draw.normal(50, 6, scale=3, dtype=dtype).requires_grad_()
        noise, factor = (
            torch.logit(draw.rand(50, 6, low=1e-4, high=1 - 1e-4, dtype=dtype)),
            draw.normal(50, 6, dtype=dtype),
        )
        got, wanted = function(logits, noise), dynamic.skip_gate(logits, noise)
        expect.close(got, wanted, "the gates")
        (slope,) = torch.autograd.grad((factor * wanted).sum(), logits)
        near(expect.gradient(factor * got, logits, "a gate"), slope, "the gradient")


@law("many gates and examples, costs of any size")
def cost_hidden(function, draw):
    for dtype in FLOATS:
        p, costs = draw.rand(70, 20, dtype=dtype), draw.rand(20, low=0, high=1e8, dtype=dtype)
        near(function(p, costs), dynamic.expected_cost(p, costs), "the cost")


@law("ten gates, some of them sure")
def reward_hidden(function, draw):
    p = draw.rand(5, 10, dtype=DOUBLE)
    p = torch.where(draw.mask(5, 10, keep=0.3), p.round(), p).requires_grad_()
    rewards = draw.normal(5, 1024, scale=10, dtype=DOUBLE)
    got, wanted = function(p, rewards), dynamic.expected_reward(p, rewards)
    precise(got, wanted, "the mean reward")
    (slope,) = torch.autograd.grad(wanted, p)
    precise(expect.gradient(got, p, "the mean reward"), slope, "the gradient")


@law("layers and fractions of every kind")
def slim_hidden(function, draw):
    for dtype in FLOATS:
        outputs, channels, positions = draw.integer(1, 40), draw.integer(1, 30), draw.choice([1, 4, 9])
        fractions = draw.uniform(0.02, 1), draw.uniform(0.02, 1)
        weight, bias = draw.normal(outputs, channels * positions, dtype=dtype), draw.normal(outputs, dtype=dtype)
        wanted = dynamic.slim(weight, bias, *fractions, positions)
        expect_layer(function(weight, bias, *fractions, positions), *wanted)
        kernels = draw.normal(outputs, channels, 3, 3, dtype=dtype)
        expect_layer(function(kernels, bias, *fractions), *dynamic.slim(kernels, bias, *fractions))


@law("four exits, many images")
def predict_hidden(function, draw):
    inputs, stages, heads = network(draw, 60)
    stages, heads = [*stages, layer(draw, 7, 6)], [*heads, head(draw, 7, 5, 4)]
    entropies = dynamic.prediction_entropy(draw.normal(200, 4, scale=3))
    thresholds = [away(draw, entropies) for _ in range(3)]
    # One image at a time, as a batch is rounded otherwise
    alone = [dynamic.early_exit_predict(image, stages, heads, thresholds) for image in inputs.split(1)]
    classes, exits = predictions(function(inputs, stages, heads, thresholds), 60)
    differ = exits != torch.cat([each[1] for each in alone])
    expect.true(int(differ.sum()) <= 1, "more than one image leaves at another exit than alone")
    wanted = torch.cat([each[0] for each in alone])
    expect.equal(torch.where(differ, wanted, classes), wanted, "the classes")


LAWS: dict[str, list[Law]] = {
    "6.1": [entropy_hidden],
    "6.2": [exit_hidden],
    "6.3": [joint_hidden],
    "6.4": [choose_hidden],
    "6.5a": [gate_hidden],
    "6.5b": [cost_hidden],
    "6.5c": [reward_hidden],
    "6.6": [slim_hidden],
    "6.7": [predict_hidden],
}
