"""Tables and figures of lecture 02 and of its lab."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib import patches
from torch import Tensor

from course_utils import plots

Results = Mapping[str, Any]  # of `course reproduce saliency`


# --- lecture ----------------------------------------------------------------------------------------------------------


def two_weights() -> None:
    """Draw what it costs to delete either of two weights of the same size, one steep and one flat."""
    figure, axis = plots.new_figure(width=6.4, height=3.4)
    w = np.linspace(0, 2.2, 200)
    for name, curvature, colour, line in (
        ("steep: h = 2", 2.0, plots.COLOURS[2], "-"),
        ("flat: h = 0.3", 0.3, plots.COLOURS[1], "--"),
    ):
        axis.plot(w, curvature / 2 * (w - 1) ** 2, marker="", color=colour, linestyle=line, label=name)
        axis.annotate("", (0, curvature / 2), (0, 0), arrowprops={"arrowstyle": "<->", "color": colour})
        axis.text(-0.06, curvature / 2 * 0.45, f"½·h·w² = {curvature / 2:g}", color=colour, ha="right")
    axis.plot([1], [0], "o", color="black")
    axis.set(title="Both weights are 1 after training. Deleting one moves it to 0.", xlabel="value of the weight")
    axis.set_ylabel("increase of the loss")
    axis.set_xlim(left=-0.6)
    axis.legend(loc="upper center")
    plots.show(
        figure,
        "Two parabolas over the value of a weight, both with their minimum 0 at 1, one steep and one flat. Arrows at "
        "0 show what deletion costs: much on the steep one, little on the flat one.",
    )


class Curvatures(NamedTuple):
    """Three measurements of the curvature of one layer's weights, those without curvature left out.

    recursion and exact: [n]. sampled and twice: the exact ones of some of the n weights, by our diagonal and by double
    backward.
    """

    seed: int
    name: str
    recursion: Tensor
    exact: Tensor
    sampled: Tensor
    twice: Tensor


def curvatures_table(measured: Sequence[Curvatures]) -> plots.Table:
    """How far the recursion is from the exact curvature, and that from double backward, by seed and layer."""
    rows = []
    for layer in measured:
        error = ((layer.recursion - layer.exact).abs() / layer.exact).median().item()
        disagreement = ((layer.twice - layer.sampled).abs() / layer.twice).max().item()
        rows.append([layer.seed, layer.name, len(layer.exact), f"{100 * error:.1f}%", f"{disagreement:.1e}"])
    errors = ["recursion: median error", "exact against double backward: largest error"]
    return plots.Table(["seed", "weight", "with curvature", *errors], rows)


def recursion_against_exact(measured: Sequence[Curvatures]) -> None:
    """Draw the recursion's curvatures against the exact ones, a panel for each layer of one network."""
    figure, axes = plots.new_figure(1, len(measured), width=9.5, height=3.3)
    for axis, layer in zip(axes, measured, strict=True):
        axis.plot(layer.exact, layer.recursion, linestyle="", markersize=2, alpha=0.5)
        limits = [float(layer.exact.min()), float(layer.exact.max())]
        axis.plot(limits, limits, marker="", linestyle="-", color=plots.COLOURS[2], label="equal")
        axis.set(title=f"{layer.name}, seed {layer.seed}", xscale="log", yscale="log")
        axis.set(xlabel="exact curvature", ylabel="recursion")
        axis.legend()
    plots.show(
        figure,
        "Recursion against exact curvature, one panel per layer, logarithmic axes. In the last layer all points lie "
        "on the diagonal; in the two layers below they form a band along it over several orders of magnitude.",
    )


def forecasts_table(deleted: Sequence[float], forecasts: Mapping[str, Tensor]) -> plots.Table:
    """Forecasts of the loss and the truth, medians over seeds. forecasts: by name, [seeds, fractions deleted]."""
    medians = {name: values.median(dim=0).values for name, values in forecasts.items()}
    actual = forecasts["actual"]
    rows = [
        [
            f"{fraction:.0%}",
            *(f"{values[i]:#.2g}" for values in medians.values()),
            f"{actual[:, i].min():#.2g} to {actual[:, i].max():#.2g}",
        ]
        for i, fraction in enumerate(deleted)
    ]
    columns = ["deleted", *forecasts, "actual, lowest to highest seed"]
    return plots.Table(columns, rows, seeds=[len(actual)] * len(rows))


def forecast_curves(deleted: Sequence[float], forecasts: Mapping[str, Tensor]) -> None:
    """Draw the same."""
    figure, axis = plots.new_figure(height=4)
    for name, values in forecasts.items():
        width = 2.5 if name == "actual" else 1.2
        axis.plot([100 * fraction for fraction in deleted], values.median(dim=0).values, label=name, linewidth=width)
    axis.set(title="What each assumption hides (median of three seeds)", xlabel="weights deleted (%)")
    axis.set(ylabel="increase of the training loss (nats)", yscale="log")
    axis.legend()
    plots.show(
        figure,
        "Increase of the loss against weights deleted, logarithmic: five curves. Recursion and exact diagonal lie "
        "together, lowest. Adding the gradient lifts the curve most at small cuts; adding pairs of weights brings it "
        "close to the actual curve, up to about two thirds deleted; beyond, the actual loss is higher than any "
        "second-order forecast.",
    )


