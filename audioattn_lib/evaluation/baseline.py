r"""The linear baseline that every attention model has to beat.

Each clip becomes the mean and standard deviation over time of its log-mel
features, and a linear model reads those: how far one gets without knowing
*when* anything happened.

The published front end subtracts each clip's mean over time, so the mean of
what it returns is 0 in every clip and half of this baseline is lost. Give the
baseline features without mean normalisation.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from .scores.metrics import multilabel_metrics, to_array

__all__ = ["Baseline", "linear_baseline", "summary_features"]

Task = Literal["classification", "multilabel"]

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)
_ROUNDING = 1e-5
"""A mean below this share of the deviation is rounding: standardised over clips, it would be noise."""


@dataclass(frozen=True)
class Baseline:
    """Predictions of the linear baseline for the test clips.

    Attributes
    ----------
    probabilities
        Of each class or label, shape ``(clips, classes)``.
    predictions
        Class index (``(clips,)``), or labels as 0 and 1 (``(clips, classes)``).
    inverse_penalty
        The strength chosen on the validation clips, one of those tried.
    validation
        Score on the validation clips by strength: accuracy or mean average precision.
    """

    probabilities: NDArray[np.float64]
    predictions: NDArray[Any]
    inverse_penalty: float
    validation: dict[float, float]


def summary_features(
    features: Float[Tensor, "batch frames mels"], lengths: Int[Tensor, " batch"] | None = None
) -> Float[Tensor, "batch statistics"]:
    r"""Mean and standard deviation over time of each clip's features.

    .. math:: \Bigl[\; \bar x, \quad \sqrt{\tfrac1T \textstyle\sum_t (x_t - \bar x)^2} \;\Bigr]

    Only valid frames count, so padding changes nothing. A mean below 1e-5 of the
    deviation is 0: it was subtracted before, and rounding is left of it. Computed
    where ``features`` lies, in at least float32.

    Parameters
    ----------
    features
        Log-mel or any other features without mean normalisation, shape ``(batch, frames, mels)``.
    lengths
        Valid frames of each clip, from 1 to ``frames``; all by default.

    Returns
    -------
    Tensor
        Shape ``(batch, 2 * mels)``.

    Raises
    ------
    ValueError
        When shapes do not fit or a length is out of range.

    Notes
    -----
    Book page: ``urban_sound``.
    """
    if features.ndim != 3:
        raise ValueError(f"features has shape {tuple(features.shape)}; it must be (batch, frames, mels)")
    batch, frames, _ = features.shape
    x = features.float() if features.dtype in (torch.float16, torch.bfloat16) else features
    if lengths is None:
        lengths = torch.full((batch,), frames, device=x.device)
    if lengths.shape != (batch,):
        raise ValueError(f"lengths has shape {tuple(lengths.shape)}; it must be ({batch},), one a clip")
    lengths = lengths.to(x.device)
    if batch and (int(lengths.min()) < 1 or int(lengths.max()) > frames):
        raise ValueError(f"lengths runs from {int(lengths.min())} to {int(lengths.max())}; allowed is 1 to {frames}")
    valid = (torch.arange(frames, device=x.device) < lengths[:, None])[..., None]  # (B, T, 1)
    count = lengths[:, None].to(x.dtype)
    mean = x.where(valid, 0).sum(dim=1) / count
    std = ((x - mean[:, None]).where(valid, 0).square().sum(dim=1) / count).sqrt()
    return torch.cat([mean.where(mean.abs() > _ROUNDING * std, 0), std], dim=1)


def linear_baseline(
    train_x: ArrayLike,
    train_y: ArrayLike,
    valid_x: ArrayLike,
    valid_y: ArrayLike,
    test_x: ArrayLike,
    *,
    task: Task | None = None,
    n_classes: int | None = None,
    strengths: Sequence[float] = STRENGTHS,
) -> Baseline:
    """Fit a linear model on the training clips, choose its penalty on the validation clips, predict the test clips.

    Features are standardised by the training clips. Classes: multinomial
    logistic regression; labels: one logistic regression each. The test clips have
    no part in any choice; of equally good strengths the most penalised one is taken.

    Parameters
    ----------
    train_x, valid_x, test_x
        Features such as those of :func:`summary_features`, shape ``(clips, statistics)``.
    train_y, valid_y
        Class indices (``(clips,)``), or labels as 0 and 1 (``(clips, labels)``).
    task
        ``"classification"`` or ``"multilabel"``; by default multilabel for targets of two axes.
    n_classes
        Classes in all, for classification; by default as many as training and
        validation show. A class without training clips has probability 0.
    strengths
        Inverse penalties to try, each above 0.

    Raises
    ------
    ValueError
        When an argument is empty, of another shape, not finite or out of range; the message names it.

    Notes
    -----
    Chosen by accuracy or mean average precision. Book page: ``urban_sound``.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, PredefinedSplit
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if task is None:
        task = "multilabel" if np.ndim(train_y) == 2 else "classification"
    if task not in ("classification", "multilabel"):
        raise ValueError(f"task is {task!r}; it must be classification or multilabel")
    if not strengths or min(strengths) <= 0:
        raise ValueError(f"strengths is {strengths}; give at least one number, each above 0")
    train, valid, test = (
        _matrix(name, x) for name, x in (("train_x", train_x), ("valid_x", valid_x), ("test_x", test_x))
    )
    for name, x in (("valid_x", valid), ("test_x", test)):
        if x.shape[1] != train.shape[1]:
            raise ValueError(f"{name} has {x.shape[1]} columns and train_x {train.shape[1]}; both need the same")
    y, y_valid = (
        _targets(name, target, len(x), task)
        for name, target, x in (("train_y", train_y, train), ("valid_y", valid_y, valid))
    )
    if task == "multilabel" and y.shape[1] != y_valid.shape[1]:
        raise ValueError(f"valid_y has {y_valid.shape[1]} labels and train_y {y.shape[1]}; both need the same")
    columns = _count_classes(y, y_valid, n_classes) if task == "classification" else y.shape[1]
    logistic: Any = LogisticRegression(max_iter=2000)
    model = make_pipeline(StandardScaler(), logistic if task == "classification" else OneVsRestClassifier(logistic))
    penalty = "logisticregression__C" if task == "classification" else "onevsrestclassifier__estimator__C"
    search = GridSearchCV(
        model,
        {penalty: sorted(strengths)},
        scoring="accuracy" if task == "classification" else _mean_average_precision,
        cv=PredefinedSplit(np.repeat([-1, 0], [len(train), len(valid)])),  # -1: always in the training part
        error_score="raise",
        refit=False,  # the validation clips choose; they do not train
    )
    with warnings.catch_warnings():  # a label that every training clip has, or none: its constant is predicted
        warnings.filterwarnings("ignore", message="Label .* is present in all training examples")
        search.fit(np.concatenate([train, valid]), np.concatenate([y, y_valid]))
        model.set_params(**search.best_params_).fit(train, y)  # the first, so the most penalised, of equals
    scores = dict(zip(sorted(strengths), map(float, search.cv_results_["mean_test_score"]), strict=True))
    predicted = model.predict_proba(test)
    probabilities = np.zeros((len(test), columns))  # a class without training clips keeps 0
    probabilities[:, model.classes_ if task == "classification" else slice(None)] = predicted
    predictions = probabilities.argmax(axis=1) if task == "classification" else (probabilities >= 0.5).astype(np.int64)
    return Baseline(probabilities, predictions, float(search.best_params_[penalty]), scores)


