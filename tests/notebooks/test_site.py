"""`make site`: every page in a browser without a network, on a phone's screen, and by what axe-core knows."""

import contextlib
import functools
import html.parser
import http.server
import importlib.metadata
import os
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

from course_utils.slides import browser_program
from course_utils.units import ROOT, available, lab_path, lecture_source, unit_name
from tests.notebooks.browser import headless_browser

pytest.importorskip("sphinx", reason="to test the site: pip install -c constraints.txt -e '.[test]'")
pytest.importorskip("axe_playwright_python", reason="to test the site: pip install -c constraints.txt -e '.[test]'")

from course_utils.site import build, conf

PHONE = {"width": 360, "height": 740}
NOTEBOOKS = [
    path
    for topic in available()
    for path in (lecture_source(topic).with_suffix(".ipynb"), lab_path(topic))
    if path.exists()
]
AXE = Path(importlib.metadata.distribution("axe-playwright-python").locate_file("axe_playwright_python/axe.min.js"))

# What a reader would see amiss, in words
LOOK = r"""async () => {
  await (window.MathJax?.startup?.promise ?? Promise.resolve());
  const found = [];
  const wide = document.documentElement.scrollWidth;
  if (wide > innerWidth) found.push(`scrolls sideways: ${wide} pixels`);
  for (const picture of document.images)
    if (!picture.alt.trim()) found.push(`no alternative text: ${picture.src}`);
  for (const formula of document.querySelectorAll('.math'))
    if (!formula.querySelector('mjx-container')) found.push(`not rendered: ${formula.textContent}`);
  for (const formula of document.querySelectorAll('mjx-merror, [data-mjx-error]'))
    found.push(`not TeX: ${formula.textContent}`);
  const words = document.querySelector('article, body').cloneNode(true);
  words.querySelectorAll('pre, code, script, style, mjx-container, .sig').forEach(each => each.remove());
  for (const line of words.textContent.split('\n'))
    if (/\$[^$]+\$|\\[(\[]/.test(line)) found.push(`raw mathematics: ${line.trim()}`);
  return found;
}"""
# MathJax and Pygments make nine of ten elements, and axe-core looks at each of them for long; longest at its contrast,
# which is the style sheet's: one page of each kind tells
SHORTEN = """() => {
  document.querySelectorAll('mjx-container').forEach(each => each.replaceWith('x'));
  document.querySelectorAll('pre').forEach(each => { each.textContent = each.textContent; });
}"""
EXAMINE = """async (whole) => {
  const rules = whole ? {} : {'color-contrast': {enabled: false}, 'region': {enabled: false}};
  const {violations} = await axe.run(document, {resultTypes: ['violations'], rules});
  return violations.filter(each => each.impact != 'minor')
    .map(each => `axe-core: ${each.id} (${each.impact}): ${each.nodes[0].html}`);
}"""


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a server of a folder."""

    class Silent(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Silent, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("site")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}
    built = subprocess.run(
        [sys.executable, "-m", "course_utils.site", str(out)], env=environment, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return out / "site"


@pytest.fixture(scope="module")
def browser() -> Iterator:
    if browser_program() is None and not os.environ.get("CI"):
        pytest.skip("there is no Chromium or Chrome on this machine: install one to test the site")
    with headless_browser() as chromium:
        yield chromium


def examined(browser, folder: Path, names: Iterable[str], *, whole: bool = False, **options) -> dict[str, list[str]]:
    """What is amiss, for each of a folder's pages that has something. whole: axe-core looks at all of a page."""
    found: dict[str, list[str]] = {}
    with served(folder) as address:
        for name in names:
            context = browser.new_context(viewport=PHONE, **options)
            page = context.new_page()
            amiss: list[str] = []
            page.on("console", lambda said, amiss=amiss: said.type == "error" and amiss.append(f"console: {said.text}"))
            page.on("pageerror", lambda error, amiss=amiss: amiss.append(f"error: {error}"))
            page.on("request", lambda asked, amiss=amiss: foreign(asked.url, address) and amiss.append(asked.url))
            page.on("response", lambda got, amiss=amiss: got.status >= 400 and amiss.append(f"{got.status}: {got.url}"))
            page.goto(f"{address}/{name}", wait_until="load")
            amiss += page.evaluate(LOOK)
            if not whole:
                page.evaluate(SHORTEN)
            page.add_script_tag(path=AXE)
            amiss += page.evaluate(EXAMINE, whole)
            if amiss:
                found[name] = amiss
            context.close()
    return found


