"""What the tables of lecture 05 decide by themselves."""

import itertools

import pytest
import torch

from course_utils.binary import BinaryMLP, figures, reproduce_bits


@pytest.mark.parametrize(
    ("ours", "said"),
    [
        ([1.2, 1.3, 1.4], "reached by other means"),
        ([1.2, 1.3, 1.5], "reached by other means with some seeds"),
        ([1.45, 1.6, 1.5], "not reached"),
        ([1.2, 1.3], "too few seeds to tell"),
    ],
)
def test_a_published_error_is_reached_by_every_seed_or_by_some_or_not(ours, said):
    assert figures.verdict(ours, 1.4) == said


def test_a_network_that_has_not_been_run_stays_in_the_table():
    run = {"validation_errors": 5, "test_errors": 20, "bytes": 1000}
    results = {"data": {"validation": 500, "test": 1000}, "runs": {"binary": [run, run, run], "float32": []}}
    table = figures.results_table(results)
    assert table.rows == [
        ["binary", 3, "1.00 (1.00–1.00)", "2.00 (2.00–2.00)", "1,000"],
        ["float32", 0, "—", "—", "—"],
    ]
    assert "float32 0" in str(table)


def test_what_a_bit_costs_is_said_only_where_every_seed_says_it(few_digits, tmp_path, own_cache):
    settings = reproduce_bits.Settings(hidden=12, widths=(8,), epochs=1, rates=(1e-3, 1e-2))
    results = reproduce_bits.run(2, tmp_path, few_digits, settings)
    assert results["seeds"] == {"asked": 2, "has": 2} and len(results["conditions"]) == 20
    for each in results["conditions"].values():
        assert each["rate"] in settings.rates and len(each["runs"]) == 2
    figures.cost_of_bits(results)
    for worse, said in ((1, "costs errors"), (-1, "saves errors"), (0, "no sign that all share")):
        for each in results["conditions"].values():
            signs = each["weights"] == "signs"
            each["runs"] = [{"test_errors": 50 + worse * signs}, {"test_errors": 50 + abs(worse) * signs * worse}]
        rows = {row[0]: row for row in figures.bits_verdicts(results).rows}
        assert rows["weights"] == ["weights", f"{worse:+d} ({worse:+d} to {worse:+d})", said]


def test_pairs_that_differ_in_one_place_are_counted_on_both_parts():
    def condition(*kinds: str) -> dict:
        weights, pixels, activations = kinds
        # With every seed: signs as weights cost 3 test errors, α 1 more; on the validation digits one seed says no
        worse = {"real": 0, "signs": 3, "scaled signs": 4}[weights]
        runs = [{"test_errors": 9 + worse, "validation_errors": 5 + worse * seed} for seed in (0, 1)]
        return dict(hidden=16, weights=weights, pixels=pixels, activations=activations, runs=runs)

    kinds = itertools.product(("real", "signs", "scaled signs"), ("gray", "signs"), ("ReLU", "hardtanh", "signs"))
    results = {"settings": {"hidden": 16}, "conditions": {str(kind): condition(*kind) for kind in kinds}}
    lines = {line[:50].strip(): line[50:].split() for line in figures.bits_pairs(results).splitlines()}
    assert lines["one-bit weights, bounded activations"] == ["8", "of", "8", "(+3", "to", "+4)", "0", "of", "8"]
    assert lines["a scale α, where all is signs"] == ["1", "of", "1", "(+1", "to", "+1)", "0", "of", "1"]
    assert lines["one-bit pixels"] == ["0", "of", "9", "0", "of", "9"]


def test_the_price_at_each_width_is_taken_seed_by_seed():
    def condition(hidden: int, kind: str, *errors: int) -> dict:
        pixels, activations = ("gray", "hardtanh") if kind == "real" else ("signs", "signs")
        runs = [{"test_errors": wrong} for wrong in errors]
        return dict(hidden=hidden, weights=kind, pixels=pixels, activations=activations, runs=runs)

    conditions = [condition(8, "real", 5, 7), condition(8, "signs", 9, 10)]
    conditions += [condition(16, "real", 3, 3), condition(16, "signs", 3, 5)]
    results = {"settings": {"hidden": 16, "widths": [8]}, "conditions": dict(enumerate(conditions))}
    _, *rows = (line.split(maxsplit=1) for line in figures.bits_by_width(results).splitlines())
    assert [width for width, _ in rows] == ["8", "16"]
    assert [line.split("  ")[-1].strip() for _, line in rows] == ["4 (3–4)", "1 (0–2)"]


def test_networks_differ_in_one_place_only():
    images = torch.rand(5, 1, 28, 28)
    torch.manual_seed(0)
    all_signs = reproduce_bits.PartlyBinary(16, "signs", "signs", "signs")
    torch.manual_seed(0)
    whole = BinaryMLP(784, 16, 16, 10)
    for weight, linear in zip(all_signs.linears, whole.linears, strict=True):
        linear.weight.data = weight.data.clone()
    torch.testing.assert_close(all_signs(images), whole(images))
    torch.manual_seed(0)
    scaled = reproduce_bits.PartlyBinary(16, "scaled signs", "signs", "signs")
    for norm in (*all_signs.norms, *scaled.norms):
        torch.nn.init.constant_(norm.bias, 0.123)  # no unit stands exactly at its threshold
    # A normalization absorbs the scale: only the last layer, which has none, differs
    last = scaled.linears[-1].abs().mean(dim=1)
    torch.testing.assert_close(scaled(images), all_signs(images) * last, rtol=1e-3, atol=1e-4)
