"""Laws of unit 00, the budget."""

import statistics
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils.checks import expect
from course_utils.checks.draw import Draw
from course_utils.checks.engine import StudentError, Unit

unit = Unit("budget")
conv2d_macs = unit.exercise("0.1a", "conv2d_macs", points=3, minutes=15, difficulty=2)
linear_macs = unit.exercise("0.1b", "linear_macs", points=1, minutes=5, difficulty=1)
model_bytes = unit.exercise("0.2", "model_bytes", points=3, minutes=15, difficulty=2)
inference_energy = unit.exercise("0.3", "inference_energy", points=2, minutes=10, difficulty=1)
training_co2 = unit.exercise("0.4", "training_co2", points=2, minutes=10, difficulty=1)
latency_summary = unit.exercise("0.5", "latency_summary", points=2, minutes=10, difficulty=2)
budget_report = unit.exercise("0.6", "budget_report", points=5, minutes=30, difficulty=3)

# in, out, kernel, output, groups of AlexNet's convolutions as published, and the products in each
ALEXNET = [
    ((3, 96, (11, 11), (55, 55), 1), 105_415_200),
    ((96, 256, (5, 5), (27, 27), 2), 223_948_800),
    ((256, 384, (3, 3), (13, 13), 1), 149_520_384),
    ((384, 384, (3, 3), (13, 13), 2), 112_140_288),
    ((384, 256, (3, 3), (13, 13), 2), 74_760_192),
]


def conv_shape(draw: Draw) -> tuple[int, int, tuple[int, int], tuple[int, int], int]:
    """in, out, kernel, output, groups of a small convolution: more outputs than inputs, and nothing is square."""
    groups, share = draw.size(1, 3), draw.size(1, 4)
    kernel, output = draw.size(1, 3), draw.size(1, 5)
    wider = share + draw.integer(1, 3)
    kernel_size, output_size = (kernel, kernel + draw.integer(1, 2)), (output + draw.integer(1, 3), output)
    return groups * share, groups * wider, kernel_size, output_size, groups


