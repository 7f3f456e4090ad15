"""Learning curves of the character transformer, dense against sparse, for eight times as many steps.

The 600 steps of reproduce.py are less than one pass over the text, and all networks are still far from done. Here they
see it almost six times, and are measured on the way: on validation texts, as often as a curve needs, and on the test
texts once, at the end. A first run had half as many steps: lectures/results/learning_curves_2400_steps.json.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from course_utils.flops import product_flops
from course_utils.models import parameter_count
from course_utils.moe import reproduce
from course_utils.moe.model import (
    VOCABULARY,
    CharTransformer,
    Corpus,
    batch_of,
    build_corpus,
    measure,
    train_language_model,
)
from course_utils.reproduce.runner import Done, Experiment, Piece, Values
from course_utils.training import set_seed

# What part of the dense network's perplexity, at equal work, the switch network's is to be at most, in every seed
GOAL = 0.93
NETWORKS = ("dense", "dense, wide", "switch", "noisy top-2: importance and load", "hash", "expert choice")


@dataclass(frozen=True)
class Settings(reproduce.Settings):
    """As in reproduce.py, but for the number of steps."""

    steps: int = 4800
    every: int = 400  # steps from one point of a curve to the next
    glance: int = 64  # windows of each language that a point is measured on


def networks(s: Settings) -> dict[str, Callable[[], nn.Module]]:
    """The feed-forward layers that have a curve, by name."""
    return {name: reproduce.networks(s)[name] for name in NETWORKS}


def training_flops(model: CharTransformer, corpus: Corpus, s: Settings) -> int:
    """Floating-point operations of one step's products, forward and backward."""
    model.train()
    ids = batch_of(corpus.train, s.count, s.length, torch.Generator().manual_seed(0))

    def step() -> None:
        logits, _ = model(ids[:, :-1])
        F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()).backward()

    flops = product_flops(step)
    model.zero_grad()
    return flops


def train_one(corpus: Corpus, s: Settings, name: str, seed: int) -> Values:
    """A network's curve, and its perplexity after the last step on the test texts and on those that it learnt from."""
    set_seed(seed)
    model = CharTransformer(networks(s)[name], VOCABULARY, s.width, context=s.length)
    curve: list[tuple[int, float]] = []

    def look(step: int) -> None:
        if step % s.every == 0:
            found = measure(model, corpus.validation, count=s.glance, length=s.length)
            curve.append((step, round(found.perplexity, 4)))

    train_language_model(
        model, corpus.train, steps=s.steps, count=s.count, length=s.length, lr=s.lr, seed=seed, after_step=look
    )

    def tested() -> Values:
        return reproduce.rounded(measure(model, corpus.test, count=s.measured, length=s.length))

    row = {"seed": seed, "curve": curve, **tested(), "parameters": parameter_count(model)}
    row["training_perplexity"] = round(measure(model, corpus.train, count=s.measured, length=s.length).perplexity, 4)
    row["flops_a_step"] = training_flops(model, corpus, s)
    if name == "expert choice":
        for layer in model.moe_layers():
            layer.router = reproduce.CausalChoice(layer.router)
        row["causal"] = tested()["perplexity"]
    return row


def load(digits: None, s: Settings) -> Corpus:
    return build_corpus(s.characters)


def pieces(corpus: Corpus, s: Settings, seeds: int) -> list[Piece]:
    """Every network with every seed."""
    return reproduce.every_network(train_one, NETWORKS, seeds)


def collect(corpus: Corpus, s: Settings, done: Done) -> Values:
    """All rows by network."""
    return {
        "goal": GOAL,
        "settings": asdict(s),
        "training_characters": sum(len(ids) for ids in corpus.train.values()),
        "runs": {name: [done[f"{name}/seed {seed}"] for seed in done.seeds(name)] for name in NETWORKS},
        "provenance": done.origin(),
    }


EXPERIMENT = Experiment("learning_curves", Settings, load, pieces, collect)


def run(seeds: int, out: Path, settings: Settings | None = None, **where: Any) -> Values:
    """`Experiment.run`, which gets no digits: the texts come with Python."""
    return EXPERIMENT.run(seeds, out, None, settings, **where)
