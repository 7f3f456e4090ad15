"""What the meter reads of unit 03: coded files, and the dense networks into which they are decoded."""

import numpy as np

from course_utils.budget.ledger import Entry, of_module, percent
from course_utils.models import lenet5, lenet_300_100
from course_utils.reproduce import stored_results

NETWORKS = {"lenet_300_100": ("LeNet-300-100", lenet_300_100), "lenet5": ("LeNet-5", lenet5)}
SHOWN = (
    ("lenet_300_100", "paper's", "dense"),
    ("lenet_300_100", "ours", "arithmetic"),
    ("lenet5", "paper's", "dense"),
    ("lenet5", "ours, between", "arithmetic"),
    ("lenet5", "ours, smaller", "arithmetic"),
)


def entries() -> list[Entry]:
    """LeNet-300-100 dense first. A coded file is decoded into a dense network with zeros, and that is timed."""
    results = stored_results("deep_compression")
    data = results["data"]
    found = []
    for key, recipe, stage in SHOWN:
        name, build = NETWORKS[key]
        runs, settings = results["runs"][key][recipe], results["recipes"][key][recipe]
        more, epochs = {}, settings["dense_epochs"]
        if stage == "dense":
            network, training = f"{name}, dense", f"labels, {epochs} epochs"
        else:
            network = f"{name}, {runs[0]['kept']:,} weights, coded"
            epochs += settings["prune_epochs"] + settings["share_epochs"]
            training = f"teacher, moved digits, {epochs} epochs"
            size = float(np.mean([run[stage]["bytes"] for run in runs]))
            more = {"bytes": size, "label": network.removesuffix(", coded")}
        errors = percent([run[stage]["test_errors"] for run in runs], data["test"])
        found.append(of_module(build(), network, training, errors, digits=data["train"], **more))
    return found
