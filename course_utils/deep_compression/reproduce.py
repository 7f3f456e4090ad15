"""Deep Compression on MNIST: the LeNets of Han, Mao and Dally (ICLR 2016), by their recipe and by what this course
teaches.

The paper's recipe: train, prune by magnitude and retrain, share weights by k-means from a linear start, fine-tune the
centroids, Huffman-code. Ours, on top: digits shifted by up to a pixel, the soft targets of a better teacher (unit 01),
pruning that grows step by step while the network trains (M. Zhu and S. Gupta, arXiv:1710.01878, 2017), fewer bits,
shared biases, and arithmetic coding. LeNet-5 is first made narrower by whole filters, which makes its training cheap.
Beside it, what the course teaches as well: rewinding (unit 07), Optimal Brain Damage's saliencies (unit 02), and the
best k-means that there is in one dimension.

Every size is that of a file which is read back, and every error is counted with the network that was read.
"""

import copy
import importlib
import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils.data import Digits, Split, full_mnist, shift_images
from course_utils.deep_compression import (
    centroid_gradient,
    compressed_bits,
    encode_relative_index,
    kmeans_1d,
    linear_centroids,
    load_compressed,
    save_compressed,
)
from course_utils.distillation import distillation_loss
from course_utils.distillation.reproduce_contest import convolutional_teacher
from course_utils.models import lenet5, lenet_300_100, parameter_count
from course_utils.progress import progress_bar
from course_utils.pruning import recursion_inputs
from course_utils.reproduce.runner import Done, Experiment, Piece, Values
from course_utils.saliency import backpropagate_curvature, obd_saliency
from course_utils.training import errors, logits_of, set_seed

PAPER = {
    "source": "S. Han, H. Mao and W. J. Dally, arXiv:1510.00149, tables 1, 2 and 3",
    "lenet_300_100": {
        "error_before": 1.64, "error": 1.58, "kept": 0.08, "kilobytes_before": 1070, "kilobytes": 27,
        "pruned": 12, "quantized": 32, "huffman": 40,
    },
    "lenet5": {
        "error_before": 0.80, "error": 0.74, "kept": 0.08, "kilobytes_before": 1720, "kilobytes": 44,
        "pruned": 12, "quantized": 33, "huffman": 39,
    },
}  # fmt: skip
MOST_SEEDS = {"lenet_300_100": 5, "lenet5": 3}
REWINDS = 4  # of recipes that rewind
CURVATURE_EXAMPLES = 500  # for Optimal Brain Damage's saliencies
SHIFTS = torch.cartesian_prod(torch.arange(-1, 2), torch.arange(-1, 2))  # [9, 2]: pixels down and to the right


@dataclass(frozen=True)
class Recipe:
    """How a network is made small.

    bits: of the weights, layer by layer; bias_bits 0 leaves biases as they are. pruning: in two "rounds" at once,
    "gradual" while it trains, or in rounds that start at the "rewound" weights. saliency: what is kept, the largest
    "magnitude" or "obd", Optimal Brain Damage's.
    """

    kept: int
    dense_epochs: int
    prune_epochs: int
    share_epochs: int
    bits: tuple[int, ...]
    bias_bits: int = 0
    shifts: bool = False
    teacher: bool = False
    pruning: str = "rounds"
    saliency: str = "magnitude"
    filters: tuple[int, int] | None = None  # of LeNet-5's two convolutions, after the dense epochs
    ladder: bool = False  # measure also what each choice of the coding adds


RECIPES: dict[str, dict[str, Recipe]] = {
    "lenet_300_100": {
        "ours": Recipe(6500, 3, 47, 8, (3, 4, 4), 3, shifts=True, teacher=True, pruning="gradual", ladder=True),
        "no teacher": Recipe(6500, 3, 47, 0, (3, 4, 4), 3, shifts=True, pruning="gradual"),
        "no teacher, no shifts": Recipe(6500, 3, 47, 0, (3, 4, 4), 3, pruning="gradual"),
        "no teacher, no shifts, two rounds": Recipe(6500, 12, 38, 0, (3, 4, 4), 3),
        "ours, rewound": Recipe(6500, 3, 47, 0, (3, 4, 4), 3, shifts=True, teacher=True, pruning="rewound"),
        "ours, by OBD": Recipe(
            6500, 3, 47, 0, (3, 4, 4), 3, shifts=True, teacher=True, pruning="gradual", saliency="obd"
        ),
        "paper's": Recipe(21_300, 12, 24, 3, (6, 6, 6)),
    },
    "lenet5": {
        "ours": Recipe(16_000, 4, 26, 4, (5, 4, 4, 5), 4, True, True, "gradual", filters=(12, 32), ladder=True),
        "ours, between": Recipe(9200, 4, 46, 8, (4, 4, 3, 4), 3, True, True, "gradual", filters=(10, 28)),
        "ours, smaller": Recipe(6000, 3, 20, 5, (4, 3, 3, 4), 3, True, True, "gradual", filters=(8, 24)),
        "paper's": Recipe(34_500, 6, 6, 1, (8, 8, 5, 5)),
    },
}


