"""Unit 04 against torch-pruning, scikit-learn, NumPy and closed forms, on any input."""

import itertools

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torch_pruning
from hypothesis import given, settings
from sklearn.linear_model import MultiTaskLasso
from torch import nn

from course_utils import structured
from course_utils.models import lenet5, lenet_forward

fast = settings(max_examples=40, deadline=None)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


shapes = st.lists(st.integers(1, 5), min_size=2, max_size=5)
seeds = st.integers(0, 2**31)


@fast
@given(shapes, seeds)
def test_norms_are_numpys(shape, seed):
    weight = normal(*shape, seed=seed)
    for norms, axis in ((structured.filter_norms(weight), 0), (structured.channel_norms(weight), 1)):
        slices = np.moveaxis(weight.numpy(), axis, 0).reshape(shape[axis], -1)
        np.testing.assert_allclose(norms, np.linalg.norm(slices, axis=1), rtol=1e-12)


def test_the_gradient_at_a_dead_group_is_0_and_the_second_function_agrees():
    weight = normal(4, 3, 2, 2)
    weight[1], weight[:, 2] = 0, 0
    weight.requires_grad_()
    structured.group_lasso([weight], 0.7, 0.2).backward()
    assert (weight.grad[1] == 0).all() and (weight.grad[:, 2] == 0).all() and weight.grad.isfinite().all()
    alive = normal(4, 3, 2, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda w: structured.group_lasso([w, w[:2]], 0.7, 0.2), alive)


@fast
@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), seeds, st.floats(0, 3), st.data())
def test_shrinking_minimizes_distance_and_penalty(shape, seed, threshold, data):
    """The proximal operator: no other point has a lower ½‖x − w‖² + t·Σ‖x_g‖, wherever one looks near it."""
    weight = normal(*shape, seed=seed)
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))

    def objective(x):
        norms = x.movedim(dim, 0).reshape(shape[dim], -1).norm(dim=1)
        return float(((x - weight) ** 2).sum() / 2 + threshold * norms.sum())

    shrunk = structured.shrink_groups(weight, threshold, dim)
    least = objective(shrunk)
    for step in (1e-3, 0.1, 1):
        assert objective(shrunk + step * normal(*shape, seed=seed + 1)) >= least - 1e-12
    assert objective(weight) >= least - 1e-12 and objective(torch.zeros_like(weight)) >= least - 1e-12


def test_proximal_steps_reach_scikit_learns_group_lasso():
    """Rows that share a norm: scikit-learn's multi-task lasso, with exactly the same rows at 0."""
    examples, targets, features, alpha = 60, 4, 12, 0.35
    inputs = normal(examples, features, seed=1)
    truth = normal(features, targets, seed=2) * (torch.arange(features)[:, None] < 5)
    outputs = inputs @ truth + 0.5 * normal(examples, targets, seed=3)
    model = MultiTaskLasso(alpha=alpha, fit_intercept=False, tol=1e-12, max_iter=10_000)
    wanted = torch.from_numpy(model.fit(inputs.numpy(), outputs.numpy()).coef_.T.copy())
    weight = torch.zeros(features, targets, dtype=torch.float64)
    lr = examples / float(torch.linalg.matrix_norm(inputs, 2)) ** 2
    for _ in range(3000):
        gradient = inputs.T @ (inputs @ weight - outputs) / examples
        weight = structured.proximal_step(weight, gradient, lr, alpha, 0.0)
    assert torch.allclose(weight, wanted, rtol=0, atol=1e-8)
    dead = (weight == 0).all(dim=1)
    assert torch.equal(dead, (wanted == 0).all(dim=1)) and 0 < int(dead.sum()) < features


