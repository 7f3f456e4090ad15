"""One network at four widths, on MNIST: with a shared normalization, and with one for each width.

Published: slimmable networks (ICLR 2019), four widths of ResNet-50 in one. The control is one network a width.
"""

from dataclasses import asdict, dataclass

from course_utils.data import Digits, full_mnist
from course_utils.dynamic import widths
from course_utils.dynamic.networks import WIDTHS, SlimmableNet
from course_utils.reproduce.runner import Done, Experiment, Piece, Values
from course_utils.training import set_seed

PAPER = {
    "source": "J. Yu et al., arXiv:1812.08928, and the authors' code: ResNet-50 on ImageNet",
    "widths": [1, 0.75, 0.5, 0.25],
    "errors": [24.0, 25.1, 27.9, 35.0],
}
NORMS = ("shared", "shared, calibrated", "own", "one network a width")


@dataclass(frozen=True)
class Settings:
    few_digits: int = 20_000  # that all networks learn from
    epochs: int = 5
    lr: float = 2e-3  # of Adam; falls to 0


def load(digits: Digits | None, settings: Settings) -> Digits:
    return digits or full_mnist()


def pieces(digits: Digits, settings: Settings, seeds: int) -> list[Piece]:
    return [Piece(f"seed {seed}", train_slimmable, (seed,), seed=seed) for seed in range(seeds)]


def train_slimmable(digits: Digits, settings: Settings, seed: int) -> Values:
    """One network at four widths, with shared normalization and with one for each width; and one network a width."""
    some = digits.train.subset(slice(0, settings.few_digits))
    recipe = {"epochs": settings.epochs, "lr": settings.lr, "seed": seed}
    models = {}
    for own in (False, True):
        set_seed(seed)
        models[own] = SlimmableNet(own=own)
        widths.train_widths(models[own], some, **recipe)
    wrong: dict[str, list[int]] = {name: [] for name in NORMS}
    for width in WIDTHS:
        set_seed(seed)
        single = SlimmableNet([width])
        widths.train_widths(single, some, **recipe)
        mended = widths.calibrated(models[False], width, some.images[:2000])
        tried = (models[False], mended, models[True], single)
        for name, model in zip(NORMS, tried, strict=True):
            wrong[name].append(widths.errors_at(model, width, digits.test))
    parameters = [sum(p.numel() for p in widths.frozen(models[True], width).parameters()) for width in WIDTHS]
    return {"errors": wrong, "parameters": parameters}


def collect(digits: Digits, settings: Settings, done: Done) -> Values:
    return {
        "experiment": "one network at four widths on MNIST",
        "data": digits.summary(),
        "settings": asdict(settings),
        "choices": "epochs and rates were not tuned",
        **done.origin(),
        "paper": PAPER,
        "widths": [{"seed": seed, **done[f"seed {seed}"]} for seed in done.seeds()],
    }


run = Experiment("widths", Settings, load, pieces, collect).run
