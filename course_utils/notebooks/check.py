"""`course check`: a student's notebook, judged as `course grade` judges it, but by the laws that everybody may see.

The same code collects, refuses, extracts, limits and reports. What differs by nature is said in GRADING_DIFFERS.
"""

import ast
import contextlib
import inspect
import json
import os
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from course_utils.checks.engine import PUBLIC_SEED
from course_utils.grading.child import Died, Processes
from course_utils.grading.collect import Refused, parse_notebook, read_bytes
from course_utils.grading.local import LocalProcesses
from course_utils.grading.protocol import pack
from course_utils.grading.statements import cleaned
from course_utils.grading.submission import JUDGED, ExerciseResult, Result, grade_notebook, topic_of
from course_utils.units import expected_path, find_topic, lab_path, load_unit, unit_name

PAGE = 92  # characters across a notebook in JupyterLab
SLOW = 2  # times the usual, from which on it is said
GRADING_DIFFERS = "Grading tries the same laws, and some more, on other inputs."


def find_lab(lab: str | Path) -> tuple[Path, str]:
    """The notebook file and the topic that a lab's name, number, folder or file stands for."""
    path = Path(lab).expanduser()
    if path.is_dir():
        topic = find_topic(path.resolve())
        inside = path / f"{unit_name(topic)}.ipynb"
        if not inside.exists():
            raise FileNotFoundError(f"The folder {path} holds no {inside.name}: name the notebook file itself.")
        return inside, topic
    if path.suffix.lower() == ".ipynb":
        if not path.exists():
            raise FileNotFoundError(f"There is no file {path}: check the name and the folder you are in.")
        return path, find_unit(path)
    if path.exists() or path.suffix or len(path.parts) > 1:
        what = "is no notebook" if path.exists() else "is not there"
        raise ValueError(f"{path} {what}: name a lab, such as 01_distillation, its folder, or an .ipynb file.")
    topic = find_topic(lab)
    if not lab_path(topic).exists():
        raise FileNotFoundError(f"The lab {unit_name(topic)} is not where it should be, {lab_path(topic)}.")
    return lab_path(topic), topic


def find_unit(path: Path) -> str:
    """The topic of a notebook file: by its name or its folder's, else by the functions that it defines."""
    for name in (path.stem, path.resolve().parent.name):
        try:
            return find_topic(name)
        except ValueError:
            continue
    try:
        topic = topic_of(parse_notebook(read_bytes(path)).cells)
    except Refused as refused:
        raise ValueError(f"{path} would not be graded: {refused.status}, {refused}.") from None
    if topic is None:
        raise ValueError(f"{path.name} bears no lab's name: call it by its lab, such as 01_distillation.ipynb.")
    return topic


# --- The lab's own experiments ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Experiment:
    """A cell of the lab that uses exercises and shows the same on every machine."""

    id: str
    source: str  # without its first line, `%%needs …`
    needs: frozenset[str]
    expected: list[str]  # lines


def code_cells(topic: str) -> list[dict[str, Any]]:
    """The code cells of the answer-free copy of a lab; `source` is one text."""
    cells = json.loads(expected_path(topic).read_text(encoding="utf-8"))["cells"]
    return [cell | {"source": "".join(cell["source"])} for cell in cells if cell["cell_type"] == "code"]


