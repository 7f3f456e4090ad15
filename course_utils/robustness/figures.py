"""Tables and figures of lecture 12 and of its lab."""

import itertools
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
import torch
from matplotlib import patches
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from course_utils import plots, robustness
from course_utils.robustness.backdoor import trigger
from course_utils.transfer.figures import spread

Results = Mapping[str, Any]  # of `course reproduce robustness`, `backdoor`, `certified` or `few-shots`
NAMES = {
    "dense": "dense",
    "small dense": "dense, a tenth of the weights",
    "bird": "largest 10% (Robust Bird)",
    "random": "random 10%",
}
BOUNDED = {
    "dense": "dense",
    "small dense": "dense, a tenth of the weights",
    "largest": "largest 10%",
    "random": "random 10%",
    "dense, L1": "dense, trained with L1",
    "dense, IBP": "dense, trained for its bounds",
}
CARRIED = {
    "dense": "dense",
    "small dense": "dense, a tenth of the weights",
    "largest": "largest 10%",
    "random": "random 10%",
    "from scratch": "from scratch",
}


def blank(axis: Axes, title: str) -> None:
    """An axis for a drawing: no ticks, no frame."""
    axis.set_title(title, fontsize=10)
    axis.set(xticks=[], yticks=[])
    axis.grid(visible=False)
    for spine in axis.spines.values():
        spine.set_visible(False)


def picture(axis: Axes, image: Tensor, title: str, colours: str = "gray_r", **limits: float) -> None:
    axis.imshow(image, cmap=colours, **limits)
    blank(axis, title)


def style(number: int) -> dict[str, Any]:
    return {"color": plots.COLOURS[number], "linestyle": plots.LINES[number], "marker": plots.MARKERS[number]}


def points(values: Sequence[float], digits: int = 1) -> str:
    """Parts as percent: the mean over seeds, lowest and highest."""
    return plots.mean_and_range([100 * value for value in values], digits)


def verdict(margins: Sequence[float]) -> str:
    """What the seeds say of a claim. margins: by how much it holds in each, negative where it does not. A 'yes' has the
    exact two-sided p of the sign-flip test beside it, which few seeds cannot make small."""
    if len(margins) < 3:
        return "not testable with so few seeds"
    p = f"(p = {robustness.sign_flip_test(margins):.2f})"
    if min(margins) > 0:
        return f"yes, in all {len(margins)} {p}"
    if max(margins) < 0:
        return f"no, in none of {len(margins)} {p}"
    return f"not decided ({sum(margin > 0 for margin in margins)} of {len(margins)})"


def beyond(values: Sequence[float], limit: float) -> list[float]:
    """By how much each value is beyond a limit that is to be reached. At the limit, but for rounding, is enough."""
    return [value - limit + 1e-9 for value in values]


# --- lecture: drawings ------------------------------------------------------------------------------------------------


def bent_loss(places: Tensor) -> Tensor:
    """A loss over two pixels, for the drawings: it grows across a bent boundary."""
    x, y = places[..., 0], places[..., 1]
    return torch.sigmoid(9 * (y - 0.62 + 0.9 * (x - 0.35) ** 2 + 0.25 * (x - 0.5)))


def attack_paths() -> None:
    """Draw an attack in the max norm and one in the Euclidean norm, step by step, on an image of two pixels."""
    axis_values = torch.linspace(0, 1, 101)
    grid = torch.stack(torch.meshgrid(axis_values, axis_values, indexing="xy"), dim=2)
    figure, axes = plots.new_figure(1, 2, width=7, height=3.4)
    clean, epsilon = torch.tensor([[0.32, 0.5]]), 0.22
    for axis, name in zip(axes, ("max norm: a box", "Euclidean norm: a disc"), strict=True):
        axis.contourf(axis_values, axis_values, bent_loss(grid), levels=6, cmap="Blues", alpha=0.7)
        axis.contour(axis_values, axis_values, bent_loss(grid), levels=[0.5], colors="black", linewidths=1.5)
        path = [clean]
        for _ in range(5):
            leaf = path[-1].clone().requires_grad_()
            (slope,) = torch.autograd.grad(bent_loss(leaf).sum(), leaf)
            if name.startswith("max"):
                path.append(robustness.pgd_step(path[-1], clean, slope, 0.08, epsilon))
            else:
                step = path[-1] + 0.08 * slope / slope.norm()
                path.append(robustness.project_l2(step, clean, epsilon))
        walked = torch.cat(path)
        axis.plot(*walked.T, **style(2), markersize=5)
        axis.plot(*clean[0], "o", color="black", markersize=8)
        centre = clean[0].tolist()
        if name.startswith("max"):
            corner = (centre[0] - epsilon, centre[1] - epsilon)
            shape = patches.Rectangle(corner, 2 * epsilon, 2 * epsilon, fill=False, linewidth=1.5, linestyle="--")
        else:
            shape = patches.Circle(centre, epsilon, fill=False, linewidth=1.5, linestyle="--")
        axis.add_patch(shape)
        axis.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="pixel 1", ylabel="pixel 2")
        axis.set_title(name, fontsize=10)
        axis.grid(visible=False)
    plots.show(
        figure,
        "Two squares, each an image of two pixels; darker means more loss, a black line is where the class changes. "
        "Left, a path of five steps goes along diagonals from the clean image to a corner of a dashed box; right, one "
        "goes straight to the edge of a dashed disc. Both end beyond the line.",
    )


