"""Grades one submission after the other, and stores their results and feedback pages."""

import json

from course_utils.grading.collect import Refused, Submission, parse_notebook
from course_utils.grading.feedback import feedback_page
from course_utils.grading.sandbox import Sandbox, SandboxUnavailable
from course_utils.grading.submission import Result, grade_notebook, instructor_laws, unimplemented
from course_utils.grading.work import ATTEMPTS, Work, identify, write
from course_utils.units import load_unit


class Grader:
    """Grades submissions one after the other, with a sandbox of its own."""

    def __init__(self, work: Work, sandbox: Sandbox, checks: str, foreseen: dict[str, list[bytes]]) -> None:
        self.work, self.sandbox, self.checks, self.foreseen = work, sandbox, checks, foreseen
        self.exercises = load_unit(work.topic).exercises
        self.extra = instructor_laws(work.topic)

    def grade(self, submission: Submission) -> str:
        """Grade a submission, write its result and its feedback page; returns its status."""
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


def store(work: Work, result: Result) -> None:
    """Write the feedback page, then the result: what has a result is done."""
    page = feedback_page(result, work.lab).encode("utf-8", "backslashreplace")
    write(work.out / "feedback" / f"{result.student}.html", page)
    text = json.dumps(result.to_json(), indent=1)
    write(work.result_path(result.student), text.encode("utf-8", "backslashreplace"), mode=0o600)


def give_up(work: Work, submission: Submission, checks: str) -> str:
    """Say of a submission that it could not be graded; returns that status."""
    message = "the grader itself died or hung on its results; look at the code"
    exercises = unimplemented(load_unit(work.topic).exercises)
    store(work, Result(submission.student, identify(checks, submission)[0], "not graded", message, exercises))
    return "not graded"
