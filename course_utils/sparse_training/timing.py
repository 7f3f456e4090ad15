"""One step of training, by several programs: forward, backward, momentum."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils.budget import latency_summary
from course_utils.models import mlp
from course_utils.regroup.packing import clock
from course_utils.sparse_training.network import (
    Network,
    State,
    cross_entropy_slopes,
    first_weights,
    masks_of,
    weight_shapes,
)

Step = Callable[[], object]
LR, MOMENTUM = 0.01, 0.9


def torch_step(
    model: nn.Module, images: Tensor, labels: Tensor, masks: State | None = None, fused: bool = True
) -> Step:
    """A step of PyTorch's own; with masks, what has no connection is put back to 0 after it."""
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=MOMENTUM, fused=fused)
    held = [(model.get_parameter(name), mask.float()) for name, mask in (masks or {}).items()]

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
        for weight, mask in held:
            weight.data.mul_(mask)

    return step


def our_step(net: Network, images: Tensor, labels: Tensor) -> Step:
    """A step of ours, from the same images [batch, pixels]: turning them over is part of it."""

    def step() -> None:
        columns = np.ascontiguousarray(images.T.numpy())
        net.backward(columns, cross_entropy_slopes(net.forward(columns), labels.numpy()))
        net.descend(LR, MOMENTUM)

    return step


def contestants(sizes: Sequence[int], sparsity: float, batch: int, seed: int = 0) -> dict[str, Step]:
    """Steps of a network in which every layer has this sparsity, on the same images, masks and first weights."""
    masks = masks_of(sizes, dict.fromkeys(weight_shapes(sizes), 1 - sparsity), seed)
    state = first_weights(masks, seed)
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(batch, sizes[0], generator=generator)
    labels = torch.randint(0, sizes[-1], (batch,), generator=generator)
    masked, dense = mlp(*sizes), mlp(*sizes)
    masked.load_state_dict(state)
    return {
        "ours": our_step(Network(state, masks), images, labels),
        "masked torch": torch_step(masked, images, labels, masks),
        "dense torch": torch_step(dense, images, labels),
    }


def race(steps: Mapping[str, Step], rounds: int, warmup: int = 3) -> dict[str, list[float]]:
    """Milliseconds of each step, taken in turn, of this thread's processor time: median, lower and upper quartile."""
    samples: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(warmup + rounds):
        for name, step in steps.items():
            start = clock()
            step()
            if number >= warmup:
                samples[name].append((clock() - start) * 1000)
    return {name: [round(value, 4) for value in latency_summary(taken)] for name, taken in samples.items()}
