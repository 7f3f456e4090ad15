"""What the tables of lecture 08 decide by themselves, and its drawings."""

import pytest
from matplotlib.colors import to_hex

from course_utils import plots
from course_utils.regroup import figures
from course_utils.regroup import rounds as when


@pytest.mark.parametrize(
    ("truths", "said"),
    [
        ([True] * 3, "holds in every seed"),
        ([True, False, True], "not: in 2 of 3 seeds"),
        ([True] * 2, "not testable with so few seeds"),
    ],
)
def test_a_claim_holds_in_every_seed(truths, said):
    assert figures.in_seeds(truths) == said


@pytest.mark.parametrize(
    ("margins", "said"),
    [
        ([0.1, 0.2, 0.3], "0.20 (0.10–0.30) points fewer"),
        ([-0.1, 0.2, 0.2], "0.10 (−0.10–0.20) points fewer"),
        ([-0.1, -0.2, -0.3], "0.20 (0.10–0.30) points more"),
    ],
)
def test_points_are_more_if_no_seed_has_fewer(margins, said):
    assert figures.points_fewer(margins) == said


def results(regrouped: dict[float, list[int]], ticket: int = 50, dense: int = 20) -> dict:
    """Results of seeds with so many errors of 1,000, by area; the ticket is round 1."""
    runs = []
    for seed in range(3):
        rounds = [{"validation_errors": wrong, "test_errors": wrong} for wrong in (dense, ticket)]
        conditions = {
            f"regrouped/{area}": {"validation_errors": wrong[seed], "test_errors": wrong[seed] + 1, "weights": 10}
            for area, wrong in regrouped.items()
        }
        ms = {"dense": [10.0], "dense, [batch, features]": [8.0], "CSR/1": [3.0]}
        ms |= {what: [2.0] for what in conditions}
        runs.append({"rounds": rounds, "conditions": conditions, "times": {"milliseconds": {"64": ms}}})
    return {
        "networks": [{"width": [4, 4], "weights": 100, "runs": runs}],
        "settings": {"areas": list(regrouped), "rounds": 1, "batches": [64], "rate": 0.5},
        "data": {"validation": 1000, "test": 1000},
    }


def test_the_smallest_area_that_is_no_worse_on_validation_in_every_seed_is_chosen():
    assert figures.chosen_area(results({0.1: [50, 49, 51], 0.2: [50, 50, 50], 0.4: [1, 1, 1]})) == 0.2
    assert figures.chosen_area(results({0.1: [51, 1, 1]})) is None
    assert figures.goal_table(results({0.1: [51, 1, 1]})).rows[0][1] == "at no area that was tried"


def test_the_goal_is_judged_on_test_digits_and_can_be_missed():
    rows = {row[0]: row[2] for row in figures.goal_table(results({0.1: [50, 40, 40]})).rows}
    assert rows["errors: no more than its own scattered ticket"] == "not: in 2 of 3 seeds"
    assert rows["time: at least 65% of dense saved, batch 64"] == "holds in every seed"
    assert rows["errors: no more than the dense network"] == "not: in 0 of 3 seeds"


def test_time_saved_is_against_the_faster_dense_layout_and_lossless_only_if_no_seed_loses():
    found = results({0.1: [19, 19, 19]})
    assert figures.saved(found, "regrouped/0.1", 64) == [0.75] * 3
    assert figures.saves_without_loss(found) == "75%"
    assert figures.saves_without_loss(results({0.1: [19, 19, 20]})).startswith("nothing")


def test_the_blocks_are_compared_with_what_was_trained_as_long():
    found = results({0.1: [50, 50, 50]})
    for run in found["networks"][0]["runs"]:
        run["conditions"]["small dense/0.1"] = {"test_errors": 60, "weights": 10}
        run["conditions"]["small dense, longer/0.1"] = {"test_errors": 19, "weights": 10}
        run["times"]["milliseconds"]["64"]["small dense/0.1"] = [1.0]
    found["settings"]["epochs"] = 1
    errors = {"dense": 19, "scattered": 30, "regrouped": 20, "small dense": 21}
    longer = [
        {what: {"test_errors": wrong, "weights": 10, "seconds": 4.0} for what, wrong in errors.items()}
        for _ in range(3)
    ]
    longer[2]["scattered"]["test_errors"] = 19
    twins = {"settings": {"area": 0.1, "scattered": 1}, "epochs": 3, "data": {"test": 1000}, "runs": longer}
    assert [row[-1] for row in figures.twins_claims(found, twins).rows] == [
        "not: in 1 of 3 seeds",
        "not: in 0 of 3 seeds",
        "holds in every seed",
        "not: in 2 of 3 seeds",
        "holds in every seed",
        "not: in 0 of 3 seeds",
    ]
    small = figures.twins_table(found, twins).rows[-1]
    assert small[2:] == ["6.00 (6.00–6.00)", "2.10 (2.10–2.10)", "4", "88%"]


