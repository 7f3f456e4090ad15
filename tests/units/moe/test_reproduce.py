"""The experiments on mixtures of experts, in small."""

import json
from dataclasses import asdict

import pytest

from course_utils.moe import reproduce as moe
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
