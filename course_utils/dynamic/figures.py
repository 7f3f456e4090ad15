"""Tables and figures of lecture 06 and of its lab."""

import functools
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.patches import FancyBboxPatch, Rectangle
from torch import Tensor

from course_utils import plots
from course_utils.dynamic.exits import DEFAULT

GOAL = 20.0  # times fewer milliseconds
LONGER = 1.25  # times as long as a static network the exits may take to be compared with it
FULL = f"full network, {DEFAULT}"
CASCADE = "two exits in front, compiled"
ALONE = "first exit in front, compiled"
IN_TORCH = "two exits in front, in torch"
BOTH = "no exit: both, added"
SECOND = "no exit: 784-800-200-10"
TRUNK = "exit in the trunk"
WITHOUT = "trunk without exits"
UP_TO = "trunk up to the exit"


def times(factor: float) -> str:
    return f"{factor:.1f}×"


# --- lecture: drawings ------------------------------------------------------------------------------------------------


def two_kinds() -> None:
    """Draw what twelve inputs cost a network that is fixed, one that looks at the input, and one that has a budget."""
    figure, axes = plots.new_figure(1, 3, width=10, height=2.4)
    budget = np.repeat([1.0, 0.25, 0.6], 4)
    kinds = {
        "fixed": np.ones(12),
        "input-dependent": np.array([0.1, 0.1, 1, 0.1, 0.1, 0.4, 0.1, 0.1, 0.1, 1, 0.1, 0.1]),
        "resource-dependent": budget,
    }
    for axis, (name, costs) in zip(axes, kinds.items(), strict=True):
        axis.bar(range(12), costs, color=plots.COLOURS[1])
        if name == "resource-dependent":
            axis.step(np.arange(13) - 0.5, [*budget, budget[-1]], where="post", color=plots.COLOURS[2], marker="")
            axis.text(5.5, 0.3, "budget", fontsize=9, ha="center", color=plots.COLOURS[2])
        axis.set(title=name, xlabel="input, in order of arrival", xticks=[], ylim=(0, 1.15))
        axis.set_yticks([0, 1], ["0", "whole"])
    axes[0].set_ylabel("work")
    plots.show(
        figure,
        "Three bar charts of the work that twelve inputs cost. Fixed: all bars have the full height. Input-dependent: "
        "most are low, two have the full height. Resource-dependent: all follow a line, what can be spent at "
        "the moment.",
    )


def cascade_drawing(leave: Sequence[float], names: Sequence[str]) -> None:
    """Draw the way through exits in front of a network. leave: the share that leaves at each, the last included."""
    figure, axis = plots.new_figure(width=9.5, height=2.9)
    plots.box(axis, 0, 1.5, "digit", width=0.9)
    left = 1.0
    for number, (name, share) in enumerate(zip(names, leave, strict=True)):
        x = 2.6 * (number + 1)
        plots.arrow(axis, (x - 2.05 if number == 0 else x - 1.75, 1.5), (x - 0.85, 1.5), 0.8 + 6 * left, f"{left:.1%}")
        plots.box(axis, x, 1.5, name, "#cfe3f3")
        last = number == len(names) - 1
        plots.arrow(axis, (x, 1.1), (x, 0.5), 0.8 + 6 * share, f"{share:.1%}" + ("" if last else f": H < T{number}"))
        plots.box(axis, x, 0.1, "class")
        left -= share
    axis.set(xlim=(-0.7, 2.6 * len(names) + 1.3), ylim=(-0.4, 2.1))
    axis.set_axis_off()
    plots.show(
        figure,
        "Boxes in a row: a digit, exits in front of the network, and the network. Thick arrows lead from the "
        "first exit "
        "down to a class, thin ones on to the next box: nearly all digits leave at once, and few see the network.",
    )


def skipnet_drawing() -> None:
    """Draw SkipNet's residual blocks, each with a gate, of which one is closed."""
    figure, axis = plots.new_figure(width=10, height=2.8)
    plots.box(axis, 0, 0.6, "x", width=0.5)
    for number, is_open in enumerate((True, False, True)):
        x = 3.2 * number + 1.8
        colour, style = ("#cfe3f3", "-") if is_open else ("#eeeeee", ":")
        patch = FancyBboxPatch((x - 0.75, 0.28), 1.5, 0.64, boxstyle="round,pad=0.05", fc=colour, ec="black", ls=style)
        axis.add_patch(patch)
        axis.text(x, 0.6, f"block {number}", ha="center", va="center", fontsize=9, alpha=1 if is_open else 0.4)
        plots.box(axis, x - 0.9, 1.6, f"gate {number}: {int(is_open)}", "#fbe3c8", width=1.1)
        axis.plot(
            [x - 1.5, x - 1.35, x - 1.35], [0.6, 0.6, 1.28], color="black", linewidth=0.8, marker="", linestyle="-"
        )
        plus = x + 1.25
        if is_open:
            plots.arrow(axis, (x - 1.5, 0.6), (x - 0.82, 0.6), 2)
            plots.arrow(axis, (x + 0.82, 0.6), (plus - 0.16, 0.6), 2)
        axis.plot(
            [x - 1.5, x - 1.5, plus, plus], [0.6, -0.25, -0.25, 0.42], color=plots.COLOURS[1], marker="", linestyle="-",
            linewidth=2 if not is_open else 1,
        )  # fmt: skip
        axis.text(plus, 0.6, "+", ha="center", va="center", fontsize=13)
        axis.plot([plus + 0.14, plus + 0.47], [0.6, 0.6], color=plots.COLOURS[1], marker="", linestyle="-", linewidth=2)
    axis.text(10.1, 0.6, "classes", va="center", fontsize=9)
    axis.text(3.9, -0.55, "closed: only x goes on, and block 1 is not computed", fontsize=8)
    axis.set(xlim=(-0.5, 11), ylim=(-0.7, 2.1))
    axis.set_axis_off()
    plots.show(
        figure,
        "Three residual blocks in a row. Each has a gate that sees what comes in. The first and the third gate say 1: "
        "the input goes through the block, and around it, and both are added. The second says 0: only the way around "
        "is drawn, and the block is grey.",
    )


def entropy_curve(threshold: float = 0.3) -> None:
    """Draw the entropy of a prediction of two classes, and what a threshold makes of it."""
    p = np.linspace(1e-6, 1 - 1e-6, 400)
    entropy = -p * np.log(p) - (1 - p) * np.log(1 - p)
    figure, axis = plots.new_figure(height=2.9)
    axis.plot(p, entropy, marker="")
    axis.axhline(threshold, color=plots.COLOURS[2], linestyle="--", marker="")
    axis.fill_between(p, 0, entropy, where=entropy < threshold, color=plots.COLOURS[1], alpha=0.3)
    axis.text(0.5, threshold + 0.02, "threshold", ha="center", fontsize=9, color=plots.COLOURS[2])
    for x in (0.15, 0.85):
        axis.text(x, 0.06, "leaves", ha="center", fontsize=9)
    axis.set(xlabel="probability of the second of two classes", ylabel="entropy (nats)", ylim=(0, 0.75))
    axis.set_title("Sure either way: entropy is low at both ends")
    plots.show(
        figure,
        "The entropy of a prediction of two classes: 0 at probability 0 and 1, and greatest, ln 2, at one "
        "half. A dashed "
        "threshold cuts off both ends: predictions there leave.",
    )


