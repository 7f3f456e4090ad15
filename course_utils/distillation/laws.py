"""Laws of unit 01, knowledge distillation."""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.checks import expect
from course_utils.checks.draw import Draw
from course_utils.checks.engine import Unit
from course_utils.checks.expect import HALVES
from course_utils.checks.oracles import sgd_step
from course_utils.models import mlp_forward

unit = Unit("distillation")
soft_targets = unit.exercise("1.1", "soft_targets", points=2, minutes=5, difficulty=1)
distillation_loss = unit.exercise("1.2", "distillation_loss", points=4, minutes=20, difficulty=3)
ensemble_soft_targets = unit.exercise("1.3", "ensemble_soft_targets", points=2, minutes=5, difficulty=1)
virtual_teacher = unit.exercise("1.4", "virtual_teacher", points=2, minutes=10, difficulty=2)
distillation_gradient = unit.exercise("1.5", "distillation_gradient", points=2, minutes=15, difficulty=2)
distill = unit.exercise("1.6", "distill", points=4, minutes=20, difficulty=3)


def softmax(logits: Tensor) -> Tensor:
    """The softmax over the last axis, computed in float64, in the dtype of the logits."""
    return torch.softmax(logits.double(), -1).to(logits.dtype)


def precise(got: Any, expected: Any, what: str = "the result") -> None:
    """Equal up to the rounding of float64: float32 anywhere on the way is seen."""
    expect.close(got, expected, what, rtol=1e-10, atol=1e-13)


def directional_derivative(function: Callable[[Tensor], Tensor], point: Tensor, direction: Tensor) -> Tensor:
    """Central difference of a scalar function along a direction, in float64."""
    step = 1e-5
    return (function(point + step * direction) - function(point - step * direction)).detach() / (2 * step)


def logit_batch(draw: Draw, scale: float = 2.0, dtype: torch.dtype = torch.float32) -> Tensor:
    """[batch, classes], the two sizes never equal."""
    batch = draw.size(1, 5)
    return draw.normal(batch, draw.size(2, 6) + (batch > 1) * 4, scale=scale, dtype=dtype)


def temperatures(draw: Draw) -> tuple[float, float, float]:
    """A temperature below 1, a usual one, and one as high as Hinton's 20."""
    return draw.uniform(0.3, 0.8), draw.uniform(2, 9), draw.uniform(20, 40)


# --- 1.1 soft_targets -------------------------------------------------------------------------------------------------


@soft_targets.law("each row sums to 1", hint="The classes are the last axis: normalize over dim=-1.")
def rows_sum_to_one(function, draw):
    for shape in [(3,), (draw.size(1, 4), 5), (2, draw.size(1, 3), 4), (1, 300)]:
        logits = draw.normal(*shape, scale=3.0)
        got = function(logits, draw.uniform(0.5, 10))
        expect.same_kind(got, logits)
        expect.close(got.sum(-1), torch.ones(shape[:-1]), "the sum of each row")


@soft_targets.law("at temperature 1, the default, it is the softmax", hint="exp(z_i) / Σ_j exp(z_j) at T = 1.")
def softmax_at_one(function, draw):
    logits = logit_batch(draw)
    expect.close(function(logits), softmax(logits), "soft_targets(logits)")
    expect.close(function(logits, temperature=1), softmax(logits))


@soft_targets.law(
    "only logits / T matters: logits and temperature c times as large change nothing",
    hint="Divide the logits by T, once, before the exponential; the result is not divided again.",
)
def scale(function, draw):
    transposed = draw.normal(4, 3, 2).transpose(0, 2)
    for logits in (logit_batch(draw), draw.normal(4), transposed):
        for temperature in temperatures(draw):
            expect.close(function(logits * temperature, temperature), softmax(logits))


@soft_targets.law("a constant added to a row's logits changes nothing", hint="exp(c) cancels in a ratio.")
def shift(function, draw):
    logits = logit_batch(draw, dtype=torch.float64)
    temperature, constant = draw.uniform(0.5, 10), draw.normal(len(logits), 1, scale=30, dtype=torch.float64)
    wanted = function(logits, temperature)
    expect.close(function(logits + constant, temperature), wanted, rtol=1e-9, atol=1e-12)


