"""Tables and figures of lecture 14."""

import html
import io
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from PIL import Image, ImageDraw
from torch import Tensor

from course_utils import drone, plots
from course_utils.drone import Film
from course_utils.text_spotting import (
    ctc_decode,
    edit_distance,
    energy_score,
    merge_readings,
    pack_task,
    pareto_front,
    pipeline,
    published,
    sharpness,
    spot_stream,
    stream,
)
from course_utils.text_spotting.networks import SIZES, STRIDE, detect
from course_utils.text_spotting.pipeline import Reader

Results = Mapping[str, Any]  # of `course reproduce text-spotting`
Row = Mapping[str, Any]  # an operating point: nets, bits, policy and window, with what came out on each film
BLUE, RED, GREEN, GREY = plots.COLOURS[1], plots.COLOURS[2], plots.COLOURS[3], "#999999"
BASE = ("large large", 32, "all", 1)
GOALS = {32: 10.0, 8: 25.0}  # times fewer joules, by the bits
LOOKS = {  # colour, line and marker of each pair of networks
    pair: (plots.COLOURS[i], plots.LINES[i], plots.MARKERS[i])
    for i, pair in enumerate(
        ("large large", "large medium", "medium large", "medium medium", "small medium", "small small")
    )
}


def blank(axis: Axes, title: str = "") -> None:
    """An axis for a drawing: no ticks, no frame."""
    axis.set_title(title, fontsize=10)
    axis.set(xticks=[], yticks=[])
    axis.grid(visible=False)
    for spine in axis.spines.values():
        spine.set_visible(False)


def picture(axis: Axes, pixels: Tensor | np.ndarray, title: str = "") -> None:
    axis.imshow(np.asarray(pixels), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    blank(axis, title)


# --- lecture: drawings ------------------------------------------------------------------------------------------------


def pipeline_drawing() -> None:
    """Draw the way of a frame: is it worth reading, where is text, what does it say, what does the film say."""
    figure, axis = plots.new_figure(width=9.6, height=2.9)
    boxes = [
        (0, "film", "192 × 320,\n15 frames a second"),
        (1.95, "sharpest\nof a window", "14.2: every frame\nis looked at"),
        (3.9, "detector", "score and four\ndistances a cell"),
        (5.85, "boxes", "14.4: decode,\nsuppress"),
        (7.8, "recognizer", "16 × 96 pixels\na crop"),
        (9.75, "text", "14.5: CTC"),
        (11.7, "words", "14.6: merge\nall readings"),
    ]
    for (x, text, below), shade in zip(
        boxes, ("white", "#fdeecf", *["#dbe9f5"] * 3, "#dbe9f5", "#fdeecf"), strict=True
    ):
        plots.box(axis, x, 1, text, shade, width=1.45)
        axis.text(x, 0.4, below, ha="center", va="top", fontsize=8)
    for (x, *_), (following, *_) in itertools.pairwise(boxes):
        plots.arrow(axis, (x + 0.8, 1), (following - 0.8, 1))
    axis.plot([3.0, 10.6], [-0.55, -0.55], marker="", linestyle="-", color=BLUE)
    axis.text(6.8, -0.65, "only for the frames that are read: this is where the joules are", ha="center", va="top",
              color=BLUE, fontsize=9)  # fmt: skip
    axis.set(xlim=(-0.9, 12.6), ylim=(-1.1, 1.6))
    blank(axis)
    plots.show(
        figure,
        "Seven boxes in a row with arrows between them: film, sharpest of a window, detector, boxes, recognizer, text, "
        "words. A line below the four in the middle says that only frames that are read cost their joules.",
    )


def film_strip(film: Film, frames: Sequence[int]) -> None:
    """Some frames with the boxes of their texts, and how sharp they are."""
    values = sharpness(film.frames)
    figure, axes = plots.new_figure(1, len(frames), width=9.6, height=2.0)
    for axis, frame in zip(axes, frames, strict=True):
        small = torch.nn.functional.avg_pool2d(film.frames[frame][None, None], 2)[0, 0]  # enough at this size
        picture(axis, small, f"frame {frame}: 1000 · sharpness {1000 * values[frame]:.1f}")
        for x0, y0, x1, y1 in (film.boxes[frame] / 2).tolist():
            axis.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=plots.COLOURS[5], linewidth=1.3))
    plots.show(
        figure,
        "Four grey frames from above, with signs in boxes: sharp ones, some that are blurred by shaking, a dart in "
        "which signs are streaks, and another station. The sharp frame has the highest number in its title.",
    )


def referee_drawing(truth: Sequence[str], answers: Sequence[str]) -> None:
    """Draw each true word with its nearest answer, and the error that the referee counts; answers too many in grey."""
    figure, axis = plots.new_figure(width=8.4, height=0.42 * max(len(truth), len(answers)) + 1.2)
    used = set()
    for row, word in enumerate(truth):
        nearest = min(range(len(answers)), key=lambda i, word=word: edit_distance(word, answers[i]))
        error = min(1.0, edit_distance(word, answers[nearest]) / len(word))
        axis.text(0, -row, word, ha="left", va="center", family="monospace")
        if error < 1:
            used.add(nearest)
            axis.plot([1.7, 3.2], [-row, -nearest], marker="", linestyle="-", color=BLUE)
        axis.text(7.0, -row, f"{error:.2f}", ha="right", va="center", color=RED if error else "black")
        axis.add_patch(Rectangle((7.2, -row - 0.25), 2 * error, 0.5, facecolor=RED))
    for row, word in enumerate(answers):
        colour = "black" if row in used else GREY
        axis.text(3.3, -row, word, ha="left", va="center", family="monospace", color=colour)
        if row not in used:
            axis.text(5.2, -row, "costs nothing", va="center", fontsize=8, color=GREY)
    for x, text in ((0, "true word"), (3.3, "answer"), (6.1, "error")):
        axis.text(x, 0.75, text, ha="left", va="center", fontsize=9, weight="bold")
    axis.set(xlim=(-0.2, 9.4), ylim=(-max(len(truth), len(answers)) + 0.4, 1.1))
    blank(axis)
    plots.show(
        figure,
        "True words on the left, lines to their nearest answers, errors as bars on the right: a word read right has "
        "none, one wrong letter of four a quarter, a word that no answer is near to three quarters. Answers that "
        "belong to no true word are grey: they cost nothing.",
    )


