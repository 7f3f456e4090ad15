"""Mutants and right variants of unit 12."""

import itertools
import math
import random
from statistics import NormalDist

import numpy as np
import torch
import torch.nn.functional as F

from course_utils import robustness
from course_utils.models import mlp_forward
from tests.checks.catalogue import mutant, right

EQUIVALENT = {
    "project_l2: length > epsilon -> length >= epsilon": "of length ε: shortened to ε",
    "margin_bounds: rows > 0 -> rows >= 0": "0 times either end of a box is 0",
    "lower_confidence_bound: 1 -> 2": "one term more, which is 0: 1/(−1)! is",
    "lower_confidence_bound: float(terms.exp().sum()) -> terms.exp().sum()": "a tensor is compared as its number is",
    "lower_confidence_bound: float(trials) -> trials": "made a float64 in the same line",
    "lower_confidence_bound: tail(middle) < alpha -> tail(middle) <= alpha": "the last bit, if at all",
    "certify: estimation_counts.tolist() -> estimation_counts": "counted as whole numbers all the same",
    "certify: p <= 0.5 -> p < 0.5": "a bound that is ½ to the last bit: no right solution can be held to that",
    "sign_flip_test: 1 -> 2": "every sum twice: the same share",
    "sign_flip_test: float(d) -> d": "made a float64 in the same line",
    "few_shot: len(of_class) -> of_class": "in the message only",
    "adversarial_train: True -> False": "strict=False, with as many gradients as leaves",
    "adversarial_train: zip(leaves.items(), gradients, strict=True) -> zip(leaves.items(), gradients)": "as above",
    "adversarial_train: list(leaves.values()) -> leaves.values()": "autograd takes both",
    "adversarial_train: value.detach() -> value": "the state is in no graph, and its tensors are new",
}

# --- 12.1a project_linf, 12.2 pgd_step --------------------------------------------------------------------------------


def both(error, project):
    """The same projection, wrong or right, alone and in the step."""
    decorate = (lambda exercise: mutant(exercise, error)) if error else right

    @decorate("12.1a")
    def alone(perturbed, clean, epsilon):
        return project(perturbed, clean, epsilon)

    @decorate("12.2")
    def step(perturbed, clean, gradient, step_size, epsilon):
        return project(perturbed + step_size * gradient.sign(), clean, epsilon)


both("no [0, 1]", lambda p, c, e: torch.minimum(torch.maximum(p, c - e), c + e))
both("no ball, only [0, 1]", lambda p, c, e: p.clamp(0, 1))
both("the ball in place of the difference", lambda p, c, e: p.clamp(-e, e).clamp(0, 1))
both("[0, 1] only from above", lambda p, c, e: (c + (p - c).clamp(-e, e)).clamp(max=1))
both("half the ball", lambda p, c, e: (c + (p - c).clamp(-e / 2, e / 2)).clamp(0, 1))
both("the ball after [0, 1]", lambda p, c, e: c + (p.clamp(0, 1) - c).clamp(-e, e) * (1 + 1e-3))
both(
    "the whole difference scaled down",
    lambda p, c, e: (c + (p - c) * min(1.0, e / max(float((p - c).abs().amax()) if p.numel() else 1.0, 1e-12))).clamp(
        0, 1
    ),
)
both("in float32", lambda p, c, e: (c.float() + (p.float() - c.float()).clamp(-e, e)).clamp(0, 1).to(c.dtype))
both("", lambda p, c, e: torch.clamp(p, (c - e).clamp(min=0), (c + e).clamp(max=1)))
both("", lambda p, c, e: torch.where(p > c + e, c + e, torch.where(p < c - e, c - e, p)).clamp(0, 1))
both("", lambda p, c, e: torch.max(torch.min(p, (c + e).clamp(max=1)), (c - e).clamp(min=0)))


@mutant("12.1a", "recomputed as clean + difference: what is inside moves by rounding")
def linf_rounded(perturbed, clean, epsilon):
    return (clean + (perturbed - clean).clamp(-epsilon, epsilon)).clamp(0, 1)


@mutant("12.1a", "in place")
def linf_in_place(perturbed, clean, epsilon):
    return perturbed.clamp_(0, 1).copy_(torch.minimum(torch.maximum(perturbed, clean - epsilon), clean + epsilon))


@mutant("12.1a", "ε below 1e-6 counts as none")
def linf_small(perturbed, clean, epsilon):
    return robustness.project_linf(perturbed, clean, epsilon if epsilon > 1e-6 else 0.0)


@mutant("12.1a", "ε or a default")
def linf_default(perturbed, clean, epsilon):
    return robustness.project_linf(perturbed, clean, epsilon or 0.1)


@mutant("12.1a", "ball around the perturbed image")
def linf_around_itself(perturbed, clean, epsilon):
    return robustness.project_linf(clean, perturbed, epsilon)


@mutant("12.2", "the gradient itself, not its sign")
def step_gradient(perturbed, clean, gradient, step_size, epsilon):
    return robustness.project_linf(perturbed + step_size * gradient, clean, epsilon)


@mutant("12.2", "the gradient by its length")
def step_normalized(perturbed, clean, gradient, step_size, epsilon):
    return robustness.project_linf(perturbed + step_size * gradient / gradient.norm(), clean, epsilon)


@mutant("12.2", "descends")
def step_down(perturbed, clean, gradient, step_size, epsilon):
    return robustness.project_linf(perturbed - step_size * gradient.sign(), clean, epsilon)


@mutant("12.2", "the sign of 0 is 1")
def step_zero_up(perturbed, clean, gradient, step_size, epsilon):
    return robustness.project_linf(perturbed + step_size * torch.where(gradient >= 0, 1.0, -1.0), clean, epsilon)


@mutant("12.2", "small gradients count as 0")
def step_floor(perturbed, clean, gradient, step_size, epsilon):
    sign = gradient.sign() * (gradient.abs() > 1e-8)
    return robustness.project_linf(perturbed + step_size * sign, clean, epsilon)


@mutant("12.2", "the ball around the last image")
def step_last_image(perturbed, clean, gradient, step_size, epsilon):
    return robustness.project_linf(perturbed + step_size * gradient.sign(), perturbed, epsilon)


@mutant("12.2", "always from the clean image")
def step_from_clean(perturbed, clean, gradient, step_size, epsilon):
    return robustness.project_linf(clean + step_size * gradient.sign(), clean, epsilon)


@mutant("12.2", "a step of ε")
def step_of_epsilon(perturbed, clean, gradient, step_size, epsilon):
    return robustness.project_linf(perturbed + epsilon * gradient.sign(), clean, epsilon)


@mutant("12.2", "step_size or ε")
def step_default(perturbed, clean, gradient, step_size, epsilon):
    return robustness.project_linf(perturbed + (step_size or epsilon) * gradient.sign(), clean, epsilon)


