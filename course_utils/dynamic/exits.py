"""Early exits: how they are trained, where their thresholds come from, and what they cost, one image at a time."""

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from course_utils.data import CLASSES, Split
from course_utils.dynamic import choose_thresholds, exit_index, prediction_entropy
from course_utils.dynamic.kernel import rounded
from course_utils.dynamic.networks import BranchyLeNet
from course_utils.models import lenet5, mlp
from course_utils.training import logits_of

Classifier = Callable[[Tensor], tuple[int, int]]  # of one image [1, 1, 28, 28]: its class, and the exit that it took
Exit = Callable[[Tensor, np.ndarray], tuple[int, float]]  # as `compiled_mlp` returns it: class and entropy
CANDIDATES = (0.0, *torch.logspace(-4, 0.3, 28).tolist(), math.inf)  # thresholds, in nats; ln 10 is 2.3
DEFAULT = "oneDNN"  # the way in which torch runs a network if nobody says otherwise
ROUNDS = 3  # of the race; systems take turns


def restored(model: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """The model with these weights, in evaluation mode."""
    model.load_state_dict(state)
    return model.eval()


# --- one image at a time ----------------------------------------------------------------------------------------------


def whole(model: Callable[[Tensor], Tensor]) -> Classifier:
    """A network without exits."""
    return lambda image: (int(model(image).argmax()), 0)


def always(*networks: Exit) -> Classifier:
    """Networks without exits: all are run, and their logits added."""

    def classify(image: Tensor) -> tuple[int, int]:
        total = np.zeros(CLASSES, np.float32)
        for network in networks:
            guess, _ = network(image, total)
        return guess, 0

    return classify


def ways_to_run(model: nn.Sequential) -> dict[str, Classifier]:
    """A convolutional network in each way that torch has to run it without a compiler; which is fastest depends on the
    machine."""
    last = copy.deepcopy(model).to(memory_format=torch.channels_last)

    def plain(image: Tensor) -> Tensor:
        with torch.backends.mkldnn.flags(enabled=False):
            return model(image)

    return {DEFAULT: whole(model), "oneDNN, channels last": whole(last), "without oneDNN": whole(plain)}


def cascade(exits: Sequence[Exit], last: Classifier, thresholds: Sequence[float]) -> Classifier:
    """Exits in front of a network: the first is believed that is sure enough, together with those before it."""

    def classify(image: Tensor) -> tuple[int, int]:
        total = np.zeros(CLASSES, np.float32)
        for number, (network, threshold) in enumerate(zip(exits, thresholds, strict=True)):
            guess, entropy = network(image, total)
            if entropy < threshold:
                return guess, number
        return last(image)[0], len(thresholds)

    return classify


def in_torch(model: nn.Module) -> Exit:
    """An exit in torch, with the interface of `compiled_mlp`."""

    def classify(image: Tensor, total: np.ndarray) -> tuple[int, float]:
        total += model(image)[0].numpy()
        return int(total.argmax()), float(prediction_entropy(torch.from_numpy(total)))

    return classify


def branchy(model: BranchyLeNet, threshold: float) -> Classifier:
    """The exit in the trunk: what it has computed, the rest goes on with."""

    def classify(image: Tensor) -> tuple[int, int]:
        hidden = model.first(image)
        logits = model.branch(hidden)
        if float(prediction_entropy(logits)) < threshold:
            return int(logits.argmax()), 0
        return int(model.rest(hidden).argmax()), 1

    return classify


@torch.inference_mode()
def race(systems: Mapping[str, Classifier], split: Split, rounds: int = ROUNDS) -> dict[str, dict[str, Any]]:
    """Errors, exits, and microseconds an image, one image at a time, from the pixels to the class.

    Systems take turns, so that a machine that is busy for a while is so for all. Returns for each `errors` (of the very
    answers that were timed), `leave` (the share of images at each exit), and `processor` and `clock`: microseconds an
    image in each round, of this thread's processor time and of the clock on the wall.
    """
    images, labels = split.images.split(1), split.labels.tolist()
    found: dict[str, dict[str, Any]] = {}
    for classify in systems.values():
        for image in images[:20]:
            classify(image)
    for _ in range(rounds):
        for name, classify in systems.items():
            clock, processor = time.perf_counter(), time.thread_time()
            answers = [classify(image) for image in images]
            seconds = time.thread_time() - processor, time.perf_counter() - clock
            entry = found.setdefault(name, {"processor": [], "clock": []})
            for key, value in zip(("processor", "clock"), seconds, strict=True):
                entry[key].append(round(1e6 * value / len(images), 2))
            taken = [number for _, number in answers]
            entry["errors"] = sum(guess != label for (guess, _), label in zip(answers, labels, strict=True))
            entry["leave"] = [taken.count(number) / len(taken) for number in range(max(taken) + 1)]
    return found


# --- batches ----------------------------------------------------------------------------------------------------------


def gathered(
    exits: Sequence[nn.Module], last: nn.Module, thresholds: Sequence[float]
) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """The cascade in torch for a batch: those that have not left are gathered into a smaller one."""

    def classify(images: Tensor) -> tuple[Tensor, Tensor]:
        classes, left = torch.full((2, len(images)), len(exits))
        staying, total = torch.arange(len(images)), torch.zeros(len(images), CLASSES)
        for number, (model, threshold) in enumerate(zip(exits, thresholds, strict=True)):
            total = total + model(images)
            leaves = prediction_entropy(total) < threshold
            classes[staying[leaves]], left[staying[leaves]] = total[leaves].argmax(dim=1), number
            images, staying, total = images[~leaves], staying[~leaves], total[~leaves]
            if not len(staying):
                return classes, left
        classes[staying] = last(images).argmax(dim=1)
        return classes, left

    return classify


@torch.inference_mode()
def race_in_batches(
    systems: Mapping[str, Callable[[Tensor], tuple[Tensor, Tensor]]], split: Split, size: int, rounds: int = ROUNDS
) -> dict[str, dict[str, Any]]:
    """As `race`, but batch after batch; microseconds are still those of an image."""
    found: dict[str, dict[str, Any]] = {name: {"processor": []} for name in systems}
    batches = split.images.split(size)
    for number in range(rounds + 1):
        for name, classify in systems.items():
            start = time.thread_time()
            answers = [classify(images) for images in batches]
            spent = 1e6 * (time.thread_time() - start) / len(split)
            classes, left = (torch.cat(part) for part in zip(*answers, strict=True))
            if number:  # the first round warms up
                found[name]["processor"].append(round(spent, 2))
            found[name]["errors"] = int((classes != split.labels).sum())
            found[name]["leave"] = (left.bincount() / len(left)).tolist()
    return found


def microseconds(systems: Mapping[str, Classifier], split: Split) -> dict[str, float]:
    """Processor time an image, the least of the rounds: what thresholds are chosen by."""
    return {name: min(entry["processor"]) for name, entry in race(systems, split).items()}


# --- thresholds -------------------------------------------------------------------------------------------------------


def choose(
    logits: Sequence[Tensor], labels: Tensor, costs: Sequence[float], budget: float
) -> tuple[list[float], list[float]]:
    """Thresholds by `choose_thresholds` on these validation logits, and the share that leaves at each exit.

    costs: of leaving at each exit, all that comes before included, in the unit of the budget, which is at least what
    the first exit costs.
    """
    budget = max(budget, costs[0] * (1 + 1e-9))  # a mean of equal costs is rounded
    entropies = torch.stack([prediction_entropy(each) for each in logits])
    correct = torch.stack([each.argmax(dim=1) == labels for each in logits])
    thresholds = choose_thresholds(entropies[:-1], correct, costs, budget, CANDIDATES)
    exits = exit_index(logits, thresholds)
    return thresholds, (exits.bincount(minlength=len(logits)) / len(exits)).tolist()


def wrong(logits: Tensor, labels: Tensor) -> int:
    return int((logits.argmax(dim=1) != labels).sum())


def exit_logits(
    states: Mapping[str, Mapping[str, Tensor]], sizes: Mapping[str, Sequence[int]], images: Tensor
) -> list[Tensor]:
    """The logits of the exits in front, of these sizes, each with those before it added, and of LeNet-5."""
    parts = [logits_of(restored(mlp(*sizes[name]), rounded(states[name])), images) for name in sizes]
    full = restored(lenet5(), states["full"]).to(memory_format=torch.channels_last)
    return [*torch.stack(parts).cumsum(dim=0), logits_of(full, images)]
