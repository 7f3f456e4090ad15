"""Mutants and right variants of unit 06."""

import itertools
import math

import numpy as np
import torch
import torch.nn.functional as F
from torch.distributions import Categorical

from course_utils import dynamic
from course_utils.models import mlp_forward, run_stage
from tests.checks.catalogue import mutant, right

# --- 6.1 prediction_entropy -------------------------------------------------------------------------------------------


@mutant("6.1", "in bits")
def entropy_bits(logits):
    return dynamic.prediction_entropy(logits) / math.log(2)


@mutant("6.1", "the minus forgotten, as the paper prints it")
def entropy_without_minus(logits):
    return -dynamic.prediction_entropy(logits)


@mutant("6.1", "0 · log 0 is NaN")
def entropy_nan(logits):
    p = logits.softmax(-1)
    return -(p * p.log()).sum(-1)


@mutant("6.1", "a small constant against log 0")
def entropy_constant(logits):
    p = logits.softmax(-1)
    return -(p * (p + 1e-8).log()).sum(-1)


@mutant("6.1", "probabilities cut off at 1e-6")
def entropy_clamped(logits):
    p = logits.softmax(-1).clamp(min=1e-6)
    return -(p * p.log()).sum(-1)


@mutant("6.1", "probabilities cut off at 1e-12")
def entropy_barely_clamped(logits):
    p = logits.softmax(-1).clamp(min=1e-12)
    return -(p * p.log()).sum(-1)


@mutant("6.1", "softmax over the batch")
def entropy_first_axis(logits):
    return torch.special.entr(logits.softmax(0)).sum(-1)


@mutant("6.1", "summed over all axes")
def entropy_of_all(logits):
    return torch.special.entr(logits.softmax(-1)).sum()


@mutant("6.1", "the mean over the classes")
def entropy_mean(logits):
    return torch.special.entr(logits.softmax(-1)).mean(-1)


@mutant("6.1", "divided by ln(classes)")
def entropy_normalised(logits):
    return dynamic.prediction_entropy(logits) / max(math.log(logits.shape[-1]), 1e-9)


@mutant("6.1", "one minus the largest probability")
def entropy_confidence(logits):
    return 1 - logits.softmax(-1).amax(-1)


@mutant("6.1", "the logits taken for probabilities")
def entropy_of_logits(logits):
    return torch.special.entr(logits.clamp(min=0)).sum(-1)


@mutant("6.1", "exponentials without the maximum taken off")
def entropy_overflow(logits):
    p = logits.exp() / logits.exp().sum(-1, keepdim=True)
    return torch.special.entr(p).sum(-1)


@mutant("6.1", "always float32")
def entropy_float(logits):
    return dynamic.prediction_entropy(logits.float())


@mutant("6.1", "computed in float32")
def entropy_single(logits):
    return dynamic.prediction_entropy(logits.float()).to(logits.dtype)


@mutant("6.1", "the last axis kept")
def entropy_keepdim(logits):
    return dynamic.prediction_entropy(logits).unsqueeze(-1)


@mutant("6.1", "two axes only")
def entropy_axis_one(logits):
    return torch.special.entr(logits.softmax(1)).sum(1)


@right("6.1")
def entropy_log_softmax(logits):
    return -(logits.softmax(-1) * logits.log_softmax(-1)).sum(-1)


@right("6.1")
def entropy_categorical(logits):
    return Categorical(logits=logits.double()).entropy().to(logits.dtype)


@right("6.1")
def entropy_logsumexp(logits):
    shifted = logits - logits.amax(-1, keepdim=True)
    return torch.xlogy(logits.softmax(-1), shifted.softmax(-1)).sum(-1).neg()


# --- 6.2 exit_index ---------------------------------------------------------------------------------------------------


def below(logits_per_exit, thresholds):
    """[E − 1, batch]: whose entropy is below the threshold."""
    rows = [dynamic.prediction_entropy(z) < t for z, t in zip(logits_per_exit, thresholds, strict=False)]
    return torch.stack(rows) if rows else torch.zeros(0, len(logits_per_exit[0]), dtype=torch.bool)


def first_of(rows):
    """The first row [E, batch] that is True."""
    return rows.int().argmax(0)


@mutant("6.2", "≤ for <")
def exit_at_most(logits_per_exit, thresholds):
    last = len(thresholds)
    exits = torch.full((len(logits_per_exit[0]),), last)
    for i in reversed(range(last)):
        exits[dynamic.prediction_entropy(logits_per_exit[i]) <= thresholds[i]] = i
    return exits


@mutant("6.2", "the last sure exit")
def exit_last_sure(logits_per_exit, thresholds):
    exits = torch.full((len(logits_per_exit[0]),), len(thresholds))
    for i, row in enumerate(below(logits_per_exit, thresholds)):
        exits[row] = i
    return exits


@mutant("6.2", "the whole batch waits until all are sure")
def exit_together(logits_per_exit, thresholds):
    rows = below(logits_per_exit, thresholds).all(1).tolist()
    return torch.full((len(logits_per_exit[0]),), [*rows, True].index(True))


@mutant("6.2", "the whole batch leaves when one is sure")
def exit_with_the_first(logits_per_exit, thresholds):
    rows = below(logits_per_exit, thresholds).any(1).tolist()
    return torch.full((len(logits_per_exit[0]),), [*rows, True].index(True))


@mutant("6.2", "the undecided leave")
def exit_above(logits_per_exit, thresholds):
    everybody = torch.ones(1, len(logits_per_exit[0]), dtype=torch.bool)
    return first_of(torch.cat([~below(logits_per_exit, thresholds), everybody]))


@mutant("6.2", "who is never sure leaves at exit 0")
def exit_argmax(logits_per_exit, thresholds):
    everybody = torch.zeros(1, len(logits_per_exit[0]), dtype=torch.bool)
    return first_of(torch.cat([below(logits_per_exit, thresholds), everybody]))


@mutant("6.2", "the first threshold for all exits")
def exit_one_threshold(logits_per_exit, thresholds):
    return dynamic.exit_index(logits_per_exit, [thresholds[0]] * len(thresholds) if thresholds else [])


@mutant("6.2", "thresholds in bits")
def exit_bits(logits_per_exit, thresholds):
    return dynamic.exit_index(logits_per_exit, [t * math.log(2) for t in thresholds])


@mutant("6.2", "the most sure exit")
def exit_least_entropy(logits_per_exit, thresholds):
    return torch.stack([dynamic.prediction_entropy(z) for z in logits_per_exit]).argmin(0)


@mutant("6.2", "exits counted from 1")
def exit_from_one(logits_per_exit, thresholds):
    return dynamic.exit_index(logits_per_exit, thresholds) + 1


