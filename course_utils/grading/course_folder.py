"""nbgrader's course folder, the one of gradebook.db: submitted/, autograded/, feedback/ and nbgrader_config.py."""

import os
import shutil
import sys
from pathlib import Path

from nbgrader.coursedir import CourseDirectory
from sqlalchemy.engine import make_url
from traitlets.config import Config
from traitlets.config.loader import PyFileConfigLoader

from course_utils.units import ROOT

CONFIG = "nbgrader_config.py"


def course_directory(gradebook: str) -> CourseDirectory:
    """nbgrader's course folder around a gradebook, which is a file or a database's URL.

    A folder without nbgrader_config.py gets the course's. For a database on a server, it is the current folder.
    """
    url = gradebook if "://" in gradebook else f"sqlite:///{Path(gradebook).expanduser().absolute()}"
    database = make_url(url)
    local = database.get_backend_name() == "sqlite" and database.database
    root = Path(str(database.database)).absolute().parent if local else Path.cwd()
    root.mkdir(parents=True, exist_ok=True)
    find_commands()
    if not (root / CONFIG).exists():
        shutil.copyfile(ROOT / CONFIG, root / CONFIG)
    config: Config = PyFileConfigLoader(CONFIG, path=str(root)).load_config()
    return CourseDirectory(config=config, root=str(root), db_url=url)


def find_commands() -> None:
    """Let nbgrader find alembic, which it calls to make a database, where the environment is not activated."""
    folder, path = str(Path(sys.executable).parent), os.environ.get("PATH", "")
    if folder not in path.split(os.pathsep):
        os.environ["PATH"] = os.pathsep.join([folder, path])
