"""`course grade`: a class of notebooks in, a table of points and a feedback page per student out."""

import contextlib
import csv
import ctypes
import hashlib
import json
import multiprocessing
import os
import secrets
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from course_utils.grading.collect import Refused, Submission, collect, parse_notebook, read_bytes
from course_utils.grading.sandbox import Limits, Sandbox, SandboxUnavailable
from course_utils.units import PACKAGE, ROOT, find_topic, unit_name

PR_SET_PDEATHSIG = 1
ATTEMPTS = 2  # at a submission whose grading process died; a neighbour may have been the cause


def grade_class(
    lab: str,
    submissions: Path,
    out: Path,
    *,
    seed: int | None = None,
    workers: int | None = None,
    trust: bool = False,
    limits: Limits | None = None,
) -> bool:
    """Grade every submission in a folder; True when each has its result, whatever that is.

    submissions: STUDENT/LAB/LAB.ipynb or STUDENT.ipynb. Writes out/grades.csv, out/results/STUDENT.json, from which a
    run that was stopped goes on, out/feedback/STUDENT.html, and the secret seed of the inputs. ValueError if there is
    nothing to grade, SandboxUnavailable if nothing could be graded safely.
    """
    topic = find_topic(lab)
    if not submissions.is_dir():
        raise ValueError(
            f"There is no folder {str(submissions)!r}: it should hold STUDENT/LAB/LAB.ipynb or STUDENT.ipynb."
        )
    found = [each for each in collect(submissions, unit_name(topic)) if _elsewhere(each, submissions, out)]
    if not found:
        raise ValueError(f"{str(submissions)!r} is empty: it should hold STUDENT/LAB/LAB.ipynb or STUDENT.ipynb.")
    for folder in (out / "results", out / "feedback"):
        folder.mkdir(parents=True, exist_ok=True)
    work = Work(topic, out, _secret_seed(out, seed), limits or Limits(), trust)
    console = Console(stderr=True)
    started = time.monotonic()
    statuses = Counter(_run(work, found, min(workers or os.cpu_count() or 1, len(found)), console))
    rows = _write_table(work, found)
    seconds = time.monotonic() - started
    console.print(f"{_counts(statuses)}; {len(rows)} students in {seconds:.1f} s: {out}/grades.csv", soft_wrap=True)
    return len(rows) == len(found)


def _elsewhere(submission: Submission, submissions: Path, out: Path) -> bool:
    """Not the folder that the results go to, should that stand among the submissions."""
    return (submissions / submission.student).resolve() != out.resolve()


def _secret_seed(out: Path, seed: int | None) -> int:
    """The seed of the hidden inputs: given, or that of the run which this one goes on with, or a new one."""
    path = out / "secret_seed"
    if seed is None and path.exists():
        return int(path.read_text())
    seed = secrets.randbits(63) if seed is None else seed
    _write(path, str(seed).encode(), mode=0o600)
    return seed


def _write(path: Path, data: bytes, mode: int = 0o644) -> None:
    """All or nothing: what is killed while it writes leaves the old file as it was."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


# --- One submission ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Work:
    """All that a process needs to know in order to grade any submission of this run."""

    topic: str
    out: Path
    seed: int
    limits: Limits
    trust: bool

    @property
    def lab(self) -> str:
        return unit_name(self.topic)

    def checks_digest(self) -> str:
        """Changes with whatever decides about points, so that results of other checks are not taken for this run's."""
        digest = hashlib.sha256(repr((self.topic, self.seed, self.limits, self.trust)).encode())
        files = [*PACKAGE.rglob("*.py"), ROOT / "tests" / "autotests" / f"{self.topic}.py"]
        for file in sorted(files):
            if file.exists():
                digest.update(f"{file.relative_to(ROOT)}\0".encode() + file.read_bytes())
        return digest.hexdigest()

    def result_path(self, student: str) -> Path:
        return self.out / "results" / f"{student}.json"


def _key(checks: str, submission: Submission) -> tuple[str, bytes | Refused]:
    """What a result depends on, as a hash, and the submission's content or why there is none."""
    content: bytes | Refused
    if submission.path is None:
        content = Refused(submission.status, submission.message)
    else:
        try:
            content = read_bytes(submission.path)
        except Refused as refused:
            content = refused
    text = content if isinstance(content, bytes) else f"{content.status}: {content.message}".encode()
    return hashlib.sha256(checks.encode() + text).hexdigest(), content


