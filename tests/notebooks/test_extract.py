"""What an exercise needs of a notebook, and nothing else."""

import ast
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from course_utils.notebooks.extract import extract

HEAD = "import torch\nimport torch.nn.functional as F\nfrom course_utils.checks import check"


def sources(cells, name, **kwargs):
    return [statement.source for statement in extract(cells, [name], **kwargs).by_exercise.get(name, [])]


def test_definition_with_helpers_constants_and_imports_and_nothing_else():
    cells = [
        HEAD,
        "SCALE = 2\nunused = 3\ndef helper(x):\n    return SCALE * x\ndef other(): return unused",
        "def f(x):\n    '''Doc.'''\n    # why\n    return F.relu(helper(x))",
        "check(f)\nprint(f(torch.ones(1)))\nimport matplotlib.pyplot as plt\nplt.plot([1])",
    ]
    assert sources(cells, "f") == [
        "import torch.nn.functional as F",
        "SCALE = 2",
        "def helper(x):\n    return SCALE * x",
        "def f(x):\n    '''Doc.'''\n    # why\n    return F.relu(helper(x))",
    ]


def test_where_a_statement_stands():
    found = extract(["", "x = 1\n\n@staticmethod\ndef f(): return x"], ["f"])
    assert [(s.cell, s.line) for s in found.by_exercise["f"]] == [(1, 1), (1, 3)]


@pytest.mark.parametrize(
    ("cell", "kept"),
    {
        "lambda": ("f = lambda x: x + k", 1),
        "tuple": ("f, g = (lambda: k), 2", 1),
        "class": ("class f:\n    def __call__(self): return k", 1),
        "decorated": ("def dec(g): return g\n@dec\ndef f(): return k", 2),
        "decorated later": ("def f(): return k\nimport functools\nf = functools.cache(f)", 3),
        "if": ("if True:\n    def f(): return k\nelse:\n    f = None", 1),
        "try": ("try:\n    from nowhere import f\nexcept ImportError:\n    def f(): return k", 1),
        "with": ("import contextlib\nwith contextlib.suppress(Exception):\n    def f(): return k", 2),
        "default": ("def f(x=k): return x", 1),
        "annotation": ("def f(x: 'k' = k) -> int: return x", 1),
        "comprehension": ("def f(): return [k for _ in range(k)]", 1),
        "nested function": ("def f():\n    def g(): return k\n    return g()", 1),
        "async": ("async def f(): return k", 1),
        "walrus": ("(f := lambda: k)", 1),
        "mutual recursion": ("def f(n): return g(n)\ndef g(n): return f(n - k)", 2),
        "global": ("def f():\n    global k\n    k += 1", 1),
        "several on a line": ("import os; f = lambda: k; import sys", 1),
        "windows lines": ("def f():\r\n    return k\r\n", 1),
        "form feed": ("def f():\n    \f\n    return k", 1),
        "indented as a whole": ("\n    def f():\n        return k\n", 1),
        "prompts": (">>> def f():\n...     return k\n...\n>>> f()\n1", 1),
        "numbered prompts": ("In [12]: def f():\n    ...:     return k\n    ...:", 1),
        "greek": ("def f(τ=k): return 'Σ' and τ", 1),
    }.values(),
)
def test_forms_of_a_definition(cell, kept):
    got = sources(["k = 1", cell, "k2 = 2"], "f")
    assert got[0] == "k = 1" and len(got) == 1 + kept
    space = {}
    for source in got:
        exec(source, space)
    assert "f" in space


def test_star_imports_come_along_where_a_name_is_unknown():
    cells = ["from math import *", "def f(x): return sqrt(x)", "def g(x): return x"]
    assert sources(cells, "f") == ["from math import *", "def f(x): return sqrt(x)"]
    assert sources(cells, "g") == ["def g(x): return x"]


def test_changes_in_place_belong_to_a_value():
    cells = [
        "table = {}",
        "for i in range(3):\n    table[i] = i",
        "names = []\nnames.append(1)",
        "def f(): return table",
    ]
    assert sources(cells, "f") == [*cells[:2], cells[3]]
    assert sources([*cells, "def g(): return names"], "g") == ["names = []", "names.append(1)", "def g(): return names"]
    for change in ("x[0].append(1)", "x.weight.zero_()", "x.fill(2)"):
        assert sources(["x = new()", change, "def f(): return x"], "f") == ["x = new()", change, "def f(): return x"]


def test_a_constant_computed_in_steps():
    cells = ["x = 1", "x = x + 1", "x += 1", "def f(): return x"]
    assert sources(cells, "f") == cells


def test_the_last_definition_counts_and_is_noted():
    found = extract(["def f(): return 1", "def f(): return 2"], ["f"])
    assert [s.source for s in found.by_exercise["f"]] == ["def f(): return 2"]
    assert found.notes == ["f is defined 2 times; the one in code cell 2 counts"]
    assert extract(["def f(): return 1"] * 2, ["f"]).notes == []
    assert sources(["def f(): return 1", "def g(): return 2\nf = g"], "f") == ["def g(): return 2", "f = g"]


