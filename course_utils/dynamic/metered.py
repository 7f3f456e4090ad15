"""What the meter reads of unit 06: LeNet-5 alone, and with two compiled exits in front of it."""

from functools import partial

import numpy as np
import torch

from course_utils.budget import budget_report, module_layers
from course_utils.budget.ledger import Entry, file_bytes, joules_of, of_module, percent
from course_utils.dynamic.kernel import compiled_mlp
from course_utils.models import lenet5, mlp
from course_utils.reproduce import stored_results

CASCADE, FULL, ALONE = "two exits in front, compiled", "full network, oneDNN", "no exit: "
INK = 0.2  # the part of a digit's pixels that are not 0, about; the compiled exits skip the others


def entries() -> list[Entry]:
    """LeNet-5 first. The exits cost what they do, times the share of the digits that came so far in the stored race."""
    results = stored_results("dynamic")
    runs, data, settings = results["exits"], results["data"], results["settings"]
    seen = {"digits": data["train"]}
    leave = np.mean([run["race"][CASCADE]["leave"] for run in runs], axis=0)
    shares = [1.0, 1.0 - leave[0], leave[2]]  # of the digits that the exits and the full network see
    exits = [mlp(*sizes).eval() for sizes in results["sizes"].values()]
    full, generator = lenet5().eval(), torch.Generator().manual_seed(0)
    image = torch.rand(1, 1, 28, 28, generator=generator)
    image *= torch.rand(image.shape, generator=generator) < INK
    compiled = [compiled_mlp(model.state_dict()) for model in exits]
    calls = [
        *(partial(classify, image, np.zeros(10, np.float32)) for classify in compiled),
        partial(full, image),
    ]
    reports = [budget_report(module_layers(model, (1, 28, 28))) for model in (*exits, full)]
    macs = [report["macs"] for report in reports]
    # As they are compiled: weights in 8 bits
    sizes = [
        file_bytes({name: value.to(torch.int8) if value.dim() > 1 else value for name, value in m.state_dict().items()})
        for m in exits
    ] + [file_bytes(full.state_dict())]
    joules = [joules_of(m, size / 4, 0) for m, size in zip(macs[:-1], sizes, strict=False)] + [reports[-1]["joules"]]

    def wrong(name: str) -> list[float]:
        return percent([run["race"][name]["errors"] for run in runs], data["test"])

    training = f"moved digits, {settings['epochs']} epochs"
    alone = [
        Entry(
            f"{layers} alone, compiled",
            f"LeNet-5 as teacher, {training}",
            wrong(ALONE + layers),
            macs=macs[i],
            bytes=sizes[i],
            joules=joules[i],
            parts=[(1.0, calls[i])],
            label=f"{layers}, 8 bits, compiled",
            **seen,
        )
        for i, layers in enumerate("-".join(map(str, sizes)) for sizes in results["sizes"].values())
    ]
    cascade = Entry(
        "both, then LeNet-5",
        f"LeNet-5 as teacher, {training}",
        wrong(CASCADE),
        macs=float(np.dot(shares, macs)),
        bytes=sum(sizes),
        joules=float(np.dot(shares, joules)),
        parts=list(zip(shares, calls, strict=True)),
        label="two exits, then LeNet-5",
        **seen,
    )
    dense = of_module(full, "LeNet-5", f"labels, {training}", wrong(FULL), label="LeNet-5, no exits", **seen)
    return [dense, cascade, *alone]
