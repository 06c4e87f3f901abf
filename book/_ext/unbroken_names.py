"""Short names in code stay on one line: an option is not parted behind its dashes, a field not before its last letter.

Long ones may break anywhere, or they would be wider than a phone.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

SHORT = "aa-short"
"""Class of code whose words are not broken; the style sheet knows it."""
LONGEST = 22
"""Letters of a word that is not broken."""


class UnbrokenNames(SphinxTransform):
    """Marks code in text that has no long word."""

    default_priority = 900

    def apply(self, **_: Any) -> None:
        for code in self.document.findall(nodes.literal):
            if all(len(word) <= LONGEST for word in code.astext().split()):
                code["classes"].append(SHORT)


def setup(app: Sphinx) -> dict[str, Any]:
    """Entry point of the extension."""
    app.add_transform(UnbrokenNames)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
