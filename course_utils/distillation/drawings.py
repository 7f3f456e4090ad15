"""What lecture 01 draws of the method: two ways to a small network, a lesson, and what else can be matched."""

from matplotlib.axes import Axes

from course_utils import plots

TEACHER, STUDENT, NOTE = "#cfe3f2", "#f3d5c0", "#eeeeee"


def _frame(axis: Axes, width: float, height: float) -> None:
    axis.set(xlim=(0, width), ylim=(0, height))
    axis.set_axis_off()


def two_ways() -> None:
    """Draw surgery and teaching, the two ways to a small network."""
    figure, axis = plots.new_figure(width=9, height=2.6)
    plots.box(axis, 1.4, 2, "large network\nor ensemble", TEACHER, 2)
    for y, steps, end in (
        (3.1, ("cut", "round", "code"), "the same network,\nsmall (units 02 to 05)"),
        (0.9, ("ask", "soft targets", "train"), "another network,\nsmall (this unit)"),
    ):
        plots.arrow(axis, (2.5, 2 + 0.3 * (y - 2)), (3.3, y))
        for i, step in enumerate(steps):
            plots.box(axis, 4.2 + 1.9 * i, y, step, NOTE, 1.5)
            plots.arrow(axis, (5.02 + 1.9 * i, y), (5.36 + 1.9 * i, y))
        plots.box(axis, 10.8, y, end, STUDENT, 2.7)
    axis.text(6.1, 3.85, "surgery", ha="center", fontsize=10, weight="bold")
    axis.text(6.1, 1.65, "teaching", ha="center", fontsize=10, weight="bold")
    _frame(axis, 12.4, 4.2)
    plots.show(
        figure,
        "From a box for a large network or an ensemble two rows of boxes go to a small network. Surgery: cut, round, "
        "code; the same network, small. Teaching: ask, soft targets, train; another network, small.",
    )


def lesson() -> None:
    """Draw how a student is trained by a teacher, and where it may go wrong: the digit that both see."""
    figure, axis = plots.new_figure(width=9.5, height=3.4)
    plots.box(axis, 1.1, 2.6, "digit", NOTE, 1.3)
    plots.box(axis, 3.2, 2.6, "moved?", "white", 1.3)
    plots.box(axis, 5.6, 4.0, "teacher\n(a constant)", TEACHER, 1.8)
    plots.box(axis, 5.6, 1.2, "student", STUDENT, 1.8)
    plots.box(axis, 8.6, 4.0, "softmax at T:\np", TEACHER, 1.9)
    plots.box(axis, 8.6, 2.4, "softmax at T:\nq", STUDENT, 1.9)
    plots.box(axis, 8.6, 0.8, "softmax at 1", STUDENT, 1.9)
    plots.box(axis, 12.0, 3.2, "α T² KL(p ‖ q)", "white", 2.2)
    plots.box(axis, 12.0, 0.8, "(1 − α) H(label, ·)", "white", 2.4)
    plots.box(axis, 14.9, 2.0, "loss", NOTE, 1.1)
    for start, end in (
        ((1.8, 2.6), (2.5, 2.6)),
        ((3.9, 2.8), (4.6, 3.8)),
        ((3.9, 2.4), (4.6, 1.4)),
        ((6.6, 4.0), (7.55, 4.0)),
        ((6.6, 1.35), (7.55, 2.3)),
        ((6.6, 1.1), (7.55, 0.85)),
        ((9.65, 3.9), (10.8, 3.35)),
        ((9.65, 2.5), (10.8, 3.05)),
        ((9.65, 0.8), (10.7, 0.8)),
        ((13.2, 3.05), (14.3, 2.2)),
        ((13.3, 0.95), (14.3, 1.8)),
    ):
        plots.arrow(axis, start, end)
    axis.text(3.2, 1.75, "both see the\nsame image", ha="center", va="top", fontsize=8)
    _frame(axis, 15.7, 4.7)
    plots.show(
        figure,
        "A digit, perhaps moved, goes to a teacher and to a student. The teacher's softmax at temperature T and the "
        "student's at T meet in a box: alpha times T squared times the KL divergence. The student's softmax at 1 goes "
        "to a second box: one minus alpha times the cross-entropy with the label. Both add up to the loss.",
    )


def matched() -> None:
    """Draw a teacher above a student, layer by layer, and what methods match between them."""
    figure, axis = plots.new_figure(width=9.5, height=3.7)
    columns = [
        (1.0, "image", ""),
        (4.0, "early\nfeatures", "attention:\nwhere features\nare large\n(Zagoruyko 2017)"),
        (7.0, "middle\nfeatures", "the features,\nby a linear map\n(FitNets,\nRomero 2015)"),
        (10.0, "last\nfeatures", "relations: how far\nexamples are\nfrom each other\n(Park 2019)"),
        (13.0, "logits", "soft targets\n(Hinton 2015),\nlogits (Ba 2014),\nsequences (Kim 2016)"),
    ]
    for y, colour, who in ((4.3, TEACHER, "teacher"), (0.7, STUDENT, "student")):
        axis.text(-0.2, y, who, ha="right", va="center", fontsize=10, weight="bold")
        for i, (x, name, _) in enumerate(columns):
            plots.box(axis, x, y, name, colour if i else NOTE, 1.5)
            if i:
                plots.arrow(axis, (x - 2.15, y), (x - 0.85, y))
    for x, _, text in columns[1:]:
        axis.text(x, 2.5, text, ha="center", va="center", fontsize=8.5)
        plots.arrow(axis, (x, 3.85), (x, 3.35))
        plots.arrow(axis, (x, 1.65), (x, 1.15))
    axis.set(xlim=(-1.8, 14.2), ylim=(0.1, 4.9))
    axis.set_axis_off()
    plots.show(
        figure,
        "A teacher's chain of image, early, middle and last features and logits above the same chain of a student. "
        "Between them, from left to right: attention, that is where features are large; the features themselves, by a "
        "linear map; relations, how far examples are from each other; soft targets, raw logits or whole sequences.",
    )
