"""A slider over pictures that were drawn beforehand: no kernel needed."""

from __future__ import annotations

import html
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..assets import script_tag, style_tag
from ..describe import value_name
from ..figure import Figure, themed_images
from ..page import save_page
from ..style import THEMES

__all__ = ["Scrubber", "scrubber"]


@dataclass(frozen=True, repr=False)
class Scrubber:
    """A slider over pictures as HTML; in a notebook it shows itself.

    Parameters
    ----------
    markup
        The scrubber without its style sheets and script.
    label
        Name of what the slider changes.
    """

    markup: str
    label: str

    def html(self) -> str:
        """Return the scrubber as self-contained HTML."""
        return f"{style_tag('figure')}{style_tag('scrubber')}{self.markup}{script_tag('scrubber')}"

    def save(self, path: str | Path) -> Path:
        """Write a page with only this scrubber, which opens from a disk without a network, and return its path."""
        return save_page(path, self.html(), self.label)

    def _repr_html_(self) -> str:
        return self.html()

    def __repr__(self) -> str:
        return f"Scrubber: {self.label}"


def scrubber(
    frames: Sequence[Figure | NDArray[np.uint8]],
    values: Sequence[object],
    *,
    label: str,
    start: int = 0,
    alt: str = "",
    caption: str = "",
) -> Scrubber:
    """A slider over pictures; without JavaScript they stand side by side as a film strip.

    Parameters
    ----------
    frames
        Figures of one size, or images of shape ``(height, width, 3 or 4)`` with values 0 to 255.
    values
        What the slider shows at each frame, such as numbers or names; as many as frames.
    label
        Name of what changes, with its unit.
    start
        Frame shown first, from 0.
    alt
        What the images show, in words; figures bring their own.
    caption
        Text below.

    Raises
    ------
    ValueError
        When there are no frames, the numbers of frames and values differ, or an image has no ``alt``.

    Notes
    -----
    Book page: ``urban_sound``.
    """
    if not frames or len(frames) != len(values):
        raise ValueError(f"{len(frames)} frames and {len(values)} values; give a value for each of at least one frame")
    if not 0 <= start < len(frames):
        raise ValueError(f"start is {start}; it must be from 0 to {len(frames) - 1}")
    names = [value_name(value) for value in values]
    cells = []
    for number, (frame, name) in enumerate(zip(frames, names, strict=True)):
        current = " aa-current" if number == start else ""
        cells.append(
            f'<div class="aa-frame{current}"><div class="aa-value">{html.escape(f"{label}: {name}")}</div>'
            f"{_images(frame, f'{label} {name}. {alt}' if alt else '')}</div>"
        )
    settings = html.escape(json.dumps({"label": label, "values": names, "start": start}), quote=True)
    below = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    markup = (
        f'<figure class="audioattn aa-scrubber aa-scrubber-waiting mathjax_ignore" data-lm-suppress-shortcuts="true" '
        f'data-scrubber="{settings}"><div class="aa-frames">{"".join(cells)}</div>'
        f'<div class="aa-scrub"></div>{below}</figure>'
    )
    return Scrubber(markup, label)


def _images(frame: Figure | NDArray[np.uint8], alt: str) -> str:
    if isinstance(frame, Figure):
        wide = " aa-wide" if frame.narrow else ""
        small = f'<div class="aa-narrow">{themed_images(frame.narrow, frame.alt)}</div>' if frame.narrow else ""
        return f'<div class="aa-scroll{wide}">{themed_images(frame.images, frame.alt)}</div>{small}'
    if not alt:
        raise ValueError("alt is empty; say in words what the images show")
    from PIL import Image

    buffer = io.BytesIO()
    image: Any = np.asarray(frame)
    Image.fromarray(image.astype(np.uint8)).save(buffer, "WEBP", quality=80, method=6)
    return themed_images({theme.name: buffer.getvalue() for theme in THEMES}, alt)
