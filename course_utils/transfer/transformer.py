"""A small transformer whose parameters are a dict, from facts to text: pre-training, loss, decoding.

Pre-norm blocks with biases and a tied embedding, as in GPT-2: 2 blocks of width 64. The task in words: 'name Alma food
french <sep> Alma serves … <end>'; the loss is that of the words behind <sep>.
"""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.transfer.grammar import SOURCES, Example, decode, encode, examples, vocabulary

State = dict[str, Tensor]
Pair = tuple[Sequence[str], Sequence[str]]  # facts, and a text that says them
WIDTH, BLOCKS, HEADS, LONGEST = 64, 2, 4, 56
PAD, SEP, END = 0, 1, 2
IGNORED = -100  # F.cross_entropy's word for a place without a label
MATRICES = [f"{block}.{part}.weight" for block in range(BLOCKS) for part in ("q", "k", "v", "o", "up", "down")]
FILE = Path(__file__).parent / "pretrained.safetensors"
SHA256 = "5a60577f9cf02a7676657b67b4a5c3c586c66a84b003c1b8969a9a64c9857928"


def first_state(seed: int) -> State:
    """Weights before any training, as GPT-2 draws them."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int, scale: float = 1.0) -> Tensor:
        return 0.02 * scale * torch.randn(*shape, generator=generator)

    state = {"embedding": drawn(len(vocabulary()), WIDTH), "position": drawn(LONGEST, WIDTH)}
    shapes = {"q": (WIDTH, WIDTH), "k": (WIDTH, WIDTH), "v": (WIDTH, WIDTH), "o": (WIDTH, WIDTH)}
    shapes |= {"up": (4 * WIDTH, WIDTH), "down": (WIDTH, 4 * WIDTH)}
    for block in range(BLOCKS):
        for part, (out, inputs) in shapes.items():
            # What is added to the stream is smaller, the more is added
            scale = 4 / math.sqrt(2 * BLOCKS) if part in ("o", "down") else 4.0
            state[f"{block}.{part}.weight"] = drawn(out, inputs, scale=scale)
            state[f"{block}.{part}.bias"] = torch.zeros(out)
        for norm in ("norm1", "norm2"):
            state |= {f"{block}.{norm}.weight": torch.ones(WIDTH), f"{block}.{norm}.bias": torch.zeros(WIDTH)}
    return state | {"norm.weight": torch.ones(WIDTH), "norm.bias": torch.zeros(WIDTH)}


def forward(state: State, tokens: Tensor) -> Tensor:
    """Logits [batch, length, words] of the next word; tokens [batch, length]. Differentiable in the state.

    A state may have adapters: 'NAME.adapter.down.weight' and so on behind the layer NAME.
    """

    def linear(name: str, hidden: Tensor) -> Tensor:
        out = F.linear(hidden, state[f"{name}.weight"], state[f"{name}.bias"])
        if (adapter := f"{name}.adapter") + ".down.weight" in state:
            out = out + linear(f"{adapter}.up", F.relu(linear(f"{adapter}.down", out)))
        return out

    def normed(name: str, hidden: Tensor) -> Tensor:
        return F.layer_norm(hidden, (WIDTH,), state[f"{name}.weight"], state[f"{name}.bias"])

    batch, length = tokens.shape
    stream = state["embedding"][tokens] + state["position"][:length]
    for block in range(BLOCKS):
        hidden = normed(f"{block}.norm1", stream)
        heads = [linear(f"{block}.{part}", hidden).view(batch, length, HEADS, -1).transpose(1, 2) for part in "qkv"]
        mixed = F.scaled_dot_product_attention(*heads, is_causal=True).transpose(1, 2).reshape(batch, length, WIDTH)
        stream = stream + linear(f"{block}.o", mixed)
        hidden = F.gelu(linear(f"{block}.up", normed(f"{block}.norm2", stream)))
        stream = stream + linear(f"{block}.down", hidden)
    return normed("norm", stream) @ state["embedding"].T


def batch_of(pairs: Sequence[Pair]) -> tuple[Tensor, Tensor]:
    """Facts and texts as (tokens, labels), both [batch, length]: a label is the next word, where that is the text's."""
    rows = [(encode(facts), [*encode(text), END]) for facts, text in pairs]
    length = max(len(facts) + len(text) for facts, text in rows)
    tokens, labels = torch.full((len(rows), length), PAD), torch.full((len(rows), length), IGNORED)
    for row, (facts, text) in enumerate(rows):
        whole = torch.tensor([*facts, SEP, *text])
        tokens[row, : len(whole) - 1] = whole[:-1]
        labels[row, len(facts) : len(whole) - 1] = whole[len(facts) + 1 :]
    return tokens, labels


