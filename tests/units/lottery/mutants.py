"""Mutants and right variants of unit 07."""

import copy
import itertools
from fractions import Fraction

import numpy as np
import torch

from course_utils import lottery
from tests.checks.catalogue import mutant, right

# --- 7.1 prune_tickets ------------------------------------------------------------------------------------------------


def groups_of(masks, rates):
    """What is ranked together, with its rate."""
    if isinstance(rates, dict):
        return [([name], rates.get(name, 0)) for name in masks]
    return [(list(masks), rates)]


def keep_largest(weights, masks, rates, rank=torch.abs, gone=lambda rate, left: round(rate * left), pick=None):
    """The reference, with holes for errors: how weights rank, how many go, which of a ranking are kept."""
    pick = pick or (lambda scores, keep: torch.sort(scores, descending=True, stable=True).indices[:keep])
    result = {}
    for names, rate in groups_of(masks, rates):
        left = torch.cat([masks[name].flatten() for name in names]).nonzero().squeeze(1)
        scores = rank(torch.cat([weights[name].flatten() for name in names])[left])
        kept = torch.zeros(sum(masks[name].numel() for name in names), dtype=torch.bool)
        kept[left[pick(scores, len(left) - gone(rate, len(left)))]] = True
        parts = kept.split([masks[name].numel() for name in names])
        result |= {name: part.view(masks[name].shape) for name, part in zip(names, parts, strict=True)}
    return result


def tickets_mutant(error, **holes):
    @mutant("7.1", error)
    def changed(weights, masks, rates):
        return keep_largest(weights, masks, rates, **holes)


tickets_mutant("the sign counts", rank=lambda w: w)
tickets_mutant("the largest go", rank=lambda w: -w.abs())
tickets_mutant("random weights go", rank=lambda w: torch.rand(len(w)))
tickets_mutant("int() for round()", gone=lambda rate, left: int(rate * left))
tickets_mutant("rounded up at a half", gone=lambda rate, left: int(rate * left + 0.5))
tickets_mutant("kept is rounded, not gone", gone=lambda rate, left: left - round((1 - rate) * left))
tickets_mutant("the rate is what stays", gone=lambda rate, left: left - round(rate * left))
tickets_mutant("one too many goes", gone=lambda rate, left: min(left, round(rate * left) + 1))
tickets_mutant("at least one goes", gone=lambda rate, left: min(left, max(1, round(rate * left))))
tickets_mutant("at least one stays", gone=lambda rate, left: min(left - 1, round(rate * left)))
tickets_mutant("topk picks any of equals", pick=lambda scores, keep: scores.topk(keep).indices)
tickets_mutant("of equals the first go", pick=lambda s, keep: torch.sort(s, stable=True).indices[len(s) - keep :])
tickets_mutant("in float32", rank=lambda w: w.float().abs())
tickets_mutant("squares overflow", rank=lambda w: w * w)
tickets_mutant(
    "a threshold keeps all equals", pick=lambda s, keep: s >= (s.sort().values[len(s) - keep] if keep else torch.inf)
)
tickets_mutant(
    "a threshold drops all equals",
    pick=lambda s, keep: s > (s.sort().values[len(s) - keep - 1] if keep < len(s) else -1),
)


@mutant("7.1", "masks are not nested: old ones are forgotten")
def tickets_forget(weights, masks, rates):
    return keep_largest(weights, {name: torch.ones_like(mask) for name, mask in masks.items()}, rates)


@mutant("7.1", "rate of all weights for rate of the remaining")
def tickets_rate_of_all(weights, masks, rates):
    result = {}
    for names, rate in groups_of(masks, rates):
        n = sum(masks[name].numel() for name in names)
        part = {name: masks[name] for name in names}
        holes = {"gone": lambda _, left, n=n, rate=rate: min(left, round(rate * n))}
        result |= keep_largest(weights, part, rates if isinstance(rates, dict) else rate, **holes)
    return result


def by_product(weights, masks, rates, score):
    """Dead weights get a score of their own among the living, and as many as should remain are kept."""
    result = {}
    for names, rate in groups_of(masks, rates):
        alive = torch.cat([masks[name].flatten() for name in names])
        scores = score(torch.cat([weights[name].flatten() for name in names]), alive)
        keep = int(alive.sum()) - round(rate * int(alive.sum()))
        kept = torch.zeros(len(alive), dtype=torch.bool)
        kept[torch.sort(scores, descending=True, stable=True).indices[:keep]] = True
        parts = kept.split([masks[name].numel() for name in names])
        result |= {name: part.view(masks[name].shape) for name, part in zip(names, parts, strict=True)}
    return result


@mutant("7.1", "pruned weights count as 0: a living 0 may go in their place")
def tickets_dead_zero(weights, masks, rates):
    return by_product(weights, masks, rates, lambda w, alive: torch.where(alive, w.abs(), 0))


@mutant("7.1", "the product with the mask keeps NaN")
def tickets_product(weights, masks, rates):
    return by_product(weights, masks, rates, lambda w, alive: w.abs() * alive - (~alive).float())


@mutant("7.1", "what is not 0 counts as remaining, not the mask")
def tickets_nonzero(weights, masks, rates):
    return keep_largest(weights, {name: weights[name] != 0 for name in masks}, rates)


@mutant("7.1", "one number prunes each tensor by itself")
def tickets_always_by_layer(weights, masks, rates):
    return keep_largest(weights, masks, rates if isinstance(rates, dict) else dict.fromkeys(masks, rates))


@mutant("7.1", "a dict of rates prunes all together")
def tickets_always_global(weights, masks, rates):
    if not isinstance(rates, dict):
        return keep_largest(weights, masks, rates)
    n = sum(int(mask.sum()) for mask in masks.values())
    gone = sum(round(rates.get(name, 0) * int(mask.sum())) for name, mask in masks.items())
    return keep_largest(weights, masks, 0.5, gone=lambda rate, left: gone) if n else masks


@mutant("7.1", "only floats are one rate")
def tickets_int_rate(weights, masks, rates):
    if isinstance(rates, float):
        return keep_largest(weights, masks, rates)
    return keep_largest(weights, masks, {name: rates.get(name, 0) for name in masks})


@mutant("7.1", "a name without a rate is an error")
def tickets_rates_needed(weights, masks, rates):
    return keep_largest(weights, masks, {name: rates[name] for name in masks} if isinstance(rates, dict) else rates)


@mutant("7.1", "a name without a rate is dropped")
def tickets_drops(weights, masks, rates):
    return {n: m for n, m in keep_largest(weights, masks, rates).items() if not isinstance(rates, dict) or n in rates}


@mutant("7.1", "biases are pruned too")
def tickets_biases(weights, masks, rates):
    every = {name: masks.get(name, torch.ones(w.shape, dtype=torch.bool)) for name, w in weights.items()}
    return {name: mask for name, mask in keep_largest(weights, every, rates).items() if name in masks}


@mutant("7.1", "ranked in the order of the weights, not of the masks")
def tickets_other_order(weights, masks, rates):
    return keep_largest(weights, {name: masks[name] for name in weights if name in masks}, rates)


@mutant("7.1", "each layer's magnitudes are scaled before they compete")
def tickets_scaled(weights, masks, rates):
    scaled = {name: weights[name] / weights[name][mask].abs().mean() for name, mask in masks.items()}
    return keep_largest(scaled, masks, rates)


@mutant("7.1", "quantile for count")
def tickets_quantile(weights, masks, rates):
    result = {}
    for names, rate in groups_of(masks, rates):
        left = torch.cat([weights[name].abs()[masks[name]] for name in names])
        threshold = left.quantile(rate) if len(left) else 0.0
        result |= {name: masks[name] & (weights[name].abs() >= threshold) for name in names}
    return result


@mutant("7.1", "numpy's argsort, unstable")
def tickets_unstable(weights, masks, rates):
    def pick(scores, keep):
        return torch.from_numpy(np.argsort(-scores.numpy(), kind="quicksort")[:keep].copy())

    return keep_largest(weights, masks, rates, pick=pick)


@mutant("7.1", "float masks")
def tickets_float(weights, masks, rates):
    return {name: mask.float() for name, mask in keep_largest(weights, masks, rates).items()}


@mutant("7.1", "True means pruned")
def tickets_inverted(weights, masks, rates):
    return {name: ~mask for name, mask in keep_largest(weights, masks, rates).items()}


@mutant("7.1", "masks change in place")
def tickets_in_place(weights, masks, rates):
    for name, mask in keep_largest(weights, masks, rates).items():
        masks[name] &= mask
    return masks


@mutant("7.1", "transposed tensors are read as they lie in memory")
def tickets_memory(weights, masks, rates):
    turned = {n: m.t() if m.dim() == 2 and not m.is_contiguous() else m for n, m in masks.items()}
    as_stored = {n: weights[n].t() if turned[n] is not m else weights[n] for n, m in masks.items()}
    kept = keep_largest(as_stored, turned, rates)
    return {n: kept[n].t() if turned[n] is not m else kept[n] for n, m in masks.items()}


@right("7.1")
def tickets_minus_one(weights, masks, rates):
    """Dead weights rank below every living one."""
    return by_product(weights, masks, rates, lambda w, alive: torch.where(alive, w.abs(), -1))


@right("7.1")
def tickets_lexsort(weights, masks, rates):
    result = {}
    for names, rate in groups_of(masks, rates):
        alive = np.concatenate([masks[name].numpy().ravel() for name in names])
        sizes = np.concatenate([np.abs(weights[name].double().numpy()).ravel() for name in names])
        places = np.flatnonzero(alive)
        order = places[np.lexsort((-places, sizes[places]))]
        alive[order[: round(rate * len(places))]] = False
        parts = np.split(alive, np.cumsum([masks[name].numel() for name in names])[:-1])
        result |= {n: torch.from_numpy(p.copy()).reshape(masks[n].shape) for n, p in zip(names, parts, strict=True)}
    return result