def _over_seeds(results: Results, path: str, criterion: str, stage: str, quantity: str) -> np.ndarray:
    """[seeds, fractions] of one quantity."""
    return np.array([[row[stage][quantity] for row in run[path][criterion]] for run in results["runs"]])


def rival_curves(results: Results) -> None:
    """Draw test errors against weights deleted, by criterion: not retrained, retrained at once, and in rounds."""
    settings = results["settings"]
    percent = [100 * fraction for fraction in settings["deleted"]]
    share = 100 / results["data"]["test"]
    figure, axes = plots.new_figure(1, 3, width=10.5, height=3.8)
    panels = (
        ("at_once", "cut", "cut, not retrained"),
        ("at_once", "retrained", f"at once, {settings['retrain_epochs']} epochs of retraining"),
        ("in_rounds", "retrained", f"in rounds of 10%, {settings['round_epochs']} epochs each"),
    )
    for axis, (path, stage, title) in zip(axes, panels, strict=True):
        for criterion in ("OBD", "size × input", "magnitude", "random"):
            values = share * _over_seeds(results, path, criterion, stage, "test_errors")
            (line,) = axis.plot(percent, np.median(values, axis=0), label=criterion, markersize=4)
            axis.fill_between(percent, values.min(0), values.max(0), color=line.get_color(), alpha=0.12)
        dense = share * np.array([run["dense"]["test_errors"] for run in results["runs"]])
        axis.axhline(np.median(dense), color="grey", linewidth=1, linestyle="-", marker="", label="dense")
        axis.set(title=title, xlabel="weights deleted (%)", ylabel="test errors (%)", ylim=(0, 40))
        axis.title.set_fontsize(10)
    lines = axes[0].get_legend_handles_labels()
    figure.legend(*lines, loc="outside lower center", ncols=len(lines[0]), fontsize="small")
    plots.show(
        figure,
        "Test errors against weights deleted, in three panels: not retrained, retrained after one cut, retrained in "
        "rounds. Bands show the range over seeds, a grey line the dense network. Without retraining OBD stays flat "
        "longest, and size times input lies on top of it; magnitude rises earlier, random at once. Retraining moves "
        "all of them to the right and leaves their order.",
    )


def rivals_table(results: Results, chosen: Sequence[float]) -> plots.Table:
    """Test errors by criterion and epochs of retraining, at some fractions deleted; and the dense network's."""
    settings = results["settings"]
    columns = [settings["deleted"].index(fraction) for fraction in chosen]
    rows, counts = [], []
    for path, stage, label in (
        ("at_once", "cut", "no"),
        ("at_once", "retrained", f"{settings['retrain_epochs']} epochs"),
        ("in_rounds", "retrained", f"rounds of {settings['round_epochs']} epochs"),
    ):
        for criterion in ("OBD", "OBD, exact diagonal", "size × input", "magnitude", "random"):
            if stage == "cut" or criterion != "OBD, exact diagonal":
                values = _over_seeds(results, path, criterion, stage, "test_errors")
                rows.append([criterion, label, *(plots.mean_and_range(values[:, i]) for i in columns)])
                counts.append(len(values))
    dense = [[run["dense_trained_on"][i]["test_errors"] for run in results["runs"]] for i in columns]
    rows.append(["dense", "as the rounds", *map(plots.mean_and_range, dense)])
    counts.append(len(results["runs"]))
    return plots.Table(["criterion", "retrained", *(f"{fraction:.0%} deleted" for fraction in chosen)], rows, counts)


def rounds_errors(results: Results, part: float) -> dict[str, dict[str, list[int]]]:
    """Test errors of each seed at a fraction deleted, by criterion and way to cut and retrain."""
    place = results["settings"]["compared"].index(part)
    found = {}
    for name in results["runs"][0]["at_once"]:
        once = [run["at_once"][name][place] for run in results["runs"]]
        rounds = [run["in_rounds"][name][place] for run in results["runs"]]
        found[name] = {
            "at once": [row["retrained"]["test_errors"] for row in once],
            "in rounds": [row["retrained"]["test_errors"] for row in rounds],
            "rounds, trained on": [row["trained_on"]["test_errors"] for row in rounds],
        }
    return found


