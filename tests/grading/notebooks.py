"""Notebooks as students hand them in, made from the lab's functions."""

import ast
import functools
import importlib
import inspect
import json

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from course_utils.checks import find_exercise
from course_utils.grading.extract import extract
from course_utils.notebooks.source import function_source, stub_source
from course_utils.units import load_unit

TOPIC = "distillation"
EXERCISES = load_unit(TOPIC).exercises
HEAD = """import torch
import torch.nn.functional as F
from torch import Tensor
from collections.abc import Sequence
from course_utils.models import mlp_forward
from course_utils.checks import check"""
SOLUTION = {exercise.name: function_source(TOPIC, exercise.name) for exercise in EXERCISES}
STUB = {exercise.name: stub_source(SOLUTION[exercise.name], exercise) for exercise in EXERCISES}


def cells(**other):
    """Sources of the code cells: the reference's functions, each with its check, `other` in place of some of them."""
    sources = [HEAD]
    for exercise in EXERCISES:
        sources += [other.get(exercise.name, SOLUTION[exercise.name]), f"check({exercise.name})"]
        sources.append(f"%%needs {exercise.name}\nimport matplotlib.pyplot as plt\nplt.plot([1, 2])\nlogits = 3")
    return [source for source in sources if source is not None]


def notebook(sources, **metadata):
    made = new_notebook(cells=[new_markdown_cell("# Lab"), *map(new_code_cell, sources)], metadata=metadata)
    return nbformat.writes(made).encode()


def raw(cells, **other):
    """A notebook's JSON, without nbformat's care."""
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells, **other}).encode()


def variant_cell(variant):
    """The cell of a student who wrote this mutant or right variant: its function under the exercise's name."""
    name = find_exercise(variant.exercise).name
    module = variant.function.__module__
    statements = _variants(module).by_exercise[variant.function.__name__]
    # What it imports of the reference is what its notebook defines; of its own exercise, it keeps a renamed copy
    texts = [_renamed(s.source, {name: f"original_{name}", variant.function.__name__: name}) for s in statements]
    if any(f"original_{name}" in text for text in texts):
        topic = module.split(".")[-2]
        texts.insert(0, _renamed(function_source(topic, name), {name: f"original_{name}"}))
    return "\n\n".join(texts)


@functools.cache
def _variants(module):
    """What each function of a file of variants needs, but for the exercises that it imports."""
    tree = ast.parse(inspect.getsource(importlib.import_module(module)))
    exercises = {exercise.name for exercise in load_unit(module.split(".")[-2]).exercises}
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    for node in functions:
        node.decorator_list = []
    tree.body = [n for n in tree.body if not (isinstance(n, ast.ImportFrom) and exercises & {a.name for a in n.names})]
    return extract([ast.unparse(tree)], [node.name for node in functions])


def _renamed(source, names):
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            node.id = names.get(node.id, node.id)
        elif isinstance(node, ast.FunctionDef):
            node.name = names.get(node.name, node.name)
    return ast.unparse(tree)
