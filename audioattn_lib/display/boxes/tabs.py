"""Several players or pictures of which the reader chooses one; no script, no kernel."""

from __future__ import annotations

import hashlib
import html
from collections.abc import Mapping
from typing import Protocol

from ..block import Block

__all__ = ["Tabs", "tabs"]


class _Shown(Protocol):
    def html(self) -> str: ...


class Tabs(Block):
    """Tabs, and what they hold."""

    STYLE = "tabs"


def tabs(shown: Mapping[str, _Shown], *, label: str) -> Tabs:
    """Put players or pictures behind tabs; the first is shown.

    Parameters
    ----------
    shown
        What to show, by the title of its tab; at least one.
    label
        What the tabs choose, for those who do not see them.

    Notes
    -----
    Book page: ``sleepiness``.
    """
    if not shown:
        raise ValueError("shown is empty; give at least one player or picture by its title")
    bodies = [each.html() for each in shown.values()]
    name = "aa-tabs-" + hashlib.sha256("".join((label, *shown, *bodies)).encode()).hexdigest()[:10]
    rule = ",".join(
        f"#{name}>input:nth-of-type({i})" + f":checked~.aa-panel:nth-of-type({i})" for i in range(1, len(shown) + 1)
    )
    heads = "".join(
        f'<input type="radio" name="{name}" id="{name}-{i}"{" checked" * (i == 0)}>'
        f'<label for="{name}-{i}">{html.escape(title)}</label>'
        for i, title in enumerate(shown)
    )
    panels = "".join(f'<div class="aa-panel">{body}</div>' for body in bodies)
    markup = (
        f'<div class="audioattn aa-tabs mathjax_ignore" id="{name}" role="group" '
        f'aria-label="{html.escape(label, quote=True)}"><style>{rule}{{display:block}}</style>{heads}{panels}</div>'
    )
    return Tabs(markup, "\n".join([label, *(f"- {title}: {each!r}" for title, each in shown.items())]))
