"""Gains of poolings by the share of a clip that its event fills, as a table: to read, to draw, to keep in a file.

Book page: ``mixtures_results``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from audioattn_lib.attention.pooling.registry import MECHANISMS

from ..common.studies import phrases
from ..common.studies.study import Study
from ..common.studies.table_files import ResultsTable

__all__ = ["ANY", "GainResults", "pooling_title"]

ANY = "attention"
"""Stands for the mean over all mechanisms."""
_TITLES = {
    ANY: "Attention, mean of all mechanisms",
    "mean": "Mean",
    "max": "Maximum",
    "statistics": "Mean and deviation",
    "linear": "Linear baseline",
}
_SUBJECTS = {
    "mean": "mean pooling",
    "max": "maximum pooling",
    "statistics": "pooling of mean and deviation",
    "linear": "the linear baseline of mean and deviation",
}
_WHOLE = (0, 1)
"""Ends of the share in the rows over all clips."""
_LEVEL = 0.05


def pooling_title(name: str) -> str:
    """Return the title of a pooling for tables and plots."""
    return MECHANISMS[name].title if name in MECHANISMS else _TITLES.get(name, name)


@dataclass(frozen=True)
class GainResults(ResultsTable):
    """Scores of poolings, over all clips and by the share of a clip that its event fills.

    Parameters
    ----------
    rows
        A row for each pooling and bin of the share, first those of all clips (``share_low`` 0 and ``share_high`` 1):
        geometric mean ``share`` of the bin, ``clips``, ``groups`` (recordings of events) and ``seeds``; ``score``
        (share of clips named right) with its 95 % interval, share of the attention inside of the event,
        ``difference`` to the reference with its interval and p-value, both corrected for the comparisons of the
        family (Holm), and the smallest difference that could be seen.
    made_with
        Where the numbers come from, text by name; of these ``classes`` is how many are equally often in the corpus.

    Notes
    -----
    Book page: ``mixtures_results``.
    """

    COLUMNS = (
        *("pooling", "reference", "share_low", "share_high", "share", "clips", "groups", "seeds"),
        *("score", "score_low", "score_high", "mass_inside", "difference", "low", "high", "p_holm", "detectable"),
    )
    TEXT = ("pooling", "reference")

    @staticmethod
    def title(name: str) -> str:
        """Title of a pooling, as :func:`pooling_title` gives it."""
        return pooling_title(name)

    @property
    def reference(self) -> str:
        """Pooling that the others are compared with."""
        return str(self.rows["reference"].iloc[0])

    @property
    def _subject(self) -> str:
        """The reference inside a sentence."""
        return _SUBJECTS.get(self.reference, pooling_title(self.reference))

    @property
    def overall(self) -> pd.DataFrame:
        """Rows over all clips, by pooling."""
        return self._compared[self._is_whole].set_index("pooling")

    @property
    def parts(self) -> pd.DataFrame:
        """Rows of the bins of the share."""
        return self._compared[~self._is_whole]

    @property
    def against_others(self) -> pd.DataFrame:
        """The mean of all mechanisms against other references than the first, over all clips, by reference."""
        return self.rows[self.rows["reference"] != self.reference].set_index("reference")

    def curves(self) -> dict[str, pd.DataFrame]:
        """Gain by the share, a table for each pooling by title: ``share``, ``difference``, ``low``, ``high``.

        Of the mechanisms only their mean, where there is one: so many curves with intervals cannot be read.
        """
        names = sorted(dict.fromkeys(self.parts["pooling"]), key=lambda name: name != ANY)  # keeps the order otherwise
        names.remove(self.reference)
        names = [name for name in names if name not in MECHANISMS or ANY not in names]
        return {pooling_title(name): self.parts[self.parts["pooling"] == name].sort_values("share") for name in names}

    def scores(self) -> pd.DataFrame:
        """Overall scores for a table: a row a pooling by title, with ``score``, ``low``, ``high``, ``mass_inside``."""
        table = self.overall.drop(columns=["low", "high"]).rename(columns={"score_low": "low", "score_high": "high"})
        return table.rename(index=pooling_title)[["score", "low", "high", "mass_inside"]].rename_axis("pooling")

    def gains(self) -> pd.DataFrame:
        """Gains in points as text: a row a pooling, a column a bin of the share; a star where it is reliable."""
        cells: dict[str, dict[str, str]] = {}
        for row in self._compared[self._compared["pooling"] != self.reference].to_dict(orient="records"):
            is_whole = (row["share_low"], row["share_high"]) == _WHOLE
            column = "all clips" if is_whole else _span(row)
            star = "*" if row["p_holm"] < _LEVEL else ""
            cells.setdefault(pooling_title(row["pooling"]), {})[column] = f"{_points(row)}{star}"
        return pd.DataFrame.from_dict(cells, orient="index").fillna("")

    def verdict(self) -> list[str]:
        """Summarise in sentences, with no claim beyond the intervals, and with the power that the runs had."""
        overall, reference = self.overall, self._subject
        sentences = []
        if ANY in overall.index:
            sentences.append(_say("Attention, the mean of all mechanisms,", overall.loc[ANY].to_dict(), reference))
        mechanisms = overall[overall.index.isin(MECHANISMS)]
        sure = mechanisms[mechanisms["p_holm"] < _LEVEL]
        for word, names in (
            ("better", sure.index[sure["difference"] > 0]),
            ("worse", sure.index[sure["difference"] < 0]),
        ):
            if len(names) or word == "better":
                listed = ", ".join(pooling_title(str(name)) for name in names) or "none"
                sentences.append(f"Reliably {word} than {reference}, of {len(mechanisms)} mechanisms alone: {listed}.")
        for name in ("max", "statistics", "linear"):
            if name in overall.index and name != self.reference:
                sentences.append(_say(_SUBJECTS[name].capitalize(), overall.loc[name].to_dict(), reference))
        for name, row in self.against_others.to_dict(orient="index").items():
            sentences.append(_say("Attention, the mean of all mechanisms,", row, _SUBJECTS[str(name)]))
        for row in self._attention_by_share.to_dict(orient="records"):
            sentences.append(_say(f"Where the event fills {_span(row)} of the clip, attention", row, reference))
        return [*sentences, *self._power_notes()]

    def findings(self) -> phrases.Found:
        """The same in few sentences: what is shown, and what is not."""
        overall, reference = self.overall, self._subject
        shown: list[str] = []
        not_shown: list[str] = []
        controls = [name for name in ("max", "statistics") if name in overall.index and name != self.reference]
        subjects = {ANY: "**Attention**, the mean of all mechanisms,"} if ANY in overall.index else {}
        subjects |= {name: f"{_SUBJECTS[name].capitalize()}, without attention," for name in controls}
        for name, subject in subjects.items():
            row = overall.loc[name].to_dict()
            (shown if phrases.excludes_zero(row) else not_shown).append(_say(subject, row, reference))
        parts = self._attention_by_share
        better = [_span(row) for row in parts.to_dict(orient="records") if row["low"] > 0]
        if better:
            listed = phrases.names(better, most=len(better))
            shown.insert(1, f"Attention is better than {reference} where the event fills {listed} of the clip.")
        for name, other in self.against_others.to_dict(orient="index").items():
            (shown if phrases.excludes_zero(other) else not_shown).append(
                _say("Attention", other, _SUBJECTS[str(name)])
            )
        others = [_span(row) for row in parts.to_dict(orient="records") if not row["low"] > 0]
        if others and better:
            listed = phrases.names(others, most=len(others))
            not_shown.append(f"Where the event fills {listed} of the clip, a gain over {reference} is not shown.")
        if len(parts):
            not_shown.append("Whether the gain falls as the event fills more of the clip was not tested.")
        if "classes" in self.made_with:
            sentence, is_above = self._beside_chance()
            (shown if is_above else not_shown).insert(0, sentence)
        return shown, [*not_shown, *self._power_notes()]

    def _power_notes(self) -> list[str]:
        """Differences that could not be seen: of all clips, and where the event fills a part of the range."""
        notes = []
        for subject, rows in (
            ("Over all clips", self.rows[self._is_over_all(self.rows)]),
            ("By the share that the event fills", self._attention_by_share),
        ):
            if note := Study.power_note(rows["detectable"].dropna()):
                notes.append(f"{subject}: {phrases.lower_first(note)}")
        return notes

    def _beside_chance(self) -> tuple[str, bool]:
        """The score of the reference beside chance, and whether it is reliably above."""
        row, reference = self.overall.loc[self.reference], self._subject
        chance = 1 / int(self.made_with["classes"])
        score = phrases.share(row, "score_low", "score_high")
        guess = f"a guess among {self.made_with['classes']} classes, {100 * chance:.1f} %"
        if row["score_low"] > chance:
            return f"{reference.capitalize()} names {score} of the clips right; {guess}.", True
        return f"**That {reference} is above chance**: it names {score} of the clips right; {guess}.", False

    def finding(self) -> tuple[bool, str]:
        """Return True where attention, the mean of all mechanisms, differs from the reference, and say so."""
        row, reference = self.overall.loc[ANY].to_dict(), self._subject
        sentence = _say("attention, the mean of all mechanisms,", row, reference)
        open_ = self.against_others[(self.against_others["low"] <= 0) & (self.against_others["high"] >= 0)]
        if len(open_):
            others = " or from ".join(_SUBJECTS[str(name)] for name in open_.index)
            sentence = f"{sentence.removesuffix('.')}; it is not shown to differ from {others}."
        return phrases.excludes_zero(row), sentence

    @property
    def _compared(self) -> pd.DataFrame:
        return self.rows[self.rows["reference"] == self.reference]

    @property
    def _attention_by_share(self) -> pd.DataFrame:
        """The mean of all mechanisms in the bins of the share."""
        return self.parts[self.parts["pooling"] == ANY]

    @property
    def _is_whole(self) -> pd.Series:
        return self._is_over_all(self._compared)

    @staticmethod
    def _is_over_all(rows: pd.DataFrame) -> pd.Series:
        return (rows["share_low"] == _WHOLE[0]) & (rows["share_high"] == _WHOLE[1])


def _say(subject: str, row: Mapping[Any, Any], reference: str) -> str:
    """One comparison in a sentence."""
    if not np.isfinite(row["low"]):
        return f"{subject} cannot be compared with {reference}: there are too few recordings."
    if phrases.excludes_zero(row):
        return f"{subject} is {'better' if row['low'] > 0 else 'worse'} than {reference}: {_points(row)} points."
    return f"{subject} is not shown to differ from {reference}: {_points(row)} points."


def _points(row: Mapping[Any, Any]) -> str:
    """A difference in points with its interval."""
    return phrases.gain_in_points(row)


def _span(row: Mapping[Any, Any]) -> str:
    """A bin of the share in per cent."""
    return f"{100 * row['share_low']:.3g} to {100 * row['share_high']:.3g} %"
