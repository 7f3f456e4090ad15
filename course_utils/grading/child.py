"""The process of one submission, as seen from outside: what it may use, and requests and replies until it dies.

The protocol is imported late: it needs torch, which a sandbox imports at the same time.
"""

import contextlib
import selectors
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

GLANCE = 0.2  # seconds that a call may take unobserved
UNSENT = 2**20  # bytes of requests that may wait to be sent when the next one comes: little is sent ahead


@dataclass(frozen=True)
class Limits:
    """What one submission may use. Times are seconds: of the processor for `call` and `define`, else on the clock."""

    call: float = 5
    define: float = 15  # for the statements that an exercise needs: some import half of what is installed
    patience: float = 5  # times `call` on the clock for a call on a busy machine
    exercise: float = 60  # on the clock, so with room for a machine that is busy with other things
    submission: float = 240
    memory: int = 6 * 2**30  # address space; torch alone needs 3 GB of it
    file_size: int = 64 * 2**20
    processes: int = 64

    def on(self, machine: "Slowness") -> "Limits":
        """The same work's limits on a slower machine."""
        return replace(
            self,
            call=self.call * machine.processor,
            define=self.define * machine.processor,
            exercise=self.exercise * machine.clock,
            submission=self.submission * machine.clock,
        )


PROBE_SECONDS = 0.02  # what the probe takes on the machine that the limits were chosen on, with nothing else to do


@dataclass(frozen=True)
class Slowness:
    """How many times longer work takes here, at least 1: by the processor's time, and by the clock, if it is busy."""

    processor: float = 1
    clock: float = 1

    @classmethod
    def measured(cls) -> "Slowness":
        """By at most three runs of a small piece of work, of which the quickest counts; one, if it is quick enough."""

        def probe() -> tuple[float, float]:
            processor, clock = time.process_time(), time.perf_counter()
            sum(number * number for number in range(400_000))
            return time.process_time() - processor, time.perf_counter() - clock

        probes = [probe()]
        while len(probes) < 3 and max(probes[-1]) > PROBE_SECONDS:
            probes.append(probe())
        return cls(*(max(1, min(times) / PROBE_SECONDS) for times in zip(*probes, strict=True)))


class Died(Exception):
    """The submission's process is no more, or no use. `fate` says it in a word, the message in a sentence."""

    def __init__(self, fate: str, message: str) -> None:
        super().__init__(message)
        self.fate = fate


class Child:
    """One submission's process, as seen from outside: requests and replies, until it dies or breaks a rule."""

    def __init__(self, channel: socket.socket, limits: Limits, processor_seconds: Callable[[], float | None]) -> None:
        self.channel, self.limits, self.processor_seconds = channel, limits, processor_seconds
        self.deadline = time.monotonic() + limits.submission
        self.unsent = bytearray()  # of requests, what the socket has not taken yet
        self.died: Died | None = None
        self.status = self.peak_kilobytes = 0

    def request(self, **message: Any) -> dict[str, Any]:
        """Send a request, wait for its reply. Died, now and ever after, if none comes in time or it makes no sense.

        Without a message, only wait.
        """
        if message:
            self.post(**message)
        return self.reply(self.limits.define if message.get("op") == "define" else self.limits.call)

    def post(self, **message: Any) -> None:
        """Send a request; replies come in the order of the requests. Died if the process is dead already.

        It never waits: the process may itself wait for its replies to be read, and only `reply` reads them. There, too,
        it is found that a process has ended: it may have answered earlier requests.
        """
        from course_utils.grading import protocol

        if self.died is not None:
            raise self.died
        if len(self.unsent) > UNSENT:
            self.died = Died("bad reply", "its process answered requests that it had not read")
            raise self.died
        self.unsent += protocol.frame(message)
        self._send()

    def _send(self) -> None:
        """Send as much as the socket takes."""
        self.channel.settimeout(0)
        try:
            while self.unsent:
                del self.unsent[: self.channel.send(self.unsent)]
        except BlockingIOError:
            pass
        except ConnectionError:
            self.unsent.clear()

    def reply(self, allowed: float) -> dict[str, Any]:
        """The next reply, for which the process may take `allowed` seconds. Died as `request`."""
        from course_utils.grading import protocol

        with self._alive(allowed) as deadline:
            self._wait(deadline, allowed)
            # A first byte may be sent before the work is done: what is left has no patience
            reply = protocol.receive(self.channel, min(deadline, time.monotonic() + allowed))
            if type(reply) is not dict:
                raise protocol.ProtocolError("a reply of another kind")
        return reply

    @contextlib.contextmanager
    def _alive(self, allowed: float) -> Iterator[float]:
        """Yields the deadline of what is done in the block, and says what its failure means."""
        from course_utils.grading import protocol

        if self.died is not None:
            raise self.died
        try:
            yield min(self.deadline, time.monotonic() + self.limits.patience * allowed)
        except TimeoutError:
            used_up = time.monotonic() >= self.deadline
            limit = "the exercise's time was used up" if used_up else f"no answer within {allowed:g} s"
            self.died = Died("timed out", f"{limit}: is there an endless loop?")
        except (EOFError, ConnectionError):
            self.died = Died("crashed", "its process ended: a crash, or os._exit, or killed for want of memory")
        except protocol.ProtocolError as error:
            self.died = Died("bad reply", f"its process sent no proper answer, but {error}")
        if self.died is not None:
            raise self.died

    def _wait(self, deadline: float, allowed: float) -> None:
        """Until a reply begins. TimeoutError at the deadline, or when the call has had its processor time."""
        allowed -= GLANCE  # whatever the call does until its process is looked at for the first time
        remaining, before = GLANCE, None
        while (end := min(deadline, time.monotonic() + remaining)) > time.monotonic():
            if self._begins(end):
                return
            # On a busy machine a process may have waited more than it worked: it gets the rest of its time
            now = self.processor_seconds()
            if before is None:
                before, remaining = now or 0, allowed
            elif now is None or now - before >= allowed:
                break
            else:
                remaining = max(0.1, allowed - (now - before))
        raise TimeoutError

    def _begins(self, end: float) -> bool:
        """Whether a reply, or the process's end, is there to be read before the clock says `end`; meanwhile, send."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.channel, selectors.EVENT_READ)
            while True:
                selector.modify(self.channel, selectors.EVENT_READ | (selectors.EVENT_WRITE if self.unsent else 0))
                ready = selector.select(max(0, end - time.monotonic()))
                if not ready or ready[0][1] & selectors.EVENT_READ:
                    return bool(ready)
                self._send()


class Processes(Protocol):
    """What starts processes for submissions: a sandbox, or this machine without one."""

    limits: Limits

    def submission(self) -> contextlib.AbstractContextManager[Child]:
        """A fresh process; it and all that it started are gone when the block ends."""
        ...
