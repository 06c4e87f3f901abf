"""Mixtures by name: recorded events at known times over backgrounds, made of other corpora of the library.

``mixtures?events=urbansound8k&backgrounds=urbansound8k&background_classes=street_music``.

Book page: ``data``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..manifest import Manifest

__all__ = ["NAME", "load"]

NAME = "mixtures"


def load(cache: str | Path | None, load_source: Callable[[str], Manifest], **options: Any) -> Manifest:
    """Make mixtures, or find them where they were made before.

    Parameters
    ----------
    cache
        Where corpora that are made are kept; the cache of the library by default.
    load_source
        From name or path of a corpus to its manifest.
    options
        Those of :class:`~audioattn_lib.data.synthetic.mixtures.MixturesOptions`.

    Notes
    -----
    Book page: ``data``.
    """
    from ..synthetic.mixtures import MADE, MixturesOptions, generate  # signal processing imports for a second

    parsed = MixturesOptions.parse(**options)
    events = load_source(parsed.events)
    if parsed.backgrounds == MADE:
        backgrounds = None
    else:
        backgrounds = events if parsed.backgrounds == parsed.events else load_source(parsed.backgrounds)
    return Manifest.read(generate(parsed, events, backgrounds, cache), name=NAME)
