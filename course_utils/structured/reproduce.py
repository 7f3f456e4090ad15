"""The LeNet of Wen 2016, table 1: group lasso, surgery, and the clock.

SSL's own code (Caffe) descends along the subgradient of the group lasso and sets weights below 0.0001 to 0 after each
step; here the proximal step reaches 0 by itself.

Each network that the lasso narrows has two controls, trained on as many digits and in the end alike: one with as many
filters from the start, and a twin that at the same moments has the same numbers of filters, drawn at random. Z. Liu et
al., Rethinking the Value of Network Pruning, ICLR 2019 (arXiv:1810.05270), asks the same of larger networks.
"""

from dataclasses import asdict, dataclass
from functools import partial

import torch
from torch import Tensor, nn

from course_utils import structured
from course_utils.budget import conv2d_macs, linear_macs
from course_utils.data import Digits, full_mnist
from course_utils.reproduce.runner import Done, Experiment, Piece, Values
from course_utils.structured.lenet import (
    BATCH,
    LR,
    SGD,
    State,
    lenet_of,
    narrow_lenet,
    train_group_lasso,
    train_random_cuts,
    widths,
)
from course_utils.structured.timing import FULL, LAYERS, layer_times, regular_shape, zeros_times
from course_utils.training import cosine, cross_entropy, errors, train

PAPER = {
    "source": "W. Wen et al., Learning Structured Sparsity in Deep Neural Networks, NeurIPS 2016, table 1",
    "rows": [
        {"error": 0.9, "filters": [20, 50], "channels": [1, 20], "flop": [100, 100], "speedup": [1.0, 1.0]},
        {"error": 0.8, "filters": [5, 19], "channels": [1, 4], "flop": [25, 7.6], "speedup": [1.64, 5.23]},
        {"error": 1.0, "filters": [3, 12], "channels": [1, 3], "flop": [15, 3.6], "speedup": [1.99, 7.44]},
    ],
    "concatenation": 5.0,  # times, the figure's
}

WAYS = ("lasso", "random", "scratch")  # to a narrow network


@dataclass(frozen=True)
class Settings:
    """What the experiment fixes beforehand. λ was tuned until all widths were reached within an epoch."""

    narrow: tuple[tuple[int, int], ...] = ((5, 19), (3, 12), (3, 9), (2, 8))  # filters of conv1 and conv2
    strengths: tuple[float, float] = (0.15, 0.6)  # λ of conv1's filters and conv2's channels; of conv2's filters
    parts: int = 11  # of the training with the lasso, of so many images each: one epoch in all
    images: int = 4992  # whole batches
    epochs: int = 10  # after the lasso, cosine
    at_most: float = 0.8  # % validation errors, mean over seeds: the narrowest that does it is chosen
    path: tuple[float, ...] = (0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.12, 0.15, 0.2)
    compared: float = 0.05  # λ at which the proximal step is compared with the subgradient
    momentum: float = 0.9
    batches: tuple[int, ...] = (1, 100, 1000)
    rounds: tuple[int, ...] = (300, 40, 12)  # of timing, for each batch
    zeros_rounds: tuple[int, ...] = (60, 12)
    threads: tuple[int, ...] = (1, 2)
    kept: tuple[float, ...] = (0.5, 0.2, 0.095, 0.036, 0.027, 0.016)  # of conv2's weights; the last four as in `narrow`


def load(digits: Digits | None, settings: Settings) -> Digits:
    return digits or full_mnist()


def pieces(digits: Digits, settings: Settings, seeds: int) -> list[Piece]:
    """The networks and both ways to descend; then the path of λ and the clock, which want a quiet machine."""
    work = []
    for seed in range(seeds):
        here = partial(Piece, group="networks", seed=seed)
        for a, b in settings.narrow:
            lasso = f"seed {seed}/lasso/{a}—{b}"
            work.append(here(lasso, with_lasso, (seed, a, b)))
            work.append(here(f"seed {seed}/random/{a}—{b}", at_random, (seed,), needs=(lasso,)))
            work.append(here(f"seed {seed}/scratch/{a}—{b}", from_scratch, (seed, a, b)))
        work.append(here(f"seed {seed}/dense", from_scratch, (seed, *FULL)))
        work += [here(f"seed {seed}/{way}", descend, (seed, way)) for way in ("proximal", "subgradient")]
    for seed in range(seeds):
        path = partial(Piece, group="path", seed=seed)
        work += [path(f"seed {seed}/path/{strength}", at_strength, (seed, strength)) for strength in settings.path]
    for run in range(seeds):
        timed = partial(Piece, group="times", seed=run)
        work += [timed(f"run {run}/{t} threads", time_layers, (run, t)) for t in settings.threads]
        work += [timed(f"run {run}/zeros/{b}", time_zeros, (run, b)) for b in settings.batches[:2]]
    return work


