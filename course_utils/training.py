"""Training a network in a loop that can be read, and counting its errors."""

import copy
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils.data import Split, jitter_images
from course_utils.progress import progress_bar

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
ADAM = partial(torch.optim.Adam, fused=True)  # one pass over the weights: small networks train a sixth faster


@dataclass
class History:
    """What a training run saw, epoch by epoch."""

    train_loss: list[float] = field(default_factory=list)  # mean over the epoch's examples, while it was training
    validation_errors: list[int] = field(default_factory=list)  # after the epoch; empty without a validation split
    kept_epoch: int = 0  # the epoch, from 1, whose weights the model has at the end


def set_seed(seed: int) -> None:
    """Seed the global generators of Python, NumPy and PyTorch, which new layers draw their first weights from."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def cross_entropy(logits: Tensor, labels: Tensor, index: Tensor) -> Tensor:
    """The usual loss, mean over the batch, in nats; it has no use for `index`."""
    return F.cross_entropy(logits, labels)


def constant(progress: float) -> float:
    """A schedule: the learning rate stays."""
    return 1.0


def cosine(progress: float) -> float:
    """A schedule: the learning rate falls to 0 along half a cosine (I. Loshchilov and F. Hutter, SGDR, 2017, eq. 5)."""
    return (1 + math.cos(math.pi * progress)) / 2


def train(
    model: nn.Module,
    train_split: Split,
    validation: Split | None = None,
    *,
    epochs: int,
    lr: float,
    batch_size: int = 128,
    seed: int = 0,
    loss: Loss = cross_entropy,
    optimizer: Callable[..., torch.optim.Optimizer] = ADAM,
    schedule: Callable[[float], float] = constant,
    max_norm: float | None = None,
    jitter: int = 0,
    patience: int | None = None,
    after_step: Callable[[nn.Module], None] | None = None,
    progress: bool = True,
) -> History:
    """Train a model in place; it is left in evaluation mode.

    loss: of (logits [batch, classes], labels [batch], index [batch]) -> scalar; `index` says where the batch's
    examples are in train_split, so that a loss can look up a teacher's logits.
    optimizer: called as optimizer(parameters, lr=lr); for momentum say `partial(torch.optim.SGD, momentum=0.9)`.
    schedule: the factor of lr in an epoch, given the fraction of epochs that are over, from 0.
    max_norm: the longest that the incoming weights of a hidden unit may be, see `limit_norms`.
    jitter: each image is moved by up to so many pixels, anew in each epoch.
    patience: stop after so many epochs without fewer validation errors, and go back to the weights of the best epoch;
    without it, all epochs are run and the last weights stay.
    after_step: called with the model after each step, to put masked weights back to 0, say.

    The same seed, first weights, threads and machine give the same weights. The global generator, which dropout uses,
    is put back as it was. The bar is wiped at the end; TQDM_DISABLE=1 in the environment hides it.
    """
    if patience is not None and validation is None:
        raise ValueError("patience needs a validation split to stop on")
    generator = torch.Generator().manual_seed(seed)
    stepper = optimizer(model.parameters(), lr=lr)
    history = History()
    best: dict[str, Tensor] = {}
    silent = {} if progress else {"disable": True}  # given at all, `disable` would overrule TQDM_DISABLE
    with (
        torch.random.fork_rng(devices=[]),
        progress_bar(total=epochs * len(train_split), unit=" images", unit_scale=True, **silent) as bar,
    ):
        torch.manual_seed(seed)
        for epoch in range(epochs):
            for group in stepper.param_groups:
                group["lr"] = lr * schedule(epoch / epochs)
            model.train()
            total = 0.0
            for index in torch.randperm(len(train_split), generator=generator).split(batch_size):
                images, labels = train_split.images[index], train_split.labels[index]
                if jitter:
                    images = jitter_images(images, jitter, generator)
                value = loss(model(images), labels, index)
                stepper.zero_grad()
                value.backward()
                stepper.step()
                if max_norm is not None:
                    limit_norms(model, max_norm)
                if after_step is not None:
                    after_step(model)
                total += value.item() * len(index)
                bar.update(len(index))
            history.train_loss.append(total / len(train_split))
            history.kept_epoch = epoch + 1
            if validation is not None:
                history.validation_errors.append(errors(model, validation))
                bar.set_postfix_str(f"epoch {epoch + 1}: {history.validation_errors[-1]} of {len(validation)} wrong")
                if patience is not None:
                    first_best = history.validation_errors.index(min(history.validation_errors))
                    if first_best == epoch:
                        best = copy.deepcopy(model.state_dict())
                    elif epoch - first_best >= patience:
                        break
    if best:
        model.load_state_dict(best)
        history.kept_epoch = history.validation_errors.index(min(history.validation_errors)) + 1
    model.eval()
    return history


@torch.no_grad()
def limit_norms(model: nn.Module, max_norm: float) -> None:
    """Shorten, in place, the incoming weights of each hidden unit to a length (L2) of at most `max_norm`.

    The constraint of Hinton 2012 (arXiv:1207.0580), there a squared length of 15. The last layer is left free.
    """
    for layer in [module for module in model.modules() if isinstance(module, nn.Linear)][:-1]:
        norms = layer.weight.norm(dim=1, keepdim=True)
        layer.weight.mul_((max_norm / norms).clamp(max=1))  # a norm of 0 gives inf, and the clamp makes it 1


@torch.no_grad()
def logits_of(model: nn.Module, images: Tensor, batch_size: int = 1000) -> Tensor:
    """Logits [n, classes] of images [n, ...], in evaluation mode; the model is left in the mode that it had."""
    training = model.training
    model.eval()
    logits = torch.cat([model(batch) for batch in images.split(batch_size)])
    model.train(training)
    return logits


def predict(model: nn.Module, images: Tensor) -> Tensor:
    """The class [n], int64, that the model gives each image [n, ...]."""
    return logits_of(model, images).argmax(dim=1)


def errors(model: nn.Module, split: Split) -> int:
    """How many examples of a split the model gets wrong."""
    return int((predict(model, split.images) != split.labels).sum())
