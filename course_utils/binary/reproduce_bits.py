"""What one bit costs, and where: weights, pixels and activations made binary one by one, on the embedded digits.

Published for ImageNet (M. Rastegari et al., arXiv:1603.05279, 2016, table 1, AlexNet, top-1 accuracy): 56.6% in
float32, 56.8% with binary weights, 44.2% with binary weights and inputs of each layer. Here every combination has the
same layers, first weights, order of digits and epochs. Weights also with their best scale α (exercise 5.6), which a
normalization absorbs after training and not before.
"""

import itertools
import math
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils.binary import Sign, pixel_signs
from course_utils.data import Digits, embedded_digits
from course_utils.reproduce.runner import Done, Experiment, Piece, Values
from course_utils.training import cosine, errors, set_seed, train

PAPER = {
    "source": "M. Rastegari, V. Ordonez, J. Redmon and A. Farhadi, arXiv:1603.05279, 2016, table 1 (AlexNet, top-1)",
    "float32": 56.6,
    "binary weights": 56.8,
    "binary weights and inputs": 44.2,
}
WEIGHTS = ("real", "signs", "scaled signs")
PIXELS = ("gray", "signs")
ACTIVATIONS = {"ReLU": torch.relu, "hardtanh": F.hardtanh, "signs": Sign.apply}


@dataclass(frozen=True)
class Settings:
    hidden: int = 256  # units of each of two hidden layers
    widths: tuple[int, ...] = (32, 64, 128, 512)  # as well, for the two ends: all real, all signs
    epochs: int = 30
    batch_size: int = 100
    rates: tuple[float, ...] = (1e-3, 1e-2)  # of Adam, falling to 0 along a cosine; the validation digits choose


class PartlyBinary(nn.Module):
    """Images -> two hidden layers with batch normalization -> logits. weights, pixels, activation: how each is seen."""

    def __init__(self, hidden: int, weights: str, pixels: str, activation: str) -> None:
        super().__init__()
        self.sizes = sizes = (784, hidden, hidden, 10)
        self.weights, self.pixels, self.activation = weights, pixels, ACTIVATIONS[activation]
        self.linears = nn.ParameterList(torch.empty(o, i).uniform_(-0.1, 0.1) for i, o in itertools.pairwise(sizes))
        self.norms = nn.ModuleList(nn.BatchNorm1d(size) for size in sizes[1:-1])
        self.scale = nn.Parameter(torch.tensor(1 / math.sqrt(hidden)))

    def seen(self, weight: Tensor) -> Tensor:
        """A layer's weights as the network computes with them."""
        if self.weights == "real":
            return weight
        alpha = weight.abs().mean(dim=1, keepdim=True) if self.weights == "scaled signs" else 1.0
        return alpha * Sign.apply(weight)

    def product(self, inputs: Tensor, weight: Tensor) -> Tensor:
        return F.linear(inputs, self.seen(weight))

    def forward(self, images: Tensor) -> Tensor:
        hidden = pixel_signs(images) if self.pixels == "signs" else 2 * images.flatten(1) - 1
        for weight, norm in zip(self.linears, self.norms, strict=False):
            hidden = self.activation(norm(self.product(hidden, weight)))
        return self.product(hidden, self.linears[-1]) * self.scale

    @torch.no_grad()
    def clip(self) -> None:
        """After a step: real weights behind signs stay in [−1, 1]."""
        for weight in self.linears if self.weights != "real" else ():
            weight.clamp_(-1, 1)


def label(hidden: int, weights: str, pixels: str, activation: str) -> str:
    return f"{hidden}, weights {weights}, pixels {pixels}, activations {activation}"


def conditions(settings: Settings) -> list[tuple[int, str, str, str]]:
    """Every combination at one width, and the two ends at the others."""
    ends = (("real", "gray", "hardtanh"), ("signs", "signs", "signs"))
    whole = [(settings.hidden, *kinds) for kinds in itertools.product(WEIGHTS, PIXELS, ACTIVATIONS)]
    return whole + [(width, *end) for width in settings.widths for end in ends]


def load(digits: Digits | None, settings: Settings) -> Digits:
    return digits or embedded_digits()


def pieces(digits: Digits, settings: Settings, seeds: int) -> list[Piece]:
    return [
        Piece(f"{label(*each)}/{rate}/seed {seed}", train_one, (*each, rate, seed), group=label(*each), seed=seed)
        for seed in range(seeds) for each in conditions(settings) for rate in settings.rates
    ]  # fmt: skip


def train_one(
    digits: Digits, settings: Settings, hidden: int, weights: str, pixels: str, activation: str, rate: float, seed: int
) -> Values:
    """Errors of one network; those on training digits tell whether it was trained to the end."""
    set_seed(seed)
    model = PartlyBinary(hidden, weights, pixels, activation)
    train(
        model, digits.train, epochs=settings.epochs, batch_size=settings.batch_size, lr=rate, schedule=cosine,
        seed=seed, after_step=PartlyBinary.clip, progress=False,
    )  # fmt: skip
    return {f"{name}_errors": errors(model, getattr(digits, name)) for name in ("train", "validation", "test")}


def collect(digits: Digits, settings: Settings, done: Done) -> Values:
    """Of each condition the rate with the fewest validation errors over all seeds, and its errors."""
    runs = {}
    for each in conditions(settings):
        name = label(*each)
        seeds = done.seeds(name)
        by_rate = {rate: [done[f"{name}/{rate}/seed {seed}"] for seed in seeds] for rate in settings.rates}
        rate = min(by_rate, key=lambda rate: sum(run["validation_errors"] for run in by_rate[rate]))
        keys = ("hidden", "weights", "pixels", "activations")
        runs[name] = dict(zip(keys, each, strict=True)) | {"rate": rate, "runs": by_rate[rate]}
    return {
        "experiment": "what one bit costs, and where",
        "data": digits.summary(),
        "settings": asdict(settings),
        "choices": "the rate of each condition on the validation digits, all seeds together",
        "paper": PAPER,
        "conditions": runs,
        "provenance": done.origin(),
    }


run = Experiment("bits", Settings, load, pieces, collect).run
