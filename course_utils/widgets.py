"""Widgets of the lectures. Without a kernel a row of pictures that were drawn beforehand takes their place."""

import base64
import hashlib
import html
import io
import json
import os
from collections.abc import Callable
from typing import Any

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import display
from matplotlib.figure import Figure
from PIL import Image

from course_utils import plots

MOST = 12  # pictures of a widget
MAX_BYTES = 400_000  # of all of them, as they stand in the notebook


def explorer(draw: Callable[..., Figure], controls: dict[str, ipywidgets.ValueWidget], alt: str) -> ipywidgets.Widget:
    """Controls above a picture that follows them; where a notebook is built, pictures for readers without a kernel too.

    draw: gets the controls' values by their names. alt: describes the default state.
    """

    def picture(**others: Any) -> Figure:
        return draw(**{name: control.value for name, control in controls.items()} | others)

    def png(figure: Figure) -> bytes:
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
        plt.close(figure)
        return buffer.getvalue()

    image = ipywidgets.Image(value=png(picture()), format="png")
    for control in controls.values():
        control.observe(lambda _: setattr(image, "value", png(picture())), names="value")
    if os.environ.get("COURSE_FRAMES"):
        plots.show(picture(), alt)
        name = next(name for name, control in controls.items() if not isinstance(control, ipywidgets.Dropdown))
        show_frames(lambda value: picture(**{name: value}), controls[name])
    else:  # where a kernel runs the picture is in the widget, and only its words stand beside it
        words = f"<details><summary>Widget in words</summary>{html.escape(alt)}</details>"
        display({"text/html": words, "text/plain": f"Widget in words: {alt}"}, raw=True)
    return ipywidgets.VBox([*controls.values(), image])


# --- for readers without a kernel -------------------------------------------------------------------------------------


def show_frames(draw: Callable[[Any], Figure], control: ipywidgets.ValueWidget) -> None:
    """Show a slider that goes through pictures, one for each of up to `MOST` values of a control.

    One HTML output that needs nothing else: its script makes the slider, and hides the still picture before it. Where
    scripts are not run (on GitHub, in a notebook that is not trusted), the still picture is what there is.
    """
    values, labels, present = stops(control)
    pictures, texts = [], []
    for value, label in zip(values, labels, strict=True):
        figure = draw(value)
        titles = [" ".join(axis.get_title().split()) for axis in figure.axes if axis.get_title()]
        texts.append("; ".join([f"{control.description} {label}", *titles]))
        pictures.append("data:image/webp;base64," + base64.b64encode(webp(figure)).decode())
    data = {"name": control.description, "first": present, "labels": labels, "texts": texts, "pictures": pictures}
    shown = json.dumps(data, ensure_ascii=False).replace("</", "<\\/")
    if len(shown) > MAX_BYTES:
        raise ValueError(f"The pictures of {control.description!r} take {len(shown) // 1000} kB: draw smaller ones.")
    name = f"frames-{hashlib.sha256(shown.encode()).hexdigest()[:12]}"
    page = f'<div id="{name}"></div><script>({SCRIPT})("{name}", {shown})</script>'
    display({"text/html": page, "text/plain": f"{len(values)} pictures, one for each {control.description}"}, raw=True)


def stops(control: ipywidgets.ValueWidget) -> tuple[list[Any], list[str], int]:
    """Up to `MOST` values of a control, evenly from its first to its last and the present one among them; their texts,
    and the place of the present one."""
    if hasattr(control, "options"):
        pairs = [pair if isinstance(pair, tuple) else (pair, pair) for pair in control.options]
        labels, values = [str(label) for label, _ in pairs], [value for _, value in pairs]
        present = control.index
    else:
        steps = control.min + control.step * np.arange(round((control.max - control.min) / control.step) + 1)
        if isinstance(control, ipywidgets.FloatLogSlider):
            steps = control.base**steps
        values = [type(control.value)(round(float(step), 10)) for step in steps]
        labels = [f"{value:.3g}" if isinstance(value, float) else f"{value:,}" for value in values]
        present = int(np.abs(np.array(values) - control.value).argmin())
    kept = np.linspace(0, len(values) - 1, min(MOST, len(values))).round().astype(int)
    if present not in kept:  # neither of the ends, then
        kept[np.abs(kept[1:-1] - present).argmin() + 1] = present
    return [values[i] for i in kept], [labels[i] for i in kept], int((kept == present).argmax())


# Makes the slider and its picture in the page, from the data that it is given
SCRIPT = """(name, data) => {
  const root = document.getElementById(name);
  if (!root || root.childElementCount) return;
  const add = (parent, tag, more) => parent.appendChild(Object.assign(document.createElement(tag), more));
  const label = add(add(root, "p", {}), "label", {textContent: data.name + " "});
  const slider = add(label, "input", {type: "range", min: 0, max: data.labels.length - 1, value: data.first});
  slider.style.cssText = "width: 60%; max-width: 24em; vertical-align: middle";
  const shown = add(label, "output", {}), image = add(root, "img", {});
  image.style.maxWidth = "100%";
  add(root, "p", {textContent: "Pictures drawn beforehand. Where a kernel runs, run this cell: everything moves."});
  const move = () => {
    image.src = data.pictures[slider.value];
    image.alt = data.texts[slider.value];
    shown.value = " " + data.labels[slider.value];
    slider.setAttribute("aria-valuetext", data.labels[slider.value]);
  };
  slider.addEventListener("input", move);
  move();
  const cell = root.closest(".jp-OutputArea, .cell_output, .output_wrapper, .output");
  const before = cell ? [...cell.querySelectorAll("img")].filter(each => each.compareDocumentPosition(root) & 4) : [];
  if (before.length) before[before.length - 1].style.display = "none";
}"""


def webp(figure: Figure) -> bytes:
    """The figure as it is drawn, in a palette, which for diagrams is smaller than PNG."""
    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", facecolor="white")
    plt.close(figure)
    quantized = Image.open(drawn).convert("RGB").quantize(64, dither=Image.Dither.NONE)
    quantized.convert("RGB").save(small, "webp", lossless=True)
    return small.getvalue()
