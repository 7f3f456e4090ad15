"""The experiment of unit 13 in small, and what it is made of."""

import json

import pytest

from course_utils.theory import reproduce as experiment

pytestmark = pytest.mark.usefixtures("own_cache")

TINY = experiment.Settings(
    units=(1, 3), sum_sizes=(1, 3), targets=20, lenet_epochs=1, widths=(5, 6), popup_images=60, popup_epochs=1,
    kernel_widths=(8,), kernel_densities=(1.0, 0.5), kernel_images=3, networks=1, descent_images=4, looks=(0, 2),
    scales=(0.1,), sparse_problem=(4, 6, 1), sparse_steps=5, noisy_images=40, noisy_validation=20, noisy_epochs=2,
    noisy_densities=(1.0, 0.5), noisy_random=(0.5,), noisy_hidden=(3,), ranked_densities=(0.05,), ranked_images=50,
    ranked_epochs=1, probes=2, other_sizes=(784, 6, 6, 6, 10),
)  # fmt: skip


def test_a_tiny_run_answers_all_four_questions(few_digits, tmp_path, monkeypatch):
    monkeypatch.setattr(experiment, "FINER", (4,))
    results = experiment.run(1, tmp_path, few_digits, TINY)
    assert json.loads((tmp_path / "theory.json").read_text()) == json.loads(json.dumps(results))
    assert results["seeds"] == {"asked": 1, "has": 1}
    (approximation,), (optimization,), (generalization,) = (
        results[name] for name in ("approximation", "optimization", "generalization")
    )
    assert approximation["sums"]["3"]["subset"][1] <= approximation["sums"]["3"]["single"][1]
    assert approximation["rebuilt"]["units"].keys() == {"1", "3", "4"}
    assert approximation["rebuilt"]["units"]["3"].keys() == {"seconds", "masks", "random masks", "rounded"}
    assert {row["method"] for row in approximation["popup"]} == {"trained", "signed", "by size", "random"}
    assert optimization["kernels"]["8"]["0.5"]["rescaled"]["from kernel"][0] == pytest.approx(0, abs=1e-6)
    assert optimization["bias"]["least L1"]["l1"] <= optimization["bias"]["least L2"]["l1"] + 1e-9
    dense, half = generalization["tickets"]["1"], generalization["tickets"]["0.5"]
    assert dense["kept"] == 2 * half["kept"] == 266_200
    assert len(results["topology"]["confirmed"]["0.05"]) == 8
