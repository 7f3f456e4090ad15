"""Robust overfitting, and what sparsity does to it: the claims of *Sparsity Winning Twice* on a few digits.

Every network has the same training: some epochs on clean images, then a mask or none, then adversarial training with
the attack strength of the test. Robust Bird's own program does so too: the mask is that of the largest weights after
standard training, and what is kept keeps its value.
"""

import copy
from dataclasses import asdict, dataclass
from functools import partial

import torch

from course_utils.data import Digits, Split, embedded_digits
from course_utils.pruning import Masks, apply_masks
from course_utils.reproduce.runner import Done, Experiment, Piece, Values
from course_utils.robustness.attacks import robust_accuracy, survivors, train_epoch
from course_utils.robustness.networks import cnn, density, largest, noisy_labels, shuffled
from course_utils.training import errors

PAPER = {
    "source": "T. Chen et al., arXiv:2202.09844; the table of its repository: ResNet-18, CIFAR-10, 80% sparsity",
    "dense": {"best": 51.10, "final": 43.61, "gap": 38.82},
    "Robust Bird": {"best": 50.18, "final": 46.10, "gap": 23.37},
    "Flying Bird+": {"best": 51.70, "final": 47.51, "gap": 23.89},
    "claimed": {"best": 0.60, "final": 3.90},  # points above dense, of Flying Bird+
}


NAMES = ("dense", "small dense", "bird", "random")
CLEAN = ("dense", "bird")  # trained with right labels too


@dataclass(frozen=True)
class Settings:
    """What the experiment fixes beforehand; chosen on the validation digits of seed 0."""

    examples: int = 300  # to train on, others for each seed
    wrong: float = 0.2  # of the labels, in the noisy half of the experiment
    epsilon: float = 0.1
    attack_steps: int = 3  # in training
    plain_epochs: int = 10
    epochs: int = 64
    lr: float = 1e-3  # of Adam
    keep: float = 0.1
    narrow: tuple[int, int, int] = (4, 8, 40)  # a dense network with a tenth of the weights
    look_every: int = 4  # epochs
    look_steps: int = 10
    looked_at: int = 250  # validation digits
    tested: int = 500  # test digits
    steps: int = 20  # of the attack that counts
    restarts: int = 2  # the first from the image itself
    harder: tuple[int, int, int] = (100, 5, 200)  # steps, restarts, test digits
    hopeless: float = 0.5  # an ε that leaves nothing to see


def load(digits: Digits | None, settings: Settings) -> Digits:
    return digits or embedded_digits()


def pieces(digits: Digits, settings: Settings, seeds: int) -> list[Piece]:
    """For each seed every network, with wrong labels and without."""
    work = []
    for seed in range(seeds):
        here = partial(Piece, group="networks", seed=seed)
        work += [here(f"seed {seed}/noisy/{name}", train, (name, True, seed)) for name in NAMES]
        work += [here(f"seed {seed}/clean/{name}", train, (name, False, seed)) for name in CLEAN]
    return work


def collect(digits: Digits, settings: Settings, done: Done) -> Values:
    """Each network by seed."""
    return {
        "experiment": "robust overfitting on a few digits, dense and sparse",
        "data": digits.summary(),
        "settings": asdict(settings),
        "choices": "epochs are stopped on validation digits; test digits are attacked at that epoch and at the last",
        **done.origin(),
        "paper": PAPER,
        "runs": [
            {
                "seed": seed,
                "noisy": {name: done[f"seed {seed}/noisy/{name}"] for name in NAMES},
                "clean": {name: done[f"seed {seed}/clean/{name}"] for name in CLEAN},
            }
            for seed in done.seeds("networks")
        ],
    }


run = Experiment("robustness", Settings, load, pieces, collect).run


def masks_for(name: str, model: torch.nn.Module, keep: float, seed: int) -> Masks:
    if name == "bird":
        return largest(model, keep)
    return shuffled(model, keep, seed) if name == "random" else {}


def train(digits: Digits, settings: Settings, name: str, noisy: bool, seed: int) -> Values:
    """One network: its curves on training and validation digits, and test digits under attack at two epochs."""
    first = settings.examples * seed % max(1, len(digits.train) - settings.examples + 1)
    split = digits.train.subset(slice(first, first + settings.examples))
    if noisy:
        split = Split(split.images, noisy_labels(split.labels, settings.wrong, seed))
    model = cnn(seed, settings.narrow) if name == "small dense" else cnn(seed)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), settings.lr)
    for _ in range(settings.plain_epochs):
        train_epoch(model, split, optimizer, generator, 0.0, 0, {})
    validation = digits.validation.subset(slice(0, settings.looked_at))
    test = digits.test.subset(slice(0, settings.tested))
    masks = masks_for(name, model, settings.keep, seed)
    apply_masks(model, masks)
    optimizer = torch.optim.Adam(model.parameters(), settings.lr)
    trained, looked, best, best_epoch, best_state = [], {}, -1.0, 0, {}
    for epoch in range(1, settings.epochs + 1):
        trained.append(train_epoch(model, split, optimizer, generator, settings.epsilon, settings.attack_steps, masks))
        if epoch % settings.look_every == 0 or epoch == settings.epochs:
            looked[epoch] = robust_accuracy(model, validation, settings.epsilon, settings.look_steps)
            if looked[epoch] > best:
                best, best_epoch, best_state = looked[epoch], epoch, copy.deepcopy(model.state_dict())
    final = judged(model, test, settings) | {"checks": checks(model, test, settings)}
    kept = density(model)
    model.load_state_dict(best_state)
    return {
        "density": round(kept, 4),
        "weights": sum(p.numel() for p in model.parameters() if p.dim() > 1),
        "train": [round(value, 4) for value in trained],
        "epochs": list(looked),
        "validation": [round(value, 4) for value in looked.values()],
        "final": final,
        "stopped": judged(model, test, settings) | {"epoch": best_epoch},
    }


def judged(model: torch.nn.Module, split: Split, settings: Settings) -> Values:
    """The test digits: clean, and under the attack that counts."""
    attack = settings.epsilon, settings.steps, settings.restarts
    return {
        "clean": round(1 - errors(model, split) / len(split), 4),
        "robust": round(robust_accuracy(model, split, *attack), 4),
    }


def checks(model: torch.nn.Module, split: Split, settings: Settings) -> Values:
    """What would show that gradients are masked: a weak attack that does better, a huge ε that does not fool."""
    steps, restarts, count = settings.harder
    some = split.subset(slice(0, count))
    weak = survivors(model, some, settings.epsilon, settings.look_steps)
    usual = survivors(model, some, settings.epsilon, settings.steps, settings.restarts)
    harder = survivors(model, some, settings.epsilon, steps, restarts)
    hopeless = survivors(model, some, settings.hopeless, settings.steps)
    named = {"weak": weak, "usual": usual, "harder": harder, "hopeless": hopeless}
    return {name: round(float(right.double().mean()), 4) for name, right in named.items()}