def rounds_points(results: Results) -> None:
    """Draw the test errors after one cut, after rounds of as many epochs, and after rounds and as many epochs more."""
    parts, share = results["settings"]["compared"], 100 / results["data"]["test"]
    dense = share * float(np.mean([run["dense"]["test_errors"] for run in results["runs"]]))
    figure, axes = plots.new_figure(1, len(parts), width=10, height=3.8)
    for axis, part in zip(axes, parts, strict=True):
        errors = {
            f"{name}: {way}": [share * wrong for wrong in of_seeds]
            for name, ways in rounds_errors(results, part).items()
            for way, of_seeds in ways.items()
        }
        plots.points_over_seeds(axis, errors, "test errors (%)")
        axis.axvline(dense, color="grey", linewidth=1, linestyle="-", marker="")
        epochs = results["runs"][0]["in_rounds"]["OBD"][parts.index(part)]["epochs"]
        axis.set(title=f"{part:.0%} deleted, {epochs} epochs\n(rounds, trained on: {2 * epochs})", xlim=(0, None))
    axes[1].set_yticklabels([])
    plots.show(
        figure,
        "Test errors in two panels, for two fractions deleted, a dot per seed and a bar at the mean: for OBD, "
        "magnitude and magnitude layer by layer a row each for one cut, for rounds, and for rounds that are trained "
        "on. A grey line is the dense network. OBD's rows lie close to the line; at the larger fraction both kinds of "
        "magnitude are worse, worst in rounds, and layer by layer worse than over all layers.",
    )


def rounds_words(results: Results) -> str:
    """In how many seeds the second of two ways makes more errors than the first; it decides nothing unless in all."""

    def verdict(first: Sequence[int], second: Sequence[int]) -> str:
        more = sum(b > a for a, b in zip(first, second, strict=True))
        fewer = sum(b < a for a, b in zip(first, second, strict=True))
        count = f"more errors in {more}, fewer in {fewer} of {len(first)} seeds"
        decided = {(len(first), 0): "worse", (0, len(first)): "better"}
        return f"{decided.get((more, fewer), 'not decided')} ({count})"

    lines = []
    for part in results["settings"]["compared"]:
        errors = rounds_errors(results, part)
        lines.append(f"{part:.0%} deleted")
        for name, ways in errors.items():
            lines.append(f"  {name}: rounds are {verdict(ways['at once'], ways['in rounds'])};")
            lines.append(f"    trained on, {verdict(ways['at once'], ways['rounds, trained on'])}")
        by_layer, over_all = errors["magnitude, layer by layer"]["at once"], errors["magnitude"]["at once"]
        lines.append(f"  magnitude at once, by layer against over all: {verdict(over_all, by_layer)}")
        place = results["settings"]["compared"].index(part)
        for name in ("OBD", "magnitude"):
            kept = np.mean([run["at_once"][name][place]["kept"] for run in results["runs"]], axis=0)
            lines.append(f"  {name} at once keeps of its layers {', '.join(f'{share:.0%}' for share in kept)}")
        behind = verdict(errors["OBD"]["at once"], over_all)
        lines.append(f"  at once, magnitude against OBD: {behind}")
    idle = [100 * row["idle"] for run in results["runs"] for row in run["in_rounds"]["magnitude"]]
    lines.append(f"of magnitude's weights left by rounds {min(idle):.1f} to {max(idle):.1f}% do nothing")
    idle = [100 * row["idle"] for run in results["runs"] for row in run["in_rounds"]["magnitude, layer by layer"]]
    lines.append(f"  layer by layer, {min(idle):.1f} to {max(idle):.1f}%")
    return "\n".join(lines)


def paper_table(results: Results) -> plots.Table:
    """How far the prediction holds and retraining repairs: LeCun's text beside ours by inequalities."""
    paper, deleted = results["paper"], results["settings"]["deleted"]

    def last_fraction(holds: np.ndarray) -> str:
        """The largest fraction up to which a condition holds without a gap."""
        count = len(holds) if holds.all() else int(np.argmin(holds))
        return f"{deleted[count - 1]:.0%}" if count else "none"

    cut, retrained = (
        np.median(_over_seeds(results, path, "OBD", stage, "train_loss"), axis=0)
        for path, stage in (("at_once", "cut"), ("in_rounds", "retrained"))
    )
    dense = np.median([run["dense"]["train_loss"] for run in results["runs"]])
    increases = [[row["predicted_increase"] for row in run["at_once"]["OBD"]] for run in results["runs"]]
    missed = cut - dense - np.median(increases, axis=0)
    rows = [["parameters", f"{paper['parameters']:,}", f"{results['parameters']:,}"]]
    rows += [
        [
            f"prediction misses the actual loss by less than {100 * tolerance:g}% up to",
            f'about {paper["prediction_holds_to"]:.0%} ("good agreement")',
            last_fraction(np.abs(missed) < tolerance * dense),
        ]
        for tolerance in (0.001, 0.01, 0.1)
    ]
    rows.append(
        [
            "training loss not above the dense network's with retraining up to",
            f'about {paper["flat_with_retraining_to"]:.0%} ("almost the same")',
            last_fraction(retrained <= dense),
        ]
    )
    longer = [[row["train_loss"] for row in run["dense_trained_on"]] for run in results["runs"]]
    rows.append(
        [
            "training loss within 1% of the dense network's trained on for as long, up to",
            "—",
            last_fraction(retrained <= 1.01 * np.median(longer, axis=0)),
        ]
    )
    columns = ["", "LeCun 1990, section 2.3", "ours (median of seeds)"]
    return plots.Table(columns, rows, seeds=[len(results["runs"])] * len(rows))


