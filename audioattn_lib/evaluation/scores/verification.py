r"""Speaker verification: do two utterances come from one mouth?

A trial is a pair of utterances with a score, higher for more alike. A threshold
:math:`\tau` accepts the scores at or above it: the *miss rate* is the share of
pairs of one speaker that it refuses, the *false alarm rate* the share of pairs of
two speakers that it accepts. Every distinct score is one operating point, so equal
scores are decided alike and nothing is lost to a grid of thresholds.

Sources: Martin et al., *The DET curve in assessment of detection task
performance*, Eurospeech 1997; Poh and Bengio, *Estimating the confidence
interval of expected performance curve in biometric authentication using joint
bootstrap*, ICASSP 2007, for the bootstrap over users. Book page: ``accents``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ..statistics.intervals import Interval, draw_counts, numbers, require_level
from ..statistics.systems import Draws

__all__ = [
    "DetectionCurve",
    "Trials",
    "detection_curve",
    "draw_equal_error_rates",
    "equal_error_rate",
    "make_trials",
    "min_detection_cost",
    "score_trials",
    "verification_metrics",
]

Array = NDArray[np.float64]
_MOST_DIFFERENT = 20_000
_MOST_LISTED = 4_000_000
"""Most pairs that are listed; of more pairs, a random sample is drawn."""


@dataclass(frozen=True)
class DetectionCurve:
    """Error rates at every operating point, from accepting all trials to accepting none.

    Attributes
    ----------
    thresholds
        Lowest score that is accepted, rising; the last is infinite. Shape ``(points,)``.
    miss, false_alarm
        Miss rate, rising from 0 to 1, and false alarm rate, falling from 1 to 0.
    """

    thresholds: Array
    miss: Array
    false_alarm: Array

    def table(self) -> pd.DataFrame:
        """A row for each point: ``threshold``, ``miss``, ``false_alarm``."""
        return pd.DataFrame({"threshold": self.thresholds, "miss": self.miss, "false_alarm": self.false_alarm})


@dataclass(frozen=True)
class Trials:
    """Pairs of utterances.

    Attributes
    ----------
    first, second
        Rows of the two utterances, shape ``(trials,)``.
    is_same
        True where one speaker said both.
    speakers
        Speaker of every utterance that rows refer to; where speakers are unknown, what is resampled in their place.
    unit
        What ``speakers`` holds, for people: ``"speakers"``, or what stands in their place.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    is_same: NDArray[np.bool_]
    speakers: NDArray[np.str_]
    unit: str = "speakers"

    def __len__(self) -> int:
        return len(self.is_same)


def make_trials(speakers: Sequence[str] | NDArray[Any], *, most: int = _MOST_DIFFERENT, seed: int = 0) -> Trials:
    """All pairs of different utterances of one speaker, and pairs of two speakers: all, or ``most`` drawn by seed.

    Parameters
    ----------
    speakers
        Speaker of each utterance, shape ``(utterances,)``.
    most
        Most pairs of two speakers (and of one), at least 1.

    Raises
    ------
    ValueError
        When there is no pair of one speaker, or none of two.

    Notes
    -----
    Book page: ``accents``.
    """
    if most < 1:
        raise ValueError(f"most is {most}; it must be at least 1")
    names = np.asarray(speakers, dtype=np.str_)
    unique_names, codes, counts = np.unique(names, return_inverse=True, return_counts=True)
    if len(unique_names) < 2 or counts.max() < 2:
        lacking = "one speaker" if len(unique_names) > 1 else "two speakers"
        raise ValueError(
            f"{len(names)} utterances of {len(unique_names)} speakers have no pair of {lacking}; verification needs "
            "at least two speakers, one of them with two utterances"
        )
    generator = np.random.default_rng(seed)
    members = np.split(np.argsort(codes, kind="stable"), np.cumsum(counts)[:-1])
    same = np.concatenate([rows[np.stack(np.triu_indices(len(rows), k=1), axis=1)] for rows in members])
    if len(same) > most:
        same = same[np.sort(generator.choice(len(same), most, replace=False))]
    different = _different_pairs(codes, most, generator)
    pairs = np.concatenate([same, different]).astype(np.int64)
    return Trials(pairs[:, 0], pairs[:, 1], np.arange(len(pairs)) < len(same), names)