@right("7.1")
def tickets_python(weights, masks, rates):
    result = {name: mask.clone() for name, mask in masks.items()}
    for names, rate in groups_of(masks, rates):
        entries = [
            (float(weights[name][tuple(i)].abs()), -order, -row, name, tuple(i))
            for order, name in enumerate(names)
            for row, i in enumerate(masks[name].nonzero().tolist())
        ]
        for _, _, _, name, i in sorted(entries)[: round(rate * len(entries))]:
            result[name][i] = False
    return result


def _prune(weights, masks, rates, key):
    """Prune by `key(weight, mask)`, ascending, of equals the last; what is pruned already has to be made inf by it."""
    groups = [(list(masks), rates)] if isinstance(rates, int | float) else [([n], rates.get(n, 0)) for n in masks]
    pruned = {}
    for names, rate in groups:
        values = torch.cat([key(weights[n], masks[n]).flatten() for n in names])
        left = torch.cat([masks[n].flatten() for n in names])
        order = torch.sort(values.flip(0), stable=True).indices
        order = len(values) - 1 - order
        gone = round(rate * int(left.sum()))
        left = left.clone()
        left[order[:gone]] = False
        for n, part in zip(names, left.split([masks[n].numel() for n in names]), strict=True):
            pruned[n] = part.reshape(masks[n].shape)
    return pruned


@mutant("7.1", "gives the caller's own mask back where nothing is pruned")
def prune_own_mask(weights, masks, rates):
    pruned = lottery.prune_tickets(weights, masks, rates)
    return {name: masks[name] if torch.equal(mask, masks[name]) else mask for name, mask in pruned.items()}


@mutant("7.1", "a rate of 0 is taken for missing: a fifth goes")
def prune_default_rate(weights, masks, rates):
    return lottery.prune_tickets(weights, masks, rates or 0.2)


@mutant("7.1", "sets what is pruned to a billion, so that it is never among the smallest")
def prune_billion(weights, masks, rates):
    return _prune(weights, masks, rates, lambda w, m: torch.where(m, w.abs().double(), 1e9))


@mutant("7.1", "marks what is pruned by a product, which keeps NaN")
def prune_product(weights, masks, rates):
    groups = [(list(masks), rates)] if isinstance(rates, int | float) else [([n], rates.get(n, 0)) for n in masks]
    pruned = {}
    for names, rate in groups:
        values = torch.cat([(weights[n].abs().double() * masks[n] - 1.0 * ~masks[n]).flatten() for n in names])
        kept = sum(int(masks[n].sum()) for n in names)
        best = torch.sort(values, descending=True, stable=True).indices[: kept - round(rate * kept)]
        flat = torch.zeros(len(values), dtype=torch.bool)
        flat[best] = True
        for n, part in zip(names, flat.split([masks[n].numel() for n in names]), strict=True):
            pruned[n] = part.view(masks[n].shape)
    return pruned


@mutant("7.1", "a rate counts for all names that begin with its name")
def prune_prefix(weights, masks, rates):
    if not isinstance(rates, int | float):
        rates = {name: next((r for key, r in rates.items() if name.startswith(key)), 0) for name in masks}
    return lottery.prune_tickets(weights, masks, rates)


@mutant("7.1", "finds rates whatever the case of the letters")
def prune_case(weights, masks, rates):
    if not isinstance(rates, int | float):
        rates = {key.lower(): rate for key, rate in rates.items()}
        rates = {name: rates.get(name.lower(), 0) for name in masks}
    return lottery.prune_tickets(weights, masks, rates)


@mutant("7.1", "ranks in half precision")
def prune_half(weights, masks, rates):
    return lottery.prune_tickets({name: value.to(torch.bfloat16) for name, value in weights.items()}, masks, rates)


@mutant("7.1", "ranks in single precision")
def prune_single(weights, masks, rates):
    return lottery.prune_tickets({name: value.float() for name, value in weights.items()}, masks, rates)


@mutant("7.1", "counts what is left in a byte")
def prune_byte(weights, masks, rates):
    pruned = {}
    groups = [(list(masks), rates)] if isinstance(rates, int | float) else [([n], rates.get(n, 0)) for n in masks]
    for names, rate in groups:
        left = torch.cat([masks[n].flatten() for n in names])
        count = int(left.sum(dtype=torch.uint8))
        total = int(left.sum())
        share = round(rate * count) / total if total else 0
        one = lottery.prune_tickets(weights, {n: masks[n] for n in names}, share)
        pruned |= one
    return pruned


@mutant("7.1", "of equals the last in the order of the weights, not of the masks")
def prune_order_of_weights(weights, masks, rates):
    ordered = {name: masks[name] for name in weights if name in masks}
    pruned = lottery.prune_tickets(weights, ordered, rates)
    return {name: pruned[name] for name in masks}


@mutant("7.1", "a tensor always keeps one weight")
def prune_keeps_one(weights, masks, rates):
    pruned = lottery.prune_tickets(weights, masks, rates)
    for name, mask in pruned.items():
        if not mask.any() and masks[name].any():
            size = torch.where(masks[name], weights[name].abs().double(), -1)
            mask.view(-1)[size.flatten().argmax()] = True
    return pruned


@right("7.1")
def prune_by_python_sort(weights, masks, rates):
    result = {name: mask.clone(memory_format=torch.contiguous_format) for name, mask in masks.items()}
    groups = [(list(masks), rates)] if isinstance(rates, int | float) else [([n], rates.get(n, 0)) for n in masks]
    for names, rate in groups:
        left = [
            (-abs(float(weights[n].flatten()[i])), place, n, i)
            for place, n in enumerate(names)
            for i in range(masks[n].numel())
            if masks[n].flatten()[i]
        ]
        left.sort(key=lambda entry: (-entry[0], -entry[1], -entry[3]))
        for _, _, n, i in left[: round(rate * len(left))]:
            result[n].view(-1)[i] = False
    return result


@mutant("7.1", "rate times count in float32")
def prune_count_float32(weights, masks, rates):
    return keep_largest(weights, masks, rates, gone=lambda rate, left: int((torch.tensor(left) * rate).round()))


@mutant("7.1", "rate times count rounded twice")
def prune_count_twice(weights, masks, rates):
    return keep_largest(weights, masks, rates, gone=lambda rate, left: round(round(rate * left, 6)))


@mutant("7.1", "a rate of 0 is taken for the largest of all")
def prune_rate_or(weights, masks, rates):
    if isinstance(rates, dict):
        rates = {name: rate or max(rates.values()) for name, rate in rates.items()}
    return lottery.prune_tickets(weights, masks, rates)


# --- 7.2 rewind -------------------------------------------------------------------------------------------------------


@mutant("7.2", "tensors without a mask are dropped")
def rewind_drops(initial, masks):
    return {name: initial[name] * mask for name, mask in masks.items()}


@mutant("7.2", "masks are not applied")
def rewind_unmasked(initial, masks):
    return dict(initial)


@mutant("7.2", "True means pruned")
def rewind_inverted(initial, masks):
    return {name: value * ~masks[name] if name in masks else value for name, value in initial.items()}


@mutant("7.2", "biases start at 0 again")
def rewind_zero_rest(initial, masks):
    return {name: value * masks[name] if name in masks else torch.zeros_like(value) for name, value in initial.items()}


@mutant("7.2", "in place")
def rewind_in_place(initial, masks):
    for name, mask in masks.items():
        initial[name].mul_(mask)
    return initial


@mutant("7.2", "everything becomes float32")
def rewind_float(initial, masks):
    return {n: v.float() * masks.get(n, torch.ones_like(v, dtype=torch.bool)) for n, v in initial.items()}


@mutant("7.2", "rows with few kept weights go whole")
def rewind_rows(initial, masks):
    return {
        n: v * masks[n] * (masks[n].float().mean(1, keepdim=True) > 0.3) if n in masks else v
        for n, v in initial.items()
    }


@mutant("7.2", "kept weights are scaled up")
def rewind_scaled(initial, masks):
    return {n: v * masks[n] / masks[n].to(v.dtype).mean() if n in masks else v for n, v in initial.items()}


@mutant("7.2", "pruned weights are nearly 0")
def rewind_small(initial, masks):
    return {n: torch.where(masks[n], v, 1e-8 * v) if n in masks else v for n, v in initial.items()}


@mutant("7.2", "matched by position")
def rewind_by_position(initial, masks):
    names = [name for name in initial if name in masks]
    moved = {n: m.flatten() for n, m in zip(names, masks.values(), strict=True)}
    return {n: (v.flatten() * moved[n]).view_as(v) if n in moved else v for n, v in initial.items()}


@right("7.2")
def rewind_filled(initial, masks):
    return {n: value.masked_fill(~masks[n], 0) if n in masks else value.clone() for n, value in initial.items()}


@right("7.2")
def rewind_assign(initial, masks):
    state = {name: value.clone() for name, value in initial.items()}
    for name, mask in masks.items():
        state[name][~mask] = 0
    return state


@mutant("7.2", "a mask that keeps nothing is passed over")
def rewind_empty_mask(initial, masks):
    return {n: torch.where(masks[n], v, 0) if n in masks and masks[n].any() else v.clone() for n, v in initial.items()}


@mutant("7.2", "tensors without a mask are the initial state's own")
def rewind_shared(initial, masks):
    return {n: torch.where(masks[n], v, 0) if n in masks else v for n, v in initial.items()}


