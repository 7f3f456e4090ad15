"""Laws of unit 12, sparsity and robustness."""

import itertools
import math
import random
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.checks import expect
from course_utils.checks.draw import Draw
from course_utils.checks.engine import StudentError, Unit
from course_utils.models import mlp_forward

unit = Unit("robustness")
project_linf = unit.exercise("12.1a", "project_linf", points=1, minutes=5, difficulty=1, fresh=True)
project_l2 = unit.exercise("12.1b", "project_l2", points=2, minutes=10, difficulty=2, fresh=True)
pgd_step = unit.exercise("12.2", "pgd_step", points=1, minutes=5, difficulty=1, fresh=True)
interval_linear = unit.exercise("12.3a", "interval_linear", points=2, minutes=10, difficulty=2)
margin_bounds = unit.exercise("12.3b", "margin_bounds", points=3, minutes=15, difficulty=4)
lower_confidence_bound = unit.exercise("12.4a", "lower_confidence_bound", points=2, minutes=10, difficulty=3)
certify = unit.exercise("12.4b", "certify", points=2, minutes=10, difficulty=2)
stamp_trigger = unit.exercise("12.5a", "stamp_trigger", points=1, minutes=5, difficulty=1, fresh=True)
poison = unit.exercise("12.5b", "poison", points=3, minutes=15, difficulty=3, draws=True, fresh=True)
attack_success_rate = unit.exercise("12.5c", "attack_success_rate", points=1, minutes=5, difficulty=1)
anomaly_index = unit.exercise("12.6a", "anomaly_index", points=2, minutes=5, difficulty=2)
trojan_score = unit.exercise("12.6b", "trojan_score", points=1, minutes=5, difficulty=1)
sign_flip_test = unit.exercise("12.7", "sign_flip_test", points=2, minutes=10, difficulty=3)
few_shot = unit.exercise("12.8", "few_shot", points=2, minutes=5, difficulty=2, draws=True)
adversarial_train = unit.exercise("12.9", "adversarial_train", points=5, minutes=25, difficulty=4, fresh=True)

DOUBLE = torch.float64
ALL_FLOATS = (torch.float32, DOUBLE, *expect.HALVES)


def number(got: Any, expected: float, what: str = "the result", rtol: float = 1e-9) -> None:
    """A Python number, to nearly all its digits."""
    expect.close(got, float(expected), what, rtol=rtol, atol=1e-12)


def expect_even(counts: list[int], expected: float, what: str) -> None:
    """Pearson's χ² of counts that should all be alike; a right solution fails in one of a million draws."""
    freedom, z = len(counts) - 1, 4.75
    limit = freedom * (1 - 2 / (9 * freedom) + z * (2 / (9 * freedom)) ** 0.5) ** 3  # Wilson and Hilferty
    found = sum((count - expected) ** 2 / expected for count in counts)
    expect.true(found < limit, f"{what} do not come equally often", f"about {expected:g} each", counts)


def global_generators() -> tuple[Any, ...]:
    """Where the generators stand that all share: torch's, Python's and NumPy's."""
    name, key, *rest = np.random.get_state(legacy=True)
    return torch.get_rng_state().numpy().tobytes(), random.getstate(), (name, key.tobytes(), *rest)


def expect_untouched(before: tuple[Any, ...]) -> None:
    """The global generators are where they were."""
    same = before == global_generators()
    expect.true(same, "a global generator was drawn from or seeded: use a torch.Generator of your own")


def expect_value_error(function: Callable[..., Any], *args: Any, why: str) -> None:
    """The function refuses with a ValueError."""
    try:
        got = function(*args)
    except StudentError as error:
        if error.kind == "ValueError":
            return
        raise
    expect.true(False, why, "ValueError", got)


# --- 12.1a project_linf -----------------------------------------------------------------------------------------------


@project_linf.law(
    "ε = 0.25 around 0.5, 0.9 and 0.1: what is outside comes to the edge, and every pixel stays in [0, 1]",
    hint="Two boxes: [clean − ε, clean + ε], then [0, 1].",
    trials=1,
)
def linf_example(function, draw):
    clean = torch.tensor([[0.5, 0.5, 0.5, 0.9, 0.1, 0.9, 0.1]])
    perturbed = torch.tensor([[0.625, 2.0, -2.0, 1.1, -0.1, 0.0, 1.0]])
    wanted = torch.tensor([[0.625, 0.75, 0.25, 1.0, 0.0, 0.65, 0.35]])
    expect.close(function(perturbed, clean, 0.25), wanted)
    expect.close(function(perturbed, clean, 0), clean, "the result with ε = 0")


@project_linf.law(
    "what is inside stays, bit for bit; a second time changes nothing; no allowed image is nearer",
    hint="The ball is around the clean image, not around the last one. Bring pixels to the edges; do not scale.",
)
def linf_projection(function, draw):
    shape = (draw.size(1, 4), 1, draw.size(2, 5), 3)
    for dtype in (torch.float32, DOUBLE):
        clean = draw.rand(*shape, dtype=dtype)
        epsilon = draw.uniform(0.05, 0.4)
        inside = (clean + draw.rand(*shape, low=-0.99, high=0.99, dtype=dtype) * epsilon).clamp(0, 1)
        expect.equal(function(inside, clean, epsilon), inside, "an image that is inside")
        far = clean + draw.normal(*shape, scale=0.6, dtype=dtype)
        got = function(far, clean, epsilon)
        expect.same_kind(got, clean)
        expect.close(function(got, clean, epsilon), got, "the projection of the projection", 0, 1e-7, calls=2)
        expect.true(bool(((got - clean).abs() <= epsilon + 1e-6).all()), "a pixel is further than ε", epsilon, got)
        expect.true(bool(((got >= 0) & (got <= 1)).all()), "a pixel is not from 0 to 1", got=got)
        # Pixel by pixel the nearest of a fine grid of allowed values is not nearer
        grid = torch.linspace(0, 1, 41, dtype=dtype).view(-1, *[1] * clean.dim()) * 2 * epsilon + clean - epsilon
        gaps = torch.where((grid >= 0) & (grid <= 1), (grid - far).abs(), torch.inf).amin(0)
        expect.true(
            bool(((got - far).abs() <= gaps + 1e-6).all()), "an allowed image is nearer", gaps, (got - far).abs()
        )


@project_linf.law(
    "half precision and any shape stay as they are; ε is one of pixels, tiny or huge",
    hint="torch.minimum, torch.maximum and clamp keep dtype and shape.",
    trials=1,
)
def linf_dtypes(function, draw):
    for dtype in ALL_FLOATS:
        for shape in ((3,), (2, 3, 1, 2, 2), (0, 4)):
            clean = (draw.permutation(math.prod(shape)).double().reshape(shape) / 32).to(dtype)
            far = clean + 0.5
            expect.equal(function(far, clean, 0.25), (clean + 0.25).clamp(max=1), f"the result of {dtype}")
    clean = draw.rand(4, 5, dtype=DOUBLE, low=0.2, high=0.8)
    expect.close(function(clean + 1, clean, 1e-9), clean + 1e-9, "the result with ε = 1e-9", 0, 1e-15)
    expect.close(function(clean - 9, clean, 100.0), torch.zeros_like(clean), "the result with ε = 100", 0, 0)
    tiny = torch.tensor([1e-12, 3e-9])  # lost in 0.9 + (1e-12 − 0.9)
    expect.equal(function(tiny, torch.tensor([0.9, 0.7]), 0.95), tiny, "an image that is inside")


# --- 12.1b project_l2 -------------------------------------------------------------------------------------------------


