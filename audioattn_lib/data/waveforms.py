"""Waveforms as a store, for models that make their own features.

A model that listens again at another hop needs samples, not spectrograms. A
:class:`WaveformStore` gives them to a :class:`~audioattn_lib.data.loading.BatchLoader`
as features of one column; nothing is written to disk, sounds are decoded when
they are asked for.

Book page: ``playback``.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from ..errors import ConfigError
from .manifest import Manifest

__all__ = ["WaveformStore"]

_THREADS = 4


class WaveformStore:
    """Samples of all clips of a corpus, ``store.batch(indices)`` those of several, padded with zeros.

    Parameters
    ----------
    manifest
        The corpus.
    sample_rate
        Hertz, at least 1; sounds are resampled when they are read.

    Notes
    -----
    A clip has the samples that its table or file announces; what resampling or a
    compressed file gives more is cut off, what it gives less is silence. Book
    page: ``playback``.
    """

    n_features = 1

    def __init__(self, manifest: Manifest, sample_rate: int) -> None:
        if sample_rate < 1:
            raise ConfigError(f"sample_rate is {sample_rate}; it must be at least 1 hertz")
        self.manifest = manifest
        self.sample_rate = sample_rate
        self.n_frames: NDArray[np.int64] = np.maximum(np.round(manifest.durations * sample_rate), 1).astype(np.int64)

    def __len__(self) -> int:
        return len(self.n_frames)

    def batch(self, indices: Any) -> tuple[Float[Tensor, "batch samples 1"], Int[Tensor, " batch"]]:
        """Samples of several clips, float32, and how many each has.

        Raises
        ------
        AudioError
            When a sound cannot be read.
        """
        chosen = np.asarray(indices, dtype=np.int64)
        lengths = self.n_frames[chosen]
        samples = np.zeros((len(chosen), int(lengths.max()), 1), dtype=np.float32)

        def read(row: int) -> None:
            sound = self.manifest.read_audio(int(chosen[row]), self.sample_rate)[0][: lengths[row]]
            samples[row, : len(sound), 0] = sound

        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(read, range(len(chosen))))
        return torch.from_numpy(samples), torch.from_numpy(lengths.copy())
