"""Unit 13 against SciPy, networkx and closed forms, on any input."""

import itertools
import math

import hypothesis.strategies as st
import networkx as nx
import numpy as np
import pytest
import scipy.optimize
import torch
import torch.nn.functional as F
from hypothesis import given, settings

from course_utils import theory
from course_utils.models import mlp_forward
from course_utils.theory import supermask, wide
from course_utils.theory.laws import heawood

fast = settings(max_examples=30, deadline=None)
seeds = st.integers(0, 2**31)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def mask(*shape, keep=0.5, seed=0):
    return torch.rand(shape, generator=generator(seed)) < keep


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 9), seeds, st.floats(-3, 3))
def test_the_subset_is_scipys(count, seed, target):
    """milp: the least t with −t ≤ v·m − target ≤ t over m in {0, 1}ⁿ."""
    values = normal(count, seed=seed)
    rows = np.hstack([values.numpy(), [-1.0]]), np.hstack([values.numpy(), [1.0]])
    limits = [scipy.optimize.LinearConstraint(rows[0], ub=target), scipy.optimize.LinearConstraint(rows[1], lb=target)]
    found = scipy.optimize.milp(
        np.eye(count + 1)[-1],
        constraints=limits,
        integrality=[1] * count + [0],
        bounds=scipy.optimize.Bounds([0] * (count + 1), [1] * count + [np.inf]),
    )
    error = abs(float(values[theory.subset_sum(values, target)].sum()) - target)
    assert error <= found.fun + 1e-6


@fast
@given(st.integers(1, 20), seeds, st.floats(-2, 2))
def test_a_pruned_pair_of_layers_computes_weight_times_x(count, seed, weight):
    first, second = normal(count, seed=seed), normal(count, seed=seed + 1)
    if max((first > 0).sum(), (first < 0).sum()) > 12:
        return
    keep = theory.prune_to_weight(first, second, weight)
    for x in (0.5, -2.0):
        made = float((second * F.relu(first * x))[keep].sum())
        slopes = (first * second)[first * x > 0]
        best = float(slopes[theory.subset_sum(slopes, weight)].sum())
        assert made / x == pytest.approx(best, abs=1e-9) and abs(best - weight) <= abs(weight)


@fast
@given(st.integers(1, 5), st.integers(1, 6), st.floats(0, 1), st.booleans(), seeds)
def test_popup_by_the_kth_largest_is_the_layer(rows, columns, keep, by_size, seed):
    inputs, weight = normal(3, columns, seed=seed), normal(rows, columns, seed=seed + 1)
    scores = normal(rows, columns, seed=seed + 2)
    if round(keep * scores.numel()) == 0:
        return
    results = []
    for layer in (supermask.popup, theory.popup_layer):
        leaf = scores.clone().requires_grad_()
        out = layer(inputs, weight, leaf.abs() if by_size else leaf, keep)
        results.append((out, *torch.autograd.grad((out**2).sum(), leaf)))
    assert all(torch.allclose(a, b) for a, b in zip(*results, strict=True))


def test_a_step_on_the_network_moves_its_outputs_as_the_kernel_says():
    state = {"a.weight": normal(6, 4), "a.bias": normal(6), "b.weight": normal(1, 6), "b.bias": normal(1)}
    masks = {"a.weight": mask(6, 4), "b.weight": mask(1, 6)}
    inputs, targets = normal(5, 4, seed=3), normal(5, seed=4)
    leaves = {n: torch.where(masks[n], v, 0) if n in masks else v.clone() for n, v in state.items()}
    leaves = {n: v.requires_grad_() for n, v in leaves.items()}
    outputs = mlp_forward(leaves, inputs).flatten()
    slopes = torch.autograd.grad(((outputs - targets) ** 2).sum() / 2, leaves.values())
    lr = 1e-6
    moved = {n: v - lr * (g * masks[n] if n in masks else g) for (n, v), g in zip(leaves.items(), slopes, strict=True)}
    kernel = theory.empirical_ntk(state, masks, inputs)
    wanted = theory.kernel_descent(kernel, targets, outputs.detach(), lr, 1)
    got = mlp_forward(moved, inputs).flatten()
    assert torch.allclose(got - outputs, wanted - outputs, rtol=1e-3)
    assert torch.linalg.eigvalsh(kernel).min() > -1e-9 and torch.allclose(kernel, kernel.T)


