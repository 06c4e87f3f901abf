"""The comparison as a table that a file keeps: to read, to draw, to put into words, without its runs.

Book page: ``comparison_seeds``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, Self

import pandas as pd

from ..common.studies.table_files import ResultsTable

__all__ = ["COLUMNS", "Compared", "ComparedTask", "ComparisonResults", "ResultColumn"]


class ResultColumn(NamedTuple):
    """A column to show: its name, its heading, the kind of its values, and the columns of its interval."""

    name: str
    title: str
    kind: Literal["text", "number", "percent", "points"] = "text"
    low: str = ""
    high: str = ""


COLUMNS = (
    ResultColumn("mechanism", "Mechanism"),
    ResultColumn("task", "Task"),
    ResultColumn("score", "Accuracy", "percent", "low", "high"),
    ResultColumn("difference", "Against the mean", "points", "difference_low", "difference_high"),
    ResultColumn("family", "Family"),
    ResultColumn("milliseconds", "Time, ms a clip", "number"),
    ResultColumn("kilobytes", "Memory, KiB a clip", "number"),
    ResultColumn("parameters", "Parameters", "number"),
    ResultColumn("attended", "Attended", "percent"),
    ResultColumn("held", "Nine tenths", "percent"),
    ResultColumn("pointing_gain", "Pointing", "points", "pointing_gain_low", "pointing_gain_high"),
    ResultColumn("deletion_gain", "Deletion", "points", "deletion_gain_low", "deletion_gain_high"),
)
"""Columns of the table of a page in their order; the arguments of :class:`~audioattn_lib.display.Column`."""


class ComparedTask(Protocol):
    """A task by its title, and whether no mechanism can solve it."""

    @property
    def title(self) -> str: ...
    @property
    def is_control(self) -> bool: ...


class Compared(Protocol):
    """Tasks, seeds and table of a comparison, from runs or from a file."""

    @property
    def tasks(self) -> Sequence[ComparedTask]: ...
    @property
    def n_seeds(self) -> int: ...
    def table(self) -> pd.DataFrame:
        """The results; see :meth:`~audioattn_lib.experiments.comparison.study.Comparison.table`."""
        ...


class _Task(NamedTuple):
    title: str
    is_control: bool


@dataclass(frozen=True)
class ComparisonResults(ResultsTable):
    """Every mechanism on every task.

    Parameters
    ----------
    rows
        As :meth:`~audioattn_lib.experiments.comparison.study.Comparison.table` returns them, with two columns more:
        ``is_control``, true for a task that no mechanism can solve, and ``seeds``, networks of each mechanism.
    made_with
        Where the numbers come from, text by name.

    Notes
    -----
    Book page: ``comparison_seeds``.
    """

    COLUMNS = (
        *dict.fromkeys(name for column in COLUMNS for name in (column.name, column.low, column.high) if name),
        *("name", "p_holm", "detectable", "is_control", "seeds"),
    )
    TEXT = ("mechanism", "task", "family", "name")

    @classmethod
    def of_comparison(cls, comparison: Compared, made_with: Mapping[str, str] | None = None) -> Self:
        """Keep the table of a comparison.

        Parameters
        ----------
        comparison
            From runs.
        made_with
            Where they come from.
        """
        controls = {task.title: task.is_control for task in comparison.tasks}
        rows = comparison.table()
        rows = rows.assign(is_control=rows["task"].map(controls), seeds=comparison.n_seeds)
        return cls(rows.reindex(columns=list(cls.COLUMNS)), dict(made_with or {}))

    @property
    def tasks(self) -> list[ComparedTask]:
        """Tasks in their order."""
        controls = self.rows.groupby("task", sort=False)["is_control"].first()
        return [_Task(str(title), bool(is_control)) for title, is_control in controls.items()]

    @property
    def n_seeds(self) -> int:
        """Networks of each mechanism on each task."""
        return int(self.rows["seeds"].iloc[0])

    def table(self) -> pd.DataFrame:
        """Return the rows."""
        return self.rows.copy()
