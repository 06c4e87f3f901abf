"""Long recordings: windows with overlap, and one timeline stitched from them, in bounded memory.

Book page: ``your_sounds``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audioattn_lib.attention.record.record import AttentionRecord, FrameClock, merge_spans

__all__ = ["AttentionTimeline", "ValueTimeline", "cut_windows", "find_intervals"]

Samples = NDArray[np.float32]
Array = NDArray[np.floating[Any]]


def cut_windows(blocks: Iterable[Samples], length: int, hop: int, grain: int) -> Iterator[tuple[int, Samples]]:
    """Windows of a stream of samples, as first sample and samples; all samples are in at least one.

    Windows begin at multiples of ``hop``. The last one begins at the first multiple of ``grain`` from which ``length``
    samples reach the end, so it has its whole context, and up to ``grain - 1`` samples less.

    Parameters
    ----------
    blocks
        Samples in order.
    length, hop, grain
        In samples; ``hop`` is a multiple of ``grain``, and at most ``length``.
    """
    buffer: Samples = np.zeros(0, dtype=np.float32)
    first = following = 0  # sample of held[0], and of the next window
    for block in blocks:
        buffer = np.concatenate([buffer, block])
        while following + length <= first + len(buffer):
            yield following, buffer[following - first : following - first + length]
            following += hop
        # the last window may need the last ``length`` samples again
        kept = max(min(following, first + len(buffer) - length), first)
        buffer, first = buffer[kept - first :], kept
    end = first + len(buffer)
    covered = following - hop + length if following else 0
    if covered < end:
        start = -(-max(end - length, 0) // grain) * grain
        yield start, buffer[start - first :]


class ValueTimeline:
    r"""Values of windows as values over time, a row a step.

    The value of a step is the mean of the windows that cover its middle :math:`t`, weighted by a triangle:
    :math:`y(t) = \sum_w c_w(t)\, y_w / \sum_w c_w(t)`, where :math:`c_w(t)` is the time to the nearer end of window
    :math:`w`. So the window that has most context on both sides counts most.

    Parameters
    ----------
    step
        Seconds of a step.
    width
        Values of a window.
    """

    def __init__(self, step: float, width: int) -> None:
        self.step = step
        self._sum = np.zeros((0, width))
        self._weight = np.zeros(0)

    def add(self, start: float, stop: float, values: Array) -> None:
        """Add a window from ``start`` to ``stop`` in seconds, with values ``(width,)``."""
        first, last = int(start / self.step + 1e-6), int(np.ceil(stop / self.step - 1e-6))
        middles = (np.arange(first, last) + 0.5) * self.step
        weights = np.minimum(middles - start, stop - middles).clip(min=1e-3 * self.step)
        if last > len(self._weight):
            more = max(last, 2 * len(self._weight)) - len(self._weight)
            self._sum = np.pad(self._sum, ((0, more), (0, 0)))
            self._weight = np.pad(self._weight, (0, more))
        self._sum[first:last] += weights[:, None] * values
        self._weight[first:last] += weights

    def values(self, duration: float) -> tuple[Array, Array]:
        """Edges of the steps in seconds ``(steps + 1,)``, the last at ``duration``, and values ``(steps, width)``."""
        count = max(int(np.ceil(duration / self.step - 1e-6)), 1)
        edges = np.minimum(np.arange(count + 1) * self.step, duration)
        return edges, self._sum[:count] / self._weight[:count, None]


class AttentionTimeline:
    r"""Attention of windows as the attention of the whole recording, a record of one clip.

    Each window has the same mass, so the record says where in its surroundings a moment is attended to, and not which
    part of an hour matters most. Where windows overlap, their attention is averaged with the weights of
    :class:`ValueTimeline`, frame by frame; then all frames together have the sum 1. Maps are averaged over layers and
    heads first. Segments are joined where they overlap.
    """

    def __init__(self) -> None:
        self._mechanism, self._clock = "", FrameClock()
        self._sum, self._weight = np.zeros(0), np.zeros(0)
        self._maps: Array | None = None
        self._frequencies: Array | None = None
        self._segments: list[tuple[float, float]] | None = None
        self._frames = 0

    def add(self, starts: Sequence[float], record: AttentionRecord) -> None:
        """Add windows that begin at ``starts`` in seconds; a clip of the record each."""
        if record.is_empty:
            return
        assert record.n_frames is not None
        self._mechanism, self._clock, self._frequencies = record.mechanism, record.clock, record.frequencies
        maps = None if record.maps is None else record.maps.mean(axis=(1, 2))
        for clip, start in enumerate(starts):
            count = int(record.n_frames[clip])
            first = round(start / record.clock.period)
            self._grow(first + count, None if maps is None else maps.shape[1])
            self._frames = max(self._frames, first + count)
            place = np.arange(count)
            weights = np.minimum(place + 0.5, count - place - 0.5)
            rows = slice(first, first + count)
            self._weight[rows] += weights
            if record.segments is not None:
                segments = record.segments[clip]
                self._segments = (self._segments or []) + [
                    (float(a) + start, float(b) + start) for a, b in segments if np.isfinite(a)
                ]
                continue
            self._sum[rows] += weights * record.frame_attention(clip)
            if maps is not None:
                assert self._maps is not None
                self._maps[:, rows] += weights * maps[clip, :, :count]

    def record(self) -> AttentionRecord:
        """The record of the recording; empty where no window had attention."""
        count = self._frames
        if not count:
            return AttentionRecord.empty()
        frames: dict[str, Any] = {"mechanism": self._mechanism, "clock": self._clock, "n_frames": np.array([count])}
        if self._segments is not None:
            joined = np.array(merge_spans(sorted(self._segments))).reshape(1, -1, 2)
            return AttentionRecord(**frames, segments=joined)
        weight = np.maximum(self._weight[:count], 1e-12)
        share = self._sum[:count] / weight
        frames["weights"] = (share / max(float(share.sum()), 1e-12))[None, None]
        if self._maps is not None:
            maps = self._maps[:, :count] / weight
            frames |= {
                "maps": (maps / max(float(maps.sum()), 1e-12))[None, None, None],
                "frequencies": self._frequencies,
            }
        return AttentionRecord(**frames)

    def _grow(self, frames: int, bands: int | None) -> None:
        more = frames - len(self._sum)
        if more > 0:
            more = max(more, len(self._sum))
            self._sum, self._weight = (np.pad(values, (0, more)) for values in (self._sum, self._weight))
        if bands is not None:
            if self._maps is None:
                self._maps = np.zeros((bands, 0), dtype=np.float32)
            self._maps = np.pad(self._maps, ((0, 0), (0, len(self._sum) - self._maps.shape[1])))


def find_intervals(edges: Array, values: Array, threshold: float) -> list[tuple[float, float]]:
    """Stretches in seconds of steps whose values ``(steps,)`` are at least ``threshold``."""
    inside = np.concatenate([[False], values >= threshold, [False]]).astype(np.int8)
    change = np.diff(inside)
    starts, stops = np.flatnonzero(change == 1), np.flatnonzero(change == -1)
    return [(float(edges[a]), float(edges[b])) for a, b in zip(starts, stops, strict=True)]
