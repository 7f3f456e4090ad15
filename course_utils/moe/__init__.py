"""Unit 10: mixture of experts.

N. Shazeer et al., *Outrageously Large Neural Networks: The Sparsely-Gated Mixture-of-Experts Layer*, ICLR 2017,
arXiv:1701.06538.
W. Fedus, B. Zoph and N. Shazeer, *Switch Transformers: Scaling to Trillion Parameter Models with Simple and Efficient
Sparsity*, JMLR 23, 2022, arXiv:2101.03961.
Y. Zhou et al., *Mixture-of-Experts with Expert Choice Routing*, NeurIPS 2022, arXiv:2202.09368.
S. Roller, S. Sukhbaatar, A. Szlam and J. Weston, *Hash Layers For Large Sparse Models*, NeurIPS 2021,
arXiv:2106.04426.
R. J. Williams, *Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement Learning*, Machine
Learning 8, 1992.
O. Roy and M. Vetterli, *The Effective Rank: A Measure of Effective Dimensionality*, EUSIPCO 2007.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def noisy_top_k(clean_logits: Tensor, noise_std: Tensor, noise: Tensor, k: int) -> Tensor:
    """Gates of the noisy top-k router (Shazeer 2017, eq. 3 to 5).

    clean_logits, noise_std, noise: [tokens, experts], of one float dtype, tokens may be 0;
    noise_std is not negative, noise is a draw from the standard normal distribution (zeros
    when the network is evaluated). 1 ≤ k ≤ experts. Returns gates [tokens, experts] of the
    same dtype: in each row the softmax over the k largest noisy logits, clean + noise ·
    noise_std, and exactly 0 elsewhere; of equal logits any may be chosen. Differentiable in
    clean_logits and noise_std, for k = 1 too, where the gradient is 0.
    """
    noisy = clean_logits + noise * noise_std
    largest, chosen = noisy.topk(k, dim=-1)
    return torch.zeros_like(noisy).scatter(-1, chosen, torch.softmax(largest, dim=-1))


def switch_gate(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The router of a Switch Transformer: one expert a token (Fedus 2022, eq. 1, 2, k = 1).

    logits: [tokens, experts], of any float dtype. Returns (expert [tokens], int64; gate
    [tokens], of the logits' dtype): the expert of the largest logit (any of those whose
    probabilities are equal once they are rounded), and its probability in the softmax over
    all experts. The gate's gradient by the logits is that of this expert's probability,
    where logits are equal too.
    """
    expert = logits.argmax(dim=-1)
    probabilities = torch.softmax(logits, dim=-1)
    return expert, probabilities.gather(-1, expert.unsqueeze(-1)).squeeze(-1)


def load_probability(
    clean_logits: Tensor,
    noise_std: Tensor,
    noisy_logits: Tensor,
    k: int,
) -> Tensor:
    """The probability of being among the k largest (Shazeer 2017, eq. 8, 9).

    It is an expert's own, if its noise is drawn again and the others' stays.
    clean_logits, noise_std, noisy_logits: [tokens, experts], all float32 or all float64;
    noise_std is positive. 1 ≤ k ≤ experts. Returns [tokens, experts]: Φ((clean − t) /
    noise_std), Φ the standard normal distribution function (in torch `torch.special.ndtr`)
    and t the k-th largest of the *other* experts' noisy logits. Differentiable in all three
    tensors. With k = experts there is no k-th other one: every probability is the constant
    1.
    """
    if k == clean_logits.shape[-1]:
        return torch.ones_like(clean_logits)
    largest = noisy_logits.topk(k + 1, dim=-1).values
    last_in, first_out = largest[:, k - 1 : k], largest[:, k:]
    # One of the k largest has to stay above the next one, the others have to beat the k-th
    threshold = torch.where(noisy_logits > first_out, first_out, last_in)
    return torch.special.ndtr((clean_logits - threshold) / noise_std)


def importance_loss(gates: Tensor) -> Tensor:
    """Squared coefficient of variation of the experts' importance (Shazeer 2017, eq. 6, 7).

    gates: [tokens, experts], float32 or float64, not negative, not all 0. An expert's
    importance is the sum of its gates over the tokens. Returns a scalar: the variance over
    the experts (population: divided by their number) by the squared mean. Differentiable in
    the gates, also if there is one expert only, and the loss 0.
    """
    importance = gates.sum(dim=0)
    return importance.var(correction=0) / importance.mean() ** 2


