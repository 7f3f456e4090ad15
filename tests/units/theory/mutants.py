"""Mutants and right variants of unit 13."""

import itertools
import math
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F

from course_utils import theory
from course_utils.models import mlp_forward
from tests.checks.catalogue import mutant, right

DOUBLE = torch.float64
EQUIVALENT = {
    "diagonal_descent: 0 -> -1": "any row has the shape of w",
    "effective_masks: True -> False": "strict=False, with lists of one length",
    "effective_masks: zip(masks, reached, leads_on, strict=True) -> zip(masks, reached, leads_on)": "as above",
    "kernel_descent: torch.eye(len(kernel), dtype=kernel.dtype) -> torch.eye(len(kernel))": "0 and 1 are exact in any "
    "dtype, and the difference has the wider one",
    "noisy_labels: labels[changed] + shift -> labels[changed] - shift": "modulo the classes a shift backwards is as "
    "likely as one forwards",
    "prune_to_weight: first < 0 -> first <= 0": "a slope of 0 changes no sum, and of equals subset_sum takes the "
    "first, which is without it",
    "prune_to_weight: first > 0 -> first >= 0": "as above",
    "relu_ntk: 0 -> -1": "the angle of an input of zeros, which is multiplied by 0",
    "relu_ntk: 0 -> 1": "as above",
    "synflow_scores: True -> False": "strict=False, with lists of one length",
    "synflow_scores: zip(weights, sizes, into, out, strict=True) -> zip(weights, sizes, into, out)": "as above",
}

# --- 13.1 subset_sum --------------------------------------------------------------------------------------------------


def by_sums(values, target, choose, dtype=DOUBLE, skip=0):
    """Of all subsets, from number `skip` on, the one that `choose` picks by (sums, target)."""
    count = len(values)
    bits = torch.arange(2**count)[:, None] >> torch.arange(count) & 1
    sums = bits.to(dtype) @ values.to(dtype)
    return bits[skip:][choose(sums[skip:], target)].bool()


def nearest(sums, target):
    return int((sums - target).abs().argmin())


@mutant("13.1", "greedy: the largest that still fits")
def sum_greedy(values, target):
    mask, left = torch.zeros(len(values), dtype=torch.bool), target
    for i in values.double().abs().argsort(descending=True).tolist():
        if abs(left - float(values[i])) < abs(left):
            mask[i], left = True, left - float(values[i])
    return mask


@mutant("13.1", "the best single number")
def sum_single(values, target):
    mask = torch.zeros(len(values), dtype=torch.bool)
    i = int((values.double() - target).abs().argmin())
    mask[i] = abs(float(values[i]) - target) < abs(target)
    return mask


@mutant("13.1", "never the empty subset")
def sum_never_empty(values, target):
    return by_sums(values, target, nearest, skip=1)


@mutant("13.1", "from below only")
def sum_below(values, target):
    return by_sums(values, target, lambda s, t: int(torch.where(s <= t, t - s, torch.inf).argmin()))


@mutant("13.1", "the least difference, with its sign")
def sum_signed(values, target):
    return by_sums(values, target, lambda s, t: int((s - t).argmin()))


@mutant("13.1", "float32 sums")
def sum_float32(values, target):
    return by_sums(values, target, nearest, torch.float32)


@mutant("13.1", "sums in the dtype of the values")
def sum_own_dtype(values, target):
    return by_sums(values, target, nearest, values.dtype)


@mutant("13.1", "the magnitude of sum and target")
def sum_magnitude(values, target):
    return by_sums(values, target, lambda s, t: int((s.abs() - abs(t)).abs().argmin()))


@mutant("13.1", "the first 12 numbers only")
def sum_capped(values, target):
    head = by_sums(values[:12], target, nearest)
    return torch.cat([head, torch.zeros(len(values) - len(head), dtype=torch.bool)])


@mutant("13.1", "the bits in reverse")
def sum_reversed(values, target):
    return by_sums(values, target, nearest).flip(0)


@mutant("13.1", "subsets of at most two")
def sum_pairs(values, target):
    def choose(sums, goal):
        few = torch.arange(len(sums)).apply_(lambda i: i.bit_count()) <= 2
        return int(torch.where(few, (sums - goal).abs(), torch.inf).argmin())

    return by_sums(values, target, choose)


@mutant("13.1", "stops at an error below 1e-6")
def sum_early(values, target):
    def choose(sums, goal):
        good = ((sums - goal).abs() < 1e-6).nonzero()
        return int(good[0]) if len(good) else nearest(sums, goal)

    return by_sums(values, target, choose)


@mutant("13.1", "positions in place of a mask")
def sum_positions(values, target):
    return theory.subset_sum(values, target).nonzero().flatten()


@right("13.1")
def sum_matrix(values, target):
    return by_sums(values, target, nearest)


@right("13.1")
def sum_itertools(values, target):
    numbers = values.double().tolist()
    best = min(
        range(2 ** len(numbers)), key=lambda s: abs(sum(v for i, v in enumerate(numbers) if s >> i & 1) - target)
    )
    return torch.tensor([bool(best >> i & 1) for i in range(len(numbers))], dtype=torch.bool)


@mutant("13.1", "no numbers, a mask of floats")
def sum_of_nothing(values, target):
    return theory.subset_sum(values, target) if len(values) else torch.tensor([])


@right("13.1")
def sum_last_of_equals(values, target):
    return by_sums(values, target, lambda s, t: len(s) - 1 - int((s - t).abs().flip(0).argmin()))


# --- 13.2 prune_to_weight ---------------------------------------------------------------------------------------------


def by_sides(first, second, weight, plus=lambda w: w, minus=lambda w: w, choose=theory.subset_sum, product=None):
    products = product(first, second) if product else first.double() * second.double()
    keep = torch.zeros(len(first), dtype=torch.bool)
    keep[first > 0] = choose(products[first > 0], plus(weight))
    keep[first < 0] = choose(products[first < 0], minus(weight))
    return keep


@mutant("13.2", "one subset for both signs")
def weight_one(first, second, weight):
    products = first.double() * second.double()
    keep = theory.subset_sum(products[:12], weight)
    return torch.cat([keep, torch.zeros(len(first) - len(keep), dtype=torch.bool)])


@mutant("13.2", "−weight at x < 0")
def weight_minus(first, second, weight):
    return by_sides(first, second, weight, minus=lambda w: -w)


@mutant("13.2", "half the weight on each side")
def weight_half(first, second, weight):
    return by_sides(first, second, weight, plus=lambda w: w / 2, minus=lambda w: w / 2)


@mutant("13.2", "the best single unit of each side")
def weight_single(first, second, weight):
    return by_sides(first, second, weight, choose=lambda v, w: sum_single(v, w) if len(v) else v.bool())


@mutant("13.2", "the positive side only")
def weight_positive(first, second, weight):
    return by_sides(first, second, weight) & (first > 0)


@mutant("13.2", "units with first = 0 are kept")
def weight_zero(first, second, weight):
    return by_sides(first, second, weight) | (first == 0)


@mutant("13.2", "zeros count to the positive side")
def weight_zero_side(first, second, weight):
    keep = torch.zeros(len(first), dtype=torch.bool)
    products = first.double() * second.double() + (first == 0) * second.double()
    for side in (first >= 0, first < 0):
        keep[side] = sum_matrix(products[side][:12], weight) if side.sum() <= 12 else keep[side]
    return keep


@mutant("13.2", "products of magnitudes")
def weight_magnitude(first, second, weight):
    return by_sides(first, second, weight, product=lambda a, b: a.double().abs() * b.double())


@mutant("13.2", "second alone")
def weight_second(first, second, weight):
    return by_sides(first, second, weight, product=lambda a, b: b.double())


@mutant("13.2", "products in float32")
def weight_float32(first, second, weight):
    return by_sides(first, second, weight, product=lambda a, b: a.float() * b.float())


@mutant("13.2", "products in the arguments' dtype")
def weight_own_dtype(first, second, weight):
    return by_sides(first, second, weight, product=lambda a, b: a * b)


@mutant("13.2", "tiny first weights count as 0")
def weight_tiny(first, second, weight):
    return by_sides(first, second, weight) & (first.abs() > 1e-6)


@mutant("13.2", "the sides by the sign of second")
def weight_other_side(first, second, weight):
    keep = torch.zeros(len(first), dtype=torch.bool)
    for side in ((second > 0) & (first != 0), (second < 0) & (first != 0)):
        keep[side.nonzero().flatten()[:12]] = theory.subset_sum((first.double() * second.double())[side][:12], weight)
    return keep


@mutant("13.2", "greedy on each side")
def weight_greedy(first, second, weight):
    return by_sides(first, second, weight, choose=sum_greedy)


