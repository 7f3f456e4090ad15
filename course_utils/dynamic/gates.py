"""Gates on a trained trunk: learned by supervision, by REINFORCE, and by the exact mean over all settings."""

import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Bernoulli

from course_utils.data import Split
from course_utils.dynamic import expected_cost, expected_reward, skip_gate
from course_utils.dynamic.networks import GatedNet


def settings_of(blocks: int) -> Tensor:
    """All settings of the gates [2^L, L], bool: gate l is open in setting i if bit l of i is 1."""
    return (torch.arange(2**blocks).unsqueeze(1) >> torch.arange(blocks) & 1).bool()


@torch.no_grad()
def tables(model: GatedNet, split: Split, batch_size: int = 500) -> tuple[Tensor, Tensor, Tensor]:
    """What gates see, and what comes of each setting: pooled stems [n, width], losses [n, 2^L] in nats, and whether the
    class is right [n, 2^L]. Settings share the blocks that they begin with."""
    parts = []
    for images, labels in zip(split.images.split(batch_size), split.labels.split(batch_size), strict=True):
        stem = model.stem(images)
        states = [stem]  # after l blocks: the 2^l settings of their gates, in the order of the bits
        for block in model.blocks:
            states = [*states, *(hidden + block(hidden) for hidden in states)]
        logits = torch.stack([model.head(hidden) for hidden in states], dim=1)
        losses = F.cross_entropy(logits.flatten(0, 1), labels.repeat_interleave(len(states)), reduction="none")
        right = logits.argmax(dim=2) == labels.unsqueeze(1)
        parts.append((model.seen(stem), losses.view(len(labels), -1), right))
    pooled, losses, right = (torch.cat(part) for part in zip(*parts, strict=True))
    return pooled, losses, right


def rewards(losses: Tensor, price: float) -> Tensor:
    """SkipNet's reward of each setting, [n, 2^L]: minus the loss, minus price · the share of open blocks."""
    opened = settings_of(losses.shape[1].bit_length() - 1).float().mean(dim=1)
    return -losses - price * opened


Update = Callable[[Tensor, Tensor, torch.Generator], Tensor]  # gate logits [batch, L], rewards [batch, 2^L] -> loss


def exact(logits: Tensor, reward: Tensor, draws: torch.Generator) -> Tensor:
    """Minus the mean over all settings."""
    return -expected_reward(torch.sigmoid(logits), reward)


def reinforce(baseline: bool, constant: float = 0.0) -> Update:
    """REINFORCE with one draw for each image. baseline: the mean reward of the batch; constant: added to all rewards,
    which changes nothing but the variance."""

    def loss(logits: Tensor, reward: Tensor, draws: torch.Generator) -> Tensor:
        bits = (torch.rand(logits.shape, generator=draws) < torch.sigmoid(logits)).to(logits.dtype)
        setting = (bits.long() << torch.arange(logits.shape[1])).sum(dim=1, keepdim=True)
        got = reward.gather(1, setting).squeeze(1) + constant
        log_p = Bernoulli(logits=logits).log_prob(bits).sum(dim=1)
        advantage = got - got.mean() if baseline else got
        return -(advantage * log_p).mean()  # its gradient is −mean((R − b) · ∇ log p), unit 10

    return loss


UPDATES: dict[str, Update] = {
    "exact": exact,
    "REINFORCE with baseline": reinforce(True),
    "REINFORCE": reinforce(False),
    "REINFORCE, 1 added to each reward": reinforce(False, 1.0),
    "REINFORCE with baseline, 1 added": reinforce(True, 1.0),
}


def train_by_reward(
    update: Update, pooled: Tensor, reward: Tensor, steps: int, lr: float, batch_size: int, seed: int
) -> nn.Linear:
    """A linear gate network [width -> L] that has learned from the rewards of a trunk that stays as it is."""
    draws = torch.Generator().manual_seed(seed)
    gate = new_gate(pooled, reward.shape[1].bit_length() - 1)
    optimizer = torch.optim.Adam(gate.parameters(), lr=lr)
    for _ in range(steps):
        index = torch.randint(len(pooled), (batch_size,), generator=draws)
        loss = update(gate(pooled[index]), reward[index], draws)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return folded(gate)


def new_gate(pooled: Tensor, blocks: int) -> nn.Sequential:
    """What gates see, standardized as in these examples, then a linear layer: at first all gates are open half of the
    time."""
    norm, linear = nn.BatchNorm1d(pooled.shape[1], affine=False), nn.Linear(pooled.shape[1], blocks)
    norm.running_mean, norm.running_var = pooled.mean(dim=0), pooled.var(dim=0)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return nn.Sequential(norm, linear).eval()


@torch.no_grad()
def folded(gate: nn.Sequential) -> nn.Linear:
    """The same as one linear layer."""
    norm, linear = gate
    linear.weight /= torch.sqrt(norm.running_var + norm.eps)
    linear.bias -= linear.weight @ norm.running_mean
    return linear


