"""Optimal Brain Surgeon (Hassibi and Stork 1993) on the network of Optimal Brain Damage's experiment, on all weights.

The matrix is that of Gauss and Newton, on all training digits, in float64. Weights are deleted one by one, each time
the one of the least saliency, and the survivors are moved after each; nothing is retrained. The controls take the two
ideas apart: the surgeon's order without moving the survivors, and other orders with survivors that are moved.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from course_utils import saliency
from course_utils.data import Digits
from course_utils.models import mlp
from course_utils.pruning import recursion_inputs, weight_names
from course_utils.reproduce.runner import Done, Experiment, Piece, Values
from course_utils.saliency.reproduce import Settings as Dense
from course_utils.saliency.reproduce import load, measure, train_dense

PAPER = {
    "source": "B. Hassibi and D. Stork, NeurIPS 5, published 1993",
    "damping": [1e-8, 1e-4],  # 'a small constant'
}


@dataclass(frozen=True)
class Settings(Dense):
    """damping: times the mean of the matrix's diagonal."""

    deleted: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
    compared: float = 0.5
    damping: tuple[float, ...] = (1e-10, 1e-6, 1e-4, 1e-2, 1.0, 100.0)


SURGEON = "OBS"
STILL = "OBS's order, survivors still"
ORDERS = {"OBD": False, "OBD's order, survivors moved": True, "magnitude": False, "magnitude, survivors moved": True}


def pieces(digits: Digits, settings: Settings, seeds: int) -> list[Piece]:
    """For each seed a network and its matrix; the surgeon with each damping; the controls."""
    work = []
    for seed in range(seeds):
        dense = Piece(f"seed {seed}/dense", train_with_matrix, (seed,), seed=seed)
        work.append(dense)
        for damping in settings.damping:
            work += [Piece(f"seed {seed}/{SURGEON}/{damping}", operate, (damping,), needs=(dense.name,), seed=seed)]
            work += [
                Piece(f"seed {seed}/{name}/{damping}", cut_in_order, (name, damping), needs=(dense.name,), seed=seed)
                for name, moved in ORDERS.items()
                if moved or damping == settings.damping[0]
            ]
    return work


def collect(digits: Digits, settings: Settings, done: Done) -> Values:
    """Loss and errors by method, damping and part deleted."""
    runs = []
    for seed in done.seeds():
        found: dict[str, Any] = {}
        for damping in settings.damping:
            surgeon = done[f"seed {seed}/{SURGEON}/{damping}"]
            found.setdefault(SURGEON, {})[str(damping)] = surgeon["moved"]
            found.setdefault(STILL, {})[str(damping)] = surgeon["still"]
            for name, moved in ORDERS.items():
                if moved:
                    found.setdefault(name, {})[str(damping)] = done[f"seed {seed}/{name}/{damping}"]["rows"]
                else:
                    found[name] = done[f"seed {seed}/{name}/{settings.damping[0]}"]["rows"]
        dense = done[f"seed {seed}/dense"]
        kept = ("train_loss", "validation_errors", "test_errors", "mean_diagonal", "smallest")
        runs.append({"seed": seed, "dense": {key: dense[key] for key in kept}, **found})
    return {
        "experiment": "Optimal Brain Surgeon on the network of Optimal Brain Damage",
        "data": {"name": digits.name, "train": len(digits.train), "test": len(digits.test), "pixels": "14 × 14"},
        "weights": len(flat_weights(mlp(*settings.sizes))),
        "settings": asdict(settings),
        "paper": PAPER,
        "runs": runs,
        "provenance": done.origin(),
    }


run = Experiment("surgeon", Settings, load, pieces, collect).run


@torch.no_grad()
def gauss_newton(model: nn.Sequential, images: Tensor, labels: Tensor, chunk: int = 250) -> Tensor:
    """The Gauss-Newton matrix of the mean cross-entropy by all weights of a ReLU MLP, first layer first, [n, n].

    Its diagonal is that of the Hessian, which is `pruning.exact_curvature`.
    """
    total = torch.zeros(())
    for part, truth in zip(images.split(chunk), labels.split(chunk), strict=True):
        weights, inputs, slopes, _, _, _ = recursion_inputs(model, part, truth)
        p = model(part).softmax(dim=1)
        # As in exact_curvature: the Hessian by the logits is RRᵀ, and each column of R is carried down
        root = torch.diag_embed(p.sqrt()) - p.unsqueeze(2) * p.sqrt().unsqueeze(1)
        factors, rows = root.transpose(1, 2), []
        for layer in reversed(range(len(weights))):
            rows.insert(0, torch.einsum("bku,bi->bkui", factors, inputs[layer]).flatten(2).flatten(0, 1))
            if layer > 0:
                factors = factors @ weights[layer] * slopes[layer - 1].unsqueeze(1)
        found = torch.cat(rows, dim=1)
        total = total + found.T @ found
    return total / len(images)


