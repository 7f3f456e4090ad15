"""The block product, packed for a processor, and what it is raced against.

Activations are [features, batch]: a feature is a row, so that gathering a block's inputs copies whole rows, and a
block's outputs are rows again. With [batch, features] both jump through memory.
"""

import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.budget import latency_summary
from course_utils.regroup import Block

State = dict[str, Tensor]
Milliseconds = dict[str, list[float]]  # median, lower and upper quartile, by what was timed
Layer = Callable[[Tensor], Tensor]  # [in, batch] -> [out, batch]
HIDDEN = ("1", "3")  # the layers of an MLP with two hidden ones that are pruned
OUTPUT = "5"
# On a machine that others use too, a wall clock would add their work to long calls rather than to short ones. Windows
# counts a thread's processor time in ticks of 15 ms, too long for a call.
clock = time.perf_counter if sys.platform == "win32" else time.thread_time


@dataclass(frozen=True)
class Packed:
    """A layer whose units were put in order, so that blocks write rows side by side, into one matrix.

    order: [out], the unit that now stands at each place. own: (columns, weights, bias [rows, 1]) of the blocks that
    have their rows for themselves. extra: (places, columns, weights) of blocks that add to rows of others. rest: the
    bias of the units in no block of the first kind, which stand last, [units, 1].
    """

    order: Tensor
    own: list[tuple[Tensor, Tensor, Tensor]]
    extra: list[tuple[Tensor, Tensor, Tensor]]
    rest: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """[in, batch] -> [out, batch], bias included, units in the new order."""
        y = torch.empty(len(self.order), x.shape[1])
        *outputs, rest = y.split([*(len(part) for _, part, _ in self.own), len(self.rest)])
        for output, (columns, part, bias) in zip(outputs, self.own, strict=True):
            # Block by block: what is gathered stays in the cache until it is multiplied
            torch.addmm(bias, part, x.index_select(0, columns), out=output)
        rest[:] = self.rest
        for places, columns, part in self.extra:
            y.index_add_(0, places, part @ x.index_select(0, columns))
        return y


def cut_out(weight: Tensor, blocks: Sequence[Block]) -> list[tuple[Tensor, Tensor, Tensor]]:
    """(rows, columns, weights) of each block of weight [out, in]; what an earlier block has is 0 in a later one."""
    parts, open_places = [], torch.ones(weight.shape, dtype=torch.bool)
    for rows, columns in blocks:
        at = torch.tensor(rows)[:, None], torch.tensor(columns)
        parts.append((torch.tensor(rows), torch.tensor(columns), weight[at].masked_fill(~open_places[at], 0)))
        open_places[at] = False
    return parts


def pack(weight: Tensor, bias: Tensor, blocks: Sequence[Block], inputs: Tensor | None = None) -> Packed:
    """Copy the weights of blocks out of weight [out, in], each once, into small dense matrices.

    inputs: [in], the order in which the layer before now puts out its units; their own if left out.
    """
    place_of = torch.arange(weight.shape[1]) if inputs is None else torch.argsort(inputs)
    taken = torch.zeros(len(weight), dtype=torch.bool)
    own, others = [], []
    for rows, columns, part in cut_out(weight, blocks):
        shared = bool(taken[rows].any())
        (others if shared else own).append((rows, place_of[columns], part))
        if not shared:
            taken[rows] = True
    alone = (~taken).nonzero().flatten()
    order = torch.cat([*(rows for rows, _, _ in own), alone])
    where = torch.argsort(order)
    return Packed(
        order,
        [(columns, part, bias[rows, None]) for rows, columns, part in own],
        [(where[rows], columns, part) for rows, columns, part in others],
        bias[alone, None],
    )


def packed_network(state: State, blocks: dict[str, list[Block]]) -> Layer:
    """A network of two regrouped hidden layers and a dense output layer: [in, batch] -> [classes, batch]."""
    first = pack(state[f"{HIDDEN[0]}.weight"], state[f"{HIDDEN[0]}.bias"], blocks[f"{HIDDEN[0]}.weight"])
    second = pack(state[f"{HIDDEN[1]}.weight"], state[f"{HIDDEN[1]}.bias"], blocks[f"{HIDDEN[1]}.weight"], first.order)
    # The order of hidden units is free: the next layer's columns follow it
    output = state[f"{OUTPUT}.weight"][:, second.order].contiguous()
    bias = state[f"{OUTPUT}.bias"][:, None]
    return lambda x: torch.addmm(bias, output, second(first(x).relu_()).relu_())


def columns_network(state: State, blocks: dict[str, list[Block]]) -> Layer:
    """The same with [batch, features] in and [batch, classes] out: the layout that loses."""
    layers = []
    for name in HIDDEN:
        parts = [
            (rows, columns, part.T)
            for rows, columns, part in cut_out(state[f"{name}.weight"], blocks[f"{name}.weight"])
        ]
        layers.append((state[f"{name}.bias"], parts))

    def network(x: Tensor) -> Tensor:
        for bias, parts in layers:
            y = bias.expand(len(x), -1).clone()
            for rows, columns, part in parts:
                y.index_add_(1, rows, x.index_select(1, columns) @ part)
            x = y.relu_()
        return F.linear(x, state[f"{OUTPUT}.weight"], state[f"{OUTPUT}.bias"])

    return network


def dense_network(state: State) -> Layer:
    """All layers dense: [in, batch] -> [classes, batch]."""
    *hidden, (output, last) = layers_of(state)

    def network(x: Tensor) -> Tensor:
        for weight, bias in hidden:
            x = torch.addmm(bias, weight, x).relu_()
        return torch.addmm(last, output, x)

    return network


