"""Audio weighted by attention, and audio compression for web pages."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audioattn_lib.attention.record.record import AttentionRecord

from ..plots.spectrogram import host

__all__ = ["attended", "attended_cells", "cell_gain", "compress", "data_uri", "gain"]

MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
TAIL = 0.06  # seconds of silence after the sound: Firefox drops the last 35 ms that it decodes
BUDGET = 75_000  # bytes; as text in a page they are 100 kB


def gain(record: AttentionRecord, clip: int = 0) -> NDArray[np.float64]:
    r"""Compute the linear gain of each frame from the frame attention, in [0, 1].

    :math:`g_t = s_t / \max_u s_u` with the frame attention :math:`s`, so the frame
    attended to most keeps its level, and nothing is ever amplified.

    Parameters
    ----------
    record
        What the mechanism looked at; not empty.
    clip
        Which clip of the record.

    Returns
    -------
    array
        Gain in [0, 1] at the centre of each valid frame, shape ``(n_frames[clip],)``.

    Notes
    -----
    Book page: ``urban_sound``.
    """
    share = record.frame_attention(clip)
    return share / share.max()


def attended(
    samples: NDArray[Any], sample_rate: int, record: AttentionRecord, clip: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Split a sound into an attended part and the rest, whose sum is the sound.

    The :func:`gain` is interpolated linearly between the centres of the frames,
    which also fades every edge over one frame, so nothing clicks.

    Parameters
    ----------
    samples
        Mono sound, shape ``(n,)``, in [-1, 1].
    sample_rate
        Samples a second, above 0.
    record, clip
        What the mechanism looked at in this sound.

    Returns
    -------
    attended, rest
        Each of shape ``(n,)``.

    Notes
    -----
    Book page: ``urban_sound``.
    """
    sound = mono(samples)
    times = np.arange(len(sound)) / sample_rate
    level = np.interp(times, record.frame_times(clip), gain(record, clip)).astype(np.float32)
    kept = sound * level
    return kept, sound - kept


