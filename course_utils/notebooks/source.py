"""The source of a reference function, and of the stub that a student gets in its place."""

import ast
from pathlib import Path

from course_utils.units import PACKAGE


def function_source(topic: str, name: str, package: Path = PACKAGE) -> str:
    """The text of a function (or class) of `course_utils/<topic>.py`. ValueError if there is none."""
    code = (package / f"{topic}.py").read_text(encoding="utf-8")
    for node in ast.parse(code).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            return "\n".join(code.splitlines()[first - 1 : node.end_lineno])
    raise ValueError(f"course_utils/{topic}.py has no function named {name!r}.")


def stub_error(exercise_id: str, name: str) -> str:
    """The one statement of a stub's body."""
    return f'raise NotImplementedError("Exercise {exercise_id} {name}")'


def stub_source(code: str, exercise_id: str, name: str) -> str:
    """A function's source with its signature and docstring kept and its body replaced by the stub's."""
    function = ast.parse(code).body[0]
    last = function.body[0].end_lineno if ast.get_docstring(function) is not None else function.body[0].lineno - 1
    return "\n".join([*code.splitlines()[:last], f"    {stub_error(exercise_id, name)}"])
