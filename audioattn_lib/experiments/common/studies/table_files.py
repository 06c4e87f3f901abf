"""Committed tables of results: rows in a CSV file, and what they were made with in a JSON file beside it.

Book page: ``batch``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Self

import pandas as pd

from audioattn_lib.core.errors import RunError
from audioattn_lib.core.files import write_text, write_whole

__all__ = ["ResultsTable", "join_numbers", "split_numbers"]


def join_numbers(values: Iterable[float]) -> str:
    """Write several numbers into one cell of a table, with six digits each."""
    return ";".join(f"{value:.6g}" for value in values)


def split_numbers(text: str) -> list[float]:
    """Numbers of a cell that :func:`join_numbers` wrote."""
    return [float(value) for value in text.split(";") if value]


@dataclass(frozen=True)
class ResultsTable:
    """Results as a table that a file keeps, the base of the tables of the studies.

    Parameters
    ----------
    rows
        Numbers and texts with the columns :data:`COLUMNS`.
    made_with
        Where the numbers come from, text by name.

    Notes
    -----
    Book page: ``batch``.
    """

    rows: pd.DataFrame
    made_with: Mapping[str, str] = field(default_factory=dict)

    COLUMNS: ClassVar[tuple[str, ...]]
    """Columns that a file must have."""
    TEXT: ClassVar[tuple[str, ...]]
    """Columns of text, which is empty where a cell is."""
    LATER: ClassVar[tuple[str, ...]] = ()
    """Columns that older files lack; they are added, without values."""

    def write(self, path: str | Path) -> None:
        """Keep the rows in a CSV file, with six digits, and what they were made with in a JSON file beside it."""
        path = Path(path)
        with write_whole(path) as temporary:
            self.rows.to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")
        write_text(path.with_suffix(".json"), json.dumps(dict(self.made_with), indent=1) + "\n")

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read what :meth:`write` wrote.

        Raises
        ------
        RunError
            When a file is missing or no such table.
        """
        path = Path(path)
        try:
            # only an empty cell is missing: "none" and "nan" may be names
            rows = pd.read_csv(path, keep_default_na=False, na_values=[""], dtype=dict.fromkeys(cls.TEXT, str))
            made_with = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(f"{path}: no results can be read ({error}); {cls.__name__}.write makes them") from None
        rows = rows.reindex(columns=list(dict.fromkeys([*rows, *cls.LATER])))
        lacking = [name for name in cls.COLUMNS if name not in rows]
        if lacking:
            raise RunError(f"{path}: lacks the columns {', '.join(lacking)}; {cls.__name__}.write makes such a file")
        return cls(rows.fillna(dict.fromkeys(cls.TEXT, "")), made_with)
