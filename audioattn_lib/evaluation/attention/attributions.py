"""Comparison of attributions: attention of several layers and reductions beside those of other methods, in one table.

Book page: ``your_sounds``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ...attention.record.record import AttentionRecord
from ..statistics.comparisons import bootstrap_interval
from ..statistics.correlations import of_ranks
from .faithfulness import evaluate
from .localisation import ALL_MEASURES, Events
from .perturbation import FRACTIONS, Predict, deletion_curve, insertion_curve

__all__ = ["ALIKE", "compare_attributions", "judge_attributions"]

Array = NDArray[np.float64]

ALIKE = 0.5
"""Spearman's correlation with the attribution of random weights, from which on two attributions are called alike."""
_CERTAIN = 0.05
_OF_EVENTS = ("pointing_game", "mass_inside_events", "rank_accuracy")
_OF_USE = ("deletion_area", "insertion_area")


def compare_attributions(
    predict: Predict,
    features: Tensor,
    attributions: Mapping[str, AttentionRecord],
    *,
    lengths: Tensor | None = None,
    events: Events | None = None,
    randomised: Mapping[str, AttentionRecord] | None = None,
    targets: Tensor | None = None,
    axes: str = "time",
    grid: tuple[int, int] | None = None,
    groups: ArrayLike | None = None,
    tolerance: float = 0.0,
    n_draws: int = 1000,
    n_resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
    batch_size: int = 64,
    fractions: Sequence[float] = FRACTIONS,
) -> pd.DataFrame:
    """Faithfulness, localisation and dependence on the weights of several attributions of the same clips.

    Parameters
    ----------
    predict, features, targets, axes, grid, batch_size, fractions
        As in :func:`~audioattn_lib.evaluation.attention.perturbation.deletion_curve`. Samples are features of shape
        ``(clips, samples, 1)``.
    attributions
        By name, each with the clips of ``features``. Those without maps cannot be compared over frequency or cells.
    lengths
        Frames of each clip; all by default.
    events
        As in :func:`~audioattn_lib.evaluation.attention.faithfulness.evaluate`, where they are known.
    randomised
        The same attributions of a model with random weights, by the same names. An attribution that stays the same
        cannot say what was learned.
    groups, tolerance, n_draws, n_resamples, level, seed
        As in :func:`~audioattn_lib.evaluation.attention.faithfulness.evaluate`.

    Returns
    -------
    DataFrame
        The rows of :func:`~audioattn_lib.evaluation.attention.faithfulness.evaluate` below the name of each
        attribution, those of events only where they are known. The row ``randomised_weights`` is Spearman's
        correlation of an attribution with that of random weights, from -1 to 1, nearer to 0 is better.

    Raises
    ------
    ValueError
        When there is no attribution, or one does not fit the clips; the message names it.

    Notes
    -----
    Sources: Petsiuk et al., *RISE*, BMVC 2018 (deletion and insertion); Zhang et al., ECCV 2016 (pointing game);
    Arras et al., *CLEVR-XAI*, Information Fusion 2022 (accuracy of ranks and of mass, the latter is
    ``mass_inside_events``);
    Adebayo et al., *Sanity checks for saliency maps*, NeurIPS 2018 (random weights). A deleted part is a sound that
    the model was never trained on, so a curve also measures how the model takes that. Book page: ``your_sounds``.
    """
    if not attributions:
        raise ValueError("attributions is empty; give at least one record by name")
    if lengths is None:
        lengths = torch.full((len(features),), features.shape[1], device=features.device)
    if targets is None:
        with torch.no_grad():
            batches = zip(features.split(batch_size), lengths.split(batch_size), strict=True)
            targets = torch.cat([predict(batch, own).argmax(1) for batch, own in batches])
    options: dict[str, Any] = {
        "targets": targets, "axes": axes, "grid": grid, "seed": seed, "batch_size": batch_size,
        "fractions": fractions,
    }  # fmt: skip
    tables = {}
    for name, record in attributions.items():
        try:
            curves = [make(predict, features, lengths, record, **options) for make in (deletion_curve, insertion_curve)]
            table = evaluate(
                record,
                [[]] * len(record) if events is None else events,
                curves=curves,
                groups=groups,
                tolerance=tolerance,
                n_draws=n_draws if events is not None else 1,
                n_resamples=n_resamples,
                level=level,
                seed=seed,
                measures=ALL_MEASURES,
            )
            table = table if events is not None else table.iloc[-len(curves) :]
            if randomised is not None and name in randomised:
                alike = _likeness(record, randomised[name])
                interval = bootstrap_interval(alike, groups=groups, n_resamples=n_resamples, level=level, seed=seed)
                row = {"value": interval.estimate, "low": interval.low, "high": interval.high, "clips": len(record)}
                table.loc["randomised_weights", list(row)] = list(row.values())
                table.loc["randomised_weights", "left_out"] = 0
        except ValueError as error:
            raise ValueError(f"attribution {name!r}: {error}") from error
        tables[name] = table
    return pd.concat(tables, names=["attribution", "measure"])


