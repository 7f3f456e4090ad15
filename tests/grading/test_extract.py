"""What an exercise needs of a notebook, and nothing else."""

import ast
import sys
import time

import nbformat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from IPython.core.inputtransformer2 import TransformerManager

from course_utils.grading.extract import extract
from course_utils.units import load_unit, solution_source

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


def run(cells, name, *args):
    """What a function that is extracted returns."""
    space = {}
    for source in sources(cells, name):
        exec(source, space)
    return space[name](*args)


def test_changes_in_place_belong_to_a_value():
    cells = [
        "table = {}",
        "for i in range(3):\n    table[i] = i",
        "names = []\nnames.append(1)",
        "def f(): return table",
    ]
    assert sources(cells, "f") == [*cells[:2], cells[3]]
    assert sources([*cells, "def g(): return names"], "g") == ["names = []", "names.append(1)", "def g(): return names"]
    for change in ("x[0].append(1)", "x.weight.zero_()", "x.fill(2)", "y = x.pop()", "x.view(3).fill_(1)", "x.setup()"):
        assert sources(["x = new()", change, "def f(): return x"], "f") == ["x = new()", change, "def f(): return x"]


@pytest.mark.parametrize(
    "lines",
    {
        "a function": "def fill():\n    for i in range(3): TABLE.append(i)\nfill()",
        "one by one": "def fill(i): TABLE.append(i)\nfor i in range(3): fill(i)",
        "a comprehension": "def fill(i): TABLE.append(i)\n[fill(i) for i in range(3)]",
        "map": "def fill(i): TABLE.append(i)\nlist(map(fill, range(3)))",
        "printed": "def fill():\n    for i in range(3): TABLE.append(i)\n    return 'filled'\nprint(fill())",
        "its result kept": "def fill():\n    for i in range(3): TABLE.append(i)\n    return 'filled'\ndone = fill()",
        "through another": "def put(i): TABLE.append(i)\ndef fill():\n    for i in range(3): put(i)\nfill()",
        "several levels": "def a(): TABLE.extend([0, 1, 2])\ndef b(): a()\ndef c(): b()\ndef d(): c()\nd()",
        "under a condition": "def fill(): TABLE.extend([0, 1, 2])\nif not TABLE:\n    fill()",
        "given to it": "def fill(t):\n    for i in range(3): t.append(i)\nfill(TABLE)",
        "given to a library": "import heapq\nfor i in range(3): heapq.heappush(TABLE, i)",
        "a decorator": "def keep(f):\n    TABLE.extend(f())\n    return f\n@keep\ndef numbers(): return [0, 1, 2]",
    }.values(),
)
def test_calls_that_fill_a_table_are_run(lines):
    cells = ["unrelated()", f"TABLE = []\n{lines}", "def f(): return TABLE"]
    assert run(cells, "f") == [0, 1, 2] and "unrelated()" not in sources(cells, "f")


@pytest.mark.parametrize(
    "lines",
    {
        "once": "def make():\n    global K\n    K = 2\nmake()",
        "over a first value": "K = 0\ndef make():\n    global K\n    K = 2\nmake()",
        "counted": "K = 0\ndef count():\n    global K\n    K += 1\ncount()\ncount()",
        "through another": "def make():\n    global K\n    K = 2\ndef main(): make()\nmain()",
    }.values(),
)
def test_calls_that_set_a_global_are_run(lines):
    assert run([lines, "def f(): return K"], "f") == 2


def test_calls_of_an_exercise_are_not_run():
    """An exercise is a pure function: what it keeps for itself from call to call must not matter."""
    cells = ["calls = 0", "def f():\n    global calls\n    calls += 1", "f()\nx = f()", "check(f)"]
    assert sources(cells, "f") == cells[:2]


def test_what_need_not_bind_a_name_leaves_the_binding_above_in_force():
    for perhaps in ("if K > 5: K = 9", "try:\n    K = 1 / 0\nexcept ZeroDivisionError: pass", "while K > 5: K = 9"):
        assert run(["K = 2", perhaps, "def f(): return K"], "f") == 2
    cells = ["for i in range(3): slow(i)", "t = [0] * 3\nfor i in range(3): t[i] = i", "def f(): return t"]
    assert "slow" not in "".join(sources(cells, "f"))