def flat_weights(model: nn.Module) -> Tensor:
    return torch.cat([model.get_parameter(name).detach().flatten() for name in weight_names(model)])


def measured(dense: dict[str, Any], weight: Tensor, digits: Digits, settings: Dense) -> dict[str, float]:
    """What `measure` says of the network with these weights."""
    model = mlp(*settings.sizes)
    model.load_state_dict(dense["weights"])
    names = weight_names(model)
    parts = weight.float().split([model.get_parameter(name).numel() for name in names])
    with torch.no_grad():
        for name, part in zip(names, parts, strict=True):
            model.get_parameter(name).copy_(part.view_as(model.get_parameter(name)))
    return measure(model, digits)


def train_with_matrix(digits: Digits, settings: Settings, seed: int) -> dict[str, Any]:
    """The network of unit 02's experiment, its Gauss-Newton matrix in float64, and how near to singular that is."""
    dense = train_dense(digits, settings, seed)
    model = mlp(*settings.sizes)
    model.load_state_dict(dense["weights"])
    matrix = gauss_newton(model.double(), digits.train.images.double(), digits.train.labels)
    mean = float(matrix.diag().mean())
    smallest = int((torch.linalg.eigvalsh(matrix) < 1e-10 * mean).sum())
    return dense | {"matrix": matrix, "mean_diagonal": mean, "smallest": smallest}


def surgery(weight: Tensor, matrix: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Delete weights one by one as `obs_saliency` and `obs_update` do; the place of each, and all weights after it.

    The inverse for the survivors follows from that before the deletion: (H⁻¹)ᵢⱼ − (H⁻¹)ᵢq (H⁻¹)qⱼ / (H⁻¹)qq. What is
    deleted leaves the matrix when a tenth is gone, as the work goes with its square.
    """
    weight, places = weight.clone(), torch.arange(len(weight))
    inverse = torch.linalg.inv(matrix)
    alive = weight.clone()
    gone = torch.zeros(len(alive), dtype=torch.bool)
    while len(alive):
        cost = (alive**2 / inverse.diag()).masked_fill(gone, torch.inf)
        q = int(cost.argmin())
        column = inverse[:, q] / inverse[q, q]
        alive -= alive[q] * column
        inverse = inverse.addr_(column, inverse[q].clone(), alpha=-1)
        gone[q], alive[gone] = True, 0.0
        alive[q] = 0.0
        weight[places] = alive
        yield int(places[q]), weight
        if gone.float().mean() > 0.1 or gone.all():
            keep = ~gone
            alive, places, inverse, gone = alive[keep], places[keep], inverse[keep][:, keep].contiguous(), gone[keep]


def operate(digits: Digits, settings: Settings, damping: float, dense: dict[str, Any]) -> dict[str, Any]:
    """The surgeon with a damping, to each part deleted; with moved survivors, and with survivors as they were."""
    model = mlp(*settings.sizes)
    model.load_state_dict(dense["weights"])
    weight, matrix = flat_weights(model).double(), dense["matrix"]
    wanted = {round(part * len(weight)): part for part in settings.deleted}
    kept, rows = torch.ones(len(weight), dtype=torch.bool), {"moved": [], "still": []}
    damped = matrix + damping * dense["mean_diagonal"] * torch.eye(len(weight))
    for number, (place, moved) in enumerate(surgery(weight, damped), start=1):
        kept[place] = False
        if number in wanted:
            for name, result in (("moved", moved), ("still", weight * kept)):
                found = measured(dense, result, digits, settings)
                rows[name].append({"deleted": wanted[number], **found, "largest": float(result.abs().max())})
        if number == max(wanted):
            return rows
    raise ValueError("More is to be deleted than there are weights: lower the fractions.")


def cut_in_order(digits: Digits, settings: Settings, name: str, damping: float, dense: dict[str, Any]) -> Values:
    """A cut at once by OBD or by magnitude; survivors stay, or are moved to where the quadratic model is least."""
    model = mlp(*settings.sizes)
    model.load_state_dict(dense["weights"])
    weight, matrix = flat_weights(model).double(), dense["matrix"]
    damped = matrix + damping * dense["mean_diagonal"] * torch.eye(len(weight))
    sizes = saliency.magnitude_saliency(weight)
    ranking = saliency.obd_saliency(weight, matrix.diag()) if name.startswith("OBD") else sizes
    rows = []
    for part in settings.deleted:
        keep = saliency.keep_top({"": ranking}, 1 - part)[""]
        moved = weight * keep
        if ORDERS[name]:
            step = damped[keep][:, ~keep] @ weight[~keep]
            moved[keep] += torch.linalg.solve(damped[keep][:, keep], step)
        rows.append({"deleted": part, **measured(dense, moved, digits, settings)})
    return {"rows": rows}