@mutant("12.2", "projected before the step, too")
def step_projected_twice(perturbed, clean, gradient, step_size, epsilon):
    return robustness.pgd_step(robustness.project_linf(perturbed, clean, epsilon), clean, gradient, step_size, epsilon)


@mutant("12.2", "a step of at most ε")
def step_at_most_epsilon(perturbed, clean, gradient, step_size, epsilon):
    return robustness.pgd_step(perturbed, clean, gradient, min(step_size, epsilon), epsilon)


@mutant("12.2", "projected before the step")
def step_after(perturbed, clean, gradient, step_size, epsilon):
    return robustness.project_linf(perturbed, clean, epsilon) + step_size * gradient.sign()


# --- 12.1b project_l2 -------------------------------------------------------------------------------------------------


def shortened(difference, length, epsilon):
    return difference * torch.where(length > epsilon, epsilon / length.clamp(min=1e-30), 1.0)


def lengths(difference):
    return difference.flatten(1).norm(dim=1).view(-1, *[1] * (difference.dim() - 1))


@mutant("12.1b", "one length for the whole batch")
def l2_batch(perturbed, clean, epsilon):
    difference = perturbed - clean
    return torch.where(difference.norm() > epsilon, clean + difference * epsilon / difference.norm(), perturbed).clamp(
        0, 1
    )


@mutant("12.1b", "the batch's largest length")
def l2_largest(perturbed, clean, epsilon):
    difference = perturbed - clean
    return (clean + shortened(difference, lengths(difference).amax(), epsilon)).clamp(0, 1)


@mutant("12.1b", "always brought to length ε")
def l2_always(perturbed, clean, epsilon):
    difference = perturbed - clean
    return (clean + difference * epsilon / lengths(difference).clamp(min=1e-12)).clamp(0, 1)


@mutant("12.1b", "no [0, 1]")
def l2_free(perturbed, clean, epsilon):
    difference = perturbed - clean
    length = lengths(difference)
    return torch.where(length > epsilon, clean + shortened(difference, length, epsilon), perturbed)


@mutant("12.1b", "[0, 1] before the ball")
def l2_order(perturbed, clean, epsilon):
    return l2_free(perturbed.clamp(0, 1), clean, epsilon)


@mutant("12.1b", "0 divided by 0")
def l2_nan(perturbed, clean, epsilon):
    difference = perturbed - clean
    return (clean + difference * (epsilon / lengths(difference)).clamp(max=1)).clamp(0, 1)


@mutant("12.1b", "the squared length")
def l2_squared(perturbed, clean, epsilon):
    difference = perturbed - clean
    square = lengths(difference) ** 2
    return torch.where(square > epsilon, clean + shortened(difference, square, epsilon), perturbed).clamp(0, 1)


@mutant("12.1b", "the length of each row of pixels")
def l2_rows(perturbed, clean, epsilon):
    difference = perturbed - clean
    length = difference.norm(dim=-1, keepdim=True)
    return torch.where(length > epsilon, clean + shortened(difference, length, epsilon), perturbed).clamp(0, 1)


@mutant("12.1b", "the max norm")
def l2_max(perturbed, clean, epsilon):
    return robustness.project_linf(perturbed, clean, epsilon)


@mutant("12.1b", "four axes only")
def l2_four(perturbed, clean, epsilon):
    difference = perturbed - clean
    length = difference.pow(2).sum((1, 2, 3), keepdim=True).sqrt()
    return torch.where(length > epsilon, clean + shortened(difference, length, epsilon), perturbed).clamp(0, 1)


@mutant("12.1b", "squares summed in half precision")
def l2_half(perturbed, clean, epsilon):
    difference = perturbed - clean
    length = (
        torch.stack(
            [(d.flatten() * d.flatten()).cumsum(0)[-1].to(d.dtype) if d.numel() else d.sum() for d in difference]
        )
        if len(difference)
        else difference.new_zeros(0)
    )
    length = (length.half() if length.dtype == torch.float16 else length).sqrt().view(-1, *[1] * (difference.dim() - 1))
    return torch.where(length > epsilon, clean + shortened(difference, length, epsilon), perturbed).clamp(0, 1)


@mutant("12.1b", "an ε added to the length")
def l2_floor(perturbed, clean, epsilon):
    difference = perturbed - clean
    length = lengths(difference)
    return torch.where(length > epsilon, clean + difference * epsilon / (length + 1e-8), perturbed).clamp(0, 1)


@right("12.1b")
def l2_one_by_one(perturbed, clean, epsilon):
    out = perturbed.clone()
    for i in range(len(out)):
        difference = (perturbed[i] - clean[i]).float() if out.dtype not in (torch.float64,) else perturbed[i] - clean[i]
        length = float(difference.norm())
        if length > epsilon:
            out[i] = (clean[i].to(difference.dtype) + difference * (epsilon / length)).to(out.dtype)
    return out.clamp(0, 1)


@right("12.1b")
def l2_double(perturbed, clean, epsilon):
    difference = perturbed.double() - clean.double()
    length = torch.linalg.vector_norm(difference.reshape(len(difference), math.prod(difference.shape[1:])), dim=1)
    length = length.reshape(-1, *[1] * (difference.dim() - 1))
    near = (clean.double() + difference * (epsilon / length.clamp(min=1e-300))).to(clean.dtype)
    return torch.where(length <= epsilon, perturbed, near).clamp(0, 1)


@right("12.1b")
def l2_indices(perturbed, clean, epsilon):
    out, difference = perturbed.clone(), perturbed - clean
    length = torch.tensor([float(d.double().norm()) for d in difference], dtype=torch.float64)
    for i in (length > epsilon).nonzero().flatten().tolist():
        out[i] = clean[i] + difference[i] * (epsilon / float(length[i]))
    return out.clamp(0, 1)


# --- 12.3a interval_linear, 12.3b margin_bounds -----------------------------------------------------------------------


def interval(error, bounds):
    decorate = mutant("12.3a", error) if error else right("12.3a")

    @decorate
    def function(lower, upper, weight, bias):
        return bounds(lower, upper, weight, bias)


