"""Names in code break where a reader expects it, and a formula keeps the sign behind it.

Short names stay on one line: an option is not parted behind its dashes, a field not before its last letter. Long ones
would be wider than a phone: they break behind a dot, a line or a slash, and elsewhere only where that is not enough.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

SHORT = "aa-short"
"""Class of code whose words are not broken; the style sheet knows it."""
WHOLE = "aa-whole"
"""Class of a formula with the sign behind it; the style sheet knows it."""
LONGEST = 22
"""Letters of a word that is not broken."""

_LONG = re.compile(rf'(?<=<span class="pre">)[^<\s]{{{LONGEST + 1},}}(?=</span>)')
_JOINT = re.compile(r"(?<=[^\W_])((?:&amp;|[._/=?,])+)(?=\w)")
_FORMULA = re.compile(r'(<span class="math notranslate nohighlight">[^<]*</span>)([,.;:!?)\]]+)')


class UnbrokenNames(SphinxTransform):
    """Marks code in text that has no long word."""

    default_priority = 900

    def apply(self, **_: Any) -> None:
        for code in self.document.findall(nodes.literal):
            if all(len(word) <= LONGEST for word in code.astext().split()):
                code["classes"].append(SHORT)


def break_well(body: str) -> str:
    """Let long names of a page break at their joints, and hold formulas together with the sign behind them."""
    body = _LONG.sub(lambda name: _JOINT.sub(r"\1<wbr>", name[0]), body)
    return _FORMULA.sub(rf'<span class="{WHOLE}">\1\2</span>', body)


def change_page(app: Sphinx, page: str, template: str, context: dict[str, Any], document: Any) -> None:
    """Change the text of a page before it is written."""
    if "body" in context:
        context["body"] = break_well(context["body"])


def setup(app: Sphinx) -> dict[str, Any]:
    """Entry point of the extension."""
    app.add_transform(UnbrokenNames)
    app.connect("html-page-context", change_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