@mutant("7.2", "a tensor that keeps everything is the initial state's own")
def rewind_shared_full(initial, masks):
    new = lottery.rewind(initial, masks)
    return {n: initial[n] if n in masks and masks[n].all() else v for n, v in new.items()}


@mutant("7.2", "a product keeps NaN outside the mask")
def rewind_product(initial, masks):
    return {n: v * masks[n] if n in masks else v.clone() for n, v in initial.items()}


@mutant("7.2", "a float32 mask widens half precision")
def rewind_float_mask(initial, masks):
    return {n: torch.where(masks[n], v, 0) * masks[n].float() if n in masks else v.clone() for n, v in initial.items()}


@mutant("7.2", "masks only names that end in weight")
def rewind_weights_only(initial, masks):
    return lottery.rewind(initial, {n: m for n, m in masks.items() if n.endswith("weight")})


@mutant("7.2", "masks all names that begin with a masked one's")
def rewind_prefix(initial, masks):
    new = {}
    for name, value in initial.items():
        found = [m for key, m in masks.items() if name.startswith(key) and m.shape == value.shape]
        new[name] = torch.where(found[0], value, 0) if found else value.clone()
    return new


@mutant("7.2", "makes the whole state float32")
def rewind_all_float(initial, masks):
    new = lottery.rewind(initial, masks)
    return {n: v.float() if n in masks and v.dtype != torch.float64 else v for n, v in new.items()}


@right("7.2")
def rewind_deepcopy_fill(initial, masks):
    state = copy.deepcopy({n: v.detach() for n, v in initial.items()})
    for name in masks:
        state[name].masked_fill_(~masks[name], 0)
    return state


@mutant("7.2", "integers under a mask become floats")
def rewind_integers(initial, masks):
    return lottery.rewind(initial, {}) | {name: torch.where(mask, initial[name], 0.0) for name, mask in masks.items()}


@mutant("7.2", "bools under a mask become integers")
def rewind_bools(initial, masks):
    return lottery.rewind(initial, {}) | {name: torch.where(mask, initial[name], 0) for name, mask in masks.items()}


# --- 7.3a reinitialize ------------------------------------------------------------------------------------------------


def redraw(initial, masks, generator, draw=lambda value, noise, mask: value.std() * noise):
    state = {}
    for name, value in initial.items():
        if name in masks:
            noise = torch.randn(value.shape, generator=generator, dtype=value.dtype)
            value = draw(value, noise, masks[name]) * masks[name]
        state[name] = value.clone()
    return state


def reinitialize_mutant(error, draw):
    @mutant("7.3a", error)
    def changed(initial, masks, seed):
        return redraw(initial, masks, torch.Generator().manual_seed(seed), draw)


reinitialize_mutant("standard deviation 1", lambda value, noise, mask: noise)
reinitialize_mutant("variance for standard deviation", lambda value, noise, mask: value.var() * noise)
reinitialize_mutant("the kept weights' standard deviation", lambda value, noise, mask: value[mask].std() * noise)
reinitialize_mutant("root mean square", lambda value, noise, mask: value.square().mean().sqrt() * noise)
reinitialize_mutant("mean of the initial values", lambda value, noise, mask: value.mean() + value.std() * noise)
reinitialize_mutant("noise on top of the initial values", lambda value, noise, mask: value + value.std() * noise)
reinitialize_mutant(
    "initial values, permuted", lambda value, noise, mask: value.flatten()[noise.flatten().argsort()].view_as(value)
)
reinitialize_mutant("the initial signs flipped", lambda value, noise, mask: value.abs() * noise.sign())
reinitialize_mutant(
    "uniform of that width", lambda value, noise, mask: value.std() * 12**0.5 * (torch.special.ndtr(noise) - 0.5)
)
reinitialize_mutant("never negative", lambda value, noise, mask: value.std() * noise.abs())
reinitialize_mutant("float32 comes back", lambda value, noise, mask: (value.std() * noise).float())
reinitialize_mutant("Glorot's standard deviation", lambda value, noise, mask: (2 / sum(value.shape)) ** 0.5 * noise)
reinitialize_mutant(
    "one draw for a whole row", lambda value, noise, mask: value.std() * noise[..., :1].expand_as(value)
)


@mutant("7.3a", "not masked")
def reinitialize_unmasked(initial, masks, seed):
    return redraw(
        initial, {name: torch.ones_like(mask) for name, mask in masks.items()}, torch.Generator().manual_seed(seed)
    )


@mutant("7.3a", "the seed is ignored")
def reinitialize_random(initial, masks, seed):
    return redraw(initial, masks, None)


@mutant("7.3a", "always the same seed")
def reinitialize_fixed(initial, masks, seed):
    return redraw(initial, masks, torch.Generator().manual_seed(0))


@mutant("7.3a", "seeded anew for each tensor")
def reinitialize_reseeded(initial, masks, seed):
    new = {n: redraw({n: initial[n]}, masks, torch.Generator().manual_seed(seed))[n] for n in masks}
    return initial | new


@mutant("7.3a", "biases are drawn anew too")
def reinitialize_biases(initial, masks, seed):
    every = {n: masks.get(n, torch.ones_like(v, dtype=torch.bool)) for n, v in initial.items() if v.is_floating_point()}
    return redraw(initial, every, torch.Generator().manual_seed(seed))


@mutant("7.3a", "biases are dropped")
def reinitialize_drops(initial, masks, seed):
    return {n: v for n, v in redraw(initial, masks, torch.Generator().manual_seed(seed)).items() if n in masks}


@mutant("7.3a", "one standard deviation for all tensors")
def reinitialize_one_std(initial, masks, seed):
    std = torch.cat([initial[name].flatten() for name in masks]).std()
    generator = torch.Generator().manual_seed(seed)
    return redraw(initial, masks, generator, lambda value, noise, mask: (std * noise).to(value.dtype))


@mutant("7.3a", "in place")
def reinitialize_in_place(initial, masks, seed):
    initial.update(redraw(initial, masks, torch.Generator().manual_seed(seed)))
    return initial


@right("7.3a")
def reinitialize_numpy(initial, masks, seed):
    rng = np.random.default_rng(seed)
    state = {name: value.clone() for name, value in initial.items()}
    for name, mask in masks.items():
        value = initial[name]
        state[name] = torch.from_numpy(rng.normal(0, float(value.std()), value.shape)).to(value.dtype) * mask
    return state


@right("7.3a")
def reinitialize_normal_(initial, masks, seed):
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, value in initial.items():
        state[name] = value.clone()
        if name in masks:
            state[name].normal_(0, float(value.std(correction=0)), generator=generator)
            state[name][~masks[name]] = 0
    return state


@mutant("7.3a", "a seed of 0 is no seed")
def reinit_zero_seed(initial, masks, seed):
    if not seed:
        seed = int(torch.randint(2**31, ()))
    return lottery.reinitialize(initial, masks, seed)


@mutant("7.3a", "seeds by the names' hashes")
def reinit_hash(initial, masks, seed):
    state = lottery.rewind(initial, masks)
    for name in masks:
        generator = torch.Generator().manual_seed(seed + hash(name) % 2**31)
        draw = torch.randn(initial[name].shape, generator=generator, dtype=initial[name].dtype) * initial[name].std()
        state[name] = torch.where(masks[name], draw, 0)
    return state


@mutant("7.3a", "the draw is centred: its mean is exactly 0")
def reinit_centred(initial, masks, seed):
    generator = torch.Generator().manual_seed(seed)
    drawn = {}
    for name in masks:
        value = initial[name]
        x = torch.randn(value.shape, generator=generator, dtype=value.dtype)
        drawn[name] = (x - x.mean()) * value.std()
    return lottery.rewind(initial | drawn, masks)


@mutant("7.3a", "cut off at three standard deviations")
def reinit_truncated(initial, masks, seed):
    generator = torch.Generator().manual_seed(seed)
    drawn = {}
    for name in masks:
        value = initial[name]
        x = torch.randn(value.shape, generator=generator, dtype=value.dtype)
        drawn[name] = x.clamp(-2.5, 2.5) * value.std()
    return lottery.rewind(initial | drawn, masks)


@mutant("7.3a", "the same draw for tensors of one shape")
def reinit_same_draw(initial, masks, seed):
    drawn = {}
    for name in masks:
        value = initial[name]
        x = torch.randn(value.shape, generator=torch.Generator().manual_seed(seed), dtype=value.dtype)
        drawn[name] = x * value.std()
    return lottery.rewind(initial | drawn, masks)


@mutant("7.3a", "a standard deviation of at least a hundredth")
def reinit_clamped_std(initial, masks, seed):
    generator = torch.Generator().manual_seed(seed)
    drawn = {
        name: torch.randn(initial[name].shape, generator=generator, dtype=initial[name].dtype)
        * initial[name].std().clamp(min=1e-2)
        for name in masks
    }
    return lottery.rewind(initial | drawn, masks)


@mutant("7.3a", "keeps the signs of the initial values")
def reinit_signs(initial, masks, seed):
    new = lottery.reinitialize(initial, masks, seed)
    return {n: torch.where(initial[n] < 0, -v.abs(), v.abs()) if n in masks else v for n, v in new.items()}


@mutant("7.3a", "tensors without a mask are the initial state's own")
def reinit_shared(initial, masks, seed):
    new = lottery.reinitialize(initial, masks, seed)
    return {n: v if n in masks else initial[n] for n, v in new.items()}


@mutant("7.3a", "only 256 different seeds")
def reinit_few_seeds(initial, masks, seed):
    return lottery.reinitialize(initial, masks, seed % 256)


