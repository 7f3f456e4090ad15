"""nbgrader's gradebook: takes in what the engine found, so that formgrader, feedback and export have it."""

import json
import logging
import warnings
from datetime import datetime
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbgrader import utils
from nbgrader.api import Gradebook, SubmittedAssignment
from nbgrader.coursedir import CourseDirectory
from nbgrader.preprocessors import AssignLatePenalties, SaveCells
from rich.console import Console
from sqlalchemy.exc import SAWarning

from course_utils.grading.collect import Submission, collect
from course_utils.grading.course_folder import course_directory
from course_utils.grading.restore import comment, restore, write_points
from course_utils.grading.submission import Result
from course_utils.grading.timestamps import FILE, hand_in_time, time_text
from course_utils.notebooks.build import lab_path, write_atomically
from course_utils.units import find_topic, unit_name


def save_class(lab: str, submissions: Path, out: Path, gradebook: str) -> None:
    """Take the results of `course grade` in `out` into a gradebook, with a notebook for each that formgrader opens.

    A result that the gradebook has already is passed over; only the penalty for being late is worked out anew.
    ValueError if the gradebook has submissions of the lab with other graded cells.
    """
    topic = find_topic(lab)
    name = unit_name(topic)
    course = course_directory(gradebook)
    template = register_lab(course.db_url, topic)
    written, notices, unread = 0, [], 0
    with Gradebook(course.db_url, course.course_id) as database, warnings.catch_warnings():
        warnings.simplefilter("ignore", SAWarning)  # nbgrader lets SQLAlchemy wonder about the order of its entries
        for submission in collect(submissions, name):
            path = out / "results" / f"{submission.student}.json"
            if not path.exists():
                continue
            result = Result.from_json(json.loads(path.read_bytes()))
            # A file's name need not be text, what goes into a database has to be
            result.student = result.student.encode("utf-8", "backslashreplace").decode()
            data = submission.content()
            try:
                time = _time(submissions, submission)
            except ValueError as error:
                time = None
                notices.append(f"{result.student}: {error}")
            target = Path(course.format_path(course.submitted_directory, result.student, name))
            if data is not None and target.parent.parent.resolve() != submissions.resolve():
                _copy(target, data, time, name)
            database.update_or_create_student(result.student)
            entry = database.update_or_create_submission(name, result.student, timestamp=time)
            target = Path(course.format_path(course.autograded_directory, result.student, name)) / f"{name}.ipynb"
            earlier = _read(target)
            if earlier is None or earlier.metadata.get("course", {}).get("result") != result.key or _new(entry):
                notebook = restore(data, template)
                write_points(notebook, result)
                notices += save_grades(database, notebook, result, name, earlier)
                write_atomically(target, notebook)
                target.chmod(0o444)
                written += 1
            _penalize(course, entry, name)
            unread += sum(n.needs_manual_grade for n in database.find_submission(name, result.student).notebooks)
    console = Console(stderr=True)
    for line in notices:
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    by_hand = f"{unread} with answers to grade by hand" if unread else "nothing left to grade by hand"
    console.print(f"{written} submissions written, {by_hand}: {course.db_url}", soft_wrap=True, highlight=False)


def register_lab(db_url: str, topic: str) -> NotebookNode:
    """Enter a lab's graded cells into the gradebook, as `nbgrader generate_assignment` does; returns the lab."""
    name = unit_name(topic)
    if not lab_path(topic).exists():
        raise ValueError(f"There is no {lab_path(topic)}: the gradebook needs the course's folder with its labs.")
    lab = nbformat.read(lab_path(topic), as_version=4)
    with Gradebook(db_url) as database:
        database.update_or_create_assignment(name)
    try:
        SaveCells().preprocess(lab, {"nbgrader": {"notebook": name, "assignment": name, "db_url": db_url}})
    except RuntimeError:
        raise ValueError(
            f"{db_url} has submissions of another version of lab {name}, with other graded cells: "
            "grade with that version of the course, or name a new gradebook."
        ) from None
    return lab


def save_grades(
    database: Gradebook, notebook: NotebookNode, result: Result, lab: str, earlier: NotebookNode | None
) -> list[str]:
    """Enter a restored notebook's points and comments; returns what was dropped, a sentence each.

    Scores given by hand: those for answers stay, to be looked at again if the answer is not that of the `earlier`
    notebook; those for checks give way to what the engine found.
    """
    comments = {exercise.name: comment(exercise) for exercise in result.exercises}
    before = {cell.id: cell.source for cell in earlier.cells} if earlier is not None else {}
    entry = database.find_submission_notebook(lab, lab, result.student)
    grades = {grade.name: grade for grade in entry.grades}
    remarks = {remark.name: remark for remark in entry.comments}
    dropped = []
    for cell in notebook.cells:
        if utils.is_grade(cell):
            grade = grades[cell.metadata.nbgrader.grade_id]
            grade.auto_score, _ = utils.determine_grade(cell)
            if not utils.is_solution(cell):
                if grade.manual_score is not None:
                    dropped.append(
                        f"{result.student}, {grade.name}: graded anew, so the score given by hand before, "
                        f"{grade.manual_score:g}, gave way to {grade.auto_score:g}"
                    )
                grade.manual_score, grade.needs_manual_grade = None, False
            elif grade.manual_score is None:
                grade.needs_manual_grade = grade.auto_score is None
            elif before.get(cell.id) != cell.source:
                grade.needs_manual_grade = True
        if utils.is_solution(cell):
            name = cell.metadata.nbgrader.grade_id
            unchanged = cell.metadata.nbgrader.get("checksum") == utils.compute_checksum(cell)
            remarks[name].auto_comment = comments.get(name, "No response." if unchanged else None)
    database.db.commit()
    return dropped


def _new(entry: SubmittedAssignment) -> bool:
    """Whether the gradebook knows nothing of a submission but that it is there."""
    return all(grade.auto_score is None for notebook in entry.notebooks for grade in notebook.grades)


def _read(path: Path) -> NotebookNode | None:
    try:
        return nbformat.read(path, as_version=4)
    except (OSError, ValueError):
        return None


def _time(submissions: Path, submission: Submission) -> datetime | None:
    """When it was handed in, if a timestamp.txt beside the notebook says so. ValueError if that cannot be read."""
    if submission.path is None or submission.path.parent.resolve() == submissions.resolve():
        return None
    return hand_in_time(submission.path.parent)


def _copy(target: Path, data: bytes, time: datetime | None, lab: str) -> None:
    """Put a hand-in where nbgrader looks for submissions."""
    target.mkdir(parents=True, exist_ok=True)
    (target / f"{lab}.ipynb").write_bytes(data)
    if time is None:
        (target / FILE).unlink(missing_ok=True)
    else:
        (target / FILE).write_text(time_text(time), encoding="utf-8")


def _penalize(course: CourseDirectory, entry: SubmittedAssignment, lab: str) -> None:
    """nbgrader's penalty for being late, by the plug-in that nbgrader_config.py names."""
    if entry.total_seconds_late or any(notebook.late_submission_penalty for notebook in entry.notebooks):
        names = {"notebook": lab, "assignment": lab, "student": entry.student.id, "db_url": course.db_url}
        quiet = logging.getLogger("course_utils.late")
        quiet.setLevel(logging.ERROR)
        AssignLatePenalties(config=course.config, log=quiet).preprocess(NotebookNode(cells=[]), {"nbgrader": names})
