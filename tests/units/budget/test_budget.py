"""Unit 00: the reference against other people's counters, and the meter that later units report through."""

import itertools
import math

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from course_utils import budget, models
from course_utils.budget import widgets
from course_utils.checks.engine import run
from course_utils.units import load_unit

EXERCISES = load_unit("budget").exercises


class Tokens(nn.Module):
    """A linear layer over the tokens of a text, then one over their mean."""

    def __init__(self) -> None:
        super().__init__()
        self.each, self.all = nn.Linear(5, 7), nn.Linear(7, 2, bias=False)

    def forward(self, x):
        return self.all(self.each(x).mean(1))


def depthwise_separable() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, (3, 5), stride=2, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, groups=8, padding=1, bias=False),
        nn.Conv2d(8, 12, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(12, 10),
    )


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (models.lenet_300_100(), (1, 28, 28)),
        (models.lenet5(), (1, 28, 28)),
        (depthwise_separable(), (3, 17, 20)),
        (Tokens(), (6, 5)),
    ],
)
def test_report_of_a_model_agrees_with_torchs_counters(model, shape):
    report = budget.budget_report(budget.module_layers(model, shape))
    with FlopCounterMode(display=False) as counter, budget.evaluating(model):
        model(torch.zeros(1, *shape))
    assert 2 * report["macs"] == counter.get_total_flops()
    norms = [p for m in model.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters()]
    assert report["parameters"] == models.parameter_count(model) - sum(p.numel() for p in norms)
    assert report["bytes"] == 4 * report["parameters"]


@settings(max_examples=30)
@given(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5), *[st.integers(1, 6)] * 4)
def test_conv2d_macs_is_half_of_torchs_flops(groups, inputs, outputs, kh, kw, height, width):
    shape = (groups * inputs, groups * outputs)
    conv = nn.Conv2d(*shape, (kh, kw), groups=groups, device="meta")
    with FlopCounterMode(display=False) as counter:
        conv(torch.empty(1, shape[0], height + kh - 1, width + kw - 1, device="meta"))
    assert 2 * budget.conv2d_macs(*shape, (kh, kw), (height, width), groups) == counter.get_total_flops()


def test_bert_row_of_strubell_differs_from_the_printed_one_because_its_hours_are_rounded():
    kwh, lbs = budget.training_co2(12_041.51, 79)
    assert (round(kwh), round(lbs)) == (1503, 1434)
    kwh, lbs = zip(*(budget.training_co2(12_041.51, hours) for hours in (78.5, 79.5)), strict=True)
    assert kwh[0] < 1507 < kwh[1] and lbs[0] < 1438 < lbs[1]


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=40))
def test_latency_summary_lies_within_the_samples_and_is_ordered(samples):
    median, lower, upper = budget.latency_summary(samples)
    assert min(samples) <= lower <= median <= upper <= max(samples)
    assert median == pytest.approx(np.median(samples), rel=1e-12)


def test_the_docstring_names_the_prices_that_are_used():
    mac = 3.7 + 0.9
    assert {"mac": mac, "sram": 5, "dram": 640} == budget.PICOJOULES
    assert "mac 3.7 + 0.9, sram 5, dram 640" in " ".join(budget.budget_report.__doc__.split())


def test_a_wrong_energy_leaves_the_points_of_the_counts():
    def half(layers):
        return {**budget.budget_report(layers), "joules": 0.0}

    exercise = EXERCISES[-1]
    report = run(exercise, half)
    assert not report.passed and report.points == pytest.approx(0.6 * exercise.points)


# --- The meter --------------------------------------------------------------------------------------------------------


def test_module_layers_leaves_the_model_as_it_was():
    model = depthwise_separable().train()
    model[1].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    budget.module_layers(model, (3, 17, 20))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert model.training and not model[1].training
    assert not any(module._forward_hooks for module in model.modules())


def test_module_layers_leaves_no_hook_behind_when_the_model_fails():
    model = models.lenet5()
    with pytest.raises(RuntimeError):
        budget.module_layers(model, (3, 28, 28))
    assert not any(module._forward_hooks for module in model.modules())


