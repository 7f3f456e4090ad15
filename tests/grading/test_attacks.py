"""Hostile code in the sandbox: it reads nothing, reaches nobody, outlives nothing and forges no point."""

import inspect
import os
import socket
import time
from pathlib import Path

import pytest
import torch

from course_utils import distillation
from course_utils.checks import find_exercise
from course_utils.checks.engine import StudentError, run
from course_utils.grading.child import Died, Limits
from course_utils.grading.remote import RemoteFunction
from course_utils.units import PACKAGE, ROOT

REFERENCE = inspect.getsource(distillation)
SETUP = "import torch\nimport torch.nn.functional as F\n"


def ask(sandbox, code, *args, name="f"):
    """What a function in the sandbox returns; a search of the whole disk may take a minute."""
    with sandbox.submission() as child:
        child.limits = Limits(call=60)
        child.request(op="load", cells=[code], secondary=[], names=[name])
        defined = child.request(op="define", name=name)
        assert defined["callable"] is True, defined
        return RemoteFunction(child, name)(*args)


def report(sandbox, code, name="soft_targets"):
    """The laws' verdict on a function in the sandbox."""
    with sandbox.submission() as child:
        child.request(op="load", cells=[SETUP, code], secondary=[], names=[name])
        child.request(op="define", name=name)
        return run(find_exercise(name), RemoteFunction(child, name), seed=7)


def test_the_right_function_passes(sandbox):
    """The control: what the hostile ones are compared with."""
    assert report(sandbox, REFERENCE).passed


# --- Reading ----------------------------------------------------------------------------------------------------------


def test_the_reference_is_nowhere(guarded):
    code = """
import os
def f(needle):
    import course_utils, inspect, importlib, sys
    from course_utils import distillation
    from course_utils.checks import check
    found = {"source": inspect.getsource(distillation.soft_targets), "check": str(check(distillation.soft_targets))}
    try:
        distillation.soft_targets(1)
        found["call"] = "works"
    except NotImplementedError as error:
        found["call"] = str(error)
    packages = []
    for folder, folders, files in os.walk("/"):
        folders[:] = [name for name in folders if (folder, name) not in (("/", "proc"), ("/", "sys"))]
        packages += [os.path.join(folder, name) for name in folders if name == "course_utils"]
    found["packages"] = sorted(packages)
    found["filled"] = sorted(path for path in packages if os.listdir(path))
    found["files"] = sorted(os.path.relpath(os.path.join(a, n), "/course/course_utils")
                            for a, _, ns in os.walk("/course") for n in ns)
    found["leaks"] = sorted(n for n in found["files"] if needle in open("/course/course_utils/" + n).read())
    found["modules"] = sorted(name for name in sys.modules if name.startswith(("course_utils", "tests")))
    return found
"""
    body = "return torch.softmax(logits / temperature, dim=-1)"
    assert body in REFERENCE
    found = ask(guarded, code, body)
    assert "NotImplementedError" in found["source"] and body not in found["source"]
    assert found["call"] == "Exercise 1.1 soft_targets" and found["check"] == "None"
    assert found["filled"] == ["/course/course_utils"]
    assert found["leaks"] == []
    assert {"distillation/__init__.py", "checks/__init__.py", "grading/worker.py"} <= set(found["files"])
    banned = ("checks/engine", "laws", "reproduce", "grading/run", "grading/remote", "build", ".ipynb", ".json")
    assert not [name for name in found["files"] for part in banned if part in name]
    assert "course_utils.checks.engine" not in found["modules"] and "course_utils.grading.run" not in found["modules"]


def test_the_graders_files_are_not_there(guarded, tmp_path):
    secret = tmp_path / "secret_seed"
    secret.write_text("42")
    code = """
import os
def f(paths):
    return [path for path in paths if os.path.exists(path)], sorted(os.listdir("/")), dict(os.environ), os.getcwd()
"""
    paths = [str(path) for path in (ROOT / "pyproject.toml", PACKAGE, secret, Path.home() / ".bashrc", "/etc/passwd")]
    seen, top, environment, folder = ask(guarded, code, paths)
    assert seen == [] and set(top) <= {
        *("usr", "bin", "sbin", "lib", "lib32", "lib64", "etc", "proc", "dev", "tmp", "course", "scratch"),
        *(Path(path).parts[1] for path in {os.sys.prefix, os.sys.base_prefix, torch.__file__}),
    }
    assert not [value for value in environment.values() if str(ROOT) in value]
    assert guarded.folder is None
    assert folder in ("/tmp", "/scratch")


