"""Embeddings of a run: kept, compared, and judged by trials of speakers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audioattn_lib.core.errors import ManifestError, RunError
from audioattn_lib.data.lists import read_trials, read_voxceleb_trials
from audioattn_lib.evaluation.scores.verification import (
    DetectionCurve,
    Trials,
    detection_curve,
    draw_equal_error_rates,
    make_trials,
    score_trials,
    verification_metrics,
)
from audioattn_lib.evaluation.statistics.systems import Draws, compare_systems, score_interval
from audioattn_lib.training.run_directory import Run, RunDirectory, write_atomically

from ..common.studies.study import BASELINE, ClassificationStudy

__all__ = [
    "EMBEDDINGS",
    "detection_curves",
    "embedding_map",
    "heard_in_map",
    "list_trials",
    "load_embeddings",
    "save_embeddings",
    "unmeasured",
    "verification_differences",
    "verification_draws",
    "verification_table",
    "verify",
]

EMBEDDINGS = "embeddings.npz"
N_TRIALS = 5000
"""Most trials of each kind."""
_LINKED = "groups of utterances that the trials link"
_MOST_SOUNDS = 24
_FEW = 4
"""Clips that t-SNE needs."""


def save_embeddings(
    directory: RunDirectory,
    clips: list[str],
    embeddings: NDArray[np.floating[Any]],
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


def list_trials(listed: str, clips: Sequence[str], speakers: NDArray[Any], seed: int = 0) -> Trials | None:
    """The trials of some clips: those of a list, or all pairs.

    Parameters
    ----------
    listed
        A list of VoxCeleb trials; or the lists of clients and impostors, joined
        by a comma; or nothing, for all pairs (at most 5,000 of either kind).
    clips, speakers
        Name and speaker of each clip, ``""`` throughout where speakers are unknown. Names in lists may leave out a
        folder in front and the extension.
    seed
        Draws from too many pairs.

    Returns
    -------
    Trials or None
        None where no list is given and speakers are unknown, no speaker has two clips, or there is one alone. Where
        speakers are unknown, intervals of a list are over groups of utterances: those that its pairs of one speaker
        link, directly or through others.

    Raises
    ------
    ManifestError
        When a list names a clip that is not among the tested ones, or has one kind of trial only.
    """
    speakers = np.asarray(speakers, dtype=np.str_)
    unknown = not (speakers != "").any()
    if not listed:
        if unknown:
            return None
        names, counts = np.unique(speakers, return_counts=True)
        return make_trials(speakers, most=N_TRIALS, seed=seed) if len(names) > 1 and counts.max() > 1 else None
    files = [name.strip() for name in listed.split(",")]
    pairs, is_same = read_trials(*files) if len(files) == 2 else read_voxceleb_trials(listed)
    if is_same.all() or not is_same.any():
        raise ManifestError(f"{listed}: has trials of one kind only; give pairs of one speaker and pairs of two")
    position: dict[str, int] = {}
    for row, clip in enumerate(clips):
        parts = PurePosixPath(clip).with_suffix("").parts
        for first in range(len(parts)):
            position.setdefault("/".join(parts[first:]), row)
    listed_names = [[str(PurePosixPath(name).with_suffix("")) for name in pair] for pair in pairs]
    missing = sorted({name for pair in listed_names for name in pair} - position.keys())
    if missing:
        raise ManifestError(
            f"{listed}: {len(missing)} clips are not among the {len(clips)} tested ones: {', '.join(missing[:5])}; "
            "test on the split that the list is of"
        )
    rows = np.array([[position[name] for name in pair] for pair in listed_names], dtype=np.int64)
    first, second = rows.T
    if unknown:
        return Trials(first, second, is_same, _linked(first[is_same], second[is_same], len(clips)), _LINKED)
    return Trials(first, second, is_same, speakers)


def _linked(first: NDArray[np.int64], second: NDArray[np.int64], n: int) -> NDArray[np.str_]:
    """Group of each of ``n`` utterances: pairs of one speaker are in one group."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = coo_array((np.ones(len(first)), (first, second)), shape=(n, n))
    return connected_components(links, directed=False)[1].astype(np.str_)


