"""What the tables of unit 00 compute."""

import numpy as np
import pytest
from scipy import stats

from course_utils.budget import figures


def test_rank_correlations_are_scipys():
    values = np.random.RandomState(0).rand(3, 6)
    values[0, :2] = 0.5  # a tie
    ranks = {name: stats.rankdata(row) for name, row in zip("abc", values, strict=True)}
    wanted = [[f"{stats.spearmanr(a, b).statistic:.2f}".replace("-", "−") for b in values] for a in values]
    table = figures.rank_correlations(ranks)
    assert [row[0] for row in table.rows] == list(ranks)
    assert [row[1:] for row in table.rows] == wanted


def test_bills_stand_beside_the_rows_that_have_watts():
    table = figures.bills_table([(kwh, kwh / 2) for kwh in range(5)])
    assert [row[0] for row in table.rows] == [run.model for run in figures.STRUBELL if run.watts]
    with pytest.raises(ValueError):
        figures.bills_table([(1.0, 2.0)])
