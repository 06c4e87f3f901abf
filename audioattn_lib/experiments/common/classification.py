"""Losses, predictions and scores that experiments with class labels share.

A clip has one class, and targets are class numbers ``(B,)``, or any number of
classes, and targets are rows of 0 and 1 ``(B, C)``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from audioattn_lib.attention.record.record import AttentionRecord
from audioattn_lib.data.loading.batches import Batches
from audioattn_lib.data.manifest import Manifest
from audioattn_lib.evaluation.attention import faithfulness
from audioattn_lib.evaluation.scores import metrics, ranking
from audioattn_lib.evaluation.statistics import comparisons as statistics
from audioattn_lib.evaluation.statistics.intervals import Interval
from audioattn_lib.models.layers.label_loss import label_loss, label_probabilities

from .corpus import PreparedCorpus

__all__ = [
    "classification_loss",
    "evaluate_attention",
    "label_events",
    "predict",
    "predictions_table",
    "score_predictions",
    "validate",
]


_FRACTIONS = (0.0, 0.05, 0.1, 0.2, 0.35, 0.6, 1.0)
"""Shares of frames deleted and inserted: closest where curves are steepest."""


_TOP = 5
"""Guesses of the second accuracy, where there are more classes than that."""


def classification_loss(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cross entropy (binary for several classes a clip) and the number of clips that are entirely right."""
    is_right = logits.argmax(dim=1) == targets if targets.ndim == 1 else ((logits > 0) == (targets > 0.5)).all(dim=1)
    return label_loss(logits, targets), is_right.sum()


def validate(network: nn.Module, batches: Batches) -> dict[str, float]:
    """Mean loss, the shares of clips that are entirely right and that are not, and macro F1 with one class a clip."""
    loss, correct, clips = 0.0, 0.0, 0
    pairs = []
    for batch in batches.epoch(0):
        logits = network(batch.features, batch.lengths)[0]
        value, right = classification_loss(logits, batch.targets)
        loss, correct, clips = loss + float(value) * len(batch), correct + float(right), clips + len(batch)
        if batch.targets.ndim == 1:
            pairs.append(torch.stack([batch.targets, logits.argmax(dim=1)]).cpu())
    scores = {"loss": loss / clips, "accuracy": correct / clips, "error": 1.0 - correct / clips}
    return scores | ({"macro_f1": metrics.macro_f1(*torch.cat(pairs, dim=1).numpy())} if pairs else {})


@torch.no_grad()
def predict(network: nn.Module, batches: Batches) -> tuple[Tensor, AttentionRecord]:
    """Logits ``(N, C)`` on the CPU and what was attended to, clip after clip in the order of the batches."""
    network.eval()
    logits, records = [], []
    for batch in batches.epoch(0):
        output, record = network(batch.features, batch.lengths, record=True)
        logits.append(output.float().cpu())
        records.append(record)
    return torch.cat(logits), AttentionRecord.concatenate(records)


def predictions_table(prepared: PreparedCorpus, rows: NDArray[np.int64], logits: Tensor) -> pd.DataFrame:
    """``predictions.csv``: a row a clip with label, prediction, loss and the probability of every class.

    Several classes a clip are joined by ``;``; the predicted ones have probability above one half.
    """
    classes, targets = prepared.classes, prepared.targets[rows]
    probabilities = label_probabilities(logits, targets.ndim == 2)
    if targets.ndim == 1:
        labels, predicted = ([classes[int(i)] for i in answers] for answers in (targets, logits.argmax(dim=1)))
    else:
        labels, predicted = (
            [";".join(name for name, on in zip(classes, row, strict=True) if on) for row in answers]
            for answers in (targets > 0.5, probabilities > 0.5)
        )
    columns: dict[str, Any] = {
        "clip": [prepared.manifest.ids[i] for i in rows],
        "split": "test",
        "label": labels,
        "predicted": predicted,
        "loss": label_loss(logits, targets, reduction="none").numpy(),
    }
    columns |= {f"probability_{name}": probabilities[:, c].numpy() for c, name in enumerate(classes)}
    return pd.DataFrame(columns)