def collect(digits: Digits, settings: Settings, done: Done) -> Values:
    """Errors of the networks by seed, the path of λ, and the times."""
    seeds = done.seeds("networks")
    narrow = [f"{a}—{b}" for a, b in settings.narrow]
    return {
        "experiment": "structured sparsity of a LeNet by the group lasso",
        "data": digits.summary(),
        "settings": asdict(settings),
        **done.origin(),
        "paper": PAPER,
        "macs": {f"{a}—{b}": macs((a, b)) for a, b in (FULL, *settings.narrow)},
        "runs": [
            {
                "seed": seed,
                "dense": done[f"seed {seed}/dense"],
                **{way: {name: done[f"seed {seed}/{way}/{name}"] for name in narrow} for way in WAYS},
                "proximal": done[f"seed {seed}/proximal"],
                "subgradient": done[f"seed {seed}/subgradient"],
            }
            for seed in seeds
        ],
        "path": [
            {"seed": seed, **done[f"seed {seed}/path/{strength}"]}
            for seed in done.seeds("path")
            for strength in settings.path
        ],
        "times": [
            {
                "layers": {str(t): done[f"run {run}/{t} threads"] for t in settings.threads},
                "zeros": {str(batch): done[f"run {run}/zeros/{batch}"] for batch in settings.batches[:2]},
            }
            for run in done.seeds("times")
        ],
    }


run = Experiment("structured", Settings, load, pieces, collect).run


def macs(filters: tuple[int, int]) -> dict[str, int]:
    """Multiply-accumulates of each layer for one image."""
    first, second = filters
    layers = {
        "conv1": conv2d_macs(1, first, (5, 5), (24, 24)),
        "conv2": conv2d_macs(first, second, (5, 5), (8, 8)),
        "fc1": linear_macs(16 * second, 500),
        "fc2": linear_macs(500, 10),
    }
    return layers | {"network": sum(layers.values())}


def finish(model: nn.Sequential, epochs: int, digits: Digits, seed: int) -> Values:
    """Train without the lasso, at a rate that falls along a cosine, and count errors."""
    common = {"batch_size": BATCH, "optimizer": SGD, "schedule": cosine, "jitter": 1, "progress": False}
    train(model, digits.train, epochs=epochs, lr=LR, seed=seed, **common)
    return {
        "filters": widths(model.state_dict()),
        "validation_errors": errors(model, digits.validation),
        "test_errors": errors(model, digits.test),
    }


def with_lasso(digits: Digits, settings: Settings, seed: int, first: int, second: int) -> Values:
    """A wide network that is narrowed to so many filters and trained on; its errors and how it went."""
    state, parts = train_group_lasso(
        narrow_lenet(FULL, seed).state_dict(), digits.train, settings.strengths, (first, second),
        parts=settings.parts, images=settings.images, seed=seed,
    )  # fmt: skip
    return go_on(state, parts, settings.epochs, digits, seed)


def at_random(digits: Digits, settings: Settings, seed: int, lasso: Values) -> Values:
    """The same wide network without a penalty; as many filters go in each part as the lasso's, but drawn at random."""
    schedule = [part["filters"] for part in lasso["parts"]]
    first = narrow_lenet(FULL, seed).state_dict()
    state, parts = train_random_cuts(first, digits.train, schedule, images=settings.images, seed=seed)
    return go_on(state, parts, settings.epochs, digits, seed)


def go_on(state: State, parts: list[Values], epochs: int, digits: Digits, seed: int) -> Values:
    """Train a network that has been narrowed; also how that went, and its errors then."""
    model = lenet_of(state)
    before = errors(model, digits.validation)
    return finish(model, epochs, digits, seed) | {"validation_errors_when_narrow": before, "parts": parts}


