"""Masks that move: one found on a pre-training task, used on others. For digits and for text, small.

T. Chen, J. Frankle, S. Chang, S. Liu, Y. Zhang, Z. Wang and M. Carbin, *The Lottery Ticket Hypothesis for Pre-trained
BERT Networks*, NeurIPS 2020; T. Chen, J. Frankle, S. Chang, S. Liu, Y. Zhang, M. Carbin and Z. Wang, *The Lottery
Tickets Hypothesis for Supervised and Self-supervised Pre-training in Computer Vision Models*, CVPR 2021. As there: a
network is pre-trained, iterative magnitude pruning on the pre-training task finds a mask, always rewinding to the
pre-trained weights, and mask and weights go to a task with a new head. The controls tell what the mask does from what
the weights do.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from course_utils import lottery
from course_utils.data import DataMissing, Digits, fashion_mnist, full_mnist
from course_utils.reproduce.runner import Done, Experiment, Piece, Values

State = dict[str, Tensor]
Masks = dict[str, Tensor]
Loss = Callable[[nn.Module, Generator], Tensor]

PAPER = {
    "source": "T. Chen et al., arXiv:2007.12223, abstract (BERT)",
    "matching_sparsity": [0.4, 0.9],
    "universal_sparsity": 0.7,  # at which the masks of masked language modelling transfer to all tasks
}


@dataclass(frozen=True)
class Settings:
    """The same for all conditions; learning rates are Adam's."""

    rate: float = 0.2
    lr: float = 1e-3
    batch_size: int = 64  # images
    windows: int = 32  # of text, in a batch
    digit_rounds: tuple[int, ...] = (5, 10, 15, 20)  # after which the masks are tried on the tasks
    digit_iterations: tuple[int, int, int] = (2000, 400, 300)  # pre-training, a round, a task
    text_rounds: tuple[int, ...] = (5, 10, 15)
    text_iterations: tuple[int, int, int] = (2500, 250, 200)
    few: int = 500  # labelled examples of a digit task
    window: int = 32  # characters
    hidden_share: float = 0.3  # of the characters, masked


@dataclass(frozen=True)
class Task:
    """Examples and labels to fine-tune on, and others to count errors on."""

    name: str
    classes: int
    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Source:
    """A pre-training task. `model` has a body, which moves, and a head, which does not."""

    name: str
    model: Callable[[], nn.Sequential]
    loss: Loss
    head: Callable[[int], nn.Module]  # for a number of classes
    tasks: tuple[Task, ...]
    rounds: tuple[int, ...]
    iterations: tuple[int, int, int]
    batch_size: int


# --- training ---------------------------------------------------------------------------------------------------------


def with_head(body: nn.Module, head: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(body=body, head=head))


def train(
    model: nn.Module, state: State, masks: Masks, loss: Loss, iterations: int, lr: float, seed: int
) -> tuple[nn.Module, State]:
    """The model trained from `state` under masks, which hold after each step, and its state."""
    model.load_state_dict(state)
    generator = Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, fused=True)
    pruned = [model.get_parameter(name) for name in masks]
    factors = [mask.float() for mask in masks.values()]
    for _ in range(iterations):
        optimizer.zero_grad()
        loss(model, generator).backward()
        optimizer.step()
        with torch.no_grad():
            for parameter, factor in zip(pruned, factors, strict=True):
                parameter.mul_(factor)
    return model, {name: value.detach().clone() for name, value in model.state_dict().items()}


def find_masks(
    model: nn.Module, initial: State, loss: Loss, rounds: int, iterations: int, settings: Settings, seed: int
) -> list[Masks]:
    """Iterative magnitude pruning of the body's matrices from these weights; the masks after each round, first the
    whole ones."""
    masks = {
        n: torch.ones_like(v, dtype=torch.bool) for n, v in initial.items() if n.startswith("body") and v.dim() > 1
    }
    masks = {name: mask for name, mask in masks.items() if "embed" not in name}
    found = [masks]
    for number in range(rounds):
        _, trained = train(model, lottery.rewind(initial, masks), masks, loss, iterations, settings.lr, seed + number)
        _, masks = lottery.imp_round(initial, trained, masks, dict.fromkeys(masks, settings.rate))
        found.append(masks)
    return found


