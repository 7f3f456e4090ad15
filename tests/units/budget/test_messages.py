"""What the checks of unit 00 say to mistakes that students made."""

import torch

from course_utils import budget
from course_utils.checks import check


def first_broken(report):
    return next(law for law in report.laws if not law.passed)


def test_swapped_results_are_named_and_the_hint_says_the_order():
    broken = first_broken(check(lambda *args, **kwargs: budget.training_co2(*args, **kwargs)[::-1], exercise="0.4"))
    assert "the first result, the kWh" in broken.message and "(kWh, lbs), in this order" in broken.hint


def test_a_wrong_count_is_named_by_its_key():
    report = check(lambda layers: budget.budget_report(layers) | {"macs": 1}, exercise="0.6")
    assert "the result['macs'] is wrong" in str(report) and "[parameters, macs, bytes]" not in str(report)


def test_references_hold_without_layers_tensors_and_prices():
    assert budget.budget_report([]) == {"parameters": 0, "macs": 0, "bytes": 0, "joules": 0}
    assert budget.model_bytes({}) == budget.model_bytes({"w": torch.ones(3)}, 0) == 0
    assert budget.inference_energy(1, 2, 3, dict.fromkeys(("mac", "sram", "dram"), 0)) == 0
