"""What a token costs as experts are added: `python -m tests.benchmarks.moe_race` stores lectures/results/moe_race.json.

k = 2 experts for each token, 4 to 64 experts in all; our layer against Hugging Face's Mixtral block (with its plain
loop, and with torch's grouped product) and against st-moe-pytorch, with the same weights, on one thread, in several
processes one after the other, in each all in turns: a busy spell meets all, whatever their number of experts. What is
counted is the thread's processor time. Before the clock runs, their outputs are compared.
"""

import json
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from st_moe_pytorch import MoE
from torch import Tensor, nn
from transformers.models.mixtral.modeling_mixtral import MixtralConfig, MixtralSparseMoeBlock

from course_utils.moe import figures
from course_utils.moe.model import MoELayer, Routing
from course_utils.reproduce import provenance, write_results
from course_utils.units import ROOT

EXPERTS = (4, 8, 16, 32, 64)
K, LENGTH, WIDTH, HIDDEN = 2, 256, 128, 256
PROCESSES = 9
REPEATS = {8: 15, 32: 5}  # in each process, by the number of sequences in a batch


def two_largest(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Values and places of the two largest in each row, by NumPy's `argmax` twice: of 64, `torch.topk` takes longer."""
    first = torch.from_numpy(logits.numpy().argmax(-1, keepdims=True))
    largest = logits.gather(-1, first)
    others = logits.scatter_(-1, first, -torch.inf)  # in place: nobody else reads the logits
    second = torch.from_numpy(others.numpy().argmax(-1, keepdims=True))
    return torch.cat((largest, others.gather(-1, second)), -1), torch.cat((first, second), -1)


class TopTwo(nn.Module):
    """The softmax over the two largest logits."""

    def __init__(self, weight: Tensor, find: Callable[[Tensor], tuple[Tensor, Tensor]] = two_largest) -> None:
        super().__init__()
        self.weight, self.find = weight, find  # [width, experts]

    def forward(self, hidden: Tensor, ids: Tensor) -> Routing:
        largest, chosen = self.find(hidden @ self.weight)
        tokens = torch.arange(len(hidden)).repeat_interleave(K)
        return Routing(tokens, chosen.flatten(), torch.softmax(largest, -1).flatten())


class ReLUExpert(nn.Module):
    """An expert for st-moe-pytorch of the same shape as ours."""

    def __init__(self) -> None:
        super().__init__()
        self.w1, self.w2 = nn.Linear(WIDTH, HIDDEN, bias=False), nn.Linear(HIDDEN, WIDTH, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.w2(torch.relu(self.w1(x)))


def swiglu(both: Tensor) -> Tensor:
    gate, up = both.chunk(2, -1)
    return F.silu(gate) * up


def ours(router: TopTwo, w1: Tensor, w2: Tensor, activation=torch.relu) -> MoELayer:
    layer = MoELayer(router, WIDTH, HIDDEN, len(w1), activation)
    layer.w1, layer.w2 = nn.Parameter(w1.contiguous()), nn.Parameter(w2.contiguous())
    return layer


def candidates(experts: int, tokens: Tensor) -> dict:
    """Functions without arguments that give the layer's output [batch, length, width], and one that only routes."""
    made = {}
    for implementation in ("eager", "grouped_mm"):
        config = MixtralConfig(
            hidden_size=WIDTH, intermediate_size=HIDDEN, num_local_experts=experts, num_experts_per_tok=K
        )
        config._experts_implementation = implementation
        block = MixtralSparseMoeBlock(config).eval()
        torch.manual_seed(experts)
        for parameter in block.parameters():
            nn.init.normal_(parameter, std=WIDTH**-0.5)
        made[f"Mixtral block, Hugging Face ({implementation})"] = lambda block=block: block(tokens)
    gate = block.gate.weight.T.contiguous()
    weights = [weight.transpose(1, 2) for weight in (block.experts.gate_up_proj, block.experts.down_proj)]
    gated = ours(TopTwo(gate), *weights, swiglu)
    by_topk = ours(TopTwo(gate, lambda logits: logits.topk(K)), *weights, swiglu)

    members = nn.ModuleList(ReLUExpert() for _ in range(experts))
    theirs = MoE(WIDTH, num_experts=experts, gating_top_n=K, experts=members, threshold_eval=0.0).eval()
    w1, w2 = torch.stack([m.w1.weight.T for m in members]), torch.stack([m.w2.weight.T for m in members])
    router = TopTwo(theirs.gate.to_gates.weight.T.contiguous())
    plain = ours(router, w1, w2)
    # As many experts, routed and multiplied alike, but with one expert's weights to read
    alike = ours(router, w1, w2)
    alike.w1, alike.w2 = (nn.Parameter(weight[:1].expand_as(weight)) for weight in (w1, w2))
    ids = torch.zeros(tokens.shape[:2].numel(), dtype=torch.int64)
    first = (torch.randn(WIDTH, HIDDEN) * WIDTH**-0.5, torch.randn(HIDDEN, WIDTH) * HIDDEN**-0.5)
    return {
        "ours, SwiGLU experts": lambda: gated(tokens.flatten(0, 1), ids)[0].view_as(tokens),
        figures.TOPK: lambda: by_topk(tokens.flatten(0, 1), ids)[0].view_as(tokens),
        **made,
        "ours, ReLU experts": lambda: plain(tokens.flatten(0, 1), ids)[0].view_as(tokens),
        figures.CONTROL: lambda: alike(tokens.flatten(0, 1), ids)[0].view_as(tokens),
        figures.ROUTER: lambda: plain.router(tokens.flatten(0, 1), ids),
        "st-moe-pytorch, ReLU experts": lambda: theirs(tokens).outputs,
        "dense ReLU layer of two experts' size": lambda: (
            torch.relu(tokens @ first[0].repeat(1, K)) @ first[1].repeat(K, 1)
        ),
    }


def share_equal(results: dict[str, Tensor]) -> float:
    """Compare the outputs; returns the part of the tokens on which st-moe-pytorch's equals ours.

    It drops what is beyond an even share of a sequence's pairs: a factor of 2 for k = 2. We drop nothing.
    """
    for name in results:
        if "Mixtral" in name or name == figures.TOPK:
            torch.testing.assert_close(results["ours, SwiGLU experts"], results[name], rtol=1e-3, atol=1e-4)
    difference = (results["ours, ReLU experts"] - results["st-moe-pytorch, ReLU experts"]).abs().amax(-1)
    return float((difference < 1e-4).float().mean())


@torch.inference_mode()
def samples(batch: int) -> tuple[dict, dict]:
    """Milliseconds of processor time for a token, by number of experts and name, each REPEATS times; and, by number of
    experts, for which part of the tokens st-moe-pytorch gives what ours gives."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    tokens = torch.randn(batch, LENGTH, WIDTH)
    raced = {experts: candidates(experts, tokens) for experts in EXPERTS}
    equal = {
        experts: share_equal({name: function() for name, function in functions.items()})  # warms up as well
        for experts, functions in raced.items()
    }
    found = {experts: {name: [] for name in functions} for experts, functions in raced.items()}
    for _ in range(REPEATS[batch]):
        for experts, functions in raced.items():
            for name, function in functions.items():
                start = time.thread_time()
                function()
                found[experts][name].append(1000 * (time.thread_time() - start) / (batch * LENGTH))
    return found, equal


def race(batch: int) -> list[dict]:
    """Quartiles over all processes, for every number of experts."""
    # In one process the dense layer, the same in all rows, was seen to differ by a tenth from row to row: perhaps it
    # hangs on where matrices lie. Several processes, each with a memory of its own, average over it
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
        runs = list(pool.map(samples, [batch] * PROCESSES))
    rows = []
    for experts in EXPERTS:
        times = {name: [found[experts][name] for found, _ in runs] for name in runs[0][0][experts]}
        quartiles = {name: np.percentile(each, [25, 50, 75]).round(6).tolist() for name, each in times.items()}
        equal = runs[0][1][experts]
        rows.append({"experts": experts, "milliseconds_per_token": quartiles, "equal_to_st_moe": equal})
        print(experts, {name: round(q[1], 5) for name, q in quartiles.items()}, equal, flush=True)
    return rows


def main() -> None:
    torch.set_num_threads(1)
    races = [
        {"tokens": batch * LENGTH, "processes": PROCESSES, "repeats": repeats, "rows": race(batch)}
        for batch, repeats in REPEATS.items()
    ]
    path = Path(ROOT) / "lectures" / "results" / "moe_race.json"
    shape = {"k": K, "width": WIDTH, "hidden": HIDDEN, "quartiles": "lower, median, upper"}
    where = provenance() | {"command": "python -m tests.benchmarks.moe_race"}
    write_results(path, json.loads(json.dumps(shape | {"races": races, "provenance": where})))


if __name__ == "__main__":
    main()
