"""What routing does to the states that are routed, and whom experts serve: with the controls that could refute either.

Z. Chi et al., *On the Representation Collapse of Sparse Mixture of Experts*, NeurIPS 2022: the gradient that reaches a
state through the gates lies in the span of the router's columns, so the states that are fed to it are said to drift
there. If they do, a router that never moves draws them too; and the share that the best directions of the same number
hold says how much there is to be drawn. The network reads three languages and images, as in reproduce.py.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from course_utils.moe import reproduce
from course_utils.moe.model import (
    VOCABULARY,
    CharTransformer,
    Corpus,
    DenseFFN,
    MoELayer,
    Switch,
    build_corpus,
    measure,
    spread_windows,
    train_language_model,
)
from course_utils.reproduce.runner import Done, Experiment, Piece, Values
from course_utils.training import set_seed

SWITCH, FROZEN, DENSE = NETWORKS = ("switch", "switch, its router frozen", "dense")


@dataclass(frozen=True)
class Settings(reproduce.Settings):
    """As in reproduce.py."""

    every: int = 100  # steps from one look at the states to the next
    glance: int = 64  # windows of each language that they are taken from


def frozen(router: nn.Module) -> nn.Module:
    """The router, which will not learn."""
    return router.requires_grad_(False)


def networks(s: Settings) -> dict[str, Callable[[], nn.Module]]:
    """Feed-forward layers by name."""

    def sparse(router: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
        return lambda: MoELayer(router(), s.width, s.hidden, s.experts)

    return {
        SWITCH: sparse(lambda: Switch(s.width, s.experts)),
        FROZEN: sparse(lambda: frozen(Switch(s.width, s.experts))),
        DENSE: lambda: DenseFFN(s.width, s.hidden),
    }


# --- measures ---------------------------------------------------------------------------------------------------------


def span_share(states: Tensor, columns: Tensor) -> float:
    """The share of the variance of states [tokens, width] that lies in the span of columns [width, experts]."""
    centred = states - states.mean(0)
    basis, _ = torch.linalg.qr(columns)
    return float((centred @ basis).square().sum() / centred.square().sum())


def largest_share(states: Tensor, count: int) -> float:
    """The largest share that any `count` directions can hold: that of the first principal components."""
    variances = torch.linalg.svdvals(states - states.mean(0)).square()
    return float(variances[:count].sum() / variances.sum())


def clustering(states: Tensor, experts: Tensor) -> float:
    """Chi's measure Tr(Σ_W Σ_B⁺) (section 4.5): small where the states of an expert lie close to their mean, in
    relation to how far the means of experts lie apart.

    states: [tokens, width]; experts: [tokens]. Σ_W and Σ_B: covariances within experts and between them.
    """
    used, groups = experts.unique(return_inverse=True)
    counts = groups.bincount().unsqueeze(1)
    means = torch.zeros(len(used), states.shape[1]).index_add(0, groups, states) / counts
    inner, outer = states - means[groups], (means - states.mean(0)) * (counts / len(states)).sqrt()
    return float(torch.trace(inner.T @ inner / len(states) @ torch.linalg.pinv(outer.T @ outer, rtol=1e-5)))


def entropy(labels: Tensor) -> float:
    """In bits, of labels that each token has: [tokens] or, for several labels together, [tokens, labels]."""
    shares = labels.unique(dim=0, return_counts=True)[1].double() / len(labels)
    return float(-(shares * shares.log2()).sum())


def explained(experts: Tensor, *causes: Tensor) -> float:
    """The part of the experts' entropy that is gone once the causes are known. All are labels [tokens]."""
    known = torch.stack(causes, 1)
    left = entropy(torch.cat([known, experts.unsqueeze(1)], 1)) - entropy(known)
    return 1 - left / entropy(experts)


# --- the experiment ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Glance:
    """What a layer was given: states [tokens, width], symbols and languages [tokens]."""

    states: Tensor
    symbols: Tensor
    languages: Tensor


