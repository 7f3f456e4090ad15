"""`course reproduce NAME`: papers' experiments at their own scale, each in the room of its unit.

A room's reproduce.py is the experiment with the unit's name, its reproduce_NAME.py one named NAME. Such a module has
`run(seeds, out)`, which stores its results as out/NAME.json; the lectures read those files. runner.py says how it
declares its pieces of work, and does them.
"""

import importlib
import json
import os
import platform
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from course_utils import __version__
from course_utils.data import write_atomically
from course_utils.units import PACKAGE, ROOT, available


def experiments() -> dict[str, str]:
    """What can be reproduced: modules by name."""
    found = {}
    for topic in available():
        for path in (PACKAGE / topic).glob("reproduce*.py"):
            found[path.stem.removeprefix("reproduce").removeprefix("_") or topic] = f"course_utils.{topic}.{path.stem}"
    return dict(sorted(found.items()))


def reproduce_experiment(
    name: str, seeds: int = 3, out: Path | None = None, workers: int = 1, scheduler: str | None = None
) -> None:
    """Run an experiment with seeds 0, 1, … and store out/NAME.json, on `workers` processes or on a Dask scheduler's.

    ValueError if there is no such experiment.
    """
    name = name.replace("-", "_")
    if name not in experiments():
        raise ValueError(f"There is no experiment named {name!r}: choose from {', '.join(experiments())}.")
    if seeds < 1:
        raise ValueError(f"An experiment needs at least one seed, not {seeds}.")
    if workers < 1:
        raise ValueError(f"An experiment needs at least one worker, not {workers}.")
    if scheduler is not None and workers > 1:
        raise ValueError("Workers are those of this machine or of a Dask scheduler: give --workers or --scheduler.")
    experiment = importlib.import_module(experiments()[name])
    experiment.run(seeds, out or ROOT / "lectures" / "results", workers=workers, scheduler=scheduler)


def stored_results(name: str) -> dict[str, Any]:
    """What lectures/results/NAME.json holds: the last run of an experiment. ValueError if it was never run."""
    path = ROOT / "lectures" / "results" / f"{name}.json"
    if not path.exists():
        raise ValueError(f"There are no results at {path}: make them with 'course reproduce {name}'.")
    return json.loads(path.read_text())


def fewer_seeds(counts: Mapping[str, int]) -> str:
    """Which results have fewer seeds than the others, as one sentence; "" if all have the same. counts: by name."""
    most = max(counts.values(), default=0)
    fewer = ", ".join(f"{name} {count}" for name, count in counts.items() if count < most)
    return f"Fewer seeds than the others: {fewer} (the others {most})." if fewer else ""


def provenance() -> dict[str, Any]:
    """Where and with what a result was computed: the command, versions, processor, threads and date (UTC)."""
    return {
        "command": " ".join(["course", *sys.argv[1:]]),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        "versions": {
            "course": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        "cpu": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }


def write_results(path: Path, results: dict[str, Any]) -> None:
    """Store results as JSON that reads well in a diff."""
    write_atomically(path, (json.dumps(results, indent=1, ensure_ascii=False) + "\n").encode())


def processor() -> str:
    """The processor's name: of Linux, /proc/cpuinfo knows it and Python does not."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
