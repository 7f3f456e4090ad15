"""The side of the grader that runs students' code, inside the sandbox.

It imports torch once, then forks a child for each submission. The child locks itself into namespaces and limits of its
own, runs the statements that an exercise needs, and answers calls until it is killed. It knows no law, no expected
value, no seed. Only the standard library, torch, numpy, msgpack and the student-facing course_utils are imported here.
"""

import __future__

import contextlib
import ctypes
import functools
import gc
import importlib
import io
import linecache
import operator
import os
import platform
import resource
import shutil
import signal
import socket
import struct
import sys
import types
from typing import Any, NoReturn

import torch
from torch import Tensor

from course_utils.grading import protocol
from course_utils.grading.protocol import NotPlain
from course_utils.notebooks.extract import Statement, extract

KEPT_GRAPHS = 256  # results whose gradient can still be asked for
PRINTED = 2_000  # characters of a call's output that are kept
# What torch imports when a first gradient is asked for or a first optimizer is made: 3 s that no submission shall pay
LAZY = ("torch.fx.experimental.symbolic_shapes", "torch._dynamo")
STARTED = struct.Struct("i200s")  # process number, or 0 and the problem
ENDED = struct.Struct("iq")  # wait status, peak of memory in kilobytes
FUTURE = functools.reduce(
    operator.or_, (getattr(__future__, name).compiler_flag for name in __future__.all_feature_names)
)


# --- The process that forks -------------------------------------------------------------------------------------------


def main(control_fd: int, topic: str, isolate: bool) -> None:
    """Import what exercises need, then start and end one child at a time, as told through the control socket."""
    control = socket.socket(fileno=control_fd)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    importlib.import_module(f"course_utils.{topic}")  # stubs; but what they import is what students import
    for name in LAZY:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()
    protocol.send(control, {"ready": os.getpid()})
    while True:
        order, fds, _, _ = socket.recv_fds(control, 1, 1)
        if not order:
            return
        protocol.send(control, _one_submission(control, fds[0], isolate))


def _one_submission(control: socket.socket, channel: int, isolate: bool) -> dict[str, Any]:
    """Fork a child, tell the grader about it, wait for the order to end it. Returns how it ended."""
    reader, writer = os.pipe()
    keeper = os.fork()
    if keeper == 0:
        control.close()
        os.close(reader)
        _keep(channel, writer, isolate)
    os.close(writer)
    os.close(channel)
    with open(reader, "rb") as report:
        child, problem = STARTED.unpack(report.read(STARTED.size).ljust(STARTED.size, b"\0"))
        protocol.send(control, {"problem": problem.rstrip(b"\0").decode(errors="replace")})
        while control.recv(1) == b"t":
            protocol.send(control, {"seconds": _processor_seconds(child)})
        # Now comes the order to end it, or the grader is gone: the same to us
        if child > 0:
            # Number 1 of a process namespace takes all others of it along; elsewhere a process group must do
            with contextlib.suppress(ProcessLookupError, PermissionError):
                (os.kill if isolate else os.killpg)(child, signal.SIGKILL)
        tail = report.read(ENDED.size)
    os.waitpid(keeper, 0)
    status, peak = ENDED.unpack(tail) if len(tail) == ENDED.size else (-1, 0)
    return {"status": status, "peak_kilobytes": peak}


def _processor_seconds(process: int) -> float | None:
    """Processor time that a process has used so far; None where the system does not tell."""
    try:
        with open(f"/proc/{process}/stat") as file:
            user, system = file.read().rpartition(")")[2].split()[11:13]
    except OSError:
        return None
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _keep(channel: int, writer: int, isolate: bool) -> NoReturn:
    """Enter new namespaces, fork the process that runs the student's code (number 1 in there), and report its end."""
    try:
        if isolate:
            _unshare()
        child = os.fork()
    except OSError as error:
        os.write(writer, STARTED.pack(0, str(error).encode()[:200]))
        os._exit(1)
    if child == 0:
        try:
            os.close(writer)
            os.setsid()
            _serve(channel, isolate)
        finally:
            os._exit(0)
    os.write(writer, STARTED.pack(child, b""))
    os.close(channel)
    _, status, usage = os.wait4(child, 0)
    os.write(writer, ENDED.pack(status, usage.ru_maxrss))
    os._exit(0)


