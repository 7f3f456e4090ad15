"""Laws, exercises, and the one engine that runs laws on a function: a student's, the reference, a mutant, or a proxy of
a function that lives in a sandbox."""

import contextlib
import io
import linecache
import re
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from course_utils.checks.draw import Draw
from course_utils.checks.expect import LawViolation, close, describe, kind, same_kind
from course_utils.checks.report import LawResult, Report
from course_utils.plain_data import clone, foreign, laid_out_otherwise, salted, same, shares, tensors

PUBLIC_SEED = 2015  # the year of Hinton's and Han's papers
UNCHANGED = "leaves its arguments unchanged"
FRESH = "returns tensors of its own"
AGAIN_SECONDS = 0.1  # what the calls that are made a second time may take, but for the last
AGAIN_QUESTIONS = 24  # how many calls of an exercise, spread over its laws, are made a second time
AGAIN_CALLS = 16  # of a trial that may be made a second time; a law that counts over many seeds makes hundreds
STUB = re.compile(r"Exercise (\d+\.\d+[a-z]? \w+)")  # what a stub raises, and nothing else does

LawTest = Callable[[Callable[..., Any], Draw], None]


class StudentError(Exception):
    """The function under test raised an exception; made here, or by a sandbox that reports one from afar."""

    def __init__(self, kind: str, text: str, line: str = "") -> None:
        super().__init__(f"{kind}: {text}")
        self.kind, self.text, self.line = kind, text, line

    @property
    def missing(self) -> str:
        """The exercise whose stub raised this, '1.1 soft_targets'; empty for every other exception."""
        stub = STUB.fullmatch(self.text) if self.kind == "NotImplementedError" else None
        return stub[1] if stub else ""


class Stopped(KeyboardInterrupt):
    """An interrupt that is told in a text, without a traceback through code that is not the student's. It ends
    'Run all' as every interrupt does."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows of this exception."""
        return [str(self)]


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
    """One function that a student writes. `difficulty` is from 1 to 5.

    `fresh`: its docstring promises something new, so no tensor that it returns may be one of its arguments.
    `draws`: a seed decides on its result, which may be another if the arguments lie otherwise in memory.
    """

    id: str
    name: str
    points: int
    minutes: int
    difficulty: int
    fresh: bool = False
    draws: bool = False
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

    def exercise(self, id: str, name: str, **kwargs: Any) -> Exercise:
        """Add an exercise: points, minutes, difficulty and what else `Exercise` has."""
        self.exercises.append(Exercise(id, name, **kwargs))
        return self.exercises[-1]


