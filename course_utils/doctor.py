"""`course doctor`: can this machine run the course? It tries things rather than believe them."""

import importlib.metadata
import os
import platform
import shutil
import sys
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
from packaging.requirements import Requirement
from rich.console import Console
from rich.table import Table
from rich.text import Text

from course_utils import units
from course_utils.lab import some_home

PYTHON = (3, 11)
GIGABYTE = 10**9
MEMORY_NEEDED, DISK_NEEDED = 4, 1  # gigabytes
KERNEL_SECONDS = 60
INSTALL = "run `make lab` again, or `pip install -c constraints.txt -e .` in the course's folder"
SIGNS = {"good": "[green]✓[/green]", "warning": "[yellow]![/yellow]", "bad": "[red]✗[/red]"}


@dataclass(frozen=True)
class Finding:
    """What was found of one thing. `verdict`: 'good', 'warning' (the course runs all the same) or 'bad'."""

    verdict: str
    text: str


def look_at_python() -> Finding:
    here = f"{platform.python_version()} in {sys.prefix}"
    if sys.version_info < PYTHON:
        return Finding(
            "bad", f"{here}: the course needs {'.'.join(map(str, PYTHON))} or newer, from python.org or conda"
        )
    return Finding("good", here)


def requirements() -> list[Requirement]:
    """What the course needs: from pyproject.toml beside the package, else from what was installed."""
    project = units.ROOT / "pyproject.toml"
    if project.exists():
        lines = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["dependencies"]
    else:
        lines = importlib.metadata.requires("deep-learning-on-a-budget") or []
    return [r for r in map(Requirement, lines) if r.marker is None or r.marker.evaluate({"extra": ""})]


def look_at_packages() -> Finding:
    faults, needed = [], requirements()
    for requirement in needed:
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            faults.append(f"{requirement.name} is missing")
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            faults.append(f"{requirement.name} is {version}, not {requirement.specifier}")
    if faults:
        return Finding("bad", f"{'; '.join(faults)}: {INSTALL}")
    return Finding("good", f"all {len(needed)} are here, in versions that fit")


def look_at_torch() -> Finding:
    try:
        import torch
        import torchvision

        torchvision.ops.nms(torch.rand(1, 4), torch.rand(1), 0.5)  # fails if the two were not built for each other
    except Exception as error:  # a broken build fails in many ways: OSError, RuntimeError, ImportError
        return Finding("bad", f"PyTorch does not work ({error}): {INSTALL}")
    return Finding(
        "good",
        f"torch {torch.__version__} with torchvision {torchvision.__version__}, on {torch.get_num_threads()} threads",
    )


def look_at_cores() -> Finding:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if cores < 2:
        return Finding("warning", "1: the course runs, but about half as fast as it was planned for")
    return Finding("good", f"{cores}")


def look_at_memory() -> Finding:
    memory = psutil.virtual_memory()
    text = f"{memory.total / GIGABYTE:.0f} GB, {memory.available / GIGABYTE:.1f} GB of it free"
    if memory.total < MEMORY_NEEDED * GIGABYTE:
        return Finding("warning", f"{text}: the longer experiments want {MEMORY_NEEDED} GB; close other programs")
    if memory.available < MEMORY_NEEDED * GIGABYTE / 2:
        return Finding("warning", f"{text}: close other programs before the longer experiments")
    return Finding("good", text)


def look_at_disk() -> Finding:
    free = shutil.disk_usage(units.ROOT).free / GIGABYTE
    if free < DISK_NEEDED / 10:
        return Finding("bad", f"{free:.2f} GB free: notebooks cannot be saved safely; free at least {DISK_NEEDED} GB")
    if free < DISK_NEEDED:
        return Finding("warning", f"{free:.2f} GB free: free at least {DISK_NEEDED} GB")
    return Finding("good", f"{free:.0f} GB free")


@some_home()
def look_at_jupyter() -> Finding:
    from jupyter_core.paths import jupyter_path

    version = importlib.metadata.version("jupyterlab")
    if not any((Path(p) / "@jupyter-widgets" / "jupyterlab-manager").is_dir() for p in jupyter_path("labextensions")):
        return Finding("bad", f"JupyterLab {version}, but its widgets are missing (jupyterlab_widgets): {INSTALL}")
    return Finding("good", f"JupyterLab {version} with widgets {importlib.metadata.version('ipywidgets')}")