def supervised(inputs: Tensor, labels: Tensor, batch_size: int) -> Loss:
    """The cross-entropy of a random batch."""

    def loss(model: nn.Module, generator: Generator) -> Tensor:
        index = torch.randint(len(labels), (batch_size,), generator=generator)
        return F.cross_entropy(model(inputs[index]), labels[index])

    return loss


@torch.no_grad()
def accuracy(model: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    predicted = torch.cat([model(part).argmax(1) for part in inputs.split(1000)])
    return (predicted == labels).double().mean().item()


# --- digits -----------------------------------------------------------------------------------------------------------


def digit_body() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU())


def denoising(images: Tensor, batch_size: int) -> Loss:
    """Squared error of a digit rebuilt from half of its pixels (Vincent 2008, denoising autoencoders)."""

    def loss(model: nn.Module, generator: Generator) -> Tensor:
        batch = images[torch.randint(len(images), (batch_size,), generator=generator)].flatten(1)
        seen = batch * (torch.rand(batch.shape, generator=generator) < 0.5)
        return F.mse_loss(model(seen), batch)

    return loss


def other_digits() -> Task:
    """scikit-learn's 1,797 digits: other writers, 8 x 8 pixels, enlarged to 20 x 20 within 28 x 28 as MNIST's are."""
    from sklearn.datasets import load_digits

    found = load_digits()
    images = torch.from_numpy(found.images).float().unsqueeze(1) / 16
    images = F.pad(F.interpolate(images, size=20, mode="bilinear"), (4, 4, 4, 4))
    labels = torch.from_numpy(found.target).long()
    order = torch.randperm(len(labels), generator=Generator().manual_seed(0))
    first, rest = order[:500], order[500:]
    return Task("scikit-learn's digits", 10, (images[first], labels[first]), (images[rest], labels[rest]))


def digit_tasks(digits: Digits, settings: Settings) -> tuple[Task, ...]:
    """Tasks with few labels: digits of other writers, odd or even, and clothes if they are on this machine."""
    few = digits.validation.subset(slice(settings.few))  # pre-training has not seen these
    parity = Task("odd or even", 2, (few.images, few.labels % 2), (digits.test.images, digits.test.labels % 2))
    tasks = [other_digits(), parity]
    try:
        clothes = fashion_mnist()
        part = clothes.train.subset(slice(settings.few))
        test = clothes.test
        tasks.append(Task("Fashion-MNIST", 10, (part.images, part.labels), (test.images, test.labels)))
    except DataMissing:
        pass
    return tuple(tasks)


# --- text -------------------------------------------------------------------------------------------------------------


class Encoder(nn.Module):
    """A small BERT: characters [batch, window] -> [batch, window, width]."""

    def __init__(self, characters: int, window: int, width: int = 64) -> None:
        super().__init__()
        self.embed = nn.Embedding(characters + 1, width)  # the last stands for a hidden character
        self.embed_place = nn.Parameter(0.02 * torch.randn(window, width))
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, text: Tensor) -> Tensor:
        return self.layers(self.embed(text) + self.embed_place)


class Mean(nn.Module):
    """Mean over the window: [batch, window, width] -> [batch, width]."""

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden.mean(1)


def topics() -> dict[str, str]:
    """The texts of Python's own help, which come with every Python; they differ a little between its versions."""
    from pydoc_data.topics import topics

    return {name: " ".join(text.split()) for name, text in topics.items()}


def masked_characters(text: Tensor, characters: int, settings: Settings) -> Loss:
    """Cross-entropy of hidden characters, given those around them (masked language modelling, Devlin 2019)."""

    def loss(model: nn.Module, generator: Generator) -> Tensor:
        starts = torch.randint(len(text) - settings.window, (settings.windows, 1), generator=generator)
        window = text[starts + torch.arange(settings.window)]
        hidden = torch.rand(window.shape, generator=generator) < settings.hidden_share
        return F.cross_entropy(model(window.masked_fill(hidden, characters))[hidden], window[hidden])

    return loss


