"""Tables and figures of lecture 07 and of its lab."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from course_utils import plots

Masks = Mapping[str, Tensor]
Gains = Mapping[tuple[str, str, float], Mapping[str, Sequence[float]]]  # by case and rival, one for each seed

WHOLE = ("dense, pre-trained", "dense, from scratch")
MASKED = (
    "pre-training's mask",
    "the task's own mask",
    "magnitude of the pre-trained weights",
    "shuffled mask",
    "pre-training's mask, weights from scratch",
)
RIVALS = {
    "dense": "dense, pre-trained",
    "shuffled mask": "shuffled mask",
    "magnitude": "magnitude of the pre-trained weights",
    "the task's own mask": "the task's own mask",
    "weights from scratch": "pre-training's mask, weights from scratch",
}
MARGIN = 1.0  # points of accuracy within which two networks count as equal


# --- lecture: tickets -------------------------------------------------------------------------------------------------


def ticket_in_four_steps() -> None:
    """Draw two layers of units four times: at first, trained, pruned, and pruned with their first weights."""
    figure, axes = plots.new_figure(1, 4, width=10.5, height=2.6)
    layout = np.random.RandomState(4)
    left, right = np.linspace(0, 1, 5), np.linspace(0.1, 0.9, 4)
    first = layout.normal(size=(5, 4))
    last = 1.6 * first + 0.6 * layout.normal(size=(5, 4))  # training moves weights; few that stay change their sign
    kept = np.abs(last) > np.sort(np.abs(last).ravel())[13]
    every = np.ones_like(kept)
    stages = [
        ("a  first weights θ₀", first, every),
        ("b  trained", last, every),
        ("c  the largest stay: mask m", last, kept),
        ("d  the ticket m ⊙ θ₀", first, kept),
    ]
    for axis, (title, weights, mask) in zip(axes, stages, strict=True):
        colour = plots.COLOURS[1 if weights is first else 2]
        for i, k in np.argwhere(mask):
            width, style = 0.4 + 1.5 * abs(weights[i, k]), "-" if weights[i, k] > 0 else "--"
            axis.plot([0, 1], [left[i], right[k]], style, marker="", linewidth=width, color=colour)
        axis.plot([0] * 5, left, "o", linestyle="", color="black")
        axis.plot([1] * 4, right, "o", linestyle="", color="black")
        axis.set_title(title, fontsize=11)
        axis.set_axis_off()
    plots.show(
        figure,
        "Four drawings of the same two layers of units. First: all connections, thin and thick, solid for positive and "
        "dashed for negative weights. Second: the same, trained, with other widths. Third: only the widest of the "
        "trained ones are left. Fourth: the same few connections with the widths and the signs that "
        "they had in the first drawing.",
    )


def remaining_table(weights: int, whole: Mapping[int, float], output: Mapping[int, float]) -> plots.Table:
    """What is left of so many weights. whole: fraction of all weights by rounds; output: of the output layer's."""
    rows = [[r, f"{left:.2%}", f"{left * weights:,.0f}", f"{output[r]:.1%}"] for r, left in whole.items()]
    return plots.Table(["rounds", "P_m", "weights left", "of the output layer"], rows)


def by_seed(results: Mapping[str, Any], network: str, number: int, key: str) -> dict[int, float]:
    """A quantity of `course reproduce lottery` by seed; empty if it was not measured.

    network: 'dense', 'ticket' or the name of a control. number: the round, 0 for the dense network.
    """
    return {row["seed"]: row[key] for row in _by_network(results).get((network, number), [])}


def _by_network(results: Mapping[str, Any]) -> dict[tuple[str, int], list[dict[str, Any]]]:
    """What was measured of each network in each round, a dict for each seed."""
    found: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for run in results["runs"]:
        for row in [*run["tickets"], *run["controls"]]:
            name = "dense" if (row["condition"], row["round"]) == ("ticket", 0) else row["condition"]
            found.setdefault((name, row["round"]), []).append(row | {"seed": run["seed"]})
    return found


def _written(values: Mapping[int, float], digits: int = 0, factor: float = 1.0) -> str:
    return plots.mean_and_range([factor * value for value in values.values()], digits) if values else "—"


def censored(settings: Mapping[str, Any], early_stop: float) -> bool:
    """Whether a run ended at the last iteration that was allowed, before its least validation loss was old enough."""
    return early_stop > settings["most_iterations"] - settings["patience"]


def results_table(results: Mapping[str, Any]) -> plots.Table:
    """Dense network, tickets of every second round, and all controls, from the largest to the smallest; ≥ where a run
    was ended before its early stop was certain."""
    rows, seeds = [], []
    networks = _by_network(results)
    for name, number in sorted(networks, key=lambda key: (key[1], key[0] != "ticket", key[0])):
        if name == "ticket" and number % 2 == 0:
            continue
        found = networks[name, number]
        early, wrong, end, untrained = (
            by_seed(results, name, number, key)
            for key in ("early_stop", "test_errors", "test_errors_end", "test_errors_untrained")
        )
        least = "≥ " if any(censored(results["settings"], stop) for stop in early.values()) else ""
        untouched = _written(untrained, 0, 0.01)
        cells = [least + _written(early), _written(wrong, 2, 0.01), _written(end, 2, 0.01), untouched]
        rows.append([f"{found[0]['remaining']:.1%}", name, len(found), *cells])
        seeds.append(len(found))
    columns = ["P_m", "network", "seeds", "early stop (iteration)", "test error there (%)"]
    return plots.Table([*columns, "at iteration 8,000 (%)", "untrained (%)"], rows, seeds=seeds)


