"""Plain data, which is all that functions of exercises take and return: tensors, arrays, numbers, texts, and lists,
tuples and dicts of these."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

DTYPES = (
    *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
)


def foreign(tensor: Tensor) -> str:
    """What a tensor is that is not plain data, 'sparse_coo float32 tensor'; empty for all others."""
    kinds = [
        str(tensor.layout).removeprefix("torch.") if tensor.layout is not torch.strided else "",
        tensor.device.type if tensor.device.type != "cpu" else "",
        "nested" if tensor.is_nested else "",
    ]
    dtype = str(tensor.dtype).removeprefix("torch.")
    return " ".join(filter(None, [*kinds, dtype, "tensor"])) if any(kinds) or tensor.dtype not in DTYPES else ""


def clone(value: Any) -> Any:
    """A deep copy of plain data. A tensor's copy stays in the graph of the original, so that gradients flow."""
    match value:
        case Tensor():
            return value.clone()
        case np.ndarray():
            return value.copy(order="K")
        case dict():
            return {key: clone(entry) for key, entry in value.items()}
        case list() | tuple():
            return type(value)(clone(entry) for entry in value)
    return value


def tensors(value: Any) -> Iterator[Tensor]:
    """The tensors in plain data, in order."""
    match value:
        case Tensor():
            yield value
        case dict():
            for entry in value.values():
                yield from tensors(entry)
        case list() | tuple():
            for entry in value:
                yield from tensors(entry)


def shares(result: Any, arguments: Any) -> bool:
    """Whether a tensor of the result lies in the memory of an argument; a foreign one has none to look at."""

    def memory(value: Any) -> set[int]:
        found = (tensor for tensor in tensors(value) if not foreign(tensor) and tensor.numel())
        return {tensor.untyped_storage().data_ptr() for tensor in found}

    return not memory(result).isdisjoint(memory(arguments))


def laid_out(value: Tensor | np.ndarray, order: Sequence[int], gaps: bool) -> Any:
    """A copy of a tensor or array whose axes lie in memory in this order, the slowest first, with gaps or without."""
    back = sorted(range(len(order)), key=order.__getitem__)
    if isinstance(value, Tensor):
        turned = value.permute(tuple(order))
        return (torch.stack([turned, turned], -1)[..., 0] if gaps else turned.contiguous()).permute(back)
    turned = np.ascontiguousarray(value.transpose(order))
    return (np.repeat(turned[..., None], 2, -1)[..., 0] if gaps else turned).transpose(back)


def laid_out_otherwise(value: Any) -> Any:
    """A copy of plain data whose tensors and arrays lie in memory with their axes in reverse order, or with gaps."""
    match value:
        case np.ndarray() if value.dtype.kind == "u" and value.ndim:
            # Words of bits are looked at as bytes, which NumPy's .view allows along the last axis only
            return np.concatenate([value, value], -1)[..., : value.shape[-1]]
        case Tensor() | np.ndarray():
            gaps = max(value.shape, default=1) == math.prod(value.shape)  # of one axis every order is the same
            return laid_out(value, range(value.ndim)[::-1], gaps) if value.ndim else clone(value)
        case dict():
            return {key: laid_out_otherwise(entry) for key, entry in value.items()}
        case list() | tuple():
            return type(value)(laid_out_otherwise(entry) for entry in value)
    return value


def same(a: Any, b: Any) -> bool:
    """Equal plain data; NaN equals NaN."""
    if type(a) is not type(b):
        return False
    match a:
        case Tensor() | np.ndarray():
            if a.shape != b.shape or a.dtype != b.dtype:
                return False
            if isinstance(a, Tensor):  # torch.equal is the rule, and quick; only NaN takes longer
                floats = a.is_floating_point() or a.is_complex()
                return torch.equal(a, b) or (floats and torch.allclose(a, b, rtol=0, atol=0, equal_nan=True))
            return bool(np.array_equal(a, b, equal_nan=a.dtype.kind in "fc"))
        case dict():
            return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
        case list() | tuple():
            return len(a) == len(b) and all(map(same, a, b))
        case float():
            return a == b or (a != a and b != b)
    return a == b


def salted(salt: int) -> Callable[[Any], int]:
    """A `hash` as another process has it."""
    return lambda value: hash((salt, value)) if isinstance(value, str | bytes) else hash(value)
