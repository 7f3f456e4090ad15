"""What the pieces of an experiment have found, kept in the cache: a run that was stopped goes on where it was."""

import hashlib
import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from course_utils.data import cache_folder, write_atomically

if TYPE_CHECKING:
    from course_utils.reproduce.runner import Piece


@dataclass(frozen=True)
class Found:
    """What a piece returned but for its tensors; where it ran, and how long."""

    values: dict[str, Any]
    place: dict[str, Any]
    seconds: float


def encode(result: dict[str, Any], place: dict[str, Any], seconds: float) -> bytes:
    """A result as a safetensors file: its tensors and dicts of tensors; in the header, as JSON, what `Found` has."""
    states = {name: value for name, value in result.items() if isinstance(value, dict) and _is_state(value)}
    tensors = {name: value for name, value in result.items() if isinstance(value, Tensor)}
    values = {name: value for name, value in result.items() if name not in states and name not in tensors}
    tensors |= {f"{name}/{key}": tensor for name, state in states.items() for key, tensor in state.items()}
    header = {"found": [values, place, seconds], "states": {name: list(state) for name, state in states.items()}}
    return safetensors.torch.save(
        {name: tensor.contiguous() for name, tensor in tensors.items()},
        {name: json.dumps(value) for name, value in header.items()},
    )


def decode(content: bytes) -> dict[str, Any]:
    """The result that `encode` was given; its tuples are lists."""
    header = _header(content)
    # Copies, which are aligned in memory as computed tensors are: sums of others may be rounded otherwise
    tensors = {name: tensor.clone() for name, tensor in safetensors.torch.load(content).items()}
    states = {name: {key: tensors.pop(f"{name}/{key}") for key in keys} for name, keys in header["states"].items()}
    return header["found"][0] | states | tensors


def found_in(content: bytes) -> Found:
    """What `encode` was given, but for the tensors."""
    return Found(*_header(content)["found"])


def _header(content: bytes) -> dict[str, Any]:
    length = int.from_bytes(content[:8], "little")
    return {name: json.loads(text) for name, text in json.loads(content[8 : 8 + length])["__metadata__"].items()}


def _is_state(value: dict[str, Any]) -> bool:
    return any(isinstance(each, Tensor) for each in value.values())


class Journal:
    """A folder with a file for each piece that is done. Other settings have another folder.

    A piece is known by its name, its arguments and the pieces that it needs: one that was changed is computed again.
    """

    def __init__(self, experiment: str, settings: dict[str, Any], pieces: Sequence["Piece"]) -> None:
        self.folder = cache_folder() / "reproduce" / f"{experiment}-{_digest(json.dumps(settings, sort_keys=True))}"
        self.paths: dict[str, Path] = {}
        for piece in pieces:
            digest = _digest(repr((piece.name, piece.arguments, [self.paths[need].name for need in piece.needs])))
            readable = re.sub(r"\W+", "-", piece.name)
            self.paths[piece.name] = self.folder / f"{readable}-{digest}.safetensors"

    def found(self, name: str) -> Found | None:
        """What a piece has found; None if it is not there, or damaged."""
        try:
            with safe_open(self.paths[name], "pt") as file:
                return Found(*json.loads(file.metadata()["found"]))
        except (OSError, SafetensorError):
            return None

    def content(self, name: str) -> bytes:
        """What `store` was given."""
        return self.paths[name].read_bytes()

    def store(self, name: str, content: bytes) -> None:
        write_atomically(self.paths[name], content)

    def clear(self) -> None:
        """Forget all pieces: the results are stored, and the next run is to compute again."""
        shutil.rmtree(self.folder, ignore_errors=True)  # another run of the same may still write there


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
