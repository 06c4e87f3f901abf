"""A table of pandas with a named index has one head row."""

from __future__ import annotations

import re
from typing import Any

from page_bodies import change_bodies
from sphinx.application import Sphinx

_HEAD = re.compile(
    r"(?P<open><thead>\s*<tr[^>]*>)(?P<columns>(?:\s*<th>[^<]*</th>)+)\s*</tr>"
    r"\s*<tr[^>]*>(?P<index>(?:\s*<th>[^<]*</th>)+)\s*</tr>(?P<close>\s*</thead>)"
)
_CELL = re.compile(r"<th>([^<]*)</th>")


def join_head_rows(body: str) -> str:
    """Write the names of an index into the empty cells above them."""
    return _HEAD.sub(_joined, body)


def _joined(match: re.Match[str]) -> str:
    columns, index = (_CELL.findall(match[row]) for row in ("columns", "index"))
    if len(columns) != len(index) or any(above and below for above, below in zip(columns, index, strict=True)):
        return match[0]
    cells = "".join(f"<th>{above or below}</th>" for above, below in zip(columns, index, strict=True))
    return f"{match['open']}{cells}</tr>{match['close']}"


def setup(app: Sphinx) -> dict[str, Any]:
    """Entry point of the extension."""
    return change_bodies(app, join_head_rows)
