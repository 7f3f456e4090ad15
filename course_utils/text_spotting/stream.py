"""Energy that comes in while the film runs: films with one sign at a time, and the policies that compete there."""

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array, vstack
from torch import Tensor

from course_utils.budget import PICOJOULES, inference_energy

INCOMES = ("even", "early", "bursts")
TOLERANCE, SUPPORT = 0.34, 0.6  # of the merging in 14.11


def new_part(frames: Tensor) -> list[float]:
    """How much of each frame is new since the one before, from 0 to 1, by phase correlation: the shift at which two
    frames fit best leaves that part of the area uncovered. The first frame is new altogether.

    Of frames [T, H, W] the means of 4 × 4 pixels are compared.
    """
    small = F.avg_pool2d(frames[:, None], 4)[:, 0]
    height, width = small.shape[1:]
    window = torch.hann_window(height)[:, None] * torch.hann_window(width)
    spectra = torch.fft.rfft2((small - small.mean(dim=(1, 2), keepdim=True)) * window)
    cross = spectra[1:] * spectra[:-1].conj()
    peaks = torch.fft.irfft2(cross / (cross.abs() + 1e-9), s=(height, width)).flatten(1).argmax(dim=1)
    down, right = peaks // width, peaks % width
    down, right = torch.minimum(down, height - down), torch.minimum(right, width - right)
    covered = (1 - down / height) * (1 - right / width)
    return [1.0, *(1 - covered).tolist()]


def income(kind: str, frames: int, total: float, seed: int) -> list[float]:
    """Joules that arrive before each frame: the same each time, in the first third, or in four bursts at random."""
    rate = np.zeros(frames)
    if kind == "even":
        rate[:] = 1
    elif kind == "early":
        rate[: frames // 3] = 1
    else:
        rate[np.random.default_rng([5, seed]).choice(frames, 4, replace=False)] = 1
    return (total * rate / rate.sum()).tolist()


def point_of(joules: Sequence[float], values: Sequence[float]) -> int:
    """The cheapest point that is nearly as good as the best, 0.9 of its value: what all policies read with, so that
    only the choice of frames tells them apart."""
    enough = [point for point, value in enumerate(values) if value >= 0.9 * max(values)]
    return min(enough, key=joules.__getitem__)


def greedy(point: int, joules: Sequence[float], arriving: Sequence[float]) -> list[int]:
    """Read each frame that can be paid, with this point."""
    return _paying(point, joules, arriving, range(len(arriving)))


def regular(point: int, joules: Sequence[float], arriving: Sequence[float]) -> list[int]:
    """Read every k-th frame, if it can be paid; k as the point needs it for an even income."""
    window = max(1, math.ceil(joules[point] * len(arriving) / sum(arriving)))
    return _paying(point, joules, arriving, range((window - 1) // 2, len(arriving), window))


def _paying(point: int, joules: Sequence[float], arriving: Sequence[float], frames: Sequence[int]) -> list[int]:
    battery, choices = 0.0, []
    for frame, more in enumerate(arriving):
        battery += more
        choices.append(point if frame in frames and battery >= joules[point] else -1)
        battery -= joules[point] if choices[-1] >= 0 else 0.0
    return choices


def after_looking(arriving: Sequence[float], each: float) -> list[float]:
    """What is left of an income for a policy that looks at every frame, for so many joules each: the same part of all
    of it is set aside."""
    left = max(0.0, 1 - each * len(arriving) / sum(arriving))
    return [left * more for more in arriving]


def shift_joules(height: int = 48, width: int = 80) -> float:
    """Phase correlation of one frame with the one before: two transforms of N values of 5 N log₂ N operations, counted
    as half as many MACs."""
    macs = 5 * height * width * math.log2(height * width)
    return inference_energy(macs, 2 * macs, 0, PICOJOULES)


def optimum(
    right: Sequence[Sequence[str | None]], joules: Sequence[float], arriving: Sequence[float]
) -> tuple[list[int], int]:
    """What could be had by who knows the whole film and all readings beforehand: choices that read as many different
    words as the solver found, and the most that could be. right[t][p]: the word that point p reads correctly in frame
    t, or None.

    A linear program with integers: x[t, p] = 1 if p reads t, y[w] = 1 if word w is read.
    """
    frames, points = len(right), len(joules)
    words = sorted({word for row in right for word in row if word})
    count = frames * points + len(words)
    once, paid, found = (np.zeros((rows, count)) for rows in (frames, frames, len(words)))
    for t in range(frames):
        once[t, t * points : (t + 1) * points] = 1
        for p in range(points):
            paid[t:, t * points + p] = joules[p]
            if right[t][p]:
                found[words.index(right[t][p]), t * points + p] = -1
    found[:, frames * points :] = np.eye(len(words))
    limits = np.concatenate([np.ones(frames), np.cumsum(arriving), np.zeros(len(words))])
    # The joules are scaled, as a solver's tolerance is absolute
    paid, limits[frames : 2 * frames] = paid / max(joules), limits[frames : 2 * frames] / max(joules)
    price = np.concatenate([np.full(frames * points, 1e-6), -np.ones(len(words))])
    solved = milp(
        price,
        integrality=np.ones(count),
        bounds=Bounds(0, 1),
        constraints=LinearConstraint(vstack([csr_array(part) for part in (once, paid, found)]), -np.inf, limits),
        options={"time_limit": 20},
    )
    taken = np.round(solved.x[: frames * points]).reshape(frames, points)
    # The dual bound holds even if the solver ran out of time; what the readings add to the price is taken off again
    most = math.floor(-solved.mip_dual_bound + 1e-6 * frames * points + 1e-6)
    return [int(row.argmax()) if row.any() else -1 for row in taken], most
