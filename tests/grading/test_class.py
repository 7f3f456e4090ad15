"""A class hands in good, wrong, broken and hostile notebooks: each gets exactly the points that it deserves."""

import csv
import importlib
import json
import os
import re
from collections import Counter

import pytest

from course_utils.checks.engine import run
from course_utils.grading.child import Limits
from course_utils.grading.run import grade_class
from course_utils.grading.sandbox import SandboxUnavailable
from course_utils.grading.submission import instructor_laws
from course_utils.grading.tables import spreadsheet_text
from tests.checks.catalogue import VARIANTS
from tests.grading.conftest import without_sandbox
from tests.grading.notebooks import EXERCISES, HEAD, SOLUTION, STUB, TOPIC, cells, notebook, raw, variant_cell

importlib.import_module(f"tests.units.{TOPIC}.mutants")
LIMITS = Limits(call=1, define=2, patience=10, exercise=30, submission=120)
SEED = 20260
POINTS = {exercise.name: exercise.points for exercise in EXERCISES}
# Who calls whom in the reference
USERS = {
    "soft_targets": {"distillation_loss", "ensemble_soft_targets", "distillation_gradient", "distill"},
    "distillation_loss": {"distill"},
}
FLOOD = "def virtual_teacher(*a):\n    print('x' * 50_000_000)\n    return '<script>alert(1)</script>'"
LOOP = "def soft_targets(logits, temperature=1.0):\n    while True:\n        pass"


def without(*names):
    """Full points but for these exercises."""
    return [0 if name in names else points for name, points in POINTS.items()]


def code(source, **more):
    return {"cell_type": "code", "source": source, "metadata": {}, "outputs": [], "execution_count": None, **more}


FULL, NOTHING = without(), without(*POINTS)
GRADED = "graded"
LAST = "distill"

