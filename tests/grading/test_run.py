"""A run that is stopped, refused, spread over machines: what is done is kept, and nothing is left behind."""

import csv
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time

import psutil
import pytest
import torch

from course_utils import binary
from course_utils.checks.draw import Draw
from course_utils.checks.engine import Exercise, Law
from course_utils.cli import main
from course_utils.grading import submission
from course_utils.grading.child import Limits
from course_utils.grading.folders import PREFIX, fresh_folder
from course_utils.grading.processes import _bound_memory
from course_utils.grading.protocol import pack, unpack
from course_utils.grading.run import _alone_in, grade_class
from course_utils.grading.sandbox import SandboxUnavailable
from course_utils.units import ROOT
from tests.grading.notebooks import EXERCISES, STUB, cells, notebook

SIZE = 6  # students in the small class
FULL = sum(exercise.points for exercise in EXERCISES)
LEAK = "def virtual_teacher(labels, *a):\n    raise ValueError(str(labels.tolist()))"


def write_class(folder):
    folder.mkdir()
    for number in range(SIZE):
        (folder / f"student{number}.ipynb").write_bytes(notebook(cells(**({} if number % 2 else STUB))))
    return folder


@pytest.fixture
def small_class(tmp_path):
    """Students of whom every other one did nothing."""
    return write_class(tmp_path / "class")


@pytest.fixture(scope="module")
def graded_here(tmp_path_factory):
    """Results of the small class and of one file that cannot be read, graded by one process without bubblewrap."""
    folder = tmp_path_factory.mktemp("here")
    (write_class(folder / "class") / "corrupt.ipynb").write_bytes(b"{")
    arguments = ["grade", "01", str(folder / "class"), "--out", str(folder / "out"), "--trust", "--workers", "1"]
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr("shutil.which", lambda name: None)
        main(arguments)
    assert ended.value.code == 0
    return folder / "out"


def totals(out):
    with open(out / "grades.csv", newline="") as file:
        return {row["student"]: float(row["total"]) for row in csv.DictReader(file)}


DESERVED = {f"student{number}": float(FULL * (number % 2)) for number in range(SIZE)}


class Run:
    """`course grade` as a process, with a temporary folder of its own."""

    def __init__(self, folder, out, *options):
        self.temporary = out.parent / "temporary"
        self.temporary.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "course_utils", "grade", "01", str(folder), "--out", str(out), *options]
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        environment = {**os.environ, "TMPDIR": str(self.temporary), "PYTHONPATH": path, "COLUMNS": "200"}
        self.out = out
        self.process = subprocess.Popen(
            command,
            env=environment,
            cwd=out.parent,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # A shell starts what runs in its background with Ctrl-C ignored, and so would be whatever the tests start
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def stop(self, number):
        """Send a signal when the first results are there (SIGINT to the group, as Ctrl-C does); what it says then."""
        deadline = time.monotonic() + 120
        while not list(self.out.glob("results/*.json")) and self.process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        relatives = psutil.Process(self.process.pid).children(recursive=True)
        assert relatives
        (os.killpg if number == signal.SIGINT else os.kill)(self.process.pid, number)
        said = self.process.communicate(timeout=30)[1]
        _, alive = psutil.wait_procs(relatives, timeout=15)
        assert not alive
        return said


def left(temporary):
    """What lies in a temporary folder, but for the cache that torch makes there for whoever imports its compiler."""
    return [path.name for path in temporary.iterdir() if not path.name.startswith("torchinductor_")]


@pytest.mark.slow
def test_kill_9_of_a_sandboxed_run_leaves_nothing_and_loses_nothing(small_class, tmp_path, guarded):
    out = tmp_path / "out"
    Run(small_class, out).stop(signal.SIGKILL)
    time.sleep(0.5)
    assert left(tmp_path / "temporary") == []
    done = {path: path.stat().st_mtime_ns for path in out.glob("results/*.json")}
    assert 0 < len(done) < SIZE and not (out / "grades.csv").exists()
    assert grade_class("01", small_class, out, workers=1) is True
    assert totals(out) == DESERVED
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in done.items())
    assert not [path for path in out.rglob(".*")]


@pytest.mark.slow
def test_ctrl_c_is_one_sentence_and_loses_nothing(small_class, tmp_path):
    out = tmp_path / "out"
    run = Run(small_class, out, "--trust", "--workers", "1")
    said = run.stop(signal.SIGINT)
    assert run.process.returncode == 130
    assert "Traceback" not in said and said.strip().splitlines()[-1].startswith("Stopped."), said
    time.sleep(0.5)
    assert left(run.temporary) == []
    kept = len(list(out.glob("results/*.json")))
    assert 0 < kept < SIZE
    assert grade_class("01", small_class, out, trust=True, workers=1) is True
    assert totals(out) == DESERVED


def test_results_have_a_folder_of_their_own_and_one_run_at_a_time(small_class, tmp_path):
    with pytest.raises(ValueError, match="name another folder"):
        grade_class("01", small_class, small_class / ".." / small_class.name)
    out = tmp_path / "out"
    out.mkdir()
    with _alone_in(out), pytest.raises(ValueError, match="Another run is writing"):
        grade_class("01", small_class, out)
    with _alone_in(out):
        assert not (out / "secret_seed").exists()


