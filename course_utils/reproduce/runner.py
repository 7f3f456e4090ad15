"""The runner of all experiments: pieces of work, on this machine's cores or on the workers of a Dask scheduler.

A run that is stopped, by Ctrl-C, kill -9 or a power cut, loses at most the pieces that were under way.
"""

import json
import pickle
import platform
import queue
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from course_utils.cluster import Misconfigured
from course_utils.data import Digits
from course_utils.reproduce import processor, provenance, write_results
from course_utils.reproduce.journal import Found, Journal, decode, encode, found_in
from course_utils.reproduce.processes import Failure, pool

ATTEMPTS = 2  # at a piece whose process died; a neighbour may have been the cause
Values = dict[str, Any]  # what JSON knows


@dataclass(frozen=True)
class Piece:
    """Work that can be done anywhere once the pieces that it needs are done: one training, as a rule.

    function: one of a module, so that other processes find it. It is called as
    function(data, settings, *arguments, *results of the pieces in `needs`), seeds whatever it draws, and returns a
    dict: tensors and dicts of tensors, for the pieces that need them, and what JSON knows, for the results file too.
    arguments: plain values, which with the name tell one piece from all others.
    needs: names of pieces that stand before it. group, seed: what the results file counts whole seeds by.
    """

    name: str
    function: Callable[..., dict[str, Any]]
    arguments: tuple[Any, ...] = ()
    needs: tuple[str, ...] = ()
    group: str = ""
    seed: int | None = None


@dataclass(frozen=True)
class Done:
    """What is done of an experiment. done[name] is what a piece has returned, but for its tensors."""

    pieces: Sequence[Piece]
    found: dict[str, Found]

    def __getitem__(self, name: str) -> Values:
        return self.found[name].values

    def get(self, name: str) -> Values | None:
        return self[name] if name in self.found else None

    def seeds(self, group: str = "") -> list[int]:
        """The seeds of a group of which all pieces are done."""
        missing = {piece.seed for piece in self.pieces if piece.group == group and piece.name not in self.found}
        return [seed for seed in self._asked(group) if seed not in missing]

    def counts(self) -> Values:
        """How many seeds were asked for, and how many are whole: by group where groups differ."""
        groups = dict.fromkeys(piece.group for piece in self.pieces if piece.seed is not None)
        asked = {group: len(self._asked(group)) for group in groups}
        has = {group: len(self.seeds(group)) for group in groups}
        return {
            key: by_group if len(set(by_group.values())) > 1 else next(iter(by_group.values()))
            for key, by_group in (("asked", asked), ("has", has))
        }

    def origin(self) -> Values:
        """Command, date, versions; and the places where pieces ran, each with how many and their seconds together."""
        places: dict[str, Values] = {}
        for each in self.found.values():
            place = places.setdefault(json.dumps(each.place), {**each.place, "pieces": 0, "seconds": 0.0})
            place["pieces"] += 1
            place["seconds"] = round(place["seconds"] + each.seconds, 1)
        return provenance() | {"places": list(places.values())}

    def _asked(self, group: str) -> list[int]:
        seeds = dict.fromkeys(piece.seed for piece in self.pieces if piece.group == group)
        return [seed for seed in seeds if seed is not None]


class PieceFailed(ValueError):
    """What a piece raised, after the others have gone on as far as they could."""


class PieceTraceback(Exception):
    """A traceback from another process, as text."""


