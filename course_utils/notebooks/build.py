"""Text sources and reference functions in; executed solutions, labs, their expected outputs and lectures out.

solutions/NN_topic/NN_topic.md
  -> solutions/NN_topic/NN_topic.ipynb                exercises filled in, executed
  -> labs/NN_topic/NN_topic.ipynb                     nbgrader's release of it: stubs, no outputs
  -> course_utils/notebooks/expected/NN_topic.ipynb   the lab with the outputs that `course check` compares
lectures/NN_topic.md
  -> lectures/NN_topic.ipynb                          listings filled in, executed

Each notebook carries the hash of what it was made from, so that unchanged sources are not built again.
"""

import ast
import contextlib
import hashlib
import importlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from course_utils.checks.engine import Exercise
from course_utils.notebooks.source import function_source, stub_message
from course_utils.units import (
    PACKAGE,
    ROOT,
    available,
    expected_path,
    find_topic,
    lab_path,
    lecture_source,
    load_unit,
    solution_source,
    unit_name,
)

CELL_TIMEOUT = 300  # seconds; a solution notebook as a whole should take less than 90
LANGUAGE = {"name": "python", "file_extension": ".py", "mimetype": "text/x-python", "pygments_lexer": "ipython3"}
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
# Cells of these kinds show something; they are run by `course check` only if their output is compared
SHOWS = {"experiment", "figure", "widget"}


class BuildError(ValueError):
    """A text source that cannot be built; the message names the file and the cell."""


def targets(source: Path, topic: str) -> list[Path]:
    """The notebooks that are made from a text source."""
    notebook = source.with_suffix(".ipynb")
    return [notebook] if source.parent.name == "lectures" else [notebook, lab_path(topic), expected_path(topic)]


# --- what a notebook is made from -------------------------------------------------------------------------------------


