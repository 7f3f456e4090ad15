"""The instructor's pages: what a class got, and what a human should look at."""

import pytest

from course_utils.grading.class_page import class_page
from course_utils.grading.integrity import examine, integrity_page
from course_utils.grading.submission import ExerciseResult, Result
from tests.grading.notebooks import EXERCISES, SOLUTION, STUB, TOPIC

LAW = {"name": "rows sum to one", "passed": False, "instructor": False, "message": "", "hint": ""}
LAW |= {"input": "", "expected": "", "got": ""}
OWN = """
def soft_targets(logits, temperature=1.0):
    largest = logits.max(dim=-1, keepdim=True).values
    shifted = (logits - largest) / temperature
    powers = torch.exp(shifted)
    total = powers.sum(dim=-1, keepdim=True)
    for index in range(3):
        total = total + 0 * index
    return powers / torch.clamp(total, min=1e-30)
"""
RENAMED = OWN.replace("largest", "m").replace("shifted", "s").replace("powers", "e").replace("total", "z") + "# mine\n"
OTHER = """
def soft_targets(logits, temperature=1.0):
    rows = []
    for row in logits.reshape(-1, logits.shape[-1]):
        if row.numel():
            rows.append((row / temperature).softmax(0))
    return torch.stack(rows).reshape(logits.shape)
"""


def result(student, code, points=2.0, status="graded", **more):
    exercises = [ExerciseResult(e.id, e.name, e.points, e.points) for e in EXERCISES]
    exercises[0] = ExerciseResult("1.1", "soft_targets", 2, points, code=[[1, 1, code]], **more)
    for number, exercise in enumerate(exercises[1:], 2):
        exercise.code = [[number, 1, SOLUTION[exercise.name]]]
    return Result(student, "key", status, "", exercises)


def test_copied_code_is_found_though_it_was_renamed_and_common_code_is_innocent():
    results = [result("ada", OWN), result("bob", RENAMED), result("cyd", OTHER)]
    results += [result(f"s{n}", SOLUTION["soft_targets"]) for n in range(5)]
    results += [result(f"t{n}", STUB["soft_targets"], 0) for n in range(3)]
    report = examine(TOPIC, results)
    assert [(pair.first, pair.second) for pair in report.pairs] == [("ada", "bob")]
    (pair,) = report.pairs
    assert pair.tokens > 60 and min(pair.shares) > 0.9 and "copydetect" in report.detector
    page = integrity_page(report, "01")
    assert f"{pair.tokens} tokens" in page and report.detector in page and "took a point from" in page


def test_what_many_have_in_common_is_nobodys_copy():
    report = examine(TOPIC, [result(f"s{n}", OWN) for n in range(6)])
    assert report.pairs == []


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("from course_utils.distillation import soft_targets", "reference"),
        ("from course_utils import distillation", "reference"),
        ("import course_utils.distillation as d", "reference"),
        ("from course_utils.grading import worker", "grader"),
        ("def f():\n    import sys\n    return sys._getframe(1)", "stack"),
        ("import inspect", "stack"),
        ("x = (1).__class__.__base__.__subclasses__()", "stack"),
        ("def f():\n    torch.allclose = print", "library"),
        ("setattr(torch.Tensor, '__eq__', print)", "library"),
        ("def f(x): return eval(x)", "text as code"),
        ("def f(): return open('/etc/passwd')", "files"),
        ("import subprocess", "files"),
        ("import hashlib", "hash"),
    ],
)
def test_code_that_looks_elsewhere_is_listed(code, why):
    (finding, *_) = [f for f in examine(TOPIC, [result("eve", code)]).findings if why in f.why]
    assert finding.student == "eve" and finding.exercise == "1.1 soft_targets" and finding.line in code


@pytest.mark.parametrize(
    "code", [*SOLUTION.values(), OWN, OTHER, "from course_utils.models import mlp_forward", "x = ("]
)
def test_ordinary_code_is_not(code):
    assert examine(TOPIC, [result("ada", code)]).findings == []


def test_the_class_page_counts():
    results = [result("ada", OWN), result("bob", OTHER, 0, laws=[LAW]), result("cyd", "", 0, outcome="not implemented")]
    results.append(result("<script>eve", "import inspect", 0, "partly graded", outcome="crashed"))
    results.append(
        Result("fay", "key", "empty", "no code", [ExerciseResult("1.1", "soft_targets", 2, outcome="not read")])
    )
    page = class_page(results, examine(TOPIC, results), "01_distillation")
    assert "5 students, 4 of them graded: mean 14.5, median 14 of 16 points" in page
    for part in ("✓ 1", "✗ 1", "○ 1", "! 1", "0.5 of 2"):
        assert part in page, part
    assert "rows sum to one" in page and "1 of 1" in page and "fay: empty: no code" in page
    assert "1 with code that looks" in page and "<script" not in page


def test_a_class_of_which_nothing_could_be_read():
    results = [Result("fay", "key", "empty", "", [ExerciseResult("1.1", "soft_targets", 2, outcome="not read")])]
    assert "nothing could be graded" in class_page(results, examine(TOPIC, results), "01")
