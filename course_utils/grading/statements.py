"""The top-level statements of a code cell: what each binds, needs and changes. Parsed, never run.

Only the standard library is used: the grader runs this inside its sandbox too.
"""

import ast
import re
import symtable
import warnings
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

MUTATING_METHODS = frozenset(
    {"append", "appendleft", "extend", "insert", "update", "add", "setdefault", "pop", "remove", "discard", "clear"}
    | {"sort", "reverse", "register", "fill"}
)
# Functions that set something for the whole process: calls of them belong to every function below
SETTING = frozenset(
    {"setrecursionlimit", "set_int_max_str_digits", "seterr"}
    | {"set_default_dtype", "set_grad_enabled", "set_flush_denormal"}
)
PROCESS = "%process"  # stands for all that they set
SHOWING = frozenset({"print", "check", "display", "plt", "plots", "help"})  # calls that nobody misses in a function
COMPREHENSIONS = frozenset({"listcomp", "setcomp", "dictcomp", "genexpr"})
SALVAGE_SPAN = 60  # how many lines in the first column one statement of a broken cell may have
SALVAGE_PARSES = 3_000  # attempts at one broken cell
MAGIC_PARSES = 100  # for as many of a cell's magics


@dataclass(frozen=True, eq=False)
class Statement:
    """A top-level statement. `cell` counts the given cells from 0, `line` the cell's lines from 1."""

    cell: int
    line: int
    source: str
    binds: frozenset[str] = frozenset()  # names that it defines
    firmly: frozenset[str] = frozenset()  # those of them that it defines as function, class or import
    now: frozenset[str] = frozenset()  # names that it needs when it runs
    later: frozenset[str] = frozenset()  # names that its functions need when they are called
    changes: frozenset[str] = frozenset()  # names whose value it changes in place
    gives: frozenset[str] = frozenset()  # names of variables that its calls may change
    sets: frozenset[str] = frozenset()  # global names that it binds when it is called, being a function
    alters: frozenset[str] = frozenset()  # global names whose value it changes in place when it is called
    calls: str = ""  # the name that its call begins with, if it is nothing but a call
    stub: bool = False  # a function that only raises NotImplementedError

    @property
    def imports(self) -> bool:
        return self.source.startswith(("import ", "from "))


# --- Text -------------------------------------------------------------------------------------------------------------

PROMPT = re.compile(r"^(?:>>>|\.\.\.)(?: |$)|^In \[\d+\]: |^ +\.{3,}: ?", re.MULTILINE)


def cleaned(cell: str) -> str:
    """The cell as IPython takes it: without the first line's indentation, and the prompts of a pasted session."""
    cell = cell.replace("\r\n", "\n").replace("\r", "\n")
    if indent := re.match(r"(?:[ \t]*\n)*([ \t]+)\S", cell):
        cell = re.sub(f"^{indent[1]}", "", cell, flags=re.MULTILINE)
    return PROMPT.sub("", cell) if re.match(r"\s*(>>>( |$)|In \[\d+\]: )", cell) else cell


