"""Wrong and right versions of unit 10's exercises."""

import math
from fractions import Fraction

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils import moe as reference
from tests.checks.catalogue import mutant, right

# --- 10.1a noisy_top_k ------------------------------------------------------------------------------------------------


@mutant("10.1a", "softmax over all experts, not renormalised over the k chosen")
def all_softmax(clean_logits, noise_std, noise, k):
    noisy = clean_logits + noise * noise_std
    gates = torch.softmax(noisy, -1)
    return torch.zeros_like(gates).scatter(-1, noisy.topk(k).indices, gates.gather(-1, noisy.topk(k).indices))


@mutant("10.1a", "chosen without the noise")
def chosen_clean(clean_logits, noise_std, noise, k):
    chosen = clean_logits.topk(k).indices
    noisy = clean_logits + noise * noise_std
    return torch.zeros_like(noisy).scatter(-1, chosen, torch.softmax(noisy.gather(-1, chosen), -1))


@mutant("10.1a", "gates of the clean logits")
def gates_clean(clean_logits, noise_std, noise, k):
    chosen = (clean_logits + noise * noise_std).topk(k).indices
    return torch.zeros_like(clean_logits).scatter(-1, chosen, torch.softmax(clean_logits.gather(-1, chosen), -1))


@mutant("10.1a", "no noise at all")
def no_noise(clean_logits, noise_std, noise, k):
    return reference.noisy_top_k(clean_logits, noise_std * 0, noise, k)


@mutant("10.1a", "noise not scaled by its standard deviation")
def unscaled_noise(clean_logits, noise_std, noise, k):
    return reference.noisy_top_k(clean_logits, torch.ones_like(noise_std), noise, k)


@mutant("10.1a", "noise scaled by the variance")
def variance_noise(clean_logits, noise_std, noise, k):
    return reference.noisy_top_k(clean_logits, noise_std**2, noise, k)


@mutant("10.1a", "softplus applied again to the standard deviation")
def softplus_again(clean_logits, noise_std, noise, k):
    return reference.noisy_top_k(clean_logits, F.softplus(noise_std), noise, k)


@mutant("10.1a", "everything that reaches the k-th largest, so that ties let in more than k")
def threshold_ties(clean_logits, noise_std, noise, k):
    noisy = clean_logits + noise * noise_std
    kept = noisy >= noisy.topk(k).values[..., -1:]
    return torch.softmax(noisy.masked_fill(~kept, -torch.inf), -1)


@mutant("10.1a", "zeros put in before the softmax, where e^0 is not 0")
def zeros_before(clean_logits, noise_std, noise, k):
    noisy = clean_logits + noise * noise_std
    chosen = noisy.topk(k).indices
    return torch.softmax(torch.zeros_like(noisy).scatter(-1, chosen, noisy.gather(-1, chosen)), -1)


@mutant("10.1a", "softmax over the tokens")
def over_tokens(clean_logits, noise_std, noise, k):
    noisy = clean_logits + noise * noise_std
    largest, chosen = noisy.topk(k)
    return torch.zeros_like(noisy).scatter(-1, chosen, torch.softmax(largest, 0))


@mutant("10.1a", "the k smallest")
def smallest(clean_logits, noise_std, noise, k):
    noisy = clean_logits + noise * noise_std
    values, chosen = noisy.topk(k, largest=False)
    return torch.zeros_like(noisy).scatter(-1, chosen, torch.softmax(values, -1))


@mutant("10.1a", "gates without a gradient")
def gates_detached(clean_logits, noise_std, noise, k):
    return reference.noisy_top_k(clean_logits, noise_std, noise, k).detach()


@mutant("10.1a", "no gradient into the standard deviation")
def std_detached(clean_logits, noise_std, noise, k):
    return reference.noisy_top_k(clean_logits, noise_std.detach(), noise, k)


@mutant("10.1a", "exp without the maximum taken off")
def exp_overflows(clean_logits, noise_std, noise, k):
    noisy = clean_logits + noise * noise_std
    largest, chosen = noisy.topk(k)
    powers = largest.exp()
    return torch.zeros_like(noisy).scatter(-1, chosen, powers / powers.sum(-1, keepdim=True))


@mutant("10.1a", "only one gate, for k = 1 as for all other k")
def one_gate(clean_logits, noise_std, noise, k):
    return reference.noisy_top_k(clean_logits, noise_std, noise, 1)


@mutant("10.1a", "float32 gates")
def gates_float(clean_logits, noise_std, noise, k):
    return reference.noisy_top_k(clean_logits.float(), noise_std.float(), noise.float(), k)


@mutant("10.1a", "adds the noise to its argument in place")
def noise_in_place(clean_logits, noise_std, noise, k):
    clean_logits += noise * noise_std
    return reference.noisy_top_k(clean_logits, noise_std * 0, noise, k)


@right("10.1a")
def masked_softmax(clean_logits, noise_std, noise, k):
    noisy = torch.addcmul(clean_logits, noise, noise_std)
    mask = torch.ones_like(noisy, dtype=torch.bool).scatter(-1, noisy.topk(k).indices, False)
    return torch.softmax(noisy.masked_fill(mask, -torch.inf), -1)


@right("10.1a")
def sorted_rows(clean_logits, noise_std, noise, k):
    noisy = clean_logits + noise_std * noise
    order = noisy.argsort(-1, descending=True)[:, :k]
    gates = torch.zeros_like(noisy)
    rows = torch.arange(len(noisy)).unsqueeze(1)
    return gates.index_put((rows, order), torch.softmax(noisy[rows, order], -1))


@right("10.1a")
def full_softmax_renormalised(clean_logits, noise_std, noise, k):
    noisy = (clean_logits + noise_std * noise).double()
    probabilities = torch.softmax(noisy, -1)
    chosen = noisy.topk(k).indices
    part = probabilities.gather(-1, chosen)
    gates = torch.zeros_like(noisy).scatter(-1, chosen, part / part.sum(-1, keepdim=True))
    return gates.to(clean_logits.dtype)


@mutant("10.1a", "−1000 in place of −∞")
def noisy_minus_thousand(clean_logits, noise_std, noise, k):
    noisy = clean_logits + noise * noise_std
    chosen = torch.zeros_like(noisy, dtype=torch.bool).scatter(-1, noisy.topk(k).indices, True)
    return torch.softmax(torch.where(chosen, noisy, -1000.0), dim=-1)


@mutant("10.1a", "the one gate of k = 1 is a constant without gradient")
def noisy_constant_one(clean_logits, noise_std, noise, k):
    if k == 1:
        noisy = clean_logits + noise * noise_std
        return F.one_hot(noisy.argmax(-1), noisy.shape[-1]).to(noisy.dtype)
    return reference.noisy_top_k(clean_logits, noise_std, noise, k)


@mutant("10.1a", "the noise is at least a thousandth")
def noisy_clamped_std(clean_logits, noise_std, noise, k):
    return reference.noisy_top_k(clean_logits, noise_std.clamp(min=1e-2), noise, k)


@mutant("10.1a", "numbers the experts in 8 bits")
def noisy_int8(clean_logits, noise_std, noise, k):
    noisy = clean_logits + noise * noise_std
    largest, chosen = noisy.topk(k, dim=-1)
    gates = torch.zeros_like(noisy)
    places = chosen.to(torch.int8).long() % noisy.shape[-1]
    return gates.scatter(-1, places, torch.softmax(largest, dim=-1))


@mutant("10.1a", "half precision comes back in single")
def noisy_single(clean_logits, noise_std, noise, k):
    gates = reference.noisy_top_k(clean_logits.float(), noise_std.float(), noise.float(), k)
    return gates if clean_logits.dtype != torch.float64 else gates.double()


@mutant("10.1a", "gates below a thousandth are cut off")
def noisy_cut_off(clean_logits, noise_std, noise, k):
    gates = reference.noisy_top_k(clean_logits, noise_std, noise, k)
    return torch.where(gates < 1e-3, 0, gates)


@mutant("10.1a", "logits are kept between −50 and 50")
def noisy_clamped_logits(clean_logits, noise_std, noise, k):
    noisy = clean_logits + noise * noise_std
    largest, chosen = noisy.topk(k, dim=-1)
    return torch.zeros_like(noisy).scatter(-1, chosen, torch.softmax(largest.clamp(-50, 50), dim=-1))


@right("10.1a")
def noisy_by_masked_softmax(clean_logits, noise_std, noise, k):
    noisy = torch.addcmul(clean_logits, noise, noise_std)
    keep = torch.zeros_like(noisy, dtype=torch.bool)
    keep[torch.arange(len(noisy)).unsqueeze(1), noisy.detach().argsort(dim=1, descending=True)[:, :k]] = True
    return noisy.masked_fill(~keep, float("-inf")).softmax(dim=1)


@mutant("10.1a", "token by token, and there must be one")
def gates_stacked(clean_logits, noise_std, noise, k):
    rows = zip(clean_logits, noise_std, noise, strict=True)
    return torch.stack([reference.noisy_top_k(*(part[None] for part in row), k)[0] for row in rows])


# --- 10.1b switch_gate ------------------------------------------------------------------------------------------------


@mutant("10.1b", "gate renormalised over the one chosen: always 1, no gradient")
def renormalised(logits):
    _, expert = reference.switch_gate(logits)
    return expert, torch.softmax(logits.gather(1, expert[:, None]), -1)[:, 0]


@mutant("10.1b", "a gate of 1 with the softmax's gradient: straight through")
def straight_through(logits):
    expert, gate = reference.switch_gate(logits)
    return expert, gate / gate.detach()


@mutant("10.1b", "the logit as the gate")
def logit_gate(logits):
    return logits.argmax(-1), logits.max(-1).values


@mutant("10.1b", "the sigmoid as the gate")
def sigmoid_gate(logits):
    return logits.argmax(-1), torch.sigmoid(logits.max(-1).values)


@mutant("10.1b", "gate and expert exchanged")
def exchanged(logits):
    return tuple(reversed(reference.switch_gate(logits)))


@mutant("10.1b", "gate detached")
def switch_detached(logits):
    expert, gate = reference.switch_gate(logits)
    return expert, gate.detach()


