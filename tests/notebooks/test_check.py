"""`course check` on the real labs: red on the untouched lab, green on a solved one, red with one exercise wrong."""

import linecache
import os
import re
import subprocess
import sys
from functools import partial
from types import SimpleNamespace

import IPython
import nbformat
import pytest

from course_utils import cli
from course_utils.grading import local
from course_utils.grading.child import Limits, Slowness
from course_utils.notebooks import build as builder
from course_utils.notebooks.check import as_function, check_saved, headings, shows, this_notebook
from course_utils.units import available, load_unit, unit_name

LABS = [topic for topic in available() if builder.solution_source(topic).exists()]


@pytest.fixture
def course_check(capsys):
    """`course check` in this process: a function of its argument that gives the exit status and what was printed."""

    def run(argument) -> tuple[int, str]:
        try:
            status = cli.main(["check", str(argument)])
        except SystemExit as end:
            status = end.code or 0
        return status, capsys.readouterr().out

    return run


def solved(topic, wrong=None):
    """The lab with the solutions' code; one exercise may be wrong."""
    lab = nbformat.read(builder.lab_path(topic), as_version=4)
    solution = nbformat.read(builder.solution_source(topic).with_suffix(".ipynb"), as_version=4)
    code = {cell.id: cell.source for cell in solution.cells}
    for cell in lab.cells:
        if cell.id in {e.name for e in load_unit(topic).exercises}:
            cell.source = code[cell.id]
            if cell.id == wrong:
                cell.source = re.sub(r"### BEGIN SOLUTION.*", "return 12345", cell.source, flags=re.DOTALL)
    return lab


@pytest.mark.parametrize("topic", LABS[:2])  # the machinery is the same for all, and each takes a while
def test_untouched_lab_is_red(topic, course_check, monkeypatch):
    monkeypatch.chdir(builder.ROOT)
    status, out = course_check(unit_name(topic))
    exercises = load_unit(topic).exercises
    assert status == 1 and out.count("○ not implemented yet") == len(exercises), out
    assert f"0 of {len(exercises)} exercises hold" in out
    assert re.search(r"\.ipynb, saved (just now|\d+ (minutes|hours) ago)", " ".join(out.split()))
    assert "another result" not in out, out


@pytest.mark.parametrize("topic", LABS)
def test_solved_lab_is_green_anywhere_on_disk(topic, course_check, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"{unit_name(topic)} (1).ipynb"
    lab = solved(topic)
    first = next(c for c in lab.cells if c.id == load_unit(topic).exercises[0].name)
    first.source = first.source.replace("### BEGIN SOLUTION", "print('a forgotten print')")
    path.write_text(nbformat.writes(lab), encoding="utf-8-sig")
    status, out = course_check(path)
    assert status == 0 and "✗" not in out, out


@pytest.mark.parametrize("topic", LABS[:2])
def test_one_wrong_exercise_is_named(topic, tmp_path):
    """As a command, in a process of its own."""
    last = load_unit(topic).exercises[-1]
    path = tmp_path / f"{unit_name(topic)}.ipynb"
    nbformat.write(solved(topic, wrong=last.name), path)
    command = [sys.executable, "-m", "course_utils", "check", path.name]
    path_of_modules = os.pathsep.join(filter(None, [str(builder.ROOT), os.environ.get("PYTHONPATH")]))
    result = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": path_of_modules}, capture_output=True, text=True
    )
    assert result.returncode == 1, result.stdout + result.stderr
    assert result.stderr == "" and result.stdout.startswith(f"{unit_name(topic)}: {path.name}, saved just now\n")
    (row,) = [line for line in result.stdout.splitlines() if "✗" in line]
    assert last.id in row and last.name in row
    assert f"{len(load_unit(topic).exercises) - 1} of {len(load_unit(topic).exercises)} exercises hold" in result.stdout