@soft_targets.law(
    "logits of ±10,000 give probabilities, no NaN",
    hint="NaN comes from an exp that overflows: subtract the row's maximum first, or let torch.softmax do it.",
)
def extremes(function, draw):
    logits = torch.cat([draw.normal(2, 4).sign() * 1e4, draw.normal(1, 4)])
    got = function(logits, 1.0)
    expect.finite(got)
    expect.close(got, softmax(logits), atol=2e-3)
    logits = torch.tensor([[-1e4, 1e4, 1e4], [1e4, 1e4 - 1, 0.0]])
    expect.close(function(logits, 0.5), softmax(logits * 2), atol=2e-3)
    logits = draw.normal(3, 4, dtype=torch.float64)
    for temperature in (1e-3, 1e6):
        precise(
            function(logits, temperature), softmax(logits / temperature), f"the result at temperature {temperature:g}"
        )


@soft_targets.law(
    "a temperature of 10,000 softens logits of ±10,000",
    hint="Divide by T before the exponential: what has underflowed to 0 does not come back.",
    trials=1,
)
def hot_extremes(function, draw):
    logits = draw.normal(2, 4)
    expect.close(function(logits * 1e4, 1e4), softmax(logits))


@soft_targets.law(
    "the dtype stays: float64 exactly, and float16 and bfloat16",
    hint="If this law alone fails: no float32 constants, no .float(), no clamp; a tiny probability stays tiny.",
)
def double(function, draw):
    logits, temperature = logit_batch(draw, (2.0, 2.0, 15.0)[draw.trial], torch.float64), draw.uniform(0.5, 8)
    expect.close(function(logits * temperature, temperature), softmax(logits), rtol=1e-12, atol=1e-14)
    for dtype in HALVES:
        half = draw.normal(2, 5, dtype=dtype)
        expect.close(function(half, 2), softmax(half / 2), atol=2 * torch.finfo(dtype).eps)


@soft_targets.law(
    "gradients flow through it",
    hint="If this law alone fails: stay in torch, without .detach(), .item(), .numpy() or torch.no_grad().",
    trials=2,
)
def differentiable(function, draw):
    logits, weights, direction = (draw.normal(2, 3, dtype=torch.float64) for _ in range(3))
    temperature = draw.uniform(0.5, 5)
    variable = logits.clone().requires_grad_()
    got = expect.gradient((weights * function(variable, temperature)).sum(), variable)
    slope = directional_derivative(lambda z: (weights * softmax(z / temperature)).sum(), logits, direction)
    expect.close((got * direction).sum(), slope, "the slope along a random direction", rtol=1e-4, atol=1e-7)


# --- 1.2 distillation_loss --------------------------------------------------------------------------------------------


def loss_inputs(draw: Draw, dtype: torch.dtype = torch.float64, scale: float = 2.0) -> tuple[Tensor, Tensor, Tensor]:
    student = logit_batch(draw, scale, dtype)
    return student, draw.normal(*student.shape, scale=scale, dtype=dtype), draw.labels(*student.shape)


@distillation_loss.law(
    "at alpha = 0 it is the cross-entropy with the labels, whatever the teacher and the temperature",
    hint="(1 − alpha) belongs to the labels; their term is at temperature 1 and has no T². The dtype is the logits'.",
)
def labels_only(function, draw):
    student, teacher, labels = loss_inputs(draw, torch.float32)
    got = function(student, teacher, labels, draw.uniform(2, 10), 0.0)
    expect.scalar(got)
    expect.close(got, F.cross_entropy(student, labels))
    student, teacher = (draw.normal(7, 3, dtype=torch.float64) for _ in range(2))
    labels = draw.permutation(7) % 3  # every class is there
    precise(function(student, teacher, labels, draw.integer(2, 9), 0), F.cross_entropy(student, labels))
    for dtype in HALVES:
        half = student.to(dtype)
        wanted = F.cross_entropy(half.double(), labels).to(dtype)
        expect.close(function(half, teacher.to(dtype), labels, 2.0, 0.0), wanted, atol=0.05)


@distillation_loss.law(
    "at alpha = 1 and T = 1 it is the mean over the batch of KL(teacher ‖ student)",
    hint="Σ_i p_i (log p_i − log q_i), p the teacher: summed over the classes, averaged over the batch ('batchmean').",
)
def divergence(function, draw):
    student, teacher, labels = loss_inputs(draw, scale=(2.0, 2.0, 15.0)[draw.trial])
    p, log_q = softmax(teacher), torch.log_softmax(student, -1)
    wanted = (torch.xlogy(p, p) - p * log_q).sum(-1).mean()
    expect.close(function(student.float(), teacher.float(), labels, 1.0, 1.0), wanted.float())
    precise(function(student, teacher, labels, 1, 1), wanted)