@mutant("6.2", "counted in int8")
def exit_small(logits_per_exit, thresholds):
    return dynamic.exit_index(logits_per_exit, thresholds).to(torch.int8).long()


@mutant("6.2", "counted in uint8")
def exit_octet(logits_per_exit, thresholds):
    return dynamic.exit_index(logits_per_exit, thresholds).to(torch.uint8).long()


@mutant("6.2", "int32")
def exit_int(logits_per_exit, thresholds):
    return dynamic.exit_index(logits_per_exit, thresholds).int()


@mutant("6.2", "a threshold of 0 taken for missing")
def exit_or(logits_per_exit, thresholds):
    return dynamic.exit_index(logits_per_exit, [t or math.inf for t in thresholds])


@mutant("6.2", "the largest probability compared")
def exit_confidence(logits_per_exit, thresholds):
    exits = torch.full((len(logits_per_exit[0]),), len(thresholds))
    for i in reversed(range(len(thresholds))):
        exits[1 - logits_per_exit[i].softmax(-1).amax(-1) < thresholds[i]] = i
    return exits


@mutant("6.2", "the entropies of all exits so far averaged")
def exit_running_mean(logits_per_exit, thresholds):
    exits = torch.full((len(logits_per_exit[0]),), len(thresholds))
    for i in reversed(range(len(thresholds))):
        mean = torch.stack([dynamic.prediction_entropy(z) for z in logits_per_exit[: i + 1]]).mean(0)
        exits[mean < thresholds[i]] = i
    return exits


@right("6.2")
def exit_stacked(logits_per_exit, thresholds):
    everybody = torch.ones(1, len(logits_per_exit[0]), dtype=torch.bool)
    return first_of(torch.cat([below(logits_per_exit, thresholds), everybody]))


@right("6.2")
def exit_python(logits_per_exit, thresholds):
    exits = []
    for i in range(len(logits_per_exit[0])):
        place = 0
        while place < len(thresholds) and not (
            dynamic.prediction_entropy(logits_per_exit[place][i]).item() < thresholds[place]
        ):
            place += 1
        exits.append(place)
    return torch.tensor(exits)


@right("6.2")
def exit_cumulative(logits_per_exit, thresholds):
    waiting = ~below(logits_per_exit, thresholds)
    return torch.cumprod(waiting.long(), dim=0).sum(dim=0)


# --- 6.3 joint_exit_loss ----------------------------------------------------------------------------------------------


@mutant("6.3", "weights normalised to 1")
def joint_normalised(logits_per_exit, labels, weights):
    total = sum(weights) or 1
    return dynamic.joint_exit_loss(logits_per_exit, labels, [w / total for w in weights])


@mutant("6.3", "divided by the classes, as the paper prints it")
def joint_classes(logits_per_exit, labels, weights):
    return dynamic.joint_exit_loss(logits_per_exit, labels, weights) / logits_per_exit[0].shape[1]


@mutant("6.3", "divided by the exits")
def joint_mean(logits_per_exit, labels, weights):
    return dynamic.joint_exit_loss(logits_per_exit, labels, weights) / len(weights)


@mutant("6.3", "summed over the batch")
def joint_summed(logits_per_exit, labels, weights):
    return dynamic.joint_exit_loss(logits_per_exit, labels, weights) * len(labels)


@mutant("6.3", "the last exit only")
def joint_last(logits_per_exit, labels, weights):
    return weights[-1] * F.cross_entropy(logits_per_exit[-1], labels)


@mutant("6.3", "weights in reverse")
def joint_reversed(logits_per_exit, labels, weights):
    return dynamic.joint_exit_loss(logits_per_exit, labels, weights[::-1])


@mutant("6.3", "softmax before the cross-entropy")
def joint_softmax(logits_per_exit, labels, weights):
    return dynamic.joint_exit_loss([z.softmax(-1) for z in logits_per_exit], labels, weights)


@mutant("6.3", "the logits averaged, not the losses")
def joint_logits(logits_per_exit, labels, weights):
    return F.cross_entropy(sum(w * z for w, z in zip(weights, logits_per_exit, strict=True)), labels)


@mutant("6.3", "early exits are constants")
def joint_detached(logits_per_exit, labels, weights):
    early = [z.detach() for z in logits_per_exit[:-1]]
    return dynamic.joint_exit_loss([*early, logits_per_exit[-1]], labels, weights)


@mutant("6.3", "a weight of 0 taken for missing")
def joint_or(logits_per_exit, labels, weights):
    return dynamic.joint_exit_loss(logits_per_exit, labels, [w or 1.0 for w in weights])


@mutant("6.3", "no graph")
def joint_item(logits_per_exit, labels, weights):
    return dynamic.joint_exit_loss(logits_per_exit, labels, weights).detach()


@mutant("6.3", "a float")
def joint_float(logits_per_exit, labels, weights):
    return float(dynamic.joint_exit_loss(logits_per_exit, labels, weights))


@mutant("6.3", "weights squared")
def joint_squared(logits_per_exit, labels, weights):
    return dynamic.joint_exit_loss(logits_per_exit, labels, [w * w for w in weights])


@mutant("6.3", "in float32")
def joint_single(logits_per_exit, labels, weights):
    return dynamic.joint_exit_loss([z.float() for z in logits_per_exit], labels, weights).to(logits_per_exit[0].dtype)


@mutant("6.3", "log of the softmax, which is log 0")
def joint_log(logits_per_exit, labels, weights):
    rows = torch.arange(len(labels))
    pairs = zip(weights, logits_per_exit, strict=True)
    return sum(-w * z.softmax(-1)[rows, labels].log().mean() for w, z in pairs)


@right("6.3")
def joint_loop(logits_per_exit, labels, weights):
    total = torch.zeros((), dtype=logits_per_exit[0].dtype)
    for i, logits in enumerate(logits_per_exit):
        total = total + weights[i] * F.nll_loss(F.log_softmax(logits, dim=1), labels)
    return total


@right("6.3")
def joint_stacked(logits_per_exit, labels, weights):
    losses = torch.stack([F.cross_entropy(logits, labels) for logits in logits_per_exit])
    return (losses * torch.tensor(list(weights), dtype=losses.dtype)).sum()


@right("6.3")
def joint_gathered(logits_per_exit, labels, weights):
    log_p = torch.stack([logits.log_softmax(-1) for logits in logits_per_exit])
    picked = log_p[:, torch.arange(len(labels)), labels].mean(dim=1)
    return -(torch.as_tensor(list(weights), dtype=picked.dtype) @ picked)


# --- 6.4 choose_thresholds --------------------------------------------------------------------------------------------


