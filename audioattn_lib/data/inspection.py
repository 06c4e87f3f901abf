"""Properties of sound files, read once and cached.

A file is known again by path, size and time of change, so the second look at
a corpus is instant. The memory lies in the cache of the library, never in the
corpus.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..audio import hdf5, io
from ..core.errors import AudioError
from ..core.files import remove_leftovers
from .files import cache_directory, read_json, write_json
from .progress import progress_bar

__all__ = ["Inspection", "inspect_files"]

_VERSION = 2
_BLOCK = 1 << 22
_AT_ONCE = 4096
"""Files that are handed to the threads at a time."""
_SECONDS = 60.0
"""Least time between two writings of the memory while files are read."""


@dataclass(frozen=True)
class Inspection:
    """Properties of one sound file.

    Parameters
    ----------
    problem
        Why it cannot be used, ``""`` where it can.
    kind
        Word for the problem: ``missing``, ``unreadable``, or ``""``.
    cut
        What it lacks of what its header promises, ``""`` where it is whole.
    file_hash, sound_hash
        SHA-256 of its bytes, and of its rate and decoded samples: copies in
        another container share the latter.
    sample_rate, frames, channels
        Hertz, samples of a channel, channels; 0 where unknown.
    peak
        Largest magnitude of a sample; 0 is silence.
    """

    problem: str = ""
    kind: str = ""
    file_hash: str = ""
    sound_hash: str = ""
    sample_rate: int = 0
    frames: int = 0
    channels: int = 0
    peak: float = 0.0
    cut: str = ""

    @property
    def duration(self) -> float:
        """Length in seconds; 0 where unknown."""
        return self.frames / self.sample_rate if self.sample_rate else 0.0


def inspect_files(paths: Sequence[Path], root: Path, *, progress: bool = False) -> list[Inspection]:
    """Read and decode each file of the corpus at ``root``, in threads, except where that was done before."""
    distinct = list(dict.fromkeys(paths))
    memory = _Memory(root)
    states = {path: _state(path) for path in distinct}
    results = memory.recall(states)
    waiting = [path for path in distinct if path not in results]
    if waiting:
        with (
            progress_bar("reading sounds", len(waiting), shown=progress) as bar,
            ThreadPoolExecutor(min(8, (os.cpu_count() or 1) + 1)) as pool,
            memory.keeping(),
        ):
            for first in range(0, len(waiting), _AT_ONCE):  # so that an error does not wait for all that follow it
                batch = waiting[first : first + _AT_ONCE]
                for path, inspection in zip(batch, pool.map(_inspect, batch), strict=True):
                    results[path] = inspection
                    memory.add(path, states[path], inspection)
                    bar.advance()
    return [results[path] for path in paths]


def remembered_durations(paths: Sequence[Path], root: Path) -> dict[Path, float]:
    """Seconds of those files of the corpus at ``root`` that were read before, whole, and have not changed."""
    memory = _Memory(root)
    if not memory.entries:
        return {}
    recalled = memory.recall({path: _state(path) for path in dict.fromkeys(paths)})
    return {path: seen.duration for path, seen in recalled.items() if not seen.kind and not seen.cut}


class _Memory:
    """Properties of the files of one corpus that were read before, in the cache of the library."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        name = hashlib.sha256(str(self._root).encode()).hexdigest()[:16]
        self._file = cache_directory() / "inspections" / f"{name}.json"
        stored = read_json(self._file)
        entries = stored.get("files") if isinstance(stored, dict) and stored.get("version") == _VERSION else None
        self.entries: dict[str, Any] = entries if isinstance(entries, dict) else {}
        self._written = time.monotonic()

    def recall(self, states: Mapping[Path, list[int] | None]) -> dict[Path, Inspection]:
        """Return the properties of the files whose size and time of change are as they were."""
        results: dict[Path, Inspection] = {}
        for path, state in states.items() if self.entries else ():
            inspection = None if state is None else _remembered(self.entries.get(_name(path, self._root)), state)
            if inspection is not None:
                results[path] = inspection
        return results

    def add(self, path: Path, state: list[int] | None, inspection: Inspection) -> None:
        """Remember one file, and write the memory when that was not done for a while: what is read is not lost."""
        if state is not None:
            self.entries[_name(path, self._root)] = {"state": state, "found": asdict(inspection)}
        if time.monotonic() - self._written > _SECONDS:
            self._write()

    @contextlib.contextmanager
    def keeping(self) -> Iterator[None]:
        """Write the memory when the block ends, also by an error."""
        try:
            yield
        finally:
            self._write()
            remove_leftovers(self._file.parent)

    def _write(self) -> None:
        with contextlib.suppress(OSError):  # a cache that cannot be written costs time, not results
            write_json(self._file, {"version": _VERSION, "files": self.entries})
        self._written = time.monotonic()


