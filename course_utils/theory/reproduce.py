"""The four questions of unit 13 on MNIST, each with the smallest experiment that could refute its theorem.

Approximation: a trained LeNet-300-100 rebuilt by masks alone, and edge-popup. Optimization: kernels of pruned networks,
and real descent beside them. Generalization: noisy labels. Topology: which number of a mask tells accuracy.
"""

import itertools
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from course_utils.data import Digits, Split, full_mnist
from course_utils.models import lenet_300_100, mlp
from course_utils.reproduce.runner import Done, Experiment, Piece, Values
from course_utils.theory import noise, ranking, supermask, wide
from course_utils.training import cosine, errors, set_seed, train

PAPER = {
    "Malach 2020": "O(d⁴ l²) times wider, twice as deep",
    "Pensia 2020": "O(log(dl)) times wider, twice as deep",
    "Zhou 2019": {"MNIST": 86, "CIFAR-10": 41},  # % right, masks on untrained networks
    "Yang & Wang 2023": "the pruned kernel tends to the limit times a factor, to the limit if rescaled",
}
LENET = (784, 300, 100, 10)
FINER = (12, 14)  # units for each weight, in a second run of the same network: the first ones were not enough
PARTS = ("chosen", "confirmed", "other network")  # of topology
SGD = partial(torch.optim.SGD, momentum=0.9, weight_decay=1e-4)


@dataclass(frozen=True)
class Settings:
    """What the experiment fixes beforehand.

    The rates were chosen on validation digits with a seed of their own (9), from 0.1, 0.2, 0.4 (training), 1, 4 (signed
    scores) and 0.3, 1 (scores by size).
    """

    units: tuple[int, ...] = (1, 2, 4, 6, 8, 10)  # for each weight
    sum_sizes: tuple[int, ...] = (1, 2, 4, 6, 8, 10, 12, 14, 16)
    targets: int = 200  # for each size
    lenet_epochs: int = 6
    widths: tuple[int, ...] = (50, 150, 300)
    popup_images: int = 40_000
    popup_epochs: int = 3
    train_rate: float = 0.1
    signed_rate: float = 1.0
    by_size_rate: float = 0.3
    kernel_widths: tuple[int, ...] = (64, 256, 1024)
    kernel_densities: tuple[float, ...] = (1.0, 1 / 4, 1 / 16)
    kernel_images: int = 8
    networks: int = 3  # for each width, density and seed
    descent_images: int = 20
    looks: tuple[int, ...] = (0, 3, 10, 30, 100)
    scales: tuple[float, ...] = (0.001, 0.01, 0.1, 0.3, 1.0)
    sparse_problem: tuple[int, int, int] = (20, 40, 3)  # examples, features, weights that are not 0
    sparse_steps: int = 10_000
    sparse_rate: float = 0.02
    noisy_images: int = 2000
    noisy_validation: int = 1000
    noise: float = 0.4
    noisy_epochs: int = 25
    noisy_densities: tuple[float, ...] = (1.0, 0.5, 0.25, 0.125, 0.06, 0.03, 0.015, 0.008)
    noisy_random: tuple[float, ...] = (0.25, 0.06, 0.015, 0.004)
    noisy_hidden: tuple[int, ...] = (12, 6)  # hidden units of small dense networks
    ranked_densities: tuple[float, ...] = (0.05, 0.02, 0.01, 0.005)
    ranked_images: int = 3000
    ranked_epochs: int = 10
    ranked_rate: float = 3e-3
    probes: int = 4  # images for the kernel's numbers
    other_sizes: tuple[int, ...] = (784, 100, 100, 100, 10)


def load(digits: Digits | None, settings: Settings) -> Digits:
    return digits or full_mnist()


def pieces(digits: Digits, settings: Settings, seeds: int) -> list[Piece]:
    """For each seed the pieces of the four questions, each a group of its own."""
    work = []
    for seed in range(seeds):
        here = partial(Piece, group="approximation", seed=seed)
        work.append(here(f"seed {seed}/sums", sums, (seed,)))
        work.append(here(f"seed {seed}/rebuilt", rebuilt, (seed,)))
        work.append(here(f"seed {seed}/finer", rebuilt, (seed, FINER)))
        for row in popup_rows(settings):
            work.append(here(f"seed {seed}/popup/{' '.join(map(str, row))}", popup, (seed, *row)))
        here = partial(Piece, group="optimization", seed=seed)
        work.append(here(f"seed {seed}/bias", bias, (seed,)))
        for width in settings.kernel_widths:
            work.append(here(f"seed {seed}/kernel/{width}", kernels, (seed, width)))
        here = partial(Piece, group="generalization", seed=seed)
        work.append(here(f"seed {seed}/tickets", noisy_tickets, (seed,)))
        work.append(here(f"seed {seed}/controls", noisy_controls, (seed,)))
    for part, seed in itertools.product(PARTS, range(seeds)):
        for density in settings.ranked_densities:
            name = f"seed {seed}/{part}/{density}"
            work.append(Piece(name, rank, (seed, part, density), group=part, seed=seed))
    return work


