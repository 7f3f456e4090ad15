"""A lecture's slides: what is on them, that nothing overflows, and that the file asks for nothing else."""

import re
import subprocess

import nbformat
import pytest

from course_utils import cli
from course_utils.notebooks.build import assemble
from course_utils.slides import browser_program, lecture, make_slides, outline, page
from course_utils.slides.outline import FORMULA, Slide, Writer, blocks, captions, in_lines, sentences, undocumented
from course_utils.units import available, lecture_source, load_unit
from tests.notebooks.browser import headless_browser

LEAST_PIXELS = 18
# Everything that is wrong with a slide, slide by slide
LOOK = """() => {
  const found = [];
  for (let i = 0; i < Reveal.getTotalSlides(); i++) {
    Reveal.slide(i, 0, 99);
    const slide = Reveal.getCurrentSlide(), page = slide.querySelector(".page"), body = slide.querySelector(".body");
    const name = `slide ${i + 1}, ${slide.querySelector("h2").textContent}: `;
    if (body.scrollHeight > body.clientHeight + 2) found.push(name + "the body is too long");
    for (const part of page.querySelectorAll("*")) {
      const box = part.getBoundingClientRect();
      if (!box.width || part.closest("mjx-assistive-mml")) continue;
      if (box.right > 1281 || box.bottom > 721 || box.left < -1 || box.top < -1) {
        found.push(name + part.tagName + " sticks out"); break;
      }
    }
    const texts = document.createTreeWalker(page, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
      const parent = texts.currentNode.parentElement, text = texts.currentNode.textContent;
      if (!text.trim() || parent.closest("mjx-container, script, style")) continue;
      if (parseFloat(getComputedStyle(parent).fontSize) < LEAST) found.push(name + "small: " + text);
      if (/\\$|\\\\\\[/.test(text) && !parent.closest("code, pre")) found.push(name + "raw TeX: " + text);
    }
    for (const image of page.querySelectorAll("img"))
      if (!image.alt || !image.naturalWidth) found.push(name + "a picture without words, or none");
  }
  return found;
}"""


def slides_of(topic: str) -> list[Slide]:
    return outline(lecture(topic), {exercise.name: exercise for exercise in load_unit(topic).exercises})


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("One. Two? Three!", ["One.", "Two?", "Three!"]),
        ("**Bold.** Then $a. B$ follows. End", ["**Bold.**", "Then $a. B$ follows.", "End"]),
        ("By `x. Y` and e.g. Han. (It is so.) Next", ["By `x. Y` and e.g. Han.", "(It is so.)", "Next"]),
        ("H. Hall wrote it. Later", ["H. Hall wrote it.", "Later"]),
        ("over\ntwo lines. Next", ["over two lines.", "Next"]),
        ("Its *title? And more.* And *b*, c. *D* e", ["Its *title? And more.* And *b*, c.", "*D* e"]),
    ],
)
def test_sentences_end_where_they_end(text, parts):
    assert sentences(text) == parts


def test_blocks_keep_together_what_belongs_together():
    text = "## Head\n$$a\n= b$$\n\nText\n\n$$c$$\n\n- one\n- two\n\n- three\n\n<details>\n\nAnswer\n\nmore\n</details>"
    assert blocks(text) == [
        "## Head",
        "$$a\n= b$$",
        "Text $$c$$",
        "- one\n- two\n- three",
        "<details>\n\nAnswer\n\nmore\n</details>",
    ]


def test_a_caption_is_a_sentence_about_the_figure():
    good = "What came out is that all of them fall alike."
    assert captions(f"It is so, and so it has been for long. {good} More.", "") == [good]
    assert captions("As the table says:", f"{good} More.")[0] == f"{good} More."
    assert captions("## Next", f"A bar for each of five networks: {'1,000, ' * 40}.") == [
        "A bar for each of five networks."
    ]
    assert captions("## Next", "") == []


