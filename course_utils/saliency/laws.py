"""Laws of unit 02, pruning criteria and Optimal Brain Damage."""

import itertools
import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Categorical

from course_utils.checks import expect
from course_utils.checks.draw import Draw
from course_utils.checks.engine import Unit
from course_utils.checks.expect import HALVES

unit = Unit("saliency")
magnitude_saliency = unit.exercise("2.1", "magnitude_saliency", points=2, minutes=5, difficulty=1)
mean_activation = unit.exercise("2.2a", "mean_activation", points=2, minutes=5, difficulty=1)
average_percentage_of_zeros = unit.exercise("2.2b", "average_percentage_of_zeros", points=2, minutes=5, difficulty=1)
activation_entropy = unit.exercise("2.2c", "activation_entropy", points=3, minutes=25, difficulty=3)
taylor_saliency = unit.exercise("2.2d", "taylor_saliency", points=2, minutes=10, difficulty=2)
backpropagate_curvature = unit.exercise("2.3", "backpropagate_curvature", points=5, minutes=40, difficulty=5)
obd_saliency = unit.exercise("2.4", "obd_saliency", points=2, minutes=5, difficulty=1)
predicted_loss_increase = unit.exercise("2.5", "predicted_loss_increase", points=2, minutes=5, difficulty=1)
keep_top = unit.exercise("2.6", "keep_top", points=4, minutes=20, difficulty=4)
obd_prune = unit.exercise("2.7", "obd_prune", points=4, minutes=15, difficulty=3, fresh=True)
obs_saliency = unit.exercise("2.8a", "obs_saliency", points=2, minutes=15, difficulty=2)
obs_update = unit.exercise("2.8b", "obs_update", points=3, minutes=15, difficulty=3, fresh=True)

FLOATS = (torch.float32, torch.float64)
DTYPES = (*FLOATS, *HALVES)
# How far a right result may be from the exact one, by dtype: a float64 result computed in float32 is outside
CLOSE = {torch.float32: {"rtol": 1e-4, "atol": 1e-5}, torch.float64: {"rtol": 1e-10, "atol": 1e-12}}
CLOSE |= {dtype: {"rtol": 4 * torch.finfo(dtype).eps, "atol": 2 * torch.finfo(dtype).eps} for dtype in HALVES}


def feature_shape(draw: Draw) -> tuple[int, ...]:
    """[batch, channels, ...] of an activation: with no space in the first trial, then two axes, then three."""
    space = ((), (2, draw.integer(3, 4)), (2, draw.integer(2, 3), 2))[min(draw.trial, 2)]
    return (draw.integer(2, 4), draw.integer(5, 7), *space)


def weight_shape(draw: Draw) -> tuple[int, ...]:
    return ((draw.integer(1, 4),), (2, draw.integer(3, 4)), (3, 2, 3, 3))[min(draw.trial, 2)]


# --- 2.1 magnitude_saliency -------------------------------------------------------------------------------------------


@magnitude_saliency.law(
    "the weights 3, −4 and 0 have saliencies 3, 4 and 0 by default, and 9, 16 and 0 at order 2",
    hint="Drop the sign, then raise to the power `order`, weight by weight.",
    trials=1,
)
def sizes(function, draw):
    weight = torch.tensor([[3.0, -4.0, 0.0]])
    expect.close(function(weight), torch.tensor([[3.0, 4.0, 0.0]]))
    expect.close(function(weight, 1), torch.tensor([[3.0, 4.0, 0.0]]))
    expect.close(function(weight, order=2), torch.tensor([[9.0, 16.0, 0.0]]))
    expect.close(function(weight, 3.0), torch.tensor([[27.0, 64.0, 0.0]]))
    expect.close(function(weight, 0.5), torch.tensor([[3.0, 4.0, 0.0]]).sqrt(), "the saliency at order 0.5")


@magnitude_saliency.law(
    "the saliencies of a tensor add up to the p-th power of its Lp norm",
    hint="Each weight gives |w| to the power p, in the dtype that comes in.",
)
def norm(function, draw):
    for order, dtype in itertools.product((1, 2, 3), FLOATS):
        weight = draw.normal(*weight_shape(draw), dtype=dtype)
        got = function(weight, order)
        expect.same_kind(got, weight)
        expect.true((got >= 0).all(), "a saliency is negative", got=got)
        wanted = torch.linalg.vector_norm(weight, order) ** order
        expect.close(got.sum(), wanted, "the sum of the saliencies", **CLOSE[dtype])


@magnitude_saliency.law(
    "each weight has its own saliency: same shape and dtype, and the other weights do not matter",
    hint="No sum, mean or maximum over the tensor: pruning ranks single weights. NumPy has no bfloat16.",
)
def weight_by_weight(function, draw):
    for dtype in DTYPES:
        weight, order = draw.normal(*weight_shape(draw), scale=2, dtype=dtype), draw.choice([1, 2])
        weight = weight.movedim(0, -1)  # read by index, not as it lies in memory
        got = function(weight, order)
        expect.same_kind(got, weight)
        alone = [function(w, order) for w in weight.flatten().split(1)]
        expect.close(got.flatten(), torch.cat(alone), "the tensor of saliencies", **CLOSE[dtype])


@magnitude_saliency.law(
    "very large and very small weights keep their size; no weights have no saliencies",
    hint="√(w²) overflows: use .abs(). It takes a tensor of any shape.",
    trials=1,
)
def magnitude_extremes(function, draw):
    weight = torch.tensor([1e30, -1e30, 1e-30, -1e-30])
    expect.close(function(weight), torch.tensor([1e30, 1e30, 1e-30, 1e-30]), rtol=1e-5, atol=0)
    expect.equal(function(torch.zeros(0, 3)), torch.zeros(0, 3), "the saliency of no weights")


# --- 2.2a mean_activation ---------------------------------------------------------------------------------------------


@mean_activation.law(
    "two examples, two channels, two positions: [[[1, 3], [0, −2]], [[5, 7], [0, −6]]] gives [4, −2]",
    hint="Average over every axis but the channels', axis 1. Signs stay, and a mean with a NaN in it is NaN.",
    trials=1,
)
def mean_example(function, draw):
    activations = torch.tensor([[[1.0, 3.0], [0.0, -2.0]], [[5.0, 7.0], [0.0, -6.0]]])
    expect.close(function(activations), torch.tensor([4.0, -2.0]))
    expect.close(function(activations[:1]), torch.tensor([2.0, -1.0]), "the mean of the first example alone")
    activations[1, 0, 0] = math.nan
    expect.close(function(activations), torch.tensor([math.nan, -2.0]), "the mean of a channel with a NaN")


@mean_activation.law(
    "a channel that is constant has that constant as its mean, in every dtype",
    hint="[batch, channels, ...] -> [channels], of the dtype that comes in. float16 cannot hold 70,000: .mean() can. "
    "NumPy has no bfloat16: .double() first.",
)
def mean_constant(function, draw):
    for dtype in DTYPES:
        shape = feature_shape(draw)
        value = draw.normal(shape[1], scale=3, dtype=dtype)
        activations = value.view(1, -1, *[1] * (len(shape) - 2)).expand(shape).contiguous()
        expect.close(function(activations), value, **CLOSE[dtype])
        expect.close(function(activations[:1]), value, "the mean of a batch of 1", **CLOSE[dtype])
    for dtype in HALVES:
        many = torch.ones(2, 1, 200, 175, dtype=dtype)
        expect.close(function(many), torch.ones(1, dtype=dtype), "the mean of 70,000 ones in half precision")


@mean_activation.law(
    "it is the mean that torch's batch normalization finds", hint="All examples and all positions count the same."
)
def mean_batch_norm(function, draw):
    for dtype in FLOATS:
        activations = draw.normal(*feature_shape(draw), dtype=dtype) + 1
        running = torch.zeros(activations.shape[1], dtype=dtype)
        F.batch_norm(activations, running, torch.ones_like(running), training=True, momentum=1.0)
        expect.close(function(activations), running, **CLOSE[dtype])


@mean_activation.law(
    "the order of examples and positions does not matter",
    hint="No position is special; one channel gives [1], which .squeeze() would spoil.",
    trials=3,
)
def mean_permuted(function, draw):
    activations = draw.normal(draw.size(2, 4), 5, draw.size(1, 3), 3)
    shuffled = activations[draw.permutation(len(activations))].flip(3).transpose(2, 3)
    expect.close(function(shuffled), function(activations), atol=1e-5)
    expect.close(function(activations[:, [4]]), function(activations)[[4]], "one channel alone", atol=1e-5)


