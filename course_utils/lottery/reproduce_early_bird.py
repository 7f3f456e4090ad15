"""Early-bird tickets: when a mask settles, and what stopping there saves. H. You et al., ICLR 2020, arXiv:1909.11957.

A small convolutional network on 3,500 images of Fashion-MNIST, halved in height and width. As in the authors' code
(github.com/GATECH-EIC/Early-Bird-Tickets, main.py): SGD, a rate that falls to a tenth at half and at three quarters of
the epochs, a penalty on |γ|; after each epoch the channels of all layers are ranked by |γ| of their batch
normalization, and a mask is drawn for each of several fractions. When it has settled, the network is cut down to its
channels, a smaller dense network, and trains on. Seconds are those of the processor, on one thread: other programs on
the machine do not count.
"""

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils import lottery
from course_utils.budget import PICOJOULES, conv2d_macs, inference_energy, linear_macs
from course_utils.data import Digits, Split, fashion_mnist
from course_utils.pruning import smaller_images, weight_names
from course_utils.reproduce.runner import Done, Experiment, Piece, Values
from course_utils.training import errors, set_seed

Masks = dict[str, Tensor]

PAPER = {
    "source": "H. You et al., arXiv:1909.11957, abstract; the authors' README and main.py",
    "epsilon": 0.1,
    "window": 5,
    "epochs": 160,
    "gamma_decay": 1e-4,
    "found_by": 0.2,  # of the epochs, at most
    "energy": 4.7,  # times less, at most
}


@dataclass(frozen=True)
class Settings:
    """The penalty is ten times the authors', because there are an eleventh as many steps for it to work in."""

    widths: tuple[int, ...] = (16, 32, 32)
    train: int = 3500  # images
    epochs: int = 100
    lr: float = 0.1  # of SGD with momentum
    momentum: float = 0.9
    weight_decay: float = 1e-4
    gamma_decay: float = 1e-3  # of the sum of |γ| in the loss (Liu 2017, network slimming)
    batch_size: int = 128
    keep: tuple[float, ...] = (0.3, 0.5, 0.7)  # fractions of the channels whose masks are followed and cut to
    cut_to: float = 0.5  # the one for which all ways are tried
    weights_kept: float = 0.2
    part: float = 0.1  # of the images, in the search that saves data
    epsilon: float = 0.1
    window: int = 5
    comparable: float = 1.0  # points of error; decided before the run


def network(widths: tuple[int, ...]) -> nn.Sequential:
    """Convolutions 3 x 3 with batch normalization, each followed by pooling, on images of 14 x 14."""
    layers: list[nn.Module] = []
    for inputs, outputs in zip((1, *widths), widths, strict=False):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(widths[-1], 10))


def macs(widths: tuple[int, ...]) -> int:
    """Multiply-accumulates of one image."""
    pairs = zip((1, *widths), widths, (14, 7, 3), strict=False)
    return sum(conv2d_macs(i, o, (3, 3), (side, side)) for i, o, side in pairs) + linear_macs(widths[-1], 10)


def modelled_joules(trained_macs: int) -> float:
    """Arithmetic and two reads from SRAM for each MAC, by Horowitz's prices at 45 nm: a model, not a measurement."""
    return round(inference_energy(trained_macs, 2 * trained_macs, 0, PICOJOULES), 3)


def norms(model: nn.Module) -> dict[str, nn.BatchNorm2d]:
    return {name: module for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)}


def scales(model: nn.Module) -> dict[str, Tensor]:
    return {name: norm.weight.detach() for name, norm in norms(model).items()}


