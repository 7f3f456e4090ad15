"""The file of a task: what must be stored for it beside the pre-trained network that all tasks share.

The numbers of LoRA or of an update are rounded to a grid, each tensor with a step of its own, and coded without loss by
unit 03's arithmetic coder. `save_compressed` stores layers: the codes are those of one layer, the steps of another.
"""

import tempfile
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from course_utils.deep_compression.files import load_compressed, save_compressed

State = dict[str, Tensor]
COLUMNS = 64  # divides all that is stored here


def state_bytes(state: State) -> int:
    """Bytes of a state as a safetensors file, every number as it is."""
    return len(safetensors.torch.save({name: value.contiguous() for name, value in state.items()}))


def write_task(trained: State, bits: int, path: Path) -> int:
    """Store tensors on grids of 2^bits − 1 levels, and return the file's size in bytes."""
    most = 2 ** (bits - 1) - 1
    steps = torch.tensor([float(value.abs().max()) / most or 1.0 for value in trained.values()])
    codes = [
        torch.round(_rows_first(value) / step).reshape(-1, COLUMNS)
        for value, step in zip(trained.values(), steps, strict=True)
    ]
    layers = nn.Sequential(*(nn.Linear(x.shape[1], x.shape[0], bias=False) for x in (torch.cat(codes), steps[None])))
    layers.load_state_dict({"0.weight": torch.cat(codes), "1.weight": steps[None]})
    return save_compressed(layers, path, coder="arithmetic")


def read_task(path: Path, like: State) -> State:
    """The tensors that a file of `write_task` holds. like: tensors of their names and shapes, in their order."""
    codes, steps = (value.detach() for value in load_compressed(path).state_dict().values())
    parts = codes.flatten().split([value.numel() for value in like.values()])
    read = {}
    for (name, value), part, step in zip(like.items(), parts, steps[0], strict=True):
        shape = _rows_first(value).shape
        stored = (part * step).view(shape)
        read[name] = stored if shape == value.shape else stored.T.contiguous()
    return read


def through_a_file(trained: State, bits: int) -> tuple[State, int]:
    """The tensors as they come back from a file of so many bits, and its bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "task.dlb"
        size = write_task(trained, bits, path)
        return read_task(path, trained), size


def _rows_first(value: Tensor) -> Tensor:
    """A tall matrix lies down: b [out, r] as [r, out], that numbers of one column of b stand side by side."""
    return value.T if value.dim() == 2 and value.shape[0] > value.shape[1] else value
