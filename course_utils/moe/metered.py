"""What the meter reads of unit 10: a small transformer with feed-forward layers that are dense or of experts."""

from functools import partial

import torch

from course_utils.budget.ledger import Entry, file_bytes, joules_of
from course_utils.flops import product_flops
from course_utils.models import parameter_count
from course_utils.moe.model import VOCABULARY, CharTransformer
from course_utils.moe.reproduce import Settings, networks
from course_utils.reproduce import stored_results

SHOWN = {
    "dense": "dense",
    "dense, wide": "dense, eight times as wide",
    "switch": "switch, 1 of 8",
    "noisy top-2: importance and load": "noisy top-2 of 16 halves",
    "hash": "hash, 1 of 8",
}


def entries() -> list[Entry]:
    """The dense network first. The costs are those of one text of 64 characters; the score is the test perplexity.

    All parameters are fetched for a text: its characters want nearly all experts. Values that are put out: those of the
    products, and the logits.
    """
    results = stored_results("learning_curves")
    settings = results["settings"]
    length, width, hidden = settings["length"], settings["width"], settings["hidden"]
    shape = Settings(width=width, hidden=hidden, experts=settings["experts"])
    ids = torch.randint(VOCABULARY, (1, length), generator=torch.Generator().manual_seed(0))
    found = []
    for name, shown in SHOWN.items():
        torch.manual_seed(0)
        model = CharTransformer(networks(shape)[name], VOCABULARY, width, context=length).eval()
        macs = product_flops(partial(model, ids)) // 2
        inner = hidden * settings["experts"] if name == "dense, wide" else hidden
        outputs = length * (len(model.blocks) * (5 * width + inner) + VOCABULARY)
        found.append(
            Entry(
                shown,
                f"{settings['steps']:,} steps",
                [run["perplexity"] for run in results["runs"][name]],
                macs=macs,
                bytes=file_bytes(model.state_dict()),
                joules=joules_of(macs, parameter_count(model), outputs),
                parts=[(1.0, partial(model, ids))],
            )
        )
    return found
