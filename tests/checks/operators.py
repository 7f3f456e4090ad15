"""Mutants made by machine: every reference function with one small change in its syntax tree.

Hand-written mutants are the errors that we thought of; these are the ones that we did not. The operators are the usual
ones of mutation testing: arithmetic and comparison swapped, constants changed, keywords dropped, calls and statements
removed.
"""

import ast
import copy
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

SWAPS: dict[type, tuple[type, ...]] = {
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Div,),
    ast.Div: (ast.Mult,),
    ast.Pow: (ast.Mult,),
    ast.FloorDiv: (ast.Div,),
    ast.Mod: (ast.FloorDiv,),
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.And: (ast.Or,),
    ast.Or: (ast.And,),
    ast.BitAnd: (ast.BitOr,),
    ast.BitOr: (ast.BitAnd,),
}


def changes(node: ast.AST) -> Iterator[ast.AST]:
    """What one node may become."""
    if isinstance(node, ast.BinOp | ast.AugAssign | ast.BoolOp):
        for other in SWAPS.get(type(node.op), ()):
            new = copy.deepcopy(node)
            new.op = other()
            yield new
    if isinstance(node, ast.BinOp):  # a term or factor forgotten
        yield copy.deepcopy(node.left)
        yield copy.deepcopy(node.right)
    if isinstance(node, ast.Compare):
        for other in SWAPS.get(type(node.ops[0]), ()):
            new = copy.deepcopy(node)
            new.ops[0] = other()
            yield new
    if isinstance(node, ast.UnaryOp):
        yield copy.deepcopy(node.operand)
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int):
        yield ast.Constant(node.value + 1)
        yield ast.Constant(node.value - 1)
    elif isinstance(node, ast.Constant) and isinstance(node.value, float):
        yield ast.Constant(node.value * 2 + 0.5)
    if isinstance(node, ast.Call):
        for i in range(len(node.keywords)):
            new = copy.deepcopy(node)
            del new.keywords[i]
            yield new
        if isinstance(node.func, ast.Attribute) and not isinstance(node.func.value, ast.Name | ast.Constant):
            yield copy.deepcopy(node.func.value)  # x.f().g() -> x.f()
        elif isinstance(node.func, ast.Attribute) and not node.args:
            yield copy.deepcopy(node.func.value)  # x.f() -> x
        elif len(node.args) == 1:
            yield copy.deepcopy(node.args[0])  # f(x) -> x
    if isinstance(node, ast.IfExp):
        yield copy.deepcopy(node.body)
        yield copy.deepcopy(node.orelse)
    if isinstance(node, ast.If):
        new = copy.deepcopy(node)
        new.test = ast.Constant(False)
        yield new
    if isinstance(node, ast.AugAssign | ast.Expr) and not isinstance(getattr(node, "value", None), ast.Constant):
        yield ast.Pass()


def annotations(function: ast.FunctionDef) -> set[int]:
    """Nodes inside the signature: no place for a mutant."""
    return {id(n) for part in (function.args, function.returns) if part is not None for n in ast.walk(part)}


def mutants(module: ModuleType, source: str) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every function that is one change away from the source, with a text that says what was changed."""
    tree = ast.parse(source)
    function = tree.body[0]
    kept = annotations(function)
    nodes = [n for n in ast.walk(function) if id(n) not in kept]
    original, seen = ast.unparse(tree), set()
    for index, node in enumerate(nodes):
        for number, _ in enumerate(changes(node)):
            fresh = copy.deepcopy(tree)
            kept_fresh = annotations(fresh.body[0])
            target = [n for n in ast.walk(fresh.body[0]) if id(n) not in kept_fresh][index]
            new = list(changes(target))[number]

            class Replace(ast.NodeTransformer):
                def visit(self, n, target=target, new=new):
                    return new if n is target else self.generic_visit(n)

            changed = ast.fix_missing_locations(Replace().visit(fresh))
            text = ast.unparse(changed)
            if text == original or text in seen:
                continue
            seen.add(text)
            namespace = dict(vars(module))
            try:
                exec(compile(changed, f"<mutant of {function.name}>", "exec"), namespace)
            except (SyntaxError, TypeError):
                continue
            yield f"{function.name}: {ast.unparse(target)} -> {ast.unparse(new)}", namespace[function.name]