def screen(
    entropies, correct, macs_per_exit, budget, candidates, *, strict=True, ties="first", within=True, key=None,
    combinations=None, count_in=torch.int64, refuse=True, cost=lambda macs: macs,
):  # fmt: skip
    """A screening that goes wrong where an argument says so."""
    exits, count = correct.shape
    best, best_key = None, None
    for thresholds in combinations or itertools.product(candidates, repeat=exits - 1):
        rows = [(e < t) if strict else (e <= t) for e, t in zip(entropies, thresholds, strict=True)]
        left = first_of(torch.stack([*rows, torch.ones(count, dtype=torch.bool)]))
        right_answers = correct.gather(0, left.unsqueeze(0)).to(count_in).sum(dtype=count_in).item()
        macs = cost(sum(macs_per_exit[e] for e in left.tolist()) / count)
        if within and macs > budget:
            continue
        now = (right_answers, -macs) if key is None else key(right_answers, macs)
        if best_key is None or now > best_key or (ties == "last" and now == best_key):
            best, best_key = list(thresholds), now
    if best is None and refuse:
        raise ValueError("raise the budget")
    return best


@mutant("6.4", "≤ for <")
def choose_at_most(*arguments):
    return screen(*arguments, strict=False)


@mutant("6.4", "the last of equals")
def choose_last(*arguments):
    return screen(*arguments, ties="last")


@mutant("6.4", "the first of equally good ones, not the cheapest")
def choose_first(*arguments):
    return screen(*arguments, key=lambda right, macs: right)


@mutant("6.4", "the dearest of equally good ones")
def choose_dearest(*arguments):
    return screen(*arguments, key=lambda right, macs: (right, macs))


@mutant("6.4", "the cheapest of all")
def choose_cheapest(*arguments):
    return screen(*arguments, key=lambda right, macs: (-macs, right))


@mutant("6.4", "the budget plays no part")
def choose_unlimited(*arguments):
    return screen(*arguments, within=False)


@mutant("6.4", "strictly below the budget")
def choose_below(entropies, correct, macs_per_exit, budget, candidates):
    return screen(entropies, correct, macs_per_exit, budget - 1e-9, candidates)


@mutant("6.4", "the budget is for all examples together")
def choose_in_all(entropies, correct, macs_per_exit, budget, candidates):
    return screen(entropies, correct, macs_per_exit, budget / correct.shape[1], candidates)


@mutant("6.4", "MACs summed twice")
def choose_summed(entropies, correct, macs_per_exit, budget, candidates):
    return screen(entropies, correct, np.cumsum(macs_per_exit).tolist(), budget, candidates)


@mutant("6.4", "one threshold for all exits")
def choose_common(entropies, correct, macs_per_exit, budget, candidates):
    exits = len(correct)
    return screen(
        entropies, correct, macs_per_exit, budget, candidates, combinations=[[t] * (exits - 1) for t in candidates]
    )


@mutant("6.4", "exit by exit, the others closed")
def choose_greedily(entropies, correct, macs_per_exit, budget, candidates):
    chosen = [0.0] * (len(correct) - 1)
    for i in range(len(chosen)):
        options = [[*chosen[:i], t, *chosen[i + 1 :]] for t in candidates]
        found = screen(entropies, correct, macs_per_exit, budget, candidates, combinations=options, refuse=False)
        chosen = found or chosen
    return screen(entropies, correct, macs_per_exit, budget, candidates, combinations=[chosen])


@mutant("6.4", "no ValueError")
def choose_none(*arguments):
    return screen(*arguments, refuse=False)


@mutant("6.4", "the cheapest where nothing is within the budget")
def choose_anyway(entropies, correct, macs_per_exit, budget, candidates):
    found = screen(entropies, correct, macs_per_exit, budget, candidates, refuse=False)
    return found or choose_cheapest(entropies, correct, macs_per_exit, math.inf, candidates)


@mutant("6.4", "costs in float32")
def choose_costs_in_single(*arguments):
    return screen(*arguments, cost=lambda macs: float(np.float32(macs)))


@mutant("6.4", "costs of whole MACs")
def choose_whole_costs(*arguments):
    return screen(*arguments, cost=int)


@mutant("6.4", "costs rounded to a tenth")
def choose_rounded_costs(*arguments):
    return screen(*arguments, key=lambda right, macs: (right, -round(macs, 1)))


@mutant("6.4", "a hundredth over the budget is let pass")
def choose_tolerant(entropies, correct, macs_per_exit, budget, candidates):
    return screen(entropies, correct, macs_per_exit, 1.01 * budget, candidates)


@mutant("6.4", "the share that is right, rounded to four digits")
def choose_rounded_share(entropies, correct, *arguments):
    n = correct.shape[1]
    return screen(entropies, correct, *arguments, key=lambda right, macs: (round(right / n, 4), -macs))


@mutant("6.4", "counted in half precision")
def choose_half(*arguments):
    return screen(*arguments, count_in=torch.float16)


@mutant("6.4", "counted in int8")
def choose_small(*arguments):
    return screen(*arguments, count_in=torch.int8)


@mutant("6.4", "candidates sorted first")
def choose_sorted(entropies, correct, macs_per_exit, budget, candidates):
    return screen(entropies, correct, macs_per_exit, budget, sorted(candidates))


@mutant("6.4", "product in the reverse order")
def choose_reversed(entropies, correct, macs_per_exit, budget, candidates):
    options = [t[::-1] for t in itertools.product(candidates, repeat=len(correct) - 1)]
    return screen(entropies, correct, macs_per_exit, budget, candidates, combinations=options)


@mutant("6.4", "places of the candidates, not the candidates")
def choose_places(entropies, correct, macs_per_exit, budget, candidates):
    return [float(candidates.index(t)) for t in screen(entropies, correct, macs_per_exit, budget, candidates)]


@mutant("6.4", "combinations of different candidates only")
def choose_different(entropies, correct, macs_per_exit, budget, candidates):
    options = list(itertools.permutations(candidates, len(correct) - 1))
    return screen(entropies, correct, macs_per_exit, budget, candidates, combinations=options)


@mutant("6.4", "rising thresholds only")
def choose_rising(entropies, correct, macs_per_exit, budget, candidates):
    options = list(itertools.combinations_with_replacement(candidates, len(correct) - 1))
    return screen(entropies, correct, macs_per_exit, budget, candidates, combinations=options)


@mutant("6.4", "right answers of early exits only")
def choose_early(entropies, correct, macs_per_exit, budget, candidates):
    correct = correct.clone()
    correct[-1] = False
    return screen(entropies, correct, macs_per_exit, budget, candidates)


