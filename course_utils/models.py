"""The course's networks."""

import itertools

import torch.nn.functional as F
from torch import Tensor, nn


def mlp(*sizes: int, dropout: float = 0.0, input_dropout: float = 0.0) -> nn.Sequential:
    """A fully connected ReLU network: sizes are the inputs, the hidden layers and the classes, as in mlp(784, 300, 10).

    Takes images [batch, ...] and flattens them; gives logits [batch, classes]. `dropout` is the probability that a
    hidden unit is left out in training, `input_dropout` that a pixel is.
    """
    layers: list[nn.Module] = [nn.Flatten()]
    if input_dropout:
        layers.append(nn.Dropout(input_dropout))
    for inputs, outputs in itertools.pairwise(sizes[:-1]):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        if dropout:
            layers.append(nn.Dropout(dropout))
    layers.append(nn.Linear(*sizes[-2:]))
    return nn.Sequential(*layers)


def lenet_300_100() -> nn.Sequential:
    """784-300-100-10, 266,610 parameters (LeCun 1998; the MLP of Han 2016, Deep Compression)."""
    return mlp(784, 300, 100, 10)


def lenet5() -> nn.Sequential:
    """Caffe's LeNet-5: 5x5 convolutions of 20 and 50 filters, each max-pooled, then 500 units; 431,080 parameters.

    Takes [batch, 1, 28, 28]; gives logits [batch, 10]. As in Caffe, the only ReLU is after the 500 units. This is the
    LeNet of Han 2016 and Wen 2016, wider than the one of LeCun 1998.
    """
    return nn.Sequential(
        nn.Conv2d(1, 20, 5),
        nn.MaxPool2d(2),
        nn.Conv2d(20, 50, 5),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(800, 500),
        nn.ReLU(),
        nn.Linear(500, 10),
    )


def hinton_teacher() -> nn.Sequential:
    """The teacher of Hinton 2015, section 3: 784-1200-1200-10, 2,395,210 parameters, with the dropout of Hinton 2012.

    That is half of the hidden units and a fifth of the pixels (G. Hinton, N. Srivastava, A. Krizhevsky, I. Sutskever
    and R. Salakhutdinov, arXiv:1207.0580, 2012).
    """
    return mlp(784, 1200, 1200, 10, dropout=0.5, input_dropout=0.2)


def hinton_student() -> nn.Sequential:
    """The student of Hinton 2015, section 3: 784-800-800-10, 1,276,810 parameters, no regularization."""
    return mlp(784, 800, 800, 10)


def parameter_count(model: nn.Module) -> int:
    """How many numbers a network has learned: weights and biases."""
    return sum(parameter.numel() for parameter in model.parameters())


def mlp_forward(state: dict[str, Tensor], inputs: Tensor) -> Tensor:
    """Logits of a fully connected ReLU network whose parameters are a dict.

    state: 'NAME.weight' [out, in] and 'NAME.bias' [out] for each layer, first layer first. inputs: [batch, ...],
    flattened to [batch, in]. Returns [batch, classes], with no ReLU after the last layer. Differentiable in the state
    and the inputs.
    """
    layers = [name.removesuffix(".weight") for name in state if name.endswith(".weight")]
    hidden = inputs.flatten(1)
    for layer in layers:
        hidden = F.linear(hidden, state[f"{layer}.weight"], state[f"{layer}.bias"])
        if layer != layers[-1]:
            hidden = F.relu(hidden)
    return hidden


def run_stage(stage: dict[str, Tensor], hidden: Tensor) -> Tensor:
    """One stage of a network that can be left early: one layer, whose parameters are a dict.

    stage: 'weight' and 'bias'. A weight [out, in, height, width] is a convolution without
    padding, max-pooled by 2; a weight [out, in] is a linear layer on the flattened input, with
    a ReLU; an empty dict hands its input on. hidden: [batch, ...]. Returns [batch, ...].
    FloatingPointError if an output is not finite: what overflows is no result.
    """
    if not stage:
        return hidden
    if stage["weight"].dim() == 4:
        out = F.max_pool2d(F.conv2d(hidden, stage["weight"], stage["bias"]), 2)
    else:
        out = F.relu(F.linear(hidden.flatten(1), stage["weight"], stage["bias"]))
    if not out.isfinite().all():
        raise FloatingPointError("An output of the stage is not finite: give it only what it was made for.")
    return out


def lenet_forward(state: dict[str, Tensor], images: Tensor) -> Tensor:
    """Logits of a `lenet5` of any widths whose parameters are a dict.

    state: the weights and biases of the four layers, in the order of `lenet5().state_dict()`, by any names. images:
    [batch, channels, height, width]. Returns [batch, classes]. Differentiable in the state and the images.
    """
    w1, b1, w2, b2, w3, b3, w4, b4 = state.values()
    hidden = F.max_pool2d(F.conv2d(images, w1, b1), 2)
    hidden = F.max_pool2d(F.conv2d(hidden, w2, b2), 2)
    hidden = F.relu(F.linear(hidden.flatten(1), w3, b3))
    return F.linear(hidden, w4, b4)
