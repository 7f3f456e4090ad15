"""Laws of unit 04, structured sparsity."""

import re
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.checks import expect
from course_utils.checks.draw import Draw
from course_utils.checks.engine import Exercise, StudentError, Unit
from course_utils.checks.expect import HALVES
from course_utils.checks.oracles import sgd_step
from course_utils.models import lenet_forward

unit = Unit("structured")
filter_norms = unit.exercise("4.1a", "filter_norms", points=2, minutes=5, difficulty=1)
channel_norms = unit.exercise("4.1b", "channel_norms", points=2, minutes=5, difficulty=1)
group_lasso = unit.exercise("4.2", "group_lasso", points=2, minutes=5, difficulty=1)
shrink_groups = unit.exercise("4.3a", "shrink_groups", points=3, minutes=15, difficulty=3, fresh=True)
proximal_step = unit.exercise("4.3b", "proximal_step", points=2, minutes=5, difficulty=2, fresh=True)
remove_filters = unit.exercise("4.4", "remove_filters", points=5, minutes=25, difficulty=4, fresh=True)
concatenate_nonzero = unit.exercise("4.5a", "concatenate_nonzero", points=2, minutes=10, difficulty=2)
concatenated_matmul = unit.exercise("4.5b", "concatenated_matmul", points=2, minutes=5, difficulty=2)
shrink_network = unit.exercise("4.6", "shrink_network", points=6, minutes=30, difficulty=5, fresh=True)

DOUBLE = torch.float64


def scattered(tensor: Tensor) -> Tensor:
    """The same values in another order of memory, with gaps."""
    gaps = torch.stack([tensor.transpose(0, -1), torch.zeros_like(tensor.transpose(0, -1))], dim=-1)
    return gaps[..., 0].transpose(0, -1)


def slices(weight: Tensor, dim: int) -> list[Tensor]:
    """The groups along an axis."""
    return list(weight.unbind(dim))


def lengths(weight: Tensor, dim: int) -> Tensor:
    """torch.linalg's norm, group by group."""
    return torch.stack([torch.linalg.vector_norm(group) for group in slices(weight, dim)])


def close_in(got: Any, wanted: Tensor, what: str, rtol: float = 1e-4, atol: float = 1e-6) -> None:
    """Close, after shape and dtype; half precision is compared as coarsely as it is, float64 to ten digits."""
    expect.same_kind(got, wanted, what)
    if wanted.dtype == DOUBLE:
        rtol, atol = 1e-10, 1e-12
    if wanted.dtype in HALVES:
        rtol, atol = 0.03, 0.03
    expect.close(got.double(), wanted.double(), what, rtol, atol)


def expect_value_error(function: Callable, what: str, *arguments: Any, **named: Any) -> str:
    """The text of the ValueError that a call must raise."""
    try:
        got = function(*arguments, **named)
    except StudentError as error:
        if error.kind != "ValueError":
            raise
        return error.text
    raise expect.LawViolation(f"{what} was accepted", "ValueError", got)


# --- 4.1a filter_norms, 4.1b channel_norms ----------------------------------------------------------------------------


def norm_laws(exercise: Exercise, dim: int, example: str, wanted: list[float], own: str) -> None:
    """What holds for the norms along an axis."""

    @exercise.law(
        f"the weight 3, 4 | 0, 0 | 5, 12 has norms {example}",
        hint=f"Square, add up over all axes but {own}, take the root; one number for each.",
        trials=1,
    )
    def norms_example(function, draw):
        weight = torch.tensor([[3.0, 4.0], [0.0, 0.0], [5.0, 12.0]])
        expect.close(function(weight), torch.tensor(wanted))
        expect.close(function(weight.double()[..., None]), torch.tensor(wanted, dtype=DOUBLE), "norms of 1-D kernels")

    @exercise.law(
        "each norm is torch.linalg's of its own slice, for two to five axes, however the weight lies in memory",
        hint=f"All axes but {own} belong to the group, however many there are, or none. reshape copies if it must.",
    )
    def norms_of_slices(function, draw):
        for axes in (2, 3, 4, 5):
            shape = [draw.integer(2, 4), draw.integer(5, 7), *(draw.integer(1, 3) for _ in range(axes - 2))]
            weight = draw.normal(*(shape if draw.trial % 2 else [shape[1], shape[0], *shape[2:]]))
            for each in (weight, scattered(weight), weight.double()):
                close_in(function(each), lengths(each, dim), f"norms of a weight with {axes} axes")
        for shape in ((1, 1, 1, 1), (1, 4), (4, 1), (3, 3), (3, 2, 0)):
            weight = draw.normal(*shape)
            expect.close(function(weight), lengths(weight, dim), f"norms of a weight {list(shape)}")

    @exercise.law(
        "twice the weight has twice the norms; so has 1e-12 of it, and 1e12 times it; half precision stays half",
        hint="No ε under the root, no constant: a small group has a small norm.",
        trials=2,
    )
    def norms_scale(function, draw):
        weight = draw.normal(4, 3, 2, 2)
        for factor in (2.0, 1e-12, 1e12, -1.0):
            expect.close(function(weight * factor) / abs(factor), lengths(weight, dim), f"norms at scale {factor:g}")
        for dtype in HALVES:
            close_in(function(weight.to(dtype)), lengths(weight.to(dtype), dim), f"norms in {dtype}")

    @exercise.law(
        "the gradient of a norm is the group divided by its norm; a dead group has norm 0 and gradient 0, not NaN",
        hint="The root of a sum has slope 1/0 at 0; a floor under the root keeps the norm from 0. "
        "torch.linalg.vector_norm has gradient 0 there.",
        trials=2,
    )
    def norms_gradient(function, draw):
        weight = draw.normal(4, 3, 2, 2, scale=10.0 ** (-5 * draw.trial), dtype=DOUBLE)
        weight[draw.integer(0, 3)], weight[:, draw.integer(0, 2)] = 0, 0
        dead = lengths(weight, dim) == 0
        expect.equal(function(weight)[dead], torch.zeros(int(dead.sum()), dtype=DOUBLE), "the norm of a dead group")
        weight.requires_grad_()
        got = expect.gradient(function(weight), weight, "the norms")
        expect.finite(got, "the gradient")
        groups = slices(weight.detach(), dim)
        units = [g / torch.linalg.vector_norm(g) if bool((g != 0).any()) else torch.zeros_like(g) for g in groups]
        expect.close(got, torch.stack(units, dim), "the gradient")


