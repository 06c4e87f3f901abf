"""Published results beside those of a study, and why the two compare or do not.

Only figures that the papers themselves state are here. What a run adds to them is computed from the run.

Book pages: all five chapters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ..training.run_directory import Run
from .common.studies.phrases import gain, number, share
from .common.studies.study import ClassificationStudy, Study
from .scenes_and_instruments.domain_methods import NONE
from .scenes_and_instruments.findings import main_test
from .scenes_and_instruments.study import DomainStudy
from .sleepiness.findings import MATCHED
from .sleepiness.study import FUSION, RegressionStudy

__all__ = [
    "RELATIVE_GAINS",
    "SLEEPINESS",
    "accents_table",
    "papers",
    "sleepiness_table",
    "why_accents",
    "why_sleepiness",
]

SLEEPINESS: Mapping[str, tuple[float, float]] = {
    "attention_bi_bi_hidden": (0.324, 0.311),
    "seq2seq_bi_bi_fc": (0.283, 0.359),
    FUSION: (0.320, 0.367),
}
"""Spearman's correlation of Amiriparian et al. (2020) with the validation and test labels, by system."""

RELATIVE_GAINS: Mapping[str, float] = {"self_attention": 0.0609, "multi_head": 0.0523}
"""Relative fall of the equal error rate from this pooling to double multi-head pooling, India et al. (2021)."""

_DOUBLE = "double_multi_head"
_SLEEPINESS_CORPUS, _SPEAKER_CORPUS = "sleepiness", "voxceleb"