@right("13.2")
def weight_loop(first, second, weight):
    keep = [False] * len(first)
    for sign in (1, -1):
        places = [i for i, f in enumerate(first.tolist()) if f * sign > 0]
        slopes = torch.tensor([float(first[i]) * float(second[i]) for i in places], dtype=DOUBLE)
        for i, kept in zip(places, sum_matrix(slopes, weight).tolist() if places else [], strict=True):
            keep[i] = kept
    return torch.tensor(keep)


@right("13.2")
def weight_helper(first, second, weight):
    return by_sides(first, second, weight)


@right("13.2")
def weight_by_index(first, second, weight):
    keep = torch.zeros(len(first), dtype=torch.bool)
    for side in (first.gt(0).nonzero().flatten(), first.lt(0).nonzero().flatten()):
        chosen = theory.subset_sum(first[side].to(DOUBLE) * second[side].to(DOUBLE), weight)
        keep[side[chosen]] = True
    return keep


# --- 13.3 popup_layer -------------------------------------------------------------------------------------------------


def top(scores, keep, rank=lambda s: s, count=lambda keep, n: round(keep * n)):
    flat = rank(scores.detach()).flatten()
    mask = torch.zeros_like(flat)
    mask[flat.sort(descending=True, stable=True).indices[: count(keep, len(flat))]] = 1
    return mask.view(scores.shape)


class Through(torch.autograd.Function):
    @staticmethod
    def forward(ctx, scores, mask):
        return mask.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient, None


@mutant("13.3", "mask times scores: dead edges stay dead")
def popup_dead(inputs, weight, scores, keep_fraction):
    mask = top(scores, keep_fraction)
    return F.linear(inputs, weight.detach() * (mask + mask * (scores - scores.detach())))


@mutant("13.3", "weights times scores")
def popup_times(inputs, weight, scores, keep_fraction):
    return F.linear(inputs, weight.detach() * top(scores, keep_fraction) * scores)


@mutant("13.3", "each unit keeps its own best")
def popup_per_unit(inputs, weight, scores, keep_fraction):
    mask = torch.stack([top(row, keep_fraction) for row in scores])
    return F.linear(inputs, weight.detach() * Through.apply(scores, mask))


@mutant("13.3", "the largest |score|")
def popup_size(inputs, weight, scores, keep_fraction):
    return F.linear(inputs, weight.detach() * Through.apply(scores, top(scores, keep_fraction, torch.abs)))


@mutant("13.3", "|score|, its sign in the gradient")
def popup_sign(inputs, weight, scores, keep_fraction):
    sizes = scores.abs()
    return F.linear(inputs, weight.detach() * Through.apply(sizes, top(sizes, keep_fraction)))


@mutant("13.3", "keep_fraction is what is pruned")
def popup_pruned(inputs, weight, scores, keep_fraction):
    return theory.popup_layer(inputs, weight, scores, 1 - keep_fraction)


@mutant("13.3", "rounded down")
def popup_down(inputs, weight, scores, keep_fraction):
    mask = top(scores, keep_fraction, count=lambda keep, n: int(keep * n))
    return F.linear(inputs, weight.detach() * Through.apply(scores, mask))


@mutant("13.3", "half is rounded up")
def popup_half_up(inputs, weight, scores, keep_fraction):
    mask = top(scores, keep_fraction, count=lambda keep, n: math.floor(keep * n + 0.5))
    return F.linear(inputs, weight.detach() * Through.apply(scores, mask))


@mutant("13.3", "rounded down in int((1 − k) · n), as the authors' program does")
def popup_authors(inputs, weight, scores, keep_fraction):
    mask = top(scores, keep_fraction, count=lambda keep, n: n - int((1 - keep) * n))
    return F.linear(inputs, weight.detach() * Through.apply(scores, mask))


@mutant("13.3", "at least one weight is kept")
def popup_one(inputs, weight, scores, keep_fraction):
    mask = top(scores, keep_fraction, count=lambda keep, n: max(1, round(keep * n)))
    return F.linear(inputs, weight.detach() * Through.apply(scores, mask))


@mutant("13.3", "a threshold keeps all equals")
def popup_threshold(inputs, weight, scores, keep_fraction):
    mask = top(scores, keep_fraction)
    if mask.any():
        mask = (scores.detach() >= scores.detach()[mask.bool()].min()).to(weight.dtype)
    return F.linear(inputs, weight.detach() * Through.apply(scores, mask))


@mutant("13.3", "mask + scores − scores: huge scores swallow it")
def popup_rounding(inputs, weight, scores, keep_fraction):
    return F.linear(inputs, weight.detach() * (top(scores, keep_fraction) + scores - scores.detach()))


@mutant("13.3", "the weight learns")
def popup_learns(inputs, weight, scores, keep_fraction):
    return F.linear(inputs, weight * Through.apply(scores, top(scores, keep_fraction)))


@mutant("13.3", "no gradient by the scores of a layer that keeps nothing")
def popup_nothing(inputs, weight, scores, keep_fraction):
    if round(keep_fraction * scores.numel()) == 0:
        return F.linear(inputs, 0 * weight.detach() * (scores - scores.detach()))
    return theory.popup_layer(inputs, weight, scores, keep_fraction)


@mutant("13.3", "the inputs are cut off")
def popup_inputs(inputs, weight, scores, keep_fraction):
    return theory.popup_layer(inputs.detach(), weight, scores, keep_fraction)


@mutant("13.3", "the inputs' gradient through all weights")
def popup_dense(inputs, weight, scores, keep_fraction):
    out = theory.popup_layer(inputs.detach(), weight, scores, keep_fraction)
    dense = F.linear(inputs, weight.detach())
    return out + dense - dense.detach()


@mutant("13.3", "the gradient by the scores lacks the weight")
def popup_weightless(inputs, weight, scores, keep_fraction):
    frozen = weight.detach() * top(scores, keep_fraction)
    return F.linear(inputs, frozen + (scores - scores.detach()))


@mutant("13.3", "the gradient by the scores with |weight|")
def popup_abs_weight(inputs, weight, scores, keep_fraction):
    frozen = weight.detach() * top(scores, keep_fraction)
    return F.linear(inputs, frozen + weight.detach().abs() * (scores - scores.detach()))


@mutant("13.3", "float64 is computed in float32")
def popup_single(inputs, weight, scores, keep_fraction):
    return theory.popup_layer(inputs.float(), weight.float(), scores.float(), keep_fraction).to(inputs.dtype)


@mutant("13.3", "scaled by 1/√keep")
def popup_scaled(inputs, weight, scores, keep_fraction):
    return theory.popup_layer(inputs, weight, scores, keep_fraction) / max(keep_fraction, 1e-9) ** 0.5


@right("13.3")
def popup_function(inputs, weight, scores, keep_fraction):
    return F.linear(inputs, weight.detach() * Through.apply(scores, top(scores, keep_fraction)))


@right("13.3")
def popup_matmul(inputs, weight, scores, keep_fraction):
    mask = top(scores, keep_fraction)
    return inputs @ (weight.detach() * (mask + (scores - scores.detach()))).transpose(0, 1)


@right("13.3")
def popup_two_terms(inputs, weight, scores, keep_fraction):
    frozen = weight.detach()
    effective = torch.where(top(scores, keep_fraction).bool(), frozen, 0)
    return F.linear(inputs, effective + frozen * (scores - scores.detach()))


# --- 13.4 empirical_ntk -----------------------------------------------------------------------------------------------


def jacobians(state, masks, inputs, masked=True, trained=lambda name: True, outside=0):
    """For each logit [n, numbers], and K."""
    leaves = {n: v.detach().clone().requires_grad_() for n, v in state.items()}
    clean = {n: torch.where(masks[n], v, outside) if masked and n in masks else v for n, v in leaves.items()}
    chosen = [leaf for name, leaf in leaves.items() if trained(name)]
    logits = torch.cat([mlp_forward(clean, x[None]) for x in inputs])
    found = []
    for column in logits.T:
        rows = [torch.autograd.grad(f, chosen, retain_graph=True, allow_unused=True) for f in column]
        found.append(
            torch.stack(
                [
                    torch.cat([(g if g is not None else 0 * c).flatten() for g, c in zip(r, chosen, strict=True)])
                    for r in rows
                ]
            )
        )
    return found


def kernel_of(parts):
    return sum(j @ j.T for j in parts) / len(parts)


@mutant("13.4", "pruned weights are trained too")
def ntk_pruned(state, masks, inputs):
    clean = {n: torch.where(masks[n], v, 0) if n in masks else v for n, v in state.items()}
    return kernel_of(jacobians(clean, {}, inputs))