def gate_curves() -> None:
    """Draw the gate's two faces: a step forward, and the slope of σ backward."""
    x = np.linspace(-5, 5, 401)
    soft = 1 / (1 + np.exp(-x))
    figure, axes = plots.new_figure(1, 2, width=9, height=2.8)
    axes[0].plot(x, x > 0, marker="", label="forward: open or closed")
    axes[0].plot(x, soft, marker="", label="σ, whose slope is used")
    axes[1].plot(x, soft * (1 - soft), marker="", color=plots.COLOURS[1])
    axes[0].legend(fontsize=8, loc="upper left")
    axes[0].set(xlabel="gate logit + noise", ylabel="gate", title="the value")
    axes[1].set(xlabel="gate logit + noise", ylabel="factor on the gradient", title="the gradient", ylim=(0, 0.3))
    plots.show(
        figure,
        "Left: a step from 0 to 1 where logit plus noise passes 0, and the smooth σ. Right: the slope of σ, a bell of "
        "height one quarter at 0, which the gradient is multiplied with.",
    )


def slim_drawing(outputs: int = 8, inputs: int = 8) -> None:
    """Draw a weight matrix with its narrower selves in it, and what a shared normalization would have to be."""
    figure, axes = plots.new_figure(1, 2, width=9.5, height=3)
    shades = {1.0: "#f2f2f2", 0.75: "#dbe9f5", 0.5: "#a9cbe8", 0.25: "#5b9bd0"}
    for width, shade in shades.items():
        axes[0].add_patch(Rectangle((0, outputs), inputs * width, -outputs * width, fc=shade, ec="black"))
        at = inputs * width - 0.15, outputs - outputs * width + 0.2
        axes[0].text(*at, f"{width:g}", ha="right", va="bottom", fontsize=9)
    axes[0].set(xlim=(-0.3, inputs + 0.3), ylim=(-0.3, outputs + 0.3), title="one weight matrix, four layers")
    axes[0].set(xticks=[], yticks=[], xlabel="input channels", ylabel="output channels")
    axes[0].set_aspect("equal")
    sums = np.random.RandomState(0).normal(0.3, 1, (4000, 64))
    for width, colour in zip((0.25, 0.5, 1.0), plots.COLOURS[1:], strict=False):
        total = sums[:, : int(64 * width)].sum(axis=1)
        axes[1].hist(
            total, bins=60, density=True, histtype="step", linewidth=1.6, color=colour, label=f"width {width:g}"
        )
    axes[1].legend(fontsize=8)
    axes[1].set(xlabel="a sum over the input channels", ylabel="density", title="three widths, three means")
    plots.show(
        figure,
        "Left: a square weight matrix; its upper left parts of three quarters, one half and one quarter of both sides "
        "lie in one another. Right: histograms of a sum over a quarter, half and all of the inputs: means and spreads "
        "differ, so that one normalization cannot fit them all.",
    )


# --- lecture: exits ---------------------------------------------------------------------------------------------------


def microseconds(run: Mapping[str, Any], system: str, clock: str = "processor") -> float:
    """The median of the rounds."""
    return float(np.median(run["race"][system][clock]))


def fastest(run: Mapping[str, Any]) -> str:
    """The full network in its fastest way, which validation digits chose."""
    return f"full network, {run['fastest']}"


def speedups(
    runs: Sequence[Mapping[str, Any]], system: str, full: Callable[[Mapping[str, Any]], str] = lambda run: FULL
) -> list[float]:
    """Times faster than the full network, by default as torch runs it; one for each seed."""
    return [microseconds(run, full(run)) / microseconds(run, system) for run in runs]


def wrong(runs: Sequence[Mapping[str, Any]], system: str) -> list[int]:
    """Test errors, one for each seed."""
    return [run["race"][system]["errors"] for run in runs]


def race_table(results: Mapping[str, Any]) -> plots.Table:
    """Every system: microseconds, errors, who leaves first, and how it compares with the full network."""
    runs = results["exits"]
    rows = []
    for system in runs[0]["race"]:
        if not all("errors" in run["race"][system] for run in runs):
            continue
        leave = [100 * run["race"][system]["leave"][0] for run in runs]
        rows.append(
            [
                system,
                f"{np.mean([microseconds(run, system) for run in runs]):.1f}",
                *(plots.mean_and_range(speedups(runs, system, full), 1) for full in (lambda run: FULL, fastest)),
                plots.mean_and_range(wrong(runs, system)),
                "—" if system.startswith("full") else more_errors(runs, system),
                plots.mean_and_range(leave, 1) if min(leave) < 100 else "—",
            ]
        )
    columns = ["system", "µs an image", "times faster than the full network", "than its fastest way"]
    columns += ["test errors of 10,000", "more than the full network"]
    return plots.Table([*columns, "leave first (%)"], rows)


def more_errors(runs: Sequence[Mapping[str, Any]], system: str) -> str:
    """Errors beyond the full network's of the same seed."""
    return span([a - b for a, b in zip(wrong(runs, system), wrong(runs, FULL), strict=True)])


def span(gaps: Sequence[int]) -> str:
    """'−3 to +4': the lowest and the highest."""
    return f"{min(gaps):+d} to {max(gaps):+d}".replace("-", "−")


def race_figure(results: Mapping[str, Any]) -> None:
    """Draw test errors against microseconds, a point for each system and seed."""
    runs = results["exits"]
    figure, axis = plots.new_figure(width=8.5, height=4.4)
    listed: list[str] = []
    without = [*(s for s in runs[0]["race"] if s.startswith("no exit")), fastest(runs[0]), FULL]
    groups = {
        "no exit": {s.removeprefix("no exit: ").replace("full network, ", "full, "): s for s in without},
        **{s.removesuffix(", compiled"): {s.removesuffix(", compiled"): s} for s in (CASCADE, ALONE, TRUNK)},
    }
    for number, (name, systems) in enumerate(groups.items(), start=1):
        style = {"linestyle": "", "marker": plots.MARKERS[number], "color": plots.COLOURS[number], "alpha": 0.7}
        for place, (label, system) in enumerate(systems.items()):
            x, y = [microseconds(run, system) for run in runs], wrong(runs, system)
            axis.plot(x, y, **style, markersize=7, label=name if place == 0 else None)
            listed.append(f"{label}: {', '.join(f'{a:.0f} µs, {b} errors' for a, b in zip(x, y, strict=True))}")
            if name == "no exit":
                side = "right" if system == fastest(runs[0]) else "center"
                at = float(np.median(x)), max(y)
                axis.annotate(label, at, xytext=(0, 8), textcoords="offset points", fontsize=8, ha=side)
    axis.set(xscale="log", xlabel="microseconds an image (one at a time, one thread)", ylabel="test errors of 10,000")
    axis.set_xticks([5, 10, 20, 50, 100, 200, 500], ["5", "10", "20", "50", "100", "200", "500"])
    axis.set_title("Errors against time, a point for each seed")
    axis.margins(x=0.15, y=0.15)
    axis.legend(fontsize=8)
    plots.show(
        figure,
        "Test errors against microseconds an image, the latter on a logarithmic axis, a point for each seed. "
        f"{'; '.join(listed)}.",
    )


