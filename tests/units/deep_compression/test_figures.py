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
