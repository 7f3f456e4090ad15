"""A fast mixture-of-experts layer for the CPU, its routers, and a small character transformer built from them.

A router is a module that takes hidden vectors [tokens, width] and the ids [tokens] of what they stand for, and returns
a `Routing`: a list of (token, expert, gate). Everything behind it is the same for all routers.
"""

import importlib.util
import pydoc_data.topics
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from course_utils import moe
from course_utils.data import embedded_digits

# --- experts ----------------------------------------------------------------------------------------------------------


def run_experts(
    inputs: Tensor, counts: list[int], w1: Tensor, w2: Tensor, activation: Callable[[Tensor], Tensor] = torch.relu
) -> Tensor:
    """Expert e applied to its slice of the inputs, which are sorted by expert.

    inputs: [pairs, width]; counts: the length of each expert's slice; w1: [experts, width, hidden]; w2: [experts,
    inner, width], where the activation makes [pairs, inner] of [pairs, hidden]. Returns [pairs, width].
    """

    # Expert by expert through both products: of a short slice, what stands between them can stay in the cache
    slices = zip(inputs.split(counts), w1.unbind(), w2.unbind(), strict=True)
    return torch.cat([activation(rows.mm(first)).mm(second) for rows, first, second in slices])


@dataclass
class Routing:
    """Which token goes to which expert: pairs of them, each with a gate.

    `auxiliary` is what the router adds to the loss. `log_probability` [tokens] is there if the expert was drawn at
    random, and the router is to be taught by reward. `capacity` is the number of slots of an expert; None is no limit.
    """

    tokens: Tensor  # [pairs], int64
    experts: Tensor  # [pairs], int64
    gates: Tensor  # [pairs]
    auxiliary: Tensor | float = 0.0
    log_probability: Tensor | None = None
    capacity: int | None = None


class MoELayer(nn.Module):
    """Experts behind a router. `load` [experts] and `dropped` say what became of the last batch's pairs."""

    def __init__(
        self,
        router: nn.Module,
        width: int,
        hidden: int,
        experts: int,
        activation: Callable[[Tensor], Tensor] = torch.relu,
    ) -> None:
        super().__init__()
        self.router, self.experts, self.activation = router, experts, activation
        self.w1 = nn.Parameter(torch.randn(experts, width, hidden) * (2 / width) ** 0.5)
        self.w2 = nn.Parameter(torch.randn(experts, hidden, width) * (0.5 / hidden) ** 0.5)
        self.routing: Routing | None = None
        self.load, self.dropped = torch.zeros(experts, dtype=torch.int64), 0

    def forward(self, hidden: Tensor, ids: Tensor) -> tuple[Tensor, Tensor | float]:
        """hidden: [tokens, width]; ids: [tokens]. Returns what the experts add, and the auxiliary loss."""
        routing = self.routing = self.router(hidden, ids)
        self.load = torch.bincount(routing.experts, minlength=self.experts)
        # A stable sort keeps the order of arrival within each expert: what stands behind its capacity is dropped.
        # Of small integers NumPy's is a radix sort, whose time does not depend on the number of experts
        small = routing.experts.numpy().astype(np.min_scalar_type(self.experts - 1))
        order = torch.from_numpy(small.argsort(kind="stable"))
        counts = self.load
        if routing.capacity is not None:
            starts = self.load.cumsum(0) - self.load
            order = order[torch.arange(len(order)) - starts[routing.experts[order]] < routing.capacity]
            counts = self.load.clamp(max=routing.capacity)
        self.dropped = len(routing.experts) - len(order)
        tokens = routing.tokens[order]
        outputs = run_experts(hidden[tokens], counts.tolist(), self.w1, self.w2, self.activation)
        outputs = outputs * routing.gates[order].unsqueeze(1)
        return torch.zeros_like(hidden).index_add_(0, tokens, outputs), routing.auxiliary


