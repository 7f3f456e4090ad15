"""The feedback page of a student: one file, readable on a phone, no scripts."""

from html import escape

from course_utils.grading.submission import ExerciseResult, Result, shown

MAX_CODE = 20_000  # characters of a student's code that are shown with an exercise

# Colours that colour-blind readers tell apart (Okabe and Ito); the signs say the same without colour
STYLE = """
:root{--full:#0072b2;--part:#56b4e9;--wrong:#d55e00;--open:#8a8a8a;--lost:#e69f00;--text:#1a1a1a;--quiet:#555;
--page:#fff;--code:#f4f4f4;color-scheme:light dark}
@media(prefers-color-scheme:dark){:root{--text:#e8e8e8;--quiet:#b0b0b0;--page:#181818;--code:#262626}}
body{font:1rem/1.5 system-ui,sans-serif;max-width:46rem;margin:0 auto;padding:1rem;color:var(--text);
background:var(--page);overflow-wrap:anywhere}
h1{font-size:1.4rem} h2{font-size:1.1rem;margin:1.6rem 0 .3rem} section h2{margin:0}
section{border-left:.3rem solid var(--open);padding:.2rem 0 .2rem .8rem;margin:1.2rem 0}
section.full{border-color:var(--full)} section.wrong{border-color:var(--wrong)} section.part{border-color:var(--part)}
ul{list-style:none;padding-left:0} li{margin:.5rem 0} summary{cursor:pointer;padding:.3rem 0}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem .8rem;margin:.2rem 0 .2rem 1.2rem}
dt{color:var(--quiet)} dd{margin:0}
code,pre{font:.85rem/1.45 ui-monospace,monospace} pre{white-space:pre-wrap;background:var(--code);padding:.6rem}
table{border-collapse:collapse} caption{text-align:left;color:var(--quiet)}
td,th{text-align:left;padding:.15rem .8rem .15rem 0;vertical-align:top} td.n,th.n{text-align:right;white-space:nowrap}
.wide{overflow-x:auto} .wide td{min-width:6rem} .pair{display:grid;grid-template-columns:1fr 1fr;gap:.5rem}
.chart{width:100%} .chart th{font-weight:normal;width:1%;white-space:nowrap} .bar{width:70%} .bar div{display:flex}
.bar span{overflow:hidden;white-space:nowrap;height:1.5rem;line-height:1.5rem;color:#fff;font-size:.8rem;
text-indent:.3rem;min-width:2.2rem} .bar span.count{min-width:0}
span.full{background:var(--full)} span.part{background:var(--part);color:#000!important} span.wrong{background:
var(--wrong)} span.open{background:var(--open)} span.lost{background:var(--lost);color:#000!important}
.key{color:#fff;padding:0 .35rem}
@media(max-width:40rem){.stacked tr{display:grid;grid-template-columns:1fr auto} .stacked td.bar{grid-row:2;
grid-column:1/3;width:auto} .stacked th{width:auto;white-space:normal}
.pair{grid-template-columns:1fr} dl{grid-template-columns:1fr;margin-left:.4rem}}
"""


def head(title: str) -> str:
    """The beginning of a page: nothing that it shows can run or load anything, whatever may slip through escaping."""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{escape(title)}</title><style>{STYLE}</style>"
    )


def feedback_page(result: Result, lab: str) -> str:
    """HTML of a result: exercise by exercise, law by law. All that a student wrote is escaped."""
    total = f"{result.total:g} of {sum(exercise.max_points for exercise in result.exercises):g} points"
    parts = [
        head(f"{lab}: {result.student}"),
        f"<h1>{escape(lab)}: {escape(result.student)}</h1>",
        f"<p><b>{total}</b>, {escape(result.status)}{escape(': ' + result.message) if result.message else ''}.</p>",
    ]
    if result.notes:
        parts.append("<ul>" + "".join(f"<li>{escape(note)}</li>" for note in result.notes) + "</ul>")
    rows = "".join(
        f'<tr><td>{sign(e)[0]}</td><td>{escape(e.id)} {escape(e.name)}</td><td class="n">{e.points:g} of '
        f"{e.max_points:g}</td></tr>"
        for e in result.exercises
    )
    parts.append(f'<table><tr><th></th><th>exercise</th><th class="n">points</th></tr>{rows}</table>')
    parts += [_exercise(exercise) for exercise in result.exercises]
    parts.append(
        "<p>Grading draws new inputs. The checks in the lab try the same laws on inputs that they show you.</p>"
    )
    return "\n".join(parts) + "</html>\n"


def sign(exercise: ExerciseResult) -> tuple[str, str]:
    """How an exercise went, in one character and in a word."""
    if exercise.points == exercise.max_points:
        return "✓", "full"
    if exercise.points > 0:
        return "◐", "part"
    return ("✗", "wrong") if exercise.outcome == "judged" else ("○", "open")


def _exercise(exercise: ExerciseResult) -> str:
    mark, style = sign(exercise)
    head = (
        f"{mark} {escape(exercise.id)} {escape(exercise.name)}: {exercise.points:g} of {exercise.max_points:g} points"
    )
    parts = [f'<section class="{style}"><h2>{head}</h2>']
    if exercise.outcome not in ("judged", "not implemented"):
        parts.append(f"<p><b>{escape(exercise.outcome)}</b></p>")
    if exercise.note:
        parts.append(f"<p>{escape(exercise.note)}</p>")
    if exercise.laws:
        parts.append("<ul>" + "".join(map(_law, exercise.laws)) + "</ul>")
    if exercise.code:
        code = "\n\n".join(str(source) for *_, source in exercise.code)
        shown = escape(code[:MAX_CODE] + "\n…" * (len(code) > MAX_CODE))
        parts.append(f"<details><summary>your code, as it was graded</summary><pre>{shown}</pre></details>")
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
