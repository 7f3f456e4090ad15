"""nbgrader's course folder, the one of gradebook.db: submitted/, autograded/, feedback/ and nbgrader_config.py."""

import contextlib
import glob
import os
import re
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbgrader.api
import nbgrader.apps.api
import nbgrader.converters.base
import nbgrader.utils
from nbgrader.apps.api import NbGraderAPI
from nbgrader.coursedir import CourseDirectory
from sqlalchemy.engine import URL, Engine, create_engine, make_url
from traitlets.config import Config
from traitlets.config.loader import PyFileConfigLoader

from course_utils.grading.collect import Refused, locate
from course_utils.grading.timestamps import hand_in_time, parse_time
from course_utils.units import ROOT

CONFIG = "nbgrader_config.py"


def course_directory(gradebook: str) -> CourseDirectory:
    """nbgrader's course folder around a gradebook, which is a file or a database's URL.

    A folder without nbgrader_config.py gets the course's. For a database on a server, it is the current folder.
    """
    if "://" in gradebook:
        url = make_url(gradebook)
        local = url.database if url.get_backend_name() == "sqlite" else None
    else:
        local = str(Path(gradebook).expanduser().absolute())
        gradebook = f"sqlite:///{local}"
    root = Path(local).absolute().parent if local else Path.cwd()
    root.mkdir(parents=True, exist_ok=True)
    mend_nbgrader()
    if not (root / CONFIG).exists():
        shutil.copyfile(ROOT / CONFIG, root / CONFIG)
    config: Config = PyFileConfigLoader(CONFIG, path=str(root)).load_config()
    return CourseDirectory(config=config, root=str(root), db_url=gradebook)


def find_commands() -> None:
    """Let nbgrader find alembic, which it calls to make a database, where the environment is not activated."""
    folder, path = str(Path(sys.executable).parent), os.environ.get("PATH", "")
    if folder not in path.split(os.pathsep):
        os.environ["PATH"] = os.pathsep.join([folder, path])


# --- What nbgrader has no settings for --------------------------------------------------------------------------------


def mend_nbgrader() -> None:
    """Let nbgrader work in 'HS26 [A]', which it takes for a pattern, and in 'Who?', which it takes for an address.

    It also learns to read times as `course grade` does, due dates with an offset among them, and finds alembic.
    """
    find_commands()
    for module in (nbgrader.apps.api, nbgrader.converters.base, nbgrader.utils):
        module.glob = SimpleNamespace(glob=find_files)
    nbgrader.api.create_engine = _engine
    nbgrader.utils.parse_utc = _utc
    CourseDirectory.get_existing_timestamp = _time_in
    NbGraderAPI.get_submitted_timestamp = _time_of


def find_files(pattern: str) -> list[str]:
    """`glob.glob`, but that a name which is there stands for itself. `*` is everything, whatever is there."""
    folder, name = os.path.split(pattern)
    if not name:
        return glob.glob(pattern)
    found = []
    for parent in find_files(folder) if folder else [""]:
        path = os.path.join(parent, name)
        literally = name != "*" and os.path.lexists(path)
        found += [path] if literally else sorted(glob.glob(os.path.join(glob.escape(parent), name)))
    return found


def _engine(url: str, **options: Any) -> Engine:
    """SQLAlchemy's, for a database whose folder may have any name."""
    kind, _, path = url.partition(":///")
    folder = os.path.dirname(path)
    literally = kind == "sqlite" and re.search("[?%]", folder) and os.path.isdir(folder)
    return create_engine(URL.create(kind, database=path) if literally else url, **options)


def _utc(time: datetime | str | None) -> datetime | None:
    """A time in UTC, without a zone. nbgrader's own drops "+02:00" and takes "+0200" for 200 seconds.

    ValueError, a sentence, if it cannot be told what time is meant.
    """
    if isinstance(time, str):
        try:
            return parse_time(time)
        except ValueError as error:
            raise ValueError(f"{error}: write the time as in 2026-11-01 22:59:00 +01:00.") from None
    return time.astimezone(UTC).replace(tzinfo=None) if time and time.tzinfo else time


def _time_in(course: CourseDirectory, folder: str) -> datetime | None:
    """When the hand-in in STUDENT/LAB came, in place of CourseDirectory.get_existing_timestamp."""
    place = Path(folder)
    with contextlib.suppress(Refused, OSError):
        place = locate(place.parent, place.name).parent
    try:
        return hand_in_time(place)
    except ValueError as error:
        course.log.warning("%s: %s", Path(folder).parent.name, error)
        return None


def _time_of(api: NbGraderAPI, lab: str, student: str) -> datetime | None:
    """The same for formgrader, in place of NbGraderAPI.get_submitted_timestamp."""
    return _time_in(api.coursedir, api.coursedir.format_path(api.coursedir.submitted_directory, student, lab))
