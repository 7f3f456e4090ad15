"""What an exercise needs of a notebook: its function, and the helpers, constants and imports that this depends on.

The cells are parsed, never run, so that experiments, plots and checks are left out. Only the standard library is used:
the grader runs this inside its sandbox too.
"""

import ast
import builtins
import functools
import re
import symtable
import warnings
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

# The cell magics whose body is Python; a cell with another one (%%bash, %%html, ...) holds no Python
PYTHON_MAGICS = frozenset({"time", "timeit", "capture", "prun", "needs", "python", "python3", "pypy"})
MUTATING_METHODS = frozenset(
    {"append", "appendleft", "extend", "insert", "update", "add", "setdefault", "pop", "remove", "discard", "clear"}
    | {"sort", "reverse", "register", "fill"}
)
# Calls that set something for the whole process: they belong to every function below them
PROCESS_WIDE = frozenset(
    {"sys.setrecursionlimit", "sys.set_int_max_str_digits", "numpy.seterr"}
    | {f"torch.{name}" for name in ("set_default_dtype", "set_grad_enabled", "set_flush_denormal")}
)
SHOWING = frozenset({"print", "check", "display", "plt", "plots", "help"})  # calls that nobody misses in a function
COMPREHENSIONS = frozenset({"listcomp", "setcomp", "dictcomp", "genexpr"})
SALVAGE_SPAN = 60  # how many lines in the first column one statement of a broken cell may have
SALVAGE_PARSES = 3_000  # attempts at one broken cell
MOST_STEPS = 5_000  # from function to caller, in looking for what calls change


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
    stub: bool = False  # a function that only raises NotImplementedError
    calls: str = ""  # the dotted name of what it calls, if it is nothing but a call
    sets: frozenset[str] = frozenset()  # global names that it binds when it is called, being a function
    alters: frozenset[str] = frozenset()  # global names whose value it changes in place when it is called


@dataclass
class Extraction:
    """What was found for some names. `notes` are sentences for the student; `broken` says why a name is missing."""

    by_exercise: dict[str, list[Statement]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)

    @functools.cached_property
    def statements(self) -> list[Statement]:
        """Every statement that some name needs, once, in an order in which they can be run."""
        return list(dict.fromkeys(statement for needed in self.by_exercise.values() for statement in needed))


def extract(cells: Sequence[str], names: Sequence[str], secondary: Collection[int] = ()) -> Extraction:
    """Find, for each name, its definition and all that this depends on.

    cells: sources of the code cells, in order. Of several definitions of a name in `names` the last one counts, but a
    stub never hides an implementation. Of anything else that a function needs the last binding counts that stands above
    the function's own check, `check(name)`, and one below only if there is none above; a variable never hides a
    function, class or import of the same name. Cells whose index is in `secondary`, and experiments (`%%needs`), count
    only where no other cell defines a name.
    """
    notebook = _Notebook(names, secondary)
    for index, cell in enumerate(cells):
        notebook.read(index, cell)
    notebook.follow_calls()
    result = Extraction(notes=notebook.notes)
    for name in names:
        if (defined := notebook.definition(name)) is None:
            result.missing.append(name)
            if name in notebook.broken:
                result.broken[name] = notebook.broken[name]
            continue
        notebook.stand_at_check(name, notebook.statements[defined].cell)
        needed = result.by_exercise[name] = notebook.closure(defined)
        counts = notebook.statements[defined]
        others = [s for i in notebook.binders[name] if name in (s := notebook.statements[i]).firmly and s not in needed]
        if any(s.source != counts.source and not s.stub for s in others):
            where = f"the one in code cell {counts.cell + 1} counts"
            result.notes.append(f"{name} is defined {len(others) + 1} times; {where}")
        result.notes += [f"{name} uses {unknown}, which no cell defines" for unknown in notebook.unknown(defined)]
        result.notes += notebook.bound_again(name, needed)
    result.notes += notebook.left_out(result.statements)
    result.notes = list(dict.fromkeys(result.notes))
    return result


