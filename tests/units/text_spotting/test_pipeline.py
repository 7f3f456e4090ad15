"""From films to words: the same as the exercises say, and the joules add up."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_utils import drone
from course_utils.text_spotting import (
    choose_frames,
    merge_readings,
    networks,
    pipeline,
    reading_accuracy,
    sharpness,
    spot_stream,
    stream,
)
from course_utils.text_spotting.pipeline import Read, Reader

TEXTS = st.text("ABC", min_size=3, max_size=5)
READINGS = st.lists(st.tuples(TEXTS, st.sampled_from([0.125, 0.25, 0.5, 1.0]), st.just(1.0)), max_size=12)


@pytest.fixture(scope="module")
def film() -> drone.Film:
    return drone.film(11, frames=30, stations=3)


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader(networks.load("detector", "medium"), networks.load("recognizer", "medium"))


@given(READINGS, st.sampled_from([0.0, 0.2, 0.34, 0.5]), st.sampled_from([0.125, 0.5, 1.0]))
def test_words_are_those_of_the_exercise(readings, tolerance, support):
    expected = merge_readings([reading[:2] for reading in readings], tolerance, support)
    assert pipeline.words_of(Read([readings], []), [0], tolerance, [support]) == [expected]


def test_the_sharpest_frames_are_those_of_the_exercise(film):
    values = sharpness(film.frames).tolist()
    for window in (1, 4, 7):
        assert pipeline.sharpest(values, window) == choose_frames(film.frames, window, 0.0)
    assert pipeline.every(10, 4) == [1, 5, 9] and pipeline.every(5, 1) == [0, 1, 2, 3, 4]


def test_the_shipped_networks_read_a_film(film, reader):
    read = pipeline.read_film(reader, film)
    (words,) = pipeline.words_of(read, range(30), 0.34, [0.5])
    accuracy, precision = pipeline.right(words, film.truth)
    assert accuracy > 0.7 and precision > 0.7
    assert len(read.ms) == len(read.readings) == 30


def test_a_higher_threshold_reads_what_it_would_have_read(film, reader):
    high = Reader(reader.detector, reader.recognizer, threshold=0.8)
    frame = drone.Film(film.frames[:4], [], [], [])
    texts = [[reading[0] for reading in row] for row in pipeline.read_film(high, frame).readings]
    above = pipeline.read_film(reader, frame).above(0.8).readings
    assert [[reading[0] for reading in row] for row in above] == texts


def test_accuracy_and_precision_are_each_others_mirror():
    assert pipeline.right(["MILL", "QAY"], ["MILL", "QUAY", "ZOO"]) == pytest.approx((1 - 1.25 / 3, 1 - (1 / 3) / 2))
    assert pipeline.right([], ["MILL"]) == (0.0, 1.0)
    assert pipeline.right(["mill"], ["MILL"]) == (reading_accuracy({"f": ["mill"]}, {"f": ["MILL"]}), 1.0)


def test_joules_of_a_film_add_up():
    box = ("MILL", 1.0, 1.0)
    read = Read([[box], [], [box, box]], [])
    fetch, sharp = pipeline.looking_joules()
    assert pipeline.film_joules(read, [0, 2], 0, 5.0, 1.0, 32) == pytest.approx(13 + 2 * fetch)
    assert pipeline.film_joules(read, [2], 3, 5.0, 1.0, 32) == pytest.approx(7 + 4 * fetch + 3 * sharp)
    assert fetch == pytest.approx(192 * 320 / 4 * 640e-12)


def test_quantized_networks_are_near_the_float_ones(film, reader):
    model, samples = reader.detector, film.frames[:4]
    whole = model(samples)[0]
    errors = [float((pipeline.quantized(model, bits, samples)(samples)[0] - whole).abs().mean()) for bits in (8, 4, 2)]
    assert errors[0] < 0.3 and errors[0] < errors[1] < errors[2]
    assert model(samples)[0].equal(whole)  # the model itself is as it was


# --- energy that comes in ---------------------------------------------------------------------------------------------


def test_what_is_new_in_a_frame_is_the_part_that_a_shift_uncovers():
    wide = drone.snapshots(2, 1).frames[0]
    frames = torch.stack([wide[:, :280], wide[:, 40:], wide[:, 40:]])
    first, moved, same = stream.new_part(frames)
    assert first == 1 and moved == pytest.approx(40 / 280, abs=0.03) and same == 0


@pytest.mark.parametrize("kind", stream.INCOMES)
def test_incomes_sum_to_their_total(kind):
    arriving = stream.income(kind, 90, 3.0, seed=1)
    assert sum(arriving) == pytest.approx(3) and min(arriving) >= 0 and len(arriving) == 90


@pytest.mark.parametrize("kind", stream.INCOMES)
def test_nobody_owes_and_nobody_beats_the_optimum(kind):
    generator = torch.Generator().manual_seed(3)
    frames, joules, values = 40, [1.0, 3.0], [0.6, 0.9]
    draws = torch.rand(frames, 2, generator=generator)
    right = [[f"W{t // 5}" if draw < value else None for draw, value in zip(row, values, strict=True)]
             for t, row in enumerate(draws.tolist())]  # fmt: skip
    readings = [[(word or "NO", 0.9) for word in row] for row in right]
    arriving = stream.income(kind, frames, 12.0, seed=0)
    change = [1.0 if t % 5 == 0 else 0.0 for t in range(frames)]
    best, count = stream.optimum(right, joules, arriving)
    policies = {
        "best": best,
        "14.11": spot_stream([1.0] * frames, change, readings, joules, values, arriving)[0],
        "greedy": stream.greedy(1, joules, arriving),
        "regular": stream.regular(1, joules, arriving),
    }
    for name, choices in policies.items():
        left = 0.0
        for more, choice in zip(arriving, choices, strict=True):
            left += more - (joules[choice] if choice >= 0 else 0.0)
            assert left >= -1e-6, name
        words = {right[t][p] for t, p in enumerate(choices) if p >= 0} - {None}
        assert len(words) <= count
    assert len({right[t][p] for t, p in enumerate(best) if p >= 0} - {None}) == count


def test_all_policies_read_with_the_cheapest_point_that_is_good_enough():
    assert stream.point_of([5.0, 2.0, 1.0], [1.0, 0.92, 0.5]) == 1
    assert stream.point_of([5.0, 2.0, 1.0], [1.0, 0.89, 0.5]) == 0
    joules, arriving = [5.0, 2.0], [1.0] * 8
    assert stream.greedy(1, joules, arriving) == [-1, 1] * 4
    assert stream.regular(1, joules, [2.0] + [1.0] * 7) == [1, -1] * 4


def test_looking_is_taken_off_an_income():
    assert stream.after_looking([0.0, 4.0, 0.0, 4.0], 0.5) == [0.0, 3.0, 0.0, 3.0]
    assert stream.after_looking([1.0, 0.0], 5.0) == [0.0, 0.0]


def test_the_optimum_of_a_small_film_by_hand():
    """Two joules, three frames: A and B for one each is the best; A twice would be one word."""
    right = [["A", "A"], ["A", None], [None, "B"]]
    choices, count = stream.optimum(right, [1.0, 1.0], [1.0, 1.0, 0.0])
    assert count == 2 and choices[2] == 1
    assert stream.optimum(right, [1.0, 3.0], [1.0, 1.0, 0.0])[1] == 1
