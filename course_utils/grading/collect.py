"""Finds the submissions in a folder and reads their notebooks, which may be anything but notebooks."""

import codecs
import contextlib
import hashlib
import json
import math
import os
import re
import stat
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from course_utils.units import find_topic, lab_functions

MAX_FILE_BYTES = 100 * 2**20  # outputs and all: what counts is the code
MAX_CODE_CHARACTERS = 500_000
MAX_CELLS = 2_000
MAX_CELL_CHARACTERS = 100_000
MAX_NAME_BYTES = 200
SHORT = 10  # characters that a number, a word or an escape of JSON may have
# What systems and Gradescope leave in a folder; nobody is called so
LITTER = ("__MACOSX", "Thumbs.db", "desktop.ini", "submission_metadata.yml")


class Refused(Exception):
    """A file that cannot be graded. `status` is for the table, the message says more."""

    def __init__(self, status: str, message: str = "") -> None:
        super().__init__(message)
        self.status, self.message = status, message


@dataclass(frozen=True)
class Submission:
    """What one student handed in: a file, or why there is none to read."""

    student: str
    path: Path | None
    status: str = ""
    message: str = ""

    def content(self) -> bytes | None:
        """What the file holds; None if there is none that can be read."""
        try:
            return read_bytes(self.path) if self.path is not None else None
        except Refused:
            return None


@dataclass
class Notebook:
    """The code of a notebook. `secondary` are cells that count only where no other cell defines a name."""

    cells: list[str]
    secondary: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    python: str = ""  # the version that ran it last


def collect(folder: Path, lab: str) -> list[Submission]:
    """Everybody's submission in SUBMISSIONS/STUDENT/LAB/LAB.ipynb or SUBMISSIONS/STUDENT.ipynb, by name.

    Hidden files and systems' litter are passed over; everything else ends as somebody's submission, so that nothing is
    lost in silence. A student's name is in Unicode's form NFC, whoever wrote the folder's.
    """
    found: dict[str, Submission] = {}
    # Folders before files, and notebooks before other files: of two things with the same name the first one counts
    entries = [entry for entry in os.scandir(folder) if not entry.name.startswith(".") and entry.name not in LITTER]
    for entry in sorted(entries, key=lambda e: (not e.is_dir(follow_symlinks=False), not is_notebook(e.name), e.name)):
        path = Path(entry.path)
        name = entry.name if entry.is_dir(follow_symlinks=False) else path.stem
        submission = _submission(name, path, lab)
        earlier = found.get(submission.student)
        if earlier is not None and earlier.path is not None:
            if submission.path is None:
                continue
            reason = f"{earlier.path.relative_to(folder)} has the same name, and counts: leave one of the two"
            submission = Submission(_short_name(name, path), None, "handed in twice", reason)
        found[submission.student] = submission
    return [found[student] for student in sorted(found)]


def _submission(name: str, path: Path, lab: str) -> Submission:
    """What lies at `path`, handed in by who is called `name`."""
    student = unicodedata.normalize("NFC", name)
    try:
        if len(os.fsencode(student)) > MAX_NAME_BYTES:
            student = _short_name(name, path)
            raise Refused("wrong name", f"its name is longer than {MAX_NAME_BYTES} characters")
        return Submission(student, locate(path, lab))
    except Refused as refused:
        return Submission(student, None, refused.status, refused.message)
    except OSError as error:
        return Submission(student, None, "unreadable", error.strerror or "it cannot be opened")


def _short_name(name: str, path: Path) -> str:
    """A name that begins like `name`, and that no other file or folder gets."""
    return f"{unicodedata.normalize('NFC', name)[:40]}…{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:6]}"


def is_notebook(name: str) -> bool:
    """Whether a file's name says that it is a notebook (.IPYNB is one)."""
    return name.lower().endswith(".ipynb")


def locate(path: Path, lab: str) -> Path:
    """The notebook in a student's folder, or the file itself if `path` is one. Refused if there is none.

    In STUDENT/LAB, else in STUDENT, it is the notebook with the lab's name, whatever the case of its letters, or the
    only one there, if it defines most of the lab's functions: platforms and browsers rename files.
    """
    if path.is_symlink():
        raise Refused("symbolic link", "it points elsewhere; hand in the notebook itself")
    if not path.is_dir():
        if not is_notebook(path.name):
            raise Refused("wrong file", f"{path.name} is not an .ipynb file")
        return path
    folder = _called(lab, _visible(path))
    if folder is not None and folder.is_symlink():
        raise Refused("symbolic link", f"{folder.name} points elsewhere; hand in the folder itself")
    inside = folder is not None and folder.is_dir()
    files = [file for file in _visible(folder if inside else path) if inside or not file.is_dir()]
    notebooks = [file for file in files if is_notebook(file.name)]
    if (named := _called(f"{lab}.ipynb", notebooks)) is not None:
        return named
    if len(notebooks) == 1 and defines_most(parse_notebook(read_bytes(notebooks[0])).cells, find_topic(lab)):
        return notebooks[0]
    if not files:
        raise Refused("not handed in", "the folder is empty" if inside else "nothing of this lab is there")
    names = ", ".join(file.name for file in (notebooks or files)[:3])
    raise Refused("wrong file", f"found {names}, expected {lab}.ipynb or one notebook with most of its functions")


def _visible(folder: Path) -> list[Path]:
    """What a folder holds, by name, but for hidden files."""
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def _called(name: str, entries: list[Path]) -> Path | None:
    """The entry with this name; else the only one that has it in another case."""
    alike = [entry for entry in entries if entry.name.lower() == name]
    return next((entry for entry in alike if entry.name == name), alike[0] if len(alike) == 1 else None)


