"""Laws of unit 03, Deep Compression."""

import heapq
import itertools
import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence

import msgpack
import numpy as np
import torch
from torch import Tensor

from course_utils.checks import expect
from course_utils.checks.draw import Draw
from course_utils.checks.engine import StudentError, Unit
from course_utils.checks.expect import HALVES
from course_utils.checks.oracles import sgd_step

unit = Unit("deep_compression")
masked_sgd_step = unit.exercise("3.1", "masked_sgd_step", points=2, minutes=10, difficulty=2, fresh=True)
encode_relative_index = unit.exercise("3.2a", "encode_relative_index", points=3, minutes=20, difficulty=3)
decode_relative_index = unit.exercise("3.2b", "decode_relative_index", points=2, minutes=5, difficulty=2)
linear_centroids = unit.exercise("3.3a", "linear_centroids", points=1, minutes=5, difficulty=1)
kmeans_1d = unit.exercise("3.3b", "kmeans_1d", points=3, minutes=15, difficulty=3, fresh=True)
centroid_gradient = unit.exercise("3.4", "centroid_gradient", points=2, minutes=5, difficulty=2)
huffman_code = unit.exercise("3.5", "huffman_code", points=3, minutes=25, difficulty=3)
huffman_encode = unit.exercise("3.6a", "huffman_encode", points=1, minutes=5, difficulty=1)
huffman_decode = unit.exercise("3.6b", "huffman_decode", points=2, minutes=10, difficulty=2)
compressed_bits = unit.exercise("3.7", "compressed_bits", points=1, minutes=5, difficulty=1)
compress = unit.exercise("3.8a", "compress", points=4, minutes=45, difficulty=4)
decompress = unit.exercise("3.8b", "decompress", points=3, minutes=25, difficulty=4)


def bools(text: str) -> Tensor:
    """'1001' -> tensor([True, False, False, True])."""
    return torch.tensor([digit == "1" for digit in text], dtype=torch.bool)


def ints(*numbers: int) -> Tensor:
    return torch.tensor(numbers, dtype=torch.int64)


# --- 3.1 masked_sgd_step ----------------------------------------------------------------------------------------------


def step_inputs(draw: Draw, dtype: torch.dtype = torch.float32) -> tuple[list[Tensor], Tensor]:
    """Weight, gradient and velocity, and a mask that keeps some and drops some."""
    shape = draw.choice([(draw.size(2, 5), 7), (draw.size(2, 4), 2, 3, 3), (draw.size(4, 9),)])
    mask = draw.mask(*shape)
    mask.view(-1)[:2] = bools("10")
    return [draw.normal(*shape, dtype=dtype) for _ in range(3)], mask


def sgd(weight: Tensor, gradients: Sequence[Tensor], **settings: float) -> Tensor:
    """The weight after torch.optim.SGD's steps along the given gradients."""
    weight, velocities = weight.clone(), [None]
    for gradient in gradients:
        sgd_step([weight], [gradient], velocities, **settings)
    return weight


@masked_sgd_step.law(
    "where the mask is True it is torch.optim.SGD, step after step",
    hint="d = gradient + weight_decay · weight; v = momentum · v + d; weight − lr · v, the new v. Stay in the dtype.",
)
def like_torch(function, draw):
    (weight, _, _), mask = step_inputs(draw, torch.float64)
    gradients = [draw.normal(*weight.shape, dtype=torch.float64) for _ in range(4)]
    settings = {
        "lr": draw.uniform(0.01, 0.3),
        "momentum": draw.uniform(0.3, 0.95),
        "weight_decay": draw.uniform(0.01, 0.2),
    }
    weight.view(-1)[0] = 0  # a kept weight that is 0 may grow
    got, velocity = weight, torch.zeros_like(weight)
    for count, gradient in enumerate(gradients, start=1):
        result = function(got, gradient, velocity, mask, *settings.values())
        expect.same_kind(result, (weight, velocity))
        got, velocity = result
        expect.same_kind(got, weight, "the weight")
        expect.same_kind(velocity, weight, "the velocity")
        wanted = sgd(weight, gradients[:count], **settings)
        expect.close(
            got[mask], wanted[mask], f"the part of the weight that is kept, after step {count},", rtol=1e-9, atol=1e-12
        )


@masked_sgd_step.law(
    "where the mask is False, weight and velocity are exactly 0",
    hint="Mask both results: momentum and weight decay move a weight as well as its gradient does.",
)
def pruned_is_zero(function, draw):
    tensors, mask = step_inputs(draw)
    for result in function(*tensors, mask, 0.1, 0.9, 0.01):
        expect.equal(result[~mask], torch.zeros(int((~mask).sum())), "what is pruned")


@masked_sgd_step.law(
    "NaN and infinity at pruned places do not matter; at kept places they stay, as with torch.optim.SGD",
    hint="0 · NaN is NaN: choose with torch.where (or masked_fill) in place of multiplying by the mask. "
    "nan_to_num would also hide that training has diverged.",
    trials=2,
)
def pruned_nan(function, draw):
    tensors, mask = step_inputs(draw)
    weight, velocities = tensors[0].clone(), [tensors[2].clone()]
    sgd_step([weight], [tensors[1]], velocities, lr=0.1, momentum=0.9, weight_decay=0.01)
    wanted = weight.masked_fill(~mask, 0), velocities[0].masked_fill(~mask, 0)
    for bad in ((math.nan, 0.0, 0.0), (0.0, math.inf, 0.0), (0.0, 0.0, -math.inf), (math.nan,) * 3):
        dirty = [torch.where(mask, t, torch.full_like(t, b)) for t, b in zip(tensors, bad, strict=True)]
        got = function(*dirty, mask, 0.1, 0.9, 0.01)
        expect.close(got, wanted)
        expect.equal([result[~mask] for result in got], [torch.zeros(int((~mask).sum()))] * 2, "what is pruned")
    for bad in (math.nan, math.inf):
        gradient = torch.where(mask, bad, tensors[1])
        for result in function(tensors[0], gradient, tensors[2], mask, 0.1, 0.9, 0.01):
            same = result[mask].isnan() if bad != bad else result[mask].isinf()
            expect.true(same.all(), f"a kept place whose gradient is {bad} has another number", bad, result)


@masked_sgd_step.law("a small example", hint="Every kept weight has the same formula.", trials=1)
def step_example(function, draw):
    got = function(
        torch.tensor([2.0, -1.0]), torch.tensor([1.0, 5.0]), torch.tensor([4.0, 3.0]), bools("10"), 0.5, 0.5, 0.25
    )
    expect.close(got, (torch.tensor([0.25, 0.0]), torch.tensor([3.5, 0.0])))


@masked_sgd_step.law(
    "a mask that keeps nothing, or everything; a single number",
    hint="All are masks like any other, and tensors of any shape, also without axes.",
    trials=1,
)
def extreme_masks(function, draw):
    weight, gradient = draw.normal(2, 3).T, draw.normal(2, 3).T  # stored by columns
    zero = torch.zeros(3, 2)
    expect.equal(function(weight, gradient, weight, zero.bool(), 0.1, 0.9, 0.1), (zero, zero))
    wanted = (weight - 0.1 * gradient, gradient)
    expect.close(function(weight, gradient, zero, ~zero.bool(), 0.1, 0, 0), wanted)
    expect.close(function(weight, gradient, weight, ~zero.bool(), 0.1, 0, 0), wanted)
    for kept, wanted in ((True, (0.25, 3.5)), (False, (0.0, 0.0))):
        got = function(*map(torch.tensor, (2.0, 1.0, 4.0, kept)), 0.5, 0.5, 0.25)
        expect.close(got, tuple(map(torch.tensor, wanted)), "the step of a number")


@masked_sgd_step.law(
    "the dtype stays: float64, float32, float16, bfloat16", hint="Make no tensors of a fixed dtype: torch.zeros_like."
)
def step_dtype(function, draw):
    for dtype in (torch.float64, torch.float32, *HALVES):
        tensors, mask = step_inputs(draw, dtype)
        expect.same_kind(function(*tensors, mask, 1, 0.9, 0.01)[0], tensors[0], "the weight")
        expect.same_kind(function(*tensors, mask, 1, 0.9, 0.01)[1], tensors[0], "the velocity")


