"""Several questions about a clip at once, such as its verb and its noun: their classes, targets, losses and scores.

Targets are 0 and 1 for the classes of all tasks side by side, a single 1 in each task, so that batches are mixed and
kept as those of several labels; how logits are read is what differs.

Book page: ``playback_published``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from audioattn_lib.core.errors import ConfigError
from audioattn_lib.data.manifest import Manifest
from audioattn_lib.evaluation.scores import metrics
from audioattn_lib.evaluation.statistics import comparisons as statistics
from audioattn_lib.models.layers.label_loss import label_loss
from audioattn_lib.models.playback.outputs import Tasks

from ..common.baseline import Summaries, fit_linear_baseline
from ..common.classification import classification_loss
from ..common.corpus import PreparedCorpus

__all__ = [
    "answer_loss",
    "count_right",
    "fit_task_baselines",
    "join_log_probabilities",
    "read_tasks",
    "task_classes",
    "task_predictions",
    "task_scores",
]

_TOGETHER: dict[tuple[str, ...], str] = {("verb", "noun"): "action"}
"""Common name of the outputs for several tasks."""


def read_tasks(manifest: Manifest, names: str) -> tuple[Tasks, tuple[str, ...], Tensor]:
    """Tasks whose classes are in columns of a corpus, ``task:class`` for each output, and targets ``(n, classes)``.

    Parameters
    ----------
    manifest
        The corpus.
    names
        Columns joined by commas, at least two.

    Raises
    ------
    ConfigError
        When the corpus lacks a column, or a clip has no class in one; the message names it.
    """
    columns = tuple(name.strip() for name in names.split(",") if name.strip())
    missing = [name for name in columns if name not in manifest.table]
    if len(columns) < 2 or missing:
        raise ConfigError(
            f"tasks is {names!r}; it must be at least two columns of {manifest.name}: {', '.join(manifest.table)}"
        )
    classes: list[str] = []
    targets, sizes = [], []
    for name in columns:
        values = manifest.table[name].to_numpy(dtype=str)
        if (empty := np.flatnonzero(values == "")).size:
            raise ConfigError(f"tasks is {names!r}, and {manifest.ids[int(empty[0])]} has no {name}; fill the column")
        labels, numbers = np.unique(values, return_inverse=True)
        classes += [f"{name}:{value}" for value in labels]
        sizes.append(len(labels))
        targets.append(F.one_hot(torch.as_tensor(numbers), len(labels)))
    return Tasks(columns, tuple(sizes)), tuple(classes), torch.cat(targets, dim=1)


def task_classes(tasks: Tasks, targets: Tensor) -> NDArray[np.int64]:
    """Class of each clip in each task, ``(n, tasks)``, of targets of 0 and 1."""
    return torch.stack([values.argmax(dim=1) for values in tasks.split(targets)], dim=1).cpu().numpy()


def answer_loss(logits: Tensor, targets: Tensor, tasks: Tasks | None, *, is_multilabel: bool | None = None) -> Tensor:
    """Mean cross entropy of answers, of shares of classes, of labels, and over tasks where there are several."""
    if tasks is None:
        return label_loss(logits, targets, is_multilabel=is_multilabel)
    pairs = zip(tasks.split(logits.float()), tasks.split(targets.to(logits.dtype)), strict=True)
    return torch.stack([label_loss(x, y.to(x.dtype), is_multilabel=False) for x, y in pairs]).mean()


def count_right(logits: Tensor, targets: Tensor, tasks: Tasks | None) -> Tensor:
    """Number of clips that are entirely right."""
    if tasks is None:
        return classification_loss(logits, targets)[1]
    pairs = zip(tasks.split(logits), tasks.split(targets), strict=True)
    return torch.stack([values.argmax(dim=1) == expected.argmax(dim=1) for values, expected in pairs]).all(dim=0).sum()


def join_log_probabilities(tasks: Tasks, logits: Tensor) -> Tensor:
    """Logits whose exponentials are the probabilities of the classes within their task."""
    return torch.cat([values.log_softmax(dim=-1) for values in tasks.split(logits.float())], dim=-1)


def task_predictions(prepared: PreparedCorpus, rows: NDArray[np.int64], logits: Tensor, tasks: Tasks) -> pd.DataFrame:
    """``predictions.csv``: a row a clip; label and prediction of all tasks together and of each, and probabilities."""
    targets = prepared.targets[rows]
    truth, guess = task_classes(tasks, targets), task_classes(tasks, logits)
    names = [[name.partition(":")[2] for name in values] for values in _split(prepared.classes, tasks)]
    label, predicted = (
        [[names[task][number] for task, number in enumerate(row)] for row in numbers] for numbers in (truth, guess)
    )
    joined = join_log_probabilities(tasks, logits)
    columns: dict[str, Any] = {
        "clip": [prepared.manifest.ids[i] for i in rows],
        "split": "test",
        "label": [" ".join(row) for row in label],
        "predicted": [" ".join(row) for row in predicted],
        "loss": (-(joined * targets).sum(dim=1) / len(tasks.names)).numpy(),
    }
    for task, name in enumerate(tasks.names):
        columns[f"label_{name}"] = [row[task] for row in label]
        columns[f"predicted_{name}"] = [row[task] for row in predicted]
    probabilities = joined.exp().numpy()
    columns |= {f"probability_{name}": probabilities[:, c] for c, name in enumerate(prepared.classes)}
    return pd.DataFrame(columns)


def task_scores(logits: Tensor, targets: Tensor, tasks: Tasks, groups: NDArray[np.str_]) -> dict[str, Any]:
    """Top-1 and top-5 of each task and of all together (verb, noun, action), and the share right with its interval."""
    truth, guess = task_classes(tasks, targets), task_classes(tasks, logits)
    right = (truth == guess).all(axis=1)
    interval = statistics.bootstrap_interval(right.astype(np.float64), groups=groups)
    probabilities = [values.softmax(dim=1).numpy() for values in tasks.split(logits.float())]
    together = _TOGETHER.get(tasks.names, "together")
    return {
        "accuracy": float(right.mean()),
        "error": 1 - float(right.mean()),
        **metrics.multi_task_metrics(truth, probabilities, tasks.names, together=together),
        "interval": {"of": "accuracy", "low": interval.low, "high": interval.high, "level": interval.level},
        "n_clips": len(truth),
        "n_groups": len(np.unique(groups)),
    }


def fit_task_baselines(inputs: Summaries, train: Tensor, valid: Tensor, tasks: Tasks) -> Tensor:
    """Logits of a logistic regression for each task, see
    :func:`~audioattn_lib.experiments.common.baseline.fit_linear_baseline`.
    """
    targets = [torch.as_tensor(task_classes(tasks, values)) for values in (train, valid)]
    parts = [
        fit_linear_baseline(inputs, targets[0][:, task], targets[1][:, task], size)
        for task, size in enumerate(tasks.sizes)
    ]
    return torch.cat(parts, dim=1)


def _split(classes: Sequence[str], tasks: Tasks) -> list[Sequence[str]]:
    ends = np.cumsum(tasks.sizes)
    return [classes[end - size : end] for end, size in zip(ends, tasks.sizes, strict=True)]
