"""Grading on many machines: a Dask scheduler hands out parts of the class, each worker grades its part as one machine
does, in a process of its own, and results come back as texts. Needs the extra `instructor` (Dask's `distributed`)."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from course_utils.cluster import Misconfigured, connect, environment
from course_utils.grading.collect import Submission
from course_utils.grading.folders import fresh_folder
from course_utils.grading.processes import die_with_parent, grade_here
from course_utils.grading.work import Work, identify

PART = 12  # submissions of a task at most; each task imports torch twice
Content = bytes | tuple[str, str]  # a notebook's bytes, or status and message of one that could not be read


def grade_on_cluster(work: Work, pending: Sequence[Submission], address: str) -> Iterator[str]:
    """Grade on the workers of the Dask scheduler at `address`; yields each submission's status as it is stored.

    Workers need this course, its tests and bubblewrap, but no common file system. A part whose worker dies goes to
    another one; if that fails too, its submissions are sent one by one, so that only the culprit is given up.
    Errors are those of `connect`.
    """
    checks = work.checks_digest()
    contents = {each.student: _content(checks, each) for each in pending}
    by_student = {each.student: each for each in pending}
    with connect(address) as client:
        from distributed import as_completed

        threads = sum(client.nthreads().values())
        size = max(1, min(PART, -(-len(pending) // threads)))
        parts = [pending[start : start + size] for start in range(0, len(pending), size)]

        def submit(part: Sequence[Submission]) -> Any:
            handed_in = {each.student: contents[each.student] for each in part}
            future = client.submit(grade_part, replace(work, out=Path()), checks, handed_in, pure=False)
            waiting[future.key] = part
            return future

        waiting: dict[str, Sequence[Submission]] = {}
        running = as_completed(map(submit, parts), loop=client.loop)
        for future in running:
            part = waiting.pop(future.key)
            if future.status == "finished":
                for student, result in future.result().items():
                    yield _store(work, by_student[student], checks, result)
            elif isinstance(problem := future.exception(), Misconfigured):
                raise OSError(str(problem))
            elif len(part) > 1:
                for each in part:
                    running.add(submit([each]))
            else:
                from course_utils.grading.grader import give_up

                yield give_up(work, part[0], checks)


def _content(checks: str, submission: Submission) -> Content:
    content = identify(checks, submission)[1]
    return content if isinstance(content, bytes) else (content.status, content.message)


def _store(work: Work, submission: Submission, checks: str, text: str) -> str:
    """Write the result that came back; returns its status."""
    from course_utils.grading.grader import store
    from course_utils.grading.submission import Result

    result = Result.from_json(json.loads(text))
    store(work, replace(result, student=submission.student, key=identify(checks, submission)[0]))
    return result.status


# --- On a worker ------------------------------------------------------------------------------------------------------


def grade_part(work: Work, checks: str, contents: dict[str, Content]) -> dict[str, str]:
    """Results as JSON by student. Runs in a process of its own, since a Dask worker's threads and forks do not go
    together; that process ends with the worker."""
    if work.checks_digest() != checks:
        raise Misconfigured("A Dask worker has another version of the course: install the same on every machine.")
    folder = fresh_folder()
    try:
        order = {"topic": work.topic, "seed": work.seed, "trust": work.trust, "limits": vars(work.limits)}
        students = list(contents)
        for number, student in enumerate(students):
            content = contents[student]
            if isinstance(content, bytes):
                (folder / f"{number}.ipynb").write_bytes(content)
        order["refused"] = {n: contents[s] for n, s in enumerate(students) if not isinstance(contents[s], bytes)}
        order["count"] = len(students)
        (folder / "order.json").write_text(json.dumps(order))
        command = [sys.executable, "-m", "course_utils.grading.cluster", str(folder)]
        run = subprocess.run(command, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if run.returncode == MISCONFIGURED:
            raise Misconfigured(f"On a Dask worker: {run.stderr.strip()}")
        if run.returncode:
            raise RuntimeError(f"a part of the class could not be graded: {run.stderr[-2000:]}")
        return {s: (folder / "results" / f"{number}.json").read_text() for number, s in enumerate(students)}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


MISCONFIGURED = 3


def main(folder: Path) -> int:
    """Grade what `grade_part` laid down in a folder."""
    from course_utils.grading.child import Limits

    die_with_parent()
    order = json.loads((folder / "order.json").read_text())
    (folder / "results").mkdir()
    (folder / "feedback").mkdir()
    work = Work(order["topic"], folder, order["seed"], Limits(**order["limits"]), order["trust"])
    refused = {int(number): content for number, content in order["refused"].items()}
    part = [
        Submission(str(number), None, *refused[number])
        if number in refused
        else Submission(str(number), folder / f"{number}.ipynb")
        for number in range(order["count"])
    ]
    try:
        for _ in grade_here(work, part, 1):
            pass
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return MISCONFIGURED
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