def usable(masks: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """The masks, with the largest channel of a layer that would lose all: a network cannot do without a layer."""
    result = {name: mask.clone() for name, mask in masks.items()}
    for name, scale in scales(model).items():
        if not result[name].any():
            result[name][scale.abs().argmax()] = True
    return result


@torch.no_grad()
def cut(model: nn.Sequential, masks: dict[str, Tensor]) -> nn.Sequential:
    """The smaller dense network of the kept channels, with their weights."""
    kept = list(masks.values())
    small = network(tuple(int(mask.sum()) for mask in kept))
    seen = torch.ones(1, dtype=torch.bool)
    pairs = list(zip(model, small, strict=True))
    for (conv, new_conv), (norm, new_norm), mask in zip(pairs[0::4], pairs[1::4], kept, strict=False):
        new_conv.weight.copy_(conv.weight[mask][:, seen])
        for name in ("weight", "bias", "running_mean", "running_var"):
            getattr(new_norm, name).copy_(getattr(norm, name)[mask])
        seen = mask
    small[-1].weight.copy_(model[-1].weight[:, seen])
    small[-1].bias.copy_(model[-1].bias)
    return small


def step_down(progress: float) -> float:
    """The schedule of the authors' scripts: a tenth of the rate after half of the epochs, a hundredth after three
    quarters."""
    return 1.0 if progress < 0.5 else 0.1 if progress < 0.75 else 0.01


def train_epochs(model: nn.Module, images: Split, settings: Settings, first: int, last: int, seed: int) -> Iterator:
    """Train from epoch `first` to `last` of the schedule; yields the seconds that each epoch took.

    An epoch has the steps of one pass over `settings.train` images; over fewer images it is as many passes.
    """
    optimizer = torch.optim.SGD(
        model.parameters(), lr=settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay
    )
    generator = torch.Generator().manual_seed(seed)
    passes = max(1, round(settings.train / len(images)))
    for epoch in range(first, last):
        start = time.process_time()
        model.train()
        for group in optimizer.param_groups:
            group["lr"] = settings.lr * step_down(epoch / settings.epochs)
        order = torch.cat([torch.randperm(len(images), generator=generator) for _ in range(passes)])
        for index in order.split(settings.batch_size):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images.images[index]), images.labels[index])
            slimming = sum(norm.weight.abs().sum() for norm in norms(model).values())
            (loss + settings.gamma_decay * slimming).backward()
            optimizer.step()
        model.eval()
        yield time.process_time() - start


def largest_weights(model: nn.Module, keep: float) -> dict[str, Tensor]:
    weights = {name: model.get_parameter(name).detach() for name in weight_names(model)}
    return lottery.prune_tickets(
        weights, {n: torch.ones_like(w, dtype=torch.bool) for n, w in weights.items()}, 1 - keep
    )


def fresh(widths: tuple[int, ...], seed: int) -> nn.Sequential:
    set_seed(seed)
    return network(widths)


CONSECUTIVE, FOUR, FIVE = RULES = ("consecutive", "newest against four", "newest against five")


def settled(history: Sequence[Masks], epsilon: float, window: int) -> dict[str, bool]:
    """Whether the newest mask has settled, by three rules.

    The authors' README: the last `window` distances, each of a mask to the one before it, are below epsilon. Their
    code: the newest is at most epsilon from each other one in a queue of `window` masks. `lottery.is_early_bird`: it is
    nearer than epsilon to each of the `window` masks before it.
    """
    steps = [lottery.mask_distance(a, b) for a, b in itertools.pairwise(history[-window - 1 :])]
    queue = [lottery.mask_distance(history[-1], mask) for mask in history[-window:-1]]
    return {
        CONSECUTIVE: len(steps) == window and max(steps, default=0) < epsilon,
        FOUR: len(queue) == window - 1 and max(queue, default=0) <= epsilon,
        FIVE: lottery.is_early_bird(history, epsilon, window),
    }


DENSE, AGAIN, EARLY, RANDOM, SCRATCH, ANEW, SEARCHED = WAYS = (
    "dense",
    "dense, then cut and train again",
    "early bird",
    "random channels, as many",
    "its widths from scratch",
    "early bird, weights drawn anew",
    "early bird, its mask from a tenth of the images",
)
EVERYWHERE = (EARLY, RANDOM, SCRATCH)  # the ways that are tried at the other sizes


