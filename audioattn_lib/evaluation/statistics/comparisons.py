"""Comparisons of systems, and chance.

Intervals are in :mod:`~audioattn_lib.evaluation.statistics.intervals` and can be imported
from here too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .intervals import (
    Interval,
    bootstrap_interval,
    chunks,
    class_indices,
    group_index,
    numbers,
    require_level,
    wilson_interval,
)

__all__ = [
    "Chance",
    "Comparison",
    "Interval",
    "bootstrap_interval",
    "chance_level",
    "holm",
    "paired_comparison",
    "wilson_interval",
]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """Two systems on the same clips.

    Attributes
    ----------
    difference
        Mean score of the first less mean score of the second, with its
        bootstrap interval.
    p_value
        Probability of a difference at least this large, of either sign, between equal systems.
    method
        The test.
    clips
        Clips compared.
    """

    difference: Interval
    p_value: float
    method: str
    clips: int


@dataclass(frozen=True)
class Chance:
    """Accuracy without listening.

    Attributes
    ----------
    majority
        Of always giving the most frequent class, with its Wilson interval.
    majority_class
        That class.
    uniform
        Of drawing a class at random, with the interval in which a share
        ``level`` of such guessers of these clips lie.
    """

    majority: Interval
    majority_class: int
    uniform: Interval


def paired_comparison(
    a: ArrayLike,
    b: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    n_resamples: int = 10_000,
    level: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Compare two systems on the same clips (or folds).

    Two equal systems could as well swap their scores on any clip. The p-value
    is McNemar's exact one where every score is 0 or 1 and clips are
    independent; otherwise that of the sign-flip permutation test over clips or
    groups, exact while all its flips number at most ``n_resamples``.

    Parameters
    ----------
    a, b
        Score of each clip, higher is better: whether it was predicted right,
        or any finite number; shape ``(clips,)``.
    groups
        Recording, speaker or source of each clip.
    n_resamples
        Of the bootstrap and the permutation test, at least 100.
    level
        Above 0 and below 1.
    seed
        Of both.

    Raises
    ------
    ValueError
        When an argument is empty, of another length, not finite or out of range; the message names it.

    Notes
    -----
    Dietterich, *Approximate statistical tests for comparing supervised
    classification learning algorithms*, Neural Computation 1998.
    """
    first, second = numbers("a", a), numbers("b", b)
    if len(first) != len(second):
        raise ValueError(f"a has {len(first)} scores and b {len(second)}; both must score the same clips")
    change = first - second
    interval = bootstrap_interval(change, groups=groups, n_resamples=n_resamples, level=level, seed=seed)
    if groups is None and np.isin([first, second], (0, 1)).all():
        from scipy import stats

        better, worse = int((change > 0).sum()), int((change < 0).sum())
        p = float(stats.binomtest(better, better + worse).pvalue) if better + worse else 1.0
        return Comparison(interval, p, "McNemar, exact", len(change))
    index, n_groups = group_index(groups, len(change))
    p, exact = _sign_flip(np.bincount(index, change, n_groups).astype(np.float64), n_resamples, seed)
    unit = "clips" if groups is None else f"{n_groups} groups"
    return Comparison(interval, p, f"sign flips of {unit}, {'exact' if exact else 'sampled'}", len(change))


def holm(p_values: ArrayLike) -> Array:
    """P-values corrected for their number, so that the chance of any false alarm stays below the level.

    Parameters
    ----------
    p_values
        From 0 to 1, shape ``(tests,)``.

    Notes
    -----
    Holm, *A simple sequentially rejective multiple test procedure*, 1979.
    """
    p = numbers("p_values", p_values)
    if p.min() < 0 or p.max() > 1:
        raise ValueError(f"p_values runs from {p.min():g} to {p.max():g}; it must lie from 0 to 1")
    order = np.argsort(p)
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return corrected


def chance_level(
    labels: ArrayLike, *, n_classes: int | None = None, train_labels: ArrayLike | None = None, level: float = 0.95
) -> Chance:
    """Accuracy that is reached without listening, on these clips.

    Parameters
    ----------
    labels
        True class of each test clip, whole numbers at least 0, shape ``(clips,)``.
    n_classes
        Classes to draw from; by default as many as the labels show.
    train_labels
        Classes of the training clips, where the most frequent one is looked up;
        by default the test clips themselves, which flatters the majority a little.
    level
        Above 0 and below 1.
    """
    from scipy import stats

    require_level(level)
    y = class_indices("labels", labels)
    train = y if train_labels is None else class_indices("train_labels", train_labels)
    n_classes = int(max(y.max(), train.max())) + 1 if n_classes is None else n_classes
    if n_classes <= max(y.max(), train.max()):
        raise ValueError(f"n_classes is {n_classes} but class {max(y.max(), train.max())} occurs; count from 0")
    majority = int(np.bincount(train).argmax())
    low, high = np.asarray(stats.binom.interval(level, len(y), 1 / n_classes)) / len(y)
    uniform = Interval(float(low), float(high), level, f"binomial, {len(y)} clips", 1 / n_classes)
    return Chance(wilson_interval(int((y == majority).sum()), len(y), level), majority, uniform)


def _sign_flip(change: Array, n_resamples: int, seed: int) -> tuple[float, bool]:
    """Two-sided p-value of the sum of ``change`` under random signs, and whether all signs were tried."""
    observed = abs(change.sum()) - 1e-9 * np.abs(change).sum()  # equal sums differ in their last digits
    if 2 ** len(change) <= n_resamples:
        signs = 1.0 - 2.0 * ((np.arange(2 ** len(change))[:, None] >> np.arange(len(change))) & 1)
        return float(np.mean(np.abs(signs @ change) >= observed)), True
    generator = np.random.default_rng(seed)
    extreme = 0
    for rows in chunks(n_resamples, len(change)):
        signs = 1.0 - 2.0 * generator.integers(0, 2, (rows, len(change)), dtype=np.int8)
        extreme += int((np.abs(signs @ change) >= observed).sum())
    return (extreme + 1) / (n_resamples + 1), False
