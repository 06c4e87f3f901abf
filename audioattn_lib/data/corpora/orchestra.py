"""The synthetic orchestra as a corpus.

Book page: ``data``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..manifest import Manifest

__all__ = ["DESCRIPTION", "load"]

DESCRIPTION = "Synthetic orchestra: six families of instruments, unseen devices and instruments"


def load(*, cache: str | Path | None = None, **options: Any) -> Manifest:
    """The synthetic orchestra; options: :class:`~audioattn_lib.data.synthetic.orchestra.OrchestraOptions`.

    Notes
    -----
    Book page: ``data``.
    """
    from ..synthetic.orchestra import OrchestraOptions, generate  # its signal processing takes a second to import

    return Manifest.read(generate(OrchestraOptions.parse(**options), cache), name="orchestra")