def text_tasks(encoded: dict[str, Tensor], settings: Settings) -> tuple[Task, ...]:
    """From which of the four longest topics a window comes; and whether a quarter of its characters are random ones.

    The first four fifths of a text are trained on; the 4,000 windows of each test come from the last fifth.
    """
    generator = Generator().manual_seed(0)

    def windows(text: Tensor, count: int) -> Tensor:
        starts = torch.randint(len(text) - settings.window, (count, 1), generator=generator)
        return text[starts + torch.arange(settings.window)]

    longest = sorted(encoded.values(), key=len)[-4:]
    cuts = [int(0.8 * len(text)) for text in longest]
    train = torch.cat([windows(text[:cut], 300) for text, cut in zip(longest, cuts, strict=True)])
    test = torch.cat([windows(text[cut:], 1000) for text, cut in zip(longest, cuts, strict=True)])
    labels = [torch.arange(4).repeat_interleave(count) for count in (300, 1000)]
    which = Task("which topic", 4, (train, labels[0]), (test, labels[1]))
    damaged = []
    for low, high, count in ((0, 0.8, 1200), (0.8, 1, 4000)):
        text = torch.cat([t[int(low * len(t)) : int(high * len(t))] for t in encoded.values()])
        window = windows(text, count)
        chosen = torch.rand(window.shape, generator=generator) < 0.25
        wrong = torch.arange(count) % 2 == 1
        noise = text[torch.randint(len(text), window.shape, generator=generator)]
        damaged.append((torch.where(chosen & wrong[:, None], noise, window), wrong.long()))
    return which, Task("damaged or not", 2, *damaged)


# --- both -------------------------------------------------------------------------------------------------------------


def sources(digits: Digits, settings: Settings) -> list[Source]:
    tasks = digit_tasks(digits, settings)
    images, labels = digits.train.images, digits.train.labels
    common = (settings.digit_rounds, settings.digit_iterations, settings.batch_size)
    texts = topics()
    alphabet = {character: i for i, character in enumerate(sorted(set("".join(texts.values()))))}
    encoded = {name: torch.tensor([alphabet[c] for c in text]) for name, text in texts.items()}
    seen = torch.cat([text[: int(0.8 * len(text))] for text in encoded.values()])
    n = len(alphabet)

    def digit_head(classes: int) -> nn.Module:
        return nn.Linear(100, classes)

    return [
        Source(
            "digits, supervised", lambda: with_head(digit_body(), nn.Linear(100, 10)),
            supervised(images, labels, settings.batch_size), digit_head, tasks, *common,
        ),
        Source(
            "digits, denoising",
            lambda: with_head(digit_body(), nn.Sequential(nn.Linear(100, 300), nn.ReLU(), nn.Linear(300, 784))),
            denoising(images, settings.batch_size), digit_head, tasks, *common,
        ),
        Source(
            "text, masked characters", lambda: with_head(Encoder(n, settings.window), nn.Linear(64, n)),
            masked_characters(seen, n, settings), lambda classes: nn.Sequential(Mean(), nn.Linear(64, classes)),
            text_tasks({name: text for name, text in encoded.items() if len(text) > 10 * settings.window}, settings),
            settings.text_rounds, settings.text_iterations, settings.windows,
        ),
    ]  # fmt: skip


def try_on_task(
    task: Task, source: Source, body: State, fresh: State, masks: Masks, settings: Settings, seed: int
) -> float:
    """Test accuracy after fine-tuning a body under masks, with a new head. `fresh` has the task's whole first state."""
    model = with_head(source.model().body, source.head(task.classes))
    moved = lottery.transplant(masks, fresh, exclude=[])
    state = lottery.rewind(fresh | body, moved)
    loss = supervised(*task.train, source.batch_size)
    model, _ = train(model, state, moved, loss, source.iterations[2], settings.lr, seed)
    return round(accuracy(model, *task.test), 4)


# --- the pieces -------------------------------------------------------------------------------------------------------


Data = tuple[Digits, dict[str, Source]]


