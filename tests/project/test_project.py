"""What the project says of itself is true: pins, pages, commands, license."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from course_utils import __version__
from course_utils.cli import app
from course_utils.notebooks import cloud, plans
from course_utils.notebooks.course_map import BEGIN, END, PAGES, course_map, refresh_maps
from course_utils.units import ROOT, available, unit_name

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
# conda-forge's names of what has another name on PyPI
CONDA_NAMES = {"torch": "pytorch-cpu", "matplotlib": "matplotlib-base", "msgpack": "msgpack-python"}
PAGES_WITH_LINKS = [ROOT / name for name in ("README.md", "INSTRUCTORS.md", "CONTRIBUTING.md", "labs/START.md")]

pytestmark = pytest.mark.skipif(not (ROOT / "Makefile").exists(), reason="a student kit holds no project files")


def requirements(lines: list[str]) -> dict[str, Requirement]:
    return {canonicalize_name(r.name): r for r in map(Requirement, lines)}


RUNTIME = requirements(PROJECT["dependencies"])
EXTRAS = PROJECT["optional-dependencies"]
OWN_EXTRA = canonicalize_name(PROJECT["name"])  # the extra "test" includes the extra "instructor"
TEST = requirements([line for extra in EXTRAS.values() for line in extra if not line.startswith(OWN_EXTRA)])
PINS = requirements(
    [
        line
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    ]
)


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git clone")
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


# --- pins -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(RUNTIME | TEST))
def test_every_dependency_is_pinned_within_its_range(name):
    assert name in PINS, f"constraints.txt has no version of {name}"
    (pin,) = PINS[name].specifier
    assert pin.operator == "=="
    assert (RUNTIME | TEST)[name].specifier.contains(pin.version), f"{pin} is not {(RUNTIME | TEST)[name]}"
    assert "+" not in pin.version, "a local version such as +cpu exists on one index only"


def test_every_pin_is_exact():
    assert {name for name, pin in PINS.items() if [s.operator for s in pin.specifier] != ["=="]} == set()


def test_nothing_is_installed_that_delays_every_process():
    assert "rfc3987-syntax" not in PINS, "constraints.txt says why"


def test_conda_asks_for_the_same_as_pip():
    conda = {
        line.split()[0]: line.split()[1]
        for line in ENVIRONMENT["dependencies"]
        if isinstance(line, str) and " " in line
    }
    assert conda.pop("python") == PROJECT["requires-python"]
    assert conda == {CONDA_NAMES.get(name, name): str(r.specifier) for name, r in RUNTIME.items()}
    assert {"pip": ["-e .[test]"]} in ENVIRONMENT["dependencies"]


def test_the_version_is_written_once_in_two_places():
    assert PROJECT["version"] == __version__


# --- pages ------------------------------------------------------------------------------------------------------------


def test_the_map_is_current():
    assert refresh_maps(check_only=True), "run `course build`"


def test_the_map_shows_every_unit_and_links_only_what_is_there(tmp_path):
    lab = tmp_path / "labs" / "01_distillation" / "01_distillation.ipynb"
    lab.parent.mkdir(parents=True)
    lab.write_text("{}")
    rows = course_map(tmp_path / "labs", tmp_path, planned={99: "The last of all", 1: "long since here"}).splitlines()[
        2:
    ]
    assert len(rows) == len(available()) + 1
    assert rows[-1] == "| 99 | The last of all | to come | to come |  |"
    assert rows[1].startswith(
        "| 01 | Distillation | to come | [lab](01_distillation/01_distillation.ipynb) | 6 exercises"
    )
    assert all(row.count("to come") == 2 for number, row in enumerate(rows) if number != 1)


def test_a_stale_map_is_seen_and_mended(tmp_path):
    for page in PAGES:
        (tmp_path / page).parent.mkdir(exist_ok=True)
        (tmp_path / page).write_text(
            f"before\n{BEGIN}\nold\n| 99 | Later | to come | to come |  |\n{END}\nafter\n", encoding="utf-8"
        )
    (tmp_path / "pyproject.toml").write_text('[tool.course]\nrepository = "https://github.com/a/b"', encoding="utf-8")
    with (tmp_path / PAGES[0]).open("a", encoding="utf-8") as readme:
        readme.write(f"{cloud.BEGIN}\n{cloud.END}\nafter\n")
    guide = tmp_path / plans.PAGE
    guide.write_text(f"before\n{plans.BEGIN}\nold\n{plans.END}\nafter\n", encoding="utf-8")
    assert not refresh_maps(tmp_path, check_only=True)
    assert refresh_maps(tmp_path)
    assert "old" not in (told := guide.read_text(encoding="utf-8")) and "### A weekend" in told and "after" in told
    assert refresh_maps(tmp_path, check_only=True)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert (
        text.startswith("before\n")
        and f"{END}\nafter\n" in text
        and "https://codespaces.new/a/b" in text
        and text.endswith(f"{cloud.END}\nafter\n")
        and "old" not in text
        and "| 99 | Later |" in text
    )


@pytest.mark.parametrize("page", PAGES_WITH_LINKS, ids=lambda page: page.name)
def test_local_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES_WITH_LINKS, ids=lambda page: page.name)
def test_commands_in_pages_exist(page):
    import typer

    text = page.read_text(encoding="utf-8")
    commands = set(typer.main.get_command(app).commands)
    assert set(re.findall(r"(?:^|`)course ([a-z]+)", text, re.MULTILINE)) <= commands
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z]+)", text, re.MULTILINE)) <= targets


def test_readme_leads_with_the_two_commands():
    block = re.search(r"^```\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)[1]
    assert [line.split("#")[0].strip() for line in block.splitlines()] == ["make lab", "make test"]


def test_the_readmes_folders_exist():
    for folder in re.findall(r"`([a-z_]+)/`", (ROOT / "README.md").read_text(encoding="utf-8")):
        assert any((ROOT / parent / folder).is_dir() for parent in ("", "course_utils", "tests")), folder


def test_the_license_holds_both_texts_whole():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Permission is hereby granted, free of charge" in text and "THE SOFTWARE IS PROVIDED" in text
    assert [f"Section {number}" for number in range(1, 9) if f"Section {number} --" not in text] == []
    assert PROJECT["license"] == "MIT AND CC-BY-4.0"


# --- make -------------------------------------------------------------------------------------------------------------

needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make on this machine")


def make(*words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    # Called from `make test`, make would hand its own variables down
    environment = {"PATH": os.environ["PATH"]}
    return subprocess.run(["make", *words], cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)


@needs_make
def test_make_help_names_every_target():
    helped = make("help")
    targets = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)[0].split()
    assert helped.returncode == 0
    assert all(f"make {target}" in helped.stdout for target in targets if target not in ("help", "remade"))


@pytest.fixture
def clone(tmp_path) -> Path:
    """A folder with what make needs to begin, and no environment."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    return tmp_path


