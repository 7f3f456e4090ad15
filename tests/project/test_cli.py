"""The `course` command: its help helps, its errors are one sentence, its exit status tells the truth."""

import io
import os
import subprocess
import sys

import pytest
import typer

from course_utils import cli, doctor, lab, units
from course_utils.doctor import Finding

COMMANDS = sorted(typer.main.get_command(cli.app).commands)


def course(*words: str, cwd=None) -> subprocess.CompletedProcess:
    """Run the command as a user does, from any directory."""
    path = os.pathsep.join(filter(None, [str(units.ROOT), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, "-m", "course_utils", *words],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": path, "COLUMNS": "200", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )


def run(capsys, *words: str) -> tuple[int, str, str]:
    """Run the command in this process: exit status, standard output, standard error."""
    try:
        status = cli.main(list(words))
    except SystemExit as end:
        status = end.code or 0
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_the_commands_are_those_of_the_design():
    assert " ".join(COMMANDS) == "build check doctor export grade lab progress release reproduce slides"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_a_command_does_and_what_each_option_means(command, capsys):
    status, out, _ = run(capsys, command, "--help")
    assert status == 0
    assert f"Usage: course {command}" in out
    described = typer.main.get_command(cli.app).commands[command]
    assert described.help.split()[0] in out
    for parameter in described.params:
        assert parameter.help, f"course {command}: {parameter.name} has no help"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["check", "no-such-lab"], "no-such-lab"),
        (["check", "missing/01_distillation.ipynb"], "missing/01_distillation.ipynb"),
        (["build", "99"], "99"),
        (["reproduce", "everything"], "everything"),
        (["grade", "01_distillation", "no/such/folder", "--out", "."], "no/such/folder"),
    ],
)
def test_an_expected_error_is_one_sentence_that_names_the_culprit(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    status, _, err = run(capsys, *words)
    assert status == 1
    assert "Traceback" not in err
    assert err.startswith("course: ") and said in err
    assert len(err.strip().splitlines()) == 1


def test_an_error_with_brackets_is_shown_whole(monkeypatch, capsys):
    """Square brackets are shapes here, not markup."""

    def fail(lab):
        raise ValueError("the logits are [batch, classes], not [classes]")

    monkeypatch.setattr("course_utils.notebooks.check.check_lab", fail)
    _, _, err = run(capsys, "check", "01_distillation")
    assert err.strip() == "course: the logits are [batch, classes], not [classes]"


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "cp437", "utf-8"])
def test_a_terminal_that_lacks_our_signs_gets_its_table(encoding, monkeypatch):
    output, messages = (io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n") for _ in range(2))
    monkeypatch.setattr(sys, "stdout", output)
    monkeypatch.setattr(sys, "stderr", messages)
    found = {"Disk": Finding("good", "5 GB free … ⊙"), "Kernel": Finding("bad", "does not start")}
    monkeypatch.setattr(doctor, "EXAMINATIONS", {subject: (lambda f=f: f) for subject, f in found.items()})
    with pytest.raises(SystemExit):
        cli.main(["doctor"])
    cli.main(["check", "Übung ✗\udcff"])
    table, said = (stream.buffer.getvalue().decode(encoding) for stream in (output, messages) if not stream.flush())
    right, wrong = ("✓", "✗") if encoding == "utf-8" else ("+", "x")
    assert f"{right}  Disk" in table and f"{wrong}  Kernel" in table and "Mend first: Kernel" in table
    assert said.startswith("course: There is no lab named") and f"bung {wrong}" in said


def test_debug_shows_the_traceback(monkeypatch, capsys):
    with pytest.raises(ValueError, match="no-such-lab"):
        cli.main(["check", "no-such-lab", "--debug"])


def test_a_wrong_option_is_refused_with_status_2(capsys):
    status, _, err = run(capsys, "build", "--no-such-option")
    assert status == 2 and "--no-such-option" in err


@pytest.mark.parametrize("holds", [True, False])
def test_check_and_doctor_answer_with_their_exit_status(holds, monkeypatch, capsys):
    monkeypatch.setattr("course_utils.notebooks.check.check_lab", lambda lab: holds)
    monkeypatch.setattr("course_utils.doctor.examine", lambda: holds)
    assert run(capsys, "check", "01")[0] == (0 if holds else 1)
    assert run(capsys, "doctor")[0] == (0 if holds else 1)


@pytest.mark.parametrize(("built", "map_current"), [(True, True), (True, False), (False, True)])
def test_build_is_well_only_if_notebooks_and_map_are(built, map_current, monkeypatch, capsys):
    monkeypatch.setattr("course_utils.notebooks.build.build_units", lambda unit, **options: built)
    monkeypatch.setattr("course_utils.notebooks.course_map.refresh_maps", lambda **options: map_current)
    assert run(capsys, "build", "--check")[0] == (0 if built and map_current else 1)


def test_without_a_command_it_shows_the_help(capsys):
    _, out, err = run(capsys)
    assert all(command in out + err for command in COMMANDS)


def test_it_runs_from_any_directory(tmp_path):
    done = course("check", "nothing", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("course: There is no lab named 'nothing'")


# --- course lab -------------------------------------------------------------------------------------------------------


@pytest.fixture
def launched(monkeypatch, tmp_path) -> list[list[str]]:
    """JupyterLab's arguments, in place of JupyterLab."""
    from jupyterlab.labapp import LabApp

    calls: list[list[str]] = []
    monkeypatch.setattr(LabApp, "launch_instance", classmethod(lambda cls, argv: calls.append(argv)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", os.environ["PATH"])
    return calls


def test_lab_passes_its_arguments_to_jupyterlab(launched, capsys):
    assert run(capsys, "lab", "--no-browser", "--port=9000", "--ServerApp.token=abc")[0] == 0
    assert launched[0][-3:] == ["--no-browser", "--port=9000", "--ServerApp.token=abc"]


def test_lab_opens_the_course_on_its_start_page_from_any_directory(launched):
    lab.open_lab([])
    assert f"--ServerApp.root_dir={units.ROOT}" in launched[0]
    assert "--LabApp.default_url=/lab/tree/labs/START.md" in launched[0]
    assert os.environ["PATH"].split(os.pathsep)[0] == os.path.dirname(sys.executable)


def test_what_the_user_says_replaces_what_the_course_says(launched, tmp_path):
    lab.open_lab([f"--ServerApp.root_dir={tmp_path}"])
    assert [a for a in launched[0] if a.startswith("--ServerApp.root_dir")] == [f"--ServerApp.root_dir={tmp_path}"]


def test_lab_without_a_course_beside_it_serves_the_current_folder(launched, tmp_path, monkeypatch):
    monkeypatch.setattr(units, "ROOT", tmp_path / "site-packages")
    lab.open_lab([])
    assert f"--ServerApp.root_dir={tmp_path}" in launched[0]
    assert not any("default_url" in argument for argument in launched[0])
