"""Mutants and right variants of unit 01.

As in the lab, a function may call the ones before it, which are the reference's here.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from course_utils import distillation
from course_utils.distillation import distill, distillation_loss, soft_targets
from course_utils.models import mlp_forward
from tests.checks.catalogue import mutant, right

# Machine-made changes (tests/checks/operators.py) that leave a function right, and why
EQUIVALENT = {
    "distillation_loss: -1 -> 1": "logits are [batch, classes]: axis 1 is the last",
    "distillation_loss: F.log_softmax(student_logits / temperature, dim=-1) -> "
    "F.log_softmax(student_logits / temperature)": "torch takes axis 1 of a matrix, with a warning",
    "distill: w.detach().clone() -> w.detach()": "nothing is changed in place, so sharing memory does no harm",
    "distill: w.detach() -> w": "a plain tensor has no history to cut off",
    "distill: (value - lr * gradient).detach() -> value - lr * gradient": "a longer graph, the same gradients",
    "distill: list(weights.values()) -> weights.values()": "autograd.grad takes any sequence",
    "distill: True -> False": "strict only guards against a slip",
    "distill: zip(weights.items(), gradients, strict=True) -> zip(weights.items(), gradients)": "as above",
}

# --- 1.1 soft_targets -------------------------------------------------------------------------------------------------


@mutant("1.1", "multiplies by the temperature")
def soft_multiplied(logits, temperature=1.0):
    return torch.softmax(logits * temperature, dim=-1)


@mutant("1.1", "ignores the temperature")
def soft_no_temperature(logits, temperature=1.0):
    return torch.softmax(logits, dim=-1)


@mutant("1.1", "divides the probabilities, not the logits")
def soft_divided_after(logits, temperature=1.0):
    return torch.softmax(logits, dim=-1) / temperature


@mutant("1.1", "exp overflows")
def soft_overflow(logits, temperature=1.0):
    powers = torch.exp(logits / temperature)
    return powers / powers.sum(-1, keepdim=True)


@mutant("1.1", "clamps the logits so that exp does not overflow")
def soft_clamped(logits, temperature=1.0):
    powers = torch.exp((logits / temperature).clamp(-80, 80))
    return powers / powers.sum(-1, keepdim=True)


@mutant("1.1", "turns NaN into 0 after exp overflowed")
def soft_nan_to_num(logits, temperature=1.0):
    powers = torch.exp(logits / temperature)
    return torch.nan_to_num(powers / powers.sum(-1, keepdim=True), nan=1.0)


@mutant("1.1", "softmax over the batch")
def soft_over_batch(logits, temperature=1.0):
    return torch.softmax(logits / temperature, dim=0)


@mutant("1.1", "softmax over axis 1 whatever the shape")
def soft_axis_one(logits, temperature=1.0):
    return torch.softmax(logits / temperature, dim=1 if logits.dim() > 1 else 0)


@mutant("1.1", "one normalization for the whole batch")
def soft_whole_batch(logits, temperature=1.0):
    powers = torch.exp((logits - logits.max()) / temperature)
    return powers / powers.sum()


@mutant("1.1", "subtracts the largest logit of the batch, not of the row")
def soft_batch_maximum(logits, temperature=1.0):
    powers = torch.exp((logits - logits.max()) / temperature)
    return powers / powers.sum(-1, keepdim=True)


@mutant("1.1", "keepdim forgotten in the sum")
def soft_no_keepdim(logits, temperature=1.0):
    powers = torch.exp((logits - logits.amax(-1, keepdim=True)) / temperature)
    return powers / powers.sum(-1)


@mutant("1.1", "the maximum is subtracted after the division by T")
def soft_maximum_after(logits, temperature=1.0):
    powers = torch.exp(logits / temperature - logits.amax(-1, keepdim=True))
    return powers / powers.sum(-1, keepdim=True)


@mutant("1.1", "powers of the probabilities: right until they underflow")
def soft_power(logits, temperature=1.0):
    powers = torch.softmax(logits, dim=-1) ** (1 / temperature)
    return powers / powers.sum(-1, keepdim=True)


@mutant("1.1", "subtracts the first logit of the row, not the largest")
def soft_first_logit(logits, temperature=1.0):
    powers = torch.exp((logits - logits[..., :1]) / temperature)
    return powers / powers.sum(-1, keepdim=True)


@mutant("1.1", "contiguous logits only")
def soft_view(logits, temperature=1.0):
    rows = logits.view(-1, logits.shape[-1])
    return torch.softmax(rows / temperature, dim=1).view(logits.shape)


@mutant("1.1", "the temperature only for a batch of rows")
def soft_batches_only(logits, temperature=1.0):
    return torch.softmax(logits / temperature if logits.dim() == 2 else logits, dim=-1)


@mutant("1.1", "more than two axes flattened in the wrong order")
def soft_reordered(logits, temperature=1.0):
    rows = logits.transpose(0, -2).reshape(-1, logits.shape[-1]) if logits.dim() > 2 else logits
    return torch.softmax(rows / temperature, dim=-1).reshape(logits.shape)


@mutant("1.1", "probabilities kept away from 0")
def soft_clamped_result(logits, temperature=1.0):
    return torch.softmax(logits / temperature, dim=-1).clamp(min=1e-8)


@mutant("1.1", "no default temperature")
def soft_no_default(logits, temperature):
    return torch.softmax(logits / temperature, dim=-1)


@mutant("1.1", "the default temperature is not 1")
def soft_other_default(logits, temperature=2.0):
    return torch.softmax(logits / temperature, dim=-1)


@mutant("1.1", "logarithm of the probabilities")
def soft_log(logits, temperature=1.0):
    return torch.log_softmax(logits / temperature, dim=-1)


@mutant("1.1", "sigmoid for softmax")
def soft_sigmoid(logits, temperature=1.0):
    return torch.sigmoid(logits / temperature)


@mutant("1.1", "float32 inside")
def soft_float32(logits, temperature=1.0):
    return torch.softmax(logits.float() / temperature, dim=-1).to(logits.dtype)


@mutant("1.1", "float32 comes back")
def soft_float32_result(logits, temperature=1.0):
    return torch.softmax(logits / temperature, dim=-1).float()


@mutant("1.1", "an epsilon in the denominator")
def soft_epsilon(logits, temperature=1.0):
    powers = torch.exp((logits - logits.amax(-1, keepdim=True)) / temperature)
    return powers / (powers.sum(-1, keepdim=True) + 1e-8)


@mutant("1.1", "the temperature is rounded to a whole number")
def soft_integer_temperature(logits, temperature=1.0):
    return torch.softmax(logits / max(1, round(temperature)), dim=-1)


@mutant("1.1", "temperatures below 1 are not allowed")
def soft_temperature_from_one(logits, temperature=1.0):
    return torch.softmax(logits / max(1.0, temperature), dim=-1)


@mutant("1.1", "cut off from the logits")
def soft_detached(logits, temperature=1.0):
    return torch.softmax(logits.detach() / temperature, dim=-1)


@mutant("1.1", "NumPy inside")
def soft_numpy(logits, temperature=1.0):
    z = logits.detach().numpy() / temperature
    return torch.from_numpy(z).softmax(-1)


@mutant("1.1", "divides the logits in place")
def soft_in_place(logits, temperature=1.0):
    logits /= temperature
    return torch.softmax(logits, dim=-1)


@mutant("1.1", "prints instead of returning")
def soft_printed(logits, temperature=1.0):
    print(torch.softmax(logits / temperature, dim=-1))


@right("1.1")
def soft_manual(logits, temperature=1.0):
    z = logits / temperature
    powers = torch.exp(z - z.amax(dim=-1, keepdim=True))
    return powers / powers.sum(dim=-1, keepdim=True)


@right("1.1")
def soft_logsumexp(logits, temperature=1.0):
    z = logits / temperature
    return torch.exp(z - torch.logsumexp(z, dim=-1, keepdim=True))


@right("1.1")
def soft_module(logits, temperature=1.0):
    return nn.Softmax(dim=logits.ndim - 1)((1 / temperature) * logits)


@right("1.1")
def soft_rows(logits, temperature=1.0):
    if logits.dim() == 1:
        z = logits / temperature - logits.max().detach() / temperature
        return z.exp() / z.exp().sum()
    return torch.stack([soft_rows(row, temperature) for row in logits])


@mutant("1.1", "half precision becomes float32")
def softmax_in_float32(logits, temperature=1.0):
    wide = torch.promote_types(logits.dtype, torch.float32)
    return torch.softmax(logits.to(wide) / temperature, dim=-1)


@mutant("1.1", "what is far below the largest logit is cut off")
def softmax_clamped_far_below(logits, temperature=1.0):
    scaled = logits / temperature
    return torch.softmax((scaled - scaled.amax(dim=-1, keepdim=True)).clamp(min=-10), dim=-1)


@mutant("1.1", "the largest logit of all rows is subtracted")
def softmax_less_one_maximum(logits, temperature=1.0):
    exponentials = torch.exp((logits - logits.max()) / temperature)
    return exponentials / exponentials.sum(dim=-1, keepdim=True)


@mutant("1.1", "a temperature below 1 counts as 1")
def softmax_never_sharper(logits, temperature=1.0):
    return torch.softmax(logits / max(temperature, 1.0), dim=-1)


@right("1.1")
def softmax_by_logsumexp(logits, temperature=1.0):
    wide = logits.double() / temperature
    return (wide - wide.logsumexp(dim=-1, keepdim=True)).exp().to(logits.dtype)


# --- 1.2 distillation_loss --------------------------------------------------------------------------------------------


@mutant("1.2", "T² forgotten")
def loss_no_square(student_logits, teacher_logits, labels, temperature, alpha):
    p = soft_targets(teacher_logits.detach(), temperature)
    log_q = F.log_softmax(student_logits / temperature, dim=-1)
    divergence = F.kl_div(log_q, p, reduction="batchmean")
    return alpha * divergence + (1 - alpha) * F.cross_entropy(student_logits, labels)


@mutant("1.2", "T for T²")
def loss_temperature_once(student_logits, teacher_logits, labels, temperature, alpha):
    p = soft_targets(teacher_logits.detach(), temperature)
    log_q = F.log_softmax(student_logits / temperature, dim=-1)
    divergence = F.kl_div(log_q, p, reduction="batchmean")
    return alpha * temperature * divergence + (1 - alpha) * F.cross_entropy(student_logits, labels)


@mutant("1.2", "T² on both terms")
def loss_square_on_both(student_logits, teacher_logits, labels, temperature, alpha):
    p = soft_targets(teacher_logits.detach(), temperature)
    log_q = F.log_softmax(student_logits / temperature, dim=-1)
    divergence = F.kl_div(log_q, p, reduction="batchmean")
    return temperature**2 * (alpha * divergence + (1 - alpha) * F.cross_entropy(student_logits, labels))


@mutant("1.2", "divides by T²")
def loss_divided_by_square(student_logits, teacher_logits, labels, temperature, alpha):
    p = soft_targets(teacher_logits.detach(), temperature)
    log_q = F.log_softmax(student_logits / temperature, dim=-1)
    divergence = F.kl_div(log_q, p, reduction="batchmean") / temperature**2
    return alpha * divergence + (1 - alpha) * F.cross_entropy(student_logits, labels)


@mutant("1.2", "the KL the wrong way round")
def loss_reversed(student_logits, teacher_logits, labels, temperature, alpha):
    log_p = F.log_softmax(teacher_logits.detach() / temperature, dim=-1)
    q = soft_targets(student_logits, temperature)
    divergence = F.kl_div(log_p, q, reduction="batchmean")
    return alpha * temperature**2 * divergence + (1 - alpha) * F.cross_entropy(student_logits, labels)


@mutant("1.2", "'mean' for 'batchmean'")
def loss_mean(student_logits, teacher_logits, labels, temperature, alpha):
    p = soft_targets(teacher_logits.detach(), temperature)
    log_q = F.log_softmax(student_logits / temperature, dim=-1)
    divergence = F.kl_div(log_q, p, reduction="mean")
    return alpha * temperature**2 * divergence + (1 - alpha) * F.cross_entropy(student_logits, labels)


@mutant("1.2", "sum over the batch")
def loss_sum(student_logits, teacher_logits, labels, temperature, alpha):
    p = soft_targets(teacher_logits.detach(), temperature)
    log_q = F.log_softmax(student_logits / temperature, dim=-1)
    divergence = F.kl_div(log_q, p, reduction="sum")
    return alpha * temperature**2 * divergence + (1 - alpha) * F.cross_entropy(student_logits, labels, reduction="sum")


@mutant("1.2", "a loss per example")
def loss_per_example(student_logits, teacher_logits, labels, temperature, alpha):
    p = soft_targets(teacher_logits.detach(), temperature)
    log_q = F.log_softmax(student_logits / temperature, dim=-1)
    divergence = F.kl_div(log_q, p, reduction="none").sum(-1)
    hard = F.cross_entropy(student_logits, labels, reduction="none")
    return alpha * temperature**2 * divergence + (1 - alpha) * hard


@mutant("1.2", "probabilities where kl_div wants their logarithm")
def loss_no_log(student_logits, teacher_logits, labels, temperature, alpha):
    p, q = soft_targets(teacher_logits.detach(), temperature), soft_targets(student_logits, temperature)
    divergence = F.kl_div(q, p, reduction="batchmean")
    return alpha * temperature**2 * divergence + (1 - alpha) * F.cross_entropy(student_logits, labels)


@mutant("1.2", "logarithm of both without log_target")
def loss_log_of_both(student_logits, teacher_logits, labels, temperature, alpha):
    log_p = F.log_softmax(teacher_logits.detach() / temperature, dim=-1)
    log_q = F.log_softmax(student_logits / temperature, dim=-1)
    divergence = F.kl_div(log_q, log_p, reduction="batchmean")
    return alpha * temperature**2 * divergence + (1 - alpha) * F.cross_entropy(student_logits, labels)


@mutant("1.2", "log of the softmax: −∞ for sure networks")
def loss_log_of_softmax(student_logits, teacher_logits, labels, temperature, alpha):
    p = soft_targets(teacher_logits.detach(), temperature)
    log_q = torch.log(soft_targets(student_logits, temperature))
    divergence = F.kl_div(log_q, p, reduction="batchmean")
    return alpha * temperature**2 * divergence + (1 - alpha) * F.cross_entropy(student_logits, labels)


@mutant("1.2", "an epsilon inside the logarithms")
def loss_epsilon(student_logits, teacher_logits, labels, temperature, alpha):
    p, q = soft_targets(teacher_logits.detach(), temperature), soft_targets(student_logits, temperature)
    divergence = (p * ((p + 1e-8).log() - (q + 1e-8).log())).sum(-1).mean()
    return alpha * temperature**2 * divergence + (1 - alpha) * F.cross_entropy(student_logits, labels)


@mutant("1.2", "the teacher's probabilities kept away from 0")
def loss_clamped_teacher(student_logits, teacher_logits, labels, temperature, alpha):
    p = soft_targets(teacher_logits.detach(), temperature).clamp(min=1e-8)
    log_q = F.log_softmax(student_logits / temperature, dim=-1)
    divergence = F.kl_div(log_q, p, reduction="batchmean")
    return alpha * temperature**2 * divergence + (1 - alpha) * F.cross_entropy(student_logits, labels)


@mutant("1.2", "the teacher's small probabilities left out")
def loss_large_classes(student_logits, teacher_logits, labels, temperature, alpha):
    p = soft_targets(teacher_logits.detach(), temperature)
    log_q = F.log_softmax(student_logits / temperature, dim=-1)
    divergence = F.kl_div(log_q, torch.where(p > 1e-6, p, 0.0), reduction="batchmean")
    return alpha * temperature**2 * divergence + (1 - alpha) * F.cross_entropy(student_logits, labels)


@mutant("1.2", "p log p is NaN at p = 0")
def loss_zero_log_zero(student_logits, teacher_logits, labels, temperature, alpha):
    p = soft_targets(teacher_logits.detach(), temperature)
    log_q = F.log_softmax(student_logits / temperature, dim=-1)
    divergence = (p * (p.log() - log_q)).sum(-1).mean()
    return alpha * temperature**2 * divergence + (1 - alpha) * F.cross_entropy(student_logits, labels)


@mutant("1.2", "a gradient flows into the teacher")
def loss_teacher_learns(student_logits, teacher_logits, labels, temperature, alpha):
    p = soft_targets(teacher_logits, temperature)
    log_q = F.log_softmax(student_logits / temperature, dim=-1)
    divergence = F.kl_div(log_q, p, reduction="batchmean")
    return alpha * temperature**2 * divergence + (1 - alpha) * F.cross_entropy(student_logits, labels)


@mutant("1.2", "the student is detached, too")
def loss_student_detached(student_logits, teacher_logits, labels, temperature, alpha):
    p = soft_targets(teacher_logits.detach(), temperature)
    log_q = F.log_softmax(student_logits.detach() / temperature, dim=-1)
    divergence = F.kl_div(log_q, p, reduction="batchmean")
    return alpha * temperature**2 * divergence + (1 - alpha) * F.cross_entropy(student_logits, labels)


@mutant("1.2", "a Python number comes back")
def loss_item(student_logits, teacher_logits, labels, temperature, alpha):
    return distillation_loss(student_logits, teacher_logits, labels, temperature, alpha).item()


@mutant("1.2", "softmax over the batch")
def loss_over_batch(student_logits, teacher_logits, labels, temperature, alpha):
    p = torch.softmax(teacher_logits.detach() / temperature, dim=0)
    log_q = F.log_softmax(student_logits / temperature, dim=0)
    divergence = F.kl_div(log_q, p, reduction="batchmean")
    return alpha * temperature**2 * divergence + (1 - alpha) * F.cross_entropy(student_logits, labels)


@mutant("1.2", "alpha on the wrong term")
def loss_alpha_swapped(student_logits, teacher_logits, labels, temperature, alpha):
    return distillation_loss(student_logits, teacher_logits, labels, temperature, 1 - alpha)


@mutant("1.2", "the labels' term is not weighted")
def loss_labels_unweighted(student_logits, teacher_logits, labels, temperature, alpha):
    soft = distillation_loss(student_logits, teacher_logits, labels, temperature, 1.0)
    return alpha * soft + (F.cross_entropy(student_logits, labels) if alpha < 1 else 0.0)


@mutant("1.2", "no temperature on the teacher")
def loss_student_softened_only(student_logits, teacher_logits, labels, temperature, alpha):
    p = soft_targets(teacher_logits.detach())
    log_q = F.log_softmax(student_logits / temperature, dim=-1)
    divergence = F.kl_div(log_q, p, reduction="batchmean")
    return alpha * temperature**2 * divergence + (1 - alpha) * F.cross_entropy(student_logits, labels)


@mutant("1.2", "no temperature on the student")
def loss_teacher_softened_only(student_logits, teacher_logits, labels, temperature, alpha):
    p = soft_targets(teacher_logits.detach(), temperature)
    divergence = F.kl_div(F.log_softmax(student_logits, dim=-1), p, reduction="batchmean")
    return alpha * temperature**2 * divergence + (1 - alpha) * F.cross_entropy(student_logits, labels)


@mutant("1.2", "the labels' term at temperature T")
def loss_labels_softened(student_logits, teacher_logits, labels, temperature, alpha):
    soft = distillation_loss(student_logits, teacher_logits, labels, temperature, 1.0)
    return alpha * soft + (1 - alpha) * F.cross_entropy(student_logits / temperature, labels)


@mutant("1.2", "cross-entropy for KL")
def loss_cross_entropy(student_logits, teacher_logits, labels, temperature, alpha):
    p = soft_targets(teacher_logits.detach(), temperature)
    soft = F.cross_entropy(student_logits / temperature, p)
    return alpha * temperature**2 * soft + (1 - alpha) * F.cross_entropy(student_logits, labels)


@mutant("1.2", "squared difference of the logits for KL")
def loss_squared_error(student_logits, teacher_logits, labels, temperature, alpha):
    soft = F.mse_loss(student_logits, teacher_logits.detach())
    return alpha * soft + (1 - alpha) * F.cross_entropy(student_logits, labels)


@mutant("1.2", "both directions of the KL, averaged")
def loss_symmetric(student_logits, teacher_logits, labels, temperature, alpha):
    log_p = F.log_softmax(teacher_logits.detach() / temperature, dim=-1)
    log_q = F.log_softmax(student_logits / temperature, dim=-1)
    there, back = (F.kl_div(x, y, reduction="batchmean", log_target=True) for x, y in ((log_q, log_p), (log_p, log_q)))
    return alpha * temperature**2 * (there + back) / 2 + (1 - alpha) * F.cross_entropy(student_logits, labels)


@mutant("1.2", "the teacher's best class for its soft targets")
def loss_hard_teacher(student_logits, teacher_logits, labels, temperature, alpha):
    hard = F.cross_entropy(student_logits / temperature, teacher_logits.argmax(-1))
    return alpha * temperature**2 * hard + (1 - alpha) * F.cross_entropy(student_logits, labels)


@mutant("1.2", "the labels are ignored")
def loss_no_labels(student_logits, teacher_logits, labels, temperature, alpha):
    return distillation_loss(student_logits, teacher_logits, student_logits.argmax(-1), temperature, alpha)


@mutant("1.2", "bits for nats")
def loss_bits(student_logits, teacher_logits, labels, temperature, alpha):
    soft = distillation_loss(student_logits, teacher_logits, labels, temperature, 1.0) / 0.6931471805599453
    return alpha * soft + (1 - alpha) * F.cross_entropy(student_logits, labels)


@mutant("1.2", "temperatures below 1 are not allowed")
def loss_temperature_from_one(student_logits, teacher_logits, labels, temperature, alpha):
    return distillation_loss(student_logits, teacher_logits, labels, max(1.0, temperature), alpha)


@mutant("1.2", "float32 inside")
def loss_float32(student_logits, teacher_logits, labels, temperature, alpha):
    soft = distillation_loss(student_logits.float(), teacher_logits.float(), labels, temperature, 1.0)
    return alpha * soft.to(student_logits.dtype) + (1 - alpha) * F.cross_entropy(student_logits, labels)


@mutant("1.2", "divides the logits in place")
def loss_in_place(student_logits, teacher_logits, labels, temperature, alpha):
    hard = F.cross_entropy(student_logits.clone(), labels)
    p = torch.softmax(teacher_logits.detach().div_(temperature), dim=-1)
    divergence = F.kl_div(F.log_softmax(student_logits / temperature, dim=-1), p, reduction="batchmean")
    return alpha * temperature**2 * divergence + (1 - alpha) * hard


@mutant("1.2", "the gradient is NaN where the softmax underflows")
def loss_nan_gradient(student_logits, teacher_logits, labels, temperature, alpha):
    p, q = soft_targets(teacher_logits.detach(), temperature), soft_targets(student_logits, temperature)
    log_q = torch.where(q > 0, q.log(), F.log_softmax(student_logits / temperature, dim=-1).detach())
    divergence = (torch.xlogy(p, p) - p * log_q).sum(-1).mean()
    return alpha * temperature**2 * divergence + (1 - alpha) * F.cross_entropy(student_logits, labels)


@mutant("1.2", "T² is cut at 100")
def loss_square_cut(student_logits, teacher_logits, labels, temperature, alpha):
    soft = distillation_loss(student_logits, teacher_logits, labels, temperature, 1.0) / temperature**2
    return alpha * min(temperature**2, 100) * soft + (1 - alpha) * F.cross_entropy(student_logits, labels)


@right("1.2")
def loss_log_target(student_logits, teacher_logits, labels, temperature, alpha):
    with torch.no_grad():
        log_p = F.log_softmax(teacher_logits / temperature, dim=1)
    log_q = F.log_softmax(student_logits / temperature, dim=1)
    soft = nn.KLDivLoss(reduction="batchmean", log_target=True)(log_q, log_p) * temperature**2
    return alpha * soft + (1 - alpha) * nn.CrossEntropyLoss()(student_logits, labels)


@right("1.2")
def loss_by_hand(student_logits, teacher_logits, labels, temperature, alpha):
    z, v = student_logits / temperature, teacher_logits.data / temperature
    log_q, log_p = (x - torch.logsumexp(x, -1, keepdim=True) for x in (z, v))
    soft = (log_p.exp() * (log_p - log_q)).sum(-1).mean()
    log_likelihood = student_logits.log_softmax(-1)[torch.arange(len(labels)), labels]
    return alpha * temperature * temperature * soft - (1 - alpha) * log_likelihood.mean()


@right("1.2")
def loss_less_the_entropy(student_logits, teacher_logits, labels, temperature, alpha):
    p = soft_targets(teacher_logits, temperature).detach()
    entropy = -torch.xlogy(p, p).sum(-1).mean()
    soft = (F.cross_entropy(student_logits / temperature, p) - entropy) * temperature**2
    return alpha * soft + (1 - alpha) * F.nll_loss(F.log_softmax(student_logits, dim=-1), labels)


@right("1.2")
def loss_example_by_example(student_logits, teacher_logits, labels, temperature, alpha):
    total = 0.0
    for z, v, label in zip(student_logits, teacher_logits.detach(), labels, strict=True):
        p = torch.softmax(v / temperature, 0)
        log_q = torch.log_softmax(z / temperature, 0)
        soft = F.kl_div(log_q, p, reduction="sum")
        total = total + alpha * temperature**2 * soft - (1 - alpha) * torch.log_softmax(z, 0)[label]
    return total / len(labels)


@mutant("1.2", "the teacher's logits are detached in place")
def loss_detaches_in_place(student_logits, teacher_logits, labels, temperature, alpha):
    teacher_logits.detach_()
    return distillation_loss(student_logits, teacher_logits, labels, temperature, alpha)


@mutant("1.2", "a batch of one loses its axis")
def loss_squeezed(student_logits, teacher_logits, labels, temperature, alpha):
    student, teacher = student_logits.squeeze(), torch.softmax(teacher_logits.detach().squeeze() / temperature, dim=-1)
    soft = F.kl_div(F.log_softmax(student / temperature, dim=-1), teacher, reduction="batchmean")
    return alpha * temperature**2 * soft + (1 - alpha) * F.cross_entropy(student_logits, labels)


@mutant("1.2", "transposed logits are an error")
def loss_of_a_flat_view(student_logits, teacher_logits, labels, temperature, alpha):
    batch, classes = student_logits.shape
    right = student_logits.view(-1)[torch.arange(batch) * classes + labels]
    hard = (student_logits.logsumexp(dim=1) - right).mean()
    soft = distillation_loss(student_logits, teacher_logits, labels, temperature, 1.0)
    return alpha * soft + (1 - alpha) * hard


@mutant("1.2", "a log-probability is at least -30")
def loss_clamped(student_logits, teacher_logits, labels, temperature, alpha):
    student = F.log_softmax(student_logits / temperature, dim=1).clamp(min=-30)
    soft = F.kl_div(student, F.softmax(teacher_logits.detach() / temperature, dim=1), reduction="batchmean")
    return alpha * temperature**2 * soft + (1 - alpha) * F.cross_entropy(student_logits, labels)


@mutant("1.2", "a temperature below 1 counts as 1")
def loss_never_sharper(student_logits, teacher_logits, labels, temperature, alpha):
    return distillation_loss(student_logits, teacher_logits, labels, max(temperature, 1.0), alpha)


@mutant("1.2", "an alpha of 0 is taken for one half")
def loss_alpha_or_half(student_logits, teacher_logits, labels, temperature, alpha):
    return distillation_loss(student_logits, teacher_logits, labels, temperature, alpha or 0.5)


@mutant("1.2", "half precision becomes float32")
def loss_in_float32(student_logits, teacher_logits, labels, temperature, alpha):
    wide = torch.promote_types(student_logits.dtype, torch.float32)
    return distillation_loss(student_logits.to(wide), teacher_logits.to(wide), labels, temperature, alpha)


@right("1.2")
def loss_row_by_row(student_logits, teacher_logits, labels, temperature, alpha):
    total = 0
    for student, teacher, label in zip(student_logits, teacher_logits.detach(), labels.tolist(), strict=True):
        log_p, log_q = (F.log_softmax(row / temperature, dim=0) for row in (teacher, student))
        total = total + alpha * temperature**2 * (log_p.exp() * (log_p - log_q)).sum()
        total = total - (1 - alpha) * F.log_softmax(student, dim=0)[label]
    return total / len(labels)


# --- 1.3 ensemble_soft_targets ----------------------------------------------------------------------------------------


@mutant("1.3", "mean of the logits")
def ensemble_mean_logits(logits_list, temperature):
    return soft_targets(torch.stack(list(logits_list)).mean(0), temperature)


@mutant("1.3", "geometric mean of the probabilities")
def ensemble_geometric(logits_list, temperature):
    log_p = torch.stack([F.log_softmax(logits / temperature, -1) for logits in logits_list])
    return torch.softmax(log_p.mean(0), -1)


@mutant("1.3", "geometric mean, not normalized")
def ensemble_geometric_raw(logits_list, temperature):
    return torch.stack([F.log_softmax(logits / temperature, -1) for logits in logits_list]).mean(0).exp()


@mutant("1.3", "sum for mean")
def ensemble_sum(logits_list, temperature):
    return torch.stack([soft_targets(logits, temperature) for logits in logits_list]).sum(0)


@mutant("1.3", "mean over everything but the members")
def ensemble_wrong_axis(logits_list, temperature):
    return torch.stack([soft_targets(logits, temperature) for logits in logits_list]).mean(1)


@mutant("1.3", "the temperature after the mean")
def ensemble_softened_after(logits_list, temperature):
    mean = torch.stack([soft_targets(logits) for logits in logits_list]).mean(0)
    return soft_targets(mean.log(), temperature)


@mutant("1.3", "the temperature twice")
def ensemble_softened_twice(logits_list, temperature):
    mean = torch.stack([soft_targets(logits, temperature) for logits in logits_list]).mean(0)
    return soft_targets(mean.log(), temperature)


@mutant("1.3", "the temperature ignored")
def ensemble_no_temperature(logits_list, temperature):
    return torch.stack([soft_targets(logits) for logits in logits_list]).mean(0)


@mutant("1.3", "the first member only")
def ensemble_first(logits_list, temperature):
    return soft_targets(logits_list[0], temperature)


@mutant("1.3", "a running average that favours the last members")
def ensemble_running(logits_list, temperature):
    mean = soft_targets(logits_list[0], temperature)
    for logits in logits_list[1:]:
        mean = (mean + soft_targets(logits, temperature)) / 2
    return mean


@mutant("1.3", "the median of the members")
def ensemble_median(logits_list, temperature):
    return torch.stack([soft_targets(logits, temperature) for logits in logits_list]).median(0).values


@mutant("1.3", "a vote of the members")
def ensemble_vote(logits_list, temperature):
    votes = [F.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype) for logits in logits_list]
    return torch.stack(votes).mean(0)


@mutant("1.3", "softmax over the members")
def ensemble_over_members(logits_list, temperature):
    return torch.softmax(torch.stack(list(logits_list)) / temperature, 0).mean(0)


@mutant("1.3", "divides by the number of classes")
def ensemble_by_classes(logits_list, temperature):
    return sum(soft_targets(logits, temperature) for logits in logits_list) / logits_list[0].shape[-1]


@mutant("1.3", "the sum starts at zeros of float32")
def ensemble_float32(logits_list, temperature):
    total = torch.zeros(logits_list[0].shape, dtype=torch.float32)
    for logits in logits_list:
        total += soft_targets(logits, temperature).float()
    return (total / len(logits_list)).to(logits_list[0].dtype)


@mutant("1.3", "softens the members in place")
def ensemble_in_place(logits_list, temperature):
    return torch.stack([torch.softmax(logits.div_(temperature), -1) for logits in logits_list]).mean(0)


@mutant("1.3", "takes the members out of the list")
def ensemble_pops(logits_list, temperature):
    members, count = list(logits_list), len(logits_list)
    if isinstance(logits_list, list):
        logits_list.clear()
    return sum(soft_targets(logits, temperature) for logits in members) / count


@mutant("1.3", "a list of probabilities comes back")
def ensemble_list(logits_list, temperature):
    return [soft_targets(logits, temperature) for logits in logits_list]


@mutant("1.3", "equal members are counted once")
def ensemble_distinct(logits_list, temperature):
    members = {tuple(logits.flatten().tolist()): logits for logits in logits_list}
    return torch.stack([soft_targets(logits, temperature) for logits in members.values()]).mean(0)


@right("1.3")
def ensemble_loop(logits_list, temperature):
    total = torch.zeros_like(logits_list[0])
    for logits in logits_list:
        total = total + torch.softmax(logits / temperature, dim=-1)
    return total / len(logits_list)


@right("1.3")
def ensemble_weighted(logits_list, temperature):
    weight = 1 / len(logits_list)
    return sum(weight * soft_targets(logits, temperature) for logits in logits_list)


@right("1.3")
def ensemble_one_softmax(logits_list, temperature):
    return soft_targets(torch.stack(tuple(logits_list)), temperature).mean(0)


@right("1.3")
def ensemble_by_logarithms(logits_list, temperature):
    log_p = torch.stack([F.log_softmax(logits / temperature, -1) for logits in logits_list], dim=-1)
    return (log_p.logsumexp(-1) - torch.tensor(float(len(logits_list)), dtype=log_p.dtype).log()).exp()


@mutant("1.3", "the sum begins with a float32 zero")
def ensemble_from_float32_zeros(logits_list, temperature):
    total = torch.zeros(logits_list[0].shape)
    for logits in logits_list:
        total = total + torch.softmax(logits / temperature, dim=-1)
    return total / len(logits_list)


@mutant("1.3", "classes are the second axis")
def ensemble_second_axis(logits_list, temperature):
    axis = min(1, logits_list[0].ndim - 1)
    return torch.stack([torch.softmax(logits / temperature, dim=axis) for logits in logits_list]).mean(dim=0)


@mutant("1.3", "the median of the members")
def ensemble_of_medians(logits_list, temperature):
    members = torch.stack([torch.softmax(logits / temperature, dim=-1) for logits in logits_list])
    return members.double().quantile(0.5, dim=0).to(members.dtype)


@mutant("1.3", "transposed logits are an error")
def ensemble_of_views(logits_list, temperature):
    classes = logits_list[0].shape[-1]
    rows = torch.stack([torch.softmax(logits.view(-1, classes) / temperature, dim=1) for logits in logits_list])
    return rows.mean(dim=0).view(logits_list[0].shape)


@mutant("1.3", "at most a hundred members are heard")
def ensemble_of_some(logits_list, temperature):
    return torch.stack([torch.softmax(logits / temperature, dim=-1) for logits in logits_list[:100]]).mean(dim=0)


@right("1.3")
def ensemble_running_mean(logits_list, temperature):
    mean = torch.softmax(logits_list[0].double() / temperature, dim=-1)
    for count, logits in enumerate(logits_list[1:], start=2):
        mean = mean + (torch.softmax(logits.double() / temperature, dim=-1) - mean) / count
    return mean.to(logits_list[0].dtype)


# --- 1.4 virtual_teacher ----------------------------------------------------------------------------------------------


@mutant("1.4", "the rest is shared by all classes, the right one too")
def virtual_rest_over_all(labels, num_classes, correct_probability):
    rest = (1 - correct_probability) / num_classes
    p = torch.full((len(labels), num_classes), rest)
    p[torch.arange(len(labels)), labels] += correct_probability
    return p


@mutant("1.4", "divides by K, not K − 1")
def virtual_divided_by_classes(labels, num_classes, correct_probability):
    p = torch.full((len(labels), num_classes), (1 - correct_probability) / num_classes)
    p[torch.arange(len(labels)), labels] = correct_probability
    return p


@mutant("1.4", "the others get 1 − a each")
def virtual_rest_not_shared(labels, num_classes, correct_probability):
    p = torch.full((len(labels), num_classes), 1 - correct_probability)
    p[torch.arange(len(labels)), labels] = correct_probability
    return p


@mutant("1.4", "the others get nothing")
def virtual_one_hot(labels, num_classes, correct_probability):
    return correct_probability * F.one_hot(labels, num_classes).float()


@mutant("1.4", "a is taken for ε of label smoothing")
def virtual_smoothing(labels, num_classes, correct_probability):
    epsilon = 1 - correct_probability
    return (1 - epsilon) * F.one_hot(labels, num_classes).float() + epsilon / num_classes


@mutant("1.4", "label and rest exchanged")
def virtual_exchanged(labels, num_classes, correct_probability):
    p = torch.full((len(labels), num_classes), correct_probability / (num_classes - 1))
    p[torch.arange(len(labels)), labels] = 1 - correct_probability
    return p


@mutant("1.4", "every row gets the labels of all rows")
def virtual_columns(labels, num_classes, correct_probability):
    p = torch.full((len(labels), num_classes), (1 - correct_probability) / (num_classes - 1))
    p[:, labels] = correct_probability
    return p


@mutant("1.4", "transposed")
def virtual_transposed(labels, num_classes, correct_probability):
    p = torch.full((num_classes, len(labels)), (1 - correct_probability) / (num_classes - 1))
    p[labels, torch.arange(len(labels))] = correct_probability
    return p


@mutant("1.4", "classes counted from the labels")
def virtual_counted_classes(labels, num_classes, correct_probability):
    classes = max(2, int(labels.max()) + 1)
    p = torch.full((len(labels), classes), (1 - correct_probability) / (classes - 1))
    return p.scatter(1, labels.unsqueeze(1), correct_probability)


@mutant("1.4", "ten classes, always")
def virtual_ten_classes(labels, num_classes, correct_probability):
    p = torch.full((len(labels), 10), (1 - correct_probability) / 9)
    return p.scatter(1, labels.unsqueeze(1), correct_probability)


@mutant("1.4", "labels counted from 1")
def virtual_from_one(labels, num_classes, correct_probability):
    p = torch.full((len(labels), num_classes), (1 - correct_probability) / (num_classes - 1))
    return p.scatter(1, (labels.unsqueeze(1) - 1) % num_classes, correct_probability)


@mutant("1.4", "softmax of the one-hot label")
def virtual_softmax(labels, num_classes, correct_probability):
    return torch.softmax(correct_probability * F.one_hot(labels, num_classes).float(), -1)


@mutant("1.4", "a random rest")
def virtual_random(labels, num_classes, correct_probability):
    p = torch.rand(len(labels), num_classes)
    p = p.scatter(1, labels.unsqueeze(1), 0.0)
    p = p / p.sum(1, keepdim=True) * (1 - correct_probability)
    return p.scatter(1, labels.unsqueeze(1), correct_probability)


@mutant("1.4", "integers: everything is rounded to 0 or 1")
def virtual_integers(labels, num_classes, correct_probability):
    p = F.one_hot(labels, num_classes)
    p[p == 1] = round(correct_probability)
    return p


@mutant("1.4", "float64 comes back")
def virtual_float64(labels, num_classes, correct_probability):
    p = torch.full((len(labels), num_classes), (1 - correct_probability) / (num_classes - 1), dtype=torch.float64)
    return p.scatter(1, labels.unsqueeze(1), correct_probability)


@mutant("1.4", "a teacher is right at least as often as chance")
def virtual_never_weak(labels, num_classes, correct_probability):
    right_probability = max(correct_probability, 1 / num_classes)
    p = torch.full((len(labels), num_classes), (1 - right_probability) / (num_classes - 1))
    return p.scatter(1, labels.unsqueeze(1), right_probability)


@right("1.4")
def virtual_one_hot_mixture(labels, num_classes, correct_probability):
    one_hot = F.one_hot(labels, num_classes).float()
    return correct_probability * one_hot + (1 - correct_probability) / (num_classes - 1) * (1 - one_hot)


@right("1.4")
def virtual_where(labels, num_classes, correct_probability):
    own = labels[:, None] == torch.arange(num_classes)[None, :]
    return torch.where(
        own, torch.tensor(correct_probability), torch.tensor((1 - correct_probability) / (num_classes - 1))
    )


@right("1.4")
def virtual_row_by_row(labels, num_classes, correct_probability):
    rows = []
    for label in labels.tolist():
        rest = (1.0 - correct_probability) / (num_classes - 1)
        rows.append([float(correct_probability) if k == label else rest for k in range(num_classes)])
    return torch.tensor(rows, dtype=torch.float32)


@right("1.4")
def virtual_label_smoothing(labels, num_classes, correct_probability):
    epsilon = num_classes * (1 - correct_probability) / (num_classes - 1)
    return torch.eye(num_classes)[labels] * (1 - epsilon) + epsilon / num_classes


@mutant("1.4", "an int for the probability makes ints")
def virtual_of_an_int(labels, num_classes, correct_probability):
    result = torch.full((len(labels), num_classes), correct_probability)
    others = torch.arange(num_classes) != labels.unsqueeze(1)
    result[others] = (1 - correct_probability) / (num_classes - 1)
    return result


@mutant("1.4", "a probability of 0 is taken for missing")
def virtual_zero_is_missing(labels, num_classes, correct_probability):
    return distillation.virtual_teacher(labels, num_classes, correct_probability or 0.9)


@mutant("1.4", "more than 256 classes begin again at 0")
def virtual_in_a_byte(labels, num_classes, correct_probability):
    rest = (1 - correct_probability) / (num_classes - 1)
    right = torch.arange(num_classes).to(torch.uint8) == labels.to(torch.uint8).unsqueeze(1)
    return torch.where(right, correct_probability, rest).float()


@mutant("1.4", "never quite sure")
def virtual_clamped(labels, num_classes, correct_probability):
    return distillation.virtual_teacher(labels, num_classes, min(max(correct_probability, 1e-3), 1 - 1e-3))


@right("1.4")
def virtual_from_the_identity(labels, num_classes, correct_probability):
    rest = (1 - correct_probability) / (num_classes - 1)
    rows = rest + (correct_probability - rest) * np.eye(num_classes)[labels.numpy()]
    return torch.from_numpy(rows).float()


@mutant("1.4", "the softmax of logarithms, kept above a millionth")
def virtual_clamped_logarithm(labels, num_classes, correct_probability):
    probabilities = distillation.virtual_teacher(labels, num_classes, correct_probability)
    return torch.softmax(probabilities.clamp(min=1e-6).log(), dim=1)


# --- 1.5 distillation_gradient ----------------------------------------------------------------------------------------


@mutant("1.5", "teacher minus student")
def gradient_reversed(student_logits, teacher_logits, temperature):
    return (soft_targets(teacher_logits, temperature) - soft_targets(student_logits, temperature)) / temperature


@mutant("1.5", "1/T forgotten")
def gradient_no_division(student_logits, teacher_logits, temperature):
    return soft_targets(student_logits, temperature) - soft_targets(teacher_logits, temperature)


@mutant("1.5", "1/T² for 1/T")
def gradient_divided_twice(student_logits, teacher_logits, temperature):
    return (soft_targets(student_logits, temperature) - soft_targets(teacher_logits, temperature)) / temperature**2


@mutant("1.5", "times T, as in distillation_loss")
def gradient_times_temperature(student_logits, teacher_logits, temperature):
    return (soft_targets(student_logits, temperature) - soft_targets(teacher_logits, temperature)) * temperature


@mutant("1.5", "divided by the batch")
def gradient_batch_mean(student_logits, teacher_logits, temperature):
    difference = soft_targets(student_logits, temperature) - soft_targets(teacher_logits, temperature)
    return difference / temperature / len(student_logits)


@mutant("1.5", "divided by the classes")
def gradient_class_mean(student_logits, teacher_logits, temperature):
    difference = soft_targets(student_logits, temperature) - soft_targets(teacher_logits, temperature)
    return difference / temperature / student_logits.shape[-1]


@mutant("1.5", "no temperature on the teacher")
def gradient_student_softened_only(student_logits, teacher_logits, temperature):
    return (soft_targets(student_logits, temperature) - soft_targets(teacher_logits)) / temperature


@mutant("1.5", "no temperature in the softmax")
def gradient_not_softened(student_logits, teacher_logits, temperature):
    return (soft_targets(student_logits) - soft_targets(teacher_logits)) / temperature


@mutant("1.5", "difference of the logits")
def gradient_logits(student_logits, teacher_logits, temperature):
    return (student_logits - teacher_logits) / temperature


@mutant("1.5", "the high-temperature limit at every temperature")
def gradient_limit(student_logits, teacher_logits, temperature):
    difference = student_logits - teacher_logits
    return (difference - difference.mean(-1, keepdim=True)) / (student_logits.shape[-1] * temperature**2)


@mutant("1.5", "the gradient by the probabilities, −p/q")
def gradient_by_probabilities(student_logits, teacher_logits, temperature):
    return -soft_targets(teacher_logits, temperature) / soft_targets(student_logits, temperature) / temperature


@mutant("1.5", "the gradient of the squared error of the probabilities")
def gradient_squared_error(student_logits, teacher_logits, temperature):
    q, p = soft_targets(student_logits, temperature), soft_targets(teacher_logits, temperature)
    slope = 2 * (q - p)
    return q * (slope - (q * slope).sum(-1, keepdim=True)) / temperature


@mutant("1.5", "softmax over the batch")
def gradient_over_batch(student_logits, teacher_logits, temperature):
    q, p = (torch.softmax(x / temperature, 0) for x in (student_logits, teacher_logits))
    return (q - p) / temperature


@mutant("1.5", "the teacher's best class for its soft targets")
def gradient_hard_teacher(student_logits, teacher_logits, temperature):
    p = F.one_hot(teacher_logits.argmax(-1), teacher_logits.shape[-1]).to(student_logits.dtype)
    return (soft_targets(student_logits, temperature) - p) / temperature


@mutant("1.5", "autograd of the mean over the batch")
def gradient_autograd_mean(student_logits, teacher_logits, temperature):
    z = student_logits.detach().requires_grad_()
    cost = F.cross_entropy(z / temperature, soft_targets(teacher_logits, temperature))
    return torch.autograd.grad(cost, z)[0]


@mutant("1.5", "temperatures below 1 are not allowed")
def gradient_temperature_from_one(student_logits, teacher_logits, temperature):
    q, p = (soft_targets(x, max(1.0, temperature)) for x in (student_logits, teacher_logits))
    return (q - p) / max(1.0, temperature)


@mutant("1.5", "exp overflows")
def gradient_overflow(student_logits, teacher_logits, temperature):
    q, p = (torch.exp(x / temperature) for x in (student_logits, teacher_logits))
    return (q / q.sum(-1, keepdim=True) - p / p.sum(-1, keepdim=True)) / temperature


@mutant("1.5", "float32 inside")
def gradient_float32(student_logits, teacher_logits, temperature):
    q, p = (torch.softmax(x.float() / temperature, -1) for x in (student_logits, teacher_logits))
    return ((q - p) / temperature).to(student_logits.dtype)


@mutant("1.5", "the mean gradient of the batch")
def gradient_one_row(student_logits, teacher_logits, temperature):
    difference = soft_targets(student_logits, temperature) - soft_targets(teacher_logits, temperature)
    return (difference / temperature).mean(0)


@right("1.5")
def gradient_autograd_sum(student_logits, teacher_logits, temperature):
    z = student_logits.detach().requires_grad_()
    cost = F.cross_entropy(z / temperature, soft_targets(teacher_logits, temperature), reduction="sum")
    return torch.autograd.grad(cost, z)[0]


@right("1.5")
def gradient_functional(student_logits, teacher_logits, temperature):
    def cost(z, v):
        return -(torch.softmax(v / temperature, -1) * torch.log_softmax(z / temperature, -1)).sum()

    return torch.func.vmap(torch.func.grad(cost))(student_logits, teacher_logits)


@right("1.5")
def gradient_jacobian(student_logits, teacher_logits, temperature):
    rows = []
    for z, v in zip(student_logits, teacher_logits, strict=True):
        q, p = soft_targets(z, temperature), soft_targets(v, temperature)
        jacobian = (torch.eye(len(q), dtype=q.dtype) - q.unsqueeze(0)) / temperature  # ∂ log q_k / ∂z_i
        rows.append(-(p @ jacobian))
    return torch.stack(rows)


@right("1.5")
def gradient_by_logsumexp(student_logits, teacher_logits, temperature):
    q, p = ((x / temperature).log_softmax(1).exp() for x in (student_logits, teacher_logits))
    return q.sub(p).mul(1 / temperature)


@mutant("1.5", "the student's logits get requires_grad in place")
def gradient_requires_in_place(student_logits, teacher_logits, temperature):
    targets = torch.softmax(teacher_logits.detach() / temperature, dim=1)
    student_logits.requires_grad_()
    loss = -(targets * F.log_softmax(student_logits / temperature, dim=1)).sum()
    return torch.autograd.grad(loss, student_logits)[0]


@mutant("1.5", "half precision becomes float32")
def gradient_in_float32(student_logits, teacher_logits, temperature):
    wide = torch.promote_types(student_logits.dtype, torch.float32)
    return distillation.distillation_gradient(student_logits.to(wide), teacher_logits.to(wide), temperature)


@mutant("1.5", "a batch of one loses its axis")
def gradient_squeezed(student_logits, teacher_logits, temperature):
    return distillation.distillation_gradient(student_logits, teacher_logits, temperature).squeeze(0)


@mutant("1.5", "a temperature below 1 counts as 1")
def gradient_never_sharper(student_logits, teacher_logits, temperature):
    return distillation.distillation_gradient(student_logits, teacher_logits, max(temperature, 1.0))


@mutant("1.5", "components are clipped to 1")
def gradient_clipped(student_logits, teacher_logits, temperature):
    return distillation.distillation_gradient(student_logits, teacher_logits, temperature).clamp(-1, 1)


@right("1.5")
def gradient_by_torch_func(student_logits, teacher_logits, temperature):
    def loss(student, teacher):
        return F.cross_entropy(student / temperature, torch.softmax(teacher / temperature, dim=-1))

    return torch.func.vmap(torch.func.grad(loss))(student_logits.detach(), teacher_logits.detach())


@mutant("1.5", "the maximum of the whole batch is subtracted, not each row's")
def gradient_batch_maximum(student_logits, teacher_logits, temperature):
    def probabilities(logits):
        powers = ((logits - logits.max()) / temperature).exp()
        return powers / powers.sum(-1, keepdim=True)

    return (probabilities(student_logits) - probabilities(teacher_logits)) / temperature


@mutant("1.5", "the limit of a high temperature, from T = 100 on")
def gradient_of_centred_logits(student_logits, teacher_logits, temperature):
    if temperature < 100:
        return distillation.distillation_gradient(student_logits, teacher_logits, temperature)
    z, v = (x - x.mean(-1, keepdim=True) for x in (student_logits, teacher_logits))
    return (z - v) / (z.shape[-1] * temperature**2)


# --- 1.6 distill ------------------------------------------------------------------------------------------------------


@mutant("1.6", "one step more")
def distill_one_more(state, inputs, labels, teacher_logits, temperature, alpha, lr, steps):
    weights = {name: value.detach().clone().requires_grad_() for name, value in state.items()}
    optimizer = torch.optim.SGD(weights.values(), lr=lr)
    for _ in range(steps + 1):
        optimizer.zero_grad()
        distillation_loss(mlp_forward(weights, inputs), teacher_logits, labels, temperature, alpha).backward()
        optimizer.step()
    return {name: value.detach() for name, value in weights.items()}


@mutant("1.6", "gradients pile up: zero_grad forgotten")
def distill_no_zero_grad(state, inputs, labels, teacher_logits, temperature, alpha, lr, steps):
    weights = {name: value.detach().clone().requires_grad_() for name, value in state.items()}
    optimizer = torch.optim.SGD(weights.values(), lr=lr)
    for _ in range(steps):
        distillation_loss(mlp_forward(weights, inputs), teacher_logits, labels, temperature, alpha).backward()
        optimizer.step()
    return {name: value.detach() for name, value in weights.items()}


@mutant("1.6", "one step, whatever `steps` says")
def distill_one_step(state, inputs, labels, teacher_logits, temperature, alpha, lr, steps):
    weights = {name: value.detach().clone().requires_grad_() for name, value in state.items()}
    loss = distillation_loss(mlp_forward(weights, inputs), teacher_logits, labels, temperature, alpha)
    gradients = torch.autograd.grad(loss, list(weights.values()))
    return {n: (w - lr * g).detach() for (n, w), g in zip(weights.items(), gradients, strict=True)}


@mutant("1.6", "the first step's gradient in every step")
def distill_stale_gradient(state, inputs, labels, teacher_logits, temperature, alpha, lr, steps):
    weights = {name: value.detach().clone().requires_grad_() for name, value in state.items()}
    loss = distillation_loss(mlp_forward(weights, inputs), teacher_logits, labels, temperature, alpha)
    gradients = torch.autograd.grad(loss, list(weights.values()))
    return {n: (w - steps * lr * g).detach() for (n, w), g in zip(weights.items(), gradients, strict=True)}


@mutant("1.6", "climbs: plus for minus")
def distill_ascent(state, inputs, labels, teacher_logits, temperature, alpha, lr, steps):
    weights = {name: value.detach().clone().requires_grad_() for name, value in state.items()}
    optimizer = torch.optim.SGD(weights.values(), lr=lr, maximize=True)
    for _ in range(steps):
        optimizer.zero_grad()
        distillation_loss(mlp_forward(weights, inputs), teacher_logits, labels, temperature, alpha).backward()
        optimizer.step()
    return {name: value.detach() for name, value in weights.items()}


@mutant("1.6", "the biases are not trained")
def distill_no_biases(state, inputs, labels, teacher_logits, temperature, alpha, lr, steps):
    weights = {name: value.detach().clone().requires_grad_() for name, value in state.items()}
    optimizer = torch.optim.SGD([w for name, w in weights.items() if name.endswith(".weight")], lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        distillation_loss(mlp_forward(weights, inputs), teacher_logits, labels, temperature, alpha).backward()
        optimizer.step()
    return {name: value.detach() for name, value in weights.items()}


@mutant("1.6", "only the last layer is trained")
def distill_last_layer(state, inputs, labels, teacher_logits, temperature, alpha, lr, steps):
    weights = {name: value.detach().clone().requires_grad_() for name, value in state.items()}
    optimizer = torch.optim.SGD(list(weights.values())[-2:], lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        distillation_loss(mlp_forward(weights, inputs), teacher_logits, labels, temperature, alpha).backward()
        optimizer.step()
    return {name: value.detach() for name, value in weights.items()}


@mutant("1.6", "momentum")
def distill_momentum(state, inputs, labels, teacher_logits, temperature, alpha, lr, steps):
    weights = {name: value.detach().clone().requires_grad_() for name, value in state.items()}
    optimizer = torch.optim.SGD(weights.values(), lr=lr, momentum=0.9)
    for _ in range(steps):
        optimizer.zero_grad()
        distillation_loss(mlp_forward(weights, inputs), teacher_logits, labels, temperature, alpha).backward()
        optimizer.step()
    return {name: value.detach() for name, value in weights.items()}


@mutant("1.6", "a little weight decay")
def distill_weight_decay(state, inputs, labels, teacher_logits, temperature, alpha, lr, steps):
    weights = {name: value.detach().clone().requires_grad_() for name, value in state.items()}
    optimizer = torch.optim.SGD(weights.values(), lr=lr, weight_decay=1e-5)
    for _ in range(steps):
        optimizer.zero_grad()
        distillation_loss(mlp_forward(weights, inputs), teacher_logits, labels, temperature, alpha).backward()
        optimizer.step()
    return {name: value.detach() for name, value in weights.items()}


@mutant("1.6", "gradients clipped to norm 1")
def distill_clipped(state, inputs, labels, teacher_logits, temperature, alpha, lr, steps):
    weights = {name: value.detach().clone().requires_grad_() for name, value in state.items()}
    optimizer = torch.optim.SGD(weights.values(), lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        distillation_loss(mlp_forward(weights, inputs), teacher_logits, labels, temperature, alpha).backward()
        torch.nn.utils.clip_grad_norm_(list(weights.values()), 1.0)
        optimizer.step()
    return {name: value.detach() for name, value in weights.items()}


@mutant("1.6", "Adam for gradient descent")
def distill_adam(state, inputs, labels, teacher_logits, temperature, alpha, lr, steps):
    weights = {name: value.detach().clone().requires_grad_() for name, value in state.items()}
    optimizer = torch.optim.Adam(weights.values(), lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        distillation_loss(mlp_forward(weights, inputs), teacher_logits, labels, temperature, alpha).backward()
        optimizer.step()
    return {name: value.detach() for name, value in weights.items()}


@mutant("1.6", "one parameter after the other, each with the new ones before it")
def distill_one_by_one(state, inputs, labels, teacher_logits, temperature, alpha, lr, steps):
    weights = {name: value.detach().clone() for name, value in state.items()}
    for _ in range(steps):
        for name in weights:
            value = weights[name].clone().requires_grad_()
            logits = mlp_forward({**weights, name: value}, inputs)
            loss = distillation_loss(logits, teacher_logits, labels, temperature, alpha)
            weights[name] = (value - lr * torch.autograd.grad(loss, value)[0]).detach()
    return weights


@mutant("1.6", "one example after the other, not the full batch")
def distill_stochastic(state, inputs, labels, teacher_logits, temperature, alpha, lr, steps):
    weights = {name: value.detach().clone().requires_grad_() for name, value in state.items()}
    optimizer = torch.optim.SGD(weights.values(), lr=lr)
    for step in range(steps):
        i = slice(step % len(inputs), step % len(inputs) + 1)
        optimizer.zero_grad()
        distillation_loss(mlp_forward(weights, inputs[i]), teacher_logits[i], labels[i], temperature, alpha).backward()
        optimizer.step()
    return {name: value.detach() for name, value in weights.items()}


@mutant("1.6", "the learning rate falls from step to step")
def distill_decaying_rate(state, inputs, labels, teacher_logits, temperature, alpha, lr, steps):
    weights = {name: value.detach().clone().requires_grad_() for name, value in state.items()}
    optimizer = torch.optim.SGD(weights.values(), lr=lr)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.99)
    for _ in range(steps):
        optimizer.zero_grad()
        distillation_loss(mlp_forward(weights, inputs), teacher_logits, labels, temperature, alpha).backward()
        optimizer.step()
        schedule.step()
    return {name: value.detach() for name, value in weights.items()}


@mutant("1.6", "the average of the weights on the way")
def distill_averaged(state, inputs, labels, teacher_logits, temperature, alpha, lr, steps):
    weights = {name: value.detach().clone().requires_grad_() for name, value in state.items()}
    total = {name: torch.zeros_like(value) for name, value in weights.items()}
    for _ in range(steps):
        loss = distillation_loss(mlp_forward(weights, inputs), teacher_logits, labels, temperature, alpha)
        gradients = torch.autograd.grad(loss, list(weights.values()))
        weights = {
            n: (w - lr * g).detach().requires_grad_() for (n, w), g in zip(weights.items(), gradients, strict=True)
        }
        total = {name: total[name] + value.detach() for name, value in weights.items()}
    return {name: value / max(1, steps) if steps else state[name].clone() for name, value in total.items()}


@mutant("1.6", "alpha and temperature exchanged")
def distill_exchanged(state, inputs, labels, teacher_logits, temperature, alpha, lr, steps):
    weights = {name: value.detach().clone().requires_grad_() for name, value in state.items()}
    optimizer = torch.optim.SGD(weights.values(), lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        distillation_loss(mlp_forward(weights, inputs), teacher_logits, labels, alpha or 1.0, temperature).backward()
        optimizer.step()
    return {name: value.detach() for name, value in weights.items()}


@mutant("1.6", "the temperature ignored")
def distill_no_temperature(state, inputs, labels, teacher_logits, temperature, alpha, lr, steps):
    weights = {name: value.detach().clone().requires_grad_() for name, value in state.items()}
    optimizer = torch.optim.SGD(weights.values(), lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        distillation_loss(mlp_forward(weights, inputs), teacher_logits, labels, 1.0, alpha).backward()
        optimizer.step()
    return {name: value.detach() for name, value in weights.items()}


@mutant("1.6", "half and half, whatever alpha says")
def distill_no_alpha(state, inputs, labels, teacher_logits, temperature, alpha, lr, steps):
    weights = {name: value.detach().clone().requires_grad_() for name, value in state.items()}
    optimizer = torch.optim.SGD(weights.values(), lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        distillation_loss(mlp_forward(weights, inputs), teacher_logits, labels, temperature, 0.5).backward()
        optimizer.step()
    return {name: value.detach() for name, value in weights.items()}


@mutant("1.6", "the teacher's classes for the labels")
def distill_no_labels(state, inputs, labels, teacher_logits, temperature, alpha, lr, steps):
    weights = {name: value.detach().clone().requires_grad_() for name, value in state.items()}
    optimizer = torch.optim.SGD(weights.values(), lr=lr)
    classes = teacher_logits.argmax(-1)
    for _ in range(steps):
        optimizer.zero_grad()
        distillation_loss(mlp_forward(weights, inputs), teacher_logits, classes, temperature, alpha).backward()
        optimizer.step()
    return {name: value.detach() for name, value in weights.items()}


@mutant("1.6", "the teacher's probabilities where its logits are wanted")
def distill_probabilities(state, inputs, labels, teacher_logits, temperature, alpha, lr, steps):
    weights = {name: value.detach().clone().requires_grad_() for name, value in state.items()}
    optimizer = torch.optim.SGD(weights.values(), lr=lr)
    teacher = soft_targets(teacher_logits, temperature)
    for _ in range(steps):
        optimizer.zero_grad()
        distillation_loss(mlp_forward(weights, inputs), teacher, labels, temperature, alpha).backward()
        optimizer.step()
    return {name: value.detach() for name, value in weights.items()}


@mutant("1.6", "student and teacher exchanged")
def distill_roles_exchanged(state, inputs, labels, teacher_logits, temperature, alpha, lr, steps):
    weights = {name: value.detach().clone().requires_grad_() for name, value in state.items()}
    optimizer = torch.optim.SGD(weights.values(), lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        logits = mlp_forward(weights, inputs)
        loss = distillation_loss(teacher_logits, logits, labels, temperature, alpha)
        (loss + 0 * logits.sum()).backward()
        optimizer.step()
    return {name: value.detach() for name, value in weights.items()}


@mutant("1.6", "starts from fresh random weights")
def distill_fresh(state, inputs, labels, teacher_logits, temperature, alpha, lr, steps):
    weights = {name: (0.1 * torch.randn_like(value)).requires_grad_() for name, value in state.items()}
    optimizer = torch.optim.SGD(weights.values(), lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        distillation_loss(mlp_forward(weights, inputs), teacher_logits, labels, temperature, alpha).backward()
        optimizer.step()
    return {name: value.detach() for name, value in weights.items()}


@mutant("1.6", "the state itself is trained")
def distill_in_place(state, inputs, labels, teacher_logits, temperature, alpha, lr, steps):
    weights = {name: value.detach().requires_grad_() for name, value in state.items()}  # shares the state's memory
    optimizer = torch.optim.SGD(weights.values(), lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        distillation_loss(mlp_forward(weights, inputs), teacher_logits, labels, temperature, alpha).backward()
        optimizer.step()
    return {name: value.detach() for name, value in weights.items()}


@mutant("1.6", "new weights are put into the dict that came in")
def distill_dict_changed(state, inputs, labels, teacher_logits, temperature, alpha, lr, steps):
    for _ in range(steps):
        weights = {name: value.detach().clone().requires_grad_() for name, value in state.items()}
        loss = distillation_loss(mlp_forward(weights, inputs), teacher_logits, labels, temperature, alpha)
        for (name, value), g in zip(weights.items(), torch.autograd.grad(loss, list(weights.values())), strict=True):
            state[name] = (value - lr * g).detach()
    return dict(state)


@mutant("1.6", "the weights come back with their gradient history")
def distill_with_history(state, inputs, labels, teacher_logits, temperature, alpha, lr, steps):
    weights = {name: value.detach().clone().requires_grad_() for name, value in state.items()}
    optimizer = torch.optim.SGD(weights.values(), lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        distillation_loss(mlp_forward(weights, inputs), teacher_logits, labels, temperature, alpha).backward()
        optimizer.step()
    return weights


@mutant("1.6", "trains in float32")
def distill_float32(state, inputs, labels, teacher_logits, temperature, alpha, lr, steps):
    weights = {name: value.detach().float().clone().requires_grad_() for name, value in state.items()}
    optimizer = torch.optim.SGD(weights.values(), lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        logits = mlp_forward(weights, inputs.float())
        distillation_loss(logits, teacher_logits.float(), labels, temperature, alpha).backward()
        optimizer.step()
    return {name: value.detach().to(state[name].dtype) for name, value in weights.items()}


@mutant("1.6", "names in alphabetical order: the layers change places")
def distill_sorted(state, inputs, labels, teacher_logits, temperature, alpha, lr, steps):
    weights = {name: value.detach().clone().requires_grad_() for name, value in state.items()}
    optimizer = torch.optim.SGD(weights.values(), lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        distillation_loss(mlp_forward(weights, inputs), teacher_logits, labels, temperature, alpha).backward()
        optimizer.step()
    return {name: weights[name].detach() for name in sorted(weights)}


@mutant("1.6", "the loss comes back with the state")
def distill_with_loss(state, inputs, labels, teacher_logits, temperature, alpha, lr, steps):
    weights = {name: value.detach().clone().requires_grad_() for name, value in state.items()}
    optimizer, loss = torch.optim.SGD(weights.values(), lr=lr), torch.zeros(())
    for _ in range(steps):
        optimizer.zero_grad()
        loss = distillation_loss(mlp_forward(weights, inputs), teacher_logits, labels, temperature, alpha)
        loss.backward()
        optimizer.step()
    return {name: value.detach() for name, value in weights.items()}, float(loss)


@mutant("1.6", "mini-batches of 32")
def distill_mini_batch(state, inputs, labels, teacher_logits, temperature, alpha, lr, steps):
    return distill(state, inputs[:32], labels[:32], teacher_logits[:32], temperature, alpha, lr, steps)


@mutant("1.6", "the best weights on the way, not the last")
def distill_best(state, inputs, labels, teacher_logits, temperature, alpha, lr, steps):
    def cost(weights):
        return float(distillation_loss(mlp_forward(weights, inputs), teacher_logits, labels, temperature, alpha))

    weights = best = dict(state)
    for _ in range(steps):
        weights = distill(weights, inputs, labels, teacher_logits, temperature, alpha, lr, 1)
        best = weights if cost(weights) < cost(best) else best
    return {name: value.clone() for name, value in best.items()}


def descent(state, inputs, labels, teacher_logits, temperature, alpha, lr, steps, rate=None, stop=None, clip=None):
    """Gradient descent whose rate, stopping and gradients can be got wrong."""
    before = float("inf")
    weights = {name: value.detach().clone().requires_grad_() for name, value in state.items()}
    for step in range(steps):
        loss = distillation_loss(mlp_forward(weights, inputs), teacher_logits, labels, temperature, alpha)
        gradients = torch.autograd.grad(loss, list(weights.values()))
        if stop and stop(before, float(loss.detach()), gradients):
            break
        before, size = float(loss.detach()), rate(lr, step) if rate else lr
        moves = [size * (clip(gradient) if clip else gradient) for gradient in gradients]
        weights = {n: (w - move).detach().requires_grad_() for (n, w), move in zip(weights.items(), moves, strict=True)}
    return {name: value.detach() for name, value in weights.items()}


@mutant("1.6", "stops when the loss is small")
def distill_stops_when_small(*args):
    return descent(*args, stop=lambda before, loss, gradients: loss < 1e-4)


@mutant("1.6", "stops when the loss hardly falls")
def distill_stops_on_plateau(*args):
    return descent(*args, stop=lambda before, loss, gradients: before - loss < 1e-5)


@mutant("1.6", "stops when the gradient is small")
def distill_stops_when_flat(*args):
    return descent(*args, stop=lambda before, loss, gradients: all(g.norm() < 1e-6 for g in gradients))


@mutant("1.6", "the learning rate is halved after five steps")
def distill_halved_rate(*args):
    return descent(*args, rate=lambda lr, step: lr * 0.5 ** (step // 5))


@mutant("1.6", "ten steps at most")
def distill_ten_steps(*args):
    return descent(*args[:-1], min(args[-1], 10))


@mutant("1.6", "gradients clamped to ±10")
def distill_clamped(*args):
    return descent(*args, clip=lambda gradient: gradient.clamp(-10, 10))


@mutant("1.6", "temperatures above 10 are cut")
def distill_cut_temperature(state, inputs, labels, teacher_logits, temperature, alpha, lr, steps):
    return distill(state, inputs, labels, teacher_logits, min(temperature, 10.0), alpha, lr, steps)


@mutant("1.6", "the biases do not come back")
def distill_weights_only(state, inputs, labels, teacher_logits, temperature, alpha, lr, steps):
    trained = distill(state, inputs, labels, teacher_logits, temperature, alpha, lr, steps)
    return {name: value for name, value in trained.items() if name.endswith(".weight")}


@right("1.6")
def distill_sgd(state, inputs, labels, teacher_logits, temperature, alpha, lr, steps):
    weights = {name: nn.Parameter(value.clone()) for name, value in state.items()}
    optimizer = torch.optim.SGD(weights.values(), lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        distillation_loss(mlp_forward(weights, inputs), teacher_logits, labels, temperature, alpha).backward()
        optimizer.step()
    return {name: value.detach() for name, value in weights.items()}


@right("1.6")
def distill_backward_by_hand(state, inputs, labels, teacher_logits, temperature, alpha, lr, steps):
    weights = {name: value.clone() for name, value in state.items()}
    for _ in range(steps):
        for value in weights.values():
            value.requires_grad_(True)
            value.grad = None
        distillation_loss(mlp_forward(weights, inputs), teacher_logits, labels, temperature, alpha).backward()
        with torch.no_grad():
            for value in weights.values():
                value -= lr * value.grad
    return {name: value.detach() for name, value in weights.items()}


@right("1.6")
def distill_without_autograd(state, inputs, labels, teacher_logits, temperature, alpha, lr, steps):
    weights = dict(state)
    layers = [name.removesuffix(".weight") for name in state if name.endswith(".weight")]
    for _ in range(steps):
        activations = [inputs.flatten(1)]
        for layer in layers:
            hidden = F.linear(activations[-1], weights[f"{layer}.weight"], weights[f"{layer}.bias"])
            activations.append(hidden if layer == layers[-1] else hidden.relu())
        z = activations[-1]
        soft = soft_targets(z, temperature) - soft_targets(teacher_logits, temperature)
        hard = soft_targets(z) - F.one_hot(labels, z.shape[1])
        slope = (alpha * temperature * soft + (1 - alpha) * hard) / len(z)  # ∂loss/∂z
        updated = dict(weights)
        for i in range(len(layers) - 1, -1, -1):
            weight, bias = f"{layers[i]}.weight", f"{layers[i]}.bias"
            updated[weight] = weights[weight] - lr * slope.T @ activations[i]
            updated[bias] = weights[bias] - lr * slope.sum(0)
            slope = (slope @ weights[weight]) * (activations[i] > 0)
        weights = updated
    return {name: value.clone() for name, value in weights.items()}


@right("1.6")
def distill_functional(state, inputs, labels, teacher_logits, temperature, alpha, lr, steps):
    def cost(weights):
        return distillation_loss(mlp_forward(weights, inputs), teacher_logits, labels, temperature, alpha)

    weights = dict(state)
    for _ in range(steps):
        gradients = torch.func.grad(cost)(weights)
        weights = {name: weights[name] - lr * gradients[name] for name in weights}
    return weights


def trained(state, inputs, labels, teacher_logits, temperature, alpha, lr, steps, stop=lambda loss, before: False):
    """Plain gradient descent that may stop early."""
    weights, before = {name: value.detach().clone() for name, value in state.items()}, math.inf
    for _ in range(steps):
        leaves = {name: value.requires_grad_() for name, value in weights.items()}
        loss = distillation_loss(mlp_forward(leaves, inputs), teacher_logits, labels, temperature, alpha)
        if stop(float(loss), before):
            break
        before = float(loss)
        gradients = torch.autograd.grad(loss, list(leaves.values()))
        weights = {
            name: value.detach() - lr * gradient
            for (name, value), gradient in zip(leaves.items(), gradients, strict=True)
        }
    return {name: value.detach() for name, value in weights.items()}


@mutant("1.6", "the state's tensors get requires_grad in place")
def distill_requires_in_place(state, inputs, labels, teacher_logits, temperature, alpha, lr, steps):
    for value in state.values():
        value.requires_grad_()
    return trained(state, inputs, labels, teacher_logits, temperature, alpha, lr, steps)


@mutant("1.6", "at least one step")
def distill_one_step_at_least(state, inputs, labels, teacher_logits, temperature, alpha, lr, steps):
    return trained(state, inputs, labels, teacher_logits, temperature, alpha, lr, max(steps, 1))


@mutant("1.6", "a step size of 0 is taken for missing")
def distill_lr_or_default(state, inputs, labels, teacher_logits, temperature, alpha, lr, steps):
    return trained(state, inputs, labels, teacher_logits, temperature, alpha, lr or 0.1, steps)


@mutant("1.6", "strided inputs are an error")
def distill_views_the_inputs(state, inputs, labels, teacher_logits, temperature, alpha, lr, steps):
    return trained(state, inputs.view(len(inputs), -1), labels, teacher_logits, temperature, alpha, lr, steps)


@mutant("1.6", "stops when the loss is small")
def distill_until_small(state, inputs, labels, teacher_logits, temperature, alpha, lr, steps):
    stop = lambda loss, before: loss < 1e-2  # noqa: E731
    return trained(state, inputs, labels, teacher_logits, temperature, alpha, lr, steps, stop)


@mutant("1.6", "stops when the loss rises")
def distill_until_it_rises(state, inputs, labels, teacher_logits, temperature, alpha, lr, steps):
    stop = lambda loss, before: loss > before  # noqa: E731
    return trained(state, inputs, labels, teacher_logits, temperature, alpha, lr, steps, stop)


@mutant("1.6", "at most twenty steps")
def distill_twenty_steps(state, inputs, labels, teacher_logits, temperature, alpha, lr, steps):
    return trained(state, inputs, labels, teacher_logits, temperature, alpha, lr, min(steps, 20))


@mutant("1.6", "two layers and no other number")
def distill_two_layers(state, inputs, labels, teacher_logits, temperature, alpha, lr, steps):
    names = list(state)
    w1, b1, w2, b2 = (value.detach().clone().requires_grad_() for value in state.values())
    for _ in range(steps):
        logits = torch.relu(inputs.flatten(1) @ w1.T + b1) @ w2.T + b2
        loss = distillation_loss(logits, teacher_logits, labels, temperature, alpha)
        gradients = torch.autograd.grad(loss, [w1, b1, w2, b2])
        w1, b1, w2, b2 = (
            (w - lr * g).detach().requires_grad_() for w, g in zip([w1, b1, w2, b2], gradients, strict=True)
        )
    return {name: value.detach() for name, value in zip(names, (w1, b1, w2, b2), strict=True)}


@right("1.6")
def distill_with_backward(state, inputs, labels, teacher_logits, temperature, alpha, lr, steps):
    leaves = {name: torch.empty_like(value).copy_(value.detach()).requires_grad_() for name, value in state.items()}
    for _ in range(steps):
        distillation_loss(mlp_forward(leaves, inputs.detach()), teacher_logits, labels, temperature, alpha).backward()
        with torch.no_grad():
            for leaf in leaves.values():
                leaf -= lr * leaf.grad
                leaf.grad = None
    return {name: leaf.data.clone() for name, leaf in leaves.items()}


@mutant("1.6", "stops when the loss is no longer finite")
def distill_stops_at_nan(state, inputs, labels, teacher_logits, temperature, alpha, lr, steps):
    for _ in range(steps):
        loss = distillation_loss(mlp_forward(state, inputs), teacher_logits, labels, temperature, alpha)
        if not loss.isfinite():
            break
        state = distill(state, inputs, labels, teacher_logits, temperature, alpha, lr, 1)
    return {name: value.detach() for name, value in state.items()}


@mutant("1.6", "at most a hundred steps")
def distill_hundred_steps(state, inputs, labels, teacher_logits, temperature, alpha, lr, steps):
    return distill(state, inputs, labels, teacher_logits, temperature, alpha, lr, min(steps, 100))


@mutant("1.6", "half precision comes back as float32")
def distill_in_single(state, inputs, labels, teacher_logits, *settings):
    if inputs.dtype != torch.float64:
        state = {name: value.float() for name, value in state.items()}
        inputs, teacher_logits = inputs.float(), teacher_logits.float()
    return distill(state, inputs, labels, teacher_logits, *settings)
