"""RigL's small networks as files: sparse training, shared weights (unit 03), a file that is read back.

Candidates differ in their connections and bits. Of those whose file is small enough in every seed, the one with the
fewest validation errors is chosen; only its test errors are counted.
"""

import base64
import itertools
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from course_utils.data import Digits
from course_utils.deep_compression import (
    centroid_gradient,
    kmeans_1d,
    linear_centroids,
    load_compressed,
    save_compressed,
)
from course_utils.models import mlp
from course_utils.reproduce.runner import Done, Piece, Values
from course_utils.sparse_training import methods
from course_utils.sparse_training.methods import Rates, fit
from course_utils.sparse_training.network import (
    Batches,
    Layer,
    Network,
    State,
    first_weights,
    masks_of,
    weight_shapes,
)
from course_utils.training import errors


@dataclass(frozen=True)
class Candidate:
    """A small network. densities: of each layer's positions; bits: of its weights. epochs: of the connections, and then
    of the centroids."""

    sizes: tuple[int, ...]
    densities: tuple[float, ...]
    bits: tuple[int, ...] = ()
    bias_bits: int = 3
    epochs: int = 150
    share_epochs: int = 8
    method: str = "RigL"


def with_bits(candidate: Candidate, *choices: tuple[int, ...]) -> list[Candidate]:
    return [replace(candidate, bits=bits) for bits in choices]


LIMITS = {"RigL": (8000, 1.40), "RigL+": (5500, 1.65)}  # bytes at most, and % wrong test digits: the goals
CANDIDATES = {
    "RigL": with_bits(Candidate((784, 300, 100, 10), (0.01, 0.11, 1.0)), (4, 4, 4), (5, 4, 4), (5, 5, 5)),
    "RigL+": [
        *with_bits(Candidate((784, 300, 60, 10), (0.0075, 0.06, 1.0)), (4, 4, 4), (5, 5, 5), (6, 5, 5)),
        *with_bits(Candidate((784, 300, 60, 10), (0.0085, 0.07, 1.0)), (4, 4, 4), (5, 5, 5)),
    ],
}
CONTROLLED = "RigL"  # the goal whose first candidate is trained with connections that stay, too
BATCH, REACH, EVERY, ALPHA, END = 100, 1, 100, 0.3, 0.75  # as in `reproduce.Settings`
SHARE_LR = 1e-3  # of Adam on the centroids


class SharedNetwork(Network):
    """A network whose weights are few shared values in each layer, and whose biases are few too. Centroids descend."""

    def __init__(self, state: State, masks: State, bits: Sequence[int], bias_bits: int) -> None:
        super().__init__(state, masks)
        self.groups: list[tuple[np.ndarray, Layer, str, Tensor, Tensor]] = []
        for layer, weight_bits in zip(self.layers, bits, strict=True):
            for values, gradients, count in (
                (layer.values, "gradients", 2**weight_bits),
                (layer.bias, "bias_gradients", 2**bias_bits),
            ):
                centroids, assignment = kmeans_1d(
                    torch.from_numpy(values), linear_centroids(torch.from_numpy(values), count), steps=50
                )
                self.groups.append((values, layer, gradients, centroids, assignment))
        self.optimizer = torch.optim.Adam([group[3] for group in self.groups])
        self.copy()

    def copy(self) -> None:
        """The centroids' values, in all their weights."""
        for values, _, _, centroids, assignment in self.groups:
            values[:] = centroids[assignment].numpy()

    def descend(self, lr: float, momentum: float = 0.9, decay: float = 0.0, nesterov: bool = False) -> None:
        """A step of Adam for the centroids, along the sum of their weights' gradients."""
        self.optimizer.param_groups[0]["lr"] = lr
        for _, layer, gradients, centroids, assignment in self.groups:
            gradient = torch.from_numpy(getattr(layer, gradients))
            centroids.grad = centroid_gradient(gradient, assignment, len(centroids))
        self.optimizer.step()
        self.copy()


def pieces(seeds: int) -> list[Piece]:
    """For each goal its candidates, the choice among them, the test and the control."""
    work: dict[str, Piece] = {}
    for goal, candidates in CANDIDATES.items():
        shared = []
        for seed, candidate in itertools.product(range(seeds), candidates):
            first = training(candidate, seed)
            work[first.name] = first  # candidates that differ in bits only share it
            name = f"{first.name}/{''.join(map(str, candidate.bits))} bits"
            shared.append(Piece(name, share, (*arguments(candidate), seed), (first.name,), seed=seed, group="files"))
        names = tuple(piece.name for piece in shared)
        chosen = Piece(f"{goal}/choice", choose, (goal, names), names)
        work |= {piece.name: piece for piece in (*shared, chosen)}
        for seed in range(seeds):
            own = tuple(piece.name for piece in shared if piece.seed == seed)
            name = f"seed {seed}/{goal}/file"
            work[name] = Piece(name, test, (seed, own), (chosen.name, *own), group="files", seed=seed)
    for seed in range(seeds):
        name = f"seed {seed}/{CONTROLLED}/static"
        work[name] = replace(training(replace(CANDIDATES[CONTROLLED][0], method="static"), seed), name=name)
    return list(work.values())


