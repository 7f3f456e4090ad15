"""Instructor-only laws of unit 14: harder cases, compared with the reference."""

import torch

from course_utils import text_spotting
from course_utils.checks import expect
from course_utils.checks.engine import Law, law
from course_utils.text_spotting.laws import (
    DOUBLE,
    FLOATS,
    HALVES,
    boards,
    expect_boxes,
    film,
    income,
    integers,
    near,
    number,
    packed,
    played,
    tiled,
    word,
)


@law("words of up to twelve letters of five")
def distance_hidden(function, draw):
    for _ in range(4):
        a, b = (word(draw, draw.integer(0, 12), "ABCDE") for _ in range(2))
        expect.equal(function(a, b), text_spotting.edit_distance(a, b), f"the distance of {a!r} and {b!r}")


@law("many questions, with answers that are missing, too long, too many")
def accuracy_hidden(function, draw):
    truth = {f"q{i}": [word(draw, draw.integer(1, 8)) for _ in range(draw.integer(1, 4))] for i in range(5)}
    answers = {}
    for question, words in truth.items():
        changed = [w.lower().replace(w[0].lower(), "x") for w in words]
        answers[question] = [*changed[: draw.integer(0, 3)], word(draw, draw.integer(1, 15))][: draw.integer(0, 4)]
    answers.pop("q3")
    number(function(answers, truth), text_spotting.reading_accuracy(answers, truth), "the accuracy")


@law("numbers of any size, at both limits")
def score_hidden(function, draw):
    for _ in range(8):
        arguments = draw.uniform(0, 1), draw.uniform(0, 20), draw.uniform(0, 10), draw.uniform(0, 3), draw.uniform(0, 1)
        number(function(*arguments), text_spotting.energy_score(*arguments), "the score")
        number(
            function(*arguments[:4], arguments[0]), text_spotting.energy_score(*arguments[:4], 0.0), "at the minimum"
        )


@law("larger frames of any contrast")
def sharp_hidden(function, draw):
    for dtype in FLOATS:
        frames = draw.rand(3, draw.integer(3, 20), draw.integer(3, 30), dtype=dtype) * 10.0 ** draw.integer(-3, 1)
        near(function(frames), text_spotting.sharpness(frames), "the sharpness")


@law("longer films with drift, equal contrasts and cuts")
def frames_hidden(function, draw):
    levels = (torch.from_numpy(draw.rng.integers(-1, 2, 60)).cumsum(0) / 16).tolist()
    contrasts = (draw.rng.integers(1, 5, 60) / 4).tolist()
    movie = boards(contrasts, levels)
    for window, change in ((draw.integer(1, 9), 0.09), (4, 0.0), (draw.integer(2, 30), 0.28)):
        expect.equal(function(movie, window, change), text_spotting.choose_frames(movie, window, change), "the frames")


@law("frames of many tiles")
def regions_hidden(function, draw):
    for keep in (0.1, 0.3, 0.45):
        busy, tile = draw.mask(draw.integer(5, 14), draw.integer(5, 20), keep=keep), draw.integer(2, 4)
        frame = tiled(busy, tile, 0.125, 0.75)
        expect.equal(function(frame, tile, 0.5), text_spotting.text_regions(frame, tile, 0.5), "the boxes")


@law("larger maps")
def decode_hidden(function, draw):
    for dtype in FLOATS:
        height, width = draw.integer(1, 30), draw.integer(1, 40)
        score, sides = draw.rand(height, width, dtype=dtype), 40 * draw.rand(4, height, width, dtype=dtype)
        arguments = score, sides, draw.choice([1, 4, 8, 16]), draw.uniform()
        expect_boxes(function(*arguments), *text_spotting.decode_boxes(*arguments))


@law("hundred boxes, many of equal score")
def nms_hidden(function, draw):
    start = draw.rng.integers(0, 30, (100, 2))
    size = draw.rng.integers(0, 12, (100, 2))
    boxes = torch.cat([torch.from_numpy(start), torch.from_numpy(start + size)], 1).float()
    scores = torch.from_numpy(draw.rng.integers(0, 9, 100)).float() / 8
    for overlap in (0.0, 0.11, 0.377):
        wanted = text_spotting.non_max_suppression(boxes, scores, overlap)
        expect.equal(function(boxes, scores, overlap), wanted, "the kept boxes")


@law("long paths, many letters")
def ctc_hidden(function, draw):
    steps, classes = draw.integer(1, 120), draw.integer(2, 27)
    logits = draw.normal(steps, classes, scale=3)
    logits[:, 0] += draw.uniform(0, 4)
    alphabet = "".join(map(chr, range(65, 64 + classes)))
    got, wanted = function(logits, alphabet), text_spotting.ctc_decode(logits, alphabet)
    expect.same_kind(got, wanted, "the result")
    expect.equal(got[0], wanted[0], "the text")
    expect.close(got[1], wanted[1], "the log-probability", rtol=1e-9)


@law("many noisy readings of few words")
def merge_hidden(function, draw):
    words = [word(draw, draw.integer(2, 7), "ABCD") for _ in range(4)]
    readings = []
    for _ in range(60):
        letters = list(draw.choice(words))
        if draw.uniform() < 0.5:
            letters[draw.integer(0, len(letters) - 1)] = draw.choice("ABCD")
        readings.append(("".join(letters), draw.integer(0, 8) / 8))
    for tolerance, support in ((0.34, 0.625), (0.5, 3.0), (0.0, 1.0)):
        wanted = text_spotting.merge_readings(readings, tolerance, support)
        expect.equal(function(readings, tolerance, support), wanted, "the words")