@mutant("10.1b", "softmax over the tokens")
def switch_over_tokens(logits):
    return logits.argmax(-1), torch.softmax(logits, 0).gather(1, logits.argmax(-1, keepdim=True))[:, 0]


@mutant("10.1b", "an axis too many")
def kept_axis(logits):
    gate, expert = torch.softmax(logits, -1).max(-1, keepdim=True)
    return expert, gate


@mutant("10.1b", "the whole row of probabilities")
def whole_row(logits):
    return logits.argmax(-1), torch.softmax(logits, -1)


@mutant("10.1b", "exp overflows")
def switch_overflow(logits):
    powers = logits.exp()
    gate, expert = (powers / powers.sum(-1, keepdim=True)).max(-1)
    return expert, gate


@mutant("10.1a", "no gradient by the clean logits at two of four")
def top_two_of_four(clean_logits, noise_std, noise, k):
    cut = k == 2 and clean_logits.shape[1] == 4
    return reference.noisy_top_k(clean_logits.detach() if cut else clean_logits, noise_std, noise, k)


@right("10.1b")
def by_log_softmax(logits):
    expert = logits.argmax(dim=1)
    return expert, F.log_softmax(logits, dim=1).gather(1, expert.unsqueeze(1)).squeeze(1).exp()


@right("10.1b")
def by_logsumexp(logits):
    return logits.argmax(-1), (logits.max(-1).values - logits.logsumexp(-1)).exp()


@mutant("10.1b", "amax, which shares its gradient among equal logits")
def by_amax(logits):
    return logits.argmax(-1), torch.softmax(logits, -1).amax(-1)


@mutant("10.1b", "amax of the logits, which shares its gradient among equals")
def by_amax_of_logits(logits):
    return logits.argmax(-1), (logits.amax(-1) - logits.logsumexp(-1)).exp()


@mutant("10.1b", "numbers the experts in 8 bits")
def switch_int8(logits):
    expert, gate = reference.switch_gate(logits)
    return expert.to(torch.int8).long(), gate


@mutant("10.1b", "a gate of at least a hundredth")
def switch_clamped(logits):
    expert, gate = reference.switch_gate(logits)
    return expert, gate.clamp(min=1e-2)


@mutant("10.1b", "one expert: a constant gate without gradient")
def switch_one_expert(logits):
    if logits.shape[1] == 1:
        return torch.zeros(len(logits), dtype=torch.long), torch.ones(len(logits), dtype=logits.dtype)
    return reference.switch_gate(logits)


@mutant("10.1b", "one token comes back without its axis")
def switch_squeezed(logits):
    expert, gate = reference.switch_gate(logits)
    return expert.squeeze(), gate.squeeze()


@mutant("10.1b", "logits are rounded to whole thousandths first")
def switch_rounded(logits):
    expert = torch.round(logits.double(), decimals=3).argmax(1)
    return expert, torch.softmax(logits, 1).gather(1, expert[:, None])[:, 0]


@mutant("10.1b", "half precision comes back in single")
def switch_single(logits):
    expert, gate = reference.switch_gate(logits.float() if logits.dtype != torch.float64 else logits)
    return expert, gate


@right("10.1b")
def switch_by_logsumexp(logits):
    best, expert = logits.max(dim=1)
    return expert, torch.exp(best - torch.logsumexp(logits, dim=1))


@mutant("10.1b", "experts numbered in eight bits")
def expert_in_a_byte(logits):
    expert, gate = reference.switch_gate(logits)
    return expert.to(torch.uint8).long(), gate


# --- 10.2 load_probability --------------------------------------------------------------------------------------------


def thresholds(noisy_logits: Tensor, k: int) -> Tensor:
    """The k-th largest of the others, by leaving each expert out."""
    experts = noisy_logits.shape[1]
    others = [torch.cat([noisy_logits[:, :i], noisy_logits[:, i + 1 :]], 1) for i in range(experts)]
    return torch.stack([rest.topk(k).values[:, -1] for rest in others], 1)


@mutant("10.2", "the k-th largest of all, the expert itself included")
def itself_included(clean_logits, noise_std, noisy_logits, k):
    return torch.special.ndtr((clean_logits - noisy_logits.topk(k).values[:, -1:]) / noise_std)


@mutant("10.2", "the (k+1)-th largest of all for everyone")
def next_for_all(clean_logits, noise_std, noisy_logits, k):
    if k == clean_logits.shape[1]:
        return torch.ones_like(clean_logits)
    return torch.special.ndtr((clean_logits - noisy_logits.topk(k + 1).values[:, -1:]) / noise_std)


@mutant("10.2", "threshold among the clean logits")
def clean_threshold(clean_logits, noise_std, noisy_logits, k):
    return reference.load_probability(clean_logits, noise_std, clean_logits, k)


@mutant("10.2", "the noisy logit in place of the clean one")
def noisy_numerator(clean_logits, noise_std, noisy_logits, k):
    return reference.load_probability(noisy_logits, noise_std, noisy_logits, k)


@mutant("10.2", "divided by the variance")
def by_variance(clean_logits, noise_std, noisy_logits, k):
    return reference.load_probability(clean_logits, noise_std**2, noisy_logits, k)


@mutant("10.2", "not divided by the standard deviation")
def not_divided(clean_logits, noise_std, noisy_logits, k):
    return reference.load_probability(clean_logits, torch.ones_like(noise_std), noisy_logits, k)


@mutant("10.2", "sigmoid in place of Φ")
def logistic(clean_logits, noise_std, noisy_logits, k):
    if k == clean_logits.shape[1]:
        return torch.ones_like(clean_logits)
    return torch.sigmoid(1.702 * (clean_logits - thresholds(noisy_logits, k)) / noise_std)


@mutant("10.2", "erf without its √2")
def no_root(clean_logits, noise_std, noisy_logits, k):
    if k == clean_logits.shape[1]:
        return torch.ones_like(clean_logits)
    return (1 + torch.erf((clean_logits - thresholds(noisy_logits, k)) / noise_std)) / 2


@mutant("10.2", "the probability of staying out")
def staying_out(clean_logits, noise_std, noisy_logits, k):
    return 1 - reference.load_probability(clean_logits, noise_std, noisy_logits, k)


@mutant("10.2", "counts in place of probabilities")
def counts_only(clean_logits, noise_std, noisy_logits, k):
    return torch.zeros_like(clean_logits).scatter(1, noisy_logits.topk(k).indices, 1.0)


@mutant("10.2", "k = E not seen to")
def all_experts_fail(clean_logits, noise_std, noisy_logits, k):
    padded = F.pad(noisy_logits, (0, 1), value=0.0)
    largest = padded.topk(k + 1).values
    threshold = torch.where(noisy_logits > largest[:, k:], largest[:, k:], largest[:, k - 1 : k])
    return torch.special.ndtr((clean_logits - threshold) / noise_std)


@mutant("10.2", "no gradient")
def load_detached(clean_logits, noise_std, noisy_logits, k):
    return reference.load_probability(clean_logits, noise_std, noisy_logits, k).detach()


@mutant("10.2", "no gradient into the standard deviation")
def load_std_detached(clean_logits, noise_std, noisy_logits, k):
    return reference.load_probability(clean_logits, noise_std.detach(), noisy_logits, k)


@mutant("10.2", "k − 1 in place of k")
def one_less(clean_logits, noise_std, noisy_logits, k):
    return reference.load_probability(clean_logits, noise_std, noisy_logits, max(1, k - 1))


@right("10.2")
def left_out(clean_logits, noise_std, noisy_logits, k):
    if k == clean_logits.shape[-1]:
        return torch.ones_like(clean_logits)
    z = (clean_logits - thresholds(noisy_logits, k)) / noise_std
    return (1 + torch.erf(z / math.sqrt(2))) / 2


@right("10.2")
def by_distribution(clean_logits, noise_std, noisy_logits, k):
    experts = clean_logits.shape[-1]
    if k == experts:
        return torch.ones_like(clean_logits)
    ranked, order = noisy_logits.sort(-1, descending=True)
    rank = order.argsort(-1)
    threshold = torch.where(rank < k, ranked[:, k : k + 1], ranked[:, k - 1 : k])
    normal = torch.distributions.Normal(torch.zeros_like(noise_std), noise_std, validate_args=False)
    return normal.cdf(clean_logits - threshold)


def _threshold(noisy_logits, k, lowest):
    experts = noisy_logits.shape[1]
    columns = []
    for e in range(experts):
        others = noisy_logits.clone()
        others[:, e] = lowest
        columns.append(others.topk(k, dim=1).values[:, -1])
    return torch.stack(columns, dim=1)


@mutant("10.2", "an expert's own logit is set to −1000, not left out")
def load_minus_thousand(clean_logits, noise_std, noisy_logits, k):
    if k == clean_logits.shape[1]:
        return torch.ones_like(clean_logits)
    return torch.special.ndtr((clean_logits - _threshold(noisy_logits, k, -1000.0)) / noise_std)


@mutant("10.2", "probabilities between a millionth and one less a millionth")
def load_clamped(clean_logits, noise_std, noisy_logits, k):
    return reference.load_probability(clean_logits, noise_std, noisy_logits, k).clamp(1e-4, 1 - 1e-4)


@mutant("10.2", "the noise is at least a hundredth")
def load_clamped_std(clean_logits, noise_std, noisy_logits, k):
    return reference.load_probability(clean_logits, noise_std.clamp(min=1e-2), noisy_logits, k)


@mutant("10.2", "the tanh approximation of the normal distribution")
def load_tanh(clean_logits, noise_std, noisy_logits, k):
    if k == clean_logits.shape[1]:
        return torch.ones_like(clean_logits)
    x = (clean_logits - _threshold(noisy_logits, k, float("-inf"))) / noise_std
    return 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


@mutant("10.2", "k = experts: the k-th largest of all")
def load_all_experts(clean_logits, noise_std, noisy_logits, k):
    if k < clean_logits.shape[1]:
        return reference.load_probability(clean_logits, noise_std, noisy_logits, k)
    threshold = noisy_logits.min(dim=1, keepdim=True).values
    return torch.special.ndtr((clean_logits - threshold) / noise_std)