def load(digits: Digits | None, settings: Settings) -> Digits:
    """The first images of Fashion-MNIST if none are given; halved in height and width."""
    digits = digits or fashion_mnist()
    train = digits.train.subset(slice(settings.train))
    return Digits(digits.name, *map(smaller_images, (train, digits.validation, digits.test)))


def few(digits: Digits, settings: Settings) -> Split:
    """The part of the images that the search which saves data may see."""
    return digits.train.subset(slice(round(settings.part * len(digits.train))))


def pieces(digits: Digits, settings: Settings, seeds: int) -> list[Piece]:
    """For each seed the dense network with its masks, the search on few images, then the ways to smaller networks."""
    work = []
    for seed in range(seeds):
        dense, tenth = (f"seed {seed}/{name}" for name in (DENSE, "search on a tenth of the images"))
        work += [Piece(dense, train_dense, (seed,), seed=seed), Piece(tenth, search_few, (seed,), seed=seed)]
        for keep, way in tried(settings):
            needs = (dense, tenth) if way == SEARCHED else (dense,)
            work.append(Piece(f"seed {seed}/{keep:.0%}/{way}", train_small, (seed, keep, way), needs, seed=seed))
    return work


def tried(settings: Settings) -> list[tuple[float, str]]:
    """The sizes, and the ways that are tried at each."""
    return [(k, way) for k in settings.keep for way in (WAYS[1:] if k == settings.cut_to else EVERYWHERE)]


def collect(digits: Digits, settings: Settings, done: Done) -> Values:
    """The masks of each seed's dense network, and what each way costs and brings."""
    runs = []
    for seed in done.seeds():
        dense = done[f"seed {seed}/{DENSE}"]
        ways: Values = {}
        for keep, way in tried(settings):
            ways.setdefault(f"{keep:.0%}", {})[way] = done[f"seed {seed}/{keep:.0%}/{way}"]["cost"]
        found = done[f"seed {seed}/search on a tenth of the images"]["settled"]
        apart = done[f"seed {seed}/{settings.cut_to:.0%}/{SEARCHED}"]["masks_apart"]
        on_few = {"settled": found, "masks_apart": apart}
        runs.append({"seed": seed} | dense["masks"] | {"dense": dense["cost"], "ways": ways, "few": on_few})
    return {
        "experiment": "early-bird tickets in a small convolutional network",
        "data": digits.summary() | {"few": len(few(digits, settings)), "pixels": "14 × 14"},
        "settings": asdict(settings),
        "choices": "none on the test images, which only fill the tables",
        "rules": RULES,
        "macs": "forward, backward by inputs, backward by weights: three times those of inference",
        "joules": "modelled from the MACs by Horowitz's prices, not measured",
        "paper": PAPER,
        "runs": runs,
        "provenance": done.origin(),
    }


run = Experiment("early_bird", Settings, load, pieces, collect).run


def train_dense(digits: Digits, settings: Settings, seed: int, must_settle: bool = True) -> dict[str, Any]:
    """The dense network at the end and when each mask of channels had settled by the authors' rule, the seconds until
    then, and its masks by epoch. ValueError if one that must has not settled."""
    model = fresh(settings.widths, seed)
    histories: dict[str, list[Masks]] = {}
    first: dict[str, dict[str, int | None]] = {}
    seconds: list[float] = []
    looking = 0.0
    early: dict[str, Any] = {}
    for epoch, took in enumerate(train_epochs(model, digits.train, settings, 0, settings.epochs, seed), start=1):
        seconds.append(took)
        start = time.process_time()
        masks = {f"channels, {keep:.0%}": lottery.channel_mask(scales(model), keep) for keep in settings.keep}
        masks[f"weights, {settings.weights_kept:.0%}"] = largest_weights(model, settings.weights_kept)
        for name, mask in masks.items():
            histories.setdefault(name, []).append(mask)
            found = first.setdefault(name, dict.fromkeys(RULES))
            for rule, holds in settled(histories[name], settings.epsilon, settings.window).items():
                if holds and found[rule] is None:
                    found[rule] = epoch
        looking += time.process_time() - start
        for name, found in first.items():
            if found[CONSECUTIVE] == epoch and name.startswith("channels"):
                early[name] = {key: value.clone() for key, value in model.state_dict().items()}
                early[f"{name}, seconds"] = sum(seconds) + looking
    for name, found in first.items():
        if must_settle and found[CONSECUTIVE] is None and name.startswith("channels"):
            raise ValueError(f"The mask of {name} has not settled in {settings.epochs} epochs: seed {seed}.")
    return early | {
        "end": model.state_dict(),
        "seconds": sum(seconds),
        "cost": cost(model, digits, settings, sum(seconds), settings.epochs, settings.epochs),
        "masks": {
            "settled": first,
            "distances": {
                name: [round(lottery.mask_distance(a, b), 4) for a, b in itertools.pairwise(history)]
                for name, history in histories.items()
            },
            "distances_to_last": {
                name: [round(lottery.mask_distance(mask, history[-1]), 4) for mask in history]
                for name, history in histories.items()
            },
        },
    }