def defines_most(cells: Sequence[str], topic: str) -> bool:
    """Whether a notebook has most of a lab's functions, done or not."""
    functions = lab_functions(topic)
    return 2 * len(set(re.findall(r"\bdef +(\w+)", "\n".join(cells))).intersection(functions)) > len(functions)


def read_bytes(path: Path) -> bytes:
    """The bytes of a regular file of a sensible size, and of nothing else. Refused otherwise."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        if path.is_symlink():
            raise Refused("symbolic link", "it points elsewhere; hand in the notebook itself") from None
        raise Refused("unreadable", error.strerror or "it cannot be opened") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise Refused("wrong file", "it is not a regular file")
        if status.st_size > MAX_FILE_BYTES:
            size = math.ceil(status.st_size / 2**20)
            raise Refused("too large", f"{size} MB; {MAX_FILE_BYTES // 2**20} MB are allowed")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(MAX_FILE_BYTES)
    finally:
        os.close(descriptor)


UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # what `>` writes in a Windows terminal


def parse_notebook(data: bytes) -> Notebook:
    """The code cells of a notebook file. Refused, with a status that says why, if it is none."""
    if not data.strip():
        raise Refused("empty", "the file has no content")
    encoding = "UTF-16" if data.startswith(UTF_16) else "UTF-8"
    try:
        text = data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise Refused("unreadable encoding", f"it is not {encoding} (byte {error.start})") from None
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Refused("not a notebook", _what_it_is(text, error)) from None
    if not isinstance(content, dict) or type(content.get("nbformat")) is not int:
        raise Refused("not a notebook", "it is JSON, but no notebook")
    if content["nbformat"] < 4:
        content = brought_up_to_date(content)
    if content["nbformat"] != 4:
        raise Refused("wrong format", f"it has notebook format {content['nbformat']}: save it as format 4")
    if not isinstance(content.get("cells"), list):
        raise Refused("not a notebook", "it has no list of cells")
    notebook = _code_cells(content["cells"])
    with contextlib.suppress(KeyError, TypeError):
        version = content["metadata"]["language_info"]["version"]
        notebook.python = version[:20] if isinstance(version, str) else ""
    return notebook


def _what_it_is(text: str, error: Exception) -> str:
    """What lies under a notebook's name that cannot be read because of this error: one of the usual things, perhaps."""
    head = text[:1000].lstrip().lower()
    if re.search(r"^<{7} ", text, re.MULTILINE):
        return "it holds a merge conflict (<<<<<<<) that git left: resolve it, or take one side's file"
    if head.startswith("version https://git-lfs"):
        return "it is a pointer of Git LFS, not the file: fetch the file with `git lfs pull`"
    if head.startswith(("<!doctype", "<html", "<?xml")):
        return "it is a web page (a sign-in page, perhaps), saved under the notebook's name: download it again"
    if isinstance(error, json.JSONDecodeError) and head.startswith("{"):
        end = len(text.rstrip()) if error.msg.startswith("Unterminated string") else error.pos + SHORT
        if end >= len(text.rstrip()):
            return "it ends in the middle: save the notebook again, or copy it again as a whole"
        if error.msg == "Extra data":
            return f"line {error.lineno} follows the notebook's end, as if saved twice: save it again, or cut that off"
    return f"it is not JSON: {str(error)[:100]}"


def brought_up_to_date(content: dict[str, Any]) -> dict[str, Any]:
    """A notebook of an older format, as JupyterLab would open it. Refused if it has errors."""
    import nbformat

    try:
        return nbformat.convert(nbformat.from_dict(content), 4)
    except Exception as error:  # the file may hold anything
        message = f"it has the old notebook format {content['nbformat']}, and errors: {error}"
        raise Refused("wrong format", message[:200]) from None


def _code_cells(cells: list[Any]) -> Notebook:
    notebook = Notebook([])
    seen: set[str] = set()
    for cell in cells:
        if not isinstance(cell, dict) or cell.get("cell_type") != "code":
            continue
        source = cell.get("source", "")
        if isinstance(source, list) and all(isinstance(line, str) for line in source):
            source = "".join(source)
        if not isinstance(source, str):
            notebook.notes.append(f"code cell {len(notebook.cells) + 1} has no text")
            source = ""
        identity = cell.get("id")
        if isinstance(identity, str):
            if identity in seen:
                notebook.secondary.append(len(notebook.cells))
                where = f"code cell {len(notebook.cells) + 1}"
                notebook.notes.append(f"{where} has the id of an earlier cell, which counts")
            seen.add(identity)
        if len(source) > MAX_CELL_CHARACTERS:
            size = f"{len(source):,} characters, a pasted log perhaps"
            notebook.notes.append(f"code cell {len(notebook.cells) + 1} is left out: it has {size}")
            source = ""
        notebook.cells.append(source)
    if not any(source.strip() for source in notebook.cells):
        raise Refused("empty", "; ".join(["it has no code", *notebook.notes]))
    characters = sum(map(len, notebook.cells))
    if characters > MAX_CODE_CHARACTERS or len(notebook.cells) > MAX_CELLS:
        most = f"{MAX_CELLS:,} with {MAX_CODE_CHARACTERS:,} are allowed"
        raise Refused("too large", f"{len(notebook.cells):,} code cells with {characters:,} characters; {most}")
    return notebook