def test_a_stub_does_not_hide_an_implementation():
    stub = "def f():\n    '''Doc.'''\n    raise NotImplementedError('Exercise 1.1 f')"
    for cells in ([stub, "def f(): return 1"], ["def f(): return 1", stub]):
        found = extract(cells, ["f"])
        assert [s.source for s in found.by_exercise["f"]] == ["def f(): return 1"] and not found.notes
    assert sources([stub], "f") == [stub]


def test_variables_do_not_hide_functions_imports_and_builtins():
    cells = [HEAD, "def loss(x): return sum(x)", "loss = loss([1])\nF = 3\nsum = 0", "def f(x): return F.relu(loss(x))"]
    assert sources(cells, "f") == ["import torch.nn.functional as F", cells[1], cells[3]]


def test_experiments_count_only_where_nothing_else_does():
    cells = ["T = 2", "%%needs f\nT = 9\nonly = 1", "def f(): return T, only"]
    assert sources(cells, "f") == ["T = 2", "only = 1", "def f(): return T, only"]
    assert sources(["def f(): return 1", "def f(): return 2"], "f", secondary=[1]) == ["def f(): return 1"]


def test_a_helper_below_its_first_use_runs_first():
    cells = ["@dec\ndef f(): return 1", "def dec(g): return g"]
    assert sources(cells, "f") == [cells[1], cells[0]]


def test_magics_are_taken_out():
    cells = [
        "%matplotlib inline\n!pip install x\nimport torch\nfiles = !ls\ntorch.add?\n?torch",
        "%%time\n%load_ext autoreload\ndef f(x):\n    !ls\n    x.add?\n    %time y = torch.relu(x)\n    return y",
        "%%bash\ndef f(): nothing",
        "%%html\n<b>",
    ]
    found = extract(cells, ["f"])
    assert [s.source for s in found.by_exercise["f"]] == [
        "import torch",
        "def f(x):\n    pass\n    pass\n    y = torch.relu(x)\n    return y",
    ]
    assert found.notes == [] and found.by_exercise["f"][1].line == 3


def test_a_syntax_error_costs_its_statement_only():
    cell = (
        'k = 1\ndef bad(x:\n    return x\n\ndef f():\n    """a\nb\n"""\n    return k\n\nprint "x"\ndef g(): return f()'
    )
    found = extract(["def h(): return 1", cell], ["f", "g", "h", "bad"])
    assert [s.source for s in found.by_exercise["g"]] == [
        "k = 1",
        'def f():\n    """a\nb\n"""\n    return k',
        "def g(): return f()",
    ]
    assert found.missing == ["bad"] and found.broken["bad"].startswith("code cell 2 has a syntax error in line 2: ")
    assert len(found.notes) == 2 and "line 11" in found.notes[1]


def test_unknown_names_are_noted():
    found = extract(["def f(x): return helper(x)"], ["f", "g"])
    assert found.notes == ["f uses helper, which no cell defines"] and found.missing == ["g"] and not found.broken


@pytest.mark.parametrize(
    "cell",
    ["\0", "(" * 10_000, "x = " + "-" * 20_000 + "1", "if " * 500, "'" * 9_999, "\ud800 = 1", "\ufeffx = 1", "@"],
)
def test_odd_cells_cost_nobody_else_anything(cell):
    assert sources(["def f(): return 1", cell], "f") == ["def f(): return 1"]


@pytest.mark.parametrize("cell", ["x = (\n" * 20_000, f"x = '{'y' * 100}'\n" * 3_000], ids=["broken", "long"])
def test_a_huge_cell_takes_little_time(cell):
    start = time.process_time()
    found = extract([cell, "def f(): return 1"], ["f"])
    assert found.by_exercise["f"] and time.process_time() - start < 10


NAMES = st.sampled_from("abcde")


@st.composite
def notebooks(draw):
    """Functions and constants that use one another, one to a cell, each defined once, in any order."""
    cells = []
    for name in draw(st.permutations("abcde")):
        uses = draw(st.lists(NAMES.filter(lambda n: n < name), max_size=3, unique=True))  # noqa: B023
        body = " + ".join(["1", *(f"{n}()" for n in uses)])
        cells.append(
            draw(st.sampled_from(["def {0}(): return {1}", "{0} = lambda: {1}", "if 1:\n    def {0}(): return {1}"]))
        )
        cells[-1] = cells[-1].format(name, body)
    return cells


@given(notebooks(), NAMES)
def test_what_is_extracted_is_enough_and_not_too_much(cells, name):
    whole, part = {}, {}
    exec("\n".join(cells), whole)
    got = sources(cells, name)
    exec("\n".join(got), part)
    assert part[name]() == whole[name]()
    # Without any one of them something is missing
    for i in range(len(got)):
        less = {}
        exec("\n".join(got[:i] + got[i + 1 :]), less)
        with pytest.raises((NameError, KeyError)):
            less[name]()


@given(st.text(alphabet="ab=()[]:'\"\n\t \\#%!@,.defx1", max_size=80))
def test_any_text_is_read(cell):
    found = extract([cell, "def f(): return 1"], ["f"])
    assert [s.source for s in found.by_exercise["f"]][-1] == "def f(): return 1" or "f" in cell
    for statement in found.statements:
        ast.parse(statement.source)
