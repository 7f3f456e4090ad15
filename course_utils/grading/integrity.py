"""What an instructor should look at: a report for a human to judge; no point depends on it.

Of each submission only the code that was graded is read. Similar pairs are found by copydetect: winnowing on tokens,
names taken out (Schleimer, Wilkerson and Aiken 2003, doi:10.1145/872757.872770).
"""

import ast
import importlib.metadata
import io
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import combinations

from course_utils.grading.feedback import head
from course_utils.grading.submission import Result
from course_utils.notebooks.source import function_source
from course_utils.units import available, load_unit

TOKENS = (
    30  # characters of filtered code, about as many tokens, that a match must have to be looked for (copydetect's k)
)
SMALLEST = 60  # of which the matches of a pair must hold together to be reported
SHARE = 0.5  # and this part of the shorter one's own code
COMMON = 3  # what more students than these, and more than a tenth of the class, have in common is nobody's copy
PAIRS = 50  # that are shown

# What a solution of plain data has no use for, and why a human should look at it
MODULES = {
    "the interpreter's stack or memory": {"inspect", "gc", "traceback", "linecache", "ctypes", "dis", "marshal"},
    "files, processes or the network": {"os", "pathlib", "shutil", "glob", "io", "tempfile", "subprocess", "socket"}
    | {"urllib", "requests", "http", "multiprocessing", "threading", "signal", "mmap", "fcntl", "resource", "pty"},
    "the interpreter's settings": {"sys", "importlib", "builtins", "site", "atexit", "pickle", "IPython"},
    "the clock or a hash of its inputs": {"time", "datetime", "hashlib", "zlib"},
}
NAMES = {
    "runs text as code": {"eval", "exec", "compile", "__import__"},
    "files, processes or the network": {"open"},
    "the interpreter's stack or memory": {"globals", "locals", "vars"},
}
ATTRIBUTES = {
    "the interpreter's stack or memory": {"_getframe", "_current_frames", "f_back", "f_locals", "f_globals", "tb_frame"}
    | {"__globals__", "__code__", "__closure__", "__subclasses__", "__builtins__", "gi_frame"},
    "runs text as code": {"load_module", "exec_module", "import_module", "from_buffer", "string_at"},
}
LIBRARIES = {"torch", "numpy", "np", "math", "F", "builtins", "sys", "protocol", "worker"}


@dataclass(frozen=True)
class Finding:
    """A line of a student's graded code that a human should look at."""

    student: str
    exercise: str
    why: str
    line: str


@dataclass(frozen=True)
class Pair:
    """Two submissions with the same code, names aside. `tokens` in common, after what the class shares."""

    first: str
    second: str
    tokens: int
    shares: tuple[float, float]  # of each one's own code
    parts: list[tuple[str, str]] = field(
        default_factory=list, hash=False
    )  # the code that they have in common, side by side


@dataclass
class Integrity:
    """What was found in a class; `detector` names the library that compared, or says why none did."""

    findings: list[Finding]
    pairs: list[Pair]
    detector: str

    @property
    def students(self) -> list[str]:
        return sorted({each.student for each in self.findings} | {s for p in self.pairs for s in (p.first, p.second)})


def examine(topic: str, results: Sequence[Result]) -> Integrity:
    """Look through the graded code of a class."""
    findings = [finding for result in results for finding in suspicious_lines(topic, result)]
    pairs, detector = similar_pairs(topic, results)
    return Integrity(findings, pairs, detector)


# --- One submission ---------------------------------------------------------------------------------------------------


def suspicious_lines(topic: str, result: Result) -> list[Finding]:
    """Calls of the course's own reference, and code that looks at its environment or its stack."""
    found: dict[tuple[str, str], Finding] = {}
    names = {exercise.name: module for module in available() for exercise in load_unit(module).exercises}
    for exercise in result.exercises:
        for *_, source in exercise.code:
            lines = source.split("\n")
            for node, why in _remarkable(source, topic, names):
                line = lines[min(getattr(node, "lineno", 1), len(lines)) - 1].strip()[:200]
                found.setdefault((why, line), Finding(result.student, f"{exercise.id} {exercise.name}", why, line))
    return list(found.values())


def _remarkable(source: str, topic: str, names: dict[str, str]) -> Iterator[tuple[ast.AST, str]]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=aliases):
                for alias in aliases:
                    yield from ((node, why) for why in _module(alias.name, topic))
            case ast.ImportFrom(module=str(module), names=aliases):
                yield from ((node, why) for why in _module(module, topic))
                if module == "course_utils":
                    yield from ((node, why) for a in aliases for why in _module(f"course_utils.{a.name}", topic))
            case ast.Name(id=name, ctx=ast.Load()):
                yield from ((node, why) for why, those in NAMES.items() if name in those)
            case ast.Attribute(ctx=ast.Store(), value=value) if _base(value) in LIBRARIES:
                yield node, "changes a library"
            case ast.Attribute(attr=attr):
                yield from ((node, why) for why, those in ATTRIBUTES.items() if attr in those)
            case ast.Call(func=ast.Name(id="setattr"), args=[target, *_]) if _base(target) in LIBRARIES:
                yield node, "changes a library"


def _base(node: ast.AST) -> str:
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _module(name: str, topic: str) -> Iterator[str]:
    parts = name.split(".")
    if parts[0] == "course_utils" and len(parts) > 1:
        if parts[1] == topic:
            yield "calls the reference (a stub in the sandbox)"
        elif parts[1] in ("grading", "notebooks"):
            yield "looks at the grader"
    yield from (f"looks at {why}" for why, those in MODULES.items() if parts[0] in those)


