"""Dynamic sparse training on MNIST: every method at exactly as many connections, and RigL's small files.

LeNet-300-100 at 95% sparsity, with the rates of RigL's program for MNIST; then what exploration has to do with errors;
then networks as small as those of RigL, appendix B, as files that are read back.
"""

import math
import time
from dataclasses import asdict, dataclass, replace
from functools import partial

import numpy as np

from course_utils.data import Digits, full_mnist
from course_utils.reproduce.runner import Done, Experiment, Piece, Values
from course_utils.sparse_training import (
    drop_fraction,
    erdos_renyi_densities,
    expected_exploration,
    explored_fraction,
    methods,
    tiny,
)
from course_utils.sparse_training.film import packed
from course_utils.sparse_training.methods import fit
from course_utils.sparse_training.network import (
    SIZES,
    Batches,
    MaskedLayer,
    Network,
    StraightThroughLayer,
    first_weights,
    masks_of,
    weight_shapes,
)

PAPER = {
    "source": "U. Evci et al., arXiv:1911.11134, appendix B, table 2 and text",
    "rows": [
        {"name": "RigL", "architecture": "408-100-69", "bytes": 31914, "kiloflops": 12.6, "best": 1.44, "last": 1.48},
        {"name": "RigL+", "architecture": "375-62-51", "bytes": 16113, "kiloflops": 6.2, "best": 1.57, "last": 1.69},
    ],
}


@dataclass(frozen=True)
class Settings:
    """What the experiment fixes beforehand. The rates, α, ΔT and the batch are those of RigL's program."""

    density: float = 0.05
    half: float = 0.5  # the density at which 2:4 is compared
    epochs: int = 8
    longer: int = 5  # times as many steps, for RigL
    batch: int = 100
    reach: int = 1  # pixels
    alpha: float = 0.3
    every: int = 100
    prune_every: int = 20  # steps, in gradual pruning
    end: float = 0.75  # the part of the steps in which connections move, or are pruned
    periods: tuple[int, ...] = (25, 50, 200, 400, 1600)  # other ΔT, to explore more or less
    choose_every: int = 10  # steps between two choices of 2:4
    narrow: tuple[int, ...] = (784, 16, 29, 10)  # dense, with 12 weights fewer than the sparse ones
    moments: int = 60  # of the network, for the widget


@dataclass(frozen=True)
class Recipe:
    """How a network is trained. steps: times those of `Settings.epochs`."""

    method: str
    distribution: str = "ERK"
    density: float = 0.05
    every: int = 100
    steps: float = 1.0
    filmed: bool = False


def load(digits: Digits | None, settings: Settings) -> Digits:
    return digits or full_mnist()


def recipes(settings: Settings) -> dict[str, Recipe]:
    """All rows of the tables, by name: at equal steps, at equal FLOPs, by ΔT, and at half of the weights."""
    sparse = partial(Recipe, density=settings.density, every=settings.every)
    rows = {
        f"{method}, {distribution}": sparse(method, distribution, filmed=distribution == "ERK")
        for method in ("static", "SET", "RigL")
        for distribution in ("ERK", "uniform")
    }
    rows |= {
        f"{method}, ΔT {every}": replace(rows[f"{method}, ERK"], every=every, filmed=False)
        for method in ("SET", "RigL")
        for every in settings.periods
    }
    rows["small dense"] = sparse("small dense")
    rows["RigL, longer"] = replace(rows["RigL, ERK"], steps=settings.longer, filmed=False)
    rows["gradual, ERK"] = sparse("gradual", every=settings.prune_every)
    rows["dense"] = sparse("dense")
    same = flops_of_rigl(settings)
    for name in ("static, ERK", "SET, ERK", "small dense", "gradual, ERK", "dense"):
        steps = same / flops_of(rows[name], settings)
        rows[f"{name}, FLOPs of RigL"] = replace(rows[name], steps=round(steps, 4), filmed=False)
    half = partial(Recipe, density=settings.half, every=settings.every, distribution="half")
    rows |= {f"{method}, half": half(method) for method in ("RigL", "2:4")}
    return rows


def pieces(digits: Digits, settings: Settings, seeds: int) -> list[Piece]:
    """The small files; then for each seed every recipe."""
    return tiny.pieces(seeds) + [
        Piece(f"seed {seed}/{name}", train, (*asdict(recipe).values(), seed), group="methods", seed=seed)
        for seed in range(seeds)
        for name, recipe in recipes(settings).items()
    ]


def collect(digits: Digits, settings: Settings, done: Done) -> Values:
    """Each recipe's runs by seed, and the small files."""
    return {
        "experiment": "dynamic sparse training on MNIST",
        "data": digits.summary(),
        "settings": asdict(settings),
        "choices": "sizes, bits and epochs of the files on the validation digits; test digits only fill the tables",
        **done.origin(),
        "paper": PAPER,
        "recipes": {name: asdict(recipe) for name, recipe in recipes(settings).items()},
        "runs": [
            {"seed": seed, **{name: done[f"seed {seed}/{name}"] for name in recipes(settings)}}
            for seed in done.seeds("methods")
        ],
        "files": tiny.collect(done),
    }


