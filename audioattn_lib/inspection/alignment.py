r"""Alignment of words with sound, from the cross attention of a decoder.

Weights :math:`A_{hit}` of head :math:`h`, word :math:`i` and frame :math:`t` are standardised over the words, smoothed
over time by a median, and averaged over heads. Dynamic time warping finds the path from the first word and frame to
the last ones with the greatest sum

.. math:: \max_{(i_1, t_1), \dots} \sum_k \bar A_{i_k t_k}, \qquad (i_{k+1}, t_{k+1}) - (i_k, t_k) \in
    \{(1, 1), (1, 0), (0, 1)\}

A word begins where the path reaches it.

Book page: ``your_sounds``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from audioattn_lib.attention.record.record import AttentionRecord, FrameClock
from audioattn_lib.core.errors import ConfigError

__all__ = ["align_record", "align_words"]


def align_words(
    weights: Tensor | Sequence[Tensor],
    words: Sequence[str],
    clock: FrameClock,
    *,
    heads: Sequence[int] | None = None,
    duration: float | None = None,
    median: int = 7,
) -> list[tuple[float, float, str]]:
    """Times of the words, or tokens, that a decoder wrote.

    Parameters
    ----------
    weights
        Cross attention of one clip, shape ``(heads, words, frames)``; or of several layers, whose heads follow each
        other.
    words
        Text of each row. Leave rows of special tokens out, of the weights too.
    clock
        Time of the frames, such as ``tokens_of(model).clock``.
    heads
        Heads to use, counted over all layers; all by default.
    duration
        Seconds of the sound: frames whose centre lies behind it are left out, as those of a padded input must be.
    median
        Frames of the median, odd, at least 1; 7 frames are 140 ms in Whisper.

    Returns
    -------
    list
        ``(start, stop, word)`` in seconds, in order, without gaps, for ``show(sound, labels=...)``.

    Raises
    ------
    ConfigError
        When words do not fit the rows, a head does not exist, or median is even.

    Notes
    -----
    The path visits all words in order, also where attention follows no time: only some heads of a decoder do, and
    those have to be found on sounds with known times. Look at the weights before you believe the words. Source: the
    alignment in the code released with Radford et al., *Robust speech recognition via large-scale weak supervision*,
    ICML 2023. Book page: ``your_sounds``.

    Examples
    --------
    >>> import torch
    >>> from audioattn_lib.attention.record.record import AttentionRecord, FrameClock
    >>> weights = torch.eye(2).repeat_interleave(4, dim=1)[None] / 4
    >>> align_words(weights, ["two", "words"], FrameClock(0.5), median=1)
    [(0.0, 2.0, 'two'), (2.0, 4.0, 'words')]
    """
    record = align_record(weights, words, clock, heads=heads, duration=duration, median=median)
    assert record.segments is not None
    return [
        (float(start), float(stop), word)
        for (start, stop), word in zip(record.segments[0], record.rows[0], strict=True)
    ]


def align_record(
    weights: Tensor | Sequence[Tensor],
    words: Sequence[str],
    clock: FrameClock,
    *,
    heads: Sequence[int] | None = None,
    duration: float | None = None,
    median: int = 7,
    clip: str = "",
) -> AttentionRecord:
    """Alignment of the words that a decoder wrote, as a record with labelled rows.

    Parameters
    ----------
    weights, words, clock, heads, duration, median
        As in :func:`align_words`.
    clip
        Name of the sound.

    Returns
    -------
    AttentionRecord
        ``alignment`` is the mean over the heads, rows of sum 1; ``rows`` holds the words and ``segments`` their times,
        so that :func:`~audioattn_lib.attention.record.segment_lists.list_segments` lists words for other programs.

    Raises
    ------
    ConfigError
        As :func:`align_words`.

    Notes
    -----
    Book page: ``your_sounds``.
    """
    layers = [weights] if isinstance(weights, Tensor) else list(weights)
    shapes = {tuple(each.shape[1:]) for each in layers}
    if len(shapes) != 1 or any(each.dim() != 3 for each in layers):
        raise ConfigError(
            f"weights have shapes {[tuple(each.shape) for each in layers]}; give (heads, words, frames) of one clip, "
            "of as many words and frames in each layer"
        )
    joined = torch.cat([each.detach().float().cpu() for each in layers])
    if len(words) != joined.shape[1] or not len(words):
        raise ConfigError(f"{len(words)} words for {joined.shape[1]} rows of weights; give one a row")
    if median < 1 or median % 2 == 0:
        raise ConfigError(f"median is {median}; it must be odd and at least 1")
    if heads is not None:
        wrong = [head for head in heads if not 0 <= head < len(joined)]
        if wrong or not len(heads):
            raise ConfigError(f"heads is {list(heads)}; give some of 0 to {len(joined) - 1}")
        joined = joined[list(heads)]
    frames = joined.shape[-1]
    if duration is not None:
        frames = int((clock.centres(frames) < duration).sum())
        if not frames:
            raise ConfigError(f"duration is {duration}, and the first frame is centred at {clock.centres(1)[0]:.3f} s")
    inside = joined[..., :frames].numpy()
    starts = _starts(inside, median)
    edges = clock.edges(frames)
    last = edges[-1] if duration is None else min(edges[-1], duration)
    bounds = np.round(np.clip([*edges[starts], last], 0.0, last), 9)
    mean = inside.astype(np.float64).mean(0)
    total = mean.sum(-1, keepdims=True)
    rows = np.where(total > 0, mean / np.maximum(total, 1e-300), 1 / frames)
    return AttentionRecord(
        "alignment",
        clock,
        (clip,),
        n_frames=np.array([frames]),
        alignment=rows[None],
        segments=np.stack([bounds[:-1], bounds[1:]], -1)[None],
        durations=None if duration is None else np.array([float(duration)]),
        rows=(tuple(map(str, words)),),
    )


def _starts(weights: Any, median: int) -> Any:
    """Frame at which the best path reaches each word, shape (words,)."""
    from scipy.ndimage import median_filter

    if weights.shape[1] > 1:
        std = np.maximum(weights.std(axis=1, keepdims=True), 1e-12)
        weights = (weights - weights.mean(axis=1, keepdims=True)) / std
    return _warp(median_filter(weights, (1, 1, median), mode="nearest").mean(axis=0).astype(np.float64))


def _warp(gain: Any) -> Any:
    """Dynamic time warping of a gain (words, frames): the frame at which the path of greatest sum enters each row.

    Written here since that of librosa is compiled by Numba at its first call, which takes tens of seconds. Within a row
    the path runs from its entry u to t, so with the running sum P of the row the best sum is P[t] + max over u up to t
    of (best sum before u) - P[u - 1]: no loop over frames.
    """
    words, frames = gain.shape
    entries = np.zeros((words, frames), dtype=np.int64)
    sums = np.zeros((words, frames))
    for row in range(words):
        running = np.cumsum(gain[row])
        if row:
            diagonal = np.concatenate([[-np.inf], sums[row - 1, :-1]])
            before = np.maximum(diagonal, sums[row - 1])
        else:
            before = np.where(np.arange(frames) == 0, 0.0, -np.inf)
        entered = before - (running - gain[row])
        best = np.maximum.accumulate(entered)
        entries[row] = np.maximum.accumulate(np.where(entered >= best, np.arange(frames), 0))
        sums[row] = running + best
    starts = np.zeros(words, dtype=np.int64)
    at = frames - 1
    for row in range(words - 1, -1, -1):
        at = starts[row] = entries[row, at]
        if row and at and sums[row - 1, at - 1] >= sums[row - 1, at]:
            at -= 1
    return starts