def products(in_channels: int, out_channels: int, kernel: tuple[int, int], output: tuple[int, int], groups: int) -> int:
    """MACs of a convolution, by running it: where all inputs and weights are 1, the outputs add up the products."""
    size = [out + k - 1 for out, k in zip(output, kernel, strict=True)]
    image = torch.ones(1, in_channels, *size, dtype=torch.float64)
    weight = torch.ones(out_channels, in_channels // groups, *kernel, dtype=torch.float64)
    return int(F.conv2d(image, weight, groups=groups).sum())


# --- 0.1a conv2d_macs -------------------------------------------------------------------------------------------------


@conv2d_macs.law(
    "with ones as image and weights, torch's outputs sum to it: every product adds 1",
    hint="Count the outputs (channels, rows, columns), then the products that one output sums. Sides may differ.",
    trials=4,
)
def sum_of_ones(function, draw):
    inputs, outputs, kernel, output, groups = conv_shape(draw)
    for kernel_size in (kernel, (1, 1)):
        shape = (inputs, outputs, kernel_size, output, groups)
        expect.equal(function(*shape), products(*shape), "the number of MACs")


@conv2d_macs.law(
    "left out, groups is 1; arguments can be given by name, pairs as lists",
    hint="The signature says groups=1. A pair is unpacked alike from a tuple and from a list.",
)
def default_groups(function, draw):
    in_channels, out_channels, kernel, output, groups = conv_shape(draw)
    expect.equal(
        function(in_channels, out_channels, kernel, output), products(in_channels, out_channels, kernel, output, 1)
    )
    pairs = {"kernel_size": list(kernel), "output_size": list(output)}
    wanted = products(in_channels, out_channels, kernel, output, groups)
    expect.equal(function(in_channels=in_channels, out_channels=out_channels, groups=groups, **pairs), wanted)
    expect.equal(function(in_channels, out_channels, list(kernel), output, groups), wanted)
    expect.equal(function(in_channels, out_channels, kernel, list(output), groups), wanted)


@conv2d_macs.law(
    "a depthwise convolution: each output channel reads one input channel",
    hint="With groups = in_channels an output sums only kernel height × kernel width products.",
)
def depthwise(function, draw):
    channels, kernel, output = draw.size(2, 9), (draw.size(1, 3), 4), (draw.size(1, 5), 6)
    for multiplier in (1, 2):
        shape = (channels, multiplier * channels, kernel, output, channels)
        expect.equal(function(*shape), products(*shape))


@conv2d_macs.law(
    "AlexNet's five convolutions: 666 million in all, as the Eyeriss paper counts",
    hint="A MAC is a multiplication with its addition: one, not two. Three of the five have two groups.",
    trials=1,
)
def alexnet(function, draw):
    for shape, macs in ALEXNET:
        expect.equal(function(*shape), macs)
    expect.equal(sum(function(*shape) for shape, _ in ALEXNET), 665_784_864, "the sum")


@conv2d_macs.law(
    "a count is an int, exact however large",
    hint="If this law alone fails: use //. A / makes a float, which rounds above 2⁵³.",
    trials=1,
)
def large_counts(function, draw):
    expect.equal(function(3**12, 3 * 5**8, (7, 3), (11**2, 13**2), 3), 89_146_944_214_453_125)


# --- 0.1b linear_macs -------------------------------------------------------------------------------------------------


@linear_macs.law(
    "with ones as inputs and weights, torch's outputs sum to it: every product adds 1",
    hint="Each output sums one product per input.",
    trials=4,
)
def linear_sum_of_ones(function, draw):
    inputs = draw.size(1, 20)
    outputs = inputs + draw.integer(1, 9)
    for i, o in ((inputs, outputs), (outputs, inputs)):
        macs = F.linear(torch.ones(1, i, dtype=torch.float64), torch.ones(o, i, dtype=torch.float64)).sum()
        expect.equal(function(i, o), int(macs), "the number of MACs")


@linear_macs.law(
    "LeNet-300-100 has layers of 235,200, 30,000 and 1,000",
    hint="A bias is added once, without a multiplication: it is no MAC. A multiplication with its addition is one.",
    trials=1,
)
def lenet_300_100(function, draw):
    for inputs, outputs, macs in ((784, 300, 235_200), (300, 100, 30_000), (100, 10, 1_000)):
        expect.equal(function(inputs, outputs), macs)
    expect.equal(function(in_features=100, out_features=10), 1_000)


@linear_macs.law(
    "two layers side by side, on the same inputs or on their own outputs, add their MACs",
    hint="Twice the inputs: twice the MACs, exactly. Twice the outputs too. Nothing is added once for a layer.",
)
def linear_additive(function, draw):
    a, b, c = draw.size(1, 50), draw.size(2, 60), draw.size(3, 70)
    wanted = function(a, c) + function(b, c)
    expect.equal(function(a + b, c), wanted)
    wanted = function(c, a) + function(c, b)
    expect.equal(function(c, a + b), wanted)


@linear_macs.law(
    "a count is an int, exact however large",
    hint="If this law alone fails: stay with int. A float rounds above 2⁵³.",
    trials=1,
)
def large_linear(function, draw):
    expect.equal(function(3**17, 3**17), 16_677_181_699_666_569)


# --- 0.2 model_bytes --------------------------------------------------------------------------------------------------


def random_state(draw: Draw) -> dict[str, Tensor]:
    """A few small tensors of different shapes, not all of them weights and biases."""
    names = ["fc1.weight", "fc10.scale", "norm.num_batches_tracked", "mask"]
    shapes = [(draw.size(1, 5), 3), (draw.size(1, 7),), (), (2, draw.size(1, 3), 1, 3)]
    return {name: draw.normal(*shape) for name, shape in list(zip(names, shapes, strict=True))[: draw.size(2, 4)]}


def packed(bit_counts: list[int]) -> int:
    """Bytes that NumPy packs that many bits into."""
    return len(np.packbits(np.ones(sum(bit_counts), dtype=bool)))


@model_bytes.law(
    "by default the bytes of the float32 numbers themselves",
    hint="Count the entries of every tensor, whatever its name: t.numel(). 32 bits are 4 bytes.",
)
def float32_bytes(function, draw):
    state = random_state(draw)
    expect.equal(function(state), sum(len(tensor.numpy().tobytes()) for tensor in state.values()))


@model_bytes.law(
    "any number of bits: as many bytes as NumPy packs them into",
    hint="bits may be 1, 3, 5, … per entry: add up bits first, and divide by 8 at the end, rounding up.",
    trials=6,
)
def packed_bytes(function, draw):
    state, bits = random_state(draw), draw.choice([1, 2, 3, 5, 7, 8, 12, 16])
    expect.equal(function(state, bits), packed([tensor.numel() * bits for tensor in state.values()]))


@model_bytes.law(
    "one bit over is one byte more, at every remainder",
    hint="Round up: 1 to 8 bits are one byte, 9 bits are two. Stay with int: float32 is not exact above 2²⁴.",
    trials=1,
)
def remainders(function, draw):
    for entries in range(26):
        expect.equal(function({"weight": torch.ones(entries)}, 1), packed([entries]))
    expect.equal(function({}), 0, "the bytes of no tensors")
    expect.equal(function({}, {"weight": 3}), 0, "the bytes of no tensors")
    large = {"weight": torch.zeros(2**19 + 1, dtype=torch.int8)}
    expect.equal(function(large, 257), 16_842_785)


@model_bytes.law(
    "rounded up once: eight biases of one bit share one byte",
    hint="The tensors are packed without gaps: sum the bits of all, then round.",
)
def rounded_once(function, draw):
    expect.equal(function({f"{i}.bias": torch.ones(1) for i in range(8)}, 1), 1)
    parts = [torch.ones(draw.integer(1, 7)) for _ in range(draw.size(2, 9))]
    wanted = function({"whole": torch.cat(parts)}, 3)
    expect.equal(function({f"part{i}": part for i, part in enumerate(parts)}, 3), wanted)


@model_bytes.law(
    "bits by name: each tensor has its own, absent names have 32, unknown names do not matter",
    hint="Look the whole name up, with a default of 32. A name that is in the dict has the bits that it says, even 0.",
    trials=4,
)
def bits_by_name(function, draw):
    state = random_state(draw)
    names = list(state)
    widths = {name: draw.choice([1, 2, 4, 5, 8]) for name in names}
    counts = {name: tensor.numel() for name, tensor in state.items()}
    expect.equal(function(state, bits=widths), packed([counts[name] * widths[name] for name in names]))
    some = {"fc": 7, "scale": 3, names[-1].upper(): 9, names[0]: widths[names[0]]}  # what is like a name is none
    expect.equal(function(state, some), packed([counts[n] * some.get(n, 32) for n in names]))
    expect.equal(function(state, {}), packed([32 * count for count in counts.values()]))
    expect.equal(function(state, {names[0]: 0}), packed([32 * counts[name] for name in names[1:]]))


@model_bytes.law(
    "the values and the dtypes of the tensors do not matter, only how many entries they have",
    hint="A zero takes as many bits as any entry. bits says how an entry is stored, not element_size().",
)
def values_do_not_matter(function, draw):
    state, bits = random_state(draw), draw.choice([2, 8, 32])
    wanted = function(state, bits)
    expect.true(isinstance(wanted, int), "the result is not an int", got=wanted)
    count = sum(tensor.numel() for tensor in state.values())
    for change in (torch.zeros_like, lambda t: t.double(), lambda t: t.bool(), lambda t: t.long()):
        changed = {name: change(tensor) for name, tensor in state.items()}
        expect.equal(function(changed, bits), wanted)
        expect.equal(function(changed, {}), 4 * count)
        expect.equal(function(changed), 4 * count)


@model_bytes.law(
    "LeNet-300-100 takes 1,066,440 bytes, the 1070 KB of Deep Compression",
    hint="The biases count too, in 32 bits where the dict does not name them.",
    trials=1,
)
def lenet_bytes(function, draw):
    shapes = {"fc1": (300, 784), "fc2": (100, 300), "fc3": (10, 100)}
    state = {f"{name}.weight": torch.zeros(shape) for name, shape in shapes.items()}
    state |= {f"{name}.bias": torch.zeros(shape[0]) for name, shape in shapes.items()}
    expect.equal(function(state), 1_066_440)
    expect.equal(function(state, {name: 6 for name in state if name.endswith("weight")}), 201_290)


# --- 0.3 inference_energy ---------------------------------------------------------------------------------------------

HOROWITZ = {"mac": 4.6, "sram": 5.0, "dram": 640.0}


def prices(draw: Draw) -> dict[str, float]:
    """Prices with their keys in a random order."""
    kinds = ["mac", "sram", "dram"]
    return {kinds[i]: draw.uniform(0.5, 900) for i in draw.permutation(3).tolist()}


@inference_energy.law(
    "each kind of operation has its own price",
    hint="Look the prices up by name, picojoules['mac'], not by their order in the dict. Joules come back.",
    trials=4,
)
def own_price(function, draw):
    picojoules = prices(draw)
    for place, kind in enumerate(("mac", "sram", "dram")):
        counts = [0, 0, 0]
        counts[place] = 10**12
        expect.close(function(*counts, picojoules), picojoules[kind], f"the energy of 10¹² of '{kind}'", atol=0)


@inference_energy.law(
    "energies add: two computations one after the other",
    hint="A sum of count × price.",
)
def energies_add(function, draw):
    picojoules = prices(draw)
    a, b = ([draw.integer(1, 10**6) for _ in range(3)] for _ in range(2))
    wanted = float(function(*a, picojoules) + function(*b, picojoules))
    expect.close(function(*(x + y for x, y in zip(a, b, strict=True)), picojoules), wanted, rtol=1e-9, atol=0)
    parts = [function(*(n if i == place else 0 for i, n in enumerate(a)), picojoules) for place in range(3)]
    expect.close(function(*a, picojoules), float(sum(parts)), rtol=1e-9, atol=0)


@inference_energy.law(
    "a network of 10⁹ connections at 20 images a second draws 12.8 W for its DRAM alone",
    hint="1 pJ = 10⁻¹² J; a watt is a joule per second.",
    trials=1,
)
def han_example(function, draw):
    expect.close(function(0, 0, 20 * 10**9, HOROWITZ), 12.8, rtol=1e-9)
    expect.close(function(macs=0, sram_accesses=0, dram_accesses=20 * 10**9, picojoules=HOROWITZ), 12.8, rtol=1e-9)


@inference_energy.law(
    "one operation of each kind costs 649.6 pJ",
    hint="Return a float in joules; do not round, and do not divide with //. A price of 0 is a price.",
    trials=1,
)
def one_of_each(function, draw):
    expect.close(function(1, 1, 1, HOROWITZ), 649.6e-12, rtol=1e-9, atol=0)
    expect.close(function(1, 0, 0, {"dram": 640, "sram": 5, "mac": 3}), 3e-12, rtol=1e-9, atol=0)
    expect.close(function(2.5, 0.5, 1.5, HOROWITZ), 974e-12, rtol=1e-9, atol=0)
    for free in HOROWITZ:
        wanted = sum(price for kind, price in HOROWITZ.items() if kind != free) * 1e-12
        expect.close(function(1, 1, 1, HOROWITZ | {free: 0}), wanted, f"the energy if '{free}' costs 0", 1e-9, 0)


# --- 0.4 training_co2 -------------------------------------------------------------------------------------------------

# Power, hours, and the kWh and lbs that they give, rounded (Strubell 2019, table 3)
STRUBELL = [
    ("Transformer, base", 1415.78, 12, 27, 26),
    ("Transformer, big", 1515.43, 84, 201, 192),
    ("ELMo", 517.66, 336, 275, 262),
    ("architecture search", 1515.43, 274_120, 656_347, 626_155),
]


@training_co2.law(
    "Strubell's table: Transformer, ELMo and the architecture search",
    hint="Return (kWh, lbs), in this order; the table rounds them. "
    "The hardware's energy times PUE is what is drawn; W · h / 1000 = kWh.",
    trials=1,
)
def strubell(function, draw):
    for name, power, hours, kwh, lbs in STRUBELL:
        got = function(power, hours)
        expect.same_kind(got, (0.0, 0.0))
        for number, wanted, what in zip(got, (kwh, lbs), ("first result, the kWh", "second, the lbs"), strict=True):
            expect.close(number, float(wanted), f"{name}: the {what},", rtol=0, atol=0.5)


@training_co2.law(
    "1000 W for an hour at PUE 1 are one kWh, and one kWh has lbs_per_kwh pounds",
    hint="Use both arguments, not their defaults: 0 is a value, which `or` would take for none.",
)
def one_kwh(function, draw):
    factor = draw.uniform(0.1, 2)
    expect.close(function(1000, 1, 1.0, factor), (1.0, factor), rtol=1e-9)
    expect.close(function(power_watts=500.0, hours=2, pue=1, lbs_per_kwh=factor), (1.0, factor), rtol=1e-9)
    expect.close(function(1000, 1, 1, 0), (1.0, 0.0), "of electricity without emissions, the result", rtol=1e-9)
    expect.close(function(1000, 1, 0.5, factor), (0.5, 0.5 * factor), "at PUE 0.5, the result", rtol=1e-9)
    expect.close(function(1000, 1, 0, factor), (0.0, 0.0), "at PUE 0, the result", rtol=1e-9)


@training_co2.law(
    "PUE multiplies the electricity and, once, the emissions",
    hint="The emissions follow from the kWh that already hold the PUE.",
)
def pue_once(function, draw):
    power, hours, pue, factor = draw.uniform(5, 400), draw.uniform(0.1, 90), draw.uniform(1.05, 3), draw.uniform(0.1, 2)
    plain = function(power, hours, 1.0, factor)
    expect.same_kind(plain, (0.0, 0.0))
    got = function(power, hours, pue, factor)
    expect.close(got, tuple(pue * x for x in plain), rtol=1e-9, atol=0)
    expect.same_kind(got, (0.0, 0.0))
    expect.close(got[1], float(factor * got[0]), "the lbs", rtol=1e-9, atol=0)


@training_co2.law(
    "half the power or half the time is half of both, however little",
    hint="Neither result is rounded. Use /, not //.",
)
def proportional(function, draw):
    power, hours = draw.uniform(0.01, 5), draw.uniform(0.001, 2)
    whole = function(power, hours)
    expect.same_kind(whole, (0.0, 0.0))
    expect.true(whole[0] > 0 and whole[1] > 0, "a small run costs something", "more than 0", whole)
    for run in ((power / 2, hours), (power, hours / 2)):
        expect.close(function(*run), tuple(x / 2 for x in whole), rtol=1e-9, atol=0)


# --- 0.5 latency_summary ----------------------------------------------------------------------------------------------


def timings(draw: Draw, count: int) -> list[float]:
    """Milliseconds as they are measured: a floor, and a tail to the right. In no order."""
    return [5 + float(x) for x in draw.rng.exponential(2.0, count)]


@latency_summary.law(
    "for every count of samples the quartiles of Python's statistics module (method 'inclusive')",
    hint="Position p/100 · (n − 1) among the sorted samples; between two of them, a part of the way.",
)
def statistics_quartiles(function, draw):
    for count in range(2, 14):
        samples = timings(draw, count)
        lower, median, upper = statistics.quantiles(samples, n=4, method="inclusive")
        expect.close(function(samples), (median, lower, upper), rtol=1e-12, atol=0)


@latency_summary.law(
    "of 0, 1, …, 4n, shuffled, the median is 2n and the quartiles are n and 3n",
    hint="Sort a copy first. The order of the result: median, lower quartile, upper quartile.",
)
def arithmetic(function, draw):
    n = draw.size(1, 6)
    samples = draw.permutation(4 * n + 1).tolist()
    expect.close(function(samples), (2.0 * n, 1.0 * n, 3.0 * n), rtol=1e-12)


@latency_summary.law("one sample is its own median and quartiles", hint="Nothing to interpolate.", trials=2)
def single_sample(function, draw):
    time = draw.uniform(1, 9)
    expect.close(function([time]), (time, time, time), rtol=1e-12)


@latency_summary.law(
    "one call that takes a thousand times as long changes nothing",
    hint="A mean would follow it: that is why timings are summed up by their median. No sample is dropped.",
)
def outlier(function, draw):
    samples = timings(draw, draw.size(5, 40))
    place = samples.index(max(samples))
    slow = [time * 1000 if i == place else time for i, time in enumerate(samples)]
    lower, median, upper = statistics.quantiles(samples, n=4, method="inclusive")
    expect.close(function(samples), (median, lower, upper), rtol=1e-12)
    expect.close(function(slow), (median, lower, upper), rtol=1e-12)


@latency_summary.law(
    "in seconds instead of milliseconds the summary is a thousand times smaller",
    hint="Do not round, and stay in float64. Every sample counts, however small, and equal ones each.",
)
def other_unit(function, draw):
    samples = timings(draw, draw.size(2, 9))
    expect.same_kind(function(samples), (0.0, 0.0, 0.0))
    wanted = tuple(time / 1e6 for time in function(samples))
    expect.close(function([time / 1e6 for time in samples]), wanted, rtol=1e-12, atol=0)
    since_1970 = [1.7e9 + time / 1e3 for time in samples]  # in float32 they would all be the same
    lower, median, upper = statistics.quantiles(since_1970, n=4, method="inclusive")
    expect.close(function(since_1970), (median, lower, upper), rtol=1e-12, atol=0)
    repeated = statistics.quantiles([*samples, *samples], n=4, method="inclusive")
    expect.close(function(samples * 2), (repeated[1], repeated[0], repeated[2]), rtol=1e-12)


# --- 0.6 budget_report ------------------------------------------------------------------------------------------------

COUNTS = ("parameters", "macs", "bytes")


def conv_layer(
    in_channels: int,
    out_channels: int,
    kernel_size: tuple[int, int],
    output_size: tuple[int, int],
    groups: int = 1,
    bias: bool = False,
) -> dict[str, Any]:
    return {
        "kind": "conv2d",
        "in_channels": in_channels,
        "out_channels": out_channels,
        "kernel_size": kernel_size,
        "output_size": output_size,
        "groups": groups,
        "bias": bias,
    }


def linear_layer(in_features: int, out_features: int, bias: bool = False) -> dict[str, Any]:
    return {"kind": "linear", "in_features": in_features, "out_features": out_features, "bias": bias}


def counts(report: Any) -> dict[str, int]:
    """Parameters, MACs and bytes of a report."""
    expect.true(isinstance(report, dict), f"the result is {expect.kind(report)}, not a dict", got=report)
    for key in COUNTS:
        expect.true(key in report, f"the result lacks the key {key!r}", got=report)
    return {key: report[key] for key in COUNTS}


def joules(report: Any) -> float:
    expect.true(isinstance(report, dict), f"the result is {expect.kind(report)}, not a dict", got=report)
    expect.true("joules" in report, "the result lacks the key 'joules'", got=report)
    expect.same_kind(report["joules"], 0.0, "the result['joules']")
    return float(report["joules"])


LENET_5 = [  # Caffe's LeNet: two convolutions with pooling between, 28 × 28 inputs
    conv_layer(1, 20, (5, 5), (24, 24), bias=True),
    conv_layer(20, 50, (5, 5), (8, 8), bias=True),
    linear_layer(800, 500, bias=True),
    linear_layer(500, 10, bias=True),
]


@budget_report.law(
    "a report is a dict of parameters, macs and bytes, three ints, and joules, a float",
    hint="Exactly these four keys, also of a network without layers.",
)
def report_keys(function, draw):
    got = function([linear_layer(draw.size(1, 9), 3), conv_layer(*conv_shape(draw), bias=True)])
    expect.same_kind(got, {"parameters": 0, "macs": 0, "bytes": 0, "joules": 0.0})
    for key in COUNTS:
        expect.same_kind(got[key], 0, f"the result[{key!r}]")
    expect.same_kind(got["joules"], 0.0, "the result['joules']")
    expect.equal(function([]), {"parameters": 0, "macs": 0, "bytes": 0, "joules": 0.0}, "the report of no layers")


@budget_report.law(
    "parameters are those of torch's own layers, with and without bias; each takes 4 bytes",
    hint="A convolution has out · (in / groups) · kernel weights, wherever they are applied, and out biases.",
    trials=4,
)
def torch_parameters(function, draw):
    in_channels, out_channels, kernel, output, groups = conv_shape(draw)
    for bias in (False, True):
        conv = nn.Conv2d(in_channels, out_channels, kernel, groups=groups, bias=bias, device="meta")
        wanted = sum(p.numel() for p in conv.parameters())
        got = counts(function([conv_layer(in_channels, out_channels, kernel, output, groups, bias)]))
        expect.equal(got["parameters"], wanted, "the number of parameters of the convolution")
        expect.equal(got["bytes"], 4 * wanted, "the number of bytes of the convolution")
        linear = nn.Linear(in_channels, out_channels, bias=bias, device="meta")
        wanted = sum(p.numel() for p in linear.parameters())
        got = counts(function([linear_layer(in_channels, out_channels, bias)]))
        expect.equal(got["parameters"], wanted, "the number of parameters of the linear layer")
        expect.equal(got["bytes"], 4 * wanted, "the number of bytes of the linear layer")


@budget_report.law(
    "MACs are the products that torch's layers sum; a bias is none",
    hint="Use conv2d_macs, with its groups, and linear_macs.",
    trials=4,
)
def torch_macs(function, draw):
    channels_in, channels_out, kernel, output, groups = conv_shape(draw)
    for bias, kernel_size in ((False, kernel), (True, kernel), (False, (1, 1))):
        shape = (channels_in, channels_out, kernel_size, output, groups)
        got = counts(function([conv_layer(*shape, bias=bias)]))
        expect.equal(got["macs"], products(*shape), "the number of MACs")
    for bias in (False, True):
        inputs, outputs = draw.size(1, 9), draw.size(2, 20)
        wanted = products(inputs, outputs, (1, 1), (1, 1), 1)
        expect.equal(counts(function([linear_layer(inputs, outputs, bias)]))["macs"], wanted, "the number of MACs")


@budget_report.law(
    "layers add up, in any order, equal ones too",
    hint="Sum over all layers: start from 0 before the loop, return after it.",
)
def layers_add(function, draw):
    layers = [conv_layer(*conv_shape(draw), bias=True), linear_layer(draw.size(1, 9), 5, bias=draw.trial == 1)]
    layers += [conv_layer(*conv_shape(draw)), layers[0]]
    alone = [counts(function([layer])) for layer in layers]
    wanted = {key: sum(report[key] for report in alone) for key in COUNTS}
    expect.equal(counts(function(layers)), wanted)
    expect.equal(counts(function(layers[::-1])), wanted, "with the layers in reverse order, the result")


@budget_report.law(
    "LeNet-5 has 431,080 parameters, 2,293,000 MACs and 1,724,320 bytes, the 1720 KB of Deep Compression",
    hint="Caffe's LeNet: convolutions 1-20-50 with 5 × 5 kernels, then linear layers 800-500-10, all with biases.",
    trials=1,
)
def lenet_5(function, draw):
    lenet = {"parameters": 431_080, "macs": 2_293_000, "bytes": 1_724_320}
    expect.equal(counts(function(LENET_5)), lenet)
    alexnet_macs = counts(function([conv_layer(*shape) for shape, _ in ALEXNET]))["macs"]
    expect.equal(alexnet_macs, 665_784_864, "the number of MACs of AlexNet's convolutions")


@budget_report.law(
    "a layer of another kind is a ValueError, not a layer that costs nothing",
    hint="raise ValueError(…) in the last branch.",
    trials=1,
)
def unknown_kind(function, draw):
    bilinear = {**LENET_5[2], "kind": "bilinear"}
    cases = ([{"kind": "attention", "bias": False}], [*LENET_5, {**LENET_5[0], "kind": "conv3d"}], [bilinear, *LENET_5])
    cases += (
        [{**LENET_5[2], "kind": "Linear"}],
        [{**LENET_5[0], "kind": "Conv2d"}],
        [{**LENET_5[2], "kind": "linear "}],
    )
    for layers in cases:
        try:
            got = function(layers)
        except StudentError as error:
            if error.kind != "ValueError":
                raise
        else:
            expect.true(False, "an unknown kind of layer was accepted", "a ValueError", got)


@budget_report.law(
    "joules of small networks, reckoned by hand",
    hint="Look at one layer without bias: its MACs, two words of SRAM for each, and what its DRAM sees.",
    trials=1,
    share=0.2,
)
def joules_by_hand(function, draw):
    # 1000 MACs, 2000 words of SRAM, 1000 weights and 2 · 1 outputs of DRAM: 4,600 + 10,000 + 641,280 pJ
    expect.close(joules(function([linear_layer(1000, 1)])), 655_880e-12, "the energy", rtol=1e-9, atol=0)
    # 100 MACs, 200 words of SRAM, 1 weight and 2 · 100 outputs of DRAM: 460 + 1,000 + 128,640 pJ
    got = joules(function([conv_layer(1, 1, (1, 1), (10, 10))]))
    expect.close(got, 130_100e-12, "the energy", rtol=1e-9, atol=0)
    # LeNet-5: 2,293,000 MACs, 4,586,000 words of SRAM, 431,080 + 2 · 15,230 of DRAM
    expect.close(joules(function(LENET_5)), 328_863_400e-12, "the energy", rtol=1e-9, atol=0)


@budget_report.law(
    "joules follow the computation: the same work written as other layers costs the same",
    hint="In DRAM a weight counts once, wherever it is applied; an output value counts twice; a bias is a parameter.",
    share=0.2,
)
def joules_of_equal_work(function, draw):
    def cost(*layers: dict[str, Any]) -> float:
        return joules(function(list(layers)))

    def same(wanted: float, what: str, *layers: dict[str, Any]) -> None:
        expect.close(cost(*layers), float(wanted), f"the energy ({what})", rtol=1e-9, atol=0)

    inputs, outputs, kernel, (rows, columns), groups = conv_shape(draw)
    whole = conv_layer(inputs, outputs, kernel, (rows, columns), groups, bias=True)
    share = (inputs // groups, outputs // groups)
    one_group = conv_layer(*share, kernel, (rows, columns), bias=True)
    same(groups * cost(one_group), "groups are convolutions side by side", whole)
    same((2 * groups + 1) * cost(one_group), "layers add up", whole, whole, one_group)
    patch = share[0] * kernel[0] * kernel[1]
    on_patches = conv_layer(patch, share[1], (1, 1), (1, rows * columns), bias=True)
    same(cost(on_patches), "a convolution is a 1 × 1 one on patches", one_group)
    one_pixel = conv_layer(patch, share[1], (1, 1), (1, 1), bias=True)
    same(cost(linear_layer(patch, share[1], bias=True)), "1 × 1 on one pixel is a linear layer", one_pixel)
    halves = linear_layer(patch, 4, True), linear_layer(patch, 3, True)
    same(cost(*halves), "four outputs and three are seven", linear_layer(patch, 7, True))
    bias = cost(linear_layer(patch, 1, True)) - cost(linear_layer(patch, 1))
    expect.close(bias, 640e-12, "the price of a bias", rtol=1e-6, atol=0)
    # Twice the positions: everything twice, but the parameters are read once
    parameters = share[1] * (patch + 1)
    tall = conv_layer(*share, kernel, (2 * rows, columns), bias=True)
    saved = 2 * cost(one_group) - cost(tall)
    expect.close(saved, parameters * 640e-12, "what reading each parameter once saves", rtol=1e-6, atol=0)
