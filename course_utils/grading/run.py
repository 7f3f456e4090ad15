"""`course grade`: a class of notebooks in, a table of points and a feedback page per student out."""

import contextlib
import json
import os
import secrets
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from unicodedata import normalize

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from course_utils.grading.child import Limits
from course_utils.grading.cluster import grade_on_cluster
from course_utils.grading.collect import Submission, collect
from course_utils.grading.processes import grade_here
from course_utils.grading.work import UNFINISHED, Work, identify, write
from course_utils.units import find_topic, unit_name


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
            how = grade_on_cluster(work, pending, scheduler) if scheduler else grade_here(work, pending, workers)
            statuses += Counter(_with_progress(work, how, len(found), len(finished), console))
        # Needs torch, which the sandboxes shall import first
        from course_utils.grading.tables import write_pages, write_table

        rows = write_table(work, found)
        write_pages(work, found)
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
    one, other = (normalize("NFC", os.path.realpath(path)) for path in (submissions / submission.student, out))
    return one != other


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
    write(path, "\n".join(map(str, seeds)).encode(), mode=0o600)
    return replace(work, seed=seeds[-1]), finished, missing


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


def _counts(statuses: Counter[str]) -> str:
    return ", ".join(f"{count} {status}" for status, count in sorted(statuses.items())) or "nothing yet"
