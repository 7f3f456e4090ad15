"""What the tables of unit 01 compute."""

import torch

from course_utils.distillation import figures


def test_a_table_of_errors_says_which_students_are_fewer():
    table = figures.errors_table("student", {"labels": [3, 1, 2], "distilled": [1, 1]})
    assert table.rows == [["labels", "2 (1–3)"], ["distilled", "1 (1–1)"]]
    assert "range of 3 seeds" in table.columns[1] and "Fewer seeds than the others: distilled 2" in str(table)


def test_a_verdict_needs_all_seeds():
    assert figures.verdict([1, 2, 3], [2, 3, 4]) == "better with every seed"
    assert figures.verdict([2, 3, 4], [1, 2, 3]) == "worse with every seed"
    assert figures.verdict([1, 2, 4], [2, 3, 4]) == "neither: seeds disagree"


def test_ways_are_chosen_by_validation_errors_only():
    scores = {
        "distilled T = 4": [{"validation": 5, "test": 1}, {"validation": 5, "test": 1}],
        "distilled T = 16": [{"validation": 4, "test": 9}, {"validation": 5, "test": 9}],
        "labels": [{"validation": 1, "test": 7}, {"validation": 1, "test": 8}],
        "smoothed ε = 0.1": [{"validation": 2, "test": 0}, {"validation": 2, "test": 0}],
    }
    assert figures.chosen(scores, "one teacher") == ("distilled T = 16", [9, 9])
    assert figures.chosen(scores, "labels", "label smoothing") == ("labels", [7, 8])


def test_the_gap_that_is_closed_is_the_papers():
    assert round(100 * figures.gap_closed(teacher=67, student=146, distilled=74)) == 91


def test_the_fair_contest_is_judged_on_the_same_digits_seed_by_seed():
    def run(seed, errors, **moved):
        return {"seed": seed} | {name: {"errors": n, "moved_errors": moved.get(name, 0)} for name, n in errors.items()}

    theirs = [run(s, {"student": 150, "jittered": 100 + s}, jittered=130) for s in range(3)]
    ours = [run(s, {"distilled": 120, "distilled_moved": 101}, distilled_moved=140) for s in (2, 1, 0)]
    contest = {"teacher": {"errors": 50, "moved_errors": 60}, "runs": ours}
    table = figures.fair_verdicts({"runs": theirs}, contest)
    verdicts = ["better with every seed", "neither: seeds disagree", "worse with every seed"]
    assert [row[4] for row in table.rows] == verdicts
    assert [row[5] for row in table.rows] == ["30%", "49%", "—"]


def test_errors_on_threes_are_those_of_true_threes():
    labels = torch.tensor([3, 3, 8, 5])
    table = figures.never_saw_3_table({"a student": [torch.tensor([3, 8, 3, 5]), torch.tensor([5, 5, 8, 5])]}, labels)
    assert table.rows == [["a student", "2 (2–2)", "2 (1–2)"]]


def test_the_ensemble_is_judged_by_its_probabilities():
    sure, torn = torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([[0.5, 0.5], [0.25, 0.75]])
    table = figures.ensemble_table({"sure": sure, "torn": torn}, torch.tensor([0, 1]))
    assert [row[1] for row in table.rows] == [1, 0]
    assert table.rows[0][2] == float("inf") and table.rows[1][2] == 0.49  # (ln 2 + ln 4/3) / 2
