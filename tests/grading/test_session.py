"""What runs a student's code: bindings of several exercises, and what a sandbox lacks that a notebook has."""

import pytest

from course_utils.checks.engine import StudentError
from course_utils.grading.child import Limits, Slowness
from course_utils.grading.protocol import pack
from course_utils.grading.session import Session
from tests.grading.test_attacks import ask


def answers(cells, *names):
    """What functions without arguments return, each defined just before it is called."""
    session = Session(channel=None)
    session.load(cells, [], list(names))
    found = []
    for name in names:
        assert session.define(name)["problems"] == []
        found.append(session.call(0, name, pack([[], {}])).get("value"))
    return found


def test_each_exercise_finds_its_own_binding_of_a_name():
    cells = ["K = 1\ndef f(): return K", "check(f)", "K = 2\ndef g(): return K", "check(g)"]
    assert answers(cells, "f", "g") == [1, 2]
    assert answers(cells, "g", "f") == [2, 1]


def test_a_table_that_is_bound_again_is_filled_again():
    fill = "TABLE = [{0}]\nTABLE.append({0})\ndef {1}(): return TABLE"
    cells = [fill.format(1, "f"), "check(f)", fill.format(2, "g"), "check(g)"]
    assert answers(cells, "g", "f", "g") == [[2, 2], [1, 1], [2, 2]]


def test_what_two_exercises_need_runs_once():
    cells = ["RUNS = []", "RUNS.append(1)", "def f(): return RUNS", "def g(): return f()"]
    assert answers(cells, "f", "g") == [[1], [1]]


def test_await_at_the_top():
    cells = ["import asyncio\nasync def later(): return 3", "K = await later()", "def f(): return K"]
    assert answers(cells, "f") == [3]


@pytest.mark.parametrize(
    "lines",
    [
        "@torch.compile\ndef f(x): return x + 1",
        "@torch.compile(dynamic=True, mode='reduce-overhead')\ndef f(x): return x + 1",
        "def g(x): return x + 1\nf = torch.compile(g)",
        "from IPython.display import display\ndef f(x):\n    display(x)\n    return x + 1",
        "def f(x):\n    display(x, 'x')\n    get_ipython().run_line_magic('time', 'x')\n    return x + 1",
    ],
)
def test_what_a_notebook_has_is_there(trusted, lines):
    assert ask(trusted, f"import torch\n{lines}", 2) == 3


@pytest.mark.parametrize(
    "lines,words",
    [
        (
            "from concurrent.futures import ThreadPoolExecutor\ndef f(): ThreadPoolExecutor().submit(int).result()",
            "one thread",
        ),
        ("from multiprocessing.pool import ThreadPool\ndef f(): ThreadPool(2).map(int, '12')", "one thread"),
        ("def f():\n    import my_helpers", "put helpers into a cell"),
        ("def f(): open('data.csv')", "files beside it are not there"),
    ],
)
def test_what_it_lacks_is_named(trusted, lines, words):
    with pytest.raises(StudentError, match=words):
        ask(trusted, lines)


def test_limits_grow_with_the_machines_slowness():
    usual = Limits()
    limits = usual.on(Slowness(processor=2, clock=3))
    assert (limits.call, limits.define) == (2 * usual.call, 2 * usual.define)
    assert (limits.exercise, limits.submission) == (3 * usual.exercise, 3 * usual.submission)
    assert (limits.memory, limits.patience) == (usual.memory, usual.patience)
    measured = Slowness.measured()
    assert measured.processor >= 1 and measured.clock >= 1
