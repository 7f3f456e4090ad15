"""What the tables of lecture 04 decide by themselves, and that its pictures can be drawn."""

import pytest

from course_utils import plots
from course_utils.structured import figures


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([21, 22, 25], "reached by other means, in all 3"),
        ([19, 22, 25], "reached by other means, on average only"),
        ([10, 12, 25], "not reached"),
        ([21, 22], "not testable with so few seeds"),
    ],
)
def test_a_claim_holds_in_every_run_or_on_average_or_not(values, said):
    assert figures.holds(values, lambda times: times >= 20, "reached by other means") == said


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"0.5": [6, 7, 8], "0.036": [5, 9, 9]}, "reached"),
        ({"0.5": [4, 7, 8], "0.036": [5, 9, 9]}, "depends on the part kept: reached at 3.6%"),
        ({"0.5": [4, 7, 8], "0.036": [5, 9, 4]}, "not reached"),
        ({"0.5": [6, 7, 8], "0.036": [5, 9]}, "not testable with so few runs"),
    ],
)
def test_a_claim_about_parts_kept_holds_where_it_does_in_every_run(found, said):
    assert figures.holds_at(found, lambda times: times >= 5, "reached") == said


def test_dead_filters_are_counted_at_the_look_that_found_most():
    assert figures.most_dead({"proximal": {"norms": [[0, 0.1, 0.2], [0, 0, 0.3], [0.1, 0.1, 0]]}}) == 2


@pytest.mark.parametrize(("layer", "shown"), [("conv2", ["1", "1,000"]), ("conv1", ["1"])])
def test_a_clock_that_read_page_faults_is_not_shown(layer, shown):
    times = {"20—50": [2.0], "2—8": [1.0]}
    batches = {"1": times, "1000": times}
    found = {
        "settings": {"threads": [1], "batches": [1, 1000]},
        "times": [{"layers": {"1": {layer: batches}}}],
        "macs": {"20—50": {}, "2—8": {}},
    }
    assert [row[0] for row in figures.speed_table(found, layer).rows] == shown


def results(validation: dict[str, list[int]]) -> dict:
    """Results of three seeds with so many validation errors of 1,000, by width."""
    runs = [
        {
            "dense": {"validation_errors": 5, "test_errors": 6},
            "lasso": {width: {"validation_errors": wrong[i], "test_errors": 9} for width, wrong in validation.items()},
            "scratch": {},
        }
        for i in range(3)
    ]
    macs = {width: {"conv2": 100 // (i + 1)} for i, width in enumerate(["20—50", *validation])}
    return {"runs": runs, "macs": macs, "data": {"validation": 1000, "test": 1000}, "settings": {"at_most": 0.8}}


def test_the_narrowest_with_few_validation_errors_is_chosen_whatever_the_test_says():
    assert figures.chosen_width(results({"5—19": [7, 7, 7], "2—8": [7, 8, 9]})) == "2—8"
    assert figures.chosen_width(results({"5—19": [7, 7, 7], "2—8": [7, 8, 10]})) == "5—19"
    assert figures.chosen_width(results({"5—19": [9, 9, 9], "2—8": [7, 8, 10]})) == "20—50"


def test_errors_and_operations_are_percent():
    found = results({"5—19": [7, 7, 7]})
    assert figures.percent(found, "lasso", "5—19", "validation") == pytest.approx([0.7] * 3)
    assert figures.percent(found, "dense", "20—50", "test") == pytest.approx([0.6] * 3)
    assert figures.share_of_macs(found, "conv2") == {"20—50": 1, "5—19": 0.5}


def test_speedups_compare_medians_of_the_same_run():
    layers = {"1": {"conv2": {"100": {"20—50": [6.0, 5.0, 7.0], "2—8": [0.5, 0.4, 0.6]}}}}
    assert figures.speedups({"times": [{"layers": layers}]}, "conv2", 100)["2—8"] == [12.0]
    layers["1"] |= {"conv1": {"100": {"2—8": [1.0]}}, "network": {"100": {"2—8": [2.0]}}}
    assert figures.rest_of_network({"times": [{"layers": layers}]}, "2—8") == [0.25]
    zeros = {"100": {"0.5": {"convolution, dense": [2.0, 1, 3], "lowered, dense": [4.0, 3, 5]}}}
    assert figures.gains({"times": [{"zeros": zeros}]}, "lowered, dense", "convolution, dense") == {"0.5": [0.5]}


def test_scattered_zeros_are_judged_by_the_faster_format_of_each_run():
    ways = ({"CSR": 2.0, "COO": 4.0}, {"CSR": 8.0, "COO": 1.0})
    runs = [
        {"zeros": {"1": {"0.5": {f"lowered, {name}": [ms] for name, ms in run.items()} | {"dense": [8.0]}}}}
        for run in ways
    ]
    assert figures.best_sparse_gains({"times": runs}, "lowered", "dense", 1) == {"0.5": [4.0, 8.0]}


def test_a_product_that_is_as_fast_as_its_operations_promise_keeps_all_of_it():
    found = {"product alone, dense": [8.0], "product alone, pushed together before": [2.0]}
    assert figures.product_keeps({"times": [{"zeros": {"100": {"0.25": found}}}]}, "0.25") == pytest.approx(1)


@pytest.mark.parametrize(
    "name",
    [
        "two_patterns",
        "groups_of_a_weight",
        "shrinking_vectors",
        "slopes_at_zero",
        "death_spreads",
        "column_blocks",
    ],
)
def test_drawings_have_a_description(name, monkeypatch):
    shown = []
    monkeypatch.setattr(plots, "show", lambda figure, alt: shown.append((figure, alt)))
    getattr(figures, name)()
    ((figure, alt),) = shown
    assert len(alt) > 100 and all(axis.get_title() for axis in figure.axes)


def of_seeds(**ways: dict[str, list[int]]) -> dict:
    """Results of three seeds by way and width, with so many errors of 1,000, test and validation alike."""
    runs = [
        {"seed": seed}
        | {
            way: {width: {"validation_errors": e[seed], "test_errors": e[seed]} for width, e in widths.items()}
            for way, widths in ways.items()
        }
        for seed in range(3)
    ]
    return {"runs": runs, "data": {"validation": 1000, "test": 1000}}


def test_the_lassos_filters_are_held_against_random_ones_of_the_same_seed():
    ways = {"lasso": [8, 8, 8], "random": [9, 7, 8], "scratch": [8, 9, 9]}
    results = of_seeds(**{way: {"2—8": errors} for way, errors in ways.items()}) | {"macs": {"20—50": {}, "2—8": {}}}
    assert [row[-1] for row in figures.origins_table(results).rows] == [
        "0.80 (0.80–0.80)", "0.80 (0.70–0.90)", "0.87 (0.80–0.90)"
    ]  # fmt: skip
    said = " ".join(figures.origins_words(results).split())
    assert "2—8, test digits: the lasso's make fewer errors than those drawn at random in 1 of 3 seeds, " in said
    assert said.endswith("than those narrow from the start in 2.")
