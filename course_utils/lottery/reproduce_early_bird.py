"""Early-bird tickets: when a mask settles, and what stopping there saves. H. You et al., ICLR 2020, arXiv:1909.11957.

A small convolutional network on the embedded digits, halved in height and width. After each epoch its channels are
ranked by |γ| of their batch normalization, and a mask is drawn for each of several fractions; beside it a mask of the
largest weights. When the channel mask has settled, the network is cut down to its channels, a smaller dense network,
and trains on. Seconds are those of the processor, on one thread: other programs on the machine do not count.
"""

import time
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils import lottery
from course_utils.budget import PICOJOULES, conv2d_macs, inference_energy, linear_macs
from course_utils.data import Digits, embedded_digits
from course_utils.pruning import smaller_images, weight_names
from course_utils.reproduce.runner import Done, Experiment, Piece, Values
from course_utils.training import cosine, errors, set_seed

PAPER = {
    "source": "H. You et al., arXiv:1909.11957, abstract and algorithm 1",
    "epsilon": 0.1,
    "window": 5,
    "found_by": 0.2,  # of the epochs, at most
    "energy": 4.7,  # times less, at most
}


@dataclass(frozen=True)
class Settings:
    widths: tuple[int, ...] = (16, 32, 32)
    epochs: int = 30
    lr: float = 0.1  # of SGD with momentum; falls to 0 along a cosine
    momentum: float = 0.9
    gamma_decay: float = 1e-3  # of the sum of |γ| in the loss (Liu 2017, network slimming)
    batch_size: int = 50
    keep: tuple[float, ...] = (0.3, 0.5, 0.7)  # fractions of the channels whose masks are followed
    cut_to: float = 0.5  # the one that the network is cut to
    weights_kept: float = 0.2
    epsilon: float = 0.1
    window: int = 5


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


def train_epochs(model: nn.Module, digits: Digits, settings: Settings, first: int, last: int, seed: int):
    """Train from epoch `first` to `last` of the schedule; yields the seconds that each epoch took."""
    optimizer = torch.optim.SGD(model.parameters(), lr=settings.lr, momentum=settings.momentum)
    generator = torch.Generator().manual_seed(seed)
    for epoch in range(first, last):
        start = time.process_time()
        model.train()
        for group in optimizer.param_groups:
            group["lr"] = settings.lr * cosine(epoch / settings.epochs)
        for index in torch.randperm(len(digits.train), generator=generator).split(settings.batch_size):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(digits.train.images[index]), digits.train.labels[index])
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


DENSE, AGAIN, EARLY, ANEW, SCRATCH = WAYS = (
    "dense",
    "dense, then cut and train again",
    "early bird",
    "early bird, weights drawn anew",
    "its widths from scratch",
)


def load(digits: Digits | None, settings: Settings) -> Digits:
    """The embedded digits if none are given; halved in height and width."""
    digits = digits or embedded_digits()
    return Digits(digits.name, *map(smaller_images, (digits.train, digits.validation, digits.test)))


def pieces(digits: Digits, settings: Settings, seeds: int) -> list[Piece]:
    """For each seed the dense network with its masks, then the ways to a network of half of the channels."""
    work = []
    for seed in range(seeds):
        dense = f"seed {seed}/{DENSE}"
        work.append(Piece(dense, train_dense, (seed,), seed=seed))
        work += [Piece(f"seed {seed}/{way}", train_small, (seed, way), (dense,), seed=seed) for way in WAYS[1:]]
    return work


def collect(digits: Digits, settings: Settings, done: Done) -> Values:
    """The masks of each seed's dense network, and what each way costs and brings."""
    return {
        "experiment": "early-bird tickets in a small convolutional network",
        "data": {"name": digits.name, "train": len(digits.train), "test": len(digits.test), "pixels": "14 × 14"},
        "settings": asdict(settings),
        "choices": "none on the test digits, which only fill the table",
        "macs": "forward, backward by inputs, backward by weights: three times those of inference",
        "joules": "modelled from the MACs by Horowitz's prices, not measured",
        "paper": PAPER,
        "runs": [
            {"seed": seed}
            | done[f"seed {seed}/{DENSE}"]["masks"]
            | {"ways": {way: done[f"seed {seed}/{way}"]["cost"] for way in WAYS}}
            for seed in done.seeds()
        ],
        "provenance": done.origin(),
    }


run = Experiment("early_bird", Settings, load, pieces, collect).run


def train_dense(digits: Digits, settings: Settings, seed: int) -> dict[str, Any]:
    """The dense network at the end and when its mask had settled, the seconds until then, and its masks by epoch."""
    model = fresh(settings.widths, seed)
    histories: dict[str, list[dict[str, Tensor]]] = {}
    settled: dict[str, int | None] = {}
    seconds: list[float] = []
    early: dict[str, Any] = {}
    for epoch, took in enumerate(train_epochs(model, digits, settings, 0, settings.epochs, seed), start=1):
        seconds.append(took)
        looking = time.process_time()
        masks = {f"channels, {keep:.0%}": lottery.channel_mask(scales(model), keep) for keep in settings.keep}
        masks[f"weights, {settings.weights_kept:.0%}"] = largest_weights(model, settings.weights_kept)
        for name, mask in masks.items():
            histories.setdefault(name, []).append(mask)
            if settled.setdefault(name, None) is None:
                settled[name] = (
                    epoch if lottery.is_early_bird(histories[name], settings.epsilon, settings.window) else None
                )
        looking = time.process_time() - looking
        if not early and settled[f"channels, {settings.cut_to:.0%}"] is not None:
            weights = {name: value.clone() for name, value in model.state_dict().items()}
            early = {"early": weights, "early_epochs": epoch, "early_seconds": sum(seconds) + looking * epoch}
    if not early:
        raise ValueError(f"The mask has not settled in {settings.epochs} epochs: seed {seed}.")
    return early | {
        "end": model.state_dict(),
        "seconds": sum(seconds),
        "cost": cost(model, digits, settings, sum(seconds), settings.epochs, settings.epochs),
        "masks": {
            "settled": settled,
            "distances": {
                name: [round(lottery.mask_distance(a, b), 4) for a, b in zip(history[1:], history[:-1], strict=True)]
                for name, history in histories.items()
            },
            "distances_to_last": {
                name: [round(lottery.mask_distance(mask, history[-1]), 4) for mask in history]
                for name, history in histories.items()
            },
        },
    }


def train_small(digits: Digits, settings: Settings, seed: int, way: str, dense: dict[str, Any]) -> Values:
    """Train a network of half of the channels to the end, and count what all of it took, the dense one included."""
    model = network(settings.widths)
    model.load_state_dict(dense["end" if way == AGAIN else "early"])
    masks = usable(lottery.channel_mask(scales(model), settings.cut_to), model)
    widths = tuple(int(mask.sum()) for mask in masks.values())
    found = dense["early_epochs"]
    # The network, the epoch that it starts at, and what was spent on the dense one
    small, first, before, epochs_before = {
        AGAIN: lambda: (cut(model, masks), 0, dense["seconds"], settings.epochs),
        EARLY: lambda: (cut(model, masks), found, dense["early_seconds"], found),
        ANEW: lambda: (fresh(widths, 200 + seed), found, dense["early_seconds"], found),
        SCRATCH: lambda: (fresh(widths, 300 + seed), 0, 0.0, 0),
    }[way]()
    took = sum(train_epochs(small, digits, settings, first, settings.epochs, 100 + seed))
    return {"cost": cost(small, digits, settings, before + took, epochs_before, first)}


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