@distillation_loss.law(
    "logits T times as large at temperature T give T² times the loss (alpha = 1)",
    hint="Both the student's and the teacher's logits are divided by T, and the divergence is multiplied by T².",
)
def temperature_squared(function, draw):
    student, teacher, labels = loss_inputs(draw, scale=1.0)
    for temperature in temperatures(draw):
        wanted = function(student, teacher, labels, 1.0, 1.0) * temperature**2
        precise(function(student * temperature, teacher * temperature, labels, temperature, 1.0), wanted)


@distillation_loss.law("a student that equals its teacher has loss 0 at alpha = 1", hint="KL(p ‖ p) = 0.", trials=2)
def equal_nets(function, draw):
    student, _, labels = loss_inputs(draw, torch.float32)
    got = function(student, student.clone(), labels, draw.uniform(1, 8), 1.0)
    expect.close(got, torch.tensor(0.0), atol=1e-4)


@distillation_loss.law(
    "alpha mixes the two terms: alpha of the teacher's, 1 − alpha of the labels'",
    hint="alpha · T² · KL + (1 − alpha) · cross-entropy.",
)
def mixture(function, draw):
    student, teacher, labels = loss_inputs(draw)
    temperature, alpha = draw.uniform(0.5, 8), draw.uniform(0.1, 0.9)
    soft, hard = (function(student, teacher, labels, temperature, a) for a in (1.0, 0.0))
    precise(function(student, teacher, labels, temperature, alpha), alpha * soft + (1 - alpha) * hard)


@distillation_loss.law(
    "a batch given twice has the same loss",
    hint="Average over the batch, do not sum; the softmax is over the classes.",
    trials=2,
)
def batch_mean(function, draw):
    student, teacher, labels = loss_inputs(draw)
    temperature, alpha = draw.uniform(1, 8), draw.uniform(0.2, 0.8)
    wanted = function(student, teacher, labels, temperature, alpha)
    precise(function(*(torch.cat([x, x]) for x in (student, teacher, labels)), temperature, alpha), wanted)


@distillation_loss.law(
    "the student learns: its gradient is right",
    hint="Gradients reach student_logits through both terms: no .detach() or .item() on the way.",
    trials=2,
)
def student_gradient(function, draw):
    student, teacher, labels = loss_inputs(draw, scale=1.0)
    direction, temperature = draw.normal(*student.shape, dtype=torch.float64), draw.uniform(1.5, 6)
    for alpha in (1.0, 0.3):
        variable = student.clone().requires_grad_()
        got = expect.gradient(function(variable, teacher, labels, temperature, alpha), variable)
        slope = directional_derivative(
            lambda z: function(z, teacher, labels, temperature, alpha),  # noqa: B023
            student,
            direction,
        )
        what = f"the slope along a random direction, at alpha = {alpha},"
        expect.close((got * direction).sum(), slope, what, rtol=1e-4, atol=1e-6)


@distillation_loss.law(
    "the teacher is a constant: no gradient flows into it", hint="Use teacher_logits.detach().", trials=2
)
def teacher_constant(function, draw):
    student, teacher, labels = loss_inputs(draw, torch.float32)
    student.requires_grad_()
    teacher.requires_grad_()
    loss = function(student, teacher, labels, draw.uniform(1, 5), 0.7)
    expect.scalar(loss)
    expect.no_gradient(loss, teacher, "a gradient flows into teacher_logits")


@distillation_loss.law(
    "very sure networks give a finite, right loss and a finite gradient",
    hint="Infinity or NaN: where the softmax underflows its log is −∞, so use log_softmax; p · log p is 0 at p = 0.",
    trials=1,
)
def sure_networks(function, draw):
    teacher, student = torch.tensor([[1000.0, 0.0, 0.0]]), torch.tensor([[0.0, 1000.0, 0.0]])
    expect.close(function(student, teacher, torch.tensor([1]), 1.0, 1.0), torch.tensor(1000.0))
    expect.close(function(student, teacher, torch.tensor([0]), 1.0, 0.0), torch.tensor(1000.0))
    student.requires_grad_()
    loss = function(student, teacher, torch.tensor([1]), 2.0, 0.5)
    expect.close(loss, torch.tensor(0.5 * 4 * 500.0))
    # T² / T · (q − p) of the teacher's term; the labels' term is 0, with no slope
    expect.close(expect.gradient(loss, student), torch.tensor([[-1.0, 1.0, 0.0]]), "the gradient")


