"""What the checks of unit 05 say to mistakes that students made, and what its references do at the edges."""

import numpy as np
import pytest
import torch

from course_utils import binary
from course_utils.checks import check
from course_utils.units import solution_source


def broken_law(report, name=""):
    return next(law for law in report.laws if name in law.name and not law.passed)


def test_sign_of_0_meets_a_hint_on_0():
    for law in check(torch.sign, exercise="5.1").laws:
        assert law.passed or ("0" in law.hint and "lists" not in law.hint)


def test_float32_where_float64_is_due_is_told():
    def in_float32(gamma, beta, mean, var, eps):
        single = (part.float() for part in (gamma, beta, mean, var))
        threshold, direction = binary.fold_batchnorm_sign(*single, eps)
        return threshold.float(), direction

    broken = broken_law(check(in_float32, exercise="5.5"))
    assert broken.expected == "a float64 tensor of shape [2]"

    def rounded_rate(real, gradient, lr):
        return binary.binary_sgd_step(real, gradient, float(np.float32(lr)))

    broken = broken_law(check(rounded_rate, exercise="5.3"))
    assert "equal to about 7 digits" in broken.message and "in its own dtype" in broken.hint


def test_directions_are_integers():
    def floats(*arguments):
        threshold, direction = binary.fold_batchnorm_sign(*arguments)
        return threshold, direction.double()

    assert "direction has dtype float64, not int64" in str(check(floats, exercise="5.5"))


def test_a_row_that_lost_its_axis_is_told_by_its_shape():
    message = broken_law(check(lambda signs: binary.pack_bits(signs)[0], exercise="5.4a"), "one +1 at place").message
    assert message.endswith("has shape [1], not [1, 1]") and "uint64, not" not in message


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_references_keep_half_precision(dtype):
    real, gradient = torch.tensor([1.5, -1.0, 0.25], dtype=dtype), torch.tensor([torch.inf, 2.0, 3.0])
    assert torch.equal(binary.binarize(real), torch.tensor([1, -1, 1], dtype=dtype))
    assert torch.equal(binary.straight_through(gradient, real), torch.tensor([0.0, 2.0, 3.0]))
    assert binary.binary_sgd_step(real, gradient.to(dtype), 0.5).dtype == dtype
    assert binary.scaled_binary(torch.ones(2, 70_000, dtype=dtype))[1].tolist() == [1, 1]


def test_references_hold_without_rows_columns_and_words():
    assert binary.pack_bits(np.ones((0, 3))).shape == (0, 1) and binary.pack_bits(np.ones((2, 0))).shape == (2, 0)
    nothing = np.zeros((2, 0), np.uint64)
    assert binary.xnor_popcount_matmul(nothing, nothing, 0).tolist() == [[0, 0], [0, 0]]


def test_the_race_of_the_lab_has_as_many_threads_on_both_sides():
    text = solution_source("binary").read_text(encoding="utf-8")
    assert "torch.set_num_threads(1)" in text
    race = text[text.index("import numba") : text.index("figures.kernels_table")]
    assert "numba.set_num_threads(1)" in race


def test_a_missing_helper_is_named_once():
    def pack_bits(signs):
        raise NotImplementedError("Exercise 5.4a pack_bits")

    def forward(words, layers):
        return binary.binary_forward(words, layers) if len(layers) == 1 else pack_bits(words)

    report = str(check(forward, exercise="5.7"))
    assert report.count("needs Exercise 5.4a pack_bits, which is not implemented yet") == 1
    assert "NotImplementedError" not in report
