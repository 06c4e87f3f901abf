"""VoxCeleb in the layout in which it is distributed: ``wav/<speaker>/<video>/<clip>.wav``.

Label is the speaker, group the video, so that no recording stands on two
sides. Where ``veri_test.txt`` lies in the folder, its speakers are the test and
all others train, as published: the task is then verification, and the trials
are :func:`~audioattn_lib.data.lists.read_voxceleb_trials` of that file.

Nagrani et al., *VoxCeleb: a large-scale speaker identification dataset*,
Interspeech 2017. Book page: ``accents_published``.
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from audioattn_lib.core.errors import ManifestError

from ...audio.io import EXTENSIONS
from ..lists import read_voxceleb_trials
from ..manifest import Manifest

__all__ = ["TRIALS", "load", "matches"]

TRIALS = "veri_test.txt"
_SPEAKER = re.compile(r"id\d{5}")


def matches(path: Path) -> bool:
    """True when the folder, or ``wav`` in it, holds folders called ``id00000``."""
    return path.is_dir() and bool(_speakers(path))


def load(path: str | Path) -> Manifest:
    """VoxCeleb as a manifest: label and ``speaker`` the speaker, group the video.

    Raises
    ------
    ManifestError
        When there is no sound in the folders of the speakers, or a trial names a speaker that is not there.

    Notes
    -----
    Book page: ``accents_published``.
    """
    path = Path(path)
    rows = [
        {"file_name": file.relative_to(path).as_posix(), "label": speaker.name, "speaker": speaker.name}
        | {"group": f"{speaker.name}/{file.parent.name}"}
        for speaker in _speakers(path)
        for file in sorted(speaker.rglob("*"))
        if file.suffix.lower() in EXTENSIONS
    ]
    if not rows:
        other = {file.suffix for speaker in _speakers(path) for file in speaker.rglob("*") if file.is_file()}
        convert = " Convert .m4a files to .wav, for instance with ffmpeg." if ".m4a" in other else ""
        raise ManifestError(
            f"{path}: no sound below its speakers; they lie in <speaker>/<video>/<clip>.wav, and suffixes are "
            f"{', '.join(EXTENSIONS)}.{convert}"
        )
    table = pd.DataFrame(rows)
    if (path / TRIALS).is_file():
        pairs, _ = read_voxceleb_trials(path / TRIALS)
        tested = {name.split("/")[0] for pair in pairs for name in pair}
        unknown = sorted(tested - set(table["speaker"]))
        if unknown:
            raise ManifestError(f"{path / TRIALS}: speaker {', '.join(unknown[:5])} has no folder in {path}")
        table["split"] = ["test" if speaker in tested else "train" for speaker in table["speaker"]]
    return Manifest(path, table, path.resolve().name)


def _speakers(path: Path) -> list[Path]:
    for parent in (path / "wav", path):
        if parent.is_dir():
            folders = sorted(p for p in parent.iterdir() if p.is_dir() and _SPEAKER.fullmatch(p.name))
            if folders:
                return folders
    return []
