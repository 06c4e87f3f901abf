"""Your own sounds: a folder with ``metadata.csv``, one folder of sounds for each class, or sounds without labels.

Book page: ``your_sounds``.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from audioattn_lib.core.errors import ManifestError

from ...audio.io import EXTENSIONS
from ..manifest import UNKNOWN, Manifest, read_table
from . import sleepiness

__all__ = ["TABLE", "load", "matches"]

TABLE = "metadata.csv"
"""Name of the table of a folder of sounds."""
_CONTAINERS = ("audio", "wav", "wavs", "flac", "sounds", "clips")
"""Names of parent folders of class folders, which are no classes."""


def matches(path: Path) -> bool:
    """True for a CSV file, a sound, a folder with ``metadata.csv``, and a folder with sounds at any depth."""
    if path.is_file():
        return path.suffix.lower() == ".csv" or _is_sound(path)
    return (path / TABLE).is_file() or (path.is_dir() and _holds_sound(path))


def load(
    path: str | Path, *, group: str | None = None, label: str | None = None, labels: str | None = None
) -> Manifest:
    """A folder of sounds as a manifest.

    Parameters
    ----------
    path
        A CSV file; a folder with ``metadata.csv``; a folder with
        ``<class>/<sound>`` (or ``audio/<class>/<sound>``), each folder a class; a
        folder with sounds that lie in none, or one sound, without labels.
    group
        Column that must not cross splits; see :meth:`Manifest.read`.
    label
        Column to predict, of a table; ``label`` by default.
    labels
        A table elsewhere, with ``file_name`` and ``label`` as ``metadata.csv`` has them, relative to the folder of the
        sounds; its path is relative to where the program runs, or to ``path``. Where names begin with ``train_``,
        ``devel_`` and ``test_`` it is one of Continuous Sleepiness.

    Raises
    ------
    ManifestError
        When the table cannot be used, or an option names a column and there is no table.

    Notes
    -----
    Book page: ``your_sounds``.
    """
    path = Path(path)
    if labels is not None:
        return _labelled_elsewhere(path, labels, label).with_group(group)
    is_sound = path.is_file() and _is_sound(path)
    if (path.is_file() and not is_sound) or (path / TABLE).is_file():
        return Manifest.read(path, group=group, label=label)
    if label is not None:
        raise ManifestError(f"{path}: label is {label!r}, a column of a table; there is no {TABLE}, so leave it out")
    folders = [] if is_sound else _class_folders(path)
    root = path.parent if is_sound else path
    sounds = [(path, UNKNOWN)] if is_sound else [(file, UNKNOWN) for file in _sounds(path)]
    if folders:
        sounds = [(file, folder.name) for folder in folders for file in _sounds(folder)]
    rows = [{"file_name": file.relative_to(root).as_posix(), "label": name} for file, name in sounds]
    if not rows:
        raise ManifestError(f"{path}: no {TABLE} and no sounds ({', '.join(EXTENSIONS)})")
    return Manifest(root, pd.DataFrame(rows), path.resolve().stem if is_sound else path.resolve().name).with_group(
        group
    )


def _labelled_elsewhere(path: Path, labels: str, label: str | None) -> Manifest:
    """Sounds of a folder, and a table of their labels that lies elsewhere."""
    source = next((file for file in (Path(labels), path / labels) if file.is_file()), None)
    if source is None:
        raise ManifestError(f"labels is {labels!r}; there is no such table here or in {path}")
    table, lines = read_table(source)
    for column in ("file_name", label or "label"):
        if column not in table:
            raise ManifestError(f"{source}:1: no column {column}; it has {', '.join(table)}")
    names = list(table["file_name"])
    inside = next((name for name in ("", *_CONTAINERS) if names and (path / name / names[0]).is_file()), "")
    prefix = f"{inside}/" if inside else ""
    if label is None and names and all(map(sleepiness.is_named, names)):
        return sleepiness.read_labels(path, source, prefix)
    table = table.assign(file_name=prefix + table["file_name"], label=table[label or "label"])
    return Manifest(path, table, path.resolve().name, source, lines)


def _class_folders(path: Path) -> list[Path]:
    """Folders that are classes: those in the folder, or in the only one where that is called ``audio`` or so.

    None where sounds lie in the folder itself: these are of no class.
    """
    if any(map(_is_sound, path.iterdir())):
        return []
    folders = sorted(child for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))
    folders = [child for child in folders if _holds_sound(child)]
    container = next((child for child in folders if child.name == _CONTAINERS[0]), None)
    if container is None and len(folders) == 1 and folders[0].name.lower() in _CONTAINERS:
        container = folders[0]
    return folders if container is None else _class_folders(container)


def _sounds(folder: Path) -> list[Path]:
    return [file for file in sorted(folder.rglob("*")) if _is_sound(file)]


def _holds_sound(folder: Path) -> bool:
    return any(map(_is_sound, folder.rglob("*")))


def _is_sound(file: Path) -> bool:
    return file.suffix.lower() in EXTENSIONS and not file.name.startswith(".") and file.is_file()
