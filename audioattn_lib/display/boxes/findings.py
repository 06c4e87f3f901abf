"""The findings of a page in a box: a few sentences from the runs, and what they do not show."""

from __future__ import annotations

import html
from collections.abc import Sequence

from ..block import Block, bold

__all__ = ["Findings", "findings"]

OPEN = "Not shown, and limits"
"""Title of what the runs leave open."""


class Findings(Block):
    """A box of sentences."""

    STYLE = "findings"


def findings(shown: Sequence[str], not_shown: Sequence[str] = (), *, title: str = "What we found") -> Findings:
    """Put the findings of a page into a box.

    Parameters
    ----------
    shown
        Sentences; ``**words**`` are set in bold.
    not_shown
        Sentences on what the runs leave open, and on what they could not see: in grey below, with a title of their own.
    title
        Above the sentences.

    Raises
    ------
    ValueError
        When there is no sentence of either kind.

    Notes
    -----
    Book page: ``urban_sound``.
    """
    if not shown and not not_shown:
        raise ValueError("shown and not_shown are empty; give at least one sentence")
    both = ((title, "", shown), (OPEN, ' class="aa-open"', not_shown))
    parts = [(heading, kind, sentences) for heading, kind, sentences in both if sentences]
    lists = [
        f"<p{kind}>{html.escape(heading)}</p><ul{kind}>{''.join(f'<li>{bold(text)}</li>' for text in sentences)}</ul>"
        for heading, kind, sentences in parts
    ]
    markup = (
        f'<section class="audioattn aa-findings mathjax_ignore" aria-label="{html.escape(title, quote=True)}">'
        f"{''.join(lists)}</section>"
    )
    lines = [
        line
        for heading, _, sentences in parts
        for line in (heading, *(f"- {sentence.replace('**', '')}" for sentence in sentences))
    ]
    return Findings(markup, "\n".join(lines))
