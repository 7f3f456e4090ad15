"""The product of packed signs, compiled: what makes a binary network fast."""

import functools
from collections.abc import Callable

import numpy as np


def packed_matmul(a_words: np.ndarray, b_words: np.ndarray, length: int) -> np.ndarray:
    """`xnor_popcount_matmul`, compiled and on all cores.

    The first call compiles (seconds; later processes read numba's cache, where the disk can be written). Do not fork
    a process that has called this: OpenMP's threads do not survive it.
    """
    if a_words.dtype != np.uint64 or b_words.dtype != np.uint64:
        raise TypeError(f"packed words are uint64, not {a_words.dtype} and {b_words.dtype}: use pack_bits")
    if a_words.shape[1] != b_words.shape[1]:
        raise ValueError(f"{a_words.shape[1]} and {b_words.shape[1]} words a row: the lengths differ")
    out = np.empty((len(a_words), len(b_words)), dtype=np.int32)
    _kernel()(np.ascontiguousarray(a_words), np.ascontiguousarray(b_words), length, out)
    return out


@functools.cache
def _kernel() -> Callable[[np.ndarray, np.ndarray, int, np.ndarray], None]:
    """The compiled product. numba is imported here: who does not race need not wait for it."""
    import numba
    from numba import types
    from numba.core import cgutils  # noqa: F401  (numba.extending needs the core to be loaded)
    from numba.extending import intrinsic

    @intrinsic
    def popcount(typing_context, word):
        def generate(context, builder, signature, args):
            return builder.ctpop(args[0])  # LLVM's own: one instruction, or a few on vectors

        return types.uint64(types.uint64), generate

    def multiply(a, b, length, out):
        for j in numba.prange(len(b)):
            for i in range(len(a)):
                unequal = numba.uint64(0)
                for w in range(a.shape[1]):
                    unequal += popcount(a[i, w] ^ b[j, w])
                out[i, j] = length - 2 * numba.int64(unequal)

    try:
        return numba.njit(parallel=True, cache=True)(multiply)
    except RuntimeError:  # nowhere to write a cache
        return numba.njit(parallel=True)(multiply)