def test_a_module_that_a_cell_writes_is_there_for_the_experiments(course_check, tmp_path):
    lab = solved("distillation")
    number, cell = next((i, c) for i, c in enumerate(lab.cells) if c.id == "virtual_teacher")
    cell.source = "from of_a_test import ONE\n\n\n" + cell.source.replace("### BEGIN SOLUTION", "assert ONE == 1")
    lab.cells.insert(number, nbformat.v4.new_code_cell("%%writefile of_a_test.py\nONE = 1"))
    nbformat.write(lab, tmp_path / "01_distillation.ipynb")
    status, out = course_check(tmp_path / "01_distillation.ipynb")
    assert status == 0 and "another result" not in out, out


def test_endless_loop_and_crash_cost_only_their_own_exercise(course_check, tmp_path, monkeypatch, depth):
    monkeypatch.setattr(local, "Limits", partial(Limits, call=depth(1, Limits.call)))
    lab = solved("budget")
    for cell in lab.cells:
        if cell.id == "latency_summary":
            cell.source = cell.source.replace("### BEGIN SOLUTION", "while True: pass")
        if cell.id == "training_co2":
            cell.source = cell.source.replace("### BEGIN SOLUTION", "raise SystemExit(3)")
    nbformat.write(lab, tmp_path / "00_budget.ipynb")
    status, out = course_check(tmp_path / "00_budget.ipynb")
    assert status == 1
    assert {line.split()[1] for line in out.splitlines() if "✗" in line} == {"0.4", "0.5"}, out
    assert "endless" in out  # the table may break the line after it


@pytest.mark.parametrize(
    "name,content,words",
    [
        ("01_distillation.ipynb", b"", "would not be graded: empty"),
        ("01_distillation.ipynb", b'{"cells": [', "would not be graded: not a notebook"),
        ("homework.ipynb", b"{}", "would not be graded: not a notebook, it is JSON, but no notebook."),
        ("homework.ipynb", b'{"cells": [', "would not be graded: not a notebook, it ends in the middle"),
        ("homework.ipynb", b'{"nbformat": 4, "cells": [{"cell_type": "code", "source": "x"}]}', "bears no lab's name"),
        ("absent.ipynb", None, "no file"),
    ],
)
def test_bad_files_get_one_sentence(tmp_path, capsys, name, content, words):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert cli.main(["check", str(tmp_path / name)]) == 1
    said = capsys.readouterr().err
    assert words in " ".join(said.split()) and "Traceback" not in said


