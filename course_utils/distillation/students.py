"""The lecture's students, many at once: the same products of matrices train them all, each as `train` would alone."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils.data import CLASSES, Split, shift_images
from course_utils.distillation import distillation_gradient
from course_utils.models import mlp
from course_utils.training import ADAM, cosine, logits_of, set_seed

PIXELS, HIDDEN = 784, 64
BATCH_SIZE, LR = 128, 3e-3  # of Adam; falls to 0 along a cosine


def logits_at_moves(model: nn.Module, images: Tensor, reach: int) -> Tensor:
    """Logits [(2·reach + 1)², n, classes] of images [n, 1, 28, 28] moved by up to `reach` pixels, as `move` counts."""
    pixels = torch.arange(-reach, reach + 1)
    return torch.stack([logits_of(model, shift_images(images, *by)) for by in torch.cartesian_prod(pixels, pixels)])


def move(down: Tensor, right: Tensor, reach: int) -> Tensor:
    """The number of a move by so many pixels, from 0 for up and left by `reach`."""
    return (down + reach) * (2 * reach + 1) + right + reach


class Way(NamedTuple):
    """A way of teaching: what `distillation_loss` gets beside the student's logits and the labels.

    logits: the teacher's for the n digits of the transfer set, [n, classes]; [seeds, 1, n, classes] if each seed has a
    teacher of its own; [moves, n, classes] if the teacher labels each digit where it has been moved to, see
    `logits_at_moves`. With alpha = 0 the student learns from the labels alone.
    """

    logits: Tensor
    temperature: float = 1.0
    alpha: float = 0.9


def train_students(
    transfer: Split, ways: Mapping[str, Way], seeds: Sequence[int], epochs: int, jitter: int = 0, hidden: int = HIDDEN
) -> dict[str, list[nn.Sequential]]:
    """A student for each way of teaching and each seed, trained on `distillation_loss`: by way, in the seeds' order.

    A seed sets the first weights and the order of the digits, and by how much each is moved, up to `jitter` pixels: all
    ways have the same. That is what `training.train` does with one way and one seed.
    """
    # Axes: s seeds, m moves, w ways, b batch, p pixels, h hidden units, c classes
    moves = (2 * jitter + 1) ** 2
    logits = [way.logits.expand(len(seeds), moves, *way.logits.shape[-2:]) for way in ways.values()]
    teachers = torch.stack(logits, dim=3)  # [s, m, n, w, c]
    temperatures, alphas = (
        torch.tensor([getattr(way, name) for way in ways.values()])[:, None, None] for name in ("temperature", "alpha")
    )
    labels = F.one_hot(transfer.labels, CLASSES).log()  # a teacher who is sure
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    pixels = transfer.images.flatten(1)
    # The weights of a pixel that is white in all digits never move: about a fifth of the first layer
    inked = pixels.any(dim=0) if jitter == 0 else torch.ones(PIXELS, dtype=torch.bool)
    pixels = pixels[:, inked]

    def batch_of(index: Tensor) -> tuple[Tensor, Tensor]:  # [s, b] -> [s, b, p], and the moves [s, b]
        if jitter == 0:
            return pixels[index], torch.zeros_like(index)
        by = [torch.randint(-jitter, jitter + 1, (2, index.shape[1]), generator=each) for each in generators]
        moved = [shift_images(images, *each) for images, each in zip(transfer.images[index], by, strict=True)]
        return torch.stack(moved).flatten(2), torch.stack([move(*each, jitter) for each in by])

    first = _first_weights(seeds, len(ways), hidden)
    parameters = [first[0][:, inked], *first[1:]]
    weight1, bias1, weight2, bias2 = (parameter.requires_grad_() for parameter in parameters)
    stepper = ADAM(parameters, lr=LR)
    row = torch.arange(len(seeds)).unsqueeze(1)
    for epoch in range(epochs):
        stepper.param_groups[0]["lr"] = LR * cosine(epoch / epochs)
        orders = torch.stack([torch.randperm(len(transfer), generator=generator) for generator in generators])
        for index in orders.split(BATCH_SIZE, dim=1):  # [s, b]
            images, moved = batch_of(index)
            units = torch.baddbmm(bias1, images, weight1).relu()  # [s, b, w·h]
            outputs = units.unflatten(2, (len(ways), hidden)).transpose(1, 2) @ weight2 + bias2  # [s, w, b, c]
            with torch.no_grad():  # the gradient of `distillation_loss` by the student's logits
                told = teachers[row, moved, index].transpose(1, 2)  # [s, w, b, c]
                from_teacher = distillation_gradient(outputs, told, temperatures)
                from_labels = distillation_gradient(outputs, labels[index].unsqueeze(1), 1.0)
                gradient = alphas * temperatures**2 * from_teacher + (1 - alphas) * from_labels
            stepper.zero_grad()
            outputs.backward(gradient / index.shape[1])
            stepper.step()
    first[0][:, inked] = weight1.detach()
    return {way: [_student([first[0], *parameters[1:]], s, w) for s in range(len(seeds))] for w, way in enumerate(ways)}


def _first_weights(seeds: Sequence[int], ways: int, hidden: int) -> list[Tensor]:
    """Weights and biases of both layers, [s, p, w·h], [s, 1, w·h], [s, w, h, c] and [s, w, 1, c], alike for all ways.

    The first layers of a seed's students stand side by side, for they get the same digits.
    """
    students = []
    for seed in seeds:
        set_seed(seed)
        students.append([parameter.detach() for parameter in mlp(PIXELS, hidden, CLASSES).parameters()])
    weight1, bias1, weight2, bias2 = (torch.stack(several) for several in zip(*students, strict=True))
    return [
        weight1.transpose(1, 2).repeat(1, 1, ways),
        bias1.unsqueeze(1).repeat(1, 1, ways),
        weight2.transpose(1, 2).unsqueeze(1).repeat(1, ways, 1, 1),
        bias2[:, None, None].repeat(1, ways, 1, 1),
    ]


@torch.no_grad()
def _student(parameters: Sequence[Tensor], seed: int, way: int) -> nn.Sequential:
    """One student, in evaluation mode, cut out of the parameters of all."""
    weight1, bias1, weight2, bias2 = (parameter[seed] for parameter in parameters)
    hidden = weight2.shape[1]
    own = slice(way * hidden, (way + 1) * hidden)
    student = mlp(PIXELS, hidden, CLASSES).eval()
    values = (weight1[:, own].T, bias1[0, own], weight2[way].T, bias2[way, 0])
    for parameter, value in zip(student.parameters(), values, strict=True):
        parameter.copy_(value)
    return student
