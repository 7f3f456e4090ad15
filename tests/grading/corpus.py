"""Notebooks of careful, hurried and odd students: which exercises hold in each, in the notebook and when it is judged.

Where the two differ by their nature, `told` is in what `course check` and `course grade` say.
"""

import importlib
import itertools
import json
import re
from collections.abc import Callable
from dataclasses import dataclass

import nbformat

from course_utils.checks import find_exercise
from course_utils.notebooks.source import stub_source
from course_utils.units import load_unit
from tests.checks.catalogue import VARIANTS
from tests.grading.hostile import ATTACKS, CALL, DEF, HONEST, RIGHT
from tests.grading.notebooks import HEAD, SOLUTION, notebook, raw, variant_cell


@dataclass(frozen=True)
class Case:
    """What is handed in, what is run in the notebook, and the exercises that hold. `told`: what the student reads."""

    topic: str
    content: bytes
    cells: tuple[str, ...]
    in_kernel: frozenset[str]
    judged: frozenset[str]
    told: str = ""


def case(
    *cells: str,
    topic: str = "distillation",
    kernel: bool = True,
    judged: bool | None = None,
    told: str = "",
    saved: Callable[[list[str]], bytes] = notebook,
) -> Case:
    """A notebook of these code cells. All exercises that it checks hold in the kernel, or none (`kernel`); they are
    judged so too, unless `judged` says otherwise."""
    checked = frozenset(re.findall(r"^check\((\w+)\)$", "\n".join(cells), re.MULTILINE))
    judged = kernel if judged is None else judged
    none = frozenset()
    return Case(topic, saved(list(cells)), cells, checked if kernel else none, checked if judged else none, told)


CHECK = "check(virtual_teacher)"
RETURN = f"    return {CALL}"
TEACHER, SOFT = SOLUTION["virtual_teacher"], SOLUTION["soft_targets"]
REST = "def rest(n, p): return (1 - p) / (n - 1)"
USES_REST = (
    f"{DEF}    out = torch.full((len(labels), num_classes), rest(num_classes, correct_probability))\n"
    "    return out.scatter(1, labels[:, None], correct_probability)"
)


def teacher(*cells: str, **expected) -> Case:
    """Lab 01 with its head, these cells, and the check of virtual_teacher below them."""
    return case(HEAD, *cells, CHECK, **expected)


def scaled(cells: str, by: str, **expected) -> Case:
    """A right virtual_teacher, times what the cells, parted by empty lines, have made 1."""
    return teacher(RIGHT, *cells.split("\n\n"), f"{DEF}    return ({by}) * {CALL}", **expected)


# --- Faults that were reported ----------------------------------------------------------------------------------------

SIGNS = "def binarize(real):\n    return torch.where(real >= 0, 1.0, -1.0).to(real.dtype)"
WRONG = "def binarize(real):\n    return real.sign()"
SOFTMAX = """def softmax(z):
    return (z - torch.logsumexp(z, -1, keepdim=True)).exp()
def soft_targets(logits, temperature=1.0):
    return softmax(logits / temperature)"""
F_STRING = TEACHER.replace("    rest =", '    assert f"{{"a": 1}["a"]}"\n    rest =')
BY_TABLE = """def xnor_popcount_matmul(a_words, b_words, length):
    different = (a_words[:, None, :] ^ b_words[None, :, :]).view(np.uint16)
    return (length - 2 * POPCOUNT[different].sum(axis=-1, dtype=np.int32)).astype(np.int32)"""
FILLED = """POPCOUNT = np.zeros(65536, dtype=np.uint8)
def fill():
    for value in range(65536): POPCOUNT[value] = bin(value).count("1")
fill()"""
MADE = """def make():
    global POPCOUNT
    POPCOUNT = np.array([bin(value).count("1") for value in range(65536)], dtype=np.uint8)
make()"""
BY_ROWS = """def xnor_popcount_matmul(a_words, b_words, length):
    def row(a): return length - 2 * np.bitwise_count(a ^ b_words).sum(axis=1, dtype=np.int32)
    return np.stack([*{rows}]).astype(np.int32)"""


