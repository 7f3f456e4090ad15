"""What an exercise needs of a notebook: its function, and the helpers, constants and imports that this depends on.

The cells are parsed, never run, so that experiments, plots and checks are left out. Only the standard library is used:
the grader runs this inside its sandbox too.
"""

import builtins
import itertools
import re
from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from course_utils.grading.statements import PROCESS, SHOWING, Statement, cleaned, names_of, parse_cell

# The cell magics whose body runs in the notebook's namespace: cells with others (%%bash, %%timeit) define nothing
PYTHON_MAGICS = frozenset({"time", "capture", "prun", "needs"})
MOST_STEPS = 50_000  # from function to caller, in looking for what calls change
MOST_GLOBALS = 100  # that one call is seen to change
MOST_MAGICS = 20  # that are looked at in a cell
WRITES_MODULE = re.compile(r"""open\(["'](\w+)\.py["'], ["']([wa])["']\)\.write\(""")  # %%writefile, as Python
OF_IPYTHON = frozenset({"__name__", "__file__", "__doc__", "get_ipython", "display"})


@dataclass
class Extraction:
    """What was found for some names. `notes` are sentences for the student; `broken` says why a name is missing."""

    by_exercise: dict[str, list[Statement]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)

    @cached_property
    def statements(self) -> list[Statement]:
        """Every statement that some name needs, once, in an order in which they can be run."""
        return list(dict.fromkeys(statement for needed in self.by_exercise.values() for statement in needed))


