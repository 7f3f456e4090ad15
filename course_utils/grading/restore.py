"""A submission as nbgrader shows it: the student's cells, without outputs, under the lab's own metadata.

Points, locks and ids in a file that was handed in are not believed: they are taken from the lab.
"""

import html
import json
import re
from copy import deepcopy
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

from course_utils.grading.collect import MAX_CELLS, Refused, brought_up_to_date
from course_utils.grading.feedback import sign
from course_utils.grading.submission import JUDGED, ExerciseResult, Result, shown

MISSING = "This cell was missing from the submission; it was put back."


def restore(data: bytes | None, lab: NotebookNode) -> NotebookNode:
    """The notebook that `data` holds, with the lab's graded cells and answers in it; the lab if nothing is there.

    Of copies of a cell the first one that was filled in takes its place, the others stay as ordinary cells; so does
    what was written into a locked cell. Cells that are missing are put back, and say so.
    """
    cells = _student_cells(data)
    if not cells:
        return deepcopy(lab)
    wanted = {cell.metadata.nbgrader.grade_id: cell for cell in lab.cells if "nbgrader" in cell.metadata}
    places = {place: grade_id for grade_id, place in _places(cells, wanted).items()}
    printed = {cell.source for cell in lab.cells}
    made = []
    for number, cell in enumerate(cells):
        template = wanted.get(places.get(number, ""))
        if template is None or (template.metadata.nbgrader.locked and cell["source"] != template.source):
            made.append(_ordinary(cell, f"cell-{number + 1}", printed))
        if template is not None:
            made.append(deepcopy(template))
            if not template.metadata.nbgrader.locked:
                made[-1].source = _source(cell, printed)
                made[-1].update(_attachments(cell))
    _put_back(made, wanted)
    return NotebookNode(nbformat=4, nbformat_minor=5, metadata=deepcopy(lab.metadata), cells=made)


def _student_cells(data: bytes | None) -> list[dict[str, Any]]:
    """The cells that are cells, their source as one text."""
    try:
        content = json.loads((data or b"").decode("utf-8-sig"))
        if content["nbformat"] < 4:
            content = brought_up_to_date(content)
        found = content["cells"][:MAX_CELLS]
    except (ValueError, RecursionError, TypeError, KeyError, Refused):
        return []
    cells = []
    for cell in found if isinstance(found, list) else []:
        if not isinstance(cell, dict) or cell.get("cell_type") not in ("code", "markdown", "raw"):
            continue
        source = cell.get("source", "")
        if isinstance(source, list) and all(isinstance(line, str) for line in source):
            source = "".join(source)
        if isinstance(source, str):  # lone surrogates could not be written to a file
            cells.append(cell | {"source": source.encode("utf-8", "backslashreplace").decode()})
    return cells


def _places(cells: list[dict[str, Any]], wanted: dict[str, NotebookNode]) -> dict[str, int]:
    """Which of the student's cells stands for which of the lab's."""
    candidates: dict[str, list[int]] = {}
    for key in (_grade_id, lambda cell: cell.get("id")):  # JupyterLab keeps the id where a copy loses its metadata
        for number, cell in enumerate(cells):
            name = key(cell)
            if isinstance(name, str) and name in wanted and cell["cell_type"] == wanted[name].cell_type:
                candidates.setdefault(name, []).append(number)
    places: dict[str, int] = {}
    for name, numbers in candidates.items():
        free = [number for number in numbers if number not in places.values()]
        filled = [n for n in free if cells[n]["source"].strip() and cells[n]["source"] != wanted[name].source]
        if wanted[name].metadata.nbgrader.locked:
            filled = []
        if free:
            places[name] = (filled or free)[0]
    return places


def _grade_id(cell: dict[str, Any]) -> Any:
    metadata = cell.get("metadata")
    nbgrader = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    return nbgrader.get("grade_id") if isinstance(nbgrader, dict) else None


def _ordinary(cell: dict[str, Any], identity: str, printed: set[str]) -> NotebookNode:
    """A cell that nbgrader does nothing about."""
    if cell["cell_type"] == "code":
        return new_code_cell(cell["source"], id=identity)
    # A raw cell would go into a page as it is
    source = block(cell["source"]) if cell["cell_type"] == "raw" else _source(cell, printed)
    return new_markdown_cell(source, id=identity, **_attachments(cell))


