"""The student-facing course_utils: the same package with the answers taken out."""

import shutil
from pathlib import Path

from course_utils.notebooks.course_map import with_map
from course_utils.notebooks.source import stubbed_module
from course_utils.units import PACKAGE, ROOT, TOPICS, available, load_unit, unit_name

# What every unit may import; everything else of the package is a unit, a check, or machinery
SHARED = ("__init__.py", "units.py", "models.py", "data.py", "training.py", "plots.py", "widgets.py")
SHARED += ("arithmetic.py", "bitstring.py", "pruning.py")
SANDBOX = ("grading/__init__.py", "grading/protocol.py", "grading/worker.py")
SANDBOX += ("notebooks/__init__.py", "notebooks/extract.py")
STUDENT = ("__main__.py", "cli.py", "doctor.py", "lab.py", "moe_model.py", "expert_parallel.py")
STUDENT += ("lab_settings/overrides.json", "lab_settings/page_config.json", "notebooks/__init__.py")
STUDENT += tuple(f"notebooks/{name}.py" for name in ("build", "check", "course_map", "extract", "needs", "source"))

TOP = ("pyproject.toml", "constraints.txt", "environment.yml", "LICENSE", "Makefile", "conftest.py")

README = """# Deep Learning on a Budget: student kit

`make lab` makes the environment and opens the labs in JupyterLab. Without make: `pip install -c constraints.txt -e .`,
then `course lab`. `course check LAB` runs a lab's checks on your saved notebook; `course doctor` looks at your machine.
"""

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


def write_kit(through: int, out: Path) -> Path:
    """Write a student kit: labs and lectures up to unit number `through`, and an installable course_utils for them.

    In it the exercises of that unit and of later ones are stubs, those of earlier units are whole; there are no
    solutions, no tests and no grader. ValueError if there is no such unit, or if the folder `out` is not empty.
    """
    topics = [topic for topic in available() if TOPICS.index(topic) <= through]
    if not topics or TOPICS.index(topics[-1]) != through:
        numbers = ", ".join(f"{TOPICS.index(topic):02d}" for topic in available())
        raise ValueError(f"There is no unit {through:02d} to release: the units are {numbers}.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} is not an empty folder: name a new one.")
    package = write_package(out, topics[-1])
    shutil.copytree(PACKAGE / "reproduce", package / "reproduce", ignore=shutil.ignore_patterns("__pycache__"))
    (package / "notebooks" / "expected").mkdir()
    (out / "labs").mkdir()
    (out / "lectures").mkdir()
    for topic in topics:
        name = unit_name(topic)
        shutil.copytree(ROOT / "labs" / name, out / "labs" / name, ignore=shutil.ignore_patterns(".*"))
        shutil.copyfile(ROOT / "lectures" / f"{name}.ipynb", out / "lectures" / f"{name}.ipynb")
        expected = Path("notebooks") / "expected" / f"{name}.ipynb"
        shutil.copyfile(PACKAGE / expected, package / expected)
    for folder in ("results", "images"):
        shutil.copytree(ROOT / "lectures" / folder, out / "lectures" / folder)
    for name in TOP:
        shutil.copyfile(ROOT / name, out / name)
    (out / "README.md").write_text(README, encoding="utf-8")
    start = out / "labs" / "START.md"
    shutil.copyfile(ROOT / "labs" / "START.md", start)
    start.write_text(with_map(start, out), encoding="utf-8")
    return out
