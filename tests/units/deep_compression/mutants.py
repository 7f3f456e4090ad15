"""Mutants and right variants of unit 03."""

import functools
import heapq
import io
import itertools
import math
import operator
import re
from collections import Counter, deque

import msgpack
import numpy as np
import torch

from course_utils import bitstring
from course_utils import deep_compression as reference
from tests.checks.catalogue import mutant, right

# --- 3.1 masked_sgd_step ----------------------------------------------------------------------------------------------


@mutant("3.1", "the mask is on the gradient only")
def mask_on_gradient(weight, gradient, velocity, mask, lr, momentum, weight_decay):
    velocity = momentum * velocity + gradient * mask + weight_decay * weight
    return weight - lr * velocity, velocity


@mutant("3.1", "the mask is on the gradient and on the weight decay, momentum revives")
def momentum_revives(weight, gradient, velocity, mask, lr, momentum, weight_decay):
    velocity = momentum * velocity + (gradient + weight_decay * weight).masked_fill(~mask, 0)
    return weight - lr * velocity, velocity


@mutant("3.1", "the velocity is not masked")
def velocity_unmasked(weight, gradient, velocity, mask, lr, momentum, weight_decay):
    velocity = momentum * velocity + gradient + weight_decay * weight
    return (weight - lr * velocity).masked_fill(~mask, 0), velocity


@mutant("3.1", "multiplies by the mask: NaN stays NaN")
def product_with_mask(weight, gradient, velocity, mask, lr, momentum, weight_decay):
    velocity = momentum * velocity + gradient + weight_decay * weight
    return (weight - lr * velocity) * mask, velocity * mask


@mutant("3.1", "lr inside the velocity")
def rate_in_velocity(weight, gradient, velocity, mask, lr, momentum, weight_decay):
    velocity = momentum * velocity + lr * (gradient + weight_decay * weight)
    zero = torch.zeros_like(weight)
    return torch.where(mask, weight - velocity, zero), torch.where(mask, velocity, zero)


@mutant("3.1", "dampened: the gradient counts 1 − momentum")
def dampened(weight, gradient, velocity, mask, lr, momentum, weight_decay):
    velocity = momentum * velocity + (1 - momentum) * (gradient + weight_decay * weight)
    zero = torch.zeros_like(weight)
    return torch.where(mask, weight - lr * velocity, zero), torch.where(mask, velocity, zero)


@mutant("3.1", "Nesterov's step")
def nesterov(weight, gradient, velocity, mask, lr, momentum, weight_decay):
    direction = gradient + weight_decay * weight
    velocity = momentum * velocity + direction
    zero = torch.zeros_like(weight)
    return torch.where(mask, weight - lr * (direction + momentum * velocity), zero), torch.where(mask, velocity, zero)


@mutant("3.1", "weight decay forgotten")
def no_decay(weight, gradient, velocity, mask, lr, momentum, weight_decay):
    return reference.masked_sgd_step(weight, gradient, velocity, mask, lr, momentum, 0.0)


@mutant("3.1", "weight decay outside the velocity (AdamW's way)")
def decoupled_decay(weight, gradient, velocity, mask, lr, momentum, weight_decay):
    return reference.masked_sgd_step(weight * (1 - lr * weight_decay), gradient, velocity, mask, lr, momentum, 0.0)


@mutant("3.1", "the old velocity moves the weight")
def old_velocity(weight, gradient, velocity, mask, lr, momentum, weight_decay):
    _, new = reference.masked_sgd_step(weight, gradient, velocity, mask, lr, momentum, weight_decay)
    return torch.where(mask, weight - lr * velocity, torch.zeros_like(weight)), new


@mutant("3.1", "the mask the wrong way round")
def mask_reversed(weight, gradient, velocity, mask, lr, momentum, weight_decay):
    return reference.masked_sgd_step(weight, gradient, velocity, ~mask, lr, momentum, weight_decay)


@mutant("3.1", "zeros are float32")
def step_in_float32(weight, gradient, velocity, mask, lr, momentum, weight_decay):
    result = reference.masked_sgd_step(weight, gradient, velocity, mask, lr, momentum, weight_decay)
    return tuple(tensor.float() for tensor in result)


@mutant("3.1", "weight and velocity the other way round")
def results_swapped(weight, gradient, velocity, mask, lr, momentum, weight_decay):
    return reference.masked_sgd_step(weight, gradient, velocity, mask, lr, momentum, weight_decay)[::-1]


@mutant("3.1", "NaN is made 0 everywhere, infinity stays")
def nan_to_num(weight, gradient, velocity, mask, lr, momentum, weight_decay):
    velocity = momentum * velocity + gradient + weight_decay * weight
    return torch.nan_to_num((weight - lr * velocity) * mask), velocity * mask


@mutant("3.1", "changes its arguments")
def step_in_place(weight, gradient, velocity, mask, lr, momentum, weight_decay):
    velocity.mul_(momentum).add_(gradient + weight_decay * weight).masked_fill_(~mask, 0)
    return (weight - lr * velocity).masked_fill(~mask, 0), velocity


@mutant("3.1", "NaN and infinity are made numbers, at kept places too")
def numbers_everywhere(weight, gradient, velocity, mask, lr, momentum, weight_decay):
    velocity = momentum * velocity + gradient + weight_decay * weight
    return torch.nan_to_num((weight - lr * velocity) * mask), torch.nan_to_num(velocity * mask)


@mutant("3.1", "float32 inside")
def step_float32_inside(weight, gradient, velocity, mask, lr, momentum, weight_decay):
    tensors = (tensor.float() for tensor in (weight, gradient, velocity))
    result = reference.masked_sgd_step(*tensors, mask, lr, momentum, weight_decay)
    return tuple(tensor.to(weight.dtype) for tensor in result)


@mutant("3.1", "a kept weight that is 0 stays 0")
def zero_is_pruned(weight, gradient, velocity, mask, lr, momentum, weight_decay):
    return reference.masked_sgd_step(weight, gradient, velocity, mask & (weight != 0), lr, momentum, weight_decay)


@mutant("3.1", "zeros are written into a flat copy of a weight stored by columns")
def step_flat_copy(weight, gradient, velocity, mask, lr, momentum, weight_decay):
    velocity = momentum * velocity + gradient + weight_decay * weight
    result = weight - lr * velocity, velocity
    for tensor in result:
        tensor.flatten()[~mask.flatten()] = 0
    return result


@right("3.1")
def step_of_clean_inputs(weight, gradient, velocity, mask, lr, momentum, weight_decay):
    weight, gradient, velocity = (torch.where(mask, tensor, 0) for tensor in (weight, gradient, velocity))
    velocity = momentum * velocity + gradient + weight_decay * weight
    return weight - lr * velocity, velocity


@right("3.1")
def step_by_masked_fill(weight, gradient, velocity, mask, lr, momentum, weight_decay):
    velocity = (momentum * velocity + (gradient + weight_decay * weight)).masked_fill(~mask, 0)
    return (weight - lr * velocity).masked_fill(~mask, 0), velocity


@right("3.1")
def step_by_torch_sgd(weight, gradient, velocity, mask, lr, momentum, weight_decay):
    parameter = weight[mask].clone().requires_grad_()
    optimizer = torch.optim.SGD([parameter], lr=float(lr), momentum=1.0, weight_decay=weight_decay)
    optimizer.state[parameter]["momentum_buffer"] = momentum * velocity[mask]
    parameter.grad = gradient[mask]
    optimizer.step()
    new_weight, new_velocity = torch.zeros_like(weight), torch.zeros_like(velocity)
    new_weight[mask] = parameter.detach()
    new_velocity[mask] = optimizer.state[parameter]["momentum_buffer"]
    return new_weight, new_velocity


@mutant("3.1", "half precision becomes float32")
def step_with_float32_zeros(weight, gradient, velocity, mask, lr, momentum, weight_decay):
    velocity = momentum * velocity + gradient + weight_decay * weight
    zeros = torch.zeros(weight.shape)
    return torch.where(mask, weight - lr * velocity, zeros), torch.where(mask, velocity, zeros)


@mutant("3.1", "a step size of 0 leaves the velocity as it is")
def step_of_size_zero(weight, gradient, velocity, mask, lr, momentum, weight_decay):
    if not lr:
        return weight.masked_fill(~mask, 0), velocity.masked_fill(~mask, 0)
    return reference.masked_sgd_step(weight, gradient, velocity, mask, lr, momentum, weight_decay)


@mutant("3.1", "NaN becomes 0 where a weight is kept")
def step_without_any_nan(weight, gradient, velocity, mask, lr, momentum, weight_decay):
    velocity = momentum * velocity + gradient + weight_decay * weight
    return torch.nan_to_num((weight - lr * velocity) * mask), torch.nan_to_num(velocity * mask)


@mutant("3.1", "transposed weights are an error")
def step_of_flat_views(weight, gradient, velocity, mask, lr, momentum, weight_decay):
    flat = [x.view(-1) for x in (weight, gradient, velocity, mask)]
    found = reference.masked_sgd_step(*flat, lr, momentum, weight_decay)
    return tuple(x.view(weight.shape) for x in found)


@mutant("3.1", "the velocity is at most 10")
def step_with_bounded_velocity(weight, gradient, velocity, mask, lr, momentum, weight_decay):
    new, velocity = reference.masked_sgd_step(weight, gradient, velocity, mask, lr, momentum, weight_decay)
    bounded = velocity.clamp(-10, 10)
    return new + lr * (velocity - bounded), bounded


@mutant("3.1", "always at least one axis")
def step_at_least_one_axis(weight, gradient, velocity, mask, lr, momentum, weight_decay):
    found = reference.masked_sgd_step(weight, gradient, velocity, mask, lr, momentum, weight_decay)
    return tuple(map(torch.atleast_1d, found))


@right("3.1")
def step_by_places(weight, gradient, velocity, mask, lr, momentum, weight_decay):
    new_weight, new_velocity = torch.zeros_like(weight), torch.zeros_like(velocity)
    new_velocity[mask] = gradient[mask] + weight[mask] * weight_decay + velocity[mask] * momentum
    new_weight[mask] = weight[mask] - new_velocity[mask] * lr
    return [new_weight, new_velocity]


# --- 3.2a encode_relative_index ---------------------------------------------------------------------------------------


def encoder(start=-1, longest=lambda bits: 2**bits, keep_fillers=True, needs_filler=lambda gap, longest: gap > longest):
    """A place-by-place encoder with one thing to get wrong."""

    def encode(mask, index_bits):
        gaps, fillers, before = [], [], start
        for place in mask.flatten().nonzero().flatten().tolist():
            gap = place - before
            while needs_filler(gap, longest(index_bits)):
                if keep_fillers:
                    gaps.append(longest(index_bits))
                    fillers.append(True)
                gap -= longest(index_bits)
            gaps.append(gap)
            fillers.append(False)
            before = place
        return torch.tensor(gaps, dtype=torch.int64), torch.tensor(fillers, dtype=torch.bool)

    return encode


right("3.2a")(functools.wraps(reference.encode_relative_index)(encoder()))
mutant("3.2a", "filler lost")(encoder(keep_fillers=False))
mutant("3.2a", "the first gap counts from 0")(encoder(start=0))
mutant("3.2a", "the longest gap is 2^bits − 1")(encoder(longest=lambda bits: 2**bits - 1 or 1))
mutant("3.2a", "a filler also for a gap of exactly 2^bits")(
    encoder(needs_filler=lambda gap, longest: gap >= longest and gap > 1)
)
mutant("3.2a", "the longest gap is index_bits")(encoder(longest=lambda bits: bits))


