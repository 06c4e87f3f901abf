"""Rows of the comparison with the published systems: one row, one test, and a committed file of what it gave."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

__all__ = ["COLUMNS", "RESULTS", "ROWS", "STATUSES", "SYSTEMS", "Row", "read_results", "row", "write_results"]

RESULTS = Path(__file__).resolve().parents[2] / "book" / "parity.csv"
COLUMNS = ("row", "system", "published", "here", "findings", "status", "reason", "date", "commit")
SYSTEMS = {
    "1": "Urban sounds",
    "2": "Sleepiness",
    "3": "Accents",
    "4": "Scenes and instruments",
    "5": "Play it back",
}
STATUSES = ("works", "awkward", "missing", "wrong", "not here")
"""States of a row; the reason of ``xfail`` or ``skip`` begins with any but the first."""


@dataclass(frozen=True)
class Row:
    """One published command, group of options, file format or output, and ours.

    Parameters
    ----------
    name
        Number of the system and of the row, such as ``1.02``.
    published, here
        What the published README names, and what to call here.
    findings
        Numbers of what had to be mended for it, in the list that the count began with.
    """

    name: str
    published: str
    here: str
    findings: tuple[int, ...]

    @property
    def system(self) -> str:
        """Title of the system."""
        return SYSTEMS[self.name.partition(".")[0]]

    @property
    def cells(self) -> dict[str, str]:
        """Entry of the committed file, whatever its test gives."""
        findings = " ".join(map(str, self.findings))
        return {
            "row": self.name,
            "system": self.system,
            "published": self.published,
            "here": self.here,
            "findings": findings,
        }


ROWS: dict[str, Row] = {}


def row(name: str, published: str, here: str, *findings: int) -> Callable[[Any], Any]:
    """Mark a test as that of a row."""
    if name in ROWS:
        raise ValueError(f"row {name} is there twice")
    ROWS[name] = Row(name, published, here, findings)
    return pytest.mark.parity(name)


def read_results() -> dict[str, dict[str, str]]:
    """The committed file by row; empty where there is none."""
    if not RESULTS.is_file():
        return {}
    with open(RESULTS, newline="", encoding="utf-8") as file:
        return {line["row"]: line for line in csv.DictReader(file)}


def write_results(lines: list[dict[str, str]]) -> None:
    """Write the file, rows in order."""
    with open(RESULTS, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(lines, key=lambda line: line["row"]))
