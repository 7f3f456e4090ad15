"""JupyterLab, opened in the course's folder on its start page."""

import contextlib
import os
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from course_utils import units

START = Path("labs") / "START.md"
SETTINGS = Path(__file__).parent / "lab_settings"  # Markdown opens rendered; no question about Jupyter's news


def course_folder() -> Path:
    """The clone or student kit that holds this package; the current folder, if the package came without labs."""
    return units.ROOT if (units.ROOT / "labs").is_dir() else Path.cwd()


def server_arguments(folder: Path) -> list[str]:
    """Arguments that make JupyterLab serve a folder, and begin on its start page if it has one."""
    arguments = [f"--ServerApp.root_dir={folder}", f"--LabApp.app_settings_dir={SETTINGS}", "--log-level=WARN"]
    if (folder / START).exists():
        arguments.append(f"--LabApp.default_url=/lab/tree/{START.as_posix()}")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        arguments.append("--ServerApp.allow_root=True")  # in a container everybody is root; the token still protects
    return arguments


@contextlib.contextmanager
def some_home() -> Iterator[None]:
    """A home folder for a while, for users of containers who have none: Jupyter and nbgrader do not start without."""
    try:
        Path.home()
    except RuntimeError:
        with tempfile.TemporaryDirectory(prefix="course-home-", ignore_cleanup_errors=True) as folder:
            os.environ["HOME"] = folder
            try:
                yield
            finally:
                del os.environ["HOME"]
    else:
        yield


def trust_lectures(folder: Path) -> None:
    """Sign the course's own lectures, so that JupyterLab lets their pictures move before anybody has run them.

    Whoever starts the course runs its code anyway. A lecture that cannot be read is left as it is.
    """
    import nbformat
    from nbformat.sign import NotebookNotary

    notary = NotebookNotary()
    for path in (folder / "lectures").glob("*.ipynb"):
        with contextlib.suppress(OSError, nbformat.reader.NotJSONError, nbformat.ValidationError, sqlite3.Error):
            notary.sign(nbformat.read(path, as_version=4))


def open_lab(args: list[str]) -> int:
    """Serve the course with JupyterLab until it is stopped. `args` are JupyterLab's own and win over ours."""
    from jupyterlab.labapp import LabApp

    # A terminal in JupyterLab, and `!course` in a notebook, find this environment's commands.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    folder = course_folder()
    trust_lectures(folder)
    os.chdir(folder)  # nbgrader takes the current folder for the course's
    print(f"JupyterLab serves {folder}. Stop it with Ctrl-C. It takes a few seconds to start.", flush=True)
    given = {argument.partition("=")[0] for argument in args}
    ours = [argument for argument in server_arguments(folder) if argument.partition("=")[0] not in given]
    LabApp.launch_instance([*ours, *args])
    return 0
