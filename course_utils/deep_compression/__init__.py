"""Unit 03: Deep Compression: prune, share weights, Huffman-code.

S. Han, H. Mao and W. J. Dally, *Deep Compression: Compressing Deep Neural Networks with Pruning, Trained Quantization
and Huffman Coding*, ICLR 2016, arXiv:1510.00149.
D. A. Huffman, *A Method for the Construction of Minimum-Redundancy Codes*, Proc. IRE 40 (1952).

`files.py` makes, with these functions, a file of a whole network: `save_compressed` and `load_compressed`.
"""

import heapq
import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence

import msgpack
import numpy as np
import torch
from torch import Tensor

from course_utils.deep_compression import bitstring


def masked_sgd_step(
    weight: Tensor,
    gradient: Tensor,
    velocity: Tensor,
    mask: Tensor,
    lr: float,
    momentum: float,
    weight_decay: float,
) -> tuple[Tensor, Tensor]:
    """One step of SGD that leaves pruned weights pruned (Han 2016, section 2: retraining).

    weight, gradient, velocity: tensors of one shape, any, and one dtype; mask: bool, of
    that shape, True where a weight is kept. Returns the new (weight, velocity), of the same
    shape and dtype. Where the mask is True they are those of torch.optim.SGD (no dampening,
    no Nesterov): if a NaN or an infinity comes in there, one comes out. Where it is False
    they are exactly 0, also if NaN or infinity comes in.
    """
    # d = g + λ·w;   v ← μ·v + d;   w ← w − η·v
    new_velocity = momentum * velocity + gradient + weight_decay * weight
    new_weight = weight - lr * new_velocity
    # A product with the mask would keep NaN (0 · NaN is NaN) and give −0
    zero = torch.zeros_like(weight)
    return torch.where(mask, new_weight, zero), torch.where(mask, new_velocity, zero)


def encode_relative_index(mask: Tensor, index_bits: int) -> tuple[Tensor, Tensor]:
    """Where the kept weights are, as the distance from one to the next.

    Han 2016, section 2 and figure 2. mask: bool, any shape, read row by row. Returns (gaps,
    fillers), one entry for each stored number: gaps, int64, from 1 to 2^index_bits, the
    distance from the entry before (from position −1 for the first); fillers, bool. A longer
    distance is bridged: as often as it is needed, an entry with gap 2^index_bits and True
    in fillers, which carries a zero weight. Nothing is stored after the last kept weight; a
    mask without any gives two empty tensors.
    """
    longest = 2**index_bits
    positions = mask.flatten().nonzero().squeeze(1)
    distances = positions.diff(prepend=torch.tensor([-1]))
    # distance = bridges · 2^b + rest, with a rest from 1 to 2^b: 2^b needs no bridge
    bridges = (distances - 1) // longest
    last = (bridges + 1).cumsum(0) - 1  # where each kept weight's own entry stands
    entries = len(positions) + int(bridges.sum())
    gaps, fillers = torch.full((entries,), longest), torch.ones(entries, dtype=torch.bool)
    gaps[last] = distances - bridges * longest
    fillers[last] = False
    return gaps, fillers


def decode_relative_index(gaps: Tensor, fillers: Tensor, length: int) -> Tensor:
    """The flat mask that `encode_relative_index` has encoded, from its two results.

    gaps: int64; fillers: bool; both [entries], or [0] if nothing is kept. length: how many
    places the mask has, up to 2^24. Returns the mask, [length], bool.
    """
    positions = gaps.cumsum(0) - 1
    mask = torch.zeros(length, dtype=torch.bool)
    mask[positions[~fillers]] = True
    return mask


def linear_centroids(weights: Tensor, count: int) -> Tensor:
    """First centroids for weight sharing: evenly from the least to the greatest weight.

    Han 2016, section 3.2. weights: any shape, any float dtype, kept weights only (one may
    be 0); the sum and the difference of any two are finite in their dtype. Returns [count],
    ascending, of that dtype; one centroid is the midpoint. Rare large weights matter most,
    and only this start gives them centroids of their own.
    """
    low, high = weights.min().item(), weights.max().item()
    if count == 1:
        return torch.tensor([(low + high) / 2], dtype=weights.dtype)
    return torch.linspace(low, high, count, dtype=weights.dtype)


