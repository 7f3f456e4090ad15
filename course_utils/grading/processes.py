"""Grading on this machine: a process for each sandbox, which is replaced if it dies or hangs.

What needs torch is imported late: the sandboxes import it at the same time.
"""

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from course_utils.grading.collect import Submission
from course_utils.grading.sandbox import Sandbox
from course_utils.grading.work import ATTEMPTS, Work

PR_SET_PDEATHSIG = 1


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
                    from course_utils.grading.grader import give_up

                    yield give_up(work, submission, checks)
    finally:
        for each in crew:
            each.process.kill()
            each.process.join()


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

    from course_utils.grading.grader import Grader

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
