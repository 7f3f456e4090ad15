"""Unit 11: sparse transfer.

E. J. Hu, Y. Shen, P. Wallis, Z. Allen-Zhu, Y. Li, S. Wang, L. Wang and W. Chen, *LoRA: Low-Rank Adaptation of Large
Language Models*, ICLR 2022, arXiv:2106.09685.
X. Chen, T. Chen, W. Chen, A. H. Awadallah, Z. Wang and Y. Cheng, *DSEE: Dually Sparsity-Embedded Efficient Tuning of
Pre-trained Language Models*, ACL 2023, arXiv:2111.00160.
N. Houlsby, A. Giurgiu, S. Jastrzebski, B. Morrone, Q. de Laroussilhe, A. Gesmundo, M. Attariyan and S. Gelly,
*Parameter-Efficient Transfer Learning for NLP*, ICML 2019, arXiv:1902.00751.
T. Zhou and D. Tao, *GoDec: Randomized Low-rank & Sparse Matrix Decomposition in Noisy Case*, ICML 2011.
C. Eckart and G. Young, *The approximation of one matrix by another of lower rank*, Psychometrika 1 (1936), 211-218.

A weight is [out, in]; an update of rank r is scale · b·a with a [r, in] and b [out, r]. A mask is True where a weight
is kept.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.models import mlp_forward
from course_utils.saliency import keep_top


def truncated_svd(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """The best approximation of a matrix by one of a given rank (Eckart 1936).

    matrix: [m, n], float32 or float64. rank: from 1 to min(m, n); ValueError otherwise.
    Returns (u, s, v) of its dtype: u [m, rank] with orthonormal columns, s [rank] not
    negative and falling, v [rank, n] with orthonormal rows, such that u · diag(s) · v is
    the matrix of this rank with the least squared error. Signs of columns and rows are free.
    """
    if not 1 <= rank <= min(matrix.shape):
        raise ValueError(f"Of a matrix {list(matrix.shape)} take ranks from 1 on, not {rank}.")
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    return u[:, :rank], s[:rank], v[:rank]


def rank_for_energy(singular_values: Tensor, share: float) -> int:
    """How many singular values hold a share of a matrix.

    singular_values: [k], not negative, in any order. share: from 0 to 1. Returns the
    smallest r such that the r largest squares sum to at least share · (the sum of all
    squares), both sums in float64; 0 if the share is 0 or all values are.
    """
    squares = singular_values.double().sort(descending=True).values ** 2
    held = F.pad(squares.cumsum(0), (1, 0))  # by the 0, 1, 2, … largest
    return int((held < share * held[-1]).sum())


def lora_forward(
    inputs: Tensor,
    weight: Tensor,
    a: Tensor,
    b: Tensor,
    scale: float,
) -> Tensor:
    """A linear layer whose frozen weight has an update of low rank (Hu 2021, eq. 3).

    inputs: [..., in]. weight: [out, in], a constant: no gradient reaches it. a: [r, in].
    b: [out, r]. All of one float dtype. Returns x·Wᵀ + scale · (x·aᵀ)·bᵀ, [..., out]; the
    matrix b·a is never made. Differentiable in inputs, a and b.
    """
    return inputs @ weight.detach().T + scale * (inputs @ a.T @ b.T)


def lora_merge(weight: Tensor, a: Tensor, b: Tensor, scale: float) -> Tensor:
    """The weight with which a plain linear layer computes what `lora_forward` does.

    weight: [out, in]. a: [r, in]. b: [out, r]. Returns W + scale · b·a, a new tensor of the
    weight's dtype (Hu 2021, section 4.1: no latency is added).
    """
    return weight + scale * (b @ a)


def sparse_residual(
    matrix: Tensor,
    rank: int,
    nonzeros: int,
    steps: int = 1,
) -> tuple[Tensor, Tensor, Tensor]:
    """A matrix as one of low rank plus one with few entries (after Zhou 2011, algorithm 1).

    matrix: [m, n], float32 or float64. rank: from 0 to min(m, n). nonzeros: from 0 to m·n.
    From sparse = 0, in each of the steps (at least 1): first u·v becomes the best part of
    this rank of matrix − sparse; then sparse becomes the `nonzeros` entries of matrix − u·v
    that are largest in size, of equals the first, row by row, and 0 elsewhere.

    Returns (u [m, rank], v [rank, n], sparse [m, n]), of the matrix's dtype. How u·v is
    split into u and v is free. Rank 0 is magnitude pruning, nonzeros 0 the truncated SVD.
    ValueError for a rank that the matrix has not.
    """
    sparse = torch.zeros_like(matrix)
    u, v = matrix.new_zeros(matrix.shape[0], 0), matrix.new_zeros(0, matrix.shape[1])
    for _ in range(steps):
        if rank:
            u, s, v = truncated_svd(matrix - sparse, rank)
            u = u * s
        residual = (matrix - u @ v).flatten()
        largest = residual.abs().sort(descending=True, stable=True).indices[:nonzeros]
        sparse = torch.zeros_like(residual)
        sparse[largest] = residual[largest]
        sparse = sparse.view(matrix.shape)
    return u, v, sparse


def masked_update(weight: Tensor, mask: Tensor, delta: Tensor) -> Tensor:
    """A weight and its update, as sparse as the mask (Chen 2023, W ⊙ S₁ with ΔW inside).

    weight, delta: of one shape and float dtype. mask: bool, of that shape. Returns W + ΔW
    where the mask is True, and exactly 0 elsewhere, whatever weight and delta hold there.
    Differentiable in weight and delta; outside the mask both gradients are exactly 0.
    """
    return torch.where(mask, weight + delta, 0)


def trainable_parameters(
    shapes: Sequence[tuple[int, int]],
    method: str,
    rank: int = 0,
    nonzeros: int = 0,
) -> int:
    """How many numbers a method trains, by the shapes (out, in) of the weights it adapts.

    'full': the weights themselves. 'lora': a and b of this rank for each weight. 'dsee':
    that, and so many nonzeros for each weight. 'adapter': behind each weight a layer of
    `rank` units and one back to its `out` outputs, both with biases (Houlsby 2019, section
    2.1). ValueError for any other method.
    """
    match method:
        case "full":
            return sum(out * inputs for out, inputs in shapes)
        case "lora":
            return sum(rank * (out + inputs) for out, inputs in shapes)
        case "dsee":
            return sum(rank * (out + inputs) + nonzeros for out, inputs in shapes)
        case "adapter":
            return sum(2 * out * rank + rank + out for out, _ in shapes)
    raise ValueError(f"There is no method {method!r}: choose full, lora, dsee or adapter.")


def dsee_step(
    a: Tensor,
    b: Tensor,
    sparse: Tensor,
    support: Tensor,
    gradient: Tensor,
    scale: float,
    lr: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """One step of descent on the three factors of ΔW = scale · b·a + sparse (Chen 2023).

    a: [r, in]. b: [out, r]. sparse: [out, in]. support: bool, [out, in], where sparse may
    be other than 0. gradient: [out, in], of the loss by the sum W + scale · b·a + sparse.
    All floats of one dtype. Returns the new (a, b, sparse): each minus lr times the
    gradient by itself, all three gradients from the old values. Outside the support sparse
    is exactly 0, whatever the arguments hold there.
    """
    new_a = a - lr * scale * (b.T @ gradient)
    new_b = b - lr * scale * (gradient @ a.T)
    return new_a, new_b, torch.where(support, sparse - lr * gradient, 0)


def dsee_adapt(
    state: dict[str, Tensor],
    starts: dict[str, Tensor],
    inputs: Tensor,
    labels: Tensor,
    nonzeros: int,
    keep_fraction: float,
    scale: float,
    lr: float,
    steps: int,
) -> dict[str, Tensor]:
    """Adapt a pruned network to new data, and leave it as sparse as it is (Chen 2023).

    state: of an MLP, for `mlp_forward(state, inputs)`. starts: a [r, in] by the name of each
    weight that is adapted; all else is frozen. inputs [batch, ...], labels [batch].

    The masks keep the fraction `keep_fraction` of the adapted weights, the largest in size,
    all of them together (`keep_top`, in the order of starts). The support of a weight's sparse
    part is where `sparse_residual(W, r, nonzeros)` of the weight, not pruned yet, is not 0; b
    and the sparse part start at 0.
    In each of the steps the loss is the mean cross-entropy of all inputs at the weights
    `masked_update(W, mask, scale · b·a + sparse)`, its gradient by W + ΔW is 0 outside
    the mask, and `dsee_step` descends.

    Returns a new state, all of its tensors new, of the same names, shapes and dtypes:
    the adapted weights are exactly 0 outside their masks, the others as they were.
    """
    masks = keep_top({name: state[name].abs() for name in starts}, keep_fraction)
    parts = {}
    for name, a in starts.items():
        weight = state[name]
        support = sparse_residual(weight, len(a), nonzeros)[2] != 0
        parts[name] = a, weight.new_zeros(len(weight), len(a)), torch.zeros_like(weight), support

    def adapted() -> dict[str, Tensor]:
        new = {name: value.clone() for name, value in state.items()}
        for name, (a, b, sparse, _) in parts.items():
            new[name] = masked_update(state[name], masks[name], scale * b @ a + sparse)
        return new

    for _ in range(steps):
        current = adapted()
        leaves = [current[name].requires_grad_() for name in starts]
        loss = F.cross_entropy(mlp_forward(current, inputs), labels)
        for name, gradient in zip(starts, torch.autograd.grad(loss, leaves), strict=True):
            a, b, sparse, support = parts[name]
            gradient = torch.where(masks[name], gradient, 0)
            parts[name] = *dsee_step(a, b, sparse, support, gradient, scale, lr), support
    return adapted()
