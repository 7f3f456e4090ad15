"""`nbgrader autograde` and `nbgrader generate_assignment` by the course's own means; nbgrader_config.py names these.

nbgrader runs no student's code: what was handed in goes through the engine of `course grade`, into the same results.
"""

import contextlib
import json
import os
import re
import shutil
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from unicodedata import normalize

from nbconvert.exporters import NotebookExporter
from nbformat import NotebookNode
from nbgrader.api import Gradebook
from nbgrader.preprocessors import NbGraderPreprocessor
from traitlets import Bool

from course_utils.units import find_topic

SECRET, HEXADECIMAL = "submission_secret.txt", re.compile(rb"[0-9a-f]{16,256}")  # as `nbgrader submit` writes it
Step = tuple[NotebookNode, dict[str, Any]]


class SubmissionExporter(NotebookExporter):
    """Reads what a student handed in, whatever it is: for what is no notebook, the lab stands in, without a point."""

    work: Any = None  # of course_utils.grading.run, once all is graded

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # nbgrader makes its exporter between looking for submissions and converting them
        self.found = _find_hand_ins(self.parent)
        self.parent.assignments = {
            folder: [os.path.join(folder, f"{self.parent.coursedir.assignment_id}.ipynb")] for folder in self.found
        }

    def from_filename(self, filename: str, resources: dict[str, Any] | None = None, **kwargs: Any) -> tuple[str, dict]:
        import nbformat

        from course_utils.grading.restore import restore
        from course_utils.notebooks.build import lab_path

        resources = dict(resources or {})
        names = resources["nbgrader"]
        course = self.parent.coursedir
        # nbgrader converts twice, the second time from its own copy: always from what was handed in
        folder = course.format_path(course.submitted_directory, names["student"], names["assignment"])
        submission = self.found[folder]
        _clear(Path(course.format_path(course.autograded_directory, names["student"], names["assignment"])), submission)
        resources["metadata"] = {"name": names["notebook"], "path": folder}
        resources["submission"] = submission
        lab = nbformat.read(lab_path(find_topic(names["assignment"])), as_version=4)
        return self.from_notebook_node(restore(submission.content(), lab), resources, **kwargs)


def _find_hand_ins(converter: Any) -> dict[str, Any]:
    """What `course grade` would find in submitted/, by the folder that nbgrader looks for it in."""
    from course_utils.grading.collect import collect

    course, lab = converter.coursedir, converter.coursedir.assignment_id
    submitted = Path(course.format_path(course.submitted_directory, ".", "."))
    _name_folders(submitted, converter.log)
    found = {}
    for each in collect(submitted, lab):
        if not _is_wanted(course, each.student) or each.status == "not handed in":
            continue
        if not (submitted / each.student).is_dir():
            reason = each.message or "it is not in a folder of its own"
            converter.log.warning("%s is not graded: %s", each.student, reason)
            continue
        if each.path is not None and each.path.name != f"{lab}.ipynb":
            converter.log.warning("%s: %s is taken for %s.ipynb", each.student, each.path.name, lab)
        found[course.format_path(course.submitted_directory, each.student, lab)] = each
    return found


def _name_folders(submitted: Path, log: Any) -> None:
    """Give folders the names that students have in the gradebook. NbGraderException if one of them is taken."""
    from nbgrader.converters import NbGraderException

    names = os.listdir(submitted)
    for name in names:
        wanted = normalize("NFC", name)
        if wanted == name:
            continue
        if wanted in names:
            log.error("There are two folders %s in submitted, which only Unicode tells apart: leave one.", wanted)
            raise NbGraderException(wanted)
        (submitted / name).rename(submitted / wanted)


def _is_wanted(course: Any, student: str) -> bool:
    """Whether nbgrader was told to look at a student, by --student."""
    return course.student_id == student or fnmatch(student, course.student_id)


def _clear(folder: Path, submission: Any) -> None:
    """Take out what nbgrader copied besides: it follows links, and would hand out what they point to as feedback.

    Of timestamp.txt, which tells it later whether something newer was handed in, the time is kept; and the word by
    which its exchange knows whose feedback it is.
    """
    from course_utils.grading.collect import Refused, read_bytes
    from course_utils.grading.timestamps import FILE, hand_in_time, time_text

    for path in folder.iterdir() if folder.exists() else ():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    with contextlib.suppress(ValueError):
        if submission.path is not None and (time := hand_in_time(submission.path.parent)) is not None:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / FILE).write_text(time_text(time), encoding="utf-8")
    with contextlib.suppress(Refused, OSError):
        if submission.path is not None and HEXADECIMAL.fullmatch(word := read_bytes(submission.path.parent / SECRET)):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / SECRET).write_bytes(word)


class GradeInSandbox(NbGraderPreprocessor):
    """Stands where nbgrader executes a notebook: puts the engine's points into the outputs of the check cells."""

    trust = Bool(False, help="Run without a sandbox; only for code that you trust.").tag(config=True)

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> Step:
        from course_utils.grading.restore import write_points
        from course_utils.grading.submission import Result

        lab, submission, exporter = resources["nbgrader"]["assignment"], resources["submission"], self.parent
        if exporter.work is None:  # nbgrader goes from student to student; the first one waits for all
            exporter.work = _grade_all(exporter, lab, self.trust)
        result = Result.from_json(json.loads(exporter.work.result_path(submission.student).read_bytes()))
        self.log.info("%s: %s", submission.student, result.status)
        write_points(nb, result)
        resources["result"] = result
        return nb, resources


class SaveGrades(NbGraderPreprocessor):
    """Stands where nbgrader saves the points: saves the comments too, and no check keeps an older score by hand."""

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> Step:
        from course_utils.grading.gradebook import save_grades

        names = resources["nbgrader"]
        with Gradebook(names["db_url"]) as database:
            for line in save_grades(database, nb, resources["result"], names["assignment"], None):
                self.log.warning("%s", line)
        return nb, resources


class ReleaseLab(NbGraderPreprocessor):
    """Makes the lab of a solution as `course build` does."""

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> Step:
        from course_utils.notebooks.build import release

        return release(nb, find_topic(resources["nbgrader"]["assignment"])), resources


def _grade_all(exporter: SubmissionExporter, lab: str, trust: bool) -> Any:
    """Work out what nbgrader is at, on all cores and as far as that is not done; returns where the results are."""
    from course_utils.grading.child import Limits
    from course_utils.grading.processes import grade_here
    from course_utils.grading.run import plan
    from course_utils.grading.work import Work

    out = Path(exporter.parent.coursedir.root) / "graded" / lab
    for folder in (out / "results", out / "feedback"):
        folder.mkdir(parents=True, exist_ok=True)
    work, _, pending = plan(Work(find_topic(lab), out, 0, Limits(), trust), list(exporter.found.values()), None)
    if pending:
        for _ in grade_here(work, pending, None):
            pass
    return work
