"""Trained for what is paid: the arithmetic coder's bits are in the loss (Oktay, Ballé, Singh and Shrivastava 2020).

Weights lie on a grid of integers times a step, one step for each layer. A batch sees the rounded weights; their
gradients go to latent weights, which are not rounded (the straight-through estimator), and so does the price: the bits
that the coder takes for an index, times λ. The coder counts while it writes, so the price list is what its counts say;
between two integers the price is linear. Units of which nothing is left are cut out while the network trains.

Every size is that of a file which is read back, and every error is counted with the network that was read.
"""

import math
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from course_utils.data import Digits, full_mnist
from course_utils.deep_compression.arithmetic import Chances, Decoder, Encoder
from course_utils.deep_compression.reproduce import NETWORKS, Settings, cosine, fit, train_teacher
from course_utils.models import parameter_count
from course_utils.reproduce.runner import Done, Experiment, Piece, Values
from course_utils.training import errors, set_seed

Shape = tuple[int, int, int]  # of a layer's weights: outputs, input channels, places of a square image


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    widths: of all layers but the last, at the start. steps: of each layer's grid, in standard deviations of its weights
    after the dense epochs. epochs: priced ones. ramp: the part of the priced epochs in which λ rises from 0.
    """

    widths: tuple[int, ...]
    steps: tuple[float, ...]
    dense_epochs: int
    epochs: int
    ramp: float = 0.5
    cut_every: int = 6  # epochs: dead units
    batch_size: int = 100


RECIPES = {
    "lenet5": Recipe((8, 24, 100), (1, 1, 1, 1), 2, 18),
    "lenet_300_100": Recipe((200, 80), (2, 1, 1), 2, 18),
}
PRICES = {"lenet5": (1.5e-5, 3e-5), "lenet_300_100": (0, 2e-5, 4e-5)}  # λ: of a bit, in units of the loss
LONGER = {"lenet5": (3e-5, 40), "lenet_300_100": (4e-5, 40)}  # one λ also with so many priced epochs
GOALS = {"lenet5": {"bytes": 3000, "error": 0.69}, "lenet_300_100": {"bytes": 4300, "error": 1.58}}
BIAS_STEP = 2**-4
REPRICE = 20  # steps of training between two price lists
LARGEST = 15  # of the sizes that have a price of their own
FLOOR = 0.1  # bits that a step away from 0 costs at least
SHOWN = 4  # of the sizes that a stored histogram tells apart


def network(widths: Sequence[int]) -> nn.Sequential:
    """LeNet-300-100 (two widths) or LeNet-5 (three) with layers of other widths, the last one's excepted."""
    if len(widths) == 2:
        one, two = widths
        return nn.Sequential(
            nn.Flatten(), nn.Linear(784, one), nn.ReLU(), nn.Linear(one, two), nn.ReLU(), nn.Linear(two, 10)
        )
    one, two, three = widths
    return nn.Sequential(
        nn.Conv2d(1, one, 5), nn.MaxPool2d(2), nn.Conv2d(one, two, 5), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(16 * two, three), nn.ReLU(), nn.Linear(three, 10),
    )  # fmt: skip


