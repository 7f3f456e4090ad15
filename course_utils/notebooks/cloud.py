"""Where the course can be opened without installing it, once pyproject.toml says the repository's address."""

import re
import tomllib
from pathlib import Path

from course_utils.units import ROOT

NOT_THERE = "`course check` on the notebook: download it, and check it where the course is installed"
BEGIN, END = "<!-- cloud -->", "<!-- end of cloud -->"


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
    links = {
        "Binder": f"https://mybinder.org/v2/gh/{name}/main?labpath={notebook or 'labs/START.md'}",
        "Codespaces": f"https://codespaces.new/{name}",
    }
    if notebook:
        links["Colab"] = f"https://colab.research.google.com/github/{name}/blob/main/{notebook}"
    return links


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
| Colab, Kaggle | labs, checks and widgets, after `%pip install git+https://github.com/{name}` | {NOT_THERE} |
"""


def with_cloud(text: str, name: str) -> str:
    """A page's text with the section between its two marks. ValueError if it has no place for it."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"The README has no place for the cloud: put {BEGIN} and {END} on lines of their own.")
    return f"{before}{BEGIN}\n{section(name)}{END}{after}"
