"""Sounds of any kind as one source: a file, or samples with their rate.

Book page: ``your_sounds``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from audioattn_lib.audio import hdf5, io
from audioattn_lib.audio.samples import to_mono
from audioattn_lib.core.errors import AudioError

__all__ = ["Sound", "Source", "as_source"]

Sound = Any
"""A path, samples ``(n,)``, ``(channels, n)`` or ``(n, channels)``, or a pair of samples and their rate."""
Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Source:
    """A sound that can be read at any rate, whole or a block at a time.

    Parameters
    ----------
    name
        For people: the path, or ``"sound"``.
    duration
        Seconds.
    path
        File; None for samples.
    samples, sample_rate
        Samples of one channel and their rate; of a file None and its own rate.
    start, stop
        Part of the file in seconds.
    """

    name: str
    duration: float
    path: Path | None
    samples: Samples | None = field(repr=False)
    sample_rate: int
    start: float = 0.0
    stop: float | None = None

    def read(self, sample_rate: int) -> Samples:
        """All samples at a rate in hertz, shape ``(n,)``."""
        if self.path is not None:
            return io.read(self.path, sample_rate, start=self.start, stop=self.stop)[0]
        assert self.samples is not None
        return io.resample(self.samples, self.sample_rate, sample_rate)

    def blocks(self, sample_rate: int) -> Iterator[Samples]:
        """The same samples block by block, of which only one is in memory."""
        if self.path is None or hdf5.locate(self.path) is not None:
            yield self.read(sample_rate)
            return
        with io.open_stream(self.path) as stream:
            first = round(self.start * stream.sample_rate)
            count = None if self.stop is None else round(self.stop * stream.sample_rate) - first
            stream.skip(first)
            change = None
            if stream.sample_rate != sample_rate:
                change = soxr.ResampleStream(stream.sample_rate, sample_rate, 1, dtype="float32")
            for block in stream.blocks(count):
                if not np.isfinite(block).all():
                    raise AudioError(f"{self.path}: samples are NaN or infinite; write the file again")
                mono = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1)
                yield mono if change is None else change.resample_chunk(mono)
            if change is not None:
                yield change.resample_chunk(np.zeros(0, dtype=np.float32), last=True)


def as_source(sound: Sound, sample_rate: int | None = None, *, start: float = 0.0, stop: float | None = None) -> Source:
    """A sound as a source.

    Parameters
    ----------
    sound
        See :data:`Sound`.
    sample_rate
        Hertz of samples; not of a file.
    start, stop
        Part of it in seconds; None is its end.

    Raises
    ------
    AudioError
        When it cannot be used: the message names the file, or what is wrong with the samples.
    """
    if isinstance(sound, (str, Path)):
        if sample_rate is not None:
            raise AudioError(f"sample_rate is {sample_rate}; a file has its own, leave it out")
        about = io.info(sound)
        end = about.duration if stop is None else min(stop, about.duration)
        if not 0 <= start < end:
            raise AudioError(
                f"{sound}: asked for {start:g} to {end:g} s, but it lasts {about.duration:.4g} s; start must lie "
                "before stop"
            )
        return Source(str(sound), end - start, Path(sound), None, about.sample_rate, start, stop)
    if isinstance(sound, tuple) and len(sound) == 2 and np.ndim(sound[1]) == 0:
        sound, sample_rate = sound
    samples, rate = to_mono(sound, sample_rate)
    samples = samples[round(start * rate) : None if stop is None else round(stop * rate)]
    if problem := io.describe_unusable(len(samples), len(samples), 0, float(np.abs(samples).max(initial=0.0))):
        raise AudioError(f"sound: {problem}")
    return Source("sound", len(samples) / rate, None, samples, rate)
