"""Unit 02 against others: BackPACK, curvlinops, torch-pruning, PyTorch's double backward, NumPy, SciPy."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor, nn

from course_utils import pruning, saliency
from course_utils.data import Digits, Split
from course_utils.models import mlp
from course_utils.saliency import figures, reproduce_rounds, reproduce_surgeon
from course_utils.saliency.reproduce import Settings, cut
from course_utils.saliency.reproduce import run as reproduce
from course_utils.training import train


def make_net(sizes, activation, seed=0):
    torch.manual_seed(seed)
    layers = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), activation()]
    return nn.Sequential(*layers[:-1]).double()


def recursion(net: nn.Sequential, inputs: Tensor, targets: Tensor) -> list[Tensor]:
    """LeCun's curvatures of a net of Linear and ReLU or Tanh layers: cross-entropy for labels, else squared error."""
    received, slopes, bends, hidden = [], [], [], inputs
    for layer in net:
        if isinstance(layer, nn.Linear):
            received.append(hidden)
        elif isinstance(layer, nn.ReLU):
            slopes.append((hidden > 0).double())
            bends.append(torch.zeros_like(hidden))
        else:
            slopes.append(1 - hidden.tanh() ** 2)
            bends.append(-2 * hidden.tanh() * slopes[-1])
        hidden = layer(hidden)
    if targets.is_floating_point():  # Σ_k (a_k − t_k)² per example
        gradient, curvature = 2 * (hidden - targets), torch.full_like(hidden, 2)
    else:
        p = hidden.softmax(1)
        gradient, curvature = p - F.one_hot(targets, p.shape[1]), p * (1 - p)
    weights = [layer.weight for layer in net if isinstance(layer, nn.Linear)]
    arguments = (weights, received, slopes, bends, gradient, curvature)
    return saliency.backpropagate_curvature(
        *([t.detach() for t in a] if isinstance(a, list) else a.detach() for a in arguments)
    )


def mean_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    if targets.is_floating_point():
        return ((outputs - targets) ** 2).sum(1).mean()
    return F.cross_entropy(outputs, targets)


def double_backward(net, inputs, targets) -> list[Tensor]:
    """Exact diagonals of the Hessian by differentiating each entry of the gradient."""
    diagonals = []
    for layer in net:
        if isinstance(layer, nn.Linear):
            loss = mean_loss(net(inputs), targets)
            (gradient,) = torch.autograd.grad(loss, layer.weight, create_graph=True)
            entries = [
                torch.autograd.grad(g, layer.weight, retain_graph=True)[0].flatten()[i] if g.requires_grad else g * 0
                for i, g in enumerate(gradient.flatten())
            ]
            diagonals.append(torch.stack(entries).view_as(layer.weight).detach())
    return diagonals


def backpack_diagonals(net, inputs, targets, extension) -> list[Tensor]:
    backpack = pytest.importorskip("backpack")
    net = backpack.extend(net)
    if targets.is_floating_point():
        # BackPACK's MSELoss averages over outputs too
        loss = backpack.extend(nn.MSELoss())(net(inputs), targets) * 1.0
        scale = targets.shape[1]
    else:
        loss, scale = backpack.extend(nn.CrossEntropyLoss())(net(inputs), targets), 1
    with backpack.backpack(extension()):
        loss.backward()
    name = extension().savefield
    return [scale * getattr(layer.weight, name) for layer in net if isinstance(layer, nn.Linear)]


def batch(net, classes: bool, size=6, seed=1):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(size, net[0].in_features, generator=generator).double()
    outputs = net[-1].out_features
    targets = (
        torch.randint(0, outputs, (size,), generator=generator)
        if classes
        else torch.randn(size, outputs, generator=generator).double()
    )
    return inputs, targets


