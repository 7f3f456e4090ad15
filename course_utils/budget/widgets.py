"""Widget of lecture 00."""

import ipywidgets
from matplotlib.figure import Figure

from course_utils import plots
from course_utils.widgets import explorer


def energy_meter() -> ipywidgets.Widget:
    """What an inference costs by Horowitz's prices at 45 nm, and how long a phone's battery lasts.

    Sliders set the MACs of a network, the accesses to SRAM and DRAM for each MAC, the number format and the battery.
    The format decides on the price of arithmetic and on the bits that a memory access moves, to which its energy is
    taken to be proportional.
    """
    from course_utils.budget import PICOJOULES

    # A multiplication and an addition, in picojoules, and the bits of a number
    formats = {
        "float32": (3.7 + 0.9, 32),
        "int32": (3.1 + 0.1, 32),
        "float16": (1.1 + 0.4, 16),
        "int8": (0.2 + 0.03, 8),
    }

    def draw(macs: float, sram: float, dram: float, numbers: str, per_second: int, watt_hours: float) -> Figure:
        price, bits = formats[numbers]
        picojoules = {
            f"arithmetic ({numbers})": macs * price,
            "SRAM": macs * sram * PICOJOULES["sram"] * bits / 32,
            "DRAM": macs * dram * PICOJOULES["dram"] * bits / 32,
        }
        total = sum(picojoules.values()) * 1e-12
        hours = watt_hours * 3600 / (total * per_second) / 3600
        figure, axes = plots.new_figure(height=2.4)
        plots.bars(axes, {name: value * 1e-9 for name, value in picojoules.items()}, "millijoules per inference")
        axes.set_title(
            f"{total * 1e3:.3g} mJ per inference; at {per_second} per second {total * per_second:.3g} W.\n"
            f"{watt_hours:g} Wh last {hours:.3g} hours, if nothing else draws from them",
            fontsize=10,
        )
        return figure

    style = {"description_width": "12em"}
    wide = ipywidgets.Layout(width="36em")

    def log_slider(value: float, low: int, high: int, description: str) -> ipywidgets.FloatLogSlider:
        return ipywidgets.FloatLogSlider(
            value=value, min=low, max=high, step=0.05, description=description, style=style, layout=wide
        )

    controls = {
        "macs": log_slider(665_784_864.0, 4, 11, "MACs"),
        "sram": ipywidgets.FloatSlider(
            value=2.0, min=0, max=4, step=0.1, description="SRAM accesses per MAC", style=style, layout=wide
        ),
        "dram": log_slider(0.0029, -4, 0, "DRAM accesses per MAC"),
        "numbers": ipywidgets.Dropdown(options=list(formats), value="float32", description="numbers", style=style),
        "per_second": ipywidgets.IntSlider(
            value=30, min=1, max=120, description="inferences per second", style=style, layout=wide
        ),
        "watt_hours": ipywidgets.FloatSlider(
            value=15.0, min=1, max=60, step=0.5, description="battery (Wh)", style=style, layout=wide
        ),
    }
    return explorer(
        draw,
        controls,
        "The meter in its default state, as three horizontal bars of millijoules per inference: the convolutions of "
        "AlexNet with two accesses to SRAM and 0.0029 to DRAM for each MAC. SRAM has the longest bar, arithmetic about "
        "half of that, DRAM much less.",
    )
