"""Grades one submission: its functions in a sandboxed process, the laws out here."""

import contextlib
import dataclasses
import importlib
import importlib.util
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from course_utils.checks.engine import PUBLIC_SEED, Exercise, Law, run
from course_utils.checks.report import Report
from course_utils.grading.child import Child, Died, Processes
from course_utils.grading.collect import Notebook, defines_most
from course_utils.grading.protocol import pack
from course_utils.grading.remote import RemoteFunction
from course_utils.units import ROOT, available, load_unit

FORESEEN_BYTES = 2**26  # of arguments that are kept
SHOWN = 1_000  # characters of a text in a law's verdict
LAW = ("name", "passed", "message", "input", "expected", "got", "hint")  # what is kept of a checks.report.LawResult
JUDGED = ("judged", "not implemented")  # what the laws could say something about


@dataclass
class ExerciseResult:
    """Points for an exercise. `outcome` is 'judged', 'not implemented', or why the laws could not be tried."""

    id: str
    name: str
    max_points: float
    points: float = 0
    outcome: str = "judged"
    note: str = ""
    laws: list[dict[str, Any]] = field(default_factory=list)  # LAW, and whether it is an instructor's
    code: list[list[Any]] = field(default_factory=list)  # [cell, line, source] of each statement


@dataclass
class Result:
    """What became of a submission: the content of its result file. `key` tells whether it still holds."""

    student: str
    key: str
    status: str
    message: str = ""
    exercises: list[ExerciseResult] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def total(self) -> float:
        return round(sum(exercise.points for exercise in self.exercises), 2)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Result":
        exercises = [ExerciseResult(**exercise) for exercise in content.pop("exercises")]
        return cls(**content, exercises=exercises)


def shown(law: dict[str, Any]) -> list[str]:
    """What a student may read of a law that failed: some of 'expected', 'got' and 'hint'."""
    labels = [label for label in ("expected", "got", "hint") if law[label]]
    # What an instructor's law expects may be the answer itself
    return [label for label in labels if not (law["instructor"] and label == "expected")]


