"""A submission's process on its author's own machine: for `course check`, which needs no sandbox to guard against them.

What grading would refuse is refused here too, as far as the system can: the same limits, the same forbidden system
calls on Linux, the same student-facing course_utils, no file but the process's own.
"""

import contextlib
import functools
import gc
import multiprocessing
import os
import shutil
import signal
import socket
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import psutil
import torch
from threadpoolctl import threadpool_limits

from course_utils.grading.child import Child, Limits, Slowness
from course_utils.grading.folders import fresh_folder
from course_utils.grading.session import Session
from course_utils.notebooks.kit import write_package
from course_utils.units import ROOT

# A fork has torch already; macOS' own libraries do not survive one, and Windows has none
METHOD = "fork" if sys.platform == "linux" else "spawn"


class LocalProcesses:
    """Starts processes for submissions, as `sandbox.Sandbox` does, without a guard around them."""

    def __init__(self, topic: str, limits: Limits | None = None) -> None:
        self.slowness = Slowness.measured()
        self.limits = (limits or Limits()).on(self.slowness)
        self.folder = fresh_folder()
        write_package(self.folder / "kit", topic, sandbox=True)

    @contextlib.contextmanager
    def submission(self) -> Iterator[Child]:
        """A fresh process; it is gone when the block ends."""
        scratch = self.folder / "scratch"
        scratch.mkdir()
        outside, inside = socket.socketpair()
        with outside:
            process = multiprocessing.get_context(METHOD).Process(
                target=_serve, args=(inside, self.folder / "kit", scratch, self.limits)
            )
            with inside:
                process.start()
            try:
                yield Child(outside, self.limits, functools.partial(_processor_seconds, process.pid))
            finally:
                with contextlib.suppress(OSError, AttributeError):  # Windows knows no groups of processes
                    os.killpg(process.pid, signal.SIGKILL)
                process.kill()
                process.join()
                shutil.rmtree(scratch, ignore_errors=True)

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> "LocalProcesses":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _processor_seconds(process: int) -> float | None:
    try:
        times = psutil.Process(process).cpu_times()
    except psutil.Error:
        return None
    return times.user + times.system


def _serve(channel: socket.socket, kit: Path, scratch: Path, limits: Limits) -> None:
    """The life of the process: nothing of the course but the kit, no folder of its author's, then a session."""
    gc.freeze()  # a fork need not search its parent's objects for garbage
    os.environ.update(TMPDIR=str(scratch), MPLBACKEND="agg")
    for name in [name for name in sys.modules if name.partition(".")[0] == "course_utils"]:
        del sys.modules[name]
    own = {str(Path(path).resolve()) for path in ("", ROOT, sysconfig.get_path("scripts"))}
    sys.path[:] = [str(kit), *(path for path in sys.path if path and str(Path(path).resolve()) not in own)]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who is in charge ends it
    if hasattr(os, "setsid"):
        from course_utils.grading.locks import forbid_system_calls, lock_in

        os.setsid()
        lock_in(channel.fileno(), limits, str(scratch), isolate=False)
        with contextlib.suppress(OSError, AttributeError):
            forbid_system_calls()
    else:
        os.chdir(scratch)
    torch.set_num_threads(1)
    threadpool_limits(1)  # a fork has lost the threads of its parent, and may not have new ones
    Session(channel).serve()
    os._exit(0)
