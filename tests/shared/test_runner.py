"""The runner of experiments: the same numbers wherever pieces run, and nothing lost that was done."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace

import psutil
import pytest
import torch

from course_utils import cli, reproduce
from course_utils.lottery import reproduce as lottery
from course_utils.reproduce import processes
from course_utils.reproduce.journal import Journal, decode, encode
from course_utils.reproduce.runner import Done, Piece, PieceFailed
from course_utils.units import ROOT
from tests.shared import toy_experiment as toy

NAMES = [f"{seed}-{number}" for seed in range(2) for number in range(3)]
COMMAND = """
import sys
from pathlib import Path
from course_utils import cli, reproduce
from course_utils.reproduce import journal
journal.cache_folder = lambda: Path(sys.argv[1]) / "cache"
reproduce.experiments = lambda: {"toy": "tests.shared.toy_experiment"}
sys.exit(cli.main(["reproduce", "toy", "--seeds", "2", "--workers", "2", "--out", sys.argv[1]]))
"""


@pytest.fixture(autouse=True)
def folder(own_cache, tmp_path, monkeypatch):
    """Where toys get their orders, and write down what they do."""
    monkeypatch.setenv("TOY_FOLDER", str(tmp_path / "toys"))
    monkeypatch.setattr(reproduce, "experiments", lambda: {"toy": "tests.shared.toy_experiment"})
    (tmp_path / "toys").mkdir()
    return tmp_path / "toys"


def log(folder):
    """(step, process) of each piece that was started, in their order."""
    path = folder / "log"
    return [tuple(line.split()) for line in path.read_text().splitlines()] if path.exists() else []


def forget(folder):
    (folder / "log").unlink()


def numbers(results):
    """What must be the same, whoever computes: all but times and places."""
    if isinstance(results, dict):
        return {str(k): numbers(v) for k, v in results.items() if k not in ("seconds", "date", "command", "places")}
    return [numbers(each) for each in results] if isinstance(results, list | tuple) else results


def test_two_workers_find_what_one_does_though_one_of_them_dies(folder, tmp_path):
    alone = toy.run(2, tmp_path / "one")
    assert [name for name, _ in log(folder)] == sorted(NAMES, key=lambda name: name[::-1])
    assert {process for _, process in log(folder)} == {str(os.getpid())}
    forget(folder)
    (folder / "1-1").write_text("die")
    together = toy.run(2, tmp_path / "two", workers=2)
    assert numbers(together) == numbers(alone) and len(set(map(str, alone["runs"].values()))) == 2
    assert json.loads((tmp_path / "two" / "toy.json").read_text())["runs"] == numbers(together["runs"])
    started = [name for name, _ in log(folder)]
    assert sorted(started) == sorted([*NAMES, "1-1"]) and len({process for _, process in log(folder)}) == 3
    for results, workers in ((alone, 1), (together, 2)):
        (place,) = results["places"]
        assert (place["workers"], place["threads"], place["pieces"]) == (workers, 1, 6) and place["host"]
    assert together["seeds"] == {"asked": 2, "has": 2}
    assert not any(psutil.pid_exists(int(process)) for _, process in log(folder))


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_stopped_leaves_no_process_and_goes_on_where_it_was(stop, folder, tmp_path):
    for name in ("0-2", "1-2"):
        (folder / name).write_text("hang")
    command = [sys.executable, "-c", COMMAND, str(tmp_path)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 120
    while len(log(folder)) < 6 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    workers = {psutil.Process(int(each)) for _, each in log(folder)}
    assert len(workers) == 2
    os.killpg(process.pid, stop)
    _, said = process.communicate(timeout=30)
    if stop == signal.SIGINT:
        assert process.returncode == 130 and said.splitlines()[-1].startswith("Stopped. What was finished is kept")
        assert "Traceback" not in said
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert not [each for each in alive if each.status() != psutil.STATUS_ZOMBIE]
    forget(folder)
    for name in ("0-2", "1-2"):
        (folder / name).unlink()
    resumed = toy.run(2, tmp_path)
    assert [name for name, _ in log(folder)] == ["0-2", "1-2"]
    assert sorted(place["pieces"] for place in resumed["places"]) == [2, 4]
    assert numbers(resumed) == numbers(toy.run(2, tmp_path / "whole"))


@pytest.mark.slow
def test_a_dask_cluster_finds_the_same_though_a_worker_dies(folder, tmp_path):
    distributed = pytest.importorskip("distributed")
    (folder / "1-1").write_text("die")
    settings = {"n_workers": 2, "processes": True, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(**settings, local_directory=tmp_path / "dask") as cluster:
        together = toy.run(2, tmp_path, scheduler=cluster.scheduler_address)
    (place,) = together["places"]
    started = log(folder)
    assert place["workers"] == 2 and sorted(name for name, _ in started) == sorted([*NAMES, "1-1"])
    # Another process does what was lost: a new one, or the other worker's
    assert len({process for name, process in started if name == "1-1"}) == 2
    assert numbers(together) == numbers(toy.run(2, tmp_path))


def test_a_process_of_another_version_or_whose_work_nobody_wants_is_given_up(monkeypatch):
    with closing(processes.Crew()) as crew:
        with pytest.raises(processes.WorkerDied):
            crew.call(600, pickle.dumps((time.sleep,)), wanted=lambda: False)
        monkeypatch.setattr(processes, "identity", lambda: ("another",))
        with pytest.raises(OSError, match="another version"):
            crew.call(0, pickle.dumps((time.sleep,)))


def test_a_scheduler_that_is_not_there():
    pytest.importorskip("distributed")
    with pytest.raises(OSError, match="no Dask scheduler"):
        reproduce.reproduce_experiment("toy", scheduler="not an address")


def test_a_piece_that_fails_is_named_and_the_others_go_on(folder, tmp_path, capsys):
    (folder / "0-1").write_text("fail")
    words = ["reproduce", "toy", "--seeds", "2", "--out", str(tmp_path)]
    assert cli.main(words) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("course: The piece 'seed 0/step 1' failed (RuntimeError: no luck): ")
    assert sorted(name for name, _ in log(folder)) == ["0-0", "0-1", "1-0", "1-1", "1-2"]
    stored = json.loads((tmp_path / "toy.json").read_text())
    assert stored["seeds"] == {"asked": 2, "has": 1} and list(stored["runs"]) == ["1"]
    with pytest.raises(PieceFailed) as raised:
        cli.main([*words, "--debug"])
    assert "in step" in str(raised.value.__cause__)
    (folder / "0-1").unlink()
    forget(folder)
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert not ended.value.code
    assert [name for name, _ in log(folder)] == ["0-1", "0-2"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--seeds", "0"], "at least one seed"),
        (["--workers", "0"], "at least one worker"),
        (["--workers", "2", "--scheduler", "tcp://host:8786"], "--workers or --scheduler"),
    ],
)
def test_orders_that_make_no_sense_are_refused(words, said, capsys):
    assert cli.main(["reproduce", "toy", *words]) == 1
    assert said in capsys.readouterr().err


def test_the_lottery_draws_the_same_tickets_on_two_workers(few_digits, tmp_path, monkeypatch):
    monkeypatch.setattr(lottery, "STAGES", ({2: (lottery.SHUFFLED, lottery.REWOUND)},))
    tiny = replace(lottery.Settings(), iterations=8, patience=2, most_iterations=8, check_every=2, rewind_to=2)
    one, two = (lottery.run(2, tmp_path, few_digits, tiny, workers=workers) for workers in (1, 2))
    assert numbers(two) == numbers(one) and [len(run["controls"]) for run in one["runs"]] == [2, 2]


# --- what is kept -----------------------------------------------------------------------------------------------------


def test_a_result_is_read_as_it_was_returned():
    values = {"rows": [{"loss": 0.1, "settled": None}], "name": "séance", "empty": {}}
    tensors = {"z": torch.arange(6.0).view(2, 3).T, "a": torch.tensor(3)}
    masks = {"2.weight": torch.tensor([True, False]), "0.weight": torch.ones(3, dtype=torch.bool)}
    read = decode(encode({**values, **tensors, "masks": masks}, {"host": "here"}, 1.5))
    assert {name: read.pop(name) for name in values} == values
    assert list(read["masks"]) == list(masks)  # a shuffle would draw others for others
    for got, wanted in ((read.pop("masks"), masks), (read, tensors)):
        assert got.keys() == wanted.keys()
        assert all(torch.equal(got[name], wanted[name]) and got[name].data_ptr() % 64 == 0 for name in wanted)


def test_a_piece_is_done_again_if_it_is_damaged_or_was_changed(tmp_path):
    def journal(*arguments, lr=1):
        return Journal("some", {"lr": lr}, [Piece("a/b", step, arguments), Piece("c", step, needs=("a/b",))])

    step = toy.step
    first = journal(1)
    for name in ("a/b", "c"):
        first.store(name, encode({"loss": 0.5}, {"host": "here"}, 2.0))
    assert first.found("a/b").values == {"loss": 0.5} and first.found("c").seconds == 2.0
    for other in (journal(2), journal(1, lr=2)):
        assert other.found("a/b") is None and other.found("c") is None
    first.paths["c"].write_bytes(first.content("c")[:-1])
    assert first.found("c") is None
    first.clear()
    assert not first.folder.exists()


def test_seeds_are_counted_by_group_where_groups_differ():
    pieces = [Piece("teacher", toy.step)] + [
        Piece(f"{group}/{seed}/{part}", toy.step, group=group, seed=seed)
        for group, seeds in (("a, b", 3), ("c", 1))
        for seed in range(seeds)
        for part in range(2)
    ]
    done = Done(pieces, {piece.name: None for piece in pieces if piece.name != "a, b/1/0"})
    assert done.seeds("a, b") == [0, 2] and done.seeds("c") == [0]
    assert done.counts() == {"asked": {"a, b": 3, "c": 1}, "has": {"a, b": 2, "c": 1}}
    assert Done(pieces[:-2], {}).counts() == {"asked": 3, "has": 0}