def pruning_curves(results: Mapping[str, Any]) -> None:
    """Draw early stop and test error of tickets and controls against the weights kept, mean and range over seeds."""
    networks = _by_network(results)
    figure, axes = plots.new_figure(1, 2, width=10, height=3.8)
    panels = (("early_stop", 1, "early-stopping iteration"), ("test_errors", 0.01, "test error at early stop (%)"))
    for axis, (key, factor, label) in zip(axes, panels, strict=True):
        for condition in ("ticket", "reinitialized", "shuffled mask"):
            names = {number: name for name, number in networks if name == condition}
            if condition == "ticket":
                names[0] = "dense"
            points = [networks[names[number], number] for number in sorted(names)]
            kept = [100 * found[0]["remaining"] for found in points]
            values = [[factor * row[key] for row in found] for found in points]
            (line,) = axis.plot(kept, [np.mean(v) for v in values], label=condition)
            lowest, highest = [min(v) for v in values], [max(v) for v in values]
            axis.vlines(kept, lowest, highest, color=line.get_color(), alpha=0.5)
            ended = [any(censored(results["settings"], stop) for stop in v) for v in values]
            if key == "early_stop" and any(ended):
                at = [place for place, cut in zip(kept, ended, strict=True) if cut]
                tops = [high for high, cut in zip(highest, ended, strict=True) if cut]
                axis.plot(at, tops, linestyle="", marker=6, markersize=9, color=line.get_color())
        dense = np.mean([factor * row[key] for row in networks["dense", 0]])
        axis.axhline(dense, color="#777777", linewidth=1, linestyle=":", marker="", label="dense")
        axis.set(xscale="log", xlabel="weights kept (%)", ylabel=label)
        axis.set_xticks([100, 50, 20, 10, 5], ["100", "50", "20", "10", "5"])
        axis.minorticks_off()
        axis.invert_xaxis()
        axis.legend()
    plots.show(
        figure,
        "Two panels against the percentage of weights kept, from all on the left to few on the right. Left, the "
        "early-stopping iteration: the tickets' begins at the dense network's, has a bump above it at half of the "
        "weights, lies well below it from 40 to 10 percent, and comes back to it when few weights are left; the two "
        "controls' rise to several times as much, and arrows at the smallest size mark runs that were ended before "
        "they were through. Right, the test error: the tickets' falls below the dense network's, is least from 20 to 9 "
        "percent, and comes back towards it; the controls' begin a little below it at half of the weights and rise far "
        "above it; the tickets' is lower than the controls' where both were trained.",
    )


def claims_table(results: Mapping[str, Any]) -> plots.Table:
    """The paper's claims for LeNet at 21%, in seven rounds, against ours, seed by seed."""
    stops, wrong = (
        {
            name: by_seed(results, name, number, key)
            for name, number in (("dense", 0), ("ticket", 7), ("reinitialized", 7))
        }
        for key in ("early_stop", "test_errors")
    )
    earlier = [1 - t / d for t, d in _pairs(stops["ticket"], stops["dense"])]
    faster = [r / t for r, t in _pairs(stops["reinitialized"], stops["ticket"])]
    better = [(r - t) / 100 for r, t in _pairs(wrong["reinitialized"], wrong["ticket"])]
    no_worse = [(d - t) / 100 for d, t in _pairs(wrong["dense"], wrong["ticket"])]

    def row(claim: str, said: str, ours: str, values: list[float], published: float, nothing: float) -> list[object]:
        return [claim, said, ours, len(values), verdict(values, published, nothing)]

    paper, written = results["paper"], plots.mean_and_range
    percent = written([100 * value for value in earlier]) + "%"
    rows = [
        row("early stop earlier than dense, by", "38%", percent, earlier, paper["earlier"], 0),
        row(
            "early stop faster than reinitialized, times",
            "2.51",
            written(faster, 2) + "×",
            faster,
            paper["faster_than_reinitialized"],
            1,
        ),
        row("more accurate than reinitialized, points", "0.5", written(better, 2), better, paper["points"], 0),
        row("no less accurate than dense, points", "≥ 0", written(no_worse, 2), no_worse, 0, -1e-9),
    ]
    columns = ["claim at 21%", "paper", "ours, mean (lowest–highest)", "seeds", "verdict"]
    return plots.Table(columns, rows, seeds=[row[3] for row in rows])


def _pairs(a: Mapping[int, float], b: Mapping[int, float]) -> list[tuple[float, float]]:
    """Both values of each seed that has both."""
    return [(a[seed], b[seed]) for seed in a if seed in b]


def verdict(values: Sequence[float], published: float, nothing: float) -> str:
    """What seeds say of a claim. values: one for each seed. nothing: the value at which there is no effect."""
    if len(values) < 3:
        return "not testable with so few seeds"
    if min(values) <= nothing:
        return "not confirmed"
    if np.mean(values) >= published:
        return "confirmed"
    return "consistent with it" if max(values) >= published else "in direction only"


def rewinding_table(results: Mapping[str, Any]) -> plots.Table:
    """At 3.6% of the weights, in fifteen rounds: the ticket, the one rewound to a later iteration, and the control."""
    rows = []
    for name in ("ticket", "rewound to a later iteration", "reinitialized"):
        stops, wrong = (by_seed(results, name, 15, key) for key in ("early_stop", "test_errors"))
        least = "≥ " if any(censored(results["settings"], stop) for stop in stops.values()) else ""
        rows.append([name, len(stops), least + _written(stops), _written(wrong, 2, 0.01)])
    columns = ["at 3.6% of the weights", "seeds", "early stop (iteration after the start)", "test error (%)"]
    return plots.Table(columns, rows, seeds=[row[1] for row in rows])


def barrier(errors: Sequence[float]) -> float:
    """How much worse the worst point of a line is than the mean of its ends (Frankle 2020, section 2)."""
    ends = (errors[0] + errors[-1]) / 2
    return max(errors) - ends


def _connected(results: Mapping[str, Any], network: str, k: str) -> list[dict[str, Any]]:
    """What `course reproduce connectivity` found from iteration k on, a dict for each seed."""
    return [run["from"][k] for run in results["runs"][network]]


