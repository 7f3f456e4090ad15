"""A student's morning, in a real browser: `course lab`, open a lab, Run All, move a slider."""

import ast
import contextlib
import itertools
import json
import os
import re
import shutil
import symtable
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

from course_utils import units
from course_utils.notebooks.build import assemble, kernel_environment, lab_path, lecture_source, solution_source
from course_utils.slides import BROWSERS, browser_program
from course_utils.units import unit_name
from tests.notebooks.browser import (
    MARK_CELL,
    REDRAW_SECONDS,
    RUN_SECONDS,
    START_SECONDS,
    TOKEN,
    course_lab,
    errors,
    headless_browser,
    open_beside,
    open_notebook,
    run_all,
    tagged,
    text_of,
    wait_for_kernel,
)

LABS = [topic for topic in units.available() if lab_path(topic).exists()]
LECTURES = [topic for topic in units.available() if lecture_source(topic).with_suffix(".ipynb").exists()]


def some(topics: list[str]) -> list:
    """Every fifth for `make test`, the others for `make prove`."""
    return [pytest.param(topic, marks=[pytest.mark.proof] * (place % 5 > 0)) for place, topic in enumerate(topics)]


@contextlib.contextmanager
def lab_browser() -> Iterator:
    if browser_program() is None and not os.environ.get("CI"):
        pytest.skip("there is no Chromium or Chrome on this machine: install one to test the labs in JupyterLab")
    assert browser_program(), f"CI must have a browser: one of {', '.join(BROWSERS)}"
    with headless_browser() as chromium:
        yield chromium


@contextlib.contextmanager
def new_page(browser) -> Iterator:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    yield page
    # Kernels of this test must not take the cores from the next one
    page.evaluate("() => window.jupyterapp?.serviceManager.sessions.shutdownAll()")
    context.close()


@pytest.fixture
def page():
    """A browser for each test: one that dies takes no other test with it."""
    with lab_browser() as browser, new_page(browser) as page:
        yield page


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[tuple[str, Path]]:
    """A JupyterLab in a folder of its own: its address and that folder."""
    folder = tmp_path_factory.mktemp("course")
    with course_lab(folder, tmp_path_factory.mktemp("elsewhere")) as address:
        yield address, folder


def filled(lab: Path, solution: Path) -> NotebookNode:
    """A lab with the solutions in it: what a student hands in who did everything."""
    answers = {cell.id: cell.source for cell in nbformat.read(solution, as_version=4).cells}
    notebook = nbformat.read(lab, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code" and "exercise" in cell.metadata.get("tags", []):
            cell.source = answers[cell.id]
    return notebook


@pytest.mark.slow
def test_start_page_shows_the_map_and_its_links_open_labs(server, page):
    address, folder = server
    shutil.copytree(units.ROOT / "labs", folder / "labs", dirs_exist_ok=True)
    page.goto(f"{address}/?token={TOKEN}")  # where the address that `course lab` prints leads
    start = page.locator(".jp-MarkdownViewer")
    start.get_by_role("heading", name="How a lab works").wait_for(timeout=START_SECONDS * 1000)
    assert start.locator("table").first.locator("tbody tr").count() >= len(units.available())
    if LABS:
        start.get_by_role("link", name="lab", exact=True).first.click()
        page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=START_SECONDS * 1000)
        wait_for_kernel(page)
        assert page.url.endswith(f"labs/{unit_name(LABS[0])}/{unit_name(LABS[0])}.ipynb")


