"""The student-facing package: answers taken out, everything else working."""

import ast
import functools
import inspect
import json
import os
import subprocess
import sys

import pytest

from course_utils.notebooks.build import solution_source
from course_utils.notebooks.kit import write_kit, write_package
from course_utils.notebooks.source import function_source
from course_utils.units import available, load_unit, unit_number
from tests.checks.catalogue import exercises


@functools.cache  # most files are the same in every package
def without_layout(source):
    return ast.unparse(ast.parse(source))


def body_of(topic, name):
    """A function's statements after the docstring, as they stand in a module's text without layout."""
    node = ast.parse(function_source(topic, name)).body[0]
    lines = [line for statement in node.body[1:] for line in ast.unparse(statement).splitlines()]
    return "\n".join("    " + line for line in lines)


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


def test_it_works_without_the_whole_package(tmp_path):
    write_package(tmp_path, "distillation", sandbox=False)
    code = """
import torch
from course_utils import distillation, models
from course_utils.checks import check
import course_utils
print(course_utils.__file__)
print(check(distillation.soft_targets))
def soft_targets(logits, temperature=1.0):
    return torch.softmax(logits / temperature, dim=-1)
print(check(soft_targets))
"""
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-c", inspect.cleandoc(code)], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    assert lines[0].startswith(str(tmp_path)) and "not implemented yet" in lines[1]
    assert lines[2].startswith("✓ 1.1 soft_targets: ")


def test_a_kit_holds_what_a_student_needs_and_nothing_else(tmp_path):
    kit = write_kit(1, tmp_path / "kit")
    assert not list(kit.rglob("solutions")) and not list(kit.rglob("tests")) and not list(kit.rglob("secret*"))
    assert sorted(p.name for p in (kit / "labs").iterdir()) == ["00_budget", "01_distillation", "START.md"]
    assert (kit / "lectures" / "01_distillation.ipynb").exists()
    assert "(01_distillation/01_distillation.ipynb)" in (kit / "labs" / "START.md").read_text(encoding="utf-8")


def test_a_solved_lab_is_green_in_the_students_kit(tmp_path):
    kit = write_kit(0, tmp_path / "kit")
    solution = solution_source("budget").with_suffix(".ipynb")
    environment = {**os.environ, "PYTHONPATH": str(kit)}
    for notebook, status in ((solution, 0), (kit / "labs" / "00_budget" / "00_budget.ipynb", 1)):
        command = [sys.executable, "-m", "course_utils", "check", str(notebook)]
        run = subprocess.run(command, cwd=kit, env=environment, capture_output=True, text=True)
        assert run.returncode == status, run.stdout + run.stderr


def test_a_kit_is_not_written_over_something_or_for_a_unit_that_is_not_there(tmp_path):
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(ValueError, match="not an empty folder"):
        write_kit(1, tmp_path)
    with pytest.raises(ValueError, match="no unit 77"):
        write_kit(77, tmp_path / "kit")


RUN_CELLS = """
import json, sys
from pathlib import Path
import course_utils
assert Path(course_utils.__file__).is_relative_to(sys.argv[2]), course_utils.__file__
notebook = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
space, verdicts = {"__name__": "__main__"}, {}
for number, cell in enumerate(cells):
    tags, source = cell["metadata"].get("tags", []), "".join(cell["source"])
    if "check" in tags:
        report = eval(source, space)
        verdicts[report.name] = report.passed
    elif number == 0 or "exercise" in tags:
        exec(source, space)
print(json.dumps(verdicts))
"""


@pytest.mark.parametrize("topic", [topic for topic in available() if solution_source(topic).exists()])
def test_every_solution_holds_in_the_kit_of_its_own_unit(tmp_path, topic):
    """What a student of that week has is enough for the solution: its imports, its exercises, their checks."""
    kit = write_kit(unit_number(topic), tmp_path / "kit").resolve()
    solution = solution_source(topic).with_suffix(".ipynb")
    command = [sys.executable, "-c", RUN_CELLS, str(solution), str(kit)]
    environment = {**os.environ, "PYTHONPATH": str(kit), "MPLBACKEND": "agg"}
    run = subprocess.run(command, cwd=kit, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    verdicts = json.loads(run.stdout.splitlines()[-1])
    assert verdicts == {exercise.name: True for exercise in load_unit(topic).exercises}