SIZES = (5, 7, 6, 4)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh])
@pytest.mark.parametrize("classes", [True, False])
def test_double_backward_agrees_with_backpack(activation, classes):
    """The two oracles agree with each other before we lean on them."""
    extensions = pytest.importorskip("backpack.extensions")
    net = make_net(SIZES, activation)
    inputs, targets = batch(net, classes)
    exact = double_backward(net, inputs, targets)
    for ours, theirs in zip(exact, backpack_diagonals(net, inputs, targets, extensions.DiagHessian), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("classes", [True, False])
def test_relu_net_has_the_diagonal_of_its_gauss_newton_matrix(classes):
    """diag(H) = diag(GGN): in a single weight the logits of a ReLU net are linear, as φ″ = 0."""
    extensions = pytest.importorskip("backpack.extensions")
    net = make_net(SIZES, nn.ReLU)
    inputs, targets = batch(net, classes)
    exact = double_backward(net, inputs, targets)
    gauss_newton = backpack_diagonals(net, inputs, targets, extensions.DiagGGNExact)
    for h, g in zip(exact, gauss_newton, strict=True):
        torch.testing.assert_close(h, g)
        assert (h >= -1e-12).all()


def test_tanh_net_has_not_the_diagonal_of_its_gauss_newton_matrix():
    extensions = pytest.importorskip("backpack.extensions")
    net = make_net(SIZES, nn.Tanh)
    inputs, targets = batch(net, True)
    exact, gauss_newton = (
        double_backward(net, inputs, targets),
        backpack_diagonals(net, inputs, targets, extensions.DiagGGNExact),
    )
    torch.testing.assert_close(exact[-1], gauss_newton[-1])  # the last layer has no bend above it
    assert not torch.allclose(exact[0], gauss_newton[0], rtol=0.05)


def test_curvlinops_finds_the_same_diagonals():
    curvlinops = pytest.importorskip("curvlinops")
    net = make_net((3, 4, 3), nn.ReLU)
    inputs, targets = batch(net, True)
    parameters = [p for p in net.parameters() if p.dim() == 2]
    operator = curvlinops.HessianLinearOperator(net, nn.CrossEntropyLoss(), parameters, [(inputs, targets)])
    n = sum(p.numel() for p in parameters)
    diagonal = (operator @ torch.eye(n, dtype=torch.float64)).diagonal()
    exact = torch.cat([h.flatten() for h in double_backward(net, inputs, targets)])
    torch.testing.assert_close(diagonal, exact)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh])
@pytest.mark.parametrize(("classes", "exact_layers"), [(True, 1), (False, 2)])
def test_recursion_is_exact_in_the_last_layers_and_not_before(activation, classes, exact_layers):
    net = make_net(SIZES, activation)
    inputs, targets = batch(net, classes)
    ours, exact = recursion(net, inputs, targets), double_backward(net, inputs, targets)
    for layer in range(len(ours)):
        if layer >= len(ours) - exact_layers:
            torch.testing.assert_close(ours[layer], exact[layer])
        else:
            assert not torch.allclose(ours[layer], exact[layer], rtol=0.05)


def test_recursion_is_exact_everywhere_in_a_chain_of_single_units():
    net = make_net((1, 1, 1, 1, 1), nn.Tanh, seed=3)
    inputs, targets = batch(net, False)
    for ours, exact in zip(recursion(net, inputs, targets), double_backward(net, inputs, targets), strict=True):
        torch.testing.assert_close(ours, exact)


@pytest.mark.parametrize("order", [1, 2])
def test_magnitude_is_torch_pruning_s_importance(order):
    torch_pruning = pytest.importorskip("torch_pruning")
    layer = nn.Linear(6, 4)
    graph = torch_pruning.DependencyGraph().build_dependency(nn.Sequential(layer), torch.randn(1, 6))
    group = graph.get_pruning_group(layer, torch_pruning.prune_linear_out_channels, idxs=[0, 1, 2, 3])
    importance = torch_pruning.importance.GroupMagnitudeImportance(p=order, normalizer=None, bias=False)(group)
    ours = saliency.magnitude_saliency(layer.weight.detach(), order).sum(1)
    torch.testing.assert_close(ours, importance.detach())


def test_obd_saliency_is_torch_pruning_s_hessian_term():
    """torch-pruning takes an example's squared gradient for the curvature: w²·g², twice our ½·h·w² with h = g².

    Of several examples its version 1.6 keeps the last one's only, so one example is all that can be compared.
    """
    torch_pruning = pytest.importorskip("torch_pruning")
    layer = nn.Linear(6, 4)
    model = nn.Sequential(layer)
    inputs, labels = torch.randn(1, 6), torch.randint(0, 4, (1,))
    graph = torch_pruning.DependencyGraph().build_dependency(model, inputs)
    hessian = torch_pruning.importance.GroupHessianImportance(normalizer=None, group_reduction="sum", bias=False)
    model.zero_grad()
    F.cross_entropy(model(inputs), labels).backward()
    fisher = layer.weight.grad**2
    hessian.accumulate_grad(model)
    group = graph.get_pruning_group(layer, torch_pruning.prune_linear_out_channels, idxs=[0, 1, 2, 3])
    ours = saliency.obd_saliency(layer.weight.detach(), fisher).sum(1)
    torch.testing.assert_close(hessian(group).detach(), 2 * ours)


