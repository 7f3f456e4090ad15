"""Mutants and right variants of unit 09."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from course_utils import sparse_training as unit
from course_utils.models import mlp_forward
from tests.checks.catalogue import mutant, right

EQUIVALENT: dict[str, str] = {
    "random_mask: list(shape) -> shape": "`view` takes any sequence",
    "set_update: (~stays).nonzero().flatten() -> (~stays).nonzero()": "as indices of one axis a column is as good",
    "erdos_renyi_densities: 0.0 -> 0.5": "ε is not used where no layer is free",
    "erdos_renyi_densities: shares[name] >= 1 -> shares[name] > 1": "a share of exactly 1 is 1 either way",
    "explored_fraction: 1 -> 0": "the first masks are joined with themselves",
    "cubic_sparsity: step <= begin -> step < begin": "at the beginning the formula gives the initial sparsity",
    "n_of_m_mask: 1 -> 0": "the message of the ValueError names another axis",
    "n_of_m_mask: groups.sort(dim=1, descending=True, stable=True) -> groups.sort(descending=True, stable=True)": (
        "the last axis is torch's default"
    ),
    "rigl_train: 0 -> -1": "the velocity outside the masks: nothing that counts reads it",
    "rigl_train: 0 -> 1": "as above",
    "rigl_train: True -> False": "strict=False, with as many gradients as tensors",
    "rigl_train: zip(state, torch.autograd.grad(loss, leaves.values()), strict=True) -> "
    "zip(state, torch.autograd.grad(loss, leaves.values()))": "as above",
    "rigl_train: value.detach() -> value": "the state has no history in any step",
}


# --- 9.1a erdos_renyi_densities ---------------------------------------------------------------------------------------


def densities_by(shares, sweeps=99, clamp=True, budget=lambda d, sizes: d * sum(sizes.values())):
    """The right algorithm, with one thing changed. shares: of a shape, what ε is multiplied with for its density."""

    def solve(shapes, density):
        sizes = {n: math.prod(s) for n, s in shapes.items()}
        full, total = {}, budget(density, sizes)
        for _ in range(sweeps):
            free = [n for n in shapes if n not in full]
            weight = sum(shares(shapes[n]) * sizes[n] for n in free)
            epsilon = (total - sum(sizes[n] for n in full)) / weight if weight else 0.0
            found = {n: epsilon * shares(shapes[n]) for n in free}
            over = [n for n in free if found[n] >= 1]
            if not over or not clamp:
                break
            full |= dict.fromkeys(over, 1.0)
        return {n: full.get(n, min(found.get(n, 0.0), 1.0) if clamp else found.get(n, 0.0)) for n in shapes}

    return solve


def ratio(shape):
    return sum(shape) / math.prod(shape)


def densities_mutant(error, solve):
    @mutant("9.1a", error)
    def changed(shapes, density):
        return solve(shapes, density)


densities_mutant("kernels are not counted", densities_by(lambda s: sum(s[:2]) / math.prod(s[:2])))
densities_mutant("kernels not in the sum", densities_by(lambda s: sum(s[:2]) / math.prod(s)))
densities_mutant("one sweep, then clamped", densities_by(ratio, sweeps=1))
densities_mutant("two sweeps, then clamped", densities_by(ratio, sweeps=2))
densities_mutant("three sweeps, then clamped", densities_by(ratio, sweeps=3))
densities_mutant("no clamp", densities_by(ratio, clamp=False))
densities_mutant("by 1/size: every layer as many connections", densities_by(lambda s: 1 / math.prod(s)))
densities_mutant("uniform", lambda shapes, density: dict.fromkeys(shapes, float(density)))
densities_mutant("out of the ratio only", densities_by(lambda s: s[0] / math.prod(s)))
densities_mutant("the square root of the ratio", densities_by(lambda s: ratio(s) ** 0.5))
densities_mutant(
    "SET's ε without a budget",
    lambda shapes, density: {n: min(1.0, density * 20 * ratio(s)) for n, s in shapes.items()},
)
densities_mutant("sparsity for density", lambda shapes, density: densities_by(ratio)(shapes, 1 - density))
densities_mutant("rounded connections", lambda shapes, density: {
    n: round(d * math.prod(shapes[n])) / math.prod(shapes[n])
    for n, d in densities_by(ratio)(shapes, density).items()
})  # fmt: skip
densities_mutant("counts, not densities", lambda shapes, density: {
    n: d * math.prod(shapes[n]) for n, d in densities_by(ratio)(shapes, density).items()
})  # fmt: skip
densities_mutant("normalised by the mean density", lambda shapes, density: {
    n: min(1.0, density * ratio(s) / (sum(map(ratio, shapes.values())) / len(shapes))) for n, s in shapes.items()
})  # fmt: skip


@mutant("9.1a", "divides by 0 when all layers are full")
def densities_zero(shapes, density):
    sizes, full = {n: math.prod(s) for n, s in shapes.items()}, set()
    while True:
        free = [n for n in shapes if n not in full]
        epsilon = (density * sum(sizes.values()) - sum(sizes[n] for n in full)) / sum(sum(shapes[n]) for n in free)
        over = {n for n in free if epsilon * ratio(shapes[n]) >= 1}
        if not over:
            return {n: 1.0 if n in full else epsilon * ratio(shapes[n]) for n in shapes}
        full |= over


@mutant("9.1a", "density 0 is taken for missing")
def densities_falsy(shapes, density):
    return densities_by(ratio)(shapes, density or 0.1)


@mutant("9.1a", "computed in float32")
def densities_float32(shapes, density):
    return {n: float(np.float32(d)) for n, d in densities_by(ratio)(shapes, density).items()}


@right("9.1a")
def densities_recursive(shapes, density):
    if not shapes:
        return {}
    budget = density * sum(math.prod(s) for s in shapes.values())
    epsilon = budget / sum(sum(s) for s in shapes.values())
    full = {n: 1.0 for n, s in shapes.items() if epsilon * sum(s) >= math.prod(s)}
    if not full:
        return {n: epsilon * ratio(s) for n, s in shapes.items()}
    rest = {n: s for n, s in shapes.items() if n not in full}
    size = sum(math.prod(s) for s in rest.values())
    left = budget - sum(math.prod(shapes[n]) for n in full)
    return full | densities_recursive(rest, left / size if size else 0.0)


@right("9.1a")
def densities_bisection(shapes, density):
    """ε is where Σ min(ε·Σd, Πd) meets the budget."""
    budget = density * sum(math.prod(s) for s in shapes.values())
    # The sum is piecewise linear: go from one corner to the next
    corners = sorted({math.prod(s) / sum(s) for s in shapes.values()})

    def total(e):
        return sum(min(e * sum(s), math.prod(s)) for s in shapes.values())

    low = max([0.0, *(c for c in corners if total(c) <= budget)])
    slope = sum(sum(s) for s in shapes.values() if math.prod(s) / sum(s) > low)
    epsilon = low + ((budget - total(low)) / slope if slope else 0.0)
    return {n: min(1.0, epsilon * ratio(s)) for n, s in shapes.items()}


@right("9.1a")
def densities_one_by_one(shapes, density):
    """Only the worst layer is filled in each round."""
    full = []
    while True:
        free = {n: s for n, s in shapes.items() if n not in full}
        if not free:
            return dict.fromkeys(shapes, 1.0)
        left = density * sum(math.prod(s) for s in shapes.values()) - sum(math.prod(shapes[n]) for n in full)
        epsilon = left / sum(sum(s) for s in free.values())
        worst = max(free, key=lambda n: ratio(free[n]))
        if epsilon * ratio(free[worst]) < 1:
            return {n: 1.0 if n in full else epsilon * ratio(s) for n, s in shapes.items()}
        full.append(worst)


# --- 9.1b random_mask -------------------------------------------------------------------------------------------------


def generator_of(seed):
    return torch.Generator().manual_seed(seed)


def mask_of(n, count, order):
    mask = torch.zeros(n, dtype=torch.bool)
    mask[order[:count]] = True
    return mask


def mask_mutant(error, draw):
    @mutant("9.1b", error)
    def changed(shape, density, seed):
        return draw(tuple(shape), density, seed)


def permuted_mask(shape, density, seed, count=None):
    n = math.prod(shape)
    order = torch.randperm(n, generator=generator_of(seed))
    return mask_of(n, round(density * n) if count is None else count, order).view(shape)


mask_mutant("a coin for each entry", lambda s, d, seed: torch.rand(s, generator=generator_of(seed)) < d)
mask_mutant("int() cuts off", lambda s, d, seed: permuted_mask(s, d, seed, int(d * math.prod(s))))
mask_mutant("rounded up", lambda s, d, seed: permuted_mask(s, d, seed, math.ceil(d * math.prod(s))))
mask_mutant("half rounds up", lambda s, d, seed: permuted_mask(s, d, seed, int(d * math.prod(s) + 0.5)))
mask_mutant(
    "rounded in float32", lambda s, d, seed: permuted_mask(s, d, seed, int(torch.tensor(d * math.prod(s)).round()))
)
mask_mutant("at least one", lambda s, d, seed: (
    permuted_mask(s, d, seed, max(int(d > 0), round(d * math.prod(s))))
))  # fmt: skip
mask_mutant("all only at density 1", lambda s, d, seed: (
    permuted_mask(s, d, seed, min(round(d * math.prod(s)), math.prod(s) - (d < 1)))
))  # fmt: skip
mask_mutant("True means pruned", lambda s, d, seed: ~permuted_mask(s, d, seed))
mask_mutant("the seed is ignored", lambda s, d, seed: permuted_mask(s, d, torch.seed() % 2**31))
mask_mutant("always the same seed", lambda s, d, seed: permuted_mask(s, d, 0))
mask_mutant("a seed of 0 is taken for missing", lambda s, d, seed: permuted_mask(s, d, seed or torch.seed() % 2**31))
mask_mutant("seed modulo 256", lambda s, d, seed: permuted_mask(s, d, seed % 256))
mask_mutant("flat", lambda s, d, seed: permuted_mask(s, d, seed).flatten())
mask_mutant("floats", lambda s, d, seed: permuted_mask(s, d, seed).float())
mask_mutant("with replacement", lambda s, d, seed: mask_of(
    math.prod(s), None, torch.randint(math.prod(s), (round(d * math.prod(s)),), generator=generator_of(seed))
).view(s))  # fmt: skip


@mutant("9.1b", "seeds the global generator")
def mask_global(shape, density, seed):
    torch.manual_seed(seed)
    n = math.prod(shape)
    return mask_of(n, round(density * n), torch.randperm(n)).view(tuple(shape))


@mutant("9.1b", "seeds NumPy's global generator")
def mask_numpy_global(shape, density, seed):
    np.random.seed(seed)
    n = math.prod(shape)
    return mask_of(n, round(density * n), torch.from_numpy(np.random.permutation(n))).view(tuple(shape))


@mutant("9.1b", "a shape without axes has no position")
def mask_number(shape, density, seed):
    return permuted_mask(shape, density, seed) if shape else torch.tensor(False)


@mutant("9.1b", "an empty tensor has no largest")
def mask_least(shape, density, seed):
    mask = permuted_mask(shape, density, seed)
    return mask & (mask <= mask.max())


@mutant("9.1b", "one block, rolled")
def mask_block(shape, density, seed):
    n = math.prod(shape)
    start = int(torch.randint(n, (), generator=generator_of(seed)))
    return (torch.arange(n) < round(density * n)).roll(start).view(tuple(shape))


@mutant("9.1b", "every fifth position on from a random one, round and round")
def mask_stride(shape, density, seed):
    n = math.prod(shape)
    start = int(torch.randint(max(1, n), (), generator=generator_of(seed)))
    step = next(step for step in range(5, n + 6) if math.gcd(step, n) == 1)
    return mask_of(n, round(density * n), (start + step * torch.arange(n)) % max(1, n)).view(tuple(shape))


@mutant("9.1b", "as many in each row, the rest in the first")
def mask_rows(shape, density, seed):
    rng, n = np.random.default_rng(seed), math.prod(shape)
    rows = shape[0] if len(shape) > 1 else 1
    mask, count = np.zeros((rows, n // rows), dtype=bool), round(density * n)
    for i in range(rows):
        mask[i, rng.permutation(n // rows)[: count // rows]] = True
    rest = rng.permutation(np.flatnonzero(~mask))[: count - mask.sum()]
    mask.flat[rest] = True
    return torch.from_numpy(mask).view(tuple(shape))


@mutant("9.1b", "Sattolo's shuffle")
def mask_sattolo(shape, density, seed):
    rng, n = np.random.default_rng(seed), math.prod(shape)
    order = list(range(n))
    for i in range(n - 1, 0, -1):
        j = int(rng.integers(i))
        order[i], order[j] = order[j], order[i]
    return mask_of(n, round(density * n), torch.tensor(order)).view(tuple(shape))


@mutant("9.1b", "a seed from the shape")
def mask_shape_seed(shape, density, seed):
    return permuted_mask(tuple(shape), density, math.prod(shape))


@right("9.1b")
def mask_numpy(shape, density, seed):
    n = math.prod(shape)
    chosen = np.random.default_rng(seed).choice(n, round(density * n), replace=False)
    return mask_of(n, None, torch.from_numpy(chosen)).view(tuple(shape))


@right("9.1b")
def mask_ranks(shape, density, seed):
    draws = torch.rand(math.prod(shape), generator=generator_of(seed), dtype=torch.float64)
    return (draws.argsort().argsort() < round(density * len(draws))).view(tuple(shape))


@right("9.1b")
def mask_shuffled(shape, density, seed):
    n = math.prod(shape)
    return torch.from_numpy(np.random.RandomState(seed % 2**32).permutation(np.arange(n) < round(density * n))).reshape(
        tuple(shape)
    )


# --- 9.2 drop_fraction ------------------------------------------------------------------------------------------------


def fraction_mutant(error, function):
    @mutant("9.2", error)
    def changed(step, end, alpha):
        return function(step, end, alpha)


def cosine(step, end):
    return math.cos(math.pi * step / end) if end else -1.0


fraction_mutant("not annealed", lambda s, e, a: a if s < e else 0.0)
fraction_mutant("twice α", lambda s, e, a: a * (1 + cosine(s, e)) if s < e else 0.0)
fraction_mutant("it rises again after the end", lambda s, e, a: a / 2 * (1 + cosine(s, e)))
fraction_mutant("held after the end", lambda s, e, a: a / 2 * (1 + cosine(min(s, e - 1), e)))
fraction_mutant("a line", lambda s, e, a: a * (1 - s / e) if s < e else 0.0)
fraction_mutant("a quarter of a period", lambda s, e, a: a * math.cos(math.pi * s / (2 * e)) if s < e else 0.0)
fraction_mutant("a whole period", lambda s, e, a: a / 2 * (1 + math.cos(2 * math.pi * s / e)) if s < e else 0.0)
fraction_mutant("a sine", lambda s, e, a: a / 2 * (1 + math.sin(math.pi * s / e)) if s < e else 0.0)
fraction_mutant("degrees", lambda s, e, a: a / 2 * (1 + math.cos(180 * s / e)) if s < e else 0.0)
fraction_mutant("the wrong sign", lambda s, e, a: a / 2 * (1 - cosine(s, e)) if s < e else 0.0)
fraction_mutant("what is tiny is 0", lambda s, e, a: round(a / 2 * (1 + cosine(s, e)), 6) if s < e else 0.0)
fraction_mutant("α of 0 is taken for missing", lambda s, e, a: (a or 0.3) / 2 * (1 + cosine(s, e)) if s < e else 0.0)
fraction_mutant("steps from 1", lambda s, e, a: a / 2 * (1 + cosine(s - 1, e)) if s < e else 0.0)
fraction_mutant("integer division", lambda s, e, a: a / 2 * (1 + math.cos(math.pi * (s // e))) if s < e else 0.0)
fraction_mutant("π as 3.14", lambda s, e, a: a / 2 * (1 + math.cos(3.14 * s / e)) if s < e else 0.0)
fraction_mutant("a tensor", lambda s, e, a: torch.tensor(unit.drop_fraction(s, e, a)))


@right("9.2")
def fraction_sine(step, end, alpha):
    return alpha * math.sin(math.pi / 2 * (1 - step / end)) ** 2 if step < end else 0.0


@right("9.2")
def fraction_half_angle(step, end, alpha):
    return 0.0 if step >= end else alpha * math.cos(math.pi * step / (2 * end)) ** 2


@right("9.2")
def fraction_numpy(step, end, alpha):
    return float(alpha * (1 + np.cos(np.pi * step / end)) / 2) if step < end else 0


# --- 9.3 set_update, 9.4 rigl_update ----------------------------------------------------------------------------------


def positions(weight, mask, gone, sizes=None, last=True):
    """Which connections stay. sizes: by which they are ranked."""
    kept = mask.flatten().nonzero().flatten()
    ranks = (weight.abs() if sizes is None else sizes).flatten()[kept]
    if last:
        stay = kept[ranks.sort(descending=True, stable=True).indices[: len(kept) - gone]]
    else:
        stay = kept[ranks.sort(stable=True).indices[gone:]]
    stays = torch.zeros(mask.numel(), dtype=torch.bool)
    stays[stay] = True
    return stays


def both_updates(error, drop=positions, candidates=None, finish=None, count=None, steep=None):
    """The same mistake (or none) in both updates.

    drop(weight, mask, k) -> what stays; candidates(stays, mask) -> what may grow; finish(stays, grown, weight,
    velocity) -> (weight, velocity); count(fraction, mask) -> k; steep(gradient) -> what the growth is ranked by.
    """

    def update(weight, mask, velocity, fraction, order):
        k = (count or (lambda f, m: round(f * int(m.sum()))))(fraction, mask)
        stays = drop(weight, mask, k)
        free = (candidates or (lambda s, m: ~s))(stays, mask.flatten()).nonzero().flatten()
        grown = stays.clone()
        grown[free[order(free)[:k]]] = True
        stays, grown = stays.view(mask.shape), grown.view(mask.shape)
        if finish:
            new_weight, new_velocity = finish(stays, grown, weight, velocity)
        else:
            new_weight, new_velocity = torch.where(stays, weight, 0), torch.where(stays, velocity, 0)
        return new_weight, grown, new_velocity

    decorate = (lambda exercise: mutant(exercise, error)) if error else right

    @decorate("9.3")
    def changed_set(weight, mask, velocity, fraction, seed):
        return update(
            weight, mask, velocity, fraction, lambda free: torch.randperm(len(free), generator=generator_of(seed))
        )

    @decorate("9.4")
    def changed_rigl(weight, mask, velocity, gradient, fraction):
        slopes = (steep or (lambda g: g.abs()))(gradient).flatten()
        return update(
            weight, mask, velocity, fraction, lambda free: slopes[free].sort(descending=True, stable=True).indices
        )


both_updates("a fraction of all positions", count=lambda f, m: min(round(f * m.numel()), int(m.sum())))
both_updates("int() cuts off", count=lambda f, m: int(f * int(m.sum())))
both_updates("rounded in float32", count=lambda f, m: int((f * m.sum()).round()))
both_updates("at least one", count=lambda f, m: max(1, round(f * int(m.sum()))) if m.any() else 0)
both_updates("never all", count=lambda f, m: min(round(f * int(m.sum())), max(0, int(m.sum()) - 1)))
both_updates("at least one, but at 0", count=lambda f, m: max(int(f > 0 and m.any()), round(f * int(m.sum()))))
both_updates("all only at 1", count=lambda f, m: min(round(f * int(m.sum())), int(m.sum()) - int(f < 1 and m.any())))
both_updates("signed weights", lambda w, m, k: positions(w, m, k, w))
both_updates("the largest go", lambda w, m, k: positions(w, m, k, -w.abs()))
both_updates("of equals the first go", lambda w, m, k: positions(w, m, k, last=False))
both_updates("ranked by squares", lambda w, m, k: positions(w, m, k, w**2))
both_updates("ranked in float32", lambda w, m, k: positions(w, m, k, w.float().abs()))
both_updates("ranked to six digits", lambda w, m, k: positions(w, m, k, (w.abs() * 1e6).round()))
both_updates(
    "a weight of 0 is no connection", lambda w, m, k: positions(w, (w != 0) & m, min(k, int(((w != 0) & m).sum())))
)
both_updates(
    "pruned ones are ranked too", lambda w, m, k: positions(w, torch.ones_like(m), m.numel() - int(m.sum()) + k)
)
both_updates("nothing dropped may return", candidates=lambda s, m: ~m)
both_updates("what stays grows again", candidates=lambda s, m: torch.ones_like(s))
both_updates("the old weight stays", finish=lambda s, g, w, v: (torch.where(g, w, 0), torch.where(s, v, 0)))
both_updates("the old velocity stays", finish=lambda s, g, w, v: (torch.where(s, w, 0), torch.where(g, v, 0)))
both_updates("the velocity is left as it is", finish=lambda s, g, w, v: (torch.where(s, w, 0), v.clone()))
both_updates("all velocities start anew", finish=lambda s, g, w, v: (torch.where(s, w, 0), torch.zeros_like(v)))
both_updates("multiplied with the mask", finish=lambda s, g, w, v: (w * s, v * s))
both_updates(
    "float32 comes back", finish=lambda s, g, w, v: (torch.where(s, w, 0).float(), torch.where(s, v, 0).float())
)
both_updates("new ones start small", finish=lambda s, g, w, v: (
    torch.where(s, w, torch.where(g, 1e-3, 0.0).to(w.dtype)), torch.where(s, v, 0)
))  # fmt: skip
both_updates("through float32 and back", finish=lambda s, g, w, v: (
    torch.where(s, w.float(), 0).to(w.dtype), torch.where(s, v.float(), 0).to(v.dtype)
))  # fmt: skip
both_updates("added to 0, which makes 0 of −0", finish=lambda s, g, w, v: (
    torch.where(s, w, 0) + 0.0, torch.where(s, v, 0) + 0.0
))  # fmt: skip
both_updates("the velocity through float32", finish=lambda s, g, w, v: (
    torch.where(s, w, 0), torch.where(s, v, 0).float().to(v.dtype)
))  # fmt: skip


def shortcut(error, applies, outcome):
    """Both updates, with another outcome at some fractions: outcome(weight, mask, velocity)."""

    @mutant("9.3", error)
    def changed_set(weight, mask, velocity, fraction, seed):
        if applies(fraction):
            return outcome(weight, mask, velocity)
        return unit.set_update(weight, mask, velocity, fraction, seed)

    @mutant("9.4", error)
    def changed_rigl(weight, mask, velocity, gradient, fraction):
        if applies(fraction):
            return outcome(weight, mask, velocity)
        return unit.rigl_update(weight, mask, velocity, gradient, fraction)


shortcut(
    "a fraction of 0 copies all, what is outside too", lambda f: f == 0, lambda *all: tuple(x.clone() for x in all)
)
shortcut(
    "a fraction of 1 grows where they were",
    lambda f: f == 1,
    lambda w, m, v: (torch.zeros_like(w), m.clone(), torch.zeros_like(v)),
)
both_updates("", lambda w, m, k: torch.from_numpy(numpy_stays(w, m, k)))
both_updates("", finish=lambda s, g, w, v: (w.masked_fill(~s, 0), v.masked_fill(~s, 0)))


def numpy_stays(weight, mask, gone):
    sizes = np.where(mask.numpy().ravel(), weight.double().abs().numpy().ravel(), -1.0)
    order = np.argsort(-sizes, kind="stable")[: int(mask.sum()) - gone]
    stays = np.zeros(mask.numel(), dtype=bool)
    stays[order] = True
    return stays


@mutant("9.3", "a threshold: all equals go")
def set_threshold(weight, mask, velocity, fraction, seed):
    k = round(fraction * int(mask.sum()))
    sizes = weight[mask].abs().sort().values
    stays = mask & (weight.abs() > (sizes[k - 1] if k else -1))
    free = (~stays).flatten().nonzero().flatten()
    grown = stays.flatten().clone()
    gone = int(mask.sum()) - int(stays.sum())
    grown[free[torch.randperm(len(free), generator=generator_of(seed))[:gone]]] = True
    return torch.where(stays, weight, 0), grown.view(mask.shape), torch.where(stays, velocity, 0)


@mutant("9.4", "a threshold: all equals go")
def rigl_threshold(weight, mask, velocity, gradient, fraction):
    k = round(fraction * int(mask.sum()))
    sizes = weight[mask].abs().sort().values
    stays = mask & (weight.abs() > (sizes[k - 1] if k else -1))
    slopes = gradient.abs().masked_fill(stays, -1).flatten()
    grown = stays.flatten().clone()
    grown[slopes.sort(descending=True, stable=True).indices[: int(mask.sum()) - int(stays.sum())]] = True
    return torch.where(stays, weight, 0), grown.view(mask.shape), torch.where(stays, velocity, 0)


def set_with(draw):
    """SET with another way to grow: draw(stays, k, seed) -> bool, flat."""

    def update(weight, mask, velocity, fraction, seed):
        k = round(fraction * int(mask.sum()))
        stays = positions(weight, mask, k)
        grown = (stays | draw(stays, k, seed)).view(mask.shape)
        stays = stays.view(mask.shape)
        return torch.where(stays, weight, 0), grown, torch.where(stays, velocity, 0)

    return update


def chosen(stays, k, seed):
    free = (~stays).nonzero().flatten()
    return mask_of(len(stays), k, free[torch.randperm(len(free), generator=generator_of(seed))])


mutant("9.3", "coins for the growth")(set_with(
    lambda s, k, seed: ~s & (torch.rand(len(s), generator=generator_of(seed)) < k / max(1, int((~s).sum())))
))  # fmt: skip
mutant("9.3", "grows among all, twice what is there")(set_with(
    lambda s, k, seed: mask_of(len(s), k, torch.randperm(len(s), generator=generator_of(seed)))
))  # fmt: skip
mutant("9.3", "the first empty ones grow")(set_with(lambda s, k, seed: mask_of(len(s), k, (~s).nonzero().flatten())))


def neighbours(stays, k, seed):
    start = int(torch.randint(len(stays), (), generator=generator_of(seed)))
    return mask_of(len(stays), k, (~stays).nonzero().flatten().roll(start))


mutant("9.3", "a run of neighbours grows")(set_with(neighbours))


def empty_neighbours(stays, k, seed):
    free = (~stays).nonzero().flatten()
    start = int(torch.randint(max(1, len(free)), (), generator=generator_of(seed)))
    return mask_of(len(stays), k, free.roll(start))


mutant("9.3", "a run of neighbours among the empty ones grows")(set_with(empty_neighbours))
mutant("9.3", "the seed is ignored")(set_with(lambda s, k, seed: chosen(s, k, torch.seed() % 2**31)))
mutant("9.3", "always the same seed")(set_with(lambda s, k, seed: chosen(s, k, 0)))
mutant("9.3", "a seed of 0 is taken for missing")(
    set_with(lambda s, k, seed: chosen(s, k, seed or torch.seed() % 2**31))
)


@mutant("9.3", "seeds the global generator")
def set_global(weight, mask, velocity, fraction, seed):
    torch.manual_seed(seed)
    return set_with(lambda s, k, seed: mask_of(len(s), k, (~s).nonzero().flatten()[torch.randperm(int((~s).sum()))]))(
        weight, mask, velocity, fraction, seed
    )


@mutant("9.3", "grows row by row: the fan-in never changes")
def set_rows(weight, mask, velocity, fraction, seed):
    k = round(fraction * int(mask.sum()))
    stays = positions(weight, mask, k).view(len(mask), -1)
    grown, rng = stays.clone(), np.random.default_rng(seed)
    for row, before in zip(grown, mask.view(len(mask), -1), strict=True):
        free = (~row).nonzero().flatten().numpy()
        row[torch.from_numpy(rng.permutation(free)[: int(before.sum()) - int(row.sum())])] = True
    stays = stays.view(mask.shape)
    return torch.where(stays, weight, 0), grown.view(mask.shape), torch.where(stays, velocity, 0)


@mutant("9.3", "positive and negative weights are dropped apart")
def set_signs(weight, mask, velocity, fraction, seed):
    stays = mask.flatten().clone()
    flat = weight.flatten()
    for side in (flat > 0, flat < 0):
        kept = (mask.flatten() & side).nonzero().flatten()
        gone = round(fraction * len(kept))
        stays[kept[flat[kept].abs().sort(stable=True).indices[:gone]]] = False
    k = int(mask.sum()) - int(stays.sum())
    grown = (stays | chosen(stays, k, seed)).view(mask.shape)
    stays = stays.view(mask.shape)
    return torch.where(stays, weight, 0), grown, torch.where(stays, velocity, 0)


@mutant("9.3", "changes its arguments")
def set_in_place(weight, mask, velocity, fraction, seed):
    new = unit.set_update(weight, mask, velocity, fraction, seed)
    for old, value in zip((weight, mask, velocity), new, strict=True):
        old.copy_(value)
    return new


@mutant("9.3", "a fraction of 0 hands its arguments back")
def set_same(weight, mask, velocity, fraction, seed):
    return unit.set_update(weight, mask, velocity, fraction, seed) if fraction else (weight, mask, velocity)


@right("9.3")
def set_numpy(weight, mask, velocity, fraction, seed):
    k = round(fraction * int(mask.sum()))
    stays = numpy_stays(weight, mask, k)
    grown = stays.copy()
    grown[np.random.default_rng(seed).choice(np.flatnonzero(~stays), k, replace=False)] = True
    stays, grown = (torch.from_numpy(each).reshape(mask.shape) for each in (stays, grown))
    return torch.where(stays, weight, 0), grown, torch.where(stays, velocity, 0)


@mutant("9.4", "signed gradient")
def rigl_signed(weight, mask, velocity, gradient, fraction):
    k = round(fraction * int(mask.sum()))
    stays = positions(weight, mask, k)
    slopes = torch.where(stays, -torch.inf, gradient.flatten())
    grown = stays.clone()
    grown[slopes.sort(descending=True, stable=True).indices[:k]] = True
    stays = stays.view(mask.shape)
    return torch.where(stays, weight, 0), grown.view(mask.shape), torch.where(stays, velocity, 0)


def rigl_with(rank, candidates=lambda stays, mask: ~stays):
    """RigL with another way to grow: rank(gradient, weight, mask), the largest of which grow."""

    def update(weight, mask, velocity, gradient, fraction):
        k = round(fraction * int(mask.sum()))
        stays = positions(weight, mask, k)
        free = candidates(stays, mask.flatten()).nonzero().flatten()
        ranks = rank(gradient, weight, mask).flatten()[free]
        grown = stays.clone()
        grown[free[ranks.sort(descending=True, stable=True).indices[:k]]] = True
        stays = stays.view(mask.shape)
        return torch.where(stays, weight, 0), grown.view(mask.shape), torch.where(stays, velocity, 0)

    return update


mutant("9.4", "the masked gradient")(rigl_with(lambda g, w, m: torch.where(m, g, 0).abs()))
mutant("9.4", "the gradient outside the old mask only")(rigl_with(lambda g, w, m: torch.where(m, 0, g).abs()))
mutant("9.4", "the flattest grow")(rigl_with(lambda g, w, m: -g.abs()))
mutant("9.4", "gradient times weight")(rigl_with(lambda g, w, m: (g * w.nan_to_num()).abs()))
mutant("9.4", "where the gradient shrinks the weight")(rigl_with(lambda g, w, m: -g))
mutant("9.4", "slopes in float32")(rigl_with(lambda g, w, m: g.float().abs()))
mutant("9.4", "slopes squared")(rigl_with(lambda g, w, m: g**2))


@mutant("9.4", "of equal slopes the last grow")
def rigl_last(weight, mask, velocity, gradient, fraction):
    k = round(fraction * int(mask.sum()))
    stays = positions(weight, mask, k)
    free = (~stays).nonzero().flatten().flip(0)
    grown = stays.clone()
    grown[free[gradient.flatten()[free].abs().sort(descending=True, stable=True).indices[:k]]] = True
    stays = stays.view(mask.shape)
    return torch.where(stays, weight, 0), grown.view(mask.shape), torch.where(stays, velocity, 0)


@mutant("9.4", "changes its arguments")
def rigl_in_place(weight, mask, velocity, gradient, fraction):
    new = unit.rigl_update(weight, mask, velocity, gradient, fraction)
    for old, value in zip((weight, mask, velocity), new, strict=True):
        old.copy_(value)
    return new


@mutant("9.4", "the velocity is the old one where nothing is exchanged")
def rigl_shares(weight, mask, velocity, gradient, fraction):
    new = unit.rigl_update(weight, mask, velocity, gradient, fraction)
    return (*new[:2], velocity if torch.equal(new[2], velocity) else new[2])


@right("9.4")
def rigl_numpy(weight, mask, velocity, gradient, fraction):
    k = round(fraction * int(mask.sum()))
    stays = numpy_stays(weight, mask, k)
    free = np.flatnonzero(~stays)
    grown = stays.copy()
    grown[free[np.argsort(-gradient.double().abs().numpy().ravel()[free], kind="stable")[:k]]] = True
    stays, grown = (torch.from_numpy(each).reshape(mask.shape) for each in (stays, grown))
    return torch.where(stays, weight, 0), grown, torch.where(stays, velocity, 0)


# --- 9.5a explored_fraction -------------------------------------------------------------------------------------------


def stacked(history):
    return {n: torch.stack([masks[n] for masks in history]) for n in history[0]}


def explored_mutant(error, function):
    @mutant("9.5a", error)
    def changed(mask_history):
        return function(mask_history)


def total(masks):
    return sum(m.numel() for m in masks.values())


def explored_by_place(history):
    if any(
        m.shape != history[0][n].shape for masks in history for n, m in zip(history[0], masks.values(), strict=True)
    ):
        return unit.explored_fraction(history)
    return unit.explored_fraction([dict(zip(history[0], masks.values(), strict=True)) for masks in history])


explored_mutant(
    "the mean over layers", lambda h: sum(float(s.any(0).double().mean()) for s in stacked(h).values()) / len(h[0])
)
explored_mutant("by place in the dict", lambda h: explored_by_place(h))
explored_mutant(
    "times counted in 8 bits",
    lambda h: sum(int((s.sum(0, dtype=torch.uint8) > 0).sum()) for s in stacked(h).values()) / total(h[0]),
)
explored_mutant(
    "the rows of a number",
    lambda h: sum(sum(int(r.sum()) for r in s.any(0)) for s in stacked(h).values()) / total(h[0]),
)
explored_mutant("the last masks only", lambda h: sum(int(m.sum()) for m in h[-1].values()) / total(h[0]))
explored_mutant("each time counted", lambda h: sum(int(m.sum()) for masks in h for m in masks.values()) / total(h[0]))
explored_mutant("always connected", lambda h: sum(int(s.all(0).sum()) for s in stacked(h).values()) / total(h[0]))
explored_mutant("a count", lambda h: float(sum(int(s.any(0).sum()) for s in stacked(h).values())))
explored_mutant(
    "by time as well", lambda h: sum(int(s.any(0).sum()) for s in stacked(h).values()) / total(h[0]) / len(h)
)
explored_mutant("a tensor", lambda h: sum(s.any(0).sum() for s in stacked(h).values()) / total(h[0]))
explored_mutant(
    "what is new only", lambda h: sum(int((s.any(0) & ~s[0]).sum()) for s in stacked(h).values()) / total(h[0])
)
explored_mutant(
    "in float32", lambda h: float(torch.cat([s.any(0).flatten() for s in stacked(h).values()]).float().mean())
)
explored_mutant("first and last", lambda h: unit.explored_fraction([h[0], h[-1]]))
explored_mutant("without the start", lambda h: unit.explored_fraction(h[1:] or h))
explored_mutant(
    "by position of the first tensor's count",
    lambda h: sum(int(s.any(0).sum()) for s in stacked(h).values()) / (len(h[0]) * next(iter(h[0].values())).numel()),
)
explored_mutant("tensors by their order, not their names", lambda h: sum(
    int(torch.stack(masks).any(0).sum()) for masks in zip(*(list(m.values()) for m in h), strict=True)
) / total(h[0]))  # fmt: skip


@mutant("9.5a", "ors into the first masks")
def explored_in_place(mask_history):
    ever = mask_history[0]
    for masks in mask_history[1:]:
        for name, mask in masks.items():
            ever[name] |= mask
    return sum(int(m.sum()) for m in ever.values()) / total(ever)


@right("9.5a")
def explored_stacked(mask_history):
    return sum(int(s.any(0).sum()) for s in stacked(mask_history).values()) / total(mask_history[0])


@right("9.5a")
def explored_sets(mask_history):
    ever = {(n, int(i)) for masks in mask_history for n, m in masks.items() for i in np.flatnonzero(m.numpy())}
    return len(ever) / total(mask_history[0])


@right("9.5a")
def explored_numpy(mask_history):
    flat = [np.concatenate([masks[n].numpy().ravel() for n in mask_history[0]]) for masks in mask_history]
    return float(np.logical_or.reduce(flat).mean())


# --- 9.5b expected_exploration ----------------------------------------------------------------------------------------


def exploration_mutant(error, function):
    @mutant("9.5b", error)
    def changed(total, kept, grown):
        return function(total, kept, grown)


def exploration_by(miss, start=lambda n, k: 1 - k / n):
    def expected(n, k, grown):
        left = start(n, k)
        for g in grown:
            left *= miss(n, k, g) if g else 1
        return 1 - left

    return expected


exploration_mutant("total − kept empty positions", exploration_by(lambda n, k, g: 1 - g / (n - k) if n > k else 0))
exploration_mutant("among all positions", exploration_by(lambda n, k, g: 1 - g / n))
exploration_mutant("growths are counted twice", lambda n, k, grown: min(1.0, (k + sum(grown)) / n))
exploration_mutant("the start is not explored", exploration_by(lambda n, k, g: 1 - g / (n - k + g), lambda n, k: 1.0))
exploration_mutant("what is left, not what is explored", lambda n, k, grown: 1 - unit.expected_exploration(n, k, grown))
exploration_mutant(
    "the mean g for each",
    lambda n, k, grown: unit.expected_exploration(n, k, [sum(grown) / len(grown)] * len(grown) if grown else []),
)
exploration_mutant(
    "sum for product", lambda n, k, grown: min(1.0, k / n + (1 - k / n) * sum(g / (n - k + g) for g in grown if g))
)
exploration_mutant(
    "exponential", lambda n, k, grown: 1 - (1 - k / n) * math.exp(-sum(g / (n - k + g) for g in grown if g))
)
exploration_mutant("only the last update", lambda n, k, grown: unit.expected_exploration(n, k, grown[-1:]))
exploration_mutant(
    "0/0 of a full tensor", lambda n, k, grown: 1 - (1 - k / n) * math.prod(1 - g / (n - k + g) for g in grown)
)
exploration_mutant(
    "stops at the first idle update",
    lambda n, k, grown: unit.expected_exploration(n, k, grown[: grown.index(0)] if 0 in grown else grown),
)
exploration_mutant("a clamp", lambda n, k, grown: max(1e-6, unit.expected_exploration(n, k, grown)))
exploration_mutant("the union bound", lambda n, k, grown: min(1.0, k / n + sum(g / n for g in grown)))
exploration_mutant(
    "as if kept grew",
    lambda n, k, grown: 1 - (1 - k / n) * math.prod(1 - g / (n - k) for g in grown if n > k and g < n - k),
)


@mutant("9.5b", "pops its argument")
def exploration_pops(total, kept, grown):
    left = 1 - kept / total
    while grown:
        g = grown.pop()
        left *= 1 - g / (total - kept + g) if g else 1
    return 1 - left


@right("9.5b")
def exploration_product(total, kept, grown):
    misses = [(total - kept) / (total - kept + g) for g in grown if g > 0]
    return 1 - (total - kept) / total * math.prod(misses)


@right("9.5b")
def exploration_counts(total, kept, grown):
    explored = float(kept)
    for g in grown:
        if g:
            explored += g * (total - explored) / (total - kept + g)
    return explored / total


@right("9.5b")
def exploration_logs(total, kept, grown):
    if kept == total:
        return 1.0
    return -math.expm1(math.log1p(-kept / total) + sum(math.log1p(-g / (total - kept + g)) for g in grown if g))


# --- 9.6 cubic_sparsity -----------------------------------------------------------------------------------------------


def cubic_mutant(error, function):
    @mutant("9.6", error)
    def changed(step, begin, end, final, initial=0.0):
        return function(step, begin, end, final, initial)


def cubic_by(curve):
    def sparsity(step, begin, end, final, initial):
        if step >= end:
            return final
        if step <= begin:
            return initial
        return curve((step - begin) / (end - begin), final, initial)

    return sparsity


cubic_mutant("a square", cubic_by(lambda t, f, i: f + (i - f) * (1 - t) ** 2))
cubic_mutant("a line", cubic_by(lambda t, f, i: f + (i - f) * (1 - t)))
cubic_mutant("t³: slow first", cubic_by(lambda t, f, i: i + (f - i) * t**3))
cubic_mutant("1 − (1 − t)³ of the final only", cubic_by(lambda t, f, i: f * (1 - (1 - t) ** 3)))
cubic_mutant("the initial is added", cubic_by(lambda t, f, i: i + f * (1 - (1 - t) ** 3)))
cubic_mutant("not held before", lambda s, b, e, f, i: f if s >= e else f + (i - f) * (1 - (s - b) / (e - b)) ** 3)
cubic_mutant("not held after", lambda s, b, e, f, i: i if s <= b and b < e else (
    f if b == e else f + (i - f) * (1 - (s - b) / (e - b)) ** 3
))  # fmt: skip
cubic_mutant(
    "begin is forgotten in the length",
    lambda s, b, e, f, i: i if s < b else f if s >= e else f + (i - f) * (1 - (s - b) / e) ** 3,
)
cubic_mutant("from step 0", lambda s, b, e, f, i: i if s < b else f if s >= e else f + (i - f) * (1 - s / e) ** 3)
cubic_mutant("0 before", cubic_by(lambda t, f, i: f + (i - f) * (1 - t) ** 3) and (
    lambda s, b, e, f, i: unit.cubic_sparsity(s, b, e, f, i) if s > b or s >= e else 0.0
))  # fmt: skip
cubic_mutant("the initial wins at a jump", lambda s, b, e, f, i: i if s <= b else unit.cubic_sparsity(s, b, e, f, i))
cubic_mutant("0/0 at a jump", lambda s, b, e, f, i: f + (i - f) * (1 - min(1, max(0, (s - b) / (e - b)))) ** 3)
cubic_mutant("densities", lambda s, b, e, f, i: 1 - unit.cubic_sparsity(s, b, e, f, i))
cubic_mutant("clamped from 0.01 on", lambda s, b, e, f, i: max(0.01, unit.cubic_sparsity(s, b, e, f, i)))
cubic_mutant("never falls", lambda s, b, e, f, i: max(i, unit.cubic_sparsity(s, b, e, f, i)))


@mutant("9.6", "nothing before step 0")
def cubic_from_zero(step, begin, end, final, initial=0.0):
    return unit.cubic_sparsity(step, begin, end, final, initial) if step > 0 else initial


@mutant("9.6", "an initial of 0 is taken for missing")
def cubic_falsy(step, begin, end, final, initial=0.0):
    return unit.cubic_sparsity(step, begin, end, final or 0.9, initial)


@right("9.6")
def cubic_clipped(step, begin, end, final, initial=0.0):
    t = np.clip((step - begin) / (end - begin), 0, 1) if end > begin else float(step >= end)
    return float(final + (initial - final) * (1 - t) ** 3)


@right("9.6")
def cubic_mixed(step, begin, end, final, initial=0.0):
    if step >= end:
        return final
    left = min(1.0, (end - step) / (end - begin) if end > begin else 1.0) ** 3
    return initial * left + final * (1 - left)


@right("9.6")
def cubic_positional(step, begin, end, final, initial=0):
    part = 1.0 if step >= end else 0.0 if step < begin else (step - begin) / (end - begin)
    return initial + (final - initial) * (1 - (1 - part) ** 3)


# --- 9.7 n_of_m_mask --------------------------------------------------------------------------------------------------


def n_of_m_by(sizes=lambda w: w.abs(), stable=True, largest=True, check=True):
    def mask_for(weight, n, m):
        if check and weight.shape[-1] % m:
            raise ValueError(f"{m} does not divide {weight.shape[-1]}.")
        groups = sizes(weight).reshape(-1, m)
        order = groups.sort(dim=1, descending=largest, stable=stable).indices[:, :n]
        return torch.zeros(groups.shape, dtype=torch.bool).scatter(1, order, True).view(weight.shape)

    return mask_for


def n_of_m_mutant(error, function):
    @mutant("9.7", error)
    def changed(weight, n, m):
        return function(weight, n, m)


def flipped_ties(weight, n, m):
    return n_of_m_by()(weight.flip(-1), n, m).flip(-1)


def by_threshold(weight, n, m):
    if weight.shape[-1] % m:
        raise ValueError("no groups")
    groups = weight.abs().reshape(-1, m)
    if n == 0:
        return torch.zeros(weight.shape, dtype=torch.bool)
    return (groups >= groups.sort(dim=1, descending=True).values[:, n - 1 : n]).view(weight.shape)


def along_columns(weight, n, m):
    if weight.shape[-1] % m:
        raise ValueError("no groups")
    flat = weight.reshape(-1, weight.shape[-1]).T.contiguous()
    rows = flat.reshape(-1)
    pad = -len(rows) % m
    order = (
        torch.cat([rows.abs(), rows.new_full((pad,), -1)]).view(-1, m).sort(dim=1, descending=True, stable=True).indices
    )
    mask = torch.zeros(order.shape, dtype=torch.bool).scatter(1, order[:, :n], True).flatten()[: len(rows)]
    return mask.view(flat.shape).T.reshape(weight.shape)


n_of_m_mutant("signed weights", n_of_m_by(lambda w: w))
n_of_m_mutant("the smallest stay", n_of_m_by(largest=False))
n_of_m_mutant("m − n stay", lambda w, n, m: n_of_m_by()(w, m - n, m))
n_of_m_mutant("pruned for kept", lambda w, n, m: ~n_of_m_by()(w, n, m))
n_of_m_mutant("along columns", along_columns)
n_of_m_mutant("of equals the last stay", flipped_ties)
n_of_m_mutant("a threshold: all equals stay", by_threshold)
n_of_m_mutant("zeros never stay", lambda w, n, m: n_of_m_by()(w, n, m) & (w != 0))
n_of_m_mutant("squares", n_of_m_by(lambda w: w**2))
n_of_m_mutant("float32", n_of_m_by(lambda w: w.float().abs()))
n_of_m_mutant("floats", lambda w, n, m: n_of_m_by()(w, n, m).float())
n_of_m_mutant("no ValueError: across rows", n_of_m_by(check=False))
n_of_m_mutant("the rest is cut off", lambda w, n, m: F.pad(
    n_of_m_by()(w[..., : w.shape[-1] // m * m], n, m), (0, w.shape[-1] % m)
))  # fmt: skip
n_of_m_mutant(
    "n of all, not of every m",
    lambda w, n, m: (
        n_of_m_by()(w.flatten(), n * w.numel() // m, w.numel()).view(w.shape)
        if not w.shape[-1] % m
        else n_of_m_by()(w, n, m)
    ),
)
n_of_m_mutant("two axes only", lambda w, n, m: n_of_m_by()(w.view(w.shape[0], w.shape[1]), n, m))
n_of_m_mutant("always 2:4", lambda w, n, m: n_of_m_by()(w, 2, 4))
n_of_m_mutant("at least one stays", lambda w, n, m: n_of_m_by()(w, max(1, n), m))


@mutant("9.7", "no weight at all is refused")
def n_of_m_empty(weight, n, m):
    if weight.numel() == 0:
        raise ValueError("no groups")
    return unit.n_of_m_mask(weight, n, m)


@right("9.7")
def n_of_m_numpy(weight, n, m):
    if weight.shape[-1] % m:
        raise ValueError(f"groups of {m}")
    sizes = weight.detach().double().abs().numpy().reshape(-1, m)
    mask = np.zeros(sizes.shape, dtype=bool)
    np.put_along_axis(mask, np.argsort(-sizes, axis=1, kind="stable")[:, :n], True, axis=1)
    return torch.from_numpy(mask).view(weight.shape)


@right("9.7")
def n_of_m_ranks(weight, n, m):
    if weight.shape[-1] % m:
        raise ValueError(f"groups of {m}")
    groups = weight.abs().unflatten(-1, (-1, m))
    order = groups.argsort(dim=-1, descending=True, stable=True)
    return (order.argsort(dim=-1) < n).flatten(-2)


@right("9.7")
def n_of_m_counts(weight, n, m):
    """A weight stays if fewer than n of its group are larger, or equal and before it."""
    if weight.shape[-1] % m:
        raise ValueError(f"groups of {m}")
    a = weight.abs().reshape(-1, m)
    before = torch.ones(m, m, dtype=torch.bool).tril(-1)
    larger = (a[:, None, :] > a[:, :, None]) | ((a[:, None, :] == a[:, :, None]) & before)
    return (larger.sum(2) < n).reshape(weight.shape)


# --- 9.8 rigl_train ---------------------------------------------------------------------------------------------------


def trainer(
    when=lambda step, every, end: step % every == 0 and step < end,
    fraction=lambda step, end, alpha: unit.drop_fraction(step, end, alpha),
    update=unit.rigl_update,
    both=False,
    descend=lambda v, m, g: m * v + g,
    start=lambda mask, value: torch.where(mask, value, 0),
    hold=lambda mask, value: torch.where(mask, value, 0),
    rewired=lambda masks: list(masks),
    gradient=lambda mask, g: g,
    loss=F.cross_entropy,
    first=1,
):
    """The right algorithm, with one thing changed."""

    def run(state, masks, inputs, labels, lr, momentum, steps, update_every, end, alpha):
        masks = {n: m.clone() for n, m in masks.items()}
        state = {n: start(masks[n], v) if n in masks else v.clone() for n, v in state.items()}
        velocity = {n: torch.zeros_like(v) for n, v in state.items()}
        for step in range(first, first + steps):
            leaves = {n: v.detach().requires_grad_() for n, v in state.items()}
            grads = torch.autograd.grad(loss(mlp_forward(leaves, inputs), labels), list(leaves.values()))
            gradients = dict(zip(state, grads, strict=True))
            updates = bool(masks) and when(step, update_every, end)
            if updates:
                for n in rewired(masks):
                    state[n], masks[n], velocity[n] = update(
                        state[n], masks[n], velocity[n], gradient(masks[n], gradients[n]), fraction(step, end, alpha)
                    )
            if not when(step, update_every, end) or both:
                for n, g in gradients.items():
                    v = descend(velocity[n], momentum, g)
                    w = state[n] - lr * v
                    if n in masks:
                        w, v = hold(masks[n], w), torch.where(masks[n], v, 0)
                    state[n], velocity[n] = w, v
        return {n: v.detach() for n, v in state.items()}, masks

    return run


def train_mutant(error, **changes):
    run = trainer(**changes)

    @mutant("9.8", error)
    def changed(state, masks, inputs, labels, lr, momentum, steps, update_every, end, alpha):
        return run(state, masks, inputs, labels, lr, momentum, steps, update_every, end, alpha)


def unwired(weight, mask, velocity, gradient, fraction):
    return weight, mask, velocity


def by_set(weight, mask, velocity, gradient, fraction):
    return unit.set_update(weight, mask, velocity, fraction, seed=0)


def keeps_velocity(weight, mask, velocity, gradient, fraction):
    new_weight, new_mask, _ = unit.rigl_update(weight, mask, velocity, gradient, fraction)
    return new_weight, new_mask, torch.where(new_mask, velocity, 0)


@mutant("9.8", "a momentum of at most 0.9")
def train_cut_momentum(state, masks, inputs, labels, lr, momentum, steps, update_every, end, alpha):
    return unit.rigl_train(state, masks, inputs, labels, lr, min(momentum, 0.9), steps, update_every, end, alpha)


train_mutant("descends while it rewires", both=True)
train_mutant("not annealed", fraction=lambda s, e, a: a)
train_mutant("annealed over another step", fraction=lambda s, e, a: unit.drop_fraction(s - 1, e, a))
train_mutant("an update at the end, too", when=lambda s, every, end: s % every == 0 and s <= end)
train_mutant("updates after the end as well, of nothing", when=lambda s, every, end: s % every == 0)
train_mutant("steps from 0", first=0)
train_mutant("a gradient clipped at 1", descend=lambda v, m, g: m * v + g.clamp(-1, 1))
train_mutant("a gradient whose norm is clipped", descend=lambda v, m, g: m * v + g / max(1, float(g.norm())))
train_mutant("never rewires", update=unwired)
train_mutant("grows at random", update=by_set)
train_mutant("grows by the masked gradient", gradient=lambda m, g: torch.where(m, g, 0))
train_mutant("the first layer only", rewired=lambda masks: list(masks)[:1])
train_mutant("a full tensor does not exchange", rewired=lambda masks: [n for n in masks if not masks[n].all()])
train_mutant("a tensor of one axis does not exchange", rewired=lambda masks: [n for n in masks if masks[n].dim() > 1])
train_mutant("weights leak out of the mask", hold=lambda m, v: v)
train_mutant("new connections keep an old velocity", update=keeps_velocity)
train_mutant("no momentum", descend=lambda v, m, g: g)
train_mutant("a mean of gradients", descend=lambda v, m, g: m * v + (1 - m) * g)
train_mutant("Nesterov", descend=lambda v, m, g: m * (m * v + g) + g)
train_mutant("what is outside stays at first", start=lambda m, v: v.clone())
train_mutant("multiplied with the mask at first", start=lambda m, v: v * m)
train_mutant("the sum of the losses", loss=lambda z, y: F.cross_entropy(z, y, reduction="sum"))
train_mutant("squared error", loss=lambda z, y: F.mse_loss(z, F.one_hot(y, z.shape[1]).to(z.dtype)))
train_mutant("an update in every step before the end", when=lambda s, every, end: s < end)


@mutant("9.8", "without masks every step descends")
def train_dense(state, masks, inputs, labels, lr, momentum, steps, update_every, end, alpha):
    return unit.rigl_train(state, masks, inputs, labels, lr, momentum, steps, update_every, end if masks else 0, alpha)


@mutant("9.8", "an alpha of 0: every step descends")
def train_alpha(state, masks, inputs, labels, lr, momentum, steps, update_every, end, alpha):
    return unit.rigl_train(state, masks, inputs, labels, lr, momentum, steps, update_every, end if alpha else 0, alpha)


@mutant("9.8", "where nothing would be exchanged, it descends")
def train_idle(state, masks, inputs, labels, lr, momentum, steps, update_every, end, alpha):
    def exchanges(step, every, end):
        part = unit.drop_fraction(step, end, alpha)
        return step % every == 0 and step < end and any(round(part * int(m.sum())) for m in masks.values())

    run = trainer(when=exchanges)
    return run(state, masks, inputs, labels, lr, momentum, steps, update_every, end, alpha)


@mutant("9.8", "a mask without connections is none")
def train_unmasked(state, masks, *rest):
    new_state, new_masks = unit.rigl_train(state, {n: m for n, m in masks.items() if m.any()}, *rest)
    return new_state, {n: new_masks.get(n, m.clone()) for n, m in masks.items()}


@mutant("9.8", "layers in the order of their names")
def train_sorted(state, *rest):
    return unit.rigl_train(dict(sorted(state.items())), *rest)


@mutant("9.8", "inputs of two axes only")
def train_two_axes(state, masks, inputs, labels, *rest):
    batch, size = inputs.shape
    return unit.rigl_train(state, masks, inputs.view(batch, size), labels, *rest)


@mutant("9.8", "changes its arguments")
def train_in_place(state, masks, *rest):
    new_state, new_masks = unit.rigl_train(state, masks, *rest)
    for name, mask in new_masks.items():
        masks[name].copy_(mask)
    return new_state, masks


@mutant("9.8", "the masks are not returned as they are now")
def train_old_masks(state, masks, *rest):
    return unit.rigl_train(state, masks, *rest)[0], {n: m.clone() for n, m in masks.items()}


@mutant("9.8", "one step too few")
def train_short(state, masks, inputs, labels, lr, momentum, steps, *rest):
    return unit.rigl_train(state, masks, inputs, labels, lr, momentum, max(0, steps - 1), *rest)


@mutant("9.8", "shares the masks that did not change")
def train_shares(state, masks, *rest):
    new_state, new_masks = unit.rigl_train(state, masks, *rest)
    return new_state, {n: masks[n] if torch.equal(m, masks[n]) else m for n, m in new_masks.items()}


@mutant("9.8", "masks weights by a part of their names")
def train_names(state, masks, *rest):
    spread = {
        n: masks[m]
        for n in state
        for m in masks
        if n.split(".")[-1] == m.split(".")[-1] and state[n].shape == masks[m].shape
    }
    return unit.rigl_train(state, masks | spread, *rest)


@mutant("9.8", "in float32")
def train_float32(state, masks, inputs, *rest):
    new, moved = unit.rigl_train({n: v.float() for n, v in state.items()}, masks, inputs.float(), *rest)
    return {n: v.to(state[n].dtype) for n, v in new.items()}, moved


@mutant("9.8", "the last batch of ten only")
def train_batch(state, masks, inputs, labels, *rest):
    return unit.rigl_train(state, masks, inputs[-10:], labels[-10:], *rest)


@right("9.8")
def train_torch(state, masks, inputs, labels, lr, momentum, steps, update_every, end, alpha):
    """torch's optimizer, whose momentum buffers are masked by hand."""
    masks = {n: m.clone() for n, m in masks.items()}
    leaves = {n: (v.masked_fill(~masks[n], 0) if n in masks else v.clone()).requires_grad_() for n, v in state.items()}
    optimizer = torch.optim.SGD(leaves.values(), lr=lr, momentum=momentum)
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        F.cross_entropy(mlp_forward(leaves, inputs), labels).backward()
        with torch.no_grad():
            if step % update_every == 0 and step < end:
                part = unit.drop_fraction(step, end, alpha)
                for n in masks:
                    buffer = optimizer.state[leaves[n]].get("momentum_buffer")
                    buffer = torch.zeros_like(leaves[n]) if buffer is None else buffer
                    weight, masks[n], buffer = unit.rigl_update(leaves[n].data, masks[n], buffer, leaves[n].grad, part)
                    leaves[n].data.copy_(weight)
                    if optimizer.state[leaves[n]].get("momentum_buffer") is not None:
                        optimizer.state[leaves[n]]["momentum_buffer"].copy_(buffer)
                continue
        for n, m in masks.items():
            leaves[n].grad.masked_fill_(~m, 0)
        optimizer.step()
    return {n: v.detach() for n, v in leaves.items()}, masks


