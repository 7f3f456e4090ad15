"""The MNIST experiments of Hinton, Vinyals and Dean, *Distilling the Knowledge in a Neural Network*, 2015, section 3.

Choices are made on 5,000 validation digits that are taken out of the training set (the paper trains on all 60,000, and
tunes the biases on the test set). The paper does not say which optimizer, rate or number of epochs it used.
"""

import time
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils.data import CLASSES, Digits, Split, full_mnist, jitter_images
from course_utils.distillation import distillation_loss
from course_utils.models import hinton_student, hinton_teacher
from course_utils.reproduce.runner import Done, Experiment, Piece, Values
from course_utils.training import Loss, cosine, cross_entropy, logits_of, set_seed, train

PAPER = {
    "source": "G. Hinton, O. Vinyals and J. Dean, arXiv:1503.02531, 2015, section 3",
    "test_examples": 10_000,
    "teacher": {"errors": 67},
    "student": {"errors": 146},
    "distilled": {"errors": 74},
    "without_3": {"errors": 206, "errors_on_3": 133, "offset": 3.5, "shifted_errors": 109, "shifted_errors_on_3": 14},
    "only_7_and_8": {"errors": 4730, "offset": -7.6, "shifted_errors": 1320},  # 47.3% and 13.2% of the test set
}


@dataclass(frozen=True)
class Settings:
    """What the experiment fixes beforehand; all students get the same epochs, first weights and order of examples."""

    teacher_epochs: int = 30
    student_epochs: int = 15
    batch_size: int = 256
    lr: float = 1e-3  # of Adam; falls to 0 along a cosine
    jitter: int = 2  # pixels; the teacher's only
    squared_norm: float = 15.0  # the teacher's constraint on incoming weights (Hinton 2012, arXiv:1207.0580)
    temperature: float = 20.0
    alpha: float = 0.9  # weight of the soft targets, the rest is the labels'
    smoothing: float = 0.1


STUDENTS = ("student", "distilled", "without_3", "only_7_and_8", "smoothed", "permuted", "jittered")
UNSEEN = {"without_3": [3], "only_7_and_8": [7, 8]}  # classes whose biases the paper shifts


def load(digits: Digits | None, settings: Settings) -> Digits:
    return digits or full_mnist()


def pieces(digits: Digits, settings: Settings, seeds: int) -> list[Piece]:
    """For each seed a teacher, and the students that learn from it."""
    work = []
    for seed in range(seeds):
        teacher = Piece(f"seed {seed}/teacher", train_teacher, (seed,), seed=seed)
        work += [teacher] + [
            Piece(f"seed {seed}/{name}", train_student, (seed, name), (teacher.name,), seed=seed) for name in STUDENTS
        ]
    return work


def collect(digits: Digits, settings: Settings, done: Done) -> Values:
    """What the networks of each seed got wrong, by name."""
    return {
        "experiment": "distillation on MNIST",
        "data": digits.summary(),
        "settings": asdict(settings),
        "choices": "biases on the validation digits; the last epoch's weights; the test digits read once, at the end",
        **done.origin(),
        "paper": PAPER,
        "runs": [
            {"seed": seed} | {name: done[f"seed {seed}/{name}"] for name in ("teacher", *STUDENTS)}
            for seed in done.seeds()
        ],
    }


run = Experiment("distillation", Settings, load, pieces, collect).run


def train_teacher(digits: Digits, settings: Settings, seed: int) -> dict[str, Any]:
    """Train the large net with dropout, bounded weights and jitter; its score, and its logits on `train`."""
    set_seed(seed)
    teacher = hinton_teacher()
    start = time.perf_counter()
    train(
        teacher,
        digits.train,
        digits.validation,
        epochs=settings.teacher_epochs,
        lr=settings.lr,
        batch_size=settings.batch_size,
        seed=seed,
        schedule=cosine,
        max_norm=settings.squared_norm**0.5,
        jitter=settings.jitter,
    )
    seconds = time.perf_counter() - start
    return {**score(teacher, digits, settings, seconds), "logits": logits_of(teacher, digits.train.images)}


class Lesson(NamedTuple):
    """What a student learns from: the transfer set, the loss, and up to how many pixels its images are moved."""

    transfer: Split
    loss: Loss
    jitter: int = 0


