"""Reference functions and their stubs."""

import ast

import pytest

from course_utils.checks.engine import Exercise
from course_utils.notebooks.source import function_source, module_files, stub_room, stub_source, stubbed_module
from course_utils.units import available, load_unit

EXERCISES = [(topic, exercise) for topic in available() for exercise in load_unit(topic).exercises]


@pytest.mark.parametrize(("topic", "exercise"), EXERCISES, ids=lambda x: getattr(x, "name", x))
def test_stub_keeps_signature_and_docstring_and_nothing_else(topic, exercise):
    whole, stub = (ast.parse(text).body[0] for text in (function_source(topic, exercise.name), _stub(topic, exercise)))
    assert ast.dump(whole.args) == ast.dump(stub.args) and ast.get_docstring(whole) == ast.get_docstring(stub)
    assert len(stub.body) == 2 and ast.unparse(stub.body[1]) == (
        f"raise NotImplementedError('Exercise {exercise.id} {exercise.name}')"
    )


def _stub(topic, exercise):
    return stub_source(function_source(topic, exercise.name), exercise)


def test_module_keeps_what_is_no_exercise():
    exercise = Exercise("9.1", "f", points=1, minutes=1, difficulty=1)
    source = (
        "import os\n\n\n@staticmethod\ndef f(x,\n      y):\n    '''Doc.'''\n    # secret\n    return x\n\n\n"
        "def g():\n    return 2\n"
    )
    stubbed, names = stubbed_module(source, [exercise])
    assert names == {"f"}
    assert "secret" not in stubbed and "@staticmethod" in stubbed and "def g():\n    return 2" in stubbed
    assert stubbed.count("NotImplementedError") == 1 and ast.parse(stubbed)
    assert stubbed_module("x = 1\n", [exercise]) == ("x = 1\n", set())


def test_an_exercise_is_stubbed_in_whichever_file_of_its_room_it_stands(tmp_path):
    exercise = Exercise("9.1", "f", points=1, minutes=1, difficulty=1)
    (tmp_path / "__init__.py").write_text("from course_utils.toy.inner import f\n")
    (tmp_path / "inner.py").write_text("def f(x):\n    '''Doc.'''\n    return 'secret'\n")
    stub_room(tmp_path, [exercise])
    assert "secret" not in (tmp_path / "inner.py").read_text()
    (tmp_path / "inner.py").unlink()
    with pytest.raises(ValueError, match="no function f"):
        stub_room(tmp_path, [exercise])


def test_no_docstring_is_refused():
    with pytest.raises(ValueError, match="no docstring"):
        stub_source("def f(x):\n    return x", Exercise("9.1", "f", points=1, minutes=1, difficulty=1))


def test_files_of_a_module_and_of_a_room():
    assert [path.name for path in module_files("checks.draw")] == ["draw.py"]
    assert {"__init__.py", "expert_parallel.py"} < {path.name for path in module_files("moe")}
    assert module_files("nothing") == []
