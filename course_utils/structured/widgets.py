"""Widget of lecture 04."""

from collections.abc import Mapping
from typing import Any

import ipywidgets
import numpy as np
from matplotlib.figure import Figure

from course_utils import plots
from course_utils.widgets import explorer


def lasso_explorer(results: Mapping[str, Any]) -> ipywidgets.Widget:
    """What λ leaves of a LeNet: filters of the first seed, and errors, MACs and time of all seeds.

    results: of `course reproduce structured`. Filters that are gone are empty tiles, behind those that are left.
    """
    path, full = results["path"], results["macs"]["20—50"]["network"]
    validation = results["data"]["validation"]

    def draw(strength: float) -> Figure:
        runs = [each for each in path if each["strength"] == strength]
        run = runs[0]
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
        bars = {
            "validation errors (%)": [100 * each["validation_errors"] / validation for each in runs],
            "network's MACs (% of dense)": [100 * each["macs"] / full for each in runs],
            "conv2, batch 100 (% of dense)": [100 * each["conv2_ms"][-1] / each["conv2_ms"][0] for each in runs],
        }
        means = [float(np.mean(values)) for values in bars.values()]
        bill.barh(list(bars), means, color=[plots.COLOURS[i] for i in (2, 1, 3)])
        for place, (mean, values) in enumerate(zip(means, bars.values(), strict=True)):
            bill.hlines(place, min(values), max(values), color="black")
            bill.text(max(*values, 0.12) * 1.15, place, f"{mean:.3g}", va="center", fontsize=9)
        bill.set(
            xscale="log",
            xlim=(0.1, 500),
            title=f"λ = {strength:g}, mean of {len(runs)} runs" if len(runs) > 1 else f"λ = {strength:g}, one run",
        )
        bill.set_xticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"])
        bill.invert_yaxis()
        return figure

    options = list(dict.fromkeys(run["strength"] for run in path))
    slider = ipywidgets.SelectionSlider(
        options=options, value=options[len(options) // 2], description="λ", layout=ipywidgets.Layout(width="36em")
    )
    return explorer(
        draw,
        {"strength": slider},
        "The explorer at a middle λ. Left, small grey kernels of the first convolution, then empty tiles for those "
        "that are gone; in the middle, coloured tiles for the norms of the second convolution's filters; "
        "right, three bars on a logarithmic axis, each with a line for the range over the seeds: errors, "
        "operations and time of the second convolution.",
    )
