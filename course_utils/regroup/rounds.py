"""When to regroup: what lecture 08 shows of `course reproduce regroup-rounds`."""

from collections.abc import Sequence

import numpy as np

from course_utils import plots
from course_utils.regroup import figures
from course_utils.regroup.figures import GOAL, Results, in_seeds, percent, points_fewer, twin_percent

WINNING, EVERY, SMALL, LONGER = "winning ticket", "every round", "small dense", "/longer"
TICKET = "round 2"  # the winning one, scattered


def ends(rounds: Results) -> list[str]:
    """What was regrouped, at its end."""
    settings = rounds["settings"]
    return [f"{way}/{area}" for way, key in ((WINNING, "areas"), (EVERY, "every")) for area in settings[key]]


def between(rounds: Results) -> list[str]:
    """The rounds before the last of what was regrouped after every round."""
    settings = rounds["settings"]
    numbers = range(1, settings["recipe"]["rounds"])
    return [f"{EVERY}/{area}/round {number}" for area in settings["every"] for number in numbers]


def smalls(rounds: Results) -> list[str]:
    return [f"{SMALL}/{part}" for part in rounds["settings"]["parts"]]


def name_of(rounds: Results, what: str) -> str:
    """'regrouped after every round, area ≤ 10%' for 'every round/0.1'."""
    way, *details = what.split("/")
    if way.startswith("round"):
        return {"round 0": "dense", TICKET: "winning ticket, CSR"}[way]
    share = float(details[0])
    if way == SMALL:
        return f"small dense, {share:.0%} of the weights"
    last = rounds["settings"]["recipe"]["rounds"]
    number = int(details[1].split()[1]) if len(details) > 1 else last
    area = share ** (number / last) if way == EVERY else share
    text = {WINNING: "winning ticket regrouped", EVERY: f"every round regrouped, round {number}"}[way]
    return f"{text}, area ≤ {area:.0%}"


def errors(rounds: Results, what: str, split: str = "test") -> list[float]:
    """Errors in percent, one for each seed."""
    return [100 * run[what][f"{split}_errors"] / rounds["data"][split] for run in rounds["runs"]]


def milliseconds(rounds: Results, what: str, batch: int) -> list[float]:
    """Shortest milliseconds, one for each seed: dense in the better of both layouts, the ticket in the better CSR."""
    clocks = {"round 0": ("dense", "dense, [batch, features]"), TICKET: ("CSR", "SciPy's CSR")}.get(what, (what,))
    return [min(run["times"]["milliseconds"][str(batch)][clock] for clock in clocks) for run in rounds["runs"]]


def saved(rounds: Results, what: str, batch: int) -> list[float]:
    """Share of the dense network's time that is saved, one for each seed."""
    both = zip(milliseconds(rounds, what, batch), milliseconds(rounds, "round 0", batch), strict=True)
    return [1 - ours / dense for ours, dense in both]


def as_fast(rounds: Results, shares: Sequence[float], batch: int) -> str:
    """The largest small dense network that saves no less of the dense time in any seed; if none does, the smallest."""
    small = smalls(rounds)
    fast = [s for s in small if all(a >= b for a, b in zip(saved(rounds, s, batch), shares, strict=True))]
    return (fast or small[:1])[-1]


def caught(rounds: Results, what: str) -> str:
    """What part of the ticket the blocks hold, layer by layer: means over seeds."""
    runs = [run[what].get("layers") for run in rounds["runs"]]
    if not all(runs):
        return "—"
    return ", ".join(f"{np.mean([layer['covers'] for layer in same]):.0%}" for same in zip(*runs, strict=True))


