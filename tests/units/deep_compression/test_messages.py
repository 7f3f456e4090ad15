"""What the checks of unit 03 say to mistakes that students made, and what its references do in half precision."""

import msgpack
import pytest
import torch

from course_utils import deep_compression as reference
from course_utils.checks import check
from course_utils.units import solution_source


def broken_law(report, name):
    return next(law for law in report.laws if name in law.name and not law.passed)


def test_what_is_expected_of_a_pruned_place_is_0():
    def mask_on_gradient(weight, gradient, velocity, mask, lr, momentum, weight_decay):
        velocity = momentum * velocity + torch.where(mask, gradient, 0) + weight_decay * weight
        return weight - lr * velocity, velocity

    broken = broken_law(check(mask_on_gradient, exercise="3.1"), "NaN and infinity")
    assert "0.0" in broken.expected and "0.0" not in broken.got


def test_two_calls_that_are_compared_are_both_shown():
    report = check(lambda n, f, w, i, c: n * (w + i) + 32 * c, exercise="3.7")
    broken = broken_law(report, "a filler costs")
    assert broken.input.count("compressed_bits(") == 2 and "by your own function" in broken.expected


def changed_entry(**changes):
    def compress(state, masks, weight_bits, index_bits):
        file = msgpack.unpackb(reference.compress(state, masks, weight_bits, index_bits), strict_map_key=False)
        for name in masks:
            file[name] |= {key: change(file[name][key]) for key, change in changes.items()}
        return msgpack.packb(file)

    return compress


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gaps": lambda gaps: "0101"}, "'gaps' of 'conv.weight' is a str, not a bytes"),
        ({"codebook": list}, "'codebook' of 'conv.weight' is a list, not a bytes"),
        ({"kept": float}, "'kept' of 'conv.weight' is a float, not an int"),
        (
            {"gap_code": lambda code: {word: symbol for symbol, word in code.items()}},
            "'gap_code' of 'conv.weight' is not a dict from symbols to strings of 0 and 1",
        ),
    ],
    ids=["gaps", "codebook", "kept", "gap_code"],
)
def test_the_law_on_the_files_form_names_the_key_of_a_wrong_type(changes, message):
    assert message in check(changed_entry(**changes), exercise="3.8a").laws[0].message


def test_one_missing_exercise_keeps_one_experiment_waiting():
    lines = solution_source("deep_compression").read_text(encoding="utf-8").splitlines()
    assert sum(line.startswith("%%needs") and "masked_sgd_step" in line.split() for line in lines) == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_references_keep_half_precision_and_count_beyond_it(dtype):
    weight = torch.ones(3000, dtype=dtype)
    step = reference.masked_sgd_step(weight, weight, weight, weight > 0, 0.1, 0.9, 0.1)
    assert [t.dtype for t in step] == [dtype, dtype]
    assert reference.linear_centroids(weight, 4).dtype == dtype
    places = torch.zeros(3000, dtype=torch.int64)
    assert reference.kmeans_1d(3 * weight, torch.tensor([2.0], dtype=dtype), 1)[0].item() == 3
    total = reference.centroid_gradient(weight, places, 1)
    assert total.dtype == dtype and total.item() == torch.tensor(3000.0, dtype=dtype).item()


def test_gaps_that_begin_at_zero_are_told_how_long_the_longest_is():
    def from_zero(mask, index_bits):
        gaps, fillers = reference.encode_relative_index(mask, index_bits)
        return gaps - 1, fillers

    assert "a gap of 0 does not exist" in str(check(from_zero, exercise="3.2a"))


def test_centroids_of_another_dtype_are_told_to_keep_it():
    wrong = check(lambda w, n: reference.linear_centroids(w, n).float(), exercise="3.3a")
    assert "hand the weights' dtype on" in str(wrong)


def test_centroids_that_move_one_by_one_meet_the_plain_law_first():
    def one_by_one(weights, centroids, steps):
        centroids = centroids.clone()
        for _ in range(steps):
            for i in range(len(centroids)):
                assigned = (weights[:, None] - centroids).abs().argmin(1)
                if (assigned == i).any():
                    centroids[i] = weights[assigned == i].mean()
        return centroids, (weights[:, None] - centroids).abs().argmin(1)

    failed = check(one_by_one, exercise="3.3b").failed
    assert failed.expected != failed.got and "100 weights" not in failed.input
