"""The public laws prove themselves: red on stubs and mutants, green on the reference and on right variants."""

import importlib
import inspect

import pytest

from course_utils.checks import find_exercise
from course_utils.checks.engine import FRESH, PUBLIC_SEED, UNCHANGED, run
from tests.checks.catalogue import VARIANTS, exercises, how_many, right_solutions, survives, variants

EXERCISES = exercises()
MUTANTS = [(topic, exercise, v) for topic, exercise in EXERCISES for v in variants(topic, exercise) if v.error]
RIGHT = right_solutions()


@pytest.mark.parametrize(
    ("topic", "exercise", "variant"), MUTANTS, ids=[f"{variant.exercise} {variant.error}" for *_, variant in MUTANTS]
)
def test_mutant_is_killed_on_every_seed(topic, exercise, variant, depth, record_property):
    seeds = depth((PUBLIC_SEED,), (PUBLIC_SEED, *range(1, 5)))
    survived = [seed for seed in seeds if survives(variant.function, exercise, seed)]
    record_property("written by hand", (int(not survived), 1))
    assert not survived, f"{variant.exercise} '{variant.error}' passes with seeds {survived}"


@pytest.mark.parametrize(
    ("topic", "exercise", "place", "function"), RIGHT, ids=[f"{e.id} {f.__name__}" for _, e, _, f in RIGHT]
)
def test_right_solution_passes_on_every_seed(topic, exercise, place, function, depth):
    # On few seeds each solution has its own: three solutions on two see six draws
    seeds = depth(range(2 * place, 2 * place + 2), range(200 if place <= 2 else 50))
    for number, seed in enumerate(seeds):
        report = run(exercise, function, seed, questions=how_many(number, depth(2, 10)))
        assert report.passed and report.points == exercise.points, f"seed {seed}: {report}"


@pytest.mark.parametrize(("topic", "exercise"), EXERCISES, ids=lambda x: getattr(x, "name", x))
def test_stub_fails_every_law(topic, exercise):
    def stub(*args, **kwargs):
        raise NotImplementedError(f"Exercise {exercise.id} {exercise.name}")

    report = run(exercise, stub)
    assert not report.passed and report.points == 0 and "not implemented yet" in str(report)

    def crash(*args, **kwargs):
        raise RuntimeError("boom")

    for function in (crash, lambda *args, **kwargs: None):
        report = run(exercise, function)
        assert {law.name for law in report.laws if law.passed} <= {UNCHANGED, FRESH}, str(report)


@pytest.mark.parametrize(("topic", "exercise"), EXERCISES, ids=lambda x: getattr(x, "name", x))
def test_exercise_has_mutants_and_right_variants(topic, exercise):
    assert len({v.error for v in variants(topic, exercise) if v.error}) >= 4
    assert sum(not v.error for v in variants(topic, exercise)) >= 2
    assert find_exercise(exercise.name) is find_exercise(exercise.id)


def test_every_variant_is_one_of_an_exercise():
    assert {v.exercise for v in VARIANTS} == {exercise.id for _, exercise in EXERCISES}


@pytest.mark.parametrize(("topic", "exercise"), EXERCISES, ids=lambda x: getattr(x, "name", x))
def test_docstring_and_signature_are_enough_for_a_student(topic, exercise):
    function = getattr(importlib.import_module(f"course_utils.{topic}"), exercise.name)
    assert inspect.getdoc(function)
    assert all(p.annotation is not inspect.Parameter.empty for p in inspect.signature(function).parameters.values())
