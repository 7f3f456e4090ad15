"""Dynamic inference on MNIST: exits, gates and widths, each timed one image at a time with all that it costs.

Published: BranchyNet (ICPR 2016) 5.4 times faster on a CPU at no loss, LeNet; SkipNet (ECCV 2018) 30 to 90% less
computation; slimmable networks (ICLR 2019) four widths of ResNet-50 in one. Ours: an exit *in front* of the trunk that
learns from it (unit 01) and runs compiled; thresholds by `choose_thresholds` on validation digits, with costs in
microseconds. Controls are networks without exits, of which one costs about what the exits do in the mean.
"""

import base64
import zlib
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from course_utils.data import CLASSES, Digits, full_mnist, shift_images
from course_utils.deep_compression.reproduce import SHIFTS, cosine, fit
from course_utils.dynamic import exits, gates, joint_exit_loss, prediction_entropy, widths
from course_utils.dynamic.networks import WIDTHS, BranchyLeNet, GatedNet, SlimmableNet
from course_utils.models import lenet5, mlp
from course_utils.reproduce.runner import Done, Experiment, Piece, Values
from course_utils.training import cosine as falling
from course_utils.training import errors, logits_of, set_seed, train

PAPER = {
    "branchynet": {
        "source": "S. Teerapittayanon, B. McDanel and H. T. Kung, arXiv:1709.01686, table I, LeNet on a CPU",
        "accuracy_before": 99.20, "accuracy": 99.25, "ms_before": 3.37, "ms": 0.62, "speedup": 5.4, "threshold": 0.025,
        "leave_first": 94.3,
    },
    "skipnet": {"source": "X. Wang et al., arXiv:1711.09485, abstract", "less_computation": [30, 90]},
    "slimmable": {
        "source": "J. Yu et al., arXiv:1812.08928, and the authors' code: ResNet-50 on ImageNet",
        "widths": [1, 0.75, 0.5, 0.25], "errors": [24.0, 25.1, 27.9, 35.0],
    },
}  # fmt: skip
EXITS = {"first": (784, 300, 100, CLASSES), "second": (784, 800, 200, CLASSES)}
STATIC = {**EXITS, "static": (784, 500, 150, CLASSES)}  # run without exits
PRICE = 0.1  # of all gated blocks, in nats
BUDGETS = (1.0, 1 / 4, 1 / 12, 1 / 25, 1 / 12, 1 / 4, 1.0)  # of the full network's microseconds, in the stream
NORMS = ("shared", "shared, calibrated", "own", "one network a width")


@dataclass(frozen=True)
class Settings:
    """The names are also those that `deep_compression.reproduce.fit` reads."""

    batch_size: int = 125
    lr: float = 2e-3  # of Adam; falls to 0 along a cosine
    temperature: float = 4.0
    alpha: float = 0.9  # weight of the soft targets
    full_epochs: int = 8
    exit_epochs: int = 20
    joint_epochs: int = 2
    joint_weights: tuple[float, float] = (1.0, 0.3)  # BranchyNet's for LeNet
    times_faster: float = 22.0  # the budget: this part of the full network's microseconds, as torch runs it by default
    trunk_epochs: int = 6
    few_digits: int = 20_000  # that gates and widths learn from
    gate_steps: int = 1500
    through_steps: int = 200
    gate_lr: float = 3e-2
    gate_batch: int = 250
    width_epochs: int = 5
    stream_digits: int = 1000  # at each budget


# --- exits ------------------------------------------------------------------------------------------------------------


def train_full(digits: Digits, settings: Settings, seed: int) -> Values:
    """LeNet-5, and its logits for all training digits at all shifts."""
    set_seed(seed)
    model = lenet5().to(memory_format=torch.channels_last)
    rate = cosine(settings.lr, settings.full_epochs)
    fit(model, digits.train, settings, epochs=settings.full_epochs, seed=seed, rate=rate, reach=1, name="full")
    logits = torch.stack([logits_of(model, shift_images(digits.train.images, *shift)) for shift in SHIFTS])
    return {
        "state": {name: value.contiguous() for name, value in model.state_dict().items()},
        "logits": logits,
        "validation_errors": errors(model, digits.validation),
    }