class _Notebook:
    """The statements of a notebook, and who defines which name."""

    def __init__(self, names: Collection[str], secondary: Collection[int]) -> None:
        self.names, self.secondary = frozenset(names), set(secondary)
        self.statements: list[Statement] = []
        self.binders: dict[str, list[int]] = {}
        self.changers: dict[str, list[int]] = {}
        self.stars: list[int] = []
        self.futures: list[int] = []  # they hold for every statement that follows
        self.checks: dict[str, list[int]] = {}  # cells that check a name
        self.modules: dict[str, str] = {}  # what imported names stand for
        self.settings: list[int] = []
        self.until = float("inf")  # the last cell whose bindings count
        self.notes: list[str] = []
        self.broken: dict[str, str] = {}

    def read(self, index: int, cell: str) -> None:
        cell = _cleaned(cell)
        magic = re.match(r"\s*%%(\w+)[^\n]*\n?", cell)
        if magic and magic[1] in ("writefile", "file"):
            self.write_file(index, *cell[magic.start(1) :].partition("\n")[::2])
        if magic:
            if magic[1] not in PYTHON_MAGICS:
                return
            if magic[1] == "needs":
                self.secondary.add(index)
            cell = "\n" * magic[0].count("\n") + cell[magic.end() :]
        for name in re.findall(r"^[^#\n]*\bcheck\(\s*(\w+)", cell, re.MULTILINE):
            self.checks.setdefault(name, []).append(index)
        if re.search(r"^<{7} .*^>{7} ", cell, re.MULTILINE | re.DOTALL):
            self.notes.append(f"code cell {index + 1} holds both sides of a merge conflict (<<<<<<<): resolve it")
        statements, errors = _parse_cell(index, cell)
        for line, text, source in errors:
            note = f"code cell {index + 1} has a syntax error in line {line}: {text}"
            self.notes.append(note)
            for name in re.findall(r"\bdef\s+(\w+)", source):
                self.broken[name] = note
        for statement in statements:
            self.add(statement)

    def add(self, statement: Statement) -> None:
        number = len(self.statements)
        alias = re.fullmatch(r"(\w+)\s*=\s*(\w+)", statement.source)
        if alias and any(alias[2] in self.statements[i].firmly for i in self.binders.get(alias[2], ())):
            statement = replace(statement, firmly=statement.binds)  # another name for a function
        self.statements.append(statement)
        for name in statement.binds:
            self.binders.setdefault(name, []).append(number)
        for name in statement.changes:
            self.changers.setdefault(name, []).append(number)
        if "*" in statement.binds:
            self.stars.append(number)
        if _is_import(statement) and len(words := statement.source.split()) > 1:
            module = f"{words[1]}.{words[3]}" if words[0] == "from" and len(words) > 3 else words[1]
            self.modules[words[-1]] = module
        if statement.source.startswith("from __future__ "):
            self.futures.append(number)

    def write_file(self, index: int, head: str, text: str) -> None:
        """A cell that writes a module: a statement that an import of the module needs."""
        name = head.split()[-1]
        if name.endswith(".py") and name.removesuffix(".py").isidentifier():
            source = f"open({name!r}, 'w').write({text!r})"
            self.add(Statement(index, 1, source, binds=frozenset({f"%{name.removesuffix('.py')}"})))

    def follow_calls(self) -> None:
        """A call of a function that fills a table, or sets a global, does that itself; so does one that sets something
        for the whole process."""
        effects = self.effects()
        for number, statement in enumerate(self.statements):
            if not statement.calls and (not statement.binds or statement.sets or statement.alters):
                continue
            reached = set().union(*(effects[name] for name in statement.now if name in effects))
            if sets := {name for kind, name in reached if kind == "sets"} - statement.binds:
                self.statements[number] = replace(statement, binds=statement.binds | sets)
            for name in sets:
                self.binders[name] = sorted([*self.binders.get(name, ()), number])
            for name in {name for kind, name in reached if kind == "alters"}:
                self.changers.setdefault(name, []).append(number)
            base, dot, rest = statement.calls.partition(".")
            if self.modules.get(base, base) + dot + rest in PROCESS_WIDE:
                self.settings.append(number)

    def effects(self) -> dict[str, set[tuple[str, str]]]:
        """What calling each function sets and alters, itself or by what it calls."""
        effects: dict[str, set[tuple[str, str]]] = {}
        callers: dict[str, set[str]] = {}
        for statement in self.statements:
            for name in statement.firmly:
                for other in statement.later:
                    callers.setdefault(other, set()).add(name)
                own = {("sets", other) for other in statement.sets} | {("alters", other) for other in statement.alters}
                if own:
                    effects.setdefault(name, set()).update(own)
        waiting, steps = list(effects), 0
        while waiting and (steps := steps + 1) < MOST_STEPS:
            name = waiting.pop()
            for caller in callers.get(name, ()):
                if not effects[name] <= effects.setdefault(caller, set()):
                    effects[caller] |= effects[name]
                    waiting.append(caller)
        return effects

    def stand_at_check(self, name: str, defined: int) -> None:
        """From now on what is bound below the check that follows the definition does not count."""
        self.until = next((cell for cell in self.checks.get(name, ()) if cell >= defined), float("inf"))

    def bound_again(self, name: str, needed: Sequence[Statement]) -> list[str]:
        """Notes on names that mean something else at the notebook's end."""
        notes = []
        for statement in needed:
            for other in sorted(statement.binds - self.names):
                last = self.statements[self.binders[other][-1]]
                if last.cell > self.until and last.source != statement.source and other in self.wanted(needed):
                    notes.append(
                        f"{other} is bound again in code cell {last.cell + 1}, below the check of {name}: "
                        f"for {name} the one in code cell {statement.cell + 1} counts"
                    )
        return notes

    @staticmethod
    def wanted(statements: Sequence[Statement]) -> set[str]:
        return {name for statement in statements for name in statement.now | statement.later}

    def left_out(self, needed: Collection[Statement]) -> list[str]:
        """Notes on calls beside what is needed, and about it, that are not run."""
        cells = {s.cell for s in needed if not _is_import(s)}
        names = self.wanted(needed) | {name for s in needed for name in s.binds}
        return [
            f"code cell {s.cell + 1}, line {s.line} is left out: {s.source[:60]}"
            for s in self.statements
            if s.calls and s.cell in cells and s.cell not in self.secondary and s not in needed
            and (base := s.calls.partition(".")[0]) in names and base not in SHOWING
        ]  # fmt: skip

    def definition(self, name: str, before: int | None = None) -> int | None:
        """The statement that counts as the name's definition."""

        def rank(number: int) -> tuple[bool, bool, bool, bool, int]:
            statement = self.statements[number]
            implemented = name not in self.names or not statement.stub
            above = name in self.names or statement.cell <= self.until
            return implemented, above, name in statement.firmly, statement.cell not in self.secondary, number

        found = [i for i in self.binders.get(name, ()) if before is None or i < before]
        if hasattr(builtins, name):  # a variable named `sum` or `input` in an experiment does not hide the built-in
            found = [i for i in found if name in self.statements[i].firmly]
        return max(found, key=rank, default=None)

    def needs(self, number: int) -> tuple[set[int], set[int]]:
        """The statements that must have run before this one runs, and those that its functions need later."""
        statement = self.statements[number]
        now: set[int | None] = set()
        for name in statement.now:
            earlier = self.definition(name, before=number)
            now.add(self.definition(name) if earlier is None else earlier)
        later = {self.definition(name) for name in statement.later}
        return {i for i in now if i is not None} - {number}, {i for i in later if i is not None} - {number}

    def unknown(self, number: int) -> list[str]:
        statement = self.statements[number]
        if self.stars:
            return []
        known = {
            *self.binders,
            *(name for name in statement.now if name.startswith("%")),
            *dir(builtins),
            "__name__",
            "__file__",
            "__doc__",
            "get_ipython",
            "display",
        }
        return sorted((statement.now | statement.later) - known)

    def closure(self, start: int) -> list[Statement]:
        """The statement with all that it needs, in notebook order save where a later one must run first."""
        needed: set[int] = set()
        waiting = [start, *(i for i in self.settings if self.statements[i].cell <= self.until)]
        while waiting:
            number = waiting.pop()
            if number in needed:
                continue
            needed.add(number)
            waiting += [i for group in self.needs(number) for i in group]
            statement = self.statements[number]
            names = statement.now | statement.later
            if any(not n.startswith("%") and n not in self.binders and not hasattr(builtins, n) for n in names):
                waiting += self.stars
            for name in statement.binds:
                waiting += [
                    i
                    for i in self.changers.get(name, ())
                    if i > number
                    and self.statements[i].cell not in self.secondary
                    and self.statements[i].cell <= self.until
                    and not _is_import(statement)
                ]
        order: dict[int, None] = {}

        def emit(number: int, above: frozenset[int]) -> None:
            if number in order or number in above:
                return
            for i in sorted(self.needs(number)[0]):
                emit(i, above | {number})
            order[number] = None

        for number in [*(i for i in self.futures if i < start), *sorted(needed)]:
            emit(number, frozenset())
        return [self.statements[i] for i in order]