@dataclass(frozen=True)
class Settings:
    """What holds for all recipes."""

    batch_size: int = 250
    lr: float = 2e-3  # of Adam; falls to 0 along a cosine, from the first dense epoch to the last of pruning
    share_lr: float = 3e-4  # of Adam on the centroids
    temperature: float = 4.0
    alpha: float = 0.9  # weight of the soft targets
    ramp: float = 0.65  # the part of the pruning epochs in which gradual pruning reaches its goal
    prune_every: int = 20  # steps
    teacher_epochs: int = 12
    teacher_seed: int = 0


NETWORKS: dict[str, Callable[[], nn.Sequential]] = {"lenet_300_100": lenet_300_100, "lenet5": lenet5}


# --- training ---------------------------------------------------------------------------------------------------------


def fit(
    model: nn.Module,
    split: Split,
    settings: Settings,
    *,
    epochs: int,
    seed: int,
    rate: Callable[[float], float],
    parameters: list[Tensor] | None = None,
    reach: int = 0,
    teacher: Tensor | None = None,
    after_backward: Callable[[], None] = lambda: None,
    after_step: Callable[[float], None] = lambda epoch: None,
    name: str = "",
) -> None:
    """Adam on the model's parameters (or on others, that `after_backward` gives gradients and `after_step` copies).

    rate: learning rate at an epoch, a fraction. reach: the largest random shift, in pixels. teacher: logits
    [9, n, classes], for each of `SHIFTS`.
    """
    generator = torch.Generator().manual_seed(seed)
    stepper = torch.optim.Adam(model.parameters() if parameters is None else parameters)
    model.train()
    with torch.random.fork_rng(devices=[]), progress_bar(total=epochs, unit=" epochs", desc=name) as bar:
        torch.manual_seed(seed)  # for dropout
        for epoch in range(epochs):
            batches = torch.randperm(len(split), generator=generator).split(settings.batch_size)
            for number, index in enumerate(batches):
                now = epoch + number / len(batches)
                for group in stepper.param_groups:
                    group["lr"] = rate(now)
                images, labels = split.images[index], split.labels[index]
                down, right = torch.randint(-reach, reach + 1, (2, len(index)), generator=generator)
                logits = model(shift_images(images, down, right) if reach else images)
                if teacher is None:
                    loss = F.cross_entropy(logits, labels)
                else:
                    wanted = teacher[3 * (down + 1) + right + 1, index]
                    loss = distillation_loss(logits, wanted, labels, settings.temperature, settings.alpha)
                model.zero_grad()
                loss.backward()
                after_backward()
                stepper.step()
                after_step(now)
            bar.update()
    model.eval()


def cosine(lr: float, epochs: int, start: int = 0) -> Callable[[float], float]:
    """A learning rate that falls to 0 along half a cosine, if `start` of its epochs are over already."""
    return lambda epoch: lr * (1 + math.cos(math.pi * (start + epoch) / epochs)) / 2


def train_teacher(digits: Digits, settings: Settings) -> dict[str, Any]:
    """Logits [9, n, 10] of a convolutional network for all training digits at all shifts, and its validation errors."""
    set_seed(settings.teacher_seed)
    model = convolutional_teacher()
    epochs = settings.teacher_epochs
    rate = cosine(settings.lr, epochs)
    fit(model, digits.train, settings, epochs=epochs, seed=settings.teacher_seed, rate=rate, reach=2, name="teacher")
    logits = torch.stack([logits_of(model, shift_images(digits.train.images, *shift)) for shift in SHIFTS])
    return {"logits": logits, "validation_errors": errors(model, digits.validation)}


# --- pruning ----------------------------------------------------------------------------------------------------------


