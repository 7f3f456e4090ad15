"""Widget of lecture 10."""

from collections.abc import Mapping, Sequence

import ipywidgets
import torch
from matplotlib.figure import Figure
from torch import Tensor

from course_utils import plots
from course_utils.moe.model import CharTransformer, encode
from course_utils.widgets import explorer


@torch.no_grad()
def router_probabilities(model: CharTransformer, text: str) -> Tensor:
    """The softmax [tokens, experts] of the first layer's switch router on a text."""
    router, seen = model.moe_layers()[0].router, []
    hook = router.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    model(encode(text).unsqueeze(0))
    hook.remove()
    return torch.softmax(seen[0] @ router.weight, -1)


def routing_explorer(symbols: Sequence[str], probabilities: Mapping[float, Tensor]) -> ipywidgets.Widget:
    """Tokens light up their experts: a slider sets the weight of the balance loss that the router was trained with.

    symbols: the text's tokens. probabilities: by weight, the router's softmax [tokens, experts].
    """
    weights = list(probabilities)
    experts = probabilities[weights[0]].shape[1]

    def draw(weight: float) -> Figure:
        table = probabilities[weight]
        chosen = table.argmax(1)
        load = torch.bincount(chosen, minlength=experts) / len(chosen)
        figure, (text, share) = plots.new_figure(1, 2, width=10, height=3)
        text.imshow(table.T.numpy(), cmap="Blues", vmin=0, vmax=1, aspect="auto")
        text.plot(range(len(chosen)), chosen, linestyle="", marker="o", markersize=4, color=plots.COLOURS[2])
        text.set_xticks(range(len(symbols)), [s if s.strip() else "␣" for s in symbols], fontsize=7)
        text.set_yticks(range(experts))
        text.grid(visible=False)
        text.set(xlabel="token", ylabel="expert", title=f"balance weight {weight:g}: probability, and the choice")
        share.barh(range(experts), 100 * load, color=plots.COLOURS[1])
        share.axvline(100 / experts, color=plots.COLOURS[0], linestyle="--")
        share.set(xlabel="tokens (%)", xlim=(0, 100), title="load; dashed: equal shares")
        share.set_yticks(range(experts))
        share.invert_yaxis()
        return figure

    slider = ipywidgets.SelectionSlider(
        options=[(f"{weight:g}", weight) for weight in weights], value=weights[0], description="balance"
    )
    return explorer(
        draw,
        {"weight": slider},
        "Left: a text's tokens across and the experts upwards; each square is as dark as the router's probability, and "
        "a dot marks the expert that is chosen. Right: each expert's share of the tokens, with a dashed line at equal "
        "shares. At balance weight 0 few experts have most tokens; a larger weight spreads the dots.",
    )
