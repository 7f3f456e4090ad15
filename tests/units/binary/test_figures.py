"""What the tables of lecture 05 decide by themselves."""

import pytest

from course_utils.binary import figures


@pytest.mark.parametrize(
    ("ours", "said"),
    [
        ([1.2, 1.3, 1.4], "confirmed"),
        ([1.2, 1.3, 1.5], "not confirmed"),
        ([1.2, 1.3], "as published so far, with too few seeds to confirm"),
    ],
)
def test_a_published_error_is_confirmed_by_three_seeds_of_which_none_is_worse(ours, said):
    assert figures.verdict(ours, 1.4) == said


def test_a_network_that_has_not_been_run_stays_in_the_table():
    run = {"validation_errors": 5, "test_errors": 20, "bytes": 1000}
    results = {"data": {"validation": 500, "test": 1000}, "runs": {"binary": [run, run, run], "float32": []}}
    table = figures.results_table(results)
    assert table.rows == [
        ["binary", 3, "1.00 (1.00–1.00)", "2.00 (2.00–2.00)", "1,000"],
        ["float32", 0, "—", "—", "—"],
    ]
    assert "float32 0" in str(table)