class FunctionUnderTest:
    """Calls a function with copies of the arguments, and sees what became of them."""

    def __init__(self, function: Callable[..., Any], exercise: Exercise, questions: int, dtype: torch.dtype) -> None:
        self.function, self.exercise, self.questions, self.dtype = function, exercise, questions, dtype
        self.law = ""  # the name of the law that is tried
        self.calls: list[tuple[Sequence[Any], dict[str, Any]]] = []  # of the present trial
        self.output: Any = None
        self.broken: dict[str, LawResult] = {}  # what the contract of all exercises forbids, where it was seen first
        self.answered: list[tuple[Sequence[Any], dict[str, Any], Any, float]] = []  # with the seconds it took

    def input(self, calls: int = 1) -> str:
        """The latest calls, as text; made when a law fails, for it takes longer than many a call."""
        return ", then ".join(
            f"{self.exercise.name}({', '.join([*map(_shown, a), *(f'{key}={_shown(v)}' for key, v in k.items())])})"
            for a, k in self.calls[-calls:]
        )

    def fails(
        self, name: str, message: str, expected: str = "", got: str = "", hint: str = "", calls: int = 1
    ) -> LawResult:
        """The verdict that the latest call breaks a law."""
        args, kwargs = self.calls[-1] if self.calls else ((), {})
        arguments, keywords = (_kept(args), _kept(kwargs)) if self.calls else ((), {})
        return LawResult(name, False, message, self.input(calls), expected, got, hint, tuple(arguments), keywords)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        copies, named_copies = clone(args), clone(kwargs)
        self.calls.append((args, kwargs))
        start = time.perf_counter()
        result = self.answer(copies, named_copies)
        seconds = time.perf_counter() - start
        pairs = [*zip(args, copies, strict=True), *((kwargs[key], named_copies[key]) for key in kwargs)]
        self.look_at_arguments(pairs)
        self.output = plain(result)
        if self.exercise.fresh and FRESH not in self.broken:
            self.look_at_memory([after for _, after in pairs])
        # A law may change its own arguments after the call; the copies are as they were, or no point is left to lose
        if len(self.calls) <= AGAIN_CALLS:
            self.answered.append((copies, named_copies, self.output, seconds))
        return self.output

    def look_at_arguments(self, pairs: Sequence[tuple[Any, Any]]) -> None:
        """Compare what the arguments were with what they are."""
        for before, after in pairs if UNCHANGED not in self.broken else ():
            if not same(before, after):
                message = "an argument has another value after the call"
                hint = (
                    "Operations that end in _, +=, *=, a[i] = … and a.pop() work in place: work on a new one or a copy."
                )
                texts = describe(before), describe(after)
            elif [x.requires_grad for x in tensors(before)] != [x.requires_grad for x in tensors(after)]:
                message = "an argument's requires_grad is another after the call"
                hint = "x.detach() is a new tensor, on which .requires_grad_() is yours to call; x.detach_() changes x."
                texts = "", ""
            else:
                continue
            self.broken[UNCHANGED] = self.fails(UNCHANGED, message, *texts, hint)
            return

    def look_at_memory(self, arguments: Sequence[Any]) -> None:
        """See whether a tensor of the result is an argument's, in this process or in the function's own."""
        if getattr(self.function, "shares", False) or shares(self.output, arguments):
            message = "a tensor of the result is one of the arguments, or a view of it"
            hint = "Whoever changes the result in place, as training does, changes the argument too: return a .clone()."
            self.broken[FRESH] = self.fails(FRESH, message, hint=hint)

    def answer(self, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """What the function returns for these very arguments; its exceptions as StudentError."""
        try:
            if self.dtype is torch.float32:
                return self.function(*args, **kwargs)
            with default_dtype(self.dtype):
                return self.function(*args, **kwargs)
        except (StudentError, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise student_error(error, self.function) from error


def _shown(argument: Any) -> str:
    """An argument as text, and whether it lies in memory as its text suggests."""
    odd = any(not tensor.is_contiguous() for tensor in tensors(argument))
    odd |= isinstance(argument, np.ndarray) and not argument.flags.c_contiguous
    return describe(argument) + (" (not contiguous: transposed, or a part of a larger one)" if odd else "")


def _kept(value: Any) -> Any:
    """Arguments for a report: in no graph, so that they can be copied, pickled and asked again."""
    match value:
        case Tensor():
            return value.detach().requires_grad_(value.requires_grad)
        case dict():
            return {key: _kept(entry) for key, entry in value.items()}
        case list() | tuple():
            return type(value)(_kept(entry) for entry in value)
    return value


def plain(value: Any) -> Any:
    """The value, if it is plain data (NumPy's scalars become Python's); a violation otherwise."""
    if value is None or type(value) in (bool, int, float, str, bytes):
        return value
    if type(value) is Tensor and not foreign(value):
        return value
    if type(value) is np.ndarray and value.dtype.kind in "biufU":
        return value
    if isinstance(value, np.bool_ | np.integer | np.floating | np.str_):
        return value.item()
    if isinstance(value, Tensor) and type(value) is not Tensor:
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
    questions: int = AGAIN_QUESTIONS,
    watched: Callable[[FunctionUnderTest], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext,
) -> Report:
    """Try every law of the exercise (and the extra ones) on the function.

    `questions` of its calls, at most, are made once more at the end: a pure function gives the same answer, also if the
    arguments lie otherwise in memory. `watched`: a context that is told what is being tried. Raises Stopped if it is
    interrupted.
    """
    if not callable(function):
        return Report(exercise.id, exercise.name, max_points=exercise.points, note=f"{kind(function)}, not a function")
    under_test = FunctionUnderTest(function, exercise, questions, torch.get_default_dtype())
    printed = io.StringIO()
    results: list[LawResult] = []
    laws = [*exercise.laws, *extra]

    def report(points: float = 0) -> Report:
        once = _said_once(results)
        return Report(exercise.id, exercise.name, once, points, exercise.points, printed=printed.getvalue()[:2000])

    try:
        with (
            watched(under_test),
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
                if result.missing and not any(r.passed for r in results):
                    own = result.missing == f"{exercise.id} {exercise.name}"
                    note = "not implemented yet" if own else result.message
                    return Report(exercise.id, exercise.name, max_points=exercise.points, note=note)
                results.append(result)
            broken = under_test.broken
            for name in (UNCHANGED, FRESH) if exercise.fresh else (UNCHANGED,):
                if name in broken or under_test.answered:  # of a function that never returned nothing can be said
                    results.append(broken.get(name, LawResult(name, True)))
            if _points(exercise, laws, results):
                layout = _try(LAYOUT, under_test, seed)
                # One look at both: who gives the same values in the first does not forget, nor draw at will
                if exercise.draws or not layout.passed:
                    again = _try(AGAIN, under_test, seed)
                    results += [result for result in [layout if again.passed else again] if not result.passed]
    except KeyboardInterrupt as interrupt:
        rest = [LawResult(each.name, False, "not tried") for each in laws[len(results) + 1 :]]
        line = student_error(interrupt, function).line
        where = f", in the line `{line}`" if line else ""
        results += [under_test.fails(under_test.law, f"stopped while it was tried{where}"), *rest]
        raise Stopped(report()) from None  # whose text is the report's
    return report(_points(exercise, laws, results))


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
def other_hash(function: Callable[..., Any]) -> Iterator[None]:
    """For a notebook's function, `hash` of a text is here what it would be in another process: another number."""
    names = getattr(function, "__globals__", {"hash": hash})
    if "hash" in names:
        yield
        return
    names["hash"] = salted(1)
    try:
        yield
    finally:
        del names["hash"]


@contextlib.contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Laws draw float32 where they name no dtype, whatever a notebook has set; its own functions keep what it set."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _try(each: Law, function: FunctionUnderTest, seed: int) -> LawResult:
    key = f"{function.exercise.id}/{each.name}"
    function.law = each.name
    for trial in range(each.trials):
        function.calls = []
        try:
            each.test(function, Draw(seed, key, trial, each.trials))
        except LawViolation as violation:
            expected, got = (
                "" if v is None else v if isinstance(v, str) else describe(v)
                for v in (violation.expected, violation.got)
            )
            return function.fails(each.name, violation.message, expected, got, each.hint, violation.calls)
        except StudentError as error:
            if error.missing:
                message = f"needs Exercise {error.missing}, which is not implemented yet"
                return replace(function.fails(each.name, message), missing=error.missing)
            where = f" in the line `{error.line}`" if error.line else ""
            message = f"your function raised {error.kind}{where}: {error.text}"
            return function.fails(each.name, message, hint=each.hint)
        except Exception as error:
            # The law stumbled over a result of the wrong kind; the reference never makes it stumble
            got = function.output
            message = "returned None: is a `return` missing?" if got is None else _unusable(error)
            return function.fails(each.name, message, got=describe(got), hint=each.hint)
    return LawResult(each.name, True)


def _unusable(error: Exception) -> str:
    """What is wrong with a result over which a law stumbled."""
    if isinstance(error, KeyError):
        return f"the result has no entry {error}"
    return f"the result has another form than was asked for: {error}"


def _said_once(results: Sequence[LawResult]) -> list[LawResult]:
    """The results, with a fault that many laws met, and that no value can show, told where it was met first."""
    told: set[str] = set()
    once, last = [], ""
    for result in results:
        message = result.message
        if message in told:
            # With another fault in between, "above" would be that one
            result = LawResult(result.name, False, "the same as above" if message == last else message)
        elif (result.input and not result.got) or message.startswith("returned None"):
            told.add(message)
        last = message or last
        once.append(result)
    return once


def _ask_again(function: FunctionUnderTest, draw: Draw, lay_out: Callable[[Any], Any] = clone) -> None:
    """Put questions of all laws a second time, the last one first."""
    asked, seconds = len(function.answered), 0.0
    count = min(asked, function.questions)
    for number in range(count):
        args, kwargs, answer, took = function.answered[-1 - number * asked // count]
        if number and seconds + took > AGAIN_SECONDS:
            continue  # among the next there may be quicker ones
        seconds += took
        args, kwargs = lay_out(args), lay_out(kwargs)
        function.calls = [(args, kwargs)]
        with other_hash(function.function):
            again = plain(function.answer(args, kwargs))
        if not same(again, answer):
            compare = same_kind if lay_out is not clone and function.exercise.draws else close
            compare(again, answer, "the answer to the same question, asked again,")


# Shown only if they are broken: who writes pure functions, as the contract says, never meets them
AGAIN = Law(
    "gives the same answer to the same question",
    _ask_again,
    "Chance comes in as an argument only (noise, a seed), and nothing is kept from one call for the next.",
    trials=1,
)
LAYOUT = Law(
    "does not care how its arguments lie in memory",
    partial(_ask_again, lay_out=laid_out_otherwise),
    "A transposed tensor, or every second entry of one, is a tensor like any other: .reshape() takes it, .view() does "
    "not, and what goes through the memory in its own order (.tobytes(), order='K') reads other numbers.",
    trials=1,
)


def _points(exercise: Exercise, laws: Sequence[Law], results: Sequence[LawResult]) -> float:
    """All points if every law holds. Without the bands' shares if only bands fail; otherwise none."""
    failed = [each for each, result in zip(laws, results, strict=False) if not result.passed]
    if not all(result.passed for result in results[len(laws) :]) or any(each.share == 0 for each in failed):
        return 0
    return round(exercise.points * (1 - sum(each.share for each in failed)), 2)
