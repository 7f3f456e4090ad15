"""Widgets without a kernel: a slider that goes through pictures that were drawn when the notebook was built."""

import base64
import io
import json
import re

import ipywidgets
import nbformat
import numpy as np
import pytest
from PIL import Image

from course_utils import plots, widgets
from course_utils.slides import browser_program
from course_utils.units import available, lecture_source
from tests.notebooks.browser import headless_browser

FRAMES = re.compile(r'<div id="(frames-\w+)"></div><script>.*\("\1", (\{.*\})\)</script>', re.DOTALL)
MOST_BYTES = 400_000  # of a widget


def frames_of(cell: nbformat.NotebookNode) -> list[str]:
    pages = [output.get("data", {}).get("text/html", "") for output in cell.get("outputs", [])]
    return [page for page in pages if FRAMES.fullmatch(page)]


def widget_cells(topic: str) -> list[nbformat.NotebookNode]:
    cells = nbformat.read(lecture_source(topic).with_suffix(".ipynb"), as_version=4).cells
    return [cell for cell in cells if "widget" in cell.metadata.get("tags", [])]


@pytest.mark.parametrize(
    ("control", "values", "labels", "present"),
    [
        (ipywidgets.IntSlider(3, 1, 5), [1, 2, 3, 4, 5], ["1", "2", "3", "4", "5"], 2),
        (ipywidgets.FloatSlider(0.2, min=0, max=0.4, step=0.2), [0.0, 0.2, 0.4], ["0", "0.2", "0.4"], 1),
        (ipywidgets.FloatLogSlider(10.0, min=0, max=2, step=1), [1.0, 10.0, 100.0], ["1", "10", "100"], 1),
        (ipywidgets.SelectionSlider(options=[("a", 1), ("b", 2)], value=2), [1, 2], ["a", "b"], 1),
        (ipywidgets.SelectionSlider(options=[0.5, 0.9], value=0.5), [0.5, 0.9], ["0.5", "0.9"], 0),
    ],
)
def test_every_value_of_a_control_gets_a_picture(control, values, labels, present):
    assert widgets.stops(control) == (values, labels, present)


@pytest.mark.parametrize("value", [0, 1, 500, 501, 998, 1000])
def test_of_many_values_a_dozen_are_shown_the_present_one_among_them(value):
    values, labels, present = widgets.stops(ipywidgets.IntSlider(value, 0, 1000))
    assert len(values) == len(set(values)) == len(labels) == widgets.MOST and values[present] == value
    assert values == sorted(values) and values[0] == 0 and values[-1] == 1000
    assert max(np.diff(values)) < 2 * 1000 / (widgets.MOST - 1)


def grey(shade: float, other: str = "a"):
    """A picture of one shade, titled by it."""
    figure, axis = plots.new_figure(width=2, height=1)
    axis.set_title(f"shade {shade:g} {other}")
    axis.set_facecolor((shade,) * 3)
    return figure


@pytest.fixture
def shown(monkeypatch):
    monkeypatch.setenv("COURSE_FRAMES", "1")
    outputs = []
    monkeypatch.setattr(plots, "display", lambda data, **_: outputs.append(data))
    monkeypatch.setattr(widgets, "display", lambda data, **_: outputs.append(data))
    controls = {
        "other": ipywidgets.Dropdown(options=["a", "</script>"], value="</script>"),
        "shade": ipywidgets.FloatSlider(0.5, min=0, max=1, step=0.25, description="shade"),
    }
    widgets.explorer(grey, controls, "A grey square.")
    return outputs


