"""Wrong and right versions of the exercises: what proves the checks.

`tests/units/<topic>/mutants.py` holds a unit's mutants (named, plausible student errors) and right solutions written
another way.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from course_utils.checks.engine import Exercise, run


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


def survives(function: Callable[..., Any], exercise: Exercise, seed: int) -> bool:
    """Whether a function passes all public laws; the first that it breaks decides, the rest are not tried."""
    return all(run(replace(exercise, laws=[law]), function, seed).passed for law in exercise.laws)


def how_often(number: int) -> int:
    """Which part of the questions is asked again in a proof's run: all in the first ten, then only the last one."""
    return 1 if number < 10 else 10**6
