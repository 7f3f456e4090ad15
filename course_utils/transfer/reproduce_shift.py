"""A change of known rank: digits whose pixels are turned in k planes, for a network that has never seen them so.

Turned inputs x′ = μ + R(x − μ) are undone by W′ = WRᵀ and b′ = b + W(μ − Rᵀμ), which differ from W by rank 2k. How
much of that is found from few examples, by updates of which rank?
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.data import Digits, Split, full_mnist
from course_utils.models import mlp, mlp_forward
from course_utils.reproduce.runner import Done, Experiment, Piece, Values
from course_utils.training import cosine, set_seed, train
from course_utils.transfer import lora_merge, rank_for_energy, trainable_parameters

WEIGHT, BIAS = "1.weight", "1.bias"  # of the first layer, which alone is tuned
State = dict[str, Tensor]


@dataclass(frozen=True)
class Settings:
    """What the experiment fixes beforehand."""

    planes: tuple[int, ...] = (1, 3)
    shots: tuple[int, ...] = (1, 5, 20, 100)  # examples of each class
    ranks: tuple[int, ...] = (1, 2, 4, 8, 16)
    hidden: int = 100
    epochs: int = 5
    steps: int = 100
    looks: tuple[int, ...] = (12, 25, 50, 100)  # steps at which to stop, one of which is chosen
    batch: int = 200
    low_rates: tuple[float, ...] = (1e-3, 3e-3, 1e-2, 3e-2)
    full_rates: tuple[float, ...] = (1e-4, 3e-4, 1e-3, 3e-3)
    pulls: tuple[float, ...] = (1e-2, 1e-1)  # times |ΔW|², for full tuning that is held near its start
    validation: int = 1000


def load(digits: Digits | None, settings: Settings) -> Digits:
    return digits or full_mnist()


def pieces(digits: Digits, settings: Settings, seeds: int) -> list[Piece]:
    """A network for each seed, and each of its tasks by every method and rate."""
    work = []
    for seed in range(seeds):
        work.append(Piece(f"{seed}/network", network, (seed,), seed=seed))
        for planes in settings.planes:
            work += [
                Piece(f"{seed}/{planes}/{shots}", task, (seed, planes, shots), (f"{seed}/network",), seed=seed)
                for shots in settings.shots
            ]
    return work


def collect(digits: Digits, settings: Settings, done: Done) -> Values:
    """Of each method, task and seed the validation and the test accuracy at every rate and every look."""
    seeds = done.seeds()
    return {
        "experiment": "digits turned in planes: updates of every rank, from few examples",
        "data": digits.summary(),
        "settings": asdict(settings),
        **done.origin(),
        "numbers": numbers(settings),
        "networks": [done[f"{seed}/network"] for seed in seeds],
        "tasks": [
            {"planes": planes, "shots": shots, "runs": [done[f"{seed}/{planes}/{shots}"] for seed in seeds]}
            for planes in settings.planes
            for shots in settings.shots
        ],
    }


run = Experiment("shift", Settings, load, pieces, collect).run


def numbers(settings: Settings) -> Values:
    """What each method trains in the first layer; all train its bias too."""
    shape, bias = [(settings.hidden, 28 * 28)], settings.hidden
    counts = {"bias": bias, "full": trainable_parameters(shape, "full") + bias}
    counts["full, held"] = counts["full"]
    return counts | {f"r {rank}": trainable_parameters(shape, "lora", rank) + bias for rank in settings.ranks}


def network(digits: Digits, settings: Settings, seed: int) -> dict[str, State | float]:
    """The network before the change."""
    set_seed(seed)
    model = mlp(28 * 28, settings.hidden, 10)
    train(model, digits.train, epochs=settings.epochs, lr=2e-3, seed=seed, schedule=cosine, progress=False)
    state = {name: value.detach().clone() for name, value in model.state_dict().items()}
    return {"state": state, "test": accuracy(state, digits.test.images.flatten(1), digits.test.labels)}


def rotation(images: Tensor, planes: int) -> tuple[Tensor, Tensor]:
    """(R, μ): a quarter turn in the planes of the first principal components 1 and 2, 3 and 4, and so on."""
    pixels = images.flatten(1)
    mean = pixels.mean(0)
    covariance = (pixels - mean).T @ (pixels - mean) / len(pixels)
    axes = torch.linalg.eigh(covariance).eigenvectors.flip(1)[:, : 2 * planes]
    turn = torch.eye(len(mean))
    for first in range(0, 2 * planes, 2):
        p, q = axes[:, first], axes[:, first + 1]
        turn += torch.outer(q, p) - torch.outer(p, q) - torch.outer(p, p) - torch.outer(q, q)
    return turn, mean


def turned(split: Split, turn: Tensor, mean: Tensor) -> Tensor:
    """The pixels [n, 784] after the change."""
    return mean + (split.images.flatten(1) - mean) @ turn.T


def undone(state: State, turn: Tensor, mean: Tensor, with_bias: bool = True) -> State:
    """The exact answer: the network that gives turned digits the logits of the digits as they were."""
    weight = state[WEIGHT] @ turn.T
    bias = state[BIAS] + state[WEIGHT] @ (mean - turn.T @ mean) if with_bias else state[BIAS]
    return state | {WEIGHT: weight, BIAS: bias}


@torch.no_grad()
def accuracy(state: State, inputs: Tensor, labels: Tensor) -> float:
    return round(float((mlp_forward(state, inputs).argmax(1) == labels).float().mean()), 4)


def few_of_each(labels: Tensor, shots: int, seed: int) -> Tensor:
    """Places of so many examples of each class, by a seed."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(labels), generator=generator)
    return torch.cat([order[labels[order] == digit][:shots] for digit in range(10)])


