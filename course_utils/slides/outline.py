"""What of a lecture is shown on slides, and what only the speaker sees.

Rules find it: a slide for each figure, each displayed equation, the function that earns most points, small tables,
what goes wrong, widgets, two questions. Whole paragraphs go into the speaker's notes. A cell that says by nbconvert's
`slideshow` metadata what it is (slide, fragment, notes or skip) is taken at its word.
"""

import html
import math
import re
from dataclasses import dataclass, field

from nbconvert.filters import markdown2html
from nbformat import NotebookNode
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from course_utils.checks.engine import Exercise

CODE_LINES, CODE_WIDTH = 20, 92
TABLE_ROWS, TABLE_COLUMNS = 9, 8
BULLETS = 5
CAPTION = 220  # characters
FORMULA = 90  # characters of TeX in a line
# What leans on a sentence before it, prepares the next one, or is not about what is seen
NO_CAPTION = r"^(It|Its|This|That|They|These|Each is|Let|Or|But|Our tests)\b|\$\$|\bdeck\b"
LEAD = 40  # characters; a shorter one before an equation says nothing without the sentence before
QUESTIONS = 2
FIGURES, EQUATIONS, TABLES = 12, 7, 2  # at most, of a lecture
# Where one reads, and a speaker does not
UNSPOKEN = ("References", "Five questions")
# Inside of these no sentence ends
UNBROKEN = (
    r"\$\$.+?\$\$|\$[^$]+\$|`[^`]+`|(?<![*\w])\*(?=[^*\s])[^*]*[.?!] [^*]*(?<=\S)\*(?![*\w])"
    r"|\b(?:e\.g|i\.e|vs|eq|fig|et al|[A-Z])\."
)


@dataclass
class Slide:
    """A title, what stands under it as HTML, and the speaker's notes as Markdown."""

    title: str
    body: str
    notes: list[str] = field(default_factory=list)
    kind: str = "slide"


def blocks(source: str) -> list[str]:
    """The paragraphs of a Markdown text; a list, an answer that is folded and a displayed equation are one each."""
    source = re.sub(r"<details>.*?</details>", lambda found: found[0].replace("\n\n", "\n\0"), source, flags=re.DOTALL)
    source = re.sub(r"^(#.*)$", "\\1\x04", source, flags=re.MULTILINE)
    source = re.sub(r"(?<=\S)[ \n]*\$\$(.+?)\$\$", r" $$\1$$", source, flags=re.DOTALL)
    parts = [part.strip() for part in re.split(r"\n\s*\n|\x04", source)]
    joined: list[str] = []
    for part in filter(None, parts):
        item, before = re.match(r"([-*]|\d\.) ", part), joined and re.match(r"([-*]|\d\.) ", joined[-1])
        if item and before and "<details>" not in joined[-1]:
            joined[-1] += "\n" + part
        else:
            joined.append(part)
    return [part.replace("\0", "\n") for part in joined]


def sentences(text: str) -> list[str]:
    """The sentences of a paragraph. A full stop in a formula, in code, in 'e.g.' or inside of emphasis ends none."""
    hidden: list[str] = []

    def hide(found: re.Match) -> str:
        hidden.append(found[0])
        return f"\x01{len(hidden) - 1}\x02"

    text = re.sub(UNBROKEN, hide, text, flags=re.DOTALL)
    ended = re.sub(r"([.?!][*_)”\"]*) (?=[A-Z*_`(\x01“])", "\\1\x03", " ".join(text.split()))
    found = [re.sub("\x01(\\d+)\x02", lambda at: hidden[int(at[1])], sentence) for sentence in ended.split("\x03")]
    return [sentence.strip("()") if sentence.count("(") != sentence.count(")") else sentence for sentence in found]


def outline(notebook: NotebookNode, exercises: dict[str, Exercise]) -> list[Slide]:
    """The slides of a built lecture."""
    writer = Writer(best_listing(notebook, exercises))
    cells = notebook.cells
    for number, cell in enumerate(cells):
        shown = [c for c in cells[number + 1 :] if c.cell_type == "markdown" or any(map(picture, c.get("outputs", [])))]
        writer.cell(cell, shown[0].source if shown and shown[0].cell_type == "markdown" else "")
    return writer.done()


def captions(after: str, alt: str) -> list[str]:
    """What may be said of a figure or a table in one sentence, the best first: what the text says that follows, or else
    as much of the alternative text as there is room for."""
    following = blocks(after)[0] if after else "#"
    candidates = [] if following.startswith(("#", "|", "<", "- ")) else sentences(following)
    seen = [" ".join(sentences(alt)[:number]) for number in range(len(sentences(alt)), 0, -1)]
    candidates += [*seen, f"{alt.partition(':')[0]}."]
    good = (each for each in candidates if re.match(r"[A-Z*`$\d].*\.$", each) and 30 < len(each) < CAPTION)
    return [each for each in good if not re.search(NO_CAPTION, each)]