def foreign(url: str, address: str) -> bool:
    return not url.startswith((f"{address}/", "data:", "blob:"))


def pages(site: Path) -> list[str]:
    return sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html"))


@pytest.mark.slow
def test_every_page_is_well_on_a_phone_without_a_network(site, browser, depth):
    """Of units, every fifth; under `make prove` all."""
    others = [unit_name(topic) for place, topic in enumerate(available()) if place % 5]
    quick = [page for page in pages(site) if Path(page).stem not in others]
    assert examined(browser, site, depth(quick, pages(site))) == {}


BAD = """<!doctype html><html lang="en"><head><title>A</title></head><body><article>
<img src="data:image/gif;base64,R0lGODlhAQABAAAAACw="><p style="width: 500px">wide</p>
<p>costs $x$</p>
<span class="math">x^2</span><script>console.error("oh"); undefined_function()</script>
<script src="http://127.0.0.1:9/elsewhere.js"></script><script src="gone.js"></script>
<a href="#nowhere">a</a><a href="gone.html">b</a><a href="#there" id="there">c</a><p style="color: #ddd">pale</p>
</article></body></html>"""


@pytest.mark.slow
def test_what_is_amiss_is_found(browser, tmp_path):
    (tmp_path / "bad.html").write_text(BAD)
    said = "\n".join(examined(browser, tmp_path, ["bad.html"], whole=True)["bad.html"])
    for words in (
        "scrolls sideways: 5",
        "no alternative text",
        "raw mathematics: costs $x$",
        "not rendered: x^2",
        "console: oh",
        "undefined_function is not defined",
        "elsewhere.js",
        "404: ",
        "axe-core: color-contrast (serious)",
        "axe-core: image-alt (critical)",
    ):
        assert words in said
    assert dead_links(tmp_path) == ["bad.html: gone.js", "bad.html: #nowhere", "bad.html: gone.html"]


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colors_are_well_apart(scheme, site, browser, depth):
    """All that axe-core knows, on one page of each kind; under `make prove` on every page."""
    kinds = ["index.html", "search.html", "labs/00_budget/00_budget.html", "api/experiments.html"]
    assert examined(browser, site, depth(kinds, pages(site)), whole=True, color_scheme=scheme) == {}


