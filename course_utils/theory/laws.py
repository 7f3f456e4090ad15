"""Laws of unit 13, theory."""

import itertools
import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.checks import expect
from course_utils.checks.draw import Draw
from course_utils.checks.engine import Unit
from course_utils.models import mlp_forward

unit = Unit("theory")
subset_sum = unit.exercise("13.1", "subset_sum", points=2, minutes=5, difficulty=2)
prune_to_weight = unit.exercise("13.2", "prune_to_weight", points=2, minutes=5, difficulty=2)
popup_layer = unit.exercise("13.3", "popup_layer", points=4, minutes=15, difficulty=4)
empirical_ntk = unit.exercise("13.4", "empirical_ntk", points=4, minutes=15, difficulty=4)
relu_ntk = unit.exercise("13.5", "relu_ntk", points=4, minutes=15, difficulty=4)
kernel_descent = unit.exercise("13.6", "kernel_descent", points=2, minutes=5, difficulty=2)
diagonal_descent = unit.exercise("13.7", "diagonal_descent", points=3, minutes=10, difficulty=3)
noisy_labels = unit.exercise("13.8a", "noisy_labels", points=2, minutes=5, difficulty=2, draws=True, fresh=True)
noise_report = unit.exercise("13.8b", "noise_report", points=2, minutes=5, difficulty=1)
ramanujan_gap = unit.exercise("13.9a", "ramanujan_gap", points=3, minutes=10, difficulty=3)
iterative_mean_difference = unit.exercise("13.9b", "iterative_mean_difference", points=3, minutes=10, difficulty=3)
synflow_scores = unit.exercise("13.10a", "synflow_scores", points=3, minutes=5, difficulty=3)
effective_masks = unit.exercise("13.10b", "effective_masks", points=2, minutes=5, difficulty=2, fresh=True)
mask_report = unit.exercise("13.11", "mask_report", points=5, minutes=10, difficulty=3)

DOUBLE = torch.float64
Tensors = dict[str, Tensor]


def number(got: Any, expected: float, what: str = "the result", rtol: float = 1e-9, atol: float = 1e-12) -> None:
    """A Python number, to nearly all its digits."""
    expect.close(got, float(expected), what, rtol=rtol, atol=atol)


def flags(got: Any, count: int, what: str = "the mask") -> Tensor:
    """A bool tensor [count]."""
    expect.same_kind(got, torch.zeros(count, dtype=torch.bool), what)
    return got


def least_error(values: Sequence[float], target: float) -> float:
    """The least |sum − target| over all subsets, all of them tried."""
    numbers = np.array(values, dtype=np.float64)
    bits = np.arange(2 ** len(numbers))[:, None] >> np.arange(len(numbers)) & 1
    return float(np.abs(bits @ numbers - target).min())


# --- 13.1 subset_sum --------------------------------------------------------------------------------------------------


def expect_nearest(function: Callable, values: Tensor, target: float, least: float, scale: float = 1.0) -> None:
    """The chosen subset is as near as any."""
    mask = flags(function(values, target), len(values))
    error = abs(math.fsum(values.double()[mask].tolist()) - target)
    expect.true(error <= least + 1e-12 * scale, "another subset is nearer to the target", least, error)


@subset_sum.law(
    "3, 5, −2 and 9: only 3 + 5 − 2 is 6; 5 + 5 beats 6 + 5; 7 beats 4 if the target is 6",
    hint="Try all 2ⁿ subsets and take the least |sum − target|: from above counts as much as from below, and taking "
    "the largest numbers first misses it.",
    trials=1,
)
def sum_example(function, draw):
    got = flags(function(torch.tensor([3.0, 5.0, -2.0, 9.0]), 6.0), 4)
    expect.equal(got, torch.tensor([True, True, True, False]), "the mask of 3, 5, −2, 9 for 6")
    got = flags(function(torch.tensor([6.0, 5.0, 5.0]), 10.0), 3)
    expect.equal(got, torch.tensor([False, True, True]), "the mask of 6, 5, 5 for 10")
    for target, wanted in ((6.0, [False, True]), (4.5, [True, False]), (-9.0, [False, False]), (99.0, [True, True])):
        got = flags(function(torch.tensor([4.0, 7.0]), target), 2)
        expect.equal(got, torch.tensor(wanted), f"the mask of 4, 7 for {target:g}")


@subset_sum.law(
    "the empty subset counts: its sum is 0",
    hint="A target that is nearer to 0 than to any number is best left alone.",
    trials=1,
)
def sum_empty(function, draw):
    for values, target in (([1.0, 2.0], 0.0), ([1.0, 2.0], -5.0), ([-3.0, -1.0], 0.4), ([2.0], 0.9), ([1e-9], 0.0)):
        got = flags(function(torch.tensor(values, dtype=DOUBLE), target), len(values))
        expect.equal(got, torch.zeros(len(values), dtype=torch.bool), f"the mask of {values} for {target:g}")


@subset_sum.law(
    "no numbers have an empty mask",
    hint="Of no numbers there is one subset. An empty list makes a float tensor: give its dtype, torch.bool.",
    trials=1,
)
def sum_nothing(function, draw):
    flags(function(torch.zeros(0, dtype=DOUBLE), 1.0), 0, "the mask of no numbers")


@subset_sum.law(
    "no other subset is nearer, for numbers of both signs",
    hint="All 2ⁿ sums: start with [0]; each number doubles the list, once without it and once with it.",
    trials=4,
)
def sum_least(function, draw):
    count = draw.size(1, 9)
    values = draw.normal(count, dtype=DOUBLE)
    for target in (draw.uniform(-2, 2), 0.3):
        expect_nearest(function, values, target, least_error(values.tolist(), target))
    expect_nearest(function, values.abs(), -0.01, least_error(values.abs().tolist(), -0.01))


@subset_sum.law(
    "16 numbers of which some make the target",
    hint="n goes up to 16, which are 65,536 sums.",
    trials=1,
)
def sum_planted(function, draw):
    values = draw.normal(16, dtype=DOUBLE)
    planted = draw.mask(16)
    planted[0], planted[15] = True, True
    expect_nearest(function, values, math.fsum(values[planted].tolist()), 0.0)


@subset_sum.law(
    "sums are taken in float64, also of float32 and half precision",
    hint="values.double() first: in float32, 16,777,216 + 1 is 16,777,216.",
    trials=1,
)
def sum_double(function, draw):
    expect_nearest(function, torch.tensor([1.0, 16_777_216.0, 4.0]), 16_777_217.0, 0.0)
    for dtype, large in ((torch.float16, 2048.0), (torch.bfloat16, 256.0)):
        expect_nearest(function, torch.tensor([1.0, large, 4.0], dtype=dtype), large + 1, 0.0)
    near = torch.tensor([1.0, 1 + 1e-9, 3.0], dtype=DOUBLE)
    expect_nearest(function, near, 1 + 1e-9, 0.0, scale=1e-3)
    for scale in (1e-12, 1e12):
        values = draw.normal(6, scale=scale, dtype=DOUBLE)
        least = least_error(values.tolist(), scale)
        expect_nearest(function, values, scale, least, scale)


# --- 13.2 prune_to_weight ---------------------------------------------------------------------------------------------


def expect_weight(function: Callable, first: Tensor, second: Tensor, weight: float, atol: float = 1e-12) -> None:
    """At x = 1 and x = −1 the kept units have the slope that is nearest to the weight."""
    keep = flags(function(first, second, weight), len(first))
    expect.true(not keep[first == 0].any(), "a unit with first = 0 is kept", got=keep)
    f, s = first.double().numpy(), second.double().numpy()
    for x in (1.0, -1.0):
        side = f * x > 0
        slopes = f[side] * s[side]
        reached = float((s * np.maximum(f * x, 0))[keep.numpy()].sum()) / x
        error, least = abs(reached - weight), least_error(slopes.tolist(), weight)
        expect.true(
            error <= least + atol, f"at x = {x:g} another choice has a slope nearer to {weight:g}", least, error
        )


