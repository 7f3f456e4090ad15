"""Mutants and right variants of unit 04."""

import re
from itertools import pairwise

import numpy as np
import torch

from course_utils import structured
from tests.checks.catalogue import mutant, right

EQUIVALENT = {
    "remove_filters: (alive & ~keep).nonzero().flatten() -> (alive & ~keep).nonzero()": "the message says [3] for 3",
    "remove_filters: 0 -> -1": "the message names the last that may not go; a 0 compared with is killed elsewhere",
    "shrink_network: True -> False": "strict=False, with as many weights as biases",
    "shrink_network: zip(names, parts, strict=True) -> zip(names, parts)": "as above",
    "shrink_network: zip(weights, biases, strict=True) -> zip(weights, biases)": "as above",
}

# --- 4.1a filter_norms, 4.1b channel_norms ----------------------------------------------------------------------------


def both_norms(error, of_groups):
    """The same mistake (or none) in both: a function of [groups, entries]."""
    decorate = (lambda exercise: mutant(exercise, error)) if error else right

    @decorate("4.1a")
    def filters(weight):
        return of_groups(weight.reshape(len(weight), -1))

    @decorate("4.1b")
    def channels(weight):
        return of_groups(weight.transpose(0, 1).reshape(weight.shape[1], -1))


both_norms("the root of a sum: its gradient at 0 is NaN", lambda g: (g**2).sum(1).sqrt())
both_norms("an ε under the root", lambda g: ((g**2).sum(1) + 1e-12).sqrt())
both_norms("a floor under the root: a dead group has a length", lambda g: (g**2).sum(1).clamp(min=1e-30).sqrt())
both_norms("squared", lambda g: (g**2).sum(1))
both_norms("L1", lambda g: g.abs().sum(1))
both_norms("the largest entry", lambda g: g.abs().amax(1) if g.shape[1] else g.sum(1))
both_norms("root mean square", lambda g: torch.linalg.vector_norm(g, dim=1) / max(1, g.shape[1]) ** 0.5)
both_norms("in float32", lambda g: torch.linalg.vector_norm(g.float(), dim=1))
both_norms("in float64", lambda g: torch.linalg.vector_norm(g.double(), dim=1))
both_norms("cut off from its input", lambda g: torch.linalg.vector_norm(g.detach(), dim=1))
both_norms("tiny norms are 0", lambda g: torch.linalg.vector_norm(g, dim=1) * (g.abs() > 1e-9).any(1))
both_norms(
    "the length along a direction that has a floor",
    lambda g: (g * (g / torch.linalg.vector_norm(g, dim=1, keepdim=True).clamp(min=1e-6))).sum(1),
)
both_norms("", lambda g: torch.linalg.norm(g, dim=1))
both_norms("", lambda g: torch.stack([row.norm() for row in g]))


@mutant("4.1a", "norms of the channels")
def filter_norms_of_channels(weight):
    return structured.channel_norms(weight)


@mutant("4.1b", "norms of the filters")
def channel_norms_of_filters(weight):
    return structured.filter_norms(weight)


@mutant("4.1a", "only for convolutions")
def filter_norms_4d(weight):
    return torch.linalg.vector_norm(weight, dim=(1, 2, 3))


@mutant("4.1b", "only for convolutions")
def channel_norms_4d(weight):
    return torch.linalg.vector_norm(weight, dim=(0, 2, 3))


@mutant("4.1a", "per kernel: only the axes after the channels")
def filter_norms_per_kernel(weight):
    return torch.linalg.vector_norm(weight.flatten(2), dim=2) if weight.dim() > 2 else weight.abs()


@mutant("4.1a", "the last axis stays")
def filter_norms_last_axis(weight):
    return torch.linalg.vector_norm(weight, dim=-1)


@mutant("4.1b", "reshaped without moving the axis")
def channel_norms_reshaped(weight):
    return torch.linalg.vector_norm(weight.reshape(weight.shape[1], -1), dim=1)


@mutant("4.1a", "view needs contiguous memory")
def filter_norms_view(weight):
    return torch.linalg.vector_norm(weight.view(len(weight), -1), dim=1)


@right("4.1a")
def filter_norms_all_axes(weight):
    return torch.linalg.vector_norm(weight, dim=tuple(range(1, weight.dim())))


@right("4.1b")
def channel_norms_all_axes(weight):
    return torch.linalg.vector_norm(weight, dim=(0, *range(2, weight.dim())))


# --- 4.2 group_lasso --------------------------------------------------------------------------------------------------


def penalty(weights, alpha, beta, filters=structured.filter_norms, channels=structured.channel_norms):
    return torch.stack([alpha * filters(w).sum() + beta * channels(w).sum() for w in weights]).sum()


@mutant("4.2", "a strength of 0 is taken for missing")
def lasso_falsy(weights, filter_strength=None, channel_strength=None):
    return penalty(weights, filter_strength or 1.0, channel_strength or 1.0)


@mutant("4.2", "the strengths are swapped")
def lasso_swapped(weights, filter_strength=1.0, channel_strength=1.0):
    return penalty(weights, channel_strength, filter_strength)


@mutant("4.2", "filters only")
def lasso_filters(weights, filter_strength=1.0, channel_strength=1.0):
    return penalty(weights, filter_strength, 0.0)


@mutant("4.2", "one strength for both")
def lasso_one_strength(weights, filter_strength=1.0, channel_strength=1.0):
    return penalty(weights, filter_strength, filter_strength)


