"""When to regroup: the winning ticket rather than the last one, and after every round rather than once.

`reproduce.py` regroups the ticket of the last round, once. Here the ticket of the round before, which has lost nothing,
is regrouped; and, as in IMP-Regroup (Chen 2022, section 3), the mask of every round, which the next round prunes.
Beside them stand small dense networks, some of which take as long as the blocks. All are raced in one run, and of each
the shortest time counts: others may use the machine meanwhile.
"""

from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import torch

from course_utils import lottery
from course_utils.data import Digits
from course_utils.models import mlp_forward
from course_utils.regroup import packing
from course_utils.regroup import reproduce as wide
from course_utils.regroup.reproduce_groups import load, rounds_of
from course_utils.regroup.tickets import Masks, first_state
from course_utils.reproduce.runner import Done, Experiment, Piece, Values

WINNING, EVERY, SMALL = "winning ticket", "every round", "small dense"


@dataclass(frozen=True)
class Settings:
    """The recipe; the round of the winning ticket; the areas of the winning and of every round's ticket at the end; the
    parts of all weights that small dense networks have.

    With every round's, the area falls by the same factor from round to round.
    """

    recipe: wide.Settings = field(default_factory=wide.Settings)
    width: tuple[int, int] = wide.WIDTHS[0]
    winning: int = 2
    areas: tuple[float, ...] = (0.1, 0.2)
    every: tuple[float, ...] = (0.1,)
    parts: tuple[float, ...] = (0.15, 0.25, 0.35)
    repeats: tuple[int, ...] = (400, 100, 50)

    def longer(self) -> wide.Settings:
        return replace(self.recipe, epochs=self.recipe.longer * self.recipe.epochs)


def pieces(digits: Digits, settings: Settings, seeds: int) -> list[Piece]:
    """For each seed the rounds up to the winning ticket, what is regrouped, small dense networks, and the clock; then
    the small ones for as long as `reproduce_twins.py` trains."""
    work, longer = [], []
    for seed in range(seeds):
        here = partial(Piece, seed=seed)
        rounds = rounds_of(settings, seed, settings.winning)
        dense, winning = rounds[0].name, rounds[-1].name
        ends = [
            here(f"seed {seed}/{WINNING}/{area}", regroup_once, (seed, area), (winning,)) for area in settings.areas
        ]
        between = []
        for area in settings.every:
            before = dense
            for number in range(1, settings.recipe.rounds + 1):
                last = number == settings.recipe.rounds
                name = f"seed {seed}/{EVERY}/{area}" + ("" if last else f"/round {number}")
                piece = here(name, regroup_round, (seed, area, number), (before,))
                (ends if last else between).append(piece)
                before = name
        small = [here(f"seed {seed}/{SMALL}/{part}", train_small, (seed, part)) for part in settings.parts]
        longer += [here(f"{end.name}/longer", train_small, (*end.arguments, True)) for end in small]
        ends += small
        needs = (dense, winning, *(piece.name for piece in ends))
        names = tuple(name.split("/", 1)[1] for name in needs)
        clock = here(f"seed {seed}/times", time_networks, (seed, names), needs)
        work += [*rounds, *between, *ends, clock]
    return work + longer


def collect(digits: Digits, settings: Settings, done: Done) -> Values:
    def of_seed(seed: int) -> Values:
        here = f"seed {seed}/"
        names = [piece.name.removeprefix(here) for piece in done.pieces if piece.name.startswith(here)]
        found = {name: done[here + name] for name in names}
        return {"seed": seed} | {n: wide.described(each) if "blocks" in each else each for n, each in found.items()}

    return {
        "experiment": "tickets on hardware: the winning ticket regrouped, and regrouping after every round",
        "data": digits.summary(),
        "settings": asdict(settings),
        "choices": "none: areas and parts were fixed beforehand, and each is judged on the test digits",
        "clock": "processor time of the one thread, milliseconds: the shortest of all repeats, all in turn",
        **done.origin(),
        "weights": wide.weights_in(settings.width),
        "longer": settings.longer().epochs,
        "runs": [of_seed(seed) for seed in done.seeds()],
    }


run = Experiment("regroup_rounds", Settings, load, pieces, collect).run


def regroup_once(digits: Digits, settings: Settings, seed: int, area: float, ticket: dict[str, Any]) -> dict[str, Any]:
    """Regroup the ticket of a round, and train it from its first weights."""
    return train_regrouped(digits, settings, seed, area, ticket["masks"])


def regroup_round(
    digits: Digits, settings: Settings, seed: int, area: float, number: int, before: dict[str, Any]
) -> dict[str, Any]:
    """A round of IMP-Regroup: prune what was trained, within its blocks, regroup what is left, train that.

    area: that of the last round.
    """
    recipe = settings.recipe
    masks = lottery.prune_tickets(before["state"], before["masks"], recipe.rate)
    found = train_regrouped(digits, settings, seed, area ** (number / recipe.rounds), masks)
    return found | {"pruned": sum(int(mask.sum()) for mask in masks.values())}


def train_regrouped(digits: Digits, settings: Settings, seed: int, area: float, masks: Masks) -> dict[str, Any]:
    found = wide.find_blocks(digits, settings.recipe, seed, wide.PARTITIONED, area, {"masks": masks})
    inside = {name: packing.mask_of(found["blocks"][name], mask) for name, mask in masks.items()}
    state = lottery.rewind(first_state(seed, settings.width), inside)
    trained = wide.train(state, inside, digits, settings.recipe, 1000 * seed + 100)
    return found | {"grouping_seconds": found["seconds"], "masks": inside} | trained


def train_small(digits: Digits, settings: Settings, seed: int, part: float, longer: bool = False) -> dict[str, Any]:
    """A narrower dense network with a part of the weights."""
    width = wide.small_width(round(part * wide.weights_in(settings.width)), settings.width)
    initial = first_state(1000 + seed, width)
    recipe = settings.longer() if longer else settings.recipe
    return wide.train(initial, wide.all_kept(initial), digits, recipe, 1000 * seed + 100) | {"width": list(width)}


def time_networks(digits: Digits, settings: Settings, seed: int, names: tuple[str, ...], *results: dict) -> Values:
    """The shortest milliseconds of whole networks by batch, on one thread."""
    found = dict(zip(names, results, strict=True))
    dense, winning = found.pop("round 0")["state"], found.pop(f"round {settings.winning}")["state"]
    networks: dict[str, tuple[str, Any]] = {
        "dense": ("rows", packing.dense_network(dense)),
        "dense, [batch, features]": ("columns", packing.dense_columns_network(dense)),
        "CSR": ("rows", packing.csr_network(winning)),
        "SciPy's CSR": ("numpy", packing.scipy_network(winning)),
    }
    for name, each in found.items():
        small = name.startswith(SMALL)
        state = each["state"]
        networks[name] = (
            "rows",
            packing.dense_network(state) if small else packing.packed_network(state, each["blocks"]),
        )
    times, same = {}, []
    for batch, repeats in zip(settings.recipe.batches, settings.repeats, strict=True):
        x = digits.test.images[:batch].flatten(1).T
        calls = packing.calls(x, networks)
        times[str(batch)] = {name: round(min(taken), 5) for name, taken in packing.in_turn(calls, repeats).items()}
        same += [
            torch.allclose(calls[name](), mlp_forward(each["state"], x.T).T, atol=1e-3) for name, each in found.items()
        ]
    return {"milliseconds": times, "same_logits": all(same)}