def rounds_of(every: int, winning: int) -> dict:
    """Three equal seeds of `course reproduce regroup-rounds`, with so many test errors of 1,000."""
    wrong = {"round 0": 40, "round 1": 41, "round 2": 39, "winning ticket/0.2": winning}
    wrong |= {"every round/0.25/round 1": 50, "every round/0.25": every, "small dense/0.1": 70, "small dense/0.5": 45}
    run = {what: {"test_errors": n, "validation_errors": n, "weights": 10} for what, n in wrong.items()}
    run |= {f"{what}/longer": run["round 1"] for what in wrong if what.startswith("small")}
    run["winning ticket/0.2"]["layers"] = [{"covers": 0.75}, {"covers": 0.5}]
    ms = {"dense": 9.0, "dense, [batch, features]": 8.0, "CSR": 3.5, "SciPy's CSR": 3.0}
    ms |= {"winning ticket/0.2": 4.0, "every round/0.25": 2.0, "small dense/0.1": 1.0, "small dense/0.5": 4.0}
    run["times"] = {"milliseconds": {"64": ms, "256": ms}}
    recipe = {"rounds": 2, "epochs": 6, "batches": [1, 64, 256]}
    settings = {"recipe": recipe, "winning": 2, "areas": [0.2], "every": [0.25], "parts": [0.1, 0.5]}
    return {
        "runs": [run] * 3,
        "settings": settings,
        "data": {"test": 1000, "validation": 1000},
        "weights": 100,
        "longer": 18,
    }


def test_what_is_regrouped_meets_the_ticket_the_dense_network_and_a_small_one_that_is_as_fast():
    once = results({0.2: [55, 55, 55], 0.25: [55, 55, 55]})
    twins = {"settings": {"area": 0.25}, "data": {"test": 1000}}
    twins["runs"] = [
        {"dense": {"test_errors": 35}, "scattered": {"test_errors": 36}, "regrouped": {"test_errors": 39}}
    ] * 3
    for run in once["networks"][0]["runs"]:
        run["times"]["milliseconds"]["256"] = run["times"]["milliseconds"]["64"]
    claims = when.when_claims(once, rounds_of(every=60, winning=39), twins).rows
    yes, no = "holds in every seed", "not: in 0 of 3 seeds"
    assert [row[3] for row in claims] == [yes, yes, yes, yes, no, no, no, no, yes, yes, *4 * [yes]]
    assert [row[1] for row in claims if "no slower" in row[1]] == [
        f"no more than small dense, {part} of the weights, no slower" for part in ("50%", "10%")
    ]
    assert claims[-5][0] == "every round regrouped, round 2, area ≤ 25%"
    assert [row[1][-3:] for row in claims[-4:]] == ["256", "256", " 64", " 64"]
    rows = when.when_table(rounds_of(60, 39), twins).rows
    assert [row[0] for row in rows][3:5] == [
        "every round regrouped, round 1, area ≤ 50%",
        "every round regrouped, round 2, area ≤ 25%",
    ]
    assert [row[1] for row in rows[1:4]] == ["—", "75%, 50%", "—"]
    assert rows[1][5:] == ["3.60 (3.60–3.60)", "62%", "62%"] and rows[3][5:] == ["—", "—", "—"]


def test_a_block_keeps_its_colour_from_pass_to_pass(monkeypatch):
    shown = []
    monkeypatch.setattr(plots, "show", lambda figure, alt: shown.append(figure))
    figures.two_passes()
    first, second, end = (
        {to_hex(box.get_facecolor()).upper() for box in axis.patches} & {c.upper() for c in plots.COLOURS[1:]}
        for axis in shown[0].axes[1:]
    )
    assert first and second and not first & second and end == first | second


def test_rows_are_ordered_by_the_first_block_that_holds_them():
    blocks = [([4, 5], [0]), ([1, 2], [3]), ([2, 4], [1])]
    assert figures.order_of(blocks, 6) == [4, 5, 1, 2, 0, 3]
    assert figures.first_of(blocks) == blocks[:2]


@pytest.mark.parametrize(
    "name", ["three_shapes", "refill_in_steps", "mask_as_hypergraph", "one_group", "two_passes", "two_layouts"]
)
def test_drawings_have_a_description(name, monkeypatch):
    shown = []
    monkeypatch.setattr(plots, "show", lambda figure, alt: shown.append((figure, alt)))
    getattr(figures, name)()
    ((figure, alt),) = shown
    assert len(alt) > 100 and all(axis.get_title() for axis in figure.axes)


def test_a_share_of_time_is_told_by_every_clock():
    first, later = results({0.25: [55, 55, 55]}), rounds_of(60, 39)
    for run in first["networks"][0]["runs"]:
        dense, blocks = [10.0, 8.0, 12.0], [4.0, 2.0, 6.0]
        ms = {"dense": dense, "dense, [batch, features]": [11.0, 9.0, 13.0], "CSR/2": blocks, "SciPy's CSR/2": dense}
        run["times"]["milliseconds"] = {str(batch): ms | {"regrouped/0.25": blocks} for batch in (1, 256)}
    for run in later["runs"]:
        run["times"]["milliseconds"]["1"] = run["times"]["milliseconds"]["256"]
    rows = when.clocks_table(first, later, {"settings": {"area": 0.25}}).rows
    assert [row[:3] for row in rows[:2]] == [
        ["the last ticket's blocks", 256, "60.0 (60.0–60.0)"],
        ["the winning ticket in PyTorch's CSR", 256, "60.0 (60.0–60.0)"],
    ]
    assert [row[3] for row in rows[:2]] == ["75.0 (75.0–75.0)"] * 2
    assert [row[4] for row in rows] == ["—", *2 * ["56.2 (56.2–56.2)", "62.5 (62.5–62.5)"]]