class DenseFFN(nn.Module):
    """The feed-forward layer that a mixture of experts takes the place of."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.w1 = nn.Parameter(torch.randn(width, hidden) * (2 / width) ** 0.5)
        self.w2 = nn.Parameter(torch.randn(hidden, width) * (0.5 / hidden) ** 0.5)

    def forward(self, hidden: Tensor, ids: Tensor) -> tuple[Tensor, Tensor | float]:
        return torch.relu(hidden @ self.w1) @ self.w2, 0.0


# --- routers ----------------------------------------------------------------------------------------------------------


class NoisyTopK(nn.Module):
    """Shazeer's router, with any of its balance losses, or with the Switch Transformer's.

    balance: a weight for each of 'importance', 'load' and 'switch'; those left out are not used. factor: of the
    capacity; None is no limit, as in the paper.
    """

    def __init__(
        self, width: int, experts: int, k: int, balance: dict[str, float], factor: float | None = None
    ) -> None:
        super().__init__()
        self.k, self.balance, self.factor = k, balance, factor
        # Zeros, as in the paper's appendix A: the load is equal at the start, and the noise decides
        self.clean, self.noise = (nn.Parameter(torch.zeros(width, experts)) for _ in range(2))

    def forward(self, hidden: Tensor, ids: Tensor) -> Routing:
        clean = hidden @ self.clean
        std = F.softplus(hidden @ self.noise) + 1e-2
        noise = torch.randn_like(clean) if self.training else torch.zeros_like(clean)  # none when it is evaluated
        gates = moe.noisy_top_k(clean, std, noise, self.k)
        noisy = clean + noise * std
        chosen = noisy.topk(self.k).indices
        terms = {
            "importance": lambda: moe.importance_loss(gates),
            "load": lambda: moe.load_loss(moe.load_probability(clean, std, noisy, self.k)),
            "switch": lambda: moe.switch_loss(
                torch.softmax(clean, -1).repeat(self.k, 1), chosen.T.flatten(), clean.shape[1]
            ),
        }
        auxiliary = sum(weight * terms[name]() for name, weight in self.balance.items())
        tokens = torch.arange(len(hidden)).repeat_interleave(self.k)
        slots = None if self.factor is None else moe.capacity(len(hidden), clean.shape[1], self.k, self.factor)
        return Routing(tokens, chosen.flatten(), gates.gather(1, chosen).flatten(), auxiliary, capacity=slots)


class Switch(nn.Module):
    """The Switch Transformer's router: one expert, a capacity, the switch loss."""

    def __init__(self, width: int, experts: int, balance: float = 1e-2, factors: tuple[float, float] = (1.25, 2.0)):
        super().__init__()
        self.weight = nn.Parameter(0.02 * torch.randn(width, experts))
        self.balance, self.factors = balance, factors  # capacity factors in training and in evaluation

    def forward(self, hidden: Tensor, ids: Tensor) -> Routing:
        logits, experts = hidden @ self.weight, self.weight.shape[1]
        expert, gate = moe.switch_gate(logits)
        auxiliary = self.balance * moe.switch_loss(torch.softmax(logits, -1), expert, experts)
        slots = moe.capacity(len(hidden), experts, 1, self.factors[0 if self.training else 1])
        return Routing(torch.arange(len(hidden)), expert, gate, auxiliary, capacity=slots)


class ExpertChoice(nn.Module):
    """Each expert takes its tokens from the whole batch, from what comes later in a text as well."""

    def __init__(self, width: int, experts: int, factor: float = 1.0) -> None:
        super().__init__()
        self.weight, self.factor = nn.Parameter(0.02 * torch.randn(width, experts)), factor

    def forward(self, hidden: Tensor, ids: Tensor) -> Routing:
        experts = self.weight.shape[1]
        scores = torch.softmax(hidden @ self.weight, -1)
        tokens, gates = moe.expert_choice(scores, moe.capacity(len(hidden), experts, 1, self.factor))
        return Routing(tokens.flatten(), torch.arange(experts).repeat_interleave(tokens.shape[1]), gates.flatten())


class Hash(nn.Module):
    """The expert follows from the token's id."""

    def __init__(self, experts: int) -> None:
        super().__init__()
        self.experts = experts

    def forward(self, hidden: Tensor, ids: Tensor) -> Routing:
        return Routing(torch.arange(len(ids)), moe.hash_route(ids, self.experts), hidden.new_ones(len(ids)))


class Reinforce(nn.Module):
    """Draws one expert from the softmax; its gate is 1, so that only reward teaches the router."""

    def __init__(self, width: int, experts: int, balance: float = 1e-2) -> None:
        super().__init__()
        self.weight, self.balance = nn.Parameter(0.02 * torch.randn(width, experts)), balance

    def forward(self, hidden: Tensor, ids: Tensor) -> Routing:
        log_probabilities = F.log_softmax(hidden @ self.weight, -1)
        probabilities = log_probabilities.exp()
        if self.training:
            expert = torch.multinomial(probabilities.detach(), 1)
        else:
            expert = probabilities.argmax(-1, keepdim=True)
        auxiliary = self.balance * moe.switch_loss(probabilities, expert[:, 0], self.weight.shape[1])
        return Routing(
            torch.arange(len(hidden)),
            expert[:, 0],
            hidden.new_ones(len(hidden)),
            auxiliary,
            log_probabilities.gather(1, expert)[:, 0],
        )


# --- the transformer --------------------------------------------------------------------------------------------------