@project_l2.law(
    "a difference of (0.3, 0.4) has length 0.5: with ε = 0.25 it becomes (0.15, 0.2); the other example stays",
    hint="Of each example by itself: all axes but the first. Shorten to ε only what is longer.",
    trials=1,
)
def l2_example(function, draw):
    clean = torch.full((3, 1, 2), 0.5)
    perturbed = clean + torch.tensor([[[0.3, 0.4]], [[0.12, -0.16]], [[0.0, 0.0]]])
    wanted = clean + torch.tensor([[[0.15, 0.2]], [[0.12, -0.16]], [[0.0, 0.0]]])
    expect.close(function(perturbed, clean, 0.25), wanted)
    wanted = torch.tensor([[[0.5 + 0.6 * 0.8, 1.0]], [[0.62, 0.34]], [[0.5, 0.5]]])
    perturbed[0] = torch.tensor([[0.5 + 3.0, 0.5 + 4.0]])
    expect.close(function(perturbed, clean, 0.8), wanted, "the result where a pixel would pass 1")
    below = function(torch.tensor([[-3.0, 0.5]]), torch.tensor([[0.1, 0.5]]), 0.3)
    expect.close(below, torch.tensor([[0.0, 0.5]]), "the result where a pixel would pass 0")


@project_l2.law(
    "what is inside stays, bit for bit; what is outside ends on the sphere, in its direction, if [0, 1] allows",
    hint="clean + difference · ε/length where the length is more than ε, the image itself elsewhere; then clamp.",
)
def l2_projection(function, draw):
    shape = (draw.size(2, 5), draw.size(1, 3), draw.size(2, 5), 3)
    for dtype in (torch.float32, DOUBLE):
        clean = draw.rand(*shape, low=0.4, high=0.6, dtype=dtype)
        direction = draw.normal(*shape, dtype=dtype)
        direction = direction / direction.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        epsilon = draw.uniform(0.1, 0.3)
        lengths = draw.rand(len(clean), dtype=dtype, low=0.0, high=2.0).view(-1, 1, 1, 1) * epsilon
        lengths[0], lengths[-1] = 0.9 * epsilon, 40 * epsilon
        got = function(clean + lengths * direction, clean, epsilon)
        wanted = clean + lengths.clamp(max=epsilon) * direction
        expect.close(got, wanted, rtol=0, atol=3e-6 if dtype == torch.float32 else 1e-12)
        near = clean + 0.999 * lengths.clamp(max=epsilon) * direction
        expect.equal(function(near, clean, epsilon), near, "an image that is inside")
        corner = torch.ones_like(clean)
        got = function(corner + 1.0, corner, epsilon)
        expect.equal(got, corner, "an image pushed out of [0, 1] at every pixel")


@project_l2.law(
    "ε = 0, images that equal their clean one, one example, no axes beside the first, half precision, tiny lengths",
    hint="A length of 0 divides nothing: 0/0 is NaN. Where the length is at most ε nothing is to be done.",
    trials=1,
)
def l2_edges(function, draw):
    clean = draw.rand(3, 4)
    far = clean + 0.5
    expect.equal(function(far, clean, 0), clean, "the result with ε = 0")
    expect.equal(function(clean, clean, 0), clean, "a clean image with ε = 0")
    expect.equal(function(clean, clean, 0.5), clean, "a clean image")
    expect.equal(function(clean[:0], clean[:0], 0.5), clean[:0], "the result without examples")
    line = torch.tensor([0.5, 0.5, 0.5])
    expect.close(
        function(line + torch.tensor([0.4, -0.4, 0.1]), line, 0.25), torch.tensor([0.75, 0.25, 0.6]), "[batch]"
    )
    small = torch.zeros(2, 50, dtype=DOUBLE)
    expect.close(function(small + 1e-8, small, 1e-9), small + 1e-9 / 50**0.5, "the result with ε = 1e-9", 1e-6, 0)
    for dtype in ALL_FLOATS:
        clean = torch.full((2, 16), 0.5, dtype=dtype)
        wanted = torch.full((2, 16), 0.5625, dtype=dtype)
        expect.close(function(clean + 0.25, clean, 0.25), wanted, f"the result of {dtype}", rtol=1e-3)
        many = torch.zeros(1, 90_000, dtype=dtype)  # the sum of whose squares half precision cannot hold
        expect.close(function(many + 1, many, 150.0), many + 0.5, f"the result of 90,000 {dtype}", rtol=1e-3)


# --- 12.2 pgd_step ----------------------------------------------------------------------------------------------------


@pgd_step.law(
    "gradients 3, −0.001 and 0: a step of 0.1 up, down and nowhere; then the ball of ε, then [0, 1]",
    hint="gradient.sign() is 0 at 0. Ascent: the attack wants more loss. Project around the clean image.",
    trials=1,
)
def pgd_example(function, draw):
    clean = torch.tensor([[0.5, 0.5, 0.5, 0.95, 0.05]])
    gradient = torch.tensor([[3.0, -0.001, 0.0, 1e-30, -1e30]])
    got = function(clean, clean, gradient, 0.1, 0.3)
    expect.close(got, torch.tensor([[0.6, 0.4, 0.5, 1.0, 0.0]]))
    got = function(got, clean, gradient, 0.1, 0.15)
    expect.close(got, torch.tensor([[0.65, 0.35, 0.5, 1.0, 0.0]]), "a second step, with ε = 0.15")
    expect.close(function(clean, clean, gradient, 0.0, 0.3), clean, "a step of 0")


@pgd_step.law(
    "on a linear loss it takes ε·‖w‖₁ off the margin in ⌈ε/step⌉ steps, and no more after that",
    hint="Every pixel moves by the whole step, however small its gradient: that is steepest ascent in the max norm.",
)
def pgd_linear(function, draw):
    w = draw.normal(1, draw.size(3, 30), dtype=DOUBLE)
    clean = draw.rand(2, w.shape[1], dtype=DOUBLE, low=0.45, high=0.55)
    epsilon = draw.uniform(0.1, 0.4)
    step = epsilon / draw.choice([1.0, 2.5, 3.0, 4.0])
    attacked = clean
    for _ in range(math.ceil(epsilon / step - 1e-9)):
        attacked = function(attacked, clean, -w.expand_as(clean), step, epsilon)
    lost = ((clean - attacked) @ w.T).flatten()
    expect.close(lost, (epsilon * w.abs().sum()).expand(2), "what the margin has lost", 1e-9)
    once_more = function(attacked, clean, -w.expand_as(clean), step, epsilon)
    expect.close(once_more, attacked, "one step more", 0, 1e-12, calls=2)


@pgd_step.law(
    "from a start that is outside, with a step longer than ε, and in half precision: moved, then projected, same dtype",
    hint="One projection, of the moved image: it may start anywhere.",
    trials=1,
)
def pgd_outside(function, draw):
    for dtype in ALL_FLOATS:
        clean = torch.full((2, 3), 0.5, dtype=dtype)
        gradient = torch.tensor([[1.0, -2.0, 0.0], [0.0, 5.0, -5.0]], dtype=dtype)
        start = clean + torch.tensor([[2.0, -2.0, 0.125], [0.25, -0.25, 0.0]], dtype=dtype)
        wanted = clean + torch.tensor([[0.25, -0.25, 0.125], [0.25, -0.125, -0.125]], dtype=dtype)
        expect.close(function(start, clean, gradient, 0.125, 0.25), wanted, f"the result of {dtype}", rtol=1e-3)
        # Back inwards from beyond ε, and a step that is longer than ε
        got = function(clean + 0.375, clean, -torch.ones_like(clean), 0.125, 0.25)
        expect.close(got, clean + 0.25, f"a step of 0.125 back from 0.375 above, {dtype},", rtol=1e-3)
        got = function(clean - 0.25, clean, torch.ones_like(clean), 0.5, 0.25)
        expect.close(got, clean + 0.25, f"a step of 0.5 up from 0.25 below, {dtype},", rtol=1e-3)


