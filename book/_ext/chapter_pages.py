"""Pages of chapters: their findings come first, and the first page has a card for each.

A notebook has to make its runs before it can say what was found. A reader wants the finding first, so the page shows
the box right below title and question. ``{chapter-cards}`` around a list of chapters turns each line into a card with a
picture and the first finding, both read from the executed notebook: nothing on a card was typed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bs4 import BeautifulSoup
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = ROOT / "book" / "chapters"
FINDINGS = "aa-findings"


class FindingsFirst(SphinxTransform):
    """Moves the box with the findings of a page, and cells tagged ``top``, to its top.

    They stand behind the title and the question in italics.
    """

    default_priority = 2

    def apply(self, **_: Any) -> None:
        top = next(iter(self.document.findall(nodes.section)), None)
        if top is None:
            return
        cells = [node for node in self.document.findall(nodes.container) if "cell" in node["classes"]]
        first = [cell for cell in cells if "tag_top" in cell["classes"] or _has_findings(cell)]
        for cell in first:
            cell.parent.remove(cell)
        place = next(number for number, child in enumerate(top.children) if isinstance(child, nodes.title)) + 1
        if place < len(top.children) and _is_question(top.children[place]):
            place += 1
        top.insert(place, first)


def _has_findings(cell: nodes.Node) -> bool:
    return any(FINDINGS in raw.astext() for raw in cell.findall(nodes.raw))


def _is_question(node: nodes.Node) -> bool:
    """Return True for a paragraph that is all in italics."""
    return isinstance(node, nodes.paragraph) and all(isinstance(child, nodes.emphasis) for child in node.children)


class ChapterCards(SphinxDirective):
    """A card for each item of the list inside; the first link of an item is its chapter."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        inside = nodes.container(classes=["aa-cards"])
        self.state.nested_parse(self.content, self.content_offset, inside)
        for item in list(inside.findall(nodes.list_item)):
            name = _chapter(item)
            path = CHAPTERS / f"{name}.ipynb"
            self.env.note_dependency(str(path))
            picture, finding = read_card(path) if path.is_file() else ("", "")
            if picture:
                item.insert(0, nodes.raw("", picture, format="html"))
            if finding:
                item += nodes.raw("", f'<p class="aa-finding mathjax_ignore">{finding}</p>', format="html")
        return [inside]


def _chapter(item: nodes.list_item) -> str:
    for link in item.findall(lambda node: isinstance(node, (addnodes.pending_xref, nodes.reference))):
        return Path(str(link.get("reftarget") or link.get("refuri") or "")).stem
    return ""


def read_card(notebook: Path) -> tuple[str, str]:
    """Picture and first finding of an executed notebook as HTML; empty where it has none."""
    picture = finding = ""
    for markup in _outputs(notebook):
        if not finding and FINDINGS in markup:
            first = BeautifulSoup(markup, "html.parser").select_one(f".{FINDINGS} li")
            finding = first.decode_contents() if first else ""
        if not picture and "aa-screen" in markup:
            picture = _picture(markup)
    return picture, finding


def _outputs(notebook: Path) -> Iterator[str]:
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        for output in cell.get("outputs", ()):
            markup = output.get("data", {}).get("text/html", "")
            yield markup if isinstance(markup, str) else "".join(markup)


def _picture(markup: str) -> str:
    """The spectrogram and the attention that a player shows first, without anything to press."""
    from audioattn_lib.display.assets import style_tag

    screen = BeautifulSoup(markup, "html.parser").select_one(".aa-screen")
    if screen is None:
        return ""
    for hidden in screen.select("[hidden]"):
        hidden.decompose()
    for image in screen.select("img"):
        image["alt"] = "A sound of the chapter, and what its network attends to"
    styles = f"{style_tag('figure')}{style_tag('player')}"
    return f'{styles}<div class="audioattn aa-player aa-thumbnail mathjax_ignore">{screen}</div>'


def setup(app: Sphinx) -> dict[str, Any]:
    """Entry point of the extension."""
    app.add_transform(FindingsFirst)
    app.add_directive("chapter-cards", ChapterCards)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