def _different_pairs(codes: NDArray[np.int64], most: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Pairs of utterances of two speakers: all, or ``most`` drawn; never all of them in memory for a large corpus."""
    n = len(codes)
    if n * (n - 1) // 2 <= _MOST_LISTED:
        pairs = np.stack(np.triu_indices(n, k=1), axis=1)
        pairs = pairs[codes[pairs[:, 0]] != codes[pairs[:, 1]]]
        return pairs[np.sort(generator.choice(len(pairs), most, replace=False))] if len(pairs) > most else pairs
    drawn = np.sort(generator.integers(0, n, (4 * most, 2)), axis=1)
    drawn = np.unique(drawn[codes[drawn[:, 0]] != codes[drawn[:, 1]]], axis=0)
    return drawn[np.sort(generator.choice(len(drawn), min(most, len(drawn)), replace=False))]


def score_trials(embeddings: ArrayLike, trials: Trials) -> Array:
    """Cosine of the two embeddings of every trial, from -1 to 1.

    Parameters
    ----------
    embeddings
        A row an utterance, shape ``(utterances, size)``.

    Notes
    -----
    Book page: ``accents``.
    """
    x = np.asarray(embeddings, dtype=np.float64)
    if x.ndim != 2 or len(x) != len(trials.speakers):
        raise ValueError(f"embeddings have shape {x.shape}; they must be ({len(trials.speakers)}, size)")
    if not np.isfinite(x).all():
        raise ValueError(f"row {int(np.argmin(np.isfinite(x).all(axis=1)))} of embeddings is not finite")
    x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    return np.clip(np.einsum("td,td->t", x[trials.first], x[trials.second]), -1.0, 1.0)


def detection_curve(scores: ArrayLike, is_same: ArrayLike) -> DetectionCurve:
    """Miss and false alarm rate at every distinct score.

    Parameters
    ----------
    scores
        Higher for more alike, finite, shape ``(trials,)``.
    is_same
        True for pairs of one speaker; both kinds must occur.

    Raises
    ------
    ValueError
        When an argument is empty, of another length, not finite, or one kind of trial is missing.

    Notes
    -----
    Book page: ``accents``.
    """
    ordered = _Ordered(scores, is_same)
    miss, false_alarm = ordered.rates(np.ones((1, len(ordered.is_same))))
    return DetectionCurve(ordered.thresholds, miss[0], false_alarm[0])


def equal_error_rate(scores: ArrayLike, is_same: ArrayLike) -> float:
    """The rate at which misses and false alarms are as frequent, from 0 to 1.

    Without equal scores the curve is a staircase, which crosses the diagonal in
    one point: no interpolation is needed. Trials with equal scores are one
    slanted step, as if a coin decided some of them.

    Parameters and errors as :func:`detection_curve`.

    Notes
    -----
    Book page: ``accents``.
    """
    curve = detection_curve(scores, is_same)
    return float(_crossing(curve.miss[None], curve.false_alarm[None])[0])


def min_detection_cost(
    scores: ArrayLike, is_same: ArrayLike, *, prior: float = 0.05, miss_cost: float = 1.0, false_alarm_cost: float = 1.0
) -> float:
    r"""Least normalised detection cost over all thresholds.

    .. math:: \min_\tau \frac{C_m\,\pi\,P_m(\tau) + C_f\,(1-\pi)\,P_f(\tau)}{\min(C_m \pi,\; C_f (1-\pi))}

    Parameters
    ----------
    scores, is_same
        As :func:`detection_curve`.
    prior
        Probability :math:`\pi` of a pair of one speaker, above 0 and below 1.
    miss_cost, false_alarm_cost
        :math:`C_m` and :math:`C_f`, above 0.

    Returns
    -------
    float
        From 0 to 1; 1 is what accepting all or none costs.

    Notes
    -----
    NIST speaker recognition evaluation plans. Book page: ``accents``.
    """
    if not 0 < prior < 1:
        raise ValueError(f"prior is {prior}; it must be above 0 and below 1")
    if miss_cost <= 0 or false_alarm_cost <= 0:
        raise ValueError(f"miss_cost is {miss_cost} and false_alarm_cost {false_alarm_cost}; both must be above 0")
    curve = detection_curve(scores, is_same)
    return float(_least_cost(curve.miss, curve.false_alarm, miss_cost * prior, false_alarm_cost * (1 - prior)))


def verification_metrics(
    scores: ArrayLike,
    trials: Trials,
    *,
    prior: float = 0.05,
    n_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """Scores of a verification task with intervals over speakers.

    A resample draws as many speakers as there are, with replacement. A trial counts
    as often as its speakers were drawn: the count of its speaker, or the product of
    the counts of both; copies of one speaker are never compared.

    Parameters
    ----------
    scores
        One a trial, as from :func:`score_trials`.
    trials
        What was scored.
    prior
        Of :func:`min_detection_cost`.
    n_resamples, level, seed
        As :func:`~audioattn_lib.evaluation.statistics.intervals.bootstrap_interval`.

    Returns
    -------
    dict
        ``trials``, ``same``, ``speakers`` (None where they are unknown); ``equal_error_rate`` and
        ``min_detection_cost``; ``threshold`` of equal errors; ``intervals`` of
        both scores. Chance is an equal error rate of 0.5 and a cost of 1.

    Notes
    -----
    Book page: ``accents``.
    """
    require_level(level)
    ordered = _Ordered(scores, trials.is_same)
    miss, false_alarm = ordered.rates(np.ones((1, len(trials))))
    costs = prior, 1 - prior
    estimates = _crossing(miss, false_alarm)[0], _least_cost(miss, false_alarm, *costs)[0]
    names, resampled = _resample(ordered, trials, n_resamples, seed)
    rates_drawn = []
    for weights in resampled:
        rates = ordered.rates(weights[ordered.has_both(weights)])
        rates_drawn.append((_crossing(*rates), _least_cost(*rates, *costs)))
    method = f"percentile bootstrap over {len(names)} {trials.unit}"
    intervals = {}
    for position, name in enumerate(("equal_error_rate", "min_detection_cost")):
        drawn = np.concatenate([batch[position] for batch in rates_drawn])
        low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2]) if len(drawn) else (np.nan, np.nan)
        intervals[name] = Interval(float(low), float(high), level, method, float(estimates[position])).to_dict()
    return {
        "trials": len(trials),
        "same": int(trials.is_same.sum()),
        "speakers": len(names) if trials.unit == "speakers" else None,
        "equal_error_rate": float(estimates[0]),
        "min_detection_cost": float(estimates[1]),
        "threshold": float(ordered.thresholds[int(np.argmin(np.abs(miss[0] - false_alarm[0])))]),
        "intervals": intervals,
    }


def draw_equal_error_rates(
    scores: Sequence[ArrayLike], trials: Sequence[Trials], *, n_resamples: int = 500, seed: int = 0
) -> Draws:
    """Equal error rate of each seed of a system, on all trials and on resamples of the speakers, to compare systems by.

    Parameters
    ----------
    scores
        Of each seed, one a trial.
    trials
        Of each seed; all of the same speakers.
    n_resamples, seed
        As for :func:`~audioattn_lib.evaluation.statistics.intervals.bootstrap_interval`.

    Raises
    ------
    ValueError
        When two seeds tested different speakers.

    Notes
    -----
    Book page: ``accents``.
    """
    rates, drawn, speaker_names = [], [], None
    for seed_scores, seed_trials in zip(scores, trials, strict=True):
        ordered = _Ordered(seed_scores, seed_trials.is_same)
        names, resampled = _resample(ordered, seed_trials, n_resamples, seed)
        if speaker_names is not None and not np.array_equal(speaker_names, names):
            raise ValueError(f"one seed tested {len(speaker_names)} speakers and another {len(names)}, or other ones")
        speaker_names = names
        whole = ordered.rates(np.ones((1, len(seed_trials))))
        rates.append(float(_crossing(*whole)[0]))
        error_rates = np.full(n_resamples, np.nan)
        start = 0
        for weights in resampled:
            usable = ordered.has_both(weights)
            rows = start + np.flatnonzero(usable)
            error_rates[rows] = _crossing(*ordered.rates(weights[usable]))
            start += len(weights)
        drawn.append(error_rates)
    return Draws(np.array(rates), np.stack(drawn), len(speaker_names) if speaker_names is not None else 0)


def _resample(
    ordered: _Ordered, trials: Trials, n_resamples: int, seed: int
) -> tuple[NDArray[np.str_], Iterator[Array]]:
    """Names of the speakers, and how often each trial counts in each resample of them, some rows at a time."""
    names, codes = np.unique(trials.speakers[np.stack([trials.first, trials.second])], return_inverse=True)
    first, second = codes.reshape(2, -1)[:, ordered.order]  # (trials,) each, in the order of the scores
    drawn = draw_counts(np.random.default_rng(seed), len(names), n_resamples, len(trials))
    return names, (
        np.where(ordered.is_same, counts[:, first], counts[:, first] * counts[:, second]) for counts in drawn
    )


class _Ordered:
    """Sort trials by score, and list the possible thresholds between them."""

    def __init__(self, scores: ArrayLike, is_same: ArrayLike) -> None:
        values, same = numbers("scores", scores), np.asarray(is_same, dtype=bool)
        if same.shape != values.shape:
            raise ValueError(f"is_same has shape {same.shape} and scores {values.shape}; give one a trial")
        if same.all() or not same.any():
            raise ValueError(
                f"all {len(same)} trials are of {'one speaker' if same.all() else 'two speakers'}; give both"
            )
        self.order = np.argsort(values, kind="stable")
        values = values[self.order]
        self.is_same = same[self.order]
        # Equal scores fall on one side of every threshold together: thresholds are the first of each group of equals,
        # and infinity, which refuses all. _ends is the last trial of each group.
        self._ends = np.append(np.flatnonzero(np.diff(values)), len(values) - 1)
        self.thresholds = np.append(values[np.insert(self._ends[:-1] + 1, 0, 0)], np.inf)

    def has_both(self, weights: Array) -> NDArray[np.bool_]:
        """Rows of weights in which trials of both kinds count."""
        return ((weights * self.is_same).sum(1) > 0) & ((weights * ~self.is_same).sum(1) > 0)

    def rates(self, weights: Array) -> tuple[Array, Array]:
        """Miss and false alarm rates at each threshold, for each row of weights of the trials."""
        # shares of each kind with a score below the threshold, (rows, thresholds), from 0 to 1
        refused = []
        for kind in (self.is_same, ~self.is_same):
            total = np.cumsum(weights * kind, axis=1)[:, self._ends]
            refused.append(np.insert(total / total[:, -1:], 0, 0.0, axis=1))
        return refused[0], 1.0 - refused[1]


def _crossing(miss: Array, false_alarm: Array) -> Array:
    """Compute the equal error rate of each row by linear interpolation between adjacent points."""
    gap = miss - false_alarm  # (rows, thresholds), rises from -1 to 1: so after > 0 and low + high > 0
    after = np.argmax(gap >= 0, axis=1)
    rows = np.arange(len(gap))
    low, high = -gap[rows, after - 1], gap[rows, after]
    share = low / (low + high)
    return miss[rows, after - 1] + share * (miss[rows, after] - miss[rows, after - 1])


def _least_cost(miss: Array, false_alarm: Array, miss_cost: float, false_alarm_cost: float) -> Array:
    return (miss_cost * miss + false_alarm_cost * false_alarm).min(axis=-1) / min(miss_cost, false_alarm_cost)