def surgeon_drawing() -> None:
    """Draw two ways to delete one of two weights: straight down, and to the best point where it is 0."""
    hessian, minimum = np.array([[2.0, 1.2], [1.2, 1.6]]), np.array([1.0, 1.2])

    def loss(point: np.ndarray) -> float:
        return float((point - minimum) @ hessian @ (point - minimum) / 2)

    inverse = np.linalg.inv(hessian)
    straight = np.array([minimum[0], 0.0])
    moved = minimum - minimum[1] / inverse[1, 1] * inverse[:, 1]
    x, y = np.meshgrid(np.linspace(-1.2, 3.6, 160), np.linspace(-0.85, 2.0, 100))
    away = np.stack([x, y], axis=-1) - minimum
    height = np.einsum("...i,ij,...j->...", away, hessian, away) / 2
    figure, axis = plots.new_figure(width=6.4, height=4)
    levels = sorted({0.05, 0.15, loss(moved), 0.8, loss(straight), 2.2})
    axis.contour(x, y, height, levels=levels, colors="#999999", linewidths=0.8)
    axis.axhline(0, color=plots.COLOURS[0], linewidth=1.2, linestyle="-", marker="")
    axis.plot(*minimum, "o", color=plots.COLOURS[0])
    for point, name, colour, side in (
        (straight, "Damage: the other stays", plots.COLOURS[2], (-6, -16)),
        (moved, "Surgeon: the other moves", plots.COLOURS[1], (4, -16)),
    ):
        axis.annotate("", point, minimum, arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 1.5})
        axis.plot(*point, "s", color=colour)
        ha = "right" if side[0] < 0 else "left"
        text = f"{name}\nrise {loss(point):.2f}"
        axis.annotate(text, point, xytext=side, textcoords="offset points", ha=ha, va="top", fontsize=9, color=colour,
                      bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})  # fmt: skip
    axis.annotate("after training", minimum, xytext=(8, 6), textcoords="offset points", fontsize=9)
    axis.set(xlabel="weight 1", ylabel="weight 2, to be deleted", xlim=(-1.2, 3.6), ylim=(-0.85, 2.0), aspect="equal")
    axis.set_title("Where weight 2 is 0, the least loss is not straight below")
    axis.grid(visible=False)
    plots.show(
        figure,
        "Contours of the loss over two weights, slanted ellipses around the point after training. A horizontal line is "
        "where weight 2 is 0. One arrow goes straight down to it and crosses many contours; the other goes down and to "
        "the right, to the point where an ellipse just touches the line, at a much smaller loss.",
    )


MOVED = {"OBS": "Optimal Brain Surgeon", "OBD's order, survivors moved": "OBD's order, survivors moved"}
MOVED |= {"magnitude, survivors moved": "magnitude, survivors moved"}
STAYED = {"OBD": "OBD", "magnitude": "magnitude"}


def at_cut(results: Results, method: str, damping: float | None, key: str) -> list[float]:
    """What was measured at the compared cut, by seed."""
    place = results["settings"]["deleted"].index(results["settings"]["compared"])
    found = [run[method] if damping is None else run[method][str(damping)] for run in results["runs"]]
    return [rows[place][key] for rows in found]


def chosen_damping(results: Results, method: str) -> float:
    """The damping with the fewest validation errors at the compared cut, over all seeds; of equals the largest."""
    strengths = sorted(results["settings"]["damping"], reverse=True)
    return min(strengths, key=lambda damping: sum(at_cut(results, method, damping, "validation_errors")))


def surgeon_curves(results: Results) -> None:
    """Draw what a cut adds to the training loss, and the test errors of one cut against the damping."""
    settings, runs = results["settings"], results["runs"]
    deleted = [100 * part for part in settings["deleted"]]
    figure, (left, right) = plots.new_figure(1, 2, width=10, height=4.2)
    for name in (*MOVED, *STAYED):
        damping = chosen_damping(results, name) if name in MOVED else None
        rows = [run[name] if damping is None else run[name][str(damping)] for run in runs]
        base = np.array([[run["dense"]["train_loss"]] for run in runs])
        rises = np.array([[row["train_loss"] for row in each] for each in rows]) - base
        label = name if damping is None else f"{name} ({damping:g})"
        left.plot(deleted, np.median(rises, axis=0).clip(1e-5), label=label, markersize=4)
    left.set(
        yscale="log", xlabel="weights deleted (%)", ylabel="rise of the training loss (nats; 10⁻⁵ or less at the foot)"
    )
    left.set_title("Not retrained (damping chosen on validation)", fontsize=10)
    left.legend(fontsize="small")
    strengths = sorted(settings["damping"])
    share = 100 / results["data"]["test"]
    for name in MOVED:
        wrong = share * np.array([at_cut(results, name, damping, "test_errors") for damping in strengths])
        (line,) = right.plot(strengths, np.median(wrong, axis=1), label=name, markersize=4)
        right.fill_between(strengths, wrong.min(axis=1), wrong.max(axis=1), color=line.get_color(), alpha=0.12)
    levels = {name: share * float(np.median(at_cut(results, name, None, "test_errors"))) for name in STAYED}
    levels["dense"] = share * float(np.median([run["dense"]["test_errors"] for run in runs]))
    for (name, level), style, below in zip(levels.items(), ("--", ":", "-"), (3, 3, -10), strict=True):
        right.axhline(level, color="#777777", linestyle=style, marker="", linewidth=1)
        right.annotate(name, (strengths[0], level), xytext=(0, below), textcoords="offset points", fontsize=8)
    right.set(xscale="log", yscale="log", xlabel="damping / mean of the diagonal", ylabel="test errors (%)")
    right.set_yticks([10, 20, 50], ["10", "20", "50"])
    right.set_yticks([], minor=True)
    right.set_title(f"{settings['compared']:.0%} deleted, against the damping", fontsize=10)
    plots.show(
        figure,
        "Left: the rise of the training loss against the weights deleted, logarithmic. From 40 to 60% deleted the "
        "surgeon's curve is clearly the lowest; at 20 and 30% OBD's and that of OBD's order with moved survivors are, "
        "hardly apart, and at 80% the latter is. "
        "Magnitude alone is far above all until moving its survivors goes wrong, at large cuts. Right: test "
        "errors of one cut against the damping, both logarithmic, with the range over seeds. With little damping all "
        "three methods that move survivors make many more errors than OBD and magnitude; from a hundredth of the mean "
        "diagonal on they are near OBD's line.",
    )


