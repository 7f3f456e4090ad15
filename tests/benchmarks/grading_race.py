"""How fast `course grade` is beside nbgrader's own autograde: `python -m tests.benchmarks.grading_race`.

One class hands in a torch lab, whole notebooks with their experiments. In one run, on one machine: our grader with its
sandbox grades all of them; nbgrader, configured by nothing but its course folder, grades a few, one after the other as
it does, and is compared per submission. Then a class five times as large is graded, killed with SIGKILL in the middle
and started again, while the memory of all its processes is watched.
"""

import argparse
import copy
import csv
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import psutil

from course_utils.notebooks.build import solution_source
from course_utils.notebooks.source import function_source, stub_source
from course_utils.units import ROOT, find_topic, load_unit, unit_name

SEED = 20261


def submissions(topic: str, count: int) -> dict[str, nbformat.NotebookNode]:
    """A class: of three students one solved everything, one made one mistake, one left an exercise undone."""
    solved = nbformat.read(solution_source(topic).with_suffix(".ipynb"), as_version=4)
    exercises = load_unit(topic).exercises
    stubs = {e.name: stub_source(function_source(topic, e.name), e) for e in exercises}
    wrong = "    return None  # to do\n"
    made = {}
    for number in range(count):
        notebook, exercise = copy.deepcopy(solved), exercises[number // 3 % len(exercises)]
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
            if cell.id == exercise.name and number % 3:
                head = cell.source.split('"""')[0]
                cell.source = stubs[exercise.name] if number % 3 == 1 else head.rstrip() + "\n" + wrong
        made[f"student{number:03d}"] = notebook
    return made


def hand_in(folder: Path, lab: str, notebooks: dict[str, nbformat.NotebookNode]) -> Path:
    for student, notebook in notebooks.items():
        path = folder / student / lab / f"{lab}.ipynb"
        path.parent.mkdir(parents=True)
        nbformat.write(notebook, path)
    return folder


def environment() -> dict[str, str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])  # nbgrader calls alembic
    threads = {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
    return {**os.environ, **threads, "PYTHONPATH": str(ROOT), "PATH": path}


def our_command(lab: str, folder: Path, out: Path) -> list[str]:
    command = [sys.executable, "-m", "course_utils", "grade", lab, str(folder), "--out", str(out)]
    return [*command, "--seed", str(SEED)]


def ours(lab: str, folder: Path, out: Path) -> float:
    """Seconds for the class, from the command line to grades.csv."""
    start = time.perf_counter()
    subprocess.run(our_command(lab, folder, out), env=environment(), check=True)
    return time.perf_counter() - start


def nbgraders(lab: str, topic: str, folder: Path, notebooks: dict[str, nbformat.NotebookNode]) -> float:
    """Seconds for the submissions with `nbgrader autograde`; its start and `generate_assignment` are not counted."""
    source = folder / "source" / lab
    source.mkdir(parents=True)
    solved = nbformat.read(solution_source(topic).with_suffix(".ipynb"), as_version=4)
    nbformat.write(solved, source / f"{lab}.ipynb")
    (folder / "nbgrader_config.py").write_text("c = get_config()\nc.CourseDirectory.course_id = 'race'\n")
    program = [sys.executable, "-m", "nbgrader"]
    quiet = {"cwd": folder, "env": environment(), "check": True, "capture_output": True}
    subprocess.run([*program, "generate_assignment", lab], **quiet)
    hand_in(folder / "submitted", lab, notebooks)
    start = time.perf_counter()
    subprocess.run([*program, "--version"], **quiet)
    started = time.perf_counter() - start
    start = time.perf_counter()
    subprocess.run([*program, "autograde", lab], **{**quiet, "check": False})
    seconds = time.perf_counter() - start - started
    done = len(list((folder / "autograded").glob(f"*/{lab}/{lab}.ipynb")))
    if done < len(notebooks):  # on a busy machine a cell takes more than the 30 s that it allows
        print(f"nbgrader gave up {len(notebooks) - done} of {len(notebooks)} submissions", flush=True)
    return seconds


def family(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def memory(process: psutil.Process) -> float:
    """Megabytes of all its processes; pages that several of them share are counted once (PSS)."""
    total = 0
    for each in family(process):
        try:
            total += each.memory_full_info().pss
        except (psutil.Error, AttributeError, OSError):
            continue
    return total / 2**20


def interrupted(lab: str, folder: Path, out: Path) -> tuple[float, float, int, int]:
    """Grade, kill with SIGKILL in the middle, start again. (seconds, peak MB, done at the kill, processes left)."""
    count = len(list(folder.iterdir()))
    start, peak, done, left = time.perf_counter(), 0.0, 0, 0
    for attempt in range(2):
        run = subprocess.Popen(our_command(lab, folder, out), env=environment(), start_new_session=True)
        watched, last = psutil.Process(run.pid), 0.0
        while run.poll() is None:
            if time.perf_counter() - last > 2:
                peak, last = max(peak, memory(watched)), time.perf_counter()
            time.sleep(0.1)
            if attempt == 0 and len(list((out / "results").glob("*.json"))) >= count // 2:
                relatives = family(watched)
                os.kill(run.pid, signal.SIGKILL)
                run.wait()
                _, alive = psutil.wait_procs(relatives, timeout=10)
                done, left = len(list((out / "results").glob("*.json"))), len(alive)
        if attempt == 1 and run.returncode:
            raise SystemExit("the second run failed")
    return time.perf_counter() - start, peak, done, left


def totals(out: Path) -> list[str]:
    with open(out / "grades.csv", newline="") as file:
        return [row["total"] for row in csv.DictReader(file)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lab", default="01")
    parser.add_argument("--submissions", type=int, default=60)
    parser.add_argument("--nbgrader", type=int, default=6, help="how many of them nbgrader grades")
    parser.add_argument("--large", type=int, default=300, help="the class that is killed and started again; 0: none")
    options = parser.parse_args()
    topic = find_topic(options.lab)
    lab = unit_name(topic)
    notebooks = submissions(topic, options.submissions)
    with tempfile.TemporaryDirectory(prefix="grading-race-") as name:
        folder = Path(name)
        print(f"lab {lab}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", flush=True)
        each = ours(lab, hand_in(folder / "class", lab, notebooks), folder / "out") / len(notebooks)
        print(f"course grade, sandbox on, {len(notebooks)} submissions, start and imports included:")
        print(f"  {each:.3f} s each, {60 / each:.0f} a minute", flush=True)
        few = dict(list(notebooks.items())[: options.nbgrader])
        theirs = nbgraders(lab, topic, folder / "nbgrader", few) / len(few)
        print(f"nbgrader autograde, {len(few)} of them: {theirs:.2f} s each, {60 / theirs:.1f} a minute")
        print(f"ratio per submission: {theirs / each:.1f}", flush=True)
        if options.large:
            many = submissions(topic, options.large)
            took, peak, done, left = interrupted(lab, hand_in(folder / "many", lab, many), folder / "many-out")
            same = totals(folder / "many-out")[: len(notebooks)] == totals(folder / "out")
            print(f"{len(many)} submissions, SIGKILL after {done}, started again: {took:.1f} s, peak {peak:.0f} MB;")
            print(f"  {left} processes left after the kill; points as in the undisturbed class: {same}")


if __name__ == "__main__":
    main()
