"""Lays the course's pages out for Sphinx, and has it make HTML of them.

The pages lie as they lie in the clone, so that their links work in both. What only the site has is added on the way:
lists of pages for Sphinx, a line of links below a notebook's title, the pages of the reference. Nothing is executed.
"""

import hashlib
import importlib.metadata
import json
import os
import re
import shutil
from base64 import b64decode
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from course_utils.units import PACKAGE, ROOT, available, lab_path, lecture_source, rooms, unit_number

CONF = Path(__file__).parent
PAGES = {
    "labs/START.md": "How a lab works",
    "INSTRUCTORS.md": "Instructor's guide",
    "CONTRIBUTING.md": "How to contribute",
}
# Of MathJax, what a page with TeX may load
MATHJAX = ("tex-chtml.js", "output/chtml/fonts/woff-v2/*.woff", "input/tex/extensions/*.js")
DOWNLOADS = "downloads"  # the notebooks as they are in the clone
ALT_TEXTS = "alt.json"  # by the SHA-256 of a picture
UNSEEN = ("laws", "figures")  # of a unit, what serves its lab and its lecture alone
GROUPS = {
    "shared": ("Shared ground", ("data", "models", "training", "pruning", "plots", "widgets")),
    "checks": ("Checks", ("checks",)),
    "notebooks": ("Notebooks", ("units", "notebooks")),
    "experiments": ("Experiments", ("reproduce",)),
    "grading": ("Grading", ("grading",)),
}


def build_site(out: Path) -> int:
    """Build the site in out/site; the exit status of Sphinx, for which a warning is an error."""
    from sphinx.cmd.build import main

    pages = out / "site-pages"
    lay_out(pages)
    shutil.rmtree(out / "site", ignore_errors=True)
    options = ["-W", "--keep-going", "-q", "-b", "html", "-c", str(CONF), "-d", str(out / "site-doctrees")]
    return main([*options, str(pages), str(out / "site")])


def lay_out(pages: Path) -> None:
    """Write the sources of all pages into a folder, which is made anew."""
    shutil.rmtree(pages, ignore_errors=True)
    alt_texts: dict[str, str] = {}
    notebooks: list[Path] = []
    for topic in available():
        for path in (lecture_source(topic).with_suffix(".ipynb"), lab_path(topic)):
            if path.exists():
                notebook = json.loads(path.read_text(encoding="utf-8"))
                alt_texts |= alternative_texts(notebook)
                notebooks.append(path.relative_to(ROOT))
                write(pages / notebooks[-1], json.dumps(with_links(notebook, path, topic)))
                copy(path, pages / DOWNLOADS / notebooks[-1])
    for name in PAGES:
        text = (ROOT / name).read_text(encoding="utf-8")
        write(pages / name, re.sub(r"(?<=\]\()((?:\.\./)*)README\.md", r"\1index.md", text))
    for name in ("LICENSE", "lectures/images"):
        copy(ROOT / name, pages / name)
    reference = [write_reference(pages / "api", name, *group) for name, group in reference_pages().items()]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    write(pages / "api" / "index.md", "# Reference\n\nWhat `course_utils` has to offer.\n" + toctree("", reference))
    lists = [
        toctree("Begin", [f"{title} <{name}>" for name, title in PAGES.items()]),
        toctree("The course", [path.as_posix() for path in notebooks]),
        toctree("Reference", ["api/index"]),
    ]
    write(pages / "index.md", "\n".join([readme, *lists]))
    write(pages / ALT_TEXTS, json.dumps(alt_texts))
    mathjax = Path(importlib.metadata.distribution("sphinx-mathjax-offline").locate_file("sphinx-mathjax-offline"))
    for path in [path for pattern in MATHJAX for path in (mathjax / "static" / "mathjax").glob(pattern)]:
        copy(path, pages / "static" / path.relative_to(mathjax / "static"))


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    (shutil.copytree if source.is_dir() else shutil.copyfile)(source, target)


def toctree(caption: str, pages: Iterable[str]) -> str:
    """A list of pages for Sphinx, which shows it beside the page."""
    hidden = f":hidden:\n:caption: {caption}\n" if caption else ":maxdepth: 1\n"
    return f"\n```{{toctree}}\n{hidden}\n" + "\n".join(pages) + "\n```\n"


# --- Notebooks --------------------------------------------------------------------------------------------------------


def alternative_texts(notebook: dict[str, Any]) -> dict[str, str]:
    """The alternative texts of a notebook's pictures, by the SHA-256 of the picture."""
    found = {}
    for output in [output for cell in notebook["cells"] for output in cell.get("outputs", [])]:
        picture = "".join(output.get("data", {}).get("image/png", ""))
        if picture and (text := output["metadata"].get("image/png", {}).get("alt")):
            found[hashlib.sha256(b64decode(picture)).hexdigest()] = text
    return found


def with_links(notebook: dict[str, Any], path: Path, topic: str) -> dict[str, Any]:
    """A notebook with a line below its title: the other page of its unit, the notebook as a file, how to run it."""
    lecture, lab = lecture_source(topic).with_suffix(".ipynb"), lab_path(topic)
    links = [
        f"[{kind} {unit_number(topic):02d}]({relative(other, path.parent)})"
        for kind, other in (("Lecture", lecture), ("Lab", lab))
        if other != path and other.exists()
    ]
    download = relative(ROOT / DOWNLOADS / path.relative_to(ROOT), path.parent)
    links += [f"[Download this notebook](path:{download})", f"[Run it]({relative(ROOT, path.parent)}/index.md)"]
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":  # JupyterLab's anchors keep capitals, and Sphinx's do not
            cell["source"] = re.sub(r"(?<=\]\()#[^)]+", lambda anchor: anchor[0].lower(), "".join(cell["source"]))
    # IPython's lexer leaves what follows a magic such as %%needs without colors, and to Python's this is an operator
    notebook["metadata"]["language_info"]["pygments_lexer"] = "python3"
    title = next(cell for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    title["source"] = re.sub(r"^# .+$", rf"\g<0>\n\n{' · '.join(links)}", title["source"], count=1, flags=re.MULTILINE)
    return notebook


def relative(path: Path, folder: Path) -> str:
    """A path as a page in `folder` links it."""
    return Path(os.path.relpath(path, folder)).as_posix()


# --- Reference --------------------------------------------------------------------------------------------------------


def reference_pages() -> dict[str, tuple[str, list[str]]]:
    """By the name of a page of the reference its title and the modules that it describes."""
    pages = {
        f"{unit_number(topic):02d}_{topic}": (f"{unit_number(topic):02d} · {rooms()[topic].title}", modules(topic))
        for topic in available()
    }
    return pages | {
        name: (title, [m for part in parts for m in modules(part)]) for name, (title, parts) in GROUPS.items()
    }


def modules(name: str) -> list[str]:
    """'data' -> ['course_utils.data']; of a folder all modules, the folder's own first."""
    folder = PACKAGE / name
    if not folder.is_dir():
        return [f"course_utils.{name}"]
    inside = sorted(
        path.stem for path in folder.glob("*.py") if not path.stem.startswith("__") and path.stem not in UNSEEN
    )
    return [f"course_utils.{name}", *(f"course_utils.{name}.{stem}" for stem in inside)]


def write_reference(folder: Path, page: str, title: str, names: list[str]) -> str:
    """Write a page of the reference; returns its name for the list of pages."""
    parts = [f"## {name}\n\n```{{eval-rst}}\n.. automodule:: {name}\n   :members:\n```\n" for name in names]
    write(folder / f"{page}.md", "\n".join([f"# {title}\n", *parts]))
    return page