@mutant("4.2", "weighted by the root of the size")
def lasso_sizes(weights, filter_strength=1.0, channel_strength=1.0):
    return sum(
        filter_strength * (w.numel() / len(w)) ** 0.5 * structured.filter_norms(w).sum()
        + channel_strength * (w.numel() / w.shape[1]) ** 0.5 * structured.channel_norms(w).sum()
        for w in weights
    )


@mutant("4.2", "mean over the layers")
def lasso_mean(weights, filter_strength=1.0, channel_strength=1.0):
    return penalty(weights, filter_strength, channel_strength) / len(weights)


@mutant("4.2", "mean over the groups")
def lasso_group_mean(weights, filter_strength=1.0, channel_strength=1.0):
    return sum(
        filter_strength * structured.filter_norms(w).mean() + channel_strength * structured.channel_norms(w).mean()
        for w in weights
    )


@mutant("4.2", "squared norms: ridge, not lasso")
def lasso_squared(weights, filter_strength=1.0, channel_strength=1.0):
    return sum(
        filter_strength * (structured.filter_norms(w) ** 2).sum()
        + channel_strength * (structured.channel_norms(w) ** 2).sum()
        for w in weights
    )


@mutant("4.2", "a norm with NaN in its gradient at 0")
def lasso_nan(weights, filter_strength=1.0, channel_strength=1.0):
    def norms(w, dim):
        return (w.movedim(dim, 0).flatten(1) ** 2).sum(1).sqrt()

    return penalty(weights, filter_strength, channel_strength, lambda w: norms(w, 0), lambda w: norms(w, 1))


@mutant("4.2", "a Python number: no gradient")
def lasso_number(weights, filter_strength=1.0, channel_strength=1.0):
    return torch.tensor(float(penalty(weights, filter_strength, channel_strength)), dtype=weights[0].dtype)


@mutant("4.2", "the last layer only")
def lasso_last(weights, filter_strength=1.0, channel_strength=1.0):
    return penalty(weights[-1:], filter_strength, channel_strength)


@mutant("4.2", "layers with one channel are passed over")
def lasso_wide(weights, filter_strength=1.0, channel_strength=1.0):
    wide = [w for w in weights if w.shape[1] > 1] or weights
    return penalty(wide, filter_strength, channel_strength)


@mutant("4.2", "summed in float32")
def lasso_float32(weights, filter_strength=1.0, channel_strength=1.0):
    return penalty([w.float() for w in weights], filter_strength, channel_strength)


@right("4.2")
def lasso_loop(weights, filter_strength=1.0, channel_strength=1.0):
    total = torch.zeros((), dtype=weights[0].dtype)
    for weight in weights:
        for group in weight.unbind(0):
            total = total + filter_strength * group.norm()
        for group in weight.unbind(1):
            total = total + channel_strength * group.norm()
    return total


@right("4.2")
def lasso_sum(weights, filter_strength=1.0, channel_strength=1.0):
    return sum(filter_strength * structured.filter_norms(w).sum() for w in weights) + sum(
        channel_strength * structured.channel_norms(w).sum() for w in weights
    )


@right("4.2")
def lasso_concatenated(weights, filter_strength=1.0, channel_strength=1.0):
    rows = torch.cat([structured.filter_norms(w) for w in weights])
    columns = torch.cat([structured.channel_norms(w) for w in weights])
    return torch.cat([filter_strength * rows, channel_strength * columns]).sum()


# --- 4.3a shrink_groups -----------------------------------------------------------------------------------------------


def other_axes(weight, dim):
    return [axis for axis in range(weight.dim()) if axis != dim % weight.dim()]


def norms_along(weight, dim):
    """Norms that broadcast against the weight."""
    other = other_axes(weight, dim)
    return torch.linalg.vector_norm(weight, dim=other, keepdim=True) if other else weight.abs()


def shrink_mutant(error, factor, norms=norms_along):
    @mutant("4.3a", error)
    def changed(weight, threshold, dim):
        return weight * factor(norms(weight, dim), threshold)


def soft(n, t):
    return torch.where(n > t, 1 - t / n, 0)


shrink_mutant("0/0 at a dead group", lambda n, t: (1 - t / n).clamp(min=0))
shrink_mutant("an ε beside the norm", lambda n, t: (1 - t / (n + 1e-8)).clamp(min=0))
shrink_mutant("a floor under the norm", lambda n, t: (1 - t / n.clamp(min=1e-6)).clamp(min=0))
shrink_mutant("hard threshold: what is long stays as it is", lambda n, t: (n > t).to(n.dtype))
shrink_mutant("not clamped: short groups turn round", lambda n, t: torch.where(n > 0, 1 - t / n, 0))
shrink_mutant("the norm squared", lambda n, t: soft(n**2, t))
shrink_mutant("divided by 1 + t/‖w‖", lambda n, t: torch.where(n > t, 1 / (1 + t / n), 0))
shrink_mutant("a threshold of the longest", lambda n, t: torch.where(n > t * n.max(), 1 - t / n, 0))
shrink_mutant("a norm that equals t stays", lambda n, t: torch.where(n >= t, soft(n, t).clamp(min=1e-9), 0))
shrink_mutant("in float32", lambda n, t: soft(n.float(), t))
shrink_mutant("t of 0 is taken for missing", lambda n, t: soft(n, t or 1e-3))
shrink_mutant("elementwise", soft, norms=lambda w, dim: w.abs())
shrink_mutant("always filters", soft, norms=lambda w, dim: norms_along(w, 0))
shrink_mutant(
    "the axis is summed over, not kept", soft, norms=lambda w, dim: torch.linalg.vector_norm(w, dim=dim, keepdim=True)
)
shrink_mutant(
    "L1 norms",
    soft,
    norms=lambda w, dim: torch.linalg.vector_norm(w, 1, dim=other_axes(w, dim) or dim, keepdim=True),
)
shrink_mutant(
    "of a 1-D weight one group is made",
    soft,
    norms=lambda w, dim: torch.linalg.vector_norm(w, dim=other_axes(w, dim), keepdim=True),
)
shrink_mutant(
    "negative axes are not understood",
    soft,
    norms=lambda w, dim: torch.linalg.vector_norm(w, dim=[a for a in range(w.dim()) if a != dim], keepdim=True),
)