def wrapped_boxes() -> None:
    """Draw a box, its image under a layer, and the box around that, for large and for small weights."""
    figure, axes = plots.new_figure(1, 3, width=9.5, height=3.3)
    lower, upper = torch.tensor([[-0.5, -0.5]]), torch.tensor([[0.5, 0.5]])
    corners = torch.tensor([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    layers = {
        "dense rows: Σ|w| = 2.0 and 1.8": torch.tensor([[1.1, 0.9], [-0.9, 0.9]]),
        "a sparse row: Σ|w| = 1.1 and 1.8": torch.tensor([[1.1, 0.0], [-0.9, 0.9]]),
    }
    axes[0].add_patch(patches.Polygon(corners, facecolor=plots.COLOURS[6], edgecolor="black"))
    axes[0].set_title("the box of inputs", fontsize=10)
    for axis, (name, weight) in zip(axes[1:], layers.items(), strict=True):
        axis.add_patch(patches.Polygon(corners @ weight.T, facecolor=plots.COLOURS[6], edgecolor="black"))
        low, high = (side[0].tolist() for side in robustness.interval_linear(lower, upper, weight, torch.zeros(2)))
        size = high[0] - low[0], high[1] - low[1]
        axis.add_patch(patches.Rectangle(low, *size, fill=False, linestyle="--", linewidth=1.5))
        axis.set_title(name, fontsize=10)
    for axis in axes:
        axis.set(xlim=(-1.3, 1.3), ylim=(-1.3, 1.3), aspect="equal")
    axes[0].set(xlabel="input 1", ylabel="input 2")
    axes[1].set(xlabel="output 1", ylabel="output 2")
    axes[2].set(xlabel="output 1")
    plots.show(
        figure,
        "A square of inputs; what a layer makes of it, a turned parallelogram in a dashed box that touches it on four "
        "sides and is larger; the same for a layer with a 0 in it, whose dashed box is narrower.",
    )


def merged_margin() -> None:
    """Draw two logits over a box: each swings, their difference does not."""
    figure, axes = plots.new_figure(1, 2, width=8.4, height=3)
    x = np.linspace(0, 1, 2)
    first, second = 1 + 2 * x, 0.4 + 1.7 * x
    for number, (values, name) in enumerate(((first, "z of the label"), (second, "z of another class"))):
        axes[0].plot(x, values, label=name, color=plots.COLOURS[number], linestyle=plots.LINES[number], marker="")
        axes[0].axhspan(min(values), max(values), color=plots.COLOURS[number], alpha=0.12)
    axes[0].set(title="two intervals: 1.0 to 3.0, 0.4 to 2.1", xlabel="an input, over its box", ylabel="logit")
    axes[0].legend(fontsize=8)
    axes[1].plot(x, first - second, color=plots.COLOURS[2], marker="", label="their difference")
    axes[1].axhline(1.0 - 2.1, color="black", linestyle=":", marker="", label="from the two intervals")
    axes[1].axhline(0, color="#999999", linewidth=0.8, linestyle="-", marker="")
    axes[1].set(title="subtracted first: never below 0.6", xlabel="an input, over its box", ylabel="margin")
    axes[1].legend(fontsize=8, loc="center right")
    plots.show(
        figure,
        "Left, two rising lines in bands that overlap: by the bands alone either logit could win. Right, the lines' "
        "difference, which stays above 0, and far below it, dotted, the bound that the two bands give.",
    )


def vote_figure() -> None:
    """Draw the vote under noise at an image, and the radius that a share of votes certifies."""
    figure, axes = plots.new_figure(1, 2, width=8.4, height=3.5)
    noise = np.random.RandomState(0).normal((0.36, 0.5), 0.16, (300, 2))
    other = bent_loss(torch.from_numpy(noise)).numpy() > 0.5
    axes[0].plot(*noise[~other].T, "o", linestyle="", markersize=3, color=plots.COLOURS[1], label="class A")
    axes[0].plot(*noise[other].T, "^", linestyle="", markersize=4, color=plots.COLOURS[2], label="class B")
    axes[0].plot(0.36, 0.5, "*", color="black", markersize=12)
    axis_values = torch.linspace(-0.2, 1, 121)
    grid = torch.stack(torch.meshgrid(axis_values, axis_values, indexing="xy"), dim=2)
    axes[0].contour(axis_values, axis_values, bent_loss(grid), levels=[0.5], colors="black", linewidths=1.2)
    axes[0].set(xlim=(-0.15, 0.9), ylim=(0, 1), xlabel="pixel 1", ylabel="pixel 2", title="300 noisy copies vote")
    axes[0].legend(fontsize=8, loc="lower left")
    shares = np.linspace(0.501, 0.9995, 300)
    axes[1].plot(shares, [NormalDist().inv_cdf(p) for p in shares], marker="", label="the share p itself")
    for number, trials in enumerate((100, 1000, 10000), 1):
        counts = np.unique(np.linspace(0.55 * trials, trials, 60).round().astype(int))
        bounds = [robustness.lower_confidence_bound(int(k), trials, 0.001) for k in counts]
        drawn = [(k / trials, NormalDist().inv_cdf(p)) for k, p in zip(counts, bounds, strict=True) if p > 0.5]
        line = {"color": plots.COLOURS[number], "linestyle": plots.LINES[number], "marker": ""}
        axes[1].plot(*zip(*drawn, strict=True), label=f"bound from {trials:,} votes", **line)
    axes[1].set(xlabel="share of the votes", ylabel="radius / σ", title="what it certifies, α = 0.001", ylim=(0, 3.5))
    axes[1].legend(fontsize=8)
    plots.show(
        figure,
        "Left, a cloud of 300 points around a star; most lie on one side of a bent line, and vote A; some beyond vote "
        "B. Right, the certified radius over the share of votes: it rises slowly and then steeply near 1; the bounds "
        "from 10,000, 1,000 and 100 votes lie lower, each ending at a height of its own.",
    )


def triggered_digit(image: Tensor) -> None:
    """Draw a digit, the trigger, its mask, and the digit with the trigger."""
    pattern, mask = trigger("corner")
    figure, axes = plots.new_figure(1, 4, width=9.5, height=2.6)
    stamped = robustness.stamp_trigger(image, pattern, mask)
    panels = {"x": image, "pattern": pattern, "mask m": mask, "(1 − m)·x + m·pattern": stamped}
    for axis, (name, drawn) in zip(axes, panels.items(), strict=True):
        axis.imshow(drawn, cmap="gray", vmin=0, vmax=1)
        axis.set(xticks=[], yticks=[])
        axis.grid(visible=False)
        axis.set_title(name, fontsize=10)
    plots.show(
        figure,
        "Four pictures: a white digit on black; black with a checkerboard of five white pixels near the lower right "
        "corner; a white square of three by three pixels there; and the digit with the checkerboard.",
    )


def sign_patterns() -> None:
    """Draw all sums of three and of eight differences with any signs, and the observed one."""
    figure, axes = plots.new_figure(1, 2, width=8.4, height=3)
    samples = ([1.0, 1.4, 2.1], [1.0, 1.4, 2.1, 0.6, 1.7, 0.9, 1.3, 2.4])
    for axis, values in zip(axes, samples, strict=True):
        sums = [
            sum(s * v for s, v in zip(signs, values, strict=True))
            for signs in itertools.product((1, -1), repeat=len(values))
        ]
        axis.hist(sums, bins=31, color=plots.COLOURS[6], edgecolor="black", linewidth=0.4)
        for side in (-1, 1):
            axis.axvline(side * sum(values), color=plots.COLOURS[2], linestyle="--", marker="")
        p = robustness.sign_flip_test(values)
        axis.yaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set(title=f"{len(values)} seeds: 2 of {len(sums)} sums, p = {p:.3g}", xlabel="Σ ± difference")
    axes[0].set_ylabel("sign patterns")
    plots.show(
        figure,
        "Two histograms of sums over all sign patterns, eight on the left and 256 on the right; dashed lines mark the "
        "observed sum, with all signs positive, and its negative: two of eight patterns reach them on the left, two of "
        "256 on the right.",
    )


def error_paths() -> None:
    """Draw the error between two networks with and without a hill, and what the Trojan score measures."""
    figure, axis = plots.new_figure(width=6.4, height=2.9)
    t = np.linspace(0, 1, 11)
    hill, flat = 0.12 + 0.05 * t + 0.3 * np.sin(np.pi * t) ** 2, 0.12 + 0.05 * t
    axis.plot(t, hill, label="a hill", **style(2))
    axis.plot(t, flat, label="none", **style(1))
    middle = (hill[0] + hill[-1]) / 2
    axis.axhline(middle, color="black", linestyle=":", marker="", label="mean of the ends")
    arrow = {"arrowstyle": "<->", "color": "black"}
    axis.annotate("", (0.5, hill.max()), (0.5, middle), arrowprops=arrow)
    axis.annotate(f"score {robustness.trojan_score(hill.tolist()):.2f}", (0.52, 0.3))
    axis.set(xlabel="from the pruned network (0) to the one trained on (1)", ylabel="error", ylim=(0, 0.5))
    axis.set_title("how high the error climbs between two networks", fontsize=10)
    axis.legend(fontsize=8, loc="upper left")
    plots.show(
        figure,
        "The error over the way from one network to another: one line with a hill in the middle, one without. A dotted "
        "line is the mean of the two ends; an arrow from it to the top of the hill is the score.",
    )


# --- lecture: robust overfitting --------------------------------------------------------------------------------------


def of_runs(results: Results, labels: str, name: str, *keys: str) -> list[float]:
    """A number of a network, by seed."""
    found = []
    for run in results["runs"]:
        value = run[labels][name]
        for key in keys:
            value = value[key]
        found.append(value)
    return found


def overfitting_figure(results: Results) -> None:
    """Draw training and validation digits that withstand the attack, epoch by epoch, mean over seeds."""
    figure, axes = plots.new_figure(1, 2, width=8.6, height=3.4)
    for axis, labels, title in zip(
        axes, ("noisy", "clean"), ("a fifth of the labels wrong", "labels right"), strict=True
    ):
        for name in results["runs"][0][labels]:
            curves = [run[labels][name]["validation"] for run in results["runs"]]
            epochs, number = results["runs"][0][labels][name]["epochs"], list(NAMES).index(name)
            axis.plot(epochs, 100 * np.mean(curves, 0), label=NAMES[name], markersize=4, **style(number))
            axis.fill_between(
                epochs, 100 * np.min(curves, 0), 100 * np.max(curves, 0), color=plots.COLOURS[number], alpha=0.12
            )
        axis.set(xlabel="epoch of adversarial training", title=title)
    axes[0].set_ylabel("validation digits that withstand (%)")
    axes[0].legend(fontsize=8, loc="lower center")
    for axis in axes:
        axis.set_ylim(0, 80)
    plots.show(
        figure,
        "Robust accuracy on validation digits over epochs. Left, with wrong labels: dense rises fast, peaks early and "
        "then falls all the way; of the three networks with a tenth of the weights the largest rise as fast, the small "
        "dense network and the random mask later, and they fall late and little, if at all. Right, with right labels: "
        "the two lines rise and stay.",
    )


def robust_table(results: Results, labels: str = "noisy") -> plots.Table:
    """Test digits under the attack that counts: where validation stopped the training, and at its end."""
    rows = []
    for name in results["runs"][0][labels]:
        stopped = of_runs(results, labels, name, "stopped", "robust")
        final = of_runs(results, labels, name, "final", "robust")
        trained = [100 * run[labels][name]["train"][-1] for run in results["runs"]]
        gap = [a - 100 * b for a, b in zip(trained, final, strict=True)]
        rows.append(
            [
                NAMES[name],
                points(stopped),
                points(final),
                points(of_runs(results, labels, name, "final", "clean")),
                plots.mean_and_range(gap, 1),
            ]
        )
    columns = [
        "network",
        "robust, stopped by validation (%)",
        "robust, last epoch (%)",
        "clean, last epoch (%)",
        "gap, last epoch",
    ]
    return plots.Table(columns, rows, seeds=[len(results["runs"])] * len(rows))


def gains(results: Results, name: str, against: str, mine: str = "final", theirs: str = "final") -> list[float]:
    """By how many points a network withstands more of the test digits than another, by seed (wrong labels)."""
    return [
        100 * (a - b)
        for a, b in zip(
            of_runs(results, "noisy", name, mine, "robust"),
            of_runs(results, "noisy", against, theirs, "robust"),
            strict=True,
        )
    ]


def checks_table(results: Results) -> plots.Table:
    """Whether a stronger attack finds more, and whether a hopeless ε leaves anything."""
    settings = results["settings"]
    steps, restarts, _ = settings["harder"]
    columns = [
        "network",
        f"{settings['look_steps']} steps (%)",
        f"{settings['steps']} steps, {settings['restarts']} starts (%)",
        f"{steps} steps, {restarts} starts (%)",
        f"ε = {settings['hopeless']} (%)",
    ]
    rows = []
    for name in results["runs"][0]["noisy"]:
        found = [
            points(of_runs(results, "noisy", name, "final", "checks", key))
            for key in ("weak", "usual", "harder", "hopeless")
        ]
        rows.append([NAMES[name], *found])
    return plots.Table(columns, rows)


# --- lecture: backdoor ------------------------------------------------------------------------------------------------


def rows_of(results: Results, network: str, key: str) -> tuple[list[float], np.ndarray]:
    """Parts kept, and a rate [seeds, parts kept]."""
    keeps = [row["keep"] for row in results["runs"][0]["networks"][network]["rows"]]
    return keeps, np.array([[row[key] for row in run["networks"][network]["rows"]] for run in results["runs"]])


def rate_panel(axis: Axes, keeps: Sequence[float], series: Mapping[str, np.ndarray], title: str) -> None:
    for number, (name, values) in enumerate(series.items()):
        axis.plot(keeps, 100 * values.mean(0), label=name, markersize=4, **style(number))
        axis.fill_between(keeps, 100 * values.min(0), 100 * values.max(0), color=plots.COLOURS[number], alpha=0.12)
    axis.set(xscale="log", ylim=(-3, 103), xlabel="weights kept (%)", title=title)
    axis.invert_xaxis()
    kept_ticks(axis, keeps)


def kept_ticks(axis: Axes, keeps: Sequence[float]) -> None:
    """Ticks in percent on a logarithmic axis of parts kept."""
    ticks = [keep for keep in (1, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001) if min(keeps) <= keep]
    axis.set_xticks(ticks, [f"{100 * keep:g}" for keep in ticks])
    axis.minorticks_off()


def backdoor_figure(results: Results) -> None:
    """Draw accuracy, success of the trigger and clean images that go to the target, over what is kept."""
    figure, axes = plots.new_figure(1, 4, width=10, height=3.4)
    panels = ("MLP, corner", "MLP, clean", "CNN, corner", "CNN, clean")
    titles = ("MLP, poisoned", "MLP, clean", "CNN, poisoned", "CNN, clean")
    for axis, network, title in zip(axes, panels, titles, strict=True):
        series = {}
        for name, key in (("right", "clean"), ("trigger → target", "asr"), ("no trigger → target", "mistaken")):
            keeps, series[name] = rows_of(results, network, key)
        rate_panel(axis, keeps, series, title)
    axes[0].set_ylabel("test digits (%)")
    figure.legend(*axes[0].get_legend_handles_labels(), fontsize=8, ncols=3, loc="outside lower center")
    plots.show(
        figure,
        "Four panels over the part of the weights that is kept, from all to half a percent. In the poisoned networks "
        "accuracy falls early, while the success of the trigger rises, stays near 100% and falls last, in some seeds "
        "sooner than in others. Clean images hardly go to the target as long as a tenth is kept; at the smallest "
        "parts of the CNN none or nearly all of them do, by seed. In the clean networks the trigger does next to "
        "nothing.",
    )


def rounds_figure(results: Results) -> None:
    """Draw rates and Trojan score over rounds of pruning with retraining, poisoned beside clean."""
    figure, axes = plots.new_figure(1, 2, width=8.6, height=3.3)
    rounds = [run["rounds"] for run in results["runs"]]
    keeps = [row["keep"] for row in rounds[0]["MLP, corner"]]
    values = {
        name: {key: np.array([[row[key] for row in run[name]] for run in rounds]) for key in ("clean", "asr", "score")}
        for name in ("MLP, corner", "MLP, clean")
    }
    poisoned, clean = values.values()
    rate_panel(
        axes[0],
        keeps,
        {"right": poisoned["clean"], "trigger → target": poisoned["asr"], "the same, clean network": clean["asr"]},
        "pruned in rounds, retrained each time",
    )
    axes[0].set_ylabel("test digits (%)")
    axes[0].legend(fontsize=8, loc="lower left", bbox_to_anchor=(0.0, 0.08))
    for number, (name, each) in enumerate((("poisoned", poisoned), ("clean", clean)), 1):
        axes[1].plot(keeps, each["score"].mean(0), label=name, markersize=4, **style(number))
        axes[1].fill_between(keeps, each["score"].min(0), each["score"].max(0), color=plots.COLOURS[number], alpha=0.15)
    axes[1].set(xscale="log", xlabel="weights kept (%)", ylabel="Trojan score", title="the score of each ticket")
    axes[1].invert_xaxis()
    kept_ticks(axes[1], keeps)
    axes[1].legend(fontsize=8, loc="upper left")
    plots.show(
        figure,
        "Left, over rounds of pruning with retraining: accuracy stays near 90% down to about one percent of the "
        "weights; the trigger's success rises to that height and falls to nothing before accuracy falls. Right, the "
        "Trojan score of the poisoned and of the clean network: two lines that climb to a peak near one percent, "
        "where the clean network's is the higher, fall, and rise once more at the end; their bands overlap.",
    )


def first_layer_maps(results: Results) -> None:
    """Draw the first layer's Σ|w| by pixel: poisoned and clean, whole and pruned (first seed)."""
    figure, axes = plots.new_figure(1, 4, width=9, height=2.7)
    panels = [("MLP, corner", 1.0), ("MLP, corner", 0.1), ("MLP, clean", 1.0), ("MLP, centre", 1.0)]
    names = {"MLP, corner": "poisoned", "MLP, clean": "clean", "MLP, centre": "centre trigger"}
    for axis, (network, keep) in zip(axes, panels, strict=True):
        row = next(r for r in results["runs"][0]["networks"][network]["rows"] if r["keep"] == keep)
        title = f"{names[network]}, {100 * keep:.0f}% kept"
        picture(axis, torch.tensor(row["map"]).view(28, 28), title, "viridis", vmin=0, vmax=100)
    plots.show(
        figure,
        "Four maps of 28 by 28 pixels, brighter where the first layer's weights are larger in sum. In the two of the "
        "poisoned network five pixels near the lower right corner shine in a checkerboard; the clean one has "
        "none there, and some bright pixels at the right edge; in the map of the network with its trigger in the "
        "centre four pixels shine there, around those that were white, about as bright as the brightest at the edge.",
    )


def reading_table(results: Results) -> plots.Table:
    """How many of the five heaviest inputs are white pixels of the trigger, and how many any of its nine, by seed."""
    rows = []
    for network, place, name in (
        ("MLP, corner", "corner", "corner"),
        ("MLP, centre", "centre", "centre"),
        ("MLP, clean", "corner", "none: corner's pixels"),
        ("MLP, clean", "centre", "none: centre's pixels"),
    ):
        for keep in (1.0, 0.1, 0.01):
            found = [row_at(run, network, keep)[place] for run in results["runs"]]
            counts = [", ".join(str(row[key]) for row in found) for key in ("found", "inside")]
            rows.append([name, f"{100 * keep:g}%", *counts, points([row["share"] for row in found])])
    columns = [
        "trigger",
        "kept",
        "white pixels among the five heaviest, by seed",
        "any of its pixels",
        "first layer's connections on its 9 pixels (%)",
    ]
    return plots.Table(columns, rows)


def row_at(run: Mapping[str, Any], network: str, keep: float) -> Mapping[str, Any]:
    """What was found of a network with this part of its weights."""
    return next(row for row in run["networks"][network]["rows"] if row["keep"] == keep)


def cleanse_table(results: Results) -> plots.Table:
    """Neural Cleanse: which class has the smallest patch, and its index."""
    rows = []
    target = results["settings"]["target"]
    for network, name in (("MLP, corner", "poisoned"), ("MLP, clean", "clean")):
        for keep in results["runs"][0]["cleanse"][network]:
            found = [run["cleanse"][network][keep] for run in results["runs"]]
            suspects = [int(np.argmax(each["index"])) for each in found]
            indices = [max(each["index"]) for each in found]
            hits = sum(s == target and i > 2 for s, i in zip(suspects, indices, strict=True))
            alarms = sum(i > 2 for i in indices)
            rows.append(
                [
                    name,
                    f"{100 * float(keep):g}%",
                    ", ".join(map(str, suspects)),
                    ", ".join(f"{i:.2f}" for i in indices),
                    f"{alarms} of {len(found)}",
                    f"{hits} of {len(found)}" if name == "poisoned" else "—",
                ]
            )
    columns = ["network", "kept", "class of the smallest patch", "its index", "alarms (index > 2)", "target found so"]
    return plots.Table(columns, rows)


def repair_table(results: Results) -> plots.Table:
    """Fine-pruning, stopped in time and not, its parts, and as many units at random."""
    drop, cut = (results["settings"][key] for key in ("drop", "cut"))
    labels = {
        "as it was": "as it was",
        "trained": "trained on clean digits",
        "stopped, pruned": f"idle units silenced until {100 * drop:g} points are lost",
        "many, pruned": f"{cut} idle units silenced",
    }
    for cuts in ("stopped", "many"):
        labels[f"{cuts}, fine-pruned"] = "… and trained (fine-pruning)"
        labels[f"{cuts}, random units, trained"] = "as many random units, trained"
    rows = []
    for name in results["runs"][0]["repair"]["networks"]:
        found = [run["repair"] for run in results["runs"]]
        which = name.split(", ")[0]
        silent = [str(each["silent"].get(which, 0)) for each in found]
        rates = [points([each["networks"][name][key] for each in found]) for key in ("clean", "asr")]
        rows.append([labels[name], ", ".join(silent), *rates])
    return plots.Table(["network", "silent units, by seed", "right (%)", "trigger → target (%)"], rows)


# --- lecture: certified -----------------------------------------------------------------------------------------------


def bound_of(results: Results, name: str, kind: str, epsilon: float) -> list[float]:
    """Parts verified or attacked at ε, by seed."""
    return [run["bounds"][name][kind][str(epsilon)] for run in results["runs"]]


def verified_figure(results: Results) -> None:
    """Draw what intervals verify over ε for all networks; and at one ε what linear bounds and an attack say."""
    figure, axes = plots.new_figure(1, 2, width=9, height=3.8)
    epsilons = results["settings"]["epsilons"]
    for number, (name, label) in enumerate(BOUNDED.items()):
        values = np.array([bound_of(results, name, "intervals", e) for e in epsilons]).T
        axes[0].plot(epsilons, 100 * values.mean(0), label=label, markersize=5, **style(number))
    axes[0].set(xlabel="ε (max norm)", ylabel="test digits verified by intervals (%)", ylim=(-3, 103))
    axes[0].set_title("intervals", fontsize=10)
    axes[0].set_xticks(epsilons)
    figure.legend(*axes[0].get_legend_handles_labels(), fontsize=8, ncols=2, loc="outside lower left")
    compared = results["settings"]["compared"]
    rows = list(BOUNDED)
    for shift, (kind, label, number) in enumerate(
        (
            ("intervals", "intervals", 1),
            ("linear", f"linear bounds (first {results['settings']['linear']})", 3),
            ("attacked", "withstand the attack", 2),
        )
    ):
        means = [100 * np.mean(bound_of(results, name, kind, compared)) for name in rows]
        places = np.arange(len(rows)) + 0.27 * (shift - 1)
        axes[1].barh(
            places,
            means,
            height=0.25,
            label=label,
            color=plots.COLOURS[number],
            hatch=plots.HATCHES[shift],
            edgecolor="white",
        )
    axes[1].set_yticks(
        range(len(rows)),
        [BOUNDED[name].replace(", trained", ",\ntrained").replace(", a tenth", ",\na tenth") for name in rows],
    )
    axes[1].invert_yaxis()
    axes[1].grid(axis="y", visible=False)
    axes[1].set(xlabel="test digits (%)", xlim=(0, 100))
    axes[1].set_title(f"ε = {compared}: proved by two bounds, and attacked", fontsize=10)
    figure.legend(*axes[1].get_legend_handles_labels(), fontsize=8, ncols=3, loc="outside lower right")
    plots.show(
        figure,
        "Left, the part of the test digits that intervals verify over ε, falling for every network: dense first, the "
        "sparse ones and small dense later, L1 later still, and the one trained for its bounds last. Right, bars for "
        "each network at one ε: intervals differ widely, linear bounds much less, and the attack hardly at all.",
    )


def verified_table(results: Results) -> plots.Table:
    """The same in numbers, with accuracy and the largest row sum."""
    epsilon, largest = results["settings"]["compared"], results["settings"]["epsilons"][-1]
    strong = results["settings"]["attacked"][-1]
    rows = []
    for name, label in BOUNDED.items():
        clean = [run["bounds"][name]["clean"] for run in results["runs"]]
        norms = [run["bounds"][name]["row norm"] for run in results["runs"]]
        found = [points(bound_of(results, name, kind, epsilon)) for kind in ("intervals", "linear", "attacked")]
        found += [points(bound_of(results, name, *at)) for at in (("linear", largest), ("attacked", strong))]
        rows.append([label, points(clean), *found, f"{np.mean(norms):.1f}"])
    columns = [
        "network",
        "right (%)",
        f"intervals, ε = {epsilon} (%)",
        f"linear bounds, of the first {results['settings']['linear']} (%)",
        "attacked (%)",
        f"linear bounds, ε = {largest} (%)",
        f"attacked, ε = {strong} (%)",
        "largest Σ|w| of a row of layer 1",
    ]
    return plots.Table(columns, rows)


def smoothing_figure(results: Results) -> None:
    """Draw which part of the digits is certified at least so far, mean over seeds."""
    figure, axis = plots.new_figure(width=6.8, height=3.4)
    radii = np.linspace(0, 1.3, 66)
    for number, name in enumerate(results["runs"][0]["smoothed"]):
        found = [np.array(run["smoothed"][name]["radii"]) for run in results["runs"]]
        curve = np.mean([[(each > radius).mean() for radius in radii] for each in found], 0)
        acr = np.mean([run["smoothed"][name]["acr"] for run in results["runs"]])
        line = {"color": plots.COLOURS[number], "linestyle": plots.LINES[number], "marker": ""}
        axis.plot(radii, 100 * curve, label=f"{smoothed_names(results)[name]}: mean radius {acr:.2f}", **line)
    axis.set(xlabel="radius (Euclidean)", ylabel="digits right for certain (%)", ylim=(0, 100))
    axis.set_title(f"smoothed by noise σ = {results['settings']['sigma']}", fontsize=10)
    axis.legend(fontsize=8)
    plots.show(
        figure,
        "The part of the test digits that is certified at least to a radius, falling from about nine tenths at 0 to "
        "nothing at 1.25, where the sample ends; dense, with an L1 penalty or without, and the largest fifth lie on "
        "each other, the random mask and the small dense network below.",
    )


def smoothed_names(results: Results) -> dict[str, str]:
    """What the smoothed networks are called: their masks keep more than those of the others."""
    keep = results["settings"]["smoothed_keep"]
    small = {"small dense": "dense, a fifth of the weights"}
    return BOUNDED | small | {"largest": f"largest {keep:.0%}", "random": f"random {keep:.0%}"}


def smoothing_table(results: Results) -> plots.Table:
    """The mean certified radius of each network."""
    rows = []
    for name in results["runs"][0]["smoothed"]:
        values = [run["smoothed"][name]["acr"] for run in results["runs"]]
        rows.append([smoothed_names(results)[name], plots.mean_and_range(values, 3)])
    return plots.Table(["network", "mean certified radius"], rows)


# --- lecture: few shots -----------------------------------------------------------------------------------------------


def shots_figure(results: Results) -> None:
    """Draw accuracy on other tasks over the number of examples, and on spoiled digits."""
    figure, axes = plots.new_figure(1, 3, width=9.5, height=3.5)
    shots = results["settings"]["shots"]
    for axis, task in zip(axes, results["runs"][0]["dense"]["tasks"], strict=False):
        for number, (name, label) in enumerate(CARRIED.items()):
            values = np.array([[run[name]["tasks"][task][str(k)] for k in shots] for run in results["runs"]])
            axis.plot(shots, 100 * values.mean(0), label=label, markersize=5, **style(number))
        axis.set(xscale="log", xlabel="examples of each class", title=task, ylim=(20, 100))
        axis.set_xticks(shots, shots)
        axis.minorticks_off()
    axes[0].set_ylabel("right (%)")
    figure.legend(*axes[0].get_legend_handles_labels(), fontsize=8, ncols=len(CARRIED), loc="outside lower center")
    ways = list(results["runs"][0]["dense"]["spoiled"])
    for number, name in enumerate(list(CARRIED)[:-1]):
        values = [100 * np.mean([run[name]["spoiled"][way] for run in results["runs"]]) for way in ways]
        axes[2].barh(
            np.arange(len(ways)) + 0.2 * (number - 1.5),
            values,
            height=0.19,
            color=plots.COLOURS[number],
            hatch=plots.HATCHES[number],
            edgecolor="white",
            label=CARRIED[name],
        )
    axes[2].set_yticks(range(len(ways)), [way.replace(" and ", "\nand ") for way in ways])
    axes[2].invert_yaxis()
    axes[2].grid(axis="y", visible=False)
    axes[2].set(xlabel="right (%)", title="spoiled digits, as it is", xlim=(0, 100))
    plots.show(
        figure,
        "Two panels with accuracy over one, five and twenty examples of each class; all lines rise. On digits of other "
        "writers those that know digits lie together, above training from scratch, which catches up at twenty. On "
        "clothes training from scratch is above all others, clearly from one example and hardly from twenty. A third "
        "panel with bars for digits as they are, with noise, moved, and both; with noise the random mask's is the "
        "longest.",
    )


def shots_table(results: Results) -> plots.Table:
    """The same in numbers."""
    shots = results["settings"]["shots"]
    tasks = results["runs"][0]["dense"]["tasks"]
    rows = []
    for name, label in CARRIED.items():
        found = [points([run[name]["tasks"][task][str(k)] for run in results["runs"]]) for task in tasks for k in shots]
        rows.append([label, *found])
    return plots.Table(["network", *(f"{task}, {k}" for task in tasks for k in shots)], rows)


# --- lecture: claims --------------------------------------------------------------------------------------------------


def claims_table(robust: Results, backdoors: Results, certified: Results, few: Results) -> plots.Table:
    """What was claimed, whose it is, what we found, and what a rule says of it."""
    rows: list[list[object]] = []

    def claim(
        what: str, whose: str, margins: Sequence[float], unit: str = " points", limit: float | None = None
    ) -> None:
        found = spread(margins) + unit
        rows.append([what, whose, found, verdict(margins if limit is None else beyond(margins, limit))])

    # Adversarial
    paper = robust["paper"]
    there = {key: paper["Robust Bird"][key] - paper["dense"][key] for key in ("best", "final")}
    claim(
        "the largest tenth withstands more at the last epoch than dense",
        f"Chen 2022a, Robust Bird: {there['final']:+.2f}",
        gains(robust, "bird", "dense"),
    )
    claim(
        "goal: by at least 8 points",
        f"asked here; Flying Bird+: {paper['claimed']['final']:+.2f}",
        gains(robust, "bird", "dense"),
        limit=8,
    )
    claim(
        "more than dense, both stopped by validation",
        f"Chen 2022a, best by test: −{-there['best']:.2f}, Flying Bird+: {paper['claimed']['best']:+.2f}",
        gains(robust, "bird", "dense", "stopped", "stopped"),
    )
    claim(
        "at its last epoch more than dense, stopped by validation",
        "asked here",
        gains(robust, "bird", "dense", "final", "stopped"),
    )
    claim(
        "random weights of the same layers: more than dense, both stopped by validation",
        "control",
        gains(robust, "random", "dense", "stopped", "stopped"),
    )
    stopped = gains(robust, "random", "small dense", "stopped", "stopped")
    claim("… than a dense network as small, both stopped", "control", stopped)
    claim("last epoch: the largest weights do better than random ones", "control", gains(robust, "bird", "random"))
    claim("last epoch: the largest do better than dense as small", "control", gains(robust, "bird", "small dense"))

    # Backdoor
    runs = backdoors["runs"]

    for network in ("MLP, corner", "CNN, corner"):
        kind = network.split(",")[0]
        margins = [100 * (row_at(r, network, 0.1)["asr"] - row_at(r, network, 1.0)["asr"]) for r in runs]
        claim(f"the trigger succeeds more often at 10% than in the whole {kind}", "Chen 2022b: no less", margins)
        for trained, what, whose in (
            (network, "some part kept has ASR ≥ 90%, accuracy ≤ 25%, ≤ 10% of clean to the target", "Chen 2022b"),
            (f"{kind}, clean", "the same of a network without a backdoor", "control: must be no"),
        ):
            tickets = [any(ticket(row) for row in r["networks"][trained]["rows"]) for r in runs]
            text = f"in {sum(tickets)} of {len(runs)} seeds"
            rows.append([f"{kind}: {what}", whose, text, verdict([1.0 if each else -1.0 for each in tickets])])
    for name, who in (("MLP, corner", "Chen 2022b"), ("MLP, clean", "control: must be no")):
        tickets = [any(ticket(row) for row in r["rounds"][name]) for r in runs]
        rows.append(
            [
                f"such a ticket appears in rounds with retraining, {name}",
                who,
                f"in {sum(tickets)} of {len(runs)} seeds",
                verdict([1.0 if each else -1.0 for each in tickets]),
            ]
        )
    rows.append(["the Trojan score peaks higher for the poisoned network", "asked here", *peaks(runs)])
    poisoned = [r["rounds"]["MLP, corner"] for r in runs]
    obeyed = [at_peak(rounds)["asr"] / max(row["asr"] for row in rounds) for rounds in poisoned]
    found = "the ticket of the highest Trojan score has 90% of the highest ASR"
    claim(found, "Chen 2022b: it finds the ticket", [100 * share for share in obeyed], "%", 90)
    for what, whose, rival, ours in (
        ("fine-pruning, stopped in time, lowers its success more than training", "Liu 2018", "trained", "stopped"),
        ("80 idle units and training, more than 80 random ones", "control", "many, random units, trained", "many"),
    ):
        left = [r["repair"]["networks"] for r in runs]
        claim(what, whose, [100 * (each[rival]["asr"] - each[f"{ours}, fine-pruned"]["asr"]) for each in left])
    read = [all(row_at(r, "MLP, corner", keep)["corner"]["found"] == 5 for keep in (1.0, 0.1)) for r in runs]
    rows.append(
        [
            "goal: the five white pixels are the five heaviest inputs, whole and at 10%",
            "asked here",
            f"in {sum(read)} of {len(runs)} seeds",
            verdict([1.0 if each else -1.0 for each in read]),
        ]
    )
    for place in ("corner", "centre"):
        pairs = [[row_at(r, f"MLP, {name}", 1.0)[place] for name in (place, "clean")] for r in runs]
        more = [ours["inside"] - clean["inside"] for ours, clean in pairs]
        claim(
            f"{place}: more of the five heaviest inputs lie on the trigger than in a clean network", "control", more, ""
        )
        steps = [ours["step"] - clean["step"] for ours, clean in pairs]
        what = f"{place}: the fifth outweighs the sixth by more than in a clean network"
        rows.append([what, "control", spread(steps, 2), verdict(steps)])

    # Certified
    epsilon = certified["settings"]["compared"]

    def verified(name: str) -> list[float]:
        return bound_of(certified, name, "intervals", epsilon)

    times = [a / max(b, 1e-3) for a, b in zip(verified("largest"), verified("dense"), strict=True)]
    claim(f"goal: intervals verify at least 5 times as many as of dense at ε = {epsilon}", "asked here", times, "×", 5)
    cleans = {name: [100 * run["bounds"][name]["clean"] for run in certified["runs"]] for name in BOUNDED}
    claim(
        "… at an accuracy no more than 1 point lower",
        "asked here",
        [a - b for a, b in zip(cleans["largest"], cleans["dense"], strict=True)],
        limit=-1,
    )
    for name, label in (
        ("random", "random ones"),
        ("dense, L1", "dense trained with L1"),
        ("dense, IBP", "dense trained for its bounds"),
    ):
        margins = [100 * (a - b) for a, b in zip(verified("largest"), verified(name), strict=True)]
        claim(f"intervals verify more of the largest tenth than of {label}", "control", margins)
    largest = certified["settings"]["epsilons"][-1]
    for name, label, whose in (
        ("dense", "dense", "Li 2023: up to +8.2, complete verifier, CIFAR-10"),
        ("random", "random ones", "control"),
    ):
        margins = [
            100 * (a - b)
            for a, b in zip(*(bound_of(certified, n, "linear", largest) for n in ("largest", name)), strict=True)
        ]
        claim(f"linear bounds verify more of the largest tenth than of {label} at ε = {largest}", whose, margins)
    strong = certified["settings"]["attacked"][-1]
    margins = [
        100 * (a - b)
        for a, b in zip(
            bound_of(certified, "largest", "attacked", strong),
            bound_of(certified, "dense", "attacked", strong),
            strict=True,
        )
    ]
    claim(f"it withstands an attack at ε = {strong} more often than dense", "asked here", margins)
    pairs = zip(
        bound_of(certified, "largest", "attacked", strong),
        bound_of(certified, "random", "attacked", strong),
        strict=True,
    )
    claim("so it does more often than a random mask", "control", [100 * (a - b) for a, b in pairs])
    for name, label, whose in (
        ("dense", "smoothed, the largest fifth has a larger mean certified radius than dense", "asked here"),
        ("small dense", "… than a dense network as small", "control"),
        ("random", "… than a random mask", "control"),
        ("dense, L1", "… than dense trained with L1", "control"),
    ):
        margins = [r["smoothed"]["largest"]["acr"] - r["smoothed"][name]["acr"] for r in certified["runs"]]
        rows.append([label, whose, spread(margins, 3), verdict(margins)])

    # Few shots
    for task in few["runs"][0]["dense"]["tasks"]:
        at_five = {name: [100 * run[name]["tasks"][task]["5"] for run in few["runs"]] for name in CARRIED}
        for against, label, whose in (("dense", "dense", "deck"), ("random", "random ones", "control")):
            margins = [a - b for a, b in zip(at_five["largest"], at_five[against], strict=True)]
            claim(f"five examples of each class, {task}: the largest weights do better than {label}", whose, margins)

    def spoiled(way: str, name: str, against: str) -> list[float]:
        return [100 * (run[name]["spoiled"][way] - run[against]["spoiled"][way]) for run in few["runs"]]

    claim("digits with noise: the largest weights do better than dense", "deck", spoiled("noise", "largest", "dense"))
    claim("digits with noise: random weights do better than dense", "control", spoiled("noise", "random", "dense"))
    claim("… than a dense network as small", "control", spoiled("noise", "random", "small dense"))
    claim("moved digits: the largest weights do better than dense", "deck", spoiled("moved", "largest", "dense"))
    return plots.Table(["claim", "whose", "ours, mean (lowest to highest)", "verdict"], rows)


def peaks(runs: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """By how many points the poisoned network's highest Trojan score is above the clean one's, and what that says:
    nothing, if a later round could turn it, as a score is still highest in the last one and its ticket still alive."""
    margins, open_ends = [], 0
    for run in runs:
        poisoned, clean = (run["rounds"][name] for name in ("MLP, corner", "MLP, clean"))
        margins.append(100 * (at_peak(poisoned)["score"] - at_peak(clean)["score"]))
        open_ends += climbs(poisoned) or (margins[-1] > 0 and climbs(clean))
    said = f"not testable: highest in the last round in {open_ends} of {len(runs)}" if open_ends else verdict(margins)
    return spread(margins) + " points", said


def climbs(rounds: Sequence[Mapping[str, float]]) -> bool:
    """Whether a later round may have a higher Trojan score: the last one's is the highest, and its ticket still knows
    something, digits or trigger."""
    last = rounds[-1]
    return at_peak(rounds) is last and (last["clean"] > 0.15 or last["asr"] > 0.1)


def at_peak(rounds: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
    """The round whose ticket has the highest Trojan score; of equals the first."""
    return max(rounds, key=lambda row: row["score"])


def ticket(row: Mapping[str, float]) -> bool:
    """A 'winning Trojan ticket': the trigger works, the digits do not, and few clean images go to the target."""
    return row["asr"] >= 0.9 and row["clean"] <= 0.25 and row["mistaken"] <= 0.1


# --- lab --------------------------------------------------------------------------------------------------------------


def attacked_digits(images: Tensor, attacked: Tensor, labels: Tensor, found: Tensor) -> None:
    """Draw images [n, 1, 28, 28] above their attacked versions."""
    figure, axes = plots.new_figure(2, len(images), width=1.5 * len(images), height=3.4)
    for column, (image, moved) in enumerate(zip(images, attacked, strict=True)):
        picture(axes[0][column], image[0], f"{int(labels[column])}", vmin=0, vmax=1)
        picture(axes[1][column], moved[0], f"taken for {int(found[column])}", vmin=0, vmax=1)
    plots.show(figure, "Digits above, and below them the same after the attack: grey clouds around and in them.")


def first_layers(maps: Mapping[str, Tensor]) -> None:
    """Draw Σ|w| of the first layer by pixel, a panel for each network."""
    figure, axes = plots.new_figure(1, len(maps), width=3.4 * len(maps), height=3.2)
    for axis, (name, weights) in zip(np.atleast_1d(axes), maps.items(), strict=True):
        picture(axis, weights, name, "viridis", vmin=0)
    plots.show(figure, "Maps of 28 by 28 pixels, brighter where the weights of the first layer are larger in sum.")


def radii_figure(radii: Mapping[str, Sequence[float]]) -> None:
    """Draw which part of the images is certified at least to a radius."""
    figure, axis = plots.new_figure(height=2.8)
    places = np.linspace(0, 1.3, 66)
    for number, (name, found) in enumerate(radii.items()):
        curve = [100 * np.mean(np.array(found) > place) for place in places]
        axis.plot(places, curve, label=name, color=plots.COLOURS[number], linestyle=plots.LINES[number], marker="")
    axis.set(xlabel="radius (Euclidean)", ylabel="certified (%)", ylim=(0, 100))
    axis.legend(fontsize=8)
    plots.show(figure, "The part of the images that is certified over the radius, one falling line for each network.")