def task(digits: Digits, settings: Settings, seed: int, planes: int, shots: int, before: dict[str, State]) -> Values:
    """Every method on the digits turned in so many planes, from so many of each class."""
    state = before["state"]
    turn, mean = rotation(digits.train.images[:10000], planes)
    chosen = few_of_each(digits.train.labels, shots, 100 + seed)
    inputs, labels = turned(digits.train.subset(chosen), turn, mean), digits.train.labels[chosen]
    validation = digits.validation.subset(slice(settings.validation))
    on_validation = turned(validation, turn, mean), validation.labels
    on_test = turned(digits.test, turn, mean), digits.test.labels
    found: Values = {
        "frozen": accuracy(state, *on_test),
        "undone": accuracy(undone(state, turn, mean), *on_test),
        "undone, bias forgotten": accuracy(undone(state, turn, mean, with_bias=False), *on_test),
        "methods": {},
    }
    ways = [("bias", 0, settings.low_rates, (0.0,)), ("full", None, settings.full_rates, (0.0,))]
    ways += [("full, held", None, settings.full_rates, settings.pulls)]
    ways += [(f"r {rank}", rank, settings.low_rates, (0.0,)) for rank in settings.ranks]
    for name, rank, rates, pulls in ways:
        tried = []
        for rate in rates:
            for pull in pulls:
                for step, now in descend(state, rank, inputs, labels, rate, pull, settings, seed):
                    reached = {"rate": rate, "pull": pull, "step": step, "validation": accuracy(now, *on_validation)}
                    tried.append((reached, now))
        # The first of the best: the lowest rate, stopped earliest
        best, now = max(tried, key=lambda each: each[0]["validation"])
        singular = torch.linalg.svdvals(now[WEIGHT] - state[WEIGHT])
        best |= {"tried": len(tried), "rank of 90%": rank_for_energy(singular, 0.9)}
        found["methods"][name] = best | {"test": accuracy(now, *on_test)}
    return found


def descend(
    state: State,
    rank: int | None,
    inputs: Tensor,
    labels: Tensor,
    rate: float,
    pull: float,
    settings: Settings,
    seed: int,
) -> Iterator[tuple[int, State]]:
    """Adam on an update of a rank (None: of any), and on the bias; the network at every look."""
    generator = torch.Generator().manual_seed(seed)
    out, width = state[WEIGHT].shape
    bias = state[BIAS].clone().requires_grad_()
    if rank is None:
        leaves = [torch.zeros(out, width).requires_grad_()]
    else:
        a = torch.randn(rank, width, generator=generator) / math.sqrt(width)
        leaves = [a.requires_grad_(), torch.zeros(out, rank).requires_grad_()]
    optimizer = torch.optim.Adam([bias, *leaves], lr=rate)

    def adapted() -> State:
        weight = state[WEIGHT] + leaves[0] if rank is None else lora_merge(state[WEIGHT], *leaves, 1.0)
        return state | {WEIGHT: weight, BIAS: bias}

    for step in range(1, settings.steps + 1):
        batch = torch.randperm(len(labels), generator=generator)[: settings.batch]
        optimizer.zero_grad()
        loss = F.cross_entropy(mlp_forward(adapted(), inputs[batch]), labels[batch])
        if pull:
            loss = loss + pull * leaves[0].square().sum()
        loss.backward()
        optimizer.step()
        if step in settings.looks:
            yield step, {name: value.detach().clone() for name, value in adapted().items()}


def mean_by(results: Values, planes: int, shots: int, method: str) -> Sequence[float]:
    """Test accuracies of a method by seed."""
    found = next(each for each in results["tasks"] if (each["planes"], each["shots"]) == (planes, shots))
    return [run["methods"][method]["test"] for run in found["runs"]]