@prune_to_weight.law(
    "five units by hand for the weight 0.7: 0.3 + 0.4 at x > 0, 0.5 alone at x < 0, first = 0 never",
    hint="Two subset sums of first · second, one over the units with first > 0, one over those with first < 0, both "
    "for the same weight: at x < 0 the network shall give weight · x as well.",
    trials=1,
)
def weight_example(function, draw):
    first = torch.tensor([1.0, 2.0, -1.0, -2.0, 0.0])
    second = torch.tensor([0.3, 0.2, -0.5, 0.1, 5.0])
    got = flags(function(first, second, 0.7), 5)
    expect.equal(got, torch.tensor([True, True, True, False, False]), "the mask")
    got = flags(function(-first, -second, 0.7), 5)
    expect.equal(got, torch.tensor([True, True, True, False, False]), "the mask, all signs changed,")
    got = flags(function(first, second, 0.0), 5)
    expect.equal(got, torch.zeros(5, dtype=torch.bool), "the mask for the weight 0")


@prune_to_weight.law(
    "on both sides no other choice is nearer, for weights of both signs",
    hint="Each side for itself: a unit with first > 0 gives nothing at x < 0. The slope at x < 0 is Σ first · second, "
    "not its negative.",
    trials=4,
)
def weight_least(function, draw):
    count = draw.size(1, 12)
    for weight in (draw.uniform(-1, 1), 0.4, -0.4):
        expect_weight(function, draw.normal(count, dtype=DOUBLE), draw.normal(count, dtype=DOUBLE), weight)


@prune_to_weight.law(
    "one side only, 12 units on each side, zeros in between, no unit that acts",
    hint="A side without units gives 0; the masks go back to the places of their units.",
    trials=1,
)
def weight_sides(function, draw):
    first, second = draw.normal(7, dtype=DOUBLE).abs(), draw.normal(7, dtype=DOUBLE)
    expect_weight(function, first, second, 0.5)
    expect_weight(function, -first, second, 0.5)
    expect_weight(function, torch.zeros(4, dtype=DOUBLE), torch.ones(4, dtype=DOUBLE), 0.5)
    signs = torch.tensor([1.0, -1.0] * 12 + [0.0], dtype=DOUBLE)[draw.permutation(25)]
    expect_weight(function, signs * draw.rand(25, low=0.1, dtype=DOUBLE), draw.normal(25, dtype=DOUBLE), 0.3)


@prune_to_weight.law(
    "products are taken in float64; tiny first weights count",
    hint="first.double() * second.double(): the product of two float32 numbers needs twice as many digits. Only "
    "first = 0 itself is never kept.",
    trials=1,
)
def weight_double(function, draw):
    tick = 1 + 2.0**-20
    first = torch.tensor([1 + 2.0**-19, tick, 1.0])
    second = torch.tensor([1.0, tick, 3.0])
    expect_weight(function, first, second, tick * tick, atol=1e-15)
    first = torch.tensor([1e-7, -1e-7, 1.0, -1.0])
    expect_weight(function, first, torch.tensor([1e7, 1e7, 0.5, 0.5]), float(first[0]) * 1e7)


# --- 13.3 popup_layer -------------------------------------------------------------------------------------------------


def with_mask(inputs: Tensor, weight: Tensor, scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The layer of the weights with the `count` largest scores, in NumPy's stable order, and its weight."""
    order = np.argsort(-scores.detach().double().numpy().ravel(), kind="stable")[:count]
    effective = torch.zeros_like(weight.detach()).flatten()
    effective[order.copy()] = weight.detach().flatten()[order.copy()]
    effective = effective.view(weight.shape)
    return F.linear(inputs.detach(), effective), effective


@popup_layer.law(
    "a layer of 2 × 2 by hand: the weights 2 and 3 are kept, and (1, 10) becomes (20, 3)",
    hint="Rank the scores of the whole layer, not of each unit, and multiply by weights, not by scores.",
    trials=1,
)
def popup_example(function, draw):
    weight, scores = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[0.1, 0.9], [0.8, 0.2]])
    inputs = torch.tensor([[1.0, 10.0]])
    expect.close(function(inputs, weight, scores, 0.5), torch.tensor([[20.0, 3.0]]))
    scores = torch.tensor([[0.9, 0.8], [-0.95, 0.2]])
    expect.close(function(inputs, weight, scores, 0.5), torch.tensor([[21.0, 0.0]]), "with a score of −0.95")


@popup_layer.law(
    "exactly round(keep · n) weights, from none to all",
    hint="keep_fraction is what stays, not what goes; round() is Python's, which takes 2.5 to 2.",
    trials=2,
)
def popup_count(function, draw):
    for rows, columns in ((1, 1), (2, 5), (draw.size(2, 6), draw.size(3, 9))):
        weight, scores = draw.normal(rows, columns), draw.normal(rows, columns)
        inputs = draw.normal(3, columns)
        for keep in (0.0, 0.25, 0.35, 1.0, draw.uniform()):
            wanted, _ = with_mask(inputs, weight, scores, round(keep * weight.numel()))
            expect.close(function(inputs, weight, scores, keep), wanted, f"the outputs with keep {keep:.3g}", atol=1e-5)


@popup_layer.law(
    "signed scores, of equals the first; huge and tiny scores, float64 and half precision",
    hint="Sort the scores stably, from the largest; no |score|. mask + scores − scores is not the mask if scores are "
    "huge: put (scores − scores.detach()) in brackets.",
    trials=1,
)
def popup_ties(function, draw):
    weight, inputs = draw.normal(6, 8, dtype=DOUBLE), draw.normal(2, 8, dtype=DOUBLE)
    equal, few = torch.zeros(6, 8, dtype=DOUBLE), torch.from_numpy(draw.rng.integers(-2, 3, (6, 8))).double()
    for scores in (equal, few, few * 1e20 + 1e20, draw.normal(6, 8, scale=1e-9, dtype=DOUBLE) + 1, few - 5):
        wanted, _ = with_mask(inputs, weight, scores, 19)
        expect.close(function(inputs, weight, scores, 19 / 48), wanted, rtol=1e-9, atol=1e-12)
    for dtype in (torch.float32, *expect.HALVES):
        args = inputs.to(dtype), weight.to(dtype), (few * 100).to(dtype)
        wanted = with_mask(*args, 19)[0].to(dtype)
        expect.close(function(*args, 19 / 48), wanted, f"the outputs of {dtype}", rtol=2e-2, atol=2e-2)


@popup_layer.law(
    "every score has its gradient, kept or not: weight times what the loss asks of that weight",
    hint="Straight through: mask + (scores − scores.detach()), times the weight. mask * scores leaves dead edges dead.",
    trials=2,
)
def popup_scores(function, draw):
    weight = draw.normal(draw.size(2, 4), 5, dtype=DOUBLE)
    inputs, scores = draw.normal(3, 5, dtype=DOUBLE), draw.normal(*weight.shape, dtype=DOUBLE)
    pull = draw.normal(3, len(weight), dtype=DOUBLE)
    for keep in (0.4, 0.0, 1.0):
        leaf = scores.clone().requires_grad_()
        got = expect.gradient((function(inputs, weight, leaf, keep) * pull).sum(), leaf)
        _, effective = with_mask(inputs, weight, scores, round(keep * weight.numel()))
        effective.requires_grad_()
        (F.linear(inputs, effective) * pull).sum().backward()
        expect.close(got, weight * effective.grad, f"the gradient by the scores, keep {keep:g}", rtol=1e-7, atol=1e-10)


@popup_layer.law(
    "the gradient by the inputs goes through the kept weights, none by the weight",
    hint="weight.detach(): random weights stay as they are.",
    trials=2,
)
def popup_others(function, draw):
    weight = draw.normal(4, draw.size(2, 6), dtype=DOUBLE).requires_grad_()
    inputs = draw.normal(3, weight.shape[1], dtype=DOUBLE).requires_grad_()
    scores = draw.normal(*weight.shape, dtype=DOUBLE).requires_grad_()
    pull = draw.normal(3, 4, dtype=DOUBLE)
    out = function(inputs, weight, scores, 0.5)
    expect.same_kind(out, pull, "the outputs")
    expect.no_gradient(out, weight, "the weight has a gradient: it must not learn")
    got = expect.gradient((out * pull).sum(), inputs)
    _, effective = with_mask(inputs, weight, scores, round(0.5 * weight.numel()))
    expect.close(got, pull @ effective, "the gradient by the inputs", rtol=1e-7, atol=1e-10)


# --- 13.4 empirical_ntk -----------------------------------------------------------------------------------------------