def test_subgradient_descent_never_reaches_0_and_the_proximal_step_does():
    start = normal(6, 3, 2, 2)
    stepped, descended = start, start.clone().requires_grad_()
    for _ in range(300):
        stepped = structured.proximal_step(stepped, torch.zeros_like(stepped), 0.05, 1.0, 0.0)
        (gradient,) = torch.autograd.grad(structured.group_lasso([descended], 1.0, 0.0), descended)
        descended = (descended - 0.05 * gradient).detach().requires_grad_()
    assert (stepped == 0).all()
    norms = structured.filter_norms(descended.detach())
    assert (norms > 0).all() and (norms < 0.06).all()  # it oscillates about 0 by as much as a step


@st.composite
def lenets(draw):
    """A LeNet of some widths in float64, with dead rows and columns in its layers, and full biases."""
    first, second, units = (draw(st.integers(2, 5)) for _ in range(3))
    shapes = {"a": (first, 1, 5, 5), "b": (second, first, 5, 5), "c": (units, 16 * second), "d": (10, units)}
    state = {}
    for name, shape in shapes.items():
        weight = normal(*shape, seed=draw(seeds))
        for axis, step in ((0, 1), (1, 16 if name == "c" else 1)):
            # The image's channels and the classes cannot go; one group of each kind is left whole
            groups = shape[axis] // step
            if (name, axis) in (("a", 1), ("d", 0)):
                continue
            for group in draw(st.sets(st.integers(1, groups - 1), max_size=groups - 1)) if groups > 1 else ():
                weight.narrow(axis, group * step, step).zero_()
        state |= {f"{name}.weight": weight, f"{name}.bias": normal(shape[0], seed=draw(seeds))}
    return state


@fast
@given(lenets(), seeds)
def test_the_shrunk_network_computes_what_the_masked_one_does(state, seed):
    images = normal(3, 1, 28, 28, seed=seed)
    before = {name: value.clone() for name, value in state.items()}
    shrunk = structured.shrink_network(state, 0.0)
    assert torch.allclose(lenet_forward(shrunk, images), lenet_forward(state, images), rtol=0, atol=1e-9)
    assert list(shrunk) == list(state) and all(torch.equal(state[name], before[name]) for name in state)
    # Nothing is left to remove: every unit is alive and read
    weights = [shrunk[name] for name in shrunk if name.endswith("weight")]
    for weight, after in itertools.pairwise(weights):
        read = after.reshape(len(after), len(weight), -1)
        assert (structured.filter_norms(weight) > 0).all() and (structured.channel_norms(read) > 0).all()
    again = structured.shrink_network(shrunk, 0.0)
    assert all(torch.equal(again[name], shrunk[name]) for name in shrunk)
    for name in shrunk:
        shrunk[name] += 1  # training in place leaves the first state alone
        assert torch.equal(state[name], before[name])


def test_a_threshold_judges_the_state_as_it_is_given():
    torch.manual_seed(0)
    state = lenet5().double().state_dict()
    for name in ("0.weight", "5.weight", "7.weight"):  # only the second convolution's filters are near the threshold
        state[name] *= 10
    norms = structured.filter_norms(state["2.weight"]).sort().values
    threshold = float(norms[10])
    channels = structured.channel_norms(state["5.weight"].view(500, 50, 16))
    gone = (structured.filter_norms(state["2.weight"]) <= threshold) | (channels <= threshold)
    shrunk = structured.shrink_network(state, threshold)
    assert len(shrunk["2.weight"]) == 50 - int(gone.sum())
    with pytest.raises(ValueError, match="keep one"):
        structured.shrink_network(state, 1e6)


