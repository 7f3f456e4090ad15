"""Laws of unit 07, lottery tickets."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.checks import expect
from course_utils.checks.draw import Draw
from course_utils.checks.engine import StudentError, Unit

unit = Unit("lottery")
prune_tickets = unit.exercise("7.1", "prune_tickets", points=4, minutes=30, difficulty=4, fresh=True)
rewind = unit.exercise("7.2", "rewind", points=2, minutes=5, difficulty=1, fresh=True)
reinitialize = unit.exercise("7.3a", "reinitialize", points=2, minutes=10, difficulty=2, draws=True, fresh=True)
shuffle_masks = unit.exercise("7.3b", "shuffle_masks", points=2, minutes=10, difficulty=2, draws=True, fresh=True)
remaining_after = unit.exercise("7.4", "remaining_after", points=2, minutes=5, difficulty=1)
mask_distance = unit.exercise("7.5a", "mask_distance", points=2, minutes=5, difficulty=1)
is_early_bird = unit.exercise("7.5b", "is_early_bird", points=3, minutes=10, difficulty=3)
channel_mask = unit.exercise("7.6", "channel_mask", points=3, minutes=10, difficulty=3)
transplant = unit.exercise("7.7", "transplant", points=3, minutes=10, difficulty=2, fresh=True)
imp_round = unit.exercise("7.8", "imp_round", points=4, minutes=10, difficulty=2, fresh=True)

Tensors = dict[str, Tensor]
ALL_FLOATS = (torch.float32, torch.float64, *expect.HALVES)


def whole(tensors: Tensors) -> Tensors:
    """Masks that keep everything."""
    return {name: torch.ones(value.shape, dtype=torch.bool) for name, value in tensors.items()}


def count(masks: Tensors) -> int:
    return sum(int(mask.sum()) for mask in masks.values())


def flat(tensors: Tensors) -> Tensor:
    return torch.cat([value.flatten() for value in tensors.values()])


def expect_masks(got: Any, like: Tensors) -> Tensors:
    """Bool tensors by the same names, of the same shapes."""
    expect.same_kind(got, like, "the dict of masks")
    for name, value in like.items():
        expect.same_kind(got[name], torch.zeros(value.shape, dtype=torch.bool), f"masks[{name!r}]")
    return got


def expect_state(got: Any, like: Tensors, what: str = "the state") -> Tensors:
    """A whole state: every tensor with the shape and dtype that it had."""
    expect.same_kind(got, like, what)
    for name, value in like.items():
        expect.same_kind(got[name], value, f"{what}[{name!r}]")
    return got


def layers(draw: Draw, dtype: torch.dtype = torch.float32) -> Tensors:
    """Weights of two layers of different sizes, and of a filter bank."""
    return {
        "second": draw.normal(draw.integer(5, 8), 4, dtype=dtype),
        "first": draw.normal(9, draw.integer(3, 6), dtype=dtype),
        "conv": draw.normal(2, 3, 2, 2, dtype=dtype),
    }


# --- 7.1 prune_tickets ------------------------------------------------------------------------------------------------


@prune_tickets.law(
    "5, −1, 2, −3 | 0.5, 9 at rate 0.5: by layer −1, 2 and 0.5 go; together 0.5, −1 and 2",
    hint="Rank |w| of what is still there, and let round(rate · remaining) of the smallest go.",
    trials=1,
)
def tickets_example(function, draw):
    weights = {"a": torch.tensor([5.0, -1.0, 2.0, -3.0]), "b": torch.tensor([[0.5], [9.0]])}
    wanted = {"a": torch.tensor([True, False, False, True]), "b": torch.tensor([[False], [True]])}
    expect.equal(
        expect_masks(function(weights, whole(weights), {"a": 0.5, "b": 0.5}), weights),
        wanted,
        "masks by layer",
    )
    expect.equal(expect_masks(function(weights, whole(weights), 0.5), weights), wanted, "masks of all together")
    again = {"a": torch.zeros(4, dtype=torch.bool), "b": torch.tensor([[False], [True]])}
    expect.equal(function(weights, wanted, 0.5), again, "masks of the second round, where 2 of the 3 that are left go")


@prune_tickets.law(
    "in each tensor exactly round(rate · remaining) weights go; with one rate, exactly so many of all",
    hint="Count what is still there, not the whole tensor; Python's round() once, then that many: no threshold.",
    trials=2,
)
def tickets_count(function, draw):
    weights = layers(draw)
    masks = {name: draw.mask(*w.shape, keep=draw.uniform(0.4, 0.9)) for name, w in weights.items()}
    rates = {name: draw.uniform() for name in reversed(weights)}
    got = expect_masks(function(weights, masks, rates), masks)
    for name, mask in masks.items():
        left = int(mask.sum())
        wanted = left - round(rates[name] * left)
        expect.true(int(got[name].sum()) == wanted, f"{name!r} keeps too many or too few", wanted, int(got[name].sum()))
    for rate in (draw.uniform(), draw.trial):  # the second rate is an int
        left = count(masks)
        wanted, kept = left - round(rate * left), count(expect_masks(function(weights, masks, rate), masks))
        expect.true(kept == wanted, f"at rate {rate} too many or too few are kept", wanted, kept)


@prune_tickets.law(
    "rounding: of 100 at 0.29 go 29, at 0.575 go 57; of 5 at 0.5 go 2, of 7 at 0.5 go 4, of 4 at 0.65 go 3",
    hint="int() cuts off: 0.29 · 100 is 28.999…. Python's round() goes to the even neighbour at a half; "
    "0.575 · 100 is 57.499…, but a half in float32.",
    trials=1,
)
def tickets_rounding(function, draw):
    for n, rate, gone in (
        (100, 0.29, 29),
        (100, 0.575, 57),
        (5, 0.5, 2),
        (7, 0.5, 4),
        (4, 0.65, 3),
        (30, 0.65, 20),
        (1, 0.5, 0),
        (6, 1.0, 6),
    ):
        weights = {"w": draw.normal(n)}
        for rates in (rate, {"w": rate}):
            kept = count(expect_masks(function(weights, whole(weights), rates), weights))
            expect.true(kept == n - gone, f"of {n} at rate {rates} too many or too few are kept", n - gone, kept)


@prune_tickets.law(
    "no weight that goes is larger than one that stays: in its own tensor with a dict of rates, in any with one rate",
    hint="A dict of rates: every tensor by itself. One number: all tensors in one list.",
    trials=2,
)
def tickets_smallest(function, draw):
    dtype = (torch.float32, torch.float64)[draw.trial]
    weights = {n: w * 10.0**i for i, (n, w) in enumerate(layers(draw, dtype).items())}
    masks = {name: draw.mask(*w.shape, keep=0.8) for name, w in weights.items()}
    alone = expect_masks(function(weights, masks, dict.fromkeys(weights, 0.5)), masks)
    together = expect_masks(function(weights, masks, 0.5), masks)
    for got, names in [(alone, [name]) for name in masks] + [(together, list(masks))]:
        sizes, left, kept = (flat({n: t[n] for n in names}) for t in (weights, masks, got))
        gone, least = sizes.abs()[left & ~kept], sizes.abs()[kept]
        expect.true(
            gone.max() <= least.min(),
            f"in {names} a larger weight goes while a smaller one stays",
            f"at most {float(least.min()):.4g}",
            float(gone.max()),
        )


@prune_tickets.law(
    "what is pruned stays pruned, and is not counted, whatever the weights hold there",
    hint="Rank only the weights under the mask. A pruned weight may hold 0, 100, NaN; a living one may be 0.",
    trials=2,
)
def tickets_nested(function, draw):
    weights = {name: w * 10.0 ** (12 * draw.trial) for name, w in layers(draw).items()}
    masks = {name: draw.mask(*w.shape, keep=0.6) for name, w in weights.items()}
    masks["conv"][:] = False  # a tensor that has nothing left to lose
    weights["empty"], masks["empty"] = torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.bool)
    rates = 0.3 if draw.trial else dict.fromkeys(weights, 0.3)
    wanted = expect_masks(function(weights, masks, rates), masks)
    for name, mask in masks.items():
        expect.true((wanted[name] <= mask).all(), f"masks[{name!r}]: a pruned weight came back")
    for value in (0.0, 100.0, float("inf"), float("nan")):
        other = {name: torch.where(masks[name], w, value) for name, w in weights.items()}
        what = f"masks, with {value} in the pruned weights,"
        expect.equal(expect_masks(function(other, masks, rates), masks), wanted, what)
    got = expect_masks(function({name: torch.zeros_like(w) for name, w in weights.items()}, masks, rates), masks)
    expect.true(count(got) == count(wanted), "of weights that are 0 too many or few stay", count(wanted), count(got))
    for name, mask in masks.items():
        expect.true((got[name] <= mask).all(), f"masks[{name!r}]: of weights that are 0, a pruned one came back")


@prune_tickets.law(
    "of equal magnitudes the last go, in the order of the masks, then row by row",
    hint="Sort stably (stable=True); topk picks any of equals. Read by index, not as it lies in memory.",
    trials=2,
)
def tickets_ties(function, draw):
    rows, columns = (draw.integer(3, 5), 45)[draw.trial], (draw.integer(4, 6), 35)[draw.trial]
    masks = {
        "z": draw.mask(rows, columns, keep=0.8),
        "a": draw.mask(columns, rows, keep=0.8).t(),
        "m": torch.ones(4, dtype=torch.bool),
    }
    signs = {name: torch.where(draw.mask(*masks[name].shape), 1.0, -1.0) for name in ("m", "z", "a")}
    weights = {name: sign * draw.integer(1, 3) for name, sign in signs.items()}
    weights["z"] = weights["z"] * torch.from_numpy(draw.rng.integers(1, 4, masks["z"].shape))
    alike = {"b": torch.ones(3), "a": -torch.ones(2)}
    got = expect_masks(function(alike, {name: whole(alike)[name] for name in ("a", "b")}, 0.4), alike)
    expect.equal(
        got, {"a": torch.tensor([True, True]), "b": torch.tensor([True, False, False])}, "masks of equals, a before b"
    )
    left, n = flat(masks), count(masks)
    sizes = flat({name: weights[name] for name in masks}).abs()[left]
    for gone in (2, n // 2, n - 3):
        kept = flat(expect_masks(function(weights, masks, gone / n), masks))[left].int()
        expect.true(int(kept.sum()) == n - gone, "too many or too few stay", n - gone, int(kept.sum()))
        ranked = torch.sort(sizes, descending=True, stable=True).indices
        expect.true((kept[ranked].diff() <= 0).all(), "an earlier one of equals went, and a later one stayed")
    got = expect_masks(function(weights, masks, dict.fromkeys(masks, 0.5)), masks)
    for name, mask in masks.items():
        within, size = got[name][mask].int(), weights[name][mask].abs()
        for level in size.unique():
            falling = (within[size == level].diff() <= 0).all()
            expect.true(falling, f"masks[{name!r}]: an earlier one of equals went, a later one stayed")


@prune_tickets.law(
    "a name without a rate keeps its mask; weights without a mask (biases) do not count; small differences do",
    hint="Go through the masks; a rate is that of this very name. Compare magnitudes as they are, float64 as float64.",
    trials=1,
)
def tickets_names(function, draw):
    weights = {"bias": torch.zeros(30), **layers(draw)}
    masks = {name: draw.mask(*weights[name].shape, keep=0.7) for name in ("conv", "first", "second")}
    rates = {"first": 0.5, "": 0.5, "Second": 0.5, "con": 0.5, "conv.bias": 0.5, "my.second": 0.5}
    got = expect_masks(function(weights, masks, rates), masks)
    for name in ("second", "conv"):
        expect.equal(got[name], masks[name], f"masks[{name!r}], which has no rate,")
    for nothing in ({}, 0, 0.0):
        expect.equal(expect_masks(function(weights, masks, nothing), masks), masks, f"masks at rates {nothing}")
    expect.true(int(got["first"].sum()) < int(masks["first"].sum()), "'first' has a rate, and lost nothing")
    got = expect_masks(function(weights, masks, {"first": 0.5, "conv": 0}), masks)
    expect.equal(got["conv"], masks["conv"], "masks['conv'], whose rate is 0,")
    n = count(masks)
    kept = count(expect_masks(function(weights, masks, 0.5), masks))
    expect.true(
        kept == n - round(0.5 * n), "with a bias among the weights too many or few stay", n - round(0.5 * n), kept
    )
    for low, step in ((1.0, 1e-12), (0.0, 1e-40), (-1e30, -1e30)):
        order = draw.permutation(24)
        weight = low + order.to(torch.float64 if low == 1 else torch.float32) * step
        expect.equal(function({"w": weight}, whole({"w": weight}), 0.5)["w"], order >= 12, "the mask")
    halves = {"a": draw.permutation(24).half() / 32, "b": draw.permutation(24).bfloat16() / 32}
    wanted = {name: weight * 32 >= 12 for name, weight in halves.items()}
    expect.equal(expect_masks(function(halves, whole(halves), 0.5), halves), wanted, "masks of half precision")


def strange(state: Tensors, masks: Tensors) -> Tensors:
    """The state with infinities and NaN where its masks are False."""
    outside = {name: torch.where(mask, state[name], torch.inf).to(state[name].dtype) for name, mask in masks.items()}
    for value in outside.values():
        value.view(-1)[0::2][~torch.isfinite(value.view(-1)[0::2])] = torch.nan
    return {name: outside.get(name, value) for name, value in state.items()}


# --- 7.2 rewind -------------------------------------------------------------------------------------------------------


def network(draw: Draw, dtype: torch.dtype = torch.float32) -> tuple[Tensors, Tensors]:
    """A state with weights, biases and a counter, and masks of some of them, in another order."""
    state = {
        "1.weight": draw.normal(6, draw.integer(4, 7), dtype=dtype),
        "1.bias": draw.normal(6, dtype=dtype),
        "norm.steps": torch.tensor(draw.integer(1, 99)),
        "2.weight": draw.normal(3, 6, scale=0.1, dtype=dtype),
        "2.bias": draw.normal(3, dtype=torch.float64),
    }
    state["1.weight.momentum"] = draw.normal(*state["1.weight"].shape, dtype=dtype)  # has no mask
    return state, {name: draw.mask(*state[name].shape, keep=0.5) for name in ("2.weight", "1.weight", "2.bias")}


@rewind.law(
    "weights 3, −4 | bias 5, mask of the weights: first kept, second not: the state is 3, 0 | 5",
    hint="Initial values where the mask is True, 0 where it is False, and all tensors that have no mask.",
    trials=1,
)
def rewind_example(function, draw):
    state = {"weight": torch.tensor([3.0, -4.0]), "bias": torch.tensor([5.0])}
    got = function(state, {"weight": torch.tensor([True, False])})
    expect.equal(
        expect_state(got, state), {"weight": torch.tensor([3.0, 0.0]), "bias": torch.tensor([5.0])}, "the state"
    )


@rewind.law(
    "kept weights are bit for bit their initial values, pruned ones exactly 0, and the rest of the state is there",
    hint="Loop over the state, not over the masks: biases and counters belong to it, each with its own dtype. "
    "0 · NaN is NaN: torch.where.",
)
def rewind_exact(function, draw):
    for dtype in ALL_FLOATS:
        state, masks = network(draw, dtype)
        for outside in (state, strange(state, masks)):
            got = expect_state(function(outside, masks), state)
            for name, value in state.items():
                wanted = value.masked_fill(~masks[name], 0) if name in masks else value
                expect.equal(got[name], wanted, f"state[{name!r}]")


@rewind.law(
    "a mask that keeps everything gives the initial state; one that keeps nothing, zeros",
    hint="A name has a mask if it is in `masks`, whatever the mask holds.",
    trials=1,
)
def rewind_extremes(function, draw):
    state, masks = network(draw)
    everything = {name: torch.ones_like(mask) for name, mask in masks.items()}
    expect.equal(expect_state(function(state, everything), state), state, "the state under masks that keep everything")
    nothing = {name: torch.zeros_like(mask) for name, mask in masks.items()}
    wanted = state | {name: torch.zeros_like(state[name]) for name in masks}
    expect.equal(expect_state(function(state, nothing), state), wanted, "the state under masks that keep nothing")
    expect.equal(expect_state(function(state, {}), state), state, "the state without masks")
    odd = {"w": torch.tensor([torch.inf, torch.nan, 1.0])}
    wanted = {"w": torch.tensor([torch.inf, torch.nan, 0.0])}
    kept = {"w": torch.tensor([True, True, False])}
    expect.equal(expect_state(function(odd, kept), odd), wanted, "the state with what is not finite")
    for dtype in (torch.int64, torch.uint8, torch.bool):
        whole_numbers = {"w": torch.ones(3, dtype=dtype)}
        wanted = {"w": torch.tensor([1, 1, 0], dtype=dtype)}
        expect.equal(expect_state(function(whole_numbers, kept), whole_numbers), wanted, f"the state in {dtype}")


# --- 7.3a reinitialize ------------------------------------------------------------------------------------------------


@reinitialize.law(
    "0 outside the mask, other numbers than before inside it, and all that has no mask as it was",
    hint="Draw anew only what has a mask, then mask it. Biases and counters stay.",
    trials=2,
)
def reinitialize_masked(function, draw):
    for dtype in ALL_FLOATS:
        state, masks = network(draw, dtype)
        got = expect_state(function(state, masks, draw.seed()), state)
        for name, value in state.items():
            if name not in masks:
                expect.equal(got[name], value, f"state[{name!r}], which has no mask,")
                continue
            expect.true((got[name][~masks[name]] == 0).all(), f"state[{name!r}] is not 0 outside its mask")
            kept = got[name][masks[name]]
            expect.finite(kept, f"state[{name!r}]")
            if dtype in expect.HALVES:  # of which there are so few that chance repeats them
                continue
            # Chance repeats a float32 now and then, never half of them
            alike = 2 * len(kept.unique()) < len(kept)
            expect.true(not alike, f"state[{name!r}]: each entry needs its own draw", got=kept)
            old = int(torch.isin(kept.abs(), value.abs()).sum())
            expect.true(2 * old <= len(kept), f"state[{name!r}] holds initial values again: draw new ones", got=kept)


@reinitialize.law(
    "the same seed gives the same state, another seed another one, and equal tensors get different draws",
    hint="One torch.Generator().manual_seed(seed) before the loop, and draw each tensor from it.",
    trials=2,
)
def reinitialize_seed(function, draw):
    state, masks = network(draw)
    state["3.weight"], masks["3.weight"] = state["1.weight"].clone(), torch.ones_like(masks["1.weight"])
    masks = {**masks, "1.weight": masks["3.weight"]}
    seed = (draw.seed(), 0)[draw.trial]
    first, again = (expect_state(function(state, masks, seed), state) for _ in range(2))
    expect.equal(again, first, "the state of the same seed")
    for other in (seed + 1, seed + 42, seed + 2**8, seed + 2**16, draw.seed()):
        different = expect_state(function(state, masks, other), state)
        for name in ("1.weight", "2.weight"):
            same = (different[name] == first[name])[masks[name]]
            expect.true(2 * int(same.sum()) <= len(same), f"state[{name!r}] holds the same draws with another seed")
    alike = F.cosine_similarity(first["1.weight"].flatten(), first["3.weight"].flatten(), dim=0)
    expect.true(alike.abs() < 0.99, "two tensors have the same draw, or a multiple of it")


@reinitialize.law(
    "each tensor is drawn from a normal distribution with mean 0 and the standard deviation of its own initial values",
    hint="That of the whole initial tensor, pruned entries too, about its mean; torch.randn times it.",
    trials=1,
)
def reinitialize_normal(function, draw):
    n = 6000
    state = {
        "wide": draw.rand(60, 100, low=-4, high=4) * torch.linspace(0.3, 1, 60).unsqueeze(1),
        "narrow": draw.rand(n, low=-5e-4, high=7e-4) + 1.0,
        "tiny": draw.rand(n, low=-5e-20, high=7e-20),
        "two": torch.tensor([1.0, 3.0]),
    }
    # The largest are kept, as after pruning: their own standard deviation is another one
    masks = {name: value > value.mean() - 0.3 * value.std() for name, value in state.items()}
    masks["wide"], masks["two"] = state["wide"].abs() > 0.5, torch.tensor([True, True])
    got = expect_state(function(state, masks, draw.seed()), state)
    farthest = 0.0
    for name in ("wide", "narrow", "tiny"):
        kept, wanted = got[name][masks[name]].double(), float(state[name].std())
        deviation, mean = float(kept.std()), float(kept.mean())
        # Bounds of six or more standard errors: no right draw misses them
        good = abs(deviation / wanted - 1) < 0.08
        expect.true(good, f"the standard deviation of state[{name!r}] is not the initial one", wanted, deviation)
        expect.true(abs(mean) < 0.12 * wanted, f"the mean of state[{name!r}] is not 0", 0.0, mean)
        kurtosis = float(((kept - mean) / deviation).pow(4).mean())
        expect.true(2.4 < kurtosis < 4.2, f"state[{name!r}] is not normal: its kurtosis is not 3", 3.0, kurtosis)
        farthest = max(farthest, float(kept.abs().max()) / wanted)
    # Of so many thousand draws one is farther, but for once in 10⁸; more than 3 by more than rounding
    expect.true(farthest > 3.01, "the draws are cut off", "some beyond 3 standard deviations", farthest)
    expect.true(abs(got["two"].sum()) > 1e-4, "two entries always have the mean 0: each is to be drawn for itself")


# --- 7.3b shuffle_masks -----------------------------------------------------------------------------------------------


@shuffle_masks.law(
    "each tensor keeps as many weights as before, in its shape",
    hint="Permute within each tensor, not across tensors, and draw no new mask.",
)
def shuffle_count(function, draw):
    masks = {name: draw.mask(*w.shape, keep=draw.uniform()) for name, w in layers(draw).items()}
    masks |= {"all": torch.ones(3, dtype=torch.bool), "none": torch.zeros(2, 2, dtype=torch.bool)}
    masks |= {"scalar": torch.tensor(True), "empty": torch.zeros(0, 3, dtype=torch.bool)}
    got = expect_masks(function(masks, draw.seed()), masks)
    for name, mask in masks.items():
        wanted, kept = int(mask.sum()), int(got[name].sum())
        expect.true(kept == wanted, f"masks[{name!r}] keeps another number of weights", wanted, kept)


@shuffle_masks.law(
    "the same seed gives the same masks, another seed others; equal masks are shuffled differently",
    hint="One torch.Generator().manual_seed(seed) before the loop, and one permutation from it for each tensor.",
    trials=2,
)
def shuffle_seed(function, draw):
    mask = torch.arange(96).view(8, 12) % 2 == 0
    masks = {"a": mask, "b": mask.clone()}
    seed = (draw.seed(), 0)[draw.trial]
    first = expect_masks(function(masks, seed), masks)
    expect.equal(expect_masks(function(masks, seed), masks), first, "the masks of the same seed")
    for other in (seed + 1, seed + 42, seed + 2**8, seed + 2**16, draw.seed()):
        expect.true(
            not torch.equal(expect_masks(function(masks, other), masks)["a"], first["a"]), "another seed, the same mask"
        )
    expect.true(not torch.equal(first["a"], first["b"]), "two equal masks are still equal after shuffling")
    expect.true(not torch.equal(first["a"], mask), "nothing was shuffled")


@shuffle_masks.law(
    "a weight can end up anywhere, also where it was, each place as often; neighbours do not stay neighbours",
    hint="Permute all positions of a tensor: torch.randperm of its number of entries. A loop of swaps goes from the "
    "last entry to the second, and swaps each with one of those up to it, itself included.",
    trials=1,
)
def shuffle_everywhere(function, draw):
    masks = {f"from {i}": (torch.arange(4) == i).view(2, 2) for i in range(4)}
    masks["pair"] = torch.tensor([[True, True, False], [False, False, False]])
    seed, calls, distances = draw.integer(0, 2**30), 120, set()
    often = torch.zeros(4, 4)
    for i in range(calls):
        got = function(masks, seed + i)
        *singles, pair = (got[name].flatten() for name in masks)
        wanted = "one entry of each of four tensors, and two of the fifth"
        kept = [int(mask.sum()) for mask in (*singles, pair)]
        expect.true(kept == [1, 1, 1, 1, 2], "another number of entries is kept", wanted, kept)
        often += torch.stack(singles)
        first, second = pair.nonzero().flatten().tolist()
        distances.add(min(second - first, 6 - second + first))
    off = (often / calls - 0.25).abs().max()
    # Six standard deviations: a right shuffle is refused once in 10⁷
    expect.true(off < 6 * (0.1875 / calls) ** 0.5, "not every place is as likely", f"about {calls / 4} each", often)
    expect.true(
        distances == {1, 2, 3}, "kept positions hold together: this is a shift or a flip", got=sorted(distances)
    )


@shuffle_masks.law(
    "of a large tensor whose second half is kept, as much is kept before the middle as behind it",
    hint="All orders are equally likely. Sorting by random numbers of which many are equal, or swapping each entry "
    "with any other, prefers some.",
    trials=1,
)
def shuffle_halves(function, draw):
    n = 2**15
    masks = {"w": torch.arange(n) >= n // 2}
    got = expect_masks(function(masks, draw.seed()), masks)["w"]
    expect.true(int(got.sum()) == n // 2, "it keeps another number of weights", n // 2, int(got.sum()))
    # The test of Mann and Whitney: the mean place has this standard deviation, and is 5.2 of them away once in 10⁷
    place, middle = float(got.nonzero().double().mean()), (n - 1) / 2
    deviation = ((n + 1) / 12) ** 0.5
    expect.true(abs(place - middle) < 5.2 * deviation, "the mean place of kept entries is off", middle, place)


# --- 7.4 remaining_after ----------------------------------------------------------------------------------------------

LENET = {"1.weight": 235_200, "3.weight": 30_000, "5.weight": 1_000}


@remaining_after.law(
    "LeNet-300-100 at 20%, output layer 10%: 21.07, 13.52 and 8.68% after 7, 9 and 11 rounds",
    hint="A round leaves 1 − rate of what was there: powers. A fraction of all weights, so large layers count more.",
    trials=1,
)
def remaining_lenet(function, draw):
    rates = {"5.weight": 0.1, "1.weight": 0.2, "3.weight": 0.2}
    for rounds, wanted in ((7, 0.2107), (9, 0.1352), (11, 0.0868), (0, 1.0)):
        got = function(rounds, rates, LENET)
        expect.close(got, wanted, f"the fraction left after {rounds} rounds", rtol=0, atol=5.1e-5)


@remaining_after.law(
    "one rate for all: one round leaves 1 − rate, a + b rounds leave what a rounds leave times what b rounds leave",
    hint="With equal rates sizes do not matter; nothing is rounded to whole weights.",
)
def remaining_one_rate(function, draw):
    sizes = {"a": draw.integer(1, 9), "b": draw.integer(1, 99)}
    rate, a, b = draw.uniform(0.05, 0.9), draw.integer(1, 6), draw.integer(25, 40)
    for rates in (rate, {"b": rate, "a": rate}):
        expect.close(function(1, rates, sizes), 1 - rate, "after one round", rtol=1e-9, atol=0)
        product = function(a, rates, sizes) * function(b, rates, sizes)
        expect.close(function(a + b, rates, sizes), product, f"after {a} + {b} rounds", rtol=1e-9, atol=0)
    apart = function(700, 1e-3, sizes) * function(500, 1e-3, sizes)
    expect.close(function(1200, 1e-3, sizes), apart, "after 700 + 500 rounds", rtol=1e-9, atol=0)
    for whole_rate, rounds, wanted in ((0, 3, 1.0), (1, 2, 0.0), (1.0, 0, 1.0), (0.5, 2, 0.25)):
        expect.close(function(rounds, whole_rate, sizes), wanted, f"at rate {whole_rate} after {rounds} rounds")


@remaining_after.law(
    "two layers leave what each leaves alone, weighted by their sizes",
    hint="Add up the weights that are left, and divide by all weights: no mean over layers. A name without a rate "
    "keeps all that it has.",
)
def remaining_weighted(function, draw):
    sizes = {"large": draw.integer(100, 999) * 2 ** (0, 0, 40)[draw.trial], "small": draw.integer(1, 50)}
    rates = {"small": draw.uniform(0, 0.4), "large": draw.uniform(0.5, 1)}
    rounds = draw.integer(1, 9)
    weights = [function(rounds, {name: rates[name]}, {name: n}) * n for name, n in sizes.items()]
    expect.close(function(rounds, rates, sizes), sum(weights) / sum(sizes.values()), rtol=1e-9, atol=0)
    got = function(1, {"a": 0.5, "b": 0, "c": 0.5}, {"a": 2, "ab": 3, "A": 4, "b": 1})
    expect.close(got, 0.9, "with names without a rate, and one without a size,")


# --- 7.5a mask_distance -----------------------------------------------------------------------------------------------


def flipped(masks: Tensors, index: Tensor) -> Tensors:
    """The masks, the other way round at some positions, counted through all tensors."""
    entries = flat(masks)
    entries[index] = ~entries[index]
    parts = entries.split([mask.numel() for mask in masks.values()])
    return {name: part.view(mask.shape) for (name, mask), part in zip(masks.items(), parts, strict=True)}


@mask_distance.law(
    "kept, kept, pruned | pruned against kept, pruned, pruned | kept: 2 of 4 positions differ, 0.5",
    hint="Compare position by position; positions that both prune count among all, but do not differ.",
    trials=1,
)
def distance_example(function, draw):
    a = {"x": torch.tensor([True, True, False]), "y": torch.tensor([[False]])}
    b = {"y": torch.tensor([[True]]), "x": torch.tensor([True, False, False])}
    expect.close(function(a, b), 0.5)
    expect.close(function(b, a), 0.5)
    expect.close(function(a, a), 0.0, "the distance to itself")


@mask_distance.law(
    "k of n positions turned round, anywhere in tensors of different sizes, give k/n",
    hint="One fraction over all tensors: no count, no mean of the layers' fractions, no division by the kept weights.",
)
def distance_counted(function, draw):
    masks = {name: draw.mask(*w.shape, keep=draw.uniform()) for name, w in layers(draw).items()}
    masks |= {"scalar": torch.tensor(True), "empty": torch.zeros(0, 3, dtype=torch.bool)}
    if draw.trial == 2:
        masks["large"] = draw.mask(280, 250)  # more than half precision or 16 bits can count
    n = len(flat(masks))
    for k in (draw.integer(n // 2, n - 1) | 1, n, 0):
        other = flipped(masks, draw.permutation(n)[:k])
        turned = dict(reversed(other.items()))
        expect.close(function(masks, turned), k / n, f"the distance of masks that differ at {k} of {n} positions")


@mask_distance.law(
    "two independent masks that keep a fraction p differ in 2p(1 − p) of a large tensor's positions, about",
    hint="A position differs if one keeps and the other does not: p(1 − p) twice.",
    trials=2,
)
def distance_null(function, draw):
    p = draw.choice([0.1, 0.3, 0.5, 0.9])
    a, b = ({"w": draw.mask(100, 200, keep=p)} for _ in range(2))
    expect.close(function(a, b), 2 * p * (1 - p), "the distance of independent masks", rtol=0, atol=0.025)


# --- 7.5b is_early_bird -----------------------------------------------------------------------------------------------


def history_of(draw: Draw, flips: list[list[int]], sizes: tuple[int, ...] = (37, 63)) -> list[Tensors]:
    """Masks of 100 positions, oldest first, each the newest one turned round at given positions; then the newest."""
    newest = {f"layer {i}": draw.mask(n) for i, n in enumerate(sizes)}
    return [*(flipped(newest, torch.tensor(places, dtype=torch.long)) for places in flips), newest]


def expect_answer(function: Callable, wanted: bool, what: str, *arguments: Any, **named: Any) -> None:
    got = function(*arguments, **named)
    expect.same_kind(got, wanted)
    expect.true(got == wanted, what, wanted, got)


@is_early_bird.law(
    "False while there are fewer than `window` masks before the newest; True for six equal masks",
    hint="The newest does not count as one of the window before it.",
    trials=1,
)
def bird_needs_history(function, draw):
    for length in (1, 2, 5):
        expect_answer(
            function,
            False,
            f"a history of {length} is too short for a window of 5",
            history_of(draw, [[]] * (length - 1)),
        )
    expect_answer(function, True, "six equal masks have settled", history_of(draw, [[]] * 5))
    expect_answer(function, True, "nine equal masks have settled", history_of(draw, [[]] * 8))
    for window in (1, 3):
        few, enough = history_of(draw, [[]] * (window - 1)), history_of(draw, [[]] * window)
        expect_answer(function, False, f"a history of {window} is too short for a window of {window}", few, 0.1, window)
        expect_answer(function, True, f"window {window}: all are equal", enough, window=window)


@is_early_bird.law(
    "one far mask anywhere in the window says no; one before the window does not matter",
    hint="all(…) over the last `window` masks before the newest, not their mean, and not the whole history.",
    trials=2,
)
def bird_each(function, draw):
    window, far = (7, draw.integer(2, 6))[draw.trial], draw.permutation(100)[:40].tolist()
    for place in range(window):
        flips: list[list[int]] = [[]] * (window + 2)
        flips[2 + place] = far[: draw.integer(11, 40)]
        history = history_of(draw, flips)
        expect_answer(function, False, f"mask {place + 1} of the window is far away", history, 0.1, window)
    expect_answer(
        function, True, "only the oldest, outside the window, are far", history_of(draw, [far, far] + [[]] * 5)
    )


@is_early_bird.law(
    "nearer than epsilon, not as near: 10 of 100 positions at epsilon 0.1 is too far, 9 is near",
    hint="Strictly less than epsilon.",
    trials=1,
)
def bird_strict(function, draw):
    order = draw.permutation(100).tolist()
    expect_answer(function, False, "10 of 100 positions are not less than 0.1", history_of(draw, [order[:10]] * 5))
    expect_answer(function, True, "9 of 100 positions are less than 0.1", history_of(draw, [order[:9]] * 5))
    expect_answer(function, False, "25 of 100 at 0.25", history_of(draw, [order[:25]] * 5), 0.25, 5)
    expect_answer(function, True, "24 of 100 at 0.25", history_of(draw, [order[:24]] * 5), epsilon=0.25)
    small_layer = history_of(draw, [list(range(9))] * 5)  # a quarter of its 37 positions
    expect_answer(function, True, "9 of 100 positions, all in one layer, are less than 0.1", small_layer)
    large = draw.permutation(1000).tolist()
    for flips, epsilon, wanted in ((98, 0.1, True), (104, 0.101, False)):  # no rounding to hundredths
        history = history_of(draw, [large[:flips]] * 2, (370, 630))
        expect_answer(function, wanted, f"{flips} of 1000 at {epsilon}", history, epsilon, 2)


@is_early_bird.law(
    "epsilon 0: nothing is nearer than that; window 0: no mask can be too far, not even one that stands alone",
    hint="0 is a number like any other: no `epsilon or 0.1`; and past[-0:] is the whole past.",
    trials=1,
)
def bird_zero(function, draw):
    equal, far = history_of(draw, [[]] * 6), history_of(draw, [list(range(50))] * 6)
    expect_answer(function, False, "six equal masks, epsilon 0", equal, 0, 5)
    expect_answer(function, False, "six equal masks, epsilon 0", equal, epsilon=0.0)
    for history in (far, equal, equal[-1:], far[-2:]):
        for epsilon in (0.1, 0):
            expect_answer(function, True, f"{len(history)} masks, window 0, epsilon {epsilon}", history, epsilon, 0)


@is_early_bird.law(
    "a slow drift is no rest: each is compared with the newest, not with its neighbour or the oldest",
    hint="The distance of the newest to each of them: masks of the window may be far from one another.",
    trials=1,
)
def bird_newest(function, draw):
    order = draw.permutation(100).tolist()
    drift = history_of(draw, [order[: 4 * k] for k in (5, 4, 3, 2, 1)])
    expect_answer(function, False, "each step is small, the way of five steps is not", drift)
    around = history_of(draw, [order[8 * k : 8 * k + 8] for k in range(5)])
    expect_answer(function, True, "all are near the newest, if far from one another", around)
    jump = history_of(draw, [order[:30]] * 5)
    expect_answer(function, False, "the newest has just jumped away from masks that agree", jump)


# --- 7.6 channel_mask -------------------------------------------------------------------------------------------------


@channel_mask.law(
    "scales 0.1, −2 | 1, 0.5, 3 at keep_fraction 0.6: −2, 1 and 3 stay",
    hint="The largest |γ| of all layers together: a negative scale passes as much as a positive one.",
    trials=1,
)
def channels_example(function, draw):
    scales = {"b": torch.tensor([0.1, -2.0]), "a": torch.tensor([1.0, 0.5, 3.0])}
    wanted = {"b": torch.tensor([False, True]), "a": torch.tensor([True, False, True])}
    expect.equal(expect_masks(function(scales, 0.6), scales), wanted, "masks")


@channel_mask.law(
    "exactly round(keep_fraction · n) channels stay, n over all layers, and none that goes has a larger |γ|",
    hint="Count over all layers, Python's round() once. No threshold, no quantile, not layer by layer.",
    trials=2,
)
def channels_count(function, draw):
    for dtype in (torch.float32, torch.float64):
        scales = {f"norm{i}": draw.normal(draw.integer(3, 9), scale=4.0**i, dtype=dtype) for i in (2, 0, 1)}
        scales["without channels"] = torch.zeros(0, dtype=dtype)
        n = len(flat(scales))
        for keep_fraction in (draw.uniform(), draw.integer(1, n - 1) / n, 0, 1, 0.5 / n):
            got = expect_masks(function(scales, keep_fraction), scales)
            wanted = round(keep_fraction * n)
            expect.true(
                count(got) == wanted, f"at {keep_fraction:.3f} of {n} too many or too few stay", wanted, count(got)
            )
            sizes, kept = flat(scales).abs(), flat(got)
            if 0 < wanted < n:
                expect.true(
                    sizes[kept].min() >= sizes[~kept].max(), "a channel goes that is larger than one that stays"
                )
    for n, keep_fraction, wanted in ((100, 0.29, 29), (100, 0.575, 57), (5, 0.5, 2), (7, 0.5, 4)):
        kept = count(function({"norm": draw.normal(n)}, keep_fraction))
        expect.true(kept == wanted, f"of {n} channels at {keep_fraction} too many or few stay", wanted, kept)


@channel_mask.law(
    "of equal scales the first stay (fresh layers have γ = 1 everywhere), in the order of the dict",
    hint="A threshold keeps all of equals or none. Sort stably.",
    trials=2,
)
def channels_ties(function, draw):
    sizes = {"z": (draw.integer(3, 9), 130)[draw.trial], "a": (draw.integer(4, 9), 190)[draw.trial], "m": 5}
    n = sum(sizes.values())
    for level in (1.0, 0.0):
        signs = torch.where(draw.mask(n), level, -level)
        scales = dict(zip(sizes, signs.split(list(sizes.values())), strict=True))
        kept = draw.integer(n - n // 10 - 1, n - 1)
        first = (torch.arange(n) < kept).split(list(sizes.values()))
        wanted = dict(zip(sizes, first, strict=True))
        expect.equal(expect_masks(function(scales, kept / n), scales), wanted, "masks")


@channel_mask.law("scales that differ in the 12th digit are told apart; so are 1e-40 and 0, and 1e30", trials=1)
def channels_precision(function, draw):
    for low, step in ((1.0, 1e-12), (0.0, 1e-40), (-1e30, -1e30)):
        order = draw.permutation(24)
        scale = low + order.to(torch.float64 if low == 1 else torch.float32) * step
        expect.equal(function({"norm": scale}, 0.5)["norm"], order >= 12, "the mask")
    halves = {"a": draw.permutation(24).half() / 32, "b": draw.permutation(24).bfloat16() / 32}
    wanted = {name: scale * 32 >= 12 for name, scale in halves.items()}
    expect.equal(expect_masks(function(halves, 0.5), halves), wanted, "masks of half precision")


# --- 7.7 transplant ---------------------------------------------------------------------------------------------------


def donor(draw: Draw) -> tuple[Tensors, Tensors]:
    """Masks of a network with a head for ten classes, and a target with a head for three."""
    width = draw.integer(4, 6)
    masks = {
        "head.weight": draw.mask(10, width),
        "body.weight": draw.mask(width, 7),
        "body.head.weight": draw.mask(2, width),
    }
    target = {
        "body.weight": draw.normal(width, 7),
        "body.bias": draw.normal(width),
        "body.head.weight": draw.normal(2, width),
        "head.weight": draw.normal(3, width, dtype=torch.float64),
        "head.bias": draw.normal(3),
    }
    return masks, target


@transplant.law(
    "the body's masks come over unchanged; an excluded head is whole, in the shape that it has in the target",
    hint="torch.ones of the target's shape, dtype bool, for excluded names: whole names, not parts of them, as they "
    "are written, and only those that have a mask.",
)
def transplant_body(function, draw):
    masks, target = donor(draw)
    masks |= {"head.weight.2": draw.mask(2, 3, keep=0.3), "Head.weight": draw.mask(9), "head": draw.mask(9)}
    target |= {name: draw.normal(*masks[name].shape) for name in ("head.weight.2", "Head.weight", "head")}
    parts = ("body", "weight", "my.body.weight", "head.weight", "head.bias", "pooler.weight")
    for exclude in (["head.weight"], parts):
        wanted = {**masks, "head.weight": torch.ones(target["head.weight"].shape, dtype=torch.bool)}
        expect.equal(expect_masks(function(masks, target, exclude), wanted), wanted, "masks")


@transplant.law(
    "if everything fits, nothing need be excluded; an excluded head may be missing in the target",
    hint="Ask `name in target` before you look at its shape.",
    trials=2,
)
def transplant_all(function, draw):
    masks, target = donor(draw)
    same = {name: draw.normal(*mask.shape) for name, mask in masks.items()}
    expect.equal(function(masks, same, []), masks, "masks")
    expect.equal(function(masks, target | same, ()), masks, "masks")
    scale = {"scale": torch.tensor(False)}
    got = function(scale, {"scale": torch.tensor(2.0)}, ["scale"])
    expect.equal(got, {"scale": torch.tensor(True)}, "masks of a number without axes")
    headless = {name: value for name, value in target.items() if not name.startswith("head")}
    body = {name: mask for name, mask in masks.items() if name != "head.weight"}
    expect.equal(function(masks, headless, ["head.weight"]), body, "masks for a target without that head")
    whole_body = {**masks, "body.weight": torch.ones_like(masks["body.weight"])}
    expect.equal(function(masks, same, ["body.weight"]), whole_body, "masks, the body excluded though it fits")


@transplant.law(
    "a mask that does not fit is a ValueError: another shape, a transposed one, one that broadcasts, a missing name",
    hint="Compare whole shapes, and raise ValueError(…) before anything is moved.",
    trials=2,
)
def transplant_misfit(function, draw):
    masks, target = donor(draw)
    rows, columns = masks["body.weight"].shape
    masks["thin"], target["thin"] = torch.ones(1, 3, dtype=torch.bool), draw.normal(1, 3)
    cases = {
        "another head": (target, []),
        "another head, another name excluded": (target, ["body.weight"]),
        "another width": (target | {"body.weight": draw.normal(rows, columns + 1)}, ["head.weight"]),
        "a transposed tensor": (target | {"body.weight": draw.normal(columns, rows)}, ["head.weight"]),
        "as many entries in another shape": (target | {"body.weight": draw.normal(rows * columns)}, ["head.weight"]),
        "a shape that would broadcast": (target | {"body.weight": draw.normal(1, columns)}, ["head.weight"]),
        "a mask that would broadcast, and keeps all": (target | {"thin": draw.normal(2, 3)}, ["head.weight"]),
        "more axes": (target | {"body.weight": draw.normal(1, rows, columns)}, ["head.weight"]),
        "a missing tensor": ({n: t for n, t in target.items() if n != "body.weight"}, ["head.weight"]),
    }
    for what, (other, exclude) in cases.items():
        try:
            got = function(masks, other, exclude)
        except StudentError as error:
            if error.kind != "ValueError":
                raise
        else:
            raise expect.LawViolation(f"{what} was accepted", "ValueError", got)


# --- 7.8 imp_round ----------------------------------------------------------------------------------------------------


def play_round(
    function: Callable, initial: Tensors, trained: Tensors, masks: Tensors, rates: Any
) -> tuple[Tensors, Tensors]:
    """State and masks, after their form has been looked at."""
    got = function(initial, trained, masks, rates)
    expect.same_kind(got, (initial, masks), "the pair (state, masks)")
    return expect_state(got[0], initial), expect_masks(got[1], masks)


@imp_round.law(
    "initial 1, 2, 3 | 7, trained 9, −8, 0.1 | 5, rate 1/3: the third weight goes, the state is 1, 2, 0 | 7",
    hint="The trained weights say what goes; the initial ones are where the rest begins again.",
    trials=1,
)
def round_example(function, draw):
    initial = {"weight": torch.tensor([1.0, 2.0, 3.0]), "bias": torch.tensor([7.0])}
    trained = {"weight": torch.tensor([9.0, -8.0, 0.1]), "bias": torch.tensor([5.0])}
    state, masks = play_round(function, initial, trained, whole({"weight": initial["weight"]}), {"weight": 1 / 3})
    expect.equal(masks, {"weight": torch.tensor([True, True, False])}, "masks")
    expect.equal(state, {"weight": torch.tensor([1.0, 2.0, 0.0]), "bias": torch.tensor([7.0])}, "the state")


@imp_round.law(
    "three rounds: masks nested and counted, the state bit for bit the initial one under them",
    hint="Prune with the masks that you were given, and rewind with the new ones.",
    trials=2,
)
def round_nested(function, draw):
    initial, masks = network(draw, torch.float64 if draw.trial else torch.float32)
    rates = 0.3 if draw.trial else {"1.weight": 0.4, "2.weight": 0.2}  # 2.bias has none
    initial["2.weight"][0] = 0  # a weight that begins at 0 is a weight
    now = {name: torch.ones_like(mask) for name, mask in masks.items()}
    for _ in range(3):
        noise = {name: draw.normal(*value.shape, dtype=torch.float64) for name, value in initial.items()}
        trained = {n: noise[n].to(v.dtype) if v.is_floating_point() else v + 1 for n, v in initial.items()}
        state, new = play_round(function, initial, trained, now, rates)
        groups = [[name] for name in now] if isinstance(rates, dict) else [list(now)]
        for names in groups:
            rate = rates.get(names[0], 0) if isinstance(rates, dict) else rates
            sizes, left, kept = (flat({n: t[n] for n in names}) for t in (trained, now, new))
            wanted = int(left.sum()) - round(rate * int(left.sum()))
            expect.true(int(kept.sum()) == wanted, f"{names} keep too many or too few", wanted, int(kept.sum()))
            expect.true((kept <= left).all(), f"{names}: a pruned weight came back")
            gone, stays = sizes.abs()[left & ~kept], sizes.abs()[kept]
            smaller = not len(gone) or stays.min() >= gone.max()
            expect.true(smaller, f"{names}: a weight goes that is larger after training than one that stays")
        for name, value in initial.items():
            wanted_value = value.masked_fill(~new[name], 0) if name in new else value
            expect.equal(state[name], wanted_value, f"state[{name!r}]")
        now = new


@imp_round.law(
    "what stands in pruned places, NaN or infinity, before or after training, does not matter; nor do rates of 0",
    hint="Compose `prune_tickets` and `rewind`, whatever the rates: they know.",
    trials=1,
)
def round_outside(function, draw):
    initial, masks = network(draw)
    trained = {name: value.flip(0) if value.dim() else value + 1 for name, value in initial.items()}
    for rates in (0.25, 0, {}, {"1.weight": 0.0}):
        wanted_state, wanted = play_round(function, initial, trained, masks, rates)
        got = play_round(function, strange(initial, masks), strange(trained, masks), masks, rates)
        expect.equal(got[1], wanted, f"masks at rates {rates}, with NaN where they were False,")
        expect.equal(got[0], wanted_state, f"the state at rates {rates}, with NaN where the masks were False,")
        if rates != 0.25:
            expect.equal(wanted, masks, f"masks at rates {rates}")
            clean = {n: v.masked_fill(~masks[n], 0) if n in masks else v for n, v in initial.items()}
            expect.equal(wanted_state, clean, f"the state at rates {rates}")


@imp_round.law(
    "a regression with few true causes: three rounds at rate 1/2 leave those, and predict unseen examples",
    hint="If all other laws hold, this one does: trained weights rank, and each round starts from the same state.",
    trials=1,
    share=0.25,
)
def round_regression(function, draw):
    features, causes = 32, 4
    truth = torch.zeros(features, dtype=torch.float64)
    truth[draw.permutation(features)[:causes]] = 3.0 + draw.rand(causes, dtype=torch.float64)
    seen, unseen = draw.normal(200, features, dtype=torch.float64), draw.normal(50, features, dtype=torch.float64)
    # Small values begin where the causes are: who ranks them by size at the start finds the wrong ones
    initial = {"weight": torch.where(truth != 0, 0.001, 1.0).double() * draw.normal(features, dtype=torch.float64)}
    masks, state = whole(initial), initial
    for _ in range(3):
        kept = masks["weight"]
        fit = torch.linalg.lstsq(seen[:, kept], (seen @ truth).unsqueeze(1)).solution.flatten()
        trained = {"weight": torch.zeros(features, dtype=torch.float64)}
        trained["weight"][kept] = fit
        state, masks = play_round(function, initial, trained, masks, 0.5)
    expect.equal(masks["weight"], truth != 0, "the mask after three rounds")
    fit = torch.linalg.lstsq(seen[:, masks["weight"]], (seen @ truth).unsqueeze(1)).solution.flatten()
    expect.close(unseen[:, masks["weight"]] @ fit, unseen @ truth, "the vector of predictions", rtol=1e-6)
    expect.close(state["weight"], initial["weight"] * (truth != 0), "the state to train again", rtol=0, atol=0)