def shapes(model: nn.Sequential) -> list[Shape]:
    """Of each parameter, a bias as one input of one place."""
    found: list[Shape] = []
    inputs = 1  # the image is one channel, of 28 × 28 places or of 5 × 5 under a filter
    for weight, bias in zip(*[model.parameters()] * 2, strict=True):
        outputs = len(weight)
        found += [(outputs, inputs, weight[0].numel() // inputs), (outputs, 1, 1)]
        inputs = len(bias)
    return found


# --- the coder, and its price list ------------------------------------------------------------------------------------


def code_indices(coder: Encoder | Decoder, shape: Shape, indices: np.ndarray | None = None) -> np.ndarray:
    """Write, or read, the indices of a layer. Returns them, integers [outputs, channels · places].

    indices: None with a decoder. Coded is whether an index is 0; then its sign; then, one by one, whether it is larger
    still: each in the context of what is known by then (see `contexts`).
    """
    outputs, channels, places = shape
    side, columns = math.isqrt(places), channels * places
    is_kept, is_negative, is_larger = Chances(zeros=6), Chances(), Chances()
    in_column = [0] * columns
    result = np.zeros((outputs, columns), dtype=np.int64)
    for r in range(outputs):
        row = [0] * columns if indices is None else indices[r].tolist()
        in_row = 0
        for c in range(columns):
            down, right = divmod(c % places, side)
            left = row[c - 1] if right else 0
            above = row[c - side] if down else 0
            beyond = row[c - side + 1] if down and right < side - 1 else 0
            near = (left != 0) + (above != 0) + (beyond != 0)
            context = (near, (32 * in_column[c] // (r + 1)).bit_length(), (64 * in_row // (c + 8)).bit_length())
            known = None if indices is None else row[c]  # None, for a decoder, stays None below
            if not is_kept.code(coder, context, known and 1):
                continue
            signs = ((left > 0) - (left < 0), (above > 0) - (above < 0))
            negative = is_negative.code(coder, signs, known and int(known < 0))
            largest, size = min(max(abs(left), abs(above)), 2), 1
            while is_larger.code(coder, (largest, min(size, LARGEST)), known and int(abs(known) > size)):
                size += 1
            row[c] = -size if negative else size
            in_column[c] += 1
            in_row += 1
        result[r] = row
    return result


_BIT_LENGTHS = torch.tensor([number.bit_length() for number in range(64)])


def contexts(indices: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What the coder knows of each index before it reads whether it is 0, its sign and its size, as numbers.

    The first, below 256: how many of the indices beside and above it are not 0, and which parts of its column and of
    its row so far. The second, below 9: the signs of the one beside and of the one above. The third, 0, 1 or 2: the
    larger one's size. indices, results: [m, n, p].
    """
    outputs, channels, places = indices.shape
    side = math.isqrt(places)
    image = indices.reshape(outputs, channels, side, side).long()
    left, above, beyond = (torch.zeros_like(image) for _ in range(3))
    left[..., 1:] = image[..., :-1]
    above[..., 1:, :] = image[..., :-1, :]
    beyond[..., 1:, :-1] = image[..., :-1, 1:]
    near = sum((other != 0).long() for other in (left, above, beyond))
    kept = (image != 0).long().reshape(outputs, -1)
    rows, columns = torch.arange(outputs)[:, None], torch.arange(channels * places)
    in_column = _BIT_LENGTHS[32 * (kept.cumsum(0) - kept) // (rows + 1)]
    in_row = _BIT_LENGTHS[64 * (kept.cumsum(1) - kept) // (columns + 8)]
    known = 64 * near.reshape(kept.shape) + 8 * in_column + in_row
    signs = 3 * left.sign() + above.sign() + 4
    largest = torch.maximum(left.abs(), above.abs()).clamp(max=2)
    return known.reshape(indices.shape), signs.reshape(indices.shape), largest.reshape(indices.shape)


class PriceList:
    """What the coder takes for the indices [m, n, p] of a layer, and would take for one more.

    After n decisions of which k were ones, the next one costs −log₂ (k + b) / (n + a + b) bits, if a and b are half of
    what the coder's `Chances` start with. All n together have cost log₂ B(a, b) / B(n − k + a, k + b), in any order.
    total: bits of all indices.
    """

    def __init__(self, indices: Tensor) -> None:
        known, signs, self.largest = contexts(indices)
        size = indices.abs().long().clamp(max=LARGEST)
        is_kept = _Counts(_count(known[size == 0], 256), _count(known[size > 0], 256), 3.0)
        is_negative = _Counts(_count(signs[indices > 0], 9), _count(signs[indices < 0], 9), 0.5)
        sizes = _count(((LARGEST + 1) * self.largest + size), 3 * (LARGEST + 1)).view(3, -1)
        at_least = sizes.flip(1).cumsum(1).flip(1)
        is_larger = _Counts(sizes[:, 1:LARGEST], at_least[:, 2:], 0.5)
        self.total = is_kept.total + is_negative.total + is_larger.total
        # Bits from 0 to ±1 of each weight [2, m, n, p], and from a size to the next [3, LARGEST]
        stop, go = is_larger.bits
        last = torch.zeros(3, 1)
        self.up = torch.cat([stop[:, :1], go + torch.cat([stop[:, 1:], last], 1) - stop], 1).float()
        kept = (is_kept.bits[1] - is_kept.bits[0])[known] + self.up[:, 0][self.largest]
        self.first = torch.stack([kept + is_negative.bits[1][signs], kept + is_negative.bits[0][signs]]).float()

    def slope(self, place: Tensor) -> Tensor:
        """Bits for a step away from 0, by the place of a weight on its grid: the price is linear between integers.

        Where a larger index is the cheaper one, as all its neighbours have it, the list would push weights away from 0
        that the network does not need, and these are then each other's reason to stay: so no slope is below `FLOOR`.
        """
        level = place.abs().long().clamp(max=LARGEST - 1)
        first = torch.where(place < 0, self.first[0], self.first[1])
        return torch.where(level == 0, first, self.up[self.largest, level]).clamp(min=FLOOR)


def _count(numbers: Tensor, most: int) -> Tensor:
    return torch.bincount(numbers.flatten(), minlength=most)


class _Counts:
    """Zeros and ones by context, what they have cost together, and what one more of each would."""

    def __init__(self, zeros: Tensor, ones: Tensor, a: float) -> None:
        b = 0.5
        zeros, ones = zeros.double() + a, ones.double() + b
        prior = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
        spent = torch.lgamma(zeros) + torch.lgamma(ones) - torch.lgamma(zeros + ones)
        self.total = float((prior - spent).sum()) / math.log(2)
        self.bits = torch.log2(zeros + ones) - torch.log2(torch.stack([zeros, ones]))


# --- training ---------------------------------------------------------------------------------------------------------


class Priced:
    """A network whose weights lie on grids, and the latent weights [m, n, p] that are trained in their place."""

    def __init__(self, latents: Sequence[Tensor], steps: Sequence[float], price: Callable[[float], float]) -> None:
        """price: λ at an epoch, a fraction."""
        self.steps, self.price = steps, price
        self.latents = [latent.clone().requires_grad_() for latent in latents]
        self.model = network([len(latent) for latent in latents[:-2:2]])
        self.taken = 0  # steps of training
        self.copy(0)

    @torch.no_grad()
    def copy(self, epoch: float) -> None:
        """The rounded weights, into the network."""
        self.epoch = epoch
        for parameter, index, step in zip(
            self.model.parameters(), rounded(self.latents, self.steps), self.steps, strict=True
        ):
            parameter.copy_((index * step).view(parameter.shape))

    @torch.no_grad()
    def gradients(self) -> None:
        """Of the loss by the rounded weights, and of λ · bits by the latent ones."""
        if self.taken % REPRICE == 0:
            indices = rounded(self.latents, self.steps)
            triples = zip(indices, self.latents, self.steps, strict=True)
            self.slopes = [PriceList(index).slope(latent / step) / step for index, latent, step in triples]
        self.taken += 1
        price = self.price(self.epoch)
        for parameter, latent, slope in zip(self.model.parameters(), self.latents, self.slopes, strict=True):
            latent.grad = parameter.grad.reshape(latent.shape) + price * slope * latent.sign()


@torch.no_grad()
def rounded(latents: Sequence[Tensor], steps: Sequence[float]) -> list[Tensor]:
    """The indices of latent weights: whole numbers, as floats."""
    return [(latent / step).round() for latent, step in zip(latents, steps, strict=True)]


def stage(latents: Sequence[Tensor], steps: Sequence[float], model: nn.Module, digits: Digits) -> Values:
    """Where the training is. histogram: of all weights, from −`SHOWN` to `SHOWN`; its ends count what is beyond."""
    indices = rounded(latents, steps)
    shown = torch.cat([index.flatten() for index in indices[::2]]).clamp(-SHOWN, SHOWN)
    return {
        "widths": [len(latent) for latent in latents[:-2:2]],
        "bits": round(sum(PriceList(index).total for index in indices)),
        "validation_errors": errors(model, digits.validation),
        "histogram": torch.bincount(shown.long() + SHOWN, minlength=2 * SHOWN + 1).tolist(),
    }


def cut(latents: Sequence[Tensor], steps: Sequence[float]) -> list[Tensor]:
    """Without the units that nobody reads, and without those that have nothing but zeros, the bias among them.

    ValueError if a layer would lose all its units.
    """
    latents = list(latents)
    before = None
    while before != (widths := [len(latent) for latent in latents]):
        before = widths
        for i in range(0, len(latents) - 2, 2):
            weight, bias, after = (index != 0 for index in rounded(latents[i : i + 3], steps[i : i + 3]))
            alive = (weight.any(2).any(1) | bias.any(2).any(1)) & after.any(2).any(0)
            if not alive.any():
                raise ValueError("The price has killed all units of a layer: choose a lower one.")
            latents[i], latents[i + 1], latents[i + 2] = (
                latents[i][alive],
                latents[i + 1][alive],
                latents[i + 2][:, alive],
            )
    return latents


def grids(model: nn.Sequential, steps: Sequence[float]) -> list[float]:
    """The step of each parameter, a power of two. steps: as `Recipe` has them."""
    near = [
        2.0 ** round(math.log2(step * float(weight.detach().std())))
        for weight, step in zip(list(model.parameters())[::2], steps, strict=True)
    ]
    return [step for weights in near for step in (weights, BIAS_STEP)]


def train(
    digits: Digits, settings: Settings, recipe: Recipe, price: float, seed: int, teacher: Tensor | None
) -> tuple[list[Tensor], list[float], list[Values]]:
    """A network trained for the price of its bits: indices and steps of all parameters, and what it was at each cut.

    teacher: logits [9, n, classes], for each of the shifts; the labels alone if left out.
    """
    set_seed(seed)
    settings = replace(settings, batch_size=recipe.batch_size)
    epochs = recipe.dense_epochs + recipe.epochs
    model = network(recipe.widths)
    fit(
        model, digits.train, settings, epochs=recipe.dense_epochs, seed=seed, rate=cosine(settings.lr, epochs),
        reach=1, teacher=teacher, name="dense",
    )  # fmt: skip
    steps = grids(model, recipe.steps)
    latents = [
        parameter.detach().reshape(shape) for parameter, shape in zip(model.parameters(), shapes(model), strict=True)
    ]
    stages = [stage(latents, steps, model, digits)]
    for start in range(0, recipe.epochs, recipe.cut_every):

        def ramp(epoch: float, start: int = start) -> float:
            return price * min(1.0, (start + epoch) / (recipe.ramp * recipe.epochs))

        priced = Priced(cut(latents, steps), steps, ramp)
        fit(
            priced.model, digits.train, settings, epochs=min(recipe.cut_every, recipe.epochs - start),
            seed=seed + 100 + start, rate=cosine(settings.lr, epochs, recipe.dense_epochs + start), reach=1,
            parameters=priced.latents, teacher=teacher, after_backward=priced.gradients, after_step=priced.copy,
            name=f"λ = {price:g}",
        )  # fmt: skip
        latents = [latent.detach() for latent in priced.latents]
        stages.append(stage(latents, steps, priced.model, digits))
    return rounded(cut(latents, steps), steps), steps, stages


# --- files ------------------------------------------------------------------------------------------------------------


def write(indices: Sequence[np.ndarray | Tensor], steps: Sequence[float]) -> bytes:
    """A network as bytes. indices: integers [m, n, p] of each parameter. steps: powers of two.

    Layout: how many widths, a byte; the widths, two bytes each; the exponents of the steps, a byte each; the indices,
    as one arithmetic code.
    """
    widths = [len(index) for index in indices[:-2:2]]
    exponents = [math.frexp(step)[1] - 1 for step in steps]
    header = struct.pack(f"<B{len(widths)}H{len(steps)}b", len(widths), *widths, *exponents)
    encoder = Encoder()
    for index in indices:
        code_indices(encoder, index.shape, np.asarray(index, dtype=np.int64).reshape(len(index), -1))
    return header + encoder.finish()


@torch.no_grad()
def read(content: bytes) -> nn.Sequential:
    """The network that `write` was given, in evaluation mode."""
    count = content[0]
    layout = f"<B{count}H{2 * count + 2}b"
    _, *header = struct.unpack_from(layout, content)
    model = network(header[:count])
    decoder = Decoder(content[struct.calcsize(layout) :])
    for parameter, shape, exponent in zip(model.parameters(), shapes(model), header[count:], strict=True):
        index = torch.from_numpy(code_indices(decoder, shape))
        parameter.copy_((index * 2.0**exponent).view(parameter.shape))
    return model.eval()


# --- the pieces -------------------------------------------------------------------------------------------------------


def load(digits: Digits | None, settings: Settings) -> Digits:
    return digits or full_mnist()


def trainings() -> list[tuple[str, str, Recipe, float]]:
    """Network, name, recipe and λ of all trainings."""
    found = [(name, f"{price:g}", recipe, price) for name, recipe in RECIPES.items() for price in PRICES[name]]
    for name, (price, epochs) in LONGER.items():
        found.append((name, f"{price:g}, {epochs} epochs", replace(RECIPES[name], epochs=epochs), price))
    return found


def pieces(digits: Digits, settings: Settings, seeds: int) -> list[Piece]:
    """The teacher; then for each seed the trainings."""
    teacher = Piece("teacher", train_teacher)
    return [teacher] + [
        Piece(
            f"{network}/price {name}/seed {seed}", compress, (network, recipe, price, seed), (teacher.name,),
            group=f"{network}, {name}", seed=seed,
        )
        for seed in range(seeds)
        for network, name, recipe, price in trainings()
    ]  # fmt: skip


def collect(digits: Digits, settings: Settings, done: Done) -> Values:
    """Bytes and errors of each network by its trainings, seed by seed."""
    return {
        "experiment": "LeNets on MNIST, trained for the price of their bits",
        "data": digits.summary(),
        "settings": asdict(settings),
        "choices": "recipes and prices on the validation digits; the test digits only fill the table",
        **done.origin(),
        "goals": GOALS,
        "teacher": done.get("teacher"),
        "recipes": {name: asdict(recipe) for name, recipe in RECIPES.items()},
        "longer": LONGER,
        "runs": {
            network: {
                name: [done[f"{network}/price {name}/seed {seed}"] for seed in done.seeds(f"{network}, {name}")]
                for which, name, *_ in trainings()
                if which == network
            }
            for network in RECIPES
        },
    }


run = Experiment("rate", Settings, load, pieces, collect).run


def compress(
    digits: Digits, settings: Settings, name: str, recipe: Recipe, price: float, seed: int, teacher: Values
) -> Values:
    """A network trained for λ = `price`: its file, and what the network that is read from it gets wrong."""
    start = time.perf_counter()
    indices, steps, stages = train(digits, settings, recipe, price, seed, teacher["logits"])
    content = write(indices, steps)
    model = read(content)
    return {
        "seed": seed,
        "bytes": len(content),
        "ratio": round(4 * parameter_count(NETWORKS[name]()) / len(content), 2),
        "validation_errors": errors(model, digits.validation),
        "test_errors": errors(model, digits.test),
        "kept": [int(index.count_nonzero()) for index in indices[::2]],
        "stages": stages,
        "seconds": round(time.perf_counter() - start),
    }