def headings(topic: str) -> dict[str, str]:
    """The heading above each cell of a lab as it is handed out, by the cell's id; none if the lab is gone."""
    found, heading = {}, ""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        for cell in json.loads(lab_path(topic).read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "markdown":
                heading = [heading, *re.findall("^#+ +(.+)", "".join(cell["source"]), re.MULTILINE)][-1]
            found[cell["id"]] = heading
    return found


def compared_experiments(cells: list[dict[str, Any]]) -> Iterator[Experiment]:
    """The experiments among a lab's cells that have an output to compare with."""
    for cell in cells:
        tags = cell["metadata"].get("tags", [])
        head, _, body = cell["source"].partition("\n")
        if "nbval-check-output" in tags and "check" not in tags and head.startswith("%%needs "):
            yield Experiment(cell["id"], body, frozenset(head.split()[1:]), lines_of(cell["outputs"]))


def lines_of(outputs: list[dict[str, Any]]) -> list[str]:
    """The lines of text that a cell shows."""
    texts = ["".join(output.get("text") or output.get("data", {}).get("text/plain", "")) for output in outputs]
    return "\n".join(text.rstrip("\n") for text in texts).splitlines()


def as_function(name: str, source: str) -> str:
    """A cell as a function of no arguments that returns the text which the cell shows."""
    *body, last = ast.parse(source).body
    if isinstance(last, ast.Expr):
        last = ast.Assign([ast.Name("_value")], last.value, lineno=0)
    statements = "\n".join(map(ast.unparse, [*body, last]))
    return f"""def {name}():
    import contextlib, io
    _value = None
    with contextlib.redirect_stdout(io.StringIO()) as _printed:
{textwrap.indent(statements, " " * 8)}
    return _printed.getvalue() + ("" if _value is None else repr(_value))
"""


def run_experiments(
    processes: Processes,
    cells: list[dict[str, Any]],
    experiments: list[Experiment],
    results: list[ExerciseResult],
) -> dict[str, str]:
    """What each experiment shows with the student's functions, by its id; of one that takes too long nothing."""
    code = {result.name: "\n\n".join(source for *_, source in result.code) for result in results}
    cells_run = [cell for cell in cells if "check" not in cell["metadata"].get("tags", [])]
    sources = [re.sub(r"^%%needs.*\n", "", code.get(cell["id"], cell["source"])) for cell in cells_run]
    # What the lab's own cells do beside defining, such as training a network, no compared experiment needs
    own = [number for number, cell in enumerate(cells_run) if cell["id"] not in code]
    names = {f"experiment_{number}": experiment for number, experiment in enumerate(experiments)}
    sources += [as_function(name, experiment.source) for name, experiment in names.items()]
    shown: dict[str, str] = {}
    waiting = list(names)
    while waiting:
        with processes.submission() as child:  # one for all, unless it dies
            try:
                child.request(op="load", cells=sources, secondary=own, names=waiting.copy())
                while waiting:
                    name = waiting.pop(0)
                    child.request(op="define", name=name)
                    reply = child.request(op="call", id=0, name=name, arguments=pack([[], {}]))
                    error: Any = reply.get("error")
                    shown[names[name].id] = f"{error[0]}: {error[1]}" if error else str(reply.get("value"))
            except Died as died:
                if died.fate != "timed out":
                    shown[names[name].id] = str(died)
    return shown


def shows(text: str, expected: list[str]) -> bool:
    """Whether a text has every expected line, in order, among others: a student's function may still print."""
    lines = iter(text.splitlines())
    return all(line in lines for line in expected)


# --- The command ------------------------------------------------------------------------------------------------------


def verdict(result: ExerciseResult) -> str:
    """How an exercise went, in a line that begins with ✓, ◐, ✗, or ○ if it could not be tried."""
    failed = next((law for law in result.laws if not law["passed"]), None)
    if result.points == result.max_points:
        return "✓ holds"
    if result.outcome not in JUDGED:
        return f"✗ {result.outcome}: {result.note}"
    if failed is None:
        return f"○ {result.note}"
    mark = f"◐ {result.points:g} of {result.max_points:g} points: " if result.points else "✗ "
    return f"{mark}{failed['name']}" + (f": {failed['message']}" if failed["message"] else "")


def judge(
    processes: Processes, path: Path, topic: str, done: Callable[[ExerciseResult], None] = lambda result: None
) -> Result:
    """What grading would say of a notebook, by the public laws. Refused if it would not be graded.

    done: called with each exercise's result as soon as it is known.
    """
    notebook = parse_notebook(read_bytes(path))
    graded = grade_notebook(processes, notebook, load_unit(topic).exercises, {}, PUBLIC_SEED, {}, done)
    return Result(path.stem, "", *graded)


def remarks(result: Result) -> list[str]:
    """What there is to say beside the verdicts."""
    said = "\n".join(map(verdict, result.exercises))
    lines = [f"Note: {note}." for note in result.notes if note not in said]
    lines += [f"{e.name}: {e.note}." for e in result.exercises if e.outcome == "judged" and e.note and not e.points]
    if result.message not in said and result.status not in ("graded", "partly graded", "not graded", *JUDGED):
        lines.insert(0, f"{result.status}: {result.message}.")
    return lines


def age(path: Path) -> str:
    """When a file was saved, in words."""
    minutes = (time.time() - path.stat().st_mtime) / 60
    if minutes < 2:
        return "just now"
    return f"{minutes:.0f} minutes ago" if minutes < 120 else f"{minutes / 60:.0f} hours ago"


def check_lab(lab: str | Path, console: Console | None = None) -> bool:
    """Judge the exercises in a lab's notebook by the public laws; print a table; return whether all of them hold."""
    console = console or Console()
    path, topic = find_lab(lab)
    if not expected_path(topic).exists():
        raise FileNotFoundError(f"The expected outputs of {unit_name(topic)} are missing: run `course build` first.")
    exercises = load_unit(topic).exercises
    cells = code_cells(topic)
    terminal = Console(stderr=True, force_jupyter=False)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        console=terminal,
        disable=not terminal.is_terminal,
        transient=True,
        auto_refresh=False,  # a refreshing thread and forks do not go together
    )
    with LocalProcesses(topic) as processes, bar:
        task = bar.add_task("running the checks", total=len(exercises))

        def advance(result: ExerciseResult) -> None:
            bar.advance(task)
            bar.refresh()

        try:
            result = judge(processes, path, topic, advance)
        except Refused as refused:
            raise ValueError(f"{path} would not be graded: {refused.status}, {refused}.") from None
        held = {each.name for each in result.exercises if each.points == each.max_points}
        experiments = [each for each in compared_experiments(cells) if each.needs <= held]
        shown = run_experiments(processes, cells, experiments, result.exercises)
    console.print(Text(f"{unit_name(topic)}: {path}, saved {age(path)}"))
    table = Table()
    for heading in ("Exercise", "Function", "Verdict"):
        table.add_column(heading)
    for each in result.exercises:
        table.add_row(each.id, each.name, Text(verdict(each)))
    console.print(table)
    for line in remarks(result):
        console.print(Text(line))
    slower = max(processes.slowness.processor, processes.slowness.clock)
    if slower > SLOW:
        console.print(f"This machine is slow or busy just now: all limits of time are {slower:.0f} times longer.")
    agree = True
    above = headings(topic)
    for experiment in experiments:
        cell = f'The cell below "{above.get(experiment.id, experiment.id)}"'
        if experiment.id not in shown:
            console.print(Text(f"{cell} takes too long on this machine to be compared."))
        elif not shows(shown[experiment.id], experiment.expected):
            agree = False
            lines = shown[experiment.id].splitlines() or [""]
            other = next((line for line in lines if line not in experiment.expected), lines[0])
            console.print(Text(f"{cell} gave another result than expected: {other}"))
    console.print(f"{len(held)} of {len(exercises)} exercises hold. {GRADING_DIFFERS if held else ''}".rstrip())
    return len(held) == len(exercises) and agree


