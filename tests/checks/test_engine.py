"""The engine: what it says of every kind of wrong function, in words a beginner understands."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_utils import distillation
from course_utils.checks import check, expect, find_exercise
from course_utils.checks.draw import Draw
from course_utils.checks.engine import Exercise, clone, plain, run, same
from course_utils.units import ROOT, find_topic, unit_name


@pytest.fixture
def doubling():
    """An exercise with two laws: f(x) is 2 x, exactly and for the sum."""
    exercise = Exercise("9.9", "double", points=3, minutes=1, difficulty=1)

    @exercise.law("doubles each entry", hint="Multiply by two.")
    def doubles(function, draw):
        x = draw.normal(draw.size(1, 5), 3)
        expect.close(function(x), 2 * x)

    @exercise.law("the sum doubles")
    def sums(function, draw):
        x = draw.normal(4)
        expect.close(function(x).sum(), 2 * x.sum(), atol=1e-5)

    return exercise


def test_right_function_passes_and_gets_its_points(doubling):
    report = run(doubling, lambda x: x + x)
    assert report.passed and report.points == report.max_points == 3
    assert [law.passed for law in report.laws] == [True, True, True]
    assert str(report).startswith("✓ 9.9 double: 3 of 3 laws hold, 3 of 3 points")


def raise_value_error(x):
    raise ValueError("no <b>such</b> thing")


def in_place(x):
    x *= 2
    return x


@pytest.mark.parametrize(
    "function,words",
    [
        (lambda x: None, "is a `return` missing?"),
        (lambda x: (2 * x).tolist(), "is a list, not a tensor"),
        (lambda x: (2 * x).numpy(), "is a NumPy array, not a tensor"),
        (lambda x: (2 * x)[:-1], "has shape"),
        (lambda x: (2 * x).double(), "has dtype float64, not float32"),
        (lambda x: 2 * x / 0, "contains an infinity"),
        (lambda x: 0 * x / 0, "contains NaN"),
        (lambda x: 3 * x, "the result is wrong"),
        (lambda x: 2 * x * 1.0002, "the result differs, by up to"),
        (lambda x: torch.nn.Parameter(2 * x), "a Parameter, not a plain tensor"),
        (lambda x: object(), "not plain data"),
        (lambda x: (y for y in x), "not plain data"),
        (raise_value_error, "raised ValueError in the line `raise ValueError"),
        (lambda: 1, "raised TypeError"),
        (in_place, "an argument has another value after the call"),
        (lambda x: exit(1), "raised SystemExit"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_wrong_function_gets_a_message_and_no_points(doubling, function, words):
    report = run(doubling, function)
    assert not report.passed and report.points == 0
    assert words in str(report) and words.split("`")[0] in report._repr_html_().replace("&gt;", ">")
    assert "<b>such</b>" not in report._repr_html_()
    if function is not in_place:
        assert "hint:" in str(report) and "Multiply by two." in str(report)


def test_the_same_question_is_asked_again(doubling):
    """A function that is wrong now and then is refused even if no law saw it."""
    calls = []

    def moody(x):
        calls.append(1)
        return 2 * (x.flip(0) if len(calls) == 6 else x)

    report = run(doubling, moody, ask_again=1)
    assert report.points == 0 and [law.passed for law in report.laws] == [True] * 3 + [False]
    assert "asked again, is wrong" in str(report) and report.laws[-1].input.startswith("double(")
    assert not run(doubling, lambda x: 2 * x if calls.append(1) or len(calls) < 16 else exit(1), ask_again=1).passed
    # Rounding differs from call to call on some machines, and NaN is an answer
    assert run(doubling, lambda x: 2 * x * (1 + 1e-6 * torch.rand(()))).passed


def test_of_a_large_tensor_the_worst_place_is_named():
    """Only its first entries are shown, and those may be right."""
    wanted = torch.zeros(4, 5)
    got = wanted.clone()
    got[0, 0], got[3, 4] = 1e-3, 0.25
    with pytest.raises(expect.LawViolation, match=r"is wrong, most of all at \[3, 4\]") as caught:
        expect.close(got, wanted)
    assert caught.value.expected.endswith("; 0.0 at [3, 4]") and caught.value.got.endswith("; 0.25 at [3, 4]")
    got[2, 2] = float("inf")
    with pytest.raises(expect.LawViolation, match="infinity"):
        expect.close(got, wanted)
    with pytest.raises(expect.LawViolation, match=r"most of all at \[13\]"):
        expect.equal(torch.arange(20) == 13, torch.zeros(20, dtype=torch.bool))


def test_smallest_input_is_shown(doubling):
    report = run(doubling, lambda x: 2 * x if len(x) < 3 else x)
    failed = report.laws[0]
    assert not failed.passed and "double(tensor" in failed.input and failed.expected and failed.got


def test_stub_is_not_implemented_yet(doubling):
    def double(x):
        raise NotImplementedError("Exercise 9.9 double")

    report = run(doubling, double)
    assert str(report) == "✗ 9.9 double: not implemented yet" and not report.laws and report.points == 0


def test_function_that_needs_a_stub_says_which(doubling):
    def half():
        raise NotImplementedError("Exercise 9.8 half")

    report = run(doubling, lambda x: half())
    assert "needs Exercise 9.8 half, which is not implemented yet" in str(report)


def test_prints_are_shown_only_when_a_law_fails(doubling, capsys):
    def noisy(x, factor):
        print("looking at", len(x))
        return factor * x

    assert "looking at" not in str(run(doubling, lambda x: noisy(x, 2)))
    assert "looking at 1" in str(run(doubling, lambda x: noisy(x, 3)))
    assert capsys.readouterr().out == ""


def test_keyboard_interrupt_goes_through(doubling):
    def interrupted(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(doubling, interrupted)


def test_the_notebooks_default_dtype_is_for_its_functions_only(doubling):
    """As in grading, where the laws stand in another process."""
    seen = []

    def double(x):
        seen.append(torch.ones(1).dtype)
        return 2 * x

    torch.set_default_dtype(torch.float64)
    try:
        passed = run(doubling, double).passed
        assert passed and torch.get_default_dtype() == torch.float64
        assert not run(doubling, lambda x: 2 * x + torch.zeros(x.shape)).passed
    finally:
        torch.set_default_dtype(torch.float32)
    assert set(seen) == {torch.float64}


def test_bands_are_worth_a_part():
    exercise = Exercise("9.9", "double", points=4, minutes=1, difficulty=1)

    @exercise.law("is positive")
    def positive(function, draw):
        expect.true(function(1.0) > 0, "it is not")

    @exercise.law("is large", share=0.25)
    def large(function, draw):
        expect.true(function(1.0) > 10, "it is not")

    assert run(exercise, lambda x: 20.0).points == 4
    assert run(exercise, lambda x: 5.0).points == 3
    assert run(exercise, lambda x: -5.0).points == 0


def test_something_that_is_no_function(doubling):
    assert "not a function" in str(run(doubling, 3))
    with pytest.raises(ValueError, match="has no name"):
        check(3)


def test_numbers_that_are_no_integers_do_not_look_like_some():
    texts = [expect.describe(value) for value in (1.0, -3.0, 0.5, 1234.4, 1.0000001, 2e5, 1 + 1e-12, float("inf"))]
    assert texts == ["1.0", "-3.0", "0.5", "1234.4", "1.0000001", "2e+05", "1.0", "inf"]
    assert "1.00000012, 1.0" in expect.describe(torch.tensor([1 + 2**-23, 1.0]))


def test_a_function_without_a_name_of_its_own_is_checked_under_the_name_that_it_has_here():
    right = distillation.virtual_teacher
    for made in ("partial(right)", "lambda *args: right(*args)", "Teacher.call", "Teacher()"):
        space = {"right": right, "check": check}
        exec(
            "from functools import partial\n"
            "class Teacher:\n    call = staticmethod(lambda *args: right(*args))\n"
            "    def __call__(self, *args): return right(*args)\n"
            f"virtual_teacher = {made}\nreport = check(virtual_teacher)",
            space,
        )
        assert space["report"].passed and space["report"].exercise == "1.4"
    exec("virtual_teacher = 3.5\nreport = check(virtual_teacher)", space)
    assert space["report"].note == "a float, not a function"


def test_exercise_is_found_by_name_and_by_id():
    assert find_exercise("1.1") is find_exercise("soft_targets")
    assert check(lambda z, temperature=1.0: distillation.soft_targets(z, temperature), exercise="1.1").passed
    with pytest.raises(ValueError, match="did you mean 'soft_targets'"):
        find_exercise("soft_target")


def test_draws_depend_on_seed_law_and_trial_only():
    first = Draw(1, "1.1/law", 0, 3).normal(4)
    assert torch.equal(first, Draw(1, "1.1/law", 0, 3).normal(4))
    for other in (Draw(2, "1.1/law", 0, 3), Draw(1, "1.1/other", 0, 3), Draw(1, "1.1/law", 1, 3)):
        assert not torch.equal(first, other.normal(4))
    assert Draw(5, "x", 0, 4).size(1, 9) == 1
    assert all(1 <= Draw(s, "x", t, 4).size(1, 9) <= 9 for s in range(20) for t in range(4))


plain_data = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.lists(st.floats(width=32), max_size=4).map(torch.tensor)
    | st.lists(st.integers(0, 9), max_size=4).map(np.array),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3) | st.tuples(inner, inner),
    max_leaves=8,
)


@given(plain_data)
def test_copy_of_plain_data_is_the_same_and_stays_plain(value):
    copy = clone(value)
    assert same(value, copy) and same(value, plain(copy))


def test_same_sees_small_differences():
    assert not same(torch.tensor([1.0]), torch.tensor([1.0], dtype=torch.float64))
    assert not same(torch.tensor([1.0]), torch.tensor([[1.0]]))
    assert not same([1, 2], (1, 2)) and not same({"a": 1}, {"a": 2}) and not same(True, 1)
    assert same(torch.tensor(float("nan")), torch.tensor(float("nan")))


def test_labs_are_found_by_name_number_folder_and_file():
    assert unit_name("distillation") == "01_distillation"
    for lab in ("distillation", "01", "01_distillation", "labs/01_distillation", "x/01_distillation (2).ipynb"):
        assert find_topic(lab) == "distillation"
    with pytest.raises(ValueError, match="did you mean '01_distillation'"):
        find_topic("distilation")


def test_no_check_makes_a_student_wait_for_an_import():
    """Each of these takes 0.4 s to 2 s to import, at the first use of something that does not look like it."""
    code = """
import importlib, sys
from course_utils.checks.engine import run
from course_utils.units import available, load_unit
for topic in available():
    for exercise in load_unit(topic).exercises:
        assert run(exercise, getattr(importlib.import_module(f"course_utils.{topic}"), exercise.name)).passed
        for name in ("torch._dynamo", "sympy", "scipy.stats", "sklearn", "torchvision"):
            assert name not in sys.modules, f"{exercise.id} imports {name}"
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