def words(*cells: str, check: str = "xnor_popcount_matmul", **expected) -> Case:
    """Lab 05 with its head, these cells, and the check of its product of words of bits."""
    head = "import numpy as np\nimport torch\nfrom course_utils.checks import check"
    return case(head, *cells, f"check({check})", topic="binary", **expected)


def signs(*cells: str, **expected) -> Case:
    """Lab 05's smallest exercise."""
    return words(*cells, check="binarize", **expected)


def twice(cells: list[str]) -> bytes:
    """The copy of a cell keeps its id."""
    ids = ["copy" if "def " in cell else f"c{number}" for number, cell in enumerate(cells)]
    return raw([{"cell_type": "code", "source": s, "id": id} for s, id in zip(cells, ids, strict=True)])


def newer(cells: list[str]) -> bytes:
    return notebook(cells, language_info={"name": "python", "version": "3.99.1"})


REPORTED = {
    "a copy keeps its id, and is right": signs(
        WRONG, SIGNS, saved=twice, judged=False, told="code cell 3 has the id of an earlier cell, which counts"
    ),
    "a copy keeps its id, and is the same": signs(SIGNS, SIGNS, saved=twice, told="has the id of an earlier cell"),
    "a later import hides a helper": case(
        HEAD, SOFTMAX, "check(soft_targets)", "from scipy.special import softmax",
        told="softmax is bound again in code cell 4: for soft_targets the one in code cell 2 counts",
    ),
    "a later constant hides one": case(
        HEAD, "K = 1.0", RIGHT, f"{DEF}    return K * {CALL}", CHECK, "K = 0.5", told="K is bound again in code cell 6"
    ),
    "a table that a call fills": words(FILLED, BY_TABLE),
    "a global that a call makes": words(MADE, BY_TABLE),
    "markup in an error": signs('def binarize(real): return {"[in]": 1}["[/in]"]', kernel=False, told="'[/in]'"),
    "markup in a line": signs(
        'def binarize(real): return sum([n for n in [1]]) + int("[in/out]")', kernel=False, told="[n for n in [1]]"
    ),
    "a no-break space": signs(SIGNS.replace(" >=", "\u00a0>="), kernel=False, told="a no-break space"),
    "threads": words(
        "from concurrent.futures import ThreadPoolExecutor as Pool", BY_ROWS.format(rows="Pool(2).map(row, a_words)"),
        judged=False, told="grading has one thread for you",
    ),
    "threads of a pool": words(
        "from multiprocessing.pool import ThreadPool", BY_ROWS.format(rows="ThreadPool(2).map(row, a_words)"),
        judged=False, told="grading has one thread for you",
    ),
    "tqdm": words("from tqdm.auto import tqdm", BY_ROWS.format(rows="map(row, tqdm(a_words, mininterval=0))")),
    "rich": words("from rich.progress import track", BY_ROWS.format(rows="map(row, track(a_words))")),
    "display": signs(SIGNS.replace("    return", "    display(real); print('[x]')\n    return")),
    "a file with an exercise": teacher(
        f"%%writefile whole.py\nimport torch\nfrom torch import Tensor\n{TEACHER}", "from whole import virtual_teacher"
    ),
    "both sides of a merge conflict": signs(
        f"<<<<<<< HEAD\n{SIGNS}\n=======\n{WRONG}\n>>>>>>> partner", kernel=False, told="both sides of a merge conflict"
    ),
    "a newer Python's syntax": teacher(
        F_STRING, kernel=False, saved=newer, told="the notebook was run with Python 3.99 and is judged by"
    ),
    "written with a newer Python": signs(SIGNS, saved=newer),
}  # fmt: skip


# --- How editors and tools leave a notebook ---------------------------------------------------------------------------

STREAM = {"output_type": "stream", "name": "stdout", "text": "x\n" * 500_000}
WIDGET = {
    "output_type": "display_data",
    "metadata": {},
    "data": {"application/vnd.jupyter.widget-view+json": {"model_id": "1", "version_major": 2}},
}
ERROR = {"output_type": "error", "ename": "NameError", "evalue": "x", "traceback": ["\x1b[0;31mNameError\x1b[0m"]}
COLAB = {
    "accelerator": "GPU",
    "colab": {"provenance": [], "name": "05_binary.ipynb"},
    "widgets": {"application/vnd.jupyter.widget-state+json": {"1": {}}},
}


