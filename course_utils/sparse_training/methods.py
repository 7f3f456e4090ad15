"""The methods, in one loop: how a network's connections change while it trains."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from course_utils.saliency import keep_top
from course_utils.sparse_training import cubic_sparsity, drop_fraction, n_of_m_mask, rigl_update, set_update
from course_utils.sparse_training.network import Batches, Network, cross_entropy_slopes

# Called in each step, from 1, after the gradients; True if the step is used up, and nothing descends
Rewire = Callable[[Network, np.ndarray, int], bool]


@dataclass(frozen=True)
class Rates:
    """SGD as in RigL's program for MNIST (rigl/mnist/mnist_train_eval.py), but for the cosine."""

    lr: float = 0.2  # falls to 0 along a cosine
    momentum: float = 0.9
    decay: float = 1e-4
    nesterov: bool = True


RIGL_RATES = Rates()


def static(network: Network, images: np.ndarray, step: int) -> bool:
    """Connections stay as they are."""
    return False


def moving(method: str, every: int, end: int, alpha: float, seed: int) -> Rewire:
    """SET or RigL: every so many steps before the end, each layer that is not full exchanges connections."""

    def rewire(network: Network, images: np.ndarray, step: int) -> bool:
        if step % every or step >= end:
            return False
        fraction = drop_fraction(step, end, alpha)
        gradients = network.dense_gradients(images) if method == "RigL" else [None] * len(network.layers)
        for number, (layer, gradient) in enumerate(zip(network.layers, gradients, strict=True)):
            if layer.connections() == math.prod(layer.shape):
                continue
            if gradient is None:
                update = set_update(*layer.dense(), fraction, seed=1_000_000 * seed + 10 * step + number)
            else:
                update = rigl_update(*layer.dense(), gradient, fraction)
            layer.store(*update)
        return True

    return rewire


def gradual(densities: Mapping[str, float], every: int, end: int) -> Rewire:
    """Gradual pruning: each layer keeps its largest weights, fewer and fewer, until it has its density."""

    def rewire(network: Network, images: np.ndarray, step: int) -> bool:
        if step > end or (step % every and step != end):
            return False
        for layer, density in zip(network.layers, densities.values(), strict=True):
            weight, mask, velocity = layer.dense()
            kept = cubic_sparsity(step, 0, end, final=density, initial=1.0)  # of densities the same curve
            largest = keep_top({"w": weight.abs().masked_fill(~mask, -1)}, kept)["w"]
            layer.store(weight, largest, velocity)
        return False

    return rewire


def n_of_m(n: int, m: int, every: int) -> Rewire:
    """N:M: every so many steps the n largest of every m weights are chosen anew. For `StraightThroughLayer`s; the last
    layer stays whole."""

    def rewire(network: Network, images: np.ndarray, step: int) -> bool:
        if step % every == 0:
            for layer in network.layers[:-1]:
                layer.mask = n_of_m_mask(torch.from_numpy(layer.values), n, m).numpy()
        return False

    return rewire


def fit(
    network: Network,
    batches: Batches,
    steps: int,
    rates: Rates = RIGL_RATES,
    rewire: Rewire = static,
    after_step: Callable[[int], None] = lambda step: None,
) -> None:
    """Train a network in place."""
    step = 0
    while step < steps:
        for images, labels in batches.epoch():
            step += 1
            logits = network.forward(images)
            network.backward(images, cross_entropy_slopes(logits, labels))
            if not rewire(network, images, step):
                lr = rates.lr * (1 + math.cos(math.pi * (step - 1) / steps)) / 2
                network.descend(lr, rates.momentum, rates.decay, rates.nesterov)
            after_step(step)
            if step == steps:
                break
