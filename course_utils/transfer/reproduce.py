"""The deck's table in miniature: a small transformer, trained before on five domains, is tuned to a sixth.

Every method at one size of the training set; some at several, and on a task with words that the network has never
seen. Rates are chosen on validation examples with a training set of its own; then each seed has its own training set.
"""

import base64
import time
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from course_utils.data import Digits
from course_utils.reproduce.runner import Done, Experiment, Piece, Values
from course_utils.saliency import keep_top
from course_utils.transfer import rank_for_energy
from course_utils.transfer.files import state_bytes, through_a_file
from course_utils.transfer.grammar import Example, examples
from course_utils.transfer.methods import METHODS, tune
from course_utils.transfer.metrics import bleu, nist
from course_utils.transfer.transformer import MATRICES, State, batch_of, loss_of, pairs_of, pretrained, write

PAPER = {
    "source": "Hu 2021, table 3 (E2E, GPT-2 medium); the deck's table, after Chen 2023",
    "rows": [
        {"name": "full", "millions": 354.92, "bleu": 68.2, "nist": 8.62, "in": "both"},
        {"name": "adapters, small", "millions": 0.37, "bleu": 66.3, "nist": 8.41, "in": "Hu"},
        {"name": "adapters, large", "millions": 11.09, "bleu": 68.9, "nist": 8.71, "in": "Hu"},
        {"name": "adapters", "millions": 11.48, "bleu": 68.9, "nist": 8.71, "in": "deck"},
        {"name": "LoRA", "millions": 0.35, "bleu": 70.4, "nist": 8.85, "in": "Hu"},
        {"name": "DSEE", "millions": 0.39, "bleu": 69.4, "nist": 8.78, "in": "deck"},
    ],
}
SWEPT = ("full", "LoRA")  # at several sizes of the training set
ON_NEW_WORDS = ("full", "head (tied embedding)", "LoRA")
IN_A_FILE = ("LoRA", "LoRA, r 1", "LoRA on q and v")
CHOOSING = 1000  # the seed of the training set with which rates are chosen


@dataclass(frozen=True)
class Settings:
    """What the experiment fixes beforehand."""

    size: int = 100  # examples to tune on, for all methods
    sizes: tuple[int, ...] = (8, 400)  # for those of SWEPT
    steps: int = 150
    batch: int = 10
    validation: int = 60
    test: int = 100
    references: int = 5
    bits: tuple[int, ...] = (4, 6)  # of a number in a task's file
    pruned: tuple[float, ...] = (0.03,)  # of full tuning's update, what is kept for a file


@dataclass(frozen=True)
class Task:
    base: State
    validation: dict[str, list[Example]]  # by target
    test: dict[str, list[Example]]


def load(digits: Digits | None, settings: Settings) -> Task:
    """The network that comes with the course, and what is written to choose and to judge; digits play no part."""
    targets = ("known words", "new words")
    return Task(
        pretrained(),
        {target: examples(target, settings.validation, settings.references, seed=1) for target in targets},
        {target: examples(target, settings.test, settings.references, seed=2) for target in targets},
    )


def pieces(task: Task, settings: Settings, seeds: int) -> list[Piece]:
    """For each setting the rates, which are compared, then each seed at the best."""
    work = [Piece(f"{target}/limits", limits, (target,)) for target in task.test]
    for target, size, name in plan(settings):
        tried = [f"{target}/{size}/{name}/rate {rate}" for rate in METHODS[name].rates]
        chosen = (target, size, name)
        work += [Piece(each, try_rate, (*chosen, r)) for each, r in zip(tried, METHODS[name].rates, strict=True)]
        at_best = partial(Piece, function=at_best_rate, needs=tuple(tried), group="methods")
        work += [at_best(f"{target}/{size}/{name}/{s}", arguments=(*chosen, s), seed=s) for s in range(seeds)]
    return work


def plan(settings: Settings) -> list[tuple[str, int, str]]:
    """Target, examples and method of every row."""
    rows = [("known words", settings.size, name) for name in METHODS]
    rows += [("known words", size, name) for size in settings.sizes for name in SWEPT]
    return rows + [("new words", settings.size, name) for name in ON_NEW_WORDS]


def collect(task: Task, settings: Settings, done: Done) -> Values:
    """Rows with their seeds; only whole ones."""
    seeds = done.seeds("methods")
    rows = []
    for target, size, name in plan(settings):
        runs = [done[f"{target}/{size}/{name}/{seed}"] for seed in seeds]
        rates = [done.get(f"{target}/{size}/{name}/rate {rate}") for rate in METHODS[name].rates]
        rows.append({"target": target, "examples": size, "method": name, "rates": rates, "runs": runs})
    limited = {target: done.get(f"{target}/limits") for target in task.test}
    return {
        "experiment": "a task for a small transformer, by many methods",
        "settings": asdict(settings),
        **done.origin(),
        "paper": PAPER,
        "network": {
            "parameters": sum(value.numel() for value in task.base.values()),
            "matrices": [list(task.base[name].shape) for name in MATRICES],
            "bytes": state_bytes(task.base),
        },
        "limits": limited,
        "rows": rows,
    }


