"""Corpora by name or by path: every distribution becomes a manifest.

A corpus module maps the layout in which a corpus is distributed to the table
of :mod:`audioattn_lib.data.manifest` and does nothing else.

Book page: ``data``.
"""

from __future__ import annotations

import dataclasses
import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from audioattn_lib.core.errors import ConfigError, ManifestError

from ..manifest import Manifest
from . import (
    common_voice,
    esc,
    folder,
    label_lists,
    mixtures,
    nsynth,
    sleepiness,
    synthetic,
    tau_urban,
    urbansound8k,
    voxceleb,
)
from ._incomplete import name_missing
from .synthetic import SYNTHETIC
from .video import audioset, epic_kitchens, vggsound

__all__ = ["DATA_VARIABLE", "LAYOUTS", "SYNTHETIC", "Layout", "available", "load"]

DATA_VARIABLE = "AUDIOATTN_DATA"
"""Environment variable with the folder in which corpora are looked for by name."""


@dataclass(frozen=True)
class Layout:
    """Layout of a corpus on disk.

    Parameters
    ----------
    title, description
        For people.
    matches
        Whether a folder is laid out like this.
    load
        From the folder to the manifest; further options are those of the layout.
    """

    title: str
    description: str
    matches: Callable[[Path], bool]
    load: Callable[..., Manifest]


LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        "urbansound8k": Layout(
            "UrbanSound8K",
            "10 city sounds in 10 folds (Salamon et al., 2014)",
            urbansound8k.matches,
            urbansound8k.load,
        ),
        "esc": Layout("ESC-50 and ESC-10", "50 or 10 everyday sounds in 5 folds (Piczak, 2015)", esc.matches, esc.load),
        "sleepiness": Layout(
            "ComParE 2019 Continuous Sleepiness",
            "sleepiness from 1 to 9 in three splits (Schuller et al., 2019)",
            sleepiness.matches,
            sleepiness.load,
        ),
        "common_voice": Layout(
            "Common Voice", "accents of one language (Ardila et al., 2020)", common_voice.matches, common_voice.load
        ),
        "voxceleb": Layout("VoxCeleb", "speakers by video (Nagrani et al., 2017)", voxceleb.matches, voxceleb.load),
        "tau_urban": Layout(
            "TAU Urban Acoustic Scenes 2020 Mobile",
            "10 scenes by seen and unseen devices (Heittola et al., 2020)",
            tau_urban.matches,
            tau_urban.load,
        ),
        "audioset": Layout(
            "AudioSet",
            "527 classes of web videos, several a clip (Gemmeke et al., 2017)",
            audioset.matches,
            audioset.load,
        ),
        "vggsound": Layout(
            "VGG-Sound", "309 classes of web videos (Chen et al., 2020)", vggsound.matches, vggsound.load
        ),
        "epic_kitchens": Layout(
            "EPIC-KITCHENS-100",
            "actions in kitchens, of 97 verbs and 300 nouns (Damen et al., 2022)",
            epic_kitchens.matches,
            epic_kitchens.load,
        ),
        "nsynth": Layout("NSynth", "notes of 10 families, by source (Engel et al., 2017)", nsynth.matches, nsynth.load),
        "label_lists": Layout(
            "Lists of labels", "path class -1 on every line (India et al., 2021)", label_lists.matches, label_lists.load
        ),
        "folder": Layout(
            "Folder of sounds",
            "a metadata.csv, a folder for each class, or sounds without labels",
            folder.matches,
            folder.load,
        ),
    }
)
"""Layouts in the order in which they are tried."""

_MIXTURES = "Mixtures: recorded events at known times over backgrounds, mixtures?events=CORPUS&backgrounds=CORPUS"

_OWN = "folder"
"""Layout that takes any sounds, so that parts of the others are looked for before it."""


def load(
    name_or_path: str | Path, cache: str | Path | None = None, *, accept_truncated: bool = False, **options: Any
) -> Manifest:
    """Load a corpus.

    Parameters
    ----------
    name_or_path
        ``"city"``, ``"voices"``, ``"accents"``, ``"needles"`` or ``"orchestra"``,
        which are made on first use; or ``"mixtures"``, made of other corpora; or the path of a folder, table or
        sound; or the name of a folder in the folder
        that the environment variable ``AUDIOATTN_DATA`` names, in capitals or not; or a name out of
        :data:`LAYOUTS` where one folder in there is laid out so.
    cache
        Where corpora that are made are kept; the cache of the library by default.
    accept_truncated
        Take what is there of sounds that were cut off, of any corpus on disk; by default they are errors.
    options
        Options of the corpus: of ``city`` those of
        :class:`~audioattn_lib.data.synthetic.city.CityOptions`, of the
        others and of ``mixtures`` likewise, of a folder ``group``, ``label`` and ``labels``, of ESC ``subset``, of
        Common Voice ``accents``, of EPIC-KITCHENS ``label``, of lists of labels ``train``, ``dev`` and ``test``. Of any
        corpus on disk ``fold`` or ``split``, the column that divides it, and ``classes``, those to keep, joined by
        commas.

    Raises
    ------
    ConfigError
        When there is no such corpus, or it has no such option.
    ManifestError
        When its table cannot be used, or only a part of a known layout is there; the message says what completes it.

    Notes
    -----
    Book page: ``data``.
    """
    name = str(name_or_path)
    if not isinstance(accept_truncated, bool):
        raise ConfigError(f"accept_truncated is {accept_truncated!r}; it must be True or False")
    if name in SYNTHETIC:
        return synthetic.load(name, cache, **options)
    if name == mixtures.NAME:

        def load_source(source: str) -> Manifest:
            return load(source, cache, **({} if source in SYNTHETIC else {"accept_truncated": accept_truncated}))

        return mixtures.load(cache, load_source, **options)
    path = _find(name)
    layout, missing = (LAYOUTS[_OWN], "") if "labels" in options else _recognise(path)
    if layout is None:
        if missing:
            raise ManifestError(f"{path}: {missing}")
        tried = "; ".join(f"{layout.title}: {layout.description}" for layout in LAYOUTS.values())
        raise ManifestError(f"{path}: no known layout. Known are: {tried}. Add a metadata.csv with file_name and label")
    own = inspect.signature(layout.load).parameters  # a layout may have an option of the same name
    selection = {
        name: options.pop(name) for name in ("fold", "split", "classes") if name in options and name not in own
    }
    try:
        manifest = dataclasses.replace(layout.load(path, **options), accept_truncated=accept_truncated)
    except TypeError as error:
        if "unexpected keyword" not in str(error):
            raise
        raise ConfigError(f"{layout.title} has no such option: {', '.join(options)} ({error})") from None
    return _select(manifest, **selection)