@mutant("3.2a", "one filler at most")
def one_filler(mask, index_bits):
    gaps, _ = reference.encode_relative_index(mask, 30)
    out, marks = [], []
    for gap in gaps.tolist():
        if gap > 2**index_bits:
            out.append(2**index_bits)
            marks.append(True)
            gap -= 2**index_bits
        out.append(gap)
        marks.append(False)
    return torch.tensor(out, dtype=torch.int64), torch.tensor(marks, dtype=torch.bool)


@mutant("3.2a", "gaps stored as 0 … 2^bits − 1")
def gap_from_zero(mask, index_bits):
    gaps, fillers = reference.encode_relative_index(mask, index_bits)
    return gaps - 1, fillers


@mutant("3.2a", "fillers stand after the weight")
def filler_after(mask, index_bits):
    gaps, fillers = reference.encode_relative_index(mask, index_bits)
    return gaps.flip(0), fillers.flip(0)


@mutant("3.2a", "the tail is bridged too")
def tail_bridged(mask, index_bits):
    gaps, fillers = reference.encode_relative_index(mask, index_bits)
    rest = (mask.numel() - int(gaps.sum())) // 2**index_bits
    more = torch.full((rest,), 2**index_bits)
    return torch.cat([gaps, more]), torch.cat([fillers, torch.ones(rest, dtype=torch.bool)])


@mutant("3.2a", "read column by column")
def by_columns(mask, index_bits):
    return reference.encode_relative_index(mask.permute(*range(mask.ndim)[::-1]), index_bits)


@mutant("3.2a", "fails on a mask that keeps nothing")
def needs_a_weight(mask, index_bits):
    mask.flatten().nonzero()[0]
    return reference.encode_relative_index(mask, index_bits)


@mutant("3.2a", "gaps are int32")
def gaps_int32(mask, index_bits):
    gaps, fillers = reference.encode_relative_index(mask, index_bits)
    return gaps.int(), fillers


@mutant("3.2a", "fillers are 0 and 1")
def fillers_int(mask, index_bits):
    gaps, fillers = reference.encode_relative_index(mask, index_bits)
    return gaps, fillers.long()


@mutant("3.2a", "the places themselves, not the gaps")
def places_not_gaps(mask, index_bits):
    gaps, fillers = reference.encode_relative_index(mask, index_bits)
    return gaps.cumsum(0), fillers


@right("3.2a")
def encode_with_numpy(mask, index_bits):
    longest = 2**index_bits
    distances = np.diff(np.flatnonzero(mask.numpy().reshape(-1)), prepend=-1)
    gaps, fillers = [], []
    for distance in distances:
        count, rest = divmod(int(distance) - 1, longest)
        gaps += [longest] * count + [rest + 1]
        fillers += [True] * count + [False]
    return torch.tensor(gaps, dtype=torch.int64), torch.tensor(fillers, dtype=torch.bool)


@mutant("3.2a", "positions are counted in 16 bits")
def encode_in_16_bits(mask, index_bits):
    positions = mask.flatten().nonzero().squeeze(1).numpy().astype(np.int16)
    gaps, fillers, before = [], [], -1
    for position in positions.tolist():
        distance = position - before
        while distance > 2**index_bits:
            gaps.append(2**index_bits), fillers.append(True)
            distance -= 2**index_bits
        gaps.append(distance), fillers.append(False)
        before = position
    return torch.tensor(gaps, dtype=torch.int64), torch.tensor(fillers, dtype=torch.bool)


@mutant("3.2a", "gaps are held in 16 bits")
def encode_gaps_in_16_bits(mask, index_bits):
    gaps, fillers = reference.encode_relative_index(mask, index_bits)
    return gaps.to(torch.int16).long(), fillers


@mutant("3.2a", "gaps are held in a byte")
def encode_gaps_in_a_byte(mask, index_bits):
    gaps, fillers = reference.encode_relative_index(mask, index_bits)
    return gaps.to(torch.uint8).long(), fillers


@mutant("3.2a", "a transposed mask is read as it lies in memory")
def encode_in_memory_order(mask, index_bits):
    return reference.encode_relative_index(torch.from_numpy(mask.numpy().ravel(order="K").copy()), index_bits)


@mutant("3.2a", "a transposed mask is an error")
def encode_a_view(mask, index_bits):
    return reference.encode_relative_index(mask.view(-1), index_bits)


@mutant("3.2a", "at most eight fillers in a row")
def encode_with_few_fillers(mask, index_bits):
    longest, gaps, fillers, before = 2**index_bits, [], [], -1
    for position in mask.flatten().nonzero().flatten().tolist():
        distance = position - before
        for _ in range(8):
            if distance > longest:
                gaps.append(longest), fillers.append(True)
                distance -= longest
        gaps.append(distance), fillers.append(False)
        before = position
    return torch.tensor(gaps, dtype=torch.int64), torch.tensor(fillers, dtype=torch.bool)


@right("3.2a")
def encode_with_divmod(mask, index_bits):
    gaps, fillers, since = [], [], 0
    for kept in np.asarray(mask).reshape(-1):
        since += 1
        if kept:
            bridges, rest = divmod(since - 1, 1 << index_bits)
            gaps += [1 << index_bits] * bridges + [rest + 1]
            fillers += [True] * bridges + [False]
            since = 0
    return [torch.tensor(gaps).long(), torch.tensor(fillers).bool()]


@mutant("3.2a", "a mask without axes is taken for an empty one")
def index_of_nothing(mask, index_bits):
    return reference.encode_relative_index(mask if mask.dim() else mask.new_zeros(0), index_bits)


# --- 3.2b decode_relative_index ---------------------------------------------------------------------------------------


@mutant("3.2b", "fillers keep a weight too")
def filler_is_weight(gaps, fillers, length):
    return reference.decode_relative_index(gaps, torch.zeros_like(fillers), length)


@mutant("3.2b", "off by one")
def off_by_one(gaps, fillers, length):
    mask = torch.zeros(length + 1, dtype=torch.bool)
    mask[gaps.cumsum(0)[~fillers]] = True
    return mask[:length]


@mutant("3.2b", "fillers are dropped before the sum")
def filler_dropped(gaps, fillers, length):
    return reference.decode_relative_index(gaps[~fillers], fillers[~fillers], length)


@mutant("3.2b", "ends at the last kept weight")
def no_tail(gaps, fillers, length):
    return reference.decode_relative_index(gaps, fillers, int(gaps.sum()))


@mutant("3.2b", "the mask is of 0 and 1")
def mask_int(gaps, fillers, length):
    return reference.decode_relative_index(gaps, fillers, length).long()


@mutant("3.2b", "fails without entries")
def needs_entries(gaps, fillers, length):
    gaps[0]
    return reference.decode_relative_index(gaps, fillers, length)


@mutant("3.2b", "the mask the wrong way round")
def inverted(gaps, fillers, length):
    return ~reference.decode_relative_index(gaps, fillers, length)


@mutant("3.2b", "the last place is lost")
def last_lost(gaps, fillers, length):
    mask = reference.decode_relative_index(gaps, fillers, length)
    mask[-1] = False
    return mask


@right("3.2b")
def decode_by_loop(gaps, fillers, length):
    mask, place = [False] * length, -1
    for gap, filler in zip(gaps.tolist(), fillers.tolist(), strict=True):
        place += gap
        mask[place] = not filler
    return torch.tensor(mask)


@right("3.2b")
def decode_by_scatter(gaps, fillers, length):
    return torch.zeros(length, dtype=torch.bool).scatter(0, gaps.cumsum(0) - 1, ~fillers)


@mutant("3.2b", "gaps are held in 16 bits")
def decode_gaps_in_16_bits(gaps, fillers, length):
    return reference.decode_relative_index(gaps.to(torch.int16).long(), fillers, length)


@mutant("3.2b", "positions are added up in 16 bits")
def decode_in_16_bits(gaps, fillers, length):
    positions = np.cumsum(gaps.numpy(), dtype=np.int16).astype(np.int64) - 1
    mask = torch.zeros(length, dtype=torch.bool)
    mask[torch.from_numpy(positions)[~fillers]] = True
    return mask


@mutant("3.2b", "a mask without entries is an error")
def decode_up_to_the_last(gaps, fillers, length):
    positions = gaps.cumsum(0) - 1
    assert positions[-1] < length
    mask = torch.zeros(length, dtype=torch.bool)
    mask[positions[~fillers]] = True
    return mask


@right("3.2b")
def decode_with_accumulate(gaps, fillers, length):
    ends = itertools.accumulate(gaps.tolist())
    kept = {end for end, filler in zip(ends, fillers.tolist(), strict=True) if not filler}
    return torch.tensor([position + 1 in kept for position in range(length)], dtype=torch.bool)


# --- 3.3a linear_centroids --------------------------------------------------------------------------------------------


@mutant("3.3a", "symmetric about 0")
def symmetric(weights, count):
    largest = weights.abs().max().item()
    return torch.linspace(-largest, largest, count, dtype=weights.dtype) if count > 1 else weights.new_zeros(1)


@mutant("3.3a", "count 1 gives the least weight")
def one_is_least(weights, count):
    return torch.linspace(weights.min().item(), weights.max().item(), count, dtype=weights.dtype)


@mutant("3.3a", "count 1 gives the mean")
def one_is_mean(weights, count):
    return weights.mean().reshape(1) if count == 1 else reference.linear_centroids(weights, count)


@mutant("3.3a", "quantiles: dense where the weights are")
def quantiles(weights, count):
    if count == 1:
        return reference.linear_centroids(weights, 1)
    return torch.quantile(weights.flatten(), torch.linspace(0, 1, count, dtype=weights.dtype))


@mutant("3.3a", "midpoints of equal bins")
def bin_midpoints(weights, count):
    low, high = weights.min(), weights.max()
    return low + (high - low) * (torch.arange(count, dtype=weights.dtype) + 0.5) / count


@mutant("3.3a", "the greatest weight is left out")
def without_end(weights, count):
    low, high = weights.min(), weights.max()
    if count == 1:
        return ((low + high) / 2).reshape(1)
    return low + (high - low) * torch.arange(count, dtype=weights.dtype) / count


@mutant("3.3a", "float32 always")
def linear_float32(weights, count):
    return reference.linear_centroids(weights.float(), count)


@mutant("3.3a", "descending")
def descending(weights, count):
    return reference.linear_centroids(weights, count).flip(0)


@mutant("3.3a", "along the last axis only")
def per_row(weights, count):
    weights = weights.reshape(-1, weights.shape[-1])[0]
    return reference.linear_centroids(weights, count)


@mutant("3.3a", "the first row of the first axis only")
def first_only(weights, count):
    return reference.linear_centroids(weights[0] if weights.ndim > 1 else weights, count)


@right("3.3a")
def linear_by_formula(weights, count):
    low, high = weights.min(), weights.max()
    if count == 1:
        return ((low + high) / 2).reshape(1)
    return low + (high - low) * torch.arange(count, dtype=weights.dtype) / (count - 1)


@right("3.3a")
def linear_by_numpy(weights, count):
    array = weights.double().numpy()
    if count == 1:
        return torch.tensor([(array.min() + array.max()) / 2], dtype=weights.dtype)
    return torch.from_numpy(np.linspace(array.min(), array.max(), count)).to(weights.dtype)