def verify(embeddings: NDArray[np.floating[Any]], trials: Trials | None, seed: int = 0) -> dict[str, Any] | None:
    """Score trials of test clips, see :func:`~audioattn_lib.evaluation.scores.verification.verification_metrics`."""
    return None if trials is None else verification_metrics(score_trials(embeddings, trials), trials, seed=seed)


def verification_table(study: ClassificationStudy) -> pd.DataFrame:
    """Equal error rate (``score``, ``low``, ``high``) and detection cost of each compared, of the baseline, by chance.

    Means over runs, with their intervals over speakers and seeds; ``std`` over runs, the trials and different
    speakers of one seed over all folds, NaN where speakers are unknown. The same seed draws the same speakers for all.
    """
    rows: dict[str, dict[str, Any]] = {}
    drawn = verification_draws(study)
    for name in (*study.names, BASELINE):
        runs = [run for run in _runs(study, name) if run.metrics.get("verification")]
        verifications = [run.metrics["verification"] for run in runs]
        if verifications:
            folds = {run.config["fold"]: run for run in runs}  # seeds test the same speakers
            rates = [scores["equal_error_rate"] for scores in verifications]
            interval = score_interval(drawn[name])
            rows[name] = {
                "runs": len(verifications),
                "score": float(np.mean(rates)),
                "low": interval.low,
                "high": interval.high,
                "min_detection_cost": float(np.mean([scores["min_detection_cost"] for scores in verifications])),
                "std": float(np.std(rates, ddof=1)) if len(rates) > 1 else np.nan,
                "trials": sum(run.metrics["verification"]["trials"] for run in folds.values()),
                "speakers": _count_speakers(folds.values()),
            }
    rows["chance"] = {"runs": 0, "score": 0.5, "low": np.nan, "high": np.nan, "min_detection_cost": 1.0}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(study.by)


def verification_draws(study: ClassificationStudy) -> dict[str, Draws]:
    """Equal error rate of each compared and of the baseline, of each seed and on common resamples of the speakers.

    Of several folds it is their mean; what was tested on no trials is left out.
    """
    draws = {}
    for name in (*study.names, BASELINE):
        folds: dict[str, list[Run]] = {}
        for run in _runs(study, name):
            if run.metrics.get("verification"):
                folds.setdefault(str(run.config["fold"]), []).append(run)
        parts = []
        for runs in folds.values():
            trials = [_trials_of(run) for run in runs]
            scores = [
                score_trials(load_embeddings(run)["embeddings"], trial)
                for run, trial in zip(runs, trials, strict=True)
                if trial is not None
            ]
            parts.append(draw_equal_error_rates(scores, [trial for trial in trials if trial is not None]))
        if parts:
            scores_of = np.mean([fold_draws.scores for fold_draws in parts], axis=0)
            resampled = np.mean([fold_draws.resampled for fold_draws in parts], axis=0)
            draws[name] = Draws(scores_of, resampled, sum(fold_draws.groups for fold_draws in parts))
    return draws


def verification_differences(study: ClassificationStudy, reference: str) -> pd.DataFrame:
    """Compare the equal error rates with that of ``reference``: below 0 is better.

    A table as :func:`~audioattn_lib.evaluation.statistics.systems.compare_systems` returns it.
    """
    drawn = verification_draws(study)
    if reference not in drawn:
        raise RunError(f"no run of {reference!r} was tested on trials; there are {', '.join(drawn) or 'none'}")
    others = [name for name in study.names if name in drawn and name != reference]
    return compare_systems({name: (drawn[name], drawn[reference]) for name in others}, largest=1.0)