def surgeon_table(results: Results) -> plots.Table:
    """Loss and errors at the compared cut, not retrained."""
    runs, rows = results["runs"], []
    dense = {key: [run["dense"][key] for run in runs] for key in ("train_loss", "test_errors")}
    rows.append(
        ["dense", "—", plots.mean_and_range(dense["train_loss"], 4), plots.mean_and_range(dense["test_errors"])]
    )
    least = min(results["settings"]["damping"])
    shown = [(name, chosen_damping(results, name)) for name in MOVED]
    shown += [("OBS's order, survivors still", shown[0][1]), ("OBS", least), *((name, None) for name in STAYED)]
    for name, damping in shown:
        values = [at_cut(results, name, damping, key) for key in ("train_loss", "test_errors")]
        strength = "—" if damping is None else f"{damping:g}"
        rows.append([name, strength, plots.mean_and_range(values[0], 4), plots.mean_and_range(values[1])])
    cut = f"{results['settings']['compared']:.0%} deleted"
    columns = [cut, "damping", "training loss", f"wrong of {results['data']['test']:,}"]
    return plots.Table(columns, rows, seeds=[len(runs)] * len(rows))


def surgeon_words(results: Results) -> str:
    """What the experiment says: the gain, the ruin, and who deserves the credit."""
    runs, best = results["runs"], chosen_damping(results, "OBS")
    dense = np.array([run["dense"]["train_loss"] for run in runs])

    def rises(name: str, damping: float | None) -> np.ndarray:
        return np.array(at_cut(results, name, damping, "train_loss")) - dense

    surgeon, damage = rises("OBS", best), rises("OBD", None)
    least = min(results["settings"]["damping"])
    ruined = [
        bad > good
        for bad, good in zip(
            at_cut(results, "OBS", least, "test_errors"), at_cut(results, "magnitude", None, "test_errors"), strict=True
        )
    ]
    moved = "OBD's order, survivors moved"
    its_own = chosen_damping(results, moved)
    same_order, same_damping = rises(moved, its_own), rises(moved, best)
    with_its_own = rises("OBS", its_own)
    still = rises("OBS's order, survivors still", best)

    def seeds(holds: Sequence[bool]) -> str:
        return f"in {sum(holds)} of {len(holds)} seeds"

    flat = [run["dense"]["smallest"] for run in runs]
    return "\n".join(
        [
            f"directions in which the matrix is flat: {min(flat)} to {max(flat)} of {results['weights']:,}",
            f"OBD's rise over the surgeon's: {plots.mean_and_range((damage / surgeon).tolist(), 1)} times;",
            f"  the surgeon's is less {seeds((surgeon < damage).tolist())}",
            f"with a damping of {least:g} the surgeon makes more errors than magnitude {seeds(ruined)}",
            f"OBD's order with survivors moved rises less than OBD {seeds((same_order < damage).tolist())},",
            f"  and less than the surgeon {seeds((same_order < surgeon).tolist())};",
            f"  with the surgeon's damping, {best:g}, by {1 - (same_damping / damage).mean():.0%} less than OBD,",
            f"  and less than the surgeon {seeds((same_damping < surgeon).tolist())};",
            f"  with its own, {its_own:g}, for both, less than the surgeon "
            f"{seeds((same_order < with_its_own).tolist())}",
            f"the surgeon's order with survivors still rises less than OBD {seeds((still < damage).tolist())}",
        ]
    )


