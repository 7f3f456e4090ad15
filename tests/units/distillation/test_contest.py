"""The fair contest, in small: its students are twins of those that learn from labels, and hear of digits as moved."""

import json

import pytest
import torch

from course_utils.data import shift_images
from course_utils.distillation import reproduce_contest as contest
from course_utils.models import mlp
from course_utils.training import cosine, logits_of, set_seed, train

TINY = contest.Settings(teacher_epochs=1, student_epochs=2, batch_size=64)


@pytest.fixture
def small_networks(monkeypatch):
    monkeypatch.setattr(contest, "hinton_student", lambda: mlp(784, 20, 10))


@pytest.mark.usefixtures("own_cache", "small_networks")
def test_tiny_run_stores_every_condition(few_digits, tmp_path):
    results = contest.run(2, tmp_path, few_digits, TINY)
    assert json.loads((tmp_path / "contest.json").read_text()) == results
    assert [one["seed"] for one in results["runs"]] == [0, 1]
    for one in results["runs"]:
        assert one.keys() == {"seed", "distilled", "distilled_moved"}
        for name in one.keys() - {"seed"}:
            assert one[name]["errors"] == sum(one[name]["errors_by_class"]) <= len(few_digits.test)
    assert results["teacher"]["errors"] <= len(few_digits.test)
    assert results["runs"][0]["distilled"] != results["runs"][0]["distilled_moved"]


def small(seed: int = 0) -> torch.nn.Module:
    set_seed(seed)
    return mlp(784, 20, 10)


def same_weights(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    return all(map(torch.equal, first.state_dict().values(), second.state_dict().values()))


@pytest.mark.parametrize("reach", [0, 2])
def test_without_a_teacher_the_student_is_the_one_that_learns_from_labels(few_digits, reach):
    """Digits, moves and steps are those of `train`, so the contest's twins differ in the teacher only."""
    split, settings = few_digits.train, contest.Settings(student_epochs=2, batch_size=64, alpha=0.0)
    ours, theirs = small(), small()
    contest.fit(ours, split, settings, 3, torch.zeros((2 * reach + 1) ** 2, len(split), 10), reach)
    train(theirs, split, epochs=2, lr=settings.lr, batch_size=64, seed=3, schedule=cosine, jitter=reach)
    assert not ours.training
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_the_teacher_speaks_of_the_digit_where_it_lies(few_digits, monkeypatch):
    """A student with its teacher's weights has nothing to learn, unless it hears of another digit or move."""
    monkeypatch.setattr(contest, "ADAM", torch.optim.SGD)  # Adam makes steps out of rounding
    split, settings = few_digits.train, contest.Settings(student_epochs=1, batch_size=64, alpha=1.0)
    logits = contest.logits_at_moves(small(), split.images, 2)
    assert torch.equal(logits[12], logits_of(small(), split.images))
    down, right = torch.tensor([1]), torch.tensor([-2])
    wanted = logits_of(small(), shift_images(split.images[5:6], down, right))
    torch.testing.assert_close(logits[contest.move(down, right, 2), 5], wanted, rtol=1e-4, atol=1e-5)

    def distance(teacher: torch.Tensor) -> float:
        student = small()
        contest.fit(student, split, settings, 0, teacher, 2)
        return sum(
            float((a - b).detach().norm()) for a, b in zip(student.parameters(), small().parameters(), strict=True)
        )

    assert 100 * distance(logits) < min(distance(logits.flip(0)), distance(logits.flip(1)))
