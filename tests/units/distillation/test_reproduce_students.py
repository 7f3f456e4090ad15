"""The small students' experiment, in smaller: what it stores, and that its teachers are given what they say."""

import json

import pytest

from course_utils.distillation import reproduce_students as students
from course_utils.distillation import reproduce_temperatures as temperatures

TINY = students.Settings(teachers=2, teacher_epochs=1, sizes=(100, 200), steps=(2, 4))


@pytest.mark.usefixtures("own_cache")
def test_tiny_run_stores_every_condition(few_digits, tmp_path):
    results = students.run(2, tmp_path, few_digits, TINY)
    assert json.loads((tmp_path / "students.json").read_text()) == json.loads(json.dumps(results))
    assert len(results["contests"]) == 2 * 2 * 2 and len(results["teachers"]["test_errors"]) == 2
    for ways in results["contests"].values():
        assert len(ways) == 8 and all(len(scores) == 2 for scores in ways.values())
    first = results["contests"]["100 digits, still, 2 steps"]
    assert first["labels"] != results["contests"]["100 digits, moved, 2 steps"]["labels"]
    assert all(0 <= score["test"] <= 200 for score in first["labels"])


@pytest.mark.usefixtures("own_cache")
def test_each_size_has_students_of_all_temperatures(few_digits, tmp_path):
    tiny = temperatures.Settings(teacher_epochs=1, hidden=(4, 8), temperatures=(1.0, 4.0), hidden_steps=4)
    results = temperatures.run(2, tmp_path, few_digits, tiny)
    assert len(results["runs"]) == 2
    for run in results["runs"]:
        assert list(run) == ["4", "8"] and all(list(ways) == ["labels", "1", "4"] for ways in run.values())
    assert results["runs"][0]["4"] != results["runs"][0]["8"]
