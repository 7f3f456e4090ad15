"""The control of the partitioner: the wide MLP's ticket, regrouped with the same thresholds by random groups.

In `reproduce.py` the area is set, and t₂ follows from it; here t₂ is the partitioner's for both, and the area follows.
"""

from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from course_utils import lottery, regroup
from course_utils.data import Digits
from course_utils.regroup import grouping
from course_utils.regroup import reproduce as wide
from course_utils.regroup.tickets import first_state
from course_utils.reproduce.runner import Done, Experiment, Piece, Values

WAYS = {"partitioned": grouping.partition, "random": grouping.random_groups}


@dataclass(frozen=True)
class Settings:
    """The recipe, and the area that the partitioner's blocks may take."""

    recipe: wide.Settings = field(default_factory=wide.Settings)
    width: tuple[int, int] = wide.WIDTHS[0]
    area: float = 0.1


def load(digits: Digits | None, settings: Settings) -> Digits:
    return wide.load(digits, settings.recipe)


def rounds_of(settings: Any, seed: int, last: int) -> list[Piece]:
    """Rounds 0 to `last` of pruning of one seed, for any settings with a `recipe` and a `width`; each goes on from the
    one before."""
    names = [f"seed {seed}/round {number}" for number in range(last + 1)]
    return [
        Piece(name, train_round, (seed, number), tuple(names[max(0, number - 1) : number]), seed=seed)
        for number, name in enumerate(names)
    ]


def pieces(digits: Digits, settings: Settings, seeds: int) -> list[Piece]:
    """For each seed the rounds, the thresholds, and the ticket regrouped both ways."""
    work = []
    for seed in range(seeds):
        here = partial(Piece, seed=seed)
        rounds = rounds_of(settings, seed, settings.recipe.rounds)
        last = rounds[-1].name
        thresholds = f"seed {seed}/thresholds"
        work += [*rounds, here(thresholds, find_thresholds, (seed,), (last,))]
        work += [here(f"seed {seed}/{way}", train_regrouped, (seed, way), (last, thresholds)) for way in WAYS]
    return work


def collect(digits: Digits, settings: Settings, done: Done) -> Values:
    return {
        "experiment": "the partitioner's groups and random ones with the same thresholds",
        "data": digits.summary(),
        "settings": asdict(settings),
        **done.origin(),
        "runs": [{"seed": seed} | {way: done[f"seed {seed}/{way}"] for way in WAYS} for seed in done.seeds()],
    }


run = Experiment("groups", Settings, load, pieces, collect).run


def train_round(digits: Digits, settings: Any, seed: int, number: int, *before: dict[str, Any]) -> dict[str, Any]:
    return wide.train_round(digits, settings.recipe, seed, settings.width, number, *before)


def find_thresholds(digits: Digits, settings: Settings, seed: int, last: dict[str, Any]) -> Values:
    """t₂ of both layers."""
    found = wide.find_blocks(digits, settings.recipe, seed, wide.PARTITIONED, settings.area, last)
    return {"t2": [layer["t2"] for layer in found["layers"]]}


def train_regrouped(
    digits: Digits, settings: Settings, seed: int, way: str, last: dict[str, Any], thresholds: Values
) -> dict[str, Any]:
    """Regroup the ticket by one way, train it from its first weights; errors, and what the blocks are like."""
    recipe, masks, layers, numbers = settings.recipe, {}, [], 0
    for (name, mask), t2 in zip(last["masks"].items(), thresholds["t2"], strict=True):
        count = max(2, round(int(mask.any(dim=1).sum()) / recipe.rows_per_group))
        limits = (recipe.b1, t2, recipe.b2)
        partitions = grouping.partitions_of(mask, count, limits, seed, WAYS[way], recipe.passes)
        blocks, masks[name] = regroup.regroup(mask, partitions, *limits)
        numbers += sum(len(rows) + len(columns) for rows, columns in blocks)
        inside = masks[name]
        layers.append(
            {
                "t2": t2,
                "blocks": len(blocks),
                "area": round(float(inside.float().mean()), 5),
                "covers": round(float((inside & mask).sum() / mask.sum()), 5),
                "columns": int(inside.any(dim=0).sum()),
            }
        )
    state = lottery.rewind(first_state(seed, settings.width), masks)
    found = wide.train(state, masks, digits, recipe, 1000 * seed + 100)
    return found | {"layers": layers, "numbers": numbers}
