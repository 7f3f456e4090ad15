"""One judge: what the notebook's checks, `course check` and `course grade` say of the same notebook is the same."""

import contextlib
import functools
import gc
import io
import json
import multiprocessing
import os
import sys
import tempfile
from dataclasses import dataclass

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from course_utils import checks
from course_utils.checks import needs
from course_utils.checks.engine import run
from course_utils.grading.collect import Refused
from course_utils.grading.local import LocalProcesses
from course_utils.grading.run import grade_class
from course_utils.grading.sandbox import SandboxUnavailable
from course_utils.grading.submission import Result, unimplemented
from course_utils.notebooks.check import judge, remarks, verdict
from course_utils.units import load_unit, unit_name
from tests.grading.corpus import CASES


@dataclass
class Verdicts:
    """What the three said of one notebook."""

    in_kernel: set[str]
    checked: Result
    graded: Result


class Kernels:
    """Runs notebooks as *Run All* does, each in a process of its own, a copy of one in which IPython has started."""

    def __init__(self, folder) -> None:
        self.connection, there = multiprocessing.Pipe()
        self.process = multiprocessing.get_context("fork").Process(target=_serve_kernels, args=(there, folder))
        self.process.start()

    def run_all(self, cells) -> set[str]:
        """The exercises that held when they were checked last, the cells being run in order, each once."""
        self.connection.send(cells)
        return set(self.connection.recv())

    def __enter__(self) -> "Kernels":
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.send(None)
        self.process.join()


def _serve_kernels(connection, folder) -> None:
    os.environ["IPYTHONDIR"] = str(folder)
    held = {}

    def recorded(exercise, *args, **options):
        report = run(exercise, *args, **options)
        if options:  # else it is looked at because of another that uses it
            held[exercise.name] = report.passed
        return report

    checks.run = recorded
    shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    needs.register()
    gc.freeze()
    while (cells := connection.recv()) is not None:
        if os.fork() == 0:
            os.chdir(own := tempfile.mkdtemp(dir=folder))
            sys.path.insert(0, own)
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                for cell in cells:
                    shell.run_cell(cell)
            connection.send([name for name, passed in held.items() if passed])
            os._exit(0)
        if os.wait()[1]:  # it died
            connection.send([])


def judged(processes, path, topic) -> Result:
    """What `course check` says, without its table."""
    try:
        return judge(processes, path, topic)
    except Refused as refused:
        return Result(path.stem, "", refused.status, refused.message, unimplemented(load_unit(topic).exercises))


def holding(result) -> set[str]:
    return {exercise.name for exercise in result.exercises if exercise.points == exercise.max_points}


def reasons(result) -> tuple:
    """All that is said but for the laws, whose inputs differ."""
    return result.status, result.message, result.notes, [(each.outcome, each.note) for each in result.exercises]


def told(result) -> str:
    """What a student reads."""
    return "\n".join([result.message, *map(verdict, result.exercises), *remarks(result)])


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    """What is said of a lab's cases, by their names: a function of the topic."""

    @functools.cache
    def of(topic) -> dict[str, Verdicts]:
        base = tmp_path_factory.mktemp(topic)
        cases = {name: case for name, case in CASES.items() if case.topic == topic}
        paths = {name: base / "class" / f"{number:03d}.ipynb" for number, name in enumerate(cases)}
        (base / "class").mkdir()
        for name, path in paths.items():
            path.write_bytes(cases[name].content)
        for trust in (False, True):  # without a sandbox, where there is none
            with contextlib.suppress(SandboxUnavailable):
                assert grade_class(unit_name(topic), base / "class", base / "out", workers=1, trust=trust)
                break
        found = {}
        with Kernels(base) as kernels, LocalProcesses(topic) as processes:
            for name, path in paths.items():
                graded = json.loads((base / "out" / "results" / f"{path.stem}.json").read_text(encoding="utf-8"))
                held = kernels.run_all(cases[name].cells)
                found[name] = Verdicts(held, judged(processes, path, topic), Result.from_json(graded))
        return found

    return of


@pytest.mark.parametrize("name", CASES)
def test_the_three_agree(verdicts, name):
    case = CASES[name]
    said = verdicts(case.topic)[name]
    assert said.in_kernel == case.in_kernel
    assert holding(said.checked) == holding(said.graded) == case.judged
    assert reasons(said.checked) == reasons(said.graded)
    assert case.told in told(said.checked) and case.told in told(said.graded)


def test_whoever_loses_something_is_told():
    assert len(CASES) > 150 and {case.topic for case in CASES.values()} >= {"distillation", "binary"}
    assert [name for name, case in CASES.items() if case.in_kernel - case.judged and not case.told] == []
