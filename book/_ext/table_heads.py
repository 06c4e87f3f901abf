"""A table of pandas with a named index has one head row, and short names of its rows stay on one line."""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

SHORT = 16
"""Letters of a row's name that is not broken."""

_HEAD = re.compile(
    r"(?P<open><thead>\s*<tr[^>]*>)(?P<columns>(?:\s*<th>[^<]*</th>)+)\s*</tr>"
    r"\s*<tr[^>]*>(?P<index>(?:\s*<th>[^<]*</th>)+)\s*</tr>(?P<close>\s*</thead>)"
)
_CELL = re.compile(r"<th>([^<]*)</th>")
_ROW_NAME = re.compile(rf"(<tr>\s*)<th>([^<]{{1,{SHORT}}})</th>(?=\s*<td)")


def join_head_rows(body: str) -> str:
    """Write the names of an index into the empty cells above them."""
    return _HEAD.sub(_joined, body)


def _joined(match: re.Match[str]) -> str:
    columns, index = (_CELL.findall(match[row]) for row in ("columns", "index"))
    if len(columns) != len(index) or any(above and below for above, below in zip(columns, index, strict=True)):
        return match[0]
    cells = "".join(f"<th>{above or below}</th>" for above, below in zip(columns, index, strict=True))
    return f"{match['open']}{cells}</tr>{match['close']}"


def keep_row_names(body: str) -> str:
    """Mark short names of rows, which stay on one line; ``aa-whole`` is a class of the style sheet."""
    return _ROW_NAME.sub(r'\1<th class="aa-whole">\2</th>', body)


def change_page(app: Sphinx, page: str, template: str, context: dict[str, Any], document: Any) -> None:
    """Change the tables of a page before it is written."""
    if "body" in context:
        context["body"] = keep_row_names(join_head_rows(context["body"]))


def setup(app: Sphinx) -> dict[str, Any]:
    """Entry point of the extension."""
    app.connect("html-page-context", change_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
