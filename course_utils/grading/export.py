"""Plug-ins for nbgrader: gradebooks as Canvas and Moodle import them, and a penalty for being late."""

import csv
import math
import re
from collections.abc import Iterator
from pathlib import Path

from nbgrader.api import Assignment, Gradebook, MissingEntry, Student
from nbgrader.plugins import ExportPlugin, LateSubmissionPlugin
from traitlets import Dict, Float, Unicode


class LatePenalty(LateSubmissionPlugin):
    """Takes a share of the points for each day that has begun since the due date."""

    share_per_day = Float(0.1, help="Share of the points earned that a day costs, 0 to 1.").tag(config=True)
    grace_minutes = Float(10, help="Minutes after the due date that cost nothing.").tag(config=True)

    def late_submission_penalty(self, student_id: str, score: float, total_seconds_late: float) -> float | None:
        """Points to take off, at most `score`; None within the grace period."""
        if total_seconds_late <= 60 * self.grace_minutes:
            return None
        days = math.ceil(total_seconds_late / 86_400)
        return min(score, score * self.share_per_day * days)


class LmsExportPlugin(ExportPlugin):
    """A table with one row per student and one column per lab, in points after the penalty for being late."""

    file = Unicode("grades.csv", help="Where it goes without --to.").tag(config=True)
    titles = Dict({}, help="What a lab is called in the learning platform, by the lab's name.").tag(config=True)

    def table(self, labs: list[Assignment], students: list[Student], gradebook: Gradebook) -> Iterator[list[str]]:
        """The rows of the file."""
        raise NotImplementedError

    def export(self, gradebook: Gradebook) -> None:
        """Write the gradebook's labs and students, or only those that --assignment and --student name."""
        labs, students = list(gradebook.assignments), list(gradebook.students)
        if self.assignment:
            labs = [lab for lab in labs if lab.name in map(str, self.assignment)]
        if self.student:
            students = [student for student in students if student.id in map(str, self.student)]
        open_ones = sum(each.needs_manual_grade for lab in labs for each in lab.submissions)
        if open_ones:
            self.log.warning("%d submissions have answers that are still to be graded by hand.", open_ones)
        target = Path(self.to or self.file)
        rows = [[_text(field) for field in row] for row in self.table(labs, students, gradebook)]
        with open(target, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)
        self.log.info("%d students and %d labs written to %s", len(students), len(labs), target)

    def title(self, lab: Assignment) -> str:
        return str(self.titles.get(lab.name, lab.name))

    def points(self, gradebook: Gradebook, lab: Assignment, student: Student, absent: str) -> str:
        """Points after the penalty, rounded to cents; `absent` if nothing was handed in."""
        try:
            submission = gradebook.find_submission(lab.name, student.id)
        except MissingEntry:
            return absent
        return f"{max(0.0, submission.score - (submission.late_submission_penalty or 0)):.2f}"


class CanvasExportPlugin(LmsExportPlugin):
    """What Canvas imports in its gradebook (Import, CSV); the columns are those of its own export.

    Canvas finds a student by ID, its own number, which nbgrader keeps as the student's `lms_user_id`; else by SIS Login
    ID, which is nbgrader's student id here; else by name. A column that is called as an assignment in Canvas is that
    assignment, and another becomes a new one: set `titles` to the headings of a Canvas export, 'Lab 1 (4711)'. Where
    nothing was handed in, the field is empty. Source: Canvas LMS, lib/gradebook_importer.rb.
    """

    file = Unicode("canvas.csv").tag(config=True)

    def table(self, labs: list[Assignment], students: list[Student], gradebook: Gradebook) -> Iterator[list[str]]:
        yield ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", *map(self.title, labs)]
        yield ["    Points Possible", "", "", "", "", *(f"{lab.max_score:g}" for lab in labs)]
        for student in students:
            names = [name for name in (student.last_name, student.first_name) if name]
            points = [self.points(gradebook, lab, student, "") for lab in labs]
            yield [", ".join(names) or student.id, student.lms_user_id or "", "", student.id, "", *points]


class MoodleExportPlugin(LmsExportPlugin):
    """What Moodle imports in its gradebook (Import, CSV file), which asks what each column stands for.

    Map from 'Username', which is nbgrader's student id here, or 'Email address', and each lab to its grade item. A dash
    stands for no grade. No feedback: Moodle would take it in place of a grade. Source: docs.moodle.org, Grade import.
    """

    file = Unicode("moodle.csv").tag(config=True)

    def table(self, labs: list[Assignment], students: list[Student], gradebook: Gradebook) -> Iterator[list[str]]:
        yield ["First name", "Last name", "Username", "Email address", *map(self.title, labs)]
        for student in students:
            points = [self.points(gradebook, lab, student, "-") for lab in labs]
            yield [student.first_name or "", student.last_name or "", student.id, student.email or "", *points]


def _text(field: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return "'" + field if re.match(r"[=+@\t\r\n]|-.", field) else field


PLUGINS = {"canvas": CanvasExportPlugin, "moodle": MoodleExportPlugin}


def export_grades(platform: str, gradebook: str, out: Path, lab: str | None = None) -> None:
    """Write the table that a platform, 'canvas' or 'moodle', imports; of one lab, or of all in the gradebook.

    ValueError if there is no such platform, gradebook or lab.
    """
    from course_utils.grading.course_folder import course_directory
    from course_utils.units import find_topic, unit_name

    if platform not in PLUGINS:
        raise ValueError(f"There is no export for {platform!r}: choose one of {', '.join(PLUGINS)}.")
    if "://" not in gradebook and not Path(gradebook).expanduser().is_file():
        raise ValueError(f"There is no gradebook {gradebook!r}: `course grade` writes one with --gradebook.")
    course = course_directory(gradebook)
    names = [unit_name(find_topic(lab))] if lab else []
    with Gradebook(course.db_url, course.course_id) as database:
        if missing := set(names) - {each.name for each in database.assignments}:
            raise ValueError(f"{gradebook} has no lab {missing.pop()}: grade it first, with --gradebook {gradebook}.")
        PLUGINS[platform](config=course.config, to=str(out), assignment=names).export(database)
