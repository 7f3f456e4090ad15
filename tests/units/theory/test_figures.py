"""What the tables of lecture 13 decide by themselves, and that its pictures can be drawn."""

import pytest

from course_utils import plots
from course_utils.theory import figures, published, widgets
from course_utils.theory.noise import initial_network as network
from course_utils.theory.noise import random_masks
from course_utils.theory.ranking import FAMILIES, first_state, make_masks, skipped_mean, weights_of


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([1, 2, 3], "reached, in all 3"),
        ([-1, 2, 3], "reached, on average only"),
        ([-1, -2, 1], "not reached"),
        ([1, 2], "not testable with so few seeds"),
    ],
)
def test_a_claim_holds_in_every_seed_or_on_average_or_not(values, said):
    assert figures.holds(values, lambda value: value > 0, "reached") == said


def row(value: float, accuracy: float, **numbers: float) -> dict:
    return {"numbers": {"paths": value, "IMDB": -value} | numbers, "accuracy": accuracy, "layers": [0.5, 0.5]}


def test_ranks_decide_and_a_number_that_is_the_same_for_all_tells_nothing():
    rows = [row(1, 10, same=3), row(2, 30, same=3), row(5, 31, same=3)]
    assert figures.correlation(rows, "paths") == pytest.approx(1) and figures.correlation(rows, "IMDB") < -0.99
    assert figures.correlation(rows, "same") == 0


def test_the_number_is_chosen_on_the_networks_made_for_it():
    rising, falling = ([row(i, sign * i) for i in range(4)] for sign in (1, -1))
    found = {"topology": {"chosen": {"0.05": rising, "0.01": rising}, "confirmed": {"0.05": falling}}}
    assert figures.chosen_number(found) == "paths"
    found["topology"]["chosen"] = {"0.05": falling, "0.01": falling}
    assert figures.chosen_number(found) == "IMDB"


def noise_results(ticket: list[int], dense: list[int]) -> dict:
    def of(errors: int) -> dict:
        return {"last": {"test_errors": errors, "memorized": 0.5}, "validation_errors": [errors]}

    names = ("0.5", "0.25", "0.125", "0.06")
    runs = [
        {"tickets": {"1": of(d)} | {name: of(t + i) for i, name in enumerate(names)}}
        for t, d in zip(ticket, dense, strict=True)
    ]
    return {"generalization": runs, "data": {"test": 1000}}


def test_the_worst_mild_ticket_is_chosen_by_validation_and_compared_with_the_dense_network():
    found = noise_results([300, 310, 320], [300, 313, 330])
    assert figures.worst_mild_ticket(found) == "0.125"
    assert figures.above(found, "0.125", "1") == pytest.approx([0.2, -0.1, -0.8])
    for run in found["generalization"]:
        run["tickets"]["0.5"]["validation_errors"] = [999]
    assert figures.worst_mild_ticket(found) == "0.5"


def test_the_ticket_is_chosen_by_noisy_validation_labels_and_is_never_the_dense_network():
    assert figures.best_ticket(noise_results([300, 310, 320], [1, 1, 1])) == "0.5"


def test_the_error_by_one_unit_more_is_a_factor():
    sums = {str(n): {"subset": [0, 0.4 / 2**n, 0], "single": [0, n**-6, 0]} for n in (2, 4, 10, 16)}
    found = {"approximation": [{"sums": sums}]}
    assert figures.halving(found) == figures.halving(found, "single") == pytest.approx([2.0])
    assert figures.straightness(found) == pytest.approx([1.0])
    assert figures.straightness(found, "single") == pytest.approx([25 / 16])  # a power is not a straight line


def test_the_exponents_of_width_and_density_are_told_apart():
    def of(width: int, density: float) -> dict:
        return {"kernel": [{"rescaled": width**-0.5 * density**-0.2, "factor": density**2}]}

    kernels = {str(w): {str(p): of(w, p) for p in (1.0, 0.25)} for w in (16, 64)}
    assert figures.kernel_exponents({"optimization": [{"kernels": kernels}]}) == [pytest.approx((-0.5, -0.2))]


