"""Shows the definition of a glossary term where the term is used: on hover, on focus, and on the first touch.

Every page carries the definitions of the terms that it links, so nothing is fetched. Without a script the link leads to
the glossary all the same.
"""

from __future__ import annotations

import json
import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

LINK = re.compile(r'href="[^"]*#(term-[^"]+)"')


def definitions(app: Sphinx) -> dict[str, str]:
    """Definition of every term as HTML, by the anchor of the term; links in it become words."""
    anchors_of: dict[str, str] | None = getattr(app, "audioattn_terms", None)
    if anchors_of is None:
        anchors_of = {}
        terms = app.env.get_domain("std").get_objects()
        for docname in sorted({entry[3] for entry in terms if entry[2] == "term"}):
            doctree = app.env.get_and_resolve_doctree(docname, app.builder)
            for item in doctree.findall(nodes.definition_list_item):
                anchors = [anchor for term in item.findall(nodes.term) for anchor in term["ids"]]
                text = _rendered(app, next(iter(item.findall(nodes.definition))))
                anchors_of |= {anchor: text for anchor in anchors if anchor.startswith("term-")}
        app.audioattn_terms = anchors_of  # type: ignore[attr-defined]
    return anchors_of


def _rendered(app: Sphinx, definition: nodes.Node) -> str:
    copy = definition.deepcopy()
    for link in list(copy.findall(nodes.reference)):
        link.replace_self(link.children)
    html = "".join(str(app.builder.render_partial(child)["fragment"]) for child in copy.children)  # type: ignore[attr-defined]
    return " ".join(html.split())


def add_definitions(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Put the definitions of the terms that a page links at its end."""
    used = set(LINK.findall(context.get("body", "")))
    if not used:
        return
    terms = definitions(app)
    shown = {anchor: terms[anchor] for anchor in sorted(used) if anchor in terms}
    if any('class="math' in text for text in shown.values()):
        app.env.get_domain("math").data["has_equations"][page] = True  # the page loads what draws formulas
    content = json.dumps(shown, ensure_ascii=False).replace("</", r"<\/")
    context["body"] += f'<script type="application/json" id="aa-terms">{content}</script>'


def setup(app: Sphinx) -> dict[str, Any]:
    """Entry point of the extension."""
    app.add_js_file("glossary_terms.js", loading_method="defer")
    app.connect("html-page-context", add_definitions, priority=400)  # before formulas are
    return {"parallel_read_safe": True, "parallel_write_safe": True}