@mutant("3.3a", "by NumPy, which has no bfloat16")
def linear_by_numpy_only(weights, count):
    weights.numpy()
    return linear_by_numpy(weights, count)


@mutant("3.3a", "a kept weight of 0 does not count")
def centroids_without_zeros(weights, count):
    return reference.linear_centroids(weights[weights != 0] if bool(weights.any()) else weights, count)


@mutant("3.3a", "half precision becomes float32")
def centroids_in_float32(weights, count):
    wide = torch.promote_types(weights.dtype, torch.float32)
    return reference.linear_centroids(weights.to(wide), count)


@mutant("3.3a", "at most 256 centroids")
def centroids_of_a_byte(weights, count):
    few = reference.linear_centroids(weights, min(count, 256))
    return torch.cat([few, few[-1:].repeat(count - len(few))])


@mutant("3.3a", "equal weights are spread by an epsilon")
def centroids_never_equal(weights, count):
    low, high = weights.min().item(), weights.max().item()
    if count == 1:
        return torch.tensor([(low + high) / 2], dtype=weights.dtype)
    return torch.linspace(low, max(high, low + 1e-6), count, dtype=weights.dtype)


@right("3.3a")
def centroids_by_fractions(weights, count):
    low, high = float(weights.min()), float(weights.max())
    parts = [i / (count - 1) for i in range(count)] if count > 1 else [0.5]
    return torch.tensor([low * (1 - part) + high * part for part in parts], dtype=weights.dtype)


# --- 3.3b kmeans_1d ---------------------------------------------------------------------------------------------------


def lloyd(assign=None, empty="stay", last=True, update=None, order=lambda c: c):
    """Lloyd's steps with one thing to get wrong."""
    assign = assign or (lambda w, c: (w[:, None] - c).abs().argmin(1))

    def kmeans(weights, centroids, steps):
        centroids = centroids.clone()
        assignment = assign(weights, centroids)
        for _ in range(steps):
            assignment = assign(weights, centroids)
            for k in range(len(centroids)):
                own = weights[assignment == k]
                if len(own):
                    centroids[k] = own.mean() if update is None else update(own, centroids[k])
                elif empty != "stay":
                    centroids[k] = empty
            centroids = order(centroids)
        return centroids, assign(weights, centroids) if last else assignment

    return kmeans


def lloyd_until(unchanged):
    def kmeans(weights, centroids, steps):
        for _ in range(steps):
            before = centroids
            centroids, _ = reference.kmeans_1d(weights, before, 1)
            if unchanged(centroids, before):
                break
        return reference.kmeans_1d(weights, centroids, 0)

    return kmeans


right("3.3b")(functools.wraps(reference.kmeans_1d)(lloyd_until(torch.equal)))
mutant("3.3b", "stops when torch.allclose")(lloyd_until(torch.allclose))
mutant("3.3b", "stops when no centroid moves by more than 1e-4")(lloyd_until(lambda c, b: (c - b).abs().max() < 1e-4))


def higher_tie(weights, centroids):
    distances = (weights[:, None] - centroids).abs().flip(1)
    return len(centroids) - 1 - distances.argmin(1)


right("3.3b")(functools.wraps(reference.kmeans_1d)(lloyd()))
mutant("3.3b", "ties to the higher index")(lloyd(assign=higher_tie))
mutant("3.3b", "an empty cluster becomes NaN")(lloyd(empty=math.nan))
mutant("3.3b", "an empty cluster becomes 0")(lloyd(empty=0.0))
mutant("3.3b", "the assignment is that before the last move")(lloyd(last=False))
mutant("3.3b", "the median in place of the mean")(lloyd(update=lambda own, c: own.median()))
mutant("3.3b", "the centroid goes half of the way")(lloyd(update=lambda own, c: (own.mean() + c) / 2))
mutant("3.3b", "the midrange in place of the mean")(lloyd(update=lambda own, c: (own.min() + own.max()) / 2))
mutant("3.3b", "centroids are sorted")(lloyd(order=lambda c: c.sort().values))
mutant("3.3b", "signed difference in place of distance")(lloyd(assign=lambda w, c: (w[:, None] - c).argmin(1)))


mutant("3.3b", "distances in float32")(lloyd(assign=lambda w, c: (w.float()[:, None] - c.float()).abs().argmin(1)))
mutant("3.3b", "means in float32")(lloyd(update=lambda own, c: own.float().mean()))


@mutant("3.3b", "one step too few")
def too_few(weights, centroids, steps):
    return reference.kmeans_1d(weights, centroids, max(0, steps - 1))


@mutant("3.3b", "one step too many")
def too_many(weights, centroids, steps):
    return reference.kmeans_1d(weights, centroids, steps + 1)


@mutant("3.3b", "always to the end")
def converged(weights, centroids, steps):
    return reference.kmeans_1d(weights, centroids, 50 if steps else 0)


@mutant("3.3b", "the assignment of the start is kept")
def fixed_assignment(weights, centroids, steps):
    _, assignment = reference.kmeans_1d(weights, centroids, 0)
    return reference.kmeans_1d(weights, centroids, min(steps, 1))[0], assignment


@mutant("3.3b", "float32 inside")
def kmeans_float32(weights, centroids, steps):
    centroids_, assignment = reference.kmeans_1d(weights.float(), centroids.float(), steps)
    return centroids_.to(weights.dtype), assignment


@mutant("3.3b", "float64 comes back")
def kmeans_float64(weights, centroids, steps):
    return reference.kmeans_1d(weights.double(), centroids.double(), steps)


@mutant("3.3b", "the empty cluster is given the farthest weight")
def reseeded(weights, centroids, steps):
    for _ in range(steps):
        assignment = (weights[:, None] - centroids).abs().argmin(1)
        means = [
            weights[assignment == k].mean() if (assignment == k).any() else weights[0] for k in range(len(centroids))
        ]
        centroids = torch.stack(means)
    return centroids, (weights[:, None] - centroids).abs().argmin(1)


@mutant("3.3b", "changes the centroids that it was given")
def kmeans_in_place(weights, centroids, steps):
    found, assignment = reference.kmeans_1d(weights, centroids, steps)
    centroids.copy_(found)
    return found, assignment


@mutant("3.3b", "adds up in the dtype of the weights")
def kmeans_narrow_sums(weights, centroids, steps):
    for _ in range(steps):
        assignment = (weights[:, None] - centroids).abs().argmin(1)
        totals = torch.zeros_like(centroids).index_add(0, assignment, weights)
        members = assignment.bincount(minlength=len(centroids))
        centroids = torch.where(members > 0, (totals / members.clamp(min=1)).to(weights.dtype), centroids)
    return centroids.clone(), (weights[:, None] - centroids).abs().argmin(1)


@mutant("3.3b", "by NumPy, which has no bfloat16")
def kmeans_numpy_only(weights, centroids, steps):
    weights.numpy()
    return reference.kmeans_1d(weights, centroids, steps)


@right("3.3b")
def kmeans_by_one_hot(weights, centroids, steps):
    def assign(c):
        distances = (weights.unsqueeze(0) - c.unsqueeze(1)).abs()
        return torch.from_numpy(distances.double().numpy().argmin(0))

    centroids = centroids + 0
    for _ in range(steps):
        chosen = torch.nn.functional.one_hot(assign(centroids), len(centroids)).double()
        members = chosen.sum(0)
        means = (weights.double() @ chosen) / members
        centroids = torch.where(members == 0, centroids.double(), means).to(weights.dtype)
    return centroids, assign(centroids)


def lloyd_steps(weights, centroids, steps, stop=lambda new, old: False, mean=lambda members: members.double().mean()):
    """Lloyd's steps, one centroid after the other."""
    centroids = centroids.clone()
    for _ in range(steps):
        assignment = (weights.double()[:, None] - centroids.double()).abs().argmin(dim=1)
        new = centroids.clone()
        for k in range(len(centroids)):
            if (assignment == k).any():
                new[k] = mean(weights[assignment == k]).to(weights.dtype)
        if stop(new, centroids):
            break
        centroids = new
    return centroids, (weights.double()[:, None] - centroids.double()).abs().argmin(dim=1)


@mutant("3.3b", "stops when the centroids hardly move")
def kmeans_until_allclose(weights, centroids, steps):
    return lloyd_steps(weights, centroids, steps, stop=torch.allclose)


@mutant("3.3b", "at most twenty steps")
def kmeans_twenty_steps(weights, centroids, steps):
    return lloyd_steps(weights, centroids, min(steps, 20))


@mutant("3.3b", "without steps the caller's own centroids come back")
def kmeans_returns_the_start(weights, centroids, steps):
    found, assignment = lloyd_steps(weights, centroids, steps)
    return (found if steps else centroids), assignment


@mutant("3.3b", "the assignment is held in a byte")
def kmeans_of_a_byte(weights, centroids, steps):
    found, assignment = lloyd_steps(weights, centroids, steps)
    return found, assignment.to(torch.uint8).long()


@mutant("3.3b", "sums in the weights' dtype")
def kmeans_sums_in_their_dtype(weights, centroids, steps):
    centroids = centroids.clone()
    for _ in range(steps):
        assignment = (weights.unsqueeze(1) - centroids).abs().argmin(dim=1)
        members = assignment.bincount(minlength=len(centroids))
        totals = torch.zeros_like(centroids).index_add(0, assignment, weights)
        centroids = torch.where(members > 0, totals / members.clamp(min=1), centroids)
    return centroids, (weights.unsqueeze(1) - centroids).abs().argmin(dim=1)


@mutant("3.3b", "equal weights count once")
def kmeans_of_different_weights(weights, centroids, steps):
    return lloyd_steps(weights, centroids, steps, mean=lambda members: members.unique().double().mean())


@mutant("3.3b", "weights closer than 1e-6 to a centroid belong to it")
def kmeans_with_a_tolerance(weights, centroids, steps):
    for step in range(steps + 1):
        distances = (weights.double()[:, None] - centroids.double()).abs()
        assignment = (distances <= distances.amin(dim=1, keepdim=True) + 1e-6).int().argmax(dim=1)
        if step < steps:
            centroids = torch.stack(
                [
                    weights[assignment == k].double().mean().to(weights.dtype) if (assignment == k).any() else c
                    for k, c in enumerate(centroids)
                ]
            )
    return centroids.clone(), assignment


@right("3.3b")
def kmeans_in_plain_python(weights, centroids, steps):
    points, places = weights.tolist(), centroids.tolist()

    def nearest(x):
        return min(range(len(places)), key=lambda k: abs(x - places[k]))

    for _ in range(steps):
        clusters = {}
        for x in points:
            clusters.setdefault(nearest(x), []).append(x)
        moved = {k: math.fsum(members) / len(members) for k, members in clusters.items()}
        places = torch.tensor([moved.get(k, c) for k, c in enumerate(places)], dtype=weights.dtype).tolist()
    return torch.tensor(places, dtype=weights.dtype), torch.tensor([nearest(x) for x in points], dtype=torch.int64)


@mutant("3.3b", "near by the square, which is 0 for tiny weights")
def kmeans_squared_distance(weights, centroids, steps):
    def nearest(c):
        return ((weights.unsqueeze(1) - c) ** 2).argmin(dim=1)

    for _ in range(steps):
        assignment = nearest(centroids)
        means = [weights[assignment == k].double().mean().to(weights.dtype) for k in range(len(centroids))]
        centroids = torch.where(torch.stack(means).isnan(), centroids, torch.stack(means))
    return centroids.clone(), nearest(centroids)