@masked_sgd_step.law("a learning rate of 0 leaves the kept weights, and moves the velocity", hint="v has no lr in it.")
def no_rate(function, draw):
    (weight, gradient, velocity), mask = step_inputs(draw, torch.float64)
    momentum, decay = draw.uniform(0.1, 0.9), draw.uniform(0.1, 0.5)
    got = function(weight, gradient, velocity, mask, 0.0, momentum, decay)
    expect.close(got[0][mask], weight[mask], "the part of the weight that is kept")
    fast = function(weight, gradient, velocity, mask, 1.0, momentum, decay)
    expect.close(fast[1], got[1], "the velocity at another lr")
    expect.close((weight - fast[0])[mask], got[1][mask], "the step at lr = 1")


# --- 3.2 relative index -----------------------------------------------------------------------------------------------


def entries_of(mask: Tensor, index_bits: int) -> tuple[list[int], list[bool]]:
    """Gaps and fillers, counted place by place."""
    gaps, fillers, gap = [], [], 0
    for kept in mask.flatten().tolist():
        gap += 1
        if kept:
            while gap > 2**index_bits:
                gaps.append(2**index_bits)
                fillers.append(True)
                gap -= 2**index_bits
            gaps.append(gap)
            fillers.append(False)
            gap = 0
    return gaps, fillers


def index_results(function, mask: Tensor, index_bits: int) -> tuple[Tensor, Tensor]:
    """The function's two results, when they are tensors of the right kind."""
    result = function(mask, index_bits)
    expect.same_kind(result, ((), ()))
    gaps, fillers = result
    expect.true(isinstance(gaps, Tensor), "gaps is not a tensor", "a tensor", gaps)
    expect.same_kind(gaps, torch.zeros(gaps.numel(), dtype=torch.int64), "gaps")
    expect.same_kind(fillers, torch.zeros(gaps.numel(), dtype=torch.bool), "fillers")
    return gaps, fillers


def sparse_mask(draw: Draw, index_bits: int) -> Tensor:
    """A mask with gaps shorter and longer than the index allows, and a dropped tail."""
    mask = draw.mask(draw.size(1, 4), draw.size(3, 30) * 2**index_bits, keep=draw.uniform(0.3, 1.2) / 2**index_bits)
    mask[-1, -draw.integer(1, 3) :] = False
    return mask


@encode_relative_index.law(
    "the sums of the gaps are the places of the kept weights",
    hint="The first gap counts from place −1; a filler's gap counts as well.",
)
def gap_sums(function, draw):
    bits = draw.integer(1, 5)
    mask = sparse_mask(draw, bits)
    gaps, fillers = index_results(function, mask, bits)
    places = torch.from_numpy(np.cumsum(gaps.numpy(), dtype=np.int64) - 1)[~fillers]
    wanted = torch.from_numpy(np.flatnonzero(mask.numpy()))
    expect.equal(places, wanted, "the list of the places of all entries that are no fillers")


@encode_relative_index.law(
    "every gap is from 1 to 2^index_bits, every filler's is 2^index_bits",
    hint="The longest gap is 2^index_bits, not 2^index_bits − 1: a gap of 0 does not exist.",
)
def gap_range(function, draw):
    bits = draw.integer(1, 6)
    gaps, fillers = index_results(function, sparse_mask(draw, bits), bits)
    expect.true(((gaps >= 1) & (gaps <= 2**bits)).all(), "a gap is out of range", f"1 … {2**bits}", gaps)
    expect.equal(gaps[fillers], torch.full((int(fillers.sum()),), 2**bits), "the list of the fillers' gaps")


@encode_relative_index.law(
    "the example of Han's figure 2", hint="Places 1, 4 and 15 with 3 bits: the distance 11 is 8 and 3.", trials=1
)
def figure_two(function, draw):
    mask = torch.zeros(18, dtype=torch.bool)
    mask[[1, 4, 15]] = True
    expect.equal(index_results(function, mask, 3), (ints(2, 3, 8, 3), bools("0010")))


@encode_relative_index.law(
    "a filler only where it is needed: not for a distance of exactly 2^index_bits",
    hint="A distance d needs as many fillers as 2^index_bits fits into d − 1.",
    trials=1,
)
def needed_fillers(function, draw):
    for bits in (1, 2, 3):
        for distance in {1, 2**bits - 1, 2**bits, 2**bits + 1, 2 * 2**bits - 1, 2 * 2**bits, 2 * 2**bits + 1}:
            for first in (0, 1):
                mask = torch.zeros(first + distance + 2, dtype=torch.bool)
                mask[[first, first + distance]] = True
                gaps, fillers = entries_of(mask, bits)
                expect.equal(index_results(function, mask, bits), (ints(*gaps), torch.tensor(fillers)))


@encode_relative_index.law(
    "masks of any shape are read row by row, fillers and all",
    hint="mask.flatten(): the last axis runs fastest. A mask without axes has one place.",
)
def any_shape(function, draw):
    bits = draw.integer(1, 3)
    shape = (draw.size(1, 3), 2, draw.size(1, 3), 9)
    masks = [draw.mask(*shape, keep=0.1), draw.mask(*shape, keep=0.6), draw.mask(7, draw.size(2, 9), keep=0.2).T]
    for mask in (*masks, torch.tensor(True), torch.tensor(False)):
        gaps, fillers = entries_of(mask, bits)
        expect.equal(
            index_results(function, mask, bits), (ints(*gaps), torch.tensor(fillers, dtype=torch.bool)), "the result"
        )


@encode_relative_index.law(
    "nothing kept, nothing stored; everything kept, all gaps 1; no entries after the last kept weight",
    hint="What follows the last kept weight needs no entry: the length says it. A distance may need many fillers.",
    trials=1,
)
def extreme_index(function, draw):
    empty = (ints(), torch.zeros(0, dtype=torch.bool))
    for length in (1, 5, 100):
        expect.equal(index_results(function, torch.zeros(length, dtype=torch.bool), 2), empty)
        expect.equal(
            index_results(function, torch.ones(length, dtype=torch.bool), 2),
            (torch.ones(length, dtype=torch.int64), torch.zeros(length, dtype=torch.bool)),
        )
    expect.equal(index_results(function, bools("1" + "0" * 50), 1), (ints(1), bools("0")))
    expect.equal(index_results(function, bools("0" * 50 + "1" + "0" * 9), 4), (ints(16, 16, 16, 3), bools("1110")))
    expect.equal(index_results(function, bools("0" * 300 + "1"), 8), (ints(256, 45), bools("10")))
    # 40,000 = 156 · 256 + 64: more than 16 bits hold, and many fillers in a row
    wanted = ints(*[256] * 156, 64), bools("1" * 156 + "0")
    expect.equal(index_results(function, places(40_000, 39_999), 8), wanted)
    expect.equal(index_results(function, places(40_000, 39_999), 16), (ints(40_000), bools("0")))


def decoded_mask(function, gaps: Tensor, fillers: Tensor, length: int) -> Tensor:
    got = function(gaps, fillers, length)
    expect.same_kind(got, torch.zeros(length, dtype=torch.bool))
    return got


@decode_relative_index.law(
    "it finds the mask again, with gaps shorter and longer than the index allows",
    hint="The places are the running sums of the gaps, minus 1.",
)
def decode_mask(function, draw):
    bits = draw.integer(1, 4)
    mask = sparse_mask(draw, bits).flatten()
    gaps, fillers = entries_of(mask, bits)
    expect.equal(decoded_mask(function, ints(*gaps), torch.tensor(fillers, dtype=torch.bool), len(mask)), mask)


@decode_relative_index.law("the example of Han's figure 2", hint="A filler moves on, and keeps nothing.", trials=1)
def decode_figure_two(function, draw):
    wanted = torch.zeros(18, dtype=torch.bool)
    wanted[[1, 4, 15]] = True
    expect.equal(decoded_mask(function, ints(2, 3, 8, 3), bools("0010"), 18), wanted)