@mutant("4.3a", "at t = 0 the weight itself is returned")
def shrink_shared(weight, threshold, dim):
    return structured.shrink_groups(weight, threshold, dim) if threshold else weight


@mutant("4.3a", "in place")
def shrink_in_place(weight, threshold, dim):
    weight *= structured.shrink_groups(torch.ones_like(weight), 0, dim)
    weight.copy_(structured.shrink_groups(weight, threshold, dim))
    return weight


@right("4.3a")
def shrink_loop(weight, threshold, dim):
    groups = []
    for group in weight.unbind(dim):
        norm = torch.linalg.vector_norm(group)
        groups.append(group * ((norm - threshold) / norm) if norm > threshold else torch.zeros_like(group))
    return torch.stack(groups, dim)


@right("4.3a")
def shrink_projection(weight, threshold, dim):
    norms = norms_along(weight, dim)
    # What is taken away: the group, pulled onto the ball of radius t
    return torch.where(norms > threshold, weight - threshold * weight / norms, torch.zeros_like(weight))


@right("4.3a")
def shrink_renormalized(weight, threshold, dim):
    norms = norms_along(weight, dim)
    units = torch.where(norms > 0, weight / norms, torch.zeros_like(weight))
    return units * (norms - threshold).clamp(min=0)


# --- 4.3b proximal_step -----------------------------------------------------------------------------------------------

shrink = structured.shrink_groups


@mutant("4.3b", "the threshold has no lr")
def step_no_lr(weight, gradient, lr, filter_strength, channel_strength):
    return shrink(shrink(weight - lr * gradient, filter_strength, 0), channel_strength, 1)


@mutant("4.3b", "shrinks before it descends")
def step_shrinks_first(weight, gradient, lr, filter_strength, channel_strength):
    return shrink(shrink(weight, lr * filter_strength, 0), lr * channel_strength, 1) - lr * gradient


@mutant("4.3b", "channels first")
def step_channels_first(weight, gradient, lr, filter_strength, channel_strength):
    return shrink(shrink(weight - lr * gradient, lr * channel_strength, 1), lr * filter_strength, 0)


@mutant("4.3b", "both thresholds judged before either shrinks")
def step_at_once(weight, gradient, lr, filter_strength, channel_strength):
    descended = weight - lr * gradient
    rows, columns = shrink(descended, lr * filter_strength, 0), shrink(descended, lr * channel_strength, 1)
    return torch.where(descended == 0, descended, rows * columns / descended)


@mutant("4.3b", "the strengths are swapped")
def step_swapped(weight, gradient, lr, filter_strength, channel_strength):
    return shrink(shrink(weight - lr * gradient, lr * channel_strength, 0), lr * filter_strength, 1)


@mutant("4.3b", "up the loss")
def step_up(weight, gradient, lr, filter_strength, channel_strength):
    return shrink(shrink(weight + lr * gradient, lr * filter_strength, 0), lr * channel_strength, 1)


@mutant("4.3b", "filters only")
def step_filters(weight, gradient, lr, filter_strength, channel_strength):
    return shrink(weight - lr * gradient, lr * filter_strength, 0)


@mutant("4.3b", "channels along the last axis")
def step_last_axis(weight, gradient, lr, filter_strength, channel_strength):
    return shrink(shrink(weight - lr * gradient, lr * filter_strength, 0), lr * channel_strength, -1)


@mutant("4.3b", "dead filters stay dead, whatever their gradient")
def step_dead_for_good(weight, gradient, lr, filter_strength, channel_strength):
    stepped = structured.proximal_step(weight, gradient, lr, filter_strength, channel_strength)
    alive = (weight != 0).flatten(1).any(1).view(-1, *[1] * (weight.dim() - 1))
    return torch.where(alive, stepped, torch.zeros_like(stepped))


@mutant("4.3b", "the subgradient of the norm in place of the proximal step")
def step_subgradient(weight, gradient, lr, filter_strength, channel_strength):
    with torch.enable_grad():
        leaf = weight.detach().requires_grad_()
        (slope,) = torch.autograd.grad(structured.group_lasso([leaf], filter_strength, channel_strength), leaf)
    return weight - lr * (gradient + slope)


@mutant("4.3b", "the weight is moved in place")
def step_in_place(weight, gradient, lr, filter_strength, channel_strength):
    weight -= lr * gradient
    return shrink(shrink(weight, lr * filter_strength, 0), lr * channel_strength, 1)


@right("4.3b")
def step_by_loops(weight, gradient, lr, filter_strength, channel_strength):
    weight = weight - gradient * lr
    weight = shrink_loop(weight, filter_strength * lr, 0)
    return shrink_loop(weight, channel_strength * lr, 1)


@right("4.3b")
def step_skips_zero(weight, gradient, lr, filter_strength, channel_strength):
    weight = torch.sub(weight, gradient, alpha=lr)
    if filter_strength > 0:
        weight = shrink_renormalized(weight, lr * filter_strength, 0)
    if channel_strength > 0:
        weight = shrink_renormalized(weight, lr * channel_strength, -weight.dim() + 1)
    return weight


