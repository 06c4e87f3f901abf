"""Corpora of the comparison: log-mel frames of every clip in memory, one class a clip.

Book page: ``comparison``.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from audioattn_lib.audio.features.log_mel import LogMel
from audioattn_lib.data.manifest import Manifest

from ..common.corpus import PreparedCorpus, load_checked
from .config import Config

__all__ = ["HALVES", "Prepared", "prepare"]

log = logging.getLogger("audioattn")

HALVES = ("lower half", "upper half")
"""Classes of a corpus whose labels are numbers: below and above their median."""


@dataclass(frozen=True)
class Prepared(PreparedCorpus):
    """A corpus with one class a clip.

    Parameters
    ----------
    names
        Name of each class.
    """

    names: tuple[str, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """Name of each class."""
        return self.names


def prepare(config: Config) -> Prepared:
    """Load and check a corpus, and compute its frames; both are kept for the next call.

    Labels that are numbers become two classes, below and above their median. Of clips with several labels, none is
    used.
    """
    return _prepare(Config(**config.select("data", "sample_rate", "n_mels", "hop_seconds", "skip_bad_clips", "device")))


@lru_cache(maxsize=8)
def _prepare(config: Config) -> Prepared:
    manifest = load_checked(config.data, skip_bad_clips=config.skip_bad_clips, needs_classes=False)
    if manifest.kind == "multilabel":
        manifest = _with_one_label(manifest)
    names, targets = _targets(manifest)
    hop = round(config.hop_seconds * config.sample_rate)
    n_fft = 2 ** int(np.ceil(np.log2(max(hop * 5 // 4, 2))))
    front_end = LogMel(config.sample_rate, n_fft=n_fft, hop_length=hop, n_mels=config.n_mels)
    return Prepared.make(manifest, front_end, config, targets, names=names)


def _with_one_label(manifest: Manifest) -> Manifest:
    """The clips with exactly one label."""
    counts = np.asarray(manifest.label_indices()).sum(axis=1)
    kept = np.flatnonzero(counts == 1)
    log.info("%s: %d of %d clips have one label and are used", manifest.name, len(kept), len(manifest))
    return manifest.subset(kept)


def _targets(manifest: Manifest) -> tuple[tuple[str, ...], Tensor]:
    if manifest.kind == "number":
        values = np.asarray(manifest.label_values())
        return HALVES, torch.as_tensor((values > np.median(values)).astype(np.int64))
    indices = np.asarray(manifest.label_indices())
    return tuple(manifest.classes), torch.as_tensor(indices if indices.ndim == 1 else indices.argmax(axis=1))