@dataclass(frozen=True)
class Experiment:
    """What a room's module reproduce.py declares.

    name: of the results file. settings: a dataclass; its defaults are the experiment at full scale.
    load(digits, settings): the data, once in each process. digits: those that `run` was given, or None.
    pieces(data, settings, seeds): what is to be done. Of pieces that could start, the first do.
    collect(data, settings, done): the results for JSON, as far as they go, `done.origin()` among them.
    """

    name: str
    settings: type
    load: Callable[[Digits | None, Any], Any]
    pieces: Callable[[Any, Any, int], Sequence[Piece]]
    collect: Callable[[Any, Any, Done], Values]

    def run(
        self,
        seeds: int,
        out: Path,
        digits: Digits | None = None,
        settings: Any = None,
        *,
        workers: int = 1,
        scheduler: str | None = None,
    ) -> Values:
        """Do all pieces for seeds 0, 1, …; store out/NAME.json after each, and return what it holds in the end.

        digits: the experiment's own if left out. workers: so many processes, or this one; with `scheduler`, the address
        of a Dask scheduler, its workers. What an earlier run with these settings has done is not done again.
        PieceFailed if a piece raised something, OSError if there is no such scheduler.
        """
        settings = settings or self.settings()
        data = Data(self.load, digits, settings)
        pieces = self.pieces(data.value, settings, seeds)
        journal = Journal(self.name, {"data": digits and digits.summary(), "settings": asdict(settings)}, pieces)
        found = {piece.name: known for piece in pieces if (known := journal.found(piece.name))}
        done = Done(pieces, found)
        failures: dict[str, Failure] = {}

        def store() -> Values:
            results = {"seeds": done.counts(), **self.collect(data.value, settings, done)}
            write_results(Path(out) / f"{self.name}.json", results)
            return results

        with (
            pool(workers, scheduler) as (submit, slots),
            tqdm(desc=self.name, total=len(pieces), initial=len(found), unit=" pieces", smoothing=0) as bar,
        ):

            def start(piece: Piece) -> Any:
                return submit(compute, data, settings, piece, [journal.content(need) for need in piece.needs])

            for name, reply in _replies(pieces, found, start, slots, bar):
                if isinstance(reply, Failure):
                    failures[name] = reply
                else:
                    journal.store(name, reply)
                    found[name] = found_in(reply)
                    store()
                    bar.update()
        if failures:
            raise _explained(failures)
        results = store()
        journal.clear()
        return results


class Data:
    """An experiment's data. To another process goes only what `load` needs; it loads once."""

    def __init__(self, load: Callable[[Digits | None, Any], Any], digits: Digits | None, settings: Any) -> None:
        self.load, self.digits, self.settings = load, digits, settings

    @cached_property
    def value(self) -> Any:
        return self.load(self.digits, self.settings)

    @cached_property
    def _pickled(self) -> bytes:
        return pickle.dumps((self.load, self.digits, self.settings))

    def __reduce__(self) -> tuple[Callable[[bytes], "Data"], tuple[bytes]]:
        return _data, (self._pickled,)


@lru_cache(maxsize=1)
def _data(pickled: bytes) -> Data:
    return Data(*pickle.loads(pickled))


def compute(workers: int, data: Data, settings: Any, piece: Piece, needs: Sequence[bytes]) -> bytes:
    """A piece's result, encoded. workers: how many compute on this machine. needs: encoded results."""
    start = time.perf_counter()
    result = piece.function(data.value, settings, *piece.arguments, *map(decode, needs))
    place = {"host": platform.node(), "cpu": processor(), "threads": torch.get_num_threads(), "workers": workers}
    return encode(result, place, time.perf_counter() - start)


def _replies(
    pieces: Sequence[Piece],
    found: Mapping[str, Found],
    start: Callable[[Piece], Any],
    slots: Callable[[], int],
    bar: tqdm,
) -> Iterator[tuple[str, bytes | Failure]]:
    """Start pieces as soon as what they need is found; yield what comes back, by name. Who gets it adds to `found`."""
    waiting = [piece for piece in pieces if piece.name not in found]
    running: dict[Any, Piece] = {}
    finished: queue.SimpleQueue = queue.SimpleQueue()
    attempts: Counter[str] = Counter()
    while True:
        ready = [piece for piece in waiting if all(need in found for need in piece.needs)]
        for piece in ready[: max(0, slots() - len(running))]:
            waiting.remove(piece)
            under_way = ", ".join(each.name for each in [*running.values(), piece])
            bar.set_postfix_str(textwrap.shorten(under_way, 60, placeholder=" …"))
            future = start(piece)
            running[future] = piece
            future.add_done_callback(finished.put)
        if not running:
            return
        try:
            future = finished.get(timeout=5)
        except queue.Empty:
            bar.refresh()
            continue
        piece = running.pop(future)
        try:
            reply = future.result()
        except (Misconfigured, CancelledError):
            raise
        except Exception as error:
            attempts[piece.name] += 1
            if attempts[piece.name] < ATTEMPTS:
                waiting.insert(0, piece)
                continue
            reply = Failure(f"{ATTEMPTS} processes died of it; {error}", "")
        yield piece.name, reply


def _explained(failures: Mapping[str, Failure]) -> PieceFailed:
    name, failure = next(iter(failures.items()))
    others = f", as did {len(failures) - 1} others" if len(failures) > 1 else ""
    error = textwrap.shorten(failure.error, 300, placeholder=" …")
    problem = PieceFailed(f"The piece {name!r} failed{others} ({error}): mend it and start again; the rest is kept.")
    problem.__cause__ = PieceTraceback(failure.traceback) if failure.traceback else None
    return problem
