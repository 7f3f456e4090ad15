"""Where the runner's work is done: in this process, in others here, or on the workers of a Dask scheduler.

Wherever that is, it has one thread, so that results are the same bit for bit.
"""

import functools
import hashlib
import os
import pickle
import platform
import queue
import subprocess
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import torch

from course_utils.cluster import Misconfigured, connect, environment
from course_utils.units import PACKAGE

IDLE_SECONDS = 60  # after which a process ends that gets no work, so that Dask workers are left as they were


@dataclass(frozen=True)
class Failure:
    """What a call raised, and where."""

    error: str
    traceback: str


class WorkerDied(Exception):
    """The process that was at work is gone."""


@contextmanager
def pool(workers: int, scheduler: str | None) -> Iterator[tuple[Callable[..., Any], Callable[[], int]]]:
    """Yields submit(function, *arguments), and a function that says how many calls can go on at a time.

    submit gives a future of function(workers, *arguments), workers being those on its machine, or of a `Failure`. Calls
    are pickled, unless this process is the only worker. Those that are under way at the end are given up.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        if scheduler is not None:
            with connect(scheduler) as client:
                yield (
                    lambda *call: client.submit(_call_on_dask, pickle.dumps(call), _workers_beside(client), pure=False),
                    lambda: max(1, sum(client.nthreads().values())),
                )
        elif workers > 1:
            with ThreadPoolExecutor(workers) as executor, closing(Crew()) as crew:
                yield lambda *call: executor.submit(crew.call, workers, pickle.dumps(call)), lambda: workers
        else:
            yield _call_here, lambda: 1
    finally:
        torch.set_num_threads(threads)


def _call_here(*call: Any) -> Future:
    future: Future = Future()
    future.set_result(_call(1, *call))
    return future


def _call(workers: int, function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return function(workers, *arguments)
    except Exception as error:
        return Failure(f"{type(error).__name__}: {error}", traceback.format_exc())


class Crew:
    """Processes that work for this one, one for each thread that calls; they end with it, however it ends."""

    def __init__(self) -> None:
        self.mine = threading.local()
        self.processes: list[subprocess.Popen] = []
        self.closed = False

    def call(self, workers: int, call: bytes, wanted: Callable[[], bool] = lambda: True) -> Any:
        """What a pickled call returns. WorkerDied if its process did, or nobody wanted the result any more."""
        process = getattr(self.mine, "process", None)
        if process is None or process.poll() is not None:
            process = self.mine.process = _start()
            self.processes.append(process)
        if self.closed:
            process.kill()
        over = threading.Event()
        threading.Thread(target=_kill_unless, args=(wanted, process, over), daemon=True).start()
        try:
            pickle.dump((identity(), workers, call), process.stdin)
            process.stdin.flush()
            reply = pickle.load(process.stdout)
        except (EOFError, OSError, pickle.UnpicklingError):
            process.kill()
            process.wait()
            raise WorkerDied("the last one is gone without a word") from None
        finally:
            over.set()
        if isinstance(reply, Misconfigured):
            process.kill()  # another may have what was mended
            raise reply
        return reply

    def close(self) -> None:
        self.closed = True
        for process in self.processes:
            process.kill()
            process.wait()


def _start() -> subprocess.Popen:
    command = [sys.executable, "-c", "from course_utils.reproduce.processes import serve; serve()"]
    settings = {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
    # A session of its own: Ctrl-C reaches a whole group, and who is in charge ends the others
    return subprocess.Popen(
        command, env=environment() | settings, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )


def _kill_unless(wanted: Callable[[], bool], process: subprocess.Popen, over: threading.Event) -> None:
    while not over.wait(1):
        if not wanted():
            process.kill()


# --- In such a process ------------------------------------------------------------------------------------------------


def serve() -> None:
    """Calls come in and replies go out, until who started this process is gone, or has no work for a while."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what is printed is no reply
    torch.set_num_threads(1)
    calls: queue.SimpleQueue = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(calls,), daemon=True).start()
    while True:
        try:
            theirs, workers, call = calls.get(timeout=IDLE_SECONDS)
        except queue.Empty:
            os._exit(0)
        if theirs == identity():
            reply = _call(workers, _call_pickled, call)
        else:
            reply = Misconfigured(
                "A worker has another version of the course, of Python, PyTorch or NumPy: install the same on every "
                "machine, and start again."
            )
        pickle.dump(reply, replies)
        replies.flush()


def _listen(calls: queue.SimpleQueue) -> None:
    """End this process with the other, in the middle of its work too."""
    try:
        while True:
            calls.put(pickle.load(sys.stdin.buffer))
    finally:
        os._exit(1)


def _call_pickled(workers: int, call: bytes) -> Any:
    function, *arguments = pickle.loads(call)
    return function(workers, *arguments)


@functools.cache
def identity() -> tuple[str, ...]:
    """What must be the same on all machines: the course's code, and what computes."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(path.relative_to(PACKAGE).as_posix().encode() + path.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest(), platform.python_version(), torch.__version__.partition("+")[0], np.__version__


# --- On a Dask worker -------------------------------------------------------------------------------------------------

_crew = Crew()


def _call_on_dask(call: bytes, workers: dict[str, int]) -> Any:
    """In a process of its own, for the threads of a Dask worker share one stream of random numbers."""
    from distributed import get_worker

    worker = get_worker()
    task = worker.state.tasks[worker.get_current_task()]
    # It is no longer executing when the scheduler has lost who asked for it
    return _crew.call(workers.get(worker.address, 1), call, lambda: task.state == "executing")


def _workers_beside(client: Any) -> dict[str, int]:
    """How many calls go on at a time on the machine of each Dask worker, by the worker's address."""
    threads = client.nthreads()
    by_host: Counter[str | None] = Counter()
    for address, number in threads.items():
        by_host[urlsplit(address).hostname] += number
    return {address: by_host[urlsplit(address).hostname] for address in threads}
