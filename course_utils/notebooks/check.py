"""`course check`: a student's functions in an answer-free copy of the lab, run under nbval from a fresh start."""

import contextlib
import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat import NotebookNode
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from course_utils.checks.engine import Exercise
from course_utils.notebooks.build import expected_path, kernel_environment, lab_path
from course_utils.notebooks.extract import extract
from course_utils.units import find_topic, load_unit, unit_name

CELL_TIMEOUT = int(os.environ.get("COURSE_CHECK_TIMEOUT", "60"))  # seconds for one cell


@dataclass
class Verdict:
    """What nbval said of a cell, and the last text the cell printed."""

    passed: bool
    text: str


def find_lab(lab: str | Path) -> tuple[Path, str]:
    """The notebook file and the topic that a lab's name, number, folder or file stands for."""
    path = Path(lab).expanduser()
    if path.is_dir():
        topic = find_topic(path.resolve())
        inside = path / f"{unit_name(topic)}.ipynb"
        if not inside.exists():
            raise FileNotFoundError(f"The folder {path} holds no {inside.name}: name the notebook file itself.")
        return inside, topic
    if path.suffix == ".ipynb":
        if not path.exists():
            raise FileNotFoundError(f"There is no file {path}: check the name and the folder you are in.")
        return path, topic_of(path)
    topic = find_topic(lab)
    if not lab_path(topic).exists():
        raise FileNotFoundError(f"The lab {unit_name(topic)} is not where it should be, {lab_path(topic)}.")
    return lab_path(topic), topic


def topic_of(path: Path) -> str:
    """The topic of a notebook file: by its name or its folder's, else by the functions that it defines."""
    for name in (path.stem, path.resolve().parent.name):
        try:
            return find_topic(name)
        except ValueError:
            continue
    raise ValueError(f"{path.name} bears no lab's name: call it by its lab, such as 01_distillation.ipynb.")


def read_notebook(path: Path) -> NotebookNode:
    try:
        return nbformat.reads(path.read_text(encoding="utf-8-sig"), as_version=4)  # some editors begin with a mark
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {error}.") from error
    except Exception as error:
        raise ValueError(f"{path} is not a Jupyter notebook (its contents are not valid): save it again.") from error


def merge(student: NotebookNode, copy: NotebookNode, exercises: list[Exercise]) -> NotebookNode:
    """The answer-free copy with the student's functions, and what they depend on, in place of its stubs."""
    names = [exercise.name for exercise in exercises]
    extraction = extract([cell.source for cell in student.cells if cell.cell_type == "code"], names)
    merged, placed = deepcopy(copy), set()
    for cell in merged.cells:
        if cell.id not in names:
            continue
        # A statement stands before the first exercise that needs it; a helper of two exercises is not run twice
        statements = [s for s in extraction.by_exercise.get(cell.id, []) if s not in placed]
        placed.update(statements)
        if cell.id not in extraction.missing:
            cell.source = "\n\n".join(statement.source for statement in statements)
    return merged


def lines_of(outputs: list[NotebookNode]) -> list[str]:
    """The lines of text that a cell shows."""
    texts = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs]
    return "\n".join(texts).splitlines()


def only_prints_more(item: Any) -> bool:
    """Whether an experiment shows every expected line, in order, among others: a student's function may still print.

    A check's own output is compared whole, and a cell that raised has shown an error in place of a line.
    """
    if "check" in item.cell.metadata.get("tags", []) or not item.cell.outputs or not item.test_outputs:
        return False
    if any(output.output_type == "error" for output in item.test_outputs):
        return False
    shown = iter(lines_of(item.test_outputs))
    return all(line in shown for line in lines_of(item.cell.outputs))


class Watcher:
    """A pytest plugin that notes each cell's verdict and its output, and moves the progress bar."""

    def __init__(self, cells: list[NotebookNode], progress: Progress) -> None:
        self.cells = [cell for cell in cells if cell.cell_type == "code"]
        self.verdicts: dict[str, Verdict] = {}
        self.progress, self.task = progress, progress.add_task("running the checks", total=len(self.cells))

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item, call):
        outcome = yield
        if call.when != "call" or not hasattr(item, "cell_num"):
            return
        report = outcome.get_result()
        texts = [
            output.get("text") or output.get("data", {}).get("text/plain", "") for output in item.test_outputs or []
        ]
        if "Timeout of" in str(call.excinfo and call.excinfo.value):
            texts = [f"stopped after {CELL_TIMEOUT} s: is there an endless loop?"]
        # After a timeout nbval expects the rest to fail; a cell that passes all the same has passed
        passed = report.outcome == "passed" or call.excinfo is None or only_prints_more(item)
        self.verdicts[self.cells[item.cell_num].id] = Verdict(passed, "\n".join(texts).strip())
        self.progress.advance(self.task)


