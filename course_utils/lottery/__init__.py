"""Unit 07: lottery tickets.

J. Frankle and M. Carbin, *The Lottery Ticket Hypothesis: Finding Sparse, Trainable Neural Networks*, ICLR 2019,
arXiv:1803.03635.
H. You, C. Li, P. Xu, Y. Fu, Y. Wang, X. Chen, R. Baraniuk, Z. Wang and Y. Lin, *Drawing Early-Bird Tickets*, ICLR 2020,
arXiv:1909.11957.
T. Chen, J. Frankle, S. Chang, S. Liu, Y. Zhang, Z. Wang and M. Carbin, *The Lottery Ticket Hypothesis for Pre-trained
BERT Networks*, NeurIPS 2020, arXiv:2007.12223 (masks that move to other tasks).
J. Frankle, G. K. Dziugaite, D. M. Roy and M. Carbin, *Pruning Neural Networks at Initialization: Why Are We Missing the
Mark?*, ICLR 2021, arXiv:2009.08576 (shuffled masks).

Masks are dicts from parameter name to a bool tensor of that parameter's shape, True where a weight is kept.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def prune_tickets(
    weights: dict[str, Tensor], masks: dict[str, Tensor], rates: Mapping[str, float] | float
) -> dict[str, Tensor]:
    """One pruning step: of the weights left, the smallest go (Frankle 2019, section 1).

    weights: trained weights by name, of any float dtype, at least those that have a mask.
    masks: what is still there. rates: from 0 to 1, by name, each tensor pruned by itself at
    its own rate (a name without a rate keeps its mask); or one number, and all tensors are
    ranked together. Of the n weights still there, in a tensor or in all, exactly
    `round(rate * n)` go (Python's round): the smallest |w|. Of equal ones the last go
    first, as they stand in the order of `masks` and row by row in each tensor. A weight
    once pruned stays pruned, whatever `weights` holds there, NaN too. Returns new masks by
    the same names.
    """
    if isinstance(rates, int | float):
        groups = [(list(masks), rates)]
    else:
        groups = [([name], rates.get(name, 0)) for name in masks]
    pruned: dict[str, Tensor] = {}
    for names, rate in groups:
        left = torch.cat([masks[name].flatten() for name in names]).nonzero().squeeze(1)
        magnitudes = torch.cat([weights[name].abs().flatten() for name in names])[left]
        largest_first = left[torch.sort(magnitudes, descending=True, stable=True).indices]
        kept = torch.zeros(sum(masks[name].numel() for name in names), dtype=torch.bool)
        kept[largest_first[: len(left) - round(rate * len(left))]] = True
        parts = kept.split([masks[name].numel() for name in names])
        for name, part in zip(names, parts, strict=True):
            pruned[name] = part.view(masks[name].shape)
    return pruned


def rewind(initial: dict[str, Tensor], masks: dict[str, Tensor]) -> dict[str, Tensor]:
    """The ticket f(x; m ⊙ θ₀): first values, pruned weights 0 (Frankle 2019, section 1).

    initial: a whole state by name, biases and counters too. masks: for some of its tensors.
    Returns a whole new state, which shares no memory with the initial one: under a mask the
    initial value where it is True and exactly 0 where it is False, whatever stands there;
    tensors without a mask as they are; dtypes as they were.
    """
    # Copies: training works in place, and would move the initial state along
    state = {name: value.clone() for name, value in initial.items()}
    for name, mask in masks.items():
        state[name] = initial[name].masked_fill(~mask, 0)
    return state


def reinitialize(
    initial: dict[str, Tensor],
    masks: dict[str, Tensor],
    seed: int,
) -> dict[str, Tensor]:
    """The control of a ticket: its masks, other first values (Frankle 2019, section 2).

    Random reinitialization. initial, masks: as for `rewind`. Every tensor with a mask is
    drawn anew, each entry for itself, from a normal distribution with mean 0 and the
    standard deviation of that tensor's own initial values (all of them, at least two; those
    outside the mask too; divided by n or n − 1), and is then 0 outside its mask; all else
    is as in `initial`. The same seed, 0 too, gives the same draw, in every process, another
    seed another one. Returns a whole new state, dtypes as they were, which shares no memory
    with the initial one.
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = {
        name: value.std() * torch.randn(value.shape, generator=generator, dtype=value.dtype)
        for name, value in initial.items()
        if name in masks
    }
    return rewind(initial | drawn, masks)


