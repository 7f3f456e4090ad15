"""Fully connected networks whose layers are sparse in storage and in work, and their twins that only hold masks.

Activations are [features, batch]. A layer of either kind has a `shape` [out, in], a bias, and `dense()` and `store()`,
by which the unit's updates see its weights, mask and velocities and change them.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from course_utils.data import CLASSES, Split
from course_utils.sparse_training import kernel, random_mask

State = dict[str, Tensor]
Matrices = tuple[Tensor, Tensor, Tensor]  # weight, mask and velocity of a layer, [out, in] each
SIZES = (784, 300, 100, 10)  # LeNet-300-100
ONE_HOT = np.eye(CLASSES, dtype=np.float32)


class Layer:
    """What both kinds share: a bias, and SGD with momentum as torch has it."""

    values: np.ndarray  # weights, of whatever is stored
    velocities: np.ndarray
    gradients: np.ndarray

    def __init__(self, weight: Tensor, mask: Tensor, bias: Tensor) -> None:
        self.shape = tuple(weight.shape)
        self.bias = bias.numpy().astype(np.float32)
        self.bias_velocities, self.bias_gradients = np.zeros_like(self.bias), np.zeros_like(self.bias)
        self.store(weight, mask, torch.zeros_like(weight))

    def store(self, weight: Tensor, mask: Tensor, velocity: Tensor) -> None:
        raise NotImplementedError

    def connections(self) -> int:
        raise NotImplementedError

    def learning(self) -> int:
        """How many weights get a gradient."""
        return self.connections()

    def descend(self, lr: float, momentum: float, decay: float, nesterov: bool) -> None:
        """A step, in place; weight decay is for weights only."""
        step = kernel.compiled(kernel.descend)
        rates = np.float32(lr), np.float32(momentum)
        step(self.values.ravel(), self.velocities.ravel(), self.gradients.ravel(), *rates, np.float32(decay), nesterov)
        step(self.bias, self.bias_velocities, self.bias_gradients, *rates, np.float32(0), nesterov)


class SparseLayer(Layer):
    """Connections, row by row, with their weights and velocities, and nothing else. See `kernel`."""

    def store(self, weight: Tensor, mask: Tensor, velocity: Tensor) -> None:
        """Take over what `dense` gave, with other connections perhaps."""
        self.rows, columns = mask.numpy().nonzero()
        self.starts = np.searchsorted(self.rows, np.arange(self.shape[0] + 1))
        self.columns = columns.astype(np.int32)
        self.values = weight.numpy()[self.rows, columns].astype(np.float32)
        self.velocities = velocity.numpy()[self.rows, columns].astype(np.float32)
        self.gradients = np.empty_like(self.values)

    def dense(self) -> Matrices:
        weight, mask, velocity = torch.zeros(self.shape), torch.zeros(self.shape, dtype=bool), torch.zeros(self.shape)
        places = torch.from_numpy(self.rows), torch.from_numpy(self.columns).long()
        weight[places], velocity[places] = torch.from_numpy(self.values), torch.from_numpy(self.velocities)
        mask[places] = True
        return weight, mask, velocity

    def connections(self) -> int:
        return len(self.values)

    def forward(self, inputs: np.ndarray, outputs: np.ndarray, relu: bool) -> None:
        """outputs = W · inputs + bias, with a ReLU perhaps."""
        run = kernel.compiled(kernel.forward)
        run(self.starts, self.columns, self.values, self.bias, inputs, outputs, relu)

    def backward(self, inputs: np.ndarray, slopes: np.ndarray, before: np.ndarray | None) -> None:
        """Gradients, from the slopes [out, batch] by the layer's sums; and those by the sums before, if wanted."""
        run = kernel.compiled(kernel.weight_gradients)
        run(self.starts, self.columns, inputs, slopes, self.gradients, self.bias_gradients)
        if before is not None:
            kernel.compiled(kernel.input_slopes)(self.starts, self.columns, self.values, inputs, slopes, before)