def weights_of(model: nn.Module) -> list[nn.Parameter]:
    """The weights, without the biases."""
    return [parameter for name, parameter in model.named_parameters() if name.endswith("weight")]


@torch.no_grad()
def magnitudes(model: nn.Module) -> list[Tensor]:
    return [weight.abs() for weight in weights_of(model)]


def obd_saliencies(model: nn.Sequential, split: Split) -> list[Tensor]:
    """Optimal Brain Damage's saliencies of a fully connected network (unit 02)."""
    curvatures = backpropagate_curvature(*recursion_inputs(model, split.images, split.labels))
    return [obd_saliency(weight.detach(), h) for weight, h in zip(weights_of(model), curvatures, strict=True)]


class Pruning:
    """Masks by saliency over all layers together, put on the weights after each step of training."""

    def __init__(self, model: nn.Module, saliencies: Callable[[nn.Module], list[Tensor]] = magnitudes) -> None:
        self.model, self.saliencies = model, saliencies
        self.weights = weights_of(model)
        self.masks = [weight != 0 for weight in self.weights]

    def prune(self, kept: int) -> None:
        """Keep the most salient weights, `kept` of them. What is pruned already does not come back."""
        masked = zip(self.saliencies(self.model), self.masks, strict=True)
        saliencies = torch.cat([saliency.masked_fill(~mask, -1).flatten() for saliency, mask in masked])
        largest = torch.zeros(len(saliencies), dtype=torch.bool)
        largest[saliencies.topk(kept).indices] = True
        parts = largest.split([weight.numel() for weight in self.weights])
        self.masks = [part.view_as(weight) for part, weight in zip(parts, self.weights, strict=True)]

    @torch.no_grad()
    def after_step(self, epoch: float = 0) -> None:
        """Put pruned weights back to 0: Adam's momentum moves them."""
        for weight, mask in zip(self.weights, self.masks, strict=True):
            weight.masked_fill_(~mask, 0)


class GradualPruning(Pruning):
    """Pruning that keeps kept + (all − kept)·(1 − t)³ weights at the part t of its way (Zhu and Gupta 2017, eq. 1)."""

    def __init__(
        self,
        model: nn.Module,
        kept: int,
        epochs: float,
        every: int,
        saliencies: Callable[[nn.Module], list[Tensor]] = magnitudes,
    ) -> None:
        super().__init__(model, saliencies)
        self.kept, self.epochs, self.every, self.steps = kept, epochs, every, 0
        self.left = self.total = sum(weight.numel() for weight in self.weights)

    def after_step(self, epoch: float = 0) -> None:
        self.steps += 1
        if self.steps % self.every == 0 and self.left > self.kept:
            self.left = round(self.kept + (self.total - self.kept) * max(0.0, 1 - epoch / self.epochs) ** 3)
            self.prune(self.left)
        super().after_step()


def train_and_prune(
    network: str, recipe: Recipe, digits: Digits, settings: Settings, teacher: Tensor | None, seed: int
) -> dict[str, Any]:
    """The state of a trained and pruned network, the errors before pruning, and the seconds that it took."""
    start = time.perf_counter()
    set_seed(seed)
    model = NETWORKS[network]()
    common = {"reach": int(recipe.shifts), "teacher": teacher if recipe.teacher else None}
    epochs = recipe.dense_epochs + recipe.prune_epochs
    rate = cosine(settings.lr, epochs)
    if network == "lenet5":
        model.to(memory_format=torch.channels_last)
    fit(model, digits.train, settings, epochs=recipe.dense_epochs, seed=seed, rate=rate, name="dense", **common)
    dense = {
        "dense_validation_errors": errors(model, digits.validation),
        "dense_test_errors": errors(model, digits.test),
    }
    filters = None
    if recipe.filters is not None:
        model, filters = narrow(model, *recipe.filters)
        model.to(memory_format=torch.channels_last)
    common |= {"seed": seed + 100, "name": f"{network} {seed}"}
    saliencies = magnitudes
    if recipe.saliency == "obd":
        saliencies = partial(obd_saliencies, split=digits.train.subset(slice(CURVATURE_EXAMPLES)))
    if recipe.pruning == "gradual":
        ramp = settings.ramp * recipe.prune_epochs
        pruning = GradualPruning(model, recipe.kept, ramp, settings.prune_every, saliencies)
        rate = cosine(settings.lr, epochs, recipe.dense_epochs)
        fit(
            model, digits.train, settings, epochs=recipe.prune_epochs, rate=rate, after_step=pruning.after_step,
            **common
        )  # fmt: skip
    elif recipe.pruning == "rewound":
        # Iterative magnitude pruning: each round starts at the weights after the dense epochs, and keeps an equal part
        early = copy.deepcopy(model.state_dict())
        pruning = Pruning(model, saliencies)
        total = sum(weight.numel() for weight in pruning.weights)
        part = recipe.prune_epochs // (REWINDS + 1)
        rate = cosine(settings.lr, recipe.dense_epochs + part, recipe.dense_epochs)
        for number in range(REWINDS + 1):
            if number:
                pruning.prune(round(total * (recipe.kept / total) ** (number / REWINDS)))
                model.load_state_dict(early)
                pruning.after_step()
            fit(model, digits.train, settings, epochs=part, rate=rate, after_step=pruning.after_step, **common)
    else:
        # Two rounds, each pruned at once and retrained: the geometric middle first
        pruning = Pruning(model, saliencies)
        total = sum(weight.numel() for weight in pruning.weights)
        for kept in (round(math.sqrt(total * recipe.kept)), recipe.kept):
            pruning.prune(kept)
            pruning.after_step()
            half = recipe.prune_epochs // 2
            rate = cosine(settings.lr / 2, half)
            fit(model, digits.train, settings, epochs=half, rate=rate, after_step=pruning.after_step, **common)
    pruning.after_step()
    if filters is not None:
        model = widen(model, *filters)
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    return state | dense | {"seconds": time.perf_counter() - start}


