"""Reading and writing sound.

Files are decoded by libsndfile (``soundfile``), mixed to one channel and
resampled by ``soxr`` on the way in. What cannot be used as sound is an
:class:`~audioattn_lib.core.errors.AudioError` that names the file: missing,
unreadable, empty, cut off, fewer than two samples, or samples that are not
numbers. Nothing is allocated that a header only claims: sounds are decoded in
blocks, and a file decodes to no more than :func:`~audioattn_lib.audio.containers.sample_limit`.

Book page: ``data``.
"""

from __future__ import annotations

import io
import math
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from ..core.errors import AudioError
from ..core.files import write_whole
from . import hdf5
from .containers import describe_cut, sample_limit

__all__ = ["EXTENSIONS", "AudioInfo", "SoundStream", "info", "open_stream", "read", "resample", "write"]

EXTENSIONS = (".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff")
"""Suffixes of sound files."""

MINIMUM_SAMPLES = 2
"""Fewest samples that count as sound: one sample has no frequency."""

MAXIMUM_LEVEL = 2.0**32
"""Largest magnitude of a sample: the power of a louder one overflows, and whole numbers of 32 bits stay below it."""

MAXIMUM_RATIO = 256
"""Largest ratio of two rates between which sound is resampled."""

ACCEPT = "use what is there with the option accept_truncated=True of the corpus"

_BLOCK = 1 << 20
_UNKNOWN = 1 << 62
"""Least number of samples in a header that means an unknown number."""

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class AudioInfo:
    """Header of an audio file: sample rate, length, channels and format.

    Parameters
    ----------
    sample_rate
        Samples a second and channel, in hertz.
    frames
        Samples of each channel.
    channels
        1 is mono.
    format
        Container and encoding, such as ``"FLAC PCM_16"``.
    """

    sample_rate: int
    frames: int
    channels: int
    format: str

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.frames / self.sample_rate


class _Sequential(soundfile.SoundFile):  # type: ignore[misc]
    """Reads on from where it stands; ``soundfile`` itself seeks after every read, which a stream cannot."""

    def seekable(self) -> bool:
        return False


