"""The student-facing package: answers taken out, everything else working."""

import ast
import functools
import itertools
import json
import os
import re
import subprocess
import sys
from urllib.parse import unquote

import pytest

from course_utils.notebooks.build import solution_source
from course_utils.notebooks.kit import write_kit, write_package
from course_utils.notebooks.source import function_source
from course_utils.units import ROOT, available, load_unit, unit_number
from tests.checks.catalogue import exercises


def lines_of(node):
    """Its lines without layout, nor the empty ones that stand around an inner function."""
    return [line for line in ast.unparse(node).splitlines() if line.strip()]


@functools.cache  # most files are the same in every package
def without_layout(source):
    return "\n".join(lines_of(ast.parse(source)))


def body_of(topic, name):
    """A function's statements after the docstring, as they stand in a module's text without layout."""
    node = ast.parse(function_source(topic, name)).body[0]
    lines = [line for statement in node.body[1:] for line in lines_of(statement)]
    return "\n".join("    " + line for line in lines)


SOLVED = [topic for topic in available() if solution_source(topic).exists()]
CHECK = """
import json, sys
from course_utils.notebooks.check import check_lab
print(json.dumps([check_lab(lab) for lab in sys.argv[1:]]))
"""
RUN_CELLS = """
import importlib, json, sys
from pathlib import Path

verdicts = []
for topic, kit, solution in zip(*[iter(sys.argv[1:])] * 3):
    for name in [name for name in sys.modules if name.split(".")[0] == "course_utils"]:
        del sys.modules[name]
    sys.path[0] = kit
    room = importlib.import_module(f"course_utils.{topic}")
    assert Path(room.__file__).is_relative_to(kit), room.__file__
    from course_utils.checks import check
    from course_utils.units import load_unit

    stubs = {e.name: check(getattr(room, e.name)).note for e in load_unit(topic).exercises}
    cells = json.loads(Path(solution).read_text(encoding="utf-8"))["cells"]
    space, solved = {"__name__": "__main__"}, {}
    for number, cell in enumerate(cell for cell in cells if cell["cell_type"] == "code"):
        tags, source = cell["metadata"].get("tags", []), "".join(cell["source"])
        if "check" in tags:
            report = eval(source, space)
            solved[report.name] = report.passed
        elif number == 0 or "exercise" in tags:
            exec(source, space)
    verdicts.append([stubs, solved])
print(json.dumps(verdicts))
"""


