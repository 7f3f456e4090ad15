"""Unit 09: dynamic sparse training.

D. C. Mocanu, E. Mocanu, P. Stone, P. H. Nguyen, M. Gibescu and A. Liotta, *Scalable Training of Artificial Neural
Networks with Adaptive Sparse Connectivity Inspired by Network Science* (SET), Nature Communications 9 (2018), 2383,
arXiv:1707.04780.
U. Evci, T. Gale, J. Menick, P. S. Castro and E. Elsen, *Rigging the Lottery: Making All Tickets Winners* (RigL), ICML
2020, arXiv:1911.11134.
S. Liu, L. Yin, D. C. Mocanu and M. Pechenizkiy, *Do We Actually Need Dense Over-Parameterization? In-Time
Over-Parameterization in Sparse Training* (ITOP), ICML 2021, arXiv:2102.02887.
M. Zhu and S. Gupta, *To Prune, or Not to Prune: Exploring the Efficacy of Pruning for Model Compression*,
arXiv:1710.01878, 2017.
A. Zhou, Y. Ma, J. Zhu, J. Liu, Z. Zhang, K. Yuan, W. Sun and H. Li, *Learning N:M Fine-Grained Structured Sparse Neural
Networks from Scratch*, ICLR 2021, arXiv:2102.04010.

A mask is True where a connection is; a velocity is the momentum of SGD. Of equal magnitudes the first in order stay, or
grow, in the order of indices, row by row.
"""

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.models import mlp_forward


def erdos_renyi_densities(
    shapes: Mapping[str, Sequence[int]],
    density: float,
) -> dict[str, float]:
    """What part of each layer's connections to have, so that large layers are sparser.

    shapes: of each layer's weight, by name, [out, in, ...]; of a convolution the kernel's
    axes count as well. density: of all layers together, from 0 to 1. Returns a density for
    each name: ε · Σ_d n_d / Π_d n_d, with ε such that Σ density · size is `density` of all
    positions. A layer that would pass 1 is 1, and the others share what is left with a new
    ε, again and again (Mocanu 2018, eq. 3; with kernels Evci 2020, section 3, 'ERK').
    """
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    budget = density * sum(sizes.values())
    densities: dict[str, float] = {}  # of the layers that are full
    while True:
        free = [name for name in shapes if name not in densities]
        left = budget - sum(sizes[name] for name in densities)
        # Σ_l ε (Σ_d n_d / Π_d n_d) Π_d n_d = ε Σ_l Σ_d n_d
        epsilon = left / sum(sum(shapes[name]) for name in free) if free else 0.0
        shares = {name: epsilon * sum(shapes[name]) / sizes[name] for name in free}
        full = [name for name in free if shares[name] >= 1]
        if not full:
            return {name: densities.get(name, shares.get(name)) for name in shapes}
        densities |= dict.fromkeys(full, 1.0)


def random_mask(shape: Sequence[int], density: float, seed: int) -> Tensor:
    """A mask that keeps a given part of all positions, at random.

    shape: of the mask, with n positions. density: from 0 to 1. Returns a bool tensor with
    exactly `round(density * n)` entries True (Python's round); all such masks are equally
    likely. The same seed gives the same mask; the global generator is left alone.
    """
    mask = torch.zeros(math.prod(shape), dtype=torch.bool)
    order = torch.randperm(len(mask), generator=torch.Generator().manual_seed(seed))
    mask[order[: round(density * len(mask))]] = True
    return mask.view(list(shape))


def drop_fraction(step: int, end: int, alpha: float) -> float:
    """Which part of its connections a layer exchanges in a step: less and less.

    step: from 0. end: the step from which on nothing is exchanged. alpha: the part at step
    0. Returns α/2 · (1 + cos(π · step/end)) before the end, then 0 (Evci 2020, section 3,
    f_decay).
    """
    if step >= end:
        return 0.0
    return alpha / 2 * (1 + math.cos(math.pi * step / end))