@decode_relative_index.law(
    "no entries, one entry, the first and the last place", hint="The mask is as long as `length` says.", trials=1
)
def decode_extremes(function, draw):
    for length in (1, 2, 9, 40):
        nothing = torch.zeros(length, dtype=torch.bool)
        expect.equal(decoded_mask(function, ints(), nothing[:0], length), nothing)
        for place in {0, length // 2, length - 1}:
            wanted = nothing.clone()
            wanted[place] = True
            expect.equal(decoded_mask(function, ints(place + 1), nothing[:1], length), wanted)
        expect.equal(decoded_mask(function, torch.ones(length, dtype=torch.int64), nothing, length), ~nothing)
    expect.equal(decoded_mask(function, ints(4, 4, 4, 2), bools("1110"), 20), bools("0" * 13 + "1" + "0" * 6))
    expect.equal(decoded_mask(function, ints(2, 2, 1, 2, 1), bools("10010"), 8), places(8, 3, 4, 7))
    expect.equal(decoded_mask(function, ints(30_000, 30_000), bools("00"), 60_001), places(60_001, 29_999, 59_999))
    expect.equal(decoded_mask(function, ints(40_000), bools("0"), 40_000), places(40_000, 39_999))


def places(length: int, *kept: int) -> Tensor:
    """A flat mask that keeps the given places."""
    mask = torch.zeros(length, dtype=torch.bool)
    mask[list(kept)] = True
    return mask


# --- 3.3 weight sharing -----------------------------------------------------------------------------------------------


@linear_centroids.law("they run evenly from the least weight to the greatest: NumPy's linspace", hint="torch.linspace.")
def evenly(function, draw):
    weights, count = draw.normal(draw.size(2, 50)), draw.integer(2, 20)
    wanted = np.linspace(weights.min().item(), weights.max().item(), count, dtype=np.float32)
    expect.close(function(weights, count), torch.from_numpy(wanted), rtol=1e-5)


@linear_centroids.law("one centroid is the midpoint", hint="Halfway between the least and the greatest, not the mean.")
def midpoint(function, draw):
    weights = torch.tensor([1.0, 1.0, 1.0, 5.0, 2.0]) * draw.uniform(0.1, 2) - draw.uniform(0, 5)
    wanted = (float(weights.min()) + float(weights.max())) / 2
    expect.close(function(weights, 1), torch.tensor([wanted]), rtol=1e-5)
    expect.close(function(torch.tensor([-3.0]), 1), torch.tensor([-3.0]))


@linear_centroids.law(
    "only the least and the greatest weight matter",
    hint="Neither the mean nor the density. A weight that is 0 is a weight.",
)
def extremes_only(function, draw):
    inner = draw.rand(draw.size(1, 30), low=-1, high=1)
    for low, high in ((-1.0, 1.0), (-1.0, 7.0), (-4.0, 1.0)):
        weights = torch.cat([inner, torch.tensor([high, low])])
        expect.close(function(weights, 5), function(torch.tensor([low, high]), 5))
    expect.close(function(torch.tensor([[-1.0, 3.0]]), 3), torch.tensor([-1.0, 1.0, 3.0]))
    expect.close(function(torch.tensor([-8.0, -2.0]), 4), torch.tensor([-8.0, -6.0, -4.0, -2.0]))
    expect.close(function(torch.tensor([2.0, 6.0]), 2), torch.tensor([2.0, 6.0]))
    expect.close(function(torch.tensor([0.0, 3.0, 6.0]), 3), torch.tensor([0.0, 3.0, 6.0]))


@linear_centroids.law(
    "weights of any shape, all equal too; tiny ones; 300 centroids", hint="The result is flat, [count].", trials=1
)
def any_weights(function, draw):
    expect.close(function(torch.full((2, 3), 0.5), 4), torch.full((4,), 0.5))
    expect.close(function(torch.full((3,), 1e-9), 3), torch.full((3,), 1e-9), rtol=1e-5, atol=0)
    expect.close(function(torch.tensor([3e-9, 1e-9]), 3), torch.tensor([1e-9, 2e-9, 3e-9]), rtol=1e-5, atol=0)
    expect.close(function(torch.tensor([1.0, 300.0]), 300), torch.arange(1.0, 301.0), rtol=1e-5)
    expect.close(function(torch.tensor([[[0.0], [6.0]], [[3.0], [9.0]]]), 4), torch.tensor([0.0, 3.0, 6.0, 9.0]))


@linear_centroids.law(
    "the dtype stays: float64 exactly, float16 and bfloat16",
    hint="The first is the least weight, the last the greatest. If this law alone fails: hand the weights' dtype on. "
    "NumPy has no bfloat16: .double() first.",
)
def centroid_dtype(function, draw):
    weights = draw.normal(9, dtype=torch.float64)
    for count in (1, 2, 7):
        wanted = np.linspace(weights.min().item(), weights.max().item(), count)
        wanted = torch.from_numpy(wanted) if count > 1 else ((weights.min() + weights.max()) / 2).reshape(1)
        expect.close(function(weights, count), wanted, rtol=1e-12, atol=1e-14)
        for dtype in HALVES:
            half = weights.to(dtype)
            low, high = half.min().item(), half.max().item()
            evenly = np.linspace(low, high, count) if count > 1 else np.array([(low + high) / 2])
            expect.close(function(half, count), torch.from_numpy(evenly).to(dtype), atol=4 * torch.finfo(dtype).eps)


def cluster_inputs(draw: Draw, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Weights of two humps, as pruning leaves them, and a start."""
    weights = draw.normal(draw.size(6, 60), scale=0.2, dtype=dtype) + torch.where(draw.mask(1), 0.5, -0.5).to(dtype)
    weights[::2] *= -1
    return weights, draw.rand(draw.integer(2, 8), low=-0.9, high=0.9, dtype=dtype)


def nearest(weights: Tensor, centroids: Tensor) -> Tensor:
    """Place of each weight's nearest centroid, the first of equals: NumPy's argmin."""
    return torch.from_numpy(np.abs(weights.numpy()[:, None] - centroids.numpy()).argmin(axis=1))


def lloyd(weights: Tensor, centroids: Tensor, steps: int) -> Tensor:
    """The centroids after so many steps of k-means, empty clusters staying where they are."""
    for _ in range(steps):
        assignment, count = nearest(weights, centroids), len(centroids)
        members, sums = (np.bincount(assignment, own, count) for own in (None, weights.numpy()))
        centroids = torch.where(torch.from_numpy(members > 0), torch.from_numpy(sums / members.clip(1)), centroids)
    return centroids


def slow_weights(draw: Draw, count: int) -> tuple[Tensor, Tensor]:
    """Weights that k-means from linear centroids still moves in its 30th and in its 31st step, and these centroids."""
    after: list[Tensor] = []
    while len({centroids.numpy().tobytes() for centroids in after}) < 3:
        weights = draw.normal(75 * count, dtype=torch.float64)  # of half as many the 30th step seldom moves anything
        start = torch.from_numpy(np.linspace(weights.min().item(), weights.max().item(), count))
        after = [lloyd(weights, start, 29)]
        after += [lloyd(weights, after[0], 1), lloyd(weights, after[0], 2)]
    return weights, start


def clusters(function, weights: Tensor, centroids: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """The function's two results, when they are of the right kind."""
    result = function(weights, centroids, steps)
    expect.same_kind(result, ((), ()))
    expect.same_kind(result[0], centroids, "the tensor of centroids")
    expect.same_kind(result[1], torch.zeros(len(weights), dtype=torch.int64), "the assignment")
    return result[0], result[1]


@kmeans_1d.law(
    "weights 0, 4, 5, 9 and centroids 1, 8: they move to 2 and 7, and stay there",
    hint="Assign all weights, then move all centroids; only then assign again. Near is by .abs(): a tiny square is 0.",
    trials=1,
)
def kmeans_example(function, draw):
    weights, start = torch.tensor([0.0, 4.0, 5.0, 9.0]), torch.tensor([1.0, 8.0])
    for steps in (1, 2):
        got = clusters(function, weights, start, steps)
        expect.close(got, (torch.tensor([2.0, 7.0]), ints(0, 0, 1, 1)), f"with steps={steps}, the result")
    for tiny in (torch.tensor(1e-30), torch.tensor(1e-5).half()):
        got, assignment = clusters(function, weights * tiny, start * tiny, 1)
        expect.equal(assignment, ints(0, 0, 1, 1), f"the assignment of weights {float(tiny):.0e} times as large")


@kmeans_1d.law(
    "the centroids are those of Lloyd's k-means, step by step",
    hint="Assign all weights, then move every centroid to the mean of its own; then the next step. "
    "Stop early only if nothing at all has changed.",
)
def step_by_step(function, draw):
    weights, centroids = cluster_inputs(draw)
    close = 1 + 1e-6 * draw.rand(100, dtype=torch.float64)  # for torch.allclose all the same
    for steps in (1, 2, draw.integer(3, 9)):
        for w, start in ((weights, centroids), (close, close.sort().values[:2])):
            wanted = lloyd(w, start, steps)
            got, _ = clusters(function, w, start, steps)
            expect.close(got, wanted, f"each of the centroids after {steps} steps", rtol=0, atol=1e-12)


@kmeans_1d.law(
    "every weight is assigned to the nearest of the centroids that are returned",
    hint="After the last move the assignment is made once more.",
)
def assigned_to_nearest(function, draw):
    weights, centroids = cluster_inputs(draw)
    for steps in (0, 1, draw.integer(2, 5)):
        got, assignment = clusters(function, weights, centroids, steps)
        expect.equal(assignment, nearest(weights, got), f"the assignment after {steps} steps")


@kmeans_1d.law("no steps: the centroids stay as they are", hint="Only the assignment is made.", trials=2)
def no_steps(function, draw):
    weights, centroids = cluster_inputs(draw)
    expect.equal(clusters(function, weights, centroids, 0)[0], centroids, "the tensor of centroids")


@kmeans_1d.law(
    "a centroid without weights stays where it is",
    hint="The mean of nothing is NaN (or 0): choose with torch.where.",
    trials=1,
)
def empty_cluster(function, draw):
    weights = torch.tensor([1.0, 2.0, 3.0])
    expect.close(
        clusters(function, weights, torch.tensor([2.5, 90.0, -70.0]), 3),
        (torch.tensor([2.0, 90.0, -70.0]), ints(0, 0, 0)),
    )
    # A centroid that is empty at first may get weights later
    got = clusters(function, torch.tensor([0.0, 4.0, 10.0]), torch.tensor([0.0, 9.0, 4.0, 4.0]), 1)
    expect.close(got, (torch.tensor([0.0, 10.0, 4.0, 4.0]), ints(0, 2, 1)))


@kmeans_1d.law(
    "of equally near centroids the one with the lower index gets the weight",
    hint="torch.argmin gives the first of equals; the centroids are in any order.",
    trials=1,
)
def ties(function, draw):
    weights = torch.tensor([1.0, 3.0, 2.0, 0.0])
    expect.equal(clusters(function, weights, torch.tensor([1.0, 3.0]), 0)[1], ints(0, 1, 0, 0), "the assignment")
    expect.equal(clusters(function, weights, torch.tensor([3.0, 1.0]), 0)[1], ints(1, 0, 0, 1), "the assignment")
    expect.close(
        clusters(function, weights, torch.tensor([1.0, 3.0]), 1)[0], torch.tensor([1.0, 3.0]), "the tensor of centroids"
    )
    expect.close(
        clusters(function, weights, torch.tensor([3.0, 1.0]), 1)[0], torch.tensor([2.5, 0.5]), "the tensor of centroids"
    )
    equal = torch.tensor([5.0, 2.0, 2.0, 2.0])
    expect.equal(clusters(function, weights, equal, 0)[1], ints(1, 1, 1, 1), "the assignment")
    expect.close(clusters(function, weights, equal, 2), (torch.tensor([5.0, 0.5, 2.5, 2.0]), ints(1, 2, 3, 1)))


@kmeans_1d.law("a centroid keeps its place in the list", hint="Do not sort them: the index is the code.")
def order(function, draw):
    weights, centroids = cluster_inputs(draw)
    turn = draw.permutation(len(centroids))
    straight, _ = clusters(function, weights, centroids, 3)
    turned, _ = clusters(function, weights, centroids[turn], 3)
    expect.close(turned, straight[turn], "centroids that started in another order", rtol=1e-9)


@kmeans_1d.law(
    "one cluster: the mean; one weight: itself; equal weights each count; 300 clusters",
    hint="[1] and [n] are shapes like any other. A mean over the different values is another one.",
    trials=2,
)
def one_cluster(function, draw):
    weights = draw.normal(draw.size(1, 9), dtype=torch.float64)
    got = clusters(function, weights, torch.zeros(1, dtype=torch.float64), 1)
    expect.close(got, (torch.tensor([np.mean(weights.numpy())]), torch.zeros(len(weights), dtype=torch.int64)))
    expect.close(
        clusters(function, torch.tensor([4.0]), torch.tensor([1.0, 9.0]), 5), (torch.tensor([4.0, 9.0]), ints(0))
    )
    got = clusters(function, torch.tensor([0.0, 0.0, 0.0, 4.0]), torch.tensor([1.0]), 1)
    expect.close(got, (torch.tensor([1.0]), ints(0, 0, 0, 0)), "of 0, 0, 0, 4, the result")
    many, turn = torch.arange(300.0), draw.permutation(300)
    expect.equal(clusters(function, many[turn], many, 1), (many, turn), "of 300 clusters, the result")


@kmeans_1d.law(
    "the dtype stays, half precision too; means of 3,000 weights are exact; step 31 is still a step",
    hint="The mean of all of its weights. If this law alone fails: sum in float64, then go back; take every step.",
    trials=1,
)
def means_of_many(function, draw):
    weights = draw.normal(3000, scale=0.05) + 3.0
    got, _ = clusters(function, weights, torch.tensor([2.0, 90.0]), 1)
    expect.close(got, torch.tensor([np.mean(weights.numpy(), dtype=np.float64), 90.0], dtype=torch.float32), rtol=2e-5)
    for dtype in HALVES:
        half = (600 * weights).to(dtype)  # whose sum float16 does not hold
        got, _ = clusters(function, half, torch.tensor([1e3, 5e4], dtype=dtype), 1)
        wanted = torch.tensor([half.double().mean().item(), 5e4], dtype=torch.float64)
        expect.close(got, wanted.to(dtype), "each of the centroids")
    weights, start = slow_weights(draw, 8)
    got, _ = clusters(function, weights, start, 31)
    expect.close(got, lloyd(weights, start, 31), "each of the centroids after 31 steps", rtol=0, atol=1e-12)


# --- 3.4 centroid_gradient --------------------------------------------------------------------------------------------


@centroid_gradient.law(
    "it is autograd's gradient of the centroids",
    hint="All weights of a cluster are one parameter: its gradient is the sum of theirs, not the mean.",
)
def like_autograd(function, draw):
    count, shape = draw.integer(2, 6), (draw.size(1, 6), 5)
    centroids = draw.normal(count, dtype=torch.float64).requires_grad_()
    assignment = draw.labels(math.prod(shape), count).view(shape)
    slope = draw.normal(*shape[::-1], dtype=torch.float64).T  # read by index, not as it lies in memory
    (wanted,) = torch.autograd.grad((centroids[assignment] * slope).sum(), centroids)
    expect.close(function(slope, assignment, count), wanted, rtol=1e-9, atol=1e-12)


@centroid_gradient.law(
    "a small example",
    hint="Sum what belongs to centroid 0, to centroid 1, … Places repeat: r[assignment] += g adds only one of them; "
    "index_add, scatter_add and bincount add all.",
    trials=1,
)
def gradient_example(function, draw):
    gradient = torch.tensor([[1.0, 2.0, -4.0], [8.0, 16.0, 0.5]])
    assignment = torch.tensor([[2, 0, 2], [0, 3, 3]])
    expect.close(function(gradient, assignment, 5), torch.tensor([10.0, 0.0, -3.0, 16.5, 0.0]))
    tiny = function(1e-12 * gradient, assignment, 5)
    expect.close(tiny, torch.tensor([1e-11, 0.0, -3e-12, 1.65e-11, 0.0]), "the gradient of a tiny one", atol=0)
    gradient[1, 0] = math.nan
    expect.true(function(gradient, assignment, 5)[0].isnan(), "a gradient that is NaN was left out of its sum")
    many = torch.arange(300).view(20, 15)
    expect.close(function(many.float(), many, 300), torch.arange(300.0), "the gradient of 300 centroids")


@centroid_gradient.law("one gradient for each centroid, 0 for one without weights", hint="The result is [count].")
def gradient_length(function, draw):
    shape = draw.choice([(draw.size(1, 5),), (2, draw.size(1, 4)), (2, 1, draw.size(1, 3), 2)])
    count = draw.integer(3, 30)
    got = function(draw.normal(*shape), torch.full(shape, 1), count)
    expect.same_kind(got, torch.zeros(count))
    expect.close(torch.cat([got[:1], got[2:]]), torch.zeros(count - 1), "the gradient of centroids without weights")


@centroid_gradient.law("one cluster gets the sum of all", hint="A sum, over the whole tensor.")
def gradient_sum(function, draw):
    gradient = draw.normal(draw.size(1, 4), 3, dtype=torch.float64)
    wanted = torch.tensor([math.fsum(gradient.flatten().tolist())], dtype=torch.float64)
    got = function(gradient, torch.zeros(gradient.shape, dtype=torch.int64), 1)
    expect.close(got, wanted, rtol=1e-9, atol=1e-12)


@centroid_gradient.law(
    "the dtype stays, also float16 and bfloat16, and 3,000 ones sum to 3,000 in each",
    hint="If this law alone fails: sum in float32 or float64, then go back. A half cannot count to 3,000 by ones.",
)
def gradient_dtype(function, draw):
    for dtype in (torch.float64, torch.float32, *HALVES):
        assignment = draw.labels(3000, 2)
        ones = int(assignment.sum())
        gradient = torch.cat([torch.ones(3000, dtype=dtype), torch.ones(3000, dtype=dtype)])
        got = function(gradient, torch.cat([assignment, torch.full((3000,), 3)]), 4)
        expect.close(got, torch.tensor([3000 - ones, ones, 0, 3000], dtype=dtype))


# --- 3.5 and 3.6 Huffman coding ---------------------------------------------------------------------------------------


def least_bits(frequencies: Iterable[float]) -> float:
    """Bits of a text in an optimal prefix code: the sum of all inner nodes of a Huffman tree; one bit a symbol if
    alone."""
    heap = sorted(frequencies)
    if len(heap) == 1:
        return heap[0]
    total = 0
    while len(heap) > 1:
        merged = heapq.heappop(heap) + heapq.heappop(heap)
        total += merged
        heapq.heappush(heap, merged)
    return total


def expect_code(code: Mapping[Hashable, str], symbols: Iterable[Hashable], what: str = "the code") -> None:
    """A prefix code of just these symbols."""
    expect.same_kind(code, dict.fromkeys(symbols, ""), what)
    for symbol, word in code.items():
        expect.true(isinstance(word, str), f"{what} of {symbol!r} is no string", "a string of 0 and 1", word)
        expect.true(set(word) <= {"0", "1"}, f"{what} of {symbol!r} has other signs than 0 and 1", got=word)
        expect.true(word, f"{what} of {symbol!r} is empty: it could not be read", "at least one bit", word)
    words = sorted(code.values())
    for first, second in itertools.pairwise(words):  # sorted, a word stands just before those that begin with it
        expect.true(
            not second.startswith(first), f"in {what}, {first!r} is the beginning of {second!r}", got=dict(code)
        )


def draw_frequencies(draw: Draw, largest: int = 60) -> dict[int, int]:
    count = draw.size(2, 25)
    return {3 * i - 7: draw.integer(1, largest) for i in range(count)}


def code_bits(code: Mapping[Hashable, str], frequencies: Mapping[Hashable, float]) -> float:
    return sum(frequency * len(code[symbol]) for symbol, frequency in frequencies.items())


@huffman_code.law(
    "every symbol has a word, and no word is the beginning of another",
    hint="Symbols are leaves. If the heap cannot compare: put a number behind the frequency, before what is joined.",
)
def prefix_code(function, draw):
    frequencies = draw_frequencies(draw)
    expect_code(function(frequencies), frequencies)


@huffman_code.law(
    "no prefix code is shorter",
    hint="Join the two rarest nodes, again and again; what is joined is one node with the sum of their frequencies.",
    trials=6,
)
def optimal(function, draw):
    for frequencies in (
        draw_frequencies(draw),
        draw_frequencies(draw, largest=3),
        {i: round(1.6 ** draw.uniform(0, 25)) for i in range(draw.size(3, 20) if draw.trial < 5 else 300)},
    ):
        code = function(frequencies)
        expect_code(code, frequencies)
        expect.close(
            code_bits(code, frequencies),
            float(least_bits(frequencies.values())),
            "the length of the text in bits",
            rtol=1e-9,
        )


@huffman_code.law(
    "powers of two: a symbol of probability 2^−k has k bits; Fibonacci numbers make the deepest tree",
    hint="The tree is as uneven as the frequencies are: no rounding, no greatest length of a word.",
    trials=1,
)
def dyadic(function, draw):
    for unit in (1, 2**-20):
        code = function({"a": 8 * unit, "b": 4 * unit, "c": unit, "d": unit, "e": 2 * unit})
        expect_code(code, "abcde")
        expect.equal({s: len(word) for s, word in code.items()}, {"a": 1, "b": 2, "e": 3, "c": 4, "d": 4}, "lengths")
    fibonacci = {0: 1, 1: 1}
    for i in range(2, 40):
        fibonacci[i] = fibonacci[i - 1] + fibonacci[i - 2]
    code = function(fibonacci)
    expect_code(code, fibonacci)
    expect.equal(sorted(map(len, code.values())), [*range(1, 40), 39], "lengths")


@huffman_code.law(
    "Shannon's code would be longer: of 49 a's and one b, each has one bit",
    hint="−log₂ p rounded up is not Huffman.",
    trials=1,
)
def not_shannon(function, draw):
    for frequencies in ({"a": 49, "b": 1}, {"a": 1, "b": 1}, {"b": 10**12, "a": 1}):
        code = function(frequencies)
        expect_code(code, frequencies)
        expect.equal(sorted(code.values()), ["0", "1"], "the list of words")


@huffman_code.law(
    "a lone symbol gets one bit; no symbols give {}", hint="An empty word cannot be counted when read.", trials=1
)
def lone_symbol(function, draw):
    for symbol in (0, 7, "x"):
        code = function({symbol: draw.integer(1, 99)})
        expect_code(code, [symbol])
        expect.equal(len(code[symbol]), 1, "the length of its word")
    expect.equal(function({}), {})


@huffman_code.law(
    "symbols of any kind, equally frequent or not; frequencies may be fractions",
    hint="A heap compares what it holds: put a number before the symbols, so that these are never compared. A symbol "
    "may be a tuple, a text or falsy: do not take it for a branch by its type or its truth.",
    trials=2,
)
def any_symbols(function, draw):
    symbols = ["a", 3, (1, 2), None, "bc", -1, 2.5, (0,), b"z", 0, "", (), ("a", "bc"), (None, 3)]
    for frequencies in (
        dict.fromkeys(symbols, 1),
        {symbol: draw.integer(1, 3) for symbol in symbols},
        {symbol: draw.uniform(0.001, 0.4) for symbol in symbols},
        {symbol: draw.integer(1, 3) for symbol in ("a", "ab", "b", "ba", "abc", "")},
    ):
        code = function(frequencies)
        expect_code(code, frequencies)
        expect.close(
            code_bits(code, frequencies),
            float(least_bits(frequencies.values())),
            "the length of the text in bits",
            rtol=1e-9,
        )


def draw_code(draw: Draw, symbols: Sequence[Hashable]) -> dict[Hashable, str]:
    """A prefix code with no regard to frequencies: a tree that is split at random."""
    words = [""]
    while len(words) < len(symbols) or words == [""]:
        word = words.pop(draw.integer(0, len(words) - 1))
        words += [word + "0", word + "1"]
    return dict(zip(symbols, (words[i] for i in draw.permutation(len(words)).tolist()), strict=False))


def draw_text(draw: Draw, symbols: Sequence[Hashable], length: int) -> list[Hashable]:
    return [draw.choice(symbols) for _ in range(length)]


@huffman_encode.law(
    "a small example", hint="Look every symbol up in the dict, falsy ones and None too, and join the words.", trials=1
)
def encode_example(function, draw):
    code = {"a": "0", "b": "10", "c": "110", "d": "111"}
    expect.equal(function(list("abacad"), code), "01001100111")
    expect.equal(function([5], {5: "0", 6: "1"}), "0")
    expect.equal(function([0, 0, 0], {0: "1"}), "111")
    expect.equal(function([10, 1, 0], {0: "01", 1: "00", 10: "1"}), "10001")
    expect.equal(function([1, "1", "1", 1], {1: "0", "1": "10"}), "010100")
    expect.equal(function([None, 1.0, "", None], {1: "0", None: "10", "": "11"}), "1001110")


@huffman_encode.law("no symbols, no bits", hint="An empty string.", trials=1)
def encode_nothing(function, draw):
    expect.equal(function([], {1: "0", 2: "1"}), "")
    expect.equal(function([], {}), "")


@huffman_encode.law("the bits of two texts are joined when the texts are", hint="Nothing stands between two words.")
def encode_joined(function, draw):
    symbols = draw.choice([list("abcdefg"), list(range(-3, 4)), ["a", 3, (1, 2), 2.5, "bc"]])
    code = draw_code(draw, symbols)
    first, second = (draw_text(draw, symbols, draw.size(1, 30)) for _ in range(2))
    expect.equal(function(first + second, code), function(first, code) + function(second, code))
    expect.equal(len(function(first, code)), sum(len(code[s]) for s in first), "the number of bits")
    for symbol in symbols:
        expect.equal(function([symbol], code), code[symbol], f"the bit string of [{symbol!r}]")


@huffman_encode.law(
    "any sequence of symbols: a list, a tuple, a text, a long one",
    hint="Go through it with for: Python lets a function call itself only about 1,000 times.",
    trials=1,
)
def encode_sequences(function, draw):
    code = {"x": "01", "y": "1", "z": "00"}
    for symbols in ("xyz", ("x", "y", "z"), ["x", "y", "z"]):
        expect.equal(function(symbols, code), "01100")
    expect.equal(function("xyz" * 1000, code), "01100" * 1000)


@huffman_decode.law("a small example", hint="Add bit after bit to a word, until it is a symbol's.", trials=1)
def decode_example(function, draw):
    code = {"a": "0", "b": "10", "c": "110", "d": "111"}
    expect.equal(function("01001100111", code, 6), list("abacad"))
    expect.equal(function("111", {9: "1"}, 3), [9, 9, 9])
    expect.equal(function("0110", {-1: "1", 4: "0"}, 4), [4, -1, -1, 4])
    expect.equal(function("10011", {None: "0", 0: "10", "": "11"}, 3), [0, None, ""])


@huffman_decode.law(
    "every text is found again, whatever the prefix code", hint="The first word that fits is the right one."
)
def decode_text(function, draw):
    symbols = draw.choice([list("abcdefg"), list(range(-3, 9)), ["a", 3, (1, 2), 2.5, "bc"]])
    code = draw_code(draw, symbols)
    text = draw_text(draw, symbols, draw.size(1, 60))
    expect.equal(function("".join(code[s] for s in text), code, len(text)), text)


@huffman_decode.law(
    "a text of 3,000 symbols; words of up to 40 bits",
    hint="A word may be of any length. Read in a loop: Python lets a function call itself only about 1,000 times.",
    trials=1,
)
def decode_long(function, draw):
    expect.equal(function("01100" * 1000, {"x": "01", "y": "1", "z": "00"}, 3000), list("xyz" * 1000))
    deep = {length: "1" * length + "0" for length in range(40)}
    expect.equal(function("".join(deep.values()), deep, 40), list(deep), "the text in words of 1 to 40 bits")


@huffman_decode.law(
    "it stops after count symbols: the rest of the last byte is not read", hint="`while len(symbols) < count`."
)
def decode_rest(function, draw):
    symbols = list(range(draw.integer(2, 9)))
    code = draw_code(draw, symbols)
    text = draw_text(draw, symbols, draw.size(2, 20))
    bits = "".join(code[s] for s in text)
    for rest in ("0", "1", "0000000", "".join(code[s] for s in symbols)):
        expect.equal(function(bits + rest, code, len(text)), text)
    expect.equal(function(bits, code, len(text) - 1), text[:-1])


@huffman_decode.law("no symbols: an empty list", hint="Nothing is read for count = 0.", trials=1)
def decode_nothing(function, draw):
    for bits, code in (("", {}), ("0101", {"a": "0", "b": "1"}), ("", {1: "0"}), ("000", {})):
        expect.equal(function(bits, code, 0), [])


@huffman_decode.law(
    "ValueError if the bits end, or fit no symbol",
    hint="raise ValueError(…) when no bit is left. Bits that fit no symbol are not passed over.",
    trials=1,
)
def decode_short(function, draw):
    code = {"a": "00", "b": "01", "c": "1"}
    for bits, count in (("", 1), ("0", 1), ("001", 3), ("10", 2), ("0001", 3)):
        expect_value_error(lambda b=bits, n=count: function(b, code, n))
    expect_value_error(lambda: function("000", {"a": "1", "b": "01"}, 1))
    expect_value_error(lambda: function("0001", {"a": "1", "b": "01"}, 1))
    expect_value_error(lambda: function("1", {}, 1))
    for bits in ("1", "10"):
        expect_value_error(lambda b=bits: function(b, {9: "1"}, 3))
    expect_value_error(lambda: function("11", {0: "00", 1: "01"}, 1))


def expect_value_error(call) -> None:
    try:
        got = call()
    except StudentError as error:
        if error.kind != "ValueError":
            raise
    else:
        raise expect.LawViolation("no error was raised", "ValueError", got)


# --- 3.7 compressed_bits ----------------------------------------------------------------------------------------------


@compressed_bits.law("a small example", hint="Entries times bits, and the codebook.", trials=1)
def bits_example(function, draw):
    expect.equal(function(100, 10, 5, 3, 32), 1904)
    expect.equal(function(1, 0, 1, 1, 2), 66)


@compressed_bits.law("a filler costs what a weight costs", hint="It stores a zero weight and a gap.")
def filler_cost(function, draw):
    nonzeros, fillers, weight, index, book = (draw.integer(1, 50) for _ in range(5))
    without = function(nonzeros + fillers, 0, weight, index, book)
    expect.equal(function(nonzeros, fillers, weight, index, book), without, calls=2)
    fewer = function(nonzeros, fillers, weight, index, book)
    expect.equal(function(nonzeros + 1, fillers, weight, index, book), fewer + weight + index, calls=2)


@compressed_bits.law("the codebook costs 32 bits an entry", hint="One float32 each.")
def codebook_cost(function, draw):
    size = draw.integer(1, 256)
    expect.equal(function(0, 0, 8, 5, size), 32 * size)
    without = function(7, 3, 8, 5, 0)
    expect.equal(function(7, 3, 8, 5, size), without + 32 * size, calls=2)
    expect.equal(function(0, 0, draw.integer(1, 9), 4, 0), 0)
    expect.equal(function(10, 0, 0, 4, 0), 40, "the size of ten gaps alone, in bits,")
    expect.equal(function(8, 2, 6, 0, 0), 60, "the size of ten weights alone, in bits,")


@compressed_bits.law(
    "a layer as dense as it was, of 32-bit weights without an index, is not smaller", hint="n · 32 bits."
)
def dense_layer(function, draw):
    count = draw.integer(1, 10**9)
    expect.equal(function(count, 0, 32, 0, 0), torch.empty(count, device="meta").nbytes * 8)


# --- 3.8 compress and decompress --------------------------------------------------------------------------------------


def to_bits(data: bytes) -> str:
    return "".join(map(str, np.unpackbits(np.frombuffer(data, np.uint8))))


def to_bytes(bits: str) -> bytes:
    return np.packbits(np.array(list(bits), dtype=np.uint8)).tobytes()


def read_symbols(entry: dict, size: str, code: str, stream: str) -> list[int]:
    """The symbols of one stream of the file, and nothing but zeros after them."""
    words = {word: symbol for symbol, word in entry[code].items()}
    symbols, word, bits = [], "", to_bits(entry[stream])
    for position, bit in enumerate(bits):
        if len(symbols) == entry[size]:
            rest = bits[position:]
            expect.true(
                len(rest) < 8 and "1" not in rest,
                f"{stream!r} has more than its symbols (bitstring.to_bytes packs eight bits into a byte)",
                "fewer than 8 zeros",
                f"{len(rest)} bits: {rest[:40]}",
            )
            break
        word += bit
        if word in words:
            symbols.append(words[word])
            word = ""
    expect.equal(len(symbols), entry[size], f"the number of symbols in {stream!r}")
    return symbols


RAW = {"shape": [], "dtype": "", "values": b""}
MASKED = {
    "shape": [], "dtype": "", "index_bits": 0, "codebook": b"",
    "entries": 0, "gap_code": {}, "gaps": b"", "kept": 0, "weight_code": {}, "weights": b"",
}  # fmt: skip


def read_file(data: bytes, state: dict[str, Tensor], masks: dict[str, Tensor]) -> dict[str, dict]:
    """The entries of a compressed file, when they have the right form."""
    expect.true(type(data) is bytes, "the result is not bytes", "bytes", data)
    try:
        file = msgpack.unpackb(data, strict_map_key=False)
    except Exception as error:
        raise expect.LawViolation(f"msgpack cannot read the bytes ({error})", got=data) from error
    expect.same_kind(file, state, "the file")
    expect.equal(list(file), list(state), "the order of the names")
    for name, entry in file.items():
        like = MASKED if name in masks else RAW
        expect.same_kind(entry, like, f"the entry of {name!r}")
        for key, sample in like.items():
            expect.true(
                type(entry[key]) is type(sample),
                f"{key!r} of {name!r} is {expect.kind(entry[key])}, not {expect.kind(sample)}",
                got=entry[key],
            )
        for key in ("gap_code", "weight_code") if name in masks else ():
            true_words = all(isinstance(word, str) and set(word) <= {"0", "1"} for word in entry[key].values())
            expect.true(
                true_words, f"{key!r} of {name!r} is not a dict from symbols to strings of 0 and 1", got=entry[key]
            )
        expect.equal(entry["shape"], list(state[name].shape), f"the shape of {name!r}")
        expect.equal(entry["dtype"], str(state[name].dtype).removeprefix("torch."), f"the dtype of {name!r}")
    return file


def read_mask(entry: dict) -> Tensor:
    """The flat mask in a masked tensor's entry."""
    symbols = read_symbols(entry, "entries", "gap_code", "gaps")
    mask, place = torch.zeros(math.prod(entry["shape"]), dtype=torch.bool), -1
    for symbol in symbols:
        place += symbol or 2 ** entry["index_bits"]
        if symbol:
            mask[place] = True
    return mask


def read_weights(entry: dict) -> Tensor:
    """The kept weights of a masked tensor's entry, [kept]."""
    codebook = np.frombuffer(entry["codebook"], entry["dtype"])
    symbols = read_symbols(entry, "kept", "weight_code", "weights")
    return torch.from_numpy(codebook[np.array(symbols, dtype=np.int64)])


def draw_network(
    draw: Draw, dtype: torch.dtype = torch.float32, values: int = 0, keep: float = 0.2
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A small network with its masks. values: how many different weights a tensor has, at most; 0 for any."""
    shapes = {"conv.weight": (draw.size(2, 5), 2, 3, 3), "fc.weight": (draw.size(3, 8), draw.size(10, 40))}
    state, masks = {}, {}
    for name, shape in shapes.items():
        weight = draw.normal(*shape, dtype=dtype)
        if values:
            weight = draw.normal(values, dtype=dtype)[draw.labels(weight.numel(), values)].view(shape)
        mask = draw.mask(*shape, keep=keep)
        mask.view(-1)[-draw.integer(1, 4) :] = True
        state[name], masks[name] = weight, mask
        state[name.replace("weight", "bias")] = draw.normal(shape[0], dtype=dtype)
    return state, dict(reversed(masks.items()))


@compress.law(
    "the file has the form that the docstring describes; what has no mask is stored as it is",
    hint="msgpack.packb of a dict of dicts, with just these keys; tensor.numpy().tobytes() where there is no mask.",
)
def file_form(function, draw):
    for dtype in (torch.float32, torch.float64):
        state, masks = draw_network(draw, dtype, values=5)
        state |= {"count": torch.tensor(draw.integer(0, 99)), "scale": draw.normal(1).squeeze()}
        state |= {"stored by columns": draw.normal(2, 3).T, "diverged": torch.tensor([math.nan, math.inf])}
        file = read_file(function(state, masks, 3, 3), state, masks)
        for name in state.keys() - masks.keys():
            expect.equal(file[name]["values"], state[name].numpy().tobytes(), f"'values' of {name!r}")
        for name in masks:
            expect.equal(file[name]["index_bits"], 3, f"index_bits of {name!r}")
            expect.equal(file[name]["kept"], int(masks[name].sum()), f"kept of {name!r}")


@compress.law(
    "the gaps and fillers lead back to the mask",
    hint="The symbol of an entry is its gap, or 0 for a filler: gaps.masked_fill(fillers, 0).",
)
def file_masks(function, draw):
    bits = draw.integer(1, 4)
    state, masks = draw_network(draw, values=6, keep=draw.choice([0.02, 0.1, 0.4]))
    file = read_file(function(state, masks, 3, bits), state, masks)
    for name, mask in masks.items():
        expect.equal(read_mask(file[name]), mask.flatten(), f"the mask of {name!r}")
        gaps, fillers = entries_of(mask, bits)
        wanted = [0 if filler else gap for gap, filler in zip(gaps, fillers, strict=True)]
        expect.equal(
            read_symbols(file[name], "entries", "gap_code", "gaps"), wanted, f"the list of gap symbols of {name!r}"
        )


@compress.law(
    "weights that are shared already come back exactly; their codebook is ascending, without repetition",
    hint="At most 2^weight_bits different kept values: no k-means. "
    "torch.unique(return_inverse=True) gives book and places.",
)
def file_exact(function, draw):
    bits = draw.integer(2, 4)
    for dtype, values in ((torch.float32, 2**bits), (torch.float64, 2**bits - 1)):
        state, masks = draw_network(draw, dtype, keep=0.6)
        for name, mask in masks.items():  # k-means would move the smaller ones, which are close to each other
            state[name][mask] = 2.0 ** -(draw.permutation(int(mask.sum())) % values).to(dtype)
        file = read_file(function(state, masks, bits, 4), state, masks)
        for name, mask in masks.items():
            kept = state[name][mask]
            expect.equal(read_weights(file[name]), kept, f"the tensor of kept weights of {name!r}")
            book = np.unique(kept.numpy())
            expect.equal(np.frombuffer(file[name]["codebook"], book.dtype), book, f"the codebook of {name!r}")
    state, masks = {"many": draw.permutation(300).float()}, {"many": torch.ones(300, dtype=torch.bool)}
    file = read_file(function(state, masks, 9, 4), state, masks)
    expect.equal(read_weights(file["many"]), state["many"], "the tensor of 300 different weights")


@compress.law(
    "other weights become the centroids of 30 steps of k-means, over the kept weights of their own tensor",
    hint="kmeans_1d(kept, linear_centroids(kept, 2**weight_bits), 30), with kept = value[mask].",
    trials=2,
)
def file_shared(function, draw):
    bits = draw.integer(1, 3)
    state, masks = draw_network(draw, torch.float64, keep=0.5)
    file = read_file(function(state, masks, bits, 4), state, masks)
    for name, mask in masks.items():
        kept = state[name][mask]
        centroids = lloyd(kept, torch.from_numpy(np.linspace(kept.min().item(), kept.max().item(), 2**bits)), 30)
        wanted = centroids[nearest(kept, centroids)]
        expect.close(read_weights(file[name]), wanted, f"the tensor of kept weights of {name!r}", rtol=0, atol=1e-12)
        got, book = np.frombuffer(file[name]["codebook"], "float64"), np.unique(wanted.numpy())
        expect.close(got, book, f"the codebook of {name!r}", rtol=0, atol=1e-12)


@compress.law(
    "it is 30 steps, also where more would change something", hint="steps=30: not until it converges.", trials=1
)
def thirty_steps(function, draw):
    kept, start = slow_weights(draw, 16)
    centroids = lloyd(kept, start, 30)
    mask = {"w": torch.ones(len(kept), dtype=torch.bool)}
    file = read_file(function({"w": kept}, mask, 4, 2), {"w": kept}, mask)
    book = np.unique(centroids[nearest(kept, centroids)].numpy())
    expect.close(np.frombuffer(file["w"]["codebook"], "float64"), book, "the codebook", rtol=1e-9)


@compress.law(
    "a kept weight that is 0 stays a weight; a pruned one that is not 0 is gone",
    hint="The mask says what is kept, not the value.",
    trials=2,
)
def mask_decides(function, draw):
    state, masks = draw_network(draw, values=3)
    for name, mask in masks.items():
        state[name].view(-1)[mask.flatten().nonzero()[0]] = 0.0
    file = read_file(function(state, masks, 3, 4), state, masks)
    for name, mask in masks.items():
        expect.equal(read_mask(file[name]), mask.flatten(), f"the mask of {name!r}")
        expect.equal(read_weights(file[name]), state[name][mask], f"the tensor of kept weights of {name!r}")


@compress.law(
    "nothing kept, one weight kept, everything kept, one value, a long gap; centroids that no weight has",
    hint="An empty stream has the code {} and no bytes; a lone symbol has a word of one bit. The codebook is the "
    "different values of the shared weights: torch.unique of these, not of the centroids.",
    trials=1,
)
def extreme_files(function, draw):
    humps = torch.cat([torch.linspace(0.95, 0.96, 9), torch.linspace(-0.96, -0.95, 9)])  # nothing between the two
    mask = {"humps": torch.ones(18, dtype=torch.bool)}
    entry = read_file(function({"humps": humps}, mask, 3, 2), {"humps": humps}, mask)["humps"]
    expect.close(np.frombuffer(entry["codebook"], "float32"), np.array([-0.955, 0.955], "float32"), "the codebook")
    weight = draw.normal(4, 50)
    cases = {
        "nothing": torch.zeros(4, 50, dtype=torch.bool),
        "all": torch.ones(4, 50, dtype=torch.bool),
        "last": places(200, 199).view(4, 50),
        "first": places(200, 0).view(4, 50),
        "three": places(200, 3, 4, 150).view(4, 50),
    }
    for bits in (1, 8):
        state, masks = (
            dict.fromkeys(cases, weight) | {"same": torch.full((4, 50), 0.25)},
            cases | {"same": cases["all"]},
        )
        file = read_file(function(state, masks, bits, 2), state, masks)
        for name, mask in masks.items():
            expect.equal(read_mask(file[name]), mask.flatten(), f"the mask of {name!r}")
            weights = read_weights(file[name])
            expect.true(len(weights.unique()) <= 2**bits, f"{name!r} has too many different weights", 2**bits, weights)
            if len(state[name][mask].unique()) <= 2**bits:
                expect.equal(weights, state[name][mask], f"the tensor of kept weights of {name!r}")
        expect.equal(
            [file["nothing"][k] for k in ("codebook", "gap_code", "gaps", "weight_code", "weights")],
            [b"", {}, b"", {}, b""],
        )
    expect.equal(list(msgpack.unpackb(function({}, {}, 4, 4))), [], "the file of no tensors")


@compress.law(
    "both codes are Huffman's, made for these very symbols: no stream could be shorter",
    hint="Count each stream's symbols with collections.Counter, per tensor.",
    trials=2,
    share=0.25,
)
def file_optimal(function, draw):
    state, masks = draw_network(draw, keep=draw.uniform(0.1, 0.5))
    file = read_file(function(state, masks, 3, 4), state, masks)
    for name in masks:
        for keys in (("entries", "gap_code", "gaps"), ("kept", "weight_code", "weights")):
            counts = Counter(read_symbols(file[name], *keys))
            expect_code(file[name][keys[1]], counts, f"{keys[1]} of {name!r}")
            bits = sum(counts[symbol] * len(word) for symbol, word in file[name][keys[1]].items())
            expect.equal(bits, least_bits(counts.values()), f"the number of bits of {keys[2]!r} of {name!r}")
            expect.equal(len(file[name][keys[2]]), -(-bits // 8), f"the number of bytes of {keys[2]!r} of {name!r}")


def write_file(draw: Draw, state: dict[str, Tensor], masks: dict[str, Tensor], index_bits: int) -> bytes:
    """A compressed file with prefix codes of no merit; the kept weights of a tensor are its codebook."""
    file = {}
    for name, value in state.items():
        entry = {"shape": list(value.shape), "dtype": str(value.dtype).removeprefix("torch.")}
        if name not in masks:
            file[name] = entry | {"values": value.numpy().tobytes()}
            continue
        book = np.unique(value[masks[name]].numpy())[:: draw.choice([1, -1])]
        places_of = {v: i for i, v in enumerate(book.tolist())}
        gaps, fillers = entries_of(masks[name], index_bits)
        streams = {
            ("entries", "gap_code", "gaps"): [0 if f else g for g, f in zip(gaps, fillers, strict=True)],
            ("kept", "weight_code", "weights"): [places_of[v] for v in value[masks[name]].tolist()],
        }
        entry |= {"index_bits": index_bits, "codebook": book.tobytes()}
        for (size, code, stream), symbols in streams.items():
            words = draw_code(draw, sorted(set(symbols))) if symbols else {}
            entry |= {size: len(symbols), code: words, stream: to_bytes("".join(words[s] for s in symbols))}
        file[name] = entry
    return msgpack.packb(file)


def expect_state(got: dict[str, Tensor], state: dict[str, Tensor], masks: dict[str, Tensor]) -> None:
    """The state, with zeros where a mask is False."""
    wanted = {
        name: torch.where(masks[name], v, torch.zeros_like(v)) if name in masks else v for name, v in state.items()
    }
    expect.same_kind(got, wanted, "the state")
    expect.equal(list(got), list(state), "the order of the names")
    expect.equal(got, wanted, "the state")


@decompress.law(
    "the shared weights come back exactly, and 0 where the mask is False",
    hint="Decode gaps and weights, rebuild the mask, and put codebook[symbol] at its places.",
)
def state_again(function, draw):
    state, masks = draw_network(draw, values=draw.integer(1, 16), keep=draw.uniform(0.1, 0.8))
    expect_state(function(write_file(draw, state, masks, 4)), state, masks)


@decompress.law(
    "symbol 0 is a filler: it moves on by 2^index_bits, and has no weight",
    hint="Put 2**index_bits in place of the zeros, and tell decode_relative_index which entries are fillers.",
)
def fillers_again(function, draw):
    bits = draw.integer(1, 3)
    state, masks = draw_network(draw, values=5, keep=0.04)
    expect_state(function(write_file(draw, state, masks, bits)), state, masks)


@decompress.law(
    "dtypes and shapes are as they were, with a mask and without: float64, integers, single numbers",
    hint='np.frombuffer(entry["values"], entry["dtype"]), then the shape.',
)
def dtypes_again(function, draw):
    state, masks = draw_network(draw, torch.float64, values=7)
    state |= {"count": torch.tensor(draw.integer(0, 99)), "scale": draw.normal(1).squeeze(), "on": draw.mask(3)}
    state |= {"half": draw.normal(2, 3).half(), "single": draw.normal(1, 1, 2)}
    state |= {"diverged": torch.tensor([math.nan, math.inf, -math.inf, -0.0])}
    got = function(write_file(draw, state, masks, 3))
    expect_state(got, state, masks)
    expect.equal(got["diverged"].signbit(), state["diverged"].signbit(), "which numbers of a tensor have a minus sign")


@decompress.law(
    "nothing kept, everything kept, one weight, one value, 300 values, tiny ones; an index of 1 bit and of 8",
    hint="A stream without symbols has the code {} and no bytes.",
    trials=1,
)
def extremes_again(function, draw):
    masks = {
        "nothing": torch.zeros(4, 50, dtype=torch.bool),
        "all": torch.ones(4, 50, dtype=torch.bool),
        "last": places(200, 199).view(4, 50),
        "first": places(200, 0).view(4, 50),
        "two": places(200, 3, 150).view(4, 50),
        "single": torch.tensor(True),
    }
    masks["many"] = torch.ones(300, dtype=torch.bool)
    state = {name: draw.normal(*mask.shape) for name, mask in masks.items()}
    state["first"] *= 1e-20  # tiny, but kept
    state["tiny"] = 1e-20 * draw.normal(3)
    state["all"] = torch.full((4, 50), -0.5)
    state["two"][0, 3] = 0.0
    for bits in (1, 8):
        expect_state(function(write_file(draw, state, masks, bits)), state, masks)
    expect_state(function(write_file(draw, {}, {}, 4)), {}, {})


@decompress.law(
    "a file made by hand",
    hint="Bits are read from the highest of each byte, as bitstring.from_bytes does; what fills the last byte is not.",
    trials=1,
)
def by_hand(function, draw):
    entry = {
        "shape": [2, 5], "dtype": "float32", "index_bits": 2,
        "codebook": np.array([-1.5, 0.5, 2.0], "float32").tobytes(),
        # places 1, 7 and 8: gaps 2, filler, 2, 1
        "entries": 4, "gap_code": {0: "10", 1: "11", 2: "0"}, "gaps": bytes([0b01001100]),
        "kept": 3, "weight_code": {0: "0", 2: "1"}, "weights": bytes([0b10100000]),
    }  # fmt: skip
    wanted = torch.tensor([[0, 2.0, 0, 0, 0], [0, 0, -1.5, 2.0, 0]])
    expect.equal(function(msgpack.packb({"w": entry})), {"w": wanted})
