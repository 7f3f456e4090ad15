"""What the meter reads of unit 12: networks of which it is certified how much noise changes nothing."""

from itertools import pairwise

import numpy as np

from course_utils.budget.ledger import Entry, of_module, of_sparse, random_sparse
from course_utils.models import mlp
from course_utils.reproduce import stored_results


def entries() -> list[Entry]:
    """The dense network first. Its score is on digits that nobody has changed."""
    results = stored_results("certified")
    settings, runs, digits = results["settings"], results["runs"], results["data"]["train"]
    sizes, narrow, radius = settings["sizes"], settings["narrow"], settings["compared"]
    shapes = [(out, inputs) for inputs, out in pairwise(sizes)]
    training = f"{digits:,} digits, {settings['epochs']} epochs"

    def wrong(name: str) -> list[float]:
        return [100 * (1 - run["bounds"][name]["clean"]) for run in runs]

    def certified(name: str, what: str) -> str:
        share = np.mean([run["bounds"][name]["intervals"][str(radius)] for run in runs])
        return f"{what}; {share:.0%} certified at {radius}"

    keep = settings["keep"]
    tenth = random_sparse(shapes, [round(keep * out * inputs) for out, inputs in shapes])
    return [
        of_module(mlp(*sizes), certified("dense", "dense"), training, wrong("dense"), digits=digits),
        of_module(
            mlp(*sizes),
            certified("dense, IBP", "dense, trained for it"),
            training,
            wrong("dense, IBP"),
            label="dense, certified",
            digits=digits,
        ),
        of_sparse(
            tenth,
            certified("largest", f"largest {keep:.0%}, CSR"),
            training,
            wrong("largest"),
            label=f"largest {keep:.0%}",
            digits=digits,
        ),
        of_module(mlp(*narrow), certified("small dense", "small dense"), training, wrong("small dense"), digits=digits),
    ]
