"""`course progress`: where a student stands in every lab here, as `course check` judges the saved notebooks.

A lab is judged once: the answer is kept until its file, or the course, changes. Nothing leaves the machine.
"""

import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import platformdirs
from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

from course_utils.units import PACKAGE, available, lab_path, rooms, unit_name

UNTOUCHED = "○"
HANDED_IN = "Every exercise holds. Answer the questions in the labs, and hand in."
COUNTED = "The points are those of the exercises; grading tries some laws more, and questions are graded by hand."


def cache_file() -> Path | None:
    """Where judgements are kept, in `data.cache_folder()`, which costs an import of torch; None without a home."""
    try:
        folder = platformdirs.user_cache_path("deep-learning-on-a-budget", appauthor=False)
    except RuntimeError:
        return None
    return folder / "progress.json" if folder.is_absolute() else None


def course_digest() -> str:
    """A hash of the package's code: other laws may give another verdict."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def judged(path: Path, topic: str) -> dict[str, Any]:
    """The verdicts on the exercises of a lab's notebook; `refused` says why a file has none."""
    from course_utils.grading.collect import Refused
    from course_utils.grading.local import LocalProcesses
    from course_utils.notebooks.check import judge, verdict
    from course_utils.units import load_unit

    minutes = {exercise.id: exercise.minutes for exercise in load_unit(topic).exercises}
    try:
        with LocalProcesses(topic) as processes:
            results = judge(processes, path, topic).exercises
    except Refused as refused:
        return {"exercises": [], "refused": f"{refused.status}, {refused}", "final": True}
    exercises = [
        {
            "id": each.id,
            "name": each.name,
            "minutes": minutes[each.id],
            "points": each.points,
            "max_points": each.max_points,
            "verdict": verdict(each),
        }
        for each in results
    ]
    # A machine that was busy may be faster next time
    return {"exercises": exercises, "refused": "", "final": all(each.outcome != "timed out" for each in results)}


def known() -> dict[str, Any]:
    """What is kept of earlier runs: for each notebook's path [key, judgement]. Empty if it cannot be read."""
    path = cache_file()
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path else {}
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def keep(judgements: dict[str, Any]) -> None:
    """Store what `known` finds next time. Where that cannot be, the next run takes longer."""
    from course_utils.data import write_atomically

    if path := cache_file():
        try:
            write_atomically(path, json.dumps(judgements).encode())
        except OSError:
            return


def all_labs() -> list[dict[str, Any]]:
    """Each lab that is here, in the order of the course, as `described`."""
    labs = [(topic, path) for topic in available() if (path := lab_path(topic)).is_file()]
    before, course = known(), course_digest()
    keys = {path: f"{course}-{hashlib.sha256(path.read_bytes()).hexdigest()}" for _, path in labs}
    new = [(topic, path) for topic, path in labs if before.get(str(path), [""])[0] != keys[path]]
    found = dict(before)
    terminal = Console(stderr=True)
    silent = not terminal.is_terminal
    for topic, path in track(
        new, "judging what changed", console=terminal, transient=True, auto_refresh=False, disable=silent
    ):
        found[str(path)] = [keys[path], judged(path, topic)]
    if new:
        keep({path: entry for path, entry in found.items() if entry[1]["final"]})
    return [described(topic, path, found[str(path)][1]) for topic, path in labs]


def described(topic: str, path: Path, judgement: dict[str, Any]) -> dict[str, Any]:
    """A lab, its notebook, when that was saved, its points and the verdicts on it."""
    exercises = judgement["exercises"]
    return {
        "lab": unit_name(topic),
        "title": rooms()[topic].title,
        "file": str(path),
        "saved": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(path.stat().st_mtime)),
        "points": sum(each["points"] for each in exercises),
        "max_points": sum(each["max_points"] for each in exercises),
        "refused": judgement["refused"],
        "exercises": exercises,
    }


def to_do(lab: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The exercises of a lab that do not hold yet."""
    return (each for each in lab["exercises"] if each["points"] < each["max_points"])


def next_exercise(labs: list[dict[str, Any]]) -> dict[str, Any] | None:
    """What to do next: the first open exercise of the lab that was saved last among those that are begun and not done;
    if there is none, of the first lab that is not done. None if every exercise holds."""
    unfinished = [lab for lab in labs if any(to_do(lab))]
    begun = [lab for lab in unfinished if any(not each["verdict"].startswith(UNTOUCHED) for each in lab["exercises"])]
    if not unfinished:
        return None
    lab = max(begun, key=lambda lab: lab["saved"]) if begun else unfinished[0]
    return {"lab": lab["lab"]} | next(to_do(lab))


def show_progress(*, as_json: bool = False) -> bool:
    """Print where the student stands, for people or as JSON; return whether every notebook could be judged.

    FileNotFoundError if no lab is here.
    """
    labs = all_labs()
    if not labs:
        raise FileNotFoundError("There are no labs here: `course progress` works in a clone or a student kit.")
    following = next_exercise(labs)
    if as_json:
        print(json.dumps({"labs": labs, "next": following}, indent=2))
        return not any(lab["refused"] for lab in labs)
    console = Console()
    table = Table()
    for heading in ("Lab", "Exercises", "Hold", "Points"):
        table.add_column(heading, justify="right" if heading in ("Hold", "Points") else "left")
    for lab in labs:
        marks = Text("".join(each["verdict"][0] for each in lab["exercises"]) or lab["refused"])
        hold = len(lab["exercises"]) - len(list(to_do(lab)))
        table.add_row(lab["lab"], marks, f"{hold} of {len(lab['exercises'])}", points_of([lab]))
    console.print(table)
    console.print(f"{points_of(labs)} points. {COUNTED}")
    if following is None:
        console.print(HANDED_IN)
    else:
        what = f"{following['id']} {following['name']} in {following['lab']}, about {following['minutes']} minutes"
        console.print(Text(f"Next: {what} ({following['verdict']})."))
    return not any(lab["refused"] for lab in labs)


def points_of(labs: list[dict[str, Any]]) -> str:
    """'5 of 18'."""
    return f"{sum(lab['points'] for lab in labs):g} of {sum(lab['max_points'] for lab in labs):g}"
