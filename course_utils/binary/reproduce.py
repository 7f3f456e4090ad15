"""A binary network on MNIST: trained through the straight-through estimator, shipped as bits.

Published (M. Courbariaux, I. Hubara et al., arXiv:1602.02830, 2016): 0.96% test error with three hidden layers of 4,096
units, 1.40% with 2,048, from real-valued pixels. Ours are narrower, see one bit of each pixel, and learn from shifted
digits and the soft targets of a convolutional teacher (unit 01); what that is worth, controls tell.
"""

import itertools
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from course_utils.binary import (
    BinaryMLP,
    binarize,
    binary_forward,
    load_binary,
    pack_bits,
    packed_layers,
    pixel_signs,
    save_binary,
)
from course_utils.data import CLASSES, Digits, Split, full_mnist
from course_utils.deep_compression.reproduce import cosine, fit, train_teacher
from course_utils.reproduce.runner import Done, Experiment, Piece, Values
from course_utils.training import errors, set_seed

PAPER = {
    "source": "M. Courbariaux, I. Hubara, D. Soudry, R. El-Yaniv and Y. Bengio, arXiv:1602.02830, 2016, table 1",
    "binary_4096": 0.96,
    "binary_2048": 1.40,
    "binary_connect": 1.29,
}


@dataclass(frozen=True)
class Settings:
    """What holds for all networks. The names are those that `deep_compression.fit` and `train_teacher` read."""

    hidden: tuple[int, ...] = (768, 768, 768)
    epochs: int = 30
    batch_size: int = 250
    binary_lr: float = 2e-2  # of Adam on real weights from −1 to 1; falls to 0 along a cosine
    lr: float = 2e-3  # of Adam on the teacher and on the float32 control
    temperature: float = 4.0
    alpha: float = 0.9  # weight of the soft targets
    teacher_epochs: int = 12
    teacher_seed: int = 0


def float_twin(*sizes: int) -> nn.Sequential:
    """The control: the same layers and normalizations with real weights, real pixels, and ReLU in place of signs."""
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in itertools.pairwise(sizes[:-1]):
        layers += [nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(*sizes[-2:], bias=False))


@dataclass(frozen=True)
class Condition:
    """How one network is trained; hidden layers and epochs are the settings' unless given here."""

    binary: bool = True
    taught: bool = True
    reach: int = 1  # the largest shift of a digit, in pixels
    hidden: tuple[int, ...] = ()
    epochs: int = 0
    most_seeds: int = sys.maxsize


NETWORKS: dict[str, Condition] = {
    "binary": Condition(),
    "float32": Condition(binary=False),
    "binary, no teacher": Condition(taught=False),
    "binary, no teacher, no shifts": Condition(taught=False, reach=0),
    "binary, 512 units": Condition(hidden=(512, 512, 512), epochs=40, most_seeds=1),
}


def train_network(
    condition: Condition, digits: Digits, settings: Settings, teacher: Tensor | None, seed: int
) -> nn.Module:
    """A trained network. teacher: logits for each shift, see `fit`."""
    set_seed(seed)
    sizes = (784, *(condition.hidden or settings.hidden), CLASSES)
    model = BinaryMLP(*sizes) if condition.binary else float_twin(*sizes)
    epochs = condition.epochs or settings.epochs
    fit(
        model, digits.train, settings, epochs=epochs, seed=seed, reach=condition.reach, name=f"seed {seed}",
        rate=cosine(settings.binary_lr if condition.binary else settings.lr, epochs), teacher=teacher,
        after_step=(lambda epoch: model.clip()) if condition.binary else (lambda epoch: None),
    )  # fmt: skip
    return model


def packed_inference(model: BinaryMLP, splits: list[Split]) -> dict[str, Any]:
    """The network as a file of bits, and whether what is read from it decides as the float64 network does."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network"
        size = save_binary(packed_layers(model), path)
        layers = load_binary(path)
    images = torch.cat([split.images for split in splits])
    packed = np.concatenate(
        [binary_forward(pack_bits(pixel_signs(batch).numpy()), layers) for batch in images.split(500)]
    )
    reference = np.concatenate([float64_sums(model, batch) for batch in images.split(500)])
    return {
        "bytes": size,
        "images": len(images),
        "different_sums": int((packed != reference).sum()),
        "different_classes": int((packed.argmax(1) != reference.argmax(1)).sum()),
    }


@torch.no_grad()
def float64_sums(model: BinaryMLP, images: Tensor) -> np.ndarray:
    """The last layer's sums [n, classes], all in float64, with batch normalization as it stands in the papers."""
    signs = pixel_signs(images).double()
    for linear, norm in zip(model.linears, model.norms, strict=False):
        sums = signs @ binarize(linear.weight.double()).T
        gamma, beta, mean, var = (v.double() for v in (norm.weight, norm.bias, norm.running_mean, norm.running_var))
        signs = binarize(gamma * (sums - mean) / torch.sqrt(var + norm.eps) + beta)
    return (signs @ binarize(model.linears[-1].weight.double()).T).numpy()


def load(digits: Digits | None, settings: Settings) -> Digits:
    return digits or full_mnist()


def pieces(digits: Digits, settings: Settings, seeds: int) -> list[Piece]:
    """The teacher, and every network with every seed."""
    teacher = Piece("teacher", train_teacher)
    return [teacher] + [
        Piece(
            f"{name}/seed {seed}", train_and_measure, (condition, seed),
            needs=(teacher.name,) if condition.taught else (), group=name, seed=seed,
        )
        for seed in range(seeds) for name, condition in NETWORKS.items() if seed < condition.most_seeds
    ]  # fmt: skip


def collect(digits: Digits, settings: Settings, done: Done) -> Values:
    """Errors and bytes of every network."""
    return {
        "experiment": "a binary network on MNIST",
        "data": digits.summary(),
        "settings": asdict(settings),
        "choices": "rate and epochs on the validation digits. The network of 512 units was tried first, and its test "
        "errors were seen: so the test digits had a say in the width",
        **done.origin(),
        "paper": PAPER,
        "teacher": done.get("teacher"),
        "runs": {name: [done[f"{name}/seed {seed}"] for seed in done.seeds(name)] for name in NETWORKS},
    }


run = Experiment("binary", Settings, load, pieces, collect).run


def train_and_measure(
    digits: Digits, settings: Settings, condition: Condition, seed: int, teacher: Values | None = None
) -> Values:
    """Errors of a network, bytes of the file that would be shipped, and the seconds that training took."""
    start = time.perf_counter()
    model = train_network(condition, digits, settings, teacher and teacher["logits"], seed)
    seconds = round(time.perf_counter() - start)
    model.eval()
    result = {
        "seed": seed,
        "validation_errors": errors(model, digits.validation),
        "test_errors": errors(model, digits.test),
    }
    if condition.binary:
        result |= packed_inference(model, [digits.validation, digits.test])
    else:
        floats = {key: value for key, value in model.state_dict().items() if value.is_floating_point()}
        result["bytes"] = len(safetensors.torch.save(floats))
    return result | {"seconds": seconds}