def network(draw: Draw, *sizes: int, dtype: torch.dtype = DOUBLE) -> Tensors:
    """An MLP's state, with biases that are not 0."""
    state = {}
    for number_, (inputs, outputs) in enumerate(pairwise(sizes)):
        state[f"l{number_}.weight"] = draw.normal(outputs, inputs, dtype=dtype)
        state[f"l{number_}.bias"] = draw.normal(outputs, scale=0.5, dtype=dtype)
    return state


def masks_for(draw: Draw, state: Tensors, keep: float = 0.6) -> Tensors:
    """Masks of the weights, each with an entry."""
    masks = {name: draw.mask(*value.shape, keep=keep) for name, value in state.items() if value.dim() == 2}
    for mask in masks.values():
        mask[0, 0] = True
    return masks


def masked(state: Tensors, masks: Tensors) -> Tensors:
    return {name: torch.where(masks[name], value, 0) if name in masks else value for name, value in state.items()}


@torch.no_grad()
def kernel_by_nudges(state: Tensors, masks: Tensors, inputs: Tensor) -> Tensor:
    """The kernel by nudging one trained number after the other: a ReLU network is linear in each, but for its kinks."""
    clean, columns, nudge = masked(state, masks), [], 1e-5
    for name, value in clean.items():
        trained = masks.get(name, torch.ones_like(value, dtype=torch.bool))
        for place in trained.flatten().nonzero().flatten().tolist():
            moved = []
            for step in (nudge, -nudge):
                other = value.clone()
                other.view(-1)[place] += step
                moved.append(mlp_forward(clean | {name: other}, inputs))
            columns.append((moved[0] - moved[1]) / (2 * nudge))
    if not columns:
        return torch.zeros(len(inputs), len(inputs), dtype=inputs.dtype)
    jacobian = torch.stack(columns)  # [numbers, n, K]
    return torch.einsum("pik,pjk->ij", jacobian, jacobian) / jacobian.shape[2]


@empirical_ntk.law(
    "one linear unit: x · x′ + 1 for the bias; of pruned weights nothing",
    hint="The gradient of w · x + b is x for w and 1 for b. What is outside a mask is not trained: leave it out.",
    trials=1,
)
def ntk_linear(function, draw):
    state = {"fc.weight": torch.tensor([[2.0, -1.0]]), "fc.bias": torch.tensor([0.5])}
    inputs = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    expect.close(function(state, {}, inputs), torch.tensor([[6.0, 12.0], [12.0, 26.0]]), "without masks")
    masks = {"fc.weight": torch.tensor([[True, False]])}
    expect.close(function(state, masks, inputs), torch.tensor([[2.0, 4.0], [4.0, 10.0]]), "with w₂ pruned")
    zeros = {name: torch.zeros_like(value) for name, value in state.items()}
    wanted = torch.tensor([[2.0, 4.0], [4.0, 10.0]])
    expect.close(function(zeros, masks, inputs), wanted, "with w₂ pruned, where w₁ and b are 0 now, but trained,")
    masks["fc.bias"] = torch.tensor([False])
    expect.close(function(state, masks, inputs), torch.tensor([[1.0, 3.0], [3.0, 9.0]]), "without w₂ and the bias")
    double = {name: value.double() for name, value in state.items()}
    inputs = torch.tensor([[1 + 1e-9, 0.0], [1 - 1e-9, 0.0]], dtype=DOUBLE)
    wanted = torch.tensor([[1 + 2e-9, 1.0], [1.0, 1 - 2e-9]], dtype=DOUBLE)
    expect.close(function(double, masks, inputs), wanted, "in float64", rtol=1e-12, atol=0)


@empirical_ntk.law(
    "nudge each trained number, see how the outputs move, multiply and add up, mean over the logits",
    hint="Put to 0 what is outside the masks, then run mlp_forward on that. The sum goes over weights and biases, "
    "the mean over the K logits, each with itself.",
    trials=3,
)
def ntk_nudged(function, draw):
    state = network(draw, 3, draw.size(2, 4), 3, draw.size(1, 3))
    inputs = draw.normal(draw.size(1, 4), 3, dtype=DOUBLE)
    masks = masks_for(draw, state)
    got = function(state, masks, inputs)
    expect.close(got, kernel_by_nudges(state, masks, inputs), rtol=1e-5, atol=1e-7)


@empirical_ntk.law(
    "whatever stands outside a mask does not matter, NaN and infinity neither",
    hint="torch.where(mask, weight, 0), and not weight * mask: NaN · 0 is NaN.",
    trials=1,
)
def ntk_outside(function, draw):
    state = network(draw, 3, 4, 2)
    inputs, masks = draw.normal(2, 3, dtype=DOUBLE), masks_for(draw, state)
    masks["l0.bias"] = torch.tensor([True, False, True, False])
    wanted = function(masked(state, masks), masks, inputs)
    for value in (7.0, torch.nan, torch.inf):
        filled = state | {n: torch.where(m, state[n], value) for n, m in masks.items()}
        expect.close(function(filled, masks, inputs), wanted, f"the kernel with {value} outside", 1e-9, 1e-12, calls=1)
    expect.close(wanted, kernel_by_nudges(state, masks, inputs), rtol=1e-5, atol=1e-7)


@empirical_ntk.law(
    "masks of one layer, of all, of none, in any order; images; float32",
    hint="A tensor without a mask is trained whole; masks go by names. mlp_forward flattens images.",
    trials=1,
)
def ntk_names(function, draw):
    state = network(draw, 4, 3, 2)
    images = draw.normal(2, 1, 2, 2, dtype=DOUBLE)
    whole = {name: torch.ones_like(value, dtype=torch.bool) for name, value in state.items()}
    free = kernel_by_nudges(state, {}, images)
    expect.close(function(state, {}, images), free, "without masks", rtol=1e-5, atol=1e-7)
    expect.close(function(state, whole, images), free, "with masks that are all True", rtol=1e-5, atol=1e-7)
    one = {"l1.weight": draw.mask(2, 3)}
    wanted = kernel_by_nudges(state, one, images)
    expect.close(function(state, one, images), wanted, "with one mask", rtol=1e-5, atol=1e-7)
    masks = {name: draw.mask(*state[name].shape) for name in ("l1.weight", "l0.weight")}
    wanted = kernel_by_nudges(state, masks, images)
    expect.close(function(state, masks, images), wanted, "with masks in another order", rtol=1e-5, atol=1e-7)
    single = {name: value.float() for name, value in state.items()}
    expect.close(function(single, masks, images.float()), wanted.float(), "in float32", rtol=1e-3, atol=1e-4)
    nothing = {name: torch.zeros_like(value, dtype=torch.bool) for name, value in state.items()}
    expect.close(function(state, nothing, images), torch.zeros(2, 2, dtype=DOUBLE), "with nothing left")


# --- 13.5 relu_ntk ----------------------------------------------------------------------------------------------------


def by_quadrature(inputs: Tensor, hidden_layers: int) -> Tensor:
    """The kernel with both Gaussian means taken as sums over 4,000 directions of two normal numbers."""
    x = inputs.double().numpy()
    sigma = x @ x.T / x.shape[1]
    kernel, norms = sigma, np.sqrt(np.diag(sigma))
    around = (np.arange(4000) + 0.5) * 2 * np.pi / 4000
    for _ in range(hidden_layers):
        angle = np.arccos(np.clip(sigma / np.outer(norms, norms), -1, 1))[..., None]
        one, two = np.cos(around), np.cos(around - angle)
        both = (one > 0) & (two > 0)
        sigma = np.outer(norms, norms) * 4 * (one * two * both).mean(-1)  # 2 · E[r²] · mean over directions
        kernel = sigma + kernel * 2 * both.mean(-1)
    return torch.from_numpy(kernel)


@relu_ntk.law(
    "two orthogonal inputs by hand: 0 and 1/2, with one hidden layer 1/(2π) and 1",
    hint="Without a hidden layer: x · x′/d. With θ = π/2, Σ′ is half of 1/π, and Θ · (π − θ)/π adds 0.",
    trials=1,
)
def limit_example(function, draw):
    inputs = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=DOUBLE)
    expect.close(
        function(inputs, 0),
        torch.tensor([[0.5, 0.0], [0.0, 0.5]], dtype=DOUBLE),
        "the kernel without a hidden layer",
        1e-9,
        1e-9,
    )
    off = 1 / (2 * math.pi)
    wanted = torch.tensor([[1.0, off], [off, 1.0]], dtype=DOUBLE)
    expect.close(function(inputs, 1), wanted, "the kernel with one hidden layer", rtol=1e-7, atol=1e-7)


