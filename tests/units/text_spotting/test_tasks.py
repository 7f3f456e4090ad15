"""Three tasks one after another."""

import pytest
import torch

from course_utils.text_spotting import tasks, transfer


@pytest.fixture(scope="module")
def three(few_digits):
    return tasks.all_tasks(few_digits, 200, seed=0)


@pytest.mark.parametrize("method", ["PackNet", "separate"])
def test_nothing_is_forgotten(three, method):
    rows = tasks.learn(method, three, (784, 30, 20), epochs=2, rate=1e-3, seed=0)
    _, backward = transfer(rows)
    assert backward == 0
    assert rows[0][1:] == [0.0, 0.0] and min(rows[2]) > 0


def test_fine_tuning_forgets(three):
    rows = tasks.learn("fine-tuning", three, (784, 30, 20), epochs=6, rate=3e-3, seed=0)
    assert rows[0][0] > rows[2][0] and transfer(rows)[1] < 0


def test_letters_are_images_with_labels():
    split = tasks.letter_images("ABC", 30, seed=1)
    assert split.images.shape == (30, 784) and split.images.min() >= 0 and split.images.max() <= 1
    assert set(split.labels.tolist()) <= {0, 1, 2}
    assert torch.equal(split.images, tasks.letter_images("ABC", 30, seed=1).images)
