"""Waveforms as a store, for models with their own front end and for augmentation of sound.

A model that listens again at another hop needs samples, not spectrograms. A
:class:`WaveformStore` gives them to a :class:`~audioattn_lib.data.loading.batches.BatchLoader`
as features of one column; nothing is written to disk, sounds are decoded when
they are asked for. A :class:`SoundLoader` changes them first and makes features
of what comes out.

Book page: ``playback``.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn

from audioattn_lib.core.errors import ConfigError

from ..manifest import Manifest
from .batches import Batch
from .windows import SampledLoader

__all__ = ["SoundLoader", "WaveformStore"]

Change = Callable[..., tuple[Tensor, Tensor]]

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
        rows = np.asarray(indices, dtype=np.int64)
        lengths = self.n_frames[rows]
        samples = np.zeros((len(rows), int(lengths.max()), 1), dtype=np.float32)

        def read(row: int) -> None:
            sound = self.manifest.read_audio(int(rows[row]), self.sample_rate)[0][: lengths[row]]
            samples[row, : len(sound), 0] = sound

        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(read, range(len(rows))))
        return torch.from_numpy(samples), torch.from_numpy(lengths.copy())


class SoundLoader(SampledLoader):
    """Batches of features of sounds that are changed first, otherwise in every epoch.

    Sounds are read one batch ahead; they are changed, and their features computed, on the device.

    Parameters
    ----------
    sounds
        The sounds of the corpus.
    targets, indices, batch_size, seed, device, speakers, most, is_balanced
        As :class:`~audioattn_lib.data.loading.windows.SampledLoader`.
    front_end
        From waveforms and lengths to features and theirs.
    change
        From waveforms, lengths and ``generator`` to waveforms and lengths.

    Notes
    -----
    The same seed, epoch and batch give the same sound. Of several processes each changes its share of a batch by
    itself, so theirs are other changes than those of one process. Book page: ``data``.
    """

    def __init__(
        self,
        sounds: WaveformStore,
        targets: Tensor,
        indices: NDArray[np.int64],
        batch_size: int,
        seed: int = 0,
        device: torch.device | str = "cpu",
        *,
        front_end: nn.Module,
        change: Change,
        speakers: NDArray[np.str_],
        most: int | None = None,
        is_balanced: bool = False,
    ) -> None:
        super().__init__(
            sounds,
            targets,
            indices,
            batch_size,
            seed,
            device,
            speakers=speakers,
            most=most,
            is_balanced=is_balanced,
            resident=False,
        )
        self.front_end = copy.deepcopy(front_end).to(self.device)
        self.change = change

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Batches of an epoch from batch ``start`` on."""
        for position, batch in enumerate(super().epoch(number, start), start=start):
            first = batch.shard.first if batch.shard else 0
            seed = np.random.SeedSequence([self.seed, number, position, 2, first]).generate_state(1, np.uint64)[0]
            generator = torch.Generator().manual_seed(int(seed >> np.uint64(1)))
            waveforms, lengths = self.change(batch.features.squeeze(-1), batch.lengths, generator=generator)
            features, n_frames = self.front_end(waveforms, lengths)
            yield dataclasses.replace(batch, features=features, lengths=n_frames)