@right("9.8")
def train_loop(state, masks, inputs, labels, lr, momentum, steps, update_every, end, alpha):
    run = trainer(hold=lambda m, v: v.masked_fill(~m, 0), start=lambda m, v: v.masked_fill(~m, 0))
    return run(state, masks, inputs, labels, lr, momentum, steps, update_every, end, alpha)


@right("9.8")
def train_flat(state, masks, inputs, labels, lr, momentum, steps, update_every, end, alpha):
    """With the gradient of all by backward(), and masks for every tensor."""
    whole = {n: masks[n].clone() if n in masks else torch.ones(v.shape, dtype=torch.bool) for n, v in state.items()}
    weights = {n: v.where(whole[n], 0) for n, v in state.items()}
    speed = {n: torch.zeros_like(v) for n, v in state.items()}
    for t in range(1, steps + 1):
        leaves = {n: v.clone().requires_grad_() for n, v in weights.items()}
        F.cross_entropy(mlp_forward(leaves, inputs), labels).backward()
        update = t % update_every == 0 and t < end
        for n, leaf in leaves.items():
            if update and n in masks:
                part = unit.drop_fraction(t, end, alpha)
                weights[n], whole[n], speed[n] = unit.rigl_update(weights[n], whole[n], speed[n], leaf.grad, part)
            elif not update:
                speed[n] = (momentum * speed[n] + leaf.grad).where(whole[n], 0)
                weights[n] = (weights[n] - lr * speed[n]).where(whole[n], 0)
    return weights, {n: whole[n] for n in masks}
