"""`course progress`: the verdicts of `course check` on every lab that is here, and each lab judged once."""

import json
import os
import subprocess
import sys

import nbformat
import pytest

from course_utils import cli, data
from course_utils.grading.local import LocalProcesses
from course_utils.notebooks import standing
from course_utils.notebooks.check import judge, verdict
from course_utils.units import ROOT, lab_path
from tests.notebooks.test_check import solved

WRONG = "model_bytes"


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A student's labs: 00 with one wrong exercise and saved last, 01 untouched, 02 done, 03 no notebook; no other."""
    paths = {topic: tmp_path / f"{topic}.ipynb" for topic in ("budget", "distillation", "saliency", "deep_compression")}
    nbformat.write(solved("budget", wrong=WRONG), paths["budget"])
    paths["distillation"].write_bytes(lab_path("distillation").read_bytes())
    nbformat.write(solved("saliency"), paths["saliency"])
    paths["deep_compression"].write_text("no notebook")
    for age, topic in enumerate(paths):
        os.utime(paths[topic], (0, 1_700_000_000 - 100 * age))
    monkeypatch.setattr(standing, "available", lambda: list(paths))
    monkeypatch.setattr(standing, "lab_path", paths.__getitem__)
    monkeypatch.setattr(standing, "cache_file", lambda: tmp_path / "cache" / "progress.json")
    return paths


def progress(capsys, *words):
    with pytest.raises(SystemExit) as end:
        cli.main(["progress", *words])
    return end.value.code or 0, capsys.readouterr().out


def test_it_says_what_course_check_says_and_what_to_do_next(desk, capsys):
    status, out = progress(capsys, "--json")
    assert status == 1, "a file that is no notebook is not well"
    told = json.loads(out)
    with LocalProcesses("budget") as processes:
        wanted = judge(processes, desk["budget"], "budget").exercises
    assert [e["verdict"] for e in told["labs"][0]["exercises"]] == [verdict(each) for each in wanted]
    assert told["labs"][0]["points"] == sum(each.points for each in wanted) < told["labs"][0]["max_points"]
    assert [lab["points"] for lab in told["labs"][1:]] == [0, told["labs"][2]["max_points"], 0]
    assert told["labs"][3]["refused"].startswith("not a notebook")
    assert told["next"]["lab"] == "00_budget" and told["next"]["name"] == WRONG
    table = progress(capsys)[1]
    (row,) = [line for line in table.splitlines() if line.startswith("│ 00_budget ")]
    assert "✓✓✗✓✓✓✓" in row and "6 of 7" in row
    assert f"Next: 0.2 {WRONG} in 00_budget, about" in " ".join(table.split()) and "○○○○○○ " in table


def lab(name, saved, *verdicts):
    exercises = [{"verdict": word, "points": int(word == "✓"), "max_points": 1, "name": word} for word in verdicts]
    return {"lab": name, "saved": saved, "exercises": exercises}


@pytest.mark.parametrize(
    ("labs", "following"),
    [
        ([lab("00", "3", "✓"), lab("01", "2", "○", "○"), lab("02", "1", "○")], ("01", "○")),
        ([lab("00", "3", "○"), lab("01", "1", "✓", "✗"), lab("02", "2", "✓", "○")], ("02", "○")),
        ([lab("00", "1", "○"), lab("01", "2", "✓", "◐", "○")], ("01", "◐")),
        ([lab("00", "1", "✓"), lab("01", "2", "✓", "✓")], None),
        ([lab("00", "1")], None),
    ],
)
def test_next_is_the_first_open_exercise_of_the_lab_that_was_saved_last(labs, following):
    found = standing.next_exercise(labs)
    assert (found and (found["lab"], found["name"])) == following


def test_a_lab_is_judged_once_until_its_file_or_the_course_changes(desk, capsys, monkeypatch):
    first = progress(capsys)
    judged = []
    monkeypatch.setattr(standing, "judged", lambda path, topic: judged.append(topic) or untouched(final=True))
    assert progress(capsys) == first and judged == []
    nbformat.write(solved("budget"), desk["budget"])
    progress(capsys)
    assert judged == ["budget"]
    monkeypatch.setattr(standing, "course_digest", lambda: "another")
    progress(capsys)
    assert judged == ["budget", *desk]


def untouched(final):
    names = [{"id": "0.1", "name": "a", "minutes": 5, "points": 0, "max_points": 1, "verdict": "○ not implemented yet"}]
    return {"exercises": names, "refused": "", "final": final}


def test_what_a_busy_machine_said_is_not_kept(desk, capsys, monkeypatch):
    judged = []
    monkeypatch.setattr(standing, "judged", lambda path, topic: judged.append(topic) or untouched(final=False))
    for _ in range(2):
        assert progress(capsys)[0] == 0
    assert judged == [*desk, *desk]


@pytest.mark.parametrize("content", ["", "[]", '{"cut off', "\0"])
def test_a_broken_cache_is_made_anew(content, desk, capsys, monkeypatch):
    monkeypatch.setattr(standing, "judged", lambda path, topic: untouched(final=True))
    standing.cache_file().parent.mkdir()
    standing.cache_file().write_text(content)
    assert progress(capsys)[0] == 0
    assert set(standing.known()) == {str(path) for path in desk.values()}


def test_without_a_cache_it_only_takes_longer(desk, capsys, monkeypatch):
    monkeypatch.setattr(standing, "judged", lambda path, topic: untouched(final=True))
    monkeypatch.setattr(standing, "cache_file", lambda: desk["budget"] / "no" / "folder")
    assert progress(capsys)[0] == 0
    monkeypatch.setattr(standing, "cache_file", lambda: None)
    assert progress(capsys)[0] == 0


def test_what_is_known_is_told_without_loading_torch(desk, capsys):
    progress(capsys)
    program = (
        "import sys; from pathlib import Path; from course_utils.notebooks import standing as s\n"
        "folder = Path(sys.argv[1]); s.cache_file = lambda: folder / 'cache' / 'progress.json'\n"
        "s.available = lambda: sys.argv[2:]; s.lab_path = lambda topic: folder / f'{topic}.ipynb'\n"
        "s.show_progress(as_json=True); assert 'torch' not in sys.modules"
    )
    told = subprocess.run(
        [sys.executable, "-c", program, str(desk["budget"].parent), *desk],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert told.returncode == 0, told.stderr
    assert told.stdout == progress(capsys, "--json")[1]


def test_without_labs_it_says_where_it_works(capsys, monkeypatch):
    monkeypatch.setattr(standing, "available", list)
    assert cli.main(["progress"]) == 1
    assert "works in a clone or a student kit" in " ".join(capsys.readouterr().err.split())


def test_the_cache_is_in_the_courses_folder():
    assert standing.cache_file() == data.cache_folder() / "progress.json"
