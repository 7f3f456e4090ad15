"""An exit in front of the network, compiled for one image at a time."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor


def rounded(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same network with weights of 8 bits: in each layer the nearest of 255 multiples of one step, the longest of
    which is the largest weight. Biases stay."""
    return {name: value if name.endswith("bias") else _whole(value) * _step(value) for name, value in state.items()}


def _step(weight: Tensor) -> Tensor:
    return weight.abs().max() / 127


def _whole(weight: Tensor) -> Tensor:
    return torch.round(weight / _step(weight))


def compiled_mlp(state: Mapping[str, Tensor]) -> Callable[[Tensor, np.ndarray], tuple[int, float]]:
    """A ReLU MLP of three layers as a compiled function of one image.

    state: 'NAME.weight' [out, in] and 'NAME.bias' [out] for each layer, first layer first,
    float32, as in `models.mlp_forward`. Returns a function of one image [1, ...], float32,
    not negative, and of the sum of the logits of earlier exits [classes], float32, to which
    it adds its own: their class, and the entropy of their softmax in nats.

    Columns of the weights whose input is 0 are skipped: most pixels of a digit are, and
    many hidden units. Weights are stored in 8 bits, as `rounded` gives them, so that they
    stay in the cache while another network runs. The first call of a process compiles.
    """
    weights, biases = list(state.values())[::2], list(state.values())[1::2]
    if len(weights) != 3:
        raise ValueError(f"The compiled network has three layers, not {len(weights)}: give it such a one.")
    sizes = (weights[0].shape[1], *map(len, weights))
    # One array for all layers: handing six over takes a microsecond
    columns = torch.cat([_whole(weight).T.flatten() for weight in weights]).to(torch.int8).numpy()
    steps, offsets = torch.stack([_step(weight) for weight in weights]).numpy(), torch.cat(biases).numpy()
    kernel = _kernel()
    return lambda image, total: kernel(image.numpy(), total, columns, steps, offsets, sizes)


@functools.cache
def _kernel() -> Callable[..., Any]:
    """numba is imported here: who does not race need not wait for it."""
    import numba

    def layer(inputs, columns, step, bias):
        active, count = np.empty(len(inputs), np.int64), 0
        for i in range(len(inputs)):
            active[count] = i  # overwritten by the next one, unless it counts
            count += inputs[i] > 0  # a pixel or a ReLU's output is never negative
        out = np.zeros(len(bias), np.float32)
        whole = count // 4 * 4
        for k in range(0, whole, 4):  # four at once: out is read and written a quarter as often
            a, b, c, d = active[k], active[k + 1], active[k + 2], active[k + 3]
            u, v, w, x = inputs[a], inputs[b], inputs[c], inputs[d]
            of_a, of_b, of_c, of_d = columns[a], columns[b], columns[c], columns[d]
            for j in range(len(out)):
                out[j] += u * of_a[j] + v * of_b[j] + w * of_c[j] + x * of_d[j]
        for i in active[whole:count]:
            value, column = inputs[i], columns[i]
            for j in range(len(out)):
                out[j] += value * column[j]
        return step * out + bias

    def classify(image, total, columns, steps, offsets, sizes):
        values, start, first = image.ravel(), 0, 0
        for number in range(3):
            inputs, outputs = sizes[number], sizes[number + 1]
            end, last = start + inputs * outputs, first + outputs
            values = layer(values, columns[start:end].reshape(inputs, outputs), steps[number], offsets[first:last])
            start, first = end, last
        total += values
        best = np.argmax(total)
        normalizer, weighted = 0.0, 0.0
        for logit in total:
            shifted = logit - total[best]
            e = np.exp(shifted)
            normalizer += e
            weighted += e * shifted
        return best, np.log(normalizer) - weighted / normalizer  # H = log Σ e^z − Σ p z

    layer = numba.njit(fastmath={"contract"})(layer)
    return numba.njit(classify)
