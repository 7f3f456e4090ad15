"""When rewinding is needed: linear mode connectivity, J. Frankle et al., ICML 2020, arXiv:1912.05671.

A network is trained for k iterations, and from there twice, with two orders of batches. Is the straight line between
the two ends as good as they are? Then the order has not decided where training went (sections 2 and 3). The same is
asked of the ticket that iterative pruning finds with rewinding to iteration k, and how good that is, beside the one
that is cut to the same size at once (Frankle and Carbin, ICLR 2019, figure 4). Two networks: the fully connected one of
the lottery experiment, and a small convolutional one, without normalization, so that the weights are all that is to be
interpolated.
"""

import itertools
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils import lottery
from course_utils.data import Digits, Split, fashion_mnist, full_mnist
from course_utils.models import lenet_300_100
from course_utils.pruning import smaller_images
from course_utils.reproduce.runner import Done, Experiment, Piece, Values
from course_utils.training import set_seed

State = dict[str, Tensor]
Masks = dict[str, Tensor]

STABLE = 2.0  # percentage points: a barrier up to this counts as none (section 3)
LENET, CONVOLUTIONS = NETWORKS = ("LeNet-300-100 on MNIST, Adam", "convolutions on Fashion-MNIST, SGD")


@dataclass(frozen=True)
class Settings:
    """Iterations and rate of the convolutional network were chosen on validation images, by the dense network's errors
    and by whether there is a barrier at all."""

    iterations: int = 800
    rewound_to: tuple[int, ...] = (0, 100)
    rate: float = 0.5  # pruned in each round, the smallest weights of all layers together
    rounds: int = 3
    points: int = 5  # of a line, its ends included
    train: int = 10_000  # images


@dataclass(frozen=True)
class Recipe:
    """How a network is made and trained. factor: of the rate, given the fraction of iterations that are over."""

    make: Callable[[], nn.Module]
    optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer]
    factor: Callable[[float], float]
    batch_size: int


def convolutions() -> nn.Sequential:
    """Three convolutions 3 x 3, each with ReLU and pooling, on images of 14 x 14."""
    layers: list[nn.Module] = []
    for inputs, outputs in ((1, 16), (16, 32), (32, 32)):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(32, 10))


RECIPES = {
    LENET: Recipe(lenet_300_100, lambda weights: torch.optim.Adam(weights, lr=1.2e-3, fused=True), lambda over: 1, 60),
    CONVOLUTIONS: Recipe(
        convolutions,
        lambda weights: torch.optim.SGD(weights, lr=0.05, momentum=0.9, fused=True),
        lambda over: 1 - over,
        50,
    ),
}
Data = dict[str, Digits]


def load(digits: Digits | None, settings: Settings) -> Data:
    """The images of each network: those given, or its own."""
    mnist, clothes = digits or full_mnist(), digits or fashion_mnist()
    small = Digits(clothes.name, *map(smaller_images, (clothes.train, clothes.validation, clothes.test)))
    return {
        name: Digits(each.name, each.train.subset(slice(settings.train)), each.validation, each.test)
        for name, each in ((LENET, mnist), (CONVOLUTIONS, small))
    }


def train(
    recipe: Recipe, state: State, masks: Masks, images: Split, settings: Settings, first: int, last: int, seed: int
) -> State:
    """The weights at iteration `last`, from those at iteration `first`, under masks that hold after each step."""
    model = recipe.make()
    model.load_state_dict(state)
    optimizer = recipe.optimizer(list(model.parameters()))
    (group,) = optimizer.param_groups
    rate = group["lr"]
    generator = torch.Generator().manual_seed(seed)
    pruned = [(model.get_parameter(name), mask.float()) for name, mask in masks.items()]
    for iteration in range(first, last):
        group["lr"] = rate * recipe.factor(iteration / settings.iterations)
        index = torch.randint(len(images), (recipe.batch_size,), generator=generator)
        optimizer.zero_grad()
        F.cross_entropy(model(images.images[index]), images.labels[index]).backward()
        optimizer.step()
        with torch.no_grad():
            for parameter, mask in pruned:
                parameter.mul_(mask)
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


