"""What the tables of lecture 11 decide by themselves, and its drawings."""

import math

import pytest
import torch

from course_utils import plots
from course_utils.transfer import figures, reproduce, widgets
from course_utils.transfer.methods import METHODS

SEEDS = 3


def results(bleu: dict[str, list[float]], file_bytes: int = 4000, file_bleu: float = 59.5) -> dict:
    """Results of three seeds in which every method has BLEU 60 but for those that are given."""
    generator = torch.Generator().manual_seed(0)
    rows = []
    plan = [("known words", 100, name) for name in METHODS]
    plan += [("known words", size, name) for size in (8, 400) for name in reproduce.SWEPT]
    plan += [("new words", 100, name) for name in reproduce.ON_NEW_WORDS]
    for target, size, name in plan:
        runs = [
            {"rate": 0.01, "trainable": 9216, "seconds": 1.0, "zeros": 0, "bleu": value, "nist": 8.0, "train_loss": 0.1}
            for value in bleu.get(f"{name}/{target}/{size}", bleu.get(name, [60.0] * SEEDS))
        ]
        if name in reproduce.IN_A_FILE:
            for run in runs:
                file = {"bytes": file_bytes, "bleu": file_bleu, "nist": 8.0}
                run["files"] = [{"bits": bits, **file} for bits in (4, 6)]
        if name == "full":
            for run in runs:
                run["files"] = [{"kept": 0.03, "bits": 4, "bytes": 10**6, "bleu": 10.0, "nist": 3.0}]
            runs[0] |= {"update": reproduce.as_text(torch.randn(256, 64, generator=generator))}
            runs[0] |= {"spectrum": [1 / (i + 1) for i in range(64)], "ranks": [20] * 12}
        rows.append({"target": target, "examples": size, "method": name, "rates": [], "runs": runs})
    limit = {"zero-shot": {"bleu": 12.0, "nist": 3.0}, "ceiling": {"bleu": 94.0, "nist": 9.0}}
    return {
        "paper": reproduce.PAPER,
        "settings": {"size": 100, "sizes": [8, 400], "steps": 150},
        "network": {"parameters": 115_328, "bytes": 465_000, "matrices": [[64, 64]] * 12},
        "limits": {"known words": limit, "new words": limit},
        "rows": rows,
    }


def shifted(low: list[float], full: list[float], held: list[float] | None = None) -> dict:
    """Results of three seeds: accuracies of ranks 2 and 64, of full tuning, and of full tuning held near its start."""
    runs = []
    for seed in range(SEEDS):
        found = {"r 2": low[seed], "r 64": 0.99, "bias": 0.3, "full": full[seed], "full, held": (held or full)[seed]}
        runs.append(
            {
                "frozen": 0.2, "undone": 0.95, "undone, bias forgotten": 0.6,
                "methods": {name: {"test": value, "validation": value} for name, value in found.items()},
            }
        )  # fmt: skip
    return {
        "settings": {"planes": [1, 3], "shots": [1, 5], "ranks": [2, 64]},
        "numbers": {"bias": 100, "full": 78_500, "full, held": 78_500, "r 2": 1_868, "r 64": 56_676},
        "tasks": [{"planes": planes, "shots": shots, "runs": runs} for planes in (1, 3) for shots in (1, 5)],
    }


SAME = shifted([0.8] * 3, [0.7] * 3)


def verdicts(found: dict, shift: dict = SAME, longer: dict | None = None) -> dict[str, str]:
    return {row[0]: row[-1] for row in figures.claims_table(found, shift, longer or found).rows}


def test_a_claim_needs_every_seed():
    said = verdicts(results({"LoRA": [61.0, 62.0, 63.0]}))
    assert said["LoRA is better than full tuning"] == "yes, in all 3"
    assert verdicts(results({"LoRA": [61.0, 59.0, 63.0]}))["LoRA is better than full tuning"].startswith("not decided")
    assert verdicts(results({"LoRA": [50.0] * 3}))["LoRA is better than full tuning"] == "no"


def test_half_a_point_is_allowed_and_no_more():
    claim = "DSEE without half of W loses at most 0.5 against LoRA"
    assert verdicts(results({"DSEE, half of W": [59.6] * 3}))[claim] == "yes, in all 3"
    assert verdicts(results({"DSEE, half of W": [59.4] * 3}))[claim] == "no"


