"""What curvature costs: `python -m tests.benchmarks.curvature_cost` stores lectures/results/saliency_cost.json.

Networks of 10³ to 10⁶ parameters, one thread, all methods in one run and in turns:
a busy machine slows all alike.
"""

import json
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from backpack import backpack, extend
from backpack.extensions import DiagGGNExact, DiagHessian
from torch import nn

from course_utils import saliency
from course_utils.models import mlp, parameter_count
from course_utils.pruning import exact_curvature, recursion_inputs, weight_names
from course_utils.reproduce import provenance, write_results
from course_utils.units import ROOT

SIZES = (
    (49, 16, 10),
    (196, 12, 10, 10),
    (196, 40, 20, 10),
    (784, 32, 32, 10),
    (784, 100, 60, 10),
    (784, 300, 100, 10),
    (784, 800, 400, 10),
)
BATCH, REPEATS = 128, 61


def methods(model: nn.Sequential, images: torch.Tensor, labels: torch.Tensor) -> dict:
    """Functions without arguments, each of which gives its curvatures (or gradients), first layer first."""
    extended, loss = extend(mlp(*widths(model))), extend(nn.CrossEntropyLoss())
    extended.load_state_dict(model.state_dict())
    names = weight_names(model)

    def gradient():
        cost = F.cross_entropy(model(images), labels)
        return torch.autograd.grad(cost, [model.get_parameter(name) for name in names])

    def by_backpack(extension):
        extended.zero_grad()
        with backpack(extension()):
            loss(extended(images), labels).backward()
        return [getattr(extended.get_parameter(name), extension().savefield) for name in names]

    return {
        "gradient (autograd)": gradient,
        "recursion (ours)": lambda: saliency.backpropagate_curvature(*recursion_inputs(model, images, labels)),
        "exact diagonal (ours)": lambda: exact_curvature(model, images, labels),
        "exact diagonal (BackPACK, DiagGGNExact)": lambda: by_backpack(DiagGGNExact),
        "exact diagonal (BackPACK, DiagHessian)": lambda: by_backpack(DiagHessian),
    }


def widths(model: nn.Sequential) -> list[int]:
    layers = [layer for layer in model if isinstance(layer, nn.Linear)]
    return [layers[0].in_features, *(layer.out_features for layer in layers)]


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows = []
    for sizes in SIZES:
        model = mlp(*sizes)
        images, labels = torch.rand(BATCH, sizes[0]), torch.randint(0, sizes[-1], (BATCH,))
        candidates = methods(model, images, labels)
        results = {name: function() for name, function in candidates.items()}  # warms up as well
        theirs = results["exact diagonal (BackPACK, DiagGGNExact)"]
        for name in ("exact diagonal (ours)", "exact diagonal (BackPACK, DiagHessian)"):
            for ours, wanted in zip(results[name], theirs, strict=True):
                torch.testing.assert_close(ours, wanted, rtol=1e-3, atol=1e-7)
        samples = {name: [] for name in candidates}
        for _ in range(REPEATS):
            for name, function in candidates.items():
                start = time.perf_counter()
                function()
                samples[name].append(1000 * (time.perf_counter() - start))
        quartiles = {name: np.percentile(times, [25, 50, 75]).round(3).tolist() for name, times in samples.items()}
        rows.append({"sizes": sizes, "parameters": parameter_count(model), "milliseconds": quartiles})
        print(rows[-1]["parameters"], {name: q[1] for name, q in quartiles.items()})
    path = Path(ROOT) / "lectures" / "results" / "saliency_cost.json"
    results = {"batch": BATCH, "repeats": REPEATS, "quartiles": "lower, median, upper", "networks": rows}
    where = provenance() | {"command": "python -m tests.benchmarks.curvature_cost"}
    write_results(path, json.loads(json.dumps(results | {"provenance": where})))


if __name__ == "__main__":
    main()
