"""Features of a corpus on disk, computed once.

A store is a folder with ``features.bin`` (the frames of all clips, one after
the other) and ``journal.jsonl`` (what has been appended, with a checksum of
each clip). A build that is killed, or that finds the disk full, continues
where it stopped. Reading maps the file into memory, so memory does not grow
with the corpus.

Book page: ``data``.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, Protocol

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from audioattn_lib.automation.key import source_hash
from audioattn_lib.core.errors import ConfigError

from ..files import StoreError, exclusive, explain_storage
from ..manifest import Manifest
from ..progress import progress_bar

__all__ = ["Extractor", "FeatureStore", "StoreError"]

log = logging.getLogger("audioattn")

_FORMAT = 1
_FEATURES = "features.bin"
_JOURNAL = "journal.jsonl"
_THREADS = 4

StoredType = Literal["float32", "float16"]


class Extractor(Protocol):
    """Protocol of a front end, such as :class:`audioattn_lib.audio.features.log_mel.LogMel`."""

    sample_rate: int
    n_mels: int
    identity: str

    @property
    def clock(self) -> tuple[float, float]:
        """Period and start of the frames in seconds."""

    def to(self, device: torch.device) -> Any:
        """Move the tables of the extractor."""

    def __call__(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Features ``(B, T, F)`` and numbers of frames ``(B,)`` of waveforms ``(B, N)``."""


@dataclass(frozen=True)
class _Header:
    """First line of the journal: data, front end and type of the store."""

    format: int
    identity: str
    features: int
    dtype: StoredType
    clips: list[str]
    period: float
    start: float


