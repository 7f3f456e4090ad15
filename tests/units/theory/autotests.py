"""Instructor-only laws of unit 13: harder cases, compared with the reference."""

import torch

from course_utils import theory
from course_utils.checks import expect
from course_utils.checks.draw import Draw
from course_utils.checks.engine import Law, law
from course_utils.theory.laws import (
    DOUBLE,
    blocks,
    expect_keys,
    expect_labels,
    expect_layers,
    expect_nearest,
    expect_report,
    expect_weight,
    layers,
    least_error,
    masks_for,
    network,
    number,
)


def scattered(draw: Draw) -> list[torch.Tensor]:
    """Masks of many shapes, some of whose rows and columns are empty."""
    masks = [draw.mask(draw.size(3, 12), 9, keep=keep) for keep in (0.1, 0.4, 0.8)]
    masks += [draw.mask(1, 9), draw.mask(9, 1), draw.mask(6, 2, 3, 3, keep=0.3), blocks((5, 6), (4, 3), (3, 7))]
    masks[1][draw.integer(0, len(masks[1]) - 1)], masks[2][:, draw.integer(0, 8)] = False, False
    return masks


@law("eleven numbers of very different size", trials=2)
def sums_hidden(function, draw):
    values = draw.normal(11, dtype=DOUBLE) * 10.0 ** draw.rand(11, low=-4, high=2, dtype=DOUBLE)
    for target in (draw.uniform(-50, 50), 1e-3):
        expect_nearest(function, values, target, least_error(values.tolist(), target), scale=100)


@law("many units of both signs, with zeros", trials=2)
def weights_hidden(function, draw):
    first = draw.normal(20, dtype=DOUBLE)[:18]
    first[::5] = 0
    for weight in (0.0, draw.uniform(-3, 3)):
        expect_weight(function, first, draw.normal(18, dtype=DOUBLE), weight)


@law("outputs and gradients as the reference's", trials=2)
def popup_hidden(function, draw):
    inputs, weight = draw.normal(4, 7, dtype=DOUBLE), draw.normal(5, 7, dtype=DOUBLE)
    scores, keep = draw.normal(5, 7, scale=3, dtype=DOUBLE).round(), draw.uniform()
    results = []
    for layer in (function, theory.popup_layer):
        leaves = [value.clone().requires_grad_() for value in (inputs, scores)]
        out = layer(leaves[0], weight, leaves[1], keep)
        results.append([out.detach(), *expect.gradient((out**3).sum(), leaves)])
    expect.close(results[0], results[1], "outputs and gradients", rtol=1e-8, atol=1e-10)


@law("four layers, masks of weights and biases, three logits", trials=2)
def ntk_hidden(function, draw):
    state = network(draw, 5, 4, 4, 4, 3)
    masks = masks_for(draw, state) | {"l1.bias": draw.mask(4), "l3.bias": draw.mask(3)}
    inputs = draw.normal(4, 5, dtype=DOUBLE)
    wanted = theory.empirical_ntk(state, masks, inputs)
    expect.close(function(state, masks, inputs), wanted, rtol=1e-8, atol=1e-10)


@law("many layers, inputs that are nearly parallel", trials=2)
def limit_hidden(function, draw):
    inputs = draw.normal(1, 8, dtype=DOUBLE) + draw.normal(4, 8, scale=0.01, dtype=DOUBLE)
    inputs[3] *= -5
    for hidden_layers in (1, 4, 9):
        wanted = theory.relu_ntk(inputs, hidden_layers)
        expect.close(function(inputs, hidden_layers), wanted, rtol=1e-6, atol=1e-6)


@law("a rank-deficient kernel, many steps, several outputs", trials=2)
def descent_hidden(function, draw):
    features = draw.normal(6, 3, dtype=DOUBLE)
    targets, initial = draw.normal(6, 2, dtype=DOUBLE), draw.normal(6, 2, dtype=DOUBLE)
    args = features @ features.T, targets, initial, 0.03, draw.integer(50, 90)
    expect.close(function(*args), theory.kernel_descent(*args), rtol=1e-6, atol=1e-8)


@law("more features than examples, thirty steps", trials=2)
def diagonal_hidden(function, draw):
    args = draw.normal(4, 9, dtype=DOUBLE), draw.normal(4, dtype=DOUBLE), draw.uniform(0.01, 0.6), 0.02, 30
    expect.close(function(*args), theory.diagonal_descent(*args), rtol=1e-8, atol=1e-12)


@law("counts of many sizes and classes", trials=2)
def noisy_hidden(function, draw):
    for count, classes in ((1, 2), (7, 100), (draw.size(100, 400), 7)):
        labels, fraction = draw.labels(count, classes), draw.uniform()
        got = expect_labels(function(labels, fraction, classes, draw.seed()), count, classes)
        number(float((got != labels).sum()), round(fraction * count), "how many labels changed")


@law("reports of many sizes", trials=2)
def report_hidden(function, draw):
    for count in (1, 2, draw.size(10, 900)):
        args = [draw.labels(count, 4) for _ in range(3)]
        expect_report(function(*args), theory.noise_report(*args))


@law("masks of many shapes")
def gap_hidden(function, draw):
    for mask in scattered(draw):
        number(function(mask), theory.ramanujan_gap(mask))


@law("masks of many shapes, some with many columns of a degree")
def imdb_hidden(function, draw):
    for mask in [*scattered(draw), draw.mask(5, 60, keep=0.7), draw.mask(4, 5, 4, 4)]:
        number(function(mask), theory.iterative_mean_difference(mask))


@law("five layers with dead units")
def flow_hidden(function, draw):
    weights = layers(draw, 4, 6, 3, 5, 4, 2)
    weights["a"][0], weights["d"][:, 1] = 0, 0
    expect.close(expect_layers(function(weights), weights), theory.synflow_scores(weights), rtol=1e-9, atol=1e-12)


@law("five thin layers, many dead chains")
def effective_hidden(function, draw):
    masks = {name: draw.mask(*w.shape, keep=0.3) for name, w in layers(draw, 9, 7, 8, 6, 7, 4).items()}
    expect.equal(expect_layers(function(masks), masks, "the masks"), theory.effective_masks(masks), "the masks")


@law("four layers of different sizes and densities", trials=2)
def whole_hidden(function, draw):
    state, inputs = network(draw, 6, 7, 4, 5, 3), draw.normal(3, 6, dtype=DOUBLE)
    masks = {name: draw.mask(*state[name].shape, keep=keep)
             for name, keep in zip(list(state)[::2], (0.3, 0.5, 0.6, 0.8), strict=True)}  # fmt: skip
    got, wanted = expect_keys(function(state, masks, inputs)), theory.mask_report(state, masks, inputs)
    for key, value in wanted.items():
        number(got[key], value, f"report[{key!r}]", rtol=1e-6, atol=1e-9)


LAWS: dict[str, list[Law]] = {
    "13.1": [sums_hidden],
    "13.2": [weights_hidden],
    "13.3": [popup_hidden],
    "13.4": [ntk_hidden],
    "13.5": [limit_hidden],
    "13.6": [descent_hidden],
    "13.7": [diagonal_hidden],
    "13.8a": [noisy_hidden],
    "13.8b": [report_hidden],
    "13.9a": [gap_hidden],
    "13.9b": [imdb_hidden],
    "13.10a": [flow_hidden],
    "13.10b": [effective_hidden],
    "13.11": [whole_hidden],
}