@right("4.3b")
def step_in_units_of_lr(weight, gradient, lr, filter_strength, channel_strength):
    rows = shrink((weight - lr * gradient) / lr, filter_strength, 0)
    return lr * shrink(rows, channel_strength, 1)


# --- 4.4 remove_filters -----------------------------------------------------------------------------------------------


def cut_with(
    weight, bias, next_weight, next_bias, keep, relu=False, *,
    constant=lambda bias, relu: bias.relu() if relu else bias,
    blocks=lambda after, n: after.reshape(len(after), n, -1),
    mine=lambda read: read.sum(2),
    dead=lambda weight: (weight.flatten(1) == 0).all(1),
    unread=lambda read: (read == 0).all(2).all(0),
    refuse=True, fold=lambda next_bias, added: next_bias + added,
):  # fmt: skip
    """The reference, with holes for errors."""
    read = blocks(next_weight, len(weight))
    wrong = (~(dead(weight) | unread(read)) & ~keep).nonzero().flatten().tolist()
    if refuse and wrong:
        raise ValueError(f"filter {wrong[0]} is alive")
    if not keep.any():
        raise ValueError("no filter is left")
    added = mine(read)[:, ~keep] @ constant(bias, relu)[~keep]
    smaller = read[:, keep].reshape(len(next_weight), -1, *next_weight.shape[2:])
    return weight[keep], bias[keep], smaller, fold(next_bias, added)


def cut_mutant(error, **holes):
    @mutant("4.4", error)
    def changed(weight, bias, next_weight, next_bias, keep, relu=False):
        return cut_with(weight, bias, next_weight, next_bias, keep, relu, **holes)


cut_mutant("the bias is dropped", fold=lambda next_bias, added: next_bias.clone())
cut_mutant("the ReLU is always there", constant=lambda bias, relu: bias.relu())
cut_mutant("the ReLU is never there", constant=lambda bias, relu: bias)
cut_mutant("ReLU the wrong way round", constant=lambda bias, relu: bias if relu else bias.relu())
cut_mutant("|bias| with ReLU", constant=lambda bias, relu: bias.abs() if relu else bias)
cut_mutant("one next weight a filter, not all of its kernel", mine=lambda read: read[:, :, 0])
cut_mutant("the mean of the next weights", mine=lambda read: read.mean(2))
cut_mutant("the constant is taken away", fold=lambda next_bias, added: next_bias - added)
cut_mutant("the next bias is replaced", fold=lambda next_bias, added: added)
cut_mutant("one constant for all outputs", fold=lambda next_bias, added: next_bias + added.mean())
cut_mutant("what is alive goes too", refuse=False)
cut_mutant("dead is small", dead=lambda weight: (weight.flatten(1).abs() < 1e-8).all(1))
cut_mutant("dead is a sum of 0", dead=lambda weight: weight.flatten(1).sum(1) == 0)
cut_mutant("NaN is dead", dead=lambda weight: ~(weight.flatten(1).abs().sum(1) > 0))
cut_mutant("NaN is unread", unread=lambda read: ~(read.abs().sum(2) > 0).any(0))
cut_mutant("dead is any zero", dead=lambda weight: (weight.flatten(1) == 0).any(1))
cut_mutant("unread is a sum of 0", unread=lambda read: (read.sum(2) == 0).all(0))
cut_mutant("unread is small", unread=lambda read: (read.abs() < 1e-8).all(2).all(0))
cut_mutant("unread by one output is unread", unread=lambda read: (read == 0).all(2).any(0))
cut_mutant("unread filters may not go", unread=lambda read: torch.zeros(read.shape[1], dtype=torch.bool))
cut_mutant("dead filters may not go", dead=lambda weight: torch.zeros(len(weight), dtype=torch.bool))
cut_mutant(
    "flattened columns interleaved",
    blocks=lambda after, n: (
        after.reshape(len(after), n, -1) if after.dim() > 2 else after.reshape(len(after), -1, n).transpose(1, 2)
    ),
)
cut_mutant("folded in place", fold=lambda next_bias, added: next_bias.add_(added))


@mutant("4.4", "the mask selects what goes")
def cut_inverted(weight, bias, next_weight, next_bias, keep, relu=False):
    return cut_with(weight, bias, next_weight, next_bias, ~keep, relu, refuse=False)


@mutant("4.4", "the next layer keeps its channels")
def cut_one_side(weight, bias, next_weight, next_bias, keep, relu=False):
    got = structured.remove_filters(weight, bias, next_weight, next_bias, keep, relu)
    return got[0], got[1], next_weight.clone(), got[3]


@mutant("4.4", "one column a filter after flattening")
def cut_columns_one(weight, bias, next_weight, next_bias, keep, relu=False):
    got = structured.remove_filters(weight, bias, next_weight, next_bias, keep, relu)
    return got[0], got[1], next_weight[:, : len(keep)][:, keep], got[3]


@mutant("4.4", "the kept filters' constants are folded too")
def cut_folds_all(weight, bias, next_weight, next_bias, keep, relu=False):
    got = structured.remove_filters(weight, bias, next_weight, next_bias, keep, relu)
    read = next_weight.reshape(len(next_weight), len(weight), -1).sum(2)
    return *got[:3], next_bias + read @ (bias.relu() if relu else bias)


@mutant("4.4", "kept filters that are dead go too")
def cut_more(weight, bias, next_weight, next_bias, keep, relu=False):
    alive = (weight.flatten(1) != 0).any(1)
    structured.remove_filters(weight, bias, next_weight, next_bias, keep, relu)
    return structured.remove_filters(weight, bias, next_weight, next_bias, keep & alive, relu)


