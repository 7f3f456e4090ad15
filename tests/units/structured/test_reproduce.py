"""The experiment of unit 04 in small, and what it trains and times with."""

import json
import os

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from course_utils.data import Split
from course_utils.models import lenet5
from course_utils.structured import filter_norms, lenet, reproduce_layer_times, timing
from course_utils.structured import reproduce as experiment
from course_utils.structured.lenet import (
    BATCH,
    lenet_of,
    narrow_lenet,
    train_group_lasso,
    train_in_parts,
    train_random_cuts,
    widths,
)

pytestmark = pytest.mark.usefixtures("own_cache")

TINY = experiment.Settings(
    narrow=((4, 9),), strengths=(2.0, 8.0), parts=2, images=BATCH, epochs=1, path=(0.05,),
    compared=3.0, batches=(1, 2), rounds=(2, 2), zeros_rounds=(2, 2), threads=(1,), kept=(0.1, 0.05, 0.04, 0.02),
)  # fmt: skip


def test_a_tiny_run_stores_networks_path_and_times(few_digits, tmp_path):
    results = experiment.run(1, tmp_path, few_digits, TINY)
    assert json.loads((tmp_path / "structured.json").read_text()) == json.loads(json.dumps(results))
    assert results["seeds"] == {"asked": 1, "has": 1}
    (run,), (path,), (times,) = results["runs"], results["path"], results["times"]
    assert run["dense"]["filters"] == [20, 50] and run["scratch"]["4—9"]["filters"] == [4, 9]
    found = run["lasso"]["4—9"]
    assert found["filters"] == found["parts"][-1]["filters"] != [20, 50] and min(found["filters"]) >= 4
    drawn = run["random"]["4—9"]
    assert drawn["filters"] == found["filters"]
    assert [part["filters"] for part in drawn["parts"]] == [part["filters"] for part in found["parts"]]
    assert run["subgradient"]["dead"] == 0 < run["proximal"]["dead"]
    assert len(path["kernels"]) == path["filters"][0] and len(path["norms"]) == path["filters"][1]
    assert times["layers"]["1"].keys() == {"conv1", "conv2", "network"}
    assert all(len(quartiles) == 3 for quartiles in times["layers"]["1"]["conv2"]["2"].values())
    assert results["macs"]["20—50"] == {
        "conv1": 288_000, "conv2": 1_600_000, "fc1": 400_000, "fc2": 5_000, "network": 2_293_000
    }  # fmt: skip


def some_digits(count: int) -> Split:
    generator = torch.Generator().manual_seed(0)
    return Split(torch.rand(count, 1, 28, 28, generator=generator), torch.arange(count) % 10)


def test_the_lasso_stops_at_the_filters_that_are_asked_for():
    """λ is so large that all would die at once."""
    state, parts = train_group_lasso(
        lenet5().state_dict(), some_digits(300), (5.0, 5.0), (3, 7), parts=3, images=2 * BATCH, seed=1
    )
    assert widths(state) == [3, 7] == parts[-1]["filters"]
    assert state["5.weight"].shape == (500, 16 * 7) and state["2.weight"].shape[1] == 3
    images = some_digits(4).images
    assert lenet_of(state)(images).shape == (4, 10)


def test_without_strength_nothing_dies():
    state, _ = train_group_lasso(lenet5().state_dict(), some_digits(BATCH), (0.0, 0.0), parts=1, images=BATCH)
    assert widths(state) == [20, 50] and (filter_norms(state["2.weight"]) > 0).all()


def test_a_part_that_would_end_with_a_small_batch_is_refused():
    with pytest.raises(ValueError, match=f"multiple of {BATCH}"):
        train_in_parts(lenet5().state_dict(), some_digits(1), lambda model: None, parts=1, images=BATCH + 8)