class FeatureStore:
    """Features of all clips of a corpus; made by :meth:`build`, opened by :meth:`open`.

    ``len(store)`` is the number of clips, ``store[i]`` the features of one,
    ``store.batch(indices)`` those of several, padded with zeros.

    Notes
    -----
    Book page: ``data``.
    """

    def __init__(self, path: Path, header: _Header, n_frames: NDArray[np.int64], checksums: NDArray[np.uint32]) -> None:
        self.path = path
        self.identity = header.identity
        self.n_features = header.features
        self.clips = header.clips
        self.clock = (header.period, header.start)
        self.n_frames = n_frames
        self._dtype = np.dtype(header.dtype)
        self._first = np.concatenate([[0], np.cumsum(n_frames)])
        self._checksums = checksums
        self._verified = np.zeros(len(n_frames), dtype=bool)
        self._features = self._map()

    @classmethod
    def build(
        cls,
        manifest: Manifest,
        extractor: Extractor,
        directory: str | Path,
        *,
        batch_size: int = 32,
        device: torch.device | str = "cpu",
        progress: bool = True,
        dtype: StoredType = "float32",
    ) -> FeatureStore:
        """Compute the features of every clip, or open them where that was done.

        Parameters
        ----------
        manifest
            The corpus.
        extractor
            Makes the features; its ``sample_rate`` is the rate that sounds are resampled to.
        directory
            Folder of stores; each lies in a folder below it named by what it is of.
        batch_size
            Clips computed together, at least 1.
        device
            Where to compute.
        progress
            Show a bar where a person watches.
        dtype
            ``"float32"``, or ``"float16"`` for half the space and 3 digits.

        Raises
        ------
        AudioError
            When a sound cannot be used; what was computed before is kept.
        StoreError
            When the disk is full (what was computed is kept) or the store there is damaged.

        Notes
        -----
        Book page: ``data``.
        """
        if batch_size < 1:
            raise ConfigError(f"batch_size is {batch_size}; it must be at least 1")
        if dtype not in ("float32", "float16"):
            raise ConfigError(f"dtype is {dtype!r}; it must be float32 or float16")
        device = torch.device(device)
        identity = _identity(manifest, extractor, dtype)
        period, start = extractor.clock
        header = _Header(_FORMAT, identity, extractor.n_mels, dtype, list(manifest.ids), period, start)
        path = Path(directory) / identity[:16]
        if (store := cls._find(path, header)) is not None:  # before the lock, so that a cache may be only read
            return store
        try:
            path.mkdir(parents=True, exist_ok=True)
            with exclusive(path / "lock"):
                writer = _Writer(path, header)
                if writer.done < len(manifest):
                    computing = extractor.to(device)
                    with writer, progress_bar("features", len(manifest), done=writer.done, shown=progress) as bar:
                        for waveforms, lengths in _waveforms(manifest, extractor.sample_rate, writer.done, batch_size):
                            with torch.inference_mode():
                                features, n_frames = computing(waveforms.to(device), lengths.to(device))
                            writer.append(features.cpu().numpy(), n_frames.cpu().numpy())
                            bar.advance(len(lengths))
        except OSError as error:
            raise explain_storage(path, error, "the features computed so far are kept") from error
        return cls.open(path)

    @classmethod
    def _find(cls, path: Path, header: _Header) -> FeatureStore | None:
        """The store with this header, if it is complete; what is not is left to the writer."""
        try:
            journal = _read_journal(path)
            if journal is None or journal[0] != header:
                return None
            return cls.open(path)
        except StoreError:
            return None

    @classmethod
    def open(cls, path: str | Path) -> FeatureStore:
        """Open the store in a folder.

        Raises
        ------
        StoreError
            When there is none, it is not complete, or it is shorter than it was written.

        Notes
        -----
        Book page: ``data``.
        """
        path = Path(path)
        journal = _read_journal(path)
        if journal is None:
            raise StoreError(f"{path}: no feature store; make one with FeatureStore.build")
        header, n_frames, checksums, _ = journal
        if len(n_frames) < len(header.clips):
            raise StoreError(
                f"{path}: holds {len(n_frames)} of {len(header.clips)} clips; FeatureStore.build continues it"
            )
        return cls(path, header, np.array(n_frames, dtype=np.int64), np.array(checksums, dtype=np.uint32))

    def __len__(self) -> int:
        return len(self.n_frames)

    def __getitem__(self, index: int) -> Float[Tensor, "frames features"]:
        """Features of one clip, float32."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"clip {index} of a store of {len(self)} clips")
        return torch.from_numpy(self._read(index % len(self)).astype(np.float32))

    def batch(
        self, indices: Sequence[int] | NDArray[Any] | Tensor
    ) -> tuple[Float[Tensor, "batch frames features"], Int[Tensor, batch]]:
        """Features of several clips.

        Returns
        -------
        features : Tensor
            float32, padded with zeros to the longest, shape ``(B, T, F)``.
        lengths : Tensor
            int64, shape ``(B,)``.

        Raises
        ------
        StoreError
            When the features of a clip are not those that were written.

        Notes
        -----
        Book page: ``data``.
        """
        rows = np.asarray(indices, dtype=np.int64)
        if not len(rows):
            raise ValueError("a batch needs at least one clip")
        lengths = self.n_frames[rows]
        features = np.zeros((len(rows), int(lengths.max()), self.n_features), dtype=np.float32)
        for row, index in enumerate(rows):
            features[row, : lengths[row]] = self._read(int(index))
        return torch.from_numpy(features), torch.from_numpy(lengths.copy())

    def _read(self, index: int) -> NDArray[Any]:
        frames: NDArray[Any] = self._features[self._first[index] : self._first[index + 1]]
        if not self._verified[index]:
            if zlib.crc32(np.ascontiguousarray(frames).data) != self._checksums[index]:
                raise StoreError(
                    f"{self.path / _FEATURES}: the features of {self.clips[index]} are not those that were written; "
                    f"delete the folder {self.path} to compute them again"
                )
            self._verified[index] = True
        return frames

    def _map(self) -> NDArray[Any]:
        path = self.path / _FEATURES
        needed = int(self._first[-1]) * self.n_features * self._dtype.itemsize
        size = path.stat().st_size if path.exists() else 0
        if size < needed:
            raise _cut_off(path, self.clips, self.n_frames, self.n_features * self._dtype.itemsize, size)
        shape = (int(self._first[-1]), self.n_features)
        try:
            return np.memmap(path, dtype=self._dtype, mode="r", shape=shape)
        except OSError as error:  # somebody deletes the store, or the disk fails
            raise StoreError(f"{path}: cannot be read ({error.strerror}); build the store again") from error


class _Writer:
    """Writer of a store: features first, then, after a sync, their line of the journal."""

    def __init__(self, path: Path, header: _Header) -> None:
        self._path = path
        self._header = header
        journal = _read_journal(path)
        self._files: tuple[IO[bytes], IO[bytes]] | None = None
        self.done, self._bytes, self._journal_bytes = 0, 0, 0
        if journal is not None:
            journal_header, n_frames, _, self._journal_bytes = journal
            if journal_header != header:
                raise StoreError(f"{path}: is the store of another corpus; delete the folder to compute it again")
            self.done = len(n_frames)
            row = header.features * np.dtype(header.dtype).itemsize
            self._bytes = sum(n_frames) * row
            size = (path / _FEATURES).stat().st_size if (path / _FEATURES).exists() else 0
            if size < self._bytes:
                log.warning(
                    "%s; they are computed again", _cut_off(path / _FEATURES, header.clips, n_frames, row, size)
                )
                self._keep(path, size // row)

    def _keep(self, path: Path, frames: int) -> None:
        """Go on behind the last line of the journal whose features are among the first ``frames``."""
        first, *lines = (path / _JOURNAL).read_bytes()[: self._journal_bytes].splitlines(keepends=True)
        self.done, kept, self._journal_bytes = 0, 0, len(first)
        for line in lines:
            counts = json.loads(line)["n_frames"]
            if kept + sum(counts) > frames:
                break
            kept += sum(counts)
            self.done += len(counts)
            self._journal_bytes += len(line)
        self._bytes = kept * self._header.features * np.dtype(self._header.dtype).itemsize

    def __enter__(self) -> None:
        with ExitStack() as opened:
            features = opened.enter_context(open(self._path / _FEATURES, "ab"))
            journal = opened.enter_context(open(self._path / _JOURNAL, "ab"))
            # What a killed build appended after its last line is cut off.
            features.truncate(self._bytes)
            journal.truncate(self._journal_bytes)
            if not self._journal_bytes:
                self._write(journal, json.dumps(vars(self._header)).encode() + b"\n")
            opened.pop_all()
        self._files = features, journal

    def append(self, features: NDArray[np.floating[Any]], n_frames: NDArray[np.int64]) -> None:
        assert self._files is not None
        file, journal = self._files
        clips = [
            np.ascontiguousarray(clip[:count], dtype=self._header.dtype)
            for clip, count in zip(features, n_frames, strict=True)
        ]
        for offset, clip in enumerate(clips):
            if not np.isfinite(clip).all():
                name = self._header.clips[self.done + offset]
                raise StoreError(f"{name}: its features are not finite as {self._header.dtype}; look at its sound")
        self._write(file, b"".join(clip.tobytes() for clip in clips))
        line = {"n_frames": n_frames.tolist(), "crc": [zlib.crc32(clip.data) for clip in clips]}
        self._write(journal, json.dumps(line).encode() + b"\n")
        self.done += len(clips)

    @staticmethod
    def _write(file: IO[bytes], content: bytes) -> None:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())

    def __exit__(self, *error: object) -> None:
        assert self._files is not None
        for file in self._files:
            try:
                file.close()
            except OSError:
                if error[0] is None:
                    raise


def _read_journal(path: Path) -> tuple[_Header, list[int], list[int], int] | None:
    """Header, frames and checksums of the clips that are on disk, and how many bytes of the journal say so."""
    try:
        content = (path / _JOURNAL).read_bytes()
    except FileNotFoundError:
        return None
    whole = content[: content.rfind(b"\n") + 1]
    if not whole:
        return None
    n_frames: list[int] = []
    checksums: list[int] = []
    try:
        first, *lines = whole.splitlines()
        header = _Header(**json.loads(first))
        for line in lines:
            entry = json.loads(line)
            n_frames += entry["n_frames"]
            checksums += entry["crc"]
    except (ValueError, TypeError, KeyError) as error:
        raise StoreError(
            f"{path / _JOURNAL}: damaged ({error}); delete the folder {path} to compute it again"
        ) from None
    return header, n_frames, checksums, len(whole)


def _cut_off(
    path: Path, clips: Sequence[str], n_frames: Sequence[int] | NDArray[np.int64], row: int, size: int
) -> StoreError:
    """A file of features that ends before its last clip does; a frame takes ``row`` bytes."""
    ends = np.cumsum(n_frames) * row
    first = clips[int(np.searchsorted(ends, size, side="right"))]
    return StoreError(
        f"{path}: has {size} bytes of {ends[-1]}, the features of {first} and all after it are cut off; "
        f"delete the folder {path.parent} to compute them again"
    )


def _identity(manifest: Manifest, extractor: Extractor, dtype: str) -> str:
    parts = [str(_FORMAT), manifest.content_hash(), extractor.identity, dtype]
    module = type(extractor).__module__
    if module.startswith("audioattn_lib."):
        parts.append(source_hash(module, "audioattn_lib.audio.io"))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _waveforms(
    manifest: Manifest, sample_rate: int, first: int, batch_size: int
) -> Iterator[tuple[Float[Tensor, "batch samples"], Int[Tensor, batch]]]:
    """Sounds from clip ``first`` on, decoded in threads one batch ahead."""

    def read(row: int) -> NDArray[np.float32]:
        return manifest.read_audio(row, sample_rate)[0]

    with ThreadPoolExecutor(_THREADS) as pool:
        starts = range(first, len(manifest), batch_size)
        ahead = [pool.submit(read, row) for row in range(first, min(first + batch_size, len(manifest)))]
        for start in starts:
            current = ahead
            following = start + batch_size
            ahead = [pool.submit(read, row) for row in range(following, min(following + batch_size, len(manifest)))]
            try:
                clips = [future.result() for future in current]
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
            lengths = [len(clip) for clip in clips]
            waveforms = np.zeros((len(clips), max(lengths)), dtype=np.float32)
            for row, clip in enumerate(clips):
                waveforms[row, : len(clip)] = clip
            yield torch.from_numpy(waveforms), torch.tensor(lengths)
