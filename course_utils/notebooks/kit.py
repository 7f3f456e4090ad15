"""The student-facing course_utils: the same package with the answers taken out."""

import shutil
from pathlib import Path

from course_utils.notebooks.source import stubbed_module
from course_utils.units import PACKAGE, TOPICS, available, load_unit

# What every unit may import; everything else of the package is a unit, a check, or machinery
SHARED = ("__init__.py", "units.py", "models.py", "data.py", "training.py", "plots.py", "widgets.py")
SANDBOX = ("grading/__init__.py", "grading/protocol.py", "grading/worker.py")
SANDBOX += ("notebooks/__init__.py", "notebooks/extract.py")
STUDENT = ("__main__.py", "cli.py", "doctor.py", "lab.py")
STUDENT += ("lab_settings/overrides.json", "lab_settings/page_config.json", "notebooks/__init__.py")
STUDENT += tuple(f"notebooks/{name}.py" for name in ("build", "check", "course_map", "extract", "needs", "source"))

SILENT_CHECKS = '''"""In the grader's sandbox nothing is checked: the values are compared outside."""


def check(*args, **kwargs):
    """Does nothing."""
'''


def write_package(target: Path, topic: str, *, sandbox: bool = False) -> Path:
    """Write course_utils to `target` as a student of unit `topic` has it; returns the package's folder.

    The exercises of this unit and of later ones are stubs, those of earlier units are whole. With the public laws; for
    the sandbox, where nobody may learn anything, without laws, checks and results, and with the worker that runs there.
    """
    package = target / "course_utils"
    package.mkdir(parents=True)
    for name in (*SHARED, *(SANDBOX if sandbox else STUDENT)):
        if (PACKAGE / name).exists():
            (package / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(PACKAGE / name, package / name)
    graded = TOPICS.index(topic)
    for other in available():
        source = (PACKAGE / f"{other}.py").read_text(encoding="utf-8")
        if TOPICS.index(other) >= graded:
            source = stubbed_module(source, load_unit(other).exercises)
        (package / f"{other}.py").write_text(source, encoding="utf-8")
    if sandbox:
        (package / "checks").mkdir()
        (package / "checks" / "__init__.py").write_text(SILENT_CHECKS, encoding="utf-8")
    else:
        shutil.copytree(PACKAGE / "checks", package / "checks", ignore=shutil.ignore_patterns("__pycache__"))
    return package
