"""One setting opens the course in the cloud, and while it is empty nothing shows."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from course_utils.grading.run import grade_class
from course_utils.grading.sandbox import SandboxUnavailable
from course_utils.notebooks import cloud
from course_utils.notebooks.course_map import PAGES, refresh_maps
from course_utils.notebooks.plans import PAGE
from course_utils.units import ROOT, available, lab_path, solution_source, unit_name
from tests.grading.conftest import without_sandbox

NAME = "someone/a-course"
LAB = lab_path("budget").relative_to(ROOT)
BARE = ["torch", "numpy", "ipython", "ipywidgets"]
# What labs use of the list at github.com/googlecolab/backend-info, pip-freeze.txt; Kaggle's image is made from Colab's
COLAB = [*BARE, "matplotlib", "numba", "rich", "scikit-learn", "scipy", "tqdm"]
# In place of pip: writes down what it is asked for, and if the course's wheel is there installs all of it
RECORDER = """\
import json, sys, zipfile
from pathlib import Path

here = Path(__file__).parent
(here / "asked.json").write_text(json.dumps(sys.argv[1:]))
if (here / "course.whl").exists():
    zipfile.ZipFile(here / "course.whl").extractall(here)
    installed = json.loads((here / "installed.json").read_text())
    (here / "installed.json").write_text(json.dumps(installed + [name for name in sys.argv[2:] if name.isalpha()]))
"""


def project(folder, address):
    (folder / "pyproject.toml").write_text(f'[tool.course]\nrepository = "{address}"\n')
    return folder


def cells_of(text):
    return json.loads(text)["cells"]


def code_of(text, cell):
    return next("".join(each["source"]) for each in cells_of(text) if each["id"] == cell)


@pytest.fixture(scope="module")
def closed():
    """A lab of a course without a repository's address, whatever this one has."""
    return cloud.with_first_cells((ROOT / LAB).read_text(encoding="utf-8"), "", LAB)


@pytest.fixture(scope="module")
def opened(closed):
    return cloud.with_first_cells(closed, NAME, LAB)


@pytest.mark.parametrize("ending", ["", "/", ".git"])
def test_the_address_names_the_repository(tmp_path, ending):
    assert cloud.repository(project(tmp_path, f"https://github.com/{NAME}{ending}")) == NAME


@pytest.mark.parametrize("address", ["someone/a-course", "https://example.org/a/b", "https://github.com/one"])
def test_another_address_is_refused(tmp_path, address):
    with pytest.raises(ValueError, match="OWNER/NAME"):
        cloud.repository(project(tmp_path, address))


def test_without_an_address_nothing_shows(tmp_path, opened, closed):
    assert cloud.repository(project(tmp_path, "")) == ""
    assert cloud.with_cloud(f"a\n{cloud.BEGIN}\nold\n{cloud.END}\nb", "") == f"a\n{cloud.BEGIN}\n{cloud.END}\nb"
    assert cloud.with_first_cells(opened, "", LAB) == closed and "google.colab" not in closed


def test_with_an_address_the_readme_and_each_lab_say_where(opened):
    told = cloud.with_cloud(f"a\n{cloud.BEGIN}\n{cloud.END}\nb", NAME)
    assert all(f"{NAME}" in link and link in told for link in cloud.services(NAME).values())
    assert cloud.with_cloud(told, NAME) == told
    links = code_of(opened, cloud.LINKS)
    assert all(f"[{service}]({link})" in links for service, link in cloud.services(NAME, LAB.as_posix()).items())
    assert cloud.with_first_cells(opened, NAME, LAB) == opened


def test_all_other_cells_of_a_lab_stay_as_they_are(opened, closed):
    cells, before = cells_of(opened), cells_of(closed)
    assert max(map(len, code_of(opened, cloud.INSTALL).splitlines())) <= 92
    assert [cell["id"] for cell in cells[:3]] == [before[0]["id"], cloud.LINKS, cloud.INSTALL]
    assert cells[:1] + cells[3:] == before


def test_the_command_opens_and_closes_the_labs(tmp_path, closed):
    """`course build` writes what the setting says, `course build --check` tells what is not as it says."""
    for page in (*PAGES, PAGE, LAB):
        (tmp_path / page).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / page, tmp_path / page)
    mine = (tmp_path / LAB).with_name("mine.ipynb")
    mine.write_text("my notes")
    for address, shown in ((f"https://github.com/{NAME}", True), ("", False)):
        project(tmp_path, address)
        assert not refresh_maps(tmp_path, check_only=True)
        assert refresh_maps(tmp_path) and refresh_maps(tmp_path, check_only=True)
        assert (NAME in (tmp_path / LAB).read_text(encoding="utf-8")) == shown
        assert (NAME in (tmp_path / PAGES[0]).read_text(encoding="utf-8")) == shown
    assert (tmp_path / LAB).read_text(encoding="utf-8") == closed and mine.read_text() == "my notes"


