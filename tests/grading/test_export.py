"""Grades as Canvas and Moodle import them, and the penalty for being late."""

import csv
import shutil

import pytest
from nbgrader.api import Gradebook

from course_utils.cli import main
from course_utils.grading.course_folder import course_directory
from course_utils.grading.export import LatePenalty
from course_utils.grading.gradebook import register_lab
from tests.grading.course_folder import ANSWERS, LAB, nbgrader

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")  # nbgrader's own
DAY = 86_400


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A gradebook with one lab and three students: one on time, one late by hand, one who handed nothing in."""
    folder = tmp_path_factory.mktemp("export")
    url = course_directory(str(folder / "gradebook.db")).db_url
    register_lab(url, "distillation")
    with Gradebook(url) as database:
        database.add_assignment("00_budget")
        database.add_student("ada", first_name="Ada", last_name="Lovelace", email="ada@example.org", lms_user_id="17")
        database.add_student("=cmd", first_name="-1+1", last_name="O'Neil, Zoë")
        database.add_student("nobody")
        for student, score, penalty in (("ada", 2, None), ("=cmd", 1.25, 0.5)):
            database.add_submission(LAB, student)
            notebook = database.find_submission_notebook(LAB, LAB, student)
            notebook.late_submission_penalty = penalty
            for grade in notebook.grades:
                grade.needs_manual_grade = False
            database.find_grade("check_soft_targets", LAB, LAB, student).auto_score = score
            database.find_grade(ANSWERS[0], LAB, LAB, student).manual_score = 0.5
        database.db.commit()
    return folder


@pytest.fixture
def gradebook(made, tmp_path):
    shutil.copytree(made, tmp_path / "course")
    return tmp_path / "course"


def rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def course(*arguments):
    try:
        return main(list(map(str, arguments)))
    except SystemExit as end:
        return end.code


def test_canvas(gradebook):
    out = gradebook / "out.csv"
    assert course("export", "canvas", gradebook / "gradebook.db", "--out", out, "--lab", "01") == 0
    head, worth, *students = rows(out)
    # Canvas reads the name from the first column, its own number from the second, and labs after 'Section'
    assert head == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", LAB]
    assert "Points Possible" in worth[0] and worth[1:] == ["", "", "", "", "22"]
    assert {tuple(row) for row in students} == {
        ("Lovelace, Ada", "17", "", "ada", "", "2.50"),
        ("O'Neil, Zoë, -1+1", "", "", "'=cmd", "", "1.25"),  # 1.25 + 0.5 - 0.5, and no formula
        ("nobody", "", "", "nobody", "", ""),  # an empty field changes nothing in Canvas
    }


def test_moodle(gradebook):
    out = gradebook / "out.csv"
    assert course("export", "moodle", gradebook / "gradebook.db", "--out", out) == 0
    head, *students = rows(out)
    assert head == ["First name", "Last name", "Username", "Email address", "00_budget", LAB]
    assert {tuple(row) for row in students} == {
        ("Ada", "Lovelace", "ada", "ada@example.org", "-", "2.50"),
        ("'-1+1", "O'Neil, Zoë", "'=cmd", "", "-", "1.25"),
        ("", "", "nobody", "", "-", "-"),
    }


def test_by_nbgrader_export_with_titles(gradebook):
    with open(gradebook / "nbgrader_config.py", "a") as file:
        file.write(f"\nc.LmsExportPlugin.titles = {{'{LAB}': 'Lab 1 (4711)'}}\n")
    plugin = "--exporter=course_utils.grading.export.CanvasExportPlugin"
    assert nbgrader(gradebook, "export", plugin, "--student=['ada']", f"--assignment=['{LAB}']") == 0
    assert [row[5] for row in rows(gradebook / "canvas.csv")] == ["Lab 1 (4711)", "22", "2.50"]
    plugin = "--exporter=course_utils.grading.export.MoodleExportPlugin"
    assert nbgrader(gradebook, "export", plugin, "--to=elsewhere.csv") == 0
    assert rows(gradebook / "elsewhere.csv")[0][-1] == "Lab 1 (4711)"
    assert nbgrader(gradebook, "export") == 0  # and nbgrader's own
    assert len(rows(gradebook / "grades.csv")) == 1 + 2 * 3


def test_export_says_what_is_wrong(gradebook, capsys):
    database = gradebook / "gradebook.db"
    for arguments, message in (
        (("blackboard", database, "--out", "x.csv"), "canvas, moodle"),
        (("canvas", gradebook / "none.db", "--out", "x.csv"), "There is no gradebook"),
        (("canvas", database, "--out", "x.csv", "--lab", "02"), "has no lab 02_saliency"),
    ):
        assert course("export", *arguments) == 1
        assert message in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.parametrize(
    ("late", "share", "expected"),
    [
        (0, 0.1, None),
        (600, 0.1, None),
        (601, 0.1, 1),
        (DAY, 0.1, 1),
        (DAY + 1, 0.1, 2),
        (30 * DAY, 0.1, 10),
        (DAY, 0, 0),
    ],
)
def test_penalty(late, share, expected):
    penalty = LatePenalty(share_per_day=share, grace_minutes=10).late_submission_penalty("ada", 10, late)
    assert penalty == (None if expected is None else pytest.approx(expected))