class Grader:
    """Grades submissions one after the other, with a sandbox of its own."""

    def __init__(self, work: Work, sandbox: Sandbox, checks: str) -> None:
        from course_utils.grading.submission import instructor_laws
        from course_utils.units import load_unit

        self.work, self.sandbox, self.checks = work, sandbox, checks
        self.exercises = load_unit(work.topic).exercises
        self.extra = instructor_laws(work.topic)

    def grade(self, submission: Submission) -> str:
        """Grade a submission, write its result and its feedback page; returns its status."""
        from course_utils.grading.submission import Result, grade_notebook, unimplemented

        key, content = _key(self.checks, submission)
        result = Result(submission.student, key, "", exercises=unimplemented(self.exercises))
        try:
            if isinstance(content, Refused):
                raise content
            notebook = parse_notebook(content)
            for attempt in range(ATTEMPTS):
                try:
                    graded = grade_notebook(self.sandbox, notebook, self.exercises, self.extra, self.work.seed)
                    result.status, result.message, result.exercises, result.notes = graded
                    break
                except SandboxUnavailable:
                    # What served so far was killed, by the system for want of memory perhaps: once more, in a new one
                    self.sandbox.close()
                    self.sandbox = Sandbox(self.work.topic, self.work.limits, self.work.trust)
                    if attempt == ATTEMPTS - 1:
                        raise Refused("crashed", "the sandbox did not survive it") from None
        except Refused as refused:
            result.status, result.message = refused.status, refused.message
        store(self.work, result)
        return result.status


def store(work: Work, result: Any) -> None:
    """Write the feedback page, then the result: what has a result is done."""
    from course_utils.grading.feedback import feedback_page

    page = feedback_page(result, work.lab).encode("utf-8", "backslashreplace")
    _write(work.out / "feedback" / f"{result.student}.html", page)
    text = json.dumps(result.to_json(), indent=1)
    _write(work.result_path(result.student), text.encode("utf-8", "backslashreplace"), mode=0o600)


# --- The class --------------------------------------------------------------------------------------------------------


def _run(work: Work, found: Sequence[Submission], workers: int, console: Console) -> Iterator[str]:
    """Grade what has no valid result yet; yields every submission's status."""
    checks = work.checks_digest()
    pending = []
    for submission in found:
        if (status := _done(work, submission, checks)) is not None:
            yield status
        else:
            pending.append(submission)
    if not pending:
        return
    with contextlib.ExitStack() as stack:
        # The sandboxes import torch while this process does
        sandboxes = [stack.enter_context(Sandbox(work.topic, work.limits, work.trust)) for _ in range(workers)]
        from course_utils.grading.submission import instructor_laws, reference_holds

        if wrong := reference_holds(work.topic, instructor_laws(work.topic), work.seed):
            raise ValueError(
                f"A law fails the reference itself, so nothing was graded. Mend it, or choose a seed:\n{wrong}"
            )
        for sandbox in sandboxes:
            with sandbox.submission():
                pass
        progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[counts]}"),
            console=console,
            auto_refresh=False,  # a refreshing thread and forks do not go together
        )
        stack.enter_context(progress)
        task = progress.add_task(work.lab, total=len(found), completed=len(found) - len(pending), counts="")
        counts: Counter[str] = Counter()
        for status in _distribute(work, pending, sandboxes, checks):
            counts[status] += 1
            progress.update(task, advance=1, counts=_counts(counts))
            progress.refresh()
            yield status


def _done(work: Work, submission: Submission, checks: str) -> str | None:
    """The status of a submission that an earlier run graded, if nothing has changed since."""
    path = work.result_path(submission.student)
    page = work.out / "feedback" / f"{submission.student}.html"
    if not path.exists() or not page.exists():
        return None
    try:
        content = json.loads(path.read_bytes())
        return content["status"] if content["key"] == _key(checks, submission)[0] else None
    except (ValueError, KeyError, TypeError):
        return None


