"""The map of the course: a Markdown table of its units, made from what is there, in the pages that show it."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from course_utils.notebooks import cloud, plans
from course_utils.units import ROOT, load_unit, rooms, unit_name

BEGIN, END = "<!-- map -->", "<!-- end of map -->"
PAGES = (Path("README.md"), Path("labs") / "START.md")
ROW = re.compile(r"^\| (\d\d) \| (.+?) \|", re.MULTILINE)


def course_map(folder: Path, root: Path = ROOT, planned: Mapping[int, str] | None = None) -> str:
    """The table of all units, with links that work from a page in `folder`; what is not in `root` is 'to come'.

    planned: titles by number, for units that have no room here.
    """
    titles = dict(planned or {}) | {room.number: room.title for room in rooms().values()}
    topics = {room.number: topic for topic, room in rooms().items()}
    table = ["| No. | Unit | Lecture | Lab | Exercises |", "|---|---|---|---|---|"]
    for number, title in sorted(titles.items()):
        lecture = lab = work = ""
        if number in topics:
            name = unit_name(topics[number])
            lecture = link("lecture", root / "lectures" / f"{name}.ipynb", folder)
            lab = link("lab", root / "labs" / name / f"{name}.ipynb", folder)
            work = effort(topics[number]) if lab else ""
        table.append(f"| {number:02d} | {title} | {lecture or 'to come'} | {lab or 'to come'} | {work} |")
    return "\n".join(table)


def link(text: str, target: Path, folder: Path) -> str:
    """A Markdown link from a page in `folder`; nothing if there is no such file."""
    return f"[{text}]({Path(os.path.relpath(target, folder)).as_posix()})" if target.exists() else ""


def effort(topic: str) -> str:
    """'6 exercises, 16 points, about 80 minutes'."""
    exercises = load_unit(topic).exercises
    points, minutes = sum(e.points for e in exercises), sum(e.minutes for e in exercises)
    return f"{len(exercises)} exercises, {points} points, about {minutes} minutes"


def with_map(page: Path, root: Path = ROOT) -> str:
    """The text of a page with the map between its two marks. Units that it names and that have no room here stay."""
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    table, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} has no place for the map: put {BEGIN} and {END} on lines of their own.")
    planned = {int(number): title for number, title in ROW.findall(table)}
    return f"{before}{BEGIN}\n{course_map(page.parent, root, planned)}\n{END}{after}"


def refresh_maps(root: Path = ROOT, *, check_only: bool = False) -> bool:
    """Write map, plans and what opens labs in the cloud where they stand. With `check_only`, say what is stale; whether
    nothing is."""
    console, current = Console(stderr=True), True
    pages = {root / name: with_map(root / name, root) for name in PAGES}
    readme, guide, repository = root / PAGES[0], root / plans.PAGE, cloud.repository(root)
    pages[readme] = cloud.with_cloud(pages[readme], repository)
    pages[guide] = plans.with_plans(guide.read_text(encoding="utf-8"))
    shown = dict.fromkeys(pages, "the map of the course") | {guide: "the plans"}
    for lab in [path for path in sorted((root / "labs").glob("*/*.ipynb")) if path.stem == path.parent.name]:
        pages[lab] = cloud.with_first_cells(lab.read_text(encoding="utf-8"), repository, lab.relative_to(root))
    for page, text in pages.items():
        what = f"{shown.get(page, 'the cells for the cloud')} in {page.relative_to(root)}"
        if text == page.read_text(encoding="utf-8"):
            continue
        if check_only:
            console.print(f"stale: {what}", highlight=False)
            current = False
        else:
            page.write_text(text, encoding="utf-8")
            console.print(f"renewed {what}", highlight=False)
    return current
