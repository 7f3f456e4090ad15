"""A student's function, as seen from outside the sandbox: a callable that the engine can test like any other."""

import contextlib
import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from course_utils.checks.engine import StudentError
from course_utils.grading.child import Child, Died
from course_utils.grading.protocol import pack
from course_utils.plain_data import same, tensors

AHEAD_BYTES, AHEAD_CALLS = 2**16, 16  # that are sent before their turn, perhaps in vain
PRINTED = 2_000  # characters of a function's output that are kept, whatever its process sends


class RemoteFunction:
    """Calls a function in a submission's process.

    Arguments go there by value and the result comes back by value; a result that depends on tensors which require a
    gradient is attached to them, and its backward pass asks the process for the vector-Jacobian product (once: the
    second derivative is none). Arguments that the function changed in place are changed likewise. Nothing that comes
    back is trusted to be more than the plain data that it was read as. Raises StudentError for the function's
    exceptions and for its process's death.
    """

    def __init__(self, child: Child, name: str, foreseen: Sequence[bytes] = ()) -> None:
        """`foreseen`: packed arguments of calls that will come, most likely, and in this order. They are sent ahead,
        so that neither process waits for the other at every call. A function whose results depend on how often it is
        called may answer other laws with them than it would otherwise: such a function is no solution."""
        self.child, self.name, self.foreseen = child, name, foreseen
        self.numbers = itertools.count(len(foreseen))
        self.places: dict[bytes, deque[int]] = {}
        for place, arguments in enumerate(foreseen):
            self.places.setdefault(arguments, deque()).append(place)
        self.sent = 0  # the foreseen calls before this one were sent, or will never be
        self.underway: deque[int] = deque()
        self.replies: dict[int, dict[str, Any]] = {}
        self.exhausted = False  # it ran out of memory, and lived
        self.printed = 0
        self.shares = False  # a result lay in the memory of an argument

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        number, reply = self._call(pack([args, kwargs]))
        self.shares |= reply.get("shares") is True
        if "after" in reply:
            _write_back([args, kwargs], reply["after"])
        _raise_error(reply)
        if "foreign" in reply:
            return _foreign(reply["foreign"])
        value = reply.get("value")
        leaves = [tensor for tensor in tensors([args, kwargs]) if tensor.requires_grad]
        results = [tensor for tensor in tensors(value) if tensor.requires_grad]
        if not leaves or not results:
            return value
        attached = iter(_Attached.apply(self, number, [tensor.detach() for tensor in results], *leaves))
        return _replace(value, attached)

    def _call(self, arguments: bytes) -> tuple[int, dict[str, Any]]:
        """Number and reply of a call."""
        place = self._place(arguments)
        if place is None:
            number = next(self.numbers)
            return number, self._ask(op="call", id=number, name=self.name, arguments=arguments)
        self.sent = max(self.sent, place if place not in self.underway and place not in self.replies else 0)
        try:
            while place not in self.replies:
                self._send_ahead()
                self.replies[self.underway[0]] = self.child.reply(self.child.limits.call)
                self.underway.popleft()
        except Died as died:
            raise _death(died) from None
        reply = self.replies.pop(place)
        for passed in [number for number in self.replies if number < place]:
            del self.replies[passed]
        return place, self._looked_at(reply)

    def _place(self, arguments: bytes) -> int | None:
        """Where a call stands among the foreseen ones, if it does, and its reply can still be had."""
        places = self.places.get(arguments, ())
        while places:
            place = places.popleft()
            if place >= self.sent or place in self.underway or place in self.replies:
                return place
        return None

    def _send_ahead(self) -> None:
        """Send the next calls, so that the process has work while a law looks at its results."""
        while self.sent < len(self.foreseen):
            arguments = self.foreseen[self.sent]
            size = len(arguments) + sum(len(self.foreseen[number]) for number in self.underway)
            if self.underway and (size > AHEAD_BYTES or len(self.underway) >= AHEAD_CALLS):
                return
            self.child.post(op="call", id=self.sent, name=self.name, arguments=arguments)
            self.underway.append(self.sent)
            self.sent += 1

    def vjp(self, number: int, gradients: Sequence[Tensor | None], leaves: Sequence[tuple[Any, Any]]) -> list[Any]:
        """Gradients by the call's arguments; StudentError if the process has none, or something that cannot be one."""
        reply = self._ask(op="vjp", id=number, gradients=list(gradients))
        _raise_error(reply)
        found = reply.get("gradients")
        if type(found) is not list or len(found) != len(leaves):
            raise StudentError("ProtocolError", "its process sent no gradients")
        for gradient, (shape, dtype) in zip(found, leaves, strict=True):
            if gradient is not None and not (
                type(gradient) is Tensor
                and gradient.shape == shape
                and gradient.dtype == dtype
                and not gradient.requires_grad
            ):
                raise StudentError("ProtocolError", "its process sent a gradient of another shape or type")
        return found

    def _ask(self, **message: Any) -> dict[str, Any]:
        try:
            self._drain()
            return self._looked_at(self.child.request(**message))
        except Died as died:
            raise _death(died) from None

    def _drain(self) -> None:
        while self.underway:
            self.replies[self.underway[0]] = self.child.reply(self.child.limits.call)
            self.underway.popleft()

    def finish(self) -> None:
        """Wait for what was sent ahead and nobody asked for: the next request is about something else. No error."""
        with contextlib.suppress(Died):
            self._drain()

    def _looked_at(self, reply: dict[str, Any]) -> dict[str, Any]:
        """The reply, after what it says beside a result was taken in."""
        if "error" in reply:
            self.exhausted |= "MemoryError" in str(reply["error"]) or "can't allocate memory" in str(reply["error"])
        printed = reply.get("printed")
        if type(printed) is str and self.printed < PRINTED:
            print(printed[: PRINTED - self.printed], end="")
            self.printed += len(printed)
        return reply