def python_in(folder, code, *arguments):
    """What a program prints last, as JSON, that has the course_utils of this folder."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "MPLBACKEND": "agg"}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    return json.loads(run.stdout.splitlines()[-1])


BODIES = {exercise.name: (topic, body_of(topic, exercise.name)) for topic, exercise in exercises()}


@pytest.mark.parametrize("sandbox", [True, False])
@pytest.mark.parametrize("topic", available())
def test_answers_of_the_unit_and_of_later_ones_are_out(tmp_path, topic, sandbox):
    package = write_package(tmp_path, topic, sandbox=sandbox)
    texts = {
        path.relative_to(package).as_posix(): without_layout(path.read_text(encoding="utf-8"))
        for path in package.rglob("*.py")
    }
    everything = "\n".join(texts.values())
    told = {name for name, (_, body) in BODIES.items() if body in everything}
    assert told == {name for name, (other, _) in BODIES.items() if unit_number(other) < unit_number(topic)}
    assert ("checks/engine.py" in texts) != sandbox
    assert ("grading/worker.py" in texts) == sandbox
    assert not {"grading/run.py", "grading/sandbox.py", *(["grading/remote.py"] if sandbox else [])} & set(texts)
    assert any(name.endswith("/laws.py") for name in texts) != sandbox


def test_a_kit_holds_what_a_student_needs_and_nothing_else(tmp_path):
    kit = write_kit(1, tmp_path / "kit")
    assert not list(kit.rglob("solutions")) and not list(kit.rglob("tests")) and not list(kit.rglob("secret*"))
    assert sorted(p.name for p in (kit / "labs").iterdir()) == ["00_budget", "01_distillation", "START.md"]
    assert (kit / "lectures" / "01_distillation.ipynb").exists()
    assert "(01_distillation/01_distillation.ipynb)" in (kit / "labs" / "START.md").read_text(encoding="utf-8")


def test_a_solved_lab_is_green_in_the_students_kit(tmp_path):
    kit = write_kit(0, tmp_path / "kit")
    solution = solution_source("budget").with_suffix(".ipynb")
    untouched = kit / "labs" / "00_budget" / "00_budget.ipynb"
    assert python_in(kit, CHECK, solution, untouched) == [True, False]


def dead_links(folder):
    """Links and images of a folder's pages that lead to nothing, be it a file or a heading of the same page."""
    dead = []
    for page in [p for kind in ("*.ipynb", "*.md") for p in folder.rglob(kind) if "expected" not in p.parts]:
        text = page.read_text(encoding="utf-8")
        cells = json.loads(text)["cells"] if page.suffix == ".ipynb" else [{"cell_type": "markdown", "source": text}]
        prose = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
        prose = re.sub(r"^```.*?^```", "", prose, flags=re.DOTALL | re.MULTILINE)  # code, where a[b](c) is no link
        headings = {re.sub(r"[^\w -]", "", h).strip().replace(" ", "-") for h in re.findall(r"^#+ (.*)", prose, re.M)}
        for link in re.findall(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"", prose):
            target, _, heading = unquote("".join(link)).partition("#")
            if not target and heading.lower() not in map(str.lower, headings):
                dead.append(f"{page.relative_to(folder)}: #{heading}")
            if target and not re.match(r"https?:|mailto:|attachment:", target) and not (page.parent / target).exists():
                dead.append(f"{page.relative_to(folder)}: {target}")
    return dead


def test_every_link_of_labs_and_lectures_works_in_a_clone_and_in_a_kit(tmp_path):
    kit = write_kit(unit_number(available()[-1]), tmp_path / "kit")
    folders = [kit, *(ROOT / name for name in ("labs", "lectures", "solutions"))]
    assert [dead for folder in folders for dead in dead_links(folder)] == []
    (kit / "labs" / "START.md").write_text("[x](nowhere.ipynb) [y](#nothing) [z](https://example.org/) # Some\n## Some")
    assert dead_links(kit) == ["labs/START.md: nowhere.ipynb", "labs/START.md: #nothing"]


def test_a_kit_is_not_written_over_something_or_for_a_unit_that_is_not_there(tmp_path):
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(ValueError, match="not an empty folder"):
        write_kit(1, tmp_path)
    with pytest.raises(ValueError, match="no unit 77"):
        write_kit(77, tmp_path / "kit")


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    """Of each unit what a student of that week has: the checks' verdicts on the kit's functions, then on the solution's
    cells. One process for all, which torch is loaded into once."""
    folder = tmp_path_factory.mktemp("kits")
    kits = [write_kit(unit_number(topic), folder / topic).resolve() for topic in SOLVED]
    solutions = [solution_source(topic).with_suffix(".ipynb") for topic in SOLVED]
    found = python_in(folder, RUN_CELLS, *itertools.chain(*zip(SOLVED, kits, solutions, strict=True)))
    return dict(zip(SOLVED, found, strict=True))


@pytest.mark.parametrize("topic", SOLVED)
def test_every_solution_holds_in_the_kit_of_its_own_unit(topic, verdicts):
    """The kit is enough for the solution: its imports, its exercises, their checks. What it holds itself are stubs."""
    stubs, solved = verdicts[topic]
    names = [exercise.name for exercise in load_unit(topic).exercises]
    assert stubs == dict.fromkeys(names, "not implemented yet")
    assert solved == dict.fromkeys(names, True)