run = Experiment("sparse_training", Settings, load, pieces, collect).run


def densities_of(distribution: str, density: float) -> dict[str, float]:
    """Of each weight. `half`: all but the last layer, which stays whole, as 2:4 leaves it."""
    shapes = weight_shapes(SIZES)
    if distribution == "ERK":
        return erdos_renyi_densities(shapes, density)
    uniform = dict.fromkeys(shapes, density)
    return uniform | {list(shapes)[-1]: 1.0} if distribution == "half" else uniform


def flops_of(recipe: Recipe, settings: Settings) -> float:
    """Mean FLOPs of a step for one example, by Evci 2020, appendix H; by closed form, before anything is trained."""
    positions = sum(math.prod(shape) for shape in weight_shapes(SIZES).values())
    kept = settings.density * positions
    if recipe.method == "dense":
        return 6 * positions
    if recipe.method == "gradual":
        # The cubic falls over `end` of the steps; the mean of (1 − t)³ is a quarter
        return 6 * (kept + (positions - kept) * settings.end / 4)
    if recipe.method == "RigL":
        return 6 * kept + 2 * (positions - kept) * settings.end / recipe.every
    return 6 * kept


def flops_of_rigl(settings: Settings) -> float:
    return flops_of(Recipe("RigL", density=settings.density, every=settings.every), settings)


def new_network(recipe: Recipe, settings: Settings, seed: int) -> Network:
    """The network that a recipe starts with."""
    if recipe.method == "small dense":
        masks = masks_of(settings.narrow, dict.fromkeys(weight_shapes(settings.narrow), 1.0), seed)
        return Network(first_weights(masks, seed), masks)
    whole = recipe.method in ("dense", "gradual", "2:4")
    densities = densities_of(recipe.distribution, 1.0 if whole else recipe.density)
    masks = masks_of(SIZES, densities, seed)
    kind = StraightThroughLayer if recipe.method == "2:4" else MaskedLayer
    # Sparse storage pays at 80% and more
    return Network(first_weights(masks, seed), masks, *([kind] if whole or recipe.distribution == "half" else []))


def train(digits: Digits, settings: Settings, *arguments: object) -> Values:
    """One network, by a recipe and a seed: its errors, connections, exploration and FLOPs."""
    *fields, seed = arguments
    recipe = Recipe(*fields)
    net = new_network(recipe, settings, seed)
    batches = Batches(digits.train, settings.batch, settings.reach, seed)
    steps = max(1, round(recipe.steps * settings.epochs * batches.count))
    end = round(settings.end * steps)
    rewire = {
        "SET": methods.moving("SET", recipe.every, end, settings.alpha, seed),
        "RigL": methods.moving("RigL", recipe.every, end, settings.alpha, seed),
        "gradual": methods.gradual(densities_of("ERK", recipe.density), recipe.every, end),
        "2:4": methods.n_of_m(2, 4, settings.choose_every),
    }.get(recipe.method, methods.static)
    moves = recipe.method in ("SET", "RigL")
    history, curve, film = [net.masks()], [], []
    moments = set(np.linspace(0, steps, settings.moments).round().astype(int)) if recipe.filmed else set()

    def look(step: int) -> None:
        if moves and step % recipe.every == 0 and step < end:
            history.append(net.masks())
        if step in moments:
            film.append([step, explored_fraction(history), net.layers[0].dense()[1].sum(0)])
        if step % batches.count == 0:
            curve.append(net.errors(digits.validation))

    if 0 in moments:
        look(0)
    start = time.process_time()
    fit(net, batches, steps, rewire=rewire, after_step=look)
    seconds = time.process_time() - start
    result = {
        "steps": steps,
        "connections": net.connections(),
        "flops": net.flops,
        "seconds": round(seconds, 1),  # of the processor, with the looks at the validation digits
        "curve": curve,
        "validation_errors": net.errors(digits.validation),
        "test_errors": net.errors(digits.test),
    }
    if moves:
        result |= {"explored": round(explored_fraction(history), 5)}
        result |= {"expected": round(expected(net, recipe.every, end, settings.alpha), 5)}
    if film:
        closed = [expected(net, recipe.every, end, settings.alpha, until=step) for step, _, _ in film]
        result["film"] = {
            "steps": [int(step) for step, _, _ in film],
            "explored": [round(fraction, 4) for _, fraction, _ in film],
            "expected": [round(fraction, 4) for fraction in closed],
            "pixels": packed([pixels for _, _, pixels in film]),
        }
    return result


def expected(net: Network, every: int, end: int, alpha: float, until: int | None = None) -> float:
    """R_s that SET has in the mean after the updates before `end`, or up to a step, over all layers."""
    fractions = [drop_fraction(step, end, alpha) for step in range(every, end, every) if until is None or step <= until]
    explored = 0.0
    for layer in net.layers:
        kept, total = layer.connections(), math.prod(layer.shape)
        grown = [round(fraction * kept) for fraction in fractions] if kept < total else []
        explored += total * expected_exploration(total, kept, grown)
    return explored / net.positions()
