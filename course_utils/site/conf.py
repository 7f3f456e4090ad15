"""Sphinx's settings."""

import json
import re
from pathlib import Path

from docutils import nodes

import course_utils
from course_utils.site.build import ALT_TEXTS, DOWNLOADS

project = "Deep Learning on a Budget"
author = "the course's contributors"
copyright = "the course's contributors: code MIT, prose and figures CC BY 4.0"
version = release = course_utils.__version__
html_title = project
html_show_sphinx = False
html_use_index = html_domain_indices = False  # the search finds all of it
html_copy_source = False

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.mathjax"]
exclude_patterns = [DOWNLOADS]

# Of the themes made for long pages Furo alone shows the 92 characters of a listing on a screen of 1280 pixels, where
# sphinx-book-theme cuts at 80 and pydata-sphinx-theme at 75, and scrolls no page sideways at 360, where theirs are
# up to 748 and 408 pixels wide. It needs two repairs for screen readers, which are below and in course.js.
html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["course.css"]
html_js_files = ["course.js"]
html_favicon = "static/favicon.svg"

nb_execution_mode = "off"
nb_render_markdown_format = "myst"
nb_ipywidgets_js = {}  # the committed notebooks have no widgets' state
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 4
mathjax_path = "mathjax/tex-chtml.js"

autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
autodoc_typehints_format = "short"
autodoc_use_type_comments = False  # there are none, and to look for them takes a tenth of the time
python_use_unqualified_type_names = True
add_module_names = False
toc_object_entries = False


def as_rst(app, what, name, obj, options, lines):
    """Our docstrings know `code`, *titles* and indented lines; other signs would mean something to reStructuredText."""
    escaped = []
    for part in re.split(r"(`[^`]+`|(?<!\w)\*\w[^*]*\*(?!\w))", "\n".join(lines)):
        if part.startswith("`") and len(part) > 1:
            escaped.append(f"`{part}`\\ ")  # the end of the name, also where a plural's s follows
        elif part.startswith("*") and len(part) > 1:
            escaped.append(part)
        else:
            escaped.append(re.sub(r"([\\*|`]|(?<=\w)_(?!\w))", r"\\\1", part))
    indented = re.compile(r"(?:^ .*\n?)+", re.MULTILINE)
    text = indented.sub(
        lambda block: "\n" + re.sub("^", "| ", block[0].rstrip("\n"), flags=re.M) + "\n\n", "".join(escaped)
    )
    lines[:] = text.split("\n")


def describe_pictures(app, doctree):
    """Sphinx-side of the notebooks' alternative texts: myst-nb calls a picture by its hash, and drops the text."""
    texts = json.loads((Path(app.srcdir) / ALT_TEXTS).read_text(encoding="utf-8"))
    for picture in doctree.findall(nodes.image):
        if (text := texts.get(Path(picture["uri"]).stem)) is not None:
            picture["alt"] = text


def level_captions(app, page, template, context, doctree):
    """Furo's captions of the lists of pages are headings without a level."""
    context["furo_navigation_tree"] = context["furo_navigation_tree"].replace(
        'role="heading"', 'role="heading" aria-level="2"'
    )


def setup(app):
    app.connect("html-page-context", level_captions, priority=900)  # after Furo
    app.config.html_static_path.append(str(app.srcdir / "static"))  # what `lay_out` took from packages
    app.connect("autodoc-process-docstring", as_rst)
    app.connect("doctree-read", describe_pictures)
