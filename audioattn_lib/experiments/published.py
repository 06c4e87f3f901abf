"""Published results beside those of a study, and why the two compare or do not.

Only figures that the papers themselves state are here. What a run adds to them is computed from the run.

Book pages: ``sleepiness``, ``accents``.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ..training.run_directory import Run
from .common.study import ClassificationStudy
from .sleepiness.study import FUSION, RegressionStudy

__all__ = ["RELATIVE_GAINS", "SLEEPINESS", "accents_table", "sleepiness_table", "why_accents", "why_sleepiness"]

SLEEPINESS: Mapping[str, tuple[float, float]] = {
    "attention_bi_bi_hidden": (0.324, 0.311),
    "seq2seq_bi_bi_fc": (0.283, 0.359),
    FUSION: (0.320, 0.367),
}
"""Spearman's correlation of Amiriparian et al. (2020) with the development and test labels, by system."""

RELATIVE_GAINS: Mapping[str, float] = {"self_attention": 0.0609, "multi_head": 0.0523}
"""Relative fall of the equal error rate from this pooling to double multi-head pooling, India et al. (2021)."""

_DOUBLE = "double_multi_head"
_SLEEPINESS_CORPUS, _SPEAKER_CORPUS = "sleepiness", "voxceleb"


def sleepiness_table(study: RegressionStudy) -> pd.DataFrame:
    """Rank correlations, published and of this study, with the development and the test clips: a row a system.

    Those of the study are means over seeds; empty where it lacks the system or no test clip has a label.

    Notes
    -----
    Amiriparian et al., *Unsupervised representation learning with attention and sequence to sequence autoencoders to
    predict sleepiness from speech*, 2020. Book page: ``sleepiness``.
    """
    rows = {}
    for name, (devel, test) in SLEEPINESS.items():
        runs = [run for run in study.runs if run.config["system"] == name]
        rows[study.title(name)] = {
            "published, devel": f"{devel:.3f}",
            "published, test": f"{test:.3f}",
            "here, devel": _mean(runs, "devel_spearman"),
            "here, test": _mean(runs, "spearman"),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def why_sleepiness(corpus: str) -> str:
    """Explain whether the columns of :func:`sleepiness_table` are comparable; ``corpus`` is the manifest's name."""
    if corpus == _SLEEPINESS_CORPUS:
        return (
            "Corpus and division into training, development and test clips are the published ones, so the columns can "
            "be compared, with four reservations. The published figures are of one run each, without interval and "
            "without seed. The published code cuts every clip to the length of the shortest, some 0.6 s; these "
            "networks hear whole clips. Its decoders see the frame that they rebuild, these do not. Test scores "
            "compare only with the true test labels, which the distribution withholds."
        )
    return (
        "The columns cannot be compared: the published ones are of the 16,462 clips of the Düsseldorf Sleepy Language "
        f"Corpus, which its owners license and which is not part of this book; those of this page are of {corpus}."
    )


def accents_table(study: ClassificationStudy) -> pd.DataFrame:
    """Tabulate the relative reduction of the equal error rate by double multi-head pooling, one row per other pooling.

    ``published`` and ``here`` are :math:`(e - e_2) / e` in percent, where :math:`e_2` is the rate of double multi-head
    pooling and :math:`e` that of the other. Here it is the mean over seeds and folds, with the lowest and the highest;
    empty where the study lacks a pooling, has no trials, or a rate is 0.

    Notes
    -----
    India, Safari and Hernando, *Double multi-head attention for speaker verification*, ICASSP 2021. Book page:
    ``accents``.
    """
    ours = _rates(study, _DOUBLE)
    rows = {}
    for name, published in RELATIVE_GAINS.items():
        others = _rates(study, name)
        gains = [(others[which] - ours[which]) / others[which] for which in ours if others.get(which, 0.0) > 0]
        found = f"{100 * np.mean(gains):+.1f} % ({100 * min(gains):+.1f} to {100 * max(gains):+.1f})" if gains else ""
        title = study.title(name)
        rows[f"lower than {title}, by"] = {"published": f"{100 * published:+.2f} %", "here": found}
    return pd.DataFrame.from_dict(rows, orient="index")


def why_accents(study: ClassificationStudy, corpus: str) -> str:
    """Explain whether the columns of :func:`accents_table` are comparable; ``corpus`` is the manifest's name."""
    if corpus == _SPEAKER_CORPUS and any(run.config["trials"] for run in study.runs):
        return (
            "The published figures are of networks trained on 5,994 speakers of VoxCeleb2 and tested on trials of "
            "VoxCeleb1. The columns compare where this study was trained and tested on the same lists. The published "
            "figures are of one run each, without interval."
        )
    text = (
        "The columns cannot be compared: the published networks were trained to tell 5,994 speakers of VoxCeleb2 apart "
        f"and tested on trials of VoxCeleb1; those of this page learned the labels of {corpus}"
    )
    if not any(run.metrics.get("verification") for run in study.runs):
        return f"{text}, and there is no pair of clips to verify."
    return (
        f"{text} and are tested on pairs of its test clips. The paper gives relative figures without interval; here "
        "the range over seeds and folds tells how far chance alone moves them."
    )


def _rates(study: ClassificationStudy, name: str) -> dict[tuple[str, int], float]:
    """Equal error rate of each fold and seed of one pooling."""
    runs = [run for run in study.runs if run.config[study.by] == name and run.metrics.get("verification")]
    return {
        (str(run.config["fold"]), int(run.config["seed"])): float(run.metrics["verification"]["equal_error_rate"])
        for run in runs
    }


def _mean(runs: list[Run], score: str) -> str:
    values = [float(run.metrics[score]) for run in runs if score in run.metrics]
    return f"{np.mean(values):.3f}" if values else ""
