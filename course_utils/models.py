"""The course's networks."""

import torch.nn.functional as F
from torch import Tensor


def mlp_forward(state: dict[str, Tensor], inputs: Tensor) -> Tensor:
    """Logits of a fully connected ReLU network whose parameters are a dict.

    state: 'NAME.weight' [out, in] and 'NAME.bias' [out] for each layer, first layer first. inputs: [batch, ...],
    flattened to [batch, in]. Returns [batch, classes], with no ReLU after the last layer. Differentiable.
    """
    layers = [name.removesuffix(".weight") for name in state if name.endswith(".weight")]
    hidden = inputs.flatten(1)
    for layer in layers:
        hidden = F.linear(hidden, state[f"{layer}.weight"], state[f"{layer}.bias"])
        if layer != layers[-1]:
            hidden = F.relu(hidden)
    return hidden