def test_each_picture_is_the_one_of_its_value(shown):
    data = json.loads(FRAMES.fullmatch(shown[-1]["text/html"])[2])
    assert data["labels"] == ["0", "0.25", "0.5", "0.75", "1"] and data["first"] == 2 and data["name"] == "shade"
    assert data["texts"][1] == "shade 0.25; shade 0.25 </script>" and "</script>" not in shown[-1]["text/html"][:-9]
    for picture, shade in zip(data["pictures"], (0, 0.25, 0.5, 0.75, 1), strict=True):
        image = Image.open(io.BytesIO(base64.b64decode(picture.partition(",")[2]))).convert("L")
        assert image.getpixel((image.width // 2, image.height // 2)) == pytest.approx(255 * shade, abs=2)


def test_a_kernel_shows_the_widget_alone(monkeypatch):
    monkeypatch.delenv("COURSE_FRAMES", raising=False)
    monkeypatch.setattr(plots, "display", lambda *_, **__: pytest.fail("a still picture beside the live one"))
    said = []
    monkeypatch.setattr(widgets, "display", lambda data, **_: said.append(data["text/plain"]))
    live = widgets.explorer(grey, {"shade": ipywidgets.FloatSlider(0.5, min=0, max=1)}, "A grey square.")
    assert said == ["Widget in words: A grey square."]
    before = live.children[-1].value
    live.children[0].value = 1.0
    assert live.children[-1].value != before


def test_too_many_bytes_are_refused(shown, monkeypatch):
    monkeypatch.setattr(widgets, "MAX_BYTES", 1000)
    with pytest.raises(ValueError, match=r"The pictures of 'shade' take .* kB: draw smaller ones"):
        widgets.show_frames(grey, ipywidgets.FloatSlider(0.5, min=0, max=1, step=0.25, description="shade"))


@pytest.mark.parametrize("topic", available())
def test_every_widget_of_a_lecture_has_its_pictures(topic):
    cells = widget_cells(topic)
    assert cells
    for cell in cells:
        (page,) = frames_of(cell)
        assert len(page) < MOST_BYTES
        data = json.loads(FRAMES.fullmatch(page)[2])
        assert 2 <= len(data["labels"]) == len(data["texts"]) == len(data["pictures"]) == len(set(data["labels"]))
        assert len(set(data["pictures"])) > 1, f"the pictures of {cell.id} are all the same"
        assert data["name"] and all(data["texts"])


@pytest.fixture(scope="module")
def page():
    if browser_program() is None:
        pytest.skip("there is no Chromium here to look at the pages with")
    with headless_browser() as browser:
        yield browser.new_page()


@pytest.mark.parametrize("topic", available())
def test_the_slider_moves_the_picture_to_the_right_one(topic, page, tmp_path):
    """With the keyboard, as a screen reader hears it, and with the still picture out of the way."""
    failed = []
    page.on("pageerror", lambda error: failed.append(error))
    page.on("request", lambda request: failed.append(request.url) if request.url.startswith("http") else None)
    for cell in widget_cells(topic):
        (frames,) = frames_of(cell)
        data = json.loads(FRAMES.fullmatch(frames)[2])
        # the script tag of the page would end at the first "</script>" that the data did not escape
        (tmp_path / "page.html").write_text(
            f'<meta charset="utf-8"><div class="jp-OutputArea"><img id="still">{frames}</div>', encoding="utf-8"
        )
        page.goto((tmp_path / "page.html").as_uri())
        slider, image = page.get_by_role("slider", name=data["name"]), page.locator("[id^=frames-] img")

        def seen(slider=slider, image=image) -> tuple:
            return image.get_attribute("src"), image.get_attribute("alt"), slider.get_attribute("aria-valuetext")

        def right(place: int, data=data) -> tuple:
            return data["pictures"][place], data["texts"][place], data["labels"][place]

        assert not page.locator("#still").is_visible() and seen() == right(data["first"])
        slider.focus()
        slider.press("Home")
        assert seen() == right(0)
        slider.press("ArrowRight")
        assert seen() == right(1)
        slider.press("End")
        assert seen() == right(-1)
        assert image.evaluate("async (image) => { await image.decode(); return image.naturalWidth > 100; }")
    assert not failed