def test_no_process_is_in_sight(guarded):
    code = """
import os
def f():
    seen = []
    for number in range(1, 400):
        try:
            os.kill(number, 0)
            seen.append(number)
        except (ProcessLookupError, PermissionError) as error:
            if isinstance(error, PermissionError):
                seen.append(-number)
    return os.listdir("/proc"), os.getpid(), os.getuid(), seen
"""
    assert ask(guarded, code) == ([], 1, 65534, [1])


def test_stack_and_heap_hold_no_law(guarded):
    code = """
import gc, sys
def f():
    names, frame = [], sys._getframe()
    while frame is not None:
        names.append(frame.f_code.co_filename)
        frame = frame.f_back
    texts = [o for o in gc.get_objects() if isinstance(o, dict) for o in list(o.values()) if isinstance(o, str)]
    return names, [t for t in texts if "rows_sum_to_one" in t or "LawViolation" in t][:3]
"""
    names, laws = ask(guarded, code)
    assert laws == [] and not [name for name in names if "engine" in name or "remote" in name]


# --- Reaching out -----------------------------------------------------------------------------------------------------


def test_there_is_no_network(guarded):
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = """
import socket
def f(port):
    errors = []
    for address in [("127.0.0.1", port), ("1.1.1.1", 53)]:
        try:
            socket.create_connection(address, timeout=1).close()
            errors.append("connected")
        except OSError as error:
            errors.append(type(error).__name__)
    try:
        errors.append(socket.gethostbyname("localhost.example.org"))
    except OSError:
        errors.append("no name")
    return errors
"""
        errors = ask(guarded, code, server.getsockname()[1])
    assert "connected" not in errors and errors[-1] == "no name"


def test_nothing_is_written_for_others(guarded):
    write = """
import os
def f(places):
    written = []
    for folder, folders, files in os.walk("/"):
        folders[:] = [name for name in folders if folder != "/usr"][:200]
        try:
            with open(os.path.join(folder, "mark"), "w") as file:
                file.write("x")
            written.append(folder)
        except OSError:
            pass
    for path in places:
        try:
            open(path, "a").close()
            written.append(path)
        except OSError:
            pass
    return sorted(written)
"""
    places = ["/course/course_utils/models.py", torch.__file__, "/usr/lib/x", "/dev/x", "/etc/x", "/x"]
    written = ask(guarded, write, places)
    assert set(written) <= {"/tmp", "/scratch", "/dev/shm"} and written
    look = "import os\ndef f(places):\n    return [p for p in places if os.path.exists(p + '/mark')]"
    assert ask(guarded, look, written) == []


def test_files_are_bounded(guarded):
    code = """
def f():
    with open("big", "wb") as file:
        try:
            for _ in range(1000):
                file.write(bytes(2**20))
                file.flush()
        except OSError:
            pass
        return file.tell()
"""
    try:
        size = ask(guarded, code)
    except StudentError as error:  # closing the file fails again
        size = 0 if error.kind == "OSError" else None
    assert size is not None and size <= guarded.limits.file_size


@pytest.mark.parametrize(
    "attempt",
    [
        "os.fork()",
        "[os.fork() for _ in range(10_000)]",
        "subprocess.run(['/bin/true'])",
        "os.posix_spawn('/bin/true', ['true'], {})",
        "os.execv('/bin/true', ['true'])",
        "threading.Thread(target=time.sleep, args=(100,), daemon=True).start()",
        "_thread.start_new_thread(time.sleep, (100,))",
        "[threading.Thread(target=time.sleep, args=(100,)).start() for _ in range(10_000)]",
        "multiprocessing.get_context('fork').Process(target=print).start()",
        "concurrent.futures.ThreadPoolExecutor().submit(print).result()",
        "os.setns(0) if hasattr(os, 'setns') else os.fork()",
        "unshare()",
        "mount()",
    ],
)
def test_no_process_or_thread_or_namespace_is_made(guarded, attempt):
    code = f"""
import _thread, concurrent.futures, ctypes, multiprocessing, os, subprocess, threading, time
def call(name, *args):
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*args) != 0:
        raise OSError(ctypes.get_errno(), "no")
def unshare():
    call("unshare", 0x10000000)
def mount():
    call("mount", b"none", b"/tmp", b"tmpfs", 0, None)
def f():
    {attempt}
"""
    with pytest.raises(StudentError) as caught:
        ask(guarded, code)
    assert caught.value.kind in ("PermissionError", "BlockingIOError", "RuntimeError", "OSError"), caught.value


