"""From a table of features to predicted numbers and their scores.

The table says itself which clips train, which choose and which are tested, so
features of any program can be used. Book page: ``sleepiness``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from audioattn_lib.data.manifest import UNKNOWN
from audioattn_lib.data.tables.feature_table import ClipLabels, FeatureTable, FeatureTableError
from audioattn_lib.evaluation.regression import RegressionFunction, Regressor, fit_regression
from audioattn_lib.evaluation.scores.metrics import regression_metrics
from audioattn_lib.evaluation.scores.regression_scores import chance_regression, score_regression, to_label_range

__all__ = ["PARTS", "FittedFeatures", "fit_features", "regress_features", "score_predicted"]

PARTS = ("train", "devel", "test")


@dataclass(frozen=True)
class FittedFeatures:
    """Result of :func:`fit_features`.

    Parameters
    ----------
    predictions, metrics
        As of :func:`regress_features`.
    function
        The final fit, from features to numbers.
    label_range
        Lowest and highest whole number of the labels.
    """

    predictions: pd.DataFrame
    metrics: dict[str, Any]
    function: RegressionFunction
    label_range: tuple[float, float]


def regress_features(
    table: FeatureTable, *, model: Regressor = "linear_svr", max_iter: int = 1000, seed: int = 0
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Predict the numbers of the test clips of a table from their features.

    The complexity is chosen on the validation clips, then the model is fitted on these and the training clips.
    Clips without a label are left out of both; test clips without one are predicted and not scored.

    Parameters
    ----------
    table
        With splits ``train``, ``devel`` and ``test`` and numbers as labels; clips of other splits are not used.
    model, max_iter, seed
        See :func:`~audioattn_lib.evaluation.regression.fit_regression`.

    Returns
    -------
    predictions : DataFrame
        A row for each validation clip (predicted by a model that has not seen it) and each test clip: ``clip``,
        ``split``, ``label``, ``predicted``, and ``rounded`` to the whole numbers of the labels' range.
    metrics : dict
        Scores of the test clips with intervals over groups, Spearman's correlation of rounded predictions, chance, and
        how the regression came about. Without test labels, no scores of test clips. ``valid`` has the same scores of
        the validation clips; the complexity was chosen on these, so they are optimistic.

    Raises
    ------
    FeatureTableError
        When a split is missing or has no label, or a group is in two splits; the message names it.

    Notes
    -----
    Book page: ``sleepiness``.
    """
    fitted = fit_features(table, model=model, max_iter=max_iter, seed=seed)
    return fitted.predictions, fitted.metrics


def fit_features(
    table: FeatureTable, *, model: Regressor = "linear_svr", max_iter: int = 1000, seed: int = 0
) -> FittedFeatures:
    """Fit the regression of :func:`regress_features`, and keep it as arrays.

    Notes
    -----
    Book page: ``sleepiness``.
    """
    parts = {name: table.of_split(name) for name in PARTS}
    _require_separate(parts)
    labelled = {name: rows.take(np.flatnonzero(np.isfinite(rows.values))) for name, rows in _with_labels(parts).items()}
    train, devel, test = labelled["train"], labelled["devel"], parts["test"]
    fitted = fit_regression(
        train.features,
        train.values,
        devel.features,
        devel.values,
        test.features,
        model=model,
        max_iter=max_iter,
        seed=seed,
    )
    labels = np.concatenate([train.values, devel.values])
    low, high = float(np.floor(labels.min())), float(np.ceil(labels.max()))
    outputs = {"devel": (devel, fitted.valid_predictions), "test": (test, fitted.predictions)}
    predictions = pd.concat(
        [
            pd.DataFrame(
                {
                    "clip": features.ids,
                    "split": name,
                    "label": [label or UNKNOWN for label in features.labels],
                    "predicted": predicted,
                    "rounded": to_label_range(predicted, low, high) if low < high else predicted,
                }
            )
            for name, (features, predicted) in outputs.items()
        ],
        ignore_index=True,
    )
    metrics: dict[str, Any] = {}
    for name, (features, predicted) in outputs.items():
        rows = np.flatnonzero(np.isfinite(features.values))
        if not len(rows):
            continue
        truth, groups = features.values[rows], np.array(features.groups)[rows] if all(features.groups) else None
        rounded = predictions.loc[predictions["split"] == name, "rounded"].to_numpy()[rows]
        scores = score_regression(truth, predicted[rows], groups=groups)
        scores["spearman_rounded"] = coarse = regression_metrics(truth, rounded)["spearman"] or 0.0
        reference = train.values if name == "devel" else labels
        scores["chance"] = chance_regression(truth, reference)
        if name == "devel":
            metrics |= {"valid": scores, "valid_spearman": scores["spearman"], "valid_spearman_rounded": coarse}
        else:
            metrics |= scores
    metrics |= {
        "n_features": table.width,
        "complexity": fitted.complexity,
        "validation": {f"{c:g}": score for c, score in fitted.validation.items()},
        "converged": fitted.refit_converged,
        "notes": list(fitted.notes),
    }
    return FittedFeatures(predictions, metrics, fitted.function, (low, high))