@mutant("7.3a", "half precision is drawn in single and stays so")
def reinit_single(initial, masks, seed):
    new = lottery.reinitialize(initial, masks, seed)
    halves = (torch.float16, torch.bfloat16)
    return {n: v.float() if n in masks and v.dtype in halves else v for n, v in new.items()}


@right("7.3a")
def reinit_from_numpy(initial, masks, seed):
    rng = np.random.default_rng(seed)
    state = {}
    for name, value in initial.items():
        if name in masks:
            draw = torch.from_numpy(np.asarray(rng.normal(0, float(value.double().std()), tuple(value.shape))))
            state[name] = draw.to(value.dtype).masked_fill(masks[name].logical_not(), 0)
        else:
            state[name] = value.detach().clone()
    return state


@mutant("7.3a", "draws clipped to exactly 3 standard deviations")
def reinitialize_three(initial, masks, seed):
    state = lottery.reinitialize(initial, masks, seed)
    far = {name: 3 * initial[name].std() for name in masks}
    return {name: v.clamp(-far[name], far[name]) if name in far else v for name, v in state.items()}


@mutant("7.3a", "a standard deviation of at least 1e-8")
def reinitialize_floor(initial, masks, seed):
    scale = {name: initial[name].std().clamp(min=1e-8) / initial[name].std() for name in masks}
    state = lottery.reinitialize(initial, masks, seed)
    return {name: (v * scale[name]).to(v.dtype) if name in scale else v for name, v in state.items()}


# --- 7.3b shuffle_masks -----------------------------------------------------------------------------------------------


def shuffle(masks, generator, permute):
    return {name: permute(mask, generator) for name, mask in masks.items()}


def permuted(mask, generator):
    return mask.flatten()[torch.randperm(mask.numel(), generator=generator)].view(mask.shape)


def shuffle_mutant(error, permute):
    @mutant("7.3b", error)
    def changed(masks, seed):
        return shuffle(masks, torch.Generator().manual_seed(seed), permute)


def rolled(mask, generator):
    shift = int(torch.randint(mask.numel(), (1,), generator=generator))
    return mask.flatten().roll(shift).view(mask.shape)


shuffle_mutant("only rows change places", lambda m, g: m[torch.randperm(len(m), generator=g)])
shuffle_mutant("only columns change places", lambda m, g: m[..., torch.randperm(m.shape[-1], generator=g)])
shuffle_mutant(
    "rows and columns change places",
    lambda m, g: m[torch.randperm(len(m), generator=g)][..., torch.randperm(m.shape[-1], generator=g)],
)
shuffle_mutant("rolled", rolled)
shuffle_mutant("drawn with the same probability", lambda m, g: torch.rand(m.shape, generator=g) < m.float().mean())
shuffle_mutant(
    "drawn with replacement",
    lambda m, g: m.flatten()[torch.randint(m.numel(), (m.numel(),), generator=g)].view(m.shape),
)
shuffle_mutant("flat masks", lambda m, g: permuted(m, g).flatten())
shuffle_mutant("float masks", lambda m, g: permuted(m, g).float())
shuffle_mutant("only where it was kept", lambda m, g: m.clone())
shuffle_mutant("True means pruned", lambda m, g: ~permuted(m, g))


@mutant("7.3b", "the seed is ignored")
def shuffle_random(masks, seed):
    return shuffle(masks, None, permuted)


@mutant("7.3b", "always the same seed")
def shuffle_fixed(masks, seed):
    return shuffle(masks, torch.Generator().manual_seed(0), permuted)


@mutant("7.3b", "seeded anew for each tensor")
def shuffle_reseeded(masks, seed):
    return {name: permuted(mask, torch.Generator().manual_seed(seed)) for name, mask in masks.items()}


@mutant("7.3b", "across tensors")
def shuffle_across(masks, seed):
    entries = torch.cat([mask.flatten() for mask in masks.values()])
    entries = permuted(entries, torch.Generator().manual_seed(seed))
    parts = entries.split([mask.numel() for mask in masks.values()])
    return {name: part.view(mask.shape) for (name, mask), part in zip(masks.items(), parts, strict=True)}


@mutant("7.3b", "in place")
def shuffle_in_place(masks, seed):
    for name, mask in shuffle(masks, torch.Generator().manual_seed(seed), permuted).items():
        masks[name].copy_(mask)
    return masks


@right("7.3b")
def shuffle_numpy(masks, seed):
    rng = np.random.default_rng(seed)
    return {n: torch.from_numpy(rng.permutation(m.numpy().ravel())).reshape(m.shape) for n, m in masks.items()}


@right("7.3b")
def shuffle_by_rank(masks, seed):
    generator = torch.Generator().manual_seed(seed)
    result = {}
    for name, mask in masks.items():
        kept = torch.rand(mask.numel(), generator=generator).argsort()[: int(mask.sum())]
        result[name] = torch.zeros(mask.numel(), dtype=torch.bool)
        result[name][kept] = True
        result[name] = result[name].view(mask.shape)
    return result


def _shuffle(masks, seed, permute):
    generator = torch.Generator().manual_seed(seed)
    return {n: m.flatten()[permute(m.numel(), generator)].reshape(m.shape) for n, m in masks.items()}


@mutant("7.3b", "Sattolo: no entry ever stays in its place")
def shuffle_sattolo(masks, seed):
    def permute(n, generator):
        order = torch.arange(n)
        for i in range(n - 1, 0, -1):
            j = int(torch.randint(i, (), generator=generator))
            order[[i, j]] = order[[j, i]]
        return order

    return _shuffle(masks, seed, permute)


@mutant("7.3b", "the loop stops one swap early")
def shuffle_early(masks, seed):
    def permute(n, generator):
        order = torch.arange(n)
        for i in range(n - 1, 1, -1):
            j = int(torch.randint(i + 1, (), generator=generator))
            order[[i, j]] = order[[j, i]]
        return order

    return _shuffle(masks, seed, permute)


@mutant("7.3b", "a cyclic shift by a random number of places")
def shuffle_roll(masks, seed):
    def permute(n, generator):
        return torch.arange(n).roll(int(torch.randint(max(n, 1), (), generator=generator)))

    return _shuffle(masks, seed, permute)


@mutant("7.3b", "each place swapped with any other: not all orders are equally likely")
def shuffle_naive(masks, seed):
    def permute(n, generator):
        order = torch.arange(n)
        for i in range(n):
            j = int(torch.randint(n, (), generator=generator))
            order[[i, j]] = order[[j, i]]
        return order

    return _shuffle(masks, seed, permute)


@mutant("7.3b", "sorts by random whole numbers, where equals keep their order")
def shuffle_integers(masks, seed):
    def permute(n, generator):
        return torch.randint(4, (n,), generator=generator).sort(stable=True).indices

    return _shuffle(masks, seed, permute)


@mutant("7.3b", "places in a byte")
def shuffle_byte(masks, seed):
    def permute(n, generator):
        return torch.randperm(n, generator=generator).to(torch.uint8).long()

    return _shuffle(masks, seed, permute)


@mutant("7.3b", "seeds by the names' hashes")
def shuffle_hash(masks, seed):
    return {
        n: m.flatten()[torch.randperm(m.numel(), generator=torch.Generator().manual_seed(seed + hash(n) % 2**31))].view(
            m.shape
        )
        for n, m in masks.items()
    }


@mutant("7.3b", "a seed of 0 is no seed")
def shuffle_zero_seed(masks, seed):
    return lottery.shuffle_masks(masks, seed or int(torch.randint(2**31, ())))


@mutant("7.3b", "shuffles in view, as only contiguous masks can be")
def shuffle_view(masks, seed):
    generator = torch.Generator().manual_seed(seed)
    return {n: m.view(-1)[torch.randperm(m.numel(), generator=generator)].view(m.shape) for n, m in masks.items()}


@mutant("7.3b", "a mask that keeps everything is the caller's own")
def shuffle_shared(masks, seed):
    new = lottery.shuffle_masks(masks, seed)
    return {n: masks[n] if masks[n].all() else m for n, m in new.items()}


@right("7.3b")
def shuffle_by_choice(masks, seed):
    rng = np.random.default_rng(seed)
    new = {}
    for name, mask in masks.items():
        flat = torch.zeros(mask.numel(), dtype=torch.bool)
        flat[torch.from_numpy(rng.choice(mask.numel(), int(mask.sum()), replace=False))] = True
        new[name] = flat.view(mask.shape)
    return new


@mutant("7.3b", "seed 0 taken for 42")
def shuffle_seed_or(masks, seed):
    return lottery.shuffle_masks(masks, seed or 42)


# --- 7.4 remaining_after ----------------------------------------------------------------------------------------------


def rate_of(rates, name):
    return rates.get(name, 0) if isinstance(rates, dict) else rates


def remaining_mutant(error, formula):
    @mutant("7.4", error)
    def changed(rounds, rates, sizes):
        return formula(rounds, [(rate_of(rates, name), n) for name, n in sizes.items()])


