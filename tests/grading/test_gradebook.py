"""nbgrader's gradebook: the same points from `course grade` and `nbgrader autograde`, whatever is handed in."""

import csv
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import time
import unicodedata
import urllib.error
import urllib.request
from copy import deepcopy
from datetime import datetime, timedelta, timezone
from html.parser import HTMLParser

import nbformat
import pytest
from nbconvert.filters import markdown2html
from nbgrader.api import Gradebook
from nbgrader.apps.api import NbGraderAPI
from nbgrader.nbgraderformat import MetadataValidator
from nbgrader.utils import compute_checksum

from course_utils.cli import main
from course_utils.grading.course_folder import course_directory, find_files
from course_utils.grading.gradebook import register_lab
from course_utils.grading.restore import MISSING, block, harmless, restore
from course_utils.notebooks.build import lab_path
from course_utils.units import ROOT, available, load_unit
from tests.grading.course_folder import ANSWERS, CHECKS, LAB, TEMPLATE, hand_in, nbgrader, points, put, shown
from tests.grading.notebooks import HEAD, SOLUTION, STUB, notebook

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")  # nbgrader's own
FULL, NOTHING = [2, 4, 2, 2, 2, 4], [0] * 6
RAISES = "def virtual_teacher(labels, n, p):\n    raise ValueError('<script>alert(1)</script> </code>\\n\\n# **x**')"


def forged():
    """An untouched lab that claims to be worth a lot."""
    made = hand_in(**STUB)
    for cell in made.cells:
        tags = cell.metadata.get("nbgrader")
        if tags and tags.get("points"):
            tags |= {"points": 100, "locked": False, "checksum": "0"}
        if cell.id in CHECKS:
            cell.outputs = [nbformat.v4.new_output("execute_result", data={"text/plain": "100"}, execution_count=1)]
            cell.source = "100"
    return made


def swapped():
    """Two checks' ids exchanged, a check made a solution, one copied, and an answer without metadata."""
    made = hand_in(virtual_teacher=STUB["virtual_teacher"], **{ANSWERS[0]: "By its id you know me."})
    cells = {cell.id: cell for cell in made.cells}
    one, other = (cells[f"check_{name}"].metadata.nbgrader for name in ("virtual_teacher", "distill"))
    one.grade_id, other.grade_id = other.grade_id, one.grade_id
    cells["check_soft_targets"].metadata.nbgrader.solution = True
    made.cells.append(deepcopy(cells["check_distill"]))
    del cells[ANSWERS[0]].metadata["nbgrader"]
    return made


GONE = {name: None for name in ("check_distill", "soft_targets", ANSWERS[1])}
CLASS = {
    "good": (hand_in(**dict.fromkeys(ANSWERS, "A <b>bold</b> answer.")), FULL),
    "partial": (hand_in(virtual_teacher=RAISES, distill=STUB["distill"]), [2, 4, 2, 0, 2, 0]),
    "broken code": (hand_in(virtual_teacher="def virtual_teacher(a, b, c:\n    return"), [2, 4, 2, 0, 2, 4]),
    "untouched": (deepcopy(TEMPLATE), NOTHING),
    "forged": (forged(), NOTHING),
    "swapped": (swapped(), [2, 4, 2, 0, 2, 4]),
    "cells gone": (hand_in(**GONE), [0, 0, 0, 2, 0, 0]),
    "solved in the check": (hand_in(distill=None, check_distill=SOLUTION["distill"]), FULL),
    "no metadata": (notebook([HEAD, *SOLUTION.values()]), FULL),
    "twice the same ids": (json.dumps(TEMPLATE | {"cells": hand_in().cells + hand_in(**STUB).cells}).encode(), FULL),
    "corrupt": (json.dumps(hand_in()).encode()[:-50], NOTHING),
    "odd cells": (json.dumps(TEMPLATE | {"cells": [3, {}, *hand_in().cells, {"cell_type": "raw"}]}).encode(), FULL),
    "version 3": (b'{"nbformat": 3, "worksheets": []}', NOTHING),
}


def course_grade(submissions, out, course):
    """`course grade` without a sandbox: these submissions are our own."""
    arguments = ["grade", LAB, str(submissions), "--out", str(out), "--gradebook", str(course / "gradebook.db")]
    with pytest.raises(SystemExit) as end:
        main([*arguments, "--trust", "--workers", "1"])
    assert end.value.code == 0


