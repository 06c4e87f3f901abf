"""Sounds that one player cannot hold, cut into parts: the one that is attended to most, and the rest to page through.

Everything that is drawn of a part has the scale of the whole sound, so parts may be compared.

Book page: ``your_sounds``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audioattn_lib.attention.record.record import FrameClock

from ..describe import Curve, KnownEvent
from .sound import BUDGET, TooLongError, compress

__all__ = ["Part", "cut_curve", "cut_events", "cut_frames", "split", "strongest", "time_of"]

PART_SECONDS = 20.0
"""Longest part: what a page of a few hundred kilobytes holds at a fair quality."""
MOST_PARTS = 60
"""Parts in one page: 20 minutes."""
_THREADS = 4


@dataclass(frozen=True)
class Part:
    """A stretch of a sound.

    Parameters
    ----------
    start, stop
        In seconds of the sound.
    sound
        As MP3.
    """

    start: float
    stop: float
    sound: bytes

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.stop - self.start

    def __str__(self) -> str:
        return f"{time_of(self.start)}–{time_of(self.stop)}"


def time_of(seconds: float) -> str:
    """Minutes and seconds, ``1:05``, as a recording counts them; with hours where there are any."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def split(
    sound: NDArray[Any], sample_rate: int, budget: int, level: NDArray[np.float64], clock: FrameClock
) -> list[Part]:
    """The sound in one part where it fits into ``budget`` bytes, and otherwise in equal ones of at most 20 s.

    Of more than :data:`MOST_PARTS`, those remain that are attended to most, in their order.

    Parameters
    ----------
    sound, sample_rate, budget
        Samples ``(n,)``, hertz, bytes.
    level
        How much each frame is attended to, at least 0; empty where nothing is known.
    clock
        Time of these frames.
    """
    duration = len(sound) / sample_rate
    try:
        return [Part(0.0, duration, compress(sound, sample_rate, budget))]
    except TooLongError:
        pass
    edges = np.linspace(0, duration, math.ceil(duration / PART_SECONDS) + 1)
    spans = list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))
    if len(spans) > MOST_PARTS:
        weights = [_mean_level(level, clock, *span) for span in spans]
        kept = sorted(sorted(range(len(spans)), key=lambda i: -weights[i])[:MOST_PARTS])
        spans = [spans[i] for i in kept]

    def make(span: tuple[float, float]) -> Part:
        piece = sound[round(span[0] * sample_rate) : round(span[1] * sample_rate)]
        return Part(*span, compress(piece, sample_rate, min(budget, BUDGET), keep_rate=False))

    with ThreadPoolExecutor(_THREADS) as pool:  # the encoder runs outside of the interpreter's lock
        return list(pool.map(make, spans))


def strongest(parts: Sequence[Part], level: NDArray[np.float64], clock: FrameClock) -> int:
    """Number of the part that is attended to most; the first where nothing is known."""
    return int(np.argmax([_mean_level(level, clock, part.start, part.stop) for part in parts]))


def _mean_level(level: NDArray[np.float64], clock: FrameClock, start: float, stop: float) -> float:
    inside, _ = cut_frames(level, clock, start, stop)
    return float(inside.mean()) if len(inside) else 0.0


def cut_frames(values: NDArray[Any], clock: FrameClock, start: float, stop: float) -> tuple[NDArray[Any], FrameClock]:
    """Frames, along the first axis, that overlap ``[start, stop)``, and their clock in seconds after ``start``."""
    first = int(np.clip(math.floor((start - clock.start) / clock.period + 1e-6), 0, len(values)))
    last = int(np.clip(math.ceil((stop - clock.start) / clock.period - 1e-6), first, len(values)))
    return values[first:last], FrameClock(clock.period, clock.start + first * clock.period - start)


def cut_events(events: Sequence[KnownEvent], start: float, stop: float) -> tuple[KnownEvent, ...]:
    """Events that overlap ``[start, stop)``, in seconds after ``start``."""
    return tuple(
        KnownEvent(event.label, max(event.onset - start, 0.0), min(event.offset, stop) - start)
        for event in events
        if event.onset < stop and event.offset > start
    )


def cut_curve(row: Curve, start: float, stop: float) -> Curve:
    """The part of a curve between two times, in seconds after ``start``; its moments stay those of the whole."""
    if row.over_frames:
        inside = np.flatnonzero((row.times[1:] > start) & (row.times[:-1] < stop))
        if len(inside):
            times, values = row.times[inside[0] : inside[-1] + 2], row.values[inside[0] : inside[-1] + 1]
        else:
            times, values = np.array([start, stop]), np.zeros(1)
    else:
        kept = row.times[(row.times > start) & (row.times < stop)]
        times = np.concatenate([[start], kept, [stop]])
        values = np.interp(times, row.times, row.values, left=0.0, right=0.0)
    support = tuple((max(a, start) - start, min(b, stop) - start) for a, b in row.support if a < stop and b > start)
    return replace(
        row, times=np.clip(times, start, stop) - start, values=values, support=support, mean=row.mean - start
    )
