"""Optimization: the tangent kernel of wide pruned networks, real descent beside it, and what descent alone prefers.

A network with standard normal weights g, its layers scaled by √(1/d) and √(2/width), computes c · F(g; x), where F
has no scales and c is their product: ReLU is homogeneous, and there are no biases. So F of the inputs c · x is that
network, and so are its derivatives by g.
"""

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from scipy.optimize import linprog
from torch import Generator, Tensor

from course_utils.models import mlp_forward
from course_utils.theory import diagonal_descent, empirical_ntk, kernel_descent, relu_ntk

State = dict[str, Tensor]


def pruned_network(
    inputs: int, width: int, density: float, seed: int, first: bool = False
) -> tuple[State, State, float]:
    """Two hidden layers of standard normal weights, randomly pruned before any training.

    Every weight of the second and third layer (with `first`, of the first one too) is kept with probability `density`;
    there are no biases: their masks are False. Returns the state, the masks, and the scale c of the inputs without any
    repair for what was pruned.
    """
    generator = Generator().manual_seed(seed)
    state, masks = {}, {}
    for number, (before, after) in enumerate(pairwise((inputs, width, width, 1))):
        state[f"{number}.weight"] = torch.randn(after, before, generator=generator)
        state[f"{number}.bias"] = torch.zeros(after)
        keep = torch.rand(after, before, generator=generator) < density
        masks[f"{number}.weight"] = keep if number or first else torch.ones_like(keep)
        masks[f"{number}.bias"] = torch.zeros(after, dtype=torch.bool)
    return state, masks, math.sqrt(1 / inputs) * (2 / width)


def rescaling(density: float, first: bool = False) -> float:
    """What repairs the scale: 1/√density for each pruned layer."""
    return density ** (-(3 if first else 2) / 2)


def relu_step(sigma: Tensor) -> tuple[Tensor, Tensor]:
    """2 E[relu(z) relu(z′)] and 2 P(z > 0, z′ > 0) of normal z with this covariance, as in `relu_ntk`."""
    norms = sigma.diagonal().sqrt()
    product = norms[:, None] * norms
    cosine = torch.where(product > 0, sigma / product, 0).clamp(-1, 1)
    angle = cosine.acos()
    return product * (angle.sin() + (math.pi - angle) * cosine) / math.pi, (math.pi - angle) / math.pi


def first_layer_limit(images: Tensor, density: float, masks: int, seed: int) -> Tensor:
    """The kernel of infinitely wide networks whose first layer, too, is pruned at random, and rescaled.

    Two hidden layers, as in `pruned_network`. Each unit of the first sees pixels of its own; the second sums over all
    of them, so that the mean over masks, here over so many, takes the place of the first layer's kernel.
    """
    flat = images.flatten(1).double()
    generator = Generator().manual_seed(seed)
    sigma = kernel = 0
    for _ in range(masks):
        seen = flat * (torch.rand(flat.shape[1], generator=generator) < density)
        inputs = seen @ seen.T / (density * flat.shape[1])
        after, switched = relu_step(inputs)
        sigma = sigma + after / masks
        kernel = kernel + (after + inputs * switched) / masks
    after, switched = relu_step(sigma)
    return after + kernel * switched


def kernel_error(images: Tensor, width: int, density: float, seed: int, first: bool = False) -> dict[str, float]:
    """How far a pruned network's kernel is from the limit, relative in Frobenius norm, and the ratio of their traces.

    'unscaled' and 'rescaled': the error without and with the repair; 'factor': the trace without it, over the limit's.
    """
    state, masks, scale = pruned_network(images[0].numel(), width, density, seed, first)
    limit = relu_ntk(images, 2)
    kernel = empirical_ntk(state, masks, scale * images)
    repaired = kernel * rescaling(density, first) ** 2
    return {
        "unscaled": float((kernel - limit).norm() / limit.norm()),
        "rescaled": float((repaired - limit).norm() / limit.norm()),
        "factor": float(kernel.trace() / limit.trace()),
    }