def autograde(course, *arguments):
    return nbgrader(course, "autograde", LAB, "--force", "--GradeInSandbox.trust=True", *arguments)


def scores(course, student):
    """(auto, manual, needs grading) of each graded cell."""
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as database:
        grades = database.find_submission_notebook(LAB, LAB, student).grades
        return {grade.name: (grade.auto_score, grade.manual_score, grade.needs_manual_grade) for grade in grades}


def grade_by_hand(course, student, **given):
    """As formgrader does it."""
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as database:
        for cell, score in given.items():
            grade = database.find_grade(cell, LAB, LAB, student)
            grade.manual_score, grade.needs_manual_grade = score, False
        database.db.commit()


def comments(course, student):
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as database:
        found = database.find_submission_notebook(LAB, LAB, student).comments
        return {each.name: each.comment for each in found}


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """(course folder, folder of results) of the class, graded by `course grade`."""
    folder = tmp_path_factory.mktemp("nbgrader")
    for student, (content, _) in CLASS.items():
        put(folder / "handed in", student, content)
    course_grade(folder / "handed in", folder / "out", folder / "course")
    return folder / "course", folder / "out"


@pytest.fixture
def course(graded, tmp_path):
    """A copy of the graded course folder, with which a test may do as it likes."""
    shutil.copytree(graded[0], tmp_path / "course")
    return tmp_path / "course"


@pytest.fixture(scope="module")
def autograded(graded, tmp_path_factory):
    """A new course folder with the same submissions, graded by nbgrader's own commands."""
    folder = tmp_path_factory.mktemp("autograde")
    shutil.copyfile(ROOT / "nbgrader_config.py", folder / "nbgrader_config.py")
    shutil.copytree(graded[0] / "submitted", folder / "submitted")
    secret = folder / "secret"
    secret.write_text("the instructor's")
    (folder / "submitted" / "good" / LAB / "data.txt").symlink_to(secret)
    assert nbgrader(folder, "generate_assignment", LAB) == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.cpu_count", lambda: 1)  # one sandbox is enough
        assert autograde(folder) == 0
    return folder


@pytest.mark.parametrize("topic", [topic for topic in available() if lab_path(topic).exists()])
def test_labs_are_valid_assignments(topic):
    """Every exercise has a check worth its points, every answer is graded by hand, and the checksums are right."""
    lab = nbformat.read(lab_path(topic), as_version=4)
    nbformat.validate(lab)
    MetadataValidator().validate_nb(lab)
    tagged = {cell.metadata.nbgrader.grade_id: cell for cell in lab.cells if "nbgrader" in cell.metadata}
    worth = {name: cell.metadata.nbgrader.points for name, cell in tagged.items() if cell.metadata.nbgrader.grade}
    for exercise in load_unit(topic).exercises:
        assert worth.pop(f"check_{exercise.name}") == exercise.points
        assert tagged[exercise.name].metadata.nbgrader.solution
        assert tagged[f"check_{exercise.name}"].metadata.nbgrader.locked
    assert worth and all(name.startswith("answer_") and value == 1 for name, value in worth.items())
    for name, cell in tagged.items():
        assert cell.id == name and cell.metadata.nbgrader.checksum == compute_checksum(cell)


def test_nbgraders_own_release_is_the_lab(autograded):
    released = nbformat.read(autograded / "release" / LAB / f"{LAB}.ipynb", as_version=4)
    assert released.cells == TEMPLATE.cells and os.listdir(autograded / "release" / LAB) == [f"{LAB}.ipynb"]


def test_the_gradebook_has_the_points_of_the_table(graded):
    course, out = graded
    with open(out / "grades.csv", newline="", encoding="utf-8") as file:
        table = {row["student"]: float(row["total"]) for row in csv.DictReader(file)}
    assert {student: points(course, student) for student in CLASS} == {s: given for s, (_, given) in CLASS.items()}
    assert table == {student: sum(given) for student, (_, given) in CLASS.items()}


def test_nbgrader_autograde_gives_the_same_points_and_comments(graded, autograded):
    for student, (_, given) in CLASS.items():
        assert points(autograded, student) == given, student
        assert scores(autograded, student) == scores(graded[0], student), student
        assert comments(autograded, student).keys() == comments(graded[0], student).keys()
        assert shown(autograded, student).cells == shown(graded[0], student).cells


