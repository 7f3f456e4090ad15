"""A sandbox that the tests of a module share, and one without bubblewrap that always runs."""

import pytest

from course_utils.grading.child import Limits
from course_utils.grading.sandbox import Sandbox, SandboxUnavailable

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
        pytest.skip(str(error))
    with sandbox:
        yield sandbox


@pytest.fixture(params=["trusted", "guarded"])
def sandbox(request):
    return request.getfixturevalue(request.param)