def test_a_progress_bars_thread_just_never_runs(sandbox):
    code = """
import threading
from rich.progress import track
from tqdm.auto import tqdm
def f():
    return [*track([1, 2]), *tqdm([3], mininterval=0)], threading.active_count()
"""
    assert ask(sandbox, code) == ([1, 2, 3], 1)


def test_what_it_started_ends_with_it(trusted):
    """Without bubblewrap processes can be started; they end with their submission all the same."""
    code = """
import os, time
def f():
    child = os.fork()
    while child == 0:
        time.sleep(1)
    return child
"""
    number = ask(trusted, code)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return
        if state in "ZX":
            return
        time.sleep(0.05)
    pytest.fail("it lives on")


# --- Dying, hanging, swelling -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "fate"),
    [
        ("os._exit(0)", "crashed"),
        ("os.abort()", "crashed"),
        ("ctypes.string_at(0)", "crashed"),
        ("os.closerange(0, 1000)", "crashed"),
        ("signal.pause()", "timed out"),
        ("time.sleep(1000)", "timed out"),
        ("[None for _ in iter(int, 1)]", "timed out"),
    ],
)
def test_death_and_endless_loops_have_a_name(guarded, body, fate):
    code = f"import ctypes, os, signal, sys, time, torch\ndef f():\n    return {body}"
    with guarded.submission() as child:
        child.request(op="load", cells=[code], secondary=[], names=["f"])
        child.request(op="define", name="f")
        child.limits = Limits(call=1, patience=5)  # who only sleeps uses no processor time, and waits for this
        with pytest.raises(StudentError):
            RemoteFunction(child, "f")()
        assert child.died.fate == fate
    assert ask(guarded, "def f():\n    return 1") == 1


@pytest.mark.parametrize("body", ["os.kill(os.getpid(), 9)", "os.killpg(0, 9)", "os.kill(-1, 9)", "os.kill(1, 15)"])
def test_signals_reach_nobody_else(guarded, body):
    """The submission is number 1 of its namespace: it sees nobody else, and is shielded from its own signals."""
    with pytest.raises((StudentError, AssertionError)):
        assert ask(guarded, f"import os\ndef f():\n    {body}") is not None
    assert ask(guarded, "def f():\n    return 1") == 1


def test_exits_are_exceptions(sandbox):
    for body, kind in [("sys.exit(0)", "SystemExit"), ("exit()", "NameError|SystemExit"), ("input()", "EOFError")]:
        with pytest.raises(StudentError) as caught:
            ask(sandbox, f"import sys\ndef f():\n    {body}")
        assert caught.value.kind in kind.split("|")


@pytest.mark.parametrize("body", ["bytes(2**40)", "[bytes(2**28) for _ in range(100)]", "torch.ones(2**40)"])
def test_memory_is_bounded(guarded, body):
    with pytest.raises(StudentError) as caught:
        ask(guarded, f"import torch\ndef f():\n    return len({body})")
    assert caught.value.kind == "MemoryError" or "allocate memory" in caught.value.text


def test_deep_recursion_and_deep_data(sandbox):
    with pytest.raises(StudentError, match="RecursionError"):
        ask(sandbox, "def f():\n    return f()")
    nested = "def f():\n    value = []\n    for _ in range(100):\n        value = [value]\n    return value"
    assert type(ask(sandbox, nested)).__name__ == "data nested too deep"


def test_too_much_output_is_cut(sandbox, capsys):
    start = time.monotonic()
    assert ask(sandbox, "def f():\n    for _ in range(50):\n        print('x' * 2**20)\n    return 1") == 1
    assert len(capsys.readouterr().out) <= 2_000 and time.monotonic() - start < 10


def test_a_reply_too_large_is_refused(sandbox):
    with sandbox.submission() as child:
        child.request(
            op="load", cells=["import torch\ndef f():\n    return torch.zeros(2**25)"], secondary=[], names=["f"]
        )
        child.request(op="define", name="f")
        with pytest.raises(StudentError):
            RemoteFunction(child, "f")()
        assert child.died.fate == "bad reply"