# --- The lab's last cell ----------------------------------------------------------------------------------------------


def this_notebook(name: str, namespace: dict[str, Any]) -> tuple[Path, str]:
    """The file of the notebook whose kernel has this namespace, and how that is known; else `name` in this folder.

    VS Code tells the kernel in a variable, Jupyter in the environment, where the name may have a mark of JupyterLab's
    collaboration or of VS Code, and may be relative to a folder above.
    """
    if isinstance(told := namespace.get("__vsc_ipynb_file__"), str) and Path(told).is_file():
        return Path(told), "VS Code says that it is this notebook"
    session = os.environ.get("JPY_SESSION_NAME", "").removeprefix("RTC:")
    session = re.sub(r"-jvsc-[0-9a-f-]{36}", "", session)
    if session.endswith(".ipynb"):
        here = Path.cwd()
        for path in (here / session, here / Path(session).name, *(above / session for above in here.parents)):
            if path.is_file():
                return path, "Jupyter says that it is this notebook"
    return Path(name), "nothing tells which notebook this is"


def not_in_the_file(path: Path, namespace: dict[str, Any], topic: str) -> list[str]:
    """The exercises that stand otherwise in this kernel than in the file."""
    try:
        text = "\n\n".join(map(cleaned, parse_notebook(read_bytes(path)).cells))
    except Refused:
        return []
    differ = []
    for exercise in load_unit(topic).exercises:
        with contextlib.suppress(KeyError, OSError, TypeError):  # not defined here, or not in a cell
            if inspect.getsource(namespace[exercise.name]).strip() not in text:
                differ.append(exercise.name)
    return differ


def check_saved(name: str) -> None:
    """A lab's last cell: `course check`, from a fresh start, on the notebook's saved file."""
    from IPython import get_ipython

    shell = get_ipython()
    namespace = shell.user_ns if shell is not None else {}
    path, reason = this_notebook(name, namespace)
    if not path.is_file():
        print(f"There is no file {name} in {Path.cwd()}: save the notebook, and in a terminal say `course check FILE`.")
        return
    print(f"Checking {path.resolve()}, saved {age(path)}: {reason}.")
    if differ := not_in_the_file(path, namespace, find_topic(name)):
        print(f"What you ran is not what this file holds ({', '.join(differ)}): save first, or is it another file?")
    command = [sys.executable, "-m", "course_utils", "check", str(path)]
    environment = os.environ | {"COLUMNS": str(PAGE), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, encoding="utf-8")
    print(done.stdout + done.stderr, end="")
