"""An experiment that takes no time: two chains of steps, which do what a file tells them.

A file named '0-2' in the folder that TOY_FOLDER names holds what step 2 of seed 0 is to do: fail, hang, or die, once.
"""

import os
import signal
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from course_utils.reproduce.runner import Done, Experiment, Piece


@dataclass(frozen=True)
class Settings:
    size: int = 300
    folder: str = field(default_factory=lambda: os.environ.get("TOY_FOLDER", ""))


def load(digits, settings):
    return torch.rand(settings.size, settings.size, generator=torch.Generator().manual_seed(9))


def pieces(data, settings, seeds):
    return [
        Piece(f"seed {seed}/step {n}", step, (seed, n), (f"seed {seed}/step {n - 1}",) if n else (), seed=seed)
        for n in range(3)
        for seed in range(seeds)
    ]


def step(data, settings, seed, number, before=None):
    folder = Path(settings.folder)
    with (folder / "log").open("a") as log:
        log.write(f"{seed}-{number} {os.getpid()}\n")
    told = folder / f"{seed}-{number}"
    order = told.read_text() if told.exists() else ""
    if order == "fail":
        raise RuntimeError("no\nluck")
    if order == "hang":
        time.sleep(600)
    if order == "die":
        told.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    generator = torch.Generator().manual_seed(seed)
    weights = before["weights"] if number else torch.rand(settings.size, settings.size, generator=generator)
    weights = (weights @ data).softmax(1)
    return {"total": weights[0].square().sum().item(), "weights": weights, "seed": seed}


def collect(data, settings, done: Done):
    return {
        "settings": asdict(settings),
        **done.origin(),
        "runs": {seed: [done[f"seed {seed}/step {n}"]["total"] for n in range(3)] for seed in done.seeds()},
    }


run = Experiment("toy", Settings, load, pieces, collect).run