def lines_between(results: Mapping[str, Any]) -> None:
    """Draw the test error along the lines between two trainings, of dense networks and of tickets, a panel for each
    network: thin for each seed, thick their mean."""
    figure, axes = plots.new_figure(1, 2, width=10, height=3.8)
    for axis, network in zip(axes, results["runs"], strict=True):
        conditions = [(kind, k) for kind in ("dense", "ticket") for k in map(str, results["settings"]["rewound_to"])]
        for number, (kind, k) in enumerate(conditions):
            errors = np.array([found[kind] for found in _connected(results, network, k)])
            shares = np.linspace(0, 1, errors.shape[1])
            style = {"color": plots.COLOURS[number], "linestyle": plots.LINES[number]}
            axis.plot(shares, errors.T, linewidth=0.5, alpha=0.5, marker="", **style)
            axis.plot(
                shares, errors.mean(0), marker=plots.MARKERS[number], label=f"{kind}, from iteration {k}", **style
            )
        axis.set(xlabel="α: from one training's end to the other's", ylabel="test error (%)", title=network)
        axis.set_ylim(bottom=0)
    figure.legend(*axes[0].get_legend_handles_labels(), fontsize=9, ncols=4, loc="outside lower center")
    plots.show(
        figure,
        "Two panels: test error along the straight line between two trainings that part at the first or at a later "
        "iteration, for dense networks and for tickets. The tickets' lines are nearly level, and their means lie below "
        "the dense networks' in both panels. " + " ".join(_shapes(results)),
    )


def _shapes(results: Mapping[str, Any]) -> list[str]:
    """In words which lines have a hill in every seed."""
    words = []
    for network in results["runs"]:
        hills = [
            f"{kind} from iteration {k}"
            for kind in ("dense", "ticket")
            for k in map(str, results["settings"]["rewound_to"])
            if all(barrier(found[kind]) > results["stable"] for found in _connected(results, network, k))
        ]
        words.append(f"{network}: a hill in every seed for {', '.join(hills) or 'none'}.")
    return words


def connectivity_table(results: Mapping[str, Any]) -> plots.Table:
    """Barriers, and errors of the dense network and of those of the ticket's size, by network and iteration."""
    rows, seeds = [], []
    for network in results["runs"]:
        for k in map(str, results["settings"]["rewound_to"]):
            found = _connected(results, network, k)
            barriers = [[barrier(each[kind]) for each in found] for kind in ("dense", "ticket")]
            pairs = [[(each[kind][0] + each[kind][-1]) / 2 for each in found] for kind in ("dense", "ticket")]
            small = [[each[kind] for each in found] for kind in ("at once", "shuffled")]
            rows.append([network, k, *(plots.mean_and_range(values, 1) for values in (*barriers, *pairs, *small))])
            seeds.append(len(found))
    columns = ["network", "from iteration", "barrier, dense (points)", "barrier, ticket"]
    columns += ["test error, dense (%)", "ticket", "cut at once", "mask shuffled"]
    return plots.Table(columns, rows, seeds=seeds)


def connectivity_claims(results: Mapping[str, Any]) -> plots.Table:
    """What Frankle and others say of stable and unstable networks, against ours, seed by seed."""
    fully, convolutional = results["runs"]
    first, later = map(str, results["settings"]["rewound_to"])

    def barriers(network: str, kind: str, k: str) -> list[float]:
        return [barrier(found[kind]) for found in _connected(results, network, k)]

    def errors(network: str, kind: str, k: str) -> list[float]:
        found = [each[kind] for each in _connected(results, network, k)]
        return [(each[0] + each[-1]) / 2 if isinstance(each, list) else each for each in found]

    def more(network: str, kind: str, k: str, than: str = "ticket", than_k: str = "") -> list[float]:
        pairs = zip(errors(network, kind, k), errors(network, than, than_k or k), strict=True)
        return [a - b for a, b in pairs]

    def stable(points: float) -> bool:
        return points <= results["stable"]

    def positive(points: float) -> bool:
        return points > 0

    rows: list[tuple[str, list[float], Callable[[float], bool]]] = [
        (f"{fully}: stable from iteration {first} on", barriers(fully, "dense", first), stable),
        (f"{convolutional}: not stable there", barriers(convolutional, "dense", first), lambda b: not stable(b)),
        (f"… but from iteration {later} on", barriers(convolutional, "dense", later), stable),
    ]
    for network in (fully, convolutional):
        rows += [
            (f"{network}: the ticket at {first} is stable", barriers(network, "ticket", first), stable),
            ("dense: at least as many errors as that ticket", more(network, "dense", first), lambda m: m >= 0),
            (f"that ticket: more than rewound to {later}", more(network, "ticket", first, "ticket", later), positive),
            ("cut at once: more than in rounds", more(network, "at once", first), positive),
            ("mask shuffled: more than the ticket", more(network, "shuffled", first), positive),
        ]
    table = [
        [claim, plots.mean_and_range(values, 1), in_every_seed(list(map(holds, values)))]
        for claim, values, holds in rows
    ]
    return plots.Table(["claim", "barrier, or errors more (points)", "here"], table)


def in_every_seed(holds: Sequence[bool]) -> str:
    """Whether a claim holds in every seed, and in how many; of fewer than three nothing is said."""
    if len(holds) < 3:
        return "not testable with so few seeds"
    return f"{'confirmed' if all(holds) else 'not confirmed'} ({sum(holds)} of {len(holds)} seeds)"


# --- lecture: early birds ---------------------------------------------------------------------------------------------


RULES = {
    "consecutive": "five steps < ε",
    "newest against four": "to the four before ≤ ε",
    "newest against five": "to the five before < ε",
}
AUTHORS, CODE, OURS = RULES  # what the authors write, what their code does, and `lottery.is_early_bird`


def settled_at(runs: Sequence[Mapping[str, Any]], name: str, rule: str) -> list[int]:
    """When a mask had settled by a rule, in each seed in which it had."""
    return [run["settled"][name][rule] for run in runs if run["settled"][name][rule] is not None]


def settling_table(results: Mapping[str, Any]) -> plots.Table:
    """When each kind of mask of `course reproduce early-bird` had settled, by three rules, and how far it was from the
    last one when it had by the authors' rule."""
    runs, epochs, rows, seeds = results["runs"], results["settings"]["epochs"], [], []
    for name in runs[0]["settled"]:
        keep = float(name.split(", ")[1].rstrip("%")) / 100
        cells = []
        for rule in RULES:
            after = settled_at(runs, name, rule)
            some = "" if len(after) == len(runs) else f" in {len(after)} of {len(runs)} seeds"
            cells.append(plots.mean_and_range([100 * a / epochs for a in after]) + "%" + some if after else "never")
        caught = [run for run in runs if run["settled"][name][AUTHORS] is not None]
        then = [run["distances_to_last"][name][run["settled"][name][AUTHORS] - 1] for run in caught]
        rows.append(
            [f"{name} kept", *cells, plots.mean_and_range(then, 2) if then else "—", f"{2 * keep * (1 - keep):.2f}"]
        )
        seeds.append(len(caught))
    columns = ["mask", *(f"settled: {words}" for words in RULES.values())]
    return plots.Table([*columns, "then (first rule) from the last mask", "independent masks"], rows, seeds=seeds)


