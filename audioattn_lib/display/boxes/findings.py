"""The findings of a page in a box: a few sentences from the runs, and what they do not show."""

from __future__ import annotations

import html
from collections.abc import Sequence

from ..block import Block, bold

__all__ = ["Findings", "findings"]


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
        Sentences on what the runs leave open, in grey below.
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
    items = [f"<li>{bold(sentence)}</li>" for sentence in shown]
    items += [f'<li class="aa-open">{bold(sentence)}</li>' for sentence in not_shown]
    markup = (
        f'<section class="audioattn aa-findings mathjax_ignore" aria-label="{html.escape(title, quote=True)}">'
        f"<p>{html.escape(title)}</p><ul>{''.join(items)}</ul></section>"
    )
    text = "\n".join([title, *(f"- {sentence.replace('**', '')}" for sentence in (*shown, *not_shown))])
    return Findings(markup, text)