# name: (content, points, status)
BROKEN = {
    "reference": (notebook(cells()), FULL, GRADED),
    "untouched": (notebook(cells(**STUB)), NOTHING, GRADED),
    "half": (notebook(cells(distill=STUB["distill"], virtual_teacher=STUB["virtual_teacher"])),
             without("distill", "virtual_teacher"), GRADED),
    "own first wrong": (notebook(cells(soft_targets="def soft_targets(logits, temperature=1.0):\n    return logits")),
                        without("soft_targets", *USERS["soft_targets"]), GRADED),
    "syntax error": (notebook(cells(virtual_teacher="def virtual_teacher(labels, n, p:\n    return 1")),
                     without("virtual_teacher"), "partly graded: 1.4 virtual_teacher: syntax error"),
    "all in one cell, one line wrong": (notebook(["\n\n".join([HEAD, *SOLUTION.values(), "x = = 3"])]), FULL, GRADED),
    "endless loop": (notebook(cells(ensemble_soft_targets=LOOP.replace("soft_targets", "ensemble_soft_targets"))),
                     without("ensemble_soft_targets"), "partly graded: 1.3 ensemble_soft_targets: timed out"),
    "endless helper": (notebook(cells(virtual_teacher="n = 0\nwhile not n: n = 0\ndef virtual_teacher(*a): return n")),
                       without("virtual_teacher"), "partly graded: 1.4 virtual_teacher: timed out"),
    "integer that never ends": (notebook(cells(virtual_teacher="n = 9**9**9\ndef virtual_teacher(*a): return n")),
                                without("virtual_teacher"), "partly graded: 1.4 virtual_teacher: timed out"),
    "function deleted": (notebook(cells(distill=None)), without("distill"), "partly graded: 1.6 distill: not found"),
    "function renamed": (notebook(cells(distill=SOLUTION["distill"].replace("def distill(", "def train("))),
                         without("distill"), "partly graded: 1.6 distill: not found"),
    "reordered": (notebook([HEAD, *reversed(SOLUTION.values())]), FULL, GRADED),
    "copied cells": (notebook(cells() + cells()), FULL, GRADED),
    "answered twice": (notebook([*cells(distill="def distill(*a):\n    return 1"), SOLUTION["distill"]]), FULL, GRADED),
    "stub below": (notebook([*cells(), STUB["distill"]]), FULL, GRADED),
    "duplicate ids": (raw([code(s, id="a") for s in cells()]), FULL, GRADED),
    "no metadata": (raw([{"cell_type": "code", "source": s} for s in cells()]), FULL, GRADED),
    "source as lines": (raw([code(s.splitlines(keepends=True)) for s in cells()]), FULL, GRADED),
    "byte order mark": (b"\xef\xbb\xbf" + notebook(cells()), FULL, GRADED),
    "foreign kernel": (notebook(cells(), kernelspec={"name": "ir", "display_name": "R"}), FULL, GRADED),
    "forged outputs": (raw([code(s, outputs=[{"output_type": "stream", "name": "stdout", "text": "✓ 16 points"}])
                            for s in cells(**STUB)]), NOTHING, GRADED),
    "magics": (notebook(["%matplotlib inline\n!pip list", *("%%time\n" + s for s in cells())]), FULL, GRADED),
    "warns on stderr": (notebook(cells(virtual_teacher="import sys, warnings\n" + SOLUTION["virtual_teacher"].replace(
        "    rest =", "    warnings.warn('old'); print('noise', file=sys.stderr)\n    rest ="))), FULL, GRADED),
    "helper and constant": (notebook(["ONE = 1.0", "def ratio(a, b):\n    return a / b", *cells(
        soft_targets="def soft_targets(logits, temperature=ONE):\n    return ratio(logits, temperature).softmax(-1)")]),
        FULL, GRADED),
    "bad experiment": (notebook([HEAD, *SOLUTION.values(), "1 / 0", "import os; os._exit(1)", "while True: pass"]),
                       FULL, GRADED),
    "helper fails": (notebook(cells(virtual_teacher="k = 1 / 0\ndef virtual_teacher(*a): return k")),
                     without("virtual_teacher"), GRADED),
    "variable": (notebook(cells(virtual_teacher="virtual_teacher = 3")),
                 without("virtual_teacher"), "partly graded: 1.4 virtual_teacher: not defined"),
    "calls the reference": (notebook(cells(virtual_teacher="from course_utils.distillation import virtual_teacher")),
                            without("virtual_teacher"), GRADED),
    "exits": (notebook(cells(virtual_teacher="import os\ndef virtual_teacher(*a): os._exit(0)")),
              without("virtual_teacher"), "partly graded: 1.4 virtual_teacher: crashed"),
    "sys.exit": (notebook(cells(virtual_teacher="import sys\ndef virtual_teacher(*a): sys.exit(0)")),
                 without("virtual_teacher"), GRADED),
    "floods": (notebook(cells(virtual_teacher=FLOOD)), without("virtual_teacher"), GRADED),
    "in place": (notebook(cells(soft_targets="def soft_targets(logits, temperature=1.0):\n"
                                "    logits /= temperature\n    return logits.softmax(-1)")),
                 without("soft_targets", *USERS["soft_targets"]), GRADED),
    "=HYPERLINK(1)": (notebook(cells()), FULL, GRADED),
    "<img src=x onerror=alert(1)>": (notebook(cells()), FULL, GRADED),
    "Zoë 名": (notebook(cells()), FULL, GRADED),
    "empty": (b"", NOTHING, "empty: .*"),
    "blank": (b" \n", NOTHING, "empty: .*"),
    "no code": (notebook([]), NOTHING, "empty: .*"),
    "corrupt": (notebook(cells())[:-40], NOTHING, "not a notebook: .*"),
    "a list": (b"[]", NOTHING, "not a notebook: .*"),
    "no cells": (b'{"nbformat": 4}', NOTHING, "not a notebook: .*"),
    "deep JSON": (b"[" * 100_000, NOTHING, "not a notebook: .*"),
    "latin-1": (notebook(cells()).replace(b"# Lab", b"# Lab \xe9"), NOTHING, "unreadable encoding: .*"),
    "version 3": (raw([], nbformat=3, worksheets=[]), NOTHING, "wrong format: .*"),
    "version 5": (raw([code(HEAD)], nbformat=5), NOTHING, "wrong format: .*"),
    "something else": (notebook(["x = 1", "print(x)"]), NOTHING, "no exercise found: .*"),
    "too large": (notebook(["x = '" + "x" * 90_000 + "'"] * 7), NOTHING, "too large: .*"),
    "nothing but a log": (notebook(["x = '" + "x" * 600_000 + "'"]), NOTHING, "empty: .* a pasted log perhaps"),
    "odd cells": (raw([3, None, {"cell_type": "code"}, code({"a": 1}), *(code(s) for s in cells())]), FULL, GRADED),
}  # fmt: skip


def mutants(wrong):
    """Of each exercise some wrong versions and a right one that prove the checks, as students' notebooks."""
    extra = instructor_laws(TOPIC)
    taken = Counter()
    for number, variant in enumerate(VARIANTS):
        name = next((e.name for e in EXERCISES if e.id == variant.exercise), None)
        taken[name, variant.error == ""] += 1
        if name is None or taken[name, variant.error == ""] > (wrong if variant.error else 1):
            continue
        sources = cells(**{name: variant_cell(variant)})
        if not variant.error:
            yield f"right {number} {name}", (notebook(sources), FULL, GRADED)
            continue
        # A wrong function may spoil those that call it: the laws, tried on the same code in this process, say which
        space = {"check": lambda function: None}
        for source in sources:
            if not source.startswith(("check(", "%%")):
                exec(source, space)
        points = [
            run(e, space[e.name], SEED, extra.get(e.id, [])).points
            if e.name in USERS.get(name, ())
            else POINTS[e.name] * (e.name != name)
            for e in EXERCISES
        ]
        yield f"mutant {number} {name}", (notebook(sources), points, GRADED)


def hand_in(folder, submissions):
    """Half of the class hands in files, the other half nbgrader's folders."""
    for number, (student, (content, *_)) in enumerate(submissions.items()):
        path = folder / f"{student}.ipynb" if number % 2 else folder / student / "01_distillation/01_distillation.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def table(out):
    with open(out / "grades.csv", newline="", encoding="utf-8") as file:
        return {row["student"]: row for row in csv.DictReader(file)}