@pytest.mark.parametrize(
    "lines",
    [
        "import sys\nsys.setrecursionlimit(9_000)",
        "import sys as system\nsystem.setrecursionlimit(9_000)",
        "from sys import setrecursionlimit\nsetrecursionlimit(9_000)",
        "from sys import setrecursionlimit as deeper\ndeeper(9_000)",
        "import sys\ndef deeper(): sys.setrecursionlimit(9_000)\ndeeper()",
        "import sys\nif sys.getrecursionlimit() < 9_000:\n    sys.setrecursionlimit(9_000)",
    ],
)
def test_the_recursion_limit_belongs_to_every_function_below(lines):
    cells = [lines, "def f(): return 1", "check(f)", "import sys\nsys.setrecursionlimit(50)"]
    before = sys.getrecursionlimit()
    try:
        assert run(cells, "f") == 1 and sys.getrecursionlimit() == 9_000
    finally:
        sys.setrecursionlimit(before)


def test_a_training_loop_is_no_setting():
    cells = ["import torch", "with torch.set_grad_enabled(True):\n    net = train()", "def f(): return 1"]
    assert sources(cells, "f") == ["def f(): return 1"]


def test_a_method_that_is_put_into_a_library_comes_along():
    cells = ["import torch", "def twice(self): return 2 * self", "torch.Tensor.twice = twice", "torch.sort(data)"]
    assert sources([*cells, "def f(x): return torch.relu(x).twice()"], "f")[:-1] == cells[:3]


def test_an_import_of_several_names_is_split():
    cells = ["import seaborn as sns, torch\nfrom math import (pi,\n  tau)", "def f(): return torch.full((1,), tau)"]
    assert sources(cells, "f") == ["import torch", "from math import tau", cells[1]]
    assert [s.line for s in extract(cells, ["f"]).by_exercise["f"]] == [1, 2, 1]


