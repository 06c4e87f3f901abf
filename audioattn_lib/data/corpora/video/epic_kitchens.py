"""EPIC-KITCHENS-100: actions in hours of kitchen sounds, each a verb of 97 and a noun of 300.

``EPIC_100_train.csv`` and ``EPIC_100_validation.csv`` as distributed (or made
of the pickled lists by ``audioattn data convert``), beside one HDF5 file with
an array of samples for each video, or ``audio`` with a file for each.

Damen et al., *Rescaling egocentric vision: collection, pipeline and challenges
for EPIC-KITCHENS-100*, IJCV 2022. Book page: ``playback_published``.
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from audioattn_lib.audio.io import EXTENSIONS
from audioattn_lib.core.errors import ConfigError, ManifestError
from audioattn_lib.data.manifest import Manifest

from ._lists import class_name, read_list

__all__ = [
    "LABELS",
    "TASKS",
    "load",
    "matches",
]

TASKS = {"verb": 97, "noun": 300}
"""Classes of each task."""
LABELS = ("verb", "noun", "action")
"""Kinds of label; an action is a verb and a noun."""

_LISTS = {"train": "EPIC_100_train.csv", "test": "EPIC_100_validation.csv"}
_COLUMNS = ("participant_id", "video_id", "start_timestamp", "stop_timestamp", "verb_class", "noun_class")
_TIME = re.compile(r"(\d+):([0-5]\d):([0-5]\d(?:\.\d+)?)")


def matches(path: Path) -> bool:
    """True for a folder with both lists, or with ``annotations`` that has them."""
    return path.is_dir() and _folder(path) is not None


def load(path: str | Path, *, label: str = "verb", audio: str | None = None) -> Manifest:
    """EPIC-KITCHENS-100 as a manifest: a clip for each action, group the video, columns for both tasks.

    Parameters
    ----------
    path
        Folder of the lists, or of ``annotations``.
    label
        One of :data:`LABELS`.
    audio
        HDF5 file or folder of the sounds, relative to ``path``; by default the
        only HDF5 file there is, else ``audio``.

    Raises
    ------
    ManifestError
        When a list lacks a column, a time cannot be read or a class is out of range; the message names the line.

    Notes
    -----
    The validation videos are the test, as published: labels of the test videos
    are held back. Classes are called as in ``EPIC_100_verb_classes.csv`` and
    ``EPIC_100_noun_classes.csv`` where these are there, and otherwise by their
    numbers. Book page: ``playback_published``.
    """
    if label not in LABELS:
        raise ConfigError(f"label is {label!r}; it must be one of {', '.join(LABELS)}")
    path = Path(path)
    lists = _folder(path)
    if lists is None:
        raise ManifestError(f"{path}: has no {' and '.join(_LISTS.values())}")
    audio_folder = _find_audio(path, audio)
    names = {task: _read_names(lists / f"EPIC_100_{task}_classes.csv") for task in TASKS}
    rows: list[dict[str, str]] = []
    lines: list[int] = []
    files: dict[str, str] = {}
    for split, name in _LISTS.items():
        source = lists / name
        table, numbers = read_list(source, _COLUMNS)
        for line, (person, video, start, stop, verb, noun) in zip(numbers, table[list(_COLUMNS)].values, strict=True):
            called = {}
            for task, index in (("verb", verb), ("noun", noun)):
                if not index.isdigit() or int(index) >= TASKS[task]:
                    raise ManifestError(
                        f"{source}:{line}: {task}_class is {index}; it must be from 0 to {TASKS[task] - 1}"
                    )
                called[task] = names[task].get(int(index), index)
            called["action"] = f"{called['verb']} {called['noun']}"
            times = [_seconds(text) for text in (start, stop)]
            if None in times or not times[0] < times[1]:  # type: ignore[operator]
                raise ManifestError(
                    f"{source}:{line}: lasts from {start!r} to {stop!r}; "
                    "hours:minutes:seconds and start < stop are needed"
                )
            if video not in files:
                files[video] = _sound(path, audio_folder, video)
            rows.append(
                {
                    "file_name": files[video],
                    "label": called[label],
                    "split": split,
                    "group": video,
                    "start": f"{times[0]:.9g}",
                    "stop": f"{times[1]:.9g}",
                    "verb": called["verb"],
                    "noun": called["noun"],
                    "verb_class": verb,
                    "noun_class": noun,
                    "participant_id": person,
                }
            )
            lines.append(line)
    return Manifest(path, pd.DataFrame(rows, dtype=str), "epic_kitchens", lists / _LISTS["train"], tuple(lines))


def _folder(path: Path) -> Path | None:
    for folder in (path, path / "annotations"):
        if all((folder / name).is_file() for name in _LISTS.values()):
            return folder
    return None


def _find_audio(path: Path, audio: str | None) -> Path:
    if audio is not None:
        if not (path / audio).exists():
            raise ManifestError(f"{path / audio}: no such HDF5 file or folder of sounds")
        return Path(audio)
    files = sorted(file for suffix in ("*.hdf5", "*.h5") for file in path.glob(suffix))
    if len(files) > 1:
        raise ManifestError(f"{path}: several HDF5 files; name one with audio: {', '.join(f.name for f in files)}")
    if files:
        return Path(files[0].name)
    if (path / "audio").is_dir():
        return Path("audio")
    raise ManifestError(f"{path}: no HDF5 file and no folder audio; name the sounds with audio")


def _sound(path: Path, audio_folder: Path, video: str) -> str:
    if (path / audio_folder).is_file():
        return (audio_folder / video).as_posix()
    names = (video + suffix for suffix in EXTENSIONS)
    return (
        audio_folder / next((name for name in names if (path / audio_folder / name).is_file()), f"{video}.wav")
    ).as_posix()


def _read_names(source: Path) -> dict[int, str]:
    if not source.is_file():
        return {}
    table, _ = read_list(source, ("id", "key"))
    return {int(index): class_name(key) for index, key in zip(table["id"], table["key"], strict=True)}


def _seconds(text: str) -> float | None:
    match = _TIME.fullmatch(text)
    return None if match is None else int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3])
