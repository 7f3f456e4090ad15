"""Unit 01: knowledge distillation.

G. Hinton, O. Vinyals and J. Dean, *Distilling the Knowledge in a Neural Network*, arXiv:1503.02531, 2015.
L. Yuan, F. Tay, G. Li, T. Wang and J. Feng, *Revisiting Knowledge Distillation via Label Smoothing Regularization*,
CVPR 2020 (the virtual teacher).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.models import mlp_forward


def soft_targets(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Probabilities of the classes at a temperature (Hinton 2015, eq. 1).

    logits: [..., classes], of any float dtype. Returns probabilities of the same shape and
    dtype; each row along the last axis sums to 1. A higher temperature gives a softer
    distribution. Differentiable in the logits.
    """
    # q_i = exp(z_i / T) / Σ_j exp(z_j / T)
    return torch.softmax(logits / temperature, dim=-1)


def distillation_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    temperature: float,
    alpha: float,
) -> Tensor:
    """What the student minimizes: the teacher's soft targets mixed with the true labels.

    Hinton 2015, section 2. student_logits, teacher_logits: [batch, classes], of one dtype;
    labels: [batch], int64. Returns a scalar tensor of that dtype: alpha · T² · KL(teacher ‖
    student at temperature T) + (1 − alpha) · cross-entropy at temperature 1, both averaged
    over the batch, in nats. Differentiable in student_logits; the teacher is a constant.
    """
    teacher = soft_targets(teacher_logits.detach(), temperature)
    student = F.log_softmax(student_logits / temperature, dim=-1)
    # KL(p ‖ q) = Σ_i p_i (log p_i − log q_i); 'mean' would divide by the classes as well
    divergence = F.kl_div(student, teacher, reduction="batchmean")
    cross_entropy = F.cross_entropy(student_logits, labels)
    # The gradient of the first term shrinks as 1/T²: T² keeps the balance of the two terms
    return alpha * temperature**2 * divergence + (1 - alpha) * cross_entropy


def ensemble_soft_targets(logits_list: Sequence[Tensor], temperature: float) -> Tensor:
    """Soft targets of an ensemble: the arithmetic mean of its members' probabilities.

    Hinton 2015, section 1. logits_list: one [..., classes] tensor per member, all of one
    shape and dtype. Returns a tensor of that shape and dtype.
    """
    members = [soft_targets(logits, temperature) for logits in logits_list]
    return torch.stack(members).mean(dim=0)


def virtual_teacher(labels: Tensor, num_classes: int, correct_probability: float) -> Tensor:
    """A teacher that nobody trained: it knows the label, and nothing of the other classes.

    Yuan 2020, eq. 8. labels: [batch], int64. num_classes: at least 2. correct_probability:
    from 0 to 1, both included. Returns [batch, num_classes], float32: correct_probability
    on the label, the rest uniform over the other classes.
    """
    rest = (1 - correct_probability) / (num_classes - 1)
    probabilities = torch.full((len(labels), num_classes), rest)
    return probabilities.scatter(1, labels.unsqueeze(1), correct_probability)


def distillation_gradient(
    student_logits: Tensor,
    teacher_logits: Tensor,
    temperature: float,
) -> Tensor:
    """Gradient of the cross-entropy with soft targets, by the student's logits.

    Hinton 2015, eq. 2, for each example by itself. Both distributions are at the
    temperature T. student_logits, teacher_logits: [batch, classes], of one dtype. Returns
    [batch, classes] of that dtype, in closed form: neither the mean over the batch nor the
    factor alpha · T² of `distillation_loss` is in it.
    """
    # ∂C/∂z_i = (q_i − p_i) / T, q the student's and p the teacher's soft targets
    q = soft_targets(student_logits, temperature)
    p = soft_targets(teacher_logits, temperature)
    return (q - p) / temperature


def distill(
    state: dict[str, Tensor],
    inputs: Tensor,
    labels: Tensor,
    teacher_logits: Tensor,
    temperature: float,
    alpha: float,
    lr: float,
    steps: int,
) -> dict[str, Tensor]:
    """Train a small network on a teacher's outputs.

    It is full-batch gradient descent on `distillation_loss`. state: an MLP's parameters by
    name (weight [out, in], bias [out]), first layer first; its logits are
    `course_utils.models.mlp_forward(state, inputs)`. inputs: [batch, ...]; labels: [batch],
    int64; teacher_logits: [batch, classes]. Returns the state after exactly `steps` steps
    (0 or more) of size `lr` (0 or more), whatever the loss does: same names in the same
    order, shapes and dtypes, without a gradient history; `state` itself is not changed.
    """
    weights = {name: w.detach().clone().requires_grad_() for name, w in state.items()}
    for _ in range(steps):
        logits = mlp_forward(weights, inputs)
        loss = distillation_loss(logits, teacher_logits, labels, temperature, alpha)
        gradients = torch.autograd.grad(loss, list(weights.values()))
        # w ← w − lr · ∂L/∂w
        weights = {
            name: (value - lr * gradient).detach().requires_grad_()
            for (name, value), gradient in zip(weights.items(), gradients, strict=True)
        }
    return {name: value.detach() for name, value in weights.items()}
