"""MLPs under masks: their first weights, their training, and the stored ticket that lab 08 works on."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.data import Digits, Split
from course_utils.models import mlp, mlp_forward
from course_utils.reproduce import stored_results

State = dict[str, Tensor]
Masks = dict[str, Tensor]


def first_state(seed: int, width: tuple[int, int]) -> State:
    """PyTorch's first weights of an MLP with these hidden layers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return {name: value.detach().clone() for name, value in mlp(28 * 28, *width, 10).state_dict().items()}


@torch.no_grad()
def wrong(state: State, split: Split) -> int:
    """How many examples of a split a state gets wrong."""
    return int((mlp_forward(state, split.images).argmax(1) != split.labels).sum())


def train_masked(
    state: State,
    masks: Masks,
    digits: Digits,
    epochs: int,
    batch_size: int = 60,
    lr: float = 1e-3,
    seed: int = 0,
    validation: list[int] | None = None,
) -> State:
    """The trained state of a masked network, by Adam with a rate that falls to 0 along a line.

    validation: gets the errors on the validation digits after each epoch.
    """
    parameters = {name: value.clone().requires_grad_() for name, value in state.items()}
    masked = [(parameters[name], mask.float()) for name, mask in masks.items()]
    optimizer = torch.optim.Adam(parameters.values(), lr=lr, fused=True)
    generator = torch.Generator().manual_seed(seed)
    images, labels = digits.train.images.flatten(1), digits.train.labels
    for epoch in range(epochs):
        optimizer.param_groups[0]["lr"] = lr * (1 - epoch / epochs)
        for index in torch.randperm(len(labels), generator=generator).split(batch_size):
            optimizer.zero_grad()
            F.cross_entropy(mlp_forward(parameters, images[index]), labels[index]).backward()
            optimizer.step()
            with torch.no_grad():  # Adam's averages move what has no gradient
                for weight, mask in masked:
                    weight.mul_(mask)
        if validation is not None:
            validation.append(wrong(parameters, digits.validation))
    return {name: value.detach() for name, value in parameters.items()}


def written(mask: Tensor) -> list[str]:
    """A bool matrix row by row as hexadecimal bits."""
    return [np.packbits(row.numpy()).tobytes().hex() for row in mask]


def read(rows: list[str], columns: int) -> Tensor:
    """The matrix of `written`, bool [rows, columns]."""
    bits = np.array([np.unpackbits(np.frombuffer(bytes.fromhex(row), np.uint8))[:columns] for row in rows])
    return torch.from_numpy(bits.astype(bool))


def stored_ticket() -> list[dict[str, Any]]:
    """The two pruned layers of a stored ticket of LeNet-300-100, `course reproduce ticket`'s.

    Of each its name, its mask, thresholds (b1, t2, b2), and the groups of its rows, pass by pass: 'partitioned' by
    Mt-KaHyPar and 'random'.
    """
    inputs = (28 * 28, 300)
    layers = stored_results("ticket")["layers"]
    return [layer | {"mask": read(layer["mask"], size)} for layer, size in zip(layers, inputs, strict=True)]
