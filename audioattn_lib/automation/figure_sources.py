"""Figures and tables of a built page with their data and the runs behind them.

Book page: architecture.
"""

from __future__ import annotations

import base64
import csv
import html
import io
import re
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any, Final

__all__ = ["add_sources", "table_as_csv"]

_FIGURE: Final = re.compile(
    r'<(?P<tag>figure|section) class="audioattn aa-(?P<kind>figure|map|player|gallery)\b.*?</(?P=tag)>', re.DOTALL
)
_TABLE: Final = re.compile(
    r'<table\b[^>]*class="(?:[^"]*\s)?(?P<kind>dataframe|table)(?:\s[^"]*)?"[^>]*>.*?</table>', re.DOTALL
)
"""A table that code has made, or that is written in the text."""
_ROW: Final = re.compile(r"<tr\b.*?</tr>", re.DOTALL)
_SPAN: Final = r'\s*<span class="aa-cell-runs" data-runs="([^"]*)" hidden(?:="")?></span>\s*'
_MARK: Final = re.compile(
    rf'<div class="output text_html">{_SPAN}</div>|'
    r'<div class="jp-OutputArea-child">\s*<div class="jp-OutputPrompt[^>]*></div>\s*'
    rf'<div class="jp-RenderedHTMLCommon[^>]*>{_SPAN}</div>\s*</div>'
)
"""The last output of a cell, where it is marked: in the book, and in an exported page."""
_CELL: Final = re.compile(r'<div class="(?:cell(?: tag_[\w-]+)* docutils container"|jp-Cell jp-CodeCell )')
_ANCHOR: Final = "runs-of-this-page"
_SETTINGS: Final = "settings-of-runs"
_MOST_FIELDS: Final = 5
_MOST_NAMED: Final = 3
"""Runs that a caption names one by one."""

Runs = Sequence[Mapping[str, Any]]


def add_sources(markup: str, runs: Runs, *, written: bool = True) -> str:
    """Add a link to its data to every table of a page, the runs behind it to every figure and table, and a list of
    these runs to the end of the page: before ``</main>``, where there is one.

    A figure names the runs that its cell read, see :mod:`audioattn_lib.display.cell_runs`, or all runs of the page.

    Parameters
    ----------
    markup
        HTML of the page.
    runs
        Runs that its notebook shows, as ``runs_shown_in`` of :mod:`audioattn_lib.automation.execution` gives them;
        without any, only tables get something.
    written
        Whether a table that is written in the text gets a link to its data too, as one that code has made does; never
        one with a link in every row, which leads on and holds no data.

    Notes
    -----
    Book page: architecture.
    """
    cells = [_add_to_cell(cell, runs, written) for cell in _split_at(_CELL, markup)]
    content, end, rest = "".join(cells).rpartition("</main>")
    listed = _list_of(runs) if runs else ""
    return f"{content}{listed}{end}{rest}" if end else rest + listed


def _is_of_links(table: str) -> bool:
    """Return True where every row of a table that is written in the text has a link: it leads on and holds no data."""
    rows = _ROW.findall(table.partition("<tbody>")[2])
    return bool(rows) and all("<a " in row for row in rows)


def _split_at(pattern: re.Pattern[str], text: str) -> list[str]:
    """The text, cut before each match."""
    places = [0, *(match.start() for match in pattern.finditer(text)), len(text)]
    return [text[start:stop] for start, stop in pairwise(places)]


def _add_to_cell(markup: str, runs: Runs, written: bool) -> str:
    """Add what is behind them to figures and tables of a cell: of the runs of the page those that its mark names."""
    named = {name for mark in _MARK.finditer(markup) for name in html.unescape(mark[1] or mark[2]).split()}
    behind = [run for run in runs if f"{run['experiment']}/{run['key']}" in named]
    caption = _told(behind or runs, len(runs))

    def of_table(match: re.Match[str]) -> str:
        if match["kind"] == "table" and (not written or _is_of_links(match[0])):
            return match[0]
        address = _csv_address(table_as_csv(match[0]))
        link = f'<a class="aa-data" download="table.csv" href="{address}">Data (CSV)</a>'
        runs_note = f" {caption}" if caption and match["kind"] == "dataframe" else ""  # the text names its own source
        return f'{match[0]}<p class="aa-source">{link}{runs_note}</p>'

    markup = _TABLE.sub(of_table, _MARK.sub("", markup))
    if not runs:
        return markup

    def of_figure(match: re.Match[str]) -> str:
        # a player may be of a sound alone
        is_of_runs = behind or match["kind"] == "figure"
        return f'{match[0]}<p class="aa-source">{caption}</p>' if is_of_runs else match[0]

    return _FIGURE.sub(of_figure, markup)


