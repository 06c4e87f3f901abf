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

from ..attention.record.record import AttentionRecord
from .comparisons import bootstrap_interval
from .correlations import of_ranks
from .faithfulness import evaluate
from .localisation import Events
from .perturbation import Predict, deletion_curve, insertion_curve

__all__ = ["compare_attributions"]

Array = NDArray[np.float64]


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
) -> pd.DataFrame:
    """Faithfulness, localisation and dependence on the weights of several attributions of the same clips.

    Parameters
    ----------
    predict, features, targets, axes, grid, batch_size
        As in :func:`~audioattn_lib.evaluation.perturbation.deletion_curve`. Samples are features of shape
        ``(clips, samples, 1)``.
    attributions
        By name, each with the clips of ``features``. Those without maps cannot be compared over frequency or cells.
    lengths
        Frames of each clip; all by default.
    events
        As in :func:`~audioattn_lib.evaluation.faithfulness.evaluate`, where they are known.
    randomised
        The same attributions of a model with random weights, by the same names. An attribution that stays the same
        cannot say what was learnt.
    groups, tolerance, n_draws, n_resamples, level, seed
        As in :func:`~audioattn_lib.evaluation.faithfulness.evaluate`.

    Returns
    -------
    DataFrame
        The rows of :func:`~audioattn_lib.evaluation.faithfulness.evaluate` below the name of each attribution, those of
        events only where they are known. The row ``randomised_weights`` is Spearman's correlation of an attribution
        with that of random weights, from -1 to 1, nearer to 0 is better.

    Raises
    ------
    ValueError
        When there is no attribution, or one does not fit the clips; the message names it.

    Notes
    -----
    Sources: Petsiuk et al., *RISE*, BMVC 2018 (deletion and insertion); Zhang et al., ECCV 2016 (pointing game);
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
        "targets": targets, "axes": axes, "grid": grid, "seed": seed, "batch_size": batch_size
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
