"""Widget of lecture 14."""

from collections.abc import Mapping
from typing import Any

import ipywidgets
import numpy as np
from matplotlib.figure import Figure

from course_utils import plots
from course_utils.text_spotting import figures, stream
from course_utils.text_spotting.networks import SIZES
from course_utils.widgets import explorer

WIDE = ipywidgets.Layout(width="36em")


def battery_explorer(results: Mapping[str, Any]) -> ipywidgets.Widget:
    """A stored film, a battery and a policy: when energy comes in, how much, and who decides what to read."""
    run = results["stream"][0]
    sample = run["sample"]
    stations = sorted({word for words in sample["words"] for word in words})

    def draw(kind: str, policy: str, share: float) -> Figure:
        arriving, choices = figures.policies(results, run, kind, share / 100)
        chosen = choices[policy]
        if policy == "14.11":  # it looks at every frame
            arriving = stream.after_looking(arriving, run["looking"])
        spent = np.cumsum([run["joules"][p] if p >= 0 else 0.0 for p in chosen])
        read = {sample["readings"][t][p][0] for t, p in enumerate(chosen) if p >= 0} & set(stations)
        figure, (top, below) = plots.new_figure(2, 1, width=7.2, height=3.4)
        top.plot(1000 * np.array(sample["sharpness"]), color=figures.GREY, linestyle="-", marker="")
        for point, size in enumerate(SIZES):
            at = [t for t, p in enumerate(chosen) if p == point]
            top.plot(at, [1000 * sample["sharpness"][t] for t in at], linestyle="", color=plots.COLOURS[point + 1],
                     marker=plots.MARKERS[point], markersize=6, label=f"{size} networks")  # fmt: skip
        top.set(ylabel="sharpness · 1000", ylim=(0, 1300 * max(sample["sharpness"])))
        top.legend(fontsize=7, ncols=3, loc="upper right")
        top.set_title(
            f"{len(read)} of {len(stations)} words read right, {sum(p >= 0 for p in chosen)} frames paid, "
            f"{1000 * spent[-1]:.1f} of {1000 * sum(arriving):.1f} mJ spent on reading",
            fontsize=10,
        )
        below.plot(1000 * (np.cumsum(arriving) - spent), color="black", linestyle="-", marker="")
        below.set(ylabel="battery (mJ)", xlabel="frame", ylim=(0, None))
        return figure

    controls = {
        "policy": ipywidgets.ToggleButtons(options=("14.11", "greedy", "every k-th"), description="policy"),
        "kind": ipywidgets.ToggleButtons(options=stream.INCOMES, value="even", description="income"),
        "share": ipywidgets.FloatSlider(value=5, min=1, max=20, step=1, description="income (%)", layout=WIDE),
    }
    return explorer(
        draw,
        controls,
        "The explorer with an even income of five percent and the policy of 14.11. Above, the sharpness of each frame "
        "as a line that falls to the ground in darts and gusts, with markers on the frames that are read, one kind for "
        "each pair of networks. Below, the battery: it rises evenly and falls with each frame that is read.",
    )
