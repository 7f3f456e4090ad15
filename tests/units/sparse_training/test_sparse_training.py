"""Unit 09 against torch's SGD, SciPy and simulations, on any input."""

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from scipy import stats

from course_utils import sparse_training
from course_utils.models import mlp, mlp_forward

fast = settings(max_examples=40)


@st.composite
def tensors(draw):
    """A weight with many equals, its mask, its velocity and a gradient; NaN outside the mask."""
    rng = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    levels = draw(st.integers(0, 1000))
    shape = draw(st.lists(st.integers(1, 6), min_size=1, max_size=3))
    mask = torch.rand(shape, generator=rng) < draw(st.sampled_from((0.1, 0.5, 0.9, 1.1)))
    weight = torch.randint(-levels, levels + 1, shape, generator=rng).float()
    velocity = torch.randn(shape, generator=rng)
    gradient = torch.randint(-levels, levels + 1, shape, generator=rng).float()
    return weight.masked_fill(~mask, torch.nan), mask, velocity.masked_fill(~mask, torch.inf), gradient


@fast
@given(tensors(), st.floats(0, 1), st.integers(0, 2**31))
def test_updates_exchange_exactly_so_many_and_keep_the_rest_bit_for_bit(given_tensors, fraction, seed):
    weight, mask, velocity, gradient = given_tensors
    exchanged = round(fraction * int(mask.sum()))
    for new_weight, new_mask, new_velocity in (
        sparse_training.set_update(weight, mask, velocity, fraction, seed),
        sparse_training.rigl_update(weight, mask, velocity, gradient, fraction),
    ):
        assert int(new_mask.sum()) == int(mask.sum())
        # What has a weight or a velocity has stayed; of weights that are 0 a velocity tells, which is never 0
        stayed = new_velocity != 0
        assert int(stayed.sum()) == int(mask.sum()) - exchanged
        assert (stayed <= mask).all() and (stayed <= new_mask).all()
        assert torch.equal(new_weight[stayed], weight[stayed])
        assert torch.equal(new_velocity[stayed], velocity[stayed])
        assert (new_weight[~stayed] == 0).all()
        gone = weight[mask & ~stayed].abs()
        if len(gone) and stayed.any():
            assert gone.max() <= weight[stayed].abs().min()


@fast
@given(tensors(), st.floats(0, 1))
def test_rigl_grows_where_numpy_finds_the_steepest_first(given_tensors, fraction):
    weight, mask, velocity, gradient = given_tensors
    _, new_mask, new_velocity = sparse_training.rigl_update(weight, mask, velocity, gradient, fraction)
    stayed = (new_velocity != 0).numpy().ravel()
    free = np.flatnonzero(~stayed)
    steepest = free[np.argsort(-gradient.abs().numpy().ravel()[free], kind="stable")]
    grown = steepest[: round(fraction * int(mask.sum()))]
    assert set(np.flatnonzero(new_mask.numpy().ravel() & ~stayed)) == set(grown)


def test_set_grows_every_free_position_equally_often_the_dropped_ones_too():
    weight = torch.tensor([0.1, 0.2, 3.0, 4.0, 0.0, 0.0, 0.0, 0.0])
    mask, grown = weight != 0, torch.zeros(8)
    for seed in range(3000):
        _, new_mask, _ = sparse_training.set_update(weight, mask, torch.ones(8), 0.5, seed)
        grown += new_mask
    assert (grown[2:4] == 3000).all()
    counts = grown[[0, 1, 4, 5, 6, 7]].tolist()
    assert stats.chisquare(counts).pvalue > 1e-4


@fast
@given(st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=4), min_size=1, max_size=5), st.floats(0, 1))
def test_erdos_renyi_densities_meet_the_density_and_keep_their_ratios(shapes, density):
    shapes = dict(enumerate(shapes))
    densities = sparse_training.erdos_renyi_densities(shapes, density)
    sizes = {name: int(np.prod(shape)) for name, shape in shapes.items()}
    total = sum(densities[name] * size for name, size in sizes.items())
    assert total == pytest.approx(density * sum(sizes.values()), rel=1e-9, abs=1e-9)
    assert list(densities) == list(shapes) and max(densities.values()) <= 1
    epsilons = {name: densities[name] * size / sum(shapes[name]) for name, size in sizes.items()}
    below = [name for name in shapes if densities[name] < 1]
    assert max((epsilons[n] for n in below), default=0) == pytest.approx(min((epsilons[n] for n in below), default=0))
    for name in set(shapes) - set(below):  # with the ε of the others a full layer would pass 1
        assert all(epsilons[other] * sum(shapes[name]) / sizes[name] >= 1 - 1e-9 for other in below)


@fast
@given(st.lists(st.integers(1, 8), min_size=1, max_size=3), st.floats(0, 1), st.integers(0, 2**31))
def test_random_masks_have_the_exact_count_and_leave_the_global_generator_alone(shape, density, seed):
    before = torch.get_rng_state()
    mask = sparse_training.random_mask(shape, density, seed)
    assert torch.equal(before, torch.get_rng_state())
    assert list(mask.shape) == shape and int(mask.sum()) == round(density * mask.numel())
    assert torch.equal(mask, sparse_training.random_mask(shape, density, seed))