# --- 1.3 ensemble_soft_targets ----------------------------------------------------------------------------------------


@ensemble_soft_targets.law("an ensemble of one is its softmax at T = 1", hint="Use soft_targets on each member.")
def single_member(function, draw):
    for logits in (logit_batch(draw), draw.normal(4), draw.normal(2, 3, 4)):
        expect.close(function([logits], 1.0), softmax(logits))


@ensemble_soft_targets.law(
    "members with probabilities (0.8, 0.2) and (0.4, 0.6) give (0.6, 0.4)",
    hint="Average the probabilities, not the logits: their sum, divided by their number.",
    trials=1,
)
def worked_example(function, draw):
    members = (torch.tensor([[0.8, 0.2]]).log(), torch.tensor([[0.4, 0.6]]).log() + 3)
    expect.close(function(members, 1.0), torch.tensor([[0.6, 0.4]]))
    sure = [torch.tensor([[60.0, 0.0]]), torch.tensor([[20.0, 0.0]]), torch.tensor([[0.0, 90.0]])]
    expect.close(function(sure, 1.0), torch.tensor([[2 / 3, 1 / 3]]))
    expect.close(function([*members, members[0]], 1.0), torch.tensor([[2 / 3, 1 / 3]]))


@ensemble_soft_targets.law(
    "two ensembles merged are the average of the two, weighted by their sizes",
    hint="Each member counts 1 / (number of members); in float64, stay in float64.",
)
def merged(function, draw):
    shape = (draw.size(1, 3), 5)
    a, b = (
        [draw.normal(*shape, scale=3, dtype=torch.float64) for _ in range(count)]
        for count in (draw.size(1, 3), draw.size(2, 7))
    )
    temperature = draw.uniform(1, 5)
    wanted = (len(a) * function(a, temperature) + len(b) * function(b, temperature)) / (len(a) + len(b))
    what = "the ensemble of all, compared with the weighted mean of your own results for its two parts,"
    precise(function(a + b, temperature), wanted, what)


@ensemble_soft_targets.law(
    "each row sums to 1", hint="A mean of distributions is a distribution: divide by the number of members."
)
def ensemble_rows(function, draw):
    shape = (draw.size(1, 3), 4)
    got = function([draw.normal(*shape, scale=3) for _ in range(3)], draw.uniform(1, 5))
    expect.same_kind(got, torch.zeros(shape))
    expect.close(got.sum(-1), torch.ones(shape[0]), "the sum of each row")


@ensemble_soft_targets.law(
    "only logits / T matters", hint="Every member is softened by the same temperature, before the average."
)
def ensemble_temperature(function, draw):
    members = [draw.normal(2, 5, scale=2, dtype=torch.float64) for _ in range(draw.size(1, 4))]
    wanted = function(members, 1.0)
    for temperature in temperatures(draw):
        precise(function([m * temperature for m in members], temperature), wanted)


@ensemble_soft_targets.law(
    "the dtype stays, float16 and bfloat16 too; no overflow; 300 members are as good as two",
    hint="Let soft_targets do the work; zeros to begin a sum with need the members' dtype.",
    trials=1,
)
def ensemble_double(function, draw):
    logits = draw.normal(2, 3, dtype=torch.float64)
    precise(function([logits, logits], 1.0), softmax(logits))
    precise(function([*[logits] * 150, *[-logits] * 150], 1.0), (softmax(logits) + softmax(-logits)) / 2)
    for dtype in HALVES:
        half = logits.to(dtype)
        wanted = ((softmax(half.double()) + softmax(-half.double())) / 2).to(dtype)
        expect.close(function([half, -half], 1.0), wanted, atol=2 * torch.finfo(dtype).eps)
    expect.close(function([logits * 1e4, logits * 1e4], 1.0), softmax(logits * 1e4))


# --- 1.4 virtual_teacher ----------------------------------------------------------------------------------------------


def teacher_inputs(draw: Draw) -> tuple[Tensor, int, float]:
    classes = draw.size(2, 20)
    return draw.labels(draw.size(1, 7), classes), classes, draw.uniform(0.5, 0.999)


@virtual_teacher.law(
    "each row is a distribution of float32: [batch, num_classes], not negative, sum 1",
    hint="A row for each label, a column for each class. The label and the other classes share 1, nothing is left.",
)
def virtual_rows(function, draw):
    labels, classes, right = teacher_inputs(draw)
    got = function(labels, classes, right)
    expect.same_kind(got, torch.zeros(len(labels), classes))
    expect.true((got >= 0).all(), "a probability is negative", got=got)
    expect.close(got.sum(1), torch.ones(len(labels)), "the sum of each row")


