"""The clock of reproduce.py once more, each run and number of threads in a process of its own.

Small layers take a fifth of a millisecond, and more in a process that has trained for an hour than in a new one: the
state of its memory counts, too. A network in use runs in a process that has not trained.
"""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context

from course_utils.data import Digits
from course_utils.reproduce.runner import Done, Experiment, Piece, Values
from course_utils.structured.reproduce import Settings, time_layers


def load(digits: Digits | None, settings: Settings) -> None:
    """No digits: random images are as good for a clock."""


def pieces(data: None, settings: Settings, seeds: int) -> list[Piece]:
    return [
        Piece(f"run {run}/{t} threads", apart, (run, t), seed=run) for run in range(seeds) for t in settings.threads
    ]


def apart(data: None, settings: Settings, run: int, threads: int) -> Values:
    """What `time_layers` reads in a new process."""
    with ProcessPoolExecutor(1, get_context("spawn")) as executor:
        return executor.submit(time_layers, data, settings, run, threads).result()


def collect(data: None, settings: Settings, done: Done) -> Values:
    """The times, as reproduce.py has them."""
    return {
        "experiment": "times of a LeNet's layers, each in a process of its own",
        "settings": asdict(settings),
        **done.origin(),
        "times": [
            {"layers": {str(t): done[f"run {run}/{t} threads"] for t in settings.threads}} for run in done.seeds()
        ],
    }


run = Experiment("layer_times", Settings, load, pieces, collect).run
