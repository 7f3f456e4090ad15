"""What the checks of unit 07 say to mistakes that students made, and what its references do at the edges."""

import pytest
import torch

from course_utils import lottery
from course_utils.checks import check
from course_utils.checks.engine import run
from course_utils.units import find_exercise
from tests.units.lottery.autotests import LAWS


def broken_law(report, name=""):
    return next(law for law in report.laws if name in law.name and not law.passed)


def test_a_difference_of_bools_is_torchs_own_error():
    report = check(lambda a, b: sum((a[n] - b[n]).abs().sum() for n in a) / 9, exercise="7.5a")
    assert "not implemented yet" not in str(report) and "logical_xor" in str(report)


@pytest.mark.parametrize("seed", range(4))
def test_a_distance_in_float32_passes_check_and_grading(seed):
    def single(a, b):
        return torch.cat([(a[n] != b[n]).flatten() for n in a]).float().mean().item()

    assert run(find_exercise("7.5a"), single, seed, LAWS["7.5a"]).passed


def test_a_wrong_deviation_is_named_before_the_mean():
    def of_the_kept(initial, masks, seed):
        kept = {name: value * masks[name] if name in masks else value for name, value in initial.items()}
        return lottery.reinitialize(kept, masks, seed)

    assert "the standard deviation of state['narrow'] is not" in broken_law(
        check(of_the_kept, exercise="7.3a"), "normal distribution"
    ).message.replace("'wide'", "'narrow'")


def test_a_drawn_mask_is_told_by_its_number():
    def bernoulli(masks, seed):
        generator = torch.Generator().manual_seed(seed)
        return {n: torch.rand(m.shape, generator=generator) < m.float().mean() for n, m in masks.items()}

    report = check(bernoulli, exercise="7.3b")
    assert "unpack" not in str(report) and "another number of entries is kept" in str(report)


def test_what_is_expected_of_a_rewound_state_is_no_initial_value():
    def forgets(initial, masks):
        return {name: torch.where(mask, initial[name], 0) for name, mask in masks.items()}

    broken = broken_law(check(forgets, exercise="7.2"))
    assert broken.expected == "a dict with 'weight', 'bias' in it"


def test_a_history_that_is_too_short_is_told_in_one_number():
    def always(history, epsilon=0.1, window=5):
        return True

    assert "a history of 1 is too short for a window of 5" in str(check(always, exercise="7.5b"))


def test_a_transposed_mask_is_shown_as_one():
    def in_place(weights, masks, rates):
        return {n: m.view(-1).view(m.shape) for n, m in lottery.prune_tickets(weights, masks, rates).items()} | {
            n: m.clone().view(-1).view(m.shape) & lottery.prune_tickets(weights, masks, rates)[n]
            for n, m in masks.items()
        }

    broken = broken_law(check(in_place, exercise="7.1"))
    assert "view" in broken.message and "not contiguous" in broken.input


def test_references_at_the_edges():
    masks = {"w": torch.tensor([True, False])}
    far = {"w": torch.tensor([False, True])}
    assert lottery.is_early_bird([far, masks], window=0) and not lottery.is_early_bird([masks] * 9, epsilon=0)
    assert lottery.remaining_after(1, {"a": 0.5}, {"a": 1, "ab": 1}) == 0.75
    state = {"w": torch.tensor([1.0, torch.nan]), "b": torch.ones(2)}
    new = lottery.rewind(state, masks)
    assert new["w"].tolist() == [1, 0]
    new["b"].zero_()
    assert state["b"].tolist() == [1, 1]
