"""The synthetic city as a corpus.

Book page: ``data``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..manifest import Manifest

__all__ = ["DESCRIPTION", "load"]

DESCRIPTION = "Synthetic city: ten short sounds over background, known event times"


def load(*, cache: str | Path | None = None, **options: Any) -> Manifest:
    """The synthetic city; options are those of :class:`~audioattn_lib.data.synthetic.city.CityOptions`.

    Notes
    -----
    Book page: ``data``.
    """
    from ..synthetic.city import CityOptions, generate  # its signal processing takes a second to import

    return Manifest.read(generate(CityOptions.parse(**options), cache), name="city")