def narrow(model: nn.Sequential, first: int, second: int) -> tuple[nn.Sequential, tuple[Tensor, Tensor]]:
    """LeNet-5 with only its filters of the largest norm, and which they are."""
    state = model.state_dict()
    one = state["0.weight"].flatten(1).norm(dim=1).topk(first).indices.sort().values
    two = state["2.weight"][:, one].flatten(1).norm(dim=1).topk(second).indices.sort().values
    small = nn.Sequential(
        nn.Conv2d(1, first, 5), nn.MaxPool2d(2), nn.Conv2d(first, second, 5), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(16 * second, 500), nn.ReLU(), nn.Linear(500, 10),
    )  # fmt: skip
    small.load_state_dict(
        state
        | {
            "0.weight": state["0.weight"][one],
            "0.bias": state["0.bias"][one],
            "2.weight": state["2.weight"][two][:, one],
            "2.bias": state["2.bias"][two],
            "5.weight": state["5.weight"].view(500, 50, 16)[:, two].flatten(1),
        }
    )
    return small, (one, two)


def widen(small: nn.Sequential, one: Tensor, two: Tensor) -> nn.Sequential:
    """The LeNet-5 that computes what its narrow version does: zeros in place of the filters that it lacks."""
    model, state = lenet5(), small.state_dict()
    wide = {name: torch.zeros_like(value) for name, value in model.state_dict().items()}
    wide["0.weight"][one], wide["0.bias"][one] = state["0.weight"], state["0.bias"]
    wide["2.weight"][two[:, None], one], wide["2.bias"][two] = state["2.weight"], state["2.bias"]
    wide["5.weight"].view(500, 50, 16)[:, two] = state["5.weight"].view(500, -1, 16)
    model.load_state_dict(wide | {name: state[name] for name in ("5.bias", "7.weight", "7.bias")})
    return model


# --- sharing ----------------------------------------------------------------------------------------------------------


def best_kmeans() -> ModuleType:
    """The package kmeans1d, which not every student has: ValueError if it is missing."""
    try:
        return importlib.import_module("kmeans1d")
    except ImportError as error:
        raise ValueError("The best k-means is kmeans1d's: install it with 'pip install kmeans1d'.") from error