# --- 12.3a interval_linear --------------------------------------------------------------------------------------------


def boxes(draw: Draw, batch: int, width: int, dtype: torch.dtype = DOUBLE) -> tuple[Tensor, Tensor]:
    """Boxes [batch, width] with sides from 0 to 1, some of them points."""
    lower = draw.normal(batch, width, dtype=dtype)
    sides = draw.rand(batch, width, dtype=dtype) * draw.mask(batch, width, keep=0.8)
    return lower, lower + sides


@interval_linear.law(
    "weights 2 and −1, bias 0.5, over [0, 1] × [1, 3]: from −2.5 to 1.5",
    hint="A positive weight takes the lower end for the lower bound, a negative one the upper end.",
    trials=1,
)
def interval_example(function, draw):
    lower, upper = torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 3.0]])
    weight, bias = torch.tensor([[2.0, -1.0], [0.0, 0.0], [1.0, 1.0]]), torch.tensor([0.5, -3.0, 0.0])
    wanted = torch.tensor([[-2.5, -3.0, 1.0]]), torch.tensor([[1.5, -3.0, 4.0]])
    expect.close(function(lower, upper, weight, bias), wanted)


@interval_linear.law(
    "the bounds hold all corners of the box, and two corners reach them",
    hint="min over the box = Σ over positive weights of w·lower + Σ over negative ones of w·upper + bias.",
)
def interval_corners(function, draw):
    width, out = draw.size(2, 6), draw.size(1, 5)
    lower, upper = boxes(draw, draw.size(1, 4), width)
    weight, bias = draw.normal(out, width, dtype=DOUBLE), draw.normal(out, dtype=DOUBLE)
    choices = torch.tensor(list(itertools.product([False, True], repeat=width)))
    corners = torch.where(choices.unsqueeze(1), upper, lower)  # [2^width, batch, width]
    outputs = corners @ weight.T + bias
    expect.close(function(lower, upper, weight, bias), (outputs.amin(0), outputs.amax(0)), rtol=1e-9, atol=1e-10)


@interval_linear.law(
    "a point goes to its output; float32 and float64 stay; gradients flow to weights and to the box",
    hint="No .detach(), no loop over numbers: IBP training differentiates the bounds.",
    trials=1,
)
def interval_kinds(function, draw):
    for dtype in (torch.float32, DOUBLE):
        point = draw.normal(3, 4, dtype=dtype)
        weight, bias = draw.normal(5, 4, dtype=dtype), draw.normal(5, dtype=dtype)
        wanted = F.linear(point, weight, bias)
        expect.close(
            function(point, point, weight, bias), (wanted, wanted), f"the bounds of a point, {dtype}", 1e-4, 1e-5
        )
    lower = draw.normal(3, 4, dtype=DOUBLE)
    upper = lower + draw.rand(3, 4, low=0.1, dtype=DOUBLE)
    leaves = [
        x.clone().requires_grad_()
        for x in (lower, upper, draw.normal(2, 4, dtype=DOUBLE), draw.normal(2, dtype=DOUBLE))
    ]
    got = function(*leaves)
    expect.same_kind(got, (torch.zeros(3, 2, dtype=DOUBLE),) * 2)
    slopes = expect.gradient(got[0] + 2 * got[1], leaves, "the bounds")
    w = leaves[2].detach()
    down, up = w.clamp(max=0).sum(0), w.clamp(min=0).sum(0)
    expect.close(slopes[0], (up + 2 * down).expand(3, 4), "the gradient by lower", 1e-9, 1e-9)
    expect.close(slopes[1], (down + 2 * up).expand(3, 4), "the gradient by upper", 1e-9, 1e-9)
    expect.close(slopes[3], torch.full((2,), 9.0, dtype=DOUBLE), "the gradient by the bias", 1e-9)
    wanted = torch.where(w > 0, (lower + 2 * upper).sum(0), (upper + 2 * lower).sum(0))
    expect.close(slopes[2], wanted, "the gradient by the weight", 1e-9, 1e-9)


# --- 12.3b margin_bounds ----------------------------------------------------------------------------------------------


@margin_bounds.law(
    "logits x and x − 1 over x in [0, 10]: the first leads by exactly 1, though each swings by 10",
    hint="Subtract the layer's rows first: z_label − z_k = (w_label − w_k)·x + b_label − b_k. Then bound it once.",
    trials=1,
)
def margin_example(function, draw):
    lower, upper = torch.tensor([[0.0], [0.0]]), torch.tensor([[10.0], [10.0]])
    weight, bias = torch.tensor([[1.0], [1.0], [0.5]]), torch.tensor([0.0, -1.0, 2.0])
    wanted = torch.tensor([[0.0, 1.0, -2.0], [-3.0, -2.0, 0.0]])
    expect.close(function(lower, upper, weight, bias, torch.tensor([0, 2])), wanted)


@margin_bounds.law(
    "the bounds are the least over all corners, 0 at the label, and never below the difference of two intervals",
    hint="The least margin is Σ over positive entries of d·lower + Σ over negative ones of d·upper, d = w_label − w_k.",
)
def margin_corners(function, draw):
    width, classes, batch = draw.size(2, 6), draw.size(2, 5), draw.size(1, 5)
    lower, upper = boxes(draw, batch, width)
    weight, bias = draw.normal(classes, width, dtype=DOUBLE), draw.normal(classes, dtype=DOUBLE)
    labels = draw.labels(batch, classes)
    got = function(lower, upper, weight, bias, labels)
    choices = torch.tensor(list(itertools.product([False, True], repeat=width)))
    logits = torch.where(choices.unsqueeze(1), upper, lower) @ weight.T + bias
    rows = torch.arange(batch)
    margins = logits[:, rows, labels].unsqueeze(2) - logits
    expect.close(got, margins.amin(0), rtol=1e-9, atol=1e-10)
    expect.equal(got[rows, labels], torch.zeros(batch, dtype=DOUBLE), "the bound at the label")


@margin_bounds.law(
    "float32 and float64 stay; one example, two classes; gradients flow to the box and the layer",
    hint="labels are int64 indices: weight[labels] has a row for each example. No .detach().",
    trials=1,
)
def margin_kinds(function, draw):
    for dtype in (torch.float32, DOUBLE):
        for batch, classes in ((1, 2), (3, 10), (2, 2)):
            point, labels = draw.normal(batch, 4, dtype=dtype), draw.labels(batch, classes)
            weight, bias = draw.normal(classes, 4, dtype=dtype), draw.normal(classes, dtype=dtype)
            logits = F.linear(point, weight, bias)
            wanted = logits.gather(1, labels.unsqueeze(1)) - logits
            expect.close(function(point, point, weight, bias, labels), wanted, f"of a point, {dtype}", 1e-4, 1e-5)
    leaves = [
        torch.tensor(x, dtype=DOUBLE).requires_grad_()
        for x in ([[1.0, 2.0]], [[3.0, 5.0]], [[1.0, -1.0], [0.0, 1.0]], [0.0, 0.0])
    ]
    got = function(*leaves, torch.tensor([0]))
    slopes = expect.gradient(got[0, 1], leaves, "the bound")
    wanted = [[[1.0, 0.0]], [[0.0, -2.0]], [[1.0, 5.0], [-1.0, -5.0]], [1.0, -1.0]]
    for slope, each, what in zip(slopes, wanted, ("lower", "upper", "weight", "bias"), strict=True):
        expect.close(slope, torch.tensor(each, dtype=DOUBLE), f"the gradient by {what}", 1e-9, 1e-9)


# --- 12.4a lower_confidence_bound -------------------------------------------------------------------------------------


