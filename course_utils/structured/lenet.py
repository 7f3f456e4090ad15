"""A LeNet of any widths, and training it while it is cut: it gets faster meanwhile."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from course_utils.data import Split
from course_utils.models import lenet5
from course_utils.structured import channel_norms, filter_norms, proximal_step, shrink_network
from course_utils.training import train

State = dict[str, Tensor]
CONVOLUTIONS = ("0.weight", "2.weight")
SGD = partial(torch.optim.SGD, momentum=0.9)
LR = 0.05
BATCH = 128


def lenet_of(state: State) -> nn.Sequential:
    """A `lenet5` as wide as a state by its names, with these weights."""
    model = lenet5()
    for layer in model:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            name = next(key for key, module in model.named_children() if module is layer)
            layer.weight, layer.bias = (nn.Parameter(state[f"{name}.{kind}"].clone()) for kind in ("weight", "bias"))
    return model


def narrow_lenet(filters: Sequence[int], seed: int) -> nn.Sequential:
    """A `lenet5` with so many filters in its two convolutions, and PyTorch's first weights for that size."""
    torch.manual_seed(seed)
    first, second = filters
    model = lenet5()
    model[0], model[2], model[5] = nn.Conv2d(1, first, 5), nn.Conv2d(first, second, 5), nn.Linear(16 * second, 500)
    return model


def widths(state: State) -> list[int]:
    """How many filters the two convolutions have."""
    return [len(state[name]) for name in CONVOLUTIONS]


def train_in_parts(
    state: State,
    split: Split,
    after_step: Callable[[nn.Module], None],
    *,
    parts: int,
    images: int,
    lr: float = LR,
    seed: int = 0,
) -> tuple[State, list[dict[str, Any]]]:
    """SGD on a LeNet, out of which after each part of the training is cut what is dead: it gets faster meanwhile.

    after_step: brings filters to 0. parts: how many, of so many images each, in whole batches of `BATCH`: a last one of
    few images would pull hard, and at random, right before the cut. Returns the smaller state, and for each part the
    filters that are left and the processor's seconds.
    """
    if images % BATCH:
        raise ValueError(f"A part of {images} images ends with a small batch: choose a multiple of {BATCH}.")
    generator = torch.Generator().manual_seed(seed)
    seen = []
    for part in range(parts):
        model, index = lenet_of(state), torch.randperm(len(split), generator=generator)[:images]
        common = {"batch_size": BATCH, "optimizer": SGD, "jitter": 1, "progress": False}
        start = time.process_time()
        train(model, split.subset(index), epochs=1, lr=lr, seed=1000 * seed + part, after_step=after_step, **common)
        seconds = time.process_time() - start
        state = shrink_network(model.state_dict(), 0)
        seen.append({"filters": widths(state), "seconds": round(seconds, 2)})
    return state, seen


def train_group_lasso(
    state: State,
    split: Split,
    strengths: Sequence[float],
    targets: Sequence[int] = (1, 1),
    *,
    parts: int,
    images: int,
    lr: float = LR,
    seed: int = 0,
) -> tuple[State, list[dict[str, Any]]]:
    """`train_in_parts` with the group lasso.

    strengths: λ of the first convolution's filters and of the second's channels, which read them; and λ of the second's
    filters. Each is lowered where it would leave fewer filters than its target, down to 0.
    """

    def lowered(strength: float, norms: Tensor, target: int) -> float:
        """λ, or as much of it as the filter that may just die needs."""
        ascending = torch.cat([torch.zeros(1), norms.sort().values])
        return min(strength, float(ascending[len(norms) - target]) / lr)

    @torch.no_grad()
    def shrink(model: nn.Module) -> None:
        """The proximal step alone, with a gradient of 0: the optimizer has descended already, with momentum."""
        first, second = model[0].weight, model[2].weight
        still = torch.zeros_like(first), torch.zeros_like(second)
        λ2 = lowered(strengths[1], filter_norms(second), targets[1])
        second.copy_(proximal_step(second, still[1], lr, λ2, 0))
        # A filter that nobody reads is as good as dead
        λ1 = lowered(strengths[0], torch.minimum(filter_norms(first), channel_norms(second)), targets[0])
        first.copy_(proximal_step(first, still[0], lr, λ1, 0))
        second.copy_(proximal_step(second, still[1], lr, 0, λ1))

    return train_in_parts(state, split, shrink, parts=parts, images=images, lr=lr, seed=seed)


def train_random_cuts(
    state: State, split: Split, schedule: Sequence[Sequence[int]], *, images: int, seed: int = 0
) -> tuple[State, list[dict[str, Any]]]:
    """`train_in_parts` without a penalty: the filters that go are drawn at random, and fade to 0 during a part.

    schedule: how many filters both convolutions keep after each part. Cut at once a network may diverge.
    """
    draws = torch.Generator().manual_seed(10_000 + seed)  # not the digits' generator, which the lasso has as well
    steps, done, dying = images // BATCH, 0, []

    @torch.no_grad()
    def fade(model: nn.Module) -> None:
        nonlocal done, dying
        part, step = divmod(done, steps)
        weights = model[0].weight, model[2].weight
        if step == 0:
            dying = [
                torch.randperm(len(weight), generator=draws)[kept:]
                for weight, kept in zip(weights, schedule[part], strict=True)
            ]
        for weight, filters in zip(weights, dying, strict=True):
            weight[filters] *= (steps - step - 1) / (steps - step)
        done += 1

    return train_in_parts(state, split, fade, parts=len(schedule), images=images, seed=seed)
