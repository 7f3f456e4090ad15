"""Tickets on hardware: refilled and regrouped tickets of wide MLPs against what else the time could be spent on.

Chen and others prune convolutions of VGG-16 and ResNets on CIFAR and ImageNet and time a GPU. Here the networks have
two hidden layers, the first 10,000 training digits of MNIST (few enough for errors to differ), and one thread of a CPU.
All trainings of a network are equal but for what the name says. The clock is that of the thread's processor time: on a
machine that others use too, a wall clock adds their work to long calls rather than to short ones.
"""

import time
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch

from course_utils import lottery, regroup
from course_utils.data import Digits, full_mnist
from course_utils.models import mlp_forward
from course_utils.regroup import grouping, packing
from course_utils.regroup.tickets import Masks, State, first_state, train_masked, wrong
from course_utils.reproduce.runner import Done, Experiment, Piece, Values

PAPER = {
    "source": "T. Chen et al., arXiv:2202.04736v2, section 4; times are a GPU's, of convolutions only",
    # GPU time saved (%) by group-wise tickets at no loss of accuracy
    "no_loss": {
        "VGG-16, CIFAR-10": 57.75,
        "ResNet-18, CIFAR-10": 60.60,
        "VGG-16, CIFAR-100": 55.45,
        "ResNet-18, CIFAR-100": 64.93,
        "Tiny-ImageNet": 64.84,
        "ImageNet": 1.0,
    },
    "refill": {"VGG-16, CIFAR-10": 63.11},
    "imagenet_with_loss": {"saved": 60.23, "sparsity": 58, "points_lost": 0.95},
}
PARTITIONED, RANDOM, REINITIALIZED = "regrouped", "random groups", "regrouped, reinitialized"
REFILLED, REFILLED_BY_COUNT, SMALL, SMALL_LONGER = "refilled", "refilled by count", "small dense", "small dense, longer"
BLOCKS = {PARTITIONED: grouping.partition, RANDOM: grouping.random_groups}
WIDTHS = ((1024, 1024), (300, 100))  # of the hidden layers
DRAWN = (96, 192)  # rows and columns of the mask that the widget plays with


@dataclass(frozen=True)
class Settings:
    """What is fixed beforehand, the same for all networks; chosen in a sketch by the validation digits of seed 0."""

    train: int = 10_000
    epochs: int = 6
    longer: int = 3  # times as many for a small dense network that is given more
    batch_size: int = 128
    lr: float = 1e-3  # of Adam; falls to 0 along a line
    rate: float = 0.75  # of the weights left, pruned in each round
    rounds: int = 3
    rows_per_group: int = 16
    b1: int = 4
    b2: int = 16
    passes: int = 3
    areas: tuple[float, ...] = (0.05, 0.1, 0.2)  # of each layer, the most that blocks may take
    batches: tuple[int, ...] = (1, 64, 256)
    repeats: tuple[int, ...] = (200, 40, 15)


def load(digits: Digits | None, settings: Settings) -> Digits:
    digits = digits or full_mnist()
    return Digits(digits.name, digits.train.subset(slice(settings.train)), digits.validation, digits.test)


def name_of(seed: int, width: tuple[int, int], what: str) -> str:
    return f"seed {seed}/{width[0]}-{width[1]}/{what}"