def column_sweep() -> None:
    """Draw SparseGPT's sweep over the columns of a layer's weights."""
    generator = np.random.default_rng(3)
    rows, columns, now = 6, 16, 7
    gone = generator.random((rows, columns)) < 0.5
    figure, axis = plots.new_figure(width=8.6, height=3.1)
    for row in range(rows):
        for column in range(columns):
            done, colour = column < now, "white"
            if column == now:
                colour = plots.COLOURS[2] if gone[row, column] else "#f3c9a8"
            elif not done:
                colour = "#bcd9ee"
            elif not gone[row, column]:
                colour = "#999999"
            axis.add_patch(patches.Rectangle((column, -row), 0.9, 0.9, facecolor=colour, edgecolor="#777777"))
    axis.annotate("", (columns + 0.3, 1.35), (now + 1, 1.35), arrowprops={"arrowstyle": "-|>", "linewidth": 1.5})
    notes = (
        (now / 2, "done: kept (grey) or 0 (white),\nnot touched again"),
        (now + 0.45, "now: the\ndark ones go"),
        ((now + columns + 2) / 2, "to come: each moves to make up\nfor what its row has just lost"),
    )
    for x, text in notes:
        axis.text(x, -rows + 0.55, text, ha="center", va="top", fontsize=9)
    axis.text(
        columns + 0.6,
        -rows / 2 + 1,
        "rows: units.\nAll rows share\none matrix $H$,\nthat of their inputs.",
        fontsize=9,
        va="center",
    )
    axis.set(xlim=(-0.3, columns + 5), ylim=(-rows - 1.2, 1.8), title="SparseGPT: one sweep over a layer's columns")
    axis.set_axis_off()
    plots.show(
        figure,
        "The weights of a layer as a grid. Columns on the left are done: grey squares are kept, white ones are 0. One "
        "column is decided now: some of its squares are deleted. All columns to the right of it are blue, and an arrow "
        "over them says that they move to make up for what is deleted. All rows share one matrix.",
    )


def unit_errors(
    cut: Mapping[str, Sequence[float]], retrained: Mapping[str, Sequence[float]], dense: Sequence[float]
) -> None:
    """Draw validation errors in percent after three quarters of the units went, by criterion, each seed's.

    dense: of the networks before.
    """
    figure, axes = plots.new_figure(1, 2, width=9.5, height=4.2)
    for axis, values, title in zip(axes, (cut, retrained), ("cut", "cut, then retrained"), strict=True):
        plots.points_over_seeds(axis, values, "validation errors (%)")
        axis.axvline(np.mean(dense), color="grey", linewidth=1, linestyle="-", marker="")
        axis.set_title(title)
        axis.set_xlim(left=0)
    plots.show(
        figure,
        "Validation errors after deleting 48 of 64 hidden units, a dot per seed, a row per criterion, a grey line for "
        "the whole network; left before retraining, right after. Before, Taylor computed anew after each unit, L1, L2 "
        "and entropy are best, OBD computed anew next; the other criteria, computed once, are about as bad "
        "as random; after, all lie within a few points of each other, above the grey line.",
    )


def cost_curves(cost: Mapping[str, Any]) -> None:
    """Draw milliseconds against parameters, by method, with their quartiles. cost: stored by the benchmark."""
    sizes = [network["parameters"] for network in cost["networks"]]
    figure, axis = plots.new_figure(height=4.2)
    for method in cost["networks"][0]["milliseconds"]:
        quartiles = np.array([network["milliseconds"][method] for network in cost["networks"]])
        (line,) = axis.plot(sizes, quartiles[:, 1], label=method)
        axis.fill_between(sizes, quartiles[:, 0], quartiles[:, 2], color=line.get_color(), alpha=0.15)
    axis.set(title=f"One batch of {cost['batch']} digits, one thread", xscale="log", yscale="log")
    axis.set(xlabel="parameters", ylabel="milliseconds")
    axis.legend(fontsize="small")
    plots.show(
        figure,
        "Time against parameters, both logarithmic, for the gradient, the recursion, our exact diagonal and "
        "BackPACK's two exact diagonals. All turn into rising straight lines for large networks; gradient and "
        "recursion are lowest, BackPACK's are highest, by far at small sizes and by little at large ones.",
    )


def cost_table(cost: Mapping[str, Any]) -> plots.Table:
    """How many times as long one method takes as another, medians, by size of the network."""
    rows = []
    for network in cost["networks"]:
        median = {method: quartiles[1] for method, quartiles in network["milliseconds"].items()}
        gradient, exact = median["gradient (autograd)"], median["exact diagonal (ours)"]
        rival = min(median[f"exact diagonal (BackPACK, {name})"] for name in ("DiagGGNExact", "DiagHessian"))
        ratios = (median["recursion (ours)"] / gradient, exact / gradient, rival / exact)
        rows.append([f"{network['parameters']:,}", *(f"{ratio:.1f}" for ratio in ratios)])
    ratios = ["recursion / gradient", "our exact / gradient", "faster BackPACK / our exact"]
    return plots.Table(["parameters", *ratios], rows)