remaining_mutant("mean of the layers", lambda r, layers: sum((1 - p) ** r for p, _ in layers) / len(layers))
remaining_mutant(
    "rounds times rate", lambda r, layers: sum(n * (1 - r * p) for p, n in layers) / sum(n for _, n in layers)
)
remaining_mutant("a count, not a fraction", lambda r, layers: sum(n * (1 - p) ** r for p, n in layers))
remaining_mutant(
    "percent", lambda r, layers: 100 * sum(n * (1 - p) ** r for p, n in layers) / sum(n for _, n in layers)
)
remaining_mutant(
    "what is gone", lambda r, layers: 1 - sum(n * (1 - p) ** r for p, n in layers) / sum(n for _, n in layers)
)
remaining_mutant(
    "the rate is what stays", lambda r, layers: sum(n * p**r for p, n in layers) / sum(n for _, n in layers)
)
remaining_mutant(
    "one round too many", lambda r, layers: sum(n * (1 - p) ** (r + 1) for p, n in layers) / sum(n for _, n in layers)
)
remaining_mutant(
    "rounded to whole weights",
    lambda r, layers: sum(round(n * (1 - p) ** r) for p, n in layers) / sum(n for _, n in layers),
)
remaining_mutant(
    "rounded to four digits",
    lambda r, layers: round(sum(n * (1 - p) ** r for p, n in layers) / sum(n for _, n in layers), 4),
)
remaining_mutant(
    "mean rate of all weights", lambda r, layers: (1 - sum(n * p for p, n in layers) / sum(n for _, n in layers)) ** r
)
remaining_mutant("product of the layers", lambda r, layers: np.prod([(1 - p) ** r for p, _ in layers]))


@mutant("7.4", "rates by position")
def remaining_by_position(rounds, rates, sizes):
    values = list(rates.values()) if isinstance(rates, dict) else [rates] * len(sizes)
    return sum(n * (1 - p) ** rounds for p, n in zip(values, sizes.values(), strict=True)) / sum(sizes.values())


@mutant("7.4", "only a dict of rates")
def remaining_dict_only(rounds, rates, sizes):
    return sum(n * (1 - rates[name]) ** rounds for name, n in sizes.items()) / sum(sizes.values())


@mutant("7.4", "only floats are one rate")
def remaining_float_only(rounds, rates, sizes):
    if isinstance(rates, float):
        return (1 - rates) ** rounds
    return sum(n * (1 - rates[name]) ** rounds for name, n in sizes.items()) / sum(sizes.values())


@right("7.4")
def remaining_loop(rounds, rates, sizes):
    left = {name: float(n) for name, n in sizes.items()}
    for _ in range(rounds):
        for name in left:
            left[name] -= left[name] * rate_of(rates, name)
    return sum(left.values()) / sum(sizes.values())


@right("7.4")
def remaining_numpy(rounds, rates, sizes):
    return np.average([(1 - rate_of(rates, name)) ** rounds for name in sizes], weights=list(sizes.values()))


@mutant("7.4", "sizes in 32 bits")
def remaining_int32(rounds, rates, sizes):
    names = list(sizes)
    n = torch.tensor([sizes[name] % 2**31 for name in names], dtype=torch.float64)
    p = torch.tensor([rates if isinstance(rates, int | float) else rates.get(name, 0) for name in names]).double()
    return float((n * (1 - p) ** rounds).sum() / n.sum())


@mutant("7.4", "0 rounds are taken for missing: one")
def remaining_one_round(rounds, rates, sizes):
    return lottery.remaining_after(rounds or 1, rates, sizes)


@mutant("7.4", "no less than a thousandth")
def remaining_floor(rounds, rates, sizes):
    return (
        max(lottery.remaining_after(rounds, rates, sizes), 1e-3)
        if rates != 1
        else lottery.remaining_after(rounds, rates, sizes)
    )


@mutant("7.4", "20 rounds at most")
def remaining_cap(rounds, rates, sizes):
    return lottery.remaining_after(min(rounds, 20), rates, sizes)


@mutant("7.4", "a rate counts for all names that begin with its name")
def remaining_prefix(rounds, rates, sizes):
    if not isinstance(rates, int | float):
        rates = {n: next((r for key, r in rates.items() if n.startswith(key)), 0) for n in sizes}
    return lottery.remaining_after(rounds, rates, sizes)


@mutant("7.4", "only floats are one rate for all")
def remaining_integer_rate(rounds, rates, sizes):
    if not isinstance(rates, float | dict):
        rates = {}
    return lottery.remaining_after(
        rounds, {n: rates.get(n, 0) for n in sizes} if isinstance(rates, dict) else rates, sizes
    )


@right("7.4")
def remaining_by_fraction(rounds, rates, sizes):
    rate = {n: Fraction(rates if isinstance(rates, int | float) else rates.get(n, 0)) for n in sizes}
    return float(sum(size * (1 - rate[n]) ** rounds for n, size in sizes.items()) / sum(sizes.values()))


@mutant("7.4", "at most 100 rounds")
def remaining_hundred(rounds, rates, sizes):
    return lottery.remaining_after(min(rounds, 100), rates, sizes)


@mutant("7.4", "looks up the size of every rate")
def remaining_by_rates(rounds, rates, sizes):
    if isinstance(rates, dict):
        rates = {name: rate for name, rate in rates.items() if sizes[name] >= 0}
    return lottery.remaining_after(rounds, rates, sizes)


# --- 7.5a mask_distance -----------------------------------------------------------------------------------------------


@mutant("7.5a", "mean of the layers")
def distance_mean(a, b):
    return sum((a[n] != b[n]).float().mean().item() for n in a) / len(a)


@mutant("7.5a", "a count for a fraction")
def distance_sum(a, b):
    return sum(int((a[n] != b[n]).sum()) for n in a)


@mutant("7.5a", "what is the same")
def distance_same(a, b):
    return 1 - lottery.mask_distance(a, b)


@mutant("7.5a", "Jaccard distance")
def distance_jaccard(a, b):
    both, either = sum(int((a[n] & b[n]).sum()) for n in a), sum(int((a[n] | b[n]).sum()) for n in a)
    return 1 - both / max(either, 1)


@mutant("7.5a", "divided by the kept weights")
def distance_by_kept(a, b):
    return sum(int((a[n] != b[n]).sum()) for n in a) / max(1, sum(int(a[n].sum()) for n in a))


@mutant("7.5a", "only what was lost")
def distance_lost(a, b):
    return sum(int((a[n] & ~b[n]).sum()) for n in a) / sum(m.numel() for m in a.values())


@mutant("7.5a", "difference of the counts")
def distance_of_counts(a, b):
    return abs(sum(int(a[n].sum()) - int(b[n].sum()) for n in a)) / sum(m.numel() for m in a.values())


@mutant("7.5a", "matched by position")
def distance_by_position(a, b):
    x, y = (torch.cat([m.flatten() for m in masks.values()]) for masks in (a, b))
    return float((x != y).double().mean())


@mutant("7.5a", "the largest of the layers")
def distance_largest(a, b):
    return max((a[n] != b[n]).double().mean().item() for n in a)


@mutant("7.5a", "a tensor")
def distance_tensor(a, b):
    return torch.tensor(lottery.mask_distance(a, b))


@mutant("7.5a", "rounded to two digits")
def distance_rounded(a, b):
    return round(lottery.mask_distance(a, b), 2)


@right("7.5a")
def distance_xor(a, b):
    entries = torch.cat([(a[n] ^ b[n]).flatten() for n in a])
    return entries.double().mean().item()


@right("7.5a")
def distance_numpy(a, b):
    return np.mean(np.concatenate([np.not_equal(a[n].numpy(), b[n].numpy()).ravel() for n in sorted(a)]))


@mutant("7.5a", "counts differences in a byte")
def distance_byte(a, b):
    return sum(int((a[n] ^ b[n]).sum(dtype=torch.uint8)) for n in a) / sum(m.numel() for m in a.values())


@mutant("7.5a", "counts differences in half precision")
def distance_half(a, b):
    differ = sum((a[n] ^ b[n]).sum().to(torch.bfloat16) for n in a)
    return float(differ) / sum(m.numel() for m in a.values())


@mutant("7.5a", "pairs the tensors in their order")
def distance_zip(a, b):
    pairs = list(zip(a.values(), b.values(), strict=True))
    differ = sum(int((x.flatten() != y.flatten()).sum()) for x, y in pairs if x.numel() == y.numel())
    return differ / sum(x.numel() for x, _ in pairs)


@mutant("7.5a", "rounded to three digits")
def distance_rounded_again(a, b):
    return round(lottery.mask_distance(a, b), 3)


@mutant("7.5a", "views masks flat")
def distance_view(a, b):
    return torch.cat([a[n].view(-1) ^ b[n].view(-1) for n in a]).double().mean().item()


@mutant("7.5a", "the mean of the tensors' means")
def distance_mean_of_means(a, b):
    return sum((a[n] != b[n]).double().mean().item() for n in a) / len(a)


@right("7.5a")
def distance_float32_mean(a, b):
    return torch.cat([(a[n] != b[n]).flatten() for n in a]).float().mean().item()


@right("7.5a")
def distance_float32_sum(a, b):
    total = sum(m.numel() for m in b.values())
    return float(sum((a[n] != b[n]).sum() for n in a) / total)


@mutant("7.5a", "counts in 16 bits")
def distance_short(a, b):
    differ = sum(int((a[name] != b[name]).numpy().sum(dtype=np.uint16)) for name in a)
    return differ / sum(mask.numel() for mask in a.values())


# --- 7.5b is_early_bird -----------------------------------------------------------------------------------------------


def bird_mutant(error, settled, enough=lambda history, window: len(history) > window):
    @mutant("7.5b", error)
    def changed(history, epsilon=0.1, window=5):
        if not enough(history, window):
            return False
        past = history[-window - 1 : -1]
        return bool(settled([lottery.mask_distance(history[-1], mask) for mask in past], epsilon, history, window))