def test_a_readme_without_a_place_is_an_error():
    with pytest.raises(ValueError, match="has no place for the cloud"):
        cloud.with_cloud("# Course\n", NAME)


# --- A lab's first cell -----------------------------------------------------------------------------------------------


def run_bare(folder, installed, cells, *options):
    """What cells print where only these packages are installed, and what they asked of pip."""
    (folder / "pip.py").write_text(RECORDER)
    (folder / "installed.json").write_text(json.dumps(installed))
    (folder / "cells.json").write_text(json.dumps(cells))
    environment = os.environ | {"PYTHONPATH": str(folder), "IPYTHONDIR": str(folder), "MPLBACKEND": "agg"}
    command = [sys.executable, Path(__file__).with_name("bare.py"), folder / "cells.json", *options]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    asked = folder / "asked.json"
    return done.stdout, json.loads(asked.read_text()) if asked.exists() else []


def test_in_colab_the_first_cell_asks_pip(opened, tmp_path):
    _, asked = run_bare(tmp_path, BARE, [code_of(opened, cloud.INSTALL)], "--colab")
    assert asked[0] == "install" and asked[-1] == f"git+https://github.com/{NAME}"


def test_elsewhere_the_first_cell_says_the_line(opened, tmp_path):
    said, asked = run_bare(tmp_path, BARE, [code_of(opened, cloud.INSTALL)])
    line = f"%pip install --quiet --no-deps {cloud.PACKAGES} git+https://github.com/{NAME}"
    assert said.splitlines()[-1] == line and asked == []


@pytest.mark.parametrize("options", [[], ["--colab"]])
def test_where_the_course_is_installed_the_first_cell_does_nothing(options, opened, tmp_path):
    (tmp_path / "course_utils").mkdir()
    assert run_bare(tmp_path, BARE, [code_of(opened, cloud.INSTALL)], *options) == ("", [])


@pytest.mark.slow
def test_after_the_first_cell_labs_work_in_colab(opened, tmp_path):
    """Every lab's imports, and a check; what the wheel, what pip is asked for and what Colab has do not hold, fails."""
    pytest.importorskip("setuptools", minversion="77", reason="to build a wheel: pip install -U setuptools")
    source, here = tmp_path / "source", tmp_path / "here"
    here.mkdir()
    for folder in ("course_utils", "lectures/results"):
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, source / name)
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(tmp_path)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(source)], check=True, capture_output=True)
    next(tmp_path.glob("*.whl")).rename(here / "course.whl")
    labs = [cells_of(lab_path(topic).read_text(encoding="utf-8")) for topic in available()]
    imports = [next("".join(cell["source"]) for cell in lab if cell["cell_type"] == "code") for lab in labs]
    cells = [code_of(opened, cloud.INSTALL), *imports]
    cells += ["import course_utils\nprint(course_utils.__file__)"]
    cells += ["from course_utils.regroup.tickets import stored_ticket\nprint(len(stored_ticket()))"]
    cells += [code_of(opened, "model_bytes"), "report = check(model_bytes)\nprint(report)"]
    cells += ["embedded_digits().test.labels.shape", code_of(opened, "before-you-hand-in-2")]
    said, _ = run_bare(here, COLAB, cells, "--colab")
    assert f"{here / 'course_utils' / '__init__.py'}\n2\n" in said and "not implemented yet" in said
    assert "There is no file 00_budget.ipynb" in said


def test_a_lab_with_the_first_cell_is_graded_as_without_it(tmp_path):
    handed_in, out = tmp_path / "handed_in", tmp_path / "grades"
    handed_in.mkdir()
    solved = solution_source("budget").with_suffix(".ipynb").read_text(encoding="utf-8")
    (handed_in / "ada.ipynb").write_text(solved, encoding="utf-8")
    (handed_in / "bob.ipynb").write_text(cloud.with_first_cells(solved, NAME, LAB), encoding="utf-8")
    try:
        assert grade_class(unit_name("budget"), handed_in, out, workers=1)
    except SandboxUnavailable as error:
        without_sandbox(error)
    with open(out / "grades.csv", newline="", encoding="utf-8") as file:
        ada, bob = (list(row.values())[1:] for row in csv.DictReader(file))
    assert ada == bob and ada[0] == "graded"


def test_binder_and_codespaces_install_with_the_pins():
    post_build = ROOT / ".binder" / "postBuild"
    assert os.access(post_build, os.X_OK)
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
    for command in (post_build.read_text(encoding="utf-8"), container["postCreateCommand"]):
        assert "pip install" in command and "-c constraints.txt -e ." in command
    python = yaml.safe_load((ROOT / ".binder" / "environment.yml").read_text(encoding="utf-8"))["dependencies"][0]
    assert python.split("=")[1] in container["image"]