def train_through(
    model: GatedNet,
    split: Split,
    pooled: Tensor,
    kind: str,
    price: float,
    steps: int,
    lr: float,
    batch_size: int,
    seed: int,
) -> nn.Linear:
    """The same gate network, by the gradient of the loss through the trunk.

    kind: 'supervised' for SkipNet's hard gates, 'supervised, logistic noise' for hard gates that are drawn, 'soft' for
    blocks that are multiplied by σ.
    """
    draws = torch.Generator().manual_seed(seed)
    blocks = len(model.blocks)
    gate, shares = new_gate(pooled, blocks), torch.full((blocks,), 1 / blocks)
    optimizer = torch.optim.Adam(gate.parameters(), lr=lr)
    for _ in range(steps):
        index = torch.randint(len(split), (batch_size,), generator=draws)
        with torch.no_grad():
            stem = model.stem(split.images[index])
        logits = gate(model.seen(stem))
        if kind == "soft":
            gates = torch.sigmoid(logits)
        else:
            noise = torch.zeros_like(logits)
            if kind != "supervised":
                noise = torch.logit(torch.rand(logits.shape, generator=draws), eps=1e-6)
            gates = skip_gate(logits, noise)
        loss = F.cross_entropy(model.multiplied(stem, gates), split.labels[index]) + price * expected_cost(
            gates, shares
        )
        slopes = torch.autograd.grad(loss, list(gate.parameters()))  # not the trunk's
        for parameter, slope in zip(gate.parameters(), slopes, strict=True):
            parameter.grad = slope
        optimizer.step()
    return folded(gate)


@torch.no_grad()
def mean_reward(gate: nn.Linear, pooled: Tensor, reward: Tensor) -> float:
    """The mean of the rewards [n, 2^L] at the settings that the gate chooses, each gate open where its logit is
    positive."""
    return float(reward.gather(1, chosen(gate(pooled)).unsqueeze(1)).mean())


def chosen(logits: Tensor) -> Tensor:
    """The settings [n] of gates that are open where their logits [n, L] are positive."""
    return ((logits > 0).long() << torch.arange(logits.shape[1])).sum(dim=1)


@torch.no_grad()
def measured(model: GatedNet, gate: nn.Linear, found: tuple[Tensor, Tensor, Tensor], split: Split) -> dict[str, Any]:
    """Errors with hard gates (open where σ > ½) and with soft ones (multiplied by σ), and the share of open blocks."""
    pooled, losses, right = found
    logits = gate(pooled)
    setting = chosen(logits)
    soft = [
        model.multiplied(model.stem(images), torch.sigmoid(z)).argmax(dim=1)
        for images, z in zip(split.images.split(500), logits.split(500), strict=True)
    ]
    return {
        "hard_errors": int((~right.gather(1, setting.unsqueeze(1))).sum()),
        "soft_errors": int((torch.cat(soft) != split.labels).sum()),
        "open": float((logits > 0).float().mean()),
        "settings": setting.bincount(minlength=losses.shape[1]).tolist(),
    }


def gradient_noise(pooled: Tensor, reward: Tensor, draws: int, batch_size: int, seed: int) -> dict[str, float]:
    """By way of learning: the mean squared distance of a batch's gradient from the exact one of the same batch, at the
    start of training, by the squared length of the exact one."""
    generator = torch.Generator().manual_seed(seed)
    gate = new_gate(pooled, reward.shape[1].bit_length() - 1)
    index = torch.randint(len(pooled), (batch_size,), generator=generator)

    def gradient(update: Update) -> Tensor:
        loss = update(gate(pooled[index]), reward[index], generator)
        return torch.cat([slope.flatten() for slope in torch.autograd.grad(loss, list(gate.parameters()))])

    truth = gradient(exact)
    return {
        name: float(torch.stack([(gradient(update) - truth).square().sum() for _ in range(draws)]).mean())
        / float(truth.square().sum())
        for name, update in UPDATES.items()
        if name != "exact"
    }


@torch.inference_mode()
def skipping_race(model: GatedNet, gate: nn.Linear, images: Tensor, rounds: int = 3) -> dict[str, list[float]]:
    """Microseconds of processor time an image, one image at a time, in each round: all blocks without gates, blocks
    multiplied by their gates (0 among them), and closed blocks skipped; the gates' own time included."""

    def all_blocks(image: Tensor) -> Tensor:
        return model.skipped(model.stem(image), [True] * len(model.blocks))

    def multiply(image: Tensor) -> Tensor:
        stem = model.stem(image)
        return model.multiplied(stem, (gate(model.seen(stem)) > 0).float())

    def skip(image: Tensor) -> Tensor:
        stem = model.stem(image)
        return model.skipped(stem, (gate(model.seen(stem)) > 0)[0].tolist())

    ways = {"no gates": all_blocks, "gates that multiply": multiply, "gates that skip": skip}
    found: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way(images[:1])
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.thread_time()
            for image in images.split(1):
                way(image)
            found[name].append(round(1e6 * (time.thread_time() - start) / len(images), 1))
    return found
