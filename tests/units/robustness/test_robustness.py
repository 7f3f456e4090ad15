"""Unit 12 against foolbox, SciPy, NumPy, simulations and closed forms, on any input."""

import math

import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.stats
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings

from course_utils import robustness
from course_utils.data import Split
from course_utils.models import mlp, mlp_forward
from course_utils.robustness import backdoor, certified
from course_utils.robustness.attacks import pgd, survivors, train_epoch
from course_utils.robustness.backdoor import between, cleanse, trigger
from course_utils.robustness.networks import largest, noisy_labels, shuffled
from course_utils.training import errors, set_seed

fast = settings(max_examples=40, deadline=None)
seeds = st.integers(0, 2**31)


def rand(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def network(seed, *sizes):
    set_seed(seed)
    return mlp(*sizes).double().eval()


@fast
@given(seeds, st.floats(0, 1.5))
def test_projections_are_idempotent_and_inside(seed, epsilon):
    clean, far = rand(3, 1, 4, 5, seed=seed), 4 * rand(3, 1, 4, 5, seed=seed + 1) - 2
    for project, norm in ((robustness.project_linf, math.inf), (robustness.project_l2, 2)):
        near = project(far, clean, epsilon)
        lengths = torch.linalg.vector_norm((near - clean).flatten(1), ord=norm, dim=1)
        assert (lengths <= epsilon * (1 + 1e-9) + 1e-12).all() and near.min() >= 0 and near.max() <= 1
        torch.testing.assert_close(project(near, clean, epsilon), near, rtol=0, atol=1e-12)


@pytest.mark.parametrize("steps", [1, 5, 20])
def test_the_attack_is_foolboxs(steps):
    foolbox = pytest.importorskip("foolbox")
    set_seed(0)
    model, images, labels = mlp(16, 12, 4).eval(), rand(20, 1, 4, 4).float(), torch.arange(20) % 4
    attack = foolbox.attacks.LinfPGD(rel_stepsize=2.5 / steps, steps=steps, random_start=False)
    theirs = attack.run(foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu"), images, labels, epsilon=0.1)
    ours = pgd(model, images, labels, 0.1, steps)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_the_euclidean_projection_is_foolboxs():
    foolbox = pytest.importorskip("foolbox")
    import eagerpy

    clean, far = rand(6, 1, 4, 4).float(), rand(6, 1, 4, 4, seed=1).float()
    attack = foolbox.attacks.L2PGD()
    theirs = attack.project(eagerpy.astensor(far), eagerpy.astensor(clean), 0.4).raw
    torch.testing.assert_close(robustness.project_l2(far, clean, 0.4), theirs.clamp(0, 1), rtol=0, atol=1e-6)


def test_restarts_only_ever_turn_more_images_and_a_huge_epsilon_turns_all():
    model, split = network(1, 16, 20, 3).float(), Split(rand(60, 1, 4, 4).float(), torch.arange(60) % 3)
    split = Split(split.images, model(split.images).argmax(1))
    once, thrice = (survivors(model, split, 0.05, 5, restarts) for restarts in (1, 3))
    assert (thrice <= once).all() and 0 < int(once.sum()) < 60
    assert not survivors(model, split, 1.0, 20, 2).any()


@fast
@given(seeds, st.integers(1, 4), st.integers(1, 6), st.integers(2, 5))
def test_samples_lie_inside_the_bounds(seed, batch, width, classes):
    lower = 2 * rand(batch, width, seed=seed) - 1
    upper = lower + rand(batch, width, seed=seed + 1)
    weight, bias = 2 * rand(classes, width, seed=seed + 2) - 1, rand(classes, seed=seed + 3)
    labels = torch.arange(batch) % classes
    low, high = robustness.interval_linear(lower, upper, weight, bias)
    margins = robustness.margin_bounds(lower, upper, weight, bias, labels)
    for part in rand(50, batch, width, seed=seed + 4):
        out = F.linear(lower + part * (upper - lower), weight, bias)
        assert (out >= low - 1e-9).all() and (out <= high + 1e-9).all()
        assert (out.gather(1, labels.unsqueeze(1)) - out >= margins - 1e-9).all()
    loose = low.gather(1, labels.unsqueeze(1)) - high
    loose.scatter_(1, labels.unsqueeze(1), 0.0)
    assert (margins >= loose - 1e-9).all()


def test_merging_the_difference_is_strictly_tighter_somewhere():
    lower, weight, bias = torch.zeros(1, 1), torch.tensor([[1.0], [0.5]]), torch.tensor([0.1, 0.0])
    assert robustness.margin_bounds(lower, lower + 1, weight, bias, torch.tensor([0]))[0, 1] > 0
    low, high = robustness.interval_linear(lower, lower + 1, weight, bias)
    assert low[0, 0] - high[0, 1] < 0


@settings(max_examples=15, deadline=None)
@given(seeds, st.sampled_from([0.0, 0.01, 0.1, 0.3]))
def test_linear_bounds_hold_and_are_never_looser_than_intervals_in_the_mean(seed, epsilon):
    model = network(seed % 1000, 9, 8, 7, 3)
    images, labels = rand(4, 1, 3, 3, seed=seed), torch.tensor([0, 1, 2, 0])
    layers = certified.layers_of(model)
    linear, intervals = (
        bounds(layers, images, labels, epsilon).detach()
        for bounds in (certified.linear_margins, certified.interval_margins)
    )
    assert linear.mean() >= intervals.mean() - 1e-9
    for part in rand(40, *images.shape, seed=seed + 1):
        moved = (images + epsilon * (2 * part - 1)).clamp(0, 1)
        out = model(moved).detach()
        margins = out.gather(1, labels.unsqueeze(1)) - out
        assert (margins >= linear - 1e-9).all() and (margins >= intervals - 1e-9).all()
    if epsilon == 0:
        torch.testing.assert_close(linear, margins)


def test_what_is_verified_withstands_the_attack():
    model = network(0, 16, 12, 3).float()
    images = rand(80, 1, 4, 4).float()
    split = Split(images, model(images).argmax(1))
    for linear in (False, True):
        proved = certified.verified(model, split, 0.03, linear=linear)
        assert 0 < int(proved.sum()) < 80 and survivors(model, split, 0.03, 20, 3)[proved].all()


@fast
@given(st.integers(1, 3000), st.data(), st.floats(1e-6, 0.5))
def test_the_bound_is_scipys(trials, data, alpha):
    successes = data.draw(st.integers(0, trials))
    test = scipy.stats.binomtest(successes, trials, alternative="greater")
    wanted = test.proportion_ci(confidence_level=1 - alpha, method="exact").low
    assert robustness.lower_confidence_bound(successes, trials, alpha) == pytest.approx(wanted, rel=1e-6, abs=1e-12)


def test_the_bound_covers_as_often_as_it_says():
    rng, alpha = np.random.default_rng(0), 0.1
    for truth in (0.3, 0.9):
        bounds = np.array([robustness.lower_confidence_bound(k, 60, alpha) for k in range(61)])
        missed = np.mean(bounds[rng.binomial(60, truth, 1000)] > truth)
        assert missed <= alpha + 4 * math.sqrt(alpha * (1 - alpha) / 1000)


def test_a_certified_radius_holds_for_a_linear_classifier():
    """There the true radius is known: the distance to the boundary."""
    direction, sigma = torch.tensor([0.6, 0.8]), 0.4

    def model(points):
        return torch.stack([torch.zeros(len(points)), points @ direction - 0.5], dim=1)

    points = torch.tensor([[0.9, 0.9], [0.6, 0.5], [1.0, 1.0]])
    split = Split(points, model(points).argmax(1))
    radii = certified.certified_radii(model, split, sigma, 50, 2000, 0.001, seed=0)
    truth = (points @ direction - 0.5).abs()
    assert (radii <= truth).all() and radii[0] > 0.6 * truth[0]


def test_certify_is_cohens_formula():
    counts = torch.tensor([5, 60, 35]), torch.tensor([100, 800, 100])
    p = scipy.stats.binomtest(800, 1000, alternative="greater").proportion_ci(0.99, "exact").low
    assert robustness.certify(*counts, 0.25, 0.01) == pytest.approx((1, 0.25 * scipy.stats.norm.ppf(p)))


@fast
@given(st.integers(2, 60), st.integers(2, 5), st.floats(0, 1), seeds)
def test_poison_keeps_its_promises(count, classes, fraction, seed):
    images, labels = rand(count, 1, 3, 3, seed=seed), torch.arange(count) % classes
    pattern, mask = rand(3, 3, seed=seed + 1), torch.eye(3, dtype=torch.float64)
    new_images, new_labels, chosen = robustness.poison(images, labels, pattern, mask, 1, fraction, seed)
    candidates = int((labels != 1).sum())
    assert len(chosen) == min(round(fraction * count), candidates) == len(chosen.unique())
    assert (labels[chosen] != 1).all() and (new_labels[chosen] == 1).all()
    rest = torch.ones(count, dtype=torch.bool)
    rest[chosen] = False
    assert torch.equal(new_images[rest], images[rest]) and torch.equal(new_labels[rest], labels[rest])
    assert torch.equal(new_images[chosen][:, 0, 0, 0], pattern[0, 0].expand(len(chosen)))


@fast
@given(st.lists(st.floats(0.1, 100), min_size=3, max_size=30, unique=True))
def test_the_anomaly_index_is_scipys(norms):
    mad = scipy.stats.median_abs_deviation(norms)
    assume(mad > 1e-3)
    got = robustness.anomaly_index(torch.tensor(norms, dtype=torch.float64))
    np.testing.assert_allclose(got, (np.median(norms) - np.array(norms)) / (1.4826 * mad), rtol=1e-6, atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=2, max_size=7))
def test_the_sign_flip_test_is_scipys(differences):
    assume(abs(sum(differences)) > 1e-6 and all(d == 0 or abs(d) > 1e-3 for d in differences))
    wanted = scipy.stats.permutation_test(
        (np.array(differences),), np.sum, permutation_type="samples", alternative="two-sided", n_resamples=np.inf
    ).pvalue
    sums = [abs(s) for s in all_sums(differences)]
    doubled = min(1.0, 2 * np.mean([s >= abs(sum(differences)) - 1e-9 for s in all_sums(differences)]))
    assert wanted == pytest.approx(doubled)  # SciPy doubles the smaller tail, which by symmetry is the same
    share = np.mean([s >= abs(sum(differences)) - 1e-9 * sum(map(abs, differences)) for s in sums])
    assert robustness.sign_flip_test(differences) == pytest.approx(share)
    assert robustness.sign_flip_test(differences) == pytest.approx(wanted)


def all_sums(differences):
    sums = [0.0]
    for d in differences:
        sums = [s + sign * d for s in sums for sign in (1, -1)]
    return sums


@fast
@given(st.integers(1, 5), st.integers(0, 3), seeds)
def test_few_shots_are_so_many_of_each(classes, shots, seed):
    labels = torch.arange(classes).repeat(shots + 1)
    chosen = robustness.few_shot(labels, shots, seed)
    assert labels[chosen].bincount(minlength=classes).tolist() == [shots] * classes
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    with pytest.raises(ValueError, match="ask for no more shots"):
        robustness.few_shot(labels, shots + 2, seed)


def test_adversarial_training_with_masks_and_autograd_agree():
    state = {"a.weight": rand(5, 6) - 0.5, "a.bias": rand(5), "b.weight": rand(3, 5) - 0.5, "b.bias": rand(3)}
    masks = {"a.weight": rand(5, 6, seed=2) > 0.5}
    inputs, labels = rand(12, 6, seed=3), torch.arange(12) % 3
    got = robustness.adversarial_train(state, inputs, labels, masks, 0.1, 0.04, 3, 0.3, 1)
    start = state | {"a.weight": state["a.weight"] * masks["a.weight"]}
    attacked = inputs
    for _ in range(3):
        leaf = attacked.clone().requires_grad_()
        F.cross_entropy(mlp_forward(start, leaf), labels).backward()
        attacked = robustness.pgd_step(attacked, inputs, leaf.grad, 0.04, 0.1)
    leaf = start["b.bias"].clone().requires_grad_()
    F.cross_entropy(mlp_forward(start | {"b.bias": leaf}, attacked), labels).backward()
    torch.testing.assert_close(got["b.bias"], start["b.bias"] - 0.3 * leaf.grad)
    assert (got["a.weight"][~masks["a.weight"]] == 0).all()


def test_masks_keep_as_many_weights_and_random_ones_differ_by_seed():
    model = mlp(20, 30, 10)
    kept = {name: int(mask.sum()) for name, mask in largest(model, 0.1).items()}
    assert sum(kept.values()) == 90
    first, other = shuffled(model, 0.1, 0), shuffled(model, 0.1, 1)
    assert {name: int(mask.sum()) for name, mask in first.items()} == kept
    assert any(not torch.equal(first[name], other[name]) for name in kept)


def test_noisy_labels_are_wrong_as_often_as_asked():
    labels = torch.arange(200) % 10
    noisy = noisy_labels(labels, 0.2, 3)
    assert int((noisy != labels).sum()) == 40 and noisy.min() >= 0 and noisy.max() <= 9


def test_an_epoch_holds_the_masks_and_counts_attacked_images():
    set_seed(0)
    model, split = mlp(16, 8, 4), Split(rand(40, 1, 4, 4).float(), torch.arange(40) % 4)
    masks = largest(model, 0.5)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    right = train_epoch(model, split, optimizer, torch.Generator().manual_seed(0), 0.05, 2, masks)
    assert 0 <= right <= 1 and not model.training
    assert all((model.get_parameter(name)[~mask] == 0).all() for name, mask in masks.items())


def test_the_way_between_two_networks_starts_and_ends_at_them():
    a, b = network(0, 16, 8, 4).float(), network(1, 16, 8, 4).float()
    split = Split(rand(50, 1, 4, 4).float(), a(rand(50, 1, 4, 4).float()).argmax(1))
    errors = between(a.state_dict(), b.state_dict(), a, split, 4)
    assert len(errors) == 5 and errors[0] == 0 < errors[-1]


def test_cleanse_finds_the_pixel_that_a_planted_network_obeys():
    """Class 3 follows one pixel, the others many: its patch is the smallest."""
    model = mlp(784, 10)
    with torch.no_grad():
        model[1].weight.zero_()
        model[1].bias.zero_()
        for digit in range(10):
            model[1].weight[digit, 50 * digit : 50 * digit + 40] = 0.1
        model[1].weight[3] = 0
        model[1].weight[3, 777] = 6
    found = cleanse(model, torch.zeros(4, 1, 28, 28), 100, 0.01)
    assert int(np.argmin(found["norms"])) == 3 and found["success"][3] == 1


def test_the_trigger_is_a_checkerboard_of_five():
    for place in ("corner", "centre"):
        pattern, mask = trigger(place)
        assert int(pattern.sum()) == 5 and int(mask.sum()) == 9 and (pattern <= mask).all()


def test_fine_pruning_stops_before_accuracy_falls_and_silences_idle_units_first():
    set_seed(0)
    model, images = mlp(16, 8, 4), rand(60, 1, 4, 4).float()
    model[-1].bias.data.zero_()
    model[1].bias.data.fill_(1.0)
    model[1].bias.data[3] = -100.0  # the one unit that no image uses
    split = Split(images, model(images).argmax(1))
    assert int(backdoor.idle_first(model, images)[0]) == 3
    cut = backdoor.affordable(model, split, 0.1)
    order = backdoor.idle_first(model, images)
    assert 1 <= cut < 8 and backdoor.affordable(model, split, 1.0) == 8
    assert errors(backdoor.silenced(model, order[:cut]), split) <= 6
    assert errors(backdoor.silenced(model, order[: cut + 1]), split) > 6
    repaired = backdoor.fine_pruned(model, split, cut, 0, 1)
    for network in repaired.values():
        assert int((network[-1].weight == 0).all(0).sum()) == cut
    assert (repaired["fine-pruned"][-1].weight[:, order[:cut]] == 0).all()
