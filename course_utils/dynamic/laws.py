"""Laws of unit 06, dynamic inference."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Categorical

from course_utils.checks import expect
from course_utils.checks.draw import Draw
from course_utils.checks.engine import Unit
from course_utils.checks.expect import HALVES
from course_utils.models import mlp_forward, run_stage

unit = Unit("dynamic")
prediction_entropy = unit.exercise("6.1", "prediction_entropy", points=2, minutes=8, difficulty=2)
exit_index = unit.exercise("6.2", "exit_index", points=3, minutes=12, difficulty=2)
joint_exit_loss = unit.exercise("6.3", "joint_exit_loss", points=2, minutes=5, difficulty=1)
choose_thresholds = unit.exercise("6.4", "choose_thresholds", points=4, minutes=25, difficulty=4)
skip_gate = unit.exercise("6.5a", "skip_gate", points=3, minutes=12, difficulty=3)
expected_cost = unit.exercise("6.5b", "expected_cost", points=1, minutes=5, difficulty=1)
expected_reward = unit.exercise("6.5c", "expected_reward", points=3, minutes=20, difficulty=4)
slim = unit.exercise("6.6", "slim", points=3, minutes=12, difficulty=3, fresh=True)
early_exit_predict = unit.exercise("6.7", "early_exit_predict", points=4, minutes=25, difficulty=4)

DOUBLE = torch.float64
FLOATS = (torch.float32, DOUBLE)


def precise(got: Any, expected: Any, what: str = "the result") -> None:
    """Equal up to the rounding of float64: float32 anywhere on the way is seen."""
    expect.close(got, expected, what, rtol=1e-10, atol=1e-12)


def near(got: Any, expected: Tensor, what: str = "the result") -> None:
    """Equal up to the rounding of the expected dtype."""
    (precise if expected.dtype == DOUBLE else expect.close)(got, expected, what)


def rising(*probabilities: float, dtype: torch.dtype = torch.float32) -> Tensor:
    """Logits [n, 2] of two classes, the second of these probabilities."""
    p = torch.tensor(probabilities, dtype=dtype)
    return torch.stack([torch.zeros_like(p), torch.log(p / (1 - p))], dim=1)


# --- 6.1 prediction_entropy -------------------------------------------------------------------------------------------


@prediction_entropy.law(
    "probabilities ¼ and ¾ have 0.5623 nats, two equal ones ln 2, three equal ones ln 3",
    hint="H = −Σ p ln p over the classes: natural logarithms, a minus in front, and no division.",
    trials=1,
)
def entropy_example(function, draw):
    for dtype in FLOATS:
        got = function(torch.tensor([[0.0, math.log(3)], [0.0, 0.0]], dtype=dtype))
        wanted = math.log(4) - 0.75 * math.log(3)
        near(got, torch.tensor([wanted, math.log(2)], dtype=dtype))
        near(function(torch.full((3,), 0.7, dtype=dtype)), torch.tensor(math.log(3), dtype=dtype))


@prediction_entropy.law(
    "it is the entropy that torch.distributions finds, one for each row of the last axis",
    hint="The classes are the last axis: dim=-1. What is left is the shape without it, in the dtype of the logits.",
)
def entropy_of_distributions(function, draw):
    for dtype in FLOATS:
        for shape in ((draw.integer(2, 9),), (draw.size(1, 6), 4), (2, 4, 3), (3, 1)):
            logits = draw.normal(*shape, scale=draw.uniform(0.3, 4), dtype=dtype)
            near(function(logits), Categorical(logits=logits.double()).entropy().to(dtype))


@prediction_entropy.law(
    "logits of ±10,000 give 0, or the logarithm of how many are largest, and never NaN",
    hint="0 · log 0 is 0 here: torch.special.entr and torch.xlogy know it, and log_softmax stays finite.",
    trials=1,
)
def entropy_of_extremes(function, draw):
    for dtype in FLOATS:
        rows = torch.tensor([[1e4, -1e4, -1e4], [-1e4, -1e4, -1e4], [1e4, 1e4, -1e4], [0, -1e4, 1e4]], dtype=dtype)
        near(function(rows), torch.tensor([0, math.log(3), math.log(2), 0], dtype=dtype))
        undecided = torch.tensor([[0.0, 1.0, -1.0]], dtype=dtype)
        for shift in (-200.0, 200.0):
            near(function(undecided + shift), entropy(undecided).to(dtype), f"the entropy after adding {shift:g}")


@prediction_entropy.law(
    "a prediction that is all but sure keeps its small entropy: 4.3e-08 nats for logits 0 and −20",
    hint="Add no small constant to a probability and cut nothing off: thresholds may be as small.",
    trials=1,
)
def entropy_of_the_sure(function, draw):
    # At a gap of 30 what 1 − p loses to rounding is seen
    for gap, wanted, rtol in ((20.0, 4.328420e-8, 1e-6), (14.0, 1.2472915e-5, 1e-6), (30.0, 2.900860e-12, 1e-2)):
        got = function(torch.tensor([-gap, 0.0], dtype=DOUBLE))
        expect.close(got, torch.tensor(wanted, dtype=DOUBLE), "the entropy", rtol=rtol, atol=0)


@prediction_entropy.law(
    "logits in half precision give an entropy in half precision",
    hint="The result has the dtype of the logits.",
    trials=1,
)
def entropy_in_half(function, draw):
    for dtype in HALVES:
        got = function(torch.tensor([[0.0, 0.0, 0.0, 0.0], [9.0, 0.0, 0.0, 0.0]], dtype=dtype))
        expect.same_kind(got, torch.zeros(2, dtype=dtype))
        expect.close(got.float(), torch.tensor([math.log(4), 0.0037]), "the entropy", rtol=2e-2, atol=6e-3)


# --- 6.2 exit_index ---------------------------------------------------------------------------------------------------


def entropy(logits: Tensor) -> Tensor:
    return Categorical(logits=logits.double()).entropy()


def away(draw: Draw, entropies: Tensor) -> float:
    """A threshold between two of these entropies, or beyond them all, none nearer than rounding can matter."""
    levels = np.unique(np.concatenate([[0.0], entropies.numpy().ravel(), [entropies.max().item() + 0.2]]))
    gaps = [(a + b) / 2 for a, b in itertools.pairwise(levels) if b - a > 1e-4]
    return float(draw.choice(gaps))


@exit_index.law(
    "five examples, three exits, thresholds 0.1 and 0.5: they leave at 0, 1, 2, 1, 0",
    hint="Probabilities ½, 0.9, 0.99 have 0.693, 0.325, 0.056 nats. An example leaves at the first exit whose "
    "entropy is below its threshold, and at the last one if there is none.",
    trials=1,
)
def exit_example(function, draw):
    for dtype in FLOATS:
        first, second, third = (0.99, 0.9, 0.5, 0.5, 0.99), (0.5, 0.9, 0.5, 0.99, 0.5), (0.5, 0.5, 0.5, 0.99, 0.99)
        logits = [rising(*row, dtype=dtype) for row in (first, second, third)]
        expect.equal(function(logits, [0.1, 0.5]), torch.tensor([0, 1, 2, 1, 0]), "the exits")
        got = function(logits, [0.1, 0.3])  # the fourth's mean over two exits is 0.37
        expect.equal(got, torch.tensor([0, 2, 2, 1, 0]), "the exits for thresholds 0.1 and 0.3")


@exit_index.law(
    "a threshold of 0 lets nobody out, not even who is sure (entropy 0); one of infinity lets everybody out",
    hint="Strictly below: H < T, not H ≤ T.",
    trials=1,
)
def exit_limits(function, draw):
    sure = torch.tensor([[1e4, -1e4, 0.0], [0.0, 0.0, 0.0]])
    for thresholds, wanted in (
        ([0.0, 0.0], [2, 2]), ([0.0, math.inf], [1, 1]), ([math.inf, 0.0], [0, 0]), ([1e-30, 1e-30], [0, 2]),
    ):  # fmt: skip
        expect.equal(function([sure] * 3, thresholds), torch.tensor(wanted), f"the exits for thresholds {thresholds}")
    even = torch.zeros(1, 2, dtype=DOUBLE)
    for difference, wanted in ((-1e-9, 1), (1e-9, 0)):
        got = function([even, even], [math.log(2) + difference])
        expect.equal(got, torch.tensor([wanted]), f"the exit for a threshold of ln 2 {difference:+g}, in float64,")


@exit_index.law(
    "each example goes its own way: alone it leaves where it leaves among others",
    hint="Every example for itself: nobody waits for the others of the batch.",
)
def exit_alone(function, draw):
    exits, batch = 2 + draw.trial, (4, 7, 40)[draw.trial]
    logits = [draw.normal(batch, 5, scale=2.5) for _ in range(exits)]
    thresholds = [away(draw, entropy(each)) for each in logits[:-1]]
    got = function(logits, thresholds)
    expect.same_kind(got, torch.zeros(batch, dtype=torch.int64), "the exits")
    for i in range(min(batch, 8)):
        alone = [each[i : i + 1] for each in logits]
        expect.equal(function(alone, thresholds), got[i : i + 1], "the exit of an example that is alone")
        below = [bool(entropy(each[0]) < t) for each, t in zip(alone, thresholds, strict=False)]
        expect.equal(got[i].item(), [*below, True].index(True), f"the exit of example {i}")


@exit_index.law(
    "raising a threshold makes nobody leave later; what the last exit says plays no part",
    hint="The last exit has no threshold: whoever comes so far leaves there, however undecided.",
)
def exit_monotone(function, draw):
    logits = [draw.normal(12, 4, scale=2.5) for _ in range(3)]
    low = [away(draw, entropy(each)) for each in logits[:-1]]
    before = function(logits, low)
    for place in range(2):
        high = [t + draw.uniform(0.05, 0.5) * (i == place) for i, t in enumerate(low)]
        after = function(logits, high)
        expect.true((after <= before).all(), f"with a higher threshold {place} an example leaves later", before, after)
    other = [*logits[:-1], draw.normal(12, 4, scale=30)]
    expect.equal(function(other, low), before, "the exits, with other logits at the last exit,")


@exit_index.law(
    "one exit takes everybody; of 300 exits the last open one is found",
    hint="E − 1 thresholds, and E may be 1. Exits are counted in int64.",
    trials=1,
)
def exit_counts(function, draw):
    expect.equal(function([draw.normal(4, 3)], []), torch.zeros(4, dtype=torch.int64), "the exits")
    logits, thresholds = [torch.zeros(2, 3)] * 300, [0.0] * 299
    expect.equal(function(logits, thresholds), torch.tensor([299, 299]), "the exits")
    thresholds[280] = 5.0
    expect.equal(function(logits, thresholds), torch.tensor([280, 280]), "the exits")


# --- 6.3 joint_exit_loss ----------------------------------------------------------------------------------------------


@joint_exit_loss.law(
    "two exits of weights 1 and 0.3: 1 · 0.8370 + 0.3 · 0.6931 = 1.0449",
    hint="Cross-entropy of each exit, a mean over the batch, times its weight; then the sum over the exits.",
    trials=1,
)
def joint_example(function, draw):
    logits = [rising(0.75, 0.75), torch.zeros(2, 2)]
    got = function(logits, torch.tensor([1, 0]), [1.0, 0.3])
    expect.close(got, torch.tensor(0.5 * math.log(4 / 3) + 0.5 * math.log(4) + 0.3 * math.log(2)))
    for dtype in HALVES:
        got = function([torch.zeros(2, 2, dtype=dtype)], torch.tensor([1, 0]), [1.0])
        expect.close(got, torch.tensor(math.log(2), dtype=dtype), f"the loss in {dtype}")


@joint_exit_loss.law(
    "with weights 0, …, 0, 1 it is torch's cross-entropy of the last exit; so with a 1 elsewhere",
    hint="Mean over the batch, and no division by the number of classes or exits. A weight of 0 is a weight.",
)
def joint_of_one(function, draw):
    exits, batch, classes = 1 + draw.trial, draw.size(1, 9), draw.integer(2, 7)
    for dtype in FLOATS:
        logits, labels = [draw.normal(batch, classes, dtype=dtype) for _ in range(exits)], draw.labels(batch, classes)
        for place in range(exits):
            weights = [float(place == i) for i in range(exits)]
            near(
                function(logits, labels, weights),
                F.cross_entropy(logits[place], labels),
                f"weights {weights}: the loss",
            )


@joint_exit_loss.law(
    "it is linear in the weights: twice the weights, twice the loss",
    hint="Weights are taken as they are; they need not sum to 1.",
)
def joint_linear(function, draw):
    logits, labels = [draw.normal(5, 4, dtype=DOUBLE) for _ in range(3)], draw.labels(5, 4)
    a, b = ([draw.uniform(0.1, 3) for _ in range(3)] for _ in range(2))
    both = function(logits, labels, [x + y for x, y in zip(a, b, strict=True)])
    precise(both, function(logits, labels, a) + function(logits, labels, b), "the loss for the sum of two weightings")
    precise(
        function(logits, labels, [2 * x for x in a]), 2 * function(logits, labels, a), "the loss for doubled weights"
    )
    precise(function(logits, labels, [0.0] * 3), torch.tensor(0.0, dtype=DOUBLE), "the loss for weights 0")


@joint_exit_loss.law(
    "every exit learns: its gradient is its weight times that of its own cross-entropy",
    hint="Keep to tensors: .item() and .detach() cut the gradient.",
)
def joint_gradient(function, draw):
    logits = [draw.normal(4, 3, dtype=DOUBLE).requires_grad_() for _ in range(2 + draw.trial)]
    labels, weights = draw.labels(4, 3), [draw.uniform(0.2, 2) for _ in logits]
    got = function(logits, labels, weights)
    expect.scalar(got, "the loss")
    slopes = expect.gradient(got, logits, "the loss")
    for number, (slope, each, weight) in enumerate(zip(slopes, logits, weights, strict=True)):
        (wanted,) = torch.autograd.grad(F.cross_entropy(each, labels), each)
        precise(slope, weight * wanted, f"the gradient at exit {number}")


@joint_exit_loss.law(
    "logits of ±10,000 give a finite loss", hint="F.cross_entropy takes logits, not probabilities.", trials=1
)
def joint_extremes(function, draw):
    logits = torch.tensor([[1e4, -1e4], [-1e4, 1e4]])
    expect.close(function([logits, logits], torch.tensor([0, 0]), [1.0, 0.5]), torch.tensor(15000.0), "the loss")


# --- 6.4 choose_thresholds --------------------------------------------------------------------------------------------


def bools(*rows: str) -> Tensor:
    """'1101' -> a row of True, True, False, True."""
    return torch.tensor([[letter == "1" for letter in row] for row in rows])


@choose_thresholds.law(
    "four examples, one exit: 0.5 is best, if its 5.5 MACs an example are within the budget",
    hint="Whoever leaves first costs 1, the others 10, all included. The budget is a mean over the examples, and "
    "exactly the budget is within it. If nothing is, raise ValueError.",
    trials=1,
)
def choose_example(function, draw):
    entropies, correct = torch.tensor([[0.1, 0.4, 0.6, 0.9]]), bools("1100", "1011")
    candidates = [0.0, 0.5, math.inf]
    for budget, wanted in ((math.inf, 0.5), (10, 0.5), (5.5, 0.5), (5.4, math.inf), (1, math.inf)):
        got = function(entropies, correct, [1, 10], budget, candidates)
        expect.equal(got, [wanted], f"the thresholds within {budget}")
    refuses(function, entropies, correct, [1, 10], 0.9, candidates)


def refuses(function: Callable[..., Any], *arguments: Any) -> None:
    """The function raises ValueError; in a sandbox too, which tells the kind of an exception by its name."""
    try:
        got = function(*arguments)
    except Exception as error:
        if getattr(error, "kind", "") != "ValueError":
            raise
        return
    expect.true(False, "nothing is within the budget, and no ValueError is raised", "ValueError", got)


@choose_thresholds.law(
    "of equally good ones the cheapest; of equally cheap ones the first candidate",
    hint="Compare right answers first, then the cost, then the place in itertools.product's order: replace the best "
    "only by what is better.",
    trials=1,
)
def choose_ties(function, draw):
    entropies, correct = torch.tensor([[0.1, 0.4, 0.6, 0.9]]), bools("1111", "1111")
    expect.equal(function(entropies, correct, [1, 10], 99, [0.0, 0.2, 0.7, 0.5]), [0.7], "the cheapest of equals")
    expect.equal(function(entropies, correct, [1, 10], 99, [0.7, 0.2, 0.0]), [0.7], "the cheapest of equals")
    for candidates in ([0.5, 0.45, 0.55], [0.55, 0.5, 0.45]):
        got = function(entropies, correct, [1, 10], 99, candidates)
        expect.equal(got, candidates[:1], f"the first of the equals {candidates}")
    two = torch.tensor([[0.1, 0.9], [0.9, 0.1]])
    got = function(two, bools("11", "11", "11"), [1, 2, 3], 99, [0.5, 0.4])
    expect.equal(got, [0.5, 0.5], "the first of equal pairs")
    got = function(torch.full((2, 2), 0.1), bools("11", "11", "00"), [2, 2, 2], 99, [0.0, 0.5])
    expect.equal(got, [0.0, 0.5], "the first of equal pairs")


@choose_thresholds.law(
    "of three exits each has a threshold of its own, and what is best for one alone need not be best for both",
    hint="Try all combinations: itertools.product(candidates, repeat=E − 1).",
    trials=1,
)
def choose_together(function, draw):
    entropies = torch.tensor([[0.1, 0.3, 0.9, 0.9], [0.9, 0.9, 0.1, 0.3]])
    # Exit 0 is right on example 0 only, exit 1 on example 2 only, the last on 1 and 3
    correct = bools("1000", "0010", "0101")
    expect.equal(function(entropies, correct, [1, 2, 3], 99, [0.0, 0.2, 0.5]), [0.2, 0.2], "the thresholds")
    # Whoever decides on the first exit alone keeps everybody there: the last exit is right on all but one
    greedy = bools("0110", "1111", "1101")
    got = function(torch.tensor([[0.1, 0.2, 0.8, 0.9], [0.1] * 4]), greedy, [1, 2, 9], 2, [0.0, 0.5, math.inf])
    expect.equal(got, [0.0, 0.5], "the thresholds within 2 MACs an example")
    got = function(torch.tensor([[0.1, 0.2, 0.8, 0.9], [0.9] * 4]), greedy, [1, 2, 9], 5, [0.0, 0.5, math.inf])
    expect.equal(got, [0.0, math.inf], "the thresholds within 5 MACs an example")


def walk(entropies: np.ndarray, correct: np.ndarray, macs: Sequence[float], thresholds: Sequence[float]) -> Any:
    """Right answers and MACs of all examples, each followed from exit to exit."""
    right = total = 0
    for example in range(correct.shape[1]):
        number = 0
        while number < len(thresholds) and not entropies[number, example] < thresholds[number]:
            number += 1
        right, total = right + int(correct[number, example]), total + macs[number]
    return right, total


@choose_thresholds.law(
    "no combination of the candidates within the budget has more right answers",
    hint="Follow each example to the exit where these thresholds let it out; the last exit takes the rest.",
)
def choose_best(function, draw):
    exits, count = (2, 3, 3)[draw.trial], (6, 20, 30)[draw.trial]
    entropies, correct = draw.rand(exits - 1, count), draw.mask(exits, count, keep=0.6)
    macs = np.cumsum(draw.rng.integers(1, 9, exits)).tolist()
    candidates = [0.0, math.inf, *draw.rng.permutation([0.15, 0.35, 0.55, 0.8])[:3].tolist()]
    whole = [
        (thresholds, *walk(entropies.numpy(), correct.numpy(), macs, thresholds))
        for thresholds in itertools.product(candidates, repeat=exits - 1)
    ]
    for budget in (macs[0] + draw.uniform() * (macs[-1] - macs[0]), math.inf, macs[0]):
        got = function(entropies, correct, macs, budget, candidates)
        expect.same_kind(got, [0.0] * (exits - 1), "the thresholds")
        expect.true(all(t in candidates for t in got), "a threshold is none of the candidates", candidates, got)
        right, total = walk(entropies.numpy(), correct.numpy(), macs, got)
        expect.true(total <= budget * count, f"costs {total / count:.4g} an example, over the budget {budget:.4g}")
        best = max(r for _, r, t in whole if t <= budget * count)
        expect.equal(right, best, "the number of right answers")
        cheapest = min(t for _, r, t in whole if r == best)
        expect.equal(total, cheapest, "the MACs of all examples together")
        first = next(list(t) for t, r, m in whole if (r, m) == (best, cheapest))
        expect.equal(list(got), first, "the thresholds, of equals the first")


@choose_thresholds.law(
    "costs are compared as they are: 2²⁴ + 1 MACs are more than 2²⁴, half a microsecond less than 17/32 of one",
    hint="Python's numbers are exact here; float32 and rounding are not. The budget is a limit, without a tolerance.",
    trials=1,
)
def choose_exactly(function, draw):
    entropies, right = torch.tensor([[0.1, 0.4, 0.6, 0.9]]), bools("1111", "1111")
    for costs in ([2**24, 2**24 + 1], [0.5, 0.53125]):
        got = function(entropies, right, costs, 2 * costs[1], [0.0, math.inf])
        expect.equal(got, [math.inf], f"the cheapest of equals for costs {costs}")
        # Everybody is right at the last exit only, which half of them can be sent to
        middle = (costs[0] + costs[1]) / 2
        for budget, wanted in ((middle, 0.5), (middle - 1e-4 * (costs[1] - costs[0]), math.inf)):
            got = function(entropies, bools("1100", "1111"), costs, budget, [0.0, 0.5, math.inf])
            expect.equal(got, [wanted], f"the thresholds for costs {costs} within {budget}")


@choose_thresholds.law(
    "256 right answers are more than 255, and 30,001 more than 30,000; a single exit has no threshold",
    hint="Count in integers of 64 bits, as .sum() of a bool tensor does. For E = 1 itertools.product gives one empty "
    "combination.",
    trials=1,
)
def choose_counts(function, draw):
    for count in (128, 256, 2049, 30_001):
        entropies, correct = torch.full((1, count), 0.4), torch.ones(2, count, dtype=torch.bool)
        correct[0, 7] = False
        expect.equal(function(entropies, correct, [1, 10], 99, [0.5, 0.3]), [0.3], "the thresholds")
    one = torch.zeros(0, 3), bools("101"), [4.0]
    expect.equal(function(*one, 4.0, [0.1, 0.2]), [], "the thresholds of a single exit")
    refuses(function, *one, 3.9, [0.1, 0.2])


@choose_thresholds.law(
    "an entropy of exactly the threshold does not leave",
    hint="As in exit_index: strictly below.",
    trials=1,
)
def choose_strict(function, draw):
    got = function(torch.tensor([[0.5, 0.25]]), bools("01", "11"), [1, 10], 99, [0.75, 0.5])
    expect.equal(got, [0.5], "the thresholds")
    refuses(function, torch.zeros(1, 2), bools("11", "11"), [1, 10], 9, [0.0])
    close_by = torch.tensor([[0.5, 0.5 - 1e-12]], dtype=DOUBLE)
    expect.equal(function(close_by, bools("01", "10"), [1, 10], 99, [0.75, 0.5]), [0.5], "the thresholds, in float64,")


# --- 6.5a skip_gate ---------------------------------------------------------------------------------------------------


@skip_gate.law(
    "logits [2, −1, 0, 0.5, −0.5, 1e-9] with noise [0, 0, 0, −1, 1, 0] give gates [1, 0, 0, 0, 1, 1]",
    hint="Open where logits + noise > 0; 0 is closed. Compare the sum with 0: σ(1e-9) is rounded to ½.",
    trials=1,
)
def gate_example(function, draw):
    for dtype in FLOATS:
        logits = torch.tensor([2.0, -1.0, 0.0, 0.5, -0.5, 1e-9], dtype=dtype)
        noise = torch.tensor([0.0, 0.0, 0.0, -1.0, 1.0, 0.0], dtype=dtype)
        expect.close(function(logits, noise), torch.tensor([1.0, 0, 0, 0, 1, 1], dtype=dtype), "the gates")
    for dtype in HALVES:
        logits = torch.tensor([2.0, -1.0, 0.0, 0.5], dtype=dtype)
        expect.equal(function(logits, 0 * logits), torch.tensor([1.0, 0, 0, 1], dtype=dtype), f"the gates in {dtype}")


@skip_gate.law(
    "forward every gate is 0 or 1, whatever the shape and the size of the logits",
    hint="Hard forward: the value is that of the comparison, in the dtype of the logits.",
)
def gate_values(function, draw):
    for dtype in FLOATS:
        shape = ((draw.integer(1, 5),), (3, 4), (2, 1, 3))[draw.trial]
        logits = draw.normal(*shape, scale=10.0 ** draw.integer(-2, 4), dtype=dtype)
        noise = draw.normal(*shape, scale=2, dtype=dtype)
        expect.close(function(logits, noise), (logits + noise > 0).to(dtype), "the gates")


@skip_gate.law(
    "backward it is σ: the gradient that torch.sigmoid has at logits + noise, for both",
    hint="hard + (soft − soft.detach()), with soft = σ(logits + noise): the values cancel, the gradient stays.",
)
def gate_gradient(function, draw):
    for dtype in FLOATS:
        logits, noise = (draw.normal(4, 3, scale=1.5, dtype=dtype).requires_grad_() for _ in range(2))
        factor = draw.normal(4, 3, dtype=dtype)
        got = function(logits, noise)
        expect.same_kind(got, logits, "the gates")
        slopes = expect.gradient(factor * got, [logits, noise], "a gate")
        (wanted,) = torch.autograd.grad((factor * torch.sigmoid(logits + noise)).sum(), logits)
        for slope, name in zip(slopes, ("logits", "noise"), strict=True):
            near(slope, wanted, f"the gradient by the {name}")


@skip_gate.law(
    "with logistic noise a gate opens as often as σ(logit) says",
    hint="The noise is added to the logits before the comparison.",
    trials=1,
)
def gate_often(function, draw):
    logits = torch.tensor([-2.0, -0.5, 0.0, 1.0])
    noise = torch.logit((torch.arange(2000) + 0.5) / 2000).unsqueeze(1).expand(-1, 4)
    got = function(logits.expand(2000, -1), noise)
    expect.close(got.mean(dim=0), torch.sigmoid(logits), "how often each gate is open", rtol=0, atol=1e-3)


@skip_gate.law("logits of ±10,000 have a gradient of 0, not NaN", hint="torch.sigmoid saturates by itself.", trials=1)
def gate_extremes(function, draw):
    logits = torch.tensor([1e4, -1e4]).requires_grad_()
    got = function(logits, torch.zeros(2))
    expect.close(got, torch.tensor([1.0, 0.0]), "the gates")
    expect.close(expect.gradient(got, logits, "a gate"), torch.zeros(2), "the gradient")


# --- 6.5b expected_cost -----------------------------------------------------------------------------------------------


@expected_cost.law(
    "two examples, three gates: (0.5·2 + 1·3 + 0·5 + 0·2 + 0.2·3 + 1·5) / 2 = 4.8",
    hint="Σ over the gates of probability · cost, then the mean over the batch.",
    trials=1,
)
def cost_example(function, draw):
    got = function(torch.tensor([[0.5, 1.0, 0.0], [0.0, 0.2, 1.0]]), torch.tensor([2.0, 3.0, 5.0]))
    expect.close(got, torch.tensor(4.8), "the cost")
    for dtype in (torch.float32, *HALVES):
        got = function(torch.tensor([[0.25]], dtype=dtype), torch.tensor([8.0], dtype=dtype))
        expect.close(got, torch.tensor(2.0, dtype=dtype), "the cost of one gate")


@expected_cost.law(
    "gates that are all open cost Σ c, all closed 0, and a batch of equal rows what one row costs",
    hint="A mean over the batch, a sum over the gates.",
)
def cost_limits(function, draw):
    batch, gates = (4, 3, 2)[draw.trial], (4, 1, 6)[draw.trial]
    for dtype in FLOATS:
        costs = draw.rand(gates, low=0.5, high=1e6, dtype=dtype)
        near(function(torch.ones(batch, gates, dtype=dtype), costs), costs.sum(), "the cost of open gates")
        near(function(torch.zeros(batch, gates, dtype=dtype), costs), 0 * costs.sum(), "the cost of closed gates")
        row = draw.rand(1, gates, dtype=dtype)
        near(function(row.repeat(batch, 1), costs), function(row, costs), "the cost of equal rows")


@expected_cost.law(
    "its gradient by a probability is the gate's cost / batch, and by a cost the mean probability",
    hint="Probabilities count as they are, not rounded to open or closed: a count has no gradient.",
)
def cost_gradient(function, draw):
    batch, gates = draw.size(1, 5), 3
    p = draw.rand(batch, gates, dtype=DOUBLE).requires_grad_()
    costs = draw.rand(gates, low=1, high=9, dtype=DOUBLE).requires_grad_()
    got = function(p, costs)
    expect.scalar(got, "the cost")
    by_p, by_costs = expect.gradient(got, [p, costs], "the cost")
    precise(by_p * batch, costs.expand(batch, -1), "the gradient by the probabilities, times the batch,")
    precise(by_costs, p.mean(dim=0), "the gradient by the costs")


# --- 6.5c expected_reward ---------------------------------------------------------------------------------------------


@expected_reward.law(
    "gates of 0.2 and 0.9, rewards 1, 10, 100, 1000: 0.08·1 + 0.02·10 + 0.72·100 + 0.18·1000 = 252.28",
    hint="Setting 1 is binary 01: gate 0 open, gate 1 closed, with probability 0.2 · (1 − 0.9). Setting 2 is 10.",
    trials=1,
)
def reward_example(function, draw):
    rewards = torch.tensor([[1.0, 10.0, 100.0, 1000.0]])
    expect.close(function(torch.tensor([[0.2, 0.9]]), rewards), torch.tensor(252.28), "the mean reward")
    for dtype in (torch.float32, *HALVES):
        got = function(torch.tensor([[0.25]], dtype=dtype), torch.tensor([[4.0, 8.0]], dtype=dtype))
        expect.close(got, torch.tensor(5.0, dtype=dtype), "the mean reward of one gate")


@expected_reward.law(
    "rewards that are all 1 give 1: the probabilities of the settings sum to 1",
    hint="A closed gate has the probability 1 − p.",
)
def reward_ones(function, draw):
    batch, gates = draw.size(1, 5), (1, 3, 5)[draw.trial]
    for dtype in FLOATS:
        p = draw.rand(batch, gates, dtype=dtype)
        near(function(p, torch.ones(batch, 2**gates, dtype=dtype)), torch.ones((), dtype=dtype), "the mean reward")


@expected_reward.law(
    "gates that are sure (0 or 1) give the reward of their setting, and finite gradients",
    hint="Gate l is worth 2^l: gates 1, 0, 1 are setting 1 + 4 = 5. A product of probabilities has no trouble with 0, "
    "a sum of logarithms has.",
)
def reward_of_the_sure(function, draw):
    batch, gates = (1, 3, 4)[draw.trial], (2, 3, 4)[draw.trial]
    bits = draw.mask(batch, gates).double().requires_grad_()
    rewards = draw.normal(batch, 2**gates, dtype=DOUBLE)
    settings = [sum(1 << gate for gate, bit in enumerate(row) if bit) for row in bits.tolist()]
    got = function(bits, rewards)
    wanted = torch.stack([rewards[i, setting] for i, setting in enumerate(settings)]).mean()
    precise(got, wanted, "the mean reward")
    slope = expect.gradient(got, bits, "the mean reward")
    expect.finite(slope, "the gradient")
    for i, setting in enumerate(settings):
        for gate in range(gates):
            gain = rewards[i, setting | 1 << gate] - rewards[i, setting & ~(1 << gate)]
            precise(slope[i, gate] * batch, gain, f"the gradient by gate {gate} of a sure example, times the batch,")


@expected_reward.law(
    "a reward that sums what is open has the mean Σ p·c, for nine gates too",
    hint="2^L settings, in the order of their numbers: bit l of i says whether gate l is open.",
    trials=2,
)
def reward_of_costs(function, draw):
    batch, gates = 2, (3, 9)[draw.trial]
    p, costs = draw.rand(batch, gates, dtype=DOUBLE), draw.normal(gates, dtype=DOUBLE)
    each = [sum(float(costs[gate]) for gate in range(gates) if i // 2**gate % 2) for i in range(2**gates)]
    rewards = torch.tensor(each, dtype=DOUBLE).expand(batch, -1)
    precise(function(p, rewards), (p @ costs).mean(), "the mean reward")


@expected_reward.law(
    "its gradient: opening a gate from 0 to 1 changes the mean by the slope, and rewards weigh by their probability",
    hint="Differentiable in both: no comparison, no rounding, no .item() on the way.",
)
def reward_gradient(function, draw):
    batch, gates = draw.size(1, 3), 1 + draw.trial
    p = draw.rand(batch, gates, low=0.1, high=0.9, dtype=DOUBLE).requires_grad_()
    rewards = draw.normal(batch, 2**gates, dtype=DOUBLE).requires_grad_()
    got = function(p, rewards)
    expect.scalar(got, "the mean reward")
    by_p, by_rewards = expect.gradient(got, [p, rewards], "the mean reward")
    precise((by_rewards * rewards).sum().detach(), got.detach(), "Σ gradient · reward")
    precise(by_rewards.sum(dim=1) * batch, torch.ones(batch, dtype=DOUBLE), "the probabilities' sum")
    i, gate = draw.integer(0, batch - 1), draw.integer(0, gates - 1)
    ends = []
    for value in (1.0, 0.0):  # the mean is linear in each probability
        other = p.detach().clone()
        other[i, gate] = value
        ends.append(function(other, rewards.detach()))
    precise(by_p[i, gate], ends[0] - ends[1], "the slope by a probability")


# --- 6.6 slim ---------------------------------------------------------------------------------------------------------


def numbered(outputs: int, *inputs: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """A layer whose weights are 0, 1, 2, … and whose biases are −1, −2, …"""
    weight = torch.arange(outputs * math.prod(inputs), dtype=dtype).view(outputs, *inputs)
    return weight, -1 - torch.arange(outputs, dtype=dtype)


def expect_layer(got: Any, weight: Tensor, bias: Tensor) -> None:
    expect.same_kind(got, (0, 0), "the layer")
    expect.equal(got[0], weight, "the weight")
    expect.equal(got[1], bias, "the bias")


@slim.law(
    "a 4 × 6 layer at a third of its inputs and half of its outputs: the upper left 2 × 2, and two biases",
    hint="weight is [out, in]: in_fraction is for its second axis. The bias loses the same outputs.",
    trials=1,
)
def slim_example(function, draw):
    for dtype in (*FLOATS, *HALVES):
        weight, bias = numbered(4, 6, dtype=dtype)
        got = function(weight, bias, 1 / 3, 0.5)
        expect_layer(got, torch.tensor([[0, 1], [6, 7]], dtype=dtype), torch.tensor([-1, -2], dtype=dtype))
        expect_layer(function(weight, bias, 1, 1), weight, bias)


@slim.law(
    "how many stay: of 7 at ½ four, of 5 at ½ two, of 20 at 0.35 seven, of 9 at 0.01 one",
    hint="max(1, round(fraction · n)) with Python's round, which takes 2.5 to 2 and 3.5 to 4; int() would cut.",
    trials=1,
)
def slim_counts(function, draw):
    for count, fraction, kept in ((7, 0.5, 4), (5, 0.5, 2), (20, 0.35, 7), (9, 0.01, 1), (10, 0.29, 3), (3, 0.1, 1)):
        weight, bias = numbered(count, count)
        expect_layer(function(weight, bias, 1.0, fraction), weight[:kept], bias[:kept])
        expect_layer(function(weight, bias, fraction, 1.0), weight[:, :kept], bias)


@slim.law(
    "after flattening, channels are cut, not columns: ¼ of 50 channels of 16 positions are 12 · 16 = 192 columns",
    hint="Count channels: weight.shape[1] // positions of them; each has `positions` columns.",
    trials=1,
)
def slim_positions(function, draw):
    weight, bias = numbered(3, 800)
    expect_layer(function(weight, bias, 0.25, 1.0, positions=16), weight[:, :192], bias)
    weight, bias = numbered(4, 12)
    for fraction, columns in ((0.4, 4), (0.6, 8), (0.1, 4)):  # 1.2, 1.8 and 0.3 channels
        expect_layer(function(weight, bias, fraction, 0.5, 4), weight[:2, :columns], bias[:2])


@slim.law(
    "a convolution keeps its kernels whole: it is the wide one, on maps whose other channels are 0",
    hint="Cut the first two axes only.",
)
def slim_convolution(function, draw):
    outputs, channels = (4, 6, 5)[draw.trial], (3, 4, 6)[draw.trial]
    weight, bias = draw.normal(outputs, channels, 3, 2, dtype=DOUBLE), draw.normal(outputs, dtype=DOUBLE)
    ins, outs = draw.integer(1, channels), draw.integer(1, outputs)
    small = function(weight, bias, ins / channels, outs / outputs)
    expect_layer(small, weight[:outs, :ins], bias[:outs])
    maps = draw.normal(2, channels, 5, 5, dtype=DOUBLE)
    maps[:, ins:] = 0
    precise(F.conv2d(maps[:, :ins], *small), F.conv2d(maps, weight, bias)[:, :outs], "the convolution's output")


@slim.law(
    "narrower layers lie in wider ones: half of a half is a quarter",
    hint="Always the first channels: those at the end go.",
    trials=1,
)
def slim_nested(function, draw):
    weight, bias = draw.normal(16, 8, 3, 3), draw.normal(16)
    half = function(weight, bias, 0.5, 0.5)
    expect.same_kind(half, (0, 0), "the layer")
    expect_layer(function(half[0], half[1], 0.5, 0.5), *function(weight, bias, 0.25, 0.25))


@slim.law(
    "the gradient reaches what was kept, and nothing else",
    hint=".clone() makes a copy that gradients pass; .detach() and torch.tensor(…) cut them off.",
    trials=1,
)
def slim_gradient(function, draw):
    weight, bias = draw.normal(4, 6).requires_grad_(), draw.normal(4).requires_grad_()
    small = function(weight, bias, 0.5, 0.5)
    expect.same_kind(small, (0, 0), "the layer")
    got = expect.gradient(small[0].sum() + 2 * small[1].sum(), [weight, bias], "the layer")
    wanted = torch.zeros(4, 6), torch.zeros(4)
    wanted[0][:2, :3], wanted[1][:2] = 1, 2
    expect.equal(got[0], wanted[0], "the gradient by the weight")
    expect.equal(got[1], wanted[1], "the gradient by the bias")


# --- 6.7 early_exit_predict -------------------------------------------------------------------------------------------


def layer(draw: Draw, *shape: int, scale: float = 1.0) -> dict[str, Tensor]:
    return {"weight": draw.normal(*shape, scale=scale), "bias": draw.normal(shape[0], scale=0.3)}


def head(draw: Draw, *sizes: int) -> dict[str, Tensor]:
    """An MLP's state: layers fc1, fc2, …"""
    layers = [layer(draw, outputs, inputs, scale=2.0) for inputs, outputs in itertools.pairwise(sizes)]
    return {f"fc{i}.{name}": value for i, each in enumerate(layers, 1) for name, value in each.items()}


