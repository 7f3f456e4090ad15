"""The toy's experiment."""

from pathlib import Path


def run(seeds: int, out: Path) -> None:
    """Nothing to run."""
