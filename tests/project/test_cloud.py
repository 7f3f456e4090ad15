"""One setting opens the course in the cloud, and while it is empty nothing shows."""

import json
import os

import pytest
import yaml

from course_utils.notebooks import cloud
from course_utils.site import build
from course_utils.units import ROOT, lab_path, lecture_source

NAME = "someone/a-course"


def project(folder, address):
    (folder / "pyproject.toml").write_text(f'[tool.course]\nrepository = "{address}"\n')
    return folder


@pytest.mark.parametrize("ending", ["", "/", ".git"])
def test_the_address_names_the_repository(tmp_path, ending):
    assert cloud.repository(project(tmp_path, f"https://github.com/{NAME}{ending}")) == NAME


def test_without_an_address_nothing_shows(tmp_path):
    assert cloud.repository(project(tmp_path, "")) == ""
    assert cloud.with_cloud(f"a\n{cloud.BEGIN}\nold\n{cloud.END}\nb", "") == f"a\n{cloud.BEGIN}\n{cloud.END}\nb"


@pytest.mark.parametrize("address", ["someone/a-course", "https://example.org/a/b", "https://github.com/one"])
def test_another_address_is_refused(tmp_path, address):
    with pytest.raises(ValueError, match="OWNER/NAME"):
        cloud.repository(project(tmp_path, address))


def test_with_an_address_the_readme_and_each_lab_say_where():
    told = cloud.with_cloud(f"a\n{cloud.BEGIN}\n{cloud.END}\nb", NAME)
    assert all(f"{NAME}" in link and link in told for link in cloud.services(NAME).values())
    assert cloud.with_cloud(told, NAME) == told
    notebook = json.loads(lab_path("budget").read_text(encoding="utf-8"))
    title = build.with_links(notebook, lab_path("budget"), "budget", NAME)["cells"][0]["source"]
    name = lab_path("budget").relative_to(ROOT).as_posix()
    assert all(f"[{service}]({link})" in title for service, link in cloud.services(NAME, name).items())


def test_a_lecture_and_a_page_without_an_address_have_no_such_links():
    for path, name in ((lab_path("budget"), ""), (lecture_source("budget").with_suffix(".ipynb"), NAME)):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        assert "Colab" not in json.dumps(build.with_links(notebook, path, "budget", name))


def test_a_readme_without_a_place_is_an_error():
    with pytest.raises(ValueError, match="has no place for the cloud"):
        cloud.with_cloud("# Course\n", NAME)


def test_binder_and_codespaces_install_with_the_pins():
    post_build = ROOT / ".binder" / "postBuild"
    assert os.access(post_build, os.X_OK)
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
    for command in (post_build.read_text(encoding="utf-8"), container["postCreateCommand"]):
        assert "pip install" in command and "-c constraints.txt -e ." in command
    python = yaml.safe_load((ROOT / ".binder" / "environment.yml").read_text(encoding="utf-8"))["dependencies"][0]
    assert python.split("=")[1] in container["image"]
