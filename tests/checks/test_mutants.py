"""The public laws prove themselves: red on stubs and mutants, green on the reference and on right variants."""

import importlib
import inspect
import os

import pytest

from course_utils.checks import find_exercise
from course_utils.checks.engine import PUBLIC_SEED, run
from course_utils.units import available, load_unit
from tests.checks.catalogue import VARIANTS, how_often, survives

for _topic in available():
    importlib.import_module(f"tests.units.{_topic}.mutants")

SEEDS = (PUBLIC_SEED, 1, 2, 3, 4)
RIGHT_SEEDS = int(os.environ.get("COURSE_RIGHT_SEEDS", "200"))
EXERCISES = [(topic, e) for topic in available() for e in load_unit(topic).exercises]
MUTANTS = [v for v in VARIANTS if v.error]
RIGHT = [v for v in VARIANTS if not v.error]
# An exercise's first two right variants are tried as often as its reference, the rest on a quarter of the seeds
FIRST_TWO = [v for v in RIGHT if [w for w in RIGHT if w.exercise == v.exercise].index(v) < 2]


def reference(topic, exercise):
    return getattr(importlib.import_module(f"course_utils.{topic}"), exercise.name)


@pytest.mark.parametrize("variant", MUTANTS, ids=lambda v: f"{v.exercise} {v.error}")
def test_mutant_is_killed_on_every_seed(variant, record_property):
    exercise = find_exercise(variant.exercise)
    survived = [seed for seed in SEEDS if survives(variant.function, exercise, seed)]
    record_property("written by hand", (int(not survived), 1))
    assert not survived, f"{variant.exercise} '{variant.error}' passes with seeds {survived}"


@pytest.mark.parametrize("variant", RIGHT, ids=lambda v: f"{v.exercise} {v.function.__name__}")
def test_right_variant_passes_on_every_seed(variant):
    exercise = find_exercise(variant.exercise)
    for seed in range(RIGHT_SEEDS if variant in FIRST_TWO else RIGHT_SEEDS // 4):
        report = run(exercise, variant.function, seed, ask_again=how_often(seed))
        assert report.passed, f"seed {seed}: {report}"


@pytest.mark.parametrize(("topic", "exercise"), EXERCISES, ids=lambda x: getattr(x, "name", x))
def test_reference_passes_on_every_seed(topic, exercise):
    for seed in range(RIGHT_SEEDS):
        report = run(exercise, reference(topic, exercise), seed, ask_again=how_often(seed))
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
        assert [law.name for law in report.laws if law.passed] == ["leaves its arguments unchanged"], str(report)


@pytest.mark.parametrize(("topic", "exercise"), EXERCISES, ids=lambda x: getattr(x, "name", x))
def test_exercise_has_mutants_and_right_variants(topic, exercise):
    assert len({v.error for v in MUTANTS if v.exercise == exercise.id}) >= 4
    assert sum(v.exercise == exercise.id for v in RIGHT) >= 2
    assert find_exercise(exercise.name) is find_exercise(exercise.id)


@pytest.mark.parametrize(("topic", "exercise"), EXERCISES, ids=lambda x: getattr(x, "name", x))
def test_docstring_and_signature_are_enough_for_a_student(topic, exercise):
    function = reference(topic, exercise)
    assert inspect.getdoc(function)
    assert all(p.annotation is not inspect.Parameter.empty for p in inspect.signature(function).parameters.values())