@pytest.mark.parametrize("drops", ("smallest", "largest", "any"))
def test_expected_exploration_is_the_mean_of_simulated_runs_whatever_they_drop(drops):
    total, kept, grown, runs = 40, 8, [3, 0, 8, 2, 1], 4000
    rng, explored = np.random.default_rng(0), np.empty(4000)
    for run in range(runs):
        active = set(rng.choice(total, kept, replace=False).tolist())
        ever = set(active)
        for g in grown:
            ranked = sorted(active, reverse=drops == "largest")
            gone = rng.permutation(ranked)[:g] if drops == "any" else ranked[:g]
            active -= set(np.asarray(gone).tolist())
            free = sorted(set(range(total)) - active)
            active |= set(rng.choice(free, g, replace=False).tolist())
            ever |= active
        explored[run] = len(ever) / total
    expected = sparse_training.expected_exploration(total, kept, grown)
    assert abs(explored.mean() - expected) < 5 * explored.std() / runs**0.5


def test_explored_fraction_counts_what_was_ever_connected():
    history = [{"a": torch.tensor([True, False, False]), "b": torch.zeros(1, 5, dtype=torch.bool)}]
    history += [{"b": torch.ones(1, 5, dtype=torch.bool), "a": torch.tensor([False, True, False])}, history[0]]
    assert sparse_training.explored_fraction(history) == 7 / 8


@fast
@given(st.integers(1, 6), st.integers(1, 5), st.integers(1, 4), st.data())
def test_n_of_m_masks_hold_the_largest_of_every_group(m, groups, rows, data):
    n = data.draw(st.integers(0, m))
    weight = torch.tensor(
        data.draw(st.lists(st.integers(-9, 9), min_size=m * groups * rows, max_size=m * groups * rows))
    )
    weight = weight.float().view(rows, groups * m)
    mask = sparse_training.n_of_m_mask(weight, n, m)
    for row, kept in zip(weight.view(-1, m).numpy(), mask.view(-1, m).numpy(), strict=True):
        assert set(np.flatnonzero(kept)) == set(np.argsort(-np.abs(row), kind="stable")[:n])


def test_the_cubic_schedule_falls_into_place_at_both_ends():
    path = [sparse_training.cubic_sparsity(step, 10, 20, 0.9, 0.5) for step in range(31)]
    assert path[:11] == [0.5] * 11 and path[20:] == [0.9] * 11
    assert np.diff(path[10:21]).min() > 0 and np.diff(path[10:21], 2).max() < 0  # fast first
    assert sparse_training.cubic_sparsity(5, 5, 5, 0.9) == 0.9 and sparse_training.cubic_sparsity(4, 5, 5, 0.9) == 0


def small_network(seed=0):
    torch.manual_seed(seed)
    state = {name: value.double() for name, value in mlp(12, 9, 4).state_dict().items()}
    masks = {"1.weight": sparse_training.random_mask((9, 12), 0.3, seed)}
    return state, masks, torch.randn(40, 12, dtype=torch.float64), torch.randint(0, 4, (40,))


def test_training_without_updates_is_torchs_sgd_with_masks():
    state, masks, inputs, labels = small_network()
    trained, same = sparse_training.rigl_train(state, masks, inputs, labels, 0.1, 0.9, 30, 31, 40, 0.3)
    leaves = {name: value.clone().requires_grad_() for name, value in state.items()}
    with torch.no_grad():
        leaves["1.weight"] *= masks["1.weight"]
    optimizer = torch.optim.SGD(leaves.values(), lr=0.1, momentum=0.9)
    for _ in range(30):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(mlp_forward(leaves, inputs), labels).backward()
        leaves["1.weight"].grad *= masks["1.weight"]
        optimizer.step()
    assert torch.equal(same["1.weight"], masks["1.weight"])
    for name, value in trained.items():
        assert torch.allclose(value, leaves[name], atol=1e-12)


def test_an_update_at_the_last_step_moves_connections_and_nothing_else():
    state, masks, inputs, labels = small_network(1)
    before, _ = sparse_training.rigl_train(state, masks, inputs, labels, 0.1, 0.9, 9, 10, 40, 0.3)
    after, moved = sparse_training.rigl_train(state, masks, inputs, labels, 0.1, 0.9, 10, 10, 40, 0.3)
    exchanged = round(sparse_training.drop_fraction(10, 40, 0.3) * int(masks["1.weight"].sum()))
    stayed = after["1.weight"] != 0
    assert exchanged > 0 and int(stayed.sum()) == int(masks["1.weight"].sum()) - exchanged
    assert torch.equal(after["1.weight"][stayed], before["1.weight"][stayed])
    assert int(moved["1.weight"].sum()) == int(masks["1.weight"].sum())
    for name in ("1.bias", "3.weight", "3.bias"):
        assert torch.equal(after[name], before[name])
