"""The experiments on mixtures of experts, in small."""

import json
from dataclasses import asdict

import pytest
import torch
from torch import nn

from course_utils.moe import reproduce as moe
from course_utils.moe import reproduce_balance as balance
from course_utils.moe import reproduce_drift as drift
from course_utils.moe import reproduce_leak as leak
from course_utils.moe import reproduce_learning_curves as curves

TINY = moe.Settings(width=16, hidden=16, experts=4, steps=2, count=1, length=64, characters=12_000, measured=4)


pytestmark = pytest.mark.usefixtures("own_cache")


def test_tiny_run_stores_every_network(tmp_path):
    results = moe.run(1, tmp_path, TINY)
    assert json.loads((tmp_path / "moe.json").read_text()) == json.loads(json.dumps(results))
    runs = results["runs"]
    assert set(runs) == {*moe.networks(TINY), moe.MULTIMODAL} and all(len(rows) == 1 for rows in runs.values())
    # equal work, and equal parameters, but for the routers
    dense, wide, switch, noisy = (runs[n][0] for n in ("dense", "dense, wide", "switch", moe.IN_SITU))
    assert dense["ffn_macs"] < switch["ffn_macs"] < 1.2 * dense["ffn_macs"]
    assert wide["parameters"] < switch["parameters"] < noisy["parameters"] < 1.2 * wide["parameters"]
    assert set(results["in_situ"]) == {f"k={k}" for k in moe.KS}
    assert results["in_situ"]["k=2"][0]["perplexity"] == noisy["perplexity"]  # it was trained with k = 2
    assert runs["expert choice"][0]["max_over_mean"] == pytest.approx(1, abs=0.1)
    assert len(runs[moe.MULTIMODAL][0]["load"][0]) == 4
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def test_a_run_that_was_stopped_goes_on(tmp_path, monkeypatch):
    real, calls = moe.train_and_measure, []

    def stopped(*arguments):
        calls.append(arguments[2])
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(moe, "train_and_measure", stopped)
    with pytest.raises(KeyboardInterrupt):
        moe.run(1, tmp_path, TINY)
    partial = json.loads((tmp_path / "moe.json").read_text())
    assert len(partial["runs"]) == 2
    moe.run(1, tmp_path, TINY)
    jobs = len(moe.networks(TINY)) + 1
    assert calls[3] == calls[2] and len(calls) == jobs + 1  # only the one that was stopped ran twice


def test_learning_curves_of_equal_work(tmp_path):
    tiny = curves.Settings(**(asdict(TINY) | {"steps": 4}), every=2, glance=4)
    results = curves.run(1, tmp_path, tiny)
    assert json.loads((tmp_path / "learning_curves.json").read_text()) == json.loads(json.dumps(results))
    rows = {name: row for name, (row,) in results["runs"].items()}
    assert set(rows) == set(curves.NETWORKS)
    assert all([step for step, _ in row["curve"]] == [2, 4] for row in rows.values())
    # A token's work is the same but for the routers, and the wide layer's is that of all experts
    flops = {name: row["flops_a_step"] for name, row in rows.items()}
    assert flops["hash"] == flops["dense"] < flops["dense, wide"]
    assert rows["expert choice"]["causal"] > 0


def test_what_is_measured_on_the_way_changes_no_training():
    corpus = moe.build_corpus(12_000)

    def trained(after_step):
        moe.set_seed(0)
        model = moe.CharTransformer(moe.networks(TINY)["switch"], moe.VOCABULARY, 16)
        moe.train_language_model(
            model, corpus.train, steps=3, count=1, length=64, lr=1e-2, seed=0, after_step=lambda step: after_step(model)
        )
        return model.state_dict()

    seen = trained(lambda model: moe.measure(model, corpus.validation, count=4, length=64))
    plain = trained(lambda model: None)
    assert all(seen[name].equal(plain[name]) for name in plain)


def test_drift_in_small(tmp_path):
    tiny = drift.Settings(**(asdict(TINY) | {"steps": 4}), every=2, glance=4)
    results = drift.run(1, tmp_path, tiny)
    assert json.loads((tmp_path / "drift.json").read_text()) == json.loads(json.dumps(results))
    rows = {name: row for name, (row,) in results["runs"].items()}
    for row in rows.values():
        assert [each["step"] for each in row["curve"]] == [0, 2, 4]
        assert all(0 < each["first router"][i] < each["best"][i] < 1 for each in row["curve"] for i in range(2))
    for each in rows[drift.FROZEN]["curve"]:
        assert each["router"] == each["first router"]  # it has not moved
    start, *_, end = rows[drift.SWITCH]["curve"]
    assert start["router"] == start["first router"] and end["router"] != end["first router"]
    assert rows[drift.SWITCH]["curve"][0] == rows[drift.FROZEN]["curve"][0]  # the same first weights
    experts = rows[drift.FROZEN]["experts"]
    assert experts["trained"] == experts["untrained router"] != experts["untrained network"]
    assert sum(map(sum, experts["trained"][0]["load"])) == 4 * TINY.measured * TINY.length