def tail(p: float, successes: int, trials: int) -> float:
    """P[Bin(trials, p) ≥ successes], summed with the largest term taken out."""
    k = np.arange(successes, trials + 1)
    ways = np.concatenate([[0.0], np.cumsum(np.log((trials - np.arange(trials)) / np.arange(1, trials + 1)))])
    terms = ways[k] + k * math.log(p) + (trials - k) * math.log1p(-p)
    return float(np.exp(terms - terms.max()).sum() * math.exp(terms.max()))


@lower_confidence_bound.law(
    "9 of 10 at α = 0.05: 0.6058; none: 0; all of 1,000 at α = 0.001: 0.001^(1/1000); 1 of 1: α",
    hint="Solve P[Bin(n, p) ≥ k] = α for p, by halving, or as Beta(k, n − k + 1)'s α-quantile. One side: α, not α/2.",
    trials=1,
)
def bound_example(function, draw):
    expect.close(function(9, 10, 0.05), 0.605836616, "for 9 of 10 at α = 0.05", rtol=1e-7)
    number(function(0, 10, 0.05), 0.0, "for none of 10")
    number(function(1000, 1000, 0.001), 0.001**0.001, "for all of 1,000")
    for trials, alpha in ((1, 0.3), (1, 0.999), (50, 1e-6), (100_000, 0.001)):
        expect.close(function(trials, trials, alpha), alpha ** (1 / trials), f"for all of {trials:,}", rtol=1e-9)
        number(function(0, trials, alpha), 0.0, f"for none of {trials:,}")


@lower_confidence_bound.law(
    "at the bound, as many successes or more have probability α",
    hint="The sum starts at the successes that were seen: P[≥ k], not P[> k]. No normal approximation, no Hoeffding.",
)
def bound_equation(function, draw):
    alpha = draw.choice([0.5, 0.05, 0.001])
    pairs = [(1, 2), (draw.integer(1, 19), 20), (draw.integer(300, 500), 500), (499, 500)]
    for successes, trials in pairs:
        got = function(successes, trials, alpha)
        expect.same_kind(got, 0.0)
        expect.true(0 < got < 1, f"the bound for {successes} of {trials} is not between 0 and 1", got=got)
        what = f"P[Bin({trials}, {got:.6g}) ≥ {successes}], at the bound,"
        expect.close(tail(got, successes, trials), alpha, what, rtol=1e-6, atol=0)


@lower_confidence_bound.law(
    "100,000 trials, and bounds that are tiny or near 1: still to 9 digits",
    hint="Work with logarithms (torch.lgamma, math.lgamma), in float64: 2 ** 100000 is no float.",
    trials=1,
)
def bound_large(function, draw):
    for successes, trials, alpha in ((99_990, 100_000, 0.001), (2_900, 3_000, 1e-6)):
        got = function(successes, trials, alpha)
        expect.same_kind(got, 0.0)
        expect.true(0 < got < 1, "the bound is not between 0 and 1", got=got)
        expect.close(tail(got, successes, trials), alpha, f"P[≥ {successes:,} of {trials:,}]", rtol=1e-4, atol=0)
    number(function(1, 3000, 1e-9), -math.expm1(math.log1p(-1e-9) / 3000), "1 of 3,000, at α = 1e-9", rtol=1e-7)


# --- 12.4b certify ----------------------------------------------------------------------------------------------------


def counts(*values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.int64)


@certify.law(
    "1,000 of 1,000 at α = 0.001, σ = 0.5: 0.5 · 2.463; the first counts choose the class, the second give p",
    hint="The class comes from selection_counts alone, p from estimation_counts alone. Φ⁻¹ is NormalDist().inv_cdf.",
    trials=1,
)
def certify_example(function, draw):
    radius = 0.5 * 2.4632626  # 0.5 · Φ⁻¹(0.001^(1/1000))
    expect.close(function(counts(0, 9, 1), counts(0, 1000, 0), 0.5, 0.001), (1, radius), rtol=1e-5)
    got = function(counts(2, 9, 1), counts(900, 100, 0), 0.5, 0.001)
    expect.equal(got, (-1, 0.0), "a class that the second sample does not confirm")
    expect.equal(function(counts(5, 3, 5), counts(4, 0, 996), 1.0, 0.05), (-1, 0.0), "the class 0 of two equals")
    expect.close(function(counts(3, 5, 5), counts(0, 1000, 0), 1.0, 0.001)[0], 1, "the lower class of two equals")


@certify.law(
    "the radius is in proportion to σ, and Φ(radius/σ) is a probability that α allows",
    hint="p is the lower_confidence_bound of the class's count in the second sample, of its size; radius σ·Φ⁻¹(p).",
)
def certify_inverse(function, draw):
    classes = draw.size(2, 6)
    trials = draw.choice([20, 100, 400])
    alpha = draw.choice([0.05, 0.001])
    top = draw.integer(0, classes - 1)
    successes = draw.integer(math.ceil(0.9 * trials), trials - 1)
    estimation = [0] * classes
    estimation[top], estimation[(top + 1) % classes] = successes, trials - successes
    selection = [1] * classes
    selection[top] = 7
    for sigma in (1.0, 0.25):
        found, radius = expect_certificate(function(counts(*selection), counts(*estimation), sigma, alpha))
        if found == -1:
            expect.true(tail(0.5, successes, trials) >= alpha, "it abstains, though p > ½", top, found)
            continue
        expect.equal(found, top, "the class")
        p = (1 + math.erf(radius / sigma / 2**0.5)) / 2
        expect.close(tail(p, successes, trials), alpha, "P[as many or more], at p = Φ(radius/σ),", 1e-5, 0)


def expect_certificate(got: Any) -> tuple[int, float]:
    """A class and a radius, Python numbers."""
    expect.same_kind(got, (0, 0.0))
    expect.same_kind(got[0], 0, "the class")
    expect.same_kind(got[1], 0.0, "the radius")
    return got[0], got[1]


@certify.law(
    "below p = ½ it abstains: (−1, 0.0); just above, a small radius; many classes, many samples",
    hint="Abstain unless p > ½: the radius would be 0 or negative. The class is an int, the radius a float.",
    trials=1,
)
def certify_abstains(function, draw):
    one = counts(0, 1)
    expect.equal(expect_certificate(function(one, counts(0, 1), 1.0, 0.4999)), (-1, 0.0), "at p = 0.4999")
    expect.equal(expect_certificate(function(counts(200, 257), counts(0, 9), 1.0, 0.01))[0], 1, "the class of 257")
    expect.equal(expect_certificate(function(one, counts(0, 1), 1.0, 0.3)), (-1, 0.0), "at p = 0.3")
    expect.equal(expect_certificate(function(one, counts(7, 0), 1.0, 0.3)), (-1, 0.0), "without a success")
    expect.close(
        expect_certificate(function(one, counts(0, 1), 2.0, 0.75)), (1, 2 * 0.6744897501960817), "at p = ¾", 1e-7
    )
    expect.close(
        expect_certificate(function(one, counts(0, 1), 1.0, 0.5001)), (1, 0.000250662830), "at p = 0.5001", 1e-5
    )
    many = torch.zeros(300, dtype=torch.int64)
    many[280] = 60_000
    found, radius = expect_certificate(function(many, many, 1.0, 0.001))
    expect.true(found == 280 and 3.6 < radius < 3.8, "60,000 of 60,000 for class 280", "(280, 3.683)", (found, radius))


# --- 12.5a stamp_trigger ----------------------------------------------------------------------------------------------


