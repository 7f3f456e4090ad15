"""Unit 15, a toy: weights on a grid. Its one exercise stands in another file of the room."""

from course_utils.lattice.grid import levels, to_grid

__all__ = ["levels", "to_grid"]
