"""The price of one bit by width, on full MNIST: binary networks of 256 to 2,048 units, each beside a float twin.

Published (M. Courbariaux, I. Hubara et al., arXiv:1602.02830, 2016, table 1): 0.96% test error with three hidden layers
of 4,096 units, 1.40% with 2,048, from real-valued pixels and without shifts or a teacher. The authors' code for the
first (github.com/MatthieuCourbariaux/BinaryNet, Train-time/mnist.py) trains 1,000 epochs with dropout.

Ours have two hidden layers, and shifts and a teacher as in `reproduce`. In training products are computed in bfloat16,
which takes less time where a processor has instructions for it: signs are exact in it, their sums are added up in
float32 and then rounded to 8 bits. Nothing is rounded where a network is judged: the file of bits is what counts.
"""

import math
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from course_utils.binary import (
    BinaryMLP,
    Layer,
    binarize,
    binary_forward,
    load_binary,
    pack_bits,
    packed_layers,
    pixel_signs,
    save_binary,
    xnor_popcount_matmul,
)
from course_utils.binary.reproduce import PAPER
from course_utils.binary.reproduce_bits import PartlyBinary
from course_utils.data import Digits, Split, full_mnist, shift_images
from course_utils.deep_compression.reproduce import cosine, train_teacher
from course_utils.distillation import distillation_loss
from course_utils.progress import progress_bar
from course_utils.reproduce.runner import Done, Experiment, Piece, Values
from course_utils.training import ADAM, errors, predict, set_seed

LEVELS = 255  # of a gray pixel, as the data set stores it


@dataclass(frozen=True)
class Settings:
    """The names are those that `deep_compression.fit` and `train_teacher` read."""

    widths: tuple[int, ...] = (256, 512, 1024, 2048)  # units of each of two hidden layers
    epochs: int = 10
    batch_size: int = 500
    binary_lr: float = 2e-2  # of Adam on real weights from −1 to 1; falls to 0 along a cosine
    lr: float = 2e-3  # of Adam on the teacher and on the float twins
    temperature: float = 4.0
    alpha: float = 0.9  # weight of the soft targets
    teacher_epochs: int = 12
    teacher_seed: int = 0


@dataclass(frozen=True)
class Kind:
    """How a network sees its weights, pixels and activations, and how it is trained."""

    weights: str
    pixels: str
    activation: str
    only: tuple[int, ...] = ()  # at these widths; at all if empty
    epochs: int = 0  # the settings', if 0
    rounded: bool = True  # products in bfloat16 in training


KINDS: dict[str, Kind] = {
    "binary": Kind("signs", "gray", "signs"),
    "float twin": Kind("real", "gray", "ReLU"),
    "binary, products in float32": Kind("signs", "gray", "signs", only=(512,), rounded=False),
    "binary, 20 epochs more": Kind("signs", "gray", "signs", only=(2048,), epochs=20),  # the networks of "binary" go on
}
AGAIN = 0.5  # of the first learning rate, where training goes on


