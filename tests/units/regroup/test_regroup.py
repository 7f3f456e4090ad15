"""Unit 08 against Mt-KaHyPar, PyTorch, NumPy and SciPy, on any input."""

import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings

from course_utils import regroup
from course_utils.regroup import grouping

fast = settings(max_examples=40, deadline=None)


@st.composite
def masks(draw):
    shape = draw(st.integers(1, 14)), draw(st.integers(1, 14))
    keep, seed = draw(st.floats(0, 1)), draw(st.integers(0, 2**31))
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < keep


@st.composite
def divided(draw):
    """A mask with some partitions of its rows; a row may be in no group."""
    mask = draw(masks())
    partitions = []
    for _ in range(draw(st.integers(0, 4))):
        of_row = draw(st.lists(st.integers(0, 4), min_size=len(mask), max_size=len(mask)))
        partitions.append([[row for row, group in enumerate(of_row) if group == number] for number in range(1, 5)])
    return mask, partitions, *(draw(st.integers(1, 3)) for _ in range(3))


def by_numpy(blocks, shape):
    inside = np.zeros(shape, dtype=bool)
    for rows, columns in blocks:
        inside[np.ix_(rows, columns)] = True
    return inside


@fast
@given(masks(), st.integers(1, 4), st.data())
def test_exactly_as_many_filters_are_whole(mask, seed, data):
    count = data.draw(st.integers(1, len(mask)))
    scores = torch.tensor(data.draw(st.lists(st.integers(-2, 2), min_size=len(mask), max_size=len(mask)))).float()
    refilled = regroup.refill(mask, scores, count)
    whole = refilled.all(dim=1)
    assert int(whole.sum()) == count and torch.equal(whole, refilled.any(dim=1))
    order = np.lexsort((np.arange(len(mask)), -scores.numpy()))
    assert set(whole.nonzero().flatten().tolist()) == set(order[:count].tolist())


@fast
@given(masks(), st.integers(0, 2**31))
def test_scores_are_pytorchs_l1_norms_and_pruned_weights_may_be_nan(mask, seed):
    weight = torch.randn(mask.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    scores = regroup.filter_scores(weight.masked_fill(~mask, torch.nan), mask)
    assert torch.allclose(scores, torch.nn.functional.l1_loss(weight * mask, 0 * weight, reduction="none").sum(1))


@fast
@given(masks())
def test_the_hypergraph_is_scipys_incidence_matrix(mask):
    rows, nets = regroup.mask_hypergraph(mask)
    kept = mask.numpy()
    assert rows == np.flatnonzero(kept.sum(1)).tolist()
    columns = scipy.sparse.csc_matrix(kept[rows])
    columns.sort_indices()
    members = np.split(columns.indices, columns.indptr[1:-1])
    assert nets == [net.tolist() for net in members if len(net) > 1]


@pytest.mark.parametrize(("rows", "keep", "count"), [(20, 0.3, 4), (90, 0.1, 7), (90, 0.03, 12)])
def test_km1_is_the_partitioners_own(rows, keep, count):
    pytest.importorskip("mtkahypar")
    mask = torch.rand(rows, 120, generator=torch.Generator().manual_seed(rows)) < keep
    nodes, nets = regroup.mask_hypergraph(mask)
    groups, km1 = grouping.partition_nodes(len(nodes), nets, count, seed=1)
    assert regroup.connectivity(nets, groups) == km1 > 0
    by_chance = torch.randint(count, (len(nodes),), generator=torch.Generator().manual_seed(0)).tolist()
    assert km1 < regroup.connectivity(nets, by_chance)


def test_the_partitioner_finds_planted_blocks_and_chance_does_not():
    pytest.importorskip("mtkahypar")
    generator = torch.Generator().manual_seed(0)
    planted = torch.zeros(96, 400, dtype=torch.bool)
    for group in torch.randperm(96, generator=generator).split(16):
        planted[group[:, None], torch.randperm(400, generator=generator)[:60]] = True
    mask = planted & (torch.rand(planted.shape, generator=generator) < 0.8)
    rows, nets = regroup.mask_hypergraph(mask)
    found = {}
    for divide in (grouping.partition, grouping.random_groups):
        groups = divide(rows, nets, 6, 0)
        assert sorted(row for group in groups for row in group) == rows
        found[divide], regrouped = regroup.regroup(mask, [groups], 8, 8, 20)
        if divide is grouping.partition:
            assert (regrouped & planted).sum() / planted.sum() > 0.95 and (regrouped & ~planted).sum() < 200
    assert len(found[grouping.partition]) == 6 and not found[grouping.random_groups]


@fast
@given(divided())
def test_blocks_and_rest_are_disjoint_and_what_is_kept_is_in_one_of_them(case):
    mask, partitions, *thresholds = case
    for groups in partitions:
        blocks, rest = regroup.regroup_pass(mask, groups, *thresholds)
        inside = torch.from_numpy(by_numpy(blocks, mask.shape))
        assert not (rest & inside).any() and torch.equal(rest | (mask & inside), mask)
        for rows, columns in blocks:
            assert len(rows) >= thresholds[0] and len(columns) >= thresholds[2]
            assert (mask[rows][:, columns].sum(0) >= thresholds[1]).all()
        assert sum(len(rows) for rows, _ in blocks) == len({row for rows, _ in blocks for row in rows})


@fast
@given(divided())
def test_the_loop_is_pass_after_pass_until_one_finds_nothing(case):
    mask, partitions, *thresholds = case
    before = mask.clone()
    blocks, regrouped = regroup.regroup(mask, partitions, *thresholds)
    wanted, rest = [], mask
    for groups in partitions:
        found, rest = regroup.regroup_pass(rest, groups, *thresholds)
        if not found:
            break
        wanted += found
    assert blocks == wanted and np.array_equal(regrouped.numpy(), by_numpy(wanted, mask.shape))
    assert torch.equal(mask, before)


@fast
@given(divided(), st.integers(0, 2**31))
def test_the_block_product_is_the_masked_product(case, seed):
    mask, partitions, *thresholds = case
    blocks, regrouped = regroup.regroup(mask, partitions, *thresholds)
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(mask.shape, generator=generator, dtype=torch.float64)
    x = torch.randn(3, mask.shape[1], generator=generator, dtype=torch.float64)
    wanted = scipy.sparse.csr_matrix((weight * regrouped).numpy()) @ x.numpy().T
    spoilt = x.masked_fill(~regrouped.any(dim=0), torch.nan)
    product = regroup.block_matmul(spoilt, weight.masked_fill(~regrouped, torch.nan), blocks)
    np.testing.assert_allclose(product.numpy(), wanted.T, rtol=0, atol=1e-12)


def test_the_block_product_has_the_right_derivatives():
    blocks = [([0, 2], [1, 3]), ([1, 2], [0, 3])]
    weight = torch.randn(4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    x = torch.randn(3, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, weight: regroup.block_matmul(x, weight, blocks), (x, weight))


def test_random_groups_hold_every_row_once_and_are_equally_large():
    groups = grouping.random_groups(list(range(0, 50, 2)), [], 4, seed=3)
    assert sorted(row for group in groups for row in group) == list(range(0, 50, 2))
    assert {len(group) for group in groups} == {6, 7}
    assert groups != grouping.random_groups(list(range(0, 50, 2)), [], 4, seed=4)
    assert grouping.random_groups([5, 9], [], 4, seed=0) in ([[5], [9]], [[9], [5]])