# --- 2.2b average_percentage_of_zeros ---------------------------------------------------------------------------------


@average_percentage_of_zeros.law(
    "two examples, two channels, two positions: [[[0, −3], [0, 0]], [[5, 7], [0, 1]]] gives [0.25, 0.75]",
    hint="Count the zeros of a channel, not what is below 0, over batch and space; divide by how many entries it has.",
    trials=1,
)
def zeros_example(function, draw):
    activations = torch.tensor([[[0.0, -3.0], [0.0, 0.0]], [[5.0, 7.0], [0.0, 1.0]]])
    expect.close(function(activations), torch.tensor([0.25, 0.75]))


@average_percentage_of_zeros.law(
    "k zeros among n entries of a channel give k/n, wherever they are",
    hint="A fraction from 0 to 1, not a percentage, one per channel. A count divided by a number is float32: turn the "
    "count into the dtype of the activations first.",
)
def zeros_counted(function, draw):
    for dtype in DTYPES:
        shape = (3, *feature_shape(draw)[1:])
        entries = torch.Size(shape).numel() // shape[1]
        zeros = torch.tensor([0, entries, 1] + [draw.integer(0, entries) for _ in range(shape[1] - 3)])
        channels = draw.normal(shape[1], entries, dtype=dtype)
        for row, count in zip(channels, zeros.tolist(), strict=True):
            row[draw.permutation(entries)[:count]] = 0
        activations = channels.view(shape[1], shape[0], *shape[2:]).transpose(0, 1).contiguous()
        expect.close(function(activations), zeros.to(dtype) / entries, **CLOSE[dtype])


@average_percentage_of_zeros.law(
    "only exact zeros count: not 1e-30, not negative values, not NaN; −0.0 is a zero; many are counted exactly",
    hint="Compare with == 0: no threshold, and no sign. float16 cannot count to 70,000: take the mean.",
    trials=1,
)
def exact_zeros(function, draw):
    activations = torch.tensor([[1e-30, -2.0, 0.0, -1e-30], [1e-8, -1.0, -0.0, 3.0]])
    expect.close(function(activations), torch.tensor([0.0, 0.0, 1.0, 0.0]))
    expect.close(function(activations[:1]), torch.tensor([0.0, 0.0, 1.0, 0.0]), "APoZ of a batch of 1")
    expect.close(function(activations[:, :1]), torch.tensor([0.0]), "APoZ of one channel alone")
    odd = torch.tensor([[math.nan, math.inf, -math.inf, 0.0]])
    expect.close(function(odd), torch.tensor([0.0, 0.0, 0.0, 1.0]), "APoZ of a zero among NaN and infinities")
    for dtype in HALVES:
        many = torch.zeros(1, 1, 300, 240, dtype=dtype)
        expect.close(function(many), torch.ones(1, dtype=dtype), "APoZ of 72,000 zeros in half precision")
    tiny = torch.tensor([[1e-60, 5e-324, 0.0]], dtype=torch.float64)
    expect.close(function(tiny), torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64), "APoZ of float64 activations")


@average_percentage_of_zeros.law(
    "after a ReLU it is the fraction of what was not positive", hint="That is why Hu 2016 counts zeros.", trials=2
)
def zeros_after_relu(function, draw):
    responses = draw.normal(40, 3, 4)
    low, high = function(F.relu(responses - 2)), function(F.relu(responses + 2))
    expect.same_kind(low, torch.zeros(3))
    expect.same_kind(high, torch.zeros(3))
    expect.true((low > 0.9).all(), "channels that are nearly always silent: APoZ is too low", "above 0.9", low)
    expect.true((high < 0.1).all(), "channels that are nearly always active: APoZ is too high", "below 0.1", high)


# --- 2.2c activation_entropy ------------------------------------------------------------------------------------------


def responses_in_bins(draw: Draw, bins: int, batch: int, channels: int) -> tuple[Tensor, Tensor]:
    """Responses [batch, channels] well inside their bins, each channel on its own scale, and the counts of the bins."""
    responses, counts = torch.zeros(batch, channels, dtype=torch.float64), torch.zeros(channels, bins)
    for c in range(channels):
        index = torch.from_numpy(draw.rng.integers(0, bins, batch))
        index[:2] = torch.tensor([0, bins - 1])
        place = index + draw.rand(batch, low=0.2, high=0.8, dtype=torch.float64)
        place[:2] = torch.tensor([0.0, bins])  # the smallest and the largest response
        responses[:, c] = (draw.uniform(-3, 3) + place * draw.uniform(0.1, 2))[draw.permutation(batch)]
        counts[c] = torch.bincount(index, minlength=bins)
    return responses, counts


@activation_entropy.law(
    "responses that fall into the bins n₁, n₂, … times have the entropy of n₁, n₂, … (by PyTorch), channel by channel",
    hint="Each channel has its own smallest and largest response; natural logarithm; empty bins add 0.",
)
def entropy_of_counts(function, draw):
    for dtype, channels in zip(FLOATS, (3, 2), strict=True):
        bins = (draw.size(2, 7), draw.size(2, 7), 40)[draw.trial]
        responses, counts = responses_in_bins(draw, bins, draw.integer(9, 14), channels)
        wanted = Categorical(counts.double()).entropy().to(dtype)
        # Not to all digits of float64 yet: an integer count divided, which is float32, would hide worse faults
        expect.close(function(responses.to(dtype), bins), wanted)


@activation_entropy.law(
    "only the mean over space of each example counts",
    hint="Average each channel over its positions first; then put the examples' averages into bins.",
)
def entropy_of_means(function, draw):
    bins, shape = draw.integer(3, 6), ((4,), (3, 2), (2, 2, 3))[min(draw.trial, 2)]
    responses, counts = responses_in_bins(draw, bins, 10, 3)
    ripple = draw.normal(10, 3, torch.Size(shape).numel(), scale=5, dtype=torch.float64)
    ripple = (ripple - ripple.mean(2, keepdim=True)).view(10, 3, *shape)
    activations = responses.view(10, 3, *[1] * len(shape)) + ripple
    wanted = Categorical(counts.double()).entropy()
    expect.close(function(activations, bins), wanted)


@activation_entropy.law(
    "a constant channel has entropy 0, and so has a batch of 1",
    hint="Smallest = largest: do not divide by 0.",
    trials=2,
)
def entropy_constant(function, draw):
    responses, _ = responses_in_bins(draw, 4, 8, 3)
    alone = function(responses, 4)
    expect.same_kind(alone, torch.zeros(3, dtype=torch.float64))
    responses[:, 1] = draw.normal(1, dtype=torch.float64)
    expect.close(function(responses, 4), torch.stack([alone[0], torch.zeros_like(alone[0]), alone[2]]))
    expect.close(function(draw.normal(1, 3, 2), 5), torch.zeros(3), "the entropy of a batch of 1")
    expect.close(function(torch.zeros(4, 2), 3), torch.zeros(2), "the entropy of zeros")


@activation_entropy.law(
    "as many responses in each of B bins give log B nats; one bin gives 0",
    hint="Natural logarithm, counts divided by the batch.",
    trials=2,
)
def entropy_uniform(function, draw):
    bins, each = draw.integer(2, 6), draw.integer(1, 3)
    steps = torch.linspace(0, 1, bins * each).view(-1, 1) * torch.tensor([[1.0, -20.0]]) + 7
    expect.close(function(steps[draw.permutation(len(steps))], bins), torch.full((2,), float(bins)).log())
    expect.close(function(steps, 1), torch.zeros(2), "the entropy with one bin")
    many = torch.cat([torch.zeros(300, 1), torch.ones(100, 1)])[draw.permutation(400)]
    wanted = Categorical(torch.tensor([[0.75, 0.25]])).entropy()
    expect.close(function(many, 2), wanted, "the entropy of 300 responses in one bin and 100 in another")