def shuffle_masks(masks: dict[str, Tensor], seed: int) -> dict[str, Tensor]:
    """The control of a mask: as many weights in each tensor, elsewhere (Frankle 2021).

    masks: bool tensors by name. In each tensor the entries are permuted, all positions
    alike, by a permutation of its own, all orders equally likely. The same seed, 0 too,
    gives the same permutations, in every process, another seed others. Returns new masks by
    the same names.
    """
    generator = torch.Generator().manual_seed(seed)
    shuffled = {}
    for name, mask in masks.items():
        order = torch.randperm(mask.numel(), generator=generator)
        shuffled[name] = mask.flatten()[order].view(mask.shape)
    return shuffled


def remaining_after(
    rounds: int,
    rates: Mapping[str, float] | float,
    sizes: Mapping[str, int],
) -> float:
    """P_m, the fraction of all weights that is left after some rounds of pruning.

    rounds: how often each tensor loses its rate of what it has left, 0 or more. rates: from
    0 to 1, by tensor name (a name without a rate loses nothing, a rate of a name without a
    size counts for nothing), or one number for all. sizes: weights of each tensor, by name.
    Returns a fraction from 0 to 1.
    """
    # P_m = Σ_l n_l (1 − p_l)^r / Σ_l n_l
    if isinstance(rates, int | float):
        rates = dict.fromkeys(sizes, rates)
    left = [n * (1 - rates.get(name, 0)) ** rounds for name, n in sizes.items()]
    return sum(left) / sum(sizes.values())


def mask_distance(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    """How far two masks are apart: of all tensors' positions the fraction where they
    differ.

    a, b: bool tensors by the same names, in any order, of the same shapes, with at least
    one position. Returns a float from 0 to 1 (the Hamming distance of You 2020, section
    3.2, divided by the number of positions).
    """
    differ = sum(int((a[name] != b[name]).sum()) for name in a)
    return differ / sum(mask.numel() for mask in a.values())


def is_early_bird(
    history: Sequence[dict[str, Tensor]],
    epsilon: float = 0.1,
    window: int = 5,
) -> bool:
    """Whether the mask has settled, and pruning may begin (You 2020, algorithm 1).

    history: masks, oldest first, one each time that it was looked at, at least one. True if
    the newest is nearer than epsilon to each of the `window` masks just before it (with a
    window of 0 there is none that could be too far); False as long as there are fewer than
    these.
    """
    *past, newest = history
    if len(past) < window:
        return False
    return all(mask_distance(newest, mask) < epsilon for mask in past[len(past) - window :])


def channel_mask(bn_scales: dict[str, Tensor], keep_fraction: float) -> dict[str, Tensor]:
    """Which channels of all layers to keep, by their scales γ (You 2020, section 3.1).

    bn_scales: γ [channels] by layer, of any float dtype, n channels in all. keep_fraction:
    from 0 to 1. Returns bool masks [channels] by the same names with exactly
    `round(keep_fraction * n)` entries True (Python's round), in some layers perhaps none:
    those of the largest |γ|, and of equals the first, in the order of the dict and in each
    layer from its first channel on.
    """
    sizes = torch.cat([scale.abs() for scale in bn_scales.values()])
    largest_first = torch.sort(sizes, descending=True, stable=True).indices
    kept = torch.zeros(len(sizes), dtype=torch.bool)
    kept[largest_first[: round(keep_fraction * len(sizes))]] = True
    parts = kept.split([len(scale) for scale in bn_scales.values()])
    return dict(zip(bn_scales, parts, strict=True))


def transplant(
    masks: dict[str, Tensor],
    target: dict[str, Tensor],
    exclude: Sequence[str],
) -> dict[str, Tensor]:
    """Masks of one network for the state of another: masks move, heads stay (Chen 2020).

    masks: by name. target: the other network's tensors by name. exclude: whole names that
    are not pruned there, such as its new head's. Returns new bool masks for the names of
    `masks` and no other: True everywhere, in the target's shape, for an excluded name (left
    out if the target has no such tensor), the given mask otherwise. ValueError if a name
    that is not excluded is missing in the target, or has another shape there.
    """
    moved = {}
    for name, mask in masks.items():
        if name in exclude:
            if name in target:
                moved[name] = torch.ones(target[name].shape, dtype=torch.bool)
        elif name not in target or target[name].shape != mask.shape:
            raise ValueError(f"The mask of {name!r}, {mask.shape}, does not fit the target.")
        else:
            moved[name] = mask.clone()
    return moved


def imp_round(
    initial: dict[str, Tensor],
    trained: dict[str, Tensor],
    masks: dict[str, Tensor],
    rates: Mapping[str, float] | float,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """One round: prune what was trained, go back to the start (Frankle 2019, section 2).

    initial: the state before training; trained: the same tensors after it; masks: those
    that it was trained with; rates: as for `prune_tickets`. Returns (state, masks), both
    new: the whole state that the next round trains, as from `rewind`, and its masks.
    """
    pruned = prune_tickets(trained, masks, rates)
    return rewind(initial, masks=pruned), pruned