def judge_attributions(table: pd.DataFrame) -> pd.DataFrame:
    """Verdict on each attribution in words, from the numbers of :func:`compare_attributions` alone.

    Parameters
    ----------
    table
        As :func:`compare_attributions` gives it.

    Returns
    -------
    DataFrame
        A row an attribution. ``finds the event``: ``yes`` where all of pointing game, mass and rank accuracy are better
        than uniform attention (``gain_low`` above 0) and differ from the same attention at random places (``random_p``
        below 0.05), ``in part`` where some are, ``no`` where none is and one is surely worse (``gain_high`` below
        0), and ``not shown`` otherwise. ``the network used it``: the same for deletion and insertion.
        ``depends on the weights``: ``yes`` where the correlation with random weights lies below :data:`ALIKE` with its
        interval, ``no`` where it lies above, ``not shown`` between. ``not known`` where a measure is missing.

    Notes
    -----
    With many attributions some ``yes`` is chance: the words are not corrected for their number. Book page:
    ``urban_sound_results``.
    """
    verdicts = {}
    for name, rows in table.groupby(level=0, sort=False):
        own = rows.droplevel(0)
        verdicts[name] = {
            "finds the event": _judge(own, _OF_EVENTS),
            "the network used it": _judge(own, _OF_USE),
            "depends on the weights": _judge_weights(own),
        }
    return pd.DataFrame.from_dict(verdicts, orient="index").rename_axis("attribution")


def _judge(rows: pd.DataFrame, measures: Sequence[str]) -> str:
    own = rows.loc[[name for name in measures if name in rows.index]].dropna(subset=["gain_low"])
    if own.empty:
        return "not known"
    better = (own["gain_low"] > 0) & (own["random_p"] < _CERTAIN)
    if better.all():
        return "yes"
    if better.any():
        return "in part"
    return "no" if (own["gain_high"] < 0).any() else "not shown"


def _judge_weights(rows: pd.DataFrame) -> str:
    if "randomised_weights" not in rows.index:
        return "not known"
    low, high = rows.loc["randomised_weights", ["low", "high"]].astype(float)
    return "yes" if high < ALIKE else "no" if low > ALIKE else "not shown"


def _likeness(record: AttentionRecord, other: AttentionRecord) -> Array:
    """Spearman's correlation of two attributions of each clip, over cells or frames; 0 for a constant one."""
    if len(record) != len(other):
        raise ValueError(f"{len(record)} clips, and {len(other)} with random weights")
    likeness = []
    for clip in range(len(record)):
        mine, theirs = _values(record, clip), _values(other, clip)
        likeness.append(of_ranks(mine, theirs, np.ones((1, len(mine))))[0])
    return np.array(likeness)


def _values(record: AttentionRecord, clip: int) -> Array:
    if record.maps is None:
        return record.frame_attention(clip).astype(np.float64)
    count: Sequence[int] = record.n_frames  # type: ignore[assignment]
    return record.maps[clip, ..., : count[clip]].astype(np.float64).mean(axis=(0, 1)).ravel()
