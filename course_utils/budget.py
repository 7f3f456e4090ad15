"""Unit 00: what a network costs, and how to measure it.

M. Horowitz, *Computing's Energy Problem (and What We Can Do About It)*, ISSCC 2014 (energy of an operation at 45 nm).
E. Strubell, A. Ganesh and A. McCallum, *Energy and Policy Considerations for Deep Learning in NLP*, ACL 2019.
A. Howard et al., *MobileNets*, arXiv:1704.04861, 2017 (depthwise-separable convolutions).

The functions down to `budget_report` are the exercises; the meter below them is what every later unit reports through.
"""

import copy
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from course_utils.models import lenet5, lenet_300_100, mlp

# Picojoules of a 32-bit operation at 45 nm (Horowitz 2014): a float32 multiplication (3.7) and addition (0.9); a word
# read from or written to a small SRAM; the same for DRAM
PICOJOULES = {"mac": 3.7 + 0.9, "sram": 5.0, "dram": 640.0}

KILOGRAMS_PER_POUND = 0.45359237
JOULES_PER_KWH = 3.6e6


def conv2d_macs(
    in_channels: int, out_channels: int, kernel_size: Sequence[int], output_size: Sequence[int], groups: int = 1
) -> int:
    """Multiply-accumulate operations (MACs) of a convolution on one image.

    kernel_size: (height, width); output_size: (height, width) of the feature map that comes out, after stride and
    padding; each a tuple or a list. groups: input and output channels are split into that many equal groups (it divides
    both), and an output channel reads only the input channels of its own group. Returns an int. A bias is no MAC.
    """
    (kernel_height, kernel_width), (height, width) = kernel_size, output_size
    # Each of the out · height · width outputs is a sum of (in / groups) · kernel_height · kernel_width products
    return out_channels * height * width * (in_channels // groups) * kernel_height * kernel_width


def linear_macs(in_features: int, out_features: int) -> int:
    """Multiply-accumulate operations (MACs) of a fully connected layer on one example, an int. A bias is no MAC."""
    # Each of the outputs is a sum of in_features products
    return in_features * out_features


def model_bytes(state: Mapping[str, Tensor], bits: int | Mapping[str, int] = 32) -> int:
    """Bytes that a network's weights take, packed without gaps.

    state: tensors by name, of any shape and dtype (a tensor without axes holds one entry). bits: how many bits an entry
    is stored with, whatever its dtype is now: one int for all tensors, or a dict by name. A name that is absent from
    the dict has 32 bits; a name in the dict that is not in the state does not matter. Returns an int: the bits of all
    tensors together, rounded up to whole bytes once.
    """
    width = {name: bits.get(name, 32) if isinstance(bits, Mapping) else bits for name in state}
    total = sum(tensor.numel() * width[name] for name, tensor in state.items())
    return (total + 7) // 8


def inference_energy(macs: float, sram_accesses: float, dram_accesses: float, picojoules: Mapping[str, float]) -> float:
    """Energy of a computation in joules, by a cost model: every operation has a price (Horowitz 2014).

    macs, sram_accesses, dram_accesses: how often each happens, not always a whole number (a mean, say). picojoules: the
    price of one, with the keys 'mac', 'sram' and 'dram', in any order. Returns joules; a picojoule is 10⁻¹² J.
    """
    # E = n_mac · e_mac + n_sram · e_sram + n_dram · e_dram
    energy = macs * picojoules["mac"] + sram_accesses * picojoules["sram"] + dram_accesses * picojoules["dram"]
    return energy * 1e-12


def training_co2(
    power_watts: float, hours: float, pue: float = 1.58, lbs_per_kwh: float = 0.954
) -> tuple[float, float]:
    """Electricity and emissions of a training run (Strubell 2019, eq. 1 and 2).

    power_watts: mean power of the hardware; hours: how long it runs. pue: the power usage effectiveness, what the data
    centre draws per watt of its computers, for cooling and so on. lbs_per_kwh: pounds of CO2 per kilowatt-hour drawn.
    Returns (kWh that the data centre draws, pounds of CO2 equivalent), not rounded.
    """
    # p = PUE · t · P / 1000
    kwh = pue * hours * power_watts / 1000
    # CO2e = 0.954 · p
    return kwh, lbs_per_kwh * kwh


def latency_summary(samples: Sequence[float]) -> tuple[float, float, float]:
    """What to report of repeated timings: the median, and the quartiles as its spread.

    samples: at least one number, in any order and unit. Returns (median, lower quartile, upper quartile), three floats
    in the unit of the samples: the percentiles 50, 25 and 75. Percentile p of n sorted samples stands at position
    p/100 · (n − 1), counted from 0; between two samples it is interpolated linearly (NumPy's default). Not rounded.
    """
    median, lower, upper = np.percentile(samples, [50, 25, 75]).tolist()
    return median, lower, upper


def budget_report(layers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What a network costs on one example, from the shapes of its layers.

    layers: one dict per layer, with all keys of its kind; sizes and groups are as in `conv2d_macs`:
      {'kind': 'conv2d', 'in_channels': int, 'out_channels': int, 'kernel_size': pair, 'output_size': pair,
      'groups': int, 'bias': bool}, or
      {'kind': 'linear', 'in_features': int, 'out_features': int, 'bias': bool}.
    ValueError for any other kind. Returns a dict of
      'parameters', an int: the weights, and where bias is True one bias per output channel (or output feature);
      'macs', an int: the multiply-accumulate operations;
      'bytes', an int: the parameters in 32 bits each;
      'joules', a float: `inference_energy` with Horowitz's prices PICOJOULES (mac 3.7 + 0.9, sram 5, dram 640), where
      each MAC reads two words from SRAM (a weight and an input), each parameter is read from DRAM once, and each value
      that a layer puts out goes to DRAM and comes back, two accesses.
    """
    parameters = macs = outputs = 0
    for layer in layers:
        if layer["kind"] == "conv2d":
            shape = [layer[key] for key in ("in_channels", "out_channels", "kernel_size", "output_size", "groups")]
            channels, positions = layer["out_channels"], layer["output_size"][0] * layer["output_size"][1]
            layer_macs = conv2d_macs(*shape)
        elif layer["kind"] == "linear":
            channels, positions = layer["out_features"], 1
            layer_macs = linear_macs(layer["in_features"], layer["out_features"])
        else:
            raise ValueError(f"a layer of kind {layer['kind']!r}: only 'conv2d' and 'linear' can be counted")
        macs += layer_macs
        # Every weight takes part in one MAC at each position of the output
        parameters += layer_macs // positions + (channels if layer["bias"] else 0)
        outputs += channels * positions
    joules = inference_energy(macs, 2 * macs, parameters + 2 * outputs, PICOJOULES)
    return {"parameters": parameters, "macs": macs, "bytes": 4 * parameters, "joules": joules}


# --- The meter --------------------------------------------------------------------------------------------------------


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
    """Milliseconds of each of `repeats` calls, after `warmup` calls that are not counted, for `latency_summary`.

    The first calls are slow for reasons that never come back: memory is allocated, kernels are chosen, caches are cold.
    threads: how many threads torch may use meanwhile; None leaves the number as it is.
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
    packages = sorted(
        powercap.glob("intel-rapl:[0-9]")
    )  # one per socket; their parts have names such as intel-rapl:0:1
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
    return used * 1e-6 / repeats if packages else None


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


# --- The networks that the lecture and the lab compare ----------------------------------------------------------------


def separable_block(in_channels: int, out_channels: int, stride: int = 1) -> list[nn.Module]:
    """A depthwise 3×3 convolution, then a pointwise 1×1 one, each with its ReLU (Howard 2017, section 3.1)."""
    return [
        nn.Conv2d(in_channels, in_channels, 3, stride=stride, padding=1, groups=in_channels),
        nn.ReLU(),
        nn.Conv2d(in_channels, out_channels, 1),
        nn.ReLU(),
    ]


def six_networks() -> dict[str, nn.Module]:
    """Six small networks for 28×28 images by name, with random weights: what they cost does not depend on them."""
    channels = 32
    stem = [nn.Conv2d(1, channels, 3, padding=1), nn.ReLU()]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * channels, 10)]
    full = [nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU()]
    full += [nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1), nn.ReLU()]
    separable = [*separable_block(channels, channels), *separable_block(channels, 2 * channels, stride=2)]
    return {
        "LeNet-300-100": lenet_300_100(),
        "wide MLP": mlp(784, 1200, 1200, 10),
        "deep MLP": mlp(784, *[64] * 24, 10),
        "LeNet-5": lenet5(),
        "convolutions": nn.Sequential(*stem, *full, *head),
        "separable": nn.Sequential(*copy.deepcopy(stem), *separable, *copy.deepcopy(head)),
    }
