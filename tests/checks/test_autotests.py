"""The laws that only instructors have hold for every right solution, and not for a function that ignores its input."""

import importlib
from dataclasses import replace

import pytest

from course_utils.checks import find_exercise
from course_utils.checks.engine import run
from course_utils.units import available, load_unit
from tests.checks.catalogue import VARIANTS, how_often

EXERCISES = [(topic, exercise) for topic in available() for exercise in load_unit(topic).exercises]
LAWS = {}
for _topic in available():
    importlib.import_module(f"tests.units.{_topic}.mutants")
    LAWS |= importlib.import_module(f"tests.units.{_topic}.autotests").LAWS
RIGHT = [
    *((e, getattr(importlib.import_module(f"course_utils.{topic}"), e.name)) for topic, e in EXERCISES),
    *((find_exercise(v.exercise), v.function) for v in VARIANTS if not v.error),
]
SEEDS = range(1000, 1030)  # others than the public laws are proved with


def secret_report(exercise, function, seed):
    return run(replace(exercise, laws=[]), function, seed, LAWS[exercise.id], ask_again=how_often(seed - SEEDS[0]))


def test_every_exercise_has_laws_of_its_own_and_their_names_differ():
    assert sorted(LAWS) == sorted(exercise.id for _, exercise in EXERCISES)
    for _, exercise in EXERCISES:
        names = [law.name for law in (*exercise.laws, *LAWS[exercise.id])]
        assert len(set(names)) == len(names) > len(exercise.laws), exercise.id


@pytest.mark.parametrize(("exercise", "function"), RIGHT, ids=lambda x: getattr(x, "__name__", getattr(x, "id", "")))
def test_every_right_solution_obeys(exercise, function):
    for seed in SEEDS:
        report = secret_report(exercise, function, seed)
        assert report.passed and report.points == exercise.points, f"seed {seed}: {report}"


@pytest.mark.parametrize("exercise", [exercise for _, exercise in EXERCISES], ids=lambda e: e.name)
def test_a_constant_breaks_them(exercise):
    report = secret_report(exercise, lambda *args, **kwargs: None, 1000)
    assert [law.name for law in report.laws if law.passed] == ["leaves its arguments unchanged"], str(report)
    for answer in (0, 1.5, "", ()):  # an invariance holds for a constant, but never all laws do
        assert not secret_report(exercise, lambda *args, answer=answer, **kwargs: answer, 1000).passed, answer
