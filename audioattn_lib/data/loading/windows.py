"""Training windows of utterances, and sampling of utterances.

Training cuts a window out of each utterance, somewhere else in every epoch;
shorter ones stay whole. Evaluation hears whole utterances, without this module.

Book page: ``accents``.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from audioattn_lib.audio.features.log_mel import frame_mask
from audioattn_lib.core.errors import ConfigError

from .batches import Batch, BatchLoader, Shard, TransformedLoader

__all__ = ["SampledLoader", "WindowLoader", "cut_windows"]

Change = Callable[..., Tensor]


def cut_windows(
    features: Float[Tensor, "batch frames bands"],
    lengths: Int[Tensor, batch],
    window: int,
    generator: torch.Generator,
    shard: Shard | None = None,
) -> tuple[Float[Tensor, "batch window bands"], Int[Tensor, batch]]:
    """Cut a window out of every utterance, with a uniformly drawn start.

    Parameters
    ----------
    features, lengths
        Utterances, zero on padding.
    window
        Frames of the window, at least 1; utterances with fewer stay whole.
    generator
        Random number generator.
    shard
        Which clips of a whole batch these are: they get the places that they would have in it.

    Returns
    -------
    features, lengths
        Windows and their valid frames.

    Notes
    -----
    The published code never draws the last place there is. Book page:
    ``accents``.
    """
    if window < 1:
        raise ConfigError(f"window is {window}; it must be at least 1 frame")
    places = (lengths - window).clamp(min=0) + 1
    shard = shard or Shard.of(len(lengths), 0, 1)
    uniform = torch.rand(shard.whole, generator=generator, dtype=torch.float64)[shard.rows].to(lengths.device)
    starts = (uniform * places).floor().long()
    width = min(window, features.shape[1])
    frames = (starts[:, None] + torch.arange(width, device=starts.device)).clamp(max=features.shape[1] - 1)
    rows = torch.arange(len(features), device=features.device)[:, None]
    new_lengths = lengths.clamp(max=window)
    return features[rows, frames] * frame_mask(new_lengths, width)[..., None], new_lengths


class WindowLoader:
    """Windows out of the batches of a loader, the same for the same seed, epoch and batch.

    Parameters
    ----------
    loader
        Batches of whole utterances.
    window
        Frames; None leaves utterances whole.
    augment
        Further change of the features of a batch, of each clip by itself, called with features, lengths and
        ``generator``; none by default.

    Notes
    -----
    Book page: ``accents``.
    """

    def __init__(
        self, loader: BatchLoader | TransformedLoader, window: int | None, augment: Change | None = None
    ) -> None:
        self.loader = loader
        self.window = window
        self.augment = augment

    def __len__(self) -> int:
        return len(self.loader)

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Batches of an epoch from batch ``start`` on."""
        for position, batch in enumerate(self.loader.epoch(number, start), start=start):
            seed = np.random.SeedSequence([self.loader.seed, number, position, 1]).generate_state(1, np.uint64)[0]
            generator = torch.Generator().manual_seed(int(seed >> np.uint64(1)))
            features, lengths = batch.features, batch.lengths
            if self.window is not None:
                features, lengths = cut_windows(features, lengths, self.window, generator, batch.shard)
            if self.augment is not None:
                features = _augment_shard(self.augment, features, lengths, generator, batch.shard)
            yield dataclasses.replace(batch, features=features, lengths=lengths)

    def shard(self, rank: int, world_size: int) -> Self:
        """Return the batches of process ``rank`` out of ``world_size``, with the windows of the whole batches."""
        other = copy.copy(self)
        other.loader = self.loader.shard(rank, world_size)
        return other


def _augment_shard(
    augment: Change, features: Tensor, lengths: Tensor, generator: torch.Generator, shard: Shard | None
) -> Tensor:
    """Augment a shard as in the whole batch: random numbers are drawn for all clips of the batch."""
    if shard is None:
        return augment(features, lengths, generator=generator)
    whole = features.new_zeros(shard.whole, *features.shape[1:])
    frames = torch.full_like(lengths[:1], features.shape[1]).expand(shard.whole).clone()
    whole[shard.rows], frames[shard.rows] = features, lengths
    return augment(whole, frames, generator=generator)[shard.rows]


class SampledLoader(BatchLoader):
    """Batches with a limit of clips a speaker and balanced classes.

    Parameters
    ----------
    store, targets, indices, batch_size, seed, device, resident
        As :class:`~audioattn_lib.data.loading.batches.BatchLoader`; shuffled.
    speakers
        Speaker of every clip of the store.
    most
        Most clips of one speaker in each class and epoch, drawn anew in each, at least 1; None takes all.
    is_balanced
        Hear every class as often as the one with most clips, its clips over and over.

    Notes
    -----
    Book page: ``accents``.
    """

    def __init__(
        self,
        store: Any,
        targets: Tensor,
        indices: NDArray[np.int64],
        batch_size: int,
        seed: int = 0,
        device: torch.device | str = "cpu",
        *,
        speakers: NDArray[np.str_],
        most: int | None = None,
        is_balanced: bool = False,
        resident: bool | None = None,
    ) -> None:
        super().__init__(store, targets, indices, batch_size, True, seed, device, resident=resident)
        if most is not None and most < 1:
            raise ConfigError(f"clips_per_speaker is {most}; it must be at least 1")
        self.most = most
        self.is_balanced = is_balanced
        classes = self.targets[self.indices].numpy()
        self._classes = classes
        pairs = [f"{label}/{speaker}" for label, speaker in zip(classes, speakers[self.indices.numpy()], strict=True)]
        self._voices = np.unique(pairs, return_inverse=True)[1]
        # how many are drawn does not depend on which, so an epoch always has the same length
        self._n_clips = len(self.order(0))

    def __len__(self) -> int:
        return -(-self._n_clips // self.batch_size)

    def order(self, number: int) -> Int[Tensor, clips]:
        """Positions within ``indices`` in the order of an epoch; some twice, some never."""
        shuffled = super().order(number).numpy()
        if self.most is not None:
            shuffled = shuffled[_occurrence(self._voices[shuffled]) < self.most]
        if self.is_balanced:
            labels = self._classes[shuffled]
            size = int(np.bincount(labels).max())
            parts = [np.resize(shuffled[labels == label], size) for label in np.unique(labels)]
            shuffled = np.stack(parts, axis=1).ravel()
        return torch.from_numpy(shuffled.astype(np.int64))


def _occurrence(values: NDArray[Any]) -> NDArray[np.int64]:
    """Count the earlier occurrences of the value of each element."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    first = np.searchsorted(ordered, ordered)
    count = np.empty(len(values), dtype=np.int64)
    count[order] = np.arange(len(values)) - first
    return count
