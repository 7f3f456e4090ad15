"""Tables and figures of two experiments of lecture 01: Hinton's 3%, and what else of a teacher can be matched."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from course_utils import plots
from course_utils.distillation.figures import gap_closed, verdict


def _student(stored: Mapping[str, Any], way: str) -> list[Mapping[str, Any]]:
    """A way's students, seed by seed, in the 3% experiment."""
    return [run["students"][way] for run in stored["runs"]]


def _settings(stored: Mapping[str, Any]) -> dict[str, str]:
    """Of each way of the 3% experiment, the setting with the fewest validation errors in the end, over all seeds."""
    families = {"hard": "hard", "soft": "soft T", "smoothed": "smoothed", "own": "soft from the few", "all": "all"}

    def wrong(way: str) -> int:
        return sum(student["curve"]["validation"][-1] for student in _student(stored, way))

    names = stored["runs"][0]["students"]
    return {
        family: min((name for name in names if name.startswith(start)), key=wrong) for family, start in families.items()
    }


def three_percent_curves(stored: Mapping[str, Any]) -> None:
    """Draw errors and validation loss while students learn 3%. stored: `course reproduce three-percent`'s."""
    ways, data = _settings(stored), stored["data"]
    few = stored["runs"][0]["digits"]
    figure, axes = plots.new_figure(1, 3, width=10, height=3.3)

    def draw(axis: Axes, family: str, part: str, unit: float, number: int, label: str) -> None:
        curves = [student["curve"] for student in _student(stored, ways[family])]
        heights = [[unit * value for value in curve[part]] for curve in curves]
        style = {"color": plots.COLOURS[number], "linestyle": plots.LINES[number], "marker": ""}
        for each in heights:
            axis.plot(curves[0]["step"], each, alpha=0.3, linewidth=0.8, **style)
        mean = [sum(each) / len(each) for each in zip(*heights, strict=True)]
        axis.plot(curves[0]["step"], mean, label=label, **style)

    for axis, family, title in ((axes[0], "hard", "hard targets"), (axes[1], "soft", "soft targets")):
        draw(axis, family, "train", 100 / few, 0, f"the {few} digits")
        draw(axis, family, "validation", 100 / data["validation"], 1, "validation digits")
        axis.set(title=title, ylabel="wrong (%)", ylim=(-2, 95))
    names = {"hard": "hard", "smoothed": "label smoothing", "own": "soft, teacher of the 3%", "soft": "soft"}
    for number, (family, name) in enumerate(names.items()):
        draw(axes[2], family, "validation_loss", 1, number, name)
    axes[2].set(title="validation digits", ylabel="cross-entropy (nats)", ylim=(0, 2.6))
    for axis in axes:
        axis.legend(fontsize=8)
        axis.set(xscale="log", xlabel="steps")
        axis.set_xticks([1, 10, 100, 1000], ["1", "10", "100", "1,000"])
        axis.minorticks_off()
    plots.show(
        figure,
        "Three panels against steps, on a logarithmic axis: five seeds, faint, and their mean. Hard targets: errors "
        "on the few digits fall to none within thirty steps, those on validation digits fall to about a quarter and "
        "stay. Soft targets: errors on the few digits fall to almost none, those on validation digits fall later, but "
        "further, and still a little at the end. Cross-entropy on validation digits: with hard targets it falls until "
        "about step 25 and rises again; with label smoothing it rises, too, and then stays; with a teacher of the 3% "
        "it rises until about step 60 and then falls back a little; with soft targets it falls the furthest and stays.",
    )


def _names(stored: Mapping[str, Any]) -> dict[str, str]:
    """What the families are called, with the settings that were chosen."""
    ways = {family: way.rpartition(" = ")[2] for family, way in _settings(stored).items()}
    return {
        "hard": "hard targets, 3%",
        "soft": f"soft targets, 3%, T = {ways['soft']}",
        "smoothed": f"label smoothing, 3%, ε = {ways['smoothed']}",
        "own": f"soft targets of a teacher of the 3%, T = {ways['own']}",
        "all": "hard targets, all digits",
    }


def _tested(stored: Mapping[str, Any], count: str = "test") -> dict[str, list[int]]:
    """Test errors over seeds of each family, in the end or (`test_if_stopped`) when stopped early."""
    return {family: [student[count] for student in _student(stored, way)] for family, way in _settings(stored).items()}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def three_percent(stored: Mapping[str, Any]) -> plots.Table:
    """Hinton's 3% experiment, the paper's and ours. The gap is between hard targets, stopped early, and all digits."""
    paper, names, test = stored["paper"], _names(stored), _tested(stored)
    baseline = _tested(stored, "test_if_stopped")["hard"]

    def row(name: str, wrong: Sequence[int], printed: str = "—") -> list[object]:
        closed = gap_closed(_mean(test["all"]), _mean(baseline), _mean(wrong))
        return [name, plots.mean_and_range(wrong), verdict(wrong, baseline), f"{closed:.0%}", printed]

    papers = gap_closed(paper["all"], paper["hard"], paper["soft"])
    rows = [
        row(names["hard"], test["hard"]),
        [f"{names['hard']}, stopped early", plots.mean_and_range(baseline), "—", "0%", f"{paper['hard']}%"],
        row(names["soft"], test["soft"], f"{paper['soft']}%, closes {papers:.0%}"),
        row(names["smoothed"], test["smoothed"]),
        row(names["own"], test["own"]),
        row(names["all"], test["all"], f"{paper['all']}%"),
    ]
    for name, who in (("the teacher that has seen all digits", "all"), ("the teacher of the 3%", "few")):
        rows.append([name, plots.mean_and_range([run["teachers"][who] for run in stored["runs"]]), "—", "—", "—"])
    wrong = f"wrong of {stored['data']['test']:,}"
    return plots.Table(["student of", wrong, "than hard, stopped early", "gap closed", "the paper's: right"], rows)