def settling_curves(results: Mapping[str, Any]) -> None:
    """Draw the distance of each epoch's mask to the one before it and to the last one, by kind of mask."""
    epochs, runs = results["settings"]["epochs"], results["runs"]
    figure, axes = plots.new_figure(1, 2, width=10, height=3.8)
    panels = (("distances", 2, "to the mask before"), ("distances_to_last", 1, "to the last mask"))
    for axis, (key, first, words) in zip(axes, panels, strict=True):
        for name in runs[0]["settled"]:
            mean = np.mean([run[key][name] for run in runs], axis=0)
            axis.plot(range(first, epochs + 1), mean, label=f"{name} kept", markevery=12)
        axis.axhline(results["settings"]["epsilon"], color="#777777", linestyle=":", marker="", label="ε")
        for part in (0.5, 0.75):
            axis.axvline(part * epochs, color="#999999", linewidth=1, linestyle="--", marker="")
        axis.set(xlabel="epoch", ylabel=f"distance {words}", title=f"mean of {len(runs)} seeds")
        axis.set_ylim(bottom=0)
    figure.legend(*axes[0].get_legend_handles_labels(), fontsize=9, ncols=5, loc="outside lower center")
    plots.show(
        figure,
        "Two panels against the epoch, a line for masks of 30, 50 and 70 percent of the channels and of the largest 20 "
        "percent of the weights; vertical lines mark where the rate falls. Left, to the mask before: for 30 "
        "percent and for the weights it is soon far below a dotted line, ε; for 50 percent a little below; for 70 "
        "percent it goes up and down about it. From the first fall of the rate on all are near zero. Right, to "
        "the last mask: those of the channels rise a little at first, then all fall slowly, for 70 percent with "
        "peaks on the way, and reach zero after the rate has fallen.",
    )


def penalty_table(controls: Mapping[str, Any], results: Mapping[str, Any]) -> plots.Table:
    """When the masks of channels had settled, by the penalty on their scales. controls: of `course reproduce
    early-bird-controls`; results: of early-bird, whose own penalty comes last."""
    settings, test = results["settings"], results["data"]["test"]
    rows = []
    for penalty, runs in [*controls["penalties"].items(), (f"{settings['gamma_decay']:g}", results["runs"])]:
        for rule in RULES:
            cells = []
            for keep in settings["keep"]:
                after = [run["settled"][f"channels, {keep:.0%}"][rule] for run in runs]
                parts = [100 * a / settings["epochs"] for a in after if a is not None]
                never = "" if len(parts) == len(after) else f", {len(after) - len(parts)} never"
                cells.append((plots.mean_and_range(parts) + "%" if parts else "–") + never)
            names = [f"channels, {keep:.0%}" for keep in settings["keep"]]
            latest = [[run["settled"][name][rule] or np.inf for name in names] for run in runs]
            early = [max(each) <= results["paper"]["found_by"] * settings["epochs"] for each in latest]
            wrong = [100 * run["dense"]["test_errors"] / test for run in runs]
            found = [(run["distances_to_last"][name], run["settled"][name][rule]) for run in runs for name in names]
            then = [distances[epoch - 1] for distances, epoch in found if epoch is not None]
            from_last = f"{min(then):.2f}–{max(then):.2f}" if then else "–"
            wrongly = plots.mean_and_range(wrong, 1)
            rows.append([penalty, RULES[rule], *cells, in_every_seed(early), from_last, wrongly])
    columns = ["λ", "rule", *(f"settled, {keep:.0%} kept" for keep in settings["keep"])]
    columns += ["each by 20% of the epochs", "then from the last mask"]
    return plots.Table([*columns, "test error of dense (%)"], rows)


def _ways(results: Mapping[str, Any], size: str, way: str, key: str) -> list[float]:
    """A quantity of each seed's network: the dense one, or one of a size."""
    return [(run["dense"] if way == "dense" else run["ways"][size][way])[key] for run in results["runs"]]


def _points_by_way(
    axis: plots.Axes, results: Mapping[str, Any], size: str, key: str, factor: float, label: str
) -> None:
    """A row for each way to a size, with a dot for each seed; the dense network's range as a band behind them."""
    values = {
        way: [factor * value for value in _ways(results, size, way, key)]
        for way in ("dense", *results["runs"][0]["ways"][size])
    }
    axis.axvspan(min(values["dense"]), max(values["dense"]), color="#dddddd", zorder=0)
    plots.points_over_seeds(axis, values, label)


def ways_points(results: Mapping[str, Any]) -> None:
    """Draw the test error of each way to a smaller network, a panel for each size."""
    sizes, percent = list(results["runs"][0]["ways"]), 100 / results["data"]["test"]
    figure, axes = plots.new_figure(len(sizes), 1, width=9, height=5.8)
    figure.axes[0].get_gridspec().set_height_ratios([1 + len(results["runs"][0]["ways"][size]) for size in sizes])
    for axis, size in zip(axes, sizes, strict=True):
        _points_by_way(axis, results, size, "test_errors", percent, "test error (%)" if size == sizes[-1] else "")
        axis.set_title(f"{size} of the channels kept", fontsize=10)
    low, high = min(axis.get_xlim()[0] for axis in axes), max(axis.get_xlim()[1] for axis in axes)
    for axis in axes:
        axis.set_xlim(low, high)
    plots.show(
        figure,
        "Three panels, for 30, 50 and 70 percent of the channels: a row for each way to a network of that size, with "
        "a dot for each seed and a bar at their mean, on one axis of test error; a grey band shows the dense network's "
        "range. The fewer channels, the further the dots lie to the right of the band. " + _best_of(results),
    )


def _best_of(results: Mapping[str, Any]) -> str:
    """In words which way has the least mean error, by size."""
    words = []
    for size, ways in results["runs"][0]["ways"].items():
        best = min(ways, key=lambda way, size=size: np.mean(_ways(results, size, way, "test_errors")))
        words.append(f"at {size} {best}")
    return "The least mean error of the smaller networks: " + "; ".join(words) + "."


