"""The experiments of LeCun, Denker and Solla, *Optimal Brain Damage*, 1990, on a network of its size.

The paper's network is a convolutional one with 2,578 free parameters, trained with the squared error on digits of zip
codes. Ours is fully connected with 2,604 parameters, trained with the cross-entropy on digits of MNIST.
"""

import copy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

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
from course_utils.reproduce import provenance, write_results
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


def run_seed(seed: int, digits: Digits, settings: Settings) -> dict[str, Any]:
    """One network: cut by each criterion to each fraction, without and with retraining, at once and in rounds."""
    set_seed(seed)
    dense = mlp(*settings.sizes)
    recipe = {"batch_size": settings.batch_size, "schedule": cosine, "seed": seed, "progress": False}
    train(dense, digits.train, epochs=settings.epochs, lr=settings.lr, **recipe)

    def retrain(model: nn.Sequential, masks: Masks, epochs: int) -> nn.Sequential:
        train(model, digits.train, epochs=epochs, lr=settings.retrain_lr, after_step=hold_masks(masks), **recipe)
        return model

    result: dict[str, Any] = {"seed": seed, "dense": measure(dense, digits), "at_once": {}, "in_rounds": {}}
    exact = criteria(dense, digits.train, seed)["OBD, exact diagonal"]
    for criterion, saliencies in criteria(dense, digits.train, seed).items():
        rows = []
        for deleted in settings.deleted:
            masks = cut(saliencies, 1 - deleted)
            model = copy.deepcopy(dense)
            apply_masks(model, masks)
            row = {
                "deleted": deleted,
                "predicted_increase": float(saliency.predicted_loss_increase(saliencies, masks))
                if criterion.startswith("OBD")
                else float(saliency.predicted_loss_increase(exact, masks)),
                "cut": measure(model, digits),
            }
            if criterion != "OBD, exact diagonal":
                row["retrained"] = measure(retrain(model, masks, settings.retrain_epochs), digits)
            rows.append(row)
        result["at_once"][criterion] = rows
    for criterion in ("OBD", "size × input", "magnitude", "random"):
        model, masks, rows = copy.deepcopy(dense), None, []
        for number, deleted in enumerate(settings.deleted):
            masks = cut(criteria(model, digits.train, seed + 1000 * number)[criterion], 1 - deleted, masks)
            apply_masks(model, masks)
            retrain(model, masks, settings.round_epochs)
            rows.append({"deleted": deleted, "retrained": measure(model, digits)})
        result["in_rounds"][criterion] = rows
    control = copy.deepcopy(dense)
    result["dense_trained_on"] = []
    for _ in settings.deleted:  # as many epochs as the rounds have, with nothing deleted
        retrain(control, {}, settings.round_epochs)
        result["dense_trained_on"].append(measure(control, digits))
    return result


def run(seeds: int, out: Path, digits: Digits | None = None, settings: Settings | None = None) -> dict[str, Any]:
    """Cut a trained network in all ways for each seed; store out/saliency.json after each seed, and return it.

    digits: the embedded ones if left out; their images are halved in height and width.
    """
    digits, settings = digits or embedded_digits(), settings or Settings()
    digits = Digits(digits.name, *map(smaller_images, (digits.train, digits.validation, digits.test)))
    model = mlp(*settings.sizes)
    results: dict[str, Any] = {
        "experiment": "Optimal Brain Damage on a network of 2,604 parameters",
        "data": {"name": digits.name, "train": len(digits.train), "test": len(digits.test), "pixels": "14 × 14"},
        "parameters": parameter_count(model),
        "weights": sum(model.get_parameter(name).numel() for name in weight_names(model)),
        "settings": asdict(settings),
        "paper": PAPER,
        "runs": [],
    }
    for seed in tqdm(range(seeds), unit=" seeds"):
        results["runs"].append(run_seed(seed, digits, settings))
        write_results(Path(out) / "saliency.json", results | {"provenance": provenance()})
    return results