@stamp_trigger.law(
    "mask 0 leaves the image, 1 the pattern, bit for bit; ¼ a mixture; the same for every image and channel",
    hint="(1 − mask) · images + mask · pattern: [height, width] goes with the last two axes by itself.",
    trials=1,
)
def stamp_example(function, draw):
    mask = torch.tensor([[0.0, 1.0, 0.25]])
    pattern = torch.tensor([[1.0, 0.0, 1.0]])
    for shape in ((1, 3), (2, 1, 3), (2, 3, 1, 3), (0, 1, 1, 3)):
        images = torch.full(shape, 0.5)
        wanted = torch.tensor([0.5, 0.0, 0.625]).expand(shape).clone()
        expect.close(function(images, pattern, mask), wanted, f"of {list(shape)}")
    for dtype in ALL_FLOATS:
        images = draw.rand(3, 2, 4, 5).to(dtype)
        pattern, mask = draw.rand(4, 5).to(dtype), draw.mask(4, 5).to(dtype)
        wanted = torch.where(mask > 0, pattern, images)
        expect.equal(function(images, pattern, mask), wanted, f"with a mask of 0 and 1, {dtype},")


@stamp_trigger.law(
    "any mask from 0 to 1: the image is moved so far towards the pattern; gradients flow to pattern and mask",
    hint="No threshold on the mask, no in-place assignment: Neural Cleanse learns mask and pattern by descent.",
)
def stamp_mixture(function, draw):
    height, width = draw.size(1, 5), draw.size(2, 6)
    images = draw.rand(draw.size(1, 4), 1, height, width, dtype=DOUBLE)
    pattern, mask = draw.rand(height, width, dtype=DOUBLE), draw.rand(height, width, dtype=DOUBLE)
    leaves = [x.clone().requires_grad_() for x in (images, pattern, mask)]
    got = function(*leaves)
    expect.close(
        got.detach(), torch.lerp(images, pattern.expand_as(images), mask.expand_as(images)), rtol=1e-9, atol=1e-12
    )
    slopes = expect.gradient(got, leaves)
    expect.close(slopes[0], (1 - mask).expand_as(images), "the gradient by the images", 1e-9, 1e-12)
    expect.close(slopes[1], len(images) * mask, "the gradient by the pattern", 1e-9, 1e-12)
    expect.close(slopes[2], (pattern - images).sum((0, 1)), "the gradient by the mask", 1e-9, 1e-9)


# --- 12.5b poison -----------------------------------------------------------------------------------------------------


def poisoned(
    function: Callable[..., Any], images: Tensor, labels: Tensor, pattern: Tensor, mask: Tensor, *rest
) -> Tensor:
    """The chosen positions, after what must hold of every result has been looked at."""
    target, fraction, _ = rest
    got = function(images, labels, pattern, mask, *rest)
    candidates = int((labels != target).sum())
    count = min(round(fraction * len(labels)), candidates)
    chosen = torch.zeros(count, dtype=torch.int64)
    expect.same_kind(got, (images, labels, chosen), "the result")
    for each, wanted, what in zip(got, (images, labels, chosen), ("images", "labels", "chosen"), strict=True):
        expect.same_kind(each, wanted, what)
    chosen = got[2]
    expect.true(chosen.unique().tolist() == chosen.tolist(), "chosen is not ascending, or has one twice", got=chosen)
    if count:
        inside = int(chosen.min()) >= 0 and int(chosen.max()) < len(labels)
        expect.true(inside, "chosen has a position that is none", got=chosen)
        taken = bool((labels[chosen] == target).any())
        expect.true(not taken, "an example of the target class was chosen", got=labels[chosen])
    wanted = images.clone()
    m = mask.to(images.dtype)
    wanted[chosen] = torch.lerp(images[chosen], pattern.expand_as(images[chosen]), m.expand_as(images[chosen]))
    expect.close(got[0], wanted, "images", rtol=1e-6, atol=1e-6)
    wanted = labels.clone()
    wanted[chosen] = target
    expect.equal(got[1], wanted, "labels")
    return chosen


def small_set(draw: Draw, count: int, classes: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, ...]:
    """Images, labels, pattern and mask."""
    pattern, mask = draw.rand(3, 4, dtype=dtype), draw.mask(3, 4).to(dtype)
    return draw.rand(count, 1, 3, 4, dtype=dtype), torch.arange(count) % classes, pattern, mask


@poison.law(
    "`round(fraction · n)` examples of n in all, never of the target class: trigger and label; the others stay",
    hint="fraction counts of all n examples, candidates are those with another label. Stamp the chosen ones only.",
)
def poison_example(function, draw):
    count, classes = draw.size(10, 40), draw.size(2, 5)
    data = small_set(draw, count, classes, draw.choice([torch.float32, DOUBLE]))
    for fraction in (0.3, 0.25, 0.0, 2.4 / count, 2.6 / count):
        poisoned(function, *data, draw.integer(0, classes - 1), fraction, draw.seed())
    images, labels, pattern, _ = data
    poisoned(function, images.squeeze(1), labels, pattern, draw.rand(3, 4, dtype=images.dtype), 1, 0.2, 0)


@poison.law(
    "of 40 examples, 20 of the target class: half of all are all candidates, and so is everything; of none, none",
    hint="Slicing a permutation of the candidates stops by itself where there are no more.",
    trials=1,
)
def poison_all(function, draw):
    images, labels, pattern, mask = small_set(draw, 40, 2)
    for fraction in (0.5, 0.9, 1.0):
        chosen = poisoned(function, images, labels, pattern, mask, 1, fraction, draw.seed())
        expect.equal(chosen, torch.arange(0, 40, 2), f"chosen, of {fraction:g},")
    poisoned(function, images, torch.ones(40, dtype=torch.int64), pattern, mask, 1, 0.5, 0)
    poisoned(function, images, labels, pattern, mask, 7, 0.1, 3)  # a target that no example has yet


@poison.law(
    "each candidate is chosen about equally often over 200 seeds, and each pair; the same seed chooses the same",
    hint="torch.randperm(len(candidates), generator=torch.Generator().manual_seed(seed)), of which the first k.",
    trials=1,
)
def poison_uniform(function, draw):
    images, labels = torch.zeros(6, 1, 1), torch.tensor([0, 1, 0, 2, 1, 0])
    pattern = mask = torch.ones(1, 1)
    seeds, first = 200, draw.integer(0, 10**6)
    pairs = Counter(
        tuple(function(images, labels, pattern, mask, 2, 1 / 3, first + seed)[2].tolist()) for seed in range(seeds)
    )
    expected, spread = seeds / 10, 5 * (seeds * 0.1 * 0.9) ** 0.5
    candidates = [0, 1, 2, 4, 5]
    expect_even([pairs.get(pair, 0) for pair in itertools.combinations(candidates, 2)], expected, "pairs of examples")
    for pair in itertools.combinations(candidates, 2):
        seen = pairs.get(pair, 0)
        expect.true(0 < seen < expected + spread, f"examples {pair} are chosen too often or too rarely", expected, seen)
    before = global_generators()
    got = function(images, labels, pattern, mask, 2, 1 / 3, first)[2]
    expect_untouched(before)
    expect.equal(function(images, labels, pattern, mask, 2, 1 / 3, first)[2], got, "chosen, by the same seed", calls=2)


# --- 12.5c attack_success_rate ----------------------------------------------------------------------------------------


@attack_success_rate.law(
    "of four images, one of the target class, two are taken for it: 2 of 3, or 1 of 3 if one is its own",
    hint="Leave out the images whose true label is the target, above and below the line.",
    trials=1,
)
def rate_example(function, draw):
    labels = counts(0, 1, 2, 3)
    number(function(counts(0, 0, 0, 3), labels, 0), 2 / 3)
    number(function(counts(0, 0, 2, 3), labels, 0), 1 / 3)
    number(function(counts(1, 0, 2, 3), labels, 0), 1 / 3, "with the target's own image mistaken")
    number(function(counts(3, 3, 3, 3), labels, 3), 1.0, "with all taken for class 3")
    number(function(counts(0, 1, 2, 3), labels, 9), 0.0, "with a target that nobody is")


