"""Methods of `reproduce transfer` with four times its steps: which of them can do less, and which were only slow?"""

from dataclasses import asdict, dataclass

from course_utils.reproduce.runner import Done, Experiment, Piece, Values
from course_utils.transfer import reproduce
from course_utils.transfer.methods import METHODS
from course_utils.transfer.reproduce import Task, best_rate, load, try_rate, tuned

TARGET = "known words"
TRIED = ("full", "from scratch", "adapters", "LoRA on q and v", "LoRA", "LoRA, r 1")


@dataclass(frozen=True)
class Settings(reproduce.Settings):
    """What the experiment fixes beforehand; all but the steps is as in `reproduce transfer`."""

    steps: int = 600


def pieces(task: Task, settings: Settings, seeds: int) -> list[Piece]:
    """For each method the rates, which are compared, then each seed at the best."""
    work = []
    for name in TRIED:
        rates = {f"{name}/rate {rate}": rate for rate in METHODS[name].rates}
        work += [Piece(each, try_rate, (TARGET, settings.size, name, rate)) for each, rate in rates.items()]
        work += [Piece(f"{name}/{seed}", at_best, (name, seed), tuple(rates), seed=seed) for seed in range(seeds)]
    return work


def at_best(task: Task, settings: Settings, name: str, seed: int, *tried: Values) -> Values:
    """A method with one training set, at the rate that was best on validation examples."""
    return tuned(task, settings, TARGET, settings.size, name, seed, best_rate(tried))[-1]


def collect(task: Task, settings: Settings, done: Done) -> Values:
    """Rows as those of `reproduce transfer`."""
    return {
        "experiment": "a task for a small transformer, by some methods, with more steps",
        "settings": asdict(settings),
        **done.origin(),
        "rows": [
            {
                "target": TARGET,
                "examples": settings.size,
                "method": name,
                "rates": [done.get(f"{name}/rate {rate}") for rate in METHODS[name].rates],
                "runs": [done[f"{name}/{seed}"] for seed in done.seeds()],
            }
            for name in TRIED
        ],
    }


run = Experiment("longer", Settings, load, pieces, collect).run