@pytest.mark.parametrize(("layer", "dead"), [(0, [0, 7, 19]), (2, [1, 2, 49])])
def test_filters_go_as_in_torch_pruning(layer, dead):
    """torch-pruning drops a filter's bias with it; with a bias of 0 the two are the same network."""
    torch.manual_seed(1)
    model, following = lenet5(), {0: 2, 2: 5}[layer]
    with torch.no_grad():
        model[layer].weight[dead], model[layer].bias[dead] = 0, 0
    state = model.state_dict()
    keep = torch.ones(len(model[layer].weight), dtype=torch.bool)
    keep[dead] = False
    ours = structured.remove_filters(
        *(state[f"{i}.{kind}"].clone() for i in (layer, following) for kind in ("weight", "bias")), keep
    )
    graph = torch_pruning.DependencyGraph().build_dependency(model, torch.rand(1, 1, 28, 28))
    graph.get_pruning_group(model[layer], torch_pruning.prune_conv_out_channels, dead).prune()
    theirs = [getattr(model[i], kind) for i in (layer, following) for kind in ("weight", "bias")]
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("relu", [False, True])
@fast
@given(st.integers(1, 3), st.integers(2, 5), st.integers(1, 3), st.integers(1, 3), seeds)
def test_two_layers_compute_the_same_without_their_dead_filters(relu, channels, filters, after, size, seed):
    torch.manual_seed(seed)
    first, second = nn.Conv2d(channels, filters, 3).double(), nn.Conv2d(filters, after, size).double()
    keep = torch.rand(filters) < 0.5
    keep[0] = True
    with torch.no_grad():
        for n in (~keep).nonzero().flatten().tolist():
            (first.weight[n] if torch.rand(()) < 0.5 else second.weight[:, n]).zero_()
    layers = [part.detach() for part in (first.weight, first.bias, second.weight, second.bias)]
    images = torch.randn(2, channels, 10, 10, dtype=torch.float64)

    def both(weight, bias, next_weight, next_bias):
        hidden = F.max_pool2d(F.conv2d(images, weight, bias), 2)
        return F.conv2d(hidden.relu() if relu else hidden, next_weight, next_bias)

    smaller = structured.remove_filters(*layers, keep, relu=relu)
    assert torch.allclose(both(*smaller), both(*layers), rtol=0, atol=1e-10)
    assert len(smaller[0]) == smaller[2].shape[1] == int(keep.sum())


def test_padding_makes_the_folded_constant_inexact():
    """At the border a padded convolution reads zeros, not the constant: the lecture's first mistake."""
    torch.manual_seed(0)
    first, second = nn.Conv2d(1, 2, 3).double(), nn.Conv2d(2, 2, 3, padding=1).double()
    with torch.no_grad():
        first.weight[1] = 0
    layers = [part.detach() for part in (first.weight, first.bias, second.weight, second.bias)]
    w, b, w2, b2 = structured.remove_filters(*layers, torch.tensor([True, False]))
    images = torch.randn(1, 1, 8, 8, dtype=torch.float64)
    difference = (F.conv2d(F.conv2d(images, w, b), w2, b2, padding=1) - second(first(images))).abs()
    assert difference[..., 1:-1, 1:-1].max() < 1e-12 and difference.max() > 1e-3


@fast
@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 4), st.floats(0, 1), seeds)
def test_concatenated_rows_and_columns_multiply_as_the_matrix_does(rows, columns, batch, keep, seed):
    torch.manual_seed(seed)
    matrix = torch.randn(rows, columns, dtype=torch.float64) * (torch.rand(rows, columns) < keep)
    dense, live_rows, live_columns = structured.concatenate_nonzero(matrix)
    wanted_rows, wanted_columns = np.unique(matrix.numpy().nonzero()[0]), np.unique(matrix.numpy().nonzero()[1])
    np.testing.assert_array_equal(live_rows, wanted_rows)
    np.testing.assert_array_equal(live_columns, wanted_columns)
    np.testing.assert_array_equal(dense, matrix.numpy()[np.ix_(wanted_rows, wanted_columns)])
    inputs = torch.randn(batch, columns, dtype=torch.float64)
    wanted = inputs @ matrix.T
    unread = torch.ones(columns, dtype=torch.bool)
    unread[live_columns] = False
    inputs[:, unread] = torch.nan
    product = structured.concatenated_matmul(inputs, dense, live_rows, live_columns, rows)
    assert torch.allclose(product, wanted, rtol=0, atol=1e-12)
