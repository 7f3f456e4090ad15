"""Energy that comes in while the film runs: films with one sign at a time, and the policies that compete there."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array, vstack
from torch import Tensor

INCOMES = ("even", "early", "bursts")


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


def greedy(joules: Sequence[float], values: Sequence[float], arriving: Sequence[float]) -> list[int]:
    """Read each frame with the most valuable point that can be paid."""
    return _paying(joules, values, arriving, range(len(arriving)))


def regular(joules: Sequence[float], values: Sequence[float], arriving: Sequence[float]) -> list[int]:
    """Read every k-th frame, if it can be paid; k as the most valuable point needs it for an even income."""
    window = max(1, round(max(joules) * len(arriving) / sum(arriving)))
    return _paying(joules, values, arriving, range((window - 1) // 2, len(arriving), window))


def _paying(
    joules: Sequence[float], values: Sequence[float], arriving: Sequence[float], frames: Sequence[int]
) -> list[int]:
    battery, choices = 0.0, []
    for frame, more in enumerate(arriving):
        battery += more
        affordable = [point for point, price in enumerate(joules) if price <= battery and frame in frames]
        choices.append(max(affordable, key=lambda point: values[point], default=-1))
        battery -= joules[choices[-1]] if affordable else 0.0
    return choices


def optimum(
    right: Sequence[Sequence[str | None]], joules: Sequence[float], arriving: Sequence[float]
) -> tuple[list[int], int]:
    """What could be had by who knows the whole film and all readings beforehand: the choices that read most different
    words, and how many these are. right[t][p]: the word that point p reads correctly in frame t, or None.

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
    return [int(row.argmax()) if row.any() else -1 for row in taken], round(float(solved.x[frames * points :].sum()))