def popup_rows(settings: Settings) -> list[tuple[int, str, float]]:
    """Width, method and part kept of every row: at the middle width all, at the others training and half kept."""
    rows = [(w, method, keep) for w in settings.widths for method, keep in (("trained", 1.0), ("signed", 0.5))]
    middle = settings.widths[len(settings.widths) // 2]
    return [*rows, (middle, "signed", 0.1), (middle, "by size", 0.5), (middle, "by size", 0.1), (middle, "random", 0.5)]


def collect(digits: Digits, settings: Settings, done: Done) -> Values:
    approximation, optimization, generalization = map(done.seeds, ("approximation", "optimization", "generalization"))
    rows = popup_rows(settings)
    return {
        "experiment": "four theorems on sparse networks, each beside what could refute it",
        "data": digits.summary(),
        "settings": asdict(settings),
        **done.origin(),
        "paper": PAPER,
        "approximation": [
            {
                "seed": seed,
                "sums": done[f"seed {seed}/sums"],
                "rebuilt": merged(done[f"seed {seed}/rebuilt"], done[f"seed {seed}/finer"]),
                "popup": [
                    {"width": w, "method": m, "keep": k, **done[f"seed {seed}/popup/{w} {m} {k}"]} for w, m, k in rows
                ],
            }
            for seed in approximation
        ],
        "optimization": [
            {
                "seed": seed,
                "kernels": {str(width): done[f"seed {seed}/kernel/{width}"] for width in settings.kernel_widths},
                "bias": done[f"seed {seed}/bias"],
            }
            for seed in optimization
        ],
        "generalization": [
            {"seed": seed, **done[f"seed {seed}/tickets"], **done[f"seed {seed}/controls"]} for seed in generalization
        ],
        "topology": {
            part: {
                str(density): [
                    row for seed in done.seeds(part) for row in done[f"seed {seed}/{part}/{density}"]["rows"]
                ]
                for density in settings.ranked_densities
            }
            for part in PARTS
        },
    }


run = Experiment("theory", Settings, load, pieces, collect).run


# --- approximation ----------------------------------------------------------------------------------------------------


def sums(digits: Digits, settings: Settings, seed: int) -> Values:
    """Errors of the best subset and of the best single product (or none), by the number of units; targets from −1 to 1,
    products of two numbers that are uniform from 0 to 1 and from −1 to 1."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for units in settings.sum_sizes:
        first, second, target = (
            torch.rand(settings.targets, size, generator=generator, dtype=torch.float64) for size in (units, units, 1)
        )
        products, target = first * (2 * second - 1), 2 * target - 1
        reached = torch.zeros(settings.targets, 1, dtype=torch.float64)
        for product in products.T:
            reached = torch.cat([reached, reached + product[:, None]], dim=1)
        subset = (reached - target).abs().amin(1)
        single = torch.minimum((products - target).abs().amin(1), target.abs().squeeze(1))
        found[str(units)] = {"subset": quartiles(subset), "single": quartiles(single)}
    return found


def quartiles(values: Tensor) -> list[float]:
    """Lower quartile, median, upper quartile, to four digits."""
    points = torch.tensor([0.25, 0.5, 0.75], dtype=values.dtype)
    return [float(f"{value:.4g}") for value in torch.quantile(values, points).tolist()]


def rebuilt(digits: Digits, settings: Settings, seed: int, units: Sequence[int] = ()) -> Values:
    """A trained LeNet-300-100; rebuilt by masks of so many random units a weight; by random masks of as many; and with
    its own weights rounded to as many bits as the masks have."""
    set_seed(seed)
    model = lenet_300_100()
    train(model, digits.train, epochs=settings.lenet_epochs, lr=settings.train_rate, seed=seed, optimizer=SGD,
          schedule=cosine, progress=False)  # fmt: skip
    state = {name: value.detach().clone() for name, value in model.state_dict().items()}
    found: Values = {"trained": counted(model, digits), "units": {}}
    for count in units or settings.units:
        start = time.process_time()
        network = supermask.rebuild_network(state, count, seed)
        seconds = time.process_time() - start
        row: Values = {"seconds": round(seconds, 2)}
        made = {
            "masks": network,
            "random masks": supermask.random_masks(state, count, seed),
            "rounded": supermask.quantize(state, count),
        }
        for name, other in made.items():
            model.load_state_dict(other)
            row[name] = counted(model, digits)
        found["units"][str(count)] = row
    return found


def merged(first: Values, second: Values) -> Values:
    """Two runs of `rebuilt` of one seed. ValueError if their trained networks differ."""
    if first["trained"] != second["trained"]:
        raise ValueError("The trained network differs from run to run: use one thread, and the same machine.")
    return first | {"units": first["units"] | second["units"]}


def counted(model: nn.Module, digits: Digits) -> dict[str, int]:
    return {"validation": errors(model, digits.validation), "test": errors(model, digits.test)}


def popup(digits: Digits, settings: Settings, seed: int, width: int, method: str, keep: float) -> Values:
    """Errors of a network 784-width-width-10: trained; by edge-popup; or with random scores that stay."""
    sizes, split = (784, width, width, 10), digits.train.subset(slice(0, settings.popup_images))
    common = {"epochs": settings.popup_epochs, "seed": seed, "optimizer": SGD, "schedule": cosine, "progress": False}
    if method == "trained":
        set_seed(seed)
        model: nn.Module = mlp(*sizes)
        train(model, split, lr=settings.train_rate, **common)
    else:
        model = supermask.PopupNetwork(sizes, keep, method == "by size", seed)
        if method != "random":
            train(model, split, lr=settings.by_size_rate if method == "by size" else settings.signed_rate, **common)
    return counted(model, digits)


# --- optimization -----------------------------------------------------------------------------------------------------


def kernels(digits: Digits, settings: Settings, seed: int, width: int) -> Values:
    """By density: kernels of pruned networks beside the limit, and descent beside the first kernel; at the least
    density also with the first layer pruned."""
    images = digits.train.images[: settings.kernel_images]
    pair = digits.train.subset((digits.train.labels < 2).nonzero().flatten()[: settings.descent_images])
    targets = (2 * pair.labels - 1).float()
    found = {}
    for density in settings.kernel_densities:
        seeds = range(settings.networks * seed, settings.networks * (seed + 1))
        row: dict[str, Any] = {"kernel": [wide.kernel_error(images, width, density, each) for each in seeds]}
        if density == min(settings.kernel_densities):
            row["first layer too"] = [wide.kernel_error(images, width, density, each, True) for each in seeds]
        for name, repair in (("rescaled", True), ("unscaled", False)):
            row[name] = wide.descend(pair.images, targets, width, density, seed, settings.looks, repair)
        found[f"{density:g}"] = row
    return found


def bias(digits: Digits, settings: Settings, seed: int) -> Values:
    """What descent on u ⊙ u − v ⊙ v finds from each scale."""
    recipes = {f"{scale:g}": (settings.sparse_rate, settings.sparse_steps) for scale in settings.scales}
    return wide.implicit_bias(*settings.sparse_problem, seed, recipes)


# --- generalization ---------------------------------------------------------------------------------------------------


def task_of(digits: Digits, settings: Settings, seed: int) -> noise.NoisyTask:
    train_split = digits.train.subset(slice(seed * settings.noisy_images, (seed + 1) * settings.noisy_images))
    validation: Split = digits.validation.subset(slice(0, settings.noisy_validation))
    return noise.noisy_task(train_split, validation, digits.test, settings.noise, seed)


def training_of(settings: Settings) -> dict[str, Any]:
    return {"epochs": settings.noisy_epochs, "lr": 1.2e-3, "batch": 64}


def noisy_tickets(digits: Digits, settings: Settings, seed: int) -> Values:
    """Tickets of every density, the dense network first."""
    task = task_of(digits, settings, seed)
    return {"tickets": noise.tickets(task, settings.noisy_densities, LENET, seed, **training_of(settings))}


def noisy_controls(digits: Digits, settings: Settings, seed: int) -> Values:
    """Random masks, and small dense networks."""
    task, training = task_of(digits, settings, seed), training_of(settings)
    random, small = {}, {}
    for density in settings.noisy_random:
        model = noise.initial_network(LENET, seed)
        random[f"{density:g}"] = noise.fit(model, noise.random_masks(model, density, seed), task, seed=seed, **training)
    for hidden in settings.noisy_hidden:
        model = noise.initial_network((784, hidden, hidden, 10), seed)
        small[str(hidden)] = noise.fit(model, {}, task, seed=seed, **training)
    return {"random": random, "small": small}


# --- topology ---------------------------------------------------------------------------------------------------------


def rank(digits: Digits, settings: Settings, seed: int, part: str, density: float) -> Values:
    """All masks at a density. 'chosen': judged by validation digits, to choose a number by; 'confirmed': other seeds,
    other digits to train on, judged by test digits; 'other network': the same on one layer more."""
    sizes = settings.other_sizes if part == "other network" else LENET
    fresh = part != "chosen"
    order = slice(-settings.ranked_images, None) if fresh else slice(0, settings.ranked_images)
    train_split = digits.train.subset(order)
    judged = digits.test if fresh else digits.validation
    training = {"epochs": settings.ranked_epochs, "lr": settings.ranked_rate, "probes": settings.probes}
    rows = ranking.ranked(sizes, density, seed + 100 * fresh, train_split, judged, **training)
    return {"rows": [{"seed": seed} | row for row in rows]}
