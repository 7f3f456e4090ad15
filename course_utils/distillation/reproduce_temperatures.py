"""Which temperature suits which size of student: one convolutional teacher, students of few and of many hidden units.

On the embedded digits, which stand still. Hinton 2015, section 3, found that small students want a middling temperature
and that large ones do alike at all high ones.
"""

from dataclasses import asdict, dataclass
from typing import Any

from course_utils.data import Digits, embedded_digits
from course_utils.distillation import reproduce_students as small
from course_utils.distillation.students import BATCH_SIZE, Way, train_students
from course_utils.reproduce.runner import Done, Experiment, Piece, Values


@dataclass(frozen=True)
class Settings(small.Settings):
    """Those of the small students, for the teacher; the students' hidden units, temperatures and steps."""

    hidden: tuple[int, ...] = (8, 32, 128)
    temperatures: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 20.0)
    hidden_steps: int = 1344


def load(digits: Digits | None, settings: Settings) -> Digits:
    return digits or embedded_digits()


def pieces(digits: Digits, settings: Settings, seeds: int) -> list[Piece]:
    """The teacher; for each size and seed the students of all temperatures."""
    return [Piece("teacher", small.train_convolutional)] + [
        Piece(f"seed {seed}/{hidden}", students_of, (seed, hidden), ("teacher",), seed=seed)
        for hidden in settings.hidden
        for seed in range(seeds)
    ]


def collect(digits: Digits, settings: Settings, done: Done) -> Values:
    """Errors of each seed's students, by hidden units and temperature."""
    return {
        "experiment": "temperatures for students of different sizes",
        "data": digits.summary(),
        "settings": asdict(settings),
        "choices": "none",
        **done.origin(),
        "teacher": done.get("teacher"),
        "runs": [{str(hidden): done[f"seed {seed}/{hidden}"] for hidden in settings.hidden} for seed in done.seeds()],
    }


run = Experiment("temperatures", Settings, load, pieces, collect).run


def students_of(digits: Digits, settings: Settings, seed: int, hidden: int, teacher: dict[str, Any]) -> Values:
    """A student of so many hidden units for each temperature, and one of labels alone; their errors."""
    logits = teacher["logits"]
    still = logits[len(logits) // 2]
    epochs = max(1, settings.hidden_steps // -(-len(digits.train) // BATCH_SIZE))
    ways = {"labels": Way(still, alpha=0.0)} | {f"{t:g}": Way(still, t) for t in settings.temperatures}
    students = train_students(digits.train, ways, [seed], epochs, hidden=hidden)
    return {way: small.score(student, digits) for way, (student,) in students.items()}
