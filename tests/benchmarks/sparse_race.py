"""One training step at 80 to 99% sparsity: `python -m tests.benchmarks.sparse_race` stores results/sparse_race.json.

Our compiled layers against PyTorch with masks, PyTorch dense, and the package sparselab (C++ kernels), on one thread,
all in one run and in turns, by the thread's processor time. Batch 100; forward, backward, momentum. sparselab has no
wheels for every system, so that the course does not install it: `pip install sparselab==0.2.2` first.
"""

from itertools import pairwise

import torch
from sparselab import SparseLinear
from torch import nn

from course_utils.reproduce import provenance, write_results
from course_utils.sparse_training.timing import contestants, race, torch_step
from course_utils.units import ROOT

SPARSITIES = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99)
NETWORKS = {"784-300-100-10": 101, "784-1000-1000-10": 31}  # rounds
BATCH = 100


def sparselab_network(sizes: list[int], sparsity: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [SparseLinear(inputs, outputs, sparsity=sparsity), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    images, labels = torch.rand(BATCH, 784), torch.randint(0, 10, (BATCH,))
    rows, alive = [], []
    for network, rounds in NETWORKS.items():
        sizes = [int(size) for size in network.split("-")]
        for sparsity in SPARSITIES:
            steps = contestants(sizes, sparsity, BATCH)
            # Its weights live in memory of its own, which the fused optimizer does not take
            other = sparselab_network(sizes, sparsity)
            alive.append(other)  # its cache of transposes goes by id(): a new layer would meet a dead one's
            steps["sparselab"] = torch_step(other, images, labels, fused=False)
            rows.append({"network": network, "sparsity": sparsity, "ms": race(steps, rounds)})
            print(network, sparsity, {name: ms[0] for name, ms in rows[-1]["ms"].items()}, flush=True)
    results = {
        "batch": BATCH,
        "rounds": NETWORKS,
        "clock": "processor time of the thread",
        **provenance(),
        "rows": rows,
    }
    write_results(ROOT / "lectures" / "results" / "sparse_race.json", results)


if __name__ == "__main__":
    main()