class MaskedLayer(Layer):
    """The twin: all weights are stored and multiplied, those without a connection as zeros."""

    def store(self, weight: Tensor, mask: Tensor, velocity: Tensor) -> None:
        self.mask = mask.numpy().copy()
        self.values = weight.numpy().astype(np.float32) * self.mask
        self.velocities = velocity.numpy().astype(np.float32) * self.mask

    def dense(self) -> Matrices:
        weight, velocity = torch.from_numpy(self.used().copy()), torch.from_numpy(self.velocities.copy())
        return weight, torch.from_numpy(self.mask.copy()), velocity

    def connections(self) -> int:
        return int(self.mask.sum())

    def used(self) -> np.ndarray:
        """The weights that are multiplied."""
        return self.values

    def forward(self, inputs: np.ndarray, outputs: np.ndarray, relu: bool) -> None:
        np.matmul(self.used(), inputs, out=outputs)
        outputs += self.bias[:, None]
        if relu:
            np.maximum(outputs, 0, out=outputs)

    def backward(self, inputs: np.ndarray, slopes: np.ndarray, before: np.ndarray | None) -> None:
        self.bias_gradients = slopes.sum(1)
        self.gradients = slopes @ inputs.T
        self.hold_mask()
        if before is not None:
            np.matmul(self.used().T, slopes, out=before)
            before *= inputs > 0

    def hold_mask(self) -> None:
        self.gradients *= self.mask


class StraightThroughLayer(MaskedLayer):
    """Weights outside the mask are not used, and yet kept: the gradient goes straight through the mask, so that they
    may come back; what is not used decays by `regrets` more (SR-STE, Zhou 2021, eq. 10)."""

    regrets = 2e-4

    def store(self, weight: Tensor, mask: Tensor, velocity: Tensor) -> None:
        self.mask, self.values, self.velocities = mask.numpy().copy(), weight.numpy().copy(), velocity.numpy().copy()

    def used(self) -> np.ndarray:
        return self.values * self.mask

    def learning(self) -> int:
        return self.mask.size

    def hold_mask(self) -> None:
        self.gradients += self.regrets * (self.values * ~self.mask)


class Network:
    """A ReLU network of such layers, made of a state and the masks of its weights.

    `flops`: what its training has cost for one example of each batch, as Evci 2020, appendix H, counts: two for a
    multiply-add; forward, backward to the inputs and backward to the weights as much each; zeros cost nothing.
    """

    def __init__(self, state: State, masks: State, kind: type[Layer] = SparseLayer) -> None:
        self.names = [name.removesuffix(".weight") for name in masks]
        self.layers = [kind(state[f"{n}.weight"], masks[f"{n}.weight"], state[f"{n}.bias"]) for n in self.names]
        self.batch, self.flops = 0, 0

    def forward(self, images: np.ndarray) -> np.ndarray:
        """Logits [classes, batch] of images [pixels, batch], float32; the next call overwrites them."""
        if images.shape[1] != self.batch:
            self.batch = images.shape[1]
            self.outputs = [np.empty((len(layer.bias), self.batch), np.float32) for layer in self.layers]
            self.slopes = [np.empty_like(outputs) for outputs in self.outputs]
        hidden = images
        for layer, outputs in zip(self.layers, self.outputs, strict=True):
            layer.forward(hidden, outputs, relu=layer is not self.layers[-1])
            hidden = outputs
        return hidden

    def backward(self, images: np.ndarray, slopes: np.ndarray) -> None:
        """All gradients, after `forward` of the same images. slopes [classes, batch]: the loss's by the logits."""
        self.slopes[-1][:] = slopes
        self.flops += 2 * sum(2 * layer.connections() + layer.learning() for layer in self.layers)
        for i in reversed(range(len(self.layers))):
            inputs, before = (self.outputs[i - 1], self.slopes[i - 1]) if i else (images, None)
            self.layers[i].backward(inputs, self.slopes[i], before)

    def descend(self, lr: float, momentum: float = 0.9, decay: float = 0.0, nesterov: bool = False) -> None:
        """A step of torch's SGD."""
        for layer in self.layers:
            layer.descend(lr, momentum, decay, nesterov)

    def dense_gradients(self, images: np.ndarray) -> list[Tensor]:
        """The gradient of all positions of each layer, after `backward`: what RigL looks at now and then."""
        inputs = [images, *self.outputs[:-1]]
        self.flops += 2 * (self.positions() - sum(self.connections()))
        return [torch.from_numpy(slopes @ x.T) for slopes, x in zip(self.slopes, inputs, strict=True)]

    def connections(self) -> list[int]:
        return [layer.connections() for layer in self.layers]

    def positions(self) -> int:
        return sum(layer.bias.size * layer.shape[1] for layer in self.layers)

    def state(self) -> State:
        """Weights, with zeros where there is no connection, and biases."""
        state = {}
        for name, layer in zip(self.names, self.layers, strict=True):
            state |= {f"{name}.weight": layer.dense()[0], f"{name}.bias": torch.from_numpy(layer.bias.copy())}
        return state

    def masks(self) -> State:
        return {f"{name}.weight": layer.dense()[1] for name, layer in zip(self.names, self.layers, strict=True)}

    def errors(self, split: Split, batch: int = 1000) -> int:
        """How many examples of a split it gets wrong."""
        wrong = 0
        for images, labels in zip(split.images.flatten(1).split(batch), split.labels.split(batch), strict=True):
            logits = self.forward(np.ascontiguousarray(images.T.numpy()))
            wrong += int((logits.argmax(0) != labels.numpy()).sum())
        return wrong


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities [classes, batch]."""
    powers = np.exp(logits - logits.max(0))
    return powers / powers.sum(0)


def cross_entropy_slopes(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The gradient of the mean cross-entropy by the logits [classes, batch]; labels [batch]."""
    return (softmax(logits) - ONE_HOT[labels].T) / len(labels)


