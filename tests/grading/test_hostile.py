"""A class of attackers among honest students: nobody forges a point, loses one, or harms a neighbour."""

import csv
import json
import os
import re
import time

import psutil
import pytest

from course_utils.checks import check
from course_utils.grading.child import Limits
from course_utils.grading.run import grade_class
from course_utils.grading.sandbox import SandboxUnavailable
from course_utils.grading.tables import spreadsheet_text
from tests.grading.conftest import without_sandbox
from tests.grading.hostile import ATTACKS, HONEST_NOTEBOOKS, TARGET, UNREAD, WITNESS, large
from tests.grading.notebooks import EXERCISES, cells, notebook

LAB = "01_distillation"
SHORT = Limits(call=0.5, define=8, patience=10, exercise=25, submission=60)
POINTS = {exercise.name: float(exercise.points) for exercise in EXERCISES}
FULL, NOTHING = dict(POINTS), dict.fromkeys(POINTS, 0.0)
ONLY_WITNESS = {**NOTHING, WITNESS: POINTS[WITNESS]}
BOTH = {**ONLY_WITNESS, TARGET: POINTS[TARGET]}
NEIGHBOUR = notebook(cells())


def put_odd_files(folder, elsewhere):
    """What is no notebook at all: by the name in the table, the status."""
    elsewhere.mkdir()
    (elsewhere / f"{LAB}.ipynb").write_bytes(NEIGHBOUR)
    (folder / "link.ipynb").symlink_to(elsewhere / f"{LAB}.ipynb")
    (folder / "linked folder").symlink_to(elsewhere)
    (folder / "loop.ipynb").symlink_to("loop.ipynb")
    (folder / "spiral").symlink_to("spiral")
    (folder / "zero.ipynb").symlink_to("/dev/zero")
    (folder / "inner" / LAB).mkdir(parents=True)
    (folder / "inner" / LAB / f"{LAB}.ipynb").symlink_to("/etc/passwd")
    os.mkfifo(folder / "pipe.ipynb")
    with open(folder / "sparse.ipynb", "wb") as file:
        file.truncate(2**33)
    (folder / "other lab" / "00_budget").mkdir(parents=True)
    (folder / "other lab" / "00_budget" / "00_budget.ipynb").write_bytes(NEIGHBOUR)
    (folder / "renamed" / LAB).mkdir(parents=True)
    for name in ("Untitled1.ipynb", "Untitled2.ipynb"):
        (folder / "renamed" / LAB / name).write_bytes(NEIGHBOUR)
    (folder / "strays" / LAB).mkdir(parents=True)
    (folder / "strays" / LAB / os.fsdecode(b"\xff\xfe.py")).write_bytes(b"x")
    (folder / "essay.docx").write_bytes(b"PK")
    longest = {f"{'n' * 220}{i}" for i in range(2)}
    for name in longest:
        (folder / f"{name}.ipynb").write_bytes(NEIGHBOUR)
    return {
        "link": "symbolic link", "linked folder": "symbolic link", "loop": "symbolic link", "zero": "symbolic link",
        "inner": "symbolic link", "pipe": "wrong file", "sparse": "too large", "spiral": "symbolic link",
        "other lab": "(not handed in|wrong file)", "renamed": "wrong file", "strays": "wrong file",
        "essay": "wrong file",
        **{f"{'n' * 40}…{i}": "wrong name" for i in range(2)},
    }  # fmt: skip


def class_of_attackers(part):
    """(content, points, status) by student; an honest neighbour between every six. Large replies only in part."""
    students = {}
    for number, (name, content) in enumerate((ATTACKS | large(part)).items()):
        students[f"{number:02d} {name}"] = content, ONLY_WITNESS, ".*"
        if number % 6 == 0:
            students[f"{number:02d}~neighbour"] = NEIGHBOUR, FULL, "graded"
    for name, (content, read, status) in UNREAD.items():
        students[f"U {name}"] = content, ONLY_WITNESS if read else NOTHING, status
    for name, content in HONEST_NOTEBOOKS.items():
        students[f"H {name}"] = content, BOTH, "partly graded: 1.2 distillation_loss: not found.*"
    # A name that is not UTF-8 belongs to somebody too
    students[os.fsdecode(b"Z\xeb\xff")] = NEIGHBOUR, FULL, "graded"
    return students