@mutant("6.4", "a budget of infinity on the number of right answers per MAC")
def choose_ratio(*arguments):
    return screen(*arguments, key=lambda right, macs: right / macs)


@right("6.4")
def choose_numpy(entropies, correct, macs_per_exit, budget, candidates):
    h, c, n = entropies.numpy(), correct.numpy(), correct.shape[1]
    ranked = []
    for place, thresholds in enumerate(itertools.product(candidates, repeat=len(c) - 1)):
        open_exits = np.vstack([*(h[i : i + 1] < t for i, t in enumerate(thresholds)), np.ones((1, n), bool)])
        left = open_exits.argmax(0)
        macs = sum(macs_per_exit[e] for e in left)
        if macs <= budget * n:
            ranked.append((-int(c[left, np.arange(n)].sum()), macs, place, list(thresholds)))
    if not ranked:
        raise ValueError(f"no thresholds within {budget}")
    return min(ranked)[3]


@right("6.4")
def choose_max(entropies, correct, macs_per_exit, budget, candidates):
    def rank(thresholds):
        waiting = torch.ones(correct.shape[1], dtype=torch.bool)
        answers = total = 0
        for e, macs in enumerate(macs_per_exit):
            leaves = waiting & (entropies[e] < thresholds[e]) if e < len(thresholds) else waiting
            answers, total = answers + int((correct[e] & leaves).sum()), total + macs * int(leaves.sum())
            waiting = waiting & ~leaves
        return answers, -total

    options = [list(t) for t in itertools.product(candidates, repeat=len(correct) - 1)]
    options = [t for t in options if -rank(t)[1] <= budget * correct.shape[1]]
    return max(options, key=rank)  # of an empty list: ValueError; of equals the first


@right("6.4")
def choose_tuple(*arguments):
    return tuple(screen(*arguments))


# --- 6.5a skip_gate ---------------------------------------------------------------------------------------------------


class Backward(torch.autograd.Function):
    """A hard gate whose gradient is multiplied with any factor."""

    @staticmethod
    def forward(ctx, total, factor):
        ctx.save_for_backward(factor)
        return (total > 0).to(total.dtype)

    @staticmethod
    def backward(ctx, gradient):
        return gradient * ctx.saved_tensors[0], None


@mutant("6.5a", "soft forward")
def gate_soft(gate_logits, noise):
    return torch.sigmoid(gate_logits + noise)


@mutant("6.5a", "no gradient")
def gate_hard(gate_logits, noise):
    return (gate_logits + noise > 0).to(gate_logits.dtype)


@mutant("6.5a", "the identity's gradient")
def gate_identity(gate_logits, noise):
    total = gate_logits + noise
    return Backward.apply(total, torch.ones_like(total))


@mutant("6.5a", "the clipped identity's gradient, of unit 05")
def gate_window(gate_logits, noise):
    total = gate_logits + noise
    return Backward.apply(total, (total.detach().abs() <= 1).to(total.dtype))


@mutant("6.5a", "the gradient of σ times the gate")
def gate_closed_learns_nothing(gate_logits, noise):
    total = gate_logits + noise
    return torch.sigmoid(total) * 0 + torch.where(
        total > 0, 1 + torch.sigmoid(total) - torch.sigmoid(total).detach(), 0
    )


@mutant("6.5a", "≥ 0")
def gate_at_least(gate_logits, noise):
    soft = torch.sigmoid(gate_logits + noise)
    return (soft >= 0.5).to(soft.dtype) + (soft - soft.detach())


@mutant("6.5a", "σ > ½, which rounds")
def gate_rounds(gate_logits, noise):
    soft = torch.sigmoid(gate_logits + noise)
    return (soft > 0.5).to(soft.dtype) + (soft - soft.detach())


@mutant("6.5a", "the noise plays no part")
def gate_no_noise(gate_logits, noise):
    return dynamic.skip_gate(gate_logits, 0 * noise)


@mutant("6.5a", "the noise is no part of the gradient's place")
def gate_noise_forward_only(gate_logits, noise):
    soft = torch.sigmoid(gate_logits) + 0 * noise
    return (gate_logits + noise > 0).to(soft.dtype) + (soft - soft.detach())


@mutant("6.5a", "noise is a constant")
def gate_noise_detached(gate_logits, noise):
    return dynamic.skip_gate(gate_logits, noise.detach())


@mutant("6.5a", "noise multiplied")
def gate_noise_factor(gate_logits, noise):
    return dynamic.skip_gate(gate_logits * (1 + noise), torch.zeros_like(noise))


@mutant("6.5a", "noise added to the probability")
def gate_noise_after(gate_logits, noise):
    soft = torch.sigmoid(gate_logits) + noise
    return (soft > 0.5).to(soft.dtype) + (soft - soft.detach())


@mutant("6.5a", "closed gates are −1")
def gate_signs(gate_logits, noise):
    return 2 * dynamic.skip_gate(gate_logits, noise) - 1


@mutant("6.5a", "σ twice")
def gate_twice(gate_logits, noise):
    soft = torch.sigmoid(torch.sigmoid(gate_logits + noise))
    return (gate_logits + noise > 0).to(soft.dtype) + (soft - soft.detach())


@mutant("6.5a", "a bool tensor")
def gate_bool(gate_logits, noise):
    return gate_logits + noise > 0


@mutant("6.5a", "in float32")
def gate_single(gate_logits, noise):
    return dynamic.skip_gate(gate_logits.float(), noise.float()).to(gate_logits.dtype)


@mutant("6.5a", "the gradient is twice σ'")
def gate_double(gate_logits, noise):
    soft = torch.sigmoid(gate_logits + noise)
    return (gate_logits + noise > 0).to(soft.dtype) + 2 * (soft - soft.detach())


@mutant("6.5a", "open where the probability is drawn below ½")
def gate_inverted(gate_logits, noise):
    return 1 - dynamic.skip_gate(gate_logits, noise)


@right("6.5a")
def gate_idiom(gate_logits, noise):
    soft = torch.sigmoid(gate_logits + noise)
    hard = (gate_logits + noise > 0).to(soft.dtype)
    return hard - soft.detach() + soft


@right("6.5a")
def gate_function(gate_logits, noise):
    total = gate_logits + noise
    p = torch.sigmoid(total).detach()
    return Backward.apply(total, p * (1 - p))


@right("6.5a")
def gate_where(gate_logits, noise):
    soft = torch.sigmoid(gate_logits + noise)
    hard = torch.where(gate_logits + noise > 0, torch.ones_like(soft), torch.zeros_like(soft))
    return soft + (hard - soft).detach()


# --- 6.5b expected_cost -----------------------------------------------------------------------------------------------