interval("the ends of the box, mapped", lambda lo, u, w, b: (F.linear(lo, w, b), F.linear(u, w, b)))
interval(
    "mapped and ordered",
    lambda lo, u, w, b: (
        torch.minimum(F.linear(lo, w, b), F.linear(u, w, b)),
        torch.maximum(F.linear(lo, w, b), F.linear(u, w, b)),
    ),
)
interval("ends swapped", lambda lo, u, w, b: robustness.interval_linear(lo, u, w, b)[::-1])
interval("no bias", lambda lo, u, w, b: robustness.interval_linear(lo, u, w, 0 * b))
interval("the bias twice", lambda lo, u, w, b: robustness.interval_linear(lo, u, w, 2 * b))
interval(
    "|w| around the middle, all of the side",
    lambda lo, u, w, b: (
        F.linear((lo + u) / 2, w, b) - (u - lo) @ w.abs().T,
        F.linear((lo + u) / 2, w, b) + (u - lo) @ w.abs().T,
    ),
)
interval(
    "negative weights left out", lambda lo, u, w, b: (F.linear(lo, w.clamp(min=0), b), F.linear(u, w.clamp(min=0), b))
)
interval("not differentiable", lambda lo, u, w, b: tuple(x.detach() for x in robustness.interval_linear(lo, u, w, b)))
interval(
    "in float32",
    lambda lo, u, w, b: tuple(
        x.to(lo.dtype) for x in robustness.interval_linear(lo.float(), u.float(), w.float(), b.float())
    ),
)
interval("in float64", lambda lo, u, w, b: robustness.interval_linear(lo.double(), u.double(), w.double(), b.double()))
interval(
    "the same side for a whole batch",
    lambda lo, u, w, b: (
        F.linear((lo + u) / 2, w, b) - ((u - lo) / 2).mean(0) @ w.abs().T,
        F.linear((lo + u) / 2, w, b) + ((u - lo) / 2).mean(0) @ w.abs().T,
    ),
)
interval(
    "",
    lambda lo, u, w, b: (
        F.linear((lo + u) / 2, w, b) - (u - lo) / 2 @ w.abs().T,
        F.linear((lo + u) / 2, w, b) + (u - lo) / 2 @ w.abs().T,
    ),
)
interval(
    "",
    lambda lo, u, w, b: (
        (torch.where(w > 0, lo.unsqueeze(1), u.unsqueeze(1)) * w).sum(2) + b,
        (torch.where(w > 0, u.unsqueeze(1), lo.unsqueeze(1)) * w).sum(2) + b,
    ),
)
interval(
    "",
    lambda lo, u, w, b: (
        torch.minimum(lo.unsqueeze(1) * w, u.unsqueeze(1) * w).sum(2) + b,
        torch.maximum(lo.unsqueeze(1) * w, u.unsqueeze(1) * w).sum(2) + b,
    ),
)


def margin(error, bounds):
    decorate = mutant("12.3b", error) if error else right("12.3b")

    @decorate
    def function(lower, upper, weight, bias, labels):
        return bounds(lower, upper, weight, bias, labels)


def rows_of(w, b, y):
    return w[y].unsqueeze(1) - w, b[y].unsqueeze(1) - b


def loose(lo, u, w, b, y):
    low, high = robustness.interval_linear(lo, u, w, b)
    bound = low.gather(1, y.unsqueeze(1)) - high
    return bound.scatter(1, y.unsqueeze(1), 0.0)


def greatest(lo, u, w, b, y):
    d, c = rows_of(w, b, y)
    return (d.clamp(min=0) * u.unsqueeze(1) + d.clamp(max=0) * lo.unsqueeze(1)).sum(2) + c


def least(lo, u, w, b, y):
    d, c = rows_of(w, b, y)
    middle, radius = ((lo + u) / 2).unsqueeze(1), ((u - lo) / 2).unsqueeze(1)
    return (d * middle).sum(2) - (d.abs() * radius).sum(2) + c


margin("the difference of two intervals", loose)
margin("the greatest margin", greatest)
margin("z_k − z_label", lambda lo, u, w, b, y: -greatest(lo, u, w, b, y))
margin("no bias", lambda lo, u, w, b, y: robustness.margin_bounds(lo, u, w, 0 * b, y))
margin(
    "the bias not subtracted", lambda lo, u, w, b, y: robustness.margin_bounds(lo, u, w, 0 * b, y) + b[y].unsqueeze(1)
)
margin("the middle of the box", lambda lo, u, w, b, y: robustness.margin_bounds((lo + u) / 2, (lo + u) / 2, w, b, y))
margin("the first label for all", lambda lo, u, w, b, y: robustness.margin_bounds(lo, u, w, b, y[:1].expand_as(y)))
margin("infinite at the label", lambda lo, u, w, b, y: least(lo, u, w, b, y).scatter(1, y.unsqueeze(1), torch.inf))
margin("the label left out", lambda lo, u, w, b, y: least(lo, u, w, b, y)[:, 1:])
margin("not differentiable", lambda lo, u, w, b, y: robustness.margin_bounds(lo, u, w, b, y).detach())
margin(
    "the runner-up only", lambda lo, u, w, b, y: least(lo, u, w, b, y).amin(1, keepdim=True).expand(-1, len(w)).clone()
)
margin("in float32", lambda lo, u, w, b, y: least(lo.float(), u.float(), w.float(), b.float(), y).to(lo.dtype))
margin("", least)
margin(
    "",
    lambda lo, u, w, b, y: torch.stack(
        [robustness.interval_linear(lo[i : i + 1], u[i : i + 1], w[y[i]] - w, b[y[i]] - b)[0][0] for i in range(len(y))]
    ),
)
margin(
    "",
    lambda lo, u, w, b, y: (
        torch.minimum(rows_of(w, b, y)[0] * lo.unsqueeze(1), rows_of(w, b, y)[0] * u.unsqueeze(1)).sum(2)
        + rows_of(w, b, y)[1]
    ),
)

# --- 12.4a lower_confidence_bound -------------------------------------------------------------------------------------


def bound(error, function):
    decorate = mutant("12.4a", error) if error else right("12.4a")

    @decorate
    def of(successes, trials, alpha):
        return function(successes, trials, alpha)


exact = robustness.lower_confidence_bound


def beta(successes, trials, alpha):
    from scipy.special import betaincinv

    return float(betaincinv(successes, trials - successes + 1, alpha)) if successes else 0.0


def wilson(k, n, a):
    z = NormalDist().inv_cdf(1 - a)
    p = k / n
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, (middle - half) / (1 + z * z / n)) if k else 0.0


def halving(k, n, a, steps):
    """By halving, with sums of Python floats."""
    if k == 0:
        return 0.0
    ways = [math.lgamma(n + 1) - math.lgamma(j + 1) - math.lgamma(n - j + 1) for j in range(k, n + 1)]
    low, high = 0.0, 1.0
    for _ in range(steps):
        p = (low + high) / 2
        total = math.fsum(math.exp(w + j * math.log(p) + (n - j) * math.log1p(-p)) for j, w in enumerate(ways, k))
        low, high = (p, high) if total < a else (low, p)
    return low


