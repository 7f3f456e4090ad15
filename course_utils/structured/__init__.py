"""Unit 04: structured sparsity.

W. Wen, C. Wu, Y. Wang, Y. Chen and H. Li, *Learning Structured Sparsity in Deep Neural Networks*, NeurIPS 2016,
arXiv:1608.03665.
M. Yuan and Y. Lin, *Model Selection and Estimation in Regression with Grouped Variables*, Journal of the Royal
Statistical Society B 68 (2006), pp. 49–67 (group lasso).

A weight is [filters, channels, ...]: of a convolution its kernels follow; a linear layer has units for filters, its
inputs for channels, and no more axes. Norms are L2. A group of weights is dead when each of them is exactly 0.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor


def filter_norms(weight: Tensor) -> Tensor:
    """Length of each filter: the square root of its sum of squares (Wen 2016, section 3).

    weight: [filters, channels, ...], with any number of further axes, or none. Returns
    [filters], same dtype. Differentiable; the gradient of a dead filter's norm is 0.
    """
    # ‖W_n‖ = (Σ w²)^½, with gradient 0 at 0, where the square root of a sum has 0/0
    return torch.linalg.vector_norm(weight.flatten(1), dim=1)


def channel_norms(weight: Tensor) -> Tensor:
    """Length of all the weights that read an input channel (Wen 2016, section 3).

    weight: [filters, channels, ...], as for `filter_norms`. Returns [channels], same dtype.
    Differentiable; the gradient of a dead channel's norm is 0.
    """
    return filter_norms(weight.transpose(0, 1))


def group_lasso(
    weights: Sequence[Tensor],
    filter_strength: float = 1.0,
    channel_strength: float = 1.0,
) -> Tensor:
    """The penalty that makes whole filters and channels 0 (Wen 2016, section 3).

    weights: of the layers, each [filters, channels, ...]. Returns a scalar: the norms of
    all filters of all layers times filter_strength, and of all channels times
    channel_strength; large groups count as small ones do. Differentiable; the gradient of a
    dead group is 0.
    """
    # λ_f Σ_l Σ_n ‖W_n‖ + λ_c Σ_l Σ_c ‖W_:,c‖
    filters = torch.stack([filter_norms(weight).sum() for weight in weights]).sum()
    channels = torch.stack([channel_norms(weight).sum() for weight in weights]).sum()
    return filter_strength * filters + channel_strength * channels


def shrink_groups(weight: Tensor, threshold: float, dim: int) -> Tensor:
    """Shorten each group of weights, down to 0: the group lasso's proximal operator.

    weight: any shape. Each slice along the axis `dim` (which may be negative) is a group:
    of a weight [filters, channels, ...] the filters are groups for dim 0, the channels for
    dim 1; of [n], each number is one. threshold: t ≥ 0. Returns a new tensor, same shape
    and dtype: a group w becomes w·(1 − t/‖w‖), and exactly 0 if ‖w‖ ≤ t (Yuan 2006, section
    2). A dead group stays 0, also for t = 0.
    """
    groups = weight.movedim(dim, -1)  # [..., groups]
    norms = torch.linalg.vector_norm(groups.reshape(-1, weight.shape[dim]), dim=0)
    # w ← w · (1 − t/‖w‖)₊
    shrunk = groups * torch.where(norms > threshold, 1 - threshold / norms, 0)
    return shrunk.movedim(-1, dim)


def proximal_step(
    weight: Tensor,
    gradient: Tensor,
    lr: float,
    filter_strength: float,
    channel_strength: float,
) -> Tensor:
    """A step down the loss, and a step of the group lasso that reaches exact zeros.

    weight and the loss's gradient by it: [filters, channels, ...]. First w − lr·gradient;
    then each filter shrinks by lr·filter_strength, as in `shrink_groups`; then each channel
    of what results by lr·channel_strength. Returns the new weight, same shape and dtype.
    """
    descended = weight - lr * gradient
    shrunk = shrink_groups(descended, lr * filter_strength, dim=0)
    return shrink_groups(shrunk, lr * channel_strength, dim=1)


def remove_filters(
    weight: Tensor,
    bias: Tensor,
    next_weight: Tensor,
    next_bias: Tensor,
    keep: Tensor,
    relu: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Cut filters out of a layer, and what reads them out of the next, at no change.

    weight [N, channels, ...], bias [N]; next_weight, next_bias [M]: of the layer that reads
    them. That is a convolution [M, N, height, width] without padding, or, after flattening,
    a linear layer [M, N·P], where filter n owns the columns n·P to n·P + P − 1 (P = 1
    between two linear layers). keep: bool [N]. Between the layers may stand pooling, and a
    ReLU if `relu`. The four tensors are of one float dtype.

    A filter may go if its weights are all 0: its output is bias[n] everywhere, with ReLU
    max(bias[n], 0), and next_bias takes over what the next layer made of that constant. It
    may also go if the next layer's weights for it are all 0. ValueError that names the
    filter for any other that is not kept, or if none is kept.

    Returns new (weight, bias, next_weight, next_bias), same dtype, with the kept filters in
    their order.
    """
    # [M, N, P]: with which weights the next layer reads filter n
    read = next_weight.reshape(len(next_weight), len(weight), -1)
    alive = (weight.flatten(1) != 0).any(dim=1) & (read != 0).any(dim=2).any(dim=0)
    refused = (alive & ~keep).nonzero().flatten().tolist()
    if refused:
        raise ValueError(f"Filter {refused[0]} is neither 0 nor unread: keep it.")
    if not keep.any():
        raise ValueError("A layer without filters computes nothing: keep one.")
    constant = bias.relu() if relu else bias
    # b_m ← b_m + Σ_n c_n · Σ_p w_mnp, n over the filters that go
    next_bias = next_bias + read[:, ~keep].sum(dim=2) @ constant[~keep]
    next_weight = read[:, keep].reshape(len(read), -1, *next_weight.shape[2:])
    return weight[keep], bias[keep], next_weight, next_bias