def lessons(digits: Digits, settings: Settings, seed: int, teacher_logits: Tensor) -> dict[str, Lesson]:
    """The students by name. teacher_logits: [train, classes], on the training digits as they are, without jitter."""

    def soft(logits: Tensor, rows: Tensor) -> Loss:
        known = logits[rows]  # the teacher's logits on the transfer set, in its order
        return lambda student, labels, index: distillation_loss(
            student, known[index], labels, settings.temperature, settings.alpha
        )

    def smoothed(student: Tensor, labels: Tensor, index: Tensor) -> Tensor:
        return F.cross_entropy(student, labels, label_smoothing=settings.smoothing)

    whole, labels = digits.train, digits.train.labels
    everything, no_3, only_7_8 = torch.ones_like(labels, dtype=torch.bool), labels != 3, (labels == 7) | (labels == 8)
    return {
        "student": Lesson(whole, cross_entropy),
        "distilled": Lesson(whole, soft(teacher_logits, everything)),
        "without_3": Lesson(whole.subset(no_3), soft(teacher_logits, no_3)),
        "only_7_and_8": Lesson(whole.subset(only_7_8), soft(teacher_logits, only_7_8)),
        # Controls. Is it the teacher's knowledge of which classes are alike, or would any softening do?
        "smoothed": Lesson(whole, smoothed),
        "permuted": Lesson(whole, soft(permute_dark_knowledge(teacher_logits, seed), everything)),
        # What would the student have learned from the moved digits, which only the teacher saw?
        "jittered": Lesson(whole, cross_entropy, settings.jitter),
    }


def permute_dark_knowledge(logits: Tensor, seed: int) -> Tensor:
    """The teacher's logits [n, classes], with those of all classes but its favourite shuffled in each example.

    Decision, confidence and entropy stay, at every temperature; which other classes an example resembles is lost.
    """
    top = logits.argmax(dim=1, keepdim=True)
    others = torch.arange(logits.shape[1] - 1).expand(len(logits), -1)
    others = others + (others >= top)  # [n, classes - 1]: the classes that are not the favourite
    shuffled = torch.rand(others.shape, generator=torch.Generator().manual_seed(seed)).argsort(dim=1)
    return logits.scatter(1, others, logits.gather(1, others.gather(1, shuffled)))


def train_student(
    digits: Digits, settings: Settings, seed: int, name: str, teacher: dict[str, Tensor]
) -> dict[str, Any]:
    """Train the small net, without regularization but for what its lesson brings; its score."""
    lesson = lessons(digits, settings, seed, teacher["logits"])[name]
    set_seed(seed)
    student = hinton_student()
    start = time.perf_counter()
    train(
        student,
        lesson.transfer,
        digits.validation,
        epochs=settings.student_epochs,
        lr=settings.lr,
        batch_size=settings.batch_size,
        seed=seed,
        loss=lesson.loss,
        schedule=cosine,
        jitter=lesson.jitter,
    )
    return score(student, digits, settings, time.perf_counter() - start, UNSEEN.get(name))


def score(
    model: nn.Module, digits: Digits, settings: Settings, seconds: float, unseen: list[int] | None = None
) -> Values:
    """Errors on the test digits, in all and by true class; on the same, moved; and on the validation digits.

    unseen: classes for whose biases the offset is added that is best on the validation digits; errors after that too.
    """
    # The same moves for every network
    moved = jitter_images(digits.test.images, settings.jitter, torch.Generator().manual_seed(0))
    validation, test = (logits_of(model, split.images) for split in (digits.validation, digits.test))
    by_class = errors_by_class(test, digits.test.labels)
    result = {
        "errors": sum(by_class),
        "errors_by_class": by_class,
        "moved_errors": sum(errors_by_class(logits_of(model, moved), digits.test.labels)),
        "validation_errors": sum(errors_by_class(validation, digits.validation.labels)),
        "seconds": round(seconds, 1),
    }
    if unseen:
        offset = best_offset(validation, digits.validation.labels, unseen)
        by_class = errors_by_class(shift_biases(test, unseen, offset), digits.test.labels)
        result |= {"offset": round(offset, 2), "shifted_errors": sum(by_class), "shifted_errors_by_class": by_class}
    return result


def errors_by_class(logits: Tensor, labels: Tensor) -> list[int]:
    """How many examples of each class are wrong. logits: [n, classes]; labels: [n]."""
    return labels[logits.argmax(dim=1) != labels].bincount(minlength=CLASSES).tolist()


def shift_biases(logits: Tensor, classes: list[int], offset: float) -> Tensor:
    """Logits of the net whose last biases of `classes` are higher by `offset`."""
    shifted = logits.clone()
    shifted[:, classes] += offset
    return shifted


def best_offset(logits: Tensor, labels: Tensor, classes: list[int]) -> float:
    """The offset from -20 to 20 with the fewest errors; the middle one of those that are equally good."""
    offsets = torch.linspace(-20, 20, 401).tolist()
    wrong = [sum(errors_by_class(shift_biases(logits, classes, offset), labels)) for offset in offsets]
    best = [offset for offset, count in zip(offsets, wrong, strict=True) if count == min(wrong)]
    return best[len(best) // 2]
