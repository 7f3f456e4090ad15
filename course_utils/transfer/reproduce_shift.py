"""A change of known rank: digits whose pixels are turned in k planes, for a network that has never seen them so.

Turned inputs x′ = μ + R(x − μ) are undone by W′ = WRᵀ and b′ = b + W(μ − Rᵀμ), which differ from W by rank 2k. How
much of that is found from few examples, by updates of which rank?
"""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.data import Digits, full_mnist
from course_utils.models import mlp, mlp_forward
from course_utils.reproduce.runner import Done, Experiment, Piece, Values
from course_utils.training import cosine, set_seed, train
from course_utils.transfer import lora_merge, rank_for_energy, trainable_parameters
from course_utils.transfer.shift import BIAS, WEIGHT, State, accuracy, few_of_each, rotation, turned, undone


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
    full_rates: tuple[float, ...] = (3e-4, 1e-3, 3e-3, 1e-2)
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