def test_what_is_shown_is_valid_and_has_no_outputs_but_points(graded):
    for student, (_, given) in CLASS.items():
        made = shown(graded[0], student)
        nbformat.validate(made)
        MetadataValidator().validate_nb(made)
        outputs = {cell.id: cell.outputs for cell in made.cells if cell.cell_type == "code" and cell.outputs}
        assert [float(outputs[check][0]["data"]["text/plain"]) for check in CHECKS] == given
        assert set(outputs) == set(CHECKS)


def test_answers_are_left_to_graders_unless_nothing_was_written(graded):
    course, _ = graded
    assert all(scores(course, "good")[answer] == (None, None, True) for answer in ANSWERS)
    assert all(scores(course, "untouched")[answer] == (0, None, False) for answer in ANSWERS)
    assert all(scores(course, "corrupt")[answer] == (0, None, False) for answer in ANSWERS)
    by_id = {cell.id: cell for cell in shown(course, "swapped").cells}
    assert by_id[ANSWERS[0]].source == "By its id you know me." and scores(course, "swapped")[ANSWERS[0]][2]
    gone = {cell.id: cell for cell in shown(course, "cells gone").cells}
    assert all(MISSING in gone[name].source for name in GONE)
    assert scores(course, "cells gone")[ANSWERS[1]] == (None, None, True)
    assert scores(course, "cells gone")[ANSWERS[2]] == (0, None, False)


def test_comments_name_the_laws_and_no_hidden_input(graded):
    course, _ = graded
    found = comments(course, "partial")
    laws = load_unit("distillation").exercises[0].laws
    assert found["soft_targets"].startswith("✓ 1.1 soft_targets: 2 of 2 points")
    assert all(f"    ✓ {law.name}" in found["soft_targets"] for law in laws)
    assert found["virtual_teacher"].startswith("✗ 1.4 virtual_teacher: 0 of 2 points")
    assert "    ✗ " in found["virtual_teacher"] and "<script>alert(1)</script>" in found["virtual_teacher"]
    assert "not implemented yet" in found["distill"]
    assert "syntax error" in comments(course, "broken code")["virtual_teacher"]
    assert "not read" in comments(course, "corrupt")["distill"]
    assert "it ends in the middle" in shown(course, "corrupt").cells[0].source
    for student in CLASS:
        for text in comments(course, student).values():
            assert "input:" not in (text or "")
            # All that a student's code may have said is in a code block
            assert all(line.startswith("    ") for line in (text or "").splitlines()[1:] if line), student


def test_a_second_run_leaves_the_gradebook_alone(course, graded, tmp_path):
    grade_by_hand(course, "good", check_distill=1.0, **dict.fromkeys(ANSWERS, 0.5))
    before, stamp = scores(course, "good"), (course / "autograded/good" / LAB / f"{LAB}.ipynb").stat().st_mtime_ns
    course_grade(graded[0].parent / "handed in", graded[1], course)
    assert scores(course, "good") == before
    assert (course / "autograded/good" / LAB / f"{LAB}.ipynb").stat().st_mtime_ns == stamp


def test_grading_anew_keeps_scores_for_answers_and_drops_those_for_checks(course, tmp_path, capsys):
    grade_by_hand(course, "good", check_distill=1.0, check_soft_targets=0.0, **dict.fromkeys(ANSWERS, 0.5))
    answers = dict.fromkeys(ANSWERS, "A <b>bold</b> answer.") | {ANSWERS[0]: "Another answer."}
    put(tmp_path / "again", "good", hand_in(distill=STUB["distill"], **answers))
    put(tmp_path / "again", os.fsdecode(b"caf\xe9"), b"")  # a name that is no text
    course_grade(tmp_path / "again", tmp_path / "out", course)
    assert points(course, "caf\\udce9") == NOTHING
    after = scores(course, "good")
    assert after["check_soft_targets"] == (2, None, False) and after["check_distill"] == (0, None, False)
    assert after[ANSWERS[0]] == (None, 0.5, True)  # another answer: to be looked at again
    assert all(after[answer] == (None, 0.5, False) for answer in ANSWERS[1:])
    assert "good, check_soft_targets: graded anew" in capsys.readouterr().err