finite = st.floats(-1e6, 1e6, width=32)


@given(
    st.lists(st.lists(finite, min_size=1, max_size=8), min_size=1, max_size=5),
    st.floats(0, 1),
)
@settings(max_examples=150)
def test_keep_top_is_a_stable_sort(rows, keep_fraction):
    saliencies = {str(i): torch.tensor(row) for i, row in enumerate(rows)}
    values = np.concatenate([np.array(row, dtype=np.float32) for row in rows])
    count = round(keep_fraction * len(values))
    kept = np.zeros(len(values), dtype=bool)
    kept[sorted(range(len(values)), key=lambda i: (-values[i], i))[:count]] = True
    masks = saliency.keep_top(saliencies, keep_fraction)
    assert torch.cat(list(masks.values())).tolist() == kept.tolist()
    total = saliency.predicted_loss_increase(saliencies, masks)
    assert float(total) == pytest.approx(values[~kept].astype(np.float64).sum(), rel=1e-4, abs=1.0)


@given(
    st.lists(st.integers(-50, 50), min_size=1, max_size=30),
    st.integers(1, 12),
    st.integers(0, 3),
)
@settings(max_examples=150)
def test_entropy_is_scipy_s_of_numpy_s_histogram(values, bins, shift):
    responses = torch.tensor(values, dtype=torch.float64).unsqueeze(1) + shift
    counts, edges = np.histogram(values, bins)
    on_edge = np.isclose(np.array(values)[:, None], edges[None, 1:-1], rtol=0, atol=1e-9).any()
    got = float(saliency.activation_entropy(responses, bins))
    if not on_edge or bins in (1, 2, 4, 8):
        assert got == pytest.approx(stats.entropy(counts), abs=1e-12)
    assert 0 <= got <= np.log(bins) + 1e-12


def test_taylor_saliency_is_the_derivative_by_a_gate():
    torch.manual_seed(0)
    conv, head = nn.Conv2d(1, 3, 3).double(), nn.Linear(3 * 16, 5).double()
    images, labels = torch.randn(4, 1, 6, 6).double(), torch.randint(0, 5, (4,))
    gates = torch.ones(4, 3, 1, 1, dtype=torch.float64, requires_grad=True)
    activations = conv(images).relu() * gates
    loss = F.cross_entropy(head(activations.flatten(1)), labels, reduction="sum")
    by_gate, by_activation = torch.autograd.grad(loss, [gates, activations])
    ours = saliency.taylor_saliency(activations.detach(), by_activation)
    torch.testing.assert_close(ours, by_gate.squeeze().abs().mean(0) / 16)


def test_obd_prune_predicts_a_quadratic_loss_exactly():
    """Of a loss that is quadratic without cross terms the prediction is the truth, whatever is pruned."""
    generator = torch.Generator().manual_seed(0)
    state = {"w": torch.randn(6, 5, generator=generator).double(), "b": torch.randn(6, generator=generator).double()}
    curvatures = {"w": torch.rand(6, 5, generator=generator).double()}
    pruned, masks = saliency.obd_prune(state, curvatures, 0.3)
    predicted = saliency.predicted_loss_increase({"w": saliency.obd_saliency(state["w"], curvatures["w"])}, masks)
    torch.testing.assert_close(predicted, 0.5 * (curvatures["w"] * (pruned["w"] - state["w"]) ** 2).sum())
    assert int(masks["w"].sum()) == 9 and pruned["b"].equal(state["b"])


def small_mlp_and_data():
    torch.manual_seed(0)
    net = mlp(6, 5, 4, 3).double()
    return net, torch.randn(7, 6).double(), torch.randint(0, 3, (7,))


def test_exact_curvature_of_a_relu_network_is_double_backward():
    net, images, labels = small_mlp_and_data()
    for name, ours in zip(pruning.weight_names(net), pruning.exact_curvature(net, images, labels), strict=True):
        theirs = pruning.double_backward(net, images, labels, name, torch.arange(ours.numel()))
        torch.testing.assert_close(ours.flatten(), theirs)


