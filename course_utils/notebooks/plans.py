"""Plans for a term, half a term and a weekend, from the labs' own minutes; INSTRUCTORS.md shows them."""

import itertools
import re
from collections.abc import Sequence
from pathlib import Path

from course_utils.units import PACKAGE, available, lab_path, load_unit, rooms, unit_number

PAGE = Path("INSTRUCTORS.md")
BEGIN, END = "<!-- plans -->", "<!-- end of plans -->"
IMPORT = re.compile(r"^\s*(?:from|import) course_utils[^\n(]*(?:\([^)]*\))?", re.MULTILINE)
WEEKEND = ("budget", "distillation", "saliency", "deep_compression", "lottery")
HALF_DAYS = ("Saturday morning", "Saturday afternoon", "Sunday morning", "Sunday afternoon")


def minutes(topic: str) -> int:
    """What a unit's exercises are said to take."""
    return sum(exercise.minutes for exercise in load_unit(topic).exercises)


def uses(topic: str) -> list[str]:
    """The units whose functions a unit's room imports, but for its laws."""
    texts = [path.read_text(encoding="utf-8") for path in (PACKAGE / topic).glob("*.py") if path.stem != "laws"]
    imports = "\n".join(IMPORT.findall("\n".join(texts)))
    return [other for other in available() if other != topic and re.search(rf"\b{other}\b", imports)]


def divide(lengths: Sequence[float], parts: int) -> list[list[int]]:
    """Places 0, 1, … in as many runs of neighbours: the longest as short as can be, then all as even as can be.

    Where there are more parts than lengths, the last are empty.
    """
    full = min(parts, len(lengths))
    cuts = ((0, *inner, len(lengths)) for inner in itertools.combinations(range(1, len(lengths)), full - 1))

    def unevenness(cut: tuple[int, ...]) -> tuple[float, float]:
        sums = [sum(lengths[a:b]) for a, b in itertools.pairwise(cut)]
        return max(sums), sum(each * each for each in sums)

    best = min(cuts, key=unevenness)
    return [list(range(a, b)) for a, b in itertools.pairwise(best)] + [[]] * (parts - full)


def hours(topics: Sequence[str]) -> str:
    """'2.5', in half hours, rounded up."""
    halves = -(-sum(map(minutes, topics)) // 30)
    return f"{halves / 2:g}"


def plan(heading: str, topics: Sequence[str], places: Sequence[str]) -> str:
    """A Markdown table: which units in which week, or half day, and the hours of their labs' exercises."""
    lines = [f"| {heading} | Units | Hours of exercises |", "|---|---|---|"]
    for place, group in zip(places, divide([minutes(topic) for topic in topics], len(places)), strict=True):
        chosen = [topics[each] for each in group]
        titles = " · ".join(f"{unit_number(topic):02d} {rooms()[topic].title}" for topic in chosen)
        lines.append(f"| {place} | {titles or 'to catch up'} | {hours(chosen) if chosen else ''} |")
    return "\n".join(lines)


def plans() -> str:
    """What INSTRUCTORS.md shows between its marks: three plans, and what each unit uses."""
    topics = [topic for topic in available() if lab_path(topic).exists()]
    short = [topic for topic in topics if topic in WEEKEND]
    lines = ["| Unit | Hours of exercises | Uses functions of |", "|---|---|---|"]
    for topic in topics:
        numbers = ", ".join(f"{unit_number(other):02d}" for other in uses(topic))
        lines.append(f"| {unit_number(topic):02d} {rooms()[topic].title} | {hours([topic])} | {numbers} |")
    parts = [
        ("A term of 14 weeks", plan("Week", topics, [str(week) for week in range(1, 15)])),
        ("Seven weeks", plan("Week", topics, [str(week) for week in range(1, 8)])),
        ("A weekend", plan("Half day", short, HALF_DAYS)),
        ("What each unit presupposes", "\n".join(lines)),
    ]
    return "\n\n".join(f"### {title}\n\n{table}" for title, table in parts)


def with_plans(text: str) -> str:
    """The text of the page with the plans as they are now. ValueError if it has no place for them."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE} has no place for the plans: put {BEGIN} and {END} on lines of their own.")
    return f"{before}{BEGIN}\n{plans()}\n{END}{after}"