@mutant("4.4", "nothing to remove: the arguments themselves")
def cut_shared(weight, bias, next_weight, next_bias, keep, relu=False):
    if keep.all():
        return weight, bias, next_weight, next_bias
    return structured.remove_filters(weight, bias, next_weight, next_bias, keep, relu)


@mutant("4.4", "IndexError for what is alive")
def cut_other_error(weight, bias, next_weight, next_bias, keep, relu=False):
    try:
        return structured.remove_filters(weight, bias, next_weight, next_bias, keep, relu)
    except ValueError as error:
        raise IndexError(str(error)) from error


@mutant("4.4", "the message names no filter")
def cut_silent(weight, bias, next_weight, next_bias, keep, relu=False):
    try:
        return structured.remove_filters(weight, bias, next_weight, next_bias, keep, relu)
    except ValueError as error:
        raise ValueError("a filter is alive") from error


@mutant("4.4", "the message names all that go")
def cut_names_all(weight, bias, next_weight, next_bias, keep, relu=False):
    try:
        return structured.remove_filters(weight, bias, next_weight, next_bias, keep, relu)
    except ValueError as error:
        raise ValueError(f"one of {(~keep).nonzero().flatten().tolist()} is alive") from error


@mutant("4.4", "the message counts from 1")
def cut_counts_from_one(weight, bias, next_weight, next_bias, keep, relu=False):
    try:
        return structured.remove_filters(weight, bias, next_weight, next_bias, keep, relu)
    except ValueError as error:
        text = re.sub(r"Filter (\d+)", lambda found: f"Filter {int(found[1]) + 1}", str(error))
        raise ValueError(text) from error


@mutant("4.4", "the message counts among those that go")
def cut_counts_from_there(weight, bias, next_weight, next_bias, keep, relu=False):
    gone = ~keep
    read = next_weight.reshape(len(next_weight), len(weight), -1)
    alive = (weight.flatten(1) != 0).any(1) & (read != 0).any(2).any(0)
    wrong = alive[gone].nonzero().flatten().tolist()
    if wrong:
        raise ValueError(f"filter no. {wrong[0]} of those is alive")
    return structured.remove_filters(weight, bias, next_weight, next_bias, keep, relu)


@mutant("4.4", "no filters at all are kept in silence")
def cut_nothing_left(weight, bias, next_weight, next_bias, keep, relu=False):
    if keep.any():
        return structured.remove_filters(weight, bias, next_weight, next_bias, keep, relu)
    shape = (len(next_weight), 0, *next_weight.shape[2:])
    return weight[keep], bias[keep], next_weight.new_zeros(shape), next_bias + 0


@right("4.4")
def cut_plain(weight, bias, next_weight, next_bias, keep, relu=False):
    return cut_with(weight, bias, next_weight, next_bias, keep, relu)


@right("4.4")
def cut_by_loop(weight, bias, next_weight, next_bias, keep, relu=False):
    if not bool(keep.any()):
        raise ValueError("keep at least one filter")
    positions = 1 if next_weight.dim() > 2 else next_weight.shape[1] // len(weight)
    next_bias, columns = next_bias.clone(), []
    for n in range(len(weight)):
        mine = next_weight[:, n * positions : (n + 1) * positions]
        if keep[n]:
            columns.append(mine)
        elif torch.count_nonzero(weight[n]) and torch.count_nonzero(mine):
            raise ValueError(f"filter {n} must stay")
        else:
            constant = bias[n].clamp(min=0) if relu else bias[n]
            next_bias += mine.flatten(1).sum(1) * constant
    return weight[keep].clone(), bias[keep].clone(), torch.cat(columns, 1), next_bias


@right("4.4")
def cut_by_numpy(weight, bias, next_weight, next_bias, keep, relu=False):
    kept = keep.nonzero().flatten()
    if len(kept) == 0:
        raise ValueError("nothing is kept")
    dead = torch.count_nonzero(weight.flatten(1), dim=1) == 0
    read = next_weight.unflatten(1, (len(weight), -1)).flatten(2)
    unread = torch.count_nonzero(read.transpose(0, 1).flatten(1), dim=1) == 0
    if not bool((keep | dead | unread).all()):
        raise ValueError("these filters are alive: " + str(np.flatnonzero(~(keep | dead | unread).numpy()).tolist()))
    constants = torch.where(keep | unread, torch.zeros_like(bias), torch.relu(bias) if relu else bias)
    folded = next_bias + torch.einsum("mnp,n->m", read, constants)
    smaller = read[:, kept]
    smaller = smaller.flatten(1) if next_weight.dim() == 2 else smaller.reshape(-1, len(kept), *next_weight.shape[2:])
    return weight[kept], bias[kept], smaller, folded


# --- 4.5a concatenate_nonzero -----------------------------------------------------------------------------------------


def push_mutant(error, rows=lambda m: (m != 0).any(1), columns=lambda m: (m != 0).any(0), number=lambda n: n):
    @mutant("4.5a", error)
    def changed(matrix):
        live = [number(mask.nonzero().flatten()) for mask in (rows(matrix), columns(matrix))]
        return matrix[live[0].long()][:, live[1].long()], *live


