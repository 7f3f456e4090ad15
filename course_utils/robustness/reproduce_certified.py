"""What can be proved of dense and of sparse networks: by intervals and linear bounds, and by smoothing with noise.

All networks of a table have the same epochs; those with a mask get it after half of them, and the others get none.
"""

from dataclasses import asdict, dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils.data import Digits, embedded_digits
from course_utils.models import mlp
from course_utils.pruning import apply_masks, hold_masks, weight_names
from course_utils.reproduce.runner import Done, Experiment, Piece, Values
from course_utils.robustness.attacks import robust_accuracy
from course_utils.robustness.certified import certified_radii, interval_loss, verified
from course_utils.robustness.networks import density, largest, shuffled
from course_utils.training import errors, set_seed, train

PAPER = {
    "source": "Z. Li et al., TMLR 2023, arXiv:2206.07311: in the max norm, by complete verification, CIFAR-10",
    "claimed": {"standard training": 8.2, "adversarial training": 24.5},  # points above dense, at most
}
NETWORKS = ("dense", "small dense", "largest", "random", "dense, L1", "dense, IBP")
SMOOTHED = ("dense", "small dense", "largest", "random", "dense, L1")


@dataclass(frozen=True)
class Settings:
    """What the experiment fixes beforehand; L1's strength was taken from a sketch, and is not tuned."""

    epochs: int = 24
    lr: float = 1e-3  # of Adam
    batch: int = 100
    sizes: tuple[int, ...] = (784, 300, 100, 10)
    keep: float = 0.1
    narrow: tuple[int, ...] = (784, 33, 20, 10)  # as many weights
    l1: float = 1e-4
    trained_for: float = 0.02  # the ε that IBP trains for
    epsilons: tuple[float, ...] = (0.005, 0.01, 0.02, 0.03)
    compared: float = 0.01
    attacked: tuple[float, ...] = (0.01, 0.05)
    tested: int = 500  # test digits
    steps: int = 20
    restarts: int = 2
    linear: int = 200  # test digits that the linear bounds look at
    sigma: float = 0.5
    smoothed_keep: float = 0.2
    smoothed_narrow: tuple[int, ...] = (784, 65, 30, 10)  # as many weights
    certified: int = 300  # test digits
    selection: int = 100
    estimation: int = 1000
    alpha: float = 0.001


def load(digits: Digits | None, settings: Settings) -> Digits:
    return digits or embedded_digits()


def pieces(digits: Digits, settings: Settings, seeds: int) -> list[Piece]:
    """For each seed every network, without noise and with."""
    work = []
    for seed in range(seeds):
        here = partial(Piece, group="networks", seed=seed)
        work += [here(f"seed {seed}/{name}", bounded, (name, seed)) for name in NETWORKS]
        work += [here(f"seed {seed}/smoothed {name}", smoothed, (name, seed)) for name in SMOOTHED]
    return work


def collect(digits: Digits, settings: Settings, done: Done) -> Values:
    """Each network by seed."""
    return {
        "experiment": "certified accuracy of dense and sparse networks",
        "data": digits.summary(),
        "settings": asdict(settings),
        **done.origin(),
        "paper": PAPER,
        "runs": [
            {
                "seed": seed,
                "bounds": {name: done[f"seed {seed}/{name}"] for name in NETWORKS},
                "smoothed": {name: done[f"seed {seed}/smoothed {name}"] for name in SMOOTHED},
            }
            for seed in done.seeds("networks")
        ],
    }


run = Experiment("certified", Settings, load, pieces, collect).run


def trained(digits: Digits, settings: Settings, name: str, seed: int, sigma: float = 0.0) -> nn.Sequential:
    """A network after all its epochs, with noise σ or without; half of them before the mask, if there is one."""
    keep, narrow = settings.keep, settings.narrow
    if sigma:
        keep, narrow = settings.smoothed_keep, settings.smoothed_narrow
    set_seed(seed)
    model = mlp(*(narrow if name == "small dense" else settings.sizes))
    generator = torch.Generator().manual_seed(seed)
    steps = settings.epochs * -(-len(digits.train) // settings.batch)
    taken = 0

    def loss(logits: Tensor, labels: Tensor, index: Tensor) -> Tensor:
        nonlocal taken
        taken += 1
        images = digits.train.images[index]
        if sigma:
            logits = model(images + sigma * torch.randn(images.shape, generator=generator))
        value = F.cross_entropy(logits, labels)
        if name == "dense, L1":
            value = value + settings.l1 * sum(model.get_parameter(n).abs().sum() for n in weight_names(model))
        if name == "dense, IBP":  # ε and its weight grow over the first half (Gowal 2018, section 4)
            grown = min(1.0, 2 * taken / steps)
            value = (1 - grown / 2) * value + grown / 2 * interval_loss(
                model, images, labels, grown * settings.trained_for
            )
        return value

    common = {"lr": settings.lr, "batch_size": settings.batch, "progress": False, "loss": loss}
    half = settings.epochs // 2
    train(model, digits.train, epochs=half, seed=seed, **common)
    masks = {"largest": lambda: largest(model, keep), "random": lambda: shuffled(model, keep, seed)}
    drawn = masks[name]() if name in masks else {}
    apply_masks(model, drawn)
    rest = settings.epochs - half
    train(model, digits.train, epochs=rest, seed=1000 + seed, after_step=hold_masks(drawn), **common)
    return model


def bounded(digits: Digits, settings: Settings, name: str, seed: int) -> Values:
    """One network: accuracy, what is verified at each ε, what is attacked, and the norm that intervals multiply by."""
    model = trained(digits, settings, name, seed)
    test = digits.test.subset(slice(0, settings.tested))
    first = test.subset(slice(0, settings.linear))

    def part(right: Tensor) -> float:
        return round(float(right.double().mean()), 4)

    attack = settings.steps, settings.restarts
    return {
        "density": round(density(model), 4),
        "validation": round(1 - errors(model, digits.validation) / len(digits.validation), 4),
        "clean": round(1 - errors(model, test) / len(test), 4),
        "intervals": {str(epsilon): part(verified(model, test, epsilon)) for epsilon in settings.epsilons},
        "some intervals": {str(epsilon): part(verified(model, first, epsilon)) for epsilon in settings.epsilons},
        "linear": {str(epsilon): part(verified(model, first, epsilon, linear=True)) for epsilon in settings.epsilons},
        "attacked": {
            str(epsilon): round(robust_accuracy(model, test, epsilon, *attack), 4) for epsilon in settings.attacked
        },
        "row norm": round(float(model[1].weight.detach().abs().sum(1).max()), 3),
    }


def smoothed(digits: Digits, settings: Settings, name: str, seed: int) -> Values:
    """One network, trained with noise: its radii on test digits, and their mean (ACR; 0 where it is wrong)."""
    model = trained(digits, settings, name, seed, settings.sigma)
    some = digits.test.subset(slice(0, settings.certified))
    radii = certified_radii(model, some, settings.sigma, settings.selection, settings.estimation, settings.alpha, seed)
    return {
        "density": round(density(model), 4),
        "acr": round(float(radii.mean()), 4),
        "radii": [round(radius, 3) for radius in radii.sort().values.tolist()],
    }
