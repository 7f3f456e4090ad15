"""What the meter reads of unit 13: networks of random weights, of which a mask is all that is learned and stored."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch

from course_utils.budget import budget_report, module_layers
from course_utils.budget.ledger import Entry, joules_of, of_module, percent
from course_utils.models import mlp
from course_utils.reproduce import stored_results

KEEP = 0.5


def mask_bytes(shapes: Sequence[int]) -> int:
    """Bytes of a file with a seed, from which the weights are drawn again, and a bit for each of them."""
    places = sum(inputs * outputs for inputs, outputs in pairwise(shapes))
    return 8 + len(np.packbits(np.ones(places, dtype=bool)))


def entries() -> list[Entry]:
    """A trained network first. To run, masks are multiplied with their weights: a dense network is timed."""
    results = stored_results("theory")
    data, settings = results["data"], results["settings"]
    runs = [run["popup"] for run in results["approximation"]]
    seen = {"digits": settings["popup_images"]}
    training = f"{settings['popup_images']:,} digits, {settings['popup_epochs']} epochs"

    def wrong(width: int, method: str, keep: float) -> list[float]:
        rows = [next(r for r in run if (r["width"], r["method"], r["keep"]) == (width, method, keep)) for run in runs]
        return percent([row["test"] for row in rows], data["test"])

    middle, widest = settings["widths"][1:]
    found = [
        of_module(
            mlp(784, middle, middle, 10), f"trained, {middle}-{middle}", training, wrong(middle, "trained", 1.0), **seen
        )
    ]
    for width in (middle, widest):
        sizes = (784, width, width, 10)
        model = mlp(*sizes)
        for layer in model:
            if isinstance(layer, torch.nn.Linear):
                layer.bias = None
        report = budget_report(module_layers(model, (1, 28, 28)))
        found.append(
            of_module(
                model,
                f"mask of random weights, {width}-{width}",
                training,
                wrong(width, "signed", KEEP),
                bytes=mask_bytes(sizes),
                joules=joules_of(report["macs"], report["parameters"], sum(sizes[1:])),
                label=f"mask alone, {width}-{width}" if width == widest else "",
                **seen,
            )
        )
    return found
