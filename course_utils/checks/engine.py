"""Laws, exercises, and the one engine that runs laws on a function: a student's, the reference, a mutant, or a proxy of
a function that lives in a sandbox."""

import contextlib
import io
import linecache
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from course_utils.checks.draw import Draw
from course_utils.checks.expect import LawViolation, close, describe, kind
from course_utils.checks.report import LawResult, Report

PUBLIC_SEED = 2015  # the year of Hinton's and Han's papers
UNCHANGED = "leaves its arguments unchanged"
AGAIN_SECONDS = 1.0  # what the calls that are made a second time may take

LawTest = Callable[[Callable[..., Any], Draw], None]


class StudentError(Exception):
    """The function under test raised an exception; made here, or by a sandbox that reports one from afar."""

    def __init__(self, kind: str, text: str, line: str = "") -> None:
        super().__init__(f"{kind}: {text}")
        self.kind, self.text, self.line = kind, text, line


@dataclass(frozen=True)
class Law:
    """A property that every right solution has.

    `test(function, draw)` returns or raises `LawViolation`; it is tried `trials` times on growing inputs.
    `share` is a band: this part of the exercise's points hangs on this law alone.
    """

    name: str
    test: LawTest
    hint: str = ""
    trials: int = 3
    share: float = 0.0


def law(name: str, hint: str = "", trials: int = 3, share: float = 0.0) -> Callable[[LawTest], Law]:
    """Turn a test function into a law."""
    return lambda test: Law(name, test, hint, trials, share)


@dataclass
class Exercise:
    """One function that a student writes. `difficulty` is from 1 to 5."""

    id: str
    name: str
    points: int
    minutes: int
    difficulty: int
    laws: list[Law] = field(default_factory=list)

    def law(self, name: str, hint: str = "", trials: int = 3, share: float = 0.0) -> Callable[[LawTest], Law]:
        """Decorator: a public law of this exercise."""

        def add(test: LawTest) -> Law:
            self.laws.append(Law(name, test, hint, trials, share))
            return self.laws[-1]

        return add


@dataclass
class Unit:
    """A unit's exercises, in the order of its lab."""

    topic: str
    exercises: list[Exercise] = field(default_factory=list)

    def exercise(self, id: str, name: str, *, points: int, minutes: int, difficulty: int) -> Exercise:
        self.exercises.append(Exercise(id, name, points, minutes, difficulty))
        return self.exercises[-1]


