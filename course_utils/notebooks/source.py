"""The source of the reference functions, whole or as stubs: the one place where both are made."""

import ast
from pathlib import Path

from course_utils.checks.engine import Exercise
from course_utils.units import PACKAGE


def module_path(module: str) -> Path:
    """The file of a module of this package: 'distillation' -> .../course_utils/distillation.py."""
    return PACKAGE.joinpath(*module.split(".")).with_suffix(".py")


def _lines_of(node: ast.FunctionDef | ast.ClassDef) -> tuple[int, int]:
    """First and last line of a definition, counted from 1, with its decorators."""
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)]), node.end_lineno or node.lineno


def function_source(module: str, name: str) -> str:
    """Source text of a function (or class) of a module of this package, with comments, without a final newline.

    The module is read, not imported: `function_source("distillation", "soft_targets")`. ValueError if it is not there.
    """
    path = module_path(module)
    if not path.exists():
        raise ValueError(f"course_utils has no module {module!r}.")
    source = path.read_text(encoding="utf-8")
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            first, last = _lines_of(node)
            return "\n".join(source.splitlines()[first - 1 : last])
    raise ValueError(f"course_utils.{module} has no function {name!r}.")


def stub_source(function_source: str, exercise: Exercise) -> str:
    """The function without its body: decorators, signature and docstring stay, then `raise NotImplementedError(...)`.

    ValueError if the function has no docstring, for then a student could not know what to write.
    """
    node = ast.parse(function_source).body[0]
    if not isinstance(node, ast.FunctionDef) or ast.get_docstring(node) is None:
        raise ValueError(f"Exercise {exercise.id} {exercise.name}: the reference has no docstring.")
    docstring = node.body[0]
    kept = function_source.splitlines()[: docstring.end_lineno]
    return "\n".join([*kept, f'{" " * docstring.col_offset}raise NotImplementedError("{stub_message(exercise)}")'])


def stub_message(exercise: Exercise) -> str:
    """What a stub raises; the engine knows by it whose body is missing."""
    return f"Exercise {exercise.id} {exercise.name}"


def stubbed_module(source: str, exercises: list[Exercise]) -> str:
    """A module's source with the functions of these exercises stubbed, and all other code as it is.

    ValueError if an exercise has no function in the module: then its answer would be left somewhere else.
    """
    wanted = {exercise.name: exercise for exercise in exercises}
    lines = source.splitlines()
    # From the last to the first, so that line numbers of what is still to come stay right
    for node in reversed(ast.parse(source).body):
        if isinstance(node, ast.FunctionDef) and node.name in wanted:
            first, last = _lines_of(node)
            stub = stub_source("\n".join(lines[first - 1 : last]), wanted.pop(node.name))
            lines[first - 1 : last] = stub.splitlines()
    if wanted:
        raise ValueError(f"The module has no function {', '.join(wanted)}.")
    return "\n".join(lines) + "\n"