@torch.no_grad()
def look(model: CharTransformer, texts: dict[str, Tensor], count: int, length: int) -> list[Glance]:
    """What each block's feed-forward layer is given, in evaluation."""
    model.eval()
    ids = torch.cat([part[:, :-1] for part in spread_windows(texts, count, length)])
    given: list[Tensor] = []
    hooks = [block.ffn.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0])) for block in model.blocks]
    model(ids)
    for hook in hooks:
        hook.remove()
    languages = torch.arange(len(texts)).repeat_interleave(count * length)
    return [Glance(states, ids.flatten(), languages) for states in given]


def train_one(corpus: Corpus, s: Settings, name: str, seed: int) -> Values:
    """Shares of the states' variance on the way, and at the end whom experts serve and what each language costs."""
    set_seed(seed)
    model = CharTransformer(networks(s)[name], VOCABULARY, s.width, context=s.length)
    layers = model.moe_layers()
    drawn = torch.randn(len(model.blocks), s.width, s.experts, generator=torch.Generator().manual_seed(seed))
    first = [layer.router.weight.detach().clone() for layer in layers] or list(drawn)
    curve: list[Values] = []

    def shares(step: int) -> None:
        if step % s.every:
            return
        glances = look(model, corpus.validation, s.glance, s.length)
        row: dict[str, list[float]] = {
            "first router": [span_share(each.states, columns) for each, columns in zip(glances, first, strict=True)],
            "best": [largest_share(each.states, s.experts) for each in glances],
        }
        if layers:
            now = [layer.router.weight.detach() for layer in layers]
            row["router"] = [span_share(each.states, columns) for each, columns in zip(glances, now, strict=True)]
            chosen = [(each.states @ columns).argmax(1) for each, columns in zip(glances, now, strict=True)]
            row["clustering"] = [clustering(each.states, to) for each, to in zip(glances, chosen, strict=True)]
        curve.append({"step": step} | {key: [round(value, 4) for value in values] for key, values in row.items()})

    def served(routers: list[Tensor]) -> list[Values]:
        """Layer by layer what an expert's choice is explained by, and where each language goes."""
        found = []
        for each, columns in zip(look(model, corpus.test, s.measured, s.length), routers, strict=True):
            experts = (each.states @ columns).argmax(1)
            pairs = each.languages * s.experts + experts
            load = pairs.bincount(minlength=len(corpus.test) * s.experts).view(-1, s.experts)
            found.append(
                {
                    "language": round(explained(experts, each.languages), 4),
                    "symbol": round(explained(experts, each.symbols), 4),
                    "symbol and language": round(explained(experts, each.symbols, each.languages), 4),
                    "load": load.tolist(),
                }
            )
        return found

    experts = {"untrained network": served(first)} if layers else {}
    shares(0)
    train_language_model(
        model, corpus.train, steps=s.steps, count=s.count, length=s.length, lr=s.lr, seed=seed, after_step=shares
    )
    if layers:
        experts["untrained router"] = served(first)
        experts["trained"] = served([layer.router.weight.detach() for layer in layers])
    tested = reproduce.rounded(measure(model, corpus.test, count=s.measured, length=s.length))
    return {"seed": seed, "curve": curve, "experts": experts, **tested}


def load(digits: None, s: Settings) -> Corpus:
    return build_corpus(s.characters, images=True)


def pieces(corpus: Corpus, s: Settings, seeds: int) -> list[Piece]:
    """Every network with every seed."""
    return reproduce.every_network(train_one, NETWORKS, seeds)


def collect(corpus: Corpus, s: Settings, done: Done) -> Values:
    """All rows by network."""
    return {
        "experiment": "states that are fed to routers, and whom experts serve",
        "settings": asdict(s),
        "languages": list(corpus.train),
        "chance": s.experts / s.width,  # of the variance, in the span of directions that were drawn
        "runs": {name: [done[f"{name}/seed {seed}"] for seed in done.seeds(name)] for name in NETWORKS},
        "provenance": done.origin(),
    }


EXPERIMENT = Experiment("drift", Settings, load, pieces, collect)


def run(seeds: int, out: Path, settings: Settings | None = None, **where: Any) -> Values:
    """`Experiment.run`, which gets no digits: the texts come with Python."""
    return EXPERIMENT.run(seeds, out, None, settings, **where)