class SoundStream:
    """An open sound file, read a block at a time.

    Parameters
    ----------
    path
        Names the file in errors.
    file
        The open file.
    n_bytes
        Its size.
    cut
        What it lacks, as :func:`~audioattn_lib.audio.containers.describe_cut` says it.
    """

    def __init__(self, path: Path, file: soundfile.SoundFile, n_bytes: int, cut: str) -> None:
        self.path, self.cut = path, cut
        self.sample_rate, self.channels = int(file.samplerate), int(file.channels)
        self.format = f"{file.format} {file.subtype}"
        self._file = file
        self._left = sample_limit(n_bytes)
        self.claimed: int | None = int(file.frames)
        """Number of samples of a channel in the header; None where it is unknown."""
        if not 0 < self.claimed < _UNKNOWN:
            self.claimed = None if self.claimed else 0
        elif self.claimed * self.channels > self._left:
            raise AudioError(
                f"{path}: its header claims {self.claimed} samples in {n_bytes} bytes, more than they can hold; "
                "write the file again, or leave it out of the table"
            )

    def blocks(self, count: int | None = None) -> Iterator[Samples]:
        """Samples ``(n, channels)`` from where the stream stands: ``count`` of them, or to the end."""
        step = max(1, _BLOCK // self.channels)
        while count is None or count > 0:
            count_read = step if count is None else min(step, count)
            block = self._file.read(count_read, dtype="float32", always_2d=True)
            self._left -= block.size
            if self._left < 0:
                raise AudioError(f"{self.path}: decodes to more samples than its size can hold; leave it out")
            if len(block):
                yield block
            if len(block) < count_read:
                return
            count = None if count is None else count - len(block)

    def skip(self, count: int) -> None:
        """Leave out samples."""
        if not count:
            return
        if self.claimed is not None:
            self._file.seek(count)
            return
        for _ in self.blocks(count):
            pass


@contextmanager
def open_stream(path: str | Path, *, accept_truncated: bool = False) -> Iterator[SoundStream]:
    """Open a sound file that is whole, to read it a block at a time.

    Parameters
    ----------
    path
        The file; none inside of HDF5.
    accept_truncated
        Open a file that was cut off too.

    Raises
    ------
    AudioError
        When the file is missing, empty, no sound file or cut off, or claims more than it can hold; while the block
        runs, when it cannot be decoded.

    Notes
    -----
    Book page: ``data``.
    """
    path, size = _existing(path)
    try:
        cut = describe_cut(path)
        if cut and not accept_truncated:
            raise _truncated(path, cut)
        with _Sequential(str(path)) as file:
            yield SoundStream(path, file, size, cut)
    except (soundfile.LibsndfileError, RuntimeError, OSError) as error:
        raise _unreadable(path, error) from None


def info(path: str | Path, *, accept_truncated: bool = False) -> AudioInfo:
    """Read the header of a sound file, and decode the sound only where the header lacks the duration.

    Parameters
    ----------
    path
        As for :func:`read`.
    accept_truncated
        Take what is there of a file that was cut off.

    Raises
    ------
    AudioError
        When the file is missing, empty, cut off, no sound file, or holds no samples.

    Notes
    -----
    Book page: ``data``.
    """
    if (inside := hdf5.locate(path)) is not None:
        with hdf5.open_sound(*inside) as sound:
            header = AudioInfo(sound.sample_rate, sound.frames, 1, sound.format)
        _check_length(Path(path), header.frames)
        return header
    with open_stream(path, accept_truncated=accept_truncated) as stream:
        frames = _count_frames(stream)
        header = AudioInfo(stream.sample_rate, frames, stream.channels, stream.format)
    _check_length(Path(path), header.frames)
    return header


def _count_frames(stream: SoundStream) -> int:
    """Samples of a channel; decoded where the header does not know, which leaves the stream at its end."""
    if stream.claimed is not None and not stream.cut:
        return stream.claimed
    return sum(map(len, stream.blocks()))


def read(
    path: str | Path,
    sample_rate: int | None = None,
    mono: bool = True,
    *,
    start: float = 0.0,
    stop: float | None = None,
    accept_truncated: bool = False,
) -> tuple[Samples, int]:
    """Read a sound file, or a part of it.

    Parameters
    ----------
    path
        File in any format of libsndfile (WAV, FLAC, Ogg, MP3, AIFF, ...), or
        ``file.hdf5/name``; see :mod:`audioattn_lib.audio.hdf5`.
    sample_rate
        Rate of the result in hertz, at least 1; the sound is resampled when its
        own differs, at most 256 times higher or lower. None keeps its own.
    mono
        Mean of all channels. False keeps them.
    start, stop
        Part to read, in seconds from the beginning of the file,
        ``0 <= start < stop``; None is the end of the file.
    accept_truncated
        Read what is there of a file that was cut off.

    Returns
    -------
    samples : ndarray
        float32 in [-1, 1] (nothing clips a louder floating-point file, up to 2^32), shape
        ``(n,)``, or ``(n, channels)`` with ``mono=False``.
    sample_rate : int
        Rate of ``samples`` in hertz.

    Raises
    ------
    AudioError
        When the file is missing, unreadable, empty, cut off, claims more than
        it can hold, has fewer than two samples or samples that are not finite,
        or when the part asked for lies outside of it.

    Notes
    -----
    Book page: ``data``.
    """
    if (inside := hdf5.locate(path)) is not None:
        with hdf5.open_sound(*inside) as sound:
            first, count = _part(Path(path), sound.frames, sound.sample_rate, start, stop)
            return _prepare(Path(path), sound.read(first, count), sound.sample_rate, sample_rate, mono)
    path = Path(path)
    with open_stream(path, accept_truncated=accept_truncated) as stream:
        native, frames = stream.sample_rate, stream.claimed
        if frames is None or stream.cut:
            # Asked of a stream of its own: this one would stand at its end.
            frames = info(path, accept_truncated=accept_truncated).frames
        first, count = _part(path, frames, native, start, stop)
        stream.skip(first)
        blocks = list(stream.blocks(count))
        samples = blocks[0] if len(blocks) == 1 else np.concatenate([np.zeros((0, stream.channels), "f4"), *blocks])
        if len(samples) < count and not accept_truncated:
            raise _truncated(path, f"its header promises {first + count} samples, {first + len(samples)} can be read")
    return _prepare(path, samples, native, sample_rate, mono)


def write(path: str | Path, samples: NDArray[Any], sample_rate: int, *, durable: bool = True) -> None:
    """Write a sound file; the suffix of ``path`` names the format.

    The file appears whole or not at all. Integer formats (WAV, FLAC: 16 bits)
    clip samples outside [-1, 1].

    Parameters
    ----------
    path
        Where to; its folder is made when missing.
    samples
        Shape ``(n,)`` or ``(n, channels)``, finite.
    sample_rate
        Hertz, above 0.
    durable
        Bring the file to the disk before it has its name, see :func:`audioattn_lib.core.files.write_whole`.

    Raises
    ------
    AudioError
        When there are no samples, some are not finite, or the format is
        unknown or has no such rate or number of channels.

    Notes
    -----
    Book page: ``data``.
    """
    path = Path(path)
    samples = np.asarray(samples, dtype=np.float32)
    if samples.ndim not in (1, 2) or not samples.size:
        raise AudioError(f"{path}: samples have shape {samples.shape}; write (n,) or (n, channels) with n > 0")
    if not np.isfinite(samples).all():
        raise AudioError(f"{path}: {_count_bad(samples)} samples are NaN or infinite; they cannot be written as sound")
    container = path.suffix.lstrip(".").upper()
    container = "AIFF" if container == "AIF" else container
    if container not in soundfile.available_formats():
        endings = ", ".join(EXTENSIONS)
        raise AudioError(f"{path}: no sound format is called {path.suffix!r}; use one of {endings}")
    # Encoded in memory: libsndfile itself would not say that a disk is full.
    encoded = io.BytesIO()
    try:
        soundfile.write(encoded, samples, sample_rate, format=container)
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{path}: cannot be written ({error}); check sample rate and channels") from None
    with write_whole(path, durable=durable) as temporary:
        temporary.write_bytes(encoded.getbuffer())


def resample(samples: NDArray[Any], source_rate: int, target_rate: int) -> Samples:
    """Resample ``(n,)`` or ``(n, channels)`` from one rate in hertz to another (soxr, high quality).

    Raises
    ------
    AudioError
        When a rate is below 1, or one is more than 256 times the other.

    Notes
    -----
    Book page: ``data``.
    """
    if source_rate == target_rate:
        return np.asarray(samples, dtype=np.float32)
    lower, higher = sorted((source_rate, target_rate))
    if not 1 <= lower <= higher <= MAXIMUM_RATIO * lower:
        raise AudioError(
            f"resampling from {source_rate} to {target_rate} Hz; rates must be at least 1 and differ by no more than "
            f"{MAXIMUM_RATIO} times"
        )
    return np.asarray(soxr.resample(np.asarray(samples, dtype=np.float32), source_rate, target_rate), dtype=np.float32)


def _existing(path: str | Path) -> tuple[Path, int]:
    """The path of a file that is not empty, and its size in bytes."""
    path = Path(path)
    try:
        status = path.stat()
    except FileNotFoundError:
        raise AudioError(f"{path}: no such file; check the path") from None
    except OSError as error:
        raise AudioError(f"{path}: cannot be opened ({error.strerror})") from None
    except ValueError as error:  # NUL, or a character that the locale has not
        raise AudioError(f"{str(path)!r}: no file can have such a name ({error})") from None
    if stat.S_ISDIR(status.st_mode):
        raise AudioError(f"{path}: is a folder, not a sound file")
    if not stat.S_ISREG(status.st_mode):
        raise AudioError(f"{path}: is a device or a pipe, not a sound file")
    if status.st_size == 0:
        raise _empty(path)
    return path, status.st_size


def _part(path: Path, frames: int, rate: int, start: float, stop: float | None) -> tuple[int, int]:
    """First sample and number of samples of a part given in seconds."""
    # No file is so long, and whole numbers have no infinity.
    beyond = frames + 2 * rate
    first = round(min(start * rate, beyond)) if start >= 0 else -1
    last = frames if stop is None else round(min(stop * rate, beyond)) if stop >= 0 else -1
    # Tables round seconds, so a part may end a hair after the file does.
    if last > frames and last - frames <= max(1, rate // 100):
        last = frames
    if not 0 <= first < last <= frames:
        if frames < MINIMUM_SAMPLES:
            _check_length(path, frames)
        end = "its end" if stop is None else f"{stop:g} s"
        raise AudioError(
            f"{path}: asked for {start:g} s to {end}, but it lasts {frames / rate:.4g} s; start must lie before stop"
        )
    return first, last - first


def _prepare(path: Path, samples: Samples, native: int, sample_rate: int | None, mono: bool) -> tuple[Samples, int]:
    peak = max(float(samples.max(initial=0)), -float(samples.min(initial=0)))
    bad = 0 if math.isfinite(peak) else _count_bad(samples)
    if problem := describe_unusable(len(samples), samples.size, bad, peak):
        raise AudioError(f"{path}: {problem}")
    if mono:
        samples = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
    if sample_rate is None or sample_rate == native:
        return np.ascontiguousarray(samples), native
    try:
        samples = resample(samples, native, sample_rate)
    except AudioError as error:
        raise AudioError(f"{path}: {error}") from None
    _check_length(path, len(samples))
    return samples, sample_rate


def _check_length(path: Path, frames: int) -> None:
    if problem := describe_unusable(frames, frames, 0, 0.0):
        raise AudioError(f"{path}: {problem}")


def describe_unusable(frames: int, size: int, bad: int, peak: float) -> str:
    """Return the reason why decoded samples are no sound, ``""`` where they are one.

    Parameters
    ----------
    frames, size
        Samples of a channel, and of all channels.
    bad
        How many are NaN or infinite.
    peak
        Largest magnitude.
    """
    if frames < MINIMUM_SAMPLES:
        plural = "" if frames == 1 else "s"
        return f"has {frames} sample{plural}; a sound needs at least {MINIMUM_SAMPLES}. Leave it out of the table"
    if bad:
        return f"{bad} of {size} samples are NaN or infinite; write the file again, or leave it out of the table"
    if peak > MAXIMUM_LEVEL:
        return f"samples reach {peak:.4g}; full scale is 1, allowed are {MAXIMUM_LEVEL:.4g}. Divide them by their peak"
    return ""


def _count_bad(samples: Samples) -> int:
    return int(samples.size - np.isfinite(samples).sum())


def _empty(path: Path) -> AudioError:
    return AudioError(f"{path}: the file is empty (0 bytes); fetch it again, or leave it out of the table")


def _truncated(path: Path, cut: str) -> AudioError:
    return AudioError(f"{path}: the file is cut off: {cut}; fetch it again, leave it out of the table, or {ACCEPT}")


def _unreadable(path: Path, error: Exception) -> AudioError:
    reason = str(error).rpartition(": ")[2].rstrip(".") or type(error).__name__
    return AudioError(f"{path}: not a readable sound file ({reason}); known are {', '.join(EXTENSIONS)}")