def overfitting(stored: Mapping[str, Any]) -> plots.Table:
    """Does longer training spoil a student? Means over seeds; the loss is the cross-entropy with the labels."""
    ways, test, stopped = _settings(stored), _tested(stored), _tested(stored, "test_if_stopped")
    rows = []
    for family, name in _names(stored).items():
        curves = [student["curve"] for student in _student(stored, ways[family])]
        rows.append(
            [
                name,
                f"{_mean([curve['train'][-1] for curve in curves]):.1f}",
                f"{_mean([min(curve['validation_loss']) for curve in curves]):.2f}",
                f"{_mean([curve['validation_loss'][-1] for curve in curves]):.2f}",
                plots.mean_and_range(test[family]),
                plots.mean_and_range(stopped[family]),
                verdict(stopped[family], test[family]),
            ]
        )
    columns = [
        "student of",
        "wrong of those trained on",
        "lowest validation loss (nats)",
        "in the end",
        f"wrong of {stored['data']['test']:,}, in the end",
        "if stopped early",
        "stopped early is",
    ]
    return plots.Table(columns, rows)


WAYS_TO_MATCH = {
    "labels": "labels alone",
    "smoothing": "label smoothing",
    "logits": "logits (Hinton 2015)",
    "features": "features (Romero 2015)",
    "attention": "attention (Zagoruyko 2017)",
    "relations": "relations (Park 2019)",
    "logits + features": "logits + features",
    "logits + attention": "logits + attention",
    "logits + relations": "logits + relations",
    "features of an untrained teacher": "features, untrained teacher",
    "attention of an untrained teacher": "attention, untrained teacher",
    "relations of an untrained teacher": "relations, untrained teacher",
}


def _matched(stored: Mapping[str, Any], part: str = "test") -> dict[str, list[int]]:
    """Errors over seeds of each way of matching."""
    return {way: [score[part] for score in stored["ways"][way]] for way in WAYS_TO_MATCH}


def matching(stored: Mapping[str, Any]) -> None:
    """Draw the test errors of all ways to match a teacher. stored: `course reproduce matching`'s."""
    found = {WAYS_TO_MATCH[way]: wrong for way, wrong in _matched(stored).items()}
    figure, axis = plots.new_figure(width=8, height=4.6)
    plots.points_over_seeds(axis, found, f"wrong of {stored['data']['test']:,} test digits")
    axis.axvline(stored["teacher"]["test"], color="#999999", linestyle=":", marker="")
    axis.set_xlim(left=0)
    axis.set_title("What is matched beside the labels (dotted: the teacher)")
    words = "; ".join(f"{row} {plots.mean_and_range(wrong)}" for row, wrong in found.items())
    plots.show(
        figure, f"Test errors, a dot for each seed, of the students of what is matched; a bar at the mean: {words}."
    )


def matching_verdicts(stored: Mapping[str, Any]) -> plots.Table:
    """Each way's weight, errors, and verdicts: against labels alone, logits, and the same from an untrained teacher."""
    test, train, rows = _matched(stored), _matched(stored, "train"), []
    chosen_weights = stored["choice"]["weights"]
    for way, name in WAYS_TO_MATCH.items():
        if way.endswith("untrained teacher"):
            continue
        weights = " and ".join(f"{chosen_weights[part]:g}" for part in way.split(" + ") if part in chosen_weights)
        untrained = test.get(f"{way} of an untrained teacher")
        rows.append(
            [
                name,
                weights or "—",
                plots.mean_and_range(train[way]),
                plots.mean_and_range(test[way]),
                "—" if way == "labels" else verdict(test[way], test["labels"]),
                "—" if way in ("labels", "logits") else verdict(test[way], test["logits"]),
                verdict(test[way], untrained) if untrained else "—",
            ]
        )
    columns = [
        "matched beside the labels",
        "weight",
        f"wrong of {stored['data']['train']:,} trained on",
        f"wrong of {stored['data']['test']:,}",
        "than labels alone",
        "than logits",
        "than untrained teacher",
    ]
    return plots.Table(columns, rows)


TIAN = {  # accuracy (%) on CIFAR-100: Tian 2020, table 1, teacher and student of one kind
    "teacher": (75.61, 75.61, 72.34, 74.31, 74.31, 79.42, 74.64),
    "labels alone": (73.26, 71.98, 69.06, 69.06, 71.14, 72.50, 70.36),
    "logits": (74.92, 73.54, 70.66, 70.67, 73.08, 73.33, 72.98),
    "features": (73.58, 72.24, 69.21, 68.99, 71.06, 73.50, 71.02),
    "attention": (74.08, 72.77, 70.55, 70.22, 72.31, 73.44, 71.43),
    "relations": (73.35, 72.22, 69.61, 69.25, 71.82, 71.90, 71.48),
}


def published_matching() -> plots.Table:
    """What a benchmark of the field found: accuracies, and in how many of its pairs each way beats two others."""
    pairs = len(TIAN["teacher"])
    rows: list[list[object]] = []
    for way, accuracy in TIAN.items():
        beats = {
            other: sum(a > b for a, b in zip(accuracy, TIAN[other], strict=True))
            for other in ("labels alone", "logits")
        }
        counts = ["—" if way in (other, "teacher", "labels alone") else f"{n} of {pairs}" for other, n in beats.items()]
        rows.append([way, f"{sum(accuracy) / pairs:.1f}%", *counts])
    return plots.Table(["CIFAR-100 (Tian 2020)", "mean accuracy", "better than labels", "better than logits"], rows)