@mutant("13.4", "the forward pass without masks")
def ntk_unmasked(state, masks, inputs):
    leaves = {n: v.detach().clone().requires_grad_() for n, v in state.items()}
    logits = torch.cat([mlp_forward(leaves, x[None]) for x in inputs])
    total = 0
    for column in logits.T:
        rows = []
        for f in column:
            slopes = torch.autograd.grad(f, list(leaves.values()), retain_graph=True)
            rows.append(
                torch.cat(
                    [
                        (torch.where(masks[n], g, 0) if n in masks else g).flatten()
                        for n, g in zip(leaves, slopes, strict=True)
                    ]
                )
            )
        total = total + torch.stack(rows) @ torch.stack(rows).T
    return total / logits.shape[1]


@mutant("13.4", "no biases")
def ntk_no_biases(state, masks, inputs):
    return kernel_of(jacobians(state, masks, inputs, trained=lambda name: name.endswith("weight")))


@mutant("13.4", "tensors without a mask are not trained")
def ntk_masked_only(state, masks, inputs):
    if not masks:
        return kernel_of(jacobians(state, masks, inputs))
    return kernel_of(jacobians(state, masks, inputs, trained=lambda name: name in masks or name.endswith("bias")))


@mutant("13.4", "the sum over the logits")
def ntk_sum(state, masks, inputs):
    return sum(j @ j.T for j in jacobians(state, masks, inputs))


@mutant("13.4", "the first logit only")
def ntk_first(state, masks, inputs):
    return kernel_of(jacobians(state, masks, inputs)[:1])


@mutant("13.4", "the gradient of the sum of the logits")
def ntk_summed_logits(state, masks, inputs):
    parts = jacobians(state, masks, inputs)
    return kernel_of([sum(parts)]) / len(parts)


@mutant("13.4", "divided by how many numbers are trained")
def ntk_divided(state, masks, inputs):
    parts = jacobians(state, masks, inputs)
    return kernel_of(parts) / parts[0].shape[1]


@mutant("13.4", "the last layer's kernel only")
def ntk_last(state, masks, inputs):
    last = list(state)[-2:]
    return kernel_of(jacobians(state, masks, inputs, trained=lambda name: name in last))


@mutant("13.4", "weights times masks: NaN outside spreads")
def ntk_product(state, masks, inputs):
    clean = {n: v * masks[n] if n in masks else v for n, v in state.items()}
    return theory.empirical_ntk(clean, masks, inputs) + 0 * sum(v.sum() for v in clean.values())


@mutant("13.4", "masks of biases are passed over")
def ntk_weights_only(state, masks, inputs):
    return theory.empirical_ntk(state, {n: m for n, m in masks.items() if n.endswith("weight")}, inputs)


@mutant("13.4", "float64 is computed in float32")
def ntk_single(state, masks, inputs):
    single = {n: v.float() for n, v in state.items()}
    return theory.empirical_ntk(single, masks, inputs.float()).to(inputs.dtype)


@mutant("13.4", "cosines: normed rows")
def ntk_normed(state, masks, inputs):
    kernel = theory.empirical_ntk(state, masks, inputs)
    size = kernel.diagonal().sqrt()
    return kernel / (size[:, None] * size)


@mutant("13.4", "the dot product of the outputs")
def ntk_outputs(state, masks, inputs):
    logits = mlp_forward({n: torch.where(masks[n], v, 0) if n in masks else v for n, v in state.items()}, inputs)
    return (logits @ logits.T / logits.shape[1]).detach()


@mutant("13.4", "masks by their order")
def ntk_by_order(state, masks, inputs):
    names = [n for n in state if n.endswith("weight")]
    return theory.empirical_ntk(state, dict(zip(names, masks.values(), strict=False)), inputs)


@mutant("13.4", "a kept weight that is 0 is not trained")
def ntk_not_zero(state, masks, inputs):
    return theory.empirical_ntk(state, {n: m & (state[n] != 0) for n, m in masks.items()}, inputs)


@right("13.4")
def ntk_jacobians(state, masks, inputs):
    return kernel_of(jacobians(state, masks, inputs))


@right("13.4")
def ntk_by_hand(state, masks, inputs):
    """Backpropagation written out, one row of slopes for each example."""
    clean = {n: torch.where(masks[n], v, 0) if n in masks else v for n, v in state.items()}
    names = [n.removesuffix(".weight") for n in state if n.endswith("weight")]
    hidden, inner = inputs.flatten(1), []
    for name in names:
        inner.append(hidden)
        pre = hidden @ clean[f"{name}.weight"].T + clean[f"{name}.bias"]
        hidden = pre.relu()
    kernel = torch.zeros(len(inputs), len(inputs), dtype=pre.dtype)
    for k in range(pre.shape[1]):
        slopes = torch.zeros_like(pre)
        slopes[:, k] = 1
        for name, below in zip(names[::-1], inner[::-1], strict=True):
            for kind, rows in (("weight", slopes[:, :, None] * below[:, None]), ("bias", slopes)):
                mask = masks.get(f"{name}.{kind}", torch.ones_like(clean[f"{name}.{kind}"], dtype=torch.bool))
                flat = (rows * mask).flatten(1)
                kernel = kernel + flat @ flat.T / pre.shape[1]
            slopes = slopes @ clean[f"{name}.weight"] * (below > 0)
    return kernel


@right("13.4")
def ntk_pairs(state, masks, inputs):
    parts = jacobians(state, masks, inputs)
    return torch.stack([torch.stack([sum((a[i] * a[j]).sum() for a in parts) for j in range(len(inputs))])
                        for i in range(len(inputs))]) / len(parts)  # fmt: skip


# --- 13.5 relu_ntk ----------------------------------------------------------------------------------------------------


def wide(inputs, layers, start=lambda f: f.shape[1], factor=1.0, derivative=True, add=True, dtype=DOUBLE,
         clamp=1.0, floor=0.0, mean=None, old=True):  # fmt: skip
    flat = inputs.flatten(1).to(dtype)
    sigma = flat @ flat.T / start(flat)
    kernel = sigma
    for _ in range(layers):
        norms = sigma.diagonal().clamp(min=0).sqrt()
        product = norms[:, None] * norms
        cosine = sigma / (product + floor) if floor else torch.where(product > 0, sigma / product, 0)
        angle = cosine.clamp(-clamp, clamp).acos()
        new = factor * product * (angle.sin() + (math.pi - angle) * cosine) / math.pi
        slope = factor * (math.pi - angle) / math.pi if derivative else 1.0
        kernel = (new if add else 0) + (kernel if old else sigma) * slope
        sigma = new
    return kernel.to(inputs.dtype)


@mutant("13.5", "the NNGP kernel: the last layer's training only")
def limit_nngp(inputs, hidden_layers):
    flat = inputs.flatten(1).double()
    sigma = flat @ flat.T / flat.shape[1]
    for _ in range(hidden_layers):
        sigma = step(sigma)
    return sigma.to(inputs.dtype)


def step(sigma):
    norms = sigma.diagonal().sqrt()
    product = norms[:, None] * norms
    angle = torch.where(product > 0, sigma / product, 0).clamp(-1, 1).acos()
    return product * (angle.sin() + (math.pi - angle) * angle.cos()) / math.pi


for error, settings in {
    "the derivative's kernel is dropped": {"derivative": False},
    "the new layer's own training is dropped": {"add": False},
    "no 1/d": {"start": lambda f: 1},
    "1/√d": {"start": lambda f: f.shape[1] ** 0.5},
    "the factor 2 is forgotten": {"factor": 0.5},
    "Σ in place of Θ in the sum": {"old": False},
    "computed in float32": {"dtype": torch.float32},
    "the cosine is clamped to 0.999": {"clamp": 0.999},
    "an ε of 1e-6 in the cosine": {"floor": 1e-6},
}.items():
    mutant("13.5", error)(lambda inputs, hidden_layers, s=settings: wide(inputs, hidden_layers, **s))


@mutant("13.5", "one layer too many")
def limit_more(inputs, hidden_layers):
    return theory.relu_ntk(inputs, hidden_layers + 1)


@mutant("13.5", "one layer too few")
def limit_fewer(inputs, hidden_layers):
    return theory.relu_ntk(inputs, max(0, hidden_layers - 1))


@mutant("13.5", "acos without a clamp: NaN")
def limit_nan(inputs, hidden_layers):
    flat = inputs.flatten(1).double()
    norms = flat.norm(dim=1)
    cosine = flat @ flat.T / (norms[:, None] * norms) * (1 + 1e-15)
    return theory.relu_ntk(inputs, hidden_layers) + 0 * cosine.acos().to(inputs.dtype)