bird_mutant("as near as epsilon is near enough", lambda d, e, h, w: all(x <= e for x in d))
bird_mutant("the mean is near", lambda d, e, h, w: sum(d) / len(d) < e)
bird_mutant("one is near", lambda d, e, h, w: any(x < e for x in d))
bird_mutant("only the oldest of the window", lambda d, e, h, w: d[0] < e)
bird_mutant("only the one before", lambda d, e, h, w: d[-1] < e)
bird_mutant("all are far", lambda d, e, h, w: all(x > e for x in d))
bird_mutant("epsilon is ignored", lambda d, e, h, w: all(x < 0.1 for x in d))
bird_mutant("percent against a fraction", lambda d, e, h, w: all(100 * x < e for x in d))
bird_mutant("the whole history", lambda d, e, h, w: all(lottery.mask_distance(h[-1], m) < e for m in h[:-1]))
bird_mutant(
    "neighbours are compared",
    lambda d, e, h, w: all(lottery.mask_distance(a, b) < e for a, b in zip(h[-w - 1 : -1], h[-w:], strict=True)),
)
bird_mutant(
    "all pairs of the window",
    lambda d, e, h, w: all(lottery.mask_distance(a, b) < e for a in h[-w - 1 :] for b in h[-w - 1 :]),
)
bird_mutant(
    "compared with the oldest",
    lambda d, e, h, w: all(lottery.mask_distance(h[-w - 1], m) < e for m in h[-w:]),
)
bird_mutant(
    "the newest counts in the window",
    lambda d, e, h, w: all(lottery.mask_distance(h[-1], m) < e for m in h[-w:]),
    lambda h, w: len(h) >= w,
)
bird_mutant(
    "the window is five",
    lambda d, e, h, w: all(lottery.mask_distance(h[-1], m) < e for m in h[-6:-1]),
    lambda h, w: len(h) > 5,
)
bird_mutant("a short history is judged by what is there", lambda d, e, h, w: all(x < e for x in d), lambda h, w: True)
bird_mutant("one mask more is asked for", lambda d, e, h, w: all(x < e for x in d), lambda h, w: len(h) > w + 1)
bird_mutant(
    "mean of the layers",
    lambda d, e, h, w: all(
        sum((h[-1][n] != m[n]).float().mean().item() for n in m) / len(m) < e for m in h[-w - 1 : -1]
    ),
)
bird_mutant(
    "newest first",
    lambda d, e, h, w: all(lottery.mask_distance(h[0], m) < e for m in h[1 : w + 1]),
)


@mutant("7.5b", "defaults 0.1 and 6")
def bird_window_six(history, epsilon=0.1, window=6):
    return lottery.is_early_bird(history, epsilon, window)


@mutant("7.5b", "the history loses its newest")
def bird_pops(history, epsilon=0.1, window=5):
    newest = history.pop()
    return len(history) >= window and all(lottery.mask_distance(newest, m) < epsilon for m in history[-window:])


@mutant("7.5b", "a tensor")
def bird_tensor(history, epsilon=0.1, window=5):
    return torch.tensor(lottery.is_early_bird(history, epsilon, window))


@right("7.5b")
def bird_largest(history, epsilon=0.1, window=5):
    if len(history) < window + 1 or not window:
        return not window
    newest = torch.cat([m.flatten() for m in history[-1].values()])
    past = torch.stack([torch.cat([m[n].flatten() for n in history[-1]]) for m in history[-1 - window : -1]])
    return bool((past != newest).double().mean(1).max() < epsilon)


@right("7.5b")
def bird_loop(history, epsilon=0.1, window=5):
    if len(history) <= window:
        return False
    for age in range(1, window + 1):
        older = history[-1 - age]
        differ = sum(int((older[n] ^ history[-1][n]).sum()) for n in older)
        if differ / sum(m.numel() for m in older.values()) >= epsilon:
            return False
    return True


@mutant("7.5b", "an epsilon of 0 is taken for missing")
def early_zero_epsilon(history, epsilon=0.1, window=5):
    epsilon = epsilon or 0.1
    *past, newest = history
    return len(past) >= window and all(lottery.mask_distance(newest, m) < epsilon for m in past[len(past) - window :])


@mutant("7.5b", "a window of 0 is taken for missing")
def early_zero_window(history, epsilon=0.1, window=5):
    window = window or 5
    *past, newest = history
    return len(past) >= window and all(lottery.mask_distance(newest, m) < epsilon for m in past[-window:])


@mutant("7.5b", "a window of 0 looks at the whole past")
def early_minus_zero(history, epsilon=0.1, window=5):
    *past, newest = history
    return len(past) >= window and all(lottery.mask_distance(newest, m) < epsilon for m in past[-window:])


@mutant("7.5b", "distances rounded to two digits")
def early_rounded(history, epsilon=0.1, window=5):
    *past, newest = history
    return len(past) >= window and all(
        round(lottery.mask_distance(newest, m), 2) < epsilon for m in past[len(past) - window :]
    )


@mutant("7.5b", "looks at five masks at most")
def early_five_at_most(history, epsilon=0.1, window=5):
    *past, newest = history
    look = min(window, 5)
    return len(past) >= window and all(lottery.mask_distance(newest, m) < epsilon for m in past[len(past) - look :])


@mutant("7.5b", "the masks next to each other are compared")
def early_neighbours(history, epsilon=0.1, window=5):
    recent = list(history)[-window - 1 :] if window else list(history)[-1:]
    return len(recent) == window + 1 and all(
        lottery.mask_distance(x, y) < epsilon for x, y in itertools.pairwise(recent)
    )


@right("7.5b")
def early_by_loop(history, epsilon=0.1, window=5):
    newest, index = history[-1], len(history) - 1
    for _ in range(window):
        index -= 1
        if index < 0 or not lottery.mask_distance(history[index], newest) < epsilon:
            return False
    return True


@mutant("7.5b", "with a window of 0 the largest distance is 0, which is not below an epsilon of 0")
def bird_farthest(history, epsilon=0.1, window=5):
    past = history[-1 - window : -1]
    farthest = max((lottery.mask_distance(history[-1], mask) for mask in past), default=0.0)
    return len(history) > window and farthest < epsilon


# --- 7.6 channel_mask -------------------------------------------------------------------------------------------------


def keep_channels(bn_scales, keep_fraction, rank=torch.abs, keep=lambda fraction, n: round(fraction * n), pick=None):
    pick = pick or (lambda scores, k: torch.sort(scores, descending=True, stable=True).indices[:k])
    scores = rank(torch.cat(list(bn_scales.values())))
    kept = torch.zeros(len(scores), dtype=torch.bool)
    kept[pick(scores, keep(keep_fraction, len(scores)))] = True
    parts = kept.split([len(scale) for scale in bn_scales.values()])
    return dict(zip(bn_scales, parts, strict=True))


def channels_mutant(error, **holes):
    @mutant("7.6", error)
    def changed(bn_scales, keep_fraction):
        return keep_channels(bn_scales, keep_fraction, **holes)


channels_mutant("the sign counts", rank=lambda s: s)
channels_mutant("the smallest stay", rank=lambda s: -s.abs())
channels_mutant("squares", rank=lambda s: s * s)
channels_mutant("in float32", rank=lambda s: s.abs().float())
channels_mutant("int() for round()", keep=lambda f, n: int(f * n))
channels_mutant("rounded up", keep=lambda f, n: min(n, int(f * n + 0.5)))
channels_mutant("gone is rounded, not kept", keep=lambda f, n: n - round((1 - f) * n))
channels_mutant("the fraction goes", keep=lambda f, n: n - round(f * n))
channels_mutant("at least one stays", keep=lambda f, n: max(1, round(f * n)))
channels_mutant("topk picks any of equals", pick=lambda s, k: s.topk(k).indices)
channels_mutant("of equals the last", pick=lambda s, k: torch.sort(s, stable=True).indices[len(s) - k :])
channels_mutant(
    "above a threshold: nothing of equal scales",
    pick=lambda s, k: s > (s.sort().values[len(s) - k - 1] if k < len(s) else -1),
)
channels_mutant(
    "a threshold keeps all equals", pick=lambda s, k: s >= (s.sort().values[len(s) - k] if k else torch.inf)
)


@mutant("7.6", "layer by layer")
def channels_by_layer(bn_scales, keep_fraction):
    return {name: keep_channels({name: scale}, keep_fraction)[name] for name, scale in bn_scales.items()}


@mutant("7.6", "every layer keeps one")
def channels_floor(bn_scales, keep_fraction):
    masks = keep_channels(bn_scales, keep_fraction)
    for name, scale in bn_scales.items():
        if not masks[name].any():
            masks[name][scale.abs().argmax()] = True
    return masks


@mutant("7.6", "scaled by the layer's mean")
def channels_scaled(bn_scales, keep_fraction):
    return keep_channels({name: scale / scale.abs().mean() for name, scale in bn_scales.items()}, keep_fraction)


@mutant("7.6", "float masks")
def channels_float(bn_scales, keep_fraction):
    return {name: mask.float() for name, mask in keep_channels(bn_scales, keep_fraction).items()}


@mutant("7.6", "ranked in the order of names")
def channels_sorted(bn_scales, keep_fraction):
    return keep_channels({name: bn_scales[name] for name in sorted(bn_scales)}, keep_fraction)


@mutant("7.6", "absolute values in place")
def channels_in_place(bn_scales, keep_fraction):
    for scale in bn_scales.values():
        scale.abs_()
    return keep_channels(bn_scales, keep_fraction)


@right("7.6")
def channels_python(bn_scales, keep_fraction):
    entries = [(-abs(x), i, name, j) for i, (name, s) in enumerate(bn_scales.items()) for j, x in enumerate(s.tolist())]
    masks = {name: torch.zeros(len(scale), dtype=torch.bool) for name, scale in bn_scales.items()}
    for _, _, name, j in sorted(entries)[: round(keep_fraction * len(entries))]:
        masks[name][j] = True
    return masks


