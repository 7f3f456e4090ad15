"""What the tables of the 3% experiment and of matching compute."""

from course_utils.distillation import comparisons


def student(test, stopped, validation):
    curve = {"step": [1, 2], "train": [5, 0], "validation": [9, validation], "validation_loss": [2.0, 1.0]}
    return {"curve": curve, "test": test, "stopped_at": 1, "test_if_stopped": stopped}


def run(seed, soft):
    students = {
        "hard": student(240, 200, 90),
        "soft T = 1": student(1, 1, 80),
        "soft T = 4": student(soft, soft, 40),
        "smoothed ε = 0.1": student(250, 201, 95),
        "soft from the few T = 1": student(230, 230, 91),
        "soft from the few T = 4": student(210, 210, 92),
        "all": student(100, 100, 30),
    }
    return {"seed": seed, "digits": 105, "teachers": {"all": 60, "few": 220}, "students": students}


PERCENT = {
    "paper": {"hard": 44.5, "soft": 57.0, "all": 58.9},
    "data": {"validation": 500, "test": 1000},
    "runs": [run(0, 120), run(1, 160)],
}


def test_the_gap_is_between_the_hard_student_stopped_early_and_the_one_of_all_digits():
    rows = {row[0]: row[1:] for row in comparisons.three_percent(PERCENT).rows}
    # Chosen by validation errors, though T = 1 makes fewer on the test digits
    soft = rows["soft targets, 3%, T = 4"]
    assert soft == ["140 (120–160)", "better with every seed", "60%", "57.0%, closes 87%"]
    assert rows["hard targets, 3%"][1:3] == ["worse with every seed", "-40%"]
    assert rows["label smoothing, 3%, ε = 0.1"][1] == "worse with every seed"
    assert rows["soft targets of a teacher of the 3%, T = 1"][2] == "-30%"
    assert rows["hard targets, all digits"][2] == "100%"
    assert rows["the teacher of the 3%"][0] == "220 (220–220)"


def test_a_student_overfits_if_stopping_early_would_have_been_better():
    rows = {row[0]: row[1:] for row in comparisons.overfitting(PERCENT).rows}
    wanted = ["0.0", "1.00", "1.00", "240 (240–240)", "200 (200–200)", "better with every seed"]
    assert rows["hard targets, 3%"] == wanted
    assert rows["soft targets, 3%, T = 4"][-1] == "neither: seeds disagree"


def matched(**changed):
    ways = {way: [{"train": 3, "test": n} for n in (40, 50)] for way in comparisons.WAYS_TO_MATCH}
    for way, wrong in changed.items():
        ways[way.replace("_", " ")] = [{"train": 3, "test": n} for n in wrong]
    return {
        "ways": ways,
        "choice": {
            "weights": {"smoothing": 0.1, "logits": 10.0, "features": 1.0, "attention": 100.0, "relations": 1.0}
        },
        "data": {"train": 3500, "test": 1000},
        "teacher": {"test": 20},
    }


def test_what_is_matched_is_judged_against_labels_logits_and_an_untrained_teacher():
    table = comparisons.matching_verdicts(
        matched(logits=(30, 45), attention=(39, 44), attention_of_an_untrained_teacher=(35, 43))
    )
    rows = {row[0]: row[1:] for row in table.rows}
    assert len(rows) == 9
    assert rows["labels alone"][0] == "—" and rows["logits (Hinton 2015)"][3] == "better with every seed"
    attention = rows["attention (Zagoruyko 2017)"]
    assert attention[0] == "100"
    assert attention[3:] == ["better with every seed", "neither: seeds disagree", "worse with every seed"]
    assert rows["logits + attention"][0] == "10 and 100"
    assert rows["relations (Park 2019)"][5] == "neither: seeds disagree"


def test_the_benchmark_is_counted():
    rows = {row[0]: row[1:] for row in comparisons.published_matching().rows}
    assert rows["attention"] == ["72.1%", "7 of 7", "1 of 7"]
    assert rows["logits"] == ["72.7%", "7 of 7", "—"]
