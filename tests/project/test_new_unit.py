"""A unit is a room, a folder of tests and two text sources: added to a copy of the course, they are all it takes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from course_utils.notebooks import plans
from course_utils.notebooks.course_map import PAGES
from course_utils.units import ROOT

TOY = Path(__file__).parent / "toy"  # the files of a unit 15, each in the folder that it is for
COURSE = (
    "course_utils",
    "labs",
    "lectures",
    "solutions",
    "tests",
    "conftest.py",
    "pyproject.toml",
    "README.md",
    "INSTRUCTORS.md",
)
KIT = ("constraints.txt", "environment.yml", "LICENSE", "Makefile")  # which `course release` hands on
BUILT = {
    "solutions/15_lattice/15_lattice.ipynb",
    "labs/15_lattice/15_lattice.ipynb",
    "course_utils/notebooks/expected/15_lattice.ipynb",
    "lectures/15_lattice.ipynb",
}
ANSWER = "torch.round(values / step)"

pytestmark = pytest.mark.skipif(not (ROOT / "solutions").exists(), reason="a student kit is no place for new units")

COMMANDS = """
import json
from pathlib import Path

from course_utils import reproduce, lattice
from course_utils.checks import check
from course_utils.cli import main
from course_utils.notebooks.kit import write_package


def course(*words):
    try:
        return main(list(words))
    except SystemExit as end:
        return end.code or 0


def to_grid(values, step):
    raise NotImplementedError("Exercise 15.1 to_grid")


print(json.dumps({
    "stale": course("build", "15", "--check"),
    "build": course("build", "15"),
    "current": course("build", "15", "--check"),
    "release": course("release", "--through", "15", "--out", "kit"),
    "sandbox": str(write_package(Path("sandbox"), "lattice", sandbox=True)),
    "experiments": reproduce.experiments(),
    "reference": check(lattice.to_grid).points,
    "stub": str(check(to_grid)),
}))
"""


def python(folder: Path, *arguments: str) -> str:
    """What Python says in the copy of the course that is in this folder."""
    environment = os.environ | {"PYTHONPATH": str(folder)}
    run = subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """The copy with the toy unit in it, built and released: its folder, its files before, what the commands said."""
    folder = tmp_path_factory.mktemp("grown")
    for name in (*COURSE, *KIT):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".*", "toy"))
        else:
            shutil.copyfile(ROOT / name, folder / name)
    before = contents(folder)
    shutil.copytree(TOY, folder, dirs_exist_ok=True)
    return folder, before, json.loads(python(folder, "-c", COMMANDS))


def test_it_is_built_and_nothing_else_is_touched(grown):
    folder, before, said = grown
    assert [said[word] for word in ("stale", "build", "current", "release")] == [1, 0, 0, 0]
    after = {
        name: content for name, content in contents(folder).items() if name.split("/")[0] not in ("kit", "sandbox")
    }
    assert set(after) - set(before) == BUILT | set(contents(TOY))
    assert {name for name in before if after[name] != before[name]} == {
        page.as_posix() for page in (*PAGES, plans.PAGE)
    }
    assert "| 15 | Lattice | [lecture](lectures/15_lattice.ipynb)" in after["README.md"].decode()
    assert "[lab](15_lattice/15_lattice.ipynb)" in after["labs/START.md"].decode()


def test_its_check_is_red_on_the_stub_and_green_on_the_reference(grown):
    _, _, said = grown
    assert said["reference"] == 1 and said["stub"] == "○ 15.1 to_grid: not implemented yet"


def test_its_checks_are_proved_and_no_others(grown):
    folder, *_ = grown
    said = python(folder, "-m", "pytest", "-p", "no:cacheprovider", "-q", "--prove", "15", "tests/checks")
    assert "mutants written by hand: the public laws kill 4 of 4" in said
    assert "mutants made by machine: the public laws kill" in said
    # Each mutant; each right solution by the public laws and by the instructor's; the mutants made by machine
    assert "11 passed" in said


@pytest.mark.parametrize("place", ["kit", "sandbox"])
def test_no_answer_is_given_away_though_it_stands_in_another_file(grown, place):
    folder, *_ = grown
    files = contents(folder / place)
    assert ANSWER in (folder / "course_utils/lattice/grid.py").read_text(encoding="utf-8")
    assert b"Exercise 15.1 to_grid" in files["course_utils/lattice/grid.py"]
    # A lecture's listing shows what it teaches
    holders = [name for name, content in files.items() if ANSWER.encode() in content]
    assert [name for name in holders if not name.startswith("lectures/")] == []


def test_its_experiment_is_listed(grown):
    _, _, said = grown
    assert said["experiments"]["lattice"] == "course_utils.lattice.reproduce"