def as_cells(change: Callable[[dict, int], object], **content) -> Callable[[list[str]], bytes]:
    """A way to save: the cells with a change to each, and what else the file holds."""

    def save(sources: list[str]) -> bytes:
        cells = [
            {"cell_type": "code", "id": f"c{i}", "metadata": {}, "execution_count": i, "outputs": [], "source": source}
            for i, source in enumerate(sources)
        ]
        for number, cell in enumerate(cells):
            change(cell, number)
        return raw(cells, **content)

    return save


def metadata(**entries) -> Callable[[dict, int], object]:
    return lambda cell, number: cell["metadata"].update(entries)


def outputs(*entries) -> Callable[[dict, int], object]:
    return lambda cell, number: cell.update(outputs=list(entries))


def without(*keys: str) -> Callable[[dict, int], object]:
    return lambda cell, number: [cell.pop(key) for key in keys]


def source(change: Callable[[str], object]) -> Callable[[dict, int], object]:
    return lambda cell, number: cell.update(source=change(cell["source"]))


def exercise_as(kind: str) -> Callable[[dict, int], object]:
    return lambda cell, number: "def " in cell["source"] and cell.update(cell_type=kind)


def format_3(cells: list[str]) -> bytes:
    more = {"cell_type": "code", "language": "python", "outputs": [], "metadata": {}, "collapsed": False}
    code = [{**more, "input": cell.splitlines(True), "prompt_number": 1} for cell in cells]
    sheet = {"cells": [{"cell_type": "heading", "level": 1, "source": "Lab", "metadata": {}}, *code], "metadata": {}}
    return raw([], nbformat=3, nbformat_minor=0, worksheets=[sheet])


def with_prose(cells: list[str]) -> bytes:
    made = nbformat.reads(notebook(cells).decode(), as_version=4)
    prose = [nbformat.v4.new_markdown_cell("def binarize(): pass"), nbformat.v4.new_raw_cell("binarize = 3")]
    made.cells = [*itertools.chain(*((cell, *prose) for cell in made.cells))]
    return json.dumps(made).encode()


def strange(cells: list[str]) -> bytes:
    return raw(
        [3, None, {"cell_type": "code"}, {"cell_type": "code", "source": {}}, *json.loads(notebook(cells))["cells"]]
    )


def more(*extra: str) -> Callable[[list[str]], bytes]:
    return lambda cells: raw([{"cell_type": "code", "source": cell} for cell in [*cells, *extra]])


