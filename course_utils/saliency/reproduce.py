"""The experiments of LeCun, Denker and Solla, *Optimal Brain Damage*, 1990, on a network of its size.

The paper's network is a convolutional one with 2,578 free parameters, trained with the squared error on digits of zip
codes. Ours is fully connected with 2,604 parameters, trained with the cross-entropy on digits of MNIST.
"""

from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from course_utils import saliency
from course_utils.data import Digits, Split, embedded_digits
from course_utils.models import mlp, parameter_count
from course_utils.pruning import (
    Masks,
    apply_masks,
    exact_curvature,
    hold_masks,
    mean_loss,
    recursion_inputs,
    smaller_images,
    weight_names,
)
from course_utils.reproduce.runner import Done, Experiment, Piece, Values
from course_utils.training import cosine, errors, set_seed, train

PAPER = {
    "source": "Y. LeCun, J. Denker and S. Solla, Optimal Brain Damage, NeurIPS 1989",
    "parameters": 2578,
    "prediction_holds_to": 0.30,  # of the parameters deleted
    "flat_with_retraining_to": 0.60,
}


@dataclass(frozen=True)
class Settings:
    """What the experiment fixes beforehand: the same epochs for all criteria and for the dense network."""

    sizes: tuple[int, ...] = (196, 12, 10, 10)
    epochs: int = 60
    lr: float = 3e-3  # of Adam; falls to 0 along a cosine, in each training and retraining
    batch_size: int = 100
    deleted: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)  # fractions of the weights
    retrain_epochs: int = 20  # after one cut
    round_epochs: int = 10  # in each round, if the cuts follow one another
    retrain_lr: float = 1e-3


def criteria(model: nn.Sequential, split: Split, seed: int) -> dict[str, dict[str, Tensor]]:
    """Saliencies of every weight by name, for each criterion.

    'size × input' is |w| times the root mean square of what the weight receives (Wanda: M. Sun, Z. Liu, A. Bair and
    J. Z. Kolter, arXiv:2306.11695, 2023): the part of OBD that needs no curvature, and so a control for it.
    """
    names = weight_names(model)
    weights = {name: model.get_parameter(name).detach() for name in names}
    arguments = recursion_inputs(model, split.images, split.labels)
    generator = torch.Generator().manual_seed(seed)

    def obd(curvatures: list[Tensor]) -> dict[str, Tensor]:
        return {n: saliency.obd_saliency(weights[n], h) for n, h in zip(names, curvatures, strict=True)}

    return {
        "OBD": obd(saliency.backpropagate_curvature(*arguments)),
        "OBD, exact diagonal": obd(exact_curvature(model, split.images, split.labels)),
        "size × input": {
            n: saliency.magnitude_saliency(weights[n]) * x.square().mean(0).sqrt()
            for n, x in zip(names, arguments[1], strict=True)
        },
        "magnitude": {n: saliency.magnitude_saliency(weights[n]) for n in names},
        "random": {n: torch.rand(weights[n].shape, generator=generator) for n in names},
    }


def cut(saliencies: dict[str, Tensor], keep_fraction: float, masks: Masks | None = None) -> Masks:
    """Masks that keep the most salient weights, and nothing that was deleted before.

    A deleted weight has saliency 0, as has a live one whose input is always 0; a mask must not bring the first back.
    """
    if masks:
        saliencies = {name: s.masked_fill(~masks[name], -torch.inf) for name, s in saliencies.items()}
    return saliency.keep_top(saliencies, keep_fraction)


def measure(model: nn.Sequential, digits: Digits) -> dict[str, float]:
    return {
        "train_loss": mean_loss(model, digits.train),
        "validation_errors": errors(model, digits.validation),
        "test_errors": errors(model, digits.test),
    }


CRITERIA = ("OBD", "OBD, exact diagonal", "size × input", "magnitude", "random")
RETRAINED = ("OBD", "size × input", "magnitude", "random")


def load(digits: Digits | None, settings: Settings) -> Digits:
    """The embedded digits if none are given; halved in height and width."""
    digits = digits or embedded_digits()
    return Digits(digits.name, *map(smaller_images, (digits.train, digits.validation, digits.test)))


