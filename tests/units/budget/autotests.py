"""Instructor-only laws of unit 00: harder inputs, torch's FLOP counter, and the reference."""

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from course_utils import budget
from course_utils.budget.laws import conv_layer, conv_shape, linear_layer, prices, random_state
from course_utils.checks import expect
from course_utils.checks.engine import Law, law


def counted(in_channels, out_channels, kernel, output, groups) -> int:
    """MACs by torch's FLOP counter, which counts two operations for each; on the meta device nothing is computed."""
    size = [out + k - 1 for out, k in zip(output, kernel, strict=True)]
    with FlopCounterMode(display=False) as counter:
        F.conv2d(
            torch.empty(1, in_channels, *size, device="meta"),
            torch.empty(out_channels, in_channels // groups, *kernel, device="meta"),
            groups=groups,
        )
    return counter.get_total_flops() // 2


@law("large convolutions agree with torch's FLOP counter", hint="Two FLOPs are one MAC.", trials=4)
def flop_counter(function, draw):
    groups = draw.choice([1, 2, 4, 16])
    shape = (
        groups * draw.integer(3, 40),
        groups * draw.integer(3, 40),
        (draw.integer(1, 7), draw.integer(1, 7)),
        (draw.integer(5, 90), draw.integer(5, 90)),
        groups,
    )
    expect.equal(function(*shape), counted(*shape))


@law("large linear layers agree with torch's FLOP counter", hint="Two FLOPs are one MAC.")
def linear_flop_counter(function, draw):
    inputs, outputs = draw.integer(100, 5000), draw.integer(100, 5000)
    with FlopCounterMode(display=False) as counter:
        F.linear(torch.empty(1, inputs, device="meta"), torch.empty(outputs, inputs, device="meta"))
    expect.equal(function(inputs, outputs), counter.get_total_flops() // 2)


@law("agrees with the reference on mixed bits", hint="Bits are summed before they are rounded.", trials=8)
def mixed_bits(function, draw):
    state = random_state(draw) | {"norm.num_batches": torch.tensor(3), "mask": draw.mask(5, draw.integer(1, 9))}
    bits = {name: draw.integer(0, 40) for name in state if draw.uniform() < 0.7}
    expect.equal(function(state, bits), budget.model_bytes(state, bits))


@law("agrees with the reference on random prices", hint="count × price, summed, in joules.", trials=5)
def random_prices(function, draw):
    counts, picojoules = [draw.integer(0, 10 ** draw.integer(1, 15)) for _ in range(3)], prices(draw)
    wanted = budget.inference_energy(*counts, picojoules)
    expect.close(function(*counts, picojoules), wanted, rtol=1e-9, atol=0)


@law("agrees with the reference on random runs", hint="kWh, then lbs.", trials=5)
def random_runs(function, draw):
    run = draw.uniform(0.1, 1e5), draw.uniform(0.01, 1e4), draw.uniform(1, 3), draw.uniform(0, 3)
    expect.close(function(*run), budget.training_co2(*run), rtol=1e-9, atol=0)
    expect.close(function(*run[:2]), budget.training_co2(*run[:2]), rtol=1e-9, atol=0)


@law("agrees with NumPy's percentiles on many samples, with ties", hint="Linear interpolation.", trials=5)
def numpy_percentiles(function, draw):
    samples = [float(x) for x in draw.rng.exponential(3.0, draw.integer(1, 200)).round(draw.integer(0, 4))]
    expect.close(function(samples), budget.latency_summary(samples), rtol=1e-12, atol=1e-12)


@law("agrees with the reference on a deep network", hint="Compare layer by layer.", trials=4)
def deep_network(function, draw):
    layers = [conv_layer(*conv_shape(draw), bias=draw.uniform() < 0.5) for _ in range(draw.integer(3, 12))]
    layers += [linear_layer(draw.integer(1, 900), draw.integer(1, 900), draw.uniform() < 0.5) for _ in range(4)]
    layers = [layers[i] for i in draw.permutation(len(layers)).tolist()]
    got, wanted = function(layers), budget.budget_report(layers)
    expect.same_kind(got, wanted)
    for key in ("parameters", "macs", "bytes"):
        expect.equal(got[key], wanted[key], f"the result[{key!r}]")


@law("agrees with the reference's joules", hint="Prices of Horowitz, counted as the docstring says.", share=0.1)
def deep_joules(function, draw):
    layers = [conv_layer(*conv_shape(draw), bias=True), linear_layer(draw.integer(1, 900), 7, False)]
    wanted = budget.budget_report(layers)["joules"]
    got = function(layers)
    expect.true(isinstance(got, dict) and "joules" in got, "the result lacks the key 'joules'", got=got)
    expect.close(got["joules"], wanted, "the joules", rtol=1e-9, atol=0)


LAWS: dict[str, list[Law]] = {
    "0.1a": [flop_counter],
    "0.1b": [linear_flop_counter],
    "0.2": [mixed_bits],
    "0.3": [random_prices],
    "0.4": [random_runs],
    "0.5": [numpy_percentiles],
    "0.6": [deep_network, deep_joules],
}
