"""What else of a teacher can be matched: its features, its attention, its relations, beside its logits.

One convolutional teacher; narrow students of the same depth; both see the same digits, which stand still. Each way's
weight is chosen on the validation digits by students of other seeds. Two controls: label smoothing, and a teacher that
was never trained.
"""

from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils.data import Digits, embedded_digits
from course_utils.distillation import distillation_loss, matching
from course_utils.distillation.reproduce_contest import convolutional, convolutional_teacher
from course_utils.models import parameter_count
from course_utils.reproduce.runner import Done, Experiment, Piece, Values
from course_utils.training import cosine, errors, set_seed, train


@dataclass(frozen=True)
class Settings:
    """What the experiment fixes beforehand. weights: of what is matched, beside the labels, to choose from."""

    teacher_epochs: int = 20
    student: tuple[int, int, int] = (3, 6, 24)  # filters of both convolutions, hidden units
    epochs: int = 16
    batch_size: int = 64
    lr: float = 5e-3  # of Adam; falls to 0 along a cosine
    temperature: float = 4.0
    weights: tuple[float, ...] = (1.0, 10.0, 100.0)
    smoothings: tuple[float, ...] = (0.1, 0.2, 0.4)
    choosing_seeds: tuple[int, ...] = (100,)


INSIDE = ("features", "attention", "relations")
MATCHED = ("logits", *INSIDE)
STAGES = {"early": slice(0, 3), "middle": slice(3, 6), "last": slice(6, 9), "logits": slice(9, None)}
Weights = dict[str, float]  # by what is matched, or of label smoothing


def load(digits: Digits | None, settings: Settings) -> Digits:
    return digits or embedded_digits()


def pieces(digits: Digits, settings: Settings, seeds: int) -> list[Piece]:
    """The teacher; the students that choose the weights, and the choice; the students of each seed and way."""
    tries = [
        ({way: weight}, seed)
        for way in ("smoothing", *MATCHED)
        for weight in (settings.smoothings if way == "smoothing" else settings.weights)
        for seed in settings.choosing_seeds
    ]
    names = [f"choosing seed {seed}/{way} {weight:g}" for tried, seed in tries for way, weight in tried.items()]
    combined = [(), ("smoothing",), *((way,) for way in MATCHED), *(("logits", way) for way in INSIDE)]
    ways = [(" + ".join(way) or "labels", way, "trained") for way in combined]
    ways += [(f"{way} of an untrained teacher", (way,), "untrained") for way in INSIDE]
    return [
        Piece("teacher", train_teacher),
        *(
            Piece(name, train_student, (seed, tried, "trained"), ("teacher",))
            for name, (tried, seed) in zip(names, tries, strict=True)
        ),
        Piece("choice", choose, ([tried for tried, _ in tries],), tuple(names)),
        *(
            Piece(f"seed {seed}/{name}", train_chosen, (seed, way, teacher), ("teacher", "choice"), seed=seed)
            for seed in range(seeds)
            for name, way, teacher in ways
        ),
    ]


def collect(digits: Digits, settings: Settings, done: Done) -> Values:
    """The weights that were chosen, and the errors of each seed's students, by way."""
    ways: Values = {}
    for piece in done.pieces:
        if piece.seed in done.seeds():
            ways.setdefault(piece.name.partition("/")[2], []).append(done[piece.name])
    return {
        "experiment": "what else of a teacher can be matched",
        "data": digits.summary(),
        "settings": asdict(settings),
        "choices": "each way's weight on the validation digits, by students of the choosing seeds",
        **done.origin(),
        "teacher": done.get("teacher"),
        "choice": done.get("choice"),
        "ways": ways,
    }


run = Experiment("matching", Settings, load, pieces, collect).run


def score(network: nn.Module, digits: Digits) -> Values:
    return {part: errors(network, getattr(digits, part)) for part in ("train", "validation", "test")}


def train_teacher(digits: Digits, settings: Settings) -> dict[str, Any]:
    """What the teacher shows of the training digits, before its training and after; its errors."""
    set_seed(0)
    teacher = convolutional_teacher()
    untrained = lessons(teacher, digits.train.images)
    train(teacher, digits.train, epochs=settings.teacher_epochs, lr=2e-3, schedule=cosine)
    trained = lessons(teacher, digits.train.images)
    return {
        "trained": trained,
        "untrained": untrained,
        "parameters": parameter_count(teacher),
        **score(teacher, digits),
    }


