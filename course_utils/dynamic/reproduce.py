"""Early exits on MNIST, each timed one image at a time with all that it costs, and a budget that changes.

Published: BranchyNet (ICPR 2016) 5.4 times faster on a CPU at no loss, LeNet. Ours: exits *in front* of the trunk that
learn from it (unit 01), add up, and run compiled; thresholds by `choose_thresholds` on validation digits, with costs in
microseconds. Controls are the exits' networks without exits, alone and together.
"""

import base64
import copy
import itertools
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from course_utils.data import CLASSES, Digits, Split, full_mnist, shift_images
from course_utils.deep_compression.reproduce import SHIFTS, cosine, fit
from course_utils.dynamic import exits, joint_exit_loss, prediction_entropy, widths
from course_utils.dynamic.kernel import compiled_mlp, rounded
from course_utils.dynamic.networks import WIDTHS, BranchyLeNet, SlimmableNet
from course_utils.models import lenet5, mlp
from course_utils.reproduce.runner import Done, Experiment, Piece, Values
from course_utils.training import cosine as falling
from course_utils.training import errors, logits_of, set_seed, train

PAPER = {
    "source": "S. Teerapittayanon, B. McDanel and H. T. Kung, arXiv:1709.01686, table I, LeNet on a CPU",
    "accuracy_before": 99.20, "accuracy": 99.25, "ms_before": 3.37, "ms": 0.62, "speedup": 5.4, "threshold": 0.025,
    "leave_first": 94.3,
}  # fmt: skip
EXITS = {"first": (784, 300, 100, CLASSES), "second": (784, 800, 200, CLASSES)}
TIMES_FASTER = 25.0  # the budget: this part of the full network's microseconds, as torch runs it by default
# Convolutions and products of training; weights stay float32, and as they change, no cast of them may be kept
SHORT = {"device_type": "cpu", "dtype": torch.bfloat16, "cache_enabled": False}
BATCH = 100  # of the race in batches
FALLING = (1.0, 1 / 2, 0.4, 1 / 12, 1 / 25)
BUDGETS = (*FALLING, *FALLING[-2::-1])  # of the full network's microseconds, in the stream


@dataclass(frozen=True)
class Settings:
    """The names are also those that `deep_compression.reproduce.fit` reads."""

    batch_size: int = 125
    lr: float = 2e-3  # of Adam; falls to 0 along a cosine
    temperature: float = 4.0
    alpha: float = 0.9  # weight of the soft targets
    epochs: int = 24  # of the full network and of each exit
    joint_epochs: int = 8
    joint_weights: tuple[float, float] = (1.0, 0.3)  # BranchyNet's for LeNet
    few_digits: int = 20_000  # that the slimmable network learns from
    width_epochs: int = 5
    stream_digits: int = 1000  # at each budget


# --- exits ------------------------------------------------------------------------------------------------------------


def train_full(digits: Digits, settings: Settings, seed: int) -> Values:
    """LeNet-5, and its logits for all training digits at all shifts."""
    set_seed(seed)
    model = lenet5().to(memory_format=torch.channels_last)
    rate = cosine(settings.lr, settings.epochs)
    with torch.autocast(**SHORT):
        fit(model, digits.train, settings, epochs=settings.epochs, seed=seed, rate=rate, reach=1, name="full")
        logits = torch.stack([logits_of(model, shift_images(digits.train.images, *shift)) for shift in SHIFTS])
    return {
        "state": {name: value.contiguous() for name, value in model.state_dict().items()},
        "logits": logits.float(),
        "validation_errors": errors(model, digits.validation),
    }


def train_exit(digits: Digits, settings: Settings, name: str, seed: int, full: Values) -> Values:
    """An MLP that learns from the full network, its teacher, for as many epochs."""
    set_seed(seed)
    model = mlp(*EXITS[name])
    rate = cosine(settings.lr, settings.epochs)
    fit(
        model, digits.train, settings, epochs=settings.epochs, seed=seed, rate=rate, reach=1, teacher=full["logits"],
        name=name,
    )  # fmt: skip
    return {"state": model.state_dict(), "validation_errors": errors(model, digits.validation)}


def train_branchy(digits: Digits, settings: Settings, seed: int) -> Values:
    """BranchyNet's way: the exit is in the trunk, and all is trained at once."""
    set_seed(seed)
    model = BranchyLeNet().to(memory_format=torch.channels_last)

    def loss(logits: list[Tensor], labels: Tensor, index: Tensor) -> Tensor:
        return joint_exit_loss(logits, labels, settings.joint_weights)

    with torch.autocast(**SHORT):
        train(
            model, digits.train, epochs=settings.joint_epochs, lr=settings.lr, batch_size=settings.batch_size,
            seed=seed, loss=loss, schedule=falling, jitter=1, progress=False,
        )  # fmt: skip
    return {"state": {name: value.contiguous() for name, value in model.state_dict().items()}}


