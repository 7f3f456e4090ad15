"""Random inputs for laws: seeded, and small first."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


class Draw:
    """A law's source of inputs.

    `trial` counts from 0; sizes grow with it, so that the first input that breaks a law is a small one.
    The stream depends on the seed and on the law's key only: adding a law changes no other law's inputs.
    """

    def __init__(self, seed: int, key: str, trial: int = 0, trials: int = 1) -> None:
        digest = hashlib.sha256(f"{seed}/{key}/{trial}".encode()).digest()
        self.trial, self.trials = trial, trials
        self.rng = np.random.default_rng(int.from_bytes(digest[:16], "little"))

    def size(self, low: int, high: int) -> int:
        """An integer from low to high: low in the first trial, up to high in the last."""
        top = low + round((high - low) * self.trial / max(1, self.trials - 1))
        return self.integer((low + top + 1) // 2, top) if top > low else low

    def integer(self, low: int, high: int) -> int:
        """An integer from low to high, both included."""
        return int(self.rng.integers(low, high + 1))

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        return float(self.rng.uniform(low, high))

    def choice(self, options: Sequence[Any]) -> Any:
        return options[self.integer(0, len(options) - 1)]

    def normal(self, *shape: int, scale: float = 1.0, dtype: torch.dtype = torch.float32) -> Tensor:
        """A tensor of normal numbers with the given standard deviation."""
        return torch.from_numpy(self.rng.normal(0.0, scale, shape)).to(dtype)

    def rand(self, *shape: int, low: float = 0.0, high: float = 1.0, dtype: torch.dtype = torch.float32) -> Tensor:
        """A tensor of uniform numbers."""
        return torch.from_numpy(self.rng.uniform(low, high, shape)).to(dtype)

    def labels(self, count: int, classes: int) -> Tensor:
        """Class labels, [count], int64."""
        return torch.from_numpy(self.rng.integers(0, classes, count))

    def mask(self, *shape: int, keep: float = 0.5) -> Tensor:
        """A bool tensor that is True with probability `keep`."""
        return torch.from_numpy(np.asarray(self.rng.random(shape) < keep))

    def permutation(self, count: int) -> Tensor:
        return torch.from_numpy(self.rng.permutation(count))

    def seed(self) -> int:
        """A seed to hand on to a function that takes one."""
        return self.integer(0, 2**31 - 1)
