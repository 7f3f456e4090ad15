"""What the tables of unit 02 compute."""

import pytest
import torch

from course_utils.saliency import figures

DELETED = (0.1, 0.2, 0.3, 0.4)


def stored(cut, predicted, retrained):
    """Stored results of one seed with a dense loss of 1, from OBD's losses at each fraction deleted."""
    at_once = [
        {"predicted_increase": increase, "cut": {"train_loss": loss}}
        for loss, increase in zip(cut, predicted, strict=True)
    ]
    in_rounds = [{"retrained": {"train_loss": loss}} for loss in retrained]
    run = {"dense": {"train_loss": 1.0}, "at_once": {"OBD": at_once}, "in_rounds": {"OBD": in_rounds}}
    run["dense_trained_on"] = [{"train_loss": 1.0}] * len(DELETED)
    paper = {"parameters": 2578, "prediction_holds_to": 0.3, "flat_with_retraining_to": 0.6}
    return {"runs": [run], "settings": {"deleted": DELETED}, "parameters": 2604, "paper": paper}


@pytest.mark.parametrize(
    "cut, retrained, wanted",
    [
        # The misses are 0.0005, 0.005, 0.05 and 0.0005: what holds again after a gap does not count
        ([1.0005, 1.005, 1.05, 1.0005], [1.0, 0.9, 1.1, 0.8], ["10%", "20%", "40%", "20%", "20%"]),
        ([2.0, 2.0, 2.0, 2.0], [1.1, 1.0, 1.0, 1.0], ["none"] * 5),
        ([1.0] * 4, [1.0] * 4, ["40%"] * 5),
    ],
)
def test_a_claim_holds_up_to_its_first_failure(cut, retrained, wanted):
    table = figures.paper_table(stored(cut, [0.0] * 4, retrained))
    assert [row[2] for row in table.rows[1:]] == wanted


def test_what_was_predicted_is_no_miss():
    table = figures.paper_table(stored([2.0] * 4, [1.0] * 4, [2.0] * 4))
    assert [row[2] for row in table.rows[1:]] == ["40%"] * 3 + ["none"] * 2


def test_layers_without_an_error_of_the_recursion_say_so():
    exact = torch.tensor([[1.0, 2.0], [0.0, 4.0]])
    table = figures.recursion_table(["a", "b"], [exact, exact * 1.5], [exact, exact])
    assert table.rows == [["a", 1, "0.0%"], ["b", 1, "50.0%"]]


def test_forecasts_are_medians_over_seeds():
    values = torch.tensor([[1.0, 5.0], [3.0, 4.0], [2.0, 9.0]])
    table = figures.forecasts_table([0.3, 0.9], {"recursion": values / 2, "actual": values})
    assert table.rows == [
        ["30%", "1.0", "2.0", "1.0 to 3.0"],
        ["90%", "2.5", "5.0", "4.0 to 9.0"],
    ]


def of_rounds(once, rounds, longer):
    """Stored results at one fraction, the same errors for all three criteria."""
    runs = []
    for a, b, c in zip(once, rounds, longer, strict=True):
        cut = [{"retrained": {"test_errors": a}, "kept": [0.25, 0.5]}]
        row = {"retrained": {"test_errors": b}, "trained_on": {"test_errors": c}, "idle": 0.25}
        names = ("OBD", "magnitude", "magnitude, layer by layer")
        runs.append({"at_once": {name: cut for name in names}, "in_rounds": {name: [row] for name in names}})
    return {"settings": {"compared": [0.5]}, "runs": runs}


def test_rounds_are_worse_only_if_they_are_in_every_seed():
    words = figures.rounds_words(of_rounds([5, 5, 5], [6, 7, 8], [4, 3, 4]))
    assert "OBD: rounds are worse (more errors in 3, fewer in 0 of 3 seeds)" in words
    assert "trained on, better (more errors in 0, fewer in 3 of 3 seeds)" in words
    assert "by layer against over all: not decided (more errors in 0, fewer in 0 of 3 seeds)" in words
    assert "25.0 to 25.0% do nothing" in words
    assert "OBD at once keeps of its layers 25%, 50%" in words
    undecided = figures.rounds_words(of_rounds([5, 5, 5], [6, 7, 5], [4, 3, 6]))
    assert "worse" not in undecided and "better" not in undecided


def test_a_forecast_that_is_too_high_misses_too():
    table = figures.paper_table(stored([1.0] * 4, [0.5] * 4, [1.0] * 4))
    assert [row[2] for row in table.rows[1:]] == ["none"] * 3 + ["40%"] * 2
