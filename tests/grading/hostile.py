"""Submissions that attack the grader, and honest ones that look odd: what each hands in and what it deserves."""

import hashlib
import json

import nbformat

from course_utils import distillation
from course_utils.checks import find_exercise
from course_utils.checks.engine import PUBLIC_SEED, run
from course_utils.grading.protocol import pack
from course_utils.plain_data import clone
from tests.grading.notebooks import HEAD, SOLUTION, notebook, raw

# The exercise under attack; the one before it, which is right, shows what an attack costs its own author
TARGET, WITNESS = "virtual_teacher", "soft_targets"
PROBS = "torch.full((len(labels), num_classes), 1 / num_classes)"
DEF = f"def {TARGET}(labels, num_classes, correct_probability):\n"
CALL = "right(labels, num_classes, correct_probability)"
RIGHT = SOLUTION[TARGET].replace(f"def {TARGET}(", "def right(")


def attack(code: str) -> bytes:
    return notebook([HEAD, SOLUTION[WITNESS], code])


def body(*lines: str, before: str = "") -> bytes:
    """An attack from within the function."""
    return attack(before + DEF + "".join(f"    {line}\n" for line in lines) + f"    return {PROBS}")


def public_answers() -> bytes:
    """A function that knows the answers of the checks in the lab by heart: green there, wrong everywhere else."""
    table = {}

    def recorder(*args, **kwargs):
        result = getattr(distillation, TARGET)(*clone(args), **kwargs)
        table[hashlib.sha256(pack([list(args), kwargs])).hexdigest()] = (result.dtype, result.tolist())
        return result

    assert run(find_exercise(TARGET), recorder, PUBLIC_SEED).passed
    text = json.dumps({key: [str(dtype).removeprefix("torch."), value] for key, (dtype, value) in table.items()})
    return attack(f"""
import hashlib, json
from course_utils.grading.protocol import pack
from course_utils.plain_data import clone
KNOWN = json.loads({text!r})
def {TARGET}(*args, **kwargs):
    kind, value = KNOWN.get(hashlib.sha256(pack([list(args), kwargs])).hexdigest(), ("float32", [0.0]))
    return torch.tensor(value, dtype=getattr(torch, kind))
""")


def forged_frames() -> bytes:
    return body(
        "from course_utils.grading import protocol",
        "for reply in ({'value': None, 'passed': True, 'points': 2}, {'callable': True, 'problems': []}, {}, [1]):",
        "    payload = protocol.pack(reply)",
        "    for number in range(3, 200):",
        "        try: os.write(number, protocol.HEADER.pack(len(payload)) + payload)",
        "        except OSError: pass",
        before="import os\n",
    )


def replies(field: str) -> bytes:
    """The worker's own reply, with a field replaced."""
    return body(
        "from course_utils.grading import protocol",
        "if not hasattr(protocol, 'honest'):",
        "    protocol.honest = protocol.send",
        f"    protocol.send = lambda channel, reply: protocol.honest(channel, {{**reply, {field}}})",
    )


def large(part: int = 1) -> dict[str, bytes]:
    """Replies as large as the protocol lets through, or a part of that: what they cost grows with the size, or as its
    square."""
    letters = 10_000_000 // part
    colliding = f"colliding = {{k * (2**61 - 1): 0 for k in range(1, {19_000 // part**2})}}\n"
    return {
        "reply that prints 30 MB each time": replies(f"'printed': 'x' * {3 * letters}"),
        "reply of 32 MB keys": body(f"return {{'k' * {letters}: 1, 'l' * {letters}: 2}}"),
        "reply of colliding keys": body("return colliding", before=colliding),
    }


