"""Early birds in transformers: X. Chen et al., *EarlyBERT*, ACL 2021, arXiv:2101.00063; in small, for text and images.

Each attention head and each neuron of the feed-forward layers has a learnable coefficient, 1 at first, and the sum of
their |c| is added to the loss (as in the authors' code, github.com/VITA-Group/EarlyBERT, finetune/modeling_bert.py).
The heads of smallest |c| go in each layer, the neurons of smallest |c| in all layers together, and what is left is a
smaller dense transformer. One network, two tasks: the next character of Python's help texts, and MNIST's digits in
patches, a small vision transformer. Seconds are those of the processor, on one thread.
"""

import itertools
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from course_utils import lottery
from course_utils.data import Digits, full_mnist
from course_utils.lottery.reproduce_early_bird import CONSECUTIVE, RULES, settled
from course_utils.lottery.reproduce_mask_transfer import Mean, topics
from course_utils.reproduce.runner import Done, Experiment, Piece, Values
from course_utils.training import cosine, set_seed

State = dict[str, Tensor]
Masks = dict[str, Tensor]
Sizes = tuple[tuple[int, int], ...]  # heads and neurons of each layer
Batch = tuple[Tensor, Tensor]  # inputs, and what they should give

PAPER = {
    "source": "X. Chen et al., arXiv:2101.00063, abstract; the authors' launch_earlybert_glue.sh",
    "less_time": [0.35, 0.45],
    "penalty": 1e-4,
    "heads_pruned": 1 / 3,
    "neurons_pruned": 0.4,
}
TEXT, IMAGES = TASKS = ("text", "images")


@dataclass(frozen=True)
class Settings:
    """Nothing was tuned; the steps are what a few minutes of a processor allow. Of the two sizes the first is that of
    the authors' script for GLUE."""

    width: int = 48
    layers: int = 2
    heads: int = 6
    neurons: int = 192
    keep: tuple[tuple[float, float], ...] = ((2 / 3, 0.6), (1 / 3, 0.2))  # of the heads, of the neurons
    penalty: float = 1e-4  # of the sum of |c| in the loss
    lr: float = 2e-3  # Adam's; falls to 0 along a cosine
    steps: tuple[int, int] = (1200, 1000)  # of text, of images
    looks: int = 100  # at the masks, at equal distances
    batch_size: tuple[int, int] = (32, 64)
    window: int = 32  # characters
    patch: int = 7  # pixels
    train: int = 10_000  # images
    epsilon: float = 0.1
    queue: int = 5
    comparable: float = 1.0  # percent of perplexity, points of error; decided before the run


class Block(nn.Module):
    """A layer of a transformer whose heads and neurons have coefficients: [batch, length, width] in and out."""

    def __init__(self, width: int, heads: int, head_size: int, neurons: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.attention_norm, self.neuron_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * heads * head_size, bias=False)
        self.mix = nn.Linear(heads * head_size, width, bias=False)
        self.up, self.down = nn.Linear(width, neurons), nn.Linear(neurons, width)
        self.head_scale, self.neuron_scale = nn.Parameter(torch.ones(heads)), nn.Parameter(torch.ones(neurons))

    def forward(self, hidden: Tensor) -> Tensor:
        batch, length, _ = hidden.shape
        parts = self.query_key_value(self.attention_norm(hidden)).view(batch, length, 3, self.heads, -1)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(query, key, value, is_causal=self.causal)
        seen = self.head_scale.view(-1, 1, 1) * seen  # [batch, heads, length, head size]
        hidden = hidden + self.mix(seen.transpose(1, 2).reshape(batch, length, -1))
        return hidden + self.down(self.neuron_scale * F.gelu(self.up(self.neuron_norm(hidden))))


class Patches(nn.Module):
    """Images [batch, 1, side, side] as a row of patches [batch, patches, width]."""

    def __init__(self, patch: int, width: int) -> None:
        super().__init__()
        self.embed = nn.Conv2d(1, width, patch, stride=patch)

    def forward(self, images: Tensor) -> Tensor:
        return self.embed(images).flatten(2).transpose(1, 2)


class Transformer(nn.Module):
    """What embeds, places, the blocks, and what reads off classes."""

    def __init__(
        self, embed: nn.Module, length: int, width: int, head_size: int, sizes: Sizes, read: nn.Module, causal: bool
    ) -> None:
        super().__init__()
        self.embed, self.read, self.head_size = embed, read, head_size
        self.places = nn.Parameter(0.02 * torch.randn(length, width))
        self.blocks = nn.Sequential(*(Block(width, heads, head_size, n, causal) for heads, n in sizes))

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.embed(inputs)
        return self.read(self.blocks(hidden + self.places))


