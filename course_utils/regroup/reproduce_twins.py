"""Equal training for all: the dense network, its ticket, the regrouped one and a small dense one, as long as "longer".

In `reproduce.py` only the small dense network is trained for more epochs; here the others get as many.
"""

from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

from course_utils import lottery
from course_utils.data import Digits
from course_utils.regroup import reproduce as wide
from course_utils.regroup.reproduce_groups import load, rounds_of
from course_utils.regroup.tickets import first_state
from course_utils.reproduce.runner import Done, Experiment, Piece, Values

DENSE, SCATTERED = "dense", "scattered"
TWINS = (wide.PARTITIONED, DENSE, SCATTERED, wide.SMALL)


@dataclass(frozen=True)
class Settings:
    """The recipe; the area that the validation digits chose; the round whose scattered ticket is trained."""

    recipe: wide.Settings = field(default_factory=wide.Settings)
    width: tuple[int, int] = wide.WIDTHS[0]
    area: float = 0.1
    scattered: int = 2

    def longer(self) -> wide.Settings:
        return replace(self.recipe, epochs=self.recipe.longer * self.recipe.epochs)


def pieces(digits: Digits, settings: Settings, seeds: int) -> list[Piece]:
    """For each seed the rounds, the last one's blocks, and the four that are trained for longer."""
    work = []
    for seed in range(seeds):
        here = partial(Piece, seed=seed)
        training = rounds_of(settings, seed, settings.recipe.rounds)
        work += training
        rounds = [piece.name for piece in training]
        blocks = f"seed {seed}/blocks"
        work.append(here(blocks, find_blocks, (seed,), (rounds[-1],)))
        for what in TWINS:
            masks_of = {DENSE: (rounds[0],), SCATTERED: (rounds[settings.scattered],)}.get(what, (rounds[-1], blocks))
            work.append(here(f"seed {seed}/{what}", train_longer, (seed, what), masks_of))
    return work


def collect(digits: Digits, settings: Settings, done: Done) -> Values:
    def of_seed(seed: int) -> Values:
        rounds = [done[f"seed {seed}/round {number}"] for number in range(settings.recipe.rounds + 1)]
        twins = {what: done[f"seed {seed}/{what}"] for what in TWINS}
        return {"seed": seed, "rounds": rounds, "blocks": wide.described(done[f"seed {seed}/blocks"])} | twins

    return {
        "experiment": "tickets on hardware, all trained for as many epochs",
        "data": digits.summary(),
        "settings": asdict(settings),
        **done.origin(),
        "epochs": settings.longer().epochs,
        "runs": [of_seed(seed) for seed in done.seeds()],
    }


run = Experiment("twins", Settings, load, pieces, collect).run


def find_blocks(digits: Digits, settings: Settings, seed: int, last: dict[str, Any]) -> dict[str, Any]:
    return wide.find_blocks(digits, settings.recipe, seed, wide.PARTITIONED, settings.area, last)


def train_longer(
    digits: Digits, settings: Settings, seed: int, what: str, round_: dict[str, Any], *blocks: dict[str, Any]
) -> dict[str, Any]:
    """Train what a round was made into, or a small dense network with as many weights as its blocks, for longer."""
    if blocks:
        return wide.train_condition(
            digits, settings.longer(), seed, settings.width, what, settings.area, round_, *blocks
        )
    state = lottery.rewind(first_state(seed, settings.width), round_["masks"])
    return wide.train(state, round_["masks"], digits, settings.longer(), 1000 * seed + 100)
