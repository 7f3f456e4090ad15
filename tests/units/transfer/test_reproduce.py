"""The experiments of unit 11 in small, and the change that the first of them undoes."""

import json

import pytest
import torch

from course_utils.data import Split
from course_utils.models import mlp_forward
from course_utils.transfer import reproduce, reproduce_shift, shift
from course_utils.transfer.methods import METHODS

pytestmark = pytest.mark.usefixtures("own_cache")


def test_a_tiny_shift_is_stored(few_digits, tmp_path):
    tiny = reproduce_shift.Settings(
        planes=(1,), shots=(2,), ranks=(2,), hidden=12, epochs=1, steps=4, looks=(2, 4), batch=8,
        low_rates=(1e-2, 1e-3), full_rates=(1e-3,), pulls=(0.1, 1.0), validation=20,
    )  # fmt: skip
    results = reproduce_shift.run(2, tmp_path, few_digits, tiny)
    assert json.loads((tmp_path / "shift.json").read_text()) == json.loads(json.dumps(results))
    (task,) = results["tasks"]
    assert results["seeds"] == {"asked": 2, "has": 2} and len(task["runs"]) == 2
    methods = task["runs"][0]["methods"]
    assert methods.keys() == results["numbers"].keys() == {"bias", "full", "full, held", "r 2"}
    assert {name: found["tried"] for name, found in methods.items()} == {
        "bias": 4,
        "full": 2,
        "full, held": 4,
        "r 2": 4,
    }
    assert methods["r 2"]["rank of 90%"] <= 2 and methods["bias"]["rank of 90%"] == 0


def test_a_tiny_transfer_is_stored(tmp_path, monkeypatch):
    few = {name: METHODS[name] for name in ("full", "LoRA", "head (tied embedding)", "DSEE, half of W")}
    monkeypatch.setattr(reproduce, "METHODS", few)
    monkeypatch.setattr(reproduce, "SWEPT", ("LoRA",))
    monkeypatch.setattr(reproduce, "ON_NEW_WORDS", ("full",))
    tiny = reproduce.Settings(size=9, sizes=(4,), steps=2, batch=4, validation=3, test=3, references=2, bits=(4,))
    results = reproduce.run(1, tmp_path, settings=tiny)
    assert json.loads((tmp_path / "transfer.json").read_text()) == json.loads(json.dumps(results))
    rows = {(row["target"], row["examples"], row["method"]): row for row in results["rows"]}
    assert len(rows) == 6 and all(len(row["runs"]) == 1 and len(row["rates"]) >= 3 for row in rows.values())
    full, dsee = rows["known words", 9, "full"]["runs"][0], rows["known words", 9, "DSEE, half of W"]["runs"][0]
    assert full["trainable"] == results["network"]["parameters"] and dsee["trainable"] == 9216 + 12 * 16
    assert full["zeros"] == 0 and dsee["zeros"] == 98304 // 2
    best = max(rows["known words", 9, "full"]["rates"], key=lambda each: each["bleu"])
    assert full["rate"] == best["rate"]
    update = reproduce.from_text(full["update"])
    assert update.shape == (256, 64) and len(full["spectrum"]) == 64 and len(full["ranks"]) == 12
    assert (
        0 < results["limits"]["known words"]["zero-shot"]["bleu"] < results["limits"]["known words"]["ceiling"]["bleu"]
    )
    assert 0 < rows["known words", 9, "LoRA"]["runs"][0]["files"][0]["bytes"] < 6000


def test_a_matrix_survives_as_text():
    update = torch.randn(6, 8)
    stored = json.loads(json.dumps(reproduce.as_text(update)))
    assert (reproduce.from_text(stored) - update).abs().max() <= float(update.abs().max()) / 254 + 1e-6


def test_what_undoes_a_turn_gives_the_logits_of_the_digits_as_they_were():
    generator = torch.Generator().manual_seed(0)
    split = Split(torch.rand(60, 1, 28, 28, generator=generator), torch.arange(60) % 10)
    turn, mean = shift.rotation(split.images, 2)
    assert torch.allclose(turn @ turn.T, torch.eye(784), atol=1e-4)
    state = {
        "1.weight": torch.randn(12, 784, generator=generator), "1.bias": torch.randn(12, generator=generator),
        "3.weight": torch.randn(10, 12, generator=generator), "3.bias": torch.zeros(10),
    }  # fmt: skip
    inputs = shift.turned(split, turn, mean)
    exact = shift.undone(state, turn, mean)
    assert torch.allclose(mlp_forward(exact, inputs), mlp_forward(state, split.images), atol=1e-3)
    forgotten = shift.undone(state, turn, mean, with_bias=False)
    assert not torch.allclose(mlp_forward(forgotten, inputs), mlp_forward(state, split.images), atol=0.1)
    change = exact["1.weight"] - state["1.weight"]
    assert int(torch.linalg.matrix_rank(change, rtol=1e-4)) == 4  # two planes
    assert (inputs - split.images.flatten(1)).norm() > 1


def test_few_of_each_class_are_drawn_by_a_seed():
    labels = torch.arange(100) % 10
    chosen = shift.few_of_each(labels, 3, seed=1)
    assert labels[chosen].bincount().tolist() == [3] * 10
    assert torch.equal(chosen, shift.few_of_each(labels, 3, 1)) and not torch.equal(
        chosen, shift.few_of_each(labels, 3, 2)
    )
