"""``{parity-tables}``: every published command beside ours and what its test gave, from the committed ``parity.csv``.

``{parity-count}`` is how many of the rows work. It has a directive of its own, since headings that a directive makes
come before its text on the page.

What the page says is what the file says, and the tests hold the file to what they give.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from library_pages import parse_markdown
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

RESULTS = Path(__file__).resolve().parents[1] / "parity.csv"


class ParityCount(SphinxDirective):
    """Number of rows that work, and date of their test."""

    def run(self) -> list[nodes.Node]:
        rows = _read(self)
        if not rows:
            return parse_markdown(self, ["No results are committed yet. `make parity` writes them."])
        return parse_markdown(self, [f"**{_counted(rows)}** Tested {_when(rows)}."])


class ParityTables(SphinxDirective):
    """A table a system."""

    def run(self) -> list[nodes.Node]:
        return parse_markdown(self, list(_tables(_read(self))))


def _read(directive: SphinxDirective) -> list[dict[str, str]]:
    directive.env.note_dependency(str(RESULTS))
    with open(RESULTS, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _tables(rows: list[dict[str, str]]) -> Iterator[str]:
    systems: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        systems.setdefault(row["system"], []).append(row)
    for system, own in systems.items():
        yield from (f"## {system}", "", _counted(own), "")
        # the status first: wide commands scroll out of sight on a phone
        yield from ("| | status | published | here |", "|---|---|---|---|")
        for row in own:
            status = row["status"] + (f": {row['reason']}" if row["reason"] else "")
            yield f"| {row['row']} | {_cell(status)} | {_cell(row['published'])} | {_cell(row['here'])} |"
        yield ""


def _counted(rows: list[dict[str, str]]) -> str:
    counts = Counter(row["status"] for row in rows)
    others = "".join(f", {count} {status}" for status, count in sorted(counts.items()) if status != "works")
    return f"{counts['works']} of {len(rows)} rows work{others}."


def _when(rows: list[dict[str, str]]) -> str:
    made = sorted({(row["date"], row["commit"]) for row in rows})
    return ", ".join(f"on {date} at commit `{commit}`" for date, commit in made)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def setup(app: Sphinx) -> dict[str, Any]:
    """Entry point of the extension."""
    app.add_directive("parity-count", ParityCount)
    app.add_directive("parity-tables", ParityTables)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