def network(draw: Draw, batch: int) -> tuple[Tensor, list[dict[str, Tensor]], list[dict[str, Tensor]]]:
    """Images [batch, 1, 6, 6], three stages (none, a convolution, a linear layer) and their heads."""
    stages = [{}, layer(draw, 3, 1, 3, 3), layer(draw, 6, 12)]
    return draw.normal(batch, 1, 6, 6), stages, [head(draw, 36, 4), head(draw, 12, 5, 4), head(draw, 6, 4)]


def alone(image: Tensor, stages: Sequence[dict], heads: Sequence[dict]) -> list[Tensor]:
    """What each exit says, [1, classes], of a single image that goes all the way."""
    logits = []
    for stage, classifier in zip(stages, heads, strict=True):
        image = run_stage(stage, image)
        logits.append(mlp_forward(classifier, image))
    return logits


def predictions(result: Any, batch: int) -> tuple[Tensor, Tensor]:
    expect.same_kind(result, (0, 0), "the result")
    for value, name in zip(result, ("the classes", "the exits"), strict=True):
        expect.same_kind(value, torch.zeros(batch, dtype=torch.int64), name)
    return result[0], result[1]


@early_exit_predict.law(
    "two images, two exits: the sure one leaves at 0 with class 1, the other at 1 with class 0",
    hint="Class: argmax of the logits at the exit where the image leaves. Both results are int64 [batch].",
    trials=1,
)
def predict_example(function, draw):
    inputs = torch.tensor([[0.0, 9.0], [0.2, 0.1]])
    stages = [{}, {"weight": torch.eye(2), "bias": torch.zeros(2)}]
    heads = [{"fc.weight": sign * torch.eye(2), "fc.bias": torch.zeros(2)} for sign in (1.0, 5.0)]
    for order in ([0, 1], [1, 0]):
        classes, exits = predictions(function(inputs[order], stages, heads, [0.1]), 2)
        expect.equal(exits, torch.tensor([0, 1])[order], "the exits")
        expect.equal(classes, torch.tensor([1, 0])[order], "the classes")


