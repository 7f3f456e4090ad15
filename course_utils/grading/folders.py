"""Temporary folders that are gone when their owner is, however it ended."""

import os
import shutil
import tempfile
from pathlib import Path

import psutil

PREFIX = "course-sandbox-"


def fresh_folder() -> Path:
    """A temporary folder that bears this process's number; those of processes that were killed are removed."""
    user = os.getuid() if hasattr(os, "getuid") else 0  # Windows: every file's owner is 0
    for stale in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        owner = stale.name.removeprefix(PREFIX).partition("-")[0]
        if owner.isdecimal() and stale.stat().st_uid == user and not psutil.pid_exists(int(owner)):
            shutil.rmtree(stale, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
