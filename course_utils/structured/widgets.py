"""Widget of lecture 04."""

from collections.abc import Mapping
from typing import Any

import ipywidgets
import numpy as np
from matplotlib.figure import Figure

from course_utils import plots
from course_utils.widgets import explorer


def lasso_explorer(results: Mapping[str, Any]) -> ipywidgets.Widget:
    """What λ leaves of a LeNet: a slider picks one of the stored runs, and shows its filters, errors, MACs and time.

    results: of `course reproduce structured`. Filters that are gone are empty tiles, behind those that are left.
    """
    path, full = results["path"], results["macs"]["20—50"]["network"]
    validation = results["data"]["validation"]

    def draw(strength: float) -> Figure:
        run = next(each for each in path if each["strength"] == strength)
        figure, (first, second, bill) = plots.new_figure(1, 3, width=11.5, height=3.2)
        tiles = np.full((4 * 6, 5 * 6), np.nan)
        for number, kernel in enumerate(run["kernels"]):
            row, column = 6 * (number // 5), 6 * (number % 5)
            tiles[row : row + 5, column : column + 5] = np.array(kernel).reshape(5, 5)
        first.imshow(np.ma.masked_invalid(tiles), cmap="gray", vmin=-100, vmax=100)
        first.set_facecolor("#e8e8e8")
        norms = np.full(50, np.nan)
        norms[: len(run["norms"])] = sorted(run["norms"], reverse=True)
        second.imshow(np.ma.masked_invalid(norms.reshape(5, 10)), cmap="viridis", vmin=0, vmax=2.5)
        second.set_facecolor("#e8e8e8")
        titles = f"conv1: {run['filters'][0]} of 20 kernels", f"conv2: norms of {run['filters'][1]} of 50 filters"
        for axis, title in zip((first, second), titles, strict=True):
            axis.set_title(title, fontsize=10)
            axis.set(xticks=[], yticks=[])
            axis.grid(visible=False)
        dense, narrow = run["conv2_ms"][0], run["conv2_ms"][-1]
        bars = {
            "validation errors (%)": 100 * run["validation_errors"] / validation,
            "MACs (% of dense)": 100 * run["macs"] / full,
            "conv2, batch 100 (% of dense)": 100 * narrow / dense,
        }
        bill.barh(list(bars), list(bars.values()), color=[plots.COLOURS[i] for i in (2, 1, 3)])
        for place, value in enumerate(bars.values()):
            bill.text(max(value, 0.12) * 1.1, place, f"{value:.3g}", va="center", fontsize=9)
        bill.set(xscale="log", xlim=(0.1, 500), title=f"λ = {strength:g}")
        bill.set_xticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"])
        bill.invert_yaxis()
        return figure

    options = [run["strength"] for run in path]
    slider = ipywidgets.SelectionSlider(
        options=options, value=options[len(options) // 2], description="λ", layout=ipywidgets.Layout(width="36em")
    )
    return explorer(
        draw,
        {"strength": slider},
        "The explorer at a middle λ. Left, small grey kernels of the first convolution, then empty tiles for those "
        "that are gone; in the middle, coloured tiles for the norms of the second convolution's filters; "
        "right, three bars on a logarithmic axis: errors, operations and time of the second convolution.",
    )
