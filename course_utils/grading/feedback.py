"""The feedback page of a student: one file, readable on a phone, no scripts."""

from html import escape

from course_utils.grading.submission import ExerciseResult, Result, shown

# Blue and orange are told apart by colour-blind readers; the signs say the same without colour
STYLE = """
body{font:1rem/1.5 system-ui,sans-serif;max-width:46rem;margin:0 auto;padding:1rem;color:#1a1a1a;background:#fff}
h1{font-size:1.4rem} h2{font-size:1.1rem;margin:0} section{border-left:.3rem solid #8a8a8a;padding:.2rem 0 .2rem
.8rem;margin:1.2rem 0} section.full{border-color:#0072b2} section.wrong{border-color:#d55e00}
ul{list-style:none;padding-left:0} li{margin:.5rem 0} dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem
.8rem;margin:.2rem 0 .2rem 1.2rem} dt{color:#555} dd{margin:0} code,pre{font:.85rem/1.45
ui-monospace,monospace;overflow-wrap:anywhere} pre{white-space:pre-wrap;background:#f4f4f4;padding:.6rem}
table{border-collapse:collapse} td,th{text-align:left;padding:.15rem .8rem .15rem 0} td.n,th.n{text-align:right}
@media(prefers-color-scheme:dark){body{color:#e8e8e8;background:#181818} pre{background:#262626} dt{color:#b0b0b0}}
"""


def feedback_page(result: Result, lab: str) -> str:
    """HTML of a result: exercise by exercise, law by law. All that a student wrote is escaped."""
    total = f"{result.total:g} of {sum(exercise.max_points for exercise in result.exercises):g} points"
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        # Whatever might slip through the escaping still could not run or load anything
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<title>{escape(lab)}: {escape(result.student)}</title><style>{STYLE}</style>",
        f"<h1>{escape(lab)}: {escape(result.student)}</h1>",
        f"<p><b>{total}</b>, {escape(result.status)}{escape(': ' + result.message) if result.message else ''}.</p>",
    ]
    if result.notes:
        parts.append("<ul>" + "".join(f"<li>{escape(note)}</li>" for note in result.notes) + "</ul>")
    rows = "".join(
        f'<tr><td>{_sign(e)[0]}</td><td>{escape(e.id)} {escape(e.name)}</td><td class="n">{e.points:g} of '
        f"{e.max_points:g}</td></tr>"
        for e in result.exercises
    )
    parts.append(f'<table><tr><th></th><th>exercise</th><th class="n">points</th></tr>{rows}</table>')
    parts += [_exercise(exercise) for exercise in result.exercises]
    parts.append(
        "<p>Grading draws new inputs. The checks in the lab try the same laws on inputs that they show you.</p>"
    )
    return "\n".join(parts) + "</html>\n"


def _sign(exercise: ExerciseResult) -> tuple[str, str]:
    if exercise.points == exercise.max_points:
        return "✓", "full"
    return ("✗", "wrong") if exercise.outcome == "judged" else ("○", "open")


def _exercise(exercise: ExerciseResult) -> str:
    sign, style = _sign(exercise)
    head = (
        f"{sign} {escape(exercise.id)} {escape(exercise.name)}: {exercise.points:g} of {exercise.max_points:g} points"
    )
    parts = [f'<section class="{style}"><h2>{head}</h2>']
    if exercise.outcome not in ("judged", "not implemented"):
        parts.append(f"<p><b>{escape(exercise.outcome)}</b></p>")
    if exercise.note:
        parts.append(f"<p>{escape(exercise.note)}</p>")
    if exercise.laws:
        parts.append("<ul>" + "".join(map(_law, exercise.laws)) + "</ul>")
    if exercise.code:
        code = "\n\n".join(escape(str(source)) for *_, source in exercise.code)
        parts.append(f"<details><summary>your code, as it was graded</summary><pre>{code}</pre></details>")
    return "".join(parts) + "</section>"


def _law(law: dict) -> str:
    text = f"<li><b>{'✓' if law['passed'] else '✗'}</b> {escape(law['name'])}"
    if law["passed"]:
        return text + "</li>"
    if law["message"]:
        text += f": <b>{escape(law['message'])}</b>"
    rows = "".join(
        f"<dt>{label}</dt><dd>{f'<code>{escape(law[label])}</code>' if label != 'hint' else escape(law[label])}</dd>"
        for label in shown(law)
    )
    return text + (f"<dl>{rows}</dl>" if rows else "") + "</li>"
