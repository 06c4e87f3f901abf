"""Corpora described by the published three-column lists, ``path class -1``.

A folder with ``train_files.lst`` and ``dev_files.lst`` (and ``test_files.lst``
where there is one), or one list alone. Paths are relative to the folder, or to
``audio``; without an extension that of the sound that lies there is taken, and
``.pickle`` of the published features is one of none.

Book page: ``accents_published``.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ...audio.io import EXTENSIONS
from ...errors import ManifestError
from ..lists import read_labels
from ..manifest import Manifest

__all__ = ["load", "matches"]

_SPLITS = {"train": "train", "dev": "valid", "test": "test"}
_SUFFIXES = (".lst", ".ndx")


def matches(path: Path) -> bool:
    """True for a list, and for a folder with ``train_files.lst``."""
    return path.suffix in _SUFFIXES if path.is_file() else (path / "train_files.lst").is_file()


def load(path: str | Path, *, audio: str | None = None, classes: str | None = None) -> Manifest:
    """Lists as a manifest: label the class, split that of the list.

    Parameters
    ----------
    path
        Folder or list.
    audio
        Folder of the sounds, relative to that of the lists; the same by default.
    classes
        Names of the classes 0 to N - 1, joined by commas; their numbers by default.

    Raises
    ------
    ManifestError
        When a list is empty or a class is out of range; the message names the line.

    Notes
    -----
    Without ``test_files.lst`` the published system tests on ``dev_files.lst``;
    here that list is the test, and validation is taken from the training clips.
    Book page: ``accents_published``.
    """
    path = Path(path)
    folder = path.parent if path.is_file() else path
    lists = {"": path} if path.is_file() else {name: path / f"{name}_files.lst" for name in _SPLITS}
    lists = {name: file for name, file in lists.items() if not name or file.is_file()}
    names = None if classes is None else [name.strip() for name in classes.split(",")]
    tables = [
        read_labels(file, None if names is None else len(names)).assign(part=part) for part, file in lists.items()
    ]
    table = pd.concat(tables)
    root = folder / audio if audio else folder
    has_test = "test" in lists
    rows = pd.DataFrame(
        {
            "file_name": [_find(root, name) for name in table["path"]],
            "label": [str(label) if names is None else names[label] for label in table["class"]],
        }
    )
    if "" not in lists:
        if "dev" not in lists and not has_test:
            raise ManifestError(f"{folder}: has train_files.lst alone; add dev_files.lst or test_files.lst")
        rows["split"] = [_SPLITS[part] if has_test or part == "train" else "test" for part in table["part"]]
    return Manifest(root, rows, folder.resolve().name, path, tuple(table["line"]))


def _find(root: Path, name: str) -> str:
    """The path as it stands, or with the extension of the sound that lies there."""
    stem = name.removesuffix(".pickle")
    if Path(stem).suffix.lower() in EXTENSIONS:
        return stem
    return next((stem + suffix for suffix in EXTENSIONS if (root / (stem + suffix)).is_file()), stem + ".wav")