@mutant("13.5", "angles of the inputs in every layer")
def limit_first_angles(inputs, hidden_layers):
    flat = inputs.flatten(1).double()
    sigma = kernel = flat @ flat.T / flat.shape[1]
    norms = sigma.diagonal().sqrt()
    product = norms[:, None] * norms
    angle = torch.where(product > 0, sigma / product, 0).clamp(-1, 1).acos()
    for _ in range(hidden_layers):
        sigma = product * (angle.sin() + (math.pi - angle) * angle.cos()) / math.pi
        kernel = sigma + kernel * (math.pi - angle) / math.pi
    return kernel.to(inputs.dtype)


@mutant("13.5", "inputs are normed to length 1")
def limit_normed(inputs, hidden_layers):
    flat = inputs.flatten(1).double()
    return theory.relu_ntk((flat / flat.norm(dim=1, keepdim=True).clamp(min=1e-300)).to(inputs.dtype), hidden_layers)


@mutant("13.5", "float32 comes back as float64")
def limit_wide_dtype(inputs, hidden_layers):
    return theory.relu_ntk(inputs.double(), hidden_layers)


@mutant("13.5", "an input of zeros counts as orthogonal with length 1")
def limit_zero(inputs, hidden_layers):
    kernel = theory.relu_ntk(inputs, hidden_layers)
    dead = inputs.flatten(1).abs().sum(1) == 0
    kernel[dead, dead] = float(hidden_layers)
    return kernel


@right("13.5")
def limit_variant(inputs, hidden_layers):
    return wide(inputs, hidden_layers)


@right("13.5")
def limit_complex(inputs, hidden_layers):
    """cos and sin from the cosine itself: sin θ = √(1 − cos²θ)."""
    flat = inputs.flatten(1).double()
    sigma = kernel = flat @ flat.T / flat.shape[1]
    root = sigma.diagonal().sqrt()
    for _ in range(hidden_layers):
        c = (sigma / (root[:, None] * root)).nan_to_num(0).clamp(-1, 1)
        turn = (math.pi - c.acos()) / math.pi
        sigma = root[:, None] * root * ((1 - c * c).sqrt() / math.pi + turn * c)
        kernel = sigma + kernel * turn
    return kernel.to(inputs.dtype)


@right("13.5")
def limit_loops(inputs, hidden_layers):
    """Pair by pair."""
    flat = inputs.flatten(1).double().tolist()
    out = torch.zeros(len(flat), len(flat), dtype=inputs.dtype)
    for (i, a), (j, b) in itertools.product(enumerate(flat), repeat=2):
        d = len(a)
        s = t = sum(x * y for x, y in zip(a, b, strict=True)) / d
        root = math.sqrt(sum(x * x for x in a) / d * sum(y * y for y in b) / d)
        for _ in range(hidden_layers if root else 0):
            angle = math.acos(max(-1.0, min(1.0, s / root)))
            s = root * (math.sin(angle) + (math.pi - angle) * math.cos(angle)) / math.pi
            t = s + t * (math.pi - angle) / math.pi
        out[i, j] = t
    return out


# --- 13.6 kernel_descent ----------------------------------------------------------------------------------------------


def stepped(kernel, targets, initial, lr, steps, move=lambda k, r: k @ r):
    f = initial
    for _ in range(steps):
        f = f - lr * move(kernel, f - targets)
    return f


@mutant("13.6", "exp in place of powers")
def descent_exp(kernel, targets, initial, lr, steps):
    return targets + torch.linalg.matrix_exp(-lr * steps * kernel) @ (initial - targets)


@mutant("13.6", "a mean over the examples")
def descent_mean(kernel, targets, initial, lr, steps):
    return stepped(kernel, targets, initial, lr / len(targets), steps)


@mutant("13.6", "without the ½: twice as fast")
def descent_twice(kernel, targets, initial, lr, steps):
    return stepped(kernel, targets, initial, 2 * lr, steps)


@mutant("13.6", "uphill")
def descent_uphill(kernel, targets, initial, lr, steps):
    return stepped(kernel, targets, initial, -lr, steps)


@mutant("13.6", "the targets' other axis")
def descent_axis(kernel, targets, initial, lr, steps):
    if targets.dim() == 2 and targets.shape[0] == targets.shape[1]:
        return stepped(kernel, targets, initial, lr, steps, lambda k, r: r @ k)
    return stepped(kernel, targets, initial, lr, steps)


@mutant("13.6", "one step too many")
def descent_more(kernel, targets, initial, lr, steps):
    return stepped(kernel, targets, initial, lr, steps + 1)


@mutant("13.6", "starts at 0")
def descent_zero(kernel, targets, initial, lr, steps):
    return stepped(kernel, targets, torch.zeros_like(initial), lr, steps)


@mutant("13.6", "what is left in place of the outputs")
def descent_residual(kernel, targets, initial, lr, steps):
    return stepped(kernel, targets, initial, lr, steps) - targets


@mutant("13.6", "a rate that is too large is made smaller")
def descent_clamped(kernel, targets, initial, lr, steps):
    return stepped(kernel, targets, initial, min(lr, 1 / float(torch.linalg.matrix_norm(kernel.double(), 2))), steps)


@mutant("13.6", "the limit of infinitely many steps")
def descent_limit(kernel, targets, initial, lr, steps):
    return targets.clone() if steps else initial.clone()


@mutant("13.6", "one step of steps · lr")
def descent_one(kernel, targets, initial, lr, steps):
    return stepped(kernel, targets, initial, lr * steps, 1)


@mutant("13.6", "the diagonal of the kernel only")
def descent_diagonal(kernel, targets, initial, lr, steps):
    return stepped(torch.diag(kernel.diagonal()), targets, initial, lr, steps)


@mutant("13.6", "a step never goes too far: |1 − lr · λ|")
def descent_sizes(kernel, targets, initial, lr, steps):
    values, vectors = torch.linalg.eigh(kernel)
    return targets + vectors * (1 - lr * values).abs() ** steps @ vectors.T @ (initial - targets)


@mutant("13.6", "at most 30 steps")
def descent_capped(kernel, targets, initial, lr, steps):
    return stepped(kernel, targets, initial, lr, min(steps, 19))


@mutant("13.6", "float64 is computed in float32")
def descent_single(kernel, targets, initial, lr, steps):
    return theory.kernel_descent(kernel.float(), targets.float(), initial.float(), lr, steps).to(targets.dtype)


@mutant("13.6", "float32 comes back as float64")
def descent_double(kernel, targets, initial, lr, steps):
    return theory.kernel_descent(kernel.double(), targets.double(), initial.double(), lr, steps)


@mutant("13.6", "changes the initial outputs in place")
def descent_in_place(kernel, targets, initial, lr, steps):
    for _ in range(steps):
        initial -= lr * kernel @ (initial - targets)
    return initial


@right("13.6")
def descent_steps(kernel, targets, initial, lr, steps):
    return stepped(kernel, targets, initial, lr, steps)


@right("13.6")
def descent_eigen(kernel, targets, initial, lr, steps):
    values, vectors = torch.linalg.eigh(kernel.double())
    left = vectors.T @ (initial - targets).double()
    factor = ((1 - lr * values) ** steps).view(-1, *[1] * (targets.dim() - 1))
    return (targets + vectors @ (factor * left)).to(targets.dtype)


@right("13.6")
def descent_columns(kernel, targets, initial, lr, steps):
    power = torch.linalg.matrix_power(torch.eye(len(kernel), dtype=DOUBLE) - lr * kernel.double(), steps)
    return (targets.double() + torch.einsum("ij,j...->i...", power, (initial - targets).double())).to(targets.dtype)


# --- 13.7 diagonal_descent --------------------------------------------------------------------------------------------


def diagonal(features, targets, scale, lr, steps, by_u=2.0, by_v=2.0, divisor=len, start_v=1.0, at_once=True,
             read=lambda u, v: u * u - v * v):  # fmt: skip
    u = torch.full_like(features[0], scale)
    v = start_v * u
    for _ in range(steps):
        slope = features.T @ (features @ (u * u - v * v) - targets) / divisor(targets)
        new = u - by_u * lr * slope * u
        if not at_once:
            slope = features.T @ (features @ (new * new - v * v) - targets) / divisor(targets)
        u, v = new, v + by_v * lr * slope * v
    return read(u, v)


for error, settings in {
    "the 2 is forgotten": {"by_u": 1.0, "by_v": 1.0},
    "a sum over the examples": {"divisor": lambda y: 1},
    "½ forgotten: twice the gradient": {"by_u": 4.0, "by_v": 4.0},
    "v moves by the new u": {"at_once": False},
    "v does not move": {"by_v": 0.0},
    "v goes uphill": {"by_v": -2.0},
    "v starts at 0": {"start_v": 0.0},
    "returns u ⊙ u": {"read": lambda u, v: u * u},
    "returns u − v": {"read": lambda u, v: u - v},
    "returns (u − v)²": {"read": lambda u, v: (u - v) ** 2},
    "divided by the number of features": {"divisor": lambda y: 3},
}.items():
    mutant("13.7", error)(lambda features, targets, scale, lr, steps, s=settings: diagonal(
        features, targets, scale, lr, steps, **s))  # fmt: skip