# name: what is handed in. Each deserves the points of the witness, and none for the exercise under attack.
ATTACKS = {
    # Forging the comparison
    "torch patched": body("torch.equal = torch.allclose = torch.isclose = lambda *a, **k: True",
                          "torch.Tensor.__eq__ = torch.Tensor.eq = lambda *a: True"),
    "numpy patched": body("numpy.allclose = numpy.array_equal = numpy.isclose = lambda *a, **k: True",
                          "numpy.testing.assert_allclose = print", before="import numpy, numpy.testing\n"),
    "builtins patched": body("builtins.all = builtins.any = builtins.isinstance = lambda *a: True",
                             "builtins.AssertionError = builtins.print", before="import builtins\n"),
    "builtins emptied": body("builtins.__dict__.clear()", before="import builtins\n"),
    "tensor that is always equal": attack(
        "class Equal(torch.Tensor):\n    @classmethod\n    def __torch_function__(cls, *a, **k): return True\n"
        + DEF + f"    return {PROBS}.as_subclass(Equal)"),
    "array that is always equal": attack(
        "import numpy\nclass Equal(numpy.ndarray):\n    def __array_ufunc__(self, *a, **k): return True\n"
        "    __eq__ = __ne__ = lambda *a: True\n" + DEF + "    return numpy.zeros(3).view(Equal)"),
    "number that is always equal": attack(
        "class Equal(float):\n    __eq__ = __le__ = __ge__ = lambda *a: True\n    __sub__ = __rsub__ = lambda *a: 0.0\n"
        + DEF + "    return Equal(0)"),
    "everything is NaN": body(f"return {PROBS} * float('nan')"),
    "pickle bomb": attack("import os\nclass Bomb:\n    def __reduce__(self): return os._exit, (0,)\n"
                          + DEF + "    return Bomb()"),
    "report returned": body("return {'passed': True, 'points': 99, 'laws': [], 'error': None}"),
    "check replaced": attack("def check(*a, **k): return True\n" + DEF + "    return check()"),
    "arguments changed": body("labels.zero_()"),
    # Forging messages
    "forged frames on every descriptor": forged_frames(),
    "reply with a forged value": replies("'value': True, 'passed': True"),
    "reply whose error is a tree": replies("'error': [['LawViolation'], {}, 3]"),
    "reply that changes every argument": replies("'after': [[torch.zeros(1)] * 3, {'a': 1}]"),
    **large(),
    "reply nested deep": body("x = []", "for _ in range(100_000): x = [x]", "return x"),
    "reply of a million values": body("return list(range(1_000_000))"),
    "reply of one list, shared": body("x = [0]", "for _ in range(22): x = [x] * 10", "return x"),
    "reply of 1 GB": body("return torch.zeros(2**28, dtype=torch.int8)"),
    # Finding out
    "stack searched": body("frame = sys._getframe()", "while frame:",
                           "    for value in [*frame.f_locals.values()]:",
                           "        if callable(value) and 'reference' in str(value): return value(labels, 1, 1)",
                           "    frame = frame.f_back", before="import sys\n"),
    "heap searched": body("for found in gc.get_objects():",
                          "    if isinstance(found, torch.Tensor) and found.shape == (len(labels), num_classes):",
                          "        return found", before="import gc\n"),
    "answers of the public seed": public_answers(),
    "right on the first calls": attack("calls = []\n" + RIGHT + "\n" + DEF + "    calls.append(1)\n"
                                       f"    return {CALL} if len(calls) < 9 else {PROBS}"),
    "right for a while": attack("import time\nend = time.time() + 0.005\n" + RIGHT + "\n" + DEF
                                + "    if time.time() < end: return right(labels, num_classes, correct_probability)\n"
                                + f"    return {PROBS}"),
    "right nine times in ten": attack("calls = []\n" + RIGHT + "\n" + DEF + "    calls.append(1)\n"
                                      f"    return {CALL} if len(calls) % 10 else {PROBS}"),
    "reference imported": attack("from course_utils.distillation import virtual_teacher"),
    "reference imported late": body("import importlib", "unit = importlib.import_module('course_utils.distillation')",
                                    "return unit.virtual_teacher(labels, num_classes, correct_probability)"),
    "reference's laws imported": body("from course_utils.distillation import laws"),
    "instructor's laws imported": body("from tests.units.distillation import autotests"),
    "grader imported": body("from course_utils.grading import run, submission"),
    "tracing": body("sys.settrace(lambda *a: None); sys.setprofile(print)", before="import sys\n"),
    # Dying and living on
    "os._exit": body("os._exit(0)", before="import os\n"),
    "SIGKILL": body("os.kill(os.getpid(), 9)", "os.kill(os.getppid(), 9)", "os.kill(-1, 9)", before="import os\n"),
    "SIGSTOP": body("os.kill(os.getpid(), 19)", "os.killpg(0, 19)", before="import os\n"),
    "segmentation fault": body("ctypes.string_at(0)", before="import ctypes\n"),
    "deaf to signals": body("for n in range(1, 65):", "    try: signal.signal(n, signal.SIG_IGN)",
                            "    except (OSError, ValueError): pass", "while True: pass", before="import signal\n"),
    "fork bomb": body("while True: os.fork()", before="import os\n"),
    "threads": body("threading.Thread(target=print, daemon=True).start()", before="import threading\n"),
    "daemon": body("if not os.fork():", "    os.setsid()", "    if not os.fork(): time.sleep(100)",
                   before="import os, time\n"),
    "at exit": attack("import atexit\natexit.register(print, '✓ 16 points')\n" + DEF + "    raise SystemExit(0)"),
    "memory hog": body("while True: hog.append(torch.ones(2**26))", before="import torch\nhog = []\n"),
    "50 MB of output": body("print('x' * 50_000_000)"),
    "disk filled": body("for n in range(100):", "    open(f'{n}', 'wb').write(bytes(2**20 * 60))"),
    "descriptors used up": body("kept = []", "while True: kept.append(open('/dev/null'))"),
    "never answers": body("signal.pause()", before="import signal\n"),
    "recursion": body(f"return {TARGET}(labels, num_classes, correct_probability)"),
    "pattern that never ends": body("re.match('(a+)+$', 'a' * 50 + 'b')", before="import re\n"),
    "error that hangs": attack("class Odd(Exception):\n    def __str__(self):\n        while True: pass\n"
                               + DEF + "    raise Odd"),
    "error of 20 MB": body("raise ValueError('<script>' * 2_500_000)"),
    "interrupts": body("raise KeyboardInterrupt"),
    "says that it is not implemented": body("raise NotImplementedError('✓ passed')"),
    # Reaching others
    "torch.py left behind": body("for f in ('torch.py', 'msgpack.py', 'sitecustomize.py'):",
                                 "    open(f, 'w').write('raise SystemExit')", "sys.path.insert(0, '')",
                                 before="import sys\n"),
    "mailbox, posting": attack("import glob, os, tempfile\n" + RIGHT + "\n" + DEF
                               + "    for place in ('/tmp', '/dev/shm', '/var/tmp', '.', '/scratch'):\n"
                               + "        try: open(place + '/answer', 'w').write('x')\n"
                               + f"        except OSError: pass\n    return {PROBS}"),
    "mailbox, reading": attack("import os\n" + RIGHT + "\n" + DEF
                               + "    places = ('/tmp', '/dev/shm', '/var/tmp', '/scratch')\n"
                               + "    if any(os.path.exists(place + '/answer') for place in places):\n"
                               + f"        return right(labels, num_classes, correct_probability)\n    return {PROBS}"),
    "network": body("socket.create_connection(('127.0.0.1', 8786), 1)", before="import socket\n"),
    "abstract socket": body("s = socket.socket(socket.AF_UNIX); s.bind('\\0course')", before="import socket\n"),
    "limits raised": body("resource.setrlimit(resource.RLIMIT_AS, (-1, -1))", before="import resource\n"),
    "package rewritten": body("open('/course/course_utils/models.py', 'w').write('')"),
    # IPython's hooks
    "input transformer": attack("get_ipython().input_transformers_post.append(lambda lines: ['pass'])\n" + DEF
                                + "    get_ipython().ast_transformers.append(None)\n    return 1"),
    "display hook": attack("import sys\nsys.displayhook = lambda value: print(100)\n" + DEF + "    return 1"),
    "shell": notebook([HEAD, SOLUTION[WITNESS], "%%bash\nkill -9 -1", "!rm -rf /", DEF + "    return 1"]),
}  # fmt: skip

