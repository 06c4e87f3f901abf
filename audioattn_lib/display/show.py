"""Any sound with anything over it: curves, time-frequency maps, segments and labels, without a model.

What is drawn comes as arrays, tables or the files of other programs. PyTorch is not needed.

Book page: ``your_sounds``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audioattn_lib.attention.record.record import AttentionRecord, FrameClock
from audioattn_lib.attention.record.segment_lists import LabelledSegment, list_segments, read_segments
from audioattn_lib.attention.record.textgrid import read_textgrid
from audioattn_lib.audio.io import read
from audioattn_lib.audio.samples import to_mono
from audioattn_lib.core.errors import ConfigError

from .describe import KnownEvent
from .players.player import Player, player
from .plots.spectrogram import host

__all__ = ["log_mel", "read_intervals", "show"]

Overlay = Any
"""An array, a pair of times and values, a pandas series or frame, an AttentionRecord, or a mapping of names to them."""
Intervals = Any
"""Rows of start, stop and perhaps a label, a pandas frame with these columns, or the path of a list of segments."""

MOST_COLUMNS = 3000  # of a picture: WebP ends at 16,383, and no screen shows more
MOST_FRAMES = 4000  # of a curve on times of its own
BANDS = 96
WINDOW = 0.032  # seconds
BUDGET = 2_000_000  # bytes of MP3: about 20 min
LEVELS = 80.0  # dB shown below the peak

_LAYOUTS = {".csv": "csv", ".rttm": "rttm", ".txt": "audacity"}
LABEL_FILES = (".textgrid", *_LAYOUTS)
"""Endings of files with labelled intervals, in lower case."""


def show(
    sound: str | Path | NDArray[Any],
    sample_rate: int | None = None,
    *,
    curve: Overlay = None,
    map: Overlay = None,
    segments: Intervals = None,
    labels: Intervals = None,
    frequencies: NDArray[Any] | None = None,
    sliders: Mapping[str, Sequence[object]] | None = None,
    title: str = "",
    caption: str = "",
) -> Player:
    r"""Show a sound with its spectrogram, a playhead, and what is given over it.

    A curve or a map is also heard: "Only attended" multiplies the sound by the curve divided by its peak,
    :math:`g_t = c_t / \max_u c_u`, and each cell of time and frequency by the map divided by its peak, see
    :func:`~audioattn_lib.display.players.sound.attended_cells`. The spectrogram is the power of
    a short-time Fourier transform (window of 32 ms, hop of 16 ms) in 96 triangular bands on the mel scale
    :math:`m(f) = 2595 \log_{10}(1 + f / 700)`, in dB, down to 80 dB below the peak.

    Parameters
    ----------
    sound
        Path of a sound file; or samples, shape ``(n,)``, ``(channels, n)`` or ``(n, channels)``, floats in [-1, 1] or
        integers over the range of their type. Channels are averaged.
    sample_rate
        Samples a second; needed with samples, and not allowed with a path.
    curve
        Numbers of at least 0 over time. An array of shape ``(frames,)`` divides the sound into equal frames; a pair
        ``(times, values)``, or a pandas series whose index is time, has the centres of the frames in seconds.
        Several as a mapping, or as a frame with a column each: buttons switch between them.
    map
        Numbers of at least 0 over frequency and time, shape ``(bands, frames)``, low bands first; a pair ``(times,
        values)``, or a mapping of several. An :class:`AttentionRecord` of one clip does as well.
    segments
        Intervals in seconds to be heard alone: rows ``(start, stop)``, a pandas frame with columns ``start`` and
        ``stop``, or a file (``.TextGrid``, ``.rttm``, ``.csv`` with clip, label, start and stop, or ``.txt`` of
        Audacity labels). A mapping of several.
    labels
        Intervals with names, to be drawn above the spectrogram: rows ``(start, stop, label)``, a frame with a column
        ``label``, a file as above, or a record of one clip with labelled rows, such as words.
    frequencies
        Centre of each band of ``map`` in hertz, rising, shape ``(bands,)``. Without it the bands divide the height of
        the picture equally, as those of a mel spectrogram do.
    sliders
        Choose among several curves, maps and segments with sliders instead of buttons: the values of each slider by
        what it changes, with its unit. They are every combination in order, the last slider changing fastest.
    title, caption
        Text above and below the player.

    Returns
    -------
    Player
        It shows itself in a notebook; ``save`` writes it as a page.

    Raises
    ------
    ValueError
        When a shape does not fit, a number is not finite or negative, an interval ends before it begins or lies outside
        of the sound, or the sound is longer than a page of 2 MB can hold (about 20 min).
    AudioError
        When the sound file cannot be read.
    ConfigError
        When a list of segments cannot be read.

    Notes
    -----
    Book page: ``your_sounds``.

    Examples
    --------
    >>> import numpy as np
    >>> sound = np.random.default_rng(0).uniform(-0.1, 0.1, 16000)
    >>> show(sound, 16000, curve=np.hanning(50), labels=[(0.2, 0.6, "noise")], title="Noise")
    Player: Noise: Spectrogram of 1.0 s of sound, 40 to 7786 Hz. ...
    """
    samples, rate = _samples(sound, sample_rate)
    duration = len(samples) / rate
    features, clock, centres = log_mel(samples, rate)
    records: dict[str, AttentionRecord] = {}
    noun = _noun(curve=curve, map=map, segments=segments)
    for name, each in _named(curve, "Curve", "curve"):
        records[name] = _curve_record(each, name, duration)
    for name, each in _named(map, "Map", "map"):
        records[name] = _map_record(each, name, frequencies, centres, duration)
    for name, each in _named(segments, "Segments", "segments"):
        records[name] = _segment_record(_intervals(each, "segments", duration), name, duration)
    events = [
        KnownEvent(interval.label, interval.start, interval.stop) for interval in _intervals(labels, "labels", duration)
    ]
    return player(
        samples,
        rate,
        records=records,
        features=features,
        clock=clock,
        frequencies=centres,
        events=events,
        sliders=sliders,
        title=title or (Path(sound).stem if isinstance(sound, (str, Path)) else ""),
        caption=caption,
        budget=BUDGET,
        cells=map is not None,
        noun=noun,
    )


def _noun(**overlays: Overlay) -> str:
    """Word of the controls for what is over the sound: the name of its argument, or attention if a model gave it."""
    overlays_by_field = {field: data for field, data in overlays.items() if data is not None}
    if len(overlays_by_field) == 1:
        ((field, data),) = overlays_by_field.items()
        several = data.values() if isinstance(data, Mapping) else [data]
        if not any(isinstance(each, AttentionRecord) for each in several):
            return field
    return "attention"


def _samples(sound: Any, sample_rate: int | None) -> tuple[NDArray[np.float32], int]:
    if isinstance(sound, (str, Path)):
        if sample_rate is not None:
            raise ValueError(f"sample_rate is {sample_rate}; a file has its own, leave it out")
        return read(sound)
    return to_mono(sound, sample_rate)


def _named(data: Any, name: str, field: str) -> Iterable[tuple[str, Any]]:
    """One or several of them, by name."""
    if data is None:
        return ()
    if hasattr(data, "columns") and field == "curve":  # a frame: a curve a column
        return [(str(column), data[column]) for column in data.columns]
    if isinstance(data, Mapping):
        if not data:
            raise ValueError(f"{field} is an empty mapping; leave it out, or give at least one")
        return [(str(key), value) for key, value in data.items()]
    if isinstance(data, AttentionRecord):
        return [(data.mechanism or name, data)]
    if hasattr(data, "index") and hasattr(data, "to_numpy"):
        return [(str(data.name) if getattr(data, "name", None) is not None else name, data)]
    return [(name, data)]


def _timed(data: Any, field: str, dimensions: int, duration: float) -> tuple[NDArray[np.float64], FrameClock]:
    """Values whose last axis is time, at least 0, and the clock of its frames."""
    times = None
    if hasattr(data, "index") and hasattr(data, "to_numpy"):
        has_times = type(data.index).__name__ != "RangeIndex"  # numbers of rows, which pandas gives by itself
        times, data = data.index.to_numpy() if has_times else None, data.to_numpy()
    elif isinstance(data, tuple) and len(data) == 2 and np.ndim(data[0]) == 1 and np.ndim(data[1]) == dimensions:
        times, data = data
    values = _numbers(data, field)
    if values.ndim != dimensions or 0 in values.shape:
        needed = "(frames,)" if dimensions == 1 else "(bands, frames)"
        raise ValueError(f"{field} has shape {values.shape}; it must be {needed}, or a pair of times and such an array")
    if (values < 0).any():
        raise ValueError(f"{field} has numbers down to {values.min():g}; they must be at least 0")
    frames = values.shape[-1]
    if times is None:
        return values, FrameClock(duration / frames)
    times = _numbers(times, f"times of {field}")
    if times.shape != (frames,) or (np.diff(times) <= 0).any():
        raise ValueError(
            f"times of {field} have shape {times.shape} for {frames} frames; give rising seconds, one each"
        )
    steps = np.diff(times)
    if not len(steps):
        return values, FrameClock(duration, float(times[0]) - duration / 2)
    if np.ptp(steps) < 1e-3 * steps.mean():
        return values, FrameClock(float(steps.mean()), float(times[0] - steps.mean() / 2))
    # on a grid as fine as the closest times, as far as a picture can show it
    count = int(np.clip(np.ceil((times[-1] - times[0]) / steps.min()) + 1, 2, MOST_FRAMES))
    grid = np.linspace(times[0], times[-1], count)
    rows = [np.interp(grid, times, row) for row in values.reshape(-1, frames)]
    return np.reshape(rows, (*values.shape[:-1], count)), FrameClock(
        grid[1] - grid[0], grid[0] - (grid[1] - grid[0]) / 2
    )


def _numbers(data: Any, field: str) -> NDArray[np.float64]:
    try:
        values = host(data)
    except (TypeError, ValueError):
        raise ValueError(f"{field} does not hold numbers alone, or its rows differ in length") from None
    if not np.isfinite(values).all():
        raise ValueError(f"{field} holds NaN or infinite values")
    return values


def _curve_record(data: Any, name: str, duration: float) -> AttentionRecord:
    if isinstance(data, AttentionRecord):
        return _one(data, name, duration)
    values, clock = _timed(data, f"curve {name!r}" if name != "Curve" else "curve", 1, duration)
    weights = values / (values.sum() or 1.0)
    return AttentionRecord(
        name, clock, n_frames=np.array([len(values)]), weights=weights[None, None], durations=np.array([duration])
    )


def _map_record(
    data: Any, name: str, frequencies: Any, centres: NDArray[np.float64], duration: float
) -> AttentionRecord:
    if isinstance(data, AttentionRecord):
        return _one(data, name, duration)
    values, clock = _timed(data, f"map {name!r}" if name != "Map" else "map", 2, duration)
    maps, rows = values, None
    if frequencies is not None:
        frequencies = _numbers(frequencies, "frequencies")
        if frequencies.shape != (len(values),) or (np.diff(frequencies) <= 0).any():
            raise ValueError(
                f"frequencies have shape {frequencies.shape} for {len(values)} bands of the map; "
                "give rising hertz, one each"
            )
        maps, rows = _on_bands(values, frequencies, centres), centres
    return AttentionRecord(
        name,
        clock,
        n_frames=np.array([values.shape[1]]),
        # what is heard is the sum over the bands that were given, whatever the picture makes of them
        weights=(values.sum(axis=0) / (values.sum() or 1.0))[None, None],
        maps=maps[None, None, None],
        frequencies=rows,
        durations=np.array([duration]),
    )


def _on_bands(
    values: NDArray[np.float64], frequencies: NDArray[np.float64], centres: NDArray[np.float64]
) -> NDArray[np.float64]:
    """A map on the bands of the picture, and 0 outside of the bands that it has; shape (bands, frames)."""
    if len(frequencies) == 1:
        return np.tile(values, (len(centres), 1))
    steps = np.diff(frequencies)
    low, high = frequencies[0] - steps[0] / 2, frequencies[-1] + steps[-1] / 2
    inside = (centres >= low) & (centres <= high)
    return np.stack([np.where(inside, np.interp(centres, frequencies, column), 0.0) for column in values.T], axis=1)


def _segment_record(intervals: Sequence[LabelledSegment], name: str, duration: float) -> AttentionRecord:
    if not intervals:
        raise ValueError("segments holds no interval; leave it out, or give at least one")
    frames = int(np.clip(round(duration / 0.01), 1, MOST_FRAMES))
    return AttentionRecord(
        name,
        FrameClock(duration / frames),
        n_frames=np.array([frames]),
        segments=np.array([[(interval.start, interval.stop) for interval in intervals]]),
        durations=np.array([duration]),
    )


def _one(record: AttentionRecord, name: str, duration: float) -> AttentionRecord:
    """The record without the frames behind the end of the sound, which models that pad their input have."""
    if len(record) != 1:
        raise ValueError(f"the record {name!r} has {len(record)} clips; choose one, record[i]")
    assert record.n_frames is not None
    centres = record.clock.centres(int(record.n_frames[0]))
    inside = int((centres < duration).sum())
    if not inside:
        raise ValueError(f"the record {name!r} begins at {centres[0]:.2f} s, behind the end of the sound")
    return dataclasses.replace(record, n_frames=np.array([inside]), durations=np.array([duration]))


def _intervals(data: Any, field: str, duration: float) -> list[LabelledSegment]:
    """Intervals from rows, a frame or a file, inside the sound."""
    if data is None:
        return []
    if isinstance(data, (str, Path)):
        intervals = read_intervals(Path(data))
    elif isinstance(data, AttentionRecord):
        intervals = [interval for interval in list_segments(data) if interval.start < duration]
    elif hasattr(data, "columns"):
        missing = [name for name in ("start", "stop") if name not in data.columns]
        if missing:
            raise ValueError(f"{field} has no column {' and '.join(missing)}; it must have start and stop in seconds")
        names = data["label"] if "label" in data.columns else [""] * len(data)
        intervals = [_interval(row, field) for row in zip(data["start"], data["stop"], names, strict=True)]
    else:
        intervals = [_interval(row, field) for row in data]
    for interval in intervals:
        if not 0 <= interval.start <= interval.stop:
            raise ValueError(
                f"{field}: {interval.label!r} lasts from {interval.start} to {interval.stop} s; "
                "0 <= start <= stop is needed"
            )
        if interval.start >= duration:
            raise ValueError(
                f"{field}: {interval.label!r} starts at {interval.start} s, and the sound ends at {duration:.3f} s"
            )
    return [interval._replace(stop=min(interval.stop, duration)) for interval in intervals]


def _interval(row: Any, field: str) -> LabelledSegment:
    try:
        start, stop, *rest = row
        return LabelledSegment("", str(rest[0]) if rest else "", float(start), float(stop))
    except (TypeError, ValueError):
        raise ValueError(f"{field}: {row!r} is no row of start, stop and perhaps a label") from None


def read_intervals(path: Path) -> list[LabelledSegment]:
    """Read the intervals with names of one clip from a file.

    Parameters
    ----------
    path
        ``.TextGrid``, ``.rttm``, ``.csv`` with clip, label, start and stop, or ``.txt`` of Audacity labels.

    Raises
    ------
    ConfigError
        When its ending is another one, it cannot be read, or it lists several clips.

    Notes
    -----
    Book page: ``your_sounds``.
    """
    if path.suffix.lower() == ".textgrid":
        return read_textgrid(path)
    if (layout := _LAYOUTS.get(path.suffix.lower())) is None:
        raise ConfigError(f"{path}: an ending that is not known; it must be .TextGrid, {', '.join(_LAYOUTS)}")
    segments = read_segments(path, layout)
    clips = list(dict.fromkeys(segment.clip for segment in segments))
    if len(clips) > 1:
        raise ConfigError(f"{path}: lists segments of {len(clips)} clips ({', '.join(clips[:3])}); give those of one")
    return segments


def log_mel(samples: NDArray[np.float32], rate: int) -> tuple[NDArray[np.float64], FrameClock, NDArray[np.float64]]:
    """Levels in dB, shape (frames, bands), with their clock and the centres of the bands."""
    from scipy.signal import ShortTimeFFT, get_window

    length = max(min(round(WINDOW * rate), len(samples)), 2)
    hop = max(length // 2, 1)
    # zeros fill the window up so that the lowest bands hold at least one frequency
    transform = ShortTimeFFT(get_window("hann", length), hop, rate, mfft=max(4 * length, 512), scale_to="magnitude")
    bank, centres = _mel_bank(transform.f, rate)
    stop = max(transform.p_max(len(samples)) - 1, 1)
    power = np.concatenate(
        [  # in parts: the transform of an hour takes gigabytes
            bank @ transform.spectrogram(samples, p0=start, p1=min(start + 2048, stop))
            for start in range(0, stop, 2048)
        ],
        axis=1,
    )
    size = -(-power.shape[1] // MOST_COLUMNS)
    starts = np.arange(0, power.shape[1], size)
    pooled = np.add.reduceat(power, starts, axis=1) / np.diff([*starts, power.shape[1]])
    levels = 10 * np.log10(np.maximum(pooled, 1e-20))
    period = hop / rate
    return np.maximum(levels, levels.max() - LEVELS).T, FrameClock(size * period, -period / 2), centres


def _mel_bank(frequencies: NDArray[Any], rate: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Triangles from one centre to the next but one, shape (bands, frequencies), and the centres in hertz."""
    top = 2595 * np.log10(1 + rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, BANDS + 2) / 2595) - 1)
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (frequencies - low) / (middle - low), (high - frequencies) / (high - middle)
    return np.clip(np.minimum(rising, falling), 0, None), edges[1:-1]