def _parse(source: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _error(source: str) -> tuple[int, str]:
    """Line and text of the first syntax error."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(source)
    except SyntaxError as error:
        copied = " (a no-break space, copied from a page or a PDF: type a plain one)" if "U+00A0" in error.msg else ""
        return error.lineno or 1, error.msg + copied
    except (ValueError, RecursionError, MemoryError) as error:
        return 1, str(error) or type(error).__name__
    return 1, ""


def parse_cell(index: int, cell: str) -> tuple[list[Statement], list[tuple[int, str, str]]]:
    """A cell's statements, and what could not be read: (line, message, text)."""
    # \f and the like end no line for Python's parser, so lines are told apart by \n alone
    lines = cell.split("\n")
    if (tree := _parse(cell)) is None:
        lines = _without_magics(lines)
        tree = _parse("\n".join(lines))
    if tree is not None:
        return [s for node in tree.body for s in _statement(index, lines, node, 0)], []
    statements: list[Statement] = []
    errors: list[tuple[int, str, str]] = []
    # A statement begins in the first column; one with a syntax error shall cost its neighbours nothing
    starts = [i for i, line in enumerate(lines) if re.match(r"[^\s)\]}#]", line) and not _continues(line)]
    position = parses = 0
    bad: list[int] = []
    while position < len(starts) and parses < SALVAGE_PARSES:
        for end in range(position + 1, min(position + SALVAGE_SPAN, len(starts)) + 1):
            part = lines[starts[position] : starts[end] if end < len(starts) else len(lines)]
            parses += 1
            if (tree := _parse("\n".join(part))) is not None:
                statements += [s for node in tree.body for s in _statement(index, part, node, starts[position])]
                position = end
                break
        else:
            bad.append(position)
            position += 1
    for position in bad[:20]:
        last = starts[position + 1] if position + 1 < len(starts) else len(lines)
        source = "\n".join(lines[starts[position] : last])
        line, text = _error(source)
        errors.append((starts[position] + line, text, source))
    if not starts:
        line, text = _error(cell)
        errors.append((line, text, cell))
    return statements, errors


def _continues(line: str) -> bool:
    return re.match(r"(else|elif|except|finally)\b", line) is not None


def _without_magics(lines: Sequence[str]) -> list[str]:
    """The lines of a cell without IPython's magics, as far as the parser stumbles on these: else they are text."""
    left = list(lines)
    for _ in range(MAGIC_PARSES):
        number, text = _error("\n".join(left))
        if not text:
            return left
        if number > len(left) or (plain := _without_magic(left[number - 1])) == left[number - 1]:
            break
        while left[number - 1].endswith("\\") and number < len(left):  # the shell's line goes on
            left[number - 1], plain, number = plain, "", number + 1
        left[number - 1] = plain
    return [_without_magic(line) for line in lines]


# What a line that begins with it, or is it, tells IPython
ASSIGNED = r"""\w[\w.,:\[\]'" ]*=\s*(?:%\w|!(?!=))"""
HELP = r"[\w.\[\]*%]+\?{1,2}\s*$"


def _without_magic(line: str) -> str:
    """The line without IPython's magic, blank or `pass` if nothing is left of it."""
    if match := re.match(r"(\s*)%time\s+(?=\S)", line):
        return match[1] + line[match.end() :]
    if re.match(rf"[%!?]|{HELP}|{ASSIGNED}|(?:pip|conda)\s+\w", line):
        return ""
    if match := re.match(rf"(\s+)(?:%{{1,2}}\w|!(?!=)|\?{{1,2}}\w|{HELP}|{ASSIGNED})", line):
        return match[1] + "pass"
    return line


def _segment(lines: Sequence[str], node: ast.stmt) -> str:
    """The text of a statement. ast.get_source_segment splits the cell's text into lines anew for each."""
    text = list(lines[node.lineno - 1 : node.end_lineno])
    text[-1] = text[-1].encode()[: node.end_col_offset].decode()  # the parser counts columns in bytes
    text[0] = text[0].encode()[node.col_offset :].decode()
    return "\n".join(text)


# --- One statement ----------------------------------------------------------------------------------------------------


def _statement(index: int, lines: Sequence[str], node: ast.stmt, offset: int) -> Iterator[Statement]:
    """The statement, if it can define or change something. A `%%` line or what stands above it shifts by `offset`."""
    if isinstance(node, ast.Pass | ast.Delete):
        return
    if isinstance(node, ast.Import | ast.ImportFrom) and len(node.names) > 1:  # one that fails costs the others nothing
        for alias in node.names:
            single = type(node)(**{**dict(ast.iter_fields(node)), "names": [alias]})
            text = ast.unparse(single)
            yield from _statement(index, [text], ast.parse(text).body[0], offset + node.lineno - 1)
        return
    decorators = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(decorator.lineno for decorator in decorators)])
    text = "\n".join(lines[first - 1 : node.end_lineno]) if decorators else _segment(lines, node)
    try:
        binds, now, later = names_of(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    parts = list(_here(node))
    now |= {p.target.id for p in parts if isinstance(p, ast.AugAssign) and isinstance(p.target, ast.Name)}
    if isinstance(node, ast.If | ast.Try | ast.For | ast.While | ast.With | ast.Match):
        now = (now | binds) - _targets(parts)  # what it need not bind stays as it was bound above
    if isinstance(node, ast.Import | ast.ImportFrom):
        now |= {f"%{module.partition('.')[0]}" for module in [getattr(node, "module", None) or node.names[0].name]}
    changes = frozenset(_stored(node, parts)) - binds - {""}
    gives = frozenset(_given(parts)) | frozenset(_mutated(parts))
    calls = _called(node) if isinstance(node, ast.Expr) else ""
    if not (binds or changes or gives or calls):
        return
    sets, alters = _effects(node, later)
    yield Statement(
        index,
        offset + first,
        text,
        frozenset(binds),
        frozenset(_firm(parts)),
        frozenset(now),
        frozenset(later),
        changes,
        gives,
        sets,
        alters,
        calls,
        _is_stub(node),
    )


def names_of(source: str) -> tuple[set[str], set[str], set[str]]:
    """Names that a statement binds, needs now, and needs later, by CPython's own symbol table."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        top = symtable.symtable(source, "<cell>", "exec")
    binds = {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported()}
    now = {s.get_name() for s in top.get_symbols() if s.is_referenced()}
    later: set[str] = set()

    def visit(table: symtable.SymbolTable, called: bool) -> None:
        called = called or (table.get_type() == "function" and table.get_name() not in COMPREHENSIONS)
        names = {s.get_name() for s in table.get_symbols() if s.is_global() and (s.is_referenced() or s.is_assigned())}
        (later if called else now).update(names)
        for child in table.get_children():
            visit(child, called)

    for child in top.get_children():
        visit(child, False)
    if re.match(r"from\s.*import\s*\(?\s*\*", source, re.DOTALL):
        binds.add("*")
    return binds, now, later


def _here(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when the statement runs: not the bodies of functions."""
    yield node
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        for decorator in node.decorator_list:
            yield from _here(decorator)
    elif not isinstance(node, ast.Lambda):
        for child in ast.iter_child_nodes(node):
            yield from _here(child)


def _targets(parts: Iterable[ast.AST]) -> set[str]:
    """Names that loops and `with` bind, whatever was bound above."""
    targets = [part.target for part in parts if isinstance(part, ast.For)]
    targets += [part.optional_vars for part in parts if isinstance(part, ast.withitem) and part.optional_vars]
    return {part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)}


