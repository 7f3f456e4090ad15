"""`%%needs NAME …`: a cell that runs only when the exercises it uses are there.

An experiment must not stop 'Run all' because an exercise before it is still a stub. The magic says in one line what is
missing, and otherwise runs the cell as if the magic were not there. A traceback in such a cell does not stop 'Run all',
whoever presses Stop does.
"""

import ast
import contextlib
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

from course_utils.checks.engine import Exercise, Stopped, run
from course_utils.units import find_exercise


def is_stub(function: Callable[..., Any]) -> bool:
    """Whether a function's body, after its docstring, begins with `raise NotImplementedError`."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return False
    if not tree.body or not isinstance(tree.body[0], ast.FunctionDef):
        return False
    body = tree.body[0].body
    first = body[1] if len(body) > 1 and ast.get_docstring(tree.body[0]) is not None else body[0]
    return isinstance(first, ast.Raise) and "NotImplementedError" in ast.unparse(first)


def missing(names: list[str], namespace: dict[str, Any]) -> list[str]:
    """Those of the named functions that are not defined, or are stubs."""
    return [name for name in names if name not in namespace or is_stub(namespace[name])]


def used(function: Callable[..., Any]) -> list[tuple[Exercise, Callable[..., Any]]]:
    """The other exercises whose functions a notebook's function names, and these functions."""
    found = []
    for name in dict.fromkeys(_names(getattr(function, "__code__", None))):
        other = function.__globals__.get(name)
        if callable(other) and other is not function:
            with contextlib.suppress(ValueError):
                found.append((find_exercise(name), other))
    return found


def _names(code: Any) -> Iterator[str]:
    """The names in a function's code, in its comprehensions and inner functions too: those are code of their own."""
    if inspect.iscode(code):
        yield from code.co_names
        for constant in code.co_consts:
            yield from _names(constant)


def needs(line: str, cell: str) -> None:
    """The magic itself."""
    from IPython import get_ipython

    shell = get_ipython()
    if absent := missing(line.split(), shell.user_ns):
        exercises = [f"{find_exercise(name).id} {name}" for name in absent]
        print(f"This experiment waits for Exercise {', '.join(exercises)}.")
        return
    error = shell.run_cell(cell, store_history=False).error_in_exec
    if isinstance(error, KeyboardInterrupt):
        raise Stopped("Stopped.") from error  # the cell has shown the traceback already
    if error is not None:
        for name in line.split():
            if not run(exercise := find_exercise(name), shell.user_ns[name]).passed:
                print(f"{exercise.id} {name} does not pass its check: look there first.")


def register() -> None:
    """Make the magic known, when this runs in IPython."""
    ipython = sys.modules.get("IPython")  # whoever runs in it has it; others need not wait for it
    if ipython is not None and (shell := ipython.get_ipython()) is not None:
        shell.register_magic_function(needs, "cell")
