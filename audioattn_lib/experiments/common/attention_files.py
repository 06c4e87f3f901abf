"""Attention of a run as the files ``attention.npz`` and ``attention.csv``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audioattn_lib.attention.record import export
from audioattn_lib.attention.record.record import AttentionRecord
from audioattn_lib.data.manifest import Manifest
from audioattn_lib.training.run_directory import RunDirectory

__all__ = ["keep_attention"]


def keep_attention(
    directory: RunDirectory,
    manifest: Manifest,
    rows: NDArray[np.int64],
    record: AttentionRecord,
    predictions: pd.DataFrame | None,
    folds: Sequence[object],
) -> AttentionRecord:
    """Write the record of some clips with their names, durations, labels, predictions and folds; the record.

    Parameters
    ----------
    directory
        Of the run.
    manifest
        The corpus.
    rows
        Row of each clip of the record, in its order.
    record
        What was attended to; of an empty one nothing is written.
    predictions
        ``label`` and ``predicted`` of the clips in the same order; without it the labels of the corpus and no
        prediction.
    folds
        Test fold or test set of each clip.
    """
    if record.is_empty:
        return record
    named = record.named((manifest.ids[i] for i in rows), manifest.durations[rows])
    labels = manifest.table["label"].iloc[rows] if predictions is None else predictions["label"]
    predicted = None if predictions is None else list(predictions["predicted"])
    export.save_npz(named, directory.path / "attention.npz")
    export.save_csv(
        named, directory.path / "attention.csv", labels=list(labels), predicted=predicted, folds=[*map(str, folds)]
    )
    return named