def search_few(digits: Digits, settings: Settings, seed: int) -> dict[str, Any]:
    """The epoch at which the mask had settled of a dense network that saw few images as often, and the mask."""
    model, history = fresh(settings.widths, seed), []
    for epoch, _ in enumerate(train_epochs(model, few(digits, settings), settings, 0, settings.epochs, seed), start=1):
        history.append(lottery.channel_mask(scales(model), settings.cut_to))
        if settled(history, settings.epsilon, settings.window)[CONSECUTIVE]:
            return {"settled": epoch, "mask": usable(history[-1], model)}
    raise ValueError(f"On a tenth of the images no mask has settled in {settings.epochs} epochs: seed {seed}.")


def train_small(
    digits: Digits,
    settings: Settings,
    seed: int,
    keep: float,
    way: str,
    dense: dict[str, Any],
    searched: dict[str, Any] | None = None,
) -> Values:
    """Train a smaller network to the end, and count what all of it took, the dense one included.

    searched: what the search on few images has found, whose mask takes the place of the early bird's own.
    """
    name = f"channels, {keep:.0%}"
    found, seconds = dense["masks"]["settled"][name][CONSECUTIVE], dense[f"{name}, seconds"]
    model = network(settings.widths)
    model.load_state_dict(dense["end" if way == AGAIN else name])
    masks = usable(lottery.channel_mask(scales(model), keep), model)
    apart: Values = {}
    if searched:
        apart = {"masks_apart": round(lottery.mask_distance(masks, searched["mask"]), 4)}
        masks = searched["mask"]
    if way == RANDOM:
        masks = lottery.shuffle_masks(masks, 400 + seed)
    widths = tuple(int(mask.sum()) for mask in masks.values())
    # The network, the epoch that it starts at, and what was spent on the dense one
    small, first, before, epochs_before = {
        AGAIN: lambda: (cut(model, masks), 0, dense["seconds"], settings.epochs),
        ANEW: lambda: (fresh(widths, 200 + seed), found, seconds, found),
        SCRATCH: lambda: (fresh(widths, 300 + seed), 0, 0.0, 0),
    }.get(way, lambda: (cut(model, masks), found, seconds, found))()
    took = sum(train_epochs(small, digits.train, settings, first, settings.epochs, 100 + seed))
    return {"cost": cost(small, digits, settings, before + took, epochs_before, first)} | apart


def cost(
    model: nn.Module, digits: Digits, settings: Settings, seconds: float, epochs_before: int, first: int
) -> Values:
    """Errors and price of a network that was trained from epoch `first` on, after some epochs of the dense one."""
    widths = tuple(len(norm.weight) for norm in norms(model).values())
    work = epochs_before * macs(settings.widths) + (settings.epochs - first) * macs(widths)
    trained = 3 * len(digits.train) * work
    return {
        "widths": widths,
        "test_errors": errors(model, digits.test),
        "validation_errors": errors(model, digits.validation),
        "epochs": epochs_before + settings.epochs - first,
        "seconds": round(seconds, 2),
        "macs": trained,
        "modelled_joules": modelled_joules(trained),
    }
