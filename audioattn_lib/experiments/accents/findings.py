"""The findings of the chapter in sentences, from its runs.

Book page: ``accents``.
"""

from __future__ import annotations

from ..common.phrases import Found, beside_baseline, gain_over, relation, share, span
from ..common.study import BASELINE, ClassificationStudy
from .verification import verification_differences, verification_table

__all__ = ["findings"]

_CONTROL = "mean"
_WITHOUT = (_CONTROL, "statistics")


def findings(study: ClassificationStudy) -> Found:
    """Three findings of a study and what it does not show.

    Parameters
    ----------
    study
        As :func:`~audioattn_lib.experiments.accents.study` makes it.

    Returns
    -------
    shown, not_shown
        Sentences, with the numbers of these runs.

    Notes
    -----
    Book page: ``accents``.
    """
    table = study.table()
    best = table.loc[study.names, "score"].idxmax()
    shown = [f"**{study.title(best)}** names the most clips, {share(table.loc[best])}{beside_baseline(table)}."]
    open_ = []
    attending = [name for name in study.names if name not in _WITHOUT]
    if _CONTROL in study.names and attending:
        better, told = gain_over(study, _CONTROL, attending)
        if better:
            shown.append(f"Choosing frames helps: {better} beat the plain mean; {told}.")
        else:
            open_.append(f"That choosing frames helps: no attention is reliably better than the plain mean; {told}.")
    shown += _where(study, attending)
    trials = verification_table(study)
    rates = trials.loc[[name for name in study.names if name in trials.index]]
    if len(rates):
        lowest = str(rates["score"].idxmin())
        told = f"The lowest equal error rate of a network is {share(trials.loc[lowest])}, of {study.title(lowest)}"
        if BASELINE in trials.index:
            against = verification_differences(study, BASELINE).loc[lowest]
            told += f", {relation(against)} that of the linear baseline, {share(trials.loc[BASELINE])}"
        shown.append(f"{told}.")
    power = study.power_note(table.loc[study.names, "detectable"]) if "detectable" in table else ""
    return shown, [*open_, *filter(None, [power]), study.seed_note]


def _where(study: ClassificationStudy, attending: list[str]) -> list[str]:
    """Say how much of the attention lies where the accent is, where that is known."""
    table = study.attention_evaluation()
    if not len(table):
        return []
    inside = table[(table["measure"] == "mass_inside_events") & table[study.by].isin(attending)]
    if not len(inside):
        return []
    told = (
        f"Attention puts {span(list(inside['value']))} of its weight where the accent is known to be, equal weights "
        f"{100 * inside['uniform'].mean():.0f} %"
    )
    stays = (inside["value"] - inside["uniform"]).abs().max() < 0.05
    return [f"{told}: it hardly leaves the mean." if stays else f"{told}."]
