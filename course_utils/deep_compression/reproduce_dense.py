"""What compression costs in accuracy: beside the lecture's pruned networks, dense ones that were trained as long.

On the embedded digits. From the dense network that saw no shifted digits: how much each layer bears alone, what is lost
by cutting and won back by retraining (Han 2015, arXiv:1506.02626, figures 5 and 6), and what the stages do to the
weights of the first layer.
"""

import copy
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import nn

from course_utils.data import Digits, embedded_digits
from course_utils.deep_compression import reproduce as full
from course_utils.deep_compression.reproduce import Pruning, Recipe, cosine, fit, share, train_and_prune, weights_of
from course_utils.models import lenet_300_100
from course_utils.reproduce.runner import Done, Experiment, Piece, Values
from course_utils.training import errors

RECIPES = {  # the lecture's
    "in two rounds": Recipe(kept=8000, dense_epochs=15, prune_epochs=20, share_epochs=5, bits=(5, 5, 5)),
    "step by step, shifted digits": Recipe(
        kept=3000, dense_epochs=8, prune_epochs=24, share_epochs=0, bits=(3, 4, 4), shifts=True, pruning="gradual"
    ),
}


@dataclass(frozen=True)
class Settings(full.Settings):
    """Those of the paper-scale run, but for fewer digits."""

    batch_size: int = 100
    prune_every: int = 10
    parts: tuple[float, ...] = (0.5, 0.3, 0.2, 0.1, 0.05, 0.03, 0.02, 0.01)  # of the weights that are kept
    retrain_epochs: int = 10
    histogram_part: float = 0.03
    widest: float = 0.3  # of the histograms: a weight's value
    bins: int = 60


def load(digits: Digits | None, settings: Settings) -> Digits:
    return digits or embedded_digits()


def pieces(digits: Digits, settings: Settings, seeds: int) -> list[Piece]:
    """For each seed and recipe the pruned network and its dense twin; what is cut from the first of these twins."""
    work = []
    for seed in range(seeds):
        for name, recipe in RECIPES.items():
            work.append(Piece(f"seed {seed}/{name}/pruned", trained, (recipe, seed), seed=seed))
            twin = replace(
                recipe,
                kept=sum(weight.numel() for weight in weights_of(lenet_300_100())),
                dense_epochs=recipe.dense_epochs + recipe.prune_epochs,
                prune_epochs=0,
                pruning="rounds",
            )
            work.append(Piece(f"seed {seed}/{name}/dense", trained, (twin, seed), seed=seed))
        needs = (f"seed {seed}/in two rounds/dense",)
        work.append(Piece(f"seed {seed}/cuts", cut_and_retrain, (seed,), needs, seed=seed))
    return work


def collect(digits: Digits, settings: Settings, done: Done) -> Values:
    """Errors of pruned networks and of their dense twins by recipe; what came of cutting."""
    return {
        "experiment": "dense twins of pruned networks",
        "data": digits.summary(),
        "settings": asdict(settings),
        "choices": "none",
        **done.origin(),
        "recipes": {name: asdict(recipe) for name, recipe in RECIPES.items()},
        "runs": [
            {"seed": seed, "cuts": done[f"seed {seed}/cuts"]}
            | {
                name: {what: done[f"seed {seed}/{name}/{what}"]["test_errors"] for what in ("pruned", "dense")}
                for name in RECIPES
            }
            for seed in done.seeds()
        ],
    }


run = Experiment("dense", Settings, load, pieces, collect).run


def trained(digits: Digits, settings: Settings, recipe: Recipe, seed: int) -> dict[str, Any]:
    """LeNet-300-100 by a recipe: its state, and how many test digits it gets wrong."""
    found = train_and_prune("lenet_300_100", recipe, digits, settings, None, seed)
    model = lenet_300_100()
    state = {name: found[name] for name in model.state_dict()}
    model.load_state_dict(state)
    return {"state": state, "test_errors": errors(model, digits.test)}


def cut_and_retrain(digits: Digits, settings: Settings, seed: int, dense: dict[str, Any]) -> Values:
    """Test errors of the dense network with one layer cut; with all cut together, before and after retraining."""
    model = lenet_300_100()
    model.load_state_dict(dense["state"])
    weights = weights_of(model)
    one_layer = [
        [_errors_with_one_layer_cut(model, layer, part, digits) for part in settings.parts] for layer in (0, 1, 2)
    ]
    cut, retrained = [], []
    for part in settings.parts:
        smaller, pruning = _cut(model, round(part * sum(weight.numel() for weight in weights)))
        cut.append(errors(smaller, digits.test))
        stages = [_histogram(model, settings), _histogram(smaller, settings)]
        fit(
            smaller, digits.train, settings, epochs=settings.retrain_epochs, seed=seed + 100,
            rate=cosine(settings.lr / 2, settings.retrain_epochs), after_step=pruning.after_step, name="retrain",
        )  # fmt: skip
        retrained.append(errors(smaller, digits.test))
        if part == settings.histogram_part:
            stages.append(_histogram(smaller, settings))
            share(smaller, RECIPES["in two rounds"], digits, settings, None, seed)
            stages.append(_histogram(smaller, settings))
            histograms = dict(zip(("dense", "cut", "retrained", "shared"), stages, strict=True))
    return {"one_layer": one_layer, "cut": cut, "retrained": retrained, "histograms": histograms}


def _cut(model: nn.Module, kept: int) -> tuple[nn.Module, Pruning]:
    smaller = copy.deepcopy(model)
    pruning = Pruning(smaller)
    pruning.prune(kept)
    pruning.after_step()
    return smaller, pruning


def _errors_with_one_layer_cut(model: nn.Module, layer: int, part: float, digits: Digits) -> int:
    smaller = copy.deepcopy(model)
    with torch.no_grad():
        weight = weights_of(smaller)[layer]
        magnitudes = weight.abs().flatten()
        threshold = magnitudes.topk(round(part * len(magnitudes))).values[-1]
        weight.masked_fill_(weight.abs() < threshold, 0)
    return errors(smaller, digits.test)


def _histogram(model: nn.Module, settings: Settings) -> list[int]:
    """Of the first layer's weights that are not 0."""
    weights = weights_of(model)[0].detach()
    return torch.histc(weights[weights != 0], settings.bins, -settings.widest, settings.widest).int().tolist()
