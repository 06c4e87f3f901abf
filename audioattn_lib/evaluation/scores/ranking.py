r"""Mean average precision with intervals, and what systems are compared by it with.

Where a clip may have several labels, systems are compared by how well they rank
the clips for each label. Average precision is no mean over clips, so it has
functions of its own; all resamples are computed at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..statistics.intervals import Interval, draw_counts, group_index, require_level
from ..statistics.systems import Draws
from .metrics import to_array

__all__ = ["draw_average_precision", "mean_average_precision_interval"]

Array = NDArray[np.float64]


def mean_average_precision_interval(
    targets: ArrayLike,
    scores: ArrayLike | Sequence[ArrayLike],
    *,
    groups: ArrayLike | None = None,
    n_resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    r"""Mean over classes of :math:`\sum_i (R_i - R_{i-1}) P_i`, with its bootstrap interval.

    Parameters
    ----------
    targets
        1 where a clip has a label and 0 elsewhere, shape ``(clips, classes)``.
    scores
        Higher is surer, shape ``(clips, classes)``; or several such arrays,
        those of a system trained with several seeds, whose values are averaged.
    groups
        Recording, speaker or source of each clip, drawn whole.
    n_resamples, level, seed
        As for :func:`~audioattn_lib.evaluation.statistics.intervals.bootstrap_interval`.

    Raises
    ------
    ValueError
        When shapes differ, a value is not finite, or no clip has a label.

    Notes
    -----
    A resample in which nobody has a label leaves it out of its mean. Everingham
    et al., *The PASCAL visual object classes challenge*, IJCV 2010, for the
    measure without interpolation as in scikit-learn. Book page:
    ``urban_sound_results``.
    """
    truth, systems = _check(targets, scores)
    require_level(level)
    index, n_groups = group_index(groups, len(truth))
    whole, resampled = _resample(truth, [systems], index, n_groups, n_resamples, seed)
    unit = "clips" if groups is None else f"{n_groups} groups"
    return _interval(whole[0], resampled[0], level, f"percentile bootstrap over {unit}", n_groups)


def draw_average_precision(
    targets: ArrayLike,
    scores: ArrayLike | Sequence[ArrayLike],
    *,
    groups: ArrayLike | None = None,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Draws:
    """Mean average precision of each seed, on all clips and on resamples of the groups, to compare systems by.

    Parameters
    ----------
    targets, scores, groups, n_resamples, seed
        As for :func:`mean_average_precision_interval`.

    Returns
    -------
    Draws
        For :func:`~audioattn_lib.evaluation.statistics.systems.compare_systems`.

    Notes
    -----
    Book page: ``urban_sound_results``.
    """
    truth, systems = _check(targets, scores)
    index, n_groups = group_index(groups, len(truth))
    whole, resampled = _resample(truth, [[system] for system in systems], index, n_groups, n_resamples, seed)
    return Draws(np.array(whole), np.stack(resampled), n_groups)


def _check(targets: ArrayLike, scores: ArrayLike | Sequence[ArrayLike]) -> tuple[Array, list[Array]]:
    truth = to_array("targets", targets)
    if truth.ndim != 2 or not np.isin(truth, (0, 1)).all() or not truth.any():
        raise ValueError(f"targets has shape {truth.shape}; it must be (clips, classes) of 0 and 1, with a 1 somewhere")
    array = to_array("scores", scores)  # type: ignore[arg-type]
    systems = list(array) if array.ndim == 3 else [array]
    if systems[0].shape != truth.shape:
        raise ValueError(f"scores has shape {array.shape} and targets {truth.shape}; both need (clips, classes)")
    return truth, systems


def _resample(
    truth: Array,
    systems: Sequence[Sequence[Array]],
    index: NDArray[np.int64],
    n_groups: int,
    n_resamples: int,
    seed: int,
) -> tuple[list[float], list[Array]]:
    """Mean average precision of each system on all clips, and on each of the same resamples."""
    generator = np.random.default_rng(seed)
    resampled: list[list[Array]] = [[] for _ in systems]
    for counts in draw_counts(generator, n_groups, n_resamples, width=max(n_groups, len(index))):
        for draws, seeds in zip(resampled, systems, strict=True):
            draws.append(np.mean([_average_precision(truth, s, counts[:, index]) for s in seeds], axis=0))
    once = np.ones((1, len(index)))
    whole = [float(np.mean([_average_precision(truth, s, once) for s in seeds])) for seeds in systems]
    return whole, [np.concatenate(draws) for draws in resampled]


def _average_precision(truth: Array, scores: Array, counts: Array) -> Array:
    """Mean over classes for clips that count several times, ``counts`` of shape ``(resamples, clips)``."""
    total, classes = np.zeros(len(counts)), np.zeros(len(counts))
    for y, score in zip(truth.T, scores.T, strict=True):
        order = np.argsort(-score, kind="stable")
        weight = counts[:, order]
        # clips with equal scores have one place: precision counts at the last of them
        last = np.append(np.diff(score[order]) != 0, True)
        positive = np.cumsum(weight * y[order], axis=1)[:, last]  # (resamples, distinct scores)
        drawn = np.cumsum(weight, axis=1)[:, last]
        precision = np.divide(positive, drawn, out=np.zeros_like(positive), where=drawn > 0)
        hits = np.diff(positive, axis=1, prepend=0.0)
        share = positive[:, -1]
        total += np.divide((precision * hits).sum(axis=1), share, out=np.zeros(len(counts)), where=share > 0)
        classes += share > 0
    return np.divide(total, classes, out=np.full(len(counts), np.nan), where=classes > 0)


def _interval(estimate: float, resampled: Array, level: float, method: str, n_groups: int) -> Interval:
    finite = resampled[np.isfinite(resampled)]
    if n_groups == 1 or not len(finite):
        return Interval(np.nan, np.nan, level, method, estimate)
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), level, method, estimate)