def test_no_two_slides_have_one_caption():
    writer, said = Writer(""), "What came out is that all of them fall alike. And then they rise again, one by one."
    assert "fall alike" in writer.caption(said) and "rise again" in writer.caption(said) and writer.caption(said) == ""


@pytest.mark.parametrize(
    "text",
    [
        "**1.** Why is it so?\n\n<details><summary>Answer</summary>\n\nBecause.\n</details>",
        "<details><summary>1. Why is it so?</summary>\n\nBecause.\n</details>",
    ],
)
def test_a_question_stands_above_its_answer(text):
    writer = Writer("")
    for block in blocks(f"## Five questions\n\n{text}"):
        writer.block(block)
    asked, answer = writer.slides[-1].body.split("<div class='fragment'>")
    assert "<p>Why is it so?</p>" in asked and "Because." in answer


def test_a_short_sentence_before_an_equation_gets_the_one_before():
    writer = Writer("")
    writer.block("## Head\n\nA weight goes to where the loss is least. So $$w = 0$$")
    assert "where the loss is least. So" in writer.slides[-1].body
    writer.block("$$v = 1$$")
    writer.block("This is where it ends. More.")
    assert "This is where it ends.</p>" in writer.slides[-1].body and "More" not in writer.slides[-1].body


def test_a_long_formula_stands_in_lines():
    long = "x" * FORMULA
    assert in_lines(rf"{long} \qquad y") == rf"\begin{{gathered}}{long} \\[0.5em] y\end{{gathered}}"
    for formula in (
        r"x \qquad y",
        long * 2,
        rf"\boxed{{{long} \qquad y}}",
        rf"\begin{{cases}}{long} \qquad y\end{{cases}}",
    ):
        assert in_lines(formula) == formula


def test_code_is_shown_without_its_docstring():
    assert undocumented('def f(x):\n    """Say.\n\n    More.\n    """\n    return x') == "def f(x):\n    return x"


def test_a_cell_says_what_it_is(tmp_path):
    source = tmp_path / "lecture.md"
    head = "---\nkernelspec:\n  display_name: Python 3\n  name: python3\n---\n\n# Lecture\n\n**The question.** Why?\n\n"
    told = (
        '+++ {"slideshow": {"slide_type": "slide"}}\n\n## Told\n\nShown.\n\n'
        '+++ {"slideshow": {"slide_type": "fragment"}}\n\nThen this.\n\n'
        '+++ {"slideshow": {"slide_type": "notes"}}\n\nOnly said.\n\n'
        '+++ {"slideshow": {"slide_type": "skip"}}\n\n- never\n- seen\n\n'
    )
    only = '+++ {"tags": ["slides-only"], "slideshow": {"slide_type": "slide"}}\n\n## Only here\n\nA word.\n\n'
    source.write_text(f"{head}{told}{only}+++\n\n## After\n\n$$x$$\n")
    with_slides, without = (assemble(source, "budget", slides=slides) for slides in (True, False))
    assert len(with_slides.cells) == len(without.cells) + 1 and "Only here" not in nbformat.writes(without)
    ids = [cell.id for cell in with_slides.cells if "slides-only" not in cell.metadata.get("tags", [])]
    assert ids == [cell.id for cell in without.cells]
    found = outline(with_slides, {})
    assert [slide.title for slide in found] == ["Lecture", "Told", "Only here", "After"]
    assert "Why?" in found[0].body
    assert "Shown." in found[1].body and "fragment'><p>Then this." in found[1].body and found[1].notes == ["Only said."]
    assert not any("never" in slide.body + "".join(slide.notes) for slide in found)