@relu_ntk.law(
    "the two Gaussian means, taken as sums over directions, give the same kernel",
    hint="Θ′ = Σ′ + Θ · (π − θ)/π with Θ and Σ of the layer before, and θ from Σ of the layer before. Σ alone is the "
    "kernel of the last layer's training only.",
    trials=3,
)
def limit_quadrature(function, draw):
    inputs = draw.normal(3, draw.size(2, 6), dtype=DOUBLE)
    layers = draw.trial + 1
    expect.close(function(inputs, layers), by_quadrature(inputs, layers), rtol=2e-3, atol=2e-3)


@relu_ntk.law(
    "an input with itself: (layers + 1) · |x|²/d; with its opposite 0, then 1/π of it",
    hint="No layer changes Σ(x, x), as the weights are scaled by √(2/width); each adds it to Θ once more.",
    trials=2,
)
def limit_diagonal(function, draw):
    inputs = draw.normal(3, draw.size(1, 5), dtype=DOUBLE)
    inputs = torch.cat([inputs, -inputs[:1], 3 * inputs[:1]])
    size = (inputs**2).mean(1)
    for layers in (0, 1, 2, 5):
        got = function(inputs, layers)
        expect.same_kind(got, torch.zeros(5, 5, dtype=DOUBLE))
        expect.close(got.diagonal(), (layers + 1) * size, f"the diagonal, {layers} hidden layers", rtol=1e-6)
        number(float(got[0, 4]), 3 * (layers + 1) * float(size[0]), "the kernel of x and 3x", rtol=1e-6, atol=1e-9)
    number(float(function(inputs, 1)[0, 3]), 0.0, "the kernel of x and −x, one hidden layer", atol=1e-6)
    number(float(function(inputs, 2)[0, 3]), float(size[0]) / math.pi, "of x and −x, two", rtol=1e-5, atol=1e-6)


@relu_ntk.law(
    "an input of zeros gives zeros; tiny and huge inputs; images; float32 computed in float64",
    hint="torch.where(norms > 0, …), no ε; clamp the cosine to −1 … 1 before acos.",
    trials=1,
)
def limit_edges(function, draw):
    inputs = draw.normal(4, 6, dtype=DOUBLE)
    inputs[2] = 0
    wanted = function(inputs, 2)
    expect.finite(wanted)
    expect.equal(wanted[2], torch.zeros(4, dtype=DOUBLE), "the row of an input of zeros")
    for scale in (1e-9, 1e9):
        got = function(scale * inputs, 2) / scale**2
        expect.close(got, wanted, f"the kernel of {scale:g} · x by {scale:g}²", rtol=1e-6, atol=1e-9, calls=2)
    expect.close(function(inputs.view(4, 1, 2, 3), 2), wanted, "the kernel of images", 1e-9, 1e-12, calls=2)
    near = torch.tensor([[1.0, 1.0], [1.0, 1.0005]])
    expect.close(function(near, 3), function(near.double(), 3).float(), "in float32", rtol=1e-6, calls=2)


# --- 13.6 kernel_descent ----------------------------------------------------------------------------------------------


@kernel_descent.law(
    "one example by hand: from 0 to 1 with kernel 0.5 and rate 1, after 0, 1, 2 steps 0, 0.5, 0.75",
    hint="Each step takes lr · kernel of what is left.",
    trials=1,
)
def descent_example(function, draw):
    kernel, target, initial = torch.tensor([[0.5]]), torch.tensor([1.0]), torch.tensor([0.0])
    for steps, wanted in enumerate((0.0, 0.5, 0.75)):
        expect.close(function(kernel, target, initial, 1.0, steps), torch.tensor([wanted]), f"after {steps} steps")
    got = function(torch.diag(torch.tensor([1.0, 3.0])), torch.zeros(2), torch.ones(2), 1.0, 10)
    expect.close(got, torch.tensor([0.0, 1024.0]), "with a rate so large that it diverges")
    got = function(torch.diag(torch.tensor([1.5, 3.0])), torch.zeros(2), torch.ones(2), 1.0, 9)
    expect.close(got, torch.tensor([-(0.5**9), -512.0]), "after an odd number of steps, each of which goes too far,")


@kernel_descent.law(
    "it is gradient descent of a linear model, step by step",
    hint="The gradient of ½ Σ (f − y)² by the outputs is f − y, a sum, no mean; the outputs move by −lr · K (f − y).",
    trials=3,
)
def descent_linear(function, draw):
    n = draw.size(2, 4)
    for shape in ((), (1,), (n,), (n + 1,)):
        features = draw.normal(n, 3, dtype=DOUBLE)
        theta, targets = draw.normal(3, *shape, dtype=DOUBLE), draw.normal(n, *shape, dtype=DOUBLE)
        kernel, initial, lr = features @ features.T, features @ theta, 0.05
        for steps in range(4):
            got = function(kernel, targets, initial, lr, steps)
            expect.close(got, features @ theta, f"the outputs after {steps} steps", rtol=1e-8, atol=1e-10)
            theta = theta - lr * features.T @ (features @ theta - targets)


@kernel_descent.law(
    "each eigenvector shrinks by its own factor, also over many steps, in float32 and float64",
    hint="A step multiplies what is left by 1 − lr · λ; that is a power, and not exp(−lr · λ · steps).",
    trials=2,
)
def descent_eigen(function, draw):
    base = draw.normal(4, 4, dtype=DOUBLE)
    values, vectors = torch.linalg.eigh(base @ base.T)
    for dtype, rtol in ((DOUBLE, 1e-6), (torch.float32, 1e-3)):
        kernel, targets = (base @ base.T).to(dtype), draw.normal(4, dtype=dtype)
        lr, steps = 0.9 / float(values[-1]), draw.integer(20, 60)
        left = vectors * (1 - lr * values) ** steps
        for i in (0, 2):
            got = function(kernel, targets, targets + vectors[:, i].to(dtype), lr, steps)
            expect.close(got, targets + left[:, i].to(dtype), f"eigenvector {i}", rtol=rtol, atol=rtol * 1e-2)


# --- 13.7 diagonal_descent --------------------------------------------------------------------------------------------


@diagonal_descent.law(
    "one weight by hand: from scale 1 at rate 0.1 towards 1: 0, then 0.8, then 0.96768",
    hint="The gradient by u is 2u times that by w, by v −2v times it; both move at once, v by the old u.",
    trials=1,
)
def diagonal_example(function, draw):
    x, y = torch.tensor([[1.0]]), torch.tensor([1.0])
    for steps, wanted in enumerate((0.0, 0.8, 0.96768)):
        expect.close(function(x, y, 1.0, 0.1, steps), torch.tensor([wanted]), f"w after {steps} steps")
    twice = torch.tensor([[1.0], [1.0]]), torch.tensor([1.0, 1.0])
    expect.close(function(*twice, 1.0, 0.1, 1), torch.tensor([0.8]), "w after a step, every example twice: a mean,")
    expect.equal(function(x, y, 0.0, 0.1, 5), torch.tensor([0.0]), "w from scale 0, which never moves,")


@diagonal_descent.law(
    "it is descent on ½ · mean (Xw − y)² by u and v, as autograd does it",
    hint="½ and the mean over the n examples: the gradient by w is Xᵀ(Xw − y)/n.",
    trials=3,
)
def diagonal_autograd(function, draw):
    n, d = draw.size(1, 4), draw.size(2, 6)
    x, y = draw.normal(n, d, dtype=DOUBLE), draw.normal(n, dtype=DOUBLE)
    for scale, lr, steps in ((0.3, 0.05, 6), (-0.5, 0.02, 4), (1.5, 0.01, 1), (1e-3, 0.1, 3), (1e-3, 0.1, 0)):
        u, v = (torch.full((d,), scale, dtype=DOUBLE).requires_grad_() for _ in range(2))
        for _ in range(steps):
            loss = ((x @ (u**2 - v**2) - y) ** 2).mean() / 2
            slopes = torch.autograd.grad(loss, [u, v])
            u, v = ((a - lr * g).detach().requires_grad_() for a, g in zip((u, v), slopes, strict=True))
        got = function(x, y, scale, lr, steps)
        expect.close(got, (u**2 - v**2).detach(), f"w from scale {scale:g}, {steps} steps", rtol=1e-8, atol=1e-12)


