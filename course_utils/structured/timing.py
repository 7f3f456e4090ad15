"""Measured speed of layers, dense and narrow, side by side: every call of a round in turn, round after round."""

import copy
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.budget import latency_summary
from course_utils.models import lenet5
from course_utils.structured import concatenate_nonzero
from course_utils.structured.lenet import narrow_lenet

FORMATS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}
FULL = (20, 50)
LAYERS = ("conv1", "conv2", "network")
Milliseconds = dict[str, list[float]]  # median, lower and upper quartile, by what was timed


@torch.inference_mode()
def alternate(calls: Mapping[str, Callable[[], Any]], rounds: int, warmup: int = 3) -> Milliseconds:
    """Milliseconds of each call: what else the machine does meanwhile falls on all of them alike."""
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(warmup + rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if number >= warmup:
                samples[name].append((time.perf_counter() - start) * 1000)
    return {name: [round(value, 5) for value in latency_summary(taken)] for name, taken in samples.items()}


def layer_calls(layer: str, filters: Sequence[int], batch: int) -> dict[str, Callable[[], Tensor]]:
    """A convolution of a LeNet with so many filters, or all of it, in both memory formats."""
    model = narrow_lenet(filters, seed=0).eval()
    module, shape = {
        "conv1": (model[0], (1, 28, 28)),
        "conv2": (model[2], (filters[0], 12, 12)),
        "network": (model, (1, 28, 28)),
    }[layer]
    images, calls = torch.rand(batch, *shape), {}
    for name, memory_format in FORMATS.items():
        layout = copy.deepcopy(module).to(memory_format=memory_format)
        inputs = images.to(memory_format=memory_format)
        calls[name] = lambda layout=layout, inputs=inputs: layout(inputs)
    return calls


def best(times: Milliseconds, start: str) -> list[float]:
    """The times with the lowest median among those whose name starts so: the better memory format."""
    return min(taken for name, taken in times.items() if name.startswith(start))


def layer_times(layer: str, widths: Sequence[Sequence[int]], batch: int, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of a layer at each width, the better of both memory formats; by 'first—second' filters."""
    calls = {
        f"{first}—{second}, {name}": call
        for first, second in widths
        for name, call in layer_calls(layer, (first, second), batch).items()
    }
    times = alternate(calls, rounds)
    return {f"{first}—{second}": best(times, f"{first}—{second},") for first, second in widths}


def lower(images: Tensor) -> Tensor:
    """The patches of 5 × 5 that a convolution reads, as the columns of a matrix.

    images: [batch, channels, height, width]. Returns, stored row by row as Caffe does,
    [channels · 25, batch · (height − 4) · (width − 4)].
    """
    patches = images.unfold(2, 5, 1).unfold(3, 5, 1)  # [batch, channels, y, x, 5, 5]
    return patches.permute(1, 4, 5, 0, 2, 3).reshape(25 * images.shape[1], -1)


def regular_shape(kept: float) -> tuple[int, int]:
    """In how many of the 50 rows and 500 columns of the second convolution's matrix about so many weights are kept."""
    return round(50 * kept**0.5), round(500 * kept**0.5)


def zeros_calls(kept: float, rows: int, columns: int, batch: int) -> dict[str, Callable[[], Tensor]]:
    """The second convolution with weights that are mostly 0, by the way in which it is computed.

    kept: the fraction of its weights that is not 0, scattered over the matrix [50, 500]; or all in so many rows and
    columns. A convolution puts out [batch, 50, 8, 8], a product [50, batch · 64], of pushed together rows fewer.
    """
    generator = torch.Generator().manual_seed(0)
    dense = lenet5()[2].weight.detach().flatten(1)  # [50, 500]
    scattered = dense * (torch.rand(dense.shape, generator=generator) < kept)
    chosen = [torch.randperm(size, generator=generator)[:some] for size, some in ((50, rows), (500, columns))]
    regular = torch.zeros_like(dense)
    regular[chosen[0][:, None], chosen[1]] = dense[chosen[0][:, None], chosen[1]]
    small, filled_rows, filled_columns = concatenate_nonzero(regular)
    images = torch.rand(batch, 20, 12, 12, generator=generator)
    calls: dict[str, Callable[[], Tensor]] = {}
    for zeros, matrix in (("dense", dense), ("scattered zeros", scattered)):
        weight = matrix.view(50, 20, 5, 5)
        for name, memory_format in FORMATS.items():
            inputs, kernels = images.to(memory_format=memory_format), weight.contiguous(memory_format=memory_format)
            calls[f"convolution, {zeros}, {name}"] = lambda x=inputs, w=kernels: F.conv2d(x, w)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch calls its CSR format beta
        csr, coo = scattered.to_sparse_csr(), scattered.to_sparse_coo()

    def gathered(patches: Tensor) -> Tensor:
        outputs = patches.new_zeros(50, patches.shape[1])
        outputs[filled_rows] = small @ patches[filled_columns]
        return outputs

    products = {
        "dense": lambda patches: dense @ patches,
        "CSR": lambda patches: csr @ patches,
        "COO": lambda patches: coo @ patches,
        "rows and columns": gathered,
    }
    lowered = lower(images)
    pushed = lowered[filled_columns]
    calls["lowering alone"] = lambda: lower(images)
    for name, product in products.items():
        calls[f"lowered, {name}"] = lambda product=product: product(lower(images))
        calls[f"product alone, {name}"] = lambda product=product: product(lowered)
    calls["product alone, pushed together before"] = lambda: small @ pushed
    return calls


def zeros_times(kept: float, rows: int, columns: int, batch: int, rounds: int) -> Milliseconds:
    """Milliseconds of each of `zeros_calls`, a convolution's in the better of both memory formats."""
    times = alternate(zeros_calls(kept, rows, columns, batch), rounds)
    for zeros in ("dense", "scattered zeros"):
        name = f"convolution, {zeros}"
        times = {name: best(times, name + ",")} | {n: t for n, t in times.items() if not n.startswith(name + ",")}
    return times