def masks_of(sizes: Sequence[int], densities: Mapping[str, float], seed: int) -> State:
    """Random masks for the weights '1.weight', '3.weight', … of `models.mlp(*sizes)`."""
    shapes = weight_shapes(sizes)
    return {
        name: random_mask(shapes[name], density, seed=1000 * seed + number)
        for number, (name, density) in enumerate(densities.items())
    }


def weight_shapes(sizes: Sequence[int]) -> dict[str, tuple[int, int]]:
    """[out, in] of the weights of `models.mlp(*sizes)`, by name."""
    return {f"{2 * i + 1}.weight": (out, into) for i, (into, out) in enumerate(pairwise(sizes))}


def first_weights(masks: State, seed: int) -> State:
    """A state whose weights have the variance 2 / connections of the unit: sparse layers hand on as much as dense ones.

    Biases are 0. (U. Evci, Y. Ioannou, C. Keskin and Y. Dauphin, Gradient Flow in Sparse Neural Networks and How
    Lottery Tickets Win, AAAI 2022, section 3.1.)
    """
    generator, state = torch.Generator().manual_seed(seed), {}
    for name, mask in masks.items():
        fan_in = mask.sum(1, keepdim=True).clamp(min=1)
        state[name] = torch.randn(mask.shape, generator=generator) * (2 / fan_in).sqrt() * mask
        state[name.replace("weight", "bias")] = torch.zeros(len(mask))
    return state


class Batches:
    """Shuffled batches of a split, as the networks read them; images shifted by up to `reach` pixels, each its own."""

    def __init__(self, split: Split, size: int, reach: int, seed: int) -> None:
        self.images, self.labels = split.images[:, 0].contiguous().numpy(), split.labels.numpy()
        self.size, self.reach, self.rng = size, reach, np.random.default_rng(seed)
        self.count = len(self.labels) // size
        self.batch = np.empty((self.images[0].size, size), np.float32)

    def epoch(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(images [pixels, size], labels [size]); the next ones overwrite the images."""
        order = self.rng.permutation(len(self.labels))[: self.count * self.size].reshape(self.count, self.size)
        shifts = self.rng.integers(-self.reach, self.reach + 1, (self.count, 2, self.size))
        gather = kernel.compiled(kernel.gather)
        for index, shift in zip(order, shifts, strict=True):
            gather(self.images, index, *shift, self.batch)
            yield self.batch, self.labels[index]