def best_listing(notebook: NotebookNode, exercises: dict[str, Exercise]) -> str:
    """The id of the listing that is worth most points and fits on a slide."""

    def worth(cell: NotebookNode) -> tuple[int, int]:
        names = re.findall(r"^def (\w+)", cell.source, re.MULTILINE)
        points = max((exercises[name].points for name in names if name in exercises), default=0)
        return points, len(cell.source)

    listings = [cell for cell in notebook.cells if "listing" in cell.metadata.get("tags", [])]
    fitting = [cell for cell in listings if fits(undocumented(cell.source))]
    return max(fitting, key=worth).id if fitting else ""


def undocumented(code: str) -> str:
    """Code without its docstrings."""
    return re.sub(r'\n\s*"""(?:.|\n)*?"""', "", code)


def fits(code: str) -> bool:
    lines = code.strip().splitlines()
    return len(lines) <= CODE_LINES and max(map(len, lines), default=0) <= CODE_WIDTH


class Writer:
    """Goes through a lecture's cells and makes slides."""

    def __init__(self, listing: str) -> None:
        self.listing, self.slides = listing, [Slide("", "", kind="title")]
        self.section = self.heading = ""
        self.said: list[str] = []  # paragraphs since the last slide
        self.questions = 0
        self.captions: set[str] = set()

    def cell(self, cell: NotebookNode, after: str) -> None:
        told = cell.metadata.get("slideshow", {}).get("slide_type", "")
        if told == "skip":
            return
        if told in ("slide", "fragment", "notes"):
            self.as_told(cell, told)
        elif cell.cell_type == "markdown":
            for block in blocks(cell.source):
                self.block(block)
        else:
            self.code(cell, after)

    def add(self, kind: str, body: str, title: str = "") -> None:
        self.slides.append(Slide(title or self.heading, body, self.said, kind))
        self.said = []

    def as_told(self, cell: NotebookNode, told: str) -> None:
        """A cell whose metadata say what it is on the slides."""
        if told == "notes":
            self.slides[-1].notes.append(cell.source)
            return
        heading = re.match(r"#+ (.+)\n*", cell.source) if cell.cell_type == "markdown" else None
        text = cell.source[heading.end() :] if heading else cell.source
        body = (
            markdown(text) if cell.cell_type == "markdown" else "".join(map(picture, cell.outputs)) or code_block(text)
        )
        if told == "fragment":
            self.slides[-1].body += fragment(body)
        else:
            self.add("told", body, heading[1] if heading else "")

    def caption(self, after: str, alt: str = "") -> str:
        """A caption that no slide has yet, as a paragraph; nothing if there is none."""
        found = next((each for each in captions(after, alt) if each not in self.captions), "")
        self.captions.add(found)
        return found and f"<p class='caption'>{inline(found)}</p>"

    # --- text ---------------------------------------------------------------------------------------------------------

    def block(self, block: str) -> None:
        if heading := re.match(r"(#+) (.+)", block):
            self.flush()
            if len(heading[1]) == 1:
                self.slides[0].title = heading[2]
            else:
                self.heading = heading[2]
                self.section = heading[2] if len(heading[1]) == 2 else self.section
            block = block[heading.end() :].strip()
        if not block:
            return
        if self.section == "Five questions":
            self.question(block)
        elif self.section not in UNSPOKEN:
            asked = self.section in ("", "The question")
            (self.slides[0].notes if asked else self.said).append(block)
            if "$$" in block and not asked:
                self.equation(block)
            elif re.match("[-*] ", block) and self.section:
                self.bullets(block)
            elif self.slides[-1].kind == "equation" and "<p>" not in self.slides[-1].body:
                self.slides[-1].body += markdown(sentences(block)[0])

    def equation(self, block: str) -> None:
        before, formula, after = re.split(r"\$\$(.+?)\$\$", block, maxsplit=1, flags=re.DOTALL)
        leads = sentences(before or (self.said[-2] if len(self.said) > 1 else ""))
        lead = " ".join(leads[-2 if len(leads[-1]) < LEAD else -1 :])
        tail = sentences(after)[0] if after and (not lead or re.match(r"[\s.,]*[a-zλμ]", after)) else ""
        lines = in_lines(formula)
        shown = f"<div class='formula{' lines' if lines != formula else ''}'>\\[{html.escape(lines)}\\]</div>"
        self.add("equation", markdown(lead) + shown + markdown(tail))

    def bullets(self, block: str) -> None:
        items = [" ".join(item.split()) for item in re.split(r"^[-*] ", block, flags=re.MULTILINE) if item.strip()]
        short = [" ".join(sentences(item)[: 2 if len(sentences(item)[0]) < 40 else 1]) for item in items]
        short = [markdown(re.sub(":$", ".", item)) for item in short]
        pages = math.ceil(len(short) / BULLETS)
        for number in range(pages):
            shown = short[number * len(short) // pages : (number + 1) * len(short) // pages]
            shown = "".join(f"<li class='fragment'>{item}</li>" for item in shown)
            self.add("bullets", f"<ul>{shown}</ul>")

    def question(self, block: str) -> None:
        """A question stands before its answer, which is folded, or is the line that one unfolds."""
        if "<details>" not in block:
            self.said = [block]
            return
        answer = re.sub(r"</?details>|<summary>.*?</summary>", "", block).strip()
        asked = self.said or re.findall("<summary>(.*?)</summary>", block)
        question = re.sub(r"^\**\d+\.\** ", "", " ".join(asked))
        self.said = []
        if self.questions < QUESTIONS and len(question) + len(answer) < 900:
            self.questions += 1
            self.add(
                "question", f"<div class='asked'>{markdown(question)}</div>{fragment(markdown(answer))}", "A question"
            )

    # --- code and what it shows ---------------------------------------------------------------------------------------

    def code(self, cell: NotebookNode, after: str) -> None:
        tags = cell.metadata.get("tags", [])
        if cell.id == self.listing:
            lead = re.search(r'"""(.+)', cell.source)
            self.add("listing", (markdown(lead[1].strip('"')) if lead else "") + code_block(undocumented(cell.source)))
            return
        frames = [page for output in cell.outputs if "frames-" in (page := output.get("data", {}).get("text/html", ""))]
        if frames:
            still = next(filter(None, map(alternative, cell.outputs)), "")
            self.add("widget", f"<div class='frames'>{frames[0]}</div>" + self.caption(after, still))
            return
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                kind = "widget" if "widget" in tags else "figure"
                self.add(kind, picture(output) + self.caption(after, alternative(output)))
            elif table := small_table(output):
                self.add("table", table + self.caption(after))

    def flush(self) -> None:
        """Paragraphs without a slide of their own: what goes wrong is shown in short, all is in the last notes."""
        wrong = [text for text in self.said if text.startswith("**")]
        if wrong and re.search("wrong|mistake", self.section, re.IGNORECASE):
            said, self.said = self.said, []
            self.bullets("\n".join(f"- {' '.join(text.split())}" for text in wrong))
            self.said = said
        self.slides[-1].notes += self.said
        self.said = []

    # --- the end ------------------------------------------------------------------------------------------------------

    def done(self) -> list[Slide]:
        self.flush()
        title = self.slides[0]
        for text in sorted(title.notes, key=lambda text: "**The question" not in text):
            if "?" in text:
                said = sentences(text)
                asked = next(number for number, sentence in enumerate(said) if "?" in sentence)
                title.body = markdown(" ".join(said[max(0, asked - 3) : asked + 1]))
                break
        for kind, most in (("figure", FIGURES), ("equation", EQUATIONS), ("table", TABLES)):
            of_kind = [slide for slide in self.slides if slide.kind == kind]
            for slide in spread(of_kind, len(of_kind) - most):
                place = self.slides.index(slide)
                self.slides[place - 1].notes += slide.notes
                del self.slides[place]
        return self.slides


def spread(slides: list[Slide], count: int) -> list[Slide]:
    """`count` of the slides, evenly from the whole, never the first: what is left out if there are too many."""
    if count <= 0:
        return []
    step = (len(slides) - 1) / count
    return [slides[int(1 + step * (number + 0.5))] for number in range(count)]


# --- HTML -------------------------------------------------------------------------------------------------------------


def markdown(text: str) -> str:
    """Markdown as HTML; formulas stay as they are, for MathJax."""
    text = re.sub(r"\]\((?!https?:)[^)]*\)", "]()", text)  # links into the course lead nowhere from a single file
    made = markdown2html(text)
    return re.sub(r'<a href="(?:#)?"[^>]*>(.*?)</a>', r"\1", made)


def in_lines(formula: str) -> str:
    """A formula whose parts stand side by side; if that is too long to be read from afar, one below the other."""
    parts = [part.strip() for part in formula.split(r"\qquad")]
    whole = r"\begin" not in formula and all(part.count("{") == part.count("}") for part in parts)
    if len(formula) <= FORMULA or len(parts) == 1 or not whole:
        return formula
    return r"\begin{gathered}" + r" \\[0.5em] ".join(parts) + r"\end{gathered}"


def inline(text: str) -> str:
    return re.sub(r"^<p>(.*)</p>$", r"\1", markdown(text).strip(), flags=re.DOTALL)


def fragment(body: str) -> str:
    return f"<div class='fragment'>{body}</div>"


def code_block(code: str) -> str:
    return highlight(code.strip(), PythonLexer(), HtmlFormatter(cssclass="code"))


def picture(output: NotebookNode) -> str:
    """A figure with its alternative text."""
    data = output.get("data", {})
    if "image/png" not in data:
        return ""
    address = f"data:image/png;base64,{data['image/png'].strip()}"
    return f'<div class="figure"><img src="{address}" alt="{html.escape(alternative(output))}"></div>'


def alternative(output: NotebookNode) -> str:
    """A figure's alternative text."""
    return output.get("metadata", {}).get("image/png", {}).get("alt", "")


def small_table(output: NotebookNode) -> str:
    """A computed table, if it can be read from the last row of a hall."""
    text = output.get("data", {}).get("text/markdown", "")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    if not 3 <= len(rows) <= TABLE_ROWS + 2 or rows[0].count("|") - 1 > TABLE_COLUMNS or max(map(len, rows)) > 96:
        return ""
    return markdown(text)
