"""`%%needs`: a cell that waits for what it uses, lets errors pass, and stops when it is told to."""

import IPython
import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from course_utils.checks import needs


@pytest.fixture
def shell(monkeypatch):
    made = InteractiveShell(config=Config(HistoryManager={"enabled": False}))
    monkeypatch.setattr(IPython, "get_ipython", lambda: made)
    needs.register()
    made.run_cell("def soft_targets(x): return x")
    return made


def test_a_cell_waits_for_its_functions(shell, capsys):
    assert shell.run_cell("%%needs soft_targets distill\nran = True").success
    assert "waits for Exercise 1.6 distill" in capsys.readouterr().out and "ran" not in shell.user_ns
    assert shell.run_cell("%%needs soft_targets\nran = True").success
    assert shell.user_ns["ran"]


def test_an_error_does_not_stop_run_all_an_interrupt_does(shell, capsys):
    assert shell.run_cell("%%needs soft_targets\n1 / 0").success
    assert "ZeroDivisionError" in capsys.readouterr().out
    stopped = shell.run_cell("%%needs soft_targets\nraise KeyboardInterrupt")
    assert isinstance(stopped.error_in_exec, KeyboardInterrupt)
    said = capsys.readouterr().out
    assert said.count("Traceback") == 1 and said.endswith("Stopped.\n")


def test_an_experiment_that_breaks_names_the_function_that_is_wrong(shell, capsys):
    shell.run_cell("from course_utils.distillation import virtual_teacher")
    assert shell.run_cell("%%needs virtual_teacher soft_targets\nsoft_targets(1).sum()").success
    said = capsys.readouterr().out
    assert (
        said.endswith("1.1 soft_targets does not pass its check: look there first.\n") and "virtual" not in said[-80:]
    )
    shell.run_cell("%%needs virtual_teacher\n1 / 0")
    assert "look there" not in capsys.readouterr().out


def test_an_exercise_named_in_a_comprehension_or_an_inner_function_is_used():
    space = {}
    exec(
        "def soft_targets(x): return x\n"
        "def distill(x): return x\n"
        "def mine(xs):\n"
        "    def inner(x): return distill(x)\n"
        "    return [soft_targets(inner(x)) for x in xs] + [distill(x) for x in xs]\n",
        space,
    )
    assert {exercise.name for exercise, _ in needs.used(space["mine"])} == {"soft_targets", "distill"}
    assert len(needs.used(space["mine"])) == 2 and needs.used(len) == []
