"""What the tables of lecture 09 decide by themselves, and that its drawings show what happens."""

from itertools import pairwise

import pytest

from course_utils.sparse_training import figures


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([0.1, 0.2, 0.3], "yes, in all 3"),
        ([-0.1, 0.2, 0.3], "yes, on average only"),
        ([-0.1, -0.2, 0.1], "no"),
        ([0.1, 0.2], "not testable with so few seeds"),
    ],
)
def test_a_claim_holds_in_every_seed_or_on_average_or_not(values, said):
    assert figures.holds(values, lambda saved: saved > 0) == said


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


def test_rank_correlation_is_spearmans():
    from scipy.stats import spearmanr

    x, y = [0.1, 0.5, 0.5, 0.9, 0.2], [3.0, 1.0, 2.0, 1.0, 3.0]
    assert figures.rank_correlation(x, y) == pytest.approx(spearmanr(x, y).statistic)


def test_the_papers_bytes_are_its_own_count():
    """The printed sizes, with the printed sparsities, 0.870 and 0.886, and as many connections as 2 FLOPs each give."""
    for sizes, connections, sparsity in (((408, 100, 69, 10), 6287, 0.870), ((375, 62, 51, 10), 3064, 0.886)):
        positions = sum(a * b for a, b in pairwise(sizes))
        assert connections / positions == pytest.approx(1 - sparsity, abs=0.002)
    assert abs(figures.bytes_of_paper([6287], (408, 100, 69, 10)) - 31914) < 100
    assert abs(figures.bytes_of_paper([3064], (375, 62, 51, 10)) - 16113) < 100


@pytest.mark.parametrize(
    "draw", ["drop_and_grow", "schedules_map", "erdos_renyi_figure", "urn", "layout", "two_of_four"]
)
def test_drawings_come_with_words(draw, capsys):
    getattr(figures, draw)()
    assert "Figure in words" in capsys.readouterr().out
