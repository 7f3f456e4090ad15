"""Tables and figures of lecture 01 and of its lab."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from course_utils import plots

Errors = Mapping[str, Sequence[int]]  # of each seed's student, by way of teaching


def _digit_with_bars(image: Tensor, title: str, targets: Mapping[str, Tensor], alt: str) -> None:
    figure, axes = plots.new_figure(1, 1 + len(targets), width=10, height=2.8)
    axes[0].imshow(image, cmap="gray_r")
    axes[0].set_title(title)
    axes[0].set_axis_off()
    for panel, (name, target) in zip(axes[1:], targets.items(), strict=True):
        plots.bars(panel, {str(i): float(p) for i, p in enumerate(target)}, "probability", "{:.3f}")
        panel.set_xlim(0, 1.35)
        panel.set_title(name)
    plots.show(figure, alt)


def _seeds_column(found: Errors) -> str:
    return f"wrong of 1,000: mean (range of {max(map(len, found.values()))} seeds)"


# --- lecture ----------------------------------------------------------------------------------------------------------


def targets(image: Tensor, by_name: Mapping[str, Tensor]) -> None:
    """Draw a digit [height, width] and three targets for it, each [classes], by name."""
    _digit_with_bars(
        image,
        "",
        by_name,
        "A handwritten digit that is hard to read, and three targets as bars over ten classes: the hard target has one "
        "bar of length one; the soft target at temperature 1 has two visible bars; at temperature 4 the other classes "
        "show as well.",
    )


def _test_errors(found: Errors, teacher: int, title: str, alt: str) -> None:
    figure, axes = plots.new_figure(height=2.8)
    plots.points_over_seeds(axes, found, "wrong of 1,000 test digits")
    axes.axvline(teacher, color="#999999", linestyle=":", marker="")
    axes.set_title(f"{title} (dotted: the teacher)")
    plots.show(figure, alt)


def few_digits(found: Errors, teacher: int) -> None:
    """Draw the test errors of students that have seen 500 digits, and their teacher's."""
    _test_errors(
        found,
        teacher,
        "500 digits to learn from",
        "Test errors of three students for each way of teaching, with 500 digits: the distilled students' dots are to "
        "the left of all others', between them and the dotted line of the teacher.",
    )


def errors_table(what: str, found: Errors) -> plots.Table:
    """Test errors over seeds, a row for each way of teaching. what: stands over their names."""
    rows = [[way, plots.mean_and_range(wrong)] for way, wrong in found.items()]
    return plots.Table([what, _seeds_column(found)], rows, seeds=[len(wrong) for wrong in found.values()])


FAMILIES = {  # how the names of their ways begin
    "labels": "labels",
    "label smoothing": "smoothed",
    "one teacher": "distilled",
    "five teachers": "of five",
    "convolutional teacher": "of a convolutional",
}
RIVALS = ("labels", "label smoothing")  # of all teachers
Scores = Mapping[str, Sequence[Mapping[str, int]]]  # of each seed's student on validation and test digits, by way


def chosen(scores: Scores, *families: str) -> tuple[str, list[int]]:
    """The way with the fewest validation errors, over all seeds, of some `FAMILIES`; and its test errors."""
    ways = [way for family in families for way in scores if way.startswith(FAMILIES[family])]
    way = min(ways, key=lambda way: sum(score["validation"] for score in scores[way]))
    return way, [score["test"] for score in scores[way]]


def _contest(stored: Mapping[str, Any], size: int, how: str, steps: int) -> Scores:
    return stored["contests"][f"{size} digits, {how}, {steps} steps"]


