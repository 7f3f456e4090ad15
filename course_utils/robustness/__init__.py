"""Unit 12: sparsity and robustness.

A. Madry, A. Makelov, L. Schmidt, D. Tsipras and A. Vladu, *Towards Deep Learning Models Resistant to Adversarial
Attacks*, ICLR 2018, arXiv:1706.06083.
S. Gowal, K. Dvijotham, R. Stanforth, R. Bunel, C. Qin, J. Uesato, R. Arandjelovic, T. Mann and P. Kohli, *On the
Effectiveness of Interval Bound Propagation for Training Verifiably Robust Models*, arXiv:1810.12715, 2018.
J. Cohen, E. Rosenfeld and J. Z. Kolter, *Certified Adversarial Robustness via Randomized Smoothing*, ICML 2019,
arXiv:1902.02918.
T. Gu, B. Dolan-Gavitt and S. Garg, *BadNets: Identifying Vulnerabilities in the Machine Learning Model Supply Chain*,
arXiv:1708.06733, 2017.
B. Wang, Y. Yao, S. Shan, H. Li, B. Viswanath, H. Zheng and B. Y. Zhao, *Neural Cleanse: Identifying and Mitigating
Backdoor Attacks in Neural Networks*, IEEE S&P 2019.
T. Chen, Z. Zhang, P. Wang, S. Balachandra, H. Ma, Z. Wang and Z. Wang, *Sparsity Winning Twice: Better Robust
Generalization from More Efficient Training*, ICLR 2022, arXiv:2202.09844.
T. Chen, Z. Zhang, Y. Zhang, S. Chang, S. Liu and Z. Wang, *Quarantine: Sparsity Can Uncover the Trojan Attack Trigger
for Free*, CVPR 2022, arXiv:2205.11819.

Images have pixels from 0 to 1. A mask of weights is True where a weight is kept; a trigger's mask is a picture.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist

import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.models import mlp_forward


def project_linf(perturbed: Tensor, clean: Tensor, epsilon: float) -> Tensor:
    """The nearest image that is within ε of the clean one in every pixel, and an image.

    perturbed, clean: of one shape and dtype; pixels of `clean` are from 0 to 1, those of
    `perturbed` any numbers. Returns a new tensor, each pixel brought into [clean − ε,
    clean + ε] and into [0, 1]; what is inside stays, bit for bit (Madry 2018, section 2.1).
    """
    near = torch.minimum(torch.maximum(perturbed, clean - epsilon), clean + epsilon)
    return near.clamp(0, 1)


def project_l2(perturbed: Tensor, clean: Tensor, epsilon: float) -> Tensor:
    """Each example brought into a ball of radius ε around its clean one, then into [0, 1].

    perturbed, clean: [batch, ...], of one shape and dtype. An example's difference to its
    clean one, over all axes but the first, is shortened to length ε (Euclidean) if it is
    longer, its direction kept; otherwise the example stays, bit for bit. Then every pixel
    is brought into [0, 1], which makes the difference shorter still. Returns a new tensor.
    """
    difference = perturbed - clean
    flat = difference.reshape(len(difference), math.prod(difference.shape[1:]))
    length = flat.norm(dim=1).view(-1, *[1] * (difference.dim() - 1))
    # Where the length is 0 this is no number, and is not used
    shortened = clean + difference * (epsilon / length)
    return torch.where(length > epsilon, shortened, perturbed).clamp(0, 1)


def pgd_step(
    perturbed: Tensor,
    clean: Tensor,
    gradient: Tensor,
    step_size: float,
    epsilon: float,
) -> Tensor:
    """One step of projected gradient ascent in the max norm (Madry 2018, section 2.1).

    Each pixel moves by `step_size` up the sign of the loss's gradient (none where it is 0),
    then the image is projected with `project_linf`. All tensors have one shape and dtype.
    With perturbed = clean and a step of ε it is the fast gradient sign method. Returns a
    new tensor.
    """
    return project_linf(perturbed + step_size * gradient.sign(), clean, epsilon)


def interval_linear(
    lower: Tensor,
    upper: Tensor,
    weight: Tensor,
    bias: Tensor,
) -> tuple[Tensor, Tensor]:
    """The least and the greatest output of a linear layer over a box (Gowal 2018, eq. 6).

    lower ≤ upper: corners of the boxes, [batch, in], finite. weight [out, in], bias [out].
    Returns (lower, upper), each [batch, out]: the exact minimum and maximum of each output
    over its box.
    """
    up, down = weight.clamp(min=0), weight.clamp(max=0)
    least = F.linear(lower, up, bias) + F.linear(upper, down)
    greatest = F.linear(upper, up, bias) + F.linear(lower, down)
    return least, greatest


def margin_bounds(
    lower: Tensor,
    upper: Tensor,
    weight: Tensor,
    bias: Tensor,
    labels: Tensor,
) -> Tensor:
    """By how much at least the label's logit leads, over a box (Gowal 2018, section 3).

    lower ≤ upper: boxes of the last layer's inputs, [batch, in]. weight [classes, in], bias
    [classes]; labels [batch], int64. Returns [batch, classes]: the exact minimum of z_label
    − z_k over the box, 0 at the label itself. The difference is merged into the layer
    first, z_label − z_k = (w_label − w_k)·x + b_label − b_k: an input that raises both
    counts once. An example whose other entries are all above 0 is verified.
    """
    rows = weight[labels].unsqueeze(1) - weight  # [batch, classes, in]
    corner = torch.where(rows > 0, lower.unsqueeze(1), upper.unsqueeze(1))
    return (rows * corner).sum(2) + (bias[labels].unsqueeze(1) - bias)


def lower_confidence_bound(successes: int, trials: int, alpha: float) -> float:
    """A probability that the true one is below in at most a part α of all experiments.

    The one-sided bound of Clopper and Pearson (1934): the p with P[Bin(trials, p) ≥
    successes] = α. successes: from 0 to trials, trials ≥ 1. 0 < α < 1. Returns 0.0 without
    a success; if all trials succeed, α^(1/trials). Correct to 9 digits up to 100,000
    trials.
    """
    if successes == 0:
        return 0.0
    k = torch.arange(successes, trials + 1, dtype=torch.float64)
    n = torch.tensor(float(trials), dtype=torch.float64)
    log_ways = torch.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)

    def tail(p: float) -> float:
        terms = log_ways + k * math.log(p) + (n - k) * math.log1p(-p)
        return float(terms.exp().sum())

    low, high = 0.0, 1.0
    while low < (middle := (low + high) / 2) < high:
        # The tail grows with p
        low, high = (middle, high) if tail(middle) < alpha else (low, middle)
    return low


def certify(
    selection_counts: Tensor,
    estimation_counts: Tensor,
    sigma: float,
    alpha: float,
) -> tuple[int, float]:
    """The smoothed classifier's class, and a radius in which it cannot change (Cohen 2019).

    The counts say how often the network gave each class, [classes], int64, for copies of
    one image with Gaussian noise σ: a first, small sample that selects the class (the most
    frequent; of equals the lower), and a second one that estimates its probability. p is
    its `lower_confidence_bound` at α, of the second counts alone. Returns (class, radius):
    the radius is σ·Φ⁻¹(p), Euclidean, in units of a pixel, if p > ½ (Φ: the normal
    distribution function); otherwise (−1, 0.0), the classifier abstains.
    """
    top = int(selection_counts.argmax())
    counts = estimation_counts.tolist()
    p = lower_confidence_bound(counts[top], sum(counts), alpha)
    if p <= 0.5:
        return -1, 0.0
    return top, sigma * NormalDist().inv_cdf(p)


def stamp_trigger(images: Tensor, pattern: Tensor, mask: Tensor) -> Tensor:
    """Images that carry a trigger: (1 − m)·x + m·pattern (Wang 2019, eq. 2).

    images: [..., height, width]. pattern, mask: [height, width]; the mask goes from 0,
    where the image stays, to 1, where the pattern covers it. Returns a new tensor, of the
    images' shape and dtype.
    """
    return (1 - mask) * images + mask * pattern


def poison(
    images: Tensor,
    labels: Tensor,
    pattern: Tensor,
    mask: Tensor,
    target: int,
    fraction: float,
    seed: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """A training set with a backdoor: some examples get the trigger and the target's label.

    images [n, ..., height, width], labels [n], int64; pattern, mask: as in `stamp_trigger`.
    `round(fraction * n)` examples are poisoned (Python's round), or all candidates if there
    are fewer; candidates are the examples of all classes but the target's (Gu 2017, section
    4). Every set of so many candidates is as likely as any other by this seed; global
    generators are left alone. Returns new (images, labels, chosen): chosen are the positions
    of the poisoned examples, int64, ascending. All other examples stay as they are.
    """
    candidates = (labels != target).nonzero().flatten()
    order = torch.randperm(len(candidates), generator=torch.Generator().manual_seed(seed))
    chosen = candidates[order[: round(fraction * len(labels))]].sort().values
    images, labels = images.clone(), labels.clone()
    images[chosen] = stamp_trigger(images[chosen], pattern, mask)
    labels[chosen] = target
    return images, labels, chosen


def attack_success_rate(predictions: Tensor, labels: Tensor, target: int) -> float:
    """Which part of the images that are not of the target class is taken for it.

    predictions, labels: [n], int64; at least one label is not the target. Labels are the
    true ones, predictions those for images with the trigger (or, for the rate by mistake,
    without). Images of the target class do not count: they need no trigger. Returns a
    Python float, exact to 9 digits.
    """
    others = labels != target
    return float((predictions[others] == target).double().mean())


def anomaly_index(norms: Tensor) -> Tensor:
    """How much smaller than usual each class's trigger is (Wang 2019, section 5.2).

    norms: [classes], float32 or float64, of the smallest trigger found for each class.
    Returns (median − norm) / (1.4826 · MAD), [classes], same dtype, signed: MAD is the
    median of |norm − median|, and not 0 here. The median of an even number is the mean of
    the two in the middle. Neural Cleanse suspects a class above 2.
    """

    def median(values: Tensor) -> Tensor:
        ordered = values.sort().values
        return (ordered[(len(values) - 1) // 2] + ordered[len(values) // 2]) / 2

    middle = median(norms)
    return (middle - norms) / (1.4826 * median((norms - middle).abs()))


def trojan_score(errors: Sequence[float]) -> float:
    """How high the error climbs on the way between two networks (Chen 2022b, eq. 2).

    errors: of the networks on the straight line between the two, both ends among them, in
    order; at least two. Returns the largest of them all minus the mean of the two ends.
    """
    return max(errors) - (errors[0] + errors[-1]) / 2


def sign_flip_test(differences: Sequence[float]) -> float:
    """How likely so large a mean difference is if signs are chance: an exact two-sided p.

    differences: of paired runs, one for each seed, n ≥ 1. If neither side is better, each
    could have had the other sign. Returns the share of the 2ⁿ sign patterns for which |Σ ±
    differences| is at least the observed |Σ differences|, the observed one among them. Sums
    that differ by at most 1e-9 of Σ |difference| count as equal: that is rounding. With
    three seeds p is never below 0.25 (R. A. Fisher, The Design of Experiments, 1935,
    section 21).
    """
    values = torch.tensor([float(d) for d in differences], dtype=torch.float64)
    sums = torch.zeros(1, dtype=torch.float64)
    for value in values:
        sums = torch.cat([sums + value, sums - value])
    least = values.sum().abs() - 1e-9 * values.abs().sum()
    return float((sums.abs() >= least).double().mean())


def few_shot(labels: Tensor, shots: int, seed: int) -> Tensor:
    """Positions of a few examples of each class, drawn without repetition.

    labels: [n], int64. For each class that occurs, every set of `shots` of its examples is
    as likely as any other by this seed; global generators are left alone. Returns the
    positions of all, int64, ascending. ValueError if a class has fewer examples than that.
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = [torch.zeros(0, dtype=torch.int64)]
    for label in labels.unique():
        of_class = (labels == label).nonzero().flatten()
        if len(of_class) < shots:
            found = f"Class {label} has {len(of_class)} examples"
            raise ValueError(f"{found}: ask for no more shots than that.")
        drawn.append(of_class[torch.randperm(len(of_class), generator=generator)[:shots]])
    return torch.cat(drawn).sort().values


