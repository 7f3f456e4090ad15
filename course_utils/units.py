"""The course's units: their order, their names, and which of them are here.

A unit has a number (its place in `TOPICS`), a topic (the name of its module) and a name made of both,
'01_distillation', which its notebooks and folders bear.
"""

import difflib
import importlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from course_utils.checks.engine import Unit

PACKAGE = Path(__file__).parent
ROOT = PACKAGE.parent  # the clone or the student kit that holds labs/ and lectures/

TOPICS = (
    "budget",
    "distillation",
    "saliency",
    "deep_compression",
    "structured",
    "binary",
    "dynamic",
    "lottery",
    "regroup",
    "sparse_training",
    "moe",
    "transfer",
    "robustness",
    "theory",
    "text_spotting",
)


def unit_name(topic: str) -> str:
    """'distillation' -> '01_distillation'."""
    return f"{TOPICS.index(topic):02d}_{topic}"


def available() -> list[str]:
    """Topics that have a reference module and checks in this package, in the order of the course."""
    return [
        topic
        for topic in TOPICS
        if (PACKAGE / f"{topic}.py").exists() and (PACKAGE / "checks" / f"{topic}.py").exists()
    ]


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


def load_unit(topic: str) -> "Unit":
    """The unit's exercises with their public laws."""
    return importlib.import_module(f"course_utils.checks.{topic}").unit
