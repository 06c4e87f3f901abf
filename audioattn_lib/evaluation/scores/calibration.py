"""Reliability of probabilities: how often a classifier is right when it says how sure it is.

Book page: ``urban_sound``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..statistics.intervals import numbers, wilson_interval

__all__ = ["Calibration", "measure_calibration"]


@dataclass(frozen=True)
class Calibration:
    """Reliability diagram of one classifier.

    Parameters
    ----------
    confidence
        Mean probability of the predicted class in each bin, rising, shape ``(bins,)``.
    right
        Share of the clips of each bin that are predicted right, shape ``(bins,)``.
    low, high
        Ends of its 95 % interval; clips are taken as independent.
    clips
        Clips of each bin.
    error
        Expected calibration error, from 0 to 1.
    """

    confidence: NDArray[np.float64]
    right: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    clips: NDArray[np.int64]
    error: float


def measure_calibration(confidences: ArrayLike, is_right: ArrayLike, *, bins: int = 8) -> Calibration:
    r"""Compare the confidence of predictions with how many of them are right.

    Clips are sorted by confidence and cut into bins of equally many clips. The expected calibration error is

    .. math:: \sum_b \frac{n_b}{n}\,\bigl|\mathrm{right}_b - \mathrm{confidence}_b\bigr|.

    Parameters
    ----------
    confidences
        Probability of the predicted class, from 0 to 1, shape ``(clips,)``.
    is_right
        Whether the prediction is right, shape ``(clips,)``.
    bins
        At least 1; fewer where there are fewer clips.

    Raises
    ------
    ValueError
        When an argument is empty, of another length or out of range; the message names it.

    Notes
    -----
    Naeini, Cooper and Hauskrecht, *Obtaining well calibrated probabilities using Bayesian binning*, AAAI 2015; Guo et
    al., *On calibration of modern neural networks*, ICML 2017. Book page: ``urban_sound``.
    """
    sure = numbers("confidences", confidences)
    right = np.asarray(is_right)
    if sure.min() < 0 or sure.max() > 1:
        raise ValueError(f"confidences go from {sure.min()} to {sure.max()}; a probability lies from 0 to 1")
    if right.shape != sure.shape:
        raise ValueError(f"is_right has shape {right.shape} for {len(sure)} confidences; give one a clip")
    if bins < 1:
        raise ValueError(f"bins is {bins}; it must be at least 1")
    rows_of_bins = np.array_split(np.argsort(sure, kind="stable"), min(bins, len(sure)))
    counts = np.array([len(rows) for rows in rows_of_bins])
    intervals = [wilson_interval(int(right[rows].sum()), len(rows)) for rows in rows_of_bins]
    confidence = np.array([sure[rows].mean() for rows in rows_of_bins])
    share = np.array([interval.estimate for interval in intervals])
    return Calibration(
        confidence,
        share,
        np.array([interval.low for interval in intervals]),
        np.array([interval.high for interval in intervals]),
        counts,
        float(counts @ np.abs(share - confidence) / len(sure)),
    )