def goal_table(results: Mapping[str, Any]) -> plots.Table:
    """By seed: are exits so many times faster with no more errors? And what does a network as cheap do?"""
    rows = []
    for run in results["exits"]:
        control = rival(results)
        errors = [run["race"][system]["errors"] for system in (FULL, CASCADE, control)]
        said = []
        for full in (FULL, fastest(run)):
            factor = microseconds(run, full) / microseconds(run, CASCADE)
            failed = [
                text
                for text, holds in (("too slow", factor >= GOAL), ("more errors", errors[1] <= errors[0]))
                if not holds
            ]
            said += [times(factor), "reached" if not failed else f"not reached: {' and '.join(failed)}"]
        spent = [f"{microseconds(run, system):.1f}" for system in (CASCADE, control)]
        rows.append([run["seed"], *spent, *errors, *said])
    columns = ["seed", "exits (µs)", "no exit (µs)", "full: errors", "exits: errors", "no exit: errors"]
    ways = ("as torch runs it", "in torch's fastest way")
    return plots.Table(
        [*columns, *(text for way in ways for text in (f"full network {way}", f"{GOAL:.0f}×, no more errors"))], rows
    )


def named(system: str) -> str:
    """A network without exits, in words."""
    return "both exits' networks, always" if system == BOTH else system.removeprefix("no exit: ")


def rival(results: Mapping[str, Any]) -> str:
    """Of the compiled networks without exits the one that takes most nearly as long as the exits in the mean."""
    runs = results["exits"]

    def mean(system: str) -> float:
        return float(np.mean([microseconds(run, system) for run in runs]))

    without = [system for system in runs[0]["race"] if system.startswith("no exit")]
    return min(without, key=lambda system: abs(np.log(mean(system) / mean(CASCADE))))


def trunk_alone(run: Mapping[str, Any]) -> float:
    """Microseconds an image by BranchyNet's clock, which leaves branch, softmax, entropy and decision out."""
    without, only = microseconds(run, WITHOUT), microseconds(run, UP_TO)
    return only + (1 - run["race"][TRUNK]["leave"][0]) * (without - only)


def ceilings(runs: Sequence[Mapping[str, Any]]) -> list[float]:
    """How much faster an exit in the trunk could make it at most: C/c, if all left there and the exit cost nothing."""
    return [microseconds(run, WITHOUT) / microseconds(run, UP_TO) for run in runs]


def clock_table(results: Mapping[str, Any]) -> plots.Table:
    """What BranchyNet's clock sees and what it leaves out, for our exit in the trunk and for the one in front."""
    rows = []
    for run in results["exits"]:
        without, trunk_only = microseconds(run, WITHOUT), trunk_alone(run)
        rows.append(
            [
                run["seed"],
                f"{100 * run['race'][TRUNK]['leave'][0]:.1f}",
                f"{without:.0f}",
                f"{trunk_only:.0f}",
                times(without / trunk_only),
                f"{microseconds(run, TRUNK):.0f}",
                times(without / microseconds(run, TRUNK)),
            ]
        )
    columns = ["seed", "leave first (%)", "no exits (µs)", "trunk alone (µs)", "faster", "all counted (µs)"]
    return plots.Table([*columns, "faster, all counted"], rows)


# --- lecture: gates ---------------------------------------------------------------------------------------------------


def gates_table(results: Mapping[str, Any]) -> plots.Table:
    """How gates have learned: hard errors beside soft ones, how many blocks are open, and the reward."""
    runs = results["gates"]
    rows = []
    for way in runs[0]["ways"]:
        found = [run["ways"][way] for run in runs]
        rows.append(
            [
                way,
                *(plots.mean_and_range([f[key] for f in found]) for key in ("hard_errors", "soft_errors")),
                plots.mean_and_range([4 * f["open"] for f in found], 2),
                f"{np.mean([f['reward'] for f in found]):.4f}".replace("-", "−"),
            ]
        )
    fixed = [run["fixed"] for run in runs]
    rows.append(
        [
            "no gates: the best fixed setting",
            plots.mean_and_range([f["errors"][f["setting"]] for f in fixed]),
            "—",
            plots.mean_and_range([4 * f["open"] for f in fixed], 2),
            f"{np.mean([f['reward'] for f in fixed]):.4f}".replace("-", "−"),
        ]
    )
    rows.append(
        [
            "all blocks open",
            plots.mean_and_range([f["errors"][-1] for f in fixed]),
            "—",
            plots.mean_and_range([4.0] * len(fixed), 2),
            f"{np.mean([f['rewards'][-1] for f in fixed]):.4f}".replace("-", "−"),
        ]
    )
    return plots.Table(["gates learned by", "hard errors", "soft errors", "open of 4", "mean reward"], rows)


def noise_figure(results: Mapping[str, Any]) -> None:
    """Draw how far REINFORCE's gradients are from the exact one, mean over the seeds."""
    runs = results["gates"]
    values = {name: float(np.mean([run["noise"][name] for run in runs])) for name in runs[0]["noise"]}
    figure, axis = plots.new_figure(width=8, height=2.6)
    plots.bars(axis, values, "mean squared distance from the exact gradient, by its squared length", "{:.1f}")
    axis.set_title("One batch of 250, one draw for each image")
    plots.show(
        figure,
        "Bars: the noise of REINFORCE's gradient in four ways. Where 1 is added to each reward and no "
        "baseline is taken "
        "off the bar is by far the longest; with a baseline the constant makes no difference.",
    )


def skipping_table(results: Mapping[str, Any]) -> plots.Table:
    """Microseconds of blocks without gates, with gates that multiply, and with gates that skip."""
    rows = []
    for run in results["gates"]:
        spent = {name: float(np.median(values)) for name, values in run["race"].items()}
        opened = 4 * run["ways"]["exact"]["open"]
        rows.append(
            [run["seed"], f"{opened:.2f}", *(f"{value:.0f}" for value in spent.values()),
             times(spent["no gates"] / spent["gates that skip"])]
        )  # fmt: skip
    columns = ["seed", "open of 4", "all four, no gates (µs)", "gates that multiply (µs)", "gates that skip (µs)"]
    return plots.Table([*columns, "skipping: times faster than all four"], rows)


