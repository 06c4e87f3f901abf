"""Reading and writing sound.

Files are decoded by libsndfile (``soundfile``), mixed to one channel and
resampled by ``soxr`` on the way in. What cannot be used as sound is an
:class:`~audioattn_lib.errors.AudioError` that names the file: missing,
unreadable, empty, fewer than two samples, or samples that are not numbers.

Book page: ``data``.
"""

from __future__ import annotations

import io
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from ..errors import AudioError
from . import hdf5

__all__ = ["EXTENSIONS", "AudioInfo", "info", "read", "resample", "write"]

EXTENSIONS = (".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff")
"""Suffixes of the files that a folder is searched for."""

MINIMUM_SAMPLES = 2
"""Fewest samples that count as sound: one sample has no frequency."""

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class AudioInfo:
    """What the header of a file says.

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


def info(path: str | Path) -> AudioInfo:
    """Read the header of a sound file and nothing else.

    Raises
    ------
    AudioError
        When the file is missing, empty, no sound file, or holds no samples.

    Notes
    -----
    Book page: ``data``.
    """
    if (inside := hdf5.locate(path)) is not None:
        with hdf5.open_sound(*inside) as sound:
            found = AudioInfo(sound.sample_rate, sound.frames, 1, sound.format)
        _check_length(Path(path), found.frames)
        return found
    path = _existing(path)
    try:
        header = soundfile.info(str(path))
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise _unreadable(path, error) from None
    found = AudioInfo(header.samplerate, header.frames, header.channels, f"{header.format} {header.subtype}")
    _check_length(path, found.frames)
    return found


def read(
    path: str | Path,
    sample_rate: int | None = None,
    mono: bool = True,
    *,
    start: float = 0.0,
    stop: float | None = None,
) -> tuple[Samples, int]:
    """Read a sound file, or a part of it.

    Parameters
    ----------
    path
        File in any format of libsndfile (WAV, FLAC, Ogg, MP3, AIFF, ...), or
        ``file.hdf5/name``; see :mod:`audioattn_lib.audio.hdf5`.
    sample_rate
        Rate of the result in hertz; the sound is resampled when its own
        differs. None keeps its own.
    mono
        Mean of all channels. False keeps them.
    start, stop
        Part to read, in seconds from the beginning of the file,
        ``0 <= start < stop``; None is the end of the file.

    Returns
    -------
    samples : ndarray
        float32 in [-1, 1] (nothing clips a louder floating-point file), shape
        ``(n,)``, or ``(n, channels)`` with ``mono=False``.
    sample_rate : int
        Rate of ``samples`` in hertz.

    Raises
    ------
    AudioError
        When the file is missing, unreadable, empty, has fewer than two
        samples or samples that are not finite, or when the part asked for
        lies outside of it.

    Notes
    -----
    Book page: ``data``.
    """
    if (inside := hdf5.locate(path)) is not None:
        with hdf5.open_sound(*inside) as sound:
            first, count = _part(Path(path), sound.frames, sound.sample_rate, start, stop)
            return _prepare(Path(path), sound.read(first, count), sound.sample_rate, sample_rate, mono)
    path = _existing(path)
    try:
        with soundfile.SoundFile(str(path)) as file:
            native = file.samplerate
            first, count = _part(path, file.frames, native, start, stop)
            if first:
                file.seek(first)
            samples = file.read(count, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise _unreadable(path, error) from None
    return _prepare(path, samples, native, sample_rate, mono)


def decode(content: bytes, path: str | Path) -> tuple[Samples, int]:
    """Decode the bytes of a whole sound file: samples ``(n, channels)`` and their rate; ``path`` names it in errors."""
    if not content:
        raise _empty(Path(path))
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            samples = file.read(dtype="float32", always_2d=True)
            native = file.samplerate
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise _unreadable(Path(path), error) from None
    return _prepare(Path(path), samples, native, None, mono=False)


def write(path: str | Path, samples: NDArray[Any], sample_rate: int) -> None:
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
        known = ", ".join(EXTENSIONS)
        raise AudioError(f"{path}: no sound format is called {path.suffix!r}; use one of {known}")
    # Encoded in memory: libsndfile itself would not say that a disk is full.
    encoded = io.BytesIO()
    try:
        soundfile.write(encoded, samples, sample_rate, format=container)
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{path}: cannot be written ({error}); check sample rate and channels") from None
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=path.suffix)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(encoded.getbuffer())
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


def resample(samples: NDArray[Any], source_rate: int, target_rate: int) -> Samples:
    """Resample ``(n,)`` or ``(n, channels)`` from one rate in hertz to another (soxr, high quality).

    Notes
    -----
    Book page: ``data``.
    """
    if source_rate == target_rate:
        return np.asarray(samples, dtype=np.float32)
    return np.asarray(soxr.resample(np.asarray(samples, dtype=np.float32), source_rate, target_rate), dtype=np.float32)


def _existing(path: str | Path) -> Path:
    path = Path(path)
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise AudioError(f"{path}: no such file; check the path") from None
    except OSError as error:
        raise AudioError(f"{path}: cannot be opened ({error.strerror})") from None
    if path.is_dir():
        raise AudioError(f"{path}: is a folder, not a sound file")
    if size == 0:
        raise _empty(path)
    return path


def _part(path: Path, frames: int, rate: int, start: float, stop: float | None) -> tuple[int, int]:
    """First sample and number of samples of a part given in seconds."""
    first = round(start * rate)
    last = frames if stop is None else round(stop * rate)
    # Tables round seconds, so a part may end a hair after the file does.
    if last > frames and last - frames <= max(1, rate // 100):
        last = frames
    if start < 0 or first >= last or last > frames:
        if frames < MINIMUM_SAMPLES:
            _check_length(path, frames)
        end = "its end" if stop is None else f"{stop:g} s"
        raise AudioError(
            f"{path}: asked for {start:g} s to {end}, but it lasts {frames / rate:.4g} s; start must lie before stop"
        )
    return first, last - first


def _prepare(path: Path, samples: Samples, native: int, sample_rate: int | None, mono: bool) -> tuple[Samples, int]:
    _check_length(path, len(samples))
    if not np.isfinite(samples).all():
        raise AudioError(
            f"{path}: {_count_bad(samples)} of {samples.size} samples are NaN or infinite; "
            "write the file again, or leave it out of the table"
        )
    if mono:
        samples = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
    if sample_rate is None or sample_rate == native:
        return np.ascontiguousarray(samples), native
    samples = resample(samples, native, sample_rate)
    _check_length(path, len(samples))
    return samples, sample_rate


def _check_length(path: Path, frames: int) -> None:
    if frames < MINIMUM_SAMPLES:
        raise AudioError(
            f"{path}: has {frames} sample{'' if frames == 1 else 's'}; a sound needs at least {MINIMUM_SAMPLES}. "
            "Leave it out of the table"
        )


def _count_bad(samples: Samples) -> int:
    return int(samples.size - np.isfinite(samples).sum())


def _empty(path: Path) -> AudioError:
    return AudioError(f"{path}: the file is empty (0 bytes); fetch it again, or leave it out of the table")


def _unreadable(path: Path, error: Exception) -> AudioError:
    reason = str(error).rpartition(": ")[2].rstrip(".") or type(error).__name__
    return AudioError(f"{path}: not a readable sound file ({reason}); known are {', '.join(EXTENSIONS)}")
