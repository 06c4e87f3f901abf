"""A part of a page as HTML that shows itself in a notebook: the base of boxes, tables and tabs."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from typing import ClassVar

from .assets import style_tag

__all__ = ["Block", "bold"]


@dataclass(frozen=True, repr=False)
class Block:
    """A part of a page; in a notebook it shows itself.

    Parameters
    ----------
    markup
        HTML without style sheets.
    text
        The same as plain text.
    """

    STYLE: ClassVar[str]
    """Name of the style sheet beside that of figures."""

    markup: str
    text: str

    def html(self) -> str:
        """Return self-contained HTML."""
        return f"{style_tag('figure')}{style_tag(self.STYLE)}{self.markup}"

    def _repr_html_(self) -> str:
        return self.html()

    def __repr__(self) -> str:
        return self.text


def bold(sentence: str) -> str:
    """A sentence as HTML, with ``**words**`` in bold."""
    return re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", html.escape(sentence))
