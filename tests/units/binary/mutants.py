"""Mutants and right variants of unit 05."""

import numpy as np
import torch
import torch.nn.functional as F

from course_utils import binary
from tests.checks.catalogue import mutant, right

# --- 5.1 binarize -----------------------------------------------------------------------------------------------------


@mutant("5.1", "sign(0) = 0")
def binarize_sign(real):
    return real.sign()


@mutant("5.1", "0 counts as −1")
def binarize_strict(real):
    return torch.where(real > 0, 1.0, -1.0).to(real.dtype)


@mutant("5.1", "−0.0 counts as −1")
def binarize_sign_bit(real):
    return torch.where(real.signbit(), -1.0, 1.0).to(real.dtype)


@mutant("5.1", "always float32")
def binarize_float(real):
    return torch.where(real >= 0, 1.0, -1.0)


@mutant("5.1", "bits instead of signs")
def binarize_bits(real):
    return (real >= 0).to(real.dtype)


@mutant("5.1", "divided by its own size: NaN at 0")
def binarize_divided(real):
    return real / real.abs()


@mutant("5.1", "a small constant against division by 0")
def binarize_small_constant(real):
    return (real / (real.abs() + 1e-12)).round()


@mutant("5.1", "a bool tensor")
def binarize_bool(real):
    return real >= 0


@mutant("5.1", "the straight-through trick: real + (sign − real) is ±1 up to rounding only")
def binarize_detach_trick(real):
    return real + (binary.binarize(real) - real).detach()


@mutant("5.1", "a steep tanh")
def binarize_tanh(real):
    return torch.tanh(1e4 * (real + 1e-9)).to(real.dtype)


@mutant("5.1", "in place")
def binarize_in_place(real):
    real[real >= 0], real[real < 0] = 1.0, -1.0
    return real


@mutant("5.1", "relative to the mean")
def binarize_centred(real):
    return binary.binarize(real - real.mean())


@mutant("5.1", "integers")
def binarize_integers(real):
    return 2 * (real >= 0).long() - 1


@right("5.1")
def binarize_where(real):
    return torch.where(real >= 0, 1.0, -1.0).to(real.dtype)


@right("5.1")
def binarize_mended_sign(real):
    sign = real.sign()
    sign[sign == 0] = 1
    return sign


@right("5.1")
def binarize_numpy(real):
    return torch.from_numpy(np.where(real.double().numpy() < 0, -1.0, 1.0)).to(real.dtype)


@mutant("5.1", "takes the sign bit, which −0.0 has too")
def binarize_sign_bit_again(real):
    return torch.where(torch.signbit(real), -1, 1).to(real.dtype)


@mutant("5.1", "adds a hair to get rid of the zero")
def binarize_hair(real):
    return torch.sign(real + 1e-12)


@mutant("5.1", "divides by |real| plus a little and rounds")
def binarize_divided_again(real):
    return (real / (real.abs() + 1e-8)).round() + (real == 0)


@mutant("5.1", "half precision comes back in single")
def binarize_half_to_single(real):
    wide = real if real.dtype == torch.float64 else real.float()
    return torch.where(wide < 0, -torch.ones_like(wide), torch.ones_like(wide))


@mutant("5.1", "squeezes the result")
def binarize_squeezed(real):
    return (2 * (real >= 0).to(real.dtype) - 1).squeeze()


@mutant("5.1", "looks at tenths of a thousandth only")
def binarize_rounded_first(real):
    rounded = torch.round(real.double(), decimals=4)
    return torch.where(rounded < 0, -1.0, 1.0).to(real.dtype)


@right("5.1")
def binarize_by_copysign(real):
    return torch.copysign(torch.ones_like(real), torch.where(real < 0, real, torch.ones_like(real)))


@right("5.1")
def binarize_by_heaviside(real):
    return torch.heaviside(real, torch.ones_like(real)).mul(2).sub(1)


# --- 5.2 straight_through ---------------------------------------------------------------------------------------------


@mutant("5.2", "< 1 for ≤ 1")
def through_strict(gradient, real):
    return gradient * (real.abs() < 1)


@mutant("5.2", "the gradient's size is tested, not the value's")
def through_gradient_tested(gradient, real):
    return gradient * (gradient.abs() <= 1)


@mutant("5.2", "everything passes")
def through_all(gradient, real):
    return gradient.clone()


@mutant("5.2", "the gradient clipped to [−1, 1]")
def through_clipped(gradient, real):
    return gradient.clamp(-1, 1) * (real.abs() <= 1)


@mutant("5.2", "only the upper side")
def through_one_sided(gradient, real):
    return gradient * (real <= 1)


@mutant("5.2", "the other way round")
def through_outside(gradient, real):
    return gradient * (real.abs() > 1)


@mutant("5.2", "the derivative of tanh")
def through_tanh(gradient, real):
    return gradient * (1 - torch.tanh(real) ** 2)


@mutant("5.2", "the triangle of Bi-Real Net")
def through_triangle(gradient, real):
    return gradient * (2 - 2 * real.abs()).clamp(min=0)


@mutant("5.2", "the value clipped in, not the gradient let through")
def through_value(gradient, real):
    return gradient * real.clamp(-1, 1)


@mutant("5.2", "≤ 1 up to a tolerance")
def through_tolerance(gradient, real):
    return gradient * (real.abs() <= 1 + 1e-6)


@mutant("5.2", "the mask alone")
def through_mask(gradient, real):
    return (real.abs() <= 1).to(gradient.dtype)


@mutant("5.2", "the square of the value: 1 + a hair squared is rounded")
def through_single_precision(gradient, real):
    return gradient * (real.float() ** 2 <= 1)


@mutant("5.2", "in place")
def through_in_place(gradient, real):
    return gradient.mul_(real.abs() <= 1)


@mutant("5.2", "arguments swapped")
def through_swapped(gradient, real):
    return real * (gradient.abs() <= 1)


@right("5.2")
def through_where(gradient, real):
    return torch.where((real >= -1) & (real <= 1), gradient, torch.zeros_like(gradient))


@right("5.2")
def through_indexed(gradient, real):
    result = gradient.clone()
    result[real.abs() > 1] = 0
    return result


@right("5.2")
def through_clamped(gradient, real):
    return torch.where(real.clamp(-1, 1) == real, gradient, torch.zeros_like(gradient))


@mutant("5.2", "the mask in the dtype of the weights widens the gradient")
def straight_mask_of_weights_dtype(gradient, real):
    return gradient * (real.abs() <= 1).to(real.dtype)


@mutant("5.2", "compares in single precision")
def straight_single(gradient, real):
    return torch.where(real.float().abs() <= 1, gradient, 0)


