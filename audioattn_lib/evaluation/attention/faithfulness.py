r"""Evaluation of attention: localisation of known events, and faithfulness to the model.

Two kinds of measures, both read from an :class:`AttentionRecord` alone.

*Where it looks*, when the times of the events that the label is about are
known: the pointing game, the attention mass inside events, and the overlap of
support and events. Attention that looks everywhere equally scores the share of
the clip that is event in all three, exactly.

*What the model uses*: frames are taken away (deletion) or given back
(insertion) in the order of attention while the probability of a class is
watched.

Every score stands beside the same score of uniform attention and of random
attention: the clip's own attention shifted in time around the clip, so its
shape is kept and only its place is lost. Sounds are seldom spread evenly over
clips, and attention that always looks at the middle may well beat both; so
where it looks is also compared with swapped attention, that of another clip.

Book page: ``urban_sound``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ...attention.record.record import AttentionRecord
from ..statistics.comparisons import Interval, bootstrap_interval, paired_comparison
from .localisation import (
    ALL_MEASURES,
    MEASURES,
    Events,
    event_share,
    mass_inside_events,
    pointing_game,
    random_attention,
    rank_accuracy,
    support_iou,
    swapped_attention,
)
from .perturbation import PerturbationCurve, deletion_curve, insertion_curve

__all__ = [
    "ALL_MEASURES",
    "MEASURES",
    "Events",
    "PerturbationCurve",
    "deletion_curve",
    "evaluate",
    "event_share",
    "insertion_curve",
    "mass_inside_events",
    "pointing_game",
    "random_attention",
    "rank_accuracy",
    "support_iou",
    "swapped_attention",
]

Array = NDArray[np.floating[Any]]


def evaluate(
    record: AttentionRecord,
    events: Events,
    *,
    curves: Sequence[PerturbationCurve] = (),
    groups: ArrayLike | None = None,
    tolerance: float = 0.0,
    n_draws: int = 1000,
    n_resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
    measures: Sequence[str] = MEASURES,
) -> pd.DataFrame:
    """All measures in one table, against uniform and random attention.

    Parameters
    ----------
    record, events, tolerance
        As in :func:`pointing_game`. Clips without events are left out of the
        rows of ``measures``, and counted.
    curves
        Deletion and insertion curves of the same clips, if there are any.
    groups
        Recording or source of each clip: intervals resample groups, not clips
        (draws of random and of swapped attention take clips as independent).
    n_draws
        Of random and of swapped attention.
    n_resamples, level, seed
        Of the bootstrap, as in :func:`~audioattn_lib.evaluation.statistics.comparisons.bootstrap_interval`.
    measures
        Of :data:`ALL_MEASURES`, in the order of their rows.

    Raises
    ------
    ValueError
        When the record is empty, a measure is not known, or events, curves or groups are not those of its clips.

    Returns
    -------
    DataFrame
        A row for each measure: ``value``, ``low``, ``high``: mean over clips
        and its interval; ``uniform``: the mean of uniform attention; ``gain``,
        ``gain_low``, ``gain_high``: mean of the paired difference to it, better
        above 0 in every row; ``random``, ``random_low``, ``random_high``,
        ``random_p``: the mean of random attention, the interval in which a
        share ``level`` of the draws lie, and the two-sided p-value, how often a
        draw lies as far from their mean as the value does; ``swapped`` and its
        three likewise; ``clips`` and ``left_out``. For a curve the random
        interval is that of the bootstrap, its p-value that of a paired
        comparison, and nothing is swapped (NaN). No clip with events: NaN.
    """
    unknown = [name for name in measures if name not in ALL_MEASURES]
    if unknown:
        raise ValueError(f"measures has {', '.join(map(repr, unknown))}; allowed are {', '.join(ALL_MEASURES)}")
    share = event_share(record, events)
    has_events = ~np.isnan(share)
    group_of = None if groups is None else np.asarray(groups)
    if group_of is not None and len(group_of) != len(record):
        raise ValueError(f"{len(group_of)} groups for {len(record)} clips; give one a clip")
    scores_of = {
        # uniform attention points at the share of the events as they are widened
        "pointing_game": (
            pointing_game(record, events, tolerance=tolerance),
            event_share(record, events, tolerance=tolerance),
        ),
        "mass_inside_events": (mass_inside_events(record, events), share),
        "support_iou": (support_iou(record, events), share),
        "rank_accuracy": (rank_accuracy(record, events), share),
    }
    options: dict[str, Any] = {"n_draws": n_draws, "seed": seed, "tolerance": tolerance}
    draws = {
        "random": random_attention(record, events, **options),
        "swapped": swapped_attention(record, events, **options),
    }

    def interval(values: Array, groups: ArrayLike | None) -> Interval:
        return bootstrap_interval(values, groups=groups, n_resamples=n_resamples, level=level, seed=seed)

    rows: dict[str, dict[str, float]] = {}
    for name in measures:
        value, uniform = scores_of[name]
        rows[name] = {"clips": int(has_events.sum()), "left_out": int((~has_events).sum())}
        if not has_events.any():
            continue
        within = partial(interval, groups=None if group_of is None else group_of[has_events])
        rows[name] |= _against_uniform(value[has_events], uniform[has_events], 1, within)
        for control, scores in draws.items():
            rows[name] |= _against_draws(
                value[has_events].mean(), scores[name][has_events].mean(axis=0), control, level
            )
    for curve in curves:
        areas = {order: curve.area(order) for order in ("attention", "uniform", "random")}
        if len(areas["attention"]) != len(record):
            raise ValueError(f"the {curve.kind} curve has {len(areas['attention'])} clips, the record {len(record)}")
        within = partial(interval, groups=group_of)
        by_chance = within(areas["random"])
        test = paired_comparison(
            areas["attention"], areas["random"], groups=group_of, n_resamples=n_resamples, level=level, seed=seed
        )
        rows[f"{curve.kind}_area"] = {
            "clips": len(record),
            "left_out": 0,
            **_against_uniform(areas["attention"], areas["uniform"], -1 if curve.kind == "deletion" else 1, within),
            "random": by_chance.estimate,
            "random_low": by_chance.low,
            "random_high": by_chance.high,
            "random_p": test.p_value,
        }
    columns = ["value", "low", "high", "uniform", "gain", "gain_low", "gain_high"]
    columns += [control + suffix for control in draws for suffix in ("", "_low", "_high", "_p")]
    columns += ["clips", "left_out"]
    return pd.DataFrame.from_dict(rows, orient="index").reindex(columns=columns).rename_axis("measure")


def _against_uniform(
    value: Array, uniform: Array, sign: int, interval: Callable[[Array], Interval]
) -> dict[str, float]:
    """Mean with its interval, and the paired gain over ``uniform``, better above 0."""
    mean, gain = interval(value), interval(sign * (value - uniform))
    return {
        "value": mean.estimate,
        "low": mean.low,
        "high": mean.high,
        "uniform": float(uniform.mean()),
        "gain": gain.estimate,
        "gain_low": gain.low,
        "gain_high": gain.high,
    }


def _against_draws(value: float, draws: Array, control: str, level: float) -> dict[str, float]:
    """Mean over clips in each draw of a control: their mean, interval and two-sided p-value of ``value``."""
    centre = draws.mean()
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    extreme = np.sum(np.abs(draws - centre) >= abs(value - centre) - 1e-12)
    p = (extreme + 1) / (len(draws) + 1) if np.isfinite(centre) else np.nan
    return {control: centre, f"{control}_low": low, f"{control}_high": high, f"{control}_p": p}