def ways_table(results: Mapping[str, Any]) -> plots.Table:
    """What each way to a smaller network costs, and its error in percent, by size."""
    percent, rows = 100 / results["data"]["test"], []
    sizes = {"all": ["dense"]} | {size: list(ways) for size, ways in results["runs"][0]["ways"].items()}
    for size, ways in sizes.items():
        for way in ways:
            wrong, seconds, macs, joules = (
                _ways(results, size, way, key) for key in ("test_errors", "seconds", "macs", "modelled_joules")
            )
            wrong = plots.mean_and_range([percent * value for value in wrong], 1)
            cost = [plots.mean_and_range(seconds), f"{np.mean(macs) / 1e9:.0f}", f"{np.mean(joules):.1f}"]
            rows.append([size, way, wrong, *cost])
    columns = ["channels", "way", "test error (%)", "seconds, search included", "training MACs (billions)"]
    return plots.Table([*columns, "joules by the cost model"], rows)


def widths_table(controls: Mapping[str, Any], results: Mapping[str, Any]) -> plots.Table:
    """Networks from scratch with the widths that the ranking has found, and with the same part of each layer."""
    percent, rows = 100 / results["data"]["test"], []
    for size, even in controls["even"].items():
        found = [run["ways"][size]["its widths from scratch"] for run in results["runs"]]
        more = [percent * (f["test_errors"] - e["test_errors"]) for f, e in zip(found, even, strict=True)]
        for name, each in (("found by |γ|", found), ("the same part of each layer", even)):
            widths = " or ".join(dict.fromkeys("–".join(map(str, one["widths"])) for one in each))
            wrong = plots.mean_and_range([percent * one["test_errors"] for one in each], 1)
            macs = f"{np.mean([one['macs'] for one in each]) / 1e9:.0f}"
            better = in_every_seed([m < 0 for m in more]) if each is found else "—"
            rows.append([size, name, widths, macs, wrong, better])
    columns = ["channels", "widths", "of the three layers", "training MACs (billions)", "test error (%)"]
    return plots.Table([*columns, "fewer errors than even ones"], rows)


def early_bird_claims(results: Mapping[str, Any]) -> plots.Table:
    """The claims of You 2020 against ours, seed by seed."""
    runs, settings, paper = results["runs"], results["settings"], results["paper"]
    epochs, allowed = settings["epochs"], settings["comparable"]
    percent, whole = 100 / results["data"]["test"], f"{settings['cut_to']:.0%}"
    rows: list[list[str]] = []
    for rule, words in RULES.items():
        earliest = (settings["window"] + (rule != CODE)) / epochs  # the first two others look back one epoch further
        after = {size: settled_at(runs, f"channels, {size}", rule) for size in runs[0]["ways"]}
        early = [
            all(
                (found := run["settled"][f"channels, {size}"][rule]) and found <= paper["found_by"] * epochs
                for size in after
            )
            for run in runs
        ]
        ours = ", ".join(
            f"{size}: {100 * np.mean(found) / epochs:.0f}%" if found else f"{size}: never"
            for size, found in after.items()
        )
        verdict = (
            f"not testable: with {epochs} epochs {earliest:.0%} is the earliest that the rule allows"
            if earliest >= paper["found_by"]
            else in_every_seed(early)
        )
        claim = f"settled by 20% of the epochs at each size, λ = {settings['gamma_decay']:g} ({words})"
        rows.append([claim, "very early; the deck: 15–20%", ours, verdict])

    def more(size: str, way: str, than: str) -> list[float]:
        pairs = zip(_ways(results, size, way, "test_errors"), _ways(results, size, than, "test_errors"), strict=True)
        return [percent * (a - b) for a, b in pairs]

    def times(than: str, key: str) -> list[float]:
        pairs = zip(_ways(results, whole, than, key), _ways(results, whole, "early bird", key), strict=True)
        return [a / b for a, b in pairs]

    def points(claim: str, said: str, values: list[float], holds: Callable[[float], bool]) -> None:
        ours = f"{plots.mean_and_range(values, 1)} points more"
        rows.append([claim, said, ours, in_every_seed(list(map(holds, values)))])

    for size in runs[0]["ways"]:
        within = f"{size} kept: at most {allowed:g} point more errors than dense"
        points(within, "comparable", more(size, "early bird", "dense"), lambda p: p <= allowed)
    again = "dense, then cut and train again"
    within = f"{whole} kept: at most {allowed:g} point more than cut after training"
    points(within, "comparable or better", more(whole, "early bird", again), lambda p: p <= allowed)
    for size in runs[0]["ways"]:
        for control in ("random channels, as many", "its widths from scratch"):
            points(f"{size} kept: {control}: more errors", "–", more(size, control, "early bird"), lambda p: p > 0)
    control = "early bird, weights drawn anew"
    points(f"{whole} kept: {control}: more errors", "–", more(whole, control, "early bird"), lambda p: p > 0)
    for than, said in ((again, "–"), ("dense", "–")):
        faster = times(than, "seconds")
        written = plots.mean_and_range(faster, 1) + "× the time"
        rows.append([f"{whole} kept: {than}: more time", said, written, in_every_seed([f > 1 for f in faster])])
    lighter = plots.mean_and_range(times(again, "modelled_joules"), 1) + "× in the model"
    rows.append([f"{whole} kept: {again}: more energy", f"up to {paper['energy']}×", lighter, "not testable here"])
    return plots.Table(["claim", "paper", "ours", "verdict"], rows)


