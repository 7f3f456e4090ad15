"""`check(function)`: which laws of its exercise a function obeys."""

import difflib
from collections.abc import Callable
from typing import Any

from course_utils.checks.engine import PUBLIC_SEED, Exercise, run
from course_utils.checks.report import LawResult, Report
from course_utils.notebooks import needs
from course_utils.units import available, load_unit

__all__ = ["LawResult", "Report", "check", "find_exercise"]

needs.register()


def find_exercise(name_or_id: str) -> Exercise:
    """The exercise with this id ('1.1') or function name ('soft_targets'). ValueError if there is none."""
    names = []
    for topic in available():
        for exercise in load_unit(topic).exercises:
            if name_or_id in (exercise.id, exercise.name):
                return exercise
            names += [exercise.id, exercise.name]
    near = difflib.get_close_matches(name_or_id, names, 1)
    raise ValueError(f"There is no exercise {name_or_id!r}" + (f": did you mean {near[0]!r}?" if near else "."))


def check(function: Callable[..., Any], exercise: str | None = None, seed: int | None = None) -> Report:
    """Try the laws of an exercise on a function; the report shows itself in a notebook.

    The exercise is found by the function's name, or given by its id (`exercise="1.1"`), so that any callable can be
    checked. A seed changes the random inputs, never the laws. A wrong function raises nothing: the report says what is
    wrong.
    """
    name = exercise or getattr(function, "__name__", None)
    if name is None:
        raise ValueError(f"{function!r} has no name: say which exercise it is, as in check(f, exercise='1.1').")
    return run(find_exercise(name), function, PUBLIC_SEED if seed is None else seed)
