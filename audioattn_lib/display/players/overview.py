"""Overview of a long recording, on which one zooms and chooses the part to hear.

The overview holds no sound. Each part is a page of its own beside it, with a player; it is opened when it is chosen, so
an hour of sound is never loaded at once. Without JavaScript a list of links to the parts remains.

Book page: ``your_sounds``.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audioattn_lib.attention.record.record import FrameClock

from ..assets import script_tag, style_tag
from ..page import save_page
from ..plots.spectrogram import checked, level_range
from .parts import time_of
from .player import MOST_COLUMNS, _picture, _place

__all__ = ["Overview", "OverviewPart", "overview", "reduce_frames"]

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class OverviewPart:
    """A part of a recording that has a page.

    Parameters
    ----------
    start, stop
        Seconds of the recording.
    address
        Of its page, relative to the page of the overview.
    """

    start: float
    stop: float
    address: str

    def __str__(self) -> str:
        return f"{time_of(self.start)}–{time_of(self.stop)}"


@dataclass(frozen=True, repr=False)
class Overview:
    """An overview as HTML; in a notebook it shows itself.

    Parameters
    ----------
    markup
        Without style sheets and script.
    title
        Name of the recording.
    alt
        Content in words.
    """

    markup: str
    title: str
    alt: str

    def html(self) -> str:
        """Return the overview as HTML that needs nothing but the pages of its parts."""
        return f"{style_tag('figure')}{style_tag('player')}{style_tag('overview')}{self.markup}{script_tag('overview')}"

    def save(self, path: str | Path) -> Path:
        """Write a page with the overview, and return its path."""
        return save_page(path, self.html(), self.title or "Recording", has_frames=True)

    def _repr_html_(self) -> str:
        return self.html()

    def __repr__(self) -> str:
        return f"Overview: {self.alt}"


def overview(
    duration: float,
    *,
    features: NDArray[Any],
    clock: FrameClock,
    frequencies: NDArray[Any] | None = None,
    curve: tuple[Array, Array] | None = None,
    rows: Mapping[str, tuple[Array, Array]] | None = None,
    parts: Sequence[OverviewPart] = (),
    title: str = "",
    caption: str = "",
) -> Overview:
    """Spectrogram, attention and answers of a whole recording over one axis of time.

    Parameters
    ----------
    duration
        Seconds, above 0.
    features
        Levels of the recording, shape ``(frames, bands)``.
    clock
        Time of these frames.
    frequencies
        Centre of each band in hertz, rising.
    curve
        Edges in seconds ``(n + 1,)`` and attention of at least 0 between them ``(n,)``, drawn over the spectrogram.
    rows
        By name: edges in seconds ``(n + 1,)`` and values in [0, 1] between them ``(n,)``, a row each below it.
    parts
        Pages to open, in order.
    title, caption
        Text above and below.

    Raises
    ------
    ValueError
        When a shape does not fit, or the duration is not above 0.

    Notes
    -----
    Book page: ``your_sounds``.
    """
    if not duration > 0:
        raise ValueError(f"duration is {duration}; it must be seconds above 0")
    features, frequencies = checked(features, frequencies)
    low, high = level_range(features)
    levels = np.clip((features - low) / (high - low), 0, 1)
    named_rows = dict(rows or {})
    alt = f"Spectrogram of {time_of(duration)} of sound"
    if named_rows:
        alt += f"; over time: {', '.join(named_rows)}"
    name = html.escape(title or "Recording", quote=True)
    settings = {
        "duration": duration,
        "parts": [
            {"start": part.start, "stop": part.stop, "address": part.address, "name": str(part)} for part in parts
        ],
    }
    links = "".join(f'<li><a href="{html.escape(part.address, quote=True)}">{part}</a></li>' for part in parts)
    pieces = [
        f'<figure class="audioattn aa-player aa-overview aa-overview-waiting mathjax_ignore" aria-label="{name}" '
        f'data-lm-suppress-shortcuts="true" data-overview="{html.escape(json.dumps(settings), quote=True)}">',
        f'<div class="aa-title">{html.escape(title)}</div>' if title else "",
        '<div class="aa-tools"></div>',
        f'<div class="aa-scroll" tabindex="0" role="group" aria-label="{name}, timeline"><div class="aa-strip">',
        '<div class="aa-wide">',
        _picture(levels, clock, duration, alt),
        _area(*curve, duration, float(np.max(curve[1], initial=0.0)) or 1.0, "aa-line") if curve is not None else "",
        "</div>",
        *(
            f'<div class="aa-row"><span>{html.escape(label)}</span>{_area(*values, duration, 1.0, "aa-value")}</div>'
            for label, values in named_rows.items()
        ),
        _ticks(duration),
        "</div></div>",
        f'<details class="aa-links"><summary>{len(parts)} parts</summary><ol>{links}</ol></details>' if parts else "",
        f"<figcaption>{html.escape(caption)}</figcaption>" if caption else "",
        "</figure>",
    ]
    return Overview("".join(pieces), title, f"{title}: {alt}." if title else f"{alt}.")


def _area(edges: Array, values: Array, duration: float, peak: float, kind: str) -> str:
    """Steps as one closed area of at most as many points as a picture has columns; a step is the greatest it covers."""
    if len(edges) != len(values) + 1 or not len(values):
        raise ValueError(f"{len(edges)} edges for {len(values)} values; give one more edge than values")
    if len(values) > MOST_COLUMNS:
        starts = np.linspace(0, len(values), MOST_COLUMNS, endpoint=False).astype(np.int64)
        edges, values = np.append(edges[starts], edges[-1]), np.maximum.reduceat(values, starts)
    across = np.clip(1000 * np.asarray(edges) / duration, 0, 1000).round(2)
    up = (100 - 96 * np.clip(np.asarray(values) / peak, 0, 1)).round(1)
    steps = "".join(f"V{level:g}H{right:g}" for level, right in zip(up, across[1:], strict=True))
    return (
        '<svg class="aa-curves" viewBox="0 0 1000 100" preserveAspectRatio="none" aria-hidden="true">'
        f'<path class="{kind}" d="M{across[0]:g} 100{steps}V100Z"/></svg>'
    )


def _ticks(duration: float) -> str:
    """Times below the strip; the script makes more of them where one zooms."""
    spots = np.linspace(0, duration, 7)
    marks = "".join(f'<span style="{_place(spot, spot, duration)}">{time_of(spot)}</span>' for spot in spots)
    return f'<div class="aa-seconds" aria-hidden="true">{marks}</div>'


def reduce_frames(features: NDArray[Any], count: int) -> NDArray[Any]:
    """At most ``count`` frames, each the greatest of those that it stands for; shape ``(frames, bands)``."""
    if len(features) <= count:
        return features
    starts = np.linspace(0, len(features), count, endpoint=False).astype(np.int64)
    few: NDArray[Any] = np.maximum.reduceat(features, starts, axis=0)
    return few