@activation_entropy.law(
    "responses 0, 1, 1, 4 in four bins: 0 | 1, 1 | – | 4; responses 0, 3.5, 4: 0 | – | – | 3.5, 4",
    hint="A value on an inner edge belongs to the upper bin, the largest value to the last bin. The dtype stays; NumPy "
    "has no bfloat16: .double() first.",
    trials=1,
)
def entropy_edges(function, draw):
    wanted = Categorical(torch.tensor([[1.0, 2.0, 1.0]])).entropy()
    for dtype in DTYPES:
        expect.close(function(torch.tensor([[0.0], [1.0], [1.0], [4.0]], dtype=dtype), 4), wanted.to(dtype))
    expect.close(function(torch.tensor([[1.0], [4.0], [0.0], [1.0]]), 4), wanted, "the same responses in another order")
    wanted = Categorical(torch.tensor([[1.0, 2.0]])).entropy()
    expect.close(function(torch.tensor([[0.0], [3.5], [4.0]]), 4), wanted)


@activation_entropy.law(
    "another unit or another zero of the responses changes nothing",
    hint="Bins go from the smallest to the largest response: no fixed range, no constant in a divisor, no .float().",
)
def entropy_scale(function, draw):
    responses, _ = responses_in_bins(draw, 4, 12, 2)
    scale, zero = (1e-30, 1e-4, 1e5)[min(draw.trial, 2)] * draw.uniform(0.5, 2), draw.uniform(5, 9) * 1e8
    got = function(responses * scale, 4)
    expect.close(got, function(responses, 4), "the entropy of the responses in another unit", rtol=1e-6)
    expect.close(function(zero - responses, 4), got, "the entropy of the responses turned round", rtol=1e-6)


@activation_entropy.law(
    "in float64 it is right to ten digits",
    hint="A count divided by a number is float32: turn the counts into the dtype of the activations first. Leave empty "
    "bins out: no ε in the logarithm.",
)
def entropy_digits(function, draw):
    bins = (draw.size(2, 7), draw.size(2, 7), 40)[draw.trial]
    responses, counts = responses_in_bins(draw, bins, draw.integer(9, 14), 2)
    wanted = Categorical(counts.double()).entropy()
    expect.close(function(responses, bins), wanted, **CLOSE[torch.float64])


# --- 2.2d taylor_saliency ---------------------------------------------------------------------------------------------


@taylor_saliency.law(
    "one channel: products 1, −3 in the first example and 4, 2 in the second give (|−1| + |3|) / 2 = 2",
    hint="Mean over space, then absolute value, then mean over the batch: in this order, in the dtype that comes in.",
    trials=1,
)
def taylor_example(function, draw):
    for dtype in DTYPES:
        activations = torch.tensor([[[1.0, 3.0]], [[2.0, 1.0]]], dtype=dtype)
        gradients = torch.tensor([[[1.0, -1.0]], [[2.0, 2.0]]], dtype=dtype)
        expect.close(function(activations, gradients), torch.tensor([2.0], dtype=dtype))