@pytest.mark.parametrize("topic", available())
def test_every_lecture_has_slides(topic):
    slides = slides_of(topic)
    kinds = [slide.kind for slide in slides]
    assert 15 <= len(slides) <= 30, f"{len(slides)} slides"
    assert kinds[0] == "title" and "?" in slides[0].body, "the question comes first"
    assert {"figure", "equation", "listing", "table", "bullets", "widget", "question"} <= set(kinds)
    assert kinds.count("listing") == 1 and kinds.count("question") == 2
    assert all(slide.title and slide.body for slide in slides)
    assert sum(len(" ".join(slide.notes)) for slide in slides) > 3000, "what is derived stands in the notes"
    assert not any(re.search(r"[\0-\x08]", slide.body + "".join(slide.notes)) for slide in slides)


@pytest.fixture(scope="module")
def browser():
    if browser_program() is None:
        pytest.skip("there is no Chromium here to look at the slides with")
    with headless_browser() as found:
        yield found


@pytest.mark.slow
@pytest.mark.parametrize("topic", available())
def test_slides_fit_and_can_be_read_and_ask_for_nothing(topic, browser, tmp_path):
    pytest.importorskip("playwright")
    slides = slides_of(topic)
    (tmp_path / "slides.html").write_text(page(slides, topic), encoding="utf-8")
    shown, wrong = browser.new_page(viewport={"width": 1280, "height": 720}), []
    shown.on("pageerror", lambda error: wrong.append(str(error)))
    shown.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    shown.on("request", lambda asked: wrong.append(asked.url) if not asked.url.startswith(("file:", "data:")) else None)
    shown.goto((tmp_path / "slides.html").as_uri())
    shown.evaluate("() => MathJax.startup.promise")
    assert shown.evaluate("() => Reveal.getTotalSlides()") == len(slides)
    assert shown.evaluate(LOOK.replace("LEAST", str(LEAST_PIXELS))) == [] and wrong == []
    shown.close()


@pytest.mark.slow
def test_a_pdf_has_a_page_for_each_slide(browser, tmp_path):
    path = make_slides("lottery", tmp_path / "slides.pdf", pdf=True)
    assert len(re.findall(rb"/Type\s*/Page\b", path.read_bytes())) == len(slides_of("lottery"))


def test_the_command_writes_a_file_here(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="0"):
        cli.main(["slides", "00", "--out", "talk.html"])
    assert "talk.html" in capsys.readouterr().out and "reveal" in (tmp_path / "talk.html").read_text(encoding="utf-8")


def test_what_cannot_be_made_is_said(tmp_path, monkeypatch, capsys):
    assert cli.main(["slides", "99"]) == 1 and "99" in capsys.readouterr().err
    assert cli.main(["slides", "00", "--out", str(tmp_path / "none" / "talk.html")]) == 1
    assert "There is no folder" in capsys.readouterr().err
    monkeypatch.setattr("course_utils.slides.lecture_source", lambda topic: tmp_path / "lecture.md")
    assert cli.main(["slides", "00"]) == 1 and "is not built" in capsys.readouterr().err
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr("course_utils.slides.lecture_source", lecture_source)
    assert cli.main(["slides", "00", "--pdf", "--out", str(tmp_path / "talk.pdf")]) == 1
    assert "printed by Chromium or Chrome" in capsys.readouterr().err


@pytest.mark.parametrize(
    "fault", [subprocess.TimeoutExpired("chromium", 1), subprocess.CompletedProcess([], 1, b"", b"?")]
)
def test_a_pdf_that_cannot_be_printed_leaves_the_old_one(fault, tmp_path, monkeypatch, capsys):
    def run(*_, **__):
        if isinstance(fault, Exception):
            raise fault
        return fault

    monkeypatch.setattr("course_utils.slides.browser_program", lambda: "chromium")
    monkeypatch.setattr("course_utils.slides.subprocess.run", run)
    (tmp_path / "talk.pdf").write_text("old")
    assert cli.main(["slides", "00", "--pdf", "--out", str(tmp_path / "talk.pdf")]) == 1
    assert "print the slides" in capsys.readouterr().err and (tmp_path / "talk.pdf").read_text() == "old"
