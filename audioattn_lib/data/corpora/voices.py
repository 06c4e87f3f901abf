"""The synthetic tired voices as a corpus.

Book page: ``data``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..manifest import Manifest

__all__ = ["DESCRIPTION", "load"]

DESCRIPTION = "Synthetic voices: 32 speakers, tiredness from 1 to 9 known for each clip"


def load(*, cache: str | Path | None = None, **options: Any) -> Manifest:
    """The synthetic voices; options are those of :class:`~audioattn_lib.data.synthetic.voices.VoicesOptions`.

    Notes
    -----
    Book page: ``data``.
    """
    from ..synthetic.voices import VoicesOptions, generate  # its signal processing takes a second to import

    return Manifest.read(generate(VoicesOptions.parse(**options), cache), name="voices")
