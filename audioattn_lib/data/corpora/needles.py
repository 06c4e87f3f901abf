"""The synthetic needles as a corpus.

Book page: ``data``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..manifest import Manifest

__all__ = ["DESCRIPTION", "load"]

DESCRIPTION = "Synthetic needles: long clips with short flutters that only a finer hop tells apart"


def load(*, cache: str | Path | None = None, **options: Any) -> Manifest:
    """The synthetic needles; options are those of :class:`~audioattn_lib.data.synthetic.needles.NeedlesOptions`.

    Notes
    -----
    Book page: ``data``.
    """
    from ..synthetic.needles import NeedlesOptions, generate  # its signal processing takes a second to import

    return Manifest.read(generate(NeedlesOptions.parse(**options), cache), name="needles")
