"""`course grade`: a class of notebooks in, a table of points and a feedback page per student out."""

import contextlib
import csv
import ctypes
import hashlib
import json
import multiprocessing
import os
import re
import secrets
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from course_utils.grading.collect import Refused, Submission, collect, parse_notebook, read_bytes
from course_utils.grading.sandbox import Limits, Sandbox, SandboxUnavailable
from course_utils.units import PACKAGE, ROOT, find_topic, unit_name

PR_SET_PDEATHSIG = 1
UNFINISHED = ".writing-"  # how files begin that were being written
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
    scheduler: str | None = None,
) -> bool:
    """Grade every submission in a folder; True when each has its result, whatever that is.

    submissions: STUDENT/LAB/LAB.ipynb or STUDENT.ipynb. Writes out/grades.csv, out/results/STUDENT.json, from which a
    run that was stopped goes on, out/feedback/STUDENT.html, out/class.html and out/integrity.html for the instructor,
    and the secret seed of the inputs. With `scheduler`, the address of a Dask scheduler, its workers grade. ValueError
    if there is nothing to grade, SandboxUnavailable if nothing could be graded safely.
    """
    topic = find_topic(lab)
    if not submissions.is_dir():
        raise ValueError(
            f"There is no folder {str(submissions)!r}: it should hold STUDENT/LAB/LAB.ipynb or STUDENT.ipynb."
        )
    if os.path.realpath(out) == os.path.realpath(submissions):
        raise ValueError(f"{str(out)!r} holds the submissions: name another folder for the results with --out.")
    found = [each for each in collect(submissions, unit_name(topic)) if _elsewhere(each, submissions, out)]
    if not found:
        raise ValueError(f"{str(submissions)!r} is empty: it should hold STUDENT/LAB/LAB.ipynb or STUDENT.ipynb.")
    for folder in (out / "results", out / "feedback"):
        folder.mkdir(parents=True, exist_ok=True)
    with _alone_in(out):
        for unfinished in out.rglob(f"{UNFINISHED}*"):
            unfinished.unlink(missing_ok=True)
        console = Console(stderr=True)
        started = time.monotonic()
        work, finished, pending = plan(Work(topic, out, 0, limits or Limits(), trust), found, seed)
        statuses = Counter(finished)
        if pending:
            how = _on_cluster(work, pending, scheduler) if scheduler else grade_here(work, pending, workers)
            statuses += Counter(_with_progress(work, how, len(found), len(finished), console))
        rows = _write_table(work, found)
        _write_pages(work, found)
    seconds = time.monotonic() - started
    console.print(f"{_counts(statuses)}; {len(rows)} students in {seconds:.1f} s: {out}/grades.csv", soft_wrap=True)
    return len(rows) == len(found)