def test_module_layers_refuses_what_it_cannot_count():
    with pytest.raises(ValueError, match="0 is a Embedding"):
        budget.module_layers(nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 2)), (4,), torch.int64)


def test_measure_latency_warms_up_and_fixes_the_threads():
    threads, seen = torch.get_num_threads(), []
    samples = budget.measure_latency(lambda: seen.append(torch.get_num_threads()), repeats=7, warmup=3, threads=2)
    assert len(samples) == 7 and len(seen) == 10 and set(seen) == {2}
    assert all(math.isfinite(sample) and sample >= 0 for sample in samples)
    assert torch.get_num_threads() == threads


def test_measure_latency_restores_the_threads_after_an_error():
    threads = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError):
        budget.measure_latency(lambda: 1 / 0, threads=threads + 1)
    assert torch.get_num_threads() == threads


def counter(folder, name, value, full=1000):
    package = folder / name
    package.mkdir(exist_ok=True)
    (package / "energy_uj").write_text(f"{value}\n")
    (package / "max_energy_range_uj").write_text(f"{full}\n")


def test_measure_joules_adds_the_packages_and_sees_a_counter_start_again(tmp_path):
    values = {"intel-rapl:0": 900, "intel-rapl:1": 100, "intel-rapl:0:0": 5}

    def work():
        values["intel-rapl:0"] = (values["intel-rapl:0"] + 60) % 1000  # over the range at the second call
        values["intel-rapl:1"] += 30
        for name, value in values.items():
            counter(tmp_path, name, value)

    for name, value in values.items():
        counter(tmp_path, name, value)
    assert budget.measure_joules(work, repeats=4, powercap=tmp_path) == pytest.approx(90e-6)


def test_measure_joules_is_none_where_there_are_no_counters(tmp_path):
    assert budget.measure_joules(lambda: None, repeats=1, powercap=tmp_path) is None
    (tmp_path / "intel-rapl:0").mkdir()
    assert budget.measure_joules(lambda: None, repeats=1, powercap=tmp_path) is None


def test_one_kwh_has_less_than_half_a_kilogram():
    assert budget.kilograms_co2(3.6e6) == pytest.approx(0.954 * 0.45359237)
    assert budget.kilograms_co2(7.2e6, pue=1.5) == pytest.approx(3 * budget.kilograms_co2(3.6e6))


def test_budget_of_reports_everything():
    model = models.lenet_300_100()
    report = budget.budget_of(model, torch.zeros(2, 1, 28, 28), repeats=3)
    assert (report["parameters"], report["macs"], report["bytes"]) == (266_610, 266_200, 1_066_440)
    low, high = report["ms_quartiles"]
    assert 0 < low <= report["ms"] <= high
    assert report["kg_co2"] == pytest.approx(budget.kilograms_co2(report["joules"]))
    assert report["joules_measured"] is None or report["joules_measured"] >= 0
    assert model.training


def other_value(control):
    """A value that a control can take and does not have."""
    options = getattr(control, "options", None) or (control.min, control.max)
    return next(option for option in options if option != control.value)


def test_energy_meter_starts_at_its_default_and_follows_its_sliders():
    plt.close("all")  # what other tests left open
    *controls, image = widgets.energy_meter().children
    start = bytes(image.value)
    assert start.startswith(b"\x89PNG")
    for control in controls:
        value, control.value = control.value, other_value(control)
        assert bytes(image.value) != start, control.description
        control.value = value
        assert bytes(image.value) == start
    assert not plt.get_fignums()


def test_six_networks_are_ranked_differently_by_each_count():
    reports = [budget.budget_report(budget.module_layers(m, (1, 28, 28))) for m in budget.six_networks().values()]
    orders = [sorted(range(6), key=lambda i: reports[i][key]) for key in ("macs", "bytes", "joules")]
    assert all(a != b for a, b in itertools.combinations(orders, 2))