def test_nbgrader_autograde_anew_does_the_same_and_takes_off_for_being_late(autograded):
    grade_by_hand(autograded, "good", check_distill=1.0, **dict.fromkeys(ANSWERS, 0.5))
    (autograded / "submitted" / "good" / LAB / "timestamp.txt").write_text("2026-11-03 11:00:00 UTC")
    with Gradebook(f"sqlite:///{autograded / 'gradebook.db'}") as database:
        database.update_or_create_assignment(LAB, duedate="2026-11-01 12:00:00 UTC")
    assert autograde(autograded, "--student=good") == 0
    after = scores(autograded, "good")
    assert after["check_distill"] == (4, None, False)
    assert all(after[answer] == (None, 0.5, True) for answer in ANSWERS)  # as nbgrader does it
    with Gradebook(f"sqlite:///{autograded / 'gradebook.db'}") as database:
        assert database.find_submission(LAB, "good").late_submission_penalty == pytest.approx(2 * 0.1 * (16 + 3))


def test_late_hand_ins_lose_points(course, graded, tmp_path):
    """By the plug-in that nbgrader_config.py names; grading again counts what was given by hand since."""
    submissions, url = tmp_path / "handed in", f"sqlite:///{course / 'gradebook.db'}"
    shutil.copytree(graded[0].parent / "handed in", submissions)
    times = {"good": "2026-11-03 11:00:00 UTC", "partial": "2026-11-01 12:00:00 UTC", "forged": "soon"}
    for student, timestamp in times.items():
        (submissions / student / LAB / "timestamp.txt").write_text(timestamp)
    with Gradebook(url) as database:
        database.update_or_create_assignment(LAB, duedate="2026-11-01 12:00:00 UTC")

    def penalties():
        with Gradebook(url) as database:
            found = {each.student.id: each.late_submission_penalty for each in database.assignment_submissions(LAB)}
        return {student: penalty for student, penalty in found.items() if penalty}

    course_grade(submissions, graded[1], course)
    assert penalties() == {"good": pytest.approx(2 * 0.1 * 16)}
    grade_by_hand(course, "good", **dict.fromkeys(ANSWERS, 0.5))
    course_grade(submissions, graded[1], course)
    assert penalties() == {"good": pytest.approx(2 * 0.1 * 19)}
    with Gradebook(url) as database:
        database.grant_extension(LAB, "good", days=2)
    course_grade(submissions, graded[1], course)
    assert penalties() == {}


# A minute before eleven at night, summer time of Zurich, as Formgrader's two fields give it and as one types it
FORMGRADER_DUE, TYPED_DUE = "2026-11-01T22:59 +0200", "2026-11-01 22:59:00 +02:00"
WORLD = {
    unicodedata.normalize("NFD", "[Zoë]"): (f"{LAB}.ipynb", b"2026-11-01 22:50:00 CEST", 0),
    "Bo?": (f"{LAB} (1).ipynb", "\ufeff2026-11-05 12:00:00 UTC".encode("utf-16-le"), 4),
    "Bob": (f"{LAB.upper()}.IPYNB", b"2026-11-09 12:00:00 CST", 0),
    "*": (f"{LAB}.ipynb", b"soon", 0),
}


def test_names_and_times_of_the_world(tmp_path, monkeypatch, capsys):
    """`course grade` and nbgrader's own commands read them alike, in a folder that nbgrader alone could not work in."""
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    ours, theirs = (tmp_path / f"Prof's {name} [A]? 50%41" for name in ("HS25", "HS26"))
    theirs.mkdir()
    shutil.copyfile(ROOT / "nbgrader_config.py", theirs / "nbgrader_config.py")
    for student, (name, timestamp, _) in WORLD.items():
        folder = theirs / "submitted" / student / LAB
        folder.mkdir(parents=True)
        (folder / name).write_text(json.dumps(hand_in(**STUB | {"soft_targets": SOLUTION["soft_targets"]})))
        (folder / "timestamp.txt").write_bytes(timestamp)
    shutil.copytree(theirs / "submitted", tmp_path / "handed in")
    register_lab(course_directory(str(ours / "gradebook.db")).db_url, "distillation")
    assert nbgrader(theirs, "generate_assignment", LAB) == 0
    with Gradebook(f"sqlite:///{ours / 'gradebook.db'}") as database:
        database.update_or_create_assignment(LAB, duedate=FORMGRADER_DUE)
    assert nbgrader(theirs, "db", "assignment", "add", LAB, f"--duedate={TYPED_DUE}") == 0
    course_grade(tmp_path / "handed in", tmp_path / "out", ours)
    said = capsys.readouterr().err
    assert autograde(theirs) == 0
    assert "Bob: " in said and "CST may be America's" in said and "*: " in said and "'soon'" in said
    days = {unicodedata.normalize("NFC", student): late for student, (_, _, late) in WORLD.items()}
    for course in (ours, theirs):
        assert all(points(course, student) == [2, 0, 0, 0, 0, 0] for student in days)
        with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as database:
            late = {each.student.id: each.late_submission_penalty for each in database.assignment_submissions(LAB)}
        assert late == {student: pytest.approx(0.1 * 2 * number) for student, number in days.items()}
    assert nbgrader(theirs, "generate_feedback", LAB) == 0
    assert {path.parts[-3] for path in theirs.glob("feedback/*/*/*.html")} == set(days)


