"""Files that a run leaves behind: predictions and scores, attention, and its evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from audioattn_lib.attention.record import export
from audioattn_lib.attention.record.record import AttentionRecord
from audioattn_lib.data.loading.batches import Batches

from .classification import evaluate_attention, predictions_table, score_predictions
from .runs import RunContext

__all__ = ["write_attention", "write_attention_evaluation", "write_classification", "write_results"]

Context = RunContext[Any, Any]


def write_results(context: Context, predictions: pd.DataFrame, scores: Mapping[str, Any]) -> None:
    """Write ``predictions.csv``, then ``metrics.json``: the scores last, for they say that the run is done."""
    context.directory.write_table("predictions.csv", predictions)
    context.directory.write_json("metrics.json", scores)


def write_classification(
    context: Context, rows: NDArray[np.int64], logits: Tensor, more: Mapping[str, Any] | None = None
) -> None:
    """Write the predictions of some clips with classes or labels, their scores and ``more`` of these.

    Parameters
    ----------
    context
        The run.
    rows
        Row of each clip in the corpus.
    logits
        Shape ``(clips, classes)``, on the CPU.
    more
        Further entries of ``metrics.json``.
    """
    prepared = context.prepared
    scores = score_predictions(prepared.classes, logits, prepared.targets[rows], prepared.groups[rows])
    write_results(context, predictions_table(prepared, rows, logits), {**scores, **(more or {})})


def write_attention(
    context: Context,
    rows: NDArray[np.int64],
    record: AttentionRecord,
    *,
    predictions: pd.DataFrame | None = None,
    folds: str | Sequence[str] = "test",
) -> AttentionRecord:
    """Write ``attention.npz`` and ``attention.csv``: names, durations, labels, predictions and folds; the record.

    Parameters
    ----------
    context
        The run.
    rows
        Row of each clip of the record, in its order.
    record
        Attention; of an empty one nothing is written.
    predictions
        ``label`` and ``predicted`` of the clips in the same order; without it the labels of the corpus and no
        prediction.
    folds
        Test fold or test set of each clip, or of all.
    """
    if record.is_empty:
        return record
    manifest, path = context.prepared.manifest, context.directory.path
    named = record.named((manifest.ids[i] for i in rows), manifest.durations[rows])
    labels = manifest.table["label"].iloc[rows] if predictions is None else predictions["label"]
    predicted = None if predictions is None else list(predictions["predicted"])
    folds = [folds] * len(rows) if isinstance(folds, str) else [*map(str, folds)]
    export.save_npz(named, path / "attention.npz")
    export.save_csv(named, path / "attention.csv", labels=list(labels), predicted=predicted, folds=folds)
    return named


def write_attention_evaluation(
    context: Context,
    rows: NDArray[np.int64],
    network: Callable[..., Any],
    batches: Batches,
    record: AttentionRecord,
    events: Sequence[Sequence[tuple[float, float]]],
) -> dict[str, dict[str, float]]:
    """Write ``curves.npz`` of the clips in ``rows``, and give the table of
    :func:`~audioattn_lib.experiments.common.classification.evaluate_attention`.
    """
    groups = context.prepared.groups[rows]
    measured, curves = evaluate_attention(network, batches, record, events, groups, context.config.seed)
    context.directory.write_curves(curves)
    return measured
