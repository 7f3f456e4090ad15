"""How values travel between the grader and the sandbox: plain data as msgpack, in frames that begin with their length.

Nothing is unpickled or evaluated, and what comes in is bounded before memory is taken for it: the other side may be
hostile. Containers, tensors and arrays are msgpack arrays that begin with a tag; of msgpack's own types only nil,
booleans, integers, floats, texts, bytes and arrays occur.
"""

import math
import re
import socket
import struct
import time
from collections.abc import Sequence
from typing import Any

import msgpack
import numpy as np
import torch
from torch import Tensor

from course_utils.plain_data import DTYPES, foreign, laid_out

MAX_BYTES = 32 * 2**20  # of a frame
MAX_DEPTH = 24
MAX_NODES = 200_000  # values in one frame, all containers together
MAX_ENTRIES = 20_000  # of one dict: keys can be made to collide
MAX_AXES = 12
MAX_INT_BYTES = 1_700  # Python refuses to print integers of more than 4,300 digits

LIST, TUPLE, DICT, TENSOR, ARRAY, INTEGER = range(6)
HEADER = struct.Struct(">I")

TENSOR_DTYPES = {str(dtype).removeprefix("torch."): dtype for dtype in DTYPES}
ARRAY_DTYPE = re.compile(r"\|b1|\|[iu]1|<[iu][248]|<f[248]|<U\d{1,6}")


class ProtocolError(Exception):
    """What came in is not a message of this protocol, or is larger than it may be."""