bound("both sides: α/2", lambda k, n, a: exact(k, n, a / 2))
bound("the upper bound", lambda k, n, a: 1 - exact(n - k, n, a))
bound("1 − α", lambda k, n, a: exact(k, n, 1 - a))
bound("Hoeffding", lambda k, n, a: max(0.0, k / n - math.sqrt(math.log(1 / a) / (2 * n))))
bound(
    "a normal approximation",
    lambda k, n, a: max(0.0, k / n + NormalDist().inv_cdf(a) * math.sqrt(k / n * (1 - k / n) / n)),
)
bound("Wilson", wilson)
bound("P[> k]: one success too many", lambda k, n, a: exact(min(k + 1, n), n, a) if k else 0.0)
bound("Beta(k, n − k)", lambda k, n, a: exact(k, n - 1, a) if 0 < k < n else exact(k, n, a))
bound("Jeffreys", lambda k, n, a: exact(k, n, a) if k in (0, n) else (exact(k, n, a) + exact(k + 1, n, a)) / 2)
bound("the part itself", lambda k, n, a: k / n)
bound("halved ten times only", lambda k, n, a: exact(k, n, a) if k in (0, n) else round(exact(k, n, a) * 1024) / 1024)
bound("all successes: 1", lambda k, n, a: 1.0 if k == n else exact(k, n, a))
bound("never below 1e-9", lambda k, n, a: max(exact(k, n, a), 1e-9) if k else 0.0)
bound("none: the upper bound", lambda k, n, a: exact(k, n, a) if k else 1 - a ** (1 / n))
bound("a tensor", lambda k, n, a: torch.tensor(exact(k, n, a)))
bound("", beta)
bound("", lambda k, n, a: a ** (1 / n) if k == n else beta(k, n, a))
bound("", lambda k, n, a: halving(k, n, a, 70) if n <= 5000 else beta(k, n, a))

# --- 12.4b certify ----------------------------------------------------------------------------------------------------


def certificate(error, function):
    decorate = mutant("12.4b", error) if error else right("12.4b")

    @decorate
    def of(selection_counts, estimation_counts, sigma, alpha):
        return function(selection_counts, estimation_counts, sigma, alpha)


def radius(p, sigma):
    return sigma * NormalDist().inv_cdf(p)


def last_of_equals(s, e, sigma, a):
    top = len(s) - 1 - int(s.flip(0).argmax())
    p = exact(int(e[top]), int(e.sum()), a)
    return (top, radius(p, sigma)) if p > 0.5 else (-1, 0.0)


def two_sided(s, e, sigma, a):
    p = exact(int(e[s.argmax()]), int(e.sum()), a)
    upper = 1 - p
    return (
        (int(s.argmax()), sigma / 2 * (NormalDist().inv_cdf(p) - NormalDist().inv_cdf(upper / 2)))
        if p > 0.5
        else (-1, 0.0)
    )


certificate("the class of the second sample", lambda s, e, g, a: robustness.certify(e, e, g, a))
certificate("p of the first sample", lambda s, e, g, a: robustness.certify(s, s, g, a))
certificate("both samples together", lambda s, e, g, a: robustness.certify(s, s + e, g, a))
certificate("the samples changed places", lambda s, e, g, a: robustness.certify(e, s, g, a))
certificate(
    "the part itself, no bound",
    lambda s, e, g, a: (
        (int(s.argmax()), radius(min(float(e[s.argmax()] / e.sum()), 1 - 1e-9), g))
        if e[s.argmax()] > e.sum() / 2
        else (-1, 0.0)
    ),
)
certificate("no σ", lambda s, e, g, a: robustness.certify(s, e, 1.0, a))
certificate("σ squared", lambda s, e, g, a: robustness.certify(s, e, g * g, a))
certificate(
    "never abstains",
    lambda s, e, g, a: (int(s.argmax()), radius(max(exact(int(e[s.argmax()]), int(e.sum()), a), 1e-9), g)),
)
certificate("abstains with the class", lambda s, e, g, a: (int(s.argmax()), robustness.certify(s, e, g, a)[1]))
certificate("the last of equals", last_of_equals)
certificate("the runner-up's bound halved", two_sided)
certificate("α/2", lambda s, e, g, a: robustness.certify(s, e, g, a / 2))
certificate(
    "None for the class",
    lambda s, e, g, a: (None, 0.0) if robustness.certify(s, e, g, a)[0] < 0 else robustness.certify(s, e, g, a),
)
certificate(
    "the radius is at most 3σ",
    lambda s, e, g, a: (robustness.certify(s, e, g, a)[0], min(3 * g, robustness.certify(s, e, g, a)[1])),
)
certificate("counts in uint8", lambda s, e, g, a: robustness.certify(s.to(torch.uint8), e, g, a))
certificate(
    "the class in int8",
    lambda s, e, g, a: (
        int(torch.tensor(robustness.certify(s, e, g, a)[0]).to(torch.int8)),
        robustness.certify(s, e, g, a)[1],
    ),
)


@right("12.4b")
def certify_lists(selection_counts, estimation_counts, sigma, alpha):
    first, second = selection_counts.tolist(), estimation_counts.tolist()
    top = first.index(max(first))
    p = beta(second[top], sum(second), alpha)
    return (top, NormalDist(sigma=sigma).inv_cdf(p)) if p > 0.5 else (-1, 0.0)


@right("12.4b")
def certify_erfinv(selection_counts, estimation_counts, sigma, alpha):
    top = int(np.argmax(selection_counts.numpy()))
    p = exact(int(estimation_counts[top]), int(estimation_counts.sum()), alpha)
    if p <= 0.5:
        return -1, 0.0
    return top, sigma * float(torch.special.ndtri(torch.tensor(p, dtype=torch.float64)))


@right("12.4b")
def certify_max(selection_counts, estimation_counts, sigma, alpha):
    top = max(range(len(selection_counts)), key=lambda c: (int(selection_counts[c]), -c))
    p = exact(int(estimation_counts[top]), int(estimation_counts.sum()), alpha)
    return (top, radius(p, sigma)) if p > 0.5 else (-1, 0.0)


# --- 12.5a stamp_trigger ----------------------------------------------------------------------------------------------


def stamp(error, function):
    decorate = mutant("12.5a", error) if error else right("12.5a")

    @decorate
    def of(images, pattern, mask):
        return function(images, pattern, mask)


def assigned(x, p, m):
    out = x.clone()
    out[..., m > 0] = p[m > 0].to(x.dtype)
    return out


stamp("the mask the wrong way round", lambda x, p, m: m * x + (1 - m) * p)
stamp("added", lambda x, p, m: x + m * p)
stamp("added and cut at 1", lambda x, p, m: (x + m * p).clamp(0, 1))
stamp("pasted wherever the mask is not 0", assigned)
stamp("a threshold at ½", lambda x, p, m: torch.where(m > 0.5, p, x))
stamp("the pattern where it is not black", lambda x, p, m: torch.where((m > 0) & (p > 0), p, x))
stamp("the mask squared", lambda x, p, m: (1 - m * m) * x + m * m * p)
stamp("the pattern weighs twice", lambda x, p, m: (1 - m) * x + m * m * p)
stamp("always float32", lambda x, p, m: robustness.stamp_trigger(x.float(), p.float(), m.float()))
stamp("the mask a constant", lambda x, p, m: robustness.stamp_trigger(x, p, m.detach()))
stamp(
    "at most one channel", lambda x, p, m: robustness.stamp_trigger(x, p.view(1, 1, *p.shape), m.view(1, 1, *m.shape))
)
stamp("", lambda x, p, m: x * (1 - m) + p * m)
stamp("", lambda x, p, m: torch.lerp(x, p.expand_as(x), m.expand_as(x)))
stamp("", lambda x, p, m: torch.where(m == 1, p + 0 * x, x - m * x + m * p))