def concatenate_nonzero(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Push together the rows and columns of a matrix that are not all 0 (Wen 2016).

    matrix: [out, in]. Returns (dense, rows, columns): the numbers of the rows and of the
    columns that hold a non-zero, int64, ascending, and the matrix of their crossings
    [len(rows), len(columns)], same dtype. Of a matrix of zeros all three are empty, dense
    of shape [0, 0].
    """
    nonzero = matrix != 0
    rows = nonzero.any(dim=1).nonzero().flatten()
    columns = nonzero.any(dim=0).nonzero().flatten()
    return matrix[rows][:, columns], rows, columns


def concatenated_matmul(
    inputs: Tensor,
    dense: Tensor,
    rows: Tensor,
    columns: Tensor,
    out_features: int,
) -> Tensor:
    """Multiply by a matrix of which only the concatenated rows and columns were stored.

    inputs: [batch, in], batch ≥ 1. dense, rows, columns: from `concatenate_nonzero` of a
    matrix [out_features, in]. Returns inputs @ matrix.T, [batch, out_features], in the
    dtype of the inputs; 0 for the rows that are not stored. Inputs outside `columns` are
    not read: they may hold NaN.
    """
    outputs = inputs.new_zeros(len(inputs), out_features)
    outputs[:, rows] = inputs[:, columns] @ dense.T
    return outputs


def shrink_network(state: dict[str, Tensor], threshold: float) -> dict[str, Tensor]:
    """Cut out of a LeNet what does nothing: a smaller dense network is left.

    state: four weights, each followed by its bias, as `lenet5().state_dict()` has them, of
    any names and widths: two convolutions, whose output is flattened, and two linear
    layers, with a ReLU only between those two. First, groups with a norm ≤ threshold become
    0, all judged on the state as it is given: the filters or units of the layers 1 to 3,
    and the input channels of the layers 2 to 4 (those of layer 3 are blocks of columns, as
    in `remove_filters`). Then filters and units are removed, as `remove_filters` does,
    until none can be: what lived on dead channels only, and what fed nothing but dead
    units, has died with them. The image's channels and the classes stay.

    Returns a new state by the same names. It computes what the state with its zeros
    computes. ValueError if a layer would lose all its units.
    """
    names = list(state)
    weights = [state[name].contiguous().clone() for name in names[::2]]
    biases = [state[name] for name in names[1::2]]
    # Views into these copies: layers 2 to 4 as [M, N, P], by the N units that they read
    reads = [after.view(len(after), len(unit), -1) for unit, after in pairwise(weights)]
    short_rows = [filter_norms(weight) <= threshold for weight in weights[:-1]]
    short_columns = [channel_norms(read) <= threshold for read in reads]
    for i in range(3):
        weights[i][short_rows[i]] = 0
        reads[i][:, short_columns[i]] = 0

    before = None
    while before != (widths := [len(weight) for weight in weights]):
        before = widths
        for i in range(3):
            j = i + 1
            read = weights[j].reshape(len(weights[j]), len(weights[i]), -1)
            alive = (weights[i] != 0).flatten(1).any(dim=1)
            keep = alive & (read != 0).any(dim=2).any(dim=0)
            layer = weights[i], biases[i], weights[j], biases[j]
            smaller = remove_filters(*layer, keep, relu=i == 2)
            weights[i], biases[i], weights[j], biases[j] = smaller
    parts = [part for layer in zip(weights, biases, strict=True) for part in layer]
    return dict(zip(names, parts, strict=True))
