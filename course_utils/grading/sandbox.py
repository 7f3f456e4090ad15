"""Starts the process in which students' code runs, and talks to it.

bubblewrap gives it an empty file system with the interpreter, its packages and the student-facing course_utils,
read-only; no network, no rights, no other process in sight. `worker.py` is what runs in there.
"""

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from course_utils.grading.child import Child, Died, Limits, Slowness
from course_utils.grading.folders import fresh_folder
from course_utils.units import PACKAGE, ROOT

START_SECONDS = 120  # torch's first import from a cold disk
INSTALL = "Install it with `sudo apt install bubblewrap` (Fedora: `sudo dnf install bubblewrap`)"
TRUST = "or grade with --trust, which runs the submissions unguarded: only if you trust them"


class SandboxUnavailable(OSError):
    """A sandbox cannot be started on this machine; the message says how to mend it."""


class Sandbox:
    """A process that has imported torch, and forks a child for each submission. `wait` until it is ready."""

    def __init__(self, topic: str, limits: Limits | None = None, trust: bool = False) -> None:
        self.topic, self.trust = topic, trust
        self.limits = (limits or Limits()).on(Slowness.measured())
        if not hasattr(os, "fork"):
            raise SandboxUnavailable("Grading needs Linux or macOS; on Windows use WSL 2.")
        self.folder: Path | None = None  # without bubblewrap, what the process needs stands in a folder
        self.ready = False
        self.process: subprocess.Popen[bytes] | None = None
        self.stderr = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the sandbox)
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        self.control, inside = socket.socketpair()
        with contextlib.ExitStack() as stack:
            stack.enter_context(inside)
            files: dict[str, int] = {}
            if self.trust:
                self.folder = fresh_folder()
                (self.folder / "scratch").mkdir()
                self._write_kit(self.folder / "kit")
            else:  # the kit goes in through descriptors, so that whatever kills us leaves nothing on the disk
                files = self._open_kit(stack)
            command, environment = self._command(inside.fileno(), files)
            self.process = subprocess.Popen(
                command,
                env=environment,
                cwd=self.folder / "scratch" if self.folder else "/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self.stderr,
                pass_fds=[inside.fileno(), *files.values()],
                start_new_session=True,
            )

    def _write_kit(self, folder: Path) -> None:
        from course_utils.notebooks.kit import write_package

        write_package(folder, self.topic, sandbox=True)

    def _open_kit(self, stack: contextlib.ExitStack) -> dict[str, int]:
        """The kit's files in memory: descriptors by path."""
        folder = fresh_folder()
        try:
            self._write_kit(folder)
            files: dict[str, int] = {}
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                file = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
                file.write(path.read_bytes())
                file.seek(0)
                files[path.relative_to(folder).as_posix()] = file.fileno()
            return files
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _command(self, fd: int, files: dict[str, int]) -> tuple[list[str], dict[str, str]]:
        roots = _interpreter_roots()
        guard: list[str] = []
        if self.folder:
            kit, scratch = (str(self.folder / name) for name in ("kit", "scratch"))
        else:
            scratch = "/scratch" if any(_within(root, Path("/tmp")) for root in roots) else "/tmp"
            kit = "/course"
            guard = bubblewrap(roots, {f"{kit}/{name}": number for name, number in files.items()}, scratch)
        elsewhere = [str(root) for root in roots if root.name in ("site-packages", "dist-packages")]
        environment = {
            "PYTHONPATH": os.pathsep.join([kit, *elsewhere]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONHASHSEED": "0",
            "PATH": "/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "HOME": scratch,
            "TMPDIR": scratch,
            "USER": "student",
            "MPLBACKEND": "agg",
            **{f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "NUMBA")},
            "COURSE_LIMITS": json.dumps(vars(self.limits)),
        }
        worker = ["-sP", "-m", "course_utils.grading.worker", str(fd), self.topic, "trust" if self.trust else "isolate"]
        return [*guard, sys.executable, *worker], environment

    def wait(self) -> None:
        """Return when submissions can be started. SandboxUnavailable if that will never be."""
        from course_utils.grading import protocol

        if self.ready:
            return
        try:
            protocol.receive(self.control, time.monotonic() + START_SECONDS)
        except (EOFError, TimeoutError, protocol.ProtocolError):
            self.stderr.seek(0)
            raise self._unavailable(self.stderr.read().decode(errors="replace")) from None
        self.ready = True

    def _unavailable(self, text: str) -> SandboxUnavailable:
        reason = (text.strip().splitlines() or ["it gave no reason"])[-1]
        if self.trust:
            return SandboxUnavailable(f"The process that runs the submissions does not start: {reason}")
        return SandboxUnavailable(f"The sandbox does not start: {reason}. {_advice(reason)}, {TRUST}.")

    @contextlib.contextmanager
    def submission(self) -> Iterator[Child]:
        """A fresh child; it and all that it started are gone when the block ends."""
        from course_utils.grading import protocol

        self.wait()
        outside, inside = socket.socketpair()
        with outside:
            try:
                with inside:
                    socket.send_fds(self.control, [b"s"], [inside.fileno()])
                started = protocol.receive(self.control, time.monotonic() + START_SECONDS)
            except (EOFError, TimeoutError, OSError, protocol.ProtocolError) as error:
                raise self._unavailable(f"{type(error).__name__} {error}") from None
            child = Child(outside, self.limits, self._processor_seconds)
            try:
                if problem := started["problem"] or self._locked_in(child):
                    raise self._unavailable(problem)
                yield child
            finally:
                self._end(child)

    @staticmethod
    def _locked_in(child: Child) -> str:
        """What kept the child from locking itself in, empty if nothing did; it says so before it runs anything."""
        try:
            return str(child.request()["problem"])
        except Died as died:
            return f"a submission's process {died.fate} before it began"

    def _processor_seconds(self) -> float | None:
        """Processor time of the child so far, None where it cannot be told."""
        from course_utils.grading import protocol

        try:
            self.control.sendall(b"t")
            return protocol.receive(self.control, time.monotonic() + START_SECONDS)["seconds"]
        except (EOFError, TimeoutError, OSError, KeyError, protocol.ProtocolError):
            return None

    def _end(self, child: Child) -> None:
        from course_utils.grading import protocol

        try:
            self.control.sendall(b"e")
            end = protocol.receive(self.control, time.monotonic() + START_SECONDS)
            child.status, child.peak_kilobytes = end["status"], end["peak_kilobytes"]
        except (EOFError, TimeoutError, OSError, KeyError, protocol.ProtocolError):
            self.ready = False  # what is left of it can serve nobody
            raise self._unavailable("it was killed") from None

    def close(self) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.control.close()
        self.stderr.close()
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