@pytest.fixture(scope="module")
def graded(tmp_path_factory, depth):
    base = tmp_path_factory.mktemp("hostile")
    folder, out = base / "class", base / "out"
    folder.mkdir()
    students = class_of_attackers(depth(4, 1))
    for student, (content, *_) in students.items():
        (folder / f"{student}.ipynb").write_bytes(content)
    odd = put_odd_files(folder, base / "elsewhere")
    before = {p.pid for p in psutil.process_iter()}
    start = time.monotonic()
    try:
        finished = grade_class("01", folder, out, limits=depth(SHORT, Limits()), workers=2)
    except SandboxUnavailable as error:
        without_sandbox(error)
    seconds = time.monotonic() - start
    with open(out / "grades.csv", newline="", encoding="utf-8") as file:
        rows = {row["student"]: row for row in csv.DictReader(file)}
    return base, students, odd, rows, finished, seconds, before


def shown(student):
    return spreadsheet_text(student).encode("utf-8", "backslashreplace").decode()


@pytest.mark.slow
def test_the_corpus(graded, record_property):
    _, students, odd, rows, finished, seconds, _ = graded
    forged = lost = harmed = 0.0
    faults, crashes = [], 0
    for student, (_, deserved, status) in students.items():
        row = rows.get(shown(student))
        if row is None or row["status"].startswith("not graded"):
            crashes += 1
            faults.append(f"{student}: {row and row['status']}")
            continue
        got = {e.name: float(row[f"{e.id} {e.name}"]) for e in EXERCISES}
        more = sum(max(0, got[name] - deserved[name]) for name in POINTS)
        less = sum(max(0, deserved[name] - got[name]) for name in POINTS)
        forged += more
        if student.endswith("~neighbour"):
            harmed += less
        else:
            lost += less
        if more or less or not re.fullmatch(status, row["status"]):
            faults.append(f"{student}: {row['status']!r} {got}")
    statuses = {name: row["status"] for name, row in rows.items()}
    long_names = sorted(name for name in rows if name.startswith("n" * 40))
    for number, name in enumerate(long_names):
        statuses[f"{'n' * 40}…{number}"] = statuses[name]
    for name, status in odd.items():
        if not re.match(status, statuses.get(name, "")) or float(rows.get(name, {"total": 0})["total"]):
            crashes += name not in statuses
            faults.append(f"{name}: {statuses.get(name)!r}, not {status!r}")
    broken = len(UNREAD) + len(odd)
    honest = len(students) - len(ATTACKS) - len(UNREAD)
    record_property(
        "grading corpus",
        [
            ("hostile submissions", len(ATTACKS)),
            ("broken or unreadable ones", broken),
            ("honest ones among them", honest),
            ("points forged", forged),
            ("points lost by an honest one", lost),
            ("points lost by a neighbour", harmed),
            ("submissions without a result", crashes),
            ("seconds in all", round(seconds)),
        ],
    )
    assert not faults, "\n".join(faults)
    assert finished and len(rows) == len(students) + len(odd)
    assert forged == lost == harmed == crashes == 0 and len(ATTACKS) + broken >= 60


@pytest.mark.slow
def test_nothing_of_it_is_left(graded):
    *_, before = graded
    deadline = time.monotonic() + 5
    while left := [p for p in psutil.process_iter(["cmdline"]) if p.pid not in before and ours(p)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def ours(process):
    words = process.info["cmdline"] or []
    return "course_utils.grading.worker" in words and process.ppid() in (os.getpid(), 1)


@pytest.mark.slow
def test_pages_stay_small_and_harmless(graded):
    base, students, *_ = graded
    pages = [*(base / "out" / "feedback").glob("*.html"), *(base / "out").glob("*.html")]
    assert len(pages) >= len(students) + 2
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert "<script" not in text and "<img" not in text, page.name
        assert len(text) < 300_000, (page.name, len(text))
    for path in (base / "out" / "results").glob("*.json"):
        assert path.stat().st_size < 1_000_000, path.name
        json.loads(path.read_text())
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", (base / "out" / "grades.csv").read_text(encoding="utf-8"))


def test_the_attack_on_the_public_seed_is_a_good_one():
    """It would be worth full points if the grader drew the inputs that the lab shows."""
    code = json.loads(ATTACKS["answers of the public seed"])["cells"][-1]["source"]
    space = {}
    exec("import torch\n" + "".join(code), space)
    assert check(space[TARGET]).passed
    assert not check(space[TARGET], seed=1).passed