def _death(died: Died) -> StudentError:
    return StudentError({"timed out": "TimeoutError"}.get(died.fate, "Crash"), str(died))


class _Attached(torch.autograd.Function):
    """Results that are already known, as functions of tensors; the gradient comes from the other side."""

    @staticmethod
    def forward(ctx: Any, remote: RemoteFunction, number: int, results: list[Tensor], *leaves: Tensor) -> Any:
        ctx.set_materialize_grads(False)
        ctx.remote, ctx.number = remote, number
        ctx.leaves = [(leaf.shape, leaf.dtype) for leaf in leaves]
        return tuple(results)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> Any:
        if all(gradient is None for gradient in gradients):
            return (None, None, None, *(None for _ in ctx.leaves))
        found = ctx.remote.vjp(ctx.number, gradients, ctx.leaves)
        return (None, None, None, *found)


def _raise_error(reply: dict[str, Any]) -> None:
    error = reply.get("error")
    if error is None:
        return
    if type(error) is not list or len(error) != 3 or any(type(part) is not str for part in error):
        raise StudentError("ProtocolError", "its process sent an error that is none")
    raise StudentError(*(part[:500] for part in error))


def _foreign(kind: Any) -> Any:
    """An object whose type bears the name of what the function returned, for the engine to refuse by that name."""
    name = kind[:80] if type(kind) is str and kind.isprintable() and kind else "object"
    return type(name, (), {})()


def _replace(value: Any, attached: Iterator[Tensor]) -> Any:
    """The value with its tensors that require a gradient replaced, in order."""
    match value:
        case Tensor() if value.requires_grad:
            return next(attached)
        case dict():
            return {key: _replace(entry, attached) for key, entry in value.items()}
        case list() | tuple():
            return type(value)(_replace(entry, attached) for entry in value)
    return value


def _write_back(before: Any, after: Any) -> Any:
    """Make the value what it was after the call, in place where it has one; returns what stands for it now."""
    match before:
        case Tensor():
            if type(after) is Tensor and not same(before.detach(), after.detach()):
                # .data passes by autograd: the graph that the engine's copy hangs in stays as it is
                before.data = after.detach().to(before.dtype) if before.requires_grad else after.detach()
            elif type(after) is Tensor and before.requires_grad and not after.requires_grad:
                before.detach_()
            elif type(after) is Tensor and after.requires_grad and not before.requires_grad:
                before.requires_grad_()
        case np.ndarray():
            if type(after) is np.ndarray and after.shape == before.shape and after.dtype == before.dtype:
                before[...] = after
        case list():
            kept = before[:]
            before[:] = [_write_back(old, new) for old, new in _pairs(kept, after)]
        case tuple():
            for old, new in _pairs(before, after):
                _write_back(old, new)
        case dict():
            old = dict(before)
            before.clear()
            before.update(
                {key: _write_back(old[key], new) if key in old else new for key, new in after.items()}
                if type(after) is dict
                else {"changed": True}
            )
        case _:
            return after
    return before if type(after) is type(before) else after


def _pairs(before: Sequence[Any], after: Any) -> list[tuple[Any, Any]]:
    """Old and new entries, side by side; what is new stands for both."""
    if not isinstance(after, list | tuple):
        return [("unchanged", "changed")]
    return [(before[i] if i < len(before) else new, new) for i, new in enumerate(after)]
