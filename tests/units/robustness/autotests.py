"""Instructor-only laws of unit 12: harder cases, compared with the reference."""

from course_utils import robustness
from course_utils.checks import expect
from course_utils.checks.engine import Law, law
from course_utils.robustness.laws import (
    DOUBLE,
    boxes,
    expect_state,
    number,
    poisoned,
    shots_of,
    small_set,
    task,
)


@law("images of many shapes, at many ε")
def linf_hidden(function, draw):
    for shape in ((7,), (3, 1, 5, 5), (2, 3, 4)):
        clean = draw.rand(*shape, dtype=DOUBLE)
        far = clean + draw.normal(*shape, scale=0.5, dtype=DOUBLE)
        for epsilon in (0, 1e-7, draw.uniform(), 2.0):
            expect.close(
                function(far, clean, epsilon), robustness.project_linf(far, clean, epsilon), rtol=0, atol=1e-12
            )


@law("images of many shapes, at many ε")
def l2_hidden(function, draw):
    for shape in ((7,), (3, 1, 5, 5), (2, 3, 4), (1, 1)):
        clean = draw.rand(*shape, dtype=DOUBLE)
        far = clean + draw.normal(*shape, scale=0.5, dtype=DOUBLE)
        for epsilon in (0, 1e-7, draw.uniform(), 2.0):
            expect.close(function(far, clean, epsilon), robustness.project_l2(far, clean, epsilon), rtol=0, atol=1e-12)


@law("ten steps in a row on a curved loss")
def pgd_hidden(function, draw):
    clean = draw.rand(3, 1, 4, 4, dtype=DOUBLE)
    goal = draw.rand(3, 1, 4, 4, dtype=DOUBLE)
    got = wanted = clean
    for _ in range(10):
        got = function(got, clean, goal - got, 0.03, 0.1)
        wanted = robustness.pgd_step(wanted, clean, goal - wanted, 0.03, 0.1)
    expect.close(got, wanted, "after ten steps", rtol=0, atol=1e-12)


@law("layers of many shapes")
def interval_hidden(function, draw):
    for batch, width, out in ((1, 30, 1), (6, 1, 4), (3, 20, 11)):
        box = boxes(draw, batch, width)
        layer = draw.normal(out, width, dtype=DOUBLE), draw.normal(out, dtype=DOUBLE)
        expect.close(function(*box, *layer), robustness.interval_linear(*box, *layer), rtol=1e-9, atol=1e-10)


@law("layers of many shapes")
def margin_hidden(function, draw):
    for batch, width, classes in ((1, 30, 2), (6, 1, 4), (3, 20, 11)):
        box = boxes(draw, batch, width)
        layer = draw.normal(classes, width, dtype=DOUBLE), draw.normal(classes, dtype=DOUBLE)
        labels = draw.labels(batch, classes)
        wanted = robustness.margin_bounds(*box, *layer, labels)
        expect.close(function(*box, *layer, labels), wanted, rtol=1e-9, atol=1e-10)


@law("many counts of many trials")
def bound_hidden(function, draw):
    for trials in (1, 2, 37, 1000):
        for alpha in (1e-4, 0.2, 0.9):
            successes = draw.integer(0, trials)
            wanted = robustness.lower_confidence_bound(successes, trials, alpha)
            expect.close(function(successes, trials, alpha), wanted, rtol=1e-7, atol=1e-12)


@law("counts of many classes")
def certify_hidden(function, draw):
    for classes in (2, 10, 50):
        selection = draw.labels(100, classes).bincount(minlength=classes)
        estimation = draw.labels(50, classes).bincount(minlength=classes)
        estimation[selection.argmax()] += draw.integer(0, 2000)
        args = selection, estimation, draw.uniform(0.1, 2), 0.01
        expect.close(function(*args), robustness.certify(*args), rtol=1e-6)


@law("masks and patterns of many values, in channels and without")
def stamp_hidden(function, draw):
    for shape in ((5, 6), (2, 5, 6), (2, 3, 5, 6)):
        data = draw.rand(*shape, dtype=DOUBLE), draw.rand(5, 6, dtype=DOUBLE), draw.rand(5, 6, dtype=DOUBLE)
        expect.close(function(*data), robustness.stamp_trigger(*data), rtol=1e-9, atol=1e-12)


@law("larger sets, and every class as the target")
def poison_hidden(function, draw):
    data = small_set(draw, 300, 7)
    for target in range(7):
        poisoned(function, *data, target, draw.uniform(), draw.seed())


@law("many predictions")
def rate_hidden(function, draw):
    predictions, labels = draw.labels(5000, 10), draw.labels(5000, 10)
    for target in range(10):
        number(function(predictions, labels, target), robustness.attack_success_rate(predictions, labels, target))


@law("norms of many classes, with ties")
def index_hidden(function, draw):
    for classes in (3, 10, 101, 1000):
        norms = draw.rand(classes, low=0, high=99, dtype=DOUBLE).round(decimals=1)
        norms[0] += 0.05
        expect.close(function(norms), robustness.anomaly_index(norms), rtol=1e-9, atol=1e-10)


@law("long paths")
def score_hidden(function, draw):
    for length in (2, 11, 101):
        errors = draw.rand(length, dtype=DOUBLE).tolist()
        number(function(errors), robustness.trojan_score(errors))


@law("differences of many seeds")
def flip_hidden(function, draw):
    for count in (1, 2, 5, 11):
        differences = draw.normal(count, dtype=DOUBLE).tolist()
        number(function(differences), robustness.sign_flip_test(differences))


@law("many labels of many classes")
def shots_hidden(function, draw):
    labels = draw.labels(2000, 30)
    for shots in (1, 7, 20):
        shots_of(function, labels, shots, draw.seed())


@law("deeper networks, more steps", trials=2)
def train_hidden(function, draw):
    state, inputs, labels, masks = task(draw, 9, 8, 7, 6, 4)
    args = inputs, labels, masks, 0.15, 0.06, 3, 0.2, 12
    got = expect_state(function(state, *args), state, masks)
    expect.close(got, robustness.adversarial_train(state, *args), "the state", 1e-6, 1e-9)


LAWS: dict[str, list[Law]] = {
    "12.1a": [linf_hidden],
    "12.1b": [l2_hidden],
    "12.2": [pgd_hidden],
    "12.3a": [interval_hidden],
    "12.3b": [margin_hidden],
    "12.4a": [bound_hidden],
    "12.4b": [certify_hidden],
    "12.5a": [stamp_hidden],
    "12.5b": [poison_hidden],
    "12.5c": [rate_hidden],
    "12.6a": [index_hidden],
    "12.6b": [score_hidden],
    "12.7": [flip_hidden],
    "12.8": [shots_hidden],
    "12.9": [train_hidden],
}
