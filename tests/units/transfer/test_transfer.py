"""Unit 11 against other people's libraries: peft, SciPy, autograd, and PyTorch's SGD."""

import math
from itertools import pairwise

import numpy as np
import pytest
import scipy.linalg
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from course_utils import transfer
from course_utils.models import mlp_forward
from course_utils.saliency import keep_top


def matrix(seed: int, m: int, n: int) -> torch.Tensor:
    return torch.randn(m, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


shapes = st.tuples(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 9))


@given(shapes, st.data())
@settings(max_examples=40, deadline=None)
def test_the_truncated_svd_is_scipys(shape, data):
    m = matrix(*shape)
    rank = data.draw(st.integers(1, min(m.shape)))
    u, s, v = transfer.truncated_svd(m, rank)
    left, values, right = scipy.linalg.svd(m.numpy(), full_matrices=False, lapack_driver="gesvd")
    best = (left[:, :rank] * values[:rank]) @ right[:rank]
    assert np.allclose((u * s @ v).numpy(), best, atol=1e-9) and np.allclose(s.numpy(), values[:rank])
    # No matrix of the rank is nearer
    other = matrix(shape[0] + 1, m.shape[0], rank) @ matrix(shape[0] + 2, rank, m.shape[1])
    assert (m - u * s @ v).norm() <= (m - other).norm() + 1e-9


@given(st.lists(st.integers(0, 20), min_size=1, max_size=9), st.integers(0, 16))
@settings(max_examples=60, deadline=None)
def test_the_rank_for_a_share_is_the_least(values, sixteenths):
    share = sixteenths / 16  # whole numbers and sixteenths: sums are exact
    rank = transfer.rank_for_energy(torch.tensor(values, dtype=torch.float32), share)
    squares = sorted((value**2 for value in values), reverse=True)
    enough = [r for r in range(len(values) + 1) if sum(squares[:r]) >= share * sum(squares)]
    assert rank == min(enough)


def test_lora_is_pefts():
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    layer = nn.Sequential(nn.Linear(7, 5, bias=False))
    weight = layer[0].weight.detach().clone()
    model = get_peft_model(layer, LoraConfig(r=3, lora_alpha=12, target_modules=["0"]))
    adapted = model.base_model.model[0]
    a, b = adapted.lora_A["default"].weight, adapted.lora_B["default"].weight
    assert (b == 0).all()
    nn.init.normal_(b)
    inputs = torch.randn(4, 2, 7)
    scale = 12 / 3  # α/r
    assert torch.allclose(transfer.lora_forward(inputs, weight, a, b, scale), model(inputs), atol=1e-5)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trained == transfer.trainable_parameters([(5, 7)], "lora", rank=3)
    merged = model.merge_and_unload()[0].weight
    assert torch.allclose(transfer.lora_merge(weight, a.detach(), b.detach(), scale), merged, atol=1e-6)


@given(shapes, st.data())
@settings(max_examples=40, deadline=None)
def test_the_decomposition_falls_and_keeps_to_its_limits(shape, data):
    m = matrix(*shape)
    rank = data.draw(st.integers(0, min(m.shape)))
    nonzeros = data.draw(st.integers(0, m.numel()))
    errors = []
    for steps in (1, 2, 3, 5):
        u, v, sparse = transfer.sparse_residual(m, rank, nonzeros, steps)
        assert u.shape == (m.shape[0], rank) and v.shape == (rank, m.shape[1])
        assert int((sparse != 0).sum()) <= nonzeros
        errors.append(float((m - u @ v - sparse).norm()))
    assert all(later <= earlier + 1e-9 for earlier, later in pairwise(errors))


