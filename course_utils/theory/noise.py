"""Generalization: networks of many densities, and dense ones that stop early, trained on labels partly wrong."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils.data import Split
from course_utils.lottery import prune_tickets, rewind
from course_utils.models import mlp
from course_utils.pruning import Masks, apply_masks, weight_names
from course_utils.theory import noise_report, noisy_labels
from course_utils.training import ADAM, errors, predict, set_seed


@dataclass(frozen=True)
class NoisyTask:
    """Digits with noisy labels to train and to choose on, and clean ones to judge."""

    images: Tensor
    labels: Tensor  # the true ones
    noisy: Tensor
    validation: Split  # as noisy as the training set: whoever has no clean labels has none here either
    test: Split


def noisy_task(train: Split, validation: Split, test: Split, fraction: float, seed: int) -> NoisyTask:
    noisy = [noisy_labels(part.labels, fraction, 10, 10 * seed + i) for i, part in enumerate((train, validation))]
    return NoisyTask(train.images, train.labels, noisy[0], Split(validation.images, noisy[1]), test)


def initial_network(sizes: tuple[int, ...], seed: int) -> nn.Sequential:
    set_seed(seed)
    return mlp(*sizes)


def random_masks(model: nn.Module, density: float, seed: int) -> Masks:
    """Each layer's weights but the last's keep exactly this part, at random; the last, which is small, stays whole."""
    generator = torch.Generator().manual_seed(seed)
    masks = {}
    for name in weight_names(model)[:-1]:
        mask = torch.zeros(model.get_parameter(name).numel(), dtype=torch.bool)
        mask[torch.randperm(len(mask), generator=generator)[: round(density * len(mask))]] = True
        masks[name] = mask.view(model.get_parameter(name).shape)
    return masks


def fit(model: nn.Module, masks: Masks, task: NoisyTask, epochs: int, lr: float, batch: int, seed: int
        ) -> dict[str, Any]:  # fmt: skip
    """Train in place; what is learned after the last epoch, and after the one that the noisy validation labels choose
    (of equals the first); and the validation errors of all."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = ADAM(model.parameters(), lr=lr)
    apply_masks(model, masks)
    validation: list[int] = []
    stopped: dict[str, Any] = {}
    memorized: list[float] = []
    for epoch in range(1, epochs + 1):
        for index in torch.randperm(len(task.noisy), generator=generator).split(batch):
            loss = F.cross_entropy(model(task.images[index]), task.noisy[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            apply_masks(model, masks)
        validation.append(errors(model, task.validation))
        memorized.append(learned(model, task)["memorized"])
        if validation[-1] < min(validation[:-1], default=len(task.validation) + 1):
            stopped = {"epoch": epoch, "test_errors": errors(model, task.test), **learned(model, task)}
    return {
        "kept": sum(int((model.get_parameter(name) != 0).sum()) for name in weight_names(model)),
        "last": {"test_errors": errors(model, task.test), **learned(model, task)},
        "stopped": stopped,
        "validation_errors": validation,
        "memorized": memorized,
    }


def learned(model: nn.Module, task: NoisyTask) -> dict[str, float]:
    """The report on the training set, by name."""
    report = noise_report(predict(model, task.images), task.labels, task.noisy)
    return {name: round(part, 4) for name, part in zip(("fit", "memorized", "recovered"), report, strict=True)}


def tickets(task: NoisyTask, densities: tuple[float, ...], sizes: tuple[int, ...], seed: int, **training: Any
            ) -> dict[str, dict[str, Any]]:  # fmt: skip
    """Iterative magnitude pruning with rewinding to the first weights, all layers ranked together: by density, as text,
    from 1 down; each network is trained for as long."""
    model = initial_network(sizes, seed)
    first = {name: value.clone() for name, value in model.state_dict().items()}
    masks = {name: torch.ones_like(first[name], dtype=torch.bool) for name in weight_names(model)}
    found, now = {}, 1.0
    for density in densities:
        if density < now:
            masks = prune_tickets({n: model.state_dict()[n] for n in masks}, masks, 1 - density / now)
            now = density
        model.load_state_dict(rewind(first, masks))
        found[f"{density:g}"] = fit(model, masks, task, seed=seed, **training)
    return found