def load(digits: Digits | None, settings: Settings) -> Data:
    """The digits, and the sources by name."""
    digits = digits or full_mnist()
    return digits, {source.name: source for source in sources(digits, settings)}


def pieces(data: Data, settings: Settings, seeds: int) -> list[Piece]:
    """For each seed and source pre-training with its masks, then each task that they are tried on."""
    work = []
    for seed in range(seeds):
        for name, source in data[1].items():
            first = Piece(f"{name}/seed {seed}", pretrain, (name, seed), group=name, seed=seed)
            work.append(first)
            for task in source.tasks:
                tried = f"{first.name}/{task.name}"
                work.append(Piece(tried, try_masks, (name, task.name, seed), (first.name,), name, seed))
    return work


def collect(data: Data, settings: Settings, done: Done) -> Values:
    """Accuracies of every source's tasks."""
    digits, known = data
    return {
        "experiment": "masks found in pre-training, on other tasks",
        "data": {"name": digits.name, "train": len(digits.train), "test": len(digits.test)},
        "settings": asdict(settings),
        "choices": "iterations and learning rate are fixed for all conditions; bodies below 10% (digits) and 30% "
        "(text) were added after a run without them, in whose tests mask and magnitude did not part",
        **done.origin(),
        "paper": PAPER,
        "runs": {
            name: [
                {
                    "seed": seed,
                    "rows": [row for task in source.tasks for row in done[f"{name}/seed {seed}/{task.name}"]["rows"]],
                }
                for seed in done.seeds(name)
            ]
            for name, source in known.items()
        },
    }


run = Experiment("mask_transfer", Settings, load, pieces, collect).run


def pretrain(data: Data, settings: Settings, name: str, seed: int) -> dict[str, State]:
    """The weights before and after, and the masks after each round, by its number."""
    source = data[1][name]
    pretraining, a_round, _ = source.iterations
    torch.manual_seed(seed)
    model = source.model()
    born = {name: value.clone() for name, value in model.state_dict().items()}
    model, trained = train(model, born, {}, source.loss, pretraining, settings.lr, seed)
    found = find_masks(model, trained, source.loss, max(source.rounds), a_round, settings, 1000 + seed)
    return {"born": born, "trained": trained} | {str(number): masks for number, masks in enumerate(found)}


def try_masks(data: Data, settings: Settings, name: str, task_name: str, seed: int, before: dict[str, State]) -> Values:
    """Accuracies on a task under the masks of pre-training, and under their controls."""
    source = data[1][name]
    (task,) = (each for each in source.tasks if each.name == task_name)
    pretrained, whole = before["trained"], before["0"]
    body = {name: value for name, value in pretrained.items() if name.startswith("body")}
    first_body = {name: before["born"][name] for name in body}
    torch.manual_seed(100 + seed)
    new = with_head(source.model().body, source.head(task.classes))
    fresh = {name: value.clone() for name, value in new.state_dict().items()} | body
    task_loss = supervised(*task.train, source.batch_size)
    own = find_masks(new, fresh, task_loss, max(source.rounds), source.iterations[2], settings, 2000 + seed)
    rows = []
    for number in (0, *source.rounds):
        masks = before[str(number)]
        left = lottery.remaining_after(number, settings.rate, {name: mask.numel() for name, mask in masks.items()})
        conditions = {"dense, pre-trained": (body, whole), "dense, from scratch": (first_body, whole)}
        if number:
            cut = lottery.prune_tickets(pretrained, whole, dict.fromkeys(masks, 1 - left))
            conditions = {
                "pre-training's mask": (body, masks),
                "the task's own mask": (body, own[number]),
                "magnitude of the pre-trained weights": (body, cut),
                "shuffled mask": (body, lottery.shuffle_masks(masks, seed)),
                "pre-training's mask, weights from scratch": (first_body, masks),
            }
        rows += [
            {
                "task": task.name, "round": number, "remaining": round(left, 4), "condition": condition,
                "accuracy": try_on_task(task, source, start, fresh, chosen, settings, 3000 + seed),
            }
            for condition, (start, chosen) in conditions.items()
        ]  # fmt: skip
    return {"rows": rows}
