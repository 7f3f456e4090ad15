"""Unit 13: theory. Approximation, optimization, generalization, topology.

E. Malach, G. Yehudai, S. Shalev-Shwartz and O. Shamir, *Proving the Lottery Ticket Hypothesis: Pruning is All You
Need*, ICML 2020, arXiv:2002.00585.
A. Pensia, S. Rajput, A. Nagle, H. Vishwakarma and D. Papailiopoulos, *Optimal Lottery Tickets via SubsetSum:
Logarithmic Over-Parameterization is Sufficient*, NeurIPS 2020, arXiv:2006.07990.
V. Ramanujan, M. Wortsman, A. Kembhavi, A. Farhadi and M. Rastegari, *What's Hidden in a Randomly Weighted Neural
Network?* (edge-popup), CVPR 2020, arXiv:1911.13299.
A. Jacot, F. Gabriel and C. Hongler, *Neural Tangent Kernel: Convergence and Generalization in Neural Networks*,
NeurIPS 2018, arXiv:1806.07572.
Y. Cho and L. K. Saul, *Kernel Methods for Deep Learning*, NeurIPS 2009.
H. Yang and Z. Wang, *On the Neural Tangent Kernel Analysis of Randomly Pruned Neural Networks*, AISTATS 2023,
arXiv:2203.14328.
B. Woodworth, S. Gunasekar, J. Lee, E. Moroshko, P. Savarese, I. Golan, D. Soudry and N. Srebro, *Kernel and Rich
Regimes in Overparametrized Models*, COLT 2020, arXiv:2002.09277.
Z. He, Z. Xie, Q. Zhu and Z. Qin, *Sparse Double Descent: Where Network Pruning Aggravates Overfitting*, ICML 2022,
arXiv:2206.08684.
D. Hoang, S. Liu, R. Marculescu and Z. Wang, *Revisiting Pruning at Initialization Through the Lens of Ramanujan
Graph*, ICLR 2023.
H. Tanaka, D. Kunin, D. Yamins and S. Ganguli, *Pruning Neural Networks Without Any Data by Iteratively Conserving
Synaptic Flow* (SynFlow), NeurIPS 2020, arXiv:2006.05467.
A. Vysogorets and J. Kempe, *Connectivity Matters: Neural Network Pruning Through the Lens of Effective Sparsity*,
arXiv:2107.02306.

Dicts of weights and masks hold the first layer first; a weight is [out, in]; a mask is True where a weight is kept.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.models import mlp_forward


def subset_sum(values: Tensor, target: float) -> Tensor:
    """The subset of some numbers whose sum is nearest to a target.

    values: [n], n from 0 to 16, of any float dtype; all is computed in float64. Returns a
    bool mask [n], True for what is in the subset. The empty subset, with the sum 0, is one
    too; of equally near ones any will do (Pensia 2020).
    """
    sums = torch.zeros(1, dtype=torch.float64)
    for value in values:
        sums = torch.cat([sums, sums + value])  # float64; the new half has the next bit set
    nearest = (sums - target).abs().argmin()
    return (nearest >> torch.arange(len(values))) % 2 == 1


def prune_to_weight(first: Tensor, second: Tensor, weight: float) -> Tensor:
    """Which units of a random two-layer network to keep, so that it computes weight · x.

    first, second: [n]. Unit i gives second_i · relu(first_i · x), of one number x. Those
    with first_i > 0 act at x > 0 only, those with first_i < 0 at x < 0 only; there are at
    most 12 of each. The slope on a side is the sum of its kept first_i · second_i. Returns
    a bool mask [n]: on each side the subset whose slope is nearest to `weight`, computed in
    float64. A unit with first_i = 0 is never kept (Pensia 2020).
    """
    slopes = first.double() * second
    keep = torch.zeros(len(first), dtype=torch.bool)
    for side in (first > 0, first < 0):
        keep[side] = subset_sum(slopes[side], weight)
    return keep


def popup_layer(
    inputs: Tensor,
    weight: Tensor,
    scores: Tensor,
    keep_fraction: float,
) -> Tensor:
    """A linear layer of frozen random weights, of which scores choose the kept ones.

    inputs [batch, in]; weight, scores [out, in], n entries, of the inputs' dtype. Keeps the
    `round(keep_fraction * n)` weights of the layer with the largest scores (signed ones; of
    equals the first, row by row). Returns inputs · (mask ⊙ weight)ᵀ, [batch, out], no bias.

    Differentiable (once). By scores straight through, at every position, kept or not, as if
    the mask were the scores: ∂L/∂score = weight · ∂L/∂(mask ⊙ weight). By inputs through
    the kept weights. By weight no gradient (Ramanujan 2020, with signed scores).
    """
    kept = round(keep_fraction * scores.numel())
    largest_first = scores.flatten().sort(descending=True, stable=True).indices
    mask = torch.zeros_like(weight).flatten()
    mask[largest_first[:kept]] = 1
    # The difference is exactly 0, and its gradient by the scores is 1
    through = mask.view(weight.shape) + (scores - scores.detach())
    return F.linear(inputs, through * weight.detach())


def empirical_ntk(
    state: dict[str, Tensor],
    masks: dict[str, Tensor],
    inputs: Tensor,
) -> Tensor:
    """The neural tangent kernel of a pruned network: how its outputs move together.

    state: of an MLP with K logits, for `mlp_forward(state, inputs)`. masks: bool, by the
    names of some of its tensors; what is outside a mask is 0, whatever the state holds, and
    is not trained. inputs: [n, ...]. Returns [n, n], of the state's dtype:

    Θ(x, x′) = 1/K · Σ_k Σ_θ ∂f_k(x)/∂θ · ∂f_k(x′)/∂θ, over all entries θ that are trained:
    weights and biases but those outside a mask (Jacot 2018).
    """
    leaves = {name: value.clone().requires_grad_() for name, value in state.items()}
    # The gradient of torch.where is 0 outside the mask: what is not trained drops out
    masked = dict(leaves)
    for name, mask in masks.items():
        masked[name] = torch.where(mask, leaves[name], 0)
    logits = torch.cat([mlp_forward(masked, example[None]) for example in inputs])  # [n, K]
    kernel = 0
    for logit in logits.T:
        rows = [torch.autograd.grad(f, leaves.values(), retain_graph=True) for f in logit]
        jacobian = torch.stack([torch.cat([g.flatten() for g in row]) for row in rows])
        kernel = kernel + jacobian @ jacobian.T / logits.shape[1]
    return kernel


def relu_ntk(inputs: Tensor, hidden_layers: int) -> Tensor:
    """The neural tangent kernel of an infinitely wide ReLU network at initialization.

    inputs: [n, ...], d numbers each; hidden_layers from 0. No biases; weights are standard
    normal, all are trained; the first layer's output is scaled by √(1/d), that of all later
    layers, the last too, by √(2/width). Returns [n, n], of the inputs' dtype, computed in
    float64. With Σ₀ = Θ₀ = x·x′/d, for each hidden layer, θ the angle of the two under Σ:

    Σ′ = √(Σ(x,x) Σ(x′,x′)) · (sin θ + (π − θ) cos θ)/π, and Θ′ = Σ′ + Θ · (π − θ)/π

    (Jacot 2018; Cho and Saul 2009). An input of zeros gives zeros.
    """
    flat = inputs.flatten(1).double()
    sigma = flat @ flat.T / flat.shape[1]
    kernel = sigma
    norms = sigma.diagonal().sqrt()  # no layer changes them: 2 E[relu(z)²] = E[z²]
    product = norms[:, None] * norms
    for _ in range(hidden_layers):
        cosine = torch.where(product > 0, sigma / product, 0).clamp(-1, 1)
        angle = cosine.acos()
        sigma = product * (angle.sin() + (math.pi - angle) * cosine) / math.pi
        kernel = sigma + kernel * (math.pi - angle) / math.pi
    return kernel.to(inputs.dtype)


def kernel_descent(
    kernel: Tensor,
    targets: Tensor,
    initial: Tensor,
    lr: float,
    steps: int,
) -> Tensor:
    """What gradient descent makes of the outputs on the training set, if the kernel stays.

    kernel: [n, n], symmetric. targets, initial: [n] or [n, K], all of one dtype. In a step
    of descent on ½ Σ (f − y)² the outputs move by f ← f − lr · kernel · (f − y). Returns f
    after `steps` of them, of the targets' shape and dtype; with too large a rate it grows
    without bound, as descent does (Jacot 2018, with steps in place of time).
    """
    residual = initial - targets
    identity = torch.eye(len(kernel), dtype=kernel.dtype)
    return targets + torch.linalg.matrix_power(identity - lr * kernel, steps) @ residual


def diagonal_descent(
    features: Tensor,
    targets: Tensor,
    scale: float,
    lr: float,
    steps: int,
) -> Tensor:
    """Least squares by descent, with each weight written as w = u ⊙ u − v ⊙ v.

    features X: [n, d]; targets y: [n], of the same dtype. All entries of u and v start at
    `scale`. Each of `steps` steps of rate `lr` moves both at once along the negative
    gradient of ½ · mean (Xw − y)² by u and v. Returns w, [d] (Woodworth 2020).
    """
    u = v = torch.full_like(features[0], scale)
    for _ in range(steps):
        slope = features.T @ (features @ (u * u - v * v) - targets) / len(targets)
        u, v = u - 2 * lr * slope * u, v + 2 * lr * slope * v
    return u * u - v * v


def noisy_labels(labels: Tensor, fraction: float, classes: int, seed: int) -> Tensor:
    """Labels of which some are wrong.

    labels: [n], int64, from 0 to classes − 1; classes ≥ 2. Exactly `round(fraction * n)` of
    them (Python's round), anywhere, all such choices equally likely, become another class,
    each of the others equally likely. Returns new labels. The same seed gives the same; the
    global generator is left alone.
    """
    generator = torch.Generator().manual_seed(seed)
    count = round(fraction * len(labels))
    changed = torch.randperm(len(labels), generator=generator)[:count]
    shift = torch.randint(1, classes, (count,), generator=generator)
    noisy = labels.clone()
    noisy[changed] = (labels[changed] + shift) % classes
    return noisy


def noise_report(
    predictions: Tensor,
    labels: Tensor,
    noisy: Tensor,
) -> tuple[float, float, float]:
    """What a network trained on noisy labels has learned on its training set.

    predictions, labels (the true ones), noisy: [n], int64. Returns (fit, memorized,
    recovered). Of the examples whose label is unchanged: the part that is predicted right.
    Of those whose label was changed: the part predicted as the noisy label says, and the
    part predicted as the true one does. 0.0 where there are no such examples.
    """
    changed = labels != noisy

    def part(right: Tensor, among: Tensor) -> float:
        return int((right & among).sum()) / max(1, int(among.sum()))

    fit = part(predictions == labels, ~changed)
    return fit, part(predictions == noisy, changed), part(predictions == labels, changed)


def ramanujan_gap(mask: Tensor) -> float:
    """How far a layer's mask, as a graph of inputs and outputs, is from being cut in two.

    mask: bool, [out, in, ...]; axes after the first are flattened. Rows and columns without
    an entry are dropped. With d_in the mean number of connections of the inputs (columns)
    left, d_out that of the outputs (rows), and σ₂ the second largest singular value of the
    matrix of zeros and ones (0 if it has one row or column), the gap is
    √(d_in − 1) + √(d_out − 1) − σ₂, in float64. For regular graphs a gap ≥ 0 is the
    Ramanujan property; for others it is a heuristic (Hoang 2023). An empty mask gives 0.0.
    """
    matrix = mask.flatten(1).double()
    matrix = matrix[matrix.any(1)][:, matrix.any(0)]
    if not matrix.numel():
        return 0.0
    d_in, d_out = matrix.sum(0).mean(), matrix.sum(1).mean()
    values = torch.linalg.svdvals(matrix)
    second = float(values[1]) if len(values) > 1 else 0.0
    return math.sqrt(d_in - 1) + math.sqrt(d_out - 1) - second


def iterative_mean_difference(mask: Tensor) -> float:
    """IMDB: the mean gap over regular parts of a mask (after the program of Hoang 2023).

    mask: bool, [out, in, ...]; axes after the first are flattened. For each d ≥ 3 take the
    columns with exactly d entries alone, and their `ramanujan_gap` if their rows, but those
    without an entry, have at least 3 entries in the mean (so there are three columns at
    least). Returns the mean of these gaps, each d counted once; 0.0 if there are none.
    """
    matrix = mask.flatten(1)
    degrees = matrix.sum(0)
    gaps = []
    for d in degrees[degrees >= 3].unique():
        part = matrix[:, degrees == d]
        rows = part.any(1).sum()
        if part.sum() >= 3 * rows:
            gaps.append(ramanujan_gap(part))
    return sum(gaps) / len(gaps) if gaps else 0.0


def synflow_scores(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Synaptic flow: how much of what flows from inputs to outputs goes through a weight.

    weights: of all layers, first layer first, [out, in]. Returns |w| · ∂R/∂|w| by name,
    of the weights' shapes and dtypes, computed in float64, where R = 1ᵀ |W_L| … |W_1| 1 is
    the sum over all paths of the product of their |w| (Tanaka 2020).
    """
    sizes = [weight.double().abs() for weight in weights.values()]
    into = [torch.ones(sizes[0].shape[1], dtype=torch.float64)]  # flow from the inputs
    out = [torch.ones(len(sizes[-1]), dtype=torch.float64)]  # flow on to the outputs
    for size in sizes[:-1]:
        into.append(size @ into[-1])
    for size in sizes[:0:-1]:
        out.insert(0, size.T @ out[0])
    return {
        name: (after[:, None] * size * before).to(weights[name].dtype)
        for name, size, before, after in zip(weights, sizes, into, out, strict=True)
    }


def effective_masks(masks: dict[str, Tensor]) -> dict[str, Tensor]:
    """Of the kept weights those that lie on a path from an input to an output.

    masks: of all layers, first layer first, bool, [out, in]. Returns new masks by the same
    names: a kept weight stays if its input unit can be reached from an input, and an output
    can be reached from its output unit (Vysogorets and Kempe 2021).
    """
    layers = list(masks.values())
    reached = [torch.ones(layers[0].shape[1], dtype=torch.bool)]
    leads_on = [torch.ones(len(layers[-1]), dtype=torch.bool)]
    for mask in layers[:-1]:
        reached.append((mask & reached[-1]).any(1))
    for mask in layers[:0:-1]:
        leads_on.insert(0, (mask & leads_on[0][:, None]).any(0))
    return {
        name: masks[name] & before & after[:, None]
        for name, before, after in zip(masks, reached, leads_on, strict=True)
    }


def mask_report(
    state: dict[str, Tensor],
    masks: dict[str, Tensor],
    inputs: Tensor,
) -> dict[str, float]:
    """What theory knows of a pruned network before it is trained.

    state: of an MLP, for `mlp_forward`. masks: bool, of each of its weights, first layer
    first. inputs: [n, ...]. Returns floats by name: 'kept' and 'effective', which parts of
    all masked positions the masks and their `effective_masks` keep; 'paths', how many there
    are from inputs to outputs; 'gap', the mean `ramanujan_gap` of the layers; 'trace', the
    mean of the diagonal of the `empirical_ntk`; 'slowest', its smallest eigenvalue over its
    largest, where one below 0, by rounding, counts as 0.
    """
    positions = sum(mask.numel() for mask in masks.values())
    effective = effective_masks(masks)
    flow = synflow_scores({name: mask.double() for name, mask in masks.items()})
    kernel = empirical_ntk(state, masks, inputs).double()
    eigenvalues = torch.linalg.eigvalsh(kernel).clamp(min=0)
    return {
        "kept": sum(int(mask.sum()) for mask in masks.values()) / positions,
        "effective": sum(int(mask.sum()) for mask in effective.values()) / positions,
        "paths": float(next(iter(flow.values())).sum()),
        "gap": sum(ramanujan_gap(mask) for mask in masks.values()) / len(masks),
        "trace": float(kernel.diagonal().mean()),
        "slowest": float(eigenvalues[0] / eigenvalues[-1]),
    }
