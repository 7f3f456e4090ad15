"""What the checks of unit 01 say to mistakes that students made, and what its references do in half precision."""

import pytest
import torch

from course_utils import distillation
from course_utils.checks import check


def test_a_sum_in_place_of_a_mean_is_compared_with_the_students_own_results():
    def summed(logits_list, temperature):
        return len(logits_list) * distillation.ensemble_soft_targets(logits_list, temperature)

    report = check(summed, exercise="1.3")
    assert "compared with the weighted mean of your own results" in str(report)


def test_gradients_that_add_up_meet_a_hint_on_grad():
    def accumulates(state, inputs, labels, teacher_logits, temperature, alpha, lr, steps):
        leaves = {name: value.detach().clone().requires_grad_() for name, value in state.items()}
        for _ in range(steps):
            logits = distillation.mlp_forward(leaves, inputs)
            distillation.distillation_loss(logits, teacher_logits, labels, temperature, alpha).backward()
            with torch.no_grad():
                for leaf in leaves.values():
                    leaf -= lr * leaf.grad
        return {name: leaf.detach() for name, leaf in leaves.items()}

    report = check(accumulates, exercise="1.6")
    assert not report.passed and any("adds to .grad" in law.hint for law in report.laws if not law.passed)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_references_keep_half_precision(dtype):
    student, teacher, labels = torch.randn(4, 3).to(dtype), torch.randn(4, 3).to(dtype), torch.tensor([0, 1, 2, 0])
    assert distillation.soft_targets(student, 2.0).dtype == dtype
    assert distillation.distillation_loss(student, teacher, labels, 2.0, 0.5).dtype == dtype
    assert distillation.ensemble_soft_targets([student, teacher], 2.0).dtype == dtype
    assert distillation.distillation_gradient(student, teacher, 2.0).dtype == dtype