@pytest.mark.parametrize(
    "name", ["01_distillation.ipynb.txt", "01_distillation.md", "01_distillation.py", "no/such/folder/01_distillation"]
)
def test_another_file_is_never_checked_in_its_place(tmp_path, capsys, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for there in (False, True):
        assert cli.main(["check", name]) == 1
        said = " ".join(capsys.readouterr().err.split())
        assert said.startswith(f"course: {name} {'is no notebook' if there else 'is not there'}: name a lab")
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")


def test_unknown_lab_gets_a_suggestion(capsys):
    assert cli.main(["check", "distilation"]) == 1
    assert "01_distillation" in capsys.readouterr().err


@pytest.mark.parametrize(
    "shown,passes",
    [
        ("rows 3.0\nTrue\n", True),
        ("a print\nrows 3.0\nanother\nTrue\n", True),
        ("rows 4.0\nTrue\n", False),
        ("True\nrows 3.0\n", False),
        ("rows 3.0\n", False),
        ("", False),
    ],
)
def test_more_prints_are_forgiven_in_an_experiment_but_no_other_value(shown, passes):
    assert shows(shown, ["rows 3.0", "True"]) == passes


@pytest.mark.parametrize(
    "cell,text",
    [
        ("x = 2\nprint(x)\nx + 1", "2\n3"),
        ("print(1)", "1\n"),
        ("printed = [1]\nfor i in range(2):\n    printed.append(i)", ""),
        ("'a'", "'a'"),
        ("def f():\n    return 4\nf()", "4"),
    ],
)
def test_a_cell_as_a_function_gives_what_the_cell_shows(cell, text):
    space = {}
    exec(as_function("shown", cell), space)
    assert space["shown"]() == text


def test_an_experiment_that_shows_something_else_is_named(course_check, tmp_path, monkeypatch):
    from course_utils.notebooks import check as checker

    whole = checker.code_cells("budget")
    for cell in whole:
        if cell["id"] == "experiment-a-cheaper-convolution-2":
            cell["outputs"][0]["data"]["text/plain"] = "something else"
    monkeypatch.setattr(checker, "code_cells", lambda topic: whole)
    nbformat.write(solved("budget"), tmp_path / "00_budget.ipynb")
    status, out = course_check(tmp_path / "00_budget.ipynb")
    assert status == 1 and "7 of 7 exercises hold" in out
    said = " ".join(out.split())
    assert 'The cell below "Experiment: a cheaper convolution" gave another result than expected: ' in said, out


def test_an_experiment_that_takes_too_long_is_no_fault(course_check, tmp_path, monkeypatch):
    monkeypatch.setattr("course_utils.notebooks.check.run_experiments", lambda *_: {})
    nbformat.write(solved("budget"), tmp_path / "00_budget.ipynb")
    status, out = course_check(tmp_path / "00_budget.ipynb")
    said = " ".join(out.split())
    assert status == 0 and "7 of 7 exercises hold" in said
    assert '"Experiment: a cheaper convolution" takes too long on this machine to be compared.' in said


def test_without_the_lab_a_cell_is_called_by_its_id(monkeypatch, tmp_path):
    for content in (None, "", "{}", '{"cells": 3}', '{"cells": [{}]}'):
        if content is not None:
            (tmp_path / "lab.ipynb").write_text(content)
        monkeypatch.setattr("course_utils.notebooks.check.lab_path", lambda topic: tmp_path / "lab.ipynb")
        assert headings("budget") == {}


def test_processes_that_are_spawned_judge_as_forks_do(tmp_path, monkeypatch):
    """As on macOS and Windows."""
    from course_utils.checks.engine import PUBLIC_SEED
    from course_utils.grading.collect import parse_notebook
    from course_utils.grading.submission import grade_notebook

    monkeypatch.setattr(local, "METHOD", "spawn")
    exercises = load_unit("budget").exercises
    notebook = parse_notebook(nbformat.writes(solved("budget", wrong="model_bytes")).encode())
    with local.LocalProcesses("budget") as processes:
        status, _, results, _ = grade_notebook(processes, notebook, exercises, {}, PUBLIC_SEED, {})
    assert status == "graded"
    assert {result.name for result in results if result.points < result.max_points} == {"model_bytes"}


def test_a_slow_machine_gets_more_time_and_is_told(course_check, tmp_path, monkeypatch):
    monkeypatch.setattr(Slowness, "measured", lambda: Slowness(processor=3, clock=7))
    path = tmp_path / "00_budget.ipynb"
    nbformat.write(solved("budget", wrong="model_bytes"), path)
    status, out = course_check(path)
    assert status == 1 and "6 of 7 exercises hold" in out
    assert "This machine is slow or busy just now: all limits of time are 7 times longer." in " ".join(out.split())


def test_what_grading_would_note_is_said(course_check, tmp_path):
    """Beside the corpus of tests/grading, which asks the same of the function below the command."""
    path = tmp_path / "00_budget.ipynb"
    cells = [
        "from course_utils.checks import check",
        "def linear_macs(in_features, out_features):\n    return product(in_features, out_features)",
        "def conv2d_macs(*arguments, **options): return [x for x in [1]] + int('[/out]')",
        "check(linear_macs)",
        "def product(a, b): return a * b",
        "import at_home",
        "def model_bytes(state): return at_home.size(state)",
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells]), path)
    out = re.sub(r"[\s│]+", " ", course_check(path)[1])
    assert "✓ holds" in out and "1 of 7 exercises hold" in out
    assert "Note: product stands in code cell 5, below the check of linear_macs in code cell 4." in out
    assert "✗ not found: no cell defines a function latency_summary" in out
    assert "model_bytes: code cell 6, line 1 raised ModuleNotFoundError: No module named 'at_home' (only" in out
    assert "[x for x in [1]] + int('[/out]')" in out and "with base 10: '[/out]'" in out


# --- Which file -------------------------------------------------------------------------------------------------------

NAME = "01_distillation.ipynb"
VS_CODE, JUPYTER, NOTHING = "VS Code says", "Jupyter says", "nothing tells"
MARK = "-jvsc-3f2c0a9e-1b2c-4d5e-8f90-a1b2c3d4e5f6"