def sharpness_drawing(film: Film, frame: int) -> None:
    """The same piece of a frame still, moved and noisy, with the Laplacian below and its variance."""
    x, y = (int(side) for side in film.boxes[frame][0][:2])
    x, y = min(max(x - 12, 5), 320 - 101), min(max(y - 20, 0), 192 - 56)
    still = film.frames[frame][y : y + 56, x : x + 96]
    moved = torch.stack([film.frames[frame][y : y + 56, x + d : x + 96 + d] for d in range(-5, 6)]).mean(dim=0)
    noise = 0.03 * torch.randn(moved.shape, generator=torch.Generator().manual_seed(0))
    cases = {"still": still, "moved by 10 pixels": moved, "moved, noise σ = 0.03": moved + noise}
    figure, axes = plots.new_figure(2, 3, width=7.6, height=3.5)
    for (name, pixels), (top, below) in zip(cases.items(), axes.T, strict=True):
        picture(top, pixels, name)
        laplacian = pixels[:-2, 1:-1] + pixels[2:, 1:-1] + pixels[1:-1, :-2] + pixels[1:-1, 2:] - 4 * pixels[1:-1, 1:-1]
        below.imshow(laplacian.numpy(), cmap="RdBu", vmin=-0.4, vmax=0.4, interpolation="nearest")
        blank(below, f"variance {float(sharpness(pixels[None])):.4f}")
    plots.show(
        figure,
        "A piece of a frame three times, its Laplacian below. Still: letters have strong edges. Moved: edges along the "
        "motion are left, the others are gone, and the variance is much smaller. With noise: the Laplacian is full of "
        "speckles, and its variance is as large as that of the still picture, or larger.",
    )


def boxes_drawing() -> None:
    """Draw a cell with its four distances, and a chain of three boxes under suppression."""
    figure, (cell, chain) = plots.new_figure(1, 2, width=9.2, height=2.9)
    cell.set(xlim=(0, 96), ylim=(48, 0))
    for x in range(0, 97, STRIDE):
        cell.plot([x, x], [0, 48], marker="", linestyle="-", color="#dddddd", linewidth=0.7)
    for y in range(0, 49, STRIDE):
        cell.plot([0, 96], [y, y], marker="", linestyle="-", color="#dddddd", linewidth=0.7)
    cell.text(45, 24, "STATION", ha="center", va="center", fontsize=22, color="#bbbbbb", family="monospace")
    cell.add_patch(Rectangle((10, 14), 72, 20, fill=False, edgecolor=RED, linewidth=1.6))
    x, y = 44, 20
    cell.add_patch(Rectangle((40, 16), STRIDE, STRIDE, facecolor="#a9cbe8", alpha=0.8))
    for end, name, at in (((10, y), "left", (24, 18)), ((82, y), "right", (64, 18)), ((x, 14), "top", (46, 12.5)),
                          ((x, 34), "bottom", (46, 30))):  # fmt: skip
        plots.arrow(cell, (x, y), end)
        cell.text(*at, name, fontsize=9)
    blank(cell, "a cell of 8 × 8 pixels knows its distances")
    spots = {"A  0.9": (10, 12), "B  0.8": (34, 17), "C  0.7": (58, 22)}
    for (name, (left, top)), colour in zip(spots.items(), (GREEN, GREY, GREEN), strict=True):
        style = "--" if colour == GREY else "-"
        box = Rectangle((left, top), 40, 16, fill=False, edgecolor=colour, linewidth=2, linestyle=style)
        chain.add_patch(box)
        chain.text(left + 1, top - 1, name, fontsize=9, color=colour)
    chain.set(xlim=(0, 108), ylim=(48, 0))
    blank(chain, "A removes B; B is gone and cannot remove C")
    plots.show(
        figure,
        "Left: a grid of cells over the word STATION, a box around it, and from one coloured cell's centre four "
        "arrows to the sides of the box. Right: boxes A, B and C in a chain, each overlapping the next; A and C are "
        "solid, B is dashed: it was removed by A, and does not remove C.",
    )


