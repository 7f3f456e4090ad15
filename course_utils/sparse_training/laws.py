"""Laws of unit 09, dynamic sparse training."""

import math
from collections.abc import Callable
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.checks import expect
from course_utils.checks.draw import Draw
from course_utils.checks.engine import StudentError, Unit
from course_utils.checks.oracles import sgd_step
from course_utils.models import mlp_forward

unit = Unit("sparse_training")
erdos_renyi_densities = unit.exercise("9.1a", "erdos_renyi_densities", points=3, minutes=15, difficulty=3)
random_mask = unit.exercise("9.1b", "random_mask", points=2, minutes=5, difficulty=1, draws=True)
drop_fraction = unit.exercise("9.2", "drop_fraction", points=1, minutes=5, difficulty=1)
set_update = unit.exercise("9.3", "set_update", points=4, minutes=25, difficulty=4, draws=True, fresh=True)
rigl_update = unit.exercise("9.4", "rigl_update", points=3, minutes=10, difficulty=3, fresh=True)
explored_fraction = unit.exercise("9.5a", "explored_fraction", points=2, minutes=5, difficulty=1)
expected_exploration = unit.exercise("9.5b", "expected_exploration", points=2, minutes=10, difficulty=2)
cubic_sparsity = unit.exercise("9.6", "cubic_sparsity", points=1, minutes=5, difficulty=1)
n_of_m_mask = unit.exercise("9.7", "n_of_m_mask", points=3, minutes=15, difficulty=3)
rigl_train = unit.exercise("9.8", "rigl_train", points=5, minutes=25, difficulty=4, fresh=True)

DOUBLE = torch.float64
ALL_FLOATS = (torch.float32, DOUBLE, *expect.HALVES)
Matrices = tuple[Tensor, Tensor, Tensor]


def number(got: Any, expected: float, what: str = "the result", rtol: float = 1e-9) -> None:
    """A Python number, to nearly all its digits."""
    expect.close(got, float(expected), what, rtol=rtol, atol=1e-12)


# --- 9.1a erdos_renyi_densities ---------------------------------------------------------------------------------------


def expect_densities(got: Any, shapes: dict[str, tuple[int, ...]]) -> dict[str, float]:
    """A number for each name."""
    expect.same_kind(got, dict.fromkeys(shapes, 0.0), "the dict of densities")
    for name in shapes:
        expect.same_kind(got[name], 0.0, f"densities[{name!r}]")
        expect.true(math.isfinite(got[name]), f"densities[{name!r}] is not finite", got=got[name])
    return got


@erdos_renyi_densities.law(
    "4 × 4 and 2 × 4 at density 0.5: 12 of 24 positions, shared 8 to 6; 0.4286 and 0.6429",
    hint="A layer's connections are ε · (out + in), so its density is ε · (out + in)/(out · in). ε is the budget "
    "(density times all positions) by the sum of out + in.",
    trials=1,
)
def densities_example(function, draw):
    shapes = {"a": (4, 4), "b": (2, 4)}
    got = expect_densities(function(shapes, 0.5), shapes)
    number(got["a"], 12 / 14 * 8 / 16, "densities['a']")
    number(got["b"], 12 / 14 * 6 / 8, "densities['b']")


@erdos_renyi_densities.law(
    "of a convolution all four axes count: 4 × 2 × 3 × 3 is 12 over 72",
    hint="ERK: sum over all axes by the product over all axes, kernels included, not only the first two.",
    trials=1,
)
def densities_kernel(function, draw):
    shapes = {"conv": (4, 2, 3, 3), "fc": (8, 8)}
    got = expect_densities(function(shapes, 0.25), shapes)
    number(got["conv"], 34 / 28 * 12 / 72, "densities['conv']")
    number(got["fc"], 34 / 28 * 16 / 64, "densities['fc']")


@erdos_renyi_densities.law(
    "a layer that would pass 1 is 1, and the others share what is left with a new ε",
    hint="10 × 100 and 2 × 3 at 0.5: ε = 503/115, and the small one would have 3.6. Give it 1, and the 497 that are "
    "left to the large one. Clamping alone loses connections.",
    trials=1,
)
def densities_full(function, draw):
    shapes = {"wide": (10, 100), "head": (2, 3)}
    got = expect_densities(function(shapes, 0.5), shapes)
    number(got["head"], 1, "densities['head']")
    number(got["wide"], 497 / 1000, "densities['wide']")


@erdos_renyi_densities.law(
    "the new ε may push another layer past 1: again and again",
    hint="One sweep is not enough: after each new ε look at all layers that are not full yet.",
    trials=2,
)
def densities_again(function, draw):
    shapes = {"c": (20, 20), "b": (3, 3), "a": (2, 2)}  # 0.1, 0.667 and 1 times ε
    # ε is 74.9/50, which fills a only; then 70.9/46, which fills b
    density = 74.9 / 413
    if draw.trial:
        shapes = {name: shapes[name] for name in reversed(shapes)}
    got = expect_densities(function(shapes, density), shapes)
    for name, wanted in {"a": 1, "b": 1, "c": 61.9 / 400}.items():
        number(got[name], wanted, f"densities[{name!r}]")
    # ε is 10.2, then 10.234, 10.2504, 10.32: a, b and c fill one after the other
    shapes = {"a": (20, 20), "b": (20, 21), "c": (11, 141), "d": (24, 24)}
    got = expect_densities(function(shapes, 2866.2 / 2947), shapes)
    for name, wanted in {"a": 1, "b": 1, "c": 1, "d": 495.2 / 576}.items():
        number(got[name], wanted, f"densities[{name!r}] of four")


@erdos_renyi_densities.law(
    "on any shapes: connections add up, none is above 1, and layers that are not full have the same ε",
    hint="Σ density · size is density · Σ size. Round nothing here; count each layer's own size.",
)
def densities_sum(function, draw):
    for _ in range(4):
        shapes = {
            f"w{i}": tuple(draw.integer(1, 30) for _ in range(draw.integer(1, 4))) for i in range(draw.size(1, 6))
        }
        sizes = {name: math.prod(shape) for name, shape in shapes.items()}
        density = draw.uniform(0.01, 0.99)
        got = expect_densities(function(shapes, density), shapes)
        total = sum(got[name] * sizes[name] for name in shapes)
        number(total, density * sum(sizes.values()), "the number of connections in all")
        expect.true(max(got.values()) <= 1 + 1e-12, "a density is above 1", "at most 1", max(got.values()))
        epsilons = {name: got[name] * sizes[name] / sum(shapes[name]) for name in shapes}
        free = [epsilons[name] for name in shapes if got[name] < 1 - 1e-9]
        if free:
            number(min(free), max(free), "the least ε of layers that are not full")
            for name in shapes:
                wanted = max(free) * sum(shapes[name]) / sizes[name]
                good = got[name] < 1 - 1e-9 or wanted >= 1 - 1e-9
                expect.true(good, f"densities[{name!r}] is 1, and need not be", f"{wanted:.4g}", got[name])


