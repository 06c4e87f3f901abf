"""Correlations of many resamples at once.

Book page: ``sleepiness``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["from_sums", "of_ranks"]

Array = NDArray[np.float64]


def from_sums(sums: Array, apart: float | None = None) -> Array:
    """Pearson's or, with ``apart``, Lin's correlation from sums of 1, x, y, xx, yy and xy, shape ``(resamples, 6)``.

    ``apart`` is what has been taken from the mean of x more than from that of
    y. A correlation of something constant is 0.
    """
    n, x, y, xx, yy, xy = np.asarray(sums, dtype=np.float64).T
    mean_x, mean_y = x / n, y / n
    variance_x, variance_y = xx / n - mean_x**2, yy / n - mean_y**2
    common = xy / n - mean_x * mean_y
    varies = (variance_x > 1e-12 * xx.max() / n) & (variance_y > 1e-12 * yy.max() / n)
    if apart is None:
        size = np.sqrt(np.maximum(variance_x * variance_y, 0.0))
    else:
        common, size = 2.0 * common, variance_x + variance_y + (mean_x - mean_y + apart) ** 2
    return np.divide(common, size, out=np.zeros_like(common), where=varies)


def of_ranks(x: Array, y: Array, counts: Array) -> Array:
    """Spearman's correlation where clip ``i`` occurs ``counts[r, i]`` times, shape ``(resamples,)``.

    Clips of equal value share the mean of their ranks.
    """
    ranks = [_ranks(values, counts) for values in (x, y)]
    total = counts.sum(axis=1, keepdims=True)
    x, y = (rank - 0.5 * (total + 1.0) for rank in ranks)  # the mean of all ranks is known
    common, size_x, size_y = ((counts * product).sum(axis=1) for product in (x * y, x * x, y * y))
    size = np.sqrt(size_x * size_y)
    return np.divide(common, size, out=np.zeros_like(common), where=size > 0)


def _ranks(values: Array, counts: Array) -> Array:
    """Ranks of the clips in each resample, shape ``(resamples, clips)``."""
    # Equal values are one level. Copies of a level take consecutive ranks, whose mean is that of all levels below plus
    # (copies + 1) / 2. Sorted once: only counts differ between resamples.
    _, level = np.unique(values, return_inverse=True)
    order = np.argsort(level, kind="stable")
    first = np.flatnonzero(np.diff(level[order], prepend=-1))
    at_level = np.add.reduceat(counts[:, order], first, axis=1)  # (resamples, levels)
    below = np.cumsum(at_level, axis=1) - at_level
    return (below + 0.5 * (at_level + 1.0))[:, level]