def pieces(digits: Digits, settings: Settings, seeds: int) -> list[Piece]:
    """For each seed a network, cut by each criterion to each fraction, at once and in rounds; and not cut."""
    work = []
    for seed in range(seeds):
        dense = Piece(f"seed {seed}/dense", train_dense, (seed,), seed=seed)
        after = partial(Piece, needs=(dense.name,), seed=seed)
        work.append(dense)
        work += [after(f"seed {seed}/at once/{name}", cut_at_once, (seed, name)) for name in CRITERIA]
        work += [after(f"seed {seed}/in rounds/{name}", cut_in_rounds, (seed, name)) for name in RETRAINED]
        work.append(after(f"seed {seed}/dense, trained on", train_on, (seed,)))
    return work


def collect(digits: Digits, settings: Settings, done: Done) -> Values:
    """Losses and errors of each seed's networks."""
    model = mlp(*settings.sizes)
    return {
        "experiment": "Optimal Brain Damage on a network of 2,604 parameters",
        "data": {"name": digits.name, "train": len(digits.train), "test": len(digits.test), "pixels": "14 × 14"},
        "parameters": parameter_count(model),
        "weights": sum(model.get_parameter(name).numel() for name in weight_names(model)),
        "settings": asdict(settings),
        "paper": PAPER,
        "runs": [
            {
                "seed": seed,
                "dense": done[f"seed {seed}/dense"],
                "at_once": {name: done[f"seed {seed}/at once/{name}"]["rows"] for name in CRITERIA},
                "in_rounds": {name: done[f"seed {seed}/in rounds/{name}"]["rows"] for name in RETRAINED},
                "dense_trained_on": done[f"seed {seed}/dense, trained on"]["rows"],
            }
            for seed in done.seeds()
        ],
        "provenance": done.origin(),
    }


run = Experiment("saliency", Settings, load, pieces, collect).run


def fit(
    model: nn.Sequential, masks: Masks, epochs: int, lr: float, digits: Digits, settings: Settings, seed: int
) -> nn.Sequential:
    common = {"batch_size": settings.batch_size, "schedule": cosine, "seed": seed, "progress": False}
    train(model, digits.train, epochs=epochs, lr=lr, after_step=hold_masks(masks), **common)
    return model


def restored(dense: dict[str, Any], settings: Settings) -> nn.Sequential:
    model = mlp(*settings.sizes)
    model.load_state_dict(dense["weights"])
    return model


def train_dense(digits: Digits, settings: Settings, seed: int) -> dict[str, Any]:
    """A network, and what `measure` says of it."""
    set_seed(seed)
    model = fit(mlp(*settings.sizes), {}, settings.epochs, settings.lr, digits, settings, seed)
    return measure(model, digits) | {"weights": model.state_dict()}


def cut_at_once(digits: Digits, settings: Settings, seed: int, criterion: str, dense: dict[str, Any]) -> Values:
    """The network cut by a criterion to each fraction, without retraining and with it."""
    by_criterion = criteria(restored(dense, settings), digits.train, seed)
    saliencies, rows = by_criterion[criterion], []
    predicting = saliencies if criterion.startswith("OBD") else by_criterion["OBD, exact diagonal"]
    for deleted in settings.deleted:
        masks = cut(saliencies, 1 - deleted)
        model = restored(dense, settings)
        apply_masks(model, masks)
        row = {
            "deleted": deleted,
            "predicted_increase": float(saliency.predicted_loss_increase(predicting, masks)),
            "cut": measure(model, digits),
        }
        if criterion in RETRAINED:
            fit(model, masks, settings.retrain_epochs, settings.retrain_lr, digits, settings, seed)
            row["retrained"] = measure(model, digits)
        rows.append(row)
    return {"rows": rows}


def cut_in_rounds(digits: Digits, settings: Settings, seed: int, criterion: str, dense: dict[str, Any]) -> Values:
    """The network cut by a criterion to one fraction after the other, and retrained after each cut."""
    model, masks, rows = restored(dense, settings), None, []
    for number, deleted in enumerate(settings.deleted):
        masks = cut(criteria(model, digits.train, seed + 1000 * number)[criterion], 1 - deleted, masks)
        apply_masks(model, masks)
        fit(model, masks, settings.round_epochs, settings.retrain_lr, digits, settings, seed)
        rows.append({"deleted": deleted, "retrained": measure(model, digits)})
    return {"rows": rows}


def train_on(digits: Digits, settings: Settings, seed: int, dense: dict[str, Any]) -> Values:
    """The control: as many epochs as the rounds have, with nothing deleted."""
    model, rows = restored(dense, settings), []
    for _ in settings.deleted:
        fit(model, {}, settings.round_epochs, settings.retrain_lr, digits, settings, seed)
        rows.append(measure(model, digits))
    return {"rows": rows}