@erdos_renyi_densities.law(
    "density 1: all are 1; density 0: all are 0; a single layer has what all have",
    hint="At 1 all layers become full, and nobody is left to share with: do not divide by 0.",
    trials=2,
)
def densities_ends(function, draw):
    shapes = {"a": (draw.integer(2, 9), 7), "b": (3, 3), "bias": (5,), "conv": (2, 3, draw.integer(1, 3), 1)}
    for density in (1.0, 1, 0.0, 0):
        got = expect_densities(function(shapes, density), shapes)
        for name in shapes:
            number(got[name], density, f"densities[{name!r}] at {density}")
    shapes = {"a": (3, 18), "b": (2, 2)}  # ε of the first is 54/21, whose share rounds to more than 1
    for name, got in expect_densities(function(shapes, 1.0), shapes).items():
        number(got, 1, f"densities[{name!r}] at 1, rounded")
    for density in (0.3, 1e-6, 0.999):
        number(expect_densities(function({"one": (4, 9)}, density), {"one": 0})["one"], density, "the only density")


# --- 9.1b random_mask -------------------------------------------------------------------------------------------------


def expect_mask(got: Any, shape: tuple[int, ...], count: int | None = None, what: str = "the mask") -> Tensor:
    expect.same_kind(got, torch.zeros(shape, dtype=torch.bool), what)
    if count is not None:
        expect.true(int(got.sum()) == count, f"{what} has too many or too few entries", count, int(got.sum()))
    return got


@random_mask.law(
    "rounding: of 100 at 0.29 stay 29, at 0.575 stay 57; of 5 at 0.5 stay 2, of 7 at 0.5 stay 4; of 6 at 1 all",
    hint="Exactly round(density · n) entries, Python's round, not int(); coins hit that by chance only.",
    trials=1,
)
def mask_count(function, draw):
    for n, density, count in (
        (100, 0.29, 29), (100, 0.575, 57), (5, 0.5, 2), (7, 0.5, 4), (9, 0.95, 9), (9, 0.05, 0), (6, 1, 6), (6, 0, 0)
    ):  # fmt: skip
        expect_mask(function((n,), density, draw.seed()), (n,), count, f"the mask of {n} at {density}")
    for shape in ((1,), (4, 9), (300, 7), (2, 3, 4), (3, 2, 5, 5)):
        density = draw.uniform()
        count = round(density * math.prod(shape))
        expect_mask(function(shape, density, draw.seed()), shape, count, f"the mask {list(shape)}")
    expect_mask(function([6, 5], 0.2, 0), (6, 5), 6, "the mask of a shape that is a list")
    expect_mask(function((), 1.0, 0), (), 1, "the mask of a number, which is one position,")
    expect_mask(function((0, 3), 0.5, 0), (0, 3), 0, "the mask of no position")


def numpy_state() -> tuple[Any, ...]:
    """Where NumPy's global generator is."""
    name, key, *rest = np.random.get_state(legacy=True)
    return name, key.tobytes(), *rest


@random_mask.law(
    "the same seed gives the same mask, another seed another one, whatever the global generator did",
    hint="torch.Generator().manual_seed(seed), handed to torch.randperm; torch.manual_seed changes it for all.",
    trials=2,
)
def mask_seed(function, draw):
    seed = (draw.seed(), 0)[draw.trial]
    numpys = numpy_state()
    torch.manual_seed(1)
    first, after = expect_mask(function((8, 12), 0.5, seed), (8, 12)), torch.rand(3)
    torch.manual_seed(2)
    torch.rand(5)
    expect.equal(expect_mask(function((8, 12), 0.5, seed), (8, 12)), first, "the mask of the same seed", calls=2)
    for other in (seed + 1, seed + 2**8, seed + 2**16, draw.seed()):
        expect.true(
            not torch.equal(expect_mask(function((8, 12), 0.5, other), (8, 12)), first), "another seed, the same"
        )
    torch.manual_seed(1)
    expect.true(torch.equal(torch.rand(3), after), "the global generator was seeded or used")
    expect.true(numpy_state() == numpys, "NumPy's global generator was seeded or used")


@random_mask.law(
    "every position is kept as often, and every pair",
    hint="The first positions of a permutation of all; not some of each row, no stride, no block.",
    trials=1,
)
def mask_uniform(function, draw):
    calls, seed = 100, draw.integer(0, 2**30)
    masks = torch.stack([expect_mask(function((3, 4), 0.5, seed + i), (3, 4), 6).flatten() for i in range(calls)])
    often = masks.double().mean(0)
    off = float((often - 0.5).abs().max())
    expect.true(off < 6 * (0.25 / calls) ** 0.5, "not every position is as likely", "about 0.5 each", often.view(3, 4))
    # Of four in the first row exactly two are kept in C(4,2)·C(8,4)/C(12,6) of all masks; of three in the first column
    # two or three in half of them
    row, column = masks[:, :4].sum(1) == 2, masks[:, 0::4].sum(1) >= 2
    for name, hits, chance in (("row", row, 420 / 924), ("column", column, 0.5)):
        off = abs(float(hits.double().mean()) - chance)
        expect.true(off < 6 * (chance * (1 - chance) / calls) ** 0.5, f"a {name} keeps the same number too often")
    six = [expect_mask(function((2, 3), 1 / 3, seed + i), (2, 3), 2).flatten() for i in range(calls)]
    expect_even_pairs(torch.stack(six), "two of six positions")


def expect_even_pairs(chosen: Tensor, what: str) -> None:
    """Every pair comes as often. chosen: bool [draws, places], two of each draw; six places, so that no cycle of places
    has all pairs in it."""
    counts = [int((chosen[:, a] & chosen[:, b]).sum()) for a, b in combinations(range(chosen.shape[1]), 2)]
    expected = len(chosen) / len(counts)
    # Pearson's χ² of 15 pairs passes 76 in one of 10⁹ runs of even draws
    far = sum((count - expected) ** 2 / expected for count in counts)
    expect.true(far < 76, f"some pairs go together too often: {what}", f"about {expected:.1f} each", counts)


# --- 9.2 drop_fraction ------------------------------------------------------------------------------------------------


@drop_fraction.law(
    "α 0.3, end 100: 0.3 at step 0, 0.15 at 50, 0.0439 at 75, and 0 from 100 on",
    hint="α/2 · (1 + cos(π · step/end)); from the end on exactly 0: the cosine would rise again.",
    trials=1,
)
def fraction_example(function, draw):
    for step, wanted in ((0, 0.3), (50, 0.15), (75, 0.15 * (1 - 0.5**0.5)), (100, 0.0), (101, 0.0), (200, 0.0)):
        number(function(step, 100, 0.3), wanted, f"the fraction at step {step}")