def course_modules(code: str) -> Iterator[Path]:
    """Files of course_utils that a piece of code imports."""
    for node in ast.walk(ast.parse(code)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            if name.split(".")[0] == "course_utils":
                path = ROOT.joinpath(*name.split("."))
                # A module's package is imported before it
                files = (path.with_suffix(".py"), path / "__init__.py", path.parent / "__init__.py")
                yield from (file for file in files if file.exists() and file.parent != ROOT)


def source_hash(source: Path, topic: str) -> str:
    """SHA-256 of everything that a notebook is made from: its text, the unit's functions and laws, the course's modules
    that it imports (and those that they import), and the results that it reads. Line ends do not count."""
    text = source.read_text(encoding="utf-8")
    code = "\n".join(
        re.sub(r"^\s*[%!].*$", "", cell.source, flags=re.MULTILINE)
        for cell in jupytext.reads(text, fmt="md:myst").cells
        if cell.cell_type == "code"
    )
    found = {source, PACKAGE / topic / "__init__.py", PACKAGE / topic / "laws.py", Path(__file__)}
    waiting = [*found - {source, Path(__file__)}, *course_modules(code)]
    while waiting:
        path = waiting.pop()
        if path.name != "needs.py":
            found.add(path)
        waiting += [p for p in course_modules(path.read_text(encoding="utf-8")) if p not in found and p not in waiting]
    results = re.findall(r'stored_results\("([\w-]+)"\)', text)
    found |= {ROOT / "lectures" / "results" / f"{name}.json" for name in results}
    digest = hashlib.sha256()
    for path in sorted(p for p in found if p.exists()):
        digest.update(Path(os.path.relpath(path, ROOT)).as_posix().encode() + b"\0")
        digest.update(path.read_bytes().replace(b"\r\n", b"\n") + b"\0")
    return digest.hexdigest()


def stale(source: Path, topic: str) -> list[Path]:
    """Notebooks that are missing or were made from something else than what is there now."""
    wanted = source_hash(source, topic)
    return [path for path in targets(source, topic) if saved_hash(path) != wanted]


def saved_hash(path: Path) -> str | None:
    if not path.exists():
        return None
    return nbformat.read(path, as_version=4).metadata.get("course", {}).get("sources")


# --- from text to notebook --------------------------------------------------------------------------------------------


def assemble(source: Path, topic: str, slides: bool = False) -> NotebookNode:
    """The unexecuted notebook of a text source: exercises and listings filled in, boxes and answer cells added.

    Cells tagged `slides-only` are left out but for `slides`.
    """
    nb = jupytext.reads(source.read_text(encoding="utf-8"), fmt="md:myst")
    exercises = {e.name: e for e in load_unit(topic).exercises}
    cells: list[NotebookNode] = []
    for cell in nb.cells:
        tags = set(cell.metadata.get("tags", []))
        if "slides-only" in tags:
            cells += [cell] * slides
        elif "exercise" in tags:
            cells += exercise_cells(cell, exercises, topic, source)
        elif "check" in tags:
            cells.append(check_cell(cell, exercises, source))
        elif "listing" in tags:
            module, _, name = cell.source.strip().rpartition(".")
            cell.source = function_source(module, name)
            cells.append(cell)
        elif "reflection" in tags:
            if re.search(r"^#+ ", cell.source, re.MULTILINE):
                raise BuildError(f"{source.name}: a heading inside a reflection: end the question with a line '+++'.")
            cells += [cell, answer_cell(cell)]
        else:
            if "widget" in tags:  # its state is not saved, so there is nothing to compare
                cell.metadata.tags = sorted(tags | {"nbval-ignore-output"})
            cells.append(cell)
    name_cells(cells)
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": KERNEL, "language_info": LANGUAGE})
    notebook.nbformat_minor = 5
    return notebook


def exercise_cells(cell: NotebookNode, exercises: dict[str, Exercise], topic: str, source: Path) -> list[NotebookNode]:
    """The exercise's box and its function, with the body between solution marks."""
    name = cell.source.strip()
    if name not in exercises:
        raise BuildError(f"{source.name}: an exercise cell says {name!r}, which is no exercise of this unit.")
    exercise = exercises[name]
    worth = f"{exercise.points} point{'s' if exercise.points != 1 else ''}"
    box = nbformat.v4.new_markdown_cell(
        f"> **Exercise {exercise.id} · `{name}`** · {worth} · about {exercise.minutes} minutes · "
        f"difficulty {'●' * exercise.difficulty}{'○' * (5 - exercise.difficulty)}",
        metadata={"tags": ["box"]},
    )
    box.id = f"box_{name}"
    cell.id = name
    cell.source = with_solution_marks(function_source(topic, name))
    cell.metadata.nbgrader = nbgrader_metadata(name, solution=True)
    return [box, cell]


def with_solution_marks(code: str) -> str:
    """A function's source with its body, after the docstring, between nbgrader's solution marks."""
    function = ast.parse(code).body[0]
    lines = code.rstrip().splitlines()
    first = function.body[0].end_lineno  # the docstring, which every exercise has
    return "\n".join([*lines[:first], "    ### BEGIN SOLUTION", *lines[first:], "    ### END SOLUTION"])


def check_cell(cell: NotebookNode, exercises: dict[str, Exercise], source: Path) -> NotebookNode:
    """`check(name)`, locked and worth the exercise's points."""
    match = re.fullmatch(r"check\((\w+)\)", cell.source.strip())
    if not match or match[1] not in exercises:
        raise BuildError(f"{source.name}: a check cell says {cell.source!r}, not check(<exercise of this unit>).")
    cell.id = f"check_{match[1]}"
    cell.metadata.nbgrader = nbgrader_metadata(cell.id, grade=True, points=exercises[match[1]].points)
    return cell


def answer_cell(question: NotebookNode) -> NotebookNode:
    """The cell for the answer to a reflection question, graded by hand.

    Its id is made of the question's words, or is the one that the source states as `answer`: a question that gets other
    words keeps its answers, and their points in the gradebook.
    """
    cell = nbformat.v4.new_markdown_cell(
        "*Your answer here (one point, graded by hand).*", metadata={"tags": ["answer"]}
    )
    digest = hashlib.sha256(question.source.encode()).hexdigest()[:8]
    cell.id = question.metadata.pop("answer", f"answer_{digest}")
    cell.metadata.nbgrader = nbgrader_metadata(cell.id, grade=True, solution=True, points=1)
    return cell


def nbgrader_metadata(grade_id: str, *, grade: bool = False, solution: bool = False, points: int | None = None) -> dict:
    metadata = {
        "grade": grade,
        "grade_id": grade_id,
        "locked": grade and not solution,
        "schema_version": 3,
        "solution": solution,
        "task": False,
    }
    return metadata | ({"points": points} if points is not None else {})


def name_cells(cells: list[NotebookNode]) -> None:
    """Give every cell an id made of the last heading and a count: the same sources, the same ids."""
    heading, counts = "top", {}
    for number, cell in enumerate(cells):
        if "slides-only" in cell.metadata.get("tags", []):  # the others are called the same with it and without it
            cell.id = f"slides-only-{number}"
            continue
        if cell.cell_type == "markdown" and (match := re.search(r"^#+ +(.+)$", cell.source, re.MULTILINE)):
            heading = re.sub(r"[^a-z0-9]+", "-", match[1].lower()).strip("-")[:48] or "section"
        if cell.metadata.get("nbgrader") or "box" in cell.metadata.get("tags", []):
            continue
        counts[heading] = counts.get(heading, 0) + 1
        cell.id = f"{heading}-{counts[heading]}"
    ids = [cell.id for cell in cells]
    if twice := {i for i in ids if ids.count(i) > 1}:
        raise BuildError(f"Two cells have the id {sorted(twice)[0]!r}: give the two headings or questions other words.")


# --- running and releasing --------------------------------------------------------------------------------------------


@contextlib.contextmanager
def kernel_environment(**more: str) -> Iterator[None]:
    """What kernels that are started in here inherit: this course_utils, no progress bars, one thread, and `more`.

    Two threads on small tensors cost more than they bring, and rounding must not depend on the number of cores.
    """
    path = os.pathsep.join(dict.fromkeys([str(ROOT), *filter(None, sys.path)]))
    wanted = {"PYTHONPATH": path, "TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1"} | more
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def execute(notebook: NotebookNode, folder: Path) -> NotebookNode:
    """Run all cells; raise if one of them fails. What differs from run to run by nature is dropped."""
    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        store_widget_state=False,
        coalesce_streams=True,  # what one run sends as one piece of stdout, another sends as three
        extra_arguments=["--log-level=ERROR"],
    )
    with kernel_environment(COURSE_FRAMES="1"):  # widgets draw pictures for readers without a kernel
        client.execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type != "code":
            continue
        failed = [output for output in cell.outputs if output.output_type == "error"]
        if failed:  # the %%needs magic lets 'Run all' go on after an error; a build must not
            raise BuildError(f"The cell {cell.id!r} failed: {failed[0].ename}: {failed[0].evalue}")
        kept = [
            output
            for output in cell.outputs
            if "application/vnd.jupyter.widget-view+json" not in output.get("data", {})
            and output.get("name") != "stderr"
        ]
        cell.outputs = kept
    notebook.metadata.pop("widgets", None)
    return notebook


