"""Unit 06: networks that do no more than an input, or the moment, asks for.

S. Teerapittayanon, B. McDanel and H. T. Kung, *BranchyNet: Fast Inference via Early Exiting from Deep Neural Networks*,
ICPR 2016, arXiv:1709.01686.
X. Wang, F. Yu, Z.-Y. Dou, T. Darrell and J. E. Gonzalez, *SkipNet: Learning Dynamic Routing in Convolutional Networks*,
ECCV 2018, arXiv:1711.09485.
J. Yu, L. Yang, N. Xu, J. Yang and T. Huang, *Slimmable Neural Networks*, ICLR 2019, arXiv:1812.08928.

`networks.py` holds the networks that are trained with these functions, `kernel.py` the exit that is fast for a single
digit.
"""

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.models import mlp_forward, run_stage


def prediction_entropy(logits: Tensor) -> Tensor:
    """How undecided a prediction is: the entropy of its softmax (BranchyNet, III.B).

    logits: [..., classes], float, finite. Returns [...], of the same dtype, in nats, from 0
    (sure) to ln(classes); 0 · log 0 is 0. The paper prints the sum without its minus.
    """
    # H = −Σ p log p
    return torch.special.entr(torch.softmax(logits, dim=-1)).sum(dim=-1)


def exit_index(logits_per_exit: Sequence[Tensor], thresholds: Sequence[float]) -> Tensor:
    """At which exit each example leaves (BranchyNet, algorithm 1).

    logits_per_exit: for each of E exits [batch, classes], batch ≥ 1; thresholds: E − 1
    numbers, in nats, as the last exit has none. Returns [batch], int64: the first exit,
    counted from 0, whose entropy is strictly below its threshold, else the last. So a
    threshold of 0 lets nobody out, and one of infinity everybody.
    """
    last = len(thresholds)
    exits = torch.full((len(logits_per_exit[0]),), last)
    for number in reversed(range(last)):  # an earlier exit overrules the later ones
        leaves = prediction_entropy(logits_per_exit[number]) < thresholds[number]
        exits = torch.where(leaves, number, exits)
    return exits


def joint_exit_loss(
    logits_per_exit: Sequence[Tensor],
    labels: Tensor,
    weights: Sequence[float],
) -> Tensor:
    """The loss that trains all exits at once (BranchyNet, section III.A).

    logits_per_exit: for each of E exits [batch, classes]; labels: [batch], int64; weights:
    E numbers. Returns a scalar: the sum over the exits of weight · cross-entropy, which is
    a mean over the batch, in nats. The weights are taken as they are; the 1/classes that
    the paper prints is left out. Differentiable in all logits.
    """
    # L = Σ_n w_n · L(ŷ_n, y)
    losses = [F.cross_entropy(logits, labels) for logits in logits_per_exit]
    return sum(weight * loss for weight, loss in zip(weights, losses, strict=True))


def choose_thresholds(
    entropies: Tensor,
    correct: Tensor,
    macs_per_exit: Sequence[float],
    budget: float,
    candidates: Sequence[float],
) -> list[float]:
    """The best thresholds within a budget (the screening of BranchyNet, section III.C).

    entropies: [E − 1, n], in nats, of n validation examples at all exits but the last;
    correct: bool [E, n], whether each exit is right; macs_per_exit: E numbers, all that an
    example costs that leaves there; budget: what an example may cost in the mean, exactly
    that included; candidates: the thresholds to choose from, which act as in `exit_index`.
    Returns E − 1 of the candidates: of all combinations the one with the most right
    answers; of equals the cheapest; of equals the first in the order of
    itertools.product(candidates, repeat=E − 1). ValueError if none is within the budget.
    """
    exits, count = correct.shape
    everybody = torch.ones(1, count, dtype=torch.bool)
    best: list[float] = []
    best_key: tuple[int, float] | None = None
    for thresholds in itertools.product(candidates, repeat=exits - 1):
        leaves = [row < threshold for row, threshold in zip(entropies, thresholds, strict=True)]
        left = torch.cat([*(row.unsqueeze(0) for row in leaves), everybody]).int().argmax(dim=0)
        visits = left.bincount(minlength=exits).tolist()
        macs = sum(m * n for m, n in zip(macs_per_exit, visits, strict=True)) / count
        key = (int(correct.gather(0, left.unsqueeze(0)).sum()), -macs)
        if macs <= budget and (best_key is None or key > best_key):
            best, best_key = list(thresholds), key
    if best_key is None:
        raise ValueError(f"No combination costs at most {budget} an example: raise the budget.")
    return best