def contests(stored: Mapping[str, Any]) -> None:
    """Draw test errors against steps, for each transfer set, still and moved. stored: `course reproduce students`'s."""
    settings = stored["settings"]
    figure, axes = plots.new_figure(len(settings["sizes"]), 2, width=9.5, height=6)
    for row, size in zip(axes, settings["sizes"], strict=True):
        for axis, how in zip(row, ("still", "moved"), strict=True):
            for family in FAMILIES:
                wrong = [chosen(_contest(stored, size, how, steps), family)[1] for steps in settings["steps"]]
                (line,) = axis.plot(settings["steps"], [sum(w) / len(w) for w in wrong], label=family)
                for steps, each in zip(settings["steps"], wrong, strict=True):
                    axis.plot([steps] * len(each), each, linestyle="", marker=".", color=line.get_color(), alpha=0.4)
            axis.set(xscale="log", title=f"{size:,} digits, {how}")
            axis.set_xticks(settings["steps"], [f"{steps:,}" for steps in settings["steps"]])
            axis.minorticks_off()
        row[0].set_ylabel(f"wrong of {stored['data']['test']:,} test digits")
        limits = [axis.get_ylim() for axis in row]
        for axis in row:
            axis.set_ylim(min(limits)[0], max(high for _, high in limits))
    for axis in axes[-1]:
        axis.set_xlabel("steps of training, each with its own schedule")
    axes[0, 1].legend(fontsize=8)
    plots.show(
        figure,
        "Four panels, test errors against steps of training: 500 digits and 3,500, each still and moved; five lines in "
        "each, with a dot for each of three seeds. After the fewest steps the students of teachers are the worst, but "
        "for two of the teachers in the panel of 500 still digits; the convolutional teacher's falls furthest in each. "
        "After the most steps the convolutional teacher's student is the lowest with 500 moved and with 3,500 still "
        "digits, and level with the labels' with 3,500 moved digits, where those of the other teachers stay above.",
    )


def verdicts(stored: Mapping[str, Any]) -> plots.Table:
    """After the longest training: the teachers' students against the better of their rivals, seed by seed."""
    settings, rows = stored["settings"], []
    for size in settings["sizes"]:
        for how in ("still", "moved"):
            scores = _contest(stored, size, how, settings["steps"][-1])
            rival, theirs = chosen(scores, *RIVALS)
            for family in [family for family in FAMILIES if family not in RIVALS]:
                way, ours = chosen(scores, family)
                row = [f"{size:,}, {how}", f"{family}, T = {way.rpartition(' = ')[2]}", plots.mean_and_range(ours)]
                rows.append([*row, rival, plots.mean_and_range(theirs), verdict(ours, theirs)])
    columns = ["digits", "taught by", "wrong of 1,000", "best rival", "wrong of 1,000", "the teacher's student is"]
    return plots.Table(columns, rows)


def verdict(ours: Sequence[int], theirs: Sequence[int]) -> str:
    """Better or worse, if all seeds agree; a seed's students have the same first weights and digits."""
    pairs = list(zip(ours, theirs, strict=True))
    if all(a < b for a, b in pairs):
        return "better with every seed"
    return "worse with every seed" if all(a > b for a, b in pairs) else "neither: seeds disagree"


def by_size(stored: Mapping[str, Any]) -> None:
    """Draw test errors against the temperature, for each size of student. stored: `course reproduce temperatures`'s."""
    temperatures, runs = stored["settings"]["temperatures"], stored["runs"]
    figure, axes = plots.new_figure(1, len(stored["settings"]["hidden"]), width=10, height=3)
    for axis, hidden in zip(axes, stored["settings"]["hidden"], strict=True):
        wrong = [[run[str(hidden)][f"{t:g}"]["test"] for run in runs] for t in temperatures]
        (line,) = axis.plot(temperatures, [sum(each) / len(each) for each in wrong], label="teacher")
        for t, each in zip(temperatures, wrong, strict=True):
            axis.plot([t] * len(each), each, linestyle="", marker=".", color=line.get_color(), alpha=0.4)
        labels = [run[str(hidden)]["labels"]["test"] for run in runs]
        axis.axhline(sum(labels) / len(labels), color="#999999", linestyle=":", marker="", label="labels")
        axis.set(xscale="log", title=f"{hidden} hidden units", xlabel="temperature")
        axis.set_xticks(temperatures, [f"{t:g}" for t in temperatures])
        axis.minorticks_off()
    axes[0].set_ylabel(f"wrong of {stored['data']['test']:,} test digits")
    axes[0].legend(fontsize=8)
    plots.show(
        figure,
        "Three panels, test errors against the temperature, for students of 8, 32 and 128 hidden units, a dot for each "
        "of three seeds and a dotted line for labels alone. With 8 units errors are fewest at 1 and 2, and rise "
        "above the dotted line from 4 on; with 32 they are fewest at 4 and 8; with 128 they fall until 4, and at 20 "
        "they hardly rise.",
    )