def test_recursion_inputs_are_what_autograd_finds():
    net, images, labels = small_mlp_and_data()
    weights, inputs, slopes, bends, gradient, curvature = pruning.recursion_inputs(net, images, labels)
    logits = (inputs[-1] @ weights[-1].T + net[-1].bias).detach().requires_grad_()
    torch.testing.assert_close(logits.detach(), net(images).detach())
    for example in range(len(images)):
        hessian = torch.autograd.functional.hessian(
            lambda z, i=example: F.cross_entropy(z[None], labels[i : i + 1]), logits[example].detach()
        )
        torch.testing.assert_close(hessian.diagonal(), curvature[example])
    loss = F.cross_entropy(logits, labels, reduction="sum")
    torch.testing.assert_close(torch.autograd.grad(loss, logits)[0], gradient)
    assert [len(weights), len(inputs), len(slopes), len(bends)] == [3, 3, 2, 2]
    assert all(set(slope.unique().tolist()) <= {0.0, 1.0} for slope in slopes)
    with pytest.raises(ValueError, match="Tanh"):
        pruning.recursion_inputs(nn.Sequential(nn.Tanh()), images, labels)


def test_masks_hold_while_a_network_trains():
    """Adam's averages would revive deleted weights; they are 0 after every step, and the others do move."""
    torch.manual_seed(0)
    net = mlp(6, 5, 3)
    split = Split(torch.randn(40, 6), torch.randint(0, 3, (40,)))
    train(net, split, epochs=2, lr=0.01, batch_size=10, progress=False)
    masks = saliency.keep_top({n: net.get_parameter(n).detach().abs() for n in pruning.weight_names(net)}, 0.5)
    pruning.apply_masks(net, masks)
    before = {name: net.get_parameter(name).detach().clone() for name in masks}
    train(net, split, epochs=2, lr=0.01, batch_size=10, after_step=pruning.hold_masks(masks), progress=False)
    for name, mask in masks.items():
        assert (net.get_parameter(name)[~mask] == 0).all()
        assert (net.get_parameter(name)[mask] != before[name][mask]).any()


def test_rounds_of_cutting_never_bring_a_weight_back():
    generator = torch.Generator().manual_seed(0)
    saliencies = {"a": torch.rand(6, 5, generator=generator), "b": torch.zeros(4, 5)}
    masks = cut(saliencies, 0.6)
    for keep_fraction in (0.4, 0.3, 0.1):
        reversed_saliencies = {name: -s for name, s in saliencies.items()}
        smaller = cut(reversed_saliencies, keep_fraction, masks)
        assert all((smaller[name] <= masks[name]).all() for name in masks)
        masks = smaller
        assert sum(int(mask.sum()) for mask in masks.values()) == round(keep_fraction * 50)


def test_reproduction_runs_on_a_tiny_setting(tmp_path):
    generator = torch.Generator().manual_seed(0)
    split = Split(torch.rand(60, 1, 28, 28, generator=generator), torch.randint(0, 10, (60,), generator=generator))
    settings_ = Settings(sizes=(196, 4, 10), epochs=1, deleted=(0.5, 0.9), retrain_epochs=1, round_epochs=1)
    results = reproduce(1, tmp_path, Digits("noise", split, split, split), settings_)
    assert (tmp_path / "saliency.json").exists()
    (seed,) = results["runs"]
    assert [row["deleted"] for row in seed["at_once"]["OBD"]] == [0.5, 0.9]
    assert set(seed["in_rounds"]) == {"OBD", "size × input", "magnitude", "random"}
    assert len(seed["dense_trained_on"]) == 2


def test_pruning_explorer_redraws():
    from course_utils.saliency.widgets import pruning_explorer

    net, images, labels = small_mlp_and_data()
    weights = {name: net.get_parameter(name).detach() for name in pruning.weight_names(net)}
    curvatures = dict(zip(weights, pruning.exact_curvature(net, images, labels), strict=True))
    seen = []

    def loss_increase(masks):
        seen.append(sum(int(mask.sum()) for mask in masks.values()))
        return 0.1

    deleted, criterion, image = pruning_explorer(weights, curvatures, loss_increase).children
    before = image.value
    deleted.value, total = 0.9, sum(w.numel() for w in weights.values())
    assert image.value != before and seen[-1] == round((1 - 0.9) * total)
    for option in criterion.options:
        criterion.value = option
    assert len(seen) == 4


