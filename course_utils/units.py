"""The course's units: which are here, their order and their names, and where their files lie.

A unit is a room, a folder of this package with a file unit.toml that says its number and its title. Its topic is the
folder's name, and number and topic make the name, '01_distillation', that its notebooks and folders bear.
"""

import difflib
import functools
import importlib
import itertools
import json
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from course_utils.checks.engine import Exercise, Unit

PACKAGE = Path(__file__).parent
ROOT = PACKAGE.parent  # the clone or the student kit that holds labs/ and lectures/
SIGN = "unit.toml"  # what makes a folder of the package a room


@dataclass(frozen=True)
class Room:
    """A unit's place in the course."""

    number: int
    title: str


@functools.cache
def rooms() -> dict[str, Room]:
    """The rooms of this package by topic, in the order of the course. ValueError if two have the same number."""
    found = {
        sign.parent.name: Room(**tomllib.loads(sign.read_text(encoding="utf-8"))) for sign in PACKAGE.glob(f"*/{SIGN}")
    }
    topics = sorted(found, key=lambda topic: found[topic].number)
    for topic, following in itertools.pairwise(topics):
        if found[topic].number == found[following].number:
            raise ValueError(f"The units {topic} and {following} have the same number, {found[topic].number}.")
    return {topic: found[topic] for topic in topics}


def available() -> list[str]:
    """The topics of this package's units, in the order of the course."""
    return list(rooms())


def unit_number(topic: str) -> int:
    """'distillation' -> 1."""
    return rooms()[topic].number


def unit_name(topic: str) -> str:
    """'distillation' -> '01_distillation'."""
    return f"{unit_number(topic):02d}_{topic}"


def find_topic(lab: str | Path) -> str:
    """The topic that a lab's name, number, folder or notebook file stands for. ValueError if there is none."""
    name = Path(str(lab)).resolve().name if str(lab) in (".", "..") else Path(str(lab)).name
    name = name.removesuffix(".ipynb").removesuffix(".md")
    for topic in available():
        if name in (topic, unit_name(topic), unit_name(topic)[:2]):
            return topic
    # A copy of a lab often has a longer name: '01_distillation (1).ipynb', '01_distillation_mine.ipynb'
    if match := re.match(r"(\d\d)_", name):
        for topic in available():
            if unit_name(topic).startswith(match[0]) and name.startswith(unit_name(topic)):
                return topic
    names = [unit_name(topic) for topic in available()]
    near = difflib.get_close_matches(name, names, 1)
    raise ValueError(
        f"There is no lab named {name!r}: "
        + (f"did you mean {near[0]!r}?" if near else f"the labs are {', '.join(names)}.")
    )


def solution_source(topic: str) -> Path:
    return ROOT / "solutions" / unit_name(topic) / f"{unit_name(topic)}.md"


def lecture_source(topic: str) -> Path:
    return ROOT / "lectures" / f"{unit_name(topic)}.md"


def lab_path(topic: str) -> Path:
    return ROOT / "labs" / unit_name(topic) / f"{unit_name(topic)}.ipynb"


def expected_path(topic: str) -> Path:
    return PACKAGE / "notebooks" / "expected" / f"{unit_name(topic)}.ipynb"


@functools.cache
def lab_functions(topic: str) -> list[str]:
    """The functions that a student writes in a unit's lab, in its order; read from the lab, without importing torch."""
    cells = json.loads(expected_path(topic).read_text(encoding="utf-8"))["cells"]
    return [cell["id"] for cell in cells if "exercise" in cell["metadata"].get("tags", [])]


def load_unit(topic: str) -> "Unit":
    """The unit's exercises with their public laws."""
    return importlib.import_module(f"course_utils.{topic}.laws").unit


def find_exercise(name_or_id: str) -> "Exercise":
    """The exercise with this id ('1.1') or function name ('soft_targets'). ValueError if there is none."""
    names = []
    for topic in available():
        for exercise in load_unit(topic).exercises:
            if name_or_id in (exercise.id, exercise.name):
                return exercise
            names += [exercise.id, exercise.name]
    near = difflib.get_close_matches(name_or_id, names, 1)
    raise ValueError(f"There is no exercise {name_or_id!r}" + (f": did you mean {near[0]!r}?" if near else "."))
