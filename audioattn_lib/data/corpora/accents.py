"""The synthetic accents as a corpus.

Book page: ``data``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..manifest import Manifest

__all__ = ["DESCRIPTION", "load"]

DESCRIPTION = "Synthetic accents: five invented accents, 24 speakers of each"


def load(*, cache: str | Path | None = None, **options: Any) -> Manifest:
    """The synthetic accents; options are those of :class:`~audioattn_lib.data.synthetic.accents.AccentsOptions`.

    Notes
    -----
    Book page: ``data``.
    """
    from ..synthetic.accents import AccentsOptions, generate  # its signal processing takes a second to import

    return Manifest.read(generate(AccentsOptions.parse(**options), cache), name="accents")