# --- 12.5b poison -----------------------------------------------------------------------------------------------------


def poisoned(images, labels, pattern, mask, target, chosen):
    images, labels = images.clone(), labels.clone()
    images[chosen] = robustness.stamp_trigger(images[chosen], pattern, mask)
    labels[chosen] = target
    return images, labels, chosen


def choose(error, pick):
    """`pick` gives the chosen positions of (labels, target, fraction, generator)."""
    decorate = mutant("12.5b", error) if error else right("12.5b")

    @decorate
    def of(images, labels, pattern, mask, target, fraction, seed):
        generator = torch.Generator().manual_seed(seed)
        chosen = pick(labels, target, fraction, generator)
        return poisoned(images, labels, pattern, mask, target, chosen)


def others(labels, target):
    return (labels != target).nonzero().flatten()


def shuffled(values, generator):
    return values[torch.randperm(len(values), generator=generator)]


choose("the first ones", lambda y, t, f, g: others(y, t)[: round(f * len(y))])
choose("of all classes", lambda y, t, f, g: shuffled(torch.arange(len(y)), g)[: round(f * len(y))].sort().values)
choose(
    "a part of the candidates",
    lambda y, t, f, g: shuffled(others(y, t), g)[: round(f * len(others(y, t)))].sort().values,
)
choose("rounded down", lambda y, t, f, g: shuffled(others(y, t), g)[: int(f * len(y))].sort().values)
choose("rounded up", lambda y, t, f, g: shuffled(others(y, t), g)[: math.ceil(f * len(y))].sort().values)
choose("not ascending", lambda y, t, f, g: shuffled(others(y, t), g)[: round(f * len(y))])
choose(
    "with repetition",
    lambda y, t, f, g: (
        others(y, t)[
            torch.randint(max(1, len(others(y, t))), (min(round(f * len(y)), len(others(y, t))),), generator=g)
        ]
        .sort()
        .values
    ),
)
choose(
    "one that is the target's dropped afterwards",
    lambda y, t, f, g: (lambda c: c[y[c] != t].sort().values)(shuffled(torch.arange(len(y)), g)[: round(f * len(y))]),
)
choose("at least one", lambda y, t, f, g: shuffled(others(y, t), g)[: max(1, round(f * len(y)))].sort().values)
choose(
    "positions among the candidates",
    lambda y, t, f, g: torch.randperm(len(others(y, t)), generator=g)[: round(f * len(y))].sort().values,
)
choose(
    "neighbours: a random start",
    lambda y, t, f, g: (
        lambda c: torch.roll(c, int(torch.randint(max(1, len(c)), (), generator=g)))[: round(f * len(y))].sort().values
    )(others(y, t)),
)
choose(
    "the last never",
    lambda y, t, f, g: (
        lambda c, k: shuffled(c, g)[:k].sort().values if k >= len(c) else shuffled(c[:-1], g)[:k].sort().values
    )(others(y, t), round(f * len(y))),
)
choose("", lambda y, t, f, g: shuffled(others(y, t), g)[: round(f * len(y))].sort().values)
choose(
    "",
    lambda y, t, f, g: (lambda c: c[torch.rand(len(c), generator=g).argsort()[: round(f * len(y))]].sort().values)(
        others(y, t)
    ),
)
choose(
    "",
    lambda y, t, f, g: torch.tensor(
        sorted(i for i in torch.randperm(len(y), generator=g).tolist() if y[i] != t)[:0]
        or sorted([i for i in torch.randperm(len(y), generator=g).tolist() if y[i] != t][: round(f * len(y))]),
        dtype=torch.int64,
    ),
)


@mutant("12.5b", "Python's global generator")
def poison_python(images, labels, pattern, mask, target, fraction, seed):
    random.seed(seed)
    candidates = others(labels, target).tolist()
    chosen = sorted(random.sample(candidates, min(round(fraction * len(labels)), len(candidates))))
    return poisoned(images, labels, pattern, mask, target, torch.tensor(chosen, dtype=torch.int64))


@mutant("12.5b", "the global generator")
def poison_global(images, labels, pattern, mask, target, fraction, seed):
    torch.manual_seed(seed)
    candidates = others(labels, target)
    chosen = candidates[torch.randperm(len(candidates))[: round(fraction * len(labels))]].sort().values
    return poisoned(images, labels, pattern, mask, target, chosen)


@mutant("12.5b", "labels stay")
def poison_labels_stay(images, labels, pattern, mask, target, fraction, seed):
    images, _, chosen = robustness.poison(images, labels, pattern, mask, target, fraction, seed)
    return images, labels.clone(), chosen


@mutant("12.5b", "images stay")
def poison_images_stay(images, labels, pattern, mask, target, fraction, seed):
    _, labels, chosen = robustness.poison(images, labels, pattern, mask, target, fraction, seed)
    return images.clone(), labels, chosen


@mutant("12.5b", "all images stamped")
def poison_all_stamped(images, labels, pattern, mask, target, fraction, seed):
    _, labels, chosen = robustness.poison(images, labels, pattern, mask, target, fraction, seed)
    return robustness.stamp_trigger(images, pattern, mask), labels, chosen


@mutant("12.5b", "in place")
def poison_in_place(images, labels, pattern, mask, target, fraction, seed):
    got = robustness.poison(images, labels, pattern, mask, target, fraction, seed)
    images.copy_(got[0])
    return got


@mutant("12.5b", "nothing to do: the arguments themselves")
def poison_shared(images, labels, pattern, mask, target, fraction, seed):
    if round(fraction * len(labels)) == 0:
        return images, labels, torch.zeros(0, dtype=torch.int64)
    return robustness.poison(images, labels, pattern, mask, target, fraction, seed)


@mutant("12.5b", "a mask of booleans")
def poison_chosen_mask(images, labels, pattern, mask, target, fraction, seed):
    images, labels, chosen = robustness.poison(images, labels, pattern, mask, target, fraction, seed)
    return images, labels, torch.isin(torch.arange(len(labels)), chosen)


# --- 12.5c attack_success_rate ----------------------------------------------------------------------------------------


def rate(error, function):
    decorate = mutant("12.5c", error) if error else right("12.5c")

    @decorate
    def of(predictions, labels, target):
        return function(predictions, labels, target)


