"""What the checks of unit 02 say to mistakes that students made, and what its references do in half precision."""

import numpy as np
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

    broken = check(natural, exercise="2.5").failed
    assert "dtype float32, not float64" in broken.message
    assert "begins with torch.tensor(0.0) is float32" in broken.hint
    assert "is a float, not a tensor" in str(check(lambda s, m: float(natural(s, m)), exercise="2.5"))


def test_masks_of_all_tensors_are_refused_by_name():
    def masks_of_all(state, curvatures, keep_fraction):
        pruned, masks = saliency.obd_prune(state, curvatures, keep_fraction)
        return pruned, {name: masks.get(name, torch.ones_like(value).bool()) for name, value in state.items()}

    assert "the dict of masks has ['first.bias', 'norm.steps', 'second.bias'] too many" in str(
        check(masks_of_all, exercise="2.7")
    )


def test_an_infinity_times_a_mask_is_told_where_it_is_deleted():
    def product(state, curvatures, keep_fraction):
        _, masks = saliency.obd_prune(state, curvatures, keep_fraction)
        return {n: v * masks[n] if n in masks else v.clone() for n, v in state.items()}, masks

    broken = check(product, exercise="2.7").failed
    assert broken.name.startswith("a deleted weight is 0, even an infinite one") and "∞ · 0 is NaN" in broken.hint
    assert broken.message == "state['weight'], whose infinity is deleted, contains NaN (not a number)"


def test_curvatures_in_the_wrong_order_are_told_so():
    report = check(lambda *a: saliency.backpropagate_curvature(*a)[::-1], exercise="2.3")
    assert report.failed.message == "the list of curvatures begins with the last layer"
    assert str(report).count("the first layer's first") == 1


def test_a_count_divided_in_float32_hides_no_worse_fault():
    def entropy(activations, bins, of_means=True):
        responses = activations.reshape(*activations.shape[:2], -1)
        responses = responses.mean(2) if of_means else responses.transpose(1, 2).flatten(0, 1)
        result = []
        for x in responses.T:
            counts = torch.from_numpy(np.histogram(x.double().numpy(), bins)[0])
            p = counts[counts > 0] / counts.sum()
            result.append(-(p * p.log()).sum())
        return torch.stack(result).to(activations.dtype)

    broken = check(entropy, exercise="2.2c").failed
    assert broken.name == "in float64 it is right to ten digits" and "divided by a number is float32" in broken.hint
    broken = check(lambda a, bins: entropy(a, bins, of_means=False), exercise="2.2c").failed
    assert broken.name == "only the mean over space of each example counts"


def test_a_negative_activation_is_no_zero():
    broken = check(lambda a: (a <= 0).to(a.dtype).transpose(0, 1).flatten(1).mean(1), exercise="2.2b").failed
    assert "not what is below 0" in broken.hint


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


@pytest.mark.parametrize(
    "wrong",
    [lambda w, h: w.abs() * h, lambda w, h: (h * w * w / 2).clamp(min=0), lambda w, h: h * w * w],
    ids=["not squared", "clamped", "no half"],
)
def test_what_goes_wrong_in_the_saliencys_formula_is_named(wrong):
    assert "no abs, no clamp. The weight is squared; ½ belongs to it." in str(check(wrong, exercise="2.4"))
