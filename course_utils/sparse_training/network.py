"""A fully connected network that is sparse in storage and in work, and its training by any of the unit's methods."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from course_utils.sparse_training import kernel

State = dict[str, Tensor]


class SparseLayer:
    """Connections of a layer [out, in], with their weights and velocities, and a dense bias. See `kernel`."""

    def __init__(self, weight: Tensor, mask: Tensor, bias: Tensor) -> None:
        self.bias = bias.numpy().astype(np.float32)
        self.bias_velocities = np.zeros_like(self.bias)
        self.store(weight, mask, torch.zeros_like(weight))

    def store(self, weight: Tensor, mask: Tensor, velocity: Tensor) -> None:
        """Take over what `dense` gives, with other connections perhaps."""
        self.shape = tuple(weight.shape)
        rows, columns = mask.numpy().nonzero()
        self.starts = np.searchsorted(rows, np.arange(self.shape[0] + 1))
        self.rows, self.columns = rows, columns.astype(np.int32)
        self.values = weight.numpy()[rows, columns].astype(np.float32)
        self.velocities = velocity.numpy()[rows, columns].astype(np.float32)
        self.gradients, self.bias_gradients = np.empty_like(self.values), np.empty_like(self.bias)

    def dense(self) -> tuple[Tensor, Tensor, Tensor]:
        """(weight, mask, velocity), [out, in]."""
        tensors = torch.zeros(self.shape), torch.zeros(self.shape, dtype=torch.bool), torch.zeros(self.shape)
        entries = torch.from_numpy(self.values), torch.tensor(True), torch.from_numpy(self.velocities)
        for tensor, of_connections in zip(tensors, entries, strict=True):
            tensor[self.rows, self.columns] = of_connections
        return tensors


class SparseNetwork:
    """A ReLU network of sparse layers that descends with momentum. Made of a state and the masks of its weights."""

    def __init__(self, state: State, masks: State) -> None:
        self.names = [name.removesuffix(".weight") for name in masks]
        self.layers = [
            SparseLayer(state[f"{name}.weight"], masks[f"{name}.weight"], state[f"{name}.bias"]) for name in self.names
        ]
        self.batch = 0

    def forward(self, images: np.ndarray) -> np.ndarray:
        """Logits [classes, batch] of images [pixels, batch], float32. What it returns is overwritten by the next call."""
        if images.shape[1] != self.batch:
            self.batch = images.shape[1]
            self.outputs = [np.empty((len(layer.bias), self.batch), np.float32) for layer in self.layers]
            self.slopes = [np.empty_like(outputs) for outputs in self.outputs]
        hidden = images
        for layer, outputs in zip(self.layers, self.outputs, strict=True):
            relu = layer is not self.layers[-1]
            kernel.compiled(kernel.forward)(
                layer.starts, layer.columns, layer.values, layer.bias, hidden, outputs, relu
            )
            hidden = outputs
        return hidden

    def backward(self, images: np.ndarray, targets: np.ndarray) -> None:
        """The gradients of the mean cross-entropy, after `forward` of the same images.

        targets [classes, batch]: probabilities, of the label 1 and of the others 0, or a teacher's.
        """
        self.slopes[-1][:] = (softmax(self.outputs[-1]) - targets) / self.batch
        self.propagate(images)

    def propagate(self, images: np.ndarray) -> None:
        """All gradients, from the slopes by the logits, which stand in slopes[-1]."""
        for i in reversed(range(len(self.layers))):
            layer, slopes = self.layers[i], self.slopes[i]
            inputs = self.outputs[i - 1] if i else images
            kernel.compiled(kernel.weight_gradients)(
                layer.starts, layer.columns, inputs, slopes, layer.gradients, layer.bias_gradients
            )
            if i:
                kernel.compiled(kernel.input_slopes)(
                    layer.starts, layer.columns, layer.values, inputs, slopes, self.slopes[i - 1]
                )

    def descend(self, lr: float, momentum: float = 0.9, decay: float = 0.0, nesterov: bool = False) -> None:
        """A step of torch's SGD; weight decay is for weights only."""
        step = kernel.compiled(kernel.descend)
        lr, momentum, decay = np.float32(lr), np.float32(momentum), np.float32(decay)
        for layer in self.layers:
            step(layer.values, layer.velocities, layer.gradients, lr, momentum, decay, nesterov)
            step(layer.bias, layer.bias_velocities, layer.bias_gradients, lr, momentum, np.float32(0), nesterov)

    def dense_gradients(self, images: np.ndarray) -> list[Tensor]:
        """The gradient of all positions of each layer, [out, in], after `backward`: what RigL looks at now and then."""
        inputs = [images, *self.outputs[:-1]]
        return [torch.from_numpy(slopes @ x.T) for slopes, x in zip(self.slopes, inputs, strict=True)]

    def state(self) -> State:
        """The weights, with zeros where there is no connection, and the biases."""
        state = {}
        for name, layer in zip(self.names, self.layers, strict=True):
            state |= {f"{name}.weight": layer.dense()[0], f"{name}.bias": torch.from_numpy(layer.bias.copy())}
        return state

    def masks(self) -> State:
        return {f"{name}.weight": layer.dense()[1] for name, layer in zip(self.names, self.layers, strict=True)}

    def errors(self, images: Tensor, labels: Tensor, batch: int = 1000) -> int:
        """How many of the images [n, ...] it gets wrong."""
        wrong = 0
        for part, right in zip(images.flatten(1).split(batch), labels.split(batch), strict=True):
            logits = self.forward(np.ascontiguousarray(part.T.numpy()))
            wrong += int((logits.argmax(0) != right.numpy()).sum())
        return wrong


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities [classes, batch]."""
    powers = np.exp(logits - logits.max(0))
    return powers / powers.sum(0)


def first_weights(sizes: Sequence[int], masks: State, seed: int) -> State:
    """Weights with the variance 2 / connections of a unit, so that sparse layers hand on as much as dense ones.

    sizes: of the inputs, the hidden layers and the classes. masks: of 'I.weight', I = 1, 2, …; biases are 0. (U. Evci,
    Y. Ioannou, C. Keskin and Y. Dauphin, Gradient Flow in Sparse Neural Networks, AAAI 2022.)
    """
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, mask in masks.items():
        fan_in = mask.sum(1, keepdim=True).clamp(min=1)
        state[name] = torch.randn(mask.shape, generator=generator) * (2 / fan_in).sqrt() * mask
        state[name.replace("weight", "bias")] = torch.zeros(len(mask))
    return state