# --- What bubblewrap shows --------------------------------------------------------------------------------------------


def _within(path: Path, folder: Path) -> bool:
    return path == folder or folder in path.parents


def _interpreter_roots() -> list[Path]:
    """Folders that the interpreter and its packages live in, none inside another."""
    found = {Path(sys.prefix), Path(sys.base_prefix), Path(os.path.realpath(sys.executable)).parent}
    for package in ("torch", "numpy", "msgpack", "scipy", "sklearn"):
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin is not None:
            found.add(Path(spec.origin).parent.parent)
    return sorted(path for path in found if not any(other != path and _within(path, other) for other in found))


def bubblewrap(roots: list[Path], files: dict[str, int], scratch: str) -> list[str]:
    """The command line of a bubblewrap that shows the system's libraries, the `roots` and the `files`, all read-only.

    `files` are descriptors by the path of the file that shall have their content. Of what lies inside a root, this
    course and its installed copies are hidden.
    """
    if sys.platform != "linux":
        raise SandboxUnavailable(f"The sandbox needs Linux: grade on a Linux machine (on Windows in WSL 2), {TRUST}.")
    program = shutil.which("bwrap")
    if program is None:
        raise SandboxUnavailable(f"The sandbox needs bubblewrap, which is not installed. {INSTALL}, {TRUST}.")
    command = [program, "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    command += ["--uid", "65534", "--gid", "65534", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
    command += ["--ro-bind", "/usr", "/usr"]
    for name in ("/bin", "/sbin", "/lib", "/lib32", "/lib64"):
        if os.path.islink(name):
            command += ["--symlink", os.readlink(name), name]
        elif os.path.isdir(name):
            command += ["--ro-bind", name, name]
    for name in ("/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime"):
        command += ["--ro-bind-try", name, name]
    shown = {root: ["--ro-bind", str(root), str(root)] for root in roots if not _within(root, Path("/usr"))}
    for root in [Path("/usr"), *roots]:
        copies = [ROOT, PACKAGE, *root.glob("lib*/python*/*-packages/course_utils"), root / "course_utils"]
        for copy in copies:
            if copy.is_dir() and copy not in shown and _within(copy, root):
                shown[copy] = ["--tmpfs", str(copy)]
    # What lies deeper is mounted later, over what it lies in
    for path in sorted(shown, key=lambda path: len(path.parts)):
        command += shown[path]
    for target, number in files.items():
        command += ["--file", str(number), target]
    command += ["--tmpfs", scratch, "--chdir", scratch, "--remount-ro", "/dev", "--remount-ro", "/"]
    if scratch != "/tmp":
        command += ["--remount-ro", "/tmp"]
    return [*command, "--"]


def _advice(reason: str) -> str:
    restricted = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
    if restricted.exists() and restricted.read_text().strip() == "1":
        return (
            "This Linux (Ubuntu 24.04 does) forbids unprivileged namespaces: allow them with "
            "`sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0`"
        )
    if "namespace" in reason or "not permitted" in reason.lower():
        return (
            "This Linux, or the container that it runs in, forbids unprivileged namespaces: "
            "`sudo sysctl kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000`, or leave the container"
        )
    return "Try `course doctor`"
