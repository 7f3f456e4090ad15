"""What the tables of lecture 09 decide by themselves, and that its drawings show what happens."""

import pytest
import torch
from torch.nn.functional import max_pool2d

from course_utils.data import embedded_digits
from course_utils.sparse_training import figures
from course_utils.sparse_training.film import packed


@pytest.mark.parametrize(
    ("margins", "said"),
    [
        ([0.1, 0.2, 0.3], "yes, in all 3"),
        ([-0.1, 0.2, 0.3], "not decided (2 of 3)"),
        ([0.0, 0.2, 0.3], "not decided (2 of 3)"),
        ([-0.1, -0.2, 0.0], "not decided (0 of 3)"),
        ([-0.1, -0.2, -0.1], "no"),
        ([0.1, 0.2], "not testable with so few seeds"),
    ],
)
def test_a_claim_holds_in_every_seed_or_in_none_or_is_not_decided(margins, said):
    assert figures.verdict(margins) == said


def test_an_order_of_means_is_not_decided_if_seeds_differ_by_more():
    apart, noisy = [(1.0, 1.1, 1.2), (2.0, 2.1, 2.2)], [(1.0, 1.1, 2.2), (2.0, 2.1, 2.2)]
    assert [figures.ordered(yes, apart) for yes in (True, False)] == ["yes", "no"]
    assert [figures.ordered(yes, noisy) for yes in (True, False)] == ["not decided"] * 2


def results(explored, test):
    """Results in which SET and RigL, at two ΔT each, explored so much and got so many of 1,000 wrong."""
    names = ("SET, ERK", "RigL, ERK", "SET, ΔT 2", "RigL, ΔT 2")
    run = {
        name: {"explored": e, "expected": e, "test_errors": t} for name, e, t in zip(names, explored, test, strict=True)
    }
    return {"recipes": dict.fromkeys(names), "runs": [run], "data": {"test": 1000}}


def test_exploration_orders_the_methods_or_does_not():
    in_order = results((0.1, 0.2, 0.3, 0.4), (40, 30, 20, 10))
    assert figures.order_of_pairs(in_order) == (6, 6)
    assert figures.order_of_pairs(results((0.1, 0.2, 0.3, 0.4), (10, 20, 30, 40))) == (0, 6)
    assert figures.order_of_pairs(results((0.1, 0.11, 0.3, 0.31), (40, 10, 30, 20))) == (2, 4)
    assert figures.explorations(in_order)["RigL, ΔT 2"] == ([0.4], [0.4], [1.0])


def test_static_networks_have_explored_what_they_started_with():
    some = results((0.1, 0.2, 0.3, 0.4), (40, 30, 20, 10))
    some["runs"][0]["static, ERK"] = {"test_errors": 50}
    some["settings"] = {"density": 0.05}
    assert figures.explorations(some, static=True)["static, ERK"] == ([0.05], [0.05], [5.0])
    assert "static, ERK" not in figures.explorations(some)
    assert figures.order_of_pairs(some, static=True) == (10, 10)


def test_the_papers_weights_follow_from_its_bytes():
    """A network 3-2-1-10: 18 positions, 13 biases. And RigL's: twice its weights are the printed 12.6 K FLOPs."""
    assert figures.weights_by_bytes(4 * 7 + 18 // 8 + 4 * 13, "3-2-1") == 7
    assert round(2 * figures.weights_by_bytes(31914, "408-100-69"), -2) == 12600


def test_the_unlit_pixels_are_those_that_no_shifted_digit_lights():
    """A film whose pixels have 1 connection at first and 3 in the end; and the digits themselves, the embedded ones."""
    pixels = packed([torch.full((784,), 1), torch.full((784,), 3)])
    runs = [{"SET, ERK": {"film": {"steps": [0, 1], "pixels": pixels}}}]
    assert figures.unlit_connections({"runs": runs}, "SET") == [(len(figures.UNLIT), 3 * len(figures.UNLIT))]
    lit = (embedded_digits().train.images > 0).any(0).view(1, 28, 28)
    reached = max_pool2d(lit.float(), 3, stride=1, padding=1)[0].bool()
    assert not any(reached[pixel] for pixel in figures.UNLIT)


@pytest.mark.parametrize(
    "draw", ["drop_and_grow", "schedules_map", "erdos_renyi_figure", "urn", "layout", "two_of_four"]
)
def test_drawings_come_with_words(draw, capsys):
    getattr(figures, draw)()
    assert "Figure in words" in capsys.readouterr().out