# --- Pairs ------------------------------------------------------------------------------------------------------------


def own_code(result: Result) -> str:
    """The statements that were graded, each once; imports, stubs, docstrings and comments are nobody's work."""
    statements = {(cell, line): source for e in result.exercises for cell, line, source in e.code}
    return "\n".join(filter(None, (_bare(source) for _, source in sorted(statements.items()))))


def _bare(source: str) -> str:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return source
    if all(isinstance(node, ast.Import | ast.ImportFrom) for node in tree.body):
        return ""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    match tree.body:
        case [ast.FunctionDef(body=[ast.Raise(exc=ast.Call(func=ast.Name(id="NotImplementedError")))])]:
            return ""
    return ast.unparse(tree)


def similar_pairs(topic: str, results: Sequence[Result]) -> tuple[list[Pair], str]:
    """Pairs of submissions that have much in common which others have not, largest match first, and by what library.

    The reference, the stubs and whatever more than `COMMON` students and a tenth of the class have are no sign of
    copying: a two-line softmax has one best form.
    """
    try:
        from copydetect import CodeFingerprint, compare_files
    except ImportError:
        return [], "not installed: `pip install copydetect` to compare submissions"
    detector = f"copydetect {importlib.metadata.version('copydetect')}"

    def fingerprint(code: str, known: Sequence[int] = ()) -> CodeFingerprint:
        # A window of 1 keeps every fingerprint: which ones a larger window drops depends on Python's hash seed
        return CodeFingerprint("code.py", TOKENS, 1, boilerplate=list(known), fp=io.StringIO(code))

    codes = {result.student: code for result in results if (code := own_code(result))}
    prints = {student: fingerprint(code) for student, code in codes.items()}
    owners: dict[int, list[str]] = defaultdict(list)
    for student, each in prints.items():
        for value in each.hashes:
            owners[value].append(student)
    given = [_bare(function_source(topic, exercise.name)) for exercise in load_unit(topic).exercises]
    given.append("\n".join(given))  # where one ends and the next begins is theirs too
    common = {value for value, those in owners.items() if len(those) > max(COMMON, len(codes) / 10)}
    common |= {value for source in given for value in fingerprint(source).hashes}
    shared = Counter(pair for value, those in owners.items() if value not in common for pair in combinations(those, 2))
    candidates = [pair for pair, _ in shared.most_common(10 * PAIRS)]
    rare = {s: fingerprint(codes[s], sorted(common)) for s in {s for pair in candidates for s in pair}}
    pairs = []
    for first, second in candidates:
        tokens, shares, slices = compare_files(rare[first], rare[second])
        if tokens >= SMALLEST and max(shares) >= SHARE:
            first_parts, second_parts = (
                [codes[s][int(a) : int(b)].strip() for a, b in zip(*where, strict=True)]
                for s, where in zip((first, second), slices, strict=True)
            )
            parts = [("\n…\n".join(first_parts), "\n…\n".join(second_parts))]
            pairs.append(Pair(first, second, int(tokens), (float(shares[0]), float(shares[1])), parts))
    return sorted(pairs, key=lambda p: (-p.tokens, p.first, p.second))[:PAIRS], detector


# --- The page ---------------------------------------------------------------------------------------------------------


def integrity_page(report: Integrity, lab: str) -> str:
    """HTML for the instructor."""
    parts = [
        head(f"{lab}: work to look at"),
        f"<h1>{escape(lab)}: work to look at</h1>",
        "<p>Nothing here took a point from anybody, and nothing here proves anything: read the code, ask the student."
        "</p>",
        "<h2>Submissions with the same code</h2>",
    ]
    if report.detector.startswith("copydetect"):
        parts.append(
            f"<p>Found by {escape(report.detector)} (winnowing on tokens: names and comments make no difference). "
            f"Left out: the reference, stubs, imports, docstrings, and what more than {COMMON} students and a tenth "
            f"of the class have in common. A pair is listed from {SMALLEST} tokens in common on, if they are at "
            f"least {SHARE:.0%} of what remains of one of the two.</p>"
        )
    else:
        parts.append(f"<p>Not compared: copydetect is {escape(report.detector)}.</p>")
    parts += [_pair(pair) for pair in report.pairs]
    if not report.pairs:
        parts.append("<p>None.</p>")
    parts.append("<h2>Code that looks elsewhere</h2>")
    rows = "".join(
        f"<tr><td>{escape(f.student)}</td><td>{escape(f.exercise)}</td><td>{escape(f.why)}</td>"
        f"<td><code>{escape(f.line)}</code></td></tr>"
        for f in report.findings
    )
    table = f"<table><tr><th>student</th><th>exercise</th><th>why</th><th>line</th></tr>{rows}</table>"
    parts.append(f'<div class="wide">{table}</div>' if rows else "<p>None.</p>")
    return "\n".join(parts) + "</html>\n"


def _pair(pair: Pair) -> str:
    first, second = (
        f"{share:.0%} of {escape(name)}" for name, share in zip((pair.first, pair.second), pair.shares, strict=True)
    )
    title = f"<b>{escape(pair.first)}</b> and <b>{escape(pair.second)}</b>: {pair.tokens} tokens, {first}, {second}"
    sides = "".join(
        f'<div class="pair"><pre>{escape(one[:4000])}</pre><pre>{escape(other[:4000])}</pre></div>'
        for one, other in pair.parts
    )
    return f"<details><summary>{title}</summary>{sides}</details>"
