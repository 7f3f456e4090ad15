"""The coin in place of the sign: stochastic binarization against the deterministic one, on the embedded digits.

M. Courbariaux et al., arXiv:1602.02830, 2016, eq. 2: +1 with probability max(0, min(1, (x + 1) / 2)), else −1. Networks
with one bit a pixel, as in `reproduce_bits`, which differ in training only: a coin for activations, for weights, for
both, for none; and, as controls that add noise to signs without a coin, dropout and signs that are turned by chance.
"""

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
    rates: tuple[float, ...] = (3e-2, 1e-1)  # of Adam, falling to 0 along a cosine; the validation digits choose
    draws: int = 16  # of all coins, for one mean


@dataclass(frozen=True)
class Noise:
    """What is drawn in training, and nothing else differs. dropout, turned: probability for each hidden activation."""

    weights: bool = False  # by a coin
    activations: bool = False
    dropout: float = 0.0
    turned: float = 0.0


NOISES: dict[str, Noise] = {
    "sign": Noise(),
    "coin for activations": Noise(activations=True),
    "coin for weights": Noise(weights=True),
    "coin for both": Noise(weights=True, activations=True),
    "sign, dropout of a fifth": Noise(dropout=0.2),
    "sign, a tenth turned": Noise(turned=0.1),
}


class Coin(torch.autograd.Function):
    """+1 with probability (real + 1) / 2, cut off at 0 and 1, else −1; straight through on the way back."""

    @staticmethod
    def forward(ctx: Any, real: Tensor) -> Tensor:
        ctx.save_for_backward(real)
        return 2 * (torch.rand_like(real) < (real + 1) / 2).to(real.dtype) - 1

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return straight_through(gradient, *ctx.saved_tensors)


class NoisyBinary(PartlyBinary):
    """All signs, with noise where `drawing` is True: in training as a rule, and in evaluation if it is set."""

    def __init__(self, hidden: int, noise: Noise) -> None:
        super().__init__(hidden, "signs", "signs", "signs")
        self.noise, self.activation, self.drawing = noise, self.noisy_sign, True

    def seen(self, weight: Tensor) -> Tensor:
        return (Coin if self.noise.weights and self.drawing else Sign).apply(weight)

    def noisy_sign(self, real: Tensor) -> Tensor:
        signs = (Coin if self.noise.activations and self.drawing else Sign).apply(real)
        if not self.drawing:
            return signs
        if self.noise.turned:
            signs = torch.where(torch.rand_like(signs) < self.noise.turned, -signs, signs)
        return F.dropout(signs, self.noise.dropout)


@torch.no_grad()
def errors_of_draws(model: NoisyBinary, split: Split, draws: int) -> list[int]:
    """Errors of one draw of all coins, and of the mean of the softmax over `draws` of them."""
    model.eval()
    chances = [F.softmax(model(split.images), dim=1) for _ in range(draws)]
    return [int((each.argmax(1) != split.labels).sum()) for each in (chances[0], torch.stack(chances).mean(0))]


def load(digits: Digits | None, settings: Settings) -> Digits:
    return digits or embedded_digits()


def pieces(digits: Digits, settings: Settings, seeds: int) -> list[Piece]:
    return [
        Piece(f"{name}/{rate}/seed {seed}", train_one, (noise, rate, seed), group=name, seed=seed)
        for seed in range(seeds) for name, noise in NOISES.items() for rate in settings.rates
    ]  # fmt: skip


def train_one(digits: Digits, settings: Settings, noise: Noise, rate: float, seed: int) -> Values:
    """Errors of one network: with signs, and where a coin was used with one draw and with the mean of several."""
    set_seed(seed)
    model = NoisyBinary(settings.hidden, noise)
    train(
        model, digits.train, epochs=settings.epochs, batch_size=settings.batch_size, lr=rate, schedule=cosine,
        seed=seed, after_step=PartlyBinary.clip, progress=False,
    )  # fmt: skip
    result: Values = {}
    if noise.weights or noise.activations:
        set_seed(seed)
        result = dict(
            zip(
                ("test_errors_one_draw", "test_errors_mean"),
                errors_of_draws(model, digits.test, settings.draws),
                strict=True,
            )
        )
    model.drawing = False
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
