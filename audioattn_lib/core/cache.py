"""Cache folder of data that can be computed again: features, synthetic corpora, compiled loops.

Book page: ``data``.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cache_directory"]


def cache_directory() -> Path:
    """Folder of everything that can be computed again: ``AUDIOATTN_CACHE``, or ``audioattn`` in the user's cache."""
    if directory := os.environ.get("AUDIOATTN_CACHE"):
        return Path(directory).expanduser()
    if windows := os.environ.get("LOCALAPPDATA"):
        return Path(windows) / "audioattn"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "audioattn"