class Block(nn.Module):
    """A transformer's block: causal attention, then the given feed-forward layer, dense or sparse."""

    def __init__(self, width: int, heads: int, ffn: nn.Module) -> None:
        super().__init__()
        self.heads, self.ffn = heads, ffn
        self.attention_norm, self.ffn_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)

    def forward(self, hidden: Tensor, ids: Tensor) -> tuple[Tensor, Tensor | float]:
        batch, length, width = hidden.shape
        qkv = self.qkv(self.attention_norm(hidden)).view(batch, length, 3, self.heads, -1)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        hidden = hidden + self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        update, auxiliary = self.ffn(self.ffn_norm(hidden).view(-1, width), ids.flatten())
        return hidden + update.view_as(hidden), auxiliary


class CharTransformer(nn.Module):
    """Predicts the next symbol. ids: [batch, length] -> (logits [batch, length, vocabulary], auxiliary loss)."""

    def __init__(
        self,
        make_ffn: Callable[[], nn.Module],
        vocabulary: int,
        width: int = 64,
        heads: int = 4,
        blocks: int = 2,
        context: int = 64,
    ) -> None:
        super().__init__()
        self.embedding, self.places = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        nn.init.normal_(self.embedding.weight, std=0.5)
        nn.init.normal_(self.places.weight, std=0.1)
        self.blocks = nn.ModuleList(Block(width, heads, make_ffn()) for _ in range(blocks))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary)

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor | float]:
        hidden = self.embedding(ids) + self.places.weight[: ids.shape[1]]
        auxiliary: Tensor | float = 0.0
        for block in self.blocks:
            hidden, more = block(hidden, ids)
            auxiliary = auxiliary + more
        return self.head(self.norm(hidden)), auxiliary

    def moe_layers(self) -> list[MoELayer]:
        return [block.ffn for block in self.blocks if isinstance(block.ffn, MoELayer)]


def ffn_macs(model: CharTransformer) -> float:
    """Multiply-accumulates of the feed-forward layers for one token, routers included."""
    total = 0.0
    for block in model.blocks:
        ffn = block.ffn
        if isinstance(ffn, DenseFFN):
            total += ffn.w1.numel() + ffn.w2.numel()
        else:
            router = sum(parameter.numel() for parameter in ffn.router.parameters())
            total += router + (ffn.w1[0].numel() + ffn.w2[0].numel()) * getattr(ffn.router, "k", 1)
    return total


# --- texts ------------------------------------------------------------------------------------------------------------

CHARACTERS = "\n" + "".join(map(chr, range(32, 127))) + "�"
GREYS = 16
VOCABULARY = len(CHARACTERS) + GREYS
MODULES = ("argparse", "ast", "calendar", "configparser", "dataclasses", "datetime", "difflib", "fractions", "inspect")
MODULES += ("ipaddress", "locale", "mailbox", "optparse", "pathlib", "pickle", "statistics", "tarfile", "typing")


@dataclass
class Corpus:
    """Languages by name, each as ids: to learn from, to choose on, to read once."""

    train: dict[str, Tensor] = field(default_factory=dict)
    validation: dict[str, Tensor] = field(default_factory=dict)
    test: dict[str, Tensor] = field(default_factory=dict)

    def add(self, name: str, ids: Tensor) -> None:
        """The first 80% to train on, a tenth each to validate and to test."""
        first, second = int(0.8 * len(ids)), int(0.9 * len(ids))
        self.train[name], self.validation[name], self.test[name] = ids[:first], ids[first:second], ids[second:]


def encode(text: str) -> Tensor:
    """A text's characters as ids [n]; what is not printable ASCII or a line's end becomes one sign."""
    table = {character: i for i, character in enumerate(CHARACTERS)}
    return torch.tensor([table.get(character, len(CHARACTERS) - 1) for character in text])


