"""Corpus of the study on mixtures: frames in memory, shares of the clips that events fill.

Book page: ``mixtures_results``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from audioattn_lib.audio.features.log_mel import LogMel
from audioattn_lib.core.errors import ManifestError
from audioattn_lib.data.loading.arrays import ArrayStore

from ..common.corpus import PreparedCorpus, load_checked
from ..common.frames.encoder import PretrainedFrames
from ..common.frames.windowed import WindowedFrames
from .config import MEL, Config
from .network import Whitening

__all__ = ["Prepared", "prepare", "whiten"]


@dataclass(frozen=True)
class Prepared(PreparedCorpus):
    """A corpus ready for training."""

    @cached_property
    def shares(self) -> NDArray[np.float64]:
        """Share of each clip in which an event sounds, shape ``(clips,)``."""
        shares = np.zeros(len(self.manifest))
        for row, duration in enumerate(self.manifest.durations):
            end = 0.0
            for event in self.manifest.events(row):  # in order of their onsets
                shares[row] += max(event.offset - max(event.onset, end), 0.0) / duration
                end = max(end, event.offset)
        return shares

    @property
    def frames(self) -> str:
        """Describe the frames and their distance in time."""
        front_end: Any = self.front_end
        name = f"{front_end.n_mels} log-mel bands"
        if isinstance(front_end, WindowedFrames):
            name = f"layer {front_end.frames.layer} of a frozen encoder, heard in windows of {front_end.window:g} s"
        return f"{name}, one frame every {1000 * self.clock.period:g} ms"

    def describe(self) -> str:
        """The corpus in one sentence."""
        manifest, shares = self.manifest, self.shares
        minutes = float(np.sum(manifest.durations)) / 60
        return (
            f"**{manifest.name}**: {len(manifest)} clips, {minutes:.0f} minutes, {len(manifest.classes)} classes, "
            f"{len(set(self.groups))} recordings of events, which fill {100 * shares.min():.1f} to "
            f"{100 * shares.max():.1f} % of a clip."
        )


def prepare(config: Config) -> Prepared:
    """Load and check the corpus, and compute its frames once; both are kept for the next call.

    Raises
    ------
    ManifestError
        When the corpus does not say when events sound.
    """
    fields = ("data", "sample_rate", "n_mels", "frame_encoder", "frame_layer", "window", "averaged", "skip_bad_clips")
    return _prepare(Config(**config.select(*fields, "device")))


@lru_cache(maxsize=2)
def _prepare(config: Config) -> Prepared:
    manifest = load_checked(config.data, skip_bad_clips=config.skip_bad_clips)
    if "event_onsets" not in manifest.table:
        raise ManifestError(
            f"{manifest.name}: no column event_onsets, so nobody knows which share of a clip an event fills; take a "
            "corpus with known events, such as mixtures?events=my_sounds"
        )
    rate = config.sample_rate
    if config.frame_encoder == MEL:
        hop = round(0.010 * config.averaged * rate)
        front_end = LogMel(rate, n_fft=max(2 * hop, round(0.025 * rate)), hop_length=hop, n_mels=config.n_mels)
        return Prepared.make(manifest, front_end, config)
    bands = LogMel(rate, n_fft=round(0.025 * rate), hop_length=round(0.010 * rate), n_mels=config.n_mels)
    frames = PretrainedFrames(config.frame_encoder, config.frame_layer, bands)
    windows: Any = WindowedFrames(frames, config.window, config.averaged)  # a front end of this study alone
    return Prepared.make(manifest, windows, config, stored="float16")


@lru_cache(maxsize=8)
def whiten(prepared: Prepared, components: int, train: bytes) -> ArrayStore:
    """Principal components of the frames of all clips, fitted on the clips ``train``: rows of int64 as bytes."""
    lengths = prepared.store.n_frames
    whitening = Whitening(prepared.store.n_features, components)
    whitening.fit(torch.cat([prepared.store[int(row)] for row in np.frombuffer(train, dtype=np.int64)]))
    frames = torch.zeros(len(lengths), int(lengths.max()), whitening.directions.shape[1])
    for row, count in enumerate(lengths):
        frames[row, :count] = whitening(prepared.store[row])
    return ArrayStore(frames, lengths)
