"""From a film to words, with the joules and milliseconds that it took.

What a reader would read in each frame is computed once; a policy then says which frames it pays for. The energy is that
of unit 00's model, in 32-bit floating point or in 8-bit integers; the milliseconds are measured, in floating point.
"""

import copy
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn

from course_utils import drone
from course_utils.budget import PICOJOULES, inference_energy, module_layers
from course_utils.drone import Film
from course_utils.text_spotting import (
    ctc_decode,
    decode_boxes,
    edit_distance,
    non_max_suppression,
    quantize_channels,
    reading_accuracy,
)
from course_utils.text_spotting.networks import ALPHABET, CROP, STRIDE, Detector, crops, detect

OVERLAP = 0.3  # boxes of one sign overlap by more, boxes of two hardly at all
LEAST = 3  # letters of a word: what is shorter is a piece of a sign, or none
# An 8-bit multiplication and addition at 45 nm (Horowitz 2014, figure 1.1.9); memory by the bit
PICOJOULES_INT8 = PICOJOULES | {"mac": 0.2 + 0.03}
Reading = tuple[str, float, float]  # of a box: text, probability, score


@dataclass(frozen=True)
class Reader:
    """A detector and a recognizer; from which score on a box counts; in how many bits they are (32: float)."""

    detector: nn.Module
    recognizer: nn.Module
    threshold: float = 0.5
    bits: int = 32

    @torch.inference_mode()
    def read(self, frame: Tensor) -> list[Reading]:
        """What stands in each box of a frame [H, W]: the text, the probability of its path, and the box's score."""
        boxes, scores = decode_boxes(*detect(self.detector, frame), STRIDE, self.threshold)
        kept = non_max_suppression(boxes, scores, OVERLAP)
        if not len(kept):
            return []
        decoded = [ctc_decode(logits, ALPHABET) for logits in self.recognizer(crops(frame, boxes[kept]))]
        return [(text, math.exp(log), score) for (text, log), score in zip(decoded, scores[kept].tolist(), strict=True)]


# --- bits -------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def quantized(model: nn.Module, bits: int, samples: Tensor) -> nn.Module:
    """A copy that computes as with integers: weights in so many bits (14.7), a scale for each output channel; what
    comes out of each ReLU in eight, a scale for each layer, from the largest value that it has for the samples.

    Floats stand for the integers, each times its scale; biases have the 32 bits of the sums.
    """
    copied = copy.deepcopy(model)
    for layer in copied.modules():
        if isinstance(layer, nn.Conv2d):
            integers, scales = quantize_channels(layer.weight, bits)
            layer.weight.copy_(integers * scales.view(-1, 1, 1, 1))
    relus = [layer for layer in copied.modules() if isinstance(layer, nn.ReLU)]
    largest: dict[nn.Module, float] = {}

    def look(layer: nn.Module, _: object, output: Tensor) -> None:
        largest[layer] = float(output.max())

    hooks = [layer.register_forward_hook(look) for layer in relus]
    copied(samples)
    for hook in hooks:
        hook.remove()
    for layer in relus:
        step = max(largest[layer], 1e-9) / 255
        layer.register_forward_hook(lambda _, __, output, step=step: torch.round(output / step).clamp(0, 255) * step)
    return copied


# --- joules -----------------------------------------------------------------------------------------------------------


def joules(model: nn.Module, bits: int = 32) -> float:
    """One frame through a detector or one crop through a recognizer, as `budget_report` counts: each MAC reads two
    words, each weight comes from DRAM once, each value that a layer puts out goes there and comes back.

    bits: 32 for floats, or from 2 to 8 for integer weights; then a MAC is one of 8 bits, values have eight bits, and a
    memory of 32-bit words holds as many more of each.
    """
    shape = drone.SIZE if isinstance(model, Detector) else (1, *CROP)
    energy = 0.0
    for layer in module_layers(model, shape):
        positions = layer["output_size"][0] * layer["output_size"][1]
        kernel = layer["kernel_size"][0] * layer["kernel_size"][1]
        weights = layer["out_channels"] * layer["in_channels"] // layer["groups"] * kernel
        macs, outputs, biases = weights * positions, layer["out_channels"] * positions, layer["out_channels"]
        if bits == 32:
            energy += inference_energy(macs, 2 * macs, weights + biases + 2 * outputs, PICOJOULES)
        else:
            words = (weights * bits + 2 * outputs * 8) / 32 + biases
            energy += inference_energy(macs, macs * (bits + 8) / 32, words, PICOJOULES_INT8)
    return energy


