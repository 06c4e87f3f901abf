"""Your own sounds: a folder with ``metadata.csv``, or one folder of sounds for each class.

Book page: ``your_sounds``.
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from ...audio.io import EXTENSIONS
from ...errors import ManifestError
from ..manifest import Manifest

__all__ = ["load", "matches"]

_TABLE = "metadata.csv"


def matches(path: Path) -> bool:
    """True for a CSV file, a folder with ``metadata.csv``, and a folder with folders of sounds."""
    if path.is_file():
        return path.suffix.lower() == ".csv"
    return (path / _TABLE).is_file() or bool(_class_folders(path))


def load(path: str | Path, *, group: str | None = None, label: str | None = None) -> Manifest:
    """A folder of sounds as a manifest.

    Parameters
    ----------
    path
        A CSV file, a folder with ``metadata.csv``, or a folder with
        ``<class>/<sound>`` (or ``audio/<class>/<sound>``): each folder is a class.
    group
        Column that must not cross splits; see :meth:`Manifest.read`.
    label
        Column to predict, of a table; ``label`` by default.

    Notes
    -----
    Book page: ``your_sounds``.
    """
    path = Path(path)
    if path.is_file() or (path / _TABLE).is_file():
        return Manifest.read(path, group=group, label=label)
    if label is not None:
        raise ManifestError(f"{path}: label is {label!r}, a column of a table; there is no {_TABLE}, so leave it out")
    folders = _class_folders(path)
    if folders and all(re.fullmatch(r"fold[ _-]?\d+", folder.name, re.IGNORECASE) for folder in folders):
        raise ManifestError(
            f"{path}: {', '.join(folder.name for folder in folders[:3])} ... look like folds, not classes; add a table "
            "(UrbanSound8K has metadata/UrbanSound8K.csv)"
        )
    rows = [
        {"file_name": file.relative_to(path).as_posix(), "label": folder.name}
        for folder in folders
        for file in sorted(folder.rglob("*"))
        if file.suffix.lower() in EXTENSIONS and not file.name.startswith(".")
    ]
    if not rows:
        raise ManifestError(f"{path}: no {_TABLE} and no folders of sounds ({', '.join(EXTENSIONS)})")
    return Manifest(path, pd.DataFrame(rows), path.resolve().name).with_group(group)


def _class_folders(path: Path) -> list[Path]:
    """Folders that are classes: those below ``audio``, or below the folder itself."""
    for parent in (path / "audio", path):
        if parent.is_dir():
            folders = sorted(child for child in parent.iterdir() if child.is_dir() and not child.name.startswith("."))
            folders = [child for child in folders if _holds_sound(child)]
            if folders and not (parent == path and folders == [path / "audio"]):
                return folders
    return []


def _holds_sound(folder: Path) -> bool:
    return any(file.suffix.lower() in EXTENSIONS for file in folder.rglob("*"))
