"""Results of many runs as a table and as a page.

One row a run, from what the executed notebooks show; nothing is computed again.

Book page: batch.
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["Row", "flatten", "page", "table", "varying"]

Row = dict[str, Any]
"""One line of a results table by the names of its columns."""

_MOST_SCORES = 8
"""Most columns of scores on a page; the table has all of them."""


def flatten(scores: Mapping[str, Any], prefix: str = "") -> Row:
    """Numbers and text of nested scores by their dotted names; lists are left out.

    Notes
    -----
    Book page: batch.
    """
    flat: Row = {}
    for name, value in scores.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        elif value is None or isinstance(value, (bool, int, float, str)):
            flat[prefix + name] = value
    return flat


def varying(configs: Iterable[Mapping[str, Any]]) -> list[str]:
    """Names of the fields that tell flat configurations apart, in the order in which they stand.

    A field does when two configurations that have it differ in it, or when
    only the smaller part of them has it, as that of a baseline.

    Notes
    -----
    Book page: batch.
    """
    configs = list(configs)
    names = dict.fromkeys(name for config in configs for name in config)
    values = {name: [repr(config[name]) for config in configs if name in config] for name in names}
    return [name for name, texts in values.items() if len(set(texts)) > 1 or 2 * len(texts) < len(configs)]


def table(rows: Sequence[Row]) -> str:
    """Write rows as CSV with the union of their columns; missing values are empty.

    Notes
    -----
    Book page: batch.
    """
    import pandas as pd

    return pd.DataFrame(list(rows), dtype=object).to_csv(index=False, lineterminator="\n")


def page(
    title: str,
    rows: Sequence[Row],
    *,
    varying: Sequence[str],
    failures: Iterable[Mapping[str, Any]] = (),
) -> str:
    """Render rows as one self-contained HTML page, light and dark.

    Parameters
    ----------
    title
        Heading.
    rows
        Results; the columns in ``varying``, then scores as numbers at the top
        level, are shown.
    varying
        Columns that tell rows apart. Over all but the first of them, means are
        given beside the single rows.
    failures
        Jobs that failed: ``parameters``, ``error``, ``log``.

    Notes
    -----
    Book page: batch.
    """
    columns = _columns(rows, varying)
    scores = [name for name in _scores(rows) if name in columns and name not in varying]
    parts = [f"<h1>{html.escape(title)}</h1>"]
    failed = list(failures)
    parts.append(
        f"<p>{len(rows)} results, {len(failed)} failures. All scores: <a href='results.csv'>results.csv</a>.</p>"
    )
    if varying and len(varying) > 1 and rows:
        parts += [
            f"<h2>Mean and standard deviation by {html.escape(varying[0])}</h2>",
            _means(rows, varying[0], scores),
        ]
    if rows:
        shown = [name for name in ("notebook", "log") if any(row.get(name) for row in rows)]
        parts += ["<h2>Results</h2>", _html_table(rows, columns, shown)]
    if failed:
        parts.append("<h2>Failures</h2>")
        for failure in failed:
            parameters = html.escape(json.dumps(failure["parameters"], ensure_ascii=False))
            link = f" <a href='{html.escape(str(failure['log']))}'>log</a>" if failure.get("log") else ""
            parts.append(f"<p><code>{parameters}</code>{link}</p><pre>{html.escape(str(failure['error']))}</pre>")
    return _PAGE.format(title=html.escape(title), body="\n".join(parts))


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 1rem/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
th, td {{ padding: .3rem .8rem; text-align: right; border-bottom: 1px solid #8884; }}
th:first-child, td:first-child {{ text-align: left; }}
pre {{ overflow-x: auto; padding: .8rem; background: #8882; }}
</style>
</head>
<body>
{body}
</body>
</html>
"""


def _columns(rows: Sequence[Row], varying: Sequence[str]) -> list[str]:
    """Columns that a page has room for."""
    label = [*varying, *(["run"] if any("run" in row for row in rows) else [])]
    return [*label, *[name for name in _scores(rows) if name not in label][:_MOST_SCORES]]


def _scores(rows: Sequence[Row]) -> list[str]:
    """Columns of scores at the top level: not counts, and not those of single classes."""
    names = dict.fromkeys(name for row in rows for name in row)
    return [name for name in names if "." not in name and any(_is_score(row.get(name)) for row in rows)]


def _is_score(value: object) -> bool:
    return isinstance(value, float) and math.isfinite(value)


def _means(rows: Sequence[Row], by: str, scores: Sequence[str]) -> str:
    import pandas as pd

    # a baseline has nothing of what is varied; it has a name
    names = [_shown(row.get(by) or row.get("baseline", "")) for row in rows]
    frame = pd.DataFrame([{name: row.get(name) for name in scores} for row in rows], columns=list(scores))
    groups = frame.map(lambda value: value if _is_score(value) else math.nan).groupby(names, sort=False)
    lines = []
    for name, members in groups:
        line: Row = {by: name, "runs": len(members)}
        for score, values in members.items():
            if values.notna().any():
                spread = f" ± {values.std():.3g}" if values.count() > 1 else ""
                line[str(score)] = f"{values.mean():.4g}{spread}"
        lines.append(line)
    return _html_table(lines, [by, "runs", *scores], [])


def _html_table(rows: Sequence[Row], columns: Sequence[str], links: Sequence[str]) -> str:
    import pandas as pd

    cells = [[html.escape(_shown(row.get(name))) for name in columns] for row in rows]
    for line, row in zip(cells, rows, strict=True):
        targets = ((name, html.escape(str(row.get(name) or ""))) for name in links)
        line += [f"<a href='{target}'>{name}</a>" if target else "" for name, target in targets]
    frame = pd.DataFrame(cells, columns=[html.escape(name) for name in (*columns, *links)])
    with pd.option_context("display.max_colwidth", None):
        return f"<div class='wide'>{frame.to_html(index=False, escape=False, border=0)}</div>"


def _shown(value: object) -> str:
    if value is None or value == "":
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