rate("the target's images too", lambda p, y, t: float((p == t).double().mean()))
rate("divided by all", lambda p, y, t: float(((p == t) & (y != t)).double().mean()))
rate("mistakes of any kind", lambda p, y, t: float((p != y)[y != t].double().mean()))
rate("those that stay right, turned", lambda p, y, t: 1 - float((p == y)[y != t].double().mean()))
rate("percent", lambda p, y, t: 100 * robustness.attack_success_rate(p, y, t))
rate("a count", lambda p, y, t: float(((p == t) & (y != t)).sum()))
rate("a tensor", lambda p, y, t: (p[y != t] == t).double().mean())
rate("float32", lambda p, y, t: float((p[y != t] == t).float().mean()))
rate(
    "counted in uint8",
    lambda p, y, t: int((p[y != t] == t).to(torch.uint8).sum(dtype=torch.uint8)) / int((y != t).sum()),
)
rate("the target is class 0", lambda p, y, t: robustness.attack_success_rate(p, y, 0) if (y != 0).any() else 0.0)
rate("of those taken for it", lambda p, y, t: float((y != t)[p == t].double().mean()) if (p == t).any() else 0.0)
rate("", lambda p, y, t: int(((p == t) & (y != t)).sum()) / int((y != t).sum()))
rate("", lambda p, y, t: float(np.mean(p.numpy()[y.numpy() != t] == t)))
rate(
    "",
    lambda p, y, t: (
        sum(a == t for a, b in zip(p.tolist(), y.tolist(), strict=True) if b != t) / sum(b != t for b in y.tolist())
    ),
)

# --- 12.6a anomaly_index ----------------------------------------------------------------------------------------------


def index(error, function):
    decorate = mutant("12.6a", error) if error else right("12.6a")

    @decorate
    def of(norms):
        return function(norms)


def of_median(norms, middle, mad=None):
    return (middle - norms) / (1.4826 * (mad if mad is not None else (norms - middle).abs().quantile(0.5)))


index("torch.median", lambda n: of_median(n, n.median(), (n - n.median()).abs().median()))
index("torch.median for the MAD", lambda n: of_median(n, n.quantile(0.5), (n - n.quantile(0.5)).abs().median()))
index("torch.median for the middle", lambda n: of_median(n, n.median()))
index("without its sign", lambda n: robustness.anomaly_index(n).abs())
index("the other sign", lambda n: -robustness.anomaly_index(n))
index("no 1.4826", lambda n: 1.4826 * robustness.anomaly_index(n))
index("1.4826 above the line", lambda n: 1.4826**2 * robustness.anomaly_index(n))
index("a standard deviation", lambda n: (n.quantile(0.5) - n) / n.std())
index("around the mean", lambda n: of_median(n, n.mean()))
index("the mean of the deviations", lambda n: of_median(n, n.quantile(0.5), (n - n.quantile(0.5)).abs().mean()))
index(
    "an ε below the line", lambda n: (n.quantile(0.5) - n) / (1.4826 * (n - n.quantile(0.5)).abs().quantile(0.5) + 1e-6)
)
index("only the smallest", lambda n: robustness.anomaly_index(n).amax())
index("sorted", lambda n: robustness.anomaly_index(n).sort().values)
index("in float32", lambda n: robustness.anomaly_index(n.float()).to(n.dtype))
index("1.48", lambda n: 1.4826 / 1.48 * robustness.anomaly_index(n))
index("", lambda n: of_median(n, n.quantile(0.5)))
index(
    "",
    lambda n: torch.from_numpy(
        (np.median(n.numpy()) - n.numpy()) / (1.4826 * np.median(np.abs(n.numpy() - np.median(n.numpy()))))
    ).to(n.dtype),
)
index("", lambda n: of_median(n.double(), n.double().quantile(0.5)).to(n.dtype))

# --- 12.6b trojan_score -----------------------------------------------------------------------------------------------


def score(error, function):
    decorate = mutant("12.6b", error) if error else right("12.6b")

    @decorate
    def of(errors):
        return function(list(errors))


