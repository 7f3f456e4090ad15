"""What a method trains, and the network that it makes of it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from course_utils.saliency import keep_top
from course_utils.transfer import lora_merge, masked_update, sparse_residual
from course_utils.transfer.transformer import MATRICES, WIDTH, Pair, State, descend, first_state

QUERIES_AND_VALUES = [name for name in MATRICES if name.split(".")[1] in "qv"]
ADAPTED_LAYERS = [name.removesuffix(".weight") for name in MATRICES if name.split(".")[1] in ("o", "down")]


@dataclass(frozen=True)
class Method:
    """kind: full, scratch, bias, head, adapter, lora or pruned. The others say how many numbers 'lora' and 'adapter'
    have, which part of the adapted weights is kept, whether the sum of weight and update is masked or the weight alone,
    and what is drawn at random. rates: learning rates to choose from."""

    kind: str
    rates: tuple[float, ...]
    rank: int = 0
    nonzeros: int = 0
    matrices: tuple[str, ...] = tuple(MATRICES)
    keep: float = 1.0
    mask_sum: bool = True
    random_support: bool = False
    random_mask: bool = False


SLOW, MIDDLE, FAST = (1e-3, 3e-3, 1e-2), (3e-3, 1e-2, 3e-2), (1e-2, 3e-2, 1e-1)
METHODS = {
    "full": Method("full", (3e-4, *SLOW)),
    "from scratch": Method("scratch", SLOW),
    "biases and norms": Method("bias", (*FAST, 0.3)),
    "head (tied embedding)": Method("head", (*MIDDLE, 0.1)),
    "adapters": Method("adapter", (*MIDDLE, 0.1), rank=17),
    "LoRA on q and v": Method("lora", FAST, rank=18, matrices=tuple(QUERIES_AND_VALUES)),
    "LoRA": Method("lora", (3e-3, *FAST), rank=4),
    "LoRA, r 1": Method("lora", FAST, rank=1),
    "DSEE, half of W, sum dense": Method("lora", FAST, rank=4, nonzeros=16, keep=0.5, mask_sum=False),
    "DSEE, half of W": Method("lora", FAST, rank=4, nonzeros=16, keep=0.5),
    "DSEE, half of W, random support": Method("lora", FAST, rank=4, nonzeros=16, keep=0.5, random_support=True),
    "LoRA, half of W": Method("lora", FAST, rank=4, keep=0.5),
    "LoRA, random half of W": Method("lora", FAST, rank=4, keep=0.5, random_mask=True),
    "full, half of W": Method("pruned", SLOW, keep=0.5),
}


@dataclass(frozen=True)
class Tuning:
    """trained: the method's own numbers. network: the whole network that they make."""

    trained: State
    network: Callable[[State], State]

    def count(self) -> int:
        """How many numbers the method trains; of a tensor with a support those that may be other than 0."""
        support = getattr(self.network, "supports", {})
        return sum(
            int(support[name].sum()) if name in support else value.numel() for name, value in self.trained.items()
        )


def masks_of(base: State, keep: float) -> State:
    """Masks of the matrices that keep the largest weights, all matrices together."""
    return keep_top({name: base[name].abs() for name in MATRICES}, keep)


def shuffled(masks: State, seed: int) -> State:
    """Masks that keep as many weights of each matrix, at random."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: mask.flatten()[torch.randperm(mask.numel(), generator=generator)].view_as(mask)
        for name, mask in masks.items()
    }


def begin(method: Method, base: State, seed: int) -> Tuning:
    """What the method trains, before it is trained."""
    match method.kind:
        case "full":
            return Tuning(dict(base), lambda trained: trained)
        case "scratch":
            return Tuning(first_state(1000 + seed), lambda trained: trained)
        case "bias":
            chosen = [name for name in base if "bias" in name or "norm" in name]
            return Tuning({name: base[name] for name in chosen}, lambda trained: base | trained)
        case "head":
            return Tuning({"embedding": base["embedding"]}, lambda trained: base | trained)
        case "adapter":
            return Tuning(_adapters(method.rank, seed), lambda trained: base | trained)
        case "pruned":
            masks = masks_of(base, method.keep)

            def pruned(trained: State) -> State:
                return trained | {name: masked_update(trained[name], mask, _zero(mask)) for name, mask in masks.items()}

            return Tuning(dict(base), pruned)
        case "lora":
            return _low_rank_and_sparse(method, base, seed)
    raise ValueError(f"There is no kind {method.kind!r}.")


def _zero(mask: Tensor) -> Tensor:
    return torch.zeros(mask.shape)


def _adapters(units: int, seed: int) -> State:
    """Two layers behind each sub-layer; the second starts at 0, so that nothing is changed at first."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for layer in ADAPTED_LAYERS:
        down = torch.randn(units, WIDTH, generator=generator) / math.sqrt(WIDTH)
        state |= {f"{layer}.adapter.down.weight": down, f"{layer}.adapter.down.bias": torch.zeros(units)}
        state |= {
            f"{layer}.adapter.up.weight": torch.zeros(WIDTH, units),
            f"{layer}.adapter.up.bias": torch.zeros(WIDTH),
        }
    return state


class LowRankAndSparse:
    """The network with ΔW = b·a + sparse in its matrices, and W masked, or the sum."""

    def __init__(self, method: Method, base: State, supports: State, masks: State) -> None:
        self.method, self.base, self.masks = method, base, masks
        self.supports = {f"{name}/sparse": support for name, support in supports.items()}

    def __call__(self, trained: State) -> State:
        new = dict(self.base)
        for name, mask in self.masks.items():
            weight, delta = self.base[name], torch.zeros_like(self.base[name])
            if name in self.method.matrices:
                delta = lora_merge(delta, trained[f"{name}/a"], trained[f"{name}/b"], 1.0)
                if (sparse := f"{name}/sparse") in self.supports:
                    delta = delta + torch.where(self.supports[sparse], trained[sparse], 0)
            if self.method.mask_sum:
                new[name] = masked_update(weight, mask, delta)
            else:
                new[name] = torch.where(mask, weight, 0) + delta
        return new


def _low_rank_and_sparse(method: Method, base: State, seed: int) -> Tuning:
    generator = torch.Generator().manual_seed(seed)
    trained, supports = {}, {}
    for name in method.matrices:
        out, inputs = base[name].shape
        trained[f"{name}/a"] = torch.randn(method.rank, inputs, generator=generator) / math.sqrt(inputs)
        trained[f"{name}/b"] = torch.zeros(out, method.rank)
        if method.nonzeros:
            if method.random_support:
                support = torch.zeros(out * inputs, dtype=torch.bool)
                support[torch.randperm(out * inputs, generator=generator)[: method.nonzeros]] = True
                supports[name] = support.view(out, inputs)
            else:
                supports[name] = sparse_residual(base[name], method.rank, method.nonzeros)[2] != 0
            trained[f"{name}/sparse"] = torch.zeros(out, inputs)
    masks = masks_of(base, method.keep)
    if method.random_mask:
        masks = shuffled(masks, seed)
    return Tuning(trained, LowRankAndSparse(method, base, supports, masks))


def tune(
    method: Method,
    base: State,
    pairs: Sequence[Pair],
    lr: float,
    steps: int,
    batch: int = 20,
    seed: int = 0,
) -> tuple[State, State, Tuning]:
    """Train a method's numbers on pairs of facts and text, as `descend` does; returns them, the network, and what they
    were."""
    tuning = begin(method, base, seed)
    trained = descend(tuning.network, tuning.trained, pairs, lr, steps, batch, seed)
    return trained, tuning.network(trained), tuning
