"""Students that are trained together are those that `training.train` trains one by one."""

import pytest
import torch

from course_utils.data import embedded_digits
from course_utils.distillation import distillation_loss
from course_utils.distillation import reproduce_contest as contest
from course_utils.distillation.students import Way, logits_at_moves, train_students
from course_utils.models import mlp
from course_utils.training import cosine, set_seed, train

SEEDS = (3, 100)


@pytest.mark.parametrize("jitter", [0, 2])
def test_together_as_alone(jitter):
    transfer = embedded_digits().train.subset(slice(0, 300))  # three batches, the last one smaller
    generator = torch.Generator().manual_seed(0)
    one, each = (torch.randn(*shape, 300, 10, generator=generator) for shape in ((), (len(SEEDS), 1)))
    ways = {"labels": Way(one, alpha=0.0), "hot": Way(one, 4.0), "a teacher for each seed": Way(each, 2.0, 0.5)}
    together = train_students(transfer, ways, SEEDS, epochs=2, jitter=jitter)
    assert list(together) == list(ways)
    for name, way in ways.items():
        for number, (seed, student) in enumerate(zip(SEEDS, together[name], strict=True)):
            logits = way.logits.expand(len(SEEDS), 1, -1, -1)[number, 0]

            def loss(outputs, labels, index, logits=logits, way=way):
                return distillation_loss(outputs, logits[index], labels, way.temperature, way.alpha)

            set_seed(seed)
            alone = mlp(784, 64, 10)
            train(
                alone, transfer, epochs=2, lr=3e-3, seed=seed, loss=loss, schedule=cosine, jitter=jitter, progress=False
            )
            assert not student.training
            for ours, theirs in zip(student.parameters(), alone.parameters(), strict=True):
                torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


def test_a_teacher_of_moved_digits_is_heard_as_in_the_contest():
    transfer = embedded_digits().train.subset(slice(0, 300))
    set_seed(7)
    logits = logits_at_moves(mlp(784, 20, 10), transfer.images, 2)
    ways = {"labels": Way(logits[12], alpha=0.0), "taught": Way(logits, 4.0), "another": Way(logits.flip(0), 4.0)}
    together = train_students(transfer, ways, SEEDS, epochs=2, jitter=2)
    settings = contest.Settings(student_epochs=2, lr=3e-3, batch_size=128, temperature=4.0, alpha=0.9)
    for seed, student, other in zip(SEEDS, together["taught"], together["another"], strict=True):
        set_seed(seed)
        alone = mlp(784, 64, 10)
        contest.fit(alone, transfer, settings, seed, logits, 2)
        weight = alone[1].weight
        assert (student[1].weight - weight).norm() < 1e-3 * weight.norm() < 0.1 * (other[1].weight - weight).norm()