def conditions(settings: Settings) -> list[tuple[str, float]]:
    """What is trained besides the rounds, each with its area."""
    whats = (PARTITIONED, RANDOM, REINITIALIZED, REFILLED, REFILLED_BY_COUNT, SMALL, SMALL_LONGER)
    middle = settings.areas[len(settings.areas) // 2]
    everywhere = (PARTITIONED, SMALL, SMALL_LONGER)
    return [(what, area) for area in settings.areas for what in whats if what in everywhere or area == middle]


def divisions(settings: Settings) -> list[tuple[str, float]]:
    """Who divides the rows, and what area the blocks may take."""
    return [(what, area) for what, area in conditions(settings) if what in BLOCKS]


def pieces(digits: Digits, settings: Settings, seeds: int) -> list[Piece]:
    """For each network and seed the rounds, the blocks of the last one, what is trained in them, and the clock."""
    work = []
    for width in WIDTHS:
        for seed in range(seeds):
            name = partial(name_of, seed, width)
            here = partial(Piece, group=f"{width[0]}-{width[1]}", seed=seed)
            rounds = [name(f"round {number}") for number in range(settings.rounds + 1)]
            for number, each in enumerate(rounds):
                work.append(here(each, train_round, (seed, width, number), tuple(rounds[max(0, number - 1) : number])))
            for divide, area in divisions(settings):
                found = name(f"blocks/{divide}/{area}")
                work.append(here(found, find_blocks, (seed, divide, area), (rounds[-1],)))
            trained = []
            for what, area in conditions(settings):
                needs = (rounds[-1], name(f"blocks/{RANDOM if what == RANDOM else PARTITIONED}/{area}"))
                trained.append(name(f"{what}/{area}"))
                work.append(here(trained[-1], train_condition, (seed, width, what, area), needs))
            timed = [n for n in trained if n.split("/")[-2] in (PARTITIONED, REFILLED, SMALL)]
            blocks = [name(f"blocks/{PARTITIONED}/{area}") for area in settings.areas]
            needs = (*rounds, *blocks, *timed)
            work.append(
                here(name("times"), time_networks, (seed, width, tuple(n.split("/", 2)[2] for n in needs)), needs)
            )
    work.append(Piece("drawn", draw_mask, (), (name_of(0, WIDTHS[0], f"round {settings.rounds}"),)))
    return work


def collect(digits: Digits, settings: Settings, done: Done) -> Values:
    """Errors, masks in numbers and times of each network, seed by seed."""
    networks, parts = [], divisions(settings)
    for width in WIDTHS:
        runs = []
        for seed in done.seeds(f"{width[0]}-{width[1]}"):
            name = partial(name_of, seed, width)
            found = {f"{divide}/{area}": described(done[name(f"blocks/{divide}/{area}")]) for divide, area in parts}
            runs.append(
                {
                    "seed": seed,
                    "rounds": [done[name(f"round {number}")] for number in range(settings.rounds + 1)],
                    "blocks": found,
                    "conditions": {f"{w}/{a}": done[name(f"{w}/{a}")] for w, a in conditions(settings)},
                    "times": done[name("times")],
                }
            )
        networks.append({"width": list(width), "weights": weights_in(width), "runs": runs})
    return {
        "experiment": "Tickets on hardware: refilled and regrouped MLPs on MNIST",
        "data": digits.summary(),
        "settings": asdict(settings),
        "choices": "of areas by the validation digits; the test digits only fill the tables",
        "clock": "processor time of the one thread, milliseconds: median, lower and upper quartile",
        **done.origin(),
        "paper": PAPER,
        "networks": networks,
        "drawn": done.get("drawn"),
    }


def described(found: Values) -> Values:
    """What `find_blocks` returned, without the blocks, but with how many row and column numbers they are."""
    numbers = sum(len(rows) + len(columns) for blocks in found["blocks"].values() for rows, columns in blocks)
    return {key: value for key, value in found.items() if key != "blocks"} | {"numbers": numbers}


run = Experiment("regroup", Settings, load, pieces, collect).run


# --- training ---------------------------------------------------------------------------------------------------------


def weights_in(width: tuple[int, int]) -> int:
    """Weights of the two hidden layers; the output layer is not pruned."""
    return 28 * 28 * width[0] + width[0] * width[1]


def all_kept(state: State) -> Masks:
    return {f"{name}.weight": torch.ones_like(state[f"{name}.weight"], dtype=torch.bool) for name in packing.HIDDEN}


def train(
    state: State, masks: Masks, digits: Digits, settings: Settings, seed: int, epochs: int | None = None
) -> dict[str, Any]:
    """Train a masked network. Returns its errors by epoch on the validation digits, at the end on the test digits, how
    many weights its hidden layers have, seconds, and the trained state."""
    start, by_epoch = time.thread_time(), []
    common = {"batch_size": settings.batch_size, "lr": settings.lr, "seed": seed, "validation": by_epoch}
    state = train_masked(state, masks, digits, epochs or settings.epochs, **common)
    return {
        "weights": sum(int(mask.sum()) for mask in masks.values()),
        "validation_by_epoch": by_epoch,
        "validation_errors": by_epoch[-1],
        "test_errors": wrong(state, digits.test),
        "seconds": round(time.thread_time() - start, 2),
        "state": state,
    }


def train_round(
    digits: Digits, settings: Settings, seed: int, width: tuple[int, int], number: int, *before: dict[str, Any]
) -> dict[str, Any]:
    """A round of iterative magnitude pruning: both hidden layers ranked together, back to the first weights."""
    initial = first_state(seed, width)
    masks = all_kept(initial)
    if before:
        masks = lottery.prune_tickets(before[0]["state"], before[0]["masks"], settings.rate)
    found = train(lottery.rewind(initial, masks), masks, digits, settings, 1000 * seed + number)
    by_layer = [round(float(mask.float().mean()), 5) for mask in masks.values()]
    return found | {"by_layer": by_layer, "masks": masks}


def find_blocks(digits: Digits, settings: Settings, seed: int, divide: str, area: float, last: dict) -> dict[str, Any]:
    """Regroup both layers of the last ticket, and say what the blocks are like."""
    start = time.thread_time()
    blocks, layers = {}, []
    for name, mask in last["masks"].items():
        rows, nets = regroup.mask_hypergraph(mask)
        count = max(2, round(len(rows) / settings.rows_per_group))
        options = {"b1": settings.b1, "b2": settings.b2, "passes": settings.passes}
        t2, by_pass, blocks[name] = grouping.blocks_within(mask, count, area, seed, BLOCKS[divide], **options)
        inside = packing.mask_of(blocks[name], mask)
        groups = BLOCKS[divide](rows, nets, count, seed)
        of_row = {row: number for number, group in enumerate(groups) for row in group}
        layers.append(
            {
                "groups": count,
                "t2": t2,
                "blocks": by_pass,
                "columns": int(inside.any(dim=0).sum()),
                "area": round(float(inside.float().mean()), 5),
                "covers": round(float((inside & mask).sum() / mask.sum()), 5),
                "km1": regroup.connectivity(nets, [of_row[row] for row in rows]),
            }
        )
    return {"layers": layers, "seconds": round(time.thread_time() - start, 2), "blocks": blocks}


def whole_filters(last: dict[str, Any], weights: int, by_count: bool) -> Masks:
    """Refill the last ticket: the same part of each layer's units whole, as many weights as the blocks have.

    A unit of the second layer reads only units of the first that are left: with a part p of both, p·784·N + p²·N·M.
    """
    first, second = last["masks"].values()
    a, b = first.numel(), second.numel()
    part = ((a * a + 4 * b * weights) ** 0.5 - a) / (2 * b)
    refilled = {}
    for name, mask in last["masks"].items():
        scores = mask.sum(dim=1).float() if by_count else regroup.filter_scores(last["state"][name], mask)
        refilled[name] = regroup.refill(mask, scores, max(1, round(part * len(mask))))
    names = list(refilled)
    refilled[names[1]] &= refilled[names[0]].any(dim=1)
    return refilled


def small_width(weights: int, width: tuple[int, int]) -> tuple[int, int]:
    """Hidden layers as wide as each other, relatively, with as many weights: 784·pN + p²·N·M."""
    a, b = 28 * 28 * width[0], width[0] * width[1]
    part = ((a * a + 4 * b * weights) ** 0.5 - a) / (2 * b)
    return round(part * width[0]), round(part * width[1])


def train_condition(
    digits: Digits, settings: Settings, seed: int, width: tuple[int, int], what: str, area: float, *before: dict
) -> dict[str, Any]:
    """Train what the last ticket was made into, or a small dense network with as many weights as its blocks."""
    last, found = before
    order = 1000 * seed + 100
    in_blocks = {name: packing.mask_of(found["blocks"][name], mask) for name, mask in last["masks"].items()}
    weights = sum(int(mask.sum()) for mask in in_blocks.values())
    initial = first_state(seed, width)
    if what in (SMALL, SMALL_LONGER):
        small = small_width(weights, width)
        initial = first_state(1000 + seed, small)
        epochs = settings.epochs * (settings.longer if what == SMALL_LONGER else 1)
        return train(initial, all_kept(initial), digits, settings, order, epochs) | {"width": list(small)}
    masks = whole_filters(last, weights, what == REFILLED_BY_COUNT) if what.startswith(REFILLED) else in_blocks
    state = lottery.reinitialize(initial, masks, order) if what == REINITIALIZED else lottery.rewind(initial, masks)
    return train(state, masks, digits, settings, order)


# --- the clock --------------------------------------------------------------------------------------------------------


def time_networks(
    digits: Digits, settings: Settings, seed: int, width: tuple[int, int], names: tuple[str, ...], *results: dict
) -> Values:
    """Milliseconds of whole networks by batch, on one thread, and of what is done once: packing."""
    found = dict(zip(names, results, strict=True))
    dense = found["round 0"]["state"]
    networks: dict[str, tuple[str, Any]] = {
        "dense": ("rows", packing.dense_network(dense)),
        "dense, [batch, features]": ("columns", packing.dense_columns_network(dense)),
    }
    for number in range(1, settings.rounds + 1):
        state = found[f"round {number}"]["state"]
        networks[f"CSR/{number}"] = ("rows", packing.csr_network(state))
        networks[f"SciPy's CSR/{number}"] = ("numpy", packing.scipy_network(state))
    packed = {}
    for area in settings.areas:
        state, blocks = found[f"{PARTITIONED}/{area}"]["state"], found[f"blocks/{PARTITIONED}/{area}"]["blocks"]
        start = time.thread_time()
        networks[f"{PARTITIONED}/{area}"] = ("rows", packing.packed_network(state, blocks))
        packed[str(area)] = round(1000 * (time.thread_time() - start), 3)
        networks[f"{PARTITIONED}, [batch, features]/{area}"] = ("columns", packing.columns_network(state, blocks))
        if refilled := found.get(f"{REFILLED}/{area}"):
            networks[f"{REFILLED}/{area}"] = (
                "rows",
                packing.dense_network(packing.without_empty_units(refilled["state"])),
            )
        networks[f"{SMALL}/{area}"] = ("rows", packing.dense_network(found[f"{SMALL}/{area}"]["state"]))
    times, same = {}, {}
    for batch, repeats in zip(settings.batches, settings.repeats, strict=True):
        x = digits.test.images[:batch].flatten(1).T
        calls = packing.calls(x, networks)
        times[str(batch)] = packing.alternate(calls, repeats)
        for area in settings.areas:
            got, wanted = calls[f"{PARTITIONED}/{area}"](), mlp_forward(found[f"{PARTITIONED}/{area}"]["state"], x.T).T
            same[f"{area}/{batch}"] = bool(torch.allclose(got, wanted, atol=1e-3))
    return {"milliseconds": times, "packing": packed, "same_logits": all(same.values())}


def draw_mask(digits: Digits, settings: Settings, last: dict) -> Values:
    """A corner of a real mask that can be drawn, divided by the partitioner and by chance: for lab and widget.

    The rows and columns of the second layer that keep the most.
    """
    mask = last["masks"][f"{packing.HIDDEN[1]}.weight"]
    fullest = [
        torch.sort(mask.sum(dim=d), descending=True, stable=True).indices[:n] for d, n in ((1, DRAWN[0]), (0, DRAWN[1]))
    ]
    mask = mask[fullest[0].sort().values][:, fullest[1].sort().values]
    rows, nets = regroup.mask_hypergraph(mask)
    return {
        "mask": ["".join("#" if kept else "." for kept in row) for row in mask.tolist()],
        "partitioned": grouping.partition(rows, nets, 8, 0),
        "random": grouping.random_groups(rows, nets, 8, 0),
    }