@torch.no_grad()
def percent_wrong(recipe: Recipe, state: State, images: Split) -> float:
    model = recipe.make()
    model.load_state_dict(state)
    predicted = torch.cat([model(part).argmax(1) for part in images.images.split(1000)])
    return round(100 * float((predicted != images.labels).double().mean()), 3)


def along_the_line(recipe: Recipe, ends: tuple[State, State], images: Split, points: int) -> list[float]:
    """Percentages of wrong images at evenly spaced points between two networks, from the first to the second."""
    shares = [step / (points - 1) for step in range(points)]
    between = ({key: torch.lerp(ends[0][key], ends[1][key], share) for key in ends[0]} for share in shares)
    return [percent_wrong(recipe, state, images) for state in between]


def connect(data: Data, settings: Settings, name: str, seed: int, k: int) -> Values:
    """Errors along the line between two dense networks that part at iteration k, and between two tickets that are
    rewound to it; errors of networks of the ticket's size, cut at once and with the mask shuffled."""
    recipe, images = RECIPES[name], data[name]
    set_seed(seed)
    first = recipe.make().state_dict()
    whole = {key: torch.ones_like(value, dtype=torch.bool) for key, value in first.items() if value.dim() > 1}
    orders = itertools.count(1_000_000 * seed + 1000 * k)  # of batches: every training has its own

    def trained(state: State, masks: Masks, since: int = k, until: int = settings.iterations) -> State:
        return train(recipe, state, masks, images.train, settings, since, until, next(orders))

    early = trained(first, whole, 0, k)
    dense = trained(early, whole), trained(early, whole)
    masks, end = whole, dense[0]
    for number in range(settings.rounds):
        if number:
            end = trained(lottery.rewind(early, masks), masks)
        masks = lottery.prune_tickets(end, masks, settings.rate)
    tickets = tuple(trained(lottery.rewind(early, masks), masks) for _ in range(2))
    others = {
        "at once": lottery.prune_tickets(dense[0], whole, 1 - (1 - settings.rate) ** settings.rounds),
        "shuffled": lottery.shuffle_masks(masks, seed),
    }
    small = {other: trained(lottery.rewind(early, mask), mask) for other, mask in others.items()}
    return {
        "dense": along_the_line(recipe, dense, images.test, settings.points),
        "ticket": along_the_line(recipe, tickets, images.test, settings.points),
        **{other: percent_wrong(recipe, state, images.test) for other, state in small.items()},
    }


def name_of(network: str, seed: int, k: int) -> str:
    return f"{network}/seed {seed}/iteration {k}"


def pieces(data: Data, settings: Settings, seeds: int) -> list[Piece]:
    return [
        Piece(name_of(name, seed, k), connect, (name, seed, k), group=name, seed=seed)
        for seed in range(seeds)
        for name in NETWORKS
        for k in settings.rewound_to
    ]


def collect(data: Data, settings: Settings, done: Done) -> Values:
    """By network and seed the errors for each iteration that was rewound to."""
    return {
        "experiment": "linear mode connectivity, and tickets that are rewound",
        "data": {name: each.summary() for name, each in data.items()},
        "settings": asdict(settings),
        "remaining": (1 - settings.rate) ** settings.rounds,
        "stable": STABLE,
        "choices": "the convolutional network's rate and iterations on validation images, by the dense network's "
        "errors, by what they cost and by whether there is a barrier; the test images were read once, for the figure "
        "and the table",
        "runs": {
            name: [
                {"seed": seed, "from": {str(k): done[name_of(name, seed, k)] for k in settings.rewound_to}}
                for seed in done.seeds(name)
            ]
            for name in NETWORKS
        },
        "provenance": done.origin(),
    }


run = Experiment("connectivity", Settings, load, pieces, collect).run
