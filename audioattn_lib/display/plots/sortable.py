"""A table that the reader sorts and filters in the page, without a kernel; without scripts it is a plain table."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from audioattn_lib.core.numbers import tenths, with_minus

from ..assets import script_tag, style_tag
from ..block import Block
from .results import require

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Column", "SortableTable", "sortable_table"]


@dataclass(frozen=True)
class Column:
    """A column of a sortable table.

    Parameters
    ----------
    name
        Of the column of the data.
    title
        As its heading.
    kind
        ``"text"``; ``"number"`` with three digits; ``"percent"`` of a share in [0, 1]; ``"points"``, a difference of
        two shares in percent, with its sign.
    low, high
        Names of the columns of an interval, shown behind the value; empty for none.
    """

    name: str
    title: str
    kind: Literal["text", "number", "percent", "points"] = "text"
    low: str = ""
    high: str = ""


class SortableTable(Block):
    """A table with buttons in its headings and filters above."""

    STYLE = "sortable"

    def html(self) -> str:
        """Return self-contained HTML."""
        return f"{style_tag('figure')}{style_tag('table')}{style_tag(self.STYLE)}{self.markup}{script_tag(self.STYLE)}"


def sortable_table(
    table: pd.DataFrame,
    columns: Sequence[Column],
    *,
    filters: Sequence[str] = (),
    first: Mapping[str, str] | None = None,
    reliable: tuple[str, str] | None = None,
    reliable_label: str = "reliably different only",
    references: str = "",
    label: str = "Results",
    caption: str = "",
) -> SortableTable:
    """Make a table whose rows the reader sorts by any column and filters by some.

    Parameters
    ----------
    table
        One row a line.
    columns
        What to show; the first one names the row.
    filters
        Names of text columns by which to filter.
    first
        Value of a filter that is chosen at first; without a script all rows are shown. The column of the first filter
        is hidden while one of its values is chosen: all its cells would say the same.
    reliable
        Names of the columns of an interval: a check box leaves the rows whose interval excludes zero.
    reliable_label
        Of that check box.
    references
        Name of a column that is true in rows set apart, such as baselines: filters by text other than the first one
        leave them where they are.
    label
        Name of the table for those who do not see it.
    caption
        Text above the table.

    Raises
    ------
    ValueError
        When the table is empty or lacks a column.

    Notes
    -----
    Sorting is stable and puts missing values last. Book page: ``comparison``.
    """
    extra = [*filters, *(reliable or ()), *([references] if references else [])]
    require(table, (*(column.name for column in columns), *extra))
    records = table.to_dict(orient="records")
    heads = "".join(
        f'<th scope="col"><button type="button" data-column="{number}">{html.escape(column.title)}</button></th>'
        for number, column in enumerate(columns)
    )
    lines = [_line(record, columns, filters, reliable, references) for record in records]
    about = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    body = "".join(lines)
    name = html.escape(label, quote=True)
    markup = (
        f'<div class="audioattn aa-sortable aa-sortable-waiting mathjax_ignore" role="group" aria-label="{name}">'
        f'<div class="aa-filters" hidden>{_filters(records, columns, filters, first or {})}'
        f"{_check(reliable, reliable_label)}<output></output></div>"
        f'<div class="aa-table aa-dense audioattn" tabindex="0" role="region" aria-label="{name}, scrolls">'
        f'<table class="dataframe">{about}<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'
        '<span class="aa-sortable-end" hidden></span></div>'
    )
    text = "\n".join(" | ".join(_plain(_text(record, column)) for column in columns) for record in records)
    return SortableTable(markup, f"{label}\n{text}")


def _line(
    record: Mapping[Any, Any],
    columns: Sequence[Column],
    filters: Sequence[str],
    reliable: tuple[str, str] | None,
    references: str,
) -> str:
    attributes = [f'data-filter-{i}="{html.escape(str(record[name]), quote=True)}"' for i, name in enumerate(filters)]
    if reliable is not None:
        low, high = (float(record[name]) for name in reliable)
        attributes += ["data-reliable"] * (low > 0 or high < 0)
    if references and record[references]:
        attributes.append('class="aa-reference"')
    cells = []
    for number, column in enumerate(columns):
        shown = _text(record, column)
        cells.append(
            f'<th scope="row">{shown}</th>'
            if number == 0
            else f'<td data-value="{_value(record, column)}">{shown}</td>'
        )
    return f"<tr {' '.join(attributes)}>{''.join(cells)}</tr>"


def _value(record: Mapping[Any, Any], column: Column) -> str:
    value = record[column.name]
    if column.kind == "text":
        return html.escape(str(value), quote=True)
    return "" if math.isnan(float(value)) else f"{float(value):.6g}"


def _text(record: Mapping[Any, Any], column: Column) -> str:
    value = record[column.name]
    if column.kind == "text":
        return html.escape(str(value))
    if math.isnan(float(value)):
        return ""
    shown = f"<b>{_number(float(value), column.kind)}{' %' if column.kind == 'percent' else ''}</b>"
    ends = [float(record[name]) for name in (column.low, column.high) if name]
    if len(ends) == 2 and not any(map(math.isnan, ends)):
        shown += f" <small>{' to '.join(_number(end, column.kind) for end in ends)}</small>"
    return shown


def _number(value: float, kind: str) -> str:
    if kind == "number":
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return with_minus(tenths(100 * value, "+" if kind == "points" else ""))


def _plain(markup: str) -> str:
    import re

    return html.unescape(re.sub(r"<[^>]*>", "", markup))


def _filters(
    records: Sequence[Mapping[Any, Any]], columns: Sequence[Column], filters: Sequence[str], first: Mapping[str, str]
) -> str:
    titles = {column.name: column.title for column in columns}
    places = {column.name: place for place, column in enumerate(columns) if place}
    parts = []
    for number, name in enumerate(filters):
        values = list(dict.fromkeys(str(record[name]) for record in records))
        options = "".join(
            f"<option{' selected' * (value == first.get(name))}>{html.escape(value)}</option>" for value in values
        )
        title = html.escape(titles.get(name, name.capitalize()))
        hides = f' data-hides="{places[name]}"' if number == 0 and name in places else ""
        parts.append(
            f'<label>{title} <select data-filter="{number}"{hides}><option value="">all</option>{options}</select>'
            "</label>"
        )
    parts.append('<label>Name <input type="search" placeholder="part of a name"></label>')
    return "".join(parts)


def _check(reliable: tuple[str, str] | None, label: str) -> str:
    return "" if reliable is None else f'<label><input type="checkbox"> {html.escape(label)}</label>'