@pytest.fixture(scope="module")
def untouched(request, tmp_path_factory) -> dict[str, list[NotebookNode]]:
    """Code cells of the labs that nobody has worked on, but for the last, which runs `course check`: test_check.py has
    that. They ran in one kernel, which forgets one lab before the next."""
    labs = {}
    here = [item for item in request.session.items if item.path == request.path]
    asked = {item.callspec.params["topic"] for item in here if "untouched" in item.fixturenames}
    for topic in [topic for topic in LABS if topic in asked]:
        *cells, last = nbformat.read(lab_path(topic), as_version=4).cells
        assert "hand-in" in last.metadata.tags
        labs[topic] = [cell for cell in cells if cell.cell_type == "code"]
        labs[topic].append(nbformat.v4.new_code_cell("%reset -f"))
    whole = nbformat.v4.new_notebook(cells=list(itertools.chain(*labs.values())))
    folder = {"metadata": {"path": str(tmp_path_factory.mktemp("untouched"))}}
    with kernel_environment():
        NotebookClient(whole, timeout=RUN_SECONDS, kernel_name="python3", resources=folder, allow_errors=True).execute()
    return labs


@pytest.mark.parametrize("topic", some(LABS))
def test_untouched_lab_runs_to_its_end(topic, untouched):
    """Run All on a lab that nobody has worked on: no traceback, each check says that its exercise is to be done."""
    assert errors(untouched[topic]) == []
    checks = [cell for cell in untouched[topic] if "check" in cell.metadata.get("tags", [])]
    assert len(checks) == len(units.load_unit(topic).exercises)
    assert [text_of(cell) for cell in checks if "not implemented yet" not in text_of(cell)] == []


@pytest.mark.slow
@pytest.mark.parametrize("topic", LABS[:1])
def test_lab_with_solutions_runs_to_its_end(topic, server, page):
    """Run All on a lab with the solutions: every check holds. (nbval runs the other labs' solutions.)"""
    address, folder = server
    name = f"{unit_name(topic)}.ipynb"
    notebook = filled(lab_path(topic), solution_source(topic).with_suffix(".ipynb"))
    nbformat.write(notebook, folder / name)
    open_notebook(page, address, name)
    cells = run_all(page, name)
    assert not errors(cells)
    checks = tagged(cells, "check")
    assert [text_of(cell) for cell in checks if "✗" in text_of(cell) or "✓" not in text_of(cell)] == []
    assert f"{len(checks)} of {len(checks)} exercises hold" in text_of(cells[-1])


@pytest.fixture(scope="module")
def shared_page(server) -> Iterator:
    """One JupyterLab with one kernel for all lectures: to load it, and torch, takes longer than their widgets."""
    address, folder = server
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell()]), folder / "first.ipynb")
    with lab_browser() as browser, new_page(browser) as page:
        open_notebook(page, address, "first.ipynb")
        yield page


@pytest.mark.slow
def test_a_lecture_that_was_only_opened_moves_its_pictures(server, page):
    """`course lab` trusts the course's lectures, so that the page's own script may run."""
    address, folder = server
    shutil.copyfile(lecture_source(LECTURES[-1]).with_suffix(".ipynb"), folder / "only_opened.ipynb")
    open_notebook(page, address, "only_opened.ipynb")
    frames = page.locator("[id^=frames-]").first
    for _ in range(60):  # cells far below are drawn when one comes near them
        if frames.count():
            break
        page.locator(".jp-WindowedPanel-outer").first.evaluate("each => each.scrollBy(0, 2000)")
        page.wait_for_timeout(200)
    slider, image = frames.get_by_role("slider"), frames.locator("img")
    before = image.get_attribute("src")
    slider.press("Home")
    slider.press("ArrowRight")
    first = image.get_attribute("src")
    slider.press("End")
    assert image.get_attribute("src") not in (before, first) and slider.get_attribute("aria-valuetext")


@pytest.mark.slow
@pytest.mark.parametrize("topic", some(LECTURES))
def test_widgets_of_a_lecture_move(topic, server, shared_page):
    """The picture follows each slider; of every fifth lecture, and under `make prove` of the others. The widgets with
    the cells that they need, and with little training: nbval runs all of it, and here it does not matter what a
    network has learned. (test_frames.py moves the drawn pictures of every lecture's widgets.)"""
    name = f"lecture_{unit_name(topic)}.ipynb"
    cells = needed(assemble(lecture_source(topic), topic).cells, {"widget"})
    assert cells, "every lecture has a widget to play with"
    for cell in cells:
        cell.source = re.sub(r"\b((?:\w*epochs|steps)(?:: int)? ?= ?)\d+", r"\g<1>2", cell.source)
    cells.insert(0, nbformat.v4.new_code_cell("%reset -f"))  # nothing of the lecture before
    nbformat.write(nbformat.v4.new_notebook(cells=cells), server[1] / name)
    open_beside(shared_page, name)
    shown = run_all(shared_page, name)
    assert not errors(shown)
    for cell in tagged(shown, "widget"):
        sliders_move_picture(shared_page, cell["id"])


