"""`check(function)`: which laws of its exercise a function obeys."""

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from course_utils.checks import needs
from course_utils.checks.engine import PUBLIC_SEED, Exercise, FunctionUnderTest, run
from course_utils.checks.report import LawResult, Report
from course_utils.units import find_exercise

__all__ = ["LawResult", "Report", "check", "find_exercise"]

PATIENCE = 10.0  # seconds after which a student is told what takes so long

needs.register()


def check(function: Callable[..., Any], exercise: str | None = None, seed: int | None = None) -> Report:
    """Try the laws of an exercise on a function; the report shows itself in a notebook.

    The exercise is found by the function's name, or by the name that it is bound to where it is checked, or given by
    its id (`exercise="1.1"`), so that any callable can be checked. A seed changes the random inputs, never the laws. A
    wrong function raises nothing: the report says what is wrong. (Under nbgrader's Validate it raises AssertionError,
    as all that does not raise is a success there.)
    """
    found = find_exercise(exercise) if exercise else _exercise_of(function, sys._getframe(1).f_globals)
    report = run(found, function, PUBLIC_SEED if seed is None else seed, watched=_watched)
    if report.failed and (suspects := [e for e, f in needs.used(function) if not run(e, f).passed]):
        names = " and ".join(f"{e.id} {e.name}" for e in suspects)
        report = replace(report, advice=f"it uses {names}, whose own check fails: look there first")
    if "NBGRADER_EXECUTION" in os.environ and not report.passed:
        raise AssertionError(f"{report}")
    return report


@contextlib.contextmanager
def _watched(under_test: FunctionUnderTest) -> Iterator[None]:
    """Say once which law is being tried, if it takes long: there may be no end to it."""
    out = sys.stdout

    def tell() -> None:
        call = f", on {under_test.input()}" if under_test.calls else ""
        print(f"Still trying '{under_test.law}'{call}. If it never ends, interrupt it.", file=out, flush=True)

    timer = threading.Timer(PATIENCE, tell)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()  # it holds the law's tensors: freed by a thread while Python ends, they abort the process


def _exercise_of(function: Any, namespace: Mapping[str, Any]) -> Exercise:
    """The exercise of a function, which may be a lambda, a partial or an object: `soft_targets = partial(mine)`."""
    own = getattr(function, "__name__", None)
    names = [*filter(None, [own]), *(name for name, value in namespace.items() if value is function)]
    if not names:
        raise ValueError(f"{function!r} has no name: say which exercise it is, as in check(f, exercise='1.1').")
    for name in names:
        with contextlib.suppress(ValueError):
            return find_exercise(name)
    return find_exercise(names[0])  # says what is like it
