"""The experiments of unit 12 in small."""

import json

import pytest

from course_utils.robustness import reproduce, reproduce_backdoor, reproduce_certified, reproduce_few_shots

pytestmark = pytest.mark.usefixtures("own_cache")


def stored(experiment, settings, digits, folder, name):
    """The results of one seed, as they are in the file."""
    results = experiment.run(1, folder, digits, settings)
    assert results["seeds"] == {"asked": 1, "has": 1}
    assert json.loads((folder / f"{name}.json").read_text()) == json.loads(json.dumps(results))
    return results["runs"][0]


def test_robust_overfitting(few_digits, tmp_path):
    settings = reproduce.Settings(
        examples=40, plain_epochs=1, epochs=3, look_every=2, look_steps=2, looked_at=20, tested=20, steps=2,
        restarts=2, harder=(3, 2, 10),
    )  # fmt: skip
    run = stored(reproduce, settings, few_digits, tmp_path, "robustness")
    assert run["noisy"].keys() == set(reproduce.NAMES) and run["clean"].keys() == set(reproduce.CLEAN)
    for name, found in run["noisy"].items():
        assert found["epochs"] == [2, 3] and len(found["train"]) == 3 and found["stopped"]["epoch"] in (2, 3)
        assert found["density"] == pytest.approx(0.1 if name in ("bird", "random") else 1, abs=0.001)
        assert found["final"]["robust"] <= found["final"]["clean"]
        assert found["final"]["checks"]["harder"] <= found["final"]["checks"]["weak"] + 0.1
    assert run["noisy"]["small dense"]["weights"] == pytest.approx(run["noisy"]["dense"]["weights"] / 10, rel=0.01)


def test_backdoor(few_digits, tmp_path):
    settings = reproduce_backdoor.Settings(
        epochs=1, fraction=0.1, keep=(1.0, 0.1), images=4, cleanse_steps=2, rounds=2, round_epochs=1, bins=2,
        repair_epochs=1,
    )  # fmt: skip
    run = stored(reproduce_backdoor, settings, few_digits, tmp_path, "backdoor")
    rows = run["networks"]["MLP, corner"]["rows"]
    row = rows[1]
    assert row["keep"] == 0.1 and len(row["map"]) == 784 and max(row["map"]) == 100
    assert row["corner"]["white"] == 5 and row["corner"]["found"] <= row["corner"]["inside"] <= 5
    assert "map" not in run["networks"]["CNN, corner"]["rows"][0]
    assert len(run["cleanse"]["MLP, clean"]["0.1"]["index"]) == 10
    assert [row["keep"] for row in run["rounds"]["MLP, corner"]] == [1.0, 0.6]
    assert run["repair"]["silent"]["many"] == settings.cut and 0 <= run["repair"]["silent"]["stopped"] <= 100
    assert run["repair"]["networks"]["as it was"] == {key: rows[0][key] for key in ("clean", "asr", "mistaken")}


def test_certified(few_digits, tmp_path):
    settings = reproduce_certified.Settings(
        epochs=2, sizes=(784, 20, 15, 10), narrow=(784, 4, 4, 10), smoothed_narrow=(784, 4, 4, 10),
        epsilons=(0.001, 0.01), tested=20, steps=2, restarts=1, linear=10, certified=4, selection=10, estimation=40,
    )  # fmt: skip
    run = stored(reproduce_certified, settings, few_digits, tmp_path, "certified")
    for name, found in run["bounds"].items():
        assert found["density"] == pytest.approx(0.1 if name in ("largest", "random") else 1, abs=0.01)
        assert found["intervals"]["0.01"] <= found["intervals"]["0.001"] <= found["clean"]
        assert found["intervals"]["0.01"] <= found["attacked"]["0.01"]
        assert found["linear"]["0.01"] >= found["some intervals"]["0.01"]
    assert all(len(found["radii"]) == 4 for found in run["smoothed"].values())


def test_few_shots(few_digits, tmp_path, monkeypatch):
    monkeypatch.setattr(reproduce_few_shots, "TASKS", ("other writers",))
    settings = reproduce_few_shots.Settings(epochs=2, sizes=(784, 20, 10), narrow=(784, 2, 10), shots=(1, 2), steps=2)
    run = stored(reproduce_few_shots, settings, few_digits, tmp_path, "few_shots")
    assert run["largest"]["tasks"]["other writers"].keys() == {"1", "2"}
    assert run["dense"]["spoiled"].keys() == set(reproduce_few_shots.SPOILED) and "spoiled" not in run["from scratch"]