def when_table(rounds: Results, twins: Results) -> plots.Table:
    """Weights, errors after few and more epochs, and time saved."""
    batches = [batch for batch in rounds["settings"]["recipe"]["batches"] if batch > 1]
    longer = {"round 0": twin_percent(twins, "dense"), TICKET: twin_percent(twins, "scattered")}
    rows = []
    for what in ("round 0", TICKET, *ends(rounds)[:-1], *between(rounds), ends(rounds)[-1], *smalls(rounds)):
        if what + LONGER in rounds["runs"][0]:
            longer[what] = errors(rounds, what + LONGER)
        timed = what not in between(rounds)
        rows.append(
            [
                name_of(rounds, what),
                caught(rounds, what),
                f"{np.mean([run[what]['weights'] for run in rounds['runs']]) / rounds['weights']:.1%}",
                plots.mean_and_range(errors(rounds, what, "validation"), 2),
                plots.mean_and_range(errors(rounds, what), 2),
                plots.mean_and_range(longer[what], 2) if what in longer else "—",
                *(
                    f"{np.mean(saved(rounds, what, batch)):.0%}".replace("-", "−") if timed else "—"
                    for batch in batches
                ),
            ]
        )
    epochs = [f"test error (%), {n} epochs" for n in (rounds["settings"]["recipe"]["epochs"], rounds["longer"])]
    times = [f"time saved, batch {batch}" for batch in batches]
    return plots.Table(
        ["network", "of its ticket, by layer", "weights kept", "validation error (%)", *epochs, *times], rows
    )


def when_figure(results: Results, rounds: Results, twins: Results, batch: int) -> None:
    """Draw test error against the time of a batch, for what was trained for few epochs and for more."""

    def dots(whats: Sequence[str], longer: str = "") -> list[tuple[float, list[float]]]:
        return [(100 * float(np.mean(saved(rounds, each, batch))), errors(rounds, each + longer)) for each in whats]

    regrouped = f"regrouped/{twins['settings']['area']}"
    once = 100 * float(np.mean(figures.saved(results, regrouped, batch)))
    ticket, settings = dots([TICKET])[0][0], rounds["settings"]
    panels = {
        f"{settings['recipe']['epochs']} epochs": {
            "dense": dots(["round 0"]),
            "winning ticket, CSR": dots([TICKET]),
            "winning ticket, regrouped": dots([f"{WINNING}/{area}" for area in settings["areas"]]),
            "every round regrouped": dots([f"{EVERY}/{area}" for area in settings["every"]]),
            "last ticket, regrouped (above)": [(once, percent(results, regrouped))],
            "small dense": dots(smalls(rounds)),
        },
        f"{rounds['longer']} epochs": {
            "dense": [(0.0, twin_percent(twins, "dense"))],
            "winning ticket, CSR": [(ticket, twin_percent(twins, "scattered"))],
            "winning ticket, regrouped": [],
            "every round regrouped": [],
            "last ticket, regrouped (above)": [(once, twin_percent(twins, "regrouped"))],
            "small dense": dots(smalls(rounds), LONGER),
        },
    }
    figure, axes = plots.new_figure(1, 2, width=11.5, height=4.2)
    everything = [
        wrong for each in panels.values() for series in each.values() for _, found in series for wrong in found
    ]
    limits = 0.9 * min(everything), 1.05 * max(everything)
    for axis, (title, each) in zip(axes, panels.items(), strict=True):
        for label, series in each.items():
            shares, found = [share for share, _ in series], [found for _, found in series]
            (line,) = axis.plot(shares, [np.mean(f) for f in found], label=label)
            axis.vlines(shares, [min(f) for f in found], [max(f) for f in found], color=line.get_color(), alpha=0.5)
        axis.axvline(100 * GOAL, color="#999999", linestyle=":", marker="", label=f"{GOAL:.0%}, the goal")
        axis.set(xlim=(-5, 100), ylim=limits, xlabel=f"dense time saved (%), batch {batch}")
        axis.set_title(f"{title}, mean over seeds with its range", fontsize=10)
    axes[0].set_ylabel("test error (%)")
    axes[-1].legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    plots.show(
        figure,
        "Two panels, for six and for 18 epochs: test error against the percentage of the dense time that is saved. "
        "Left, dense lies at 0 and low, and the winning ticket in CSR about as low at 65, on a dotted line; all that "
        "was regrouped lies higher, what was regrouped after every round highest, and the winning ticket's larger "
        "blocks far to the left of the line. Small dense networks run from 65 to 85, lower than regrouped ones that "
        "save as much. Right, the last ticket's blocks lie on the line of the small dense networks, above dense and "
        "the ticket in CSR.",
    )