@mutant("6.5b", "summed over the batch")
def cost_summed(gate_probabilities, costs):
    return (gate_probabilities * costs).sum()


@mutant("6.5b", "the mean over the gates too")
def cost_mean(gate_probabilities, costs):
    return (gate_probabilities * costs).mean()


@mutant("6.5b", "open gates counted")
def cost_counted(gate_probabilities, costs):
    return ((gate_probabilities > 0.5) * costs).sum(-1).mean()


@mutant("6.5b", "what is skipped")
def cost_skipped(gate_probabilities, costs):
    return ((1 - gate_probabilities) * costs).sum(-1).mean()


@mutant("6.5b", "as a share of all costs")
def cost_share(gate_probabilities, costs):
    return (gate_probabilities * costs).sum(-1).mean() / costs.sum()


@mutant("6.5b", "costs are constants")
def cost_constant(gate_probabilities, costs):
    return (gate_probabilities * costs.detach()).sum(-1).mean()


@mutant("6.5b", "no graph")
def cost_detached(gate_probabilities, costs):
    return (gate_probabilities * costs).sum(-1).mean().detach()


@mutant("6.5b", "the dearest example")
def cost_max(gate_probabilities, costs):
    return (gate_probabilities * costs).sum(-1).max()


@mutant("6.5b", "one number for each example")
def cost_each(gate_probabilities, costs):
    return gate_probabilities @ costs


@mutant("6.5b", "in float32")
def cost_single(gate_probabilities, costs):
    return (gate_probabilities.float() @ costs.float()).mean().to(costs.dtype)


@mutant("6.5b", "in half precision")
def cost_half(gate_probabilities, costs):
    return (gate_probabilities.half() * costs.half()).sum(-1).mean().to(costs.dtype)


@mutant("6.5b", "costs squared")
def cost_squared(gate_probabilities, costs):
    return (gate_probabilities * costs**2).sum(-1).mean()


@right("6.5b")
def cost_matmul(gate_probabilities, costs):
    return (gate_probabilities @ costs).mean()


@right("6.5b")
def cost_mean_first(gate_probabilities, costs):
    return gate_probabilities.mean(0).dot(costs)


@right("6.5b")
def cost_einsum(gate_probabilities, costs):
    return torch.einsum("bl,l->", gate_probabilities, costs) / len(gate_probabilities)


# --- 6.5c expected_reward ---------------------------------------------------------------------------------------------


def open_gates(gates, reverse=False, dtype=torch.int64):
    """[2^L, L], bool."""
    bits = torch.arange(2**gates).to(dtype).unsqueeze(1) >> torch.arange(gates).to(dtype) & 1
    return (bits.flip(1) if reverse else bits).bool()


def reward_product(p, rewards, bits):
    return (torch.where(bits, p.unsqueeze(1), 1 - p.unsqueeze(1)).prod(-1) * rewards).sum(1).mean()


@mutant("6.5c", "gate 0 is the highest bit, as itertools.product has it")
def reward_reversed(gate_probabilities, rewards):
    return reward_product(gate_probabilities, rewards, open_gates(gate_probabilities.shape[1], reverse=True))


@mutant("6.5c", "bit 1 is closed")
def reward_closed(gate_probabilities, rewards):
    return dynamic.expected_reward(1 - gate_probabilities, rewards)


@mutant("6.5c", "a closed gate's probability forgotten")
def reward_open_only(gate_probabilities, rewards):
    bits = open_gates(gate_probabilities.shape[1])
    return (torch.where(bits, gate_probabilities.unsqueeze(1), 1.0).prod(-1) * rewards).sum(1).mean()


@mutant("6.5c", "probabilities added")
def reward_added(gate_probabilities, rewards):
    p = gate_probabilities.unsqueeze(1)
    weight = torch.where(open_gates(p.shape[2]), p, 1 - p).mean(-1)
    return (weight * rewards).sum(1).mean() * 2 / rewards.shape[1]


@mutant("6.5c", "the likeliest setting only")
def reward_likeliest(gate_probabilities, rewards):
    bits = (gate_probabilities > 0.5).long()
    setting = (bits << torch.arange(bits.shape[1])).sum(1, keepdim=True)
    return rewards.gather(1, setting).mean() + 0 * gate_probabilities.sum()


@mutant("6.5c", "one draw, as REINFORCE")
def reward_drawn(gate_probabilities, rewards):
    bits = (torch.rand(gate_probabilities.shape) < gate_probabilities).long()
    setting = (bits << torch.arange(bits.shape[1])).sum(1, keepdim=True)
    return rewards.gather(1, setting).mean() + 0 * gate_probabilities.sum()


@mutant("6.5c", "logarithms, which are infinite for sure gates")
def reward_logarithms(gate_probabilities, rewards):
    p = gate_probabilities.unsqueeze(1)
    log_p = torch.where(open_gates(p.shape[2]), p.log(), (1 - p).log()).sum(-1)
    return (log_p.exp() * rewards).sum(1).mean()


@mutant("6.5c", "probabilities cut off at 1e-6")
def reward_clamped(gate_probabilities, rewards):
    return dynamic.expected_reward(gate_probabilities.clamp(1e-6, 1 - 1e-6), rewards)


@mutant("6.5c", "summed over the batch")
def reward_summed(gate_probabilities, rewards):
    return dynamic.expected_reward(gate_probabilities, rewards) * len(rewards)


@mutant("6.5c", "the mean over the settings")
def reward_averaged(gate_probabilities, rewards):
    return dynamic.expected_reward(gate_probabilities, rewards) / rewards.shape[1]


@mutant("6.5c", "rewards are constants")
def reward_constant(gate_probabilities, rewards):
    return dynamic.expected_reward(gate_probabilities, rewards.detach())


@mutant("6.5c", "probabilities are constants")
def reward_detached(gate_probabilities, rewards):
    return dynamic.expected_reward(gate_probabilities.detach(), rewards)


@mutant("6.5c", "in float32")
def reward_single(gate_probabilities, rewards):
    return dynamic.expected_reward(gate_probabilities.float(), rewards.float()).to(rewards.dtype)


