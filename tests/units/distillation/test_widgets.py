"""The temperature explorer redraws itself when a control is moved, and shows a picture without a kernel."""

import pytest
import torch

from course_utils import plots
from course_utils.distillation.widgets import temperature_explorer


@pytest.fixture
def shown(monkeypatch):
    """The descriptions of the figures that are shown."""
    descriptions = []
    monkeypatch.setattr(plots, "show", lambda figure, alt: descriptions.append(alt))
    return descriptions


@pytest.fixture
def explorer(shown):
    generator = torch.Generator().manual_seed(0)
    return temperature_explorer(torch.rand(3, 1, 28, 28, generator=generator), torch.randn(3, 10, generator=generator))


def test_moving_a_control_draws_another_picture(explorer):
    temperature, digit, image = explorer.children
    pictures = [bytes(image.value)]
    for control, value in ((temperature, 20.0), (digit, 2)):
        control.value = value
        pictures.append(bytes(image.value))
    assert len(set(pictures)) == 3 and all(p.startswith(b"\x89PNG") for p in pictures)


def test_the_slider_is_logarithmic_and_starts_at_one(explorer):
    temperature = explorer.children[0]
    assert temperature.value == 1.0 and (10**temperature.min, 10**temperature.max) == pytest.approx((0.1, 100))


def test_a_static_picture_stands_beside_it_where_a_notebook_is_built(shown, monkeypatch):
    monkeypatch.setenv("COURSE_FRAMES", "1")
    temperature_explorer(torch.rand(3, 1, 28, 28), torch.randn(3, 10))
    assert len(shown) == 1 and "temperature 1" in shown[0]