@diagonal_descent.law(
    "from a small start it finds a sparse solution, from a large one that of least length",
    hint="If the laws above hold, this one does.",
    trials=1,
)
def diagonal_bias(function, draw):
    x = torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 1.0]])  # (1, 0, 0) and (⅔, ⅓, ⅓) both fit
    y = torch.tensor([1.0, 1.0])
    small, large = function(x, y, 0.01, 0.1, 150), function(x, y, 2.0, 0.02, 150)
    expect.close(small, torch.tensor([1.0, 0.0, 0.0]), "w from scale 0.01", rtol=0, atol=0.05)
    expect.close(large, torch.linalg.pinv(x) @ y, "w from scale 2", rtol=0, atol=0.05)


# --- 13.8a noisy_labels -----------------------------------------------------------------------------------------------


def expect_labels(got: Any, count: int, classes: int) -> Tensor:
    expect.same_kind(got, torch.zeros(count, dtype=torch.int64), "the labels")
    expect.true(((got >= 0) & (got < classes)).all(), f"a label is not from 0 to {classes - 1}", got=got)
    return got


@noisy_labels.law(
    "exactly round(fraction · n) labels change, each to another class",
    hint="A random permutation gives an exact number of places. A new label drawn from all classes may be the old one: "
    "add a shift from 1 to classes − 1, modulo classes.",
    trials=2,
)
def noisy_count(function, draw):
    for count, classes in ((10, 2), (draw.size(20, 50), 3), (301, 10)):
        labels = draw.labels(count, classes)
        for fraction in (0.0, 0.05, 0.25, 0.4, 1.0):
            got = expect_labels(function(labels, fraction, classes, draw.seed()), count, classes)
            changed, wanted = int((got != labels).sum()), round(fraction * count)
            expect.true(changed == wanted, f"of {count} labels another number changed than asked", wanted, changed)
    found = expect_labels(function(torch.full((200,), 2), 0.5, 5, draw.seed()), 200, 5).unique().tolist()
    expect.true(found == [0, 1, 2, 3, 4], "of 200 labels 2 and 5 classes", "every class", found)


@noisy_labels.law(
    "from each class to each other one, equally often",
    hint="The next class is one of the others only; torch.randint(1, classes, …) draws any shift.",
    trials=1,
)
def noisy_classes(function, draw):
    labels = torch.arange(6000) % 4
    got = expect_labels(function(labels, 0.5, 4, draw.seed()), 6000, 4)
    for old, new in itertools.permutations(range(4), 2):
        found = int(((labels == old) & (got == new)).sum())
        expect.true(abs(found - 250) < 90, f"from class {old} to {new}", "about 250 of 6,000", found)


@noisy_labels.law(
    "anywhere: every place as often as any other, no two places together, and at each any other class",
    hint="Not the first ones, and not so many of each class: torch.randperm(n, generator=…)[:count].",
    trials=1,
)
def noisy_places(function, draw):
    labels, runs, start = torch.arange(8) // 4, 160, draw.seed() // 2
    shifts = torch.stack([(function(labels, 0.5, 3, start + i) - labels) % 3 for i in range(runs)])
    changed = (shifts != 0).double()
    places, pairs = changed.mean(0), (changed.T @ changed / runs)[~torch.eye(8, dtype=torch.bool)]
    expect.true(((places - 0.5).abs() < 0.22).all(), "a place is chosen too seldom or too often", "about 0.5", places)
    expect.true(((pairs - 3 / 14).abs() < 0.17).all(), "two places hang together", "about 0.214", pairs[:6])
    halves = float((changed[:, :4].sum(1) == 2).double().mean())
    expect.true(abs(halves - 18 / 35) < 0.22, "of 4 zeros and 4 ones just 2 each changed in", "about 0.514", halves)
    next_class = (shifts == 1).double().mean(0)
    expect.true(((next_class - 0.25).abs() < 0.19).all(), "a place becomes one class only", "about 0.25", next_class)


@noisy_labels.law(
    "the same seed gives the same labels, another seed others; the global generator is left alone",
    hint="torch.Generator().manual_seed(seed), and generator= in each call that draws.",
    trials=1,
)
def noisy_seed(function, draw):
    labels, seed = draw.labels(60, 10), draw.seed()
    before = torch.get_rng_state()
    first = expect_labels(function(labels, 0.4, 10, seed), 60, 10)
    expect.true(torch.equal(torch.get_rng_state(), before), "torch's global generator was used or seeded")
    torch.rand(3)
    expect.equal(function(labels, 0.4, 10, seed), first, "the labels of the same seed", calls=2)
    expect.true(not torch.equal(function(labels, 0.4, 10, seed + 1), first), "two seeds give the same labels")


# --- 13.8b noise_report -----------------------------------------------------------------------------------------------


def expect_report(got: Any, wanted: Sequence[float], what: str = "the report") -> None:
    expect.same_kind(got, tuple(map(float, wanted)), what)
    for name, value, right in zip(("fit", "memorized", "recovered"), got, wanted, strict=True):
        number(value, right, name, rtol=1e-6)  # a mean of float32 flags will do