class Links(html.parser.HTMLParser):
    """The links of a page and the places in it that a link may lead to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.places: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        known = dict(attributes)
        self.places |= {known[name] for name in ("id", "name") if known.get(name)}
        self.links += [known[name] for name in ("href", "src") if known.get(name) and tag != "use"]


def dead_links(folder: Path) -> list[str]:
    """Links that lead to no file of the folder, or to no place in its page."""
    pages = {path: Links(path) for path in sorted(folder.rglob("*.html"))}
    dead = []
    for path, page in pages.items():
        for link in page.links:
            target, place = map(unquote, urldefrag(link.partition("?")[0]))
            if target.startswith(("http:", "https:", "mailto:", "data:")):
                continue
            there = (path.parent / target).resolve() if target else path
            if not there.is_file() or (place and there in pages and place not in pages[there].places):
                dead.append(f"{path.relative_to(folder)}: {link}")
    return dead


def test_no_link_is_dead(site):
    assert dead_links(site) == []


def test_every_unit_is_there_with_its_notebooks_as_they_are(site):
    for path in NOTEBOOKS:
        page = site / path.relative_to(ROOT).with_suffix(".html")
        links = Links(page).links
        (download,) = [link for link in links if link.endswith(path.name)]
        assert (page.parent / download).read_bytes() == path.read_bytes()
        assert {Path(link).name for link in links} >= {path.with_suffix(".html").name, "index.html"}
    order = [Links(site / path.relative_to(ROOT).with_suffix(".html")) for path in NOTEBOOKS]
    for page, following in zip(order, NOTEBOOKS[1:], strict=False):
        assert sum(Path(link).name == following.with_suffix(".html").name for link in page.links) >= 1
    assert {path.stem for path in (site / "api").glob("*.html")} == {"index", *build.reference_pages()}
    for name in ("index.html", "labs/START.html", "CONTRIBUTING.html"):
        assert (site / name).exists()


def test_the_reference_shows_contracts_and_no_code(site):
    for topic in available():
        text = (site / "api" / f"{unit_name(topic)}.html").read_text(encoding="utf-8")
        assert f'id="course_utils.{topic}.' in text and "highlight-" not in text
    assert not (site / "_modules").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "page"), [("Optimal Brain Damage", "02_saliency.html"), ("huffman_code", "api/03_deep_compression.html")]
)
def test_the_search_finds(words, page, site, browser):
    with served(site) as address:
        context = browser.new_context(viewport=PHONE)
        shown = context.new_page()
        shown.goto(f"{address}/search.html?q={words.replace(' ', '+')}")
        shown.wait_for_selector("#search-results ul.search li a")
        shown.wait_for_selector("#search-results p.search-summary")
        links = shown.eval_on_selector_all("#search-results ul.search li a", "all => all.map(each => each.href)")
        context.close()
    assert any(page in link for link in links), links


@pytest.mark.slow
def test_a_widget_moves_and_its_still_picture_makes_way(site, browser):
    moving = [path for path in site.glob("lectures/*.html") if 'id="frames-' in path.read_text(encoding="utf-8")]
    assert moving
    with served(site) as address:
        context = browser.new_context(viewport=PHONE)
        shown = context.new_page()
        shown.goto(f"{address}/lectures/{max(moving).name}")
        cell = shown.locator(".cell_output", has=shown.locator('[id^="frames-"]')).first
        assert cell.locator("img:visible").count() == 1
        before = cell.locator("img:visible").get_attribute("src")
        cell.locator("input[type=range]").press("ArrowRight")
        assert cell.locator("img:visible").get_attribute("src") != before
        context.close()


def test_a_page_that_links_nowhere_stops_the_build(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "available", list)
    monkeypatch.setattr(build, "GROUPS", {})
    monkeypatch.setattr(build, "PAGES", {"README.md": "Read"})
    monkeypatch.setattr(build, "ROOT", tmp_path)
    (tmp_path / "lectures" / "images").mkdir(parents=True)
    (tmp_path / "LICENSE").write_text("free")
    (tmp_path / "pyproject.toml").write_text('[tool.course]\nrepository = ""\n')
    (tmp_path / "README.md").write_text("# Title\n\n[there](LICENSE)\n")
    assert build.build_site(tmp_path / "out") == 0
    assert "Title" in (tmp_path / "out" / "site" / "index.html").read_text()
    (tmp_path / "README.md").write_text("# Title\n\n[nowhere](nowhere.md)\n")
    assert build.build_site(tmp_path / "out") != 0


@pytest.mark.parametrize(
    ("line", "rst"),
    [
        (
            "Returns `codes` and *Deep Compression*, a|b * c_",
            r"Returns ``codes``\  and *Deep Compression*, a\|b \* c\_",
        ),
        ("`Layer`s of a\\b", r"``Layer``\ s of a\\b"),
        ("2^index_bits, **kwargs", r"2^index_bits, \*\*kwargs"),
    ],
)
def test_docstrings_mean_what_they_say(line, rst):
    lines = [line]
    conf.as_rst(None, "function", "f", None, None, lines)
    assert lines == [rst]


def test_indented_lines_of_a_docstring_stay_lines():
    lines = ["Returns a dict of", "  'bits', an int", "  'bytes'", "and no more."]
    conf.as_rst(None, "function", "f", None, None, lines)
    assert lines == ["Returns a dict of", "", "|   'bits', an int", "|   'bytes'", "", "and no more."]