# --- lecture: widths and budgets --------------------------------------------------------------------------------------


def widths_figure(results: Mapping[str, Any]) -> None:
    """Draw test errors against the width, mean and range over the seeds, for each kind of normalization."""
    runs = results["widths"]
    figure, axis = plots.new_figure(width=8, height=3.6)
    widths = [0.25, 0.5, 0.75, 1.0]
    for name in runs[0]["errors"]:
        values = np.array([run["errors"][name] for run in runs])
        (line,) = axis.plot(widths, values.mean(axis=0), label=name)
        axis.vlines(widths, values.min(axis=0), values.max(axis=0), color=line.get_color(), alpha=0.5)
    axis.set(yscale="log", xlabel="width", ylabel="test errors of 10,000", xticks=widths)
    ticks = [50, 100, 200, 500, 1000, 2000, 5000]
    axis.set_yticks(ticks, [f"{tick:,}" for tick in ticks])
    axis.minorticks_off()
    axis.set_title("Four widths, mean and range over the seeds")
    axis.legend(fontsize=8, title="normalization", loc="upper left", bbox_to_anchor=(1, 1))
    plots.show(
        figure,
        "Test errors against the width of the network, for normalization that is shared, shared and calibrated, one a "
        "width, and for one network a width. Errors fall with the width. At width ¼ the shared one as it is lies above "
        "the others, with a wide range over the seeds; the other three lie close together.",
    )


def widths_table(results: Mapping[str, Any]) -> plots.Table:
    """Test errors by width and normalization."""
    runs = results["widths"]
    rows = [
        [f"{width:g}", f"{runs[0]['parameters'][place]:,}"]
        + [plots.mean_and_range([run["errors"][name][place] for run in runs]) for name in runs[0]["errors"]]
        for place, width in enumerate((0.25, 0.5, 0.75, 1.0))
    ]
    return plots.Table(["width", "parameters", *runs[0]["errors"]], rows)


def stream_figure(results: Mapping[str, Any], seed: int = 0) -> None:
    """Draw the stream of one seed: budget and time spent above, errors below."""
    run = next(run for run in results["stream"] if run["seed"] == seed)
    parts, each = run["parts"], results["settings"]["stream_digits"]
    edges = [each * i for i in range(len(parts) + 1)]
    figure, axes = plots.new_figure(2, 1, width=8.5, height=4.6)
    budget = [part["budget"] for part in parts]
    axes[0].step(edges, [*budget, budget[-1]], where="post", marker="", color=plots.COLOURS[0], label="budget")
    middles = np.array(edges[:-1]) + each / 2
    for number, (name, label) in enumerate(
        (("exits", "exits, thresholds follow"), ("widths", "widths follow")), start=1
    ):
        spent = [part["found"][name]["processor"][0] for part in parts]
        style = {"linestyle": "", "marker": plots.MARKERS[number], "color": plots.COLOURS[number], "label": label}
        style["clip_on"] = False  # no errors at all lie on the axis
        axes[0].plot(middles, spent, **style)
        axes[1].plot(middles, [part["found"][name]["errors"] for part in parts], **style)
    axes[0].set(yscale="log", ylabel="µs an image")
    axes[0].set_yticks([5, 10, 20, 50, 100, 200], ["5", "10", "20", "50", "100", "200"])
    axes[0].minorticks_off()
    axes[1].legend(*axes[0].get_legend_handles_labels(), fontsize=8, loc="upper right")
    axes[1].set(xlabel="test digits, as they come in", ylabel=f"errors of {each:,}", ylim=(0, None))
    axes[1].set_xlim(axes[0].get_xlim())
    axes[0].set_title(f"A budget that falls and rises, seed {seed}")
    listed = {
        name: (
            ", ".join(f"{part['found'][name]['processor'][0]:.0f}" for part in parts),
            ", ".join(str(part["found"][name]["errors"]) for part in parts),
        )
        for name in ("exits", "widths")
    }
    plots.show(
        figure,
        "Above: a budget that falls in steps and rises again, with what exits and widths spend. Microseconds an image, "
        f"part by part: budget {', '.join(f'{value:.0f}' for value in budget)}; exits {listed['exits'][0]}; widths "
        f"{listed['widths'][0]}. Below: their errors; exits {listed['exits'][1]}; widths {listed['widths'][1]}.",
    )


# --- lecture: verdicts ------------------------------------------------------------------------------------------------


def verdict(holds: Sequence[bool], yes: str = "reached by other means", no: str = "not confirmed") -> str:
    """What seeds say together: all, none or some of them, and whether they are enough to say anything."""
    if len(holds) < 3:
        return "too few seeds to tell"
    if all(holds):
        return yes
    return "in some seeds only" if any(holds) else no


