"""Corpora described by the published lists: ``path class -1`` on every line, or ``path`` alone.

A folder with lists of labels, in itself, in ``labels`` or in a folder of that,
such as ``train_files.lst`` and ``dev_files.lst``; or one list. A list is known
by its lines, and what it is for by ``train``, ``dev`` (or ``valid``) and
``test`` in its name, or by an option. Paths are relative to the folder, to that
of the list, or to ``audio``; without an extension that of the sound that lies
there is taken, and ``.pickle`` of the published features is one of none. A list
of paths alone has no labels.

Book page: ``accents_published``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from audioattn_lib.core.errors import ManifestError

from ...audio.io import EXTENSIONS
from ..lists import read_files, read_labels
from ..manifest import UNKNOWN, Manifest

__all__ = ["load", "matches"]

_SPLITS = {"train": "train", "dev": "valid", "test": "test"}
_WORDS = {"train": ("train",), "dev": ("dev", "val"), "test": ("test", "eval")}
_SUFFIXES = (".lst", ".ndx", ".txt", ".list", "")
_LABELLED = re.compile(r"\S.*\s\d+\s+-1")
_LOOKED_AT = 20
"""Lines of a file that are read to recognise a list."""


def matches(path: Path) -> bool:
    """True for a list, and for a folder with lists of labels and no ``metadata.csv``."""
    if path.is_file():
        return path.suffix in (".lst", ".ndx") or _is_labelled(path)
    return path.is_dir() and not (path / "metadata.csv").is_file() and bool(_labelled_lists(path))


def load(
    path: str | Path,
    *,
    train: str | None = None,
    dev: str | None = None,
    test: str | None = None,
    audio: str | None = None,
    classes: str | None = None,
    speakers: bool = False,
) -> Manifest:
    """Lists as a manifest: label the class, split that of the list.

    Parameters
    ----------
    path
        Folder or list.
    train, dev, test
        Lists, relative to ``path``; by default those with such a word in their name.
    audio
        Folder of the sounds, relative to that of the lists; the same by default.
    classes
        Names of the classes 0 to N - 1, joined by commas; their numbers by default.
    speakers
        Whether classes are speakers, as in the published lists of VoxCeleb.

    Raises
    ------
    ManifestError
        When a list is missing or empty, a class is out of range, or it is not clear which list is meant; the message
        names list and line.

    Notes
    -----
    Without a list to test on the published system tests on ``dev_files.lst``;
    here that list is the test, and validation is taken from the training clips.
    Book page: ``accents_published``.
    """
    path = Path(path)
    folder = path.parent if path.is_file() else path
    lists = {"": path} if path.is_file() else _choose(path, {"train": train, "dev": dev, "test": test})
    root = folder / audio if audio else folder
    if path.is_file() and not _is_labelled(path) and not any(map(_LABELLED.fullmatch, read_files(path))):
        files = read_files(path)
        rows = pd.DataFrame({"file_name": [_find(root, (), name) for name in files], "label": UNKNOWN})
        return Manifest(root, rows, path.stem, path)
    names = None if classes is None else [name.strip() for name in classes.split(",")]
    tables = [
        read_labels(file, None if names is None else len(names)).assign(split=split, folder=str(file.parent))
        for split, file in lists.items()
    ]
    table = pd.concat(tables)
    rows = pd.DataFrame(
        {
            "file_name": [
                _find(root, () if audio else (Path(own),), name)
                for name, own in zip(table["path"], table["folder"], strict=True)
            ],
            "label": [str(label) if names is None else names[label] for label in table["class"]],
        }
    )
    if speakers:
        rows["speaker"] = rows["label"]
    if "" not in lists:
        rows["split"] = [_SPLITS[split] if "test" in lists or split == "train" else "test" for split in table["split"]]
    return Manifest(root, rows, folder.resolve().name, next(iter(lists.values())), tuple(table["line"]))


def _choose(path: Path, named: dict[str, str | None]) -> dict[str, Path]:
    """The list of each part, those that are named and those that are found; of one alone the part is ``""``."""
    lists = _labelled_lists(path)
    selected: dict[str, Path] = {}
    for split, name in named.items():
        if name is not None:
            if not (path / name).is_file():
                raise ManifestError(f"{path / name}: no such list; {split} is {name!r}, relative to {path}")
            selected[split] = path / name
            continue
        candidates = [file for file in lists if any(word in file.stem.lower() for word in _WORDS[split])]
        nearest = min((len(file.parts) for file in candidates), default=0)
        candidates = [file for file in candidates if len(file.parts) == nearest]
        if len(candidates) > 1:
            listed = ", ".join(file.relative_to(path).as_posix() for file in candidates)
            raise ManifestError(f"{path}: several lists for {split}: {listed}; name one, as {path.name}?{split}=...")
        if candidates:
            selected[split] = candidates[0]
    if not selected and len(lists) == 1:
        return {"": lists[0]}
    if "train" not in selected or len(selected) < 2:
        listed = ", ".join(file.relative_to(path).as_posix() for file in lists) or "none"
        has = ", ".join(file.name for file in selected.values()) or "no list of a known part"
        raise ManifestError(
            f"{path}: has {has} alone among {listed}; a list to train on and dev or test are needed. Call them "
            "train_files.lst, dev_files.lst and test_files.lst, or name them with train, dev and test"
        )
    return selected


def _labelled_lists(path: Path) -> list[Path]:
    """Lists of labels in a folder, in ``labels`` and in the folders of that."""
    inner = (
        sorted(child for child in (path / "labels").iterdir() if child.is_dir()) if (path / "labels").is_dir() else []
    )
    folders = [folder for folder in (path, path / "labels", *inner) if folder.is_dir()]
    return [file for folder in folders for file in sorted(folder.iterdir()) if _is_labelled(file)]


def _is_labelled(file: Path) -> bool:
    """True where the first lines are all ``path class -1``."""
    if file.suffix.lower() not in _SUFFIXES or file.name.startswith(".") or not file.is_file():
        return False
    try:
        with open(file, encoding="utf-8-sig") as text:
            lines = [line.strip() for line, _ in zip(text, range(_LOOKED_AT), strict=False)]
    except (OSError, UnicodeDecodeError):
        return False
    lines = [line for line in lines if line]
    return bool(lines) and all(map(_LABELLED.fullmatch, lines))


def _find(root: Path, places: Iterable[Path], name: str) -> str:
    """Resolve a path, with or without the extension of its sound, also relative to other folders."""
    stem = name.removesuffix(".pickle")
    endings = ("",) if Path(stem).suffix.lower() in EXTENSIONS else EXTENSIONS
    for folder in (root, *places):
        for ending in endings:
            if (folder / (stem + ending)).is_file():
                sound = folder / (stem + ending)
                return sound.relative_to(root).as_posix() if sound.is_relative_to(root) else str(sound.resolve())
    return stem + (endings[0] and ".wav")
