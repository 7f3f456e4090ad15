"""What a machine can do at most, and what a network asks of it: rooflines, and memory in training.

S. Williams, A. Waterman and D. Patterson, *Roofline: An Insightful Visual Performance Model for Multicore
Architectures*, Communications of the ACM 52(4), 2009.
"""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from course_utils.budget import budget_report, evaluating, module_layers

WORD = 4  # bytes of a float32 number


# On a machine that others use too, a wall clock would add their work. Windows counts a thread's processor time in
# ticks of 15 ms, too long for a call.
clock = time.perf_counter if sys.platform == "win32" else time.thread_time


def least_seconds(function: Callable[[], Any], repeats: int) -> float:
    """Processor time of the fastest of some calls, on one thread: what the machine can do if nobody disturbs it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        samples = []
        for _ in range(repeats):
            start = clock()
            function()
            samples.append(clock() - start)
    finally:
        torch.set_num_threads(before)
    return min(samples)


def peak_flops(size: int = 384, repeats: int = 100) -> float:
    """Floating-point operations a second of the fastest product of two square matrices."""
    a, b, out = (torch.rand(size, size) for _ in range(3))
    return 2 * size**3 / least_seconds(lambda: torch.mm(a, b, out=out), repeats)


def copy_bandwidth(size: int, repeats: int = 30) -> float:
    """Bytes a second, read and written, of the fastest copy of an array of `size` bytes."""
    source, target = torch.ones(size // WORD), torch.zeros(size // WORD)
    return 2 * size / least_seconds(lambda: target.copy_(source), repeats)


def outputs_of(layers: Sequence[Mapping[str, Any]]) -> list[int]:
    """How many values each layer puts out for one example; layers as `budget_report` wants them."""
    values = []
    for layer in layers:
        if layer["kind"] == "linear":
            values.append(layer["out_features"])
        else:
            height, width = layer["output_size"]
            values.append(layer["out_channels"] * height * width)
    return values


def intensity(layers: Sequence[Mapping[str, Any]], inputs: int) -> float:
    """Floating-point operations per byte for one example, if every number is moved once by each layer that needs it.

    inputs: how many numbers the first layer reads. Pooling is left out: a layer reads what the one before has put out.
    """
    outputs, report = outputs_of(layers), budget_report(layers)
    moved = report["parameters"] + inputs + sum(outputs[:-1]) + sum(outputs)
    return 2 * report["macs"] / (WORD * moved)


def training_memory(layers: Sequence[Mapping[str, Any]], batch: int) -> dict[str, int]:
    """Bytes that a training step with Adam holds in float32, by what they are for.

    Activations are the values that layers put out, all kept for the backward pass.
    """
    parameters = WORD * budget_report(layers)["parameters"]
    activations = WORD * batch * sum(outputs_of(layers))
    return {
        "weights": parameters,
        "gradients": parameters,
        "Adam's two averages": 2 * parameters,
        f"activations, batch {batch}": activations,
    }


def inference_memory(layers: Sequence[Mapping[str, Any]]) -> int:
    """Bytes that one example takes in use: the weights, and the largest pair of a layer's values and the next one's."""
    outputs = outputs_of(layers)
    pairs = [a + b for a, b in zip(outputs, [*outputs[1:], 0], strict=True)]
    return WORD * (budget_report(layers)["parameters"] + max(pairs))


def by_batch(model: nn.Module, shape: Sequence[int], batches: Sequence[int], repeats: int = 30) -> dict[int, float]:
    """Milliseconds of a whole batch by its size: the fastest of some runs."""
    found = {}
    with evaluating(model):
        for batch in batches:
            inputs = torch.rand(batch, *shape)
            found[batch] = 1000 * least_seconds(lambda x=inputs: model(x), repeats)
    return found


def layers_of(model: nn.Module) -> list[dict[str, Any]]:
    """The layers of a network for images of 28 × 28 pixels."""
    return module_layers(model, (1, 28, 28))