@contextlib.contextmanager
def _alone_in(out: Path) -> Iterator[None]:
    """ValueError if another run is writing to this folder: each would sweep away what the other is about to write."""
    if not hasattr(os, "fork"):  # Windows, where nothing is graded
        yield
        return
    import fcntl

    descriptor = os.open(out, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network folders know no locks
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(f"Another run is writing to {str(out)!r}: wait for its end, or stop it.") from None
        yield
    finally:
        os.close(descriptor)


def _elsewhere(submission: Submission, submissions: Path, out: Path) -> bool:
    """Not the folder that the results go to, should that stand among the submissions."""
    return os.path.realpath(submissions / submission.student) != os.path.realpath(out)


def plan(work: "Work", found: Sequence[Submission], seed: int | None) -> tuple["Work", list[str], list[Submission]]:
    """The work with its seed, the statuses of what an earlier run finished, and what is still to be graded.

    Without a given seed, what comes in after feedback went out is tried on new inputs: feedback may show a student's
    own exceptions, and those may tell the old ones. out/secret_seed has one seed a line, the latest last.
    """
    path = work.out / "secret_seed"
    seeds = [seed] if seed is not None else [int(line) for line in path.read_text().split()] if path.exists() else []
    known = [replace(work, seed=each).checks_digest() for each in seeds]
    finished, missing = [], []
    for submission in found:
        status = next((s for checks in known if (s := _done(work, submission, checks)) is not None), None)
        if status is None:
            missing.append(submission)
        else:
            finished.append(status)
    if not seeds or (seed is None and missing and (work.out / "grades.csv").exists()):
        seeds.append(secrets.randbits(63))
    _write(path, "\n".join(map(str, seeds)).encode(), mode=0o600)
    return replace(work, seed=seeds[-1]), finished, missing


def _write(path: Path, data: bytes, mode: int = 0o644) -> None:
    """All or nothing: what is killed while it writes leaves the old file as it was."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=UNFINISHED)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
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
        files = [*PACKAGE.rglob("*.py"), ROOT / "tests" / "units" / self.topic / "autotests.py"]
        for file in sorted(files):
            if file.exists():
                digest.update(f"{file.relative_to(ROOT)}\0".encode() + file.read_bytes())
        return digest.hexdigest()

    def result_path(self, student: str) -> Path:
        return self.out / "results" / f"{student}.json"


def identify(checks: str, submission: Submission) -> tuple[str, bytes | Refused]:
    """What a result depends on, as a hash, and the submission's content or why there is none."""
    content: bytes | Refused
    if submission.path is None:
        content = Refused(submission.status, submission.message)
    else:
        try:
            content = read_bytes(submission.path)
        except Refused as refused:
            content = refused
    if isinstance(content, bytes):
        text = content
    else:  # a file's name, which the message may hold, need not be text
        text = f"{content.status}: {content.message}".encode("utf-8", "surrogatepass")
    return hashlib.sha256(checks.encode() + text).hexdigest(), content


class Grader:
    """Grades submissions one after the other, with a sandbox of its own."""

    def __init__(self, work: Work, sandbox: Sandbox, checks: str, foreseen: dict[str, list[bytes]]) -> None:
        from course_utils.grading.submission import instructor_laws
        from course_utils.units import load_unit

        self.work, self.sandbox, self.checks, self.foreseen = work, sandbox, checks, foreseen
        self.exercises = load_unit(work.topic).exercises
        self.extra = instructor_laws(work.topic)

    def grade(self, submission: Submission) -> str:
        """Grade a submission, write its result and its feedback page; returns its status."""
        from course_utils.grading.submission import Result, grade_notebook, unimplemented

        key, content = identify(self.checks, submission)
        result = Result(submission.student, key, "", exercises=unimplemented(self.exercises))
        try:
            if isinstance(content, Refused):
                raise content
            notebook = parse_notebook(content)
            for attempt in range(ATTEMPTS):
                try:
                    laws = self.exercises, self.extra, self.work.seed, self.foreseen
                    graded = grade_notebook(self.sandbox, notebook, *laws)
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


def _with_progress(work: Work, graded: Iterator[str], total: int, finished: int, console: Console) -> Iterator[str]:
    """Hand statuses on, and show how many there are of each and how long the rest will take."""
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[counts]}"),
        console=console,
        auto_refresh=False,  # a refreshing thread and forks do not go together
    )
    counts: Counter[str] = Counter()
    with contextlib.closing(graded):  # what an interruption leaves behind ends before the bar does
        try:
            for status in graded:
                if not counts:  # errors of the start stand above no bar
                    progress.start()
                    task = progress.add_task(work.lab, total=total, completed=finished, counts="")
                counts[status] += 1
                progress.update(task, advance=1, counts=_counts(counts))
                progress.refresh()
                yield status
        finally:
            progress.stop()


def grade_here(work: Work, pending: Sequence[Submission], workers: int | None) -> Iterator[str]:
    """Grade on this machine; yields each submission's status."""
    checks = work.checks_digest()
    with contextlib.ExitStack() as stack:
        # The sandboxes import torch while this process does
        number = min(workers or os.cpu_count() or 1, len(pending))
        sandboxes = [stack.enter_context(Sandbox(work.topic, work.limits, work.trust)) for _ in range(number)]
        from course_utils.grading.submission import instructor_laws, reference_calls

        foreseen = reference_calls(work.topic, instructor_laws(work.topic), work.seed)
        for sandbox in sandboxes:
            with sandbox.submission():
                pass
        yield from _distribute(work, pending, sandboxes, checks, foreseen)


def _on_cluster(work: Work, pending: Sequence[Submission], scheduler: str) -> Iterator[str]:
    from course_utils.grading.cluster import grade_on_cluster

    yield from grade_on_cluster(work, pending, scheduler)


def _done(work: Work, submission: Submission, checks: str) -> str | None:
    """The status of a submission that an earlier run graded, if nothing has changed since."""
    path = work.result_path(submission.student)
    page = work.out / "feedback" / f"{submission.student}.html"
    if not path.exists() or not page.exists():
        return None
    try:
        content = json.loads(path.read_bytes())
        return content["status"] if content["key"] == identify(checks, submission)[0] else None
    except (ValueError, KeyError, TypeError):
        return None