@mutant("13.7", "w itself descends")
def diagonal_linear(features, targets, scale, lr, steps):
    w = torch.zeros_like(features[0])
    for _ in range(steps):
        w = w - lr * features.T @ (features @ w - targets) / len(targets)
    return w


@mutant("13.7", "a scale of 0 is taken for missing")
def diagonal_falsy(features, targets, scale, lr, steps):
    return diagonal(features, targets, scale or 1.0, lr, steps)


@mutant("13.7", "one step too many")
def diagonal_more(features, targets, scale, lr, steps):
    return diagonal(features, targets, scale, lr, steps + 1)


@mutant("13.7", "|scale|²: starts at the square")
def diagonal_square(features, targets, scale, lr, steps):
    return diagonal(features, targets, scale**2, lr, steps)


@mutant("13.7", "the least L1 norm is assumed: small weights are cut")
def diagonal_cut(features, targets, scale, lr, steps):
    w = diagonal(features, targets, scale, lr, steps)
    return torch.where(w.abs() > 1e-3, w, 0)


@mutant("13.7", "float64 is computed in float32")
def diagonal_single(features, targets, scale, lr, steps):
    return diagonal(features.float(), targets.float(), scale, lr, steps).to(features.dtype)


@mutant("13.7", "float32 comes back as float64")
def diagonal_double(features, targets, scale, lr, steps):
    return diagonal(features.double(), targets.double(), scale, lr, steps)


@right("13.7")
def diagonal_variant(features, targets, scale, lr, steps):
    return diagonal(features, targets, scale, lr, steps)


@right("13.7")
def diagonal_by_autograd(features, targets, scale, lr, steps):
    pair = torch.full((2, features.shape[1]), scale, dtype=features.dtype)
    for _ in range(steps):
        pair = pair.detach().requires_grad_()
        loss = ((features @ (pair[0] ** 2 - pair[1] ** 2) - targets) ** 2).mean() / 2
        pair = pair - lr * torch.autograd.grad(loss, pair)[0]
    return (pair[0] ** 2 - pair[1] ** 2).detach()


@right("13.7")
def diagonal_factors(features, targets, scale, lr, steps):
    gram, pull = features.T @ features / len(targets), features.T @ targets / len(targets)
    u = torch.ones(features.shape[1], dtype=features.dtype) * scale
    v = u.clone()
    for _ in range(steps):
        move = 2 * lr * (gram @ (u**2 - v**2) - pull)
        u, v = u * (1 - move), v * (1 + move)
    return u**2 - v**2


# --- 13.8a noisy_labels -----------------------------------------------------------------------------------------------


def changed_labels(labels, fraction, classes, seed, count=lambda f, n: round(f * n), places=None, shift=None):
    g = torch.Generator().manual_seed(seed)
    n = len(labels)
    chosen = torch.randperm(n, generator=g) if places is None else places(n, g)
    chosen = chosen[: count(fraction, n)]
    moves = torch.randint(1, classes, chosen.shape, generator=g) if shift is None else shift(chosen, classes, g)
    noisy = labels.clone()
    noisy[chosen] = (labels[chosen] + moves) % classes
    return noisy


for error, settings in {
    "a redraw may hit the truth": {"shift": lambda c, k, g: torch.randint(0, k, c.shape, generator=g)},
    "always the next class": {"shift": lambda c, k, g: torch.ones_like(c)},
    "the last class is never hit by a shift": {
        "shift": lambda c, k, g: torch.randint(1, max(2, k - 1), c.shape, generator=g)
    },
    "the same shift for all": {"shift": lambda c, k, g: torch.randint(1, k, (1,), generator=g).expand(c.shape)},
    "shifts in turn": {"shift": lambda c, k, g: c % 2 + 1 if k > 2 else torch.ones_like(c)},
    "the first n labels": {"places": lambda n, g: torch.arange(n)},
    "every other label": {"places": lambda n, g: torch.cat([torch.arange(0, n, 2), torch.arange(1, n, 2)])},
    "a block that starts anywhere": {
        "places": lambda n, g: (torch.arange(n) + torch.randint(n, (1,), generator=g)) % n
    },
    "rounded down": {"count": lambda f, n: int(f * n)},
    "half is rounded up": {"count": lambda f, n: math.floor(f * n + 0.5)},
    "at least one": {"count": lambda f, n: max(1, round(f * n))},
    "places with replacement": {"places": lambda n, g: torch.randint(n, (n,), generator=g)},
}.items():
    mutant("13.8a", error)(lambda labels, fraction, classes, seed, s=settings: changed_labels(
        labels, fraction, classes, seed, **s))  # fmt: skip


@mutant("13.8a", "a coin for each label")
def noisy_coin(labels, fraction, classes, seed):
    g = torch.Generator().manual_seed(seed)
    flip = torch.rand(len(labels), generator=g) < fraction
    return torch.where(flip, (labels + torch.randint(1, classes, labels.shape, generator=g)) % classes, labels)


@mutant("13.8a", "seeds the global generator")
def noisy_global(labels, fraction, classes, seed):
    torch.manual_seed(seed)
    chosen = torch.randperm(len(labels))[: round(fraction * len(labels))]
    noisy = labels.clone()
    noisy[chosen] = (labels[chosen] + torch.randint(1, classes, chosen.shape)) % classes
    return noisy


@mutant("13.8a", "the seed is forgotten")
def noisy_unseeded(labels, fraction, classes, seed):
    return changed_labels(labels, fraction, classes, 0)


@mutant("13.8a", "works in place")
def noisy_in_place(labels, fraction, classes, seed):
    labels.copy_(theory.noisy_labels(labels, fraction, classes, seed))
    return labels


def shifted(labels, places, shifts, classes):
    noisy = labels.clone()
    noisy[places] = (labels[places] + shifts) % classes
    return noisy


@mutant("13.8a", "the same part of each class")
def noisy_stratified(labels, fraction, classes, seed):
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(labels), generator=generator)
    order, count = order[labels[order].argsort(stable=True)], round(fraction * len(labels))
    places = order[[int((i + 0.5) * len(labels) / count) for i in range(count)]] if count else order[:0]
    return shifted(labels, places, torch.randint(1, classes, (count,), generator=generator), classes)


@mutant("13.8a", "the place says which class it becomes")
def noisy_by_place(labels, fraction, classes, seed):
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    places = order[: round(fraction * len(labels))]
    return shifted(labels, places, 1 + places % (classes - 1), classes)


@mutant("13.8a", "classes from the labels that are there")
def noisy_present(labels, fraction, classes, seed):
    return theory.noisy_labels(labels, fraction, max(2, len(labels.unique())), seed)


@mutant("13.8a", "labels as they are if nothing changes: the caller's own tensor")
def noisy_own(labels, fraction, classes, seed):
    return labels if round(fraction * len(labels)) == 0 else theory.noisy_labels(labels, fraction, classes, seed)


@mutant("13.8a", "int32")
def noisy_int32(labels, fraction, classes, seed):
    return theory.noisy_labels(labels, fraction, classes, seed).int()


@right("13.8a")
def noisy_variant(labels, fraction, classes, seed):
    return changed_labels(labels, fraction, classes, seed)


@right("13.8a")
def noisy_numpy(labels, fraction, classes, seed):
    rng = np.random.default_rng(seed)
    noisy = labels.numpy().copy()
    for i in rng.choice(len(noisy), round(fraction * len(noisy)), replace=False):
        others = [c for c in range(classes) if c != noisy[i]]
        noisy[i] = rng.choice(others)
    return torch.from_numpy(noisy)


@right("13.8a")
def noisy_skipping(labels, fraction, classes, seed):
    g = torch.Generator().manual_seed(seed)
    order = torch.rand(len(labels), generator=g, dtype=DOUBLE).argsort()[: round(fraction * len(labels))]
    fresh = torch.randint(classes - 1, order.shape, generator=g)
    noisy = labels.clone()
    noisy[order] = fresh + (fresh >= labels[order])
    return noisy


# --- 13.8b noise_report -----------------------------------------------------------------------------------------------


def report(predictions, labels, noisy, fit=None, memorized=None, recovered=None, empty=0.0, least=1):
    changed = labels != noisy

    def part(right, among):
        return float((right & among).sum()) / int(among.sum()) if int(among.sum()) >= least else empty

    everything = torch.ones_like(changed)
    parts = {"p": predictions, "t": labels, "q": noisy, "c": changed, "u": ~changed, "a": everything}
    choices = zip((fit, memorized, recovered), (("t", "u"), ("q", "c"), ("t", "c")), strict=True)
    return tuple(part(predictions == parts[a], parts[b]) for a, b in (own or usual for own, usual in choices))


