"""Sparse layers, compiled: what has no connection is neither stored nor multiplied.

Activations are [features, batch], so that each connection adds one contiguous row, times its weight, to another. The
connections of a layer [out, in] are stored row by row (CSR): those of output o are starts[o] to starts[o + 1] − 1
of `columns` and `values`. One thread; float32.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np


@functools.cache
def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of this file, compiled at its first call (seconds; later processes read numba's cache, where the disk
    can be written). numba is imported here: who trains nothing need not wait for it."""
    import numba

    options = {"fastmath": {"contract", "reassoc", "nsz"}}  # sums in any order, so that they run on vectors
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # nowhere to write a cache
        return numba.njit(**options)(function)


def forward(starts, columns, values, bias, inputs, outputs, relu):
    """outputs [out, batch] = W · inputs [in, batch] + bias, and if `relu` none of it negative."""
    batch = inputs.shape[1]
    for o in range(len(bias)):
        out = outputs[o]
        out[:] = bias[o]
        first, last = starts[o], starts[o + 1]
        whole = first + (last - first) // 4 * 4
        for e in range(first, whole, 4):  # four at once: out is read and written a quarter as often
            a, b, c, d = values[e], values[e + 1], values[e + 2], values[e + 3]
            of_a, of_b = inputs[columns[e]], inputs[columns[e + 1]]
            of_c, of_d = inputs[columns[e + 2]], inputs[columns[e + 3]]
            for j in range(batch):
                out[j] += a * of_a[j] + b * of_b[j] + c * of_c[j] + d * of_d[j]
        for e in range(whole, last):
            value, row = values[e], inputs[columns[e]]
            for j in range(batch):
                out[j] += value * row[j]
        if relu:
            for j in range(batch):
                out[j] = max(out[j], np.float32(0))


def weight_gradients(starts, columns, inputs, slopes, gradients, bias_gradients):
    """The loss's gradient by each connection and bias. slopes [out, batch]: by the layer's sums."""
    batch = inputs.shape[1]
    for o in range(len(bias_gradients)):
        slope = slopes[o]
        bias_gradients[o] = slope.sum()
        for e in range(starts[o], starts[o + 1]):
            row, total = inputs[columns[e]], np.float32(0)
            for j in range(batch):
                total += slope[j] * row[j]
            gradients[e] = total


def input_slopes(starts, columns, values, inputs, slopes, before):
    """before [in, batch] = the loss's gradient by the sums whose ReLU the inputs are. slopes as above."""
    batch = inputs.shape[1]
    before[:] = 0
    for o in range(len(starts) - 1):
        slope = slopes[o]
        for e in range(starts[o], starts[o + 1]):
            value, out = values[e], before[columns[e]]
            for j in range(batch):
                out[j] += value * slope[j]
    for i in range(len(inputs)):
        for j in range(batch):
            if inputs[i, j] <= 0:
                before[i, j] = 0


def descend(values, velocities, gradients, lr, momentum, decay, nesterov):
    """torch's SGD, in place: g ← gradient + decay · w; v ← momentum · v + g; w ← w − lr · v, or if `nesterov`
    w ← w − lr · (g + momentum · v)."""
    for e in range(len(values)):
        gradient = gradients[e] + decay * values[e]
        velocities[e] = momentum * velocities[e] + gradient
        values[e] -= lr * (gradient + momentum * velocities[e] if nesterov else velocities[e])


def gather(images, index, down, right, out):
    """out [784, batch]: images [n, 28, 28] at `index`, each shifted by whole pixels; what enters the frame is 0."""
    height, width = images.shape[1:]
    for j in range(len(index)):
        image, first_row, first_column = images[index[j]], down[j], right[j]
        for r in range(height):
            for c in range(width):
                y, x = r - first_row, c - first_column
                inside = 0 <= y < height and 0 <= x < width
                out[r * width + c, j] = image[y, x] if inside else np.float32(0)
