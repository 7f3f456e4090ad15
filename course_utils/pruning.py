"""Pruning real networks: what curvature needs from them, and masks that hold while they train.

The networks here are those of `course_utils.models.mlp`, with ReLU units and the cross-entropy of class labels.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils.data import Split

Masks = dict[str, Tensor]


def weight_names(model: nn.Module) -> list[str]:
    """Names of the weights, first layer first: the parameters that are pruned. Biases are few and stay."""
    return [name for name, parameter in model.named_parameters() if parameter.dim() > 1]


@torch.no_grad()
def recursion_inputs(model: nn.Sequential, images: Tensor, labels: Tensor) -> tuple:
    """The six arguments of `saliency.backpropagate_curvature`, from one forward pass.

    The loss is the cross-entropy: by logits z its gradient is p − y, and its second derivative p(1 − p), p the softmax.
    """
    weights, inputs, slopes, bends, hidden = [], [], [], [], images
    for layer in model:
        if isinstance(layer, nn.Linear):
            weights.append(layer.weight.detach())
            inputs.append(hidden)
        elif isinstance(layer, nn.ReLU):
            slopes.append((hidden > 0).to(hidden.dtype))
            bends.append(torch.zeros_like(hidden))
        elif not isinstance(layer, nn.Flatten | nn.Dropout):
            raise ValueError(f"Only fully connected ReLU networks are followed here, not {layer}.")
        hidden = layer(hidden)
    p = hidden.softmax(dim=1)
    return weights, inputs, slopes, bends, p - F.one_hot(labels, p.shape[1]), p * (1 - p)


@torch.no_grad()
def exact_curvature(model: nn.Sequential, images: Tensor, labels: Tensor) -> list[Tensor]:
    """The exact ∂²E/∂w² of every weight, first layer first, each of its weight's shape: the mean over the batch.

    A ReLU network's Hessian has the diagonal of its Gauss-Newton matrix, Σ_kl ∂z_k/∂w · H_kl · ∂z_l/∂w, H being the
    Hessian by the logits. It takes a backward pass for each class, where the recursion takes one in all.
    """
    weights, inputs, slopes, _, _, _ = recursion_inputs(model, images, labels)
    p = model(images).softmax(dim=1)
    # H = diag(p) − ppᵀ = RRᵀ with R = diag(√p) − p√pᵀ: the curvature of a unit is a sum of squares, one per class
    root = torch.diag_embed(p.sqrt()) - p.unsqueeze(2) * p.sqrt().unsqueeze(1)
    factors = root.transpose(1, 2)  # [batch, classes, units of the layer]
    curvatures: list[Tensor] = []
    for layer in reversed(range(len(weights))):
        by_unit = factors.square().sum(dim=1)
        curvatures.insert(0, by_unit.T @ inputs[layer] ** 2 / len(images))
        if layer > 0:
            factors = factors @ weights[layer] * slopes[layer - 1].unsqueeze(1)
    return curvatures


def double_backward(model: nn.Module, images: Tensor, labels: Tensor, name: str, entries: Tensor) -> Tensor:
    """The exact ∂²E/∂w² of some entries (positions in the flat parameter `name`): one more backward pass for each."""
    parameter = model.get_parameter(name)
    loss = F.cross_entropy(model(images), labels)
    (gradient,) = torch.autograd.grad(loss, parameter, create_graph=True)
    found = []
    for entry in entries.tolist():
        (row,) = torch.autograd.grad(gradient.flatten()[entry], parameter, retain_graph=True)
        found.append(row.flatten()[entry])
    return torch.stack(found)


@torch.no_grad()
def mean_loss(model: nn.Module, split: Split) -> float:
    """Cross-entropy of a network on a split, mean over the examples, in nats."""
    return F.cross_entropy(model(split.images), split.labels).item()


@torch.no_grad()
def apply_masks(model: nn.Module, masks: Masks) -> None:
    """Put the weights outside the masks to 0, in place."""
    for name, mask in masks.items():
        model.get_parameter(name)[~mask] = 0


def hold_masks(masks: Masks) -> Callable[[nn.Module], None]:
    """For `training.train(after_step=…)`: deleted weights are 0 again after every step.

    A mask on the gradient alone would not do: momentum and Adam's averages go on moving a weight whose gradient is 0.
    """
    return lambda model: apply_masks(model, masks)


def smaller_images(split: Split) -> Split:
    """The split with images of half the height and width: each pixel the mean of four."""
    return Split(F.avg_pool2d(split.images, 2), split.labels)
