"""Hinton's 3% experiment in miniature: soft targets as regularizers (Hinton 2015, section 6 and table 5).

3% of the training digits, drawn class by class; a student of hard targets, and one of the soft targets of a teacher
that has seen all of the digits. Controls: the hard one stopped early, label smoothing, and a teacher that has seen no
more digits than its student. All take equal steps; a seed sets the draw, the teachers and the first weights.
"""

from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils.data import Digits, Split, embedded_digits
from course_utils.distillation import distillation_loss, virtual_teacher
from course_utils.distillation.students import BATCH_SIZE, HIDDEN, LR, PIXELS, Way
from course_utils.models import mlp
from course_utils.reproduce.runner import Done, Experiment, Piece, Values
from course_utils.training import cosine, errors, logits_of, set_seed, train


@dataclass(frozen=True)
class Settings:
    """What the experiment fixes beforehand."""

    share: float = 0.03  # of the training digits
    teacher_steps: int = 700
    steps: int = 1400  # of each student
    marks: int = 40  # at which students are looked at, evenly spaced on a logarithmic scale but for rounding
    temperatures: tuple[float, ...] = (1.0, 4.0, 16.0)
    smoothings: tuple[float, ...] = (0.1, 0.2, 0.4)


PAPER = {"hard": 44.5, "soft": 57.0, "all": 58.9}  # % of the test frames classified correctly; hard: stopped early


def load(digits: Digits | None, settings: Settings) -> Digits:
    return digits or embedded_digits()


def pieces(digits: Digits, settings: Settings, seeds: int) -> list[Piece]:
    """For each seed: its two teachers, then the students of all ways."""
    return [
        piece
        for seed in range(seeds)
        for piece in (
            Piece(f"seed {seed}/teachers", train_teachers, (seed,), seed=seed),
            Piece(f"seed {seed}/students", train_students, (seed,), (f"seed {seed}/teachers",), seed=seed),
        )
    ]


def collect(digits: Digits, settings: Settings, done: Done) -> Values:
    """Errors of each seed's teachers and students."""
    return {
        "experiment": "3% of the data",
        "paper": PAPER,
        "data": digits.summary(),
        "settings": asdict(settings),
        "choices": "temperature and smoothing on the validation digits, over all seeds; when to stop, seed by seed",
        **done.origin(),
        "runs": [
            {"seed": seed, **done[f"seed {seed}/teachers"], **done[f"seed {seed}/students"]} for seed in done.seeds()
        ],
    }


run = Experiment("three_percent", Settings, load, pieces, collect).run


def draw(labels: Tensor, count: int, seed: int) -> Tensor:
    """The places of `count` examples, drawn by the seed: of each class as many as of any other, or one more."""
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    rank = F.one_hot(labels[order]).cumsum(dim=0).gather(1, labels[order].unsqueeze(1)).flatten()
    return order[rank.argsort(stable=True)[:count]]


def few(digits: Digits, settings: Settings, seed: int) -> Split:
    """The seed's share of the training digits."""
    return digits.train.subset(draw(digits.train.labels, round(settings.share * len(digits.train)), seed))


def epochs(steps: int, split: Split) -> int:
    """How many epochs take so many steps."""
    return max(1, steps // -(-len(split) // BATCH_SIZE))


def train_teachers(digits: Digits, settings: Settings, seed: int) -> dict[str, Any]:
    """Twins that differ in what they have seen: their logits for the few digits [n, classes], and test errors."""
    transfer = few(digits, settings, seed)
    logits, wrong = {}, {}
    for name, seen in (("all", digits.train), ("few", transfer)):
        set_seed(seed)
        teacher = mlp(PIXELS, 300, 10, dropout=0.4, input_dropout=0.2)
        train(teacher, seen, epochs=epochs(settings.teacher_steps, seen), lr=2e-3, seed=seed, schedule=cosine)
        logits[name], wrong[name] = logits_of(teacher, transfer.images), errors(teacher, digits.test)
    return {"logits": logits, "teachers": wrong}


def train_students(digits: Digits, settings: Settings, seed: int, teachers: dict[str, Any]) -> Values:
    """What each way's student gets wrong while it learns, and in the end; all have the same first weights."""
    transfer = few(digits, settings, seed)
    soft, own = teachers["logits"]["all"], teachers["logits"]["few"]

    def smoothed(epsilon: float) -> Way:
        return Way(virtual_teacher(transfer.labels, 10, 1 - 0.9 * epsilon).log(), alpha=1.0)

    ways = (
        {"hard": Way(soft, alpha=0.0)}
        | {f"soft T = {t:g}": Way(soft, t, 1.0) for t in settings.temperatures}
        | {f"smoothed ε = {epsilon:g}": smoothed(epsilon) for epsilon in settings.smoothings}
        | {f"soft from the few T = {t:g}": Way(own, t, 1.0) for t in settings.temperatures}
    )
    every = Way(torch.zeros(len(digits.train), 10), alpha=0.0)
    return {
        "digits": len(transfer),
        "students": {way: learn(digits, settings, seed, transfer, how) for way, how in ways.items()}
        | {"all": learn(digits, settings, seed, digits.train, every)},
    }


def learn(digits: Digits, settings: Settings, seed: int, transfer: Split, way: Way) -> Values:
    """Train a student; what it gets wrong at each mark, and of the test digits in the end and at the best mark.

    The best mark is the first with the fewest validation errors.
    """
    total = epochs(settings.steps, transfer) * -(-len(transfer) // BATCH_SIZE)
    marks = {round(total ** (k / (settings.marks - 1))) for k in range(settings.marks)}
    found: dict[str, list[float]] = {name: [] for name in ("step", "train", "validation", "validation_loss", "test")}
    step = 0

    def look(student: nn.Module) -> None:
        nonlocal step
        step += 1
        if step in marks:
            logits = logits_of(student, digits.validation.images)
            found["step"].append(step)
            found["train"].append(errors(student, transfer))
            found["validation"].append(int((logits.argmax(dim=1) != digits.validation.labels).sum()))
            found["validation_loss"].append(round(float(F.cross_entropy(logits, digits.validation.labels)), 4))
            found["test"].append(errors(student, digits.test))

    def loss(logits: Tensor, labels: Tensor, index: Tensor) -> Tensor:
        return distillation_loss(logits, way.logits[index], labels, way.temperature, way.alpha)

    set_seed(seed)
    student = mlp(PIXELS, HIDDEN, 10)
    train(
        student, transfer, epochs=epochs(settings.steps, transfer), lr=LR, seed=seed, loss=loss, schedule=cosine,
        after_step=look,
    )  # fmt: skip
    best = found["validation"].index(min(found["validation"]))
    test = found.pop("test")
    return {"curve": found, "test": test[-1], "stopped_at": found["step"][best], "test_if_stopped": test[best]}