def score_predictions(
    classes: Sequence[str], logits: Tensor, targets: Tensor, groups: NDArray[np.str_]
) -> dict[str, Any]:
    """Scores of the predictions, and ``interval``, over groups of clips, ``of`` the first of them.

    That is accuracy with one class a clip, and mean average precision with several.
    With more than five classes, one a clip, ``top_5_accuracy`` too.
    """
    truth, probabilities = targets.numpy(), label_probabilities(logits, targets.ndim == 2).numpy()
    if targets.ndim == 1:
        scores = metrics.classification_metrics(truth, probabilities, classes)
        if len(classes) > _TOP:
            scores["top_5_accuracy"] = metrics.top_k_accuracy(truth, probabilities, _TOP)
        correct = logits.argmax(dim=1).numpy() == truth
        score = "accuracy"
        interval = statistics.bootstrap_interval(correct.astype(np.float64), groups=groups)
    else:
        scores = metrics.multilabel_metrics(truth, probabilities, classes)
        right = ((logits > 0).numpy() == (truth > 0.5)).all(axis=1)
        scores["all_labels_right"] = float(right.mean())
        score = "mean_average_precision"
        interval = Interval(np.nan, np.nan, 0.95, "no clip has a label", np.nan)
        if truth.any():
            interval = ranking.mean_average_precision_interval(truth, probabilities, groups=groups)
    return {
        **scores,
        "interval": {"of": score, "low": interval.low, "high": interval.high, "level": interval.level},
        "n_clips": len(truth),
        "n_groups": len(np.unique(groups)),
    }


def label_events(manifest: Manifest, rows: NDArray[np.int64]) -> list[list[tuple[float, float]]]:
    """Onset and offset in seconds of the events of each clip that its label is about; empty where none is known."""
    spans = []
    for row in rows:
        labels = str(manifest.table["label"].iloc[row]).split(";")
        spans.append([(e.onset, e.offset) for e in manifest.events(int(row)) if e.label in labels])
    return spans


def evaluate_attention(
    network: Callable[..., Any],
    batches: Batches,
    record: AttentionRecord,
    events: Sequence[Sequence[tuple[float, float]]],
    groups: NDArray[np.str_],
    seed: int = 0,
) -> tuple[dict[str, dict[str, float]], dict[str, faithfulness.PerturbationCurve]]:
    """Compute localisation and faithfulness metrics of the attention of a trained network.

    Returns the table of :func:`~audioattn_lib.evaluation.attention.faithfulness.evaluate`, a dictionary a measure, and
    the deletion and insertion curves. ``batches`` give the clips of ``record`` in its order.
    """

    def probabilities(features: Tensor, lengths: Tensor) -> Tensor:
        return label_probabilities(network(features, lengths)[0].float(), is_multilabel)

    curves: dict[str, list[faithfulness.PerturbationCurve]] = {"deletion": [], "insertion": []}
    start = 0
    for number, batch in enumerate(batches.epoch(0)):
        is_multilabel = batch.targets.ndim == 2
        batch_record = record[start : start + len(batch)]
        start += len(batch)
        for name, measure in (("deletion", faithfulness.deletion_curve), ("insertion", faithfulness.insertion_curve)):
            curve = measure(
                probabilities, batch.features, batch.lengths, batch_record, fractions=_FRACTIONS, seed=(seed, number)
            )
            curves[name].append(curve)
    joined = {name: faithfulness.PerturbationCurve.concatenate(parts) for name, parts in curves.items()}
    table = faithfulness.evaluate(record, events, curves=list(joined.values()), groups=groups, seed=seed)
    return table.to_dict(orient="index"), joined  # type: ignore[return-value]
