"""Hinton's 3% experiment in small: who is drawn, who has seen what, and when a student is stopped."""

import json

import pytest
import torch

from course_utils.distillation import reproduce_three_percent as three
from course_utils.distillation.students import Way
from course_utils.models import mlp
from course_utils.training import cosine, errors, set_seed, train

TINY = three.Settings(share=0.1, teacher_steps=2, steps=4, marks=3)


def test_digits_are_drawn_class_by_class():
    labels = torch.tensor([0] * 50 + [1] * 30 + [2] * 20)
    drawn = three.draw(labels, 31, seed=0)
    assert len(drawn.unique()) == 31
    assert sorted(labels[drawn].bincount().tolist()) == [10, 10, 11]
    assert torch.equal(drawn, three.draw(labels, 31, seed=0))
    assert not torch.equal(drawn.sort().values, three.draw(labels, 31, seed=1).sort().values)


@pytest.mark.usefixtures("own_cache")
def test_tiny_run_stores_every_way(few_digits, tmp_path):
    results = three.run(2, tmp_path, few_digits, TINY)
    assert json.loads((tmp_path / "three_percent.json").read_text()) == json.loads(json.dumps(results))
    for run in results["runs"]:
        assert run["digits"] == 20 and set(run["teachers"]) == {"all", "few"}
        assert len(run["students"]) == 1 + 3 + 3 + 3 + 1
        for student in run["students"].values():
            assert student["curve"]["step"] == [1, 2, 4]
    assert results["runs"][0]["students"] != results["runs"][1]["students"]


def test_the_student_of_hard_targets_is_the_one_that_train_trains(few_digits):
    found = three.learn(few_digits, TINY, 5, few_digits.train, Way(torch.zeros(200, 10), alpha=0.0))
    set_seed(5)
    alone = mlp(784, 64, 10)
    train(alone, few_digits.train, epochs=2, lr=3e-3, seed=5, schedule=cosine)
    assert found["test"] == errors(alone, few_digits.test)
    assert found["curve"]["train"][-1] == errors(alone, few_digits.train)


def test_a_student_is_stopped_where_the_validation_digits_say(few_digits):
    """A teacher that is sure of the next class spoils the student, the longer the more."""
    wrong = 5.0 * torch.nn.functional.one_hot((few_digits.train.labels + 1) % 10, 10)
    found = three.learn(few_digits, three.Settings(steps=40, marks=6), 0, few_digits.train, Way(wrong, 1.0, 1.0))
    validation, steps = found["curve"]["validation"], found["curve"]["step"]
    assert found["stopped_at"] == steps[validation.index(min(validation))] < steps[-1] == 40
    assert found["test_if_stopped"] < found["test"]


def test_teachers_have_seen_all_digits_or_the_students(few_digits, monkeypatch):
    seen = []
    monkeypatch.setattr(three, "train", lambda model, split, **how: seen.append(len(split)))
    teachers = three.train_teachers(few_digits, TINY, 0)
    assert seen == [200, 20]
    assert {name: logits.shape for name, logits in teachers["logits"].items()} == {"all": (20, 10), "few": (20, 10)}