@early_exit_predict.law(
    "thresholds of infinity let everybody out at exit 0, thresholds of 0 at the last one",
    hint="Strictly below the threshold; the last exit takes whoever is left.",
)
def predict_limits(function, draw):
    batch = draw.size(1, 5)
    inputs, stages, heads = network(draw, batch)
    says = [torch.cat(rows) for rows in zip(*(alone(i, stages, heads) for i in inputs.split(1)), strict=True)]
    for thresholds, number in (([math.inf] * 2, 0), ([0.0, math.inf], 1), ([0.0, 0.0], 2)):
        classes, exits = predictions(function(inputs, stages, heads, thresholds), batch)
        expect.equal(exits, torch.full((batch,), number), f"the exits for thresholds {thresholds}")
        expect.equal(classes, says[number].argmax(dim=1), f"the classes for thresholds {thresholds}")
    sure = {"fc.weight": torch.zeros(4, 36), "fc.bias": torch.tensor([0.0, 1e4, 0.0, 0.0])}
    classes, exits = predictions(function(inputs, stages, [sure, *heads[1:]], [0.0, 0.0]), batch)
    expect.equal(exits, torch.full((batch,), 2), "the exits of images that are sure (entropy 0), for thresholds 0,")
    even = {"fc.weight": torch.zeros(2, 36, dtype=DOUBLE), "fc.bias": torch.zeros(2, dtype=DOUBLE)}
    _, exits = predictions(function(inputs[:1].double(), [{}, {}], [even, even], [math.log(2) + 1e-9]), 1)
    expect.equal(exits, torch.tensor([0]), "the exit for a threshold of ln 2 + 1e-9, in float64,")