push_mutant("rows whose sum is 0 go", rows=lambda m: m.sum(1) != 0)
push_mutant("columns whose sum is 0 go", columns=lambda m: m.sum(0) != 0)
push_mutant("tiny entries are 0", rows=lambda m: (m.abs() > 1e-8).any(1), columns=lambda m: (m.abs() > 1e-8).any(0))
push_mutant("rows must be whole", rows=lambda m: (m != 0).all(1))
push_mutant("NaN is 0", rows=lambda m: (m.abs() > 0).any(1), columns=lambda m: (m.abs() > 0).any(0))
push_mutant("numbers in int32", number=lambda n: n.int())
push_mutant("numbers in uint8", number=lambda n: n.to(torch.uint8).long())
push_mutant("descending", number=lambda n: n.flip(0))
push_mutant("positive entries only", rows=lambda m: (m > 0).any(1), columns=lambda m: (m > 0).any(0))
push_mutant("the first row always stays", rows=lambda m: (m != 0).any(1) | (torch.arange(len(m)) == 0))
push_mutant("all columns stay", columns=lambda m: torch.ones(m.shape[1], dtype=torch.bool))


@mutant("4.5a", "rows and columns swapped")
def push_swapped(matrix):
    dense, rows, columns = structured.concatenate_nonzero(matrix)
    return dense, columns, rows


@mutant("4.5a", "the numbers of all non-zeros")
def push_nonzero(matrix):
    rows, columns = (matrix != 0).nonzero().T
    return matrix[rows.unique()][:, columns.unique()], rows, columns


@mutant("4.5a", "masks, not numbers")
def push_masks(matrix):
    rows, columns = (matrix != 0).any(1), (matrix != 0).any(0)
    return matrix[rows][:, columns], rows, columns


@mutant("4.5a", "matrix[rows, columns] pairs them up")
def push_pairs(matrix):
    _, rows, columns = structured.concatenate_nonzero(matrix)
    n = min(len(rows), len(columns))
    return matrix[rows[:n], columns[:n]], rows, columns


@mutant("4.5a", "of zeros one row is left")
def push_never_empty(matrix):
    dense, rows, columns = structured.concatenate_nonzero(matrix)
    zero = torch.zeros(1, dtype=torch.int64)
    return (dense, rows, columns) if len(rows) else (matrix[:1, :1], zero, zero)


@right("4.5a")
def push_unique(matrix):
    rows, columns = (part.unique() for part in matrix.nonzero(as_tuple=True))
    return matrix[rows[:, None], columns], rows, columns


@right("4.5a")
def push_numpy(matrix):
    rows = torch.tensor([i for i, row in enumerate(matrix.double().numpy()) if row.any()], dtype=torch.int64)
    columns = torch.tensor([j for j, c in enumerate(matrix.double().numpy().T) if c.any()], dtype=torch.int64)
    return matrix.index_select(0, rows).index_select(1, columns), rows, columns


@right("4.5a")
def push_counts(matrix):
    rows = torch.count_nonzero(matrix, dim=1).nonzero().squeeze(1)
    columns = torch.count_nonzero(matrix, dim=0).nonzero().squeeze(1)
    return matrix[rows][:, columns].clone(), rows, columns


# --- 4.5b concatenated_matmul -----------------------------------------------------------------------------------------


@mutant("4.5b", "the whole matrix again: unread NaN comes in")
def product_whole(inputs, dense, rows, columns, out_features):
    matrix = inputs.new_zeros(out_features, inputs.shape[1])
    matrix[rows[:, None], columns] = dense
    return inputs @ matrix.T


@mutant("4.5b", "unread inputs are multiplied by 0")
def product_mask(inputs, dense, rows, columns, out_features):
    read = torch.zeros(inputs.shape[1], dtype=inputs.dtype)
    read[columns] = 1
    return structured.concatenated_matmul(inputs * read, dense, rows, columns, out_features) + 0 * inputs.sum()


@mutant("4.5b", "NaN is set to 0, infinity is not")
def product_nan_to_num(inputs, dense, rows, columns, out_features):
    return product_whole(torch.where(inputs.isnan(), 0, inputs), dense, rows, columns, out_features)


@mutant("4.5b", "rows that are not stored are left out")
def product_short(inputs, dense, rows, columns, out_features):
    return inputs[:, columns] @ dense.T


@mutant("4.5b", "rows that are not stored are not 0")
def product_ones(inputs, dense, rows, columns, out_features):
    outputs = inputs.new_ones(len(inputs), out_features)
    outputs[:, rows] = inputs[:, columns] @ dense.T
    return outputs


@mutant("4.5b", "the first inputs are read")
def product_first(inputs, dense, rows, columns, out_features):
    outputs = inputs.new_zeros(len(inputs), out_features)
    outputs[:, rows] = inputs[:, : len(columns)] @ dense.T
    return outputs


@mutant("4.5b", "the first rows are written")
def product_first_rows(inputs, dense, rows, columns, out_features):
    outputs = inputs.new_zeros(len(inputs), out_features)
    outputs[:, : len(rows)] = inputs[:, columns] @ dense.T
    return outputs


@mutant("4.5b", "rows and columns swapped")
def product_swapped(inputs, dense, rows, columns, out_features):
    outputs = inputs.new_zeros(len(inputs), out_features)
    outputs[:, columns] = inputs[:, rows] @ dense.T
    return outputs


@mutant("4.5b", "as many outputs as the last stored row says")
def product_last_row(inputs, dense, rows, columns, out_features):
    size = int(rows.max()) + 1 if len(rows) else out_features
    return structured.concatenated_matmul(inputs, dense, rows, columns, size)


@mutant("4.5b", "in float32")
def product_float32(inputs, dense, rows, columns, out_features):
    outputs = torch.zeros(len(inputs), out_features)
    outputs[:, rows] = (inputs[:, columns] @ dense.T).float()
    return outputs


@mutant("4.5b", "one row at most is squeezed")
def product_squeezed(inputs, dense, rows, columns, out_features):
    return structured.concatenated_matmul(inputs, dense, rows, columns, out_features).squeeze(0)


