"""A file that holds a whole network, compressed without loss: `save_compressed` and `load_compressed`."""

import math
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgpack
import numpy as np
import torch
from torch import Tensor, nn

from course_utils.deep_compression import (
    arithmetic,
    bitstring,
    decode_relative_index,
    encode_relative_index,
    huffman_code,
    huffman_decode,
    huffman_encode,
)

Coder = Literal["fixed", "huffman", "arithmetic"]
MAGIC = b"DLB-net"  # what a file begins with
VERSION = 1
# Layers that a file can name, with the arguments that make them; the last one, where there is a bias, says whether
LAYERS: dict[str, tuple[str, ...]] = {
    "Linear": ("in_features", "out_features", "bias"),
    "Conv2d": ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "bias"),
    "BatchNorm1d": ("num_features", "eps", "momentum", "affine", "track_running_stats"),
    "BatchNorm2d": ("num_features", "eps", "momentum", "affine", "track_running_stats"),
    "MaxPool2d": ("kernel_size", "stride", "padding"),
    "AvgPool2d": ("kernel_size", "stride", "padding"),
    "AdaptiveAvgPool2d": ("output_size",),
    "Dropout": ("p",),
    "Flatten": ("start_dim", "end_dim"),
    "Identity": (),
    "ReLU": (),
    "Tanh": (),
    "Sigmoid": (),
}
MOST_SHARED = 4096  # a tensor with more different values than this has no codebook


class CompressedFileError(ValueError):
    """A file that holds no network, or one that was cut off or altered."""


def save_compressed(model: nn.Module, path: str | Path, coder: Coder = "huffman") -> int:
    """Write a network to a file of its own, without loss, and return its size in bytes.

    Weights that are 0 count as pruned (−0 comes back as 0), and equal weights of a tensor as shared. Each tensor
    is stored in the way that is shortest for it: as it is; as relative indices (of the best number of bits) and
    values; or with a codebook. coder: 'huffman' for canonical Huffman codes, 'fixed' for as many bits for each symbol,
    'arithmetic' for adaptive arithmetic coding. The model is a layer of `LAYERS`, or an nn.Sequential of such;
    TypeError otherwise.

    Layout: MAGIC, a byte VERSION, msgpack of [coder, architecture, tensors], CRC-32 of all before it.
    """
    tensors = [_pack_tensor(value.detach().cpu().contiguous().numpy(), coder) for value in model.state_dict().values()]
    content = MAGIC + bytes([VERSION]) + msgpack.packb([coder, describe_layers(model), tensors])
    content += zlib.crc32(content).to_bytes(4, "little")
    Path(path).write_bytes(content)
    return len(content)


def load_compressed(path: str | Path) -> nn.Module:
    """The network that `save_compressed` wrote, bit for bit, in evaluation mode.

    Raises CompressedFileError, in one sentence, if the file is no compressed network, of another version, cut off or
    altered; OSError if it cannot be read.
    """
    content = Path(path).read_bytes()
    if not content.startswith(MAGIC):
        raise CompressedFileError(f"{path} is no compressed network: it does not begin as one.")
    if content[len(MAGIC) : len(MAGIC) + 1] not in (b"", bytes([VERSION])):
        raise CompressedFileError(
            f"{path} has version {content[len(MAGIC)]} of the format; this course reads version {VERSION}."
        )
    body, checksum = content[len(MAGIC) + 1 : -4], content[-4:]
    if zlib.crc32(content[:-4]).to_bytes(4, "little") != checksum:
        raise CompressedFileError(f"{path} was cut off or altered: its checksum is wrong. Copy or make it again.")
    try:
        coder, layers, tensors = msgpack.unpackb(body)
        model = build_layers(layers)
        state = {
            name: torch.from_numpy(_unpack_tensor(packed, tuple(value.shape), coder))
            for (name, value), packed in zip(model.state_dict().items(), tensors, strict=True)
        }
        model.load_state_dict(state, assign=True)
    except Exception as error:  # a right checksum on a wrong content: written by something else
        raise CompressedFileError(f"{path} holds no network that can be read ({error}).") from error
    return model.eval()


def describe_layers(model: nn.Module) -> list:
    """A network's architecture as plain data: [a layer's name, its arguments], or ['Sequential', list of its parts]."""
    name = type(model).__name__
    if type(model) is nn.Sequential:
        return [name, [describe_layers(layer) for layer in model]]
    if name not in LAYERS or type(model) is not getattr(nn, name) or getattr(model, "padding_mode", "zeros") != "zeros":
        raise TypeError(f"{name} is not a layer that a compressed file can name: nn.Sequential, {', '.join(LAYERS)}")
    arguments = [getattr(model, argument) for argument in LAYERS[name]]
    return [name, [value is not None if isinstance(value, Tensor | None) else value for value in arguments]]


def build_layers(description: list) -> nn.Module:
    """The network of `describe_layers`, with weights of no meaning."""
    name, arguments = description
    if name == "Sequential":
        return nn.Sequential(*(build_layers(layer) for layer in arguments))
    if name not in LAYERS:
        raise TypeError(f"there is no layer {name!r}")
    return getattr(nn, name)(*(tuple(value) if isinstance(value, list) else value for value in arguments))