class NotPlain(TypeError):
    """A value that is not plain data; `kind` is the name of its type."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"{kind} is not plain data")
        self.kind = kind


# --- Values -----------------------------------------------------------------------------------------------------------


def pack(value: Any) -> bytes:
    """The bytes of a value. NotPlain if something in it is not plain data (a subclass of Tensor or ndarray is not)."""
    return msgpack.packb(_encode(value, 0), unicode_errors="surrogatepass")


def _encode(value: Any, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise NotPlain("data nested too deep")
    kind = type(value)
    if value is None or kind in (bool, float, str, bytes):
        return value
    if kind is int:
        if -(2**63) <= value < 2**63:
            return value
        size = value.bit_length() // 8 + 1
        if size > MAX_INT_BYTES:
            raise NotPlain("an integer of more than 4,000 digits")
        return [INTEGER, value.to_bytes(size, "big", signed=True)]
    if kind is Tensor:
        if strange := foreign(value):
            raise NotPlain(strange)
        bare = value.detach().resolve_neg()
        if value.dtype is torch.bfloat16:  # which NumPy does not know
            bare = bare.view(torch.int16)
        return [
            TENSOR,
            str(value.dtype).removeprefix("torch."),
            value.requires_grad,
            list(value.shape),
            bare.numpy().tobytes(),
            *_layout(value, value.stride(), 1),
        ]
    if kind is np.ndarray:
        array = value.astype(value.dtype.newbyteorder("<"), copy=False)
        if not ARRAY_DTYPE.fullmatch(array.dtype.str):
            raise NotPlain(f"{value.dtype} array")
        layout = _layout(value, value.strides, value.itemsize)
        return [ARRAY, array.dtype.str, list(array.shape), array.tobytes(), *layout]
    # As in the engine, what is a kind of list, tuple, dict or number counts as one
    if isinstance(value, list | tuple):
        return [LIST if isinstance(value, list) else TUPLE, *(_encode(entry, depth + 1) for entry in value)]
    if isinstance(value, dict):
        for part in (part for key in value for part in (key if isinstance(key, tuple) else (key,))):
            if isinstance(part, Tensor | tuple):
                raise NotPlain(f"dict with a {type(part).__name__} as a key")
        return [DICT, *(_encode(part, depth + 1) for item in value.items() for part in item)]
    # NumPy's longest floats are nothing in Python
    if isinstance(value, np.bool_ | np.integer | np.floating | np.str_) and type(item := value.item()) is not kind:
        return _encode(item, depth)
    raise NotPlain(kind.__name__)


def unpack(data: bytes) -> Any:
    """The value that these bytes stand for; ProtocolError for anything that `pack` does not write."""
    _bound(data)
    try:
        tree = msgpack.unpackb(data, unicode_errors="surrogatepass", strict_map_key=True)
        return _decode(tree)
    except ProtocolError:
        raise
    except Exception as error:  # whatever a library finds to say about forged bytes
        raise ProtocolError(f"{type(error).__name__}: {error}"[:200]) from None


def _bound(data: bytes) -> None:
    """Walk over the bytes and count what they announce, before anything is allocated for it."""
    if len(data) > MAX_BYTES:
        raise ProtocolError(f"a message of {len(data):,} bytes")
    position, nodes, size = 0, 1, len(data)
    open_containers = [1]  # how many values each open container still waits for
    while open_containers:
        if open_containers[-1] == 0:
            open_containers.pop()
            continue
        open_containers[-1] -= 1
        if position >= size:
            raise ProtocolError("a message that breaks off")
        head = data[position]
        position += 1
        count = 0  # entries of an array
        length = 0  # bytes to pass over
        if head <= 0x7F or head >= 0xE0 or head in (0xC0, 0xC2, 0xC3):
            pass
        elif 0x90 <= head <= 0x9F:
            count = head & 0x0F
        elif 0xA0 <= head <= 0xBF:
            length = head & 0x1F
        elif head in _FIXED:
            length = _FIXED[head]
        elif head in _SIZED or head in _ARRAYS:
            width = _SIZED.get(head) or _ARRAYS[head]
            number = int.from_bytes(data[position : position + width], "big")
            position += width
            length, count = (number, 0) if head in _SIZED else (0, number)
        else:  # maps, extension types, what msgpack never uses
            raise ProtocolError(f"a message with the forbidden byte {head:#x}")
        position += length
        nodes += count
        if position > size or count > size - position:
            raise ProtocolError("a message that announces more than it holds")
        if nodes > 3 * MAX_NODES:
            raise ProtocolError("a message of too many values")
        if 0x90 <= head <= 0x9F or head in _ARRAYS:
            open_containers.append(count)
            if len(open_containers) > MAX_DEPTH + 3:
                raise ProtocolError("a message that is nested too deep")
    if position != size:
        raise ProtocolError("a message with something after its end")


_FIXED = {0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}
_SIZED = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
_ARRAYS = {0xDC: 2, 0xDD: 4}


def _decode(tree: Any) -> Any:
    if not isinstance(tree, list):
        return tree
    if not tree or type(tree[0]) is not int:
        raise ProtocolError("a container without a tag")
    match tree:
        case [0, *entries]:
            return [_decode(entry) for entry in entries]
        case [1, *entries]:
            return tuple(_decode(entry) for entry in entries)
        case [2, *flat]:
            if len(flat) % 2 or len(flat) > 2 * MAX_ENTRIES:
                raise ProtocolError(f"a dict of {len(flat) / 2:g} entries")
            return {_key(_decode(flat[i])): _decode(flat[i + 1]) for i in range(0, len(flat), 2)}
        case [3, str(name), bool(requires_grad), list(shape), bytes(data), *layout] if name in TENSOR_DTYPES:
            if requires_grad and not TENSOR_DTYPES[name].is_floating_point:
                raise ProtocolError("a gradient for integers")
            return _lay_out(_tensor(TENSOR_DTYPES[name], shape, data), layout).requires_grad_(requires_grad)
        case [4, str(name), list(shape), bytes(data), *layout] if ARRAY_DTYPE.fullmatch(name):
            return _lay_out(_array(np.dtype(name), shape, data), layout)
        case [5, bytes(data)] if 0 < len(data) <= MAX_INT_BYTES:
            return int.from_bytes(data, "big", signed=True)
    raise ProtocolError("a container with an unknown tag")


def _key(key: Any) -> Any:
    parts = key if type(key) is tuple else (key,)
    if any(part is not None and type(part) not in (bool, int, float, str, bytes) for part in parts):
        raise ProtocolError("a dict with a key that is not a number or a text")
    return key


def _check_size(shape: list[Any], itemsize: int, data: bytes) -> None:
    if len(shape) > MAX_AXES or any(type(axis) is not int or not 0 <= axis <= MAX_BYTES for axis in shape):
        raise ProtocolError(f"a shape that cannot be: {str(shape)[:80]}")
    if math.prod(shape) * itemsize != len(data):
        raise ProtocolError(f"{len(data)} bytes for the shape {shape}")


def _tensor(dtype: torch.dtype, shape: list[Any], data: bytes) -> Tensor:
    _check_size(shape, dtype.itemsize, data)
    if not data:
        tensor = torch.empty(shape, dtype=dtype)
    elif dtype is torch.bool:  # a byte other than 0 and 1 would be a third truth value
        tensor = torch.frombuffer(bytearray(data), dtype=torch.uint8).ne(0).reshape(shape)
    else:
        tensor = torch.frombuffer(bytearray(data), dtype=dtype).reshape(shape)
    return tensor


def _array(dtype: np.dtype, shape: list[Any], data: bytes) -> np.ndarray:
    _check_size(shape, dtype.itemsize, data)
    if dtype.kind == "U" and dtype.itemsize and np.frombuffer(data, "<u4").max(initial=0) > 0x10FFFF:
        raise ProtocolError("a text that is not Unicode")
    if dtype.kind == "b":
        return (np.frombuffer(data, np.uint8) != 0).reshape(shape)
    if not data:
        return np.zeros(shape, dtype)
    return np.frombuffer(bytearray(data), dtype).reshape(shape)


def _layout(value: Tensor | np.ndarray, strides: Sequence[int], unit: int) -> list[Any]:
    """Nothing for what lies in memory row by row; else the axes from the slowest to the fastest, and whether there are
    gaps between the entries: who is asked about a transposed tensor shall see one."""
    if value.is_contiguous() if isinstance(value, Tensor) else value.flags.c_contiguous:
        return []
    steps = [abs(step) for step in strides]
    gaps = min(step for step, size in zip(steps, value.shape, strict=True) if size > 1) > unit
    return [sorted(range(value.ndim), key=lambda axis: -steps[axis]), gaps]


def _lay_out(value: Any, layout: list[Any]) -> Any:
    """The same values in the layout that `_layout` found."""
    if not layout:
        return value
    if len(layout) != 2 or type(layout[0]) is not list or type(layout[1]) is not bool:
        raise ProtocolError("a layout that is none")
    order, gaps = layout
    if any(type(axis) is not int for axis in order) or sorted(order) != list(range(value.ndim)):
        raise ProtocolError("a layout of other axes")
    return laid_out(value, order, gaps)


# --- Frames -----------------------------------------------------------------------------------------------------------


def frame(value: Any) -> bytes:
    """The bytes of a value, and before them their number. NotPlain if the value is not plain data."""
    data = pack(value)
    return HEADER.pack(len(data)) + data


def send(channel: socket.socket, value: Any) -> None:
    """Write one frame. NotPlain as `frame`, EOFError if the other side is gone."""
    data = frame(value)
    try:
        channel.sendall(data)
    except ConnectionError:
        raise EOFError from None


def receive(channel: socket.socket, deadline: float | None = None) -> Any:
    """Read one frame. EOFError if the other side is gone, TimeoutError if it is silent until `deadline`, a value of
    `time.monotonic()`, and ProtocolError if what it wrote is no message."""
    (length,) = HEADER.unpack(_exactly(channel, HEADER.size, deadline))
    if length > MAX_BYTES:
        raise ProtocolError(f"a message of {length:,} bytes")
    return unpack(bytes(_exactly(channel, length, deadline)))


def _exactly(channel: socket.socket, size: int, deadline: float | None) -> bytearray:
    data = bytearray()
    while len(data) < size:
        if deadline is not None:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise TimeoutError
            channel.settimeout(remaining)
        try:
            part = channel.recv(min(size - len(data), 2**20))
        except ConnectionError:
            part = b""
        if not part:
            raise EOFError
        data += part
    return data