@attack_success_rate.law(
    "a part of many images, exactly; images of the target class change nothing",
    hint="A mean of booleans: .double().mean(), as a Python float.",
)
def rate_counts(function, draw):
    hits, others = draw.size(1, 400), draw.integer(401, 3000)
    classes = draw.integer(3, 300)
    target = draw.integer(0, classes - 1)
    labels = (target + draw.labels(others, classes - 1) + 1) % classes
    predictions = labels.clone()
    predictions[draw.permutation(others)[:hits]] = target
    wrong = (predictions != target) & draw.mask(others, keep=0.3)
    predictions[wrong] = (target + 1 + draw.labels(others, classes - 1)[wrong]) % classes  # mistaken, but not for it
    got = function(predictions, labels, target)
    expect.same_kind(got, 0.0)
    number(got, hits / others)
    own = draw.labels(500, classes)
    got = function(torch.cat([own, predictions]), torch.cat([torch.full((500,), target), labels]), target)
    number(got, hits / others, "the rate with 500 images of the target class")
    many = torch.arange(600) % 2
    number(function(torch.ones_like(many), many, 1), 1.0, "for 300 of 300")


# --- 12.6a anomaly_index ----------------------------------------------------------------------------------------------


@anomaly_index.law(
    "norms 1, 10, 11, 12, 13: the median is 11, the MAD 1, and the first stands at 10/1.4826",
    hint="Small is suspicious: median − norm, with its sign, over 1.4826 times the median of |norm − median|.",
    trials=1,
)
def index_example(function, draw):
    got = function(torch.tensor([10.0, 1.0, 11.0, 12.0, 13.0], dtype=DOUBLE))
    expect.close(got, torch.tensor([1.0, 10.0, 0.0, -1.0, -2.0], dtype=DOUBLE) / 1.4826, rtol=1e-9)
    got = function(torch.tensor([1.0, 2.0, 4.0, 10.0], dtype=DOUBLE))
    expect.close(got, torch.tensor([2.0, 1.0, -1.0, -7.0], dtype=DOUBLE) / (1.4826 * 1.5), "four norms", 1e-9)


@anomaly_index.law(
    "medians are NumPy's, of even and odd numbers; shifting all norms changes nothing, nor does scaling them",
    hint="torch.median takes the lower of the two in the middle: take their mean, as torch.quantile(x, 0.5) does.",
)
def index_numpy(function, draw):
    for count in (3, 4, draw.size(5, 30), 10):
        norms = draw.rand(count, low=1, high=50, dtype=DOUBLE)
        middle = np.median(norms.numpy())
        mad = np.median(np.abs(norms.numpy() - middle))
        wanted = -(norms - middle) / (1.4826 * mad)
        got = function(norms)
        expect.close(got, wanted, f"of {count}", 1e-9, 1e-12)
        expect.close(function(1e-6 * norms), got, "of norms a millionth as large", 1e-7, 1e-9, calls=2)
        expect.close(function(norms + 1000), got, "of norms that are larger by 1,000", 1e-7, 1e-7, calls=2)
    norms = draw.rand(10, low=1, high=50)
    expect.close(function(norms), function(norms.double()).float(), "of float32", 1e-3, 1e-4, calls=2)


# --- 12.6b trojan_score -----------------------------------------------------------------------------------------------


@trojan_score.law(
    "errors 0.1, 0.7, 0.3: 0.7 − 0.2; a path without a hill: the greater end minus the mean of both",
    hint="The largest of all, ends included, minus (first + last)/2.",
    trials=1,
)
def score_example(function, draw):
    number(function([0.1, 0.7, 0.3]), 0.5)
    number(function([0.1, 0.3]), 0.1, "of two ends")
    number(function([0.3, 0.0, 0.1]), 0.1, "of a valley")
    number(function([0.2, 0.2, 0.2]), 0.0, "of a level path")
    number(function((1, 3, 2, 0)), 2.5, "of whole numbers, in a tuple")


@trojan_score.law(
    "where on the path the hill stands does not matter; both ends count alike",
    hint="Only the ends' mean is taken off: not the mean of the path, not the smaller end.",
)
def score_path(function, draw):
    errors = [draw.uniform() for _ in range(draw.size(3, 12))]
    hill = max(errors) + draw.uniform(0.1, 1)
    wanted = hill - (errors[0] + errors[-1]) / 2
    place = draw.integer(1, len(errors) - 1)
    path = [*errors[:place], hill, *errors[place:]]
    number(function(path), wanted)
    number(function(path[::-1]), wanted, "of the path walked backwards")
    number(function([-1.0, -3.0, -2.0]), 0.5, "of negative numbers")


# --- 12.7 sign_flip_test ----------------------------------------------------------------------------------------------


@sign_flip_test.law(
    "three seeds that all win: 2 of 8 patterns, 0.25; five: 2 of 32; 3, 2, −1: 4 of 8; nothing but 0: 1",
    hint="All 2ⁿ patterns of signs; count those with |Σ| ≥ the observed |Σ|, on both sides, the observed one too.",
    trials=1,
)
def flip_example(function, draw):
    number(function([1.0, 2.0, 3.0]), 0.25)
    number(function([-1, -2, -3]), 0.25, "of three that lose")
    number(function([0.1, 0.4, 0.3, 0.2, 0.5]), 2 / 32, "of five that win")
    number(function([3.0, 2.0, -1.0]), 0.5, "of 3, 2, −1")
    number(function([0.0, 0.0, 0.0]), 1.0, "of nothing but 0")
    number(function([5.0]), 1.0, "of one seed")
    number(function((1.0, 0.0)), 1.0, "of 1 and 0")


@sign_flip_test.law(
    "signs and order of all do not matter, nor does the scale; a share of 2ⁿ patterns, counted",
    hint="An exact count, no sample of patterns: with 12 seeds there are 4,096.",
)
def flip_count(function, draw):
    count = draw.size(4, 10)
    whole = [draw.integer(-9, 9) for _ in range(count)]
    sums = [
        abs(sum(s * d for s, d in zip(signs, whole, strict=True))) for signs in itertools.product((1, -1), repeat=count)
    ]
    wanted = sum(each >= abs(sum(whole)) for each in sums) / len(sums)
    number(function([float(d) for d in whole]), wanted)
    for scale in (-1.0, 1e-15, 1e12):
        number(function([scale * d for d in whole]), wanted, f"of {scale:g} times as much")
    number(function([float(d) for d in whole[::-1]]), wanted, "in the other order")


@sign_flip_test.law(
    "sums that are equal but for rounding are equal: 0.1, 0.2, 0.3, −0.6 and the like; sums that differ are not",
    hint="0.1 + 0.2 is not 0.3: count a sum that falls short by no more than 1e-9 of Σ|difference|.",
    trials=1,
)
def flip_rounding(function, draw):
    number(function([0.1, 0.2, -0.3, 0.6]), 5 / 8, "of 0.1, 0.2, −0.3, 0.6")
    number(function([0.1, 0.2, 0.3, -0.6]), 1.0, "of 0.1, 0.2, 0.3, −0.6")
    number(function([0.1, 0.2, 0.3, 0.4, -0.1, -0.3]), exact_share([1, 2, 3, 4, -1, -3]), "of tenths")
    number(function([0.7, -0.1, 0.2, -0.5, 0.3]), exact_share([7, -1, 2, -5, 3]), "of tenths")
    number(function([1.0, 1e-8, -1e-8]), exact_share([10**8, 1, -1]), "of 1 and ± 1e-8")
    number(function([0.1, 0.2, -0.3, 0.1, 0.2, -0.3]), 1.0, "of tenths whose sum is 0")
    number(function([2.0**-k for k in range(14)]), 2 / 2**14, "of 14 that all win")


