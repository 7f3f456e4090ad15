"""What the tables of unit 03 compute."""

import copy

import torch

from course_utils.deep_compression import figures
from course_utils.reproduce import stored_results


def with_seeds(count: int, recipe: str):
    """The stored results, with fewer seeds of one recipe of LeNet-300-100."""
    results = copy.deepcopy(stored_results("deep_compression"))
    del results["runs"]["lenet_300_100"][recipe][count:]
    return results


def test_an_ingredient_with_fewer_seeds_is_named_and_one_without_has_no_row():
    few = figures.ingredients_table(with_seeds(1, "no teacher"))
    assert "no teacher 1" in str(few).split("\n\n")[1]
    none = figures.ingredients_table(with_seeds(0, "no teacher"))
    assert [row[0] for row in few.rows if row[0] != "no teacher"] == [row[0] for row in none.rows]


def test_rows_say_how_many_seeds_they_have():
    results = with_seeds(1, "ours")
    names = {row[0] for row in figures.paper_table(results).rows}
    assert "LeNet-300-100, ours (1 seed)" in names and "LeNet-300-100, Han 2016" in names
    assert "lenet_300_100 (1 seed)" in {row[0] for row in figures.codings_table(results).rows}


def test_a_recipe_that_was_only_pruned_is_not_beside_the_paper():
    names = {row[0] for row in figures.paper_table(stored_results("deep_compression")).rows}
    assert not any("no teacher" in name for name in names)


def test_of_the_seeds_it_shows_the_median_and_the_range():
    results = with_seeds(3, "ours")
    for run, wrong in zip(results["runs"]["lenet_300_100"]["ours"], (300, 100, 150), strict=True):
        run["pruned"]["test_errors"] = wrong
    rows = {row[0]: row[2] for row in figures.ingredients_table(results).rows}
    assert rows["ours"] == "1.50 (1.00–3.00)"


def test_the_sparse_product_is_timed_with_the_part_that_is_kept():
    table = figures.sparse_times(torch.randn(20, 50), (0.1, 0.5), (1, 3), repeats=3)
    assert [row[:2] for row in table.rows] == [["10%", 1], ["10%", 3], ["50%", 1], ["50%", 3]]


def test_rivals_are_marked_and_have_rows():
    rows = {row[0]: row for row in figures.paper_table(stored_results("deep_compression")).rows}
    assert rows["LeNet-5, Havasi 2019, smallest"][2:] == ["0.96", "1,520", "1110"]


def priced(**files):
    """Results with a goal of 100 bytes and 1%. files: by λ, each seed's bytes, validation errors and test errors."""
    keys = ("bytes", "validation_errors", "test_errors")
    runs = {name: [dict(zip(keys, run, strict=True)) | {"ratio": 7.0} for run in by] for name, by in files.items()}
    goal = {"bytes": 100, "error": 1.0}
    return {"goals": {"lenet5": goal}, "data": {"validation": 5000}, "runs": {"lenet5": runs}}


def test_the_verdict_can_say_no_and_chooses_by_validation_digits():
    enough, larger, worse = [(90, 40, 90), (99, 41, 100), (120, 42, 95)], [(101, 9, 50)] * 3, [(80, 50, 101)] * 3
    (line,) = figures.verdicts(priced(a=enough, b=larger))
    assert "0%: reached. λ = a: medians 99 bytes, 0.95%" in line and "2 of 3 seeds" in line
    (line,) = figures.verdicts(priced(a=worse))
    assert "not reached" in line and "0 of 3 seeds" in line
    (line,) = figures.verdicts(priced(b=larger))
    assert "not reached. λ = b: medians 101 bytes" in line  # few errors, but no small file
    lucky = [(90, 60, 10)] * 3  # few test errors must not choose it
    (line,) = figures.verdicts(priced(c=lucky, a=worse))
    assert "λ = a" in line and "not reached" in line


def test_the_table_of_priced_files_has_a_row_for_each_price_with_files():
    table = figures.priced_table(priced(a=[(90, 40, 90), (1200, 41, 110)], b=[], c=[(80, 50, 101)]))
    assert [row[1] for row in table.rows] == ["a", "c"]
    assert table.rows[0][2:] == ["645 (90–1,200)", "7", "0.81", "1.00 (0.90–1.10)", "1 of 2"]
