"""Laws of unit 15."""

from course_utils.checks import expect
from course_utils.checks.engine import Unit

unit = Unit("lattice")
to_grid = unit.exercise("15.1", "to_grid", points=1, minutes=2, difficulty=1)


@to_grid.law("what lies on the grid is named after its multiple", hint="Count in steps, round, and go back.")
def multiples(function, draw):
    step, counts = draw.uniform(0.1, 0.9), draw.permutation(7).float() - 3
    expect.close(function(counts * step, step), counts * step)


@to_grid.law("a quarter of a step beside the grid goes back to it, on both sides", hint="Up or down, the nearest.")
def nearest(function, draw):
    step, counts = draw.uniform(0.1, 0.9), draw.permutation(7).float() - 3
    for beside in (0.25, -0.25):
        expect.close(function((counts + beside) * step, step), counts * step)