score("the mean of the path taken off", lambda e: max(e) - sum(e) / len(e))
score("the first end only", lambda e: max(e) - e[0])
score("the last end only", lambda e: max(e) - e[-1])
score("the greater end", lambda e: max(e) - max(e[0], e[-1]))
score("the smaller end", lambda e: max(e) - min(e[0], e[-1]))
score("the middle of the path", lambda e: e[len(e) // 2] - (e[0] + e[-1]) / 2)
score("the ends left out of the largest", lambda e: max(e[1:-1], default=0.0) - (e[0] + e[-1]) / 2)
score("never below 0", lambda e: max(0.0, max(e[1:-1], default=0.0) - (e[0] + e[-1]) / 2))
score("the mean of the path for the largest", lambda e: sum(e) / len(e) - (e[0] + e[-1]) / 2)
score("both ends whole", lambda e: max(e) - e[0] - e[-1])
score("starting at 0", lambda e: max([0.0, *e]) - (e[0] + e[-1]) / 2)
score(
    "float32",
    lambda e: float(torch.tensor(e, dtype=torch.float32).max() - (torch.tensor(e[0], dtype=torch.float32) + e[-1]) / 2),
)
score("", lambda e: max(x - (e[0] + e[-1]) / 2 for x in e))
score("", lambda e: float(np.max(e) - np.mean([e[0], e[-1]])))
score("", lambda e: sorted(e)[-1] - 0.5 * e[0] - 0.5 * e[-1])

# --- 12.7 sign_flip_test ----------------------------------------------------------------------------------------------


def flip(error, function):
    decorate = mutant("12.7", error) if error else right("12.7")

    @decorate
    def of(differences):
        return function([float(d) for d in differences])


def all_sums(values):
    return [
        sum(s * d for s, d in zip(signs, values, strict=True))
        for signs in itertools.product((1.0, -1.0), repeat=len(values))
    ]


def near(d):
    return 1e-9 * sum(map(abs, d))


def share(flags):
    flags = list(flags)
    return sum(flags) / len(flags)


flip("one side", lambda d: share(s >= sum(d) - near(d) for s in all_sums(d)))
flip("more, not as much", lambda d: share(abs(s) > abs(sum(d)) + near(d) for s in all_sums(d)))
flip("rounding decides", lambda d: share(abs(s) >= abs(sum(d)) for s in all_sums(d)))
flip("half of the two sides", lambda d: robustness.sign_flip_test(d) / 2)
flip("twice the one side", lambda d: 2 * share(s >= abs(sum(d)) - near(d) for s in all_sums(d)))
flip("twice the one side, at most 1", lambda d: min(1.0, 2 * share(s >= sum(d) - near(d) for s in all_sums(d))))
flip(
    "the observed pattern left out",
    lambda d: (sum(abs(s) >= abs(sum(d)) - near(d) for s in all_sums(d)) - 1) / 2 ** len(d),
)
flip(
    "one added above and below",
    lambda d: (sum(abs(s) >= abs(sum(d)) - near(d) for s in all_sums(d)) + 1) / (2 ** len(d) + 1),
)
flip("signs only, no sizes", lambda d: share(abs(s) >= abs(sum(np.sign(d))) for s in all_sums(np.sign(d).tolist())))
flip("a fixed slack", lambda d: share(abs(s) >= abs(sum(d)) - 1e-9 for s in all_sums(d)))
flip("too much slack", lambda d: share(abs(s) >= abs(sum(d)) - 1e-4 * sum(map(abs, d)) for s in all_sums(d)))
flip("float32", lambda d: share(abs(s) >= abs(np.float32(sum(d))) for s in np.float32(all_sums(d))))
flip(
    "drawn patterns",
    lambda d: share(
        abs(s) >= abs(sum(d)) - near(d)
        for s in (np.random.default_rng(0).choice([-1, 1], (1000, len(d))) @ np.array(d))
    ),
)
flip(
    "sums to 12 decimals",
    lambda d: share(round(abs(s), 12) >= round(abs(sum(d)), 12) for s in all_sums(d)),
)
flip("1 − p", lambda d: 1 - robustness.sign_flip_test(d))
flip("slack of the observed sum", lambda d: share(abs(s) >= abs(sum(d)) * (1 - 1e-9) for s in all_sums(d)))
flip("", lambda d: share(abs(s) >= abs(sum(d)) - near(d) for s in all_sums(d)))
flip(
    "",
    lambda d: float(
        (
            np.abs(np.array(list(itertools.product((1, -1), repeat=len(d)))) @ np.array(d)) >= abs(sum(d)) - near(d)
        ).mean()
    ),
)
flip("", lambda d: share(abs(s) >= abs(math.fsum(d)) - near(d) for s in all_sums(d)[: max(1, 2 ** (len(d) - 1))]))

# --- 12.8 few_shot ----------------------------------------------------------------------------------------------------


def drawn(error, pick):
    """`pick` gives the positions of one class: (its positions, shots, generator)."""
    decorate = mutant("12.8", error) if error else right("12.8")

    @decorate
    def of(labels, shots, seed):
        generator = torch.Generator().manual_seed(seed)
        parts = [torch.zeros(0, dtype=torch.int64)]
        for label in labels.unique().tolist():
            places = (labels == label).nonzero().flatten()
            if len(places) < shots:
                raise ValueError(f"Class {label} has only {len(places)} examples.")
            parts.append(pick(places, shots, generator))
        return torch.cat(parts).sort().values


drawn("the first ones", lambda places, k, g: places[:k])
drawn("with repetition", lambda places, k, g: places[torch.randint(len(places), (k,), generator=g)])
drawn("one more", lambda places, k, g: shuffled(places, g)[: k + 1])
drawn(
    "the same draw for each class",
    lambda places, k, g: shuffled(places, torch.Generator().manual_seed(g.initial_seed()))[:k],
)
drawn("the last never", lambda places, k, g: shuffled(places[:-1], g)[:k] if k < len(places) else places)
drawn("positions within the class", lambda places, k, g: torch.randperm(len(places), generator=g)[:k])
drawn(
    "neighbours, in a ring",
    lambda places, k, g: torch.roll(places, int(torch.randint(max(1, len(places)), (), generator=g)))[:k],
)
drawn(
    "neighbours, in a row",
    lambda places, k, g: places[int(torch.randint(len(places) - k + 1, (), generator=g)) :][:k],
)
drawn("the global generator", lambda places, k, g: (torch.manual_seed(g.initial_seed()), shuffled(places, None))[1][:k])
drawn(
    "NumPy's global generator",
    lambda places, k, g: (
        np.random.seed(g.initial_seed() % 2**32 + int(places[0])),
        torch.from_numpy(np.random.permutation(places.numpy())[:k]),
    )[1],
)
drawn("", lambda places, k, g: shuffled(places, g)[:k])
drawn("", lambda places, k, g: places[torch.rand(len(places), generator=g).argsort()[:k]])


@right("12.8")
def shots_numpy(labels, shots, seed):
    rng, values = np.random.default_rng(seed), labels.numpy()
    parts = []
    for label in np.unique(values):
        places = np.flatnonzero(values == label)
        if len(places) < shots:
            raise ValueError("too few")
        parts.append(rng.choice(places, shots, replace=False))
    return torch.from_numpy(np.sort(np.concatenate(parts)).astype(np.int64))


@mutant("12.8", "not ascending")
def shots_unsorted(labels, shots, seed):
    got = robustness.few_shot(labels, shots, seed)
    return shuffled(got, torch.Generator().manual_seed(seed))


@mutant("12.8", "takes what there is")
def shots_fewer(labels, shots, seed):
    least = int(labels.unique(return_counts=True)[1].min())
    if least >= shots:
        return robustness.few_shot(labels, shots, seed)
    return torch.cat([(labels == label).nonzero().flatten()[:shots] for label in labels.unique()]).sort().values


@mutant("12.8", "classes from 0 to the largest")
def shots_range(labels, shots, seed):
    for label in range(int(labels.max()) + 1):
        if int((labels == label).sum()) < shots:
            raise ValueError("too few")
    return robustness.few_shot(labels, shots, seed)


@mutant("12.8", "shots or one")
def shots_default(labels, shots, seed):
    return robustness.few_shot(labels, shots or 1, seed)


@mutant("12.8", "as many in all, of any class")
def shots_any(labels, shots, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randperm(len(labels), generator=generator)[: shots * len(labels.unique())].sort().values


@mutant("12.8", "an exact fit is refused")
def shots_strict(labels, shots, seed):
    if shots and int(labels.unique(return_counts=True)[1].min()) <= shots:
        raise ValueError("too few")
    return robustness.few_shot(labels, shots, seed)


@mutant("12.8", "a list")
def shots_list(labels, shots, seed):
    return robustness.few_shot(labels, shots, seed).tolist()


# --- 12.9 adversarial_train -------------------------------------------------------------------------------------------


def training(
    error="",
    *,
    mask_first=True,
    mask_each=True,
    afresh=True,
    sign=1.0,
    project=robustness.project_linf,
    masked_attack=True,
    reduction="mean",
    once=False,
    attack_first=True,
    random=False,
    order=1,
    momentum=0.0,
    mixed=False,
    prefix=False,
    product=False,
    longest=math.inf,
):
    """A whole training with one thing done otherwise; right if nothing is."""
    decorate = mutant("12.9", error) if error else right("12.9")

    def mask(name, value, masks):
        found = next((masks[m] for m in masks if name.startswith(m[:3])), None) if prefix else masks.get(name)
        if found is None or found.shape != value.shape:
            return value
        return value * found if product else torch.where(found, value, 0)

    @decorate
    def of(state, inputs, labels, masks, epsilon, step_size, attack_steps, lr, steps):
        state = {n: mask(n, v.clone(), masks) if mask_first else v.clone() for n, v in state.items()}
        unmasked = dict(state)
        attacked = inputs
        velocity = {n: torch.zeros_like(v) for n, v in state.items()}
        for step in range(steps):
            if afresh and not (once and step):
                attacked = inputs
                if random:
                    noise = torch.rand(inputs.shape, generator=torch.Generator().manual_seed(step), dtype=inputs.dtype)
                    attacked = robustness.project_linf(inputs + (2 * noise - 1) * epsilon, inputs, epsilon)
            for _ in range(attack_steps if not (once and step) else 0):
                leaf = attacked.detach().requires_grad_()
                net = state if masked_attack else unmasked
                loss = F.cross_entropy(mlp_forward(net, leaf), labels)
                (gradient,) = torch.autograd.grad(loss, leaf)
                attacked = project(attacked + sign * step_size * gradient.sign(), inputs, epsilon)
            leaves = {n: v.detach().requires_grad_() for n, v in state.items()}
            loss = F.cross_entropy(
                mlp_forward(leaves, attacked if attack_first else inputs), labels, reduction=reduction
            )
            if mixed:
                loss = (loss + F.cross_entropy(mlp_forward(leaves, inputs), labels)) / 2
            gradients = torch.autograd.grad(loss, list(leaves.values()))
            length = float(torch.stack([g.norm() for g in gradients]).norm())
            gradients = [g * (longest / length) if length > longest else g for g in gradients]
            for (n, v), g in zip(leaves.items(), gradients, strict=True):
                velocity[n] = momentum * velocity[n] + g
                moved = v.detach() - lr * velocity[n]
                state[n] = mask(n, moved, masks) if mask_each else moved
        return {n: v.detach() for n, v in state.items()}


training("masks at first only", mask_each=False)
training("masks after the first step only", mask_first=False)
training("each attack goes on where the last one ended", afresh=False)
training("one attack for all steps", once=True)
training("the attack descends", sign=-1.0)
training("no ball", project=lambda x, c, e: x.clamp(0, 1))
training("no [0, 1]", project=lambda x, c, e: torch.minimum(torch.maximum(x, c - e), c + e))
training("trains on the clean inputs", attack_first=False)
training("the sum of the losses", reduction="sum")
training("half clean, half attacked", mixed=True)
training("a random start", random=True)
training("momentum", momentum=0.5)
training("large gradients clipped", longest=5.0)
training("masks by the beginning of a name", prefix=True)
training("NaN times 0", product=True)
training()


@mutant("12.9", "only weights are masked")
def train_weights_only(state, inputs, labels, masks, *rest):
    masks = {name: mask for name, mask in masks.items() if name.endswith("weight")}
    return robustness.adversarial_train(state, inputs, labels, masks, *rest)


@mutant("12.9", "the best of all steps, not the last")
def train_best(state, inputs, labels, masks, epsilon, step_size, attack_steps, lr, steps):
    common = inputs, labels, masks, epsilon, step_size, attack_steps, lr
    found = [robustness.adversarial_train(state, *common, number) for number in range(steps + 1)]
    return min(found, key=lambda each: float(F.cross_entropy(mlp_forward(each, inputs), labels)))


@mutant("12.9", "one step too many")
def train_longer(state, inputs, labels, masks, epsilon, step_size, attack_steps, lr, steps):
    return robustness.adversarial_train(state, inputs, labels, masks, epsilon, step_size, attack_steps, lr, steps + 1)


@mutant("12.9", "at least one attack step")
def train_attacks(state, inputs, labels, masks, epsilon, step_size, attack_steps, lr, steps):
    return robustness.adversarial_train(state, inputs, labels, masks, epsilon, step_size, attack_steps or 1, lr, steps)


@mutant("12.9", "always float32")
def train_float(state, inputs, labels, masks, *rest):
    state = {name: value.float() for name, value in state.items()}
    return robustness.adversarial_train(state, inputs.float(), labels, masks, *rest)


@mutant("12.9", "the initial state changes")
def train_in_place(state, inputs, labels, masks, *rest):
    got = robustness.adversarial_train(state, inputs, labels, masks, *rest)
    for name, value in got.items():
        state[name].copy_(value)
    return got


@mutant("12.9", "without a step the caller's own tensors")
def train_shared(state, inputs, labels, masks, *rest):
    got = robustness.adversarial_train(state, inputs, labels, masks, *rest)
    return got if rest[-1] else {n: got[n] if n in masks else state[n] for n in got}


@mutant("12.9", "FGSM: one step of ε")
def train_fgsm(state, inputs, labels, masks, epsilon, step_size, attack_steps, lr, steps):
    return robustness.adversarial_train(state, inputs, labels, masks, epsilon, epsilon, min(1, attack_steps), lr, steps)


@right("12.9")
def train_sgd(state, inputs, labels, masks, epsilon, step_size, attack_steps, lr, steps):
    weights = {n: torch.where(masks[n], v, 0) if n in masks else v.clone() for n, v in state.items()}
    weights = {n: v.requires_grad_() for n, v in weights.items()}
    low, high = (inputs - epsilon).clamp(0, 1), (inputs + epsilon).clamp(0, 1)
    for _ in range(steps):
        delta = torch.zeros_like(inputs)
        for _ in range(attack_steps):
            delta.requires_grad_()
            loss = F.cross_entropy(mlp_forward(weights, inputs + delta), labels)
            (slope,) = torch.autograd.grad(loss, delta)
            delta = torch.clamp(inputs + delta.detach() + step_size * slope.sign(), low, high) - inputs
        loss = F.cross_entropy(mlp_forward(weights, inputs + delta.detach()), labels)
        loss.backward()
        with torch.no_grad():
            for n, w in weights.items():
                w -= lr * w.grad
                w.grad = None
                if n in masks:
                    w[~masks[n]] = 0
    return {n: w.detach() for n, w in weights.items()}


@right("12.9")
def train_masked_gradients(state, inputs, labels, masks, epsilon, step_size, attack_steps, lr, steps):
    now = {n: v.masked_fill(~masks[n], 0) if n in masks else v.clone() for n, v in state.items()}
    for _ in range(steps):
        x = inputs.clone()
        for _ in range(attack_steps):
            x = x.detach().requires_grad_()
            F.cross_entropy(mlp_forward(now, x), labels, reduction="sum").backward()
            x = robustness.pgd_step(x.detach(), inputs, x.grad, step_size, epsilon)
        leaves = {n: v.clone().requires_grad_() for n, v in now.items()}
        F.cross_entropy(mlp_forward(leaves, x.detach()), labels).backward()
        for n, v in leaves.items():
            step = lr * v.grad
            now[n] = v.detach() - (step.masked_fill(~masks[n], 0) if n in masks else step)
    return now
