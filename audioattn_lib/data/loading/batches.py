"""Batches of stored features, in an order that depends on seed and epoch only.

A corpus that fits is moved to the device once and batches are cut out there;
a larger one is read from the store one batch ahead, through pinned memory on
CUDA. Both give the same batches.

Book page: ``data``.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from audioattn_lib.core.errors import ConfigError

__all__ = ["Batch", "BatchLoader", "Batches", "Shard", "Store", "TransformedLoader"]

RESIDENT_BYTES = {"cuda": 4 << 30, "cpu": 1 << 30}
"""Largest padded corpus, in bytes, that is kept on a device."""

_PART = 256


class Store(Protocol):
    """Features of all clips of a corpus: a :class:`.store.FeatureStore`, or a :class:`.waveforms.WaveformStore`."""

    n_features: int
    n_frames: NDArray[np.int64]

    def __len__(self) -> int: ...

    def batch(self, indices: Any) -> tuple[Tensor, Tensor]:
        """Features of several clips, padded with zeros, and how many frames each has."""


@dataclass(frozen=True)
class Shard:
    """The clips of a batch that belong to one of several processes.

    Parameters
    ----------
    first, count
        It has the clips from ``first`` to ``first + count``; counts of two processes differ by one at most.
    whole
        Clips of the whole batch. Where these are fewer than the processes, some have none: they are given the first
        clip of the batch, and it counts nothing.
    """

    first: int
    count: int
    whole: int

    @classmethod
    def of(cls, whole: int, rank: int, processes: int) -> Shard:
        """Return the shard of process ``rank`` out of ``processes``."""
        count, more = divmod(whole, processes)
        return cls(rank * count + min(rank, more), count + (rank < more), whole)

    @property
    def rows(self) -> slice:
        """The clips of this shard in a sequence of all clips of the batch."""
        return slice(self.first, self.first + self.count) if self.count else slice(0, 1)


@dataclass(frozen=True)
class Batch:
    """Clips to learn from together.

    Parameters
    ----------
    features
        Padded with zeros, on the device, shape ``(B, T, F)``.
    lengths
        Valid frames of each clip, on the device, shape ``(B,)``.
    targets
        On the device, shape ``(B, ...)``.
    indices
        Rows of the clips in the store, on the host, shape ``(B,)``.
    shard
        Which clips of a whole batch these are; None where they are all of it.
    """

    features: Float[Tensor, "batch frames features"]
    lengths: Int[Tensor, batch]
    targets: Tensor
    indices: Int[Tensor, batch]
    shard: Shard | None = None

    def __len__(self) -> int:
        """Number of clips that count."""
        return len(self.indices) if self.shard is None else self.shard.count


class Batches(Protocol):
    """Batches of clips, the same for the same epoch."""

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Batches of an epoch from batch ``start`` on."""