def test_a_number_beats_its_rivals_only_if_it_tells_something():
    numbers = {"IMDB, layers without left out": 0.0, "layer density": 0.0}
    rows = [row(i, i, **numbers) for i in range(4)]
    falling = [row(i, -i, **numbers) for i in range(4)]
    assert figures.rivals_beaten({"0.05": rows, "0.01": falling}, "paths") == 1
    for i, one in enumerate(rows):
        one["layers"] = [0.1, 0.1 * (i + 1)]
    assert figures.rivals_beaten({"0.05": rows}, "paths") == 0  # layer densities rank as well


def test_what_shuffling_costs_counts_masks_that_it_cuts_and_none_that_were_cut_before():
    def of(family: str, shuffled: bool, paths: float, accuracy: float) -> dict:
        return row(0, accuracy, **{"log paths": paths}) | {"seed": 0, "family": family, "shuffled": shuffled}

    rows = [of("SNIP", False, 3, 90), of("SNIP", True, -1, 10), of("magnitude", False, -1, 10),
            of("magnitude", True, -1, 10), of("ERK", False, 2, 80)]  # fmt: skip
    assert figures.shuffle_losses({"topology": {"confirmed": {"0.01": rows}}}) == {"0.01": [80]}


def test_the_published_table_is_whole():
    groups = published.groups()
    assert [len(rows) for rows in groups.values()] == [6] * 10
    rhos = [[published.rho(rows, place) for rows in groups.values()] for place in range(3)]
    assert [sum(rho >= 0.9 for rho in each) for each in rhos] == [8, 0, 5]
    assert [sum(row[-1] > published.CHANCE for row in rows) for rows in groups.values()] == [6] * 6 + [5] * 4
    assert figures.published_words().splitlines() == [
        "all masks: layer density above IMDB in 6 of 10 rows, below in 4",
        "without those that failed: layer density above IMDB in 5 of 10 rows, below in 4",
    ]
    assert published.rho([(1.0, 2.0), (float("nan"), 0.0), (2.0, 3.0)], 0) == pytest.approx(1)


@pytest.mark.parametrize("family", FAMILIES)
def test_masks_keep_what_they_should(few_digits, family):
    state = first_state((784, 30, 20, 10), 0)
    masks = make_masks(family, state, 0.03, few_digits.train, 0)
    total = sum(weight.numel() for weight in weights_of(state).values())
    assert masks.keys() == weights_of(state).keys()
    assert abs(sum(int(mask.sum()) for mask in masks.values()) - 0.03 * total) <= 2


def test_a_layer_without_a_value_is_left_out_as_in_the_authors_program():
    import torch

    masks = {"a": torch.ones(6, 6).bool(), "b": torch.eye(9).bool()}
    assert skipped_mean(masks) == pytest.approx(2 * 5**0.5) and skipped_mean({"b": masks["b"]}) == 0


def test_random_masks_leave_the_last_layer_whole():
    model = network((784, 12, 10), 0)
    masks = random_masks(model, 0.25, 0)
    assert [int(mask.sum()) for mask in masks.values()] == [round(0.25 * 784 * 12)]


@pytest.mark.parametrize(
    "draw",
    [
        figures.four_questions,
        figures.pruned_weight,
        figures.growing_rugs,
        figures.popup_drawing,
        figures.two_half_planes,
        figures.two_balls,
        figures.label_bins,
        figures.two_graphs,
        figures.dead_edges,
        widgets.sums_explorer,
        widgets.graph_explorer,
    ],
)
def test_drawings_are_shown_with_words(draw, monkeypatch):
    shown = []
    monkeypatch.setenv("COURSE_FRAMES", "1")
    monkeypatch.setattr(plots, "show", lambda figure, alt: shown.append(alt))
    draw()
    assert len(shown) == 1 and len(shown[0]) > 60
