"""Widget of lecture 02."""

from collections.abc import Callable

import ipywidgets
import torch
from matplotlib.figure import Figure
from torch import Tensor

from course_utils import plots
from course_utils.widgets import explorer


def pruning_explorer(
    weights: dict[str, Tensor], curvatures: dict[str, Tensor], loss_increase: Callable[[dict[str, Tensor]], float]
) -> ipywidgets.Widget:
    """Which weights a criterion deletes, and what that does to the loss: as predicted, and as measured.

    weights and curvatures: by name, the same shapes. loss_increase: of masks -> the measured increase in nats. A slider
    sets the fraction that is deleted, a menu the criterion.
    """
    from course_utils import saliency

    obd = {name: saliency.obd_saliency(weights[name], h) for name, h in curvatures.items()}
    generator = torch.Generator().manual_seed(0)
    criteria = {
        "Optimal Brain Damage": obd,
        "magnitude": {name: saliency.magnitude_saliency(w) for name, w in weights.items()},
        "random": {name: torch.rand(w.shape, generator=generator) for name, w in weights.items()},
    }
    sizes, bends = (torch.cat([t[name].flatten() for name in weights]) for t in (weights, curvatures))
    floor = 1e-8  # where weights of curvature 0 are drawn

    def draw(deleted: float, criterion: str) -> Figure:
        masks = saliency.keep_top(criteria[criterion], 1 - deleted)
        kept = torch.cat([masks[name].flatten() for name in weights])
        figure, (cloud, bill) = plots.new_figure(1, 2, width=9, height=3.6)
        for chosen, label, colour, marker in ((kept, "kept", 1, "."), (~kept, "deleted", 2, "x")):
            x, y = sizes.abs().clamp(min=1e-4)[chosen], bends.clamp(min=floor)[chosen]
            cloud.plot(x, y, marker, linestyle="", markersize=3, color=plots.COLOURS[colour], label=label)
        cloud.set(xscale="log", yscale="log", xlim=(1e-4, 10), ylim=(floor / 2, max(10.0, 2 * float(bends.max()))))
        cloud.set(xlabel="size of the weight", ylabel="curvature (nats per squared weight)")
        cloud.set_title(f"{criterion}, {deleted:.0%} deleted")
        cloud.legend(loc="upper left")
        predicted = float(saliency.predicted_loss_increase(obd, masks))
        plots.bars(bill, {"predicted": predicted, "measured": loss_increase(masks)}, "increase of the loss (nats)")
        bill.set_title("What it costs")
        return figure

    wide = ipywidgets.Layout(width="36em")
    controls = {
        "deleted": ipywidgets.FloatSlider(value=0.5, min=0, max=0.95, step=0.05, description="deleted", layout=wide),
        "criterion": ipywidgets.Dropdown(options=list(criteria), description="criterion", layout=wide),
    }
    return explorer(
        draw,
        controls,
        "Left: a cloud of weights, size across and curvature upwards, both logarithmic; those that Optimal Brain "
        "Damage deletes are below a falling line, a row of weights of curvature 0 among them. Right: two bars, the "
        "predicted increase of the loss and the measured one, which is longer.",
    )