class FunctionUnderTest:
    """Calls a function with copies of the arguments, and sees what became of them."""

    def __init__(self, function: Callable[..., Any], exercise: Exercise, ask_again: int) -> None:
        self.function, self.exercise, self.ask_again = function, exercise, ask_again
        self.dtype = torch.get_default_dtype()  # the notebook's own
        self.arguments: tuple[Sequence[Any], dict[str, Any]] | None = None
        self.output: Any = None
        self.changed: LawResult | None = None
        self.answered: list[tuple[Sequence[Any], dict[str, Any], Any, float]] = []  # with the seconds it took

    @property
    def input(self) -> str:
        """The latest call, as text; made when a law fails, for it takes longer than many a call."""
        if self.arguments is None:
            return ""
        args, kwargs = self.arguments
        return f"{self.exercise.name}({', '.join([*map(describe, args), *named(kwargs)])})"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        copies, named_copies = clone(args), clone(kwargs)
        self.arguments = args, kwargs
        start = time.perf_counter()
        result = self.answer(copies, named_copies)
        seconds = time.perf_counter() - start
        if self.changed is None:
            for before, after in [*zip(args, copies, strict=True), *((kwargs[k], named_copies[k]) for k in kwargs)]:
                if not same(before, after):
                    self.changed = LawResult(
                        UNCHANGED,
                        False,
                        "an argument has another value after the call",
                        self.input,
                        describe(before),
                        describe(after),
                        "Operations that end in _ and +=, *=, a[i] = … work in place: work on a new tensor or a copy.",
                    )
                    break
        self.output = plain(result)
        # A law may change its own arguments after the call; the copies are as they were, or no point is left to lose
        self.answered.append((copies, named_copies, self.output, seconds))
        return self.output

    def answer(self, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """What the function returns for these very arguments; its exceptions as StudentError."""
        try:
            with default_dtype(self.dtype):
                return self.function(*args, **kwargs)
        except (StudentError, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise student_error(error, self.function) from error


def named(kwargs: dict[str, Any]) -> list[str]:
    return [f"{key}={describe(value)}" for key, value in kwargs.items()]


def clone(value: Any) -> Any:
    """A deep copy of plain data. A tensor's copy stays in the graph of the original, so that gradients flow."""
    match value:
        case Tensor():
            return value.clone()
        case np.ndarray():
            return value.copy()
        case dict():
            return {key: clone(entry) for key, entry in value.items()}
        case list() | tuple():
            return type(value)(clone(entry) for entry in value)
    return value


def same(a: Any, b: Any) -> bool:
    """Equal plain data; NaN equals NaN."""
    if type(a) is not type(b):
        return False
    match a:
        case Tensor() | np.ndarray():
            if a.shape != b.shape or a.dtype != b.dtype:
                return False
            if isinstance(a, Tensor) and torch.equal(a, b):  # the rule, and quick; only NaN takes longer
                return True
            x, y = (np.asarray(v.detach()) if isinstance(v, Tensor) else v for v in (a, b))
            return bool(np.array_equal(x, y, equal_nan=x.dtype.kind in "fc"))
        case dict():
            return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
        case list() | tuple():
            return len(a) == len(b) and all(map(same, a, b))
        case float():
            return a == b or (a != a and b != b)
    return a == b


def plain(value: Any) -> Any:
    """The value, if it is plain data (NumPy's scalars become Python's); a violation otherwise."""
    if value is None or type(value) in (Tensor, bool, int, float, str, bytes):
        return value
    if type(value) is np.ndarray and value.dtype.kind in "biufU":
        return value
    if isinstance(value, np.bool_ | np.integer | np.floating | np.str_):
        return value.item()
    if isinstance(value, Tensor):
        raise LawViolation(
            f"returned {kind(value).replace('a tensor', 'a ' + type(value).__name__)}, not a plain tensor"
        )
    if isinstance(value, dict):
        return {plain(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value] if isinstance(value, list) else tuple(plain(entry) for entry in value)
    raise LawViolation(
        f"returned {kind(value)}, which is not plain data (tensors, arrays, numbers, texts, lists, dicts)"
    )


def student_error(error: BaseException, function: Callable[..., Any]) -> StudentError:
    """An exception of the function under test, with the line of the student's own file that led to it."""
    code = getattr(function, "__code__", None)
    line, trace = "", error.__traceback__
    while trace is not None:
        filename = trace.tb_frame.f_code.co_filename
        if code is not None and filename == code.co_filename:
            line = linecache.getline(filename, trace.tb_lineno).strip()
        trace = trace.tb_next
    return StudentError(type(error).__name__, str(error), line)


def run(
    exercise: Exercise,
    function: Callable[..., Any],
    seed: int = PUBLIC_SEED,
    extra: Sequence[Law] = (),
    ask_again: int = 4,
) -> Report:
    """Try every law of the exercise (and the extra ones) on the function.

    Of its calls every `ask_again`-th is made once more at the end: a pure function gives the same answer.
    """
    if not callable(function):
        return Report(exercise.id, exercise.name, max_points=exercise.points, note=f"{kind(function)}, not a function")
    under_test = FunctionUnderTest(function, exercise, ask_again)
    printed = io.StringIO()
    results: list[LawResult] = []
    laws = [*exercise.laws, *extra]
    with (
        one_thread(),
        default_dtype(torch.float32),
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
        warnings.catch_warnings(),
        torch.enable_grad(),
    ):
        warnings.simplefilter("ignore")
        for each in laws:
            result = _try(each, under_test, seed)
            if result.message.startswith("NotImplementedError") and not any(r.passed for r in results):
                missing = result.message.partition(": ")[2]
                own = missing == f"Exercise {exercise.id} {exercise.name}" or not missing.startswith("Exercise ")
                note = "not implemented yet" if own else f"needs {missing}, which is not implemented yet"
                return Report(exercise.id, exercise.name, max_points=exercise.points, note=note)
            results.append(result)
        results.append(under_test.changed or LawResult(UNCHANGED, True))
        if _points(exercise, laws, results) and not (again := _try(AGAIN, under_test, seed)).passed:
            results.append(again)
    return Report(
        exercise.id,
        exercise.name,
        results,
        _points(exercise, laws, results),
        exercise.points,
        printed=printed.getvalue()[:2000],
    )


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread: small tensors are faster so, and rounding does not depend on the number of cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextlib.contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Make new tensors of this dtype: laws mean float32, whatever the notebook has set for its own functions."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _try(each: Law, function: FunctionUnderTest, seed: int) -> LawResult:
    key = f"{function.exercise.id}/{each.name}"
    for trial in range(each.trials):
        function.arguments = None
        try:
            each.test(function, Draw(seed, key, trial, each.trials))
        except LawViolation as violation:
            expected, got = (
                "" if v is None else v if isinstance(v, str) else describe(v)
                for v in (violation.expected, violation.got)
            )
            return LawResult(each.name, False, violation.message, function.input, expected, got, each.hint)
        except StudentError as error:
            if error.kind == "NotImplementedError":
                return LawResult(each.name, False, f"NotImplementedError: {error.text}")
            where = f" in the line `{error.line}`" if error.line else ""
            message = f"your function raised {error.kind}{where}: {error.text}"
            return LawResult(each.name, False, message, function.input, hint=each.hint)
        except (
            Exception
        ) as error:  # the law stumbled over a result of the wrong kind; the reference never makes it stumble
            got = function.output
            message = "returned None: is a `return` missing?" if got is None else f"the result cannot be used: {error}"
            return LawResult(each.name, False, message, function.input, got=describe(got), hint=each.hint)
    return LawResult(each.name, True)


def _answers_again(function: Any, draw: Draw) -> None:
    """Put questions of all laws a second time, the last one among them."""
    seconds = 0.0
    for args, kwargs, answer, took in function.answered[::-1][:: function.ask_again]:
        seconds += took
        if seconds > AGAIN_SECONDS:
            return
        function.arguments = args, kwargs
        if not same(again := plain(function.answer(args, kwargs)), answer):
            close(again, answer, "the answer to the same question, asked again,")


# Shown only if it is broken: who writes pure functions, as the contract says, never meets it
AGAIN = Law(
    "gives the same answer to the same question",
    _answers_again,
    "Chance comes in as an argument only (noise, a seed), and nothing is kept from one call for the next.",
    trials=1,
)


def _points(exercise: Exercise, laws: Sequence[Law], results: Sequence[LawResult]) -> float:
    """All points if every law holds. Without the bands' shares if only bands fail; otherwise none."""
    failed = [each for each, result in zip(laws, results, strict=False) if not result.passed]
    if not all(result.passed for result in results[len(laws) :]) or any(each.share == 0 for each in failed):
        return 0
    return round(exercise.points * (1 - sum(each.share for each in failed)), 2)
