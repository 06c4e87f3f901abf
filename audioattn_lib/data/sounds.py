"""Batches whose features are computed anew from sound, so that the sound can be changed in every epoch.

Book page: ``data``.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn

from .loading import Batch
from .manifest import Manifest
from .windows import SampledLoader

__all__ = ["SoundLoader", "Sounds"]

Change = Callable[..., tuple[Tensor, Tensor]]


class Sounds:
    """The sounds of a corpus, read when they are wanted.

    Parameters
    ----------
    manifest
        The corpus.
    sample_rate
        Hertz that all sounds are resampled to.
    """

    def __init__(self, manifest: Manifest, sample_rate: int) -> None:
        self.manifest = manifest
        self.sample_rate = sample_rate

    def __len__(self) -> int:
        return len(self.manifest)

    def batch(self, rows: Any) -> tuple[Float[Tensor, "batch samples"], Int[Tensor, batch]]:
        """Sounds of some clips, padded with zeros, and their samples."""
        sounds = [torch.from_numpy(self.manifest.read_audio(int(row), self.sample_rate)[0]) for row in rows]
        return nn.utils.rnn.pad_sequence(sounds, batch_first=True), torch.tensor([len(sound) for sound in sounds])


class SoundLoader(SampledLoader):
    """Batches of features of sounds that are changed first, otherwise in every epoch.

    Sounds are read one batch ahead; they are changed, and their features computed, on the device.

    Parameters
    ----------
    sounds
        The sounds of the corpus.
    targets, indices, batch_size, seed, device, speakers, most, is_balanced
        As :class:`~audioattn_lib.data.windows.SampledLoader`.
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
        sounds: Sounds,
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
            first = batch.share.first if batch.share else 0
            seed = np.random.SeedSequence([self.seed, number, position, 2, first]).generate_state(1, np.uint64)[0]
            generator = torch.Generator().manual_seed(int(seed >> np.uint64(1)))
            waveforms, lengths = self.change(batch.features, batch.lengths, generator=generator)
            features, n_frames = self.front_end(waveforms, lengths)
            yield dataclasses.replace(batch, features=features, lengths=n_frames)
