"""What the meter reads of unit 05: a network of bits, and its twin of float32."""

from itertools import pairwise

import numba
import numpy as np
import torch

from course_utils.binary import BinaryMLP, pack_bits, packed_layers, packed_matmul, pixel_signs
from course_utils.budget import PICOJOULES
from course_utils.budget.ledger import Entry, of_module, percent
from course_utils.models import mlp
from course_utils.reproduce import stored_results

PRODUCTS = 64  # of signs in one xor
ADDITION = (
    0.1  # picojoules of 32 bits (Horowitz 2014); a xor with its count is taken for four of them, as in the lecture
)


def entries() -> list[Entry]:
    """The float32 twin first. The binary network is timed from the pixels on, packing included."""
    results = stored_results("binary")
    data, settings, runs = results["data"], results["settings"], results["runs"]
    sizes = (784, *settings["hidden"], 10)
    layers = packed_layers(BinaryMLP(*sizes).eval())
    image = torch.rand(1, 784, generator=torch.Generator().manual_seed(0))
    numba.set_num_threads(1)

    def run() -> np.ndarray:
        words = pack_bits(pixel_signs(image).numpy())
        for weights, length, threshold, direction in layers[:-1]:
            sums = packed_matmul(words, weights, length)
            words = pack_bits(np.where(direction * sums >= direction * threshold, 1, -1))
        return packed_matmul(words, *layers[-1][:2])

    layers = [
        (weights, length, *(value if value is None else np.asarray(value) for value in rest))
        for weights, length, *rest in layers
    ]
    shown = "-".join(map(str, sizes))
    training = f"teacher, moved digits, {settings['epochs']} epochs"
    size = float(np.mean([run["bytes"] for run in runs["binary"]]))
    macs = sum(inputs * outputs for inputs, outputs in pairwise(sizes))
    # A word that is read from SRAM or DRAM holds 32 of the bits; what is put out are integers and bits, hardly any
    picojoules = macs / PRODUCTS * 4 * ADDITION + 2 * macs / 32 * PICOJOULES["sram"] + size / 4 * PICOJOULES["dram"]

    def wrong(name: str) -> list[float]:
        return percent([run["test_errors"] for run in runs[name]], data["test"])

    seen = {"digits": data["train"]}
    return [
        of_module(mlp(*sizes), f"float32, {shown}", training, wrong("float32"), label="float32, 3 × 768", **seen),
        Entry(
            "binary",
            training,
            wrong("binary"),
            macs=macs,
            bytes=size,
            joules=1e-12 * picojoules,
            parts=[(1.0, run)],
            label="binary, 3 × 768",
            **seen,
        ),
    ]
