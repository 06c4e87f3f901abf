r"""Systems compared over seeds and groups at once: intervals, paired differences, what could be seen.

A score depends on the clips that are tested and on the seed that a network was
trained with. Both are drawn here: a resample draws groups of clips (recordings,
speakers) and seeds, the same ones for both systems of a comparison. So an
interval says what to expect of *other clips and other networks*.

Every system gives its :class:`Draws`: the score of each seed, on all clips and
on the same resamples of groups. What the score is does not matter from there on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from .comparisons import holm
from .intervals import Interval, bootstrap, require_level

__all__ = ["Difference", "Draws", "compare_systems", "difference", "draw_means", "draw_scores", "score_interval"]

Array = NDArray[np.float64]
_NORMAL = 1.959963984540054  # 97.5 % of a normal distribution lie below
_RESAMPLES = 2000


@dataclass(frozen=True)
class Draws:
    """The score of one system: seed by seed, on all clips and on resamples of their groups.

    Attributes
    ----------
    scores
        Of each seed on all clips, shape ``(seeds,)``.
    resampled
        Of each seed on each resample, shape ``(seeds, resamples)``. Systems that are compared share the resamples.
    groups
        Recordings or speakers that were resampled; clips where each is its own.
    """

    scores: Array
    resampled: Array
    groups: int

    @property
    def seeds(self) -> int:
        """Seeds, 1 for a system that draws nothing at random."""
        return len(self.scores)


@dataclass(frozen=True)
class Difference:
    r"""An estimate with what is known of its error, for intervals of any level.

    Attributes
    ----------
    estimate
        Score, or difference of two scores.
    below, above
        Standard errors towards lower and towards higher values, from the bootstrap.
    freedom
        Degrees of freedom of the errors (Satterthwaite): few where few seeds make most of the error.
    seeds, groups
        What was resampled.
    """

    estimate: float
    below: float
    above: float
    freedom: float
    seeds: int
    groups: int

    def interval(self, level: float = 0.95) -> Interval:
        """The interval that covers the truth in a share ``level`` of such experiments; NaN where there is one group."""
        require_level(level)
        over = f"{self.groups} groups" + (f" and {self.seeds} seeds" if self.seeds > 1 else ", one seed")
        method = f"bootstrap over {over}"
        if not self._is_defined or (self._is_constant and self.estimate and self.p_value > 1 - level):
            return Interval(np.nan, np.nan, level, method, self.estimate)
        width = _quantile((1 + level) / 2, self.freedom)
        low, high = self.estimate - width * self.below, self.estimate + width * self.above
        return Interval(float(low), float(high), level, method, self.estimate)

    @cached_property
    def p_value(self) -> float:
        """Probability of an estimate this far from zero, of either sign, where the truth is zero.

        It is below 0.05 exactly where the interval of 95 % excludes zero.
        """
        from scipy import stats

        if not self._is_defined or self.estimate == 0:
            return 1.0
        if self._is_constant:  # every group changed alike: a sign test is all that is left
            return float(2.0 ** (1 - self.groups))
        error = self.below if self.estimate > 0 else self.above
        return float(2 * stats.t.sf(abs(self.estimate) / error, self.freedom)) if error > 0 else 0.0

    def detectable(self, level: float = 0.95, power: float = 0.8) -> float:
        """True difference that such an experiment finds with probability ``power``; it often misses a smaller one."""
        if not self._is_defined:
            return float("nan")
        error = (self.below + self.above) / 2
        return float((_quantile((1 + level) / 2, self.freedom) + _quantile(power, self.freedom)) * error)

    @property
    def _is_defined(self) -> bool:
        return bool(np.isfinite(self.below))

    @property
    def _is_constant(self) -> bool:
        return self.below == self.above == 0


def draw_means(
    scores: ArrayLike, *, groups: ArrayLike | None = None, n_resamples: int = _RESAMPLES, seed: int = 0
) -> Draws:
    """Draws of a mean over clips, such as accuracy.

    Parameters
    ----------
    scores
        Score of each clip by each seed, ``(seeds, clips)``; or ``(clips,)`` for a system without seeds.
    groups
        Recording or speaker of each clip, drawn whole; by default every clip is its own.
    n_resamples, seed
        As for :func:`~audioattn_lib.evaluation.statistics.intervals.bootstrap_interval`.
    """
    table = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    return _gather([bootstrap(row, "mean", groups=groups, n_resamples=n_resamples, seed=seed) for row in table])


def draw_scores(
    labels: ArrayLike,
    predictions: ArrayLike,
    statistic: str,
    *,
    groups: ArrayLike | None = None,
    n_resamples: int = _RESAMPLES,
    seed: int = 0,
) -> Draws:
    """Draws of a score of labels and predictions, such as ``"spearman"`` or ``"macro_f1"``.

    Parameters
    ----------
    labels
        Shape ``(clips,)``.
    predictions
        Of each seed, ``(seeds, clips)``; or ``(clips,)`` for a system without seeds.
    statistic, groups, n_resamples, seed
        As for :func:`~audioattn_lib.evaluation.statistics.intervals.bootstrap_interval`.
    """
    table = np.atleast_2d(np.asarray(predictions, dtype=np.float64))
    options = {"groups": groups, "n_resamples": n_resamples, "seed": seed}
    return _gather([bootstrap((labels, row), statistic, **options) for row in table])  # type: ignore[arg-type]


def score_interval(draws: Draws, level: float = 0.95, *, bounds: tuple[float, float] = (0.0, 1.0)) -> Interval:
    """The mean score over seeds with its interval over groups and seeds.

    Parameters
    ----------
    draws
        Of one system.
    level
        Above 0 and below 1.
    bounds
        Range of the score, which the interval does not leave: of a correlation from -1 to 1.

    Notes
    -----
    Book page: ``urban_sound``.
    """
    interval = _estimate(draws.scores, draws.resampled, draws.groups).interval(level)
    if np.isnan(interval.low):
        return interval
    low, high = max(bounds[0], interval.low), min(bounds[1], interval.high)
    return Interval(low, high, level, interval.method, interval.estimate)


def difference(a: Draws, b: Draws) -> Difference:
    r"""The score of one system less that of another, paired by group and by seed.

    A resample draws groups with replacement and :math:`S - 1` of the :math:`S`
    seeds with replacement, which gives the mean over seeds its unbiased
    variance :math:`s^2 / S`. Quantiles of the resamples are widened from the normal to Student's distribution,
    whose degrees of freedom follow from the shares of seeds and groups in the error.

    Parameters
    ----------
    a, b
        Of the same clips, with the same resamples, and as many seeds in the same order; a system without seeds
        goes with any number.

    Raises
    ------
    ValueError
        When the systems do not belong together.

    Notes
    -----
    Owen, *The pigeonhole bootstrap*, Annals of Applied Statistics 2007; Rao and Wu, *Resampling inference with complex
    survey data*, JASA 1988; Satterthwaite, *An approximate distribution of estimates of variance components*, 1946.
    Book page: ``urban_sound``.
    """
    if a.groups != b.groups or a.resampled.shape[1] != b.resampled.shape[1]:
        raise ValueError(
            f"a was drawn over {a.groups} groups {a.resampled.shape[1]} times, b over {b.groups} groups "
            f"{b.resampled.shape[1]} times; draw both with the same groups and n_resamples"
        )
    if a.seeds != b.seeds and 1 not in (a.seeds, b.seeds):
        raise ValueError(f"a has {a.seeds} seeds and b {b.seeds}; give the same seeds, or a system without seeds")
    return _estimate(a.scores - b.scores, a.resampled - b.resampled, a.groups)


def compare_systems(
    pairs: Mapping[str, tuple[Draws, Draws]], level: float = 0.95, *, largest: float = np.inf
) -> pd.DataFrame:
    """Test whether A is better than B, for several pairs, with one rule for intervals and tests.

    Parameters
    ----------
    pairs
        Two systems by the name of their comparison.
    level
        Coverage, above 0 and below 1.
    largest
        Largest difference that two scores can have, where intervals end: 1 of shares, 2 of correlations; none by
        default.

    Returns
    -------
    DataFrame
        A row a pair: ``difference`` with its interval ``low`` to ``high``; ``p_holm``, corrected for the number of
        pairs; ``detectable``, the smallest difference found with a probability of 0.8; ``seeds`` and ``groups``.
        Intervals are widened for the number of pairs as the p-values are (Holm): one excludes zero exactly where its
        ``p_holm`` is below ``1 - level``.

    Notes
    -----
    Holm, *A simple sequentially rejective multiple test procedure*, 1979. Book page: ``urban_sound``.
    """
    require_level(level)
    columns = ["difference", "low", "high", "p_holm", "detectable", "seeds", "groups"]
    if not pairs:
        return pd.DataFrame(columns=columns)
    results = {name: difference(*pair) for name, pair in pairs.items()}
    p = np.array([result.p_value for result in results.values()])
    corrected = holm(p)
    rejected = int((corrected < 1 - level).sum())
    rank = np.argsort(np.argsort(p, kind="stable"), kind="stable")
    rows = []
    for result, position, p_holm in zip(results.values(), rank, corrected, strict=True):
        # a step of Holm's procedure: those behind the first that fails share the threshold at which that one failed
        tests = len(p) - min(int(position), rejected, len(p) - 1)
        interval = result.interval(1 - (1 - level) / tests)
        ends = (float(np.clip(end, -largest, largest)) for end in (interval.low, interval.high))
        row = (result.estimate, *ends, float(p_holm))
        rows.append((*row, result.detectable(1 - (1 - level) / len(p)), result.seeds, result.groups))
    return pd.DataFrame(rows, index=pd.Index(list(results), name="system"), columns=columns)


def _gather(drawn: list[tuple[float, Array, int]]) -> Draws:
    return Draws(np.array([draw[0] for draw in drawn]), np.stack([draw[1] for draw in drawn]), drawn[0][2])


def _estimate(scores: Array, resampled: Array, groups: int) -> Difference:
    """Mean over seeds with its errors; ``scores`` of shape ``(seeds,)``, ``resampled`` of ``(seeds, resamples)``."""
    seeds, n_resamples = resampled.shape
    whole = float(scores.mean())
    if groups < 2:
        return Difference(whole, np.nan, np.nan, np.nan, seeds, groups)
    over_groups = resampled.mean(axis=0)
    finite = np.isfinite(over_groups)
    parts = [(float(np.var(over_groups[finite])), groups - 1)]
    drawn = over_groups
    if seeds > 1:
        parts.append((float(np.var(scores, ddof=1)) / seeds, seeds - 1))
        seed_index = np.random.default_rng(seeds).integers(0, seeds, (n_resamples, seeds - 1))
        drawn = np.take_along_axis(resampled.T, seed_index, axis=1).mean(axis=1)
    low, high = np.quantile(drawn[np.isfinite(drawn)], [0.025, 0.975])
    below, above = (max(float(end), 0.0) / _NORMAL for end in (whole - low, high - whole))
    total = sum(variance for variance, _ in parts)
    freedom = total**2 / sum(v**2 / n for v, n in parts) if total > 0 else float(groups - 1)
    if max(below, above) < 1e-12:
        below = above = 0.0
    return Difference(whole, below, above, freedom, seeds, groups)


def _quantile(probability: float, freedom: float) -> float:
    from scipy import stats

    return float(stats.t.ppf(probability, freedom))
