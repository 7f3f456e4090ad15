"""The map of the course: a Markdown table of its units, made from what is there, in the pages that show it."""

import os
from pathlib import Path

from rich.console import Console

from course_utils.units import ROOT, TOPICS, load_unit, unit_name

BEGIN, END = "<!-- map -->", "<!-- end of map -->"
PAGES = (Path("README.md"), Path("labs") / "START.md")
TITLES = {
    "budget": "Budget: why small, and how to measure it",
    "distillation": "Distillation",
    "saliency": "Pruning criteria and Optimal Brain Damage",
    "deep_compression": "Deep Compression",
    "structured": "Structured sparsity",
    "binary": "Binary neural networks",
    "dynamic": "Dynamic inference",
    "lottery": "Lottery tickets",
    "regroup": "Tickets on hardware",
    "sparse_training": "Dynamic sparse training",
    "moe": "Mixture of experts",
    "transfer": "Sparse transfer",
    "robustness": "Sparsity and robustness",
    "theory": "Theory",
    "text_spotting": "Capstone: text spotting",
}


def course_map(folder: Path, root: Path = ROOT) -> str:
    """The table of all units, with links that work from a page in `folder`; what is not in `root` is 'to come'."""
    rows = ["|   | Unit | Lecture | Lab | Exercises |", "|---|---|---|---|---|"]
    for number, topic in enumerate(TOPICS):
        name = unit_name(topic)
        lecture = link("lecture", root / "lectures" / f"{name}.ipynb", folder)
        lab = link("lab", root / "labs" / name / f"{name}.ipynb", folder)
        work = effort(topic) if lab else ""
        rows.append(f"| {number:02d} | {TITLES[topic]} | {lecture or 'to come'} | {lab or 'to come'} | {work} |")
    return "\n".join(rows)


def link(text: str, target: Path, folder: Path) -> str:
    """A Markdown link from a page in `folder`; nothing if there is no such file."""
    return f"[{text}]({Path(os.path.relpath(target, folder)).as_posix()})" if target.exists() else ""


def effort(topic: str) -> str:
    """'6 exercises, 16 points, about 80 minutes'."""
    exercises = load_unit(topic).exercises
    points, minutes = sum(e.points for e in exercises), sum(e.minutes for e in exercises)
    return f"{len(exercises)} exercises, {points} points, about {minutes} minutes"


def with_map(page: Path, root: Path = ROOT) -> str:
    """The text of a page with the map between its two marks."""
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} has no place for the map: put {BEGIN} and {END} on lines of their own.")
    return f"{before}{BEGIN}\n{course_map(page.parent, root)}\n{END}{after}"


def refresh_maps(root: Path = ROOT, *, check_only: bool = False) -> bool:
    """Write the map into the pages that show it. With `check_only`, say which are stale and return whether none is."""
    console, current = Console(stderr=True), True
    for page in (root / name for name in PAGES):
        text = with_map(page, root)
        if text == page.read_text(encoding="utf-8"):
            continue
        if check_only:
            console.print(f"stale: the map of the course in {page.relative_to(root)}", highlight=False)
            current = False
        else:
            page.write_text(text, encoding="utf-8")
            console.print(f"wrote the map of the course into {page.relative_to(root)}", highlight=False)
    return current