def from_scratch(digits: Digits, settings: Settings, seed: int, first: int, second: int) -> Values:
    """A network of these widths from the start, trained on at least as many images as with the lasso."""
    with_it = settings.parts * settings.images / len(digits.train)
    epochs = settings.epochs + max(1, round(with_it))
    return finish(narrow_lenet((first, second), seed), epochs, digits, seed) | {"epochs": epochs}


def descend(digits: Digits, settings: Settings, seed: int, way: str) -> Values:
    """The same training with the same λ, by proximal steps or along the subgradient of the penalty; nothing is cut.

    With momentum μ a gradient moves the weights 1/(1 − μ) times as far in the long run, a proximal step does not: the
    subgradient's λ is lowered to (1 − μ)·λ.
    """
    order = torch.randperm(len(digits.train), generator=torch.Generator().manual_seed(seed))
    λ1, λ2 = settings.compared, 4 * settings.compared
    model, norms = narrow_lenet(FULL, seed), []
    first, second = model[0].weight, model[2].weight

    def penalised(logits: Tensor, labels: Tensor, index: Tensor) -> Tensor:
        lasso = structured.group_lasso([first], λ1, 0) + structured.group_lasso([second], λ2, λ1)
        return cross_entropy(logits, labels, index) + (1 - settings.momentum) * lasso

    @torch.no_grad()
    def shrink(model: nn.Module) -> None:
        first.copy_(structured.proximal_step(first, torch.zeros_like(first), LR, λ1, 0))
        second.copy_(structured.proximal_step(second, torch.zeros_like(second), LR, λ2, λ1))

    extra = {"after_step": shrink} if way == "proximal" else {"loss": penalised}
    # Whole batches: a last one of few digits pulls at random, and dead filters wake just where we look
    for part, index in enumerate(order.split(settings.images)[: settings.parts]):
        common = {"batch_size": BATCH, "optimizer": SGD, "jitter": 1, "progress": False}
        train(model, digits.train.subset(index), epochs=1, lr=LR, seed=1000 * seed + part, **common, **extra)
        norms.append([round(norm, 5) for norm in structured.filter_norms(second.detach()).tolist()])
    dead = int((structured.filter_norms(second) == 0).sum())
    return {"norms": norms, "dead": dead, "validation_errors": errors(model, digits.validation)}


def at_strength(digits: Digits, settings: Settings, seed: int, strength: float) -> Values:
    """A network as narrow as λ makes it, trained for one more epoch; of the first seed, which the explorer shows, also
    the kernels, in hundredths."""
    state, _ = train_group_lasso(
        narrow_lenet(FULL, seed).state_dict(), digits.train, (strength, 4 * strength),
        parts=settings.parts, images=settings.images, seed=seed,
    )  # fmt: skip
    model = lenet_of(state)
    found = finish(model, 1, digits, seed)
    ms = layer_times("conv2", (FULL, tuple(found["filters"])), 100, rounds=10)
    found |= {
        "strength": strength,
        "macs": macs(tuple(found["filters"]))["network"],
        "conv2_ms": [times[0] for times in ms.values()],
    }
    if seed:
        return found
    state = model.state_dict()
    kernels = state["0.weight"].flatten(1)
    kernels = (100 * kernels / kernels.abs().max()).round().int().tolist()
    norms = [round(norm, 2) for norm in structured.filter_norms(state["2.weight"]).tolist()]
    return found | {"kernels": kernels, "norms": norms}


def time_layers(digits: Digits, settings: Settings, run: int, threads: int) -> Values:
    """Milliseconds of each layer at each width and batch."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return {
            layer: {
                str(batch): layer_times(layer, (FULL, *settings.narrow), batch, rounds)
                for batch, rounds in zip(settings.batches, settings.rounds, strict=True)
            }
            for layer in LAYERS
        }
    finally:
        torch.set_num_threads(before)


def time_zeros(digits: Digits, settings: Settings, run: int, batch: int) -> Values:
    """Milliseconds of conv2 with scattered and with regular zeros, on one thread."""
    rounds = dict(zip(settings.batches, settings.zeros_rounds, strict=False))[batch]
    return {str(kept): zeros_times(kept, *regular_shape(kept), batch, rounds) for kept in settings.kept}
