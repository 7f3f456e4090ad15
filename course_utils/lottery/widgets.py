"""Widget of lecture 07."""

from collections.abc import Mapping, Sequence

import ipywidgets
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor

from course_utils import plots
from course_utils.widgets import explorer


def ticket_explorer(
    masks: Sequence[Mapping[str, Tensor]], errors: Mapping[str, Mapping[int, float]]
) -> ipywidgets.Widget:
    """The search for a ticket, round by round: a slider picks the round, and shows the layers' masks and the errors.

    masks: of each round, the first layer's [units, 784]; errors: for each network, the percentage that it gets wrong,
    by round.
    """
    sizes = sum(mask.numel() for mask in masks[0].values())
    kept = [100 * sum(int(mask.sum()) for mask in each.values()) / sizes for each in masks]

    def draw(number: int) -> Figure:
        figure, axes = plots.new_figure(1, len(masks[0]) + 1, width=11.5, height=3)
        for axis, (name, mask) in zip(axes, masks[number].items(), strict=False):
            first = mask.shape[1] == 784
            # A pixel's or a block's share of kept weights says more than thousands of specks
            if first:
                picture, title = mask.float().mean(0).view(28, 28), "by pixel"
            elif mask.numel() > 10_000:
                picture, title = F.avg_pool2d(mask.float()[None], 4)[0], "by blocks of 4 × 4"
            else:
                picture, title = mask.float(), f"{mask.shape[0]} × {mask.shape[1]}"
            axis.imshow(
                picture, cmap="gray_r", vmin=0, vmax=1, aspect="equal" if first else "auto", interpolation="nearest"
            )
            axis.set_title(f"{name}, {title}\n{float(mask.float().mean()):.1%} kept", fontsize=10)
            axis.grid(visible=False)
            axis.set(xticks=[], yticks=[])
        for name, values in errors.items():
            axes[-1].plot([kept[r] for r in values], list(values.values()), label=name)
        axes[-1].axvline(kept[number], color="#999999", linestyle=":", marker="")
        axes[-1].set(xscale="log", xlabel="weights kept (%)", ylabel="validation errors (%)")
        axes[-1].set_xticks([100, 50, 20, 10], ["100", "50", "20", "10"])
        axes[-1].minorticks_off()
        axes[-1].invert_xaxis()
        axes[-1].set_title(f"round {number}", fontsize=10)
        axes[-1].legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
        return figure

    wide = ipywidgets.Layout(width="36em")
    slider = ipywidgets.IntSlider(min(5, len(masks) - 1), 0, len(masks) - 1, description="round", layout=wide)
    return explorer(
        draw,
        {"number": slider},
        "The explorer after some rounds. Three masks: the first layer's as a picture of the pixels, in greys that say "
        "how many of a pixel's weights are kept; the second in blocks, the third as a speckled matrix. Beside them the "
        "errors of ticket and controls against the weights kept, with a line at the chosen round.",
    )