def activations_and_gradients(draw: Draw, wanted: Tensor, space: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Random activations and gradients whose products average over space to `wanted` [batch, channels]."""
    positions = torch.Size(space).numel()
    activations = draw.normal(*wanted.shape, positions, dtype=torch.float64)
    activations = activations + activations.sign() * 0.1  # none is 0
    gradients = draw.normal(*wanted.shape, positions, dtype=torch.float64)
    missing = wanted.unsqueeze(2) - (activations * gradients).mean(2, keepdim=True)
    gradients = gradients + missing / activations  # adds `missing` to each product, and so to their mean
    return activations.view(*wanted.shape, *space), gradients.view(*wanted.shape, *space)


@taylor_saliency.law(
    "examples whose products average over space to ±t have a saliency that is the mean of the t",
    hint="|mean over space of a·g| for each example and channel; only then average over the batch.",
)
def taylor_constructed(function, draw):
    space = ((), (draw.integer(2, 5),), (2, 3))[min(draw.trial, 2)]
    for batch in (1, draw.integer(2, 5)):
        sizes = draw.rand(batch, 6, low=0.1, high=3, dtype=torch.float64)
        signs = draw.normal(batch, 6, dtype=torch.float64).sign()
        if batch > 1:
            signs[0], signs[1] = 1, -1
        activations, gradients = activations_and_gradients(draw, sizes * signs, space)
        expect.close(function(activations, gradients), sizes.mean(0), **CLOSE[torch.float64])
        got = function(activations.float(), gradients.float())
        expect.close(got, sizes.mean(0).float(), "the saliency in float32", rtol=2e-3, atol=1e-3)


@taylor_saliency.law(
    "activations and gradients play the same part, and the sign of either does not matter",
    hint="Their product, then the absolute value of its mean: .abs(), not √(x² + ε).",
)
def taylor_symmetric(function, draw):
    shape = feature_shape(draw)
    activations, gradients = draw.normal(*shape, dtype=torch.float64), draw.normal(*shape, dtype=torch.float64)
    got = function(activations, gradients)
    expect.same_kind(got, torch.zeros(shape[1], dtype=torch.float64))
    expect.close(function(gradients, activations), got, "with the two exchanged", rtol=1e-9)
    small = function(activations, -1e-200 * gradients)  # whose square is 0
    expect.close(small, 1e-200 * got, "with −1e-200 times the gradients", rtol=1e-9, atol=0)
    expect.true((got >= 0).all(), "a saliency is negative", got=got)


@taylor_saliency.law(
    "two batches merged have the mean of their saliencies, weighted by their sizes",
    hint="The absolute value is taken for each example, before the mean over the batch.",
)
def taylor_merged(function, draw):
    shape = feature_shape(draw)[1:]
    parts = [[draw.normal(n, *shape) for _ in range(2)] for n in (1, draw.integer(2, 4))]
    merged = [torch.cat(pair) for pair in zip(*parts, strict=True)]
    sizes = [len(a) for a, _ in parts]
    wanted = sum(n * function(a, g) for n, (a, g) in zip(sizes, parts, strict=True)) / sum(sizes)
    expect.close(function(*merged), wanted)


@taylor_saliency.law(
    "to first order it is what the loss changes by when the channel is scaled down a little",
    hint="Σ over space of g·(−ε·a) is the change of the loss for a channel scaled by 1 − ε.",
    trials=2,
)
def taylor_first_order(function, draw):
    activations = draw.normal(1, 3, 2, 2, dtype=torch.float64).requires_grad_()
    kernel = draw.normal(4, 3, 2, 2, dtype=torch.float64)

    def loss(a: Tensor) -> Tensor:
        return F.conv2d(a, kernel).tanh().sum()

    (gradients,) = torch.autograd.grad(loss(activations), activations)
    with torch.no_grad():
        changes, step = [], 1e-6
        for channel in range(3):
            scale = torch.ones(1, 3, 1, 1, dtype=torch.float64)
            scale[0, channel] = 1 - step
            changes.append(((loss(activations * scale) - loss(activations * (2 - scale))) / (2 * step)).abs())
    expect.close(function(activations.detach(), gradients), torch.stack(changes) / 4, rtol=1e-4, atol=1e-7)


# --- 2.3 backpropagate_curvature --------------------------------------------------------------------------------------


def hessian_diagonal(loss: Callable[[Tensor], Tensor], weight: Tensor) -> Tensor:
    """The exact second derivatives of a loss by each entry of a small weight.

    loss: of a stack of weights [n, *weight.shape], one loss for each, [n].
    """
    # One copy of the weight for each entry, and a shift of that entry alone: two backward passes give all of them.
    # (torch.autograd.functional.hessian would make the first check wait for what torch imports then.)
    shifts = torch.zeros(weight.numel(), dtype=weight.dtype, requires_grad=True)
    weights = weight + torch.diag(shifts).view(-1, *weight.shape)
    (slopes,) = torch.autograd.grad(loss(weights).sum(), shifts, create_graph=True)
    return torch.autograd.grad(slopes.sum(), shifts)[0].view(weight.shape)


class Net:
    """A small net in float64 on which the recursion can be tried: what it needs, and the exact diagonals by autograd.

    `fan_out_one`: every unit feeds one unit of the next layer only, so that the recursion is exact at any depth. Each
    example's loss is Σ_k g_k·(a_k − A_k) + ½ c_k (a_k − A_k)², A being the last layer's pre-activations as they are.
    """

    def __init__(self, draw: Draw, sizes: Sequence[int], batch: int, fan_out_one: bool = False, relu: bool = False):
        self.draw, self.relu = draw, relu
        self.weights = [
            draw.normal(b, a, scale=a**-0.5, dtype=torch.float64) + 0.3 for a, b in itertools.pairwise(sizes)
        ]
        if fan_out_one:
            for layer in range(1, len(self.weights)):
                receiver = torch.arange(sizes[layer]) % sizes[layer + 1]
                self.weights[layer] *= F.one_hot(receiver, sizes[layer + 1]).T
        self.gradient = draw.normal(batch, sizes[-1], dtype=torch.float64)
        self.curvature = draw.normal(batch, sizes[-1], dtype=torch.float64)
        x = draw.normal(batch, sizes[0], dtype=torch.float64)
        self.inputs, self.slopes, self.bends, self.pre_activations = [x], [], [], []
        for weight in self.weights:
            a = self.inputs[-1] @ weight.T
            self.pre_activations.append(a)
            positive = (a > 0).double()
            self.slopes.append(positive if relu else 1 - a.tanh() ** 2)
            self.bends.append(torch.zeros_like(a) if relu else -2 * a.tanh() * (1 - a.tanh() ** 2))
            self.inputs.append(a.relu() if relu else a.tanh())

    def arguments(self, first: int = 0) -> tuple:
        """The six arguments of `backpropagate_curvature`, for the layers from `first` on."""
        return (
            self.weights[first:],
            self.inputs[first:-1],
            self.slopes[first:-1],
            self.bends[first:-1],
            self.gradient,
            self.curvature,
        )

    def loss_from(self, hidden: Tensor, layer: int, weight: Tensor | None = None) -> Tensor:
        """Mean loss, if `layer` receives `hidden`; its weight may be another one, or a stack of others."""
        for i in range(layer, len(self.weights)):
            a = hidden @ (weight if weight is not None and i == layer else self.weights[i]).mT
            hidden = a.relu() if self.relu else a.tanh()
        shift = a - self.pre_activations[-1]
        return (self.gradient * shift + 0.5 * self.curvature * shift**2).sum(-1).mean(-1)

    def exact(self, layer: int) -> Tensor:
        """The exact diagonal of the Hessian by a layer's weight."""
        weight = self.weights[layer]
        return hessian_diagonal(lambda w: self.loss_from(self.inputs[layer], layer, w), weight)


def curvatures_of(function: Callable, arguments: tuple) -> list[Tensor]:
    got = function(*arguments)
    expect.same_kind(got, list(arguments[0]), "the list of curvatures")
    shapes, wanted = [getattr(h, "shape", None) for h in got], [weight.shape for weight in arguments[0]]
    turned = shapes == wanted[::-1] != wanted
    expect.true(not turned, "the list of curvatures begins with the last layer", "the first layer's first")
    for i, (h, weight) in enumerate(zip(got, arguments[0], strict=True)):
        expect.same_kind(h, weight, f"curvatures[{i}]")
    return got


@backpropagate_curvature.law(
    "one layer: exactly the diagonal of autograd's Hessian, for the cross-entropy",
    hint="a_i = Σ_j w_ij x_j: derive E twice by w_ij. Average over the batch. A net of one layer has no hidden layer.",
)
def last_layer(function, draw):
    batch, features, classes = draw.size(1, 4), draw.integer(2, 3), 4
    x, labels = draw.normal(batch, features, dtype=torch.float64), draw.labels(batch, classes)
    weight = draw.normal(classes, features, dtype=torch.float64)
    p = (x @ weight.T).softmax(1)
    arguments = ([weight], [x], [], [], p - F.one_hot(labels, classes), p * (1 - p))
    wanted = hessian_diagonal(lambda stack: torch.stack([F.cross_entropy(x @ w.T, labels) for w in stack]), weight)
    expect.close(curvatures_of(function, arguments)[0], wanted, "curvatures[0]", rtol=1e-8, atol=1e-12)
    concave = curvatures_of(function, (*arguments[:5], -arguments[5]))[0]
    expect.close(concave, -wanted, "curvatures[0] for the opposite output_curvature", rtol=1e-8, atol=1e-12)


@backpropagate_curvature.law(
    "two layers and a loss without cross terms, as the squared error: exact in both, with tanh units",
    hint="Derive E twice by a_j, through x_j = φ(a_j): the chain rule gives a term with φ′² and one with φ″. What is "
    "carried back is each example's own: the mean over the batch is for the results.",
)
def two_layers(function, draw):
    net = Net(draw, (2, 3, draw.integer(2, 4)), draw.size(1, 3))
    wanted = [net.exact(0), net.exact(1)]
    expect.close(curvatures_of(function, net.arguments()), wanted, "curvatures", rtol=1e-7, atol=1e-10)


@backpropagate_curvature.law(
    "any depth, if every unit feeds one unit of the next layer only: exact in all layers",
    hint="Carry the gradient back as well, layer by layer: φ″ is multiplied by ∂E/∂x of its own layer.",
)
def tree(function, draw):
    sizes = ((1, 1, 1, 1), (2, 4, 3, 2), (2, 5, 3, 2, 1))[min(draw.trial, 2)]
    net = Net(draw, sizes, draw.size(1, 3), fan_out_one=True)
    wanted = [net.exact(layer) for layer in range(len(net.weights))]
    expect.close(curvatures_of(function, net.arguments()), wanted, "curvatures", rtol=1e-7, atol=1e-10)


@backpropagate_curvature.law(
    "two layers with ReLU units: exact, and without bends the output's gradient does not matter",
    hint="Where φ″ = 0 only curvature comes back, through the squares of slopes and weights.",
    trials=2,
)
def relu_layers(function, draw):
    net = Net(draw, (2, 4, 3), draw.size(1, 3), relu=True)
    got = curvatures_of(function, net.arguments())
    expect.close(got, [net.exact(0), net.exact(1)], "curvatures", rtol=1e-7, atol=1e-10)
    net.gradient = net.gradient * 5 + 1
    expect.close(function(*net.arguments()), got, "curvatures for another gradient", rtol=1e-10, atol=1e-12)


@backpropagate_curvature.law(
    "deep and dense: each layer continues from the curvature of the layer above it",
    hint="Only the diagonal is carried back: between two layers, the squares of single weights, not of products.",
    trials=2,
)
def one_layer_at_a_time(function, draw):
    net = Net(draw, (2, 3, 4, 3), 1)
    weights, inputs, slopes, bends, gradient, curvature = net.arguments()
    # With a single input of 1, the curvature of a weight is that of its unit's pre-activation
    one = torch.ones(1, 1, dtype=torch.float64)
    above = curvatures_of(
        function,
        ([weights[1][:, :1], weights[2]], [one, inputs[2]], slopes[1:], bends[1:], gradient, curvature),
    )[0].T
    a = net.pre_activations[1].clone().requires_grad_()
    (gradient_above,) = torch.autograd.grad(net.loss_from(a.tanh(), 2), a)
    lower = (weights[:2], inputs[:2], slopes[:1], bends[:1], gradient_above, above)
    wanted = [*curvatures_of(function, lower), *curvatures_of(function, net.arguments(1))[1:]]
    expect.close(curvatures_of(function, net.arguments()), wanted, "curvatures", rtol=1e-7, atol=1e-10)


@backpropagate_curvature.law(
    "the curvature of a batch is the mean of its examples' curvatures",
    hint="Square before averaging, and divide by the batch once, at the end.",
)
def curvature_mean(function, draw):
    net = Net(draw, (3, 4, 2), draw.integer(2, 4))
    weights, *batches = net.arguments()
    alone = []
    for i in range(len(net.gradient)):
        one = [[t[i : i + 1] for t in b] if isinstance(b, list) else b[i : i + 1] for b in batches]
        alone.append(curvatures_of(function, (weights, *one)))
    wanted = [torch.stack(each).mean(0) for each in zip(*alone, strict=True)]
    got = curvatures_of(function, net.arguments())
    expect.close(got, wanted, "curvatures", rtol=1e-9, atol=1e-12)
    net.gradient, net.curvature = 1e-12 * net.gradient, 1e-12 * net.curvature
    small = [1e12 * h for h in curvatures_of(function, net.arguments())]
    expect.close(small, got, "10¹² times the curvatures of a loss 10⁻¹² times as large", rtol=1e-9, atol=1e-12)


@backpropagate_curvature.law(
    "the dtype stays: float32, float16, bfloat16",
    hint="Wrong numbers: the laws above say more. If this law alone fails: make no constants of a fixed dtype.",
    trials=1,
)
def curvature_float(function, draw):
    net = Net(draw, (3, 4, 2), 3)
    exact = [net.exact(0), net.exact(1)]
    for dtype, near in ((torch.float32, 1e-3), (torch.float16, 3e-2), (torch.bfloat16, 0.24)):
        arguments = tuple([t.to(dtype) for t in a] if isinstance(a, list) else a.to(dtype) for a in net.arguments())
        wanted = [h.to(dtype) for h in exact]
        expect.close(curvatures_of(function, arguments), wanted, "curvatures", rtol=near, atol=near / 10)


# --- 2.4 obd_saliency -------------------------------------------------------------------------------------------------


@obd_saliency.law(
    "weights 2, −2, 3, 5 with curvatures 3, 3, −1, 0 have saliencies 6, 6, −4.5, 0",
    hint="The second-order term of the Taylor series, with δw = −w. A saliency has the sign of its curvature, and the "
    "shape and dtype of the weight.",
    trials=1,
)
def obd_example(function, draw):
    for dtype in DTYPES:
        weight, curvature = (torch.tensor(x, dtype=dtype) for x in ([2.0, -2.0, 3.0, 5.0], [3.0, 3.0, -1.0, 0.0]))
        expect.close(function(weight, curvature), torch.tensor([6.0, 6.0, -4.5, 0.0], dtype=dtype))
    expect.equal(function(torch.tensor(2.0), torch.tensor(3.0)), torch.tensor(6.0), "the saliency of a number")
    expect.equal(function(torch.zeros(0, 3), torch.zeros(0, 3)), torch.zeros(0, 3), "the saliency of no weights")


@obd_saliency.law(
    "at the minimum of a quadratic loss it is exactly what deleting the weight costs",
    hint="A negative curvature gives a negative saliency: no abs, no clamp. The weight is squared; ½ belongs to it.",
)
def obd_quadratic(function, draw):
    for dtype in FLOATS:
        weight = draw.normal(*weight_shape(draw), scale=2, dtype=dtype)
        steepness = draw.normal(*weight.shape, dtype=dtype)
        # The loss is Σ steepness · (w − weight)²: each entry has its own parabola, with its minimum at the weight
        wanted = steepness * (torch.zeros_like(weight) - weight) ** 2
        hessian = hessian_diagonal(lambda w, at=weight, by=steepness: (by * (w - at) ** 2).flatten(1).sum(1), weight)
        expect.close(function(weight, hessian), wanted, **CLOSE[dtype])


@obd_saliency.law(
    "a weight twice as large is four times as salient; a curvature twice as large, twice",
    hint="The weight is squared, the curvature is not.",
)
def obd_scale(function, draw):
    shape = weight_shape(draw)
    weight, curvature = draw.normal(*shape, dtype=torch.float64), draw.normal(*shape, dtype=torch.float64)
    got = function(weight, curvature)
    expect.same_kind(got, weight)
    expect.true((got != 0).all(), "a saliency is 0 although weight and curvature are not", got=got)
    expect.close(function(-2 * weight, curvature), 4 * got, "with −2 times the weights", rtol=1e-12)
    expect.close(function(weight, -2 * curvature), -2 * got, "with −2 times the curvatures", rtol=1e-12)


# --- 2.5 predicted_loss_increase --------------------------------------------------------------------------------------


def tensors(draw: Draw, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    """Two to five tensors of different shapes, with negative entries: also a single number, and one without entries."""
    shapes = [(2, 3), (4,), (2, 2, 3), (), (0, 3)][: (2, 3, 5)[draw.trial]]
    return {f"layer{i}.weight": draw.normal(*shape, scale=2, dtype=dtype) for i, shape in enumerate(shapes)}


@predicted_loss_increase.law(
    "saliencies 1, 2 and 4, −8 with the 2 and the −8 deleted: −6",
    hint="True means kept: add up what is not kept, in all tensors. Choose with the mask: ∞ · 0 is NaN.",
    trials=1,
)
def increase_example(function, draw):
    saliencies = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([[4.0], [-8.0]])}
    masks = {"a": torch.tensor([True, False]), "b": torch.tensor([[True], [False]])}
    expect.close(function(saliencies, masks), torch.tensor(-6.0))
    saliencies["a"][1] = math.inf
    expect.close(function(saliencies, masks), torch.tensor(math.inf), "the prediction, with an infinity deleted,")
    saliencies = {"a": torch.tensor([math.inf, 2.0]), "b": torch.tensor([[math.nan], [-8.0]])}
    expect.close(function(saliencies, masks), torch.tensor(-6.0), "the prediction, with an infinity and a NaN kept,")


@predicted_loss_increase.law(
    "deleting one weight predicts that weight's saliency, negative ones included; tensors are matched by name",
    hint="No absolute value, no mean. Look masks up by name: their dict may be in another order. The result is a "
    "tensor of the saliencies' dtype: a sum that begins with torch.tensor(0.0) is float32, .item() is no tensor.",
)
def increase_single(function, draw):
    for dtype in DTYPES:
        saliencies = tensors(draw, dtype)
        for name, saliency in ((name, s) for name, s in saliencies.items() if s.numel()):
            masks = {n: torch.ones_like(s, dtype=torch.bool) for n, s in reversed(saliencies.items())}
            place = draw.integer(0, saliency.numel() - 1)
            masks[name].view(-1)[place] = False
            expect.close(function(saliencies, masks), saliency.flatten()[place], **CLOSE[dtype])


@predicted_loss_increase.law(
    "nothing deleted predicts 0; all deleted predicts the sum of all saliencies", hint="Of all tensors together."
)
def increase_extremes(function, draw):
    saliencies = tensors(draw)
    nothing = {name: torch.ones_like(s, dtype=torch.bool) for name, s in saliencies.items()}
    everything = {name: ~mask for name, mask in nothing.items()}
    total = torch.cat([s.flatten() for s in saliencies.values()]).sum()
    expect.close(function(saliencies, nothing), torch.zeros_like(total), "the prediction with nothing deleted")
    expect.close(function(saliencies, everything), total, "the prediction with all deleted", rtol=1e-10)


@predicted_loss_increase.law(
    "a deletion and its opposite together predict the sum of all saliencies", hint="Kept weights add nothing."
)
def increase_complement(function, draw):
    saliencies = tensors(draw)
    masks = {name: draw.mask(*s.shape, keep=draw.uniform(0.2, 0.8)) for name, s in saliencies.items()}
    opposite = {name: ~mask for name, mask in masks.items()}
    both = function(saliencies, masks) + function(saliencies, opposite)
    expect.close(both, torch.cat([s.flatten() for s in saliencies.values()]).sum(), "the sum of the two", rtol=1e-10)


# --- 2.6 keep_top -----------------------------------------------------------------------------------------------------


def masks_of(function: Callable, saliencies: dict[str, Tensor], keep_fraction: float) -> dict[str, Tensor]:
    """The masks, after their form has been looked at."""
    got = function(saliencies, keep_fraction)
    expect.same_kind(got, saliencies, "the dict of masks")
    for name, saliency in saliencies.items():
        expect.same_kind(got[name], torch.zeros(saliency.shape, dtype=torch.bool), f"masks[{name!r}]")
    return got


def count_kept(masks: dict[str, Tensor]) -> int:
    return sum(int(mask.sum()) for mask in masks.values())


@keep_top.law(
    "saliencies 5, −9 | 1, 4, 3 at keep_fraction 0.6: 5, 4 and 3 are kept",
    hint="The largest values of all tensors together. −9 is the smallest saliency here, not the largest.",
    trials=1,
)
def keep_example(function, draw):
    saliencies = {"a": torch.tensor([5.0, -9.0]), "b": torch.tensor([[1.0, 4.0, 3.0]])}
    wanted = {"a": torch.tensor([True, False]), "b": torch.tensor([[False, True, True]])}
    expect.equal(masks_of(function, saliencies, 0.6), wanted, "masks")


@keep_top.law(
    "exactly round(keep_fraction · n) weights are kept, n over all tensors",
    hint="Count n over all tensors, use Python's round() once, and keep that many: none more, none fewer.",
)
def keep_count(function, draw):
    saliencies = tensors(draw)
    n = sum(s.numel() for s in saliencies.values())
    for keep_fraction in (draw.uniform(), draw.uniform(), draw.uniform(0, 0.5 / n), 1 - draw.uniform(0, 0.4 / n)):
        got = count_kept(masks_of(function, saliencies, keep_fraction))
        expect.true(got == round(keep_fraction * n), "kept too many or too few", round(keep_fraction * n), got)


@keep_top.law(
    "rounding: 29 of 100 at 0.29, 2 of 5 at 0.5, 2 of 3 at 0.5, 3 of 4 at 0.65; none at 0, all at 1",
    hint="int() cuts off: 0.29 · 100 is 28.999…; quantiles and thresholds are off by one.",
    trials=1,
)
def keep_rounding(function, draw):
    cases = [(100, 0.29, 29), (5, 0.5, 2), (3, 0.5, 2), (4, 0.65, 3), (4, 0.6, 2), (7, 0.0, 0), (7, 1.0, 7), (7, 0, 0)]
    for n, keep_fraction, wanted in [*cases, (7, 1, 7), (1, 0.5, 0), (1, 0.6, 1)]:
        got = count_kept(masks_of(function, {"weight": draw.normal(n)}, keep_fraction))
        expect.true(got == wanted, f"of {n} weights at {keep_fraction}, kept too many or too few", wanted, got)


@keep_top.law(
    "no weight that is removed has a larger saliency, with its sign, than one that is kept",
    hint="Compare values as they are: no absolute value, and the largest stay.",
)
def keep_largest(function, draw):
    for dtype in FLOATS:
        saliencies = tensors(draw, dtype)
        masks = masks_of(function, saliencies, draw.uniform(0.2, 0.8))
        kept = torch.cat([saliencies[name][masks[name]] for name in saliencies])
        removed = torch.cat([saliencies[name][~masks[name]] for name in saliencies])
        smallest, largest = kept.min(), removed.max()
        expect.true(
            smallest >= largest, "a removed weight is more salient than a kept one", f"at most {smallest:.4g}", largest
        )


@keep_top.law(
    "tensors compete: one may lose all its weights, another none",
    hint="Rank the entries of all tensors in one list, not tensor by tensor.",
)
def keep_global(function, draw):
    saliencies = tensors(draw)
    names = list(saliencies)
    saliencies = {name: s / 100 + 10 * i for i, (name, s) in enumerate(saliencies.items())}
    n, last = sum(s.numel() for s in saliencies.values()), saliencies[names[-1]].numel()
    wanted = {name: torch.full(s.shape, name == names[-1]) for name, s in saliencies.items()}
    expect.equal(masks_of(function, saliencies, last / n), wanted, "masks")


@keep_top.law(
    "of equal saliencies the first are kept, in the order of the dict, then row by row",
    hint="A threshold keeps or removes all equals; torch.topk picks any of them. Sort stably (stable=True).",
)
def keep_ties(function, draw):
    rows, columns = draw.size(2, 40), draw.size(3, 30)
    level = draw.choice([0.0, 1.5, -2.0])
    saliencies = {
        "z": torch.full((rows, columns), level),
        "a": torch.full((columns, rows), level).t(),  # read by index, not as it lies in memory
        "m": torch.full((4,), level),
    }
    n = 2 * rows * columns + 4
    count = draw.integer(rows * columns + 1, n - 1) if draw.trial else rows * columns + 2
    first = torch.arange(n) < count
    parts = first.split([s.numel() for s in saliencies.values()])
    wanted = {name: part.view(s.shape) for (name, s), part in zip(saliencies.items(), parts, strict=True)}
    expect.equal(masks_of(function, saliencies, count / n), wanted, "masks")


@keep_top.law(
    "equals among others: 2, 1, 1 | 1, 3 at 0.6 keeps 2, 3 and the first 1",
    hint="First all larger ones, then equals in their order. A saliency of 0 is larger than a negative one. NumPy has "
    "no bfloat16: .double() first.",
    trials=1,
)
def keep_some_ties(function, draw):
    saliencies = {"b": torch.tensor([2.0, 1.0, 1.0]), "a": torch.tensor([1.0, 3.0])}
    wanted = {"b": torch.tensor([True, True, False]), "a": torch.tensor([False, True])}
    expect.equal(masks_of(function, saliencies, 0.6), wanted, "masks")
    for dtype in DTYPES:
        got = masks_of(function, {"a": torch.tensor([-1.0, 0.0, -2.0, 0.0], dtype=dtype)}, 0.5)["a"]
        expect.equal(got, torch.tensor([False, True, False, True]), "the mask of −1, 0, −2, 0")
    levels = torch.from_numpy(draw.rng.integers(0, 3, 90)).float()
    for count in (20, 45, 70):
        above = int((levels > 1).sum()) if (levels > 1).sum() < count else 0
        got = masks_of(function, {"weight": levels}, count / 90)["weight"]
        expect.true(int(got.sum()) == count, "kept too many or too few", count, int(got.sum()))
        if above:
            expect.true(got[levels > 1].all(), "a larger saliency was removed for an equal one")
        for level in (0, 1, 2):
            kept = got[levels == level].long()
            expect.true((kept.diff() <= 0).all(), "a later one of equals was kept, an earlier one removed")


@keep_top.law(
    "a matrix read along its columns is ranked by its own indices", hint="Flatten by index (row by row).", trials=2
)
def keep_layout(function, draw):
    values = draw.normal(draw.size(2, 5), 6)
    got = masks_of(function, {"weight": values.t().contiguous().t()}, 0.5)["weight"]
    wanted = masks_of(function, {"weight": values}, 0.5)["weight"]
    expect.equal(got, wanted, "the mask of the same matrix, stored by columns,")


@keep_top.law(
    "float64 saliencies that differ in the 12th digit are told apart; so are 1e-40 and 0",
    hint="Do not convert to float32, and do not add or subtract anything to break ties.",
    trials=1,
)
def keep_precision(function, draw):
    order = draw.permutation(8)
    values = 1 + order.double() * 1e-12
    expect.equal(masks_of(function, {"weight": values}, 0.5)["weight"], order >= 4, "the mask")
    expect.equal(masks_of(function, {"weight": order * 1e-40}, 0.25)["weight"], order >= 6, "the mask of tiny numbers")
    large = torch.tensor([1e30, float("inf"), -1e30, -3e38])
    for keep_fraction, wanted in ((0.25, [0, 1, 0, 0]), (0.75, [1, 1, 1, 0])):
        got = masks_of(function, {"weight": large}, keep_fraction)["weight"]
        expect.equal(got, torch.tensor(wanted).bool(), "the mask of huge numbers")


@keep_top.law("who keeps less keeps a part of what he kept before", hint="Masks for growing fractions are nested.")
def keep_nested(function, draw):
    saliencies = {name: (s * 2).round() for name, s in tensors(draw).items()}  # with ties
    low, high = sorted((draw.uniform(0.1, 0.9), draw.uniform(0.1, 0.9)))
    fewer, more = masks_of(function, saliencies, low), masks_of(function, saliencies, high)
    for name in saliencies:
        expect.true(
            (fewer[name] <= more[name]).all(), f"masks[{name!r}] keeps a weight at {low:.3f}, not at {high:.3f}"
        )


# --- 2.7 obd_prune ----------------------------------------------------------------------------------------------------


def layers(draw: Draw, dtype: torch.dtype = torch.float64) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A state with biases and a counter, and curvatures of its weights, some negative."""
    state = {
        "first.weight": draw.normal(3, 2, dtype=dtype),
        "first.bias": draw.normal(3, scale=1e-3, dtype=dtype),
        "norm.steps": torch.tensor(draw.integer(0, 99)),
        "second.weight": draw.normal(3, 2, scale=2, dtype=dtype).t(),  # read by index, not as it lies in memory
        "second.bias": draw.normal(2, scale=1e-3, dtype=dtype),
    }
    curvatures = {name: draw.normal(*state[name].shape, dtype=dtype) for name in ("first.weight", "second.weight")}
    for name, weight in state.items():
        if name.endswith("weight"):
            weight += weight.sign() * 0.05  # none is 0 by itself
    return state, curvatures


def prune(function: Callable, state: dict, curvatures: dict, keep_fraction: float) -> tuple[dict, dict]:
    """State and masks, after their form has been looked at."""
    got = function(state, curvatures, keep_fraction)
    expect.same_kind(got, (state, curvatures), "the pair (state, masks)")
    pruned, masks = got
    expect.same_kind(pruned, state, "the state")
    expect.equal(list(pruned), list(state), "the order of the names, which is the order of the layers,")
    for name, value in state.items():
        expect.same_kind(pruned[name], value, f"state[{name!r}]")
    expect.same_kind(masks, curvatures, "the dict of masks")
    for name, mask in masks.items():
        expect.same_kind(mask, torch.zeros(state[name].shape, dtype=torch.bool), f"masks[{name!r}]")
    return pruned, masks


@obd_prune.law(
    "weights 1, 2 | 3, 0.1 with curvatures 8, 1 | 0.2, 100 at keep_fraction 0.5: 1 and 2 are kept",
    hint="Rank ½·h·w² (here 4, 2 | 0.9, 0.5) over all tensors: a large weight in a flat direction is cheap.",
    trials=1,
)
def prune_example(function, draw):
    state = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([3.0, 0.1])}
    curvatures = {"a": torch.tensor([8.0, 1.0]), "b": torch.tensor([0.2, 100.0])}
    pruned, masks = prune(function, state, curvatures, 0.5)
    expect.equal(pruned, {"a": torch.tensor([1.0, 2.0]), "b": torch.zeros(2)}, "the state")
    expect.equal(masks, {"a": torch.tensor([True, True]), "b": torch.tensor([False, False])}, "masks")


@obd_prune.law(
    "a deleted weight is 0, even an infinite one; a kept one is what it was; masks say which is which",
    hint="Put 0 where the mask is False, in the tensor itself: .flatten() may give a copy, and ∞ · 0 is NaN. Change "
    "nothing else, nor the dtype. There is a mask for each tensor with curvature, and for no other.",
)
def prune_zeros(function, draw):
    for dtype in DTYPES:
        state, curvatures = layers(draw, dtype)
        pruned, masks = prune(function, state, curvatures, draw.uniform(0.2, 0.8))
        for name, mask in masks.items():
            expect.equal(pruned[name], state[name].masked_fill(~mask, 0), f"state[{name!r}], given its mask,")
    state, curvatures = {"weight": torch.tensor([3.0, math.inf])}, {"weight": torch.tensor([1.0, -1.0])}
    pruned, _ = prune(function, state, curvatures, 0.5)
    expect.equal(pruned["weight"], torch.tensor([3.0, 0.0]), "state['weight'], whose infinity is deleted,")
    pruned, _ = prune(function, {"weight": torch.tensor([0.5, math.inf])}, {"weight": torch.ones(2)}, 0.5)
    expect.equal(pruned["weight"], torch.tensor([0.0, math.inf]), "state['weight'], whose infinity is kept,")


@obd_prune.law(
    "tensors without curvature stay whole and are not counted; of the others exactly round(keep_fraction · n) are kept",
    hint="n counts the weights that have a curvature. The rest of the state comes back as it is.",
)
def prune_whole(function, draw):
    state, curvatures = layers(draw)
    n = sum(h.numel() for h in curvatures.values())
    for keep_fraction in ((draw.integer(1, n) - 0.3) / n, (draw.integer(0, n - 1) + 0.3) / n, 0.0, 1.0):
        pruned, masks = prune(function, state, curvatures, keep_fraction)
        for name in state.keys() - curvatures.keys():
            expect.equal(pruned[name], state[name], f"state[{name!r}], which has no curvature,")
        got = count_kept(masks)
        expect.true(got == round(keep_fraction * n), "kept too many or too few", round(keep_fraction * n), got)


@obd_prune.law(
    "of all ways to delete so many weights, the one that raises a quadratic loss least (tried out one by one)",
    hint="Delete the smallest ½·h·w², over all tensors, negative ones first.",
)
def prune_best(function, draw):
    state, curvatures = layers(draw)
    # Saliencies so small that only float64 tells them apart, in one trial
    curvatures = {name: h[:2] if draw.trial == 0 else h * (1, 1, 1e-60)[draw.trial] for name, h in curvatures.items()}
    state = {name: value[:2] if name in curvatures and draw.trial == 0 else value for name, value in state.items()}
    weights = torch.cat([state[name].flatten() for name in curvatures])
    steepness = torch.cat([h.flatten() for h in curvatures.values()])
    n = len(weights)
    count = draw.integer(2, min(4, n - 2))  # that many are deleted

    ways = torch.tensor(list(itertools.combinations(range(n), count)))
    moved = weights.repeat(len(ways), 1).scatter(1, ways, 0)
    losses = (steepness / 2 * (moved - weights) ** 2).sum(1)
    best = tuple(ways[losses.argmin()].tolist())
    _, masks = prune(function, state, curvatures, 1 - count / n)
    flat = torch.cat([masks[name].flatten() for name in curvatures])
    got = tuple((~flat).nonzero().flatten().tolist())
    expect.true(got == best, "other weights should go (numbered through all tensors)", best, got)


@obd_prune.law(
    "pruned again: weights that are 0 already have equal saliencies, and as many of them stay as are needed",
    hint="A threshold keeps or deletes all equals: let keep_top choose. Masks come from saliencies, not from zeros.",
    trials=2,
)
def prune_again(function, draw):
    state, curvatures = layers(draw)
    state["first.weight"][:, 0], state["second.weight"][0] = 0, 0
    curvatures = {name: h.abs() + 0.1 for name, h in curvatures.items()}
    curvatures["second.weight"][1, 2] *= -1  # cheaper to delete than a zero
    wanted = {**state, "second.weight": state["second.weight"] * torch.tensor([[1, 1, 1], [1, 1, 0]])}
    for count in (6, 8, 10):  # five weights are worth keeping; the rest are zeros
        pruned, masks = prune(function, state, curvatures, count / 12)
        expect.true(count_kept(masks) == count, "kept too many or too few", count, count_kept(masks))
        expect.equal(pruned, wanted, "the state")


@obd_prune.law(
    "curvatures may come in another order than the state: it decides among equals",
    hint="Match tensors by name, not by position. Hand the saliencies to keep_top in the order of the curvatures.",
    trials=2,
)
def prune_by_name(function, draw):
    state, curvatures = layers(draw)
    pruned, masks = prune(function, state, curvatures, 0.5)
    turned, turned_masks = prune(function, state, dict(reversed(curvatures.items())), 0.5)
    expect.equal(turned_masks, masks, "masks, with the curvatures in another order,")
    expect.equal(turned, pruned, "the state, with the curvatures in another order,")
    ones = torch.ones(draw.integer(2, 5))
    _, masks = prune(function, {"a": ones, "b": ones}, {"b": ones, "a": ones}, 0.5)
    expect.equal(masks, {"b": ones > 0, "a": ones < 0}, "masks, with b's curvature before a's and all equal,")


@obd_prune.law(
    "a regression pruned to half of its weights loses on unseen inputs less than half of what magnitude pruning loses",
    hint="Where inputs differ in scale, size alone misleads. If all other laws hold, this one does.",
    trials=2,
    share=0.25,
)
def prune_regression(function, draw):
    features, outputs = 24, 5
    scale = torch.logspace(-1.5, 1.5, features)[draw.permutation(features)]
    weight = draw.normal(outputs, features) / scale.sqrt()
    seen, unseen = draw.normal(200, features) * scale, draw.normal(1000, features) * scale

    def loss(w: Tensor, x: Tensor) -> Tensor:
        return ((x @ (w - weight).T) ** 2).sum(1).mean()

    # The second derivative of a squared error by a weight: twice the mean square of its input, for every output
    curvature = (2 * (seen**2).mean(0)).repeat(outputs, 1)
    state = {"linear.weight": weight, "linear.bias": torch.zeros(outputs)}
    pruned, masks = prune(function, state, {"linear.weight": curvature}, 0.5)
    expect.true(count_kept(masks) == weight.numel() // 2, "not half of the weights are kept")
    by_size = weight * (weight.abs() > weight.abs().median())
    got, limit = float(loss(pruned["linear.weight"], unseen)), float(loss(by_size, unseen)) / 2
    expect.true(got < limit, "it loses too much", f"less than {limit:.3g}", f"{got:.3g}")


# --- 2.8a obs_saliency ------------------------------------------------------------------------------------------------

# No change of signs makes this one positive, so that its absolute values are another matrix
SIGNED = torch.tensor([[3.0, 1.0, 1.0], [1.0, 3.0, -1.0], [1.0, -1.0, 3.0]])


def regression(draw: Draw, count: int) -> tuple[Tensor, Tensor]:
    """Weights [count], and inputs of which ½ |X(v − w)|² is the loss, float64."""
    inputs = draw.normal(2 * count, count, dtype=torch.float64) + draw.normal(2 * count, 1, dtype=torch.float64)
    return draw.normal(count, scale=2.0, dtype=torch.float64), inputs


def fitted(inputs: Tensor, targets: Tensor, without: int) -> Tensor:
    """Weights of the least squares, with 0 for one of the inputs."""
    others = [i for i in range(inputs.shape[1]) if i != without]
    weight = torch.zeros(inputs.shape[1], dtype=inputs.dtype)
    weight[others] = torch.linalg.lstsq(inputs[:, others], targets[:, None]).solution.flatten()
    return weight


@obs_saliency.law(
    "the weights 2 and −4 with second derivatives 2 and 2, and 1 by both, have saliencies 3 and 12",
    hint="Invert the matrix; [H⁻¹]_qq stands below the square of the weight, with a factor of two.",
    trials=1,
)
def surgeon_example(function, draw):
    for dtype in FLOATS:
        weight = torch.tensor([2.0, -4.0], dtype=dtype)
        hessian = torch.tensor([[2.0, 1.0], [1.0, 2.0]], dtype=dtype)
        expect.close(function(weight, hessian, 0.0), torch.tensor([3.0, 12.0], dtype=dtype), **CLOSE[dtype])
        expect.close(function(weight[:1], hessian[:1, :1], 1), torch.tensor([6.0], dtype=dtype), **CLOSE[dtype])
        wanted = torch.tensor([1.0, 4.0, 9.0], dtype=dtype)
        expect.close(function(torch.arange(1, 4, dtype=dtype), SIGNED.to(dtype), 0.0), wanted, **CLOSE[dtype])


@obs_saliency.law(
    "for a loss that is quadratic it is the least rise among all weights with a 0 there, exactly",
    hint="Invert the whole matrix, then take the diagonal: not the other way round. Stay in the dtype of the weights.",
    trials=3,
)
def surgeon_exact(function, draw):
    weight, inputs = regression(draw, draw.integer(3, 6))
    damping = draw.uniform(0.1, 2)
    # Damping is a penalty on what has changed: a row more for each weight
    ridge = torch.cat([inputs, damping**0.5 * torch.eye(len(weight), dtype=torch.float64)])
    for strength, rows in ((0.0, inputs), (damping, ridge)):
        targets = rows @ weight
        wanted = [(rows @ fitted(rows, targets, q) - targets).square().sum() / 2 for q in range(len(weight))]
        got = function(weight, inputs.T @ inputs, strength)
        expect.close(got, torch.stack(wanted), rtol=1e-8, atol=1e-10)


@obs_saliency.law(
    "of a diagonal matrix it is the saliency of Optimal Brain Damage, damping included",
    hint="Where weights cannot help each other, the rise is ½·h·w². A saliency is never negative.",
    trials=2,
)
def surgeon_diagonal(function, draw):
    for dtype in FLOATS:
        weight = draw.normal(draw.integer(2, 5), dtype=dtype)
        weight[0], curvature = 0, draw.normal(len(weight), dtype=dtype).abs() + 0.5
        for damping in (0.0, 1.5):
            wanted = (curvature + damping) / 2 * weight.square()
            expect.close(function(weight, torch.diag(curvature), damping), wanted, **CLOSE[dtype])


@obs_saliency.law(
    "with damping a matrix that cannot be inverted will do: vvᵀ",
    hint="Add the damping to the diagonal before you invert, and to nothing but the diagonal.",
    trials=2,
)
def surgeon_singular(function, draw):
    weight, v = (draw.normal(4, dtype=torch.float64) for _ in range(2))
    v[3] = 0  # a weight that the loss does not feel costs what the damping asks for it
    damping = draw.uniform(0.5, 2)
    # (vvᵀ + λI)⁻¹ = (I − vvᵀ / (λ + |v|²)) / λ (Sherman and Morrison)
    inverse = (1 - v.square() / (damping + v.square().sum())) / damping
    expect.close(function(weight, torch.outer(v, v), damping), weight.square() / inverse / 2, **CLOSE[torch.float64])


# --- 2.8b obs_update --------------------------------------------------------------------------------------------------


@obs_update.law(
    "of the weights 2 and −6 with second derivatives 2 and 2, and 1 by both, 0 and −5 are left, or −1 and 0",
    hint="All weights move along the column of the inverse, as far as it takes the deleted one to 0.",
    trials=1,
)
def update_example(function, draw):
    for dtype in FLOATS:
        weight = torch.tensor([2.0, -6.0], dtype=dtype)
        hessian = torch.tensor([[2.0, 1.0], [1.0, 2.0]], dtype=dtype)
        expect.close(function(weight, hessian, 0.0, 0), torch.tensor([0.0, -5.0], dtype=dtype), **CLOSE[dtype])
        expect.close(function(weight, hessian, 0.0, index=1), torch.tensor([-1.0, 0.0], dtype=dtype), **CLOSE[dtype])
        expect.close(function(weight[:1], hessian[:1, :1], 1, 0), torch.zeros(1, dtype=dtype))
        wanted = torch.tensor([0.0, 2.5, 3.5], dtype=dtype)
        expect.close(function(torch.arange(1, 4, dtype=dtype), SIGNED.to(dtype), 0.0, 0), wanted, **CLOSE[dtype])


@obs_update.law(
    "for a loss that is quadratic no other weights with a 0 there are better",
    hint="Subtract w_q / [H⁻¹]_qq times the column q of the inverse, of the matrix with its damping.",
    trials=3,
)
def update_least(function, draw):
    weight, inputs = regression(draw, draw.integer(3, 6))
    hessian = inputs.T @ inputs
    for damping in (0.0, draw.uniform(0.1, 2)):
        for q in range(len(weight)):
            change = function(weight, hessian, damping, q) - weight
            slope = hessian @ change + damping * change
            slope[q] = 0  # the only way in which the loss would still fall is forbidden
            expect.close(slope, torch.zeros_like(slope), "the slope of the loss there", rtol=0, atol=1e-8)


@obs_update.law(
    "a regression that loses an input becomes the regression on the other inputs",
    hint="There the matrix is XᵀX, and deleting with help is fitting again, without that input.",
    trials=2,
)
def update_regression(function, draw):
    _, inputs = regression(draw, 4)
    targets = draw.normal(len(inputs), dtype=torch.float64)
    weight = torch.linalg.lstsq(inputs, targets[:, None]).solution.flatten()
    q = draw.integer(0, 3)
    got = function(weight, inputs.T @ inputs, 0.0, q)
    expect.close(got, fitted(inputs, targets, q), rtol=1e-7, atol=1e-9)


@obs_update.law(
    "the deleted weight is exactly 0, and no other is that was not",
    hint="Rounding leaves a little where 0 should be: set it. The others only move.",
    trials=2,
)
def update_zero(function, draw):
    weight, inputs = regression(draw, 6)
    for dtype in FLOATS:
        hessian = (inputs.T @ inputs).to(dtype)
        for scale in (1.0, 1.7, 0.3):
            for q in range(6):
                moved = function((scale * weight).to(dtype), hessian, 0.1, q)
                expect.same_kind(moved, hessian[0])
                zeros = (moved == 0).nonzero().flatten().tolist()
                expect.true(zeros == [q], f"after weight {q} is deleted, not just it is exactly 0", [q], zeros)


@obs_update.law(
    "of a diagonal matrix nothing else moves, and with very large damping hardly anything",
    hint="What moves the others is what stands beside the diagonal of the inverse.",
    trials=2,
)
def update_diagonal(function, draw):
    weight, inputs = regression(draw, 4)
    hessian, q = inputs.T @ inputs, draw.integer(0, 3)
    wanted = weight.clone()
    wanted[q] = 0
    expect.close(function(weight, torch.diag(hessian.diagonal()), 0.0, q), wanted, **CLOSE[torch.float64])
    expect.close(function(weight, hessian, 1e9, q), wanted, "with a damping of 10⁹, the result", atol=1e-6, rtol=1e-6)
