"""The corpus of the chapter on urban sounds: log-mel features, classes or labels, test folds.

Book page: ``urban_sound``.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from audioattn_lib.data.loading.store import StoredType
from audioattn_lib.data.splits import Split, choose_folds, fold_names

from ..common.corpus import PreparedCorpus, load_checked
from ..common.frames.averaged import AveragedFrames
from .config import MEL, Config
from .network import build_front_end

__all__ = ["Prepared", "prepare"]


@dataclass(frozen=True, repr=False)
class Prepared(PreparedCorpus):
    """A corpus ready for training."""

    def split(self, config: Any) -> Split:
        """Rows that train, choose the epoch and test: of the listed folds, or of the protocol."""
        if not (config.train_folds or config.valid_folds or config.test_folds):
            return super().split(config)
        tested = config.test_folds or (config.fold,)
        chooses = config.valid_folds or (tested if config.protocol == "published" else ())
        return choose_folds(self.manifest, config.train_folds, chooses, tested, config.seed)

    def describe(self) -> str:
        """The corpus in two sentences."""
        table, manifest = self.manifest.table, self.manifest
        minutes = float(np.sum(manifest.durations)) / 60
        text = f"**{manifest.name}**: {len(manifest)} clips, {minutes:.0f} minutes, {len(manifest.classes)} classes"
        folds = len(fold_names(manifest))
        text += f", {folds} test fold{'s' if folds != 1 else ''}, "
        text += f"{table['group'].nunique()} recordings." if "group" in table else "recordings unknown."
        if self.manifest.name == "city":
            text += " Every sound is synthetic, made by this library, and the time of every event is known."
        elif "event_onsets" in table:
            text += " The times of events are known."
        else:
            text += " The times of events are not known, so only deletion and insertion can be measured."
        return text


def prepare(config: Config) -> Prepared:
    """Load and check the corpus, and compute its features once; both are kept for the next call."""
    fields = ("data", "sample_rate", "n_mels", "frame_encoder", "frame_layer", "frame_step", "skip_bad_clips", "device")
    return _prepare(Config(**config.select(*fields)))


@lru_cache(maxsize=4)
def _prepare(config: Config) -> Prepared:
    manifest = load_checked(config.data, skip_bad_clips=config.skip_bad_clips)
    front_end = build_front_end(config)
    if not isinstance(front_end, AveragedFrames):
        stored: StoredType = "float32" if config.frame_encoder == MEL else "float16"
        return Prepared.make(manifest, front_end, config, stored=stored)
    prepared = Prepared.make(manifest, front_end.frames, config, stored="float16")
    return dataclasses.replace(prepared, front_end=front_end, store=front_end.average(prepared.store))
