"""Embeddings of a run: kept, compared, and judged by trials of speakers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..errors import RunError
from ..training.run_directory import Run, RunDirectory, write_atomically
from ..training.verification import (
    DetectionCurve,
    Trials,
    detection_curve,
    make_trials,
    score_trials,
    verification_metrics,
)
from .study import BASELINE, Study

__all__ = [
    "EMBEDDINGS",
    "detection_curves",
    "embedding_map",
    "load_embeddings",
    "save_embeddings",
    "verification_table",
    "verify",
]

EMBEDDINGS = "embeddings.npz"
N_TRIALS = 5000
"""Most trials of each kind."""


def save_embeddings(
    directory: RunDirectory,
    clips: list[str],
    embeddings: NDArray[np.float32],
    labels: list[str],
    speakers: NDArray[Any],
) -> None:
    """Keep embeddings as ``embeddings.npz`` (no pickles) and as ``embeddings.csv``, a row a clip."""
    with write_atomically(directory.path / EMBEDDINGS) as temporary:
        np.savez_compressed(
            temporary,
            clips=np.array(clips, dtype=np.str_),
            embeddings=embeddings.astype(np.float32),
            labels=np.array(labels, dtype=np.str_),
            speakers=np.array(speakers, dtype=np.str_),
        )
    columns = {f"embedding_{i}": embeddings[:, i].round(5) for i in range(embeddings.shape[1])}
    directory.write_table(
        "embeddings.csv", pd.DataFrame({"clip": clips, "label": labels, "speaker": speakers, **columns})
    )


def load_embeddings(run: Run) -> dict[str, NDArray[Any]]:
    """``clips``, ``embeddings``, ``labels`` and ``speakers`` of the test clips of a run, in one order.

    Raises
    ------
    RunError
        When the run kept no embeddings.
    """
    path = run.path / EMBEDDINGS
    if not path.is_file():
        raise RunError(f"{path}: no such file; this run kept no embeddings")
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def verify(embeddings: NDArray[np.floating[Any]], speakers: NDArray[Any], seed: int = 0) -> dict[str, Any] | None:
    """Scores of the trials of test clips, see :func:`~audioattn_lib.training.verification.verification_metrics`.

    None where no speaker has two clips, or there is one alone.
    """
    trials = _trials(speakers, seed)
    return None if trials is None else verification_metrics(score_trials(embeddings, trials), trials, seed=seed)


def verification_table(study: Study) -> pd.DataFrame:
    """Equal error rate and detection cost of each compared, of the linear baseline, and by chance.

    Means over runs, with the intervals over speakers that the runs' own average to.
    """
    rows: dict[str, dict[str, Any]] = {}
    for name in (*study.names, BASELINE):
        found = [run.metrics["verification"] for run in _runs(study, name) if run.metrics.get("verification")]
        if found:
            intervals = [one["intervals"]["equal_error_rate"] for one in found]
            rows[study.titles.get(name, name)] = {
                "runs": len(found),
                "equal_error_rate": float(np.mean([one["equal_error_rate"] for one in found])),
                "low": float(np.mean([interval["low"] for interval in intervals])),
                "high": float(np.mean([interval["high"] for interval in intervals])),
                "min_detection_cost": float(np.mean([one["min_detection_cost"] for one in found])),
                "trials": sum(one["trials"] for one in found),
                "speakers": sum(one["speakers"] for one in found),
            }
    rows["chance"] = {"runs": 0, "equal_error_rate": 0.5, "low": np.nan, "high": np.nan, "min_detection_cost": 1.0}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(study.by)


def detection_curves(study: Study) -> dict[str, DetectionCurve]:
    """The curve of the first run of each compared and of the baseline, by title; those with trials."""
    curves = {}
    for name in (*study.names, BASELINE):
        for run in _runs(study, name)[:1]:
            kept = load_embeddings(run)
            trials = _trials(kept["speakers"], int(run.config["seed"]))
            if trials is not None:
                scores = score_trials(kept["embeddings"], trials)
                curves[study.titles.get(name, name)] = detection_curve(scores, trials.is_same)
    return curves


def embedding_map(run: Run, method: str = "tsne", seed: int = 0) -> pd.DataFrame:
    """Embeddings of the test clips in the plane: columns ``clip``, ``label``, ``speaker``, ``x``, ``y``.

    Parameters
    ----------
    run
        A run that kept embeddings.
    method
        ``"tsne"`` of the directions (distances between far groups have no
        meaning), or ``"pca"``, their two widest directions.
    seed
        Of t-SNE.
    """
    kept = load_embeddings(run)
    x = kept["embeddings"].astype(np.float64)
    x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    if method == "pca":
        from sklearn.decomposition import PCA

        plane = PCA(2, random_state=seed).fit_transform(x)
    elif method == "tsne":
        from sklearn.manifold import TSNE

        perplexity = min(30.0, max(2.0, (len(x) - 1) / 3))
        plane = TSNE(2, perplexity=perplexity, init="pca", metric="cosine", random_state=seed).fit_transform(x)
    else:
        raise ValueError(f"method is {method!r}; it must be tsne or pca")
    columns = {"clip": kept["clips"], "label": kept["labels"], "speaker": kept["speakers"]}
    return pd.DataFrame({**columns, "x": plane[:, 0], "y": plane[:, 1]})


def _trials(speakers: NDArray[Any], seed: int) -> Trials | None:
    names, counts = np.unique(speakers, return_counts=True)
    return make_trials(speakers, most=N_TRIALS, seed=seed) if len(names) > 1 and counts.max() > 1 else None


def _runs(study: Study, name: str) -> list[Run]:
    if name == BASELINE:
        return list(study.baselines)
    return [run for run in study.runs if run.config[study.by] == name]
