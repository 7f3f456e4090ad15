"""The tree says what belongs where: no module imports in a circle, no ground knows a room, no room a later one."""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

from course_utils.units import PACKAGE, ROOT, available, unit_number


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_name(path): path for path in PACKAGE.rglob("*.py")}


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """All below a node, but for what only type checkers read."""
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield child
            yield from statements(child)


def imports(path: Path) -> set[str]:
    """Modules of this package that a file imports, anywhere in it."""
    found = set()
    for node in statements(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            below = {f"{node.module}.{alias.name}" for alias in node.names} & MODULES.keys()
            found |= below | ({node.module} if len(below) < len(node.names) else set())
    return found & MODULES.keys()


def room_of(module: str) -> str | None:
    part = module.split(".")[1] if "." in module else ""
    return part if part in available() else None


@functools.cache
def imported() -> dict[str, set[str]]:
    """Of each module the others that it imports; by need, as every process that runs tests reads this file."""
    return {name: imports(path) - {name} for name, path in MODULES.items()}


def circle(graph: dict[str, set[str]]) -> list[str]:
    """The modules of one circle, or none."""
    done: set[str] = set()

    def visit(name: str, above: list[str]) -> list[str]:
        if name in above:
            return above[above.index(name) :]
        if name in done:
            return []
        for other in sorted(graph[name]):
            if found := visit(other, [*above, name]):
                return found
        done.add(name)
        return []

    return next((found for name in sorted(graph) if (found := visit(name, []))), [])


def test_no_module_imports_in_a_circle():
    """But within a room: its first file ends with what the rest of it has to offer."""
    graph = {
        name: {other for other in found if not (room_of(name) == name.rpartition(".")[2] == room_of(other))}
        for name, found in imported().items()
    }
    assert circle(graph) == []


def test_a_circle_would_be_seen():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c"]


def test_no_room_imports_a_later_one_and_the_ground_imports_none():
    for name, found in imported().items():
        for other in filter(None, map(room_of, found)):
            mine = room_of(name)
            assert mine is not None, f"{name} is no unit's, and imports {other}"
            assert unit_number(other) <= unit_number(mine), f"{name} imports {other}, which comes later"
