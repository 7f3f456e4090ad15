"""JupyterHub's way, as INSTRUCTORS.md says it: a lab goes out and comes back through nbgrader's exchange."""

import json
import os
import re
import sys

import nbformat
import pytest

from course_utils.units import ROOT
from tests.grading.course_folder import LAB, hand_in, nbgrader, points
from tests.grading.notebooks import STUB

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="nbgrader's exchange works on Unix only"),
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning"),  # nbgrader's own
]
SETTINGS = re.search(r"```python\n(.*?)```", (ROOT / "INSTRUCTORS.md").read_text(encoding="utf-8"), re.DOTALL)[1]


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A course folder, a student's folder and, empty, the exchange between them."""
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    exchange = tmp_path / "exchange"
    exchange.mkdir()
    exchange.chmod(0o777)
    settings = SETTINGS.replace("/srv/nbgrader/exchange", str(exchange))
    assert str(exchange) in settings
    for name, begin in (("course", (ROOT / "nbgrader_config.py").read_text(encoding="utf-8")), ("ada", "")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "nbgrader_config.py").write_text(begin + "\nc = get_config()\n" + settings, encoding="utf-8")
    return tmp_path / "course", tmp_path / "ada"


def test_a_lab_goes_out_comes_back_and_is_answered(hub, tmp_path):
    course, ada = hub
    assert nbgrader(course, "generate_assignment", LAB) == 0
    assert nbgrader(course, "release_assignment", LAB) == 0

    assert nbgrader(ada, "fetch_assignment", LAB) == 0
    notebook = ada / LAB / f"{LAB}.ipynb"
    fetched = nbformat.read(notebook, as_version=4)
    assert "BEGIN SOLUTION" not in json.dumps(fetched) and "raise NotImplementedError" in json.dumps(fetched)
    work = {cell.id: cell.source for cell in hand_in(distill=STUB["distill"]).cells}
    for cell in fetched.cells:
        cell.source = work[cell.id]
    nbformat.write(fetched, notebook)
    assert nbgrader(ada, "submit", LAB) == 0

    assert nbgrader(course, "collect", LAB) == 0
    (submitted,) = (course / "submitted").iterdir()
    assert nbgrader(course, "autograde", LAB, "--GradeInSandbox.trust=True") == 0
    assert points(course, submitted.name) == [2, 4, 2, 2, 2, 0]
    assert nbgrader(course, "generate_feedback", LAB) == 0
    assert nbgrader(course, "release_feedback", LAB) == 0

    assert nbgrader(ada, "fetch_feedback", LAB) == 0
    (page,) = (ada / LAB / "feedback").rglob("*.html")
    told = page.read_text(encoding="utf-8")
    assert "1.6 distill: 0 of 4 points" in told and "12 of 16 points for code" in told
    assert os.listdir(tmp_path / "exchange") == ["budget"]
