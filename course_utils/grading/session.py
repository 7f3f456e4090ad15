"""What runs a student's code: a namespace, and the requests that it answers, in a process of its own.

It knows no law, no expected value, no seed, and runs on every system. How that process is locked in is not its matter.
"""

import __future__

import ast
import asyncio
import functools
import io
import linecache
import operator
import os
import socket
import sys
import threading
import types
from typing import Any

import torch
from torch import Tensor

from course_utils.grading import protocol
from course_utils.grading.extract import extract
from course_utils.grading.protocol import NotPlain
from course_utils.grading.statements import Statement
from course_utils.plain_data import salted, shares, tensors

KEPT_GRAPHS = 256  # results whose gradient can still be asked for
CELL = "<ipython-code cell "  # how the name of a cell's code begins; numba keeps a cache for such a file only
PRINTED = 2_000  # characters of a call's output that are kept
FUTURE = functools.reduce(
    operator.or_, (getattr(__future__, name).compiler_flag for name in __future__.all_feature_names)
)
AWAIT = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT


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


def _no_thread(thread: threading.Thread) -> None:
    """In place of Thread.start: a progress bar's thread just never runs, work in threads is refused."""
    if not thread.daemon or type(thread).run is threading.Thread.run:
        raise RuntimeError("can't start new thread: grading has one thread for you")


def _no_compiler(model: Any = None, **options: Any) -> Any:
    """In place of torch.compile, also as a decorator: the same function, which is as right."""
    return (lambda other: other) if model is None else model


# What the student may not know of the place where the error happened
HINTS = {
    ModuleNotFoundError: " (only the notebook is graded, with what the course installs: put helpers into a cell)",
    FileNotFoundError: " (only the notebook is graded: files beside it are not there)",
    EOFError: " (nobody answers `input` where this is graded)",
    PermissionError: " (grading has one process for you, and no network)",
}


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
        self.binder: dict[str, Statement] = {}  # what a name's value comes from
        self.flags = 0  # `from __future__` holds for what follows
        self.calls = 0
        self.graphs: dict[int, tuple[list[Tensor], list[Tensor]]] = {}
        self.printed = _Printed()

    def serve(self) -> None:
        sys.modules["__main__"] = self.module
        sys.stdout = sys.stderr = self.printed
        sys.stdin = io.StringIO()
        sys.path.append(os.getcwd())  # where %%writefile writes
        threading.Thread.start, threading.Thread.is_alive = _no_thread, lambda thread: False
        threading.Thread.join = lambda thread, timeout=None: None
        torch.compile = _no_compiler
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
            except Exception as error:  # nothing is sent yet: it cannot be packed
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
        needed = self.needed.get(name, [])
        binder = {bound: statement for statement in needed for bound in statement.binds}
        # Another exercise may have needed another binding of the same name
        if any(self.binder.get(bound, statement) is not statement for bound, statement in binder.items()):
            self.done = {statement: error for statement, error in self.done.items() if statement not in needed}
        self.binder |= binder
        for statement in needed:
            if statement not in self.done:
                self.done[statement] = self._run(statement)
            if self.done[statement]:
                problems.append([statement.cell, statement.line, *self.done[statement]])
        value = getattr(self.module, name, None)
        return {"callable": callable(value), "kind": type(value).__name__[:80], "problems": problems}

    def _run(self, statement: Statement) -> list[Any] | None:
        # IPython and tracebacks find a cell's text by its file name
        filename = f"{CELL}{statement.cell + 1}, line {statement.line}>"
        linecache.cache[filename] = (len(statement.source), None, statement.source.splitlines(keepends=True), filename)
        try:
            code = compile(statement.source, filename, "exec", flags=self.flags | AWAIT, dont_inherit=True)
            self.flags |= code.co_flags & FUTURE
            if (value := eval(code, self.module.__dict__)) is not None:
                asyncio.run(value)
        except BaseException as error:
            return self.describe(error)
        return None

    def call(self, id: int, name: str, arguments: bytes) -> dict[str, Any]:
        """Call a function. Tensors that require a gradient reach it as the engine hands them over: as no leaves."""
        leaves: list[Tensor] = []
        args, kwargs = _grow(protocol.unpack(arguments), leaves)
        reply: dict[str, Any] = {}
        self.calls += 1
        self.module.__dict__["hash"] = salted(self.calls)  # what another process would say, each time
        try:
            with torch.enable_grad():
                value = getattr(self.module, name)(*args, **kwargs)
            if shares(value, [args, kwargs]):
                reply["shares"] = True
            roots = [tensor for tensor in tensors(value) if tensor.requires_grad]
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
        # Sums with weights, exactly the same: `grad_outputs` would import sympy, a quarter of a second
        outputs = [(root * gradient).sum() for root, gradient in pairs]
        found = torch.autograd.grad(outputs, leaves, allow_unused=True, retain_graph=True)
        return {"gradients": [None if g is None else g.detach() for g in found]}

    def describe(self, error: BaseException) -> list[str]:
        """[type, message, the line of the student's code that led to it]."""
        line, trace = "", error.__traceback__
        while trace is not None:
            filename = trace.tb_frame.f_code.co_filename
            if filename.startswith(CELL):
                line = linecache.getline(filename, trace.tb_lineno).strip()
            trace = trace.tb_next
        try:
            text = str(error)
        except BaseException:
            text = ""
        return [type(error).__name__[:80], text[:400] + HINTS.get(type(error), ""), line[:200]]


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