def adversarial_train(
    state: dict[str, Tensor],
    inputs: Tensor,
    labels: Tensor,
    masks: dict[str, Tensor],
    epsilon: float,
    step_size: float,
    attack_steps: int,
    lr: float,
    steps: int,
) -> dict[str, Tensor]:
    """Train a sparse network on the worst images an attack finds (Madry 2018, eq. 2.1).

    state: of an MLP, for `mlp_forward(state, inputs)`. inputs [batch, ...] from 0 to 1,
    labels [batch]: all of them in each step; the loss is the mean cross-entropy. masks:
    bool, by the names of some of the state's tensors; outside them weights become 0,
    whatever they hold, before the first attack, and stay 0.

    In each of `steps` steps, `attack_steps` times `pgd_step` climbs the loss of the present
    network, from the clean inputs each time anew; then all tensors descend on the attacked
    inputs, w ← w − lr · gradient, the attack being a constant. Returns a new state, of the
    same names, shapes and dtypes.
    """

    def masked(name: str, value: Tensor) -> Tensor:
        return torch.where(masks[name], value, 0) if name in masks else value.clone()

    state = {name: masked(name, value) for name, value in state.items()}
    for _ in range(steps):
        attacked = inputs
        for _ in range(attack_steps):
            leaf = attacked.detach().requires_grad_()
            loss = F.cross_entropy(mlp_forward(state, leaf), labels)
            (gradient,) = torch.autograd.grad(loss, leaf)
            attacked = pgd_step(attacked, inputs, gradient, step_size, epsilon)
        leaves = {name: value.detach().requires_grad_() for name, value in state.items()}
        loss = F.cross_entropy(mlp_forward(leaves, attacked), labels)
        gradients = torch.autograd.grad(loss, list(leaves.values()))
        for (name, value), gradient in zip(leaves.items(), gradients, strict=True):
            state[name] = masked(name, value.detach() - lr * gradient)
    return state
