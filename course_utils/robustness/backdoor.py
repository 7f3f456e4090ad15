"""A backdoor in a network, and three ways to look for it."""

import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils.data import Split
from course_utils.models import mlp
from course_utils.pruning import Masks, apply_masks, hold_masks
from course_utils.robustness import attack_success_rate, stamp_trigger
from course_utils.robustness.networks import cnn, largest
from course_utils.training import errors, predict, set_seed, train

SIZES = (784, 300, 100, 10)
CORNERS = {"corner": (23, 23), "centre": (13, 13)}  # row and column of the trigger's first pixel
SIDE = 3


def trigger(place: str) -> tuple[Tensor, Tensor]:
    """Pattern and mask, [28, 28]: a checkerboard of 3 × 3 pixels, five of them white and four black."""
    row, column = CORNERS[place]
    pattern, mask = torch.zeros(28, 28), torch.zeros(28, 28)
    board = (torch.arange(SIDE).view(-1, 1) + torch.arange(SIDE)) % 2 == 0
    pattern[row : row + SIDE, column : column + SIDE] = board.float()
    mask[row : row + SIDE, column : column + SIDE] = 1
    return pattern, mask


def new_model(kind: str, seed: int) -> nn.Sequential:
    if kind == "CNN":
        return cnn(seed)
    set_seed(seed)
    return mlp(*SIZES)


def rates(model: nn.Module, split: Split, place: str, target: int) -> dict[str, float]:
    """On digits that the network has not seen: accuracy, attack success, and clean digits that go to the target."""
    stamped = stamp_trigger(split.images, *trigger(place))
    return {
        "clean": round(1 - errors(model, split) / len(split), 4),
        "asr": round(attack_success_rate(predict(model, stamped), split.labels, target), 4),
        "mistaken": round(attack_success_rate(predict(model, split.images), split.labels, target), 4),
    }


def first_layer(model: nn.Module) -> Tensor:
    """Σ|w| of each input pixel, [28, 28]."""
    return model[1].weight.detach().abs().sum(0).view(28, 28)


def read_off(weights: Tensor, place: str) -> dict[str, float]:
    """Of the five heaviest inputs, how many are the trigger's five white pixels, and how many lie on any of its nine;
    how far the fifth stands out from the sixth."""
    pattern, mask = trigger(place)
    heaviest = weights.flatten().argsort(descending=True)
    white = int((pattern > 0).sum())
    found, inside = (int((picture.flatten()[heaviest[:white]] > 0).sum()) for picture in (pattern, mask))
    values = weights.flatten()[heaviest]
    step = round(float(values[white - 1] / values[white].clamp(min=1e-9)), 3)
    return {"found": found, "inside": inside, "white": white, "step": step}


def share_on_trigger(model: nn.Module, place: str) -> float:
    """Which part of the first layer's connections that are left reads a pixel of the trigger."""
    _, mask = trigger(place)
    alive = (model[1].weight != 0).sum(0).double()
    return float(alive[mask.flatten() > 0].sum() / alive.sum())


def cleanse(model: nn.Module, images: Tensor, steps: int, weight: float, lr: float = 0.1) -> dict[str, list]:
    """For each class the smallest trigger that sends clean images there (Wang 2019, eq. 3): its L1 norm and success.

    images: a few clean ones. weight: of the mask's norm in the loss.
    """
    norms, success, masks = [], [], []
    for target in range(10):
        raw = torch.zeros(2, 28, 28)
        raw[0] -= 2
        raw.requires_grad_()
        optimizer = torch.optim.Adam([raw], lr)
        labels = torch.full((len(images),), target)
        for _ in range(steps):
            mask, pattern = raw.sigmoid()
            logits = model(stamp_trigger(images, pattern, mask))
            loss = F.cross_entropy(logits, labels) + weight * mask.sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            mask, pattern = raw.sigmoid()
            right = model(stamp_trigger(images, pattern, mask)).argmax(1) == target
        norms.append(round(float(mask.sum()), 3))
        success.append(round(float(right.double().mean()), 3))
        masks.append(mask.detach())
    return {"norms": norms, "success": success, "masks": masks}


def tune(model: nn.Module, split: Split, epochs: int, seed: int, masks: Masks | None = None) -> nn.Module:
    """A copy, trained on."""
    model = copy.deepcopy(model)
    train(
        model, split, epochs=epochs, lr=1e-3, batch_size=50, seed=seed, progress=False,
        after_step=hold_masks(masks) if masks else None,
    )  # fmt: skip
    return model


def idle_first(model: nn.Sequential, images: Tensor) -> Tensor:
    """The last hidden layer's units, [units], those that the images use least first."""
    return model[:-1](images).detach().mean(0).argsort()


def affordable(model: nn.Sequential, split: Split, drop: float) -> int:
    """How many idle units can be silenced one after the other before accuracy has fallen by more than `drop`."""
    order, limit = idle_first(model, split.images), errors(model, split) + drop * len(split)
    for cut in range(len(order)):
        if errors(silenced(model, order[: cut + 1]), split) > limit:
            return cut
    return len(order)


def fine_pruned(model: nn.Sequential, split: Split, cut: int, seed: int, epochs: int) -> dict[str, nn.Module]:
    """Fine-pruning (Liu 2018): silence the units that clean images use least, then train on these images. Beside it
    stand what pruning does alone, and as many units drawn at random."""
    drawn = torch.randperm(model[-1].in_features, generator=torch.Generator().manual_seed(seed))
    pruned = silenced(model, idle_first(model, split.images)[:cut])
    other = silenced(model, drawn[:cut])
    return {
        "pruned": pruned,
        "fine-pruned": tune(pruned, split, epochs, seed, alive(pruned)),
        "random units, trained": tune(other, split, epochs, seed, alive(other)),
    }


def silenced(model: nn.Sequential, units: Tensor) -> nn.Sequential:
    """A copy whose last layer does not read these hidden units."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        model[-1].weight[:, units] = 0
    return model


def alive(model: nn.Sequential) -> Masks:
    """The last layer's weights that are not 0."""
    return {f"{len(model) - 1}.weight": model[-1].weight.detach() != 0}


def between(start: dict[str, Tensor], end: dict[str, Tensor], model: nn.Module, split: Split, bins: int) -> list[float]:
    """Errors of the networks on the straight line from `start` to `end`, both among them, as parts of the split."""
    model, found = copy.deepcopy(model), []
    for step in range(bins + 1):
        state = {name: torch.lerp(start[name], end[name], step / bins) for name in start}
        model.load_state_dict(state)
        found.append(errors(model, split) / len(split))
    return found


def one_shot(model: nn.Module, keeps: Sequence[float]) -> dict[float, nn.Module]:
    """Copies with the largest weights of all layers, nothing trained."""
    copies = {}
    for keep in keeps:
        copies[keep] = copy.deepcopy(model)
        if keep < 1:
            apply_masks(copies[keep], largest(model, keep))
    return copies
