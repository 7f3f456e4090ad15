"""Deep Learning on a Budget: a room for each unit with the paper's algorithms, the ground that all units share, and the
machinery of the course.

A folder with a file unit.toml is a unit's room. data, models, training, pruning, plots and widgets are shared ground.
checks, notebooks, reproduce, grading and the modules of the `course` command are machinery.
"""

import importlib
import logging
from typing import Any

__version__ = "0.1.0"

# Where modules went that notebooks of version 0.1.0 import from here: a class keeps the lab that it began with
MOVED = {"bitstring": "course_utils.deep_compression.bitstring"}

# Where no home folder can be written to, matplotlib makes a temporary one; what it says of that helps no reader
logging.getLogger("matplotlib").addFilter(lambda record: record.funcName != "_get_config_or_cache_dir")


def __getattr__(name: str) -> Any:
    if name in MOVED:
        return importlib.import_module(MOVED[name])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