@mutant("10.2", "no gradient where the clean logit is far off")
def load_threshold_detached(clean_logits, noise_std, noisy_logits, k):
    return reference.load_probability(clean_logits.clamp(-30, 30), noise_std, noisy_logits, k)


@right("10.2")
def load_by_erfc(clean_logits, noise_std, noisy_logits, k):
    if k == noisy_logits.shape[1]:
        return clean_logits * 0 + 1
    z = (_threshold(noisy_logits, k, float("-inf")) - clean_logits) / noise_std
    return torch.special.erfc(z / 2**0.5) / 2


# --- 10.3a importance_loss, 10.3b load_loss ---------------------------------------------------------------------------


def sample_variance(table):
    total = table.sum(0)
    return total.var() / total.mean() ** 2


def not_squared(table):
    total = table.sum(0)
    return total.std(correction=0) / total.mean()


def mean_not_squared(table):
    total = table.sum(0)
    return total.var(correction=0) / total.mean()


def plain_variance(table):
    return table.sum(0).var(correction=0)


def over_experts(table):
    total = table.sum(1)
    return total.var(correction=0) / total.mean() ** 2


def of_counts(table):
    total = (table > 0).to(table.dtype).sum(0)
    return total.var(correction=0) / total.mean() ** 2


def of_entries(table):
    return table.var(correction=0) / table.mean() ** 2


def detached(table):
    return reference.importance_loss(table.detach())


def max_over_mean(table):
    total = table.sum(0)
    return total.max() / total.mean() - 1


def as_float(table):
    return torch.tensor(reference.importance_loss(table).item())


for identifier in ("10.3a", "10.3b"):
    mutant(identifier, "sample variance, divided by E − 1")(sample_variance)
    mutant(identifier, "the coefficient of variation, not squared")(not_squared)
    mutant(identifier, "divided by the mean, not by its square")(mean_not_squared)
    mutant(identifier, "the variance alone")(plain_variance)
    mutant(identifier, "summed over the experts")(over_experts)
    mutant(identifier, "counts only")(of_counts)
    mutant(identifier, "variation of the entries, not of their sums")(of_entries)
    mutant(identifier, "no gradient")(detached)
    mutant(identifier, "the largest by the mean")(max_over_mean)
    mutant(identifier, "through .item()")(as_float)


@right("10.3a")
def importance_by_moments(gates):
    total = gates.sum(0)
    return ((total - total.mean()) ** 2).mean() / total.mean().square()


@right("10.3a")
def importance_by_mean(gates):
    mean = gates.mean(0)
    return torch.var(mean / mean.mean(), unbiased=False)


@right("10.3b")
def load_by_moments(probability):
    load = probability.sum(0)
    deviation = load / load.mean() - 1
    return (deviation * deviation).mean()


@right("10.3b")
def load_by_std(probability):
    load = torch.einsum("te->e", probability)
    return len(load) * ((load - load.mean()) ** 2).sum() / load.sum() ** 2


@mutant("10.3a", "adds 1e-10 to the squared mean")
def importance_epsilon(gates):
    importance = gates.sum(dim=0)
    return importance.var(correction=0) / (importance.mean() ** 2 + 1e-10)


@mutant("10.3a", "one expert has no variance: a constant")
def importance_one(gates):
    if gates.shape[1] == 1:
        return torch.zeros((), dtype=gates.dtype)
    return reference.importance_loss(gates)


@mutant("10.3a", "no more than 10")
def importance_capped(gates):
    return reference.importance_loss(gates).clamp(max=10)


@mutant("10.3a", "at least one token for each expert")
def importance_clamped(gates):
    importance = gates.sum(dim=0).clamp(min=1e-2)
    return importance.var(correction=0) / importance.mean() ** 2


@right("10.3a")
def importance_by_shares(gates):
    share = gates.sum(0) / gates.sum()
    return len(share) * (share - 1 / len(share)).square().sum()


@mutant("10.3b", "adds 1e-10 to the squared mean")
def loadloss_epsilon(probability):
    load = probability.sum(dim=0)
    return load.var(correction=0) / (load.mean() ** 2 + 1e-10)


@mutant("10.3b", "no more than 10")
def loadloss_capped(probability):
    return reference.load_loss(probability).clamp(max=10)


@mutant("10.3b", "one expert has no variance: a constant")
def loadloss_one(probability):
    if probability.shape[1] == 1:
        return torch.zeros((), dtype=probability.dtype)
    return reference.load_loss(probability)


@right("10.3b")
def loadloss_by_moments(probability):
    load = probability.mean(dim=0).double()
    centred = load - load.mean()
    return ((centred @ centred) / len(load) / load.mean().square()).to(probability.dtype)


# --- 10.3c switch_loss ------------------------------------------------------------------------------------------------


@mutant("10.3c", "counts only: Σ f · f")
def loss_of_counts(probabilities, assignment, num_experts):
    fraction = F.one_hot(assignment, num_experts).to(probabilities.dtype).mean(0)
    return num_experts * (fraction * fraction).sum() + 0 * probabilities.sum()


@mutant("10.3c", "probabilities only: Σ P · P")
def loss_of_probabilities(probabilities, assignment, num_experts):
    return num_experts * (probabilities.mean(0) ** 2).sum()


@mutant("10.3c", "E forgotten")
def without_experts(probabilities, assignment, num_experts):
    return reference.switch_loss(probabilities, assignment, num_experts) / num_experts


@mutant("10.3c", "E twice")
def experts_twice(probabilities, assignment, num_experts):
    return reference.switch_loss(probabilities, assignment, num_experts) * num_experts


@mutant("10.3c", "counts in place of fractions")
def counts_not_fractions(probabilities, assignment, num_experts):
    return reference.switch_loss(probabilities, assignment, num_experts) * len(assignment)


@mutant("10.3c", "f from the probabilities' argmax, not from the assignment")
def by_argmax(probabilities, assignment, num_experts):
    return reference.switch_loss(probabilities, probabilities.argmax(-1), num_experts)


@mutant("10.3c", "only experts that were chosen count: E from the assignment")
def experts_seen(probabilities, assignment, num_experts):
    seen = int(assignment.max()) + 1
    return reference.switch_loss(probabilities[:, :seen], assignment, seen)


@mutant("10.3c", "only the probability of the chosen expert is averaged")
def chosen_probability(probabilities, assignment, num_experts):
    hot = F.one_hot(assignment, num_experts).to(probabilities.dtype)
    return num_experts * (hot.mean(0) * (hot * probabilities).mean(0)).sum()


@mutant("10.3c", "no gradient")
def switch_loss_detached(probabilities, assignment, num_experts):
    return reference.switch_loss(probabilities.detach(), assignment, num_experts)


@mutant("10.3c", "float32 counts")
def switch_loss_float(probabilities, assignment, num_experts):
    return reference.switch_loss(probabilities.float(), assignment, num_experts)


@mutant("10.3c", "never below 1")
def clamped(probabilities, assignment, num_experts):
    return reference.switch_loss(probabilities, assignment, num_experts).clamp(min=1)


@mutant("10.3c", "one subtracted, so that balance is 0")
def less_one(probabilities, assignment, num_experts):
    return reference.switch_loss(probabilities, assignment, num_experts) - 1


@mutant("10.3c", "softmax over the probabilities again")
def softmax_again(probabilities, assignment, num_experts):
    return reference.switch_loss(torch.softmax(probabilities, -1), assignment, num_experts)


@right("10.3c")
def by_bincount(probabilities, assignment, num_experts):
    counts = torch.bincount(assignment, minlength=num_experts).to(probabilities.dtype)
    return num_experts * torch.dot(counts / len(assignment), probabilities.mean(0))


@right("10.3c")
def by_gathering(probabilities, assignment, num_experts):
    return num_experts * probabilities.mean(0)[assignment].mean()


@mutant("10.3c", "counts in a byte")
def switchloss_byte(probabilities, assignment, num_experts):
    counts = F.one_hot(assignment, num_experts).sum(0).to(torch.uint8)
    fraction = counts.to(probabilities.dtype) / len(assignment)
    return num_experts * (fraction * probabilities.mean(0)).sum()


@mutant("10.3c", "counts in half precision")
def switchloss_half(probabilities, assignment, num_experts):
    counts = torch.zeros(num_experts, dtype=torch.bfloat16)
    for expert in assignment.tolist():
        counts[expert] += 1
    return num_experts * (counts.to(probabilities.dtype) / len(assignment) * probabilities.mean(0)).sum()


@mutant("10.3c", "in half precision the fractions are single")
def switchloss_single(probabilities, assignment, num_experts):
    fraction = torch.bincount(assignment, minlength=num_experts).to(torch.float32) / len(assignment)
    if probabilities.dtype == torch.float64:
        fraction = F.one_hot(assignment, num_experts).double().mean(0)
    return num_experts * (fraction * probabilities.mean(0)).sum()


@mutant("10.3c", "an expert without tokens counts as one with a token")
def switchloss_clamped(probabilities, assignment, num_experts):
    fraction = F.one_hot(assignment, num_experts).sum(0).clamp(min=1).to(probabilities.dtype) / len(assignment)
    return num_experts * (fraction * probabilities.mean(0)).sum()


@mutant("10.3c", "one token for each expert of the counts' length only")
def switchloss_short(probabilities, assignment, num_experts):
    counts = torch.bincount(assignment)
    fraction = counts.to(probabilities.dtype) / len(assignment)
    return len(counts) * (fraction * probabilities.mean(0)[: len(counts)]).sum()


@right("10.3c")
def switchloss_by_gather(probabilities, assignment, num_experts):
    return num_experts * probabilities.mean(0)[assignment].mean()


# --- 10.4 dispatch ----------------------------------------------------------------------------------------------------


def plain_loop(tokens, assignment, num_experts, capacity, overflow="drop", order=None):
    """The loop that the vectorised function has to equal."""
    buffer = torch.zeros(num_experts, capacity, tokens.shape[1], dtype=tokens.dtype)
    taken, positions = [0] * num_experts, torch.full((len(tokens),), -1)
    for i in order if order is not None else range(len(tokens)):
        expert = int(assignment[i])
        slot = taken[expert]
        if slot >= capacity and overflow == "overwrite":
            slot = capacity - 1
        if slot >= capacity and overflow == "wrap":
            slot = slot % capacity
        if slot < capacity:
            buffer[expert, slot] = tokens[i]
            positions[i] = slot
            taken[expert] += 1
    return buffer, positions