@needs_make
def test_make_prove_takes_units_and_pytests_options(clone):
    assert "--no-loadscope-reorder --prove 07 -k mutants" in make("-n", "prove", "ARGS=07 -k mutants", cwd=clone).stdout


def test_the_deep_proof_runs_every_week():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "prove.yml").read_text(encoding="utf-8"))
    *_, day, month, weekday = workflow[True]["schedule"][0]["cron"].split()  # YAML 1.1 takes `on` for true
    assert (day, month) == ("*", "*") and weekday != "*"
    assert workflow["jobs"]["prove"]["steps"][-1]["run"] == "bash .ci/run prove"
    assert 'exec make "${@:-test}"' in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


@needs_make
def test_make_refuses_an_old_python_in_one_sentence(clone):
    old = clone / "python3.8"
    old.write_text("#!/bin/sh\nexit 1\n")  # what our question 'are you new enough?' gets from an old Python
    old.chmod(0o755)
    refused = make("lab", f"PYTHON={old}", cwd=clone)
    assert refused.returncode != 0
    said = [line for line in refused.stderr.splitlines() if not line.startswith("make:")]
    assert len(said) == 1 and "needs Python 3.11" in said[0] and str(old) in said[0]
    assert not (clone / ".venv").exists()


@needs_make
def test_make_installs_once_and_again_when_the_pins_change(clone):
    """Judged by what make would do, without doing it."""
    assert "pip install" in make("-n", "lab", cwd=clone).stdout
    (clone / ".venv").mkdir()
    for stamp in ("lab.stamp", "test.stamp"):
        (clone / ".venv" / stamp).write_text(f"{clone.resolve()}\n")
    assert "pip install" not in make("-n", "lab", cwd=clone).stdout
    assert "pip install" not in make("-n", "test", cwd=clone).stdout
    later = (clone / ".venv" / "lab.stamp").stat().st_mtime + 10
    os.utime(clone / "constraints.txt", (later, later))
    assert "-c constraints.txt" in make("-n", "lab", cwd=clone).stdout
    assert ".[test]" in make("-n", "test", cwd=clone).stdout


@needs_make
def test_make_installs_again_in_a_clone_that_was_moved(clone):
    (clone / ".venv").mkdir()
    (clone / ".venv" / "lab.stamp").write_text("/somewhere/else\n")
    assert "pip install" in make("-n", "lab", cwd=clone).stdout


PRETENDER = """#!/bin/sh
case "$*" in
  *"venv --clear"*) mkdir -p .venv/bin && cp python .venv/bin/python ;;
  *"course_utils lab") echo "the lab opens" ;;
  *sys.platform*) exit 1 ;;
esac
"""


@needs_make
@pytest.mark.parametrize("name", ["Prof's course", 'a "b"  c', "$HOME #1 & $(date)", "x; y (1, 2)"])
def test_make_works_in_folders_of_any_name(name, clone):
    """With a Python that installs nothing: what is quoted wrongly ends in an error, or in a second installation."""
    folder = clone / name
    folder.mkdir()
    for file in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copyfile(clone / file, folder / file)
    (folder / "python").write_text(PRETENDER)
    (folder / "python").chmod(0o755)
    first, second = (make("lab", "PYTHON=./python", cwd=folder) for _ in range(2))
    assert first.returncode == 0 and "Installing" in first.stdout, first.stderr
    assert second.stdout == "the lab opens\n" and second.stderr == ""


# --- nothing of the machine it was written on -------------------------------------------------------------------------


def test_no_file_names_a_folder_of_the_machine_it_was_made_on():
    folders = {str(ROOT.parent), str(ROOT), sys.prefix, str(Path.home())} - {"/", "/tmp", "/usr", "/home", "/root"}
    found = []
    for path in tracked_files():
        text = path.read_text(encoding="utf-8", errors="replace")
        found += [f"{path.relative_to(ROOT)}: {folder}" for folder in folders if f"{folder}/" in text]
    assert found == []


def test_no_file_is_large():
    sizes = {str(path.relative_to(ROOT)): path.stat().st_size for path in tracked_files()}
    assert {name: size for name, size in sizes.items() if size > 3_000_000} == {}


@pytest.mark.parametrize("kind", ["labs", "solutions"])
def test_a_units_folder_bears_its_name(kind):
    folders = [path.name for path in (ROOT / kind).glob("*/") if not path.name.startswith(".")]
    assert set(folders) <= {unit_name(topic) for topic in available()}