def ctc_drawing(path: str = "HHE-L--LLO-", alphabet: str = "EHLO") -> None:
    """Draw a path of CTC as a grid, class by step, and what becomes of it; '-' is the blank."""
    logits = torch.zeros(len(path), len(alphabet) + 1)
    for step, letter in enumerate(path):
        logits[step, 0 if letter == "-" else alphabet.index(letter) + 1] = 4.0
    text, _ = ctc_decode(logits, alphabet)
    figure, axis = plots.new_figure(width=8.4, height=2.9)
    axis.imshow(logits.softmax(dim=1).T.numpy(), cmap="Blues", vmin=0, vmax=1.3, aspect="auto")
    axis.set_xticks(range(len(path)), list(path), fontsize=12, family="monospace")
    axis.set_yticks(range(len(alphabet) + 1), ["blank", *alphabet])
    axis.grid(visible=False)
    for step in range(1, len(path)):
        if path[step] == path[step - 1] != "-":
            axis.text(step - 0.5, -0.85, "one", ha="center", color=RED, fontsize=9)
    kept = [step for step, letter in enumerate(path) if letter != "-" and (step == 0 or letter != path[step - 1])]
    for step in kept:
        row = alphabet.index(path[step]) + 1
        axis.add_patch(Rectangle((step - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=RED, linewidth=2))
    axis.set_xlabel(f"the best class in each step; runs become one, then blanks go: {text}")
    axis.set_ylabel("class")
    plots.show(
        figure,
        "A grid of five classes by eleven steps, the most probable class of each step dark. The path reads H, H, E, "
        "blank, L, blank, blank, L, L, O, blank. Frames mark the first step of each run of letters: H, E, L, L, O. The "
        "blanks between the two L keep them apart.",
    )


def clusters_drawing(readings: Sequence[tuple[str, float]], tolerance: float, support: float) -> None:
    """Draw which readings join which cluster, their weights as bars, and which word each cluster says."""
    clusters: list[list[tuple[str, float]]] = []
    for text, weight in readings:
        near = (c for c in clusters if edit_distance(text, c[0][0]) <= tolerance * max(len(text), len(c[0][0])))
        cluster = next(near, None)
        if cluster is None:
            clusters.append([(text, weight)])
        else:
            cluster.append((text, weight))
    figure, axes = plots.new_figure(1, len(clusters), width=9.2, height=2.3)
    for axis, cluster in zip(axes, clusters, strict=True):
        total = sum(weight for _, weight in cluster)
        sums: dict[str, float] = {}
        for text, weight in cluster:
            sums[text] = sums.get(text, 0.0) + weight
        said = max(sums, key=sums.__getitem__) if total >= support else "nothing"
        names = [f"{text}{' ' * i}" for i, (text, _) in enumerate(cluster)]  # readings may be equal, names may not
        axis.barh(names, [weight for _, weight in cluster], color=BLUE if total >= support else GREY)
        axis.invert_yaxis()
        axis.set(xlim=(0, 1.05), xlabel="weight")
        axis.set_title(f"sum {total:.2f}: {said}", fontsize=9)
        axis.tick_params(labelsize=8)
    plots.show(
        figure,
        "A panel for each cluster, with a bar for each reading's weight. The sum stands above: clusters that reach the "
        "support say the text of the largest sum, the others say nothing.",
    )


def packnet_drawing() -> None:
    """Draw a weight matrix after three tasks: who owns what, and what the second task sees."""
    generator = torch.Generator().manual_seed(1)
    weights = {"w": torch.randn(6, 8, generator=generator)}
    owner = {"w": torch.zeros(6, 8, dtype=torch.int64)}
    steps = []
    for task, keep in ((1, 1 / 3), (2, 1 / 2), (3, 1.0)):
        weights, owner = pack_task(weights, owner, keep, task)
        steps.append(owner["w"].clone())
        free = owner["w"] == 0
        weights["w"][free] = torch.randn(int(free.sum()), generator=generator)
    shades, hatches = ("#f2f2f2", "#a9cbe8", "#f5c79b", "#9fd8c2"), ("", "", "//", "..")
    figure, axes = plots.new_figure(1, 4, width=9.6, height=2.2)
    seen = torch.where(steps[2] <= 2, steps[2], 0)
    names = ("task 1 takes a third", "task 2 half of the rest", "task 3 what is left", "what task 2 sees, always")
    for axis, matrix, title in zip(axes, [*steps, seen], names, strict=True):
        for (row, column), number in np.ndenumerate(matrix.numpy()):
            axis.add_patch(Rectangle((column, -row), 0.92, 0.92, facecolor=shades[number], hatch=hatches[number],
                                     edgecolor="#888888", linewidth=0.5))  # fmt: skip
            if number:
                axis.text(column + 0.46, 0.46 - row, str(number), ha="center", va="center", fontsize=8)
        axis.set(xlim=(-0.1, 8.1), ylim=(-5.2, 1.1))
        axis.set_aspect("equal")
        blank(axis, title)
    plots.show(
        figure,
        "A matrix of six by eight weights four times, each cell with the number of the task that owns it. First a "
        "third belongs to task 1; then half of the rest to task 2; then all the rest to task 3. The last picture shows "
        "the first two tasks' weights and zeros elsewhere: that is what task 2 computes with, whatever came later.",
    )


def battery_drawing(results: Results, kind: str = "bursts") -> None:
    """The stored film: what has come in, what 14.11 and the greedy policy have spent, and where they read."""
    run = results["stream"][0]
    arriving, choices = policies(results, run, kind)
    figure, axis = plots.new_figure(width=9.2, height=2.8)
    axis.plot(1000 * np.cumsum(arriving), color="black", linestyle="-", marker="", label="has come in")
    for (name, chosen), colour, line, y in zip(choices.items(), (BLUE, RED), ("--", ":"), (-0.6, -1.3), strict=False):
        spent = np.cumsum([run["joules"][p] if p >= 0 else 0.0 for p in chosen])
        axis.plot(1000 * spent, color=colour, linestyle=line, marker="", label=f"spent by {name}")
        at = [t for t, p in enumerate(chosen) if p >= 0]
        top = 1000 * sum(arriving)
        axis.plot(at, [0.09 * y * top] * len(at), linestyle="", marker="|", markersize=8, color=colour)
    axis.set(xlabel="frame", ylabel="mJ", title=f"income in {kind}" if kind == "bursts" else f"{kind} income")
    axis.legend(fontsize=8)
    plots.show(
        figure,
        "A staircase of the energy that has come in, and below it two curves of what was spent, which never cross it. "
        "Ticks below the axis mark the frames that were read: the greedy policy's stand close together right after "
        "each burst, those of 14.11 are fewer and go on longer.",
    )


def policies(results: Results, run: Row, kind: str, share: float | None = None) -> tuple[list[float], dict[str, list]]:
    """For the stored film: the income, and the choices of each policy that does not know the future. share: of what
    reading every frame with the best networks takes; the experiment's if left out."""
    sample, settings = run["sample"], results["settings"]
    count, joules, values, point = len(sample["sharpness"]), run["joules"], run["values"], run["point"]
    best = joules[values.index(max(values))]
    total = (settings["stream_share"] if share is None else share) * best * count
    arriving = stream.income(kind, count, total, settings["stream_films"][0])
    left = stream.after_looking(arriving, run["looking"])
    readings = [[tuple(reading) for reading in row] for row in sample["readings"]]
    return arriving, {
        "14.11": spot_stream(sample["sharpness"], sample["change"], readings, joules, values, left)[0],
        "greedy": stream.greedy(point, joules, arriving),
        "every k-th": stream.regular(point, joules, arriving),
    }


def paid_for(sample: Row, choices: Sequence[int]) -> tuple[float, float, int, int]:
    """What a policy has read of the stored film: the mean sharpness and the mean weight, how many words were right in
    some frame, and how many of these are right after merging."""
    paid = [(t, *sample["readings"][t][p]) for t, p in enumerate(choices) if p >= 0]
    seen = {text for t, text, _ in paid if text in sample["words"][t]}
    words = merge_readings([(text, weight) for _, text, weight in paid], stream.TOLERANCE, stream.SUPPORT)
    sharp = float(np.mean([sample["sharpness"][t] for t, _, _ in paid] or [0.0]))
    return sharp, float(np.mean([weight for _, _, weight in paid] or [0.0])), len(seen), len(seen & set(words))


def readings_words(results: Results) -> str:
    """The readings of 14.11 beside those of every k-th, on the stored film in all seeds and incomes."""
    cases = [(run, policies(results, run, kind)[1]) for run in results["stream"] for kind in stream.INCOMES]
    ours, theirs = (
        np.array([paid_for(run["sample"], choices[name]) for run, choices in cases]) for name in ("14.11", "every k-th")
    )
    sharper, surer = (ours > theirs).sum(0)[:2]
    return "\n".join([
        f"networks, by seed: {', '.join(SIZES[run['point']] for run in results['stream'])}",
        f"14.11's mean frame is sharper in {sharper} of {len(cases)} cases, its mean reading surer in {surer}",
        *(f"{name}: {each[2]:.0f} words right in some frame, {each[3]:.0f} of them after merging"
          for name, each in (("14.11", ours.sum(0)), ("every k-th", theirs.sum(0)))),
    ])  # fmt: skip


# --- lecture: the film ------------------------------------------------------------------------------------------------


def film_player(film: Film, reader: Reader, window: int, tolerance: float, support: float, step: int = 6) -> None:
    """Show a film that plays without a kernel, as an animated PNG of half the size: frames that are read have a frame
    around them and their boxes, and the words that are known so far stand below."""
    read = pipeline.sharpest(sharpness(film.frames).tolist(), window)
    readings: list[tuple[str, float, float]] = []
    pictures, said, shown = [], [], []
    palette = Image.new("P", (1, 1))
    greys = [level for grey in range(12) for level in [round(grey * 255 / 11)] * 3]
    palette.putpalette([*greys, 0, 114, 178, 230, 159, 0])
    face = drone.font("DejaVuSans-Bold", 9)
    for t in range(len(film.frames)):
        boxes: list[list[float]] = []
        if t in read:
            readings += reader.read(film.frames[t])
            kept = pipeline.Read([readings], [])
            said = pipeline.words_of(kept, [0], tolerance, [support])[0]
            boxes = [box for box in boxes_of(reader, film.frames[t])]
        if t % step and t not in read:
            continue
        small = film.frames[t][None, None]
        small = torch.nn.functional.avg_pool2d(small, 2)[0, 0].numpy()
        canvas = Image.new("RGB", (160, 128))
        canvas.paste(Image.fromarray((255 * small).astype(np.uint8)).convert("RGB"))
        draw = ImageDraw.Draw(canvas)
        if t in read:
            draw.rectangle((0, 0, 159, 95), outline=(230, 159, 0), width=2)
            for box in boxes:
                draw.rectangle([side / 2 for side in box], outline=(230, 159, 0))
        draw.rectangle((0, 96, 160 * (t + 1) // len(film.frames), 98), fill=(0, 114, 178))
        for line, words in enumerate((said[-4:-2], said[-2:]) if len(said) > 2 else (said,)):
            draw.text((3, 100 + 13 * line), " ".join(words), font=face, fill=(255, 255, 255))
        pictures.append(canvas.quantize(palette=palette, dither=Image.Dither.NONE))
        shown.append(250 if t in read else 90)
    buffer = io.BytesIO()
    pictures[0].save(buffer, "png", save_all=True, append_images=pictures[1:], duration=shown, loop=0, optimize=True)
    alt = (
        "The film, which plays by itself and starts again: a grey landscape from above with signs, hovering, shaking, "
        "darting on. Frames that are read get an orange edge and boxes around what the detector finds; the last words "
        "that are known stand below, and a bar shows how much of the film is over."
    )
    display({"image/png": buffer.getvalue()}, metadata={"image/png": {"alt": alt, "width": 480}}, raw=True)
    description = f"<details><summary>Film in words</summary>{html.escape(alt)}</details>"
    display({"text/html": description, "text/plain": f"Film in words: {alt}"}, raw=True)


@torch.inference_mode()
def boxes_of(reader: Reader, frame: Tensor) -> list[list[float]]:
    """The boxes that a reader finds in a frame."""
    from course_utils.text_spotting import decode_boxes, non_max_suppression

    boxes, scores = decode_boxes(*detect(reader.detector, frame), STRIDE, reader.threshold)
    return boxes[non_max_suppression(boxes, scores, pipeline.OVERLAP)].tolist()


# --- lecture: results -------------------------------------------------------------------------------------------------


def written(values: Sequence[float], digits: int = 1) -> str:
    return plots.mean_and_range(values, digits)


def row_of(run: Row, point: tuple[str, int, str, int]) -> Row:
    """An operating point of a seed: nets, bits, policy, window."""
    return next(row for row in run["rows"] if key(row) == point)


def key(row: Row) -> tuple[str, int, str, int]:
    return row["nets"], row["bits"], row["policy"], row["window"]


def means(results: Results, point: tuple[str, int, str, int], use: str, what: str) -> list[float]:
    """Mean over films, for each seed; accuracy and precision in percent."""
    scale = 1.0 if what == "joules" else 100.0
    return [scale * float(np.mean(row_of(run, point)[use][what])) for run in results["films"]]


def points(results: Results) -> list[tuple[str, int, str, int]]:
    return [key(row) for row in results["films"][0]["rows"]]


def recommended(results: Results, bits: int) -> tuple[str, int, str, int]:
    """Of the points of so many bits with as many times fewer joules as was asked the one of most accuracy and precision
    together, both in the mean over seeds and *validation* films."""

    def mean(point: tuple[str, int, str, int], what: str) -> float:
        return float(np.mean(means(results, point, "validation", what)))

    most = mean(BASE, "joules") / GOALS[bits]
    good = [point for point in points(results) if point[1] == bits and mean(point, "joules") <= most]
    return max(good, key=lambda point: mean(point, "accuracy") + mean(point, "precision"))


def named(point: tuple[str, int, str, int]) -> str:
    nets, bits, policy, window = point
    detector, recognizer = nets.split()
    both = f"both {detector}" if detector == recognizer else f"detector {detector}, recognizer {recognizer}"
    ordinal = {2: "2nd", 3: "3rd"}.get(window, f"{window}th")
    frames = {"all": "every frame", "every": f"every {ordinal}", "sharpest": f"sharpest of {window}"}[policy]
    return f"{both}; {'float' if bits == 32 else f'int{bits}'}; {frames}"


def fewer(results: Results, point: tuple[str, int, str, int], use: str = "test") -> list[float]:
    """How many times fewer joules than the large networks on every frame, for each seed."""
    return [
        a / b for a, b in zip(means(results, BASE, use, "joules"), means(results, point, use, "joules"), strict=True)
    ]


def gains(results: Results, point: tuple[str, int, str, int], what: str, use: str = "test") -> list[float]:
    """Points of accuracy or precision above the large networks on every frame, for each seed."""
    return [a - b for a, b in zip(means(results, point, use, what), means(results, BASE, use, what), strict=True)]


def pairs_words(results: Results, point: tuple[str, int, str, int], use: str) -> str:
    """On how many films, those of each seed apart, a point reads less well, as well or better than the large networks
    on every frame; and by how many points: the mean, the worst and the best film."""
    found = []
    for what in ("accuracy", "precision"):
        leads = [
            100 * (one - other)
            for run in results["films"]
            for one, other in zip(row_of(run, point)[use][what], row_of(run, BASE)[use][what], strict=True)
        ]
        signs = np.sign(leads).tolist()
        found.append(
            f"{what} lower in {signs.count(-1)}, equal in {signs.count(0)}, higher in {signs.count(1)}: "
            f"{signed(leads)} points"
        )
    return "\n  ".join([f"{named(point)}, {len(signs)} pairs:", *found])


def chosen_settings(results: Results, point: tuple[str, int, str, int]) -> tuple[float, float]:
    """Threshold and support that validation films chose for a point, of the first seed."""
    row = row_of(results["films"][0], point)
    return row["threshold"], row["support"]


def optimism_words(results: Results) -> str:
    """How much better the points of the sharpest frames look if the test films choose thresholds and supports."""
    rows = [row for run in results["films"] for row in run["rows"] if "tuned on test" in row]
    gains_ = [
        100 * float(np.mean(row["tuned on test"][what])) - 100 * float(np.mean(row["test"][what]))
        for row in rows
        for what in ("accuracy", "precision")
    ]
    return (
        f"accuracy and precision of {len(rows)} operating points: {np.mean(gains_):+.1f} points in the mean, "
        f"{max(gains_):+.1f} at most"
    )


def networks_table(results: Results) -> plots.Table:
    """What each network costs on one frame or crop."""
    rows = []
    for name in results["films"][0]["networks"]:
        found = [run["networks"][name] for run in results["films"]]
        first = found[0]
        rows.append([
            name, f"{first['parameters']:,}", *(f"{1e6 * first['joules'][bits]:.0f}" for bits in ("32", "8")),
            f"{np.median([each['ms'][0] for each in found]):.1f}",
            written([each["right"] for each in found]) if "right" in first else "—",
        ])  # fmt: skip
    return plots.Table(["network", "weights", "µJ, float", "µJ, int8", "ms", "crops read right (%)"], rows)


def points_table(results: Results, chosen: Sequence[tuple[str, int, str, int]], use: str = "test") -> plots.Table:
    rows = []
    for point in chosen:
        rows.append([
            named(point), written([1000 * j for j in means(results, point, use, "joules")], 2),
            written(fewer(results, point, use), 1), written(means(results, point, use, "accuracy")),
            written(means(results, point, use, "precision")),
        ])  # fmt: skip
    return plots.Table(["nets; bits; frames", "mJ a film", "times fewer", "accuracy (%)", "precision (%)"], rows)


def levers(results: Results) -> list[tuple[str, int, str, int]]:
    """One lever after the other: the networks, the bits, the frames; and what validation films recommend."""
    found = [BASE, ("medium medium", 32, "all", 1), ("medium medium", 8, "all", 1), ("medium medium", 4, "all", 1)]
    found += [("large large", 32, "sharpest", 4), ("medium medium", 32, "sharpest", 4)]
    found += [("medium large", 32, "sharpest", 4), ("small small", 32, "sharpest", 4)]
    return list(dict.fromkeys([*found, *(recommended(results, bits) for bits in GOALS)]))


def energy_bars(results: Results) -> None:
    """Where the joules of a frame go: fetching it, its sharpness, the detector, the recognizer on its crops."""
    fetch, look = pipeline.looking_joules()
    names, parts = [], []
    for pair in LOOKS:
        finder, reader = pair.split()
        point = (pair, 32, "all", 1)
        total = float(np.mean(means(results, point, "test", "joules"))) / results["settings"]["frames"]
        found = results["films"][0]["networks"][f"detector {finder}"]["joules"]["32"]
        names.append(f"detector {finder},\nrecognizer {reader}")
        parts.append([fetch, look, found, total - found - fetch])
    figure, axis = plots.new_figure(width=8.6, height=3.2)
    left = np.zeros(len(names))
    labels = ("fetch the frame", "its sharpness", "detector", "recognizer, all crops")
    for values, label, colour, hatch in zip(np.array(parts).T, labels, (GREY, plots.COLOURS[5], BLUE, GREEN),
                                            ("", "xx", "", "//"), strict=True):  # fmt: skip
        axis.barh(names, 1e6 * values, left=left, color=colour, hatch=hatch, label=label, edgecolor="white")
        left += 1e6 * values
    axis.invert_yaxis()
    axis.set(xlabel="µJ for one frame that is read (unit 00's model, float)", title="Where the joules of a frame go")
    axis.legend(fontsize=8, loc="lower right")
    axis.tick_params(axis="y", labelsize=8)
    plots.show(
        figure,
        "A stacked bar for each pair of networks. With the large detector it takes most of the energy; with the small "
        "ones detector and recognizer are of one size, and to fetch the frame and look at its sharpness begins to "
        "show.",
    )


def joules_figure(results: Results, use: str = "test") -> None:
    """Accuracy and precision against joules: every pair of networks on the sharpest of k frames, float and int8."""
    figure, axes = plots.new_figure(1, 2, width=9.8, height=4.0)
    for axis, what in zip(axes, ("accuracy", "precision"), strict=True):
        for pair, (colour, line, marker) in LOOKS.items():
            for bits in (32, 8):
                chain = [p for p in points(results) if p[0] == pair and p[1] == bits and p[2] != "every"]
                joules = [1000 * np.mean(means(results, p, use, "joules")) for p in chain]
                values = [np.mean(means(results, p, use, what)) for p in chain]
                axis.plot(joules, values, color=colour, linestyle=line if bits == 32 else "", marker=marker,
                          markersize=5, markerfacecolor=colour if bits == 32 else "white",
                          label=pair.replace(" ", " + ") if bits == 32 else None)  # fmt: skip
        axis.axhline(np.mean(means(results, BASE, use, what)), color=GREY, linestyle=":", linewidth=1.2)
        axis.set(xscale="log", xlabel="mJ a film", ylabel=f"{what} (%)", title=f"{what.capitalize()} on the test films")
        label_decades(axis)
    axes[1].legend(fontsize=8, title="detector + recognizer", title_fontsize=8)
    plots.show(
        figure,
        "Two panels, accuracy and precision against millijoules a film on a logarithmic axis; a line for each pair of "
        "networks from every frame on the right to the sharpest of twelve on the left; hollow markers are int8, a few "
        "times further to the left. A dotted line marks the large networks on every frame.",
    )


def label_decades(axis: Axes) -> None:
    low, high = axis.get_xlim()
    ticks = [m * 10.0**e for e in range(-4, 5) for m in (1, 2, 5) if low <= m * 10.0**e <= high]
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks], fontsize=8)
    axis.minorticks_off()


def sharp_gains(results: Results, pair: str) -> list[float]:
    """Accuracy of the sharpest of k above every k-th at equal joules, in points, mean over k, for each seed.

    Every-k-th is interpolated in the logarithm of the joules, as looking at all frames costs something too.
    """
    found = []
    for run in results["films"]:

        def line(policy: str, run: Row = run) -> tuple[np.ndarray, np.ndarray]:
            rows = [row for row in run["rows"] if row["nets"] == pair and row["bits"] == 32
                    and row["policy"] in ("all", policy)]  # fmt: skip
            rows = sorted(rows, key=lambda row: np.mean(row["test"]["joules"]))
            joules, accuracy = ([np.mean(row["test"][what]) for row in rows] for what in ("joules", "accuracy"))
            return np.log(joules), 100 * np.array(accuracy)

        every, sharp = line("every"), line("sharpest")
        found.append(float(np.mean(sharp[1][:-1] - np.interp(sharp[0][:-1], *every))))
    return found


def sharp_figure(results: Results) -> None:
    """Accuracy against joules: every k-th frame and the sharpest of k."""
    pairs = [pair for pair in LOOKS if pair not in ("large medium", "medium large", "small medium")]
    figure, axes = plots.new_figure(1, len(pairs), width=10, height=3.0)
    for axis, pair in zip(axes, pairs, strict=True):
        for policy, colour, line, marker in (("every", GREY, "--", "s"), ("sharpest", BLUE, "-", "o")):
            chain = [p for p in points(results) if p[:2] == (pair, 32) and p[2] in ("all", policy)]
            joules = [1000 * np.mean(means(results, p, "test", "joules")) for p in chain]
            values = [np.mean(means(results, p, "test", "accuracy")) for p in chain]
            label = "every k-th" if policy == "every" else "sharpest of k"
            axis.plot(joules, values, color=colour, linestyle=line, marker=marker, markersize=4, label=label)
        axis.set(xscale="log", xlabel="mJ a film", ylim=(74, 101))
        axis.set_title(pair.replace(" ", " + "), fontsize=10)
        label_decades(axis)
    axes[0].set_ylabel("accuracy (%)")
    axes[0].legend(fontsize=8, loc="lower right")
    plots.show(
        figure,
        "A panel for each pair of networks, accuracy against millijoules a film; a dashed line for every k-th frame "
        "and a solid one for the sharpest of k. They meet at every frame, on the right.",
    )


def sharp_table(results: Results) -> plots.Table:
    rows = [[pair.replace(" ", " + "), written(sharp_gains(results, pair))] for pair in LOOKS]
    return plots.Table(["detector + recognizer", "sharpest of k above every k-th at equal joules (points)"], rows)


def score_table(results: Results) -> plots.Table:
    """The challenge's score of the large networks, and of the points that have the best one on validation films,
    without a floor and with one five points below the large networks' accuracy. All numbers are of the test films."""
    every_point = [p for p in points(results) if p[1] == 32]

    def scores(use: str, least: float) -> dict[tuple[str, int, str, int], float]:
        return {
            p: energy_score(
                float(np.mean(means(results, p, use, "accuracy"))) / 100,
                float(np.mean(means(results, p, use, "joules"))), 0, 0, least,
            )
            for p in every_point
        }  # fmt: skip

    def floor(use: str) -> float:
        return float(np.mean(means(results, BASE, use, "accuracy"))) / 100 - 0.05

    chosen = [scores("validation", 0.0), scores("validation", floor("validation"))]
    free, bound = scores("test", 0.0), scores("test", floor("test"))
    rows = []
    for p in dict.fromkeys([BASE, *(max(each, key=each.__getitem__) for each in chosen)]):
        rows.append([named(p), *(written(means(results, p, "test", what)) for what in ("accuracy", "precision")),
                     f"{free[p]:.0f}", f"{bound[p]:.0f}"])  # fmt: skip
    columns = ["nets; bits; frames", "accuracy (%)", "precision (%)", "score, no floor (1/J)", "score, floor (1/J)"]
    return plots.Table(columns, rows)


def front_table(results: Results) -> plots.Table:
    """The points on validation films that no other beats in joules and accuracy (14.8), and what they do on test."""
    every_point = points(results)
    joules = [float(np.mean(means(results, p, "validation", "joules"))) for p in every_point]
    accuracy = [float(np.mean(means(results, p, "validation", "accuracy"))) for p in every_point]
    return points_table(results, [every_point[i] for i in pareto_front(joules, accuracy)])


def orders_figure(results: Results) -> None:
    """Crops read right after each order of the three ways, and after plain training."""
    names = list(results["orders"][0]["right"])
    values = {order_name(name): [run["right"][name] for run in results["orders"]] for name in names}
    figure, axis = plots.new_figure(width=8.2, height=3.2)
    plots.points_over_seeds(axis, values, "held-out crops read without a mistake (%)")
    axis.set_title("Three stages of training, in every order")
    plots.show(
        figure,
        "A row for each order of distill, prune and quantize, and one for training alone: a dot for each seed, a bar "
        "at their mean.",
    )


def order_name(name: str) -> str:
    return "only trained as long" if name.startswith("none") else name.replace(" ", " → ")


def stream_figure(results: Results) -> None:
    """Words read by each policy, in percent of the words of the films, for each income."""
    values = stream_values(results)
    figure, axis = plots.new_figure(width=8.6, height=3.2)
    names = list(next(iter(values.values())))
    for i, name in enumerate(names):
        at = np.arange(len(values)) + (i - (len(names) - 1) / 2) * 0.19
        heights = [np.mean(values[kind][name]) for kind in values]
        axis.bar(at, heights, width=0.17, color=plots.COLOURS[i + 1], hatch=plots.HATCHES[i], edgecolor="white",
                 label=name)  # fmt: skip
        for kind, x in zip(values, at, strict=True):
            axis.plot([x] * len(values[kind][name]), values[kind][name], linestyle="", marker=".", color="black")
    axis.set_xticks(range(len(values)), list(values))
    axis.set(ylabel="words read right (%)", xlabel="income", ylim=(0, 118), title="Words read, by income and policy")
    axis.legend(fontsize=8, ncols=len(names), loc="upper center")
    plots.show(
        figure,
        "Groups of bars for even, early and bursty income; in each a bar for 14.11's policy, the greedy one, every "
        "k-th frame, every k-th with the best networks, which is the lowest by far, and the optimum of who knows the "
        "film beforehand, with a dot for each seed.",
    )


def stream_values(results: Results) -> dict[str, dict[str, list[float]]]:
    """By income and policy: percent of the words of all films, for each seed."""
    runs = results["stream"]
    names = list(runs[0]["films"][0]["even"])
    return {
        kind: {
            name: [
                100
                * sum(film[kind][name]["words"] for film in run["films"])
                / sum(film["truth"] for film in run["films"])
                for run in runs
            ]
            for name in names
        }
        for kind in stream.INCOMES
    }


def stream_leads(results: Results, rival: str) -> list[float]:
    """Points of accuracy of the merged words that 14.11's policy is above a rival, mean of incomes and films, for each
    seed."""
    return [
        100 * float(np.mean([
            film[kind]["14.11"]["accuracy"] - film[kind][rival]["accuracy"]
            for film in run["films"] for kind in stream.INCOMES
        ]))
        for run in results["stream"]
    ]  # fmt: skip


def stream_table(results: Results) -> plots.Table:
    """Accuracy and precision of the merged words, and how many frames were read."""
    rows = []
    for kind in stream.INCOMES:
        for name in results["stream"][0]["films"][0][kind]:
            found = [[film[kind][name] for film in run["films"]] for run in results["stream"]]
            if "accuracy" in found[0][0]:
                accuracy, precision, frames = (
                    [float(np.mean([each[what] for each in run])) for run in found]
                    for what in ("accuracy", "precision", "frames")
                )
                rows.append([kind, name, written(frames), written([100 * a for a in accuracy]),
                             written([100 * p for p in precision])])  # fmt: skip
    return plots.Table(["income", "policy", "frames read", "accuracy (%)", "precision (%)"], rows)


def tasks_figure(results: Results) -> None:
    """R[i][j] of each method as a matrix, the mean over seeds."""
    methods = [name for name in results["tasks"][0] if name != "seed"]
    figure, axes = plots.new_figure(1, len(methods), width=8.6, height=2.9)
    for axis, method in zip(axes, methods, strict=True):
        mean = 100 * np.mean([run[method]["accuracy"] for run in results["tasks"]], axis=0)
        axis.imshow(np.tril(mean), cmap="Blues", vmin=0, vmax=140, aspect="auto")
        for (i, j), value in np.ndenumerate(mean):
            if j <= i:
                axis.text(j, i, f"{value:.1f}", ha="center", va="center")
        axis.set_xticks(range(3), ["digits", "A–K", "L–V"], fontsize=8)
        axis.set_yticks(range(3), ["digits", "A–K", "L–V"], fontsize=8)
        axis.set_title(method, fontsize=10)
        axis.set_xlabel("tested on")
        axis.grid(visible=False)
    axes[0].set_ylabel("learned last")
    plots.show(
        figure,
        "Three triangles of accuracies: rows are the task that was learned last, columns the task that is tested. "
        "Separate networks and PackNet have the same number all the way down each column; with fine-tuning the numbers "
        "fall.",
    )


def tasks_table(results: Results) -> plots.Table:
    rows = []
    for method in (name for name in results["tasks"][0] if name != "seed"):
        found = [run[method] for run in results["tasks"]]
        rows.append([method, written([100 * each["mean"] for each in found]),
                     signed([100 * each["transfer"] for each in found])])  # fmt: skip
    return plots.Table(["method", "mean accuracy at the end (%)", "backward transfer (points)"], rows)


# --- lecture: verdicts ------------------------------------------------------------------------------------------------


def holds(values: Sequence[float], rule: Callable[[float], bool], yes: str) -> str:
    """What a rule says of the seeds: of all, of their mean only, or not."""
    if len(values) < 3:
        return "not testable with so few seeds"
    if all(rule(value) for value in values):
        return f"{yes}, in all {len(values)}"
    return f"{yes}, on average only" if rule(float(np.mean(values))) else f"not {yes}"


def goal(results: Results, bits: int, slack: float) -> tuple[str, str, str]:
    """The goal of so many times fewer joules, as the recommended point reaches it: what was asked, ours, the verdict.

    slack: points of accuracy and of precision that may be lost.
    """
    worse = f"at most {slack:g} point less of either" if slack else "no less accuracy and precision"
    asked = f"{'a weaker goal' if slack else 'goal'}: ≥ {GOALS[bits]:g}× fewer joules, {worse}"
    point = recommended(results, bits)
    ratio, accuracy, precision = (
        fewer(results, point), gains(results, point, "accuracy"), gains(results, point, "precision")
    )  # fmt: skip
    ours = f"{named(point)}: {written(ratio)}×, accuracy {signed(accuracy)}, precision {signed(precision)} points"

    def met(r: float, a: float, p: float) -> bool:
        return r >= GOALS[bits] and a >= -slack and p >= -slack

    if len(ratio) < 3:
        verdict = "not testable with so few seeds"
    elif all(map(met, ratio, accuracy, precision)):
        verdict = f"reached, in all {len(ratio)}"
    else:
        average = met(*(float(np.mean(each)) for each in (ratio, accuracy, precision)))
        verdict = "reached, on average only" if average else "not reached"
    return asked, ours, verdict


def signed(values: Sequence[float]) -> str:
    """'+1.2 (−0.3 to +2.0)'."""
    return (
        f"{np.mean(values):+.1f} ({min(values):+.1f} to {max(values):+.1f})".replace("-", "−")
        .replace("+0.0", "0.0")
        .replace("−0.0", "0.0")
    )


def frames_a_second(results: Results, point: tuple[str, int, str, int]) -> list[float]:
    """Measured, for each seed, of medians: what it takes to look at all frames and to read some."""
    found = []
    for run in results["films"]:
        read = run["ms"][f"{point[0]} 32"][0]
        share = row_of(run, point)["frames"] / results["settings"]["frames"]
        look = run["sharpness_ms"][0] if point[2] == "sharpest" else 0.0
        found.append(1000 / (look + share * read))
    return found


def claims_table(results: Results) -> plots.Table:
    """What was claimed or asked, ours, and what each rule says of it."""
    rows: list[list[object]] = []

    def claim(what: str, said: str, ours: str, verdict: str) -> None:
        rows.append([what, said, ours, verdict])

    for bits in GOALS:
        for slack in (0.0, 1.0):
            claim("float" if bits == 32 else "modelled int8", *goal(results, bits, slack))
    medium, base = ("medium medium", 32, "all", 1), BASE
    for name, point in (("large networks", base), ("medium networks", medium)):
        speed = frames_a_second(results, point)
        claim(f"frames a second on one core, {name}, every frame read", "goal: ≥ 25", written(speed, 0),
              holds(speed, lambda s: s >= 25, "reached"))  # fmt: skip
    forgotten = [100 * run["PackNet"]["transfer"] for run in results["tasks"]]
    claim("backward transfer of PackNet (points)", "exactly 0 (Mallya and Lazebnik 2018)", written(forgotten),
          holds(forgotten, lambda f: f == 0, "exactly 0 (true by construction)"))  # fmt: skip
    lost = [100 * run["fine-tuning"]["transfer"] for run in results["tasks"]]
    claim("the same of fine-tuning", "forgets", signed(lost), holds(lost, lambda f: f < -5, "forgets"))
    behind = [100 * (run["PackNet"]["mean"] - run["separate"]["mean"]) for run in results["tasks"]]
    claim("PackNet against a network for each task (points)", "about as good", signed(behind),
          holds(behind, lambda b: b >= -1, "within a point"))  # fmt: skip
    for pair in ("large large", "medium medium", "small small"):
        gain = sharp_gains(results, pair)
        claim(f"sharpest of k above every k-th at equal joules, {pair.replace(' ', ' + ')}", "not asked",
              f"{signed(gain)} points", holds(gain, lambda g: g > 0, "better"))  # fmt: skip
    eight = gains_between(results, ("medium medium", 8, "all", 1), medium, "accuracy")
    claim("int8 weights and activations, medium networks, every frame", "no loss is claimed",
          f"accuracy {signed(eight)} points", holds(eight, lambda g: g >= -1, "within a point"))  # fmt: skip
    four = gains_between(results, ("medium medium", 4, "all", 1), medium, "accuracy")
    claim("int4 weights, the same, without fine-tuning", "not asked", f"accuracy {signed(four)} points",
          holds(four, lambda g: g >= -1, "within a point"))  # fmt: skip
    taught = [run["networks"]["recognizer medium"]["right"] - start["start"]
              for run, start in zip(results["films"], results["orders"], strict=False)]  # fmt: skip
    claim("medium recognizer with a teacher above without, as many steps", "helps (unit 01)",
          f"{signed(taught)} points of crops", holds(taught, lambda g: g > 0, "helps"))  # fmt: skip
    spread = order_spread(results)
    claim("order of compression: the best of the other seeds above their worst", "implied by the deck",
          f"{signed(spread)} points of crops", holds(spread, lambda s: s > 1, "by more than a point"))  # fmt: skip
    values = stream_values(results)
    for kind in values:
        share = [a / b for a, b in zip(values[kind]["14.11"], values[kind]["optimum"], strict=True)]
        claim(f"14.11's policy, part of the optimum's words, income {kind}", "not asked", written(share, 2),
              holds(share, lambda s: s >= 0.8, "at least 0.8"))  # fmt: skip
    for rival in ("greedy", "every k-th", "every k-th, best networks"):
        lead = [np.mean([values[kind]["14.11"][i] - values[kind][rival][i] for kind in values])
                for i in range(len(results["stream"]))]  # fmt: skip
        claim(f"14.11's policy above {rival}, mean of the incomes", "not asked", f"{signed(lead)} points of words",
              holds(lead, lambda g: g > 0, "better"))  # fmt: skip
    for rival in ("greedy", "every k-th"):
        lead = stream_leads(results, rival)
        claim(f"14.11's policy, accuracy of the merged words above {rival}", "not asked", f"{signed(lead)} points",
              holds(lead, lambda g: g > 0, "better"))  # fmt: skip
    for name, point in (
        ("large networks, every frame", base),
        ("recommended, float", recommended(results, 32)),
    ):
        drop = [a - b for a, b in zip(means(results, point, "shifted", "accuracy"),
                                      means(results, point, "test", "accuracy"), strict=True)]  # fmt: skip
        claim(f"films in other fonts, {name}: accuracy against the fonts of training", "not asked",
              f"{signed(drop)} points", holds(drop, lambda d: d < -1, "worse by a point"))  # fmt: skip
    return plots.Table(["claim", "paper or goal", "ours, mean (lowest–highest)", "verdict"], rows)


def published_table() -> plots.Table:
    rows = [[each.what, each.figure, each.source, each.ours] for each in published.FIGURES]
    return plots.Table(["what", "published", "where", "beside ours"], rows)


def gains_between(
    results: Results, one: tuple[str, int, str, int], other: tuple[str, int, str, int], what: str
) -> list[float]:
    return [a - b for a, b in zip(means(results, one, "test", what), means(results, other, "test", what), strict=True)]


def order_spread(results: Results) -> list[float]:
    """For each seed: how much more crops are read right after the order that is best in the other seeds than after the
    one that is worst there."""
    runs = results["orders"]
    found = []
    for run in runs:
        others = [other for other in runs if other is not run] or [run]
        names = [name for name in run["right"] if not name.startswith("none")]
        mean = {name: np.mean([other["right"][name] for other in others]) for name in names}
        best, worst = max(mean, key=mean.__getitem__), min(mean, key=mean.__getitem__)
        found.append(run["right"][best] - run["right"][worst])
    return found