# What is read, not run: (content, points of the witness and of the target or None for all, status)
MARKUP = "<img src=x onerror=alert(1)>\x1b[2J"
UNREAD = {
    "nested brackets": (attack("x = " + "(" * 50_000), True, r"partly graded: .*"),
    "an expression of 100,000 terms": (attack("x = " + "+".join("1" * 100_000)), True, r"partly graded: .*"),
    "null bytes": (attack("x = 1\0\0"), True, r"partly graded: .*"),
    "half a character": (raw([{"cell_type": "code", "source": s} for s in (HEAD, SOLUTION[WITNESS], "x = '\ud800'")]),
                         True, r"partly graded: .*"),
    "markup and terminal codes": (attack(f"def {TARGET}(*a):\n    raise ValueError({MARKUP!r})"), True,
                                  r"partly graded: .*"),
    "a helper of 400 kB": (attack(f"big = {'x' * 400_000!r}\ndef {TARGET}(*a): return big"), True,
                           r"partly graded: .*"),
    "10,000 cells": (raw([{"cell_type": "code", "source": "x = 1"}] * 10_000), False, "too large: .*"),
    "JSON with NaN": (b'{"nbformat": NaN, "cells": []}', False, "not a notebook: .*"),
    "a number of a million digits": (b'{"nbformat": 1' + b"0" * 1_000_000 + b"}", False, "not a notebook: .*"),
    "nbformat is true": (b'{"nbformat": true, "cells": []}', False, "(wrong format|not a notebook): .*"),
    "cells is a dict": (b'{"nbformat": 4, "cells": {}}', False, "not a notebook: .*"),
    "UTF-16": (json.dumps({"nbformat": 4, "cells": []}).encode("utf-16"), False, "empty: .*"),
    "half of UTF-16": (json.dumps({"nbformat": 4}).encode("utf-16")[:-1], False, "unreadable encoding: .*"),
    "a zip": (b"PK\x03\x04" + bytes(100), False, "(not a notebook|unreadable encoding): .*"),
    "version 3": (nbformat.writes(nbformat.v4.new_notebook(), version=3).encode(), False, "empty: .*"),
}  # fmt: skip