@early_exit_predict.law(
    "each image gets the class and the exit that it gets alone, in the order of the inputs",
    hint="Remember which rows are still waiting, waiting = waiting[~leaves], and write the classes to these places.",
)
def predict_each(function, draw):
    batch = (5, 12, 300)[draw.trial]
    inputs, stages, heads = network(draw, batch)
    rows = [alone(image, stages, heads) for image in inputs[:40].split(1)]
    thresholds = [away(draw, torch.cat([entropy(row[i]) for row in rows])) for i in range(2)]
    classes, exits = predictions(function(inputs, stages, heads, thresholds), batch)
    for place, row in enumerate(rows):
        below = [bool(entropy(row[i]) < thresholds[i]) for i in range(2)]
        number = [*below, True].index(True)
        expect.equal(exits[place].item(), number, f"the exit of image {place}")
        expect.equal(classes[place].item(), int(row[number].argmax()), f"the class of image {place}")
    order = draw.permutation(batch)
    again = predictions(function(inputs[order], stages, heads, thresholds), batch)
    expect.equal(again[1], exits[order], "the exits of the same images in another order")


@early_exit_predict.law(
    "who has left is not computed any further: an image that would overflow in the next stage is no trouble",
    hint="Take the rest only: hidden = hidden[~leaves] before the next run_stage. Computing all and choosing "
    "afterwards saves nothing.",
    trials=1,
)
def predict_overflow(function, draw):
    inputs, stages, heads = network(draw, 4)
    inputs[2] = 1e37 * inputs[2].sign()  # a product with the next weights, of some tens, is beyond float32
    stages[1] = {"weight": 100 * stages[1]["weight"], "bias": stages[1]["bias"]}
    zero = {"fc.weight": torch.zeros(4, 36), "fc.bias": torch.zeros(4)}
    zero["fc.weight"][1, 0] = 1e-20 * inputs[2, 0, 0, 0].sign()
    classes, exits = predictions(function(inputs, stages, [zero, *heads[1:]], [0.5, 0.0]), 4)
    expect.equal(exits, torch.tensor([2, 2, 0, 2]), "the exits")
    expect.equal(classes[2].item(), 1, "the class of the image that leaves")


