"""What the meter reads of unit 02: a small network, and what Optimal Brain Damage leaves of it."""

from itertools import pairwise

from course_utils.budget.ledger import Entry, of_module, of_sparse, percent, random_sparse
from course_utils.models import mlp
from course_utils.reproduce import stored_results

DELETED = (0.6, 0.8)  # of the weights


def entries() -> list[Entry]:
    """The dense network first, trained on for as long. What is left of the others is spread evenly over their layers
    here; their cost depends on the number alone."""
    results = stored_results("saliency")
    data, settings, runs = results["data"], results["settings"], results["runs"]
    sizes, epochs = settings["sizes"], settings["epochs"]
    shapes = [(outputs, inputs) for inputs, outputs in pairwise(sizes)]
    shown = "-".join(map(str, sizes))
    last = len(settings["deleted"]) * settings["round_epochs"]
    seen = {"digits": data["train"]}

    def wrong(rows: list[dict]) -> list[float]:
        return percent([row["test_errors"] for row in rows], data["test"])

    dense = of_module(
        mlp(*sizes),
        f"dense, {shown}",
        f"{data['train']:,} digits, {epochs} + {last} epochs",
        wrong([run["dense_trained_on"][-1] for run in runs]),
        shape=(1, 14, 14),
        **seen,
    )
    # The same format with nothing deleted, so that what the change of library gains is not put down to the cut
    whole = of_sparse(
        random_sparse(shapes, [outputs * inputs for outputs, inputs in shapes]),
        "nothing deleted, CSR",
        dense.training,
        dense.score,
        **seen,
    )
    return [dense, whole] + [
        of_sparse(
            random_sparse(shapes, [round((1 - part) * outputs * inputs) for outputs, inputs in shapes]),
            f"{part:.0%} deleted by OBD, CSR",
            f"{data['train']:,} digits, {epochs} + {number * settings['round_epochs']} epochs",
            wrong([run["in_rounds"]["OBD"][number - 1]["retrained"] for run in runs]),
            label=f"OBD, {part:.0%} deleted" if part == DELETED[0] else "",
            **seen,
        )
        for part in DELETED
        for number in [settings["deleted"].index(part) + 1]
    ]
