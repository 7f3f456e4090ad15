"""The dense twins' experiment, in small: what it stores, and that a twin keeps all and is trained as long."""

import json

import pytest

from course_utils.deep_compression import reproduce_dense as dense

TINY = dense.Settings(batch_size=50, retrain_epochs=1, parts=(0.5, 0.03), prune_every=2)


@pytest.mark.usefixtures("own_cache")
def test_tiny_run_stores_every_stage(few_digits, tmp_path, monkeypatch):
    short = {"dense_epochs": 1, "prune_epochs": 2, "share_epochs": 1}
    recipes = {name: dense.replace(recipe, **short) for name, recipe in dense.RECIPES.items()}
    monkeypatch.setattr(dense, "RECIPES", recipes)
    results = dense.run(1, tmp_path, few_digits, TINY)
    assert json.loads((tmp_path / "dense.json").read_text()) == json.loads(json.dumps(results))
    (run,) = results["runs"]
    assert all(0 <= run[name][what] <= 200 for name in recipes for what in ("pruned", "dense"))
    cuts = run["cuts"]
    assert [len(layer) for layer in cuts["one_layer"]] == [2, 2, 2] and len(cuts["cut"]) == len(cuts["retrained"]) == 2
    counts = {stage: sum(histogram) for stage, histogram in cuts["histograms"].items()}
    assert counts["dense"] > 20 * counts["cut"] and counts["cut"] >= counts["retrained"] >= counts["shared"] > 0
    assert sum(count > 0 for count in cuts["histograms"]["shared"]) <= 2 ** recipes["in two rounds"].bits[0]


def test_a_twin_keeps_all_weights_and_has_the_same_epochs():
    for piece in dense.pieces(None, TINY, 1):
        if piece.name.endswith("dense"):
            (recipe, _), original = piece.arguments, dense.RECIPES[piece.name.split("/")[1]]
            assert recipe.kept == 266_200 and recipe.prune_epochs == 0 and recipe.shifts == original.shifts
            assert recipe.dense_epochs == original.dense_epochs + original.prune_epochs
