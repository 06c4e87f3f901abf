"""Continuous Sleepiness of ComParE 2019 in the layout in which it is distributed.

``wav/`` and ``lab/labels.csv`` with ``file_name,label``: 16,462 clips of German
speech with a sleepiness from 1 to 9, where the beginning of a name says the
split (``train_``, ``devel_``, ``test_``). Labels that are held back stand as
``?``; ``lab/labels_confidential.csv``, for those who have it, goes before. The
corpus does not say who speaks. It is licensed: bring your own copy.

Schuller et al., *The INTERSPEECH 2019 computational paralinguistics
challenge: Styrian dialects, continuous sleepiness, baby sounds & orca
activity*, 2019. Book page: ``data``.
"""

from __future__ import annotations

from pathlib import Path

from audioattn_lib.core.errors import ManifestError

from ..manifest import UNKNOWN, Manifest, parse_number, read_table

__all__ = ["LABEL_RANGE", "is_named", "load", "matches", "read_labels"]

LABEL_RANGE = (1, 9)
"""Least and greatest label: the Karolinska sleepiness scale."""

_TABLES = ("labels_confidential.csv", "labels.csv")
_SPLITS = ("train", "devel", "test")  # as the files are called: "devel" holds the validation clips
_MISSING = ("", "?", "nan", "na")


def matches(path: Path) -> bool:
    """True when the folder holds ``wav/`` and a table of labels in ``lab/``."""
    return (path / "wav").is_dir() and any((path / "lab" / name).is_file() for name in _TABLES)


def is_named(name: str) -> bool:
    """True for the name of a clip of the corpus, which says its split."""
    return name.startswith(tuple(f"{split}_" for split in _SPLITS))


def load(path: str | Path) -> Manifest:
    """Continuous Sleepiness as a manifest: numbers as labels, the splits of the corpus, no group.

    Parameters
    ----------
    path
        Folder of the distribution.

    Raises
    ------
    ManifestError
        When the table lacks a column, a name does not say its split, or a
        label is neither a whole number from 1 to 9 nor ``?``.

    Notes
    -----
    Clips whose label is ``?`` can be predicted and are left out of scores; see
    :attr:`~audioattn_lib.data.manifest.Manifest.has_label`. Book page: ``data``.
    """
    path = Path(path)
    source = next(path / "lab" / name for name in _TABLES if (path / "lab" / name).is_file())
    return read_labels(path, source, "wav/")


def read_labels(path: Path, source: Path, folder: str) -> Manifest:
    """A table of labels wherever it lies, and the sounds in ``folder`` of ``path``; errors as of :func:`load`."""
    table, lines = read_table(source)
    missing = [column for column in ("file_name", "label") if column not in table]
    if missing:
        raise ManifestError(f"{source}:1: no column {', '.join(missing)}; Continuous Sleepiness has file_name, label")
    for line, name, label in zip(lines, table["file_name"], table["label"], strict=True):
        if not is_named(name):
            raise ManifestError(f"{source}:{line}: file_name is {name!r}; it must begin with train_, devel_ or test_")
        value = parse_number(label)
        allowed = value is not None and value.is_integer() and LABEL_RANGE[0] <= value <= LABEL_RANGE[1]
        if not allowed and label.lower() not in _MISSING:
            raise ManifestError(
                f"{source}:{line}: label is {label!r}; it must be a whole number from 1 to 9, or ? if held back"
            )
    table["split"] = table["file_name"].str.split("_").str[0]
    table["file_name"] = folder + table["file_name"]
    table["label"] = table["label"].where(~table["label"].str.lower().isin(_MISSING), UNKNOWN)
    return Manifest(path, table, "sleepiness", source, lines, numeric=True)