def coefficients(model: Transformer) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Of the heads and of the neurons, by layer."""
    blocks = list(enumerate(model.blocks))
    heads = {f"heads {i}": block.head_scale.detach() for i, block in blocks}
    return heads, {f"neurons {i}": block.neuron_scale.detach() for i, block in blocks}


def draw(model: Transformer, keep: tuple[float, float]) -> tuple[Masks, Masks]:
    """Masks of the heads, the same part of each layer, and of the neurons, of all layers together."""
    heads, neurons = coefficients(model)
    by_layer = [lottery.channel_mask({name: scale}, keep[0]) for name, scale in heads.items()]
    masks = lottery.channel_mask(neurons, keep[1])
    for name, scale in neurons.items():
        if not masks[name].any():  # a layer cannot do without a neuron
            masks[name][scale.abs().argmax()] = True
    return {name: mask for layer in by_layer for name, mask in layer.items()}, masks


def sizes_of(heads: Masks, neurons: Masks) -> Sizes:
    return tuple((int(h.sum()), int(n.sum())) for h, n in zip(heads.values(), neurons.values(), strict=True))


@torch.no_grad()
def cut(model: Transformer, small: Transformer, heads: Masks, neurons: Masks) -> Transformer:
    """`small`, of the masks' sizes, with the weights of the model's kept heads and neurons."""
    state = model.state_dict()
    for i, (head, neuron) in enumerate(zip(heads.values(), neurons.values(), strict=True)):
        rows = head.repeat_interleave(model.head_size)  # of one of query, key and value
        picked = {
            "query_key_value.weight": lambda w, rows=rows: w[rows.repeat(3)],
            "mix.weight": lambda w, rows=rows: w[:, rows],
            "head_scale": lambda w, head=head: w[head],
            "up.weight": lambda w, neuron=neuron: w[neuron],
            "up.bias": lambda w, neuron=neuron: w[neuron],
            "neuron_scale": lambda w, neuron=neuron: w[neuron],
            "down.weight": lambda w, neuron=neuron: w[:, neuron],
        }
        state |= {f"blocks.{i}.{name}": pick(state[f"blocks.{i}.{name}"]) for name, pick in picked.items()}
    small.load_state_dict(state)
    return small


def macs(model: Transformer) -> int:
    """Multiply-accumulates of the blocks, for one position: their matrices, and its row of the attention."""
    length = len(model.places)
    matrices = sum(w.numel() for name, w in model.blocks.named_parameters() if w.dim() > 1)
    return matrices + sum(2 * length * block.heads * model.head_size for block in model.blocks)


# --- the tasks --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """network: of given sizes. batch: one to train on. validation, test: what is measured on each, less is better."""

    network: Callable[[Sizes], Transformer]
    batch: Callable[[Generator], Batch]
    validation: Callable[[nn.Module], float]
    test: Callable[[nn.Module], float]
    steps: int
    quantity: str


def text_task(settings: Settings) -> Task:
    """The next character of the help texts: the first eight tenths to train on, a tenth to validate, one to test."""
    text = "\n".join(topics().values())
    alphabet = {character: i for i, character in enumerate(sorted(set(text)))}
    ids = torch.tensor([alphabet[character] for character in text])
    train, validation, test = ids.tensor_split([int(0.8 * len(ids)), int(0.9 * len(ids))])
    head_size = settings.width // settings.heads

    def network(sizes: Sizes) -> Transformer:
        embed = nn.Embedding(len(alphabet), settings.width)
        read = nn.Sequential(nn.LayerNorm(settings.width), nn.Linear(settings.width, len(alphabet)))
        return Transformer(embed, settings.window, settings.width, head_size, sizes, read, causal=True)

    def batch(generator: Generator) -> Batch:
        starts = torch.randint(len(train) - settings.window, (settings.batch_size[0], 1), generator=generator)
        window = train[starts + torch.arange(settings.window + 1)]
        return window[:, :-1], window[:, 1:]

    return Task(
        network,
        batch,
        lambda model: perplexity(model, validation, settings.window),
        lambda model: perplexity(model, test, settings.window),
        settings.steps[0],
        "perplexity of a character",
    )


@torch.no_grad()
def perplexity(model: nn.Module, text: Tensor, window: int) -> float:
    """exp of the mean cross-entropy of the characters of all windows, one after the other."""
    count = (len(text) - 1) // window
    inputs, wanted = (text[shift : shift + count * window].view(count, window) for shift in (0, 1))
    pairs = zip(inputs.split(200), wanted.split(200), strict=True)
    total = sum(F.cross_entropy(model(i).transpose(1, 2), w, reduction="sum").item() for i, w in pairs)
    return math.exp(total / wanted.numel())


def image_task(digits: Digits, settings: Settings) -> Task:
    """Which digit it is, by a small vision transformer; the error in percent."""
    train = digits.train.subset(slice(settings.train))
    head_size = settings.width // settings.heads
    length = (train.images.shape[-1] // settings.patch) ** 2

    def network(sizes: Sizes) -> Transformer:
        read = nn.Sequential(nn.LayerNorm(settings.width), Mean(), nn.Linear(settings.width, 10))
        embed = Patches(settings.patch, settings.width)
        return Transformer(embed, length, settings.width, head_size, sizes, read, causal=False)

    def batch(generator: Generator) -> Batch:
        index = torch.randint(len(train), (settings.batch_size[1],), generator=generator)
        return train.images[index], train.labels[index]

    @torch.no_grad()
    def percent_wrong(model: nn.Module, images: Tensor, labels: Tensor) -> float:
        predicted = torch.cat([model(part).argmax(1) for part in images.split(500)])
        return 100 * (predicted != labels).double().mean().item()

    return Task(
        network,
        batch,
        lambda model: percent_wrong(model, digits.validation.images, digits.validation.labels),
        lambda model: percent_wrong(model, digits.test.images, digits.test.labels),
        settings.steps[1],
        "errors (%)",
    )


# --- training ---------------------------------------------------------------------------------------------------------


def train(
    model: Transformer,
    task: Task,
    settings: Settings,
    first: int,
    seed: int,
    look: Callable[[int, float], None] | None = None,
) -> float:
    """Train from step `first` of the schedule to its end; the seconds that it took. look: called after each hundredth
    (or whatever `settings.looks` says), with its number from 1 and the seconds so far; its own count too."""
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.lr, fused=True)
    generator = Generator().manual_seed(seed)
    start = time.process_time()
    every = task.steps // settings.looks
    for step in range(first, task.steps):
        for group in optimizer.param_groups:
            group["lr"] = settings.lr * cosine(step / task.steps)
        inputs, wanted = task.batch(generator)
        logits = model(inputs)
        optimizer.zero_grad()
        slimming = sum(block.head_scale.abs().sum() + block.neuron_scale.abs().sum() for block in model.blocks)
        (F.cross_entropy(logits.flatten(0, -2), wanted.flatten()) + settings.penalty * slimming).backward()
        optimizer.step()
        if look and (step + 1) % every == 0:
            look((step + 1) // every, time.process_time() - start)
    return time.process_time() - start


DENSE, EARLY, RANDOM, REWOUND, RANDOM_REWOUND, SCRATCH = WAYS = (
    "dense",
    "early bird, trained on",
    "random mask, trained on",
    "early bird, first weights",
    "random mask, first weights",
    "its widths from scratch",
)
AUTHORS = (REWOUND, RANDOM_REWOUND)  # what the authors' scripts do, and the control that is in them
Data = dict[str, Task]


def load(digits: Digits | None, settings: Settings) -> Data:
    """The two tasks; MNIST if no digits are given."""
    return {TEXT: text_task(settings), IMAGES: image_task(digits or full_mnist(), settings)}


def size_name(keep: tuple[float, float]) -> str:
    return f"{keep[0]:.0%} of the heads, {keep[1]:.0%} of the neurons"


def tried(settings: Settings) -> list[tuple[tuple[float, float], str]]:
    """The sizes, and the ways that are tried at each: all of them at the last."""
    return [(keep, way) for keep in settings.keep for way in (WAYS[1:] if keep == settings.keep[-1] else AUTHORS)]


def pieces(data: Data, settings: Settings, seeds: int) -> list[Piece]:
    """For each seed and task the dense network with its masks, then the ways to smaller ones."""
    work = []
    for seed, name in itertools.product(range(seeds), data):
        dense = f"{name}/seed {seed}/{DENSE}"
        work.append(Piece(dense, train_dense, (name, seed), group=name, seed=seed))
        for keep, way in tried(settings):
            small = f"{name}/seed {seed}/{size_name(keep)}/{way}"
            work.append(Piece(small, train_small, (name, seed, keep, way), (dense,), name, seed))
    return work


def collect(data: Data, settings: Settings, done: Done) -> Values:
    """By task and seed the masks of the dense network, and what each way costs and brings."""
    runs: dict[str, list[Values]] = {name: [] for name in data}
    for name in data:
        for seed in done.seeds(name):
            dense = done[f"{name}/seed {seed}/{DENSE}"]
            ways: Values = {}
            for keep, way in tried(settings):
                found = done[f"{name}/seed {seed}/{size_name(keep)}/{way}"]["cost"]
                ways.setdefault(size_name(keep), {})[way] = found
            runs[name].append({"seed": seed} | dense["masks"] | {"dense": dense["cost"], "ways": ways})
    return {
        "experiment": "early-bird tickets in small transformers",
        "settings": asdict(settings),
        "choices": "none on the test data, which only fill the tables",
        "quantities": {name: task.quantity for name, task in data.items()},
        "macs": "of the blocks: forward, backward by inputs, backward by weights, three times those of inference",
        "rules": RULES,
        "paper": PAPER,
        "runs": runs,
        "provenance": done.origin(),
    }


run = Experiment("early_bert", Settings, load, pieces, collect).run


def whole(settings: Settings) -> Sizes:
    return ((settings.heads, settings.neurons),) * settings.layers


def train_dense(data: Data, settings: Settings, name: str, seed: int) -> dict[str, Any]:
    """The dense network's first weights, those at which both kinds of masks had settled by the authors' rule, the
    seconds until then, and its masks by look."""
    task = data[name]
    set_seed(seed)
    model = task.network(whole(settings))
    born = {key: value.clone() for key, value in model.state_dict().items()}
    histories: dict[str, tuple[list[Masks], list[Masks]]] = {size_name(keep): ([], []) for keep in settings.keep}
    first: dict[str, dict[str, int | None]] = {size: dict.fromkeys(RULES) for size in histories}
    early: dict[str, Any] = {}

    def look(number: int, seconds: float) -> None:
        for keep, (size, history) in zip(settings.keep, histories.items(), strict=True):
            for masks, drawn in zip(history, draw(model, keep), strict=True):
                masks.append(drawn)
            both = [settled(masks, settings.epsilon, settings.queue) for masks in history]
            for rule in RULES:
                if all(each[rule] for each in both) and first[size][rule] is None:
                    first[size][rule] = number
            if first[size][CONSECUTIVE] == number:
                early[size] = {key: value.clone() for key, value in model.state_dict().items()}
                early[f"{size}, seconds"] = seconds

    seconds = train(model, task, settings, 0, seed, look)
    if missing := [size for size in histories if size not in early]:
        raise ValueError(f"The masks of {missing[0]} have not settled in {task.steps} steps: {name}, seed {seed}.")

    def distances(size: str, kind: int) -> Values:
        masks = histories[size][kind]
        return {
            "to the one before": [round(lottery.mask_distance(a, b), 4) for a, b in itertools.pairwise(masks)],
            "to the last": [round(lottery.mask_distance(mask, masks[-1]), 4) for mask in masks],
        }

    return early | {
        "born": born,
        "cost": cost(model, task, settings, seconds, task.steps, task.steps),
        "masks": {
            "settled": first,
            "distances": {
                size: {kind: distances(size, i) for i, kind in enumerate(("heads", "neurons"))} for size in histories
            },
        },
    }


def train_small(
    data: Data, settings: Settings, name: str, seed: int, keep: tuple[float, float], way: str, dense: dict[str, Any]
) -> Values:
    """Train a smaller network to the end, and count what all of it took, the dense one included."""
    task, size = data[name], size_name(keep)
    found = dense["masks"]["settled"][size][CONSECUTIVE] * (task.steps // settings.looks)
    model = task.network(whole(settings))
    model.load_state_dict(dense[size])
    masks = draw(model, keep)
    set_seed(300 + seed)
    small = task.network(sizes_of(*masks))
    if way in (RANDOM, RANDOM_REWOUND):
        masks = tuple(lottery.shuffle_masks(each, 400 + seed) for each in masks)
    if way in AUTHORS:
        model.load_state_dict(dense["born"])
    if way != SCRATCH:
        small = cut(model, small, *masks)
    first = 0 if way in (*AUTHORS, SCRATCH) else found
    before, steps_before = (0.0, 0) if way == SCRATCH else (dense[f"{size}, seconds"], found)
    took = train(small, task, settings, first, 100 + seed)
    return {"cost": cost(small, task, settings, before + took, steps_before, first)}


def cost(model: Transformer, task: Task, settings: Settings, seconds: float, steps_before: int, first: int) -> Values:
    """What a network brings that was trained from step `first` on, after some steps of the dense one; and its price."""
    positions = len(model.places) * settings.batch_size[0 if task.quantity.startswith("perplexity") else 1]
    work = steps_before * macs(task.network(whole(settings))) + (task.steps - first) * macs(model)
    return {
        "sizes": [[block.heads, len(block.neuron_scale)] for block in model.blocks],
        "test": round(task.test(model), 4),
        "validation": round(task.validation(model), 4),
        "steps": steps_before + task.steps - first,
        "seconds": round(seconds, 2),
        "macs": 3 * positions * work,
    }