def descend(images: Tensor, targets: Tensor, width: int, density: float, seed: int, looks: tuple[int, ...],
            repair: bool) -> dict[str, list[float]]:  # fmt: skip
    """A network under real gradient descent on ½ Σ (f − y)², beside what its first kernel says.

    The rate is 1 over the largest eigenvalue of the limit. Returns, at each number of steps in `looks`, the distance of
    the network from the targets and from the kernel's prediction, both relative to the targets, and the loss that the
    kernel predicts.
    """
    state, masks, scale = pruned_network(images[0].numel(), width, density, seed)
    inputs = images * scale * (rescaling(density) if repair else 1)
    lr = 1 / float(torch.linalg.eigvalsh(relu_ntk(images, 2))[-1])
    kernel = empirical_ntk(state, masks, inputs).double()
    leaves = {n: torch.where(masks[n], v, 0).requires_grad_(bool(masks[n].any())) for n, v in state.items()}
    trained = [name for name, leaf in leaves.items() if leaf.requires_grad]
    initial = mlp_forward(leaves, inputs).detach().flatten().double()
    size = float(targets.norm())
    found: dict[str, list[float]] = {"from targets": [], "from kernel": [], "kernel from targets": []}
    for step in range(looks[-1] + 1):
        outputs = mlp_forward(leaves, inputs).flatten()
        if step in looks:
            predicted = kernel_descent(kernel, targets.double(), initial, lr, step)
            now = outputs.detach().double()
            found["from targets"].append(float((now - targets).norm()) / size)
            found["from kernel"].append(float((now - predicted).norm()) / size)
            found["kernel from targets"].append(float((predicted - targets).norm()) / size)
        loss = ((outputs - targets) ** 2).sum() / 2
        slopes = torch.autograd.grad(loss, [leaves[name] for name in trained])
        with torch.no_grad():
            for name, slope in zip(trained, slopes, strict=True):
                leaves[name] -= lr * torch.where(masks[name], slope, 0)
    return found


def sparse_problem(examples: int, features: int, nonzero: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Random features [examples, features], targets, and the sparse weights that made them, in float64."""
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(examples, features))
    weights = np.zeros(features)
    weights[rng.permutation(features)[:nonzero]] = rng.choice([-1, 1], nonzero) * rng.uniform(1, 2, nonzero)
    return tuple(map(torch.from_numpy, (matrix, matrix @ weights, weights)))


def least_l1(features: Tensor, targets: Tensor) -> Tensor:
    """Basis pursuit by linear programming: of all w with Xw = y the one with the least Σ|w|."""
    x = features.numpy()
    found = linprog(np.ones(2 * x.shape[1]), A_eq=np.hstack([x, -x]), b_eq=targets.numpy(), bounds=(0, None))
    positive, negative = np.split(found.x, 2)
    return torch.from_numpy(positive - negative)


def implicit_bias(examples: int, features: int, nonzero: int, seed: int, recipes: Mapping[str, tuple[float, int]],
                  ) -> dict[str, Any]:  # fmt: skip
    """What descent finds from each scale of the start, beside the least L1 and the least L2 norm.

    recipes: by the scale as text, (rate, steps). Returns by name the L1 norm, the distance to the sparse weights, how
    many weights exceed a hundredth of the largest, and the largest residual on the training set.
    """
    x, y, truth = sparse_problem(examples, features, nonzero, seed)
    solutions = {"least L1": least_l1(x, y), "least L2": torch.linalg.pinv(x) @ y}
    for scale, (lr, steps) in recipes.items():
        solutions[scale] = diagonal_descent(x, y, float(scale), lr, steps)
    return {
        name: {
            "l1": float(w.abs().sum()),
            "error": float((w - truth).norm() / truth.norm()),
            "large": int((w.abs() > 0.01 * w.abs().max()).sum()),
            "residual": float((x @ w - y).abs().max()),
            "weights": [round(value, 4) for value in w.tolist()],
        }
        for name, w in solutions.items()
    }
