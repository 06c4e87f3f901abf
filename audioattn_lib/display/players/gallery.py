"""A gallery of clips, of which the reader chooses one: sound, picture and attention are loaded when they are wanted."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..assets import script_tag, style_tag
from ..block import Block
from ..deferred import script_address
from .player import Player

__all__ = ["Exhibit", "Gallery", "gallery"]


@dataclass(frozen=True)
class Exhibit:
    """A clip of a gallery.

    Parameters
    ----------
    clip
        Its name, which addresses of the page hold.
    rule
        Rule by which it was chosen.
    title
        What it is, such as its label.
    answers
        What the models say of it, in a few words.
    player
        Its player.

    Notes
    -----
    Book page: ``urban_sound``.
    """

    clip: str
    rule: str
    title: str
    answers: str
    player: Player


class Gallery(Block):
    """Clips to choose from, and one or two players of the chosen one."""

    STYLE: ClassVar[str] = "gallery"

    def html(self) -> str:
        """Return HTML whose clips are loaded when they are wanted."""
        styles = "".join(style_tag(name) for name in ("figure", "player", self.STYLE))
        return f"{styles}{self.markup}{script_tag('player')}{script_tag(self.STYLE)}"


def gallery(exhibits: Sequence[Exhibit], *, label: str = "Clips", start: int = 0) -> Gallery:
    """Show clips of which the reader chooses one; two mechanisms can stand side by side.

    Parameters
    ----------
    exhibits
        At least one.
    label
        What the clips are, for those who do not see them.
    start
        The clip that is shown first, from 0.

    Notes
    -----
    The address ``#clip=...&mechanism=...`` of a page opens it at a clip. Book page: ``urban_sound``.
    """
    if not 0 <= start < len(exhibits):
        raise ValueError(f"start is {start} for {len(exhibits)} exhibits; give at least one, and a number of theirs")
    clips = [
        {
            "clip": exhibit.clip,
            "rule": exhibit.rule,
            "title": exhibit.title,
            "answers": exhibit.answers,
            "file": script_address(exhibit.player.markup),
        }
        for exhibit in exhibits
    ]
    settings = html.escape(json.dumps({"clips": clips, "start": start}), quote=True)
    listed = "".join(
        f"<li>{html.escape(exhibit.rule)}: {html.escape(exhibit.title)}. {html.escape(exhibit.answers)}</li>"
        for exhibit in exhibits
    )
    markup = (
        f'<section class="audioattn aa-gallery aa-gallery-waiting mathjax_ignore" '
        f'aria-label="{html.escape(label, quote=True)}" data-gallery="{settings}">'
        '<p class="aa-note">Each clip was chosen by the rule above its name, among the test clips.</p>'
        f'<div class="aa-gallery-without"><p>Sounds need JavaScript, which is off.</p><ul>{listed}</ul></div>'
        "</section>"
    )
    text = "\n".join([label, *(f"- {exhibit.rule}: {exhibit.title}. {exhibit.answers}" for exhibit in exhibits)])
    return Gallery(markup, text)