def needed(cells: list[NotebookNode], tags: set[str]) -> list[NotebookNode]:
    """The code cells with one of these tags, the last ones before them that make a name which they use, and so on."""
    kept, wanted = [], set()
    for cell in reversed([cell for cell in cells if cell.cell_type == "code"]):
        uses, makes = names_of(cell.source)
        if tags & set(cell.metadata.get("tags", [])) or makes & wanted:
            kept.insert(0, cell)
            wanted = (wanted - makes) | uses
    return kept


def names_of(source: str) -> tuple[set[str], set[str]]:
    """The names that a cell uses before it has made them itself, and those that it makes."""
    uses, makes = set(), set()
    code = "\n".join(line for line in source.splitlines() if not line.startswith(("%", "!")))
    for statement in ast.parse(code).body:
        scopes = [symtable.symtable(ast.unparse(statement), "cell", "exec")]
        made = {name.get_name() for name in scopes[0].get_symbols() if name.is_assigned() or name.is_imported()}
        used = {name.get_name() for name in scopes[0].get_symbols() if name.is_referenced()}
        for scope in scopes:  # the list grows: functions, comprehensions, and what is inside of them
            scopes += scope.get_children()
            if scope is not scopes[0]:
                used |= {name.get_name() for name in scope.get_symbols() if name.is_global()}
        if not isinstance(statement, ast.Assign | ast.AugAssign):  # 'x = f(x)' needs an x, 'for x in y: f(x)' does not
            used -= made
        uses |= used - makes
        makes |= made
    return uses, makes


def sliders_move_picture(page, cell_id: str) -> None:
    """The cell shows sliders; its picture is another one after each was moved with the keyboard."""
    page.evaluate(MARK_CELL, cell_id)
    cell = page.locator(f'[data-test-cell="{cell_id}"]')
    handles = cell.locator(".jupyter-widgets [role=slider]")
    handles.first.wait_for(timeout=REDRAW_SECONDS * 1000)
    for number, handle in enumerate(handles.all()):
        before, value = picture(cell), handle.get_attribute("aria-valuenow")
        handle.focus()
        for _ in range(3):
            handle.press("ArrowRight")
        if handle.get_attribute("aria-valuenow") == value:  # it stood at its right end
            for _ in range(3):
                handle.press("ArrowLeft")
        assert handle.get_attribute("aria-valuenow") != value, f"slider {number} of {cell_id} does not move"
        deadline = time.monotonic() + REDRAW_SECONDS
        while picture(cell) == before:
            assert time.monotonic() < deadline, f"the picture of {cell_id} stays the same when slider {number} moves"
            page.wait_for_timeout(200)


def picture(cell) -> str:
    """The pixels of the cell's pictures, with its drawings and tables: whatever a slider could change but itself."""
    return json.dumps(
        cell.locator(".jp-OutputArea").first.evaluate(
            """async (area) => {
              const shown = [];
              for (const image of area.querySelectorAll('img')) {
                await image.decode().catch(() => {});
                const canvas = document.createElement('canvas');
                canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
                if (canvas.width && canvas.height) {
                  canvas.getContext('2d').drawImage(image, 0, 0);
                  shown.push(canvas.toDataURL());
                }
              }
              for (const drawn of area.querySelectorAll('canvas')) shown.push(drawn.toDataURL());
              for (const drawn of area.querySelectorAll('svg, table')) shown.push(drawn.outerHTML);
              return shown;
            }"""
        )
    )