def _is_import(statement: Statement) -> bool:
    return statement.source.startswith(("import ", "from "))


# --- One cell ---------------------------------------------------------------------------------------------------------

PROMPT = re.compile(r"^(?:>>>|\.\.\.)(?: |$)|^In \[\d+\]: |^ +\.{3,}: ?", re.MULTILINE)


def _cleaned(cell: str) -> str:
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


def _parse_cell(index: int, cell: str) -> tuple[list[Statement], list[tuple[int, str, str]]]:
    """A cell's statements, and what could not be read: (line, message, text)."""
    # \f and the like end no line for Python's parser, so lines are told apart by \n alone
    tree = _parse(cell)
    if tree is not None:
        return [s for node in tree.body for s in _statement(index, cell, node, 0)], []
    statements: list[Statement] = []
    errors: list[tuple[int, str, str]] = []
    lines = [_without_magic(line) for line in cell.split("\n")]
    if (tree := _parse("\n".join(lines))) is not None:
        source = "\n".join(lines)
        return [s for node in tree.body for s in _statement(index, source, node, 0)], []
    # A statement begins in the first column; one with a syntax error shall cost its neighbours nothing
    starts = [i for i, line in enumerate(lines) if re.match(r"[^\s)\]}#]", line) and not _continues(line)]
    position = parses = 0
    bad: list[int] = []
    while position < len(starts) and parses < SALVAGE_PARSES:
        for end in range(position + 1, min(position + SALVAGE_SPAN, len(starts)) + 1):
            last = starts[end] if end < len(starts) else len(lines)
            source = "\n".join(lines[starts[position] : last])
            parses += 1
            if (tree := _parse(source)) is not None:
                statements += [s for node in tree.body for s in _statement(index, source, node, starts[position])]
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