def sparsity_map() -> None:
    """Draw the three questions that order the field, and their answers, each with its units."""
    columns = {
        "What becomes sparse?": [
            ("weights", "single, blocks, filters", "02, 03, 04, 08"),
            ("activations", "ReLU, experts, early exits", "06, 10"),
            ("gradients, updates", "communication, adapters", "11"),
            ("examples, inputs", "skipped pixels, tokens", "06, 14"),
        ],
        "When?": [
            ("after training", "OBD, lottery tickets", "02, 03, 07"),
            ("during training", "gradual, group lasso", "04"),
            ("before training", "SNIP, GraSP, SynFlow", "–"),
            ("throughout", "dynamic sparse training", "09"),
            ("at each inference", "gates, experts", "06, 10"),
        ],
        "How is it chosen?": [
            ("size", "magnitude", "02, 03, 07"),
            ("activity", "APoZ, entropy, mean", "02"),
            ("loss, first order", "Taylor", "02"),
            ("loss, second order", "OBD and heirs", "02"),
            ("learned", "penalties, gates", "04, 06, 10"),
        ],
    }
    figure, axis = plots.new_figure(width=9.5, height=4.4)
    axis.set_axis_off()
    for x, (question, answers) in enumerate(columns.items()):
        axis.text(x + 0.46, 5.35, question, ha="center", weight="bold", fontsize=12)
        for row, (answer, example, units) in enumerate(answers):
            y = 4.3 - row
            box = patches.FancyBboxPatch(
                (x + 0.02, y), 0.88, 0.78, boxstyle="round,pad=0.01", fc="#eef4fa", ec=plots.COLOURS[1]
            )
            axis.add_patch(box)
            axis.text(x + 0.06, y + 0.5, answer, weight="bold", fontsize=10)
            axis.text(x + 0.06, y + 0.16, example, fontsize=9)
            word = {"–": "no unit"}.get(units, f"unit{'s' * (',' in units)} {units}")
            axis.text(x + 0.87, y + 0.5, word, ha="right", fontsize=8, color="#444444")
    axis.set(xlim=(0, 2.95), ylim=(-0.1, 5.7), title="Three questions about sparsity")
    plots.show(
        figure,
        "A map in three columns. What becomes sparse: weights, activations, gradients and updates, examples and "
        "inputs. When: after, during, before or throughout training, or at each inference. How it is chosen: by size, "
        "activity, first or second order of the loss, or learned. Each box names examples and the units of this "
        "course that treat it.",
    )


def schedules() -> None:
    """Draw four schedules of the weights that are left over time."""
    t, final = np.linspace(0, 10, 1001), 0.2
    rounds = np.clip(np.floor((t - 4) / 1.2) + 1, 0, 4)  # pre-training ends at 4
    progress = np.clip((t - 2) / 6, 0, 1)
    left_of = {
        "one-shot\ntrain, cut, retrain": np.where(t < 4, 1, final),
        "iterative\ncut and retrain in rounds": np.maximum(final, (final ** (1 / 4)) ** rounds),
        # Zhu and Gupta 2017, eq. 1: a cubic
        "gradual\ncut while training": final + (1 - final) * (1 - progress) ** 3,
        "dynamic\ndrop and regrow": np.full_like(t, final),
    }
    figure, axes = plots.new_figure(1, 4, width=10.5, height=2.9)
    for axis, (title, left) in zip(axes, left_of.items(), strict=True):
        axis.fill_between(t, 100 * left, color=plots.COLOURS[1], alpha=0.25)
        axis.plot(t, 100 * left, marker="", color=plots.COLOURS[1], linestyle="-")
        axis.set(title=title, xlabel="time", ylim=(0, 105), xticks=[])
        axis.title.set_fontsize(10)
    for moment in range(1, 10):
        arrow = {"arrowstyle": "<->", "color": plots.COLOURS[2]}
        axes[-1].annotate("", (moment, 8), (moment, 32), arrowprops=arrow)
    axes[0].set_ylabel("weights left (%)")
    plots.show(
        figure,
        "Four schedules of the weights left over time. One-shot: all until the end of training, then a single drop. "
        "Iterative: a staircase. Gradual: a smooth fall during training that slows towards the end. Dynamic: low from "
        "the start, with arrows for weights that are dropped and regrown.",
    )


# --- lab --------------------------------------------------------------------------------------------------------------


def small_weights(saliencies: Mapping[int, Mapping[str, Tensor]]) -> None:
    """Draw what share of a layer's saliency its smallest weights hold. saliencies: by order and by layer."""
    figure, axes = plots.new_figure(1, 2, width=8, height=3.2)
    for axis, (order, by_layer) in zip(axes, saliencies.items(), strict=True):
        for name, saliency in by_layer.items():
            sizes = saliency.flatten().sort().values
            share = sizes.cumsum(0) / sizes.sum() * 100
            axis.plot(torch.linspace(0, 100, len(sizes)), share, marker="", label=name)
        axis.set(title=f"order {order}", xlabel="smallest weights (% of the layer)")
        axis.set_ylabel("their share of the saliency (%)")
        axis.legend()
    plots.show(
        figure,
        "Two panels, order 1 and order 2. Horizontal: the smallest weights of a layer, in percent. Vertical: their "
        "share of the layer's summed saliency. All curves sag far below the diagonal, more so for order 2: half of "
        "the weights hold a small part.",
    )


