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
from functools import partial
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
from course_utils.reproduce import Journal, provenance, write_results
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


def make(name: str, settings: Settings) -> nn.Module:
    sizes = (784, *(NETWORKS[name].hidden or settings.hidden), CLASSES)
    return BinaryMLP(*sizes) if NETWORKS[name].binary else float_twin(*sizes)


def train_network(name: str, digits: Digits, settings: Settings, teacher: Tensor, seed: int) -> dict[str, Tensor]:
    """The state of a trained network, and the seconds that it took. teacher: logits for each shift, see `fit`."""
    condition = NETWORKS[name]
    set_seed(seed)
    model = make(name, settings)
    epochs = condition.epochs or settings.epochs
    start = time.perf_counter()
    fit(
        model, digits.train, settings, epochs=epochs, seed=seed, reach=condition.reach, name=f"{name} {seed}",
        rate=cosine(settings.binary_lr if condition.binary else settings.lr, epochs),
        teacher=teacher if condition.taught else None,
        after_step=(lambda epoch: model.clip()) if condition.binary else (lambda epoch: None),
    )  # fmt: skip
    return model.state_dict() | {"seconds": torch.tensor(time.perf_counter() - start)}


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


def measure(name: str, model: nn.Module, digits: Digits) -> dict[str, Any]:
    """Errors, and bytes of the file that would be shipped."""
    model.eval()
    result = {
        "validation_errors": errors(model, digits.validation),
        "test_errors": errors(model, digits.test),
    }
    if NETWORKS[name].binary:
        return result | packed_inference(model, [digits.validation, digits.test])
    floats = {key: value for key, value in model.state_dict().items() if value.is_floating_point()}
    return result | {"bytes": len(safetensors.torch.save(floats))}


def run(seeds: int, out: Path, digits: Digits | None = None, settings: Settings | None = None) -> dict[str, Any]:
    """Train all networks for each seed; store out/binary.json after each network, and return it.

    digits: full MNIST if left out. A run that is stopped and started again goes on with the network that it was
    training.
    """
    digits, settings = digits or full_mnist(), settings or Settings()
    data = {"name": digits.name} | {part: len(getattr(digits, part)) for part in ("train", "validation", "test")}
    journal = Journal("binary", {"data": data, **asdict(settings)})
    teacher = journal.tensors("teacher", lambda: train_teacher(digits, settings))
    results: dict[str, Any] = {
        "experiment": "a binary network on MNIST",
        "data": data,
        "settings": asdict(settings),
        "choices": "rate and epochs on the validation digits. The network of 512 units was tried first, and its test "
        "errors were seen: so the test digits had a say in the width",
        **provenance(),
        "paper": PAPER,
        "teacher": {"validation_errors": int(teacher["validation_errors"])},
        "runs": {name: [] for name in NETWORKS},
    }
    for seed in range(seeds):
        for name in (name for name, condition in NETWORKS.items() if seed < condition.most_seeds):
            compute = partial(train_network, name, digits, settings, teacher["logits"], seed)
            state = journal.tensors(f"{name.replace(', ', '-').replace(' ', '_')}-{seed}", compute)
            seconds = round(state.pop("seconds").item())
            model = make(name, settings)
            model.load_state_dict(state)
            results["runs"][name].append({"seed": seed, **measure(name, model, digits), "seconds": seconds})
            write_results(Path(out) / "binary.json", results)
            print(f"{name}, seed {seed}: {results['runs'][name][-1]}", flush=True)
    journal.clear()
    return results
