"""Numbers of runs as words: scores with their intervals, differences, lists of names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from audioattn_lib.core.numbers import in_percent, tenths

from .study import BASELINE, ClassificationStudy, Study

__all__ = [
    "Found",
    "beside_baseline",
    "excludes_zero",
    "found",
    "gain",
    "gain_in_points",
    "gain_over",
    "highest",
    "lower_first",
    "names",
    "number",
    "p_value",
    "relation",
    "reliably_above",
    "reliably_below",
    "share",
    "span",
    "use_over_baseline",
    "use_over_control",
]

Found = tuple[list[str], list[str]]
"""Sentences on what the runs of a page show, and on what they do not show."""


def found(sentences: Iterable[tuple[str, bool]]) -> Found:
    """Part sentences by what each of them comes with: True where it says what is shown."""
    pairs = list(sentences)
    return [text for text, is_shown in pairs if is_shown], [text for text, is_shown in pairs if not is_shown]


def lower_first(sentence: str) -> str:
    """Return a sentence as it stands behind a colon: with a small first letter."""
    return f"{sentence[0].lower()}{sentence[1:]}"


def share(row: Mapping[str, Any], low: str = "low", high: str = "high", score: str = "score") -> str:
    """A score in [0, 1] in percent, such as ``84.2 % (79.0 to 89.1)``; without interval where it is not known."""
    percent = in_percent(row[score])
    if np.isnan(float(row[low])):
        return percent
    return f"{percent} ({tenths(100 * float(row[low]))} to {tenths(100 * float(row[high]))})"


def highest(study: Study, table: pd.DataFrame) -> tuple[str, str, bool]:
    """Titles of what scores highest in a table, several of a tie, their scores in words, and if there is one alone."""
    best = study.highest(table)
    scores = dict.fromkeys(share(table.loc[name]) for name in best)  # one where several are equal
    return names([f"**{study.title(name)}**" for name in best]), " and ".join(scores), len(best) == 1


def beside_baseline(table: pd.DataFrame) -> str:
    """The score of the linear baseline, to be put behind another one; empty where there is none."""
    return f"; the linear baseline has {share(table.loc[BASELINE])}" if BASELINE in table.index else ""


def gain(row: Mapping[str, Any], difference: str = "difference", low: str = "low", high: str = "high") -> str:
    """A difference of two scores in points, such as ``+2.1 points (-1.0 to +5.2)``."""
    return f"{_signed(row[difference])} points ({_interval(row, low, high)})"


def gain_in_points(row: Mapping[str, Any], difference: str = "difference", low: str = "low", high: str = "high") -> str:
    """The same where a heading names the unit, such as ``+2.1 (-1.0 to +5.2)``."""
    return f"{_signed(row[difference])} ({_interval(row, low, high)})"


def p_value(p: float) -> str:
    """A p-value to three digits, such as ``p = 0.031`` or ``p < 0.001``; it stays on one line."""
    return ("p < 0.001" if p < 0.001 else f"p = {p:.3f}").replace(" ", "\N{NO-BREAK SPACE}")


def gain_over(study: ClassificationStudy, comparison: pd.DataFrame) -> tuple[str, str]:
    """Names of those reliably better than the control, empty for none, and the largest gain, in words."""
    best = str(comparison["difference"].idxmax())
    sentence = f"the best of them is at {gain(comparison.loc[best])}, {study.title(best)}"
    return names([study.title(name) for name in reliably_above(comparison)]), sentence


def use_over_control(study: ClassificationStudy, control: str, compared: Sequence[str], task: str) -> str:
    """Say whether attention is worth its cost for a task ``what``: reliably better than the control, or not."""
    comparison = study.compare(control, compared)
    better = names([study.title(name) for name in reliably_above(comparison)], most=8)
    plain = study.title(control)
    if better:
        return f"**{task}**: {better}, {study.reliably('better')} than {plain}."
    return f"**{task}**: {plain}, which has nothing to tune. No attention is reliably better here."


def use_over_baseline(study: Study, compared: pd.DataFrame) -> str:
    """Say whether a network is worth its cost: reliably above the linear baseline, or not."""
    above = reliably_above(compared)
    if len(above) == len(compared):
        return f"**Instead of a linear baseline**: any network of this page. All are {study.reliably('better')}."
    if above:
        better = names([study.title(name) for name in above], most=8)
        return f"**Instead of a linear baseline**: {better}, {study.reliably('better')}."
    return "**Instead of a linear baseline**: no network of this page, for none is reliably better."


def reliably_above(compared: pd.DataFrame) -> list[str]:
    """Names of the rows of a comparison whose difference is reliably above zero."""
    return [str(name) for name in compared.index[(compared["p_holm"] < 0.05) & (compared["difference"] > 0)]]


def reliably_below(compared: pd.DataFrame) -> list[str]:
    """Names of the rows of a comparison whose difference is reliably below zero."""
    return [str(name) for name in compared.index[(compared["p_holm"] < 0.05) & (compared["difference"] < 0)]]


def relation(study: Study, row: Mapping[str, Any]) -> str:
    """Relation of a score to the other one of a comparison: reliably higher or lower, or not reliably different."""
    if row["p_holm"] < 0.05:
        return f"{study.reliably('higher' if row['difference'] > 0 else 'lower')} than"
    return "not reliably different from"


def excludes_zero(row: Mapping[Any, Any], low: str = "low", high: str = "high") -> bool:
    """Return True where the interval of a difference excludes zero."""
    return bool(row[low] > 0 or row[high] < 0)


def number(
    row: Mapping[Any, Any], score: str = "score", low: str = "low", high: str = "high", *, digits: int = 2
) -> str:
    """A correlation, a loss, or a difference of two: ``0.56 (0.40 to 0.68)``; alone where it has no interval.

    What is not named ``score`` is a difference, and has a sign.
    """
    sign = "" if score == "score" else "+"
    mean, *ends = (_fixed(float(row[name]), digits, sign) for name in (score, low, high))
    return mean if np.isnan(float(row[low])) else f"{mean} ({' to '.join(ends)})"


def span(values: Sequence[float], unit: str = "%") -> str:
    """Shares in percent from the least to the largest, such as ``74 to 81 %``; differences are in ``points``."""
    ends = dict.fromkeys(f"{100 * value:.0f}" for value in (min(values), max(values)))
    return f"{' to '.join(ends)} {unit}"


def names(titles: Sequence[str], most: int = 4) -> str:
    """Names as a list in words, empty for none; the number of them where they are many. A semicolon parts names with a
    comma.
    """
    if not titles:
        return ""
    if len(titles) > most:
        return f"{len(titles)} of them"
    if len(titles) == 1:
        return titles[0]
    if any("," in title for title in titles):
        return f"{'; '.join(titles[:-1])}{';' * (len(titles) > 2)} and {titles[-1]}"
    return f"{', '.join(titles[:-1])} and {titles[-1]}"


def _interval(row: Mapping[str, Any], low: str, high: str) -> str:
    return f"{_signed(row[low])} to {_signed(row[high])}"


def _fixed(value: float, digits: int, sign: str) -> str:
    """A number with so many decimals; one more where a difference would be zero and is not."""
    more = bool(sign) and 0.05 <= abs(value) * 10**digits < 0.5
    return f"{round(value, digits + more) + 0.0:{sign}.{digits + more}f}"


def _signed(value: Any) -> str:
    points = 100 * float(value)
    if 0.005 <= abs(points) < 0.05:  # as +0.0 it would be on the wrong side of zero, or on none
        return f"{points:+.2f}"
    return tenths(points, "+")
