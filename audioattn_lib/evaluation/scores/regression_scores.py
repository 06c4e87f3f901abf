"""Regression metrics with confidence intervals, a permutation test against chance, and paired comparisons of systems.

Book page: ``sleepiness``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..statistics.intervals import bootstrap_interval, chunks, group_index, numbers, require_level
from .metrics import regression_metrics

__all__ = [
    "SCORES",
    "Permutation",
    "chance_regression",
    "permutation_test",
    "score_regression",
    "to_label_range",
]

Array = NDArray[np.float64]

SCORES = ("spearman", "pearson", "concordance", "mean_absolute_error")
"""Scores with intervals: three correlations from -1 to 1, and an error in the unit of the labels."""

_FEW = 10


@dataclass(frozen=True)
class Permutation:
    """Result of a permutation test of the correlation.

    Attributes
    ----------
    p_value
        Probability of a correlation at least this far from 0, of either sign, when predictions are given to the
        wrong clips.
    low, high
        Where the correlations of chance lie in a share ``level`` of the cases.
    method
        What was exchanged.
    """

    p_value: float
    low: float
    high: float
    method: str


def to_label_range(predictions: ArrayLike, low: float, high: float) -> Array:
    """Round predictions to whole numbers and clip them to the range of the labels, as published.

    Ties cost rank correlation: give the scores of both.

    Parameters
    ----------
    predictions
        Shape ``(clips,)``.
    low, high
        Least and greatest label, ``low < high``.
    """
    if not low < high:
        raise ValueError(f"low is {low:g} and high {high:g}; low must be below high")
    return np.clip(np.rint(numbers("predictions", predictions)), low, high)


def score_regression(
    labels: ArrayLike,
    predictions: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    n_resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """Scores of predicted numbers with intervals and a permutation test, ready for ``metrics.json``.

    Parameters
    ----------
    labels, predictions
        Finite numbers, shape ``(clips,)``. Leave clips without a label out.
    groups
        Speaker or recording of each clip: what is resampled and exchanged.
    n_resamples
        Of the bootstrap and of the permutation test, at least 100.
    level
        Coverage of the intervals, above 0 and below 1.
    seed
        Of both.

    Returns
    -------
    dict
        The scores of :func:`~audioattn_lib.evaluation.scores.metrics.regression_metrics`,
        where a correlation with something constant is 0; ``intervals``, the
        bootstrap interval of each as a dictionary; ``permutation``, the test of
        Spearman's correlation; ``note``, ``""`` unless something is constant or groups are few.

    Raises
    ------
    ValueError
        When an argument is empty, of another length, not finite or out of range; the message names it.

    Notes
    -----
    Book page: ``sleepiness``.
    """
    y, p = _pair(labels, predictions)
    scores = regression_metrics(y, p)
    notes = [
        f"all {name} are {values[0]:g}: correlations are undefined and count as 0"
        for name, values in (("predictions", p), ("labels", y))
        if np.ptp(values) == 0
    ]
    _, n_groups = group_index(groups, len(y))
    if n_groups < _FEW:
        unit = "clips" if groups is None else "groups"
        notes.append(f"only {n_groups} {unit}: intervals over so few are too narrow")
    scores |= {name: 0.0 for name in SCORES if scores[name] is None}
    options: dict[str, Any] = {"groups": groups, "n_resamples": n_resamples, "level": level, "seed": seed}
    intervals = {name: bootstrap_interval((y, p), name, **options).to_dict() for name in SCORES}
    test = permutation_test(y, p, groups=groups, n_permutations=n_resamples, level=level, seed=seed)
    return scores | {"intervals": intervals, "permutation": asdict(test), "note": "; ".join(notes)}


def permutation_test(
    labels: ArrayLike,
    predictions: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    n_permutations: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Permutation:
    """Test Spearman's correlation against predictions that belong to other clips.

    With groups, the clips of a group stay beside each other: groups are put in
    random order, and the clips within each, for labels and predictions
    separately. Speakers who are predicted high throughout then do not pass for
    evidence of many clips.

    Parameters
    ----------
    labels, predictions
        Finite numbers, shape ``(clips,)``.
    groups
        Speaker or recording of each clip; by default every clip is its own.
    n_permutations
        At least 100.
    level
        Of ``low`` and ``high``, above 0 and below 1.
    seed
        Of the permutations.

    Notes
    -----
    The observed arrangement counts as one of the permutations, so the p-value
    is never 0. Where groups differ in size, blocks of clips do not match whole
    groups and the test is approximate.
    """
    require_level(level)
    y, p = _pair(labels, predictions)
    if n_permutations < 100:
        raise ValueError(f"n_permutations is {n_permutations}; it must be at least 100")
    index, n_groups = group_index(groups, len(y))
    y, p = _ranked(y), _ranked(p)
    size = np.sqrt(np.sum(y**2) * np.sum(p**2))
    generator = np.random.default_rng(seed)
    correlations = []
    for rows in chunks(n_permutations, len(y)):
        if groups is None:
            mixed = generator.permuted(np.broadcast_to(p, (rows, len(p))), axis=1)
            correlations.append(mixed @ y)
        else:
            orders = (_block_order(generator, index, n_groups, rows) for _ in range(2))
            ours, theirs = (values[order] for values, order in zip((y, p), orders, strict=True))
            correlations.append(np.sum(ours * theirs, axis=1))
    chance = np.concatenate(correlations) / size if size > 0 else np.zeros(n_permutations)
    observed = abs(float(y @ p) / size) if size > 0 else 0.0
    p_value = (int(np.sum(np.abs(chance) >= observed - 1e-12)) + 1) / (n_permutations + 1)
    low, high = np.quantile(chance, [(1 - level) / 2, (1 + level) / 2])
    unit = "clips" if groups is None else f"{n_groups} groups and clips within them"
    return Permutation(p_value, float(low), float(high), f"{n_permutations} permutations of {unit}")


def chance_regression(labels: ArrayLike, train_labels: ArrayLike) -> dict[str, Any]:
    """Compute the scores of the median of the training labels as a constant prediction.

    Parameters
    ----------
    labels, train_labels
        Finite numbers, shape ``(clips,)`` each.

    Returns
    -------
    dict
        ``prediction``, the median; the correlations, which are 0; ``rmse`` and ``mean_absolute_error``.
    """
    y = numbers("labels", labels)
    median = float(np.median(numbers("train_labels", train_labels)))
    scores = regression_metrics(y, np.full_like(y, median))
    return {"prediction": median} | scores | {"spearman": 0.0, "pearson": 0.0, "concordance": 0.0}


def _ranked(values: Array) -> Array:
    """Ranks less their mean; equal values share a rank."""
    from scipy import stats

    ranks = stats.rankdata(values)
    return ranks - ranks.mean()


def _block_order(
    generator: np.random.Generator, index: NDArray[np.int64], n_groups: int, rows: int
) -> NDArray[np.int64]:
    """Orders of clips, shape ``(rows, clips)``: groups in random order, clips in random order within each."""
    group_ranks = generator.permuted(np.broadcast_to(np.arange(n_groups), (rows, n_groups)), axis=1)
    return np.argsort(group_ranks[:, index] + generator.random((rows, len(index))), axis=1)


def _pair(labels: ArrayLike, predictions: ArrayLike) -> tuple[Array, Array]:
    y, p = numbers("labels", labels), numbers("predictions", predictions)
    if len(y) != len(p):
        raise ValueError(f"{len(y)} labels for {len(p)} predictions; give one a clip")
    return y, p
