"""What lecture 12 says of its results follows from them."""

import pytest
import torch

from course_utils import plots
from course_utils.robustness import figures


@pytest.mark.parametrize(
    ("margins", "said"),
    [
        ([1.0, 2.0], "not testable with so few seeds"),
        ([1.0, 2.0, 0.1], "yes, in all 3 (p = 0.25)"),
        ([-1.0, -2.0, -0.1], "no, in none of 3 (p = 0.25)"),
        ([1.0, -2.0, 3.0], "not decided (2 of 3)"),
        ([0.0, 1.0, 1.0], "not decided (2 of 3)"),
    ],
)
def test_a_verdict_can_say_no(margins, said):
    assert figures.verdict(margins) == said


@pytest.mark.parametrize(
    ("accuracies", "said"),
    [
        ([(92.4, 93.4), (92.0, 92.0), (93.0, 92.0)], "yes, in all 3 (p = 0.50)"),  # 92.4 - 93.4 is below -1
        ([(92.3, 93.4), (92.0, 92.0), (93.0, 92.0)], "not decided (2 of 3)"),
    ],
)
def test_a_limit_is_reached_at_the_limit(accuracies, said):
    assert figures.verdict(figures.beyond([a - b for a, b in accuracies], -1)) == said


@pytest.mark.parametrize(
    ("poisoned", "clean", "asr", "said"),
    [
        ([0.1, 0.5, 0.2], [0.1, 0.3, 0.2], 0.9, "yes, in all 3 (p = 0.25)"),
        ([0.1, 0.5, 0.2], [0.1, 0.2, 0.3], 0.9, "not testable: highest in the last round in 3 of 3"),
        ([0.1, 0.2, 0.1], [0.1, 0.2, 0.3], 0.9, "no, in none of 3 (p = 0.25)"),
        ([0.1, 0.2, 0.1], [0.1, 0.5, 0.3], 0.9, "no, in none of 3 (p = 0.25)"),
        ([0.1, 0.2, 0.3], [0.1, 0.5, 0.3], 0.9, "not testable: highest in the last round in 3 of 3"),
        ([0.1, 0.2, 0.3], [0.1, 0.5, 0.3], 0.0, "no, in none of 3 (p = 0.25)"),
    ],
)
def test_a_score_that_still_climbs_has_no_peak(poisoned, clean, asr, said):
    """Unless the last ticket is dead: then no round comes after it."""
    rounds = {"MLP, corner": poisoned, "MLP, clean": clean}
    run = {
        "rounds": {
            name: [{"score": score, "clean": 0.1, "asr": asr} for score in scores] for name, scores in rounds.items()
        }
    }
    assert figures.peaks([run] * 3)[1] == said


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ({"asr": 1.0, "clean": 0.2, "mistaken": 0.02}, True),
        ({"asr": 1.0, "clean": 0.1, "mistaken": 1.0}, False),
        ({"asr": 1.0, "clean": 0.9, "mistaken": 0.0}, False),
        ({"asr": 0.5, "clean": 0.2, "mistaken": 0.0}, False),
    ],
)
def test_a_constant_network_is_no_trojan_ticket(row, found):
    assert figures.ticket(row) is found


def test_gains_are_paired_by_seed():
    def run(bird, dense):
        return {
            "noisy": {
                "bird": {"final": {"robust": bird}, "stopped": {"robust": 0.6}},
                "dense": {"final": {"robust": dense}, "stopped": {"robust": 0.62}},
            }
        }

    results = {"runs": [run(0.5, 0.4), run(0.6, 0.3)]}
    assert figures.gains(results, "bird", "dense") == pytest.approx([10, 30])
    assert figures.gains(results, "bird", "dense", "final", "stopped") == pytest.approx([-12, -2])


@pytest.mark.parametrize(
    "draw",
    [
        figures.attack_paths,
        figures.wrapped_boxes,
        figures.merged_margin,
        figures.vote_figure,
        figures.sign_patterns,
        figures.error_paths,
        lambda: figures.triggered_digit(torch.zeros(28, 28)),
    ],
)
def test_drawings_have_titles_and_a_description(draw, monkeypatch):
    shown = []
    monkeypatch.setattr(plots, "show", lambda figure, alt: shown.append((figure, alt)))
    draw()
    ((figure, alt),) = shown
    assert len(alt) > 100 and all(axis.get_title() for axis in figure.axes)