@dataclass
class _Process:
    """A process that grades, and what it is at."""

    process: Any
    connection: Connection
    submission: Submission | None = None
    deadline: float = 0


def _distribute(work: Work, pending: Sequence[Submission], sandboxes: list[Sandbox], checks: str) -> Iterator[str]:
    """Hand submissions to one process per sandbox; one that dies or hangs is replaced, and its work tried again."""
    context = multiprocessing.get_context("fork")
    # Laws of hostile results may take their time, but not for ever
    patience = 3 * work.limits.submission + 60

    def start(sandbox: Sandbox) -> _Process:
        here, there = context.Pipe()
        process = context.Process(target=_serve, args=(work, sandbox, checks, there, here), daemon=True)
        process.start()
        there.close()
        return _Process(process, here)

    queue = [(submission, 1) for submission in reversed(pending)]
    attempts: dict[str, int] = {}
    crew = [start(sandbox) for sandbox in sandboxes]
    try:
        while queue or any(each.submission for each in crew):
            for each in crew:
                if each.submission is None and queue:
                    each.submission, attempts[each.submission.student] = queue.pop()
                    each.deadline = time.monotonic() + patience
                    each.connection.send(each.submission)
            busy = [each for each in crew if each.submission is not None]
            ready = wait([each.connection for each in busy], timeout=1)
            for each in busy:
                submission = each.submission
                assert submission is not None
                if each.connection in ready:
                    with contextlib.suppress(EOFError, ConnectionError):
                        yield each.connection.recv()
                        each.submission = None
                        continue
                elif time.monotonic() < each.deadline:
                    continue
                each.process.kill()
                each.process.join()
                crew[crew.index(each)] = start(Sandbox(work.topic, work.limits, work.trust))
                if attempts[submission.student] < ATTEMPTS:
                    queue.append((submission, attempts[submission.student] + 1))
                else:
                    yield _give_up(work, submission, checks)
    finally:
        for each in crew:
            each.process.kill()
            each.process.join()


def _give_up(work: Work, submission: Submission, checks: str) -> str:
    from course_utils.grading.submission import Result, unimplemented
    from course_utils.units import load_unit

    message = "the grader itself died or hung on its results; look at the code"
    exercises = unimplemented(load_unit(work.topic).exercises)
    store(work, Result(submission.student, _key(checks, submission)[0], "not graded", message, exercises))
    return "not graded"


def _serve(work: Work, sandbox: Sandbox, checks: str, connection: Connection, other_end: Connection) -> None:
    """The life of a grading process: submissions in, statuses out."""
    import torch

    other_end.close()
    if sys.platform == "linux":  # a grader that is killed leaves nothing behind
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    torch.set_num_threads(1)
    grader = Grader(work, sandbox, checks)
    try:
        while True:
            connection.send(grader.grade(connection.recv()))
    except (EOFError, KeyboardInterrupt):
        pass
    finally:
        grader.sandbox.close()


# --- The table --------------------------------------------------------------------------------------------------------


def _counts(statuses: Counter[str]) -> str:
    return ", ".join(f"{count} {status}" for status, count in sorted(statuses.items())) or "nothing yet"


def spreadsheet_text(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return "'" + text if text.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else text


def _write_table(work: Work, found: Sequence[Submission]) -> list[list[str]]:
    """Write grades.csv from the result files; returns its rows."""
    from course_utils.grading.submission import Result
    from course_utils.units import load_unit

    head = ["student", "status", *(f"{e.id} {e.name}" for e in load_unit(work.topic).exercises), "total"]
    rows = []
    for submission in found:
        result = Result.from_json(json.loads(work.result_path(submission.student).read_bytes()))
        status = f"{result.status}: {result.message}" if result.message else result.status
        points = [f"{exercise.points:g}" for exercise in result.exercises]
        rows.append([spreadsheet_text(submission.student), spreadsheet_text(status), *points, f"{result.total:g}"])
    with tempfile.TemporaryFile("w+", newline="", encoding="utf-8", errors="backslashreplace") as file:
        csv.writer(file).writerows([head, *rows])
        file.seek(0)
        _write(work.out / "grades.csv", file.read().encode())
    return rows