# --- 3.4 centroid_gradient --------------------------------------------------------------------------------------------


@mutant("3.4", "the mean of each cluster")
def gradient_mean(gradient, assignment, count):
    members = assignment.flatten().bincount(minlength=count).clamp(min=1)
    return reference.centroid_gradient(gradient, assignment, count) / members


@mutant("3.4", "the last gradient wins")
def gradient_assigned(gradient, assignment, count):
    result = gradient.new_zeros(count)
    for slope, k in zip(gradient.flatten(), assignment.flatten().tolist(), strict=True):
        result[k] = slope
    return result


@mutant("3.4", "only as many as there are clusters with weights")
def gradient_short(gradient, assignment, count):
    found = assignment.unique()
    return reference.centroid_gradient(gradient, assignment, count)[found]


@mutant("3.4", "up to the highest cluster only")
def gradient_bincount(gradient, assignment, count):
    return torch.bincount(assignment.flatten(), weights=gradient.flatten()).to(gradient.dtype)


@mutant("3.4", "float32 always")
def gradient_float32(gradient, assignment, count):
    return torch.zeros(count).index_add(0, assignment.flatten(), gradient.flatten().float())


@mutant("3.4", "float64 always")
def gradient_float64(gradient, assignment, count):
    return reference.centroid_gradient(gradient.double(), assignment, count)


@mutant("3.4", "the sum of absolute values")
def gradient_absolute(gradient, assignment, count):
    return reference.centroid_gradient(gradient.abs(), assignment, count)


@mutant("3.4", "per row")
def gradient_first_row(gradient, assignment, count):
    if gradient.ndim > 1:
        gradient, assignment = gradient[0], assignment[0]
    return reference.centroid_gradient(gradient, assignment, count)


@mutant("3.4", "divided by all weights")
def gradient_average(gradient, assignment, count):
    return reference.centroid_gradient(gradient, assignment, count) / gradient.numel()


@mutant("3.4", "float32 inside")
def gradient_float32_inside(gradient, assignment, count):
    return reference.centroid_gradient(gradient.float(), assignment, count).to(gradient.dtype)


@mutant("3.4", "fails on a gradient stored by columns")
def gradient_view(gradient, assignment, count):
    return torch.zeros(count, dtype=gradient.dtype).index_add(0, assignment.view(-1), gradient.view(-1))


@right("3.4")
def gradient_by_bincount(gradient, assignment, count):
    return torch.bincount(assignment.flatten(), gradient.flatten(), minlength=count).to(gradient.dtype)


@right("3.4")
def gradient_by_loop(gradient, assignment, count):
    return torch.stack([gradient[assignment == k].sum() for k in range(count)])


@right("3.4")
def gradient_by_one_hot(gradient, assignment, count):
    chosen = torch.nn.functional.one_hot(assignment.flatten(), count).to(gradient.dtype)
    return gradient.flatten() @ chosen


@mutant("3.4", "the sum is taken in half precision")
def centroid_gradient_in_its_dtype(gradient, assignment, count):
    return torch.zeros(count, dtype=gradient.dtype).index_add(0, assignment.flatten(), gradient.flatten())


@mutant("3.4", "half precision becomes float32")
def centroid_gradient_in_float32(gradient, assignment, count):
    wide = gradient.to(torch.promote_types(gradient.dtype, torch.float32))
    return torch.zeros(count, dtype=wide.dtype).index_add(0, assignment.flatten(), wide.flatten())


@mutant("3.4", "places are held in a byte")
def centroid_gradient_in_a_byte(gradient, assignment, count):
    return reference.centroid_gradient(gradient, assignment.to(torch.uint8).long(), count)


@mutant("3.4", "each argument is read as it lies in memory")
def centroid_gradient_in_memory_order(gradient, assignment, count):
    g, a = (torch.from_numpy(x.float().numpy().ravel(order="K")) for x in (gradient, assignment))
    return torch.zeros(count, dtype=g.dtype).index_add(0, a.long(), g).to(gradient.dtype)


@mutant("3.4", "a transposed gradient is an error")
def centroid_gradient_of_views(gradient, assignment, count):
    return reference.centroid_gradient(gradient.view(-1), assignment.view(-1), count)


@mutant("3.4", "small sums are cut off")
def centroid_gradient_cut_off(gradient, assignment, count):
    sums = reference.centroid_gradient(gradient, assignment, count)
    return torch.where(sums.abs() < 1e-8, torch.zeros_like(sums), sums)


@right("3.4")
def centroid_gradient_one_by_one(gradient, assignment, count):
    parts = [gradient[assignment == k].double().sum() for k in range(count)]
    return torch.tensor(parts, dtype=gradient.dtype)


@mutant("3.4", "NaN is left out of the sums")
def gradient_without_nan(gradient, assignment, count):
    return torch.stack([gradient[assignment == k].double().nansum() for k in range(count)]).to(gradient.dtype)


# --- 3.5 huffman_code -------------------------------------------------------------------------------------------------


def shannon_words(frequencies):
    """Shannon's code: ⌈−log₂ p⌉ bits, canonical."""
    total = sum(frequencies.values())
    lengths = {s: max(1, math.ceil(-math.log2(f / total) - 1e-12)) for s, f in frequencies.items()}
    code, word, before = {}, 0, 0
    for symbol in sorted(lengths, key=lambda s: (lengths[s], str(s))):
        word <<= lengths[symbol] - before
        code[symbol] = f"{word:0{lengths[symbol]}b}"
        before, word = lengths[symbol], word + 1
    return code


mutant("3.5", "Shannon's code for Huffman's")(shannon_words)


@mutant("3.5", "a lone symbol gets no bit")
def lone_empty(frequencies):
    return dict.fromkeys(frequencies, "") if len(frequencies) == 1 else reference.huffman_code(frequencies)


@mutant("3.5", "fails without symbols")
def needs_symbols(frequencies):
    max(frequencies.values())
    return reference.huffman_code(frequencies)


@mutant("3.5", "not prefix-free: the shortest words to the most frequent")
def not_prefix_free(frequencies):
    order = sorted(frequencies, key=frequencies.get, reverse=True)
    return {symbol: f"{i + 2:b}"[1:] for i, symbol in enumerate(order)}


@mutant("3.5", "unary: 0, 10, 110, …")
def unary(frequencies):
    order = sorted(frequencies, key=frequencies.get, reverse=True)
    return {symbol: "1" * i + "0" for i, symbol in enumerate(order)}


@mutant("3.5", "fixed length")
def fixed_length(frequencies):
    length = max(1, (len(frequencies) - 1).bit_length())
    return {symbol: f"{i:0{length}b}" for i, symbol in enumerate(frequencies)}


@mutant("3.5", "the two most frequent are joined")
def joins_largest(frequencies):
    if len(frequencies) == 1:
        return dict.fromkeys(frequencies, "0")
    top = max(frequencies.values(), default=0) + 1
    return reference.huffman_code({symbol: top - f for symbol, f in frequencies.items()})


@mutant("3.5", "Fano's halves, from the top")
def fano(frequencies):
    if len(frequencies) == 1:
        return dict.fromkeys(frequencies, "0")

    def split(symbols):
        if len(symbols) < 2:
            return dict.fromkeys(symbols, "")
        total, best, cut = sum(frequencies[s] for s in symbols), math.inf, 1
        for i in range(1, len(symbols)):
            gap = abs(total - 2 * sum(frequencies[s] for s in symbols[:i]))
            if gap < best:
                best, cut = gap, i
        return {s: "0" + w for s, w in split(symbols[:cut]).items()} | {
            s: "1" + w for s, w in split(symbols[cut:]).items()
        }

    return split(sorted(frequencies, key=frequencies.get, reverse=True))


def heap_code(frequencies, merge=lambda a, b: a + b, key=None, end=""):
    if len(frequencies) == 1:
        return dict.fromkeys(frequencies, "0")
    heap = [(f, i, {s: ""}) for i, (s, f) in enumerate(frequencies.items())]
    heapq.heapify(heap)
    numbers = itertools.count(len(heap))
    while len(heap) > 1:
        a, b = heapq.heappop(heap), heapq.heappop(heap)
        joined = {s: "0" + w for s, w in a[2].items()} | {s: "1" + w for s, w in b[2].items()}
        heapq.heappush(heap, (merge(a[0], b[0]), next(numbers), joined))
    return heap[0][2] if heap else {}


right("3.5")(functools.wraps(reference.huffman_code)(lambda frequencies: heap_code(frequencies)))
mutant("3.5", "a joined node has the larger of the two frequencies")(lambda f: heap_code(f, merge=max))
mutant("3.5", "a joined node has the mean of the two")(lambda f: heap_code(f, merge=lambda a, b: (a + b) / 2))


@mutant("3.5", "symbols are compared when frequencies are equal")
def compares_symbols(frequencies):
    if len(frequencies) == 1:
        return dict.fromkeys(frequencies, "0")
    heap = [(f, s, {s: ""}) for s, f in frequencies.items()]
    heapq.heapify(heap)
    while len(heap) > 1:
        (f, s, a), (g, _, b) = heapq.heappop(heap), heapq.heappop(heap)
        heapq.heappush(heap, (f + g, s, {x: "0" + w for x, w in a.items()} | {x: "1" + w for x, w in b.items()}))
    return heap[0][2] if heap else {}


@mutant("3.5", "bits from the leaf to the root")
def bits_reversed(frequencies):
    return {symbol: word[::-1] for symbol, word in reference.huffman_code(frequencies).items()}


@mutant("3.5", "frequencies are rounded to whole numbers")
def whole_numbers(frequencies):
    return reference.huffman_code({symbol: int(f) for symbol, f in frequencies.items()})


@mutant("3.5", "frequencies in thousandths of the whole")
def thousandths(frequencies):
    total = sum(frequencies.values())
    return reference.huffman_code({symbol: round(f / total, 3) for symbol, f in frequencies.items()})


@mutant("3.5", "frequencies in hundredths, at least one")
def hundredths(frequencies):
    return reference.huffman_code({symbol: max(1, int(100 * f)) for symbol, f in frequencies.items()})


@mutant("3.5", "words of 15 bits at most, as in zlib")
def at_most_15_bits(frequencies):
    """The package-merge method."""
    if len(frequencies) < 2:
        return dict.fromkeys(frequencies, "0")
    leaves = sorted((f, (i,)) for i, f in enumerate(frequencies.values()))
    packages = leaves
    for _ in range(14):
        pairs = zip(packages[::2], packages[1::2], strict=False)
        packages = sorted(leaves + [(f + g, a + b) for (f, a), (g, b) in pairs])
    lengths = Counter(itertools.chain.from_iterable(numbers for _, numbers in packages[: 2 * len(leaves) - 2]))
    words = reference.canonical_code([lengths[i] for i in range(len(leaves))])
    return {symbol: words[i] for i, symbol in enumerate(frequencies)}


@right("3.5")
def canonical(frequencies):
    words = reference.canonical_code([len(word) for word in reference.huffman_code(frequencies).values()])
    return {symbol: words[i] for i, symbol in enumerate(frequencies)}


@mutant("3.5", "words are lists of 0 and 1")
def words_as_lists(frequencies):
    return {symbol: [int(bit) for bit in word] for symbol, word in reference.huffman_code(frequencies).items()}


