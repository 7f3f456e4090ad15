"""Rows of `reproduce transfer` with four times its steps: which methods can do less, and which were only slow?"""

from dataclasses import asdict, dataclass
from functools import partial

from course_utils.reproduce.runner import Done, Experiment, Piece, Values
from course_utils.transfer import reproduce
from course_utils.transfer.methods import METHODS
from course_utils.transfer.reproduce import Task, best_rate, load, plan, try_rate, tuned

# On the usual task; at other sizes and on new words all that `reproduce transfer` has
TRIED = ("full", "from scratch", "adapters", "LoRA on q and v", "LoRA", "LoRA, r 1")


@dataclass(frozen=True)
class Settings(reproduce.Settings):
    """What the experiment fixes beforehand; all but the steps is as in `reproduce transfer`."""

    steps: int = 600


def tried(settings: Settings) -> list[tuple[str, int, str]]:
    """Target, examples and method of every row."""
    usual = ("known words", settings.size)
    return [row for row in plan(settings) if row[:2] != usual or row[2] in TRIED]


def pieces(task: Task, settings: Settings, seeds: int) -> list[Piece]:
    """For each row the rates, which are compared, then each seed at the best."""
    work = []
    for target, size, name in tried(settings):
        row = f"{target}/{size}/{name}"
        rates = {f"{row}/rate {rate}": rate for rate in METHODS[name].rates}
        work += [Piece(each, try_rate, (target, size, name, rate)) for each, rate in rates.items()]
        at_its_best = partial(Piece, function=at_best, needs=tuple(rates))
        work += [at_its_best(f"{row}/{seed}", arguments=(target, size, name, seed), seed=seed) for seed in range(seeds)]
    return work


def at_best(task: Task, settings: Settings, target: str, size: int, name: str, seed: int, *rates: Values) -> Values:
    """A method with one training set, at the rate that was best on validation examples."""
    return tuned(task, settings, target, size, name, seed, best_rate(rates))[-1]


def collect(task: Task, settings: Settings, done: Done) -> Values:
    """Rows as those of `reproduce transfer`."""
    return {
        "experiment": "a task for a small transformer, by some methods, with more steps",
        "settings": asdict(settings),
        **done.origin(),
        "rows": [
            {
                "target": target,
                "examples": size,
                "method": name,
                "rates": [done.get(f"{target}/{size}/{name}/rate {rate}") for rate in METHODS[name].rates],
                "runs": [done[f"{target}/{size}/{name}/{seed}"] for seed in done.seeds()],
            }
            for target, size, name in tried(settings)
        ],
    }


run = Experiment("longer", Settings, load, pieces, collect).run