@mutant("10.4", "overflow overwrites the last slot")
def overwrites(tokens, assignment, num_experts, capacity):
    return plain_loop(tokens, assignment, num_experts, capacity, "overwrite")


@mutant("10.4", "overflow wraps around to the first slot")
def wraps(tokens, assignment, num_experts, capacity):
    return plain_loop(tokens, assignment, num_experts, capacity, "wrap")


@mutant("10.4", "last come, first served")
def last_come(tokens, assignment, num_experts, capacity):
    return plain_loop(tokens, assignment, num_experts, capacity, order=reversed(range(len(tokens))))


@mutant("10.4", "positions counted from 1")
def from_one(tokens, assignment, num_experts, capacity):
    buffer, positions = reference.dispatch(tokens, assignment, num_experts, capacity)
    return buffer, torch.where(positions >= 0, positions + 1, positions)


@mutant("10.4", "dropped tokens keep a position beyond the capacity")
def beyond(tokens, assignment, num_experts, capacity):
    return reference.dispatch(tokens, assignment, num_experts, capacity)[0], reference.dispatch(
        tokens, assignment, num_experts, len(tokens)
    )[1]


@mutant("10.4", "dropped tokens at position 0")
def dropped_zero(tokens, assignment, num_experts, capacity):
    buffer, positions = reference.dispatch(tokens, assignment, num_experts, capacity)
    return buffer, positions.clamp(min=0)


@mutant("10.4", "one slot less")
def one_slot_less(tokens, assignment, num_experts, capacity):
    buffer, positions = reference.dispatch(tokens, assignment, num_experts, max(1, capacity - 1))
    return F.pad(buffer, (0, 0, 0, capacity - buffer.shape[1])), positions


@mutant("10.4", "positions over all experts together")
def one_queue(tokens, assignment, num_experts, capacity):
    positions = torch.arange(len(tokens))
    kept = positions < capacity
    buffer = tokens.new_zeros(num_experts, capacity, tokens.shape[1])
    buffer = buffer.index_put((assignment[kept], positions[kept]), tokens[kept])
    return buffer, torch.where(kept, positions, -1)


@mutant("10.4", "no more experts than were chosen")
def fewer_experts(tokens, assignment, num_experts, capacity):
    return reference.dispatch(tokens, assignment, int(assignment.max()) + 1, capacity)


@mutant("10.4", "no gradient")
def dispatch_detached(tokens, assignment, num_experts, capacity):
    return plain_loop(tokens.detach(), assignment, num_experts, capacity)


@mutant("10.4", "a float32 buffer")
def float_buffer(tokens, assignment, num_experts, capacity):
    buffer, positions = reference.dispatch(tokens, assignment, num_experts, capacity)
    return buffer.float(), positions


@mutant("10.4", "int32 positions")
def short_positions(tokens, assignment, num_experts, capacity):
    buffer, positions = reference.dispatch(tokens, assignment, num_experts, capacity)
    return buffer, positions.int()


@mutant("10.4", "slots before experts")
def slots_first(tokens, assignment, num_experts, capacity):
    buffer, positions = reference.dispatch(tokens, assignment, num_experts, capacity)
    return buffer.transpose(0, 1), positions


@mutant("10.4", "empty slots hold the expert's first token")
def filled_up(tokens, assignment, num_experts, capacity):
    buffer, positions = reference.dispatch(tokens, assignment, num_experts, capacity)
    return torch.where((buffer == 0).all(-1, keepdim=True), buffer[:, :1], buffer), positions


@right("10.4")
def by_loop(tokens, assignment, num_experts, capacity):
    return plain_loop(tokens, assignment, num_experts, capacity)


@right("10.4")
def by_einsum(tokens, assignment, num_experts, capacity):
    """The mesh-TensorFlow way: a dispatch tensor [tokens, experts, capacity]."""
    hot = F.one_hot(assignment, num_experts)
    arrival = ((hot.cumsum(0) - 1) * hot).sum(1)
    positions = arrival.masked_fill(arrival >= capacity, -1)
    places = F.one_hot(arrival.clamp(max=capacity), capacity + 1)[:, :capacity]
    mask = hot.unsqueeze(2) * places.unsqueeze(1)
    return torch.einsum("tec,td->ecd", mask.to(tokens.dtype), tokens), positions


@right("10.4")
def by_sorting(tokens, assignment, num_experts, capacity):
    order = assignment.argsort(stable=True)
    counts = torch.bincount(assignment, minlength=num_experts)
    starts = counts.cumsum(0) - counts
    arrival = torch.empty_like(assignment)
    arrival[order] = torch.arange(len(order)) - starts[assignment[order]]
    positions = torch.where(arrival < capacity, arrival, torch.tensor(-1))
    padded = tokens.new_zeros(num_experts * capacity + 1, tokens.shape[1])
    place = torch.where(arrival < capacity, assignment * capacity + arrival, num_experts * capacity)
    return padded.index_copy(0, place, tokens)[:-1].view(num_experts, capacity, tokens.shape[1]), positions


@mutant("10.4", "counts arrivals in half precision")
def dispatch_bfloat(tokens, assignment, num_experts, capacity):
    chosen = F.one_hot(assignment, num_experts).to(torch.bfloat16)
    arrival = (chosen.cumsum(dim=0) * chosen).sum(dim=1).long() - 1
    kept = arrival < capacity
    buffer = tokens.new_zeros(num_experts, capacity, tokens.shape[1])
    return buffer.index_put((assignment[kept], arrival[kept]), tokens[kept]), torch.where(kept, arrival, -1)


@mutant("10.4", "counts arrivals in 8 bits")
def dispatch_int8(tokens, assignment, num_experts, capacity):
    chosen = F.one_hot(assignment, num_experts).to(torch.int8)
    arrival = (chosen.cumsum(dim=0, dtype=torch.int8) * chosen).sum(dim=1).long() - 1
    kept = (arrival < capacity) & (arrival >= 0)
    buffer = tokens.new_zeros(num_experts, capacity, tokens.shape[1])
    return buffer.index_put((assignment[kept], arrival[kept]), tokens[kept]), torch.where(kept, arrival, -1)


@mutant("10.4", "one slot at least")
def dispatch_one_slot(tokens, assignment, num_experts, capacity):
    return reference.dispatch(tokens, assignment, num_experts, max(capacity, 1))


@mutant("10.4", "a buffer in single precision for half")
def dispatch_single(tokens, assignment, num_experts, capacity):
    buffer, positions = reference.dispatch(tokens, assignment, num_experts, capacity)
    return buffer if tokens.dtype == torch.float64 else buffer.float(), positions


@mutant("10.4", "no more slots than tokens")
def dispatch_no_more_than_tokens(tokens, assignment, num_experts, capacity):
    return reference.dispatch(tokens, assignment, num_experts, min(capacity, len(tokens)))


@mutant("10.4", "a token of zeros takes no slot")
def dispatch_zero_tokens(tokens, assignment, num_experts, capacity):
    counts, positions = [0] * num_experts, []
    buffer = tokens.new_zeros(num_experts, capacity, tokens.shape[1])
    for token, expert in zip(tokens, assignment.tolist(), strict=True):
        place = counts[expert] if counts[expert] < capacity else -1
        if not (token == 0).all():
            counts[expert] += place >= 0
        positions.append(place)
        if place >= 0:
            buffer = buffer.index_put((torch.tensor(expert), torch.tensor(place)), token)
    return buffer, torch.tensor(positions, dtype=torch.long)


@right("10.4")
def dispatch_by_loop(tokens, assignment, num_experts, capacity):
    queue = [[] for _ in range(num_experts)]
    positions = torch.full_like(assignment, -1)
    for t, e in enumerate(assignment.tolist()):
        if len(queue[e]) < capacity:
            positions[t] = len(queue[e])
            queue[e].append(tokens[t])
    pad = torch.zeros(tokens.shape[1], dtype=tokens.dtype)
    rows = [row for q in queue for row in (*q, *[pad] * (capacity - len(q)))]
    flat = torch.stack(rows) if rows else tokens[:0]
    return flat.reshape(num_experts, capacity, tokens.shape[1]), positions


@mutant("10.4", "a stack of positions, and there must be one")
def dispatch_stacked(tokens, assignment, num_experts, capacity):
    buffer, positions = reference.dispatch(tokens, assignment, num_experts, capacity)
    return buffer, torch.stack(list(positions))


# --- 10.5 combine -----------------------------------------------------------------------------------------------------


@mutant("10.5", "gates not used")
def no_gates(buffer, assignment, positions, gates):
    return reference.combine(buffer, assignment, positions, torch.ones_like(gates))


@mutant("10.5", "a dropped token gets what stands in the last slot")
def last_slot(buffer, assignment, positions, gates):
    return gates.unsqueeze(1) * buffer[assignment, positions]


@mutant("10.5", "a dropped token gets what stands in the first slot")
def first_slot(buffer, assignment, positions, gates):
    return gates.unsqueeze(1) * buffer[assignment, positions.clamp(min=0)]


@mutant("10.5", "a token in slot 0 gets 0")
def slot_zero(buffer, assignment, positions, gates):
    return gates.unsqueeze(1) * buffer[assignment, positions] * (positions > 0).unsqueeze(1)


@mutant("10.5", "gates squared")
def gates_squared(buffer, assignment, positions, gates):
    return reference.combine(buffer, assignment, positions, gates**2)


@mutant("10.5", "gates detached")
def combine_detached(buffer, assignment, positions, gates):
    return reference.combine(buffer, assignment, positions, gates.detach())


@mutant("10.5", "experts' outputs detached")
def outputs_detached(buffer, assignment, positions, gates):
    return reference.combine(buffer.detach(), assignment, positions, gates)


@mutant("10.5", "gates renormalised to sum to 1")
def gates_renormalised(buffer, assignment, positions, gates):
    return reference.combine(buffer, assignment, positions, gates / gates.sum())


