"""What the checks of unit 10 say to mistakes that students made, and what its references do at the edges."""

import pytest
import torch

from course_utils import moe
from course_utils.checks import check


def broken_law(report, name=""):
    return next(law for law in report.laws if name in law.name and not law.passed)


def test_fractions_in_float32_meet_a_sentence_on_digits():
    def single(probabilities, assignment, num_experts):
        fraction = torch.bincount(assignment, minlength=num_experts) / len(assignment)
        return num_experts * (fraction * probabilities.mean(0)).sum()

    assert "computed in float32" in broken_law(check(single, exercise="10.3c")).message


def test_a_buffer_of_another_dtype_is_no_expectation_of_zeros():
    def single(*arguments):
        buffer, positions = moe.dispatch(*arguments)
        return buffer.float(), positions

    broken = broken_law(check(single, exercise="10.4"))
    assert broken.expected.startswith("a float64 tensor of shape") and "tokens' dtype" in broken.hint


def test_a_sign_error_shows_in_the_gradient():
    broken = broken_law(check(lambda *arguments: -moe.reinforce_loss(*arguments), exercise="10.9"))
    assert float(broken.expected.split("[")[1].split("]")[0]) == -float(broken.got.split("[")[1].split("]")[0])


@pytest.mark.parametrize("swapped", ["capacity", "gates"])
def test_hints_of_the_layers_capacity_name_all_that_may_be_wrong(swapped):
    def layer(tokens, router_weight, w1, w2, k, capacity_factor):
        if swapped == "capacity":
            return moe.moe_layer(tokens, router_weight, w1, w2, k, 9.0)
        return moe.moe_layer(tokens, router_weight, w1, w2, k, capacity_factor * k)

    hint = broken_law(check(layer, exercise="10.11"), "an expert that is full").hint
    assert "capacity(tokens, E, k, factor)" in hint and "in one buffer" in hint and "other gates as they are" in hint


def test_a_result_is_named_where_it_is_refused():
    report = check(lambda logits: (logits.argmax(1).float(), moe.switch_gate(logits)[1]), exercise="10.1b")
    assert all(law.passed or law.message.startswith(("the expert", "the same")) for law in report.laws)


def test_the_largest_number_of_experts_is_in_the_docstring():
    assert "1 ≤ num_experts ≤" in moe.hash_route.__doc__


def test_references_at_the_edges():
    buffer, assignment, dropped = torch.full((2, 0, 3), 1.0), torch.tensor([0, 1]), torch.tensor([-1, -1])
    assert moe.combine(buffer, assignment, dropped, torch.ones(2)).tolist() == [[0, 0, 0]] * 2
    full = torch.full((2, 1, 3), torch.nan)
    assert moe.combine(full, assignment, dropped, torch.ones(2)).tolist() == [[0, 0, 0]] * 2
    assert moe.switch_gate(torch.tensor([[0.0, 1e-8]]))[0].tolist() == [1]
    assert moe.dispatch(torch.ones(300, 1), torch.zeros(300).long(), 1, 300)[1].tolist() == list(range(300))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_references_keep_half_precision(dtype):
    logits = torch.tensor([[0.0, 2.0, 1.0]], dtype=dtype)
    assert moe.noisy_top_k(logits, logits, logits, 2).dtype == moe.switch_gate(logits)[1].dtype == dtype
    assert moe.switch_loss(logits.softmax(-1), torch.tensor([1]), 3).dtype == dtype
    assert moe.dispatch(logits, torch.tensor([1]), 3, 2)[0].dtype == dtype
