"""Mixture of experts in a small character transformer: dense against sparse, balance losses, routers, k, modalities.

All networks have the same width, blocks and attention, and see the same batches; they differ in the feed-forward layers
alone. Hyperparameters were fixed before the test texts were read; they are the same for all.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from course_utils import moe
from course_utils.models import parameter_count
from course_utils.moe.model import (
    VOCABULARY,
    CharTransformer,
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
from course_utils.reproduce import Journal, provenance, write_results
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


def as_tensors(found: Measurement) -> dict[str, Tensor]:
    return {
        "loss": torch.tensor(list(found.loss.values()), dtype=torch.float64),
        "load": found.load,
        "dropped": torch.tensor(found.dropped, dtype=torch.float64),
        "rank": torch.tensor(found.rank, dtype=torch.float64),
    }


def from_tensors(tensors: dict[str, Tensor], languages: list[str]) -> dict[str, Any]:
    found = Measurement(
        dict(zip(languages, tensors["loss"].tolist(), strict=True)),
        tensors["load"],
        float(tensors["dropped"]),
        float(tensors["rank"]),
    )
    return {
        "perplexity": round(found.perplexity, 4),
        "loss": {name: round(value, 4) for name, value in found.loss.items()},
        "max_over_mean": round(found.max_over_mean, 3),
        "dropped": round(found.dropped, 4),
        "rank": round(found.rank, 2),
        "load": found.load.tolist(),
    }


def one_run(make_ffn: Callable[[], nn.Module], corpus: Any, s: Settings, seed: int, name: str) -> dict[str, Tensor]:
    """Train one network and measure it on the test texts; some also with another k or another router."""
    set_seed(seed)
    model = CharTransformer(make_ffn, VOCABULARY, s.width, context=s.length)
    start = time.perf_counter()
    train_language_model(model, corpus.train, steps=s.steps, count=s.count, length=s.length, lr=s.lr, seed=seed)
    seconds = time.perf_counter() - start

    def measured() -> dict[str, Tensor]:
        return as_tensors(measure(model, corpus.test, count=s.measured, length=s.length))

    result = measured() | {
        "seconds": torch.tensor(seconds),
        "parameters": torch.tensor(parameter_count(model)),
        "ffn_macs": torch.tensor(ffn_macs(model)),
    }
    if name == IN_SITU:
        for k in KS:
            for layer in model.moe_layers():
                layer.router.k = k
            result |= {f"k={k}/{key}": value for key, value in measured().items()}
    if name == "expert choice":
        for layer in model.moe_layers():
            layer.router = CausalChoice(layer.router)
        result |= {f"causal/{key}": value for key, value in measured().items()}
    return result


def run(seeds: int, out: Path, settings: Settings | None = None) -> dict[str, Any]:
    """Train every network with every seed, and store the results after each: out/moe.json.

    A run that was stopped goes on where it was: `Journal` keeps what is done.
    """
    s = settings or Settings()
    journal = Journal("moe", asdict(s))
    text, both = build_corpus(s.characters), build_corpus(s.characters, images=True)
    parts = (both.train, both.validation, both.test)
    results: dict[str, Any] = {
        "paper": PAPER,
        "settings": asdict(s),
        "languages": list(both.train),
        "characters": {name: sum(len(part[name]) for part in parts) for name in both.train},
        "runs": {},
        "in_situ": {},
        "causal": [],
        "provenance": provenance(),
    }  # fmt: skip
    made = networks(s)
    jobs = [(name, make, text) for name, make in made.items()] + [(MULTIMODAL, made["switch"], both)]
    with tqdm(total=seeds * len(jobs), unit=" networks") as bar:
        for seed in range(seeds):
            for name, make, corpus in jobs:
                entry = f"{name.replace(':', '').replace(',', '').replace(' ', '_')}-{seed}"
                tensors = journal.tensors(entry, lambda: one_run(make, corpus, s, seed, name))  # noqa: B023
                languages = list(corpus.train)
                row = {"seed": seed} | from_tensors(tensors, languages)
                row |= {key: int(tensors[key]) for key in ("parameters", "ffn_macs")}
                row["seconds"] = round(float(tensors["seconds"]), 1)
                results["runs"].setdefault(name, []).append(row)
                for prefix in sorted({key.partition("/")[0] for key in tensors if "/" in key}):
                    part = {key.partition("/")[2]: value for key, value in tensors.items() if key.startswith(prefix)}
                    found = {"seed": seed} | from_tensors(part, languages)
                    if prefix == "causal":
                        results["causal"].append(found)
                    else:
                        results["in_situ"].setdefault(prefix, []).append(found)
                results["provenance"] = provenance()
                write_results(out / "moe.json", results)
                bar.update()
    journal.clear()
    return results