def _without_magic(line: str) -> str:
    """The line without IPython's magic, blank or `pass` if nothing is left of it."""
    if match := re.match(r"(\s*)%time\s+(?=\S)", line):
        return match[1] + line[match.end() :]
    if re.match(r"[%!?]|[\w.]+\?{1,2}\s*$|[\w, ]+=\s*[%!]", line):
        return ""
    if match := re.match(r"(\s+)(?:[%!?]{1,2}\w|[\w.]+\?{1,2}\s*$|[\w, ]+=\s*[%!]\w)", line):
        return match[1] + "pass"
    return line


def _statement(index: int, source: str, node: ast.stmt, offset: int) -> Iterator[Statement]:
    """The statement, if it can define or change something. A `%%` line or what stands above it shifts by `offset`."""
    if isinstance(node, ast.Pass | ast.Delete):
        return
    if isinstance(node, ast.Import | ast.ImportFrom) and len(node.names) > 1:  # one that fails costs the others nothing
        for alias in node.names:
            single = type(node)(**{**dict(ast.iter_fields(node)), "names": [alias]})
            text = ast.unparse(single)
            yield from _statement(index, text, ast.parse(text).body[0], offset + node.lineno - 1)
        return
    decorators = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(decorator.lineno for decorator in decorators)])
    text = _text(source, node, first)
    try:
        binds, now, later = _names(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    parts = list(_here(node))
    now |= {p.target.id for p in parts if isinstance(p, ast.AugAssign) and isinstance(p.target, ast.Name)}
    if isinstance(node, ast.Import | ast.ImportFrom):
        now |= {f"%{module.partition('.')[0]}" for module in [getattr(node, "module", None) or node.names[0].name]}
    changes = frozenset(_changed(node, parts)) - binds
    calls = _dotted(node.value.func) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) else ""
    if not binds and not changes and not calls:
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
        _is_stub(node),
        calls,
        sets,
        alters,
    )


