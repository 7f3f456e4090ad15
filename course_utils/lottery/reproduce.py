"""Winning tickets in LeNet-300-100 on MNIST: Frankle and Carbin, *The Lottery Ticket Hypothesis*, ICLR 2019, section 2.

As in the paper: Glorot's normal initialization, Adam with rate 1.2e-3, batches of 60, in each round 20% of a layer's
weights pruned, 10% of the output layer's. The early-stopping iteration is that of the least validation loss. Otherwise
than in the paper, training ends some thousand iterations after that minimum instead of at 50,000: what counts here is
over by then. Each training has its own order of batches, so that a ticket cannot profit from having seen the order.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from course_utils import lottery
from course_utils.data import Digits, Split, full_mnist
from course_utils.models import lenet_300_100, mlp_forward
from course_utils.reproduce import Journal, provenance, write_results

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


REINITIALIZED, SHUFFLED, SIGNS, REWOUND = "reinitialized", "shuffled mask", "signs kept", "rewound to a later iteration"
# What is trained besides the tickets, by round, in stages: all seeds go through one stage before the next begins
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
    state: State, masks: Masks, digits: Digits, settings: Settings, seed: int, snapshot: int = 0, keep: bool = False
) -> dict[str, Tensor]:
    """Train a masked network until its validation loss has turned.

    Returns numbers as tensors: losses, the validation loss every `check_every` iterations; errors on the test digits
    untrained, at the iteration of the least validation loss, and at `settings.iterations`; seconds. With `keep` also
    the weights at `settings.iterations` ('end/NAME') and those at iteration `snapshot` ('early/NAME').
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

    found: dict[str, Any] = {"untrained": wrong(state, digits.test)}
    losses: list[float] = []
    best: State = {}
    iteration = 0
    while True:
        for index in torch.randperm(len(labels), generator=generator).split(settings.batch_size):
            if keep and iteration == snapshot:
                found |= {f"early/{name}": value for name, value in copied().items()}
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
                    found["end"] = wrong(state, digits.test)
                    if keep:
                        found |= {f"end/{name}": value for name, value in copied().items()}
                over = iteration >= settings.iterations and iteration - best_iteration >= settings.patience
                if over or iteration == settings.most_iterations:
                    found |= {"best": wrong(best, digits.test), "best_iteration": best_iteration}
                    found |= {"losses": torch.tensor(losses), "seconds": time.perf_counter() - start}
                    return {name: torch.as_tensor(value) for name, value in found.items()}


def redrawn_sizes(initial: State, masks: Masks, seed: int) -> State:
    """The ticket with its signs, and sizes from another draw (Zhou 2019: how much is in the signs?)."""
    other = lottery.reinitialize(initial, masks, seed)
    return initial | {name: other[name].abs() * initial[name].sign() for name in masks}


def summary(run: dict[str, Tensor], masks: Masks) -> dict[str, Any]:
    """A run's numbers, for JSON."""
    kept = sum(int(mask.sum()) for mask in masks.values()) / sum(mask.numel() for mask in masks.values())
    return {
        "remaining": round(kept, 6),
        "early_stop": int(run["best_iteration"]),
        "test_errors": int(run["best"]),
        "test_errors_end": int(run["end"]),
        "test_errors_untrained": int(run["untrained"]),
        "validation_losses": [round(loss, 4) for loss in run["losses"].tolist()],
        "seconds": round(float(run["seconds"]), 1),
    }


def run_seed(
    seed: int,
    stage: dict[int, tuple[str, ...]],
    digits: Digits,
    settings: Settings,
    journal: Journal,
    store: Callable[[dict[str, Any]], None],
) -> None:
    """Rounds up to the last of a stage, with its controls. `store` gets what is known after each training."""
    initial = glorot_state(seed)
    masks = {n: torch.ones_like(w, dtype=torch.bool) for n, w in initial.items() if w.dim() > 1}
    output = list(masks)[-1]
    rates = {name: settings.output_rate if name == output else settings.rate for name in masks}
    result: dict[str, Any] = {"seed": seed, "tickets": [], "controls": []}

    def train(condition: str, number: int, order: int, state: State, masks: Masks) -> dict[str, Tensor]:
        """Train once, unless the journal has it, and store the numbers."""
        keep = condition == "ticket"
        run = journal.tensors(
            f"{seed}-{number}-{condition}",
            lambda: train_masked(state, masks, digits, settings, order, settings.rewind_to, keep),
        )
        row = {"condition": condition, "round": number} | summary(run, masks)
        result["tickets" if keep else "controls"].append(row)
        store(result)
        return run

    for number in range(max(stage) + 1):
        order = 1_000_000 * seed + 1000 * number
        controls = stage.get(number, ())
        run = train("ticket", number, order, lottery.rewind(initial, masks), masks)
        if number == 0:
            early = {name.removeprefix("early/"): run[name] for name in run if name.startswith("early/")}
        if REINITIALIZED in controls:
            train(REINITIALIZED, number, order + 1, lottery.reinitialize(initial, masks, order + 1), masks)
        if SHUFFLED in controls:
            shuffled = lottery.shuffle_masks(masks, order + 2)
            train(SHUFFLED, number, order + 2, lottery.rewind(initial, shuffled), shuffled)
        if SIGNS in controls:
            train(SIGNS, number, order + 3, redrawn_sizes(initial, masks, order + 3), masks)
        if REWOUND in controls:
            train(REWOUND, number, order + 4, lottery.rewind(early, masks), masks)
        trained = {name.removeprefix("end/"): run[name] for name in run if name.startswith("end/")}
        masks = lottery.prune_tickets(trained, masks, rates)


def run(seeds: int, out: Path, digits: Digits | None = None, settings: Settings | None = None) -> dict[str, Any]:
    """Find tickets with seeds 0, 1, …; store out/lottery.json after each training, and return it.

    digits: full MNIST if left out. A run that was stopped goes on with the network that it was training.
    """
    digits, settings = digits or full_mnist(), settings or Settings()
    data = {"name": digits.name} | {part: len(getattr(digits, part)) for part in ("train", "validation", "test")}
    journal = Journal("lottery", {"data": data, **asdict(settings)})
    results: dict[str, Any] = {
        "experiment": "Winning tickets in LeNet-300-100 on MNIST",
        "data": data,
        "settings": asdict(settings),
        "choices": "the early-stopping iteration by the validation loss; the test digits only fill the table",
        **provenance(),
        "paper": PAPER,
    }

    runs: dict[int, dict[str, Any]] = {}

    def store(result: dict[str, Any]) -> None:
        known = runs.get(result["seed"], result)
        if len(result["tickets"] + result["controls"]) >= len(known["tickets"] + known["controls"]):
            runs[result["seed"]] = result
            write_results(Path(out) / "lottery.json", results | {"runs": [runs[seed] for seed in sorted(runs)]})

    for stage in STAGES:
        for seed in tqdm(range(seeds), unit=" seeds", desc=f"to round {max(stage)}"):
            run_seed(seed, stage, digits, settings, journal, store)
    journal.clear()
    return results | {"runs": [runs[seed] for seed in sorted(runs)]}