@noise_report.law(
    "six examples by hand: 1/2 fit, 1/4 memorized, 2/4 recovered",
    hint="Changed are those whose noisy label is not the true one; fit looks at the others only.",
    trials=1,
)
def report_example(function, draw):
    labels, noisy = torch.tensor([1, 2, 1, 2, 3, 0]), torch.tensor([1, 2, 0, 1, 0, 3])
    expect_report(function(torch.tensor([1, 0, 0, 0, 3, 0]), labels, noisy), (1 / 2, 1 / 4, 2 / 4))
    two = torch.tensor([1, 1]), torch.tensor([1, 2]), torch.tensor([1, 1])
    expect_report(function(*two), (1.0, 1.0, 0.0), "the report of one example of each kind")
    many = torch.arange(1000) % 4
    expect_report(function(many, many, (many + many // 2) % 4), (1.0, 0.0, 1.0), "the report of 1,000 examples")


@noise_report.law(
    "nothing changed: (fit, 0, 0); all changed: (0, memorized, recovered)",
    hint="A mean over no examples is NaN: give 0.0.",
    trials=1,
)
def report_edges(function, draw):
    labels = draw.labels(40, 4)
    predictions = torch.where(torch.arange(40) < 10, labels, (labels + 1) % 4)
    expect_report(function(predictions, labels, labels), (0.25, 0.0, 0.0), "the report of clean labels")
    expect_report(function(predictions, labels, (labels + 1) % 4), (0.0, 0.75, 0.25), "the report of changed labels")
    expect_report(function(predictions, labels, (labels + 2) % 4), (0.0, 0.0, 0.25), "of labels nobody predicts")


@noise_report.law(
    "counts, over many examples",
    hint="Three means: right among the unchanged; equal to noisy, equal to true among the changed.",
    trials=3,
)
def report_counts(function, draw):
    count = draw.size(5, 600)
    predictions, labels, noisy = (draw.labels(count, 3) for _ in range(3))
    p, t, q = predictions.tolist(), labels.tolist(), noisy.tolist()
    clean = [a == b for a, b, c in zip(p, t, q, strict=True) if b == c]
    wrong = [(a == c, a == b) for a, b, c in zip(p, t, q, strict=True) if b != c]
    parts = [sum(hits) / max(1, len(hits)) for hits in (clean, [m for m, _ in wrong], [r for _, r in wrong])]
    expect_report(function(predictions, labels, noisy), parts)


# --- 13.9a ramanujan_gap ----------------------------------------------------------------------------------------------

FANO = [(0, 1, 2), (0, 3, 4), (0, 5, 6), (1, 3, 5), (1, 4, 6), (2, 3, 6), (2, 4, 5)]  # lines of seven points


def heawood() -> Tensor:
    """Points and lines of the plane of seven points: every two points share one line; singular values 3 and √2."""
    mask = torch.zeros(7, 7, dtype=torch.bool)
    for row, points in enumerate(FANO):
        mask[row, list(points)] = True
    return mask


def blocks(*shapes: tuple[int, int]) -> Tensor:
    """Complete bipartite graphs side by side: singular values √(rows · columns), one each."""
    return torch.block_diag(*(torch.ones(shape) for shape in shapes)).bool()


@ramanujan_gap.law(
    "known graphs: Heawood's √2, two K₄,₄ 2√3 − 4, a cycle 2 − 2cos(π/n)",
    hint="σ₂ is the second largest singular value of the 0/1 matrix (torch.linalg.svdvals), the largest one is "
    "√(d_in · d_out) for regular graphs and says nothing.",
    trials=1,
)
def gap_known(function, draw):
    number(function(heawood()), math.sqrt(2), "the gap of Heawood's graph")
    number(function(blocks((4, 4), (4, 4))), 2 * math.sqrt(3) - 4, "the gap of two K₄,₄")
    for n in (3, 5, 8):
        eye = torch.eye(n, dtype=torch.bool)
        number(function(eye | eye.roll(1, 0)), 2 - 2 * math.cos(math.pi / n), f"the gap of a cycle of {2 * n}")


@ramanujan_gap.law(
    "both mean degrees count: K_{a,b} has √(a − 1) + √(b − 1), unequal graphs side by side too",
    hint="d_in is the mean over the columns, d_out over the rows.",
    trials=2,
)
def gap_degrees(function, draw):
    rows, columns = draw.size(2, 6), draw.size(3, 9)
    number(function(blocks((rows, columns))), math.sqrt(rows - 1) + math.sqrt(columns - 1), "the gap of K_{a,b}")
    shapes = [(2, 5), (3, 3), (4, 1)]
    entries = sum(a * b for a, b in shapes)
    wanted = math.sqrt(entries / 9 - 1) * 2 - 3  # 9 rows, 9 columns; √10, 3, 2
    number(function(blocks(*shapes)), wanted, "the gap of K_{2,5}, K_{3,3} and K_{4,1}")
    number(function(blocks((2, 6), (1, 3))), math.sqrt(15 / 9 - 1) + 2 - math.sqrt(3), "of K_{2,6} and K_{1,3}")


@ramanujan_gap.law(
    "rows and columns without an entry change nothing, nor does an order; transposed it is the same",
    hint="Drop dead rows and columns before taking the means.",
    trials=2,
)
def gap_dead(function, draw):
    mask = draw.mask(draw.size(4, 7), 6, keep=0.6)
    mask[:2, :2] = True
    got = function(mask)
    wide = torch.zeros(len(mask) + 3, 9, dtype=torch.bool)
    wide[2 : len(mask) + 2, 1:7] = mask[draw.permutation(len(mask))][:, draw.permutation(6)]
    number(function(wide), got, "the gap with dead rows and columns, in another order,")
    number(function(wide.T), got, "the gap of the transposed mask")
    heawoods = torch.nn.functional.pad(heawood(), (2, 1, 3, 0))
    number(function(heawoods), math.sqrt(2), "the gap of Heawood's graph with dead units")


@ramanujan_gap.law(
    "an empty mask 0.0; one row or one column has σ₂ = 0; kernels are flattened",
    hint="[out, in, k, k] is a matrix [out, in · k · k].",
    trials=1,
)
def gap_edges(function, draw):
    number(function(torch.zeros(3, 4, dtype=torch.bool)), 0.0, "the gap of an empty mask")
    single = torch.zeros(3, 6, dtype=torch.bool)
    single[1, :5] = True
    number(function(single), 2.0, "the gap of one row of 5")
    number(function(single.T), 2.0, "the gap of one column of 5")
    number(function(torch.eye(1, dtype=torch.bool)), 0.0, "the gap of one weight")
    number(function(torch.eye(2, dtype=torch.bool)), -1.0, "the gap of two weights apart")
    number(function(blocks((1, 3), (1, 5))), math.sqrt(3) - math.sqrt(3), "the gap of K_{1,3} and K_{1,5}")
    number(function(heawood()[:, :6].reshape(7, 3, 2)), float(function(heawood()[:, :6])), "of a mask [7, 3, 2]")
    number(function(blocks((4, 8)).reshape(4, 2, 2, 2)), math.sqrt(3) + math.sqrt(7), "of a mask [4, 2, 2, 2]")
    number(function(blocks((140, 2), (2, 140))), 2 * math.sqrt(560 / 142 - 1) - math.sqrt(280), "of 142 × 142")


# --- 13.9b iterative_mean_difference ----------------------------------------------------------------------------------


@iterative_mean_difference.law(
    "five columns of degree 3 and four of degree 4: the mean of √2 + 2 and 2√3, each once",
    hint="Group the columns by their degree d; take each group's gap alone; the mean does not count columns.",
    trials=1,
)
def imdb_example(function, draw):
    wanted = (math.sqrt(2) + 2 + 2 * math.sqrt(3)) / 2
    number(function(blocks((3, 5), (4, 4))), wanted)
    number(function(blocks((4, 4), (3, 5))[draw.permutation(7)][:, draw.permutation(9)]), wanted, "in another order")
    number(function(heawood()), math.sqrt(2), "of Heawood's graph")
    number(function(blocks((3, 3))), 2 * math.sqrt(2), "of K₃,₃, where everything is 3")


@iterative_mean_difference.law(
    "columns of degree below 3 do not count, nor do pairs of columns, whose rows have 2 at most",
    hint="Two conditions: d ≥ 3, a degree, and 3 entries in the mean of the rows.",
    trials=1,
)
def imdb_few(function, draw):
    first = math.sqrt(2) + 2
    number(function(blocks((3, 5), (2, 6))), first, "with six columns of degree 2")
    number(function(blocks((3, 5), (6, 2))), first, "with two columns of degree 6")
    number(function(blocks((3, 5), (1, 4))), first, "with four columns of degree 1")
    number(function(blocks((2, 6), (1, 5))), 0.0, "of degrees 1 and 2 only")
    number(function(blocks((6, 2), (5, 2))), 0.0, "of pairs of columns only")
    number(function(torch.zeros(4, 5, dtype=torch.bool)), 0.0, "of an empty mask")


@iterative_mean_difference.law(
    "a group counts if its rows, too, have 3 entries in the mean: the rows that it has",
    hint="Rows without an entry in the group's columns are dropped, then entries ≥ 3 · rows.",
    trials=1,
)
def imdb_rows(function, draw):
    apart = torch.zeros(15, 5, dtype=torch.bool)
    for column in range(5):
        apart[3 * column : 3 * column + 3, column] = True  # degree 3, but each row has one entry
    number(function(apart), 0.0, "of columns that share no row")
    both = torch.block_diag(apart.float(), torch.ones(4, 3)).bool()
    number(function(both), math.sqrt(3) + math.sqrt(2), "of such columns beside K_{4,3}")
    shared = torch.block_diag(torch.ones(3, 4), torch.ones(3, 3)).bool()  # one group: mean row degree 3.5
    number(function(shared), math.sqrt(2) + math.sqrt(2.5) - 3, "of K_{3,4} and K_{3,3}, one group of degree 3")
    uneven = torch.block_diag(torch.ones(3, 5), torch.ones(3, 2)).bool()  # rows of 5 and of 2: 3.5 in the mean
    number(function(uneven), math.sqrt(2) + math.sqrt(2.5) - math.sqrt(6), "of K_{3,5} and K_{3,2}, rows of 5 and 2")
    below = torch.block_diag(torch.ones(3, 3), torch.ones(3, 2)).bool()  # mean row degree 2.5
    number(function(below), 0.0, "of K_{3,3} and K_{3,2}, rows of 2.5")


@iterative_mean_difference.law(
    "columns, not rows; kernels are flattened; many degrees",
    hint="[out, in, …]: degrees are those of the columns after flattening.",
    trials=1,
)
def imdb_columns(function, draw):
    mask = blocks((5, 3), (3, 6), (4, 3), (7, 9))
    wanted = [math.sqrt(a - 1) + math.sqrt(b - 1) for a, b in ((5, 3), (3, 6), (4, 3), (7, 9))]
    number(function(mask), sum(wanted) / 4)
    number(function(blocks((3, 8)).reshape(3, 2, 2, 2)), math.sqrt(2) + math.sqrt(7), "of a mask [3, 2, 2, 2]")
    number(function(blocks((4, 2), (4, 2)).T), 0.0, "of a matrix whose rows have the degree 4")
    number(function(blocks((200, 4))), math.sqrt(199) + math.sqrt(3), "of columns of 200 entries")


# --- 13.10a synflow_scores --------------------------------------------------------------------------------------------


def layers(draw: Draw, *sizes: int, dtype: torch.dtype = DOUBLE) -> Tensors:
    """Weights of a network, first layer first, by names that are not in order."""
    names = ("c", "a", "d", "b", "e")
    return {name: draw.normal(b, a, dtype=dtype) for name, (a, b) in zip(names, pairwise(sizes), strict=False)}


def expect_layers(got: Any, like: Tensors, what: str = "the scores") -> Tensors:
    expect.same_kind(got, like, what)
    for name, value in like.items():
        expect.same_kind(got[name], value, f"{what}[{name!r}]")
    return got


@synflow_scores.law(
    "two inputs, one hidden unit by hand: weights 1 and −2, then 3: scores 3 and 6, then 9",
    hint="R = 3 · (1 + 2) = 9; the score of a weight is the sum over the paths through it, all with |w|.",
    trials=1,
)
def flow_example(function, draw):
    weights = {"b": torch.tensor([[1.0, -2.0]]), "a": torch.tensor([[3.0]])}
    got = expect_layers(function(weights), weights)
    expect.close(got, {"b": torch.tensor([[3.0, 6.0]]), "a": torch.tensor([[9.0]])}, "the scores")
    square = {"b": torch.tensor([[1.0, 0.0], [1.0, 1.0]]), "a": torch.tensor([[0.0, 1.0], [0.0, 0.0]])}
    wanted = {"b": torch.tensor([[0.0, 0.0], [1.0, 1.0]]), "a": torch.tensor([[0.0, 2.0], [0.0, 0.0]])}
    expect.close(function(square), wanted, "the scores of two square layers, 'b' first")
    one = {"w": torch.tensor([[1.0, -2.0], [0.0, 4.0]])}
    expect.close(function(one), {"w": one["w"].abs()}, "the scores of one layer")


@synflow_scores.law(
    "each score is the sum over the paths through its weight",
    hint="From the inputs |W_l| … |W_1| 1, from the outputs 1ᵀ |W_L| … |W_{l+1}|; their product with |w| in between.",
    trials=2,
)
def flow_paths(function, draw):
    weights = layers(draw, 2, draw.size(2, 3), 3, 2)
    got = expect_layers(function(weights), weights)
    sizes = [value.abs().tolist() for value in weights.values()]
    wanted = [torch.zeros_like(value) for value in weights.values()]
    for path in itertools.product(*(range(n) for n in (2, len(sizes[0]), 3, 2))):
        product = math.prod(sizes[layer][b][a] for layer, (a, b) in enumerate(pairwise(path)))
        for layer, (a, b) in enumerate(pairwise(path)):
            wanted[layer][b, a] += product
    expect.close(got, dict(zip(weights, wanted, strict=True)), "the scores", rtol=1e-9, atol=1e-12)


@synflow_scores.law(
    "what flows is conserved: every layer's sum is the same, and each hidden unit's in and out",
    hint="Scores are |w| · ∂R/∂|w|, the same R for all; neither the gradient alone nor one layer's own sum.",
    trials=2,
)
def flow_conserved(function, draw):
    weights = layers(draw, draw.size(2, 6), 5, draw.size(3, 7), 4)
    weights["c"][1], weights["a"][:, 2] = 0, 0
    got = list(expect_layers(function(weights), weights).values())
    for before, after in pairwise(got):
        expect.close(after.sum(0), before.sum(1), "what flows out of the hidden units", rtol=1e-9, atol=1e-12)
        number(float(after.sum()), float(before.sum()), "a layer's sum")
    flipped = {name: value * torch.where(draw.mask(*value.shape), 1.0, -1.0) for name, value in weights.items()}
    again = expect_layers(function(flipped), weights)
    expect.close(list(again.values()), got, "the scores with other signs", rtol=1e-9, atol=1e-12, calls=2)


@synflow_scores.law(
    "computed in float64, given in the weights' dtype: products that float32 cannot hold",
    hint="weight.double() first, .to(weight.dtype) last.",
    trials=1,
)
def flow_double(function, draw):
    for scales in ((1e25, 1e25, 1e-35), (1e-25, 1e-25, 1e35)):
        weights = layers(draw, 3, 4, 3, 2)
        large = {name: (value * scale).float() for (name, value), scale in zip(weights.items(), scales, strict=True)}
        got = expect_layers(function(large), large)
        wide = expect_layers(function({name: value.double() for name, value in large.items()}), weights)
        expect.close(got, {name: value.float() for name, value in wide.items()}, "the scores in float32", calls=2)
        for value in got.values():
            expect.true((value > 0).all(), "a score is not above 0", got=value)
    for dtype in expect.HALVES:
        weights = layers(draw, 3, 2, 2, dtype=dtype)
        expect_layers(function(weights), weights)


# --- 13.10b effective_masks -------------------------------------------------------------------------------------------


def chain(*rows: list[list[int]]) -> Tensors:
    return {name: torch.tensor(row).bool() for name, row in zip(("z", "b", "m", "a"), rows, strict=False)}


@effective_masks.law(
    "a weight into a unit that leads nowhere, and one out of a unit that nothing reaches, do nothing",
    hint="Go forwards for what can be reached, backwards for what leads on; a weight needs both ends.",
    trials=1,
)
def effective_example(function, draw):
    masks = chain([[1, 1], [0, 0], [1, 0]], [[1, 1, 0], [0, 0, 0]])
    wanted = chain([[1, 1], [0, 0], [0, 0]], [[1, 0, 0], [0, 0, 0]])
    expect.equal(expect_layers(function(masks), masks, "the masks"), wanted, "the masks")
    square = chain([[1, 0], [1, 0]], [[0, 1], [1, 1]])
    wanted = chain([[1, 0], [1, 0]], [[0, 1], [1, 1]])
    expect.equal(expect_layers(function(square), square, "the masks"), wanted, "the masks of two square layers")


@effective_masks.law(
    "a chain of three that ends at a dead unit is dead as a whole, forwards and backwards",
    hint="Death spreads: looking at the neighbouring layers only, once, is not enough.",
    trials=1,
)
def effective_chain(function, draw):
    lost = chain([[1, 0], [0, 1]], [[1, 0], [0, 1]], [[1, 0], [0, 1]], [[1, 0]])
    wanted = chain([[1, 0], [0, 0]], [[1, 0], [0, 0]], [[1, 0], [0, 0]], [[1, 0]])
    expect.equal(expect_layers(function(lost), lost, "the masks"), wanted, "the masks whose second chain has no end")
    rootless = chain([[1], [0]], [[1, 0], [0, 1]], [[1, 0], [0, 1]], [[1, 1]])
    wanted = chain([[1], [0]], [[1, 0], [0, 0]], [[1, 0], [0, 0]], [[1, 0]])
    expect.equal(
        expect_layers(function(rootless), rootless, "the masks"), wanted, "the masks whose second chain has no start"
    )
    cut = chain([[1, 1]], [[0]], [[1]])
    none = {name: torch.zeros_like(mask) for name, mask in cut.items()}
    expect.equal(expect_layers(function(cut), cut, "the masks"), none, "the masks of a network that is cut")


@effective_masks.law(
    "a weight stays if it is on a path from an input to an output, and only then",
    hint="No path, no weight: take all paths of a small network and mark what they use.",
    trials=3,
)
def effective_paths(function, draw):
    sizes = (4, draw.size(2, 4), 3, 2)
    masks = {name: draw.mask(*w.shape, keep=0.35) for name, w in layers(draw, *sizes).items()}
    wanted = [torch.zeros_like(mask) for mask in masks.values()]
    kept = [mask.tolist() for mask in masks.values()]
    for path in itertools.product(*map(range, sizes)):
        if all(kept[layer][b][a] for layer, (a, b) in enumerate(pairwise(path))):
            for layer, (a, b) in enumerate(pairwise(path)):
                wanted[layer][b, a] = True
    got = expect_layers(function(masks), masks, "the masks")
    expect.equal(got, dict(zip(masks, wanted, strict=True)), "the masks")


@effective_masks.law(
    "one layer keeps all it has; more than 255 weights at a unit; full masks stay",
    hint="Ask with .any(), or count in a type that holds the number.",
    trials=1,
)
def effective_edges(function, draw):
    single = {"w": draw.mask(3, 5)}
    expect.equal(expect_layers(function(single), single, "the masks"), single, "the mask of one layer")
    full = {"b": torch.ones(256, 3, dtype=torch.bool), "a": torch.ones(256, 256, dtype=torch.bool)}
    full["c"] = torch.ones(2, 256, dtype=torch.bool)
    expect.equal(expect_layers(function(full), full, "the masks"), full, "full masks")


# --- 13.11 mask_report ------------------------------------------------------------------------------------------------

KEYS = ("kept", "effective", "paths", "gap", "trace", "slowest")


def expect_keys(got: Any) -> dict[str, float]:
    expect.same_kind(got, dict.fromkeys(KEYS, 0.0), "the report")
    for key in KEYS:
        if not isinstance(got[key], float):
            expect.true(False, f"report[{key!r}] is not a float", "a float", got[key])
    return got


@mask_report.law(
    "a network by hand: 3 of 6 positions kept, 2 of 6 effective, one path, its gap, trace and slowest",
    hint="kept and effective are parts of all positions; paths are those from an input to an output; the trace is the "
    "mean of the kernel's diagonal.",
    trials=1,
)
def whole_example(function, draw):
    state = {"a.weight": torch.tensor([[2.0, 5.0], [5.0, 3.0]]), "a.bias": torch.zeros(2)}
    state |= {"b.weight": torch.tensor([[1.0, 7.0]]), "b.bias": torch.zeros(1)}
    masks = {"a.weight": torch.tensor([[True, False], [False, True]]), "b.weight": torch.tensor([[True, False]])}
    # The second hidden unit is read by nobody: f = relu(2 x₁ + b₁) + b. Kernel: (x₁x₁′ + 1) + 4 x₁x₁′ + 1
    got = expect_keys(function(state, masks, torch.tensor([[1.0, 9.0], [2.0, 9.0]])))
    kernel = np.array([[7.0, 12.0], [12.0, 22.0]])
    low, high = np.linalg.eigvalsh(kernel)
    wanted = {"kept": 3 / 6, "effective": 2 / 6, "paths": 1.0, "gap": -1 / 2, "trace": 14.5, "slowest": low / high}
    for key, value in wanted.items():
        number(got[key], value, f"report[{key!r}]", rtol=1e-4, atol=1e-6)
    moved = state | {"a.bias": torch.tensor([0.0, 2.0])}
    unreached = {"a.weight": torch.tensor([[True, False], [False, False]]), "b.weight": torch.tensor([[True, True]])}
    # No input reaches the second hidden unit, but its bias does: 5 x₁x₁′ + 2, and 2 · 2 + 7 · 7 for that unit
    got = expect_keys(function(moved, unreached, torch.tensor([[1.0, 9.0], [2.0, 9.0]])))
    number(got["trace"], 67.5, "report['trace'] with a kept weight behind a bias alone", rtol=1e-4)
    number(got["effective"], 2 / 6, "report['effective'] with it")
    half = {name: value.bfloat16() for name, value in state.items()}
    got = expect_keys(function(half, masks, torch.tensor([[1.0, 9.0], [2.0, 9.0]], dtype=torch.bfloat16)))
    number(got["trace"], 14.5, "report['trace'] of a bfloat16 state", rtol=2e-2)


@mask_report.law(
    "cut in two: a gap below 0; paths are counted, and there are more than 2²⁴ of them",
    hint="The number of paths is 1ᵀ M_L … M_1 1, in float64; the gap is the mean over the layers.",
    trials=1,
)
def whole_cut(function, draw):
    state = network(draw, 8, 8, 8, 8)
    masks = {name: blocks((4, 4), (4, 4)) for name in state if name.endswith("weight")}
    got = expect_keys(function(state, masks, draw.normal(2, 8, dtype=DOUBLE)))
    number(got["gap"], 2 * math.sqrt(3) - 4, "report['gap']")
    number(got["paths"], 2 * 4**4, "report['paths']")
    number(got["kept"], 0.5, "report['kept']")
    number(got["effective"], 0.5, "report['effective']")
    large = network(draw, 5, 71, 71, 71, 71, 1, dtype=torch.float32)
    full = {name: torch.ones_like(value, dtype=torch.bool) for name, value in large.items() if value.dim() == 2}
    full["l0.weight"][0, 0] = False
    got = expect_keys(function(large, full, draw.normal(1, 5)))
    number(got["paths"], (5 * 71 - 1) * 71**3, "report['paths']", rtol=0, atol=0.1)
    total = 5 * 71 + 3 * 71**2 + 71
    number(got["kept"], (total - 1) / total, "report['kept'] of layers of different sizes")


@mask_report.law(
    "nothing left, in all layers or in one: no parts, no paths, no NaN; what stands outside the masks does not matter",
    hint="The last biases are trained, whatever the masks say. An eigenvalue below 0 comes of rounding: .clamp(min=0).",
    trials=1,
)
def whole_empty(function, draw):
    state = network(draw, 3, 4, 2)
    inputs = draw.normal(3, 3, dtype=DOUBLE)
    masks = {name: torch.zeros_like(value, dtype=torch.bool) for name, value in state.items() if value.dim() == 2}
    got = expect_keys(function(state, masks, inputs))
    for key in ("kept", "effective", "paths", "gap"):
        number(got[key], 0.0, f"report[{key!r}] of empty masks")
    number(got["trace"], 1.0, "report['trace'] of empty masks, where only the last biases count,")
    number(got["slowest"], 0.0, "report['slowest'] of empty masks", atol=1e-9)
    one = {"l0.weight": blocks((2, 2), (2, 1)), "l1.weight": masks["l1.weight"]}
    got = expect_keys(function(state, one, inputs))
    number(got["gap"], (1 + math.sqrt(1 / 2) - math.sqrt(2)) / 2, "report['gap'] with an empty layer, whose is 0,")
    number(got["effective"], 0.0, "report['effective'] with an empty layer")
    dead = state | {"l1.bias": torch.zeros(2, dtype=DOUBLE)}
    some = masks_for(draw, dead)
    filled = dead | {name: torch.where(mask, dead[name], torch.nan) for name, mask in some.items()}
    first, second = (expect_keys(function(each, some, inputs)) for each in (dead, filled))
    for key in KEYS:
        number(second[key], first[key], f"report[{key!r}] with NaN outside the masks", rtol=1e-6)
    for scale in (1.0, 3.0):  # rank 1: all eigenvalues but one are 0, and rounded to either side of it
        same = expect_keys(function(state, some, scale * inputs[:1].repeat(5, 1)))["slowest"]
        expect.true(0 <= same < 1e-9, "report['slowest'] of five equal inputs", 0.0, same)


@mask_report.law(
    "the trace and the slowest direction are those of the outputs as they move",
    hint="13.4 of the masked state, its eigenvalues by torch.linalg.eigvalsh; the least by the largest.",
    trials=2,
)
def whole_kernel(function, draw):
    state = network(draw, 3, 4, draw.size(1, 3))
    inputs, masks = draw.normal(3, 3, dtype=DOUBLE), masks_for(draw, state)
    got = expect_keys(function(state, masks, inputs))
    kernel = kernel_by_nudges(state, masks, inputs)
    values = torch.linalg.eigvalsh(kernel).clamp(min=0)
    number(got["trace"], float(kernel.diagonal().mean()), "report['trace']", rtol=1e-5)
    number(got["slowest"], float(values[0] / values[-1]), "report['slowest']", rtol=1e-4, atol=1e-6)


@mask_report.law(
    "of six masks it tells the one with the most paths, and all in between",
    hint="If the laws above hold, this one does.",
    trials=1,
    share=0.25,
)
def whole_order(function, draw):
    state = network(draw, 3, 4, 3, 2)
    inputs, told, counted = draw.normal(1, 3, dtype=DOUBLE), [], []
    for keep in (0.3, 0.45, 0.6, 0.7, 0.85, 1.0):
        masks = masks_for(draw, state, keep)
        told.append(expect_keys(function(state, masks, inputs))["paths"])
        kept = [mask.tolist() for mask in masks.values()]
        counted.append(
            sum(
                all(kept[layer][b][a] for layer, (a, b) in enumerate(pairwise(path)))
                for path in itertools.product(range(3), range(4), range(3), range(2))
            )
        )
    order = [np.argsort(counts, kind="stable").tolist() for counts in (counted, told)]
    expect.true(order[0] == order[1], "the order of the six by their paths", order[0], order[1])