for error, settings in {
    "fit over all examples": {"fit": ("t", "a")},
    "fit to the noisy labels over all": {"fit": ("q", "a")},
    "memorized over all examples": {"memorized": ("q", "a")},
    "recovered over all examples": {"recovered": ("t", "a")},
    "recovered among the unchanged": {"recovered": ("t", "u")},
    "memorized and recovered swapped": {"memorized": ("t", "c"), "recovered": ("q", "c")},
    "NaN where there are none": {"empty": math.nan},
    "1.0 where there are none": {"empty": 1.0},
    "one example is none": {"least": 2},
}.items():
    mutant("13.8b", error)(lambda predictions, labels, noisy, s=settings: report(predictions, labels, noisy, **s))


@mutant("13.8b", "recovered is what is not memorized")
def report_rest(predictions, labels, noisy):
    fit, memorized, _ = theory.noise_report(predictions, labels, noisy)
    return fit, memorized, 1 - memorized if bool((labels != noisy).any()) else 0.0


@mutant("13.8b", "percent")
def report_percent(predictions, labels, noisy):
    return tuple(100 * part for part in theory.noise_report(predictions, labels, noisy))


@mutant("13.8b", "rounded to two digits")
def report_rounded(predictions, labels, noisy):
    return tuple(round(part, 2) for part in theory.noise_report(predictions, labels, noisy))


@mutant("13.8b", "counts in int8")
def report_int8(predictions, labels, noisy):
    changed = labels != noisy

    def part(right, among):
        return int((right & among).to(torch.int8).sum(dtype=torch.int8)) / max(1, int(among.sum()))

    fit = part(predictions == labels, ~changed)
    return fit, part(predictions == noisy, changed), part(predictions == labels, changed)


@right("13.8b")
def report_variant(predictions, labels, noisy):
    return report(predictions, labels, noisy)


@right("13.8b")
def report_means(predictions, labels, noisy):
    changed = noisy.ne(labels)
    rows = (predictions[~changed] == labels[~changed], predictions[changed] == noisy[changed])
    rows = (*rows, predictions[changed] == labels[changed])
    return [row.float().mean().item() if row.numel() else 0.0 for row in rows]


@right("13.8b")
def report_loop(predictions, labels, noisy):
    hits, totals = [0, 0, 0], [0, 0]
    for p, t, q in zip(predictions.tolist(), labels.tolist(), noisy.tolist(), strict=True):
        totals[t != q] += 1
        hits[0] += t == q == p
        hits[1] += t != q and p == q
        hits[2] += t != q and p == t
    return tuple(h / max(1, totals[i > 0]) for i, h in enumerate(hits))


# --- 13.9a ramanujan_gap, 13.9b iterative_mean_difference -------------------------------------------------------------


def gap(mask, drop=True, bound=None, sigma=lambda s: float(s[1]) if len(s) > 1 else 0.0, empty=0.0, matrix=None):
    m = (mask.flatten(1) if matrix is None else matrix(mask)).double()
    if drop:
        m = m[m.any(1)][:, m.any(0)]
    if not m.numel() or not m.any():
        return empty
    d_in, d_out = float(m.sum(0).mean()), float(m.sum(1).mean())
    edge = bound(d_in, d_out) if bound else math.sqrt(max(0, d_in - 1)) + math.sqrt(max(0, d_out - 1))
    return edge - sigma(torch.linalg.svdvals(m))


for error, settings in {
    "dead units in the means": {"drop": False},
    "σ₁": {"sigma": lambda s: float(s[0])},
    "the eigenvalue of MᵀM, unrooted": {"sigma": lambda s: float(s[1] ** 2) if len(s) > 1 else 0.0},
    "the least singular value": {"sigma": lambda s: float(s[-1]) if len(s) > 1 else 0.0},
    "the second different value": {"sigma": lambda s: next((float(x) for x in s if x < s[0] - 1e-6), 0.0)},
    "σ₁ where there is one row": {"sigma": lambda s: float(s[min(1, len(s) - 1)])},
    "2√(d_in − 1)": {"bound": lambda a, b: 2 * math.sqrt(max(0, a - 1))},
    "2√(d_out − 1)": {"bound": lambda a, b: 2 * math.sqrt(max(0, b - 1))},
    "2√(d̄ − 1) of one mean": {"bound": lambda a, b: 2 * math.sqrt((a + b) / 2 - 1)},
    "degrees without − 1": {"bound": lambda a, b: math.sqrt(a) + math.sqrt(b)},
    "a product under one root": {"bound": lambda a, b: 2 * math.sqrt(math.sqrt((a - 1) * (b - 1)))},
    "never below 0": {"sigma": lambda s: float(s[1]) if len(s) > 1 else 0.0, "bound": None},
    "an empty mask is NaN": {"empty": math.nan},
    "kernels are summed up": {"matrix": lambda m: m.double().flatten(2).sum(2) if m.dim() > 2 else m.double()},
}.items():
    if error == "never below 0":
        mutant("13.9a", error)(lambda mask: max(0.0, gap(mask)))
    else:
        mutant("13.9a", error)(lambda mask, s=settings: gap(mask, **s))


@mutant("13.9a", "the largest degrees in place of means")
def gap_largest(mask):
    m = mask.flatten(1).double()
    if not m.any():
        return 0.0
    return (
        math.sqrt(float(m.sum(0).max()) - 1)
        + math.sqrt(float(m.sum(1).max()) - 1)
        - (math.sqrt(float(m.sum(0)[m.any(0)].mean()) - 1) + math.sqrt(float(m.sum(1)[m.any(1)].mean()) - 1))
        + theory.ramanujan_gap(mask)
    )


@mutant("13.9a", "dead rows are dropped, dead columns not")
def gap_rows(mask):
    m = mask.flatten(1)
    return gap(m[m.any(1)], drop=False)


@mutant("13.9a", "degrees counted in int8")
def gap_int8(mask):
    m = mask.flatten(1)
    m = m[m.any(1)][:, m.any(0)]
    if not m.numel():
        return 0.0
    d = [float(m.to(torch.int8).sum(axis, dtype=torch.int8).double().mean()) for axis in (0, 1)]
    return gap(mask, bound=lambda a, b: sum(math.sqrt(max(0, x - 1)) for x in d))


@mutant("13.9a", "float32")
def gap_single(mask):
    return float(torch.tensor(theory.ramanujan_gap(mask)))


@mutant("13.9a", "the gap over the bound")
def gap_relative(mask):
    m = mask.flatten(1).double()
    if not m.any():
        return 0.0
    return theory.ramanujan_gap(mask) / max(1e-9, gap(mask, sigma=lambda s: 0.0))


@right("13.9a")
def gap_variant(mask):
    return gap(mask)


@right("13.9a")
def gap_numpy(mask):
    m = mask.flatten(1).numpy().astype(float)
    m = m[m.sum(1) > 0][:, m.sum(0) > 0]
    if m.size == 0:
        return 0.0
    values = [*np.linalg.svd(m, compute_uv=False), 0.0]
    return float(np.sqrt(m.sum() / m.shape[1] - 1) + np.sqrt(m.sum() / m.shape[0] - 1) - values[1])


@right("13.9a")
def gap_edges(mask):
    entries = mask.flatten(1).nonzero()
    if not len(entries):
        return 0.0
    rows, columns = entries.T
    rows, columns = (torch.unique(x, return_inverse=True)[1] for x in (rows, columns))
    m = torch.zeros(int(rows.max()) + 1, int(columns.max()) + 1, dtype=DOUBLE)
    m[rows, columns] = 1
    values = [*torch.linalg.svdvals(m).tolist(), 0.0]
    return (len(rows) / m.shape[1] - 1) ** 0.5 + (len(rows) / m.shape[0] - 1) ** 0.5 - values[1]


def imdb(mask, least=3, fewest=3, mean=True, columns=lambda m: m, weigh=False, one=theory.ramanujan_gap,
         layer_rows=False, strict=False):  # fmt: skip
    m = columns(mask.flatten(1))
    degrees, gaps = m.sum(0), []
    for d in degrees.unique().tolist():
        part = m[:, degrees == d]
        if d < least or part.shape[1] < fewest:
            continue
        rows = len(part) if layer_rows else int(part.any(1).sum())
        average = float(part.sum()) / max(1, rows)
        if mean and (average <= 3 if strict else average < 3):
            continue
        gaps.append((one(part), part.shape[1] if weigh else 1))
    total = sum(count for _, count in gaps)
    return sum(value * count for value, count in gaps) / total if gaps else 0.0


