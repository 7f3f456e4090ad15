"""What all tests share, notebooks under nbval included: kernels that pytest starts inherit this environment."""

import os

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