def train_exit(digits: Digits, settings: Settings, name: str, seed: int, full: Values) -> Values:
    """An MLP that learns from the full network, its teacher; all but the first exit for half as many epochs."""
    set_seed(seed)
    model = mlp(*STATIC[name])
    epochs = settings.exit_epochs if name == "first" else settings.exit_epochs // 2
    rate = cosine(settings.lr, epochs)
    fit(
        model, digits.train, settings, epochs=epochs, seed=seed, rate=rate, reach=1, teacher=full["logits"], name=name
    )  # fmt: skip
    return {"state": model.state_dict(), "validation_errors": errors(model, digits.validation)}


def train_branchy(digits: Digits, settings: Settings, seed: int) -> Values:
    """BranchyNet's way: the exit is in the trunk, and all is trained at once."""
    set_seed(seed)
    model = BranchyLeNet().to(memory_format=torch.channels_last)

    def loss(logits: list[Tensor], labels: Tensor, index: Tensor) -> Tensor:
        return joint_exit_loss(logits, labels, settings.joint_weights)

    train(
        model, digits.train, epochs=settings.joint_epochs, lr=settings.lr, batch_size=settings.batch_size, seed=seed,
        loss=loss, schedule=falling, jitter=1, progress=False,
    )  # fmt: skip
    return {"state": {name: value.contiguous() for name, value in model.state_dict().items()}}


def race_exits(
    digits: Digits, settings: Settings, seed: int, full: Values, first: Values, second: Values, static: Values,
    branchy: Values,
) -> Values:  # fmt: skip
    """Thresholds on validation digits, then errors and microseconds on test digits."""
    states = {"full": full["state"], "first": first["state"], "second": second["state"], "static": static["state"]}
    validation, labels = digits.validation, digits.validation.labels
    model = exits.restored(lenet5(), states["full"])
    ways = exits.ways_to_run(model)
    clocked = validation.subset(slice(0, 500))
    costs = exits.microseconds(ways | {name: exits.compiled(states[name]) for name in STATIC}, clocked)
    fastest = min(ways, key=costs.__getitem__)
    budget = costs[exits.DEFAULT] / settings.times_faster

    # Two exits in front, and the first of them alone: the best thresholds within the budget
    logits = exits.exit_logits(states, EXITS, validation.images)
    on_the_way = [costs["first"], costs["first"] + costs["second"]]
    both, both_leave = exits.choose(logits, labels, [*on_the_way, on_the_way[1] + costs[fastest]], budget)
    pair = [logits[0], logits[2]]
    alone, alone_leave = exits.choose(pair, labels, [costs["first"], costs["first"] + costs[fastest]], torch.inf)

    # BranchyNet: the best threshold without a budget, by its own trunk
    trunk = exits.restored(BranchyLeNet(), branchy["state"])
    with torch.no_grad():
        parts = [trunk(images) for images in validation.images.split(500)]
    branch_logits = [torch.cat(part) for part in zip(*parts, strict=True)]
    trunk_threshold, trunk_leave = exits.choose(branch_logits, labels, [1, 10], torch.inf)

    compiled = {name: exits.compiled_mlp(states[name]) for name in EXITS}
    exit_in_torch = exits.in_torch(exits.restored(mlp(*EXITS["first"]), states["first"]))
    systems = {
        **{f"full network, {name}": way for name, way in ways.items()},
        "two exits in front, compiled": exits.cascade([*compiled.values()], ways[fastest], both),
        "first exit in front, compiled": exits.cascade([compiled["first"]], ways[fastest], alone),
        "first exit in front, in torch": exits.cascade([exit_in_torch], ways[fastest], alone),
        **{f"no exit: {'-'.join(map(str, STATIC[name]))}": exits.compiled(states[name]) for name in STATIC},
        "exit in the trunk": exits.branchy(trunk, trunk_threshold[0]),
        "exit in the trunk, never taken": exits.branchy(trunk, 0.0),
        "trunk without exits": exits.whole(lambda image: trunk.rest(trunk.first(image))),
        "trunk up to the exit": exits.whole(lambda image: trunk.first(image)),
    }
    found = exits.race(systems, digits.test)
    del found["trunk up to the exit"]["errors"]  # it says no class: only its time counts
    return {
        "costs": costs, "fastest": fastest, "budget": budget,
        "thresholds": {"two exits": both, "first exit": alone, "trunk": trunk_threshold},
        "validation": {
            "errors": {
                name: int((each.argmax(dim=1) != labels).sum())
                for name, each in zip((*EXITS, "full"), logits, strict=True)
            },
            "leave": {"two exits": both_leave, "first exit": alone_leave, "trunk": trunk_leave},
        },
        "race": found,
    }  # fmt: skip


