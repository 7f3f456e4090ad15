"""A sandbox that the tests of a module share, and one without bubblewrap that always runs."""

import os

import pytest

from course_utils.grading.child import Limits
from course_utils.grading.sandbox import Sandbox, SandboxUnavailable


def without_sandbox(error: SandboxUnavailable) -> None:
    """Skip a test; with COURSE_SANDBOX=required, as .ci/run has it, fail: a broken sandbox must be seen there."""
    if os.environ.get("COURSE_SANDBOX") == "required":
        pytest.fail(f"The sandbox must start here, and does not: {error}")
    pytest.skip(str(error))


LIMITS = Limits(call=3, patience=20, exercise=60, submission=120)


def start(trust):
    sandbox = Sandbox("distillation", LIMITS, trust)
    try:
        with sandbox.submission():
            return sandbox
    except BaseException:
        sandbox.close()
        raise


@pytest.fixture(scope="session")
def trusted():
    with start(trust=True) as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def guarded():
    try:
        sandbox = start(trust=False)
    except SandboxUnavailable as error:
        without_sandbox(error)
    with sandbox:
        yield sandbox


@pytest.fixture(params=["trusted", "guarded"])
def sandbox(request):
    return request.getfixturevalue(request.param)
