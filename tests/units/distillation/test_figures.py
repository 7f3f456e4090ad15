"""What the tables of unit 01 compute."""

import torch

from course_utils.distillation import figures


def test_a_table_of_errors_says_which_students_are_fewer():
    table = figures.errors_table("student", {"labels": [3, 1, 2], "distilled": [1, 1]})
    assert table.rows == [["labels", "2 (1–3)"], ["distilled", "1 (1–1)"]]
    assert "range of 3 seeds" in table.columns[1] and "Fewer seeds than the others: distilled 2" in str(table)


def test_both_numbers_of_digits_may_have_a_way_of_the_same_name():
    few = {"labels": [1, 2], "distilled": [1, 1]}
    table = figures.errors_by_digits({"500": few, "3,500": few | {"labels": [3]}})
    assert [row[:2] for row in table.rows] == [[n, way] for n in ("500", "3,500") for way in ("labels", "distilled")]
    assert "Fewer seeds than the others: 3,500, labels 1" in str(table)


def test_errors_on_threes_are_those_of_true_threes():
    labels = torch.tensor([3, 3, 8, 5])
    table = figures.never_saw_3_table({"a student": [torch.tensor([3, 8, 3, 5]), torch.tensor([5, 5, 8, 5])]}, labels)
    assert table.rows == [["a student", "2 (2–2)", "2 (1–2)"]]


def test_the_ensemble_is_judged_by_its_probabilities():
    sure, torn = torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([[0.5, 0.5], [0.25, 0.75]])
    table = figures.ensemble_table({"sure": sure, "torn": torn}, torch.tensor([0, 1]))
    assert [row[1] for row in table.rows] == [1, 0]
    assert table.rows[0][2] == float("inf") and table.rows[1][2] == 0.49  # (ln 2 + ln 4/3) / 2
