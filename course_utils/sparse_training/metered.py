"""What the meter reads of unit 09: networks that were sparse from the first step on, as matrices and as coded files."""

import base64

import numpy as np

from course_utils.budget.ledger import Entry, of_module, of_sparse, percent, random_sparse
from course_utils.models import lenet_300_100
from course_utils.reproduce import stored_results
from course_utils.sparse_training.tiny import read_file

SHAPES = [(300, 784), (100, 300), (10, 100)]


def entries() -> list[Entry]:
    """The dense network first. The files are read back, and run without their zeros."""
    results = stored_results("sparse_training")
    data, settings, runs, files = (results[key] for key in ("data", "settings", "runs", "files"))
    seen = {"digits": data["train"]}

    def wrong(rows: list[dict]) -> list[float]:
        return percent([row["test_errors"] for row in rows], data["test"])

    found = [
        of_module(
            lenet_300_100(),
            "dense, LeNet-300-100",
            f"labels, moved digits, {settings['epochs']} epochs",
            wrong([run["dense"] for run in runs]),
            label="LeNet-300-100",
            **seen,
        )
    ]
    for name, times in (("RigL, ERK", 1), ("RigL, longer", settings["longer"])):
        found.append(
            of_sparse(
                random_sparse(SHAPES, runs[0][name]["connections"]),
                f"RigL, {settings['density']:.0%}, CSR",
                f"labels, moved digits, {times * settings['epochs']} epochs",
                wrong([run[name] for run in runs]),
                label=f"RigL, {settings['density']:.0%}" if times > 1 else "",
                **seen,
            )
        )
    for goal in files["limits"]:
        rows = [run[goal] for run in files["runs"]]
        state = read_file(base64.b64decode(rows[0]["file"])).state_dict()
        recipe = files["candidates"][goal][0]
        found.append(
            of_sparse(
                [value for value in state.values() if value.dim() > 1],
                f"RigL, {sum(rows[0]['connections']):,} weights, coded",
                f"labels, moved digits, {recipe['epochs'] + recipe['share_epochs']} epochs",
                wrong(rows),
                bytes=float(np.mean([row["bytes"] for row in rows])),
                label=f"RigL, {sum(rows[0]['connections']):,} weights",
                **seen,
            )
        )
    return found