def _serve(channel: int, isolate: bool) -> None:
    """Lock in, say so, then answer requests."""
    stream = socket.socket(fileno=channel)
    try:
        _lock_in(channel, isolate)
    except OSError as error:
        protocol.send(stream, {"problem": str(error)})
        return
    protocol.send(stream, {"problem": ""})
    Session(stream).serve()


# --- Locking in -------------------------------------------------------------------------------------------------------

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER = 0x00020000, 0x04000000, 0x08000000, 0x10000000
CLONE_NEWPID, CLONE_NEWNET = 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_PRIVATE = 1, 2, 4, 8, 0x4000, 0x40000
PR_SET_NO_NEW_PRIVS, PR_CAPBSET_DROP, PR_SET_SECCOMP, PR_SET_DUMPABLE = 38, 24, 22, 4


def _call(name: str, *arguments: Any) -> int:
    """A C library function; OSError if it fails."""
    libc = ctypes.CDLL(None, use_errno=True)
    result = getattr(libc, name)(*arguments)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def _unshare() -> None:
    uid, gid = os.getuid(), os.getgid()
    _call("unshare", CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWUTS)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def _mount(target: str, options: str, flags: int) -> None:
    _call("mount", b"none", target.encode(), b"tmpfs", flags, options.encode())


def _lock_in(channel: int, isolate: bool) -> None:
    """Own /tmp, no /proc, limits, no other file descriptor, no rights, no new processes. or OSError."""
    limits = {name: int(os.environ[f"COURSE_{name}"]) for name in ("MEMORY", "FILE_SIZE", "CPU_SECONDS", "PROCESSES")}
    scratch = os.environ["TMPDIR"]
    if isolate:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")
        _call("mount", b"none", b"/", None, MS_REC | MS_PRIVATE, None)
        for folder in (scratch, "/dev/shm"):
            _mount(folder, f"size={limits['FILE_SIZE']},nr_inodes=4096,mode=1777", MS_NOSUID | MS_NODEV)
        _mount("/proc", "size=4k,nr_inodes=2,mode=555", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY)
    os.chdir(scratch)
    os.nice(10)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.closerange(3, channel)
    os.closerange(channel + 1, 65_536)
    for kind, amount in (
        (resource.RLIMIT_AS, limits["MEMORY"]),
        (resource.RLIMIT_FSIZE, limits["FILE_SIZE"]),
        (resource.RLIMIT_CPU, limits["CPU_SECONDS"]),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 128),
        *([(resource.RLIMIT_NPROC, limits["PROCESSES"])] if isolate else []),
    ):
        hard = resource.getrlimit(kind)[1]
        amount = amount if hard == resource.RLIM_INFINITY else min(amount, hard)
        try:
            resource.setrlimit(kind, (amount, amount))
        except (ValueError, OSError):
            if isolate:  # macOS knows no limit of address space; it has no sandbox either
                raise
    if isolate:
        for capability in range(64):
            try:
                _call("prctl", PR_CAPBSET_DROP, capability, 0, 0, 0)
            except OSError:
                break  # the kernel's last capability is behind us
        header, nothing = struct.pack("Ii", 0x20080522, 0), bytes(24)
        _call("capset", header, nothing)
        _call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        _call("prctl", PR_SET_DUMPABLE, 0, 0, 0, 0)
        _forbid_system_calls()


# Numbers in the kernel's tables for x86_64 and aarch64; None where a call does not exist
FORBIDDEN: dict[str, tuple[int, int | None]] = {
    "clone": (56, 220),
    "fork": (57, None),
    "vfork": (58, None),
    "execve": (59, 221),
    "execveat": (322, 281),
    "ptrace": (101, 117),
    "sched_setaffinity": (203, 122),
    "setpriority": (141, 140),
    "sched_setscheduler": (144, 119),
    "sched_setattr": (314, 274),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "unshare": (272, 97),
    "setns": (308, 268),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "memfd_create": (319, 279),
    "personality": (135, 92),
    "mount_setattr": (442, 442),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
}
ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column of the table, audit number
CLONE3 = 435  # answered with 'no such call', so that the C library falls back to clone and hears its 'not permitted'


