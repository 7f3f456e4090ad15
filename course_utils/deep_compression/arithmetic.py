"""Binary arithmetic coding: bits that are likely cost less than a bit each.

I. Witten, R. Neal and J. Cleary, *Arithmetic Coding for Data Compression*, Comm. ACM 30 (1987). A symbol of
probability p costs log₂ 1/p bits, also where that is far below one: what a Huffman code, with its whole bits, cannot
do. All arithmetic is on integers, so that every machine decodes the same.
"""

import itertools
import math
from collections.abc import Iterator

import numpy as np

PRECISION = 16  # bits of a probability
FULL = 2**32 - 1


class Encoder:
    """Narrows the interval [low, high] by each bit; what all its numbers begin with is the code."""

    def __init__(self) -> None:
        self.low, self.high, self.data = 0, FULL, bytearray()

    def code(self, probability: int, bit: int) -> int:
        """Write a bit that is 1 with the given probability, from 1 to 2^16 − 1, in units of 2^-16. Returns the bit."""
        middle = self.low + ((self.high - self.low) * probability >> PRECISION)
        if bit:
            self.high = middle
        else:
            self.low = middle + 1
        while (self.low ^ self.high) >> 24 == 0:
            self.data.append(self.high >> 24)
            self.low, self.high = self.low << 8 & FULL, self.high << 8 & FULL | 255
        return bit

    def finish(self) -> bytes:
        """The code: the shortest number in the interval, since the decoder reads zeros after its end."""
        for count in range(5):
            tail = self.high >> (32 - 8 * count) << (32 - 8 * count)
            if tail >= self.low:
                return bytes(self.data) + tail.to_bytes(4, "big")[:count]
        raise AssertionError("four bytes always suffice")


class Decoder:
    """Reads what `Encoder` wrote, given the same probabilities."""

    def __init__(self, data: bytes) -> None:
        self.low, self.high = 0, FULL
        self.rest: Iterator[int] = itertools.chain(data, itertools.repeat(0))
        self.value = int.from_bytes(bytes(itertools.islice(self.rest, 4)), "big")

    def code(self, probability: int, bit: int | None = None) -> int:
        """Read the next bit, which is 1 with the given probability."""
        middle = self.low + ((self.high - self.low) * probability >> PRECISION)
        read = int(self.value <= middle)
        if read:
            self.high = middle
        else:
            self.low = middle + 1
        while (self.low ^ self.high) >> 24 == 0:
            self.low, self.high = self.low << 8 & FULL, self.high << 8 & FULL | 255
            self.value = self.value << 8 & FULL | next(self.rest)
        return read


class Chances:
    """Probabilities that adapt: how often a bit was 1 in each context, counted as the text is read."""

    def __init__(self, zeros: int = 1, ones: int = 1) -> None:
        self.first = (zeros, ones)  # what is believed before the first bit
        self.counts: dict[tuple[int, ...], list[int]] = {}

    def code(self, coder: Encoder | Decoder, context: tuple[int, ...], bit: int | None) -> int:
        """Code one bit in its context, and learn from it."""
        counts = self.counts.setdefault(context, list(self.first))
        # Two more for each bit that was seen: the estimate of Krichevsky and Trofimov, if the first belief is (1, 1)
        probability = (counts[1] << PRECISION) // (counts[0] + counts[1])
        bit = coder.code(min(max(probability, 1), 2**PRECISION - 1), bit)
        counts[bit] += 2
        return bit


def code_tensor(
    coder: Encoder | Decoder, rows: int, columns: int, values: int, symbols: np.ndarray | None = None
) -> np.ndarray:
    """Write, or read, a pruned matrix of shared weights. Returns its symbols [rows, columns].

    symbols: 0 where pruned, else 1 + the place in the codebook, below `values` + 1; None with a decoder. Whether a
    weight is kept is coded first, and how likely that is depends on what is known of its neighbours: the weights
    beside and above it (a row of a square image's pixels is read as that image), its column and its row so far. Then
    its symbol, from the highest bit to the lowest.
    """
    side = math.isqrt(columns)
    width = side if side * side == columns else columns + 1  # not an image: nothing is above
    is_kept, symbol_bit = Chances(zeros=6, ones=1), Chances()
    depth = (values - 1).bit_length()
    in_column = [0] * columns
    result = np.zeros((rows, columns), dtype=np.int64)
    for r in range(rows):
        row = [0] * columns if symbols is None else symbols[r].tolist()
        in_row = 0
        for c in range(columns):
            near = [row[i] for i in (c - 1, c - width, c - width + 1) if 0 <= i < c]
            context = (
                sum(symbol > 0 for symbol in near),
                (32 * in_column[c] // (r + 1)).bit_length(),
                (64 * in_row // (c + 8)).bit_length(),
            )
            if not is_kept.code(coder, context, None if symbols is None else int(row[c] > 0)):
                row[c] = 0
                continue
            # A neighbour's sign says something about a weight's own: is it in the codebook's upper half?
            beside = next((1 + (2 * symbol > values) for symbol in near if symbol > 0), 0)
            node = 1
            for level in reversed(range(depth)):
                bit = None if symbols is None else (row[c] - 1) >> level & 1
                node = 2 * node + symbol_bit.code(coder, (node, beside), bit)
            row[c] = node - 2**depth + 1
            in_column[c] += 1
            in_row += 1
        result[r] = row
    return result