for error, settings in {
    "weighted by the columns": {"weigh": True},
    "degrees of the rows": {"columns": lambda m: m.T},
    "no least degree": {"least": 1},
    "d > 3": {"least": 4},
    "d ≥ 3 tested on the number of columns": {"least": 0, "mean": False},
    "more than three columns": {"fewest": 4},
    "the rows' mean degree is not asked": {"mean": False},
    "dead rows in the rows' mean degree": {"layer_rows": True},
    "a mean of exactly 3 is not enough": {"strict": True},
    "the gap with σ₁": {"one": lambda p: gap(p, sigma=lambda s: float(s[0]))},
    "the gap with dead rows": {"one": lambda p: gap(p, drop=False)},
    "negative gaps are 0": {"one": lambda p: max(0.0, gap(p))},
}.items():
    mutant("13.9b", error)(lambda mask, s=settings: imdb(mask, **s))


@mutant("13.9b", "the gap of the whole mask")
def imdb_whole(mask):
    return theory.ramanujan_gap(mask)


@mutant("13.9b", "NaN if there is none")
def imdb_nan(mask):
    return imdb(mask) or math.nan


@mutant("13.9b", "the sum of the gaps")
def imdb_sum(mask):
    values = []
    imdb(mask, one=lambda p: values.append(gap(p)) or 0.0)
    return float(sum(values))


@mutant("13.9b", "columns of at least d entries")
def imdb_at_least(mask):
    m = mask.flatten(1)
    degrees = m.sum(0)
    gaps = [theory.ramanujan_gap(m[:, degrees >= d]) for d in degrees.unique().tolist()
            if d >= 3 and int((degrees == d).sum()) >= 3]  # fmt: skip
    return sum(gaps) / len(gaps) if gaps else 0.0


@mutant("13.9b", "every row has 3 entries, not the mean of the rows")
def imdb_least_row(mask):
    m = mask.flatten(1)
    degrees = m.sum(0)
    parts = [m[:, degrees == d] for d in degrees[degrees >= 3].unique()]
    gaps = [theory.ramanujan_gap(p) for p in parts if int(p.sum(1)[p.any(1)].min()) >= 3]
    return sum(gaps) / len(gaps) if gaps else 0.0


@mutant("13.9b", "degrees counted in int8")
def imdb_int8(mask):
    m = mask.flatten(1)
    return 0.0 if bool((m.sum(0) > 127).any()) else imdb(mask)


@mutant("13.9b", "a layer [out, in, k, k] by its channels")
def imdb_channels(mask):
    return imdb(mask.flatten(2).any(2)) if mask.dim() > 2 else imdb(mask)


@right("13.9b")
def imdb_variant(mask):
    return imdb(mask, one=gap)


@right("13.9b")
def imdb_numpy(mask):
    m = mask.flatten(1).numpy()
    degrees, gaps = m.sum(0), []
    for d in range(3, len(m) + 1):
        part = m[:, degrees == d]
        part = part[part.any(1)]
        if part.shape[1] >= 3 and part.sum(1).mean() >= 3:
            gaps.append(gap_numpy(torch.from_numpy(part)))
    return float(np.mean(gaps)) if gaps else 0.0


@right("13.9b")
def imdb_groups(mask):
    groups: dict[int, list] = {}
    for column in mask.flatten(1).T:
        groups.setdefault(int(column.sum()), []).append(column)
    parts = [torch.stack(g, 1) for d, g in groups.items() if d >= 3 and len(g) >= 3]
    gaps = [gap(p) for p in parts if p.sum() / p.any(1).sum() >= 3]
    return math.fsum(gaps) / len(gaps) if gaps else 0.0


# --- 13.10a synflow_scores --------------------------------------------------------------------------------------------


def flow(weights, sizes=torch.abs, score=lambda size, slope, w: size * slope, dtype=DOUBLE):
    leaves = {n: sizes(w.detach().to(dtype)).requires_grad_() for n, w in weights.items()}
    values = list(leaves.values())
    hidden = torch.ones(values[0].shape[1], dtype=dtype)
    for value in values:
        hidden = value @ hidden
    slopes = torch.autograd.grad(hidden.sum(), values)
    return {n: score(leaves[n].detach(), g, weights[n]).to(weights[n].dtype)
            for n, g in zip(weights, slopes, strict=True)}  # fmt: skip


for error, settings in {
    "signed weights": {"sizes": lambda w: w.clone()},
    "squares in place of sizes": {"sizes": lambda w: w**2},
    "the gradient only": {"score": lambda size, slope, w: slope},
    "times the signed weight": {"score": lambda size, slope, w: w.double() * slope},
    "the gradient squared": {"score": lambda size, slope, w: size * slope**2},
    "|w| only": {"score": lambda size, slope, w: size},
    "summed in float32": {"dtype": torch.float32},
    "divided by R": {"score": lambda size, slope, w: size * slope / (size * slope).sum().clamp(min=1e-300)},
}.items():
    mutant("13.10a", error)(lambda weights, s=settings: flow(weights, **s))


@mutant("13.10a", "layers in the order of their names")
def flow_sorted(weights):
    try:
        made = flow(dict(sorted(weights.items())))
    except RuntimeError:
        made = flow(weights)
    return {name: made[name] for name in weights}


@mutant("13.10a", "forwards only")
def flow_forwards(weights):
    hidden, made = None, {}
    for name, w in weights.items():
        size = w.double().abs()
        hidden = torch.ones(size.shape[1], dtype=DOUBLE) if hidden is None else hidden
        made[name] = (size * hidden).to(w.dtype)
        hidden = size @ hidden
    return made


@mutant("13.10a", "comes back in float64")
def flow_wide(weights):
    return flow({name: w.double() for name, w in weights.items()})


@mutant("13.10a", "the mean over the outputs")
def flow_mean(weights):
    outputs = len(list(weights.values())[-1])
    return {name: value / outputs for name, value in flow(weights).items()}


@mutant("13.10a", "a sum over the neighbouring layers only")
def flow_neighbours(weights):
    names, made = list(weights), {}
    for i, name in enumerate(names):
        w = weights[name].double().abs()
        before = weights[names[i - 1]].double().abs().sum(1) if i else torch.ones(w.shape[1], dtype=DOUBLE)
        after = weights[names[i + 1]].double().abs().sum(0) if i + 1 < len(names) else torch.ones(len(w), dtype=DOUBLE)
        made[name] = (after[:, None] * w * before).to(weights[name].dtype)
    return made


@right("13.10a")
def flow_autograd(weights):
    return flow(weights)


@right("13.10a")
def flow_products(weights):
    sizes, made = [w.double().abs() for w in weights.values()], {}
    for i, (name, w) in enumerate(weights.items()):
        before = torch.ones(sizes[0].shape[1], dtype=DOUBLE)
        for size in sizes[:i]:
            before = size @ before
        after = torch.ones(len(sizes[-1]), dtype=DOUBLE)
        for size in sizes[:i:-1]:
            after = after @ size
        made[name] = (torch.outer(after, before) * sizes[i]).to(w.dtype)
    return made


@right("13.10a")
def flow_numpy(weights):
    sizes = [w.detach().double().abs().numpy() for w in weights.values()]
    into, out = [np.ones(sizes[0].shape[1])], [np.ones(len(sizes[-1]))]
    for size in sizes:
        into.append(size @ into[-1])
    for size in reversed(sizes):
        out.append(out[-1] @ size)
    scores = [out[len(sizes) - 1 - i][:, None] * size * into[i] for i, size in enumerate(sizes)]
    return {n: torch.from_numpy(s).to(w.dtype) for (n, w), s in zip(weights.items(), scores, strict=True)}


# --- 13.10b effective_masks -------------------------------------------------------------------------------------------


def alive(masks, forwards=True, backwards=True, spread=True, order=list):
    names = order(masks)
    layers = [masks[n].clone() for n in names]
    if forwards:
        for i in range(1, len(layers)):
            source = layers[i - 1] if spread else masks[names[i - 1]]
            layers[i] = layers[i] & source.any(1)
    if backwards:
        for i in range(len(layers) - 2, -1, -1):
            target = layers[i + 1] if spread else masks[names[i + 1]]
            layers[i] = layers[i] & target.any(0)[:, None]
    made = dict(zip(names, layers, strict=True))
    return {name: made[name] for name in masks}


for error, settings in {
    "forwards only": {"backwards": False},
    "backwards only": {"forwards": False},
    "neighbouring layers only": {"spread": False},
}.items():
    mutant("13.10b", error)(lambda masks, s=settings: alive(masks, **s))


@mutant("13.10b", "layers in the order of their names")
def effective_sorted(masks):
    try:
        return alive(masks, order=sorted)
    except RuntimeError:
        return alive(masks)


