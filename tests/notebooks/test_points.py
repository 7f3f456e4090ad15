"""What a lab says of points and questions, and of the time that it takes."""

import re

import pytest

from course_utils.notebooks.build import assemble
from course_utils.units import available, load_unit, solution_source

HOURS = {
    "an hour": 1.0,
    "90 minutes": 1.5,
    "two hours": 2,
    "two and a half hours": 2.5,
    "three hours": 3,
    "four hours": 4,
}


@pytest.mark.parametrize("topic", available())
def test_a_lab_takes_longer_than_its_boxes_say(topic):
    text = solution_source(topic).read_text(encoding="utf-8")
    stated = re.search(r"The lab takes about (.*?)[.,]", text)[1]
    minutes = sum(exercise.minutes for exercise in load_unit(topic).exercises)
    assert minutes <= 0.8 * 60 * HOURS[stated], f"{minutes} minutes of functions alone, in {stated}"


@pytest.mark.parametrize("topic", available())
def test_every_question_says_what_its_answer_is_worth(topic):
    cells = assemble(solution_source(topic), topic).cells
    answers = [cell for cell in cells if "answer" in cell.metadata.get("tags", [])]
    assert answers
    for cell in answers:
        assert "one point, graded by hand" in cell.source and cell.metadata.nbgrader.points == 1


@pytest.mark.parametrize("topic", available())
def test_questions_are_numbered_through_the_lab(topic):
    cells = assemble(solution_source(topic), topic).cells
    heads = [cell.source.split("**")[1] for cell in cells if "reflection" in cell.metadata.get("tags", [])]
    assert heads == [f"Question {number}." for number in range(1, len(heads) + 1)]


@pytest.mark.parametrize("topic", available())
def test_between_a_check_and_an_experiment_stands_a_heading(topic):
    named = True  # what comes before the first check sets the lab up
    for cell in assemble(solution_source(topic), topic).cells:
        tags = cell.metadata.get("tags", [])
        heading = cell.cell_type == "markdown" and re.search("^#+ ", cell.source, re.MULTILINE)
        named = "check" not in tags and (named or bool(heading))
        assert named or "experiment" not in tags, cell.source