norm_laws(filter_norms, 0, "5, 0, 13", [5.0, 0.0, 13.0], "the first")
norm_laws(channel_norms, 1, "√34, √160", [34**0.5, 160**0.5], "the second")


# --- 4.2 group_lasso --------------------------------------------------------------------------------------------------


@group_lasso.law(
    "the weight 3, 4 | 0, 0: filters 5 + 0, channels 3 + 4, so 12; with strengths 2 and 10, 80; with 0, none",
    hint="strength · Σ norms, for filters and for channels. A strength of 0 is a strength: do not take it for missing.",
    trials=1,
)
def lasso_example(function, draw):
    weight = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    for strengths, wanted in (((), 12.0), ((2.0, 10.0), 80.0), ((0.0, 1.0), 7.0), ((1, 0), 5.0), ((0.0, 0), 0.0)):
        got = function([weight], *strengths)
        expect.scalar(got)
        expect.close(got, torch.tensor(wanted), f"the penalty with strengths {strengths or 'left out'}")
    expect.close(function([weight], channel_strength=0), torch.tensor(5.0), "the penalty of filters alone")
    expect.close(function((weight,), filter_strength=0), torch.tensor(7.0), "the penalty of channels alone")


def some_layers(draw: Draw, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    shapes = ((draw.integer(2, 4), 1, 3, 3), (5, draw.integer(2, 4), 2, 2), (3, draw.integer(6, 9)))
    return [draw.normal(*shape, dtype=dtype) for shape in shapes]


@group_lasso.law(
    "layers add up, large groups as small ones; the sums are those of torch.linalg's norms",
    hint="No mean, no factor for the size of a group or of a layer; weights of any number of axes.",
    trials=2,
)
def lasso_adds(function, draw):
    for dtype in (torch.float32, DOUBLE, torch.bfloat16):
        layers = some_layers(draw, dtype)
        alpha, beta = draw.uniform(0.1, 2), draw.uniform(0.1, 2)
        parts = [alpha * lengths(w, 0).sum() + beta * lengths(w, 1).sum() for w in layers]
        for chosen in ([0], [1], [2], [0, 1, 2]):
            got = function([scattered(layers[i]) for i in chosen], alpha, beta)
            expect.scalar(got)
            wanted = torch.stack([parts[i] for i in chosen]).sum()
            close_in(got, wanted, f"the penalty of {len(chosen)} layers")


@group_lasso.law(
    "its gradient is strength · w/‖group‖ of both kinds, in every layer; a dead group has 0, not NaN",
    hint="Each weight belongs to a filter and to a channel. Use the norms of 4.1: their gradient at 0 is 0.",
    trials=2,
)
def lasso_gradient(function, draw):
    layers = some_layers(draw, DOUBLE)
    for weight in layers[1:]:
        weight[1], weight[:, 1] = 0, 0
    for weight in layers:
        weight.requires_grad_()
    alpha, beta = (draw.uniform(0.1, 2), draw.uniform(0.1, 2)) if draw.trial else (1.0, 0.0)
    gradients = expect.gradient(function(layers, alpha, beta), layers, "the penalty")
    for i, (weight, got) in enumerate(zip(layers, gradients, strict=True)):
        expect.finite(got, f"the gradient of layer {i}")
        wanted = torch.zeros_like(weight)
        for dim, strength in ((0, alpha), (1, beta)):
            norms = lengths(weight.detach(), dim)
            shape = [-1 if axis == dim else 1 for axis in range(weight.dim())]
            wanted = wanted + strength * weight.detach() / torch.where(norms > 0, norms, 1).view(shape)
        expect.close(got, wanted, f"the gradient of layer {i}")


# --- 4.3a shrink_groups -----------------------------------------------------------------------------------------------


@shrink_groups.law(
    "rows 3, 4 | 0.3, 0.4 | 0, 0 at threshold 1: 2.4, 3.2 | 0, 0 | 0, 0; at 5, the first row's norm, all is 0",
    hint="Multiply a group by 1 − t/‖w‖, and by 0 if ‖w‖ ≤ t. Mind 0/0: a dead group stays 0, also at t = 0.",
    trials=1,
)
def shrink_example(function, draw):
    weight = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    wanted = torch.tensor([[2.4, 3.2], [0.0, 0.0], [0.0, 0.0]])
    expect.close(function(weight, 1.0, 0), wanted, "rows shrunk by 1")
    expect.equal(function(weight, 1.0, 0)[1:], wanted[1:], "the short row and the dead row")
    expect.equal(function(weight, 5.0, 0), torch.zeros(3, 2), "rows shrunk by 5")
    expect.close(function(weight.T, 1, 1), wanted.T, "columns shrunk by 1")
    expect.equal(function(weight, 0.0, 0), weight, "rows shrunk by 0")
    expect.equal(function(weight, 0, 1), weight, "columns shrunk by 0")


@shrink_groups.law(
    "each group keeps its direction and loses t of its length; what is shorter than t is exactly 0; along every axis",
    hint="One factor for a whole group. The group is the slice at one index of `dim`; −1 is the last axis.",
    trials=3,
)
def shrink_length(function, draw):
    dtype = (torch.float32, DOUBLE)[draw.trial % 2]
    weight = draw.normal(3, 4, *([2, 5][: draw.trial]), dtype=dtype)
    for dim in range(-weight.dim(), weight.dim()):
        before = lengths(weight, dim)
        t = float(before.median()) * draw.uniform(0.7, 1.2)
        for each in (weight, scattered(weight)):
            got = function(each, t, dim)
            expect.same_kind(got, weight)
            for i, (w, x) in enumerate(zip(slices(weight, dim), slices(got, dim), strict=True)):
                left = float(before[i]) - t
                if left <= 0:
                    expect.equal(x, torch.zeros_like(w), f"slice {i} along {dim}, shorter than t,")
                else:
                    expect.close(float(torch.linalg.vector_norm(x)), left, f"the length of slice {i}", atol=1e-5)
                    expect.close(x * before[i], w * torch.linalg.vector_norm(x), f"slice {i}'s direction", atol=1e-5)


@shrink_groups.law(
    "of a 1-D weight each number is a group: torch's softshrink",
    hint="Without other axes a group is one number, and its norm is |w|: do not reduce over all of it.",
    trials=2,
)
def shrink_softly(function, draw):
    weight = draw.normal(draw.size(3, 40), dtype=DOUBLE)
    weight[0] = 0
    for dim in (0, -1):
        for t in (0.0, 0.5, 3.0):
            close_in(function(weight, t, dim), F.softshrink(weight, t), f"the weight shrunk by {t}")


@shrink_groups.law(
    "t/2 twice is t once; tiny and huge groups are judged alike; half precision stays half",
    hint="No ε beside the norm: it moves every threshold.",
    trials=2,
)
def shrink_twice(function, draw):
    weight, t = draw.normal(5, 3, 2, dtype=DOUBLE), draw.uniform(0.5, 2)
    for dim in (0, 1, 2):
        once = function(weight, t, dim)
        expect.close(function(function(weight, t / 2, dim), t / 2, dim), once, "t/2 twice", atol=1e-10)
        for scale in (1e-10, 1e10):
            got = function(weight * scale, t * scale, dim) / scale
            expect.close(got, once, f"all at scale {scale:g}, scaled back,", atol=1e-9)
            expect.true(torch.equal(got == 0, once == 0), f"at scale {scale:g} other groups are 0")
        for dtype in HALVES:
            got = function(weight.to(dtype), t, dim)
            expect.close(got.double(), once, f"the weight in {dtype}", rtol=0.05, atol=0.05)
            expect.same_kind(got, weight.to(dtype))


# --- 4.3b proximal_step -----------------------------------------------------------------------------------------------


@proximal_step.law(
    "4, 0 | 0, 1 with gradient −2, 0 | 0, 2 at lr 0.5 goes to 5, 0 | 0, 0; with λ 2 and 4 to 2, 0 | 0, 0",
    hint="First descend, then shrink filters by lr · λ, then channels: the threshold has lr in it.",
    trials=1,
)
def step_example(function, draw):
    weight, gradient = torch.tensor([[4.0, 0.0], [0.0, 1.0]]), torch.tensor([[-2.0, 0.0], [0.0, 2.0]])
    expect.close(function(weight, gradient, 0.5, 0.0, 0.0), torch.tensor([[5.0, 0.0], [0.0, 0.0]]), "without lasso")
    expect.close(function(weight, gradient, 0.5, 2.0, 4.0), torch.tensor([[2.0, 0.0], [0.0, 0.0]]), "with both")
    still = torch.zeros(1, 2)
    got = function(torch.tensor([[3.0, 4.0]]), still, 1.0, 2.5, 1.0)
    expect.close(got, torch.tensor([[0.5, 1.0]]), "filters by 2.5 (to 1.5, 2), then channels by 1")


@proximal_step.law(
    "with strengths of 0 it is a step of torch's SGD, also where a group becomes 0",
    hint="w − lr · gradient, however long the gradient is.",
    trials=2,
)
def step_descends(function, draw):
    for dtype in (torch.float32, DOUBLE):
        weight, gradient = (draw.normal(3, 4, 2, 2, scale=scale, dtype=dtype) for scale in (1, 100**draw.trial))
        weight[1], gradient[1] = 0, 0
        stepped = weight.clone()
        sgd_step([stepped], [gradient], [None], lr=0.3)
        close_in(function(weight, gradient, 0.3, 0, 0), stepped, "the weight without lasso")
        got = function(scattered(weight), scattered(gradient), lr=0.3, filter_strength=0.0, channel_strength=0.0)
        expect.close(got, stepped, "the weight without lasso")


@proximal_step.law(
    "where the gradient is 0, a filter (or a channel, if only these count) loses exactly lr · λ of its length",
    hint="filter_strength shrinks along axis 0, channel_strength along axis 1, each by lr times it.",
    trials=2,
)
def step_shrinks(function, draw):
    weight, lr = draw.normal(5, 4, 3, dtype=DOUBLE), draw.uniform(0.05, 0.5)
    still = torch.zeros_like(weight)
    for dim in (0, 1):
        before = lengths(weight, dim)
        strength = float(before.median()) / lr
        strengths = (strength, 0.0) if dim == 0 else (0.0, strength)
        got = function(weight, still, lr, *strengths)
        kind = ("filter", "channel")[dim]
        expect.close(lengths(got, dim), (before - lr * strength).clamp(min=0), f"each {kind}'s length", atol=1e-9)
        scaled = function(weight, still, 2 * lr, *(s / 2 for s in strengths))
        expect.close(scaled, got, "twice the lr with half of the strength", atol=1e-9)


@proximal_step.law(
    "a dead filter stays exactly 0 while its gradient is shorter than λ, and wakes up when it is longer",
    hint="Descend first: what counts is how long the group is after the descent.",
    trials=2,
)
def step_dead(function, draw):
    weight, gradient = draw.normal(3, 4, 2), draw.normal(3, 4, 2)
    weight[1] = 0
    length = float(torch.linalg.vector_norm(gradient[1]))
    asleep = function(weight, gradient, 0.1, 1.1 * length, 0.0)
    expect.equal(asleep[1], torch.zeros(4, 2), "the dead filter")
    awake = function(weight, gradient, 0.1, 0.5 * length, 0.0)
    expect.close(awake[1], -0.1 * 0.5 * gradient[1], "the filter that woke up")
    for dtype in HALVES:
        expect.same_kind(function(weight.to(dtype), gradient.to(dtype), 0.1, 1.0, 1.0), weight.to(dtype))


# --- 4.4 remove_filters -----------------------------------------------------------------------------------------------


def cut(function: Callable, layers: list[Tensor], keep: Tensor, **named: Any) -> tuple[Tensor, ...]:
    """The four, after their form has been looked at."""
    weight, bias, after, after_bias = layers
    got = function(*layers, keep, **named)
    n = int(keep.sum())
    shape = (len(after), n, *after.shape[2:]) if after.dim() > 2 else (len(after), after.shape[1] // len(weight) * n)
    like = (weight[:n], bias[:n], after.new_zeros(shape), after_bias)
    expect.same_kind(got, like, "the tuple of four")
    for part, wanted, name in zip(got, like, ("weight", "bias", "next_weight", "next_bias"), strict=True):
        expect.same_kind(part, wanted, name)
    return tuple(got)


@remove_filters.law(
    "filters 1, 2 | 0, 0 | 3, 4 with bias 10, 20, 30, read by 1, 5, 2 | 7: without the second, 1, 2 | 107",
    hint="A dead filter still puts out its bias: the next bias takes over next_weight times that constant.",
    trials=1,
)
def cut_example(function, draw):
    weight, after = torch.tensor([[1.0, 2.0], [0.0, 0.0], [3.0, 4.0]]), torch.tensor([[1.0, 5.0, 2.0]])
    keep, seven = torch.tensor([True, False, True]), torch.tensor([7.0])
    for constant, named, wanted in (
        (20.0, {}, 107.0), (-20.0, {}, -93.0), (20.0, {"relu": True}, 107.0), (-20.0, {"relu": True}, 7.0),
    ):  # fmt: skip
        layers = [weight, torch.tensor([10.0, constant, 30.0]), after, seven]
        got = cut(function, layers, keep, **named)
        expect.equal(got[:3], (weight[keep], torch.tensor([10.0, 30.0]), torch.tensor([[1.0, 2.0]])), "what is kept")
        expect.close(got[3], torch.tensor([wanted]), f"next_bias for the constant {constant:g}, {named or 'no ReLU'},")


@remove_filters.law(
    "flattened, filter n owns columns n·P to n·P + P − 1: of 1 … 6 for two filters, the second leaves 1, 2, 3",
    hint="Columns of one filter lie side by side: view next_weight as [M, N, P]. Each of the P reads the constant.",
    trials=1,
)
def cut_columns(function, draw):
    weight, bias = torch.tensor([[[[1.0]]], [[[0.0]]]]), torch.tensor([0.0, 10.0])
    after, keep = torch.arange(1.0, 7.0).view(1, 6), torch.tensor([True, False])
    got = cut(function, [weight, bias, after, torch.tensor([1.0])], keep)
    expect.equal(got[2], torch.tensor([[1.0, 2.0, 3.0]]), "next_weight")
    expect.close(got[3], torch.tensor([1.0 + 10 * (4 + 5 + 6)]), "next_bias")


def convolved(layers: list[Tensor] | tuple[Tensor, ...], images: Tensor, relu: bool) -> Tensor:
    """Two layers with pooling between; the second a convolution, or linear after flattening."""
    weight, bias, after, after_bias = layers
    hidden = F.max_pool2d(F.conv2d(images, weight, bias), 2)
    hidden = hidden.relu() if relu else hidden
    return F.conv2d(hidden, after, after_bias) if after.dim() > 2 else F.linear(hidden.flatten(1), after, after_bias)


def two_layers(draw: Draw, linear: bool, filters: int, dtype: torch.dtype = DOUBLE) -> tuple[list[Tensor], Tensor]:
    """Weights for images [2, 9, 11], some filters dead, some unread, some both; and which must stay."""
    outputs = draw.integer(1, 3)
    weight, bias = draw.normal(filters, 2, 2, 3, dtype=dtype), draw.normal(filters, dtype=dtype)
    shape = (outputs, filters * 4 * 4) if linear else (outputs, filters, 2, 3)
    after, after_bias = draw.normal(*shape, dtype=dtype), draw.normal(outputs, dtype=dtype)
    dead, unread = draw.mask(filters, keep=0.4), draw.mask(filters, keep=0.4)
    dead[-1], dead[0], unread[0], unread[1] = False, True, False, True
    unread[-1], dead[1] = False, False
    weight[dead] = 0
    after.view(outputs, filters, -1)[:, unread] = 0
    return [weight, bias, after, after_bias], ~(dead | unread)


@remove_filters.law(
    "two layers compute the same with and without the dead and the unread, with pooling between, ReLU or not",
    hint="The next bias takes over the constant of what goes times the sum of all next weights for it.",
    trials=2,
)
def cut_same(function, draw):
    for linear in (False, True):
        for relu in (False, True):
            layers, alive = two_layers(draw, linear, draw.size(4, 9))
            images = draw.normal(3, 2, 9, 11, dtype=DOUBLE)
            wanted = convolved(layers, images, relu)
            one = torch.ones_like(alive)
            one[draw.choice((~alive).nonzero().flatten().tolist())] = False
            for keep in (alive, one, torch.ones_like(alive)):
                got = cut(function, [scattered(part) for part in layers], keep, relu=relu)
                what = f"what {'a linear layer' if linear else 'a convolution'} computes after it"
                expect.close(convolved(got, images, relu), wanted, what, atol=1e-9)
                expect.equal(got[:2], (layers[0][keep], layers[1][keep]), "the filters that are kept")


@remove_filters.law(
    "a filter that is neither dead nor unread must stay: ValueError with its number; so if none is kept",
    hint="Dead: every weight is exactly 0, not small, not NaN, not 0 in sum. Unread: so is every next weight for it.",
    trials=2,
)
def cut_refuses(function, draw):
    tiny = 1e-20
    for linear in (False, True):
        layers, alive = two_layers(draw, linear, 12)
        for n in (0, int((~alive).nonzero()[-1])):
            nan = torch.nan  # of a network that has diverged
            for weights, reads in (
                ((1, -1), (2, -2)), ((tiny, 0), (1, 1)), ((1, 1), (0, tiny)), ((nan, 0), (1, 1)), ((1, 1), (0, nan)),
            ):  # fmt: skip
                weight, bias, after, after_bias = (part.clone() for part in layers)
                weight[n], weight[n].view(-1)[1:3] = 0, torch.tensor(weights, dtype=DOUBLE)
                read = after.view(len(after), 12, -1)
                read[:, n], read[-1, n, -2:] = 0, torch.tensor(reads, dtype=DOUBLE)
                what, changed = f"filter {n}, which is alive, removed,", (weight, bias, after, after_bias)
                text = expect_value_error(function, what, *changed, alive)
                named = {int(number) for number in re.findall(r"\d+", text)}
                expect.true(n in named, "the message does not name the filter", str(n), text)
                others = set((~alive).nonzero().flatten().tolist()) - {0, n}  # a message may say 'is not 0'
                listed = bool(others) and others <= named
                expect.true(not listed, "the message names those that may go as well", str(n), text)
    nothing = [torch.zeros(2, 3), torch.ones(2), torch.ones(1, 2), torch.ones(1)]
    expect_value_error(function, "a layer without filters", *nothing, torch.zeros(2, dtype=torch.bool))


@remove_filters.law(
    "between two linear layers P is 1; dtypes stay, many filters are many",
    hint="[M, N] is [M, N, 1]. Count and add in the tensors' own dtype.",
    trials=2,
)
def cut_linear(function, draw):
    for dtype in (torch.float32, DOUBLE, *HALVES):
        n = 20 if dtype in HALVES else 300
        keep = draw.mask(n, keep=0.3)
        keep[0] = True
        weight, bias = draw.normal(n, 5, dtype=dtype), draw.normal(n, dtype=dtype)
        weight[~keep] = 0
        after, after_bias = draw.normal(4, n, dtype=dtype), draw.normal(4, dtype=dtype)
        got = cut(function, [weight, bias, after, after_bias], keep, relu=True)
        inputs = draw.normal(6, 5, dtype=DOUBLE)
        before, smaller = (
            F.linear(F.linear(inputs, w.double(), b.double()).relu(), w2.double(), b2.double())
            for w, b, w2, b2 in ((weight, bias, after, after_bias), got)
        )
        tolerance = {DOUBLE: 1e-9, torch.float32: 1e-4}.get(dtype, 0.5)
        expect.close(smaller, before, f"what two linear layers compute, {dtype},", atol=tolerance)


# --- 4.5a concatenate_nonzero -----------------------------------------------------------------------------------------


def pushed(function: Callable, matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The three, after their form has been looked at."""
    got = function(matrix)
    expect.same_kind(got, (matrix, matrix, matrix), "the tuple (dense, rows, columns)")
    dense, rows, columns = got
    for numbers, name in ((rows, "rows"), (columns, "columns")):
        expect.same_kind(numbers, torch.zeros(len(numbers), dtype=torch.int64), name)
    expect.same_kind(dense, matrix.new_zeros(len(rows), len(columns)), "dense")
    return dense, rows, columns


@concatenate_nonzero.law(
    "0, 0, 0 | 0, 5, 0 | 1, 0, 0: rows 1, 2, columns 0, 1, dense 0, 5 | 1, 0; of zeros nothing is left",
    hint="Which rows have any non-zero, which columns; then matrix[rows][:, columns].",
    trials=1,
)
def push_example(function, draw):
    matrix = torch.tensor([[0.0, 0.0, 0.0], [0.0, 5.0, 0.0], [1.0, 0.0, 0.0]])
    wanted = (torch.tensor([[0.0, 5.0], [1.0, 0.0]]), torch.tensor([1, 2]), torch.tensor([0, 1]))
    expect.equal(pushed(function, matrix), wanted)
    nothing = torch.zeros(0, dtype=torch.int64)
    for dtype in (torch.float32, DOUBLE):
        got = pushed(function, torch.zeros(3, 2, dtype=dtype))
        expect.equal(got, (torch.zeros(0, 0, dtype=dtype), nothing, nothing), "what is left of zeros")


@concatenate_nonzero.law(
    "put back at its rows and columns, dense is the matrix again; every row and column of it has a non-zero",
    hint="Ascending numbers, of rows for rows and of columns for columns; look at the entries, not at the diagonal.",
    trials=2,
)
def push_rebuild(function, draw):
    rows, columns = draw.size(1, 60), draw.size(2, 400)
    for dtype in (torch.float32, DOUBLE, torch.bfloat16):
        matrix = draw.normal(rows, columns, dtype=dtype) * draw.mask(rows, columns, keep=draw.uniform(0.02, 0.6))
        matrix = matrix * draw.mask(rows, 1, keep=0.6) * draw.mask(1, columns, keep=0.6)
        matrix[-1, -1] = 1
        for each in (matrix, scattered(matrix), matrix.T):
            dense, live_rows, live_columns = pushed(function, each)
            rebuilt = torch.zeros_like(each)
            rebuilt[live_rows[:, None], live_columns] = dense
            expect.equal(rebuilt.double(), each.double(), "the matrix, rebuilt,")
            for numbers, dim, name in ((live_rows, 1, "row"), (live_columns, 0, "column")):
                expect.true((numbers.diff() > 0).all(), f"{name}s are not ascending", got=numbers)
                expect.true((dense != 0).any(dim=dim).all(), f"a {name} of dense is all 0", got=dense)


@concatenate_nonzero.law(
    "rows and columns whose entries cancel stay, as do tiny ones and NaN",
    hint="A row of 1, −1 has sum 0, and is not 0: ask for any entry that is not 0, not for a sum or a size.",
    trials=1,
)
def push_cancel(function, draw):
    matrix = torch.zeros(4, 5, dtype=DOUBLE)
    matrix[0, :2], matrix[3, :2] = torch.tensor([1.0, -1.0], dtype=DOUBLE), torch.tensor([-1.0, 1.0], dtype=DOUBLE)
    matrix[1, 3] = 1e-200
    _, rows, columns = pushed(function, matrix)
    expect.equal((rows, columns), (torch.tensor([0, 1, 3]), torch.tensor([0, 1, 3])), "rows and columns")
    large = torch.zeros(300, 290)
    large[299, 280] = 1.0
    _, rows, columns = pushed(function, large)
    expect.equal((rows, columns), (torch.tensor([299]), torch.tensor([280])), "rows and columns of one entry")
    matrix[2, 4] = torch.nan
    _, rows, columns = pushed(function, matrix)
    expect.equal((rows, columns), (torch.arange(4), torch.tensor([0, 1, 3, 4])), "rows and columns with a NaN")


# --- 4.5b concatenated_matmul -----------------------------------------------------------------------------------------


@concatenated_matmul.law(
    "inputs 1, 2, NaN; dense 10 | 20 at rows 0, 2 and column 1, out of 4: 20, 0, 40, 0; a NaN that is read stays",
    hint="Read only `columns` of the inputs, multiply by dense.T, and write the result to `rows` of zeros. nan_to_num "
    "would hide a network that has diverged.",
    trials=1,
)
def product_example(function, draw):
    inputs, dense, rows = torch.tensor([[1.0, 2.0, torch.nan]]), torch.tensor([[10.0], [20.0]]), torch.tensor([0, 2])
    got = function(inputs, dense, rows, torch.tensor([1]), 4)
    expect.close(got, torch.tensor([[20.0, 0.0, 40.0, 0.0]]))
    got = function(inputs, dense, rows, torch.tensor([2]), 4)
    expect.true(got[:, rows].isnan().all(), "a NaN that is read does not reach the stored rows", "NaN", got)


@concatenated_matmul.law(
    "it is inputs @ matrix.T, and what is not in `columns` is not read: NaN or infinity may stand there",
    hint="No full matrix, no product with a mask: 0 · NaN is NaN.",
    trials=2,
)
def product_full(function, draw):
    batch, ins, outs = draw.size(1, 7), draw.size(3, 300), draw.size(2, 300)
    tolerances = {torch.float32: (1e-4, 1e-3), DOUBLE: (1e-9, 1e-9), torch.float16: (2e-2, 0.1)}
    for dtype, (rtol, atol) in (tolerances | {torch.bfloat16: (0.1, 0.3)}).items():
        rows = draw.permutation(outs)[: draw.integer(1, outs)].sort().values
        columns = draw.permutation(ins)[: draw.integer(1, ins - 1)].sort().values
        dense, inputs = draw.normal(len(rows), len(columns), dtype=dtype), draw.normal(batch, ins, dtype=dtype)
        matrix = torch.zeros(outs, ins, dtype=DOUBLE)
        matrix[rows[:, None], columns] = dense.double()
        wanted = inputs.double() @ matrix.T
        unread = torch.ones(ins, dtype=torch.bool)
        unread[columns] = False
        for value in (torch.nan, torch.inf):
            inputs[:, unread] = value
            got = function(scattered(inputs), scattered(dense), rows, columns, outs)
            expect.same_kind(got, inputs.new_zeros(batch, outs))
            expect.close(got.double(), wanted, f"the product, with {value} in unread inputs,", rtol, atol)


@concatenated_matmul.law("rows that are not stored are exactly 0, all of them if nothing is stored", trials=2)
def product_zeros(function, draw):
    inputs, none = draw.normal(3, 5, dtype=DOUBLE), torch.zeros(0, dtype=torch.int64)
    expect.equal(function(inputs, inputs.new_zeros(0, 0), none, none, 4), inputs.new_zeros(3, 4), "nothing stored")
    rows, dense = torch.tensor([1, 130]), draw.normal(2, 5, dtype=DOUBLE)
    got = function(inputs, dense, rows, torch.arange(5), 260)
    expect.close(got[:, rows], inputs @ dense.T, "the stored rows")
    expect.true(int((got != 0).sum()) == 6, "rows that are not stored are not 0", 6, int((got != 0).sum()))


# --- 4.6 shrink_network -----------------------------------------------------------------------------------------------

NAMES = ("z.weight", "z.bias", "conv.w", "conv.b", "hidden", "a", "out.weight", "out.bias")
State = dict[str, Tensor]


def lenet_state(draw: Draw, first: int, second: int, units: int, channels: int = 1, classes: int = 4) -> State:
    """A small network by odd names, for images of 16 × 16 pixels (each filter of conv2 owns one column), or 28 × 28."""
    shapes = ((first, channels, 5, 5), (second, first, 5, 5), (units, second), (classes, units))
    parts = [draw.normal(*each, dtype=DOUBLE) for shape in shapes for each in (shape, shape[:1])]
    return dict(zip(NAMES, parts, strict=True))


def wide_columns(draw: Draw, state: State, positions: int) -> State:
    """The same with so many columns for each filter of conv2: 16 for images of 28 × 28."""
    units, second = state["hidden"].shape
    return state | {"hidden": draw.normal(units, second * positions, dtype=DOUBLE)}


def sizes_of(state: State) -> tuple[int, int, int]:
    """Filters, filters, units."""
    return len(state["z.weight"]), len(state["conv.w"]), len(state["hidden"])


def shrunk(function: Callable, state: State, threshold: float, wanted: tuple[int, int, int]) -> State:
    """The smaller state, after its form and sizes have been looked at."""
    got = function(state, threshold)
    expect.same_kind(got, state, "the state")
    expect.true(list(got) == list(state), "the names are in another order", list(state), list(got))
    for name, value in state.items():
        expect.same_kind(got[name], value.new_zeros(got[name].shape), f"state[{name!r}]")
    expect.true(sizes_of(got) == wanted, "filters, filters and units that are left", wanted, sizes_of(got))
    return got


def same_logits(got: State, state: State, images: Tensor) -> None:
    expect.close(lenet_forward(got, images), lenet_forward(state, images), "the logits", rtol=1e-7, atol=1e-7)


@shrink_network.law(
    "a dead filter in each convolution and a dead unit: they go, and the logits stay, bias by bias",
    hint="Use remove_filters for each pair of neighbours. A ReLU stands after the third layer only.",
    trials=2,
)
def network_dead(function, draw):
    state = wide_columns(draw, lenet_state(draw, 3, 4, 5), 16)
    same = shrunk(function, state, 0.0, (3, 4, 5))
    expect.close(same, state, "the state of a network without zeros")
    for dtype in HALVES:
        shrunk(function, {name: value.to(dtype) for name, value in state.items()}, 0.0, (3, 4, 5))
    state["z.weight"][1], state["conv.w"][2], state["hidden"][3] = 0, 0, 0
    state["hidden"][0] = 0
    state["a"][0], state["a"][3] = -2.0, 3.0  # one constant that the ReLU cuts, one that it lets through
    state["conv.b"][2] = -1.5
    got = shrunk(function, state, 0, (2, 3, 3))
    same_logits(got, state, draw.normal(3, 1, 28, 28, dtype=DOUBLE))


@shrink_network.law(
    "what nobody reads goes too: a filter with zeros in the next layer, a unit with a column of zeros",
    hint="A unit may go for either reason: its own weights, or the next layer's weights for it.",
    trials=2,
)
def network_unread(function, draw):
    state = wide_columns(draw, lenet_state(draw, 4, 5, 6), 16)
    state["conv.w"][:, 2], state["hidden"][:, 16:32], state["out.weight"][:, 4] = 0, 0, 0
    got = shrunk(function, state, 0.0, (3, 4, 5))
    same_logits(got, state, draw.normal(2, 1, 28, 28, dtype=DOUBLE))


@shrink_network.law(
    "death spreads forwards: a filter that saw only a dead channel is dead, and so is the unit that saw only that",
    hint="After a removal look again: the next layer may have lost all that it had. Go on until nothing changes.",
    trials=1,
)
def network_forwards(function, draw):
    state = lenet_state(draw, 3, 4, 5)
    state["z.weight"][0] = 0
    state["conv.w"][1, 1:] = 0  # filter 1 sees only the dead one
    state["hidden"][2, [0, 2, 3]] = 0  # unit 2 sees only filter 1
    got = shrunk(function, state, 0.0, (2, 3, 4))
    same_logits(got, state, draw.normal(3, 1, 16, 16, dtype=DOUBLE))


@shrink_network.law(
    "death spreads backwards: a unit that nobody reads lets its filter die, and that the filter before",
    hint="One sweep from the first layer to the last is not enough, nor one back: repeat until nothing changes.",
    trials=1,
)
def network_backwards(function, draw):
    state = lenet_state(draw, 3, 4, 5)
    state["out.weight"][:, 2] = 0  # nobody reads unit 2
    state["hidden"][[0, 1, 3, 4], 1] = 0  # only unit 2 reads filter 1
    state["conv.w"][[0, 2, 3], 0] = 0  # only filter 1 reads filter 0 of the first layer
    got = shrunk(function, state, 0.0, (2, 3, 4))
    same_logits(got, state, draw.normal(3, 1, 16, 16, dtype=DOUBLE))
    state["z.weight"][2], state["conv.w"][3, :2] = 0, 0  # and forwards: filter 3 sees only the dead filter 2
    same_logits(shrunk(function, state, 0.0, (1, 2, 4)), state, draw.normal(3, 1, 16, 16, dtype=DOUBLE))


@shrink_network.law(
    "a channel of the image that is all 0 stays, and a class that is always its bias; a layer without units is refused",
    hint="Images keep their channels, and logits their classes. ValueError if a layer would lose all.",
    trials=1,
)
def network_ends(function, draw):
    state = lenet_state(draw, 3, 4, 5, channels=2)
    state["z.weight"][:, 1], state["out.weight"][0] = 0, 0
    got = shrunk(function, state, 0.0, (3, 4, 5))
    same_logits(got, state, draw.normal(2, 2, 16, 16, dtype=DOUBLE))
    for name in ("z.weight", "conv.w", "hidden", "out.weight"):
        nothing = state | {name: torch.zeros_like(state[name])}
        expect_value_error(function, f"a network whose {name!r} is 0", nothing, 0.0)
    expect_value_error(function, "a threshold above all norms", state, 1e6)


@shrink_network.law(
    "slices of a norm up to the threshold count as 0, judged on the given state; channels of images and classes stay",
    hint="First all norms, then all zeros, then the removals; a norm equal to the threshold is at most it. What reads "
    "a channel of the image, or makes a class, is not judged.",
    trials=2,
    share=0.25,
)
def network_threshold(function, draw):
    state, t = lenet_state(draw, 4, 5, 6, channels=2), 0.5
    for name in NAMES[::2]:  # nothing is short but what follows
        state[name] = state[name] + 9 * state[name].sign()
    state["z.weight"][:, 1], state["out.weight"][0] = 0, 0.15  # short, and stay as they are
    state["z.weight"][0, 1, 0, 0] = 0.4
    state["z.weight"][1] = 0
    state["z.weight"][1, 0, 0, :2] = torch.tensor([0.3, 0.4], dtype=DOUBLE)  # a norm of 0.5
    state["conv.w"][:, 2] = 0
    state["conv.w"][3, 2, 0, 0] = 0.4
    # Filter 0 is long enough, but only together with a channel that is not
    state["conv.w"][0] = 0
    state["conv.w"][0, 2, 0, 0], state["conv.w"][0, 0, 0, 0] = 0.3, 0.45
    state["hidden"][2:4], state["hidden"][2, 0], state["hidden"][3, 0] = 0, 0.4, 0.6
    state["hidden"][:, 4], state["hidden"][0, 4] = 0, 0.4
    state["out.weight"][:, 5] = 0.2
    zeroed = {name: value.clone() for name, value in state.items()}
    zeroed["z.weight"][1], zeroed["conv.w"][:, 2], zeroed["hidden"][2] = 0, 0, 0
    zeroed["hidden"][:, 4], zeroed["out.weight"][:, 5] = 0, 0
    got = shrunk(function, state, t, (2, 4, 4))
    same_logits(got, zeroed, draw.normal(3, 2, 16, 16, dtype=DOUBLE))


@shrink_network.law(
    "networks with zeros everywhere: as few units as the dead and the unread leave, and the same logits",
    hint="If all other laws hold, this one does: repeat until a whole round removes nothing.",
    trials=3,
    share=0.25,
)
def network_random(function, draw):
    for _ in range(2):
        state = wide_columns(draw, lenet_state(draw, draw.integer(4, 7), draw.integer(5, 8), draw.integer(6, 9)), 16)
        first, second, units = sizes_of(state)
        # Units are joined here and there; what is not joined to image and logits is dead
        joins = [draw.mask(first, 1, keep=0.8), draw.mask(second, first, keep=0.3), draw.mask(units, second, keep=0.3)]
        joins.append(draw.mask(4, units, keep=0.4))
        for mask in joins:
            mask[0, 0] = True
        state["z.weight"] *= joins[0][..., None, None]
        state["conv.w"] *= joins[1][..., None, None]
        state["hidden"] *= joins[2].repeat_interleave(16, dim=1)
        state["out.weight"] *= joins[3]
        seen = [joins[0].any(dim=1)]
        for mask in joins[1:3]:
            seen.append((mask & seen[-1]).any(dim=1))
        read = [joins[3].any(dim=0)]
        for mask in (joins[2], joins[1]):
            read.insert(0, (mask & read[0][:, None]).any(dim=0))
        wanted = tuple(int((a & b).sum()) for a, b in zip(seen, read, strict=True))
        got = shrunk(function, state, 0.0, wanted)
        same_logits(got, state, draw.normal(2, 1, 28, 28, dtype=DOUBLE))
