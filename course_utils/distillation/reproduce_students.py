"""Small students on the embedded digits: what patience changes, who wins if the teacher labels moved digits too, and
what is learned from an ensemble, and from a teacher that is better than any student.

The setting of each family (a temperature, a smoothing) is chosen on the validation digits, by the mean over all seeds;
a seed sets a student's first weights, the order of its digits and how they are moved, alike for all ways of teaching.
"""

from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor, nn

from course_utils.data import Digits, embedded_digits
from course_utils.distillation import ensemble_soft_targets, virtual_teacher
from course_utils.distillation.reproduce_contest import convolutional_teacher
from course_utils.distillation.students import BATCH_SIZE, Way, logits_at_moves, train_students
from course_utils.models import mlp
from course_utils.reproduce.runner import Done, Experiment, Piece, Values
from course_utils.training import cosine, errors, set_seed, train


@dataclass(frozen=True)
class Settings:
    """What the experiment fixes beforehand. steps: of each student, in three lengths of training."""

    teachers: int = 5
    teacher_epochs: int = 25
    jitter: int = 2  # pixels
    sizes: tuple[int, ...] = (500, 3500)  # of the transfer set
    steps: tuple[int, ...] = (168, 672, 2688)
    smoothings: tuple[float, ...] = (0.1, 0.4)
    temperatures: tuple[float, ...] = (4.0, 16.0)
    of_ensemble: float = 4.0  # temperature


def load(digits: Digits | None, settings: Settings) -> Digits:
    return digits or embedded_digits()


def pieces(digits: Digits, settings: Settings, seeds: int) -> list[Piece]:
    """The teachers; for each transfer set, still or moved, each length and seed, the students of all ways.

    Those of the convolutional teacher are trained apart.
    """
    contests = [
        (f"{size} digits, {'moved' if jitter else 'still'}, {steps} steps", (size, jitter, steps))
        for size in settings.sizes
        for jitter in (settings.jitter, 0)
        for steps in settings.steps
    ]
    return [
        Piece("teachers", train_teachers),
        Piece("convolutional", train_convolutional),
        *(
            Piece(f"seed {seed}{taught}/{name}", function, (seed, *arguments), (teacher,), seed=seed)
            for function, teacher, taught in (
                (contest, "teachers", ""),
                (contest_of_convolutional, "convolutional", ", convolutional"),
            )
            for name, arguments in contests
            for seed in range(seeds)
        ),
    ]


def collect(digits: Digits, settings: Settings, done: Done) -> Values:
    """Errors of each seed's students, by contest and way of teaching."""
    contests: Values = {}
    for piece in done.pieces:
        if piece.seed in done.seeds():
            by_way = contests.setdefault(piece.name.partition("/")[2], {})
            for way, score in done[piece.name].items():
                by_way.setdefault(way, []).append(score)
    return {
        "experiment": "small students on the embedded digits",
        "data": digits.summary(),
        "settings": asdict(settings),
        "choices": "each family's setting on the validation digits, by the mean over seeds",
        **done.origin(),
        "teachers": done.get("teachers"),
        "convolutional": done.get("convolutional"),
        "contests": contests,
    }


run = Experiment("students", Settings, load, pieces, collect).run


def train_teachers(digits: Digits, settings: Settings) -> dict[str, Any]:
    """The first teacher's logits and those of all teachers' mean [moves, train, classes]; what they get wrong."""
    teachers = []
    for seed in range(settings.teachers):
        set_seed(seed)
        teachers.append(mlp(784, 300, 10, dropout=0.4, input_dropout=0.2))
        train(
            teachers[-1], digits.train, epochs=settings.teacher_epochs, lr=2e-3, seed=seed, schedule=cosine,
            jitter=settings.jitter,
        )  # fmt: skip
    logits = [logits_at_moves(teacher, digits.train.images, settings.jitter) for teacher in teachers]
    test = [teacher(digits.test.images) for teacher in teachers]
    wrong = ensemble_soft_targets(test, 1.0).argmax(dim=1) != digits.test.labels
    return {
        "logits": logits[0],
        "ensemble": settings.of_ensemble * ensemble_soft_targets(logits, settings.of_ensemble).log(),
        "test_errors": [errors(teacher, digits.test) for teacher in teachers],
        "ensemble_test_errors": int(wrong.sum()),
    }


def train_convolutional(digits: Digits, settings: Settings) -> dict[str, Any]:
    """A convolutional teacher's logits [moves, train, classes], and what it gets wrong."""
    set_seed(0)
    teacher = convolutional_teacher()
    train(teacher, digits.train, epochs=settings.teacher_epochs, lr=2e-3, schedule=cosine, jitter=settings.jitter)
    logits = logits_at_moves(teacher, digits.train.images, settings.jitter)
    return {"logits": logits, "test_errors": errors(teacher, digits.test)}


def score(student: nn.Module, digits: Digits) -> Values:
    return {"validation": errors(student, digits.validation), "test": errors(student, digits.test)}


def contest(
    digits: Digits, settings: Settings, seed: int, size: int, jitter: int, steps: int, teachers: dict[str, Any]
) -> Values:
    """A student for each way of teaching the first `size` digits, moved by up to `jitter` pixels; its errors."""
    labels = digits.train.labels[:size]

    def smoothed(epsilon: float) -> Way:
        return Way(virtual_teacher(labels, 10, 1 - 0.9 * epsilon).log(), alpha=1.0)

    known, ensemble = (_known(teachers[name], size, jitter) for name in ("logits", "ensemble"))
    ways = (
        {"labels": Way(known, alpha=0.0)}
        | {f"smoothed ε = {epsilon:g}": smoothed(epsilon) for epsilon in settings.smoothings}
        | {f"distilled T = {t:g}": Way(known, t) for t in settings.temperatures}
        | {f"of five teachers T = {settings.of_ensemble:g}": Way(ensemble, settings.of_ensemble)}
    )
    return _scores(digits, seed, size, jitter, steps, ways)


def contest_of_convolutional(
    digits: Digits, settings: Settings, seed: int, size: int, jitter: int, steps: int, teacher: dict[str, Any]
) -> Values:
    """The same, taught by the convolutional teacher."""
    known = _known(teacher["logits"], size, jitter)
    ways = {f"of a convolutional teacher T = {t:g}": Way(known, t) for t in settings.temperatures}
    return _scores(digits, seed, size, jitter, steps, ways)


def _known(logits: Tensor, size: int, jitter: int) -> Tensor:
    """What a teacher says of the transfer set [moves, size, classes]; if it stands still, there is one move."""
    logits = logits[:, :size]
    return logits if jitter else logits[len(logits) // 2].unsqueeze(0)


def _scores(digits: Digits, seed: int, size: int, jitter: int, steps: int, ways: dict[str, Way]) -> Values:
    transfer = digits.train.subset(slice(0, size))
    epochs = max(1, steps // -(-len(transfer) // BATCH_SIZE))
    students = train_students(transfer, ways, [seed], epochs, jitter)
    return {way: score(student, digits) for way, (student,) in students.items()}
