"""Each lab can be graded: all points for its solutions, none for the untouched lab, and half of it for a half."""

import csv

import nbformat
import pytest

from course_utils.grading.run import grade_class
from course_utils.grading.sandbox import SandboxUnavailable
from course_utils.notebooks.build import lab_path, solution_source
from course_utils.notebooks.source import stub_source
from course_utils.units import available, load_unit, unit_name
from tests.grading.conftest import without_sandbox


def half_done(solution, exercises):
    """The solution notebook with a stub in place of every second exercise."""
    node = nbformat.read(solution, as_version=4)
    for exercise in exercises[1::2]:
        for cell in node.cells:
            if cell.cell_type == "code" and f"def {exercise.name}(" in cell.source:
                cell.source = stub_source(cell.source, exercise)
    return nbformat.writes(node)


@pytest.mark.parametrize("topic", [topic for topic in available() if lab_path(topic).exists()])
def test_lab_is_graded(topic, tmp_path):
    exercises = load_unit(topic).exercises
    handed_in, out = tmp_path / "handed_in", tmp_path / "grades"
    handed_in.mkdir()
    solution = solution_source(topic).with_suffix(".ipynb")
    (handed_in / "solved.ipynb").write_bytes(solution.read_bytes())
    (handed_in / "untouched.ipynb").write_bytes(lab_path(topic).read_bytes())
    (handed_in / "half.ipynb").write_text(half_done(solution, exercises), encoding="utf-8")
    try:
        assert grade_class(unit_name(topic), handed_in, out, workers=1) is True
    except SandboxUnavailable as error:
        without_sandbox(error)
    with open(out / "grades.csv", newline="", encoding="utf-8") as file:
        rows = {row["student"]: row for row in csv.DictReader(file)}
    columns = [f"{e.id} {e.name}" for e in exercises]
    got = {student: [float(row[column]) for column in columns] for student, row in rows.items()}
    assert got["solved"] == [e.points for e in exercises], rows["solved"]
    assert got["untouched"] == [0] * len(exercises), rows["untouched"]
    # A half's later exercises may use an earlier one that is missing: what is left out brings nothing, the first counts
    assert [got["half"][i] for i in range(1, len(exercises), 2)] == [0] * (len(exercises) // 2)
    assert got["half"][0] == exercises[0].points