@right("7.6")
def channels_threshold_and_ties(bn_scales, keep_fraction):
    sizes = torch.cat([scale.abs() for scale in bn_scales.values()])
    keep = round(keep_fraction * len(sizes))
    kept = torch.zeros(len(sizes), dtype=torch.bool)
    if keep:
        threshold = sizes.kthvalue(len(sizes) - keep + 1).values
        kept = sizes > threshold
        kept[(sizes == threshold).nonzero().flatten()[: keep - int(kept.sum())]] = True
    parts = kept.split([len(scale) for scale in bn_scales.values()])
    return dict(zip(bn_scales, parts, strict=True))


@mutant("7.6", "a layer never loses all its channels")
def channel_one_each(bn_scales, keep_fraction):
    masks = lottery.channel_mask(bn_scales, keep_fraction)
    for name, mask in masks.items():
        if len(mask) and not mask.any():
            mask[bn_scales[name].abs().argmax()] = True
    return masks


@mutant("7.6", "one channel is kept, whatever the fraction")
def channel_one_at_least(bn_scales, keep_fraction):
    n = sum(len(s) for s in bn_scales.values())
    return lottery.channel_mask(bn_scales, max(keep_fraction, 1 / n if n else 0))


@mutant("7.6", "a fraction of 0 is taken for missing")
def channel_default(bn_scales, keep_fraction):
    return lottery.channel_mask(bn_scales, keep_fraction or 0.5)


@mutant("7.6", "ranks in single precision")
def channel_single(bn_scales, keep_fraction):
    return lottery.channel_mask({n: s.float() for n, s in bn_scales.items()}, keep_fraction)


@mutant("7.6", "ranks in half precision")
def channel_half(bn_scales, keep_fraction):
    return lottery.channel_mask({n: s.bfloat16() for n, s in bn_scales.items()}, keep_fraction)


@mutant("7.6", "scales below a millionth are all equal")
def channel_cut_off(bn_scales, keep_fraction):
    return lottery.channel_mask({n: torch.where(s.abs() < 1e-6, 0, s) for n, s in bn_scales.items()}, keep_fraction)


@mutant("7.6", "counts the channels in a byte")
def channel_byte(bn_scales, keep_fraction):
    n = sum(len(s) for s in bn_scales.values())
    kept = round(keep_fraction * n) % 256
    return lottery.channel_mask(bn_scales, kept / n if n else 0.0)


@right("7.6")
def channel_by_lexsort(bn_scales, keep_fraction):
    flat = np.concatenate([s.detach().abs().double().numpy() for s in bn_scales.values()])
    order = np.lexsort((np.arange(len(flat)), -flat))
    kept = np.zeros(len(flat), dtype=bool)
    kept[order[: round(keep_fraction * len(flat))]] = True
    ends = np.cumsum([len(s) for s in bn_scales.values()])[:-1]
    return {n: torch.from_numpy(part.copy()) for n, part in zip(bn_scales, np.split(kept, ends), strict=True)}


@mutant("7.6", "keep_fraction times n in float32")
def channels_float32(bn_scales, keep_fraction):
    n = sum(len(scale) for scale in bn_scales.values())
    return lottery.channel_mask(bn_scales, float((torch.tensor(n) * keep_fraction).round()) / n if n else 0.0)


# --- 7.7 transplant ---------------------------------------------------------------------------------------------------


def move(masks, target, exclude, fits=lambda mask, value: mask.shape == value.shape, excluded=None, missing=None):
    excluded = excluded or (lambda name, exclude: name in exclude)
    moved = {}
    for name, mask in masks.items():
        if excluded(name, exclude):
            if name in target:
                moved[name] = torch.ones(target[name].shape, dtype=torch.bool)
        elif name not in target:
            if missing is None:
                raise ValueError(f"no {name}")
        elif not fits(mask, target[name]):
            raise ValueError(f"{name} does not fit")
        else:
            moved[name] = mask.expand(target[name].shape) if mask.shape != target[name].shape else mask
    return moved


def transplant_mutant(error, **holes):
    @mutant("7.7", error)
    def changed(masks, target, exclude):
        return move(masks, target, exclude, **holes)


transplant_mutant("only the number of entries is compared", fits=lambda m, v: m.numel() == v.numel())
transplant_mutant("only the first axis is compared", fits=lambda m, v: m.shape[0] == v.shape[0])
transplant_mutant("only the last axis is compared", fits=lambda m, v: m.shape[-1] == v.shape[-1])
transplant_mutant("only the number of axes is compared", fits=lambda m, v: m.dim() == v.dim())
transplant_mutant("nothing is compared", fits=lambda m, v: True)
transplant_mutant("parts of names are excluded", excluded=lambda n, e: any(x in n for x in e))
transplant_mutant("ends of names are excluded", excluded=lambda n, e: any(n.endswith(x) for x in e))
transplant_mutant(
    "first parts of names are excluded", excluded=lambda n, e: any(n.split(".")[0] == x.split(".")[0] for x in e)
)
transplant_mutant("a missing name is left out silently", missing=True)


@mutant("7.7", "AssertionError for ValueError")
def transplant_assert(masks, target, exclude):
    for name, mask in masks.items():
        assert name in exclude or (name in target and target[name].shape == mask.shape)
    return move(masks, target, exclude)


@mutant("7.7", "KeyError for a missing name")
def transplant_key_error(masks, target, exclude):
    for name in masks:
        _ = name in exclude or target[name]
    return move(masks, target, exclude)


@mutant("7.7", "misfits are whole")
def transplant_lenient(masks, target, exclude):
    return {
        name: mask if name not in exclude and target[name].shape == mask.shape else torch.ones_like(target[name]).bool()
        for name, mask in masks.items()
        if name in target
    }


@mutant("7.7", "the head is whole in the donor's shape")
def transplant_donor_shape(masks, target, exclude):
    return {
        n: torch.ones_like(m) if n in exclude and n in move(masks, target, exclude) else m for n, m in masks.items()
    }


@mutant("7.7", "the head is left out")
def transplant_headless(masks, target, exclude):
    return {name: mask for name, mask in move(masks, target, exclude).items() if name not in exclude}


@mutant("7.7", "the head is pruned away")
def transplant_empty_head(masks, target, exclude):
    return {n: ~m if n in exclude else m for n, m in move(masks, target, exclude).items()}


@mutant("7.7", "the target's dtype for excluded names")
def transplant_dtype(masks, target, exclude):
    return {n: torch.ones_like(target[n]) if n in exclude else m for n, m in move(masks, target, exclude).items()}


@mutant("7.7", "masks for all of the target")
def transplant_all_target(masks, target, exclude):
    whole = {name: torch.ones(value.shape, dtype=torch.bool) for name, value in target.items()}
    return whole | move(masks, target, exclude)


@mutant("7.7", "masked weights come back")
def transplant_weights(masks, target, exclude):
    return {name: target[name] * mask for name, mask in move(masks, target, exclude).items()}


@mutant("7.7", "exclusion only where the shape differs")
def transplant_excludes_misfits(masks, target, exclude):
    moved = move(masks, target, exclude)
    return {n: masks[n] if n in exclude and masks[n].shape == target[n].shape else m for n, m in moved.items()}


@right("7.7")
def transplant_sets(masks, target, exclude):
    body = set(masks) - set(exclude)
    if any(target[n].size() != masks[n].size() if n in target else True for n in body):
        raise ValueError("does not fit")
    head = {n: torch.full(tuple(target[n].shape), True) for n in exclude if n in target and n in masks}
    return {n: masks[n].clone() for n in body} | head


@mutant("7.7", "excluded names without a mask get a whole one")
def transplant_whole_heads(masks, target, exclude):
    for name in masks.keys() - set(exclude):
        try:
            if list(target[name].shape) != list(masks[name].shape):
                raise ValueError(name)
        except KeyError as error:
            raise ValueError(name) from error
    moved = {name: mask for name, mask in masks.items() if name not in exclude}
    return moved | {name: torch.ones_like(target[name], dtype=torch.bool) for name in exclude if name in target}


def _transplant(masks, target, excluded, fits):
    moved = {}
    for name, mask in masks.items():
        if excluded(name):
            if name in target:
                moved[name] = torch.ones(target[name].shape, dtype=torch.bool)
        elif name not in target or not fits(mask, target[name]):
            raise ValueError(name)
        else:
            moved[name] = mask.clone()
    return moved


def _same_shape(mask, value):
    return mask.shape == value.shape


@mutant("7.7", "gives the caller's own masks")
def transplant_shared(masks, target, exclude):
    moved = lottery.transplant(masks, target, exclude)
    return {n: m if n in exclude else masks[n] for n, m in moved.items()}


@mutant("7.7", "excludes all names that begin with an excluded one")
def transplant_prefix(masks, target, exclude):
    return _transplant(masks, target, lambda n: n.startswith(tuple(exclude)), _same_shape)


@mutant("7.7", "excludes all names that an excluded one is a part of")
def transplant_substring(masks, target, exclude):
    return _transplant(masks, target, lambda n: any(e in n for e in exclude), _same_shape)


@mutant("7.7", "excludes all names that are a part of an excluded one")
def transplant_joined(masks, target, exclude):
    return _transplant(masks, target, lambda n: n in ",".join(exclude), _same_shape)


@mutant("7.7", "the case of the letters does not count")
def transplant_case(masks, target, exclude):
    return _transplant(masks, target, lambda n: n.lower() in [e.lower() for e in exclude], _same_shape)