@mutant("5.2", "a product keeps NaN and infinity beyond 1")
def straight_product(gradient, real):
    return gradient * (real.abs() <= 1)


@mutant("5.2", "allows a millionth beyond 1")
def straight_tolerant(gradient, real):
    return torch.where(real.abs() <= 1 + 1e-6, gradient, 0)


@mutant("5.2", "backward through hardtanh, which stops at ±1 itself")
def straight_hardtanh(gradient, real):
    x = real.detach().requires_grad_()
    with torch.enable_grad():
        (found,) = torch.autograd.grad((torch.nn.functional.hardtanh(x) * gradient.to(x.dtype)).sum(), x)
    return torch.where(real.abs() > 1, 0, found.to(gradient.dtype))


@mutant("5.2", "clips the gradient to a thousand")
def straight_clipped_gradient(gradient, real):
    return torch.where(real.abs() <= 1, gradient.clamp(-1e3, 1e3), 0)


@mutant("5.2", "infinite gradients become large numbers")
def straight_nan_to_num(gradient, real):
    return torch.nan_to_num(gradient) * (real.abs() <= 1)


@right("5.2")
def straight_by_clamp_equality(gradient, real):
    return gradient.masked_fill(real.clamp(-1, 1) != real, 0)


@right("5.2")
def straight_by_index(gradient, real):
    result = torch.zeros_like(gradient)
    inside = (real >= -1) & (real <= 1)
    result[inside] = gradient[inside]
    return result


@mutant("5.2", "NaN inside the window becomes 0")
def straight_nan_lost(gradient, real):
    return torch.where(real.abs() <= 1, gradient, 0).nan_to_num(0.0, torch.inf, -torch.inf)


# --- 5.3 binary_sgd_step ----------------------------------------------------------------------------------------------


@mutant("5.3", "the step is clipped too, so that no weight crosses from edge to edge")
def sgd_clips_the_step(real, gradient, lr):
    return (real - (lr * gradient).clamp(-1, 1)).clamp(-1, 1)


@mutant("5.3", "the gradient clipped, not the weight")
def step_gradient_clipped(real, gradient, lr):
    return real - lr * gradient.clamp(-1, 1)


@mutant("5.3", "not clipped")
def step_unclipped(real, gradient, lr):
    return real - lr * gradient


@mutant("5.3", "uphill")
def step_uphill(real, gradient, lr):
    return (real + lr * gradient).clamp(-1, 1)


@mutant("5.3", "clipped before the step")
def step_clipped_before(real, gradient, lr):
    return real.clamp(-1, 1) - lr * gradient


@mutant("5.3", "the binary weight is returned")
def step_binary(real, gradient, lr):
    return binary.binarize(real - lr * gradient)


@mutant("5.3", "the step starts from the binary weight")
def step_from_sign(real, gradient, lr):
    return (binary.binarize(real) - lr * gradient).clamp(-1, 1)


@mutant("5.3", "the learning rate forgotten")
def step_no_rate(real, gradient, lr):
    return (real - gradient).clamp(-1, 1)


@mutant("5.3", "only the gradient's sign")
def step_sign(real, gradient, lr):
    return (real - lr * gradient.sign()).clamp(-1, 1)


@mutant("5.3", "clipped to [0, 1]")
def step_positive(real, gradient, lr):
    return (real - lr * gradient).clamp(0, 1)


@mutant("5.3", "the update clipped")
def step_update_clipped(real, gradient, lr):
    return real - (lr * gradient).clamp(-1, 1)


@mutant("5.3", "clipped by the learning rate")
def step_clipped_by_rate(real, gradient, lr):
    return (real - lr * gradient).clamp(-lr, lr)


@mutant("5.3", "clipped by size: divided by the largest")
def step_rescaled(real, gradient, lr):
    new = real - lr * gradient
    return new / new.abs().max().clamp(min=1)


@mutant("5.3", "a step that leaves [−1, 1] is not taken")
def step_refused(real, gradient, lr):
    new = real - lr * gradient
    return torch.where(new.abs() <= 1, new, real)


@mutant("5.3", "a weight at the edge stays for ever")
def step_stuck(real, gradient, lr):
    return (real - lr * gradient * (real.abs() < 1)).clamp(-1, 1)


@mutant("5.3", "in place")
def step_in_place(real, gradient, lr):
    return real.sub_(lr * gradient).clamp_(-1, 1)


@mutant("5.3", "in float32")
def step_float(real, gradient, lr):
    return (real.float() - lr * gradient.float()).clamp(-1, 1).to(real.dtype)


@right("5.3")
def step_hardtanh(real, gradient, lr):
    return F.hardtanh(torch.add(real, gradient, alpha=-lr))


@right("5.3")
def step_where(real, gradient, lr):
    new = real - gradient * lr
    return torch.where(new.abs() > 1, new.sign(), new)


@mutant("5.3", "weights at ±1 never leave")
def sgd_stuck(real, gradient, lr):
    return torch.where(real.abs() == 1, real, (real - lr * gradient).clamp(-1, 1))


@mutant("5.3", "computes in single precision")
def sgd_single(real, gradient, lr):
    return (real.float() - lr * gradient.float()).clamp(-1, 1).to(real.dtype)


@mutant("5.3", "a learning rate of 0 is taken for missing")
def sgd_default_lr(real, gradient, lr):
    return (real - (lr or 0.01) * gradient).clamp(-1, 1)


@mutant("5.3", "clips the gradient before the step")
def sgd_clipped_gradient(real, gradient, lr):
    return (real - lr * gradient.clamp(-100, 100)).clamp(-1, 1)


@mutant("5.3", "half precision comes back in single")
def sgd_half_to_single(real, gradient, lr):
    return (real - torch.tensor([lr], dtype=torch.float32) * gradient).clamp(-1, 1).reshape(real.shape)


@mutant("5.3", "ignores small steps")
def sgd_no_small_steps(real, gradient, lr):
    step = lr * gradient
    return (real - torch.where(step.abs() < 1e-5, 0, step)).clamp(-1, 1)


@right("5.3")
def sgd_lerp(real, gradient, lr):
    return torch.minimum(
        torch.maximum(torch.add(real, gradient, alpha=-lr), -torch.ones_like(real)), torch.ones_like(real)
    )


# --- 5.4a pack_bits ---------------------------------------------------------------------------------------------------


