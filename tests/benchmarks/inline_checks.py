"""How long an inline check takes: `python -m tests.benchmarks.inline_checks` prints median and quartiles in ms."""

import importlib
import time

import numpy as np

from course_utils.checks.engine import run
from course_utils.units import available, load_unit


def main(repeats: int = 20) -> None:
    print(f"{'exercise':<36}{'median':>8}{'lower':>8}{'upper':>8}  ms")
    for topic in available():
        module = importlib.import_module(f"course_utils.{topic}")
        for exercise in load_unit(topic).exercises:
            samples = []
            for _ in range(repeats):
                start = time.perf_counter()
                run(exercise, getattr(module, exercise.name))
                samples.append(1000 * (time.perf_counter() - start))
            lower, median, upper = np.percentile(samples[1:], [25, 50, 75])
            print(f"{exercise.id + ' ' + exercise.name:<36}{median:8.1f}{lower:8.1f}{upper:8.1f}")


if __name__ == "__main__":
    main()
