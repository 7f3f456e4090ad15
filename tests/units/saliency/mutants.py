"""Mutants and right variants of unit 02."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from course_utils import saliency
from tests.checks.catalogue import mutant, right

# --- 2.1 magnitude_saliency -------------------------------------------------------------------------------------------


@mutant("2.1", "the sign survives at odd orders")
def magnitude_signed(weight, order=1):
    return weight**order


@mutant("2.1", "order is ignored")
def magnitude_first_order(weight, order=1):
    return weight.abs()


@mutant("2.1", "the norm of the whole tensor")
def magnitude_norm(weight, order=1):
    return torch.full_like(weight, weight.norm(order).item())


@mutant("2.1", "one saliency per output unit")
def magnitude_rows(weight, order=1):
    return (weight.abs() ** order).flatten(1).sum(1) if weight.dim() > 1 else weight.abs() ** order


@mutant("2.1", "default order 2")
def magnitude_default_two(weight, order=2):
    return weight.abs() ** order


@mutant("2.1", "root of the power, as in a norm")
def magnitude_root(weight, order=1):
    return (weight.abs() ** order) ** (1 / order)


@mutant("2.1", "scaled by the largest weight")
def magnitude_scaled(weight, order=1):
    return (weight.abs() / weight.abs().max()) ** order


@mutant("2.1", "in float32")
def magnitude_float(weight, order=1):
    return (weight.float().abs() ** order).to(weight.dtype)


@mutant("2.1", "absolute value in place")
def magnitude_in_place(weight, order=1):
    return weight.abs_() ** order


@mutant("2.1", "only orders 1 and 2")
def magnitude_two_orders(weight, order=1):
    return weight.abs() if order == 1 else weight * weight


@mutant("2.1", "root of the square, which overflows")
def magnitude_sqrt(weight, order=1):
    return (weight * weight).sqrt() ** order


@mutant("2.1", "absolute value of the power: NaN at fractions")
def magnitude_late_absolute(weight, order=1):
    return (weight**order).abs()


@mutant("2.1", "order cut to a whole number")
def magnitude_whole_order(weight, order=1):
    return weight.abs() ** int(order)


@right("2.1")
def magnitude_where(weight, order=1):
    return torch.where(weight < 0, -weight, weight).pow(order)


@right("2.1")
def magnitude_numpy(weight, order=1):
    return torch.from_numpy(np.abs(weight.double().numpy()) ** order).to(weight.dtype)


@mutant("2.1", "by NumPy, which has no bfloat16")
def magnitude_numpy_only(weight, order=1):
    return torch.from_numpy(np.abs(weight.numpy()) ** order).to(weight.dtype)


@mutant("2.1", "half precision becomes float32")
def magnitude_in_float32(weight, order=1):
    return weight.to(torch.promote_types(weight.dtype, torch.float32)).abs() ** order


@mutant("2.1", "the square root of the square is 0 for small weights")
def magnitude_by_squares(weight, order=1):
    return (weight**2) ** (order / 2)


@mutant("2.1", "transposed weights are an error")
def magnitude_of_a_flat_view(weight, order=1):
    return (weight.view(-1).abs() ** order).view(weight.shape)


@mutant("2.1", "small weights count as 0")
def magnitude_thresholded(weight, order=1):
    size = weight.abs()
    return torch.where(size > 1e-8, size, torch.zeros_like(size)) ** order


@mutant("2.1", "a tensor without entries is an error")
def magnitude_checked(weight, order=1):
    return weight.abs() ** order if weight.abs().max() > 0 else torch.zeros_like(weight)


@right("2.1")
def magnitude_by_numpy(weight, order=1):
    return torch.from_numpy(np.abs(np.asarray(weight.detach().double())) ** float(order)).to(weight.dtype)


# --- 2.2a mean_activation ---------------------------------------------------------------------------------------------


@mutant("2.2a", "mean over the batch only")
def mean_over_batch(activations):
    return activations.mean(0)


@mutant("2.2a", "one mean per example")
def mean_per_example(activations):
    return activations.flatten(1).mean(1)


@mutant("2.2a", "mean of absolute values")
def mean_absolute(activations):
    return activations.abs().transpose(0, 1).flatten(1).mean(1)


@mutant("2.2a", "absolute value of the mean")
def mean_then_absolute(activations):
    return activations.transpose(0, 1).flatten(1).mean(1).abs()


@mutant("2.2a", "sum for mean")
def mean_sum(activations):
    return activations.transpose(0, 1).flatten(1).sum(1)


@mutant("2.2a", "sum over space, mean over the batch")
def mean_space_sum(activations):
    return activations.reshape(*activations.shape[:2], -1).sum(2).mean(0)


@mutant("2.2a", "median for mean")
def mean_median(activations):
    return activations.transpose(0, 1).flatten(1).median(1).values


@mutant("2.2a", "mean after a ReLU")
def mean_relu(activations):
    return activations.relu().transpose(0, 1).flatten(1).mean(1)


@mutant("2.2a", "mean of the positive entries")
def mean_of_active(activations):
    rows = activations.transpose(0, 1).flatten(1)
    return torch.stack([row[row != 0].mean() for row in rows])


@mutant("2.2a", "channels and batch mixed up by view")
def mean_view(activations):
    return activations.reshape(activations.shape[1], -1).mean(1)


@mutant("2.2a", "four axes only")
def mean_four_axes(activations):
    return activations.mean(dim=(0, 2, 3))


@mutant("2.2a", "in float32")
def mean_float(activations):
    return activations.float().transpose(0, 1).flatten(1).mean(1).to(activations.dtype)


@mutant("2.2a", "squeezed: one channel loses its axis")
def mean_squeezed(activations):
    return activations.transpose(0, 1).flatten(1).mean(1).squeeze()


@mutant("2.2a", "two axes of space at most")
def mean_few_axes(activations):
    return activations.mean(((0,), (0, 2), (0, 2, 3))[min(activations.dim(), 4) - 2])


@right("2.2a")
def mean_axes(activations):
    return activations.mean(dim=[axis for axis in range(activations.dim()) if axis != 1])


@right("2.2a")
def mean_numpy(activations):
    array = np.moveaxis(activations.double().numpy(), 1, 0)
    return torch.from_numpy(array.reshape(len(array), -1).mean(1)).to(activations.dtype)


@mutant("2.2a", "by NumPy, which has no bfloat16")
def mean_numpy_only(activations):
    array = np.moveaxis(activations.numpy(), 1, 0)
    return torch.from_numpy(array.reshape(len(array), -1).mean(1))


@right("2.2a")
def mean_einsum(activations):
    x = activations.reshape(*activations.shape[:2], -1)
    return (torch.einsum("bcs->c", x.double()) / (x.shape[0] * x.shape[2])).to(x.dtype)


@mutant("2.2a", "a lone channel loses its axis")
def activation_squeezed(activations):
    return activations.transpose(0, 1).flatten(1).mean(dim=1).squeeze()


@mutant("2.2a", "another memory layout is an error")
def activation_of_a_view(activations):
    batch, channels = activations.shape[:2]
    return activations.view(batch, channels, -1).mean(dim=(0, 2))


@mutant("2.2a", "two axes of space at most")
def activation_up_to_four_axes(activations):
    return activations.mean(dim=[axis for axis in (0, 2, 3) if axis < activations.ndim]).flatten()


@mutant("2.2a", "half precision becomes float32")
def activation_in_float32(activations):
    wide = activations.to(torch.promote_types(activations.dtype, torch.float32))
    return wide.transpose(0, 1).flatten(1).mean(dim=1)


@right("2.2a")
def activation_channel_by_channel(activations):
    return torch.stack([channel.double().mean() for channel in activations.unbind(1)]).to(activations.dtype)


@mutant("2.2a", "a sum in half precision, divided afterwards")
def mean_of_overflowing_sum(activations):
    rows = activations.transpose(0, 1).flatten(1)
    return rows.sum(dim=1) / rows.shape[1]


@mutant("2.2a", "NaN is left out of the mean")
def mean_without_nan(activations):
    return activations.transpose(0, 1).flatten(1).nanmean(dim=1)


# --- 2.2b average_percentage_of_zeros ---------------------------------------------------------------------------------


@mutant("2.2b", "fraction of non-zeros")
def zeros_not(activations):
    return (activations != 0).to(activations.dtype).transpose(0, 1).flatten(1).mean(1)


@mutant("2.2b", "per example")
def zeros_per_example(activations):
    return (activations == 0).to(activations.dtype).flatten(1).mean(1)


@mutant("2.2b", "a percentage")
def zeros_percent(activations):
    return 100 * (activations == 0).to(activations.dtype).transpose(0, 1).flatten(1).mean(1)


@mutant("2.2b", "a count")
def zeros_count(activations):
    return (activations == 0).to(activations.dtype).transpose(0, 1).flatten(1).sum(1)


@mutant("2.2b", "negative values count as zeros")
def zeros_negative(activations):
    return (activations <= 0).to(activations.dtype).transpose(0, 1).flatten(1).mean(1)


@mutant("2.2b", "small values count as zeros")
def zeros_threshold(activations):
    return (activations.abs() < 1e-6).to(activations.dtype).transpose(0, 1).flatten(1).mean(1)


@mutant("2.2b", "one number for all channels")
def zeros_all(activations):
    return (activations == 0).to(activations.dtype).mean()


@mutant("2.2b", "zeros of the mean over space")
def zeros_of_means(activations):
    means = activations.reshape(*activations.shape[:2], -1).mean(2)
    return (means == 0).to(activations.dtype).mean(0)


@mutant("2.2b", "always float32")
def zeros_float(activations):
    return (activations == 0).float().transpose(0, 1).flatten(1).mean(1)


@mutant("2.2b", "divided by the batch only")
def zeros_by_batch(activations):
    return (activations == 0).to(activations.dtype).transpose(0, 1).flatten(1).sum(1) / len(activations)


@mutant("2.2b", "squeezed: one channel loses its axis")
def zeros_squeezed(activations):
    return (activations == 0).to(activations.dtype).transpose(0, 1).flatten(1).mean(1).squeeze()


@mutant("2.2b", "compared in float32")
def zeros_compared_in_float(activations):
    return (activations.float() == 0).to(activations.dtype).transpose(0, 1).flatten(1).mean(1)


@mutant("2.2b", "two axes of space at most")
def zeros_few_axes(activations):
    return mean_few_axes((activations == 0).to(activations.dtype))


@mutant("2.2b", "divided in float32")
def zeros_divided_in_float(activations):
    return (activations == 0).float().transpose(0, 1).flatten(1).mean(1).to(activations.dtype)


@right("2.2b")
def zeros_nonzero(activations):
    rows = activations.transpose(0, 1).flatten(1)
    return 1 - rows.count_nonzero(dim=1).to(activations.dtype) / rows.shape[1]


@right("2.2b")
def zeros_loop(activations):
    result = torch.zeros(activations.shape[1], dtype=activations.dtype)
    for channel in range(activations.shape[1]):
        entries = activations[:, channel].flatten().tolist()
        result[channel] = sum(entry == 0 for entry in entries) / len(entries)
    return result


@mutant("2.2b", "close to 0 counts as 0")
def apoz_isclose(activations):
    zeros = torch.isclose(activations, torch.zeros_like(activations))
    return zeros.to(activations.dtype).transpose(0, 1).flatten(1).mean(dim=1)


@mutant("2.2b", "NaN counts as 0")
def apoz_not_above(activations):
    zeros = ~(activations.abs() > 0)
    return zeros.to(activations.dtype).transpose(0, 1).flatten(1).mean(dim=1)


@mutant("2.2b", "zeros are counted in half precision")
def apoz_counted_in_its_dtype(activations):
    zeros = (activations == 0).to(activations.dtype).transpose(0, 1).flatten(1)
    return zeros.sum(dim=1) / zeros.shape[1]


@mutant("2.2b", "half precision becomes float32")
def apoz_in_float32(activations):
    zeros = (activations == 0).to(torch.promote_types(activations.dtype, torch.float32))
    return zeros.transpose(0, 1).flatten(1).mean(dim=1)


@mutant("2.2b", "two axes of space at most")
def apoz_up_to_four_axes(activations):
    axes = [axis for axis in (0, 2, 3) if axis < activations.ndim]
    return (activations == 0).to(activations.dtype).mean(dim=axes).flatten()


@right("2.2b")
def apoz_by_counting(activations):
    per_channel = activations.numel() // activations.shape[1]
    counts = [per_channel - int(torch.count_nonzero(channel)) for channel in activations.unbind(1)]
    return torch.tensor([count / per_channel for count in counts], dtype=activations.dtype)


# --- 2.2c activation_entropy ------------------------------------------------------------------------------------------


def entropy(responses, bins, low=None, high=None, base=1.0):
    """Entropy by torch.histc, channel by channel; what the mutants and variants below have in common."""
    result = []
    for values in responses.T.double():
        a = values.min() if low is None else low
        b = values.max() if high is None else high
        counts = torch.histc(values, bins, a.item(), b.item())
        p = counts[counts > 0] / counts.sum()
        result.append(-(p * p.log()).sum() / base if len(p) > 1 else p.new_zeros(()))
    return torch.stack(result).to(responses.dtype)


def means(activations):
    return activations.reshape(*activations.shape[:2], -1).mean(2)


@mutant("2.2c", "entropy of raw values, not of means over space")
def entropy_raw(activations, bins):
    return entropy(activations.transpose(0, 1).flatten(1).T, bins)


@mutant("2.2c", "bits for nats")
def entropy_bits(activations, bins):
    return entropy(means(activations), bins, base=np.log(2))


@mutant("2.2c", "normalized by log bins")
def entropy_normalized(activations, bins):
    return entropy(means(activations), bins, base=max(np.log(bins), 1e-9))


@mutant("2.2c", "one range for all channels")
def entropy_global_range(activations, bins):
    m = means(activations)
    return entropy(m, bins, m.min(), m.max())


@mutant("2.2c", "bins from zero")
def entropy_from_zero(activations, bins):
    return (
        entropy(means(activations), bins, low=torch.tensor(0.0))
        if (means(activations) >= 0).all()
        else (entropy(means(activations).abs(), bins, low=torch.tensor(0.0)))
    )


@mutant("2.2c", "a constant channel gives NaN")
def entropy_nan(activations, bins):
    m = means(activations)
    index = ((m - m.amin(0)) / (m.amax(0) - m.amin(0)) * bins).clamp(max=bins - 1)
    p = torch.stack([(index.floor() == b).to(m.dtype).mean(0) for b in range(bins)])
    return torch.where(index.isnan().any(0), torch.full_like(p[0], torch.nan), torch.special.entr(p).sum(0))


@mutant("2.2c", "log of empty bins gives NaN")
def entropy_empty_bins(activations, bins):
    m = means(activations)
    spread = torch.where(m.amax(0) > m.amin(0), m.amax(0) - m.amin(0), 1)
    index = ((m - m.amin(0)) / spread * bins).clamp(max=bins - 1).floor()
    p = torch.stack([(index == b).to(m.dtype).mean(0) for b in range(bins)])
    return -(p * p.log()).sum(0)


@mutant("2.2c", "the largest value falls out of the last bin")
def entropy_maximum_lost(activations, bins):
    m = means(activations)
    spread = torch.where(m.amax(0) > m.amin(0), m.amax(0) - m.amin(0), 1)
    index = ((m - m.amin(0)) * bins / spread).floor()
    p = torch.stack([(index == b).to(m.dtype).mean(0) for b in range(bins)])
    return torch.special.entr(p).sum(0)


@mutant("2.2c", "the largest value has a bin of its own")
def entropy_extra_bin(activations, bins):
    m = means(activations)
    spread = torch.where(m.amax(0) > m.amin(0), m.amax(0) - m.amin(0), 1)
    index = ((m - m.amin(0)) * bins / spread).floor()
    p = torch.stack([(index == b).to(m.dtype).mean(0) for b in range(bins + 1)])
    return torch.special.entr(p).sum(0)


@mutant("2.2c", "bins closed on the right")
def entropy_right_closed(activations, bins):
    m = means(activations)
    result = []
    for values in m.T.contiguous():
        edges = torch.linspace(values.min().item(), values.max().item(), bins + 1, dtype=m.dtype)
        counts = torch.bincount(torch.bucketize(values, edges[1:-1].contiguous()), minlength=bins)
        result.append(torch.special.entr(counts.to(m.dtype) / len(values)).sum())
    return torch.stack(result)


@mutant("2.2c", "a small constant in the divisor")
def entropy_epsilon(activations, bins):
    m = means(activations)
    index = ((m - m.amin(0)) / (m.amax(0) - m.amin(0) + 1e-8) * bins).clamp(max=bins - 1).floor()
    p = torch.stack([(index == b).to(m.dtype).mean(0) for b in range(bins)])
    return torch.special.entr(p).sum(0)


@mutant("2.2c", "the sign is wrong")
def entropy_negative(activations, bins):
    return -entropy(means(activations), bins)


@mutant("2.2c", "one bin too few")
def entropy_fewer_bins(activations, bins):
    return entropy(means(activations), max(1, bins - 1))


@mutant("2.2c", "sum over space for mean, and mean over the batch")
def entropy_over_batch(activations, bins):
    return entropy(activations.mean(0).flatten(1).T if activations.dim() > 2 else activations, bins)


@mutant("2.2c", "softmax of the responses for a histogram")
def entropy_softmax(activations, bins):
    return torch.special.entr(means(activations).softmax(0)).sum(0)


@mutant("2.2c", "always float32")
def entropy_float(activations, bins):
    return entropy(means(activations), bins).float()


@mutant("2.2c", "put into bins in float32")
def entropy_float_bins(activations, bins):
    shares = [torch.histc(values.float(), bins).to(activations.dtype) / len(values) for values in means(activations).T]
    return torch.special.entr(torch.stack(shares)).sum(1)


@right("2.2c")
def entropy_numpy(activations, bins):
    result = []
    for values in means(activations.double()).numpy().T:
        counts, _ = np.histogram(values, bins)
        p = counts[counts > 0] / counts.sum()
        result.append(-(p * np.log(p)).sum())
    return torch.tensor(np.array(result), dtype=activations.dtype)


@mutant("2.2c", "by NumPy, which has no bfloat16")
def entropy_numpy_only(activations, bins):
    activations.numpy()
    return entropy_numpy(activations, bins)


@right("2.2c")
def entropy_histc(activations, bins):
    return entropy(means(activations), bins)


@right("2.2c")
def entropy_counter(activations, bins):
    from collections import Counter
    from math import log

    result = []
    for values in means(activations).T.tolist():
        low, high = min(values), max(values)
        if low == high:
            result.append(0.0)
            continue
        counts = Counter(min(int((value - low) * bins / (high - low)), bins - 1) for value in values)
        result.append(sum(-n / len(values) * log(n / len(values)) for n in counts.values()))
    return torch.tensor(result, dtype=activations.dtype)


@mutant("2.2c", "a small spread counts as none")
def entropy_of_large_spreads(activations, bins):
    responses = activations.flatten(2).mean(2) if activations.ndim > 2 else activations
    entropy = saliency.activation_entropy(activations, bins)
    return torch.where(responses.amax(0) - responses.amin(0) < 1e-6, torch.zeros_like(entropy), entropy)


@mutant("2.2c", "an epsilon widens the bins")
def entropy_with_epsilon(activations, bins):
    responses = activations.reshape(*activations.shape[:2], -1).mean(dim=2)
    low, high = responses.amin(dim=0), responses.amax(dim=0)
    place = ((responses - low) / (high - low + 1e-8) * bins).long().clamp(max=bins - 1)
    share = F.one_hot(place, bins).sum(dim=0).to(activations.dtype) / len(responses)
    return torch.special.entr(share).sum(dim=1)


@mutant("2.2c", "another memory layout is an error")
def entropy_of_a_view(activations, bins):
    return saliency.activation_entropy(activations.view(*activations.shape[:2], -1), bins)


@mutant("2.2c", "a lone channel loses its axis")
def entropy_squeezed(activations, bins):
    return saliency.activation_entropy(activations, bins).squeeze()


@mutant("2.2c", "at most 127 examples in a bin are counted")
def entropy_counted_in_a_byte(activations, bins):
    responses = activations.reshape(*activations.shape[:2], -1).mean(dim=2)
    low, high = responses.amin(dim=0), responses.amax(dim=0)
    spread = torch.where(high > low, high - low, 1)
    place = ((responses - low) * bins / spread).long().clamp(max=bins - 1)
    count = F.one_hot(place, bins).to(torch.uint8).sum(dim=0, dtype=torch.uint8)
    return torch.special.entr(count.to(activations.dtype) / len(responses)).sum(dim=1)


@mutant("2.2c", "half precision becomes float32")
def entropy_in_float32(activations, bins):
    wide = torch.promote_types(activations.dtype, torch.float32)
    return saliency.activation_entropy(activations.to(wide), bins)


@right("2.2c")
def entropy_by_numpy(activations, bins):
    responses = activations.double().reshape(*activations.shape[:2], -1).mean(dim=2)
    entropies = []
    for column in responses.T.numpy():
        share = np.histogram(column, bins)[0] / len(column)
        entropies.append(-sum(p * math.log(p) for p in share if p > 0) if column.min() < column.max() else 0.0)
    return torch.tensor(entropies, dtype=activations.dtype)


# --- 2.2d taylor_saliency ---------------------------------------------------------------------------------------------


@mutant("2.2d", "absolute value of each product")
def taylor_abs_first(activations, gradients):
    return (activations * gradients).abs().transpose(0, 1).flatten(1).mean(1)


@mutant("2.2d", "absolute value after the mean over the batch")
def taylor_abs_last(activations, gradients):
    return (activations * gradients).transpose(0, 1).flatten(1).mean(1).abs()


@mutant("2.2d", "no absolute value")
def taylor_signed(activations, gradients):
    return (activations * gradients).transpose(0, 1).flatten(1).mean(1)


@mutant("2.2d", "mean of activations times mean of gradients")
def taylor_means(activations, gradients):
    return (means(activations) * means(gradients)).abs().mean(0)


@mutant("2.2d", "sum over space")
def taylor_sum(activations, gradients):
    return (activations * gradients).reshape(*activations.shape[:2], -1).sum(2).abs().mean(0)


@mutant("2.2d", "sum over the batch")
def taylor_batch_sum(activations, gradients):
    return (activations * gradients).reshape(*activations.shape[:2], -1).mean(2).abs().sum(0)


@mutant("2.2d", "gradient squared, as a Fisher criterion")
def taylor_fisher(activations, gradients):
    return (activations * gradients).reshape(*activations.shape[:2], -1).mean(2).square().mean(0)


@mutant("2.2d", "one saliency per example")
def taylor_per_example(activations, gradients):
    return (activations * gradients).flatten(1).mean(1).abs()


@mutant("2.2d", "scaled to length 1 over the layer")
def taylor_normalized(activations, gradients):
    result = saliency.taylor_saliency(activations, gradients)
    return result / result.norm()


@mutant("2.2d", "the activation is ignored")
def taylor_gradient_only(activations, gradients):
    return means(gradients).abs().mean(0)


@mutant("2.2d", "in float32")
def taylor_float(activations, gradients):
    return saliency.taylor_saliency(activations.float(), gradients.float()).to(activations.dtype)


@mutant("2.2d", "two axes of space at most")
def taylor_few_axes(activations, gradients):
    products = activations * gradients
    space = tuple(range(2, min(products.dim(), 4)))
    return (products.mean(space) if space else products).abs().mean(0)


@mutant("2.2d", "√(x² + ε) for |x|")
def taylor_smooth(activations, gradients):
    return (means(activations * gradients) ** 2 + 1e-12).sqrt().mean(0)


@right("2.2d")
def taylor_einsum(activations, gradients):
    a, g = (t.reshape(*t.shape[:2], -1) for t in (activations, gradients))
    return torch.einsum("bcs,bcs->bc", a, g).abs().mean(0) / a.shape[2]


@right("2.2d")
def taylor_loop(activations, gradients):
    examples = []
    for a, g in zip(activations, gradients, strict=True):
        examples.append(torch.stack([(x * y).mean().abs() for x, y in zip(a, g, strict=True)]))
    return torch.stack(examples).mean(0)


@mutant("2.2d", "a lone channel loses its axis")
def taylor_squeezed(activations, gradients):
    return saliency.taylor_saliency(activations, gradients).squeeze()


@mutant("2.2d", "another memory layout is an error")
def taylor_of_a_view(activations, gradients):
    batch, channels = activations.shape[:2]
    products = activations.view(batch, channels, -1) * gradients.view(batch, channels, -1)
    return products.mean(dim=2).abs().mean(dim=0)


@mutant("2.2d", "half precision becomes float32")
def taylor_in_float32(activations, gradients):
    wide = torch.promote_types(activations.dtype, torch.float32)
    return saliency.taylor_saliency(activations.to(wide), gradients.to(wide))


@mutant("2.2d", "small saliencies are rounded to 0")
def taylor_rounded(activations, gradients):
    return (saliency.taylor_saliency(activations, gradients) * 1e8).round() / 1e8


@right("2.2d")
def taylor_by_einsum(activations, gradients):
    a, g = (x.double().reshape(*x.shape[:2], -1) for x in (activations, gradients))
    return (torch.einsum("bcs,bcs->bc", a, g).abs().sum(0) / (a.shape[0] * a.shape[2])).to(activations.dtype)


@mutant("2.2d", "the root of a square, which underflows")
def taylor_root_of_square(activations, gradients):
    products = (activations * gradients).reshape(*activations.shape[:2], -1)
    return (products.mean(dim=2) ** 2).sqrt().mean(dim=0)


# --- 2.3 backpropagate_curvature --------------------------------------------------------------------------------------


def recursion(
    weights,
    inputs,
    slopes,
    bends,
    gradient,
    curvature,
    *,
    weight_power=lambda w: w**2,
    slope_power=lambda s: s**2,
    input_power=lambda x: x**2,
    bend_factor=lambda b: b,
    carry_gradient=lambda slope, by_input: slope * by_input,
    clip=lambda c: c,
    mean=lambda c, x: c.T @ x / len(c),
    last=lambda c: c,
):
    """The recursion with its parts exchangeable: what most mutants below change is one of them."""
    curvature = last(curvature)
    result = []
    for layer in range(len(weights) - 1, -1, -1):
        result.append(mean(clip(curvature), input_power(inputs[layer])))
        if layer:
            by_input = gradient @ weights[layer]
            curvature = (
                slope_power(slopes[layer - 1]) * (curvature @ weight_power(weights[layer]))
                + bend_factor(bends[layer - 1]) * by_input
            )
            curvature = clip(curvature)
            gradient = carry_gradient(slopes[layer - 1], by_input)
    return result[::-1]


def recursion_mutant(error, **parts):
    @mutant("2.3", error)
    def changed(weights, inputs, slopes, bends, output_gradient, output_curvature):
        return recursion(weights, inputs, slopes, bends, output_gradient, output_curvature, **parts)


recursion_mutant("bends ignored (Levenberg-Marquardt)", bend_factor=lambda b: 0 * b)
recursion_mutant("bends with the wrong sign", bend_factor=lambda b: -b)
recursion_mutant("W for W²", weight_power=lambda w: w)
recursion_mutant("|W| for W²", weight_power=lambda w: w.abs())
recursion_mutant("slope for slope²", slope_power=lambda s: s)
recursion_mutant("input for input²", input_power=lambda x: x)
recursion_mutant("the gradient is multiplied by slope²", carry_gradient=lambda slope, by_input: slope**2 * by_input)
recursion_mutant("negative curvature cut off", clip=lambda c: c.clamp(min=0))
recursion_mutant("absolute curvature", clip=lambda c: c.abs())
recursion_mutant("sum over the batch", mean=lambda c, x: c.T @ x)
recursion_mutant("mean of the curvatures times mean of the inputs", mean=lambda c, x: torch.outer(c.mean(0), x.mean(0)))
recursion_mutant("divided by the features, not by the batch", mean=lambda c, x: c.T @ x / x.shape[1])
recursion_mutant("the output's curvature squared", last=lambda c: c**2)
recursion_mutant("halved", mean=lambda c, x: 0.5 * c.T @ x / len(c))
recursion_mutant("bends squared", bend_factor=lambda b: b**2)


@mutant("2.3", "the gradient is carried back through the weights only")
def curvature_unsloped_gradient(weights, inputs, slopes, bends, output_gradient, output_curvature):
    result, curvature, gradient = [], output_curvature, output_gradient
    for layer in range(len(weights) - 1, -1, -1):
        result.insert(0, curvature.T @ inputs[layer] ** 2 / len(curvature))
        if layer:
            gradient = gradient @ weights[layer]
            curvature = slopes[layer - 1] ** 2 * (curvature @ weights[layer] ** 2) + bends[layer - 1] * gradient
    return result


@mutant("2.3", "from last layer to first")
def curvature_reversed(*arguments):
    return saliency.backpropagate_curvature(*arguments)[::-1]


@mutant("2.3", "squared gradients for curvature (empirical Fisher)")
def curvature_fisher(weights, inputs, slopes, bends, output_gradient, output_curvature):
    result, gradient = [], output_gradient
    for layer in range(len(weights) - 1, -1, -1):
        result.insert(0, (gradient**2).T @ inputs[layer] ** 2 / len(gradient))
        if layer:
            gradient = slopes[layer - 1] * (gradient @ weights[layer])
    return result


@mutant("2.3", "squares of products of weights: the exact diagonal of a ReLU net without cross terms at the output")
def curvature_products(weights, inputs, slopes, bends, output_gradient, output_curvature):
    result = []
    jacobian = torch.diag_embed(torch.ones_like(output_curvature))  # [batch, classes, units of the layer]
    gradient, bent = output_gradient, torch.zeros_like(output_curvature)
    for layer in range(len(weights) - 1, -1, -1):
        curvature = torch.einsum("bk,bki->bi", output_curvature, jacobian**2) + bent
        result.insert(0, curvature.T @ inputs[layer] ** 2 / len(curvature))
        if layer:
            by_input = gradient @ weights[layer]
            bent = slopes[layer - 1] ** 2 * (bent @ weights[layer] ** 2) + bends[layer - 1] * by_input
            gradient = slopes[layer - 1] * by_input
            jacobian = jacobian @ weights[layer] * slopes[layer - 1].unsqueeze(1)
    return result


@mutant("2.3", "the mean over the batch is taken before going back")
def curvature_mean_first(weights, inputs, slopes, bends, output_gradient, output_curvature):
    def average(tensors):
        return [t.mean(0, keepdim=True) for t in tensors]

    squares = [(x**2).mean(0, keepdim=True).sqrt() for x in inputs]
    return saliency.backpropagate_curvature(
        weights, squares, average(slopes), average(bends), *average([output_gradient, output_curvature])
    )


@mutant("2.3", "always float64")
def curvature_double(*arguments):
    return [h.double() for h in saliency.backpropagate_curvature(*arguments)]


@mutant("2.3", "the weight is squared in place")
def curvature_in_place(weights, inputs, slopes, bends, output_gradient, output_curvature):
    for x in inputs:
        x.pow_(2)
    return recursion(weights, inputs, slopes, bends, output_gradient, output_curvature, input_power=lambda x: x)


@right("2.3")
def curvature_forward_loop(weights, inputs, slopes, bends, output_gradient, output_curvature):
    return recursion(weights, inputs, slopes, bends, output_gradient, output_curvature)


@right("2.3")
def curvature_einsum(weights, inputs, slopes, bends, output_gradient, output_curvature):
    g, c = output_gradient, output_curvature
    result = [torch.einsum("bi,bj->bij", c, inputs[-1].square()).mean(0)]
    for w, x, s, b in zip(weights[:0:-1], inputs[-2::-1], slopes[::-1], bends[::-1], strict=True):
        g, c = (
            torch.einsum("bi,ij,bj->bj", g, w, s),
            torch.einsum("bi,ij,bj->bj", c, w * w, s * s) + torch.einsum("bi,ij,bj->bj", g, w, b),
        )
        result = [torch.einsum("bi,bj->bij", c, x.square()).mean(0), *result]
    return result


@mutant("2.3", "a hidden unit's curvature is never negative")
def curvature_clamped_when_hidden(weights, inputs, slopes, bends, output_gradient, output_curvature):
    gradient, curvature, found = output_gradient, output_curvature, []
    for layer in reversed(range(len(weights))):
        found.insert(0, curvature.T @ inputs[layer] ** 2 / len(curvature))
        if layer > 0:
            slope, back = slopes[layer - 1], gradient @ weights[layer]
            curvature = (slope**2 * (curvature @ weights[layer] ** 2) + bends[layer - 1] * back).clamp(min=0)
            gradient = slope * back
    return found


@mutant("2.3", "one layer alone is an error")
def curvature_of_hidden_layers(weights, inputs, slopes, bends, output_gradient, output_curvature):
    assert slopes[0].shape == bends[0].shape
    return saliency.backpropagate_curvature(weights, inputs, slopes, bends, output_gradient, output_curvature)


@mutant("2.3", "a batch of one loses its axis")
def curvature_squeezed(weights, inputs, slopes, bends, output_gradient, output_curvature):
    found = saliency.backpropagate_curvature(weights, inputs, slopes, bends, output_gradient, output_curvature)
    return [each.squeeze() for each in found]


@mutant("2.3", "half precision and float64 become float32")
def curvature_in_float32(weights, inputs, slopes, bends, output_gradient, output_curvature):
    lists = [[x.float() for x in each] for each in (weights, inputs, slopes, bends)]
    return saliency.backpropagate_curvature(*lists, output_gradient.float(), output_curvature.float())


@mutant("2.3", "tiny curvatures are cut off")
def curvature_cut_off(weights, inputs, slopes, bends, output_gradient, output_curvature):
    found = saliency.backpropagate_curvature(weights, inputs, slopes, bends, output_gradient, output_curvature)
    return [torch.where(each.abs() < 1e-7, torch.zeros_like(each), each) for each in found]


@right("2.3")
def curvature_example_by_example(weights, inputs, slopes, bends, output_gradient, output_curvature):
    found = [torch.zeros_like(weight, dtype=torch.float64) for weight in weights]
    for example in range(len(output_gradient)):
        gradient, curvature = output_gradient[example].double(), output_curvature[example].double()
        for layer in range(len(weights) - 1, -1, -1):
            weight, x = weights[layer].double(), inputs[layer][example].double()
            found[layer] += torch.outer(curvature, x * x)
            if layer:
                slope, bend = slopes[layer - 1][example].double(), bends[layer - 1][example].double()
                back = weight.T.mv(gradient)
                curvature = slope.square() * weight.square().T.mv(curvature) + bend * back
                gradient = slope * back
    return [(total / len(output_gradient)).to(weights[0].dtype) for total in found]


@mutant("2.3", "one layer: negative curvature cut off")
def curvature_of_one_layer_clamped(weights, inputs, slopes, bends, output_gradient, output_curvature):
    got = recursion(weights, inputs, slopes, bends, output_gradient, output_curvature)
    return got if len(got) > 1 else [got[0].clamp(min=0)]


# --- 2.4 obd_saliency -------------------------------------------------------------------------------------------------


@mutant("2.4", "½ forgotten")
def obd_whole(weight, curvature):
    return curvature * weight**2


@mutant("2.4", "|w| for w²")
def obd_absolute_weight(weight, curvature):
    return 0.5 * curvature * weight.abs()


@mutant("2.4", "|h|")
def obd_absolute_curvature(weight, curvature):
    return 0.5 * curvature.abs() * weight**2


@mutant("2.4", "negative saliencies cut off")
def obd_clamped(weight, curvature):
    return (0.5 * curvature * weight**2).clamp(min=0)


@mutant("2.4", "curvature squared too")
def obd_square_of_product(weight, curvature):
    return 0.5 * (curvature * weight) ** 2


@mutant("2.4", "w² divided by curvature, as in Optimal Brain Surgeon")
def obd_surgeon(weight, curvature):
    return 0.5 * weight**2 / curvature


@mutant("2.4", "first order: h·w")
def obd_first_order(weight, curvature):
    return 0.5 * curvature * weight


@mutant("2.4", "one number for the tensor")
def obd_total(weight, curvature):
    return (0.5 * curvature * weight**2).sum()


@mutant("2.4", "in float32")
def obd_float(weight, curvature):
    return (0.5 * curvature.float() * weight.float() ** 2).to(weight.dtype)


@mutant("2.4", "in place")
def obd_in_place(weight, curvature):
    return curvature.mul_(weight**2).mul_(0.5)


@mutant("2.4", "magnitude where the curvature is 0")
def obd_flat_direction(weight, curvature):
    return 0.5 * torch.where(curvature == 0, 1, curvature) * weight**2


@right("2.4")
def obd_halved(weight, curvature):
    return curvature * weight * weight / 2


@right("2.4")
def obd_addcmul(weight, curvature):
    return torch.addcmul(torch.zeros_like(weight), weight.square(), curvature, value=0.5)


@mutant("2.4", "half precision becomes float32")
def obd_in_float32(weight, curvature):
    wide = torch.promote_types(weight.dtype, torch.float32)
    return 0.5 * curvature.to(wide) * weight.to(wide) ** 2


@mutant("2.4", "transposed weights are an error")
def obd_of_a_flat_view(weight, curvature):
    return (0.5 * curvature.view(-1) * weight.view(-1) ** 2).view(weight.shape)


@mutant("2.4", "small saliencies are rounded to 0")
def obd_rounded(weight, curvature):
    return (0.5 * curvature * weight**2 * 1e8).round() / 1e8


@mutant("2.4", "always at least one axis")
def obd_at_least_one_axis(weight, curvature):
    return torch.atleast_1d(0.5 * curvature * weight**2)


@right("2.4")
def obd_by_products(weight, curvature):
    return (weight.double() * (curvature.double() * weight.double()) / 2).to(weight.dtype)


# --- 2.5 predicted_loss_increase --------------------------------------------------------------------------------------


@mutant("2.5", "sums what is kept")
def increase_kept(saliencies, masks):
    return sum(s[masks[name]].sum() for name, s in saliencies.items())


@mutant("2.5", "mean for sum")
def increase_mean(saliencies, masks):
    return torch.cat([s[~masks[name]].flatten() for name, s in saliencies.items()]).mean().nan_to_num()


@mutant("2.5", "absolute saliencies")
def increase_absolute(saliencies, masks):
    return sum(s[~masks[name]].abs().sum() for name, s in saliencies.items())


@mutant("2.5", "negative saliencies left out")
def increase_positive(saliencies, masks):
    return sum(s[~masks[name]].clamp(min=0).sum() for name, s in saliencies.items())


@mutant("2.5", "matched by position")
def increase_by_position(saliencies, masks):
    return sum(
        s.flatten()[: m.numel()][~m.flatten()[: s.numel()]].sum()
        for s, m in zip(saliencies.values(), masks.values(), strict=True)
    )


@mutant("2.5", "only the last tensor")
def increase_last(saliencies, masks):
    for name, s in saliencies.items():
        total = s[~masks[name]].sum()
    return total


@mutant("2.5", "halved once more")
def increase_half(saliencies, masks):
    return 0.5 * sum(s[~masks[name]].sum() for name, s in saliencies.items())


@mutant("2.5", "a number per tensor")
def increase_dict(saliencies, masks):
    return {name: s[~masks[name]].sum() for name, s in saliencies.items()}


@mutant("2.5", "in float32")
def increase_float(saliencies, masks):
    return sum(s.float()[~masks[name]].sum() for name, s in saliencies.items())


@mutant("2.5", "kept saliencies set to 0 in place")
def increase_in_place(saliencies, masks):
    for name, s in saliencies.items():
        s[masks[name]] = 0
    return sum(s.sum() for s in saliencies.values())


@mutant("2.5", "total minus the absolute of what is kept")
def increase_total_minus(saliencies, masks):
    return sum(s.sum() - s[masks[name]].abs().sum() for name, s in saliencies.items())


@right("2.5")
def increase_filled(saliencies, masks):
    return sum(s.masked_fill(masks[name], 0).sum() for name, s in saliencies.items())


@mutant("2.5", "a float, not a tensor")
def increase_float_number(saliencies, masks):
    return float(sum(s.double()[~masks[name]].sum() for name, s in saliencies.items()))


@mutant("2.5", "masks go by their place, not by their name")
def increase_by_place(saliencies, masks):
    pairs = zip(saliencies.values(), masks.values(), strict=True)
    return torch.cat([each[~mask] for each, mask in pairs]).sum()


@mutant("2.5", "the sum begins with a float32 zero")
def increase_from_a_float32_zero(saliencies, masks):
    total = torch.tensor(0.0)
    for name, each in saliencies.items():
        total = total + each[~masks[name]].sum()
    return total


@mutant("2.5", "tensors of which everything is kept are an error")
def increase_of_something_deleted(saliencies, masks):
    return sum(torch.stack(list(saliencies[name][~masks[name]])).sum() for name in saliencies)


@mutant("2.5", "infinite saliencies are left out")
def increase_of_finite_ones(saliencies, masks):
    deleted = torch.cat([saliencies[name][~masks[name]] for name in saliencies])
    return deleted[deleted.isfinite()].sum()


@right("2.5")
def increase_by_fsum(saliencies, masks):
    deleted = [x for name, s in saliencies.items() for x in s.double().masked_select(~masks[name]).tolist()]
    total = math.fsum(deleted) if all(map(math.isfinite, deleted)) else sum(deleted)
    return torch.tensor(total, dtype=next(iter(saliencies.values())).dtype)


@mutant("2.5", "a product with the mask: a kept infinity makes NaN")
def increase_by_product(saliencies, masks):
    return torch.stack([(saliency * ~masks[name]).sum() for name, saliency in saliencies.items()]).sum()


# --- 2.6 keep_top -----------------------------------------------------------------------------------------------------


def split(kept, saliencies):
    parts = kept.split([s.numel() for s in saliencies.values()])
    return {name: part.view(s.shape) for part, (name, s) in zip(parts, saliencies.items(), strict=True)}


def join(saliencies):
    return torch.cat([s.reshape(-1) for s in saliencies.values()])


def by_order(order, count, saliencies):
    kept = torch.zeros(len(order), dtype=torch.bool)
    kept[order[:count]] = True
    return split(kept, saliencies)


def stable(flat):
    return torch.sort(flat, descending=True, stable=True).indices


def keep_mutant(error, key=lambda flat: flat, count=lambda k, n: round(k * n)):
    @mutant("2.6", error)
    def changed(saliencies, keep_fraction):
        flat = join(saliencies)
        return by_order(stable(key(flat)), max(0, min(len(flat), count(keep_fraction, len(flat)))), saliencies)


keep_mutant("the smallest are kept", key=lambda flat: -flat)
keep_mutant("largest absolute value", key=lambda flat: flat.abs())
keep_mutant("negative saliencies count as 0", key=lambda flat: flat.clamp(min=0))
keep_mutant("ranked in float32", key=lambda flat: flat.float())
keep_mutant("ranked after rounding to 6 digits", key=lambda flat: (flat * 1e6).round())
keep_mutant("one too many", count=lambda k, n: round(k * n) + 1)
keep_mutant("one too few", count=lambda k, n: round(k * n) - 1)
keep_mutant("int() for round()", count=lambda k, n: int(k * n))
keep_mutant("rounded up", count=lambda k, n: int(np.ceil(k * n)))
keep_mutant("halves rounded up", count=lambda k, n: int(k * n + 0.5))
keep_mutant("the fraction is removed, not kept", count=lambda k, n: n - round(k * n))
keep_mutant("n − round((1 − keep)·n)", count=lambda k, n: n - round((1 - k) * n))
keep_mutant("at least one is kept", count=lambda k, n: max(1, round(k * n)))


@mutant("2.6", "per layer for global")
def keep_per_layer(saliencies, keep_fraction):
    return {name: saliency for n, s in saliencies.items() for name, saliency in saliency_top({n: s}, keep_fraction)}


def saliency_top(saliencies, keep_fraction):
    return saliency.keep_top(saliencies, keep_fraction).items()


@mutant("2.6", "a threshold keeps all equals")
def keep_threshold(saliencies, keep_fraction):
    flat = join(saliencies)
    count = round(keep_fraction * len(flat))
    if count == 0:
        return split(torch.zeros(len(flat), dtype=torch.bool), saliencies)
    return split(flat >= flat.sort(descending=True).values[count - 1], saliencies)


@mutant("2.6", "a threshold removes all equals")
def keep_above_threshold(saliencies, keep_fraction):
    flat = join(saliencies)
    count = round(keep_fraction * len(flat))
    if count == len(flat):
        return split(torch.ones(len(flat), dtype=torch.bool), saliencies)
    return split(flat > flat.sort(descending=True).values[count], saliencies)


@mutant("2.6", "quantile")
def keep_quantile(saliencies, keep_fraction):
    flat = join(saliencies)
    return split(flat > flat.nan_to_num(posinf=1e30).quantile(1 - keep_fraction), saliencies)


@mutant("2.6", "topk picks any of equals")
def keep_topk(saliencies, keep_fraction):
    flat = join(saliencies)
    kept = torch.zeros(len(flat), dtype=torch.bool)
    kept[flat.topk(round(keep_fraction * len(flat))).indices] = True
    return split(kept, saliencies)


@mutant("2.6", "unstable sort")
def keep_unstable(saliencies, keep_fraction):
    flat = join(saliencies)
    order = torch.from_numpy(np.argsort(-flat.numpy(), kind="quicksort").copy())
    return by_order(order, round(keep_fraction * len(flat)), saliencies)


@mutant("2.6", "of equals the last: an ascending sort, read from its end")
def keep_last_of_equals(saliencies, keep_fraction):
    flat = join(saliencies)
    order = torch.sort(flat, stable=True).indices.flip(0)
    return by_order(order, round(keep_fraction * len(flat)), saliencies)


@mutant("2.6", "of equals the first in the order of names")
def keep_by_name(saliencies, keep_fraction):
    masks = saliency.keep_top({name: saliencies[name] for name in sorted(saliencies)}, keep_fraction)
    return {name: masks[name] for name in saliencies}


@mutant("2.6", "ties broken by a small number")
def keep_tie_breaker(saliencies, keep_fraction):
    flat = join(saliencies)
    order = stable(flat - 1e-9 * torch.arange(len(flat)))
    return by_order(order, round(keep_fraction * len(flat)), saliencies)


@mutant("2.6", "column by column in a transposed matrix")
def keep_memory_order(saliencies, keep_fraction):
    flat = torch.cat([s.t().reshape(-1) if s.dim() == 2 else s.reshape(-1) for s in saliencies.values()])
    masks = by_order(stable(flat), round(keep_fraction * len(flat)), saliencies)
    return {name: mask.reshape(mask.shape[::-1]).t() if mask.dim() == 2 else mask for name, mask in masks.items()}


@mutant("2.6", "float masks")
def keep_float(saliencies, keep_fraction):
    return {name: mask.float() for name, mask in saliency_top(saliencies, keep_fraction)}


@mutant("2.6", "flat masks")
def keep_flat(saliencies, keep_fraction):
    return {name: mask.flatten() for name, mask in saliency_top(saliencies, keep_fraction)}


@mutant("2.6", "round per layer, then as many in all")
def keep_rounded_per_layer(saliencies, keep_fraction):
    flat = join(saliencies)
    count = sum(round(keep_fraction * s.numel()) for s in saliencies.values())
    return by_order(stable(flat), count, saliencies)


@mutant("2.6", "True means removed")
def keep_inverted(saliencies, keep_fraction):
    return {name: ~mask for name, mask in saliency_top(saliencies, keep_fraction)}


@mutant("2.6", "the largest again and again, the found ones set to −1e9")
def keep_argmax(saliencies, keep_fraction):
    flat = join(saliencies).clone()
    kept = torch.zeros(len(flat), dtype=torch.bool)
    for _ in range(round(keep_fraction * len(flat))):
        kept[flat.argmax()] = True
        flat[kept] = -1e9
    return split(kept, saliencies)


@right("2.6")
def keep_numpy(saliencies, keep_fraction):
    flat = join(saliencies).double().numpy()
    order = np.lexsort((np.arange(len(flat)), -flat))
    return by_order(torch.from_numpy(order.copy()), round(keep_fraction * len(flat)), saliencies)


@mutant("2.6", "by NumPy, which has no bfloat16")
def keep_numpy_only(saliencies, keep_fraction):
    order = np.argsort(-join(saliencies).numpy(), kind="stable")
    return by_order(torch.from_numpy(order.copy()), round(keep_fraction * len(order)), saliencies)


@right("2.6")
def keep_python(saliencies, keep_fraction):
    entries = [(-value, i) for i, value in enumerate(join(saliencies).tolist())]
    kept = torch.zeros(len(entries), dtype=torch.bool)
    for _, i in sorted(entries)[: round(keep_fraction * len(entries))]:
        kept[i] = True
    return split(kept, saliencies)


@right("2.6")
def keep_threshold_and_ties(saliencies, keep_fraction):
    flat = join(saliencies)
    count = round(keep_fraction * len(flat))
    if count == 0:
        return split(torch.zeros(len(flat), dtype=torch.bool), saliencies)
    threshold = flat.kthvalue(len(flat) - count + 1).values
    kept = flat > threshold
    kept[(flat == threshold).nonzero().flatten()[: count - int(kept.sum())]] = True
    return split(kept, saliencies)


@mutant("2.6", "a fraction of 0 is taken for missing")
def keep_fraction_or_all(saliencies, keep_fraction):
    return saliency.keep_top(saliencies, keep_fraction or 1.0)


@mutant("2.6", "transposed saliencies are an error")
def keep_of_flat_views(saliencies, keep_fraction):
    return saliency.keep_top({name: s.view(-1).view(s.shape) for name, s in saliencies.items()}, keep_fraction)


@mutant("2.6", "transposed saliencies are read as they lie in memory")
def keep_in_memory_order(saliencies, keep_fraction):
    flat = np.concatenate([s.numpy().ravel(order="K") for s in saliencies.values()])
    kept = np.zeros(len(flat), dtype=bool)
    kept[np.argsort(-flat, kind="stable")[: round(keep_fraction * len(flat))]] = True
    parts = np.split(kept, np.cumsum([s.numel() for s in saliencies.values()])[:-1])
    pairs = zip(saliencies.items(), parts, strict=True)
    return {name: torch.from_numpy(part.reshape(tuple(s.shape))) for (name, s), part in pairs}


@mutant("2.6", "among equals the names decide, in alphabetical order")
def keep_in_order_of_names(saliencies, keep_fraction):
    masks = saliency.keep_top({name: saliencies[name] for name in sorted(saliencies)}, keep_fraction)
    return {name: masks[name] for name in saliencies}


@mutant("2.6", "the best is taken out, and becomes -1")
def keep_greedily(saliencies, keep_fraction):
    flat = torch.cat([s.flatten() for s in saliencies.values()])
    kept = torch.zeros(len(flat), dtype=torch.bool)
    left = flat.clone()
    for _ in range(round(keep_fraction * len(flat))):
        best = left.argmax()
        kept[best], left[best] = True, -1e9
    parts = kept.split([s.numel() for s in saliencies.values()])
    return {name: part.view(s.shape) for (name, s), part in zip(saliencies.items(), parts, strict=True)}


@mutant("2.6", "places are counted in a byte")
def keep_with_places_in_a_byte(saliencies, keep_fraction):
    flat = torch.cat([s.flatten() for s in saliencies.values()])
    order = torch.sort(flat, descending=True, stable=True).indices.numpy().astype(np.uint8)
    kept = torch.zeros(len(flat), dtype=torch.bool)
    kept[torch.from_numpy(order[: round(keep_fraction * len(flat))].astype(np.int64))] = True
    parts = kept.split([s.numel() for s in saliencies.values()])
    return {name: part.view(s.shape) for (name, s), part in zip(saliencies.items(), parts, strict=True)}


@mutant("2.6", "saliencies are compared as float32")
def keep_in_float32(saliencies, keep_fraction):
    return saliency.keep_top({name: s.float() for name, s in saliencies.items()}, keep_fraction)


@right("2.6")
def keep_by_sorted_tuples(saliencies, keep_fraction):
    entries = [
        (-value, number, place)
        for number, s in enumerate(saliencies.values())
        for place, value in enumerate(s.flatten().tolist())
    ]
    kept = {entry[1:] for entry in sorted(entries)[: round(keep_fraction * len(entries))]}
    return {
        name: torch.tensor([(number, place) in kept for place in range(s.numel())], dtype=torch.bool).view(s.shape)
        for number, (name, s) in enumerate(saliencies.items())
    }


@mutant("2.6", "a saliency of 0 comes after the negative ones")
def keep_zeros_last(saliencies, keep_fraction):
    return saliency.keep_top({name: s.masked_fill(s == 0, -math.inf) for name, s in saliencies.items()}, keep_fraction)


# --- 2.7 obd_prune ----------------------------------------------------------------------------------------------------


def prune_with(rank, state, curvatures, keep_fraction):
    masks = saliency.keep_top({name: rank(state[name], h) for name, h in curvatures.items()}, keep_fraction)
    zeros = {name: torch.zeros_like(value) for name, value in state.items()}
    pruned = {name: torch.where(mask, state[name], zeros[name]) for name, mask in masks.items()}
    return {name: pruned.get(name, value.clone()) for name, value in state.items()}, masks


def prune_mutant(error, rank):
    @mutant("2.7", error)
    def changed(state, curvatures, keep_fraction):
        return prune_with(rank, state, curvatures, keep_fraction)


prune_mutant("magnitude, not saliency", lambda w, h: w.abs())
prune_mutant("|w| for w²", lambda w, h: h * w.abs())
prune_mutant("|h|", lambda w, h: h.abs() * w**2)
prune_mutant("curvature alone", lambda w, h: h)
prune_mutant("negative saliencies cut off", lambda w, h: (h * w**2).clamp(min=0))
prune_mutant("the smallest are kept", lambda w, h: -h * w**2)
prune_mutant("w² divided by curvature", lambda w, h: w**2 / h)


@mutant("2.7", "per layer for global")
def prune_per_layer(state, curvatures, keep_fraction):
    masks = {
        name: saliency.keep_top({name: saliency.obd_saliency(state[name], h)}, keep_fraction)[name]
        for name, h in curvatures.items()
    }
    return {name: value * masks[name] if name in masks else value for name, value in state.items()}, masks


@mutant("2.7", "all tensors are counted")
def prune_counts_all(state, curvatures, keep_fraction):
    n, prunable = sum(v.numel() for v in state.values()), sum(h.numel() for h in curvatures.values())
    fraction = min(1.0, max(0.0, 1 - (1 - keep_fraction) * n / prunable))
    return saliency.obd_prune(state, curvatures, fraction)


@mutant("2.7", "biases are pruned by magnitude")
def prune_biases(state, curvatures, keep_fraction):
    pruned, masks = saliency.obd_prune(state, curvatures, keep_fraction)
    for name, value in state.items():
        if name not in masks and value.is_floating_point():
            pruned[name] = value * (value.abs() > 1e-3)
    return pruned, masks


@mutant("2.7", "tensors without curvature are dropped")
def prune_drops(state, curvatures, keep_fraction):
    pruned, masks = saliency.obd_prune(state, curvatures, keep_fraction)
    return {name: pruned[name] for name in masks}, masks


@mutant("2.7", "True means removed")
def prune_inverted(state, curvatures, keep_fraction):
    pruned, masks = saliency.obd_prune(state, curvatures, keep_fraction)
    return pruned, {name: ~mask for name, mask in masks.items()}


@mutant("2.7", "masks are not applied")
def prune_not_applied(state, curvatures, keep_fraction):
    return dict(state), saliency.obd_prune(state, curvatures, keep_fraction)[1]


@mutant("2.7", "saliencies instead of weights come back")
def prune_returns_saliencies(state, curvatures, keep_fraction):
    pruned, masks = saliency.obd_prune(state, curvatures, keep_fraction)
    for name, h in curvatures.items():
        pruned[name] = saliency.obd_saliency(state[name], h) * masks[name]
    return pruned, masks


@mutant("2.7", "masks come first")
def prune_masks_first(state, curvatures, keep_fraction):
    return saliency.obd_prune(state, curvatures, keep_fraction)[::-1]


@mutant("2.7", "weights are zeroed in place")
def prune_in_place(state, curvatures, keep_fraction):
    masks = saliency.obd_prune(state, curvatures, keep_fraction)[1]
    for name, mask in masks.items():
        state[name].mul_(mask)
    return dict(state), masks


@mutant("2.7", "matched by position")
def prune_by_position(state, curvatures, keep_fraction):
    names = [name for name in state if name in curvatures]
    scores = {
        n: (state[n].flatten() ** 2 * h.flatten()).view_as(state[n])
        for n, h in zip(names, curvatures.values(), strict=True)
    }
    masks = saliency.keep_top(scores, keep_fraction)
    return {name: value * masks[name] if name in masks else value for name, value in state.items()}, masks


@mutant("2.7", "the fraction is removed, not kept")
def prune_fraction_removed(state, curvatures, keep_fraction):
    return saliency.obd_prune(state, curvatures, 1 - keep_fraction)


@mutant("2.7", "kept weights are scaled up")
def prune_rescaled(state, curvatures, keep_fraction):
    pruned, masks = saliency.obd_prune(state, curvatures, keep_fraction)
    for name in masks:
        pruned[name] = pruned[name] / max(keep_fraction, 1e-3)
    return pruned, masks


@mutant("2.7", "counters become float")
def prune_float_counters(state, curvatures, keep_fraction):
    pruned, masks = saliency.obd_prune(state, curvatures, keep_fraction)
    return {name: value * 1.0 for name, value in pruned.items()}, masks


@mutant("2.7", "a threshold keeps all equals")
def prune_threshold(state, curvatures, keep_fraction):
    masks = keep_threshold({name: h * state[name] ** 2 for name, h in curvatures.items()}, keep_fraction)
    return {name: value * masks[name] if name in masks else value for name, value in state.items()}, masks


@mutant("2.7", "weights that are 0 already go first")
def prune_zeros_first(state, curvatures, keep_fraction):
    return prune_with(lambda w, h: torch.where(w == 0, -torch.inf, h * w**2), state, curvatures, keep_fraction)


@mutant("2.7", "masks say where the state is not 0")
def prune_masks_of_state(state, curvatures, keep_fraction):
    pruned, masks = saliency.obd_prune(state, curvatures, keep_fraction)
    return pruned, {name: pruned[name] != 0 for name in masks}


@mutant("2.7", "zeros are written into a flat copy of a weight stored by columns")
def prune_flat_copy(state, curvatures, keep_fraction):
    masks = saliency.obd_prune(state, curvatures, keep_fraction)[1]
    pruned = {name: value.clone() for name, value in state.items()}
    for name, mask in masks.items():
        pruned[name].flatten()[~mask.flatten()] = 0
    return pruned, masks


@mutant("2.7", "int() for round()")
def prune_cut(state, curvatures, keep_fraction):
    flat = join({name: h * state[name] ** 2 for name, h in curvatures.items()})
    masks = by_order(stable(flat), int(keep_fraction * len(flat)), curvatures)
    return {name: value * masks[name] if name in masks else value for name, value in state.items()}, masks


@right("2.7")
def prune_product(state, curvatures, keep_fraction):
    return prune_with(lambda w, h: h * w * w, state, curvatures, keep_fraction)


@mutant("2.7", "masks for the tensors without curvature, too")
def prune_all_masks(state, curvatures, keep_fraction):
    scores = {name: state[name].double() ** 2 * h.double() for name, h in curvatures.items()}
    flat = join(scores)
    masks = by_order(stable(flat), round(keep_fraction * len(flat)), scores)
    masks = {name: masks.get(name, torch.ones(value.shape, dtype=torch.bool)) for name, value in state.items()}
    return {name: torch.where(masks[name], value, torch.zeros_like(value)) for name, value in state.items()}, masks


@right("2.2a")
def mean_pooled(activations):
    return F.adaptive_avg_pool1d(activations.reshape(*activations.shape[:2], -1), 1).squeeze(2).mean(0)


EQUIVALENT = {
    "activation_entropy: 1 -> 2": "what a range of 0 is divided by does not matter: all distances are 0",
    "keep_top: True -> False": "strict=False; of the others, descending=False and stable=False are killed",
    "keep_top: zip(saliencies.items(), parts, strict=True) -> zip(saliencies.items(), parts)": "as many parts",
}


def pruned_and_masks(state, curvatures, keep_fraction):
    masks = saliency.keep_top({n: saliency.obd_saliency(state[n], h) for n, h in curvatures.items()}, keep_fraction)
    return dict(state), masks


@mutant("2.7", "what is not pruned is the caller's own")
def obd_shares_the_rest(state, curvatures, keep_fraction):
    pruned, masks = pruned_and_masks(state, curvatures, keep_fraction)
    return pruned | {name: state[name].masked_fill(~mask, 0) for name, mask in masks.items()}, masks


@mutant("2.7", "a product with the mask keeps infinity")
def obd_by_a_product(state, curvatures, keep_fraction):
    pruned, masks = pruned_and_masks(state, curvatures, keep_fraction)
    return {name: value * masks[name] if name in masks else value.clone() for name, value in pruned.items()}, masks


@mutant("2.7", "only tensors whose name ends in weight are pruned")
def obd_of_weights_by_name(state, curvatures, keep_fraction):
    named = {name: h for name, h in curvatures.items() if name.endswith("weight")}
    if not named:
        return {name: value.clone() for name, value in state.items()}, {}
    return saliency.obd_prune(state, named, keep_fraction)


@mutant("2.7", "half precision becomes float32")
def obd_where_float32_zeros(state, curvatures, keep_fraction):
    pruned, masks = pruned_and_masks(state, curvatures, keep_fraction)
    return {
        name: torch.where(masks[name], value, torch.zeros(value.shape)) if name in masks else value.clone()
        for name, value in pruned.items()
    }, masks


@mutant("2.7", "counters become floats")
def obd_makes_floats(state, curvatures, keep_fraction):
    pruned, masks = saliency.obd_prune(state, curvatures, keep_fraction)
    return {name: value * 1.0 for name, value in pruned.items()}, masks


@mutant("2.7", "a fraction of 0 is taken for missing")
def obd_fraction_or_all(state, curvatures, keep_fraction):
    return saliency.obd_prune(state, curvatures, keep_fraction or 1.0)


@right("2.7")
def obd_prune_by_where(state, curvatures, keep_fraction):
    ranked = {name: state[name].double() ** 2 * curvature.double() for name, curvature in curvatures.items()}
    masks = saliency.keep_top(ranked, keep_fraction)
    new = {}
    for name, value in state.items():
        new[name] = value.detach().clone()
        if name in masks:
            new[name] = torch.where(masks[name], value, torch.zeros((), dtype=value.dtype))
    return [new, masks]


@mutant("2.7", "equals in the order of the state, not of the curvatures")
def prune_in_order_of_state(state, curvatures, keep_fraction):
    return saliency.obd_prune(state, {name: curvatures[name] for name in state if name in curvatures}, keep_fraction)


@mutant("2.7", "kept infinities become finite")
def prune_nan_to_num(state, curvatures, keep_fraction):
    pruned, masks = saliency.obd_prune(state, curvatures, keep_fraction)
    return {name: value.nan_to_num() if name in masks else value for name, value in pruned.items()}, masks


prune_mutant("saliencies in float32", lambda w, h: (h * w**2).float())


@mutant("2.7", "the names in alphabetical order")
def obd_sorted(state, curvatures, keep_fraction):
    pruned, masks = saliency.obd_prune(state, curvatures, keep_fraction)
    return {name: pruned[name] for name in sorted(pruned)}, masks


def in_float16(value):
    """Plain data with its bfloat16 tensors as float16."""
    match value:
        case torch.Tensor():
            return value.half() if value.dtype == torch.bfloat16 else value
        case dict():
            return {key: in_float16(entry) for key, entry in value.items()}
        case list():
            return [in_float16(entry) for entry in value]
    return value


def takes_bfloat16_for_float16(function):
    return lambda *arguments: function(*in_float16(list(arguments)))


for number, function in {
    "2.1": saliency.magnitude_saliency,
    "2.2b": saliency.average_percentage_of_zeros,
    "2.2d": saliency.taylor_saliency,
    "2.3": saliency.backpropagate_curvature,
    "2.4": saliency.obd_saliency,
    "2.5": saliency.predicted_loss_increase,
}.items():
    mutant(number, "bfloat16 is taken for float16")(takes_bfloat16_for_float16(function))


# --- 2.8a obs_saliency, 2.8b obs_update -------------------------------------------------------------------------------


def damped(hessian, damping):
    return hessian + damping * torch.eye(len(hessian), dtype=hessian.dtype)


# Wrong matrices, for both exercises: what stands in place of the inverse of the damped Hessian
INVERSES = {
    "no damping": lambda h, d: torch.linalg.pinv(h),
    "damping is subtracted": lambda h, d: torch.linalg.pinv(damped(h, -d)),
    "damping is added to every entry": lambda h, d: torch.linalg.pinv(h + d),
    "damping is added to the inverse": lambda h, d: damped(torch.linalg.pinv(h), d),
    "damping in parts of the mean diagonal": lambda h, d: torch.linalg.pinv(damped(h, d * h.diagonal().mean())),
    "damping stretches the diagonal": lambda h, d: torch.linalg.pinv(h + d * torch.diag(h.diagonal())),
    "half the damping": lambda h, d: torch.linalg.pinv(damped(h, d / 2)),
    "a damping of its own on top": lambda h, d: torch.linalg.pinv(damped(h, d + 1e-4)),
    "the squared damping": lambda h, d: torch.linalg.pinv(damped(h, d**2)),
    "the Hessian is not inverted": damped,
    "each entry is inverted alone": lambda h, d: 1 / damped(h, d),
    "only the diagonal is inverted": lambda h, d: torch.diag(1 / damped(h, d).diagonal()),
    "the absolute Hessian": lambda h, d: torch.linalg.pinv(damped(h, d).abs()),
    "the Hessian's lower half only": lambda h, d: torch.linalg.pinv(damped(h, d).tril()),
    "the Hessian's factor is inverted": lambda h, d: torch.linalg.pinv(torch.linalg.cholesky(damped(h, d))),
    "the inverse in float32": lambda h, d: torch.linalg.inv(damped(h, d).float()).to(h.dtype),
    "small eigenvalues are dropped": lambda h, d: torch.linalg.pinv(damped(h, d), rtol=0.2),
}


def saliency_by(inverse):
    return lambda weight, hessian, damping: 0.5 * weight**2 / inverse(hessian, damping).diagonal()


def update_by(inverse):
    def update(weight, hessian, damping, index):
        column = inverse(hessian, damping)[:, index]
        moved = weight - weight[index] / column[index] * column
        moved[index] = 0
        return moved

    return update


for error, wrong in INVERSES.items():
    mutant("2.8a", error)(saliency_by(wrong))
    mutant("2.8b", error)(update_by(wrong))


def surgeon_mutant(error, change):
    """`change` makes the saliency of the weights and the diagonal of the right inverse."""
    mutant("2.8a", error)(lambda weight, hessian, damping: change(weight, torch.linalg.inv(damped(hessian, damping))))


surgeon_mutant("½ forgotten", lambda w, inverse: w**2 / inverse.diagonal())
surgeon_mutant("2 on the wrong side of the line", lambda w, inverse: 2 * w**2 / inverse.diagonal())
surgeon_mutant("|w| for w²", lambda w, inverse: 0.5 * w.abs() / inverse.diagonal())
surgeon_mutant("w³ for w²", lambda w, inverse: 0.5 * w**3 / inverse.diagonal())
surgeon_mutant("times the inverse", lambda w, inverse: 0.5 * w**2 * inverse.diagonal())
surgeon_mutant("the norm of the column for its entry", lambda w, inverse: 0.5 * w**2 / inverse.norm(dim=0))
surgeon_mutant("row sums for the diagonal", lambda w, inverse: 0.5 * w**2 / inverse.sum(1))
surgeon_mutant("scaled to sum to one", lambda w, inverse: w**2 / inverse.diagonal() / (w**2 / inverse.diagonal()).sum())
surgeon_mutant("a matrix of saliencies", lambda w, inverse: 0.5 * w**2 / inverse)
surgeon_mutant("the total", lambda w, inverse: (0.5 * w**2 / inverse.diagonal()).sum())
surgeon_mutant("rounded", lambda w, inverse: (0.5 * w**2 / inverse.diagonal()).round(decimals=4))
surgeon_mutant("as float32", lambda w, inverse: (0.5 * w**2 / inverse.diagonal()).float())


@mutant("2.8a", "damping added in place")
def surgeon_in_place(weight, hessian, damping):
    hessian.diagonal().add_(damping)
    return 0.5 * weight**2 / torch.linalg.inv(hessian).diagonal()


@right("2.8a")
def surgeon_solved(weight, hessian, damping):
    identity = torch.eye(len(weight), dtype=weight.dtype)
    solved = torch.linalg.solve(hessian + damping * identity, identity)
    return weight.square() / (2 * torch.diag(solved))


@right("2.8a")
def surgeon_by_cholesky(weight, hessian, damping):
    factor = torch.linalg.cholesky(hessian + damping * torch.eye(len(weight), dtype=weight.dtype))
    return weight * weight / 2 / torch.cholesky_inverse(factor).diagonal()


@right("2.8a")
def surgeon_in_numpy(weight, hessian, damping):
    matrix = hessian.numpy() + damping * np.eye(len(weight), dtype=hessian.numpy().dtype)
    return weight**2 / torch.from_numpy(2 * np.diag(np.linalg.inv(matrix)))


def update_mutant(error, change):
    """`change` makes the new weights of the weights, the right inverse and the index."""
    mutant("2.8b", error)(
        lambda weight, hessian, damping, index: change(weight, torch.linalg.inv(damped(hessian, damping)), index)
    )


def with_zero(weight, index):
    weight = weight.clone()
    weight[index] = 0
    return weight


update_mutant("the others stay", lambda w, inverse, q: with_zero(w, q))
update_mutant("what rounding leaves stays", lambda w, inverse, q: w - w[q] / inverse[q, q] * inverse[:, q])
update_mutant("the wrong sign", lambda w, inverse, q: with_zero(w + w[q] / inverse[q, q] * inverse[:, q], q))
update_mutant("only as far as w_q", lambda w, inverse, q: with_zero(w - w[q] * inverse[:, q], q))
update_mutant("the weight is forgotten", lambda w, inverse, q: with_zero(w - inverse[:, q] / inverse[q, q], q))
update_mutant(
    "its sign is forgotten", lambda w, inverse, q: with_zero(w - w[q].abs() / inverse[q, q] * inverse[:, q], q)
)
update_mutant("half the way", lambda w, inverse, q: with_zero(w - w[q] / inverse[q, q] * inverse[:, q] / 2, q))
update_mutant("the deleted weight leaves the tensor", lambda w, inverse, q: torch.cat([w[:q], w[q + 1 :]]))
update_mutant(
    "the diagonal for the column", lambda w, inverse, q: with_zero(w - w[q] / inverse[q, q] * inverse.diag(), q)
)
update_mutant("each by its own diagonal", lambda w, inverse, q: with_zero(w - w[q] * inverse[:, q] / inverse.diag(), q))
update_mutant("the change alone", lambda w, inverse, q: -w[q] / inverse[q, q] * inverse[:, q])
update_mutant("the next index", lambda w, inverse, q: update_by(lambda *_: inverse)(w, w, 0, (q + 1) % len(w)))
update_mutant("always the cheapest", lambda w, inverse, q: update_by(lambda *_: inverse)(
    w, w, 0, int((w**2 / inverse.diagonal()).argmin())))  # fmt: skip
update_mutant("as float32", lambda w, inverse, q: with_zero(w - w[q] / inverse[q, q] * inverse[:, q], q).float())
update_mutant(
    "small survivors are put to 0 too",
    lambda w, inverse, q: (
        F.threshold(with_zero(w - w[q] / inverse[q, q] * inverse[:, q], q).abs(), 0.3, 0.0)
        * (w - w[q] / inverse[q, q] * inverse[:, q]).sign()
    ),
)


@mutant("2.8b", "the weights in place")
def update_in_place(weight, hessian, damping, index):
    column = torch.linalg.inv(damped(hessian, damping))[:, index]
    weight -= weight[index].clone() / column[index] * column
    weight[index] = 0
    return weight


@mutant("2.8b", "the saliency in front of the column")
def update_by_saliency(weight, hessian, damping, index):
    inverse = torch.linalg.inv(damped(hessian, damping))
    return with_zero(weight - saliency.obs_saliency(weight, hessian, damping)[index] * inverse[:, index], index)


@right("2.8b")
def update_by_the_others(weight, hessian, damping, index):
    matrix = hessian + damping * torch.eye(len(weight), dtype=weight.dtype)
    others = torch.arange(len(weight)) != index
    moved = torch.zeros_like(weight)
    pull = matrix[others][:, index] * weight[index]
    moved[others] = weight[others] + torch.linalg.solve(matrix[others][:, others], pull)
    return moved


@right("2.8b")
def update_by_one_solve(weight, hessian, damping, index):
    matrix = hessian + damping * torch.eye(len(weight), dtype=weight.dtype)
    unit = torch.zeros_like(weight)
    unit[index] = 1
    direction = torch.linalg.solve(matrix, unit)
    moved = weight - direction * (weight[index] / direction[index])
    return torch.where(torch.arange(len(weight)) == index, torch.zeros_like(moved), moved)


@right("2.8b")
def update_by_pinv(weight, hessian, damping, index):
    inverse = torch.linalg.pinv(hessian + torch.diag(torch.full_like(weight, damping)), hermitian=True)
    moved = weight - weight[index] * inverse[index] / inverse[index, index]
    return moved.index_fill(0, torch.tensor([index]), 0)
