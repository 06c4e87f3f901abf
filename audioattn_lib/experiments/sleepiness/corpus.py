"""Spectrograms of a corpus whose labels are numbers, in decibels with their whole range.

What a network sees of that range is a threshold: one transform serves all of
them, see :class:`audioattn_lib.audio.features.scaling.DecibelScaling`.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from audioattn_lib.audio.features.log_mel import LogMel
from audioattn_lib.audio.features.scaling import DecibelScaling
from audioattn_lib.core.errors import ConfigError, ManifestError
from audioattn_lib.core.files import sync, write_whole
from audioattn_lib.data.manifest import Manifest
from audioattn_lib.data.splits import Split, split_clips
from audioattn_lib.data.tables.feature_table import FeatureTable

from ..common.corpus import PreparedCorpus, load_checked
from .config import SPECTROGRAM, Config
from .network import build_front_end

__all__ = ["Prepared", "compute_spectrograms", "prepare", "write_spectrograms"]

log = logging.getLogger("audioattn")


@dataclass(frozen=True, repr=False)
class Prepared(PreparedCorpus):
    """A corpus ready for training: clips, their spectrograms in decibels, and which of them train and test.

    Targets are the labels as numbers, NaN where unknown.

    Parameters
    ----------
    fixed_split
        Rows of the clips that train, validate and test.
    """

    fixed_split: Split

    def split(self, config: Any) -> Split:
        """Rows that train, validate and test: the same for all configurations of this corpus."""
        return self.fixed_split

    @property
    def values(self) -> NDArray[np.float64]:
        """Label of each clip as a number, NaN where unknown."""
        return self.targets.numpy()

    def describe(self) -> str:
        """The corpus in two sentences."""
        manifest, scale = self.manifest, self.values[self.manifest.has_label]
        minutes = float(np.sum(manifest.durations)) / 60
        split = self.fixed_split
        counts = f"{len(split.train)} train, {len(split.valid)} validate, {len(split.test)} test"
        text = f"**{manifest.name}**: {len(manifest)} clips, {minutes:.0f} minutes ({counts}), "
        text += f"{self.who}, " + (f"labels from {scale.min():g} to {scale.max():g}." if len(scale) else "no labels.")
        missing = {name: int((~np.isfinite(self.values[rows])).sum()) for name, rows in self.parts.items()}
        counted = [f"{count} of {len(self.parts[name])} {name} clips" for name, count in missing.items() if count]
        if counted:
            text += f" No label is known of {', '.join(counted)}: they are predicted and not scored."
        if manifest.name == "voices":
            text += " Every voice is synthetic, made by this library, and how tired it is is known."
        return text

    @property
    def parts(self) -> dict[str, NDArray[np.int64]]:
        """Rows of the clips by the name of their part."""
        return {"train": self.fixed_split.train, "devel": self.fixed_split.valid, "test": self.fixed_split.test}

    def scaling(self, top_db: float, level: str) -> DecibelScaling:
        """From decibels to [-1, 1]; the level of a ``"corpus"`` is that of its training clips, else of each clip."""
        if level == "clip":
            return DecibelScaling(top_db)
        return DecibelScaling(top_db, max(float(self.store[int(row)].max()) for row in self.fixed_split.train))

    def sounds(self, names: Sequence[str], count: int = 16) -> dict[str, tuple[NDArray[np.float32], int]]:
        """Samples and rate of some of these clips, evenly spaced along their labels; of any where no label is known."""
        place = {name: row for row, name in enumerate(self.manifest.ids)}
        labelled = [name for name in names if np.isfinite(self.values[place[name]])]
        ordered = sorted(labelled, key=lambda name: float(self.values[place[name]])) or list(names)
        spread = np.unique(np.linspace(0, len(ordered) - 1, min(count, len(ordered))).round().astype(int))
        return {ordered[i]: self.manifest.read_audio(place[ordered[i]], self.front_end.sample_rate) for i in spread}

    def table(self, features: NDArray[np.float32]) -> FeatureTable:
        """Features of all clips, in the order of the manifest, with names, labels and parts."""
        splits = np.full(len(self.manifest), "", dtype=object)
        for name, rows in self.parts.items():
            splits[rows] = name
        table = FeatureTable.from_manifest(self.manifest, features)
        return dataclasses.replace(table, splits=tuple(splits))


def prepare(config: Config) -> Prepared:
    """Load and check a corpus with numbers as labels, and compute its spectrograms; both are kept for the next call.

    Raises
    ------
    ManifestError
        When clips are shorter than one window, labels are no numbers, or speakers cross parts; it names them.
    """
    return _prepare(Config(**config.select(*SPECTROGRAM, "device")))


@lru_cache(maxsize=4)
def _prepare(config: Config) -> Prepared:
    front_end = build_front_end(config)
    manifest = _clips(config, front_end)
    values, split = torch.as_tensor(manifest.label_values()), split_clips(manifest, "first")
    return Prepared.make(manifest, front_end, config, values, stored=config.stored, fixed_split=split)


def compute_spectrograms(config: Config) -> PreparedCorpus:
    """Compute the spectrograms of a corpus whose labels and parts do not matter.

    Parameters
    ----------
    config
        Its fields :data:`~audioattn_lib.experiments.sleepiness.config.SPECTROGRAM`, and the device, matter.

    Raises
    ------
    ManifestError
        When clips are shorter than one window; it names them.
    """
    front_end = build_front_end(config)
    manifest = _clips(config, front_end)
    unknown = torch.full((len(manifest),), torch.nan, dtype=torch.float64)
    return PreparedCorpus.make(manifest, front_end, config, unknown, stored=config.stored)


def write_spectrograms(prepared: PreparedCorpus, folder: Path) -> int:
    """Write each spectrogram as ``<clip>.npy``, ``(frames, bands)`` in decibels, and ``metadata.csv``; return how many.

    Parameters
    ----------
    prepared
        As from :func:`compute_spectrograms`.
    folder
        Which must not exist or be empty.

    Raises
    ------
    ConfigError
        When the folder is not empty.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"{folder} is not empty; name a folder that does not exist yet")
    manifest, store = prepared.manifest, prepared.store
    kept = [name for name in ("label", "split", "fold", "group", "speaker") if name in manifest.table]
    table = manifest.table[kept].copy()
    inside = [[name for name in PurePosixPath(name).parts if name not in ("..", "/")] for name in manifest.ids]
    table.insert(0, "file_name", [f"{'/'.join(parts)}.npy" for parts in inside])
    table["frames"] = store.n_frames
    table["seconds_between_frames"] = prepared.clock.period
    for row, name in enumerate(table["file_name"]):
        with write_whole(folder / name, durable=False) as temporary:
            np.save(temporary, store[row].numpy(), allow_pickle=False)
    sync()
    with write_whole(folder / "metadata.csv") as temporary:  # the last one: where it is, the arrays are
        table.to_csv(temporary, index=False, lineterminator="\n")
    return len(table)


def _clips(config: Config, front_end: LogMel) -> Manifest:
    manifest = load_checked(config.data, skip_bad_clips=config.skip_bad_clips, needs_classes=False)
    return _long_enough(manifest, front_end.n_fft / front_end.sample_rate, config.skip_bad_clips)


def _long_enough(manifest: Manifest, seconds: float, skip: bool) -> Manifest:
    """The clips that fill a window; shorter ones are an error, or left out."""
    short = np.flatnonzero(manifest.durations < seconds)
    if not len(short):
        return manifest
    names = ", ".join(manifest.ids[row] for row in short[:5]) + (" ..." if len(short) > 5 else "")
    problem = f"{len(short)} clips are shorter than one window of {seconds:.3g} s: {names}"
    if not skip:
        raise ManifestError(f"{manifest.name}: {problem}. Leave them out with skip_bad_clips, or lower n_fft")
    log.warning("%s: %s; they are left out", manifest.name, problem)
    return manifest.subset(np.setdiff1d(np.arange(len(manifest)), short))
