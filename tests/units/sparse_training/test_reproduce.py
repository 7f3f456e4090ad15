"""The experiment in small: whole results, exact counts, one choice on validation digits, files that are read back."""

import base64
import json
from dataclasses import replace

import numpy as np
import pytest

from course_utils.sparse_training import reproduce as experiment
from course_utils.sparse_training import tiny
from course_utils.sparse_training.film import unpacked

SMALL = experiment.Settings(epochs=2, longer=2, batch=20, every=4, periods=(2,), choose_every=2, moments=5)
CANDIDATE = tiny.Candidate((784, 12, 9, 10), (0.02, 0.3, 1.0), epochs=1, share_epochs=1)


@pytest.fixture
def small(monkeypatch, own_cache):
    candidates = tiny.with_bits(CANDIDATE, (3, 4, 4), (1, 2, 2), (2, 2, 2))
    monkeypatch.setattr(tiny, "CANDIDATES", {"RigL": candidates, "RigL+": candidates[:1]})
    monkeypatch.setattr(tiny, "LIMITS", {"RigL": (10**6, 1.4), "RigL+": (10, 1.65)})
    monkeypatch.setattr(tiny, "BATCH", 20)


def test_the_experiment_runs_through_and_its_counts_are_exact(small, few_digits, tmp_path):
    results = experiment.run(1, tmp_path, few_digits, SMALL)
    assert json.loads(json.dumps(results)) == json.loads((tmp_path / "sparse_training.json").read_text())
    assert results["seeds"] == {"asked": 1, "has": 1}
    (run,) = results["runs"]
    for name, row in run.items():
        if name == "seed":
            continue
        kept = {"dense": 266200, "half": 133600, "small": 13298}
        wanted = next((count for word, count in kept.items() if word in name.replace("small dense", "small")), 13310)
        assert sum(row["connections"]) == wanted, name
    rigl = run["RigL, ERK"]["flops"]
    for name in ("static, ERK", "SET, ERK", "small dense"):  # of the others there is but a step in so small a run
        assert run[f"{name}, FLOPs of RigL"]["flops"] == pytest.approx(rigl, rel=0.15), name
    for method in ("static", "SET", "RigL"):
        film = run[f"{method}, ERK"]["film"]
        pixels = unpacked(film)
        assert (pixels.sum((1, 2)) == run[f"{method}, ERK"]["connections"][0]).all() and len(pixels) == 5
        assert film["explored"] == sorted(film["explored"])
    assert run["SET, ERK"]["explored"] == pytest.approx(run["SET, ERK"]["expected"], abs=0.01)

    files = results["files"]
    table = files["choice"]["RigL"]["table"]
    best = min(table, key=lambda name: sum(table[name]["validation_errors"]))
    assert files["choice"]["RigL"]["chosen"] == best and len(table) == 3
    (run,) = files["runs"]
    content = base64.b64decode(run["RigL"]["file"])
    assert len(content) == run["RigL"]["bytes"] and run["RigL"]["identical"]
    assert sum(parameter.count_nonzero() for parameter in tiny.read_file(content).parameters()) > 100


def test_a_run_that_is_stopped_goes_on_where_it_was(small, few_digits, tmp_path, monkeypatch):
    calls, real = [], experiment.train

    def stops(digits, settings, *arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(digits, settings, *arguments)

    monkeypatch.setattr(experiment, "train", stops)
    monkeypatch.setattr(
        experiment, "recipes", lambda settings: {"a": experiment.Recipe("static"), "b": experiment.Recipe("SET")}
    )
    with pytest.raises(KeyboardInterrupt):
        experiment.run(2, tmp_path, few_digits, SMALL)
    experiment.run(2, tmp_path, few_digits, SMALL)
    assert len(calls) == 3 + 2 and len(set(calls)) == 4


def test_the_flops_that_are_counted_are_those_of_the_closed_form(few_digits):
    settings = replace(SMALL, epochs=20, every=10, periods=(), moments=2)
    for method in ("static", "SET", "RigL", "gradual"):
        recipe = experiment.Recipe(method, every=1 if method == "gradual" else 10)
        row = experiment.train(few_digits, settings, *vars(recipe).values(), 0)
        assert row["flops"] / row["steps"] == pytest.approx(experiment.flops_of(recipe, settings), rel=0.03), method


def test_shared_weights_stay_shared_while_their_centroids_move(few_digits):
    masks = experiment.masks_of((784, 12, 10), {"1.weight": 0.02, "3.weight": 0.5}, 0)
    state = experiment.first_weights(masks, 0)
    net = tiny.SharedNetwork(state, masks, bits=(2, 1), bias_bits=1)
    before = [np.unique(layer.values) for layer in net.layers]
    assert [len(values) for values in before] == [4, 2]
    batches = experiment.Batches(few_digits.train, 20, 0, 0)
    experiment.fit(net, batches, 10)
    after = [np.unique(layer.values) for layer in net.layers]
    assert [len(values) for values in after] == [4, 2]
    assert not any(np.array_equal(*pair) for pair in zip(before, after, strict=True))


def test_a_connection_of_weight_0_is_one_still_when_weights_are_shared(few_digits):
    candidate = replace(CANDIDATE, bits=(2, 2, 2), share_epochs=0)
    masks = experiment.masks_of(candidate.sizes, {"1.weight": 0.02, "3.weight": 0.3, "5.weight": 1.0}, 0)
    state = experiment.first_weights(masks, 0)
    state["3.weight"][tuple(masks["3.weight"].nonzero()[0])] = 0
    trained = {"state": state, "masks": masks, "seconds": 0, "validation_errors": 0}
    shared = tiny.share(few_digits, None, *tiny.arguments(candidate), 0, trained)
    assert shared["connections"] == [int(mask.sum()) for mask in masks.values()]