def stream(
    digits: Digits, settings: Settings, seed: int, full: Values, first: Values, second: Values, raced: Values,
    slimmed: Values,
) -> Values:  # fmt: skip
    """A budget that falls and rises while test digits come in: thresholds or widths follow it."""
    states = {"full": full["state"], "first": first["state"], "second": second["state"]}
    costs, fastest = raced["costs"], raced["fastest"]
    way = exits.ways_to_run(exits.restored(lenet5(), states["full"]))[fastest]
    compiled = [exits.compiled_mlp(states[name]) for name in EXITS]
    logits = exits.exit_logits(states, EXITS, digits.validation.images)
    on_the_way = [costs["first"], costs["first"] + costs["second"]]
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
        thresholds, _ = exits.choose(
            logits, digits.validation.labels, [*on_the_way, on_the_way[1] + costs[fastest]], budget
        )
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


# --- gates ------------------------------------------------------------------------------------------------------------


def train_gates(digits: Digits, settings: Settings, price: float, seed: int) -> Values:
    """A trunk, and gates that learn in each way; all rewards of all settings are computed once."""
    set_seed(seed)
    model = GatedNet()
    some = digits.train.subset(slice(0, settings.few_digits))
    train(
        model, some, epochs=settings.trunk_epochs, lr=settings.lr, batch_size=settings.batch_size, seed=seed,
        schedule=falling, progress=False,
    )  # fmt: skip
    pooled, losses, _ = gates.tables(model, some)
    reward = gates.rewards(losses, price)
    test = gates.tables(model, digits.test)
    recipe = settings.gate_lr, settings.gate_batch, seed
    trained = {
        name: gates.train_by_reward(update, pooled, reward, settings.gate_steps, *recipe)
        for name, update in gates.UPDATES.items()
    }
    trained |= {
        kind: gates.train_through(model, some, pooled, kind, price, settings.through_steps, *recipe)
        for kind in ("supervised", "supervised, logistic noise", "soft")
    }
    by_reward = gates.rewards(test[1], price)
    ways = {}
    for name, gate in trained.items():
        ways[name] = gates.measured(model, gate, test, digits.test)
        setting = ((gate(test[0]) > 0).long() << torch.arange(4)).sum(dim=1, keepdim=True)
        ways[name]["reward"] = float(by_reward.gather(1, setting).mean())
    validation = gates.rewards(gates.tables(model, digits.validation)[1], price)
    best = int(validation.mean(dim=0).argmax())
    opened = gates.settings_of(4).float().mean(dim=1)
    return {
        "ways": ways,
        "fixed": {
            "setting": best, "open": float(opened[best]), "reward": float(by_reward.mean(dim=0)[best]),
            "errors": (~test[2]).sum(dim=0).tolist(), "opened": opened.tolist(),
            "rewards": by_reward.mean(dim=0).tolist(),
        },
        "best_of_each": float(by_reward.max(dim=1).values.mean()),
        "noise": gates.gradient_noise(pooled, reward, 200, settings.gate_batch, seed),
        "race": gates.skipping_race(model, trained["exact"], digits.test.images[:1000]),
    }  # fmt: skip


