"""The clock of reproduce.py once more, each reading in a process of its own.

Small layers take a fifth of a millisecond, and more of it in a process that has trained for an hour than in a new one: the
state of its memory counts, too. A network in use runs in a process that has not trained.
"""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from multiprocessing import get_context
from typing import Any

import torch

from course_utils.data import Digits
from course_utils.reproduce.runner import Done, Experiment, Piece, Values
from course_utils.structured.reproduce import Settings, time_layers, time_zeros


def load(digits: Digits | None, settings: Settings) -> None:
    """No digits: random images are as good for a clock."""


def pieces(data: None, settings: Settings, seeds: int) -> list[Piece]:
    work = []
    for run in range(seeds):
        here = partial(Piece, seed=run)
        work += [here(f"run {run}/{t} threads", layers_apart, (run, t)) for t in settings.threads]
        work += [here(f"run {run}/zeros/{b}", zeros_apart, (run, b)) for b in settings.batches[:2]]
    return work


def layers_apart(data: None, settings: Settings, run: int, threads: int) -> Values:
    return apart(time_layers, data, settings, run, threads)


def zeros_apart(data: None, settings: Settings, run: int, batch: int) -> Values:
    return apart(time_zeros, data, settings, run, batch)


def apart(function: Callable[..., Values], *arguments: Any) -> Values:
    """What a function returns in a new process with one thread."""
    with ProcessPoolExecutor(1, get_context("spawn"), torch.set_num_threads, (1,)) as executor:
        return executor.submit(function, *arguments).result()


def collect(data: None, settings: Settings, done: Done) -> Values:
    """The times, as reproduce.py has them."""
    return {
        "experiment": "times of a LeNet's layers, each in a process of its own",
        "settings": asdict(settings),
        **done.origin(),
        "times": [
            {
                "layers": {str(t): done[f"run {run}/{t} threads"] for t in settings.threads},
                "zeros": {str(batch): done[f"run {run}/zeros/{batch}"] for batch in settings.batches[:2]},
            }
            for run in done.seeds()
        ],
    }


run = Experiment("layer_times", Settings, load, pieces, collect).run