@early_exit_predict.law(
    "a stage or a head that nobody enters is not run, even if its weights fit nothing",
    hint="Stop when nobody is waiting: an empty batch runs through every layer as well.",
    trials=1,
)
def predict_unvisited(function, draw):
    inputs, stages, heads = network(draw, 3)
    misfit, no_head = layer(draw, 2, 77), head(draw, 55, 4)
    for broken in (([stages[0], misfit, misfit], [heads[0], no_head, no_head]), (stages, [heads[0], no_head, no_head])):
        classes, exits = predictions(function(inputs, *broken, [math.inf, 1.0]), 3)
        expect.equal(exits, torch.zeros(3, dtype=torch.int64), "the exits")
        expect.equal(classes, mlp_forward(heads[0], inputs).argmax(dim=1), "the classes")
    _, exits = predictions(function(inputs, [*stages[:2], misfit], [*heads[:2], no_head], [0.0, math.inf]), 3)
    expect.equal(exits, torch.ones(3, dtype=torch.int64), "the exits")


@early_exit_predict.law(
    "a network with one exit, and one of five exits",
    hint="E is the number of stages; E − 1 thresholds belong to all but the last.",
    trials=1,
)
def predict_counts(function, draw):
    inputs, stages, heads = network(draw, 4)
    classes, exits = predictions(function(inputs, stages[:1], heads[:1], []), 4)
    expect.equal(exits, torch.zeros(4, dtype=torch.int64), "the exits")
    expect.equal(classes, mlp_forward(heads[0], inputs).argmax(dim=1), "the classes")
    row = draw.rand(6, 5, low=0.1)
    stages = [{}, *({"weight": torch.eye(5), "bias": torch.full((5,), 0.5)} for _ in range(4))]
    heads = [{"a.weight": k * torch.eye(5), "a.bias": torch.zeros(5)} for k in (0.0, 0.0, 0.0, 50.0, 0.0)]
    classes, exits = predictions(function(row, stages, heads, [0.0, 1.0, 1.0, math.inf]), 6)
    expect.equal(exits, torch.full((6,), 3), "the exits")
    expect.equal(classes, row.argmax(dim=1), "the classes")