def few_images_table(results: Mapping[str, Any]) -> plots.Table:
    """The search on a tenth of the images beside that on all of them, at the size for which all ways are tried."""
    runs, settings = results["runs"], results["settings"]
    size, percent = f"{settings['cut_to']:.0%}", 100 / results["data"]["test"]
    own, other = "early bird", "early bird, its mask from a tenth of the images"
    wrong = {way: [percent * v for v in _ways(results, size, way, "test_errors")] for way in (own, other)}
    random = [percent * v for v in _ways(results, size, "random channels, as many", "test_errors")]
    worse = [b - a for a, b in zip(wrong[own], wrong[other], strict=True)]
    better = [r - b for r, b in zip(random, wrong[other], strict=True)]
    rows = [
        ["settled, all images (epoch)", plots.mean_and_range(settled_at(runs, f"channels, {size}", AUTHORS)), "–"],
        ["settled, a tenth of them (epoch)", plots.mean_and_range([run["few"]["settled"] for run in runs]), "–"],
        ["distance of the two masks", plots.mean_and_range([run["few"]["masks_apart"] for run in runs], 2), "–"],
        [
            f"mask of a tenth: at most {settings['comparable']:g} point more errors",
            f"{plots.mean_and_range(worse, 1)} points more",
            in_every_seed([w <= settings["comparable"] for w in worse]),
        ],
        [
            "random channels: more errors than the mask of a tenth",
            f"{plots.mean_and_range(better, 1)} points more",
            in_every_seed([b > 0 for b in better]),
        ],
    ]
    return plots.Table([f"search on {results['data']['few']} images, {size} kept", "ours", "verdict"], rows)


# --- lecture: early birds in transformers -----------------------------------------------------------------------------

TEXT = "text"  # of the two tasks the one whose perplexity is compared in percent


def coefficient_curves(results: Mapping[str, Any]) -> None:
    """Draw the distance of each look's masks of heads and neurons to the last ones, a panel for each task."""
    figure, axes = plots.new_figure(1, 2, width=10, height=3.8)
    looks = results["settings"]["looks"]
    for axis, (task, runs) in zip(axes, results["runs"].items(), strict=True):
        for size in runs[0]["distances"]:
            for kind, part in zip(("heads", "neurons"), size.split(", "), strict=True):
                mean = np.mean([run["distances"][size][kind]["to the last"] for run in runs], axis=0)
                axis.plot(100 * np.arange(1, looks + 1) / looks, mean, label=f"{part} kept", markevery=12)
        axis.axhline(results["settings"]["epsilon"], color="#777777", linestyle=":", marker="", label="ε")
        axis.set(xlabel="of the training (%)", ylabel="distance to the last mask")
        axis.set_title(f"{task}: mean of {len(runs)} seeds")
        axis.set_ylim(bottom=0)
    figure.legend(*axes[0].get_legend_handles_labels(), fontsize=9, ncols=5, loc="outside lower center")
    plots.show(
        figure,
        "Two panels, text and images: the distance of the masks of heads and of neurons to the last ones against the "
        "part of the training that is over, for two sizes. All reach zero at last; the lines of the heads, of which "
        "there are few, in steps, some of them up again even late, those of the neurons smoothly.",
    )


def transformer_points(results: Mapping[str, Any]) -> None:
    """Draw what each way to a smaller transformer brings, a row of panels for each size, a column for each task."""
    sizes = list(results["runs"][TEXT][0]["ways"])
    heights = [1 + len(results["runs"][TEXT][0]["ways"][size]) for size in sizes]
    figure, axes = plots.new_figure(len(sizes), 2, width=10, height=5.6)
    figure.axes[0].get_gridspec().set_height_ratios(heights)
    for row, size in zip(axes, sizes, strict=True):
        for axis, (task, runs) in zip(row, results["runs"].items(), strict=True):
            label = f"{task}: {results['quantities'][task]}"
            _points_by_way(axis, {"runs": runs}, size, "test", 1, label)
            axis.set_title(size, fontsize=9)
        row[1].set_yticklabels([])
    plots.show(
        figure,
        "Four panels: left the perplexity of text, right the errors on images; above the larger networks, below the "
        "smaller ones; a row for each way, with a dot for each seed and a bar at their mean, and a grey band at the "
        "dense network's range. " + " ".join(_best_transformers(results)),
    )


def _best_transformers(results: Mapping[str, Any]) -> list[str]:
    """In words the smaller networks of each task and size, the best first."""
    words = []
    for task, runs in results["runs"].items():
        for size, ways in runs[0]["ways"].items():
            order = sorted(
                ways, key=lambda way, runs=runs, size=size: np.mean(_ways({"runs": runs}, size, way, "test"))
            )
            words.append(f"{task}, {size}, the best first: {'; '.join(order)}.")
    return words


def transformer_table(results: Mapping[str, Any]) -> plots.Table:
    """When the masks had settled, and what each way costs and brings, by task and size."""
    rows, looks = [], results["settings"]["looks"]
    for task, runs in results["runs"].items():
        whole = {"all": ["dense"]} | {size: list(ways) for size, ways in runs[0]["ways"].items()}
        for size, ways in whole.items():
            for way in ways:
                brings, seconds, macs = (_ways({"runs": runs}, size, way, key) for key in ("test", "seconds", "macs"))
                after = [] if size == "all" else settled_at(runs, size, AUTHORS)
                found = plots.mean_and_range([100 * a / looks for a in after]) + "%" if after else "—"
                cost = [plots.mean_and_range(seconds), f"{np.mean(macs) / 1e9:.0f}"]
                rows.append([task, size, way, found, plots.mean_and_range(brings, 2), *cost])
    columns = ["task", "kept", "way", "settled at", "perplexity, or errors (%)", "seconds, search included"]
    return plots.Table([*columns, "training MACs (billions)"], rows)