def test_only_files_of_at_most_a_hundredth_are_judged():
    small = {claim: said for claim, said in verdicts(results({})).items() if claim.startswith("file")}
    assert len(small) == 2 * len(reproduce.IN_A_FILE) and set(small.values()) == {"yes, in all 3"}
    assert set(verdicts(results({}, file_bleu=58.9)).values()) >= {"no"}
    assert not any(claim.startswith("file") for claim in verdicts(results({}, file_bytes=4651)))


def test_five_points_are_asked_of_a_rank_with_a_tenth_of_the_numbers():
    """Rank 64 is better and has too many."""
    assert figures.chosen_rank(SAME, 1, 5) == "r 2"
    said = verdicts(results({}), shifted([0.8] * 3, [0.7] * 3, held=[0.79] * 3))
    assert said["1 plane, 5 of each class: r 2 is 5 points above full"] == "yes, in all 3"
    assert said["1 plane, 5 of each class: r 2 is 5 points above full, held"] == "no"
    less = verdicts(results({}), shifted([0.74] * 3, [0.7] * 3))
    assert less["3 planes, 5 of each class: r 2 is 5 points above full"] == "no"


def test_the_sizes_are_compared_one_by_one():
    table = figures.sizes_table(results({"full/known words/8": [50.0] * 3, "full/new words/100": [70.0] * 3}))
    assert [(row[0], row[1], row[-1]) for row in table.rows] == [
        ("known words", 8, "no"),
        ("known words", 100, "not decided (0 of 3)"),
        ("known words", 400, "not decided (0 of 3)"),
        ("new words", 100, "yes, in all 3"),
    ]


def test_more_steps_are_judged_by_themselves():
    """LoRA is better after few steps, and not after more."""
    few = results({"LoRA": [70.0] * 3})
    more = results({"LoRA": [50.0] * 3, "adapters": [40.0, 60.0, 40.0]}) | {"settings": {"size": 100, "steps": 600}}
    more["rows"] = [figures.row_of(more, name) for name in ("full", "LoRA", "adapters", "LoRA on q and v")]
    table = figures.longer_table(few, more)
    assert table.columns[1] == "BLEU, 150 steps" and table.columns[3] == "BLEU, 600 steps"
    assert [row[-1] for row in table.rows][:3] == ["no", "—", "not decided (2 of 3)"]
    assert table.rows[1][1].startswith("70.0") and table.rows[1][3].startswith("50.0")
    said = verdicts(few, longer=more)
    assert said["LoRA is better than full tuning"] == "yes, in all 3"
    assert said["LoRA is better than full tuning, after 600 steps"] == "no"
    assert said["LoRA is better than adapters, after 600 steps"] == "not decided (2 of 3)"


def test_bytes_of_places_are_those_of_the_binomial():
    assert figures.nonzero_bytes(100, 3) == pytest.approx(math.log2(math.comb(100, 3)) / 8 + 6, abs=1e-6)


def test_a_budget_is_spent_whole():
    matrix = torch.randn(30, 40, generator=torch.Generator().manual_seed(1))
    for rank in range(4):
        low, sparse, error, size = figures.spent(matrix, rank, 300)
        assert int((sparse != 0).sum()) == 300 - 70 * rank and int(torch.linalg.matrix_rank(low)) == rank
        assert 0 < error < 1 and size > 600


def test_every_table_and_drawing_can_be_made(monkeypatch):
    alts = []
    monkeypatch.setattr(plots, "show", lambda figure, alt: (alts.append(alt), plots.plt.close(figure)))
    found = results({})
    for draw in (figures.three_updates, figures.error_of_a_rank, figures.two_paths, figures.one_alternation,
                 figures.dense_sums, figures.trained_parts, figures.turned_digits):  # fmt: skip
        draw()
    for draw in (figures.methods_figure, figures.sizes_figure, figures.files_figure, figures.spectrum_figure):
        draw(found)
    figures.rank_curves(SAME)
    assert len(set(alts)) == 12 and all(len(alt) > 40 for alt in alts)
    for table in (figures.methods_table(found), figures.files_table(found), figures.published_table(found),
                  figures.shift_table(SAME, 1), figures.shift_table(SAME, 3)):  # fmt: skip
        assert len(table.rows) > 3


def test_the_explorer_follows_its_controls(monkeypatch):
    monkeypatch.setattr(plots, "show", lambda figure, alt: plots.plt.close(figure))
    matrix, rank, image = widgets.budget_explorer(results({})).children
    pictures = {image.value}
    for value in (0, rank.max):
        rank.value = value
        pictures.add(image.value)
    matrix.value = matrix.options[1]
    assert len(pictures | {image.value}) == 4
