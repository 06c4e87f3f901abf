"""What sound files hold, read once and remembered.

A file is known again by path, size and time of change, so the second look at
a corpus is instant. The memory lies in the cache of the library, never in the
corpus.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ..audio import hdf5, io
from ..errors import AudioError
from .files import cache_directory, read_json, write_json
from .progress import progress_bar

__all__ = ["Inspection", "inspect_files"]

_VERSION = 1
_BLOCK = 1 << 22


@dataclass(frozen=True)
class Inspection:
    """What one file holds.

    Parameters
    ----------
    problem
        Why it cannot be used, ``""`` where it can.
    kind
        Word for the problem: ``missing``, ``unreadable``, or ``""``.
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

    @property
    def duration(self) -> float:
        """Length in seconds; 0 where unknown."""
        return self.frames / self.sample_rate if self.sample_rate else 0.0


def inspect_files(paths: Sequence[Path], root: Path, *, progress: bool = False) -> list[Inspection]:
    """Read and decode each file of the corpus at ``root``, in threads, except where that was done before."""
    distinct = list(dict.fromkeys(paths))
    root = root.absolute()
    memory = cache_directory() / "inspections" / f"{hashlib.sha256(str(root).encode()).hexdigest()[:16]}.json"
    stored = read_json(memory)
    known = stored["files"] if isinstance(stored, dict) and stored.get("version") == _VERSION else {}
    states = {path: _state(path) for path in distinct}
    results: dict[Path, Inspection] = {}
    for path, state in states.items():
        entry = known.get(os.path.relpath(path.absolute(), root))
        if state is not None and entry is not None and entry["state"] == state:
            results[path] = Inspection(**entry["found"])
    waiting = [path for path in distinct if path not in results]
    if waiting:
        with (
            progress_bar("reading sounds", len(waiting), shown=progress) as bar,
            ThreadPoolExecutor(min(8, (os.cpu_count() or 1) + 1)) as pool,
        ):
            for path, found in zip(waiting, pool.map(_inspect, waiting), strict=True):
                results[path] = found
                bar.advance()
        entries = dict(known)
        for path in waiting:
            if states[path] is not None:
                name = os.path.relpath(path.absolute(), root)
                entries[name] = {"state": states[path], "found": asdict(results[path])}
        with contextlib.suppress(OSError):  # a cache that cannot be written costs time, not results
            write_json(memory, {"version": _VERSION, "files": entries})
    return [results[path] for path in paths]


def _state(path: Path) -> list[int] | None:
    inside = hdf5.locate(path)
    try:
        status = (path if inside is None else inside[0]).stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]


def _inspect(path: Path) -> Inspection:
    inside = hdf5.locate(path)
    if inside is not None:
        return _inspect_part(*inside)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return Inspection("no such file", "missing")
    except OSError as error:
        return Inspection(f"cannot be opened ({error.strerror})", "unreadable")
    file_hash = hashlib.sha256(content).hexdigest()
    try:
        samples, rate = io.decode(content, path)
    except AudioError as error:
        return Inspection(str(error).removeprefix(f"{path}: "), "unreadable", file_hash)
    digest = hashlib.sha256(f"{rate}:{samples.shape}:".encode())
    digest.update(np.ascontiguousarray(samples).data)
    return Inspection(
        "", "", file_hash, digest.hexdigest(), rate, len(samples), samples.shape[1], float(np.abs(samples).max())
    )


def _inspect_part(container: Path, name: str) -> Inspection:
    """A sound inside an HDF5 file, a block at a time: it may be hours."""
    digest = hashlib.sha256()
    peak = 0.0
    try:
        with hdf5.open_sound(container, name) as sound:
            rate, frames = sound.sample_rate, sound.frames
            digest.update(f"{rate}:{(frames, 1)}:".encode())
            for first in range(0, frames, _BLOCK):
                block = sound.read(first, min(_BLOCK, frames - first))
                if not np.isfinite(block).all():
                    return Inspection(f"{name} holds samples that are NaN or infinite", "unreadable")
                peak = max(peak, float(np.abs(block).max()))
                digest.update(np.ascontiguousarray(block).data)
    except AudioError as error:
        message = str(error).removeprefix(f"{container}: ")
        return Inspection(message, "missing" if message.startswith("has no sound") else "unreadable")
    if frames < io.MINIMUM_SAMPLES:
        return Inspection(f"{name} has {frames} samples; a sound needs at least {io.MINIMUM_SAMPLES}", "unreadable")
    found = digest.hexdigest()
    return Inspection("", "", found, found, rate, frames, 1, peak)
