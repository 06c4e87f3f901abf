"""VGG-Sound: ten seconds of a web video with one of 309 classes, by the official table or by the published lists.

Official: ``vggsound.csv``, without column names: video, second, class, split.
Published: lists with the columns video, class and class_id, ``train.csv`` and
``test.csv`` in the folder or in ``data``, which ``audioattn data convert`` makes
of pickled ones. Sounds are WAV files in a folder for each class, or all in one,
in the folder or in ``audio`` or ``wav``.

Chen et al., *VGGSound: a large-scale audio-visual dataset*, ICASSP 2020. Book
page: ``playback_published``.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd

from audioattn_lib.core.errors import ManifestError
from audioattn_lib.data.manifest import Manifest

from ._lists import SoundFolder, choose_lists, class_name, find_lists, read_list

__all__ = ["N_CLASSES", "load", "matches"]

N_CLASSES = 309

_TABLE = "vggsound.csv"
_LIST = ("video", "class", "class_id")
_SPLITS = ("train", "test")
_SECONDS = 10


def matches(path: Path) -> bool:
    """True for a folder with ``vggsound.csv`` or with published lists."""
    return path.is_dir() and ((path / _TABLE).is_file() or bool(find_lists(path, _LIST)))


def load(path: str | Path, *, audio: str | None = None) -> Manifest:
    """VGG-Sound as a manifest: label the class, the official split, group the video.

    Parameters
    ----------
    path
        Folder of the tables.
    audio
        Folder of the sounds, relative to ``path``.

    Raises
    ------
    ManifestError
        When a table lacks a column, or counts classes otherwise than from 0 to 308; the message names the line.

    Notes
    -----
    A sound is looked for as ``ID_000030.wav``, then as ``ID_30_40``, ``ID_30`` and ``ID``,
    in the folder of the sounds and in that of its class there. Book page:
    ``playback_published``.
    """
    path = Path(path)
    sounds = SoundFolder(path, audio, ".wav")
    lists = choose_lists(path, find_lists(path, _LIST), None)
    rows, lines = _published(lists, sounds) if lists else _official(path / _TABLE, sounds)
    source = next(iter(lists)) if lists else path / _TABLE
    return Manifest(path, pd.DataFrame(rows, dtype=str), "vggsound", source, tuple(lines))


def _official(source: Path, sounds: SoundFolder) -> tuple[list[dict[str, str]], list[int]]:
    rows, lines = [], []
    with open(source, encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        for row in reader:
            line = reader.line_num
            if not row:
                continue
            if len(row) != 4:
                raise ManifestError(f"{source}:{line}: {len(row)} values; video, second, class and split are 4")
            video, second, label, split = (value.strip() for value in row)
            if not second.isdigit():
                raise ManifestError(f"{source}:{line}: second is {second!r}; it must be a whole number from 0")
            if split not in _SPLITS:
                raise ManifestError(f"{source}:{line}: split is {split!r}; it must be one of {', '.join(_SPLITS)}")
            stems = (
                f"{video}_{int(second):06d}",
                f"{video}_{int(second)}_{int(second) + _SECONDS}",
                f"{video}_{int(second)}",
                video,
            )
            rows.append(_row(sounds.find(stems, (label, split)), label, split, video))
            lines.append(line)
    return rows, lines


def _published(lists: dict[Path, str], sounds: SoundFolder) -> tuple[list[dict[str, str]], list[int]]:
    names: dict[int, str] = {}
    rows, lines = [], []
    for source, split in lists.items():
        table, numbers = read_list(source, _LIST)
        for line, video, label, index in zip(numbers, *(table[name] for name in _LIST), strict=True):
            if not index.isdigit() or int(index) >= N_CLASSES:
                raise ManifestError(
                    f"{source}:{line}: class_id is {index}; ids are from 0 to {N_CLASSES - 1}, count them from 0"
                )
            previous = names.setdefault(int(index), label)
            if previous != label:
                raise ManifestError(f"{source}:{line}: class {index} is {label!r}, and elsewhere {previous!r}")
            stem = Path(video).stem
            rows.append(_row(sounds.find((stem,), (label, split)), label, split, stem[: stem.rfind("_")]))
            lines.append(line)
    return rows, lines


def _row(file_name: str, label: str, split: str, group: str) -> dict[str, str]:
    return {"file_name": file_name, "label": class_name(label), "split": split, "group": group}