def stages(network: nn.Sequential, images: Tensor) -> dict[str, Tensor]:
    """What the stages of a `convolutional` network give: two of features, hidden units, logits; each [batch, ...]."""
    found, hidden = {}, images
    for name, layers in STAGES.items():
        found[name] = hidden = network[layers](hidden)
    return found


@torch.no_grad()
def lessons(teacher: nn.Sequential, images: Tensor) -> dict[str, Tensor]:
    """What students may match of a teacher: each [n, ...]. Features are scaled to a mean square of 1."""
    teacher.eval()
    shown = stages(teacher, images)
    return {
        "logits": shown["logits"],
        "features": shown["middle"] / shown["middle"].square().mean().sqrt(),
        "early attention": matching.attention(shown["early"]),
        "middle attention": matching.attention(shown["middle"]),
        "relations": shown["last"],
    }


class Student(nn.Module):
    """A `convolutional` network that keeps what its stages gave last, with a regressor for its middle features."""

    def __init__(self, widths: tuple[int, int, int], channels: int) -> None:
        super().__init__()
        self.network = convolutional(*widths)
        self.regressor = nn.Conv2d(widths[1], channels, 1)  # to the teacher's; not used after training

    def forward(self, images: Tensor) -> Tensor:
        self.seen = stages(self.network, images)
        return self.seen["logits"]


def mismatch(what: str, student: Student, told: dict[str, Tensor], index: Tensor, temperature: float) -> Tensor:
    """How far the student's last batch is from what the teacher shows of the digits at `index`: a scalar."""
    seen = student.seen
    match what:
        case "logits":
            logits = told["logits"][index]  # with alpha = 1 the labels are not used
            return distillation_loss(seen["logits"], logits, logits.argmax(dim=1), temperature, alpha=1.0)
        case "features":
            return matching.feature_loss(student.regressor(seen["middle"]), told["features"][index])
        case "attention":
            early, middle = (
                matching.attention_loss(matching.attention(seen[stage]), told[f"{stage} attention"][index])
                for stage in ("early", "middle")
            )
            return early + middle
        case _:
            return matching.relation_loss(seen["last"], told["relations"][index])


def train_student(
    digits: Digits, settings: Settings, seed: int, weights: Weights, teacher: str, shown: dict[str, Any]
) -> Values:
    """A student of the labels and of what else has a weight; its errors. teacher: trained, or untrained."""
    told = shown[teacher]
    set_seed(seed)
    student = Student(settings.student, told["features"].shape[1])
    matched = {what: weight for what, weight in weights.items() if what in MATCHED}

    def loss(logits: Tensor, labels: Tensor, index: Tensor) -> Tensor:
        total = F.cross_entropy(logits, labels, label_smoothing=weights.get("smoothing", 0.0))
        for what, weight in matched.items():
            total = total + weight * mismatch(what, student, told, index, settings.temperature)
        return total

    train(
        student, digits.train, epochs=settings.epochs, lr=settings.lr, batch_size=settings.batch_size, seed=seed,
        loss=loss, schedule=cosine,
    )  # fmt: skip
    return {"parameters": parameter_count(student.network), **score(student, digits)}


def choose(digits: Digits, settings: Settings, tries: list[Weights], *scores: Values) -> Values:
    """Each way's weight with the fewest validation errors, over all who tried it; the smallest of the best."""
    wrong: dict[str, dict[float, int]] = {}
    for tried, found in zip(tries, scores, strict=True):
        ((way, weight),) = tried.items()
        by_weight = wrong.setdefault(way, {})
        by_weight[weight] = by_weight.get(weight, 0) + found["validation"]
    return {
        "weights": {way: min(by_weight, key=by_weight.get) for way, by_weight in wrong.items()},
        "validation_errors": {way: {f"{w:g}": n for w, n in by_weight.items()} for way, by_weight in wrong.items()},
    }


def train_chosen(
    digits: Digits,
    settings: Settings,
    seed: int,
    ways: tuple[str, ...],
    teacher: str,
    shown: dict[str, Any],
    choice: Values,
) -> Values:
    """The same with the weights that were chosen for each way by itself."""
    weights = {way: choice["weights"][way] for way in ways}
    return train_student(digits, settings, seed, weights, teacher, shown)