@law("layers of every kind and size")
def quantize_hidden(function, draw):
    for dtype in FLOATS:
        shape = draw.choice([(17, 30), (8, 3, 3, 3), (5, 4, 7)])
        # Sixteenths of the scale: a rounding of the quotient decides on no integer
        weight = torch.from_numpy(draw.rng.integers(-900, 901, shape)).to(dtype) / 8
        bits = draw.integer(2, 8)
        weight.flatten(1)[:, 0] = 128.0 * (2 ** (bits - 1) - 1)
        got, scales = integers(function(weight, bits), weight)
        wanted = text_spotting.quantize_channels(weight, bits)
        expect.equal(got, wanted[0], "the integers")
        near(scales, wanted[1], "the scales")


@law("many points on a coarse grid")
def front_hidden(function, draw):
    for top in (3, 12, 1000):
        joules, values = (draw.rng.integers(-top, top, 80).astype(float).tolist() for _ in range(2))
        expect.equal(function(joules, values), text_spotting.pareto_front(joules, values), "the front")


@law("tensors of many shapes, owned by several tasks, with equals")
def pack_hidden(function, draw):
    shapes = {"a": (7, 5), "b": (3, 2, 3, 3), "c": (11,), "d": (1, 1)}
    weights = {name: torch.from_numpy(draw.rng.integers(-4, 5, shape)).float() for name, shape in shapes.items()}
    owner = {name: torch.from_numpy(draw.rng.integers(0, 3, shapes[name])) for name in ("b", "a", "d")}
    for keep in (0.0, draw.uniform(), 1.0):
        arguments = weights, owner, keep, 3
        expect.equal(packed(function(*arguments), weights, owner), text_spotting.pack_task(*arguments), "the result")


@law("tensors of many shapes and dtypes")
def view_hidden(function, draw):
    weights = {
        "a": draw.normal(7, 5),
        "b": draw.normal(3, 2, 3, 3, dtype=DOUBLE),
        "c": draw.normal(4).to(draw.choice(HALVES)),
    }
    owner = {name: torch.from_numpy(draw.rng.integers(0, 300, weights[name].shape)) for name in ("c", "a")}
    for task in (1, draw.integer(2, 299)):
        expect.equal(function(weights, owner, task), text_spotting.task_view(weights, owner, task), "the weights")


@law("many tasks")
def transfer_hidden(function, draw):
    tasks = draw.integer(1, 12)
    table = draw.rand(tasks, tasks, dtype=DOUBLE).tolist()
    got, wanted = function(table), text_spotting.transfer(table)
    expect.same_kind(got, wanted, "the result")
    number(got[0], wanted[0], "the mean final accuracy")
    number(got[1], wanted[1], "the backward transfer")


@law("the words are what merge_readings makes of the readings that were paid for")
def stream_hidden(function, draw):
    for kind in ("even", "early", "bursts"):
        scenes, _ = film(draw, 60, 5)
        more = draw.choice([{}, {"tolerance": 0.2}, {"tolerance": 0.0, "support": 0.25}, {"support": 1.2}])
        energy = income(draw, kind, 60, 4.0)
        choices, words = played(function, scenes, energy, **more)
        paid = [row[choice] for row, choice in zip(scenes["readings"], choices, strict=True) if choice >= 0]
        wanted = text_spotting.merge_readings(paid, **{"tolerance": 0.34, "support": 0.6} | more)
        expect.equal(words, wanted, "the words")
        left, later = 0.0, [0.0] * 60
        for frame, choice in enumerate(choices):
            left += energy[frame] - (scenes["joules"][choice] if choice >= 0 else 0.0)
            expect.true(left >= -1e-9, f"after frame {frame} the battery is in debt", "at least 0 J left", left)
        again, _ = played(function, scenes, energy[:30] + later[30:], **more)
        expect.equal(again[:30], choices[:30], "the choices of the first half, if no income comes later,", calls=2)
        hidden = [
            [each if point == choice else ("", 0.0) for point, each in enumerate(row)]
            for row, choice in zip(scenes["readings"], choices, strict=True)
        ]
        expect.equal(
            played(function, scenes | {"readings": hidden}, energy, **more),
            (choices, words),
            "choices and words, with nothing to read where nothing was paid,",
            calls=2,
        )


LAWS: dict[str, list[Law]] = {
    "14.1a": [distance_hidden],
    "14.1b": [accuracy_hidden],
    "14.1c": [score_hidden],
    "14.2a": [sharp_hidden],
    "14.2b": [frames_hidden],
    "14.3": [regions_hidden],
    "14.4a": [decode_hidden],
    "14.4b": [nms_hidden],
    "14.5": [ctc_hidden],
    "14.6": [merge_hidden],
    "14.7": [quantize_hidden],
    "14.8": [front_hidden],
    "14.9a": [pack_hidden],
    "14.9b": [view_hidden],
    "14.10": [transfer_hidden],
    "14.11": [stream_hidden],
}