def points_forged() -> bytes:
    """nbgrader's metadata and the outputs say that everything is solved, for 1,000 points."""
    stub = f"def {TARGET}(*a):\n    raise NotImplementedError('Exercise 1.4 {TARGET}')"
    made = nbformat.reads(attack(stub).decode(), as_version=4)
    for cell in made.cells[1:]:
        cell.metadata["nbgrader"] = {"grade": True, "grade_id": "same", "points": 1000, "locked": False}
        cell.outputs = [nbformat.v4.new_output("execute_result", {"text/plain": "1000"}, execution_count=1)]
    return nbformat.writes(made).encode()


ATTACKS["points in the metadata"] = points_forged()

# Right functions in unusual clothes: each deserves the points of the witness and of the target
HONEST = {
    "callable object": "class Teacher:\n    def __call__(self, *args): return right(*args)\n"
    f"{RIGHT}\n{TARGET} = Teacher()",
    "partial": f"from functools import partial\n{RIGHT}\n{TARGET} = partial(right)",
    "lambda": f"{RIGHT}\n{TARGET} = lambda *args: right(*args)",
    "decorated": "from functools import wraps\ndef timed(f):\n    @wraps(f)\n"
    f"    def inner(*a, **k): return f(*a, **k)\n    return inner\n@timed\n{SOLUTION[TARGET]}",
    "no gradient": f"@torch.no_grad()\n{SOLUTION[TARGET]}",
    "static method": "class Lab:\n    @staticmethod\n"
    + "\n".join("    " + line for line in RIGHT.split("\n"))
    + f"\n{TARGET} = Lab.right",
    "counts its calls": f"calls = 0\n{RIGHT}\n{DEF}    global calls\n    calls += 1\n"
    "    return right(labels, num_classes, correct_probability)",
    "prints and warns": f"import sys, warnings\n{RIGHT}\n{DEF}    print(labels, file=sys.stderr); print('x' * 10_000)\n"
    "    warnings.warn('old'); sys.stdout.flush()\n    return right(labels, num_classes, correct_probability)",
    "heavy imports": f"import scipy.special, sklearn.cluster\nimport matplotlib.pyplot as plt\n{RIGHT}\n{DEF}"
    "    assert plt and sklearn.cluster and scipy.special\n    return right(labels, num_classes, correct_probability)",
    "threads set": f"{RIGHT}\n{DEF}    torch.set_num_threads(4)\n    torch.manual_seed(0)\n"
    "    return right(labels, num_classes, correct_probability)",
    "writes a file": f"{RIGHT}\n{DEF}    with open('cache.txt', 'w') as file: file.write('x')\n"
    "    return right(labels, num_classes, correct_probability)",
    "under a condition": "if True:\n" + "\n".join("    " + line for line in SOLUTION[TARGET].split("\n")),
    "after a failed import": f"try:\n    import not_there\nexcept ImportError:\n    not_there = None\n{RIGHT}\n{DEF}"
    "    assert not_there is None\n    return right(labels, num_classes, correct_probability)",
    "indented as a whole": "\n".join("    " + line for line in SOLUTION[TARGET].split("\n")),
    "a second try under another name": f"{DEF}    return None\n{RIGHT}\n{TARGET} = right",
    "Windows line ends": SOLUTION[TARGET].replace("\n", "\r\n"),
    "Greek letters": f"{RIGHT}\ndef {TARGET}(labels, num_classes, correct_probability):\n    ε = 0\n"
    "    return right(labels, num_classes, correct_probability + ε)",
    "future annotations": f"from __future__ import annotations\n{SOLUTION[TARGET].replace('Tensor', 'NotDefined')}",
    "a catch-all": f"{RIGHT}\n{DEF}    try:\n        return right(labels, num_classes, correct_probability)\n"
    "    except BaseException:\n        return None",
}
HONEST_NOTEBOOKS = {name: attack(code) for name, code in HONEST.items()}