run = Experiment("transfer", Settings, load, pieces, collect).run


def judged(network: State, found: list[Example]) -> Values:
    """BLEU and NIST of what a network writes."""
    written = write(network, [example.facts for example in found])
    references = [example.references for example in found]
    return {"bleu": round(bleu(written, references), 2), "nist": round(nist(written, references), 3)}


def limits(task: Task, settings: Settings, target: str) -> Values:
    """The network untuned; and the ceiling: fresh texts of the grammar itself, of the same facts."""
    found = task.test[target]
    more = examples(target, settings.test, settings.references + 1, seed=2)
    # With one reference more the facts that follow are drawn otherwise: each text is judged by its own references
    fresh = [example.references[-1] for example in more]
    others = [example.references[:-1] for example in more]
    return {
        "zero-shot": judged(task.base, found),
        "ceiling": {"bleu": round(bleu(fresh, others), 2), "nist": round(nist(fresh, others), 3)},
        "first texts": [" ".join(text) for text in write(task.base, [example.facts for example in found[:3]])],
        "first references": [" ".join(example.references[0]) for example in found[:3]],
        "first facts": [" ".join(example.facts) for example in found[:3]],
    }


def try_rate(task: Task, settings: Settings, target: str, size: int, name: str, rate: float) -> Values:
    """How well a rate does on validation examples."""
    found = examples(target, size, 1, seed=CHOOSING)
    _, network, _ = tune(METHODS[name], task.base, pairs_of(found), rate, settings.steps, settings.batch, CHOOSING)
    return {"rate": rate, **judged(network, task.validation[target])}


def at_best_rate(
    task: Task, settings: Settings, target: str, size: int, name: str, seed: int, *tried: Values
) -> dict[str, Any]:
    """A method with one training set, at the rate that was best on validation examples."""
    rate = max(tried, key=lambda each: each["bleu"])["rate"]
    found, method = examples(target, size, 1, seed=10 + seed), METHODS[name]
    start = time.process_time()
    trained, network, tuning = tune(method, task.base, pairs_of(found), rate, settings.steps, settings.batch, seed)
    seconds = time.process_time() - start
    with torch.no_grad():
        losses = [float(loss_of(network, *batch_of(pairs_of(part)))) for part in (found[:100], task.validation[target])]
    result = {
        "rate": rate,
        "trainable": tuning.count(),
        "seconds": round(seconds, 2),
        "train_loss": round(losses[0], 4),
        "validation_loss": round(losses[1], 4),
        "zeros": sum(int((network[matrix] == 0).sum()) for matrix in MATRICES),
        **judged(network, task.test[target]),
    }
    if name == "full" and size == settings.size:
        updates = {matrix: network[matrix] - task.base[matrix] for matrix in MATRICES}
        result["ranks"] = [rank_for_energy(torch.linalg.svdvals(update), 0.9) for update in updates.values()]
        result["files"] = pruned_files(task, settings, target, network)
        if seed == 0 and target == "known words":
            values = torch.linalg.svdvals(updates["0.up.weight"])
            result["spectrum"] = [round(float(value), 5) for value in values]
            result["update"] = as_text(updates["0.up.weight"])
    if name in IN_A_FILE and size == settings.size:
        result["files"] = []
        for bits in settings.bits:
            read, size_in_bytes = through_a_file(trained, bits)
            again = judged(tuning.network(read), task.test[target])
            result["files"].append({"bits": bits, "bytes": size_in_bytes, **again})
    return result


def pruned_files(task: Task, settings: Settings, target: str, network: State) -> list[Values]:
    """The rival: of full tuning's update only the largest entries, in four bits each."""
    update = {name: network[name] - value for name, value in task.base.items()}
    found = []
    for kept in settings.pruned:
        masks = keep_top({name: value.abs() for name, value in update.items()}, kept)
        read, size = through_a_file({name: value * masks[name] for name, value in update.items()}, 4)
        again = {name: value + read[name] for name, value in task.base.items()}
        found.append({"kept": kept, "bits": 4, "bytes": size, **judged(again, task.test[target])})
    return found


def as_text(update: Tensor) -> Values:
    """A matrix in bytes, as text: its entries as whole numbers from −127 to 127 of a step."""
    step = float(update.abs().max()) / 127
    codes = torch.round(update / step).to(torch.int8).numpy()
    return {"shape": list(update.shape), "step": step, "codes": base64.b64encode(codes.tobytes()).decode()}


def from_text(stored: Values) -> Tensor:
    """The matrix of `as_text`."""
    codes = np.frombuffer(base64.b64decode(stored["codes"]), np.int8).reshape(stored["shape"])
    return torch.from_numpy(codes.astype(np.float32)) * stored["step"]