def _firm(parts: Sequence[ast.AST]) -> Iterator[str]:
    """Names that are bound as function, class or import."""
    for part in parts:
        match part:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                yield from (alias.asname or alias.name.partition(".")[0] for alias in names)
            case ast.Assign(targets=targets, value=ast.Lambda()):
                yield from (target.id for target in targets if isinstance(target, ast.Name))
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(args=args)):  # f = decorator(f)
                if any(isinstance(arg, ast.Name) and arg.id == name for arg in args):
                    yield name


def _stored(node: ast.stmt, parts: Iterable[ast.AST]) -> Iterator[str]:
    """Names whose value is changed in place: x[i] = ..., x.a = ..., @f.register; PROCESS for what a setting changes."""
    for part in parts:
        match part:
            case ast.Subscript(ctx=ast.Store() | ast.Del()) | ast.Attribute(ctx=ast.Store() | ast.Del()):
                yield _base(part)
            case ast.Expr(value=ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name))) if name in SETTING:
                yield PROCESS
    for decorator in getattr(node, "decorator_list", []):
        match decorator:
            case ast.Attribute(value=ast.Name(id=name), attr="register"):
                yield name


def _mutated(parts: Iterable[ast.AST]) -> Iterator[str]:
    """Names that a method is called on which changes a value in place: x.append(...), x[i].fill_(...)."""
    for part in parts:
        match part:
            case ast.Call(func=ast.Attribute(attr=attr) as method):
                if attr in MUTATING_METHODS or re.search("[^_]_$", attr):
                    yield _base(method)


def _given(parts: Iterable[ast.AST]) -> Iterator[str]:
    """Names in bare calls, which can only be there for what they do."""
    for part in parts:
        if isinstance(part, ast.Expr) and (called := _called(part)) and called not in SHOWING:
            yield from (name.id for name in ast.walk(part) if isinstance(name, ast.Name))


def _called(node: ast.Expr) -> str:
    """The name that the outermost call in an expression begins with."""
    return next((_base(part.func) for part in ast.walk(node) if isinstance(part, ast.Call)), "")


def _effects(node: ast.stmt, later: Collection[str]) -> tuple[frozenset[str], frozenset[str]]:
    """Global names that a function binds when it is called, and those whose value it changes in place."""
    if isinstance(node, ast.ImportFrom):
        return frozenset(), frozenset({PROCESS} if node.names[0].name in SETTING else ())
    if not isinstance(node, ast.FunctionDef):
        return frozenset(), frozenset()
    inside = [part for statement in node.body for part in ast.walk(statement)]
    declared = {name for part in inside if isinstance(part, ast.Global) for name in part.names}
    bound = {part.id for part in inside if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)}
    changed = {*_stored(node, inside), *_mutated(inside)} & {*later, PROCESS}
    return frozenset(declared & bound), frozenset(changed - declared)


def _base(node: ast.AST) -> str:
    """x for x.a[0].b(c).d, nothing for what does not begin with a name."""
    while isinstance(node, ast.Subscript | ast.Attribute | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def _is_stub(node: ast.stmt) -> bool:
    """A function whose body is at most a docstring and `raise NotImplementedError`."""
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or not isinstance(node.body[-1], ast.Raise):
        return False
    raised = node.body[-1].exc
    raised = raised.func if isinstance(raised, ast.Call) else raised
    rest = [n for n in node.body[:-1] if not (isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant))]
    return isinstance(raised, ast.Name) and raised.id == "NotImplementedError" and not rest