class RoundedProduct(torch.autograd.Function):
    """inputs @ weight.T with factors and result rounded to bfloat16, and so in both gradients; signs: of the weight."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, signs: bool) -> Tensor:
        factors = inputs.bfloat16(), (binarize(weight.bfloat16()) if signs else weight.bfloat16())
        ctx.save_for_backward(*factors)
        return (factors[0] @ factors[1].T).float()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, None]:
        inputs, weight = ctx.saved_tensors
        gradient = gradient.bfloat16()
        by_inputs = (gradient @ weight).float() if ctx.needs_input_grad[0] else None  # pixels need none
        return by_inputs, (gradient.T @ inputs).float(), None


class Network(PartlyBinary):
    """Rounds its products in training, if `rounded`. (Weights are clipped: no window is needed there.)"""

    def __init__(self, hidden: int, kind: Kind) -> None:
        super().__init__(hidden, kind.weights, kind.pixels, kind.activation)
        self.rounded, self.root = kind.rounded, math.sqrt(hidden)
        self.scale.data.fill_(1.0)

    def forward(self, images: Tensor) -> Tensor:
        # The scale of wide sums would be small beside a step of Adam: it is learned in units of their spread
        return super().forward(images) / self.root

    def product(self, inputs: Tensor, weight: Tensor) -> Tensor:
        if self.training and self.rounded:
            return RoundedProduct.apply(inputs, weight, self.weights == "signs")
        return super().product(inputs, weight)


def integer_pixels(images: Tensor) -> np.ndarray:
    """Odd integers [n, pixels] from −255 to 255, which are 255 times what a network with gray pixels sees."""
    return (2 * (LEVELS * images.flatten(1)).round() - LEVELS).int().numpy()


def bit_planes(pixels: np.ndarray) -> list[np.ndarray]:
    """Eight matrices of signs, whose sum, weighted by 1, 2, 4, …, is `integer_pixels`."""
    levels = (pixels + LEVELS) // 2
    return [2 * (levels >> bit & 1) - 1 for bit in range(8)]


def packed_layers_of(model: Network) -> list[Layer]:
    """The layers of `binary_forward`; the first one's thresholds are for `integer_pixels`, if the pixels are gray."""
    twin = BinaryMLP(*model.sizes)
    names = {f"linears.{number}": f"linears.{number}.weight" for number in range(len(model.linears))}
    twin.load_state_dict({names.get(name, name): value for name, value in model.state_dict().items()})
    if model.scale < 0:  # the file has no scale: its last bits take the sign
        twin.linears[-1].weight.data = -binarize(model.linears[-1].data)
    layers = packed_layers(twin)
    if model.pixels == "gray":
        words, length, threshold, direction = layers[0]
        # at direction 0 the threshold is a sign
        layers[0] = words, length, torch.where(direction == 0, threshold, LEVELS * threshold), direction
    return layers


def classes_by_bits(layers: Sequence[Layer], images: Tensor, gray: bool) -> np.ndarray:
    """Classes [n], by nothing but packed bits: a gray image is eight products of bit planes, and their weighted sum."""
    if not gray:
        return binary_forward(pack_bits(pixel_signs(images).numpy()), layers).argmax(1)
    words, length, threshold, direction = layers[0]
    planes = bit_planes(integer_pixels(images))
    sums = sum(xnor_popcount_matmul(pack_bits(plane), words, length) << bit for bit, plane in enumerate(planes))
    compared = np.where(direction == 0, threshold > 0, direction * sums >= direction * threshold)
    return binary_forward(pack_bits(np.where(compared, 1, -1)), layers[1:]).argmax(1)


def judge(model: Network, splits: dict[str, Split]) -> Values:
    """Errors and bytes of the file that would be shipped; of a binary network its bits decide, not its floats."""
    if model.weights == "real":
        floats = {key: value for key, value in model.state_dict().items() if value.is_floating_point()}
        wrong = {f"{name}_errors": errors(model, split) for name, split in splits.items()}
        return wrong | {"bytes": len(safetensors.torch.save(floats))}
    gray = model.pixels == "gray"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network"
        size = save_binary(packed_layers_of(model), path, LEVELS if gray else 1)
        layers = load_binary(path)
    result: Values = {"bytes": size, "different_classes": 0}
    for name, split in splits.items():
        found = [torch.from_numpy(classes_by_bits(layers, batch, gray)) for batch in split.images.split(500)]
        result[f"{name}_errors"] = int((torch.cat(found) != split.labels).sum())
        result["different_classes"] += int((torch.cat(found) != predict(model, split.images)).sum())
    return result


