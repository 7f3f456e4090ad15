"""The laws that only instructors have hold for every right solution, and not for a function that ignores its input."""

import importlib
from dataclasses import replace

import pytest

from course_utils.checks.engine import FRESH, UNCHANGED, run
from course_utils.units import available
from tests.checks.catalogue import exercises, how_often, right_solutions

EXERCISES = exercises()
RIGHT = right_solutions()
LAWS = {}
for _topic in available():
    LAWS |= importlib.import_module(f"tests.units.{_topic}.autotests").LAWS
FIRST_SEED = 1000  # others than the public laws are proved with


def secret_report(exercise, function, seed, ask_again=1):
    return run(replace(exercise, laws=[]), function, seed, LAWS[exercise.id], ask_again)


def test_every_exercise_has_laws_of_its_own_and_their_names_differ():
    assert sorted(LAWS) == sorted(exercise.id for _, exercise in EXERCISES)
    for _, exercise in EXERCISES:
        names = [law.name for law in (*exercise.laws, *LAWS[exercise.id])]
        assert len(set(names)) == len(names) > len(exercise.laws), exercise.id


@pytest.mark.parametrize(
    ("topic", "exercise", "place", "function"), RIGHT, ids=[f"{e.id} {f.__name__}" for _, e, _, f in RIGHT]
)
def test_every_right_solution_obeys(topic, exercise, place, function, depth):
    seeds = depth(range(3 * place, 3 * place + 3), range(30))
    for number, seed in enumerate(seeds):
        report = secret_report(exercise, function, FIRST_SEED + seed, how_often(number, depth(1, 10)))
        assert report.passed and report.points == exercise.points, f"seed {seed}: {report}"


@pytest.mark.parametrize("exercise", [exercise for _, exercise in EXERCISES], ids=lambda e: e.name)
def test_a_constant_breaks_them(exercise):
    report = secret_report(exercise, lambda *args, **kwargs: None, FIRST_SEED)
    contract = [UNCHANGED, FRESH] if exercise.fresh else [UNCHANGED]
    assert [law.name for law in report.laws if law.passed] == contract, str(report)
    for answer in (0, 1.5, "", ()):  # an invariance holds for a constant, but never all laws do
        assert not secret_report(exercise, lambda *args, answer=answer, **kwargs: answer, FIRST_SEED).passed, answer
