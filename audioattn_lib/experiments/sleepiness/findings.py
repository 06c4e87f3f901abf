"""The findings of the chapter in sentences, from its runs.

Book page: ``sleepiness``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from audioattn_lib.attention.record.record import AttentionRecord

from ..common.studies.phrases import Found, number, relation, use_over_baseline
from ..common.studies.study import BASELINE, TO_BASELINE
from .study import LOSSES, RegressionStudy

__all__ = ["MATCHED", "describe_alignment", "findings", "turned", "uses"]

MATCHED = ("attention_bi_bi_hidden", "seq2seq_bi_bi")
"""Two networks that differ in nothing but attention: what is read from them, and how much of it, is the same."""


def findings(study: RegressionStudy) -> Found:
    """Three findings of a study and what it does not show.

    Parameters
    ----------
    study
        As :func:`~audioattn_lib.experiments.sleepiness.study` makes it.

    Returns
    -------
    shown, not_shown
        Sentences, with the numbers of these runs.

    Notes
    -----
    Book page: ``sleepiness``.
    """
    table = study.table()
    shown, open_ = [], [study.unmeasured] if study.unmeasured else []
    with_, without = MATCHED
    if {with_, without} <= set(study.names):
        paired = _over(study, with_, without)
        verb = "describe the speaker better" if paired["difference"] > 0 else "describe the speaker worse"
        both = f"{number(table.loc[with_])} with attention, {number(table.loc[without])} without"
        result = f"of networks that differ in attention alone, features have a rank correlation of {both}"
        if paired["p_holm"] < 0.05:
            shown.append(f"Features of a network **with attention {verb}**: {result}, a difference of {_gain(paired)}.")
        else:
            open_.append(f"That attention matters to the features: {result}, a difference of {_gain(paired)}.")
        rebuilt = study.rebuilding()
        first, second = (rebuilt.loc[study.title(name)] for name in MATCHED)
        for column in LOSSES:
            loss, is_shown = study.loss_difference(column, with_, without)
            beginning = "Attention changes" if is_shown else "That attention changes"
            (shown if is_shown else open_).append(
                f"{beginning} the squared error of the reconstruction, {column}: {first[column]} with attention, "
                f"{second[column]} without, a difference of {loss}."
            )
    against = study.compare(BASELINE)
    best = table.loc[study.names, "score"].idxmax()
    is_shown = against.loc[best]["p_holm"] < 0.05
    (shown if is_shown else open_).insert(
        0,
        f"**{study.title(str(best))}** has the highest rank correlation with the label, {number(table.loc[best])}: "
        f"{relation(study, against.loc[best])} mean and deviation of the bands, which need no network and have "
        f"{number(table.loc[BASELINE])}.",
    )
    chance = table.loc["chance"]
    single = table.loc[study.networks, "score"].idxmax()  # the question is what a network encodes, not what two do
    is_above_chance = table.loc[single, "low"] > chance["high"]
    by_chance = f"by chance from {chance['low']:.2f} to {chance['high']:.2f}"
    scores = f"{number(table.loc[single])} of {study.title(str(single))}, {by_chance}"
    (shown if is_above_chance else open_).insert(  # the question of the chapter comes first
        0,
        f"**The features predict the label**: rank correlation {scores}."
        if is_above_chance
        else f"That the features predict the label: rank correlation {scores}.",
    )
    return shown, [*open_, study.power_note(against["detectable"], to=TO_BASELINE, unit="", scale=1.0), study.seed_note]


def _over(study: RegressionStudy, name: str, reference: str) -> dict[str, float]:
    """Gain of one system over another as the table of the page has it: corrected for the same comparisons."""
    return turned(study.compare(name).loc[reference])


def turned(row: Mapping[Any, Any]) -> dict[str, float]:
    """A comparison the other way round: of the reference to the system."""
    ends = {"difference": -row["difference"], "low": -row["high"], "high": -row["low"], "p_holm": row["p_holm"]}
    return {end: float(value) for end, value in ends.items()}


def _gain(row: Mapping[Any, Any]) -> str:
    return number(row, "difference")


def uses(study: RegressionStudy) -> str:
    """Say in a list when the features of a study are worth their cost, with no claim beyond its tables.

    Notes
    -----
    Book page: ``sleepiness``.
    """
    with_, without = MATCHED
    lines = [use_over_baseline(study, study.compare(BASELINE))]
    if {with_, without} <= set(study.names):
        paired = _over(study, with_, without)
        better = "with attention" if paired["difference"] > 0 else "without attention"
        lines.append(
            f"**To train such an autoencoder**: {better}, {study.reliably('better')} here."
            if paired["p_holm"] < 0.05
            else "**To train such an autoencoder**: without attention, which is less to compute. Attention makes no "
            "reliable difference to the features here."
        )
    lines.append(
        "**With many recordings and few labels**: features that need no labels are meant for that. This page does not "
        "test it, for every recording that trains its networks has a label."
    )
    return "\n".join(f"- {line}" for line in lines)


def describe_alignment(records: Mapping[str, AttentionRecord]) -> str:
    """Say how far from the diagonal alignments lie, beside attention to all frames alike; empty where there is none.

    Parameters
    ----------
    records
        Of one clip each, by the title of its network.

    Notes
    -----
    Book page: ``sleepiness``.
    """
    sentences = []
    for title, record in records.items():
        if record.alignment is None or record.n_frames is None:
            continue
        frames = int(record.n_frames[0])
        weights, times = record.alignment[0, :frames, :frames].astype(np.float64), record.frame_times()[:frames]
        distance, alike = (
            float((share * np.abs(times[:, None] - times)).sum(axis=1).mean())
            for share in (weights / weights.sum(axis=1, keepdims=True), np.full((frames, frames), 1 / frames))
        )
        sentences.append(
            f"{title}: a decoded frame is {distance:.2f} s from what it attends to, mean over frames and weights; with "
            f"equal weights it would be {alike:.2f} s."
        )
    return " ".join(sentences)
