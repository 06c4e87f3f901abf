"""Break the score of a study down by class, confidence, and attended share of the clip."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audioattn_lib.attention.pooling.registry import MECHANISMS
from audioattn_lib.evaluation.scores.calibration import Calibration, measure_calibration
from audioattn_lib.training.run_directory import Run

from .study import BASELINE, ClassificationStudy

__all__ = ["calibrations", "class_scores", "confusion", "single_runs", "sparsity_table"]


def single_runs(study: ClassificationStudy) -> pd.DataFrame:
    """Tabulate the share of clips predicted right by each single run: a row for each compared and the baseline.

    The columns are fold and seed; NaN where there is no such run.

    Notes
    -----
    Book page: ``accents``.
    """
    rows = [
        {
            study.by: run.config.get(study.by, BASELINE),
            "fold": str(run.config["fold"]),
            "seed": run.config["seed"],
            "score": float((run.predictions["label"] == run.predictions["predicted"]).mean()),
        }
        for run in (*study.runs, *study.baselines)
    ]
    return pd.DataFrame(rows).pivot_table(index=study.by, columns=["fold", "seed"], values="score", sort=False)


def class_scores(study: ClassificationStudy) -> pd.DataFrame:
    """Tabulate the score of each class: a row for each compared by title and the baseline, a column a class.

    The recall over the clips of all runs; with several labels a clip the average precision, mean over runs. NaN for a
    class that no run tested.

    Notes
    -----
    Book page: ``urban_sound``.
    """
    rows = {}
    for name in (*study.names, *([BASELINE] if study.baselines else [])):
        runs = study.runs_of(name)
        if study.is_multilabel:
            tables = pd.DataFrame([run.metrics["per_class_average_precision"] for run in runs]).astype(float)
            rows[study.title(name)] = tables.mean().to_dict()
        else:
            counts = confusion(runs)
            with np.errstate(invalid="ignore"):
                recall = np.diag(counts) / counts.sum(axis=1)
            rows[study.title(name)] = dict(zip(runs[0].classes, recall, strict=True))
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(study.by)


def confusion(runs: Sequence[Run]) -> NDArray[np.int64]:
    """Sum of the confusion matrices of some runs, shape ``(classes, classes)``, true classes down.

    Notes
    -----
    Book page: ``urban_sound``.
    """
    return np.sum([run.metrics["confusion_matrix"] for run in runs], axis=0)


def calibrations(study: ClassificationStudy, names: Iterable[str] = ()) -> dict[str, Calibration]:
    """Reliability of the probabilities of some that were compared (by default all), by title.

    Over the clips of all runs. Empty where a clip may have several labels: then no class is the predicted one.

    Notes
    -----
    Book page: ``urban_sound``.
    """
    if study.is_multilabel:
        return {}
    reliability = {}
    for name in [name for name in names if name in study.names] or study.names:
        tables = pd.concat([run.predictions for run in study.runs_of(name)])
        columns = [column for column in tables if str(column).startswith("probability_")]
        sure = tables[columns].to_numpy(dtype=np.float64).max(axis=1).clip(0, 1)
        reliability[study.title(name)] = measure_calibration(sure, (tables["label"] == tables["predicted"]).to_numpy())
    return reliability


def sparsity_table(study: ClassificationStudy) -> pd.DataFrame:
    """Tabulate how much of a clip each mechanism attends to beside its score, a row a mechanism in the order of alpha.

    Columns: ``family``, maps with a weight a frame or densities; ``title``; ``alpha``; ``attended``, share of the
    sound with any attention, mean over clips; ``score``, ``low`` and ``high`` as in ``study.table()``.

    Notes
    -----
    Book page: ``urban_sound``.
    """
    table = study.table()
    rows = []
    for name in study.names:
        if name not in MECHANISMS:
            continue
        shares = np.concatenate([run.attention.attended_share() for run in study.runs_of(name)])
        variant = MECHANISMS[name]
        family = "Maps: a weight for each frame" if variant.domain == "discrete" else "Densities over time"
        attended = {"family": family, "title": study.title(name), "alpha": variant.alpha}
        rows.append(attended | {"attended": float(shares.mean()), **table.loc[name, ["score", "low", "high"]]})
    columns = ["family", "title", "alpha", "attended", "score", "low", "high"]
    return pd.DataFrame(rows, columns=columns).sort_values(["family", "alpha"], ascending=[False, True])
