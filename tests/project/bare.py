"""Run cells where only some packages are installed, as in Colab: of what is not among them nothing can be imported.

python bare.py CELLS [--colab]: a file of JSON with the sources. The packages are those in installed.json, in the folder
that PYTHONPATH names, with what they require; `course_utils` is there if it is in that folder.
"""

import functools
import importlib.metadata
import json
import os
import re
import sys
import types
from pathlib import Path

HERE = Path(os.environ["PYTHONPATH"])


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


NEEDS = {
    normalized(each.name): [
        normalized(re.match(r"[\w.-]+", need)[0]) for need in each.requires or [] if "extra ==" not in need
    ]
    for each in importlib.metadata.distributions()
}
OWNERS = importlib.metadata.packages_distributions()


@functools.cache
def closure(names: str) -> set[str]:
    """Of a list in JSON all distributions that it names and that these require."""
    found: set[str] = set()
    waiting = json.loads(names)
    while waiting:
        if (name := waiting.pop()) not in found:
            found.add(name)
            waiting += NEEDS.get(name, [])
    return found


class Bare:
    """Finds what other finders find, but for the modules of distributions that are not installed."""

    def __init__(self, others: list) -> None:
        self.others = others

    def find_spec(self, name: str, path=None, target=None):
        top = name.partition(".")[0]
        if top == "course_utils":
            there = (HERE / top).exists()
        else:
            owners = set(map(normalized, OWNERS.get(top, [])))
            there = not owners or owners & closure((HERE / "installed.json").read_text())
        found = (other.find_spec(name, path, target) for other in self.others if there)
        return next(filter(None, found), None)


def run(cells: list[str]) -> None:
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    for source in cells:
        shell.run_cell(source).raise_error()


if __name__ == "__main__":
    sys.meta_path[:] = [Bare(list(sys.meta_path))]
    if "--colab" in sys.argv:
        sys.modules["google.colab"] = types.ModuleType("google.colab")
    run(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
