"""Other people's algorithms for laws to compare with, without the seconds that some import when they are first used.

Making a torch.optim.Optimizer imports torch's compiler, and a gradient with given `grad_outputs` imports sympy: a
student's first check would wait 1 to 2 s for that. tests/checks/test_engine.py sees to it that no law does.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim.sgd import sgd


@torch.no_grad()
def sgd_step(
    weights: Sequence[Tensor],
    gradients: Sequence[Tensor],
    velocities: list[Tensor | None],
    lr: float,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
) -> None:
    """One step of torch.optim.SGD, in place. velocities: one entry per weight, None before the first step."""
    settings = {"dampening": 0.0, "nesterov": False, "maximize": False, "foreach": False}
    sgd(list(weights), list(gradients), velocities, lr=lr, momentum=momentum, weight_decay=weight_decay, **settings)