@pytest.mark.parametrize(
    ("due", "utc"),
    [
        ("2026-11-01 22:59:00", datetime(2026, 11, 1, 22, 59)),
        ("2026-11-01T22:59 +0200", datetime(2026, 11, 1, 20, 59)),
        ("2026-11-01T22:59 -0330", datetime(2026, 11, 2, 2, 29)),
        ("2026-11-01 22:59:00 CEST", datetime(2026, 11, 1, 20, 59)),
        ("2026-11-01 22:59:00 Europe/Zurich", datetime(2026, 11, 1, 21, 59)),
        (datetime(2026, 11, 1, 22, 59, tzinfo=timezone(timedelta(hours=2))), datetime(2026, 11, 1, 20, 59)),
        (datetime(2026, 11, 1, 20, 59), datetime(2026, 11, 1, 20, 59)),
        (None, None),
    ],
)
def test_due_dates_of_the_world(due, utc, tmp_path):
    course = course_directory(str(tmp_path / "gradebook.db"))
    with Gradebook(course.db_url) as database:
        assert database.add_assignment(LAB, duedate=due).duedate == utc
        assert database.update_or_create_assignment(LAB, duedate=due).duedate == utc


@pytest.mark.parametrize("due", ["2026-11-01 22:59:00 CST", "01.11.2026 22:59", "2026-11-01", "soon"])
def test_a_due_date_that_cannot_be_told_for_sure_is_refused(due, tmp_path):
    course = course_directory(str(tmp_path / "gradebook.db"))
    with Gradebook(course.db_url) as database, pytest.raises(ValueError, match=r"write the time as in .*\+01:00"):
        database.add_assignment(LAB, duedate=due)


def test_folders_that_only_unicode_tells_apart_are_an_error_in_nbgrader(autograded, tmp_path, caplog):
    shutil.copytree(autograded, tmp_path / "course")
    for form in ("NFC", "NFD"):
        put(tmp_path / "course" / "submitted", unicodedata.normalize(form, "Zoë"), hand_in())
    assert autograde(tmp_path / "course") == 1


def test_nbgrader_says_which_time_cannot_be_read(tmp_path, caplog):
    course = course_directory(str(tmp_path / "gradebook.db"))
    course.log = logging.getLogger("nbgrader")
    put(tmp_path / "submitted", "ada", hand_in(), timestamp="2026-11-01 22:50 IST")
    api = NbGraderAPI(course)
    assert api.get_submitted_timestamp(LAB, "ada") is None
    said = caplog.messages[-1]
    assert said.startswith("ada: ") and f"ada/{LAB}/timestamp.txt" in said and "IST may be India's" in said
    put(tmp_path / "submitted", "ada", hand_in(), timestamp="2026-11-01 22:50 MEZ")
    assert api.get_submitted_timestamp(LAB, "ada") == datetime(2026, 11, 1, 21, 50)


def test_a_link_in_place_of_the_time_is_not_handed_out(autograded):
    folder = autograded / "submitted" / "partial" / LAB
    (folder / "timestamp.txt").symlink_to(autograded / "secret")
    assert autograde(autograded, "--student=partial") == 0
    assert sorted(os.listdir(autograded / "autograded" / "partial" / LAB)) == [f"{LAB}.ipynb"]


