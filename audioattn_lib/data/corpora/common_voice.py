"""Mozilla Common Voice in the layout in which it is distributed: ``validated.tsv`` and ``clips/``.

The accent is what its speakers said of themselves (column ``accents``, in older
releases ``accent``); clips of people who said nothing are left out. A speaker
is ``client_id``, and never on two sides.

Ardila et al., *Common Voice: a massively-multilingual speech corpus*, LREC
2020. Book page: ``accents_published``.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd

from audioattn_lib.core.errors import ConfigError, ManifestError

from ..manifest import Manifest

__all__ = ["load", "matches"]

_TABLE = "validated.tsv"
_ACCENTS = ("accents", "accent")


def matches(path: Path) -> bool:
    """True when the folder holds ``validated.tsv``."""
    return (path / _TABLE).is_file()


def load(
    path: str | Path, *, accents: str | None = None, clips_per_speaker: int | None = None, speakers: int = 2
) -> Manifest:
    """Common Voice as a manifest: label the accent, group the speaker.

    Parameters
    ----------
    path
        Folder of one language.
    accents
        Which accents to take and what to call them, such as
        ``"central, septentrional=central, balear"``: names joined by commas, a
        merged one with what it becomes. By default all as they stand.
    clips_per_speaker
        First clips of a speaker in each accent, at least 1; all by default.
    speakers
        Accents of fewer speakers are left out, at least 1.

    Raises
    ------
    ManifestError
        When the table lacks a column, or no clip has a wanted accent.

    Notes
    -----
    The published accents of Catalan are ``central``, ``nord-occidental``,
    ``valencià``, ``balear`` and ``septentrional``. Book page:
    ``accents_published``.
    """
    for name, value in (("clips_per_speaker", clips_per_speaker), ("speakers", speakers)):
        if value is not None and value < 1:
            raise ConfigError(f"{name} is {value}; it must be at least 1")
    path = Path(path)
    source = path / _TABLE
    # sentences hold quotation marks that quote nothing
    table = pd.read_csv(source, sep="\t", dtype=str, keep_default_na=False, quoting=csv.QUOTE_NONE)
    accent = next((name for name in _ACCENTS if name in table), None)
    missing = [name for name in ("client_id", "path") if name not in table]
    if accent is None or missing:
        columns = ", ".join([*missing, *(["accents"] if accent is None else [])])
        raise ManifestError(f"{source}:1: no column {columns}; Common Voice has client_id, path and accents")
    merged = _parse(accents)
    stated = table[accent].str.strip()
    label = stated if merged is None else stated.map(merged).fillna("")
    table = table.assign(label=label, line=range(2, len(table) + 2))[label != ""]
    if clips_per_speaker is not None:
        table = table[table.groupby(["client_id", "label"]).cumcount() < clips_per_speaker]
    counts = table.groupby("label")["client_id"].nunique()
    table = table[table["label"].isin(counts[counts >= speakers].index)]
    if not len(table):
        listed = ", ".join(sorted(set(stated) - {""})[:8]) or "none"
        raise ManifestError(
            f"{source}: no clip is left with accents {accents or 'of any name'} of {speakers} or more speakers; "
            f"the table has {listed}"
        )
    names = table["path"].where(table["path"].str.contains(".", regex=False), table["path"] + ".mp3")
    rows = pd.DataFrame(
        {
            "file_name": "clips/" + names,
            "label": table["label"].str.replace(";", " "),
            "group": table["client_id"],
            "speaker": table["client_id"],
        }
    )
    return Manifest(path, rows, path.resolve().name, source, tuple(table["line"]))


def _parse(accents: str | None) -> dict[str, str] | None:
    if accents is None:
        return None
    pairs = [item.partition("=") for item in accents.split(",") if item.strip()]
    if not pairs:
        raise ConfigError("accents is empty; give names joined by commas, or nothing for all")
    return {name.strip(): (new or name).strip() for name, _, new in pairs}
