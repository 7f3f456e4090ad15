"""The experiment of unit 08 in small, and the networks that it races."""

import json

import pytest
import torch

from course_utils import regroup
from course_utils.models import mlp_forward
from course_utils.regroup import grouping, packing, tickets
from course_utils.regroup import reproduce as experiment
from course_utils.regroup import reproduce_regroup_rounds as every_round
from course_utils.regroup import reproduce_twins as twins

pytestmark = pytest.mark.usefixtures("own_cache")

TINY = experiment.Settings(
    train=100, epochs=1, longer=2, batch_size=50, rate=0.5, rounds=2, rows_per_group=8, b2=4,
    areas=(0.3,), batches=(1, 2), repeats=(2, 2),
)  # fmt: skip


def test_a_tiny_run_stores_rounds_blocks_controls_and_times(few_digits, tmp_path, monkeypatch):
    pytest.importorskip("mtkahypar")
    monkeypatch.setattr(experiment, "WIDTHS", ((48, 40),))
    results = experiment.run(1, tmp_path, few_digits, TINY)
    assert json.loads((tmp_path / "regroup.json").read_text()) == json.loads(json.dumps(results))
    (network,) = results["networks"]
    (run,) = network["runs"]
    total = network["weights"]
    assert [each["weights"] for each in run["rounds"]] == [total, total // 2, total // 4]
    conditions = run["conditions"]
    regrouped = conditions["regrouped/0.3"]
    assert 0 < regrouped["weights"] <= 0.3 * total
    assert conditions["regrouped, reinitialized/0.3"]["weights"] == regrouped["weights"]
    # Whole units: as many weights as the blocks have, up to a unit of each layer
    for what in ("refilled", "refilled by count", "small dense"):
        assert abs(conditions[f"{what}/0.3"]["weights"] - regrouped["weights"]) < 900, what
    assert len(conditions["small dense, longer/0.3"]["validation_by_epoch"]) == 2
    assert run["times"]["same_logits"]
    assert {"dense", "CSR/2", "SciPy's CSR/1", "regrouped/0.3", "small dense/0.3"} <= set(
        run["times"]["milliseconds"]["2"]
    )
    for layer in run["blocks"]["regrouped/0.3"]["layers"]:
        assert layer["area"] <= 0.3 and 0 <= layer["covers"] <= 1
    rows = sorted(row for group in results["drawn"]["partitioned"] for row in group)
    assert rows == sorted(row for group in results["drawn"]["random"] for row in group)


def test_twins_are_trained_as_long_as_each_other_and_as_many_weights_as_they_should(few_digits, tmp_path):
    pytest.importorskip("mtkahypar")
    results = twins.run(1, tmp_path, few_digits, twins.Settings(TINY, width=(48, 40), area=0.3, scattered=1))
    (run,) = results["runs"]
    assert [len(each["validation_by_epoch"]) for each in run["rounds"]] == [1, 1, 1]
    assert {len(run[what]["validation_by_epoch"]) for what in twins.TWINS} == {results["epochs"]} == {2}
    total = run["rounds"][0]["weights"]
    assert run[twins.DENSE]["weights"] == total and run[twins.SCATTERED]["weights"] == total // 2
    regrouped = run[experiment.PARTITIONED]["weights"]
    assert 0 < regrouped <= 0.3 * total and abs(run[experiment.SMALL]["weights"] - regrouped) < 900


def test_every_round_prunes_the_blocks_of_the_one_before_and_small_networks_are_raced_in_the_same_run(
    few_digits, tmp_path
):
    pytest.importorskip("mtkahypar")
    settings = every_round.Settings(
        TINY, width=(48, 40), winning=1, areas=(0.3, 0.5), every=(0.3,), parts=(0.2,), repeats=(2, 2)
    )
    (run,) = every_round.run(1, tmp_path, few_digits, settings)["runs"]
    first, last = run["every round/0.3/round 1"], run["every round/0.3"]
    total = run["round 0"]["weights"]
    assert first["pruned"] == total // 2 and last["pruned"] == first["weights"] - round(first["weights"] / 2)
    for found, area in ((first, 0.3**0.5), (last, 0.3), (run["winning ticket/0.5"], 0.5)):
        assert 0 < found["weights"] <= area * total
    assert {len(run[name]["validation_by_epoch"]) for name in run if name.endswith("/longer")} == {2}
    times = run["times"]
    assert times["same_logits"] and {"dense", "CSR", "every round/0.3", "small dense/0.2"} <= set(
        times["milliseconds"]["2"]
    )


@pytest.fixture
def blocks_and_state():
    """Two hidden layers with blocks of two passes, some of which share rows and weights; rows 17 … are in none."""
    torch.manual_seed(0)
    state = tickets.first_state(0, (30, 20))
    blocks = {
        "1.weight": [([0, 3, 5], [1, 2, 700]), ([2, 4, 17], [9, 12]), ([3, 4, 18], [2, 12, 13])],
        "3.weight": [([1, 2], [0, 3, 4, 29]), ([0, 1, 16], [3, 5])],
    }
    for name, found in blocks.items():
        state[name] *= packing.mask_of(found, state[name])
    return blocks, {name: value.clone() for name, value in state.items()}


def test_all_networks_compute_what_the_masked_one_does(blocks_and_state):
    blocks, state = blocks_and_state
    x = torch.rand(28 * 28, 7)
    wanted = mlp_forward(state, x.T).T
    networks = {
        "packed": ("rows", packing.packed_network(state, blocks)),
        "columns": ("columns", packing.columns_network(state, blocks)),
        "dense": ("rows", packing.dense_network(state)),
        "dense columns": ("columns", packing.dense_columns_network(state)),
        "csr": ("rows", packing.csr_network(state)),
        "scipy": ("numpy", packing.scipy_network(state)),
        "without empty units": ("rows", packing.dense_network(packing.without_empty_units(state))),
    }
    for name, call in packing.calls(x, networks).items():
        got = torch.as_tensor(call())
        got = got.T if got.shape != wanted.shape else got
        assert torch.allclose(got, wanted, atol=1e-5), name


def test_each_weight_is_packed_once_and_units_are_all_there(blocks_and_state):
    blocks, state = blocks_and_state
    weight = state["1.weight"]
    packed = packing.pack(weight, state["1.bias"], blocks["1.weight"])
    parts = [part for _, part, _ in packed.own] + [part for *_, part in packed.extra]
    assert sum(float(part.abs().sum()) for part in parts) == pytest.approx(float(weight.abs().sum()), rel=1e-5)
    assert packed.order.sort().values.tolist() == list(range(30))


def test_small_networks_have_as_many_weights_and_blocks_stay_within_their_area():
    for width in ((1024, 1024), (300, 100)):
        for weights in (20_000, 60_000):
            a, b = experiment.small_width(weights, width)
            assert abs(784 * a + a * b - weights) < 784 + a + b
    mask = torch.rand(64, 90, generator=torch.Generator().manual_seed(1)) < 0.1
    t2, by_pass, blocks = grouping.blocks_within(mask, 6, 0.3, 0, grouping.random_groups, b1=2, b2=2)
    assert float(packing.mask_of(blocks, mask).float().mean()) <= 0.3 and sum(by_pass) == len(blocks)
    _, _, larger = grouping.blocks_within(mask, 6, 1.0, 0, grouping.random_groups, b1=2, b2=2)
    assert (packing.mask_of(larger, mask) & mask).sum() > (packing.mask_of(blocks, mask) & mask).sum()
    wider = grouping.partitions_of(mask, 6, (2, t2 - 1, 2), 0, grouping.random_groups)
    assert float(regroup.regroup(mask, wider, 2, t2 - 1, 2)[1].float().mean()) > 0.3


def test_without_the_partitioner_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "mtkahypar", None)
    grouping._partitioner.cache_clear()
    with pytest.raises(ModuleNotFoundError, match="pip install mtkahypar"):
        grouping.partition([0, 1, 2], [[0, 1]], 2, 0)
    grouping._partitioner.cache_clear()