@pytest.mark.parametrize("name", ["HS26 [A]", "Who?", "Prof's 50%41"])
def test_patterns_and_addresses_that_are_names(name, tmp_path):
    (tmp_path / name / "a?").mkdir(parents=True)
    for file in ("a?/x.ipynb", "ab.ipynb", ".hidden.ipynb"):
        (tmp_path / name / file).write_text("")
    found = [os.path.relpath(path, tmp_path / name) for path in find_files(f"{tmp_path}/{name}/*/*.ipynb")]
    assert found == ["a?/x.ipynb"]
    assert find_files(f"{tmp_path}/{name}/a?") == [f"{tmp_path}/{name}/a?"]
    assert find_files(f"{tmp_path}/{name}/a*") == [f"{tmp_path}/{name}/a?", f"{tmp_path}/{name}/ab.ipynb"]
    assert find_files(f"{tmp_path}/{name}/c*/*") == [] and find_files("/") == ["/"]
    with Gradebook(course_directory(str(tmp_path / name / "gradebook.db")).db_url):
        assert (tmp_path / name / "gradebook.db").is_file()


def test_a_lost_gradebook_is_filled_again(course, graded):
    (course / "gradebook.db").unlink()
    course_grade(graded[0].parent / "handed in", graded[1], course)
    assert all(points(course, student) == given for student, (_, given) in CLASS.items())


def test_another_version_of_the_lab_is_refused(course, monkeypatch, tmp_path):
    changed = deepcopy(TEMPLATE)
    changed.cells = [cell for cell in changed.cells if cell.id != "check_distill"]
    nbformat.write(changed, tmp_path / "lab.ipynb")
    monkeypatch.setattr("course_utils.grading.gradebook.lab_path", lambda topic: tmp_path / "lab.ipynb")
    with pytest.raises(ValueError, match="another version of lab 01_distillation"):
        register_lab(f"sqlite:///{course / 'gradebook.db'}", "distillation")


def test_feedback_by_nbgrader(course):
    assert nbgrader(course, "generate_feedback", LAB, "--student=[gp]*") == 0
    pages = {path.parents[1].name: path.read_text() for path in course.glob(f"feedback/*/{LAB}/{LAB}.html")}
    assert set(pages) == {"good", "partial"}
    assert "(Score: 16.0 / 22.0)" in pages["good"] and "(Score: 10.0 / 22.0)" in pages["partial"]
    # nbgrader's Markdown passes HTML on; nothing that a student wrote may get there
    for page in pages.values():
        assert "<script>alert" not in page and "<b>bold" not in page
    assert "&lt;script&gt;alert(1)" in pages["partial"] and "not implemented yet" in pages["partial"]


def test_nothing_that_a_link_points_to_is_handed_out(autograded):
    assert (autograded / "submitted" / "good" / LAB / "data.txt").is_symlink()
    assert "data.txt" not in os.listdir(autograded / "autograded" / "good" / LAB)


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "a\n<img src=x onerror=alert(1)>",
        "[x](javascript:alert(1))",
        "[x](java\nscript:alert(1))",
        "[x](&#106;avascript\\:alert(1))",
        "[x]\n\n[x]: <JavaScript:alert(1)>",
        "<javascript:alert(1)>",
        "$\\href{javascript:alert(1)}{x}$",
        "![x](data:text/html;base64,PHNjcmlwdD4=)",
    ],
)
def test_markdown_that_would_run_in_a_graders_browser(text):
    tags = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: tags.append((tag, attributes))
    for made in (harmless(text), block(text), "head\n\n" + block(text)):
        parser.feed(markdown2html(made))
    assert {tag for tag, _ in tags} <= {"p", "pre", "code"} and not any(attributes for _, attributes in tags), tags


def test_harmless_markdown_stays_as_it_is():
    text = "For $a < b$: *so* `x < y` and [this](https://example.org), 1 <2, a & b."
    assert harmless(text) == text and harmless("`x<y`") == "`x< y`"


def test_images_in_answers_are_kept_and_raw_cells_are_shown():
    made = hand_in()
    answer = next(cell for cell in made.cells if cell.id == ANSWERS[0])
    answer.source = "![plot](attachment:a.png)"
    answer.attachments = {"a.png": {"image/png": "aGk="}, "b.svg": {"image/svg+xml": "<svg onload=alert(1)>"}, "c": 3}
    made.cells.append({"cell_type": "raw", "metadata": {}, "source": "<script>alert(1)</script>", "id": "r"})
    restored = restore(json.dumps(made).encode(), TEMPLATE)
    kept = next(cell for cell in restored.cells if cell.id == ANSWERS[0])
    assert kept.attachments == {"a.png": {"image/png": "aGk="}} and kept.source == answer.source
    assert restored.cells[-1].cell_type == "markdown" and restored.cells[-1].source.startswith("    <script>")
    assert len(restored.cells) == len(TEMPLATE.cells) + 1


