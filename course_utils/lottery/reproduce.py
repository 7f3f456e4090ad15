"""Winning tickets in LeNet-300-100 on MNIST: Frankle and Carbin, *The Lottery Ticket Hypothesis*, ICLR 2019, section 2.

As in the paper: Glorot's normal initialization, Adam with rate 1.2e-3, batches of 60, in each round 20% of a layer's
weights pruned, 10% of the output layer's. The early-stopping iteration is that of the least validation loss. Otherwise
than in the paper, training ends some thousand iterations after that minimum instead of at 50,000: what counts here is
over by then. Each training has its own order of batches, so that a ticket cannot profit from having seen the order.
"""

import itertools
import time
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils import lottery
from course_utils.data import Digits, Split, full_mnist
from course_utils.models import lenet_300_100, mlp_forward
from course_utils.reproduce.runner import Done, Experiment, Piece, Values

State = dict[str, Tensor]
Masks = dict[str, Tensor]

PAPER = {
    "source": "J. Frankle and M. Carbin, arXiv:1803.03635v5, sections 1 and 2 (LeNet, five trials)",
    "remaining": 0.21,
    "earlier": 0.38,  # how much earlier than the dense network the ticket's validation loss is least
    "faster_than_reinitialized": 2.51,
    "points": 0.5,  # by which a ticket of that size is more accurate than its reinitialized control
}


@dataclass(frozen=True)
class Settings:
    """What is fixed beforehand, the same for tickets and controls."""

    lr: float = 1.2e-3
    batch_size: int = 60
    rate: float = 0.2
    output_rate: float = 0.1
    iterations: int = 8000  # the weights of this iteration are pruned
    patience: int = (
        3000  # a run ends when its least validation loss lies so many iterations back, never before the above
    )
    most_iterations: int = 20_000
    check_every: int = 100  # iterations from one validation to the next
    rewind_to: int = 500


TICKET = "ticket"
REINITIALIZED, SHUFFLED, SIGNS, REWOUND = "reinitialized", "shuffled mask", "signs kept", "rewound to a later iteration"
CONDITIONS = (TICKET, REINITIALIZED, SHUFFLED, SIGNS, REWOUND)
# What is trained besides the tickets, by round, in stages: of all seeds one stage stands before the next
STAGES: tuple[dict[int, tuple[str, ...]], ...] = (
    {7: (REINITIALIZED, SHUFFLED)},
    {7: (REINITIALIZED, SHUFFLED), 15: (REINITIALIZED, SHUFFLED, REWOUND)},
    {
        3: (REINITIALIZED, SHUFFLED),
        7: (REINITIALIZED, SHUFFLED, SIGNS),
        11: (REINITIALIZED, SHUFFLED),
        15: (REINITIALIZED, SHUFFLED, REWOUND),
    },
)