def skip_gate(gate_logits: Tensor, noise: Tensor) -> Tensor:
    """A gate that is open or closed, and can be learned (SkipNet, section 3.2).

    gate_logits, noise: one shape, one float dtype. Returns that shape and dtype: 1 where
    gate_logits + noise > 0, else 0 (to 1e-6). Its gradient is that of σ(gate_logits +
    noise), in both arguments. Noise of 0 is SkipNet's supervised gate; with noise from the
    standard logistic distribution a gate opens with probability σ(gate_logits).
    """
    total = gate_logits + noise
    soft = torch.sigmoid(total)
    # In this order exact: soft − soft is 0, while (hard − soft) + soft would be rounded
    return (total > 0).to(soft.dtype) + (soft - soft.detach())


def expected_cost(gate_probabilities: Tensor, costs: Tensor) -> Tensor:
    """What a network with gates costs in the mean, to be added to its loss.

    gate_probabilities: [batch, L], L ≥ 1, that each gate is open; costs: [L], of the blocks
    behind the gates, in any unit, of the same dtype. Returns a scalar: the batch mean of
    Σ_l p_l · c_l. Differentiable in both.
    """
    return (gate_probabilities * costs).sum(dim=-1).mean()


def expected_reward(gate_probabilities: Tensor, rewards: Tensor) -> Tensor:
    """The exact mean of a reward over all settings of independent gates.

    Its gradient is what REINFORCE (unit 10) estimates.

    gate_probabilities: [batch, L], L ≥ 1, that each gate is open; rewards: [batch, 2^L], of
    the same dtype: column i is the reward of setting i, in which gate l is open if and only
    if bit l of i (which is worth 2^l) is 1. Returns a scalar: the batch mean of Σ_i
    P(setting i) · reward_i. Differentiable in both, where probabilities are 0 or 1 too.
    """
    probability = torch.ones_like(rewards[:, :1])
    for opens in gate_probabilities.unsqueeze(-1).unbind(dim=1):
        # Without the next gate the settings so far; with it the same ones, 2^l further on
        probability = torch.cat([probability * (1 - opens), probability * opens], dim=1)
    return (probability * rewards).sum(dim=1).mean()


def slim(
    weight: Tensor,
    bias: Tensor,
    in_fraction: float,
    out_fraction: float,
    positions: int = 1,
) -> tuple[Tensor, Tensor]:
    """A layer at a fraction of its width: its first channels (Yu 2019, section 3).

    weight: [out, in, ...], of a convolution or a linear layer; bias: [out]. Fractions are
    in (0, 1]: of n channels the first max(1, round(fraction · n)) stay, Python's round; 1
    where all stay, as for images and classes. positions: how many columns of the weight
    belong to each input channel: 1, but height · width for a linear layer after flattening.
    Returns (weight, bias), copies. Differentiable: the gradient reaches what was kept.
    """
    outputs = max(1, round(out_fraction * len(weight)))
    channels = max(1, round(in_fraction * (weight.shape[1] // positions)))
    return weight[:outputs, : channels * positions].clone(), bias[:outputs].clone()


def early_exit_predict(
    inputs: Tensor,
    stages: Sequence[dict[str, Tensor]],
    heads: Sequence[dict[str, Tensor]],
    thresholds: Sequence[float],
) -> tuple[Tensor, Tensor]:
    """Classify, computing for each example no more than it needs (BranchyNet, algorithm 1).

    inputs: [batch, ...], batch ≥ 1; stages, heads: for each of E exits the parameters of a
    stage, and of the MLP that classifies what the stage gives: hidden = run_stage(stage,
    hidden), logits = mlp_forward(head, hidden), both of `course_utils.models`. thresholds:
    E − 1 numbers, in nats, which act as in `exit_index`. Only the examples that have not
    left enter the next stage, and a stage (or head) that nobody enters is not run. Returns
    (classes, exits), both [batch], int64, in the order of the inputs: the class of the
    largest logit at the exit where an example left, and the number of that exit.
    """
    classes, exits = torch.empty(2, len(inputs), dtype=torch.int64)
    waiting, hidden = torch.arange(len(inputs)), inputs
    for number, (stage, head) in enumerate(zip(stages, heads, strict=True)):
        hidden = run_stage(stage, hidden)
        logits = mlp_forward(head, hidden)
        leaves = torch.ones(len(waiting), dtype=torch.bool)
        if number < len(thresholds):
            leaves = prediction_entropy(logits) < thresholds[number]
        classes[waiting[leaves]], exits[waiting[leaves]] = (
            logits[leaves].argmax(dim=-1),
            number,
        )
        waiting, hidden = waiting[~leaves], hidden[~leaves]
        if len(waiting) == 0:
            break
    return classes, exits


# What is built on these functions, and belongs to the unit as well
from course_utils.dynamic.kernel import compiled_mlp
