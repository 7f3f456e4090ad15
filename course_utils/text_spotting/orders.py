"""Distill, prune, quantize: one recognizer, three ways of making it smaller, in any order, each with as much training.

What has been done to the weights stays: a pruned weight is 0 from then on, and quantized weights are trained through
their rounding (the gradient passes it as if it were not there, as in unit 05).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from course_utils.text_spotting import ctc_decode, quantize_channels
from course_utils.text_spotting.networks import ALPHABET, Lessons, batches, ctc_loss, descend

STAGES = ("distill", "prune", "quantize")


class Compressed(nn.Module):
    """A network whose weights are seen through masks and through a rounding to so many bits (32: none)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model.requires_grad_(True)
        self.masks: dict[str, Tensor] = {}
        self.bits = 32

    def prune(self, kept: float) -> None:
        """Keep that part of each layer's weights, the largest."""
        for name, value in self._weights().items():
            count = round(kept * value.numel())
            mask = torch.zeros(value.numel(), dtype=torch.bool)
            mask[value.detach().abs().flatten().topk(count).indices] = True
            self.masks[name] = mask.view(value.shape)

    def _weights(self) -> dict[str, Tensor]:
        return {name: value for name, value in self.model.named_parameters() if value.dim() == 4}

    def seen(self) -> dict[str, Tensor]:
        """The weights that the network computes with."""
        found = {}
        for name, value in self._weights().items():
            kept = value * self.masks[name] if name in self.masks else value
            if self.bits < 32:
                integers, scales = quantize_channels(kept.detach(), self.bits)
                kept = kept + (integers * scales.view(-1, 1, 1, 1) - kept).detach()
            found[name] = kept
        return found

    def forward(self, crops: Tensor) -> Tensor:
        return functional_call(self.model, self.seen(), (crops,))


def stage(
    network: Compressed,
    name: str,
    data: Lessons,
    teacher: Tensor,
    *,
    steps: int,
    rate: float,
    kept: float,
    bits: int,
    seed: int,
    batch: int = 64,
) -> None:
    """One stage, in place: 'distill', 'prune', 'quantize', or 'none', which only trains as long as the others.

    teacher: logits [m, 48, 27] of the data's crops.
    """
    if name == "prune":
        network.prune(kept)
    if name == "quantize":
        network.bits = bits
    order = batches(len(data.crops), batch, steps, seed)

    def loss(step: int) -> Tensor:
        index = order[step]
        logits = network(data.crops[index])
        value = ctc_loss(logits, [data.words[i] for i in index.tolist()])
        if name == "distill":
            value = value + F.cross_entropy(logits.transpose(1, 2), teacher[index].softmax(dim=2).transpose(1, 2))
        return value

    descend(network, loss, steps, rate)
    network.eval()


@torch.inference_mode()
def words_right(model: nn.Module, crops: Tensor, words: Sequence[str]) -> float:
    """Percent of the crops that are read without a mistake."""
    logits = torch.cat([model(part) for part in crops.split(256)])
    hits = sum(ctc_decode(each, ALPHABET)[0] == word for each, word in zip(logits, words, strict=True))
    return 100 * hits / len(words)