def sleepiness_table(study: RegressionStudy) -> pd.DataFrame:
    """Rank correlations, published and of this study, with the validation and the test clips: a row a system.

    Those of the study are means over seeds; empty where it lacks the system or no test clip has a label.

    Notes
    -----
    Amiriparian et al., *Unsupervised representation learning with attention and sequence to sequence autoencoders to
    predict sleepiness from speech*, 2020. Book page: ``sleepiness``.
    """
    rows = {}
    fused = {name for name in SLEEPINESS if name != FUSION}  # of other networks it is another system
    for name, (devel, test) in SLEEPINESS.items():
        is_reported = name != FUSION or fused == set(study.networks)
        runs = [run for run in study.runs if is_reported and run.config["system"] == name]
        rows[study.title(name)] = {
            "published, validation": f"{devel:.3f}",
            "published, test": f"{test:.3f}",
            "here, validation": _mean(runs, "valid_spearman"),
            "here, test": _mean(runs, "spearman"),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def why_sleepiness(corpus: str) -> str:
    """Explain whether the columns of :func:`sleepiness_table` are comparable; ``corpus`` is the manifest's name."""
    if corpus == _SLEEPINESS_CORPUS:
        return (
            "Corpus and division into training, validation and test clips are the published ones, so the columns can "
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
    pooling and :math:`e` that of the other; below zero where :math:`e_2` is higher. Here it is the mean over seeds and
    folds, with the lowest and the highest where there are several;
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
        cell = f"{100 * np.mean(gains):+.1f} %" if gains else ""
        cell += f" ({100 * min(gains):+.1f} to {100 * max(gains):+.1f})" if len(gains) > 1 else ""
        title = study.title(name)
        rows[f"reduction against {title}"] = {"published": f"{100 * published:+.2f} %", "here": cell}
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
    several = len(study.runs) > len(study.names)
    moved = "the range over seeds and folds tells" if several else "with one seed there is no range that could tell"
    return (
        f"{text} and are tested on pairs of its test clips. The paper gives relative figures without interval; here "
        f"{moved} how far chance alone moves them."
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


def papers(chapter: str, study: Study, corpus: str) -> list[dict[str, Any]]:
    """List the papers of a chapter beside its runs, for :func:`~audioattn_lib.display.boxes.papers.papers_table`.

    Parameters
    ----------
    chapter
        Its name, such as ``"urban_sound"``.
    study
        Of that chapter.
    corpus
        The manifest's name.

    Returns
    -------
    list of dict
        The fields of :class:`~audioattn_lib.display.boxes.papers.Paper`; a figure of a paper only where it is certain.

    Notes
    -----
    Book pages: all five chapters.
    """
    rows = []
    for paper in _PAPERS[chapter]:
        same = corpus == paper["manifest"]
        why = f"No: the runs of this page are trained and tested on the corpus {corpus}. {paper['why']}"
        why = "Yes, where the settings are the published ones." if same else why
        shown = {name: paper[name] for name in ("name", "links", "corpus", "theirs")}
        rows.append({**shown, "ours": _ours(paper["ours"], study), "why": why.strip()})
    return rows


def _ours(quantity: str, study: Study) -> str:
    """The figure of a study that stands beside that of a paper; empty where it has none."""
    if isinstance(study, RegressionStudy):
        table = study.table()
        titles = ("with attention", "without")
        compared = [(name, title) for name, title in zip(MATCHED, titles, strict=True) if name in table.index]
        return "; ".join(f"{title} {number(table.loc[name])}" for name, title in compared)
    if isinstance(study, DomainStudy):
        results = study.results()
        rows = results.rows[(results.rows["test"] == main_test(results)) & results.rows["gain"].notna()]
        dense = rows[(rows["pattern"] == study.patterns[0]) & (rows["domain_method"] != NONE)]
        if quantity != "centring" or not len(dense):
            return ""
        row = dense.iloc[0]
        return gain({"difference": row["gain"], "low": row["gain_low"], "high": row["gain_high"]})
    if quantity == "accents" and isinstance(study, ClassificationStudy):
        gains = accents_table(study)["here"]
        return "; ".join(f"{name} {value}" for name, value in gains.items() if value)
    if isinstance(study, ClassificationStudy):
        table = study.table()
        name = study.prefer(quantity)
        return f"{study.title(name)}: {study.score_title.lower()} {share(table.loc[name])}"
    return ""


_PAPERS: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    "urban_sound": (
        {
            "name": "Martins et al. (2022)",
            "links": (
                ("JMLR", "https://jmlr.org/papers/v23/21-0879.html"),
                ("arXiv", "https://arxiv.org/abs/2108.01988"),
            ),
            "manifest": "urbansound8k",
            "corpus": "UrbanSound8K, ten folds",
            "theirs": "",
            "ours": "parabola",
            "why": "The preset named “paper” has the published settings, for the published corpus.",
        },
    ),
    "sleepiness": (
        {
            "name": "Amiriparian et al. (2020)",
            "links": (
                ("DOI", "https://doi.org/10.1145/3423327.3423670"),
                ("arXiv", "https://arxiv.org/abs/2005.08722"),
            ),
            "manifest": "sleepiness",
            "corpus": "Düsseldorf Sleepy Language Corpus, 16,462 clips",
            "theirs": "rank correlation on the test clips 0.311 with attention, 0.359 without, 0.367 fused",
            "ours": "matched",
            "why": "The two published networks also differ in the features that are read; those of this page differ in "
            "attention alone.",
        },
    ),
    "accents": (
        {
            "name": "India et al. (2021)",
            "links": (("arXiv", "https://arxiv.org/abs/2007.13199"),),
            "manifest": "voxceleb",
            "corpus": "VoxCeleb2 (5,994 speakers), trials of VoxCeleb1",
            "theirs": "equal error rate of double multi-head pooling lower than that of self attention by 6.09 %, "
            "than that of multi-head by 5.23 %",
            "ours": "accents",
            "why": "The published network was trained to tell speakers apart, those of this page for its labels.",
        },
    ),
    "scenes_and_instruments": (
        {
            "name": "Mu et al. (2023)",
            "links": (("arXiv", "https://arxiv.org/abs/2307.09723"),),
            "manifest": "tau_urban",
            "corpus": "TAU Urban 2020 Mobile, NSynth",
            "theirs": "20 % less time for inference (abstract)",
            "ours": "",
            "why": "Times of the patterns here are on the page of attention patterns.",
        },
        {
            "name": "Primus and Widmer (2023)",
            "links": (("arXiv", "https://arxiv.org/abs/2306.11764"),),
            "manifest": "tau_urban",
            "corpus": "TAU Urban 2020 Mobile",
            "theirs": "up to 18.2 points gained on unseen devices",
            "ours": "centring",
            "why": "The devices of a synthetic corpus are filters with a noise floor.",
        },
    ),
    "playback": (
        {
            "name": "Stergiou and Damen (2023)",
            "links": (("arXiv", "https://arxiv.org/abs/2210.11328"),),
            "manifest": "",
            "corpus": "AudioSet, VGG-Sound, EPIC-KITCHENS-100",
            "theirs": "",
            "ours": "slots",
            "why": "The sounds here are made so that only a finer hop tells them apart.",
        },
    ),
}
"""Papers of each chapter. ``theirs`` is what the paper itself states and is certain; empty where nothing is."""