@virtual_teacher.law("the label gets correct_probability", hint="Row by row: the column of the row's own label.")
def right_class(function, draw):
    labels, classes, right = teacher_inputs(draw)
    got = function(labels, classes, right)
    expect.same_kind(got, torch.zeros(len(labels), classes))
    expect.close(got[torch.arange(len(labels)), labels], torch.full((len(labels),), right), "the label's probability")


@virtual_teacher.law(
    "all other classes get the same", hint="1 − correct_probability is shared by num_classes − 1 classes."
)
def others_uniform(function, draw):
    labels, classes, right = teacher_inputs(draw)
    got = function(labels, classes, right)
    expect.same_kind(got, torch.zeros(len(labels), classes))
    for row, label in zip(got, labels.tolist(), strict=True):
        others = torch.cat([row[:label], row[label + 1 :]])
        expect.close(others, others[:1].expand(classes - 1), "a probability of another class")


@virtual_teacher.law(
    "cross-entropy against it is PyTorch's label smoothing with ε = K(1 − a)/(K − 1)",
    hint="Label smoothing spreads its ε over all K classes, this teacher 1 − a over the K − 1 others.",
)
def label_smoothing(function, draw):
    labels, classes, right = teacher_inputs(draw)
    logits = draw.normal(len(labels), classes, scale=2)
    epsilon = classes * (1 - right) / (classes - 1)
    wanted = F.cross_entropy(logits, labels, label_smoothing=min(1.0, epsilon))
    expect.close(F.cross_entropy(logits, function(labels, classes, right)), wanted, "the cross-entropy")


@virtual_teacher.law(
    "at correct_probability = 1 it is the one-hot label",
    hint="Nothing is left for the others, not a millionth either: no clamp.",
    trials=2,
)
def one_hot(function, draw):
    labels, classes, _ = teacher_inputs(draw)
    for certain in (1.0, 1):
        expect.close(function(labels, classes, certain), F.one_hot(labels, classes).float(), atol=1e-8)


@virtual_teacher.law(
    "it can be wrong more often than right; there may be 300 classes",
    hint="Any a from 0 to 1, both included: the others share the rest.",
    trials=1,
)
def weak_teacher(function, draw):
    expect.close(function(torch.tensor([1, 0]), 3, 0.2), torch.tensor([[0.4, 0.2, 0.4], [0.2, 0.4, 0.4]]))
    expect.close(function(torch.tensor([1]), 2, 0.0), torch.tensor([[1.0, 0.0]]))
    many = torch.full((2, 300), 0.4 / 299)
    many[0, 3] = many[1, 259] = 0.6
    expect.close(function(torch.tensor([3, 259]), 300, 0.6), many, atol=1e-8)


# --- 1.5 distillation_gradient ----------------------------------------------------------------------------------------


def gradient_inputs(draw: Draw, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, float]:
    student = logit_batch(draw, dtype=dtype)
    return student, draw.normal(*student.shape, scale=2, dtype=dtype), temperatures(draw)[draw.trial]


@distillation_gradient.law(
    "it is autograd's gradient of torch's cross-entropy, example by example",
    hint="Derive ∂C/∂z_i for one example; the batch only stacks them: no mean, no T².",
)
def autograd(function, draw):
    start, teacher, mild = gradient_inputs(draw)
    for temperature in (mild, 1000.0):  # so hot that the limit of a high temperature is near, yet another number
        student = start.clone().requires_grad_()
        cost = F.cross_entropy(student / temperature, softmax(teacher / temperature), reduction="sum")
        (wanted,) = torch.autograd.grad(cost, student)
        expect.close(function(start.float(), teacher.float(), temperature), wanted.float(), atol=1e-5)
        precise(function(start, teacher, temperature), wanted)


@distillation_gradient.law(
    "an example's gradient does not depend on its batch",
    hint="The softmax is over the classes, and nothing is divided by the batch.",
)
def example_by_example(function, draw):
    student, teacher, temperature = gradient_inputs(draw)
    alone = [function(s, t, temperature) for s, t in zip(student.split(1), teacher.split(1), strict=True)]
    precise(function(student, teacher, temperature), torch.cat(alone))