def _name(path: Path, root: Path) -> str:
    text, start = str(path), f"{root}{os.sep}"
    if text.startswith(start) and f"{os.sep}." not in text:  # what relpath gives then, in a tenth of its time
        return text[len(start) :]
    return os.path.relpath(path.absolute(), root)


def _remembered(entry: Any, state: list[int]) -> Inspection | None:
    """Return the cached properties of a file; None if it has changed, or if the entry is absent or invalid."""
    try:
        return Inspection(**entry["found"]) if entry["state"] == state else None
    except (TypeError, KeyError):
        return None


def _state(path: Path) -> list[int] | None:
    inside = hdf5.locate(path)
    try:
        status = (path if inside is None else inside[0]).stat()
    except (OSError, ValueError):
        return None
    return [status.st_size, status.st_mtime_ns]


def _inspect(path: Path) -> Inspection:
    inside = hdf5.locate(path)
    if inside is not None:
        return _inspect_part(*inside)
    file_hash = ""
    try:
        with open(path, "rb") as file:
            file_hash = hashlib.file_digest(file, "sha256").hexdigest()
        with io.open_stream(path, accept_truncated=True) as stream:
            rate, channels = stream.sample_rate, stream.channels
            frames, problem, sound_hash, peak = _listen(stream.blocks(), rate, channels)
            cut = stream.cut
            if not cut and stream.claimed is not None and frames < stream.claimed:
                cut = f"its header promises {stream.claimed} samples, {frames} can be read"
    except FileNotFoundError:
        return Inspection("no such file", "missing")
    except OSError as error:
        return Inspection(f"cannot be opened ({error.strerror})", "unreadable", file_hash)
    except ValueError as error:  # AudioError among them; a name with NUL is another
        return Inspection(str(error).removeprefix(f"{path}: "), "unreadable", file_hash)
    if problem:
        return Inspection(problem, "unreadable", file_hash)
    return Inspection("", "", file_hash, sound_hash, rate, frames, channels, peak, cut)


def _listen(blocks: Iterable[NDArray[np.float32]], rate: int, channels: int) -> tuple[int, str, str, float]:
    """Samples of a channel of a sound, why it cannot be used, its hash and its largest magnitude."""
    digest = hashlib.sha256(f"{rate}:{channels}:".encode())
    frames, bad, peak = 0, 0, 0.0
    for block in blocks:
        frames += len(block)
        loudest = float(np.abs(block).max())
        if not np.isfinite(loudest):
            bad += int(block.size - np.isfinite(block).sum())
        peak = max(peak, loudest)
        digest.update(np.ascontiguousarray(block).data)
    return frames, io.describe_unusable(frames, frames * channels, bad, peak), digest.hexdigest(), peak


def _inspect_part(container: Path, name: str) -> Inspection:
    """A sound inside an HDF5 file, a block at a time: it may be hours."""
    try:
        with hdf5.open_sound(container, name) as sound:
            rate, total = sound.sample_rate, sound.frames
            starts = range(0, total, _BLOCK)
            blocks = (sound.read(first, min(_BLOCK, total - first)) for first in starts)
            frames, problem, sound_hash, peak = _listen(blocks, rate, 1)
    except AudioError as error:
        message = str(error).removeprefix(f"{container}: ")
        return Inspection(message, "missing" if message.startswith("has no sound") else "unreadable")
    if problem:
        return Inspection(f"{name}: {problem}", "unreadable")
    return Inspection("", "", sound_hash, sound_hash, rate, frames, 1, peak)
