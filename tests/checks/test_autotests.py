"""The laws that only instructors have hold for every right solution, and not for a function that ignores its input."""

import importlib
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from course_utils.checks.engine import AGAIN_QUESTIONS, FRESH, UNCHANGED, run
from course_utils.plain_data import tensors
from course_utils.units import available
from tests.checks.catalogue import exercises, how_many, right_solutions

EXERCISES = exercises()
RIGHT = right_solutions()
LAWS = {}
for _topic in available():
    LAWS |= importlib.import_module(f"tests.units.{_topic}.autotests").LAWS
FIRST_SEED = 1000  # others than the public laws are proved with


def secret_report(exercise, function, seed, questions=AGAIN_QUESTIONS):
    return run(replace(exercise, laws=[]), function, seed, LAWS[exercise.id], questions)


def test_every_exercise_has_laws_of_its_own_and_their_names_differ():
    assert sorted(LAWS) == sorted(exercise.id for _, exercise in EXERCISES)
    for _, exercise in EXERCISES:
        names = [law.name for law in (*exercise.laws, *LAWS[exercise.id])]
        assert len(set(names)) == len(names) > len(exercise.laws), exercise.id


@pytest.mark.parametrize(
    ("topic", "exercise", "place", "function"), RIGHT, ids=[f"{e.id} {f.__name__}" for _, e, _, f in RIGHT]
)
def test_every_right_solution_obeys(topic, exercise, place, function, depth):
    seeds = depth((place,), range(30))
    for number, seed in enumerate(seeds):
        report = secret_report(exercise, function, FIRST_SEED + seed, how_many(number, depth(1, 10)))
        assert report.passed and report.points == exercise.points, f"seed {seed}: {report}"


def in_float32(value, back=False):
    """Plain data with its float64 tensors as float32, or back."""
    match value:
        case Tensor():
            narrow, wide = torch.float32, torch.float64
            return value.to(wide if back else narrow) if value.dtype == (narrow if back else wide) else value
        case dict():
            return {key: in_float32(entry, back) for key, entry in value.items()}
        case list() | tuple():
            return type(value)(in_float32(entry, back) for entry in value)
    return value


@pytest.mark.parametrize(("topic", "exercise"), EXERCISES, ids=lambda x: getattr(x, "name", x))
def test_what_is_computed_in_float32_is_not_right_in_the_check_and_wrong_when_graded(topic, exercise):
    reference = getattr(importlib.import_module(f"course_utils.{topic}"), exercise.name)

    def less_precise(*args, **kwargs):
        wide = any(tensor.dtype == torch.float64 for tensor in tensors([args, kwargs]))
        result = reference(*in_float32(args), **in_float32(kwargs))
        return in_float32(result, back=True) if wide else result

    if run(exercise, less_precise).passed:
        report = secret_report(exercise, less_precise, FIRST_SEED)
        assert report.passed, str(report)


@pytest.mark.parametrize("exercise", [exercise for _, exercise in EXERCISES], ids=lambda e: e.name)
def test_a_constant_breaks_them(exercise):
    report = secret_report(exercise, lambda *args, **kwargs: None, FIRST_SEED)
    assert {law.name for law in report.laws if law.passed} <= {UNCHANGED, FRESH}, str(report)
    for answer in (0, 1.5, "", ()):  # an invariance holds for a constant, but never all laws do
        assert not secret_report(exercise, lambda *args, answer=answer, **kwargs: answer, FIRST_SEED).passed, answer
