"""The builder: stable, honest about what is stale, and without answers in what students get."""

import ast
import re

import nbformat
import pytest

from course_utils import units
from course_utils.notebooks import build as builder
from course_utils.notebooks.source import function_source, stub_source
from course_utils.units import available, load_unit

SOURCES = builder.sources(None)
LABS = [topic for topic in available() if builder.solution_source(topic).exists()]
BUILT = [path for source, topic in SOURCES for path in builder.targets(source, topic)]

TEXT = """\
# A small lab

```{code-cell} ipython3
import torch
from torch import Tensor
from course_utils.checks import check
```

## Soft targets

```{code-cell} ipython3
:tags: [exercise]
soft_targets
```

```{code-cell} ipython3
:tags: [check]
check(soft_targets)
```

```{code-cell} ipython3
:tags: [experiment, nbval-check-output]
%%needs soft_targets
soft_targets(torch.zeros(2, 4)).sum().item()
```

```{code-cell} ipython3
:tags: [experiment]
%%needs soft_targets
print("only shown")
```

+++ {"tags": ["reflection"]}

Why does each row sum to one?
"""


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A text source of its own in an empty course folder."""
    for module in (builder, units):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(builder, "expected_path", lambda topic: tmp_path / "expected.ipynb")
    source = builder.solution_source("distillation")
    source.parent.mkdir(parents=True)
    source.write_text(TEXT, encoding="utf-8")
    return source


def test_small_lab_is_built_released_and_not_built_again(small):
    assert len(builder.stale(small, "distillation")) == 3
    solution, lab, expected = (nbformat.read(p, as_version=4) for p in builder.build(small, "distillation"))
    assert builder.stale(small, "distillation") == []
    cells = {cell.id: cell for cell in lab.cells}
    soft_targets = load_unit("distillation").exercises[0]
    assert cells["soft_targets"].source == stub_source(function_source("distillation", "soft_targets"), soft_targets)
    assert cells["check_soft_targets"].metadata.nbgrader.points == 2
    assert cells["check_soft_targets"].metadata.nbgrader.locked
    assert all(not cell.outputs for cell in lab.cells if cell.cell_type == "code")
    answers = [cell for cell in lab.cells if "answer" in cell.metadata.get("tags", [])]
    assert len(answers) == 1 and answers[0].metadata.nbgrader.solution and answers[0].metadata.nbgrader.grade
    solved = {cell.id: cell for cell in solution.cells}
    assert "### BEGIN SOLUTION" in solved["soft_targets"].source
    assert "2 of 2 points" in str(solved["check_soft_targets"].outputs)
    compared = {cell.id: cell for cell in expected.cells}
    assert compared["check_soft_targets"].outputs == solved["check_soft_targets"].outputs
    assert "soft-targets-2" in compared and compared["soft-targets-2"].outputs[0].data["text/plain"] == "2.0"
    assert "soft-targets-3" not in compared, "a cell that only shows something is not run by course check"
    # the same sources, another time: the same cells
    assert [cell.id for cell in builder.assemble(small, "distillation").cells] == [cell.id for cell in solution.cells]
    small.write_text(TEXT.replace("A small lab", "Another lab"), encoding="utf-8")
    assert len(builder.stale(small, "distillation")) == 3


def test_new_results_make_a_notebook_stale(small, tmp_path):
    small.write_text(TEXT + '\nThe table is from `stored_results("distillation")`.\n', encoding="utf-8")
    before = builder.source_hash(small, "distillation")
    (tmp_path / "lectures" / "results").mkdir(parents=True)
    (tmp_path / "lectures" / "results" / "distillation.json").write_text("{}")
    assert builder.source_hash(small, "distillation") != before


def test_line_ends_do_not_make_a_notebook_stale(small):
    before = builder.source_hash(small, "distillation")
    small.write_bytes(small.read_bytes().replace(b"\n", b"\r\n"))
    assert builder.source_hash(small, "distillation") == before


def test_a_failing_cell_stops_the_build_and_writes_nothing(small):
    small.write_text(TEXT.replace('print("only shown")', "1 / 0"), encoding="utf-8")
    with pytest.raises(builder.BuildError, match="ZeroDivisionError"):
        builder.build(small, "distillation")
    assert not small.with_suffix(".ipynb").exists()


def test_a_question_with_other_words_keeps_the_id_that_its_source_states(small):
    def ids(text):
        small.write_text(text, encoding="utf-8")
        cells = builder.assemble(small, "distillation").cells
        assert all("answer" not in cell.metadata for cell in cells)
        return [(cell.id, cell.metadata.get("nbgrader", {}).get("grade_id")) for cell in cells]

    before, other = ids(TEXT), TEXT.replace("Why does", "**Question 1.** Why does")
    assert ids(other) != before
    assert ids(other.replace('["reflection"]}', f'["reflection"], "answer": "{before[-1][0]}"}}')) == before


@pytest.mark.parametrize("word", ["no_such_function", "soft_targets extra"])
def test_an_unknown_exercise_is_named(small, word):
    small.write_text(TEXT.replace("\nsoft_targets\n", f"\n{word}\n"), encoding="utf-8")
    with pytest.raises(builder.BuildError, match=re.escape(word)):
        builder.assemble(small, "distillation")


@pytest.mark.parametrize("source,topic", SOURCES, ids=lambda x: getattr(x, "name", x))
def test_committed_notebooks_are_up_to_date(source, topic):
    assert builder.stale(source, topic) == [], "run `course build` and commit what it writes"


@pytest.mark.parametrize("source,topic", SOURCES, ids=lambda x: getattr(x, "name", x))
def test_assembling_twice_gives_the_same_notebook(source, topic):
    first, second = (builder.assemble(source, topic) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("topic", LABS)
def test_lab_and_expected_copy_hold_no_answers(topic):
    for path in (builder.lab_path(topic), builder.expected_path(topic)):
        notebook = nbformat.read(path, as_version=4)
        cells = {cell.id: cell for cell in notebook.cells}
        for exercise in load_unit(topic).exercises:
            code = function_source(topic, exercise.name)
            assert cells[exercise.name].source == stub_source(code, exercise)
            statements = ast.parse(code).body[0].body[1:]
            for line in {line for s in statements for line in ast.unparse(s).splitlines() if len(line) > 40}:
                assert line.strip() not in "\n".join(c.source for c in notebook.cells), f"{path.name} gives away {line}"


@pytest.mark.parametrize("topic", LABS)
def test_lab_ships_without_outputs_and_with_every_exercise(topic):
    notebook = nbformat.read(builder.lab_path(topic), as_version=4)
    assert all(not cell.outputs and cell.execution_count is None for cell in notebook.cells if cell.cell_type == "code")
    ids = [cell.id for cell in notebook.cells]
    for exercise in load_unit(topic).exercises:
        assert ids.index(f"box_{exercise.name}") < ids.index(exercise.name) < ids.index(f"check_{exercise.name}")


@pytest.mark.parametrize("path", BUILT, ids=lambda p: "/".join(p.parts[-2:]))
def test_committed_notebook_is_portable_and_small(path):
    text = path.read_text(encoding="utf-8")
    assert len(text) < 1_000_000, f"{path.name} has {len(text) // 1000} kB"
    notebook = nbformat.reads(text, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert "execution" not in cell.metadata
        for output in cell.get("outputs", []):
            shown = str(output.get("text", "")) + str(
                {k: v for k, v in output.get("data", {}).items() if "image" not in k}
            )
            found = re.search(r"0x[0-9a-f]{6,}|/home/|/root/|/Users/|/tmp/|[A-Z]:\\\\", shown)
            assert not found, f"{path.name}, cell {cell.id}: {found[0]}"
            if "image/png" in output.get("data", {}):
                assert output.metadata.get("image/png", {}).get("alt") or "alt=" in shown, f"{cell.id}: no alt text"
