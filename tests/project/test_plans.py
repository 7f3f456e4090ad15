"""The plans in INSTRUCTORS.md: from the labs' own minutes, every unit once, no week longer than need be."""

import itertools

import pytest

from course_utils.notebooks import plans
from course_utils.units import available, lab_path, load_unit, rooms, unit_number

LABS = [topic for topic in available() if lab_path(topic).exists()]


@pytest.mark.parametrize(
    ("lengths", "parts", "runs"),
    [
        ([1, 1, 1, 1], 2, [[0, 1], [2, 3]]),
        ([9, 1, 1, 1], 2, [[0], [1, 2, 3]]),
        ([1, 1, 9, 2, 2], 3, [[0, 1], [2], [3, 4]]),
        ([5, 4], 4, [[0], [1], [], []]),
        ([7], 1, [[0]]),
    ],
)
def test_neighbours_share_a_week_so_that_the_longest_is_short(lengths, parts, runs):
    assert plans.divide(lengths, parts) == runs


@pytest.mark.parametrize("weeks", [7, 14])
def test_a_plan_has_every_unit_once_with_its_hours(weeks):
    rows = plans.plan("Week", LABS, [str(week) for week in range(1, weeks + 1)]).splitlines()[2:]
    assert len(rows) == weeks
    shown = [row.split(" | ") for row in rows]
    titles = [f"{unit_number(topic):02d} {rooms()[topic].title}" for topic in LABS]
    assert " · ".join(units for _, units, _ in shown if units != "to catch up") == " · ".join(titles)
    total = sum(each.minutes for topic in LABS for each in load_unit(topic).exercises)
    hours = [float(row[2].strip(" |") or 0) for row in shown]
    assert total / 60 <= sum(hours) < total / 60 + weeks / 2


def test_a_weekend_is_four_half_days_of_at_most_three_hours():
    short = [topic for topic in LABS if topic in plans.WEEKEND]
    assert len(short) == len(plans.WEEKEND)
    groups = plans.divide([plans.minutes(topic) for topic in short], len(plans.HALF_DAYS))
    assert all(sum(plans.minutes(short[each]) for each in group) <= 180 for group in groups)
    used = {other for topic in short for other in plans.uses(topic)}
    assert used <= set(short), "what a weekend's units use is taught in it"


def test_a_unit_uses_what_its_room_imports_and_none_after_it():
    assert "saliency" in plans.uses("transfer") and plans.uses("budget") == []
    for topic, later in itertools.combinations(LABS, 2):
        assert later not in plans.uses(topic), f"unit {topic} would need {later} first"


def test_a_page_without_a_place_for_the_plans_is_an_error():
    with pytest.raises(ValueError, match="has no place for the plans"):
        plans.with_plans("# Guide\n<!-- plans -->\n")
