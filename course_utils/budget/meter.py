"""The meter: what a PyTorch model costs here and now, in the terms of the unit's exercises."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from course_utils.budget import JOULES_PER_KWH, KILOGRAMS_PER_POUND, budget_report, latency_summary, training_co2


def module_layers(
    model: nn.Module, input_shape: Sequence[int], dtype: torch.dtype = torch.float32
) -> list[dict[str, Any]]:
    """The layers that a PyTorch model runs through, in order, as `budget_report` wants them.

    input_shape: of one example, without the batch, such as (1, 28, 28); dtype: of the input. The model is run on one
    example of zeros, and forward hooks note each convolution and linear layer. A linear layer over T tokens is a 1×1
    convolution over (1, T) positions. Batch normalization is left out, since it folds into its neighbour at inference;
    any other module with parameters of its own is a ValueError, so that nothing is left uncounted in silence.
    """
    layers: list[dict[str, Any]] = []

    def note(module: nn.Module, _: Any, output: Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            names = ("in_channels", "out_channels", "kernel_size", "groups")
            layer = {"kind": "conv2d", **{name: getattr(module, name) for name in names}}
            layer["output_size"] = tuple(output.shape[-2:])
        elif output[0].numel() == module.out_features:
            layer = {"kind": "linear", "in_features": module.in_features, "out_features": module.out_features}
        else:
            tokens = output[0].numel() // module.out_features
            layer = {"kind": "conv2d", "in_channels": module.in_features, "out_channels": module.out_features}
            layer |= {"kernel_size": (1, 1), "output_size": (1, tokens), "groups": 1}
        layers.append({**layer, "bias": module.bias is not None})

    counted = (nn.Conv2d, nn.Linear)
    for name, module in model.named_modules():
        known = isinstance(module, (*counted, nn.modules.batchnorm._BatchNorm))
        if not known and list(module.parameters(recurse=False)):
            raise ValueError(f"{name or 'the model'} is a {type(module).__name__}, whose operations cannot be counted")
    hooks = [module.register_forward_hook(note) for module in model.modules() if isinstance(module, counted)]
    try:
        with evaluating(model):
            model(torch.zeros(1, *input_shape, dtype=dtype))
    finally:
        for hook in hooks:
            hook.remove()
    return layers


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode, without gradients; afterwards each of its modules is in the mode it had."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module in training:
            module.training = True


def measure_latency(
    function: Callable[[], Any], repeats: int = 30, warmup: int = 5, threads: int | None = 1
) -> list[float]:
    """Milliseconds of each of `repeats` calls, for `latency_summary`.

    `warmup` calls come before them and are not counted: the first calls are slow for reasons that
    never come back, as memory is allocated, kernels are chosen, caches are cold. threads: how many
    threads torch may use meanwhile; None leaves the number as it is.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        for _ in range(warmup):
            function()
        samples = []
        for _ in range(repeats):
            start = time.perf_counter()
            function()
            samples.append((time.perf_counter() - start) * 1000)
    finally:
        torch.set_num_threads(before)
    return samples


def measure_joules(
    function: Callable[[], Any], repeats: int = 100, powercap: Path = Path("/sys/class/powercap")
) -> float | None:
    """Joules of one call by the processor's own counters (RAPL, under Linux): the mean of `repeats` calls.

    Whatever else the machine does meanwhile is included. None where the counters cannot be read: another system, a
    virtual machine, or no permission (since Linux 5.10 they are root's).
    """
    packages = sorted(powercap.glob("intel-rapl:[0-9]"))  # one per socket; their parts are named intel-rapl:0:1
    if not packages:
        return None
    try:
        before = [int((package / "energy_uj").read_text()) for package in packages]
        for _ in range(repeats):
            function()
        after = [int((package / "energy_uj").read_text()) for package in packages]
        ranges = [int((package / "max_energy_range_uj").read_text()) for package in packages]
    except OSError:
        return None
    # A counter starts again from 0 after its range
    used = sum((end - start) % full for start, end, full in zip(before, after, ranges, strict=True))
    return used * 1e-6 / repeats


def kilograms_co2(joules: float, pue: float = 1.0) -> float:
    """Kilograms of CO2 equivalent of an amount of energy, with the grid of `training_co2`. On a phone pue is 1."""
    _, pounds = training_co2(power_watts=joules / JOULES_PER_KWH * 1000, hours=1, pue=pue)
    return pounds * KILOGRAMS_PER_POUND


def budget_of(model: nn.Module, inputs: Tensor, repeats: int = 30, threads: int = 1) -> dict[str, Any]:
    """The report of the later units: what a PyTorch model costs here and now.

    inputs: [batch, ...]. Returns `budget_report` of one example, by the cost model, and
    'ms', 'ms_quartiles': median and quartiles of the measured milliseconds for the whole batch, on `threads` threads;
    'kg_co2': of the cost model's joules; 'joules_measured': per batch by RAPL, None where it cannot be read.
    """
    with evaluating(model):
        median, lower, upper = latency_summary(measure_latency(lambda: model(inputs), repeats, threads=threads))
        measured = measure_joules(lambda: model(inputs), repeats)
    report = budget_report(module_layers(model, inputs.shape[1:], inputs.dtype))
    return {
        **report,
        "ms": median,
        "ms_quartiles": (lower, upper),
        "kg_co2": kilograms_co2(report["joules"]),
        "joules_measured": measured,
    }