def _mean_average_precision(model: Any, x: NDArray[np.float64], y: NDArray[np.int64]) -> float:
    score = multilabel_metrics(y, model.predict_proba(x), [str(i) for i in range(y.shape[1])])["mean_average_precision"]
    return 0.0 if score is None else float(score)


def _matrix(name: str, values: ArrayLike) -> NDArray[np.float64]:
    x = to_array(name, values)
    if x.ndim != 2:
        raise ValueError(f"{name} has shape {x.shape}; it must be (clips, statistics)")
    return x


def _targets(name: str, values: ArrayLike, clips: int, task: Task) -> NDArray[Any]:
    y = to_array(name, values)
    dimensions = 2 if task == "multilabel" else 1
    if y.ndim != dimensions or len(y) != clips:
        shape = f"({clips}, labels)" if task == "multilabel" else f"({clips},)"
        raise ValueError(f"{name} has shape {y.shape}; for {task} of {clips} clips it must be {shape}")
    if task == "multilabel" and not np.isin(y, (0, 1)).all():
        raise ValueError(f"{name} holds something other than 0 and 1; 1 says that the clip has the label")
    if (y < 0).any() or (y != np.floor(y)).any():
        raise ValueError(f"{name} holds something other than whole numbers at least 0; give the index of each class")
    return y.astype(np.int64)


def _count_classes(train: NDArray[Any], valid: NDArray[Any], n_classes: int | None) -> int:
    if len(np.unique(train)) < 2:
        raise ValueError("train_y holds one class only; a classifier needs clips of at least two")
    seen = int(max(train.max(), valid.max())) + 1
    if n_classes is not None and n_classes < seen:
        raise ValueError(f"n_classes is {n_classes} but class {seen - 1} occurs; count from 0")
    return n_classes or seen
