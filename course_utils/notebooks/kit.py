"""The student-facing course_utils: the same package with the answers taken out."""

import shutil
from pathlib import Path

from course_utils.notebooks.course_map import with_map
from course_utils.notebooks.source import stub_room
from course_utils.units import PACKAGE, ROOT, available, load_unit, unit_name, unit_number

# Of a package's folders that are no rooms: what is taken along
SESSION = ("__init__.py", "child.py", "extract.py", "locks.py", "protocol.py", "session.py", "statements.py")
STUDENT = {
    "checks": ("*.py",),
    "lab_settings": ("*.json",),
    "grading": (*SESSION, "collect.py", "folders.py", "local.py", "remote.py", "submission.py"),
    "notebooks": ("*.py",),
    "reproduce": ("*.py",),
}
SANDBOX = {"grading": (*SESSION, "worker.py")}
# Of a room, what is not for the sandbox: nobody may learn the laws there, and nothing of it trains for hours
OUTSIDE = ("laws.py", "reproduce*.py")

TOP = ("pyproject.toml", "constraints.txt", "environment.yml", "LICENSE", "Makefile", "conftest.py")

README = """# Deep Learning on a Budget: student kit

`make lab` makes the environment and opens the labs in JupyterLab. Without make: `pip install -c constraints.txt -e .`,
then `course lab`. `course check LAB` runs a lab's checks on your saved notebook; `course progress` says where you stand
in all labs; `course doctor` looks at your machine.
"""

SILENT_CHECKS = '''"""In the grader's sandbox nothing is checked: the values are compared outside."""


def check(*args, **kwargs):
    """Does nothing."""
'''


def write_package(target: Path, topic: str, *, sandbox: bool = False) -> Path:
    """Write course_utils to `target` as a student of unit `topic` has it; returns the package's folder.

    The exercises of this unit are stubs, the rooms of earlier units are whole, later ones are not there. With the
    public laws; for the sandbox, where nobody may learn anything, without laws, checks and results, and with the worker
    that runs there.
    """
    package = target / "course_utils"
    package.mkdir(parents=True)
    for path in PACKAGE.glob("*.py"):
        shutil.copyfile(path, package / path.name)
    for folder, patterns in (SANDBOX if sandbox else STUDENT).items():
        (package / folder).mkdir()
        for path in [path for pattern in patterns for path in (PACKAGE / folder).glob(pattern)]:
            shutil.copyfile(path, package / folder / path.name)
    ignored = shutil.ignore_patterns("__pycache__", *(OUTSIDE if sandbox else ()))
    for other in [other for other in available() if unit_number(other) <= unit_number(topic)]:
        shutil.copytree(PACKAGE / other, package / other, ignore=ignored)
    stub_room(package / topic, load_unit(topic).exercises)
    if sandbox:
        (package / "checks").mkdir()
        (package / "checks" / "__init__.py").write_text(SILENT_CHECKS, encoding="utf-8")
    return package


def write_kit(through: int, out: Path) -> Path:
    """Write a student kit: labs and lectures up to unit number `through`, and an installable course_utils for them.

    In it the exercises of that unit are stubs and those of earlier units whole; there are no later units, no solutions,
    no tests, and of grading only what `course check` shares with it. ValueError if there is no such unit, or if the
    folder `out` is not empty.
    """
    topics = [topic for topic in available() if unit_number(topic) <= through]
    if not topics or unit_number(topics[-1]) != through:
        numbers = ", ".join(f"{unit_number(topic):02d}" for topic in available())
        raise ValueError(f"There is no unit {through:02d} to release: the units are {numbers}.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} is not an empty folder: name a new one.")
    package = write_package(out, topics[-1])
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
