"""The references of unit 06 against torch.distributions, NumPy and brute force."""

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Bernoulli, Categorical

from course_utils import dynamic
from course_utils.models import mlp, mlp_forward, run_stage
from course_utils.moe import reinforce_loss

DOUBLE = torch.float64


def tensor(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


@given(st.integers(0, 99), st.lists(st.integers(1, 4), max_size=2), st.integers(1, 12), st.floats(-3, 4))
def test_entropy_is_torch_distributions(seed, batch, classes, scale):
    logits = 10**scale * tensor(seed, *batch, classes)
    got = dynamic.prediction_entropy(logits)
    assert got.shape == tuple(batch) and (got >= 0).all()
    torch.testing.assert_close(got, Categorical(logits=logits).entropy(), rtol=1e-9, atol=1e-12)


@given(st.integers(0, 99), st.integers(1, 4), st.integers(1, 6))
def test_exit_is_the_first_that_is_sure_enough(seed, exits, batch):
    logits = [3 * tensor(seed + 100 * i, batch, 4) for i in range(exits)]
    thresholds = np.random.default_rng(seed).choice([0, 0.2, 0.7, 1.2, math.inf], exits - 1).tolist()
    wanted = []
    for row in range(batch):
        entropies = [float(Categorical(logits=each[row]).entropy()) for each in logits[:-1]]
        wanted.append(next((i for i, (h, t) in enumerate(zip(entropies, thresholds, strict=True)) if h < t), exits - 1))
    got = dynamic.exit_index(logits, thresholds)
    assert got.dtype == torch.int64 and got.tolist() == wanted


def test_joint_loss_of_one_exit_is_cross_entropy():
    logits, labels = [tensor(i, 5, 3) for i in range(3)], torch.tensor([0, 2, 1, 1, 0])
    assert dynamic.joint_exit_loss(logits, labels, [0, 0, 1]) == F.cross_entropy(logits[2], labels)
    wanted = sum(w * -Categorical(logits=z).log_prob(labels).mean() for w, z in zip((2, 0.5, 1), logits, strict=True))
    torch.testing.assert_close(dynamic.joint_exit_loss(logits, labels, [2, 0.5, 1]), wanted)


@given(st.integers(0, 999), st.integers(1, 3), st.floats(0, 1))
def test_chosen_thresholds_are_the_best_of_all(seed, exits, part):
    draw = np.random.default_rng(seed)
    entropies, correct = draw.random((exits - 1, 8)), draw.random((exits, 8)) < 0.6
    macs, candidates = draw.integers(1, 9, exits).cumsum(), [0.5, 0.0, math.inf, 0.2]
    ranked = []
    for place, thresholds in enumerate(itertools.product(candidates, repeat=exits - 1)):
        left = [next((e for e in range(exits - 1) if entropies[e, i] < thresholds[e]), exits - 1) for i in range(8)]
        ranked.append((-sum(correct[e, i] for i, e in enumerate(left)), sum(macs[left]) / 8, place, list(thresholds)))
    budget = float(macs[0] + part * (macs[-1] - macs[0]))
    arguments = torch.from_numpy(entropies), torch.from_numpy(correct), macs.tolist(), budget, candidates
    possible = [entry for entry in ranked if entry[1] <= budget]
    if possible:
        assert dynamic.choose_thresholds(*arguments) == min(possible)[3]
    with pytest.raises(ValueError, match="raise the budget"):
        dynamic.choose_thresholds(*arguments[:3], 0.5, candidates)


@given(st.integers(0, 99))
def test_gate_is_a_draw_whose_gradient_is_the_sigmoids(seed):
    logits = tensor(seed, 7).requires_grad_()
    noise = torch.distributions.TransformedDistribution(
        torch.distributions.Uniform(torch.tensor(0.0, dtype=DOUBLE), 1), torch.distributions.SigmoidTransform().inv
    ).sample((7,))
    gate = dynamic.skip_gate(logits, noise)
    assert torch.equal(gate, (logits.detach() + noise > 0).to(DOUBLE))
    (slope,) = torch.autograd.grad(gate.sum(), logits)
    (wanted,) = torch.autograd.grad(torch.sigmoid(logits + noise).sum(), logits)
    torch.testing.assert_close(slope, wanted)


def test_logistic_noise_opens_a_gate_as_often_as_the_sigmoid_says():
    logits = torch.tensor([-2.0, -0.5, 0.0, 1.5])
    uniform = (torch.arange(100_000) + 0.5) / 100_000
    often = dynamic.skip_gate(logits.expand(100_000, 4), torch.logit(uniform).unsqueeze(1).expand(-1, 4)).mean(dim=0)
    torch.testing.assert_close(often, torch.sigmoid(logits), rtol=0, atol=1e-4)


@given(st.integers(0, 99), st.integers(0, 4), st.integers(1, 3), st.booleans())
def test_expected_reward_is_the_sum_over_all_settings(seed, gates, batch, sure):
    draw = np.random.default_rng(seed)
    p = torch.from_numpy(draw.random((batch, gates)))
    if sure:
        p = p.round()
    p.requires_grad_()
    rewards = tensor(seed, batch, 2**gates)
    wanted = 0
    for setting in range(2**gates):
        bits = torch.tensor([setting >> gate & 1 for gate in range(gates)], dtype=DOUBLE)
        wanted = wanted + torch.where(bits == 1, p, 1 - p).prod(dim=1) * rewards[:, setting]
    got, wanted = dynamic.expected_reward(p, rewards), wanted.mean()
    torch.testing.assert_close(got, wanted)
    if gates:
        slopes = [torch.autograd.grad(value, p)[0] for value in (got, wanted)]
        torch.testing.assert_close(*slopes)


@given(st.integers(0, 99), st.integers(1, 4))
def test_reward_that_is_the_cost_of_open_gates_gives_the_expected_cost(seed, gates):
    p, costs = torch.sigmoid(tensor(seed, 3, gates)), tensor(seed + 1, gates).abs()
    open_gates = torch.tensor(list(itertools.product([0.0, 1.0], repeat=gates)), dtype=DOUBLE).flip(1)
    rewards = (open_gates @ costs).expand(3, -1)
    torch.testing.assert_close(dynamic.expected_reward(p, rewards), dynamic.expected_cost(p, costs))


@pytest.mark.parametrize("baseline", [0.0, 3.0])
def test_reinforce_estimates_the_exact_gradient(baseline):
    """All 2^L draws, each weighed by its probability: the mean of REINFORCE's gradients, whatever the baseline."""
    logits, rewards = tensor(0, 1, 3).requires_grad_(), tensor(1, 1, 8)
    (exact,) = torch.autograd.grad(-dynamic.expected_reward(torch.sigmoid(logits), rewards), logits)
    mean = torch.zeros_like(exact)
    for setting in range(8):
        bits = torch.tensor([[setting >> gate & 1 for gate in range(3)]], dtype=DOUBLE)
        log_p = Bernoulli(logits=logits).log_prob(bits).sum(dim=1)
        (slope,) = torch.autograd.grad(reinforce_loss(log_p, rewards[:, setting], baseline), logits)
        mean += log_p.detach().exp() * slope
    torch.testing.assert_close(mean, exact)


@given(st.integers(1, 7), st.integers(1, 7), st.integers(1, 4), st.floats(0.05, 1), st.floats(0.05, 1))
def test_slim_layer_is_the_wide_one_with_zeros(channels, outputs, positions, in_fraction, out_fraction):
    weight, bias = tensor(1, outputs, channels * positions), tensor(2, outputs)
    small, small_bias = dynamic.slim(weight, bias, in_fraction, out_fraction, positions)
    assert len(small) == len(small_bias) == max(1, round(out_fraction * outputs))
    kept = max(1, round(in_fraction * channels))
    maps = tensor(3, 2, channels, positions)
    maps[:, kept:] = 0
    wanted = F.linear(maps.flatten(1), weight, bias)[:, : len(small)]
    torch.testing.assert_close(F.linear(maps[:, :kept].flatten(1), small, small_bias), wanted)


@given(st.integers(0, 99), st.integers(1, 6), st.floats(0, 1.2), st.floats(0, 1.2))
def test_early_exit_is_what_the_whole_network_says_at_the_exit(seed, batch, first, second):
    torch.manual_seed(seed)
    stages = [
        {},
        {"weight": torch.randn(3, 1, 3, 3), "bias": torch.randn(3)},
        {"weight": torch.randn(5, 12), "bias": torch.randn(5)},
    ]
    heads = [mlp(*sizes, 4).state_dict() for sizes in ((36, 6), (12,), (5, 4))]
    inputs = torch.randn(batch, 1, 6, 6)
    hidden, logits = inputs, []
    for stage, head in zip(stages, heads, strict=True):
        hidden = run_stage(stage, hidden)
        logits.append(mlp_forward(head, hidden))
    exits = dynamic.exit_index(logits, [first, second])
    classes, left = dynamic.early_exit_predict(inputs, stages, heads, [first, second])
    assert torch.equal(left, exits) and classes.dtype == left.dtype == torch.int64
    assert torch.equal(classes, torch.stack(logits)[exits, torch.arange(batch)].argmax(-1))


def test_stage_that_nobody_enters_is_not_run():
    stages, heads = [{}, {"weight": torch.ones(2, 99), "bias": torch.ones(2)}], [mlp(4, 3).state_dict(), {}]
    classes, exits = dynamic.early_exit_predict(torch.randn(5, 4), stages, heads, [math.inf])
    assert exits.tolist() == [0] * 5 and classes.max() < 3
