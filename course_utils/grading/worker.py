"""The side of the grader that runs students' code, inside the sandbox.

It imports torch once, then forks a child for each submission. The child locks itself into namespaces and limits of its
own, and serves a session there until it is killed. Only the standard library, torch, numpy, msgpack and the
student-facing course_utils are imported here.
"""

import contextlib
import gc
import importlib
import json
import os
import shutil
import signal
import socket
import struct
import sys
from typing import Any, NoReturn

import torch

from course_utils.grading import protocol
from course_utils.grading.child import Limits
from course_utils.grading.locks import lock_in, unshare
from course_utils.grading.session import Session

# What torch imports when a first gradient is asked for or a first optimizer is made: 3 s that no submission shall pay
LAZY = ("torch.fx.experimental.symbolic_shapes", "torch._dynamo")
STARTED = struct.Struct("i200s")  # process number, or 0 and the problem
ENDED = struct.Struct("iq")  # wait status, peak of memory in kilobytes


# --- The process that forks -------------------------------------------------------------------------------------------


def main(control_fd: int, topic: str, isolate: bool) -> None:
    """Import what exercises need, then start and end one child at a time, as told through the control socket."""
    control = socket.socket(fileno=control_fd)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    torch.ones(8).to(torch.float16)  # looks at the processor once, in /proc, which submissions do not have
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
            unshare()
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
        os.nice(10)
        lock_in(channel, Limits(**json.loads(os.environ["COURSE_LIMITS"])), os.environ["TMPDIR"], isolate)
    except OSError as error:
        protocol.send(stream, {"problem": str(error)})
        return
    protocol.send(stream, {"problem": ""})
    Session(stream).serve()


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]), sys.argv[2], sys.argv[3] == "isolate")
    finally:
        if sys.argv[3] != "isolate":  # the grader may have been killed, and cannot remove the folder that it made
            shutil.rmtree(os.path.dirname(os.environ["TMPDIR"]), ignore_errors=True)