def test_wide_networks_have_the_limits_kernel_and_pruned_ones_after_rescaling():
    images = torch.randn(5, 6, generator=generator(1))
    limit = theory.relu_ntk(images, 2)
    for density in (1.0, 0.25):
        kernels = []
        for seed in range(6):
            state, masks, scale = wide.pruned_network(6, 400, density, seed)
            kernels.append(theory.empirical_ntk(state, masks, scale * wide.rescaling(density) * images))
        mean = torch.stack(kernels).mean(0)
        assert (mean - limit).norm() / limit.norm() < 0.15
        assert (kernels[0] - limit).norm() / limit.norm() < 0.6


def test_a_pruned_first_layer_keeps_a_distance_from_the_limit_and_a_whole_one_none():
    images, kernels = torch.eye(2), []
    limit = theory.relu_ntk(images.double(), 2)
    assert torch.allclose(wide.first_layer_limit(images, 1.0, 2, 0), limit)
    for seed in range(8):
        state, masks, scale = wide.pruned_network(2, 400, 0.25, seed, first=True)
        masks |= {name: torch.ones_like(masks[name]) for name in ("1.weight", "2.weight")}
        kernels.append(theory.empirical_ntk(state, masks, scale / math.sqrt(0.25) * images).double())
    # How alike the two images are: of their units only a quarter sees both
    mean, pruned, whole = (
        float(k[0, 1] / (k[0, 0] * k[1, 1]).sqrt())
        for k in (torch.stack(kernels).mean(0), wide.first_layer_limit(images, 0.25, 3000, 0), limit)
    )
    assert abs(mean - pruned) < 0.2 * abs(whole - pruned)


def test_the_limit_of_one_hidden_layer_is_a_mean_over_units():
    """Monte Carlo: the mean over random units of what one adds to the kernel."""
    x = normal(4, 3)
    units = torch.randn(400_000, 3, generator=generator(2), dtype=torch.float64)
    pre = x @ units.T / math.sqrt(3)
    by_second = 2 * pre.relu() @ pre.relu().T / len(units)
    on = (pre > 0).double()
    by_first = 2 * (on @ on.T / len(units)) * (x @ x.T / 3)
    assert torch.allclose(theory.relu_ntk(x, 1), by_first + by_second, rtol=2e-2, atol=1e-2)


def test_descent_from_a_small_start_finds_the_least_l1_norm_and_from_a_large_one_the_least_l2():
    found = wide.implicit_bias(8, 16, 2, 0, {"0.001": (0.05, 4000), "1": (0.02, 2000)})
    least = found["least L1"]["l1"]
    assert least <= found["0.001"]["l1"] + 1e-3 <= least + 0.06
    x, y, _ = wide.sparse_problem(8, 16, 2, 0)
    w = theory.diagonal_descent(x, y, 1.0, 0.02, 2000)
    assert (w - torch.linalg.pinv(x) @ y).norm() < 0.1 * w.norm()
    assert found["1"]["l1"] > 1.2 * least


@fast
@given(st.integers(1, 60), st.floats(0, 1), st.integers(2, 9), seeds)
def test_so_many_labels_change_and_none_to_itself(count, fraction, classes, seed):
    labels = torch.randint(classes, (count,), generator=generator(seed))
    noisy = theory.noisy_labels(labels, fraction, classes, seed)
    assert int((noisy != labels).sum()) == round(fraction * count) and noisy.min() >= 0 and noisy.max() < classes
    fit, memorized, recovered = theory.noise_report(noisy, labels, noisy)
    assert fit == float(round(fraction * count) < count) and memorized == float(round(fraction * count) > 0)
    assert recovered == 0


def graph(matrix):
    """networkx's bipartite graph of a mask; inputs are ('in', j), outputs ('out', i)."""
    made = nx.Graph()
    made.add_edges_from((("in", j), ("out", i)) for i, j in matrix.nonzero().tolist())
    return made