@functools.lru_cache(maxsize=1)
def _lines(source: str) -> list[str]:
    return source.split("\n")


def _text(source: str, node: ast.stmt, first: int) -> str:
    """A statement's text from its first line on; `ast.get_source_segment` splits the whole source for each."""
    lines = _lines(source)[first - 1 : node.end_lineno]
    lines[-1] = lines[-1].encode()[: node.end_col_offset].decode()
    lines[0] = lines[0].encode()[node.col_offset :].decode()
    return "\n".join(lines)


def _dotted(node: ast.AST) -> str:
    """'np.random.seed' for that expression, nothing for what is no dotted name."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=attr) if base := _dotted(value):
            return f"{base}.{attr}"
    return ""


def _effects(node: ast.stmt, later: Collection[str]) -> tuple[frozenset[str], frozenset[str]]:
    """Global names that a function binds when it is called, and those whose value it changes in place."""
    if not isinstance(node, ast.FunctionDef):
        return frozenset(), frozenset()
    inside = [part for statement in node.body for part in ast.walk(statement)]
    declared = {name for part in inside if isinstance(part, ast.Global) for name in part.names}
    bound = {part.id for part in inside if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)}
    return frozenset(declared & bound), frozenset(set(_changed(node, inside)) & set(later)) - declared


def _names(source: str) -> tuple[set[str], set[str], set[str]]:
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


def _changed(node: ast.stmt, parts: Sequence[ast.AST]) -> Iterator[str]:
    """Names whose value is changed in place: x[i] = ..., x.a = ..., x.append(...), x[i].fill_(...), @f.register."""
    for part in parts:
        if isinstance(part, ast.Subscript | ast.Attribute) and isinstance(part.ctx, ast.Store | ast.Del):
            yield from _base(part)
        elif isinstance(part, ast.Call):
            match part.func:
                case ast.Attribute(value=base, attr=attr) if attr in MUTATING_METHODS or re.search("[^_]_$", attr):
                    yield from _base(base)
    for decorator in getattr(node, "decorator_list", []):
        match decorator:
            case ast.Attribute(value=ast.Name(id=name), attr="register"):
                yield name


def _base(node: ast.AST) -> Iterator[str]:
    """x for x.a[0].b, nothing for what does not begin with a name."""
    while isinstance(node, ast.Subscript | ast.Attribute):
        node = node.value
    if isinstance(node, ast.Name):
        yield node.id


def _is_stub(node: ast.stmt) -> bool:
    """A function whose body is at most a docstring and `raise NotImplementedError`."""
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or not isinstance(node.body[-1], ast.Raise):
        return False
    raised = node.body[-1].exc
    raised = raised.func if isinstance(raised, ast.Call) else raised
    rest = [n for n in node.body[:-1] if not (isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant))]
    return isinstance(raised, ast.Name) and raised.id == "NotImplementedError" and not rest