class Sharing:
    """Centroids in place of a network's weights: what is trained, and what is copied back into it."""

    def __init__(self, model: nn.Module, bits: tuple[int, ...], bias_bits: int, best: bool = False) -> None:
        """best: the least sum of squares that there is, in place of the paper's start and steps from there."""
        self.free = []  # parameters that are trained as they are
        self.shared: list[tuple[nn.Parameter, Tensor, Tensor, Tensor]] = []
        bits_of = dict(zip(map(id, weights_of(model)), bits, strict=True))
        for parameter in model.parameters():
            count = 2 ** bits_of.get(id(parameter), bias_bits)
            if id(parameter) not in bits_of and not bias_bits:
                self.free.append(parameter)
                continue
            mask = parameter.detach() != 0
            if not mask.any():
                continue  # all of it is pruned
            kept = parameter.detach()[mask]
            if best:
                kmeans1d = best_kmeans()
                assignment, centroids = map(torch.tensor, kmeans1d.cluster(kept.tolist(), min(count, len(kept))))
                centroids = centroids.float()
            else:
                centroids, assignment = kmeans_1d(kept, linear_centroids(kept, count), steps=50)
            self.shared.append((parameter, mask, centroids.requires_grad_(), assignment))
        self.copy()

    def parameters(self) -> list[Tensor]:
        return [*self.free, *(centroids for _, _, centroids, _ in self.shared)]

    def gradients(self) -> None:
        """The centroids' gradients, from those of the weights (Han 2016, eq. 3)."""
        for parameter, mask, centroids, assignment in self.shared:
            centroids.grad = centroid_gradient(parameter.grad[mask], assignment, len(centroids))

    @torch.no_grad()
    def copy(self, epoch: float = 0) -> None:
        """The centroids' values, in all their weights."""
        for parameter, mask, centroids, assignment in self.shared:
            parameter[mask] = centroids[assignment]


def share(
    model: nn.Module,
    recipe: Recipe,
    digits: Digits,
    settings: Settings,
    teacher: Tensor | None,
    seed: int,
    best: bool = False,
) -> None:
    """Share a pruned network's weights, and fine-tune the centroids. best: of all k-means, see `Sharing`."""
    sharing = Sharing(model, recipe.bits, recipe.bias_bits, best)
    fit(
        model, digits.train, settings, epochs=recipe.share_epochs, seed=seed + 200, name="centroids",
        rate=cosine(settings.share_lr, recipe.share_epochs), parameters=sharing.parameters(),
        reach=int(recipe.shifts), teacher=teacher if recipe.teacher else None,
        after_backward=sharing.gradients, after_step=sharing.copy,
    )  # fmt: skip


# --- measuring --------------------------------------------------------------------------------------------------------


def measure(model: nn.Module, digits: Digits, coder: str) -> dict[str, Any]:
    """Size of the network's file, and the errors of the network that is read from it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network"
        size = save_compressed(model, path, coder)
        loaded = load_compressed(path)
    return {
        "bytes": size,
        "ratio": round(4 * parameter_count(model) / size, 2),
        "validation_errors": errors(loaded, digits.validation),
        "test_errors": errors(loaded, digits.test),
        "identical": all(map(torch.equal, model.state_dict().values(), loaded.state_dict().values())),
    }


def paper_bits(model: nn.Module, bits: tuple[int, ...], index_bits: int = 5) -> dict[str, Any]:
    """The closed form: weights, fillers and bits of each layer with the paper's index, biases as float32."""
    layers = []
    for weight, weight_bits in zip(weights_of(model), bits, strict=True):
        mask = weight.detach() != 0
        _, fillers = encode_relative_index(mask, index_bits)
        kept, codebook = int(mask.sum()), len(weight.detach()[mask].unique())
        layers.append(
            {
                "weights": weight.numel(),
                "kept": kept,
                "fillers": int(fillers.sum()),
                "weight_bits": weight_bits,
                "bits": compressed_bits(kept, int(fillers.sum()), weight_bits, index_bits, codebook),
            }
        )
    biases = 32 * (parameter_count(model) - sum(layer["weights"] for layer in layers))
    total = sum(layer["bits"] for layer in layers) + biases
    return {"layers": layers, "ratio": round(32 * parameter_count(model) / total, 2)}


def coding_ladder(
    model: nn.Module, recipe: Recipe, digits: Digits, settings: Settings, teacher: Tensor | None, seed: int
) -> dict[str, Any]:
    """What each choice of the coding adds to one pruned network, without fine-tuning; and the best k-means with it."""
    codings = {}
    for name, bits, bias_bits, coder, best in (
        ("6 bits, fixed length", (6,) * len(recipe.bits), 0, "fixed", False),
        ("6 bits, Huffman", (6,) * len(recipe.bits), 0, "huffman", False),
        ("fewer bits, Huffman", recipe.bits, 0, "huffman", False),
        ("biases shared too", recipe.bits, recipe.bias_bits, "huffman", False),
        ("arithmetic coding", recipe.bits, recipe.bias_bits, "arithmetic", False),
        ("the best k-means", recipe.bits, recipe.bias_bits, "arithmetic", True),
    ):
        shared = copy.deepcopy(model)
        Sharing(shared, bits, bias_bits, best)
        codings[name] = measure(shared, digits, coder)
    tuned = copy.deepcopy(model)
    share(tuned, recipe, digits, settings, teacher, seed, best=True)
    return {"codings": codings, "best_kmeans": measure(tuned, digits, "arithmetic")}