def score_predicted(predictions: pd.DataFrame, labels: ClipLabels, *, split: str = "test") -> dict[str, Any]:
    """Scores of predicted numbers against labels, joined by the names of the clips.

    Parameters
    ----------
    predictions
        Columns ``clip``, ``predicted`` and ``split`` (``""`` where unknown), and where there is one, ``rounded``.
    labels
        Of these clips. A split that the predictions do not know is that of the labels.
    split
        Which clips are scored; ``""`` is all that have a label.

    Returns
    -------
    dict
        Those of :func:`~audioattn_lib.evaluation.scores.regression_scores.score_regression`, and ``spearman_rounded``
        where there are rounded predictions.

    Raises
    ------
    FeatureTableError
        When a clip has no label where others have one, or a labelled clip no prediction; the message names it.

    Notes
    -----
    Book page: ``sleepiness``.
    """
    rows = [labels.find(name) for name in predictions["clip"]]
    missing = [name for name, row in zip(predictions["clip"], rows, strict=True) if row is None]
    if missing:
        raise FeatureTableError(f"{len(missing)} predicted clips are not in {labels.source}, such as {missing[0]}")
    place = np.array(rows, dtype=np.int64)
    splits = np.array([own or labels.splits[row] for own, row in zip(predictions["split"], place, strict=True)])
    scored_rows = np.flatnonzero(((splits == split) if split else True) & np.isfinite(labels.values[place]))
    if not len(scored_rows):
        raise FeatureTableError(
            f"no predicted clip of split {split!r} has a number as its label in {labels.source}; there are "
            f"{', '.join(sorted(set(splits) - {''})) or 'no splits'}"
        )
    scored = set(place[scored_rows].tolist())
    left = [
        name
        for row, name in enumerate(labels.ids)
        if split and labels.splits[row] == split and np.isfinite(labels.values[row]) and row not in scored
    ]
    if left:
        raise FeatureTableError(f"{len(left)} clips of split {split} have a label and no prediction, such as {left[0]}")
    truth = labels.values[place[scored_rows]]
    groups = np.array(labels.groups)[place[scored_rows]]
    selected = predictions.iloc[scored_rows]
    scores = score_regression(truth, selected["predicted"].to_numpy(), groups=groups if all(groups) else None)
    if "rounded" in selected:
        scores["spearman_rounded"] = regression_metrics(truth, selected["rounded"].to_numpy())["spearman"] or 0.0
    return scores


def _with_labels(parts: dict[str, FeatureTable]) -> dict[str, FeatureTable]:
    """Parts to learn from."""
    for name in ("train", "devel"):
        if not np.isfinite(parts[name].values).any():
            raise FeatureTableError(
                f"no clip of split {name} has a number as its label; a regression needs some. Name the corpus that has "
                "them, or fill label_numeric"
            )
    return {name: parts[name] for name in ("train", "devel")}


def _require_separate(parts: dict[str, FeatureTable]) -> None:
    """A speaker who trains must not be tested."""
    home: dict[str, str] = {}
    for name, features in parts.items():
        for group in set(features.groups) - {""}:
            if home.setdefault(group, name) != name:
                raise FeatureTableError(f"group {group} is in splits {home[group]} and {name}; it must be in one only")
