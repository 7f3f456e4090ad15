"""Where the course can be opened without installing it, once pyproject.toml says the repository's address."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

from course_utils.units import ROOT

BEGIN, END = "<!-- cloud -->", "<!-- end of cloud -->"
LINKS, INSTALL = "cloud-1", "cloud-2"  # the ids of a lab's cells
# What of our needs the images of Colab and Kaggle may lack. Whatever else they have stays as it is: with our own
# dependencies pip would renew the Jupyter that runs the notebook.
PACKAGES = "mlxtend msgpack platformdirs safetensors"
CODE = """\
# Where the course is installed this does nothing; Colab installs it
import sys
from importlib.util import find_spec

if find_spec("course_utils") is None:
    packages = "PACKAGES"
    line = f"install --quiet --no-deps {packages} git+https://github.com/NAME"
    if "google.colab" in sys.modules:
        get_ipython().run_line_magic("pip", line)
    else:
        print("The course is not installed here. Run this in a cell, then all cells again:")
        print(f"%pip {line}")"""
ELSEWHERE = "download the notebook, and check it where the course is installed"
NOT_IN_COLAB = (
    f"`course check` and a lab's last cell, for which there is no file: {ELSEWHERE}; "
    "of a lecture's widgets only the pictures that were drawn beforehand"
)


def repository(root: Path = ROOT) -> str:
    """OWNER/NAME of the repository on GitHub, from [tool.course] in pyproject.toml; empty if it says none.

    ValueError if the address is another.
    """
    address = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["course"]["repository"]
    found = re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+?)(?:\.git)?/?", address)
    if address and found is None:
        raise ValueError(f"pyproject.toml names the repository {address!r}: write it as https://github.com/OWNER/NAME.")
    return found[1] if found else ""


def services(name: str, notebook: str = "") -> dict[str, str]:
    """The addresses that open the repository called OWNER/NAME in the cloud, or a notebook in it."""
    return {
        "Binder": f"https://mybinder.org/v2/gh/{name}/main?labpath={notebook or 'labs/START.md'}",
        "Codespaces": f"https://codespaces.new/{name}",
        "Colab": f"https://colab.research.google.com/github/{name}" + (f"/blob/main/{notebook}" if notebook else ""),
    }


def section(name: str) -> str:
    """What the README says of the cloud; nothing without a repository."""
    if not name:
        return ""
    links = services(name)
    return f"""
## In the cloud

Without an installation, in a browser:

| Service | What works | What does not |
|---|---|---|
| [Binder]({links["Binder"]}) | everything but grading | what you write is gone after a while: download your notebooks |
| [Codespaces]({links["Codespaces"]}) | everything; an account is needed | grading needs `sudo apt install bubblewrap` |
| [Colab]({links["Colab"]}) | labs with their checks; their first cell installs the course | {NOT_IN_COLAB} |
| Kaggle | labs with their checks, once *Internet* is on and the line is run that their first cell shows | the same |
"""


def with_cloud(text: str, name: str) -> str:
    """A page's text with the section between its two marks. ValueError if it has no place for it."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"The README has no place for the cloud: put {BEGIN} and {END} on lines of their own.")
    return f"{before}{BEGIN}\n{section(name)}{END}{after}"


def with_first_cells(text: str, name: str, path: Path) -> str:
    """A lab's file with two cells below the title: where it opens in the cloud, and what installs the course there.
    Without a repository it has neither. path: of the lab in the repository."""
    lab = json.loads(text)
    cells = [cell for cell in lab["cells"] if cell.get("id") not in (LINKS, INSTALL)]
    if name:
        links = ", ".join(f"[{service}]({address})" for service, address in services(name, path.as_posix()).items())
        told = (
            f"Open this lab elsewhere: {links}. Colab and Kaggle need the next cell first. There the last cell, the "
            f"check of the saved file, finds no file: {ELSEWHERE}."
        )
        code = CODE.replace("PACKAGES", PACKAGES).replace("NAME", name)
        made: list[dict[str, Any]] = [
            {"cell_type": "markdown", "id": LINKS, "source": told},
            {"cell_type": "code", "id": INSTALL, "source": code, "execution_count": None, "outputs": []},
        ]
        cells[1:1] = [cell | {"metadata": {}, "source": cell["source"].splitlines(keepends=True)} for cell in made]
    if cells == lab["cells"]:
        return text
    return json.dumps(lab | {"cells": cells}, ensure_ascii=False, indent=1, sort_keys=True) + "\n"