def moved(split: Split) -> Split:
    """Every image at each of the nine shifts that training has: nine times as many answers to choose thresholds by."""
    images = torch.cat([shift_images(split.images, *shift) for shift in SHIFTS])
    return Split(images, split.labels.repeat(len(SHIFTS)))


def costs_to(costs: Mapping[str, float], fastest: str) -> list[float]:
    """Microseconds of an image that leaves at the first exit, at the second, and at the end."""
    return list(itertools.accumulate(costs[name] for name in (*EXITS, fastest)))


def race_exits(
    digits: Digits, settings: Settings, seed: int, full: Values, first: Values, second: Values, branchy: Values
) -> Values:
    """Thresholds on validation digits, then errors and microseconds on test digits."""
    states = {"full": full["state"], "first": first["state"], "second": second["state"]}
    validation, labels = digits.validation, digits.validation.labels
    model = exits.restored(lenet5(), states["full"])
    ways = exits.ways_to_run(model)
    compiled = {name: compiled_mlp(states[name]) for name in EXITS}
    alone = {name: exits.always(network) for name, network in compiled.items()}
    costs = exits.microseconds(ways | alone, validation.subset(slice(0, 500)))
    fastest = min(ways, key=costs.__getitem__)
    budget = costs[exits.DEFAULT] / TIMES_FASTER

    # Two exits in front within the budget, and the first of them alone without one
    often = moved(validation)
    logits = exits.exit_logits(states, EXITS, often.images)
    both, both_leave = exits.choose(logits, often.labels, costs_to(costs, fastest), budget)
    only, only_leave = exits.choose(
        [logits[0], logits[2]], often.labels, [costs["first"], costs["first"] + costs[fastest]], torch.inf
    )

    # BranchyNet: the best threshold without a budget, by its own trunk
    trunk = exits.restored(BranchyLeNet(), branchy["state"])
    with torch.no_grad():
        parts = [trunk(images) for images in validation.images.split(500)]
    branch_logits = [torch.cat(part) for part in zip(*parts, strict=True)]
    trunk_threshold, trunk_leave = exits.choose(branch_logits, labels, [1, 10], torch.inf)

    in_torch = {name: exits.restored(mlp(*EXITS[name]), rounded(states[name])) for name in EXITS}
    systems = {
        **{f"full network, {name}": way for name, way in ways.items()},
        "two exits in front, compiled": exits.cascade([*compiled.values()], ways[fastest], both),
        "two exits in front, in torch": exits.cascade(
            [exits.in_torch(network) for network in in_torch.values()], ways[fastest], both
        ),
        "first exit in front, compiled": exits.cascade([compiled["first"]], ways[fastest], only),
        **{f"no exit: {'-'.join(map(str, EXITS[name]))}": network for name, network in alone.items()},
        "no exit: both, added": exits.always(*compiled.values()),
        "exit in the trunk": exits.branchy(trunk, trunk_threshold[0]),
        "trunk without exits": exits.whole(lambda image: trunk.rest(trunk.first(image))),
        "trunk up to the exit": exits.whole(lambda image: trunk.first(image)),
    }
    found = exits.race(systems, digits.test)
    del found["trunk up to the exit"]["errors"]  # it says no class: only its time counts
    last = copy.deepcopy(model).to(memory_format=torch.channels_last)
    in_batches = {
        f"full network, {exits.DEFAULT}": exits.gathered([], model, []),
        "full network, oneDNN, channels last": exits.gathered([], last, []),
        "two exits in front, in torch": exits.gathered([*in_torch.values()], last, both),
        "no exit: both, added": exits.gathered([], lambda images: sum(net(images) for net in in_torch.values()), []),
    }
    return {
        "costs": costs, "fastest": fastest, "budget": budget,
        "thresholds": {"two exits": both, "first exit": only, "trunk": trunk_threshold},
        "validation": {
            "errors": {
                name: exits.wrong(each, often.labels) / len(SHIFTS)
                for name, each in zip((*EXITS, "full"), logits, strict=True)
            },
            "leave": {"two exits": both_leave, "first exit": only_leave, "trunk": trunk_leave},
        },
        "race": found,
        "batches": exits.race_in_batches(in_batches, digits.test, BATCH),
    }  # fmt: skip