def best_temperatures(stored: Mapping[str, Any]) -> plots.Table:
    """For each size of student: the temperature with the fewest validation errors; is the highest one worse?"""
    temperatures, rows = [f"{t:g}" for t in stored["settings"]["temperatures"]], []
    for hidden in map(str, stored["settings"]["hidden"]):
        test = {t: [run[hidden][t]["test"] for run in stored["runs"]] for t in ["labels", *temperatures]}
        best = min(temperatures, key=lambda t: sum(run[hidden][t]["validation"] for run in stored["runs"]))
        highest = temperatures[-1]
        row = [hidden, plots.mean_and_range(test["labels"]), best, plots.mean_and_range(test[best])]
        said = "the chosen one" if best == highest else verdict(test[highest], test[best])
        rows.append([*row, plots.mean_and_range(test[highest]), said])
    columns = ["hidden units", "labels", "chosen T", "wrong of 1,000", f"at T = {highest}", f"T = {highest} is"]
    return plots.Table(columns, rows)


def gap_closed(teacher: float, student: float, distilled: float) -> float:
    """Hinton's measure: the part of the errors between student and teacher that the distilled student is rid of."""
    return (student - distilled) / (student - teacher)


def hinton(stored: Mapping[str, Any]) -> None:
    """Draw the errors of the paper's networks on MNIST and of ours, still and moved. stored: `distillation.json`."""
    rows = {
        "teacher": "teacher",
        "student, labels": "student",
        "student, distilled": "distilled",
        "label smoothing": "smoothed",
        "permuted teacher": "permuted",
        "labels, moved digits": "jittered",
    }
    figure, axes = plots.new_figure(1, 2, width=10, height=3.4)
    for axis, count, title in zip(axes, ("errors", "moved_errors"), ("test digits as they are", "moved"), strict=True):
        found = {row: [run[name][count] for run in stored["runs"]] for row, name in rows.items()}
        plots.points_over_seeds(axis, found, f"wrong of {stored['data']['test']:,}: {title}")
        axis.set_xlim(left=0)
    axes[1].set_yticklabels([])
    paper = [
        (stored["paper"][name]["errors"], row) for row, name in enumerate(rows.values()) if name in stored["paper"]
    ]
    axes[0].plot(
        *zip(*paper, strict=True), linestyle="", marker="*", markersize=10, color=plots.COLOURS[2], label="paper"
    )
    axes[0].legend(loc="lower left", fontsize=8)
    plots.show(
        figure,
        "Two panels of errors, three seeds for each of six networks. On test digits as they are the teacher and the "
        "student of moved digits are best, then the distilled student and the one of label smoothing; plain labels and "
        "the permuted teacher are worst. Stars mark the paper's. On moved digits "
        "the teacher and the student of moved digits stay near where they were, the distilled student is next, and all "
        "others are far behind.",
    )


def fair(stored: Mapping[str, Any], contest: Mapping[str, Any], count: str = "errors") -> dict[str, list[int]]:
    """Errors over seeds of the fair contest's students and of their rivals. `distillation.json`, `contest.json`."""
    ours = {"its student, digits as they are": "distilled", "its student, moved digits": "distilled_moved"}
    theirs = {"labels, digits as they are": "student", "labels, moved digits": "jittered"}
    return {row: [run[count] for run in _column(stored, name)] for row, name in theirs.items()} | {
        row: [run[count] for run in _column(contest, name)] for row, name in ours.items()
    }


