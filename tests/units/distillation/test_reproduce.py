"""The paper-scale runs, in small: what they store, that they resume, and that their controls control."""

import json

import pytest
import torch

from course_utils import reproduce
from course_utils.distillation import reproduce as distillation
from course_utils.models import mlp

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(autouse=True)
def small_networks(monkeypatch):
    for name in ("hinton_teacher", "hinton_student"):
        monkeypatch.setattr(distillation, name, lambda: mlp(784, 300, 300, 10))


TINY = distillation.Settings(teacher_epochs=3, student_epochs=2, batch_size=50)


def test_unknown_experiment_is_one_sentence():
    with pytest.raises(ValueError, match=r"no experiment named 'alchemy': choose from .*distillation"):
        reproduce.reproduce_experiment("alchemy", 1)


def test_stored_results_are_read_or_explained(tmp_path, monkeypatch):
    monkeypatch.setattr(reproduce, "ROOT", tmp_path)
    with pytest.raises(ValueError, match="make them with 'course reproduce distillation'"):
        reproduce.stored_results("distillation")
    reproduce.write_results(tmp_path / "lectures" / "results" / "distillation.json", {"paper": "Hinton", "errors": 67})
    assert reproduce.stored_results("distillation") == {"paper": "Hinton", "errors": 67}


def test_tiny_run_stores_every_condition(few_digits, tmp_path):
    results = distillation.run(2, tmp_path, few_digits, TINY)
    stored = json.loads((tmp_path / "distillation.json").read_text())
    assert stored == results
    assert [one["seed"] for one in stored["runs"]] == [0, 1]
    assert {"command", "date", "versions", "cpu", "threads", "settings", "paper"} <= stored.keys()
    names = {"teacher", "student", "distilled", "without_3", "only_7_and_8", "smoothed", "permuted", "jittered"}
    for one in stored["runs"]:
        assert one.keys() == {"seed"} | names
        for name in names:
            assert one[name]["errors"] == sum(one[name]["errors_by_class"]) <= len(few_digits.test)
        assert one["student"]["errors"] < 150  # of 200; guessing gets 180 wrong
    assert stored["runs"][0]["teacher"] != stored["runs"][1]["teacher"]
    assert not (tmp_path / "cache" / "reproduce").exists() or not list((tmp_path / "cache" / "reproduce").iterdir())


def test_stopped_run_resumes_with_the_network_it_was_training(few_digits, tmp_path, monkeypatch):
    whole = distillation.run(1, tmp_path / "whole", few_digits, TINY)
    trained = []
    train = distillation.train

    def interrupted(model, split, *args, **kwargs):
        if len(trained) == 3:
            raise KeyboardInterrupt
        trained.append(split)
        return train(model, split, *args, **kwargs)

    monkeypatch.setattr(distillation, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        distillation.run(1, tmp_path / "parts", few_digits, TINY)
    counted = []
    monkeypatch.setattr(distillation, "train", lambda *args, **kwargs: counted.append(1) or train(*args, **kwargs))
    resumed = distillation.run(1, tmp_path / "parts", few_digits, TINY)
    assert len(counted) == 5  # of 8 networks, 3 were done

    def errors(results):
        return {name: net["errors_by_class"] for name, net in results["runs"][0].items() if name != "seed"}

    assert errors(resumed) == errors(whole)


def test_transfer_sets_leave_out_what_they_say(few_digits):
    teacher = torch.randn(len(few_digits.train), 10)
    parts = distillation.lessons(few_digits, TINY, 0, teacher)
    assert sorted(parts["without_3"].transfer.labels.unique().tolist()) == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert sorted(parts["only_7_and_8"].transfer.labels.unique().tolist()) == [7, 8]


def test_student_looks_up_the_teacher_of_its_own_examples(few_digits):
    """The teacher's logits are found by the place in the transfer set, not in the training set."""
    teacher = torch.randn(len(few_digits.train), 10)
    lessons = distillation.lessons(few_digits, distillation.Settings(alpha=1.0), 0, teacher)
    transfer, loss, jitter = lessons["without_3"]
    assert jitter == 0 and lessons["jittered"].jitter == 2
    index = torch.tensor([5, 17, 100])
    own = teacher[few_digits.train.labels != 3][index]
    assert loss(own, transfer.labels[index], index).item() == pytest.approx(0, abs=1e-3)  # float32, times T² = 400
    assert loss(own.flip(0), transfer.labels[index], index).item() > 0.1


def test_permuted_dark_knowledge_keeps_decision_and_entropy():
    logits = torch.randn(500, 10, generator=torch.Generator().manual_seed(0))
    permuted = distillation.permute_dark_knowledge(logits, 0)
    assert torch.equal(permuted.sort(dim=1).values, logits.sort(dim=1).values)
    assert torch.equal(permuted.argmax(dim=1), logits.argmax(dim=1))
    moved = (permuted != logits).float().mean()
    assert moved == pytest.approx(0.9 * 8 / 9, abs=0.02)  # 9 of 10 are shuffled, and 1 in 9 of them falls where it was
    assert torch.equal(permuted, distillation.permute_dark_knowledge(logits, 0))
    assert not torch.equal(permuted, distillation.permute_dark_knowledge(logits, 1))


def test_best_offset_finds_a_bias_that_was_taken_away():
    labels = torch.arange(10).repeat(20)
    logits = 6.0 * torch.nn.functional.one_hot(labels, 10)
    logits[:, 3] -= 9
    assert distillation.errors_by_class(logits, labels)[3] == 20
    # Right for any offset from 3 (threes win) to 15 (others still do): the middle is 9
    assert distillation.best_offset(logits, labels, [3]) == pytest.approx(9, abs=0.11)
    assert sum(distillation.errors_by_class(distillation.shift_biases(logits, [3], 9), labels)) == 0
