"""Wrong and right versions of the exercises: what proves the checks.

`tests/units/<topic>/mutants.py` holds a unit's mutants (named, plausible student errors) and right solutions written
another way.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from course_utils.checks.engine import AGAIN_QUESTIONS, Exercise, run
from course_utils.units import available, load_unit


@dataclass(frozen=True)
class Variant:
    """Another version of an exercise's function; `error` says what is wrong with it, and is empty if nothing is."""

    exercise: str
    function: Callable[..., Any]
    error: str = ""


VARIANTS: list[Variant] = []


def mutant(exercise: str, error: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: a wrong version of an exercise. `error` is the student's mistake in a few words."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        VARIANTS.append(Variant(exercise, function, error))
        return function

    return add


def right(exercise: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: a right solution written another way."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        VARIANTS.append(Variant(exercise, function))
        return function

    return add


def exercises() -> list[tuple[str, Exercise]]:
    """The exercises of all units, each with its topic, which says what belongs to a unit: `make prove ARGS=07`."""
    return [(topic, exercise) for topic in available() for exercise in load_unit(topic).exercises]


def variants(topic: str, exercise: Exercise) -> list[Variant]:
    """The mutants and right variants of an exercise."""
    importlib.import_module(f"tests.units.{topic}.mutants")
    return [variant for variant in VARIANTS if variant.exercise == exercise.id]


def right_solutions() -> list[tuple[str, Exercise, int, Callable[..., Any]]]:
    """Of all exercises the reference, then the right variants: topic, exercise, place among these, function."""
    found = []
    for topic, exercise in exercises():
        reference = getattr(importlib.import_module(f"course_utils.{topic}"), exercise.name)
        functions = [reference, *(v.function for v in variants(topic, exercise) if not v.error)]
        found += [(topic, exercise, place, function) for place, function in enumerate(functions)]
    return found


def survives(function: Callable[..., Any], exercise: Exercise, seed: int) -> bool:
    """Whether a function passes all public laws; the first that it breaks decides, the rest are not tried."""
    return all(run(replace(exercise, laws=[law]), function, seed).passed for law in exercise.laws)


def how_many(number: int, first: int) -> int:
    """How many questions a proof's run number so and so asks again: the first runs all that a check asks, then one."""
    return AGAIN_QUESTIONS if number < first else 1
