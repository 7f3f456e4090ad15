"""`nbgrader autograde` and `nbgrader generate_assignment` by the course's own means; nbgrader_config.py names these.

nbgrader runs no student's code: what was handed in goes through the engine of `course grade`, into the same results.
"""

import json
import shutil
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from nbconvert.exporters import NotebookExporter
from nbformat import NotebookNode
from nbgrader.api import Gradebook
from nbgrader.preprocessors import NbGraderPreprocessor
from traitlets import Bool

from course_utils.units import find_topic

Step = tuple[NotebookNode, dict[str, Any]]


class SubmissionExporter(NotebookExporter):
    """Reads what a student handed in, whatever it is: for what is no notebook, the lab stands in, without a point."""

    work: Any = None  # of course_utils.grading.run, once all is graded

    def from_filename(self, filename: str, resources: dict[str, Any] | None = None, **kwargs: Any) -> tuple[str, dict]:
        import nbformat

        from course_utils.grading.collect import Refused, Submission, locate, read_bytes
        from course_utils.grading.restore import restore
        from course_utils.notebooks.build import lab_path

        resources = dict(resources or {})
        names = resources["nbgrader"]
        course = self.parent.coursedir
        # nbgrader converts twice, the second time from its own copy: always from what was handed in
        folder = Path(course.format_path(course.submitted_directory, names["student"], names["assignment"]))
        data = None
        try:
            submission = Submission(names["student"], locate(folder.parent, names["assignment"]))
            data = read_bytes(submission.path)
        except Refused as refused:
            submission = Submission(names["student"], None, refused.status, refused.message)
        _clear(Path(course.format_path(course.autograded_directory, names["student"], names["assignment"])))
        resources["metadata"] = {"name": names["notebook"], "path": str(folder)}
        resources["submission"] = submission
        lab = nbformat.read(lab_path(find_topic(names["assignment"])), as_version=4)
        return self.from_notebook_node(restore(data, lab), resources, **kwargs)


def _clear(folder: Path) -> None:
    """Take out what nbgrader copied besides: it follows links, and would hand out what they point to as feedback."""
    for path in folder.iterdir() if folder.exists() else ():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.suffix != ".ipynb" and path.name != "timestamp.txt":
            path.unlink()


class GradeInSandbox(NbGraderPreprocessor):
    """Stands where nbgrader executes a notebook: puts the engine's points into the outputs of the check cells."""

    trust = Bool(False, help="Run without a sandbox; only for code that you trust.").tag(config=True)

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> Step:
        from course_utils.grading.restore import write_points
        from course_utils.grading.submission import Result

        lab, submission, exporter = resources["nbgrader"]["assignment"], resources["submission"], self.parent
        if exporter.work is None:  # nbgrader goes from student to student; the first one waits for all
            exporter.work = _grade_all(exporter.parent.coursedir, lab, submission, self.trust)
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


def _grade_all(course: Any, lab: str, submission: Any, trust: bool) -> Any:
    """Work out what nbgrader is at, on all cores and as far as that is not done; returns where the results are."""
    from course_utils.grading.child import Limits
    from course_utils.grading.collect import collect
    from course_utils.grading.processes import grade_here
    from course_utils.grading.run import plan
    from course_utils.grading.work import Work

    found = collect(Path(course.format_path(course.submitted_directory, ".", ".")), lab)
    wanted = {each.student: each for each in found if fnmatch(each.student, course.student_id)}
    wanted |= {submission.student: submission}
    out = Path(course.root) / "graded" / lab
    for folder in (out / "results", out / "feedback"):
        folder.mkdir(parents=True, exist_ok=True)
    handed_in = [each for each in wanted.values() if each.status != "not handed in"]
    work, _, pending = plan(Work(find_topic(lab), out, 0, Limits(), trust), handed_in, None)
    if pending:
        for _ in grade_here(work, pending, None):
            pass
    return work
