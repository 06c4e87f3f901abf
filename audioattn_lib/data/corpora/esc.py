"""ESC-50 and ESC-10 in the layout in which they are distributed.

``meta/esc50.csv`` and ``audio/``: 2,000 clips of 5 s, 50 classes in 5 folds;
the clips with ``esc10`` set are ESC-10, ten classes under a freer licence.
Clips cut from one Freesound recording (``src_file``) are in one fold.

Piczak, *ESC: Dataset for environmental sound classification*, ACM Multimedia
2015. Book page: ``data``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from audioattn_lib.core.errors import ConfigError, ManifestError

from ..manifest import Manifest, read_table

__all__ = ["load", "matches"]

_TABLE = Path("meta") / "esc50.csv"
_COLUMNS = ("filename", "fold", "target", "category", "esc10", "src_file", "take")
_SUBSETS = ("esc50", "esc10")


def matches(path: Path) -> bool:
    """True when the folder holds ``meta/esc50.csv``."""
    return (path / _TABLE).is_file()


def load(path: str | Path, *, subset: str = "esc50") -> Manifest:
    """ESC as a manifest: label ``category``, the folds of the corpus, group ``src_file``.

    Parameters
    ----------
    path
        Folder of the distribution.
    subset
        ``"esc50"``, or ``"esc10"`` for the clips marked as such.

    Raises
    ------
    ManifestError
        When the table lacks a column.

    Notes
    -----
    Book page: ``data``.
    """
    if subset not in _SUBSETS:
        raise ConfigError(f"subset is {subset!r}; it must be one of {', '.join(_SUBSETS)}")
    path = Path(path)
    source = path / _TABLE
    table, lines = read_table(source)
    missing = [column for column in _COLUMNS if column not in table]
    if missing:
        raise ManifestError(f"{source}:1: no column {', '.join(missing)}; ESC-50 has {', '.join(_COLUMNS)}")
    table = table.rename(columns={"category": "label"})
    table.insert(0, "file_name", "audio/" + table["filename"])
    table["group"] = table["src_file"]
    manifest = Manifest(path, table, subset, source, lines)
    if subset == "esc50":
        return manifest
    rows = np.flatnonzero(table["esc10"].str.lower() == "true")
    if not len(rows):
        raise ManifestError(f"{source}: no clip is marked in column esc10; use subset esc50")
    return manifest.subset(rows)