@pytest.mark.parametrize(
    "session,told,file,reason",
    [
        ("", "{folder}/lab/mine.ipynb", "lab/mine.ipynb", VS_CODE),
        ("", "{folder}/lab/gone.ipynb", f"lab/{NAME}", NOTHING),
        ("", None, f"lab/{NAME}", NOTHING),
        ("{folder}/lab/mine.ipynb", None, "lab/mine.ipynb", JUPYTER),
        ("mine.ipynb", None, "lab/mine.ipynb", JUPYTER),
        ("lab/mine.ipynb", None, "lab/mine.ipynb", JUPYTER),
        ("RTC:lab/mine.ipynb", None, "lab/mine.ipynb", JUPYTER),
        ("elsewhere/mine.ipynb", None, "lab/mine.ipynb", JUPYTER),
        (f"{{folder}}/lab/mine.ipynb{MARK}", None, "lab/mine.ipynb", JUPYTER),
        (f"{{folder}}/lab/mine{MARK}.ipynb", None, "lab/mine.ipynb", JUPYTER),
        ("{folder}/lab/renamed since.ipynb", None, f"lab/{NAME}", NOTHING),
        ("a console", None, f"lab/{NAME}", NOTHING),
    ],
)
def test_the_last_cell_finds_its_notebook(tmp_path, monkeypatch, session, told, file, reason):
    """A renamed copy beside the untouched lab, as each editor tells it to the kernel."""
    (tmp_path / "lab").mkdir()
    for name in (NAME, "mine.ipynb"):
        (tmp_path / "lab" / name).write_text("{}")
    monkeypatch.chdir(tmp_path / "lab")
    monkeypatch.setenv("JPY_SESSION_NAME", session.format(folder=tmp_path))
    namespace = {"__vsc_ipynb_file__": told.format(folder=tmp_path)} if told else {}
    path, why = this_notebook(NAME, namespace)
    assert path.resolve() == tmp_path / file and why.startswith(reason)


@pytest.fixture
def last_cell(monkeypatch, tmp_path, capsys):
    """The last cell of lab 01, in a kernel with these cells, without the check itself: what it says beforehand."""

    def run(*cells) -> str:
        space = {}
        for number, cell in enumerate(cells):
            filename = f"<cell {number} of a test>"
            linecache.cache[filename] = (len(cell), None, cell.splitlines(keepends=True), filename)
            exec(compile(cell, filename, "exec"), space)
        monkeypatch.setattr(IPython, "get_ipython", lambda: SimpleNamespace(user_ns=space))
        monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: SimpleNamespace(stdout="checked\n", stderr=""))
        check_saved(NAME)
        return capsys.readouterr().out

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JPY_SESSION_NAME", "")
    return run


def save(*cells):
    text = nbformat.writes(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells]))
    builder.Path(NAME).write_text(text, encoding="utf-8")


RIGHT, OTHER = "def soft_targets(x):\n    return x\n", "def soft_targets(x):\n    return 2 * x\n"


def test_the_last_cell_says_which_file_it_checks_and_when_that_was_saved(last_cell, tmp_path):
    save(RIGHT.replace("\n", "\r\n"), "x = 3")
    said = last_cell(RIGHT, "from functools import partial\nvirtual_teacher = partial(soft_targets, 3)")
    assert said == f"Checking {tmp_path / NAME}, saved just now: nothing tells which notebook this is.\nchecked\n"
    for age, ago in ((10 * 60, "10 minutes"), (5 * 3600, "5 hours")):
        os.utime(NAME, (0, os.stat(NAME).st_mtime - age))
        assert f"saved {ago} ago" in last_cell(RIGHT)
        os.utime(NAME)


def test_the_last_cell_names_what_is_not_saved(last_cell):
    save("def soft_targets(x):\n    raise NotImplementedError")
    said = last_cell(OTHER)
    assert "What you ran is not what this file holds (soft_targets): save first, or is it another file?" in said


def test_the_last_cell_without_a_file(last_cell, tmp_path):
    said = last_cell(RIGHT)
    assert said.startswith(f"There is no file {NAME} in {tmp_path}: save the notebook, and") and "checked" not in said