def test_drawn_filters_fade_within_a_part_and_the_seed_says_which(monkeypatch):
    lengths = []

    def train(model, split, after_step, **kwargs):
        for _ in range(len(split) // BATCH):
            after_step(model)
            lengths.append(filter_norms(model[0].weight.detach()))

    monkeypatch.setattr(lenet, "train", train)
    first, kept = lenet5().state_dict(), []
    before = filter_norms(first["0.weight"])
    for seed in (0, 1):
        lengths.clear()
        state, parts = train_random_cuts(first, some_digits(4 * BATCH), [(6, 9), (5, 9)], images=4 * BATCH, seed=seed)
        assert widths(state) == [5, 9] == parts[1]["filters"] and parts[0]["filters"] == [6, 9]
        stay = lengths[3] > 0
        assert int(stay.sum()) == 6 and torch.equal(lengths[2][stay], before[stay])
        left = torch.stack(lengths[:3])[:, ~stay] / before[~stay]
        torch.testing.assert_close(left, torch.tensor([[0.75], [0.5], [0.25]]).expand(3, 14))
        kept.append(stay)
    assert not torch.equal(*kept)


def test_a_narrow_lenet_is_one_and_first_weights_come_from_the_seed():
    a, b, other = narrow_lenet((3, 9), 1), narrow_lenet((3, 9), 1), narrow_lenet((3, 9), 2)
    assert torch.equal(a[2].weight, b[2].weight) and not torch.equal(a[2].weight, other[2].weight)
    assert [layer.weight.shape[0] for layer in a if isinstance(layer, nn.Conv2d)] == [3, 9]


@pytest.mark.parametrize("layer", ["conv1", "conv2", "network"])
def test_both_memory_formats_compute_the_same(layer):
    contiguous, last = (call() for call in timing.layer_calls(layer, (3, 5), 2).values())
    assert torch.allclose(contiguous, last, rtol=1e-4, atol=1e-5) and len(contiguous) == 2


def test_lowered_patches_are_those_of_unfold():
    images = some_digits(3).images
    assert torch.equal(timing.lower(images), F.unfold(images, 5).transpose(0, 1).reshape(25, -1))
    assert timing.lower(images).is_contiguous()


@torch.inference_mode()
def test_all_ways_with_the_same_zeros_compute_the_same():
    calls = timing.zeros_calls(0.2, rows=22, columns=224, batch=2)
    out = {name: call() for name, call in calls.items()}
    as_columns = {n: v.transpose(0, 1).reshape(50, -1) if v.dim() == 4 else v for n, v in out.items()}
    for like, ways in {
        "convolution, dense, contiguous": (
            "convolution, dense, channels last",
            "lowered, dense",
            "product alone, dense",
        ),
        "convolution, scattered zeros, contiguous": (
            "convolution, scattered zeros, channels last",
            *(f"{start}, {name}" for start in ("lowered", "product alone") for name in ("CSR", "COO")),
        ),
        "lowered, rows and columns": ("product alone, rows and columns",),
    }.items():
        for way in ways:
            assert torch.allclose(as_columns[way], as_columns[like], rtol=1e-4, atol=1e-5), way
    regular, pushed = out["lowered, rows and columns"], out["product alone, pushed together before"]
    assert torch.allclose(regular[regular.any(dim=1)], pushed, atol=1e-5) and pushed.shape == (22, 128)


def test_calls_are_timed_in_turn():
    order = []
    calls = {"a": lambda: order.append("a"), "b": lambda: order.append("b")}
    times = timing.alternate(calls, rounds=2, warmup=1)
    assert order == ["a", "b"] * 3
    assert all(lower <= median <= upper for median, lower, upper in times.values())
    assert timing.best({"a x": [2.0], "a y": [1.0], "b": [0.5]}, "a") == [1.0]


def test_the_clock_alone_reads_in_processes_of_its_own(tmp_path, monkeypatch):
    results = reproduce_layer_times.run(1, tmp_path, None, TINY)
    assert json.loads((tmp_path / "layer_times.json").read_text()) == json.loads(json.dumps(results))
    (times,) = results["times"]
    assert times["layers"]["1"].keys() == {"conv1", "conv2", "network"}
    monkeypatch.setattr(reproduce_layer_times, "time_layers", process_of)
    assert reproduce_layer_times.apart(None, TINY, 0, 1)["process"] != os.getpid()


def process_of(*arguments: object) -> dict[str, int]:
    return {"process": os.getpid()}
