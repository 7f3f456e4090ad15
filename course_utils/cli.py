"""The `course` command. Each subcommand only reads its arguments here; the work is done in the module it names."""

import codecs
import gc
import io
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from course_utils.lab import some_home
from course_utils.units import PACKAGE

app = typer.Typer(
    name="course",
    help="Deep Learning on a Budget: open a lab, check it, build the notebooks, grade a class, rerun the experiments.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
errors = Console(stderr=True)
INTERRUPTED = 130
# What terminals show that know no such signs: Windows' in cp1252, or a pipe in ASCII
PLAIN_SIGNS = str.maketrans(
    {"✓": "+", "✗": "x", "◐": "~", "○": "o", "…": "...", "−": "-", "–": "-", "×": "x", "·": ".", "≤": "<=", "≥": ">="}
)


class CourseError(Exception):
    """A failure explained in one sentence, what is wrong and what to do; `course` shows it without a traceback."""


def not_in_a_kit(command: str) -> None:
    """CourseError if this is a student kit, which lacks what the command needs."""
    if not (PACKAGE / "grading" / "run.py").exists():
        raise CourseError(f"This is a student kit: `course {command}` works in a clone of the course.")


@app.callback()
def options(debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False) -> None:
    """Options of every command; `main` reads --debug itself, wherever it stands."""


@app.command(context_settings={"ignore_unknown_options": True})
@some_home()
def lab(
    args: Annotated[
        list[str] | None, typer.Argument(help="Arguments for JupyterLab, such as --no-browser or --port=9000.")
    ] = None,
) -> None:
    """Open JupyterLab in the course's folder."""
    from course_utils.lab import open_lab

    raise typer.Exit(open_lab(args or []))


@app.command()
def check(
    lab: Annotated[str, typer.Argument(help="A lab's name, its folder or a notebook file, anywhere on disk.")],
) -> None:
    """Run a lab's checks on the functions in a notebook, and say which exercises hold."""
    gc.disable()  # importing makes no garbage: to look for it takes a tenth of a second
    from course_utils.notebooks.check import check_lab

    gc.freeze()
    gc.enable()
    raise typer.Exit(0 if check_lab(lab) else 1)


@app.command()
def progress(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
) -> None:
    """Say of every lab here which exercises hold in its saved notebook, and what to do next."""
    from course_utils.notebooks.standing import show_progress

    raise typer.Exit(0 if show_progress(as_json=as_json) else 1)


@app.command()
def slides(
    unit: Annotated[str, typer.Argument(help="A unit's name, topic or number.")],
    out: Annotated[Path | None, typer.Option(help="The file to write; NN_topic.html here, if left out.")] = None,
    pdf: Annotated[bool, typer.Option("--pdf", help="Print a PDF by Chromium, in place of HTML.")] = False,
) -> None:
    """Make a lecture's slides: one HTML file. Key S opens the speaker's notes, F fills the screen."""
    not_in_a_kit("slides")
    from course_utils.slides import make_slides

    print(make_slides(unit, out, pdf))


@app.command()
@some_home()
def build(
    unit: Annotated[str | None, typer.Argument(help="A unit's name, topic or number; all units if left out.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Build nothing; say what is stale.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Build also what is up to date.")] = False,
) -> None:
    """Build solutions, labs and lectures from their text sources, and the map of the course."""
    not_in_a_kit("build")
    from course_utils.notebooks.build import build_units
    from course_utils.notebooks.course_map import refresh_maps

    built = build_units(unit, check_only=check, force=force)
    current = refresh_maps(check_only=check)
    raise typer.Exit(0 if built and current else 1)


@app.command()
def release(
    through: Annotated[int, typer.Option(help="The number of the last unit to hand out.")],
    out: Annotated[Path, typer.Option(help="The folder to write the student kit to.")],
) -> None:
    """Write a student kit: labs and lectures up to a unit, without solutions."""
    from course_utils.notebooks.kit import write_kit

    write_kit(through, out)


@app.command()
@some_home()
def grade(
    lab: Annotated[str, typer.Argument(help="The lab's name, topic or number.")],
    submissions: Annotated[Path, typer.Argument(help="A folder of STUDENT/LAB/LAB.ipynb or STUDENT.ipynb.")],
    out: Annotated[Path, typer.Option(help="The folder to write grades.csv and the feedback pages to.")],
    seed: Annotated[int | None, typer.Option(help="The secret seed of the hidden inputs; kept in --out.")] = None,
    workers: Annotated[int | None, typer.Option(help="Submissions graded at the same time; one per core.")] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Run without a sandbox; only for code that you trust.")
    ] = False,
    scheduler: Annotated[
        str | None, typer.Option(help="The address of a Dask scheduler whose workers grade, as tcp://host:8786.")
    ] = None,
    gradebook: Annotated[
        str | None, typer.Option(help="Enter the results into this nbgrader gradebook too: gradebook.db, or a URL.")
    ] = None,
) -> None:
    """Grade a class outside the students' processes; write grades.csv and one feedback page per student."""
    not_in_a_kit("grade")
    from course_utils.grading.run import grade_class

    settings = {"seed": seed, "workers": workers, "trust": trust, "scheduler": scheduler}
    done = grade_class(lab, submissions, out, **settings)
    if gradebook is not None:
        from course_utils.grading.gradebook import save_class

        save_class(lab, submissions, out, gradebook)
    raise typer.Exit(0 if done else 1)


