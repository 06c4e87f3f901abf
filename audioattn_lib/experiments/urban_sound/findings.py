"""The findings of the chapter in sentences, from its runs.

Book page: ``urban_sound``.
"""

from __future__ import annotations

import pandas as pd

from audioattn_lib.attention.pooling.registry import MECHANISMS

from ..common.studies.phrases import (
    Found,
    beside_baseline,
    gain_over,
    highest,
    names,
    span,
    use_over_baseline,
    use_over_control,
)
from ..common.studies.study import BASELINE, TO_BASELINE, ClassificationStudy
from .config import CONTROL, CONTROLS

__all__ = ["findings", "uses"]

_KINDS = {"discrete": "maps that give each frame a weight", "continuous": "densities over time"}


def findings(study: ClassificationStudy) -> Found:
    """Three findings of a study and what it does not show.

    Parameters
    ----------
    study
        As :func:`~audioattn_lib.experiments.urban_sound.study` makes it.

    Returns
    -------
    shown, not_shown
        Sentences, with the numbers of these runs.

    Notes
    -----
    Book page: ``urban_sound``.
    """
    table = study.table()
    titles, scores, is_one = highest(study, table.loc[study.names])
    verb = "has" if is_one else "have"
    shown = [f"{titles} {verb} the highest {study.score_title.lower()}, {scores}{beside_baseline(table)}."]
    open_ = []
    power = ""
    attending = [name for name in study.names if name not in CONTROLS]
    if CONTROL in study.names and attending:
        comparison = study.compare(CONTROL, attending)
        better, reason = gain_over(study, comparison)
        power = study.power_note(comparison["detectable"], to="to the mean of the frames")
        if better:
            sure = study.reliably("better")
            shown.append(f"Attention is {sure} than the mean of the frames, with {better}; {reason}.")
        else:
            open_.append(
                f"That attention helps: no mechanism is reliably better than the mean of the frames; {reason}."
            )
    elif "detectable" in table:
        power = study.power_note(table.loc[study.names, "detectable"], to=TO_BASELINE)
    where = _where(study)
    if where.startswith("Attention"):
        shown.insert(0, where)  # the question of the chapter comes first
    else:
        open_.append(where)
    return shown, [*open_, *filter(None, [power]), study.seed_note]


def _where(study: ClassificationStudy) -> str:
    """Say which mechanisms attend to the event."""
    table = study.attention_evaluation()
    pointing = table[table["measure"] == "pointing_game"] if len(table) else pd.DataFrame()
    pointing = pointing[pointing[study.by].isin(MECHANISMS)] if len(pointing) else pointing
    if not len(pointing):
        return "Where the events are: this corpus does not say it, so nobody can say whether attention finds them."
    shares = []
    for domain, title in _KINDS.items():
        values = [row["value"] for _, row in pointing.iterrows() if MECHANISMS[row[study.by]].domain == domain]
        if values:
            shares.append(f"in {span(values)} of the clips for {title}")
    uniform = f"{100 * pointing['uniform'].mean():.0f} %"
    sentence = (
        f"Attention at its highest lies inside the event {' and '.join(shares)}; equal weights would in {uniform}."
    )
    sure = "gain_low" in pointing and bool((pointing["gain_low"] > 0).all())
    return f"{sentence} Every interval of the difference to equal weights excludes zero." if sure else sentence


def uses(study: ClassificationStudy) -> str:
    """Say in a list when the mechanisms of a study are worth their cost, with no claim beyond its tables.

    Notes
    -----
    Book page: ``urban_sound``.
    """
    table = study.table()
    attending = [name for name in study.names if name in MECHANISMS]
    lines = []
    if CONTROL in study.names and attending:
        lines.append(use_over_control(study, CONTROL, attending, "To name the clip"))
    if BASELINE in table.index:
        lines.append(use_over_baseline(study, table.loc[study.names]))
    lines += _evident(study, attending)
    lines.append(
        "**For several events in a clip**: not measured here. By construction a map can attend to several, and a "
        "density of this page has one centre."
    )
    return "\n".join(f"- {line}" for line in lines)


def _evident(study: ClassificationStudy, attending: list[str]) -> list[str]:
    """Say which attention shows the place of the event, its start and end, and the frames that its network needs."""
    table = study.attention_evaluation()
    uses_of = {
        "pointing_game": (
            "To show where the event is",
            "The highest attention lies in it more often than that of uniform attention.",
        ),
        "support_iou": (
            "To cut out the event",
            "The times with any attention overlap it better than the whole clip does, which is what uniform attention "
            "has. Those of a map may be in several pieces. Softmax and the Gaussian are zero nowhere, so they need a "
            "threshold that you choose.",
        ),
        "deletion_area": (
            "To show what the network needs",
            "Deleting the most attended frames costs more than it does with uniform attention.",
        ),
    }
    lines = []
    for measure, (use, why) in uses_of.items():
        rows = table[(table["measure"] == measure) & table[study.by].isin(attending)] if len(table) else table
        if len(rows):
            sure = names([study.title(str(name)) for name in rows.loc[rows["gain_low"] > 0, study.by]], most=8)
            lines.append(f"**{use}**: {sure}. {why}" if sure else f"**{use}**: no mechanism of this page.")
    return lines