@right("3.5")
def two_queues(frequencies):
    """Van Leeuwen's method: sorted leaves in one queue, joined nodes in another."""
    if len(frequencies) < 2:
        return dict.fromkeys(frequencies, "1")
    leaves = [(f, s) for s, f in sorted(frequencies.items(), key=lambda item: item[1])]
    leaves, nodes = [(f, ("leaf", s)) for f, s in leaves], []
    while len(leaves) + len(nodes) > 1:
        pair = []
        for _ in range(2):
            source = leaves if leaves and (not nodes or leaves[0][0] <= nodes[0][0]) else nodes
            pair.append(source.pop(0))
        nodes.append((pair[0][0] + pair[1][0], ("node", pair[0][1], pair[1][1])))
    code, waiting = {}, [(nodes[0][1], "")]
    while waiting:
        node, word = waiting.pop()
        if node[0] == "leaf":
            code[node[1]] = word
        else:
            waiting += [(node[1], word + "1"), (node[2], word + "0")]
    return code


def merged(frequencies, leaf, branch):
    """Huffman's tree, by sorting."""
    forest = [(frequency, leaf(symbol)) for symbol, frequency in frequencies.items()]
    while len(forest) > 1:
        forest.sort(key=operator.itemgetter(0))
        (f, a), (g, b) = forest.pop(0), forest.pop(0)
        forest.append((f + g, branch(a, b)))
    return forest[0][1] if forest else None


@mutant("3.5", "symbols that are pairs are taken for branches")
def huffman_pairs_are_branches(frequencies):
    if len(frequencies) < 2:
        return dict.fromkeys(frequencies, "0")
    code = {}

    def walk(node, word):
        if isinstance(node, tuple):
            walk(node[0], word + "0"), walk(node[1], word + "1")
        else:
            code[node] = word

    walk(merged(frequencies, lambda symbol: symbol, lambda a, b: (a, b)), "")
    return code


@mutant("3.5", "symbols of more than one letter fall into their letters")
def huffman_of_letters(frequencies):
    if len(frequencies) < 2:
        return dict.fromkeys(frequencies, "0")
    if not all(isinstance(symbol, str) for symbol in frequencies):
        return reference.huffman_code(frequencies)
    code = {}

    def join(a, b):
        for bit, group in (("0", a), ("1", b)):
            for letter in group:
                code[letter] = bit + code.get(letter, "")
        return a + b

    merged(frequencies, lambda symbol: symbol, join)
    return code


@mutant("3.5", "the symbol 0 is taken for a branch")
def huffman_falsy_symbols(frequencies):
    if len(frequencies) < 2:
        return dict.fromkeys(frequencies, "0")
    code = {}

    def walk(node, word):
        symbol, left, right = node
        if symbol:
            code[symbol] = word
        elif left is not None:
            walk(left, word + "0"), walk(right, word + "1")

    walk(merged(frequencies, lambda symbol: (symbol, None, None), lambda a, b: (None, a, b)), "")
    return code


@mutant("3.5", "more than 256 symbols share their words")
def huffman_of_256_symbols(frequencies):
    code = reference.huffman_code(dict(list(frequencies.items())[:256]))
    return {symbol: code.get(symbol, "0") for symbol in frequencies}


@mutant("3.5", "no word is longer than 12 bits")
def huffman_of_short_words(frequencies):
    code = reference.huffman_code(frequencies)
    if max(map(len, code.values()), default=0) <= 12:
        return code
    width = (len(code) - 1).bit_length()
    return {symbol: f"{place:0{width}b}" for place, symbol in enumerate(code)}


@mutant("3.5", "frequencies are rounded to whole numbers")
def huffman_of_whole_numbers(frequencies):
    return reference.huffman_code({symbol: int(frequency) for symbol, frequency in frequencies.items()})


@mutant("3.5", "frequencies are rounded to thousandths of their sum")
def huffman_of_thousandths(frequencies):
    total = sum(frequencies.values())
    return reference.huffman_code({symbol: round(f / total, 3) for symbol, f in frequencies.items()})


@right("3.5")
def huffman_with_two_queues(frequencies):
    if len(frequencies) < 2:
        return {symbol: "1" for symbol in frequencies}
    order = sorted(frequencies, key=frequencies.__getitem__)
    leaves = deque((frequencies[symbol], [symbol]) for symbol in order)
    inner, code = deque(), dict.fromkeys(frequencies, "")
    while len(leaves) + len(inner) > 1:
        pair = []
        for _ in range(2):
            queue = inner if not leaves or (inner and inner[0][0] < leaves[0][0]) else leaves
            pair.append(queue.popleft())
        for bit, (_, group) in zip("10", pair, strict=True):
            for symbol in group:
                code[symbol] = bit + code[symbol]
        inner.append((pair[0][0] + pair[1][0], pair[0][1] + pair[1][1]))
    return code


# --- 3.6a huffman_encode ----------------------------------------------------------------------------------------------


@mutant("3.6a", "a space between words")
def spaced(symbols, code):
    return " ".join(code[s] for s in symbols)


@mutant("3.6a", "a list of words")
def list_of_words(symbols, code):
    return [code[s] for s in symbols]


@mutant("3.6a", "last symbol first")
def backwards(symbols, code):
    return "".join(code[s] for s in reversed(symbols))


@mutant("3.6a", "each symbol once")
def each_once(symbols, code):
    return "".join(code[s] for s in dict.fromkeys(symbols))


