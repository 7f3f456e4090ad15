"""A ticket of LeNet-300-100 on the embedded digits, with the groups of its rows: what lab 08 and the widget start from.

The lab has no partitioner: it reads the groups here. Masks are stored row by row as hexadecimal bits.
"""

from dataclasses import asdict, dataclass
from typing import Any

from course_utils.data import Digits, embedded_digits
from course_utils.regroup import grouping
from course_utils.regroup import reproduce as wide
from course_utils.regroup.tickets import written
from course_utils.reproduce.runner import Done, Experiment, Piece, Values

WIDTH = (300, 100)


@dataclass(frozen=True)
class Settings:
    """The recipe, and by layer b1, t2, b2 and the number of groups."""

    epochs: int = 20
    batch_size: int = 60
    rate: float = 0.65
    rounds: int = 3
    thresholds: tuple[tuple[int, int, int], ...] = ((4, 3, 16), (4, 3, 8))
    groups: tuple[int, ...] = (15, 6)
    passes: int = 3


def load(digits: Digits | None, settings: Settings) -> Digits:
    return digits or embedded_digits()


def pieces(digits: Digits, settings: Settings, seeds: int) -> list[Piece]:
    """The rounds, then the groups of the last ticket."""
    names = [f"round {number}" for number in range(settings.rounds + 1)]
    rounds = [Piece(n, train_round, (i,), tuple(names[max(0, i - 1) : i]), seed=0) for i, n in enumerate(names)]
    return [*rounds, Piece("groups", divide, (), (names[-1],), seed=0)]


def collect(digits: Digits, settings: Settings, done: Done) -> Values:
    return {
        "experiment": "a ticket of LeNet-300-100 and the groups of its rows",
        "data": digits.summary(),
        "settings": asdict(settings),
        **done.origin(),
        "rounds": [found for i in range(settings.rounds + 1) if (found := done.get(f"round {i}"))],
        "layers": (done.get("groups") or {}).get("layers"),
    }


run = Experiment("ticket", Settings, load, pieces, collect).run


def train_round(digits: Digits, settings: Settings, number: int, *before: dict[str, Any]) -> dict[str, Any]:
    recipe = wide.Settings(epochs=settings.epochs, batch_size=settings.batch_size, rate=settings.rate)
    return wide.train_round(digits, recipe, 0, WIDTH, number, *before)


def divide(digits: Digits, settings: Settings, last: dict[str, Any]) -> Values:
    """The partitions of each layer's mask, by the partitioner and by chance, pass after pass."""
    layers = []
    for (name, mask), thresholds, count in zip(
        last["masks"].items(), settings.thresholds, settings.groups, strict=True
    ):
        found = {
            way: grouping.partitions_of(mask, count, thresholds, 0, function, settings.passes)
            for way, function in (("partitioned", grouping.partition), ("random", grouping.random_groups))
        }
        layers.append({"name": name, "thresholds": list(thresholds), "mask": written(mask), **found})
    return {"layers": layers}
