"""Systems that predict numbers compared as a table: to draw, to keep in a file.

:meth:`CorrelationResults.of_study` makes it from runs; a file gives it back without them.

Book page: ``sleepiness``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from ..common.studies.phrases import Found, number, p_value
from ..common.studies.table_files import ResultsTable, join_numbers, split_numbers
from .findings import MATCHED, findings, turned
from .study import RegressionStudy, missed_below

__all__ = ["CorrelationResults"]

_NUMBERS = ("runs", "score", "low", "high", "difference", "difference_low", "difference_high", "p_holm", "detectable")
_GAIN = ("attention", "attention_low", "attention_high")
_ATTENTION = (*_GAIN, "attention_p_holm")


@dataclass(frozen=True)
class CorrelationResults(ResultsTable):
    """Rank correlations of systems on the same clips.

    Parameters
    ----------
    rows
        A row a system, the linear baseline and chance among them: ``score``, Spearman's correlation in [-1, 1], mean
        over seeds, with its 95 % interval ``low`` to ``high`` over groups and seeds, and ``seed_scores``, joined by
        ``;``; the ``difference`` to the linear baseline, paired by clip and seed, with its interval and p-value,
        corrected for the number of systems (Holm), and ``detectable``, the least that would be seen in four experiments
        of five. ``attention`` is the difference of the network with attention to the system, in the same way.
    made_with
        Where the numbers come from, text by name. ``shown`` and ``not_shown`` are the findings, a line a sentence.

    Notes
    -----
    Book page: ``sleepiness``.
    """

    COLUMNS = ("system", "title", *_NUMBERS, "seed_scores", *_ATTENTION)
    TEXT = ("system", "title", "seed_scores")

    @classmethod
    def of_study(cls, study: RegressionStudy, made_with: Mapping[str, str] | None = None) -> CorrelationResults:
        """Tabulate a study of several systems, and of what attention is worth to them.

        Parameters
        ----------
        study
            The runs.
        made_with
            Where they come from.
        """
        shown, not_shown = findings(study)
        facts = {**(made_with or {}), "shown": "\n".join(shown), "not_shown": "\n".join(not_shown)}
        seeds = study.seed_table()
        over = study.compare(MATCHED[0]) if MATCHED[0] in study.names else pd.DataFrame()
        rows = []
        for name, row in study.table().iterrows():
            title = study.title(str(name))
            cells = {"system": str(name), "title": title, **row[[*_NUMBERS]].to_dict()}
            if title in seeds.index:
                cells["seed_scores"] = join_numbers(seeds.loc[title])
            if name in over.index:
                cells |= dict(zip(_ATTENTION, turned(over.loc[name]).values(), strict=True))
            rows.append(cells)
        return cls(pd.DataFrame(rows).reindex(columns=list(cls.COLUMNS)), facts)

    @property
    def titles(self) -> dict[str, str]:
        """Title of each system by its name."""
        return dict(zip(self.rows["system"], self.rows["title"], strict=True))

    def scores(self) -> pd.DataFrame:
        """Score and interval by name, as :func:`~audioattn_lib.display.plot_correlations` takes them."""
        return self.rows.set_index("system")[["score", "low", "high"]]

    def seed_scores(self) -> pd.DataFrame:
        """Correlation of each seed alone: a row a system by name, a column a seed."""
        rows = self.rows[self.rows["seed_scores"] != ""]
        values = {row["system"]: split_numbers(row["seed_scores"]) for row in rows.to_dict(orient="records")}
        return pd.DataFrame.from_dict(values, orient="index")

    def findings(self) -> Found:
        """Sentences on what is shown, and on what is not."""
        shown, not_shown = (self.made_with.get(key, "").splitlines() for key in ("shown", "not_shown"))
        return shown, not_shown

    def finding(self) -> tuple[bool, str]:
        """Return True where features of the network with attention are reliably better, and a sentence that says it."""
        row = self.rows.set_index("system").loc[MATCHED[1]]
        is_better = bool(row["attention_p_holm"] < 0.05 and row["attention"] > 0)
        who = "features of a network with attention are" + (" better" if is_better else " not reliably better")
        return is_better, f"{who} than those of one without: {number(row, *_GAIN)} in rank correlation."

    def table(self) -> pd.DataFrame:
        """The differences for people: a row a system by title, numbers as text, intervals in brackets."""
        rows = {}
        for row in self.rows[self.rows["difference"].notna()].to_dict(orient="records"):
            rows[row["title"]] = {
                "Against the linear baseline": _paired(row, "difference", "p_holm"),
                "Would be missed below": missed_below(row["detectable"]),
                "Attention against it": _paired(row, "attention", "attention_p_holm"),
            }
        return pd.DataFrame.from_dict(rows, orient="index")


def _paired(row: Mapping[str, float], name: str, p: str) -> str:
    """A difference with its interval and p-value; empty where there is none."""
    if pd.isna(row[name]):
        return ""
    return f"{number(row, name, f'{name}_low', f'{name}_high')}, {p_value(row[p])}"
