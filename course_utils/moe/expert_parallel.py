r"""Expert parallelism: the experts of one layer spread over processes, the tokens sent to them and back.

`python -m course_utils.moe.expert_parallel` runs two processes on this machine and compares them with one. Torchrun:

    torchrun --nproc-per-node 2 -m course_utils.moe.expert_parallel

and on two machines, started on both, with the address of the first:

    torchrun --nnodes 2 --nproc-per-node 2 --rdzv-backend c10d --rdzv-endpoint HOST:29500 \
        -m course_utils.moe.expert_parallel

(D. Lepikhin et al., *GShard: Scaling Giant Models with Conditional Computation and Automatic Sharding*, ICLR 2021,
arXiv:2006.16668, section 3.)
"""

import json
import os
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing
from torch import Tensor

from course_utils import moe
from course_utils.moe.model import run_experts

TOKENS, WIDTH, HIDDEN, EXPERTS, K = 48, 16, 32, 8, 2  # of the demonstration


class Exchange(torch.autograd.Function):
    """All-to-all: every process sends each other one a part of its rows. The gradients go the same way back."""

    @staticmethod
    def forward(context: Any, rows: Tensor, sent: list[int], received: list[int]) -> Tensor:
        context.splits = sent, received
        result = rows.new_empty(sum(received), *rows.shape[1:])
        dist.all_to_all_single(result, rows.contiguous(), received, sent)
        return result

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        sent, received = context.splits
        return Exchange.apply(gradient, received, sent), None, None


def parallel_moe(tokens: Tensor, router_weight: Tensor, w1: Tensor, w2: Tensor, k: int) -> tuple[Tensor, int]:
    """A mixture-of-experts layer without capacity, its experts spread evenly over the processes of the default group.

    tokens: [tokens, width], this process's own; router_weight: [width, experts], the same everywhere; w1: [experts /
    processes, width, hidden] and w2: [experts / processes, hidden, width], of this process's experts, which follow
    those of the process before. Returns (output [tokens, width], number of rows that went to other processes). The
    gradients of w1 and w2 are those by all processes' tokens; the router's are to be added up over the processes.
    """
    processes, local = dist.get_world_size(), len(w1)
    logits = tokens @ router_weight
    largest, chosen = logits.topk(k)
    gates = moe.switch_gate(logits)[1] if k == 1 else torch.softmax(largest, -1).flatten()
    # Rows sorted by expert are sorted by process too
    experts, order = chosen.flatten().sort(stable=True)
    per_expert = torch.bincount(experts, minlength=processes * local)
    arriving = torch.empty_like(per_expert)  # [processes, local]: rows from each process for each expert of this one
    dist.all_to_all_single(arriving, per_expert)
    sent = per_expert.view(processes, local).sum(1).tolist()
    received = arriving.view(processes, local).sum(1).tolist()
    rows = Exchange.apply(tokens[order // k], sent, received)
    # What arrives is sorted by sender, then by expert: sort by expert, and back after the work
    owner = torch.arange(local).repeat(processes).repeat_interleave(arriving)
    by_expert = owner.argsort(stable=True)
    counts = arriving.view(processes, local).sum(0).tolist()
    outputs = run_experts(rows[by_expert], counts, w1, w2)
    returned = Exchange.apply(outputs[by_expert.argsort()], received, sent)
    gated = returned * gates[order].unsqueeze(1)
    output = torch.zeros_like(tokens).index_add(0, order // k, gated)
    return output, sum(sent) - sent[dist.get_rank()]


def inputs() -> tuple[Tensor, ...]:
    """The demonstration's tokens, router, experts and the weights of its loss: the same in every process."""
    generator = torch.Generator().manual_seed(0)
    shapes = (TOKENS, WIDTH), (WIDTH, EXPERTS), (EXPERTS, WIDTH, HIDDEN), (EXPERTS, HIDDEN, WIDTH), (TOKENS, WIDTH)
    return tuple(torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)


def compare() -> dict[str, Any]:
    """In each process of an initialized group: its share of the layer, against the whole layer computed alone.

    Returns what was sent, and the largest differences of the output and of each gradient.
    """
    rank, processes = dist.get_rank(), dist.get_world_size()
    if EXPERTS % processes or TOKENS % processes:
        raise ValueError(f"{EXPERTS} experts and {TOKENS} tokens cannot be shared equally by {processes} processes.")
    tokens, router, w1, w2, weights = inputs()
    whole = [tensor.clone().requires_grad_() for tensor in (tokens, router, w1, w2)]
    expected, _ = moe.moe_layer(*whole, K, capacity_factor=EXPERTS / K)  # room for all
    (expected * weights).sum().backward()

    share = slice(rank * TOKENS // processes, (rank + 1) * TOKENS // processes)
    mine = slice(rank * EXPERTS // processes, (rank + 1) * EXPERTS // processes)
    parts = [tensor.clone().requires_grad_() for tensor in (tokens[share], router, w1[mine], w2[mine])]
    output, sent = parallel_moe(*parts, K)
    (output * weights[share]).sum().backward()
    dist.all_reduce(parts[1].grad)  # the router is the same everywhere: its gradients are added up

    wanted = (whole[0].grad[share], whole[1].grad, whole[2].grad[mine], whole[3].grad[mine])
    differences = {"output": (output - expected[share]).detach().abs().max()}
    for name, part, gradient in zip(("tokens", "router", "w1", "w2"), parts, wanted, strict=True):
        differences[f"gradient of {name}"] = (part.grad - gradient).abs().max()
    return {
        "process": rank,
        "experts": [mine.start, mine.stop],
        "rows": (share.stop - share.start) * K,
        "sent": sent,
        "differences": {name: float(value) for name, value in differences.items()},
    }


def _worker(rank: int, processes: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", f"file://{folder}/meet", rank=rank, world_size=processes, timeout=timedelta(seconds=120)
    )
    try:
        Path(folder, f"{rank}.json").write_text(json.dumps(compare()))
    finally:
        dist.destroy_process_group()


def demonstrate(processes: int = 2) -> list[dict[str, Any]]:
    """Start processes on this machine, and return what `compare` found in each."""
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(_worker, (processes, folder), processes)
        return [json.loads(Path(folder, f"{rank}.json").read_text()) for rank in range(processes)]


def describe(found: dict[str, Any]) -> str:
    """One line about one process."""
    first, last = found["experts"]
    worst = max(found["differences"].values())
    return (
        f"process {found['process']}: experts {first} to {last - 1}; {found['sent']} of {found['rows']} rows sent; "
        f"output and gradients equal to those of one process: {worst < 1e-10}"
    )


def main() -> None:
    if "RANK" in os.environ:  # torchrun started this process, and others
        dist.init_process_group("gloo")
        print(describe(compare()) + "\n", end="", flush=True)  # in one piece: other processes print too
        dist.destroy_process_group()
    else:
        print(*map(describe, demonstrate()), sep="\n")


if __name__ == "__main__":
    main()