@mutant("4.5b", "the inputs are set to 0 in place")
def product_in_place(inputs, dense, rows, columns, out_features):
    unread = torch.ones(inputs.shape[1], dtype=torch.bool)
    unread[columns] = False
    inputs[:, unread] = 0
    return product_whole(inputs, dense, rows, columns, out_features)


@right("4.5b")
def product_index_copy(inputs, dense, rows, columns, out_features):
    product = torch.nn.functional.linear(inputs.index_select(1, columns), dense)
    return torch.zeros(len(inputs), out_features, dtype=inputs.dtype).index_copy(1, rows, product)


@right("4.5b")
def product_where(inputs, dense, rows, columns, out_features):
    read = torch.zeros(inputs.shape[1], dtype=torch.bool)
    read[columns] = True
    return product_whole(torch.where(read, inputs, 0), dense, rows, columns, out_features)


@right("4.5b")
def product_by_rows(inputs, dense, rows, columns, out_features):
    result = [inputs.new_zeros(len(inputs)) for _ in range(out_features)]
    for row, weights in zip(rows.tolist(), dense, strict=True):
        result[row] = inputs[:, columns] @ weights
    return torch.stack(result, 1)


# --- 4.6 shrink_network -----------------------------------------------------------------------------------------------


def blocks_of(after, unit):
    return after.reshape(len(after), len(unit), -1)


def shrink_with(
    state, threshold, *,
    short=lambda norms, t: norms <= t,
    in_turn=False, zero_rows=True, zero_columns=True,
    alive=lambda weight: (weight.flatten(1) != 0).any(1),
    read=lambda blocks: (blocks != 0).any(2).any(0),
    relu=lambda i: i == 2, sweeps=99, order=(0, 1, 2), layers=(0, 1, 2),
):  # fmt: skip
    """The reference, with holes for errors."""
    names = list(state)
    weights, biases = ([state[name].clone() for name in names[kind::2]] for kind in (0, 1))
    given = [w.clone() for w in weights]
    for i in layers:
        rows_of, columns_of = (weights, weights) if in_turn else (given, given)
        rows = short(structured.filter_norms(rows_of[i]), threshold)
        columns = short(structured.channel_norms(blocks_of(columns_of[i + 1], weights[i])), threshold)
        if zero_rows:
            weights[i][rows] = 0
        if zero_columns:
            zeroed = blocks_of(weights[i + 1], weights[i]).masked_fill(columns[:, None], 0)
            weights[i + 1] = zeroed.view(weights[i + 1].shape)
    for _ in range(sweeps):
        before = [len(w) for w in weights]
        for i in (i for i in order if i in layers):
            keep = alive(weights[i]) & read(blocks_of(weights[i + 1], weights[i]))
            got = structured.remove_filters(weights[i], biases[i], weights[i + 1], biases[i + 1], keep, relu(i))
            weights[i], biases[i], weights[i + 1], biases[i + 1] = got
        if before == [len(w) for w in weights]:
            break
    return dict(zip(names, [part for pair in zip(weights, biases, strict=True) for part in pair], strict=True))


def network_mutant(error, **holes):
    @mutant("4.6", error)
    def changed(state, threshold):
        return shrink_with(state, threshold, **holes)


network_mutant("one sweep forwards", sweeps=1)
network_mutant("one sweep backwards", sweeps=1, order=(2, 1, 0))
network_mutant("two sweeps from the first layer on", sweeps=2)
network_mutant("a norm equal to the threshold stays", short=lambda n, t: n < t)
network_mutant("judged in turn, not on the state as given", in_turn=True)
network_mutant("rows only are judged by the threshold", zero_columns=False)
network_mutant("columns only are judged by the threshold", zero_rows=False)
network_mutant("the threshold is forgotten", zero_rows=False, zero_columns=False)
network_mutant("a ReLU after every layer", relu=lambda i: True)
network_mutant("no ReLU", relu=lambda i: False)
network_mutant("a ReLU after the convolutions", relu=lambda i: i < 2)
network_mutant("dead ones only go", read=lambda blocks: torch.ones(blocks.shape[1], dtype=torch.bool))
network_mutant("unread ones only go", alive=lambda weight: torch.ones(len(weight), dtype=torch.bool))
network_mutant("convolutions only", layers=(0, 1))
network_mutant("without the first layer", layers=(1, 2))
network_mutant("the norm squared is judged", short=lambda n, t: n**2 <= t)
network_mutant("the mean of squares is judged", short=lambda n, t: n / 5 <= t)


@mutant("4.6", "zeroed, not cut")
def network_zeroed(state, threshold):
    return shrink_with(state, threshold, sweeps=0)


@mutant("4.6", "the biases of what goes are dropped")
def network_no_bias(state, threshold):
    got, names = structured.shrink_network(state, threshold), list(state)
    for i, name in enumerate(names[1::2]):
        if len(got[name]) == len(state[name]):
            got[name] = state[name].clone()
        else:
            alive = torch.isin(state[name], got[name]) if i == 0 else torch.ones(len(state[name]), dtype=torch.bool)
            got[name] = state[name][alive][: len(got[name])]
    return got


@mutant("4.6", "the names are torch's")
def network_names(state, threshold):
    got = structured.shrink_network(state, threshold)
    keys = [f"{i}.{kind}" for i in (0, 2, 5, 7) for kind in ("weight", "bias")]
    return dict(zip(keys, got.values(), strict=True))


@mutant("4.6", "the state is zeroed in place")
def network_in_place(state, threshold):
    names = list(state)
    for name in names[::2][:3]:
        state[name][structured.filter_norms(state[name]) <= threshold] = 0
    return structured.shrink_network(state, threshold)


