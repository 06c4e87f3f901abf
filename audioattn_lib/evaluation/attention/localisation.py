"""Localisation metrics of attention, for clips with known times of the events of their label.

Attention that looks everywhere equally scores the share of the clip that is
event in every measure, exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...attention.record.record import AttentionRecord, merge_spans
from .perturbation import resample

__all__ = [
    "ALL_MEASURES",
    "MEASURES",
    "Events",
    "event_share",
    "mass_inside_events",
    "pointing_game",
    "random_attention",
    "rank_accuracy",
    "support_iou",
    "swapped_attention",
]

Array = NDArray[np.floating[Any]]
Events = Sequence[Sequence[tuple[float, float]]]

MEASURES = ("pointing_game", "mass_inside_events", "support_iou")
ALL_MEASURES = (*MEASURES, "rank_accuracy")
"""With the accuracy of the ranks, which judges attributions of any size and needs no support."""
_TIE = 1e-6  # weights of float32 that are equal but for rounding differ by less, relative to the largest


def pointing_game(record: AttentionRecord, events: Events, *, tolerance: float = 0.0) -> Array:
    """Compute the pointing game score of each clip: 1 where the most attended frame lies inside an event, 0 otherwise.

    Parameters
    ----------
    record
        Attention of the clips.
    events
        Onset and offset in seconds of each event of each clip, those of its
        label only; they may overlap, and what lies outside the clip is ignored.
    tolerance
        Seconds by which every event is extended on both sides, at least 0.

    Returns
    -------
    ndarray
        From 0 to 1, shape ``(clips,)``: 1 for a hit and 0 for a miss. A frame
        that an event covers in part counts with that part, and frames that are
        attended to equally (within a millionth) share the credit, so uniform
        attention scores the share of the clip that is event. NaN for a clip
        without events.

    Raises
    ------
    ValueError
        When the record is empty, events do not fit it or end before they begin, or tolerance is negative.

    Notes
    -----
    After Zhang et al., *Top-down neural attention by excitation backprop*, ECCV
    2016, section 4.1.
    """
    return _scores_of(_locate(record, events, tolerance), "pointing")


def mass_inside_events(record: AttentionRecord, events: Events) -> Array:
    """Share of each clip's attention that lies inside its events: its relevance mass accuracy.

    Attention is taken as constant over each frame, so a frame that an event
    covers in part counts with that part.

    Parameters
    ----------
    record, events
        As in :func:`pointing_game`.

    Returns
    -------
    ndarray
        From 0 to 1, shape ``(clips,)``; NaN for a clip without events.

    Notes
    -----
    Arras et al., *CLEVR-XAI: a benchmark dataset for the ground truth evaluation of neural network explanations*,
    Information Fusion 2022, section 3.2.
    """
    return _scores_of(_locate(record, events), "mass")


def rank_accuracy(record: AttentionRecord, events: Events) -> Array:
    r"""Relevance rank accuracy: share of the K most attended frames that is event, where the events last K frames.

    .. math:: \frac{1}{K} \sum_{t \in \text{top } K} c_t, \qquad K = \sum_t c_t

    with the share :math:`c_t` of frame :math:`t` that events cover. K need not be whole: the last of the frames counts
    in part. Frames that are attended to equally (within a millionth) are taken in equal parts, so uniform attention
    scores the share of the clip that is event.

    Parameters
    ----------
    record, events
        As in :func:`pointing_game`.

    Returns
    -------
    ndarray
        From 0 to 1, shape ``(clips,)``; NaN for a clip without events. Only the order of the frames counts, so
        attributions of any size can be compared. 1 is reached where events begin and end with frames.

    Notes
    -----
    Arras et al., *CLEVR-XAI*, Information Fusion 2022, section 3.2, for pixels that lie in an object or not.
    """
    return _scores_of(_locate(record, events), "rank")


def support_iou(record: AttentionRecord, events: Events) -> Array:
    r"""Overlap :math:`|S \cap E| / |S \cup E|` of the times with any attention, :math:`S`, and with events, :math:`E`.

    Softmax and Gaussian attention is nowhere 0, so it scores the share of the
    clip that is event.

    Parameters
    ----------
    record, events
        As in :func:`pointing_game`.

    Returns
    -------
    ndarray
        From 0 to 1, shape ``(clips,)``; NaN for a clip without events.
    """
    return _scores_of(_locate(record, events), "overlap")


def event_share(record: AttentionRecord, events: Events, *, tolerance: float = 0.0) -> Array:
    """Compute the share of each clip that is event, which is the score of uniform attention in every measure.

    Parameters
    ----------
    record, events, tolerance
        As in :func:`pointing_game`.

    Returns
    -------
    ndarray
        Above 0 and at most 1, shape ``(clips,)``; NaN for a clip without events.
    """
    return _scores_of(_locate(record, events, tolerance), "share")


def random_attention(
    record: AttentionRecord, events: Events, *, n_draws: int = 1000, seed: int = 0, tolerance: float = 0.0
) -> dict[str, Array]:
    """Scores of attention of the same shape at random places.

    Each draw shifts the attention of every clip by a random whole number of
    frames, around the end of the clip to its beginning.

    Parameters
    ----------
    record, events, tolerance
        As in :func:`pointing_game`.
    n_draws
        At least 1.
    seed
        Of the draws.

    Returns
    -------
    dict
        For each of :data:`ALL_MEASURES` an array of shape ``(clips, n_draws)``; NaN for a clip without events.
    """
    clips, wider = _locate(record, events), _locate(record, events, tolerance)
    scores = _nothing(clips, n_draws)
    generator = np.random.default_rng(seed)
    for i, (clip, target) in enumerate(zip(clips, wider, strict=True)):
        if clip is None or target is None:
            continue
        n = len(clip.frame_attention)
        shifts = generator.integers(0, n, n_draws)
        moved = clip.support + np.arange(n)[:, None, None] * (clip.duration / n)
        scores["pointing_game"][i] = _at_all_shifts(target.peak, target.coverage)[shifts]
        scores["mass_inside_events"][i] = _at_all_shifts(clip.frame_attention, clip.coverage)[shifts]
        scores["support_iou"][i] = clip.overlap_with(moved)[shifts]
        scores["rank_accuracy"][i] = _at_all_shifts(clip.highest, clip.coverage)[shifts]
    return scores


def swapped_attention(
    record: AttentionRecord, events: Events, *, n_draws: int = 1000, seed: int = 0, tolerance: float = 0.0
) -> dict[str, Array]:
    """Compute the scores of the attention of other clips, a control without dependence on the clip.

    Each draw gives every clip the attention of another one that has events,
    stretched to its own duration.

    Parameters
    ----------
    record, events, tolerance
        As in :func:`pointing_game`.
    n_draws
        At least 1.
    seed
        Of the draws.

    Returns
    -------
    dict
        For each of :data:`ALL_MEASURES` an array of shape ``(clips, n_draws)``;
        NaN for a clip without events, or if only one has any.
    """
    clips, wider = _locate(record, events), _locate(record, events, tolerance)
    scores = _nothing(clips, n_draws)
    located = [(i, clip, target) for i, (clip, target) in enumerate(zip(clips, wider, strict=True)) if clip and target]
    if len(located) < 2:
        return scores
    generator = np.random.default_rng(seed)
    frames = max(len(clip.frame_attention) for _, clip, _ in located)
    frame_attention = np.stack([resample(clip.frame_attention, frames) for _, clip, _ in located])
    peak = np.stack([resample(clip.peak, frames) for _, clip, _ in located])
    spans = max(len(clip.support) for _, clip, _ in located)
    supports = np.zeros((len(located), spans, 2))  # empty spans add nothing
    for row, (_, clip, _) in zip(supports, located, strict=True):
        row[: len(clip.support)] = clip.support / clip.duration
    descending = -np.sort(-frame_attention, axis=1)
    for index, (i, clip, target) in enumerate(located):
        others = (index + generator.integers(1, len(located), n_draws)) % len(located)
        scores["pointing_game"][i] = (peak @ target.covered(frames))[others]
        scores["mass_inside_events"][i] = (frame_attention @ clip.covered(frames))[others]
        scores["support_iou"][i] = clip.overlap_with(supports * clip.duration)[others]
        coverage = clip.covered(frames)
        highest = _highest(frame_attention, coverage.sum(), descending)
        scores["rank_accuracy"][i] = (highest @ coverage)[others]
    return scores


@dataclass(frozen=True)
class _Located:
    """Attention of one clip on the times of its events, of which there is at least one."""

    record: AttentionRecord
    clip: int
    frame_attention: Array  # (frames,), sums to 1
    events: Array  # (spans, 2), seconds from the beginning of the clip, in order, apart from each other and inside it
    duration: float

    @cached_property
    def support(self) -> Array:
        """Intervals with any attention, as the events, shape ``(spans, 2)``."""
        low, _ = self.record.span(self.clip)
        return np.array(self.record.support(self.clip), dtype=np.float64).reshape(-1, 2) - low

    def event_time(self, times: Array) -> Array:
        """Compute the seconds of event before ``times``; the clip is continued periodically."""
        lengths = np.diff(self.events, axis=1)[:, 0]
        before = np.stack([np.cumsum(lengths) - lengths, np.cumsum(lengths)], axis=1)
        round_, time = np.divmod(times, self.duration)
        return round_ * lengths.sum() + np.interp(time, self.events.ravel(), before.ravel(), left=0.0)

    def covered(self, n_frames: int) -> Array:
        """Share of each of ``n_frames`` frames of the clip that is event."""
        until = self.event_time(np.arange(n_frames) * (self.duration / n_frames))
        inside = np.diff(until, append=self.event_duration)
        return np.clip(inside * (n_frames / self.duration), 0.0, 1.0)

    @cached_property
    def coverage(self) -> Array:
        return self.covered(len(self.frame_attention))

    @property
    def event_duration(self) -> float:
        return float(np.diff(self.events, axis=1).sum())

    @property
    def share(self) -> float:
        return self.event_duration / self.duration

    @cached_property
    def peak(self) -> Array:
        """Equal shares for the frames of most attention, shape ``(frames,)``."""
        highest = self.frame_attention >= self.frame_attention.max() * (1 - _TIE)
        return highest / highest.sum()

    @cached_property
    def highest(self) -> Array:
        """Shares of the frames of most attention, as many as the events last, shape ``(frames,)``."""
        shares: Array = _highest(self.frame_attention[None], self.coverage.sum())[0]
        return shares

    @property
    def rank(self) -> float:
        return float(self.highest @ self.coverage)

    @property
    def pointing(self) -> float:
        return float(self.peak @ self.coverage)

    @property
    def mass(self) -> float:
        return float(self.frame_attention @ self.coverage)

    @property
    def overlap(self) -> float:
        return float(self.overlap_with(self.support[None])[0])

    def overlap_with(self, supports: Array) -> Array:
        """Intersection over union of the events with each of ``supports`` of shape ``(n, spans, 2)``, in seconds."""
        both = np.diff(self.event_time(supports), axis=2).sum(axis=(1, 2))
        either = np.diff(supports, axis=2).sum(axis=(1, 2)) + self.event_duration - both
        return both / either


def _locate(record: AttentionRecord, events: Events, tolerance: float = 0.0) -> list[_Located | None]:
    """Each clip with its events, those that end before they begin refused; None for a clip without any."""
    if not (np.isfinite(tolerance) and tolerance >= 0):
        raise ValueError(f"tolerance is {tolerance}; it must be a finite number of seconds, at least 0")
    if record.is_empty:
        raise ValueError("the record is empty; ask the model for it with record=True")
    if len(events) != len(record):
        raise ValueError(f"events of {len(events)} clips for a record of {len(record)}; give a list, if empty, a clip")
    clips: list[_Located | None] = []
    for i, spans in enumerate(events):
        for onset, offset in spans:
            if not (np.isfinite(onset) and np.isfinite(offset) and onset <= offset):
                raise ValueError(
                    f"clip {i} ({record.clips[i] or 'unnamed'}) has an event from {onset} to {offset} seconds; "
                    "it must begin before it ends"
                )
        low, high = record.span(i)
        inside = [(max(a - tolerance, low), min(b + tolerance, high)) for a, b in spans]
        merged = merge_spans([(a, b) for a, b in inside if b > a])
        if not merged:
            clips.append(None)
            continue
        clips.append(_Located(record, i, record.frame_attention(i), np.array(merged) - low, high - low))
    return clips


def _scores_of(clips: Sequence[_Located | None], name: str) -> Array:
    """One score of every clip by the name of its property; NaN for a clip without events."""
    return np.array([np.nan if clip is None else getattr(clip, name) for clip in clips])


def _nothing(clips: Sequence[_Located | None], n_draws: int) -> dict[str, Array]:
    if n_draws < 1:
        raise ValueError(f"n_draws is {n_draws}; it must be at least 1")
    return {name: np.full((len(clips), n_draws), np.nan) for name in ALL_MEASURES}


def _highest(attention: Array, count: float, descending: Array | None = None) -> Array:
    """Shares, of sum 1, of the ``count`` most attended frames of each row, those at the border in equal parts.

    ``attention`` has shape (rows, frames), and ``descending`` holds its rows sorted; ``count`` need not be whole.
    """
    descending = -np.sort(-attention, axis=1) if descending is None else descending
    frames = attention.shape[1]
    count = float(np.clip(count, 1e-9, frames))
    last = descending[:, min(int(np.ceil(count - 1e-9)), frames) - 1, None]
    margin = _TIE * descending[:, :1]
    above, level = attention > last + margin, np.abs(attention - last) <= margin
    # at least one frame is level with the last one
    rest = (count - above.sum(1, keepdims=True)) / level.sum(1, keepdims=True)
    shares: Array = (above + level * rest) / count
    return shares


def _at_all_shifts(weights: Array, coverage: Array) -> Array:
    """Sum of ``weights`` moved by each whole number of frames times ``coverage``, around the clip."""
    product = np.fft.irfft(np.conj(np.fft.rfft(weights)) * np.fft.rfft(coverage), len(weights))
    return np.clip(product, 0.0, 1.0)
