"""The coin in place of the sign: stochastic binarization against the deterministic one, on the embedded digits.

M. Courbariaux et al., arXiv:1602.02830, 2016, eq. 2: +1 with probability max(0, min(1, (x + 1) / 2)), else −1. Networks
with one bit a pixel, as in `reproduce_bits`, which differ in training only: a coin for activations, for weights, for
both, for none; the coin's mean in its place (and ReLU), which is what could be had without bits; and, as controls that
add noise to signs without a coin, dropout and signs that are turned by chance.
"""

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.binary import Sign, measure_norms, straight_through
from course_utils.binary.reproduce_bits import PartlyBinary
from course_utils.data import Digits, Split, embedded_digits
from course_utils.reproduce.runner import Done, Experiment, Piece, Values
from course_utils.training import cosine, errors, set_seed, train


@dataclass(frozen=True)
class Settings:
    hidden: int = 256  # units of each of two hidden layers
    epochs: int = 30
    batch_size: int = 100
    rates: tuple[float, ...] = (3e-2, 1e-1, 3e-1)  # of Adam, falling to 0 along a cosine; the validation digits choose
    draws: int = 16  # of all coins, for one mean


class Coin(torch.autograd.Function):
    """+1 with probability (real + 1) / 2, cut off at 0 and 1, else −1; straight through on the way back."""

    @staticmethod
    def forward(ctx: Any, real: Tensor) -> Tensor:
        ctx.save_for_backward(real)
        return 2 * (torch.rand_like(real) < (real + 1) / 2).to(real.dtype) - 1

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return straight_through(gradient, *ctx.saved_tensors)


@dataclass(frozen=True)
class Noise:
    """How training sees weights and hidden activations, by `RULES`, and what else disturbs each hidden activation."""

    weights: str = "sign"
    activations: str = "sign"
    dropout: float = 0.0  # probability
    turned: float = 0.0


NOISES: dict[str, Noise] = {
    "sign": Noise(),
    "mean of the coin for activations": Noise(activations="mean"),
    "mean of the coin for weights": Noise(weights="mean"),
    "mean of the coin for both": Noise(weights="mean", activations="mean"),
    "mean of the coin for weights, ReLU": Noise(weights="mean", activations="ReLU"),
    "coin for activations": Noise(activations="coin"),
    "coin for weights": Noise(weights="coin"),
    "coin for both": Noise(weights="coin", activations="coin"),
    "sign, dropout of a fifth": Noise(dropout=0.2),
    "sign, a tenth turned": Noise(turned=0.1),
}


RULES: dict[str, Callable[[Tensor], Tensor]] = {
    "sign": Sign.apply,
    "coin": Coin.apply,
    "mean": F.hardtanh,
    "ReLU": torch.relu,
}


class NoisyBinary(PartlyBinary):
    """Weights and activations by the rules of a noise; `coin` says what stands for its coins, at the test "sign"."""

    def __init__(self, hidden: int, noise: Noise) -> None:
        super().__init__(hidden, "signs", "signs", "signs")
        self.noise, self.activation, self.coin, self.disturbed = noise, self.disturb, "coin", True

    def rule(self, name: str) -> Callable[[Tensor], Tensor]:
        return RULES[self.coin if name == "coin" else name]

    def seen(self, weight: Tensor) -> Tensor:
        return self.rule(self.noise.weights)(weight)

    def disturb(self, real: Tensor) -> Tensor:
        hidden = self.rule(self.noise.activations)(real)
        if not self.disturbed:
            return hidden
        if self.noise.turned:
            hidden = torch.where(torch.rand_like(hidden) < self.noise.turned, -hidden, hidden)
        return F.dropout(hidden, self.noise.dropout)


@torch.no_grad()
def errors_of_draws(model: NoisyBinary, train: Tensor, split: Split, draws: int) -> list[int]:
    """Errors of one draw of all coins, and of the mean of the softmax over `draws` of them.

    Each draw of the weights is a network of its own, whose means and variances are measured over images `train`.
    """
    chances = []
    for _ in range(draws):
        drawn = copy.deepcopy(model)
        if model.noise.weights == "coin":
            for weight in drawn.linears:
                weight.copy_(Coin.apply(weight))  # ±1: from now on the coin falls as it did
        measure_norms(drawn, train)
        chances.append(F.softmax(drawn(split.images), dim=1))
    return [int((each.argmax(1) != split.labels).sum()) for each in (chances[0], torch.stack(chances).mean(0))]


def load(digits: Digits | None, settings: Settings) -> Digits:
    return digits or embedded_digits()


def pieces(digits: Digits, settings: Settings, seeds: int) -> list[Piece]:
    return [
        Piece(f"{name}/{rate}/seed {seed}", train_one, (noise, rate, seed), group=name, seed=seed)
        for seed in range(seeds) for name, noise in NOISES.items() for rate in settings.rates
    ]  # fmt: skip


def train_one(digits: Digits, settings: Settings, noise: Noise, rate: float, seed: int) -> Values:
    """Errors of one network as it was trained, but without noise and with signs in place of coins.

    Where a coin was tossed in training also with one draw, with the mean of several draws, and with the coin's mean.
    """
    set_seed(seed)
    model = NoisyBinary(settings.hidden, noise)
    train(
        model, digits.train, epochs=settings.epochs, batch_size=settings.batch_size, lr=rate, schedule=cosine,
        seed=seed, after_step=PartlyBinary.clip, progress=False,
    )  # fmt: skip
    result: Values = {}
    if "coin" in (noise.weights, noise.activations):
        set_seed(seed)
        one, mean = errors_of_draws(model, digits.train.images, digits.test, settings.draws)
        model.coin = "mean"
        measure_norms(model, digits.train.images)
        result = {"one_draw": one, "mean_of_draws": mean, "mean_of_the_coin": errors(model, digits.test)}
        result = {f"test_errors_{way}": wrong for way, wrong in result.items()}
    model.coin, model.disturbed = "sign", False
    measure_norms(model, digits.train.images)  # of sums without noise
    walls = torch.cat([weight.detach().abs().flatten() for weight in model.linears])
    result |= {f"{name}_errors": errors(model, getattr(digits, name)) for name in ("train", "validation", "test")}
    return result | {"mean_size_of_weights": round(float(walls.mean()), 3)}


def collect(digits: Digits, settings: Settings, done: Done) -> Values:
    """Of each noise the rate with the fewest validation errors over all seeds, and its errors."""
    found = {}
    for name, noise in NOISES.items():
        by_rate = {rate: [done[f"{name}/{rate}/seed {seed}"] for seed in done.seeds(name)] for rate in settings.rates}
        rate = min(by_rate, key=lambda rate: sum(run["validation_errors"] for run in by_rate[rate]))
        found[name] = asdict(noise) | {"rate": rate, "runs": by_rate[rate]}
    return {
        "experiment": "a coin in place of the sign",
        "data": digits.summary(),
        "settings": asdict(settings),
        "choices": "the rate of each noise on the validation digits, all seeds together",
        "noises": found,
        "provenance": done.origin(),
    }


run = Experiment("coin", Settings, load, pieces, collect).run