def _pack_tensor(values: np.ndarray, coder: Coder) -> list:
    """A tensor in the shortest way: [dtype, bytes], or with more parts if it is sparse or shared."""
    raw = [values.dtype.str, values.tobytes()]
    if values.dtype.kind != "f" or values.size == 0:
        return raw
    kept = values.reshape(-1) != 0
    # Bit patterns in place of numbers: they have an order, and NaN comes back as it was
    patterns = values.reshape(-1).view(f"<u{values.dtype.itemsize}")
    codebook, places = np.unique(patterns[kept], return_inverse=True)
    options = [raw]
    if len(codebook) <= MOST_SHARED and coder == "arithmetic":
        symbols = np.zeros(patterns.size, dtype=np.int64)
        symbols[kept] = places + 1
        rows = len(values) if values.ndim > 1 else 1
        stream = arithmetic.Encoder()
        arithmetic.code_tensor(stream, rows, values.size // rows, len(codebook), symbols.reshape(rows, -1))
        options.append([*raw[:1], codebook.tobytes(), stream.finish()])
    elif coder != "arithmetic":
        weights = [[patterns[kept].tobytes()]]
        if len(codebook) <= MOST_SHARED:
            weights.append([codebook.tobytes(), *_pack_symbols(places.tolist(), len(codebook), coder)])
        mask = torch.from_numpy(kept)
        options.append(
            [*raw[:1], min((_pack_mask(mask, bits, coder) for bits in range(1, 9)), key=_size), min(weights, key=_size)]
        )
    return min(options, key=_size)


def _size(parts: list) -> int:
    return len(msgpack.packb(parts))


def _pack_mask(mask: Tensor, index_bits: int, coder: Coder) -> list:
    """A mask as [index_bits, number of entries, symbols]: the gaps, 0 for a filler."""
    gaps, fillers = encode_relative_index(mask, index_bits)
    symbols = gaps.masked_fill(fillers, 0).tolist()
    return [index_bits, len(symbols), *_pack_symbols(symbols, 2**index_bits + 1, coder)]


def _pack_symbols(symbols: list[int], count: int, coder: Coder) -> list[bytes]:
    """Numbers below `count` as [the lengths of their code's words, the coded bits]; one symbol needs no bits."""
    if coder == "fixed":
        lengths = [max(1, (count - 1).bit_length())] * count
    else:
        best = huffman_code(Counter(symbols))
        lengths = [len(best.get(symbol, "")) for symbol in range(count)]
    code = canonical_code(lengths)
    bits = huffman_encode(symbols, code) if len(code) > 1 else ""
    return [bytes(lengths), bitstring.to_bytes(bits)]


def canonical_code(lengths: Sequence[int]) -> dict[int, str]:
    """A prefix code of the symbols 0, 1, … given by the lengths of its words alone (0: no word; RFC 1951, section
    3.2.2).

    Words of one length are consecutive binary numbers in the order of the symbols; shorter words come first.
    """
    code, word, before = {}, 0, 0
    for length, symbol in sorted((length, symbol) for symbol, length in enumerate(lengths) if length):
        word <<= length - before
        code[symbol] = f"{word:0{length}b}"
        word, before = word + 1, length
    return code


def _unpack_symbols(lengths: bytes, data: bytes, count: int) -> list[int]:
    """`count` symbols of `_pack_symbols`."""
    code = canonical_code(lengths)
    return [next(iter(code))] * count if len(code) == 1 else huffman_decode(bitstring.from_bytes(data), code, count)


def _unpack_tensor(packed: list, shape: tuple[int, ...], coder: Coder) -> np.ndarray:
    """The values of `_pack_tensor`, in their shape."""
    dtype, *parts = packed
    size = math.prod(shape)
    if len(parts) == 1:
        return np.frombuffer(parts[0], dtype).copy().reshape(shape)
    patterns = np.zeros(size, f"<u{np.dtype(dtype).itemsize}")
    if coder == "arithmetic":
        codebook = np.frombuffer(parts[0], patterns.dtype)
        rows = shape[0] if len(shape) > 1 else 1
        symbols = arithmetic.code_tensor(arithmetic.Decoder(parts[1]), rows, size // rows, len(codebook)).reshape(-1)
        patterns[symbols > 0] = codebook[symbols[symbols > 0] - 1]
    else:
        (index_bits, entries, *coded), (first, *rest) = parts
        gaps = torch.tensor(_unpack_symbols(*coded, entries), dtype=torch.int64)
        fillers = gaps == 0
        mask = decode_relative_index(gaps.masked_fill(fillers, 2**index_bits), fillers, size).numpy()
        kept = np.frombuffer(first, patterns.dtype)
        patterns[mask] = kept[_unpack_symbols(*rest, int(mask.sum()))] if rest else kept
    return patterns.view(dtype).reshape(shape)