def when_claims(results: Results, rounds: Results, twins: Results) -> plots.Table:
    """What was regrouped against the winning ticket, the dense network, and a small one as fast; all that is claimed is
    claimed of every seed."""
    batch, area = max(rounds["settings"]["recipe"]["batches"]), twins["settings"]["area"]
    rows: list[list[object]] = []

    def compared(name: str, claim: str, mine: Sequence[float], theirs: Sequence[float]) -> None:
        fewer = [b - a for a, b in zip(mine, theirs, strict=True)]
        rows.append([name, claim, points_fewer(fewer), in_seeds([points >= 0 for points in fewer])])

    for what in ends(rounds):
        name, ours, shares = name_of(rounds, what), errors(rounds, what), saved(rounds, what, batch)
        small = as_fast(rounds, shares, batch)
        compared(name, "no more errors than the scattered winning ticket", ours, errors(rounds, TICKET))
        compared(name, "no more than dense", ours, errors(rounds, "round 0"))
        last = percent(results, f"regrouped/{what.split('/')[1]}")
        compared(name, "no more than the last ticket's blocks, same area", ours, last)
        compared(name, f"no more than {name_of(rounds, small)}, no slower", ours, errors(rounds, small))
        percents = plots.mean_and_range([100 * share for share in shares])
        good = in_seeds([share >= GOAL for share in shares])
        rows.append([name, f"{GOAL:.0%} of the dense time saved, batch {batch}", f"{percents}%", good])
    once = f"regrouped/{area}"
    few, more = rounds["settings"]["recipe"]["epochs"], rounds["longer"]
    trained = ((few, percent(results, once), ""), (more, twin_percent(twins, "regrouped"), LONGER))
    for batch in [batch for batch in sorted(rounds["settings"]["recipe"]["batches"], reverse=True) if batch > 1]:
        small = as_fast(rounds, figures.saved(results, once, batch), batch)
        for epochs, mine, longer in trained:
            name = f"last ticket regrouped, area ≤ {area:.0%}, {epochs} epochs"
            claim = f"no more than {name_of(rounds, small)}, about as fast at batch {batch}"
            compared(name, claim, mine, errors(rounds, small + longer))
    return plots.Table(["network", "claim", "mean (lowest–highest)", "verdict"], rows)


def clocks_table(results: Results, rounds: Results, twins: Results) -> plots.Table:
    """The share of the dense time that is saved, by each clock that there is: what hangs on the clock is not known."""
    blocks, last = f"regrouped/{twins['settings']['area']}", max(rounds["settings"]["recipe"]["batches"])
    ticket = rounds["settings"]["winning"]
    asked = [("the last ticket's blocks", blocks, None, last)]
    asked += [
        (f"the winning ticket in {program}", f"{stored}/{ticket}", stored, batch)
        for batch in (last, 1)
        for program, stored in (("PyTorch's CSR", "CSR"), ("SciPy's CSR", "SciPy's CSR"))
    ]
    rows = []
    for name, first, second, batch in asked:
        by = [figures.saved(results, first, batch, which=which) for which in (figures.MEDIAN, figures.LOWER)]
        if second is not None:
            dense = milliseconds(rounds, "round 0", batch)
            clocks = [run["times"]["milliseconds"][str(batch)][second] for run in rounds["runs"]]
            by.append([1 - ms / whole for ms, whole in zip(clocks, dense, strict=True)])
        cells = [plots.mean_and_range([100 * share for share in shares], 1).replace("-", "−") for shares in by]
        rows.append([name, batch, *cells, *["—"] * (3 - len(cells))])
    columns = ["dense time saved (%)", "batch", "medians", "lower quartiles", "shortest of the later race"]
    return plots.Table(columns, rows)


def same_rounds(results: Results, rounds: Results) -> bool:
    """Whether both experiments have found the same rounds: the same errors of the same masks."""
    return all(
        ours[f"round {number}"]["test_errors"] == theirs["rounds"][number]["test_errors"]
        for ours, theirs in zip(rounds["runs"], results["networks"][0]["runs"], strict=True)
        for number in range(rounds["settings"]["winning"] + 1)
    )