@contextlib.contextmanager
def no_other_plugins() -> Iterator[None]:
    """pytest without the plugins that happen to be installed: they cost seconds and may change the outcome."""
    name = "PYTEST_DISABLE_PLUGIN_AUTOLOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        os.environ.pop(name) if before is None else os.environ.update({name: before})


def run_nbval(notebook: NotebookNode) -> dict[str, Verdict]:
    """Run a notebook under nbval in a folder of its own; the verdict of each code cell by its id."""
    folder = Path(tempfile.mkdtemp(prefix="course-check-"))
    try:
        path = folder / "lab.ipynb"
        nbformat.write(notebook, path)
        bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            console=Console(stderr=True, force_jupyter=False),
            transient=True,
        )
        with bar as progress:
            watcher = Watcher(notebook.cells, progress)
            options = [
                "--nbval-lax",
                "--nbval-current-env",
                f"--nbval-cell-timeout={CELL_TIMEOUT}",
                "--rootdir",
                str(folder),
                "-c",
                os.devnull,
                "--capture=no",
                "-p",
                "no:cacheprovider",
                "-p",
                "nbval.plugin",
            ]
            # nbval needs pytest's terminal reporter, but what that says is not for a student
            with kernel_environment(), no_other_plugins(), contextlib.redirect_stdout(io.StringIO()):
                pytest.main([str(path), *options], plugins=[watcher])
        return watcher.verdicts
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def first_fault(text: str) -> str:
    """The one line of a check's output that says most: what the first failing law says."""
    lines = text.splitlines()
    return next((line.strip() for line in lines[1:] if line.strip().startswith("✗")), lines[0] if lines else "")


def check_lab(lab: str | Path, console: Console | None = None) -> bool:
    """Run a lab's checks on the functions in a notebook; print a table; return whether every exercise holds."""
    console = console or Console()
    path, topic = find_lab(lab)
    exercises = load_unit(topic).exercises
    if not expected_path(topic).exists():
        raise FileNotFoundError(f"The expected outputs of {unit_name(topic)} are missing: run `course build` first.")
    merged = merge(read_notebook(path), read_notebook(expected_path(topic)), exercises)
    verdicts = run_nbval(merged)
    console.print(f"{unit_name(topic)}: {path}", highlight=False)
    table = Table()
    for heading in ("Exercise", "Function", "Verdict"):
        table.add_column(heading)
    held = 0
    for exercise in exercises:
        definition = verdicts.get(exercise.name, Verdict(False, "its cell was not run"))
        verdict = verdicts.get(f"check_{exercise.name}", Verdict(False, "its check was not run"))
        holds = definition.passed and verdict.passed
        held += holds
        text = "holds" if holds else first_fault(verdict.text if definition.passed else definition.text)
        text = text.removeprefix("✗ ").removeprefix(f"{exercise.id} {exercise.name}: ")
        table.add_row(exercise.id, exercise.name, f"{'✓' if holds else '✗'} {text}")
    own = {exercise.name for exercise in exercises} | {f"check_{exercise.name}" for exercise in exercises}
    others = [cell_id for cell_id, verdict in verdicts.items() if cell_id not in own and not verdict.passed]
    console.print(table)
    for cell_id in others:
        console.print(f"The cell {cell_id} gave another result than expected: {first_fault(verdicts[cell_id].text)}")
    console.print(f"{held} of {len(exercises)} exercises hold.")
    return held == len(exercises) and not others


def check_saved(name: str) -> None:
    """A lab's last cell: `course check` on the notebook file that this kernel runs, or on `name` in this folder."""
    # Jupyter tells a kernel which notebook it serves, so that a renamed copy is found as well
    session = Path(os.environ.get("JPY_SESSION_NAME", name))
    check_lab(session if session.exists() and session.suffix == ".ipynb" else Path(name), Console(width=110))
