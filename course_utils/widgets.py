"""Widgets of the lectures. Each shows a picture of its default state as well, for readers without a running kernel."""

import io
from collections.abc import Callable

import ipywidgets
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from course_utils import plots


def explorer(draw: Callable[..., Figure], controls: dict[str, ipywidgets.ValueWidget], alt: str) -> ipywidgets.Widget:
    """Controls above a picture that follows them, and the picture of their default state for readers without a kernel.

    draw: gets the controls' values by their names. alt: describes the default state.
    """

    def picture() -> Figure:
        return draw(**{name: control.value for name, control in controls.items()})

    def png(figure: Figure) -> bytes:
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
        plt.close(figure)
        return buffer.getvalue()

    image = ipywidgets.Image(value=png(picture()), format="png")
    for control in controls.values():
        control.observe(lambda _: setattr(image, "value", png(picture())), names="value")
    plots.show(picture(), alt)
    return ipywidgets.VBox([*controls.values(), image])