def test_shares_of_the_variance():
    axes = torch.eye(4)
    states = torch.cat([axes, -axes]) * torch.tensor([3.0, 2.0, 1.0, 0.0])  # variances 9, 4, 1, 0
    assert drift.span_share(states + 5, 7 * axes[:, 1:3] + 0.0) == pytest.approx(5 / 14)
    assert drift.largest_share(states + 5, 2) == pytest.approx(13 / 14)
    assert drift.largest_share(states, 4) == pytest.approx(1)


def test_clusters_are_tight_where_their_means_lie_far_apart():
    noise = torch.randn(300, 5, generator=torch.Generator().manual_seed(0))
    experts = torch.arange(300) % 3
    means = torch.eye(5)[:3]
    near, far = (drift.clustering(distance * means[experts] + noise, experts) for distance in (3, 30))
    assert far == pytest.approx(near / 100, rel=0.1)
    # Two groups on a line: within 1, between 16
    line = torch.tensor([[-5.0], [-3.0], [3.0], [5.0]])
    assert drift.clustering(line, torch.tensor([0, 0, 1, 1])) == pytest.approx(1 / 16)


def test_what_explains_an_expert():
    letter = torch.arange(64) % 4
    language = torch.arange(64) // 32
    assert drift.explained(letter % 2, letter) == pytest.approx(1)
    assert drift.explained(letter % 2, language) == pytest.approx(0, abs=1e-9)
    parity = (letter + language) % 2  # neither alone says anything
    assert drift.explained(parity, language) == pytest.approx(0, abs=1e-9)
    assert drift.explained(parity, letter, language) == pytest.approx(1)


def test_leak_in_small(tmp_path):
    tiny = leak.Settings(**asdict(TINY), places=(8, 40))
    results = leak.run(1, tmp_path, tiny)
    assert json.loads((tmp_path / "leak.json").read_text()) == json.loads(json.dumps(results))
    (choice,), (running,) = results["runs"][leak.CHOICE], results["runs"][leak.RUNNING]
    assert choice["rules"][leak.CHOICE]["own future"] != choice["rules"][leak.CHOICE]["another future"]
    for row in (choice["rules"][leak.RUNNING], choice["rules"]["each token's best expert"], *running["rules"].values()):
        assert row["own future"] == row["another future"]  # rules that do not look ahead
    assert choice["rules"]["each token's best expert"]["experts a token"] == 1
    assert running["rules"][leak.RUNNING]["experts a token"] == pytest.approx(1, abs=0.15)


def test_a_running_choice_takes_the_best_so_far():
    # One text of six tokens, two experts: the scores of the first expert fall, those of the second rise
    router = leak.RunningChoice(nn.Parameter(torch.tensor([[1.0, -1.0]])), 6)
    hidden = torch.tensor([3.0, 2.0, 1.0, 0.0, -1.0, -2.0]).unsqueeze(1)
    routing = router(hidden, torch.zeros(6, dtype=torch.int64))
    taken = {expert: routing.tokens[routing.experts == expert].tolist() for expert in (0, 1)}
    # Slots, half of the tokens so far rounded to even: 0, 1, 2, 2, 2, 3. Each token is the second expert's best so far,
    # and the first expert's worst
    assert taken == {0: [], 1: [1, 2, 3, 4, 5]}


def test_balance_in_small(tmp_path):
    tiny = balance.Settings(**asdict(TINY), weights=(0.0, 1.0), factors=(None, 1.0), batches=2)
    results = balance.run(1, tmp_path, tiny)
    assert json.loads((tmp_path / "balance.json").read_text()) == json.loads(json.dumps(results))
    rows = {(run["weight"], run["factor"]): run["rows"][0] for run in results["runs"]}
    assert len(rows) == 4 and all(row["max_over_mean_in_training"] > 1 for row in rows.values())
    assert rows[0.0, None]["dropped"] == 0 < rows[0.0, 1.0]["dropped"]


def test_the_variation_of_a_load():
    assert balance.coefficient_of_variation(torch.tensor([1.0, 3.0])) == 0.5
    # One expert of sixteen has everything: CV² = 16 − 1, the importance loss of that load
    assert balance.coefficient_of_variation(torch.eye(16)[0]) == pytest.approx(15**0.5)
