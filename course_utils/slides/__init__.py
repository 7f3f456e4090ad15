"""A lecture's slides: one HTML file with reveal.js, MathJax and all pictures in it, or a PDF of it."""

import importlib.metadata
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from pygments.formatters import HtmlFormatter

from course_utils.notebooks.build import assemble
from course_utils.slides.outline import Slide, markdown, outline
from course_utils.units import find_topic, lecture_source, load_unit, rooms, unit_name

HERE = Path(__file__).parent
WIDTH, HEIGHT = 1280, 720  # pixels of a slide
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome", "msedge")
PDF_SECONDS = 120


def make_slides(unit: str, out: Path | None = None, pdf: bool = False) -> Path:
    """Write the slides of a unit, its name, topic or number, to a file; return its path.

    ValueError, a sentence, if there is no such unit, its lecture is not built, or what a PDF needs is missing.
    """
    topic = find_topic(unit)
    path = (out or Path(f"{unit_name(topic)}.{'pdf' if pdf else 'html'}")).absolute()
    if not path.parent.is_dir():
        raise ValueError(f"There is no folder {path.parent}: make it first, or give another --out.")
    slides = outline(lecture(topic), {exercise.name: exercise for exercise in load_unit(topic).exercises})
    title = f"{unit_name(topic)[:2]} · {rooms()[topic].title}"
    if not pdf:
        path.write_text(page(slides, title), encoding="utf-8")
        return path
    with tempfile.TemporaryDirectory(prefix="course-slides-") as folder:
        (Path(folder) / "slides.html").write_text(page(slides, title, printed=True), encoding="utf-8")
        print_pdf(Path(folder) / "slides.html", path)
    return path


def lecture(topic: str) -> NotebookNode:
    """The lecture as its source has it, cells that are only for slides among them, with the built one's outputs."""
    source = lecture_source(topic)
    built = source.with_suffix(".ipynb")
    if not built.exists():
        raise ValueError(f"Lecture {unit_name(topic)} is not built: run `course build {unit_name(topic)[:2]}` first.")
    outputs = {cell.id: cell.get("outputs", []) for cell in nbformat.read(built, as_version=4).cells}
    notebook = assemble(source, topic, slides=True)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = outputs.get(cell.id, [])
    return notebook


def page(slides: list[Slide], title: str, printed: bool = False) -> str:
    """Slides as one HTML file that asks for nothing else; to be printed, it shows all of them at once."""
    styles = HtmlFormatter().get_style_defs(".code") + read("slides.css")
    parts = {
        "TITLE": title,
        "STYLES": styles if printed else read("reveal/reveal.css") + styles,
        "SECTIONS": "\n".join(map(section, slides)),
        "REVEAL": "" if printed else read("reveal/reveal.js"),
        "NOTES": "" if printed else read("reveal/notes.js"),
        "MATHJAX": mathjax(),
    }
    text = read("page.html")
    for name, value in parts.items():
        text = text.replace(f"<!--{name}-->", value if name in ("TITLE", "STYLES", "SECTIONS") else harmless(value))
    return text


def section(slide: Slide) -> str:
    notes = "".join(markdown(text) for text in slide.notes)
    head = f"<h2>{markdown(slide.title).removeprefix('<p>').removesuffix('</p>')}</h2>"
    return (
        f'<section><div class="page {slide.kind}">{head}<div class="body">{slide.body}</div></div>'
        f'<aside class="notes">{notes}</aside></section>'
    )


def harmless(script: str) -> str:
    """A script as it may stand in a page."""
    return script.replace("</script", "<\\/script")


def read(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def mathjax() -> str:
    """MathJax with all that it may load, from the package of the extra `site`."""
    try:
        package = importlib.metadata.distribution("sphinx-mathjax-offline")
    except importlib.metadata.PackageNotFoundError:
        raise ValueError("Slides need MathJax: install it by `pip install sphinx-mathjax-offline`.") from None
    name = "sphinx-mathjax-offline/static/mathjax/tex-svg-full.js"
    return Path(str(package.locate_file(name))).read_text(encoding="utf-8")


def browser_program() -> str | None:
    """Chromium, or what is built on it; None if there is none among the commands."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def print_pdf(source: Path, path: Path) -> None:
    """Print slides by Chromium, one page each. What stands at `path` is kept if that fails."""
    browser, made = browser_program(), source.with_suffix(".pdf")
    if browser is None:
        raise ValueError("A PDF is printed by Chromium or Chrome: install one, or leave --pdf out.")
    options = ["--headless", "--disable-gpu", "--no-pdf-header-footer", "--virtual-time-budget=20000"]
    options += [f"--user-data-dir={source.parent / 'profile'}", f"--print-to-pdf={made}"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options.append("--no-sandbox")  # without which Chromium does not start for root
    try:
        done = subprocess.run(
            [browser, *options, source.as_uri()], capture_output=True, timeout=PDF_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise ValueError(f"{browser} did not print the slides in {PDF_SECONDS} seconds: try again.") from None
    if done.returncode or not made.exists():
        raise ValueError(f"{browser} could not print the slides: {done.stderr.decode(errors='replace')[-200:]}")
    shutil.move(made, path)
