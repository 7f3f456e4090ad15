"""The binary network at paper scale, in small: what is stored, that it resumes, and that the widget counts."""

import json
from dataclasses import replace

import pytest

from course_utils.binary import reproduce as binary
from course_utils.binary.widgets import xnor_explorer

TINY = binary.Settings(hidden=(40, 30), epochs=2, batch_size=50, teacher_epochs=1)


pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(autouse=True)
def small_first_try(monkeypatch):
    first = replace(binary.NETWORKS["binary, 512 units"], hidden=(20, 20), epochs=1)
    monkeypatch.setitem(binary.NETWORKS, "binary, 512 units", first)


def test_tiny_run_stores_every_network(few_digits, tmp_path):
    results = binary.run(2, tmp_path, few_digits, TINY)
    assert json.loads((tmp_path / "binary.json").read_text()) == json.loads(json.dumps(results))
    assert [len(runs) for runs in results["runs"].values()] == [2, 2, 2, 2, 1]
    runs = {name: run for name, (run, *_) in results["runs"].items()}
    assert list(runs) == list(binary.NETWORKS)
    for name, run in runs.items():
        if name.startswith("binary"):
            assert run["images"] == 400 and run["different_sums"] == run["different_classes"] == 0
    assert 10 * runs["binary"]["bytes"] < runs["float32"]["bytes"]
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def test_stopped_run_goes_on_with_the_networks_that_it_lacks(few_digits, tmp_path, monkeypatch):
    trained, train = [], binary.train_network

    def stop_at_the_second(condition, *rest):
        trained.append(condition)
        if len(trained) == 2:
            raise KeyboardInterrupt
        return train(condition, *rest)

    monkeypatch.setattr(binary, "train_network", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        binary.run(1, tmp_path, few_digits, TINY)
    stored = json.loads((tmp_path / "binary.json").read_text())
    assert [name for name, runs in stored["runs"].items() if runs] == ["binary"]
    results = binary.run(1, tmp_path, few_digits, TINY)
    conditions = list(binary.NETWORKS.values())
    assert trained == [*conditions[:2], *conditions[1:]]
    assert results["runs"]["binary"] == stored["runs"]["binary"]


def test_real_weights_of_a_trained_network_are_clipped_and_thrown_away(few_digits):
    state = binary.train_network(binary.NETWORKS["binary, no teacher"], few_digits, TINY, None, seed=0).state_dict()
    weights = [value for name, value in state.items() if name.startswith("linears")]
    assert len(weights) == 3 and all(weight.abs().max() <= 1 for weight in weights)
    assert all(len(weight.unique()) > 2 for weight in weights)


def test_moving_a_slider_of_the_xnor_explorer_draws_another_picture():
    a, b, image = xnor_explorer().children
    pictures = [bytes(image.value)]
    for control, value in ((a, 255), (b, 0)):
        control.value = value
        pictures.append(bytes(image.value))
    assert len(set(pictures)) == 3 and all(p.startswith(b"\x89PNG") for p in pictures)