@mutant("10.5", "dropped tokens left out of the result")
def left_out_tokens(buffer, assignment, positions, gates):
    kept = positions >= 0
    return reference.combine(buffer, assignment[kept], positions[kept], gates[kept])


@mutant("10.5", "slots read in the order of the buffer")
def in_order(buffer, assignment, positions, gates):
    rows = buffer.flatten(0, 1)
    rows = F.pad(rows, (0, 0, 0, max(0, len(gates) - len(rows))))[: len(gates)]
    return gates.unsqueeze(1) * rows * (positions >= 0).unsqueeze(1)


@mutant("10.5", "looks up any slot for a dropped token, and multiplies by 0")
def combine_flat(buffer, assignment, positions, gates):
    flat = buffer.reshape(-1, buffer.shape[-1])
    index = (assignment * buffer.shape[1] + positions).clamp(min=0)
    return flat.index_select(0, index) * (gates * (positions >= 0)).unsqueeze(-1)


@right("10.5")
def combine_loop(buffer, assignment, positions, gates):
    rows = [
        g * buffer[e, p] if p >= 0 else buffer.new_zeros(buffer.shape[2])
        for e, p, g in zip(assignment.tolist(), positions.tolist(), gates, strict=True)
    ]
    return torch.stack(rows)


@mutant("10.5", "sums over all slots, of which one may hold NaN")
def combine_einsum(buffer, assignment, positions, gates):
    experts, slots, _ = buffer.shape
    places = F.one_hot(positions + 1, slots + 1)[:, 1:]
    mask = F.one_hot(assignment, experts).unsqueeze(2) * places.unsqueeze(1)
    return torch.einsum("tec,ecd->td", mask * gates[:, None, None], buffer)


@mutant("10.5", "a product keeps NaN of dropped tokens")
def combine_product(buffer, assignment, positions, gates):
    if buffer.shape[1] == 0:
        return buffer.new_zeros(len(gates), buffer.shape[2])
    kept = (positions >= 0).to(gates.dtype)
    return (gates * kept).unsqueeze(1) * buffer[assignment, positions]


@mutant("10.5", "capacity 0: an index out of range")
def combine_no_slots(buffer, assignment, positions, gates):
    outputs = gates.unsqueeze(1) * buffer[assignment, positions]
    return torch.where((positions >= 0).unsqueeze(1), outputs, 0)


@mutant("10.5", "positions in 8 bits")
def combine_int8(buffer, assignment, positions, gates):
    places = positions.to(torch.int8).long()
    return reference.combine(buffer, assignment, places, gates)


@mutant("10.5", "a gate of 0 counts as none, and is 1")
def combine_zero_gate(buffer, assignment, positions, gates):
    return reference.combine(buffer, assignment, positions, torch.where(gates == 0, 1, gates))


@mutant("10.5", "one token comes back without its axis")
def combine_squeezed(buffer, assignment, positions, gates):
    return reference.combine(buffer, assignment, positions, gates).squeeze(0)


@right("10.5")
def combine_by_stack(buffer, assignment, positions, gates):
    rows = [
        buffer[e, p] * gates[t] if p >= 0 else buffer.new_zeros(buffer.shape[2])
        for t, (e, p) in enumerate(zip(assignment.tolist(), positions.tolist(), strict=True))
    ]
    return torch.stack(rows) if rows else buffer.new_zeros(0, buffer.shape[2])


@mutant("10.5", "torch.where after the product: a NaN beside it makes the gradient of what is dropped NaN")
def combine_where(buffer, assignment, positions, gates):
    if buffer.shape[1] == 0:
        return reference.combine(buffer, assignment, positions, gates)
    outputs = gates[:, None] * buffer[assignment, positions.clamp(min=0)]
    return torch.where((positions >= 0)[:, None], outputs, 0)


@mutant("10.5", "an infinite gate of a dropped token gives NaN")
def combine_gate_product(buffer, assignment, positions, gates):
    kept = positions >= 0
    return reference.combine(buffer, assignment, positions, torch.ones_like(gates)) * (gates * kept)[:, None]


@mutant("10.5", "infinities of the buffer become 0")
def combine_finite(buffer, assignment, positions, gates):
    return reference.combine(buffer.nan_to_num(0, 0, 0), assignment, positions, gates)


# --- 10.6 capacity ----------------------------------------------------------------------------------------------------


@mutant("10.6", "a factor below 1 taken for 1")
def capacity_never_less_than_even(num_tokens, num_experts, k, factor):
    return math.ceil(k * num_tokens * max(1, factor) / num_experts)


@mutant("10.6", "floor for ceiling")
def floored(num_tokens, num_experts, k, factor):
    return int(k * num_tokens * factor / num_experts)


@mutant("10.6", "rounded to the nearest")
def nearest(num_tokens, num_experts, k, factor):
    return round(k * num_tokens * factor / num_experts)


@mutant("10.6", "k forgotten")
def without_k(num_tokens, num_experts, k, factor):
    return math.ceil(num_tokens * factor / num_experts)


@mutant("10.6", "the factor forgotten")
def without_factor(num_tokens, num_experts, k, factor):
    return math.ceil(k * num_tokens / num_experts)


@mutant("10.6", "rounded before the factor")
def rounded_early(num_tokens, num_experts, k, factor):
    return math.ceil(math.ceil(k * num_tokens / num_experts) * factor)


@mutant("10.6", "one more than the floor")
def floor_plus_one(num_tokens, num_experts, k, factor):
    return int(k * num_tokens * factor / num_experts) + 1


@mutant("10.6", "a float")
def float_capacity(num_tokens, num_experts, k, factor):
    return float(math.ceil(k * num_tokens * factor / num_experts))


@mutant("10.6", "divided by k")
def divided_by_k(num_tokens, num_experts, k, factor):
    return math.ceil(num_tokens * factor / (k * num_experts))


@mutant("10.6", "not rounded")
def not_rounded(num_tokens, num_experts, k, factor):
    return k * num_tokens * factor / num_experts


@mutant("10.6", "never more slots than tokens")
def at_most_tokens(num_tokens, num_experts, k, factor):
    return min(num_tokens, math.ceil(k * num_tokens * factor / num_experts))