def table_as_csv(table: str) -> str:
    """Text of the cells of an HTML table as CSV; a cell over several rows or columns stands in each of them."""
    cells = _Cells()
    cells.feed(table)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(cells.rows)
    return text.getvalue()


class _Cells(HTMLParser):
    """Parser of the cells of a table."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.rows: list[list[str]] = []
        self._reaching: dict[int, tuple[int, str]] = {}
        """By column, of cells above: rows that they still reach into, and text."""
        self._open: tuple[int, int] | None = None
        self._text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th") and self.rows:
            self._repeat()
            attributes = dict(attrs)
            self._open = int(attributes.get("colspan") or 1), int(attributes.get("rowspan") or 1)
            self._text = []

    def handle_data(self, data: str) -> None:
        if self._open is not None:
            self._text.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th") and self._open is not None:
            columns, rows = self._open
            text = " ".join("".join(self._text).split()).replace("\N{MINUS SIGN}", "-")  # a number that programs read
            for _ in range(columns):
                if rows > 1:
                    self._reaching[len(self.rows[-1])] = rows - 1, text
                self.rows[-1].append(text)
            self._open = None
        elif tag == "tr" and self.rows:
            self._repeat()

    def _repeat(self) -> None:
        """Repeat cells of the rows above that reach into this one."""
        while (column := len(self.rows[-1])) in self._reaching:
            left, text = self._reaching.pop(column)
            if left > 1:
                self._reaching[column] = left - 1, text
            self.rows[-1].append(text)


def _told(runs: Runs, count: int) -> str:
    """Some of ``count`` runs of a page in a sentence, with links to them: which, seeds, commits and settings."""
    if not runs:
        return ""
    seeds = sorted({run["config"]["seed"] for run in runs if isinstance(run["config"].get("seed"), int)})
    commits = list(dict.fromkeys(str(run["commit"])[:10] for run in runs if run.get("commit")))
    plural = "s" * (len(runs) > 1)
    if len(runs) == count or len(runs) > _MOST_NAMED:
        before, of_all = (
            ("", f"{len(runs)} of the {count} runs") if len(runs) < count else ("the ", f"{count} run{plural}")
        )
        parts = [f'{before}<a href="#{_ANCHOR}">{of_all} of this page</a>']
    else:
        links = (f'<a href="#{_anchor(run)}">{html.escape(str(run["key"])[:10])}</a>' for run in runs)
        parts = [f"run{plural} {', '.join(links)}"]
    if seeds:
        parts.append(f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}")
    if commits:
        parts.append(f"commit{'s' * (len(commits) > 1)} {html.escape(', '.join(commits))}")
    return f'From {", ".join(parts)}; <a href="#{_SETTINGS}">settings</a>.'


def _anchor(run: Mapping[str, Any]) -> str:
    return html.escape(f"run-{run['experiment']}-{run['key']}", quote=True)


def _list_of(runs: Runs) -> str:
    """The runs as a section: what each is, in what they differ, and all settings to download."""
    names = list(dict.fromkeys(name for run in runs for name in run["config"]))
    # a baseline lacks most settings of a network, which do not differ by that
    differ = [name for name in names if len({repr(run["config"][name]) for run in runs if name in run["config"]}) > 1]
    differ = [name for name in differ if all(len(str(run["config"].get(name))) < 60 for run in runs)][:_MOST_FIELDS]
    shown = list(dict.fromkeys([*differ, *(name for name in ("seed", "fold", "data", "baseline") if name in names)]))
    head = "".join(f"<th>{html.escape(name)}</th>" for name in ("run", "experiment", *shown, "commit"))
    rows = []
    for run in runs:
        cells = [str(run["key"]), str(run["experiment"])]
        cells += [_value(run["config"].get(name)) for name in shown]
        cells.append(str(run.get("commit") or "")[:10])
        rows.append(f'<tr id="{_anchor(run)}">' + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["setting", *(run["key"] for run in runs)])
    writer.writerows([name, *(_value(run["config"].get(name)) for run in runs)] for name in names)
    link = f'<a class="aa-data" download="settings.csv" href="{_csv_address(text.getvalue())}">All settings (CSV)</a>'
    return (
        f'<section id="{_ANCHOR}"><h2>Runs of this page</h2><details><summary>{len(runs)} '
        f"run{'s' * (len(runs) > 1)}: identity, settings in which they differ, and commit</summary>"
        '<div class="pst-scrollable-table-container"><table class="dataframe">'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody>"
        f'</table></div><p class="aa-source" id="{_SETTINGS}">{link}</p></details></section>'
    )


def _value(value: Any) -> str:
    return "" if value is None else str(value)


def _csv_address(text: str) -> str:
    return f"data:text/csv;base64,{base64.b64encode(text.encode()).decode()}"
