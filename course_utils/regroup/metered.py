"""What the meter reads of unit 08: a wide MLP, its scattered ticket, regrouped blocks, and a small dense network."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from course_utils.budget.ledger import Entry, file_bytes, joules_of, of_module, of_sparse, percent, random_sparse
from course_utils.models import mlp
from course_utils.regroup import Block
from course_utils.regroup.packing import packed_network
from course_utils.reproduce import stored_results


def like_stored(layer: Mapping[str, Any], shape: tuple[int, int], height: int) -> list[Block]:
    """As many blocks as a stored layer has, of the same area, at random places; as many of them have own rows."""
    out, inputs = shape
    generator = torch.Generator().manual_seed(0)
    count = sum(layer["blocks"])
    width = round(layer["area"] * out * inputs / (count * height))
    groups = torch.randperm(out, generator=generator)[: layer["groups"] * height].view(-1, height).sort().values
    columns = [torch.randperm(inputs, generator=generator)[:width].sort().values.tolist() for _ in range(count)]
    return [(groups[i % len(groups)].tolist(), columns[i]) for i in range(count)]


def entries() -> list[Entry]:
    """The dense network first; all were trained for as many epochs."""
    results = stored_results("twins")
    settings, runs, digits = results["settings"], results["runs"], results["data"]["train"]
    first, second = settings["width"]
    shapes = [(first, 784), (second, first), (10, second)]
    training = f"{digits:,} digits, {results['epochs']} epochs"
    common = {"digits": digits}

    def wrong(name: str) -> list[float]:
        return percent([run[name]["test_errors"] for run in runs], results["data"]["test"])

    def weights(name: str) -> float:
        return float(np.mean([run[name]["weights"] for run in runs]))

    hidden = sum(out * inputs for out, inputs in shapes[:2])
    share = weights("scattered") / hidden
    scattered = random_sparse(shapes, [*(round(share * out * inputs) for out, inputs in shapes[:2]), 10 * second])
    layers = runs[0]["blocks"]["layers"]
    height = settings["recipe"]["rows_per_group"]
    blocks = {
        name: like_stored(layer, shape, height)
        for name, layer, shape in zip(("1.weight", "3.weight"), layers, shapes, strict=False)
    }
    packed = packed_network(mlp(784, first, second, 10).state_dict(), blocks)
    pixels = torch.rand(784, 1, generator=torch.Generator().manual_seed(0))
    macs = weights("regrouped") + 10 * second
    numbers = float(np.mean([run["blocks"]["numbers"] for run in runs]))
    rows = sum(out for out, _ in shapes)
    words = macs + numbers + rows
    narrow = runs[0]["small dense"]["width"]
    return [
        of_module(mlp(784, first, second, 10), f"dense, {first}-{second}", training, wrong("dense"), **common),
        of_sparse(
            scattered,
            f"ticket of {share:.1%}, CSR",
            training,
            wrong("scattered"),
            label=f"wide ticket of {share:.1%}",
            **common,
        ),
        Entry(
            "regrouped ticket, blocks",
            training,
            wrong("regrouped"),
            macs=macs,
            bytes=file_bytes({"words": torch.zeros(round(words))}),
            joules=joules_of(macs, words, rows),
            parts=[(1.0, lambda: packed(pixels))],
            label="regrouped blocks",
            **common,
        ),
        of_module(
            mlp(784, *narrow, 10), f"dense, {'-'.join(map(str, narrow))}", training, wrong("small dense"), **common
        ),
    ]
