"""What expert choice owes to the future, apart from what it loses when its rule is changed.

Y. Zhou et al., NeurIPS 2022: each expert takes its tokens from the whole batch, from what comes later in a text as
well. Two controls. *The leak*: the same network, the same rule, but behind the character that is to be predicted stands
another text's end. *The mismatch*: a rule that does not look ahead, each expert takes a token that is among the best of
its text so far, in a network that was trained by it and in one that was trained by the rule of the paper.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils.moe import reproduce
from course_utils.moe.model import (
    VOCABULARY,
    CharTransformer,
    Corpus,
    ExpertChoice,
    MoELayer,
    Routing,
    build_corpus,
    measure,
    spread_windows,
    train_language_model,
)
from course_utils.reproduce.runner import Done, Experiment, Piece, Values
from course_utils.training import set_seed

CHOICE, RUNNING = NETWORKS = ("expert choice", "running choice")


@dataclass(frozen=True)
class Settings(reproduce.Settings):
    """As in reproduce.py."""

    places: tuple[int, ...] = (8, 24, 40, 56)  # in a window, whose next character is predicted with another future


class RunningChoice(nn.Module):
    """An expert takes a token whose score is among the highest of its text so far, 1 / experts of them, rounded."""

    def __init__(self, weight: nn.Parameter, length: int) -> None:
        super().__init__()
        self.weight, self.length = weight, length

    def forward(self, hidden: Tensor, ids: Tensor) -> Routing:
        scores = torch.softmax(hidden @ self.weight, -1)
        by_text = scores.detach().view(-1, self.length, scores.shape[1])
        earlier = torch.ones(self.length, self.length, dtype=torch.bool).tril().unsqueeze(2)
        ahead = (by_text.unsqueeze(1) > by_text.unsqueeze(2)) & earlier  # [texts, token, token before it, experts]
        slots = (torch.arange(1, self.length + 1) / scores.shape[1]).round()
        tokens, experts = (ahead.sum(2) < slots.unsqueeze(1)).flatten(0, 1).nonzero(as_tuple=True)
        return Routing(tokens, experts, scores[tokens, experts])


def networks(s: Settings) -> dict[str, Callable[[], nn.Module]]:
    """Feed-forward layers by name."""

    def layer(router: nn.Module) -> nn.Module:
        return MoELayer(router, s.width, s.hidden, s.experts)

    return {
        CHOICE: lambda: layer(ExpertChoice(s.width, s.experts)),
        RUNNING: lambda: layer(RunningChoice(ExpertChoice(s.width, s.experts).weight, s.length)),
    }


def with_another_future(ids: Tensor, place: int) -> Tensor:
    """Texts [texts, length] whose symbols behind a place are those of the next text, the last text's of the first."""
    return torch.cat([ids[:, : place + 1], ids.roll(-1, 0)[:, place + 1 :]], 1)


@torch.no_grad()
def perplexities(model: CharTransformer, texts: dict[str, Tensor], s: Settings) -> dict[str, float]:
    """Perplexity of the symbols behind the places, languages counted alike, with their own future and with another."""
    model.eval()
    losses: dict[str, list[float]] = {"own future": [], "another future": []}
    chunks = zip(*(part.split(8) for part in spread_windows(texts, s.measured, s.length)), strict=True)
    for chunk in chunks:
        targets = torch.cat(chunk)[:, 1:]
        for place in s.places:
            futures = {
                "own future": torch.cat(chunk)[:, :-1],
                "another future": torch.cat([with_another_future(part[:, :-1], place) for part in chunk]),
            }
            for future, ids in futures.items():
                logits, _ = model(ids)
                losses[future].append(float(F.cross_entropy(logits[:, place], targets[:, place])))
    return {future: round(float(np.exp(np.mean(values))), 4) for future, values in losses.items()}


def train_one(corpus: Corpus, s: Settings, name: str, seed: int) -> Values:
    """A network's perplexities on test texts, by the rule that it is evaluated with."""
    set_seed(seed)
    model = CharTransformer(networks(s)[name], VOCABULARY, s.width, context=s.length)
    train_language_model(model, corpus.train, steps=s.steps, count=s.count, length=s.length, lr=s.lr, seed=seed)
    rules: dict[str, Callable[[nn.Module], nn.Module]] = {name: lambda router: router}
    if name == CHOICE:
        rules[RUNNING] = lambda router: RunningChoice(router.weight, s.length)
        rules["each token's best expert"] = lambda router: reproduce.CausalChoice(router)
    trained = [layer.router for layer in model.moe_layers()]
    rows = {}
    for rule, changed in rules.items():
        for layer, router in zip(model.moe_layers(), trained, strict=True):
            layer.router = changed(router)
        found = measure(model, corpus.test, count=s.measured, length=s.length)
        tokens = len(corpus.test) * s.measured * s.length
        rows[rule] = {
            "perplexity": round(found.perplexity, 4),
            "experts a token": round(float(found.load.sum()) / tokens / len(trained), 4),
        } | perplexities(model, corpus.test, s)
    return {"seed": seed, "rules": rows}


def load(digits: None, s: Settings) -> Corpus:
    return build_corpus(s.characters)


def pieces(corpus: Corpus, s: Settings, seeds: int) -> list[Piece]:
    """Every network with every seed."""
    return reproduce.every_network(train_one, NETWORKS, seeds)


def collect(corpus: Corpus, s: Settings, done: Done) -> Values:
    """All rows by the network that was trained."""
    return {
        "experiment": "expert choice with its own future, with another, and with rules that do not look ahead",
        "settings": asdict(s),
        "runs": {name: [done[f"{name}/seed {seed}"] for seed in done.seeds(name)] for name in NETWORKS},
        "provenance": done.origin(),
    }


EXPERIMENT = Experiment("leak", Settings, load, pieces, collect)


def run(seeds: int, out: Path, settings: Settings | None = None, **where: Any) -> Values:
    """`Experiment.run`, which gets no digits: the texts come with Python."""
    return EXPERIMENT.run(seeds, out, None, settings, **where)
