"""Finding and reading submissions: everybody's ends with a status, whatever lies in the folder."""

import json
import os
import re
import shutil
import subprocess
import unicodedata

import pytest

from course_utils.grading.collect import MAX_FILE_BYTES, Refused, collect, is_notebook, parse_notebook, read_bytes
from course_utils.grading.tables import spreadsheet_text
from course_utils.grading.work import write
from course_utils.units import ROOT, available, lab_functions, load_unit
from tests.grading.notebooks import SOLUTION, cells, notebook, raw

LAB = "01_distillation"


def put(path, content=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(notebook(cells()) if content is None else content)


def statuses(folder):
    return {each.student: each.status or each.path.relative_to(folder).as_posix() for each in collect(folder, LAB)}


def test_layouts_and_strays(tmp_path):
    class_ = tmp_path / "class"
    put(class_ / "ada.ipynb")
    put(class_ / "bob" / LAB / f"{LAB}.ipynb")
    put(class_ / "bob" / LAB / "timestamp.txt", b"2026")
    put(class_ / "bob" / LAB / f"{LAB} (1).ipynb")
    put(class_ / "cyd" / LAB / "Untitled.ipynb", notebook(["def one():\n    pass"]))
    put(class_ / "dan" / f"{LAB}.zip", b"PK")
    (class_ / "eve" / LAB).mkdir(parents=True)
    put(class_ / "fay" / "00_budget" / "00_budget.ipynb")
    put(class_ / "gil.py", b"x = 1")
    put(class_ / "hal.zip", b"PK")
    put(class_ / "ina.ipynb")
    put(class_ / "ina.zip", b"PK")
    put(class_ / ".hidden" / "x.ipynb")
    put(class_ / "__MACOSX" / "bob" / "._x.ipynb")
    put(class_ / "Thumbs.db", b"x")
    put(class_ / ("j" * 240 + ".ipynb"))
    got = statuses(class_)
    (shortened,) = (student for student in got if len(student) > 40)
    assert shortened.startswith("j" * 40 + "…")
    assert got == {
        "ada": "ada.ipynb",
        "bob": f"bob/{LAB}/{LAB}.ipynb",
        "cyd": "wrong file",
        "dan": "wrong file",
        "eve": "not handed in",
        "fay": "not handed in",
        "gil": "wrong file",
        "hal": "wrong file",
        "ina": "ina.ipynb",
        shortened: "wrong name",
    }


MOST, HALF = list(SOLUTION.values())[:4], list(SOLUTION.values())[:3]


@pytest.mark.parametrize(
    ("files", "status"),
    [
        ({f"{LAB}.ipynb": []}, f"{LAB}.ipynb"),
        ({"01_Distillation.IPYNB": ["x = 1"]}, "01_Distillation.IPYNB"),
        ({f"{LAB} (1).ipynb": MOST}, f"{LAB} (1).ipynb"),
        ({"Homework.Ipynb": MOST, "data.csv": []}, "Homework.Ipynb"),
        ({"Homework.ipynb": MOST, ".~Homework.ipynb": MOST}, "Homework.ipynb"),
        ({"Homework.ipynb": HALF}, "wrong file"),
        ({f"{LAB} (1).ipynb": MOST, f"{LAB} (2).ipynb": MOST}, "wrong file"),
        ({f"{LAB}.ipynb": HALF, f"{LAB} (2).ipynb": MOST}, f"{LAB}.ipynb"),
        ({f"{LAB}.ipynb": MOST, f"{LAB.upper()}.ipynb": MOST}, f"{LAB}.ipynb"),
        ({f"{LAB.title()}.ipynb": MOST, f"{LAB.upper()}.ipynb": MOST}, "wrong file"),
        ({"Homework.ipynb": None}, "not a notebook"),
    ],
)
@pytest.mark.parametrize("folder", ["", LAB, LAB.title()])
def test_a_folders_only_notebook_is_the_lab_if_it_has_most_of_the_functions(folder, files, status, tmp_path):
    for name, sources in files.items():
        put(tmp_path / "ada" / folder / name, b"no JSON" if sources is None else notebook(sources))
    found = f"ada/{folder}/{status}" if folder else f"ada/{status}"
    assert statuses(tmp_path) == {"ada": found if is_notebook(status) else status}


def test_what_platforms_download_is_a_class(tmp_path):
    """The folders as Moodle, Canvas and Gradescope put them into their zip files."""
    moodle = "Zoë Müller_4711_assignsubmission_file"
    put(tmp_path / "moodle" / moodle / f"{LAB}.ipynb")
    put(tmp_path / "moodle" / f"{moodle}_" / "Lab 1.ipynb")
    assert statuses(tmp_path / "moodle") == {moodle: f"{moodle}/{LAB}.ipynb", f"{moodle}_": f"{moodle}_/Lab 1.ipynb"}
    names = [f"lovelaceada_4711_90210_{LAB}.ipynb", f"müllerzoë_LATE_4712_90211_{LAB}-1.ipynb"]
    for name in names:
        put(tmp_path / "canvas" / name)
    assert statuses(tmp_path / "canvas") == {name.removesuffix(".ipynb"): name for name in names}
    export = tmp_path / "assignment_12_export"
    put(export / "submission_metadata.yml", b"submission_987:\n  :submitters:\n  - :name: Ada\n")
    put(export / "submission_987" / f"{LAB} (1).ipynb")
    assert statuses(export) == {"submission_987": f"submission_987/{LAB} (1).ipynb"}


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash on this machine")
def test_the_guides_lines_shorten_platforms_names(tmp_path):
    lines = re.findall(r"^for each in .*$", (ROOT / "INSTRUCTORS.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(lines) == 2
    put(tmp_path / "Zoë O'Neil_4711_assignsubmission_file_" / f"{LAB} (1).ipynb")
    put(tmp_path / f"lovelaceada_LATE_4712_90210_{LAB}-1.ipynb")
    put(tmp_path / f"lovelaceada_LATE_4712_90211_{LAB}.ipynb")
    subprocess.run(["bash", "-c", "\n".join(lines)], cwd=tmp_path, check=False)
    assert statuses(tmp_path) == {
        "Zoë O'Neil_4711": f"Zoë O'Neil_4711/{LAB} (1).ipynb",
        "lovelaceada_LATE_4712": "lovelaceada_LATE_4712.ipynb",  # of two files none is lost
        f"lovelaceada_LATE_4712_90211_{LAB}": f"lovelaceada_LATE_4712_90211_{LAB}.ipynb",
    }


def test_names_are_the_same_in_every_unicode_form(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "Zoë Müller") for form in ("NFC", "NFD"))
    put(tmp_path / "mac" / decomposed / f"{LAB}.ipynb")
    assert [each.student for each in collect(tmp_path / "mac", LAB)] == [composed]
    put(tmp_path / "both" / decomposed / f"{LAB}.ipynb")
    put(tmp_path / "both" / composed / f"{LAB}.ipynb")
    put(tmp_path / "both" / f"{composed}.ipynb")
    one, *others = collect(tmp_path / "both", LAB)
    assert one.student == composed and one.path is not None
    assert len({each.student for each in others}) == 2
    for each in others:
        assert each.student.startswith(f"{composed}…") and each.status == "handed in twice" and LAB in each.message


def test_a_labs_functions_are_those_of_its_laws():
    for topic in available():
        assert lab_functions(topic) == [exercise.name for exercise in load_unit(topic).exercises]


def test_symbolic_links_are_not_followed(tmp_path):
    secret = tmp_path / "secret"
    put(secret / LAB / f"{LAB}.ipynb")
    class_ = tmp_path / "class"
    class_.mkdir()
    (class_ / "file.ipynb").symlink_to(secret / LAB / f"{LAB}.ipynb")
    (class_ / "folder").symlink_to(secret)
    (class_ / "dangling.ipynb").symlink_to("nowhere")
    (class_ / "lab").mkdir()
    (class_ / "lab" / LAB).symlink_to(secret / LAB)
    (class_ / "inner" / LAB).mkdir(parents=True)
    (class_ / "inner" / LAB / f"{LAB}.ipynb").symlink_to(secret / LAB / f"{LAB}.ipynb")
    found = collect(class_, LAB)
    for each in found:
        if each.path is None:
            assert each.status == "symbolic link"
        else:
            with pytest.raises(Refused) as refused:
                read_bytes(each.path)
            assert refused.value.status == "symbolic link"
    assert len(found) == 5


def test_only_regular_files_of_a_sensible_size_are_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.ipynb")
    (tmp_path / "folder.ipynb").mkdir()
    with open(tmp_path / "huge.ipynb", "wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    for name, status in [("pipe", "wrong file"), ("folder", "wrong file"), ("huge", "too large"), ("no", "unreadable")]:
        with pytest.raises(Refused) as refused:
            read_bytes(tmp_path / f"{name}.ipynb")
        assert refused.value.status == status


def test_of_two_cells_with_one_id_the_first_counts():
    twins = [{"cell_type": "code", "id": "a", "source": source} for source in ("x = 1", "x = 2", "x = 3")]
    read = parse_notebook(raw(twins))
    assert read.cells == ["x = 1", "x = 2", "x = 3"] and read.secondary == [1, 2] and len(read.notes) == 2


def test_old_formats_are_brought_up_to_date():
    sheet = {"cells": [{"cell_type": "code", "language": "python", "input": ["x = 1\n", "y = 2"], "outputs": []}]}
    for content in ({"nbformat": 3, "nbformat_minor": 0}, {"nbformat": 2}):
        assert parse_notebook(json.dumps({"metadata": {}, "worksheets": [sheet], **content}).encode()).cells == [
            "x = 1\ny = 2"
        ]


def test_outputs_do_not_count():
    large = {"cell_type": "code", "source": "x = 1", "outputs": [{"output_type": "stream", "text": "x" * 27_000_000}]}
    assert parse_notebook(raw([large])).cells == ["x = 1"]


def test_a_pasted_log_is_left_out_and_noted():
    read = parse_notebook(raw([{"cell_type": "code", "source": s} for s in ("x = 1", "# log" + "x" * 600_000)]))
    assert read.cells == ["x = 1", ""]
    assert read.notes == ["code cell 2 is left out: it has 600,005 characters, a pasted log perhaps"]


@pytest.mark.parametrize(
    "content,status,words",
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "not a notebook", "a pointer of Git LFS.*git lfs pull"),
        (b"\n<!DOCTYPE html>\n<title>Sign in</title>", "not a notebook", "a web page .*download it again"),
        (b'{\n<<<<<<< HEAD\n "cells": []\n=======\n', "not a notebook", "a merge conflict .*<<<<<<<"),
        (b'{"nbformat": 4}\n{"nbformat": 4}', "not a notebook", "line 2 follows the notebook's end"),
        (b"%PDF", "not a notebook", "it is not JSON"),
        (b"{}", "not a notebook", "it is JSON, but no notebook"),
        (b'{"nbformat": 3, "worksheets": 5}', "wrong format", "the old notebook format 3, and errors"),
        (b'{"nbformat": 5, "cells": []}', "wrong format", "notebook format 5: save it as format 4"),
        (
            raw([{"cell_type": "code", "source": "x" * 90_000}] * 6),
            "too large",
            "6 code cells with 540,000 characters; .* 500,000",
        ),
    ],
)
def test_what_is_no_notebook_is_named(content, status, words):
    with pytest.raises(Refused, match=words) as refused:
        parse_notebook(content)
    assert refused.value.status == status


@pytest.mark.parametrize("kept", range(1, 420, 7))
def test_a_file_that_was_cut_off_is_named_wherever_that_was(kept):
    whole = notebook(["x = 'a\\u0041 1.5'", "y = 1"], a=1.5, b=True, c=None, d="\\u1234").strip()
    assert len(whole) > 420
    with pytest.raises(Refused, match="it ends in the middle: save the notebook again"):
        parse_notebook(whole[:kept])


def test_the_python_that_ran_it_is_read():
    def version(**info):
        return parse_notebook(raw([{"cell_type": "code", "source": "1"}], metadata=info)).python

    assert version(language_info={"version": "3.13.1"}) == "3.13.1"
    assert version() == version(language_info=3) == version(language_info={"version": [1]}) == ""


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1", "\n=1"])
def test_spreadsheets_compute_nothing(text):
    assert spreadsheet_text(text) == "'" + text


def test_what_is_not_written_whole_is_not_written(tmp_path, monkeypatch):
    path = tmp_path / "grades.csv"
    write(path, b"old")
    monkeypatch.setattr(os, "replace", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write(path, b"new")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]
