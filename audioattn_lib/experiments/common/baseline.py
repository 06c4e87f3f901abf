"""The linear baseline of every chapter: logistic regression on the mean and the deviation of each band of a clip."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audioattn_lib.data.loading.batches import Batches
from audioattn_lib.data.splits import Split
from audioattn_lib.evaluation.baseline import linear_baseline, summary_features
from audioattn_lib.models.layers.label_loss import label_logits

__all__ = ["fit_linear_baseline", "summarise_clips", "summarise_split"]

Summary = NDArray[np.floating[Any]]
Summaries = tuple[Summary, Summary, Summary]


def summarise_clips(batches: Batches) -> Summary:
    """Mean and deviation over time of each band, shape ``(clips, 2 * bands)``, in the order of the batches."""
    parts = [summary_features(batch.features, batch.lengths).cpu().numpy() for batch in batches.epoch(0)]
    return np.concatenate(parts)


def summarise_split(split: Split, loader: Callable[[NDArray[np.int64]], Batches]) -> Summaries:
    """:func:`summarise_clips` of the clips that train, choose and test; ``loader`` gives the batches of some rows."""
    train, valid, test = (summarise_clips(loader(rows)) for rows in (split.train, split.valid, split.test))
    return train, valid, test


def fit_linear_baseline(inputs: Summaries, train: Tensor, valid: Tensor, n_classes: int) -> Tensor:
    """Logits of the test clips by a logistic regression whose strength is chosen on the validation clips.

    Parameters
    ----------
    inputs
        Of :func:`summarise_split`.
    train, valid
        Targets: class numbers ``(B,)``, or 0 and 1 ``(B, n_classes)`` for labels.
    n_classes
        Classes in all.
    """
    fitted = linear_baseline(inputs[0], train.numpy(), inputs[1], valid.numpy(), inputs[2], n_classes=n_classes)
    return label_logits(torch.as_tensor(fitted.probabilities), train.ndim == 2).float()
