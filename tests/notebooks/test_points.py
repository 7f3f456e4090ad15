"""What a lab says of points."""

import pytest

from course_utils.notebooks.build import assemble
from course_utils.units import available, solution_source


@pytest.mark.parametrize("topic", available())
def test_every_question_says_what_its_answer_is_worth(topic):
    cells = assemble(solution_source(topic), topic).cells
    answers = [cell for cell in cells if "answer" in cell.metadata.get("tags", [])]
    assert answers
    for cell in answers:
        assert "one point, graded by hand" in cell.source and cell.metadata.nbgrader.points == 1