def instructor_laws(topic: str) -> dict[str, list[Law]]:
    """The laws of tests/units/<topic>/autotests.py by exercise id; none in an installation without the tests."""
    path = ROOT / "tests" / "units" / topic / "autotests.py"
    if not path.exists():
        return {}
    spec = importlib.util.spec_from_file_location(f"_autotests_{topic}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.LAWS


def unimplemented(exercises: Sequence[Exercise]) -> list[ExerciseResult]:
    """Results without points, for a submission that could not be read."""
    return [ExerciseResult(e.id, e.name, e.points, outcome="not read") for e in exercises]


def grade_notebook(
    processes: Processes,
    notebook: Notebook,
    exercises: Sequence[Exercise],
    extra: Mapping[str, list[Law]],
    seed: int,
    foreseen: Mapping[str, Sequence[bytes]],
    done: Callable[[ExerciseResult], None] = lambda result: None,
) -> tuple[str, str, list[ExerciseResult], list[str]]:
    """(status, message, results, notes). One process serves all exercises; one that dies is replaced for the next.

    foreseen: by exercise id, the arguments that the laws will call with (`reference_calls`). done: called with each
    result as soon as it is known.
    """
    results = [ExerciseResult(e.id, e.name, e.points) for e in exercises]
    end = time.monotonic() + processes.limits.submission
    waiting = list(zip(exercises, results, strict=True))
    names = [exercise.name for exercise in exercises]
    notes = list(notebook.notes)
    read = False
    while waiting:
        with processes.submission() as child:
            child.deadline = min(end, time.monotonic() + processes.limits.exercise)
            try:
                found = child.request(op="load", cells=notebook.cells, secondary=notebook.secondary, names=names)
                _check_load(found)
            except (Died, KeyError, TypeError, ValueError) as error:
                for _, result in waiting:
                    result.outcome, result.note = "unreadable code", f"its cells could not be parsed: {error}"
                break
            if not read:
                notes += [*found["notes"], *_other_python(notebook.python, found)]
                read = True
            while waiting and child.died is None:
                exercise, result = waiting.pop(0)
                child.deadline = min(end, time.monotonic() + processes.limits.exercise)
                calls = foreseen.get(exercise.id, ())
                _grade_exercise(child, exercise, result, found, extra.get(exercise.id, []), seed, calls)
                done(result)
    status, message = _status(results, notebook.cells)
    return status, message, results, notes


def _other_python(version: str, found: dict[str, Any]) -> list[str]:
    """A note, if a syntax error may come from a notebook's newer Python."""
    here = ".".join(map(str, sys.version_info[:2]))
    there = re.match(r"3\.\d+", version)
    if not found["broken"] or there is None or int(there[0][2:]) <= sys.version_info.minor:
        return []
    note = f"the notebook was run with Python {there[0]} and is judged by {here}, which does not know newer syntax"
    found["broken"] = {name: f"{text}; {note}" for name, text in found["broken"].items()}
    return [note]


def _check_load(found: dict[str, Any]) -> None:
    """No student's code has run when this reply is made; still it is only believed to be what it has to be."""
    if "error" in found:
        raise ValueError(str(found["error"])[:200])
    for key, kind in (("code", dict), ("missing", list), ("broken", dict), ("notes", list)):
        if type(found[key]) is not kind:
            raise TypeError(key)
    found["notes"] = [str(note)[:300] for note in found["notes"][:50]]


def _grade_exercise(
    child: Child,
    exercise: Exercise,
    result: ExerciseResult,
    found: dict[str, Any],
    extra: list[Law],
    seed: int,
    foreseen: Sequence[bytes] = (),
) -> None:
    name = exercise.name
    if name in found["missing"]:
        broken = found["broken"].get(name)
        result.note = str(broken)[:300] if broken else f"no cell defines a function {name}"
        result.outcome = "syntax error" if "syntax error" in result.note else "not run" if broken else "not found"
        return
    result.code = found["code"][name]
    function = RemoteFunction(child, name, foreseen)
    try:
        defined = child.request(op="define", name=name)
    except Died as died:
        result.outcome, result.note = died.fate, str(died)
        return
    problems = _problems(defined)
    if defined.get("callable") is not True:
        result.outcome = "not defined"
        result.note = problems or f"{name} is not a function, but of type {str(defined.get('kind'))[:80]}"
        return
    # A law's own time counts too: a reply can be made to keep it busy
    report = Report(exercise.id, exercise.name)
    with _processor_limit(child.limits.exercise) as expired:
        report = run(exercise, function, seed, extra)
    died = child.died
    function.finish()
    result.points = report.points
    result.note = report.note or problems
    if died is not None:
        result.outcome, result.note = died.fate, str(died)
        # The laws after its death say nothing new
        judged = [number for number, law in enumerate(report.laws) if str(died) in law.message]
        del report.laws[judged[0] if judged else len(report.laws) :]
    elif expired:
        result.points, result.outcome = 0, "timed out"
        result.note = f"comparing its results took more than {child.limits.exercise:g} s"
    elif function.exhausted:
        result.outcome, result.note = "out of memory", f"it asked for more than {child.limits.memory / 2**30:g} GB"
    elif report.note:
        result.outcome = "not implemented"
    hidden = {law.name for law in extra}
    for law in report.laws:
        entry = {key: _shortened(getattr(law, key)) for key in LAW}
        if seed != PUBLIC_SEED:  # the inputs are secret: whoever hands in again shall not have learnt them
            entry["input"] = ""
        entry["instructor"] = law.name in hidden
        result.laws.append(entry)


def _shortened(value: Any) -> Any:
    """A text that fits on a page: keys and names of a hostile result may have millions of characters."""
    return value[:SHOWN] + "…" if isinstance(value, str) and len(value) > SHOWN else value


@contextlib.contextmanager
def _processor_limit(seconds: float) -> Iterator[list[float]]:
    """TimeoutError, which fails the law that is tried, after so much processor time, and each second from then on.

    Yields a list that holds something as soon as that has happened. Signals reach the main thread only.
    """
    expired: list[float] = []
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGPROF"):  # Windows
        yield expired
        return

    def expire(*_: object) -> None:
        expired.append(time.process_time())
        raise TimeoutError("it takes too long to compare")

    before = signal.signal(signal.SIGPROF, expire)
    signal.setitimer(signal.ITIMER_PROF, seconds, 1)
    try:
        yield expired
    except TimeoutError:
        expired.append(time.process_time())
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _problems(defined: dict[str, Any]) -> str:
    """What went wrong in the statements that the exercise needs, in a sentence."""
    with contextlib.suppress(KeyError, TypeError, ValueError, IndexError):
        for cell, line, kind, text, source in defined["problems"][:1]:
            where = f"code cell {int(cell) + 1}, line {int(line)}"
            return f"{where} raised {kind[:80]}: {text[:200]}" + (f" (`{source[:100]}`)" if source else "")
    return ""


def _status(results: list[ExerciseResult], cells: list[str]) -> tuple[str, str]:
    """The submission's status and what it means, from those of its exercises."""
    bad = [result for result in results if result.outcome not in JUDGED]
    if not bad:
        return "graded", ""
    reasons = "; ".join(f"{result.id} {result.name}: {result.outcome}" for result in bad)
    if len(bad) < len(results):
        return "partly graded", reasons
    outcomes = {result.outcome for result in bad}
    if outcomes == {"not found"}:
        if topic := topic_of(cells):
            return "wrong lab", f"it has the functions of unit {topic!r}"
        return "no exercise found", "no cell defines one of the lab's functions"
    if len(outcomes) == 1:
        return outcomes.pop(), bad[0].note
    return "not graded", reasons


def topic_of(cells: list[str]) -> str | None:
    """The unit of which a notebook's code defines most functions."""
    return next((topic for topic in available() if defines_most(cells, topic)), None)


def _parts(value: Any) -> Iterator[Any]:
    """The tensors, arrays, texts and floats in plain data."""
    match value:
        case dict():
            yield from (part for entry in value.values() for part in _parts(entry))
        case list() | tuple():
            yield from (part for entry in value for part in _parts(entry))
        case torch.Tensor():
            yield value.detach()
        case np.ndarray() | float() | str() | bytes():
            yield value


def reference_calls(topic: str, extra: dict[str, list[Law]], seed: int) -> dict[str, list[bytes]]:
    """Try all laws on the reference with the secret seed; returns the packed arguments of its calls by exercise id.

    Calls that hold an earlier answer are left out (a law may feed a function what it returned): sent ahead of their
    turn, they would tell a function what it is asked for. ValueError if a law fails: it would fail honest work.
    (It also imports what the laws import, before worker processes are forked.)
    """
    module = importlib.import_module(f"course_utils.{topic}")
    calls: dict[str, list[bytes]] = {}
    kept = 0

    def recorded(function: Callable[..., Any], mine: list[bytes]) -> Callable[..., Any]:
        answers: set[bytes] = set()

        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal kept
            arguments = pack([args, kwargs])
            if kept < FORESEEN_BYTES and not any(answer in arguments for answer in answers):
                mine.append(arguments)
                kept += len(arguments)
            result = function(*args, **kwargs)
            answers.update(answer for answer in map(pack, _parts(result)) if answer not in arguments)
            return result

        return call

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for exercise in load_unit(topic).exercises:
            mine = calls[exercise.id] = []
            function = recorded(getattr(module, exercise.name), mine)
            report = run(exercise, function, seed, extra.get(exercise.id, []))
            if not report.passed:
                raise ValueError(
                    f"A law fails the reference itself, so nothing was graded. Mend it, or choose a seed:\n{report}"
                )
    finally:
        torch.set_num_threads(threads)
    return calls