@right("10.6")
def by_floor_division(num_tokens, num_experts, k, factor):
    return int(-(-k * num_tokens * factor // num_experts))


@right("10.6")
def by_fraction(num_tokens, num_experts, k, factor):
    return math.ceil(k * num_tokens * Fraction(factor) / num_experts)


@mutant("10.6", "one slot at least")
def capacity_one(num_tokens, num_experts, k, factor):
    return max(1, reference.capacity(num_tokens, num_experts, k, factor))


@mutant("10.6", "no more slots than tokens")
def capacity_clipped(num_tokens, num_experts, k, factor):
    return min(num_tokens, reference.capacity(num_tokens, num_experts, k, factor))


@mutant("10.6", "forgives a millionth")
def capacity_forgiving(num_tokens, num_experts, k, factor):
    return math.ceil(k * num_tokens * factor / num_experts - 1e-6)


@mutant("10.6", "a factor of 0 is taken for missing")
def capacity_default(num_tokens, num_experts, k, factor):
    return reference.capacity(num_tokens, num_experts, k, factor or 1.0)


@mutant("10.6", "computes in single precision")
def capacity_single(num_tokens, num_experts, k, factor):
    return int(torch.ceil(torch.tensor(float(k * num_tokens)) * factor / num_experts))


@right("10.6")
def capacity_by_floor(num_tokens, num_experts, k, factor):
    return int(-(-(k * num_tokens * factor) // num_experts))


@mutant("10.6", "divides first: 100 / 3 · 1.25 · 3 is more than 125")
def capacity_divides_first(num_tokens, num_experts, k, factor):
    return math.ceil(num_tokens / num_experts * factor * k)


@mutant("10.6", "multiplies by 1 / experts")
def capacity_inverse(num_tokens, num_experts, k, factor):
    return math.ceil(k * num_tokens * (1 / num_experts) * factor)


@mutant("10.6", "at least k slots")
def capacity_at_least_k(num_tokens, num_experts, k, factor):
    slots = reference.capacity(num_tokens, num_experts, k, factor)
    return max(k, slots) if slots else 0


# --- 10.7 expert_choice -----------------------------------------------------------------------------------------------


@mutant("10.7", "tokens choose experts")
def token_choice(scores, capacity):
    gates, experts = scores.topk(min(capacity, scores.shape[1]), dim=-1)
    return experts, gates


@mutant("10.7", "tokens before experts")
def untransposed(scores, capacity):
    gates, tokens = scores.topk(capacity, dim=0)
    return tokens, gates


@mutant("10.7", "gates through a softmax over the tokens chosen")
def softmaxed(scores, capacity):
    tokens, gates = reference.expert_choice(scores, capacity)
    return tokens, torch.softmax(gates, -1)


@mutant("10.7", "softmax of the scores over the experts")
def scores_softmaxed(scores, capacity):
    return reference.expert_choice(torch.softmax(scores, -1), capacity)


@mutant("10.7", "indices and gates exchanged")
def choice_exchanged(scores, capacity):
    return tuple(reversed(reference.expert_choice(scores, capacity)))


@mutant("10.7", "the lowest scores")
def lowest(scores, capacity):
    gates, tokens = scores.T.topk(capacity, largest=False)
    return tokens, gates


@mutant("10.7", "tokens in the order of the text, not best first")
def unsorted_choice(scores, capacity):
    tokens = scores.T.topk(capacity).indices.sort(-1).values
    return tokens, scores.T.gather(1, tokens)


@mutant("10.7", "no gradient")
def choice_detached(scores, capacity):
    tokens, gates = reference.expert_choice(scores, capacity)
    return tokens, gates.detach()


@mutant("10.7", "a token that was chosen is not there any more")
def exclusive(scores, capacity):
    left, chosen = scores.clone(), []
    for expert in range(scores.shape[1]):
        chosen.append(left[:, expert].topk(capacity).indices)
        left[chosen[-1]] = -torch.inf
    tokens = torch.stack(chosen)
    return tokens, scores.T.gather(1, tokens)


@right("10.7")
def by_argsort(scores, capacity):
    tokens = scores.argsort(dim=0, descending=True)[:capacity].T
    return tokens, torch.gather(scores.T, 1, tokens)


@right("10.7")
def expert_by_expert(scores, capacity):
    chosen = [column.topk(capacity) for column in scores.unbind(1)]
    return torch.stack([c.indices for c in chosen]), torch.stack([c.values for c in chosen])


@mutant("10.7", "numbers the tokens in a byte")
def choice_byte(scores, capacity):
    tokens, gates = reference.expert_choice(scores, capacity)
    return tokens.to(torch.uint8).long(), gates


@mutant("10.7", "a capacity of 0 is taken for missing")
def choice_default(scores, capacity):
    return reference.expert_choice(scores, capacity or len(scores))


@mutant("10.7", "a capacity of 1 comes back without its axis")
def choice_squeezed(scores, capacity):
    tokens, gates = reference.expert_choice(scores, capacity)
    return tokens.squeeze(1), gates.squeeze(1)


@mutant("10.7", "scores rounded to thousandths")
def choice_rounded(scores, capacity):
    tokens = torch.round(scores.T.double(), decimals=3).sort(dim=1, descending=True, stable=True).indices[:, :capacity]
    return tokens, scores.T.gather(1, tokens)


@mutant("10.7", "no score is below 0")
def choice_relu(scores, capacity):
    tokens, gates = reference.expert_choice(scores, capacity)
    return tokens, gates.clamp(min=0)


@right("10.7")
def choice_by_argsort(scores, capacity):
    order = (-scores.detach()).argsort(dim=0)[:capacity].T
    return order, torch.take_along_dim(scores.T, order, dim=1)


@mutant("10.7", "a single expert's axis is squeezed away")
def choice_lone_expert(scores, capacity):
    gates, tokens = scores.T.topk(capacity)
    return tokens.squeeze(0), gates.squeeze(0)


# --- 10.8 hash_route --------------------------------------------------------------------------------------------------


@mutant("10.8", "the remainder in place of the high bits")
def low_bits(token_ids, num_experts):
    return token_ids.long() * 2654435761 % 2**32 % num_experts


@mutant("10.8", "the id itself, mod E")
def identity(token_ids, num_experts):
    return token_ids.long() % num_experts


@mutant("10.8", "the id's own high bits")
def no_hash(token_ids, num_experts):
    return token_ids.long() * num_experts >> 32


@mutant("10.8", "no mod 2³²")
def no_word(token_ids, num_experts):
    return (token_ids.long() * 2654435761 >> 32) % num_experts


@mutant("10.8", "no E: the hash itself")
def no_experts(token_ids, num_experts):
    return token_ids.long() * 2654435761 % 2**32


@mutant("10.8", "another multiplier")
def other_multiplier(token_ids, num_experts):
    return token_ids.long() * 2654435769 % 2**32 * num_experts >> 32


@mutant("10.8", "divides in float32")
def floating(token_ids, num_experts):
    return (token_ids.long() * 2654435761 % 2**32 / 2**32 * num_experts).long()


@mutant("10.8", "multiplies in double precision")
def hash_double(token_ids, num_experts):
    return (token_ids.double() * 2654435761.0 % 2.0**32).long() * num_experts >> 32


@mutant("10.8", "rounds to the nearest expert")
def nearest_expert(token_ids, num_experts):
    return (token_ids.long() * 2654435761 % 2**32 * num_experts + 2**31 >> 32) % num_experts


@mutant("10.8", "a power of two of experts only: the first bits of the word")
def first_bits(token_ids, num_experts):
    return token_ids.long() * 2654435761 % 2**32 >> (32 - (num_experts - 1).bit_length())


@mutant("10.8", "experts from E − 1 down")
def backwards(token_ids, num_experts):
    return num_experts - 1 - (token_ids.long() * 2654435761 % 2**32 * num_experts >> 32)


@mutant("10.8", "16 bits of the hash are enough")
def sixteen_bits(token_ids, num_experts):
    return (token_ids.long() * 2654435761 % 2**32 >> 16) * num_experts >> 16


@mutant("10.8", "int32 overflows")
def narrow(token_ids, num_experts):
    return torch.from_numpy(token_ids.numpy().astype(np.int32) * np.int32(-1640531535)).long() * num_experts >> 32


@mutant("10.8", "the dtype that came in goes out")
def same_dtype(token_ids, num_experts):
    return reference.hash_route(token_ids, num_experts).to(token_ids.dtype)


@mutant("10.8", "flattened")
def flat_hash(token_ids, num_experts):
    return reference.hash_route(token_ids.flatten(), num_experts)


@mutant("10.8", "mod 2³¹")
def half_word(token_ids, num_experts):
    return token_ids.long() * 2654435761 % 2**31 * num_experts >> 31


@mutant("10.8", "experts in 32 bits on their way")
def hash_int32(token_ids, num_experts):
    return (token_ids.long() * 2654435761 % 2**32).to(torch.int32).long() * num_experts >> 32


@mutant("10.8", "one id comes back as a number")
def hash_flat(token_ids, num_experts):
    return reference.hash_route(token_ids.reshape(-1), num_experts).reshape(token_ids.shape).squeeze()


@mutant("10.8", "ids above a million wrap")
def hash_million(token_ids, num_experts):
    return reference.hash_route(token_ids.long() % 2**20, num_experts)


@right("10.8")
def by_bit_mask(token_ids, num_experts):
    return torch.div(
        ((token_ids.to(torch.int64) * 2654435761) & 0xFFFFFFFF) * num_experts, 2**32, rounding_mode="floor"
    )


@right("10.8")
def in_python(token_ids, num_experts):
    flat = [i * 2654435761 % 2**32 * num_experts // 2**32 for i in token_ids.flatten().tolist()]
    return torch.tensor(flat).view(token_ids.shape)


@right("10.8")
def hash_by_halves(token_ids, num_experts):
    flat = [(i * 2654435761 & 0xFFFFFFFF) * num_experts >> 32 for i in token_ids.reshape(-1).tolist()]
    return torch.from_numpy(np.array(flat, dtype=np.int64)).reshape(token_ids.shape)


@mutant("10.8", "uint8 read as int8")
def hash_signed_byte(token_ids, num_experts):
    signed = token_ids.to(torch.int8) if token_ids.dtype == torch.uint8 else token_ids
    return signed.long() * 2654435761 % 2**32 * num_experts >> 32


# --- 10.9 reinforce_loss ----------------------------------------------------------------------------------------------


@mutant("10.9", "sign forgotten")
def wrong_sign(log_probability, reward, baseline):
    return -reference.reinforce_loss(log_probability, reward, baseline)


@mutant("10.9", "summed over the tokens")
def summed(log_probability, reward, baseline):
    return reference.reinforce_loss(log_probability, reward, baseline) * len(reward)


@mutant("10.9", "baseline forgotten")
def no_baseline(log_probability, reward, baseline):
    return reference.reinforce_loss(log_probability, reward, 0.0)


@mutant("10.9", "baseline added")
def added_baseline(log_probability, reward, baseline):
    return -((reward + baseline).detach() * log_probability).mean()


@mutant("10.9", "gradient into the reward and the baseline")
def learning_reward(log_probability, reward, baseline):
    return -((reward - baseline) * log_probability).mean()


@mutant("10.9", "gradient into the baseline")
def learning_baseline(log_probability, reward, baseline):
    return -((reward.detach() - baseline) * log_probability).mean()


@mutant("10.9", "gradient into the reward")
def learning_reward_only(log_probability, reward, baseline):
    constant = baseline.detach() if isinstance(baseline, Tensor) else baseline
    return -((reward - constant) * log_probability).mean()


@mutant("10.9", "the probability in place of its logarithm")
def probability_loss(log_probability, reward, baseline):
    return reference.reinforce_loss(log_probability.exp(), reward, baseline)


@mutant("10.9", "logarithm taken again")
def log_again(log_probability, reward, baseline):
    return reference.reinforce_loss(log_probability.abs().log(), reward, baseline)


@mutant("10.9", "no gradient into log p")
def reinforce_detached(log_probability, reward, baseline):
    return reference.reinforce_loss(log_probability.detach(), reward, baseline)


@mutant("10.9", "mean of reward times mean of log p")
def means_first(log_probability, reward, baseline):
    return -((reward - baseline).mean().detach() * log_probability.mean())


@mutant("10.9", "the reward normalised by its spread")
def normalised_reward(log_probability, reward, baseline):
    advantage = (reward - baseline).detach()
    return -(advantage / (advantage.std(correction=0) + 1e-8) * log_probability).mean()


@right("10.9")
def by_dot(log_probability, reward, baseline):
    with torch.no_grad():
        advantage = reward - baseline
    return -torch.dot(advantage, log_probability) / len(reward)


@right("10.9")
def by_mean_of_products(log_probability, reward, baseline):
    constant = baseline.detach() if isinstance(baseline, Tensor) else baseline
    return (log_probability * (constant - reward.detach())).mean()


@mutant("10.9", "a baseline of 0 is taken for missing: the mean")
def reinforce_default(log_probability, reward, baseline):
    if isinstance(baseline, int | float) and not baseline:
        baseline = reward.mean()
    return reference.reinforce_loss(log_probability, reward, baseline)


@mutant("10.9", "advantages are kept between −10 and 10")
def reinforce_clipped(log_probability, reward, baseline):
    return -((reward - baseline).detach().clamp(-10, 10) * log_probability).mean()


@mutant("10.9", "log probabilities of at least −20")
def reinforce_clamped(log_probability, reward, baseline):
    return -((reward - baseline).detach() * log_probability.clamp(min=-20)).mean()


@mutant("10.9", "the baseline is not a constant")
def reinforce_baseline_graph(log_probability, reward, baseline):
    return -((reward.detach() - baseline) * log_probability).mean()


@mutant("10.9", "a baseline for each token is averaged")
def reinforce_mean_baseline(log_probability, reward, baseline):
    if isinstance(baseline, torch.Tensor):
        baseline = baseline.mean()
    return reference.reinforce_loss(log_probability, reward, baseline)


@right("10.9")
def reinforce_by_dot(log_probability, reward, baseline):
    advantage = torch.as_tensor(baseline, dtype=reward.dtype).detach() - reward.detach()
    return torch.dot(advantage.to(log_probability.dtype), log_probability) / len(reward)


@mutant("10.9", "the mean over the tokens with a reward")
def reinforce_rewarded(log_probability, reward, baseline):
    return -((reward - baseline).detach() * log_probability).sum() / (reward != 0).sum().clamp(min=1)


@mutant("10.9", "a baseline tensor of zeros is taken for missing")
def reinforce_zero_tensor(log_probability, reward, baseline):
    if isinstance(baseline, Tensor) and not baseline.any():
        baseline = reward.mean()
    return reference.reinforce_loss(log_probability, reward, baseline)


# --- 10.10 effective_rank ---------------------------------------------------------------------------------------------


@mutant("10.10", "the entropy, without exp")
def entropy_only(representations):
    return reference.effective_rank(representations).log()


@mutant("10.10", "squared singular values")
def squared_values(representations):
    power = torch.linalg.svdvals(representations) ** 2
    return torch.special.entr(power / power.sum()).sum().exp()


@mutant("10.10", "not normalised")
def unnormalised(representations):
    return torch.special.entr(torch.linalg.svdvals(representations)).sum().exp()


@mutant("10.10", "divided by the largest singular value")
def by_largest(representations):
    singular = torch.linalg.svdvals(representations)
    return torch.special.entr(singular / singular.max()).sum().exp()


@mutant("10.10", "0 · log 0 is NaN")
def log_of_zero(representations):
    singular = torch.linalg.svdvals(representations)
    p = singular / singular.sum()
    return (-(p * p.log()).sum()).exp()


@mutant("10.10", "centred")
def centred(representations):
    return reference.effective_rank(representations - representations.mean(0))


@mutant("10.10", "logarithms to base 2, exp to base e")
def base_two(representations):
    return (reference.effective_rank(representations).log() / math.log(2)).exp()


@mutant("10.10", "the matrix rank")
def matrix_rank(representations):
    return torch.linalg.matrix_rank(representations).to(representations.dtype)


@mutant("10.10", "stable rank: squared Frobenius norm by squared spectral norm")
def stable_rank(representations):
    power = torch.linalg.svdvals(representations) ** 2
    return power.sum() / power.max()


@mutant("10.10", "softmax in place of division by the sum")
def rank_softmax(representations):
    return torch.special.entr(torch.softmax(torch.linalg.svdvals(representations), 0)).sum().exp()


@mutant("10.10", "float32")
def rank_float(representations):
    return reference.effective_rank(representations.float())


@right("10.10")
def rank_by_xlogy(representations):
    _, singular, _ = torch.linalg.svd(representations, full_matrices=False)
    p = F.normalize(singular, p=1, dim=0)
    return torch.exp(-torch.xlogy(p, p).sum())


@right("10.10")
def rank_without_zeros(representations):
    singular = torch.linalg.svdvals(representations.T)
    singular = singular[singular > 0]
    p = singular / singular.sum()
    return torch.exp((p * -p.log()).sum())


@mutant("10.10", "drops singular values below a hundredth of the largest")
def rank_cut_off(representations):
    s = torch.linalg.svdvals(representations)
    s = s[s > 0.01 * s[0]]
    p = s / s.sum()
    return torch.special.entr(p).sum().exp()


@mutant("10.10", "drops singular values below a millionth")
def rank_absolute_cut_off(representations):
    s = torch.linalg.svdvals(representations)
    s = s[s > 1e-6]
    p = s / s.sum()
    return torch.special.entr(p).sum().exp()


@mutant("10.10", "adds 1e-3 inside the logarithm")
def rank_epsilon(representations):
    s = torch.linalg.svdvals(representations)
    p = s / s.sum()
    return torch.exp(-(p * torch.log(p + 1e-4)).sum())


@mutant("10.10", "adds 1e-8 to the sum")
def rank_sum_epsilon(representations):
    s = torch.linalg.svdvals(representations)
    p = s / (s.sum() + 1e-8)
    return torch.special.entr(p).sum().exp()


@mutant("10.10", "one row counts as rank 1 times its width")
def rank_one_row(representations):
    if representations.shape[0] == 1:
        return torch.tensor(float(representations.count_nonzero()), dtype=representations.dtype)
    return reference.effective_rank(representations)


@mutant("10.10", "ten directions at most")
def rank_ten(representations):
    s = torch.linalg.svdvals(representations)[:10]
    return torch.special.entr(s / s.sum()).sum().exp()


@right("10.10")
def rank_by_numpy(representations):
    s = np.linalg.svd(representations.detach().numpy(), compute_uv=False)
    p = s[s > 0] / s.sum()
    return torch.tensor(np.exp(-(p * np.log(p)).sum()), dtype=representations.dtype)


@mutant("10.10", "probabilities up to 1e-5 are cut off")
def rank_cut(representations):
    singular = torch.linalg.svdvals(representations)
    p = singular / singular.sum()
    return torch.special.entr(p[p > 1e-5]).sum().exp()


@mutant("10.10", "sizes by squares, which float32 does not hold")
def rank_squares(representations):
    singular = torch.linalg.svdvals(representations).square().sqrt()
    return torch.special.entr(singular / singular.sum()).sum().exp()


# --- 10.11 moe_layer --------------------------------------------------------------------------------------------------


def layer(
    tokens,
    router_weight,
    w1,
    w2,
    k,
    capacity_factor,
    *,
    gate=None,
    order="rank",
    slots=None,
    activation=torch.relu,
    loss="all",
    ungated=False,
    renormalise=False,
    detach=False,
):
    """The layer, with errors to choose from."""
    experts, count = router_weight.shape[1], len(tokens)
    logits = tokens @ router_weight
    probabilities = torch.softmax(logits, -1)
    largest, chosen = logits.topk(k)
    if (gate or ("full" if k == 1 else "chosen")) == "full":
        gates = probabilities.gather(1, chosen)
    else:
        gates = torch.softmax(largest, -1)
    if detach:
        gates = gates.detach()
    repeated = tokens.repeat(k, 1) if order == "rank" else tokens.repeat_interleave(k, 0)
    flat = (lambda x: x.T.flatten()) if order == "rank" else (lambda x: x.flatten())
    room = slots(count, experts, k, capacity_factor) if slots else math.ceil(k * count * capacity_factor / experts)
    buffer, positions = reference.dispatch(repeated, flat(chosen), experts, room)
    weights = torch.ones_like(flat(gates)) if ungated else flat(gates)
    if renormalise:
        kept = (positions >= 0).view(k, count).T if order == "rank" else (positions >= 0).view(count, k)
        weights = flat(gates * kept / (gates * kept).sum(-1, keepdim=True).clamp(min=1e-12))
    outputs = reference.combine(activation(buffer @ w1) @ w2, flat(chosen), positions, weights)
    output = outputs.view(k, count, -1).sum(0) if order == "rank" else outputs.view(count, k, -1).sum(1)
    counted = {"first": chosen[:, 0], "kept": flat(chosen)[positions >= 0]}.get(loss, chosen.flatten())
    number = {"first": count, "sum": count}.get(loss, k * count)
    fraction = torch.bincount(counted, minlength=experts).to(logits.dtype) / number
    auxiliary = experts * (fraction * probabilities.mean(0)).sum()
    if loss == "counts":
        auxiliary = experts * (fraction * fraction).sum() + 0 * probabilities.sum()
    if loss == "importance":
        auxiliary = reference.importance_loss(torch.zeros_like(logits).scatter(1, chosen, gates))
    return output, auxiliary


LAYER_ERRORS = {
    "gates of the full softmax for every k": {"gate": "full"},
    "gates renormalised at k = 1 too: the router learns nothing": {"gate": "chosen"},
    "gates not in the combine": {"ungated": True},
    "gates detached": {"detach": True},
    "gates renormalised after tokens were dropped": {"renormalise": True},
    "a token's second choice before the next token's first": {"order": "token"},
    "capacity with the floor": {"slots": lambda n, e, k, f: max(1, int(k * n * f / e))},
    "capacity without k": {"slots": lambda n, e, k, f: math.ceil(n * f / e)},
    "capacity without the factor": {"slots": lambda n, e, k, f: math.ceil(n * k / e)},
    "no capacity: nothing is ever dropped": {"slots": lambda n, e, k, f: n},
    "no activation": {"activation": lambda x: x},
    "GELU for ReLU": {"activation": F.gelu},
    "auxiliary loss from counts only": {"loss": "counts"},
    "auxiliary loss over the first choices only": {"loss": "first"},
    "auxiliary loss k times too large": {"loss": "sum"},
    "auxiliary loss after dropping": {"loss": "kept"},
    "importance loss as the auxiliary loss": {"loss": "importance"},
}


def with_error(**options):
    def moe_layer(tokens, router_weight, w1, w2, k, capacity_factor):
        return layer(tokens, router_weight, w1, w2, k, capacity_factor, **options)

    return moe_layer


for text, options in LAYER_ERRORS.items():
    mutant("10.11", text)(with_error(**options))


@mutant("10.11", "output and auxiliary loss exchanged")
def layer_exchanged(tokens, router_weight, w1, w2, k, capacity_factor):
    return tuple(reversed(reference.moe_layer(tokens, router_weight, w1, w2, k, capacity_factor)))


@mutant("10.11", "the token added to the output: the block's residual connection")
def layer_residual(tokens, router_weight, w1, w2, k, capacity_factor):
    output, auxiliary = reference.moe_layer(tokens, router_weight, w1, w2, k, capacity_factor)
    return output + tokens, auxiliary


@mutant("10.11", "a dropped token passes unchanged")
def layer_passes(tokens, router_weight, w1, w2, k, capacity_factor):
    output, auxiliary = reference.moe_layer(tokens, router_weight, w1, w2, k, capacity_factor)
    return torch.where((output == 0).all(1, keepdim=True), tokens, output), auxiliary


@mutant("10.11", "at k = 1 the largest probability by amax, which shares its gradient among equal logits")
def layer_amax(tokens, router_weight, w1, w2, k, capacity_factor):
    output, auxiliary = reference.moe_layer(tokens, router_weight, w1, w2, k, capacity_factor)
    if k == 1:
        probabilities = torch.softmax(tokens @ router_weight, -1)
        gate = probabilities.max(-1).values.detach()
        unscaled, _ = reference.moe_layer(tokens, router_weight.detach(), w1, w2, k, capacity_factor)
        output = unscaled * (probabilities.amax(-1) / gate).unsqueeze(1)
    return output, auxiliary


@mutant("10.11", "auxiliary loss detached")
def layer_loss_detached(tokens, router_weight, w1, w2, k, capacity_factor):
    output, auxiliary = reference.moe_layer(tokens, router_weight, w1, w2, k, capacity_factor)
    return output, auxiliary.detach()


@mutant("10.11", "the router sees the tokens detached")
def layer_router_detached(tokens, router_weight, w1, w2, k, capacity_factor):
    logits_of = tokens.detach()
    # the router's share of the gradient by the tokens is missing
    output, auxiliary = reference.moe_layer(
        torch.cat([tokens, logits_of], 1),
        torch.cat([torch.zeros_like(router_weight), router_weight]),
        torch.cat([w1, torch.zeros_like(w1)], 1),
        torch.cat([w2, torch.zeros_like(w2)], 2),
        k,
        capacity_factor,
    )
    return output[:, : tokens.shape[1]], auxiliary


@right("10.11")
def layer_by_options(tokens, router_weight, w1, w2, k, capacity_factor):
    return layer(tokens, router_weight, w1, w2, k, capacity_factor)


@right("10.11")
def layer_by_loop(tokens, router_weight, w1, w2, k, capacity_factor):
    count, experts = len(tokens), router_weight.shape[1]
    logits = tokens @ router_weight
    probabilities = torch.softmax(logits, -1)
    chosen = logits.topk(k).indices
    room, taken = math.ceil(k * count * capacity_factor / experts), [0] * experts
    rows = [torch.zeros_like(tokens[0])] * count
    for rank in range(k):
        for t in range(count):
            e = int(chosen[t, rank])
            taken[e] += 1
            if taken[e] <= room:
                gate = probabilities[t, e] if k == 1 else torch.softmax(logits[t, chosen[t]], 0)[rank]
                rows[t] = rows[t] + gate * (torch.relu(tokens[t] @ w1[e]) @ w2[e])
    fraction = torch.tensor(taken, dtype=logits.dtype) / (k * count)
    return torch.stack(rows), experts * (fraction * probabilities.mean(0)).sum()


def _moe(tokens, router_weight, w1, w2, k, slots, gates=None, order=None, loss_k=None):
    num_experts = router_weight.shape[1]
    logits = tokens @ router_weight
    largest, chosen = logits.topk(k, dim=-1)
    if gates is None:
        gates = reference.switch_gate(logits)[1].unsqueeze(1) if k == 1 else torch.softmax(largest, dim=-1)
    assignment = chosen.T.flatten()
    buffer, positions = reference.dispatch(tokens.repeat(k, 1), assignment, num_experts, slots)
    outputs = reference.combine(torch.relu(buffer @ w1) @ w2, assignment, positions, gates.T.flatten())
    probabilities = torch.softmax(logits, dim=-1)
    counted = chosen[:, : loss_k or k].T.flatten()
    auxiliary = reference.switch_loss(probabilities.repeat(loss_k or k, 1), counted, num_experts)
    return outputs.view(k, *tokens.shape).sum(dim=0), auxiliary


@mutant("10.11", "with all experts chosen nothing is dropped")
def moe_all_chosen(tokens, router_weight, w1, w2, k, capacity_factor):
    experts = router_weight.shape[1]
    slots = len(tokens) if k == experts else reference.capacity(len(tokens), experts, k, capacity_factor)
    return _moe(tokens, router_weight, w1, w2, k, slots)


@mutant("10.11", "a capacity factor of 0 is taken for missing")
def moe_default_factor(tokens, router_weight, w1, w2, k, capacity_factor):
    return reference.moe_layer(tokens, router_weight, w1, w2, k, capacity_factor or 1.0)


@mutant("10.11", "one slot at least")
def moe_one_slot(tokens, router_weight, w1, w2, k, capacity_factor):
    slots = max(1, reference.capacity(len(tokens), router_weight.shape[1], k, capacity_factor))
    return _moe(tokens, router_weight, w1, w2, k, slots)


@mutant("10.11", "with k = 2 of 2 the gates are those of the softmax over all, with k = 3 the first two only count")
def moe_first_two(tokens, router_weight, w1, w2, k, capacity_factor):
    slots = reference.capacity(len(tokens), router_weight.shape[1], k, capacity_factor)
    return _moe(tokens, router_weight, w1, w2, k, slots, loss_k=min(k, 2))


@mutant("10.11", "one expert: no router is needed, the gate is a constant")
def moe_gate_constant(tokens, router_weight, w1, w2, k, capacity_factor):
    slots = reference.capacity(len(tokens), router_weight.shape[1], k, capacity_factor)
    if k > 1:
        return _moe(tokens, router_weight, w1, w2, k, slots)
    gates = reference.switch_gate(tokens @ router_weight)[1].unsqueeze(1).detach()
    return _moe(tokens, router_weight, w1, w2, k, slots, gates=gates)


@mutant("10.11", "no more slots than tokens by k")
def moe_capped_factor(tokens, router_weight, w1, w2, k, capacity_factor):
    return reference.moe_layer(tokens, router_weight, w1, w2, k, min(capacity_factor, 1.0))


@mutant("10.11", "the order of the third choices is that of the second")
def moe_token_order(tokens, router_weight, w1, w2, k, capacity_factor):
    num_experts = router_weight.shape[1]
    logits = tokens @ router_weight
    largest, chosen = logits.topk(k, dim=-1)
    gates = reference.switch_gate(logits)[1].unsqueeze(1) if k == 1 else torch.softmax(largest, dim=-1)
    first, rest = chosen[:, 0], chosen[:, 1:].flatten()
    assignment = torch.cat([first, rest])
    slots = reference.capacity(len(tokens), num_experts, k, capacity_factor)
    sent = torch.cat([tokens, tokens.repeat_interleave(k - 1, 0)])
    buffer, positions = reference.dispatch(sent, assignment, num_experts, slots)
    outputs = reference.combine(
        torch.relu(buffer @ w1) @ w2, assignment, positions, torch.cat([gates[:, 0], gates[:, 1:].flatten()])
    )
    total = outputs[: len(tokens)] + outputs[len(tokens) :].reshape(len(tokens), k - 1, -1).sum(1)
    probabilities = torch.softmax(logits, dim=-1)
    return total, reference.switch_loss(probabilities.repeat(k, 1), chosen.T.flatten(), num_experts)


@right("10.11")
def moe_by_loops(tokens, router_weight, w1, w2, k, capacity_factor):
    experts = router_weight.shape[1]
    logits = tokens @ router_weight
    chosen = logits.argsort(dim=1, descending=True)[:, :k]
    probabilities = logits.softmax(1)
    gates = probabilities.gather(1, chosen) if k == 1 else logits.gather(1, chosen).softmax(1)
    room = [math.ceil(k * len(tokens) * capacity_factor / experts)] * experts
    out = [torch.zeros_like(t) for t in tokens]
    for choice in range(k):
        for t in range(len(tokens)):
            e = int(chosen[t, choice])
            if room[e] > 0:
                room[e] -= 1
                out[t] = out[t] + gates[t, choice] * (F.relu(tokens[t] @ w1[e]) @ w2[e])
    fraction = torch.bincount(chosen.flatten(), minlength=experts).to(tokens.dtype) / (k * len(tokens))
    return torch.stack(out), experts * (fraction * probabilities.mean(0)).sum()


def sparse_layer(tokens, router_weight, w1, w2, k, factor, order=None, least=0):
    """The reference, with holes for errors: the order of a token's choices, and the least number of slots."""
    experts = router_weight.shape[1]
    logits = tokens @ router_weight
    chosen = logits.topk(k).indices[:, order(k) if order else slice(None)]
    gates = torch.softmax(logits.gather(1, chosen), -1) if k > 1 else torch.softmax(logits, -1).gather(1, chosen)
    assignment = chosen.T.flatten()
    slots = max(least, reference.capacity(len(tokens), experts, k, factor)) if factor else 0
    buffer, positions = reference.dispatch(tokens.repeat(k, 1), assignment, experts, slots)
    outputs = reference.combine(torch.relu(buffer @ w1) @ w2, assignment, positions, gates.T.flatten())
    _, auxiliary = reference.moe_layer(tokens, router_weight, w1, w2, k, factor)
    return outputs.view(k, *tokens.shape).sum(0), auxiliary


@mutant("10.11", "at least two slots")
def layer_two_slots(tokens, router_weight, w1, w2, k, capacity_factor):
    return sparse_layer(tokens, router_weight, w1, w2, k, capacity_factor, least=2)


@mutant("10.11", "third choices before second ones")
def layer_third_first(tokens, router_weight, w1, w2, k, capacity_factor):
    order = lambda k: [0, *range(k - 1, 0, -1)]  # noqa: E731
    return sparse_layer(tokens, router_weight, w1, w2, k, capacity_factor, order=order)


# Machine-made mutants that do the same as the reference
LAST = "the second axis of a matrix is its last"
DEFAULT = "the last axis is the default"
EQUIVALENT = {
    "noisy_top_k: -1 -> 1": LAST,
    "noisy_top_k: noisy.topk(k, dim=-1) -> noisy.topk(k)": DEFAULT,
    "switch_gate: -1 -> 1": LAST,
    "load_probability: -1 -> 1": LAST,
    "load_probability: noisy_logits.topk(k + 1, dim=-1) -> noisy_logits.topk(k + 1)": DEFAULT,
    "expert_choice: -1 -> 1": LAST,
    "expert_choice: scores.T.topk(capacity, dim=-1) -> scores.T.topk(capacity)": DEFAULT,
    "moe_layer: -1 -> 1": LAST,
    "moe_layer: logits.topk(k, dim=-1) -> logits.topk(k)": DEFAULT,
    "moe_layer: 1 -> 0": "the gates are flattened afterwards, and with k = 1 their order is the tokens' anyway",
    "moe_layer: switch_gate(logits)[1].unsqueeze(1) -> switch_gate(logits)[1]": "flattened afterwards",
}
