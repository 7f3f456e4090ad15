"""Instructor-only laws of unit 08: harder cases, compared with the reference."""

import torch

from course_utils import regroup
from course_utils.checks import expect
from course_utils.checks.engine import Law, law
from course_utils.regroup.laws import DOUBLE, hypergraph, inside, some_blocks, some_groups, split


@law("large filter banks, NaN outside of the mask")
def scores_hidden(function, draw):
    for shape in ((70, 33), (40, 8, 5, 5), (1, 500)):
        weight, mask = draw.normal(*shape, dtype=DOUBLE), draw.mask(*shape, keep=0.2)
        spoilt = weight.masked_fill(~mask, torch.nan)
        expect.close(function(spoilt, mask), regroup.filter_scores(weight, mask), "the scores", 1e-9, 1e-9)


@law("large masks, scores of which many are equal")
def refill_hidden(function, draw):
    for shape in ((300, 7), (64, 3, 3, 3)):
        scores = torch.from_numpy(draw.rng.integers(0, 5, shape[0])).float()
        mask, count = draw.mask(*shape), draw.integer(1, shape[0])
        expect.equal(function(mask, scores, count), regroup.refill(mask, scores, count), "the mask")


@law("sparse masks of many sizes")
def hypergraph_hidden(function, draw):
    for keep in (0.0, 0.01, 0.1, 0.9):
        mask = draw.mask(draw.integer(1, 200), draw.integer(1, 200), keep=keep)
        expect.equal(hypergraph(function, mask), regroup.mask_hypergraph(mask), "(rows, nets)")


@law("hypergraphs of real size")
def connectivity_hidden(function, draw):
    nodes = draw.integer(200, 400)
    nets = [draw.permutation(nodes)[: draw.integer(1, 60)].tolist() for _ in range(200)]
    groups = [draw.integer(-3, 20) for _ in range(nodes)]
    expect.equal(function(nets, groups), regroup.connectivity(nets, groups), "KM1")


@law("masks of real size, all thresholds")
def pass_hidden(function, draw):
    mask = draw.mask(draw.integer(50, 150), draw.integer(50, 150), keep=0.15)
    for _ in range(3):
        arguments = (
            mask,
            some_groups(draw, len(mask), 6),
            draw.integer(1, 12),
            draw.integer(1, 6),
            draw.integer(1, 20),
        )
        expect.equal(split(function, *arguments), regroup.regroup_pass(*arguments), "blocks and rest")


@law("many blocks that overlap, gradients too")
def product_hidden(function, draw):
    weight, blocks = draw.normal(60, 80, dtype=DOUBLE), some_blocks(draw, 60, 80, 12)
    x = draw.normal(7, 80, dtype=DOUBLE)
    unused = ~inside(blocks, weight).any(dim=0)
    x[:, unused] = torch.nan
    ours, theirs = ([part.clone().requires_grad_() for part in (x, weight)] for _ in range(2))
    got, wanted = function(*ours, blocks), regroup.block_matmul(*theirs, blocks)
    expect.close(got, wanted, "the product", 1e-9, 1e-9)
    gradients = expect.gradient((got**2).sum(), ours, "the product")
    expect.close(gradients, expect.gradient((wanted**2).sum(), theirs), "the gradients", 1e-9, 1e-9)


@law("five passes by random groups")
def regroup_hidden(function, draw):
    for keep in (0.1, 0.3):
        mask = draw.mask(60, 90, keep=keep)
        partitions = [some_groups(draw, 60, 6) for _ in range(5)]
        for t2 in (1, 2, 4):
            arguments = (mask, partitions, 2, t2, 2)
            expect.equal(split(function, *arguments), regroup.regroup(*arguments), "blocks and mask")


LAWS: dict[str, list[Law]] = {
    "8.1a": [scores_hidden],
    "8.1b": [refill_hidden],
    "8.2a": [hypergraph_hidden],
    "8.2b": [connectivity_hidden],
    "8.3": [pass_hidden],
    "8.4": [product_hidden],
    "8.5": [regroup_hidden],
}
