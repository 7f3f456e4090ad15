"""One small network after another task: digits, then the letters A to K, then L to V.

Three ways to learn them: one trunk, trained on (fine-tuning); one trunk whose weights are given away task by task
(PackNet, 14.9); a network for each. Each task has an output layer of its own; the trunk has no biases, which PackNet
would have to share.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor

from course_utils import drone
from course_utils.data import Digits, Split
from course_utils.text_spotting import pack_task, task_view

State = dict[str, Tensor]
TRUNK = ("first", "second")
LETTERS = ("ABCDEFGHIJK", "LMNOPQRSTUV")
TASKS = ("digits", *(f"{letters[0]} to {letters[-1]}" for letters in LETTERS))


def letter_images(letters: str, count: int, seed: int) -> Split:
    """So many images [count, 784] of capital letters: a font, a size, a place, a slant and noise for each."""
    rng = np.random.default_rng([28, seed])
    labels = rng.integers(len(letters), size=count)
    images = np.empty((count, 28, 28), np.float32)
    for image, label in zip(images, labels, strict=True):
        font = drone.font(str(rng.choice(drone.DEJAVU)), int(rng.integers(16, 27)))
        picture = Image.new("L", (28, 28))
        place = tuple(14 + rng.uniform(-3, 3, 2))
        ImageDraw.Draw(picture).text(place, letters[label], font=font, fill=int(rng.integers(140, 256)), anchor="mm")
        image[:] = np.asarray(picture.rotate(rng.uniform(-20, 20), Image.Resampling.BILINEAR), np.float32) / 255
    images += 0.15 * rng.standard_normal(images.shape).astype(np.float32)
    return Split(torch.from_numpy(images).flatten(1).clamp(0, 1), torch.from_numpy(labels))


def all_tasks(digits: Digits, count: int, seed: int) -> list[tuple[Split, Split]]:
    """Training and test split of each task."""
    found = [(digits.train.subset(slice(0, count)), digits.test)]
    for number, letters in enumerate(LETTERS):
        made = letter_images(letters, count + 600, 10 * seed + number)
        found.append((made.subset(slice(0, count)), made.subset(slice(count, None))))
    return found


def first_trunk(sizes: Sequence[int], generator: torch.Generator) -> State:
    pairs = zip(sizes[1:], sizes[:-1], strict=True)
    return {
        name: torch.randn(out, inputs, generator=generator) * (2 / inputs) ** 0.5
        for name, (out, inputs) in zip(TRUNK, pairs, strict=True)
    }


def first_head(inputs: int, classes: int) -> State:
    return {"weight": torch.zeros(classes, inputs), "bias": torch.zeros(classes)}


def logits_of(trunk: State, head: State, images: Tensor) -> Tensor:
    hidden = images.flatten(1)
    for name in TRUNK:
        hidden = F.relu(F.linear(hidden, trunk[name]))
    return F.linear(hidden, head["weight"], head["bias"])


def train_task(
    trunk: State, head: State, split: Split, free: State, epochs: int, rate: float, seed: int
) -> tuple[State, State]:
    """New trunk and head. free: bool by name, which weights of the trunk may change."""
    trunk, head = ({name: value.clone().requires_grad_() for name, value in part.items()} for part in (trunk, head))
    leaves = [*trunk.values(), *head.values()]
    stepper = torch.optim.Adam(leaves, lr=rate)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for index in torch.randperm(len(split), generator=generator).split(64):
            stepper.zero_grad()
            F.cross_entropy(logits_of(trunk, head, split.images[index]), split.labels[index]).backward()
            for name, mask in free.items():
                trunk[name].grad *= mask
            stepper.step()
    return tuple({name: value.detach() for name, value in part.items()} for part in (trunk, head))


def accuracy(trunk: State, head: State, split: Split) -> float:
    return float((logits_of(trunk, head, split.images).argmax(1) == split.labels).float().mean())


def learn(
    method: str, tasks: Sequence[tuple[Split, Split]], sizes: Sequence[int], *, epochs: int, rate: float, seed: int
) -> list[list[float]]:
    """R[i][j]: test accuracy of task j after task i, 0 before it was learned.

    method: 'fine-tuning', 'PackNet' or 'separate' networks. Each task has so many epochs, and half as many again at a
    third of the rate: between the two PackNet gives the weights away, to each task as many as are left for each one.
    """
    generator = torch.Generator().manual_seed(seed)
    trunk = first_trunk(sizes, generator)
    owner = {name: torch.zeros(value.shape, dtype=torch.int64) for name, value in trunk.items()}
    everything = {name: torch.ones(value.shape, dtype=torch.bool) for name, value in trunk.items()}
    heads: list[State] = []
    views: list[State] = []
    rows = []
    for number, (split, _) in enumerate(tasks, 1):
        head = first_head(sizes[-1], int(split.labels.max()) + 1)
        if method == "PackNet":
            free = {name: owned == 0 for name, owned in owner.items()}
            trunk, head = train_task(trunk, head, split, free, epochs, rate, seed)
            trunk, owner = pack_task(trunk, owner, 1 / (len(tasks) - number + 1), number)
            mine = {name: owned == number for name, owned in owner.items()}
            view, head = train_task(task_view(trunk, owner, number), head, split, mine, epochs // 2, rate / 3, seed)
            trunk = {name: torch.where(mine[name], view[name], trunk[name]) for name in trunk}
            if number < len(tasks):  # what is free starts from new random weights
                fresh = first_trunk(sizes, generator)
                trunk = {name: torch.where(owner[name] == 0, fresh[name], trunk[name]) for name in trunk}
        else:
            if method == "separate":
                trunk = first_trunk(sizes, generator)
            trunk, head = train_task(trunk, head, split, everything, epochs, rate, seed)
            trunk, head = train_task(trunk, head, split, everything, epochs // 2, rate / 3, seed)
        heads.append(head)
        views.append(trunk)
        row = [0.0] * len(tasks)
        for task, (_, test) in enumerate(tasks[:number], 1):
            seen = views[task - 1] if method == "separate" else trunk
            if method == "PackNet":
                seen = task_view(trunk, owner, task)
            row[task - 1] = accuracy(seen, heads[task - 1], test)
        rows.append(row)
    return rows
