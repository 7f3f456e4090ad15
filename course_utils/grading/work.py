"""What the processes of a grading run agree on, and what a submission's result depends on. Imports no torch."""

import contextlib
import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from course_utils.grading.child import Limits
from course_utils.grading.collect import Refused, Submission, read_bytes
from course_utils.units import PACKAGE, ROOT, unit_name

UNFINISHED = ".writing-"  # how files begin that were being written
ATTEMPTS = 2  # at a submission whose grading process died; a neighbour may have been the cause


def write(path: Path, data: bytes, mode: int = 0o644) -> None:
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