def _forbid_system_calls() -> None:
    """A seccomp filter: no processes, no threads, no namespaces. On other processors the limits must do."""
    if platform.machine() not in ARCHITECTURES:
        return
    column, architecture = ARCHITECTURES[platform.machine()]
    load, equal, at_least, give = 0x20, 0x15, 0x35, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_JMP|JGE|K, BPF_RET|K
    allow, kill, refuse, unknown = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026  # EPERM, ENOSYS
    code = [(load, 0, 0, 4), (equal, 1, 0, architecture), (give, 0, 0, kill), (load, 0, 0, 0)]
    code += [(at_least, 0, 1, 0x40000000), (give, 0, 0, kill)]  # the x32 door to the same calls
    code += [(equal, 0, 1, CLONE3), (give, 0, 0, unknown)]
    for number in filter(None, (numbers[column] for numbers in FORBIDDEN.values())):
        code += [(equal, 0, 1, number), (give, 0, 0, refuse)]
    code.append((give, 0, 0, allow))
    instructions = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in code))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code), ctypes.addressof(instructions)))
    _call("prctl", PR_SET_SECCOMP, 2, program, 0, 0)


# --- One submission ---------------------------------------------------------------------------------------------------


class _Printed(io.TextIOBase):
    """Standard output that keeps its beginning only."""

    def __init__(self) -> None:
        self.text = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.text = (self.text + text[:PRINTED])[:PRINTED]
        return len(text)

    def take(self) -> str:
        text, self.text = self.text, ""
        return text