class BatchLoader:
    """Batches of chosen clips of a store.

    Parameters
    ----------
    store
        Features of the corpus.
    targets
        What to predict for every clip of the store, shape ``(len(store), ...)``.
    indices
        Clips to go through, at least one.
    batch_size
        Clips in a batch (the last may have fewer), at least 1.
    shuffle
        Another order in every epoch, a function of seed and number of the epoch only; False keeps that of ``indices``.
    seed
        Seed of the order.
    device
        Where batches are wanted.
    resident
        Keep the chosen clips whole on the device; None decides by their size.

    Notes
    -----
    Book page: ``data``.
    """

    def __init__(
        self,
        store: Store,
        targets: Tensor | NDArray[Any],
        indices: Sequence[int] | NDArray[Any],
        batch_size: int,
        shuffle: bool = True,
        seed: int = 0,
        device: torch.device | str = "cpu",
        *,
        resident: bool | None = None,
    ) -> None:
        if batch_size < 1:
            raise ConfigError(f"batch_size is {batch_size}; it must be at least 1")
        if not len(indices):
            raise ConfigError("there are no clips to go through; check fold and split")
        if len(targets) != len(store):
            raise ValueError(f"{len(targets)} targets for a store of {len(store)} clips")
        self.store = store
        self.targets = torch.as_tensor(targets)
        self.indices = torch.as_tensor(np.asarray(indices, dtype=np.int64))
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.device = torch.device(device)
        if resident is None:
            frames = int(store.n_frames[self.indices.numpy()].max())
            size = len(self.indices) * frames * store.n_features * 4
            resident = size <= RESIDENT_BYTES.get(self.device.type, 0)
        self._resident = self._move_all() if resident else None
        self._rank: tuple[int, int] | None = None

    def __len__(self) -> int:
        return -(-len(self.indices) // self.batch_size)

    def order(self, number: int) -> Int[Tensor, clips]:
        """Positions within ``indices`` in the order of an epoch."""
        if not self.shuffle:
            return torch.arange(len(self.indices))
        seed = np.random.SeedSequence([self.seed, number]).generate_state(1, np.uint64)[0]
        generator = torch.Generator().manual_seed(int(seed >> np.uint64(1)))
        return torch.randperm(len(self.indices), generator=generator)

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Batches of an epoch from batch ``start`` on; the same for the same seed and number.

        Notes
        -----
        Book page: ``data``.
        """
        chunks = self.order(number).split(self.batch_size)[start:]
        if self._rank is None:
            return self._batches(chunks)
        shards = [Shard.of(len(chunk), *self._rank) for chunk in chunks]
        batches = self._batches([chunk[shard.rows] for chunk, shard in zip(chunks, shards, strict=True)])
        return (dataclasses.replace(batch, shard=shard) for batch, shard in zip(batches, shards, strict=True))

    def shard(self, rank: int, world_size: int) -> Self:
        """Return the batches of process ``rank`` out of ``world_size``: of each batch a shard, see :class:`Shard`.

        Raises
        ------
        ConfigError
            When a batch has fewer clips than there are processes.

        Notes
        -----
        Book page: ``batch``.
        """
        if self.batch_size < world_size:
            raise ConfigError(
                f"batch_size is {self.batch_size} for {world_size} processes, which share every batch; make it at "
                f"least {world_size}, or start fewer with torchrun --nproc-per-node"
            )
        other = copy.copy(self)
        other._rank = (rank, world_size)
        return other

    def _batches(self, chunks: Sequence[Tensor]) -> Iterator[Batch]:
        return self._cut(chunks) if self._resident is not None else self._read(chunks)

    def _move_all(self) -> tuple[Tensor, Tensor, Tensor]:
        # A part at a time into one block: the corpus is never held twice.
        rows = self.indices.numpy()
        lengths = torch.from_numpy(self.store.n_frames[rows])
        features = torch.zeros(len(rows), int(lengths.max()), self.store.n_features, device=self.device)
        for first in range(0, len(rows), _PART):
            block, _ = self.store.batch(rows[first : first + _PART])
            features[first : first + len(block), : block.shape[1]] = block.to(self.device)
        return features, lengths.to(self.device), self.targets[self.indices].to(self.device)

    def _cut(self, chunks: Sequence[Tensor]) -> Iterator[Batch]:
        assert self._resident is not None
        features, lengths, targets = self._resident
        for chunk in chunks:
            indices = self.indices[chunk]
            longest = int(self.store.n_frames[indices.numpy()].max())  # known on the host: no wait for the device
            rows = chunk.to(self.device)
            yield Batch(features[rows, :longest], lengths[rows], targets[rows], indices)

    def _read(self, chunks: Sequence[Tensor]) -> Iterator[Batch]:
        pinned = self.device.type == "cuda"

        def read(chunk: Tensor) -> tuple[Tensor, ...]:
            indices = self.indices[chunk]
            tensors = (*self.store.batch(indices), self.targets[indices])
            return (*(tensor.pin_memory() if pinned else tensor for tensor in tensors), indices)

        with ThreadPoolExecutor(1) as pool:
            ahead = [pool.submit(read, chunk) for chunk in chunks[:1]]
            for position in range(len(chunks)):
                features, lengths, targets, indices = ahead[0].result()
                ahead = [pool.submit(read, chunk) for chunk in chunks[position + 1 : position + 2]]
                moved = [tensor.to(self.device, non_blocking=pinned) for tensor in (features, lengths, targets)]
                yield Batch(moved[0], moved[1], moved[2], indices)


class TransformedLoader:
    """Batches of a loader whose features are transformed, without gradient, as they come.

    Parameters
    ----------
    loader
        Batches of whole clips.
    transform
        From features ``(B, T, F)`` and lengths ``(B,)`` to features and lengths.

    Notes
    -----
    Book page: ``data``.
    """

    def __init__(
        self,
        loader: BatchLoader | TransformedLoader,
        transform: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    ) -> None:
        self.loader = loader
        self.transform = transform

    def __len__(self) -> int:
        return len(self.loader)

    @property
    def seed(self) -> int:
        """Seed of the order."""
        return self.loader.seed

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Batches of an epoch from batch ``start`` on."""
        for batch in self.loader.epoch(number, start):
            with torch.no_grad():
                features, lengths = self.transform(batch.features, batch.lengths)
            yield dataclasses.replace(batch, features=features, lengths=lengths)

    def shard(self, rank: int, world_size: int) -> Self:
        """The same batches as one of ``world_size`` processes sees them."""
        other = copy.copy(self)
        other.loader = self.loader.shard(rank, world_size)
        return other