def units_removed(removed: Sequence[int], errors: Mapping[str, Sequence[float]], at_random: Tensor) -> None:
    """Draw validation errors in percent against hidden units removed, by criterion; at_random: [draws, removed]."""
    figure, axis = plots.new_figure(height=4)
    low, high = at_random.amin(0), at_random.amax(0)
    axis.fill_between(removed, low, high, color="#cccccc", label="random, five draws")
    for criterion, curve in errors.items():
        axis.plot(removed, curve, label=criterion)
    axis.set(title="Units removed, nothing retrained", xlabel="hidden units removed, of 64")
    axis.set_ylabel("validation errors (%)")
    axis.legend()
    plots.show(
        figure,
        "Validation error against hidden units removed. A grey band shows random removal; five lines show the "
        "criteria. All rise as units go. The Taylor criterion is lowest while few units are gone; later most lines "
        "run inside or above the band.",
    )


def recursion_table(names: Sequence[str], curvatures: Sequence[Tensor], exact: Sequence[Tensor]) -> plots.Table:
    """How far curvatures are from the exact ones, by layer."""
    rows = []
    for name, ours, truth in zip(names, curvatures, exact, strict=True):
        live = truth > 1e-9  # a pixel that is always white has curvature 0
        error = ((ours - truth).abs() / truth)[live].median().item()
        rows.append([name, int((~live).sum()), f"{100 * error:.1f}%"])
    return plots.Table(["weight", "of curvature 0", "median error of the others"], rows)


def single_deletions(predicted: Tensor, actual: Tensor) -> None:
    """Draw the actual increase of the loss against the predicted one, in nats; a point is a deleted weight."""
    figure, axis = plots.new_figure(width=5, height=4.4)
    axis.plot(predicted, actual, linestyle="", markersize=4, label="a deleted weight")
    limits = [float(predicted.min()), float(predicted.max())]
    axis.plot(limits, limits, marker="", label="as predicted")
    axis.set(title="Deleting one weight", xlabel="predicted increase of the loss (nats)")
    axis.set_ylabel("actual increase (nats)")
    axis.set_xscale("log")
    axis.set_yscale("symlog", linthresh=1e-5)
    axis.legend()
    plots.show(
        figure,
        "Actual against predicted increase of the loss for single deleted weights. The points follow the diagonal "
        "with a wide scatter, wider at the small saliencies, where some deletions even lower the loss.",
    )


class Cut(NamedTuple):
    """What deleting a fraction of the weights does to the training loss, in nats, and to the validation errors."""

    predicted: float
    actual: float
    percent_wrong: float


def predicted_and_actual(deleted: Sequence[float], cuts: Mapping[str, Sequence[Cut]]) -> None:
    """Draw the loss and the errors against the fraction deleted. cuts: by criterion, one for each fraction."""
    percent = [100 * fraction for fraction in deleted]
    figure, axes = plots.new_figure(1, 2, width=9, height=3.8)
    for criterion, by_fraction in cuts.items():
        predicted, actual, wrong = zip(*by_fraction, strict=True)
        (line,) = axes[0].plot(percent, actual, label=f"{criterion}: actual")
        style = {"color": line.get_color(), "linestyle": ":", "marker": ""}
        axes[0].plot(percent, predicted, label=f"{criterion}: predicted", **style)
        axes[1].plot(percent, wrong, label=criterion)
    axes[0].set(title="Loss, nothing retrained", ylabel="increase of the training loss (nats)", yscale="log")
    axes[0].set_ylim(bottom=1e-6)
    axes[1].set(title="Errors, nothing retrained", ylabel="validation errors (%)")
    for axis in axes:
        axis.set_xlabel("weights deleted (%)")
        axis.legend(fontsize="small")
    plots.show(
        figure,
        "Left: increase of the training loss, on a logarithmic axis, against weights deleted, actual and predicted, "
        "for OBD, magnitude and random deletion. OBD is lowest by far; its actual increase leaves the predicted one "
        "behind. Right: validation errors, flat for OBD to more than half of the weights, rising early for magnitude, "
        "at once for random.",
    )


def rounds(deleted: Sequence[float], pruned: Sequence[float], dense: Sequence[float]) -> None:
    """Draw validation errors in percent against the fraction deleted: pruned in rounds, and dense, trained as long."""
    percent = [100 * fraction for fraction in deleted]
    figure, axis = plots.new_figure()
    axis.plot(percent, pruned, label="OBD in rounds, retrained")
    axis.plot(percent, dense, label="dense, trained as long")
    axis.set(title="Train, delete, retrain, iterate", xlabel="weights deleted (%)", ylabel="validation errors (%)")
    axis.set_ylim(0, None)
    axis.legend()
    plots.show(
        figure,
        "Validation error against weights deleted in rounds with retraining, and of the dense network trained as "
        "long. The pruned network stays level with the dense one to well over half of its weights, then rises.",
    )


def layer_cuts(found: Mapping[str, tuple[float, int]], digits: int) -> plots.Table:
    """What it costs to delete half of a layer, by way: the rise of the training loss, and wrong validation digits."""
    rows = [[way, f"{increase:#.2g}", wrong] for way, (increase, wrong) in found.items()]
    return plots.Table(["half of the layer cut by", "loss increase (nats)", f"wrong of {digits}"], rows)
