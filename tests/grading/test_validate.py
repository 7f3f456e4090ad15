"""`nbgrader validate`, which calls everything a success that raises nothing."""

from copy import deepcopy

import nbformat
import pytest
from nbgrader.validator import Validator

from course_utils.checks import check
from course_utils.notebooks.source import function_source
from course_utils.units import lab_functions, lab_path

FUNCTIONS = lab_functions("budget")


def validated(folder, functions):
    """The sources of the cells that nbgrader finds wrong in lab 00, all its questions answered and these functions
    written; its experiments, which nobody grades, are left out."""
    lab = deepcopy(nbformat.read(lab_path("budget"), as_version=4))
    lab.cells = [
        cell for cell in lab.cells if not {"experiment", "figure", "widget"} & set(cell.metadata.get("tags", []))
    ]
    del lab.cells[-1]  # `course check`
    for cell in lab.cells:
        if cell.id in functions:
            cell.source = function_source("budget", cell.id)
        elif cell.id.startswith("answer_"):
            cell.source = "In my own words."
    nbformat.write(lab, folder / "00_budget.ipynb")
    return [cell["source"] for cell in Validator().validate(str(folder / "00_budget.ipynb")).get("failed", [])]


@pytest.mark.slow
def test_a_lab_is_a_success_once_its_functions_are_right(tmp_path):
    assert validated(tmp_path, []) == [f"check({name})" for name in FUNCTIONS]
    assert validated(tmp_path, FUNCTIONS) == []


def test_only_there_a_check_raises(monkeypatch):
    def linear_macs(in_features, out_features):
        return 0

    assert not check(linear_macs).passed
    monkeypatch.setenv("NBGRADER_EXECUTION", "validate")
    with pytest.raises(AssertionError, match="linear_macs: 2 of 5 laws hold"):
        check(linear_macs)
