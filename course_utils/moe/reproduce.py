"""Mixture of experts in a small character transformer: dense against sparse, balance losses, routers, k, modalities.

All networks have the same width, blocks and attention, and see the same batches; they differ in the feed-forward layers
alone. Hyperparameters were fixed before the test texts were read; they are the same for all.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from course_utils import moe
from course_utils.models import parameter_count
from course_utils.moe.model import (
    VOCABULARY,
    CharTransformer,
    Corpus,
    DenseFFN,
    ExpertChoice,
    Hash,
    Measurement,
    MoELayer,
    NoisyTopK,
    Reinforce,
    Routing,
    Switch,
    build_corpus,
    ffn_macs,
    measure,
    train_language_model,
)
from course_utils.reproduce.runner import Done, Experiment, Piece, Values
from course_utils.training import set_seed

PAPER = {
    "source": "N. Shazeer et al., arXiv:1701.06538, appendix A, table 6",
    # (w_importance, w_load): test perplexity, load of the busiest expert by the mean load
    "none": {"perplexity": 39.8, "max_over_mean": 17.80},
    "importance": {"perplexity": 35.6, "max_over_mean": 1.47},
    "load": {"perplexity": 35.7, "max_over_mean": 1.15},
    "importance and load": {"perplexity": 35.6, "max_over_mean": 1.14},
}


@dataclass(frozen=True)
class Settings:
    """What holds for all networks."""

    width: int = 64
    hidden: int = 128  # of the dense layer, and of the only expert that a token sees
    experts: int = 8
    steps: int = 600
    count: int = 6  # windows of each language in a batch
    length: int = 64
    lr: float = 3e-3
    characters: int = 400_000  # of each language
    measured: int = 256  # windows of each language


def networks(s: Settings) -> dict[str, Callable[[], nn.Module]]:
    """Feed-forward layers by name. But for 'dense, wide', a token's experts have the dense layer's multiplications."""

    def noisy(balance: dict[str, float]) -> Callable[[], nn.Module]:
        # two experts of half the size for each token: the same work, the same parameters as with one of the whole size
        return lambda: MoELayer(NoisyTopK(s.width, 2 * s.experts, 2, balance), s.width, s.hidden // 2, 2 * s.experts)

    def layer(router: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
        return lambda: MoELayer(router(), s.width, s.hidden, s.experts)

    return {
        "dense": lambda: DenseFFN(s.width, s.hidden),
        "dense, wide": lambda: DenseFFN(s.width, s.hidden * s.experts),
        "switch": layer(lambda: Switch(s.width, s.experts)),
        "noisy top-2: importance and load": noisy({"importance": 0.1, "load": 0.1}),
        "noisy top-2: none": noisy({}),
        "expert choice": layer(lambda: ExpertChoice(s.width, s.experts)),
        "hash": layer(lambda: Hash(s.experts)),
        "REINFORCE": layer(lambda: Reinforce(s.width, s.experts)),
        "noisy top-2: importance": noisy({"importance": 0.2}),
        "noisy top-2: load": noisy({"load": 0.2}),
        "noisy top-2: switch": noisy({"switch": 0.01}),
    }


IN_SITU = "noisy top-2: importance and load"
KS = (1, 2, 4, 8)
MULTIMODAL = "images and text: switch"


class CausalChoice(nn.Module):
    """What is left of expert choice where the future is not there: each token takes its best expert."""

    def __init__(self, router: ExpertChoice) -> None:
        super().__init__()
        self.weight = router.weight

    def forward(self, hidden: Tensor, ids: Tensor) -> Routing:
        expert, gate = moe.switch_gate(hidden @ self.weight)
        return Routing(torch.arange(len(hidden)), expert, gate)


def rounded(found: Measurement) -> Values:
    """What was measured, for JSON."""
    return {
        "perplexity": round(found.perplexity, 4),
        "loss": {name: round(value, 4) for name, value in found.loss.items()},
        "max_over_mean": round(found.max_over_mean, 3),
        "dropped": round(found.dropped, 4),
        "rank": round(found.rank, 2),
        "load": found.load.tolist(),
    }


def train_and_measure(data: tuple[Corpus, Corpus], s: Settings, name: str, seed: int) -> Values:
    """Train one network and measure it on the test texts; some also with another k or another router."""
    text, both = data
    corpus, make_ffn = (both, networks(s)["switch"]) if name == MULTIMODAL else (text, networks(s)[name])
    set_seed(seed)
    model = CharTransformer(make_ffn, VOCABULARY, s.width, context=s.length)
    start = time.perf_counter()
    train_language_model(model, corpus.train, steps=s.steps, count=s.count, length=s.length, lr=s.lr, seed=seed)
    seconds = time.perf_counter() - start

    def measured() -> Values:
        return {"seed": seed} | rounded(measure(model, corpus.test, count=s.measured, length=s.length))

    row = measured() | {
        "parameters": parameter_count(model),
        "ffn_macs": int(ffn_macs(model)),
        "seconds": round(seconds, 1),
    }
    others = {}
    if name == IN_SITU:
        for k in KS:
            for layer in model.moe_layers():
                layer.router.k = k
            others[f"k={k}"] = measured()
    if name == "expert choice":
        for layer in model.moe_layers():
            layer.router = CausalChoice(layer.router)
        others["causal"] = measured()
    return {"row": row, "others": others}


def load(digits: None, s: Settings) -> tuple[Corpus, Corpus]:
    """Texts, and texts with images."""
    return build_corpus(s.characters), build_corpus(s.characters, images=True)


def every_network(train: Callable[..., Values], names: Iterable[str], seeds: int) -> list[Piece]:
    """Pieces that train every network with every seed: train(data, settings, name, seed)."""
    names = tuple(names)
    return [
        Piece(f"{name}/seed {seed}", train, (name, seed), group=name, seed=seed)
        for seed in range(seeds)
        for name in names
    ]


def pieces(data: tuple[Corpus, Corpus], s: Settings, seeds: int) -> list[Piece]:
    """Every network with every seed."""
    return every_network(train_and_measure, (*networks(s), MULTIMODAL), seeds)


def collect(data: tuple[Corpus, Corpus], s: Settings, done: Done) -> Values:
    """What was measured of each network, and of the two that were measured in other ways too."""
    _, both = data
    parts = (both.train, both.validation, both.test)
    found = {name: [done[f"{name}/seed {seed}"] for seed in done.seeds(name)] for name in (*networks(s), MULTIMODAL)}
    return {
        "paper": PAPER,
        "settings": asdict(s),
        "languages": list(both.train),
        "characters": {name: sum(len(part[name]) for part in parts) for name in both.train},
        "runs": {name: [each["row"] for each in rows] for name, rows in found.items() if rows},
        "in_situ": {f"k={k}": [each["others"][f"k={k}"] for each in found[IN_SITU]] for k in KS if found[IN_SITU]},
        "causal": [each["others"]["causal"] for each in found["expert choice"]],
        "provenance": done.origin(),
    }


EXPERIMENT = Experiment("moe", Settings, load, pieces, collect)


def run(seeds: int, out: Path, settings: Settings | None = None, **where: Any) -> Values:
    """`Experiment.run`, which gets no digits: the texts come with Python."""
    return EXPERIMENT.run(seeds, out, None, settings, **where)
