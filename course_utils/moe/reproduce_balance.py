"""What the weight of the balance losses does, where an uneven load is free and where it is not.

N. Shazeer et al., ICLR 2017, appendix A, table 6: without the losses perplexity is worse, and between weights of 0.01
and 1 it does not depend on them. A layer without capacity drops nothing, so that imbalance costs it nothing; one with a
capacity drops what finds no slot. How even the load is, is measured as in the table: with the noise, over batches of
training, by the importance and by the smooth estimate of the load.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils import moe
from course_utils.moe import reproduce
from course_utils.moe.model import (
    VOCABULARY,
    CharTransformer,
    Corpus,
    MoELayer,
    NoisyTopK,
    batch_of,
    build_corpus,
    measure,
    train_language_model,
)
from course_utils.reproduce.runner import Done, Experiment, Piece, Values
from course_utils.training import set_seed

PAPER = {
    "source": "N. Shazeer et al., arXiv:1701.06538, appendix A, table 6",
    # by the weight of both losses: test perplexity, max(Load) / mean(Load)
    "0": {"perplexity": 39.8, "max_over_mean": 17.80},
    "0.01": {"perplexity": 35.7, "max_over_mean": 1.37},
    "0.1": {"perplexity": 35.6, "max_over_mean": 1.14},
    "1": {"perplexity": 35.7, "max_over_mean": 1.07},
}


@dataclass(frozen=True)
class Settings(reproduce.Settings):
    """As in reproduce.py."""

    weights: tuple[float, ...] = (0.0, 0.1, 1.0)  # of the importance loss and of the load loss
    factors: tuple[float | None, ...] = (None, 1.25)  # of the capacity
    batches: int = 20  # of training, over which the load is averaged


def coefficient_of_variation(values: Tensor) -> float:
    return float(values.std(correction=0) / values.mean())


@torch.no_grad()
def balance_in_training(model: CharTransformer, corpus: Corpus, s: Settings) -> Values:
    """Means over batches and layers of CV(importance), CV(load) and max(load) / mean(load), with the noise."""
    generator = torch.Generator().manual_seed(0)
    given: list[tuple[NoisyTopK, Tensor]] = []
    hooks = [
        layer.router.register_forward_pre_hook(lambda router, inputs: given.append((router, inputs[0])))
        for layer in model.moe_layers()
    ]
    model.train()
    for _ in range(s.batches):
        model(batch_of(corpus.train, s.count, s.length, generator)[:, :-1])
    for hook in hooks:
        hook.remove()
    rows = []
    for router, hidden in given:
        clean, std = hidden @ router.clean, F.softplus(hidden @ router.noise) + 1e-2
        noise = torch.randn(clean.shape, generator=generator)
        importance = moe.noisy_top_k(clean, std, noise, router.k).sum(0)
        load = moe.load_probability(clean, std, clean + noise * std, router.k).sum(0)
        rows.append(
            [coefficient_of_variation(importance), coefficient_of_variation(load), float(load.max() / load.mean())]
        )
    means = torch.tensor(rows).mean(0).tolist()
    names = ("cv_importance", "cv_load", "max_over_mean_in_training")
    return dict(zip(names, (round(mean, 4) for mean in means), strict=True))


def train_one(corpus: Corpus, s: Settings, weight: float, factor: float | None, seed: int) -> Values:
    """A network's perplexity and dropped pairs on test texts, and how even its load is in training."""
    set_seed(seed)

    def make() -> MoELayer:
        router = NoisyTopK(s.width, 2 * s.experts, 2, {"importance": weight, "load": weight}, factor)
        return MoELayer(router, s.width, s.hidden // 2, 2 * s.experts)

    model = CharTransformer(make, VOCABULARY, s.width, context=s.length)
    train_language_model(model, corpus.train, steps=s.steps, count=s.count, length=s.length, lr=s.lr, seed=seed)
    tested = reproduce.rounded(measure(model, corpus.test, count=s.measured, length=s.length))
    return {"seed": seed} | tested | balance_in_training(model, corpus, s)


def label(weight: float, factor: float | None) -> str:
    return f"weight {weight:g}, {'no capacity' if factor is None else f'capacity factor {factor:g}'}"


def load(digits: None, s: Settings) -> Corpus:
    return build_corpus(s.characters)


def pieces(corpus: Corpus, s: Settings, seeds: int) -> list[Piece]:
    """Every weight with every capacity and every seed."""
    conditions = {label(weight, factor): (weight, factor) for factor in s.factors for weight in s.weights}
    return [
        Piece(f"{name}/seed {seed}", train_one, (*condition, seed), group=name, seed=seed)
        for seed in range(seeds)
        for name, condition in conditions.items()
    ]


def collect(corpus: Corpus, s: Settings, done: Done) -> Values:
    """All rows by weight and capacity."""
    return {
        "experiment": "the weight of the balance losses, with and without capacity",
        "paper": PAPER,
        "settings": asdict(s),
        "runs": [
            {"weight": weight, "factor": factor}
            | {"rows": [done[f"{label(weight, factor)}/seed {seed}"] for seed in done.seeds(label(weight, factor))]}
            for factor in s.factors
            for weight in s.weights
        ],
        "provenance": done.origin(),
    }


EXPERIMENT = Experiment("balance", Settings, load, pieces, collect)


def run(seeds: int, out: Path, settings: Settings | None = None, **where: Any) -> Values:
    """`Experiment.run`, which gets no digits: the texts come with Python."""
    return EXPERIMENT.run(seeds, out, None, settings, **where)