def _column(stored: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """What became of one kind of network, seed by seed."""
    return [run[name] for run in sorted(stored["runs"], key=lambda run: run["seed"])]


def fair_contest(stored: Mapping[str, Any], contest: Mapping[str, Any]) -> None:
    """Draw the fair contest on all of MNIST beside the paper's numbers."""
    found = {"the teacher (one network)": [contest["teacher"]["errors"]]} | fair(stored, contest)
    figure, axis = plots.new_figure(width=7.5, height=3)
    plots.points_over_seeds(axis, found, f"wrong of {stored['data']['test']:,} test digits")
    for name, line in (("teacher", "--"), ("distilled", ":")):
        errors = stored["paper"][name]["errors"]
        axis.axvline(errors, color=plots.COLOURS[2], linestyle=line, label=f"the paper's {name}: {errors}")
    axis.set_xlim(left=0)
    axis.legend(loc="lower left", fontsize=8)
    words = "; ".join(f"{row} {plots.mean_and_range(errors)}" for row, errors in found.items())
    plots.show(figure, f"Test errors, a point for each seed, beside the paper's teacher and its student: {words}.")


def fair_verdicts(stored: Mapping[str, Any], contest: Mapping[str, Any]) -> plots.Table:
    """Each student of the better teacher against the student that saw the same digits with labels; the paper's part."""
    still, moved, rows = "digits as they are", "moved digits", []
    for how, tested, count in ((still, still, "errors"), (moved, still, "errors"), (moved, moved, "moved_errors")):
        found = fair(stored, contest, count)
        ours, theirs = found[f"its student, {how}"], found[f"labels, {how}"]
        row = [how, tested, plots.mean_and_range(theirs), plots.mean_and_range(ours), verdict(ours, theirs)]
        base = sum(found[f"labels, {still}"]) / len(theirs)
        closed = gap_closed(contest["teacher"][count], base, sum(ours) / len(ours))
        rows.append([*row, f"{closed:.0%}" if tested == still else "—"])
    columns = ["trained on", "tested on", "labels", "the teacher's remarks", "the teacher's student is", "gap closed"]
    return plots.Table(columns, rows, seeds=[len(contest["runs"])] * len(rows))


def paper_table(stored: Mapping[str, Any]) -> plots.Table:
    """Hinton's MNIST experiment: the paper's errors, ours, and ours on moved digits. stored: `course reproduce`'s."""
    paper, runs = stored["paper"], stored["runs"]

    def ours(network: str, count: str = "errors", digit: int | None = None) -> str:
        values = [run[network][count] if digit is None else run[network][f"{count}_by_class"][digit] for run in runs]
        return plots.mean_and_range(values)

    def row(name: str, printed: object, network: str) -> list[object]:
        return [name, printed, ours(network), ours(network, "moved_errors")]

    no_3, only_7_and_8 = paper["without_3"], paper["only_7_and_8"]
    rows = [
        row("teacher, 2 × 1200, dropout, moved digits", paper["teacher"]["errors"], "teacher"),
        row("student, 2 × 800, labels", paper["student"]["errors"], "student"),
        row("student, distilled", paper["distilled"]["errors"], "distilled"),
        row("— no 3 in the transfer set", no_3["errors"], "without_3"),
        ["—— of them threes", no_3["errors_on_3"], ours("without_3", digit=3), ""],
        ["—— after raising the bias of 3", no_3["shifted_errors"], ours("without_3", "shifted_errors"), ""],
        ["——— of them threes", no_3["shifted_errors_on_3"], ours("without_3", "shifted_errors", digit=3), ""],
        row("— only 7s and 8s in the transfer set", only_7_and_8["errors"], "only_7_and_8"),
        [
            "—— after moving the biases of 7 and 8",
            only_7_and_8["shifted_errors"],
            ours("only_7_and_8", "shifted_errors"),
            "",
        ],
        row("control: label smoothing", "—", "smoothed"),
        row("control: permuted teacher", "—", "permuted"),
        row("control: labels, moved digits", "—", "jittered"),
    ]
    columns = ["network", "paper: wrong of 10,000", "ours: mean (range of seeds)", "ours, the test digits moved"]
    return plots.Table(columns, rows, seeds=[len(runs)] * len(rows))


# --- lab --------------------------------------------------------------------------------------------------------------


def temperatures(image: Tensor, label: int, by_temperature: Mapping[float, Tensor]) -> None:
    """Draw a digit [height, width] and its soft targets, each [classes], by temperature."""
    _digit_with_bars(
        image,
        f"labelled {label}",
        {f"T = {temperature:g}": target for temperature, target in by_temperature.items()},
        "The image of a digit that is hard to read, and the teacher's probabilities for the ten classes at "
        "temperatures 1, 4 and 20: at 1 two classes share almost all, at 20 the ten bars are nearly equal.",
    )


def likeness(percent: Tensor) -> None:
    """Draw the mean soft targets [true digit, class], in percent, at T = 4; the diagonal is left empty."""
    percent = percent.clone().fill_diagonal_(float("nan"))
    figure, axes = plots.new_figure(width=5, height=3.8)
    picture = axes.imshow(percent, cmap="Blues")
    for i, j in percent.isfinite().nonzero().tolist():
        dark = percent[i, j] > 0.7 * picture.get_clim()[1]
        axes.text(
            j, i, f"{percent[i, j]:.0f}", ha="center", va="center", fontsize=8, color="white" if dark else "black"
        )
    axes.set(xticks=range(10), yticks=range(10), xlabel="the teacher's other classes", ylabel="true digit")
    axes.grid(visible=False)
    figure.colorbar(picture, label="mean probability at T = 4 (%)")
    plots.show(
        figure,
        "A map of ten true digits against the nine other classes of each. Written in each entry, and shown by its "
        "colour, is the mean probability in percent that the teacher gives at temperature 4. It is uneven: in each row "
        "some classes stand out.",
    )


def loudness(with_factor: Mapping[float, float]) -> None:
    """Draw the length of the teacher's gradient relative to the labels', by temperature, with T² and without."""
    grid = list(with_factor)
    figure, axes = plots.new_figure()
    axes.loglog(grid, list(with_factor.values()), label="with T²")
    axes.loglog(grid, [ratio / t**2 for t, ratio in with_factor.items()], label="without")
    axes.axhline(1, color="#999999", linewidth=1, linestyle=":", marker="")
    axes.set(xlabel="temperature", ylabel="teacher's gradient / labels' gradient")
    axes.set_xticks(grid, [f"{t:g}" for t in grid])
    axes.set_xticks([], minor=True)
    axes.set_title("How loud the teacher is, compared with the labels")
    axes.legend()
    plots.show(
        figure,
        "Length of the gradient of the teacher's term relative to the labels' term, against temperature, both axes "
        "logarithmic. With the factor T² the curve stays within a factor of a few; without it, it falls by three "
        "orders of magnitude between temperature 1 and 32.",
    )


def ensemble_table(probabilities: Mapping[str, Tensor], labels: Tensor) -> plots.Table:
    """Errors and cross-entropy, in nats, of networks by name. probabilities: [n, classes]; labels: [n]."""
    rows = [
        [name, int((p.argmax(1) != labels).sum()), round(float(F.nll_loss(p.log(), labels)), 3)]
        for name, p in probabilities.items()
    ]
    return plots.Table(["network", f"wrong of {len(labels)}", "cross-entropy (nats)"], rows)


def distance_from_limit(by_temperature: Mapping[float, float]) -> None:
    """Draw how far T² times the gradient is from its high-temperature limit, relative to it, by temperature."""
    grid = list(by_temperature)
    figure, axes = plots.new_figure()
    axes.loglog(grid, list(by_temperature.values()))
    axes.set(xlabel="temperature", ylabel="relative distance from the limit")
    axes.set_title("How far T² times the gradient is from matching logits")
    axes.set_xticks(grid, [f"{t:g}" for t in grid])
    axes.set_yticks([0.03, 0.1, 0.3, 1.0], ["0.03", "0.1", "0.3", "1"])
    axes.set_xticks([], minor=True)
    axes.set_yticks([], minor=True)
    plots.show(
        figure,
        "Relative distance of T² times the gradient from its high-temperature limit, against temperature, both axes "
        "logarithmic. Flat at low temperatures, then a straight line downwards of slope minus one.",
    )


def validation_errors(found: Errors) -> None:
    """Draw the validation errors of three students for each way of teaching."""
    figure, axes = plots.new_figure(height=3.8)
    plots.points_over_seeds(axes, found, "wrong of 500 validation digits")
    axes.set_title("Three students for each way (bar: their mean)")
    plots.show(
        figure,
        "Errors of three students for each way of teaching, a dot for each seed and a bar at the mean. The rows of "
        "distilled students are to the left of, that is better than, those of labels, virtual and permuted teachers.",
    )


def chosen_table(found: Errors, teacher: int) -> plots.Table:
    """Test errors of each family's best students, and their teacher's."""
    rows = [[way, plots.mean_and_range(wrong)] for way, wrong in found.items()]
    return plots.Table(
        ["student", "wrong of 1,000 test digits: mean (lowest–highest of 3 seeds)"],
        [*rows, ["the teacher itself", str(teacher)]],
    )


def never_saw_3_table(predictions: Mapping[str, Sequence[Tensor]], labels: Tensor) -> plots.Table:
    """Errors of students that never saw a 3, and those of them on threes.

    predictions: by student, each seed's classes [n]. labels: [n].
    """
    three = labels == 3
    rows = [
        [
            name,
            plots.mean_and_range([int((classes != labels).sum()) for classes in seeds]),
            plots.mean_and_range([int((classes[three] != 3).sum()) for classes in seeds]),
        ]
        for name, seeds in predictions.items()
    ]
    columns = ["wrong of 1,000 test digits", f"of them threes (of {int(three.sum())})"]
    counts = [len(seeds) for seeds in predictions.values()]
    return plots.Table(["student that never saw a 3", *columns], rows, seeds=counts)