def test_a_module_that_a_cell_writes_comes_along(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    cells = [
        "%%writefile helpers_of_a_test.py\nK = 1",
        "%%writefile -a helpers_of_a_test.py\nL = K + 1",
        "%%writefile data.csv\n1,2",
        "from helpers_of_a_test import L as K",
        "def f(): return K",
    ]
    assert run(cells, "f") == 2 and len(sources(cells, "f")) == 4
    # What was extracted may be extracted again, as `course check` does for the lab's experiments
    once = sources(cells, "f")
    assert sources(["\n\n".join(once)], "f") == once
    # The first cell that appends makes the module
    assert (
        len(sources(["%%writefile -a helpers_of_a_test.py\nK = 1", "import helpers_of_a_test as h", "def f(): h"], "f"))
        == 3
    )


# --- Which binding counts ---------------------------------------------------------------------------------------------


def test_the_binding_above_the_check_counts_and_both_cells_are_named():
    cells = ["def softmax(z): return 1", "def f(): return softmax(0)", "check(f)", "from scipy.special import softmax"]
    found = extract(cells, ["f"])
    assert [s.source for s in found.by_exercise["f"]] == cells[:2]
    assert found.notes == ["softmax is bound again in code cell 4: for f the one in code cell 1 counts"]
    # The last check decides
    found = extract([*cells, "check(f)"], ["f"])
    assert [s.source for s in found.by_exercise["f"]] == [cells[1], cells[3]] and found.notes == []


def test_each_exercise_has_the_binding_above_its_own_check():
    cells = ["K = 1", "def f(): return K", "check(f)", "K = 2", "def g(): return K", "check(g)", "K = 3"]
    found = extract(cells, ["f", "g"])
    assert [s.source for s in found.by_exercise["f"]] == ["K = 1", "def f(): return K"]
    assert [s.source for s in found.by_exercise["g"]] == ["K = 2", "def g(): return K"]
    assert found.notes == [
        "K is bound again in code cell 7: for f the one in code cell 1 counts",
        "K is bound again in code cell 7: for g the one in code cell 4 counts",
    ]


def test_of_an_exercise_the_last_implementation_counts_for_others_too():
    cells = ["def f(): return 1", "check(f)", "def g(): return f()", "check(g)", "def f(): return 2"]
    found = extract(cells, ["f", "g"])
    assert [s.source for s in found.by_exercise["g"]] == ["def g(): return f()", "def f(): return 2"]
    assert "f is defined 2 times; the one in code cell 5 counts" in found.notes
    assert "f stands in code cell 5, below the check of g in code cell 4" in found.notes


def test_what_stands_only_below_the_check_counts_and_is_noted():
    found = extract(["def f(): return helper()", "check(f)", "def helper(): return 1"], ["f"])
    assert [s.source for s in found.by_exercise["f"]] == ["def f(): return helper()", "def helper(): return 1"]
    assert found.notes == ["helper stands in code cell 3, below the check of f in code cell 2"]
    assert extract(["check(f)", "def f(): return 1"], ["f"]).notes == [
        "f stands in code cell 2, below its check in code cell 1"
    ]


def test_a_variable_in_place_of_a_helper_is_noted():
    cells = ["def rest(n): return 1 / n", "rest = rest(3)", "def f(): return rest(4)", "check(f)"]
    found = extract(cells, ["f"])
    assert run(cells, "f") == 0.25
    assert found.notes == ["rest is bound again in code cell 2: for f the one in code cell 1 counts"]


def test_loops_and_experiments_that_use_a_name_again_are_no_matter():
    cells = ["T = 2\nt = {}\nfor i in range(3): t[i] = i", "def f(): return T, t", "check(f)"]
    cells += ["%%needs f\nfor T in (1, 4): print(T)", "for i in range(9): print(i)"]
    assert extract(cells, ["f"]).notes == []


def test_an_exercise_that_becomes_a_variable_is_noted():
    found = extract(["def f(): return 1", "check(f)", "f = f()"], ["f"])
    assert [s.source for s in found.by_exercise["f"]] == ["def f(): return 1"]
    assert found.notes == ["f is defined 2 times; the one in code cell 1 counts"]


def test_a_line_that_is_left_out_is_noted():
    cells = [
        "import torch\ntorch.set_num_threads(1)",
        "K = 1\ntorch.manual_seed(0)\ndef f(): return torch.full((1,), K)",
    ]
    assert extract(cells, ["f"]).notes == ["code cell 2, line 2 is left out: torch.manual_seed(0)"]


def test_both_sides_of_a_merge_conflict_are_noted():
    cell = "<<<<<<< HEAD\ndef f(): return 1\n=======\ndef f(): return 2\n>>>>>>> partner\n"
    notes = extract([cell], ["f"]).notes
    assert notes[0] == "code cell 1 holds both sides of a merge conflict (<<<<<<<): resolve it"
    assert "f is defined 2 times; the one in code cell 1 counts" in notes


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


MAGICS = (
    "!{sys.executable} -m pip install x", "!./x", '!"$x"', "! ls", "!!ls", "!(cd x; ls)", "!~/x", "!-x", "!echo it's",
    "!pip install a \\\n        b", "%time K = 1", "%cd ..", "%%time", "%timeit?", "?x", "x??", "x[0].y?",
    "a = !{x}", "a=! ls", "a = %env X", "a.b = !ls", "a['x'] = !ls", "a, b = !ls",
)  # fmt: skip


@pytest.mark.parametrize("magic", MAGICS)
@pytest.mark.parametrize("cell", ["{}\ndef f(): return 1", "if True:\n    {}\ndef f(): return 1", "def f():\n    {}\n"])
def test_a_magic_costs_its_line_only_as_in_the_kernel(cell, magic):
    """By IPython's own words: where it makes Python of the cell, so do we."""
    cell = cell.format(magic)
    ast.parse(TransformerManager().transform_cell(cell))
    found = extract([cell], ["f"])
    assert found.by_exercise["f"] and not found.notes


@pytest.mark.parametrize("statement", ["x = (5\n  %y)", "x = (y\n     != 2)", "x = '''\n!ls\n  ! x\n%y\n'''"])
def test_what_looks_like_a_magic_is_kept_beside_one(statement):
    found = extract([f"!ls\ny = 2\n{statement}\n%cd ..\ndef f(): return x"], ["f"])
    assert statement in [s.source for s in found.by_exercise["f"]]


def test_a_name_in_an_annotation_that_is_never_looked_up_is_not_noted():
    cells = [
        "from __future__ import annotations, division",
        "def f(x: Array) -> Array:\n    y: Array = g(x)\n    return y",
    ]
    assert extract(cells, ["f"]).notes == ["f uses g, which no cell defines"]
    assert "f uses Array, which no cell defines" in extract(cells[::-1], ["f"]).notes


def test_a_cell_magic_that_hides_an_exercise_is_named():
    found = extract(["%%snakeviz\ndef f(): return 1", "def g(): return 1", "%%bash\ndef g(): 2"], ["f", "g"])
    assert found.missing == ["f"] and not found.notes
    assert found.broken == {"f": "code cell 1 begins with %%snakeviz: what it defines does not count"}


@pytest.mark.parametrize("above", ["# a word\n", "import math\n\n", "%%time\n# a word\n"])
def test_a_cell_ends_at_a_cell_magic_that_is_not_its_first_line(above):
    found = extract([f"{above}%%time\ndef f(): return math"], ["f"])
    assert found.missing == ["f"] and found.broken["f"] == found.notes[0]
    assert found.notes == ["code cell 1 ends at %%time, which must be a cell's first line"]
    assert sources([f"{above}def f(): return math\n%%time\ndef g(): return 2"], "f")[-1] == "def f(): return math"


@pytest.mark.parametrize(
    "above", ["\n\n%%time\n", "  %%time\n  ", "%%time\n%%capture out\n\n", "text = '''\n%%bash\n'''\n"]
)
def test_a_cell_does_not_end_at_others(above):
    (statement,) = extract([f"{above}def f(): return 1"], ["f"]).by_exercise["f"]
    assert (statement.source, statement.line) == ("def f(): return 1", above.count("\n") + 1)


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


CHAINS = {
    "functions": "def f0(): T.append(1)\n{chain}\nf{last}()\ndef f(): return T",
    "values": "x0 = 0\n{values}\ndef f(): return x{last}",
    "steps": "x = 0\n{steps}\ndef f(): return x",
    "calls that set": "def s():\n    global g\n    g = 1\n{calls}\ndef f(): return g",
    "calls that fill": "T = []\ndef s(): T.append(1)\n{calls}\ndef f(): return T",
    "functions that set": "{setters}\ndef f(): return g1",
    "definitions": "{definitions}",
    "on one line": "{line}\ndef f(): return x1",
    "checks": "def f(): return 1\n{checks}",
}


def seconds_for(kind, count):
    """Processor time for a chain of so many links."""
    numbers, last = range(1, count), count - 1
    cell = CHAINS[kind].format(
        last=last,
        chain="\n".join(f"def f{i}(): return f{i - 1}()" for i in numbers),
        values="\n".join(f"x{i} = x{i - 1} + 1" for i in numbers),
        steps="\n".join("x = x + 1" for _ in numbers),
        calls="s()\n" * last,
        setters="\n".join(f"def f{i}(): global g{i}; g{i} = 1; f{(i + 1) % count}()\nf{i}()" for i in range(count)),
        definitions="\n".join(f"def f(): return {i}" for i in numbers),
        line="; ".join(f"x{i} = 1" for i in numbers),
        checks="check(f)\n" * last,
    )
    start = time.process_time()
    assert extract([cell], ["f"]).by_exercise["f"]
    return time.process_time() - start


@pytest.mark.parametrize("kind", CHAINS)
def test_time_grows_with_the_length_of_a_chain_not_with_its_square(kind):
    short, long = (min(seconds_for(kind, count) for _ in range(3)) for count in (600, 3_600))
    assert long < 18 * short


def test_a_huge_broken_cell_takes_little_time():
    cell = "x = (\n" * 20_000
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


SCRATCH = [
    "x = 3\nx",
    "print(torch.ones(2))",
    "%%needs soft_targets\nprobs = soft_targets(torch.zeros(1, 3))\nlabels = probs.argmax()",
    "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()",
    "for i in range(3):\n    logits = torch.randn(3)\n    print(i)",
    "def mine(x):\n    global seen\n    seen = x\n    return x\nmine(3)",
    "def broken(:",
    "!pip list\n%timeit torch.ones(2)",
    "%%bash\nls",
    "soft_targets(torch.zeros(2), 3.0)\ncheck(soft_targets)",
    "# nothing",
    "",
]


def lab(topic):
    """The code cells of a solved lab."""
    path = solution_source(topic).with_suffix(".ipynb")
    return [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


LAB = lab("distillation")
NAMES_OF_LAB = [exercise.name for exercise in load_unit("distillation").exercises]
WHOLE = extract(LAB, NAMES_OF_LAB)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_what_has_nothing_to_do_with_it_changes_nothing(data):
    cells = list(LAB)
    for extra in data.draw(st.lists(st.sampled_from([*SCRATCH, *LAB]), max_size=8)):
        cells.insert(data.draw(st.integers(1, len(cells))), extra)
    mixed = extract(cells, NAMES_OF_LAB)
    for name in NAMES_OF_LAB:
        # In another order, and an import twice, if a cell stands twice
        assert {s.source for s in mixed.by_exercise[name]} == {s.source for s in WHOLE.by_exercise[name]}
    assert not mixed.missing and not any("counts" in note for note in mixed.notes), mixed.notes


@given(st.text(alphabet="ab=()[]:'\"\n\t \\#%!@,.defx1", max_size=80))
def test_any_text_is_read(cell):
    found = extract([cell, "def f(): return 1"], ["f"])
    assert [s.source for s in found.by_exercise["f"]][-1] == "def f(): return 1" or "f" in cell
    for statement in found.statements:
        ast.parse(statement.source)