def release(solution: NotebookNode, topic: str) -> NotebookNode:
    """The lab of an executed solution: nbgrader's release step, with stubs that name their exercise."""
    from nbgrader.preprocessors import CheckCellMetadata, ClearOutput, ClearSolutions, ComputeChecksums, LockCells

    exercises = {e.name: e for e in load_unit(topic).exercises}

    class NamedStubs(ClearSolutions):
        def preprocess_cell(self, cell, resources, index):
            if (exercise := exercises.get(cell.id)) is not None:
                self.code_stub = {"python": f'raise NotImplementedError("{stub_message(exercise)}")'}
            return super().preprocess_cell(cell, resources, index)

    lab, resources = deepcopy(solution), {}
    for preprocessor in (LockCells, NamedStubs, ClearOutput, CheckCellMetadata, ComputeChecksums):
        lab, resources = preprocessor().preprocess(lab, resources)
    lab.cells += hand_in_cells(topic)
    return lab


def hand_in_cells(topic: str) -> list[NotebookNode]:
    """The lab's last cells: all checks once more, on the saved file and from a fresh start."""
    text = nbformat.v4.new_markdown_cell(
        "## Before you hand in\n\nSave the notebook, then run this cell. It starts afresh, takes your functions from "
        "the saved file, and runs every check as the course's own test does; a cell that only worked by luck of the "
        "order in which you ran things shows itself here."
    )
    code = nbformat.v4.new_code_cell(
        f'from course_utils.notebooks.check import check_saved\n\ncheck_saved("{unit_name(topic)}.ipynb")',
        metadata={"tags": ["hand-in"]},
    )
    text.id, code.id = "before-you-hand-in-1", "before-you-hand-in-2"
    return [text, code]