def loss_of(state: State, tokens: Tensor, labels: Tensor) -> Tensor:
    """The mean cross-entropy of the text's words, in nats."""
    kept = labels != IGNORED
    return F.cross_entropy(forward(state, tokens)[kept], labels[kept])


@torch.no_grad()
def write(state: State, facts: Sequence[Sequence[str]], most: int = 36) -> list[list[str]]:
    """The text that the network gives to each list of facts, word by word, always the likeliest."""
    starts = [[*encode(words), SEP] for words in facts]
    tokens = torch.full((len(starts), LONGEST), PAD)
    ends = torch.tensor([len(start) for start in starts])
    for row, start in enumerate(starts):
        tokens[row, : len(start)] = torch.tensor(start)
    rows, done = torch.arange(len(starts)), torch.zeros(len(starts), dtype=torch.bool)
    for _ in range(min(most, LONGEST - int(ends.max()))):
        # Behind the last word is padding, at which no word before it looks
        logits = forward(state, tokens[:, : int(ends.max())])
        word = logits[rows, ends - 1].argmax(1)
        done |= word == END
        tokens[rows[~done], ends[~done]] = word[~done]
        ends[~done] += 1
        if done.all():
            break
    return [
        decode(tokens[row, len(start) : end].tolist())
        for row, (start, end) in enumerate(zip(starts, ends.tolist(), strict=True))
    ]


def descend(
    network: Callable[[State], State],
    start: State,
    pairs: Sequence[Pair],
    lr: float,
    steps: int,
    batch: int = 20,
    seed: int = 0,
) -> State:
    """Train numbers of which `network` makes a whole network, on pairs of facts and text; returns them.

    Adam; the rate falls along a cosine. Each epoch has an order of its own by the seed.
    """
    leaves = {name: value.clone().requires_grad_() for name, value in start.items()}
    optimizer = torch.optim.Adam(leaves.values(), lr=lr)
    order, generator = [], random.Random(seed)
    for step in range(steps):
        if len(order) < min(batch, len(pairs)):
            order = generator.sample(range(len(pairs)), len(pairs))
        chosen, order = order[:batch], order[batch:]
        for group in optimizer.param_groups:
            group["lr"] = lr * (1 + math.cos(math.pi * step / steps)) / 2
        optimizer.zero_grad()
        loss_of(network(leaves), *batch_of([pairs[i] for i in chosen])).backward()
        optimizer.step()
    return {name: value.detach() for name, value in leaves.items()}


def source_batches(size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless batches of the five source domains, as many of each as of the others on average."""
    step = 0
    while True:
        domains = list(SOURCES)
        each = [examples(domain, size // len(domains), 1, seed=seed * 10**6 + step) for domain in domains]
        yield batch_of([(example.facts, example.references[0]) for part in each for example in part])
        step += 1


def pretrain(seed: int = 0, steps: int = 3000, size: int = 50, lr: float = 3e-3) -> State:
    """Train a network on the five source domains; its weights are float16 numbers, in float32."""
    state = {name: value.requires_grad_() for name, value in first_state(seed).items()}
    optimizer = torch.optim.AdamW(state.values(), lr=lr, betas=(0.9, 0.95), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / 100) * (1 + math.cos(math.pi * step / steps)) / 2
    )
    for _, batch in zip(range(steps), source_batches(size, seed + 1), strict=False):
        optimizer.zero_grad()
        loss_of(state, *batch).backward()
        torch.nn.utils.clip_grad_norm_(state.values(), 1.0)
        optimizer.step()
        schedule.step()
    return {name: value.detach().half().float() for name, value in state.items()}


@cache
def _stored() -> State:
    return safetensors.torch.load_file(FILE)


def pretrained() -> State:
    """The network that comes with the course: `pretrain()`, stored as float16."""
    return {name: value.float() for name, value in _stored().items()}


def pairs_of(found: Sequence[Example]) -> list[Pair]:
    """Facts with the first reference: what a network is tuned on."""
    return [(example.facts, example.references[0]) for example in found]
