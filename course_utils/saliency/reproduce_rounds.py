"""Does it pay to cut in rounds? One cut, retrained for as long as the rounds take, stands beside the rounds.

The networks are those of Optimal Brain Damage's experiment. A round deletes a tenth of the weights and retrains; one
cut deletes as many at once, and is retrained for the epochs of all those rounds together. Sizes are compared over all
layers, and layer by layer.
"""

import copy
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn

from course_utils import saliency
from course_utils.data import Digits
from course_utils.pruning import Masks, apply_masks, exact_curvature, weight_names
from course_utils.reproduce.runner import Done, Experiment, Piece, Values
from course_utils.saliency.reproduce import Settings as Dense
from course_utils.saliency.reproduce import criteria, cut, fit, load, measure, restored, train_dense


@dataclass(frozen=True)
class Settings(Dense):
    compared: tuple[float, ...] = (0.6, 0.8)  # of the fractions deleted


LAYERWISE = "magnitude, layer by layer"
CRITERIA = ("OBD", "magnitude", LAYERWISE)


def saliencies(model: nn.Sequential, digits: Digits, seed: int, criterion: str) -> dict[str, Tensor]:
    """By a criterion; 'layer by layer' compares each size with those of its own layer only: by its rank there."""
    if criterion != LAYERWISE:
        return criteria(model, digits.train, seed)[criterion]
    sizes = {name: saliency.magnitude_saliency(model.get_parameter(name).detach()) for name in weight_names(model)}
    return {n: (s.flatten().argsort().argsort() / s.numel()).view_as(s) for n, s in sizes.items()}


def of_what_is_left(model: nn.Sequential, masks: Masks, digits: Digits) -> Values:
    """The parts of the weights left that do nothing on the training digits, and that stand in each layer."""
    curvatures = exact_curvature(model, digits.train.images, digits.train.labels)
    left = sum(int(mask.sum()) for mask in masks.values())
    idle = sum(int(((h == 0) & mask).sum()) for h, mask in zip(curvatures, masks.values(), strict=True))
    return {"idle": idle / left, "kept": [float(mask.float().mean()) for mask in masks.values()]}


def pieces(digits: Digits, settings: Settings, seeds: int) -> list[Piece]:
    """For each seed a network, cut by each criterion at once and in rounds."""
    work = []
    for seed in range(seeds):
        dense = Piece(f"seed {seed}/dense", train_dense, (seed,), seed=seed)
        after = partial(Piece, needs=(dense.name,), seed=seed)
        work.append(dense)
        work += [after(f"seed {seed}/rounds, trained on/{name}", in_rounds, (seed, name)) for name in CRITERIA]
        work += [
            after(f"seed {seed}/at once/{part}/{name}", at_once, (seed, name, part))
            for part in settings.compared
            for name in CRITERIA
        ]
    return work


def collect(digits: Digits, settings: Settings, done: Done) -> Values:
    """Losses and errors of each seed, by criterion and fraction deleted."""
    return {
        "experiment": "One cut and cuts in rounds, retrained for as long",
        "data": {"name": digits.name, "train": len(digits.train), "test": len(digits.test), "pixels": "14 × 14"},
        "settings": asdict(settings),
        "runs": [
            {
                "seed": seed,
                "dense": done[f"seed {seed}/dense"],
                "at_once": {
                    name: [done[f"seed {seed}/at once/{part}/{name}"] for part in settings.compared]
                    for name in CRITERIA
                },
                "in_rounds": {name: done[f"seed {seed}/rounds, trained on/{name}"]["rows"] for name in CRITERIA},
            }
            for seed in done.seeds()
        ],
        "provenance": done.origin(),
    }


run = Experiment("rounds", Settings, load, pieces, collect).run


def epochs_until(settings: Settings, part: float) -> int:
    """How long the rounds retrain until this fraction is deleted."""
    return (settings.deleted.index(part) + 1) * settings.round_epochs


def at_once(digits: Digits, settings: Settings, seed: int, name: str, part: float, dense: dict[str, Any]) -> Values:
    """One cut, without retraining and retrained for as long as the rounds."""
    model = restored(dense, settings)
    masks = cut(saliencies(model, digits, seed, name), 1 - part)
    apply_masks(model, masks)
    before = measure(model, digits)
    epochs = epochs_until(settings, part)
    fit(model, masks, epochs, settings.retrain_lr, digits, settings, seed)
    found = {"cut": before, "retrained": measure(model, digits), **of_what_is_left(model, masks, digits)}
    return {"deleted": part, "epochs": epochs, **found}


def in_rounds(digits: Digits, settings: Settings, seed: int, name: str, dense: dict[str, Any]) -> Values:
    """A tenth after the other, retrained after each cut; what was found at the compared fractions.

    Of the rounds' epochs only the last few follow the last cut; 'trained_on' is measured after as many epochs again.
    """
    model, masks, rows = restored(dense, settings), None, []
    for part in settings.deleted:
        masks = cut(saliencies(model, digits, seed, name), 1 - part, masks)
        apply_masks(model, masks)
        fit(model, masks, settings.round_epochs, settings.retrain_lr, digits, settings, seed)
        if part in settings.compared:
            epochs, longer = epochs_until(settings, part), copy.deepcopy(model)
            found = {"retrained": measure(model, digits), **of_what_is_left(model, masks, digits)}
            fit(longer, masks, epochs, settings.retrain_lr, digits, settings, seed)
            rows.append({"deleted": part, "epochs": epochs, **found, "trained_on": measure(longer, digits)})
        if part == max(settings.compared):
            break
    return {"rows": rows}