def extract(cells: Sequence[str], names: Sequence[str], secondary: Collection[int] = ()) -> Extraction:
    """Find, for each name, its definition and all that this depends on.

    cells: sources of the code cells, in order. Of several definitions of a name in `names` the last one counts, but a
    stub never hides an implementation. Of anything else that a function needs the last binding counts that stands above
    the last `check(name)`, and one below only if there is none above; a variable never hides a function, class or
    import of the same name. Cells whose index is in `secondary`, and experiments (`%%needs`), count only where no other
    cell defines a name.
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
        result.notes += notebook.defined_again(name, defined, needed)
        result.notes += [f"{name} uses {unknown}, which no cell defines" for unknown in notebook.unknown(defined)]
        result.notes += notebook.bound_elsewhere(name, defined, needed)
    result.notes += notebook.left_out(result.statements)
    result.notes = list(dict.fromkeys(result.notes))
    return result


class _Notebook:
    """The statements of a notebook, and who defines which name."""

    def __init__(self, names: Collection[str], secondary: Collection[int]) -> None:
        self.names, self.secondary = frozenset(names), set(secondary)
        self.statements: list[Statement] = []
        # By name, the numbers of the statements that ...
        self.binders: dict[str, list[int]] = {}  # bind it
        self.changers: dict[str, list[int]] = {}  # change its value in place
        self.givers: dict[str, list[int]] = {}  # hand it to a call that may change it
        self.stars: list[int] = []
        self.futures: list[int] = []  # they hold for every statement that follows
        self.checks: dict[str, int] = {}  # the last cell that checks a name
        self.until = float("inf")  # the last cell whose bindings count
        self.best: dict[str, list[int]] = {}  # of each binder and those above it, the one that counts
        self.notes: list[str] = []
        self.broken: dict[str, str] = {}

    # --- Reading ---

    def read(self, index: int, cell: str) -> None:
        cell, above = cleaned(cell), 0
        while magic := re.match(r"\s*%%(\w+)[^\n]*\n?", cell):  # one may stand below another
            if magic[1] in ("writefile", "file"):
                self.write_file(index, *cell[magic.start(1) :].partition("\n")[::2])
            if magic[1] not in PYTHON_MAGICS:
                self.miss(cell, f"code cell {index + 1} begins with %%{magic[1]}: what it defines does not count")
                return
            if magic[1] == "needs":
                self.secondary.add(index)
            above += magic[0].count("\n")
            cell = cell[magic.end() :]
        cell = "\n" * above + self.until_magic(index, cell)
        for name in re.findall(r"^[^#\n]*\bcheck\(\s*(\w+)", cell, re.MULTILINE):
            self.checks[name] = index
        if re.search(r"^<{7} .*^>{7} ", cell, re.MULTILINE | re.DOTALL):
            self.notes.append(f"code cell {index + 1} holds both sides of a merge conflict (<<<<<<<): resolve it")
        statements, errors = parse_cell(index, cell)
        for line, text, source in errors:
            note = f"code cell {index + 1} has a syntax error in line {line}: {text}"
            self.notes.append(note)
            self.miss(source, note)
        for statement in statements:
            self.add(statement)

    def until_magic(self, index: int, cell: str) -> str:
        """The cell as far as it is run: a cell magic that is not its first line is an error in the kernel."""
        for magic in itertools.islice(re.finditer(r"^%%\w+", cell, re.MULTILINE), MOST_MAGICS):
            if not parse_cell(index, cell[: magic.start()])[1]:  # else it stands in a text
                note = f"code cell {index + 1} ends at {magic[0]}, which must be a cell's first line"
                self.notes.append(note)
                self.miss(cell[magic.end() :], note)
                return cell[: magic.start()]
        return cell

    def miss(self, text: str, reason: str) -> None:
        """Keep why the functions that a text defines are missing."""
        self.broken |= dict.fromkeys(re.findall(r"\bdef\s+(\w+)", text), reason)

    def add(self, statement: Statement) -> None:
        number = len(self.statements)
        alias = re.fullmatch(r"(\w+)\s*=\s*(\w+)", statement.source)
        if alias and any(alias[2] in self.statements[i].firmly for i in self.binders.get(alias[2], ())):
            statement = replace(statement, firmly=statement.binds)  # another name for a function
        if written := WRITES_MODULE.match(statement.source):  # what an import of the module needs
            module = f"%{written[1]}"
            key = "changes" if written[2] == "a" and module in self.binders else "binds"
            statement = replace(statement, **{key: getattr(statement, key) | {module}})
        self.statements.append(statement)
        for table, names in (
            (self.binders, statement.binds),
            (self.changers, statement.changes),
            (self.givers, statement.gives),
        ):
            for name in names:
                table.setdefault(name, []).append(number)
        if "*" in statement.binds:
            self.stars.append(number)
        if statement.source.startswith("from __future__ "):
            self.futures.append(number)

    def write_file(self, index: int, head: str, text: str) -> None:
        """A cell that writes a module, as the statement that does the same."""
        *options, name = head.split()
        module = name.removesuffix(".py")
        if module != name and module.isidentifier():
            mode = "a" if {"-a", "--append"} & set(options) else "w"
            self.add(Statement(index, 1, f"open({name!r}, {mode!r}).write({text.rstrip() + chr(10)!r})"))

    def follow_calls(self) -> None:
        """Whoever calls a function that sets a global, or changes one in place, does that himself."""
        effects = self.effects()
        for number, statement in enumerate(self.statements):
            reached = set().union(*(effects[name] for name in statement.now if name in effects))
            for name, bound in reached:
                above = self.binders.get(name)
                if bound and (not above or above[0] > number):
                    self.statements[number] = replace(statement, binds=statement.binds | {name})
                    insort(self.binders.setdefault(name, []), number)
                else:
                    insort(self.changers.setdefault(name, []), number)

    def effects(self) -> dict[str, set[tuple[str, bool]]]:
        """The globals that calling each function binds (True) or changes (False), itself or by what it calls.

        Exercises are pure: what they keep from call to call is their own matter.
        """
        effects: dict[str, set[tuple[str, bool]]] = {}
        callers: dict[str, set[str]] = {}
        for statement in self.statements:
            own = {(name, True) for name in statement.sets} | {(name, False) for name in statement.alters}
            for name in statement.firmly - self.names:
                for other in statement.later:
                    callers.setdefault(other, set()).add(name)
                if own:
                    effects.setdefault(name, set()).update(own)
        waiting, steps = list(effects), 0
        while waiting and steps < MOST_STEPS:
            name = waiting.pop()
            for caller in callers.get(name, ()):
                steps += 1
                known = effects.get(caller, set())
                both = known | effects[name]
                if len(known) < len(both) <= MOST_GLOBALS:
                    effects[caller] = both
                    waiting.append(caller)
        return effects

    # --- What counts ---

    def stand_at_check(self, name: str, defined: int) -> None:
        """From now on what is bound below the name's last check, if that follows the definition, does not count."""
        check = self.checks.get(name, -1)
        self.until = check if check >= defined else float("inf")
        self.best.clear()

    def counts(self, number: int) -> bool:
        """Whether a change by this statement counts: not one by an experiment, or below the check."""
        cell = self.statements[number].cell
        return cell <= self.until and cell not in self.secondary

    def definition(self, name: str, before: int | None = None) -> int | None:
        """The statement that counts as the name's definition."""

        def rank(number: int) -> tuple[bool, bool, bool, bool, int]:
            statement = self.statements[number]
            implemented = name not in self.names or not statement.stub
            above = name in self.names or statement.cell <= self.until
            return implemented, above, name in statement.firmly, statement.cell not in self.secondary, number

        found = self.binders.get(name, [])
        if hasattr(builtins, name):  # a variable named `sum` or `input` in an experiment does not hide the built-in
            found = [i for i in found if name in self.statements[i].firmly]
        if name not in self.best:
            self.best[name] = list(itertools.accumulate(found, lambda a, b: max(a, b, key=rank)))
        place = len(found) if before is None else bisect_left(found, before)
        return self.best[name][place - 1] if place else None

    def needs(self, number: int) -> tuple[set[int], set[int]]:
        """The statements that must have run before this one runs, and those that its functions need later."""
        statement = self.statements[number]
        now: set[int | None] = set()
        for name in statement.now:
            earlier = self.definition(name, before=number)
            now.add(self.definition(name) if earlier is None else earlier)
        later = {self.definition(name) for name in statement.later}
        return {i for i in now if i is not None} - {number}, {i for i in later if i is not None} - {number}

    def closure(self, start: int) -> list[Statement]:
        """The statement with all that it needs, in notebook order save where a later one must run first."""
        needed: dict[int, set[int]] = {}  # with what must have run before
        seen: dict[str, int] = {}  # the first binder of a name whose changes are in
        waiting = [start, *filter(self.counts, self.changers.get(PROCESS, ()))]
        while waiting:
            number = waiting.pop()
            if number in needed:
                continue
            needed[number], later = self.needs(number)
            waiting += [*needed[number], *later]
            statement = self.statements[number]
            names = statement.now | statement.later
            if any(not n.startswith("%") and n not in self.binders and not hasattr(builtins, n) for n in names):
                waiting += self.stars
            for name in statement.binds:
                waiting += filter(self.counts, self.changes_of(name, number, seen.get(name)))
                seen[name] = min(number, seen.get(name, number))
        order: dict[int, None] = {}
        for number in [*(i for i in self.futures if i < start), *sorted(needed)]:
            path = {number: None}
            while path:
                last = next(reversed(path))
                unmet = (i for i in sorted(needed.get(last, ())) if i not in order and i not in path)
                if (before := next(unmet, None)) is not None:
                    path[before] = None
                else:
                    order[last] = path.pop(last)
        return [self.statements[i] for i in order]

    def changes_of(self, name: str, after: int, before: int | None) -> list[int]:
        """The statements between two that may change what the first binds a name to."""
        tables = [self.changers] if name in self.statements[after].firmly else [self.changers, self.givers]
        found = []
        for numbers in (table.get(name, []) for table in tables):
            end = len(numbers) if before is None else bisect_right(numbers, before)
            found += numbers[bisect_right(numbers, after) : end]
        return found

    # --- What the student is told ---

    def defined_again(self, name: str, defined: int, needed: Sequence[Statement]) -> list[str]:
        """A note, if the exercise has other definitions."""
        counts, kept = self.statements[defined], set(needed)
        others = [s for s in map(self.statements.__getitem__, self.binders[name]) if s not in kept and not s.stub]
        others = [s for s in others if name in s.firmly or s.cell not in self.secondary]
        if all(s.source == counts.source for s in others):
            return []
        return [f"{name} is defined {len(others) + 1} times; the one in code cell {counts.cell + 1} counts"]

    def unknown(self, number: int) -> list[str]:
        statement = self.statements[number]
        if self.stars:
            return []
        names = statement.now | statement.later
        if futures := [self.statements[i].source for i in self.futures if i < number]:
            _, now, later = names_of("\n".join([*futures, statement.source]))  # without annotations, perhaps
            names &= now | later
        known = self.binders.keys() | set(dir(builtins)) | OF_IPYTHON
        return sorted(name for name in names - known if not name.startswith("%"))

    def bound_elsewhere(self, name: str, defined: int, needed: Sequence[Statement]) -> list[str]:
        """Notes on names that the check saw otherwise, or not at all, or that mean something else afterwards."""
        counts, check = self.statements[defined], self.checks.get(name)
        if check is None:
            return []
        if check < counts.cell:
            return [f"{name} stands in code cell {counts.cell + 1}, below its check in code cell {check + 1}"]
        notes, kept = [], set(needed)
        uses = Counter(used for statement in needed for used in statement.now | statement.later)
        for statement in needed:
            for other in sorted(statement.binds):
                if uses[other] == (other in statement.now | statement.later):  # no other statement uses it
                    continue
                if statement.cell > check:
                    below = f"below the check of {name} in code cell {check + 1}"
                    notes.append(f"{other} stands in code cell {statement.cell + 1}, {below}")
                    continue
                binders = (self.statements[i] for i in reversed(self.binders[other]))
                again = next((s for s in binders if s.cell not in self.secondary), statement)
                if other not in self.names and again not in kept and again.source != statement.source:
                    here = f"the one in code cell {statement.cell + 1} counts"
                    notes.append(f"{other} is bound again in code cell {again.cell + 1}: for {name} {here}")
        return notes

    def left_out(self, needed: Collection[Statement]) -> list[str]:
        """Notes on calls beside what is needed, and about a module of it, that are not run."""
        kept = set(needed)
        cells = {s.cell for s in kept if not s.imports}
        modules = {name for s in kept if s.imports for name in s.binds} - SHOWING
        return [
            f"code cell {s.cell + 1}, line {s.line} is left out: {s.source[:60]}"
            for s in self.statements
            if s.calls in modules and s.cell in cells and s.cell not in self.secondary and s not in kept
        ]
