"""float32, int8 and binary matrix products: `python -m tests.benchmarks.binary_race` stores
lectures/results/binary_race.json.

A layer of K inputs and K outputs, its weights prepared beforehand, its activations arriving as float32: the int8 layer
quantizes them, the binary one packs them, and both are paid for. All sides run in one process with as many threads, on
one core and on all. They take turns in short blocks, not call by call: the idle threads of one library go on spinning
for a while, and would slow the next one.
"""

import json
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numba
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils import binary
from course_utils.reproduce import provenance, write_results
from course_utils.units import ROOT

SIZES = (64, 128, 256, 512, 1024, 2048, 4096)
BATCHES = (1, 128)
ROUNDS, BLOCK, WARM_UP = 7, 7, 3  # blocks of each side, measured calls and unmeasured ones in a block
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def int8_layer(weight: Tensor) -> nn.Module:
    """torch's own int8 linear layer for CPUs: weights quantized beforehand, activations at each call."""
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    linear.weight.data.copy_(weight)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.ao is being moved to another package; the kernels are the same
        return torch.ao.quantization.quantize_dynamic(nn.Sequential(linear), {nn.Linear}, dtype=torch.qint8)


def sides(batch: int, size: int) -> dict[str, Callable[[], object]]:
    """Functions without arguments, all of which multiply the same signs."""
    inputs, weight = (binary.binarize(torch.randn(rows, size)) for rows in (batch, size))
    signs, weight_words = inputs.numpy(), binary.pack_bits(weight.numpy())
    words, quantized = binary.pack_bits(signs), int8_layer(weight)
    return {
        "float32": lambda: F.linear(inputs, weight),
        "int8": lambda: quantized(inputs),
        "binary": lambda: binary.packed_matmul(binary.pack_bits(signs), weight_words, size),
        "binary, packed before": lambda: binary.packed_matmul(words, weight_words, size),
        "packing": lambda: binary.pack_bits(signs),
    }


def race(batch: int, size: int) -> dict[str, list[float]]:
    """Milliseconds of each side: least, lower quartile, median, upper quartile."""
    candidates = sides(batch, size)
    results = {name: np.asarray(function()) for name, function in candidates.items()}
    for name in ("int8", "binary", "binary, packed before"):
        error = np.abs(results[name] - results["float32"]).max()
        assert error <= (size / 100 if name == "int8" else 0), f"{name} is off by {error}"
    samples: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(ROUNDS):
        for name, function in candidates.items():
            for call in range(WARM_UP + BLOCK):
                start = time.perf_counter()
                function()
                if call >= WARM_UP:
                    samples[name].append(1000 * (time.perf_counter() - start))
    return {name: np.percentile(times, [0, 25, 50, 75]).round(4).tolist() for name, times in samples.items()}


def crossover(rows: list[dict], rival: str) -> int | None:
    """The smallest size from which on binary, packing included, beats the rival's median at all measured sizes."""
    faster = None
    for row in reversed(rows):
        if row["milliseconds"]["binary"][2] >= row["milliseconds"][rival][2]:
            break
        faster = row["size"]
    return faster


@torch.no_grad()
def main() -> None:
    torch.manual_seed(0)
    races = []
    for threads in sorted({1, CORES}):
        torch.set_num_threads(threads)
        numba.set_num_threads(threads)
        for batch in BATCHES:
            rows = []
            for size in SIZES:
                rows.append({"size": size, "milliseconds": race(batch, size)})
                medians = {name: times[2] for name, times in rows[-1]["milliseconds"].items()}
                gain = medians["float32"] / medians["binary"]
                print(f"{threads} threads, {batch} x {size} x {size}: {medians}, gain {gain:.1f}", flush=True)
            found = {rival: crossover(rows, rival) for rival in ("float32", "int8")}
            print("crossovers:", found)
            races.append({"threads": threads, "batch": batch, "rows": rows, "crossover": found})
    results = {
        "calls": f"{ROUNDS} blocks of {BLOCK} for each side, in turns",
        "milliseconds": "least, lower quartile, median, upper quartile",
        "int8": f"torch.ao.quantization.quantize_dynamic, engine {torch.backends.quantized.engine}",
        "nice": os.nice(0) if hasattr(os, "nice") else None,
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "races": races,
    }
    where = provenance() | {"command": "python -m tests.benchmarks.binary_race", "threads": sorted({1, CORES})}
    path = Path(ROOT) / "lectures" / "results" / "binary_race.json"
    write_results(path, json.loads(json.dumps(results | {"provenance": where})))


if __name__ == "__main__":
    main()
