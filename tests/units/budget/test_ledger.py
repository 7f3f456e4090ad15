"""The meter of every unit, and the picture of all."""

import itertools
import time
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import safetensors.torch
import torch
from matplotlib.text import Text

from course_utils import plots
from course_utils.budget import budget_of, labels, ledger
from course_utils.budget.ledger import Entry, Time
from course_utils.models import lenet5, lenet_300_100


def entry(name: str, score: list[float], size: float = 100.0, joules: float = 1.0, **more) -> Entry:
    return Entry(name, "", score, macs=1.0, bytes=size, joules=joules, parts=[], **more)


@pytest.mark.parametrize("model", [lenet5(), lenet_300_100()])
def test_a_dense_network_costs_what_the_meter_says_and_its_file_can_be_read(model, tmp_path):
    found, report = ledger.of_module(model, "", "", [1.0]), budget_of(model, torch.rand(1, 1, 28, 28), repeats=1)
    assert (found.macs, found.joules) == (report["macs"], report["joules"])
    safetensors.torch.save_file(model.state_dict(), tmp_path / "file")
    assert found.bytes == (tmp_path / "file").stat().st_size


def test_a_sparse_network_computes_what_the_dense_one_does_and_multiplies_by_no_zero():
    weights = ledger.random_sparse([(7, 9), (5, 7), (3, 5)], [20, 10, 8])
    image = torch.rand(9)
    found = ledger.of_sparse(weights, "", "", [1.0], image=image)
    ((share, run),) = found.parts
    hidden = image
    for weight in weights[:-1]:
        hidden = (weight @ hidden).relu()
    np.testing.assert_allclose(run(), weights[-1] @ hidden, rtol=1e-6)
    assert found.macs == 38 and share == 1
    assert found.joules == pytest.approx((38 * 4.6 + 76 * 5 + (76 + 30 + 30) * 640) * 1e-12)


def test_a_part_counts_by_the_share_of_images_that_need_it():
    parts = [(1.0, lambda: time.sleep(0.001)), (0.25, lambda: time.sleep(0.004))]
    (found,) = ledger.measure([replace(entry("", [1.0]), parts=parts)], rounds=2, repeats=5)
    assert 2 < found.median < 4 and found.lower <= found.median <= found.upper


def test_the_front_is_what_none_is_cheaper_and_better_than():
    assert ledger.front([3, 1, 2, 2, 1], [1, 5, 4, 2, 6]) == [1, 3, 0]


def test_a_gain_is_said_to_be_one_only_if_it_is_one_in_every_seed():
    others = [entry("small", [0.5, 0.9], 10), entry("large", [1.5, 2.0], 200), entry("other", [0.9, 1.3], 105)]
    times = [Time(1, 1, 1), Time(2, 2, 2), Time(0.5, 0.5, 0.5), Time(1.05, 1, 1)]
    said = ledger.wins_and_losses([entry("dense", [1.0, 1.2]), *others], times)
    said = said.replace("\n  ", " ").splitlines()
    assert said == [
        "Against dense:",
        "small: bytes ÷ 10.0, time × 2.00, energy the same; wrong 0.70 against 1.10, better in every seed.",
        "large: bytes × 2.00, time ÷ 2.00, energy the same; wrong 1.75 against 1.10, worse in every seed.",
        "other: bytes the same, time the same, energy the same; wrong 1.10 against 1.10, not decided by these seeds.",
    ]
    pair = [entry("dense", [1.0]), entry("more", [2.0])]
    assert "better in every" in ledger.wins_and_losses(pair, times[:2], "BLEU", higher_is_better=True)
    otherwise = replace(others[0], training="longer")
    assert "(trained otherwise)." in ledger.wins_and_losses([pair[0], otherwise], times[:2])


def test_labels_cover_neither_points_nor_each_other():
    figure, axis = plots.new_figure(width=8, height=4)
    points = [(1.0 + 0.02 * i, 1.0) for i in range(8)] + [(2.0, 2.0)]
    axis.plot(*zip(*points, strict=True), linestyle="")
    axis.margins(0.3)
    figure.draw_without_rendering()
    notes = labels.place_labels(axis, points, [f"number {i}" for i in range(9)])
    boxes = [Text.get_window_extent(note) for note in notes]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    assert not any(box.contains(*place) for box in boxes for place in axis.transData.transform(points))
    with pytest.raises(ValueError, match="no room"):
        labels.place_labels(axis, points, ["a label that is much too long " * 9] * 9)
    plt.close(figure)


def test_each_unit_compares_its_networks_with_a_first_one_and_the_picture_has_the_labelled_ones(monkeypatch):
    shown = []
    monkeypatch.setattr(plots, "show", lambda figure, alt: (shown.append(alt), plt.close(figure)))
    entries = ledger.course_entries()
    assert len({entry.label for _, entry in entries}) == len(entries)
    times = ledger.measure([entry for _, entry in entries], rounds=1, repeats=3)
    table = ledger.course_table(entries, times)
    assert len(table.rows) == len(entries)
    ledger.course_figure(entries, times)
    assert len(shown) == 1
    assert ledger.course_words(entries, times).startswith("on the staircase of bytes of the file: ")