@mutant("6.5c", "bits in uint8, which is full at 256 settings")
def reward_octets(gate_probabilities, rewards):
    gates = gate_probabilities.shape[1]
    bits = (torch.arange(2**gates).to(torch.uint8).unsqueeze(1) // 2 ** torch.arange(gates)) % 2 == 1
    return reward_product(gate_probabilities, rewards, bits)


@mutant("6.5c", "the rewards' mean over the batch first")
def reward_batch_first(gate_probabilities, rewards):
    return dynamic.expected_reward(gate_probabilities.mean(0, keepdim=True), rewards.mean(0, keepdim=True))


@right("6.5c")
def reward_table(gate_probabilities, rewards):
    return reward_product(gate_probabilities, rewards, open_gates(gate_probabilities.shape[1]))


@right("6.5c")
def reward_from_the_last(gate_probabilities, rewards):
    for gate in reversed(range(gate_probabilities.shape[1])):
        closed, opened = rewards.chunk(2, dim=1)
        p = gate_probabilities[:, gate : gate + 1]
        rewards = (1 - p) * closed + p * opened
    return rewards.mean()


@right("6.5c")
def reward_python(gate_probabilities, rewards):
    total = 0
    for i in range(rewards.shape[1]):
        probability = 1
        for gate, p in enumerate(gate_probabilities.T):
            probability = probability * (p if i >> gate & 1 else 1 - p)
        total = total + probability * rewards[:, i]
    return total.mean()


@right("6.5c")
def reward_outer(gate_probabilities, rewards):
    batch, gates = gate_probabilities.shape
    p = torch.stack([1 - gate_probabilities, gate_probabilities], dim=-1)  # [batch, L, 2]
    whole = p[:, -1]
    for gate in reversed(range(gates - 1)):
        whole = (whole.unsqueeze(2) * p[:, gate].unsqueeze(1)).reshape(batch, -1)
    return (whole * rewards).sum() / batch


# --- 6.6 slim ---------------------------------------------------------------------------------------------------------


def slimmed(weight, bias, in_fraction, out_fraction, positions=1, count=lambda f, n: max(1, round(f * n))):
    """Slims with another way to count."""
    outputs = count(out_fraction, len(weight))
    inputs = count(in_fraction, weight.shape[1] // positions) * positions
    return weight[:outputs, :inputs].clone(), bias[:outputs].clone()


@mutant("6.6", "int for round")
def slim_int(*arguments, **named):
    return slimmed(*arguments, **named, count=lambda f, n: max(1, int(f * n)))


@mutant("6.6", "rounded up")
def slim_ceil(*arguments, **named):
    return slimmed(*arguments, **named, count=lambda f, n: max(1, math.ceil(f * n)))


@mutant("6.6", "halves rounded up")
def slim_half_up(*arguments, **named):
    return slimmed(*arguments, **named, count=lambda f, n: max(1, math.floor(f * n + 0.5)))


@mutant("6.6", "no channel may be left")
def slim_nothing(*arguments, **named):
    return slimmed(*arguments, **named, count=lambda f, n: round(f * n))


@mutant("6.6", "one channel more than that")
def slim_one_more(*arguments, **named):
    return slimmed(*arguments, **named, count=lambda f, n: min(n, 1 + round(f * n)))


@mutant("6.6", "columns counted: a channel cut in half")
def slim_columns(weight, bias, in_fraction, out_fraction, positions=1):
    return slimmed(weight, bias, in_fraction, out_fraction)


@mutant("6.6", "columns counted, then cut down to whole channels")
def slim_whole_channels(weight, bias, in_fraction, out_fraction, positions=1):
    columns = max(positions, round(in_fraction * weight.shape[1]) // positions * positions)
    small, bias = slimmed(weight, bias, 1, out_fraction, positions)
    return small[:, :columns].clone(), bias


@mutant("6.6", "positions cut, not channels")
def slim_of_each(weight, bias, in_fraction, out_fraction, positions=1):
    if positions == 1:
        return slimmed(weight, bias, in_fraction, out_fraction)
    parts = weight.unflatten(1, (-1, positions))
    kept = max(1, round(in_fraction * parts.shape[1]))
    small, bias = slimmed(parts.transpose(1, 2).flatten(1), bias, 1, out_fraction)
    return small[:, : kept * positions].clone(), bias


@mutant("6.6", "the fractions swapped")
def slim_swapped(weight, bias, in_fraction, out_fraction, positions=1):
    return slimmed(weight, bias, out_fraction, in_fraction, positions)


@mutant("6.6", "the last channels")
def slim_last(weight, bias, in_fraction, out_fraction, positions=1):
    small, _ = slimmed(weight, bias, in_fraction, out_fraction, positions)
    return weight[-small.shape[0] :, -small.shape[1] :].clone(), bias[-small.shape[0] :].clone()


@mutant("6.6", "the bias as it was")
def slim_whole_bias(weight, bias, in_fraction, out_fraction, positions=1):
    return slimmed(weight, bias, in_fraction, out_fraction, positions)[0], bias.clone()


@mutant("6.6", "views")
def slim_views(weight, bias, in_fraction, out_fraction, positions=1):
    small, _ = slimmed(weight, bias, in_fraction, out_fraction, positions)
    return weight[: small.shape[0], : small.shape[1]], bias[: small.shape[0]]


@mutant("6.6", "the layer itself where all stays")
def slim_itself(weight, bias, in_fraction, out_fraction, positions=1):
    if in_fraction == out_fraction == 1:
        return weight, bias
    return slimmed(weight, bias, in_fraction, out_fraction, positions)


@mutant("6.6", "no gradient")
def slim_detached(*arguments, **named):
    return tuple(value.detach() for value in slimmed(*arguments, **named))


@mutant("6.6", "the weights scaled up for what is missing")
def slim_scaled(weight, bias, in_fraction, out_fraction, positions=1):
    small, bias = slimmed(weight, bias, in_fraction, out_fraction, positions)
    return small / in_fraction, bias


@mutant("6.6", "zeros where channels were")
def slim_masked(weight, bias, in_fraction, out_fraction, positions=1):
    small, small_bias = slimmed(weight, bias, in_fraction, out_fraction, positions)
    wide, wide_bias = torch.zeros_like(weight), torch.zeros_like(bias)
    wide[: small.shape[0], : small.shape[1]], wide_bias[: len(small)] = small, small_bias
    return wide, wide_bias


@mutant("6.6", "always float32")
def slim_float(*arguments, **named):
    return tuple(value.float() for value in slimmed(*arguments, **named))


@mutant("6.6", "the largest filters, not the first")
def slim_largest(weight, bias, in_fraction, out_fraction, positions=1):
    small, _ = slimmed(weight, bias, in_fraction, out_fraction, positions)
    best = weight.flatten(1).abs().sum(1).topk(small.shape[0]).indices.sort().values
    return weight[best, : small.shape[1]].clone(), bias[best].clone()


@right("6.6")
def slim_indexed(weight, bias, in_fraction, out_fraction, positions=1):
    outputs = torch.arange(max(1, round(out_fraction * weight.size(0))))
    channels = max(1, round(in_fraction * (weight.size(1) // positions)))
    return weight[outputs][:, torch.arange(channels * positions)], bias[outputs]


@right("6.6")
def slim_narrow(weight, bias, in_fraction, out_fraction, positions=1):
    outputs = max(round(len(bias) * out_fraction), 1)
    inputs = positions * max(round(weight.shape[1] / positions * in_fraction), 1)
    return weight.narrow(0, 0, outputs).narrow(1, 0, inputs) + 0, bias.narrow(0, 0, outputs) + 0


@right("6.6")
def slim_unflattened(weight, bias, in_fraction, out_fraction, positions=1):
    outputs = max(1, round(out_fraction * len(bias)))
    if positions == 1:
        return weight[:outputs, : max(1, round(in_fraction * weight.shape[1]))].clone(), bias[:outputs].clone()
    parts = weight.unflatten(1, (-1, positions))
    kept = max(1, round(in_fraction * parts.shape[1]))
    return parts[:outputs, :kept].flatten(1).clone(), bias[:outputs].clone()


# --- 6.7 early_exit_predict -------------------------------------------------------------------------------------------


def walk(
    inputs, stages, heads, thresholds, *, stop=True, strict=True, entropy=dynamic.prediction_entropy, dtype=torch.int64
):  # fmt: skip
    """The composed function, with an argument for each way to go wrong."""
    classes, exits = torch.zeros(2, len(inputs), dtype=dtype)
    waiting, hidden = torch.arange(len(inputs)), inputs
    for number, (stage, head) in enumerate(zip(stages, heads, strict=True)):
        if stop and len(waiting) == 0:
            break
        hidden = run_stage(stage, hidden)
        logits = mlp_forward(head, hidden)
        leaves = torch.ones(len(waiting), dtype=torch.bool)
        if number < len(thresholds):
            h = entropy(logits)
            leaves = h < thresholds[number] if strict else h <= thresholds[number]
        classes[waiting[leaves]] = logits[leaves].argmax(-1).to(dtype)
        exits[waiting[leaves]] = number
        waiting, hidden = waiting[~leaves], hidden[~leaves]
    return classes, exits


def everything(inputs, stages, heads):
    """The logits of all exits, for all."""
    logits = []
    for stage, head in zip(stages, heads, strict=True):
        inputs = run_stage(stage, inputs)
        logits.append(mlp_forward(head, inputs))
    return logits


@mutant("6.7", "computes everything, and chooses afterwards")
def predict_everything(inputs, stages, heads, thresholds):
    logits = everything(inputs, stages, heads)
    exits = dynamic.exit_index(logits, thresholds)
    return torch.stack(logits)[exits, torch.arange(len(inputs))].argmax(-1), exits


@mutant("6.7", "in the order of leaving")
def predict_in_order_of_leaving(inputs, stages, heads, thresholds):
    classes, exits = walk(inputs, stages, heads, thresholds)
    order = exits.argsort(stable=True)
    return classes[order], exits[order]


@mutant("6.7", "the whole batch goes on while one waits")
def predict_together(inputs, stages, heads, thresholds):
    hidden = inputs
    for number, (stage, head) in enumerate(zip(stages, heads, strict=True)):
        hidden = run_stage(stage, hidden)
        logits = mlp_forward(head, hidden)
        if number == len(thresholds) or bool((dynamic.prediction_entropy(logits) < thresholds[number]).all()):
            return logits.argmax(-1), torch.full((len(inputs),), number)


@mutant("6.7", "an empty batch goes on")
def predict_empty(inputs, stages, heads, thresholds):
    return walk(inputs, stages, heads, thresholds, stop=False)


@mutant("6.7", "stages stop, heads go on")
def predict_all_heads(inputs, stages, heads, thresholds):
    hidden, waiting = inputs, torch.arange(len(inputs))
    classes, exits = torch.zeros(2, len(inputs), dtype=torch.int64)
    for number, (stage, head) in enumerate(zip(stages, heads, strict=True)):
        if len(waiting):
            hidden = run_stage(stage, hidden)
        logits = mlp_forward(head, hidden)
        last = number == len(thresholds)
        leaves = torch.ones(len(waiting), dtype=torch.bool)
        if not last:
            leaves = dynamic.prediction_entropy(logits) < thresholds[number]
        classes[waiting[leaves]], exits[waiting[leaves]] = logits[leaves].argmax(-1), number
        waiting, hidden = waiting[~leaves], hidden[~leaves]
    return classes, exits


@mutant("6.7", "≤ for <")
def predict_at_most(inputs, stages, heads, thresholds):
    return walk(inputs, stages, heads, thresholds, strict=False)


@mutant("6.7", "entropy in bits")
def predict_bits(inputs, stages, heads, thresholds):
    return walk(
        inputs, stages, heads, thresholds, entropy=lambda logits: dynamic.prediction_entropy(logits) / math.log(2)
    )


@mutant("6.7", "the largest probability for the entropy")
def predict_confidence(inputs, stages, heads, thresholds):
    return walk(inputs, stages, heads, thresholds, entropy=lambda logits: 1 - logits.softmax(-1).amax(-1))


@mutant("6.7", "the last exit's class for everybody")
def predict_last_class(inputs, stages, heads, thresholds):
    exits = walk(inputs, stages, heads, thresholds)[1]
    return everything(inputs, stages, heads)[-1].argmax(-1), exits


@mutant("6.7", "the first exit's class for everybody")
def predict_first_class(inputs, stages, heads, thresholds):
    return mlp_forward(heads[0], run_stage(stages[0], inputs)).argmax(-1), walk(inputs, stages, heads, thresholds)[1]


@mutant("6.7", "heads look at the images")
def predict_heads_on_images(inputs, stages, heads, thresholds):
    return walk(inputs, [{}] * len(stages), heads, thresholds)


@mutant("6.7", "exits counted from 1")
def predict_from_one(inputs, stages, heads, thresholds):
    classes, exits = walk(inputs, stages, heads, thresholds)
    return classes, exits + 1


@mutant("6.7", "the undecided leave")
def predict_undecided(inputs, stages, heads, thresholds):
    return walk(
        inputs, stages, heads, [-t for t in thresholds], entropy=lambda logits: -dynamic.prediction_entropy(logits)
    )


@mutant("6.7", "int32")
def predict_int(inputs, stages, heads, thresholds):
    return walk(inputs, stages, heads, thresholds, dtype=torch.int32)


@mutant("6.7", "exits in int8, places too")
def predict_small(inputs, stages, heads, thresholds):
    classes, exits = walk(inputs, stages, heads, thresholds)
    place = torch.arange(len(inputs)).to(torch.uint8).long().clamp(max=len(inputs) - 1)
    return classes[place], exits[place]


@mutant("6.7", "results swapped")
def predict_swapped(inputs, stages, heads, thresholds):
    return walk(inputs, stages, heads, thresholds)[::-1]


@mutant("6.7", "one image decides for all")
def predict_first_decides(inputs, stages, heads, thresholds):
    number = int(walk(inputs[:1], stages, heads, thresholds)[1])
    return everything(inputs, stages[: number + 1], heads[: number + 1])[-1].argmax(-1), torch.full(
        (len(inputs),), number
    )


@mutant("6.7", "who leaves is marked, and goes on")
def predict_marked(inputs, stages, heads, thresholds):
    classes, exits = torch.zeros(len(inputs), dtype=torch.int64), torch.full((len(inputs),), -1)
    hidden = inputs
    for number, (stage, head) in enumerate(zip(stages, heads, strict=True)):
        hidden = run_stage(stage, hidden)
        logits = mlp_forward(head, hidden)
        leaves = exits < 0
        if number < len(thresholds):
            leaves = leaves & (dynamic.prediction_entropy(logits) < thresholds[number])
        classes[leaves], exits[leaves] = logits[leaves].argmax(-1), number
        if bool((exits >= 0).all()):
            break
    return classes, exits


@right("6.7")
def predict_one_by_one(inputs, stages, heads, thresholds):
    found = []
    for hidden in inputs.split(1):
        for number, (stage, head) in enumerate(zip(stages, heads, strict=True)):
            hidden = run_stage(stage, hidden)
            logits = mlp_forward(head, hidden)
            if number == len(thresholds) or float(dynamic.prediction_entropy(logits)) < thresholds[number]:
                found.append((int(logits.argmax()), number))
                break
    classes, exits = zip(*found, strict=True)
    return torch.tensor(classes), torch.tensor(exits)


@right("6.7")
def predict_recursive(inputs, stages, heads, thresholds):
    hidden = run_stage(stages[0], inputs)
    logits = mlp_forward(heads[0], hidden)
    classes, exits = logits.argmax(-1), torch.zeros(len(inputs), dtype=torch.int64)
    if len(stages) > 1:
        stay = ~(dynamic.prediction_entropy(logits) < thresholds[0])
        if stay.any():
            classes[stay], later = predict_recursive(hidden[stay], stages[1:], heads[1:], thresholds[1:])
            exits[stay] = later + 1
    return classes, exits


@right("6.7")
def predict_walk(inputs, stages, heads, thresholds):
    return list(walk(inputs, stages, heads, [*thresholds]))


STRICT = "strict=True only guards against lists of unlike lengths, which no input has"
SUM = "a tensor of one number compares, adds and multiplies as the number does"
HINT = "an annotation of a local name is not evaluated"
LAST = "all that comes here has two axes"

EQUIVALENT = {
    "exit_index: 0 -> -1": "the length of any exit's logits is the batch",
    "joint_exit_loss: True -> False": STRICT,
    "joint_exit_loss: zip(weights, losses, strict=True) -> zip(weights, losses)": STRICT,
    "choose_thresholds: 1 -> 2": "a second row of True below the first is never the first True",
    "choose_thresholds: True -> False": STRICT,
    "choose_thresholds: int(correct.gather(0, left.unsqueeze(0)).sum()) -> "
    "correct.gather(0, left.unsqueeze(0)).sum()": SUM,
    "choose_thresholds: left.bincount(minlength=exits).tolist() -> left.bincount(minlength=exits)": SUM,
    "choose_thresholds: list(thresholds) -> thresholds": "a tuple counts as a list",
    "choose_thresholds: torch.ones(1, count, dtype=torch.bool) -> torch.ones(1, count)": "1.0 becomes 1 in .int()",
    "choose_thresholds: tuple[int, float] | None -> None": HINT,
    "choose_thresholds: tuple[int, float] | None -> tuple[int, float]": HINT,
    "choose_thresholds: tuple[int, float] | None -> tuple[int, float] & None": HINT,
    "choose_thresholds: zip(entropies, thresholds, strict=True) -> zip(entropies, thresholds)": STRICT,
    "choose_thresholds: zip(macs_per_exit, visits, strict=True) -> zip(macs_per_exit, visits)": STRICT,
    "skip_gate: (total > 0).to(soft.dtype) -> total > 0": "a bool plus a float is a float",
    "expected_cost: -1 -> 1": LAST,
    "slim: weight.shape[1] // positions -> weight.shape[1] / positions": "positions divide the columns",
    "early_exit_predict: -1 -> 1": LAST,
    "early_exit_predict: True -> False": STRICT,
    "early_exit_predict: zip(stages, heads, strict=True) -> zip(stages, heads)": STRICT,
}


@mutant("6.1", "logits clamped to ±50")
def entropy_of_clamped(logits):
    return dynamic.prediction_entropy(logits.clamp(-50, 50))


@mutant("6.2", "thresholds in float32")
def exits_by_float32(logits_per_exit, thresholds):
    return dynamic.exit_index(logits_per_exit, torch.tensor(thresholds, dtype=torch.float32).tolist())


@mutant("6.2", "entropies in float32")
def exits_in_float32(logits_per_exit, thresholds):
    return dynamic.exit_index([logits.float() for logits in logits_per_exit], thresholds)


@mutant("6.4", "entropies in float32")
def thresholds_in_float32(entropies, correct, macs_per_exit, budget, candidates):
    return dynamic.choose_thresholds(entropies.float(), correct, macs_per_exit, budget, candidates)


@mutant("6.7", "all in float32")
def predict_in_float32(inputs, stages, heads, thresholds):
    stages, heads = ([{name: value.float() for name, value in part.items()} for part in all] for all in (stages, heads))
    return dynamic.early_exit_predict(inputs.float(), stages, heads, thresholds)


def half_as(dtype, function):
    """The function with half precision (or bfloat16 alone) as this dtype, in which its result stays."""

    def cast(value):
        match value:
            case torch.Tensor():
                halves = (torch.bfloat16, torch.float16) if dtype == torch.float32 else (torch.bfloat16,)
                return value.to(dtype) if value.dtype in halves else value
            case list() | tuple():
                return type(value)(map(cast, value))
        return value

    return lambda *arguments, **named: function(*map(cast, arguments), **named)


for number, function in {
    "6.3": dynamic.joint_exit_loss,
    "6.5a": dynamic.skip_gate,
    "6.5b": dynamic.expected_cost,
    "6.5c": dynamic.expected_reward,
    "6.6": dynamic.slim,
}.items():
    mutant(number, "half precision comes back as float32")(half_as(torch.float32, function))
    mutant(number, "bfloat16 is taken for float16")(half_as(torch.float16, function))