@drop_fraction.law(
    "steps equally far from the middle add up to α; it falls; an end that is not reached, an α of 1 or 0",
    hint="Half a cosine from α down to 0, in radians, over `end` steps.",
    trials=3,
)
def fraction_shape(function, draw):
    end = draw.size(2, 60000)
    for alpha in (draw.uniform(0.01, 1), 1, 0):
        step = draw.integer(1, end - 1)
        number(function(step, end, alpha) + function(end - step, end, alpha), alpha, "the sum of two", rtol=1e-7)
        path = [function(s, end, alpha) for s in sorted({0, step // 2, step, end - 1, end})]
        expect.true(all(a >= b for a, b in pairwise(path)), "it rises somewhere", got=path)
        number(path[0], alpha, "the fraction at step 0")
    number(function(1, 3, 0.4), 0.3, "at a third of the way", rtol=1e-9)
    tiny = 0.3 * (math.pi / 4e4) ** 2  # α sin²(x) for a small x; by the cosine seven digits are left
    number(function(19999, 20000, 0.3), tiny, "at one step before an end of 20,000", rtol=1e-5)
    number(function(0, 0, 0.4), 0, "at the end, with an end of 0")


# --- 9.3 set_update, 9.4 rigl_update ----------------------------------------------------------------------------------


def layer(draw: Draw, *shape: int, keep: float = 0.5, dtype: torch.dtype = torch.float32) -> Matrices:
    """A weight with different magnitudes, its mask, and a velocity that is never 0; outside the mask both are 0."""
    n = math.prod(shape)
    sizes = (1 + draw.permutation(n)).to(dtype) / 16
    weight = torch.where(draw.mask(n), sizes, -sizes).view(shape)
    mask = draw.mask(*shape, keep=keep)
    mask.view(-1)[0] = True
    velocity = (draw.normal(*shape).abs() + 0.1).to(dtype)
    return weight * mask, mask, velocity * mask


def slope(draw: Draw, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """A gradient with different magnitudes."""
    n = math.prod(shape)
    sizes = (1 + draw.permutation(n)).to(dtype) / 8
    return torch.where(draw.mask(n), sizes, -sizes).view(shape)


def expect_update(got: Any, weight: Tensor, mask: Tensor) -> Matrices:
    """(weight, mask, velocity) of the right kinds, with as many connections as before."""
    expect.same_kind(got, (weight, mask, weight), "the result")
    for name, value, like in zip(("weight", "mask", "velocity"), got, (weight, mask, weight), strict=True):
        expect.same_kind(value, like, f"the {name}")
    kept = int(got[1].sum())
    expect.true(kept == int(mask.sum()), "the number of connections changed", int(mask.sum()), kept)
    return got


def survivors(weight: Tensor, mask: Tensor, gone: int) -> Tensor:
    """Which connections stay: all but the `gone` smallest. By NumPy, of equals the last."""
    kept = np.flatnonzero(mask.numpy().ravel())
    sizes = weight.double().abs().numpy().ravel()[kept]
    stays = np.zeros(mask.numel(), dtype=bool)
    stays[kept[np.argsort(-sizes, kind="stable")[: len(kept) - gone]]] = True
    return torch.from_numpy(stays).view(mask.shape)


def expect_survivors(got: Matrices, before: Matrices, stays: Tensor) -> None:
    """What stays is as it was, bit for bit, and all else is 0."""
    new_weight, new_mask, new_velocity = got
    lost = int((stays & ~new_mask).sum())
    expect.true(lost == 0, "a connection that should stay is gone: the smallest |w| go", 0, lost)
    for name, new, old in (("weight", new_weight, before[0]), ("velocity", new_velocity, before[2])):
        expect.equal(new[stays], old[stays], f"the {name} of what stays")
        signs = torch.equal(new[stays].signbit(), old[stays].signbit())
        expect.true(signs, f"the {name} of what stays is 0 where it was −0, or −0 where it was 0")
        outside = new[~stays]
        expect.equal(outside, torch.zeros_like(outside), f"the {name} of all that did not stay, the new ones too,")


Run = Callable[[Callable[..., Any], Draw, Tensor, Tensor, Tensor, float], Any]


def run_set(
    function: Callable[..., Any], draw: Draw, weight: Tensor, mask: Tensor, velocity: Tensor, part: float
) -> Any:
    return function(weight, mask, velocity, part, draw.seed())


def run_rigl(
    function: Callable[..., Any], draw: Draw, weight: Tensor, mask: Tensor, velocity: Tensor, part: float
) -> Any:
    return function(weight, mask, velocity, slope(draw, *weight.shape, dtype=weight.dtype), part)


@set_update.law(
    "5, −1, 2, −3 and four empty places at 0.5: −1 and 2 go, two new ones come at 0",
    hint="Rank |w| of what is connected; the round(fraction · kept) smallest go. Then draw as many from all positions "
    "that are empty now.",
    trials=1,
)
def set_example(function, draw):
    weight = torch.tensor([[5.0, -1.0, 2.0, -3.0], [0.0, 0.0, 0.0, 0.0]])
    mask, velocity = weight != 0, torch.tensor([[0.5, 0.6, 0.7, 0.8], [0.0, 0.0, 0.0, 0.0]])
    got = expect_update(function(weight, mask, velocity, 0.5, draw.seed()), weight, mask)
    wanted = torch.tensor([[5.0, 0.0, 0.0, -3.0], [0.0, 0.0, 0.0, 0.0]])
    expect.equal(got[0], wanted, "the weight")
    expect.equal(got[2], torch.tensor([[0.5, 0.0, 0.0, 0.8], [0.0, 0.0, 0.0, 0.0]]), "the velocity")
    expect.true(bool(got[1][0, 0] & got[1][0, 3]), "5 and −3 have lost their connections", got=got[1])


@rigl_update.law(
    "5, −1, 2, −3 and four empty places at 0.5: −1 and 2 go; the slopes −9 (where 2 was) and 8 grow",
    hint="After dropping, rank |gradient| of all positions that are empty now; those just dropped are empty too.",
    trials=1,
)
def rigl_example(function, draw):
    weight = torch.tensor([[5.0, -1.0, 2.0, -3.0], [0.0, 0.0, 0.0, 0.0]])
    mask, velocity = weight != 0, torch.tensor([[0.5, 0.6, 0.7, 0.8], [0.0, 0.0, 0.0, 0.0]])
    gradient = torch.tensor([[99.0, 1.0, -9.0, -99.0], [7.0, 8.0, -2.0, 0.0]])
    got = expect_update(function(weight, mask, velocity, gradient, 0.5), weight, mask)
    grown = torch.tensor([[True, False, True, True], [False, True, False, False]])
    expect.equal(got[1], grown, "the mask")
    expect.equal(got[0], torch.tensor([[5.0, 0.0, 0.0, -3.0], [0.0, 0.0, 0.0, 0.0]]), "the weight")
    expect.equal(got[2], torch.tensor([[0.5, 0.0, 0.0, 0.8], [0.0, 0.0, 0.0, 0.0]]), "the velocity")


def both(name: str, hint: str, trials: int = 3) -> Callable[[Callable[..., None]], None]:
    """A law of both updates: a test of (run, function, draw)."""

    def add(test: Callable[..., None]) -> None:
        for exercise, run in ((set_update, run_set), (rigl_update, run_rigl)):
            exercise.law(name, hint, trials)(lambda function, draw, run=run: test(run, function, draw))

    return add


@both(
    "the round(fraction · kept) smallest go, what stays is as it was, bit for bit, and all else is exactly 0",
    hint="A fraction of the connections, not of all positions. New connections start at weight 0 and velocity 0.",
)
def update_survivors(run, function, draw):
    for shape in ((draw.size(4, 12), draw.integer(3, 9)), (draw.integer(5, 20),), (2, 3, draw.integer(1, 3), 2)):
        before = layer(draw, *shape, keep=0.3)
        for fraction in (draw.uniform(0.1, 0.9), 0.3):
            got = expect_update(run(function, draw, *before, fraction), *before[:2])
            gone = round(fraction * int(before[1].sum()))
            expect_survivors(got, before, survivors(*before[:2], gone))


@both(
    "rounding: of 100 at 0.29 go 29, at 0.575 go 57; of 5 at 0.5 go 2, of 7 at 0.5 go 4; a fraction 0, 1, or an int",
    hint="Python's round() of fraction · kept, once; int() and torch.round in float32 give others.",
    trials=1,
)
def update_rounding(run, function, draw):
    for kept, fraction, gone in (
        (100, 0.29, 29), (100, 0.575, 57), (5, 0.5, 2), (7, 0.5, 4), (9, 0.05, 0), (9, 0.95, 9), (9, 0, 0), (9, 1, 9)
    ):  # fmt: skip
        mask = torch.zeros(2 * kept + 40, dtype=torch.bool)
        mask[draw.permutation(len(mask))[:kept]] = True
        before = layer(draw, len(mask))[0].abs() + 1.0, mask, torch.ones(len(mask))
        before = before[0] * mask, mask, before[2] * mask
        got = expect_update(run(function, draw, *before, fraction), *before[:2])
        left = int((got[2] != 0).sum())
        expect.true(left == kept - gone, f"of {kept} at {fraction} too many or too few go", gone, kept - left)


@both(
    "outside the mask weight and velocity may hold anything, NaN too; a connection whose weight is 0 is one still",
    hint="What is connected says the mask, not weight != 0. Choose with torch.where: NaN · 0 is NaN.",
    trials=2,
)
def update_outside(run, function, draw):
    weight, mask, velocity = layer(draw, draw.size(4, 9), 7, keep=0.4)
    weight[0, 0] = 0.0  # connected, and the first that goes
    for value in (torch.nan, torch.inf, -1e30, 0.0):
        filled = torch.where(mask, weight, value), mask, torch.where(mask, velocity, value)
        for fraction in (0.4, 0.0, 1.0):
            got = expect_update(run(function, draw, *filled, fraction), weight, mask)
            expect_survivors(got, filled, survivors(weight * mask, mask, round(fraction * int(mask.sum()))))
    zeros = -torch.zeros_like(weight), mask, velocity
    got = expect_update(run(function, draw, *zeros, 0.5), weight, mask)
    expect_survivors(got, zeros, survivors(zeros[0], mask, round(0.5 * int(mask.sum()))))


@both(
    "of equal magnitudes the last go, row by row, whatever their signs",
    hint="Sort |w| stably (stable=True); topk and argsort pick any of equals, and a threshold takes all of them.",
    trials=2,
)
def update_ties(run, function, draw):
    rows = (5, 40)[draw.trial]
    _, mask, velocity = layer(draw, rows, 30, keep=0.6)
    sizes = torch.from_numpy(draw.rng.integers(1, 3, (rows, 30))).float()
    weight = torch.where(draw.mask(rows, 30), sizes, -sizes) * mask
    for fraction in (0.25, 0.7):
        got = expect_update(run(function, draw, weight, mask, velocity, fraction), weight, mask)
        expect_survivors(got, (weight, mask, velocity), survivors(weight, mask, round(fraction * int(mask.sum()))))


@both(
    "every dtype stays; float64 is ranked as float64, half precision too, tiny and huge weights as others",
    hint="Rank |w| as it is: no .float(), no squares, no rounding; kept weights are copied, not computed.",
    trials=1,
)
def update_dtypes(run, function, draw):
    for dtype in ALL_FLOATS:
        before = layer(draw, 6, 5, dtype=dtype)
        got = expect_update(run(function, draw, *before, 0.5), *before[:2])
        expect_survivors(got, before, survivors(*before[:2], round(0.5 * int(before[1].sum()))))
    mask, velocity = torch.ones(40, dtype=torch.bool), 1 + torch.arange(40, dtype=DOUBLE) * 1e-12
    mask[30:] = False
    velocity[::4] = -0.0
    for scale, step in ((1.0, 1e-12), (0.0, 1e-200), (0.0, 1e200)):
        weight = (scale + (1 + draw.permutation(40)).to(DOUBLE) * step) * mask
        got = expect_update(run(function, draw, weight, mask, velocity * mask, 0.5), weight, mask)
        expect_survivors(got, (weight, mask, velocity * mask), survivors(weight, mask, 15))


@both(
    "a full tensor takes back what it drops, at 0; an empty one stays empty",
    hint="All positions that have no connection now may grow: there are always at least as many as were dropped.",
    trials=1,
)
def update_full(run, function, draw):
    weight, _, velocity = layer(draw, 4, 6, keep=1.1)
    full = torch.ones(4, 6, dtype=torch.bool)
    got = expect_update(run(function, draw, weight, full, velocity, 0.25), weight, full)
    expect_survivors(got, (weight, full, velocity), survivors(weight, full, 6))
    empty = torch.zeros(4, 6, dtype=torch.bool)
    got = expect_update(run(function, draw, weight, empty, velocity, 0.5), weight, empty)
    expect.equal(got[0], torch.zeros(4, 6), "the weight of an empty tensor")


@set_update.law(
    "each empty position grows as often, those just dropped too, and pairs are independent",
    hint="torch.randperm over all positions that are empty after dropping; neither a coin for each, nor one per row.",
    trials=1,
)
def set_uniform(function, draw):
    weight = torch.tensor([[0.5, -0.25, 7.0, 8.0, 9.0], [-10.0, 0.0, 0.0, 0.0, 0.0]])
    mask, calls, seed = weight != 0, 100, draw.integer(0, 2**30)
    grown = []
    for i in range(calls):
        got = expect_update(function(weight, mask, mask.float(), 1 / 3, seed + i), weight, mask)
        grown.append((got[1] & (got[2] == 0)).flatten().double())
    often = torch.stack(grown).mean(0)[[0, 1, 6, 7, 8, 9]]
    off = float((often - 1 / 3).abs().max())
    expect.true(off < 6 * (2 / 9 / calls) ** 0.5, "not every empty position is as likely", "about 0.333 each", often)
    free = torch.stack(grown)[:, [0, 1, 6, 7, 8, 9]]
    expect_even_pairs(free.bool(), "two of six empty positions")


@set_update.law(
    "the same seed gives the same update, another seed another one, and the global generator is left alone",
    hint="torch.Generator().manual_seed(seed) for torch.randperm(…, generator=…).",
    trials=2,
)
def set_seed_law(function, draw):
    weight, mask, velocity = layer(draw, 12, 15, keep=0.2)
    seed = (draw.seed(), 0)[draw.trial]
    numpys = numpy_state()
    torch.manual_seed(1)
    first = expect_update(function(weight, mask, velocity, 0.5, seed), weight, mask)[1]
    after = torch.rand(3)
    torch.manual_seed(2)
    again = expect_update(function(weight, mask, velocity, 0.5, seed), weight, mask)[1]
    expect.equal(again, first, "the mask of the same seed", calls=2)
    every = expect_update(function(weight, mask, velocity, 1.0, seed), weight, mask)[1]
    expect.true(not torch.equal(every, mask), "all connections go, and all of them return")
    for other in (seed + 1, seed + 2**8, seed + 2**16):
        another = expect_update(function(weight, mask, velocity, 0.5, other), weight, mask)[1]
        expect.true(not torch.equal(another, first), "another seed, the same connections")
    torch.manual_seed(1)
    expect.true(torch.equal(torch.rand(3), after), "the global generator was seeded or used")
    expect.true(numpy_state() == numpys, "NumPy's global generator was seeded or used")


@rigl_update.law(
    "of all positions that are empty now the steepest grow, whatever their sign; of equals the first",
    hint="|gradient|, sorted stably, of empty positions only: what stays cannot grow once more. The slope of a dropped "
    "one counts like any other.",
)
def rigl_steepest(function, draw):
    for levels in (10**6, 3):
        before = layer(draw, draw.size(4, 30), draw.integer(5, 30), keep=0.4)
        shape = before[0].shape
        gradient = slope(draw, *shape)
        if levels == 3:
            gradient = torch.from_numpy(draw.rng.integers(-2, 3, tuple(shape))).float()
        for fraction in (draw.uniform(0.1, 0.9), 0.3, 1.0):
            k = round(fraction * int(before[1].sum()))
            got = expect_update(function(*before, gradient, fraction), *before[:2])
            stays = survivors(*before[:2], k)
            expect_survivors(got, before, stays)
            free = np.flatnonzero(~stays.numpy().ravel())
            order = np.argsort(-gradient.abs().numpy().ravel()[free], kind="stable")
            wanted = stays.clone().flatten()
            wanted[torch.from_numpy(free[order[:k]])] = True
            expect.equal(got[1], wanted.view(shape), "the mask")


@rigl_update.law(
    "what is dropped returns if its slope is the steepest, with weight 0; slopes of what stays say nothing, NaN too",
    hint="Only the gradient of empty positions is looked at. A slope of 0 may grow as well, if there is no other.",
    trials=2,
)
def rigl_returns(function, draw):
    before = layer(draw, draw.size(4, 8), 6, keep=0.5)
    weight, mask, _ = before
    k = round(0.4 * int(mask.sum()))
    stays = survivors(weight, mask, k)
    gradient = torch.where(mask & ~stays, 1000.0, slope(draw, *mask.shape))
    for value in (torch.nan, torch.inf, 0.0):
        got = expect_update(function(*before, torch.where(stays, value, gradient), 0.4), weight, mask)
        expect.equal(got[1], mask, "the mask, when all that is dropped returns,")
        expect_survivors(got, before, stays)
    flat = torch.zeros_like(weight)
    got = expect_update(function(*before, flat, 0.4), weight, mask)
    first = (~stays).flatten().nonzero().flatten()[:k]
    wanted = stays.flatten().clone()
    wanted[first] = True
    expect.equal(got[1], wanted.view(mask.shape), "the mask when all slopes are 0")
    mask = torch.arange(48) % 2 == 0
    gradient = torch.zeros(48, dtype=DOUBLE)
    for low, step in ((1.0, 1e-12), (0.0, 1e-200), (0.0, 1e200)):
        steps = low + (1 + torch.arange(24, dtype=DOUBLE)) * step
        gradient[1::2] = steps[draw.permutation(24)]
        got = expect_update(function(mask.to(DOUBLE), mask, mask.to(DOUBLE), gradient, 1 / 3), mask.to(DOUBLE), mask)
        grown = gradient[got[1] & (got[2] == 0)]
        expect.true(float(grown.min()) >= float(steps[16]), "in float64 a steeper one was passed over")


# --- 9.5a explored_fraction -------------------------------------------------------------------------------------------


@explored_fraction.law(
    "masks 100|00000, 010|11111, 100|00000: 7 of 8 positions had a connection at some time",
    hint="Or the masks of each tensor over time, count all tensors' positions together, and divide once.",
    trials=1,
)
def explored_example(function, draw):
    a, b = torch.tensor([True, False, False]), torch.zeros(1, 5, dtype=torch.bool)
    history = [{"a": a, "b": b}, {"b": ~b, "a": a.roll(1)}, {"a": a, "b": b}]
    number(function(history), 7 / 8)
    number(function(history[:1]), 1 / 8, "of one mask")


@explored_fraction.law(
    "it counts each position once, of all tensors together, and never falls as time goes on",
    hint="A union over time, neither a sum nor the last mask; not the mean of the tensors' fractions.",
)
def explored_union(function, draw):
    shapes = {"w": (draw.size(2, 9), 7), "v": (3,), "conv": (2, 2, 3, 3)}
    history = [
        {name: draw.mask(*shapes[name], keep=0.2) for name in (shapes if t % 2 else reversed(shapes))} for t in range(6)
    ]
    total, before = sum(math.prod(shape) for shape in shapes.values()), 0.0
    for end in range(1, 7):
        ever = 0
        for name in shapes:
            stack = np.stack([masks[name].numpy() for masks in history[:end]])
            ever += int(stack.any(axis=0).sum())
        got = function(history[:end])
        number(got, ever / total, f"after {end} masks")
        expect.true(got >= before, "it falls")
        before = got


@explored_fraction.law(
    "one mask, empty and full masks, many positions",
    hint="int() of the sums, then divide: a mean in float32 has seven digits.",
    trials=1,
)
def explored_ends(function, draw):
    full = torch.ones(3, 4, dtype=torch.bool)
    number(function([{"w": full}]), 1, "of a full mask")
    number(function([{"w": ~full}, {"w": ~full}]), 0, "of empty masks")
    number(function([{"a": full, "b": ~full}] * 3), 0.5, "of one full and one empty tensor")
    number(function([{"a": ~full, "b": full}, {"b": full, "a": ~full}]), 0.5, "of names in another order")
    number(function([{"w": full}] * 256), 1, "of 256 full masks")
    number(function([{"w": torch.tensor(True), "v": ~full}]), 1 / 13, "of a number and a tensor")
    large = torch.arange(2**10 * 1023).view(2**10, 1023) < 2**10 * 1021
    number(function([{"w": large}]), 1021 / 1023, "of a million positions", rtol=1e-12)


# --- 9.5b expected_exploration ----------------------------------------------------------------------------------------


@expected_exploration.law(
    "10 positions, 2 connections, one exchanged: 1 − 0.8 · (1 − 1/9) = 0.2889; once more: 0.3679",
    hint="When g grow, total − kept + g positions are empty: the dropped ones as well. A position that was never "
    "connected is missed with probability 1 − g/(total − kept + g), each time.",
    trials=1,
)
def exploration_example(function, draw):
    number(function(10, 2, [1]), 1 - 0.8 * 8 / 9)
    number(function(10, 2, [1, 1]), 1 - 0.8 * (8 / 9) ** 2)
    number(function(10, 2, [2, 1]), 1 - 0.8 * (8 / 10) * (8 / 9))
    number(function(10, 2, []), 0.2, "without updates")


@expected_exploration.law(
    "it is the mean of simulated runs that exchange connections at random",
    hint="Simulate it by hand for 5 positions: is a position that was dropped counted among those that can grow?",
    trials=3,
)
def exploration_simulated(function, draw):
    total = draw.size(6, 30)
    kept = draw.integer(1, total - 1)
    grown = [draw.integer(0, kept) for _ in range(draw.integer(1, 6))]
    runs, rng = 400, draw.rng
    explored = np.empty(runs)
    for run in range(runs):
        active = np.zeros(total, dtype=bool)
        active[rng.permutation(total)[:kept]] = True
        ever = active.copy()
        for g in grown:
            active[np.flatnonzero(active)[:g]] = False  # whatever goes, the mean is the same
            active[rng.permutation(np.flatnonzero(~active))[:g]] = True
            ever |= active
        explored[run] = ever.mean()
    got = function(total, kept, grown)
    expect.same_kind(got, 0.0)
    deviation = max(explored.std(), 1 / total / 4) / runs**0.5
    expect.true(
        abs(got - explored.mean()) < 6 * deviation,
        "it is not the mean of simulated runs",
        f"{explored.mean():.3f}",
        got,
    )


@expected_exploration.law(
    "an update without growth changes nothing, also of a full tensor; all grown at once, and very many of few",
    hint="Skip g = 0: of a full tensor it would be 0/0. No other case is special.",
    trials=2,
)
def exploration_ends(function, draw):
    total = draw.size(5, 50)
    kept = draw.integer(1, total - 1)
    number(function(total, total, [0, 0]), 1, "of a full tensor")
    number(function(total, total, []), 1, "of a full tensor without updates")
    number(function(total, total, [total]), 1, "of a full tensor that exchanges all")
    number(function(total, kept, [0, 0, 0]), kept / total, "with nothing grown")
    number(function(total, kept, [0, 2, 0, 1]), function(total, kept, [2, 1]), "with idle updates between")
    number(function(total, 0, [0]), 0, "of a tensor without connections")
    tiny = function(10**9, 1, [1] * 50)
    number(tiny, 51e-9, "of 10⁹ positions", rtol=1e-6)


# --- 9.6 cubic_sparsity -----------------------------------------------------------------------------------------------


@cubic_sparsity.law(
    "to 0.8 from step 100 to 200: 0 before, 0.8 · (1 − 1/8) = 0.7 halfway, 0.8 after",
    hint="final + (initial − final) · (1 − t)³, t the part of the way from begin to end.",
    trials=1,
)
def cubic_example(function, draw):
    for step, wanted in ((0, 0), (100, 0), (110, 0.8 * (1 - 0.729)), (150, 0.7), (200, 0.8), (201, 0.8), (999, 0.8)):
        number(function(step, 100, 200, 0.8), wanted, f"the sparsity at step {step}")
    number(function(150, 100, 200, 0.9, 0.5), 0.9 - 0.4 / 8, "halfway from 0.5 to 0.9")
    number(function(150, 100, 200, 0.9, initial=0.5), 0.9 - 0.4 / 8, "halfway from initial=0.5 to 0.9")


@cubic_sparsity.law(
    "held before and after, from any initial to any final, 0 and falling ones too; begin = end is a jump",
    hint="Compare with begin and end first. Use the arguments as they are: 0 is a value, and not 'left out'.",
)
def cubic_ends(function, draw):
    begin = draw.integer(0, 50)
    end = begin + draw.size(1, 1000)
    a, b = draw.uniform(), draw.uniform()
    for initial, final in ((a, b), (b, a), (0.7, 0.0), (0.0, 1.0), (0, 1)):
        number(function(begin, begin, end, final, initial), initial, "at begin")
        number(function(begin - 1, begin, end, final, initial), initial, "before begin")
        number(function(end, begin, end, final, initial), final, "at end")
        number(function(end + 7, begin, end, final, initial), final, "after end")
        step = draw.integer(begin, end)
        left = ((end - step) / (end - begin)) ** 3
        number(function(step, begin, end, final, initial), initial * left + final * (1 - left), f"at step {step}", 1e-7)
    number(function(0, -10, 10, 0.8), 0.7, "halfway from step −10 to 10")
    number(function(5, 5, 5, 0.9, 0.1), 0.9, "at a jump")
    number(function(4, 5, 5, 0.9, 0.1), 0.1, "before a jump")
    number(function(6, 5, 5, 0.9, 0.1), 0.9, "after a jump")


# --- 9.7 n_of_m_mask --------------------------------------------------------------------------------------------------


@n_of_m_mask.law(
    "2:4 of 1, −5, 3, 0 | −2, −1, 4, −3: −5 and 3, 4 and −3 stay",
    hint="Cut each row into groups of m neighbours; in each the n largest |w| stay.",
    trials=1,
)
def n_of_m_example(function, draw):
    weight = torch.tensor([[1.0, -5.0, 3.0, 0.0, -2.0, -1.0, 4.0, -3.0]])
    wanted = torch.tensor([[False, True, True, False, False, False, True, True]])
    expect.equal(expect_mask(function(weight, 2, 4), (1, 8)), wanted, "the mask of one row")
    column = weight.view(8, 1).expand(8, 4) * torch.tensor([4.0, 3.0, 2.0, 1.0])
    got = expect_mask(function(column, 1, 4), (8, 4))
    wanted = torch.zeros(8, 4, dtype=torch.bool)
    wanted[:, 0] = True
    expect.equal(got, wanted, "the mask of eight rows of four")


@n_of_m_mask.law(
    "exactly n of every m along the last axis, and none that goes is larger than one that stays; any number of axes",
    hint="Groups lie along the last axis, not along the first, and not across rows.",
)
def n_of_m_count(function, draw):
    for m, n in ((4, 2), (draw.integer(2, 6), 1), (3, 3), (5, 0), (1, 1)):
        for lead in ((draw.size(1, 6),), (2, draw.integer(1, 4)), (3, 2, 2), ()):
            weight = draw.normal(*lead, m * draw.integer(1, 5))
            mask = expect_mask(function(weight, n, m), tuple(weight.shape))
            groups, sizes = mask.reshape(-1, m), weight.abs().reshape(-1, m)
            counts = groups.sum(1)
            expect.true((counts == n).all(), f"a group of {m} does not keep {n}", n, counts)
            if 0 < n < m:
                least = sizes.masked_fill(~groups, torch.inf).amin(1)
                expect.true((sizes.masked_fill(groups, 0).amax(1) <= least).all(), "a larger weight went")
    for shape in ((3, 0), (0, 8)):
        expect_mask(function(torch.zeros(shape), 2, 4), shape, 0, "the mask of no weight, which has no group,")


@n_of_m_mask.law(
    "of equal magnitudes the first stay, zeros too",
    hint="Sort |w| stably; topk keeps any of equals, a threshold all of them, and weight != 0 too few.",
    trials=2,
)
def n_of_m_ties(function, draw):
    wanted = torch.tensor([[True, True, False, False]]).repeat(3, 8)
    for weight in (torch.zeros(3, 32), torch.ones(3, 32), -torch.ones(3, 32)):
        expect.equal(expect_mask(function(weight, 2, 4), (3, 32)), wanted, f"the mask of all {float(weight[0, 0]):g}")
    for m, n in ((4, 2), (64, 20)):
        weight = torch.from_numpy(draw.rng.integers(-2, 3, (5, 2 * m))).float()
        order = np.argsort(-weight.abs().numpy().reshape(-1, m), axis=1, kind="stable")
        kept = np.zeros((10, m), dtype=bool)
        np.put_along_axis(kept, order[:, :n], True, axis=1)
        expect.equal(expect_mask(function(weight, n, m), (5, 2 * m)), torch.from_numpy(kept).view(5, -1), f"of {m}")


@n_of_m_mask.law(
    "float64 and half precision as they are, tiny and huge; a last axis that m does not divide: ValueError",
    hint="Compare |w| itself, no squares, no .float(). Raise ValueError; do not cut the rest off.",
    trials=1,
)
def n_of_m_dtypes(function, draw):
    order = torch.stack([draw.permutation(4) for _ in range(30)]).view(5, 24)
    for dtype, low, step in (
        (DOUBLE, 1.0, 1e-12), (DOUBLE, 0.0, 1e-200), (DOUBLE, 0.0, 1e200), (torch.float32, 0.0, 1e-40),
        (torch.float16, 0.0, 2.0**-20), (torch.bfloat16, 1.0, 2.0**-6),
    ):  # fmt: skip
        weight = low + order.to(dtype) * step
        expect.equal(expect_mask(function(weight, 2, 4), (5, 24)), order >= 2, f"the mask of {dtype}")
    for shape, m in (((4, 6), 4), ((8, 4, 3), 4), ((3,), 2), ((4, 4), 8)):
        try:
            got = function(torch.ones(shape), 1, m)
        except StudentError as error:
            if error.kind == "ValueError" or error.missing:
                if error.missing:
                    raise
                continue
            raise
        expect.true(False, f"a last axis of {shape[-1]} was cut into groups of {m}", "ValueError", got)


# --- 9.8 rigl_train ---------------------------------------------------------------------------------------------------


def task(draw: Draw, *sizes: int, keep: float = 0.4, dtype: torch.dtype = DOUBLE) -> tuple[dict, dict, Tensor, Tensor]:
    """A network, masks of its weights but the last, 30 inputs and labels that it could learn."""
    state, masks = {}, {}
    for i, (inputs, outputs) in enumerate(pairwise(sizes)):
        state[f"fc{i}.weight"] = draw.normal(outputs, inputs, scale=inputs**-0.5, dtype=dtype)
        state[f"fc{i}.bias"] = draw.normal(outputs, scale=0.1, dtype=dtype)
        if i < len(sizes) - 2:
            masks[f"fc{i}.weight"] = draw.mask(outputs, inputs, keep=keep)
            masks[f"fc{i}.weight"][0, 0] = True
    inputs = draw.normal(30, sizes[0], dtype=dtype)
    planted = draw.normal(sizes[0], sizes[-1], dtype=dtype)
    return state, masks, inputs, (inputs @ planted).argmax(1)


def expect_training(got: Any, state: dict, masks: dict) -> tuple[dict, dict]:
    """(state, masks) of the right kinds, with as many connections as before, and zeros elsewhere."""
    expect.same_kind(got, (state, masks), "the result")
    for what, new, old in (("state", got[0], state), ("masks", got[1], masks)):
        expect.same_kind(new, old, f"the {what}")
        for name, value in old.items():
            expect.same_kind(new[name], value, f"{what}[{name!r}]")
    for name, mask in masks.items():
        kept, wanted = int(got[1][name].sum()), int(mask.sum())
        expect.true(kept == wanted, f"masks[{name!r}] has another number of connections", wanted, kept)
        outside = got[0][name][~got[1][name]]
        expect.equal(outside, torch.zeros_like(outside), f"state[{name!r}] outside its mask")
    for name, value in got[0].items():
        expect.finite(value, f"state[{name!r}]")
        expect.true(not value.requires_grad, f"state[{name!r}] still belongs to a graph: .detach() it")
    return got


def by_torch(state: dict, masks: dict, inputs: Tensor, labels: Tensor, lr: float, momentum: float, steps: int) -> dict:
    """torch's SGD with the masks put on weights and gradients."""
    leaves = {n: torch.where(masks[n], v, 0.0) if n in masks else v.clone() for n, v in state.items()}
    leaves = {name: value.requires_grad_() for name, value in leaves.items()}
    weights, velocities = list(leaves.values()), [None] * len(leaves)
    for _ in range(steps):
        loss = F.cross_entropy(mlp_forward(leaves, inputs), labels)
        gradients = torch.autograd.grad(loss, weights)
        gradients = [g * masks[n] if n in masks else g for n, g in zip(leaves, gradients, strict=True)]
        sgd_step(weights, gradients, velocities, lr, momentum)
    return {name: value.detach() for name, value in leaves.items()}


@rigl_train.law(
    "as long as nothing is exchanged it is torch's SGD with masks",
    hint="v ← momentum · v + gradient, w ← w − lr · v, no mean over time, velocity 0 at the start. Mask both.",
    trials=2,
)
def train_sgd(function, draw):
    if draw.trial:
        return without_exchange(function, draw)
    state, masks, inputs, labels = task(draw, 6, draw.size(4, 9), 5, 3)
    for momentum, update_every, end in ((0.99, 100, 100), (0.0, 3, 3), (0.5, 2, 1)):
        got = expect_training(
            function(state, masks, inputs, labels, 0.2, momentum, 8, update_every, end, 0.5), state, masks
        )
        expect.equal(got[1], masks, "the masks")
        wanted = by_torch(state, masks, inputs, labels, 0.2, momentum, 8)
        expect.close(got[0], wanted, "the state", rtol=1e-7, atol=1e-10)
    steep = 100 * inputs  # gradients far above 1 are gradients like any other
    got = expect_training(function(state, masks, steep, labels, 1e-4, 0.5, 2, 9, 9, 0.5), state, masks)
    expect.close(got[0], by_torch(state, masks, steep, labels, 1e-4, 0.5, 2), "the state on inputs of 100", 1e-7, 1e-10)


def without_exchange(function: Callable[..., Any], draw: Draw) -> None:
    """Tensors without masks, masks without connections, and fractions that come to no connection."""
    state, masks, inputs, labels = task(draw, 6, 6, 6, 3)
    del masks["fc0.weight"]  # as large as the one that has a mask
    for masked, what in ((masks, "with one mask"), ({}, "without masks")):
        got = expect_training(function(state, masked, inputs, labels, 0.2, 0.9, 5, 9, 9, 0.5), state, masked)
        wanted = by_torch(state, masked, inputs, labels, 0.2, 0.9, 5)
        expect.close(got[0], wanted, f"the state {what}", 1e-7, 1e-10)
    # Steps 2 and 4 of five exchange, though nothing: three descend
    images, none = inputs.view(30, 2, 3), {"fc1.weight": torch.zeros(6, 6, dtype=torch.bool)}
    for masked, alpha in (({}, 0.5), (none, 0.5), (masks, 0.0), (masks, 0.01)):
        got = expect_training(function(state, masked, images, labels, 0.2, 0.9, 5, 2, 9, alpha), state, masked)
        expect.equal(got[1], masked, "the masks, with nothing to exchange,")
        wanted = by_torch(state, masked, images, labels, 0.2, 0.9, 3)
        expect.close(got[0], wanted, "the state, if two of five steps have nothing to exchange,", 1e-7, 1e-10)


@rigl_train.law(
    "without a step it only puts to 0 what is outside the masks, NaN too; names are whole names",
    hint="torch.where(mask, weight, 0) first: NaN · 0 is NaN. A tensor without a mask is dense.",
    trials=2,
)
def train_start(function, draw):
    state, masks, inputs, labels = task(draw, 5, 6, 4, 3)
    value = (torch.nan, 7.0)[draw.trial]
    filled = state | {name: torch.where(mask, state[name], value) for name, mask in masks.items()}
    wanted = {n: torch.where(masks[n], v, 0.0) if n in masks else v for n, v in state.items()}
    got = expect_training(function(filled, masks, inputs, labels, 0.1, 0.9, 0, 2, 10, 0.5), state, masks)
    expect.equal(got[0], wanted, "the state after no step")
    after = expect_training(function(filled, masks, inputs, labels, 0.1, 0.9, 5, 2, 10, 0.5), state, masks)
    again = expect_training(function(wanted, masks, inputs, labels, 0.1, 0.9, 5, 2, 10, 0.5), state, masks)
    expect.close(after, again, "the state and masks after five steps", calls=2)


@rigl_train.law(
    "from each number of steps to the next: a step descends or exchanges, never both; new ones start without momentum",
    hint="Steps count from 1: t = 1, 2, … steps. If t is a multiple of update_every, and t < end, only that exchange "
    "happens, with the fraction of this very step, and not even what has no mask descends (Algorithm 1: either, or).",
    trials=3,
)
def train_step_by_step(function, draw):
    state, masks, inputs, labels = task(draw, 8, draw.size(6, 10), 7, 3, keep=0.5)
    if draw.trial == 2:  # a full tensor exchanges as well, and so does one of one axis
        masks |= {"fc1.weight": torch.ones_like(masks["fc1.weight"]), "fc1.bias": torch.arange(7) % 3 > 0}
    every, end, last = ((3, 9, 4), (1, 3, 4), (2, 6, 6))[draw.trial]
    lr, momentum, alpha = 0.15, 0.8, 0.6

    def after(steps: int) -> tuple[dict, dict]:
        result = function(state, masks, inputs, labels, lr, momentum, steps, every, end, alpha)
        return expect_training(result, state, masks)

    now, velocity = after(0), {name: torch.zeros_like(value) for name, value in state.items()}
    for step in range(1, last + 1):
        (before, held), now = now, after(step)
        slopes = slopes_of(before, inputs, labels)
        if step % every == 0 and step < end:
            fraction = alpha / 2 * (1 + math.cos(math.pi * step / end))
            kept = expect_exchange(before, held, now, slopes, fraction, f"in step {step}")
            velocity = {n: torch.where(kept[n], v, 0.0) if n in kept else v for n, v in velocity.items()}
            continue
        expect.equal(now[1], held, f"the masks after step {step}, which descends,", calls=2)
        velocity = {n: momentum * v + slopes[n] for n, v in velocity.items()}
        velocity = {n: torch.where(held[n], v, 0.0) if n in held else v for n, v in velocity.items()}
        wanted = {name: value - lr * velocity[name] for name, value in before.items()}
        expect.close(now[0], wanted, f"the state after step {step}, which descends,", rtol=1e-6, atol=1e-9, calls=2)


def slopes_of(state: dict, inputs: Tensor, labels: Tensor) -> dict:
    """The gradient of the loss by each tensor, dense."""
    leaves = {name: value.clone().requires_grad_() for name, value in state.items()}
    F.cross_entropy(mlp_forward(leaves, inputs), labels).backward()
    return {name: leaf.grad for name, leaf in leaves.items()}


def expect_exchange(before: dict, held: dict, now: tuple[dict, dict], slopes: dict, fraction: float, when: str) -> dict:
    """What stays is bitwise what it was, the steepest positions have come at 0; the masks of what stayed."""
    stayed = {}
    for name, value in before.items():
        if name not in held:
            expect.equal(now[0][name], value, f"state[{name!r}], which has no mask, {when},", calls=2)
            continue
        stays = survivors(value, held[name], round(fraction * int(held[name].sum())))
        expect.equal(now[0][name], torch.where(stays, value, 0.0), f"state[{name!r}] {when}", calls=2)
        steep, stayed[name] = slopes[name].abs(), stays
        grown, refused = steep[now[1][name] & ~stays], steep[~now[1][name]]
        if len(grown) and len(refused):
            least, most = float(grown.min()), float(refused.max())
            expect.true(
                least >= most - 1e-9, f"masks[{name!r}] {when}: a steeper position was passed over", most, least
            )
    return stayed


@rigl_train.law(
    "float32 stays float32, other names and one layer do, and so do masks of the last layer and of a bias",
    hint="Go through the masks by their own names; every masked tensor exchanges, whatever it is.",
    trials=1,
)
def train_names(function, draw):
    state, masks, inputs, labels = task(draw, 6, 5, 3, dtype=torch.float32)
    masks |= {"fc1.weight": draw.mask(3, 5, keep=0.6), "fc0.bias": torch.arange(5) % 2 == 0}
    reordered = {name: masks[name] for name in reversed(masks)}
    got = expect_training(function(state, reordered, inputs, labels, 0.1, 0.9, 7, 3, 9, 0.5), state, reordered)
    again = expect_training(function(state, masks, inputs, labels, 0.1, 0.9, 7, 3, 9, 0.5), state, masks)
    expect.close(got[0], again[0], "the state with masks in another order", calls=2)
    other = {"fc0.weight": "z.weight", "fc0.bias": "z.bias", "fc1.weight": "a.weight", "fc1.bias": "a.bias"}
    renamed, masks_too = ({other[name]: value for name, value in each.items()} for each in (state, masks))
    got = expect_training(function(renamed, masks_too, inputs, labels, 0.1, 0.9, 7, 3, 9, 0.5), renamed, masks_too)
    wanted = {other[name]: value for name, value in again[0].items()}
    expect.close(got[0], wanted, "the state with z as the first layer, and a as the last,", calls=2)
    one = {"z.weight": draw.normal(3, 6), "z.bias": draw.normal(3)}
    masks = {"z.weight": draw.mask(3, 6, keep=0.5)}
    got = expect_training(function(one, masks, inputs, labels, 0.1, 0.9, 12, 100, 1, 0.5), one, masks)
    expect.close(got[0], by_torch(one, masks, inputs, labels, 0.1, 0.9, 12), "one layer", rtol=1e-3, atol=1e-5)


@rigl_train.law(
    "on data where five pixels decide, it finds them: a lower loss than with connections that stay",
    hint="If the laws above hold, this one does: grow where the dense gradient is steepest.",
    trials=1,
    share=0.2,
)
def train_planted(function, draw):
    inputs = draw.normal(200, 60)
    labels = (inputs[:, :5].sum(1) > 0).long()
    state = {"a.weight": draw.normal(8, 60, scale=0.3), "a.bias": torch.zeros(8)}
    state |= {"b.weight": draw.normal(2, 8, scale=0.5), "b.bias": torch.zeros(2)}
    masks = {"a.weight": draw.mask(8, 60, keep=0.08)}
    masks["a.weight"][:, :5] = False
    masks["a.weight"][:, 20:22] = True
    args = inputs, labels, 0.4, 0.9, 40, 5
    got, moved = expect_training(function(state, masks, *args, 30, 0.4), state, masks)
    still = by_torch(state, masks, inputs, labels, 0.4, 0.9, 40)
    losses = [float(F.cross_entropy(mlp_forward(each, inputs), labels)) for each in (got, still)]
    expect.true(
        losses[0] < 0.5 * losses[1],
        "it does not learn what moving connections can",
        f"< {losses[1] / 2:.3g}",
        losses[0],
    )
    found = int(moved["a.weight"][:, :5].sum())
    expect.true(found >= 5, "the pixels that decide have hardly a connection", "at least 5", found)
