"""Instructor-only laws of unit 07: harder cases, compared with the reference."""

import torch

from course_utils import lottery
from course_utils.checks import expect
from course_utils.checks.draw import Draw
from course_utils.checks.engine import Law, law
from course_utils.lottery.laws import expect_masks, expect_state, play_round


def many_equals(draw: Draw) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Weights of few different magnitudes, among them a transposed tensor, and masks in another order."""
    levels = draw.integer(1, 4)
    weights = {
        name: torch.from_numpy(draw.rng.integers(-levels, levels + 1, shape)).double()
        for name, shape in [("w", (9, 8)), ("c", (3, 2, 3, 3)), ("a", (1,)), ("b", (40,)), ("bias", (7,))]
    }
    weights["w"] = weights["w"].t()
    return weights, {name: draw.mask(*weights[name].shape, keep=0.7) for name in ("b", "w", "a", "c")}


@law("many tensors with many equals, round after round", trials=2)
def tickets_hidden(function, draw):
    weights, masks = many_equals(draw)
    for rates in (draw.uniform(), {"w": draw.uniform(), "c": 1.0, "b": 0.25, "a": 0.5}):
        now = masks
        for _ in range(3):
            wanted = lottery.prune_tickets(weights, now, rates)
            expect.equal(expect_masks(function(weights, now, rates), masks), wanted, "masks")
            now = wanted


@law("filter banks, half-precision scales, masks that are empty or whole")
def rewind_hidden(function, draw):
    initial = {
        "conv": draw.normal(3, 2, 3, 3, dtype=torch.float64),
        "scale": draw.normal(5).bfloat16().float(),
        "counter": torch.tensor(3),
        "empty": draw.normal(2, 2),
    }
    masks = {"empty": torch.zeros(2, 2, dtype=torch.bool), "conv": draw.mask(3, 2, 3, 3)}
    expect.equal(expect_state(function(initial, masks), initial), lottery.rewind(initial, masks), "the state")


@law("draws of many seeds have mean 0 and the tensor's standard deviation, position by position", trials=1)
def reinitialize_hidden(function, draw):
    initial = {"w": draw.normal(2, 3) * 5 + 1, "bias": draw.normal(2)}
    masks = {"w": torch.tensor([[True, True, False], [True, True, True]])}
    base = draw.integer(0, 10**6)
    draws = torch.stack([function(initial, masks, base + i)["w"] for i in range(150)]) / initial["w"].std()
    expect.true((draws[:, ~masks["w"]] == 0).all(), "not 0 outside the mask")
    kept = draws[:, masks["w"]]
    expect.true((kept.mean(0).abs() < 0.6).all(), "the mean of a position is not 0", got=kept.mean(0))
    expect.true(((kept.std(0) > 0.6) & (kept.std(0) < 1.5)).all(), "its standard deviation is wrong", got=kept.std(0))
    correlation = torch.corrcoef(kept.T).fill_diagonal_(0).abs().max()
    expect.true(correlation < 0.55, "two positions depend on each other", got=correlation)


@law("over many seeds every position is kept as often as every other", trials=1)
def shuffle_hidden(function, draw):
    masks = {"w": draw.mask(3, 4, keep=0.5), "v": torch.arange(10) < 3}
    base = draw.integer(0, 10**6)
    runs = [expect_masks(function(masks, base + i), masks) for i in range(150)]
    for name, mask in masks.items():
        often = torch.stack([run[name].double() for run in runs]).mean(0)
        off = (often - mask.double().mean()).abs().max()
        expect.true(off < 0.27, f"masks[{name!r}] keeps some positions too often or too seldom", got=often)


@law("many layers at rates of their own")
def remaining_hidden(function, draw):
    sizes = {f"layer {i}": draw.integer(1, 10**6) for i in range(8)}
    rates = {name: draw.uniform() for name in reversed(sizes)}
    rounds = draw.integer(0, 30)
    expect.close(function(rounds, rates, sizes), lottery.remaining_after(rounds, rates, sizes), rtol=1e-9, atol=0)


@law("tensors of any number of axes, in any order")
def distance_hidden(function, draw):
    shapes = {"w": (9, 8), "c": (3, 2, 3, 3), "a": (1,), "b": (40,)}
    a, b = ({name: draw.mask(*shape, keep=0.3) for name, shape in shapes.items()} for _ in range(2))
    b = {name: b[name] for name in sorted(b)}
    expect.close(function(a, b), lottery.mask_distance(a, b))


@law("a mask that comes to rest: the first moment at which it has settled", trials=1)
def bird_hidden(function, draw):
    scores, history = draw.normal(20, 20), []
    for step in range(14):
        scores = scores + draw.normal(20, 20) * 0.6**step
        history.append({"w": scores > scores.median()})
        wanted = lottery.is_early_bird(history, 0.05, 3)
        expect.true(function(history, 0.05, 3) == wanted, f"after {step + 1} masks", wanted)


@law("many layers with many equals, every fraction")
def channels_hidden(function, draw):
    scales = {f"n{i}": torch.from_numpy(draw.rng.integers(-3, 4, draw.integer(1, 30))).double() for i in (3, 1, 2, 0)}
    for keep_fraction in (draw.uniform(), 0.5, 1.0, 0.0):
        wanted = lottery.channel_mask(scales, keep_fraction)
        expect.equal(expect_masks(function(scales, keep_fraction), scales), wanted, "masks")


@law("a convolutional body under a new head")
def transplant_hidden(function, draw):
    masks = {"conv": draw.mask(4, 3, 3, 3), "norm": draw.mask(4), "fc": draw.mask(10, 8)}
    target = {
        "fc": draw.normal(2, 8),
        "norm": draw.normal(4),
        "conv": draw.normal(4, 3, 3, 3),
        "fc.bias": draw.normal(2),
    }
    expect.equal(function(masks, target, ("fc",)), lottery.transplant(masks, target, ("fc",)), "masks")


@law("five rounds on weights with many equals", trials=2)
def round_hidden(function, draw):
    trained, masks = many_equals(draw)
    initial = {name: draw.normal(*value.shape, dtype=torch.float64) for name, value in trained.items()}
    for rates in (0.37, {"w": 0.2, "b": 0.5}):
        now = masks
        for _ in range(3):
            wanted_state, wanted = lottery.imp_round(initial, trained, now, rates)
            state, new = play_round(function, initial, trained, now, rates)
            expect.equal(new, wanted, "masks")
            expect.equal(state, wanted_state, "the state")
            now = wanted


LAWS: dict[str, list[Law]] = {
    "7.1": [tickets_hidden],
    "7.2": [rewind_hidden],
    "7.3a": [reinitialize_hidden],
    "7.3b": [shuffle_hidden],
    "7.4": [remaining_hidden],
    "7.5a": [distance_hidden],
    "7.5b": [bird_hidden],
    "7.6": [channels_hidden],
    "7.7": [transplant_hidden],
    "7.8": [round_hidden],
}
