"""Mutants and right variants of unit 00."""

import functools
import math
import operator
import statistics
from fractions import Fraction

import numpy as np
import torch
from torch import nn

from course_utils import budget
from tests.checks.catalogue import mutant, right

EQUIVALENT = {
    "latency_summary: np.percentile(samples, [50, 25, 75]).tolist() -> np.percentile(samples, [50, 25, 75])": (
        "NumPy's floats are numbers too"
    ),
}

# --- 0.1a conv2d_macs -------------------------------------------------------------------------------------------------


@right("0.1a")
def macs_by_product(in_channels, out_channels, kernel_size, output_size, groups=1):
    return math.prod([*kernel_size, *output_size, in_channels, out_channels]) // groups


@right("0.1a")
def macs_from_weights(in_channels, out_channels, kernel_size, output_size, groups=1):
    weight = torch.empty(out_channels, in_channels // groups, *kernel_size, device="meta")
    return weight.numel() * output_size[0] * output_size[1]


@right("0.1a")
def macs_group_by_group(in_channels, out_channels, kernel_size, output_size, groups=1):
    total = 0
    for _ in range(groups):
        total += (in_channels // groups) * (out_channels // groups) * math.prod(kernel_size) * math.prod(output_size)
    return total


@mutant("0.1a", "groups ignored")
def macs_without_groups(in_channels, out_channels, kernel_size, output_size, groups=1):
    return math.prod([*kernel_size, *output_size, in_channels, out_channels])


@mutant("0.1a", "one group counted instead of all: inputs and outputs divided")
def macs_groups_squared(in_channels, out_channels, kernel_size, output_size, groups=1):
    return math.prod([*kernel_size, *output_size, in_channels // groups, out_channels // groups])


@mutant("0.1a", "multiplied by groups")
def macs_times_groups(in_channels, out_channels, kernel_size, output_size, groups=1):
    return math.prod([*kernel_size, *output_size, in_channels, out_channels]) * groups


@mutant("0.1a", "one side of the output squared")
def macs_square_output(in_channels, out_channels, kernel_size, output_size, groups=1):
    return math.prod([*kernel_size, output_size[0] ** 2, in_channels, out_channels]) // groups


@mutant("0.1a", "the other side of the output squared")
def macs_square_width(in_channels, out_channels, kernel_size, output_size, groups=1):
    return math.prod([*kernel_size, output_size[1] ** 2, in_channels, out_channels]) // groups


@mutant("0.1a", "one side of the kernel squared")
def macs_square_kernel(in_channels, out_channels, kernel_size, output_size, groups=1):
    return math.prod([kernel_size[0] ** 2, *output_size, in_channels, out_channels]) // groups


@mutant("0.1a", "weights counted, not where they are applied")
def macs_weights(in_channels, out_channels, kernel_size, output_size, groups=1):
    return math.prod([*kernel_size, in_channels, out_channels]) // groups


@mutant("0.1a", "bias counted")
def macs_with_bias(in_channels, out_channels, kernel_size, output_size, groups=1):
    return (math.prod(kernel_size) * in_channels // groups + 1) * out_channels * math.prod(output_size)


@mutant("0.1a", "FLOPs for MACs")
def macs_as_flops(in_channels, out_channels, kernel_size, output_size, groups=1):
    return 2 * math.prod([*kernel_size, *output_size, in_channels, out_channels]) // groups


@mutant("0.1a", "the size of the input instead of the output's")
def macs_input_size(in_channels, out_channels, kernel_size, output_size, groups=1):
    size = [out + k - 1 for out, k in zip(output_size, kernel_size, strict=True)]
    return math.prod([*kernel_size, *size, in_channels, out_channels]) // groups


@mutant("0.1a", "a float")
def macs_float(in_channels, out_channels, kernel_size, output_size, groups=1):
    return math.prod([*kernel_size, *output_size, in_channels, out_channels]) / groups


@mutant("0.1a", "an int that was a float: inexact when large")
def macs_rounded(in_channels, out_channels, kernel_size, output_size, groups=1):
    return int(math.prod([*kernel_size, *output_size, in_channels, out_channels]) / groups)


@mutant("0.1a", "groups has no default")
def macs_no_default(in_channels, out_channels, kernel_size, output_size, groups):
    return math.prod([*kernel_size, *output_size, in_channels, out_channels]) // groups


@mutant("0.1a", "depthwise taken as soon as there are groups")
def macs_depthwise(in_channels, out_channels, kernel_size, output_size, groups=1):
    per_output = in_channels if groups == 1 else 1
    return math.prod([*kernel_size, *output_size, per_output, out_channels])


@mutant("0.1a", "additions counted: one fewer than products")
def macs_additions(in_channels, out_channels, kernel_size, output_size, groups=1):
    return (math.prod(kernel_size) * in_channels // groups - 1) * out_channels * math.prod(output_size)


@mutant("0.1a", "pairs must be tuples: a list is taken for one side")
def macs_tuples_only(in_channels, out_channels, kernel_size, output_size, groups=1):
    kernel = kernel_size if isinstance(kernel_size, tuple) else (kernel_size, kernel_size)
    return in_channels // groups * out_channels * kernel[0] * kernel[1] * math.prod(output_size)


@mutant("0.1a", "a 1 × 1 convolution taken as a linear layer")
def macs_pointwise(in_channels, out_channels, kernel_size, output_size, groups=1):
    positions = 1 if tuple(kernel_size) == (1, 1) else math.prod(output_size)
    return math.prod(kernel_size) * positions * in_channels * out_channels // groups


@mutant("0.1a", "the product is counted in 32 bits")
def macs_in_32_bits(in_channels, out_channels, kernel_size, output_size, groups=1):
    sizes = [in_channels // groups, out_channels, *kernel_size, *output_size]
    return int(np.prod(np.array(sizes, dtype=np.int32), dtype=np.int32))


@mutant("0.1a", "the product is a float32")
def macs_in_float32(in_channels, out_channels, kernel_size, output_size, groups=1):
    return int(torch.tensor([in_channels // groups, out_channels, *kernel_size, *output_size]).float().prod())


@mutant("0.1a", "any groups are taken for depthwise")
def macs_depthwise_or_dense(in_channels, out_channels, kernel_size, output_size, groups=1):
    return out_channels * (in_channels if groups == 1 else 1) * math.prod([*kernel_size, *output_size])


@mutant("0.1a", "kernel and output sizes must be of the same type")
def macs_of_one_sequence(in_channels, out_channels, kernel_size, output_size, groups=1):
    return in_channels // groups * out_channels * math.prod(kernel_size + output_size)


@right("0.1a")
def macs_side_by_side(in_channels, out_channels, kernel_size, output_size, groups=1):
    one_group = (in_channels // groups) * (out_channels // groups) * math.prod([*kernel_size, *output_size])
    return sum(one_group for _ in range(groups))


# --- 0.1b linear_macs -------------------------------------------------------------------------------------------------


@right("0.1b")
def linear_from_weight(in_features, out_features):
    return nn.Linear(in_features, out_features, bias=False, device="meta").weight.numel()


@right("0.1b")
def linear_commuted(in_features, out_features):
    return out_features * in_features


@mutant("0.1b", "bias counted as a product")
def linear_with_bias(in_features, out_features):
    return (in_features + 1) * out_features


@mutant("0.1b", "bias counted at the inputs")
def linear_bias_inputs(in_features, out_features):
    return in_features * (out_features + 1)


@mutant("0.1b", "FLOPs for MACs")
def linear_flops(in_features, out_features):
    return 2 * in_features * out_features


@mutant("0.1b", "additions counted: one fewer than products")
def linear_additions(in_features, out_features):
    return (in_features - 1) * out_features


@mutant("0.1b", "sum for product")
def linear_sum(in_features, out_features):
    return in_features + out_features


@mutant("0.1b", "outputs only")
def linear_outputs(in_features, out_features):
    return out_features


@mutant("0.1b", "a float")
def linear_float(in_features, out_features):
    return float(in_features * out_features)


@mutant("0.1b", "an int that was a float: inexact when large")
def linear_rounded(in_features, out_features):
    return int(float(in_features) * out_features)


@mutant("0.1b", "the product is counted in 32 bits")
def linear_macs_in_32_bits(in_features, out_features):
    with np.errstate(over="ignore"):
        return int(np.multiply(np.int32(in_features), np.int32(out_features)))


@mutant("0.1b", "the product is a float32")
def linear_macs_in_float32(in_features, out_features):
    return int(torch.tensor(float(in_features)) * out_features)


@mutant("0.1b", "the product is a float64")
def linear_macs_in_float64(in_features, out_features):
    return int(1e0 * in_features * out_features)


@right("0.1b")
def linear_macs_of_a_meta_weight(in_features, out_features):
    return torch.empty(out_features, in_features, device="meta").numel()


# --- 0.2 model_bytes --------------------------------------------------------------------------------------------------


def widths(state, bits):
    return {name: bits.get(name, 32) if isinstance(bits, dict) else bits for name in state}


@right("0.2")
def bytes_ceil(state, bits=32):
    names = bits if isinstance(bits, dict) else dict.fromkeys(state, bits)
    return math.ceil(sum(math.prod(t.shape) * names.get(name, 32) for name, t in state.items()) / 8)


@right("0.2")
def bytes_by_divmod(state, bits=32):
    whole, rest = divmod(sum(t.numel() * widths(state, bits)[name] for name, t in state.items()), 8)
    return whole + (rest > 0)


@mutant("0.2", "rounded up tensor by tensor")
def bytes_per_tensor(state, bits=32):
    return sum((t.numel() * widths(state, bits)[name] + 7) // 8 for name, t in state.items())


@mutant("0.2", "rounded up entry by entry")
def bytes_per_entry(state, bits=32):
    return sum(t.numel() * ((widths(state, bits)[name] + 7) // 8) for name, t in state.items())


@mutant("0.2", "rounded down")
def bytes_floor(state, bits=32):
    return sum(t.numel() * widths(state, bits)[name] for name, t in state.items()) // 8


@mutant("0.2", "rounded to the nearest")
def bytes_round(state, bits=32):
    return round(sum(t.numel() * widths(state, bits)[name] for name, t in state.items()) / 8)


@mutant("0.2", "one byte too many where 8 divides")
def bytes_plus_one(state, bits=32):
    return sum(t.numel() * widths(state, bits)[name] for name, t in state.items()) // 8 + 1


@mutant("0.2", "not rounded: a float")
def bytes_float(state, bits=32):
    return sum(t.numel() * widths(state, bits)[name] for name, t in state.items()) / 8


@mutant("0.2", "bits, not bytes")
def bits_not_bytes(state, bits=32):
    return sum(t.numel() * widths(state, bits)[name] for name, t in state.items())


@mutant("0.2", "absent names left out")
def bytes_absent_free(state, bits=32):
    total = sum(t.numel() * (bits.get(n, 0) if isinstance(bits, dict) else bits) for n, t in state.items())
    return (total + 7) // 8


@mutant("0.2", "absent names are an error")
def bytes_absent_error(state, bits=32):
    total = sum(t.numel() * (bits[n] if isinstance(bits, dict) else bits) for n, t in state.items())
    return (total + 7) // 8


@mutant("0.2", "absent names have 8 bits")
def bytes_absent_eight(state, bits=32):
    total = sum(t.numel() * (bits.get(n, 8) if isinstance(bits, dict) else bits) for n, t in state.items())
    return (total + 7) // 8


@mutant("0.2", "unknown names are an error")
def bytes_unknown_error(state, bits=32):
    names = dict.fromkeys(state, 32) | (bits if isinstance(bits, dict) else dict.fromkeys(state, bits))
    return (sum(state[name].numel() * width for name, width in names.items()) + 7) // 8


@mutant("0.2", "0 bits taken for no entry")
def bytes_zero_bits(state, bits=32):
    total = sum(t.numel() * ((bits.get(n) or 32) if isinstance(bits, dict) else bits) for n, t in state.items())
    return (total + 7) // 8


@mutant("0.2", "the widest of the given widths for all tensors")
def bytes_one_width(state, bits=32):
    width = max([*bits.values(), 32]) if isinstance(bits, dict) else bits
    return (sum(t.numel() for t in state.values()) * width + 7) // 8


@mutant("0.2", "the dtype's bits")
def bytes_by_dtype(state, bits=32):
    return sum(t.numel() * t.element_size() for t in state.values())


@mutant("0.2", "the dtype's bits where the dict is silent")
def bytes_dtype_default(state, bits=32):
    own = {name: 8 * t.element_size() for name, t in state.items()}
    names = own | bits if isinstance(bits, dict) else dict.fromkeys(state, bits)
    return (sum(t.numel() * names[name] for name, t in state.items()) + 7) // 8


@mutant("0.2", "zeros not counted")
def bytes_nonzero(state, bits=32):
    return (sum(int(t.count_nonzero()) * widths(state, bits)[name] for name, t in state.items()) + 7) // 8


@mutant("0.2", "the first axis for all entries")
def bytes_first_axis(state, bits=32):
    return (sum((t.shape or [1])[0] * widths(state, bits)[name] for name, t in state.items()) + 7) // 8


@mutant("0.2", "biases left out")
def bytes_weights_only(state, bits=32):
    return (sum(t.numel() * widths(state, bits)[n] for n, t in state.items() if not n.endswith("bias")) + 7) // 8


@mutant("0.2", "tensors without axes left out")
def bytes_no_scalars(state, bits=32):
    return (sum(t.numel() * widths(state, bits)[n] for n, t in state.items() if t.ndim) + 7) // 8


@mutant("0.2", "fills the caller's dict")
def bytes_fills_dict(state, bits=32):
    if isinstance(bits, dict):
        for name in state:
            bits.setdefault(name, 32)
    return (sum(t.numel() * widths(state, bits)[name] for name, t in state.items()) + 7) // 8


@mutant("0.2", "the dtype's bits unless bits are given")
def bytes_dtype_unless_given(state, bits=None):
    if bits is None:
        return sum(t.numel() * t.element_size() for t in state.values())
    return (sum(t.numel() * widths(state, bits)[name] for name, t in state.items()) + 7) // 8


@mutant("0.2", "32 bits taken as: leave the dtype")
def bytes_dtype_at_32(state, bits=32):
    return bytes_dtype_unless_given(state, None if bits == 32 else bits)


@mutant("0.2", "only what is called weight or bias")
def bytes_weights_and_biases(state, bits=32):
    return bytes_dtype_unless_given({n: t for n, t in state.items() if "weight" in n or "bias" in n}, bits)


@mutant("0.2", "the buffers of batch normalization left out")
def bytes_no_buffers(state, bits=32):
    return bytes_dtype_unless_given({n: t for n, t in state.items() if "num_batches" not in n}, bits)


@mutant("0.2", "integer tensors left out")
def bytes_no_integers(state, bits=32):
    return bytes_dtype_unless_given({n: t for n, t in state.items() if t.dtype != torch.int64}, bits)


@mutant("0.2", "a part of the name is enough")
def bytes_part_of_name(state, bits=32):
    if isinstance(bits, dict):
        bits = {name: next((width for part, width in bits.items() if part in name), 32) for name in state}
    return bytes_dtype_unless_given(state, bits)


@mutant("0.2", "the layer's bits for all of its tensors: the start of the name is enough")
def bytes_start_of_name(state, bits=32):
    if isinstance(bits, dict):
        bits = {name: next((width for part, width in bits.items() if name.startswith(part)), 32) for name in state}
    return bytes_dtype_unless_given(state, bits)


@mutant("0.2", "whole bytes above 8 bits")
def bytes_whole_above_eight(state, bits=32):
    rounded = {name: width if width <= 8 else -(-width // 8) * 8 for name, width in widths(state, bits).items()}
    return bytes_dtype_unless_given(state, rounded)


@mutant("0.2", "rounded up in float32: inexact when large")
def bytes_float32(state, bits=32):
    return int(torch.tensor(sum(t.numel() * widths(state, bits)[name] for name, t in state.items()) / 8).ceil())


@mutant("0.2", "a tensor of 0 bits has 32")
def bytes_zero_bits_are_missing(state, bits=32):
    width = {name: (bits.get(name) if isinstance(bits, dict) else bits) or 32 for name in state}
    return math.ceil(sum(tensor.numel() * width[name] for name, tensor in state.items()) / 8)


@mutant("0.2", "the bits of a name hold for all that begin with it")
def bytes_by_prefix(state, bits=32):
    def width(name):
        if isinstance(bits, int):
            return bits
        return next((wide for key, wide in bits.items() if name.startswith(key)), 32)

    return (sum(tensor.numel() * width(name) for name, tensor in state.items()) + 7) // 8


@mutant("0.2", "names are compared without case")
def bytes_without_case(state, bits=32):
    if isinstance(bits, dict):
        by_name = {name.lower(): wide for name, wide in bits.items()}
    else:
        by_name = {name.lower(): bits for name in state}
    return (sum(tensor.numel() * by_name.get(name.lower(), 32) for name, tensor in state.items()) + 7) // 8


@mutant("0.2", "the sum is a float32")
def bytes_in_float32(state, bits=32):
    total = torch.tensor(0.0)
    for name, tensor in state.items():
        total += tensor.numel() * (bits.get(name, 32) if isinstance(bits, dict) else bits)
    return int((total / 8).ceil())


@mutant("0.2", "a state without tensors is an error")
def bytes_of_something(state, bits=32):
    sizes = torch.stack([torch.tensor(tensor.numel()) for tensor in state.values()])
    widths = torch.tensor([bits.get(name, 32) if isinstance(bits, dict) else bits for name in state])
    return (int((sizes * widths).sum()) + 7) // 8


@right("0.2")
def bytes_as_a_fraction(state, bits=32):
    widths = dict.fromkeys(state, 32) | (bits if isinstance(bits, dict) else dict.fromkeys(state, bits))
    return math.ceil(sum((Fraction(state[name].numel() * widths[name], 8) for name in state), Fraction(0)))


# --- 0.3 inference_energy ---------------------------------------------------------------------------------------------


@right("0.3")
def energy_dot(macs, sram_accesses, dram_accesses, picojoules):
    return float(np.dot([macs, sram_accesses, dram_accesses], [picojoules[k] for k in ("mac", "sram", "dram")])) / 1e12


@right("0.3")
def energy_terms_converted(macs, sram_accesses, dram_accesses, picojoules):
    counts = {"mac": macs, "sram": sram_accesses, "dram": dram_accesses}
    return math.fsum(count * (picojoules[kind] * 1e-12) for kind, count in counts.items())


@mutant("0.3", "picojoules not converted")
def energy_picojoules(macs, sram_accesses, dram_accesses, picojoules):
    return macs * picojoules["mac"] + sram_accesses * picojoules["sram"] + dram_accesses * picojoules["dram"]


@mutant("0.3", "nano for pico")
def energy_nano(macs, sram_accesses, dram_accesses, picojoules):
    return energy_picojoules(macs, sram_accesses, dram_accesses, picojoules) * 1e-9


@mutant("0.3", "multiplied by 10¹²")
def energy_times(macs, sram_accesses, dram_accesses, picojoules):
    return energy_picojoules(macs, sram_accesses, dram_accesses, picojoules) * 1e12


@mutant("0.3", "prices by their order in the dict")
def energy_by_order(macs, sram_accesses, dram_accesses, picojoules):
    counts = (macs, sram_accesses, dram_accesses)
    return sum(n * price for n, price in zip(counts, picojoules.values(), strict=True)) * 1e-12


@mutant("0.3", "SRAM at DRAM's price and the reverse")
def energy_swapped(macs, sram_accesses, dram_accesses, picojoules):
    return energy_picojoules(macs, dram_accesses, sram_accesses, picojoules) * 1e-12


@mutant("0.3", "SRAM forgotten")
def energy_no_sram(macs, sram_accesses, dram_accesses, picojoules):
    return (macs * picojoules["mac"] + dram_accesses * picojoules["dram"]) * 1e-12


@mutant("0.3", "a MAC priced twice, as multiplication and addition")
def energy_double_mac(macs, sram_accesses, dram_accesses, picojoules):
    return energy_picojoules(2 * macs, sram_accesses, dram_accesses, picojoules) * 1e-12


@mutant("0.3", "memory read once for each MAC")
def energy_per_mac(macs, sram_accesses, dram_accesses, picojoules):
    return macs * sum(picojoules.values()) * 1e-12


@mutant("0.3", "only the last term converted")
def energy_last_converted(macs, sram_accesses, dram_accesses, picojoules):
    return macs * picojoules["mac"] + sram_accesses * picojoules["sram"] + dram_accesses * picojoules["dram"] * 1e-12


@mutant("0.3", "rounded")
def energy_rounded(macs, sram_accesses, dram_accesses, picojoules):
    return round(energy_picojoules(macs, sram_accesses, dram_accesses, picojoules) * 1e-12, 9)


@mutant("0.3", "whole joules")
def energy_floor(macs, sram_accesses, dram_accesses, picojoules):
    return energy_picojoules(macs, sram_accesses, dram_accesses, picojoules) // 10**12


@mutant("0.3", "Horowitz's prices, whatever is given")
def energy_fixed_prices(macs, sram_accesses, dram_accesses, picojoules):
    return (macs * 4.6 + sram_accesses * 5 + dram_accesses * 640) * 1e-12


@mutant("0.3", "converts the caller's prices")
def energy_in_place(macs, sram_accesses, dram_accesses, picojoules):
    for kind in picojoules:
        picojoules[kind] *= 1e-12
    return energy_picojoules(macs, sram_accesses, dram_accesses, picojoules)


@mutant("0.3", "whole SRAM accesses")
def energy_whole_sram(macs, sram_accesses, dram_accesses, picojoules):
    return energy_picojoules(macs, int(sram_accesses), dram_accesses, picojoules) * 1e-12


@mutant("0.3", "whole DRAM accesses")
def energy_whole_dram(macs, sram_accesses, dram_accesses, picojoules):
    return energy_picojoules(macs, sram_accesses, int(dram_accesses), picojoules) * 1e-12


@mutant("0.3", "a tensor")
def energy_tensor(macs, sram_accesses, dram_accesses, picojoules):
    return torch.tensor(energy_picojoules(macs, sram_accesses, dram_accesses, picojoules) * 1e-12)


@mutant("0.3", "a price of 0 is taken for missing")
def energy_zero_price_is_missing(macs, sram_accesses, dram_accesses, picojoules):
    counts = {"mac": macs, "sram": sram_accesses, "dram": dram_accesses}
    usual = {"mac": 4.6, "sram": 5.0, "dram": 640.0}
    return 1e-12 * sum(count * (picojoules.get(key) or usual[key]) for key, count in counts.items())


@mutant("0.3", "without MACs there is no energy")
def energy_needs_macs(macs, sram_accesses, dram_accesses, picojoules):
    if not macs:
        return 0.0
    counts = (macs, sram_accesses, dram_accesses)
    return 1e-12 * sum(count * picojoules[key] for count, key in zip(counts, ("mac", "sram", "dram"), strict=True))


@mutant("0.3", "whole picojoules")
def energy_in_whole_picojoules(macs, sram_accesses, dram_accesses, picojoules):
    counts = (macs, sram_accesses, dram_accesses)
    total = sum(count * picojoules[key] for count, key in zip(counts, ("mac", "sram", "dram"), strict=True))
    return round(total) * 1e-12


@right("0.3")
def energy_as_a_dot_product(macs, sram_accesses, dram_accesses, picojoules):
    prices = np.array([picojoules[key] for key in ("dram", "mac", "sram")], dtype=np.float64)
    return float(prices @ np.array([dram_accesses, macs, sram_accesses], dtype=np.float64)) / 1e12


# --- 0.4 training_co2 -------------------------------------------------------------------------------------------------


@right("0.4")
def co2_in_kilowatts(power_watts, hours, pue=1.58, lbs_per_kwh=0.954):
    drawn = (power_watts / 1000) * pue
    return drawn * hours, drawn * hours * lbs_per_kwh


@right("0.4")
def co2_in_joules(power_watts, hours, pue=1.58, lbs_per_kwh=0.954):
    kwh = power_watts * hours * 3600 / 3.6e6 * pue
    return [kwh, kwh * lbs_per_kwh]


@mutant("0.4", "PUE forgotten")
def co2_without_pue(power_watts, hours, pue=1.58, lbs_per_kwh=0.954):
    kwh = power_watts * hours / 1000
    return kwh, kwh * lbs_per_kwh


@mutant("0.4", "PUE in the emissions only")
def co2_pue_late(power_watts, hours, pue=1.58, lbs_per_kwh=0.954):
    kwh = power_watts * hours / 1000
    return kwh, kwh * pue * lbs_per_kwh


@mutant("0.4", "PUE in the electricity only")
def co2_pue_early(power_watts, hours, pue=1.58, lbs_per_kwh=0.954):
    kwh = power_watts * hours / 1000
    return kwh * pue, kwh * lbs_per_kwh


@mutant("0.4", "PUE twice in the emissions")
def co2_pue_twice(power_watts, hours, pue=1.58, lbs_per_kwh=0.954):
    kwh = pue * power_watts * hours / 1000
    return kwh, pue * kwh * lbs_per_kwh


@mutant("0.4", "divided by PUE")
def co2_over_pue(power_watts, hours, pue=1.58, lbs_per_kwh=0.954):
    kwh = power_watts * hours / 1000 / pue
    return kwh, kwh * lbs_per_kwh


@mutant("0.4", "watt-hours for kilowatt-hours")
def co2_watt_hours(power_watts, hours, pue=1.58, lbs_per_kwh=0.954):
    return pue * power_watts * hours, pue * power_watts * hours * lbs_per_kwh


@mutant("0.4", "kilograms for pounds")
def co2_kilograms(power_watts, hours, pue=1.58, lbs_per_kwh=0.954):
    kwh = pue * power_watts * hours / 1000
    return kwh, kwh * lbs_per_kwh * 0.45359237


@mutant("0.4", "emissions first")
def co2_swapped(power_watts, hours, pue=1.58, lbs_per_kwh=0.954):
    kwh = pue * power_watts * hours / 1000
    return kwh * lbs_per_kwh, kwh


@mutant("0.4", "divided by the pounds per kWh")
def co2_divided(power_watts, hours, pue=1.58, lbs_per_kwh=0.954):
    kwh = pue * power_watts * hours / 1000
    return kwh, kwh / lbs_per_kwh


@mutant("0.4", "rounded as in the table")
def co2_rounded(power_watts, hours, pue=1.58, lbs_per_kwh=0.954):
    kwh = pue * power_watts * hours / 1000
    return round(kwh), round(kwh * lbs_per_kwh)


@mutant("0.4", "rounded to cents")
def co2_two_digits(power_watts, hours, pue=1.58, lbs_per_kwh=0.954):
    kwh = pue * power_watts * hours / 1000
    return round(kwh, 2), round(kwh * lbs_per_kwh, 2)


@mutant("0.4", "whole kilowatts")
def co2_floor(power_watts, hours, pue=1.58, lbs_per_kwh=0.954):
    kwh = pue * hours * power_watts // 1000
    return kwh, kwh * lbs_per_kwh


@mutant("0.4", "defaults, whatever is given")
def co2_constants(power_watts, hours, pue=1.58, lbs_per_kwh=0.954):
    kwh = 1.58 * power_watts * hours / 1000
    return kwh, kwh * 0.954


@mutant("0.4", "another default PUE")
def co2_other_default(power_watts, hours, pue=1.0, lbs_per_kwh=0.954):
    kwh = pue * power_watts * hours / 1000
    return kwh, kwh * lbs_per_kwh


@mutant("0.4", "emissions only")
def co2_one_result(power_watts, hours, pue=1.58, lbs_per_kwh=0.954):
    return pue * power_watts * hours / 1000 * lbs_per_kwh


@mutant("0.4", "lbs_per_kwh of 0 is taken for missing")
def co2_zero_is_missing(power_watts, hours, pue=1.58, lbs_per_kwh=0.954):
    kwh = pue * hours * power_watts / 1000
    return kwh, kwh * (lbs_per_kwh or 0.954)


@mutant("0.4", "a pue of 0 is taken for missing")
def co2_zero_pue_is_missing(power_watts, hours, pue=1.58, lbs_per_kwh=0.954):
    kwh = (pue or 1.58) * hours * power_watts / 1000
    return kwh, kwh * lbs_per_kwh


@mutant("0.4", "thousandths of a kilowatt-hour")
def co2_to_three_digits(power_watts, hours, pue=1.58, lbs_per_kwh=0.954):
    kwh = round(pue * hours * power_watts / 1000, 3)
    return kwh, lbs_per_kwh * kwh


@mutant("0.4", "at least the power of the hardware is drawn")
def co2_of_a_plausible_pue(power_watts, hours, pue=1.58, lbs_per_kwh=0.954):
    kwh = max(pue, 1.0) * hours * power_watts / 1000
    return kwh, lbs_per_kwh * kwh


@right("0.4")
def co2_through_joules(power_watts, hours, pue=1.58, lbs_per_kwh=0.954):
    joules = np.float64(power_watts) * hours * 3600
    kwh = joules / 3.6e6 * pue
    return [kwh, kwh * lbs_per_kwh]


# --- 0.5 latency_summary ----------------------------------------------------------------------------------------------


@right("0.5")
def summary_by_hand(samples):
    ordered = sorted(samples)

    def at(fraction):
        position = fraction * (len(ordered) - 1)
        low = math.floor(position)
        high = min(low + 1, len(ordered) - 1)
        return ordered[low] + (position - low) * (ordered[high] - ordered[low])

    return at(0.5), at(0.25), at(0.75)


@right("0.5")
def summary_torch(samples):
    quantiles = torch.tensor([0.5, 0.25, 0.75], dtype=torch.float64)
    return tuple(torch.quantile(torch.tensor(samples, dtype=torch.float64), quantiles).tolist())


@right("0.5")
def summary_statistics(samples):
    if len(samples) == 1:
        return (samples[0],) * 3
    lower, median, upper = statistics.quantiles(samples, n=4, method="inclusive")
    return median, lower, upper


@mutant("0.5", "mean for median")
def summary_mean(samples):
    return float(np.mean(samples)), *np.percentile(samples, [25, 75])


@mutant("0.5", "in ascending order: lower quartile, median, upper quartile")
def summary_order(samples):
    return tuple(np.percentile(samples, [25, 50, 75]))


@mutant("0.5", "quartiles swapped")
def summary_swapped(samples):
    return tuple(np.percentile(samples, [50, 75, 25]))


@mutant("0.5", "indices of the sorted list, without interpolation")
def summary_indices(samples):
    ordered = sorted(samples)
    n = len(ordered)
    return ordered[n // 2], ordered[n // 4], ordered[min(3 * n // 4, n - 1)]


@mutant("0.5", "quartiles at indices, the median right")
def summary_nearest(samples):
    return float(np.median(samples)), *np.percentile(samples, [25, 75], method="nearest")


@mutant("0.5", "lower and upper neighbour for interpolation")
def summary_lower(samples):
    return tuple(float(np.percentile(samples, q, method="lower")) for q in (50, 25, 75))


@mutant("0.5", "Python's exclusive quartiles")
def summary_exclusive(samples):
    if len(samples) == 1:
        return (samples[0],) * 3
    lower, median, upper = statistics.quantiles(samples, n=4)
    return median, lower, upper


@mutant("0.5", "medians of the two halves")
def summary_hinges(samples):
    ordered = sorted(samples)
    half = (len(ordered) + 1) // 2
    return statistics.median(ordered), statistics.median(ordered[:half]), statistics.median(ordered[-half:])


@mutant("0.5", "median and standard deviation")
def summary_deviation(samples):
    median, deviation = float(np.median(samples)), float(np.std(samples))
    return median, median - deviation, median + deviation


@mutant("0.5", "minimum and maximum for the quartiles")
def summary_extremes(samples):
    return float(np.median(samples)), min(samples), max(samples)


@mutant("0.5", "10th and 90th percentile")
def summary_deciles(samples):
    return tuple(np.percentile(samples, [50, 10, 90]))


@mutant("0.5", "the samples taken as sorted")
def summary_unsorted(samples):
    positions = [fraction * (len(samples) - 1) for fraction in (0.5, 0.25, 0.75)]
    return tuple(np.interp(positions, range(len(samples)), samples))


@mutant("0.5", "sorts the caller's list")
def summary_sorts_in_place(samples):
    samples.sort()
    return summary_by_hand(samples)


@mutant("0.5", "the first sample dropped as warm-up")
def summary_drops_first(samples):
    return summary_by_hand(samples[1:] or samples)


@mutant("0.5", "outliers dropped")
def summary_trimmed(samples):
    return summary_by_hand(sorted(samples)[:-1] or samples)


@mutant("0.5", "samples beyond three standard deviations dropped")
def summary_three_sigma(samples):
    return summary_by_hand([x for x in samples if abs(x - np.mean(samples)) <= 3 * np.std(samples) + 1e-9])


@mutant("0.5", "the first of many samples dropped as warm-up")
def summary_warm_up(samples):
    return summary_by_hand(samples[1:] if len(samples) > 20 else samples)


@mutant("0.5", "duplicates dropped")
def summary_set(samples):
    return summary_by_hand(list(set(samples)))


@mutant("0.5", "rounded to microseconds")
def summary_rounded(samples):
    return tuple(round(x, 3) for x in summary_by_hand(samples))


@mutant("0.5", "the median, and how far the quartiles are from it")
def summary_distances(samples):
    median, lower, upper = summary_by_hand(samples)
    return median, median - lower, upper - median


@mutant("0.5", "an array of three")
def summary_array(samples):
    return np.percentile(samples, [50, 25, 75])


@mutant("0.5", "an error on one sample")
def summary_two_at_least(samples):
    lower, median, upper = (statistics.quantiles([*samples], n=4, method="inclusive") if len(samples) > 1 else [])[:3]
    return median, lower, upper


@mutant("0.5", "a timing of 0 is left out")
def summary_without_zeros(samples):
    return tuple(np.percentile([sample for sample in samples if sample] or [0.0], [50, 25, 75]).tolist())


@mutant("0.5", "every value counts once")
def summary_of_the_different_samples(samples):
    return tuple(np.percentile(sorted(set(samples)), [50, 25, 75]).tolist())


@mutant("0.5", "the samples become float32")
def summary_in_float32(samples):
    values = torch.tensor([float(sample) for sample in samples], dtype=torch.float32)
    return tuple(torch.quantile(values, torch.tensor([0.5, 0.25, 0.75])).tolist())


@mutant("0.5", "the first of several samples is a warm-up")
def summary_after_a_warm_up(samples):
    return tuple(np.percentile(samples[1:] if len(samples) > 9 else samples, [50, 25, 75]).tolist())


@mutant("0.5", "samples beyond three times the median are left out")
def summary_without_outliers(samples):
    median = np.median(samples)
    near = [sample for sample in samples if abs(sample) <= 3 * abs(median)]
    return tuple(np.percentile(near or samples, [50, 25, 75]).tolist())


@right("0.5")
def summary_by_places(samples):
    ordered = sorted(float(sample) for sample in samples)

    def percentile(part):
        place = part * (len(ordered) - 1)
        below = int(place)
        above = min(below + 1, len(ordered) - 1)
        return ordered[below] + (place - below) * (ordered[above] - ordered[below])

    return percentile(0.5), percentile(0.25), percentile(0.75)


# --- 0.6 budget_report ------------------------------------------------------------------------------------------------


def shape_of(layer):
    """in, out, kernel, output, groups: a linear layer is a 1 × 1 convolution on one pixel."""
    if layer["kind"] == "linear":
        return layer["in_features"], layer["out_features"], (1, 1), (1, 1), 1
    if layer["kind"] == "conv2d":
        return tuple(layer[k] for k in ("in_channels", "out_channels", "kernel_size", "output_size", "groups"))
    raise ValueError(layer["kind"])


def tally(layers, weights=None, biases=None, macs=None, outputs=None):
    """Sums over the layers of weights, biases, MACs and outputs; a part that is given counts otherwise."""
    totals = [0, 0, 0, 0]
    for layer in layers:
        i, o, k, size, g = shape_of(layer)
        right_counts = (
            lambda layer, i, o, k, size, g: o * (i // g) * math.prod(k),
            lambda layer, i, o, k, size, g: o * layer["bias"],
            lambda layer, i, o, k, size, g: o * (i // g) * math.prod(k) * math.prod(size),
            lambda layer, i, o, k, size, g: o * math.prod(size),
        )
        for place, (given, count) in enumerate(zip((weights, biases, macs, outputs), right_counts, strict=True)):
            totals[place] += (given or count)(layer, i, o, k, size, g)
    return totals


def report(layers, bytes_each=4, mac=4.6, sram=2, output=2, weight=1, bias=1, unit=1e-12, **counts):
    """A report whose conventions can be got wrong one at a time."""
    weights, biases, macs, outputs = tally(layers, **counts)
    joules = (macs * mac + sram * macs * 5 + (weight * weights + bias * biases + output * outputs) * 640) * unit
    parameters = weights + biases
    return {"parameters": parameters, "macs": macs, "bytes": bytes_each * parameters, "joules": joules}


@right("0.6")
def report_by_tally(layers):
    return report(layers)


@right("0.6")
def report_from_modules(layers):
    parameters = macs = 0
    joules = 0.0
    for layer in layers:
        i, o, k, size, g = shape_of(layer)
        module = nn.Conv2d(i, o, k, groups=g, bias=layer["bias"], device="meta")
        own = sum(p.numel() for p in module.parameters())
        products = module.weight.numel() * size[0] * size[1]
        parameters, macs = parameters + own, macs + products
        joules += products * (3.7 + 0.9 + 2 * 5) * 1e-12 + (own + 2 * o * size[0] * size[1]) * 640e-12
    return {"joules": joules, "bytes": parameters * 32 // 8, "macs": macs, "parameters": parameters}


@mutant("0.6", "biases are no parameters")
def report_without_biases(layers):
    return report(layers, biases=lambda layer, i, o, k, size, g: 0)


@mutant("0.6", "every layer has a bias")
def report_always_bias(layers):
    return report(layers, biases=lambda layer, i, o, k, size, g: o)


@mutant("0.6", "one bias a layer")
def report_one_bias(layers):
    return report(layers, biases=lambda layer, i, o, k, size, g: int(layer["bias"]))


@mutant("0.6", "a bias at each position")
def report_bias_per_position(layers):
    return report(layers, biases=lambda layer, i, o, k, size, g: o * math.prod(size) * layer["bias"])


@mutant("0.6", "a bias for each input")
def report_bias_per_input(layers):
    return report(layers, biases=lambda layer, i, o, k, size, g: i * layer["bias"])


@mutant("0.6", "biases of linear layers forgotten")
def report_conv_biases(layers):
    return report(layers, biases=lambda layer, i, o, k, size, g: o * (layer["bias"] and layer["kind"] == "conv2d"))


@mutant("0.6", "biases counted as MACs")
def report_bias_macs(layers):
    return report(
        layers,
        macs=lambda layer, i, o, k, size, g: o * math.prod(size) * ((i // g) * math.prod(k) + layer["bias"]),
    )


@mutant("0.6", "groups ignored in the parameters")
def report_parameters_without_groups(layers):
    return report(layers, weights=lambda layer, i, o, k, size, g: o * i * math.prod(k))


@mutant("0.6", "groups ignored in the MACs")
def report_macs_without_groups(layers):
    return report(layers, macs=lambda layer, i, o, k, size, g: o * i * math.prod(k) * math.prod(size))


@mutant("0.6", "a weight counted at each position")
def report_weights_per_position(layers):
    return report(layers, weights=lambda layer, i, o, k, size, g: o * (i // g) * math.prod(k) * math.prod(size))


@mutant("0.6", "square kernels assumed")
def report_square_kernels(layers):
    return report(layers, weights=lambda layer, i, o, k, size, g: o * (i // g) * k[0] ** 2)


@mutant("0.6", "square feature maps assumed in the outputs")
def report_square_outputs(layers):
    return report(layers, outputs=lambda layer, i, o, k, size, g: o * size[0] ** 2)


@mutant("0.6", "FLOPs for MACs")
def report_flops(layers):
    return report(layers, macs=lambda layer, i, o, k, size, g: 2 * o * (i // g) * math.prod(k) * math.prod(size))


@mutant("0.6", "bits for bytes")
def report_bits(layers):
    return report(layers, bytes_each=32)


@mutant("0.6", "a byte a parameter")
def report_one_byte(layers):
    return report(layers, bytes_each=1)


@mutant("0.6", "bytes of weights and feature maps")
def report_activation_bytes(layers):
    weights, biases, _, outputs = tally(layers)
    return {**report(layers), "bytes": 4 * (weights + biases + outputs)}


@mutant("0.6", "picojoules")
def report_picojoules(layers):
    return report(layers, unit=1)


@mutant("0.6", "addition forgotten in the price of a MAC")
def report_multiplication_only(layers):
    return report(layers, mac=3.7)


@mutant("0.6", "integer prices for float operations")
def report_integer_prices(layers):
    return report(layers, mac=3.2)


@mutant("0.6", "one word of SRAM for a MAC")
def report_one_sram(layers):
    return report(layers, sram=1)


@mutant("0.6", "no SRAM")
def report_no_sram(layers):
    return report(layers, sram=0)


@mutant("0.6", "outputs go to DRAM and never come back")
def report_outputs_once(layers):
    return report(layers, output=1)


@mutant("0.6", "outputs cost nothing")
def report_outputs_free(layers):
    return report(layers, output=0)


@mutant("0.6", "outputs of linear layers cost nothing")
def report_conv_outputs(layers):
    return report(layers, outputs=lambda layer, i, o, k, size, g: o * math.prod(size) * (layer["kind"] == "conv2d"))


@mutant("0.6", "a feature map is one channel")
def report_one_channel(layers):
    return report(layers, outputs=lambda layer, i, o, k, size, g: math.prod(size))


@mutant("0.6", "weights stay on the chip")
def report_weights_free(layers):
    return report(layers, weight=0, bias=0)


@mutant("0.6", "biases stay on the chip")
def report_biases_free(layers):
    return report(layers, bias=0)


@mutant("0.6", "a DRAM read for every MAC")
def report_dram_per_mac(layers):
    _, biases, macs, outputs = tally(layers)
    joules = (macs * 14.6 + (macs + biases + 2 * outputs) * 640) * 1e-12
    return {**report(layers), "joules": joules}


@mutant("0.6", "only the last layer")
def report_last_layer(layers):
    return report(layers[-1:])


@mutant("0.6", "only the first layer: return in the loop")
def report_first_layer(layers):
    return report(layers[:1])


@mutant("0.6", "equal layers counted once")
def report_unique_layers(layers):
    return report([layer for i, layer in enumerate(layers) if layer not in layers[:i]])


@mutant("0.6", "an unknown layer costs nothing")
def report_skips_unknown(layers):
    return report([layer for layer in layers if layer["kind"] in ("conv2d", "linear")])


@mutant("0.6", "what is no convolution is taken as linear")
def report_else_linear(layers):
    return report([layer if layer["kind"] == "conv2d" else {**layer, "kind": "linear"} for layer in layers])


@mutant("0.6", "what has linear in its name is linear")
def report_any_linear(layers):
    return report([{**layer, "kind": "linear"} if "linear" in layer["kind"] else layer for layer in layers])


@mutant("0.6", "only the last layer's kind is looked at")
def report_last_kind(layers):
    return report([*[layer for layer in layers[:-1] if layer["kind"] in ("conv2d", "linear")], layers[-1]])


@mutant("0.6", "groups ignored in 1 × 1 convolutions")
def report_pointwise_without_groups(layers):
    return report(
        [{**layer, "groups": 1} if layer.get("kernel_size") in ((1, 1), [1, 1]) else layer for layer in layers]
    )


@mutant("0.6", "an unknown layer is a KeyError")
def report_key_error(layers):
    known = {"conv2d": "conv2d", "linear": "linear"}
    return report([{**layer, "kind": known[layer["kind"]]} for layer in layers])


@mutant("0.6", "takes the layers apart")
def report_pops(layers):
    result = report(layers)
    for layer in layers:
        layer.pop("kind")
    return result


@mutant("0.6", "floats for counts")
def report_floats(layers):
    return {key: float(value) for key, value in report(layers).items()}


@mutant("0.6", "a key too many")
def report_extra_key(layers):
    return {**report(layers), "flops": 2 * report(layers)["macs"]}


@mutant("0.6", "joules rounded")
def report_rounded(layers):
    return {**report(layers), "joules": round(report(layers)["joules"], 9)}


@mutant("0.6", "every kind that begins with conv is a convolution")
def report_of_any_conv(layers):
    known = [dict(layer, kind="conv2d") if layer["kind"].startswith("conv") else layer for layer in layers]
    return budget.budget_report(known)


@mutant("0.6", "kinds are compared without case")
def report_without_case(layers):
    return budget.budget_report([dict(layer, kind=layer["kind"].lower()) for layer in layers])


@mutant("0.6", "a network without layers is an error")
def report_of_some_layers(layers):
    each = [budget.budget_report([layer]) for layer in layers]
    keys = ("parameters", "macs", "bytes", "joules")
    return {key: functools.reduce(operator.add, [one[key] for one in each]) for key in keys}


@mutant("0.6", "MACs are added up in float32")
def report_in_float32(layers):
    report = budget.budget_report(layers)
    macs = torch.tensor([float(budget.budget_report([layer])["macs"]) for layer in layers]).sum()
    return {**report, "macs": int(macs)}


@mutant("0.6", "a linear layer has as many positions as the layer before")
def report_positions_linger(layers):
    report = budget.budget_report(layers)
    positions, more = 1, 0
    for layer in layers:
        if layer["kind"] == "conv2d":
            positions = math.prod(layer["output_size"])
        else:
            more += (positions - 1) * layer["out_features"]
    return {**report, "joules": report["joules"] + 2 * more * 640e-12}


@mutant("0.6", "feature maps are square")
def report_of_square_maps(layers):
    square = [{**layer, "output_size": layer.get("output_size", [1])[:1] * 2} for layer in layers]
    return budget.budget_report(square)


@right("0.6")
def report_layer_by_layer(layers):
    total = {"joules": 0.0, "bytes": 0, "macs": 0, "parameters": 0}
    for layer in layers:
        match layer:
            case {"kind": "conv2d"}:
                area = layer["output_size"][0] * layer["output_size"][1]
                channels, kernel = layer["out_channels"], layer["kernel_size"]
                weights = layer["in_channels"] // layer["groups"] * channels * math.prod(kernel)
            case {"kind": "linear"}:
                area, channels = 1, layer["out_features"]
                weights = layer["in_features"] * channels
            case _:
                raise ValueError(layer["kind"])
        parameters = weights + bool(layer["bias"]) * channels
        total["parameters"] += parameters
        total["macs"] += weights * area
        total["bytes"] += parameters * 4
        total["joules"] += (4.6 + 10) * 1e-12 * weights * area + 640e-12 * (parameters + 2 * channels * area)
    return total


@mutant("0.6", "spaces around the kind do not matter")
def report_strips_kind(layers):
    return budget.budget_report([{**layer, "kind": layer["kind"].strip()} for layer in layers])