def cell_gain(
    record: AttentionRecord, clip: int = 0, frequencies: NDArray[Any] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    r"""Compute the linear gain of each cell of time and frequency, in [0, 1], and the centres of the bands.

    :math:`g_{ft} = m_{ft} / \max_{hu} m_{hu}` with the map :math:`m` averaged over layers and heads.

    Parameters
    ----------
    record
        With ``maps``.
    clip
        Which clip of the record.
    frequencies
        Hertz of the rows of the picture that the bands divide equally, rising; needed where the record has none.

    Returns
    -------
    gain : array
        Shape ``(bands, n_frames[clip])``.
    centres : array
        Hertz, shape ``(bands,)``.

    Raises
    ------
    ValueError
        When the record has no maps, or nobody knows the hertz of their bands.

    Notes
    -----
    Book page: ``bring_your_own_model``.
    """
    if record.maps is None or record.n_frames is None:
        raise ValueError(f"the record of {record.mechanism or 'this mechanism'} has no maps over time and frequency")
    values = record.maps[clip, ..., : int(record.n_frames[clip])].astype(np.float64).mean(axis=(0, 1))
    centres = record.frequencies
    if centres is None:
        if frequencies is None:
            raise ValueError("the record has maps without frequencies; give the hertz of the rows of the picture")
        place = (np.arange(len(values)) + 0.5) / len(values) * len(frequencies) - 0.5
        centres = np.interp(place, np.arange(len(frequencies)), frequencies)
    peak = float(values.max(initial=0.0))
    return values / peak if peak > 0 else values, np.asarray(centres, dtype=np.float64)


CELL_WINDOW = 0.064
"""Seconds of the window of :func:`attended_cells`: the power of two of samples that is nearest."""


def attended_cells(
    samples: NDArray[Any],
    sample_rate: int,
    record: AttentionRecord,
    clip: int = 0,
    frequencies: NDArray[Any] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    r"""Split a sound into the attended cells of time and frequency and the rest, whose sum is the sound.

    .. math:: y = \operatorname{ISTFT}\bigl(g(f, t)\, \operatorname{STFT}(x)\bigr)

    with :func:`cell_gain` interpolated linearly between the centres of the cells, a Hann window of 64 ms
    for analysis and synthesis, and a hop of a quarter of it. Where the gain is 1 everywhere, nothing changes.

    Parameters
    ----------
    samples
        Mono sound, shape ``(n,)``, in [-1, 1].
    sample_rate
        Samples a second, above 0.
    record, clip, frequencies
        As in :func:`cell_gain`.

    Returns
    -------
    attended, rest
        Each of shape ``(n,)``.

    Notes
    -----
    The phases are those of the whole sound, and a window sees 64 ms and 31 Hz at once: what lies that near to a border
    is heard on both sides, and sounds in one cell stay mixed. Source: Griffin and Lim, *Signal estimation from modified
    short-time Fourier transform*, IEEE TASSP 1984, equation 6. Book page: ``bring_your_own_model``.
    """
    from scipy.signal import ShortTimeFFT, get_window

    sound = mono(samples)
    gains, centres = cell_gain(record, clip, frequencies)
    size = 2 ** max(round(np.log2(CELL_WINDOW * sample_rate)), 2)
    transform = ShortTimeFFT(get_window("hann", size), size // 4, sample_rate)
    padded = np.pad(sound, (0, max(size - len(sound), 0)))
    spectrum = transform.stft(padded)
    times = transform.t(len(padded))
    over_time = np.stack([np.interp(times, record.frame_times(clip), row) for row in gains])
    places = np.interp(transform.f, centres, np.arange(len(centres)))
    below = np.minimum(places.astype(int), max(len(centres) - 2, 0))
    above = np.minimum(below + 1, len(centres) - 1)
    mixed = over_time[below] + (places - below)[:, None] * (over_time[above] - over_time[below])
    kept = transform.istft(spectrum * mixed, k1=len(padded))[: len(sound)].astype(np.float32)
    return kept, sound - kept


def compress(samples: NDArray[Any], sample_rate: int, budget: int = BUDGET, *, keep_rate: bool = True) -> bytes:
    """A mono sound as MP3 of at most ``budget`` bytes, at the best quality that fits.

    MP3 because every browser plays it and its start is kept to the sample
    (measured: within 0.2 ms in Chromium and Firefox, by the LAME header that libsndfile writes);
    16-bit WAV would take 128 kB for four seconds, this takes 7 to 25. A silence of ``TAIL`` seconds follows the sound.

    Parameters
    ----------
    samples
        Mono sound, shape ``(n,)``; louder than full scale is brought down to it as a whole.
    sample_rate
        Samples a second, above 0; a rate MP3 does not know is resampled to one it does.
    budget
        Most bytes of the compressed sound.
    keep_rate
        False is for one of many sounds: of fair quality, and at 16 kHz, then 8 kHz, where it does not fit at its rate.

    Raises
    ------
    ValueError
        When the sound is empty, not finite or not mono.
    TooLongError
        When it is too long for the budget.
    """
    sound = mono(samples)
    if sample_rate not in MP3_RATES:
        import soxr

        target = next((rate for rate in MP3_RATES if rate >= sample_rate), MP3_RATES[-1])
        sound, sample_rate = soxr.resample(sound, sample_rate, target), target
    sound = np.pad(sound / max(1.0, float(np.abs(sound).max())), (0, round(TAIL * sample_rate)))
    for rate in (sample_rate, *(lower for lower in _LOWER_RATES if lower < sample_rate and not keep_rate)):
        if rate < sample_rate:
            import soxr

            sound, sample_rate = soxr.resample(sound, sample_rate, rate), rate
        best, *others = _LEVELS[0 if keep_rate else 2 : -1]
        is_short = len(sound) <= START_SECONDS * sample_rate
        # most clips fit at the best quality; of a long sound see first whether any quality fits
        for level in (best, _LEVELS[-1], *others) if is_short else (_LEVELS[-1], best, *others):
            content = _mp3(sound, sample_rate, level)
            if level == _LEVELS[-1]:
                smallest = content
                if len(smallest) > budget:
                    break
            elif len(content) <= budget:
                return content
        else:
            return smallest
    seconds = len(sound) / sample_rate
    raise TooLongError(
        f"{seconds:.0f} s of sound at {sample_rate} Hz take {len(smallest) / 1000:.0f} kB; "
        f"a page holds {budget // 1000} kB a clip: show a shorter part or a lower sample rate"
    )


def compress_start(samples: NDArray[Any], sample_rate: int, budget: int = BUDGET) -> bytes:
    """The sound as :func:`compress` has it; of one that is too long, its first 20 s."""
    try:
        return compress(samples, sample_rate, budget)
    except TooLongError:
        return compress(samples[: round(START_SECONDS * sample_rate)], sample_rate, budget, keep_rate=False)


START_SECONDS = 20.0
_LOWER_RATES = (16_000, 8_000)
_LEVELS = (0.0, 0.3, 0.6, 0.9)
"""Compression of LAME, from the best quality to the smallest file."""


class TooLongError(ValueError):
    """A sound that does not fit into its budget."""


def _mp3(sound: NDArray[np.float32], sample_rate: int, level: float) -> bytes:
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(
        buffer,
        sound,
        sample_rate,
        format="MP3",
        subtype="MPEG_LAYER_III",
        bitrate_mode="VARIABLE",
        compression_level=level,
    )
    return buffer.getvalue()


def mono(samples: NDArray[Any]) -> NDArray[np.float32]:
    """Check a sound and return it as float32 of shape ``(n,)``."""
    sound = host(samples)
    if sound.ndim != 1 or sound.size == 0:
        raise ValueError(f"samples have shape {sound.shape}; a player takes one channel, shape (n,) with n above 0")
    if not np.isfinite(sound).all():
        raise ValueError("samples hold NaN or infinite values; check the file they were read from")
    return sound.astype(np.float32)


def data_uri(content: bytes, kind: str) -> str:
    """Content as a ``data:`` address of this media type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