# --- widths -----------------------------------------------------------------------------------------------------------


def train_slimmable(digits: Digits, settings: Settings, seed: int) -> Values:
    """One network at four widths, with shared normalization and with one for each width; and one network a width."""
    some = digits.train.subset(slice(0, settings.few_digits))
    recipe = {"epochs": settings.width_epochs, "lr": settings.lr, "seed": seed}
    models = {}
    for own in (False, True):
        set_seed(seed)
        models[own] = SlimmableNet(own=own)
        widths.train_widths(models[own], some, **recipe)
    wrong: dict[str, list[int]] = {name: [] for name in NORMS}
    for width in WIDTHS:
        set_seed(seed)
        single = SlimmableNet([width])
        widths.train_widths(single, some, **recipe)
        mended = widths.calibrated(models[False], width, some.images[:2000])
        tried = (models[False], mended, models[True], single)
        for name, model in zip(NORMS, tried, strict=True):
            wrong[name].append(widths.errors_at(model, width, digits.test))
    parameters = {width: sum(p.numel() for p in widths.frozen(models[True], width).parameters()) for width in WIDTHS}
    return {"errors": wrong, "parameters": list(parameters.values()), "own": models[True].state_dict()}


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
    """For each seed the networks with exits and their race; then the gates, the widths and the stream of each."""
    networks, rest = [], []
    for seed in range(seeds):
        here = f"seed {seed}"
        full, raced, slimmed = f"full/{here}", f"race/{here}", f"widths/{here}"
        mlps = {name: f"{name}/{here}" for name in STATIC}
        taught = full, mlps["first"], mlps["second"]
        networks += [
            Piece(full, train_full, (seed,), group="exits", seed=seed),
            *(Piece(mlps[name], train_exit, (name, seed), (full,), "exits", seed) for name in STATIC),
            Piece(f"trunk/{here}", train_branchy, (seed,), group="exits", seed=seed),
            Piece(raced, race_exits, (seed,), (full, *mlps.values(), f"trunk/{here}"), "exits", seed),
        ]
        rest += [
            Piece(f"gates/{here}", train_gates, (PRICE, seed), group="gates", seed=seed),
            Piece(slimmed, train_slimmable, (seed,), group="widths", seed=seed),
            Piece(f"stream/{here}", stream, (seed,), (*taught, raced, slimmed), "stream", seed),
        ]
        if seed == 0:
            rest.append(Piece("widget", sample_for_the_widget, needs=(*taught, raced)))
    return [*networks, *rest]


def collect(digits: Digits, settings: Settings, done: Done) -> Values:
    """All that was measured, by experiment and seed."""

    def of(group: str, name: str) -> list[dict[str, Any]]:
        return [{"seed": seed, **done[f"{name}/seed {seed}"]} for seed in done.seeds(group)]

    return {
        "experiment": "exits, gates and widths on MNIST, one image at a time",
        "data": digits.summary(),
        "settings": asdict(settings),
        "choices": "thresholds, costs, the fastest way to run the full network and the fixed setting of the gates on "
        "validation digits; epochs and rates were not tuned",
        **done.origin(),
        "paper": PAPER,
        "sizes": {name: list(sizes) for name, sizes in STATIC.items()},
        "exits": of("exits", "race"),
        "gates": of("gates", "gates"),
        "widths": of("widths", "widths"),
        "stream": of("stream", "stream"),
        "widget": done.get("widget"),
    }


run = Experiment("dynamic", Settings, load, pieces, collect).run
