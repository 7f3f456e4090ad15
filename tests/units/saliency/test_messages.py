"""What the checks of unit 02 say to mistakes that students made, and what its references do in half precision."""

import pytest
import torch

from course_utils import saliency
from course_utils.checks import check


def test_a_sum_that_begins_in_float32_is_told_so():
    def natural(saliencies, masks):
        total = torch.tensor(0.0)
        for name, values in saliencies.items():
            total += values[~masks[name]].sum()
        return total

    report = check(natural, exercise="2.5")
    broken = next(law for law in report.laws if not law.passed and "float32, not float64" in law.message)
    assert "dtype float32, not float64" in broken.message
    assert any("begins with torch.tensor(0.0) is float32" in law.hint for law in report.laws)
    assert "is a float, not a tensor" in str(check(lambda s, m: float(natural(s, m)), exercise="2.5"))


def test_masks_of_all_tensors_are_refused_by_name():
    def masks_of_all(state, curvatures, keep_fraction):
        pruned, masks = saliency.obd_prune(state, curvatures, keep_fraction)
        return pruned, {name: masks.get(name, torch.ones_like(value).bool()) for name, value in state.items()}

    assert "the dict of masks has ['first.bias', 'norm.steps', 'second.bias'] too many" in str(
        check(masks_of_all, exercise="2.7")
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_references_keep_half_precision(dtype):
    weight, other = torch.randn(3, 4).to(dtype), torch.randn(3, 4).to(dtype)
    for result in (
        saliency.magnitude_saliency(weight),
        saliency.mean_activation(weight),
        saliency.average_percentage_of_zeros(weight),
        saliency.activation_entropy(weight, 3),
        saliency.taylor_saliency(weight, other),
        saliency.obd_saliency(weight, other),
        saliency.predicted_loss_increase({"w": weight}, {"w": weight > 0}),
        *saliency.backpropagate_curvature([weight], [other[:, :1].expand(3, 4)], [], [], weight[:, :3], other[:, :3]),
        saliency.obd_prune({"w": weight}, {"w": other}, 0.5)[0]["w"],
    ):
        assert result.dtype == dtype
    zeros = torch.zeros(1, 2, 300, 240, dtype=dtype)
    assert saliency.average_percentage_of_zeros(zeros).tolist() == [1.0, 1.0]
    assert saliency.mean_activation(zeros + 100).tolist() == [100.0, 100.0]
