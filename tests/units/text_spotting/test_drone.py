"""The films of unit 14: what stands where, and what blurs."""

import numpy as np
import pytest
import torch

from course_utils import drone
from course_utils.text_spotting import sharpness


@pytest.fixture(scope="module")
def film() -> drone.Film:
    return drone.film(7, frames=40, stations=4)


def test_a_film_has_frames_boxes_and_words(film):
    assert film.frames.shape == (40, *drone.SIZE) and film.frames.dtype == torch.float32
    assert film.frames.min() >= 0 and film.frames.max() <= 1
    assert len(film.boxes) == len(film.words) == 40
    for boxes, words in zip(film.boxes, film.words, strict=True):
        assert boxes.shape == (len(words), 4)
        assert (boxes >= 0).all() and (boxes <= torch.tensor([320, 192, 320, 192])).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert set(film.truth) == {word for words in film.words for word in words} <= set(drone.WORDS)
    assert film.truth == sorted(set(film.truth))


def test_the_same_seed_gives_the_same_film_and_another_one_another():
    one, same, other = (drone.film(seed, frames=20, stations=2) for seed in (1, 1, 2))
    assert torch.equal(one.frames, same.frames) and one.truth == same.truth
    assert not torch.equal(one.frames, other.frames)


def test_the_boxes_are_around_the_texts(film):
    """Inside a box there is ink and paper; around it, for a pixel or two, paper alone."""
    sharp = int(sharpness(film.frames).argmax())
    assert len(film.boxes[sharp])
    for box in film.boxes[sharp].round().int().tolist():
        x0, y0, x1, y1 = box
        inside = film.frames[sharp][y0:y1, x0:x1]
        assert inside.max() - inside.min() > 0.2


def test_ground_and_frame_are_inverse_to_each_other():
    pose = np.array([300.0, 200.0, 1.1, 0.1, 0.08])
    points = drone._to_ground(torch.from_numpy(pose).float(), drone.SIZE)
    back = drone._to_frame(points.double().numpy(), pose, drone.SIZE)
    rows, columns = np.meshgrid(np.arange(192) + 0.5, np.arange(320) + 0.5, indexing="ij")
    assert np.abs(back - np.stack([columns, rows], axis=-1)).max() < 0.01


def test_darts_blur():
    film = drone.film(3, frames=60, stations=4)
    values = sharpness(film.frames)
    hover = (60 - 3 * 4) / 4
    darting = [t for t in range(60) if (t + 0.25) % (hover + 4) > hover + 1 and (t + 0.25) % (hover + 4) < hover + 3]
    still = [t for t in range(60) if (t + 0.5) % (hover + 4) < hover - 0.5]
    assert values[darting].median() < values[still].median() / 2


def test_too_few_frames_are_refused():
    with pytest.raises(ValueError, match="too few"):
        drone.film(0, frames=10, stations=9)


def test_snapshots_have_random_letters_and_no_truth():
    shots = drone.snapshots(0, 5)
    assert shots.frames.shape == (5, *drone.SIZE) and shots.truth == []
    assert all(set(word) <= set(drone.LETTERS) and 3 <= len(word) <= 8 for words in shots.words for word in words)


def test_other_fonts_are_others_and_all_are_there():
    assert not set(drone.DEJAVU) & set(drone.OTHER_FONTS)
    for name in (*drone.DEJAVU, *drone.OTHER_FONTS):
        left, top, right, bottom = drone.font(name, 20).getbbox("MILL")
        assert right - left > 20 and bottom - top > 8
