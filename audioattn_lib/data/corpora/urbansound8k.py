"""UrbanSound8K in the layout in which it is distributed.

``metadata/UrbanSound8K.csv`` and ``audio/fold1`` to ``audio/fold10``: 8,732
clips of at most 4 s, ten classes. Clips cut from one Freesound recording
(``fsID``) are in one fold, so its folds must be used as they are: shuffled
folds put pieces of one recording on both sides.

Salamon, Jacoby & Bello, *A dataset and taxonomy for urban sound research*,
ACM Multimedia 2014. Book page: ``data``.
"""

from __future__ import annotations

from pathlib import Path

from audioattn_lib.core.errors import ManifestError

from ..manifest import Manifest, read_table

__all__ = ["load", "matches"]

_TABLE = Path("metadata") / "UrbanSound8K.csv"
_COLUMNS = ("slice_file_name", "fsID", "start", "end", "salience", "fold", "classID", "class")


def matches(path: Path) -> bool:
    """True when the folder holds ``metadata/UrbanSound8K.csv``."""
    return (path / _TABLE).is_file()


def load(path: str | Path) -> Manifest:
    """UrbanSound8K as a manifest: label ``class``, the folds of the corpus, group ``fsID``.

    ``start`` and ``end`` say where in the Freesound recording a clip was cut;
    the files are the clips already, so they are kept as ``source_start`` and
    ``source_end``.

    Raises
    ------
    ManifestError
        When the table lacks a column or names a fold that is none.

    Notes
    -----
    Book page: ``data``.
    """
    path = Path(path)
    source = path / _TABLE
    table, lines = read_table(source)
    missing = [column for column in _COLUMNS if column not in table]
    if missing:
        raise ManifestError(f"{source}:1: no column {', '.join(missing)}; UrbanSound8K has {', '.join(_COLUMNS)}")
    for line, fold in zip(lines, table["fold"], strict=True):
        if fold not in {str(number) for number in range(1, 11)}:
            raise ManifestError(f"{source}:{line}: fold is {fold!r}; UrbanSound8K has folds 1 to 10")
    table = table.rename(columns={"class": "label", "start": "source_start", "end": "source_end"})
    table.insert(0, "file_name", "audio/fold" + table["fold"] + "/" + table["slice_file_name"])
    table["group"] = table["fsID"]
    return Manifest(path, table, "urbansound8k", source, lines)