def _select(manifest: Manifest, *, fold: Any = None, split: Any = None, classes: Any = None) -> Manifest:
    """A corpus divided by a column of its own, with some of its classes."""
    if fold is not None and split is not None:
        raise ConfigError(f"fold is {fold!r} and split is {split!r}; name one column that divides the corpus")
    for name, column in (("fold", fold), ("split", split)):
        if column is not None:
            manifest = manifest.with_column(name, str(column))
    if classes is None:
        return manifest
    listed = classes.split(",") if isinstance(classes, str) else classes if isinstance(classes, tuple) else [classes]
    return manifest.of_classes([str(name).strip() for name in listed if str(name).strip()])


def available() -> pd.DataFrame:
    """Corpora that can be loaded by name: columns ``name``, ``description`` and ``where``.

    Notes
    -----
    Book page: ``data``.
    """
    rows = [
        {"name": name, "description": description, "where": "made on first use"}
        for name, description in SYNTHETIC.items()
    ]
    rows.append({"name": mixtures.NAME, "description": _MIXTURES, "where": "made of the corpora in its options"})
    root = os.environ.get(DATA_VARIABLE)
    if root and Path(root).is_dir():
        for path in sorted(Path(root).iterdir()):
            layout, missing = _recognise(path) if path.is_dir() else (None, "")
            description = f"incomplete, see audioattn data check {path.name}" if missing else layout and layout.title
            if description:
                rows.append({"name": path.name, "description": description, "where": str(path)})
    return pd.DataFrame(rows, columns=["name", "description", "where"])


def _recognise(path: Path) -> tuple[Layout | None, str]:
    """The layout of a path, and what is missing where only a part of a known one is there."""
    for name, layout in LAYOUTS.items():
        if name == _OWN:
            missing = "" if (path / folder.TABLE).is_file() else name_missing(path) or _name_inner(path)
            if missing:
                return None, missing
        if layout.matches(path):
            return layout, ""
    return None, ""


def _name_inner(path: Path) -> str:
    """Name the corpus folder inside ``path``, as the end of an error message; ``""`` if there is none."""
    for child in sorted(path.iterdir()) if path.is_dir() else ():
        for name, layout in LAYOUTS.items():
            if name != _OWN and child.is_dir() and layout.matches(child):
                return f"is no corpus itself and holds one, {layout.title}: give {child}"
    return ""


def _find(name: str) -> Path:
    """A path, or a folder below that of the corpora: by its name, however it is written, or by its layout."""
    path = Path(name).expanduser()
    if path.exists():
        return path
    root = os.environ.get(DATA_VARIABLE)
    if root and Path(root).is_dir():
        if (Path(root) / name).exists():
            return Path(root) / name
        folders = sorted(child for child in Path(root).iterdir() if child.is_dir())
        inner = (child for folder in folders for child in sorted(folder.iterdir()) if child.is_dir())
        for matches in (
            [child for child in folders if _plain(child.name) == _plain(name)],
            [child for child in folders if name in LAYOUTS and LAYOUTS[name].matches(child)],
            [child for child in inner if child.name == name],
        ):
            if len(matches) == 1:
                return matches[0]
            if matches:
                listed = ", ".join(str(child.relative_to(root)) for child in matches)
                raise ConfigError(f"corpus {name!r} may be any of {listed} in {root}; name one of these")
    looked = f"; nor is it in {root} ({DATA_VARIABLE})" if root else f"; {DATA_VARIABLE} is not set"
    corpora = ", ".join(available()["name"])
    raise ConfigError(f"no corpus {name!r}: it is neither a path nor one of {corpora}{looked}")


def _plain(name: str) -> str:
    """A name without capitals, blanks and marks: ``UrbanSound8K`` and ``urbansound8k`` are one."""
    return "".join(character for character in name.lower() if character.isalnum())