def dense_columns_network(state: State) -> Layer:
    """All layers dense, as PyTorch's own: [batch, in] -> [batch, classes]."""
    *hidden, (output, last) = [(weight, bias.flatten()) for weight, bias in layers_of(state)]

    def network(x: Tensor) -> Tensor:
        for weight, bias in hidden:
            x = F.linear(x, weight, bias).relu_()
        return F.linear(x, output, last)

    return network


def csr_network(state: State) -> Layer:
    """Hidden layers in PyTorch's CSR format: [in, batch] -> [classes, batch]."""
    *hidden, (output, last) = layers_of(state)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch calls its CSR format beta
        sparse = [(weight.to_sparse_csr(), bias) for weight, bias in hidden]

    def network(x: Tensor) -> Tensor:
        for weight, bias in sparse:
            x = (weight @ x).add_(bias).relu_()
        return torch.addmm(last, output, x)

    return network


def scipy_network(state: State) -> Callable[[np.ndarray], np.ndarray]:
    """Hidden layers in SciPy's CSR format, in NumPy: [in, batch] -> [classes, batch]."""
    *hidden, (output, last) = [(weight.numpy(), bias.numpy()) for weight, bias in layers_of(state)]
    sparse = [(scipy.sparse.csr_matrix(weight), bias) for weight, bias in hidden]

    def network(x: np.ndarray) -> np.ndarray:
        for weight, bias in sparse:
            x = np.maximum(weight @ x + bias, 0)
        return output @ x + last

    return network


def layers_of(state: State) -> list[tuple[Tensor, Tensor]]:
    """(weight, bias [out, 1]) of each layer."""
    return [(state[f"{name}.weight"], state[f"{name}.bias"][:, None]) for name in (*HIDDEN, OUTPUT)]


def without_empty_units(state: State) -> State:
    """Cut hidden units out whose incoming weights are all 0: their constant goes into the next bias.

    The surgery of unit 04, for both hidden layers: what is left of a refilled ticket is a narrower dense network.
    """
    from course_utils.structured import remove_filters

    state = dict(state)
    for name, after in zip(HIDDEN, (*HIDDEN[1:], OUTPUT), strict=True):
        parts = [f"{name}.weight", f"{name}.bias", f"{after}.weight", f"{after}.bias"]
        keep = (state[parts[0]] != 0).any(dim=1)
        state |= dict(zip(parts, remove_filters(*(state[part] for part in parts), keep, relu=True), strict=True))
    return state


def calls(x: Tensor, networks: dict[str, tuple[str, Any]]) -> dict[str, Callable[[], Any]]:
    """What the clock calls: networks by name, each with its layout, 'rows' ([features, batch]), 'columns' or 'numpy'.

    x: [features, batch].
    """
    inputs = {"rows": x.contiguous(), "columns": x.T.contiguous(), "numpy": x.contiguous().numpy()}
    return {name: lambda f=f, i=inputs[layout]: f(i) for name, (layout, f) in networks.items()}


@torch.inference_mode()
def in_turn(calls: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Milliseconds of each call, one after the other, again and again: the processor time of this thread."""
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(repeats + 3):
        for name, call in calls.items():
            start = clock()
            call()
            if number >= 3:
                samples[name].append(1000 * (clock() - start))
    return samples


def alternate(calls: Mapping[str, Callable[[], Any]], repeats: int) -> Milliseconds:
    """Median and quartiles of what `in_turn` has measured."""
    return {
        name: [round(value, 5) for value in latency_summary(taken)] for name, taken in in_turn(calls, repeats).items()
    }


def mask_of(blocks: Sequence[Block], like: Tensor) -> Tensor:
    """Bool, of the shape of `like`: True inside of the blocks."""
    inside = torch.zeros(like.shape, dtype=torch.bool)
    for rows, columns in blocks:
        inside[torch.tensor(rows)[:, None], torch.tensor(columns)] = True
    return inside


def planted(size: int, kept: float, height: int, generator: torch.Generator) -> list[Block]:
    """Blocks of `height` rows that divide all rows of a square matrix, each with the same part of the columns."""
    width = round(kept * size)
    return [
        (rows.sort().values.tolist(), torch.randperm(size, generator=generator)[:width].sort().values.tolist())
        for rows in torch.randperm(size, generator=generator).split(height)
    ]


def by_columns(weight: Tensor, blocks: Sequence[Block]) -> Layer:
    """A layer of blocks that divide its rows, without bias, with activations [batch, features]."""
    parts = [(rows, columns, part.T) for rows, columns, part in cut_out(weight, blocks)]

    def layer(x: Tensor) -> Tensor:
        y = x.new_zeros(len(x), len(weight))
        for rows, columns, part in parts:
            y.index_copy_(1, rows, x.index_select(1, columns) @ part)
        return y

    return layer


def race(batch: int, size: int = 1024, kept: float = 0.2, height: int = 64, repeats: int = 15) -> dict[str, float]:
    """Milliseconds of a dense layer and of one of blocks, in two layouts of the activations; the lab's."""
    generator = torch.Generator().manual_seed(0)
    weight, x = torch.randn(size, size, generator=generator), torch.rand(size, batch, generator=generator)
    blocks = planted(size, kept, height, generator)
    networks = {
        "dense, [features, batch]": ("rows", lambda x: weight @ x),
        "dense, [batch, features]": ("columns", lambda x: x @ weight.T),
        "blocks, [features, batch]": ("rows", pack(weight, torch.zeros(size), blocks)),
        "blocks, [batch, features]": ("columns", by_columns(weight, blocks)),
    }
    return {name: ms[0] for name, ms in alternate(calls(x, networks), repeats).items()}
