"""Few examples, other writers, clothes, noise and moves: does a sparse network carry over better than a dense one?

A network learns MNIST's digits; then it is tuned on a few examples of another task, or looks at spoiled digits as it
is. All networks of a table have the same epochs, steps and few examples.
"""

import copy
from dataclasses import asdict, dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import nn

from course_utils.data import Digits, Split, embedded_digits, fashion_mnist, jitter_images
from course_utils.models import mlp
from course_utils.pruning import apply_masks, hold_masks
from course_utils.reproduce.runner import Done, Experiment, Piece, Values
from course_utils.robustness import few_shot
from course_utils.robustness.networks import density, largest, shuffled
from course_utils.training import errors, set_seed, train

NETWORKS = ("dense", "small dense", "largest", "random")
SPOILED = ("as they are", "noise", "moved", "noise and moved")
TASKS = ("other writers", "clothes")


@dataclass(frozen=True)
class Settings:
    """What the experiment fixes beforehand; the steps of tuning so that accuracy rises little more."""

    epochs: int = 16
    lr: float = 1e-3  # of Adam
    sizes: tuple[int, ...] = (784, 300, 100, 10)
    narrow: tuple[int, ...] = (784, 33, 20, 10)  # a tenth of the weights
    keep: float = 0.1
    shots: tuple[int, ...] = (1, 5, 20)
    steps: int = 400  # of tuning, full batch
    noise: float = 0.3
    reach: int = 2  # pixels
    tested: int = 700  # examples of another task, not among those that the shots come from


def load(digits: Digits | None, settings: Settings) -> Digits:
    return digits or embedded_digits()


@lru_cache
def other_task(name: str) -> Split:
    """Scikit-learn's digits, 8 × 8 enlarged to 20 × 20 in a frame as MNIST's; or 3,000 pictures of clothes."""
    if name == "clothes":
        return fashion_mnist().validation.subset(slice(0, 3000))
    from sklearn.datasets import load_digits

    data = load_digits()
    images = torch.from_numpy(data.images).float().unsqueeze(1) / 16
    images = F.pad(F.interpolate(images, size=(20, 20), mode="bilinear"), (4, 4, 4, 4))
    return Split(images, torch.from_numpy(data.target).long())


def pieces(digits: Digits, settings: Settings, seeds: int) -> list[Piece]:
    """For each seed every network on every task."""
    return [
        Piece(f"seed {seed}/{name}", carry_over, (name, seed), group="networks", seed=seed)
        for seed in range(seeds)
        for name in (*NETWORKS, "from scratch")
    ]


def collect(digits: Digits, settings: Settings, done: Done) -> Values:
    """Each network by seed."""
    return {
        "experiment": "few examples of other tasks, and spoiled digits, for dense and sparse networks",
        "data": digits.summary(),
        "settings": asdict(settings),
        **done.origin(),
        "runs": [
            {"seed": seed, **{name: done[f"seed {seed}/{name}"] for name in (*NETWORKS, "from scratch")}}
            for seed in done.seeds("networks")
        ],
    }


run = Experiment("few_shots", Settings, load, pieces, collect).run


def pretrained(digits: Digits, settings: Settings, name: str, seed: int) -> tuple[nn.Sequential, dict]:
    """A network that knows the digits, and its mask, drawn after half of the epochs."""
    set_seed(seed)
    model = mlp(*(settings.narrow if name == "small dense" else settings.sizes))
    half = settings.epochs // 2
    common = {"lr": settings.lr, "batch_size": 100, "progress": False}
    train(model, digits.train, epochs=half, seed=seed, **common)
    drawn = {"largest": lambda: largest(model, settings.keep), "random": lambda: shuffled(model, settings.keep, seed)}
    masks = drawn[name]() if name in drawn else {}
    apply_masks(model, masks)
    rest = {"epochs": settings.epochs - half, "seed": 1000 + seed, "after_step": hold_masks(masks)}
    train(model, digits.train, **rest, **common)
    return model, masks


def carry_over(digits: Digits, settings: Settings, name: str, seed: int) -> Values:
    """One network: accuracy on spoiled digits as it is, and on each other task after a few examples of it."""
    if name == "from scratch":
        set_seed(seed)
        model, masks = mlp(*settings.sizes), {}
    else:
        model, masks = pretrained(digits, settings, name, seed)
    found: Values = {"density": round(density(model), 4), "tasks": {}}
    for task in TASKS:
        split = other_task(task)
        order = torch.randperm(len(split), generator=torch.Generator().manual_seed(seed))
        test, pool = split.subset(order[: settings.tested]), split.subset(order[settings.tested :])
        found["tasks"][task] = {}
        for shots in settings.shots:
            few = pool.subset(few_shot(pool.labels, shots, seed))
            tuned = copy.deepcopy(model)
            train(
                tuned, few, epochs=settings.steps, lr=settings.lr, batch_size=len(few), seed=seed, progress=False,
                after_step=hold_masks(masks),
            )  # fmt: skip
            found["tasks"][task][str(shots)] = accuracy(tuned, test)
    if name != "from scratch":
        found["spoiled"] = {how: accuracy(model, spoiled(digits.test, how, settings)) for how in SPOILED}
    return found


def accuracy(model: nn.Module, split: Split) -> float:
    return round(1 - errors(model, split) / len(split), 4)


def spoiled(split: Split, how: str, settings: Settings) -> Split:
    """The same images with noise, or moved, or both; the same for all networks."""
    generator = torch.Generator().manual_seed(0)
    images = split.images
    if "moved" in how:
        images = jitter_images(images, settings.reach, generator)
    if "noise" in how:
        images = (images + settings.noise * torch.randn(images.shape, generator=generator)).clamp(0, 1)
    return Split(images, split.labels)
