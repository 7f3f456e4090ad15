"""The source of the reference functions, whole or as stubs: the one place where both are made."""

import ast
from pathlib import Path

from course_utils.checks.engine import Exercise
from course_utils.units import PACKAGE


def module_files(module: str) -> list[Path]:
    """The files of a module of this package: one, or for a room all of its own, the paper's first.

    'models' -> [models.py]; 'moe' -> [moe/__init__.py, moe/laws.py, ...]; 'moe.model' -> [moe/model.py].
    """
    path = PACKAGE.joinpath(*module.split("."))
    if path.is_dir():
        return sorted(path.glob("*.py"), key=lambda file: (file.name != "__init__.py", file.name))
    return [file for file in [path.with_suffix(".py")] if file.exists()]


def _lines_of(node: ast.FunctionDef | ast.ClassDef) -> tuple[int, int]:
    """First and last line of a definition, counted from 1, with its decorators."""
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)]), node.end_lineno or node.lineno


def function_source(module: str, name: str) -> str:
    """Source text of a function (or class) of a module of this package, with comments, without a final newline.

    The module is read, not imported: `function_source("distillation", "soft_targets")`. What a room's `__init__.py`
    imports from its other files is found there. ValueError if it is nowhere.
    """
    files = module_files(module)
    if not files:
        raise ValueError(f"course_utils has no module {module!r}.")
    for path in files:
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


def stubbed_module(source: str, exercises: list[Exercise]) -> tuple[str, set[str]]:
    """A module's source with the functions of these exercises stubbed and all other code as it is; and their names."""
    # Most files of a room have none of them, and need not be parsed
    wanted = {exercise.name: exercise for exercise in exercises if f"def {exercise.name}" in source}
    if not wanted:
        return source, set()
    lines, stubbed = source.splitlines(), set()
    # From the last to the first, so that line numbers of what is still to come stay right
    for node in reversed(ast.parse(source).body):
        if isinstance(node, ast.FunctionDef) and node.name in wanted:
            first, last = _lines_of(node)
            stub = stub_source("\n".join(lines[first - 1 : last]), wanted[node.name])
            lines[first - 1 : last] = stub.splitlines()
            stubbed.add(node.name)
    return "\n".join(lines) + "\n", stubbed


def stub_room(folder: Path, exercises: list[Exercise]) -> None:
    """Stub the functions of these exercises in a copy of a unit's room, in whichever of its files they stand.

    ValueError if one is in none of them: then its answer would be left somewhere else.
    """
    missing = {exercise.name for exercise in exercises}
    for path in folder.rglob("*.py"):
        text, stubbed = stubbed_module(path.read_text(encoding="utf-8"), exercises)
        if stubbed:
            path.write_text(text, encoding="utf-8")
        missing -= stubbed
    if missing:
        raise ValueError(f"The room {folder.name} has no function {', '.join(sorted(missing))}.")