def load_loss(probability: Tensor) -> Tensor:
    """Squared coefficient of variation of the experts' load (Shazeer 2017, eq. 10, 11).

    probability: [tokens, experts], float32 or float64, of `load_probability`. An expert's
    load is the sum of its probabilities over the tokens: a smooth estimate of how many
    tokens it gets. Returns a scalar: the population variance over the experts by the
    squared mean. Differentiable in the probabilities, also if there is one expert only.
    """
    load = probability.sum(dim=0)
    return load.var(correction=0) / load.mean() ** 2


def switch_loss(probabilities: Tensor, assignment: Tensor, num_experts: int) -> Tensor:
    """The Switch Transformer's balance loss: E · Σ_i f_i · P_i (Fedus 2022, eq. 4–6, no α).

    probabilities: [tokens, experts], of any float dtype, the softmax over the router's
    logits; assignment: [tokens], int64, the experts that the tokens were sent to. f_i is
    the fraction of the tokens that were sent to expert i, P_i the mean of its probability
    over the tokens. Returns a scalar of the probabilities' dtype, in which the fractions f
    are computed too (an integer by an integer is float32), differentiable in the
    probabilities; f is constant.
    """
    fraction = F.one_hot(assignment, num_experts).to(probabilities.dtype).mean(dim=0)
    return num_experts * (fraction * probabilities.mean(dim=0)).sum()


def dispatch(
    tokens: Tensor,
    assignment: Tensor,
    num_experts: int,
    capacity: int,
) -> tuple[Tensor, Tensor]:
    """Send tokens to their experts' buffers, first come first served (Fedus 2022, 2.2).

    tokens: [tokens, width], 0 to 10,000 of them, of any float dtype, finite; assignment:
    [tokens], int64, from 0 to num_experts − 1; capacity: slots of each expert, 0 or more.
    Returns (buffer [num_experts, capacity, width], of the tokens' dtype; positions
    [tokens], int64): the t-th token of an expert stands in its slot t, counted from 0, and
    empty slots are 0; positions says in which slot a token stands, −1 for tokens that came
    when their expert was full. The buffer is differentiable in the tokens.
    """
    chosen = F.one_hot(assignment, num_experts)
    # Tokens with the same expert up to and including this one, minus itself
    arrival = (chosen.cumsum(dim=0) * chosen).sum(dim=1) - 1
    kept = arrival < capacity
    buffer = tokens.new_zeros(num_experts, capacity, tokens.shape[1])
    buffer = buffer.index_put((assignment[kept], arrival[kept]), tokens[kept])
    return buffer, torch.where(kept, arrival, -1)


def combine(buffer: Tensor, assignment: Tensor, positions: Tensor, gates: Tensor) -> Tensor:
    """Bring what `dispatch` sent out back to the tokens, each times its gate.

    buffer: [experts, capacity, width], the experts' outputs; assignment, positions:
    [tokens], int64, as given to and by `dispatch`; gates: [tokens], of the buffer's dtype.
    The capacity may be 0. Returns [tokens, width]; a dropped token (position −1) gets
    exactly 0, and hands on gradients of exactly 0, whatever stands in the buffer and in its
    gate, NaN too. Differentiable in the buffer and the gates.
    """
    kept = positions >= 0
    outputs = gates[kept].unsqueeze(1) * buffer[assignment[kept], positions[kept]]
    return buffer.new_zeros(len(gates), buffer.shape[2]).index_put((kept,), outputs)


def capacity(num_tokens: int, num_experts: int, k: int, factor: float) -> int:
    """Slots of each expert: ⌈k · tokens · factor / experts⌉ (Fedus 2022, eq. 3).

    Each token is sent to k experts (as in Zhou 2022, eq. 1). A factor of 1 is just enough
    if the experts share the tokens equally. Tokens and factor may be 0, and the capacity is
    then 0, or larger than the number of tokens.
    """
    return math.ceil(k * num_tokens * factor / num_experts)


