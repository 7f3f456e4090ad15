"""What all tests share, notebooks under nbval included: kernels that pytest starts inherit this environment."""

import gc
import os
from pathlib import Path

import pytest

from tests.kernels import fork_kernels

os.environ["TQDM_DISABLE"] = "1"  # progress bars are no part of a notebook's outputs
# On a machine that is busy, threads wait for each other at every layer: small networks then train 10 times slower
os.environ.setdefault("OMP_NUM_THREADS", "1")

try:
    from hypothesis import settings
except ImportError:  # a student's environment has no test extra
    pass
else:
    # The same examples in every run, so that a verdict does not depend on luck; no deadline on a busy machine
    settings.register_profile("course", derandomize=True, deadline=None)
    settings.load_profile("course")

# What takes long comes first and what is in small pieces last, so that no core waits for another at the end
ORDER = (
    "tests/notebooks",
    "lectures",
    "solutions",
    "tests/grading",
    "tests/units",
    "tests/shared",
    "tests/project",
    "tests/checks",
)


def pytest_addoption(parser):
    parser.addoption(
        "--prove",
        action="store_true",
        help="run only what can go deeper, and deeper; arguments may be units: a number, a topic, a name",
    )


def pytest_configure(config):
    """With --prove, arguments that are no files or folders are units."""
    gc.disable()  # until all tests are collected
    fork_kernels()
    if config.getoption("prove", False):
        from course_utils.units import find_topic

        places = [word for word in config.args if Path(word.split("::")[0]).exists()]
        config.units = {find_topic(word) for word in config.args if word not in places}
        config.args = places or ["tests"]


def pytest_collection_finish():
    """What was collected lives as long as the run: to look for garbage among it took a sixth of the tests' time."""
    gc.collect()
    gc.freeze()
    gc.enable()


def is_wanted(item):
    """`make test` runs all but proofs; `make prove` proofs and what asks for its `depth`, of all units or of some."""
    proof = item.get_closest_marker("proof") is not None
    if not item.config.getoption("prove", False):
        return not proof
    deeper = proof or "depth" in getattr(item, "fixturenames", ())
    return deeper and (not item.config.units or topic_of(item) in item.config.units)


def topic_of(item):
    """The unit that a test is about: its parameter `topic`, or the unit's folder that it stands in."""
    if "tests/units/" in item.path.as_posix():
        return item.path.parent.name
    return item.callspec.params.get("topic") if hasattr(item, "callspec") else None


def pytest_collection_modifyitems(config, items):
    """Leave out what this run is not for, and sort by folders; within a folder the order stays."""
    wanted = [item for item in items if is_wanted(item)]
    config.hook.pytest_deselected(items=[item for item in items if not is_wanted(item)])
    root = Path(__file__).parent

    def rank(item):
        place = item.path.relative_to(root).as_posix() if item.path.is_relative_to(root) else ""
        return next((number for number, folder in enumerate(ORDER) if place.startswith(folder)), len(ORDER))

    items[:] = sorted(wanted, key=rank)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """On several cores a file's tests stay on one, as the cells of a notebook must.

    The proofs of the checks, thousands of tests that share nothing, are dealt out one by one. (pytest-xdist's own means
    for this, `--dist loadgroup`, has no effect with pytest 9.2: it writes to Item._nodeid, which nobody reads there.)
    """
    from xdist.scheduler import LoadScopeScheduling

    class Scheduler(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return nodeid if nodeid.startswith("tests/checks/") else nodeid.split("::")[0]

    return Scheduler(config, log)


def pytest_terminal_summary(terminalreporter):
    """Print the score of the checks, and what hostile submissions could do to grading.

    Here, as pytest-xdist's main process does not load the conftest.py of folders below.
    """
    reports = [r for outcome in ("passed", "failed") for r in terminalreporter.getreports(outcome)]
    for kind, rest in (("written by hand", ""), ("made by machine", "; the rest are equivalent, see EQUIVALENT")):
        scores = [score for r in reports for name, score in getattr(r, "user_properties", ()) if name == kind]
        if scores:
            killed, tried = (sum(column) for column in zip(*scores, strict=True))
            terminalreporter.write_line(
                f"mutants {kind}: the public laws kill {killed} of {tried}{rest if killed < tried else ''}"
            )
    for report in reports:
        for name, rows in getattr(report, "user_properties", ()):
            if name == "grading corpus":
                terminalreporter.write_sep("-", name)
                for label, value in rows:
                    terminalreporter.write_line(f"{label:<32}{value:>8g}")
