"""Attacks that are strong enough to be believed, and training against them."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils.data import Split
from course_utils.pruning import Masks, apply_masks
from course_utils.robustness import pgd_step, project_linf


def input_gradient(model: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor) -> Tensor:
    """Of the summed cross-entropy by the images; of `images` nothing else is kept."""
    leaf = images.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(model(leaf), labels, reduction="sum"), leaf)
    return gradient


def pgd(
    model: Callable[[Tensor], Tensor],
    images: Tensor,
    labels: Tensor,
    epsilon: float,
    steps: int,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Attacked images: `steps` steps of 2.5 ε/steps, from the images or, with a generator, from a random start."""
    attacked = images
    if generator is not None:
        noise = (2 * torch.rand(images.shape, generator=generator) - 1) * epsilon
        attacked = project_linf(images + noise, images, epsilon)
    for _ in range(steps):
        gradient = input_gradient(model, attacked, labels)
        attacked = pgd_step(attacked, images, gradient, 2.5 * epsilon / steps, epsilon)
    return attacked


def survivors(
    model: nn.Module, split: Split, epsilon: float, steps: int, restarts: int = 1, seed: int = 0, batch: int = 500
) -> Tensor:
    """Which images [n] are right as they are and after every attack: once from the image, then from random starts.

    The model is in evaluation mode: attacks on a network that draws at random measure the draw.
    """
    model.eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        right = torch.cat([model(images) for images in split.images.split(batch)]).argmax(1) == split.labels
    for restart in range(restarts):
        for index in right.nonzero().flatten().split(batch):
            images, labels = split.images[index], split.labels[index]
            attacked = pgd(model, images, labels, epsilon, steps, generator if restart else None)
            with torch.no_grad():
                right[index] = model(attacked).argmax(1) == labels
    return right


def robust_accuracy(model: nn.Module, split: Split, epsilon: float, steps: int, restarts: int = 1) -> float:
    """The part of the images that survives."""
    return float(survivors(model, split, epsilon, steps, restarts).double().mean())


def train_epoch(
    model: nn.Module,
    split: Split,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    epsilon: float,
    attack_steps: int,
    masks: Masks,
    batch: int = 50,
) -> float:
    """One epoch of adversarial training (plain, if ε is 0); the part of the attacked images that was right."""
    right = 0
    for index in torch.randperm(len(split), generator=generator).split(batch):
        images, labels = split.images[index], split.labels[index]
        if epsilon:
            model.eval()
            images = pgd(model, images, labels, epsilon, attack_steps)
        model.train()
        logits = model(images)
        optimizer.zero_grad()
        F.cross_entropy(logits, labels).backward()
        optimizer.step()
        apply_masks(model, masks)
        right += int((logits.argmax(1) == labels).sum())
    model.eval()
    return right / len(split)
