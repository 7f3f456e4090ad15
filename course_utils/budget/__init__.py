"""Unit 00: what a network costs, and how to measure it.

M. Horowitz, *Computing's Energy Problem (and What We Can Do About It)*, ISSCC 2014 (energy of an operation at 45 nm).
E. Strubell, A. Ganesh and A. McCallum, *Energy and Policy Considerations for Deep Learning in NLP*, ACL 2019.
A. Howard et al., *MobileNets*, arXiv:1704.04861, 2017 (depthwise-separable convolutions).

`meter.py` measures with these functions what every later unit reports; `networks.py` holds what the lecture compares.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

# Picojoules of a 32-bit operation at 45 nm (Horowitz 2014): a float32 multiplication (3.7) and
# addition (0.9); a word read from or written to a small SRAM; the same for DRAM
PICOJOULES = {"mac": 3.7 + 0.9, "sram": 5.0, "dram": 640.0}

KILOGRAMS_PER_POUND = 0.45359237
JOULES_PER_KWH = 3.6e6


def conv2d_macs(
    in_channels: int,
    out_channels: int,
    kernel_size: Sequence[int],
    output_size: Sequence[int],
    groups: int = 1,
) -> int:
    """Multiply-accumulate operations (MACs) of a convolution on one image.

    kernel_size: (height, width); output_size: (height, width) of the feature map that comes
    out, after stride and padding; each a tuple or a list, not always both alike. groups:
    input and output channels are split into that many equal groups (it divides both), and
    an output channel reads only the input channels of its own group. Returns an int. A bias
    is no MAC.
    """
    (kernel_height, kernel_width), (height, width) = kernel_size, output_size
    # Each output is a sum of (in / groups) · kernel_height · kernel_width products
    products = in_channels // groups * kernel_height * kernel_width
    return out_channels * height * width * products


def linear_macs(in_features: int, out_features: int) -> int:
    """Multiply-accumulate operations (MACs) of a fully connected layer on one example.

    Returns an int. A bias is no MAC.
    """
    # Each of the outputs is a sum of in_features products
    return in_features * out_features


def model_bytes(state: Mapping[str, Tensor], bits: int | Mapping[str, int] = 32) -> int:
    """Bytes that a network's weights take, packed without gaps.

    state: tensors by name, of any shape and dtype (a tensor without axes holds one entry);
    it may be empty. bits: how many bits an entry is stored with, 0 or more, whatever its
    dtype is now: one int for all tensors, or a dict by name. A name that is absent from the
    dict has 32 bits; a name in the dict that is not in the state does not matter. Returns
    an int: the bits of all tensors together, rounded up to whole bytes once.
    """
    widths = bits if isinstance(bits, Mapping) else dict.fromkeys(state, bits)
    total = sum(tensor.numel() * widths.get(name, 32) for name, tensor in state.items())
    return (total + 7) // 8


def inference_energy(
    macs: float,
    sram_accesses: float,
    dram_accesses: float,
    picojoules: Mapping[str, float],
) -> float:
    """Energy of a computation in joules: every operation has a price (Horowitz 2014).

    macs, sram_accesses, dram_accesses: how often each happens, not always a whole number (a
    mean, say). picojoules: the price of one, 0 or more, with the keys 'mac', 'sram' and
    'dram', in any order. Returns joules; a picojoule is 10⁻¹² J.
    """
    # E = n_mac · e_mac + n_sram · e_sram + n_dram · e_dram
    counts = {"mac": macs, "sram": sram_accesses, "dram": dram_accesses}
    return sum(count * picojoules[kind] for kind, count in counts.items()) * 1e-12


def training_co2(
    power_watts: float, hours: float, pue: float = 1.58, lbs_per_kwh: float = 0.954
) -> tuple[float, float]:
    """Electricity and emissions of a training run (Strubell 2019, eq. 1 and 2).

    power_watts: mean power of the hardware; hours: how long it runs. pue: the power usage
    effectiveness, what the data centre draws per watt of its computers, for cooling and so
    on. lbs_per_kwh: pounds of CO2 per kilowatt-hour drawn. Each is 0 or more. Returns (kWh
    that the data centre draws, pounds of CO2 equivalent), not rounded.
    """
    # p = PUE · t · P / 1000
    kwh = pue * hours * power_watts / 1000
    # CO2e = 0.954 · p
    return kwh, lbs_per_kwh * kwh


def latency_summary(samples: Sequence[float]) -> tuple[float, float, float]:
    """What to report of repeated timings: the median, and the quartiles as its spread.

    samples: at least one number, in any order and unit. Returns (median, lower quartile,
    upper quartile), three numbers in the unit of the samples: the percentiles 50, 25 and
    75. Percentile p of n sorted samples stands at position p/100 · (n − 1), counted from 0;
    between two samples it is interpolated linearly (NumPy's default). Every sample counts,
    and nothing is rounded: Python's floats are float64.
    """
    median, lower, upper = np.percentile(samples, [50, 25, 75]).tolist()
    return median, lower, upper


def budget_report(layers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What a network costs on one example, from the shapes of its layers.

    layers: one dict per layer, with all keys of its kind; sizes and groups are as in
    `conv2d_macs`:
      {'kind': 'conv2d', 'in_channels': int, 'out_channels': int, 'kernel_size': pair,
      'output_size': pair, 'groups': int, 'bias': bool}, or
      {'kind': 'linear', 'in_features': int, 'out_features': int, 'bias': bool}.
    ValueError for any other kind ('Linear', 'linear '). No layers cost nothing.
    Returns a dict of
      'parameters', an int: the weights, and where bias is True one bias per output channel
      (or output feature);
      'macs', an int: the multiply-accumulate operations;
      'bytes', an int: the parameters in 32 bits each;
      'joules', a number: `inference_energy` with Horowitz's prices PICOJOULES (mac 3.7 +
      0.9, sram 5, dram 640), where each MAC reads two words from SRAM (a weight and an
      input), each parameter is read from DRAM once, and each value that a layer puts out
      goes to DRAM and comes back, two accesses.
    """
    parameters = macs = outputs = 0
    for layer in layers:
        if layer["kind"] == "conv2d":
            shape = {key: layer[key] for key in layer if key not in ("kind", "bias")}
            height, width = layer["output_size"]
            channels, positions = layer["out_channels"], height * width
            layer_macs = conv2d_macs(**shape)
        elif layer["kind"] == "linear":
            channels, positions = layer["out_features"], 1
            layer_macs = linear_macs(layer["in_features"], layer["out_features"])
        else:
            raise ValueError(f"a layer of kind {layer['kind']!r}, not 'conv2d' or 'linear'")
        macs += layer_macs
        # Every weight takes part in one MAC at each position of the output
        parameters += layer_macs // positions + (channels if layer["bias"] else 0)
        outputs += channels * positions
    joules = inference_energy(macs, 2 * macs, parameters + 2 * outputs, PICOJOULES)
    return {
        "parameters": parameters,
        "macs": macs,
        "bytes": 4 * parameters,
        "joules": joules,
    }


# What is built on these functions, and belongs to the unit as well
from course_utils.budget.meter import (
    budget_of,
    evaluating,
    kilograms_co2,
    measure_joules,
    measure_latency,
    module_layers,
)
from course_utils.budget.networks import published_classifiers, published_networks, separable_block, six_networks
