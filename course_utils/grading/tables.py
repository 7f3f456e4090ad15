"""What a class's results are written to beside the feedback pages: grades.csv and the two pages for the instructor."""

import csv
import json
import re
import tempfile
from collections.abc import Sequence

from course_utils.grading.class_page import class_page
from course_utils.grading.collect import Submission
from course_utils.grading.integrity import examine, integrity_page
from course_utils.grading.submission import Result
from course_utils.grading.work import Work, write
from course_utils.units import load_unit

CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def spreadsheet_text(text: str) -> str:
    """A text that no spreadsheet takes for a formula, and no terminal for a command."""
    text = CONTROL.sub("�", text)
    return "'" + text if text.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else text


def read_results(work: Work, found: Sequence[Submission]) -> list[Result]:
    """The result of each submission."""
    return [Result.from_json(json.loads(work.result_path(each.student).read_bytes())) for each in found]


def write_pages(work: Work, found: Sequence[Submission]) -> None:
    """Write the two pages for the instructor, on the class and on work to look at."""
    results = read_results(work, found)
    report = examine(work.topic, results)
    for name, page in (
        ("class", class_page(results, report, work.lab)),
        ("integrity", integrity_page(report, work.lab)),
    ):
        write(work.out / f"{name}.html", page.encode("utf-8", "backslashreplace"))


def write_table(work: Work, found: Sequence[Submission]) -> list[list[str]]:
    """Write grades.csv from the result files; returns its rows."""
    head = ["student", "status", *(f"{e.id} {e.name}" for e in load_unit(work.topic).exercises), "total"]
    rows = []
    for result in read_results(work, found):
        status = f"{result.status}: {result.message}" if result.message else result.status
        points = [f"{exercise.points:g}" for exercise in result.exercises]
        rows.append([spreadsheet_text(result.student), spreadsheet_text(status), *points, f"{result.total:g}"])
    with tempfile.TemporaryFile("w+", newline="", encoding="utf-8", errors="backslashreplace") as file:
        csv.writer(file).writerows([head, *rows])
        file.seek(0)
        write(work.out / "grades.csv", file.read().encode())
    return rows
