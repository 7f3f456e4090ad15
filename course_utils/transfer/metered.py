"""What the meter reads of unit 11: a small transformer that was tuned to a task, and the file that the task needs."""

from functools import partial

import numpy as np
import torch

from course_utils.budget.ledger import Entry, file_bytes, joules_of
from course_utils.flops import product_flops
from course_utils.reproduce import stored_results
from course_utils.transfer import transformer
from course_utils.transfer.figures import bleus, row_of

BITS = 6
SHOWN = ("LoRA", "head (tied embedding)", "LoRA, half of W")


def entries() -> list[Entry]:
    """Full tuning first; the score is BLEU. The costs are those of one pass over the longest text, with the update
    merged. A file holds what a task has of its own: coded numbers where they were stored so, else in 32 bits.
    """
    results = stored_results("transfer")
    settings = results["settings"]
    state = transformer.pretrained()
    tokens = torch.zeros(1, transformer.LONGEST, dtype=torch.long)
    run = partial(transformer.forward, state, tokens)
    macs = product_flops(run) // 2
    numbers = sum(value.numel() for value in state.values())
    outputs = transformer.LONGEST * (transformer.BLOCKS * 9 * transformer.WIDTH + len(state["embedding"]))
    training = f"{settings['size']} texts, {settings['steps']} steps"

    def entry(method: str, shown: str, score: list[float], size: float) -> Entry:
        return Entry(shown, training, score, macs, size, joules_of(macs, numbers, outputs), [(1.0, run)])

    found = [entry("full", "full tuning", bleus(results, "full"), file_bytes(state))]
    for method in SHOWN:
        runs = row_of(results, method)["runs"]
        files = [file for run in runs for file in run.get("files", []) if file.get("bits") == BITS]
        if files:
            size = float(np.mean([file["bytes"] for file in files]))
            found.append(entry(method, f"{method}, merged, {BITS} bits", [file["bleu"] for file in files], size))
        else:
            size = file_bytes({"numbers": torch.zeros(runs[0]["trainable"])})
            found.append(entry(method, f"{method}, merged", bleus(results, method), size))
    return found