@some_home()
def look_at_kernel() -> Finding:
    """Start a kernel as a notebook does, and let it import the course."""
    from jupyter_client.manager import start_new_kernel

    printed: list[str] = []

    def listen(message: dict) -> None:
        content = message["content"]
        printed.append(content.get("text") or content.get("evalue") or "")

    start = time.perf_counter()
    manager, client = start_new_kernel(
        startup_timeout=KERNEL_SECONDS, kernel_name="python3", extra_arguments=["--log-level=ERROR"]
    )
    try:
        reply = client.execute_interactive(
            "import sys, course_utils; print(sys.prefix)", output_hook=listen, timeout=KERNEL_SECONDS
        )
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    said = "".join(printed).strip()
    if reply["content"]["status"] != "ok":
        return Finding("bad", f"a notebook's kernel starts, but cannot import the course ({said}): {INSTALL}")
    if Path(said).resolve() != Path(sys.prefix).resolve():
        return Finding(
            "bad", f"notebooks run another Python, in {said}: remove it with `jupyter kernelspec remove python3`"
        )
    return Finding("good", f"starts and imports the course in {time.perf_counter() - start:.1f} s")


def look_at_labs() -> Finding:
    labs = sorted(path.parent.name for path in units.ROOT.glob("labs/*/*.ipynb") if path.stem == path.parent.name)
    if not labs:
        return Finding("warning", f"none in {units.ROOT}: open JupyterLab in the folder that holds yours")
    return Finding("good", f"{len(labs)} in {units.ROOT / 'labs'}")


def look_at_digits() -> Finding:
    from course_utils import data

    digits = data.embedded_digits()
    return Finding(
        "good", f"{len(digits.train)} to train on, {len(digits.validation)} to validate, {len(digits.test)} to test"
    )


def look_at_full_data() -> Finding:
    from course_utils import data

    try:
        mnist = data.full_mnist()
    except OSError as error:
        return Finding("warning", f"only `course reproduce` needs it. {error}")
    return Finding("good", f"full MNIST, {len(mnist.train) + len(mnist.validation) + len(mnist.test)} digits")


def look_at_cache() -> Finding:
    from course_utils import data

    try:
        folder = data.cache_folder()
    except OSError as error:
        return Finding("warning", f"{error} Without it, loading data takes longer each time")
    try:
        probe = folder / "doctor"
        data.write_atomically(probe, b"probe")
        probe.unlink()
    except OSError as error:
        return Finding(
            "warning", f"{folder} cannot be written to ({error.strerror}): loading data takes longer each time"
        )
    return Finding("good", f"{folder}")


def look_at_sandbox() -> Finding:
    """Start the very sandbox that `course grade` uses."""
    if not (units.PACKAGE / "grading" / "sandbox.py").exists():
        return Finding("good", "not needed: this is a student kit, which does not grade")
    from course_utils.grading.sandbox import Sandbox, SandboxUnavailable

    try:
        with Sandbox(units.available()[0]) as sandbox, sandbox.submission():
            pass
    except SandboxUnavailable as error:
        return Finding("warning", f"only grading needs it. {error}")
    return Finding("good", "starts, so that students' code can be graded without trusting it")


EXAMINATIONS: dict[str, Callable[[], Finding]] = {
    "Python": look_at_python,
    "Packages": look_at_packages,
    "PyTorch": look_at_torch,
    "Cores": look_at_cores,
    "Memory": look_at_memory,
    "Disk": look_at_disk,
    "JupyterLab": look_at_jupyter,
    "Kernel": look_at_kernel,
    "Labs": look_at_labs,
    "Digits": look_at_digits,
    "Full data": look_at_full_data,
    "Cache": look_at_cache,
    "Sandbox": look_at_sandbox,
}


def examine(console: Console | None = None) -> bool:
    """Print what was found, in plain words; return whether the course can run."""
    console = console or Console()
    findings: dict[str, Finding] = {}
    with console.status("", spinner="line") as status:  # every terminal has these signs
        for subject, look in EXAMINATIONS.items():
            status.update(f"looking at: {subject}")
            try:
                findings[subject] = look()
            except Exception as error:  # what is broken here must not hide what else is
                findings[subject] = Finding("bad", f"does not work ({type(error).__name__}: {error}): {INSTALL}")
    table = Table(show_header=False, box=None, pad_edge=False)
    for subject, finding in findings.items():
        table.add_row(SIGNS[finding.verdict], subject, Text(finding.text))
    console.print(table)
    bad = [subject for subject, finding in findings.items() if finding.verdict == "bad"]
    if bad:
        console.print(f"\nThis machine cannot run the course yet. Mend first: {', '.join(bad)}.")
    else:
        warned = any(finding.verdict == "warning" for finding in findings.values())
        console.print(f"\nThis machine can run the course{'; what is marked ! is worth knowing' if warned else ''}.")
    return not bad
