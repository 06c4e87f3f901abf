"""TAU Urban Acoustic Scenes 2020 Mobile (development) in the layout in which it is distributed.

``meta.csv`` and ``evaluation_setup/``, separated by tabs, and ``audio/``: ten
scenes of twelve cities by three real and six simulated devices. Tests hold
``s4`` to ``s6``, which training does not.

Heittola, Mesaros and Virtanen, *Acoustic scene classification in DCASE 2020
Challenge: generalization across devices and low complexity solutions*, DCASE
2020. Book page: ``data``.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd

from audioattn_lib.core.errors import ManifestError

from ..manifest import Manifest

__all__ = ["load", "matches"]

_TABLE = Path("meta.csv")
_SETUP = Path("evaluation_setup")
_COLUMNS = ("filename", "scene_label", "identifier", "source_label")
_PARTS = {"train": "fold1_train.csv", "test": "fold1_evaluate.csv"}


def matches(path: Path) -> bool:
    """True when the folder holds ``meta.csv`` and ``evaluation_setup/fold1_train.csv``."""
    return (path / _TABLE).is_file() and (path / _SETUP / _PARTS["train"]).is_file()


def load(path: str | Path) -> Manifest:
    """The official split: label, ``domain`` (device), ``city``, and group (place of recording).

    Clips of neither part are left out, as in the official split. Test clips
    of devices that training has not are ``test_unseen_device``, the others ``test_seen``.

    Raises
    ------
    ManifestError
        When a table lacks a column, or names a clip that the other does not.

    Notes
    -----
    Book page: ``data``.
    """
    path = Path(path)
    meta, lines = _read(path / _TABLE, _COLUMNS)
    row_of = {name: row for row, name in enumerate(meta["filename"])}
    split_of: dict[str, str] = {}
    for split, name in _PARTS.items():
        source = path / _SETUP / name
        listed, numbers = _read(source, ("filename",))
        for clip, line in zip(listed["filename"], numbers, strict=True):
            if clip not in row_of:
                raise ManifestError(f"{source}:{line}: {clip} is not in {_TABLE}; the two belong to different releases")
            if split_of.setdefault(clip, split) != split:
                raise ManifestError(f"{source}:{line}: {clip} trains and tests; download the tables again")
    rows = [row_of[name] for name in split_of]
    table = meta.iloc[rows].reset_index(drop=True)
    table["split"] = [split_of[name] for name in table["filename"]]
    seen = set(table.loc[table["split"] == "train", "source_label"])
    is_test = table["split"] == "test"
    table.loc[is_test, "split"] = [
        "test_seen" if device in seen else "test_unseen_device" for device in table.loc[is_test, "source_label"]
    ]
    table = table.rename(columns={"filename": "file_name", "scene_label": "label", "source_label": "domain"})
    table["group"] = table["identifier"]
    table["city"] = table["identifier"].str.partition("-")[0]
    return Manifest(path, table, "tau_urban", path / _TABLE, tuple(lines[row] for row in rows))


def _read(source: Path, columns: tuple[str, ...]) -> tuple[pd.DataFrame, tuple[int, ...]]:
    """A table separated by tabs, as text, with the line of each row."""
    try:
        with open(source, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter="\t")
            header = next(reader, [])
            rows = [(row, reader.line_num) for row in reader if row]
    except FileNotFoundError:
        raise ManifestError(f"{source}: no such table; unpack the whole of TAU Urban Acoustic Scenes 2020") from None
    missing = [column for column in columns if column not in header]
    if missing:
        raise ManifestError(f"{source}:1: no column {', '.join(missing)}; it must have {', '.join(columns)}")
    for row, line in rows:
        if len(row) != len(header):
            raise ManifestError(f"{source}:{line}: {len(row)} values under {len(header)} column names")
    return pd.DataFrame([row for row, _ in rows], columns=header, dtype=str), tuple(line for _, line in rows)
