"""The sparse networks against torch on masked ones, step by step, and what the methods do to their connections."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from course_utils.data import Split, shift_images
from course_utils.models import mlp, mlp_forward
from course_utils.sparse_training import explored_fraction, methods, network

SIZES = (784, 12, 8, 10)
DENSITIES = {"1.weight": 0.03, "3.weight": 0.4, "5.weight": 1.0}
KINDS = (network.SparseLayer, network.MaskedLayer)


@pytest.fixture(scope="module")
def split():
    rng = torch.Generator().manual_seed(0)
    return Split(torch.rand(300, 1, 28, 28, generator=rng), torch.randint(0, 10, (300,), generator=rng))


def new_network(kind=network.SparseLayer, densities=DENSITIES, seed=0):
    masks = network.masks_of(SIZES, densities, seed)
    return network.Network(network.first_weights(masks, seed), masks, kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("nesterov", (False, True))
def test_training_is_torchs_sgd_on_a_masked_network(split, kind, nesterov):
    net = new_network(kind)
    masks, model = net.masks(), mlp(*SIZES)
    model.load_state_dict(net.state())
    weights = [p for n, p in model.named_parameters() if "weight" in n]
    biases = [p for n, p in model.named_parameters() if "bias" in n]
    groups = [{"params": weights, "weight_decay": 1e-3}, {"params": biases, "weight_decay": 0}]
    optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9, nesterov=nesterov)
    for number in range(5):
        images, labels = split.images[number * 50 : number * 50 + 50], split.labels[number * 50 : number * 50 + 50]
        columns = np.ascontiguousarray(images.flatten(1).T.numpy())
        logits = net.forward(columns)
        assert np.allclose(logits.T, model(images).detach(), atol=1e-4)
        net.backward(columns, network.cross_entropy_slopes(logits, labels.numpy()))
        net.descend(0.1, 0.9, 1e-3, nesterov)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(images), labels).backward()
        dense = net.dense_gradients(columns)
        for weight, mask, found in zip(weights, masks.values(), dense, strict=True):
            assert torch.allclose(found, weight.grad, atol=1e-5)
            weight.grad *= mask
        optimizer.step()
        for weight, mask in zip(weights, masks.values(), strict=True):
            weight.data *= mask  # weight decay leaves a zero as it is; rounding must not hide a leak
    for name, value in net.state().items():
        assert torch.allclose(value, model.state_dict()[name], atol=1e-5), name


def test_both_kinds_of_layers_give_back_what_they_were_given():
    for kind in KINDS:
        net = new_network(kind)
        layer = net.layers[0]
        weight, mask, _ = layer.dense()
        velocity = torch.randn(weight.shape) * mask
        layer.store(weight, mask, velocity)
        assert all(map(torch.equal, layer.dense(), (weight, mask, velocity)))
        assert net.connections() == [round(0.03 * 12 * 784), round(0.4 * 96), 80]


def test_batches_hold_the_shifted_images_of_an_epoch_once(split):
    numbered = Split(split.images, torch.arange(300))
    batches, seen, moves = network.Batches(numbered, 50, 1, seed=0), [], set()
    for images, labels in batches.epoch():
        for j, label in enumerate(labels):
            column = images[:, j].reshape(28, 28)
            shifts = [(d, r) for d in (-1, 0, 1) for r in (-1, 0, 1)]
            moved = [shift_images(split.images[label : label + 1], d, r)[0, 0].numpy() for d, r in shifts]
            (found,) = [shift for shift, image in zip(shifts, moved, strict=True) if np.array_equal(image, column)]
            moves.add(found)
        seen += labels.tolist()
    assert sorted(seen) == list(range(300)) and len(moves) == 9


@pytest.mark.parametrize("method", ("SET", "RigL"))
def test_connections_move_and_their_number_stays(split, method):
    net = new_network()
    before, history = net.connections(), [net.masks()]
    rewire = methods.moving(method, every=5, end=35, alpha=0.5, seed=0)
    methods.fit(
        net, network.Batches(split, 50, 0, 0), 40, rewire=rewire, after_step=lambda _: history.append(net.masks())
    )
    assert net.connections() == before
    changed = [
        step for step in range(1, 41) if any((history[step][n] != history[step - 1][n]).any() for n in DENSITIES)
    ]
    assert changed == [5, 10, 15, 20, 25, 30]
    assert explored_fraction(history) > explored_fraction(history[:1])
    # forward, backward and backward for what is connected; RigL's update looks at all positions instead
    kept, dense = 2 * sum(before), 2 * net.positions()
    updates = 6 if method == "RigL" else 0
    assert net.flops == 40 * 3 * kept + updates * (dense - kept)


def test_gradual_pruning_ends_at_the_densities_and_never_revives(split):
    net = new_network(network.MaskedLayer, dict.fromkeys(DENSITIES, 1.0))
    counts, masks = [], [net.masks()]

    def look(step):
        counts.append(sum(net.connections()))
        masks.append(net.masks())

    rewire = methods.gradual(DENSITIES, every=4, end=30)
    methods.fit(net, network.Batches(split, 50, 0, 0), 40, rewire=rewire, after_step=look)
    assert net.connections() == [round(0.03 * 12 * 784), round(0.4 * 96), 80]
    assert counts == sorted(counts, reverse=True) and counts[2] == net.positions() and counts[29] == counts[-1]
    for earlier, later in pairwise(masks):
        assert all((later[name] <= earlier[name]).all() for name in DENSITIES)
    state = net.state()
    assert all((state[name][~net.masks()[name]] == 0).all() for name in DENSITIES)


def test_n_of_m_uses_half_of_every_four_and_lets_others_come_back(split):
    net = new_network(network.StraightThroughLayer, dict.fromkeys(DENSITIES, 1.0))
    rewire, masks = methods.n_of_m(2, 4, every=1), []
    methods.fit(
        net, network.Batches(split, 50, 0, 0), 30, rewire=rewire, after_step=lambda _: masks.append(net.masks())
    )
    for name in ("1.weight", "3.weight"):
        assert (masks[-1][name].view(len(masks[-1][name]), -1, 4).sum(2) == 2).all()
        returned = any((later[name] & ~earlier[name]).any() for earlier, later in pairwise(masks))
        assert returned
    state = net.state()
    images = split.images[:50]
    logits = net.forward(np.ascontiguousarray(images.flatten(1).T.numpy()))
    assert np.allclose(logits.T, mlp_forward(state, images), atol=1e-4)