def paper_table(
    results: Mapping[str, Any],
    first_try: Mapping[str, Any],
    gate_results: Mapping[str, Any],
    width_results: Mapping[str, Any],
) -> plots.Table:
    """Published figures beside ours, with a verdict by a rule and a reason."""
    runs, branchy = results["exits"], results["paper"]
    trunk = [microseconds(run, WITHOUT) / microseconds(run, TRUNK) for run in runs]
    by_theirs = [microseconds(run, WITHOUT) / trunk_alone(run) for run in runs]
    ceiling = ceilings(runs)
    gap = [run["race"][TRUNK]["errors"] <= run["race"][WITHOUT]["errors"] for run in runs]
    cascade, strict, faster = speedups(runs, CASCADE), speedups(runs, CASCADE, fastest), speedups(runs, ALONE)
    no_more = [run["race"][CASCADE]["errors"] <= run["race"][FULL]["errors"] for run in runs]
    beyond_first = [a - b for a, b in zip(wrong(runs, CASCADE), wrong(first_try["exits"], FULL), strict=True)]
    worse = [a > b for a, b in zip(wrong(runs, FULL), wrong(first_try["exits"], FULL), strict=True)]
    alone_is_used = [run["race"][ALONE]["leave"][0] > 0 for run in runs]
    control = rival(results)
    better = [
        run["race"][CASCADE]["errors"] < run["race"][control]["errors"]
        and microseconds(run, CASCADE) <= LONGER * microseconds(run, control)
        for run in runs
    ]
    gates = gate_results["gates"]
    all_open = [run["fixed"]["errors"][-1] for run in gates]
    least, most = gate_results["paper"]["less_computation"]

    def skipped_by(way: str) -> tuple[list[float], list[int], list[bool], list[bool]]:
        """By seed: percent of the blocks closed, errors, whether they are no more, and whether the claim holds."""
        saved = [100 * (1 - run["ways"][way]["open"]) for run in gates]
        hard = [run["ways"][way]["hard_errors"] for run in gates]
        as_good = [h <= o for h, o in zip(hard, all_open, strict=True)]
        return saved, hard, as_good, [least <= s <= most and a for s, a in zip(saved, as_good, strict=True)]

    ways = {way: skipped_by(way) for way in gates[0]["ways"]}
    favourable = max(ways, key=lambda way: (sum(ways[way][-1]), -sum(ways[way][1])))
    saved, hard, as_good, holds = ways[favourable]
    beats = [run["ways"]["exact"]["reward"] > run["fixed"]["reward"] for run in gates]
    widths, slimmable = width_results["widths"], width_results["paper"]
    own = [run["errors"]["own"] for run in widths]
    shared = [run["errors"]["shared"] for run in widths]
    each_its_own = [run["errors"]["one network a width"] for run in widths]
    rows = [
        [
            f"LeNet with an exit in its trunk: {branchy['speedup']}× on a CPU at no loss (BranchyNet, table I)",
            f"{plots.mean_and_range(trunk, 1)}×, all counted",
            "not testable here" if max(ceiling) < branchy["speedup"]
            else verdict([t >= branchy["speedup"] and g for t, g in zip(trunk, gap, strict=True)]),
            "run by torch's default way with the exit and without, it could give at most "
            f"{plots.mean_and_range(ceiling, 1)}× in our LeNet, as its first "
            f"convolution and pooling take {np.mean(np.divide(100, ceiling)):.0f}% of the time; their trunk has 5, 10 "
            f"and 20 channels; ours was trained for {results['settings']['joint_epochs']} epochs, theirs for 50 and "
            f"then, with its exit, for 100; by their clock, which runs for the trunk only, ours is "
            f"{plots.mean_and_range(by_theirs, 1)}× faster",
        ],
        [
            f"the same goal, {GOAL:.0f}× with no more errors, by exits in front of the trunk (ours)",
            f"{plots.mean_and_range(cascade, 1)}×, errors {more_errors(runs, CASCADE)}",
            verdict([c >= GOAL and n for c, n in zip(cascade, no_more, strict=True)], "reached", "not reached"),
            "an exit must be far cheaper than the trunk: compiled, it skips zero pixels; against the full network as "
            "torch runs it by default",
        ],
        [
            "the same against the full network in the fastest of torch's three ways without a compiler",
            f"{plots.mean_and_range(strict, 1)}×",
            verdict([c >= GOAL and n for c, n in zip(strict, no_more, strict=True)], "reached", "not reached"),
            "without oneDNN's start-up cost a single image takes less",
        ],
        [
            f"the same against the full network of the first try, {first_try['settings']['epochs']} epochs, as torch "
            "runs it",
            f"errors {span(beyond_first)}",
            verdict([c >= GOAL and n <= 0 for c, n in zip(cascade, beyond_first, strict=True)], "reached",
                    "not reached"),
            "design and epochs were chosen after test digits had been read; doubling the epochs made the full network "
            f"worse {in_seeds(worse)}",
        ],
        [
            "one exit in front, no budget (ours)",
            f"{plots.mean_and_range(faster, 1)}×, errors {more_errors(runs, ALONE)}",
            verdict(
                [used and run["race"][ALONE]["errors"] <= run["race"][FULL]["errors"]
                 for used, run in zip(alone_is_used, runs, strict=True)],
                "no more errors", "not reached",
            ),
            "the threshold with the most right validation answers; it counts only where somebody leaves, and somebody "
            f"does {in_seeds(alone_is_used)}",
        ],
        [
            "early exits beat a static network of about the same mean cost (implied)",
            f"errors {plots.mean_and_range(wrong(runs, CASCADE))} against {plots.mean_and_range(wrong(runs, control))}",
            verdict(better),
            f"the rival is {named(control)}, taught and compiled as the exits are; counted where the exits take at "
            f"most {LONGER:g} times as long",
        ],
        [
            f"{least} to {most}% less computation at the same accuracy (SkipNet, abstract)",
            f"{plots.mean_and_range(saved)}% of the gated blocks closed, errors {plots.mean_and_range(hard)} against "
            f"{plots.mean_and_range(all_open)} with all open",
            verdict(holds, "consistent with", "not reached" if any(as_good) else "not reached: more errors"),
            f"of {len(ways)} ways to learn the most favourable one ({favourable}); by the exact gradient "
            f"{plots.mean_and_range(ways['exact'][0])}% and {plots.mean_and_range(ways['exact'][1])} errors; "
            "four blocks and digits against 110 layers and CIFAR-10; our price of a block decides the share; a fixed "
            f"setting closes {plots.mean_and_range([100 * (1 - run['fixed']['open']) for run in gates])}% with "
            f"{plots.mean_and_range([run['fixed']['errors'][run['fixed']['setting']] for run in gates])} errors; MACs, "
            "not milliseconds: see the skipping table",
        ],
        [
            "gates that see the input beat the best fixed set of blocks (implied)",
            f"reward differs by {np.mean([r['ways']['exact']['reward'] - r['fixed']['reward'] for r in gates]):+.4f}"
            .replace("-", "−"),
            verdict(beats, "consistent with"),
            "gates learned by the exact gradient, from digits that the trunk had learned from; the setting chosen on "
            "validation digits",
        ],
        [
            "shared normalization fails, one a width does not (Yu 2019)",
            "width ¼: " + " against ".join(plots.mean_and_range([e[0] for e in each]) for each in (shared, own)),
            verdict([s[0] > 2 * o[0] for s, o in zip(shared, own, strict=True)], "consistent with"),
            "counted as failing if the errors more than double; their ResNet-50 lost "
            f"{slimmable['errors'][-1] - slimmable['errors'][0]:.0f} points from width 1 to ¼ with its own",
        ],
        [
            "similar to one network a width, in many cases better (Yu 2019, abstract)",
            "errors of all widths together: "
            + " against ".join(plots.mean_and_range([sum(e) for e in each]) for each in (own, each_its_own)),
            verdict([sum(o) <= sum(s) for o, s in zip(own, each_its_own, strict=True)], "consistent with"),
            "counted as similar if it makes no more errors, all widths together; ours has two convolutions and was "
            f"trained for {width_results['settings']['epochs']} epochs",
        ],
    ]  # fmt: skip
    return plots.Table(["claim", "ours", "verdict", "why they differ"], rows)


# --- lab --------------------------------------------------------------------------------------------------------------


