"""The fair contest of lecture 01: a teacher that makes as few errors as the paper's, and students that are given what
it was given.

Its students are those of `course reproduce distillation`: the same network, epochs, first weights and order of digits,
moved by the same pixels. So their rivals, which learn from labels alone, stand in its results. What differs is the
teacher, one convolutional network for all, and that a student's digit is moved *and* labelled as it lies: the teacher
is consistent (L. Beyer et al., arXiv:2106.05237, 2022).
"""

import time
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from course_utils.data import Digits, Split, full_mnist, shift_images
from course_utils.distillation import distillation_loss
from course_utils.distillation import reproduce as paper
from course_utils.distillation.students import logits_at_moves, move
from course_utils.models import hinton_student
from course_utils.progress import progress_bar
from course_utils.reproduce.runner import Done, Experiment, Piece, Values
from course_utils.training import ADAM, cosine, set_seed, train


@dataclass(frozen=True)
class Settings(paper.Settings):
    """Those of the paper's experiment, but for the teacher's."""

    teacher_epochs: int = 8
    teacher_lr: float = 2e-3  # of Adam; falls to 0 along a cosine
    teacher_seed: int = 0


STUDENTS = {"distilled_moved": True, "distilled": False}  # are their digits moved?


def load(digits: Digits | None, settings: Settings) -> Digits:
    return digits or full_mnist()


def pieces(digits: Digits, settings: Settings, seeds: int) -> list[Piece]:
    """One teacher, and its students for each seed."""
    return [Piece("teacher", train_teacher)] + [
        Piece(f"seed {seed}/{name}", train_student, (seed, moved), ("teacher",), seed=seed)
        for name, moved in STUDENTS.items()
        for seed in range(seeds)
    ]


def collect(digits: Digits, settings: Settings, done: Done) -> Values:
    """What the teacher got wrong, and its students of each seed."""
    return {
        "experiment": "the fair contest on MNIST",
        "data": digits.summary(),
        "settings": asdict(settings),
        "choices": "none: students are set up as in the paper's experiment; the test digits read once, at the end",
        **done.origin(),
        "teacher": done.get("teacher"),
        "runs": [{"seed": seed} | {name: done[f"seed {seed}/{name}"] for name in STUDENTS} for seed in done.seeds()],
    }


run = Experiment("contest", Settings, load, pieces, collect).run


def convolutional(early: int, middle: int, last: int, dropout: float = 0.0) -> nn.Sequential:
    """Two convolutions of so many filters, each max-pooled, and a hidden layer of so many units."""
    return nn.Sequential(
        nn.Conv2d(1, early, 5), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(early, middle, 5), nn.MaxPool2d(2), nn.ReLU(),
        nn.Flatten(), nn.Linear(16 * middle, last), nn.ReLU(), nn.Dropout(dropout), nn.Linear(last, 10),
    ).to(memory_format=torch.channels_last)  # fmt: skip


def convolutional_teacher() -> nn.Sequential:
    """`convolutional` with dropout, 183,122 parameters; unit 03's teacher too."""
    return convolutional(16, 40, 256, dropout=0.4)


def train_teacher(digits: Digits, settings: Settings) -> dict[str, Any]:
    """The teacher's score, and its logits [moves, train, classes] on the training digits at every move."""
    set_seed(settings.teacher_seed)
    teacher = convolutional_teacher()
    start = time.perf_counter()
    train(
        teacher,
        digits.train,
        epochs=settings.teacher_epochs,
        lr=settings.teacher_lr,
        batch_size=settings.batch_size,
        seed=settings.teacher_seed,
        schedule=cosine,
        jitter=settings.jitter,
    )
    seconds = time.perf_counter() - start
    logits = logits_at_moves(teacher, digits.train.images, settings.jitter)
    return {**paper.score(teacher, digits, settings, seconds), "logits": logits}


def train_student(digits: Digits, settings: Settings, seed: int, moved: bool, teacher: dict[str, Any]) -> Values:
    """Train the small net on what the teacher says of the digits, moved or as they are; its score."""
    logits = teacher["logits"]
    if not moved:
        logits = logits[len(logits) // 2].unsqueeze(0)  # the move by no pixel
    set_seed(seed)
    student = hinton_student()
    start = time.perf_counter()
    fit(student, digits.train, settings, seed, logits, settings.jitter if moved else 0)
    return paper.score(student, digits, settings, time.perf_counter() - start)


def fit(model: nn.Module, split: Split, settings: Settings, seed: int, teacher: Tensor, reach: int) -> None:
    """Distil into a model, in place, from logits [(2·reach + 1)², n, classes] of the digits at every move.

    What `training.train` does with `jitter=reach`, draw by draw; there the loss does not learn of the move.
    """
    generator = torch.Generator().manual_seed(seed)
    stepper = ADAM(model.parameters(), lr=settings.lr)
    model.train()
    with progress_bar(total=settings.student_epochs * len(split), unit=" images", unit_scale=True) as bar:
        for epoch in range(settings.student_epochs):
            for group in stepper.param_groups:
                group["lr"] = settings.lr * cosine(epoch / settings.student_epochs)
            for index in torch.randperm(len(split), generator=generator).split(settings.batch_size):
                images, moves = split.images[index], torch.zeros_like(index)
                if reach:
                    down, right = torch.randint(-reach, reach + 1, (2, len(index)), generator=generator)
                    images, moves = shift_images(images, down, right), move(down, right, reach)
                loss = distillation_loss(
                    model(images), teacher[moves, index], split.labels[index], settings.temperature, settings.alpha
                )
                stepper.zero_grad()
                loss.backward()
                stepper.step()
                bar.update(len(index))
    model.eval()