TOOLS = {
    "Colab": as_cells(lambda c, i: (c.pop("id"), c["metadata"].update(id="yZ3")), nbformat_minor=0, metadata=COLAB),
    "VS Code": as_cells(metadata(vscode={"languageId": "python"}), metadata={"vscode": {"interpreter": {"hash": "x"}}}),
    "old VS Code": as_cells(without("id"), nbformat_minor=2, metadata={"orig_nbformat": 4}),
    "PyCharm": as_cells(metadata(pycharm={"name": "#%%\n", "is_executing": False}, collapsed=False)),
    "nbstripout": as_cells(lambda c, i: c.update(id=str(i), execution_count=None)),
    "JupyterLab's collaboration": as_cells(metadata(trusted=True), metadata={"kernelspec": {"name": "RTC:python3"}}),
    "jukit": as_cells(without("id", "execution_count", "metadata", "outputs")),
    "nbdev": as_cells(without("id", "execution_count"), metadata={}),
    "old Jupyter": format_3,
    "a widget without its state": as_cells(outputs(WIDGET), metadata={"widgets": {}}),
    "outputs of 1 MB": as_cells(outputs(STREAM)),
    "outputs of errors": as_cells(outputs(ERROR)),
    "outputs of no known kind": as_cells(outputs({"output_type": "hologram"}, 3)),
    "nbgrader's metadata": as_cells(metadata(nbgrader={"grade_id": "same", "solution": True, "locked": True})),
    "tags and slides": as_cells(metadata(slideshow={"slide_type": "-"}, tags=["hide", 3])),
    "source as lines": as_cells(source(lambda text: text.splitlines(keepends=True))),
    "Windows line ends in cells": as_cells(source(lambda text: text.replace("\n", "\r\n"))),
    "Windows line ends in the file": lambda cells: notebook(cells).replace(b"\n", b"\r\n"),
    "a byte order mark": lambda cells: b"\xef\xbb\xbf" + notebook(cells),
    "what Windows' terminal writes": lambda cells: notebook(cells).decode().encode("utf-16"),
    "a foreign kernel": lambda cells: notebook(cells, kernelspec={"name": "ir", "display_name": "R"}),
    "no metadata at all": as_cells(without("metadata"), metadata=None),
    "prose and raw cells between": with_prose,
    "cells that are none": strange,
    "more than a thousand cells": more(*["x = 1"] * 1_500),
}
REFUSED = {
    "too many cells": (more(*["x = 1"] * 3_000), "too large: 3,003 code cells"),
    "too much code": (more(*["# " + "x" * 90_000] * 7), "500,000 are allowed"),
    "format 5": (as_cells(metadata(), nbformat=5), "it has notebook format 5: save it as format 4"),
    "cut off": (lambda cells: notebook(cells)[:-40], "it ends in the middle"),
    "two saved over each other": (lambda cells: 2 * (notebook(cells) + b"\n"), "follows the notebook's end"),
    "not JSON": (lambda cells: b"x" + notebook(cells), "it is not JSON: Expecting value"),
    "latin-1": (lambda cells: notebook(cells).replace(b"# Lab", b"# \xe9"), "it is not UTF-8"),
    "half of UTF-16": (lambda cells: notebook(cells).decode().encode("utf-16")[:-1], "it is not UTF-16"),
    "a web page": (lambda cells: b"<!DOCTYPE html><title>Sign in</title>", "it is a web page"),
    "Git LFS": (lambda cells: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a pointer of Git LFS"),
    "a merge of the file": (lambda cells: b"<<<<<<< HEAD\n" + notebook(cells), "it holds a merge conflict"),
    "nothing": (lambda cells: b"\n", "the file has no content"),
    "a cell that became Markdown": (as_cells(exercise_as("markdown")), "no cell defines a function binarize"),
    "a cell that became raw": (as_cells(exercise_as("raw")), "no cell defines a function binarize"),
}
SAVED = {name: signs(SIGNS, saved=saved) for name, saved in TOOLS.items()}
SAVED |= {name: signs(SIGNS, saved=saved, judged=False, told=told) for name, (saved, told) in REFUSED.items()}
SAVED["a pasted log"] = signs(SIGNS, f"LOG = '{'x' * 200_000}'", told="a pasted log perhaps")


# --- Odd but honest code ----------------------------------------------------------------------------------------------

# == name | what is 1 when the cells have run | what the student is told, if that is not so when it is judged
SCALED = """
== a loop defines | makers['a']()
makers = {}
for name in 'ab':
    makers[name] = lambda: 1

== a conditional import | m.exp(0)
import sys
if sys.version_info >= (3,):
    import math as m
else:
    import cmath as m

== a fallback | float(xp.ones(1)[0])
try:
    import a_package_of_nobody as xp
except ImportError:
    import numpy as xp

== a package that is missing | F.relu(torch.ones(()))
import a_package_of_nobody

== a choice that is not made | K
K = 1

if K > 5:
    K = 9

== a try that fails | K
K = 1

try:
    K = 1 / 0
except ZeroDivisionError:
    pass

== an exception group | K
try:
    raise ExceptionGroup('x', [ValueError()])
except* ValueError:
    K = 1

== a dataclass | Options().get()
from dataclasses import dataclass
@dataclass
class Options:
    scale: float = 1.0
    def get(self): return self.scale

== an enumeration | Kind.A.value
from enum import Enum
class Kind(Enum):
    A = 1.0

== a named tuple | pair.a
from collections import namedtuple
Pair = namedtuple('Pair', 'a b')

pair = Pair(1, 2)

== a network that is set up | one()
class One(torch.nn.Module):
    def set_up(self): self.k = 1
    def forward(self): return self.k
one = One()

one.set_up()

== a recursive helper | down(50)
def down(n): return 1 if n == 0 else down(n - 1)

== a recursion limit | down(5_000)
import sys
sys.setrecursionlimit(20_000)
def down(n): return 1 if n == 0 else down(n - 1)

== a recursion limit, imported | down(5_000)
from sys import setrecursionlimit
setrecursionlimit(20_000)

def down(n): return 1 if n == 0 else down(n - 1)

== a recursion limit, renamed | down(5_000)
from sys import setrecursionlimit as deeper

deeper(20_000)
def down(n): return 1 if n == 0 else down(n - 1)

== a recursion limit, by a function | down(5_000)
import sys as system
def deeper(): system.setrecursionlimit(20_000)

deeper()

def down(n): return 1 if n == 0 else down(n - 1)

== a recursion limit, under a condition | down(5_000)
import sys
if sys.getrecursionlimit() < 20_000:
    sys.setrecursionlimit(20_000)
def down(n): return 1 if n == 0 else down(n - 1)

== numba, which keeps its code | one(1)
import numba
@numba.njit(cache=True)
def one(x): return x

== a generator | next(stream)
def ones():
    while True: yield 1
stream = ones()

next(stream)

== calls that are counted | calls
calls = 0
def count():
    global calls
    calls += 1

count()

== a value filled at need | one()
K = None
def one():
    global K
    if K is None: K = 1
    return K

== everything of a module | exp(0)
from math import *

== everything of two modules | relu(torch.ones(()))
from math import *
from torch.nn.functional import *

== only as the main program | K
if __name__ == '__main__':
    K = 1

== await | K
import asyncio
async def later():
    await asyncio.sleep(0)
    return 1

K = await later()

== a walrus | K
print(K := 1)

== unpacking | c
(a, *b), c = (1, 2, 3), 4
c, a = a, c

== a name deleted and bound again | K
K = 2
del K
K = 1

== a built-in hidden for a while | sum([1])
sum = 3
del sum

== a method for tensors | torch.ones(()).as_it_is()
def as_it_is(self): return self
torch.Tensor.as_it_is = as_it_is

== a function for torch | torch.one()
torch.one = lambda: 1

== an attribute set later | Options.k
class Options: pass
Options.k = 1

== a dict changed later | options['k']
options = dict(k=5)

options.update(k=1)

== a seed | len(NOISE) / 3
torch.manual_seed(0)
NOISE = torch.rand(3)

== settings | log.info('x') or 1
import logging, warnings
import numpy as np
warnings.filterwarnings('ignore')
logging.basicConfig(level=logging.INFO)
np.seterr(all='ignore')
torch.set_default_dtype(torch.float32)
log = logging.getLogger('x')

== a table by one call | TABLE == [1, 2, 3]
TABLE = []
def fill(): TABLE.extend([1, 2, 3])

fill()

== a table by a loop of calls | TABLE == [1, 2, 3]
TABLE = []

def fill(v): TABLE.append(v)

for v in (1, 2, 3): fill(v)

== a table by a comprehension | TABLE == [1, 2, 3]
TABLE = []

def fill(v): TABLE.append(v)

[fill(v) for v in (1, 2, 3)]

== a table by map | TABLE == [1, 2, 3]
TABLE = []

def fill(v): TABLE.append(v)

list(map(fill, (1, 2, 3)))

== a table that is given | TABLE == [1, 2, 3]
TABLE = []
def fill(table): table.extend([1, 2, 3])

fill(TABLE)

== a table by a library | TABLE == [1, 2, 3]
import heapq
TABLE = []
for v in (3, 1, 2): heapq.heappush(TABLE, v)

TABLE.sort()

== a table through three functions | TABLE == [1, 2, 3]
TABLE = []
def a(): TABLE.extend([1, 2, 3])
def b(): a()
def c(): b()

c()

== an assertion that fails | 1
K = 1
assert K == 2

== an exit | 1
import sys
sys.exit()

== Colab's question | 1 - IN_COLAB
import sys
IN_COLAB = 'google.colab' in sys.modules
if IN_COLAB:
    from google.colab import drive
    drive.mount('/content/drive')

== magics | K
%time K = 1
!true
files = !true
if K:
    !{sys.executable} -V
    !"$HOME"/no/such/program
    lines = !./no_such_program

%%capture out
print(K)

%%bash
K=5

== a timed cell binds nothing | K
K = 1

%%timeit -n 1 -r 1
K = 5

== pip without a sign | 1
pip --version

== two letters for one | μ
µ = 1

== a helper file | ONE
%%writefile of_mine.py
ONE = 1.0

from of_mine import ONE

== a helper file in two parts | mine.TWO / 2
%%writefile two_parts.py
ONE = 1.0

%%writefile -a two_parts.py
TWO = 2 * ONE

import two_parts as mine

== processes | subprocess.run(['true'], check=True).returncode + 1 | grading has one process for you, and no network
import subprocess

== a network | ask() | grading has one process for you, and no network
import socket
def ask():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s: s.connect(('127.0.0.1', 9))
    return 1

== names by exec | K | virtual_teacher uses K, which no cell defines
exec('K = 1')

== names by globals() | K | virtual_teacher uses K, which no cell defines
for name in 'KL': globals()[name] = 1

== names of a script | K | virtual_teacher uses K, which no cell defines
%%writefile script.py
K = 1

%run script.py

== the output of a cell | K | code cell 4, line 1 raised NameError: name '_' is not defined
1 + 0

K = _

== a file written by hand | K | only the notebook is graded: files beside it are not there
with open('k.txt', 'w') as file: file.write('1')

K = float(open('k.txt').read())

== a seed that must be | abs(NOISE - 0.4963) < 1e-3 | code cell 3, line 1 is left out: torch.manual_seed(0)
torch.manual_seed(0)
NOISE = float(torch.rand(1))
"""


def of_text(text: str) -> dict[str, Case]:
    found = {}
    for entry in re.split(r"^== ", text, flags=re.MULTILINE)[1:]:
        head, _, cells = entry.partition("\n")
        name, by, told = (*map(str.strip, head.split(" | ")), "")[:3]
        found[name] = scaled(cells.strip("\n"), f"float({by})", judged=not told, told=told)
    return found


COUNTED = f"{DEF}    global calls\n    calls += 1\n{RETURN}"
KEPT = f"""{DEF}    key = (*labels.tolist(), num_classes, correct_probability)
    if key not in KNOWN: KNOWN[key] = {CALL}
    return KNOWN[key].clone()"""
STUB = {name: stub_source(SOLUTION[name], find_exercise(name)) for name in ("soft_targets", "virtual_teacher")}
UNIFORM = f"{DEF}    p = soft_targets(torch.zeros(len(labels), num_classes))\n"
ODD = {
    "a closure": teacher(
        RIGHT, "def make(k):\n    def f(*args): return k * right(*args)\n    return f\nvirtual_teacher = make(1)"
    ),
    "a scripted helper": teacher(f"@torch.jit.script\n{REST.replace('n, p', 'n: int, p: float')}", USES_REST),
    "a cached helper": teacher(f"from functools import lru_cache\n@lru_cache\n{REST}", USES_REST),
    "a dispatched helper": teacher(
        "from functools import singledispatch\n@singledispatch\ndef rest(n, p): raise TypeError",
        f"@rest.register\n{REST.replace('rest(n, p)', '_(n: int, p)')}", USES_REST,
    ),
    "an overloaded helper": teacher(
        f"from typing import overload\n@overload\ndef rest(n: int, p): ...\n@overload\ndef rest(n: str): ...\n{REST}",
        USES_REST,
    ),
    "a registry": teacher(
        "TABLE = {}\ndef register(f):\n    TABLE[f.__name__] = f\n    return f", f"@register\n{REST}",
        USES_REST.replace("rest(num", "TABLE['rest'](num"),
    ),
    "a nested function": teacher(RIGHT, f"{DEF}    def inner(): {RETURN.strip()}\n    return inner()"),
    "a counter": teacher(RIGHT, "calls = 0", COUNTED),
    "a counter, tried out": teacher(RIGHT, "calls = 0", COUNTED, "virtual_teacher(torch.tensor([0]), 2, 0.5)\ncalls"),
    "results that are kept": teacher(RIGHT, "KNOWN = {}", KEPT),
    "an alias of a type": teacher(
        RIGHT, f"Batch = torch.Tensor\n{DEF.replace('labels', 'labels: Batch').replace('):', ') -> Batch:')}{RETURN}"
    ),
    "annotations that nobody reads": teacher(
        "from __future__ import annotations", RIGHT, f"{DEF.replace('labels', 'labels: Array')}{RETURN}"
    ),
    "cell magics one below another": teacher(f"\n%%time\n%%capture out\n\n{TEACHER}"),
    "float64 by default": case(
        HEAD, "torch.set_default_dtype(torch.float64)", SOFT, SOLUTION["distillation_loss"],
        "check(soft_targets)", "check(distillation_loss)",
    ),
    "float64 by default, where float32 is asked for": teacher(
        "torch.set_default_dtype(torch.float64)", TEACHER, kernel=False, told="has dtype float64, not float32"
    ),
    "match": teacher(RIGHT, f"{DEF}    match num_classes:\n        case int(): return {CALL}\n        case _: return"),
    "a prompt": teacher(">>> " + RIGHT.replace("\n", "\n... ") + "\n...", f"{DEF}{RETURN}"),
    "imports at the bottom": case(
        re.sub(": Tensor| -> Tensor", "", TEACHER), "import torch\nfrom course_utils.checks import check", CHECK
    ),
    "a question below it": teacher(f"{TEACHER}\n\nlabels = input('labels? ')"),
    "JavaScript first": case("%%javascript\nvar head = document", HEAD, TEACHER, CHECK),
    "a magic in a comment": teacher(f"# %%bash\n#%%time\n{TEACHER}"),
    "the check in the same cell": case(HEAD, f"{TEACHER}\n\n{CHECK}"),
    "wrong, then right": teacher(f"{DEF}    return labels", CHECK, TEACHER, told="virtual_teacher is defined 2 times"),
    "a helper mended, checked twice": teacher(REST.replace("- p", "+ p"), USES_REST, CHECK, REST),
    "a loop that uses a name again": case(
        *scaled("K = 1", "K").cells, "for K in range(9): print(K)", told="K is bound again in code cell 6"
    ),
    "a helper in an experiment": case(
        HEAD, SOFT, "check(soft_targets)", f"%%needs soft_targets\n{REST}", USES_REST, CHECK
    ),
    "an exercise that uses an earlier one": case(
        HEAD, SOFT, "check(soft_targets)", REST, UNIFORM + USES_REST.removeprefix(DEF).replace("= ", "= 0 * p + "),
        CHECK,
    ),
    "two meanings of a helper": case(
        HEAD, "K = 1", SOFT.replace("/ temperature", "/ (temperature * K)"), "check(soft_targets)",
        "K = 0", REST.replace("return", "return K +"), USES_REST, CHECK,
        told="K is bound again in code cell 5: for soft_targets the one in code cell 2 counts",
    ),
    # Where they differ by their nature
    "right, then wrong without a check": case(
        HEAD, TEACHER, CHECK, f"{DEF}    return labels", judged=False,
        told="virtual_teacher is defined 2 times; the one in code cell 4 counts",
    ),
    "the helper below the check": case(
        HEAD, USES_REST, CHECK, REST, kernel=False, judged=True,
        told="rest stands in code cell 4, below the check of virtual_teacher in code cell 3",
    ),
    "the check above": case(
        HEAD, CHECK, TEACHER, kernel=False, judged=True,
        told="virtual_teacher stands in code cell 3, below its check in code cell 2",
    ),
    "a variable in place of a helper": teacher(
        REST, "rest = rest(3, 0.5)", USES_REST, kernel=False, judged=True, told="rest is bound again in code cell 3"
    ),
    "a syntax error beside it in its cell": teacher(
        f"{TEACHER}\nprint 'done'", kernel=False, judged=True, told="code cell 2 has a syntax error in line"
    ),
    "a cell that was deleted once it had run": teacher(
        "K = 1.0", RIGHT, f"{DEF}    return K * {CALL}", judged=False, told="uses K, which no cell defines",
        saved=lambda cells: notebook(cells[:1] + cells[2:]),
    ),
    "an error above it in its cell": teacher(RIGHT, f"1 / 0\n{DEF}{RETURN}", kernel=False, judged=True),
    # Wrong everywhere
    "no recursion limit": scaled(
        "def down(n): return 1 if n == 0 else down(n - 1)", "down(5_000)", kernel=False, told="RecursionError"
    ),
    "a helper file that stays at home": scaled(
        "import mine_at_home", "mine_at_home.ONE", kernel=False, told="put helpers into a cell"
    ),
    "not implemented": teacher(STUB["virtual_teacher"], kernel=False, told="not implemented yet"),
    "a stub it needs": teacher(
        STUB["soft_targets"], f"{UNIFORM}    return p", kernel=False,
        told="needs Exercise 1.1 soft_targets, which is not implemented yet",
    ),
    "a cell magic below a comment": teacher(
        f"# my answer\n%%time\n{TEACHER}", kernel=False, told="code cell 2 ends at %%time, which must be a cell's first"
    ),
    "a cell magic that runs its cell elsewhere": teacher(
        f"%%timeit -n 1 -r 1\n{TEACHER}", kernel=False, told="code cell 2 begins with %%timeit: what it defines"
    ),
    "an answer at the keyboard": teacher(
        "K = float(input('K? '))", RIGHT, f"{DEF}    return K * {CALL}", kernel=False, told="nobody answers `input`"
    ),
    "a number": teacher("virtual_teacher = 3", kernel=False, told="virtual_teacher is not a function, but of type int"),
    "a syntax error": teacher("def virtual_teacher(x:\n    return 1", kernel=False, told="a syntax error in line 1"),
    "not there": teacher(kernel=False, told="no cell defines a function virtual_teacher"),
    "of another lab": case(
        HEAD, TEACHER, CHECK, topic="binary", judged=False, told="no cell defines one of the lab's functions"
    ),
}  # fmt: skip


def of_hostile() -> dict[str, Case]:
    """Attacks that do no harm in a kernel: wrong there too."""
    names = (
        "torch patched", "tensor that is always equal", "array that is always equal",
        "number that is always equal", "everything is NaN", "pickle bomb", "report returned", "check replaced",
        "arguments changed", "right on the first calls", "recursion", "display hook", "input transformer",
        "says that it is not implemented",
    )  # fmt: skip
    found = {}
    for name in names:
        code = "".join(json.loads(ATTACKS[name])["cells"][-1]["source"])
        found[f"attack: {name}"] = teacher(code, kernel=False)
    return found


def of_variants() -> dict[str, Case]:
    """The first four exercises of a lab, which take little time, as two right variants each have them."""
    found = {}
    for topic in ("distillation", "binary"):
        importlib.import_module(f"tests.units.{topic}.mutants")
        cells = {number: ["from course_utils.checks import check"] for number in range(2)}
        for exercise in load_unit(topic).exercises[:4]:
            right = [v for v in VARIANTS if v.exercise == exercise.id and not v.error]
            own = [variant_cell(v) for v in right if v.function.__module__.startswith("tests.")]
            for number, text in enumerate(own[:2]):
                cells[number] += [text, f"check({exercise.name})"]
        found |= {f"right variants of {topic}, {n}": case(*each, topic=topic) for n, each in cells.items()}
    return found


HEAVY = ("heavy imports",)  # several seconds for each judge
CASES = {
    **REPORTED,
    **SAVED,
    **of_text(SCALED),
    **ODD,
    **{f"honest: {name}": teacher(code) for name, code in HONEST.items() if name not in HEAVY},
    **of_hostile(),
    **of_variants(),
}
