"""Scores of predictions, as dictionaries that go into ``metrics.json`` as they are.

A thin layer over scikit-learn and SciPy that settles what they leave open: what
happens to classes that do not occur, what is refused, and what a score is
called. A score that the data does not define is ``None``, never a silent 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "classification_metrics",
    "d_prime",
    "macro_f1",
    "multi_task_metrics",
    "multilabel_metrics",
    "regression_metrics",
    "top_k_accuracy",
]

_SUM_TOLERANCE = 0.02  # probabilities computed in bfloat16 add up to 1 within this


def classification_metrics(labels: ArrayLike, probabilities: ArrayLike, classes: Sequence[str]) -> dict[str, Any]:
    r"""Compute the scores of a classifier with one class a clip.

    The predicted class is the most probable one, the first of them in a tie.

    Parameters
    ----------
    labels
        True class of each clip, whole numbers from 0 to ``len(classes) - 1``, shape ``(clips,)``.
    probabilities
        From 0 to 1, rows sum to 1; shape ``(clips, classes)``.
    classes
        Name of each class.

    Returns
    -------
    dict
        ``clips``; ``accuracy``, the share of clips predicted right, and
        ``error``, the rest; ``unweighted_average_recall``, the mean of the
        recall over the classes that occur in ``labels``; ``macro_f1``, the mean
        of :math:`F_1 = 2PR/(P+R)` over the classes that occur in ``labels`` or
        among the predictions; ``per_class_accuracy``, the recall of each class
        by name, ``None`` for one that does not occur; ``confusion_matrix``,
        counts with a row for each true class and a column for each predicted
        one. Every share lies from 0 to 1.

    Raises
    ------
    ValueError
        When an argument is empty, of another length, not finite or out of range; the message names it.

    Notes
    -----
    Schuller et al., *The INTERSPEECH 2009 emotion challenge*, for the
    unweighted average recall. Book page: ``urban_sound``.
    """
    from sklearn import metrics

    p = _probabilities(probabilities, classes)
    y = _labels(labels, len(p), len(classes))
    total = p.sum(axis=1)
    if np.any(np.abs(total - 1) > _SUM_TOLERANCE):
        row = int(np.argmax(np.abs(total - 1)))
        raise ValueError(
            f"row {row} of probabilities sums to {total[row]:.4g}; each row must sum to 1 "
            "(apply softmax to scores, exp to log-probabilities)"
        )
    predicted = p.argmax(axis=1)
    confusion = metrics.confusion_matrix(y, predicted, labels=range(len(classes)))
    occurring = np.unique(y)
    count = confusion.sum(axis=1)
    accuracy = float(metrics.accuracy_score(y, predicted))
    return {
        "clips": len(y),
        "accuracy": accuracy,
        "error": 1.0 - accuracy,
        "unweighted_average_recall": float(
            metrics.recall_score(y, predicted, labels=occurring, average="macro", zero_division=0.0)
        ),
        "macro_f1": macro_f1(y, predicted),
        "per_class_accuracy": {
            name: float(confusion[i, i] / count[i]) if count[i] else None for i, name in enumerate(classes)
        },
        "confusion_matrix": confusion.tolist(),
    }


def macro_f1(labels: NDArray[np.int64], predictions: NDArray[np.int64]) -> float:
    """Mean of :math:`F_1` over the classes that occur among labels or predictions, whole numbers ``(clips,)``.

    Notes
    -----
    Book page: ``accents``.
    """
    from sklearn import metrics

    return float(metrics.f1_score(labels, predictions, average="macro", zero_division=0.0))


def top_k_accuracy(labels: ArrayLike, probabilities: ArrayLike, k: int = 5) -> float:
    """Share of clips whose true class is among the ``k`` with the highest scores.

    Classes that tie for the last places share them: a constant score finds the
    true class with the share that a guess does.

    Parameters
    ----------
    labels
        True class of each clip, whole numbers from 0 to ``classes - 1``, shape ``(clips,)``.
    probabilities
        Higher is surer, any finite numbers, shape ``(clips, classes)``.
    k
        From 1 to the number of classes.

    Raises
    ------
    ValueError
        When an argument is empty, of another length, not finite or out of range; the message names it.

    Notes
    -----
    Russakovsky et al., *ImageNet large scale visual recognition challenge*,
    IJCV 2015, section 4.1, where the error is 1 less this. Book page:
    ``urban_sound``.
    """
    return float(_found(labels, probabilities, k).mean())


def multi_task_metrics(
    labels: ArrayLike,
    probabilities: Sequence[ArrayLike],
    tasks: Sequence[str],
    *,
    together: str = "action",
    ks: Sequence[int] = (1, 5),
) -> dict[str, Any]:
    """Scores of several answers to each clip, such as verb and noun, each by itself and all together.

    Parameters
    ----------
    labels
        True class of each clip in each task, counted from 0, shape ``(clips, tasks)``.
    probabilities
        For each task higher is surer, any finite numbers, shape ``(clips, classes)``.
    tasks
        Name of each task.
    together
        Name of the answer that is right when those to all tasks are.
    ks
        How many guesses a task has, each at least 1.

    Returns
    -------
    dict
        ``clips``, and for each task and ``together`` shares like
        ``verb_top_1`` and ``action_top_5``: of the clips whose true class is
        among the k surest; ``together`` in all tasks at once. ``None`` where a
        task has fewer than k classes. Ties are shared as by :func:`top_k_accuracy`.

    Raises
    ------
    ValueError
        When an argument is empty, of another length, not finite or out of range; the message names it.

    Notes
    -----
    Damen et al., *Rescaling egocentric vision*, IJCV 2022, for actions of verb
    and noun. Book page: ``playback_published``.
    """
    y = to_array("labels", labels)
    if y.ndim != 2 or y.shape[1] != len(tasks) or len(probabilities) != len(tasks):
        raise ValueError(
            f"labels has shape {y.shape} and there are {len(probabilities)} probabilities; "
            f"with the tasks {', '.join(tasks)} they must be (clips, {len(tasks)}) and {len(tasks)}"
        )
    sizes = [np.shape(table)[-1] for table in probabilities]
    scores: dict[str, Any] = {"clips": len(y)}
    for k in ks:
        hits_of_tasks = [_found(y[:, i], probabilities[i], k) if k <= size else None for i, size in enumerate(sizes)]
        for name, hits in zip(tasks, hits_of_tasks, strict=True):
            scores[f"{name}_top_{k}"] = None if hits is None else float(hits.mean())
        every = [hits for hits in hits_of_tasks if hits is not None]
        scores[f"{together}_top_{k}"] = (
            float(np.prod(every, axis=0).mean()) if len(every) == len(hits_of_tasks) else None
        )
    return scores


def _found(labels: ArrayLike, probabilities: ArrayLike, k: int) -> NDArray[np.float64]:
    """Compute the top-``k`` hit of each clip, 0 or 1; for tied scores the expected hit under random tie-breaking."""
    p = to_array("probabilities", probabilities)
    if p.ndim != 2:
        raise ValueError(f"probabilities has shape {p.shape}; it must be (clips, classes)")
    if not 1 <= k <= p.shape[1]:
        raise ValueError(f"k is {k}; it must be from 1 to the {p.shape[1]} classes")
    y = _labels(labels, len(p), p.shape[1])
    own = p[np.arange(len(p)), y][:, None]
    higher, equal = (p > own).sum(axis=1), (p == own).sum(axis=1)
    return np.clip((k - higher) / equal, 0.0, 1.0)


def d_prime(area: float) -> float:
    r"""Distance of two normal distributions of equal variance whose ROC curve has the given area,
    :math:`d' = \sqrt 2\,\Phi^{-1}(\mathrm{AUC})`.

    Parameters
    ----------
    area
        Area under the ROC curve, from 0 to 1: 0.5 is a distance of 0, 1 an infinite one, less than 0.5 a negative one.

    Raises
    ------
    ValueError
        When the area is not from 0 to 1.

    Notes
    -----
    Green and Swets, *Signal detection theory and psychophysics*, 1966. The
    scores of AudioSet take it of the mean area over classes (Gemmeke et al.,
    ICASSP 2017). Book page: ``urban_sound``.
    """
    from scipy import special

    if not 0 <= area <= 1:
        raise ValueError(f"area is {area}; an area under a ROC curve lies from 0 to 1")
    return float(np.sqrt(2.0) * special.ndtri(area))


def multilabel_metrics(targets: ArrayLike, probabilities: ArrayLike, classes: Sequence[str]) -> dict[str, Any]:
    """Compute the scores of a classifier with any number of labels a clip.

    Parameters
    ----------
    targets
        1 where the clip has the label and 0 where not, shape ``(clips, classes)``.
    probabilities
        From 0 to 1, each label by itself; shape ``(clips, classes)``.
    classes
        Name of each label.

    Returns
    -------
    dict
        ``clips``; ``mean_average_precision`` over the labels that occur;
        ``macro_auc``, the mean area under the ROC curve over the labels that
        occur in some clips and not in others; ``d_prime`` of that mean (see
        :func:`d_prime`), ``None`` where it is not finite;
        ``per_class_average_precision`` and ``per_class_auc`` by name, ``None``
        where undefined. All but ``d_prime`` lie from 0 to 1; an average over
        nothing is ``None``.

    Raises
    ------
    ValueError
        When an argument is empty, of another shape, not finite or out of range; the message names it.
    """
    from sklearn import metrics

    p = _probabilities(probabilities, classes)
    y = to_array("targets", targets)
    if y.shape != p.shape:
        raise ValueError(f"targets has shape {y.shape} and probabilities {p.shape}; both need (clips, classes)")
    if not np.isin(y, (0, 1)).all():
        raise ValueError("targets holds something other than 0 and 1; 1 says that the clip has the label")
    precision: dict[str, float | None] = {}
    area: dict[str, float | None] = {}
    for name, truth, score in zip(classes, y.T.astype(np.int64), p.T, strict=True):
        precision[name] = float(metrics.average_precision_score(truth, score)) if truth.any() else None
        area[name] = float(metrics.roc_auc_score(truth, score)) if truth.any() and not truth.all() else None
    mean_area = _mean(area)
    return {
        "clips": len(y),
        "mean_average_precision": _mean(precision),
        "macro_auc": mean_area,
        "d_prime": d_prime(mean_area) if mean_area is not None and 0 < mean_area < 1 else None,
        "per_class_average_precision": precision,
        "per_class_auc": area,
    }


def regression_metrics(targets: ArrayLike, predictions: ArrayLike) -> dict[str, Any]:
    r"""Scores of predicted numbers.

    Parameters
    ----------
    targets, predictions
        Finite numbers of any unit, shape ``(clips,)``.

    Returns
    -------
    dict
        ``clips``; ``spearman``, the rank correlation, and ``pearson``, the
        linear one, from -1 to 1, ``None`` when either side is constant;
        ``concordance``, which also asks for the right mean and spread,
        :math:`2 s_{yp} / (s_y^2 + s_p^2 + (\bar y - \bar p)^2)`, ``None`` when
        both sides are the same constant; ``rmse`` and ``mean_absolute_error``
        in the unit of the targets.

    Raises
    ------
    ValueError
        When an argument is empty, of another length or not finite; the message names it.

    Notes
    -----
    Lin, *A concordance correlation coefficient to evaluate reproducibility*, Biometrics 1989.
    """
    from scipy import stats
    from sklearn import metrics

    y, p = to_array("targets", targets), to_array("predictions", predictions)
    if y.ndim != 1 or y.shape != p.shape:
        raise ValueError(f"targets has shape {y.shape} and predictions {p.shape}; both need (clips,)")
    constant = np.ptp(y) == 0 or np.ptp(p) == 0
    spread = float(y.var() + p.var() + (y.mean() - p.mean()) ** 2)
    return {
        "clips": len(y),
        "spearman": None if constant else float(stats.spearmanr(y, p).statistic),
        "pearson": None if constant else float(np.corrcoef(y, p)[0, 1]),
        "concordance": 2.0 * float(np.mean((y - y.mean()) * (p - p.mean()))) / spread if spread else None,
        "rmse": float(metrics.root_mean_squared_error(y, p)),
        "mean_absolute_error": float(metrics.mean_absolute_error(y, p)),
    }


def to_array(name: str, values: ArrayLike) -> NDArray[np.float64]:
    """Float64 copy on the host of a sequence, array or tensor, checked to hold finite numbers."""
    if isinstance(values, torch.Tensor):
        values = values.detach().to("cpu", torch.float64).numpy()
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0:
        raise ValueError(f"{name} is empty; at least one clip is needed")
    if not np.isfinite(array).all():
        row = int(np.argwhere(~np.isfinite(array))[0][0]) if array.ndim else 0
        raise ValueError(f"row {row} of {name} holds a value that is not finite; every value must be a number")
    return array


def _probabilities(probabilities: ArrayLike, classes: Sequence[str]) -> NDArray[np.float64]:
    p = to_array("probabilities", probabilities)
    if p.ndim != 2 or p.shape[1] != len(classes):
        raise ValueError(f"probabilities has shape {p.shape}; it must be (clips, {len(classes)}), a column a class")
    if len(set(classes)) != len(classes):
        raise ValueError("classes holds a name twice; every class needs a name of its own")
    if p.min() < -1e-6 or p.max() > 1 + _SUM_TOLERANCE:
        raise ValueError(
            f"probabilities runs from {p.min():.4g} to {p.max():.4g}; it must lie from 0 to 1 "
            "(apply softmax or sigmoid to scores, exp to log-probabilities)"
        )
    return p


def _labels(labels: ArrayLike, clips: int, n_classes: int) -> NDArray[np.int64]:
    y = to_array("labels", labels)
    if y.shape != (clips,):
        raise ValueError(f"labels has shape {y.shape} and probabilities {clips} rows; give one label a row, ({clips},)")
    wrong = (y < 0) | (y > n_classes - 1) | (y != np.floor(y))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(f"row {row} of labels is {y[row]:g}; it must be a whole number from 0 to {n_classes - 1}")
    return y.astype(np.int64)


def _mean(values: dict[str, float | None]) -> float | None:
    defined = [value for value in values.values() if value is not None]
    return float(np.mean(defined)) if defined else None
