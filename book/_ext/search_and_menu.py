"""Search that works from a disk and puts chapters first, a menu whose buttons have names, and keys for what scrolls.

Sphinx fetches every page that it found to quote from it, which a browser refuses on ``file://``. The text of all pages
therefore lies in one script, which the search page alone loads.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

ASSETS = Path(__file__).resolve().parents[1] / "_assets"
TEXTS = "search_texts.js"
LONGEST = 60_000
"""Characters of a page that are kept; an excerpt is found in them."""
_MENU_BUTTON = re.compile(
    r'(?P<link><a class="[^"]*reference internal"[^>]*>(?P<name>.*?)</a>)(?P<open><details[^>]*>)<summary>'
)


def keep_text(app: Sphinx, doctree: nodes.document) -> None:
    """Keep what a page says."""
    texts = app.env.__dict__.setdefault("audioattn_texts", {})
    words = [*_words(doctree, code=False), *_words(doctree, code=True)]  # prose is quoted rather than code
    texts[app.env.docname] = " ".join(words)[:LONGEST]


def merge_texts(app: Sphinx, env: Any, pages: set[str], other: Any) -> None:
    """Take the texts of the pages that another process read."""
    texts = env.__dict__.setdefault("audioattn_texts", {})
    read = getattr(other, "audioattn_texts", {})
    texts.update((name, read[name]) for name in pages if name in read)


def _words(node: nodes.Node, *, code: bool, inside: bool = False) -> Iterator[str]:
    """The words of a page outside of its code, or inside."""
    if isinstance(node, nodes.Text):
        if inside == code:
            yield " ".join(node.astext().split())
    elif not isinstance(node, (nodes.raw, nodes.comment, nodes.image)):
        for child in node.children:
            yield from _words(child, code=code, inside=inside or isinstance(node, nodes.literal_block))


def write_texts(app: Sphinx, error: Exception | None) -> None:
    """Write the script with the text of all pages."""
    if error is None and app.builder.format == "html":
        kept = getattr(app.env, "audioattn_texts", {})
        texts = {name: kept[name] for name in sorted(kept) if name in app.env.all_docs}
        script = f"window.audioattnTexts = {json.dumps(texts, ensure_ascii=False)};\n"
        (Path(app.outdir) / "_static" / TEXTS).write_text(script, encoding="utf-8")


def add_scripts(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Load the texts on the search page, and name the buttons that open a part of the menu."""
    if page == "search":
        app.add_js_file(TEXTS)
        app.add_js_file("search_excerpts.js")
    made = context.get("generate_toctree_html")
    if made is not None:

        def named(**options: Any) -> Any:
            menu = made(**options)  # which the theme keeps for the same arguments in the same order
            # a sidebar is HTML; "raw" is a tree, which the template writes as it is
            return menu if options.get("kind") == "raw" else name_buttons(str(menu))

        context["generate_toctree_html"] = named


def name_buttons(menu: str) -> str:
    """Give the button behind the link to a page the name of that page."""

    def name(match: re.Match[str]) -> str:
        text = re.sub(r"<[^>]*>", "", match["name"]).strip().replace('"', "&quot;")
        return f'{match["link"]}{match["open"]}<summary aria-label="Pages below {text}">'

    return _MENU_BUTTON.sub(name, menu)


def configure(app: Sphinx, config: Any) -> None:
    """Rank results by the script beside the style sheet, and leave figures without numbers.

    To give them some, Sphinx reads every page again. An extension for LaTeX, which Jupyter Book loads, asks for it
    whatever ``_config.yml`` says.
    """
    config.html_search_scorer = str(ASSETS / "search_scorer.js")
    config.numfig = False


def setup(app: Sphinx) -> dict[str, Any]:
    """Entry point of the extension."""
    app.add_js_file("scrolling.js", loading_method="defer")
    app.connect("config-inited", configure, priority=900)
    app.connect("doctree-read", keep_text)
    app.connect("env-merge-info", merge_texts)
    app.connect("html-page-context", add_scripts, priority=900)
    app.connect("build-finished", write_texts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