def test_the_gauss_newton_matrix_is_that_of_the_logits_jacobians():
    net, images, labels = small_mlp_and_data()
    names = pruning.weight_names(net)

    def logits_of(*weights):
        return torch.func.functional_call(net, dict(zip(names, weights, strict=True)), (images,))

    weights = tuple(net.get_parameter(name).detach() for name in names)
    parts = torch.autograd.functional.jacobian(logits_of, weights)
    jacobian = torch.cat([part.flatten(2) for part in parts], dim=2)  # [batch, classes, weights]
    p = net(images).detach().softmax(1)
    by_logits = torch.diag_embed(p) - p.unsqueeze(2) * p.unsqueeze(1)
    wanted = torch.einsum("bkn,bkl,blm->nm", jacobian, by_logits, jacobian) / len(images)
    ours = reproduce_surgeon.gauss_newton(net, images, labels, chunk=3)
    torch.testing.assert_close(ours, wanted)
    diagonal = torch.cat([h.flatten() for h in pruning.exact_curvature(net, images, labels)])
    torch.testing.assert_close(ours.diagonal(), diagonal)


def test_surgery_is_the_exercises_one_after_the_other():
    torch.manual_seed(0)
    root, weight = torch.randn(12, 9).double(), torch.randn(12).double()
    matrix = root @ root.T + 0.1 * torch.eye(12).double()
    alive, moved = torch.arange(12), weight.clone()
    for place, ours in reproduce_surgeon.surgery(weight, matrix):
        part = matrix[alive][:, alive]
        q = int(saliency.obs_saliency(moved[alive], part, 0.0).argmin())
        moved[alive] = saliency.obs_update(moved[alive], part, 0.0, q)
        assert place == int(alive[q])
        torch.testing.assert_close(ours, moved, rtol=1e-7, atol=1e-9)
        alive = torch.cat([alive[:q], alive[q + 1 :]])
    assert len(alive) == 0


def test_the_surgeon_s_experiment_in_small(tmp_path):
    generator = torch.Generator().manual_seed(0)
    split = Split(torch.rand(60, 1, 28, 28, generator=generator), torch.arange(60) % 10)
    small = reproduce_surgeon.Settings(sizes=(196, 2, 10), epochs=1, deleted=(0.5, 0.6), damping=(1e-2, 1.0))
    results = reproduce_surgeon.run(1, tmp_path, Digits("noise", split, split, split), small)
    (run,) = results["runs"]
    surgeon, still = run["OBS"]["0.01"][0], run["OBS's order, survivors still"]["0.01"][0]
    assert surgeon["train_loss"] < still["train_loss"]
    assert run["OBD"][0]["deleted"] == 0.5 and results["weights"] == 196 * 2 + 20
    assert figures.chosen_damping(results, "OBS") in (1e-2, 1.0)
    assert len(figures.surgeon_table(results).rows) == 8
    assert "of 1 seeds" in figures.surgeon_words(results)


def test_one_cut_and_rounds_take_as_many_epochs(tmp_path, monkeypatch):
    epochs, fit = [], reproduce_rounds.fit

    def counted(model, masks, count, *others):
        epochs.append(count)
        return fit(model, masks, count, *others)

    monkeypatch.setattr(reproduce_rounds, "fit", counted)
    generator = torch.Generator().manual_seed(0)
    split = Split(torch.rand(40, 1, 28, 28, generator=generator), torch.arange(40) % 10)
    small = reproduce_rounds.Settings(
        sizes=(196, 4, 10), epochs=1, round_epochs=1, deleted=(0.3, 0.6, 0.8, 0.9), compared=(0.6, 0.8)
    )
    (run,) = reproduce_rounds.run(1, tmp_path, Digits("noise", split, split, split), small)["runs"]
    once, rounds = run["at_once"][reproduce_rounds.LAYERWISE], run["in_rounds"][reproduce_rounds.LAYERWISE]
    assert [row["epochs"] for row in once] == [row["epochs"] for row in rounds] == [2, 3]
    # Of each criterion: three rounds, trained on after the second and the third; one cut of each fraction
    assert sorted(epochs) == sorted(3 * [1, 1, 2, 1, 3, 2, 3])
    for row in once + rounds:  # each layer loses the same part
        assert row["kept"] == pytest.approx([1 - row["deleted"]] * 2, abs=0.02)
