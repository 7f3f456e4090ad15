"""Experts spread over processes compute what one process computes, forward and backward."""

import os
import subprocess
import sys

import pytest

from course_utils.moe import expert_parallel
from course_utils.units import ROOT


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_processes_give_the_output_and_the_gradients_of_one(processes):
    found = expert_parallel.demonstrate(processes)
    assert [each["process"] for each in found] == list(range(processes))
    assert sum(each["rows"] for each in found) == expert_parallel.TOKENS * expert_parallel.K
    for each in found:
        assert set(each["differences"]) == {"output", *(f"gradient of {n}" for n in ("tokens", "router", "w1", "w2"))}
        assert max(each["differences"].values()) < 1e-10
        assert (0 < each["sent"] < each["rows"]) if processes > 1 else each["sent"] == 0


@pytest.mark.slow
def test_the_same_file_runs_under_torchrun():
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "-m", "course_utils.moe.expert_parallel"],
        capture_output=True,
        text=True,
        env=environment,
        timeout=240,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("process")]
    assert done.returncode == 0, done.stderr
    assert len(lines) == 2 and all(line.endswith("equal to those of one process: True") for line in lines)
