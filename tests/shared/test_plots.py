"""Figures carry their description, change nothing global, and tables are Markdown."""

import os
import subprocess
import sys

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pytest
from IPython.core.formatters import DisplayFormatter

from course_utils import plots
from course_utils.units import ROOT


@pytest.fixture(autouse=True)
def no_figures_left():
    yield
    plt.close("all")


def test_without_a_home_to_write_to_nothing_is_said():
    """What matplotlib has to say about its cache would stand in every lab."""
    environment = os.environ | {"HOME": os.devnull, "PYTHONPATH": str(ROOT)}
    environment.pop("MPLCONFIGDIR", None)
    done = subprocess.run([sys.executable, "-c", "import course_utils.plots"], env=environment, capture_output=True)
    assert done.returncode == 0 and done.stderr == b""


def shown(monkeypatch, alt):
    outputs = []
    monkeypatch.setattr(plots, "display", lambda data, metadata=None, raw=False: outputs.append((data, metadata)))
    figure, axes = plots.new_figure()
    axes.plot([1, 2])
    plots.show(figure, alt)
    return outputs


def test_figure_has_its_description_twice(monkeypatch):
    picture, words = shown(monkeypatch, 'A line that rises from "1" to 2 & no <b>more</b>.')
    assert picture[0].keys() == {"image/png"}  # nothing that nbval would compare
    assert picture[0]["image/png"].startswith(b"\x89PNG")
    assert picture[1] == {"image/png": {"alt": 'A line that rises from "1" to 2 & no <b>more</b>.'}}
    assert "&quot;1&quot; to 2 &amp; no &lt;b&gt;more&lt;/b&gt;." in words[0]["text/html"]
    assert plt.get_fignums() == []


def test_figure_without_description_is_refused():
    figure, _ = plots.new_figure()
    with pytest.raises(ValueError, match="needs a description"):
        plots.show(figure, " ")


def test_style_is_not_global():
    before = dict(matplotlib.rcParams)
    _, axes = plots.new_figure(2, 2)
    assert axes.shape == (2, 2) and dict(matplotlib.rcParams) == before


def test_lines_differ_without_colour():
    _, axes = plots.new_figure()
    lines = [axes.plot([i, 1])[0] for i in range(len(plots.COLOURS))]
    assert len({line.get_color() for line in lines}) == len(lines)
    assert len({line.get_marker() for line in lines}) == len(lines)


def test_bars_are_labelled_and_in_order():
    _, axes = plots.new_figure()
    plots.bars(axes, {"cow": 1e-6, "dog": 0.9}, "probability")
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cow", "dog"] and axes.yaxis_inverted()
    assert {text.get_text() for text in axes.texts} == {"1e-06", "0.9"} and axes.get_xlabel() == "probability"


def test_points_show_every_seed():
    _, axes = plots.new_figure()
    plots.points_over_seeds(axes, {"student": [146, 150, 151], "distilled": [74, 70]}, "test errors")
    assert [sorted(line.get_xdata()) for line in axes.lines[::2]] == [[146, 150, 151], [70, 74]]
    assert [line.get_xdata()[0] for line in axes.lines[1::2]] == [149, 72]


def test_table_is_markdown_with_numbers_on_the_right():
    table = plots.Table(["net", "paper", "ours"], [["a|b", 67, plots.mean_and_range([70, 75, 80])], ["c", 1.5, "-"]])
    assert str(table).splitlines() == [
        "| net | paper | ours |",
        "| --- | ---: | --- |",
        "| a\\|b | 67 | 75 (70–80) |",
        "| c | 1.5 | - |",
    ]
    shown, _ = DisplayFormatter().format(table)
    assert shown == {"text/plain": str(table), "text/markdown": str(table)}


def test_numbers_as_text_stand_on_the_right():
    rows = [["1", "1,066,440", "4.0×", "-0.66", "—", "1–2"], ["2", "570", "93%", "+3", "12", "—"]]
    assert str(plots.Table(list("abcdef"), rows)).splitlines()[1] == "| ---: | ---: | ---: | ---: | ---: | --- |"


def test_table_refuses_ragged_rows():
    with pytest.raises(ValueError, match="2 columns, but a row of 1"):
        plots.Table(["a", "b"], [[1]])


def test_table_says_which_rows_have_fewer_seeds():
    rows = [["digits", 1, "a"], ["text", 2, "a"], ["both", 2, "a"]]
    told = str(plots.Table(["network", "x", "y"], rows, seeds=[3, 1, 2])).split("\n\n")
    assert told == [
        str(plots.Table(["network", "x", "y"], rows)),
        "Fewer seeds than the others: text 1, both 2 (the others 3).",
    ]
    for alike in ([2, 2, 2], None):
        assert str(plots.Table(["network", "x", "y"], rows, seeds=alike)) == told[0]
    assert str(plots.Table(["x", "y"], [], seeds=[])) == str(plots.Table(["x", "y"], []))


def test_rows_with_the_same_first_cell_are_told_apart_by_the_next():
    rows = [["LeNet", "ours", 1], ["LeNet", "paper's", 1]]
    told = str(plots.Table(["network", "recipe", "x"], rows, seeds=[2, 3]))
    assert told.endswith("Fewer seeds than the others: LeNet, ours 2 (the others 3).")


def test_table_refuses_seeds_that_are_not_one_for_each_row():
    with pytest.raises(ValueError, match="2 rows, but the seeds of 1"):
        plots.Table(["a"], [[1], [2]], seeds=[3])
