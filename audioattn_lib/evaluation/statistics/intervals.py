r"""Confidence intervals of scores: bootstrap over clips or groups, Wilson.

Clips of one recording or speaker are correlated. A bootstrap that resamples
single clips then gives intervals that are too narrow. Resampling here takes
``groups`` and draws whole groups. All random numbers come from ``seed``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from .correlations import from_sums, of_ranks

__all__ = ["Interval", "bootstrap_interval", "wilson_interval"]

Array = NDArray[np.float64]
_OF_NUMBERS = ("rmse", "mean_absolute_error", "pearson", "concordance")
_CHUNK = 250_000  # numbers drawn at a time: what is made of them stays in the cache of a core


@dataclass(frozen=True)
class Interval:
    """An estimate and the interval that covers the truth in a share ``level`` of such experiments.

    Attributes
    ----------
    low, high
        Ends of the interval, in the unit of the estimate; NaN where one clip,
        group or fold leaves them undefined.
    level
        Coverage, above 0 and below 1.
    method
        How it was found, in words.
    estimate
        The statistic of the data itself.
    """

    low: float
    high: float
    level: float
    method: str
    estimate: float

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.estimate:.3f} [{self.low:.3f}, {self.high:.3f}]"


def bootstrap_interval(
    values: ArrayLike | tuple[ArrayLike, ArrayLike],
    statistic: str | Callable[..., float] = "mean",
    *,
    groups: ArrayLike | None = None,
    n_resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    r"""Percentile bootstrap interval of a statistic, over clips or over groups of clips.

    Every resample draws as many groups as there are, with replacement; its
    statistic is that of all clips of the drawn groups.

    Parameters
    ----------
    values
        One number a clip, shape ``(clips,)``; or a pair ``(labels,
        predictions)`` of whole numbers at least 0 (for scores of regression, of numbers).
    statistic
        ``"mean"`` of numbers; ``"accuracy"``, ``"error"``,
        ``"unweighted_average_recall"``, ``"macro_f1"``, or, of numbers,
        ``"rmse"``, ``"mean_absolute_error"``, ``"pearson"``,
        ``"concordance"`` or ``"spearman"`` of a pair, as in
        :mod:`~audioattn_lib.evaluation.scores.metrics`, where a correlation of
        something constant counts as 0; these are computed for all resamples at
        once. Or a function of the resampled array (of both
        arrays, for a pair), called once for each resample.
    groups
        Recording, speaker or source of each clip; by default every clip is its
        own. With fewer than about 10 groups the interval is too narrow.
    n_resamples
        At least 100.
    level
        Above 0 and below 1.
    seed
        Of the resampling.

    Raises
    ------
    ValueError
        When an argument is empty, of another length, not finite or out of range; the message names it.

    Notes
    -----
    Efron and Tibshirani, *An introduction to the bootstrap*, 1993, chapter 13;
    Davison and Hinkley, *Bootstrap methods and their application*, 1997,
    section 3.8, for clusters. When nothing varies (all clips right) the interval
    has no width: use :func:`wilson_interval` there. Book page: ``urban_sound``.
    """
    require_level(level)
    estimate, resampled, n_groups = bootstrap(values, statistic, groups=groups, n_resamples=n_resamples, seed=seed)
    unit = "clips" if groups is None else f"{n_groups} group{'s' * (n_groups > 1)}"
    method = f"percentile bootstrap over {unit}"
    if n_groups == 1:
        return Interval(np.nan, np.nan, level, method, estimate)
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), level, method, estimate)


def bootstrap(
    values: ArrayLike | tuple[ArrayLike, ArrayLike],
    statistic: str | Callable[..., float],
    *,
    groups: ArrayLike | None,
    n_resamples: int,
    seed: int,
) -> tuple[float, Array, int]:
    """A statistic of the data and of each resample, and the number of groups; see :func:`bootstrap_interval`.

    The same seed draws the same clips for every statistic of one kind, so
    resamples of two systems can be compared.
    """
    _require_resamples(n_resamples)
    arrays = (
        [numbers(name, v) for name, v in zip(("labels", "predictions"), values, strict=True)]
        if isinstance(values, tuple)
        else [numbers("values", values)]
    )
    if len({len(a) for a in arrays}) > 1:
        raise ValueError(f"{len(arrays[0])} labels for {len(arrays[1])} predictions; give one a clip")
    index, n_groups = group_index(groups, len(arrays[0]))
    generator = np.random.default_rng(seed)
    if callable(statistic):
        # clips of each group; a resample concatenates those of the drawn groups
        members = np.split(np.argsort(index, kind="stable"), np.cumsum(np.bincount(index))[:-1])
        resampled = np.empty(n_resamples)
        for i in range(n_resamples):
            drawn_clips = np.concatenate([members[g] for g in generator.integers(0, n_groups, n_groups)])
            resampled[i] = statistic(*(a[drawn_clips] for a in arrays))
        return float(statistic(*arrays)), resampled, n_groups
    if statistic == "spearman" and len(arrays) == 2:
        # Ranks depend on all clips of a resample, so no sum over groups gives them: each resample ranks anew, with the
        # count of a clip, (resamples, clips), as its multiplicity.
        labels, predictions = arrays
        estimate = of_ranks(labels, predictions, np.ones((1, len(labels))))
        drawn = draw_counts(generator, n_groups, n_resamples, max(n_groups, len(labels)))
        resampled = np.concatenate([of_ranks(labels, predictions, counts[:, index]) for counts in drawn])
        return float(estimate[0]), resampled, n_groups
    # The statistic is a function of sums over clips. Sums over groups are taken once, and a resample is a product with
    # the counts of its groups: (sums, groups) @ (groups, resamples), in place of a loop over resamples.
    sums, finish = _additive(arrays, statistic)
    by_group = _indicator(index, n_groups) @ sums  # (groups, sums)
    estimate = finish(np.asarray(by_group.sum(axis=0)).reshape(1, -1))
    drawn = draw_counts(generator, n_groups, n_resamples)
    return float(estimate[0]), np.concatenate([finish((by_group.T @ counts.T).T) for counts in drawn]), n_groups


def wilson_interval(correct: int, total: int, level: float = 0.95) -> Interval:
    """Wilson score interval of a share, honest at 0 and 1 too; clips are taken as independent.

    Parameters
    ----------
    correct, total
        ``0 <= correct <= total``, ``total`` at least 1.
    level
        Above 0 and below 1.

    Notes
    -----
    Wilson, *Probable inference, the law of succession, and statistical
    inference*, JASA 1927.
    """
    from scipy import stats

    require_level(level)
    if total < 1 or not 0 <= correct <= total:
        raise ValueError(f"correct is {correct} of total {total}; it must lie from 0 to total, and total be at least 1")
    interval = stats.binomtest(int(correct), int(total)).proportion_ci(level, method="wilson")
    return Interval(float(interval.low), float(interval.high), level, "Wilson", correct / total)


def _additive(arrays: list[Array], statistic: str) -> tuple[Any, Callable[[Any], Array]]:
    """Sums over clips that a statistic is a function of, shape ``(clips, sums)``, and that function."""
    from scipy import sparse  # imports for long, and few need it

    pair = {"accuracy", "error", "unweighted_average_recall", "macro_f1", "spearman", *_OF_NUMBERS}
    if statistic not in ({"mean"} if len(arrays) == 1 else pair):
        allowed = "'mean' or a function" if len(arrays) == 1 else f"{', '.join(sorted(pair))} or a function"
        raise ValueError(f"statistic is {statistic!r}; for {len(arrays)} array(s) give {allowed}")
    if statistic in ("pearson", "concordance"):
        # Sums of numbers that lie far from 0 lose digits; something constant becomes exactly 0.
        x, y = (array - (array.mean() if np.ptp(array) else array[0]) for array in arrays)
        sums = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)
        apart = float(arrays[0].mean() - arrays[1].mean())
        return sums, lambda s: from_sums(s, apart if statistic == "concordance" else None)
    if statistic in ("mean", "rmse", "mean_absolute_error"):
        change = arrays[0] if statistic == "mean" else arrays[0] - arrays[1]
        value = {"mean": change, "rmse": change**2, "mean_absolute_error": np.abs(change)}[statistic]
        root = np.sqrt if statistic == "rmse" else np.asarray
        return np.stack([value, np.ones_like(value)], axis=1), lambda s: root(s[:, 0] / s[:, 1])
    labels, predictions = class_indices("labels", arrays[0]), class_indices("predictions", arrays[1])
    if statistic in ("accuracy", "error"):
        right = (labels == predictions) == (statistic == "accuracy")
        return np.stack([right, np.ones(len(right))], axis=1), lambda s: s[:, 0] / s[:, 1]
    n = int(max(labels.max(), predictions.max())) + 1

    # The sums are the cells of the confusion matrix, (clips, n * n) with a single 1 a row: sparse.
    def finish(cells: Any) -> Array:
        confusion = np.asarray(cells.todense() if sparse.issparse(cells) else cells).reshape(-1, n, n)
        hits = np.diagonal(confusion, axis1=1, axis2=2)
        occurs = confusion.sum(axis=2)
        size, gain = (occurs, hits) if statistic != "macro_f1" else (occurs + confusion.sum(axis=1), 2 * hits)
        # a class that neither occurs nor is predicted in a resample does not count in its mean
        score = np.divide(gain, size, out=np.zeros(size.shape), where=size > 0)
        return score.sum(axis=1) / (size > 0).sum(axis=1)

    return _indicator(labels * n + predictions, n * n).T.tocsr(), finish


def draw_counts(
    generator: np.random.Generator, n_groups: int, n_resamples: int, width: int | None = None
) -> Iterator[Array]:
    """Draw the bootstrap counts of each group in each resample, in arrays of shape ``(some, groups)``.

    ``width`` is what is made of each resample, in numbers, where that is more than one a group.
    """
    _require_resamples(n_resamples)
    for rows in chunks(n_resamples, width or n_groups):
        # one bincount for all resamples: the numbers of resample i are shifted by i * n_groups
        drawn = generator.integers(0, n_groups, (rows, n_groups)) + n_groups * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * n_groups).reshape(rows, n_groups).astype(np.float64)


def _indicator(index: NDArray[np.int64], n: int) -> Any:
    """Sparse ``(n, clips)`` matrix with a 1 in row ``index[i]`` of column ``i``."""
    from scipy import sparse  # imports for long, and few need it

    return sparse.csr_array((np.ones(len(index)), (index, np.arange(len(index)))), shape=(n, len(index)))


def chunks(total: int, width: int) -> Iterator[int]:
    size = max(1, _CHUNK // width)
    for start in range(0, total, size):
        yield min(size, total - start)


def group_index(groups: ArrayLike | None, clips: int) -> tuple[NDArray[np.int64], int]:
    if groups is None:
        return np.arange(clips), clips
    codes, names = pd.factorize(np.asarray(groups))
    if len(codes) != clips:
        raise ValueError(f"{len(codes)} groups for {clips} clips; give one a clip")
    if (codes < 0).any():
        raise ValueError(f"row {int(np.argmin(codes))} of groups is missing; give every clip a group")
    return codes.astype(np.int64), len(names)


def numbers(name: str, values: ArrayLike) -> Array:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"{name} has shape {array.shape}; it must be (n,)")
    if len(array) == 0:
        raise ValueError(f"{name} is empty; at least one value is needed")
    if not np.isfinite(array).all():
        raise ValueError(f"row {int(np.argmin(np.isfinite(array)))} of {name} is not finite; every value must be")
    return array


def class_indices(name: str, values: ArrayLike) -> NDArray[np.int64]:
    array = numbers(name, values)
    if (array < 0).any() or (array != np.floor(array)).any():
        raise ValueError(f"{name} holds something other than whole numbers at least 0; give the index of each class")
    return array.astype(np.int64)


def require_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; it must be above 0 and below 1, such as 0.95")


def _require_resamples(n_resamples: int) -> None:
    if n_resamples < 100:
        raise ValueError(f"n_resamples is {n_resamples}; it must be at least 100")