def expected(solution: NotebookNode, lab: NotebookNode) -> NotebookNode:
    """The lab without answers, but with the reference's outputs where they are compared: on the check cells and on
    every cell tagged `nbval-check-output`. Cells that only show something are left out."""
    outputs = {cell.id: cell for cell in solution.cells if cell.cell_type == "code"}
    notebook, cells = deepcopy(lab), []
    for cell in notebook.cells:
        tags = set(cell.metadata.get("tags", []))
        compared = bool(tags & {"check", "nbval-check-output"})
        if cell.cell_type != "code" or "hand-in" in tags or (tags & SHOWS and not compared):
            continue
        if compared:
            cell.outputs = deepcopy(outputs[cell.id].outputs)
            cell.execution_count = outputs[cell.id].execution_count
            cell.metadata.tags = sorted(tags | {"nbval-check-output"})
        cells.append(cell)
    notebook.cells = cells
    return notebook


# --- the command ------------------------------------------------------------------------------------------------------


def build(source: Path, topic: str) -> list[Path]:
    """Build all notebooks of a text source; returns what was written. Nothing is written if a cell fails."""
    wanted = source_hash(source, topic)
    notebook = execute(assemble(source, topic), source.parent)
    notebook.metadata.course = {"sources": wanted}
    paths = targets(source, topic)
    notebooks = [notebook]
    if len(paths) > 1:
        lab = release(notebook, topic)
        notebooks += [lab, expected(notebook, lab)]
    for path, content in zip(paths, notebooks, strict=True):
        write_atomically(path, content)
    return paths


def write_atomically(path: Path, notebook: NotebookNode) -> None:
    nbformat.validate(notebook)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, suffix=".tmp", delete=False) as file:
        file.write(nbformat.writes(notebook, indent=1) + "\n")
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)


def sources(unit: str | None) -> list[tuple[Path, str]]:
    """The text sources of one unit, or of all."""
    topics = [find_topic(unit)] if unit else available()
    return [(path, t) for t in topics for path in (solution_source(t), lecture_source(t)) if path.exists()]


def build_units(unit: str | None = None, *, check_only: bool = False, force: bool = False) -> bool:
    """The command `course build`. Returns whether all is well: built, or, with `check_only`, up to date."""
    importlib.invalidate_caches()
    console = Console(stderr=True)
    wanted = [(s, t) for s, t in sources(unit) if force or stale(s, t)]
    if check_only:
        for source, topic in wanted:
            for path in stale(source, topic):
                console.print(f"stale: {path.relative_to(ROOT)} (made from an older {source.relative_to(ROOT)})")
        if wanted:
            console.print("Run `course build` and commit what it writes.")
        return not wanted
    if not wanted:
        console.print("Everything is up to date.")
        return True
    done = True
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console) as progress:
        for source, topic in wanted:
            task = progress.add_task(f"building {source.relative_to(ROOT)}", total=1)
            try:
                build(source, topic)
                progress.update(task, completed=1, description=f"✓ {source.relative_to(ROOT)}")
            except Exception as error:  # one unit that fails must not keep the others from being built
                done = False
                progress.update(task, completed=1, description=f"✗ {source.relative_to(ROOT)}")
                console.print(f"{source.relative_to(ROOT)}: {error}", markup=False, highlight=False)
    return done
