"""Shared code of corpora cut from web videos: sound files named by video and seconds, and their published lists."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import pandas as pd

from audioattn_lib.audio.io import EXTENSIONS
from audioattn_lib.core.errors import ManifestError
from audioattn_lib.data.manifest import SEPARATOR, read_table

__all__ = ["SoundFolder", "choose_lists", "class_name", "find_lists", "header_of", "list_folders", "read_list"]

_SPLITS = {"train": "train", "test": "test"}
_SOUNDS = ("audio", "wav", "flac")
"""Folders of sounds in that of a corpus, in the order in which they are looked for."""
_LISTS = ("", "data", "annotations")
"""Folders of lists in that of a corpus."""


class SoundFolder:
    """Index of the sounds below a folder, by the file names of common download tools.

    Parameters
    ----------
    root
        Folder of the corpus.
    audio
        Folder of the sounds in it; by default ``audio``, ``wav`` or ``flac`` where there is one, else the corpus
        itself.
    suffix
        Of the name that a sound without a file is given.

    Raises
    ------
    ManifestError
        When there is no such folder.
    """

    def __init__(self, root: Path, audio: str | None, suffix: str) -> None:
        folder = audio if audio is not None else next((name for name in _SOUNDS if (root / name).is_dir()), "")
        if not (root / folder).is_dir():
            raise ManifestError(f"{root / folder}: no such folder of sounds; name it with audio")
        self._root, self._folder, self._suffix = root, Path(folder), suffix
        self._prefix = f"{self._folder.as_posix()}/" if folder else ""
        self._names = lru_cache(maxsize=None)(self._list)

    def find(self, stems: Iterable[str], inside: Iterable[str] = ()) -> str:
        """Path relative to the corpus of the first of these names that there is, also in folders ``inside``.

        The first name of all where there is none: the check of the corpus then says that it is missing.
        """
        stems = list(stems)
        for subfolder in ("", *inside):
            names = self._names(subfolder)
            for stem in stems if names else ():
                for suffix in (self._suffix, *EXTENSIONS):
                    if stem + suffix in names:
                        return (self._folder / subfolder / (stem + suffix)).as_posix()
        return f"{self._prefix}{stems[0]}{self._suffix}"

    def _list(self, subfolder: str) -> frozenset[str]:
        folder = self._root / self._folder / subfolder
        return frozenset(entry.name for entry in folder.iterdir()) if folder.is_dir() else frozenset()


def header_of(source: Path) -> tuple[str, ...]:
    """Column names in the first line of a table; none where it cannot be read as one."""
    try:
        with open(source, encoding="utf-8-sig", newline="") as file:
            return tuple(name.strip() for name in next(csv.reader(file), []))
    except (OSError, UnicodeDecodeError, csv.Error):
        return ()


def find_lists(path: Path, columns: tuple[str, ...]) -> dict[Path, str]:
    """The published lists of a corpus that have these columns, and the split of each, by ``train`` or ``test`` in its name.

    They lie in its folder, or in ``data`` or ``annotations``.
    """  # noqa: E501
    split_of: dict[Path, str] = {}
    for source in (source for folder in list_folders(path) for source in sorted(folder.glob("*.csv"))):
        split = next((split for word, split in _SPLITS.items() if word in source.stem.lower()), None)
        if split is not None and set(columns) <= set(header_of(source)):
            split_of[source] = split
    return split_of


def list_folders(path: Path) -> list[Path]:
    """Folders in which the lists of a corpus may lie."""
    return [path / name for name in _LISTS if (path / name).is_dir()]


def choose_lists(path: Path, split_of: dict[Path, str], train: str | None) -> dict[Path, str]:
    """Select a training list and a test list; of several, those named ``train`` and ``test``.

    Raises
    ------
    ManifestError
        When a list to train or to test on is missing, or it is not clear which one it is.
    """
    selected: dict[Path, str] = {}
    for split, name in (("train", train or "train"), ("test", "test")):
        lists = [source for source, own in split_of.items() if own == split]
        named = [source for source in lists if source.stem == name]
        if len(lists) != 1 or (split == "train" and train is not None):
            lists = named
        if split_of and not lists:
            names = ", ".join(source.name for source in split_of)
            from .._incomplete import unconverted_lists  # which imports this module

            command = unconverted_lists(path)
            advice = f"convert the others: {command}" if command else "name a list with train"
            raise ManifestError(f"{path}: no {name}.csv to {split} on among {names}; {advice}")
        selected |= dict.fromkeys(lists, split)
    return selected


def read_list(source: Path, columns: tuple[str, ...]) -> tuple[pd.DataFrame, tuple[int, ...]]:
    """A published list as text, with the line of each row."""
    table, lines = read_table(source)
    missing = [name for name in columns if name not in table]
    if missing:
        raise ManifestError(f"{source}:1: no column {', '.join(missing)}; it must have {', '.join(columns)}")
    return table, lines


def class_name(name: str) -> str:
    """A class as a label, in which ``;`` would part two."""
    return name.replace(SEPARATOR, " ").strip()