def glorot_state(seed: int) -> State:
    """LeNet-300-100 with weights from Glorot's normal distribution, biases 0."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, value in lenet_300_100().state_dict().items():
        std = (2 / sum(value.shape)) ** 0.5 if value.dim() > 1 else 0.0
        state[name] = std * torch.randn(value.shape, generator=generator)
    return state


@torch.no_grad()
def wrong(state: State, split: Split) -> int:
    return int((mlp_forward(state, split.images).argmax(1) != split.labels).sum())


def train_masked(
    state: State, masks: Masks, digits: Digits, settings: Settings, seed: int, keep: bool = False
) -> dict[str, Any]:
    """Train a masked network until its validation loss has turned.

    Returns the validation loss every `check_every` iterations and the iteration of the least; errors on the test digits
    there, at `settings.iterations`, and untrained; seconds. With `keep` also the weights at `settings.iterations`,
    'end', and those at `settings.rewind_to`, 'early'.
    """
    start = time.perf_counter()
    state = {name: value.clone().requires_grad_() for name, value in state.items()}
    parameters = list(state.values())
    pruned = [state[name] for name in masks]
    factors = [mask.float() for mask in masks.values()]
    optimizer = torch.optim.Adam(parameters, lr=settings.lr, fused=True)
    generator = torch.Generator().manual_seed(seed)
    images, labels = digits.train.images.flatten(1), digits.train.labels

    def copied() -> State:
        return {name: value.detach().clone() for name, value in state.items()}

    untrained = wrong(state, digits.test)
    kept: dict[str, State] = {}
    losses: list[float] = []
    best: State = {}
    iteration = 0
    while True:
        for index in torch.randperm(len(labels), generator=generator).split(settings.batch_size):
            if keep and iteration == settings.rewind_to:
                kept["early"] = copied()
            for parameter in parameters:
                parameter.grad = None
            F.cross_entropy(mlp_forward(state, images[index]), labels[index]).backward()
            optimizer.step()
            with torch.no_grad():  # the mask on the weights, after the step: Adam's averages move what has no gradient
                torch._foreach_mul_(pruned, factors)
                iteration += 1
                if iteration % settings.check_every == 0:
                    losses.append(
                        F.cross_entropy(mlp_forward(state, digits.validation.images), digits.validation.labels).item()
                    )
                    if losses[-1] == min(losses):
                        best, best_iteration = copied(), iteration
                if iteration == settings.iterations:
                    end = wrong(state, digits.test)
                    if keep:
                        kept["end"] = copied()
                over = iteration >= settings.iterations and iteration - best_iteration >= settings.patience
                if over or iteration == settings.most_iterations:
                    left = sum(int(mask.sum()) for mask in masks.values())
                    return {
                        "remaining": round(left / sum(mask.numel() for mask in masks.values()), 6),
                        "early_stop": best_iteration,
                        "test_errors": wrong(best, digits.test),
                        "test_errors_end": end,
                        "test_errors_untrained": untrained,
                        "validation_losses": [round(loss, 4) for loss in losses],
                        "seconds": round(time.perf_counter() - start, 1),
                    } | kept


def redrawn_sizes(initial: State, masks: Masks, seed: int) -> State:
    """The ticket with its signs, and sizes from another draw (Zhou 2019: how much is in the signs?)."""
    other = lottery.reinitialize(initial, masks, seed)
    return initial | {name: other[name].abs() * initial[name].sign() for name in masks}


def load(digits: Digits | None, settings: Settings) -> Digits:
    return digits or full_mnist()


def name_of(seed: int, number: int, condition: str) -> str:
    return f"seed {seed}/round {number}/{condition}"


def pieces(digits: Digits, settings: Settings, seeds: int) -> list[Piece]:
    """Stage by stage and seed by seed the tickets of all rounds and their controls; each needs the ticket before."""
    work = {}
    for stage, seed in itertools.product(STAGES, range(seeds)):
        for number in range(max(stage) + 1):
            for condition in (TICKET, *stage.get(number, ())):
                needs = [name_of(seed, number - 1, TICKET)] if number else []
                if condition == REWOUND:
                    needs.append(name_of(seed, 0, TICKET))
                name = name_of(seed, number, condition)
                work[name] = Piece(name, train_condition, (seed, number, condition), tuple(needs), seed=seed)
    return list(work.values())


def collect(digits: Digits, settings: Settings, done: Done) -> Values:
    """Tickets and controls of each seed, as far as they are trained."""
    runs: dict[int, Values] = {}
    for piece in sorted(done.pieces, key=lambda piece: piece.arguments[:2]):  # by seed and round
        if row := done.get(piece.name):
            run = runs.setdefault(piece.seed, {"seed": piece.seed, "tickets": [], "controls": []})
            run["tickets" if row["condition"] == TICKET else "controls"].append(row)
    return {
        "experiment": "Winning tickets in LeNet-300-100 on MNIST",
        "data": digits.summary(),
        "settings": asdict(settings),
        "choices": "the early-stopping iteration by the validation loss; the test digits only fill the table",
        **done.origin(),
        "paper": PAPER,
        "runs": list(runs.values()),
    }


run = Experiment("lottery", Settings, load, pieces, collect).run


def train_condition(
    digits: Digits, settings: Settings, seed: int, number: int, condition: str, *earlier: dict[str, Any]
) -> dict[str, Any]:
    """A round's ticket or a control of it. earlier: the ticket of the round before, and the first one for `REWOUND`."""
    initial = glorot_state(seed)
    masks = {n: torch.ones_like(w, dtype=torch.bool) for n, w in initial.items() if w.dim() > 1}
    if number:
        output = list(masks)[-1]
        rates = {name: settings.output_rate if name == output else settings.rate for name in masks}
        masks = lottery.prune_tickets(earlier[0]["end"], earlier[0]["masks"], rates)
    order = 1_000_000 * seed + 1000 * number + CONDITIONS.index(condition)
    if condition == SHUFFLED:
        masks = lottery.shuffle_masks(masks, order)
    if condition == REINITIALIZED:
        state = lottery.reinitialize(initial, masks, order)
    elif condition == SIGNS:
        state = redrawn_sizes(initial, masks, order)
    elif condition == REWOUND:
        state = lottery.rewind(earlier[-1]["early"], masks)
    else:
        state = lottery.rewind(initial, masks)
    found = train_masked(state, masks, digits, settings, order, condition == TICKET)
    if condition == TICKET:
        found["masks"] = masks
    return {"condition": condition, "round": number} | found