def entropies(right: Tensor, mistaken: Tensor) -> None:
    """Draw the entropies of right and of wrong answers, as shares of each."""
    figure, axis = plots.new_figure(height=2.8)
    bins = np.linspace(0, 1.6, 25)
    for values, name, colour, hatch in (
        (right, "right", plots.COLOURS[1], ""),
        (mistaken, "wrong", plots.COLOURS[2], "//"),
    ):
        weights = np.full(len(values), 100 / max(1, len(values)))
        axis.hist(values.numpy(), bins, weights=weights, alpha=0.6, label=name, color=colour, hatch=hatch)
    axis.set(xlabel="entropy (nats)", ylabel="share of these answers (%)")
    axis.set_title("Exit 0, validation digits: who is wrong is less sure")
    axis.legend()
    plots.show(
        figure,
        "Histograms of the entropy of right and of wrong answers. Right ones are highest at the left and thin out to "
        "the right, about half of them above 0.2; wrong ones begin at about 0.25, most of them above 0.8.",
    )


def exit_shares(thresholds: Sequence[float], shares: Tensor, errors: Sequence[float]) -> None:
    """Draw who leaves where, [thresholds, exits], as shares, and the errors in percent, against a common threshold."""
    figure, axes = plots.new_figure(1, 2, width=9.5, height=3)
    below = np.zeros(len(thresholds))
    places = np.arange(len(thresholds))
    for number, share in enumerate(shares.T.numpy()):
        axes[0].bar(places, 100 * share, bottom=below, label=f"exit {number}", color=plots.COLOURS[number + 1],
                    hatch=plots.HATCHES[number], edgecolor="white")  # fmt: skip
        below += 100 * share
    axes[0].legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    axes[1].plot(places, errors)
    for axis in axes:
        axis.set_xticks(places, [f"{t:g}" for t in thresholds])
        axis.set_xlabel("threshold of both exits (nats)")
    axes[0].set(ylabel="leave there (%)", title="who leaves where")
    axes[1].set(ylabel="validation errors (%)", title="what it costs", ylim=(0, None))
    plots.show(
        figure,
        "Left: stacked bars of the shares that leave at the three exits, against the threshold: at 0 all at "
        "the last, and "
        "more at the first the higher it is. Right: errors against the threshold, higher at the right end.",
    )


def estimates(found: Mapping[str, Tensor], exact: float) -> None:
    """Draw the estimates of one slope by each way, a histogram each, and the exact slope as a line."""
    figure, axes = plots.new_figure(1, len(found), width=9.5, height=2.6)
    for axis, (name, values) in zip(axes, found.items(), strict=True):
        axis.hist(values.numpy(), bins=40, color=plots.COLOURS[1])
        axis.axvline(exact, color=plots.COLOURS[2], linestyle="--", marker="")
        axis.set(title=name, xlabel="estimated slope")
    axes[0].set_ylabel("batches")
    limits = [min(a.get_xlim()[0] for a in axes), max(a.get_xlim()[1] for a in axes)]
    for axis in axes:
        axis.set_xlim(limits)
    plots.show(
        figure,
        "Histograms of a slope that REINFORCE estimates, with a dashed line at the exact one. All are centred at the "
        "line; without a baseline the histogram is far wider than with one.",
    )


def slimmed_errors(widths: Sequence[float], found: Mapping[str, Sequence[float]]) -> None:
    """Draw validation errors in percent against the width, for each way of training."""
    figure, axis = plots.new_figure(height=2.9)
    for name, values in found.items():
        axis.plot(widths, values, label=name)
    axis.set(xlabel="width", ylabel="validation errors (%)", xticks=list(widths), ylim=(0, None))
    axis.set_title("One network, run at four widths")
    axis.legend(fontsize=8)
    plots.show(
        figure,
        "Errors against the width for two networks. The one that was trained at full width only makes far more errors "
        "at a quarter, more at a half, and no more than whole at three quarters; the one that was trained at all "
        "widths makes nearly as few at each.",
    )


def race_of(found: Mapping[str, Mapping[str, Any]]) -> plots.Table:
    """What `exits.race` has found: milliseconds an image and errors."""
    rows = [[name, f"{min(entry['processor']) / 1000:.3f}", entry["errors"]] for name, entry in found.items()]
    return plots.Table(["network", "ms an image", "errors"], rows)


# --- lecture: what came out, in words ---------------------------------------------------------------------------------


def wrapped(text: str) -> str:
    """The text in lines as wide as a page."""
    return "\n".join(textwrap.fill(line, 92) for line in text.splitlines())


def in_lines(say: Callable[..., str]) -> Callable[..., str]:
    """Decorator: what is said of results, wrapped."""
    return functools.wraps(say)(lambda *results: wrapped(say(*results)))


def in_seeds(holds: Sequence[bool]) -> str:
    """'in every seed', 'in 2 of 3 seeds' or 'in no seed'."""
    if all(holds):
        return "in every seed"
    return f"in {sum(holds)} of {len(holds)} seeds" if any(holds) else "in no seed"


@in_lines
def run_words(results: Mapping[str, Any]) -> str:
    places = [
        f"{place['cpu']}, {place['workers']} at a time with {place['threads']} thread each: {place['pieces']} pieces"
        for place in results["places"]
    ]
    return (
        f"{'; '.join(places)}. {results['date']}; batch of 1, processor time, medians of three rounds.\n"
        f"Choices: {results['choices']}.\n"
        f"Full network and exits: {results['settings']['epochs']} epochs each; the trunk with its exit: "
        f"{results['settings']['joint_epochs']}.\n"
        f"The budget of the two exits in front is 1/{results['times_faster']:g} of the time of the full "
        "network as torch runs it."
    )


@in_lines
def race_words(results: Mapping[str, Any]) -> str:
    runs = results["exits"]
    thresholds = [run["thresholds"]["two exits"] for run in runs]
    busy = [np.median(np.divide(each["clock"], each["processor"])) for run in runs for each in run["race"].values()]
    clocked = [microseconds(run, FULL, "clock") / microseconds(run, CASCADE, "clock") for run in runs]
    unused = [run["race"][ALONE]["leave"][0] == 0 for run in runs]
    return (
        f"The two exits make the full network {plots.mean_and_range(speedups(runs, CASCADE), 1)} times faster "
        f"than torch "
        f"runs it, and {plots.mean_and_range(speedups(runs, CASCADE, fastest), 1)} times faster than it is in the "
        "fastest of torch's three ways without a compiler.\n"
        f"Thresholds (nats), by seed: {'; '.join(', '.join(f'{t:.3g}' for t in each) for each in thresholds)}.\n"
        "The exits are compiled, the full network is not: with the same exits in torch the gain is "
        f"{plots.mean_and_range(speedups(runs, IN_TORCH), 1)} times.\n"
        "With the first exit alone, compiled and without a budget, the gain is "
        f"{', '.join(f'{gain:.1f}' for gain in speedups(runs, ALONE))} times, by seed. Its threshold lets nobody out "
        f"{in_seeds(unused)}: what is gained there is torch's fastest way.\n"
        f"By the clock on the wall everything took {np.median(busy):.1f} times as long, as the machine had other work; "
        f"there the two exits are {plots.mean_and_range(clocked, 1)} times faster than torch's full network."
    )


