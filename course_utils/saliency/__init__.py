"""Unit 02: pruning criteria and Optimal Brain Damage.

Y. LeCun, J. Denker and S. Solla, *Optimal Brain Damage*, NeurIPS 2 (1989), published 1990.
B. Hassibi and D. Stork, *Second Order Derivatives for Network Pruning: Optimal Brain Surgeon*, NeurIPS 5 (1992),
published 1993.
P. Molchanov, S. Tyree, T. Karras, T. Aila and J. Kautz, *Pruning Convolutional Neural Networks for Resource Efficient
Inference*, ICLR 2017, arXiv:1611.06440 (mean activation, Taylor).
H. Hu, R. Peng, Y. Tai and C. Tang, *Network Trimming*, arXiv:1607.03250, 2016 (APoZ).
J. Luo and J. Wu, *An Entropy-based Pruning Method for CNN Compression*, arXiv:1706.05791, 2017.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def magnitude_saliency(weight: Tensor, order: float = 1) -> Tensor:
    """Saliency of each weight by its size alone: |w| to the power `order`.

    weight: any shape, one without entries too, and any float dtype. order: any positive
    number, 1 or 2 as a rule. Returns a tensor of the same shape and dtype.
    """
    # s_i = |w_i|^p
    return weight.abs() ** order


def mean_activation(activations: Tensor) -> Tensor:
    """Mean activation of each channel, over the batch and over space.

    Molchanov 2017, section 2.2. activations: [batch, channels, ...], with any number of
    axes of space, or none, of any float dtype. Returns [channels], signed, of the same
    dtype, also where a channel's sum is more than float16 holds.
    """
    return activations.transpose(0, 1).flatten(1).mean(dim=1)


def average_percentage_of_zeros(activations: Tensor) -> Tensor:
    """APoZ of each channel: how large a part of its activations is exactly 0.

    Hu 2016, eq. 1. activations: [batch, channels, ...], any float dtype. Returns
    [channels], a fraction from 0 to 1 over batch and space, in the dtype of the
    activations. NaN is not 0. A high APoZ means a channel that is of little use.
    """
    zeros = activations.transpose(0, 1).flatten(1) == 0
    return zeros.to(activations.dtype).mean(dim=1)


def activation_entropy(activations: Tensor, bins: int) -> Tensor:
    """Entropy, in nats, of each channel's average response (Luo 2017, section 3.2).

    activations: [batch, channels, ...], any float dtype. A channel's response to an example
    is its mean over space. Over the batch, the responses are put into `bins` equal bins
    from the channel's smallest response to its largest, as `numpy.histogram` does: a value
    on an inner edge belongs to the upper bin, the largest to the last. Returns [channels],
    same dtype; a channel whose response is constant has entropy 0.
    """
    batch, channels = activations.shape[:2]
    responses = activations.reshape(batch, channels, -1).mean(dim=2)
    low, high = responses.amin(dim=0), responses.amax(dim=0)
    spread = torch.where(high > low, high - low, 1)
    bin_of = ((responses - low) * bins / spread).long().clamp(max=bins - 1)
    counts = F.one_hot(bin_of, bins).sum(dim=0)  # [channels, bins]
    share = counts.to(activations.dtype) / batch
    # H = −Σ_b p_b log p_b, where 0 · log 0 = 0
    return torch.special.entr(share).sum(dim=1)


def taylor_saliency(activations: Tensor, gradients: Tensor) -> Tensor:
    """How much the loss would change to first order if a channel were 0, per position.

    Molchanov 2017, eq. 8. activations and the loss's gradients by them:
    [batch, channels, ...], of one float dtype. Returns [channels], same dtype: for each
    example the absolute value of the mean over space of activation times gradient, then the
    mean over the batch.
    """
    # |1/M · Σ_m ∂E/∂a_m · a_m|, M positions
    products = (activations * gradients).reshape(*activations.shape[:2], -1)
    return products.mean(dim=2).abs().mean(dim=0)


def backpropagate_curvature(
    weights: Sequence[Tensor],
    inputs: Sequence[Tensor],
    slopes: Sequence[Tensor],
    bends: Sequence[Tensor],
    output_gradient: Tensor,
    output_curvature: Tensor,
) -> list[Tensor]:
    """Second derivative of the loss by each weight, in one backward pass.

    LeCun 1990, section 2.1, eq. 6 to 8. Lists run from the first layer to the last: weights[l]
    is [out, in]; inputs[l], what that layer gets, [batch, in]; slopes and bends, φ′ and φ″ at
    the hidden layers' pre-activations, [batch, out], are one fewer than the weights.
    output_gradient and output_curvature are the first and second derivatives of each
    example's own loss by the last layer's pre-activations, [batch, out]. All are of one
    float dtype. Returns the curvatures in this order, each of the shape and dtype of its
    weight: ∂²E/∂w², mean over the batch. Second derivatives by two different units of a
    layer are neglected, as in the paper.
    """
    # ∂E/∂a and ∂²E/∂a², a the pre-activations of a layer
    gradient, curvature = output_gradient, output_curvature
    curvatures: list[Tensor] = []
    for layer in reversed(range(len(weights))):
        # ∂²E/∂w_ij² = ∂²E/∂a_i² · x_j²
        curvatures.insert(0, curvature.T @ inputs[layer] ** 2 / len(curvature))
        if layer > 0:
            slope, bend = slopes[layer - 1], bends[layer - 1]
            # ∂E/∂x_j = Σ_i w_ij ∂E/∂a_i
            by_input = gradient @ weights[layer]
            # ∂²E/∂a_j² = φ′(a_j)² Σ_i w_ij² ∂²E/∂a_i² + φ″(a_j) ∂E/∂x_j
            curvature = slope**2 * (curvature @ weights[layer] ** 2) + bend * by_input
            # ∂E/∂a_j = φ′(a_j) ∂E/∂x_j
            gradient = slope * by_input
    return curvatures


def obd_saliency(weight: Tensor, curvature: Tensor) -> Tensor:
    """By how much the loss would rise if a weight were deleted, to second order.

    LeCun 1990, section 2.2, step 4. weight and curvature (∂²E/∂w² of each weight): of one
    shape, any, and one float dtype. Returns a tensor of that shape and dtype, negative where the
    curvature is.
    """
    # s_k = ½ h_kk w_k²
    return 0.5 * curvature * weight**2


def predicted_loss_increase(
    saliencies: dict[str, Tensor],
    masks: dict[str, Tensor],
) -> Tensor:
    """By how much the loss should rise when all weights outside the masks are deleted.

    It is the sum of their saliencies; what is kept adds nothing, NaN and infinity included.
    saliencies: by parameter name, at least one, any shapes, of one float dtype. masks: bool
    tensors by the same names, of the same shapes, True where a weight is kept. Returns a
    scalar tensor of the saliencies' dtype.
    """
    deleted = [saliency[~masks[name]] for name, saliency in saliencies.items()]
    return torch.cat(deleted).sum()


def keep_top(saliencies: dict[str, Tensor], keep_fraction: float) -> dict[str, Tensor]:
    """Masks that keep the most salient weights, all tensors together.

    saliencies: by parameter name, of one float dtype, n entries in all. keep_fraction: from
    0 to 1. Returns bool masks by the same names, of the same shapes, with exactly
    `round(keep_fraction * n)` entries True (Python's round): those of the largest saliency,
    sign included. Among equals the first are kept, in the order of the dict and, in a
    tensor, row by row.
    """
    flat = torch.cat([saliency.flatten() for saliency in saliencies.values()])
    best_first = torch.sort(flat, descending=True, stable=True).indices
    kept = torch.zeros(len(flat), dtype=torch.bool)
    kept[best_first[: round(keep_fraction * len(flat))]] = True
    parts = kept.split([saliency.numel() for saliency in saliencies.values()])
    pairs = zip(saliencies.items(), parts, strict=True)
    return {name: part.view(saliency.shape) for (name, saliency), part in pairs}


def obd_prune(
    state: dict[str, Tensor], curvatures: dict[str, Tensor], keep_fraction: float
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """One round of Optimal Brain Damage: delete the weights of the smallest saliency.

    LeCun 1990, section 2.2, steps 4 and 5; the saliency is ½·h·w². state: tensors by name.
    curvatures: ∂²E/∂w² by name, of the tensors' float dtype, for those that may be pruned
    (biases, say, are left out).
    keep_fraction: the part of the weights with curvature that is kept, all their tensors
    together, as `keep_top` chooses them, in the order of the curvatures. Returns a new
    state, its names in their order and all of its tensors new, with exactly 0 where a
    weight is deleted (whatever it was, infinity included) and all else as it was, and the
    masks of the tensors with curvature, and of no others.
    """
    masks = keep_top(
        {name: obd_saliency(state[name], h) for name, h in curvatures.items()},
        keep_fraction,
    )
    pruned = {name: value.clone() for name, value in state.items()}
    for name, mask in masks.items():
        pruned[name][~mask] = 0
    return pruned, masks


def obs_saliency(weight: Tensor, hessian: Tensor, damping: float) -> Tensor:
    """By how much the loss would rise if a weight were deleted, and the others moved.

    Hassibi 1993, eq. 5. weight: [n]; hessian: ∂²E/∂w_i∂w_j, [n, n], symmetric; both of
    float32 or both of float64. damping: 0 or more, a number that is added to each entry of
    the Hessian's diagonal; with it the Hessian is positive definite. It counts as a part of
    the Hessian. Returns [n], of the same dtype: for each weight the rise if it alone is
    deleted, to second order, at a minimum of the loss.
    """
    damped = hessian + damping * torch.eye(len(weight), dtype=weight.dtype)
    # L_q = ½ w_q² / [H⁻¹]_qq
    return 0.5 * weight**2 / torch.linalg.inv(damped).diagonal()


def obs_update(weight: Tensor, hessian: Tensor, damping: float, index: int) -> Tensor:
    """The weights after one of them is deleted, and the others are moved to help.

    Hassibi 1993, eq. 5. weight, hessian and damping: as in `obs_saliency`. index: of the
    weight that is deleted, from 0 to n − 1. Returns [n], new and of the same dtype: of all
    weights with exactly 0 at this index, those at which the loss is least to second order.
    """
    damped = hessian + damping * torch.eye(len(weight), dtype=weight.dtype)
    column = torch.linalg.inv(damped)[:, index]
    # δw = −w_q / [H⁻¹]_qq · H⁻¹ e_q
    moved = weight - weight[index] / column[index] * column
    moved[index] = 0  # rounding may have left a little
    return moved