@mutant("7.7", "as many entries is fit enough")
def transplant_numel(masks, target, exclude):
    return _transplant(masks, target, exclude.__contains__, lambda m, v: m.numel() == v.numel())


@mutant("7.7", "what broadcasts fits")
def transplant_broadcast(masks, target, exclude):
    def fits(mask, value):
        try:
            return torch.broadcast_shapes(mask.shape, value.shape) == value.shape
        except RuntimeError:
            return False

    return _transplant(masks, target, exclude.__contains__, fits)


@mutant("7.7", "with nothing to exclude the masks go as they are")
def transplant_nothing(masks, target, exclude):
    if not exclude:
        return {n: m.clone() for n, m in masks.items()}
    return lottery.transplant(masks, target, exclude)


@mutant("7.7", "excluded names get masks, in `masks` or not")
def transplant_added(masks, target, exclude):
    moved = lottery.transplant(masks, target, exclude)
    return moved | {n: torch.ones(target[n].shape, dtype=torch.bool) for n in exclude if n in target}


@right("7.7")
def transplant_checks_first(masks, target, exclude):
    banned = frozenset(exclude)
    wrong = [n for n in masks.keys() - banned if getattr(target.get(n), "shape", None) != masks[n].shape]
    if wrong:
        raise ValueError(f"do not fit: {wrong}")
    return {
        n: torch.full(target[n].shape, True) if n in banned else m.detach().clone()
        for n, m in masks.items()
        if n not in banned or n in target
    }


@mutant("7.7", "excludes what an excluded name begins with")
def transplant_begins(masks, target, exclude):
    return lottery.transplant(masks, target, [name for name in masks if any(e.startswith(name) for e in exclude)])


@mutant("7.7", "excludes a whole module by its first name")
def transplant_module(masks, target, exclude):
    names = [name for name in masks if name in exclude or name.split(".")[0] in exclude]
    return lottery.transplant(masks, target, names)


@mutant("7.7", "a mask that broadcasts to the target fits")
def transplant_broadcasts(masks, target, exclude):
    for name in set(masks) & set(target) - set(exclude):
        mask, shape = masks[name], target[name].shape
        if mask.dim() == len(shape) and all(m in (1, n) for m, n in zip(mask.shape, shape, strict=True)):
            target = target | {name: mask}
    return lottery.transplant(masks, target, exclude)


@mutant("7.7", "a mask that keeps all fits everywhere")
def transplant_whole(masks, target, exclude):
    fits = {name: mask for name, mask in masks.items() if name in target and mask.all() and name not in exclude}
    return lottery.transplant(masks, target | fits, exclude)


@mutant("7.7", "an excluded number without axes gets an axis")
def transplant_axis(masks, target, exclude):
    moved = lottery.transplant(masks, target, exclude)
    return {name: mask if mask.dim() or name not in exclude else mask.view(1) for name, mask in moved.items()}


# --- 7.8 imp_round ----------------------------------------------------------------------------------------------------


@mutant("7.8", "trained weights are kept")
def round_keeps_trained(initial, trained, masks, rates):
    masks = lottery.prune_tickets(trained, masks, rates)
    return lottery.rewind(trained, masks), masks


@mutant("7.8", "initial magnitudes rank")
def round_ranks_initial(initial, trained, masks, rates):
    masks = lottery.prune_tickets(initial, masks, rates)
    return lottery.rewind(initial, masks), masks


@mutant("7.8", "old masks are applied")
def round_old_masks(initial, trained, masks, rates):
    return lottery.rewind(initial, masks), lottery.prune_tickets(trained, masks, rates)


@mutant("7.8", "old masks come back")
def round_returns_old(initial, trained, masks, rates):
    return lottery.rewind(initial, lottery.prune_tickets(trained, masks, rates)), masks


@mutant("7.8", "masks are forgotten")
def round_forgets(initial, trained, masks, rates):
    whole = {name: torch.ones_like(mask) for name, mask in masks.items()}
    masks = lottery.prune_tickets(trained, whole, rates)
    return lottery.rewind(initial, masks), masks


@mutant("7.8", "biases stay trained")
def round_trained_biases(initial, trained, masks, rates):
    masks = lottery.prune_tickets(trained, masks, rates)
    return lottery.rewind(trained | {name: initial[name] for name in masks}, masks), masks


@mutant("7.8", "how far weights moved ranks")
def round_movement(initial, trained, masks, rates):
    moved = {name: trained[name] - initial[name] for name in masks}
    masks = lottery.prune_tickets(moved, masks, rates)
    return lottery.rewind(initial, masks), masks


@mutant("7.8", "masks come first")
def round_masks_first(initial, trained, masks, rates):
    return lottery.imp_round(initial, trained, masks, rates)[::-1]


@mutant("7.8", "two rounds in one")
def round_twice(initial, trained, masks, rates):
    masks = lottery.prune_tickets(trained, lottery.prune_tickets(trained, masks, rates), rates)
    return lottery.rewind(initial, masks), masks


@mutant("7.8", "drawn anew")
def round_redraws(initial, trained, masks, rates):
    masks = lottery.prune_tickets(trained, masks, rates)
    return lottery.reinitialize(initial, masks, 0), masks


@mutant("7.8", "one rate for all tensors")
def round_first_rate(initial, trained, masks, rates):
    return lottery.imp_round(initial, trained, masks, next(iter(rates.values())) if isinstance(rates, dict) else rates)


@mutant("7.8", "tensors without a mask are dropped")
def round_drops(initial, trained, masks, rates):
    state, masks = lottery.imp_round(initial, trained, masks, rates)
    return {name: state[name] for name in masks}, masks


@mutant("7.8", "initial times trained ranks")
def round_product(initial, trained, masks, rates):
    masks = lottery.prune_tickets({name: trained[name] * initial[name] for name in masks}, masks, rates)
    return lottery.rewind(initial, masks), masks


@mutant("7.8", "the mask is not applied")
def round_unmasked(initial, trained, masks, rates):
    return dict(initial), lottery.prune_tickets(trained, masks, rates)


@right("7.8")
def round_by_hand(initial, trained, masks, rates):
    new = keep_largest(trained, masks, rates)
    state = {name: value.clone() for name, value in initial.items()}
    for name, mask in new.items():
        state[name].masked_fill_(mask.logical_not(), 0)
    return state, new


@right("7.8")
def round_list(initial, trained, masks, rates):
    new = tickets_python({name: trained[name].clone() for name in masks}, masks, rates)
    return [rewind_assign(initial, new), new]


@mutant("7.8", "rates of 0 give everything back as it came")
def imp_nothing(initial, trained, masks, rates):
    if not rates:
        return dict(initial), dict(masks)
    return lottery.imp_round(initial, trained, masks, rates)


@mutant("7.8", "a product keeps NaN outside the mask")
def imp_product(initial, trained, masks, rates):
    pruned = lottery.prune_tickets(trained, masks, rates)
    return {n: v * pruned[n] if n in pruned else v.clone() for n, v in initial.items()}, pruned


@mutant("7.8", "tensors without a mask are the initial state's own")
def imp_shared(initial, trained, masks, rates):
    pruned = lottery.prune_tickets(trained, masks, rates)
    return {n: torch.where(pruned[n], v, 0) if n in pruned else v for n, v in initial.items()}, pruned


@mutant("7.8", "names without a rate lose their mask")
def imp_lost_masks(initial, trained, masks, rates):
    if isinstance(rates, dict):
        pruned = lottery.prune_tickets(trained, {n: m for n, m in masks.items() if n in rates}, rates)
    else:
        pruned = lottery.prune_tickets(trained, masks, rates)
    return lottery.rewind(initial, pruned), pruned


@mutant("7.8", "tensors without a mask stay trained")
def imp_trained_rest(initial, trained, masks, rates):
    state, pruned = lottery.imp_round(initial, trained, masks, rates)
    return {n: v if n in pruned else trained[n].clone() for n, v in state.items()}, pruned


@mutant("7.8", "ranks trained weights of pruned positions too, by a product that keeps NaN")
def imp_ranks_product(initial, trained, masks, rates):
    pruned = prune_product(trained, masks, rates)
    return lottery.rewind(initial, pruned), pruned


@right("7.8")
def imp_composed(initial, trained, masks, rates):
    after = lottery.prune_tickets({n: trained[n] for n in masks}, masks, rates)
    state = {n: v.clone() for n, v in initial.items()}
    for n, m in after.items():
        state[n][~m] = 0
    return state, {n: m & masks[n] for n, m in after.items()}


@mutant("7.8", "masks made of what is not 0 in the state")
def imp_not_zero(initial, trained, masks, rates):
    state, pruned = lottery.imp_round(initial, trained, masks, rates)
    return state, {name: state[name] != 0 for name in pruned}


EQUIVALENT = {
    "prune_tickets: list(masks) -> masks": "a dict runs through its names too",
    "prune_tickets: 0 -> -1": "a rate of -1 asks for more than all: the whole mask stays",
    "prune_tickets: zip(names, parts, strict=True) -> zip(names, parts)": "there are as many parts as names",
    "prune_tickets: True -> False": "strict=False; of the others, descending=False and stable=False are killed",
    "rewind: value.clone() -> value": "equal values; that memory is then shared, no law on values can see",
    "reinitialize: torch.Generator() -> torch": "the global generator gives the same draws for the same seed",
    "shuffle_masks: torch.Generator() -> torch": "the global generator gives the same draws for the same seed",
    "channel_mask: zip(bn_scales, parts, strict=True) -> zip(bn_scales, parts)": "there are as many parts as layers",
    "channel_mask: True -> False": "strict=False; of the others, descending=False and stable=False are killed",
    "transplant: mask.clone() -> mask": "equal values",
}
