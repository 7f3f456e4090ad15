"""Topology: masks of many kinds for the same network, what theory says of each, and how well it is trained."""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.data import Split
from course_utils.lottery import shuffle_masks
from course_utils.models import mlp
from course_utils.pruning import hold_masks
from course_utils.saliency import keep_top
from course_utils.sparse_training import erdos_renyi_densities, random_mask
from course_utils.theory import iterative_mean_difference, mask_report, synflow_scores
from course_utils.training import errors, set_seed, train

Masks = dict[str, Tensor]
FAMILIES = ("uniform", "ERK", "magnitude", "SNIP", "SynFlow")
SHUFFLED = FAMILIES[2:]  # a shuffled random mask is another random mask
ROUNDS = 20  # of SynFlow; its paper takes 100


def first_state(sizes: tuple[int, ...], seed: int) -> dict[str, Tensor]:
    set_seed(seed)
    return {name: value.detach().clone() for name, value in mlp(*sizes).state_dict().items()}


def weights_of(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if value.dim() == 2}


def random_masks(shapes: dict[str, tuple[int, ...]], densities: dict[str, float], seed: int) -> Masks:
    """A random mask for each layer."""
    return {
        name: random_mask(shape, densities[name], 10 * seed + number)
        for number, (name, shape) in enumerate(shapes.items())
    }


def snip_scores(state: dict[str, Tensor], split: Split) -> dict[str, Tensor]:
    """|w · ∂L/∂w| on some examples (N. Lee, T. Ajanthan and P. Torr, ICLR 2019, arXiv:1810.02340)."""
    from course_utils.models import mlp_forward

    leaves = {name: value.clone().requires_grad_() for name, value in state.items()}
    loss = F.cross_entropy(mlp_forward(leaves, split.images), split.labels)
    slopes = dict(zip(leaves, torch.autograd.grad(loss, leaves.values()), strict=True))
    return {name: (value * slopes[name]).abs() for name, value in weights_of(state).items()}


def synflow_masks(weights: dict[str, Tensor], density: float) -> Masks:
    """SynFlow: the kept part falls to `density` exponentially, in `ROUNDS` rounds, with new scores in each."""
    masks = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()}
    for step in range(1, ROUNDS + 1):
        left = {name: torch.where(masks[name], weight, 0).double() for name, weight in weights.items()}
        masks = keep_top(synflow_scores(left), density ** (step / ROUNDS))
    return masks


def make_masks(family: str, state: dict[str, Tensor], density: float, split: Split, seed: int) -> Masks:
    """Masks of a family that keep `density` of all weights."""
    weights = weights_of(state)
    shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
    makers: dict[str, Callable[[], Masks]] = {
        "uniform": lambda: random_masks(shapes, dict.fromkeys(shapes, density), seed),
        "ERK": lambda: random_masks(shapes, erdos_renyi_densities(shapes, density), seed),
        "magnitude": lambda: keep_top({name: weight.abs() for name, weight in weights.items()}, density),
        "SNIP": lambda: keep_top(snip_scores(state, split), density),
        "SynFlow": lambda: synflow_masks(weights, density),
    }
    return makers[family]()


def skipped_mean(masks: Masks) -> float:
    """IMDB as the authors' program averages it: a layer that has no value is left out."""
    values = [value for mask in masks.values() if (value := iterative_mean_difference(mask))]
    return sum(values) / len(values) if values else 0.0


def numbers(state: dict[str, Tensor], masks: Masks, images: Tensor) -> dict[str, float]:
    """All that might tell how well the network will train."""
    report = mask_report(state, masks, images)
    return {
        "log paths": math.log10(report["paths"]) if report["paths"] else -1.0,
        "effective": report["effective"],
        "layer density": sum(float(mask.float().mean()) for mask in masks.values()) / len(masks),
        "gap": report["gap"],
        "IMDB": sum(map(iterative_mean_difference, masks.values())) / len(masks),
        "IMDB, layers without left out": skipped_mean(masks),
        "trace": report["trace"],
        "slowest": report["slowest"],
    }


def trained(state: dict[str, Tensor], masks: Masks, sizes: tuple[int, ...], train_split: Split, judged: Split,
            epochs: int, lr: float, seed: int) -> float:  # fmt: skip
    """Percent right on `judged`, after training under the masks."""
    model = mlp(*sizes)
    model.load_state_dict(state)
    hold = hold_masks(masks)
    hold(model)
    train(model, train_split, epochs=epochs, lr=lr, batch_size=64, seed=seed, after_step=hold, progress=False)
    return 100 * (1 - errors(model, judged) / len(judged))


def ranked(sizes: tuple[int, ...], density: float, seed: int, train_split: Split, judged: Split, epochs: int,
           lr: float, probes: int) -> list[dict[str, Any]]:  # fmt: skip
    """Every family at one density, as it is and shuffled inside its layers: its numbers and its accuracy."""
    state = first_state(sizes, seed)
    probe = train_split.images[:probes]
    found = []
    for family in FAMILIES:
        masks = make_masks(family, state, density, train_split.subset(slice(0, 500)), seed)
        for shuffled in (False, True) if family in SHUFFLED else (False,):
            if shuffled:
                masks = shuffle_masks(masks, seed + 1)
            accuracy = trained(state, masks, sizes, train_split, judged, epochs, lr, seed)
            layers = [round(float(mask.float().mean()), 6) for mask in masks.values()]
            values = {name: float(f"{value:.6g}") for name, value in numbers(state, masks, probe).items()}
            row = {"family": family, "shuffled": shuffled, "accuracy": round(accuracy, 3), "layers": layers}
            found.append(row | {"numbers": values})
    return found