# --- the pieces -------------------------------------------------------------------------------------------------------


def load(digits: Digits | None, settings: Settings) -> Digits:
    best_kmeans()  # or an error now, and not after an hour
    return digits or full_mnist()


def pieces(digits: Digits, settings: Settings, seeds: int) -> list[Piece]:
    """The teacher; for each recipe, network and seed one that is pruned, and then shared and measured.

    seeds: of each recipe, but at most `MOST_SEEDS`, and three for the recipes that leave something out.
    """
    teacher = Piece("teacher", train_teacher)
    work = [teacher]
    for name in dict.fromkeys(name for by_name in RECIPES.values() for name in by_name):
        for network in (network for network in RECIPES if name in RECIPES[network]):
            recipe = RECIPES[network][name]
            # What comes after pruning can be changed without training again
            first = replace(recipe, share_epochs=0, bits=(), bias_bits=0, ladder=False)
            needs = (teacher.name,) if recipe.teacher else ()
            for seed in range(min(seeds, MOST_SEEDS[network] if recipe.share_epochs else 3)):
                about = {"group": f"{network}, {name}", "seed": seed}
                pruned = Piece(f"{network}/{name}/seed {seed}/pruned", prune, (network, first, seed), needs, **about)
                needs_all = (pruned.name, *needs)
                small = Piece(f"{network}/{name}/seed {seed}", compress, (network, recipe, seed), needs_all, **about)
                work += [pruned, small]
    return work


def collect(digits: Digits, settings: Settings, done: Done) -> Values:
    """Sizes and errors of each network by each recipe, stage by stage."""
    return {
        "experiment": "Deep Compression of LeNet-300-100 and LeNet-5 on MNIST",
        "data": digits.summary(),
        "settings": asdict(settings),
        "choices": "recipes on the validation digits; the test digits only fill the table",
        **done.origin(),
        "paper": PAPER,
        "teacher": done.get("teacher"),
        "recipes": {
            network: {name: asdict(recipe) for name, recipe in by_name.items()} for network, by_name in RECIPES.items()
        },
        "runs": {
            network: {
                name: [done[f"{network}/{name}/seed {seed}"] for seed in done.seeds(f"{network}, {name}")]
                for name in by_name
            }
            for network, by_name in RECIPES.items()
        },
    }


run = Experiment("deep_compression", Settings, load, pieces, collect).run


def prune(
    digits: Digits, settings: Settings, network: str, recipe: Recipe, seed: int, teacher: Values | None = None
) -> dict[str, Any]:
    return train_and_prune(network, recipe, digits, settings, teacher and teacher["logits"], seed)


def compress(
    digits: Digits,
    settings: Settings,
    network: str,
    recipe: Recipe,
    seed: int,
    pruned: dict[str, Any],
    teacher: Values | None = None,
) -> Values:
    """What a pruned network, then its shared and coded forms, take and get wrong."""
    start = time.perf_counter() - pruned["seconds"]
    logits = teacher and teacher["logits"]
    model = NETWORKS[network]()
    model.load_state_dict({name: pruned[name] for name in model.state_dict()})
    result = {
        "seed": seed,
        "parameters": parameter_count(model),
        "kept": sum(int(weight.count_nonzero()) for weight in weights_of(model)),
        "dense": {
            "bytes": 4 * parameter_count(model),
            "validation_errors": pruned["dense_validation_errors"],
            "test_errors": pruned["dense_test_errors"],
        },
        "pruned": measure(model, digits, "fixed"),
    }
    if recipe.share_epochs:
        if recipe.ladder:
            result |= coding_ladder(model, recipe, digits, settings, logits, seed)
        share(model, recipe, digits, settings, logits, seed)
        result["closed_form"] = paper_bits(model, recipe.bits)
        result |= {
            stage: measure(model, digits, coder)
            for stage, coder in (("quantized", "fixed"), ("huffman", "huffman"), ("arithmetic", "arithmetic"))
        }
    return result | {"seconds": round(time.perf_counter() - start)}