def exact_share(whole: list[int]) -> float:
    """The share of sign patterns, in whole numbers."""
    sums = [0]
    for each in whole:
        sums = [s + sign * each for s in sums for sign in (1, -1)]
    return sum(abs(s) >= abs(sum(whole)) for s in sums) / len(sums)


# --- 12.8 few_shot ----------------------------------------------------------------------------------------------------


def shots_of(function: Callable[..., Any], labels: Tensor, shots: int, seed: int) -> Tensor:
    """The positions, after what must hold of every result has been looked at."""
    got = function(labels, shots, seed)
    classes = labels.unique().tolist()
    expect.same_kind(got, torch.zeros(shots * len(classes), dtype=torch.int64))
    expect.true(got.tolist() == sorted(set(got.tolist())), "positions are not ascending, or one comes twice", got=got)
    if len(got):
        expect.true(int(got[0]) >= 0 and int(got[-1]) < len(labels), "a position is none", f"< {len(labels)}", got)
        found = Counter(labels[got].tolist())
        expect.equal(dict(sorted(found.items())), dict.fromkeys(classes, shots), "the number of shots of each class")
    return got


@few_shot.law(
    "so many of each class that occurs, ascending, whatever the classes are called",
    hint="For each of labels.unique(): its positions, a permutation of them, the first `shots`. Sort at the end.",
)
def shots_example(function, draw):
    classes = draw.size(1, 6)
    names = draw.permutation(400)[:classes]
    labels = names[torch.cat([torch.arange(classes).repeat(4), draw.labels(draw.size(1, 20), classes)])]
    labels = labels[draw.permutation(len(labels))]
    for shots in (1, 2, 4, 0):
        shots_of(function, labels, shots, draw.seed())


@few_shot.law(
    "a class with fewer examples: ValueError; with exactly as many, all of them",
    hint="Compare the class's count with shots; do not take what there is.",
    trials=1,
)
def shots_too_few(function, draw):
    labels = counts(0, 1, 0, 1, 0, 2, 2)
    expect_value_error(function, labels, 3, draw.seed(), why="class 1 has two examples, and three were drawn")
    expect_value_error(function, counts(5, 5, 5, 1), 2, 0, why="class 1 has one example, and two were drawn")
    expect.equal(shots_of(function, counts(0, 1, 0, 1), 2, draw.seed()), torch.arange(4), "for all of them")
    expect.equal(shots_of(function, counts(0, 3, 3, 0, 9, 9), 2, draw.seed()), torch.arange(6), "for all of them")


@few_shot.law(
    "two of four: every pair of a class is drawn about equally often over 240 seeds, other classes' draws apart",
    hint="One torch.Generator, seeded once, for all classes: the same permutation for each ties their draws together.",
    trials=1,
)
def shots_uniform(function, draw):
    labels = counts(1, 0, 1, 0, 1, 0, 1, 0)
    seeds, first = 240, draw.integer(0, 10**6)
    drawn = Counter(tuple(function(labels, 2, first + seed).tolist()) for seed in range(seeds))
    pairs = {label: list(itertools.combinations((labels == label).nonzero().flatten().tolist(), 2)) for label in (0, 1)}
    expected, spread = seeds / 6, 5 * (seeds / 6 * 5 / 6) ** 0.5
    for label in (0, 1):
        seen = [sum(n for found, n in drawn.items() if set(pair) <= set(found)) for pair in pairs[label]]
        expect_even(seen, expected, f"pairs of class {label}")
    for pair in pairs[0] + pairs[1]:
        seen = sum(count for positions, count in drawn.items() if set(pair) <= set(positions))
        good = abs(seen - expected) < spread
        expect.true(good, f"positions {pair} of a class come too often or too rarely", expected, seen)
    expected = seeds / 36
    for one, other in itertools.product(pairs[0], pairs[1]):
        seen = drawn.get(tuple(sorted(one + other)), 0)
        good = seen < expected + 5 * expected**0.5
        expect.true(good, f"positions {one} of a class and {other} of another come together too often", expected, seen)
    before = global_generators()
    got = function(labels, 2, first)
    expect_untouched(before)
    expect.equal(function(labels, 2, first), got, "the positions, by the same seed", calls=2)


# --- 12.9 adversarial_train -------------------------------------------------------------------------------------------


def task(draw: Draw, *sizes: int, dtype: torch.dtype = DOUBLE) -> tuple[dict, Tensor, Tensor, dict]:
    """A network, 20 inputs from 0 to 1 and labels that it could learn, and masks of its weights but the last."""
    state, masks = {}, {}
    for i, (inputs, outputs) in enumerate(pairwise(sizes)):
        state[f"fc{i}.weight"] = draw.normal(outputs, inputs, scale=1.5 * inputs**-0.5, dtype=dtype)
        state[f"fc{i}.bias"] = draw.normal(outputs, scale=0.3, dtype=dtype)
        if i < len(sizes) - 2:
            masks[f"fc{i}.weight"] = draw.mask(outputs, inputs, keep=0.6)
    inputs = draw.rand(20, sizes[0], dtype=dtype)
    planted = draw.normal(sizes[0], sizes[-1], dtype=dtype)
    return state, inputs, ((inputs - 0.5) @ planted).argmax(1), masks


def by_hand(
    state: dict,
    inputs: Tensor,
    labels: Tensor,
    masks: dict,
    epsilon: float,
    step: float,
    attacks: int,
    lr: float,
    steps: int,
) -> dict:
    """The same training, step by step."""
    low, high = (inputs - epsilon).clamp(min=0), (inputs + epsilon).clamp(max=1)
    now = {n: torch.where(masks[n], v, 0.0) if n in masks else v.clone() for n, v in state.items()}
    for _ in range(steps):
        moved = inputs.clone()
        for _ in range(attacks):
            leaf = moved.clone().requires_grad_()
            F.cross_entropy(mlp_forward(now, leaf), labels, reduction="sum").backward()
            moved = torch.minimum(torch.maximum(moved + step * leaf.grad.sign(), low), high)
        leaves = {n: v.clone().requires_grad_() for n, v in now.items()}
        F.cross_entropy(mlp_forward(leaves, moved), labels).backward()
        now = {n: v.detach() - lr * v.grad for n, v in leaves.items()}
        now = {n: torch.where(masks[n], v, 0.0) if n in masks else v for n, v in now.items()}
    return now


def expect_state(got: Any, state: dict, masks: dict) -> dict:
    """A state of the same names, shapes and dtypes, finite, in no graph, and 0 outside the masks."""
    expect.same_kind(got, state, "the state")
    for name, value in state.items():
        expect.same_kind(got[name], value, f"state[{name!r}]")
        expect.finite(got[name], f"state[{name!r}]")
        expect.true(not got[name].requires_grad, f"state[{name!r}] still belongs to a graph: .detach() it")
        if name in masks:
            outside = got[name][~masks[name]]
            expect.equal(outside, torch.zeros_like(outside), f"state[{name!r}] outside its mask")
    return got