@distillation_gradient.law("each row sums to 0", hint="Both distributions sum to 1, so their difference sums to 0.")
def gradient_rows(function, draw):
    student, teacher, temperature = gradient_inputs(draw, torch.float32)
    got = function(student, teacher, temperature)
    expect.same_kind(got, student)
    expect.close(got.sum(-1), torch.zeros(len(got)), "the sum of each row", atol=1e-5)


@distillation_gradient.law(
    "descending it brings the student nearer to the teacher", hint="Student minus teacher, not the reverse."
)
def descent(function, draw):
    student, teacher, temperature = gradient_inputs(draw)
    temperature = max(temperature, 1.0)  # when it is cold, two that are sure of the same class differ by rounding only

    def cost(z: Tensor) -> float:
        return float(F.cross_entropy(z / temperature, softmax(teacher / temperature)))

    step = function(student, teacher, temperature)
    expect.same_kind(step, student)
    after, before = cost(student - 0.1 * step), cost(student)
    expect.true(after < before, "the cross-entropy rose", f"less than {before:.6g}", f"{after:.6g}")


@distillation_gradient.law(
    "T² times it tends to ((z − z̄) − (v − v̄)) / N as T grows",
    hint="At a high temperature distillation matches logits (Hinton 2015, section 2.1).",
)
def high_temperature(function, draw):
    student, teacher, _ = gradient_inputs(draw)
    z, v = (x - x.mean(-1, keepdim=True) for x in (student, teacher))
    temperature = 1e5
    got = function(student, teacher, temperature)
    expect.same_kind(got, student)
    expect.close(got * temperature**2, (z - v) / student.shape[-1], "T² times the gradient", rtol=1e-2, atol=1e-3)


@distillation_gradient.law(
    "logits of ±10,000 give no NaN, and at a low temperature a large gradient; the dtype stays",
    hint="NaN comes from an exp that overflows, or from rows less the maximum of the whole batch: soft_targets has "
    "neither. Nothing is clipped; .float() changes the dtype.",
    trials=1,
)
def gradient_extremes(function, draw):
    for dtype in (torch.float32, torch.float64, *HALVES):
        size = 300.0 if dtype in HALVES else 1e4  # divided by the lowest temperature, float16 can still hold it
        student, teacher = (torch.tensor([[x, -x]], dtype=dtype) for x in (size, -size))
        for temperature in (2.0, 0.25, 0.01):
            wanted = torch.tensor([[1, -1]], dtype=dtype) / temperature
            expect.close(function(student, teacher, temperature), wanted)
    rows = torch.tensor([[0.0, 2.0], [1e4, 1e4 + 2]]), torch.tensor([[2.0, 0.0], [1e4 + 2, 1e4]])
    q, p = (softmax(logits) for logits in rows)
    expect.close(function(*rows, 1.0), q - p, "the gradient of two rows that differ by 10,000")


# --- 1.6 distill ------------------------------------------------------------------------------------------------------