def test_no_call_is_sent_ahead_that_tells_an_earlier_answer():
    """The laws of training steps feed a function what it returned: a later call's arguments answer an earlier call."""
    answers = []
    for sent in submission.reference_calls("binary", submission.instructor_laws("binary"), 5)["5.3"]:
        assert not any(answer in sent for answer in answers)
        args, kwargs = unpack(sent)
        answers += [answer for answer in [pack(binary.binary_sgd_step(*args, **kwargs))] if answer not in sent]
    assert answers


def test_a_folder_of_a_process_that_was_killed_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    dead = subprocess.Popen(["/bin/true"])
    dead.wait()
    (tmp_path / f"{PREFIX}{dead.pid}-abc").mkdir()
    mine = tmp_path / f"{PREFIX}{os.getpid()}-def"
    mine.mkdir()
    (tmp_path / f"{PREFIX}notes").mkdir()
    fresh = fresh_folder()
    assert sorted(tmp_path.iterdir()) == sorted([mine, fresh, tmp_path / f"{PREFIX}notes"])


def test_without_bubblewrap_the_command_refuses_in_one_sentence(small_class, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert main(["grade", "01", str(small_class), "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert "apt install bubblewrap" in said and "--trust" in said and "Traceback" not in said
    assert len(said.strip().splitlines()) == 1 and not list((tmp_path / "out").glob("results/*"))


def test_trust_needs_no_bubblewrap(graded_here):
    assert totals(graded_here) == {**DESERVED, "corrupt": 0}


def test_where_namespaces_are_forbidden_the_refusal_says_so(small_class, tmp_path, monkeypatch):
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setattr("shutil.which", lambda name: str(fake))
    with pytest.raises(SandboxUnavailable, match=r"namespace.*sysctl.*--trust"):
        grade_class("01", small_class, tmp_path / "out", workers=1)


def test_what_comes_in_after_feedback_is_tried_on_new_inputs(tmp_path):
    """Feedback shows a student's own exceptions, and those can tell the hidden inputs."""
    folder, out = tmp_path / "class", tmp_path / "out"
    folder.mkdir()
    told = []
    for spare in ("", " "):
        (folder / "eve.ipynb").write_bytes(notebook(cells(virtual_teacher=LEAK + spare + "\n" * len(spare))))
        assert grade_class("01", folder, out, trust=True, workers=1) is True
        assert grade_class("01", folder, out, trust=True, workers=1) is True  # nothing new: no new inputs
        told.append(re.findall(r"ValueError in [^<]*: (\[[^<]*)<", (out / "feedback" / "eve.html").read_text()))
    seeds = (out / "secret_seed").read_text().split()
    # An error that two laws meet in the same words is told once, so the two may differ in length
    assert len(seeds) == 2 and min(map(len, told)) > 1 and told[0] != told[1]


# --- Laws that hostile results keep busy ------------------------------------------------------------------------------


class Obedient:
    """Stands in for a submission's process."""

    died = None
    limits = Limits(exercise=1)

    def request(self, **message):
        return {"callable": True, "problems": [], "value": 1}


def judged(test):
    exercise = Exercise("9.9", "f", 2, 1, 1, laws=[Law("busy", test)])
    result = submission.ExerciseResult("9.9", "f", 2)
    found = {"missing": [], "broken": {}, "code": {"f": []}}
    submission._grade_exercise(Obedient(), exercise, result, found, [], 1)
    return result


def test_a_law_that_does_not_end_is_ended():
    def endless(function, draw: Draw):
        function()
        while True:
            pass

    start = time.process_time()
    result = judged(endless)
    assert (result.outcome, result.points) == ("timed out", 0)
    assert time.process_time() - start < 4
    assert signal.getitimer(signal.ITIMER_PROF) == (0, 0)


def test_a_law_that_becomes_too_hungry_fails_alone():
    def bounded():
        _bound_memory(2**30)
        result = judged(lambda function, draw: torch.ones(2**31))
        assert result.points == 0 and not result.laws[0]["passed"], result
        assert judged(lambda function, draw: None).points == 2

    process = multiprocessing.get_context("fork").Process(target=bounded)
    process.start()
    process.join()
    assert process.exitcode == 0


def test_the_verdict_of_a_hostile_result_fits_on_a_page():
    def long_winded(function, draw):
        raise ValueError("x" * 10_000_000)

    (law, *_) = judged(long_winded).laws
    assert len(law["message"]) <= submission.SHOWN + 1


# --- Many machines ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_dask_cluster_gives_the_same_table_though_a_worker_dies(small_class, graded_here, tmp_path):
    distributed = pytest.importorskip("distributed")
    from threading import Thread

    (small_class / "corrupt.ipynb").write_bytes(b"{")
    settings = {"n_workers": 2, "processes": True, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(**settings, local_directory=tmp_path / "dask") as cluster:
        first = next(iter(cluster.workers.values()))

        def kill_when_busy():
            worker = psutil.Process(first.pid)
            deadline = time.monotonic() + 60
            while not worker.children() and time.monotonic() < deadline:
                time.sleep(0.05)
            worker.kill()
            killed.append(worker.pid)

        killed = []
        killer = Thread(target=kill_when_busy)
        killer.start()
        out = tmp_path / "cluster"
        assert grade_class("01", small_class, out, seed=5, trust=True, scheduler=cluster.scheduler_address) is True
        killer.join()
    assert killed
    assert (out / "grades.csv").read_bytes() == (graded_here / "grades.csv").read_bytes()


def test_a_scheduler_that_is_not_there(small_class, tmp_path):
    pytest.importorskip("distributed")
    with pytest.raises(OSError, match="no Dask scheduler"):
        grade_class("01", small_class, tmp_path / "out", trust=True, scheduler="not an address")
