"""Two controls of `course reproduce early-bird`: the penalty on the scales |γ|, and widths without any search.

The dense network of that experiment, trained with no penalty at all and with the authors' 1e-4: when do its masks
settle? (With ten times as much: that experiment.) And networks with as many channels in all, the same part of each
layer, from scratch: are the widths that the ranking finds any better?
"""

import itertools
from dataclasses import asdict, dataclass, field, replace

from course_utils.data import Digits
from course_utils.lottery import reproduce_early_bird as early_bird
from course_utils.reproduce.runner import Done, Experiment, Piece, Values


@dataclass(frozen=True)
class Settings:
    penalties: tuple[float, ...] = (0.0, 1e-4)
    network: early_bird.Settings = field(default_factory=early_bird.Settings)


def load(digits: Digits | None, settings: Settings) -> Digits:
    return early_bird.load(digits, settings.network)


def pieces(digits: Digits, settings: Settings, seeds: int) -> list[Piece]:
    """For each seed a dense network with each penalty, and an even one of each size."""
    work = []
    for seed, keep in itertools.product(range(seeds), settings.network.keep):
        work.append(Piece(f"even/{keep:.0%}/seed {seed}", train_even, (keep, seed), group="even", seed=seed))
    for seed, penalty in itertools.product(range(seeds), settings.penalties):
        name = f"penalty {penalty:g}/seed {seed}"
        work.append(Piece(name, train_penalized, (penalty, seed), group=f"{penalty:g}", seed=seed))
    return work


def collect(digits: Digits, settings: Settings, done: Done) -> Values:
    """When each mask had settled, by penalty and seed, and the dense network's cost; the even networks' cost."""
    return {
        "experiment": "early-bird tickets: the penalty on the scales, and even widths",
        "data": digits.summary(),
        "settings": asdict(settings),
        "penalties": {
            f"{penalty:g}": [done[f"penalty {penalty:g}/seed {seed}"] for seed in done.seeds(f"{penalty:g}")]
            for penalty in settings.penalties
        },
        "even": {
            f"{keep:.0%}": [done[f"even/{keep:.0%}/seed {seed}"]["cost"] for seed in done.seeds("even")]
            for keep in settings.network.keep
        },
        "provenance": done.origin(),
    }


run = Experiment("early_bird_controls", Settings, load, pieces, collect).run


def train_penalized(digits: Digits, settings: Settings, penalty: float, seed: int) -> Values:
    """The dense network's masks and cost; here a mask may never settle."""
    found = early_bird.train_dense(digits, replace(settings.network, gamma_decay=penalty), seed, must_settle=False)
    return {"seed": seed} | found["masks"] | {"dense": found["cost"]}


def train_even(digits: Digits, settings: Settings, keep: float, seed: int) -> Values:
    """A network with the same part of each layer's channels, from scratch, with the first seed of its twin's."""
    network = settings.network
    small = early_bird.fresh(tuple(max(1, round(keep * width)) for width in network.widths), 300 + seed)
    took = sum(early_bird.train_epochs(small, digits.train, network, 0, network.epochs, 100 + seed))
    return {"cost": early_bird.cost(small, digits, network, took, 0, 0)}
