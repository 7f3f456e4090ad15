"""Machine-made mutants of every reference function are killed by the public laws, but for those that are equivalent."""

import contextlib
import importlib
import signal

import pytest

from course_utils.checks.engine import PUBLIC_SEED
from course_utils.notebooks.source import function_source
from tests.checks.catalogue import exercises, survives
from tests.checks.operators import mutants

EXERCISES = exercises()


@contextlib.contextmanager
def limit(seconds: float):
    """Raise after a time of the processor's, however busy the machine is: a mutant may loop for ever."""

    def stop(signum, frame):
        raise TimeoutError

    previous = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, previous)


def passes(exercise, function) -> bool:
    try:
        with limit(2):
            return all(survives(function, exercise, seed) for seed in (PUBLIC_SEED, 7))
    except TimeoutError:
        return False


@pytest.mark.proof
@pytest.mark.parametrize(("topic", "exercise"), EXERCISES, ids=lambda x: getattr(x, "name", x))
def test_machine_made_mutants_are_killed(topic, exercise, record_property):
    reference = getattr(importlib.import_module(f"course_utils.{topic}"), exercise.name)
    module = importlib.import_module(reference.__module__)  # any file of the room
    equivalent = getattr(importlib.import_module(f"tests.units.{topic}.mutants"), "EQUIVALENT", {})
    tried = list(mutants(module, function_source(topic, exercise.name)))
    survivors = [name for name, function in tried if passes(exercise, function)]
    record_property("made by machine", (len(tried) - len(survivors), len(tried)))
    assert tried, "no operator applies to this function"
    unexplained = sorted(set(survivors) - set(equivalent))
    assert not unexplained, "laws are missing, or say in EQUIVALENT why these are right:\n" + "\n".join(unexplained)