def set_update(
    weight: Tensor,
    mask: Tensor,
    velocity: Tensor,
    fraction: float,
    seed: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Drop the weakest connections, grow as many at random (SET, Mocanu 2018).

    weight, velocity, and mask (bool): of one tensor, same shape. The k = `round(fraction *
    kept)` connections with the least |w| go (of equals the last; a connection may have
    weight 0, and is one still). Then k grow among all positions that have none now, those
    that were just dropped among them, each set of k as likely as any other by this seed;
    the global generator is left alone.

    Returns new (weight, mask, velocity). Connections that stay keep their weight and
    velocity, bit for bit. All else is exactly 0, whatever the arguments hold there: a new
    connection starts at 0, also one that was dropped in this very update. (RigL's program
    lets that one keep both. SET's own drops the positive weights and the negative ones
    nearest to 0 apart; here, as in RigL's comparison, the magnitude decides.)
    """
    kept = mask.flatten().nonzero().flatten()
    k = round(fraction * len(kept))
    sizes = weight.flatten()[kept].abs()
    largest_first = sizes.sort(descending=True, stable=True).indices
    stays = torch.zeros(mask.numel(), dtype=torch.bool)
    stays[kept[largest_first[: len(kept) - k]]] = True

    free = (~stays).nonzero().flatten()
    order = torch.randperm(len(free), generator=torch.Generator().manual_seed(seed))
    grown = stays.clone()
    grown[free[order[:k]]] = True

    stays, grown = stays.view(mask.shape), grown.view(mask.shape)
    return torch.where(stays, weight, 0), grown, torch.where(stays, velocity, 0)


def rigl_update(
    weight: Tensor,
    mask: Tensor,
    velocity: Tensor,
    gradient: Tensor,
    fraction: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Drop the weakest connections, grow where the loss is steepest (Evci 2020, section 3).

    weight, velocity, gradient, and mask (bool): of one tensor, same shape; the gradient is
    that of all positions, also of those without a connection. Drops as `set_update` does;
    then k grow among all positions that have no connection now, those just dropped among
    them: where |gradient| is largest, of equals the first.

    Returns new (weight, mask, velocity). Connections that stay keep their weight and
    velocity, bit for bit. All else is exactly 0, as in `set_update`.
    """
    kept = mask.flatten().nonzero().flatten()
    k = round(fraction * len(kept))
    sizes = weight.flatten()[kept].abs()
    largest_first = sizes.sort(descending=True, stable=True).indices
    stays = torch.zeros(mask.numel(), dtype=torch.bool)
    stays[kept[largest_first[: len(kept) - k]]] = True

    free = (~stays).nonzero().flatten()
    slopes = gradient.flatten()[free].abs()
    grown = stays.clone()
    grown[free[slopes.sort(descending=True, stable=True).indices[:k]]] = True

    stays, grown = stays.view(mask.shape), grown.view(mask.shape)
    return torch.where(stays, weight, 0), grown, torch.where(stays, velocity, 0)


def explored_fraction(mask_history: Sequence[dict[str, Tensor]]) -> float:
    """R_s: of all positions the fraction that had a connection at some time (Liu 2021).

    mask_history: masks, oldest first, at least one, each a dict of bool tensors by the same
    names, in any order, of the same shapes. Returns a float from 0 to 1.
    """
    ever = {name: mask.clone() for name, mask in mask_history[0].items()}
    for masks in mask_history[1:]:
        for name, mask in masks.items():
            ever[name] |= mask
    positions = sum(mask.numel() for mask in ever.values())
    return sum(int(mask.sum()) for mask in ever.values()) / positions


def expected_exploration(total: int, kept: int, grown: Sequence[int]) -> float:
    """The mean of R_s for a tensor that SET trains, whatever it drops.

    total: positions. kept: connections, at any time. grown: how many were exchanged in each
    update, g_t. Returns 1 − (1 − kept/total) · Π_t (1 − g_t / (total − kept + g_t)). An
    update with g_t = 0 changes nothing, also if kept = total.
    """
    unexplored = 1 - kept / total
    for g in grown:
        if g:
            # As likely to be missed as any of the positions that are free when g_t grow
            unexplored *= 1 - g / (total - kept + g)
    return 1 - unexplored


def cubic_sparsity(
    step: int,
    begin: int,
    end: int,
    final: float,
    initial: float = 0.0,
) -> float:
    """The sparsity of gradual pruning at a step: fast first, then slower (Zhu 2017, eq. 1).

    Returns final + (initial − final) · (1 − (step − begin)/(end − begin))³ from begin to
    end; `initial` before, `final` after. begin ≤ end; where they are equal, a step that is
    not before them has `final`.
    """
    if step >= end:
        return final
    if step <= begin:
        return initial
    return final + (initial - final) * (1 - (step - begin) / (end - begin)) ** 3


def n_of_m_mask(weight: Tensor, n: int, m: int) -> Tensor:
    """Of every m neighbours along the last axis keep the n largest (Zhou 2021, eq. 6).

    weight: [..., in], any float dtype; neighbours are the entries 0 to m − 1 of the last
    axis, m to 2m − 1, and so on; any axis may be empty. 0 ≤ n ≤ m. Returns a bool mask of
    the weight's shape with exactly n entries True in every m: those of the largest |w|, of
    equals the first. ValueError if m does not divide the last axis.
    """
    if weight.shape[-1] % m:
        raise ValueError(f"A last axis of {weight.shape[-1]} has no groups of {m}: pad it.")
    groups = weight.reshape(-1, m).abs()
    largest_first = groups.sort(dim=1, descending=True, stable=True).indices
    mask = torch.zeros(groups.shape, dtype=torch.bool)
    return mask.scatter(1, largest_first[:, :n], True).view(weight.shape)


def rigl_train(
    state: dict[str, Tensor],
    masks: dict[str, Tensor],
    inputs: Tensor,
    labels: Tensor,
    lr: float,
    momentum: float,
    steps: int,
    update_every: int,
    end: int,
    alpha: float,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Train a sparse network while its connections move (Evci 2020, algorithm 1).

    state: of an MLP, for `mlp_forward(state, inputs)`. masks: bool, by the names of some of
    its tensors; the others are dense. inputs [batch, ...], labels [batch]: all of them in
    each step; the loss is the mean cross-entropy.

    First, weights outside the masks become 0, whatever they hold. Then, in step t = 1, 2,
    … steps, the gradient of all positions is taken. If update_every divides t and t < end,
    `rigl_update` exchanges the part `drop_fraction(t, end, alpha)` of each masked tensor's
    connections, and nothing descends. Otherwise all tensors descend: velocity v ← momentum
    · v + gradient, from 0 at the start, and w ← w − lr · v; outside the masks both stay 0.

    Returns (state, masks), both new, of the same names, shapes and dtypes.
    """
    masks = {name: mask.clone() for name, mask in masks.items()}
    state = {name: value.clone() for name, value in state.items()}
    for name, mask in masks.items():
        state[name] = torch.where(mask, state[name], 0)
    velocity = {name: torch.zeros_like(value) for name, value in state.items()}
    for step in range(1, steps + 1):
        leaves = {name: value.detach().requires_grad_() for name, value in state.items()}
        loss = F.cross_entropy(mlp_forward(leaves, inputs), labels)
        gradients = dict(zip(state, torch.autograd.grad(loss, leaves.values()), strict=True))
        if step % update_every == 0 and step < end:
            fraction = drop_fraction(step, end, alpha)
            for name in masks:
                tensors = state[name], masks[name], velocity[name], gradients[name]
                updated = rigl_update(*tensors, fraction=fraction)
                state[name], masks[name], velocity[name] = updated
            continue
        for name, gradient in gradients.items():
            v = momentum * velocity[name] + gradient
            w = state[name] - lr * v
            if name in masks:
                v, w = torch.where(masks[name], v, 0), torch.where(masks[name], w, 0)
            velocity[name], state[name] = v, w
    return {name: value.detach() for name, value in state.items()}, masks