def assert_deserved(out, submissions):
    rows = table(out)
    assert list(rows) == sorted(rows, key=lambda name: name.removeprefix("'")) and len(rows) == len(submissions)
    wrong = []
    for student, (_, points, status) in submissions.items():
        row = rows[spreadsheet_text(student)]
        got = [float(row[f"{e.id} {e.name}"]) for e in EXERCISES]
        if got != points or float(row["total"]) != sum(points) or not re.fullmatch(status, row["status"]):
            wrong.append(f"{student}: {row['status']!r} {got}, deserved {status!r} {points}")
    assert not wrong, "\n".join(wrong)


def grade(folder, out, trust=False, **kwargs):
    try:
        return grade_class("01_distillation", folder, out, seed=SEED, trust=trust, limits=LIMITS, **kwargs)
    except SandboxUnavailable as error:
        if trust:
            raise
        without_sandbox(error)


@pytest.fixture(scope="module")
def graded(tmp_path_factory, depth):
    """The class, graded in the sandbox by two processes."""
    folder, out = tmp_path_factory.mktemp("class"), tmp_path_factory.mktemp("out")
    submissions = BROKEN | dict(mutants(depth(2, 3)))
    hand_in(folder, submissions)
    assert grade(folder, out, workers=2) is True
    return folder, out, submissions


def test_everybody_gets_what_they_deserve(graded):
    _, out, submissions = graded
    assert len(submissions) >= 60
    assert_deserved(out, submissions)


def test_feedback_pages(graded):
    _, out, submissions = graded
    pages = {path.stem: path.read_text(encoding="utf-8") for path in (out / "feedback").glob("*.html")}
    assert set(pages) == set(submissions)
    for student, page in pages.items():
        assert "<script" not in page and "<img" not in page and "viewport" in page, student
        assert len(page) < 200_000
    assert "1.4 virtual_teacher: 2 of 2 points" in pages["reference"]
    assert "not implemented yet" in pages["untouched"]
    assert "your code, as it was graded" in pages["half"]
    assert "timed out" in pages["endless loop"] and "syntax error in line 1" in pages["syntax error"]
    assert "ZeroDivisionError" in pages["helper fails"]
    assert "defined 2 times" in pages["answered twice"]


def test_feedback_shows_no_input_and_no_instructors_expectation(graded):
    _, out, _ = graded
    for path in (out / "results").glob("*.json"):
        content = json.loads(path.read_text())
        assert not any(law["input"] for exercise in content["exercises"] for law in exercise["laws"])


def test_the_seed_is_kept_and_kept_secret(graded):
    _, out, _ = graded
    assert int((out / "secret_seed").read_text()) == SEED
    assert os.stat(out / "secret_seed").st_mode & 0o777 == 0o600
    for path in (out / "feedback").glob("*.html"):
        assert str(SEED) not in path.read_text(encoding="utf-8")


def test_a_second_run_repeats_nothing_and_gives_the_same_table(graded):
    folder, out, _ = graded
    before = (out / "grades.csv").read_bytes()
    stamps = {path: path.stat().st_mtime_ns for path in out.rglob("*.json")}
    again = sorted(stamps)[::7]
    for path in again[1:]:
        path.unlink()  # as if the run had been killed before
    again[0].write_text("{")
    (out / "grades.csv").unlink()
    assert grade(folder, out, workers=1) is True
    assert (out / "grades.csv").read_bytes() == before
    changed = {path for path, stamp in stamps.items() if path.stat().st_mtime_ns != stamp}
    assert changed == set(again)


def test_a_changed_submission_is_graded_again(graded, tmp_path):
    folder = tmp_path / "class"
    folder.mkdir()
    for content, points in ((cells(**STUB), NOTHING), (cells(), FULL)):
        (folder / "ada.ipynb").write_bytes(notebook(content))
        assert grade(folder, tmp_path / "out", trust=True, workers=1) is True
        row = table(tmp_path / "out")["ada"]
        assert float(row["total"]) == sum(points)


def test_without_a_sandbox(tmp_path):
    """--trust: the same results for whoever is not hostile."""
    folder = tmp_path / "class"
    folder.mkdir()
    names = ["reference", "untouched", "half", "syntax error", "endless helper", "exits", "in place", "corrupt"]
    submissions = {name: BROKEN[name] for name in names}
    hand_in(folder, submissions)
    assert grade(folder, tmp_path / "out", trust=True, workers=1) is True
    assert_deserved(tmp_path / "out", submissions)


def test_without_bubblewrap_grading_is_refused(tmp_path, monkeypatch):
    (tmp_path / "class").mkdir()
    (tmp_path / "class" / "ada.ipynb").write_bytes(notebook(cells()))
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(SandboxUnavailable, match=r"apt install bubblewrap.*--trust"):
        grade_class("01", tmp_path / "class", tmp_path / "out")
    assert not (tmp_path / "out" / "grades.csv").exists()


def test_a_class_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="no folder"):
        grade_class("01", tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(ValueError, match="empty"):
        grade_class("01", tmp_path, tmp_path / "out")