def stream(
    digits: Digits, settings: Settings, seed: int, full: Values, first: Values, second: Values, raced: Values,
    slimmed: Values,
) -> Values:  # fmt: skip
    """A budget that falls and rises while test digits come in: thresholds or widths follow it."""
    states = {"full": full["state"], "first": first["state"], "second": second["state"]}
    costs, fastest = raced["costs"], raced["fastest"]
    way = exits.ways_to_run(exits.restored(lenet5(), states["full"]))[fastest]
    compiled = [compiled_mlp(states[name]) for name in EXITS]
    often = moved(digits.validation)
    logits = exits.exit_logits(states, EXITS, often.images)
    net = exits.restored(SlimmableNet(own=True), slimmed["own"])
    frozen = {}
    for width in WIDTHS:
        by_way = exits.ways_to_run(widths.frozen(net, width))
        clocked = exits.microseconds(by_way, digits.validation.subset(slice(500)))
        frozen[width] = by_way[min(by_way, key=clocked.__getitem__)]
    times = exits.microseconds(
        {str(width): each for width, each in frozen.items()}, digits.validation.subset(slice(500))
    )
    result = []
    for part, share in enumerate(BUDGETS):
        budget = share * costs[fastest]
        thresholds, _ = exits.choose(logits, often.labels, costs_to(costs, fastest), budget)
        fits = [width for width in WIDTHS if times[str(width)] <= budget]
        width = max(fits, default=WIDTHS[0])
        start = part * settings.stream_digits
        coming = digits.test.subset(torch.arange(start, start + settings.stream_digits) % len(digits.test))
        systems = {"exits": exits.cascade(compiled, way, thresholds), "widths": frozen[width]}
        found = exits.race(systems, coming, rounds=1)
        result.append(
            {"budget": budget, "thresholds": thresholds, "width": width, "width_fits": bool(fits), "found": found}
        )
    return {"parts": result, "width_microseconds": times}


def train_slimmable(digits: Digits, settings: Settings, seed: int) -> Values:
    """A network whose width follows the budget, with a normalization of its own for each width."""
    set_seed(seed)
    model = SlimmableNet(own=True)
    some = digits.train.subset(slice(0, settings.few_digits))
    widths.train_widths(model, some, epochs=settings.width_epochs, lr=settings.lr, seed=seed)
    return {"own": model.state_dict()}


# --- the experiment ---------------------------------------------------------------------------------------------------


def sample_for_the_widget(
    digits: Digits, settings: Settings, full: Values, first: Values, second: Values, raced: Values
) -> Values:
    """What the exits say of 1,000 validation digits, and the first 200 of these digits."""
    split = digits.validation.subset(slice(0, 1000))
    states = {"full": full["state"], "first": first["state"], "second": second["state"]}
    logits = exits.exit_logits(states, EXITS, split.images)
    pixels = (split.images[:200] * 255).round().byte().numpy().tobytes()
    return {
        "costs": [raced["costs"]["first"], raced["costs"]["second"], raced["costs"][raced["fastest"]]],
        "labels": "".join(map(str, split.labels.tolist())),
        "classes": ["".join(map(str, each.argmax(dim=1).tolist())) for each in logits],
        "entropies": [" ".join(f"{h:.4f}" for h in prediction_entropy(each).tolist()) for each in logits],
        "pixels": base64.b64encode(zlib.compress(pixels, 9)).decode(),
    }


def load(digits: Digits | None, settings: Settings) -> Digits:
    return digits or full_mnist()


def pieces(digits: Digits, settings: Settings, seeds: int) -> list[Piece]:
    """For each seed the networks; then what is clocked."""
    networks, clocked = [], []
    for seed in range(seeds):
        here = f"seed {seed}"
        full, raced, slimmed = f"full/{here}", f"race/{here}", f"slimmable/{here}"
        mlps = {name: f"{name}/{here}" for name in EXITS}
        taught = full, mlps["first"], mlps["second"]
        networks += [
            Piece(full, train_full, (seed,), group="exits", seed=seed),
            *(Piece(mlps[name], train_exit, (name, seed), (full,), "exits", seed) for name in EXITS),
            Piece(f"trunk/{here}", train_branchy, (seed,), group="exits", seed=seed),
            Piece(slimmed, train_slimmable, (seed,), group="stream", seed=seed),
        ]
        clocked += [
            Piece(raced, race_exits, (seed,), (full, *mlps.values(), f"trunk/{here}"), "exits", seed),
            Piece(f"stream/{here}", stream, (seed,), (*taught, raced, slimmed), "stream", seed),
        ]
        if seed == 0:
            clocked.append(Piece("widget", sample_for_the_widget, needs=(*taught, raced)))
    return [*networks, *clocked]


def collect(digits: Digits, settings: Settings, done: Done) -> Values:
    """All that was measured, by experiment and seed."""

    def of(group: str, name: str) -> list[dict[str, Any]]:
        return [{"seed": seed, **done[f"{name}/seed {seed}"]} for seed in done.seeds(group)]

    return {
        "experiment": "early exits on MNIST, one image at a time",
        "data": digits.summary(),
        "settings": asdict(settings),
        "choices": "thresholds, costs and the fastest way to run the full network on validation digits; epochs were "
        "doubled after a first try's test errors; rates were not tuned",
        **done.origin(),
        "paper": PAPER,
        "times_faster": TIMES_FASTER,
        "batch": BATCH,
        "sizes": {name: list(sizes) for name, sizes in EXITS.items()},
        "exits": of("exits", "race"),
        "stream": of("stream", "stream"),
        "widget": done.get("widget"),
    }


run = Experiment("dynamic", Settings, load, pieces, collect).run