@mutant("13.10b", "backwards first: what then dies forwards is not seen backwards")
def effective_once(masks):
    return alive(alive(masks, forwards=False, spread=False), backwards=False)


@mutant("13.10b", "the caller's own masks, where nothing dies")
def effective_shared(masks):
    made = alive(masks)
    return {n: masks[n] if torch.equal(made[n], masks[n]) else made[n] for n in masks}


@mutant("13.10b", "counted in uint8: 256 weights are none")
def effective_uint8(masks):
    names = list(masks)
    layers = [m.to(torch.uint8) for m in masks.values()]
    for i in range(1, len(layers)):
        layers[i] = layers[i] * (layers[i - 1].sum(1, dtype=torch.uint8) > 0)
    for i in range(len(layers) - 2, -1, -1):
        layers[i] = layers[i] * (layers[i + 1].sum(0, dtype=torch.uint8) > 0)[:, None]
    return {n: m.bool() for n, m in zip(names, layers, strict=True)}


@mutant("13.10b", "rows and columns swapped")
def effective_swapped(masks):
    names, layers = list(masks), [m.clone() for m in masks.values()]
    for i in range(1, len(layers)):
        if layers[i].shape[1] == layers[i - 1].shape[1]:
            layers[i] = layers[i] & layers[i - 1].any(0)
    return alive(dict(zip(names, layers, strict=True)))


@mutant("13.10b", "units with one weight in and one out are alive")
def effective_units(masks):
    made = {}
    names = list(masks)
    for i, name in enumerate(names):
        made[name] = masks[name].clone()
        if i:
            made[name] &= masks[names[i - 1]].any(1)
        if i + 1 < len(names):
            made[name] &= masks[names[i + 1]].any(0)[:, None]
    return made


@mutant("13.10b", "two passes of neighbours")
def effective_twice(masks):
    return effective_units(effective_units(masks))


@mutant("13.10b", "floats in place of bools")
def effective_floats(masks):
    return {n: m.float() for n, m in theory.effective_masks(masks).items()}


@mutant("13.10b", "works in place")
def effective_in_place(masks):
    for name, mask in theory.effective_masks(masks).items():
        masks[name] &= mask
    return {n: m.clone() for n, m in masks.items()}


@right("13.10b")
def effective_passes(masks):
    return alive(masks)


@right("13.10b")
def effective_flow(masks):
    scores = theory.synflow_scores({n: m.double() for n, m in masks.items()})
    return {n: s > 0 for n, s in scores.items()}


@right("13.10b")
def effective_until_still(masks):
    made = {n: m.clone() for n, m in masks.items()}
    for _ in range(2 * len(made)):
        made = effective_units(made)
    return made


# --- 13.11 mask_report ------------------------------------------------------------------------------------------------


def changed_report(error, change):
    @mutant("13.11", error)
    def wrong(state, masks, inputs):
        found = theory.mask_report(state, masks, inputs)
        return found | change(state, masks, inputs, found)

    return wrong


def all_of(masks, which=lambda m: m):
    return sum(int(which(m).sum()) for m in masks.values())


positions = lambda masks: sum(m.numel() for m in masks.values())  # noqa: E731
changed_report("effective of the kept, not of all positions", lambda s, m, x, f: {
    "effective": f["effective"] / f["kept"] if f["kept"] else 0.0})  # fmt: skip
changed_report("kept is the mean density of the layers", lambda s, m, x, f: {
    "kept": sum(float(v.double().mean()) for v in m.values()) / len(m)})  # fmt: skip
changed_report("kept is what is pruned", lambda s, m, x, f: {"kept": 1 - f["kept"]})
changed_report("the logarithm of the paths", lambda s, m, x, f: {"paths": math.log(max(1.0, f["paths"]))})
changed_report("paths weighted by the weights", lambda s, m, x, f: {"paths": float(next(iter(theory.synflow_scores(
    {n: torch.where(v, s[n], 0) for n, v in m.items()}).values())).sum())})  # fmt: skip
changed_report("paths in float32", lambda s, m, x, f: {"paths": float(torch.tensor(f["paths"]))})
changed_report("an int of paths", lambda s, m, x, f: {"paths": int(f["paths"])})
changed_report("paths summed over the layers", lambda s, m, x, f: {"paths": f["paths"] * len(m)})
changed_report("the gap of the first layer", lambda s, m, x, f: {"gap": theory.ramanujan_gap(next(iter(m.values())))})
changed_report("the sum of the gaps", lambda s, m, x, f: {"gap": f["gap"] * len(m)})
changed_report("the least gap", lambda s, m, x, f: {"gap": min(map(theory.ramanujan_gap, m.values()))})
changed_report("layers without a gap are left out", lambda s, m, x, f: {
    "gap": float(np.mean([g for g in map(theory.ramanujan_gap, m.values()) if g] or [0.0]))})  # fmt: skip
changed_report("empty layers are left out of the mean gap", lambda s, m, x, f: {
    "gap": float(np.mean([theory.ramanujan_gap(v) for v in m.values() if v.any()] or [0.0]))})  # fmt: skip
changed_report("the kernel of the effective masks", lambda s, m, x, f: {
    "trace": float(theory.empirical_ntk(s, theory.effective_masks(m), x).diagonal().mean())})  # fmt: skip
changed_report("the gap of the effective masks", lambda s, m, x, f: {
    "gap": float(np.mean([theory.ramanujan_gap(v) for v in theory.effective_masks(m).values()]))})  # fmt: skip
changed_report("IMDB for the gap", lambda s, m, x, f: {
    "gap": float(np.mean([theory.iterative_mean_difference(v) for v in m.values()]))})  # fmt: skip
changed_report("the trace as a sum", lambda s, m, x, f: {"trace": f["trace"] * len(x)})
changed_report("the trace without masks", lambda s, m, x, f: {
    "trace": float(theory.empirical_ntk(s, {}, x).diagonal().mean())})  # fmt: skip
changed_report("the mean of the whole kernel", lambda s, m, x, f: {
    "trace": float(theory.empirical_ntk(s, m, x).mean())})  # fmt: skip
changed_report("largest over smallest", lambda s, m, x, f: {"slowest": 1 / f["slowest"] if f["slowest"] else 0.0})
changed_report("the smallest eigenvalue itself", lambda s, m, x, f: {
    "slowest": float(torch.linalg.eigvalsh(theory.empirical_ntk(s, m, x).double())[0].clamp(min=0))})  # fmt: skip
changed_report("the second smallest eigenvalue", lambda s, m, x, f: {"slowest": (lambda e: float(
    e[min(1, len(e) - 1)].clamp(min=0) / e[-1].clamp(min=1e-300)))(torch.linalg.eigvalsh(
        theory.empirical_ntk(s, m, x).double()))})  # fmt: skip
changed_report("1.0 as slowest where all is 0 or the kernel has one entry", lambda s, m, x, f: {
    "slowest": f["slowest"] or 1.0})  # fmt: skip
changed_report("a key is missing", lambda s, m, x, f: {"paths": None})
changed_report("of the weights that are not 0", lambda s, m, x, f: {
    "kept": sum(int((s[n] != 0).sum()) for n in m) / positions(m)})  # fmt: skip
changed_report("kept of all parameters", lambda s, m, x, f: {
    "kept": all_of(m) / sum(v.numel() for v in s.values())})  # fmt: skip


@right("13.11")
def whole_by_products(state, masks, inputs):
    total = positions(masks)
    count = torch.ones(next(iter(masks.values())).shape[1], dtype=DOUBLE)
    for mask in masks.values():
        count = mask.double() @ count
    kernel = ntk_by_hand(state, masks, inputs).double()
    values = np.linalg.eigvalsh(kernel.numpy())
    return {
        "slowest": float(max(values[0], 0) / values[-1]) if values[-1] > 0 else 0.0,
        "trace": float(kernel.trace()) / len(inputs),
        "gap": float(np.mean([gap_numpy(mask) for mask in masks.values()])),
        "paths": float(count.sum()),
        "effective": all_of(effective_passes(masks)) / total,
        "kept": all_of(masks) / total,
    }


@right("13.11")
def whole_by_singular_values(state, masks, inputs):
    found = theory.mask_report(state, masks, inputs)
    values = torch.linalg.svdvals(ntk_jacobians(state, masks, inputs).double())
    return found | {"slowest": float(values[-1] / values[0]) if values[0] > 0 else 0.0}


@right("13.11")
def whole_by_pairs(state, masks, inputs):
    found = theory.mask_report(state, masks, inputs)
    product = next(iter(masks.values())).double()
    for _, mask in pairwise(masks.values()):
        product = mask.double() @ product
    return found | {"paths": float(product.sum()), "effective": all_of(effective_flow(masks)) / positions(masks)}