@adversarial_train.law(
    "without a step only what is outside the masks becomes 0, NaN too; a tensor without a mask is dense",
    hint="torch.where(mask, weight, 0) first: NaN · 0 is NaN. Masks go by whole names.",
    trials=1,
)
def train_start(function, draw):
    state, inputs, labels, masks = task(draw, 5, 6, 4, 3)
    for value in (torch.nan, 7.0):
        filled = state | {name: torch.where(mask, state[name], value) for name, mask in masks.items()}
        wanted = {n: torch.where(masks[n], v, 0.0) if n in masks else v for n, v in state.items()}
        got = expect_state(function(filled, inputs, labels, masks, 0.1, 0.05, 2, 0.3, 0), state, masks)
        expect.equal(got, wanted, "the state after no step")
        got = expect_state(function(filled, inputs, labels, masks, 0.1, 0.05, 2, 0.3, 2), state, masks)
        wanted = by_hand(wanted, inputs, labels, masks, 0.1, 0.05, 2, 0.3, 2)
        expect.close(got, wanted, "the state after two steps", 1e-7, 1e-10)


@adversarial_train.law(
    "without an attack (no attack steps, or ε = 0) it is plain full-batch descent",
    hint="w ← w − lr · gradient of the mean cross-entropy; no momentum.",
    trials=1,
)
def train_plain(function, draw):
    state, inputs, labels, masks = task(draw, 6, 7, 3)
    wanted = by_hand(state, inputs, labels, masks, 0.0, 0.0, 0, 0.5, 6)
    for epsilon, step, attacks in ((0.2, 0.1, 0), (0.0, 0.1, 2), (0.3, 0.0, 3)):
        got = expect_state(function(state, inputs, labels, masks, epsilon, step, attacks, 0.5, 6), state, masks)
        expect.close(got, wanted, f"the state with ε = {epsilon:g} and {attacks} attack steps of {step:g}", 1e-7, 1e-10)


@adversarial_train.law(
    "one step by hand: attack the network as it is, from the clean inputs, then descend on what was found",
    hint="The attack climbs the masked network's loss. Its gradient is by the inputs; then the images are constants.",
    trials=1,
)
def train_once(function, draw):
    state, inputs, labels, masks = task(draw, draw.integer(4, 12), 8, 3)
    steep = {name: 12 * value for name, value in state.items()}  # a network whose gradients are large
    for now, masked in ((state, masks), (state, {}), (steep, masks)):
        for epsilon, step, attacks in ((0.2, 0.2, 1), (0.15, 0.06, 4), (0.5, 0.3, 2)):
            got = function(now, inputs, labels, masked, epsilon, step, attacks, 0.7, 1)
            wanted = by_hand(now, inputs, labels, masked, epsilon, step, attacks, 0.7, 1)
            expect.close(
                expect_state(got, state, masked),
                wanted,
                f"with ε = {epsilon:g} and {attacks} attack steps",
                1e-7,
                1e-10,
            )


@adversarial_train.law(
    "many steps by hand: each attacks afresh, from the clean inputs",
    hint="Start every attack at `inputs`, not where the last one ended; recompute it in every step.",
    trials=1,
)
def train_many(function, draw):
    state, inputs, labels, masks = task(draw, 7, draw.integer(4, 9), 6, 3)
    for epsilon, step, attacks, lr, steps in ((0.2, 0.08, 2, 0.3, 9), (0.1, 0.1, 1, 0.5, 15), (0.1, 0.1, 1, 9.0, 3)):
        got = function(state, inputs, labels, masks, epsilon, step, attacks, lr, steps)
        wanted = by_hand(state, inputs, labels, masks, epsilon, step, attacks, lr, steps)
        expect.close(expect_state(got, state, masks), wanted, f"the state after {steps} steps", 1e-6, 1e-9)


@adversarial_train.law(
    "float32 stays; images with axes, one layer, other names, masks of a bias and of the last layer, in any order",
    hint="Go through the state's own names, and look each one up in the masks.",
    trials=1,
)
def train_names(function, draw):
    state, inputs, labels, masks = task(draw, 6, 5, 3, dtype=torch.float32)
    masks = {"fc1.weight": draw.mask(3, 5), "fc0.bias": torch.arange(5) % 2 == 0, **masks}
    images = inputs.view(20, 1, 2, 3)
    got = expect_state(function(state, images, labels, masks, 0.1, 0.05, 2, 0.3, 3), state, masks)
    wanted = by_hand(state, images, labels, masks, 0.1, 0.05, 2, 0.3, 3)
    expect.close(got, wanted, "the state, float32,", 1e-3, 1e-4)
    expect.true(list(got) == list(state), "the state's names are in another order", list(state), list(got))
    one = {"z.weight": draw.normal(3, 6, dtype=DOUBLE), "z.bias": draw.normal(3, dtype=DOUBLE)}
    only = {"z.weight": draw.mask(3, 6)}
    inputs = inputs.double()
    got = expect_state(function(one, inputs, labels, only, 0.1, 0.1, 1, 0.5, 4), one, only)
    expect.close(got, by_hand(one, inputs, labels, only, 0.1, 0.1, 1, 0.5, 4), "for one layer", 1e-6, 1e-9)
    names = {"fc0.weight": "z.weight", "fc0.bias": "z.bias", "fc1.weight": "a.weight", "fc1.bias": "a.bias"}
    renamed = {names[name]: value for name, value in state.items()}
    masked = {names[name]: value for name, value in masks.items()}
    got = function(renamed, images, labels, masked, 0.1, 0.05, 2, 0.3, 3)
    expect.close(got, {names[n]: v for n, v in wanted.items()}, "the state with z first and a last", 1e-3, 1e-4)


@adversarial_train.law(
    "on scikit-learn's digits, after a plain start, more unseen ones withstand an attack than after plain steps",
    hint="If the laws above hold, this one does: 40 steps with ε = 0.15 against 40 plain ones.",
    trials=1,
    share=0.2,
)
def train_band(function, draw):
    images, labels = small_digits()
    order = draw.permutation(len(labels))
    seen, unseen = order[:100], order[100:500]
    state = {"a.weight": draw.normal(24, 64, scale=0.2, dtype=DOUBLE), "a.bias": torch.zeros(24, dtype=DOUBLE)}
    state |= {"b.weight": draw.normal(10, 24, scale=0.2, dtype=DOUBLE), "b.bias": torch.zeros(10, dtype=DOUBLE)}
    start = by_hand(state, images[seen], labels[seen], {}, 0.0, 0.0, 0, 0.3, 40)
    got = expect_state(function(start, images[seen], labels[seen], {}, 0.15, 0.075, 2, 0.3, 40), start, {})
    plain = by_hand(start, images[seen], labels[seen], {}, 0.0, 0.0, 0, 0.3, 40)
    right = [withstood(each, images[unseen], labels[unseen], 0.15) for each in (got, plain)]
    expect.true(
        right[0] >= right[1] + 0.06,
        "no more unseen digits withstand the attack than after as many plain steps",
        f"at least {right[1] + 0.06:.3g}",
        right[0],
    )


def withstood(state: dict, images: Tensor, labels: Tensor, epsilon: float) -> float:
    """The part of the images that is right after five steps of the attack."""
    moved = images
    for _ in range(5):
        leaf = moved.clone().requires_grad_()
        F.cross_entropy(mlp_forward(state, leaf), labels, reduction="sum").backward()
        moved = moved + epsilon / 2.5 * leaf.grad.sign()
        moved = torch.minimum(torch.maximum(moved, images - epsilon), images + epsilon).clamp(0, 1)
    return float((mlp_forward(state, moved).argmax(1) == labels).double().mean())


@lru_cache
def small_digits() -> tuple[Tensor, Tensor]:
    """The first 600 of scikit-learn's digits, [600, 64] from 0 to 1, and labels: its file, its slow import left out."""
    package = Path(find_spec("sklearn").origin).parent
    rows = torch.from_numpy(
        np.loadtxt(package / "datasets" / "data" / "digits.csv.gz", delimiter=",", dtype=np.float32, max_rows=600)
    )
    return rows[:, :64].double() / 16, rows[:, 64].long()