def pack_octets(signs, bitorder="little", pad=0, order="<u8", positive=True):
    """Packs as the arguments say."""
    bits = (signs > 0) if positive else (signs < 0)
    padded = np.full((len(signs), -(-signs.shape[1] // 64) * 64), pad, np.uint8)
    padded[:, : signs.shape[1]] = bits
    return np.packbits(padded, axis=1, bitorder=bitorder).view(order).astype(np.uint64)


@mutant("5.4a", "bits from the top (NumPy's default)")
def pack_big(signs):
    return pack_octets(signs, bitorder="big")


@mutant("5.4a", "bytes from the top")
def pack_big_bytes(signs):
    return pack_octets(signs, order=">u8")


@mutant("5.4a", "all from the top")
def pack_big_words(signs):
    return pack_octets(signs, bitorder="big", order=">u8")


@mutant("5.4a", "−1 is 1")
def pack_negative(signs):
    return pack_octets(signs, positive=False)


@mutant("5.4a", "pad bits 1")
def pack_pad_ones(signs):
    return pack_octets(signs, pad=1)


@mutant("5.4a", "words of 32 bits")
def pack_short_words(signs):
    octets = np.packbits(signs > 0, axis=1, bitorder="little")
    padded = np.zeros((len(signs), -(-signs.shape[1] // 32) * 4), np.uint8)
    padded[:, : octets.shape[1]] = octets
    return padded.view("<u4").astype(np.uint64)


@mutant("5.4a", "one word too many if 64 divides K")
def pack_extra_word(signs):
    packed = pack_octets(signs)
    extra = np.zeros((len(packed), 1 if signs.shape[1] % 64 == 0 else 0), np.uint64)
    return np.concatenate([packed, extra], axis=1)


@mutant("5.4a", "the rest of a row is dropped")
def pack_dropped(signs):
    return pack_octets(signs[:, : max(64, signs.shape[1] // 64 * 64)])


@mutant("5.4a", "rows run into one another")
def pack_flat(signs):
    return pack_octets(signs.reshape(1, -1))


@mutant("5.4a", "words through float64, which has 53 digits")
def pack_float_sum(signs):
    padded = np.zeros((len(signs), -(-signs.shape[1] // 64) * 64))
    padded[:, : signs.shape[1]] = signs > 0
    return (padded.reshape(len(signs), -1, 64) * 2.0 ** np.arange(64)).sum(2).clip(max=2.0**64 - 2048).astype(np.uint64)


@mutant("5.4a", "int64")
def pack_signed(signs):
    return pack_octets(signs).view(np.int64)


@mutant("5.4a", "signs cast to bits: −1 is not 0 either")
def pack_truth(signs):
    return pack_octets(signs.astype(bool))


@mutant("5.4a", "word i has the elements i, i + words, …")
def pack_interleaved(signs):
    count = -(-signs.shape[1] // 64)
    padded = -np.ones((len(signs), count * 64))
    padded[:, : signs.shape[1]] = signs
    return pack_octets(padded.reshape(len(signs), 64, count).transpose(0, 2, 1).reshape(len(signs), -1))


@right("5.4a")
def pack_shifts(signs):
    count = -(-signs.shape[1] // 64)
    words = np.zeros((len(signs), count), np.uint64)
    for k in range(signs.shape[1]):
        words[:, k // 64] |= (signs[:, k] > 0).astype(np.uint64) << np.uint64(k % 64)
    return words


@right("5.4a")
def pack_python(signs):
    rows = []
    for row in signs.tolist():
        number = sum(1 << k for k, sign in enumerate(row) if sign > 0)
        rows.append([number >> 64 * i & (1 << 64) - 1 for i in range(-(-len(row) // 64))])
    return np.array(rows, dtype=np.uint64).reshape(len(signs), -(-signs.shape[1] // 64))


@right("5.4a")
def pack_powers(signs):
    padded = np.zeros((len(signs), -(-signs.shape[1] // 64) * 64), np.uint64)
    padded[:, : signs.shape[1]] = signs == 1
    words = padded.reshape(len(signs), padded.shape[1] // 64, 64)
    return (words << np.arange(64, dtype=np.uint64)).sum(2, dtype=np.uint64)


@mutant("5.4a", "takes the values in memory order")
def pack_memory_order(signs):
    rows, length = signs.shape
    flat = (signs > 0).ravel(order="K").reshape(rows, length)
    return binary.pack_bits(np.where(flat, 1, -1))


@mutant("5.4a", "sums powers of two in float64")
def pack_float_sum_again(signs):
    rows, length = signs.shape
    words = -(-length // 64)
    bits = np.zeros((rows, words * 64))
    bits[:, :length] = signs > 0
    return (bits.reshape(rows, words, 64) * 2.0 ** np.arange(64)).sum(axis=2).astype(np.uint64)


@mutant("5.4a", "numbers the places in a byte")
def pack_byte_places(signs):
    rows, length = signs.shape
    words = np.zeros((rows, -(-length // 64)), dtype=np.uint64)
    for k in np.arange(length).astype(np.uint8):
        words[:, k // 64] |= (signs[:, k] > 0).astype(np.uint64) << np.uint64(k % 64)
    return words


@mutant("5.4a", "one word at least, also for no elements")
def pack_one_word_at_least(signs):
    rows, length = signs.shape
    if length == 0:
        return np.zeros((rows, 1), dtype=np.uint64)
    return binary.pack_bits(signs)


@mutant("5.4a", "numbers the rows in a byte")
def pack_rows_in_byte(signs):
    return binary.pack_bits(signs[np.arange(len(signs)).astype(np.uint8)])


@mutant("5.4a", "pads to one word too many when it fits")
def pack_word_too_many(signs):
    rows, length = signs.shape
    words = np.zeros((rows, length // 64 + 1), dtype=np.uint64)
    packed = binary.pack_bits(signs)
    words[:, : packed.shape[1]] = packed
    return words


@right("5.4a")
def pack_by_python_integers(signs):
    rows, length = signs.shape
    words = -(-length // 64)
    table = [
        [sum(1 << j for j, s in enumerate(row[64 * i : 64 * i + 64]) if s > 0) for i in range(words)]
        for row in signs.tolist()
    ]
    return np.array(table, dtype=np.uint64).reshape(rows, words)


@right("5.4a")
def pack_by_or_reduce(signs):
    rows, length = signs.shape
    padded = np.pad(signs > 0, ((0, 0), (0, -length % 64))).reshape(rows, -(-length // 64), 64)
    return np.bitwise_or.reduce(padded.astype(np.uint64) << np.arange(64, dtype=np.uint64), axis=2)


@mutant("5.4a", "one word too many where K is 128, 192, …")
def pack_word_more(signs):
    words = binary.pack_bits(signs)
    more = signs.shape[1] > 64 and signs.shape[1] % 64 == 0
    return np.pad(words, ((0, 0), (0, int(more))))


@mutant("5.4a", "knows four dtypes only")
def pack_four_dtypes(signs):
    positive = {np.dtype(dtype): signs > 0 for dtype in (np.float16, np.float32, np.float64, np.int8, np.int64)}
    return binary.pack_bits(np.where(positive[signs.dtype], 1, -1))


# --- 5.4b xnor_popcount_matmul ----------------------------------------------------------------------------------------


def unequal_bits(a_words, b_words):
    return np.bitwise_count(a_words[:, None] ^ b_words).sum(2, dtype=np.int64)


@mutant("5.4b", "pad bits counted as elements")
def product_padded(a_words, b_words, length):
    return (64 * a_words.shape[1] - 2 * unequal_bits(a_words, b_words)).astype(np.int32)


@mutant("5.4b", "xnor with its pad bits counted as equal")
def product_xnor(a_words, b_words, length):
    equal = np.bitwise_count(~(a_words[:, None] ^ b_words)).sum(2, dtype=np.int64)
    return (2 * equal - length).astype(np.int32)


@mutant("5.4b", "the count of equal bits alone")
def product_equal(a_words, b_words, length):
    return (length - unequal_bits(a_words, b_words)).astype(np.int32)


@mutant("5.4b", "and in place of xor")
def product_and(a_words, b_words, length):
    return (length - 2 * np.bitwise_count(a_words[:, None] & b_words).sum(2, dtype=np.int64)).astype(np.int32)


@mutant("5.4b", "the sign turned round")
def product_negative(a_words, b_words, length):
    return (2 * unequal_bits(a_words, b_words) - length).astype(np.int32)


@mutant("5.4b", "int64")
def product_long(a_words, b_words, length):
    return length - 2 * unequal_bits(a_words, b_words)


@mutant("5.4b", "float32")
def product_float(a_words, b_words, length):
    return (length - 2 * unequal_bits(a_words, b_words)).astype(np.float32)


@mutant("5.4b", "counts in 8 bits")
def product_octet(a_words, b_words, length):
    unequal = np.bitwise_count(a_words[:, None] ^ b_words).sum(2, dtype=np.uint8)
    return (length - 2 * unequal.astype(np.int64)).astype(np.int32)


@mutant("5.4b", "counts in 16 bits")
def product_short(a_words, b_words, length):
    return (length - 2 * unequal_bits(a_words, b_words)).astype(np.int16).astype(np.int32)


@mutant("5.4b", "only the first word")
def product_first_word(a_words, b_words, length):
    return (length - 2 * unequal_bits(a_words[:, :1], b_words[:, :1])).astype(np.int32)


@mutant("5.4b", "transposed")
def product_transposed(a_words, b_words, length):
    return binary.xnor_popcount_matmul(b_words, a_words, length)


@mutant("5.4b", "row by row, not all pairs")
def product_rowwise(a_words, b_words, length):
    return (length - 2 * np.bitwise_count(a_words ^ b_words).sum(1, dtype=np.int64)).astype(np.int32)


@mutant("5.4b", "half of the words of a row")
def product_last_missing(a_words, b_words, length):
    whole = max(1, length // 64)
    return (length - 2 * unequal_bits(a_words[:, :whole], b_words[:, :whole])).astype(np.int32)


@mutant("5.4b", "in place")
def product_in_place(a_words, b_words, length):
    result = binary.xnor_popcount_matmul(a_words, b_words, length)
    a_words ^= b_words[:1]
    return result


@right("5.4b")
def product_broadcast(a_words, b_words, length):
    return (length - 2 * unequal_bits(a_words, b_words)).astype(np.int32)


@right("5.4b")
def product_unpacked(a_words, b_words, length):
    bits = [
        np.unpackbits(w.astype("<u8").view(np.uint8), axis=1, count=length, bitorder="little").astype(np.int32)
        for w in (a_words, b_words)
    ]
    a, b = (2 * each - 1 for each in bits)
    return a @ b.T


@right("5.4b")
def product_xnor_minus_pad(a_words, b_words, length):
    equal = np.bitwise_count(~(a_words[:, None] ^ b_words)).sum(2, dtype=np.int32)
    equal -= np.int32(64 * a_words.shape[1] - length)
    return 2 * equal - np.int32(length)


@right("5.4b")
def product_python(a_words, b_words, length):
    rows = [
        [length - 2 * sum((x ^ y).bit_count() for x, y in zip(a, b, strict=True)) for b in b_words.tolist()]
        for a in a_words.tolist()
    ]
    return np.array(rows, dtype=np.int32)


@mutant("5.4b", "squeezes the result")
def xnor_squeezed(a_words, b_words, length):
    return np.atleast_2d(binary.xnor_popcount_matmul(a_words, b_words, length).squeeze())


@mutant("5.4b", "adds the counts up in bytes")
def xnor_bytes(a_words, b_words, length):
    counts = np.bitwise_count(a_words[:, None, :] ^ b_words[None, :, :])
    return np.int32(length) - 2 * counts.sum(axis=2, dtype=np.uint8).astype(np.int32)


@mutant("5.4b", "adds the counts up in 16 bits")
def xnor_short(a_words, b_words, length):
    counts = np.bitwise_count(a_words[:, None, :] ^ b_words[None, :, :]).sum(axis=2, dtype=np.int16)
    return (np.int16(length % 2**15) - 2 * counts).astype(np.int32)


@mutant("5.4b", "doubles the count before it is widened")
def xnor_doubled_byte(a_words, b_words, length):
    total = np.zeros((len(a_words), len(b_words)), dtype=np.int32)
    for i in range(0, a_words.shape[1], 2):
        counts = np.bitwise_count(a_words[:, None, i : i + 2] ^ b_words[None, :, i : i + 2])
        total += 2 * np.add.reduce(counts, axis=2, dtype=np.uint8)
    return np.int32(length) - total


@mutant("5.4b", "works in blocks of 32 rows and forgets the rest")
def xnor_blocks(a_words, b_words, length):
    result = np.zeros((len(a_words), len(b_words)), dtype=np.int32)
    for start in range(0, max(len(a_words) - 31, 1), 32):
        result[start : start + 32] = binary.xnor_popcount_matmul(a_words[start : start + 32], b_words, length)
    return result


@mutant("5.4b", "a product in half precision")
def xnor_half(a_words, b_words, length):
    def signs(words):
        bits = np.unpackbits(np.ascontiguousarray(words).view(np.uint8), axis=1, bitorder="little")[:, :length]
        return torch.from_numpy(2.0 * bits - 1).to(torch.bfloat16)

    return (signs(a_words) @ signs(b_words).T).to(torch.int32).numpy()


@mutant("5.4b", "takes the first word's count for all when there are no words")
def xnor_no_words(a_words, b_words, length):
    unequal = np.bitwise_count(a_words[:, None, 0] ^ b_words[None, :, 0]).astype(np.int32)
    for i in range(1, a_words.shape[1]):
        unequal += np.bitwise_count(a_words[:, None, i] ^ b_words[None, :, i])
    return np.int32(length) - 2 * unequal


@right("5.4b")
def xnor_by_agreements(a_words, b_words, length):
    words = a_words.shape[1]
    agree = np.bitwise_count(~(a_words[:, None] ^ b_words[None])).sum(axis=-1).astype(np.int64) - (64 * words - length)
    return (2 * agree - length).astype(np.int32)


@right("5.4b")
def xnor_by_bin(a_words, b_words, length):
    rows = [
        [length - 2 * sum((x ^ y).bit_count() for x, y in zip(a, b, strict=True)) for b in b_words.tolist()]
        for a in a_words.tolist()
    ]
    return np.array(rows, dtype=np.int32).reshape(len(a_words), len(b_words))


# --- 5.5 fold_batchnorm_sign ------------------------------------------------------------------------------------------


@mutant("5.5", "gamma < 0 not turned round")
def fold_unturned(gamma, beta, mean, var, eps):
    threshold, direction = binary.fold_batchnorm_sign(gamma, beta, mean, var, eps)
    return threshold, direction.abs()


@mutant("5.5", "threshold rounded down for direction 1")
def fold_floor(gamma, beta, mean, var, eps):
    threshold, direction = binary.fold_batchnorm_sign(gamma, beta, mean, var, eps)
    return torch.where(direction == 0, threshold, threshold.floor()), direction


@mutant("5.5", "threshold rounded up for direction −1")
def fold_ceil(gamma, beta, mean, var, eps):
    threshold, direction = binary.fold_batchnorm_sign(gamma, beta, mean, var, eps)
    return torch.where(direction == 0, threshold, threshold.ceil()), direction


@mutant("5.5", "threshold rounded to the nearest integer")
def fold_round(gamma, beta, mean, var, eps):
    threshold, direction = binary.fold_batchnorm_sign(gamma, beta, mean, var, eps)
    return threshold.round(), direction


@mutant("5.5", "gamma = 0 divides")
def fold_divides(gamma, beta, mean, var, eps):
    gamma, beta, mean, var = gamma.double(), beta.double(), mean.double(), var.double()
    return mean - beta * (var + eps).sqrt() / gamma, gamma.sign().long()


@mutant("5.5", "gamma = 0 always gives +1")
def fold_constant_one(gamma, beta, mean, var, eps):
    threshold, direction = binary.fold_batchnorm_sign(gamma, beta, mean, var, eps)
    return torch.where(direction == 0, 1.0, threshold), direction


@mutant("5.5", "the constant is beta, not its sign")
def fold_constant_beta(gamma, beta, mean, var, eps):
    threshold, direction = binary.fold_batchnorm_sign(gamma, beta, mean, var, eps)
    return torch.where(direction == 0, beta.double(), threshold), direction


@mutant("5.5", "the constant's sign is 0 at beta 0")
def fold_constant_zero(gamma, beta, mean, var, eps):
    threshold, direction = binary.fold_batchnorm_sign(gamma, beta, mean, var, eps)
    return torch.where(direction == 0, beta.double().sign(), threshold), direction


@mutant("5.5", "gamma = 0 made tiny, direction 1")
def fold_tiny_gamma(gamma, beta, mean, var, eps):
    return binary.fold_batchnorm_sign(torch.where(gamma == 0, 1e-12, gamma.double()), beta, mean, var, eps)


@mutant("5.5", "a nearly dead gamma counts as 0")
def fold_dead_gamma(gamma, beta, mean, var, eps):
    return binary.fold_batchnorm_sign(torch.where(gamma.abs() < 1e-8, 0.0, gamma.double()), beta, mean, var, eps)


@mutant("5.5", "variance for standard deviation")
def fold_variance(gamma, beta, mean, var, eps):
    gamma, beta, mean, var = gamma.double(), beta.double(), mean.double(), var.double()
    return binary.fold_batchnorm_sign(gamma, beta, mean, (var + eps) ** 2, 0.0)


@mutant("5.5", "eps outside of the root")
def fold_eps_outside(gamma, beta, mean, var, eps):
    return binary.fold_batchnorm_sign(gamma, beta, mean, (var.double().sqrt() + eps) ** 2, 0.0)


@mutant("5.5", "eps forgotten")
def fold_no_eps(gamma, beta, mean, var, eps):
    return binary.fold_batchnorm_sign(gamma, beta, mean, var, 0.0)


@mutant("5.5", "mean + beta σ / gamma")
def fold_sign_error(gamma, beta, mean, var, eps):
    return binary.fold_batchnorm_sign(gamma, -beta, mean, var, eps)


@mutant("5.5", "gamma forgotten")
def fold_no_gamma(gamma, beta, mean, var, eps):
    threshold, _ = binary.fold_batchnorm_sign(gamma.sign(), beta, mean, var, eps)
    return threshold, gamma.sign().long()


@mutant("5.5", "in float32")
def fold_float(gamma, beta, mean, var, eps):
    gamma, beta, mean, var = gamma.float(), beta.float(), mean.float(), var.float()
    crossing = mean - beta * torch.sqrt(var + eps) / gamma
    return torch.where(gamma == 0, binary.binarize(beta), crossing).double(), gamma.sign().long()


@mutant("5.5", "float32 thresholds")
def fold_float_result(gamma, beta, mean, var, eps):
    threshold, direction = binary.fold_batchnorm_sign(gamma, beta, mean, var, eps)
    return threshold.float(), direction


@mutant("5.5", "the weights' sign is to be turned, so the threshold is negated too")
def fold_negated(gamma, beta, mean, var, eps):
    threshold, direction = binary.fold_batchnorm_sign(gamma, beta, mean, var, eps)
    return torch.where(direction < 0, -threshold, threshold), direction


@mutant("5.5", "> for ≥: a hair added to the threshold")
def fold_hair(gamma, beta, mean, var, eps):
    threshold, direction = binary.fold_batchnorm_sign(gamma, beta, mean, var, eps)
    return threshold + 1e-6 * direction, direction


@mutant("5.5", "≥ is made safe: a hair taken off the threshold")
def fold_safe(gamma, beta, mean, var, eps):
    threshold, direction = binary.fold_batchnorm_sign(gamma, beta, mean, var, eps)
    return threshold - 1e-6 * direction, direction


@right("5.5")
def fold_rounded_rightly(gamma, beta, mean, var, eps):
    threshold, direction = binary.fold_batchnorm_sign(gamma, beta, mean, var, eps)
    return torch.where(direction < 0, threshold.floor(), threshold.ceil()), direction


@right("5.5")
def fold_loop(gamma, beta, mean, var, eps):
    thresholds, directions = [], []
    for g, b, m, v in zip(gamma.tolist(), beta.tolist(), mean.tolist(), var.tolist(), strict=True):
        thresholds.append(m - b * (v + eps) ** 0.5 / g if g else (1.0 if b >= 0 else -1.0))
        directions.append((g > 0) - (g < 0))
    return torch.tensor(thresholds, dtype=torch.float64), torch.tensor(directions)


@mutant("5.5", "directions in int8")
def fold_small_integers(gamma, beta, mean, var, eps):
    threshold, direction = binary.fold_batchnorm_sign(gamma, beta, mean, var, eps)
    return threshold, direction.to(torch.int8)


@right("5.5")
def fold_numpy(gamma, beta, mean, var, eps):
    g, b, m, v = (x.double().numpy() for x in (gamma, beta, mean, var))
    with np.errstate(all="ignore"):
        crossing = m - b / (g / np.sqrt(v + eps))
    return torch.from_numpy(np.where(g == 0, np.where(b < 0, -1.0, 1.0), crossing)), torch.from_numpy(
        np.sign(g).astype(np.int64)
    )


@mutant("5.5", "an eps of 0 is taken for missing")
def fold_default_eps(gamma, beta, mean, var, eps):
    return binary.fold_batchnorm_sign(gamma, beta, mean, var, eps or 1e-5)


@mutant("5.5", "a small gamma is taken for 0")
def fold_small_gamma(gamma, beta, mean, var, eps):
    return binary.fold_batchnorm_sign(torch.where(gamma.abs() < 1e-6, 0, gamma), beta, mean, var, eps)


@mutant("5.5", "directions in float64")
def fold_float_direction(gamma, beta, mean, var, eps):
    threshold, direction = binary.fold_batchnorm_sign(gamma, beta, mean, var, eps)
    return threshold, direction.double()


@mutant("5.5", "keeps thresholds between −1000 and 1000")
def fold_clamped(gamma, beta, mean, var, eps):
    threshold, direction = binary.fold_batchnorm_sign(gamma, beta, mean, var, eps)
    return threshold.clamp(-1000, 1000), direction


@mutant("5.5", "divides in single precision")
def fold_divided_single(gamma, beta, mean, var, eps):
    shift = (beta.float() / gamma.float()).double()
    crossing = mean.double() - shift * torch.sqrt(var.double() + eps)
    return torch.where(gamma == 0, binary.binarize(beta.double()), crossing), gamma.sign().long()


@mutant("5.5", "gamma and beta 0 give direction 0 and threshold 0")
def fold_sign_of_beta(gamma, beta, mean, var, eps):
    threshold, direction = binary.fold_batchnorm_sign(gamma, beta, mean, var, eps)
    return torch.where(gamma == 0, beta.double().sign(), threshold), direction


@mutant("5.5", "keeps the running variance from falling below a thousandth")
def fold_clamped_var(gamma, beta, mean, var, eps):
    return binary.fold_batchnorm_sign(gamma, beta, mean, var.clamp(min=1e-3), eps)


@mutant("5.5", "adds eps in the dtype of var")
def fold_eps_in_dtype(gamma, beta, mean, var, eps):
    return binary.fold_batchnorm_sign(gamma, beta, mean, var + eps, 0.0)


@right("5.5")
def fold_in_numpy(gamma, beta, mean, var, eps):
    g, b, m, v = (x.detach().double().numpy() for x in (gamma, beta, mean, var))
    threshold, direction = np.empty(len(g)), np.empty(len(g), dtype=np.int64)
    for c in range(len(g)):
        if g[c] == 0:
            threshold[c], direction[c] = (1.0 if b[c] >= 0 else -1.0), 0
        else:
            threshold[c], direction[c] = m[c] - b[c] * np.sqrt(v[c] + eps) / g[c], (1 if g[c] > 0 else -1)
    return torch.from_numpy(threshold), torch.from_numpy(direction)


# --- 5.6 scaled_binary ------------------------------------------------------------------------------------------------


def signs_and(scale, weight):
    return binary.binarize(weight), scale(weight.flatten(1))


@mutant("5.6", "one scale for the whole layer")
def scale_layer(weight):
    return signs_and(lambda w: w.abs().mean().expand(len(w)).clone(), weight)


@mutant("5.6", "a sum for a mean: the L1 norm")
def scale_norm(weight):
    return signs_and(lambda w: w.abs().sum(1), weight)


@mutant("5.6", "mean of w, not of |w|")
def scale_signed(weight):
    return signs_and(lambda w: w.mean(1).abs(), weight)


@mutant("5.6", "root mean square")
def scale_root(weight):
    return signs_and(lambda w: w.square().mean(1).sqrt(), weight)


@mutant("5.6", "the largest")
def scale_largest(weight):
    return signs_and(lambda w: w.abs().amax(1), weight)


@mutant("5.6", "the median")
def scale_median(weight):
    return signs_and(lambda w: w.abs().median(1).values, weight)


@mutant("5.6", "mean without the zeros")
def scale_nonzero(weight):
    return signs_and(lambda w: w.abs().sum(1) / w.count_nonzero(1).clamp(min=1), weight)


@mutant("5.6", "mean over the first axis")
def scale_inputs(weight):
    return binary.binarize(weight), weight.abs().mean(0).flatten()[: len(weight)]


@mutant("5.6", "mean over the last axis only")
def scale_last_axis(weight):
    return binary.binarize(weight), weight.abs().mean(-1)


@mutant("5.6", "sign(0) = 0")
def scale_sign_zero(weight):
    return weight.sign(), weight.abs().flatten(1).mean(1)


@mutant("5.6", "signs already scaled")
def scale_multiplied(weight):
    scale = weight.abs().flatten(1).mean(1)
    return binary.binarize(weight) * scale.view(-1, *[1] * (weight.dim() - 1)), scale


@mutant("5.6", "scale with all axes")
def scale_kept_axes(weight):
    return binary.binarize(weight), weight.abs().mean(tuple(range(1, weight.dim())), keepdim=True)


@mutant("5.6", "a small constant against scale 0")
def scale_never_zero(weight):
    return signs_and(lambda w: w.abs().mean(1) + 1e-8, weight)


@mutant("5.6", "in float32")
def scale_float(weight):
    return binary.binarize(weight), weight.float().abs().flatten(1).mean(1).to(weight.dtype)


@mutant("5.6", "swapped")
def scale_swapped(weight):
    return binary.scaled_binary(weight)[::-1]


@mutant("5.6", "centred first")
def scale_centred(weight):
    centred = weight - weight.flatten(1).mean(1).view(-1, *[1] * (weight.dim() - 1))
    return binary.scaled_binary(centred)


@right("5.6")
def scale_projection(weight):
    sign = torch.where(weight < 0, -torch.ones_like(weight), torch.ones_like(weight))
    products = torch.einsum("fn,fn->f", weight.double().flatten(1), sign.double().flatten(1))
    return sign, (products / weight[0].numel()).to(weight.dtype)


@right("5.6")
def scale_axes(weight):
    return binary.binarize(weight), weight.abs().mean(tuple(range(1, weight.dim())))


@right("5.6")
def scale_l1(weight):
    norm = weight.double().reshape(len(weight), -1).norm(p=1, dim=1)
    return binary.binarize(weight), (norm / weight[0].numel()).to(weight.dtype)


@mutant("5.6", "averages over axes 1, 2, 3, or over axis 1")
def scaled_two_cases(weight):
    axes = (1, 2, 3) if weight.dim() == 4 else 1
    return binary.binarize(weight), weight.abs().mean(dim=axes)


@mutant("5.6", "adds up in half precision before it divides")
def scaled_half_sum(weight):
    flat = weight.abs().flatten(1)
    return binary.binarize(weight), flat.sum(dim=1) / flat.shape[1]


@mutant("5.6", "the scale is at least a thousandth")
def scaled_clamped(weight):
    sign, scale = binary.scaled_binary(weight)
    return sign, scale.clamp(min=1e-3)


@mutant("5.6", "zeros do not count in the mean")
def scaled_nonzero_mean(weight):
    flat = weight.abs().flatten(1)
    return binary.binarize(weight), (flat.sum(1) / (flat > 0).sum(1).clamp(min=1)).to(weight.dtype)


@mutant("5.6", "the scale in single precision")
def scaled_single(weight):
    sign, scale = binary.scaled_binary(weight)
    return sign, scale.float() if weight.dtype in (torch.float16, torch.bfloat16) else scale


@mutant("5.6", "one scale as a tensor of no axes where there is one filter")
def scaled_one_filter(weight):
    sign, scale = binary.scaled_binary(weight)
    return sign, scale.squeeze()


@mutant("5.6", "views the weight as a matrix")
def scaled_view(weight):
    return binary.binarize(weight), weight.abs().view(len(weight), -1).mean(1)


@right("5.6")
def scaled_by_stack(weight):
    return torch.where(weight < 0, -1, 1).to(weight.dtype), torch.stack([w.abs().mean() for w in weight.unbind()])


# --- 5.7 binary_forward -----------------------------------------------------------------------------------------------


def forward_with(compare, words, layers, after=lambda sums, layer: sums, packed_length=None):
    """The forward pass with another comparison: of (sums, threshold, direction) -> bool."""
    for weight_words, length, threshold, direction in layers[:-1]:
        sums = binary.xnor_popcount_matmul(words, weight_words, packed_length or length)
        words = binary.pack_bits(np.where(compare(sums, threshold.numpy(), direction.numpy()), 1, -1))
    return after(binary.xnor_popcount_matmul(words, layers[-1][0], layers[-1][1]), layers[-1])


def three_cases(sums, threshold, direction):
    chosen = np.where(direction == 1, sums >= threshold, sums <= threshold)
    return np.where(direction == 0, threshold > 0, chosen)


@mutant("5.7", "> for ≥")
def forward_strict(words, layers):
    def compare(s, t, d):
        return np.where(d == 0, t > 0, np.where(d == 1, s > t, s <= t))

    return forward_with(compare, words, layers)


@mutant("5.7", "< for ≤")
def forward_strict_negative(words, layers):
    def compare(s, t, d):
        return np.where(d == 0, t > 0, np.where(d == 1, s >= t, s < t))

    return forward_with(compare, words, layers)


@mutant("5.7", "direction ignored")
def forward_no_direction(words, layers):
    return forward_with(lambda s, t, d: s >= t, words, layers)


@mutant("5.7", "direction 0 compared like 1")
def forward_zero_compared(words, layers):
    return forward_with(lambda s, t, d: np.where(d >= 0, s >= t, s <= t), words, layers)


@mutant("5.7", "direction 0 compared like −1")
def forward_zero_compared_down(words, layers):
    return forward_with(lambda s, t, d: np.where(d > 0, s >= t, s <= t), words, layers)


@mutant("5.7", "direction · s ≥ direction · threshold for all: a constant −1 becomes +1")
def forward_product(words, layers):
    return forward_with(lambda s, t, d: d * s >= d * t, words, layers)


@mutant("5.7", "direction 0 is always +1")
def forward_zero_positive(words, layers):
    return forward_with(lambda s, t, d: np.where(d == 0, True, three_cases(s, t, d)), words, layers)


@mutant("5.7", "direction · s ≥ threshold")
def forward_threshold_unturned(words, layers):
    return forward_with(lambda s, t, d: np.where(d == 0, t > 0, d * s >= t), words, layers)


@mutant("5.7", "threshold rounded to an integer")
def forward_rounded(words, layers):
    return forward_with(lambda s, t, d: three_cases(s, np.trunc(t), d), words, layers)


@mutant("5.7", "thresholds in float32")
def forward_float(words, layers):
    return forward_with(lambda s, t, d: three_cases(s, t.astype(np.float32), d), words, layers)


@mutant("5.7", "thresholds in int16")
def forward_short(words, layers):
    def compare(s, t, d):
        whole = np.where(d > 0, np.ceil(t), np.floor(t))
        return three_cases(s, whole.clip(-(2**62), 2**62).astype(np.int64).astype(np.int16), d)

    return forward_with(compare, words, layers)


@mutant("5.7", "sign of the last sums")
def forward_last_sign(words, layers):
    return forward_with(three_cases, words, layers, lambda s, layer: np.where(s >= 0, 1, -1).astype(np.int32))


@mutant("5.7", "the class, not the sums")
def forward_class(words, layers):
    return forward_with(three_cases, words, layers, lambda s, layer: s.argmax(1))


@mutant("5.7", "float sums")
def forward_float_sums(words, layers):
    return forward_with(three_cases, words, layers, lambda s, layer: s.astype(np.float32))


@mutant("5.7", "the first layer's length for all")
def forward_first_length(words, layers):
    return forward_with(three_cases, words, layers, packed_length=layers[0][1])


@mutant("5.7", "the last layer's sums counted with pad bits")
def forward_padded_last(words, layers):
    return forward_with(three_cases, words, layers, lambda s, layer: s + np.int32(64 * layer[0].shape[1] - layer[1]))


@mutant("5.7", "hidden signs packed as bits 0 and −1 swapped")
def forward_flipped(words, layers):
    return forward_with(lambda s, t, d: ~three_cases(s, t, d), words, layers)


@mutant("5.7", "only two layers")
def forward_two_layers(words, layers):
    return forward_with(three_cases, words, [layers[0], layers[-1]] if len(layers) > 1 else layers)


@mutant("5.7", "thresholds of the layer before")
def forward_shifted(words, layers):
    if len(layers) < 3:
        return binary.binary_forward(words, layers)
    mixed = [layers[0], *((w, n, t.flip(0), d.flip(0)) for w, n, t, d in layers[1:-1]), layers[-1]]
    return binary.binary_forward(words, mixed)


@mutant("5.7", "the layers are used up")
def forward_pops(words, layers):
    result = binary.binary_forward(words, layers)
    layers.pop()
    return result


@mutant("5.7", "class scores relative to the best")
def forward_relative(words, layers):
    sums = binary.binary_forward(words, layers)
    return sums - sums.max(1, keepdims=True)


@right("5.7")
def forward_cases(words, layers):
    return forward_with(three_cases, words, layers)


@right("5.7")
def forward_signs(words, layers):
    """Unpacked, in float64."""

    def unpack(w, length):
        return 2.0 * np.unpackbits(w.astype("<u8").view(np.uint8), axis=1, count=length, bitorder="little") - 1

    signs = unpack(words, layers[0][1])
    for weight_words, length, threshold, direction in layers:
        signs = signs @ unpack(weight_words, length).T
        if threshold is not None:
            signs = np.where(three_cases(signs, threshold.numpy(), direction.numpy()), 1.0, -1.0)
    return signs.astype(np.int32)


@right("5.7")
def forward_by_torch(words, layers):
    for weight_words, length, threshold, direction in layers:
        sums = torch.from_numpy(binary.xnor_popcount_matmul(words, weight_words, length))
        if threshold is None:
            return sums.numpy()
        signs = torch.where(direction == 1, sums >= threshold, sums <= threshold).float() * 2 - 1
        words = binary.pack_bits(torch.where(direction == 0, threshold.float(), signs).numpy())


@mutant("5.7", "thresholds in single precision")
def forward_single(words, layers):
    return _forward(words, layers, lambda t: np.asarray(t, dtype=np.float32))


@mutant("5.7", "thresholds cut to whole numbers")
def forward_integers(words, layers):
    return _forward(words, layers, lambda t: np.trunc(np.asarray(t)))


@mutant("5.7", "large thresholds count as 0")
def forward_large_zero(words, layers):
    return _forward(words, layers, lambda t: np.where(np.abs(np.asarray(t)) > 2**31, 0, np.asarray(t)))


def _forward(words, layers, change, only=None):
    for place, (weight_words, length, threshold, direction) in enumerate(layers):
        sums = binary.xnor_popcount_matmul(words, weight_words, length)
        if threshold is None:
            return sums
        threshold, direction = change(threshold), np.asarray(direction)
        if only is not None and place >= only:
            direction = np.ones_like(direction)
        positive = np.where(direction == 1, sums >= threshold, sums <= threshold)
        words = binary.pack_bits(np.where(np.where(direction == 0, threshold > 0, positive), 1, -1))
    return sums


@mutant("5.7", "looks at directions in the first layer only")
def forward_first_direction(words, layers):
    return _forward(words, layers, np.asarray, only=1)


@mutant("5.7", "a batch of one comes back without its axis")
def forward_squeezed(words, layers):
    result = _forward(words, layers, np.asarray)
    return result[0] if len(result) == 1 else result


@mutant("5.7", "the sums of a layer in 8 bits")
def forward_int8(words, layers):
    for weight_words, length, threshold, direction in layers[:-1]:
        sums = binary.xnor_popcount_matmul(words, weight_words, length).astype(np.int8)
        threshold, direction = np.asarray(threshold), np.asarray(direction)
        positive = np.where(direction == 0, threshold > 0, direction * sums >= direction * threshold)
        words = binary.pack_bits(np.where(positive, 1, -1))
    return binary.xnor_popcount_matmul(words, layers[-1][0], layers[-1][1])


@mutant("5.7", "two layers, whatever the list holds")
def forward_two_layers_again(words, layers):
    return _forward(words, [*layers[:1], layers[-1]] if len(layers) > 1 else layers, np.asarray)


@right("5.7")
def forward_on_floats(words, layers):
    def unpack(packed, length):
        bits = np.unpackbits(np.ascontiguousarray(packed.astype("<u8")).view(np.uint8), axis=1, bitorder="little")
        return torch.from_numpy(bits[:, :length].astype(np.float64)) * 2 - 1

    hidden = unpack(words, layers[0][1])
    for weight_words, length, threshold, direction in layers:
        sums = hidden @ unpack(weight_words, length).T
        if threshold is None:
            return sums.to(torch.int32).numpy()
        up, down = sums >= threshold, sums <= threshold
        constant = (threshold > 0).expand_as(up)
        hidden = torch.where(
            torch.where(direction == 0, constant, torch.where(direction > 0, up, down)), 1.0, -1.0
        ).double()
    return None


@mutant("5.7", "goes through at most four hidden layers")
def forward_four(words, layers):
    return binary.binary_forward(words, [*layers[:-1][:4], layers[-1]])


@mutant("5.7", "an infinite threshold becomes 0")
def forward_finite(words, layers):
    finite = [
        (words, length, None if t is None else t.nan_to_num(0.0, 0.0, 0.0), direction)
        for words, length, t, direction in layers
    ]
    return binary.binary_forward(words, finite)


EQUIVALENT = {
    "pack_bits: padded.view('<u8').astype(np.uint64) -> padded.view('<u8')": "the same on a little-endian machine",
    "pack_bits: signs > 0 -> signs >= 0": "signs are −1 or +1, never 0",
    "pack_bits: 0 -> -1": "signs are −1 or +1: above −1 is +1",
    "xnor_popcount_matmul: zip(a_words.T, b_words.T, strict=True) -> zip(a_words.T, b_words.T)": "as many in both",
    "xnor_popcount_matmul: True -> False": "strict=False, with as many words in both",
    "xnor_popcount_matmul: np.int32(length) -> length": "a Python int takes the array's dtype",
    "binary_forward: np.asarray(direction) -> direction": "NumPy takes the tensor",
    "binary_forward: threshold > 0 -> threshold >= 0": "the constant sign is −1 or +1, never 0",
    "binary_forward: 0 -> -1": "of threshold > 0: the constant sign is above −1 if it is +1; of direction == 0 killed",
    "binary_forward: 1 -> 2": "pack_bits sees the sign only",
    "binary_forward: 1 -> 0": "−1 becomes −0, which pack_bits does not take for +1 either; the others are killed",
}


@mutant("5.5", "parameters in float64 are rounded to float32 first")
def fold_rounded(gamma, beta, mean, var, eps):
    return binary.fold_batchnorm_sign(gamma.float(), beta.float(), mean.float(), var.float(), eps)
