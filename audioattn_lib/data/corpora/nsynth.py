"""NSynth in the layout in which it is distributed: a JSON file of notes and ``audio/``.

One folder a part, or, as in the published experiment, one folder with
``train.json`` and ``valid.json``. Families are classes and sources (acoustic,
electronic, synthetic) domains; training on acoustic notes alone asks whether
families are known again when they are synthetic.

Engel et al., *Neural audio synthesis of musical notes with WaveNet
autoencoders*, ICML 2017. Book page: ``data``.
"""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from audioattn_lib.core.errors import ConfigError, ManifestError

from ..manifest import Manifest

__all__ = ["SOURCES", "load", "matches"]

SOURCES = ("acoustic", "electronic", "synthetic")
"""Sources of a note, which are the domains."""

_TRAIN = ("train.json", "nsynth-train/examples.json")
_TEST = ("valid.json", "nsynth-valid/examples.json")
_FIELDS = ("instrument_family_str", "instrument_source_str", "instrument_str")


def matches(path: Path) -> bool:
    """True when the folder holds ``train.json`` and ``valid.json``, or ``nsynth-train/`` and ``nsynth-valid/``."""
    return any(all((path / name).is_file() for name in pair) for pair in zip(_TRAIN, _TEST, strict=True))


def load(path: str | Path, *, train_source: str = "acoustic", skip: str = "synth_lead") -> Manifest:
    """Notes with their family as label, source as ``domain`` and instrument as group.

    Training notes are those of ``train_source``; a test is ``test_seen`` where it
    has that source and ``test_unseen_source`` where it has another. Instruments of
    the two parts are different ones.

    Parameters
    ----------
    path
        Folder of the distribution.
    train_source
        One of :data:`SOURCES`, or ``"all"``.
    skip
        A family to leave out, or ``""``: ``synth_lead`` has no acoustic note.

    Raises
    ------
    ManifestError
        When a file cannot be parsed or a note lacks a field.

    Notes
    -----
    Book page: ``data``.
    """
    if train_source not in (*SOURCES, "all"):
        raise ConfigError(f"train_source is {train_source!r}; it must be all, or one of {', '.join(SOURCES)}")
    path = Path(path)
    which = 0 if (path / _TRAIN[0]).is_file() else 1
    rows: list[dict[str, str]] = []
    for subset, name in (("train", _TRAIN[which]), ("test", _TEST[which])):
        for note, fields in _read(path / name).items():
            family, source, instrument = (str(fields[key]) for key in _FIELDS)
            is_seen = train_source in ("all", source)
            if family == skip or (subset == "train" and not is_seen):
                continue
            split = "train" if subset == "train" else "test_seen" if is_seen else "test_unseen_source"
            folder = Path(name).parent / "audio"
            row = {"file_name": (folder / f"{note}.wav").as_posix(), "label": family, "split": split}
            rows.append({**row, "domain": source, "group": instrument})
    if not rows:
        raise ManifestError(f"{path}: no note is left with train_source {train_source!r}")
    table = pd.DataFrame(rows, dtype=str)
    return Manifest(path, table, "nsynth", path / _TRAIN[which], tuple(range(1, len(table) + 1)))


def _read(source: Path) -> dict[str, dict[str, object]]:
    try:
        notes = json.loads(source.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ManifestError(f"{source}: no such file; unpack training and validation notes") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ManifestError(f"{source}: not JSON ({error}); download it again") from None
    if not isinstance(notes, dict) or not notes:
        raise ManifestError(f"{source}: holds no notes by name")
    for note, fields in notes.items():
        missing = [name for name in _FIELDS if not isinstance(fields, dict) or name not in fields]
        if missing:
            raise ManifestError(f"{source}: note {note} has no {', '.join(missing)}")
    return notes