@mutant("3.6a", "filled up to whole bytes")
def filled_up(symbols, code):
    bits = "".join(code[s] for s in symbols)
    return bits.ljust(-(-len(bits) // 8) * 8, "0")


@mutant("3.6a", "fails without symbols")
def reduce_without_start(symbols, code):
    return functools.reduce(lambda a, b: a + b, [code[s] for s in symbols])


@mutant("3.6a", "words of the wrong symbols: the code is read by place")
def by_place(symbols, code):
    words = list(code.values())
    return "".join(words[list(code).index(s) - 1] for s in symbols)


@mutant("3.6a", "calls itself for each symbol")
def encode_recursively(symbols, code):
    return code[symbols[0]] + encode_recursively(symbols[1:], code) if len(symbols) else ""


@mutant("3.6a", "replaces symbols in a text")
def encode_by_replace(symbols, code):
    text = "".join(map(str, symbols))
    for symbol, word in code.items():
        text = text.replace(str(symbol), word)
    return text


@right("3.6a")
def encode_by_loop(symbols, code):
    bits = ""
    for symbol in symbols:
        bits += code[symbol]
    return bits


@right("3.6a")
def encode_by_map(symbols, code):
    return "".join(map(code.__getitem__, symbols))


@mutant("3.6a", "the symbol 0 has no bits")
def encode_without_falsy(symbols, code):
    return "".join(code[symbol] for symbol in symbols if symbol)


@mutant("3.6a", "a run of one symbol is written once")
def encode_runs(symbols, code):
    return "".join(code[symbol] for symbol, _ in itertools.groupby(symbols))


@mutant("3.6a", "symbols are compared as texts")
def encode_as_texts(symbols, code):
    words = {str(symbol): word for symbol, word in code.items()}
    return "".join(words[str(symbol)] for symbol in symbols)


@right("3.6a")
def encode_with_map(symbols, code):
    bits = io.StringIO()
    bits.writelines(map(code.__getitem__, symbols))
    return bits.getvalue()


@mutant("3.6a", "None is no symbol")
def encode_without_none(symbols, code):
    return "".join(code[symbol] for symbol in symbols if symbol is not None)


@mutant("3.6a", "1.0 is not 1")
def encode_by_type(symbols, code):
    words = {(type(symbol), symbol): word for symbol, word in code.items()}
    return "".join(words[type(symbol), symbol] for symbol in symbols)


# --- 3.6b huffman_decode ----------------------------------------------------------------------------------------------


@mutant("3.6b", "reads to the end of the bits")
def reads_all(bits, code, count):
    symbols, word, back = [], "", {w: s for s, w in code.items()}
    for bit in bits:
        word += bit
        if word in back:
            symbols.append(back[word])
            word = ""
    if len(symbols) < count:
        raise ValueError("too short")
    return symbols


@mutant("3.6b", "no error when the bits end")
def no_error(bits, code, count):
    symbols, word, back = [], "", {w: s for s, w in code.items()}
    for bit in bits:
        if len(symbols) == count:
            break
        word += bit
        if word in back:
            symbols.append(back[word])
            word = ""
    return symbols


@mutant("3.6b", "IndexError in place of ValueError")
def index_error(bits, code, count):
    try:
        return reference.huffman_decode(bits, code, count)
    except ValueError as error:
        raise IndexError(str(error)) from error


@mutant("3.6b", "one symbol too many")
def one_more(bits, code, count):
    try:
        return reference.huffman_decode(bits, code, count + 1)
    except ValueError:
        return reference.huffman_decode(bits, code, count)


@mutant("3.6b", "at least one symbol")
def at_least_one(bits, code, count):
    return reference.huffman_decode(bits, code, max(1, count))


@mutant("3.6b", "words of fixed length")
def fixed_words(bits, code, count):
    length, back = max(map(len, code.values()), default=1), {w: s for s, w in code.items()}
    try:
        return [back[bits[i * length : (i + 1) * length]] for i in range(count)]
    except KeyError as error:
        raise ValueError("no word") from error


@mutant("3.6b", "joins the symbols to a text")
def joined_text(bits, code, count):
    return "".join(map(str, reference.huffman_decode(bits, code, count)))


@mutant("3.6b", "the word is not begun anew")
def word_kept(bits, code, count):
    symbols, word, back = [], "", {w: s for s, w in code.items()}
    for bit in bits:
        word += bit
        if word in back and len(symbols) < count:
            symbols.append(back[word])
    if len(symbols) < count:
        raise ValueError("too short")
    return symbols


@mutant("3.6b", "error if bits are left over")
def no_rest(bits, code, count):
    symbols = reference.huffman_decode(bits, code, count)
    if "".join(code[s] for s in symbols) != bits:
        raise ValueError("bits left")
    return symbols


@mutant("3.6b", "calls itself for each symbol")
def decode_recursively(bits, code, count):
    if count == 0:
        return []
    for symbol, word in code.items():
        if bits.startswith(word):
            return [symbol, *decode_recursively(bits[len(word) :], code, count - 1)]
    raise ValueError("no word fits")


@right("3.6b")
def decode_by_prefix(bits, code, count):
    symbols = []
    for _ in range(count):
        for symbol, word in code.items():
            if bits.startswith(word):
                symbols.append(symbol)
                bits = bits[len(word) :]
                break
        else:
            raise ValueError("no word fits")
    return symbols


@right("3.6b")
def decode_by_tree(bits, code, count):
    tree = {}
    for symbol, word in code.items():
        node = tree
        for bit in word[:-1]:
            node = node.setdefault(bit, {})
        node[word[-1]] = (symbol,)
    symbols, node, stream = [], tree, iter(bits)
    while len(symbols) < count:
        try:
            node = node[next(stream)]
        except (StopIteration, KeyError):
            raise ValueError("the bits fit no symbol") from None
        if isinstance(node, tuple):
            symbols.append(node[0])
            node = tree
    return symbols


@mutant("3.6b", "the symbol 0 is never found")
def decode_without_falsy(bits, code, count):
    symbol_of, symbols, word = {word: symbol for symbol, word in code.items()}, [], ""
    for bit in bits:
        if len(symbols) == count:
            break
        word += bit
        if symbol := symbol_of.get(word):
            symbols.append(symbol)
            word = ""
    if len(symbols) < count:
        raise ValueError("too few bits")
    return symbols


@mutant("3.6b", "the symbol None is never found")
def decode_without_none(bits, code, count):
    symbol_of, symbols, word = {word: symbol for symbol, word in code.items()}, [], ""
    for bit in bits:
        if len(symbols) == count:
            break
        word += bit
        if (symbol := symbol_of.get(word)) is not None:
            symbols.append(symbol)
            word = ""
    if len(symbols) < count:
        raise ValueError("too few bits")
    return symbols


@mutant("3.6b", "no word is longer than 16 bits")
def decode_short_words(bits, code, count):
    return reference.huffman_decode(bits, {s: w for s, w in code.items() if len(w) <= 16}, count)


@mutant("3.6b", "bits that fit no symbol are passed over")
def decode_by_pattern(bits, code, count):
    symbol_of = {word: symbol for symbol, word in code.items()}
    words = re.findall("|".join(symbol_of), bits)[:count] if code and count else []
    if len(words) < count:
        raise ValueError("too few bits")
    return [symbol_of[word] for word in words]


@mutant("3.6b", "all bits must fit symbols")
def decode_everything_first(bits, code, count):
    symbol_of, symbols, word = {word: symbol for symbol, word in code.items()}, [], ""
    for bit in bits:
        word += bit
        if word in symbol_of:
            symbols.append(symbol_of[word])
            word = ""
        elif len(word) > max(map(len, code.values()), default=0):
            raise ValueError("bits that fit no symbol")
    if len(symbols) < count:
        raise ValueError("too few bits")
    return symbols[:count]


@right("3.6b")
def decode_with_a_trie(bits, code, count):
    root = {}
    for symbol, word in code.items():
        node = root
        for bit in word[:-1]:
            node = node.setdefault(bit, {})
        node[word[-1]] = [symbol]
    stream, symbols = iter(bits), []
    for _ in range(count):
        node = root
        while isinstance(node, dict):
            bit = next(stream, None)
            if bit not in node:
                raise ValueError(f"{bit} leads nowhere")
            node = node[bit]
        symbols += node
    return symbols


@mutant("3.6b", "a lone symbol is given as often as asked for, its bits unread")
def decode_lone_unread(bits, code, count):
    if len(code) == 1 and reference.huffman_decode(bits, code, min(count, 1)):
        return list(code) * count
    return reference.huffman_decode(bits, code, count)


@mutant("3.6b", "words of one length are looked up: a KeyError where none fits")
def decode_fixed_length(bits, code, count):
    lengths = {len(word) for word in code.values()}
    if len(code) < 2 or len(lengths) > 1 or len(bits) < count * max(lengths):
        return reference.huffman_decode(bits, code, count)
    symbol_of, length = {word: symbol for symbol, word in code.items()}, lengths.pop()
    return [symbol_of[bits[i * length : (i + 1) * length]] for i in range(count)]


# --- 3.7 compressed_bits ----------------------------------------------------------------------------------------------


@mutant("3.7", "fillers are not counted")
def fillers_free(nonzeros, fillers, weight_bits, index_bits, codebook_size):
    return nonzeros * (weight_bits + index_bits) + 32 * codebook_size


@mutant("3.7", "the codebook is not counted")
def codebook_free(nonzeros, fillers, weight_bits, index_bits, codebook_size):
    return (nonzeros + fillers) * (weight_bits + index_bits)


@mutant("3.7", "fillers have no weight")
def filler_without_weight(nonzeros, fillers, weight_bits, index_bits, codebook_size):
    return nonzeros * weight_bits + (nonzeros + fillers) * index_bits + 32 * codebook_size


@mutant("3.7", "the index is not counted")
def index_free(nonzeros, fillers, weight_bits, index_bits, codebook_size):
    return (nonzeros + fillers) * weight_bits + 32 * codebook_size


@mutant("3.7", "bytes in place of bits")
def in_bytes(nonzeros, fillers, weight_bits, index_bits, codebook_size):
    return reference.compressed_bits(nonzeros, fillers, weight_bits, index_bits, codebook_size) // 8


@mutant("3.7", "the codebook has 2^weight_bits entries, whatever is said")
def codebook_of_bits(nonzeros, fillers, weight_bits, index_bits, codebook_size):
    return (nonzeros + fillers) * (weight_bits + index_bits) + 32 * 2**weight_bits


@mutant("3.7", "the codebook in weight_bits")
def codebook_small(nonzeros, fillers, weight_bits, index_bits, codebook_size):
    return (nonzeros + fillers) * (weight_bits + index_bits) + weight_bits * codebook_size


@mutant("3.7", "a float comes back")
def bits_float(nonzeros, fillers, weight_bits, index_bits, codebook_size):
    return float(reference.compressed_bits(nonzeros, fillers, weight_bits, index_bits, codebook_size))


@right("3.7")
def bits_in_parts(nonzeros, fillers, weight_bits, index_bits, codebook_size):
    entries = nonzeros + fillers
    return entries * weight_bits + entries * index_bits + codebook_size * 4 * 8


@right("3.7")
def bits_summed(nonzeros, fillers, weight_bits, index_bits, codebook_size):
    return sum(
        [nonzeros * weight_bits, nonzeros * index_bits, fillers * (weight_bits + index_bits), codebook_size << 5]
    )


@mutant("3.7", "a codebook of 0 is taken for missing")
def bits_codebook_or_full(nonzeros, fillers, weight_bits, index_bits, codebook_size):
    return (nonzeros + fillers) * (weight_bits + index_bits) + 32 * (codebook_size or 2**weight_bits)


@mutant("3.7", "weights of 0 bits have 32")
def bits_weight_or_32(nonzeros, fillers, weight_bits, index_bits, codebook_size):
    return (nonzeros + fillers) * ((weight_bits or 32) + index_bits) + 32 * codebook_size


@mutant("3.7", "bits are counted in 32 bits")
def bits_in_32_bits(nonzeros, fillers, weight_bits, index_bits, codebook_size):
    with np.errstate(over="ignore"):
        entries = np.int32(nonzeros + fillers) * np.int32(weight_bits + index_bits)
        return int(entries + np.int32(32 * codebook_size))


@mutant("3.7", "bits are counted in float32")
def bits_in_float32(nonzeros, fillers, weight_bits, index_bits, codebook_size):
    return int(torch.tensor(float(nonzeros + fillers)) * (weight_bits + index_bits) + 32 * codebook_size)


@right("3.7")
def bits_as_a_dot_product(nonzeros, fillers, weight_bits, index_bits, codebook_size):
    numbers, widths = (nonzeros, fillers, codebook_size), (weight_bits + index_bits, index_bits + weight_bits, 32)
    return sum(map(operator.mul, numbers, widths))


# --- 3.8a compress ----------------------------------------------------------------------------------------------------


def edited(change):
    """The reference's file with every masked tensor's entry changed."""

    def compress(state, masks, weight_bits, index_bits):
        file = msgpack.unpackb(reference.compress(state, masks, weight_bits, index_bits), strict_map_key=False)
        for name in masks:
            change(file[name])
        return msgpack.packb(file)

    return compress


def stream(symbols):
    code = reference.huffman_code(Counter(symbols))
    return code, bitstring.to_bytes(reference.huffman_encode(symbols, code))


def symbols_of(entry, size, code, bits):
    return reference.huffman_decode(bitstring.from_bytes(entry[bits]), entry[code], entry[size])


GAPS, WEIGHTS = ("entries", "gap_code", "gaps"), ("kept", "weight_code", "weights")


def lose_fillers(entry):
    symbols = [symbol for symbol in symbols_of(entry, *GAPS) if symbol]
    entry["entries"] = len(symbols)
    entry["gap_code"], entry["gaps"] = stream(symbols)


def fillers_as_gaps(entry):
    symbols = [symbol or 2 ** entry["index_bits"] for symbol in symbols_of(entry, *GAPS)]
    entry["gap_code"], entry["gaps"] = stream(symbols)


def fixed_words_for_weights(entry):
    symbols = symbols_of(entry, *WEIGHTS)
    entry["weight_code"] = fixed_length(Counter(symbols))
    entry["weights"] = bitstring.to_bytes(reference.huffman_encode(symbols, entry["weight_code"]))


def fixed_words_for_gaps(entry):
    symbols = symbols_of(entry, *GAPS)
    entry["gap_code"] = fixed_length(Counter(symbols))
    entry["gaps"] = bitstring.to_bytes(reference.huffman_encode(symbols, entry["gap_code"]))


def reversed_book(entry):
    size = np.dtype(entry["dtype"]).itemsize
    entry["codebook"] = np.frombuffer(entry["codebook"], f"V{size}")[::-1].tobytes()


def low_bit_first(entry):
    for name in ("gaps", "weights"):
        bits = bitstring.from_bytes(entry[name])
        entry[name] = bytes(int(bits[i : i + 8][::-1], 2) for i in range(0, len(bits), 8))


def one_byte_more(entry):
    entry["weights"] += b"\0"


def text_of_bits(entry):
    entry["weights"] = bitstring.from_bytes(entry["weights"]).encode()


mutant("3.8a", "fillers lost")(edited(lose_fillers))
mutant("3.8a", "fillers are stored as gaps")(edited(fillers_as_gaps))
mutant("3.8a", "weights in words of fixed length")(edited(fixed_words_for_weights))
mutant("3.8a", "gaps in words of fixed length")(edited(fixed_words_for_gaps))
mutant("3.8a", "the codebook is turned round, the symbols are not")(edited(reversed_book))
mutant("3.8a", "the lowest bit of a byte first")(edited(low_bit_first))
mutant("3.8a", "one byte too many")(edited(one_byte_more))
mutant("3.8a", "a byte for each bit")(edited(text_of_bits))
mutant("3.8a", "index_bits forgotten")(edited(lambda entry: entry.pop("index_bits")))
mutant("3.8a", "the shape is flat")(edited(lambda entry: entry.update(shape=[math.prod(entry["shape"])])))


@mutant("3.8a", "zero is a centroid: pruned weights are clustered too")
def clusters_zeros(state, masks, weight_bits, index_bits):
    shared = dict(state)
    for name, mask in masks.items():
        values = (state[name] * mask).flatten()
        centroids, assignment = reference.kmeans_1d(values, reference.linear_centroids(values, 2**weight_bits), 30)
        shared[name] = centroids[assignment].view_as(mask)
    return reference.compress(shared, masks, 20, index_bits)


@mutant("3.8a", "no more than the linear centroids")
def no_kmeans(state, masks, weight_bits, index_bits):
    shared = dict(state)
    for name, mask in masks.items():
        kept = state[name][mask]
        if len(kept.unique()) > 2**weight_bits:
            centroids, assignment = reference.kmeans_1d(kept, reference.linear_centroids(kept, 2**weight_bits), 0)
            shared[name] = torch.zeros_like(state[name])
            shared[name][mask] = centroids[assignment]
    return reference.compress(shared, masks, 20, index_bits)


@mutant("3.8a", "k-means even where the weights are shared already")
def shares_again(state, masks, weight_bits, index_bits):
    shared = dict(state)
    for name, mask in masks.items():
        kept = state[name][mask]
        if len(kept):
            centroids, assignment = reference.kmeans_1d(kept, reference.linear_centroids(kept, 2**weight_bits), 30)
            shared[name] = torch.zeros_like(state[name])
            shared[name][mask] = centroids[assignment]
    return reference.compress(shared, masks, 20, index_bits)


def shares_if(many, dtype=None):
    """The reference's file, but weights are shared if `many(kept, 2^weight_bits)`, in a dtype."""

    def compress(state, masks, weight_bits, index_bits):
        shared = dict(state)
        for name, mask in masks.items():
            kept = state[name][mask]
            if len(kept) and many(kept, 2**weight_bits):
                start = kept.to(dtype or kept.dtype)
                centroids, assignment = reference.kmeans_1d(
                    start, reference.linear_centroids(start, 2**weight_bits), 30
                )
                shared[name] = torch.zeros_like(state[name])
                shared[name][mask] = centroids[assignment].to(kept.dtype)
        return reference.compress(shared, masks, 20, index_bits)

    return compress


mutant("3.8a", "k-means at exactly 2^weight_bits values")(shares_if(lambda kept, count: len(kept.unique()) >= count))
mutant("3.8a", "no k-means at 2^weight_bits + 1 values")(shares_if(lambda kept, count: len(kept.unique()) > count + 1))
mutant("3.8a", "k-means in float32")(shares_if(lambda kept, count: len(kept.unique()) > count, torch.float32))


@mutant("3.8a", "bytes as they lie in memory")
def memory_bytes(state, masks, weight_bits, index_bits):
    file = msgpack.unpackb(reference.compress(state, masks, weight_bits, index_bits), strict_map_key=False)
    for name in state.keys() - masks.keys():
        file[name]["values"] = bytes(state[name].untyped_storage())
    return msgpack.packb(file)


@mutant("3.8a", "one codebook for all tensors")
def one_codebook(state, masks, weight_bits, index_bits):
    kept = torch.cat([state[name][mask] for name, mask in masks.items()]) if masks else torch.zeros(1)
    if len(kept.unique()) <= 2**weight_bits:
        return reference.compress(state, masks, weight_bits, index_bits)
    centroids, _ = reference.kmeans_1d(kept, reference.linear_centroids(kept, 2**weight_bits), 30)
    shared = dict(state)
    for name, mask in masks.items():
        shared[name] = torch.zeros_like(state[name])
        shared[name][mask] = centroids[reference.kmeans_1d(state[name][mask], centroids, 0)[1]]
    return reference.compress(shared, masks, 20, index_bits)


@mutant("3.8a", "the mask is what is not 0")
def mask_from_values(state, masks, weight_bits, index_bits):
    return reference.compress(state, {n: m & (state[n] != 0) for n, m in masks.items()}, weight_bits, index_bits)


@mutant("3.8a", "masks are ignored where the state has no zeros")
def mask_all(state, masks, weight_bits, index_bits):
    return reference.compress(state, {n: state[n] != 0 for n in masks}, weight_bits, index_bits)


@mutant("3.8a", "biases are shared too")
def shares_biases(state, masks, weight_bits, index_bits):
    extra = {n: torch.ones_like(v, dtype=torch.bool) for n, v in state.items() if n not in masks and v.ndim == 1}
    return reference.compress(state, masks | extra, weight_bits, index_bits)


@mutant("3.8a", "everything is float32")
def file_float32(state, masks, weight_bits, index_bits):
    return reference.compress({n: v.float() for n, v in state.items()}, masks, weight_bits, index_bits)


@mutant("3.8a", "names in alphabetical order")
def sorted_names(state, masks, weight_bits, index_bits):
    return reference.compress(dict(sorted(state.items())), masks, weight_bits, index_bits)


@mutant("3.8a", "weight_bits and index_bits exchanged")
def bits_exchanged(state, masks, weight_bits, index_bits):
    return reference.compress(state, masks, index_bits, weight_bits)


@mutant("3.8a", "only what has a mask is stored")
def only_masked(state, masks, weight_bits, index_bits):
    return reference.compress({n: v for n, v in state.items() if n in masks}, masks, weight_bits, index_bits)


@mutant("3.8a", "2^weight_bits − 1 centroids")
def one_centroid_less(state, masks, weight_bits, index_bits):
    shared = dict(state)
    for name, mask in masks.items():
        kept = state[name][mask]
        if len(kept.unique()) > 2**weight_bits:
            count = 2**weight_bits - 1
            centroids, assignment = reference.kmeans_1d(kept, reference.linear_centroids(kept, count), 30)
            shared[name] = torch.zeros_like(state[name])
            shared[name][mask] = centroids[assignment]
    return reference.compress(shared, masks, 20, index_bits)


@mutant("3.8a", "writes zeros into the state")
def compress_in_place(state, masks, weight_bits, index_bits):
    for name, mask in masks.items():
        state[name].masked_fill_(~mask, 0)
    return reference.compress(state, masks, weight_bits, index_bits)


@right("3.8a")
def compress_with_numpy(state, masks, weight_bits, index_bits):
    file = {}
    for name, value in state.items():
        array = value.numpy()
        file[name] = {"dtype": array.dtype.name, "shape": [int(size) for size in array.shape]}
        if name not in masks:
            file[name]["values"] = array.tobytes()
            continue
        kept = value[masks[name]]
        book = np.unique(kept.numpy())
        if len(book) > 2**weight_bits:
            centroids, assignment = kmeans_by_one_hot(kept, linear_by_numpy(kept, 2**weight_bits), 30)
            kept = centroids[assignment]
            book = np.unique(kept.numpy())
        gaps, fillers = encode_with_numpy(masks[name], index_bits)
        gap_symbols = [0 if f else g for g, f in zip(gaps.tolist(), fillers.tolist(), strict=True)]
        weight_symbols = np.searchsorted(book, kept.numpy()).tolist()
        gap_code, weight_code = two_queues(Counter(gap_symbols)), two_queues(Counter(weight_symbols))
        file[name] |= {
            "weights": bitstring.to_bytes("".join(weight_code[s] for s in weight_symbols)),
            "weight_code": weight_code,
            "kept": len(weight_symbols),
            "gaps": bitstring.to_bytes("".join(gap_code[s] for s in gap_symbols)),
            "gap_code": gap_code,
            "entries": len(gap_symbols),
            "codebook": book.tobytes(),
            "index_bits": index_bits,
        }
    return msgpack.packb(file)


@right("3.8a")
def compress_again(state, masks, weight_bits, index_bits):
    """The reference's, with each word's bits exchanged."""
    swap = str.maketrans("01", "10")

    def change(entry):
        for size, code, bits in (GAPS, WEIGHTS):
            symbols = symbols_of(entry, size, code, bits)
            entry[code] = {symbol: word.translate(swap) for symbol, word in entry[code].items()}
            entry[bits] = bitstring.to_bytes(reference.huffman_encode(symbols, entry[code]))

    return edited(change)(state, masks, weight_bits, index_bits)


def packed(state, masks, weight_bits, index_bits, shared=None, code_of=None, order="C", drop_zeros=False):
    """The file, with parts that can be wrong."""
    code_of = code_of or reference.huffman_code

    def share(kept):
        if len(kept.unique()) <= 2**weight_bits:
            return kept
        start = reference.linear_centroids(kept, 2**weight_bits)
        centroids, assignment = reference.kmeans_1d(kept, start, 30)
        return centroids[assignment]

    file = {}
    for name, value in state.items():
        entry = {"shape": list(value.shape), "dtype": str(value.numpy().dtype)}
        if name not in masks:
            entry["values"] = value.numpy().tobytes(order=order)
        else:
            mask = masks[name] & (value != 0) if drop_zeros else masks[name]
            kept = (shared or share)(value[mask])
            codebook, places = kept.unique(return_inverse=True)
            gaps, fillers = reference.encode_relative_index(mask, index_bits)
            symbols = torch.where(fillers, 0, gaps).tolist()
            for number, what, stored in (("entries", "gap", symbols), ("kept", "weight", places.tolist())):
                code = code_of(Counter(stored))
                bits = reference.huffman_encode(stored, code)
                entry |= {number: len(stored), f"{what}_code": code, f"{what}s": bitstring.to_bytes(bits)}
            entry |= {"codebook": codebook.numpy().tobytes(), "index_bits": index_bits}
        file[name] = entry
    return msgpack.packb(file)


@mutant("3.8a", "as few as 2^weight_bits values are clustered as well")
def compress_clusters_always(state, masks, weight_bits, index_bits):
    def share(kept):
        if not len(kept):
            return kept
        start = reference.linear_centroids(kept, 2**weight_bits)
        centroids, assignment = reference.kmeans_1d(kept, start, 30)
        return centroids[assignment]

    return packed(state, masks, weight_bits, index_bits, share)


@mutant("3.8a", "exactly 2^weight_bits values are clustered as well")
def compress_clusters_as_many(state, masks, weight_bits, index_bits):
    def share(kept):
        if len(kept.unique()) < 2**weight_bits or not len(kept):
            return kept
        start = reference.linear_centroids(kept, 2**weight_bits)
        centroids, assignment = reference.kmeans_1d(kept, start, 30)
        return centroids[assignment]

    return packed(state, masks, weight_bits, index_bits, share)


@mutant("3.8a", "twenty steps of k-means")
def compress_in_twenty_steps(state, masks, weight_bits, index_bits):
    def share(kept):
        if len(kept.unique()) <= 2**weight_bits:
            return kept
        start = reference.linear_centroids(kept, 2**weight_bits)
        centroids, assignment = reference.kmeans_1d(kept, start, 20)
        return centroids[assignment]

    return packed(state, masks, weight_bits, index_bits, share)


@mutant("3.8a", "the codebook is all centroids, used or not")
def compress_all_centroids(state, masks, weight_bits, index_bits):
    file = msgpack.unpackb(packed(state, masks, weight_bits, index_bits), strict_map_key=False)
    for name, mask in masks.items():
        kept = state[name][mask]
        if len(kept.unique()) > 2**weight_bits:
            start = reference.linear_centroids(kept, 2**weight_bits)
            centroids, _ = reference.kmeans_1d(kept, start, 30)
            codebook, entry = centroids.unique(), file[name]
            places = (kept[:, None] - codebook).abs().argmin(dim=1).tolist()
            code = reference.huffman_code(Counter(places))
            stream = bitstring.to_bytes(reference.huffman_encode(places, code))
            entry |= {"codebook": codebook.numpy().tobytes(), "weight_code": code, "weights": stream}
    return msgpack.packb(file)


@mutant("3.8a", "a code of fixed length")
def compress_with_a_fixed_code(state, masks, weight_bits, index_bits):
    def fixed(counts):
        width = max(1, (len(counts) - 1).bit_length())
        return {symbol: f"{place:0{width}b}" for place, symbol in enumerate(sorted(counts))}

    return packed(state, masks, weight_bits, index_bits, code_of=fixed)


@mutant("3.8a", "a tensor is stored as it lies in memory")
def compress_in_memory_order(state, masks, weight_bits, index_bits):
    return packed(state, masks, weight_bits, index_bits, order="A")


@mutant("3.8a", "a kept weight of 0 is dropped")
def compress_drops_zeros(state, masks, weight_bits, index_bits):
    return packed(state, masks, weight_bits, index_bits, drop_zeros=True)


@mutant("3.8a", "a tensor without kept weights is an error")
def compress_needs_kept_weights(state, masks, weight_bits, index_bits):
    assert all(mask.any() for mask in masks.values())
    return packed(state, masks, weight_bits, index_bits)


@mutant("3.8a", "places in the codebook are held in a byte")
def compress_places_in_a_byte(state, masks, weight_bits, index_bits):
    file = msgpack.unpackb(packed(state, masks, weight_bits, index_bits), strict_map_key=False)
    for name in masks:
        entry = file[name]
        bits = bitstring.from_bytes(entry["weights"])
        places = [p % 256 for p in reference.huffman_decode(bits, entry["weight_code"], entry["kept"])]
        code = reference.huffman_code(Counter(places))
        entry |= {"weight_code": code, "weights": bitstring.to_bytes(reference.huffman_encode(places, code))}
    return msgpack.packb(file)


@mutant("3.8a", "only masks of tensors named weight count")
def compress_weights_by_name(state, masks, weight_bits, index_bits):
    return packed(state, {n: m for n, m in masks.items() if n.endswith("weight")}, weight_bits, index_bits)


@right("3.8a")
def compress_all_in_numpy(state, masks, weight_bits, index_bits):
    file = {}
    for name, value in state.items():
        file[name] = {"dtype": value.numpy().dtype.name, "shape": [*value.shape]}
        if name not in masks:
            file[name]["values"] = np.ascontiguousarray(value.numpy()).tobytes()
            continue
        kept = torch.from_numpy(value.numpy()[masks[name].numpy()])
        if len(set(kept.tolist())) > 2**weight_bits:
            centroids, assignment = lloyd_steps(kept, reference.linear_centroids(kept, 2**weight_bits), 30)
            kept = centroids[assignment]
        codebook, places = np.unique(kept.numpy(), return_inverse=True)
        gaps, fillers = encode_with_divmod(masks[name], index_bits)
        steps = [0 if filler else gap for gap, filler in zip(gaps.tolist(), fillers.tolist(), strict=True)]
        gap_code, weight_code = (huffman_with_two_queues(Counter(s)) for s in (steps, places.tolist()))
        file[name] |= {
            "gaps": bitstring.to_bytes(encode_with_map(steps, gap_code)),
            "weights": bitstring.to_bytes(encode_with_map(places.tolist(), weight_code)),
            "gap_code": gap_code,
            "weight_code": weight_code,
            "kept": places.size,
            "entries": len(steps),
            "codebook": codebook.tobytes(),
            "index_bits": index_bits,
        }
    return msgpack.packb(file)


@mutant("3.8a", "NaN and infinity without a mask are stored as numbers")
def compress_nan_to_num(state, masks, weight_bits, index_bits):
    return reference.compress(
        {name: value.nan_to_num() for name, value in state.items()}, masks, weight_bits, index_bits
    )


# --- 3.8b decompress --------------------------------------------------------------------------------------------------


def from_edited(change):
    """The reference, given a file whose masked entries were changed."""

    def decompress(data):
        file = msgpack.unpackb(data, strict_map_key=False)
        for entry in file.values():
            if "values" not in entry:
                change(entry)
        return reference.decompress(msgpack.packb(file))

    return decompress


def filler_moves_one(entry):
    symbols = [symbol or 1 for symbol in symbols_of(entry, *GAPS)]
    entry["gap_code"], entry["gaps"] = stream(symbols)


def sort_book(entry):
    entry["codebook"] = np.sort(np.frombuffer(entry["codebook"], entry["dtype"])).tobytes()


def filler_moves_bits(entry):
    if entry["index_bits"] > 1:
        entry["index_bits"] -= 1


mutant("3.8b", "the codebook is read in ascending order")(from_edited(sort_book))
mutant("3.8b", "fillers moves on by half")(from_edited(filler_moves_bits))


@mutant("3.8b", "fillers are skipped")
def skips_fillers(data):
    return from_edited(lose_fillers)(data)


@mutant("3.8b", "everything is float32")
def state_float32(data):
    return {name: value.float() for name, value in reference.decompress(data).items()}


@mutant("3.8b", "tensors are flat")
def state_flat(data):
    return {name: value.flatten() for name, value in reference.decompress(data).items()}


@mutant("3.8b", "only what had a mask")
def state_masked_only(data):
    file = msgpack.unpackb(data, strict_map_key=False)
    return {name: value for name, value in reference.decompress(data).items() if "values" not in file[name]}


@mutant("3.8b", "arrays in place of tensors")
def state_arrays(data):
    return {name: value.numpy() for name, value in reference.decompress(data).items()}


@mutant("3.8b", "the code is made again from the counts")
def remade_code(data):
    def change(entry):
        for _, code, _ in (GAPS, WEIGHTS):
            entry[code] = dict(zip(entry[code], fixed_length(entry[code]).values(), strict=True))

    try:
        return from_edited(change)(data)
    except ValueError:
        return {}


@mutant("3.8b", "fails where nothing is kept")
def needs_kept(data):
    for entry in msgpack.unpackb(data, strict_map_key=False).values():
        assert entry.get("kept", 1)
    return reference.decompress(data)


@mutant("3.8b", "the lowest bit of a byte first")
def reads_low_bit(data):
    return from_edited(low_bit_first)(data)


@mutant("3.8b", "the last weight is lost")
def last_weight_lost(data):
    state = reference.decompress(data)
    for name, entry in msgpack.unpackb(data, strict_map_key=False).items():
        if entry.get("kept"):
            flat = state[name].view(-1)
            flat[flat.nonzero()[-1:]] = 0
    return state


@mutant("3.8b", "names in alphabetical order")
def state_sorted(data):
    return dict(sorted(reference.decompress(data).items()))


@right("3.8b")
def decompress_with_numpy(data):
    state = {}
    for name, entry in msgpack.unpackb(data, strict_map_key=False).items():
        if "values" in entry:
            flat = np.frombuffer(entry["values"], entry["dtype"]).copy()
        else:
            flat = np.zeros(math.prod(entry["shape"]), entry["dtype"])
            gaps = decode_by_tree(bitstring.from_bytes(entry["gaps"]), entry["gap_code"], entry["entries"])
            places = decode_by_tree(bitstring.from_bytes(entry["weights"]), entry["weight_code"], entry["kept"])
            book, place, weights = np.frombuffer(entry["codebook"], entry["dtype"]), -1, iter(places)
            for gap in gaps:
                place += gap or 2 ** entry["index_bits"]
                if gap:
                    flat[place] = book[next(weights)]
        state[name] = torch.from_numpy(flat.reshape(entry["shape"]))
    return state


@right("3.8b")
def decompress_by_prefix(data):
    state = {}
    for name, entry in msgpack.unpackb(data, strict_map_key=False).items():
        dtype = getattr(torch, entry["dtype"])
        if "values" in entry:
            state[name] = torch.from_numpy(np.frombuffer(entry["values"], entry["dtype"]).copy()).view(entry["shape"])
            continue
        flat = torch.zeros(math.prod(entry["shape"]), dtype=dtype)
        gaps = decode_by_prefix(bitstring.from_bytes(entry["gaps"]), entry["gap_code"], entry["entries"])
        kept = decode_by_prefix(bitstring.from_bytes(entry["weights"]), entry["weight_code"], entry["kept"])
        steps = torch.tensor([gap or 2 ** entry["index_bits"] for gap in gaps], dtype=torch.int64)
        places = (steps.cumsum(0) - 1)[torch.tensor([gap > 0 for gap in gaps], dtype=torch.bool)]
        book = torch.from_numpy(np.frombuffer(entry["codebook"], entry["dtype"]).copy())
        flat[places] = book[torch.tensor(kept, dtype=torch.int64)]
        state[name] = flat.view(entry["shape"])
    return state


# Machine-made mutants that do the same as the reference
EQUIVALENT = {
    "encode_relative_index: int(bridges.sum()) -> bridges.sum()": "a tensor of one integer adds up as well",
    "encode_relative_index: 0 -> -1": "the only axis is also the last",
    "decode_relative_index: 0 -> -1": "the only axis is also the last",
    "linear_centroids: weights.min().item() -> weights.min()": "torch.linspace takes tensors too",
    "linear_centroids: weights.max().item() -> weights.max()": "torch.linspace takes tensors too",
    "kmeans_1d: 1 -> 2": "one more assignment, to the same centroids",
    "kmeans_1d: 0 -> -1": "the only axis is also the last",
    "kmeans_1d: members.clamp(min=1) -> members": "0/0 is not chosen",
    "kmeans_1d: 1 -> 0": "0/0 is not chosen",
    "centroid_gradient: 0 -> -1": "the only axis is also the last",
    "huffman_decode: len(symbols) -> symbols": "in the error's text",
    "compress: list(value.shape) -> value.shape": "msgpack writes a tuple as a list",
    "decompress: torch.tensor(places, dtype=torch.int64) -> places": "a list is an index too",
}


def unpacked(data, place=lambda places: places, length=math.prod):
    """The file read, with parts that can be wrong."""
    state = {}
    for name, entry in msgpack.unpackb(data, strict_map_key=False).items():
        if "values" in entry:
            values = np.frombuffer(entry["values"], entry["dtype"])
        else:
            bits = bitstring.from_bytes(entry["gaps"])
            gaps = reference.huffman_decode(bits, entry["gap_code"], entry["entries"])
            places = reference.huffman_decode(
                bitstring.from_bytes(entry["weights"]), entry["weight_code"], entry["kept"]
            )
            codebook = np.frombuffer(entry["codebook"], entry["dtype"])
            values = np.zeros(length(entry["shape"]), entry["dtype"])
            ends = np.cumsum([gap or 2 ** entry["index_bits"] for gap in gaps], dtype=np.int64) - 1
            values[ends[np.array(gaps, dtype=np.int64) > 0]] = codebook[np.array(place(places), dtype=np.int64)]
        state[name] = torch.tensor(values).reshape(entry["shape"])
    return state


@mutant("3.8b", "a tensor without axes is an error")
def decompress_with_numpy_prod(data):
    return unpacked(data, length=np.prod)


@mutant("3.8b", "places in the codebook are held in a byte")
def decompress_places_in_a_byte(data):
    return unpacked(data, place=lambda places: np.array(places).astype(np.uint8))


@mutant("3.8b", "a lone value is in all places")
def decompress_lone_value(data):
    state = unpacked(data)
    for name, entry in msgpack.unpackb(data, strict_map_key=False).items():
        if "codebook" in entry and entry["kept"] and len(entry["weight_code"]) == 1:
            state[name] = torch.full_like(
                state[name], torch.tensor(np.frombuffer(entry["codebook"], entry["dtype"]))[0]
            )
    return state


@mutant("3.8b", "all values are float32")
def decompress_to_float32(data):
    return {name: value.float() if value.is_floating_point() else value for name, value in unpacked(data).items()}


@mutant("3.8b", "tiny weights count as pruned")
def decompress_cuts_off(data):
    return {
        name: value.masked_fill(value.abs() < 1e-8, 0) if value.is_floating_point() else value
        for name, value in unpacked(data).items()
    }


@right("3.8b")
def decompress_by_sums(data):
    return unpacked(data)


@mutant("3.8b", "NaN and infinity without a mask come back as numbers")
def decompress_nan_to_num(data):
    return {name: value.nan_to_num() for name, value in reference.decompress(data).items()}


@mutant("3.8b", "−0 becomes 0")
def decompress_without_minus_zero(data):
    return {name: value.masked_fill(value == 0, 0) for name, value in reference.decompress(data).items()}
