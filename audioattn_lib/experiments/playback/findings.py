"""The findings of the chapter in sentences, from its runs.

Book page: ``playback``.
"""

from __future__ import annotations

import numpy as np

from ..common.studies.phrases import Found, beside_baseline, gain, share
from .study import PlaybackStudy

__all__ = ["findings"]

_CHOSEN = "slots"


def findings(study: PlaybackStudy) -> Found:
    """Three findings of a study and what it does not show.

    Parameters
    ----------
    study
        As :func:`~audioattn_lib.experiments.playback.study` makes it.

    Returns
    -------
    shown, not_shown
        Sentences, with the numbers of these runs.

    Notes
    -----
    Book page: ``playback``.
    """
    table, stages = study.table(), study.stages()
    name = study.prefer(_CHOSEN)
    score = study.score_title.lower()
    by_playback = stages[stages["selection"] == name]
    last = by_playback.iloc[-1]
    shown, open_ = [], []
    sentence = f"**{study.title(name)}** reaches a {score} of {share(last)}"
    if len(by_playback) > 1:
        sentence += (
            f" after {_count(int(last['playbacks']))}, from {share(by_playback.iloc[0])} after the first hearing"
        )
        sentence += f", for {last['cost']:.1f} times its frames"
    shown.append(f"{sentence}{beside_baseline(table)}.")
    pairs = study.differences()
    of_name = pairs[pairs["selection"] == name]
    for _, row in of_name.iterrows():
        over = study.title(row["over"]).lower()
        if row["p_holm"] < 0.05:
            better = study.reliably("better" if row["difference"] > 0 else "worse")
            shown.append(f"It is {better} than {over}: {gain(row)}.")
        else:
            open_.append(f"That {study.title(name).lower()} differs from {over}: {gain(row)}.")
    where = study.localisation()
    if len(where):
        rows = where[(where["selection"] == study.title(name)) & (where["measure"] == "pointing")]
        if len(rows) and np.isfinite(rows["value"].iloc[0]):
            row = rows.iloc[0]
            shown.append(
                f"The middle of what it plays back lies in an event in {share(row, score='value')} of the cases, at "
                f"random places in {100 * row['random']:.0f} %."
            )
    power = study.power_note(pairs["detectable"]) if len(pairs) else ""
    return shown, [*open_, *filter(None, [power, study.unmeasured]), study.seed_note]


def _count(playbacks: int) -> str:
    return "one playback" if playbacks == 1 else f"{playbacks} playbacks"