def transformer_claims(results: Mapping[str, Any]) -> plots.Table:
    """What is claimed of early birds in transformers against ours, seed by seed: a column for each task and size."""
    allowed, looks = results["settings"]["comparable"], results["settings"]["looks"]
    ticket, shuffled = "early bird, first weights", "random mask, first weights"
    rivals = [(shuffled, ticket), ("its widths from scratch", ticket), ("its widths from scratch", shuffled)]
    rivals += [("random mask, trained on", "early bird, trained on"), ("early bird, trained on", ticket)]
    columns: dict[str, dict[str, str]] = {}
    for task, runs in results["runs"].items():
        for size in runs[0]["ways"]:
            of = {
                way: {key: _ways({"runs": runs}, size, way, key) for key in ("test", "seconds")}
                for way in ("dense", *runs[0]["ways"][size])
            }
            cells = columns[f"{task}, {size}"] = {}
            for rule, words in RULES.items():
                after = settled_at(runs, size, rule)
                early = [a <= 0.2 * looks for a in after] + [False] * (len(runs) - len(after))
                written = plots.mean_and_range([100 * a / looks for a in after]) + "%" if after else "never"
                cells[f"settled by 20% ({words})"] = f"{written}: {in_every_seed(early)}"
            pairs = list(zip(of[ticket]["test"], of["dense"]["test"], strict=True))
            # Percent of a perplexity, points of an error
            more = [100 * (t / d - 1) for t, d in pairs] if task == TEXT else [t - d for t, d in pairs]
            written = plots.mean_and_range(more, 1) + ("%" if task == TEXT else " points")
            claim = f"{ticket}: at most {allowed:g} (text: %, images: point) worse than dense"
            cells[claim] = f"{written}: {in_every_seed([m <= allowed for m in more])}"
            for worse, better in rivals:
                if {worse, better} <= set(of):
                    ahead = [w - b for w, b in zip(of[worse]["test"], of[better]["test"], strict=True)]
                    verdict = in_every_seed([a > 0 for a in ahead])
                    cells[f"{worse}: worse than {better}"] = f"{plots.mean_and_range(ahead, 2)}: {verdict}"
            saved = [100 * (1 - t / d) for t, d in zip(of[ticket]["seconds"], of["dense"]["seconds"], strict=True)]
            verdict = in_every_seed([s > 0 for s in saved])
            cells[f"{ticket}: less time than dense"] = f"{plots.mean_and_range(saved)}%: {verdict}"
    claims = max(columns.values(), key=len)
    return plots.Table(
        ["claim", *columns],
        [[claim, *(cells.get(claim, "not tried") for cells in columns.values())] for claim in claims],
    )


# --- lecture: transfer ------------------------------------------------------------------------------------------------


def _accuracy(results: Mapping[str, Any], source: str, task: str, condition: str, remaining: float) -> dict[int, float]:
    """Test accuracy in percent, by seed; of the dense networks whatever part of the others remains."""
    wanted = (task, condition, 1.0 if condition in WHOLE else remaining)
    return {
        run["seed"]: 100 * row["accuracy"]
        for run in results["runs"][source]
        for row in run["rows"]
        if (row["task"], row["condition"], row["remaining"]) == wanted
    }


def _cases(results: Mapping[str, Any]) -> list[tuple[str, str, float]]:
    """(pre-training, task, fraction of the body that is kept), in the order of the file."""
    found = (
        (source, row["task"], row["remaining"])
        for source, runs in results["runs"].items()
        for run in runs
        for row in run["rows"]
        if row["remaining"] < 1
    )
    return list(dict.fromkeys(found))


def transfer_gains(results: Mapping[str, Any]) -> Gains:
    """Points by which the pre-training's mask is ahead of each rival, one for each seed, by case and rival."""
    gains: dict[tuple[str, str, float], dict[str, list[float]]] = {}
    for case in _cases(results):
        source, task, remaining = case
        ours = _accuracy(results, source, task, "pre-training's mask", remaining)
        gains[case] = {
            name: [a - b for a, b in _pairs(ours, _accuracy(results, source, task, condition, remaining))]
            for name, condition in RIVALS.items()
        }
    return gains


def transfer_curves(results: Mapping[str, Any]) -> None:
    """Draw the test accuracy by the fraction of the body that is kept: a row for each pre-training, a panel for each of
    its tasks, a line for each mask; mean and range over seeds."""
    panels: dict[str, dict[str, list[float]]] = {}
    for source, task, remaining in _cases(results):
        panels.setdefault(source, {}).setdefault(task, []).append(remaining)
    figure, grid = plots.new_figure(len(panels), max(map(len, panels.values())), width=9.6, height=8.8)
    for row, (source, by_task) in zip(grid.reshape(len(panels), -1), panels.items(), strict=True):
        for axis in row[len(by_task) :]:
            axis.set_axis_off()
        for axis, (task, sizes) in zip(row, by_task.items(), strict=False):
            kept = [100 * size for size in sizes]
            for condition in MASKED:
                found = [list(_accuracy(results, source, task, condition, size).values()) for size in sizes]
                (line,) = axis.plot(kept, [np.mean(values) for values in found], label=condition)
                axis.vlines(kept, list(map(min, found)), list(map(max, found)), color=line.get_color(), alpha=0.5)
            for condition, style in zip(WHOLE, ("-", ":"), strict=True):
                whole = np.mean(list(_accuracy(results, source, task, condition, 1.0).values()))
                axis.axhline(whole, color="#777777", linewidth=1, linestyle=style, marker="", label=condition)
            axis.set(xscale="log", xlim=(45, 0.8), xlabel="weights of the body kept (%)")
            axis.set_xticks([30, 10, 3, 1], ["30", "10", "3", "1"])
            axis.minorticks_off()
            axis.set_title(f"{source}:\n{task}", fontsize=10)
        row[0].set_ylabel("test accuracy (%)")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), ncols=3, fontsize=9, loc="outside lower center")
    plots.show(
        figure,
        "A row of panels for each pre-training, a panel for each task: test accuracy against the weights of the body "
        "kept, from a third on the left to the smallest on the right (for images a hundredth), with a line for each of "
        "five conditions and two level lines for the dense networks. At the smallest size the task's own mask is the "
        "highest of the five in every panel, with odd or even after labels only just, and all end below the "
        "pre-trained dense network; on damaged or not all but it end at a half. The largest size at which, and at all "
        "smaller "
        "ones, the mask is more than a point ahead of magnitude in every seed: "
        + "; ".join(f"{source}, {task}: {at}" for source, task, *_, at in parting_table(results).rows)
        + ".",
    )


def parting_table(results: Mapping[str, Any]) -> plots.Table:
    """What pre-training gives to the dense network; by how much its mask is ahead of magnitude alone, by the fraction
    of the body kept; and where the two part."""
    gains = transfer_gains(results)
    sizes = list(dict.fromkeys(remaining for _, _, remaining in gains))
    rows, seeds = [], []
    for source, task in dict.fromkeys((source, task) for source, task, _ in gains):
        pairs = _pairs(*(_accuracy(results, source, task, condition, 1.0) for condition in WHOLE))
        ahead = {size: gains[source, task, size]["magnitude"] for size in sizes if (source, task, size) in gains}
        shown = [plots.mean_and_range(ahead[size], 1) if size in ahead else "—" for size in sizes]
        rows.append([source, task, plots.mean_and_range([a - b for a, b in pairs], 1), *shown, parts_at(ahead)])
        seeds.append(len(pairs))
    columns = ["pre-training", "task", "dense: pre-trained − from scratch (points)"]
    columns += [f"mask − magnitude, {size:.1%} kept" for size in sizes]
    return plots.Table([*columns, "they part at"], rows, seeds=seeds)


