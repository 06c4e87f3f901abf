"""Committed tables of results: rows in a CSV file, and what they were made with in a JSON file beside it.

Book page: ``batch``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from audioattn_lib.core.errors import RunError
from audioattn_lib.core.files import write_text, write_whole

__all__ = ["read_table", "write_table"]


def write_table(path: str | Path, rows: pd.DataFrame, made_with: Mapping[str, Any]) -> None:
    """Keep rows in a CSV file, with six digits, and what they were made with in a JSON file beside it."""
    path = Path(path)
    with write_whole(path) as temporary:
        rows.to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")
    write_text(path.with_suffix(".json"), json.dumps(dict(made_with), indent=1) + "\n")


def read_table(
    path: str | Path, columns: Sequence[str], writer: str, *, later: Sequence[str] = (), **options: Any
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read what :func:`write_table` wrote.

    Parameters
    ----------
    path
        The CSV file.
    columns
        Columns that it must have.
    writer
        Class whose ``write`` makes such a file, for errors.
    later
        Columns that older files lack; they are added, without values.
    **options
        Of :func:`pandas.read_csv`.

    Returns
    -------
    rows, made_with
        The table, and what it was made with.

    Raises
    ------
    RunError
        When a file is missing or no such table.
    """
    path = Path(path)
    try:
        rows = pd.read_csv(path, **options)
        made_with = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: no results can be read ({error}); {writer}.write makes them") from None
    rows = rows.reindex(columns=list(dict.fromkeys([*rows, *later])))
    lacking = [name for name in columns if name not in rows]
    if lacking:
        raise RunError(f"{path}: lacks the columns {', '.join(lacking)}; {writer}.write makes such a file")
    return rows, made_with
