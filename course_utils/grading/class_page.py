"""The instructor's page on a class: how the points are spread, which laws fail most, and what needs a look."""

import math
from collections import Counter
from collections.abc import Sequence
from html import escape
from statistics import mean, median

from course_utils.grading.feedback import head
from course_utils.grading.integrity import Integrity
from course_utils.grading.submission import ExerciseResult, Result

LAWS = 15  # that are listed
BINS = 10  # of the histogram of totals, at most
OUTCOMES = (  # in the order of a bar's parts; the signs say the same without colour
    ("full", "✓", "all points"),
    ("part", "◐", "some points"),
    ("wrong", "✗", "a law fails"),
    ("open", "○", "not implemented"),
    ("lost", "!", "could not be judged"),
)


def class_page(results: Sequence[Result], integrity: Integrity, lab: str) -> str:
    """HTML of a class: one file, no scripts."""
    return "\n".join(
        [
            head(f"{lab}: the class"),
            f"<h1>{escape(lab)}: the class</h1>",
            *_totals(results),
            "<h2>Exercise by exercise</h2>",
            *_exercises(results),
            "<h2>The laws that fail most</h2>",
            *_laws(results),
            "<h2>Statuses</h2>",
            *_statuses(results),
            "<h2>Work to look at</h2>",
            _suspicious(integrity),
            "</html>\n",
        ]
    )


def _judged(result: Result) -> bool:
    return any(exercise.outcome != "not read" for exercise in result.exercises)


def _totals(results: Sequence[Result]) -> list[str]:
    most = max((sum(e.max_points for e in result.exercises) for result in results), default=0)
    totals = [result.total for result in results if _judged(result)]
    if not totals or not most:
        return [f"<p>{len(results)} students; nothing could be graded.</p>"]
    width = math.ceil(most / BINS)
    counts = [0] * math.ceil(most / width)
    for total in totals:
        counts[min(len(counts) - 1, int(total / width))] += 1
    bars = "".join(
        f'<tr><th class="n">{width * i} to {min(most, width * (i + 1)):g}</th><td class="bar">{_bar(n, max(counts))}'
        f'</td><td class="n">{n}</td></tr>'
        for i, n in enumerate(counts)
    )
    spread = f"mean {mean(totals):.1f}, median {median(totals):g} of {most:g} points"
    return [
        f"<p>{len(results)} students, {len(totals)} of them graded: {spread}.</p>",
        f'<table class="chart"><caption>how many students have how many points</caption>{bars}</table>',
    ]


def _bar(count: int, most: int) -> str:
    return f'<div><span class="full count" style="width:{100 * count / max(1, most):.1f}%"></span></div>'


def kind_of(exercise: ExerciseResult) -> str:
    """Which of OUTCOMES an exercise's result is."""
    if exercise.points == exercise.max_points:
        return "full"
    if exercise.points > 0:
        return "part"
    return {"judged": "wrong", "not implemented": "open"}.get(exercise.outcome, "lost")


def _exercises(results: Sequence[Result]) -> list[str]:
    columns = list(zip(*(result.exercises for result in results if _judged(result)), strict=True))
    if not columns:
        return ["<p>Nobody's could be judged.</p>"]
    rows = []
    for column in columns:
        counts = Counter(map(kind_of, column))
        parts = "".join(
            f'<span class="{kind}" style="flex:{counts[kind]}" '
            f'title="{counts[kind]} {words}">{sign} {counts[kind]}</span>'
            for kind, sign, words in OUTCOMES
            if counts[kind]
        )
        first = column[0]
        got = mean(exercise.points for exercise in column)
        rows.append(
            f'<tr><th>{escape(first.id)} {escape(first.name)}</th><td class="bar"><div>{parts}</div></td>'
            f'<td class="n">{got:.1f} of {first.max_points:g}</td></tr>'
        )
    key = ", ".join(f'<span class="key {kind}">{sign}</span> {words}' for kind, sign, words in OUTCOMES)
    return [f'<p>{key}; on the right the mean of the points.</p><table class="chart stacked">{"".join(rows)}</table>']


def _laws(results: Sequence[Result]) -> list[str]:
    tried: Counter[tuple[str, str]] = Counter()
    failed: Counter[tuple[str, str]] = Counter()
    for result in results:
        for exercise in result.exercises:
            for law in exercise.laws:
                key = f"{exercise.id} {exercise.name}", law["name"]
                tried[key] += 1
                failed[key] += not law["passed"]
    rows = "".join(
        f"<tr><td>{escape(exercise)}</td><td>{escape(name)}</td>"
        f'<td class="n">{count} of {tried[exercise, name]}</td></tr>'
        for (exercise, name), count in failed.most_common(LAWS)
        if count
    )
    if not rows:
        return ["<p>No law failed.</p>"]
    table = f'<table><tr><th>exercise</th><th>law</th><th class="n">fails for</th></tr>{rows}</table>'
    return [f'<div class="wide">{table}</div>']


def _statuses(results: Sequence[Result]) -> list[str]:
    counts = Counter(result.status for result in results)
    rows = "".join(f'<tr><td>{escape(s)}</td><td class="n">{n}</td></tr>' for s, n in counts.most_common())
    others = "".join(
        f"<li>{escape(': '.join(filter(None, (result.student, result.status, result.message))))}</li>"
        for result in results
        if result.status != "graded"
    )
    listed = (
        f"<details><summary>those that are not simply graded</summary><ul>{others}</ul></details>" if others else ""
    )
    return [f"<table>{rows}</table>{listed}"]


def _suspicious(integrity: Integrity) -> str:
    pairs, students = len(integrity.pairs), len({finding.student for finding in integrity.findings})
    return (
        f"<p>{pairs} pair{'s' * (pairs != 1)} of submissions with the same code, {students} with code that looks "
        'elsewhere: <a href="integrity.html">the report</a>, for you to judge.</p>'
    )
