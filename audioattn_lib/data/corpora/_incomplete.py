"""Incomplete corpora: detection of the missing part, and the command or file that completes it.

Book page: ``data``.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

from .video._lists import header_of, list_folders

__all__ = ["name_missing", "unconverted_lists"]

_LIST = re.compile(r"(as\w+_train|train|test|val|valid|validation|EPIC_100_\w+)(_\w+)?", re.IGNORECASE)
_FOLD = re.compile(r"fold[ _-]?\d+", re.IGNORECASE)
_ESC = re.compile(r"\d-\d+-[A-Z]-\d+\.wav")
_SLEEPINESS = re.compile(r"(train|devel|test)_\d+\.wav")


def unconverted_lists(path: Path) -> str:
    """Return the command that converts the pickled lists of a corpus, ``""`` if none is needed."""
    lists = [
        file
        for folder in list_folders(path)
        for file in sorted(folder.glob("*.pkl"))
        if _LIST.fullmatch(file.stem) and not file.with_suffix(".csv").is_file()
    ]
    return f"audioattn data convert {shlex.join(map(str, lists))}" if lists else ""


def name_missing(path: Path) -> str:
    """Describe the missing parts of an incomplete corpus, and the remedy; ``""`` if no corpus is recognised."""
    return next(filter(None, (check(path) for check in _PARTS)), "") if path.is_dir() else ""


def _pickled(path: Path) -> str:
    command = unconverted_lists(path)
    if not command:
        return ""
    return f"its published lists are pickles, which are not read. Convert them once: {command}"


def _urbansound8k(path: Path) -> str:
    for parent in (path / "audio", path):
        folds = _folders(parent, _FOLD)
        if folds:
            return (
                f"{', '.join(folds[:3])}{' ...' if len(folds) > 3 else ''} look like folds, not classes, and there is "
                "no table. Put metadata/UrbanSound8K.csv of the distribution here, or a metadata.csv of your own"
            )
    return ""


def _esc(path: Path) -> str:
    if not _files(path / "audio", _ESC):
        return ""
    return "has the sounds of ESC-50 and no table. Put meta/esc50.csv of the distribution here"


def _sleepiness(path: Path) -> str:
    if _files(path / "wav", _SLEEPINESS):
        return (
            "has the sounds of Continuous Sleepiness and no labels. Put lab/labels.csv of the distribution here, or "
            f"name the table: {path.name}?labels=path/to/labels.csv"
        )
    if (path / "lab" / "labels.csv").is_file():
        return "has the labels of Continuous Sleepiness and no sounds. Put the folder wav of the distribution here"
    return ""


def _common_voice(path: Path) -> str:
    if not (path / "clips").is_dir() or not any(path.glob("*.tsv")):
        return ""
    return "has clips and tables of Common Voice and no validated.tsv. Unpack the whole archive of the language"


def _voxceleb(path: Path) -> str:
    if not (path / "veri_test.txt").is_file():
        return ""
    return "has veri_test.txt and no speakers. Put the sounds here, wav/id10001/<video>/00001.wav and so on"


def _tau_urban(path: Path) -> str:
    if not {"filename", "scene_label"} <= set(_tabbed_header(path / "meta.csv")):
        return ""
    return (
        "has meta.csv of TAU Urban Acoustic Scenes and no evaluation_setup/fold1_train.csv. Unpack the archive "
        "with the names ...meta.zip here"
    )


def _nsynth(path: Path) -> str:
    for flat, nested in (("train.json", "nsynth-train"), ("valid.json", "nsynth-valid")):
        if (path / flat).is_file() or (path / nested / "examples.json").is_file():
            other = "valid" if flat == "train.json" else "train"
            return (
                f"has one part of NSynth. Unpack nsynth-{other}.jsonwav.tar.gz here too: training needs train and "
                "valid notes"
            )
    return ""


def _audioset(path: Path) -> str:
    segments = sorted(file.name for file in path.glob("*_segments.csv"))
    if segments:
        return f"has {', '.join(segments)} of AudioSet and no class names. Put class_labels_indices.csv here"
    if {"index", "mid", "display_name"} <= set(header_of(path / "class_labels_indices.csv")):
        return (
            "has class_labels_indices.csv of AudioSet and no segments. Put balanced_train_segments.csv and "
            "eval_segments.csv here"
        )
    return ""


def _epic_kitchens(path: Path) -> str:
    names = ("EPIC_100_train.csv", "EPIC_100_validation.csv")
    for folder in (path, path / "annotations"):
        missing = [name for name in names if not (folder / name).is_file()]
        if len(missing) == 1:
            return f"has one list of EPIC-KITCHENS-100. Put {missing[0]} beside it"
    return ""


_PARTS: tuple[Callable[[Path], str], ...] = (
    _pickled,
    _urbansound8k,
    _esc,
    _sleepiness,
    _common_voice,
    _voxceleb,
    _tau_urban,
    _nsynth,
    _audioset,
    _epic_kitchens,
)


def _folders(path: Path, pattern: re.Pattern[str]) -> list[str]:
    """Names of all folders in one where all of them fit, else none."""
    names = sorted(child.name for child in path.iterdir() if child.is_dir()) if path.is_dir() else []
    names = [name for name in names if not name.startswith(".")]
    return names if all(pattern.fullmatch(name) for name in names) else []


def _files(path: Path, pattern: re.Pattern[str]) -> bool:
    """True when the first sounds in a folder have names like these."""
    sounds = sorted(path.glob("*.wav"))[:10] if path.is_dir() else []
    return bool(sounds) and all(pattern.fullmatch(file.name) for file in sounds)


def _tabbed_header(source: Path) -> tuple[str, ...]:
    return tuple(name for column in header_of(source) for name in column.split("\t"))
