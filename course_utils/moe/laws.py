"""Laws of unit 10, mixture of experts."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Categorical

from course_utils.checks import expect
from course_utils.checks.draw import Draw
from course_utils.checks.engine import Exercise, Unit

unit = Unit("moe")
noisy_top_k = unit.exercise("10.1a", "noisy_top_k", points=3, minutes=15, difficulty=2)
switch_gate = unit.exercise("10.1b", "switch_gate", points=2, minutes=8, difficulty=2)
load_probability = unit.exercise("10.2", "load_probability", points=4, minutes=25, difficulty=4)
importance_loss = unit.exercise("10.3a", "importance_loss", points=1, minutes=5, difficulty=1)
load_loss = unit.exercise("10.3b", "load_loss", points=1, minutes=3, difficulty=1)
switch_loss = unit.exercise("10.3c", "switch_loss", points=2, minutes=15, difficulty=2)
dispatch = unit.exercise("10.4", "dispatch", points=4, minutes=25, difficulty=4)
combine = unit.exercise("10.5", "combine", points=2, minutes=10, difficulty=2)
capacity = unit.exercise("10.6", "capacity", points=1, minutes=3, difficulty=1)
expert_choice = unit.exercise("10.7", "expert_choice", points=2, minutes=8, difficulty=2)
hash_route = unit.exercise("10.8", "hash_route", points=1, minutes=5, difficulty=1)
reinforce_loss = unit.exercise("10.9", "reinforce_loss", points=2, minutes=8, difficulty=2)
effective_rank = unit.exercise("10.10", "effective_rank", points=2, minutes=8, difficulty=2)
moe_layer = unit.exercise("10.11", "moe_layer", points=5, minutes=35, difficulty=4)

DOUBLE = torch.float64


def precise(got: Any, expected: Any, what: str = "the result") -> None:
    """Equal up to the rounding of float64: float32 anywhere on the way is seen."""
    expect.close(got, expected, what, rtol=1e-10, atol=1e-12)


def softmax(logits: Tensor) -> Tensor:
    """The softmax over the last axis, computed in float64, in the dtype of the logits."""
    return torch.softmax(logits.double(), -1).to(logits.dtype)


def slopes(draw: Draw, function: Callable[..., Tensor], *points: Tensor) -> None:
    """The gradient by all points together, along a random direction, is the central difference; in float64."""
    variables = [point.clone().requires_grad_() for point in points]
    gradients = expect.gradient(function(*variables), variables)
    directions = [draw.normal(*point.shape, dtype=DOUBLE) for point in points]
    step = 1e-6
    above, below = (
        function(*(p + sign * step * d for p, d in zip(points, directions, strict=True))).detach() for sign in (1, -1)
    )
    got = sum((g * d).sum() for g, d in zip(gradients, directions, strict=True))
    expect.close(got, (above - below) / (2 * step), "the slope along a random direction", rtol=1e-4, atol=1e-7)


def apart(draw: Draw, tokens: int, experts: int) -> Tensor:
    """Logits [tokens, experts], float64, no two in a row nearer than 0.1."""
    order = torch.stack([draw.permutation(experts) for _ in range(tokens)]).double()
    return 0.5 * (order - experts / 2) + draw.rand(tokens, experts, low=0, high=0.4, dtype=DOUBLE)


def pair(got: Any, first: Tensor, second: Any, what: tuple[str, str]) -> tuple[Any, Any]:
    """A result that is a pair, each of the right kind."""
    expect.same_kind(got, (0, 0))
    expect.same_kind(got[0], first, what[0])
    expect.same_kind(got[1], second, what[1])
    return got[0], got[1]


# --- 10.1a noisy_top_k ------------------------------------------------------------------------------------------------


@noisy_top_k.law(
    "each row has k positive gates that sum to 1, even if all logits are equal",
    hint="Take the indices of torch.topk, not all entries that reach a threshold; scatter a softmax over k numbers.",
)
def k_gates(function, draw):
    tokens, experts = ((1, draw.integer(2, 6)), (draw.integer(3, 5), draw.integer(2, 6)), (2, 200))[draw.trial]
    for k, dtype in ((1, torch.float16), (draw.integer(1, experts), torch.float32), (experts, torch.bfloat16)):
        for clean in (draw.normal(tokens, experts, dtype=dtype), torch.zeros(tokens, experts, dtype=dtype)):
            noise = draw.normal(tokens, experts, dtype=dtype) * (clean != 0)
            got = function(clean, draw.rand(tokens, experts, low=0.5, dtype=dtype), noise, k)
            expect.same_kind(got, clean)
            expect.equal((got > 0).sum(-1), torch.full((tokens,), k), "the number of positive gates in each row")
            expect.close(got.sum(-1), torch.ones(tokens, dtype=dtype), "the sum of each row")


@noisy_top_k.law(
    "with k = E and no noise it is the softmax; with k = 1 it is one-hot",
    hint="The softmax is over the experts, the last axis. The noise is the argument, not a draw of your own.",
    trials=2,
)
def all_experts(function, draw):
    clean = apart(draw, draw.size(2, 4), 6)
    zeros, noise = torch.zeros_like(clean), draw.normal(*clean.shape, dtype=DOUBLE)
    precise(function(clean, zeros + 1, zeros, 6), softmax(clean))
    precise(function(clean, zeros, noise, 6), softmax(clean), "the tensor of gates at noise_std = 0")
    precise(function(clean, zeros, zeros, 1), torch.nn.functional.one_hot(clean.argmax(-1), 6).double())


@noisy_top_k.law(
    "the noise, each draw times its own standard deviation, takes part in the choice and in the gate",
    hint="Choose by the noisy logits, and take the softmax of them, not of the clean ones.",
    trials=1,
)
def noise_chooses(function, draw):
    # noisy logits 5, 2, 1 and −1, 0.5, 0
    clean = torch.tensor([[1.0, 2.0, 3.0], [2.0, 0.5, -1.0]], dtype=DOUBLE)
    std = torch.tensor([[1.0, 0.5, 2.0], [3.0, 1.0, 0.5]], dtype=DOUBLE)
    noise = torch.tensor([[4.0, 0.0, -1.0], [-1.0, 0.0, 2.0]], dtype=DOUBLE)
    high, middle = (1 / (1 + math.exp(-x)) for x in (3.0, 0.5))
    wanted = torch.tensor([[high, 1 - high, 0.0], [0.0, middle, 1 - middle]], dtype=DOUBLE)
    precise(function(clean, std, noise, 2), wanted)
    for shift in (draw.uniform(-9, 9), -(2.0**40), 2.0**40):
        precise(
            function(clean + shift, std, noise, 2),
            wanted,
            f"the tensor of gates after adding {shift:.4g} to all logits",
        )
    far = torch.tensor([[0.0, 15.0, -30.0, 45.0]], dtype=DOUBLE)
    precise(
        function(far, 0 * far, far, 3),
        softmax(torch.tensor([[0.0, 15.0, -torch.inf, 45.0]], dtype=DOUBLE)),
        "tiny gates",
    )
    little = torch.tensor([[1e-4, 2e-4]], dtype=DOUBLE)  # noise that is small, and still decides
    got = function(torch.zeros(1, 2, dtype=DOUBLE), little, torch.tensor([[3.0, 1.0]], dtype=DOUBLE), 1)
    expect.equal(got, torch.tensor([[1.0, 0.0]], dtype=DOUBLE), "the tensor of gates that little noise decides")
    clean, std, noise = (draw.normal(3, 7, dtype=DOUBLE) for _ in range(3))
    noisy = torch.addcmul(clean, std.abs(), noise)
    got = function(clean, std.abs(), noise, 3)
    expect.same_kind(got, clean)
    expect.equal((got > 0).sum(-1), torch.full((3,), 3), "the number of positive gates in each row")
    for row, gates in zip(noisy, got, strict=True):
        chosen = gates > 0
        expect.true(row[chosen].min() > row[~chosen].max(), "a gate is not at one of the k largest noisy logits")
        precise(gates[chosen], softmax(row[chosen]), "the tensor of gates that are not 0")


@noisy_top_k.law(
    "logits of ±10,000 give gates, no NaN", hint="exp overflows: torch.softmax does not; −inf in a whole row does."
)
def top_k_extremes(function, draw):
    clean = torch.tensor([[1e4, -1e4, 1e4], [-1e4, -1e4, -1e4 + 1]])
    zeros = torch.zeros(2, 3)
    got = function(clean, zeros, zeros, 2)
    expect.finite(got)
    expect.close(got.sum(-1), torch.ones(2), "the sum of each row")
    expect.equal((got > 0).sum(-1), torch.full((2,), 2), "the number of positive gates in each row")
    expect.close(got[0], torch.tensor([0.5, 0.0, 0.5]), "the first row")
    none = torch.zeros(0, 3)
    expect.equal(function(none, none, none, 2), none, "the tensor of gates of no tokens")


@noisy_top_k.law(
    "gradients reach the clean logits and the noise's standard deviations",
    hint="Stay in torch: no .detach(), .item() or torch.no_grad(); scatter the softmax's values, not ones.",
    trials=1,
)
def top_k_gradient(function, draw):
    clean, weights = apart(draw, 3, 5), draw.normal(3, 5, dtype=DOUBLE)
    std, noise = draw.rand(3, 5, low=0.01, high=0.02, dtype=DOUBLE), draw.normal(3, 5, dtype=DOUBLE)
    for k, experts in ((3, 5), (1, 5), (2, 4)):
        parts = [part[:, :experts] for part in (clean, std)]
        slopes(draw, lambda c, s: (weights[:, :experts] * function(c, s, noise[:, :experts], k)).sum(), *parts)  # noqa: B023


# --- 10.1b switch_gate ------------------------------------------------------------------------------------------------


@switch_gate.law(
    "the expert is the one of the largest logit, the gate its probability in the softmax over all experts",
    hint="softmax over the experts, then max over them: it returns the value and the index.",
)
def switch_chooses(function, draw):
    logits = apart(draw, *((1, 3), (7, draw.integer(3, 5)), (4, 300))[draw.trial])
    logits[0, -1] = logits.max() + 0.5  # of 300 experts the last one, for 8 bits too high a number
    probabilities = softmax(logits)
    for values in (logits, logits.float()):
        expert, gate = pair(function(values), logits.argmax(-1), values[:, 0], ("the expert", "the gate"))
        expect.equal(expert, logits.argmax(-1), "the expert")
        expect.close(gate, probabilities.max(-1).values.to(values.dtype), "the gate")
    precise(function(logits)[1], probabilities.max(-1).values, "the gate")
    close_by = torch.tensor([[0.0, 1e-9], [1e-9, 0.0]], dtype=DOUBLE)
    expect.equal(function(close_by)[0], torch.tensor([1, 0]), "the expert of logits that differ by 1e-9")
    for dtype in expect.HALVES:
        values = draw.permutation(5).to(dtype).unsqueeze(0)
        expert, gate = pair(function(values), values.argmax(-1), values[:, 0], ("the expert", "the gate"))
        expect.equal(expert, values.argmax(-1), "the expert")
        expect.close(gate, softmax(values.float()).amax(-1).to(dtype), "the gate", rtol=0.1)


@switch_gate.law(
    "the router learns: the gate's gradient by the logits is not 0, and right",
    hint="Do not renormalize over the chosen one: that gate is always 1, and its gradient 0. No .detach(). Take the "
    "gate at the expert's place: .amax() shares its gradient among equals, and those of equal logits cancel.",
    trials=1,
)
def switch_gradient(function, draw):
    logits, weights = apart(draw, 4, 3), draw.rand(4, low=0.5, high=2, dtype=DOUBLE)
    for some in (logits, logits[:, :1]):  # with one expert the gradient is 0
        slopes(draw, lambda z: (weights * function(z)[1]).sum(), some)
    variable = logits.clone().requires_grad_()
    slope = expect.gradient(function(variable)[1], variable)
    expect.true((slope.abs().sum(-1) > 0).all(), "a token's gate has no gradient by its logits", got=slope)
    equal = torch.zeros(2, 3, dtype=DOUBLE, requires_grad=True)  # as in a router that starts at 0
    form = torch.zeros(2, dtype=torch.int64), torch.zeros(2, dtype=DOUBLE)
    expert, gate = pair(function(equal), *form, ("the expert", "the gate"))
    wanted = (torch.nn.functional.one_hot(expert, 3).double() - 1 / 3) / 3
    precise(expect.gradient(gate, equal), wanted, "the gradient by equal logits")


@switch_gate.law(
    "equal logits give 1/E, logits of ±10,000 give 1, no NaN", hint="Use torch.softmax, not exp.", trials=1
)
def switch_extremes(function, draw):
    for tokens, experts in ((2, draw.integer(2, 6)), (1, 1000), (1, 1), (0, 3)):
        form = torch.zeros(tokens, dtype=torch.int64), torch.zeros(tokens)
        _, gate = pair(function(torch.zeros(tokens, experts)), *form, ("the expert", "the gate"))
        expect.close(gate, torch.full((tokens,), 1 / experts), f"the gate of {experts} equal logits")
    expert, gate = function(torch.tensor([[1e4, -1e4, 0.0], [-2e4, -1e4, -3e4]]))
    expect.equal(expert, torch.tensor([0, 1]), "the expert")
    expect.close(gate, torch.ones(2), "the gate")


# --- 10.2 load_probability --------------------------------------------------------------------------------------------


@load_probability.law(
    "the worked example: the threshold is the k-th largest of the others",
    hint="Leave the expert itself out: if it is among the k largest, its threshold is the (k+1)-th of all.",
    trials=1,
)
def others_threshold(function, draw):
    noisy = torch.tensor([[3.0, 1.0, 2.0]], dtype=DOUBLE)
    clean, std = torch.tensor([[0.5, -0.5, 0.0]], dtype=DOUBLE), torch.tensor([[1.0, 0.5, 2.0]], dtype=DOUBLE)
    for k, z in ((1, [-1.5, -7.0, -1.5]), (2, [-0.5, -5.0, -0.5])):
        wanted = torch.special.ndtr(torch.tensor([z], dtype=DOUBLE))
        precise(function(clean, std, noisy, k), wanted, f"the tensor of probabilities for k = {k}")
        expect.close(function(clean.float(), std.float(), noisy.float(), k), wanted.float())
        for shift in (-(2.0**40), 2.0**40):  # all sums are exact
            shifted = function(clean + shift, std, noisy + shift, k)
            precise(shifted, wanted, f"the tensor of probabilities for k = {k}, {shift:g} added to all logits")
        scaled = function(clean / 1024, std / 1024, noisy / 1024, k)
        precise(scaled, wanted, f"the tensor of probabilities for k = {k}, all tensors divided by 1024")
    noisy = torch.tensor([[1.0, 2.0, 2.0, 0.0]], dtype=DOUBLE)  # the second and the third are equal
    got = function(torch.ones(1, 4, dtype=DOUBLE), torch.ones(1, 4, dtype=DOUBLE), noisy, 1)
    precise(got, torch.special.ndtr(-torch.ones(1, 4, dtype=DOUBLE)), "the tensor of probabilities of equal logits")


@load_probability.law(
    "it is how often the expert is among the k largest, if its own noise is drawn again",
    hint="Φ((clean − threshold) / noise_std), with the noisy logits in the threshold and the clean one before it.",
    trials=2,
)
def redrawn(function, draw):
    tokens, experts = draw.size(1, 3), draw.integer(4, 6)
    clean, noisy = (draw.normal(tokens, experts, dtype=DOUBLE) for _ in range(2))
    std = draw.rand(tokens, experts, low=0.3, high=3, dtype=DOUBLE)
    draws = torch.special.ndtri((torch.arange(500, dtype=DOUBLE) + 0.5) / 500)
    for k in (1, draw.integer(2, experts - 1)):
        redrawn_logits = clean[..., None] + std[..., None] * draws  # [tokens, experts, 500]
        above = noisy[:, None, :, None] > redrawn_logits[:, :, None, :]  # [tokens, expert, other, 500]
        above[:, torch.arange(experts), torch.arange(experts)] = False
        wanted = (above.sum(2) < k).double().mean(-1)
        got = function(clean, std, noisy, k)
        expect.close(got, wanted, f"the tensor of probabilities for k = {k}", rtol=0, atol=2.5e-3)


@load_probability.law(
    "with k = E every probability is 1; far from the threshold it is 0 or 1, no NaN",
    hint="With k = E there is no other expert to beat: return ones. Divide, do not take logarithms.",
    trials=1,
)
def certain(function, draw):
    experts = draw.integer(1, 5)
    clean, noisy = (draw.normal(2, experts, dtype=DOUBLE) for _ in range(2))
    expect.equal(function(clean, torch.ones_like(clean), noisy, experts), torch.ones_like(clean), "with k = E")
    far = torch.tensor([[1e4, -1e4, 0.0, 0.5]])
    got = function(far, torch.tensor([[1e-2, 1e-2, 1e-2, 0.5]]), torch.tensor([[1e4, -1e4, 0.0, 1.0]]), 2)
    expect.close(got[:, :3], torch.tensor([[1.0, 0.0, 0.0]]), "the row of the first three probabilities")
    expect.close(got[:, 3], torch.special.ndtr(torch.ones(1, dtype=DOUBLE)).float(), "the fourth probability")


@load_probability.law(
    "its gradients are right: the balance loss can move the router",
    hint="Stay in torch: torch.special.ndtr or torch.distributions.Normal, not SciPy; no .detach().",
    trials=1,
)
def load_gradient(function, draw):
    noisy, weights = apart(draw, 2, 5), draw.normal(2, 5, dtype=DOUBLE)
    clean, std = noisy + 0.3 * draw.normal(2, 5, dtype=DOUBLE), draw.rand(2, 5, low=0.5, high=2, dtype=DOUBLE)
    for k in (1, 3):
        slopes(draw, lambda c, s, n: (weights * function(c, s, n, k)).sum(), clean, std, noisy)  # noqa: B023


# --- 10.3a importance_loss and 10.3b load_loss ------------------------------------------------------------------------


def variation_laws(exercise: Exercise, what: str) -> None:
    """Both losses are the squared coefficient of variation of the sums over the tokens."""

    @exercise.law(
        f"it is the squared coefficient of variation of the experts' {what}",
        hint="Sum over the tokens first. Variance over the experts (divided by E, not E − 1), by the squared mean, "
        "with no ε.",
        trials=2,
    )
    def variation(function, draw):
        table = draw.rand(draw.size(1, 6), draw.integer(2, 5) + 6, dtype=DOUBLE)
        deviation, mean = torch.std_mean(table.sum(0), correction=0)
        wanted = (deviation / mean) ** 2
        precise(function(table), wanted)
        expect.close(function(table.float()), wanted.float())
        for factor in (draw.uniform(3, 9), 1e-6):
            precise(function(table * factor), wanted, f"the loss of {factor:.3g} times the table")

    @exercise.law(
        "0 if the experts share equally, E − 1 if one of them has it all",
        hint="Each expert's sum is what counts, not each token's row.",
        trials=1,
    )
    def limits(function, draw):
        experts = draw.integer(12, 20)
        shift = torch.stack([torch.eye(experts).roll(i, 0) for i in range(2)]).sum(0)
        expect.close(function(shift), torch.tensor(0.0))
        one = torch.zeros(experts + 2, experts)
        one[:, draw.integer(0, experts - 1)] = draw.rand(experts + 2, low=0.5)
        expect.close(function(one), torch.tensor(experts - 1.0))
        expect.close(function(draw.rand(3, 1, low=0.5)), torch.tensor(0.0), "the loss of a single expert")

    @exercise.law("its gradient is right", hint="Stay in torch: no counts, no .detach(), no .item().", trials=1)
    def descends(function, draw):
        for experts in (3, 1):
            slopes(draw, lambda g: function(g), draw.rand(4, experts, low=0.1, dtype=DOUBLE))


variation_laws(importance_loss, "importance")
variation_laws(load_loss, "load")


# --- 10.3c switch_loss ------------------------------------------------------------------------------------------------


@switch_loss.law(
    "the worked examples: E · Σ f · P, also for experts that nobody chose; it may be below 1",
    hint="f: fraction of the tokens sent to each expert, in the dtype of the probabilities. P: mean of the "
    "probabilities over the tokens. Times E.",
    trials=1,
)
def switch_examples(function, draw):
    probabilities = torch.tensor([[0.51, 0.49], [0.51, 0.49], [0.0, 1.0]], dtype=DOUBLE)
    got = function(probabilities, torch.tensor([0, 0, 1]), 2)
    precise(got, torch.tensor(2 * (2 / 3 * 0.34 + 1 / 3 * 0.66), dtype=DOUBLE))  # 0.893
    one = torch.tensor([[0.7, 0.1, 0.2]])
    expect.close(function(one, torch.tensor([0]), 3), torch.tensor(2.1), "the loss of one token")
    expect.close(function(one, torch.tensor([2]), 3), torch.tensor(0.6), "the loss of one token at its second choice")


@switch_loss.law(
    "1 if the tokens are shared equally, whatever the probabilities; E · P of an expert that has them all",
    hint="The f sum to 1, and so do the P. Convert the counts to the probabilities' dtype before you divide.",
    trials=2,
)
def switch_limits(function, draw):
    experts, rounds = draw.integer(2, 5), (1, 1101)[draw.trial]  # more than a byte or half precision can count
    probabilities = softmax(2 * draw.normal(experts * rounds, experts, dtype=DOUBLE))
    shuffled = torch.arange(experts).repeat(rounds)[draw.permutation(experts * rounds)]
    precise(function(probabilities, shuffled, experts), torch.tensor(1.0, dtype=DOUBLE))
    expert = draw.integer(0, experts - 1)
    got = function(probabilities, torch.full_like(shuffled, expert), experts)
    precise(got, torch.tensor(experts * np.mean(probabilities[:, expert].numpy())))
    for dtype in expect.HALVES:
        got = function(probabilities.to(dtype), shuffled, experts)
        expect.close(got, torch.tensor(1.0, dtype=dtype), "the loss in half precision", rtol=0.1)


@switch_loss.law(
    "its gradient by the probabilities is right: the counts are constants, the probabilities are not",
    hint="Only P carries a gradient: a loss from counts alone cannot teach the router anything.",
    trials=2,
)
def switch_loss_gradient(function, draw):
    tokens, experts = draw.size(3, 8), draw.integer(2, 4)
    assignment = draw.labels(tokens, experts)
    probabilities = softmax(draw.normal(tokens, experts, dtype=DOUBLE))
    slopes(draw, lambda p: function(p, assignment, experts), probabilities)
    variable = probabilities.clone().requires_grad_()
    slope = expect.gradient(function(variable, assignment, experts), variable)
    # Σ over the experts of E · f_i / tokens, for every token
    precise(slope.sum(1), torch.full((tokens,), experts / tokens, dtype=DOUBLE), "a token's gradient, summed")


# --- 10.4 dispatch ----------------------------------------------------------------------------------------------------


@dispatch.law(
    "the worked example: five tokens, four experts of which two have work, two slots",
    hint="Count, for each token, how many before it chose the same expert: that is its slot, if it is below C.",
    trials=1,
)
def dispatch_example(function, draw):
    tokens = torch.tensor([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0], [4.0, 40.0], [5.0, 50.0]])
    wanted = torch.zeros(4, 2, 2)
    wanted[2, 0], wanted[2, 1], wanted[0, 0] = tokens[0], tokens[2], tokens[1]
    got, positions = pair(
        function(tokens, torch.tensor([2, 0, 2, 2, 2]), 4, 2),
        wanted,
        torch.zeros(5).long(),
        ("buffer", "the tensor of positions"),
    )
    expect.equal(positions, torch.tensor([0, 0, 1, -1, -1]), "the tensor of positions")
    expect.equal(got, wanted, "the buffer")


@dispatch.law(
    "an expert's slots hold its first tokens in their order, the rest is 0; Σ(n − C)₊ tokens are dropped",
    hint="The first come keep their slots: an overflowing token is dropped, it does not overwrite. The buffer has the "
    "tokens' dtype, the count is one of whole numbers.",
    trials=5,
)
def first_come(function, draw):
    count, width = (0, 1, 9, 14, 2100)[draw.trial], draw.integer(1, 4)
    experts = 1 if draw.trial == 4 else draw.integer(2, 4)
    dtype = (torch.float32, torch.float32, DOUBLE, torch.bfloat16, torch.float16)[draw.trial]
    tokens, assignment = draw.normal(count, width, dtype=dtype), draw.labels(count, experts)
    tokens[::3] = 0  # a token is a token, whatever its numbers
    for slots in (1, 3, count + 2, 0):
        buffer, positions = pair(
            function(tokens, assignment, experts, slots),
            torch.zeros(experts, slots, width, dtype=dtype),
            assignment,
            ("the buffer", "the tensor of positions"),
        )
        for expert in range(experts):
            mine = tokens[assignment == expert]
            kept = min(slots, len(mine))
            wanted = torch.cat([torch.arange(kept), torch.full((len(mine) - kept,), -1)])
            expect.equal(positions[assignment == expert], wanted, f"the list of positions of expert {expert}'s tokens")
            expect.equal(buffer[expert, :kept], mine[:kept], f"the part of expert {expert}'s slots that is taken")
            expect.true(not buffer[expert, kept:].any(), f"empty slots of expert {expert} are not 0")


@dispatch.law(
    "gradients go back to the tokens that were kept, and to no other",
    hint="Index or multiply the tokens; do not copy numbers by .item(), .data or .tolist().",
    trials=1,
)
def dispatch_gradient(function, draw):
    tokens = draw.normal(6, 2, dtype=DOUBLE).requires_grad_()
    weights = draw.normal(2, 2, 2, dtype=DOUBLE)
    buffer, _ = function(tokens, torch.tensor([0, 0, 1, 0, 1, 1]), 2, 2)
    slope = expect.gradient((buffer * weights).sum(), tokens, "the buffer")
    nothing = torch.zeros(2, dtype=DOUBLE)
    wanted = [weights[0, 0], weights[0, 1], weights[1, 0], nothing, weights[1, 1], nothing]
    precise(slope, torch.stack(wanted), "the gradient by the tokens")


# --- 10.5 combine -----------------------------------------------------------------------------------------------------


@combine.law(
    "each token gets what stands in its expert's slot times its gate; a dropped token gets 0",
    hint="buffer[assignment, positions], times gates.unsqueeze(1); position −1 is not the last slot.",
)
def combine_slots(function, draw):
    experts, slots, width = (draw.integer(2, 4), 1)[draw.trial == 2], (1, 3, 300)[draw.trial], draw.integer(1, 3)
    dtype = (torch.float32, DOUBLE, DOUBLE)[draw.trial]
    buffer = draw.normal(experts, slots, width, dtype=dtype)
    places = [(e, s) for e in range(experts) for s in range(slots)]
    order = [places[i] for i in draw.permutation(len(places)).tolist()]
    order.insert(draw.integer(0, 1), (draw.integer(0, experts - 1), -1))
    assignment, positions = (torch.tensor([place[i] for place in order]) for i in range(2))
    gates = draw.normal(len(order), dtype=dtype)
    gates[-1] = 0
    got = function(buffer, assignment, positions, gates)
    expect.same_kind(got, torch.zeros(len(order), width, dtype=dtype))
    for row, gate, (expert, slot) in zip(got, gates, order, strict=True):
        if slot < 0:
            expect.equal(row, torch.zeros_like(row), "the row of a dropped token")
        else:
            expect.close(row, buffer[expert, slot] * gate, "a token's row", rtol=1e-6, atol=0)
            if dtype == DOUBLE:
                precise(row, buffer[expert, slot] * gate, "a token's row")


@combine.law(
    "all dropped: all 0, without any slots too, and whatever the buffer holds; tokens that share a slot each get it",
    hint="torch.where with positions >= 0: a product with it keeps NaN. Without slots there is nothing to look up.",
    trials=1,
)
def combine_dropped(function, draw):
    buffer, gates = draw.normal(2, 3, 4), draw.rand(5, low=0.5)
    assignment = draw.labels(5, 2)
    for held in (buffer, buffer[:, :0], buffer / 0, torch.full_like(buffer, torch.nan)):
        expect.equal(function(held, assignment, torch.full((5,), -1), gates), torch.zeros(5, 4))
    one = function(buffer, torch.tensor([1]), torch.tensor([2]), gates[:1])
    expect.close(one, gates[0] * buffer[1, 2:], "the output of one token")
    for dtype in expect.HALVES:
        got = function(buffer.to(dtype), torch.tensor([1, 0]), torch.tensor([2, -1]), torch.ones(2, dtype=dtype))
        expect.equal(got, torch.stack([buffer[1, 2], torch.zeros(4)]).to(dtype), "the output in half precision")
    ones = torch.ones(5)
    expect.close(function(buffer, torch.ones(5).long(), torch.full((5,), 2), ones), buffer[1, 2].expand(5, 4))
    # What is infinite or NaN stays so in the row of its token, and in no other
    odd, gates = torch.tensor([[[torch.inf], [2.0]]]), torch.tensor([0.5, torch.inf, torch.nan, 0.5])
    got = function(odd, torch.zeros(4).long(), torch.tensor([0, -1, -1, 1]), gates)
    expect.equal(got, torch.tensor([[torch.inf], [0.0], [0.0], [1.0]]), "the output with infinities")


@combine.law(
    "gradients reach the experts' outputs and the gates",
    hint="Through the gates the router learns: no .detach(). What is dropped has the gradient 0, also beside a NaN: "
    "torch.where after the product gives NaN there, so take the kept ones first.",
    trials=1,
)
def combine_gradient(function, draw):
    buffer, gates, weights = draw.normal(2, 2, 3, dtype=DOUBLE), draw.rand(4, dtype=DOUBLE), draw.normal(4, 3)
    assignment, positions = torch.tensor([1, 0, 1, 1]), torch.tensor([0, 1, -1, 1])
    slopes(draw, lambda b, g: (weights * function(b, assignment, positions, g)).sum(), buffer, gates)
    one, dropped = torch.zeros(2).long(), torch.tensor([1, -1])
    odd = torch.tensor([[[torch.nan], [2.0], [torch.nan]]]).requires_grad_()
    gates = torch.tensor([3.0, torch.nan], requires_grad=True)
    by_buffer, by_gates = expect.gradient(function(odd, one, dropped, gates), [odd, gates])
    expect.equal(by_buffer, torch.tensor([[[0.0], [3.0], [0.0]]]), "the gradient by the buffer")
    expect.equal(by_gates, torch.tensor([2.0, 0.0]), "the gradient by the gates")


# --- 10.6 capacity ----------------------------------------------------------------------------------------------------


@capacity.law(
    "the worked examples",
    hint="⌈k · tokens · factor / experts⌉ with math.ceil, an int: multiply first, divide last, and round once.",
    trials=1,
)
def capacity_examples(function, draw):
    for arguments, wanted in {
        (8, 4, 1, 1.0): 2, (7, 2, 1, 1.0): 4, (10, 4, 2, 1.25): 7, (100, 8, 1, 1.25): 16, (1, 64, 1, 0.5): 1,
        (12, 8, 2, 2): 6, (5, 3, 3, 1.5): 8, (3, 5, 1, 0.25): 1, (16, 3, 1, 1.5): 8, (40, 4, 1, 0.5): 5,
        (100, 3, 3, 1.25): 125, (4, 5, 3, 1.25): 3, (1, 8, 2, 1.0): 1,
        (0, 4, 1, 1.0): 0, (9, 4, 2, 0.0): 0, (3, 2, 1, 8.0): 12,
        (10**8 + 1, 10**8, 1, 1.0): 2, (2**24 + 1, 1, 1, 1.0): 2**24 + 1,
    }.items():  # fmt: skip
        expect.equal(function(*arguments), wanted, f"capacity{arguments}")


@capacity.law(
    "it is the least whole number of slots with which the experts together have k · tokens · factor",
    hint="Round up, not down and not to the nearest.",
)
def least_slots(function, draw):
    tokens, experts, k = draw.integer(1, 5000), draw.integer(1, 64), draw.integer(1, 4)
    factor = draw.choice([0.25, 0.5, 1.0, 1.25, 1.5, 2.0, 4.0])
    got = function(tokens, experts, k, factor)
    expect.true(type(got) is int, "it is not an int", got=got)
    wanted = k * tokens * factor
    expect.true(got * experts >= wanted, "there are too few slots", f"at least {wanted} in all", got * experts)
    expect.true((got - 1) * experts < wanted, "one slot fewer would do", f"at least {wanted} in all", got * experts)


# --- 10.7 expert_choice -----------------------------------------------------------------------------------------------


@expert_choice.law(
    "each expert has its tokens of the highest scores, best first; the gates are these scores",
    hint="topk over the tokens: of the transposed scores, or over dim 0 and then transposed.",
)
def best_tokens(function, draw):
    tokens, experts = ((2, 3), (draw.integer(5, 9), draw.integer(3, 5)), (300, 1))[draw.trial]
    scores = draw.normal(
        tokens, experts, scale=(1, 1e-4, 1)[draw.trial], dtype=(torch.float32, DOUBLE, DOUBLE)[draw.trial]
    )
    for slots in (1, draw.integer(1, tokens), tokens, 0):
        shape = torch.zeros(experts, slots)
        index, gates = pair(
            function(scores, slots),
            shape.long(),
            shape.to(scores.dtype),
            ("the table of tokens", "the tensor of gates"),
        )
        for expert in range(experts):
            ranked = np.argsort(-scores[:, expert].numpy())[:slots]
            expect.equal(index[expert], torch.from_numpy(ranked), f"the list of tokens of expert {expert}")
            expect.equal(gates[expert], scores[ranked, expert], f"the row of gates of expert {expert}")


@expert_choice.law(
    "a token may be chosen by every expert, another by none",
    hint="The experts do not know of each other: nothing is removed after it was chosen.",
    trials=1,
)
def popular_token(function, draw):
    scores = torch.tensor([[0.1, 0.2, 0.3], [0.9, 0.8, 0.7], [0.2, 0.1, 0.0], [0.3, 0.5, 0.4]])
    index, _ = pair(
        function(scores, 2), torch.zeros(3, 2).long(), torch.zeros(3, 2), ("the table of tokens", "the tensor of gates")
    )  # token 2 is nobody's
    expect.equal(index, torch.tensor([[1, 3], [1, 3], [1, 3]]), "the table of tokens")


@expert_choice.law("gradients flow from the gates to the scores", hint="No .detach(), no .numpy().", trials=1)
def choice_gradient(function, draw):
    scores, weights = apart(draw, 4, 6).T.contiguous(), draw.normal(4, 2, dtype=DOUBLE)
    slopes(draw, lambda s: (weights * function(s, 2)[1]).sum(), scores)


# --- 10.8 hash_route --------------------------------------------------------------------------------------------------


@hash_route.law(
    "the worked examples; integers of any shape and integer dtype come in, int64 goes out",
    hint="Convert to int64 first: the product needs 63 bits. First mod 2³², then times E, then the part above 32 bits.",
    trials=1,
)
def hash_examples(function, draw):
    ids = torch.tensor([[0, 1, 2, 3], [10, 97, 12345, 2**31 - 1]])
    for experts, wanted in (
        (10, [[0, 6, 2, 8], [1, 9, 6, 8]]),
        (8, [[0, 4, 1, 6], [1, 7, 5, 7]]),
        (7, [[0, 4, 1, 5], [1, 6, 4, 6]]),
    ):
        for dtype in (torch.int64, torch.int32):
            expect.equal(function(ids.to(dtype), experts), torch.tensor(wanted), f"the experts of {experts}")
    expect.equal(function(torch.tensor([5, 250], dtype=torch.uint8), 10), torch.tensor([0, 5]))
    for dtype in (torch.int8, torch.int16):
        expect.equal(function(torch.tensor([10, 97], dtype=dtype), 10), torch.tensor([1, 9]))
    expect.equal(function(torch.tensor(1), 7), torch.tensor(2654435761 * 7 >> 32), "the expert of a single id")
    expect.equal(
        function(torch.tensor([1]), 7), torch.tensor([2654435761 * 7 >> 32]), "the experts of a list of one id"
    )


@hash_route.law(
    "neighbouring ids do not go round: the first 64 fall on 8 experts without a period",
    hint="Of h = id · 2654435761 mod 2³² the high bits choose, ⌊h · E / 2³²⌋: its low bits are only the id's again.",
    trials=1,
)
def hash_is_no_round(function, draw):
    got = function(torch.arange(64), 8)
    expect.same_kind(got, torch.zeros(64, dtype=torch.int64))
    for period in (1, 2, 4, 8, 16, 32):
        same = int((got[period:] == got[:-period]).sum())
        expect.true(same < 64 - period, f"the expert of id i is that of id i + {period}, for every i", got=got)


@hash_route.law(
    "half of 2·E experts are E; with E = 2³¹ the choice is the hash itself, without its last bit",
    hint="⌊(id · 2654435761 mod 2³²) · E / 2³²⌋, in whole numbers: a float has too few digits.",
    trials=2,
)
def hash_structure(function, draw):
    ids = torch.from_numpy(draw.rng.integers(0, 2**31, 40))
    whole = function(ids, 2**31)
    expect.equal(whole, torch.tensor([id * 2654435761 % 2**32 // 2 for id in ids.tolist()]), "the choice among 2³¹")
    experts = draw.integer(2, 64)
    expect.equal(function(ids, experts), function(ids, 2 * experts) // 2, f"the choice among {experts}", calls=2)


# --- 10.9 reinforce_loss ----------------------------------------------------------------------------------------------


@reinforce_loss.law(
    "its gradient by log p is −(reward − baseline) / tokens: what paid becomes more likely",
    hint="A loss is minimized: minus the mean of (reward − baseline) · log p, nothing clipped; a baseline of 0 is one.",
)
def reinforce_gradient(function, draw):
    tokens = (1, 4, 7)[draw.trial]
    reward = draw.normal(tokens, scale=(1, 100, 1)[draw.trial], dtype=DOUBLE)
    number, each = draw.normal(dtype=DOUBLE), draw.normal(tokens, dtype=DOUBLE)
    reward[1:2] = 0  # a token that earned nothing counts among the tokens
    for baseline in (draw.uniform(-2, 2), number, each, 0, 0 * number, 0 * each):
        log_probability = (-draw.rand(tokens, low=0.1, high=(3, 100, 3)[draw.trial], dtype=DOUBLE)).requires_grad_()
        got = function(log_probability, reward, baseline)
        expect.scalar(got)
        slope = expect.gradient(got, log_probability)
        wanted = torch.zeros(tokens, dtype=DOUBLE) + baseline
        precise(slope, (wanted - reward) / tokens, "the gradient by log p")


@reinforce_loss.law(
    "the worked example",
    hint="Mean over the tokens; log p is given, do not take the logarithm again.",
    trials=1,
)
def reinforce_example(function, draw):
    got = function(torch.tensor([-1.0, -2.0]), torch.tensor([3.0, 0.0]), 1.0)
    expect.close(got, torch.tensor(0.0))
    got = function(torch.tensor([-1.0, -2.0, -0.5]), torch.tensor([3.0, 2.0, 5.0]), torch.tensor(1.0))
    expect.close(got, torch.tensor((2.0 + 2.0 + 2.0) / 3))
    expect.close(function(torch.tensor([-1.5]), torch.tensor([2.0]), torch.tensor([2.0])), torch.tensor(0.0))


@reinforce_loss.law(
    "reward and baseline are constants: no gradient flows into them",
    hint="(reward − baseline).detach(): whoever computed the reward is not to be changed by it.",
    trials=1,
)
def reinforce_constants(function, draw):
    log_probability, reward = -draw.rand(4, low=0.1).requires_grad_(), draw.normal(4).requires_grad_()
    for baseline in (draw.normal(4).requires_grad_(), draw.normal().requires_grad_()):
        got = function(log_probability, reward, baseline)
        expect.scalar(got)
        expect.no_gradient(got, reward, "a gradient flows into the reward")
        expect.no_gradient(got, baseline, "a gradient flows into the baseline")


# --- 10.10 effective_rank ---------------------------------------------------------------------------------------------


@effective_rank.law(
    "it is exp of the entropy of the normalized singular values",
    hint="torch.linalg.svdvals, divided by their sum; natural logarithms, and exp at the end.",
    trials=2,
)
def rank_entropy(function, draw):
    rows, columns = ((3, 5), (9, 4))[draw.trial]
    left, right = (np.linalg.qr(draw.rng.normal(size=(size, size)))[0] for size in (rows, columns))
    singular = draw.rng.uniform(0.1, 3, min(rows, columns))
    table = torch.from_numpy((left[:, : len(singular)] * singular) @ right[:, : len(singular)].T)
    wanted = Categorical(torch.from_numpy(singular)).entropy().exp()
    precise(function(table), wanted)
    expect.close(function(table.float()), wanted.float())
    for factor in (draw.uniform(5, 50), 1e-9, 1e9):
        precise(function(table * factor), wanted, f"the effective rank of {factor:.3g} times the table")
    large = table.float() * 1e30  # whose squares float32 does not hold
    expect.close(function(large), wanted.float(), "the effective rank of 1e30 times the table")


@effective_rank.law(
    "orthogonal vectors of one length have their number as the effective rank, parallel ones have 1, without NaN",
    hint="0 · log 0 is 0: torch.special.entr and torch.xlogy know it. The vectors are not centred, nothing is cut off.",
    trials=1,
)
def rank_limits(function, draw):
    count = draw.integer(2, 5)
    expect.close(function(3 * torch.eye(count, count + 2)), torch.tensor(float(count)), "the rank of orthogonal rows")
    expect.close(function(torch.ones(4, 3)), torch.tensor(1.0), "the rank of equal rows", rtol=1e-3)
    one = torch.zeros(4, 3)
    one[1, 2] = draw.uniform(0.5, 2)
    expect.close(function(one), torch.tensor(1.0), "the rank of a single entry")
    expect.close(function(torch.diag(torch.tensor([1.0, 1.0, 0.0]))), torch.tensor(2.0), "the rank of diag(1, 1, 0)")
    expect.close(function(torch.eye(20)), torch.tensor(20.0), "the rank of 20 orthogonal rows")
    for vector in (draw.rand(1, 5, low=0.1), draw.rand(5, 1, low=0.1)):
        expect.close(function(vector), torch.tensor(1.0), "the rank of a single row or column")
    # One large direction and nine of under a hundredth of it: none is cut off
    singular = torch.tensor([1.0] + 9 * [0.009], dtype=DOUBLE)
    wanted = Categorical(singular).entropy().exp()
    precise(function(torch.diag(singular)), wanted, "the rank of diag(1, 0.009, …, 0.009)")
    singular = 10.0 ** -torch.arange(7.0, dtype=DOUBLE)
    wanted = Categorical(singular).entropy().exp()
    expect.close(function(torch.diag(singular)), wanted, "the rank of diag(1, 0.1, …, 10⁻⁶)", rtol=1e-6)


# --- 10.11 moe_layer --------------------------------------------------------------------------------------------------


def layer_inputs(draw: Draw, tokens: int, experts: int, width: int = 3, hidden: int = 4) -> tuple[Tensor, ...]:
    return (
        draw.normal(tokens, width, dtype=DOUBLE),
        draw.normal(width, experts, dtype=DOUBLE),
        draw.normal(experts, width, hidden, dtype=DOUBLE),
        draw.normal(experts, hidden, width, dtype=DOUBLE),
    )


def probe(logits: Tensor) -> tuple[Tensor, ...]:
    """Inputs whose output, in its last E columns, is each token's gate for each expert, and 0 where it was dropped.

    A token is (1, its logits); the router reads the logits; expert e answers with the unit vector of e.
    """
    count, experts = logits.shape
    tokens = torch.cat([torch.ones(count, 1, dtype=logits.dtype), logits], dim=1)
    router = torch.cat([torch.zeros(1, experts), torch.eye(experts)]).to(logits.dtype)
    w1 = torch.zeros(experts, experts + 1, 1, dtype=logits.dtype)
    w1[:, 0] = 1
    w2 = torch.cat([torch.zeros(experts, 1), torch.eye(experts)], dim=1).to(logits.dtype).unsqueeze(1)
    return tokens, router, w1, w2


def gates_of(function: Callable[..., Any], logits: Tensor, k: int, factor: float) -> Tensor:
    """The gates [tokens, experts] that the layer gave, 0 where a token was not sent or was dropped."""
    tokens, *weights = probe(logits)
    got, _ = pair(function(tokens, *weights, k, factor), tokens, logits.sum() * 0, ("the output", "the auxiliary loss"))
    expect.close(got[:, 0], torch.zeros(len(logits), dtype=logits.dtype), "the output's first column")
    return got[:, 1:]


@moe_layer.law(
    "k = E with room for all is the dense mixture, and its auxiliary loss is 1; with capacity 0 the output is 0",
    hint="Output: Σ_e gate_e · relu(x @ w1[e]) @ w2[e]; with k = E the gates are the softmax. Auxiliary loss: all k "
    "choices of all tokens count.",
    trials=2,
)
def dense_mixture(function, draw):
    experts = 2 + draw.trial
    tokens, router, w1, w2 = layer_inputs(draw, draw.size(1, 6), experts)
    outputs = torch.stack([torch.relu(tokens @ a) @ b for a, b in zip(w1, w2, strict=True)], dim=1)
    wanted = (softmax(tokens @ router).unsqueeze(-1) * outputs).sum(1)
    one = torch.tensor(1.0, dtype=DOUBLE)
    output, auxiliary = pair(
        function(tokens, router, w1, w2, experts, 1.0), tokens, one, ("the output", "the auxiliary loss")
    )
    precise(output, wanted, "the output")
    precise(auxiliary, one, "the auxiliary loss")
    for k in (1, experts):
        output, _ = pair(function(tokens, router, w1, w2, k, 0), tokens, one, ("the output", "the auxiliary loss"))
        expect.equal(output, torch.zeros_like(tokens), f"the output for k = {k} at a capacity factor of 0")


@moe_layer.law(
    "with room for all, each token has k gates: at k = 1 the full softmax's, at k > 1 a softmax over the k largest",
    hint="k = 1: the gate of switch_gate. k > 1: softmax over the k chosen logits, which sums to 1.",
    trials=2,
)
def layer_gates(function, draw):
    logits = apart(draw, (1, 6)[draw.trial], 5)
    logits[:, 3] += 10.0 * draw.trial  # all tokens want one expert, and there is room
    rest = torch.sort(logits, dim=-1).values
    for k in (1, 2 + draw.trial):
        gates = gates_of(function, logits, k, 5.0)
        chosen = logits >= rest[:, -k:][:, :1]
        expect.equal(gates > 0, chosen, f"which gates are positive for k = {k}")
        base = logits if k == 1 else logits.masked_fill(~chosen, -torch.inf)
        precise(gates, softmax(base) * chosen, f"the tensor of gates for k = {k}")


@moe_layer.law(
    "equal experts are one feed-forward layer (k > 1), in float32 too",
    hint="If every expert computes the same and the gates sum to 1, the output is what one expert computes.",
    trials=1,
)
def equal_experts(function, draw):
    tokens, router, w1, w2 = (part.float() for part in layer_inputs(draw, 5, 4))
    w1, w2 = w1[:1].expand_as(w1).clone(), w2[:1].expand_as(w2).clone()
    output, _ = pair(function(tokens, router, w1, w2, 2, 4.0), tokens, tokens.sum(), ("the output", "the loss"))
    expect.close(output, torch.relu(tokens @ w1[0]) @ w2[0], "the output", rtol=1e-3, atol=1e-5)


@moe_layer.law(
    "an expert that is full drops the tokens that come late; first choices come before second ones",
    hint="capacity(tokens, E, k, factor) slots for each expert, in one buffer for all choices. Dispatch all first "
    "choices in the tokens' order, then all second ones: chosen.T.flatten(). A drop leaves the token's other gates "
    "as they are.",
    trials=2,
)
def layer_capacity(function, draw):
    experts, count = 3, (4, 8)[draw.trial]
    logits = apart(draw, count, experts)
    first, second = draw.permutation(experts)[:2].tolist()
    # The early tokens' second choice is the late tokens' first
    logits[: count // 2, first] += 10.0
    logits[count // 2 :, first] += 5.0
    logits[: count // 2, second] += 5.0
    logits[count // 2 :, second] += 10.0
    cases = [(logits, 1, 1.0), (logits, 1, 0.1), (logits, 2, (0.75, 1.0)[draw.trial]), (logits, 3, 0.5)]
    for logits, k, factor in [*cases, (apart(draw, 40, 6), 4, 0.6)]:
        count, experts = logits.shape
        slots = next(slots for slots in range(1, 99) if slots * experts >= k * count * factor)
        free, full = gates_of(function, logits, k, 9.0), gates_of(function, logits, k, factor)
        for expert in range(experts):
            # A first choice has the largest gate; second choices come after all first ones, and so on
            mine = free[:, expert].nonzero()[:, 0].tolist()
            mine.sort(key=lambda token: (int((free[token] > free[token, expert]).sum()), token))
            wanted = torch.zeros(count, dtype=DOUBLE)
            wanted[mine[:slots]] = free[mine[:slots], expert]
            precise(full[:, expert], wanted, f"the row of gates of expert {expert}, k = {k}, {slots} slots")


@moe_layer.law(
    "the auxiliary loss is the switch loss over all k choices, before any is dropped",
    hint="switch_loss(probabilities repeated k times, all choices, E): f is the fraction of the k · tokens choices, "
    "in the dtype of the probabilities.",
    trials=1,
)
def layer_auxiliary(function, draw):
    experts, count = 4, draw.integer(5, 8)
    logits = apart(draw, count, experts)
    for k in (1, 2, 3):
        counts = np.bincount(np.argsort(-logits.numpy(), axis=1)[:, :k].ravel(), minlength=experts)
        wanted = torch.tensor(experts * np.average(softmax(logits).mean(0).numpy(), weights=counts))
        wanted = wanted * counts.sum() / (k * count)
        for factor in (0.5, 4.0)[: min(k, 2)]:
            got = function(*probe(logits), k, factor)
            expect.same_kind(got, (0, 0))
            precise(got[1], wanted, f"the auxiliary loss for k = {k}, capacity factor {factor}")


@moe_layer.law(
    "gradients reach the tokens, the router and both layers of the experts, through output and auxiliary loss",
    hint="The router learns through the gates; at k = 1 only if the gate is the full softmax's.",
    trials=2,
)
def layer_gradient(function, draw):
    k, tokens = 1 + draw.trial, 5
    inputs, weights = layer_inputs(draw, tokens, 3, width=2, hidden=3), draw.normal(tokens, 2, dtype=DOUBLE)

    def cost(*arguments: Tensor) -> Tensor:
        output, auxiliary = function(*arguments, k, 1.0)
        return (weights * output).sum() + 3 * auxiliary

    slopes(draw, cost, *inputs)
    equal, *others = probe(torch.zeros(1, 3, dtype=DOUBLE))
    equal.requires_grad_()
    gates = function(equal, *others, 1, 9.0)[0][:, 1:]
    wanted = ((gates.detach() > 0).double() - 1 / 3) / 3
    precise(expect.gradient(gates, equal)[:, 1:], wanted, "the gradient of the gate by equal logits")
