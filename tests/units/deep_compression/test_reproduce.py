"""The paper-scale Deep Compression, in small."""

import copy
import json
from functools import partial

import pytest
import torch

from course_utils.deep_compression import reproduce as dc
from course_utils.models import lenet5, lenet_300_100, mlp

TINY = dc.Settings(batch_size=50, prune_every=2, teacher_epochs=1)
SMALL = {
    "lenet_300_100": {
        "ours": dc.Recipe(900, 1, 2, 1, (2, 3, 3), 2, shifts=True, teacher=True, pruning="gradual", ladder=True),
        "rounds": dc.Recipe(900, 1, 2, 1, (3, 3, 3)),
        "rewound": dc.Recipe(900, 1, dc.REWINDS + 1, 0, (6, 6, 6), pruning="rewound"),
        "by OBD": dc.Recipe(900, 1, 2, 0, (6, 6, 6), pruning="gradual", saliency="obd"),
    },
    "lenet5": {"ours": dc.Recipe(2000, 1, 2, 0, (4, 3, 3, 4), 3, True, True, "gradual", filters=(4, 8))},
}


@pytest.fixture(autouse=True)
def small_recipes(own_cache, monkeypatch):
    monkeypatch.setattr(dc, "RECIPES", SMALL)
    monkeypatch.setitem(dc.NETWORKS, "lenet_300_100", lambda: mlp(784, 30, 20, 10))  # quickly coded


def test_tiny_run_stores_every_stage(few_digits, tmp_path):
    results = dc.run(1, tmp_path, few_digits, TINY)
    assert json.loads((tmp_path / "deep_compression.json").read_text()) == json.loads(json.dumps(results))
    for network, by_recipe in SMALL.items():
        for name, recipe in by_recipe.items():
            (run,) = results["runs"][network][name]
            assert 0 < run["kept"] <= recipe.kept and run["pruned"]["identical"]
            if not recipe.share_epochs:
                assert "huffman" not in run
                continue
            stages = [run[stage] for stage in ("pruned", "quantized", "huffman", "arithmetic")]
            sizes = [stage["bytes"] for stage in stages]
            assert sizes == sorted(sizes, reverse=True) and all(stage["identical"] for stage in stages)
            assert len({stage["test_errors"] for stage in stages[1:]}) == 1  # the same network in other bytes
            assert recipe.ladder == ("codings" in run) and (not recipe.ladder or run["best_kmeans"]["identical"])
            assert sum(layer["kept"] for layer in run["closed_form"]["layers"]) <= run["kept"]
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def test_pruning_keeps_exactly_what_it_is_told(few_digits):
    model = lenet_300_100()
    pruning = dc.GradualPruning(model, kept=500, epochs=1.0, every=1)
    counts = []
    for epoch in (0.0, 0.25, 0.5, 1.0, 1.5):
        pruning.after_step(epoch)
        counts.append(sum(int(weight.count_nonzero()) for weight in dc.weights_of(model)))
    assert counts == sorted(counts, reverse=True) and counts[0] == 266_200 and counts[-2:] == [500, 500]


def test_a_narrow_lenet_and_its_wide_twin_compute_the_same():
    torch.manual_seed(0)
    images = torch.rand(5, 1, 28, 28)
    small, filters = dc.narrow(lenet5(), 6, 10)
    wide = dc.widen(small, *filters)
    torch.testing.assert_close(wide(images), small(images))
    assert int(wide[2].weight.count_nonzero()) == 6 * 10 * 25


def test_shared_weights_stay_shared_while_they_are_trained(few_digits):
    model = lenet_300_100()
    pruning = dc.Pruning(model)
    pruning.prune(20_000)  # fewer would leave the first layer none: its first weights are the smallest
    pruning.after_step()
    masks = [weight != 0 for weight in dc.weights_of(model)]
    recipe = dc.Recipe(20_000, 0, 0, 2, (2, 3, 4), 3)
    before = model[1].weight.detach().unique()
    dc.share(model, recipe, few_digits, TINY, None, seed=0)
    for weight, mask, bits in zip(dc.weights_of(model), masks, recipe.bits, strict=True):
        assert torch.equal(weight != 0, mask) and len(weight[mask].unique()) <= 2**bits
    assert all(len(layer.bias.unique()) <= 8 for layer in model if hasattr(layer, "bias"))
    assert not torch.equal(model[1].weight.detach().unique(), before)


def test_the_best_kmeans_is_never_worse_than_the_steps():
    torch.manual_seed(0)
    model = lenet_300_100()
    pruning = dc.Pruning(model)
    pruning.prune(3000)
    pruning.after_step()
    squares = []
    for best in (True, False):
        shared = copy.deepcopy(model)
        dc.Sharing(shared, (2, 3, 4), 3, best)
        pairs = zip(shared.parameters(), model.parameters(), strict=True)
        squares.append([float((a - b).detach().square().sum()) for a, b in pairs])
        assert all(map(torch.equal, *([w != 0 for w in dc.weights_of(m)] for m in (shared, model))))
    assert all(best <= other * (1 + 1e-5) for best, other in zip(*squares, strict=True)) and squares[0] != squares[1]


def test_obd_keeps_other_weights_than_magnitude_and_as_many(few_digits):
    torch.manual_seed(0)
    model = lenet_300_100()
    masks = []
    for saliencies in (dc.magnitudes, partial(dc.obd_saliencies, split=few_digits.train)):
        pruning = dc.Pruning(model, saliencies)
        pruning.prune(5000)
        masks.append(torch.cat([mask.flatten() for mask in pruning.masks]))
    assert masks[0].sum() == masks[1].sum() == 5000 and not torch.equal(*masks)
    border = few_digits.train.images.amax((0, 1)).flatten() == 0  # a pixel that is always 0 has no curvature
    assert border.any() and not masks[1][: 300 * 784].view(300, 784)[:, border].any()