def looking_joules(bits: int = 32, pixels: int = drone.SIZE[0] * drone.SIZE[1]) -> tuple[float, float]:
    """What it takes to fetch a frame of 8-bit pixels from DRAM, and to compute its sharpness besides (eight operations
    a pixel: four additions and a shift for the Laplacian, a product and two sums for the variance)."""
    prices = PICOJOULES if bits == 32 else PICOJOULES_INT8
    fetched = inference_energy(0, 0, pixels / 4, prices)
    return fetched, inference_energy(4 * pixels, 8 * pixels * min(bits, 16) / 32, 0, prices)


# --- films ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Read:
    """What a reader reads in each frame of a film, and the milliseconds that each took."""

    readings: list[list[Reading]]
    ms: list[float]

    def above(self, threshold: float) -> "Read":
        """As with a higher threshold: boxes of lower scores never suppress one."""
        return Read([[reading for reading in frame if reading[2] >= threshold] for frame in self.readings], self.ms)


def read_film(reader: Reader, film: Film) -> Read:
    readings, ms = [], []
    for frame in film.frames:
        start = time.perf_counter()
        readings.append(reader.read(frame))
        ms.append(1000 * (time.perf_counter() - start))
    return Read(readings, ms)


def words_of(read: Read, frames: Sequence[int], tolerance: float, supports: Sequence[float]) -> list[list[str]]:
    """The words that are read in these frames, for each support: `merge_readings` of all that is long enough.

    The clusters are the same for all supports, and many texts come again, so that they are made once.
    """
    clusters: dict[str, dict[str, float]] = {}
    for text, weight, _ in (reading for t in frames for reading in read.readings[t] if len(reading[0]) >= LEAST):
        near = (first for first in clusters if distance(text, first) <= tolerance * max(len(text), len(first)))
        weights = clusters.setdefault(next(near, text), {})
        weights[text] = weights.get(text, 0.0) + weight
    return [
        [max(weights, key=weights.__getitem__) for weights in clusters.values() if sum(weights.values()) >= support]
        for support in supports
    ]


distance = lru_cache(maxsize=200_000)(edit_distance)


def right(words: Sequence[str], truth: Sequence[str]) -> tuple[float, float]:
    """Accuracy, as the referee counts, and precision: the same with words and truth exchanged; 1 if nothing is said."""
    return _right(tuple(words), tuple(truth))


@lru_cache(maxsize=10_000)  # many settings say the same
def _right(words: tuple[str, ...], truth: tuple[str, ...]) -> tuple[float, float]:
    accuracy = reading_accuracy({"film": list(words)}, {"film": list(truth)})
    precision = reading_accuracy({"film": list(truth)}, {"film": list(words)}) if words else 1.0
    return accuracy, precision


def film_joules(
    read: Read, frames: Sequence[int], looked: int, frame_cost: float, crop_cost: float, bits: int
) -> float:
    """Of a film of which these frames are read, and so many were looked at for their sharpness (0 if none was).

    frame_cost, crop_cost: joules of the detector and of the recognizer.
    """
    fetch, sharp = looking_joules(bits)
    boxes = sum(len(read.readings[t]) for t in frames)
    return looked * (fetch + sharp) + len(frames) * (fetch + frame_cost) + boxes * crop_cost


def every(count: int, window: int) -> list[int]:
    """Every window-th of so many frames, from the middle of the first window on."""
    return list(range((window - 1) // 2, count, window))


def sharpest(values: Sequence[float], window: int) -> list[int]:
    """The sharpest of each window of so many frames: `choose_frames` when the sharpness is known."""
    return [
        max(range(start, min(start + window, len(values))), key=values.__getitem__)
        for start in range(0, len(values), window)
    ]
