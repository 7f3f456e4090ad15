"""An exit in front of the network, compiled for one image at a time."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor


def compiled_mlp(state: dict[str, Tensor]) -> Callable[[Tensor], tuple[int, float]]:
    """A ReLU MLP of three layers as a compiled function of one image.

    state: 'NAME.weight' [out, in] and 'NAME.bias' [out] for each layer, first layer first,
    float32, as in `models.mlp_forward`. Returns a function of one image [1, ...], float32,
    not negative: its class, and the entropy of its softmax in nats.

    Columns of the weights whose input is 0 are skipped: most pixels of a digit are, and
    many hidden units. The first call of a process compiles, for seconds.
    """
    arrays = [value.numpy() for value in state.values()]
    if len(arrays) != 6:
        depth = len(arrays) // 2
        raise ValueError(f"The compiled network has three layers, not {depth}: give it such a one.")
    sizes = (arrays[0].shape[1], *map(len, arrays[1::2]))
    # One array, each layer's columns and then its bias: handing six over takes a microsecond
    weights = np.concatenate([array.T.ravel() for array in arrays])
    kernel = _kernel()
    return lambda image: kernel(image.numpy(), weights, sizes)


@functools.cache
def _kernel() -> Callable[..., Any]:
    """numba is imported here: who does not race need not wait for it."""
    import numba

    def layer(inputs, weights, start, outputs):
        active, count = np.empty(len(inputs), np.int64), 0
        for i in range(len(inputs)):
            active[count] = i  # overwritten by the next one, unless it counts
            count += inputs[i] > 0  # a pixel or a ReLU's output is never negative
        end = start + len(inputs) * outputs
        columns = weights[start:end].reshape(len(inputs), outputs)
        out = weights[end : end + outputs].copy()
        whole = count // 4 * 4
        for k in range(0, whole, 4):  # four at once: out is read and written a quarter as often
            a, b, c, d = active[k], active[k + 1], active[k + 2], active[k + 3]
            u, v, w, x = inputs[a], inputs[b], inputs[c], inputs[d]
            of_a, of_b, of_c, of_d = columns[a], columns[b], columns[c], columns[d]
            for j in range(outputs):
                out[j] += u * of_a[j] + v * of_b[j] + w * of_c[j] + x * of_d[j]
        for i in active[whole:count]:
            value, column = inputs[i], columns[i]
            for j in range(outputs):
                out[j] += value * column[j]
        return out

    def classify(image, weights, sizes):
        values, start = image.ravel(), 0
        for number in range(3):
            values = layer(values, weights, start, sizes[number + 1])
            start += (sizes[number] + 1) * sizes[number + 1]
        best = np.argmax(values)
        total, weighted = 0.0, 0.0
        for logit in values:
            shifted = logit - values[best]
            e = np.exp(shifted)
            total += e
            weighted += e * shifted
        return best, np.log(total) - weighted / total  # H = log Σ e^z − Σ p z

    layer = numba.njit(fastmath={"contract"})(layer)
    return numba.njit(classify)
