"""How many connections each pixel has, at many moments of a training, as one short text for a results file."""

import base64
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor


def packed(frames: Sequence[Tensor]) -> str:
    """frames: counts of up to 255, [784] each."""
    pixels = b"".join(frame.clamp(max=255).numpy().astype(np.uint8).tobytes() for frame in frames)
    return base64.b64encode(zlib.compress(pixels, 9)).decode()


def unpacked(film: Mapping[str, Any]) -> np.ndarray:
    """The pixels of a film, [moments, 28, 28]."""
    pixels = np.frombuffer(zlib.decompress(base64.b64decode(film["pixels"])), np.uint8)
    return pixels.reshape(len(film["steps"]), 28, 28)