def _count_speakers(runs: Iterable[Run]) -> float:
    """Different speakers in the trials of runs: in a closed set the folds test the same ones."""
    names: set[str] = set()
    for run in runs:
        trials = _trials_of(run)
        if trials is None or run.metrics["verification"]["speakers"] is None:
            return float("nan")
        names.update(trials.speakers[np.union1d(trials.first, trials.second)])
    return len(names)


def _trials_of(run: Run) -> Trials | None:
    kept = load_embeddings(run)
    return list_trials(run.config["trials"], list(kept["clips"]), kept["speakers"], int(run.config["seed"]))


def detection_curves(study: ClassificationStudy) -> dict[str, DetectionCurve]:
    """The curve of the first run of each compared and of the baseline, by title; those with trials."""
    curves = {}
    for name in (*study.names, BASELINE):
        for run in _runs(study, name)[:1]:
            trials = _trials_of(run)
            if trials is not None:
                scores = score_trials(load_embeddings(run)["embeddings"], trials)
                curves[study.title(name)] = detection_curve(scores, trials.is_same)
    return curves


def unmeasured(study: ClassificationStudy) -> str:
    """Return the reason why no speaker can be verified, in sentences; empty where trials were scored."""
    if any(run.metrics.get("verification") for run in study.runs):
        return ""
    if not any((load_embeddings(run)["speakers"] != "").any() for run in study.runs):
        return (
            "The corpus does not say who speaks, so no speaker can be verified and no equal error rate measured. Give "
            "a metadata.csv with a column speaker, or lists of trials: settings = {'trials': 'clients.lst, "
            "impostors.lst'}."
        )
    return (
        "No two test clips are of one speaker, or all are of one, so there is no pair to verify and no equal error "
        "rate. Give several test clips of several speakers."
    )


def heard_in_map(places: pd.DataFrame, most: int = _MOST_SOUNDS) -> list[str]:
    """At most ``most`` clips of :func:`embedding_map` to hear: one a speaker, any where speakers are unknown."""
    by_speaker = places[places["speaker"] != ""].drop_duplicates("speaker")
    clips = list(by_speaker["clip"]) or list(places["clip"])
    spread = np.unique(np.linspace(0, len(clips) - 1, min(most, len(clips))).round().astype(int))
    return [str(clips[i]) for i in spread]


def embedding_map(run: Run, method: str = "tsne", seed: int = 0) -> pd.DataFrame:
    """Embeddings of the test clips in the plane: columns ``clip``, ``label``, ``speaker``, ``x``, ``y``.

    Parameters
    ----------
    run
        A run that kept embeddings.
    method
        ``"tsne"`` of the directions (distances between far groups have no
        meaning), or ``"pca"``, their two widest directions, which are taken of fewer than four clips too.
    seed
        Of t-SNE.
    """
    kept = load_embeddings(run)
    x = kept["embeddings"].astype(np.float64)
    x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    if method not in ("tsne", "pca"):
        raise ValueError(f"method is {method!r}; it must be tsne or pca")
    if method == "pca" or len(x) < _FEW:
        left, strengths, _ = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
        components = (left * strengths)[:, :2]
        plane = np.pad(components, ((0, 0), (0, 2 - components.shape[1])))
    else:
        from sklearn.manifold import TSNE

        perplexity = min(30.0, max(2.0, (len(x) - 1) / 3))
        plane = TSNE(2, perplexity=perplexity, init="pca", metric="cosine", random_state=seed).fit_transform(x)
    columns = {"clip": kept["clips"], "label": kept["labels"], "speaker": kept["speakers"]}
    return pd.DataFrame({**columns, "x": plane[:, 0], "y": plane[:, 1]})


def _runs(study: ClassificationStudy, name: str) -> list[Run]:
    if name == BASELINE:
        return list(study.baselines)
    return [run for run in study.runs if run.config[study.by] == name]