def test_a_planted_sum_is_found_only_where_spikes_are_small_and_few():
    """Why there is no law of exact recovery: large spikes bend the first SVD."""
    low = matrix(0, 20, 2) @ matrix(1, 2, 16)

    def missed(spike: float) -> int:
        planted = torch.zeros(20, 16, dtype=torch.float64)
        planted.view(-1)[torch.randperm(320, generator=torch.Generator().manual_seed(2))[:4]] = spike
        _, _, sparse = transfer.sparse_residual(low + planted, 2, 4, steps=20)
        return int(((sparse != 0) != (planted != 0)).sum())

    assert missed(3.0) == 0 < missed(200.0)


def test_a_masked_sum_is_as_sparse_as_its_mask():
    weight, delta = matrix(0, 6, 7), matrix(1, 6, 7)
    mask = keep_top({"w": weight.abs()}, 0.3)["w"]
    new = transfer.masked_update(weight, mask, delta)
    assert torch.equal(new != 0, mask) and torch.equal(new[mask], (weight + delta)[mask])


def test_counts_are_those_of_the_papers_networks():
    gpt2_medium = [(1024, 1024)] * 48  # q and v of 24 layers
    assert transfer.trainable_parameters(gpt2_medium, "lora", rank=4) == 393_216
    # Hu 2021's large adapter: with a LayerNorm each, 2 · 1,024 numbers, that is the 11.09 million of its table
    assert transfer.trainable_parameters([(1024, 1024)] * 24, "adapter", rank=224) == 11_040_000
    with pytest.raises(ValueError, match="choose full, lora, dsee or adapter"):
        transfer.trainable_parameters(gpt2_medium, "prefix")


@given(st.integers(0, 10**6), st.integers(1, 3), st.floats(-2, 2), st.floats(0.01, 1))
@settings(max_examples=30, deadline=None)
def test_a_step_is_that_of_torchs_sgd(seed, rank, scale, lr):
    a, b = matrix(seed, rank, 5), matrix(seed + 1, 4, rank)
    support = matrix(seed + 2, 4, 5) > 0
    sparse, target = matrix(seed + 3, 4, 5) * support, matrix(seed + 4, 4, 5)
    leaves = [nn.Parameter(value.clone()) for value in (a, b, sparse)]
    optimizer = torch.optim.SGD(leaves, lr=lr)
    change = scale * leaves[1] @ leaves[0] + leaves[2] * support
    loss = ((change - target) ** 2).sum() / 2
    loss.backward()
    optimizer.step()
    gradient = (scale * b @ a + sparse - target).detach()
    new = transfer.dsee_step(a, b, sparse, support, gradient, scale, lr)
    for got, wanted in zip(new, leaves, strict=True):
        assert torch.allclose(got, wanted, atol=1e-9)


def test_adapting_is_torchs_sgd_on_the_factors():
    torch.manual_seed(3)
    network = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 3)).double()
    state = {name: value.detach().clone() for name, value in network.state_dict().items()}
    inputs, labels = torch.randn(30, 6, dtype=torch.float64), torch.randint(3, (30,))
    start = torch.randn(2, 6, dtype=torch.float64) / math.sqrt(6)
    mask = keep_top({"w": state["0.weight"].abs()}, 0.5)["w"]
    support = transfer.sparse_residual(state["0.weight"], 2, 5)[2] != 0
    a, b, sparse = (nn.Parameter(x) for x in (start.clone(), torch.zeros(9, 2).double(), torch.zeros(9, 6).double()))
    optimizer = torch.optim.SGD([a, b, sparse], lr=0.4)

    def adapted():
        return state | {"0.weight": (state["0.weight"] + 1.5 * b @ a + sparse * support) * mask}

    for _ in range(5):
        optimizer.zero_grad()
        F.cross_entropy(mlp_forward(adapted(), inputs), labels).backward()
        optimizer.step()
    got = transfer.dsee_adapt(state, {"0.weight": start}, inputs, labels, 5, 0.5, 1.5, 0.4, 5)
    assert torch.allclose(got["0.weight"], adapted()["0.weight"], atol=1e-9)
    assert torch.equal(got["2.weight"], state["2.weight"]) and torch.equal(got["0.weight"] == 0, ~mask)