def training(candidate: Candidate, seed: int) -> Piece:
    """The piece that trains a candidate, before its weights are shared."""
    candidate = replace(candidate, bits=(), bias_bits=0, share_epochs=0)
    name = f"seed {seed}/{candidate.sizes}, {candidate.densities}, {candidate.epochs} epochs"
    return Piece(name, train, (*arguments(candidate), seed), group="files", seed=seed)


def arguments(candidate: Candidate) -> tuple[object, ...]:
    return tuple(asdict(candidate).values())


def collect(done: Done) -> Values:
    """What was tried, chosen and measured; files by seed."""
    return {
        "limits": {goal: {"bytes": size, "error": error} for goal, (size, error) in LIMITS.items()},
        "candidates": {goal: [asdict(candidate) for candidate in found] for goal, found in CANDIDATES.items()},
        "choice": {goal: done.get(f"{goal}/choice") for goal in CANDIDATES},
        "runs": [
            {
                "seed": seed,
                "static": done[f"seed {seed}/{CONTROLLED}/static"],
                **{goal: done[f"seed {seed}/{goal}/file"] for goal in CANDIDATES},
            }
            for seed in done.seeds("files")
        ],
    }


def train(digits: Digits, settings: object, *given: Any) -> dict[str, Any]:
    """A small network: its state and its validation errors; a static one's test errors too, as nothing is chosen."""
    *fields, seed = given
    candidate = Candidate(*fields)
    densities = dict(zip(weight_shapes(candidate.sizes), candidate.densities, strict=True))
    masks = masks_of(candidate.sizes, densities, seed)
    net = Network(first_weights(masks, seed), masks)
    batches = Batches(digits.train, BATCH, REACH, seed)
    steps, start = candidate.epochs * batches.count, time.process_time()
    moving = candidate.method == "RigL"
    rewire = methods.moving("RigL", EVERY, round(END * steps), ALPHA, seed) if moving else methods.static
    fit(net, batches, steps, rewire=rewire)
    result = {
        "state": net.state(),
        "masks": net.masks(),
        "connections": net.connections(),
        "validation_errors": net.errors(digits.validation),
        "seconds": round(time.process_time() - start, 1),
    }
    return result if moving else result | {"test_errors": net.errors(digits.test)}


def share(digits: Digits, settings: object, *given: Any) -> dict[str, Any]:
    """A trained network with shared weights, and the size of its file."""
    *fields, seed, trained = given
    candidate = Candidate(*fields)
    net = SharedNetwork(trained["state"], trained["masks"], candidate.bits, candidate.bias_bits)
    before, batches = net.errors(digits.validation), Batches(digits.train, BATCH, REACH, seed + 200)
    steps = candidate.share_epochs * batches.count
    fit(net, batches, steps, Rates(lr=SHARE_LR))
    return {
        "state": net.state(),
        "sizes": list(candidate.sizes),
        "connections": net.connections(),
        "seconds": trained["seconds"],
        "trained_errors": trained["validation_errors"],
        "shared_errors": before,
        "validation_errors": net.errors(digits.validation),
        "bytes": len(file_of(candidate.sizes, net.state())),
    }


def file_of(sizes: Sequence[int], state: dict[str, Tensor]) -> bytes:
    """A network as a file (unit 03), with arithmetic coding."""
    model = mlp(*sizes)
    model.load_state_dict(state)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network"
        save_compressed(model, path, "arithmetic")
        return path.read_bytes()


def read_file(content: bytes) -> nn.Module:
    """The network of a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network"
        path.write_bytes(content)
        return load_compressed(path)


def choose(digits: Digits, settings: object, goal: str, names: Sequence[str], *found: dict[str, Any]) -> Values:
    """Of the candidates that are small enough in every seed the one with the fewest validation errors."""
    table: dict[str, Values] = {}
    for name, each in zip(names, found, strict=True):
        row = table.setdefault(name.split("/", 1)[1], {})
        for key in ("bytes", "trained_errors", "shared_errors", "validation_errors", "seconds"):
            row.setdefault(key, []).append(each[key])
        row["connections"] = each["connections"]
    fitting = {name: row for name, row in table.items() if max(row["bytes"]) <= LIMITS[goal][0]}
    # Nothing fits: the smallest, so that the table can say by how much the goal was missed
    best = min(fitting, key=lambda name: sum(fitting[name]["validation_errors"]), default=None)
    return {"chosen": best or min(table, key=lambda name: max(table[name]["bytes"])), "table": table}


def test(digits: Digits, settings: object, seed: int, names: Sequence[str], choice: Values, *shared: Any) -> Values:
    """The chosen network of a seed, read from its file: bytes, and errors on the test digits, counted this once."""
    found = next(each for name, each in zip(names, shared, strict=True) if name.split("/", 1)[1] == choice["chosen"])
    content = file_of(found["sizes"], found["state"])
    loaded = read_file(content)
    return {
        "bytes": len(content),
        "file": base64.b64encode(content).decode(),
        "identical": all(map(torch.equal, loaded.state_dict().values(), found["state"].values())),
        "connections": found["connections"],
        "validation_errors": errors(loaded, digits.validation),
        "test_errors": errors(loaded, digits.test),
    }