@app.command()
@some_home()
def export(
    platform: Annotated[str, typer.Argument(help="Who imports the file: canvas or moodle.")],
    gradebook: Annotated[str, typer.Argument(help="nbgrader's gradebook.db, or its URL.")],
    out: Annotated[Path, typer.Option(help="The CSV file to write.")],
    lab: Annotated[str | None, typer.Option(help="Only this lab; all labs if left out.")] = None,
) -> None:
    """Write the grades in a gradebook as Canvas or Moodle imports them."""
    from course_utils.grading.export import export_grades

    export_grades(platform, gradebook, out, lab)


@app.command()
def reproduce(
    name: Annotated[str, typer.Argument(help="What to rerun at paper scale, such as 'distillation'.")],
    seeds: Annotated[int, typer.Option(help="How many seeds.")] = 3,
    out: Annotated[Path | None, typer.Option(help="Where to store the results; lectures/results if left out.")] = None,
    workers: Annotated[int, typer.Option(help="Processes at work at the same time, each with one thread.")] = 1,
    scheduler: Annotated[
        str | None, typer.Option(help="The address of a Dask scheduler whose workers compute, as tcp://host:8786.")
    ] = None,
) -> None:
    """Rerun a paper's experiment at its own scale, and store the results as JSON.

    What is done is stored at once: a run that was stopped goes on with the same command.
    """
    from course_utils.reproduce import reproduce_experiment

    reproduce_experiment(name, seeds=seeds, out=out, workers=workers, scheduler=scheduler)


@app.command()
def doctor() -> None:
    """Say in plain words whether this machine can run the course."""
    from course_utils.doctor import examine

    raise typer.Exit(0 if examine() else 1)


def plain_signs(error: UnicodeError) -> tuple[str, int]:
    """A codec's error handler: what cannot be written is replaced by a sign that can, or by a question mark."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    signs = error.object[error.start : error.end].translate(PLAIN_SIGNS)
    return "".join(sign if sign.isascii() else "?" for sign in signs), error.end


codecs.register_error("plain_signs", plain_signs)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; turn an expected failure into one sentence and exit status 1."""
    argv = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in argv
    argv = [word for word in argv if word != "--debug"]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="plain_signs")
    try:
        return app(argv, prog_name="course", standalone_mode=True) or 0
    except SystemExit as ended:
        if ended.code == INTERRUPTED:  # what typer makes of Ctrl-C
            errors.print("Stopped. What was finished is kept: the same command goes on from there.")
        raise
    except (CourseError, ValueError, OSError, ImportError) as error:
        if debug:
            raise
        errors.print(f"[bold]course:[/bold] {escape(str(error))}", highlight=False, soft_wrap=True)
        return 1


if __name__ == "__main__":
    sys.exit(main())
