"""nbgrader in this process, and hand-ins of a real lab."""

import contextlib
import functools
import json
from copy import deepcopy
from pathlib import Path

import nbformat
from jupyter_core.application import NoStart
from nbgrader import api as nbgrader_api
from nbgrader.api import Gradebook
from nbgrader.apps import NbGraderApp

from course_utils.notebooks.build import lab_path
from tests.grading.notebooks import SOLUTION, TOPIC

# It asks a process of its own that takes seconds, for every new gradebook
nbgrader_api.get_alembic_version = functools.cache(nbgrader_api.get_alembic_version)
LAB = "01_distillation"
TEMPLATE = nbformat.read(lab_path(TOPIC), as_version=4)
ANSWERS = [cell.id for cell in TEMPLATE.cells if cell.id.startswith("answer_")]
CHECKS = [f"check_{name}" for name in SOLUTION]


def nbgrader(folder: Path, *arguments: str) -> int:
    """`nbgrader ARGUMENTS` in a course folder; returns the exit status."""
    app = NbGraderApp()
    with contextlib.chdir(folder), contextlib.suppress(NoStart):  # which is how it says that a subcommand has run
        try:
            app.initialize([*arguments, "--log-level=ERROR"])
            app.start()
        except SystemExit as end:
            return int(end.code or 0)
        finally:
            app.reset()
    return 0


def hand_in(**sources: str | None) -> nbformat.NotebookNode:
    """The lab with these cells filled in, or taken out if None; the reference's functions where nothing is said."""
    notebook = deepcopy(TEMPLATE)
    sources = SOLUTION | sources
    notebook.cells = [cell for cell in notebook.cells if sources.get(cell.id, "") is not None]
    for cell in notebook.cells:
        cell.source = sources.get(cell.id, cell.source)
    return notebook


def put(folder: Path, student: str, content: nbformat.NotebookNode | bytes, timestamp: str = "") -> None:
    target = folder / student / LAB
    target.mkdir(parents=True, exist_ok=True)
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    (target / f"{LAB}.ipynb").write_bytes(data)
    if timestamp:
        (target / "timestamp.txt").write_text(timestamp)


def points(course: Path, student: str) -> list[float | None]:
    """What the gradebook gives a student for the checks."""
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as database:
        grades = database.find_submission_notebook(LAB, LAB, student).grades
        found = {grade.name: (grade.score, grade.needs_manual_grade, grade.max_score) for grade in grades}
    assert not any(found[check][1] for check in CHECKS)
    assert sum(found[check][2] for check in CHECKS) == 16
    return [found[check][0] for check in CHECKS]


def shown(course: Path, student: str) -> nbformat.NotebookNode:
    """The notebook that formgrader shows."""
    return nbformat.read(course / "autograded" / student / LAB / f"{LAB}.ipynb", as_version=4)
