"""Dense, blocks, scattered zeros: `python -m tests.benchmarks.regroup_race` stores lectures/results/regroup_race.json.

One layer of 1,024 inputs and units, on one thread, its kept weights in blocks of 64 and of 16 units or scattered; for
each part kept, batch and layout all ways in turn in one run. The clock is the thread's processor time. Before it runs,
the outputs are compared. Packing is timed too, once for each part.
"""

import json
import time
import warnings

import scipy.sparse
import torch
from torch import Tensor

from course_utils.regroup import Block, packing
from course_utils.reproduce import provenance, write_results
from course_utils.units import ROOT

SIZE = 1024
KEPT = (0.5, 0.3, 0.2, 0.1, 0.05, 0.03, 0.015)
HEIGHTS = (64, 16)  # rows of a block
REPEATS = {1: 101, 64: 31, 256: 11}  # by batch


def ways(weight: Tensor, blocks: dict[int, list[Block]], scattered: Tensor) -> tuple[dict, dict[str, float]]:
    """What is raced, each with its layout, and what packing took, in milliseconds."""
    bias = torch.zeros(SIZE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch calls its CSR format beta
        csr = scattered.to_sparse_csr()
    theirs = scipy.sparse.csr_matrix(scattered.numpy())
    raced = {
        "dense": ("rows", lambda x: weight @ x),
        "dense, [batch, features]": ("columns", lambda x: x @ weight.T),
        "CSR": ("rows", lambda x: csr @ x),
        "SciPy's CSR": ("numpy", lambda x: theirs @ x),
    }
    packing_ms = {}
    for height, found in blocks.items():
        start = time.thread_time()
        packed = packing.pack(weight, bias, found)
        packing_ms[str(height)] = round(1000 * (time.thread_time() - start), 3)
        raced[f"blocks of {height}"] = ("rows", packed)
        raced[f"blocks of {height}, [batch, features]"] = ("columns", packing.by_columns(weight, found))
    return raced, packing_ms


def compare(calls: dict, weight: Tensor, blocks: dict[int, list[Block]], scattered: Tensor, x: Tensor) -> None:
    """All ways compute what the masked or the scattered matrix does; packed units stand in another order."""
    expected = {"dense": weight @ x, "CSR": scattered @ x, "SciPy's CSR": scattered @ x}
    for height, found in blocks.items():
        inside = torch.where(packing.mask_of(found, weight), weight, 0.0) @ x
        expected[f"blocks of {height}, [batch, features]"] = inside.T
        expected[f"blocks of {height}"] = inside[packing.pack(weight, torch.zeros(SIZE), found).order]
    for name, wanted in expected.items():
        torch.testing.assert_close(torch.as_tensor(calls[name]()), wanted, rtol=1e-3, atol=1e-3)


def race(kept: float) -> list[dict]:
    """Milliseconds of the layer by batch: median and quartiles."""
    generator = torch.Generator().manual_seed(round(1000 * kept))
    weight = torch.randn(SIZE, SIZE, generator=generator)
    scattered = torch.where(torch.rand(weight.shape, generator=generator) < kept, weight, 0.0)
    blocks = {height: packing.planted(SIZE, kept, height, generator) for height in HEIGHTS}
    raced, packing_ms = ways(weight, blocks, scattered)
    rows = []
    for batch, repeats in REPEATS.items():
        x = torch.rand(SIZE, batch, generator=generator)
        calls = packing.calls(x, raced)
        compare(calls, weight, blocks, scattered, x)
        times = packing.alternate(calls, repeats)
        rows.append({"kept": kept, "batch": batch, "milliseconds": times, "packing": packing_ms})
        print(kept, batch, {name: ms[0] for name, ms in times.items()}, flush=True)
    return rows


def main() -> None:
    torch.set_num_threads(1)
    where = provenance() | {"command": "python -m tests.benchmarks.regroup_race"}
    results = {
        "size": SIZE,
        "clock": "processor time of the thread",
        "rows": [row for kept in KEPT for row in race(kept)],
    }
    path = ROOT / "lectures" / "results" / "regroup_race.json"
    write_results(path, json.loads(json.dumps(results | {"provenance": where})))


if __name__ == "__main__":
    main()