def test_answers_are_read_beside_large_outputs_and_in_an_older_format():
    made = hand_in(**{ANSWERS[0]: "In my own words."})
    plot = {"image/png": "A" * 27_000_000}
    next(cell for cell in made.cells if cell.id == "distill").outputs = [
        nbformat.v4.new_output("display_data", data=plot)
    ]
    old = nbformat.convert(made, 3)
    assert {"heading", "code", "markdown"} == {cell.cell_type for cell in old.worksheets[0].cells}
    for handed_in in (made, old):
        restored = restore(json.dumps(handed_in).encode(), TEMPLATE)
        sources = {cell.id: cell.source for cell in restored.cells}
        assert sources[ANSWERS[0]] == "In my own words." and sources["distill"] == SOLUTION["distill"]
        assert not any(MISSING in source for source in sources.values())
        assert not any(cell.get("outputs") for cell in restored.cells)
        assert restored.cells[0].source == TEMPLATE.cells[0].source


@pytest.mark.slow
def test_formgrader_shows_the_class(course):
    """The extension in a real server: the list, a submission's page, and a grade given by hand."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    log = open(course / "server.log", "wb")  # noqa: SIM115
    options = [f"--ServerApp.port={port}", "--ServerApp.token=t", "--no-browser", "--allow-root"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "jupyter_server", *options]
    server = subprocess.Popen(command, cwd=course, env=environment, stdout=log, stderr=log)

    def ask(path, data=None):
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/formgrader/{path}", data, method="PUT" if data else "GET"
        )
        request.add_header("Authorization", "token t")
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.read().decode()

    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                submissions = json.loads(ask(f"api/submitted_notebooks/{LAB}/{LAB}"))
                break
            except (urllib.error.URLError, ConnectionError):
                assert server.poll() is None and time.monotonic() < deadline, (course / "server.log").read_text()
                time.sleep(0.2)
        found = {each["student"]: each for each in submissions}
        assert {student: each["score"] for student, each in found.items()} == {s: sum(g) for s, (_, g) in CLASS.items()}
        assert found["good"]["needs_manual_grade"] and not found["untouched"]["needs_manual_grade"]
        overview = json.loads(ask(f"api/submissions/{LAB}"))
        assert len(overview) == len(CLASS) and all(each["autograded"] for each in overview)
        page = ask(f"submissions/{found['partial']['id']}/")
        assert 'id="check_virtual_teacher"' in page and "10 of 16 points for code" in page
        grades = json.loads(ask(f"api/grades?submission_id={found['good']['id']}"))
        answer = next(grade for grade in grades if grade["name"] == ANSWERS[0])
        ask(f"api/grade/{answer['id']}", json.dumps({"manual_score": 1.0}).encode())
        notes = json.loads(ask(f"api/comments?submission_id={found['partial']['id']}"))
        assert any("1.4 virtual_teacher: 0 of 2 points" in (note["auto_comment"] or "") for note in notes)
    finally:
        server.kill()
        server.wait()
        log.close()
    assert scores(course, "good")[ANSWERS[0]] == (None, 1.0, False)


@pytest.mark.slow
def test_nbgrader_autograde_as_an_instructor_types_it(tmp_path):
    """In a process of its own, and in the sandbox where there is one."""
    shutil.copyfile(ROOT / "nbgrader_config.py", tmp_path / "nbgrader_config.py")
    put(tmp_path / "submitted", "ada", hand_in(distill=STUB["distill"]))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    run = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True}
    assert nbgrader(tmp_path, "generate_assignment", LAB) == 0
    done = subprocess.run([sys.executable, "-m", "nbgrader", "autograde", LAB], **run)
    if "The sandbox does not start" in done.stderr or "needs bubblewrap" in done.stderr:
        assert done.returncode == 1
        pytest.skip("there is no sandbox on this machine; nothing was graded")
    assert done.returncode == 0, done.stderr
    assert points(tmp_path, "ada") == [2, 4, 2, 2, 2, 0]