def parts_at(ahead: Mapping[float, Sequence[float]]) -> str:
    """The largest part of the body at which, and at all smaller ones, one mask is more than a point ahead in every
    seed. ahead: points, one for each seed, by the part kept."""
    if min(map(len, ahead.values())) < 3:
        return "not testable with so few seeds"
    found = "no size"
    for size in sorted(ahead):
        if min(ahead[size]) <= MARGIN:
            break
        found = f"{size:.1%}"
    return found


def transfer_claims(gains: Gains) -> plots.Table:
    """What is claimed of pre-training's masks, by pre-training and fraction kept: in how many tasks it holds in every
    seed."""
    claims: list[tuple[str, str, Callable[[float], bool]]] = [
        ("no more than a point below dense", "dense", lambda points: points >= -MARGIN),
        ("above its own shuffle", "shuffled mask", lambda points: points > 0),
        ("above the same mask, weights from scratch", "weights from scratch", lambda points: points > 0),
        ("no more than a point below the task's own", "the task's own mask", lambda points: points >= -MARGIN),
        ("above magnitude alone", "magnitude", lambda points: points > 0),
        ("magnitude: no more than a point below it", "magnitude", lambda points: points <= MARGIN),
    ]
    rows = []
    for source, remaining in dict.fromkeys((source, remaining) for source, _, remaining in gains):
        cases = [by_rival for (s, _, r), by_rival in gains.items() if (s, r) == (source, remaining)]
        said = [in_every_task([list(map(holds, case[rival])) for case in cases]) for _, rival, holds in claims]
        rows.append([source, f"{remaining:.1%}", *said])
    return plots.Table(["pre-training", "body kept", *(claim for claim, _, _ in claims)], rows)


def in_every_task(holds: Sequence[Sequence[bool]]) -> str:
    """Whether a claim holds for all tasks in every seed; of fewer than three seeds nothing is said. holds: by task."""
    if min(map(len, holds)) < 3:
        return "not testable with so few seeds"
    true = sum(map(all, holds))
    return f"{'confirmed' if true == len(holds) else 'not confirmed'} ({true} of {len(holds)} tasks)"


# --- lab --------------------------------------------------------------------------------------------------------------


def kept_by_layer(masks: Mapping[str, Masks]) -> plots.Table:
    """The part of each layer that masks keep, a row for each way to prune."""
    rows = [[way, *(f"{float(mask.float().mean()):.1%}" for mask in found.values())] for way, found in masks.items()]
    return plots.Table(["five rounds", *next(iter(masks.values()))], rows)


def untrained_errors(percent: Mapping[str, float]) -> None:
    """Draw the validation error of networks that are masked and not trained, by the fraction of weights kept."""
    figure, axes = plots.new_figure(height=3)
    plots.bars(axes, percent, "validation errors of the UNTRAINED network (%)", "{:.0f}%")
    axes.set_ylabel("weights kept")
    axes.set_title("First weights under the trained network's mask")
    best = min(percent, key=percent.__getitem__)
    words = ", ".join(f"{kept} kept {wrong:.0f}%" for kept, wrong in percent.items())
    plots.show(
        figure,
        f"Bars of the validation error of untrained networks by the fraction of weights kept: {words}. It is least "
        f"with {best} of the weights.",
    )


def loss_curves(losses: Mapping[str, Sequence[float]]) -> None:
    """Draw validation losses, in nats, taken every 20 iterations, by network."""
    figure, axes = plots.new_figure()
    for name, values in losses.items():
        axes.plot(20 * np.arange(1, len(values) + 1), values, label=name, markevery=4)
    axes.set(xlabel="iteration", ylabel="validation loss (nats)", title="13.5% of the weights, one seed")
    axes.legend()
    plots.show(
        figure,
        "Validation loss against iteration: at first the dense network's is the lowest, then the ticket's, which also "
        "gets lowest; the two controls fall slowly and stay above.",
    )


def mask_clock(to_last: Sequence[float], to_previous: Sequence[float]) -> None:
    """Draw how far masks, taken every 20 iterations, are from the last one, and each from the one before it."""
    steps = 20 * np.arange(1, len(to_last) + 1)
    figure, axes = plots.new_figure()
    axes.plot(steps, to_last, label="to the last mask", markevery=2)
    axes.plot(steps[1:], to_previous, label="to the mask before", markevery=2)
    axes.axhline(2 * 0.2 * 0.8, color="#999999", linestyle=":", marker="", label="independent masks, 2p(1 − p)")
    axes.set(xlabel="iteration", ylabel="mask distance", title="the largest 20% of the weights")
    axes.set_ylim(bottom=0)
    axes.legend()
    plots.show(
        figure,
        "Mask distance against iteration: the distance to the last mask falls steadily from well below the line of "
        "independent masks to zero; that to the mask before is small from the start.",
    )


def channels_table(masks: Mapping[str, Masks]) -> plots.Table:
    """How many channels of two layers, of 8 and 16, masks keep."""
    rows = [[scales, *(int(mask.sum()) for mask in found.values())] for scales, found in masks.items()]
    return plots.Table(["scales", "kept of 8", "kept of 16"], rows)


def tickets_table(found: Mapping[tuple[int, str], tuple[Sequence[float], int]]) -> plots.Table:
    """By seed and network: the least of the validation losses, taken every 20 iterations, and the errors at the end."""
    rows = [
        [seed, network, 20 * (1 + int(np.argmin(losses))), round(min(losses), 3), wrong]
        for (seed, network), (losses, wrong) in found.items()
    ]
    columns = ["seed", "network", "least loss at iteration", "least validation loss", "test errors of 1,000 at the end"]
    return plots.Table(columns, rows)
