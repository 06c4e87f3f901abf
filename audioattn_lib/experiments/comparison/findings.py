"""The findings of the comparison in sentences, from its table.

Book page: ``comparison``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from ..common.studies.phrases import Found, gain, names, share, span
from ..common.studies.study import BASELINE, seed_note
from .mechanisms import CONTROL, MECHANISMS
from .results import Compared, ComparedTask

__all__ = ["findings", "uses"]

_USES = {"pointing_gain": "To show where the event is", "deletion_gain": "To show what the network needs"}
_UNCORRECTED = "not corrected for their number"
_FEW = 5
"""Names that a sentence lists."""


def findings(comparison: Compared) -> Found:
    """Findings of a comparison and what it does not show.

    Parameters
    ----------
    comparison
        As :func:`~audioattn_lib.experiments.comparison.study.study` makes it.

    Returns
    -------
    shown, not_shown
        Sentences, with the numbers of these runs.

    Notes
    -----
    Book page: ``comparison``.
    """
    table = comparison.table()
    shown, left_open = [], []
    ranges: dict[str, pd.Series] = {}
    for task in comparison.tasks:
        rows = _attending(table, task.title)
        better, worse = _reliable(rows, 1), _reliable(rows, -1)
        if task.is_control:
            differing = len(better) + len(worse)
            sentence = f"**{task.title}**, a control that no mechanism can solve: {differing} of {len(rows)} differ"
            shown.append(f"{sentence} reliably from the mean.")
            continue
        best = rows.loc[rows["score"].idxmax()]
        highest = f"highest is {best['mechanism']} with {share(best)}, {gain(*_ends(best))} over the mean"
        if len(better):
            count = "All" if len(better) == len(rows) else f"{len(better)} of {len(rows)}"
            verb = "are" if len(better) > 1 else "is"
            shown.append(f"**{task.title}**: {count} mechanisms {verb} reliably better than the mean; {highest}.")
        else:
            left_open.append(f"{task.title}: no mechanism is reliably better than the mean; {highest}.")
        if len(worse):
            who = names([str(title) for title in worse["mechanism"]])
            shown.append(f"**{task.title}**: reliably worse than the mean: {who}.")
        ranges[task.title] = rows["detectable"]
    solvable = [task for task in comparison.tasks if not task.is_control]
    if solvable and len(left_open) == len(solvable):
        tasks = "the task" if len(solvable) == 1 else f"any of the {len(solvable)} tasks"
        shown.insert(0, f"On {tasks}{_aside(comparison)}, no mechanism is reliably better than the mean of the frames.")
    shown += _evident(table, _controls(comparison))
    left_open += _power(ranges)
    left_open.append(seed_note(comparison.n_seeds))
    return shown, left_open


def _aside(comparison: Compared) -> str:
    return " other than the control" if _controls(comparison) else ""


def _controls(comparison: Compared) -> list[str]:
    return [task.title for task in comparison.tasks if task.is_control]


def _attending(table: pd.DataFrame, task: str) -> pd.DataFrame:
    """Rows of a task that are mechanisms, without the mean."""
    return table[(table["task"] == task) & table["name"].isin(MECHANISMS) & (table["name"] != CONTROL)]


def _reliable(rows: pd.DataFrame, sign: int) -> pd.DataFrame:
    """Rows whose difference to the mean has an interval on one side of zero."""
    end = rows["difference_low"] if sign > 0 else -rows["difference_high"]
    return rows[end > 0]


def _ends(row: pd.Series) -> tuple[pd.Series, str, str, str]:
    return row, "difference", "difference_low", "difference_high"


def _power(ranges: Mapping[str, pd.Series]) -> list[str]:
    """Say in one sentence which differences each task could not show."""
    below = []
    for title, detectable in ranges.items():
        values = detectable[detectable > 0]
        most = "more than 100"  # two seeds can leave an interval without an end that means anything
        ends = (
            dict.fromkeys(f"{100 * value:.0f}" if value <= 1 else most for value in (values.min(), values.max()))
            if len(values)
            else {}
        )
        below += [f"{' to '.join(ends)} points ({title})"] if ends else []
    missed = f"Differences smaller than {', '.join(below)} would be missed in more than one experiment of five."
    return [missed] if below else []


def _evident(table: pd.DataFrame, controls: Sequence[str]) -> list[str]:
    """Say how many mechanisms point at events, and how many networks of solvable tasks need what they attend to."""
    sentences = []
    rows = table[table["name"].isin(MECHANISMS) & (table["name"] != CONTROL)]
    measured = rows[rows["pointing_gain"].notna()]
    if len(measured):
        sure = measured[measured["pointing_gain_low"] > 0]
        gains = f", by {span(list(sure['pointing_gain']), 'points')}" if len(sure) else ""
        where = " and ".join(dict.fromkeys(measured["task"]))
        counted = f"{len(sure)} of {len(measured)} pairs of mechanism and task ({where})"
        sentence = f"Attention points at the event more often than chance for {counted}{gains}"
        sentences.append(f"{sentence}. Intervals are {_UNCORRECTED}.")
    needed = rows[rows["deletion_gain"].notna() & ~rows["task"].isin(controls)]
    if len(needed):
        sure = needed[needed["deletion_gain_low"] > 0]
        sentences.append(
            f"Deleting the frames attended to most costs more than deleting others for {len(sure)} of {len(needed)} "
            f"pairs of mechanism and task{', the control left out' if controls else ''}. Intervals are {_UNCORRECTED}."
        )
    return sentences


def uses(comparison: Compared) -> str:
    """Say in a list what to use when, with no claim beyond the table: a difference that is named excludes zero.

    Notes
    -----
    Book page: ``comparison``.
    """
    table = comparison.table()
    sentences = []
    solved = [task for task in comparison.tasks if not task.is_control]
    for task in solved:
        rows = _attending(table, task.title)
        better = _reliable(rows, 1)
        if better.empty:
            sentences.append(f"**{task.title}**: the mean, which has nothing to tune. No mechanism is reliably better.")
            continue
        cheap = better.loc[better["milliseconds"].idxmin()]
        sentence = f"**{task.title}**: {_listed(better)}. Their differences to the mean have intervals above zero."
        sentences.append(f"{sentence} {cheap['mechanism']} takes the least time of them.")
    everywhere = _everywhere(table, [task.title for task in solved])
    if len(solved) > 1:
        text = names(everywhere, most=_FEW) or "no mechanism"
        verb = "are" if len(everywhere) > 1 else "is"
        sentences.append(
            f"**One mechanism for all of these tasks**: {text} {verb} reliably better than the mean on each of them."
        )
    sentences += _bounded(table, solved)
    sentences += _shows(table, _controls(comparison))
    linear = table[(table["name"] == BASELINE) & table["task"].isin([task.title for task in solved])]
    above = list(linear.loc[linear["difference_low"] > 0, "task"])
    if above:
        sentences.append(f"**A linear baseline instead of a network with the mean**: {names(above, most=_FEW)}.")
    sentences.append(
        "**Which of two mechanisms**: this table does not say. It compares each with the mean, and no two with each "
        "other."
    )
    return "\n".join(f"- {line}" for line in sentences)


def _listed(rows: pd.DataFrame) -> str:
    titles = [str(title) for title in rows.sort_values("score", ascending=False)["mechanism"]]
    if len(titles) <= _FEW:
        return names(titles, most=_FEW)
    return f"{len(titles)} mechanisms, those with the highest scores {names(titles[:3])}"


def _everywhere(table: pd.DataFrame, tasks: list[str]) -> list[str]:
    """Titles of mechanisms that are reliably better than the mean on every task."""
    sure = [set(_reliable(_attending(table, task), 1)["mechanism"]) for task in tasks]
    return [title for title in dict.fromkeys(table["mechanism"]) if sure and all(title in each for each in sure)]


def _bounded(table: pd.DataFrame, solved: Sequence[ComparedTask]) -> list[str]:
    """Name the mechanism that attends to least of the sound among those reliably better than the mean."""
    sentences = []
    for task in solved:
        better = _reliable(_attending(table, task.title), 1)
        if len(better) and better["attended"].min() < 1:
            least = better.loc[better["attended"].idxmin()]
            sentences.append(
                f"**To leave sound out** ({task.title}): {least['mechanism']} attends to "
                f"{100 * least['attended']:.0f} % of the sound, the least of those reliably better than the mean."
            )
    return sentences


def _shows(table: pd.DataFrame, controls: Sequence[str]) -> list[str]:
    """Name the mechanisms that point everywhere, and those that every network needs; a control has nothing to need."""
    rows = table[table["name"].isin(MECHANISMS) & (table["name"] != CONTROL)]
    sentences = []
    for measure, use in _USES.items():
        left_out = controls if measure == "deletion_gain" else []
        measured = rows[rows[measure].notna() & ~rows["task"].isin(left_out)]
        if measured.empty:
            continue
        tasks = measured.groupby("mechanism", sort=False)[f"{measure}_low"].min()
        sure = [str(name) for name in tasks.index[tasks > 0]]
        text = names(sure, most=_FEW) if len(sure) <= _FEW else f"{len(sure)} of {len(tasks)} mechanisms"
        verb = "have gains whose interval is" if len(sure) > 1 else "has a gain whose interval is"
        sentences.append(
            f"**{use}**: {text or 'no mechanism'} {verb} above zero on every task where this can be measured"
            f"{', the control left out' if left_out else ''}. Intervals are {_UNCORRECTED}."
        )
    return sentences
