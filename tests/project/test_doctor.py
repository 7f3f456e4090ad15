"""`course doctor` on this machine, and on machines that lack something."""

import importlib.metadata
import io
import os
import shutil
import types
from pathlib import Path

import pytest
from rich.console import Console

from course_utils import data, doctor, units
from course_utils.doctor import Finding
from course_utils.lab import some_home


def examined(monkeypatch, **findings: Finding) -> tuple[bool, str]:
    """The verdict and the text of an examination that finds this."""
    looks = {subject: (lambda finding=finding: finding) for subject, finding in findings.items()}
    monkeypatch.setattr(doctor, "EXAMINATIONS", looks)
    output = io.StringIO()
    return doctor.examine(Console(file=output, width=200)), output.getvalue()


@pytest.mark.slow
def test_this_machine_can_run_the_course():
    output = io.StringIO()
    assert doctor.examine(Console(file=output, width=200)), output.getvalue()
    assert all(subject in output.getvalue() for subject in doctor.EXAMINATIONS)


def test_a_warning_does_not_stop_the_course_a_fault_does(monkeypatch):
    fine, warned = Finding("good", "fine"), Finding("warning", "only grading needs it")
    well, text = examined(monkeypatch, Python=fine, Sandbox=warned)
    assert well and "✓" in text and "!" in text and "can run the course" in text
    well, text = examined(monkeypatch, Python=fine, Kernel=Finding("bad", "does not start"))
    assert not well and "✗" in text and "Mend first: Kernel" in text


def test_an_examination_that_crashes_hides_no_other(monkeypatch):
    def crash():
        raise RuntimeError("libtorch is [broken]")

    monkeypatch.setattr(doctor, "EXAMINATIONS", {"PyTorch": crash, "Disk": lambda: Finding("good", "5 GB free")})
    output = io.StringIO()
    assert not doctor.examine(Console(file=output, width=200))
    assert "libtorch is [broken]" in output.getvalue() and "5 GB free" in output.getvalue()


def test_packages_that_are_missing_or_too_old_are_named(monkeypatch):
    versions = importlib.metadata.version

    def version(name: str) -> str:
        if name == "nbval":
            raise importlib.metadata.PackageNotFoundError(name)
        return "0.1" if name == "torch" else versions(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    finding = doctor.look_at_packages()
    assert finding.verdict == "bad"
    assert "nbval is missing" in finding.text and "torch is 0.1, not >=" in finding.text and "make lab" in finding.text
    assert "numpy" not in finding.text


@pytest.mark.parametrize(("free", "verdict"), [(0.01, "bad"), (0.5, "warning"), (5, "good")])
def test_disk(free, verdict, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: types.SimpleNamespace(free=free * 1e9))
    assert doctor.look_at_disk().verdict == verdict


@pytest.mark.parametrize(("total", "available", "verdict"), [(2, 1, "warning"), (8, 1, "warning"), (8, 6, "good")])
def test_memory(total, available, verdict, monkeypatch):
    memory = types.SimpleNamespace(total=total * 1e9, available=available * 1e9)
    monkeypatch.setattr(doctor.psutil, "virtual_memory", lambda: memory)
    assert doctor.look_at_memory().verdict == verdict


def test_full_data_is_optional_and_the_finding_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    finding = doctor.look_at_full_data()
    assert finding.verdict == "warning" and "COURSE_DATA" in finding.text


def test_a_cache_that_cannot_be_written_to_is_a_warning(monkeypatch, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setattr(data, "cache_folder", lambda: blocked / "cache")
    assert doctor.look_at_cache().verdict == "warning"


def test_who_has_no_home_is_told_and_gets_one_for_jupyter(monkeypatch):
    def fail():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(data.platformdirs, "user_cache_path", lambda *args, **options: fail())
    monkeypatch.setattr(Path, "home", fail)
    finding = doctor.look_at_cache()
    assert finding.verdict == "warning" and "set HOME" in finding.text
    with pytest.raises(ZeroDivisionError), some_home():
        home = Path(os.environ["HOME"])
        assert home.is_dir()
        1 / 0  # noqa: B018
    assert "HOME" not in os.environ and not home.exists()


def test_a_sandbox_that_does_not_start_is_a_warning_with_its_mending(monkeypatch):
    from course_utils.grading import sandbox

    monkeypatch.setattr(sandbox.shutil, "which", lambda program: None)
    finding = doctor.look_at_sandbox()
    assert finding.verdict == "warning" and "only grading needs it" in finding.text


def test_a_student_kit_needs_no_sandbox(monkeypatch, tmp_path):
    monkeypatch.setattr(units, "PACKAGE", tmp_path)
    assert doctor.look_at_sandbox() == Finding("good", "not needed: this is a student kit, which does not grade")


def test_no_labs_is_a_warning(monkeypatch, tmp_path):
    monkeypatch.setattr(units, "ROOT", tmp_path)
    assert doctor.look_at_labs().verdict == "warning"