def small_network(draw: Draw, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    """An MLP of one to four layers, 6 inputs, 3 classes; its names are not in alphabetical order."""
    sizes = ([6, 4, 3], [6, draw.integer(4, 7), 6, 3], [6, 3], [6, 5, draw.integer(4, 7), 4, 3])[draw.trial]
    state = {}
    for name, fan_in, fan_out in zip(("stem", "middle", "last", "head"), sizes, sizes[1:], strict=False):
        state[f"{name}.weight"] = draw.normal(fan_out, fan_in, scale=fan_in**-0.5, dtype=dtype)
        state[f"{name}.bias"] = draw.normal(fan_out, scale=0.1, dtype=dtype)
    return state


def distill_inputs(draw: Draw, dtype: torch.dtype = torch.float64) -> tuple[dict, Tensor, Tensor, Tensor]:
    batch = draw.size(1, 9)
    return (
        small_network(draw, dtype),
        draw.normal(batch, 2, 3, dtype=dtype),
        draw.labels(batch, 3),
        draw.normal(batch, 3, scale=2, dtype=dtype),
    )


def same_state(got: Any, wanted: dict[str, Tensor]) -> None:
    """Equal states. The last bias comes first: it is short, and every step moves it, so that a message shows how."""
    expect.same_kind(got, wanted, "the state")
    for name in reversed(wanted):
        precise(got[name], wanted[name], f"state[{name!r}]")


def descend(state: dict[str, Tensor], cost, lr: float, steps: int) -> dict[str, Tensor]:
    """torch.optim.SGD on a cost of the state."""
    parameters = {name: value.clone().requires_grad_() for name, value in state.items()}
    weights = list(parameters.values())
    for _ in range(steps):
        sgd_step(weights, torch.autograd.grad(cost(parameters), weights), [None] * len(weights), lr)
    return {name: value.detach() for name, value in parameters.items()}


@distill.law(
    "the state that comes back has the same names in the same order, shapes and dtypes, and no gradient history",
    hint="Return {name: value.detach() for …} of the trained weights.",
    trials=4,
)
def same_form(function, draw):
    state, inputs, labels, teacher = distill_inputs(draw, (torch.float32, torch.float64, *expect.HALVES)[draw.trial])
    got = function(state, inputs, labels, teacher, 2.0, 0.5, 0.1, 2)
    expect.same_kind(got, state, "the state")
    expect.equal(list(got), list(state), "the order of the names, which is the order of the layers,")
    for name, value in state.items():
        expect.same_kind(got[name], value, f"state[{name!r}]")
        expect.true(not got[name].requires_grad, f"state[{name!r}] still carries a gradient history")


@distill.law(
    "no steps change nothing, nor do steps of size 0",
    hint="range(0) does not run: what came in comes back. A rate of 0 is a rate.",
    trials=1,
)
def no_steps(function, draw):
    state, inputs, labels, teacher = distill_inputs(draw)
    same_state(function(state, inputs, labels, teacher, 2.0, 0.5, 0.1, 0), state)
    same_state(function(state, inputs, labels, teacher, 2.0, 0.5, 0.0, 3), state)


@distill.law(
    "at alpha = 0 it is torch.optim.SGD on the labels' cross-entropy",
    hint="Every weight and every bias takes the step w − lr · gradient, all in one step; no momentum, no clipping. "
    "After .backward() a second one adds to .grad: set it to None between steps.",
)
def plain_descent(function, draw):
    state, inputs, labels, teacher = distill_inputs(draw)
    if draw.trial == draw.trials - 1:  # images, more than a mini-batch of them, and large gradients
        inputs, labels = draw.normal(150, 2, 3, scale=20, dtype=torch.float64), draw.labels(150, 3)
        teacher = draw.normal(150, 3, dtype=torch.float64)
    lr, steps = draw.uniform(0.05, 0.5), (1, 2, 3)[draw.trial]
    wanted = descend(state, lambda s: F.cross_entropy(mlp_forward(s, inputs), labels), lr, steps)
    same_state(function(state, inputs, labels, teacher, 3.0, 0.0, lr, steps), wanted)


@distill.law(
    "at alpha = 1 and T = 1 it is torch.optim.SGD on the cross-entropy with the teacher's probabilities",
    hint="Use your distillation_loss with the logits of mlp_forward, anew in every step. No clipping, no early stop.",
    trials=4,
)
def soft_descent(function, draw):
    state, inputs, labels, teacher = distill_inputs(draw)
    lr, steps = draw.uniform(0.05, 0.5), (1, 3, 3, 2)[draw.trial]
    if draw.trial == 2:  # next to nothing is left to learn: the steps are taken all the same
        teacher = mlp_forward(state, inputs) + 1e-7 * teacher
    if draw.trial == 3:  # rate and gradient are far too large, and the loss rises: the step is taken all the same
        lr, inputs = 100.0, 1000 * inputs
    target = softmax(teacher)
    wanted = descend(state, lambda s: F.cross_entropy(mlp_forward(s, inputs), target), lr, steps)
    same_state(function(state, inputs, labels, teacher, 1.0, 1.0, lr, steps), wanted)
    if draw.trial == 3:
        got = function(state, inputs * math.nan, labels, teacher, 1.0, 1.0, lr, 1)
        expect.same_kind(got, state, "the state")
        bias = got[list(state)[-1]]
        expect.true(bias.isnan().all(), "the loss is NaN, and a step was not taken all the same", "NaN in it", bias)


@distill.law(
    "a last layer and a teacher T times as large, at temperature T: the last layer's step is T times as large",
    hint="Hand the temperature on to distillation_loss, for student and teacher alike.",
    trials=3,
)
def scaled_step(function, draw):
    state, inputs, labels, teacher = distill_inputs(draw)
    head = list(state)[-2:]
    temperature = temperatures(draw)[draw.trial]
    large = {name: value * temperature if name in head else value for name, value in state.items()}
    small = function(state, inputs, labels, teacher, 1.0, 1.0, 0.1, 1)
    expect.same_kind(small, state, "the state")
    got = function(large, inputs, labels, teacher * temperature, temperature, 1.0, 0.1, 1)
    expect.same_kind(got, state, "the state")
    for name in reversed(head):
        wanted = large[name] + temperature * (small[name] - state[name])
        precise(got[name], wanted, f"state[{name!r}]")


@distill.law(
    "at a very high temperature it fits the teacher's centred logits",
    hint="Hand the temperature on to distillation_loss, T² and all (Hinton 2015, section 2.1).",
    trials=2,
)
def matches_logits(function, draw):
    state, inputs, labels, teacher = distill_inputs(draw)
    lr = draw.uniform(0.05, 0.3)
    target = teacher - teacher.mean(-1, keepdim=True)

    def cost(s: dict[str, Tensor]) -> Tensor:
        logits = mlp_forward(s, inputs)
        return ((logits - logits.mean(-1, keepdim=True) - target) ** 2).sum(-1).mean() / (2 * logits.shape[-1])

    wanted = descend(state, cost, lr, 1)
    got = function(state, inputs, labels, teacher, 1e4, 1.0, lr, 1)
    expect.same_kind(got, state, "the state")
    for name, value in reversed(state.items()):
        expect.same_kind(got[name], value, f"state[{name!r}]")
        step, wanted_step = (got[name] - value) / lr, (wanted[name] - value) / lr
        expect.close(step, wanted_step, f"the step of state[{name!r}], divided by lr,", rtol=1e-2, atol=1e-3)


@distill.law("alpha weighs the teacher against the labels", hint="Hand alpha on to distillation_loss.", trials=1)
def alpha_weighs(function, draw):
    state, inputs, labels, teacher = distill_inputs(draw)
    alpha, temperature, lr = draw.uniform(0.2, 0.8), draw.uniform(1, 6), 0.1
    soft, hard, both = (function(state, inputs, labels, teacher, temperature, a, lr, 1) for a in (1.0, 0.0, alpha))
    expect.same_kind(soft, state, "the state")
    expect.same_kind(hard, state, "the state")
    wanted = {name: alpha * soft[name] + (1 - alpha) * hard[name] for name in state}
    same_state(both, wanted)


@distill.law("a student that equals its teacher stays as it is (alpha = 1)", hint="The gradient is 0 there.", trials=1)
def fixed_point(function, draw):
    state, inputs, labels, _ = distill_inputs(draw)
    got = function(state, inputs, labels, mlp_forward(state, inputs), draw.uniform(1, 5), 1.0, 0.5, 3)
    expect.close(got, state, "the state", rtol=1e-6, atol=1e-8)


@distill.law(
    "a hundred and thirty steps are four, then a hundred and twenty-six",
    hint="Start each step from the weights of the one before; the rate stays the same, and all steps are taken.",
    trials=1,
)
def steps_compose(function, draw):
    _, images, labels, teacher = distill_inputs(draw)
    state = {"only.weight": draw.normal(3, 6, dtype=torch.float64), "only.bias": draw.normal(3, dtype=torch.float64)}
    data = images, labels, teacher
    settings = (draw.uniform(1, 5), 0.6, 0.02)  # too slow to arrive before the last step
    first = function(state, *data, *settings, 4)
    expect.same_kind(first, state, "the state")
    wanted = function(first, *data, *settings, 126)
    same_state(function(state, *data, *settings, 130), wanted)


@distill.law(
    "the distilled network agrees with its teacher on inputs that it has not seen",
    hint="If all other laws hold, this one does.",
    trials=1,
)
def unseen_inputs(function, draw):
    teacher = draw.normal(3, 5, scale=2)
    seen, unseen = draw.normal(60, 5), draw.normal(200, 5)
    labels = draw.labels(60, 3)  # worthless: all that can be learnt comes from the teacher
    # Wide enough that no right student falls below 80% (of 2,500); of four units, all may be dead
    student = {
        "stem.weight": draw.normal(16, 5, scale=5**-0.5),
        "stem.bias": torch.zeros(16),
        "head.weight": draw.normal(3, 16, scale=16**-0.5),
        "head.bias": torch.zeros(3),
    }
    got = function(student, seen, labels, seen @ teacher.T, 3.0, 1.0, 0.5, 25)
    agree = float((mlp_forward(got, unseen).argmax(1) == (unseen @ teacher.T).argmax(1)).float().mean())
    expect.true(agree >= 0.7, "it agrees too rarely", "at least 70%", f"{agree:.0%}")