def _source(cell: dict[str, Any], printed: set[str]) -> str:
    source = cell["source"]
    return source if cell["cell_type"] == "code" or source in printed else harmless(source)


def _attachments(cell: dict[str, Any]) -> dict[str, Any]:
    """The images that were pasted into a Markdown cell."""
    found = cell.get("attachments")
    if cell["cell_type"] != "markdown" or not isinstance(found, dict):
        return {}
    kept = {}
    for name, bundle in found.items():
        if isinstance(bundle, dict):
            images = {kind: data for kind, data in bundle.items() if re.fullmatch(r"image/(png|jpeg|gif)", kind)}
            images = {kind: data for kind, data in images.items() if re.fullmatch(r"[A-Za-z0-9+/=\s]*", str(data))}
            kept |= {name: images} if images else {}
    return {"attachments": kept} if kept else {}


def _put_back(cells: list[NotebookNode], wanted: dict[str, NotebookNode]) -> None:
    """Insert what is missing after the cell that it follows in the lab."""
    position = 0
    for template in wanted.values():
        found = next((n for n, cell in enumerate(cells) if cell.id == template.id), None)
        if found is None:
            cell = deepcopy(template)
            notice = f"# {MISSING}\n" if cell.cell_type == "code" else f"*{MISSING}*\n\n"
            cell.source = notice + cell.source
            cells.insert(position, cell)
            found = position
        position = found + 1


# --- What a grader's browser may be shown -----------------------------------------------------------------------------


def harmless(markdown: str) -> str:
    """Markdown in which no HTML is left; a text with a link to a script is shown as it was typed.

    nbconvert passes HTML and such links on, into the page in which an instructor grades. A space after < ends its being
    HTML, and harms neither code nor formulas.
    """
    squeezed = re.sub(r"[\s\\\x00-\x1f]", "", html.unescape(markdown)).lower()
    if re.search(r"(java|vb)script:|data:text", squeezed):
        return block(markdown)
    return re.sub(r"<(?=[A-Za-z/!?])", "< ", markdown)


def block(text: str) -> str:
    """The text as a Markdown code block, which shows everything and runs nothing."""
    lines = (re.sub(r"[\x00-\x08\x0e-\x1f\x7f]", "�", line) for line in text.expandtabs().splitlines())
    return "\n".join("    " + line for line in lines)


# --- Points and comments ----------------------------------------------------------------------------------------------


def write_points(notebook: NotebookNode, result: Result) -> None:
    """Put each exercise's points into its check's output, where nbgrader reads them, and say above how it went."""
    points = {f"check_{exercise.name}": exercise.points for exercise in result.exercises}
    for cell in notebook.cells:
        if cell.id in points:
            cell.execution_count = 1
            value = {"text/plain": str(float(points[cell.id]))}
            cell.outputs = [new_output("execute_result", data=value, execution_count=1)]
    highest = sum(exercise.max_points for exercise in result.exercises)
    head = f"**{result.total:g} of {highest:g} points for code**, given outside of this notebook."
    status = f"{result.status}: {result.message}" if result.message else result.status
    cell = new_markdown_cell(f"{head}\n\n{block(chr(10).join([status, *result.notes]))}", id="graded")
    notebook.cells.insert(0, cell)
    notebook.metadata.course = {"result": result.key}


def comment(exercise: ExerciseResult) -> str:
    """What the gradebook says about an exercise: law by law, without the hidden inputs.

    Markdown in the feedback, plain text in formgrader: what the student's code had to say stands in a code block.
    """
    points = f"{exercise.points:g} of {exercise.max_points:g} points"
    lines = [] if exercise.outcome in JUDGED else [exercise.outcome]
    lines += [exercise.note] if exercise.note else []
    for law in exercise.laws:
        failed = ": " + law["message"] if law["message"] and not law["passed"] else ""
        lines.append(f"{'✓' if law['passed'] else '✗'} {law['name']}{failed}")
        lines += [] if law["passed"] else [f"    {label + ':':<10}{law[label]}" for label in shown(law)]
    head = f"{sign(exercise)[0]} {exercise.id} {exercise.name}: {points}"
    return f"{head}\n\n{block(chr(10).join(lines))}" if lines else head
