"""The findings of the chapter in sentences, from its runs.

Book page: ``accents``.
"""

from __future__ import annotations

from ..common.studies.phrases import (
    Found,
    beside_baseline,
    gain,
    gain_over,
    highest,
    names,
    relation,
    reliably_below,
    share,
    span,
    use_over_baseline,
    use_over_control,
)
from ..common.studies.study import BASELINE, TO_BASELINE, ClassificationStudy
from .corpus import Prepared
from .verification import verification_differences, verification_table

__all__ = ["describe_shown", "findings", "uses", "where_it_attends"]

_CONTROL = "mean"
_WITHOUT = (_CONTROL, "statistics")
_SEEN = 0.05
"""Share of the attention: below it, attention and equal weights are hardly different."""


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
    titles, scores, is_one = highest(study, table.loc[study.names])
    verb = "names" if is_one else "name"
    shown = [f"{titles} {verb} the most clips, {scores}{beside_baseline(table)}."]
    open_ = []
    power = ""
    attending = [name for name in study.names if name not in _WITHOUT]
    if _CONTROL in study.names and attending:
        comparison = study.compare(_CONTROL, attending)
        better, reason = gain_over(study, comparison)
        power = study.power_note(comparison["detectable"], to="to the plain mean")
        if better:
            sure = study.reliably("better")
            shown.append(f"Attention is {sure} than the plain mean, with {better}; {reason}.")
        else:
            open_.append(f"That choosing frames helps: no attention is reliably better than the plain mean; {reason}.")
    elif "detectable" in table:
        power = study.power_note(table.loc[study.names, "detectable"], to=TO_BASELINE)
    shown[:0] = _where(study, attending)  # the question of the chapter comes first
    trials = verification_table(study)
    rates = trials.loc[[name for name in study.names if name in trials.index]]
    if len(rates):
        lowest = str(rates["score"].idxmin())
        rate = share(trials.loc[lowest])
        reason = f"The lowest equal error rate of a network is {rate}, of {study.title(lowest)} (low is good)"
        if BASELINE in trials.index:
            against = verification_differences(study, BASELINE).loc[lowest]
            reason += f", {relation(study, against)} that of the linear baseline, {share(trials.loc[BASELINE])}"
        shown.append(f"{reason}.")
    return shown, [*open_, *filter(None, [power]), study.seed_note]


def _where(study: ClassificationStudy, attending: list[str]) -> list[str]:
    """Say how much of the attention lies where the accent is, where that is known."""
    table = study.attention_evaluation()
    if not len(table):
        return []
    inside = table[(table["measure"] == "mass_inside_events") & table[study.by].isin(attending)]
    if not len(inside):
        return []
    reason = (
        f"Attention puts {span(list(inside['value']))} of its weight where the accent is known to be, equal weights "
        f"{100 * inside['uniform'].mean():.0f} %"
    )
    stays = (inside["value"] - inside["uniform"]).abs().max() < _SEEN
    return [f"{reason}: the two are hardly different." if stays else f"{reason}."]


def uses(study: ClassificationStudy) -> str:
    """Say in a list when the poolings of a study are worth their cost, with no claim beyond its tables.

    Notes
    -----
    Book page: ``accents``.
    """
    table = study.table()
    lines = []
    attending = [name for name in study.names if name not in _WITHOUT]
    if _CONTROL in study.names and attending:
        lines.append(use_over_control(study, _CONTROL, attending, "To name the accent"))
    if BASELINE in table.index:
        lines.append(use_over_baseline(study, table.loc[study.names]))
    trials = verification_table(study)
    if BASELINE in trials.index and len(trials) > 1:
        against = verification_differences(study, BASELINE)
        sure = names([study.title(name) for name in reliably_below(against)], most=8)
        lines.append(
            f"**To tell speakers apart**: {sure}, whose error rates are {study.reliably('lower')} than the baseline's."
            if sure
            else "**To tell speakers apart**: train for speakers. No embedding of this page, trained for the label, "
            "makes reliably fewer errors than the baseline."
        )
    evaluated = study.attention_evaluation()
    rows = evaluated[evaluated["measure"] == "mass_inside_events"] if len(evaluated) else evaluated
    rows = rows[rows[study.by].isin(attending)] if len(rows) else rows
    if len(rows):
        # a reliable gain that no picture shows is no use
        is_seen = (rows["gain_low"] > 0) & (rows["gain"] >= _SEEN)
        sure = names([study.title(str(name)) for name in rows.loc[is_seen, study.by]], most=8)
        lines.append(
            f"**To show where the accent is**: {sure}. More weight lies there than equal weights would put."
            if sure
            else "**To show where the accent is**: no pooling of the tables puts visibly more weight there than equal "
            "weights do."
        )
    return "\n".join(f"- {line}" for line in lines)


def where_it_attends(study: ClassificationStudy, name: str = "") -> str:
    """Say of one pooling how often its highest attention, and how much of all, lies where the accent is.

    Empty where that is not known.

    Notes
    -----
    Book page: ``accents``.
    """
    name = name or study.names[0]
    table = study.attention_evaluation()
    rows = table[(table["measure"] == "pointing_game") & (table[study.by] == name)] if len(table) else table
    if not len(rows):
        return ""
    row = rows.iloc[0]
    weight = table[(table["measure"] == "mass_inside_events") & (table[study.by] == name)].iloc[0]
    difference = gain({"difference": row["gain"], "low": row["gain_low"], "high": row["gain_high"]})
    inside, chance = (f"{100 * row[column]:.0f} %" for column in ("value", "uniform"))
    return (
        f"{study.title(name)} names {share(study.table().loc[name])} of the clips right. Its highest attention lies "
        f"where the accent is known to be in {inside} of the clips, by chance in {chance}, {difference}. The weight is "
        f"spread: {100 * weight['value']:.0f} % of it lies there, of equal weights {100 * weight['uniform']:.0f} %."
    )


def describe_shown(study: ClassificationStudy, corpus: Prepared, *, is_larger: bool) -> str:
    """Say which network a picture is of, how much it was trained on, and where it attends.

    Parameters
    ----------
    study, corpus
        Of the network.
    is_larger
        Whether it is the one of :func:`~audioattn_lib.experiments.accents.study_larger`, and not one of the tables.

    Notes
    -----
    Book page: ``accents``.
    """
    if not is_larger:
        return "The network shown is one of those in the tables of this page."
    run = study.runs[0]
    return (
        f"The network shown is not one of the tables of this page. It was trained for this picture on a larger corpus "
        f"({len(corpus.manifest)} clips, {run.config['epochs']} epochs). {where_it_attends(study)}"
    )