def expert_choice(scores: Tensor, capacity: int) -> tuple[Tensor, Tensor]:
    """Each expert chooses its tokens (Zhou 2022, eq. 2).

    scores: [tokens, experts], how well they suit each other, such as the softmax over the
    experts; capacity: how many tokens each expert takes, from none to all. Returns (token
    indices [experts, capacity], int64; gates [experts, capacity]): for each expert the
    tokens with its highest scores, best first, and these scores. A token may be chosen by
    several experts or by none. The gates are differentiable in the scores.
    """
    gates, tokens = scores.T.topk(capacity, dim=-1)
    return tokens, gates


def hash_route(token_ids: Tensor, num_experts: int) -> Tensor:
    """A router that learns nothing: a hash of the token's id (Roller 2021; Knuth's hash).

    token_ids: integers from 0 to 2³¹ − 1, of any shape and integer dtype; 1 ≤ num_experts ≤
    2³¹. Returns experts, int64, of the same shape: ⌊h · num_experts / 2³²⌋, exactly, with
    h = id · 2654435761 mod 2³². It is h's high bits that are mixed: the low ones are those
    of the id again, so that h mod 8 sends every eighth id to the same expert.
    """
    return (token_ids.long() * 2654435761 % 2**32 * num_experts) >> 32


def reinforce_loss(
    log_probability: Tensor,
    reward: Tensor,
    baseline: Tensor | float,
) -> Tensor:
    """A loss for a random router: −mean((reward − baseline) · log p) (Williams 1992).

    log_probability, reward: [tokens], of the expert that was drawn, and of what came of it;
    baseline: a number (0 too), or a tensor of no axes or [tokens]. Returns a scalar,
    differentiable in log_probability: its gradient is −(reward − baseline) / tokens. Reward
    and baseline are constants.
    """
    advantage = (reward - baseline).detach()
    return -(advantage * log_probability).mean()


def effective_rank(representations: Tensor) -> Tensor:
    """How many directions a set of vectors really uses (Roy and Vetterli 2007, eq. 3, 4).

    representations: [tokens, width], float32 or float64, of any size, not all 0. With the
    singular values, all of them, divided by their sum as probabilities p, it is exp(−Σ p
    log p), and 0 · log 0 is 0. Returns a scalar tensor from 1 to min(tokens, width).
    """
    singular = torch.linalg.svdvals(representations)
    return torch.special.entr(singular / singular.sum()).sum().exp()


def moe_layer(
    tokens: Tensor,
    router_weight: Tensor,
    w1: Tensor,
    w2: Tensor,
    k: int,
    capacity_factor: float,
) -> tuple[Tensor, Tensor]:
    """A sparse feed-forward layer: k of E experts for each token (Fedus 2022, section 2).

    tokens: [tokens, width]; router_weight: [width, experts]; w1: [experts, width, hidden];
    w2: [experts, hidden, width]; all finite. The router's logits are tokens @
    router_weight; expert e computes relu(x @ w1[e]) @ w2[e]. A token goes to its k experts
    of the largest logits. The gate is, for k = 1, that of `switch_gate`; for k > 1 the
    softmax over the k chosen logits. Every expert has
    `capacity(tokens, experts, k, capacity_factor)` slots, for all choices together; with a
    factor of 0 there are none. They are given first to the tokens' first choices, in the
    order of the tokens, then to their second choices, and so on. What is dropped adds 0,
    and the token's other gates stay as they are.

    Returns (output [tokens, width], auxiliary loss): the sum of the gated outputs, and
    `switch_loss` of the softmax over all logits, where f counts all k choices of all
    tokens, before any is dropped: the fraction of the k · tokens choices. Differentiable in
    the four tensors.
    """
    num_experts = router_weight.shape[1]
    logits = tokens @ router_weight
    largest, chosen = logits.topk(k, dim=-1)
    gates = torch.softmax(largest, dim=-1) if k > 1 else switch_gate(logits)[1].unsqueeze(1)
    assignment = chosen.T.flatten()  # [k · tokens]: all first choices, then all second ones
    slots = capacity(len(tokens), num_experts, k, capacity_factor)
    buffer, positions = dispatch(tokens.repeat(k, 1), assignment, num_experts, slots)
    answers = torch.relu(buffer @ w1) @ w2
    outputs = combine(answers, assignment, positions, gates.T.flatten())
    probabilities = torch.softmax(logits, dim=-1)
    auxiliary = switch_loss(probabilities.repeat(k, 1), assignment, num_experts)
    return outputs.view(k, *tokens.shape).sum(dim=0), auxiliary
