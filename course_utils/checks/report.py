"""What a check says, as plain text and as HTML."""

from dataclasses import dataclass, field
from html import escape
from typing import Any


@dataclass(frozen=True)
class LawResult:
    """One law's verdict. `message` says what is wrong; `input`, `expected`, `got` are texts, empty where not known.

    `arguments` and `keywords` are those of the call that broke the law: `function(*r.arguments, **r.keywords)` makes it
    again. `missing` names the exercise whose stub was met.
    """

    name: str
    passed: bool
    message: str = ""
    input: str = ""
    expected: str = ""
    got: str = ""
    hint: str = ""
    arguments: tuple[Any, ...] = field(default=(), repr=False, compare=False)
    keywords: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    missing: str = ""

    def details(self) -> list[tuple[str, str]]:
        rows = [("input", self.input), ("expected", self.expected), ("got", self.got), ("hint", self.hint)]
        return [(label, text) for label, text in rows if text]


@dataclass(frozen=True)
class Report:
    """A check's verdict on one function. Points are given whole, if every law holds; bands may split a part of them."""

    exercise: str  # its id, '1.1'
    name: str
    laws: list[LawResult] = field(default_factory=list)
    points: float = 0
    max_points: float = 0
    note: str = ""  # why no law could be tried: 'not implemented yet'
    printed: str = ""  # what the function printed, shown when a law fails
    advice: str = ""  # where else to look first: 'it calls 10.4 dispatch, whose own check fails'

    @property
    def failed(self) -> LawResult | None:
        """The first law that does not hold."""
        return next((law for law in self.laws if not law.passed), None)

    @property
    def again(self) -> str:
        """How to make the call that broke the first law once more; empty where its text says it all."""
        if self.failed is None or not (self.failed.arguments or self.failed.keywords):
            return ""
        if "…" not in self.failed.input and "not contiguous" not in self.failed.input:
            return ""
        keywords = ", **r.failed.keywords" if self.failed.keywords else ""
        return f"r = check({self.name}); {self.name}(*r.failed.arguments{keywords})"

    @property
    def passed(self) -> bool:
        return bool(self.laws) and all(law.passed for law in self.laws)

    @property
    def mark(self) -> str:
        return "✓" if self.passed else "○" if self.note else "✗"

    @property
    def title(self) -> str:
        head = f"{self.exercise} {self.name}"
        if self.note:
            return f"{head}: {self.note}"
        held = sum(law.passed for law in self.laws)
        return f"{head}: {held} of {len(self.laws)} laws hold, {self.points:g} of {self.max_points:g} points"

    def __str__(self) -> str:
        lines = [f"{self.mark} {self.title}"]
        if self.note:
            return lines[0]
        lines += [f"  {self.advice}"] if self.advice else []
        for law in self.laws:
            lines.append(f"  {'✓' if law.passed else '✗'} {law.name}" + (f": {law.message}" if law.message else ""))
            lines += [f"      {label + ':':<10}{text}" for label, text in law.details()]
        if self.printed and not self.passed:
            lines += ["  your function printed:", *(f"      {line}" for line in self.printed.splitlines())]
        lines += [f"  to make the call that failed again: {self.again}"] if self.again else []
        return "\n".join(lines)

    def _repr_pretty_(self, printer, cycle: bool) -> None:
        printer.text(str(self))

    def _repr_html_(self) -> str:
        rows = []
        for law in self.laws if not self.note else []:
            mark = "✓" if law.passed else "✗"
            details = "".join(f"<dt>{label}</dt><dd><code>{escape(text)}</code></dd>" for label, text in law.details())
            rows.append(
                f"<li><b>{mark}</b> {escape(law.name)}"
                + (f": <b>{escape(law.message)}</b>" if law.message else "")
                + (f"<dl>{details}</dl>" if details else "")
                + "</li>"
            )
        if self.printed and not self.passed and not self.note:
            rows.append(f"<li>your function printed<pre>{escape(self.printed)}</pre></li>")
        if self.again:
            rows.append(f"<li>to make the call that failed again: <code>{escape(self.again)}</code></li>")
        if self.advice:
            rows.insert(0, f"<li><b>{escape(self.advice)}</b></li>")
        # Blue and orange are told apart by colour-blind readers; the sign says the same without colour
        colour = "#0072b2" if self.passed else "#8a8a8a" if self.note else "#d55e00"
        return (
            f'<div style="border-left:4px solid {colour};padding:.2em 0 .2em .8em">'
            f"<b>{self.mark} {escape(self.title)}</b>"
            + (f'<ul style="list-style:none;padding-left:.4em">{"".join(rows)}</ul>' if rows else "")
            + "</div>"
        )