@in_lines
def tries_words(first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    """What the second try has changed in the errors of the full network and of the exits."""
    said = []
    for name, results in (("First", first), ("Second", second)):
        runs = results["exits"]
        full, exits = wrong(runs, FULL), wrong(runs, CASCADE)
        more = [b > a for a, b in zip(full, exits, strict=True)]
        said.append(
            f"{name} try, {results['settings']['epochs']} epochs, test errors by seed: full network "
            f"{', '.join(map(str, full))}; two exits {', '.join(map(str, exits))}: more {in_seeds(more)}."
        )
    before, after, exits = wrong(first["exits"], FULL), wrong(second["exits"], FULL), wrong(second["exits"], CASCADE)
    apart = max(abs(a - b) for a, b in zip(before, after, strict=True))
    margin = max(abs(a - b) for a, b in zip(after, exits, strict=True))
    fewer = [e <= b for e, b in zip(exits, before, strict=True)]
    said.append(
        f"Against the full network of the first try, the exits of the second make no more errors {in_seeds(fewer)}. "
        f"Two trainings of one full network differ by up to {apart} errors; the second try's full network and exits by "
        f"up to {margin}."
    )
    return "\n".join(said)


@in_lines
def clock_words(results: Mapping[str, Any]) -> str:
    runs = results["exits"]
    counted = [microseconds(run, WITHOUT) / microseconds(run, TRUNK) for run in runs]
    by_theirs = [microseconds(run, WITHOUT) / trunk_alone(run) for run in runs]
    return (
        f"Trained for {results['settings']['joint_epochs']} epochs, the trunk makes "
        f"{plots.mean_and_range(wrong(runs, TRUNK))} errors with its exit and "
        f"{plots.mean_and_range(wrong(runs, WITHOUT))} without; the full network, trained for "
        f"{results['settings']['epochs']}, makes {plots.mean_and_range(wrong(runs, FULL))}.\n"
        f"The exit makes its trunk {plots.mean_and_range(counted, 1)} times faster, by BranchyNet's clock "
        f"{plots.mean_and_range(by_theirs, 1)} times. Run by torch's default way, as here, it could be at most "
        f"{plots.mean_and_range(ceilings(runs), 1)} times: the first convolution and its pooling, which every digit "
        f"passes, take {np.mean(np.divide(100, ceilings(runs))):.0f}% of the time of the trunk."
    )


@in_lines
def control_words(results: Mapping[str, Any]) -> str:
    runs, control = results["exits"], rival(results)
    without = [system for system in runs[0]["race"] if system.startswith("no exit")]
    best = min(without, key=lambda system: np.mean(wrong(runs, system)))
    said = []
    both = {"Nearest in time": control, "Fewest errors": best}
    for who, system in both.items() if control != best else [("Nearest in time, and fewest errors,", best)]:
        spent = [microseconds(run, system) / microseconds(run, CASCADE) for run in runs]
        fewer = [run["race"][CASCADE]["errors"] < run["race"][system]["errors"] for run in runs]
        errors, exits = (plots.mean_and_range(wrong(runs, each)) for each in (system, CASCADE))
        said.append(
            f"{who} without exits: {named(system)}. Takes {plots.mean_and_range(spent, 2)} times the time of the "
            f"exits, and makes {errors} errors against {exits}: the exits make fewer {in_seeds(fewer)}."
        )
    added = [run["race"][BOTH]["errors"] < run["race"][SECOND]["errors"] for run in runs]
    said.append(f"On all digits both networks, added, make fewer errors than the second alone {in_seeds(added)}.")
    return "\n".join(said)


def expected_cost_of(run: Mapping[str, Any], leave: Sequence[float]) -> float:
    """Microseconds an image by the costs of the parts, each clocked alone, if these shares leave at each exit."""
    first, second, *_ = *leave, 0.0
    costs = run["costs"]
    return costs["first"] + (1 - first) * costs["second"] + (1 - first - second) * costs[run["fastest"]]


@in_lines
def cost_words(results: Mapping[str, Any]) -> str:
    found = [
        microseconds(run, CASCADE) / expected_cost_of(run, run["race"][CASCADE]["leave"]) for run in results["exits"]
    ]
    return (
        f"The exits take {plots.mean_and_range(found, 2)} times what their shares and the costs of their parts, each "
        "clocked alone, add up to."
    )


def batch_table(results: Mapping[str, Any]) -> plots.Table:
    """The race in batches: microseconds an image, times faster than the full network, errors."""
    runs = results["exits"]

    def spent(run: Mapping[str, Any], system: str) -> float:
        return float(np.median(run["batches"][system]["processor"]))

    rows = [
        [
            system,
            plots.mean_and_range([spent(run, system) for run in runs], 1),
            plots.mean_and_range([spent(run, FULL) / spent(run, system) for run in runs], 1),
            plots.mean_and_range([run["batches"][system]["errors"] for run in runs]),
        ]
        for system in runs[0]["batches"]
    ]
    columns = [f"batches of {results['batch']}", "µs an image", "times faster than the full network"]
    return plots.Table([*columns, "test errors of 10,000"], rows)


@in_lines
def batch_words(results: Mapping[str, Any]) -> str:
    runs = results["exits"]
    alone, together = (
        [
            float(np.median(run[race][FULL]["processor"])) / float(np.median(run[race][IN_TORCH]["processor"]))
            for run in runs
        ]
        for race in ("race", "batches")
    )
    gain = [microseconds(run, FULL) / float(np.median(run["batches"][FULL]["processor"])) for run in runs]
    strict = [
        min(float(np.median(v["processor"])) for name, v in run["batches"].items() if name.startswith("full network"))
        / float(np.median(run["batches"][IN_TORCH]["processor"]))
        for run in runs
    ]
    return (
        f"In batches of {results['batch']} the full network takes {plots.mean_and_range(gain, 1)} times less an image "
        "than alone, without any exit. The same exits, in torch, make it "
        f"{plots.mean_and_range(together, 1)} times faster in batches, and {plots.mean_and_range(alone, 1)} times one "
        f"image at a time. Against the full network's fastest way in batches it is {plots.mean_and_range(strict, 1)} "
        "times."
    )


@in_lines
def noise_words(results: Mapping[str, Any]) -> str:
    noise = [run["noise"] for run in results["gates"]]
    lifted = [n["REINFORCE, 1 added to each reward"] / n["REINFORCE with baseline, 1 added"] for n in noise]
    plain = [n["REINFORCE"] / n["REINFORCE with baseline"] for n in noise]
    mean = f"{np.mean([run['fixed']['rewards'] for run in results['gates']]):.2f}".replace("-", "−")
    return (
        f"The rewards have a mean of {mean} over the settings, and a baseline makes the noise "
        f"{plots.mean_and_range(plain, 2)} times smaller; "
        f"with 1 added to each, {plots.mean_and_range(lifted, 1)} times."
    )


@in_lines
def gates_words(results: Mapping[str, Any]) -> str:
    runs = results["gates"]
    better = [run["ways"]["exact"]["reward"] > run["fixed"]["reward"] for run in runs]
    best = [max(way["reward"] for name, way in run["ways"].items() if name != "exact") for run in runs]
    exact = [run["ways"]["exact"]["reward"] >= b for run, b in zip(runs, best, strict=True)]
    fixed = [max(run["fixed"]["training_rewards"]) for run in runs]
    learned = [run["ways"]["exact"]["training_reward"] > f for run, f in zip(runs, fixed, strict=True)]
    gap = np.mean([run["ways"]["exact"]["training_reward"] - f for run, f in zip(runs, fixed, strict=True)])
    lost = np.mean([run["ways"]["exact"]["reward"] - run["fixed"]["reward"] for run in runs])
    apart = [abs(w["hard_errors"] - w["soft_errors"]) for run in runs for w in run["ways"].values()]
    room = float(np.mean([run["best_of_each"] for run in runs]))
    return (
        f"The exact gradient's gates have a higher test reward than the best fixed setting "
        f"{in_seeds(better)}, and at least "
        f"that of every other way {in_seeds(exact)}.\n"
        f"On the digits that they learned from it is higher than that of the setting that is best there "
        f"{in_seeds(learned)}; in the mean the two differ by {gap:+.4f} there, and by {lost:+.4f} on test digits.\n"
        f"Hard and soft errors differ by up to {max(apart)}.\n"
        f"Gates that knew the best setting of each image would reach {room:.4f}".replace("-", "−")
        + ", but that choice uses the label, which no gate has."
    )


@in_lines
def skipping_words(results: Mapping[str, Any]) -> str:
    spent = [{n: float(np.median(v)) for n, v in run["race"].items()} for run in results["gates"]]
    multiply = [s["gates that multiply"] > s["no gates"] for s in spent]
    skip = [s["gates that skip"] < s["no gates"] for s in spent]
    return (
        f"Gates that multiply are slower than all four blocks without gates {in_seeds(multiply)}; gates that skip are "
        f"faster than these {in_seeds(skip)}."
    )


@in_lines
def widths_words(results: Mapping[str, Any]) -> str:
    errors = [run["errors"] for run in results["widths"]]
    collapse = [e["shared"][0] > 2 * e["own"][0] for e in errors]
    mended = [e["shared, calibrated"][0] < e["shared"][0] for e in errors]
    parameters = results["widths"][0]["parameters"]
    price = [o - s for e in errors for o, s in zip(e["own"], e["one network a width"], strict=True)]
    return (
        f"At width ¼ the shared normalization makes more than twice the errors of private ones {in_seeds(collapse)}; "
        f"calibrated it makes fewer than as it was {in_seeds(mended)}.\n"
        f"Against one network a width, the slimmable one with its own normalizations makes "
        f"{np.mean(price):+.0f} errors in "
        f"the mean over all widths and seeds ({min(price):+d} to {max(price):+d}), with one set of weights: the four "
        f"networks together have {sum(parameters) / max(parameters):.1f} times as many.".replace("-", "−")
    )


@in_lines
def stream_words(results: Mapping[str, Any]) -> str:
    runs = results["stream"]
    budgets, spent = (
        np.array([[of(part) for part in run["parts"]] for run in runs])
        for of in (lambda part: part["budget"], lambda part: part["found"]["exits"]["processor"][0])
    )
    lowest = int(budgets[0].argmin())
    kept = spent <= 1.1 * budgets
    changed = np.array([[part["thresholds"] != run["parts"][0]["thresholds"] for part in run["parts"]] for run in runs])
    others = np.delete(changed, [0, lowest], axis=1)
    fit = [part["width_fits"] for run in runs for part in run["parts"]]
    width_kept = sum(
        part["found"]["widths"]["processor"][0] <= 1.1 * part["budget"] for run in runs for part in run["parts"]
    )
    times_of = [list(run["width_microseconds"].values()) for run in runs]
    over = spent[:, lowest] / budgets[:, lowest]
    by_leave = [
        expected_cost_of(race, run["parts"][lowest]["found"]["exits"]["leave"]) / run["parts"][lowest]["budget"]
        for run, race in zip(runs, results["exits"], strict=True)
    ]
    wrong_of = np.array([[part["found"]["exits"]["errors"] for part in run["parts"]] for run in runs])
    halves = slice(0, lowest), slice(lowest + 1, None)
    narrowest = [
        part["found"]["widths"]["processor"][0] for run in runs for part in run["parts"] if part["width"] == 0.25
    ]
    return (
        f"The exits' thresholds differ from those of the first part {in_seeds(changed[:, lowest])} at the lowest "
        f"budget, and in {others.sum()} of {others.size} parts at the other budgets. They keep the lowest budget (and "
        f"a tenth) {in_seeds(kept[:, lowest])}, and all budgets together in {kept.sum()} of {kept.size} parts. Of the "
        f"lowest they spend {plots.mean_and_range(over, 2)} times as much; by who leaves where, and what that cost on "
        f"validation digits, it would be {plots.mean_and_range(by_leave, 2)} times.\n"
        "The digits before the lowest budget and those after it see the same budgets and the same thresholds. "
        f"They cost {' and '.join(f'{spent[:, half].mean():.1f}' for half in halves)} µs, and "
        f"{' and '.join(f'{wrong_of[:, half].mean():.1f}' for half in halves)} errors of "
        f"{results['settings']['stream_digits']:,}: the later ones are "
        f"{'easier' if wrong_of[:, halves[1]].mean() < wrong_of[:, halves[0]].mean() else 'no easier'}.\n"
        f"A width fits the budget in {sum(fit)} of {len(fit)} parts, by its cost on validation digits; for the rest "
        f"even width ¼ is too slow. What was spent kept the budget (and a tenth) in {width_kept} parts. One image "
        f"at a time it is only {plots.mean_and_range([t[-1] / t[0] for t in times_of], 1)} times faster than width 1: "
        "calls, not multiplications, take the time. Each part was clocked once: for the same work width ¼ took between "
        f"{min(narrowest):.0f} and {max(narrowest):.0f} µs.\n"
        "The two are different networks: the exits are compiled, and LeNet-5 taught them on "
        f"{results['data']['train']:,} digits; the slimmable one runs in torch, learned from "
        f"{results['settings']['few_digits']:,}. Compare each with the budget, not with the other."
    )