# --- Forging ----------------------------------------------------------------------------------------------------------

WRONG = "def soft_targets(logits, temperature=1.0):\n    return {}\n"


@pytest.mark.parametrize(
    "code",
    {
        "always equal": """
class Equal(torch.Tensor):
    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        return True
def soft_targets(logits, temperature=1.0):
    return torch.zeros(logits.shape).as_subclass(Equal)
""",
        "comparisons patched": """
import numpy, math, builtins
def soft_targets(logits, temperature=1.0):
    torch.equal = torch.allclose = numpy.allclose = numpy.array_equal = math.isclose = lambda *a, **k: True
    torch.Tensor.__eq__ = lambda *a: True
    builtins.all = builtins.any = lambda *a: True
    return torch.zeros_like(logits)
""",
        "the worker's own functions patched": """
def soft_targets(logits, temperature=1.0):
    from course_utils.grading import protocol, worker
    protocol.pack = lambda value: b"\\xc0"
    protocol.send(None, None)
""",
        "report forged": """
def soft_targets(logits, temperature=1.0):
    return {"passed": True, "points": 2, "laws": [], "value": logits, "error": None, "callable": True}
""",
        "exception forged": """
class LawViolation(Exception): pass
class KeyboardInterrupt(BaseException): pass
def soft_targets(logits, temperature=1.0):
    raise KeyboardInterrupt("passed")
""",
        "law's name printed": """
def soft_targets(logits, temperature=1.0):
    print("✓ 1.1 soft_targets: 8 of 8 laws hold, 2 of 2 points")
    return logits
""",
        "public seed only": """
def soft_targets(logits, temperature=1.0):
    import hashlib
    known = {"table": 1}
    key = hashlib.sha256(logits.detach().double().numpy().tobytes()).hexdigest()
    if key in known or logits.abs().max() > 3:
        return torch.softmax(logits / temperature, -1)
    return torch.full_like(logits, 1 / logits.shape[-1])
""",
        "time bomb": """
calls = []
def soft_targets(logits, temperature=1.0):
    calls.append(1)
    if len(calls) < 12:
        return torch.softmax(logits / temperature, -1)
    return torch.softmax(logits, -1)
""",
        "reference called": """
import course_utils.distillation
def soft_targets(logits, temperature=1.0):
    return course_utils.distillation.soft_targets(logits, temperature)
""",
        "reference found elsewhere": """
import sys, importlib, pathlib, glob
def soft_targets(logits, temperature=1.0):
    for place in ["/work", "/root", "/home", "/repo", *glob.glob("/*"), *sys.path]:
        paths = [place + depth + "/course_utils/distillation.py" for depth in ("", "/*", "/*/*")]
        for path in [found for path in paths for found in glob.glob(path)]:
            space = {}
            exec(pathlib.Path(path).read_text(), space)
            try:
                return space["soft_targets"](logits, temperature)
            except NotImplementedError:
                pass
    return None
""",
    }.items(),
    ids=lambda item: item[0],
)
def test_no_point_is_forged(guarded, code):
    got = report(guarded, code[1])
    assert got.points == 0 and not got.passed, str(got)
    assert report(guarded, REFERENCE).passed


def test_garbage_on_every_descriptor_forges_nothing(guarded):
    code = """
import os
from course_utils.grading import protocol
def soft_targets(logits, temperature=1.0):
    for payload in (protocol.pack({"value": torch.softmax(logits, -1)}), b"\\xc1" * 50, b""):
        frame = protocol.HEADER.pack(len(payload)) + payload
        for number in range(1024):
            try:
                os.write(number, frame)
            except OSError:
                pass
    return logits
"""
    got = report(guarded, code)
    assert got.points == 0 and not got.passed
    assert report(guarded, REFERENCE).passed


def test_a_forged_gradient_is_refused(guarded):
    code = """
def f(x):
    torch.autograd.grad = lambda *args, **kwargs: [torch.zeros(5)]
    return x * 2
"""
    x = torch.ones(2, requires_grad=True)
    with guarded.submission() as child:
        child.request(op="load", cells=[SETUP, code], secondary=[], names=["f"])
        child.request(op="define", name="f")
        function = RemoteFunction(child, "f")
        try:
            result = function(x.clone())
            with pytest.raises(StudentError, match="another shape"):
                torch.autograd.grad(result.sum(), x)
        except Died:
            pytest.fail("it should have answered")
