"""What grading and experiments share of working on many machines: a Dask scheduler, and interpreters of their own.

Needs the extra `instructor` (Dask's `distributed`).
"""

import os
import sys
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import Any


class Misconfigured(OSError):
    """What is wrong with a worker's machine, and not with the work that it was given."""


@contextmanager
def connect(address: str) -> Iterator[Any]:
    """A client of the Dask scheduler at `address`, which has workers.

    ImportError without `distributed`; OSError without a scheduler or workers, or when the scheduler goes.
    """
    try:
        import dask
        from distributed import Client
        from distributed.comm import CommClosedError
    except ImportError:
        raise ImportError("--scheduler needs Dask: install it with `pip install distributed`.") from None
    try:
        client = Client(address, timeout="20s", set_as_default=False)
    except (OSError, ValueError) as error:
        raise OSError(
            f"There is no Dask scheduler at {address!r} ({error}): start one with `dask scheduler`."
        ) from None
    # What a task needs goes with it, on purpose
    with client, dask.config.set({"distributed.admin.large-graph-warning-threshold": "10GB"}):
        if not client.nthreads():
            raise OSError(f"The Dask scheduler at {address!r} has no workers: start some with `dask worker {address}`.")
        try:
            yield client
        except (CancelledError, CommClosedError):
            raise OSError(
                f"The Dask scheduler at {address!r} is gone: start it again, and the same command goes on."
            ) from None


def environment() -> dict[str, str]:
    """For an interpreter that is to find the modules that this one finds."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
