"""Progress bars that leave nothing behind."""

import io
import sys
from typing import Any

from tqdm import tqdm


class NotebookBar(tqdm):
    """A bar in one output of a notebook, updated in place and emptied at the end.

    tqdm's own goes to stderr: JupyterLab shows it in red, and an exported page has a line for each of its states.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.shown: Any = None
        super().__init__(*args, **{"ncols": 90, "mininterval": 0.25} | kwargs, file=io.StringIO())

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Show the bar, or a text in its place."""
        from IPython.display import display

        bundle = {"text/plain": str(self) if msg is None else msg}
        if self.shown is None:
            self.shown = display(bundle, raw=True, display_id=True)
        else:
            self.shown.update(bundle, raw=True)


def progress_bar(**kwargs: Any) -> tqdm:
    """A tqdm bar that is wiped at the end, in a notebook or a terminal. TQDM_DISABLE=1 in the environment hides it."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return (NotebookBar if hasattr(shell, "kernel") else tqdm)(leave=False, **kwargs)