class _Shell:
    """Stands in for IPython's `get_ipython()`: magics do nothing here."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: None


class Session:
    """A student's namespace, and the requests that it answers."""

    def __init__(self, channel: socket.socket) -> None:
        self.channel = channel
        self.module = types.ModuleType("__main__")
        self.module.__dict__.update(get_ipython=_Shell, display=lambda *args, **kwargs: None)
        self.needed: dict[str, list[Statement]] = {}
        self.done: dict[Statement, list[Any] | None] = {}  # statements that ran, with the error that they raised
        self.flags = 0  # `from __future__` holds for what follows
        self.graphs: dict[int, tuple[list[Tensor], list[Tensor]]] = {}
        self.printed = _Printed()

    def serve(self) -> None:
        sys.modules["__main__"] = self.module
        sys.stdout = sys.stderr = self.printed
        torch.set_num_threads = lambda number: (
            None
        )  # the sandbox has one thread, and libgomp would die of asking for more
        answers = {"load": self.load, "define": self.define, "call": self.call, "vjp": self.vjp}
        while True:
            try:
                request = protocol.receive(self.channel)
            except EOFError:
                return
            try:
                reply = answers[request.pop("op")](**request)
            except BaseException as error:
                reply = {"error": self.describe(error)}
            reply["printed"] = self.printed.take()
            try:
                protocol.send(self.channel, reply)
            except NotPlain as error:
                protocol.send(self.channel, {"foreign": str(error.kind)[:80], "printed": ""})
            except EOFError:
                return
            except Exception as error:  # nothing is sent yet: it cannot be packed (a nested tensor has no shape)
                protocol.send(self.channel, {"error": self.describe(error), "printed": ""})

    def load(self, cells: list[str], secondary: list[int], names: list[str]) -> dict[str, Any]:
        """Read the cells, run nothing: what each exercise needs, as texts."""
        found = extract(cells, names, secondary)
        self.needed = found.by_exercise
        code = {name: [[s.cell, s.line, s.source] for s in needed] for name, needed in self.needed.items()}
        return {"code": code, "missing": found.missing, "broken": found.broken, "notes": found.notes}

    def define(self, name: str) -> dict[str, Any]:
        """Run what an exercise needs, as far as it has not run yet. A statement that fails costs what depends on it."""
        problems = []
        for statement in self.needed.get(name, []):
            if statement not in self.done:
                self.done[statement] = self._run(statement)
            if self.done[statement]:
                problems.append([statement.cell, statement.line, *self.done[statement]])
        value = getattr(self.module, name, None)
        return {"callable": callable(value), "kind": type(value).__name__[:80], "problems": problems}

    def _run(self, statement: Statement) -> list[Any] | None:
        # IPython and tracebacks find a cell's text by its file name
        filename = f"<code cell {statement.cell + 1}, line {statement.line}>"
        linecache.cache[filename] = (len(statement.source), None, statement.source.splitlines(keepends=True), filename)
        try:
            code = compile(statement.source, filename, "exec", flags=self.flags, dont_inherit=True)
            self.flags |= code.co_flags & FUTURE
            exec(code, self.module.__dict__)
        except BaseException as error:
            return self.describe(error)
        return None

    def call(self, id: int, name: str, arguments: bytes) -> dict[str, Any]:
        """Call a function. Tensors that require a gradient reach it as the engine hands them over: as no leaves."""
        leaves: list[Tensor] = []
        args, kwargs = _grow(protocol.unpack(arguments), leaves)
        reply: dict[str, Any] = {}
        try:
            with torch.enable_grad():
                value = getattr(self.module, name)(*args, **kwargs)
            roots = [tensor for tensor in _tensors(value) if tensor.requires_grad]
            if leaves and roots:
                self.graphs[id] = (roots, leaves)
                if len(self.graphs) > KEPT_GRAPHS:
                    del self.graphs[min(self.graphs)]
            reply["value"] = value
        except BaseException as error:
            reply["error"] = self.describe(error)
        try:
            if protocol.pack([args, kwargs]) != arguments:
                reply["after"] = [args, kwargs]
        except NotPlain:
            reply["after"] = None
        return reply

    def vjp(self, id: int, gradients: list[Tensor | None]) -> dict[str, Any]:
        """The vector-Jacobian product of an earlier call: gradients by its arguments, from gradients by its results."""
        roots, leaves = self.graphs[id]
        pairs = [(root, gradient) for root, gradient in zip(roots, gradients, strict=True) if gradient is not None]
        outputs, weights = zip(*pairs, strict=True)
        found = torch.autograd.grad(outputs, leaves, weights, allow_unused=True, retain_graph=True)
        return {"gradients": [None if g is None else g.detach() for g in found]}

    def describe(self, error: BaseException) -> list[str]:
        """[type, message, the line of the student's code that led to it]."""
        line, trace = "", error.__traceback__
        while trace is not None:
            filename = trace.tb_frame.f_code.co_filename
            if filename.startswith("<code cell "):
                line = linecache.getline(filename, trace.tb_lineno).strip()
            trace = trace.tb_next
        try:
            text = str(error)
        except BaseException:
            text = ""
        return [type(error).__name__[:80], text[:500], line[:200]]


def _grow(value: Any, leaves: list[Tensor]) -> Any:
    """The value with each tensor that requires a gradient as a copy of a leaf, which is added to `leaves`."""
    match value:
        case Tensor() if value.requires_grad:
            leaves.append(value)
            return value.clone()
        case dict():
            return {key: _grow(entry, leaves) for key, entry in value.items()}
        case list() | tuple():
            return type(value)(_grow(entry, leaves) for entry in value)
    return value


def _tensors(value: Any) -> list[Tensor]:
    """The tensors in plain data, in order."""
    match value:
        case Tensor():
            return [value]
        case dict():
            return [tensor for entry in value.values() for tensor in _tensors(entry)]
        case list() | tuple():
            return [tensor for entry in value for tensor in _tensors(entry)]
    return []


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]), sys.argv[2], sys.argv[3] == "isolate")
    finally:
        if sys.argv[3] != "isolate":  # the grader may have been killed, and cannot remove the folder that it made
            shutil.rmtree(os.path.dirname(os.environ["TMPDIR"]), ignore_errors=True)