@dataclass
class _Process:
    """A process that grades, and what it is at."""

    process: Any
    connection: Connection
    submission: Submission | None = None
    deadline: float = 0


def _distribute(
    work: Work, pending: Sequence[Submission], sandboxes: list[Sandbox], checks: str, foreseen: dict[str, list[bytes]]
) -> Iterator[str]:
    """Hand submissions to one process per sandbox; one that dies or hangs is replaced, and its work tried again."""
    context = multiprocessing.get_context("fork")
    # Laws of hostile results may take their time, but not for ever
    patience = 3 * work.limits.submission + 60

    def start(sandbox: Sandbox) -> _Process:
        here, there = context.Pipe()
        process = context.Process(target=_serve, args=(work, sandbox, checks, foreseen, there, here), daemon=True)
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
                    yield give_up(work, submission, checks)
    finally:
        for each in crew:
            each.process.kill()
            each.process.join()


def give_up(work: Work, submission: Submission, checks: str) -> str:
    """Say of a submission that it could not be graded; returns that status."""
    from course_utils.grading.submission import Result, unimplemented
    from course_utils.units import load_unit

    message = "the grader itself died or hung on its results; look at the code"
    exercises = unimplemented(load_unit(work.topic).exercises)
    store(work, Result(submission.student, identify(checks, submission)[0], "not graded", message, exercises))
    return "not graded"


def _serve(
    work: Work,
    sandbox: Sandbox,
    checks: str,
    foreseen: dict[str, list[bytes]],
    connection: Connection,
    other_end: Connection,
) -> None:
    """The life of a grading process: submissions in, statuses out."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; who is in charge ends the others
    other_end.close()
    die_with_parent()
    torch.set_num_threads(1)
    _bound_memory(work.limits.memory)
    grader = Grader(work, sandbox, checks, foreseen)
    try:
        while True:
            connection.send(grader.grade(connection.recv()))
    except EOFError:
        pass
    finally:
        grader.sandbox.close()


def die_with_parent() -> None:
    """A grader that is killed leaves nothing behind."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _bound_memory(size: int) -> None:
    """Let laws that a hostile result makes hungry fail alone: so much address space on top of what is in use."""
    import resource  # not on Windows, where nothing is graded

    with contextlib.suppress(OSError, ValueError):  # not on macOS
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + size, resource.getrlimit(resource.RLIMIT_AS)[1]))


# --- The table --------------------------------------------------------------------------------------------------------


def _counts(statuses: Counter[str]) -> str:
    return ", ".join(f"{count} {status}" for status, count in sorted(statuses.items())) or "nothing yet"


CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def spreadsheet_text(text: str) -> str:
    """A text that no spreadsheet takes for a formula, and no terminal for a command."""
    text = CONTROL.sub("�", text)
    return "'" + text if text.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else text


def read_results(work: Work, found: Sequence[Submission]) -> list[Any]:
    """The `Result` of each submission."""
    from course_utils.grading.submission import Result

    return [Result.from_json(json.loads(work.result_path(each.student).read_bytes())) for each in found]


def _write_pages(work: Work, found: Sequence[Submission]) -> None:
    """Write the two pages for the instructor, on the class and on work to look at."""
    from course_utils.grading.class_page import class_page
    from course_utils.grading.integrity import examine, integrity_page

    results = read_results(work, found)
    report = examine(work.topic, results)
    for name, page in (
        ("class", class_page(results, report, work.lab)),
        ("integrity", integrity_page(report, work.lab)),
    ):
        _write(work.out / f"{name}.html", page.encode("utf-8", "backslashreplace"))


def _write_table(work: Work, found: Sequence[Submission]) -> list[list[str]]:
    """Write grades.csv from the result files; returns its rows."""
    from course_utils.units import load_unit

    head = ["student", "status", *(f"{e.id} {e.name}" for e in load_unit(work.topic).exercises), "total"]
    rows = []
    for result in read_results(work, found):
        status = f"{result.status}: {result.message}" if result.message else result.status
        points = [f"{exercise.points:g}" for exercise in result.exercises]
        rows.append([spreadsheet_text(result.student), spreadsheet_text(status), *points, f"{result.total:g}"])
    with tempfile.TemporaryFile("w+", newline="", encoding="utf-8", errors="backslashreplace") as file:
        csv.writer(file).writerows([head, *rows])
        file.seek(0)
        _write(work.out / "grades.csv", file.read().encode())
    return rows