@mutant("4.6", "what is not cut is shared with the state")
def network_shared(state, threshold):
    got = structured.shrink_network(state, threshold)
    return {name: state[name] if torch.equal(value, state[name]) else value for name, value in got.items()}


@mutant("4.6", "classes that are always their bias go")
def network_classes(state, threshold):
    got = structured.shrink_network(state, threshold)
    *_, weight, bias = got
    alive = (got[weight] != 0).any(1)
    return got | {weight: got[weight][alive], bias: got[bias][alive]}


@mutant("4.6", "the image's channels are judged by the threshold too")
def network_images(state, threshold):
    weight = next(iter(state.values()))
    short = structured.channel_norms(weight) <= threshold
    judged = weight.masked_fill(short[None, :, None, None], 0)
    return structured.shrink_network(state | {next(iter(state)): judged}, threshold)


@mutant("4.6", "the classes are judged by the threshold too")
def network_short_classes(state, threshold):
    name, last = list(state.items())[-2]
    judged = last.masked_fill((structured.filter_norms(last) <= threshold)[:, None], 0)
    return structured.shrink_network(state | {name: judged}, threshold)


@mutant("4.6", "one unit is kept in silence where none is left")
def network_keeps_one(state, threshold):
    try:
        return structured.shrink_network(state, threshold)
    except ValueError:
        return structured.shrink_network({name: value + 1 for name, value in state.items()}, 0.0)


@mutant("4.6", "in float32")
def network_float32(state, threshold):
    return structured.shrink_network({name: value.float() for name, value in state.items()}, threshold)


@right("4.6")
def network_backwards_order(state, threshold):
    return shrink_with(state, threshold, order=(2, 1, 0))


@right("4.6")
def network_plain(state, threshold):
    return shrink_with(state, threshold)


@right("4.6")
def network_by_reachability(state, threshold):
    """Which units see the image and are seen by the classes, first; then one cut each."""
    zeroed = dict(zip(state, shrink_with(state, threshold, sweeps=0).values(), strict=True))
    names = list(state)
    weights = [zeroed[name] for name in names[::2]]
    joins = [(weights[0].flatten(1) != 0).any(1, keepdim=True)]
    joins += [(blocks_of(b, a) != 0).any(2) for a, b in pairwise(weights)]
    seen = [joins[0].any(1)]
    for join in joins[1:3]:
        seen.append((join & seen[-1]).any(1))
    wanted = [joins[3].any(0)]
    for join in (joins[2], joins[1]):
        wanted.insert(0, (join & wanted[0][:, None]).any(0))
    parts = [zeroed[name].clone() for name in names]
    for i in range(3):
        # Forwards, so that what sees only the dead is dead by then; backwards, what is read by the unneeded is cleared
        keep = seen[i] & wanted[i]
        blocks = blocks_of(parts[2 * i + 2], parts[2 * i])
        blocks = blocks.masked_fill((seen[i] & ~wanted[i])[:, None], 0)
        parts[2 * i + 2] = blocks.reshape(parts[2 * i + 2].shape)
        parts[2 * i : 2 * i + 4] = structured.remove_filters(*parts[2 * i : 2 * i + 4], keep, i == 2)
    return dict(zip(names, parts, strict=True))


def in_float32(value, dtypes, back=None):
    """Plain data with its tensors of these dtypes as float32, or its float32 tensors as `back`."""
    match value:
        case torch.Tensor():
            wanted = (torch.float32,) if back else dtypes
            return value.to(back or torch.float32) if value.dtype in wanted else value
        case dict():
            return {key: in_float32(entry, dtypes, back) for key, entry in value.items()}
        case list() | tuple():
            return type(value)(in_float32(entry, dtypes, back) for entry in value)
    return value


def less_precise(function):
    def rounded(*arguments, **named):
        first = arguments[0][0] if isinstance(arguments[0], list | tuple) else arguments[0]
        wide = (torch.float64,)
        result = function(*in_float32(arguments, wide), **named)
        return in_float32(result, wide, torch.float64) if first.dtype == torch.float64 else result

    return rounded


for number, function in {
    "4.1a": structured.filter_norms,
    "4.1b": structured.channel_norms,
    "4.2": structured.group_lasso,
    "4.3a": structured.shrink_groups,
    "4.3b": structured.proximal_step,
}.items():
    mutant(number, "float64 is computed in float32")(less_precise(function))


@mutant("4.1b", "of a square weight the filters' norms")
def channel_norms_if_square(weight):
    square = weight.ndim == 2 and weight.shape[0] == weight.shape[1]
    return structured.filter_norms(weight if square else weight.transpose(0, 1))


@mutant("4.3b", "the gradient clipped to a length of 10")
def step_clipped(weight, gradient, lr, filter_strength, channel_strength):
    gradient = gradient * min(1.0, 10 / max(float(gradient.norm()), 1e-9))
    return structured.proximal_step(weight, gradient, lr, filter_strength, channel_strength)


@mutant("4.5b", "NaN becomes 0, also where it is read")
def product_without_nan(inputs, dense, rows, columns, out_features):
    return structured.concatenated_matmul(inputs.nan_to_num(), dense, rows, columns, out_features)


@mutant("4.5b", "bfloat16 comes back as float32")
def product_in_single(inputs, dense, rows, columns, out_features):
    outputs = structured.concatenated_matmul(inputs, dense, rows, columns, out_features)
    return outputs.float() if outputs.dtype == torch.bfloat16 else outputs


@mutant("4.6", "half precision comes back as float32")
def network_in_single(state, threshold):
    return structured.shrink_network(in_float32(state, (torch.float16, torch.bfloat16)), threshold)