def kmeans_1d(weights: Tensor, centroids: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Weight sharing: k-means on one layer's weights by Lloyd's steps (Han 2016, eq. 2).

    weights: [n], kept weights only (with the pruned zeros, zero would become a centroid),
    however small; centroids: [count], the start, of the same float dtype, in any order, not
    necessarily different. A step assigns every weight to its nearest centroid (of equally
    near ones, the one with the lowest index) and moves each centroid to the mean of its
    weights, equal weights each counted; a centroid without weights stays where it is.
    Returns (centroids, assignment) after `steps` steps, 0 or more: [count] of the weights'
    dtype, a tensor of its own, and [n], int64, the nearest of the returned centroids.
    """
    for step in range(steps + 1):
        # argmin gives the first of equals
        assignment = (weights.unsqueeze(1) - centroids).abs().argmin(dim=1)
        if step < steps:
            members = assignment.bincount(minlength=len(centroids))
            # Thousands of small numbers: float32 and less would lose the last of them
            totals = torch.zeros(len(centroids), dtype=torch.float64)
            totals.index_add_(0, assignment, weights.double())
            # c_k = (1/n_k) Σ_{i in k} w_i
            means = (totals / members.clamp(min=1)).to(weights.dtype)
            centroids = torch.where(members > 0, means, centroids)
    return centroids.clone(), assignment


def centroid_gradient(gradient: Tensor, assignment: Tensor, count: int) -> Tensor:
    """The loss's gradient by the shared weights (Han 2016, eq. 3).

    gradient: by the weights, any shape; assignment: of the same shape, int64, the centroid
    of each. Returns [count], of the gradient's dtype: each centroid's sum, since all
    weights of a cluster are one and the same parameter. Thousands of them add up: a sum
    kept in half precision on the way would stop growing.
    """
    wide = torch.promote_types(gradient.dtype, torch.float32)
    # ∂L/∂C_k = Σ_ij ∂L/∂W_ij · 1(I_ij = k)
    sums = torch.zeros(count, dtype=wide)
    sums.index_add_(0, assignment.flatten(), gradient.flatten().to(wide))
    return sums.to(gradient.dtype)


def huffman_code(frequencies: Mapping[Hashable, float]) -> dict[Hashable, str]:
    """An optimal prefix code (Huffman 1952; Han 2016, section 4).

    frequencies: how often each symbol occurs, from 10⁻⁹ to 10¹², whole numbers or not;
    symbols are whatever a dict takes as keys. Returns a string of '0' and '1' for each
    symbol: none is the beginning of another, and no such code gives the whole text fewer
    bits; any optimal code will do. A lone symbol gets one bit; no symbols give {}.
    """
    if len(frequencies) == 1:
        return dict.fromkeys(frequencies, "0")
    code = dict.fromkeys(frequencies, "")
    # The number decides between equal frequencies: symbols need not be comparable
    heap = [(frequencies[symbol], number, [symbol]) for number, symbol in enumerate(code)]
    heapq.heapify(heap)
    while len(heap) > 1:
        # The two rarest groups become siblings: the deepest place is for what is read least
        rarest, _, left = heapq.heappop(heap)
        next_rarest, number, right = heapq.heappop(heap)
        for symbol in left:
            code[symbol] = "0" + code[symbol]
        for symbol in right:
            code[symbol] = "1" + code[symbol]
        heapq.heappush(heap, (rarest + next_rarest, number, left + right))
    return code


def huffman_encode(symbols: Sequence[Hashable], code: Mapping[Hashable, str]) -> str:
    """The bits of the symbols, one after the other; '' for no symbols.

    symbols: any sequence; code: symbol -> bit string. Symbols are equal as in a dict: 1 is
    1.0, but not '1'.
    """
    return "".join([code[symbol] for symbol in symbols])


def huffman_decode(bits: str, code: Mapping[Hashable, str], count: int) -> list[Hashable]:
    """The first `count` symbols of a string of '0' and '1'.

    What follows them (the rest of a byte, say) is not read. code: symbol -> bit string, a
    prefix code. Raises ValueError if the bits end, or fit no symbol, before `count` are
    read.
    """
    symbol_of = {word: symbol for symbol, word in code.items()}
    symbols, word, position = [], "", 0
    while len(symbols) < count:
        if position == len(bits):
            raise ValueError(f"the bits end after {len(symbols)} of {count} symbols")
        word += bits[position]
        position += 1
        # No word is the beginning of another: the first match is the only one
        if word in symbol_of:
            symbols.append(symbol_of[word])
            word = ""
    return symbols


def compressed_bits(
    nonzeros: int,
    fillers: int,
    weight_bits: int,
    index_bits: int,
    codebook_size: int,
) -> int:
    """Bits of a pruned and quantized layer, without Huffman coding.

    Han 2016, sections 2 and 3. nonzeros, fillers: numbers of stored entries of each kind;
    each entry has a weight of weight_bits and a gap of index_bits. The codebook holds
    codebook_size float32 numbers. Any of the five may be 0.
    """
    return (nonzeros + fillers) * (weight_bits + index_bits) + 32 * codebook_size


def compress(
    state: dict[str, Tensor],
    masks: dict[str, Tensor],
    weight_bits: int,
    index_bits: int,
) -> bytes:
    """A pruned network as bytes: relative indices, shared weights, Huffman codes.

    state: tensors by name, on the CPU. masks: for some of the names, a bool tensor of that
    shape. A tensor without a mask is stored as it is. Of one with a mask the kept weights
    are shared: if they have more than 2^weight_bits different values, each becomes its
    centroid after 30 steps of kmeans_1d from 2^weight_bits linear centroids; otherwise they
    stay. The codebook is the different values that are left, ascending: a centroid that no
    weight has is not in it.

    Returns msgpack.packb of a dict that has, for each name of the state, in its order, a
    dict. Its keys are, without a mask,
        "shape": list of int
        "dtype": str, NumPy's name, such as "float32"
        "values": bytes, row by row, as numpy's tobytes() gives them
    and with a mask "shape" and "dtype" as well, and
        "index_bits": int
        "codebook": bytes, the shared weights, in "dtype"
        "entries", "gap_code", "gaps": for every stored entry of encode_relative_index, one
            symbol: its gap, or 0 for a filler
        "kept", "weight_code", "weights": for every kept weight (fillers need none), one
            symbol: its place in the codebook
    Of each three the first is the number of symbols, an int; the second their Huffman code,
    a dict symbol -> bit string; the third the encoded symbols, bytes, as bitstring.to_bytes
    makes them.
    """
    file = {}
    for name, value in state.items():
        entry = {"shape": list(value.shape), "dtype": str(value.numpy().dtype)}
        if name in masks:
            kept = value[masks[name]]
            if len(kept.unique()) > 2**weight_bits:
                start = linear_centroids(kept, 2**weight_bits)
                centroids, assignment = kmeans_1d(kept, start, steps=30)
                kept = centroids[assignment]
            codebook, places = kept.unique(return_inverse=True)
            gaps, fillers = encode_relative_index(masks[name], index_bits)
            entry |= {"index_bits": index_bits, "codebook": codebook.numpy().tobytes()}
            gaps = gaps.masked_fill(fillers, 0)
            for number, what, row in (("entries", "gap", gaps), ("kept", "weight", places)):
                symbols = row.tolist()
                code = huffman_code(Counter(symbols))
                stream = bitstring.to_bytes(huffman_encode(symbols, code))
                entry |= {number: len(symbols), f"{what}_code": code, f"{what}s": stream}
        else:
            entry["values"] = value.numpy().tobytes()
        file[name] = entry
    return msgpack.packb(file)


def decompress(data: bytes) -> dict[str, Tensor]:
    """The network in `compress`'s bytes: its shared weights exactly, 0 where it is pruned.

    data: the format that `compress` describes, with any prefix code (msgpack.unpackb needs
    strict_map_key=False, because codes have numbers as keys; bitstring.from_bytes turns
    bytes into the bits of huffman_decode, a few zeros at the end included). Returns the
    state: names in their order, shapes and dtypes as they were.
    """
    state = {}
    for name, entry in msgpack.unpackb(data, strict_map_key=False).items():
        if "values" in entry:
            values = torch.tensor(np.frombuffer(entry["values"], entry["dtype"]))
        else:
            bits = bitstring.from_bytes(entry["gaps"])
            steps = huffman_decode(bits, entry["gap_code"], entry["entries"])
            bits = bitstring.from_bytes(entry["weights"])
            places = huffman_decode(bits, entry["weight_code"], entry["kept"])
            gaps = torch.tensor(steps, dtype=torch.int64)
            fillers = gaps == 0
            length = math.prod(entry["shape"])
            gaps = gaps.masked_fill(fillers, 2 ** entry["index_bits"])
            mask = decode_relative_index(gaps, fillers, length)
            codebook = torch.tensor(np.frombuffer(entry["codebook"], entry["dtype"]))
            values = torch.zeros(length, dtype=codebook.dtype)
            values[mask] = codebook[torch.tensor(places, dtype=torch.int64)]
        state[name] = values.reshape(entry["shape"])
    return state


# What is built on these functions, and belongs to the unit as well
from course_utils.deep_compression.files import (
    CompressedFileError,
    canonical_code,
    load_compressed,
    save_compressed,
)