def build_corpus(size: int = 400_000, images: bool = False) -> Corpus:
    """English prose, Python code and sums, up to `size` characters of each; with `images`, handwritten digits too.

    Prose and code come with CPython's standard library (PSF license): the help texts in `pydoc_data.topics`, and the
    sources of some modules. Both differ a little between versions of Python. An image is 64 grey values, row by row.
    """
    corpus = Corpus()
    corpus.add("prose", encode("\n\n".join(text for _, text in sorted(pydoc_data.topics.topics.items()))[:size]))
    corpus.add("code", encode("\n".join(_source(module) for module in MODULES)[:size]))
    pairs = np.random.RandomState(0).randint(0, 1000, (size // 13, 2))
    corpus.add("sums", encode("".join(f"{a:3}+{b:3}={a + b:4}\n" for a, b in pairs)[:size]))
    if images:
        pictures = embedded_digits().train.images  # [n, 1, 28, 28]
        pictures = F.avg_pool2d(F.pad(pictures, (2, 2, 2, 2)), 4).flatten()
        corpus.add("images", len(CHARACTERS) + (pictures * (GREYS - 1)).round().long()[: size // 64 * 64])
    return corpus


def _source(module: str) -> str:
    specification = importlib.util.find_spec(module)
    if specification is None or not (specification.origin or "").endswith(".py"):
        return ""
    return Path(specification.origin).read_text(encoding="utf-8")


def windows(ids: Tensor, starts: Tensor, length: int) -> Tensor:
    """[count, length + 1]: a text's ids from each start on."""
    return ids[starts.unsqueeze(1) + torch.arange(length + 1)]


def batch_of(texts: dict[str, Tensor], count: int, length: int, generator: Generator) -> Tensor:
    """[languages · count, length + 1]: `count` windows of each language, at random; images begin at their corner."""
    parts = []
    for name, ids in texts.items():
        step = 64 if name == "images" else 1
        starts = step * torch.randint((len(ids) - length - 1) // step, (count,), generator=generator)
        parts.append(windows(ids, starts, length))
    return torch.cat(parts)


# --- training and measuring -------------------------------------------------------------------------------------------


def train_language_model(
    model: CharTransformer,
    texts: dict[str, Tensor],
    *,
    steps: int,
    count: int,
    length: int,
    lr: float,
    seed: int,
    after_step: Callable[[int], None] = lambda step: None,
) -> None:
    """Adam with a cosine schedule; each batch has `count` windows of every language. Changes the model.

    A router that draws its experts gets, as its reward, the negative loss of the character that its token predicts.
    after_step: called with 1, 2, …, and may evaluate the model.
    """
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    model.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # for the routers' noise
        for step in range(1, steps + 1):
            ids = batch_of(texts, count, length, generator)
            logits, auxiliary = model(ids[:, :-1])
            losses = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
            loss = losses.mean() + auxiliary
            for layer in model.moe_layers():
                if layer.routing.log_probability is not None:
                    reward = -losses.detach()
                    # the language's mean as the baseline: some languages are harder than others
                    baseline = reward.view(len(texts), -1).mean(1).repeat_interleave(count * length)
                    loss = loss + moe.reinforce_loss(layer.routing.log_probability, reward, baseline)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            after_step(step)
            model.train()
    model.eval()


@dataclass
class Measurement:
    """What an evaluation finds. loss: nats a symbol by language; load: [layers, languages, experts] pairs; dropped: the
    fraction of all pairs; rank: effective rank of the last block's output (a sample of tokens, centred)."""

    loss: dict[str, float]
    load: Tensor
    dropped: float
    rank: float

    @property
    def perplexity(self) -> float:
        """exp of the loss, all languages counted alike."""
        return float(np.exp(np.mean(list(self.loss.values()))))

    @property
    def max_over_mean(self) -> float:
        """The busiest expert's load by the mean load, in the layer where it is worst."""
        total = self.load.double().sum(1)
        return float((total.max(1).values / total.mean(1)).max()) if total.numel() else 1.0


def spread_windows(texts: dict[str, Tensor], count: int, length: int) -> list[Tensor]:
    """For each language [count, length + 1]: windows evenly spread over it; images begin at their corner."""
    parts = []
    for name, ids in texts.items():
        step = 64 if name == "images" else 1
        last = (len(ids) - length - 1) // step
        parts.append(windows(ids, step * torch.linspace(0, last, count).long(), length))
    return parts


@torch.no_grad()
def measure(model: CharTransformer, texts: dict[str, Tensor], *, count: int, length: int) -> Measurement:
    """Evaluate on `count` windows of each language, evenly spread over it, mixed as they were in training."""
    model.eval()
    layers = model.moe_layers()
    parts = spread_windows(texts, count, length)
    losses = {name: 0.0 for name in texts}
    load = torch.zeros(len(layers), len(texts), layers[0].experts if layers else 0, dtype=torch.int64)
    pairs = dropped = 0
    final: list[Tensor] = []
    hook = model.norm.register_forward_pre_hook(lambda module, inputs: final.append(inputs[0].flatten(0, 1)))
    for chunk in zip(*(part.split(8) for part in parts), strict=True):
        ids = torch.cat(chunk)
        logits, _ = model(ids[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
        tokens = len(loss) // len(texts)
        for name, part in zip(texts, loss.split(tokens), strict=True):
            losses[name] += float(part.sum()) / (count * length)
        for number, layer in enumerate(layers):
            keys = layer.routing.tokens // tokens * layer.experts + layer.routing.experts
            load[number] += torch.bincount(keys, minlength=load[number].numel()).view_as(load[number])
            pairs, dropped = pairs + len(keys), dropped + layer.dropped
    hook.remove()
    vectors = torch.cat(final)[::7]
    rank = float(moe.effective_rank(vectors - vectors.mean(0)))
    return Measurement(losses, load, dropped / max(1, pairs), rank)