def teach(
    model: Network,
    split: Split,
    settings: Settings,
    epochs: int,
    rate: Callable[[float], float],
    seed: int,
    teacher: Tensor,
) -> None:
    """As `deep_compression.fit`, with Adam's steps in one pass over the weights, which are many.

    rate: learning rate at an epoch, a fraction. teacher: logits [9, n, classes], for each shift of up to a pixel.
    """
    generator = torch.Generator().manual_seed(seed)
    stepper = ADAM(model.parameters())
    model.train()
    for epoch in progress_bar(iterable=range(epochs), unit=" epochs"):
        batches = torch.randperm(len(split), generator=generator).split(settings.batch_size)
        for number, index in enumerate(batches):
            for group in stepper.param_groups:
                group["lr"] = rate(epoch + number / len(batches))
            down, right = torch.randint(-1, 2, (2, len(index)), generator=generator)
            logits = model(shift_images(split.images[index], down, right))
            wanted = teacher[3 * (down + 1) + right + 1, index]
            loss = distillation_loss(logits, wanted, split.labels[index], settings.temperature, settings.alpha)
            stepper.zero_grad()
            loss.backward()
            stepper.step()
            model.clip()
    model.eval()


def load(digits: Digits | None, settings: Settings) -> Digits:
    return digits or full_mnist()


def label(name: str, width: int) -> str:
    return f"{name}, {width:,} units"


def cases(settings: Settings) -> list[tuple[str, int]]:
    """Every kind at each of its widths; the sweep comes first, and what only some widths have after it."""
    every = [(name, width) for width in settings.widths for name, kind in KINDS.items() if not kind.only]
    return every + [(name, width) for name, kind in KINDS.items() for width in kind.only]


def pieces(digits: Digits, settings: Settings, seeds: int) -> list[Piece]:
    teacher = Piece("teacher", train_teacher)
    found = [teacher]
    for name, width in cases(settings):
        kind = KINDS[name]
        for seed in range(seeds):
            earlier = (f"{label('binary', width)}/seed {seed}",) if kind.epochs else ()
            needs, group = (teacher.name, *earlier), label(name, width)
            found.append(Piece(f"{group}/seed {seed}", train_and_judge, (width, kind, seed), needs, group, seed))
    return found


def train_and_judge(
    digits: Digits,
    settings: Settings,
    width: int,
    kind: Kind,
    seed: int,
    teacher: Values,
    earlier: Values | None = None,
) -> Values:
    """Errors of one network, bytes of its file, and the processor's seconds that its training took; and its state.

    earlier: a network that goes on, from its state and at a lower rate.
    """
    set_seed(seed)
    model, start, epochs = Network(width, kind), time.process_time(), kind.epochs or settings.epochs
    highest = settings.lr if kind.weights == "real" else settings.binary_lr
    if earlier:
        model.load_state_dict(earlier["state"])
        highest *= AGAIN
    teach(
        model, digits.train, settings, epochs, cosine(highest, epochs), seed + 1000 * bool(earlier), teacher["logits"]
    )
    seconds = round(time.process_time() - start)
    parts = {"validation": digits.validation, "test": digits.test}
    judged = judge(model, parts)
    return {"seed": seed} | judged | {"processor_seconds": seconds, "state": model.state_dict()}


def collect(digits: Digits, settings: Settings, done: Done) -> Values:
    """Errors and bytes of every network, by kind and width."""
    networks = []
    for name, width in cases(settings):
        runs = [done[f"{label(name, width)}/seed {seed}"] for seed in done.seeds(label(name, width))]
        networks.append({"name": name, "width": width, **asdict(KINDS[name]), "runs": runs})
    return {
        "experiment": "what one bit costs, by width, on MNIST",
        "data": digits.summary(),
        "settings": asdict(settings),
        "choices": "layers, batch and rates on the validation digits, one seed",
        "paper": PAPER,
        "teacher": done.get("teacher"),
        "networks": networks,
        "provenance": done.origin(),
    }


run = Experiment("binary_widths", Settings, load, pieces, collect).run