@fast
@given(st.integers(1, 9), st.integers(1, 9), st.floats(0, 1), seeds)
def test_the_gap_is_that_of_networkxs_graph(rows, columns, keep, seed):
    matrix = mask(rows, columns, keep=keep, seed=seed)
    made = graph(matrix)
    if not made:
        assert theory.ramanujan_gap(matrix) == 0
        return
    spectrum = sorted(np.linalg.eigvalsh(nx.to_numpy_array(made)), reverse=True)
    # The spectrum of a bipartite graph is ±σ, and zeros
    sides = [[d for (side, _), d in made.degree if side == name] for name in ("in", "out")]
    second = max(0.0, spectrum[1]) if min(map(len, sides)) > 1 else 0.0
    wanted = sum(math.sqrt(np.mean(degrees) - 1) for degrees in sides) - second
    assert theory.ramanujan_gap(matrix) == pytest.approx(wanted, abs=1e-8)


def test_heawoods_graph_is_networkxs():
    assert nx.is_isomorphic(graph(heawood()), nx.heawood_graph())
    assert theory.ramanujan_gap(heawood()) == pytest.approx(math.sqrt(2))


@fast
@given(st.lists(st.integers(1, 4), min_size=2, max_size=5), st.floats(0.1, 1), seeds)
def test_paths_and_effective_weights_are_networkxs(sizes, keep, seed):
    masks, made = {}, nx.DiGraph()
    made.add_nodes_from((0, j) for j in range(sizes[0]))
    made.add_nodes_from((len(sizes) - 1, j) for j in range(sizes[-1]))
    for layer, (a, b) in enumerate(itertools.pairwise(sizes)):
        masks[f"{layer}.weight"] = mask(b, a, keep=keep, seed=seed + layer)
        made.add_edges_from(((layer, j), (layer + 1, i)) for i, j in masks[f"{layer}.weight"].nonzero().tolist())
    ends = [(len(sizes) - 1, j) for j in range(sizes[-1])]
    paths = [p for j in range(sizes[0]) for p in nx.all_simple_edge_paths(made, (0, j), ends)]
    used = {edge for path in paths for edge in path}
    effective = theory.effective_masks(masks)
    for layer, value in enumerate(effective.values()):
        found = {((layer, j), (layer + 1, i)) for i, j in value.nonzero().tolist()}
        assert found == {edge for edge in used if edge[0][0] == layer}
    state = {}
    for name, value in masks.items():
        state[name] = normal(*value.shape, seed=seed)
        state[name.replace("weight", "bias")] = torch.zeros(len(value), dtype=torch.float64)
    inputs = normal(3, sizes[0], seed=seed)
    report = theory.mask_report(state, masks, inputs)
    assert report["paths"] == len(paths) and report["effective"] <= report["kept"]
    # Without biases what is not on a path changes nothing
    masked, alive = (
        {n: torch.where(m[n], v, 0) if n in m else v for n, v in state.items()} for m in (masks, effective)
    )
    assert torch.allclose(mlp_forward(masked, inputs), mlp_forward(alive, inputs))


@fast
@given(st.lists(st.integers(1, 5), min_size=2, max_size=5), seeds)
def test_flow_is_conserved(sizes, seed):
    weights = {str(i): normal(b, a, seed=seed + i) for i, (a, b) in enumerate(itertools.pairwise(sizes))}
    scores = list(theory.synflow_scores(weights).values())
    for before, after in itertools.pairwise(scores):
        assert torch.allclose(before.sum(1), after.sum(0))


def test_a_rebuilt_matrix_is_the_nearest_that_its_units_can_make():
    weight = normal(4, 6).float()
    made, kept = supermask.rebuild(weight, 5, seed=3)
    again = torch.Generator().manual_seed(3)
    first = torch.rand(24, 5, generator=again)
    second = weight.abs().max() * (2 * torch.rand(24, 5, generator=again) - 1)
    for i, target in enumerate(weight.flatten().tolist()):
        keep = theory.prune_to_weight(first[i], second[i], target)
        slope = float((first[i] * second[i])[keep].sum())
        assert float(made.flatten()[i]) == pytest.approx(slope, abs=1e-6) and int(kept.flatten()[i]) == int(keep.sum())


def test_more_bits_are_nearer_and_levels_are_as_many():
    state = {"w": normal(30, 40)}
    errors = [float((supermask.quantize(state, bits)["w"] - state["w"]).abs().max()) for bits in (1, 4, 8)]
    assert errors[0] > errors[1] > errors[2]
    assert len(supermask.quantize(state, 3)["w"].unique()) == 8
