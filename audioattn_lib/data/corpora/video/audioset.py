"""AudioSet: ten seconds of a web video with any of 527 classes, by the official tables or by the published lists.

Official: ``balanced_train_segments.csv``, ``unbalanced_train_segments.csv`` and
``eval_segments.csv`` with ``class_labels_indices.csv``. Published: lists with
the columns video, classes and class_ids, such as ``as500k_train.csv`` and
``test.csv`` in the folder or in ``data``, which ``audioattn data convert`` makes
of pickled ones. Sounds are FLAC files, one a segment, in the folder or in
``audio`` or ``flac``.

Gemmeke et al., *Audio Set: an ontology and human-labeled dataset for audio
events*, ICASSP 2017. Book page: ``playback_published``.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from audioattn_lib.core.errors import ConfigError, ManifestError
from audioattn_lib.data.manifest import SEPARATOR, Manifest, parse_number

from ._lists import SoundFolder, choose_lists, class_name, find_lists, read_list

__all__ = ["N_CLASSES", "TRAIN_LISTS", "load", "matches"]

N_CLASSES = 527
TRAIN_LISTS = ("balanced", "unbalanced", "all")
"""Official segments to train on."""

_CLASSES = "class_labels_indices.csv"
_SEGMENTS = {
    "balanced": "balanced_train_segments.csv",
    "unbalanced": "unbalanced_train_segments.csv",
    "test": "eval_segments.csv",
}
_LIST = ("video", "classes", "class_ids")


def matches(path: Path) -> bool:
    """True for a folder with official segments and their classes, or with published lists."""
    if not path.is_dir():
        return False
    official = (path / _CLASSES).is_file() and any((path / name).is_file() for name in _SEGMENTS.values())
    return official or bool(find_lists(path, _LIST))


def load(path: str | Path, *, train: str | None = None, audio: str | None = None) -> Manifest:
    """AudioSet as a manifest: label the names of the classes joined by ``;``, group the video.

    Parameters
    ----------
    path
        Folder of the tables.
    train
        What to train on: of the official segments one of :data:`TRAIN_LISTS`,
        by default the balanced ones where they are there; of several published
        lists the name of one, such as ``as500k_train``.
    audio
        Folder of the sounds, relative to ``path``.

    Raises
    ------
    ManifestError
        When a table lacks a column, names a class that the list of classes does not have, or counts classes
        otherwise than from 0 to 526; the message names the line.

    Notes
    -----
    A sound is looked for as ``ID_30_40.flac``, as published, and under the names
    of other tools: ``ID_30.000_40.000``, ``ID_30000_40000``, ``ID`` and ``YID``.
    The published code trains on class ids less 1, which makes the first class
    the last. Book page: ``playback_published``.
    """
    path = Path(path)
    sounds = SoundFolder(path, audio, ".flac")
    lists = choose_lists(path, find_lists(path, _LIST), train)
    rows: Any
    rows, lines = _published(path, lists, sounds) if lists else _official(path, train, sounds)
    source = next(iter(lists)) if lists else path / _CLASSES
    return Manifest(path, pd.DataFrame(rows, dtype=str), "audioset", source, tuple(lines))


def _official(path: Path, train: str | None, sounds: SoundFolder) -> tuple[dict[str, list[str]], list[int]]:
    tables = {name: path / file for name, file in _SEGMENTS.items() if (path / file).is_file()}
    if train is None:
        train = "balanced" if "balanced" in tables else "unbalanced"
    if train not in TRAIN_LISTS:
        raise ConfigError(f"train is {train!r}; it must be one of {', '.join(TRAIN_LISTS)}")
    subsets = [*(["balanced", "unbalanced"] if train == "all" else [train]), "test"]
    for name in subsets:
        if name not in tables:
            raise ManifestError(f"{path / _SEGMENTS[name]}: no such table; fetch it, or choose train differently")
    classes = _read_classes(path / _CLASSES)
    columns: dict[str, list[str]] = {name: [] for name in ("file_name", "label", "class_ids", "split", "group")}
    lines = []

    @cache  # millions of segments have some thousand combinations of classes, each one text
    def describe(mids: str) -> tuple[str, str]:
        each = [classes[mid] for mid in mids.split(",")]
        return SEPARATOR.join(label for _, label in each), SEPARATOR.join(str(index) for index, _ in each)

    for name in subsets:
        source = tables[name]
        for line, (video, *times, mids) in _read_segments(source):
            start, stop = (parse_number(text) for text in times)
            if start is None or stop is None or not 0 <= start < stop:
                raise ManifestError(
                    f"{source}:{line}: lasts from {times[0]} to {times[1]}; 0 <= start < stop is needed"
                )
            try:
                label, class_ids = describe(mids)
            except KeyError:
                unknown = ", ".join(mid for mid in mids.split(",") if mid not in classes)
                raise ManifestError(f"{source}:{line}: class {unknown} is not in {_CLASSES}") from None
            stems = (
                f"{video}_{int(start)}_{int(stop)}",
                f"{video}_{start:.3f}_{stop:.3f}",
                f"{video}_{round(start * 1000)}_{round(stop * 1000)}",
                video,
                f"Y{video}",
            )
            file_name = sounds.find(stems, (source.stem,))
            values = (file_name, label, class_ids, "test" if name == "test" else "train", video)
            for column, value in zip(columns.values(), values, strict=True):
                column.append(value)
            lines.append(line)
    return columns, lines


def _published(path: Path, lists: dict[Path, str], sounds: SoundFolder) -> tuple[list[dict[str, str]], list[int]]:
    names: dict[int, str] = {}
    if (path / _CLASSES).is_file():
        names = dict(_read_classes(path / _CLASSES).values())
    rows, lines = [], []
    for source, split in lists.items():
        table, numbers = read_list(source, _LIST)
        for line, video, classes, ids in zip(numbers, *(table[name] for name in _LIST), strict=True):
            labels, indices = (text.split(SEPARATOR) if text else [] for text in (classes, ids))
            if len(labels) != len(indices):
                raise ManifestError(f"{source}:{line}: {len(labels)} classes and {len(indices)} class_ids")
            for label, index in zip(labels, indices, strict=True):
                if not index.isdigit() or int(index) >= N_CLASSES:
                    raise ManifestError(
                        f"{source}:{line}: class id {index}; ids are from 0 to {N_CLASSES - 1}, count them from 0"
                    )
                previous = names.setdefault(int(index), label)
                if previous != label:
                    raise ManifestError(
                        f"{source}:{line}: class {index} is {label!r}, and elsewhere {previous!r}; "
                        "do all lists count classes from 0?"
                    )
            stem = Path(video).stem
            rows.append(
                {
                    "file_name": sounds.find((stem,), (source.stem,)),
                    "label": SEPARATOR.join(map(class_name, labels)),
                    "class_ids": ids,
                    "split": split,
                    "group": stem.rsplit("_", 2)[0],
                }
            )
            lines.append(line)
    return rows, lines


def _read_classes(source: Path) -> dict[str, tuple[int, str]]:
    """Index and name of each class by its identifier."""
    table, lines = read_list(source, ("index", "mid", "display_name"))
    for expected, (index, line) in enumerate(zip(table["index"], lines, strict=True)):
        if index != str(expected):
            raise ManifestError(
                f"{source}:{line}: index is {index}; classes are counted from 0, this one is {expected}"
            )
    return {
        mid: (index, class_name(name))
        for index, (mid, name) in enumerate(zip(table["mid"], table["display_name"], strict=True))
    }


def _read_segments(source: Path) -> Iterator[tuple[int, list[str]]]:
    """Line and four values of each segment: after comments, with a blank behind each comma."""
    is_empty = True
    with open(source, encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, skipinitialspace=True)
        for row in reader:
            if not row or row[0].startswith("#") or row[0] == "YTID":
                continue
            if len(row) != 4:
                raise ManifestError(f"{source}:{reader.line_num}: {len(row)} values; YTID, start, end and labels are 4")
            is_empty = False
            yield reader.line_num, [value.strip() for value in row]
    if is_empty:
        raise ManifestError(f"{source}: holds no segments")
